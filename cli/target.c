/* SPDX-License-Identifier: MIT */
/* target.c - look at the server's program before it is started: can it be executed, and can
 * libesca.so be loaded into it. */
#include "config.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cli/cmd.h>
#include <cli/elf-file.h>
#include <cli/target.h>

/*
 * The kernel follows this many scripts that are interpreters of
 * scripts (fs/exec.c), and reads this much of the first line.
 */
#define MAX_SCRIPTS	 5
#define SCRIPT_LINE_SIZE 256

static enum target_kind inspect_file(struct target *t, const char *path, int depth);

/* The verdict on a path that cannot be looked up or executed for the reason @err. */
static enum target_kind verdict_of_errno(struct target *t, int err)
{
	t->err = err;
	return err == EACCES || err == EPERM ? TARGET_NOT_EXECUTABLE : TARGET_MISSING;
}

static void set_program(struct target *t, const char *path)
{
	if (path != t->program)
		snprintf(t->program, sizeof(t->program), "%s", path);
}

static enum target_kind inspect_script(struct target *t, char *line, size_t size, int depth)
{
	char *interp = line + 2;

	line[size] = '\0';
	line[strcspn(line, "\n")] = '\0';
	interp += strspn(interp, " \t");
	interp[strcspn(interp, " \t")] = '\0';
	if (!*interp)
		return TARGET_NOT_PROGRAM;
	if (depth >= MAX_SCRIPTS) {
		t->err = ELOOP;
		return TARGET_NOT_PROGRAM;
	}
	return inspect_file(t, interp, depth + 1);
}

/* glibc's loader is the only one that can load libesca.so, which needs libc.so.6. */
static bool is_glibc_loader(const char *interp)
{
	const char *base = strrchr(interp, '/');

	base = base ? base + 1 : interp;
	return !strncmp(base, "ld-linux", 8) || !strncmp(base, "ld-2.", 5);
}

static enum target_kind inspect_elf(struct target *t, int fd, const Elf64_Ehdr *eh)
{
	if (eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_ident[EI_DATA] != ELFDATA2LSB ||
	    eh->e_machine != EM_X86_64)
		return TARGET_FOREIGN;
	if ((eh->e_type != ET_EXEC && eh->e_type != ET_DYN) ||
	    eh->e_phentsize != sizeof(Elf64_Phdr))
		return TARGET_NOT_PROGRAM;
	for (unsigned int i = 0; i < eh->e_phnum; i++) {
		char interp[PATH_MAX];
		Elf64_Phdr ph;

		if (pread(fd, &ph, sizeof(ph), (off_t)(eh->e_phoff + i * sizeof(ph))) !=
		    (ssize_t)sizeof(ph))
			return TARGET_NOT_PROGRAM;
		if (ph.p_type != PT_INTERP)
			continue;
		if (ph.p_filesz < 2 || ph.p_filesz > sizeof(interp) ||
		    pread(fd, interp, ph.p_filesz, (off_t)ph.p_offset) != (ssize_t)ph.p_filesz ||
		    interp[ph.p_filesz - 1])
			return TARGET_NOT_PROGRAM;
		if (access(interp, X_OK)) {
			set_program(t, interp);
			return verdict_of_errno(t, errno);
		}
		return is_glibc_loader(interp) ? TARGET_OK : TARGET_OTHER_LOADER;
	}
	return TARGET_STATIC;
}

static bool is_privileged(int fd, const struct stat *st)
{
	char cap[64];

	if (st->st_mode & S_ISUID)
		return true;
	if ((st->st_mode & S_ISGID) && (st->st_mode & S_IXGRP))
		return true;
	return fgetxattr(fd, "security.capability", cap, sizeof(cap)) > 0;
}

static enum target_kind inspect_file(struct target *t, const char *path, int depth)
{
	union {
		Elf64_Ehdr eh;
		char line[SCRIPT_LINE_SIZE + 1];
	} head;
	enum target_kind kind;
	struct stat st;
	ssize_t n;
	int fd;

	set_program(t, path);
	if (stat(path, &st))
		return verdict_of_errno(t, errno);
	if (S_ISDIR(st.st_mode))
		return TARGET_DIRECTORY;
	if (!S_ISREG(st.st_mode) || faccessat(AT_FDCWD, path, X_OK, AT_EACCESS)) {
		t->err = EACCES;
		return TARGET_NOT_EXECUTABLE;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		t->err = errno;
		return TARGET_UNREADABLE;
	}
	memset(&head, 0, sizeof(head));
	n = pread(fd, &head, SCRIPT_LINE_SIZE, 0);
	if (n < 0) {
		t->err = errno;
		kind = TARGET_UNREADABLE;
	} else if (n > 2 && !memcmp(head.line, "#!", 2)) {
		kind = inspect_script(t, head.line, (size_t)n, depth);
	} else if ((size_t)n < sizeof(head.eh) || memcmp(head.eh.e_ident, ELFMAG, SELFMAG)) {
		kind = TARGET_NOT_PROGRAM;
	} else {
		kind = inspect_elf(t, fd, &head.eh);
		if ((kind == TARGET_OK || kind == TARGET_STATIC || kind == TARGET_OTHER_LOADER) &&
		    is_privileged(fd, &st))
			kind = TARGET_PRIVILEGED;
	}
	close(fd);
	return kind;
}

/*
 * As execvp(3): the first file of that name in PATH that
 * can be executed; one without permission is remembered.
 */
static enum target_kind search_path(struct target *t, const char *name)
{
	const char *dirs = getenv("PATH");
	bool denied = false;

	if (!dirs)
		dirs = "/bin:/usr/bin";
	for (;;) {
		size_t len = strcspn(dirs, ":");
		char path[PATH_MAX];
		struct stat st;
		int n;

		n = len ? snprintf(path, sizeof(path), "%.*s/%s", (int)len, dirs, name)
			: snprintf(path, sizeof(path), "%s", name);
		if (n > 0 && (size_t)n < sizeof(path) && !stat(path, &st)) {
			bool usable =
				S_ISREG(st.st_mode) && !faccessat(AT_FDCWD, path, X_OK, AT_EACCESS);

			if (usable || (!denied && !S_ISDIR(st.st_mode)))
				snprintf(t->path, sizeof(t->path), "%s", path);
			if (usable)
				return inspect_file(t, t->path, 0);
			denied |= !S_ISDIR(st.st_mode);
		}
		dirs += len;
		if (!*dirs)
			break;
		dirs++;
	}
	if (denied)
		return inspect_file(t, t->path, 0);
	t->err = ENOENT;
	set_program(t, name);
	return TARGET_MISSING;
}

void target_inspect(struct target *t, const char *name)
{
	memset(t, 0, sizeof(*t));
	snprintf(t->path, sizeof(t->path), "%s", name);
	if (!*name) {
		t->err = ENOENT;
		t->kind = TARGET_MISSING;
	} else if (strlen(name) >= sizeof(t->path)) {
		t->err = ENAMETOOLONG;
		t->kind = TARGET_MISSING;
		set_program(t, t->path);
	} else if (strchr(name, '/')) {
		t->kind = inspect_file(t, name, 0);
	} else {
		t->kind = search_path(t, name);
	}
}

const char *target_sentence(const struct target *t)
{
	static char sentence[2 * PATH_MAX + 512];
	bool via = *t->program && strcmp(t->path, t->program);
	char who[2 * PATH_MAX + 64];

	if (via)
		snprintf(who, sizeof(who), "'%s', which '%s' needs to run,", t->program, t->path);
	else
		snprintf(who, sizeof(who), "'%s'", t->path);
#define SAY(...) snprintf(sentence, sizeof(sentence), __VA_ARGS__)
	switch (t->kind) {
	case TARGET_MISSING:
		if (t->err != ENOENT)
			SAY("cannot find the server program %s: %s", who, strerror(t->err));
		else if (via)
			SAY("%s does not exist; install it", who);
		else if (strchr(t->path, '/'))
			SAY("there is no server program %s; check the path", who);
		else
			SAY("there is no server program %s in PATH; give its full path or install "
			    "it",
			    who);
		break;
	case TARGET_DIRECTORY:
		SAY("%s is a directory; give the server program in it", who);
		break;
	case TARGET_NOT_EXECUTABLE:
		SAY("%s may not be executed by this user; check its permissions and those of its "
		    "directories",
		    who);
		break;
	case TARGET_NOT_PROGRAM:
		SAY("%s is neither an ELF program nor a script that begins with #!; give the "
		    "program itself",
		    who);
		break;
	case TARGET_FOREIGN:
		SAY("%s is built for another kind of machine; esca works on x86-64 programs", who);
		break;
	case TARGET_UNREADABLE:
		SAY("%s cannot be read, so esca cannot tell whether it can work on it (%s); run "
		    "esca as its owner or as root",
		    who, strerror(t->err));
		break;
	case TARGET_OK:
		SAY("%s can be run with libesca.so", who);
		break;
	case TARGET_STATIC:
		SAY("%s is statically linked, so libesca.so cannot be loaded into it; use a "
		    "dynamically linked build of the server",
		    who);
		break;
	case TARGET_PRIVILEGED:
		SAY("%s is setuid, setgid or has file capabilities, so the loader will not load "
		    "libesca.so into it; use a copy without these and start it as the user it "
		    "needs",
		    who);
		break;
	case TARGET_OTHER_LOADER:
		SAY("%s does not use glibc, which libesca.so needs; use a build of the server for "
		    "glibc",
		    who);
		break;
	}
#undef SAY
	return sentence;
}

int target_exit_status(const struct target *t)
{
	return t->kind == TARGET_MISSING ? ESCA_EXIT_NOENT : ESCA_EXIT_NOEXEC;
}

/* The path from directory @from to directory @to, both absolute, as "../../x". */
static void relative(char *buf, size_t size, const char *from, const char *to)
{
	size_t same = 0, used = 0;

	for (size_t i = 0;; i++) {
		bool end_from = !from[i] || from[i] == '/', end_to = !to[i] || to[i] == '/';

		if (end_from && end_to)
			same = i;
		if (from[i] != to[i] || !from[i])
			break;
	}
	buf[0] = '\0';
	for (const char *p = from + same; *p; p++)
		if (*p == '/' && p[1] && p[1] != '/' && used + 4 < size) {
			memcpy(buf + used, "../", 4);
			used += 3;
		}
	to += same;
	to += strspn(to, "/");
	snprintf(buf + used, size - used, "%s", to);
}

static int try_library(char *path, size_t size, const char *dir, const char *rest)
{
	char buf[2 * PATH_MAX], *real;
	int n = snprintf(buf, sizeof(buf), "%s/%s/libesca.so", dir, rest);

	if (n < 0 || (size_t)n >= sizeof(buf) || access(buf, R_OK))
		return -ENOENT;
	real = realpath(buf, NULL);
	if (!real)
		return -ENOENT;
	n = snprintf(path, size, "%s", real);
	free(real);
	return n >= 0 && (size_t)n < size ? 0 : -ENOENT;
}

int target_library(char *path, size_t size)
{
	char dir[PATH_MAX], rest[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", dir, sizeof(dir) - 1);
	char *slash;

	if (n > 0) {
		dir[n] = '\0';
		slash = strrchr(dir, '/');
		if (slash)
			*slash = '\0';
		slash = strrchr(dir, '/');
		if (slash && !strcmp(slash, "/cli") &&
		    !try_library(path, size, dir, "../esca-runtime/.libs"))
			return 0;
		relative(rest, sizeof(rest), ESCA_BINDIR, ESCA_LIBDIR);
		if (!try_library(path, size, dir, rest))
			return 0;
	}
	return try_library(path, size, ESCA_LIBDIR, ".");
}

bool target_published(const struct target *t, const char *library, char *path, size_t size)
{
	const char *slash = strrchr(library, '/');
	struct elf e;
	bool all;
	int n;

	if (!slash || elf_open(&e, t->program))
		return false;
	/* All three, since other programs have a batch_flush too. */
	all = elf_imports(&e, "esca_init") && elf_imports(&e, "batch_start") &&
	      elf_imports(&e, "batch_flush");
	elf_close(&e);
	n = snprintf(path, size, "%.*s/libesca-published.so", (int)(slash - library), library);
	return all && n >= 0 && (size_t)n < size && !access(path, R_OK);
}
