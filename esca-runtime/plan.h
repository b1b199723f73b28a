/* SPDX-License-Identifier: MIT */
/*
 * plan.h - what the tool tells libesca.so, and the counters
 * it gives back: the ABI between cli/ and esca-runtime/.
 */
#ifndef ESCA_RUNTIME_PLAN_H
#define ESCA_RUNTIME_PLAN_H

#include <stdint.h>

/**
 * The environment variable that carries the plan: words separated by one space, each key=value.
 * Unknown keys are skipped. abi=N         ESCA_PLAN_ABI; a library of another number stays in mode
 * off mode=M        record | run | off (default: off) backend=B     direct | uring (mode run;
 * default direct) stats=PATH    struct esca_stats_area to count into (mode run), usually
 * /proc/PID/fd/N of the tool ring=PATH     struct record_area to record into (mode record),
 * likewise
 */
/**
 * For tests of what happens when the kernel takes less than was promised, which it rarely does: so
 * many bytes of each stream are answered ahead (mode run), whether its buffer has room for them or
 * not.
 */
#define ESCA_TEST_CREDIT_ENV "ESCA_TEST_CREDIT"

#define ESCA_PLAN_ENV "ESCA_RUNTIME"
#define ESCA_PLAN_ABI 1

#define ESCA_STATS_MAGIC 0x41545345u /* "ESTA" */
#define ESCA_STATS_SLOTS 512

/**
 * struct esca_stats_slot - the counters of one process; written by its threads, read by the tool at
 * any time. A slot is claimed by exchanging pid from 0 and is never given back, so a dead worker's
 * counts stay.
 */
struct esca_stats_slot {
	uint32_t pid;
	uint32_t backend;   /* 0 direct, 1 uring */
	uint64_t turns;	    /* waits that returned at least one event */
	uint64_t calls;	    /* wrapped calls the server made */
	uint64_t crossings; /* times the runtime entered the kernel, for whatever reason */
	uint64_t deferred;  /* calls answered at once and made later */
	/* deferred calls that needed no operation of their own: merged with another's, or elided */
	uint64_t fused;
	uint64_t passed;       /* calls handed to the kernel as they came */
	uint64_t short_writes; /* flushes that the kernel took only in part */
	uint64_t errors;       /* flushed calls that failed and are owed to the server */
	uint64_t spills;       /* times bytes had to wait in the runtime for the peer */
	uint64_t bytes_copied; /* payload copied into the queue */
	uint64_t reserved[19];
};

/* Bounds of mode run. What is over a bound takes the plain way: flush, then the real call. */
/* The bounds of mode run. esca-run(1) and the analysis (through cli/advise.h) quote them. */

/* Descriptors beyond this number are never deferred on. */
#define ESCA_FD_MAX 65536
/* Bytes of one call, or of one small file, that are worth copying. */
#define ESCA_COPY_MAX (16 << 10)
/*
 * A bigger body does not share a packet with its header:
 * its pages would be out of line in every packet.
 */
#define ESCA_MORE_MAX (64 << 10)
/* Bytes of one stream that may be answered before the kernel has them. */
#define ESCA_CREDIT_MAX (64 << 10)
/* Bytes of one log write that may wait. */
#define ESCA_LOG_MAX 4096
/* Calls, and bytes, that may wait in one thread. */
#define ESCA_QUEUE_CALLS 256
#define ESCA_QUEUE_BYTES (256 << 10)
/* Microseconds that the oldest of them may have waited when the next call is made. */
#define ESCA_QUEUE_AGE 500
/*
 * A turn in which an answered call waited so many microseconds is long: the thread computes, or was
 * preempted. A thread with a third one within LONG_SCORE turns of the first computes: nothing is
 * deferred on it in so many turns.
 */
#define ESCA_LONG_TURN	20000
#define ESCA_LONG_SCORE 64
#define ESCA_LONG_TURNS 200
/* Milliseconds that exit and exec wait for peers to take what the kernel could not be given. */
#define ESCA_EXIT_MS 5000
/* Milliseconds after which a closed stream whose peer takes nothing is reset. */
#define ESCA_ORPHAN_MS 60000

struct esca_stats_area {
	uint32_t magic;
	uint32_t nslots;
	uint64_t overflow; /* processes that found no free slot and were not counted */
	uint64_t reserved[14];
	struct esca_stats_slot slot[ESCA_STATS_SLOTS];
};

#endif
