/* SPDX-License-Identifier: MIT */
/*
 * trace-pack.h - what writer and reader of packed calls
 * share; the form itself is told at the top of trace-write.c.
 */
#ifndef ESCA_ANALYZER_TRACE_PACK_H
#define ESCA_ANALYZER_TRACE_PACK_H

#include <stdint.h>

/* Bits of a call's head byte; the two lowest are the lane. */
enum {
	PACK_LANE = 3,
	PACK_EXTRA = 4,
	PACK_FLAGS = 8,
	PACK_FD = 16,
	PACK_STACK = 32,
	PACK_HEAD = 63, /* all that may be set */
};

#define PACK_SLOTS 64u

/** Bytes of the longest and of the shortest packed call. */
#define PACK_CALL_MAX 128u
#define PACK_CALL_MIN 5u

/** What deltas refer to; all 0 where a block begins. */
struct pack_state {
	uint64_t enter_ns;
	uint64_t args[PACK_SLOTS][6];
};

#endif
