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
 * Unknown keys are skipped.
 *	abi=N		ESCA_PLAN_ABI; a library of another number stays in mode off
 *	mode=M		record | run | off (default: off)
 *	backend=B	direct | uring (mode run; default direct)
 *	fuse=HEX	which fusions are on, bit 1 << enum esca_fusion (default: ESCA_FUSE_DEFAULT)
 *	calls=N bytes=N age=US	bounds of what may wait in a thread (default: ESCA_QUEUE_*)
 *	stats=PATH	struct esca_stats_area to count into (mode run), usually /proc/PID/fd/N of
 *			the tool
 *	ring=PATH	struct record_area to record into (mode record), likewise
 */
#define ESCA_PLAN_ENV "ESCA_RUNTIME"
#define ESCA_PLAN_ABI 3

/**
 * For tests of what happens when the kernel takes less than was promised, which it rarely does: so
 * many bytes of each stream are answered ahead (mode run), whether its buffer has room for them or
 * not.
 */
#define ESCA_TEST_CREDIT_ENV "ESCA_TEST_CREDIT"

/**
 * The fusions, each with its switch and its counter: X(identifier, name, on by default). The
 * counter counts calls of the server that needed no operation, or for CLOSE no flush, of their own.
 */
#define ESCA_FUSIONS(X)                                                                            \
	X(HEADER, "header-body", 1) /* header and body of a reply in one packet */                 \
	X(MERGE, "merge", 1)	    /* consecutive writes of one stream are one */                 \
	X(CORK, "cork", 1)	    /* TCP_CORK and TCP_NODELAY that change nothing are not set */ \
	X(MOD, "epoll-mod", 1)	    /* of a turn's changes of one registration the last one */     \
	X(DEL, "epoll-del", 1)	    /* no EPOLL_CTL_DEL for what is closed in the same turn */     \
	X(WAIT, "wait", 1)	    /* flush and wait in one crossing, where the backend can */    \
	X(EAGAIN, "eagain", 1)	    /* a read after a short one is answered with EAGAIN */         \
	X(LOG, "log", 1)	    /* the lines of a turn are one write */                        \
	X(FILE, "file", 1)	    /* files of known size are read or sent at the flush */        \
	X(CLOSE, "close", 1)	    /* shutdown and close follow their data without a flush */     \
	X(AHEAD, "read-ahead", 0) /* what is ready is read in one crossing before it is asked for  \
				   */

enum esca_fusion {
#define ESCA_FUSION(id, name, on) ESCA_FUSE_##id,
	ESCA_FUSIONS(ESCA_FUSION)
#undef ESCA_FUSION
	ESCA_FUSE_MAX,
};

#define ESCA_FUSION(id, name, on) | (on) << ESCA_FUSE_##id
#define ESCA_FUSE_DEFAULT	  (0u ESCA_FUSIONS(ESCA_FUSION))

/** Why a call was handed to the kernel as it came: X(identifier, name in --stats). */
#define ESCA_REASONS(X)                                                                            \
	X(RESULT, "needs_result") /* the server needs what only the kernel knows */                \
	X(NO_TURN, "no_turn")	  /* the thread is not in a turn of a loop */                      \
	X(FEW, "few_events")	  /* the loop's turns are too small to gain anything */            \
	X(KIND, "kind")		  /* not a kind of descriptor that calls wait on */                \
	X(BLOCKING, "blocking")	  /* the descriptor is in blocking mode */                         \
	X(SHARED, "shared")	  /* several threads, processes or numbers have it */              \
	X(UNWATCHED, "unwatched") /* the loop does not hear of this descriptor */                  \
	X(SIZE, "size")		  /* more bytes than are worth a copy */                           \
	X(FULL, "full")		  /* the kernel's buffer has no room for it now */                 \
	X(EXOTIC, "exotic")	  /* a flag, option or operation that calls do not wait with */    \
	X(OFF, "off")		  /* its fusion is switched off */                                 \
	X(ILL, "ill")		  /* an error or unsent bytes are in the way */

enum esca_reason {
#define ESCA_REASON(id, name) ESCA_PASS_##id,
	ESCA_REASONS(ESCA_REASON)
#undef ESCA_REASON
	ESCA_PASS_MAX,
};

#define ESCA_STATS_MAGIC 0x41545345u /* "ESTA" */
#define ESCA_STATS_SLOTS 4096

/**
 * Bucket of a delay of @ticks: four an octave. Its lower bound is
 * esca_delay_floor(). Delays beyond the last bucket are in it.
 */
#define ESCA_DELAY_BUCKETS 128

static inline unsigned int esca_delay_bucket(uint64_t ticks)
{
	unsigned int octave, b;

	if (ticks < 4)
		return (unsigned int)ticks;
	octave = 63 - (unsigned int)__builtin_clzll(ticks);
	b = (octave - 1) * 4 + (unsigned int)(ticks >> (octave - 2) & 3);
	return b < ESCA_DELAY_BUCKETS ? b : ESCA_DELAY_BUCKETS - 1;
}

static inline uint64_t esca_delay_floor(unsigned int bucket)
{
	if (bucket < 4)
		return bucket;
	return (uint64_t)(4 + bucket % 4) << (bucket / 4 - 1);
}

/**
 * struct esca_stats_slot - the counters of one thread; written by it alone, read by the tool at any
 * time; what is counted most often is in its first two cache lines. A slot belongs to the process
 * of its first thread for good, so a dead worker's counts stay;
 * @busy: a thread counts there.
 */
struct esca_stats_slot {
	uint32_t pid;
	uint32_t busy;
	uint32_t reserved;
	uint32_t backend;      /* 0 direct, 1 uring */
	uint64_t ticks_per_us; /* of delay */
	uint64_t turns;	       /* waits that returned at least one event */
	uint64_t calls;	       /* wrapped calls the server made */
	uint64_t crossings;    /* times the runtime entered the kernel, for whatever reason */
	uint64_t deferred;     /* calls answered at once and made later */
	uint64_t answered;     /* calls answered without the kernel, not made later */
	uint64_t passed[ESCA_PASS_MAX]; /* calls handed to the kernel as they came */
	uint64_t short_writes;		/* flushes that the kernel took only in part */
	uint64_t errors;		/* flushed calls that failed and are owed to the server */
	uint64_t spills;		/* times bytes had to wait in the runtime for the peer */
	uint64_t bytes_copied;		/* payload copied into the queue */
	uint64_t fused[ESCA_FUSE_MAX];
	uint64_t delay[ESCA_DELAY_BUCKETS]; /* deferred operations by time waited; see below */
} __attribute__((aligned(64)));

/* The bounds of mode run. What is over one takes the plain way: flush, then the real call.
 * esca-run(1) and the analysis (through cli/advise.h) quote them. */

/* Descriptors beyond this number are never deferred on. */
#define ESCA_FD_MAX 65536
/* Bytes of one call that are worth copying. */
#define ESCA_COPY_MAX (16 << 10)
/* Bytes of a file that are worth reading to be sent in one packet with the header. */
#define ESCA_FILE_MAX (24 << 10)
/* Of these, so many are read even where the file could be sent from the page cache. */
#define ESCA_READ_MAX (12 << 10)
/* Bytes of a file that may wait and be sent from the page cache. */
#define ESCA_BODY_MAX (128 << 10)
/*
 * Fewer reads of a turn are plain calls: entering the
 * ring costs as much as it saves on three of them.
 */
#define ESCA_READS_MIN 4
/*
 * After pieces of files that were better not left waiting (not in the page cache, or the file was
 * closed before the turn ended) so many are read at once.
 */
#define ESCA_PLAIN_PIECES 256
/*
 * A bigger body does not share a packet with its header:
 * its pages would be out of line in every packet.
 */
#define ESCA_MORE_MAX (64 << 10)
/* Bytes of one stream that may be answered before the kernel has them. */
#define ESCA_CREDIT_MAX (512 << 10)
/* Bytes of one stream that are read ahead, and on how many streams of a thread at a time. */
#define ESCA_AHEAD_BYTES 4096
#define ESCA_AHEAD_SLOTS 64
/* Bytes of one log write that may wait. */
#define ESCA_LOG_MAX 4096
/* Calls, and bytes, that may wait in one thread. */
#define ESCA_QUEUE_CALLS 256
#define ESCA_QUEUE_BYTES (1 << 20)
/* Microseconds that the oldest of them may have waited when the next call is made; of calls that
 * wait, the fourth at the latest. */
#define ESCA_QUEUE_AGE	   500
#define ESCA_QUEUE_AGE_MAX 20000 /* that a user may set */
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
	uint32_t used;	   /* so many slots have a pid */
	uint32_t abi;	   /* ESCA_PLAN_ABI */
	uint64_t overflow; /* threads that found no free slot and were not counted */
	uint64_t reserved[13];
	struct esca_stats_slot slot[ESCA_STATS_SLOTS];
};

#endif
