/* SPDX-License-Identifier: MIT */
/*
 * timeline.h - a recording as one stream in the order of
 * time, with what is known of its threads and call sites.
 */
#ifndef ESCA_ANALYZER_TIMELINE_H
#define ESCA_ANALYZER_TIMELINE_H

#include <analyzer/trace.h>

struct timeline;

/**
 * Where a call was made: the innermost frame outside libc,
 * the loader and libesca. Strings are "" where not known.
 */
struct site {
	const char *module;
	const char *function;
	const char *file;
	const char *caller; /* where the function has no name: the nearest one around it that has */
	uint32_t line;	    /* 0: not known */
	uint64_t pc;
	uint64_t offset; /* of pc in the function, or in the module where no function is known */
};

/**
 * timeline_open() - begin to read a recording from @f, which the caller keeps open.
 * Return: TRACE_OK and *@t (free with timeline_free()), or why not.
 */
enum trace_error timeline_open(struct timeline **t, FILE *f);
void timeline_free(struct timeline *t);

/**
 * timeline_next() - the next event. Calls and everything else that has a time come in its order, as
 * far as SYNC records allow it (a call that outlasts the window it began in comes late, but never
 * before an earlier call of its own thread); facts, processes, threads, stacks, symbols and paths
 * come when they are read. Memory is bounded, whatever the file says. Return: TRACE_OK while there
 * is one, then how the recording ended.
 */
enum trace_error timeline_next(struct timeline *t, struct trace_event *ev);

const struct trace_file_header *timeline_header(const struct timeline *t);
/** timeline_fact() - the value of a fact read so far, NULL if there is none. */
const char *timeline_fact(const struct timeline *t, const char *key);
/** timeline_pid() - the process of a thread; the thread's own id where the recording does not say.
 */
uint32_t timeline_pid(const struct timeline *t, uint32_t tid);
/** timeline_comm() - the name of a thread, "" where not known. */
const char *timeline_comm(const struct timeline *t, uint32_t tid);
/**
 * timeline_command() - program and arguments of a
 * process, words separated by spaces, "" where not known.
 */
const char *timeline_command(const struct timeline *t, uint32_t pid);

/**
 * timeline_site() - the call site of a stack, as far as symbols
 * have been read. Return: false if there is no such stack.
 */
bool timeline_site(const struct timeline *t, uint32_t stack, struct site *s);

/**
 * timeline_innermost() - function and module of the very frame that made the call, be it in libc;
 * "" where not known. Return: false if there is no such stack.
 */
bool timeline_innermost(const struct timeline *t, uint32_t stack, const char **function,
			const char **module);

/**
 * timeline_read_symbols() - look ahead: read @f to its end only for its stacks and symbols, which
 * come last in a recording. The caller rewinds @f before and after. Return: 0, or -ENOMEM.
 */
int timeline_read_symbols(struct timeline *t, FILE *f);

#endif
