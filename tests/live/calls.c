/* SPDX-License-Identifier: MIT */
/*
 * calls.c - what a recording holds, for comparison with what a victim logged.
 *
 * calls FILE NAME...: the calls of these names as "TID NAME RESULT", each thread's from its
 * close(-77) on, in the order of the file. calls FILE --lanes: "TID NAME RESULT LANE FLAGS STACK"
 * of all calls, and the other records about threads. calls FILE --symbols: "stack ID PID PC"
 * innermost first, "symbol PID PC FUNCTION". Exit status: 3 for a recording that was cut, 4 for one
 * that is not sound.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <analyzer/syscall.h>
#include <analyzer/trace.h>

#define TIDS 4194304

static unsigned char begun[TIDS];

static bool wanted(const char *name, char **names)
{
	for (; *names; names++)
		if (!strcmp(*names, name))
			return true;
	return false;
}

static void print_call(const struct trace_call *c, char **names, bool all)
{
	const struct call_row *row = call_row(c->nr);
	const char *name = row->name ? row->name : "?";

	if (c->nr == call_row_by_name("close")->nr && (int)c->args[0] == -77)
		begun[c->tid % TIDS] = 1;
	if (all)
		printf("%u %s %lld %u %u %u\n", c->tid, name, (long long)c->result, c->lane,
		       c->flags, c->stack);
	else if (begun[c->tid % TIDS] && wanted(name, names) && c->flags & TRACE_CALL_UNFINISHED)
		printf("%u %s ?\n", c->tid, name);
	else if (begun[c->tid % TIDS] && wanted(name, names))
		printf("%u %s %lld\n", c->tid, name, (long long)c->result);
}

int main(int argc, char **argv)
{
	bool all = argc == 3 && !strcmp(argv[2], "--lanes");
	bool symbols = argc == 3 && !strcmp(argv[2], "--symbols");
	struct trace_reader *r;
	struct trace_event ev;
	enum trace_error e;
	FILE *f;

	if (argc < 3)
		return 99;
	f = fopen(argv[1], "re");
	if (!f) {
		fprintf(stderr, "%s: %s\n", argv[1], strerror(errno));
		return 99;
	}
	e = trace_reader_open(&r, f);
	while (!e && !(e = trace_next(r, &ev))) {
		if (ev.type == TRACE_REC_CALLS && !symbols)
			print_call(&ev.call, argv + 2, all);
		else if (ev.type == TRACE_REC_THREAD)
			begun[ev.thread.t.tid % TIDS] = 0; /* new, or after exec */
		else if (ev.type == TRACE_REC_EXIT && all)
			printf("%u exited %u\n", ev.exit.tid, ev.exit.status);
		else if (ev.type == TRACE_REC_PROCESS && all)
			printf("%u process %u %u %s\n", ev.process.p.pid, ev.process.p.how,
			       ev.process.p.preload, ev.process.exe);
		else if (ev.type == TRACE_REC_LOST && all)
			printf("%u lost %llu\n", ev.lost.tid, (unsigned long long)ev.lost.count);
		else if (ev.type == TRACE_REC_STACK && symbols)
			for (unsigned int i = 0; i < ev.stack.s.depth; i++)
				printf("stack %u %u %llx\n", ev.stack.s.id, ev.stack.s.pid,
				       (unsigned long long)ev.stack.pc[i]);
		else if (ev.type == TRACE_REC_SYMBOL && symbols)
			printf("symbol %u %llx %s\n", ev.symbol.s.pid,
			       (unsigned long long)ev.symbol.s.pc, ev.symbol.function);
	}
	if (e != TRACE_EOF)
		fprintf(stderr, "%s: %s\n", argv[1], trace_strerror(e));
	trace_reader_free(r);
	fclose(f);
	return e == TRACE_EOF ? 0 : e == TRACE_CUT ? 3 : 4;
}
