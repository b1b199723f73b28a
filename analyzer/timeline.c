/* SPDX-License-Identifier: MIT */
/*
 * timeline.c - merge the calls of all threads into
 * one stream in the order of time, in bounded memory.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <analyzer/hash.h>
#include <analyzer/timeline.h>

/*
 * Events held back for ordering. A recording without
 * SYNC records is ordered within windows of this size.
 */
#define WINDOW_MAX 131072u

#define TEXT_MAX 512u /* of a command line that is kept */

struct thread {
	uint32_t tid;
	uint32_t pid;
	char comm[32];
	UT_hash_handle hh;
};

struct process {
	uint32_t pid;
	char *command;
	UT_hash_handle hh;
};

struct symbol_key {
	uint64_t pc;
	uint64_t pid;
};

struct symbol {
	struct symbol_key key;
	uint64_t offset;
	uint32_t line;
	char *module;
	char *function;
	char *file;
	UT_hash_handle hh;
};

struct stack {
	uint32_t pid;
	uint32_t depth;
	uint64_t *pc;
};

struct fact {
	char *key;
	char *value;
	UT_hash_handle hh;
};

/** The place of an event in the order of time. */
struct rank {
	uint64_t ns;
	uint32_t index;
};

struct timeline {
	struct trace_reader *r;
	enum trace_error end; /* how reading ended; TRACE_OK before */

	struct trace_event *held;
	struct rank *order;
	uint32_t nheld;
	uint32_t out;  /* next of order[] to hand out */
	uint32_t upto; /* how many of order[] may be handed out */

	struct thread *threads;
	struct process *processes;
	struct symbol *symbols;
	struct fact *facts;
	struct stack *stacks;
	uint32_t nstacks;
	uint32_t stack_room;
};

enum trace_error timeline_open(struct timeline **tp, FILE *f)
{
	struct timeline *t = calloc(1, sizeof(*t));
	enum trace_error e;

	*tp = NULL;
	if (!t)
		return TRACE_IO;
	t->held = malloc(WINDOW_MAX * sizeof(*t->held));
	t->order = malloc(WINDOW_MAX * sizeof(*t->order));
	e = t->held && t->order ? trace_reader_open(&t->r, f) : TRACE_IO;
	if (e) {
		timeline_free(t);
		return e;
	}
	*tp = t;
	return TRACE_OK;
}

void timeline_free(struct timeline *t)
{
	struct thread *th, *th2;
	struct process *p, *p2;
	struct symbol *s, *s2;
	struct fact *f, *f2;

	if (!t)
		return;
	HASH_ITER (hh, t->threads, th, th2) {
		HASH_DEL(t->threads, th);
		free(th);
	}
	HASH_ITER (hh, t->processes, p, p2) {
		HASH_DEL(t->processes, p);
		free(p->command);
		free(p);
	}
	HASH_ITER (hh, t->symbols, s, s2) {
		HASH_DEL(t->symbols, s);
		free(s->module);
		free(s->function);
		free(s->file);
		free(s);
	}
	HASH_ITER (hh, t->facts, f, f2) {
		HASH_DEL(t->facts, f);
		free(f->key);
		free(f->value);
		free(f);
	}
	for (uint32_t i = 0; i < t->nstacks; i++)
		free(t->stacks[i].pc);
	free(t->stacks);
	free(t->held);
	free(t->order);
	trace_reader_free(t->r);
	free(t);
}

const struct trace_file_header *timeline_header(const struct timeline *t)
{
	return trace_reader_header(t->r);
}

static struct thread *thread_get(struct timeline *t, uint32_t tid)
{
	struct thread *th;

	HASH_FIND(hh, t->threads, &tid, sizeof(tid), th);
	if (th)
		return th;
	th = calloc(1, sizeof(*th));
	if (!th)
		return NULL;
	th->tid = tid;
	HASH_ADD(hh, t->threads, tid, sizeof(tid), th);
	return th;
}

static int note_thread(struct timeline *t, uint32_t tid, uint32_t pid, const char *comm)
{
	struct thread *th = thread_get(t, tid);

	if (!th)
		return -ENOMEM;
	th->pid = pid;
	if (comm) {
		strncpy(th->comm, comm, sizeof(th->comm) - 1);
		th->comm[sizeof(th->comm) - 1] = 0;
	}
	return 0;
}

static int note_process(struct timeline *t, const struct trace_event *ev)
{
	uint32_t pid = ev->process.p.pid;
	size_t size = ev->process.cmdline_size;
	struct process *p;
	char *command;

	size = size < TEXT_MAX ? size : TEXT_MAX;
	command = size ? calloc(1, size + 1) : strdup(ev->process.exe);
	if (!command)
		return -ENOMEM;
	memcpy(command, ev->process.cmdline, size);
	for (size_t i = 0; i + 1 < size; i++)
		if (!command[i])
			command[i] = ' ';
	HASH_FIND(hh, t->processes, &pid, sizeof(pid), p);
	if (!p) {
		p = calloc(1, sizeof(*p));
		if (!p) {
			free(command);
			return -ENOMEM;
		}
		p->pid = pid;
		HASH_ADD(hh, t->processes, pid, sizeof(pid), p);
	}
	free(p->command);
	p->command = command;
	return note_thread(t, pid, pid, NULL);
}

static int note_stack(struct timeline *t, const struct trace_event *ev)
{
	struct stack *s;

	if (ev->stack.s.id <= t->nstacks)
		return 0; /* known from looking ahead */
	if (t->nstacks == t->stack_room) {
		uint32_t room = t->stack_room ? t->stack_room * 2 : 64;
		struct stack *stacks = realloc(t->stacks, room * sizeof(*stacks));

		if (!stacks)
			return -ENOMEM;
		t->stacks = stacks;
		t->stack_room = room;
	}
	s = &t->stacks[t->nstacks];
	s->pid = ev->stack.s.pid;
	s->depth = ev->stack.s.depth;
	s->pc = malloc(s->depth * sizeof(*s->pc));
	if (!s->pc)
		return -ENOMEM;
	memcpy(s->pc, ev->stack.pc, s->depth * sizeof(*s->pc));
	t->nstacks++;
	return 0;
}

static int note_symbol(struct timeline *t, const struct trace_event *ev)
{
	struct symbol_key key = {.pc = ev->symbol.s.pc, .pid = ev->symbol.s.pid};
	struct symbol *s;

	HASH_FIND(hh, t->symbols, &key, sizeof(key), s);
	if (s)
		return 0;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->key = key;
	s->offset = ev->symbol.s.offset;
	s->line = ev->symbol.s.line;
	s->module = strdup(ev->symbol.module);
	s->function = strdup(ev->symbol.function);
	s->file = strdup(ev->symbol.file);
	HASH_ADD(hh, t->symbols, key, sizeof(s->key), s);
	return s->module && s->function && s->file ? 0 : -ENOMEM;
}

static int note_fact(struct timeline *t, const struct trace_event *ev)
{
	char *value = strdup(ev->fact.value);
	struct fact *f;

	if (!value)
		return -ENOMEM;
	HASH_FIND_STR(t->facts, ev->fact.key, f);
	if (!f) {
		f = calloc(1, sizeof(*f));
		if (f)
			f->key = strdup(ev->fact.key);
		if (!f || !f->key) {
			free(f);
			free(value);
			return -ENOMEM;
		}
		HASH_ADD_KEYPTR(hh, t->facts, f->key, strlen(f->key), f);
	}
	free(f->value);
	f->value = value;
	return 0;
}

/* Keep what later events refer to. */
static int note(struct timeline *t, const struct trace_event *ev)
{
	switch (ev->type) {
	case TRACE_REC_FACT:
		return note_fact(t, ev);
	case TRACE_REC_PROCESS:
		return note_process(t, ev);
	case TRACE_REC_THREAD:
		return note_thread(t, ev->thread.t.tid, ev->thread.t.pid, ev->thread.comm);
	case TRACE_REC_STACK:
		return note_stack(t, ev);
	case TRACE_REC_SYMBOL:
		return note_symbol(t, ev);
	default:
		return 0;
	}
}

int timeline_read_symbols(struct timeline *t, FILE *f)
{
	struct trace_reader *r;
	struct trace_event ev;
	int err = 0;

	if (trace_reader_open(&r, f))
		return 0;
	while (!err && !trace_next(r, &ev))
		if (ev.type == TRACE_REC_STACK || ev.type == TRACE_REC_SYMBOL)
			err = note(t, &ev);
	trace_reader_free(r);
	return err;
}

/* Return: false if the event has no time of its own. */
static bool time_of(const struct trace_event *ev, uint64_t *ns)
{
	switch (ev->type) {
	case TRACE_REC_CALLS:
		*ns = ev->call.enter_ns;
		return true;
	case TRACE_REC_LOST:
		*ns = ev->lost.mono_ns;
		return true;
	case TRACE_REC_CPU:
		*ns = ev->cpu.mono_ns;
		return true;
	case TRACE_REC_MARK:
		*ns = ev->mark.mono_ns;
		return true;
	case TRACE_REC_EXIT:
		*ns = ev->exit.mono_ns;
		return true;
	case TRACE_REC_SIGNAL:
		*ns = ev->signal.mono_ns;
		return true;
	default:
		return false;
	}
}

static int by_rank(const void *va, const void *vb)
{
	const struct rank *a = va;
	const struct rank *b = vb;

	if (a->ns != b->ns)
		return a->ns < b->ns ? -1 : 1;
	return a->index < b->index ? -1 : 1;
}

/* Let what is held go out in order: all that is older than @before, and at least @atleast. */
static void release(struct timeline *t, uint64_t before, uint32_t atleast)
{
	qsort(t->order, t->nheld, sizeof(*t->order), by_rank);
	t->out = 0;
	t->upto = 0;
	while (t->upto < t->nheld && (t->upto < atleast || t->order[t->upto].ns < before))
		t->upto++;
}

/* What went out makes room; what stays is packed to the front, in the order in which it was read.
 */
static int by_index(const void *va, const void *vb)
{
	const struct rank *a = va;
	const struct rank *b = vb;

	return a->index < b->index ? -1 : 1;
}

static void compact(struct timeline *t)
{
	uint32_t left = t->nheld - t->upto;

	memmove(t->order, t->order + t->upto, left * sizeof(*t->order));
	qsort(t->order, left, sizeof(*t->order), by_index);
	for (uint32_t i = 0; i < left; i++) {
		if (t->order[i].index != i)
			t->held[i] = t->held[t->order[i].index];
		t->order[i].index = i;
	}
	t->nheld = left;
	t->out = 0;
	t->upto = 0;
}

static void hold(struct timeline *t, const struct trace_event *ev, uint64_t ns)
{
	t->held[t->nheld] = *ev;
	t->order[t->nheld] = (struct rank){.ns = ns, .index = t->nheld};
	t->nheld++;
	if (t->nheld == WINDOW_MAX)
		release(t, 0, WINDOW_MAX / 2);
}

enum trace_error timeline_next(struct timeline *t, struct trace_event *ev)
{
	uint64_t ns;

	for (;;) {
		if (t->out < t->upto) {
			*ev = t->held[t->order[t->out++].index];
			return TRACE_OK;
		}
		if (t->upto)
			compact(t);
		if (t->end && t->nheld) {
			release(t, 0, t->nheld);
			continue;
		}
		if (t->end)
			return t->end;
		t->end = trace_next(t->r, ev);
		if (t->end)
			continue;
		if (note(t, ev)) {
			t->end = TRACE_IO;
			continue;
		}
		if (ev->type == TRACE_REC_SYNC)
			release(t, ev->sync_ns, 0);
		else if (ev->type == TRACE_REC_END)
			release(t, 0, t->nheld);
		else if (time_of(ev, &ns))
			hold(t, ev, ns);
		else
			return TRACE_OK;
	}
}

const char *timeline_fact(const struct timeline *t, const char *key)
{
	struct fact *f;

	HASH_FIND_STR(t->facts, key, f);
	return f ? f->value : NULL;
}

uint32_t timeline_pid(const struct timeline *t, uint32_t tid)
{
	struct thread *th;

	HASH_FIND(hh, t->threads, &tid, sizeof(tid), th);
	return th ? th->pid : tid;
}

const char *timeline_comm(const struct timeline *t, uint32_t tid)
{
	struct thread *th;

	HASH_FIND(hh, t->threads, &tid, sizeof(tid), th);
	return th ? th->comm : "";
}

const char *timeline_command(const struct timeline *t, uint32_t pid)
{
	struct process *p;

	HASH_FIND(hh, t->processes, &pid, sizeof(pid), p);
	return p ? p->command : "";
}

/*
 * Libraries that make calls on behalf of the program:
 * their frames are not where the program decided to call.
 */
static bool in_plumbing(const char *module)
{
	static const char *const prefix[] = {"libc.so",	 "libc-",   "libpthread",
					     "ld-linux", "libesca", "[vdso]"};
	const char *base = strrchr(module, '/');

	base = base ? base + 1 : module;
	for (size_t i = 0; i < sizeof(prefix) / sizeof(prefix[0]); i++)
		if (!strncmp(base, prefix[i], strlen(prefix[i])))
			return true;
	return false;
}

bool timeline_site(const struct timeline *t, uint32_t stack, struct site *site)
{
	const struct symbol *best = NULL;
	const struct stack *st;
	bool found = false;

	if (stack == TRACE_NO_STACK || stack > t->nstacks)
		return false;
	st = &t->stacks[stack - 1];
	*site = (struct site){
		.module = "", .function = "", .file = "", .caller = "", .pc = st->pc[0]};
	for (uint32_t i = 0; i < st->depth; i++) {
		struct symbol_key key = {.pc = st->pc[i], .pid = st->pid};
		struct symbol *s;

		HASH_FIND(hh, t->symbols, &key, sizeof(key), s);
		if (!s)
			continue;
		if (found && *s->function) {
			site->caller = s->function;
			break;
		}
		if (found)
			continue;
		if (!best)
			best = s;
		if (!in_plumbing(s->module)) {
			best = s;
			found = true;
			if (*s->function)
				break;
		}
	}
	if (best) {
		site->module = best->module;
		site->function = best->function;
		site->file = best->file;
		site->line = best->line;
		site->offset = best->offset;
		site->pc = best->key.pc;
	}
	return true;
}

bool timeline_innermost(const struct timeline *t, uint32_t stack, const char **function,
			const char **module)
{
	struct symbol_key key = {0};
	struct symbol *s;

	*function = *module = "";
	if (stack == TRACE_NO_STACK || stack > t->nstacks)
		return false;
	key.pc = t->stacks[stack - 1].pc[0];
	key.pid = t->stacks[stack - 1].pid;
	HASH_FIND(hh, t->symbols, &key, sizeof(key), s);
	if (s) {
		*function = s->function;
		*module = s->module;
	}
	return true;
}
