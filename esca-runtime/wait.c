/* SPDX-License-Identifier: MIT */
/* wait.c - the end of one turn and the beginning of the next: flush, then wait. */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>

#include <esca-runtime/handlers.h>

/* A timeout of any of the three calls, in ns; -1: for ever. */
static int64_t timeout_of(long nr, long arg)
{
	const struct timespec *ts = (const struct timespec *)arg;

	if (nr != SYS_epoll_pwait2)
		return (int)arg < 0 ? -1 : (int64_t)(int)arg * 1000000;
	if (!ts || ts->tv_sec > 1000000000)
		return -1;
	return (int64_t)ts->tv_sec * 1000000000 + ts->tv_nsec;
}

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static long wait_for(long nr, long a0, long a1, long a2, int64_t ns, long a4, long a5)
{
	struct timespec ts;

	if (nr != SYS_epoll_pwait2)
		return sleeping_syscall(nr, a0, a1, a2, ns < 0 ? -1 : (ns + 999999) / 1000000, a4,
					a5);
	ts.tv_sec = ns / 1000000000;
	ts.tv_nsec = ns % 1000000000;
	return sleeping_syscall(nr, a0, a1, a2, ns < 0 ? 0 : (long)&ts, a4, a5);
}

/* The wait while something is spilled: our events are not the server's, and what no event drives
 * needs a look now and then. */
static long wait_spilled(long nr, long a0, long a1, long a2, long a3, long a4, long a5)
{
	int64_t left = timeout_of(nr, a3), end = left < 0 ? -1 : now_ns() + left;

	/* Arguments that the kernel will refuse. */
	if ((int)a2 <= 0 || (nr == SYS_epoll_pwait2 && left < -1))
		return sleeping_syscall(nr, a0, a1, a2, a3, a4, a5);
	for (;;) {
		int max = spill_before_wait();
		int64_t slice = left;
		long n;

		if (max >= 0 && (slice < 0 || slice > (int64_t)max * 1000000))
			slice = (int64_t)max * 1000000;
		count(C_CROSSINGS, 1);
		n = wait_for(nr, a0, a1, a2, slice, a4, a5);
		if (raw_is_error(n))
			return n;
		if (n > 0)
			n = spill_events((struct epoll_event *)a1, (int)n);
		if (n > 0)
			return n;
		if (end >= 0) {
			left = end - now_ns();
			if (left <= 0)
				return 0;
		}
	}
}

/*
 * This thread waits on instance @ep. Two threads that do
 * so get each other's descriptors: no deferral there.
 */
static void claim(struct fd_entry *ep)
{
	struct queue *none = NULL;

	if (ep->cls == FD_UNKNOWN || ep->cls == FD_OTHER) {
		ep->cls = FD_EPOLL;
		ep->flags |= FD_NODEFER;
	}
	if (SHARED(ep->owner) != self.q &&
	    !__atomic_compare_exchange_n(&ep->owner, &none, self.q, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_RELAXED))
		SHARE(ep->shared, true);
}

/*
 * Flush, and take what is ready then without another crossing. Arguments that the kernel has to
 * look at, or a mask to wait with, are for the real call. Return: as epoll_wait(2); 0: make it.
 */
static long flush_ready(const struct fd_entry *ep, long nr, long a0, long a1, long a2, long a3,
			long a4)
{
	struct harvest h = {(int)a0, (int)a2, (struct epoll_event *)a1};
	struct queue *q = self.q;

	if (!fusing(ESCA_FUSE_WAIT) || !ep || SHARED(ep->owner) != q || SHARED(ep->shared) ||
	    (int)a2 <= 0 || (nr != SYS_epoll_wait && a4) ||
	    (nr == SYS_epoll_pwait2 ? a3 != 0 : (int)a3 == 0) || SHARED(hot.spills)) {
		queue_flush(q);
		return 0;
	}
	if (cancellable(nr))
		cancel_end(cancel_begin());
	return queue_flush_ready(q, &h);
}

/*
 * Another thread has waited on @ep so far: what that one has queued in the turn that it handed
 * over, in whatever way, is made before this one waits.
 */
static void taken_over(struct fd_entry *ep)
{
	struct queue *q = SHARED(ep->owner);

	SHARE(ep->shared, true);
	if (queue_waits(q))
		queue_flush(q);
}

long wait_epoll(long nr, long a0, long a1, long a2, long a3, long a4, long a5)
{
	struct fd_entry *ep;
	struct queue *owner;
	long n;

	count(C_CALLS, 1);
	if (unlikely(self.bypass) && bypassed())
		return sleeping_syscall(nr, a0, a1, a2, a3, a4, a5);
	life_look();
	ep = fd_get(a0);
	owner = ep ? SHARED(ep->owner) : NULL;
	if (unlikely(owner && owner != self.q))
		taken_over(ep);
	if (unlikely(SHARED(hot.aheads))) {
		flush();
		turn_end();
		n = ahead_wait(nr, a0, a1, a2, a3, a4, a5);
		if (n != NOT_QUEUED)
			goto waited;
	}
	n = queue_waits(self.q) ? flush_ready(ep, nr, a0, a1, a2, a3, a4) : 0;
	turn_end();
	if (!n && unlikely(SHARED(hot.spills))) {
		n = wait_spilled(nr, a0, a1, a2, a3, a4, a5);
	} else {
		if (!n) {
			count(C_CROSSINGS, 1);
			n = sleeping_syscall(nr, a0, a1, a2, a3, a4, a5);
		}
		/*
		 * This flush, or that of another thread meanwhile, may have
		 * spilled; or a tag of ours is left from a spill that is over.
		 */
		if (n > 0 && unlikely(SHARED(hot.spills) || (ep && SHARED(ep->tags)))) {
			n = spill_events((struct epoll_event *)a1, (int)n);
			if (!n)
				n = wait_spilled(nr, a0, a1, a2, a3, a4, a5);
		}
	}
waited:
	if (n > 0) {
		count(C_TURNS, 1);
		turn_begin((unsigned int)n);
		if (ep && self.q) {
			if (unlikely(SHARED(ep->owner) != self.q))
				claim(ep);
			if (SHARED(ep->heed))
				turn_events((int)a0, ep, (const struct epoll_event *)a1, (int)n);
			if (unlikely(SHARED(hot.errors)))
				late_error_events((int)a0, ep, (struct epoll_event *)a1, (int)n);
			if (fusing(ESCA_FUSE_AHEAD))
				ahead_fetch((int)a0, ep, (const struct epoll_event *)a1, (int)n);
		}
	}
	return n;
}

ENTRY(epoll_wait, wait_epoll)

/*
 * What a wait other than epoll's may sleep at a time while
 * something is spilled, in ms: no event of it drives that.
 */
#define SPILL_SLICE 10

static void watch(unsigned int fd)
{
	struct fd_entry *e = fd_get(fd);

	if (e && SHARED(e->poll_q) != self.q)
		SHARE(e->poll_q, self.q);
}

/*
 * The wait of a loop without epoll returned @n descriptors: a turn begins, in which calls may wait
 * on what it waits for. The kernel is level-triggered there.
 */
static void watched(long nr, long a0, long a1, long a2, long a3, unsigned int n)
{
	const struct pollfd *p = (const struct pollfd *)a0;
	long i;

	count(C_TURNS, 1);
	turn_begin(n);
	if (!self.q)
		return;
	if (nr == SYS_poll || nr == SYS_ppoll) {
		for (i = 0; i < a1; i++)
			if (p[i].fd >= 0)
				watch((unsigned int)p[i].fd);
		return;
	}
	/* What select found is left of the sets; what it did not find keeps what it had. */
	for (i = 0; i < a0 && i < FD_SETSIZE; i++)
		if ((a1 && FD_ISSET((int)i, (const fd_set *)a1)) ||
		    (a2 && FD_ISSET((int)i, (const fd_set *)a2)))
			watch((unsigned int)i);
}

/* As late_error_events(), for poll(2); select(2) has no word for an error. */
static void late_polled(long nr, long a0, long a1)
{
	struct pollfd *p = (struct pollfd *)a0;
	long i;

	for (i = 0; (nr == SYS_poll || nr == SYS_ppoll) && i < a1; i++) {
		const struct fd_entry *e = fd_get(p[i].fd);

		if (e && p[i].revents && late_error_shows(e))
			p[i].revents |= POLLERR;
	}
}

/* poll(2) while something is spilled: in slices, between which that is offered again. */
static long poll_spilled(long a0, long a1, int timeout)
{
	int64_t end = timeout < 0 ? -1 : now_ns() + (int64_t)timeout * 1000000;
	long n;

	for (;;) {
		int64_t left = end < 0 ? SPILL_SLICE : (end - now_ns() + 999999) / 1000000;

		if (left < 0)
			left = 0;
		n = pass(SYS_poll, a0, a1,
			 SHARED(hot.spills) && left > SPILL_SLICE ? SPILL_SLICE : left, 0, 0, 0);
		if (n || (end >= 0 && now_ns() >= end))
			return n;
		spill_finish_all(0);
	}
}

long wait_other(long nr, long a0, long a1, long a2, long a3, long a4, long a5)
{
	long n;

	count(C_CALLS, 1);
	if (unlikely(self.bypass) && bypassed())
		return sleeping_syscall(nr, a0, a1, a2, a3, a4, a5);
	life_look();
	flush();
	turn_end();
	if (unlikely(SHARED(hot.spills)))
		spill_rest();
	if (unlikely(SHARED(hot.aheads))) {
		n = ahead_poll(nr, a0, a1, a2, a3, a4, a5);
		if (n != NOT_QUEUED)
			return n;
	}
	if (unlikely(SHARED(hot.spills)) && nr == SYS_poll)
		n = poll_spilled(a0, a1, (int)a2);
	else
		n = pass(nr, a0, a1, a2, a3, a4, a5);
	if (n > 0) {
		if (unlikely(SHARED(hot.errors)))
			late_polled(nr, a0, a1);
		watched(nr, a0, a1, a2, a3, (unsigned int)n);
	}
	return n;
}
