/* SPDX-License-Identifier: MIT */
/*
 * late-error.c - a queued operation failed after it was answered with success: the server is told
 * at its next call.
 *
 * To the server this is a write that the kernel took and a connection that failed just after it.
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>

#include <esca-runtime/run.h>

void late_error(struct fd_entry *e, int fd, int err)
{
	struct epoll_event ev;

	count(C_ERRORS, 1);
	if (!e->err)
		__atomic_fetch_add(&hot.errors, 1, __ATOMIC_RELAXED);
	SHARE(e->err, (uint16_t)err);
	SHARE(e->shared, true);
	/*
	 * Our send consumed the error, but the hang-up stays. A level-triggered server hears of
	 * that anyway; an edge-triggered one may have had its edge before it wrote, so registering
	 * again makes the kernel look and report once more.
	 */
	if (e->reg_ep && (e->reg_events & EPOLLET) && !SHARED(e->fired)) {
		ev.events = e->reg_events;
		ev.data.u64 = e->reg_data;
		kernel(SYS_epoll_ctl, e->reg_ep - 1, EPOLL_CTL_MOD, fd, (long)&ev, 0);
	}
}

void late_error_drop(struct fd_entry *e)
{
	if (likely(!SHARED(e->err)))
		return;
	__atomic_fetch_sub(&hot.errors, 1, __ATOMIC_RELAXED);
	SHARE(e->err, 0);
}

void late_error_events(int epfd, const struct fd_entry *ep, struct epoll_event *evs, int n)
{
	int i;

	for (i = 0; i < n; i++) {
		const struct fd_entry *e = turn_find(epfd, ep, evs[i].data.u64);

		if (e && late_error_shows(e))
			evs[i].events |= EPOLLERR;
	}
}

int late_error_take(struct fd_entry *e)
{
	int err = SHARED(e->err);

	late_error_drop(e);
	return err;
}

long late_epipe(bool nosignal)
{
	if (!nosignal)
		kernel(SYS_tgkill, raw_syscall(SYS_getpid, 0, 0, 0, 0, 0, 0),
		       raw_syscall(SYS_gettid, 0, 0, 0, 0, 0, 0), SIGPIPE, 0, 0);
	return -EPIPE;
}

long late_error_on_write(struct fd_entry *e, bool nosignal)
{
	int err = late_error_take(e);

	return err == EPIPE ? late_epipe(nosignal) : -err;
}
