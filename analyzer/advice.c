/* SPDX-License-Identifier: MIT */
/* advice.c - the pipeline: timeline, loops, savings, findings. */
#include "config.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <analyzer/advice.h>
#include <analyzer/hash.h>

/* Findings that save less of the server's CPU than this are listed as rejected. */
#define FINDING_PERCENT 0.5

/** CPU time of a thread between its first and last record that count. */
struct cpu_span {
	uint32_t tid;
	bool begun;
	uint64_t begin_ns, end_ns;
	struct tally begin, end;
	uint64_t calls; /* recorded in the ring, so far */
	uint64_t begin_calls, end_calls;
	UT_hash_handle hh;
};

struct run {
	struct advice *a;
	struct cpu_span *spans;
	bool over; /* the load has ended: what follows does not count */
	uint64_t begin_ns;
	uint64_t last_ns;
};

static struct cpu_span *span_get(struct run *r, uint32_t tid)
{
	struct cpu_span *s;

	HASH_FIND(hh, r->spans, &tid, sizeof(tid), s);
	if (s)
		return s;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->tid = tid;
	HASH_ADD(hh, r->spans, tid, sizeof(tid), s);
	return s;
}

static int on_cpu(struct run *r, const struct trace_cpu *c)
{
	struct cpu_span *s = span_get(r, c->tid);
	struct tally now = loops_thread_total(r->a->loops, c->tid);

	if (!s)
		return -ENOMEM;
	if (!s->begun) {
		s->begun = true;
		s->begin_ns = s->end_ns = c->cpu_ns;
		s->begin = s->end = now;
		s->begin_calls = s->end_calls = s->calls;
		return 0;
	}
	if (c->cpu_ns < s->end_ns || now.calls < s->end.calls)
		return 0; /* the thread is gone, or this is not the same thread */
	s->end_ns = c->cpu_ns;
	s->end = now;
	s->end_calls = s->calls;
	return 0;
}

/* What counts begins here. */
static void begin(struct run *r, uint64_t ns)
{
	struct advice *a = r->a;
	struct cpu_span *s, *next;

	loops_reset(a->loops);
	HASH_ITER (hh, r->spans, s, next) {
		s->begin_ns = s->end_ns;
		s->calls = s->begin_calls = s->end_calls = 0;
		s->begin = s->end = (struct tally){0};
	}
	a->lost = 0;
	memset(a->lanes, 0, sizeof(a->lanes));
	r->begin_ns = ns;
	r->last_ns = ns;
}

static void on_mark(struct run *r, const struct trace_mark *m)
{
	if (m->kind == TRACE_MARK_READY && !r->a->loaded)
		begin(r, m->mono_ns);
	if (m->kind == TRACE_MARK_LOAD_BEGIN) {
		r->a->loaded = true;
		begin(r, m->mono_ns);
	}
	if (m->kind == TRACE_MARK_LOAD_END && r->a->loaded) {
		r->over = true;
		r->last_ns = m->mono_ns;
	}
}

static int on_call(struct run *r, const struct trace_call *c)
{
	struct advice *a = r->a;
	struct cpu_span *s;

	a->calls++;
	if (r->over)
		return 0;
	if (!r->begin_ns)
		r->begin_ns = c->enter_ns;
	if (c->exit_ns > r->last_ns)
		r->last_ns = c->exit_ns;
	a->lanes[c->lane]++;
	if (c->lane == TRACE_LANE_RING) {
		s = span_get(r, c->tid);
		if (!s)
			return -ENOMEM;
		s->calls++;
	}
	return loops_call(a->loops, c, timeline_pid(a->timeline, c->tid));
}

static int on_event(struct run *r, const struct trace_event *ev)
{
	switch (ev->type) {
	case TRACE_REC_CALLS:
		return on_call(r, &ev->call);
	case TRACE_REC_CPU:
		return on_cpu(r, &ev->cpu);
	case TRACE_REC_MARK:
		on_mark(r, &ev->mark);
		return 0;
	case TRACE_REC_LOST:
		r->a->lost += r->over ? 0 : ev->lost.count;
		return 0;
	case TRACE_REC_PROCESS:
		if (ev->process.p.how != 4)
			loops_exec(r->a->loops, ev->process.p.pid);
		return 0;
	case TRACE_REC_EXIT:
		loops_exit(r->a->loops, ev->exit.tid);
		return 0;
	default:
		return 0;
	}
}

/* The server's CPU time for what is counted, from the threads' accounting where there is any. */
static void sum_cpu(struct run *r)
{
	struct advice *a = r->a;
	const char *fact = timeline_fact(a->timeline, "record_ns");
	double record_ns = fact ? strtod(fact, NULL) : 0;
	struct cpu_span *s, *next;
	double calls = 0;
	double cpu = 0;
	double recorder = 0;

	HASH_ITER (hh, r->spans, s, next) {
		cpu += (double)(s->end_ns - s->begin_ns);
		calls += (double)(s->end.calls - s->begin.calls);
		recorder += (double)(s->end_calls - s->begin_calls) * record_ns;
	}
	if (calls > 0 && cpu > 2 * recorder) {
		double scale = (double)a->total.calls / calls;

		a->cpu_source = CPU_MEASURED;
		a->cpu_ns = (cpu - recorder) * scale;
		a->recorder_ns = recorder * scale;
	} else if (a->total.busy_ns) {
		a->cpu_source = CPU_TURNS;
		a->recorder_ns = record_ns * (double)a->total.calls;
		a->cpu_ns = (double)a->total.busy_ns - a->recorder_ns;
		if (a->cpu_ns < (double)a->total.busy_ns / 2)
			a->cpu_ns = (double)a->total.busy_ns / 2;
	}
	a->cpu_share = 1;
	if (a->cpu_source == CPU_MEASURED) {
		double busy = (double)a->total.busy_ns - record_ns * (double)a->total.calls;

		if (busy > a->cpu_ns)
			a->cpu_share = a->cpu_ns / busy;
	}
}

static void free_spans(struct run *r)
{
	struct cpu_span *s, *next;

	HASH_ITER (hh, r->spans, s, next) {
		HASH_DEL(r->spans, s);
		free(s);
	}
}

/** A turn's saving, as a multiple of the mean. */
struct share {
	double rel;
	double weight;
};

static int by_rel(const void *va, const void *vb)
{
	const struct share *a = va;
	const struct share *b = vb;

	return a->rel < b->rel ? -1 : a->rel > b->rel;
}

static double quantile(const struct share *s, uint32_t n, double total, double q)
{
	double seen = 0;

	for (uint32_t i = 0; i < n; i++) {
		seen += s[i].weight;
		if (seen >= q * total)
			return s[i].rel;
	}
	return 1;
}

/*
 * What one turn in ten falls short of, and one in ten
 * exceeds, weighted by requests, in the loop that saves most.
 */
static void bound(struct advice *a, enum savings_backend b)
{
	const struct loop *loop = NULL;
	struct share share[SAMPLES_MAX];
	double most = 0;
	double mean;
	double total = 0;
	uint32_t n = 0;

	a->low[b] = a->high[b] = a->saved[b].fused;
	for (uint32_t i = 0; i < a->nloops; i++)
		if (fabs(a->loop[i].saved[b].fused) > most) {
			most = fabs(a->loop[i].saved[b].fused);
			loop = a->loop[i].loop;
		}
	if (!loop)
		return;
	mean = savings_of(&loop->total, &a->cost, b).fused /
	       (double)(loop->total.requests ? loop->total.requests : loop->total.calls);
	for (uint32_t i = 0; i < loop->nsamples; i++) {
		const struct tally *t = &loop->samples[i];
		double weight = (double)(loop->total.requests ? t->requests : t->calls);

		if (weight <= 0)
			continue;
		share[n].rel = savings_of(t, &a->cost, b).fused / weight / mean;
		share[n++].weight = weight;
		total += weight;
	}
	if (n < 10)
		return;
	qsort(share, n, sizeof(share[0]), by_rel);
	a->low[b] = a->saved[b].fused * quantile(share, n, total, 0.1);
	a->high[b] = a->saved[b].fused * quantile(share, n, total, 0.9);
}

static enum distrust distrust(const struct advice *a)
{
	if (!a->nloops)
		return DISTRUST_NO_LOOP;
	if (a->lanes[TRACE_LANE_STOP])
		return DISTRUST_STOPPED;
	if (a->cost.crossing <= 0)
		return DISTRUST_NO_COST;
	if (a->cpu_source == CPU_NONE)
		return DISTRUST_NO_CPU;
	return TRUSTED;
}

static void sum_loops(struct run *r)
{
	struct advice *a = r->a;

	loops_merge(a->loops, a->timeline);
	for (uint32_t i = 0; i < loops_count(a->loops); i++) {
		struct advice_loop *l = &a->loop[a->nloops++];

		l->loop = loops_get(a->loops, i);
		l->has_site = timeline_site(a->timeline, l->loop->stack, &l->site);
		snprintf(l->comm, sizeof(l->comm), "%s",
			 timeline_comm(a->timeline, l->loop->tids[0]));
		l->cpu_ns = (double)l->loop->total.busy_ns;
		tally_add(&a->total, &l->loop->total);
	}
	a->counted = a->total.calls;
	a->requests = a->total.requests;
	a->seconds = (double)(r->last_ns - r->begin_ns) / 1e9;
	sum_cpu(r);
	a->distrust = distrust(a);
	if (a->distrust)
		return;
	for (unsigned int b = 0; b < SAVINGS_BACKENDS; b++) {
		struct savings s = savings_of(&a->total, &a->cost, b);

		a->saved[b].grouped = s.grouped / a->cpu_ns;
		a->saved[b].fused = s.fused / a->cpu_ns;
		for (uint32_t i = 0; i < a->nloops; i++)
			a->loop[i].saved[b] = savings_of(&a->loop[i].loop->total, &a->cost, b);
		bound(a, b);
		if (a->saved[b].fused > 0.9)
			a->distrust = DISTRUST_CPU;
	}
	if (a->cost.uring && a->cost.uring_enter > 0 &&
	    a->saved[SAVINGS_URING].fused > a->saved[SAVINGS_DIRECT].fused + 0.01)
		a->best = SAVINGS_URING;
}

/* --- findings --- */

__attribute__((format(printf, 1, 2))) static const char *text(const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	return s;
}

/* @f is complete but for percent and rejected, which follow from @ns. Its evidence is owned. */
static void add_finding(struct advice *a, struct finding f, double ns)
{
	if (a->nfindings == FINDINGS_MAX || !f.evidence) {
		free((char *)f.evidence);
		return;
	}
	f.percent = a->distrust ? -1 : 100 * ns / a->cpu_ns;
	if (!a->distrust && f.percent < FINDING_PERCENT)
		f.rejected = f.percent <= 0 ? "it would cost more than it saves here"
					    : "it saves less than half a percent here";
	a->findings[a->nfindings++] = f;
}

static double each(const struct advice *a, uint64_t n)
{
	return a->requests ? (double)n / (double)a->requests : 0;
}

static void find_fusions(struct advice *a)
{
	const struct tally *t = &a->total;
	const struct cost *c = &a->cost;
	uint64_t writes = t->merged > t->bodies ? t->merged - t->bodies : 0;
	double kib = (double)t->body_bytes / 1024;

	if (t->merged || t->packets)
		add_finding(a,
			    (struct finding){
				    .key = "one-write",
				    .title = "replies leave in one write and one packet",
				    .what = "esca run merges what one turn writes to one "
					    "connection, and reads small files into it",
				    .evidence = text("%.2f packets, %.2f writes and %.2f sendfile "
						     "calls a request are not made",
						     each(a, t->packets), each(a, writes),
						     each(a, t->bodies)),
				    .risk = "none that the peer can tell: same bytes, same order",
			    },
			    (double)t->reply_ns + (double)t->joined * c->packet -
				    (double)t->bodies * (c->crossing + c->pread) -
				    kib * c->copy_kib);
	if (t->elided)
		add_finding(a,
			    (struct finding){
				    .key = "cork-pairs",
				    .title = "pairs of TCP_CORK and TCP_NODELAY vanish",
				    .what = "esca run leaves them out where one write remains "
					    "between them",
				    .evidence = text("%.2f setsockopt calls a request",
						     each(a, t->elided)),
				    .risk = "none: the options end as the server set them",
			    },
			    (double)t->elided_ns);
	if (t->logs)
		add_finding(a,
			    (struct finding){
				    .key = "log-merge",
				    .title = "log lines of a turn are one write",
				    .what = "esca run merges them; lines stay whole and in order",
				    .evidence = text("%.1f lines in each write",
						     (double)(t->logs + t->log_writes) /
							     (double)t->log_writes),
				    .risk = "a crash loses the lines of the turn it happens in",
			    },
			    (double)t->logs_ns);
	if (c->uring && t->uring_ops)
		add_finding(
			a,
			(struct finding){
				.key = "uring",
				.title = "the writes of a turn are one io_uring_enter",
				.what = "esca run --backend uring",
				.evidence = text("%.1f writes in each",
						 (double)t->uring_ops / (double)t->uring_enters),
				.risk = "needs io_uring to be allowed where the server runs",
			},
			(double)t->uring_ops * (c->crossing - c->uring_op) -
				(double)t->uring_enters * c->uring_enter);
}

/** What all loops spent in calls of some kinds. */
struct spent {
	uint64_t n;
	double ns;
};

static struct spent spent_in(const struct advice *a,
			     bool (*match)(const struct call_kind *k, const struct call_row *row))
{
	struct spent s = {0};

	for (uint32_t k = 0; k < loops_kinds(a->loops); k++) {
		const struct call_kind *kind = loops_kind(a->loops, k);

		if (!match(kind, call_row(kind->nr)))
			continue;
		for (uint32_t i = 0; i < a->nloops; i++) {
			s.n += a->loop[i].loop->kinds[k].count;
			s.ns += (double)a->loop[i].loop->kinds[k].ns;
		}
	}
	return s;
}

static bool is_name(const struct call_row *row, const char *prefix)
{
	return row->name && !strncmp(row->name, prefix, strlen(prefix));
}

static bool is_open(const struct call_kind *k, const struct call_row *row)
{
	return is_name(row, "open");
}

static bool is_open_stat_close(const struct call_kind *k, const struct call_row *row)
{
	return is_name(row, "open") || is_name(row, "newfstatat") || is_name(row, "fstat") ||
	       is_name(row, "stat") || is_name(row, "lstat") || is_name(row, "statx") ||
	       (is_name(row, "close") && k->fd_kind == TRACE_FD_REG);
}

static bool is_log_write(const struct call_kind *k, const struct call_row *row)
{
	return k->log && row->cls == CALL_DEFER;
}

static bool is_empty_read(const struct call_kind *k, const struct call_row *row)
{
	return k->again && row->cls == CALL_RESULT &&
	       (k->fd_kind == TRACE_FD_TCP || k->fd_kind == TRACE_FD_UNIX) && row->buf != CALL_IN;
}

static bool is_epoll_change(const struct call_kind *k, const struct call_row *row)
{
	return is_name(row, "epoll_ctl") && k->option != 1 /* EPOLL_CTL_ADD */;
}

static void find_plain(struct advice *a)
{
	const struct tally *t = &a->total;
	const struct cost *c = &a->cost;
	struct spent s;

	if (each(a, t->packets) >= 0.3)
		add_finding(
			a,
			(struct finding){
				.key = "nopush",
				.title = "header and body leave in two packets",
				.what = "nginx: 'tcp_nopush on;'; in a program: TCP_CORK, or "
					"MSG_MORE with the header",
				.evidence = text(
					"%.2f packets a request follow another of the same reply",
					each(a, t->packets)),
				.risk = "none for replies; two more setsockopt calls each",
				.plain = true,
			},
			(double)t->packets * (c->packet - 2 * (c->crossing + c->sockopt)));
	s = spent_in(a, is_open);
	if (each(a, s.n) >= 0.5) {
		s = spent_in(a, is_open_stat_close);
		add_finding(
			a,
			(struct finding){
				.key = "open-file-cache",
				.title =
					"the file is opened, looked at and closed for each request",
				.what = "nginx: 'open_file_cache max=1000;'; in a program: keep "
					"files open",
				.evidence = text("%.2f such calls a request, %.2f us together",
						 each(a, s.n), s.ns / 1000 / (double)a->requests),
				.risk = "a replaced file is served until the cache looks again",
				.plain = true,
			},
			s.ns);
	}
	s = spent_in(a, is_log_write);
	if (each(a, s.n) >= 0.5)
		add_finding(a,
			    (struct finding){
				    .key = "log-buffer",
				    .title = "the log is written once a request",
				    .what = "nginx: 'access_log ... buffer=64k flush=1s;'; in a "
					    "program: buffer it",
				    .evidence = text("%.2f writes a request, %.2f us each",
						     each(a, s.n), s.ns / 1000 / (double)s.n),
				    .risk = "lines appear up to the flush time later; a crash "
					    "loses them",
				    .plain = true,
			    },
			    s.ns * a->cpu_share * 0.98);
	s = spent_in(a, is_empty_read);
	if (each(a, s.n) >= 0.3)
		add_finding(
			a,
			(struct finding){
				.key = "trailing-eagain",
				.title = "reads go on until there is nothing left",
				.what = "in the program: stop after a read that did not fill its "
					"buffer (level-triggered epoll reports the rest)",
				.evidence = text("%.2f reads a request end in EAGAIN, %.2f us each",
						 each(a, s.n), s.ns / 1000 / (double)s.n),
				.risk = "with edge-triggered epoll the end of the stream must be "
					"asked for (EPOLLRDHUP)",
				.plain = true,
			},
			s.ns);
	s = spent_in(a, is_epoll_change);
	if (each(a, s.n) >= 0.5)
		add_finding(a,
			    (struct finding){
				    .key = "epoll-churn",
				    .title = "what epoll watches is changed for each request",
				    .what = "in the program: change it only where it differs at "
					    "the wait",
				    .evidence = text("%.2f epoll_ctl a request, %.2f us each",
						     each(a, s.n), s.ns / 1000 / (double)s.n),
				    .risk = "with EPOLLONESHOT or edges the change itself may be "
					    "what re-arms",
				    .plain = true,
			    },
			    s.ns * a->cpu_share);
}

static int by_worth(const void *va, const void *vb)
{
	const struct finding *a = va;
	const struct finding *b = vb;

	if (!a->rejected != !b->rejected)
		return a->rejected ? 1 : -1;
	if (a->percent != b->percent)
		return a->percent > b->percent ? -1 : 1;
	return strcmp(a->key, b->key);
}

static const char *main_command(const struct advice *a, uint32_t first_pid)
{
	const char *fact = timeline_fact(a->timeline, "command");

	return fact ? fact : timeline_command(a->timeline, first_pid);
}

int advice_from_file(FILE *f, const struct cost *c, const struct limits *lim, struct advice **ap,
		     enum trace_error *why)
{
	struct advice *a = calloc(1, sizeof(*a));
	struct run r = {.a = a};
	uint32_t first_pid = 0;
	struct trace_event ev;
	int err = -ENOMEM;

	*ap = NULL;
	*why = TRACE_OK;
	if (!a)
		return -ENOMEM;
	a->cost = *c;
	a->loops = loops_new(lim);
	if (!a->loops)
		goto out;
	*why = timeline_open(&a->timeline, f);
	err = -EINVAL;
	if (*why)
		goto out;
	while (!(a->end = timeline_next(a->timeline, &ev))) {
		if (ev.type == TRACE_REC_PROCESS && !first_pid)
			first_pid = ev.process.p.pid;
		err = on_event(&r, &ev);
		if (err)
			goto out;
	}
	*why = a->end;
	err = -EINVAL;
	if (a->end != TRACE_EOF && a->end != TRACE_CUT)
		goto out;
	a->command = main_command(a, first_pid);
	sum_loops(&r);
	if (a->nloops) {
		find_fusions(a);
		find_plain(a);
		qsort(a->findings, a->nfindings, sizeof(a->findings[0]), by_worth);
	}
	err = 0;
out:
	free_spans(&r);
	if (err) {
		advice_free(a);
		return err;
	}
	*ap = a;
	return 0;
}

void advice_free(struct advice *a)
{
	if (!a)
		return;
	for (uint32_t i = 0; i < a->nfindings; i++)
		free((char *)a->findings[i].evidence);
	loops_free(a->loops);
	timeline_free(a->timeline);
	free(a);
}

double advice_ratio(const struct advice *a, enum savings_backend b)
{
	return a->distrust ? 1 : 1 - a->saved[b].fused;
}

double advice_crossings(const struct advice *a, enum savings_backend b)
{
	return each(a, savings_crossings(&a->total, b));
}
