/* SPDX-License-Identifier: MIT */
/* test-loop.c - loops, turns and their schedule (loop.c, batch.c) against the cases in loop.table.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include <analyzer/loop.h>
#include <analyzer/trace-text.h>
#include <cli/advise.h>

static const char preamble[] = "process 1 server\nthread 1 1 a\nthread 2 1 b\n"
			       "stack 1 0x10\nstack 1 0x20\nstack 1 0x30\n"
			       "call 1 epoll_ctl(8, 1, 10, 0x1) = 0 epoll\n"
			       "call 1 epoll_ctl(8, 1, 11, 0x1) = 0 epoll\n"
			       "call 1 epoll_ctl(8, 1, 12, 0x1) = 0 epoll\n"
			       "call 1 epoll_ctl(8, 1, 13, 0x1) = 0 epoll\n"
			       "call 1 epoll_ctl(8, 1, 14, 0x1) = 0 epoll\n";

static const struct {
	const char *name;
	size_t offset;
} fields[] = {
#define FIELD(x)                                                                                   \
	{                                                                                          \
#x, offsetof(struct tally, x)                                                      \
	}
	FIELD(turns),	  FIELD(calls),	   FIELD(requests),	FIELD(events),	  FIELD(direct),
	FIELD(uring),	  FIELD(deferred), FIELD(uring_enters), FIELD(uring_ops), FIELD(copied),
	FIELD(merged),	  FIELD(packets),  FIELD(joined),	FIELD(bodies),	  FIELD(body_bytes),
	FIELD(elided),	  FIELD(logs),	   FIELD(log_writes),	FIELD(flushes),	  FIELD(reply_ns),
	FIELD(elided_ns), FIELD(logs_ns),  FIELD(depth),	FIELD(mistakes),
};

static struct loops *analyse(const char *name, const char *text, struct timeline **t, FILE **f)
{
	struct loops *l = loops_new(&advise_limits);
	struct trace_writer *w;
	struct trace_event ev;
	const char *what = NULL;
	unsigned int at;
	FILE *in = fmemopen((void *)text, strlen(text), "r");
	int fd = memfd_create("trace", MFD_CLOEXEC);

	assert_int_equal(trace_writer_new(&w, fd), 0);
	if (trace_text_parse(in, w, &at, &what))
		fail_msg("%s: line %u: %s", name, at, what);
	trace_writer_free(w);
	fclose(in);
	*f = fdopen(fd, "r");
	rewind(*f);
	assert_int_equal(timeline_open(t, *f), TRACE_OK);
	while (timeline_next(*t, &ev) == TRACE_OK)
		if (ev.type == TRACE_REC_CALLS)
			assert_int_equal(loops_call(l, &ev.call, timeline_pid(*t, ev.call.tid)), 0);
	loops_merge(l, *t);
	return l;
}

static void check(const char *name, const struct loop *loop, char *want)
{
	char *save;

	for (char *s = strtok_r(want, " ", &save); s; s = strtok_r(NULL, " ", &save)) {
		char *eq = strchr(s, '=');
		uint64_t got = 0;
		bool known = false;

		assert_non_null(eq);
		*eq++ = 0;
		for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
			if (!strcmp(fields[i].name, s)) {
				memcpy(&got, (const char *)&loop->total + fields[i].offset,
				       sizeof(got));
				known = true;
			}
		if (!strcmp(s, "stack")) {
			got = loop->stack;
			known = true;
		} else if (!strcmp(s, "threads")) {
			got = loop->threads;
			known = true;
		}
		if (!known)
			fail_msg("%s: what is '%s'?", name, s);
		if (got != strtoull(eq, NULL, 10))
			fail_msg("%s: %s is %ju, not %s", name, s, (uintmax_t)got, eq);
	}
}

struct one_case {
	char name[256];
	char text[8192];
	char expect[4][256];
	unsigned int n;
	bool none;
};

static void run_case(struct one_case *c)
{
	struct timeline *t;
	struct loops *l;
	FILE *f;

	if (!*c->name)
		return;
	if (!c->n && !c->none)
		fail_msg("%s: nothing is expected", c->name);
	l = analyse(c->name, c->text, &t, &f);
	if (loops_count(l) != c->n)
		fail_msg("%s: %u loops, not %u", c->name, loops_count(l), c->n);
	for (unsigned int i = 0; i < c->n; i++)
		check(c->name, loops_get(l, i), c->expect[i]);
	loops_free(l);
	timeline_free(t);
	fclose(f);
}

static void test_table(void **state)
{
	static struct one_case c;
	unsigned int cases = 0;
	char path[4096];
	char line[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/tests/unit/loop.table", getenv("top_srcdir"));
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "case ", 5)) {
			run_case(&c);
			memset(&c, 0, sizeof(c));
			line[strcspn(line, "\n")] = 0;
			strcpy(c.name, line + 5);
			strcpy(c.text, preamble);
			cases++;
		} else if (!strcmp(line, "expect none\n")) {
			c.none = true;
		} else if (!strncmp(line, "expect ", 7)) {
			line[strcspn(line, "\n")] = 0;
			assert_true(c.n < 4);
			strcpy(c.expect[c.n++], line + 7);
		} else {
			assert_true(strlen(c.text) + strlen(line) < sizeof(c.text));
			strcat(c.text, line);
		}
	}
	run_case(&c);
	fclose(f);
	assert_true(cases > 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
	};

	cmocka_set_test_filter(getenv("ESCA_TEST"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
