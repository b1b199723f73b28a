/* SPDX-License-Identifier: MIT */
/*
 * target.h - look at the server's program before it is started:
 * can it be executed, and can libesca.so be loaded into it.
 */
#ifndef ESCA_CLI_TARGET_H
#define ESCA_CLI_TARGET_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

/**
 * What was found. Only TARGET_OK means that libesca.so will be
 * loaded; those before it in this list cannot even be executed.
 */
enum target_kind {
	TARGET_MISSING, /* no such file, nor in PATH */
	TARGET_DIRECTORY,
	TARGET_NOT_EXECUTABLE, /* permission */
	TARGET_NOT_PROGRAM,    /* neither ELF nor a script with #! */
	TARGET_FOREIGN,	       /* ELF of another architecture or word size */
	TARGET_UNREADABLE,     /* can be executed but not looked into */
	TARGET_OK,	       /* dynamic x86-64 ELF, or a script whose interpreter is one */
	TARGET_STATIC,	       /* no program interpreter: preloading cannot reach it */
	/* setuid, setgid or file capabilities: the loader ignores LD_PRELOAD there */
	TARGET_PRIVILEGED,
	TARGET_OTHER_LOADER, /* dynamic, but not for glibc, which libesca.so needs (musl) */
};

struct target {
	enum target_kind kind;
	char path[PATH_MAX]; /* what execve() gets */
	/* what the verdict is about: path, or the interpreter of the script */
	char program[PATH_MAX];
	int err; /* errno behind the verdict, 0 if none */
};

/** target_inspect() - find @name as execvp(3) would and look at it. Always fills *@t. */
void target_inspect(struct target *t, const char *name);

/**
 * target_sentence() - the verdict as one sentence that says
 * what to do, for msg_error(); valid until the next call.
 */
const char *target_sentence(const struct target *t);

/**
 * target_exit_status() - the exit status that goes
 * with a verdict that cannot be executed: 127 or 126.
 */
int target_exit_status(const struct target *t);

/**
 * target_library() - the path of libesca.so: beside the build tree's esca, else in the installed
 * libdir, also where the whole prefix was moved. Return: 0, or -ENOENT.
 */
int target_library(char *path, size_t size);

/**
 * target_published() - does the program call the names of the published ESCA (PDP 2022)? Then
 * libesca-published.so, which lies beside @library, is for it: *@path gets where.
 */
bool target_published(const struct target *t, const char *library, char *path, size_t size);

#endif
