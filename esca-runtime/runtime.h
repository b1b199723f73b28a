/* SPDX-License-Identifier: MIT */
/*
 * runtime.h - what the files of libesca.so share: the rows
 * of the call table, the handlers of the mode in force.
 */
#ifndef ESCA_RUNTIME_RUNTIME_H
#define ESCA_RUNTIME_RUNTIME_H

#include <errno.h>
#include <signal.h>
#include <stdbool.h>

/** The rows of syscalls.def, as an enum: ROW_write, ROW_epoll_wait, ... */
enum esca_row {
#define ESCA_CALL(name, cls, fd, buf, ptr, len, ret, ret_arg, args) ROW_##name,
#include <analyzer/syscalls.def>
#undef ESCA_CALL
	ROW_COUNT,
};

/**
 * esca_handler - how the mode in force makes a call.
 * Arguments are the call number and its arguments as the kernel takes them; unused ones are 0.
 * Return: what the kernel would (-errno on failure). Handlers never touch errno; the entries do.
 */
typedef long (*esca_handler)(long nr, long a0, long a1, long a2, long a3, long a4, long a5);

/** One handler a row. Before the constructor has run, and in mode off, all are esca_plain(). */
extern esca_handler esca_handlers[ROW_COUNT];

/**
 * esca_entry - what a wrapped libc function is: the handler of its row, and errno as libc leaves
 * it. A wrapper jumps there: each function that is returned through after a system call costs some
 * 7 ns where the kernel clears the CPU's return stack.
 */
typedef long (*esca_entry)(long a0, long a1, long a2, long a3, long a4, long a5);

/** One a row; each calls the row's handler, unless the mode has one in which it is inlined. */
extern esca_entry esca_entries[ROW_COUNT];

/** esca_result() - what the kernel returned, as libc functions return it. */
static inline long esca_result(long ret)
{
	if (__builtin_expect((unsigned long)ret >= -4095UL, 0)) {
		errno = (int)-ret;
		return -1;
	}
	return ret;
}

/** ENTRY() - the entry of @row, with @handler inlined. */
#define ENTRY(row, handler)                                                                        \
	__attribute__((flatten)) long entry_##row(long a0, long a1, long a2, long a3, long a4,     \
						  long a5)                                         \
	{                                                                                          \
		return esca_result(handler(SYS_##row, a0, a1, a2, a3, a4, a5));                    \
	}

/** esca_plain() - the plain call: what every doubt ends in. */
long esca_plain(long nr, long a0, long a1, long a2, long a3, long a4, long a5);

/**
 * struct esca_plan - the parsed ESCA_PLAN_ENV. Strings point into the environment of the process
 * and are copied by whoever keeps them.
 */
struct esca_plan {
	enum {
		ESCA_MODE_OFF,
		ESCA_MODE_RECORD,
		ESCA_MODE_RUN
	} mode;
	char backend[16];
	unsigned int fuse, calls, bytes, age_us;
	char stats[128];
	char ring[128];
};

/**
 * struct esca_hooks - what the mode in force does around events in a process's life that libc
 * handles; set by the mode, never NULL members.
 */
struct esca_hooks {
	/* the libc call that follows may block or be seen by others: nothing may wait */
	void (*barrier)(void);
	bool (*pending)(void); /* would barrier() have anything to do? */
	/* this process image may end in the call that follows; @ends: this process does */
	void (*finish)(bool ends);
	void (*vfork)(void); /* a child that shares our memory comes next */
	void (*child)(
		void); /* we are a fork child that pthread_atfork(3) handlers are not run in */
	void (*confined)(void);	 /* a seccomp filter comes next */
	void (*cancel)(void);	 /* a thread is about to be cancelled */
	void (*unlimited)(void); /* resource limits have changed */
	/* sigaction(2) */
	int (*action)(int sig, const struct sigaction *act, struct sigaction *old);
	void (*forget)(int fd); /* libc is about to use or close @fd by itself, unseen */
	/* syscall(2) of libc: make the call and set *@ret, or return false and let libc make it. */
	bool (*call)(long *ret, long nr, const long *args);
};
extern struct esca_hooks esca_hooks;

/** esca_real_sigaction() - libc's own. */
int esca_real_sigaction(int sig, const struct sigaction *act, struct sigaction *old);

/** record_start(), run_start() - put the mode's handlers in place; on failure they leave the plain
 * ones and return negative errno. */
int record_start(const struct esca_plan *plan);
int run_start(const struct esca_plan *plan);

#endif
