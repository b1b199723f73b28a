/* SPDX-License-Identifier: MIT */
/* test-hazard.c - the rules of hazard.c against the table in hazard.table. */
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

#include <analyzer/hazard.h>
#include <analyzer/trace-text.h>
#include <cli/advise.h>

/* The call that @line is, by way of a recording. */
static struct trace_call parse_call(const char *line)
{
	struct trace_call c = {0};
	struct trace_reader *r;
	struct trace_writer *w;
	struct trace_event ev;
	const char *what = NULL;
	unsigned int at;
	char text[1024];
	FILE *f;
	int fd = memfd_create("call", MFD_CLOEXEC);

	snprintf(text, sizeof(text), "call 1 %s\n", line);
	f = fmemopen(text, strlen(text), "r");
	assert_int_equal(trace_writer_new(&w, fd), 0);
	if (trace_text_parse(f, w, &at, &what))
		fail_msg("%s: %s", line, what);
	trace_writer_free(w);
	fclose(f);
	f = fdopen(fd, "r");
	rewind(f);
	assert_int_equal(trace_reader_open(&r, f), TRACE_OK);
	while (trace_next(r, &ev) == TRACE_OK)
		if (ev.type == TRACE_REC_CALLS)
			c = ev.call;
	trace_reader_free(r);
	fclose(f);
	assert_int_equal(c.tid, 1);
	return c;
}

static void test_table(void **state)
{
	unsigned int rows = 0;
	char path[4096];
	char line[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/tests/unit/hazard.table", getenv("top_srcdir"));
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		char *want = strstr(line, " => ");
		struct fd_state fd = {.registered = line[0] == '+'};
		struct judgement j;
		struct trace_call c;
		char got[64];

		line[strcspn(line, "\n")] = 0;
		if (line[0] == '#' || !line[0])
			continue;
		assert_non_null(want);
		*want = 0;
		want += 4;
		c = parse_call(line + 2);
		j = hazard_judge(&c, call_row(c.nr), &fd, &advise_limits);
		snprintf(got, sizeof(got), "%s %s", verdict_name(j.verdict), reason_key(j.reason));
		if (strcmp(got, want))
			fail_msg("%s: %s, not %s", line, got, want);
		rows++;
	}
	fclose(f);
	assert_true(rows > 40);
}

/* Every reason has a key of its own, and words. */
static void test_reasons(void **state)
{
	for (unsigned int i = 0; i < REASONS; i++) {
		assert_true(*reason_text((enum reason)i));
		for (unsigned int k = 0; k < i; k++)
			assert_string_not_equal(reason_key((enum reason)i),
						reason_key((enum reason)k));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_reasons),
	};

	cmocka_set_test_filter(getenv("ESCA_TEST"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
