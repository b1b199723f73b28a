/* SPDX-License-Identifier: MIT */
/* test-elf-file.c - cli/elf-file.c on this program itself, whole and damaged in many ways. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include <cli/elf-file.h>

#define SITES 64

/* A call past libc, to be found. */
__attribute__((noinline)) static long past_libc(void)
{
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(SYS_getppid) : "rcx", "r11", "memory");
	return ret;
}

static void itself(void **state)
{
	struct elf_site site[SITES];
	bool found = false;
	struct elf e;
	size_t n;

	assert_int_equal(past_libc(), getppid());
	assert_int_equal(elf_open(&e, "/proc/self/exe"), 0);
	assert_true(elf_section(&e, ".text"));
	assert_false(elf_section(&e, ".go.buildinfo"));
	assert_true(elf_imports(&e, "_cmocka_run_group_tests"));
	assert_false(elf_imports(&e, "main"));
	assert_non_null(elf_dynamic(&e, DT_NEEDED, 0));
	assert_null(elf_dynamic(&e, DT_NEEDED, 1000));
	n = elf_syscalls(&e, site, SITES);
	assert_true(n >= 1);
	for (size_t i = 0; i < n && i < SITES; i++) {
		const char *f = elf_function(&e, site[i].addr);

		if (f && !strcmp(f, "past_libc")) {
			assert_int_equal(site[i].nr, SYS_getppid);
			found = true;
		}
	}
	assert_true(found);
	assert_int_equal(elf_syscalls(&e, NULL, 0), n);
	elf_close(&e);
}

static void not_elf(void **state)
{
	struct elf e;

	assert_int_equal(elf_open(&e, "/no/such/file"), -ENOENT);
	assert_int_equal(elf_open(&e, "/"), -ENOEXEC);
	assert_int_equal(elf_open(&e, "/dev/null"), -ENOEXEC);
	assert_int_equal(elf_open(&e, "/proc/self/status"), -ENOEXEC);
}

static uint32_t next(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/* All that is asked of a file is asked of the damaged one, which must only not crash. */
static void ask(const char *path)
{
	struct elf_site site[SITES];
	struct elf e;
	size_t n;

	if (elf_open(&e, path))
		return;
	elf_section(&e, ".go.buildinfo");
	elf_imports(&e, "batch_flush");
	for (size_t i = 0; i < 20; i++)
		elf_dynamic(&e, DT_NEEDED, i);
	n = elf_syscalls(&e, site, SITES);
	for (size_t i = 0; i < n && i < SITES; i++)
		elf_function(&e, site[i].addr);
	elf_function(&e, UINT64_MAX);
	elf_close(&e);
}

static void damaged(void **state)
{
	char path[] = "/tmp/esca-test-elf.XXXXXX";
	int fd = mkstemp(path), in = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	uint32_t seed = 1;
	struct stat st;
	uint8_t *whole;
	size_t size;

	assert_true(fd >= 0 && in >= 0 && !fstat(in, &st));
	size = (size_t)st.st_size;
	whole = malloc(size);
	assert_non_null(whole);
	assert_int_equal(read(in, whole, size), size);
	close(in);
	for (int round = 0; round < 400; round++) {
		uint8_t *copy = malloc(size);
		size_t keep = round % 4 ? size : next(&seed) % size;
		/* most of it where the tables are: at the begin and the end */
		size_t part = round % 3 == 0 ? size : 2048;

		assert_non_null(copy);
		memcpy(copy, whole, size);
		for (int i = 0; i < 1 + round % 30; i++) {
			size_t at = next(&seed) % (part < size ? part : size);

			if (round % 3 == 2)
				at = size - 1 - at % size;
			copy[at] = (uint8_t)(next(&seed) % 4 ? next(&seed) : 0xff);
		}
		memcpy(copy, whole, 5); /* else it is not even opened */
		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(pwrite(fd, copy, keep, 0), keep);
		free(copy);
		ask(path);
	}
	free(whole);
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(itself),
		cmocka_unit_test(not_elf),
		cmocka_unit_test(damaged),
	};

	cmocka_set_test_filter(getenv("ESCA_TEST"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
