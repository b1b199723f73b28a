/* SPDX-License-Identifier: MIT */
/* test-timeline.c - calls of several threads come in the order of time; what they refer to is
 * known; text that is wrong is refused by line. */
#include "config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include <analyzer/timeline.h>
#include <analyzer/trace-text.h>

static FILE *recording(const char *text)
{
	FILE *in = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	int fd = memfd_create("trace", MFD_CLOEXEC);
	const char *what = NULL;
	unsigned int line = 0;
	struct trace_writer *w;
	FILE *f;

	assert_int_equal(trace_writer_new(&w, fd), 0);
	if (trace_text_parse(in, w, &line, &what))
		fail_msg("line %u: %s", line, what);
	trace_writer_free(w);
	fclose(in);
	f = fdopen(fd, "r");
	rewind(f);
	return f;
}

/* The threads of the calls, in the order in which they come. */
static void order(const char *text, const char *want)
{
	FILE *f = recording(text);
	struct timeline *t;
	struct trace_event ev;
	char got[64] = "";

	assert_int_equal(timeline_open(&t, f), TRACE_OK);
	while (timeline_next(t, &ev) == TRACE_OK)
		if (ev.type == TRACE_REC_CALLS)
			snprintf(got + strlen(got), sizeof(got) - strlen(got), "%u", ev.call.tid);
	assert_string_equal(got, want);
	timeline_free(t);
	fclose(f);
}

static void test_threads_are_merged(void **state)
{
	order("call 1 getpid() = 1 @100\ncall 1 getpid() = 1 @300\ncall 1 getpid() = 1 @500\n"
	      "call 2 getpid() = 1 @200\ncall 2 getpid() = 1 @400\n",
	      "12121");
}

static void test_windows(void **state)
{
	/*
	 * The second window has a call that belongs before
	 * one that the first could not hand out yet.
	 */
	order("call 1 getpid() = 1 @100\ncall 1 getpid() = 1 @900\nsync @500\n"
	      "call 2 getpid() = 1 @600\nsync @1000\ncall 3 getpid() = 1 @1100\n",
	      "1213");
}

static void test_a_late_wait_comes_late(void **state)
{
	order("call 1 getpid() = 1 @100\nsync @500\ncall 2 epoll_wait(3) = 1 @50 +1000\nsync "
	      "@2000\n",
	      "12");
}

/* More calls than are ever held: all come, those of one thread in order. */
static void test_without_sync(void **state)
{
	FILE *f = recording("repeat 100000\ncall 1 getpid() = 1\ncall 2 getpid() = 1\ncall 3 "
			    "getpid() = 1\ndone\n");
	uint64_t last[4] = {0};
	struct timeline *t;
	struct trace_event ev;
	unsigned int n = 0;

	assert_int_equal(timeline_open(&t, f), TRACE_OK);
	while (timeline_next(t, &ev) == TRACE_OK) {
		if (ev.type != TRACE_REC_CALLS)
			continue;
		assert_true(ev.call.enter_ns >= last[ev.call.tid]);
		last[ev.call.tid] = ev.call.enter_ns;
		n++;
	}
	assert_int_equal(n, 300000);
	assert_int_equal(timeline_next(t, &ev), TRACE_EOF);
	timeline_free(t);
	fclose(f);
}

static void test_what_is_known(void **state)
{
	FILE *f = recording("fact kernel 6.1 x\nprocess 7 ppid=1 nginx -g x\nthread 8 7 worker\n"
			    "stack 7 0x1 0x2 0x3\nstack 7 0x9\n"
			    "symbol 7 0x1 epoll_wait a.c 1 /lib/libc.so.6\n"
			    "symbol 7 0x2 run_loop loop.c 42 /usr/bin/server\n"
			    "symbol 7 0x3 main main.c 7 /usr/bin/server\n");
	struct timeline *t;
	struct trace_event ev;
	struct site s;

	assert_int_equal(timeline_open(&t, f), TRACE_OK);
	while (timeline_next(t, &ev) == TRACE_OK)
		;
	assert_string_equal(timeline_fact(t, "kernel"), "6.1 x");
	assert_null(timeline_fact(t, "cpu"));
	assert_int_equal(timeline_pid(t, 8), 7);
	assert_int_equal(timeline_pid(t, 9), 9);
	assert_string_equal(timeline_comm(t, 8), "worker");
	assert_string_equal(timeline_command(t, 7), "nginx -g x");
	assert_true(timeline_site(t, 1, &s)); /* not libc, but who called it */
	assert_string_equal(s.function, "run_loop");
	assert_int_equal(s.line, 42);
	assert_true(timeline_site(t, 2, &s)); /* no symbol */
	assert_string_equal(s.function, "");
	assert_int_equal(s.pc, 9);
	assert_false(timeline_site(t, 3, &s));
	assert_false(timeline_site(t, TRACE_NO_STACK, &s));
	timeline_free(t);
	fclose(f);
}

static void test_wrong_text(void **state)
{
	static const struct {
		const char *text;
		unsigned int line;
	} wrong[] = {
		{"nonsense\n", 1},
		{"fact a b\ncall 1 nosuch(1) = 0\n", 2},
		{"call getpid() = 0\n", 1},
		{"call 1 getpid(1) = 0\n", 1},
		{"call 1 getpid() 0\n", 1},
		{"call 1 read(1) = -ENOSUCH\n", 1},
		{"call 1 read(1) = 0 tcp,xx\n", 1},
		{"call 1 read(1) = 0 stack=1\n", 1},
		{"call 1 read(1) = 0 lane=fast\n", 1},
		{"repeat 3\ncall 1 getpid() = 1\n", 1},
		{"done\n", 1},
		{"repeat 3\nrepeat 2\nwrong\ndone\ndone\n", 3},
		{"stack 1\n", 1},
		{"mark never\n", 1},
		{"cut\nfact a b\n", 2},
		{"lost 1 99999999999\n", 1},
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		FILE *in = fmemopen((void *)(uintptr_t)wrong[i].text, strlen(wrong[i].text), "r");
		int fd = memfd_create("trace", MFD_CLOEXEC);
		const char *what = NULL;
		unsigned int line = 0;
		struct trace_writer *w;

		assert_int_equal(trace_writer_new(&w, fd), 0);
		assert_int_equal(trace_text_parse(in, w, &line, &what), -EINVAL);
		assert_int_equal(line, wrong[i].line);
		assert_true(what && *what);
		trace_writer_free(w);
		close(fd);
		fclose(in);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads_are_merged),     cmocka_unit_test(test_windows),
		cmocka_unit_test(test_a_late_wait_comes_late), cmocka_unit_test(test_without_sync),
		cmocka_unit_test(test_what_is_known),	       cmocka_unit_test(test_wrong_text),
	};

	cmocka_set_test_filter(getenv("ESCA_TEST"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
