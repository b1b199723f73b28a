/* SPDX-License-Identifier: MIT */
/* loop.c - find the event loops and cut each thread's calls into turns. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sys/epoll.h>
#include <sys/socket.h>

#include <analyzer/hash.h>
#include <analyzer/loop.h>
#include <analyzer/names.h>

#define FRAMES_MAX  8u
#define OPS_MAX	    4096u
#define GROUP_SLOTS 256u
#define FD_MAX	    65536u
#define NO_KIND	    (KINDS_MAX - 1) /* what does not fit the table */

/** One call of an open turn. */
struct op {
	uint32_t fd; /* of a stream it acts on, else UINT32_MAX */
	uint16_t kind;
	uint8_t verdict;
	uint8_t outcome;
	uint8_t reason;
	uint8_t request;
	uint8_t failed;
	uint8_t chain_end; /* nothing may be made side by side with it, whoever schedules */
	uint32_t ns;
};

/** An open turn: of the loop whose wait returned last, or of one around it. */
struct frame {
	struct loop *loop;
	uint64_t begin_ns;
	uint32_t first; /* of its ops */
	struct tally t;
};

/** The calls of one request, being collected. */
struct group {
	uint32_t fd;
	uint32_t stamp; /* of the turn; another: the slot is free */
	uint32_t results;
	struct pattern p;
};

struct thread {
	uint32_t tid;
	uint32_t pid;
	struct batch *batch;
	struct tally total;
	uint32_t nframes;
	struct frame frames[FRAMES_MAX];
	uint32_t nops;
	struct op *ops;
	UT_hash_handle hh;
};

struct process {
	uint32_t pid;
	uint32_t nfds;
	struct fd_state *fds;
	UT_hash_handle hh;
};

struct kind_slot {
	struct call_kind kind;
	uint32_t index;
	UT_hash_handle hh;
};

struct loops {
	struct limits lim;
	struct thread *threads;
	struct process *processes;
	struct kind_slot *by_kind;
	uint32_t nkinds;
	struct call_kind kinds[KINDS_MAX];
	uint32_t nloops;
	struct loop *loops[LOOPS_MAX];
	uint32_t stamp;
	struct group groups[GROUP_SLOTS];
};

struct loops *loops_new(const struct limits *lim)
{
	struct loops *l = calloc(1, sizeof(*l));

	if (l)
		l->lim = *lim;
	return l;
}

static void loop_free(struct loop *loop)
{
	free(loop->kinds);
	free(loop->samples);
	free(loop->patterns);
	free(loop);
}

static void thread_free(struct loops *l, struct thread *th)
{
	HASH_DEL(l->threads, th);
	batch_free(th->batch);
	free(th->ops);
	free(th);
}

static void process_free(struct loops *l, struct process *p)
{
	HASH_DEL(l->processes, p);
	free(p->fds);
	free(p);
}

void loops_free(struct loops *l)
{
	struct thread *th, *th2;
	struct process *p, *p2;
	struct kind_slot *k, *k2;

	if (!l)
		return;
	HASH_ITER (hh, l->threads, th, th2)
		thread_free(l, th);
	HASH_ITER (hh, l->processes, p, p2)
		process_free(l, p);
	HASH_ITER (hh, l->by_kind, k, k2) {
		HASH_DEL(l->by_kind, k);
		free(k);
	}
	for (uint32_t i = 0; i < l->nloops; i++)
		loop_free(l->loops[i]);
	free(l);
}

static struct thread *thread_get(struct loops *l, uint32_t tid, uint32_t pid)
{
	struct thread *th;

	HASH_FIND(hh, l->threads, &tid, sizeof(tid), th);
	if (th)
		return th;
	th = calloc(1, sizeof(*th));
	if (!th)
		return NULL;
	th->tid = tid;
	th->pid = pid;
	HASH_ADD(hh, l->threads, tid, sizeof(tid), th);
	return th;
}

static struct process *process_get(struct loops *l, uint32_t pid)
{
	struct process *p;

	HASH_FIND(hh, l->processes, &pid, sizeof(pid), p);
	if (p)
		return p;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->pid = pid;
	HASH_ADD(hh, l->processes, pid, sizeof(pid), p);
	return p;
}

/* The state of a descriptor; a scratch one where it has no place in the table. */
static struct fd_state *fd_get(struct loops *l, uint32_t pid, uint64_t fd)
{
	static struct fd_state scratch;
	struct process *p;

	scratch = (struct fd_state){0};
	if (fd >= FD_MAX)
		return &scratch;
	p = process_get(l, pid);
	if (!p)
		return &scratch;
	if (fd >= p->nfds) {
		uint32_t n = p->nfds ? p->nfds : 64;
		struct fd_state *fds;

		while (n <= fd)
			n *= 2;
		fds = realloc(p->fds, n * sizeof(*fds));
		if (!fds)
			return &scratch;
		memset(fds + p->nfds, 0, (n - p->nfds) * sizeof(*fds));
		p->fds = fds;
		p->nfds = n;
	}
	return &p->fds[fd];
}

void loops_exec(struct loops *l, uint32_t pid)
{
	struct process *p;

	HASH_FIND(hh, l->processes, &pid, sizeof(pid), p);
	if (p)
		process_free(l, p);
}

void loops_exit(struct loops *l, uint32_t tid)
{
	struct process *p;
	struct thread *th;

	HASH_FIND(hh, l->threads, &tid, sizeof(tid), th);
	if (th)
		thread_free(l, th);
	HASH_FIND(hh, l->processes, &tid, sizeof(tid), p);
	if (p)
		process_free(l, p);
}

struct tally loops_thread_total(const struct loops *l, uint32_t tid)
{
	struct thread *th;

	HASH_FIND(hh, l->threads, &tid, sizeof(tid), th);
	return th ? th->total : (struct tally){0};
}

void loops_reset(struct loops *l)
{
	struct thread *th, *next;

	HASH_ITER (hh, l->threads, th, next) {
		th->total = (struct tally){0};
	}
	for (uint32_t i = 0; i < l->nloops; i++) {
		struct loop *loop = l->loops[i];

		loop->total = (struct tally){0};
		loop->threads = 0;
		loop->nsamples = 0;
		loop->stride = 1;
		loop->npatterns = 0;
		memset(loop->kinds, 0, KINDS_MAX * sizeof(*loop->kinds));
		memset(loop->degree, 0, sizeof(loop->degree));
		memset(loop->lanes, 0, sizeof(loop->lanes));
	}
}

static struct call_kind kind_of(const struct trace_call *c, const struct call_row *row)
{
	struct call_kind k;

	memset(&k, 0, sizeof(k)); /* it is a hash key */
	k.nr = c->nr;
	k.fd_kind = row->fd_arg >= 0 ? c->fd_kind : 0;
	k.log = c->fd_kind == TRACE_FD_REG && c->fd_flags & TRACE_FD_APPEND &&
		row->cls == CALL_DEFER && row->ret != CALL_RET_ZERO;
	k.again = c->result == -EAGAIN;
	if (row->name && !strcmp(row->name, "setsockopt")) {
		k.level = (uint32_t)c->args[1];
		k.option = (uint16_t)c->args[2];
		k.is_set = c->extra != 0;
	} else if (row->name && !strcmp(row->name, "getsockopt")) {
		k.level = (uint32_t)c->args[1];
		k.option = (uint16_t)c->args[2];
	} else if (row->name && !strcmp(row->name, "epoll_ctl")) {
		k.option = (uint16_t)c->args[1];
	}
	return k;
}

static uint16_t kind_index(struct loops *l, const struct trace_call *c, const struct call_row *row)
{
	struct call_kind k = kind_of(c, row);
	struct kind_slot *s;

	HASH_FIND(hh, l->by_kind, &k, sizeof(k), s);
	if (s)
		return (uint16_t)s->index;
	if (l->nkinds == NO_KIND)
		return NO_KIND;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NO_KIND;
	s->kind = k;
	s->index = l->nkinds;
	l->kinds[l->nkinds++] = k;
	HASH_ADD(hh, l->by_kind, kind, sizeof(s->kind), s);
	return (uint16_t)s->index;
}

const char *kind_label(const struct call_kind *k, char *buf, size_t size)
{
	const struct call_row *row = call_row(k->nr);
	const char *again = k->again ? " -> EAGAIN" : "";
	const char *name;

	if (!row->name) {
		snprintf(buf, size, "call %u%s", k->nr, again);
	} else if (!strcmp(row->name, "epoll_ctl")) {
		name = name_epoll_op(k->option);
		snprintf(buf, size, "epoll_ctl(%s)%s", name ? name + strlen("EPOLL_CTL_") : "?",
			 again);
	} else if (strstr(row->name, "sockopt")) {
		name = name_sockopt(k->level, k->option);
		if (name && row->name[0] == 's')
			snprintf(buf, size, "setsockopt(%s %u)", name, k->is_set);
		else if (name)
			snprintf(buf, size, "getsockopt(%s)", name);
		else
			snprintf(buf, size, "%s(%u:%u)", row->name, k->level, k->option);
	} else if (k->log) {
		snprintf(buf, size, "%s(log)%s", row->name, again);
	} else if (k->fd_kind == TRACE_FD_REG || k->fd_kind == TRACE_FD_PIPE ||
		   k->fd_kind == TRACE_FD_EVENT || k->fd_kind == TRACE_FD_DGRAM) {
		snprintf(buf, size, "%s(%s)%s", row->name,
			 k->fd_kind == TRACE_FD_REG ? "file" : name_fd_kind(k->fd_kind), again);
	} else if (!strcmp(row->name, "close") && k->fd_kind >= TRACE_FD_TCP) {
		snprintf(buf, size, "close(%s)", name_fd_kind(k->fd_kind));
	} else {
		snprintf(buf, size, "%s%s", row->name, again);
	}
	return buf;
}

/* The loop of a wait site; NULL if there are too many. */
static struct loop *loop_get(struct loops *l, const struct trace_call *c, uint32_t pid)
{
	struct loop *loop;

	for (uint32_t i = 0; i < l->nloops; i++) {
		loop = l->loops[i];
		if (loop->nr == c->nr && loop->stack == c->stack && (c->stack || loop->pid == pid))
			return loop;
	}
	if (l->nloops == LOOPS_MAX)
		return NULL;
	loop = calloc(1, sizeof(*loop));
	if (!loop)
		return NULL;
	loop->nr = c->nr;
	loop->stack = c->stack;
	loop->pid = pid;
	loop->tid = c->tid;
	loop->stride = 1;
	loop->kinds = calloc(KINDS_MAX, sizeof(*loop->kinds));
	loop->samples = calloc(SAMPLES_MAX, sizeof(*loop->samples));
	loop->patterns = calloc(PATTERNS_MAX, sizeof(*loop->patterns));
	if (!loop->kinds || !loop->samples || !loop->patterns) {
		loop_free(loop);
		return NULL;
	}
	l->loops[l->nloops++] = loop;
	return loop;
}

static void note_thread(struct loop *loop, uint32_t tid)
{
	uint32_t n = loop->threads < 64 ? loop->threads : 64;

	for (uint32_t i = n; i-- > 0;)
		if (loop->tids[i] == tid)
			return;
	if (loop->threads < 64)
		loop->tids[loop->threads] = tid;
	loop->threads++;
}

static void add_sample(struct loop *loop, const struct tally *t)
{
	if (loop->total.turns % loop->stride)
		return;
	if (loop->nsamples == SAMPLES_MAX) {
		for (uint32_t i = 0; i < SAMPLES_MAX / 2; i++)
			loop->samples[i] = loop->samples[2 * i];
		loop->nsamples = SAMPLES_MAX / 2;
		loop->stride *= 2;
		if (loop->total.turns % loop->stride)
			return;
	}
	loop->samples[loop->nsamples++] = *t;
}

static void add_pattern(struct loop *loop, const struct pattern *p, uint64_t count)
{
	for (uint32_t i = 0; i < loop->npatterns; i++) {
		struct pattern *q = &loop->patterns[i];

		if (q->n == p->n && !memcmp(q->kind, p->kind, p->n * sizeof(p->kind[0]))) {
			q->count += count;
			return;
		}
	}
	if (loop->npatterns == PATTERNS_MAX)
		return;
	loop->patterns[loop->npatterns] = *p;
	loop->patterns[loop->npatterns++].count = count;
}

static void group_end(struct loop *loop, struct group *g, uint32_t *deepest)
{
	if (g->results > *deepest)
		*deepest = g->results;
	if (g->p.n)
		add_pattern(loop, &g->p, 1);
	g->stamp = 0;
}

/*
 * Take the ops of a turn, or of a part of one, to the loop's account; sort them by request: a call
 * on a connection belongs to the connection's last request, any other call to the request last
 * seen. Return: fewest crossings for them: the longest chain of answers that one request needs,
 * chains of several requests side by side; a barrier ends all chains.
 */
static uint32_t account(struct loops *l, struct loop *loop, const struct op *ops, uint32_t n)
{
	struct group *last = NULL;
	uint32_t deepest = 0;
	uint32_t depth = 0;

	l->stamp++;
	for (uint32_t i = 0; i < n; i++) {
		const struct op *op = &ops[i];
		struct kind_tally *k = &loop->kinds[op->kind];
		struct group *g = last;

		k->count++;
		k->failed += op->failed;
		k->ns += op->ns;
		k->verdict[op->verdict]++;
		k->outcome[op->outcome]++;
		k->reason[op->reason]++;
		if (op->fd != UINT32_MAX && l->groups[op->fd % GROUP_SLOTS].fd == op->fd &&
		    l->groups[op->fd % GROUP_SLOTS].stamp == l->stamp)
			g = &l->groups[op->fd % GROUP_SLOTS];
		if (op->request) {
			g = &l->groups[op->fd % GROUP_SLOTS];
			if (g->stamp == l->stamp)
				group_end(loop, g, &deepest);
			memset(g, 0, sizeof(*g));
			g->fd = op->fd;
			g->stamp = l->stamp;
		}
		if (op->chain_end) {
			depth += deepest + 1;
			deepest = 0;
		}
		if (!g)
			continue;
		last = g;
		if (op->verdict == VERDICT_RESULT && ++g->results > deepest)
			deepest = g->results;
		if (op->chain_end)
			g->results = 0;
		if (g->p.n < SEQUENCE_MAX)
			g->p.kind[g->p.n++] = op->kind;
	}
	for (uint32_t i = 0; i < GROUP_SLOTS; i++)
		if (l->groups[i].stamp == l->stamp)
			group_end(loop, &l->groups[i], &deepest);
	return depth + deepest;
}

static struct frame *top(struct thread *th)
{
	return th->nframes ? &th->frames[th->nframes - 1] : NULL;
}

/* The turn of the thread's innermost loop is complete. */
static void close_turn(struct loops *l, struct thread *th)
{
	struct frame *f = top(th);
	uint32_t n = th->nops - f->first;
	struct loop *loop = f->loop;

	f->t.depth += account(l, loop, th->ops + f->first, n) + 1;
	th->nops = f->first;
	if (f->t.calls <= 1)
		return; /* the wait alone */
	f->t.turns = 1;
	note_thread(loop, th->tid);
	loop->degree[f->t.requests < DEGREES - 1 ? f->t.requests : DEGREES - 1]++;
	add_sample(loop, &f->t);
	tally_add(&loop->total, &f->t);
	tally_add(&th->total, &f->t);
}

/*
 * A wait returned into the turn that is open: what its
 * site left unfinished belongs to the turn around it.
 */
static void pop_to(struct thread *th, uint32_t i)
{
	while (th->nframes > i + 1) {
		struct frame *f = top(th);

		tally_add(&th->frames[th->nframes - 2].t, &f->t);
		th->nframes--;
	}
}

static void begin_turn(struct thread *th, struct loop *loop, const struct trace_call *c)
{
	struct frame *f = top(th);

	if (!f || f->loop != loop) {
		if (th->nframes == FRAMES_MAX)
			pop_to(th, FRAMES_MAX - 2);
		f = &th->frames[th->nframes++];
	}
	memset(f, 0, sizeof(*f));
	f->loop = loop;
	f->first = th->nops;
	f->begin_ns = c->exit_ns;
	f->t.events = c->result > 0 ? (uint64_t)c->result : 0;
}

/* The ops of all open turns are too many: take the innermost turn's to account before it ends. */
static void spill_ops(struct loops *l, struct thread *th)
{
	struct frame *f = top(th);

	batch_flush(th->batch, &f->t);
	if (th->nops == f->first) /* outer turns hold them all */
		for (uint32_t i = 0; i < th->nframes; i++)
			th->frames[i].first = 0;
	f->t.depth += account(l, f->loop, th->ops + f->first, th->nops - f->first);
	th->nops = f->first;
}

static struct op *new_op(struct loops *l, struct thread *th, const struct trace_call *c,
			 const struct call_row *row, struct judgement j)
{
	uint64_t ns = c->exit_ns - c->enter_ns;
	struct op *op;

	if (th->nops == OPS_MAX)
		spill_ops(l, th);
	op = &th->ops[th->nops++];
	*op = (struct op){
		.fd = row->fd_arg == 0 && fd_is_stream(c) ? (uint32_t)c->args[0] : UINT32_MAX,
		.kind = kind_index(l, c, row),
		.verdict = (uint8_t)j.verdict,
		.reason = (uint8_t)j.reason,
		.request = call_is_request(c, row),
		.failed = c->result < 0,
		.chain_end = row->cls == CALL_BARRIER || row->cls == CALL_WAIT,
		.ns = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX,
	};
	return op;
}

static int on_wait(struct loops *l, struct thread *th, const struct trace_call *c,
		   const struct call_row *row, struct judgement j)
{
	struct loop *loop = loop_get(l, c, th->pid);
	struct fd_state none = {0};
	struct frame *f = top(th);
	uint32_t i = th->nframes;
	uint8_t outcome;

	if (!loop)
		return l->nloops == LOOPS_MAX ? 0 : -ENOMEM;
	if (!th->batch) {
		th->batch = batch_new(&l->lim);
		th->ops = calloc(OPS_MAX, sizeof(*th->ops));
		if (!th->batch || !th->ops)
			return -ENOMEM;
	}
	if (f) {
		batch_call(th->batch, &f->t, c, row, j, &none, &outcome);
		f->t.calls++;
		if (c->enter_ns > f->begin_ns)
			f->t.busy_ns += c->enter_ns - f->begin_ns;
		f->begin_ns = c->exit_ns;
	}
	while (i && th->frames[i - 1].loop != loop)
		i--;
	if (i) {
		pop_to(th, i - 1);
		close_turn(l, th);
		loop->lanes[c->lane]++;
	} else if (f) {
		new_op(l, th, c, row, j);
	}
	begin_turn(th, loop, c);
	return 0;
}

/* What a call tells of descriptors other than through its own verdict. */
static void learn(struct loops *l, const struct trace_call *c, const struct call_row *row,
		  uint32_t pid)
{
	if (row->ret == CALL_RET_FD && c->result >= 0)
		*fd_get(l, pid, (uint64_t)c->result) = (struct fd_state){0};
	if (row->cls != CALL_DEFER || row->ret != CALL_RET_ZERO || c->result < 0)
		return;
	if (!strcmp(row->name, "epoll_ctl"))
		fd_get(l, pid, c->args[2])->registered = c->args[1] != EPOLL_CTL_DEL;
	else if (!strcmp(row->name, "close"))
		*fd_get(l, pid, c->args[0]) = (struct fd_state){0};
}

int loops_call(struct loops *l, const struct trace_call *c, uint32_t pid)
{
	const struct call_row *row = call_row(c->flags & TRACE_CALL_COMPAT ? UINT16_MAX : c->nr);
	struct thread *th = thread_get(l, c->tid, pid);
	struct judgement j;
	struct fd_state *fd;
	struct frame *f;
	struct op *op;

	if (!th)
		return -ENOMEM;
	if (c->flags & TRACE_CALL_UNFINISHED)
		return 0;
	fd = fd_get(l, pid, row->fd_arg == 0 ? c->args[0] : UINT64_MAX);
	j = hazard_judge(c, row, fd, &l->lim);
	if (j.verdict == VERDICT_WAIT)
		return on_wait(l, th, c, row, j);
	f = top(th);
	if (f) {
		op = new_op(l, th, c, row, j);
		batch_call(th->batch, &f->t, c, row, j, fd, &op->outcome);
		f->t.calls++;
		f->t.requests += op->request;
		f->loop->lanes[c->lane]++;
	}
	learn(l, c, row, pid);
	return 0;
}

static int by_calls(const void *va, const void *vb)
{
	const struct loop *a = *(struct loop *const *)va;
	const struct loop *b = *(struct loop *const *)vb;

	if (a->total.calls != b->total.calls)
		return a->total.calls > b->total.calls ? -1 : 1;
	return a->stack < b->stack ? -1 : a->stack > b->stack;
}

static bool same_place(const struct timeline *t, const struct loop *a, const struct loop *b)
{
	struct site sa;
	struct site sb;

	if (a->nr == b->nr && !a->stack && !b->stack)
		return !strcmp(timeline_comm(t, a->tid), timeline_comm(t, b->tid));
	if (a->nr != b->nr || !timeline_site(t, a->stack, &sa) ||
	    !timeline_site(t, b->stack, &sb) || !(*sa.function || *sa.module))
		return false;
	return !strcmp(sa.module, sb.module) && !strcmp(sa.function, sb.function) &&
	       !strcmp(sa.file, sb.file) && sa.line == sb.line && sa.offset == sb.offset;
}

static void merge(struct loop *a, const struct loop *b)
{
	for (uint32_t i = 0; i < b->threads && i < 64; i++)
		note_thread(a, b->tids[i]);
	if (b->threads > 64)
		a->threads += b->threads - 64;
	for (unsigned int i = 0; i < 3; i++)
		a->lanes[i] += b->lanes[i];
	for (uint32_t i = 0; i < KINDS_MAX; i++) {
		uint64_t *to = (uint64_t *)&a->kinds[i];
		const uint64_t *from = (const uint64_t *)&b->kinds[i];

		for (size_t n = 0; n < sizeof(a->kinds[i]) / sizeof(*to); n++)
			to[n] += from[n];
	}
	for (uint32_t i = 0; i < DEGREES; i++)
		a->degree[i] += b->degree[i];
	for (uint32_t i = 0; i < b->npatterns; i++)
		add_pattern(a, &b->patterns[i], b->patterns[i].count);
	/* Of each as many samples as its share of the turns. */
	for (uint32_t i = 0, n = 0; i < b->nsamples; i++) {
		n += SAMPLES_MAX / 2;
		if (n < b->nsamples)
			continue;
		n = 0;
		if (a->nsamples == SAMPLES_MAX) {
			for (uint32_t k = 0; k < SAMPLES_MAX / 2; k++)
				a->samples[k] = a->samples[2 * k];
			a->nsamples = SAMPLES_MAX / 2;
		}
		a->samples[a->nsamples++] = b->samples[i];
	}
	tally_add(&a->total, &b->total);
}

void loops_merge(struct loops *l, const struct timeline *t)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < l->nloops; i++) {
		struct loop *loop = l->loops[i];
		uint32_t k = 0;

		while (k < n && !same_place(t, l->loops[k], loop))
			k++;
		if (k < n) {
			merge(l->loops[k], loop);
			loop_free(loop);
		} else if (loop->total.turns) {
			l->loops[n++] = loop;
		} else {
			loop_free(loop);
		}
	}
	l->nloops = n;
	qsort(l->loops, n, sizeof(l->loops[0]), by_calls);
}

uint32_t loops_count(const struct loops *l)
{
	return l->nloops;
}

const struct loop *loops_get(const struct loops *l, uint32_t i)
{
	return l->loops[i];
}

const struct call_kind *loops_kind(const struct loops *l, uint32_t kind)
{
	return &l->kinds[kind];
}

uint32_t loops_kinds(const struct loops *l)
{
	return l->nkinds;
}

unsigned int loop_degree(const struct loop *l, double q)
{
	uint64_t seen = 0;

	for (unsigned int i = 0; i < DEGREES; i++) {
		seen += l->degree[i];
		if (seen && (double)seen >= q * (double)l->total.turns)
			return i;
	}
	return 0;
}

const struct pattern *loop_pattern(const struct loop *l)
{
	const struct pattern *best = NULL;

	for (uint32_t i = 0; i < l->npatterns; i++)
		if (!best || l->patterns[i].count > best->count)
			best = &l->patterns[i];
	return best;
}
