/* SPDX-License-Identifier: MIT */
/* batch.h - schedule the calls of a turn into the fewest crossings that no hazard forbids, as mode
 * run would, and name the fusions. */
#ifndef ESCA_ANALYZER_BATCH_H
#define ESCA_ANALYZER_BATCH_H

#include <analyzer/hazard.h>

/** What became of a call. */
enum outcome {
	OUT_MADE,   /* made as the server made it */
	OUT_ALONE,  /* deferred; a crossing of its own at the flush */
	OUT_MERGED, /* F2: leaves with an earlier write of the stream */
	OUT_BODY,   /* F1: file piece, read, leaves with its header */
	OUT_FILE,   /* file piece without a header: sent at the flush */
	OUT_JOINED, /* F1: in the packets of a header that was kept open for it */
	OUT_ELIDED, /* F4: the option ends as it was, or is set again later in the flush */
	OUT_LOG,    /* F11: line in an earlier line's write */
	OUTCOMES,
};

const char *outcome_name(enum outcome o);

/** struct tally - what a turn, or any sum of turns, comes to. All are counts but where said. */
struct tally {
	uint64_t turns;
	uint64_t calls; /* made by the server: the crossings now */
	uint64_t requests;
	uint64_t events; /* that waits returned */
	uint64_t busy_ns;
	uint64_t direct;       /* crossings with backend direct */
	uint64_t uring;	       /* plain crossings with backend uring, io_uring_enter not included */
	uint64_t uring_enters; /* of backend uring */
	uint64_t uring_ops;
	uint64_t grouped_enters; /* the same without fusion */
	uint64_t grouped_ops;
	uint64_t deferred;
	uint64_t copied; /* bytes */
	uint64_t merged;
	uint64_t packets; /* that are not sent any more */
	uint64_t joined;  /* of those, in front of something too big to copy */
	uint64_t bodies;  /* small file pieces read instead of sent by sendfile */
	uint64_t body_bytes;
	uint64_t elided;
	uint64_t logs; /* log writes saved */
	uint64_t log_writes;
	uint64_t flushes;
	/*
	 * what calls took that a merged write makes superfluous,
	 * in the recording: writes and file pieces,
	 */
	uint64_t reply_ns;
	uint64_t elided_ns; /* options, */
	uint64_t logs_ns;   /* log lines */
	uint64_t depth;	    /* fewest crossings that the order of results allows */
	uint64_t mistakes;  /* deferred calls whose real result was short or an error */
};

void tally_add(struct tally *to, const struct tally *from);

struct batch;

struct batch *batch_new(const struct limits *lim);
void batch_free(struct batch *b);

/**
 * batch_call() - the next call of the thread, judged as @j, on a descriptor in state @fd; @fd is
 * brought up to date.
 * @outcome: where to put what becomes of it; known at the flush at the latest, so it has to stay
 * valid until then.
 */
void batch_call(struct batch *b, struct tally *t, const struct trace_call *c,
		const struct call_row *row, struct judgement j, struct fd_state *fd,
		uint8_t *outcome);

/** batch_flush() - everything that waits is made. */
void batch_flush(struct batch *b, struct tally *t);

#endif
