/* SPDX-License-Identifier: MIT */
/* test-profile.c - the cost profile goes to JSON and back, and nonsense is refused with a reason.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cli/profile.h>

static char dir[] = "/tmp/esca-test-profile.XXXXXX";

static const char *in_dir(const char *name)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void there_and_back(void **state)
{
	struct cost c = {.uring = true}, back;
	size_t n;
	const struct profile_field *f = profile_fields(&n);
	struct stat st;
	char why[128];

	/* every figure is in the table: the struct is n doubles and the flag */
	assert_int_equal(n, offsetof(struct cost, uring) / sizeof(double));
	for (size_t i = 0; i < n; i++)
		*(double *)((char *)&c + f[i].offset) = 10.5 * (double)(i + 1);
	umask(022);
	assert_int_equal(profile_save(&c, in_dir("profile")), 0);
	assert_int_equal(stat(in_dir("profile"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0644);
	assert_int_equal(profile_load(&back, in_dir("profile"), why, sizeof(why)), 0);
	for (size_t i = 0; i < n; i++)
		assert_float_equal(profile_value(&back, &f[i]), profile_value(&c, &f[i]), 1e-9);
	assert_true(back.uring);
	assert_int_equal(unlink(in_dir("profile")), 0);
}

static void try(const char *text, int ret, const char *word)
{
	struct cost c;
	char why[128] = "";
	FILE *f = fopen(in_dir("bad"), "we");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(profile_load(&c, in_dir("bad"), why, sizeof(why)), ret);
	assert_non_null(strstr(why, word));
	unlink(in_dir("bad"));
}

static void refused(void **state)
{
	struct cost c;
	char why[128];

	try("", -EINVAL, "line 1");
	try("hello", -EINVAL, "line 1");
	try("[1]", -EINVAL, "object");
	try("{}", -EINVAL, "crossing_ns");
	try("{\"crossing_ns\": \"fast\"}", -EINVAL, "crossing_ns");
	try("{\"crossing_ns\": -3}", -EINVAL, "crossing_ns");
	try("{\"crossing_ns\": 100, \"packet_ns\": 1e300}", -EINVAL, "packet_ns");
	try("{\"crossing_ns\": 100}", 0, "");
	try("{\"profile\": {\"crossing_ns\": 100}, \"kernel\": 6}", 0, "");
	assert_int_equal(profile_load(&c, in_dir("missing"), why, sizeof(why)), -ENOENT);
	assert_int_equal(profile_load(&c, dir, why, sizeof(why)), -EINVAL);
}

static void unwritable(void **state)
{
	struct cost c = {.crossing = 1};

	assert_int_equal(profile_save(&c, in_dir("no/such/dir")), -ENOENT);
	assert_int_equal(profile_save(&c, "/dev/full"), -ENOSPC);
}

static int make_dir(void **state)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	return rmdir(dir); /* fails where a temporary file was left */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(refused),
		cmocka_unit_test(unwritable),
	};

	cmocka_set_test_filter(getenv("ESCA_TEST"));
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
