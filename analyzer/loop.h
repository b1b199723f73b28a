/* SPDX-License-Identifier: MIT */
/*
 * loop.h - find the event loops and cut each thread's calls into turns.
 *
 * A wait site is a call of class WAIT from one call stack. A turn of it begins where it returns and
 * ends where the same thread enters it again. A wait inside a turn of another site is nested: turns
 * that it completes are a loop of its own, the rest belongs to the turn around it. Turns without a
 * call are not counted.
 */
#ifndef ESCA_ANALYZER_LOOP_H
#define ESCA_ANALYZER_LOOP_H

#include <analyzer/batch.h>
#include <analyzer/timeline.h>

#define LOOPS_MAX    64u
#define KINDS_MAX    512u
#define SAMPLES_MAX  1024u
#define SEQUENCE_MAX 24u
#define PATTERNS_MAX 256u
#define DEGREES	     512u

/** What calls that the report shows in one row have in common. */
struct call_kind {
	uint16_t nr;
	uint8_t fd_kind;
	uint8_t log;	 /* an append-only file */
	uint8_t again;	 /* it failed with EAGAIN */
	uint8_t is_set;	 /* setsockopt: value is not 0 */
	uint16_t option; /* socket option or epoll_ctl operation */
	uint32_t level;
};

/** What came of the calls of one kind in one loop. */
struct kind_tally {
	uint64_t count;
	uint64_t failed;
	uint64_t ns; /* between enter and exit */
	uint64_t verdict[VERDICTS];
	uint64_t outcome[OUTCOMES];
	uint64_t reason[REASONS];
};

/** The calls of one request, in order. */
struct pattern {
	uint64_t count;
	uint16_t n;
	uint16_t kind[SEQUENCE_MAX];
};

struct loop {
	uint16_t nr;
	uint32_t stack;
	uint32_t pid; /* where it was seen first */
	uint32_t tid;
	uint32_t threads;
	uint32_t tids[64]; /* the first of them */
	struct tally total;
	struct kind_tally *kinds; /* KINDS_MAX, in the order of struct loops.kind */
	uint64_t degree[DEGREES]; /* turns by requests in them; the last counts all beyond */
	struct tally *samples;	  /* every stride-th turn */
	uint32_t nsamples;
	uint64_t stride;
	struct pattern *patterns;
	uint32_t npatterns;
	uint64_t lanes[3];
};

struct loops;

struct loops *loops_new(const struct limits *lim);
void loops_free(struct loops *l);

/**
 * loops_call() - the next call, in the order of time within each thread. @pid: of its thread.
 * Return: 0 or -ENOMEM.
 */
int loops_call(struct loops *l, const struct trace_call *c, uint32_t pid);
/** loops_exit() - thread @tid ended. */
void loops_exit(struct loops *l, uint32_t tid);
/** loops_exec() - process @pid is new, or runs a new program. */
void loops_exec(struct loops *l, uint32_t pid);
/**
 * loops_reset() - forget all results so far, not what
 * is known of descriptors: what matters begins now.
 */
void loops_reset(struct loops *l);
/**
 * loops_thread_total() - what all completed turns of
 * a thread come to so far; zeros for one without.
 */
struct tally loops_thread_total(const struct loops *l, uint32_t tid);

/**
 * loops_merge() - make one of all loops whose wait is at the
 * same place of the program, now that symbols are known.
 */
void loops_merge(struct loops *l, const struct timeline *t);

/** The results: loops with turns, the one with the most calls first. */
uint32_t loops_count(const struct loops *l);
const struct loop *loops_get(const struct loops *l, uint32_t i);
const struct call_kind *loops_kind(const struct loops *l, uint32_t kind);
uint32_t loops_kinds(const struct loops *l);

/** kind_label() - "setsockopt(TCP_CORK 1)", "write(log)", into @buf; returns @buf. */
const char *kind_label(const struct call_kind *k, char *buf, size_t size);

/** loop_degree() - requests a turn, the @q-quantile over turns (0 to 1). */
unsigned int loop_degree(const struct loop *l, double q);
/** loop_pattern() - the most frequent sequence of calls of one request, NULL if there is none. */
const struct pattern *loop_pattern(const struct loop *l);

#endif
