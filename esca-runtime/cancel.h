/* SPDX-License-Identifier: MIT */
/*
 * cancel.h - thread cancellation: the calls that may
 * sleep stay cancellation points, as libc's own are.
 */
#ifndef ESCA_RUNTIME_CANCEL_H
#define ESCA_RUNTIME_CANCEL_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/single_threaded.h>
#include <sys/syscall.h>

#include <esca-runtime/raw-syscall.h>

/**
 * cancellable() - is there another thread that could cancel this one, and does libc make this call
 * a cancellation point? Source: pthreads(7), and SYSCALL_CANCEL in glibc 2.36.
 */
static inline bool cancellable(long nr)
{
	if (__builtin_expect(__libc_single_threaded, 1))
		return false;
	switch (nr) {
	case SYS_read:
	case SYS_readv:
	case SYS_pread64:
	case SYS_preadv:
	case SYS_preadv2:
	case SYS_write:
	case SYS_writev:
	case SYS_pwrite64:
	case SYS_pwritev:
	case SYS_pwritev2:
	case SYS_recvfrom:
	case SYS_recvmsg:
	case SYS_recvmmsg:
	case SYS_sendto:
	case SYS_sendmsg:
	case SYS_sendmmsg:
	case SYS_splice:
	case SYS_tee:
	case SYS_vmsplice:
	case SYS_accept:
	case SYS_accept4:
	case SYS_connect:
	case SYS_openat:
	case SYS_close:
	case SYS_fsync:
	case SYS_fdatasync:
	case SYS_epoll_wait:
	case SYS_epoll_pwait:
	case SYS_epoll_pwait2:
	case SYS_poll:
	case SYS_ppoll:
	case SYS_select:
	case SYS_pselect6:
		return true;
	}
	return false;
}

/**
 * cancel_begin(), cancel_end() - around one such system call and nothing else: the thread may end
 * in between, so no lock is held and no queue is half made. They leave errno alone.
 */
static inline int cancel_begin(void)
{
	int type;

	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
	return type;
}

static inline void cancel_end(int type)
{
	int ours;

	pthread_setcanceltype(type, &ours);
}

/** sleeping_syscall() - a system call of the server that may sleep. */
static inline __attribute__((always_inline)) long
sleeping_syscall(long nr, long a0, long a1, long a2, long a3, long a4, long a5)
{
	long ret;
	int type;

	if (__builtin_expect(!cancellable(nr), 1))
		return raw_syscall(nr, a0, a1, a2, a3, a4, a5);
	type = cancel_begin();
	ret = raw_syscall(nr, a0, a1, a2, a3, a4, a5);
	cancel_end(type);
	return ret;
}

#endif
