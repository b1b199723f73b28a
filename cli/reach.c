/* SPDX-License-Identifier: MIT */
/* reach.c - which calls of a server do not go through libc, by what is in its files. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <analyzer/syscall.h>

#include <cli/cmd.h>
#include <cli/elf-file.h>
#include <cli/msg.h>
#include <cli/reach.h>

#define SITES_MAX 4096

/* A verdict is not replaced by a better one. */
static bool worse(struct reach *r, enum reach_verdict v)
{
	if (v <= r->verdict)
		return false;
	r->verdict = v;
	return true;
}

#define SAY(r, ...) snprintf((r)->sentence, sizeof((r)->sentence), __VA_ARGS__)

/* How bad is it not to see call @nr? */
static enum reach_verdict weigh(long nr)
{
	const struct call_row *row = call_row((unsigned int)nr);

	if (!row->name)
		return REACH_ALL;
	if (row->cls == CALL_WAIT)
		return REACH_UNSAFE;
	/* Time, memory, threads: nothing that waits is concerned. */
	return row->fd_arg >= 0 && (row->cls == CALL_DEFER || row->cls == CALL_RESULT) ? REACH_PART
										       : REACH_ALL;
}

static void look_into(struct reach *r, const struct target *t, const char *path)
{
	bool own = !strcmp(path, t->program);
	struct elf_site *list;
	struct elf e;
	size_t n;

	if (elf_open(&e, path))
		return;
	if (elf_section(&e, ".go.buildinfo") || elf_section(&e, ".note.go.buildid")) {
		if (own && worse(r, REACH_NONE))
			SAY(r,
			    "'%s' is written in Go, so it enters the kernel without libc and "
			    "libesca.so would see none of its calls, or only those of parts in C; "
			    "run it without esca",
			    path);
		else if (!own && worse(r, REACH_UNSAFE))
			SAY(r,
			    "'%s', which '%s' is linked with, is written in Go and enters the "
			    "kernel without libc, where libesca.so does not see it; if it keeps to "
			    "descriptors of its own, use --allow-unseen",
			    path, t->program);
	}
	list = calloc(SITES_MAX, sizeof(*list));
	n = list ? elf_syscalls(&e, list, SITES_MAX) : 0;
	for (size_t i = 0; i < n && i < SITES_MAX; i++) {
		enum reach_verdict v = weigh(list[i].nr);
		const char *function, *name;
		char in[256] = "";

		if (v == REACH_ALL || !worse(r, v))
			continue;
		name = call_row((unsigned int)list[i].nr)->name;
		function = elf_function(&e, list[i].addr);
		if (function)
			snprintf(in, sizeof(in), " in %s()", function);
		if (v == REACH_UNSAFE)
			SAY(r,
			    "'%s'%s%s%s makes %s by itself%s, where libesca.so does not see it, so "
			    "replies could wait while it sleeps; if the event loop of the server "
			    "does not come there, use --allow-unseen",
			    path, own ? "" : ", which '", own ? "" : t->program,
			    own ? "" : "' is linked with,", name, in);
		else
			SAY(r,
			    "'%s' makes %s by itself%s, where libesca.so does not see it; whether "
			    "that matters shows --recording, with a recording of 'esca trace'",
			    path, name, in);
	}
	free(list);
	elf_close(&e);
}

static bool of_libc(const char *path)
{
	static const char *const names[] = {"libc.so.6", "ld-linux-x86-64.so.2", "libpthread.so.0",
					    "libesca.so"};
	const char *base = strrchr(path, '/') + 1;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(base, names[i]))
			return true;
	return false;
}

/* What the loader says that @program is linked with. */
static FILE *list_libraries(const char *program, pid_t *pid)
{
	char interp[PATH_MAX] = "";
	struct elf e;
	int fds[2];

	if (elf_open(&e, program))
		return NULL;
	for (size_t i = 0; i < e.nph; i++)
		if (e.ph[i].p_type == PT_INTERP && e.ph[i].p_offset < e.size &&
		    e.ph[i].p_filesz < e.size - e.ph[i].p_offset &&
		    e.ph[i].p_filesz < sizeof(interp))
			memcpy(interp, e.map + e.ph[i].p_offset, e.ph[i].p_filesz);
	elf_close(&e);
	if (!*interp || pipe2(fds, O_CLOEXEC))
		return NULL;
	*pid = fork();
	if (!*pid) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		if (dup2(fds[1], STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0)
			_exit(127);
		unsetenv("LD_PRELOAD"); /* which may have a libesca.so with its liburing */
		execl(interp, interp, "--list", program, (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	if (*pid > 0)
		return fdopen(fds[0], "r");
	close(fds[0]);
	return NULL;
}

void reach_look(struct reach *r, const struct target *t)
{
	char *line = NULL;
	size_t size = 0;
	pid_t pid = -1;
	FILE *f;

	memset(r, 0, sizeof(*r));
	look_into(r, t, t->program);
	f = r->verdict == REACH_NONE ? NULL : list_libraries(t->program, &pid);
	while (f && getline(&line, &size, f) > 0) {
		char *arrow = strstr(line, " => "), *end = strstr(line, " (0x");
		char *path = arrow ? arrow + 4 : line + strspn(line, "\t ");

		if (!end || end < path)
			continue;
		*end = '\0';
		if (strchr(path, '/') && !of_libc(path))
			look_into(r, t, path);
	}
	free(line);
	if (f)
		fclose(f);
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

int reach_check(const struct target *t, const char *recording, int allow)
{
	struct reach r;
	int ret;

	reach_look(&r, t);
	if (r.verdict == REACH_NONE) {
		msg_error("%s", r.sentence);
		return ESCA_EXIT_FAILED;
	}
	/* What it did in fact counts more than what is in its files. */
	if (recording) {
		ret = reach_recording(&r, t, recording);
		if (ret)
			return ret;
	}
	if (r.verdict == REACH_UNSAFE && !allow) {
		msg_error("%s", r.sentence);
		return ESCA_EXIT_FAILED;
	}
	if (r.verdict != REACH_ALL)
		msg_warn("%s", r.sentence);
	return 0;
}
