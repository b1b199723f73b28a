/* SPDX-License-Identifier: MIT */
/*
 * hazard.h - may a call be delayed to the end of its
 * turn, merged with others or left out, and why (not)?
 */
#ifndef ESCA_ANALYZER_HAZARD_H
#define ESCA_ANALYZER_HAZARD_H

#include <stdbool.h>
#include <stdint.h>

#include <analyzer/syscall.h>
#include <analyzer/trace.h>

/**
 * struct limits - the bounds of the runtime, so that what is predicted is what it does; see
 * esca-runtime/plan.h.
 * @copy_max, @file_max: bytes of one write, of one file piece, that are copied into the queue.
 * @read_max: bytes of one file piece that are read at the flush; @body_max: that are sent from the
 * page cache then, behind their header.
 * @reads_min: fewer reads of a turn are plain calls. @plain_pieces: so many pieces of files are
 * read at once after one was closed in the turn in which it was sent.
 * @credit_max: bytes of one stream that may wait.
 * @log_max: bytes of one log write that may wait.
 * @queue_calls, @queue_bytes: what may wait in one thread.
 * @age_ns: how long the oldest may have waited when the next call is made.
 */
struct limits {
	uint32_t copy_max, file_max;
	uint32_t read_max, body_max;
	uint32_t reads_min, plain_pieces;
	uint32_t credit_max;
	uint32_t log_max;
	uint32_t queue_calls;
	uint32_t queue_bytes;
	uint64_t age_ns;
};

enum verdict {
	VERDICT_DEFER,	 /* answered at once, made at the end of the turn */
	VERDICT_RESULT,	 /* made at once: the server needs the answer; what waits goes on waiting */
	VERDICT_PASS,	 /* made at once; what waits goes on waiting */
	VERDICT_BARRIER, /* what waits goes first, then it is made */
	VERDICT_WAIT,	 /* the turn ends */
	VERDICTS,
};

enum reason {
	REASON_STREAM,
	REASON_SMALL_FILE,
	REASON_FILE,
	REASON_OPTION,
	REASON_LOG,
	REASON_NEEDS_DATA,
	REASON_NEEDS_FD,
	REASON_NEEDS_ANSWER,
	REASON_CLOSE_FILE,
	REASON_EPOLL,
	REASON_PURE,
	REASON_CLOSE_SOCKET,
	REASON_SHUTDOWN,
	REASON_BLOCKING,
	REASON_KIND,
	REASON_NO_EPOLL,
	REASON_TOO_BIG,
	REASON_BIG_FILE,
	REASON_FILE_POSITION,
	REASON_FLAGS,
	REASON_FILE_WRITE,
	REASON_STDERR,
	REASON_OTHER_OPTION,
	REASON_STATE,
	REASON_UNKNOWN,
	REASON_WAIT,
	REASONS,
};

/** What the analysis knows of a descriptor of a process beside what each call records. */
struct fd_state {
	bool registered : 1; /* some epoll instance watches it */
	bool corked : 1;     /* as the server set it */
	bool nodelay : 1;
	bool open_packet : 1; /* its last write had MSG_MORE */
};

struct judgement {
	enum verdict verdict;
	enum reason reason;
};

/** hazard_judge() - semantics.md, for one call made in a turn, on a descriptor in state @fd. */
struct judgement hazard_judge(const struct trace_call *c, const struct call_row *row,
			      const struct fd_state *fd, const struct limits *lim);

/** call_bytes() - how many bytes a write of any kind was asked to send. */
uint64_t call_bytes(const struct trace_call *c, const struct call_row *row);
/**
 * call_is_request() - a read on a connection that
 * brought data: what the report counts as a request.
 */
bool call_is_request(const struct trace_call *c, const struct call_row *row);
bool fd_is_stream(const struct trace_call *c);

const char *verdict_name(enum verdict v);
/** reason_key() - stable, for scripts; reason_text() - a clause for people. */
const char *reason_key(enum reason r);
const char *reason_text(enum reason r);

#endif
