/* SPDX-License-Identifier: MIT */
/* test-target.c - verdicts on real files. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cli/target.h>

static char dir[PATH_MAX];

static const char *in_dir(const char *name)
{
	static char path[PATH_MAX + 64];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void put(const char *name, const void *bytes, size_t size, mode_t mode)
{
	int fd = open(in_dir(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, size), size);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void put_text(const char *name, const char *text, mode_t mode)
{
	put(name, text, strlen(text), mode);
}

/* /bin/true, with @patch applied to its bytes. */
static void put_true(const char *name, void (*patch)(unsigned char *, size_t), mode_t mode)
{
	static unsigned char buf[1 << 20];
	int fd = open("/bin/true", O_RDONLY);
	ssize_t n;

	assert_true(fd >= 0);
	n = read(fd, buf, sizeof(buf));
	assert_true(n > 0 && (size_t)n < sizeof(buf));
	close(fd);
	if (patch)
		patch(buf, (size_t)n);
	put(name, buf, (size_t)n, mode);
}

static Elf64_Phdr *interp_of(unsigned char *elf)
{
	Elf64_Ehdr *eh = (Elf64_Ehdr *)elf;
	Elf64_Phdr *ph = (Elf64_Phdr *)(elf + eh->e_phoff);

	for (unsigned int i = 0; i < eh->e_phnum; i++)
		if (ph[i].p_type == PT_INTERP)
			return &ph[i];
	fail();
	return NULL;
}

static void patch_arm(unsigned char *elf, size_t size)
{
	((Elf64_Ehdr *)elf)->e_machine = EM_AARCH64;
}

static void patch_32(unsigned char *elf, size_t size)
{
	elf[EI_CLASS] = ELFCLASS32;
}

static void patch_no_interp(unsigned char *elf, size_t size)
{
	interp_of(elf)->p_type = PT_NULL;
}

static void patch_lost_interp(unsigned char *elf, size_t size)
{
	elf[interp_of(elf)->p_offset + 1] = 'X'; /* /Xib64/... */
}

static void patch_wild_headers(unsigned char *elf, size_t size)
{
	((Elf64_Ehdr *)elf)->e_phoff = (Elf64_Off)size + 4096;
}

static void expect(const char *name, enum target_kind kind, const char *word)
{
	struct target t;

	target_inspect(&t, name);
	assert_int_equal(t.kind, kind);
	assert_non_null(strstr(target_sentence(&t), word));
	assert_null(strchr(target_sentence(&t), '\n'));
}

static void cannot_run(void **state)
{
	expect(in_dir("missing"), TARGET_MISSING, "missing");
	expect("no-such-server-anywhere", TARGET_MISSING, "PATH");
	expect("", TARGET_MISSING, "no server program");
	expect(dir, TARGET_DIRECTORY, "directory");
	put_true("plain", NULL, 0644);
	expect(in_dir("plain"), TARGET_NOT_EXECUTABLE, "permission");
}

static void text_is_no_program(void **state)
{
	put_text("text", "echo hello\n", 0755);
	expect(in_dir("text"), TARGET_NOT_PROGRAM, "#!");
	put_text("empty", "", 0755);
	expect(in_dir("empty"), TARGET_NOT_PROGRAM, "#!");
	put_text("hash", "#!", 0755);
	expect(in_dir("hash"), TARGET_NOT_PROGRAM, "#!");
	put_text("blank", "#!   \n", 0755);
	expect(in_dir("blank"), TARGET_NOT_PROGRAM, "#!");
	put("elfish", "\177ELF", 4, 0755);
	expect(in_dir("elfish"), TARGET_NOT_PROGRAM, "#!");
}

static void exit_statuses(void **state)
{
	struct target t;

	target_inspect(&t, in_dir("missing"));
	assert_int_equal(target_exit_status(&t), 127);
	target_inspect(&t, dir);
	assert_int_equal(target_exit_status(&t), 126);
}

static void scripts(void **state)
{
	struct target t;

	put_text("script", "#! /bin/sh -e\nexit 0\n", 0755);
	target_inspect(&t, in_dir("script"));
	assert_int_equal(t.kind, TARGET_OK);
	assert_string_equal(t.path, in_dir("script"));
	assert_string_equal(t.program, "/bin/sh");

	put_text("orphan", "#!/no/such/interpreter\n", 0755);
	expect(in_dir("orphan"), TARGET_MISSING, "/no/such/interpreter");

	char loop[PATH_MAX + 80];

	snprintf(loop, sizeof(loop), "#!%s\n", in_dir("self"));
	put_text("self", loop, 0755);
	expect(in_dir("self"), TARGET_NOT_PROGRAM, "self");
}

static void elf_files(void **state)
{
	put_true("dynamic", NULL, 0755);
	expect(in_dir("dynamic"), TARGET_OK, "libesca.so");
	put_true("static", patch_no_interp, 0755);
	expect(in_dir("static"), TARGET_STATIC, "statically");
	put_true("arm", patch_arm, 0755);
	expect(in_dir("arm"), TARGET_FOREIGN, "x86-64");
	put_true("small", patch_32, 0755);
	expect(in_dir("small"), TARGET_FOREIGN, "x86-64");
	put_true("lost", patch_lost_interp, 0755);
	expect(in_dir("lost"), TARGET_MISSING, "/Xib64");
	put_true("wild", patch_wild_headers, 0755);
	expect(in_dir("wild"), TARGET_NOT_PROGRAM, "wild");
}

/* One that the compiler made, not one we patched. */
static void static_binary(void **state)
{
	const char *cc = getenv("CC");
	char cmd[4 * PATH_MAX];

	put_text("s.c", "int main(void) { return 0; }\n", 0644);
	snprintf(cmd, sizeof(cmd), "%s -static -o '%s/real-static' '%s/s.c'", cc ? cc : "cc", dir,
		 dir);
	assert_int_equal(system(cmd), 0);
	expect(in_dir("real-static"), TARGET_STATIC, "statically");
	snprintf(cmd, sizeof(cmd), "%s -static-pie -o '%s/real-pie' '%s/s.c'", cc ? cc : "cc", dir,
		 dir);
	assert_int_equal(system(cmd), 0);
	expect(in_dir("real-pie"), TARGET_STATIC, "statically");
}

static void privileged(void **state)
{
	put_true("setuid", NULL, 04755);
	expect(in_dir("setuid"), TARGET_PRIVILEGED, "setuid");
	put_true("setgid", NULL, 02755);
	expect(in_dir("setgid"), TARGET_PRIVILEGED, "setgid");
	put_true("locking", NULL, 02745); /* without group x this is not setgid */
	expect(in_dir("locking"), TARGET_OK, "libesca.so");
	put_text("setuid-script", "#!/bin/sh\n", 04755); /* the kernel ignores it */
	expect(in_dir("setuid-script"), TARGET_OK, "libesca.so");
}

static void found_in_path(void **state)
{
	char *saved = strdup(getenv("PATH"));
	char path[4 * PATH_MAX];
	struct target t;

	put_true("esca-test-server", NULL, 0755);
	assert_int_equal(mkdir(in_dir("other"), 0755), 0);
	put_true("other/esca-test-server", NULL, 0644);
	assert_int_equal(mkdir(in_dir("more"), 0755), 0);
	assert_int_equal(mkdir(in_dir("more/esca-test-server"), 0755), 0);

	snprintf(path, sizeof(path), "%s/more:%s/other:%s", dir, dir, dir);
	setenv("PATH", path, 1);
	target_inspect(&t, "esca-test-server");
	assert_int_equal(t.kind, TARGET_OK);
	assert_string_equal(t.path, in_dir("esca-test-server"));

	snprintf(path, sizeof(path), "%s/more:%s/other", dir, dir);
	setenv("PATH", path, 1);
	target_inspect(&t, "esca-test-server");
	assert_int_equal(t.kind, TARGET_NOT_EXECUTABLE);
	setenv("PATH", saved, 1);
	free(saved);
}

static int make_dir(void **state)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%s/esca-test-target.XXXXXX", tmp ? tmp : "/tmp");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	char cmd[PATH_MAX + 16];

	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	return system(cmd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cannot_run),	 cmocka_unit_test(text_is_no_program),
		cmocka_unit_test(exit_statuses), cmocka_unit_test(scripts),
		cmocka_unit_test(elf_files),	 cmocka_unit_test(static_binary),
		cmocka_unit_test(privileged),	 cmocka_unit_test(found_in_path),
	};

	cmocka_set_test_filter(getenv("ESCA_TEST"));
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
