/* SPDX-License-Identifier: MIT */
/*
 * trace-text.c - text that a person can write, to a recording and back.
 *
 * One record a line; blank lines and what follows '#' at the begin of a line or after a space are
 * skipped. Words are separated by spaces; numbers are decimal or 0x; TIME is "@N", ns since the
 * recording began, or "@+N", ns after the line before (in a call: after the last exit of any call),
 * "@+0" if it is left out.
 *
 *   fact KEY VALUE...
 *   process PID [ppid=N] [how=N] [preload=N] [TIME] COMMAND...
 *   thread TID PID [TIME] COMM
 *   stack PID PC...                       ids are given in order, from 1
 *   symbol PID PC FUNCTION [FILE LINE [MODULE]]
 *   path PID FD [TIME] PATH
 *   lost TID COUNT [TIME]
 *   cpu TID CPU_NS [TIME]                 "+N": more than in this thread's last line
 *   mark ready|begin|end [TIME]
 *   exit TID STATUS [TIME]
 *   signal TID SIGNO [TIME]
 *   sync [TIME]
 *   call TID NAME(ARG, ...) = RESULT [TIME] [+DURATION] [KIND[,nb][,append][,w][,sync]] [stack=N]
 * [extra=N] [lane=ring|net|stop] [unfinished] [restarted] RESULT: a number or -ENAME; DURATION: 500
 * if left out; arguments left out are 0 repeat N                              the lines up to
 * "done" N times; may nest done cut                                   last line: the recording has
 * no END record
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <analyzer/hash.h>
#include <analyzer/names.h>
#include <analyzer/syscall.h>
#include <analyzer/trace-text.h>

#define NEST_MAX      8u
#define TEXT_LINE_MAX 4096u
#define WORDS_MAX     80u
#define REPEAT_MAX    10000000u

static const struct {
	const char *name;
	uint8_t flag;
} fd_flags[] = {
	{"nb", TRACE_FD_NONBLOCK},
	{"append", TRACE_FD_APPEND},
	{"w", TRACE_FD_WRITABLE},
	{"sync", TRACE_FD_SYNC},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/** The CPU time last told of a thread. */
struct cpu {
	uint32_t tid;
	uint64_t ns;
	UT_hash_handle hh;
};

struct parser {
	struct trace_writer *w;
	uint64_t zero; /* absolute time of @0 */
	uint64_t now;
	uint32_t stacks;
	uint64_t records;
	struct cpu *cpus;
	bool cut;
	const char *what; /* is wrong */

	char **lines;
	size_t nlines;
};

static bool fail(struct parser *p, const char *what)
{
	p->what = what;
	return false;
}

static bool number(struct parser *p, const char *s, uint64_t *v)
{
	char *end;
	bool negative = *s == '-';

	errno = 0;
	if (!isdigit((unsigned char)s[negative]))
		return fail(p, "a number is expected");
	*v = strtoull(s + negative, &end, 0);
	if (negative)
		*v = 0 - *v;
	if (errno || *end)
		return fail(p, "this is not a number");
	return true;
}

static bool number32(struct parser *p, const char *s, uint32_t *v)
{
	uint64_t n;

	if (!number(p, s, &n))
		return false;
	if (n > UINT32_MAX)
		return fail(p, "this number is too large");
	*v = (uint32_t)n;
	return true;
}

/** The words of a line that are left. */
struct words {
	char *w[WORDS_MAX];
	unsigned int n;
	unsigned int next;
};

static const char *word(struct words *w)
{
	return w->next < w->n ? w->w[w->next++] : NULL;
}

static bool split(struct parser *p, char *line, struct words *w)
{
	memset(w, 0, sizeof(*w));
	for (char *s = line; *s;) {
		while (isspace((unsigned char)*s))
			*s++ = 0;
		if (!*s || *s == '#')
			break;
		if (w->n == WORDS_MAX)
			return fail(p, "there are too many words");
		w->w[w->n++] = s;
		while (*s && !isspace((unsigned char)*s))
			s++;
	}
	return true;
}

static bool word_number(struct parser *p, struct words *w, uint32_t *v)
{
	const char *s = word(w);

	return s ? number32(p, s, v) : fail(p, "a number is missing");
}

/* TIME, if the next word is one. */
static bool word_time(struct parser *p, struct words *w, uint64_t *ns)
{
	uint64_t v = 0;

	if (w->next < w->n && w->w[w->next][0] == '@') {
		const char *s = w->w[w->next++] + 1;
		bool relative = *s == '+';

		if (!number(p, s + relative, &v))
			return false;
		p->now = relative ? p->now + v : p->zero + v;
	}
	*ns = p->now;
	return true;
}

/* "KEY=N", if the next word is that. */
static bool word_key(struct parser *p, struct words *w, const char *key, uint32_t *v)
{
	size_t n = strlen(key);

	if (w->next < w->n && !strncmp(w->w[w->next], key, n) && w->w[w->next][n] == '=')
		return number32(p, w->w[w->next++] + n + 1, v);
	return true;
}

/* The words that are left, with @sep between them. */
static size_t join(struct words *w, char *buf, size_t room, char sep)
{
	size_t used = 0;

	for (; w->next < w->n; w->next++) {
		size_t n = strlen(w->w[w->next]);

		if (used + n + 1 > room)
			break;
		memcpy(buf + used, w->w[w->next], n);
		used += n;
		buf[used++] = sep;
	}
	if (used)
		buf[used - 1] = 0;
	else
		buf[0] = 0;
	return used;
}

static bool put(struct parser *p, int err)
{
	p->records++;
	return err ? fail(p, "the record cannot be written") : true;
}

static bool line_fact(struct parser *p, struct words *w)
{
	char value[TEXT_LINE_MAX];
	const char *key = word(w);

	if (!key)
		return fail(p, "the key is missing");
	join(w, value, sizeof(value), ' ');
	return put(p, trace_put_fact(p->w, key, value));
}

static bool line_process(struct parser *p, struct words *w)
{
	struct trace_process rec = {0};
	char cmdline[TEXT_LINE_MAX];
	size_t size;

	if (!word_number(p, w, &rec.pid) || !word_key(p, w, "ppid", &rec.ppid) ||
	    !word_key(p, w, "how", &rec.how) || !word_key(p, w, "preload", &rec.preload) ||
	    !word_time(p, w, &rec.mono_ns))
		return false;
	size = join(w, cmdline, sizeof(cmdline), 0);
	return put(p, trace_put_process(p->w, &rec, cmdline, cmdline, size));
}

static bool line_thread(struct parser *p, struct words *w)
{
	struct trace_thread rec = {0};
	char comm[TEXT_LINE_MAX];

	if (!word_number(p, w, &rec.tid) || !word_number(p, w, &rec.pid) ||
	    !word_time(p, w, &rec.mono_ns))
		return false;
	join(w, comm, sizeof(comm), ' ');
	return put(p, trace_put_thread(p->w, &rec, comm));
}

static bool line_stack(struct parser *p, struct words *w)
{
	struct trace_stack rec = {.id = p->stacks + 1};
	uint64_t pc[TRACE_MAX_STACK];
	const char *s;

	if (!word_number(p, w, &rec.pid))
		return false;
	while ((s = word(w))) {
		if (rec.depth == TRACE_MAX_STACK)
			return fail(p, "the stack is too deep");
		if (!number(p, s, &pc[rec.depth++]))
			return false;
	}
	if (!rec.depth)
		return fail(p, "the stack is empty");
	p->stacks++;
	return put(p, trace_put_stack(p->w, &rec, pc));
}

static bool line_symbol(struct parser *p, struct words *w)
{
	struct trace_symbol rec = {0};
	const char *function;
	const char *file;
	const char *module;
	const char *s;

	if (!word_number(p, w, &rec.pid))
		return false;
	s = word(w);
	function = word(w);
	if (!s || !function)
		return fail(p, "pc and function are expected");
	if (!number(p, s, &rec.pc))
		return false;
	file = word(w);
	s = word(w);
	if (s && !number32(p, s, &rec.line))
		return false;
	module = word(w);
	return put(p,
		   trace_put_symbol(p->w, &rec, module ? module : "", function, file ? file : ""));
}

static bool line_path(struct parser *p, struct words *w)
{
	struct trace_path rec = {0};
	char path[TEXT_LINE_MAX];
	uint32_t fd;

	if (!word_number(p, w, &rec.pid) || !word_number(p, w, &fd) ||
	    !word_time(p, w, &rec.mono_ns))
		return false;
	rec.fd = (int32_t)fd;
	join(w, path, sizeof(path), ' ');
	return put(p, trace_put_path(p->w, &rec, path));
}

static bool line_lost(struct parser *p, struct words *w)
{
	struct trace_lost rec = {.why = 1};
	uint32_t count;

	if (!word_number(p, w, &rec.tid) || !word_number(p, w, &count) ||
	    !word_time(p, w, &rec.mono_ns))
		return false;
	rec.count = count;
	return put(p, trace_put_lost(p->w, &rec));
}

static bool line_cpu(struct parser *p, struct words *w)
{
	struct trace_cpu rec = {0};
	struct cpu *cpu;
	const char *s;
	uint64_t v;

	if (!word_number(p, w, &rec.tid))
		return false;
	s = word(w);
	if (!s)
		return fail(p, "the CPU time is missing");
	if (!number(p, s + (*s == '+'), &v) || !word_time(p, w, &rec.mono_ns))
		return false;
	HASH_FIND(hh, p->cpus, &rec.tid, sizeof(rec.tid), cpu);
	if (!cpu) {
		cpu = calloc(1, sizeof(*cpu));
		if (!cpu)
			return fail(p, "out of memory");
		cpu->tid = rec.tid;
		HASH_ADD(hh, p->cpus, tid, sizeof(cpu->tid), cpu);
	}
	cpu->ns = *s == '+' ? cpu->ns + v : v;
	rec.cpu_ns = cpu->ns;
	return put(p, trace_put_cpu(p->w, &rec));
}

static bool line_mark(struct parser *p, struct words *w)
{
	struct trace_mark rec = {0};
	const char *s = word(w);

	for (uint32_t i = 1; s && name_mark(i); i++)
		if (!strcmp(name_mark(i), s))
			rec.kind = i;
	if (!rec.kind)
		return fail(p, "a mark is ready, begin or end");
	return word_time(p, w, &rec.mono_ns) && put(p, trace_put_mark(p->w, &rec));
}

static bool line_exit(struct parser *p, struct words *w)
{
	struct trace_exit rec = {0};

	return word_number(p, w, &rec.tid) && word_number(p, w, &rec.status) &&
	       word_time(p, w, &rec.mono_ns) && put(p, trace_put_exit(p->w, &rec));
}

static bool line_signal(struct parser *p, struct words *w)
{
	struct trace_signal rec = {0};

	return word_number(p, w, &rec.tid) && word_number(p, w, &rec.signo) &&
	       word_time(p, w, &rec.mono_ns) && put(p, trace_put_signal(p->w, &rec));
}

static bool line_sync(struct parser *p, struct words *w)
{
	uint64_t ns;

	return word_time(p, w, &ns) && put(p, trace_sync(p->w, ns));
}

static bool descriptor(struct parser *p, char *s, struct trace_call *c)
{
	char *save;
	bool found = false;

	s = strtok_r(s, ",", &save);
	for (unsigned int i = 0; s && i < TRACE_FD_KINDS; i++)
		if (!strcmp(name_fd_kind(i), s)) {
			c->fd_kind = (uint8_t)i;
			found = true;
		}
	if (!found)
		return fail(p, "this word means nothing in a call");
	while ((s = strtok_r(NULL, ",", &save))) {
		found = false;
		for (unsigned int i = 0; i < COUNT(fd_flags); i++)
			if (!strcmp(fd_flags[i].name, s)) {
				c->fd_flags |= fd_flags[i].flag;
				found = true;
			}
		if (!found)
			return fail(p, "a descriptor is nb, append, w or sync");
	}
	return true;
}

static bool result(struct parser *p, const char *s, int64_t *v)
{
	uint64_t n;

	if (s[0] == '-' && s[1] == 'E') {
		for (int e = 1; e < 134; e++) {
			const char *name = strerrorname_np(e);

			if (name && !strcmp(name, s + 1)) {
				*v = -e;
				return true;
			}
		}
		return fail(p, "there is no such error");
	}
	if (!number(p, s, &n))
		return false;
	*v = (int64_t)n;
	return true;
}

static bool option(struct parser *p, char *s, struct trace_call *c, uint64_t *duration)
{
	if (s[0] == '+')
		return number(p, s + 1, duration);
	if (!strncmp(s, "stack=", 6))
		return number32(p, s + 6, &c->stack);
	if (!strncmp(s, "extra=", 6))
		return number(p, s + 6, &c->extra);
	if (!strcmp(s, "unfinished")) {
		c->flags |= TRACE_CALL_UNFINISHED;
		return true;
	}
	if (!strcmp(s, "restarted")) {
		c->flags |= TRACE_CALL_RESTARTED;
		return true;
	}
	if (!strncmp(s, "lane=", 5)) {
		for (unsigned int i = 0; name_lane(i); i++)
			if (!strcmp(name_lane(i), s + 5)) {
				c->lane = (uint8_t)i;
				return true;
			}
		return fail(p, "a lane is ring, net or stop");
	}
	return descriptor(p, s, c);
}

/* "NAME(ARG, ...)"; *@rest gets what follows. */
static bool signature(struct parser *p, char *s, struct trace_call *c, char **rest)
{
	char *open = strchr(s, '(');
	char *close = open ? strchr(open, ')') : NULL;
	const struct call_row *row;
	unsigned int n = 0;
	char *save;
	uint64_t nr;

	if (!close)
		return fail(p, "NAME(ARGUMENTS) is expected");
	*open = 0;
	*close = 0;
	*rest = close + 1;
	row = call_row_by_name(s);
	if (!row && isdigit((unsigned char)*s)) {
		if (!number(p, s, &nr))
			return false;
	} else if (!row || row->nr < 0) {
		return fail(p, "there is no such call");
	} else {
		nr = (uint64_t)row->nr;
	}
	if (nr > UINT16_MAX)
		return fail(p, "there is no such call");
	c->nr = (uint16_t)nr;
	for (s = strtok_r(open + 1, ", ", &save); s; s = strtok_r(NULL, ", ", &save)) {
		if (n == call_nargs(call_row(c->nr)))
			return fail(p, "the call takes fewer arguments");
		if (!number(p, s, &c->args[n++]))
			return false;
	}
	return true;
}

static bool line_call(struct parser *p, char *text)
{
	struct trace_call c = {0};
	uint64_t duration = 500;
	struct words w;
	char *name;
	char *rest;
	const char *s;

	c.tid = (uint32_t)strtoul(text, &name, 10);
	while (isspace((unsigned char)*name))
		name++;
	if (!c.tid)
		return fail(p, "the thread is missing");
	if (!signature(p, name, &c, &rest) || !split(p, rest, &w))
		return false;
	s = word(&w);
	if (!s || strcmp(s, "="))
		return fail(p, "'=' is expected");
	s = word(&w);
	if (!s)
		return fail(p, "the result is missing");
	if (!result(p, s, &c.result) || !word_time(p, &w, &c.enter_ns))
		return false;
	while (w.next < w.n)
		if (!option(p, w.w[w.next++], &c, &duration))
			return false;
	c.exit_ns = c.enter_ns + duration;
	p->now = c.exit_ns;
	if (trace_put_call(p->w, &c) == -EINVAL)
		return fail(p, "there is no such stack");
	p->records++;
	return true;
}

static bool parse_line(struct parser *p, const char *text)
{
	static const struct {
		const char *name;
		bool (*parse)(struct parser *p, struct words *w);
	} forms[] = {
		{"fact", line_fact},   {"process", line_process}, {"thread", line_thread},
		{"stack", line_stack}, {"symbol", line_symbol},	  {"path", line_path},
		{"lost", line_lost},   {"cpu", line_cpu},	  {"mark", line_mark},
		{"exit", line_exit},   {"signal", line_signal},	  {"sync", line_sync},
	};
	char line[TEXT_LINE_MAX];
	struct words w;
	const char *s;

	if (p->cut)
		return fail(p, "nothing may follow 'cut'");
	strcpy(line, text);
	if (!strncmp(line, "call ", 5))
		return line_call(p, line + 5);
	if (!split(p, line, &w))
		return false;
	s = word(&w);
	if (!s)
		return true;
	if (!strcmp(s, "cut")) {
		p->cut = true;
		return true;
	}
	for (unsigned int i = 0; i < COUNT(forms); i++)
		if (!strcmp(forms[i].name, s))
			return forms[i].parse(p, &w);
	return fail(p, "no line begins with this word");
}

static bool begins(const char *line, const char *name)
{
	size_t n = strlen(name);

	return !strncmp(line, name, n) && (!line[n] || isspace((unsigned char)line[n]));
}

/* Lines @from to @to (not included). Return: where it went wrong, @to if nowhere. */
static size_t parse_lines(struct parser *p, size_t from, size_t to, unsigned int depth)
{
	for (size_t i = from; i < to; i++) {
		unsigned int open = 1;
		uint64_t times;
		size_t end;

		if (begins(p->lines[i], "done")) {
			p->what = "there is no 'repeat' for this";
			return i;
		}
		if (!begins(p->lines[i], "repeat")) {
			if (!parse_line(p, p->lines[i]))
				return i;
			continue;
		}
		for (end = i + 1; end < to; end++) {
			open += begins(p->lines[end], "repeat");
			open -= begins(p->lines[end], "done");
			if (!open)
				break;
		}
		if (end == to || depth == NEST_MAX) {
			p->what = "'done' is missing, or too many nest";
			return i;
		}
		times = strtoull(p->lines[i] + 6, NULL, 10);
		while (times--) {
			size_t at = parse_lines(p, i + 1, end, depth + 1);

			if (at < end)
				return at;
			if (p->records > REPEAT_MAX) {
				p->what = "this makes too many records";
				return i;
			}
		}
		i = end;
	}
	return to;
}

static int read_lines(struct parser *p, FILE *f)
{
	char line[TEXT_LINE_MAX];
	size_t room = 0;

	while (fgets(line, sizeof(line), f)) {
		size_t skip = strspn(line, " \t");
		size_t n;

		line[strcspn(line, "\r\n")] = 0;
		n = strlen(line);
		while (n > skip && isspace((unsigned char)line[n - 1]))
			line[--n] = 0;
		if (p->nlines == room) {
			char **lines;

			room = room ? room * 2 : 64;
			lines = realloc(p->lines, room * sizeof(*lines));
			if (!lines)
				return -ENOMEM;
			p->lines = lines;
		}
		p->lines[p->nlines] = strdup(line + (skip < n ? skip : n));
		if (!p->lines[p->nlines++])
			return -ENOMEM;
	}
	return 0;
}

int trace_text_parse(FILE *f, struct trace_writer *w, unsigned int *line, const char **what)
{
	struct parser p = {.w = w};
	struct cpu *cpu;
	struct cpu *next;
	size_t at;
	int err;

	p.zero = p.now = trace_writer_start_ns(w);
	err = read_lines(&p, f);
	if (!err) {
		at = parse_lines(&p, 0, p.nlines, 0);
		if (at < p.nlines) {
			*line = (unsigned int)at + 1;
			*what = p.what;
			err = -EINVAL;
		}
	}
	if (!err)
		err = p.cut ? trace_sync(w, p.now) : trace_end(w, p.now);
	HASH_ITER (hh, p.cpus, cpu, next) {
		HASH_DEL(p.cpus, cpu);
		free(cpu);
	}
	for (size_t i = 0; i < p.nlines; i++)
		free(p.lines[i]);
	free(p.lines);
	return err;
}

static void print_number(FILE *f, const char *before, uint64_t v)
{
	if (v < 65536)
		fprintf(f, "%s%ju", before, (uintmax_t)v);
	else
		fprintf(f, "%s%#jx", before, (uintmax_t)v);
}

static void print_call(FILE *f, uint64_t zero, const struct trace_call *c)
{
	const struct call_row *row = call_row(c->nr);
	const char *err = name_error(c->result);

	fprintf(f, "call %u ", c->tid);
	if (row->name)
		fprintf(f, "%s(", row->name);
	else
		fprintf(f, "%u(", c->nr);
	for (unsigned int i = 0; i < call_nargs(row); i++)
		print_number(f, i ? ", " : "", c->args[i]);
	if (err)
		fprintf(f, ") = -%s", err);
	else
		fprintf(f, ") = %jd", (intmax_t)c->result);
	fprintf(f, " @%ju +%ju", (uintmax_t)(c->enter_ns - zero),
		(uintmax_t)(c->exit_ns - c->enter_ns));
	if (c->fd_kind)
		fprintf(f, " %s", name_fd_kind(c->fd_kind));
	for (unsigned int i = 0; c->fd_kind && i < COUNT(fd_flags); i++)
		if (c->fd_flags & fd_flags[i].flag)
			fprintf(f, ",%s", fd_flags[i].name);
	if (c->stack)
		fprintf(f, " stack=%u", c->stack);
	if (c->extra)
		fprintf(f, " extra=%ju", (uintmax_t)c->extra);
	if (c->lane)
		fprintf(f, " lane=%s", name_lane(c->lane));
	if (c->flags & TRACE_CALL_UNFINISHED)
		fputs(" unfinished", f);
	if (c->flags & TRACE_CALL_RESTARTED)
		fputs(" restarted", f);
	fputc('\n', f);
}

static void print_process(FILE *f, uint64_t zero, const struct trace_event *ev)
{
	const struct trace_process *p = &ev->process.p;

	fprintf(f, "process %u ppid=%u how=%u preload=%u @%ju", p->pid, p->ppid, p->how, p->preload,
		(uintmax_t)(p->mono_ns - zero));
	for (size_t i = 0; i < ev->process.cmdline_size; i += strlen(ev->process.cmdline + i) + 1)
		fprintf(f, " %s", ev->process.cmdline + i);
	fputc('\n', f);
}

void trace_text_print(FILE *f, const struct trace_file_header *h, const struct trace_event *ev)
{
	uint64_t zero = h->start_mono_ns;

	switch (ev->type) {
	case TRACE_REC_FACT:
		fprintf(f, "fact %s %s\n", ev->fact.key, ev->fact.value);
		break;
	case TRACE_REC_PROCESS:
		print_process(f, zero, ev);
		break;
	case TRACE_REC_THREAD:
		fprintf(f, "thread %u %u @%ju %s\n", ev->thread.t.tid, ev->thread.t.pid,
			(uintmax_t)(ev->thread.t.mono_ns - zero), ev->thread.comm);
		break;
	case TRACE_REC_STACK:
		fprintf(f, "stack %u", ev->stack.s.pid);
		for (uint32_t i = 0; i < ev->stack.s.depth; i++)
			fprintf(f, " %#jx", (uintmax_t)ev->stack.pc[i]);
		fputc('\n', f);
		break;
	case TRACE_REC_SYMBOL:
		fprintf(f, "symbol %u %#jx %s %s %u %s\n", ev->symbol.s.pid,
			(uintmax_t)ev->symbol.s.pc,
			*ev->symbol.function ? ev->symbol.function : "?",
			*ev->symbol.file ? ev->symbol.file : "?", ev->symbol.s.line,
			ev->symbol.module);
		break;
	case TRACE_REC_CALLS:
		print_call(f, zero, &ev->call);
		break;
	case TRACE_REC_LOST:
		fprintf(f, "lost %u %ju @%ju\n", ev->lost.tid, (uintmax_t)ev->lost.count,
			(uintmax_t)(ev->lost.mono_ns - zero));
		break;
	case TRACE_REC_CPU:
		fprintf(f, "cpu %u %ju @%ju\n", ev->cpu.tid, (uintmax_t)ev->cpu.cpu_ns,
			(uintmax_t)(ev->cpu.mono_ns - zero));
		break;
	case TRACE_REC_MARK:
		if (name_mark(ev->mark.kind))
			fprintf(f, "mark %s @%ju\n", name_mark(ev->mark.kind),
				(uintmax_t)(ev->mark.mono_ns - zero));
		break;
	case TRACE_REC_EXIT:
		fprintf(f, "exit %u %u @%ju\n", ev->exit.tid, ev->exit.status,
			(uintmax_t)(ev->exit.mono_ns - zero));
		break;
	case TRACE_REC_SIGNAL:
		fprintf(f, "signal %u %u @%ju\n", ev->signal.tid, ev->signal.signo,
			(uintmax_t)(ev->signal.mono_ns - zero));
		break;
	case TRACE_REC_PATH:
		fprintf(f, "path %u %d @%ju %s\n", ev->path.p.pid, ev->path.p.fd,
			(uintmax_t)(ev->path.p.mono_ns - zero), ev->path.path);
		break;
	case TRACE_REC_SYNC:
	case TRACE_REC_END:
		break;
	}
}
