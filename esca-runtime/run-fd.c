/* SPDX-License-Identifier: MIT */
/* run-fd.c - mode run: calls that make, change, ask about and end descriptors. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <linux/sockios.h>

#include <esca-runtime/handlers.h>

/* A call that makes a descriptor and found none free: those that wait to be closed, in whichever
 * thread's queue, and those that we keep for dying streams are given back, and it tries once more.
 */
static long make(long nr, long a0, long a1, long a2, long a3, long a4, long a5)
{
	long ret;

	/* The kernel gives the lowest number that is free. */
	if (unlikely(self.q && SHARED(self.q->ncloses)))
		flush();
	ret = pass(CALL);
	if (unlikely(ret == -EMFILE || ret == -ENFILE)) {
		queue_flush_all();
		if (SHARED(hot.spills))
			spill_finish_all(0);
		ret = pass(CALL);
	}
	return ret;
}

ON_FD(run_accept)
{
	long ret;

	flush_unless_quiet(e, a0);
	ret = make(CALL);
	if (ret >= 0) {
		if (e && (e->cls == FD_UNKNOWN || e->cls == FD_SOCKET))
			fd_probe(e, (int)a0);
		fd_accepted(e, ret, nr == SYS_accept4 && (a3 & SOCK_NONBLOCK));
	}
	return ret;
}

HANDLER(run_openat)
{
	int flags = (int)a2;
	long ret;

	if (aside())
		return raw_syscall(CALL);
	/* Opening a FIFO may sleep; truncating a log shows. */
	if (queue_waits(self.q)) {
		if ((flags & O_NONBLOCK) && !(flags & O_TRUNC))
			flush_old();
		else
			flush();
	}
	ret = make(CALL);
	if (ret >= 0)
		fd_opened(ret, flags);
	return ret;
}

/* --- what descriptors are --- */

ON_FD(run_close)
{
	long ret;

	if (!e) {
		flush();
		return pass(CALL);
	}
	if (unlikely(e->ahead)) {
		flush();
		ahead_close(e, (int)a0, true);
	}
	registration_drop(e);
	/* What waits goes first, and the kernel closes it then. */
	if (SHARED(e->op) && fusing(ESCA_FUSE_CLOSE) && e->cls == FD_STREAM &&
	    SHARED(e->owner) == self.q && !(e->flags & (FD_UNIX | FD_LINGER)) &&
	    !SHARED(e->shared) && self.q->in_turn) {
		ret = queue_end(e, END_CLOSE);
		if (ret != NOT_QUEUED)
			return ret;
	}
	if (unlikely(SHARED(e->pieces)) && self.q)
		piece_unwanted(self.q);
	/* Closing what is neither a file nor a TCP stream may be seen at once by somebody. */
	if (fd_waits(e) || e->cls == FD_OTHER || e->cls == FD_EPOLL || e->cls == FD_LISTEN ||
	    (e->flags & FD_UNIX) || (e->cls == FD_UNKNOWN && !(e->flags & FD_INODE)))
		flush();
	else
		flush_old();
	if (unlikely(SHARED(e->spill))) {
		ret = spill_close(e, (int)a0);
		if (ret != NOT_QUEUED)
			return ret;
	}
	/* Before the call: after it the number may be another thread's. */
	fd_gone(e);
	return pass(CALL);
}

HANDLER(run_close_range)
{
	unsigned int first = (unsigned int)a0, last = (unsigned int)a1, fd;

	if (aside())
		return raw_syscall(CALL);
	flush();
	if (first <= last && !((unsigned int)a2 & ~2u)) {
		for (fd = first; fd <= last && fd <= SHARED(fd_high); fd++) {
			struct fd_entry *e = touch(fd);

			if (SHARED(e->spill))
				spill_settle(e, (int)fd);
			if (e->ahead)
				ahead_close(e, (int)fd, true);
			fd_gone(e);
		}
	}
	return pass(CALL);
}

HANDLER(run_socket)
{
	struct fd_entry *e;
	long ret;

	if (aside())
		return raw_syscall(CALL);
	flush_old();
	ret = make(CALL);
	if (ret < 0)
		return ret;
	e = fd_born(ret);
	if (!e)
		return ret;
	e->cls = FD_OTHER;
	if ((a1 & 0xf) == SOCK_STREAM && (a0 == AF_UNIX || a0 == AF_INET || a0 == AF_INET6))
		e->cls = FD_SOCKET;
	if (a1 & SOCK_NONBLOCK)
		e->flags |= FD_NONBLOCK;
	if (a0 == AF_UNIX)
		e->flags |= FD_UNIX;
	e->cork = e->cork_want = e->nodelay = e->nodelay_want = 0;
	return ret;
}

/* pipe, pipe2, socketpair: two descriptors that are never deferred on. */
HANDLER(run_pair)
{
	const int *fds = (const int *)(nr == SYS_socketpair ? a3 : a0);
	long ret;
	int i;

	if (aside())
		return raw_syscall(CALL);
	flush_old();
	ret = make(CALL);
	for (i = 0; !ret && i < 2; i++) {
		struct fd_entry *e = fd_born(fds[i]);

		if (e)
			e->cls = nr == SYS_socketpair ? FD_UNKNOWN : FD_OTHER;
	}
	return ret;
}

HANDLER(run_make)
{
	struct fd_entry *e;
	long ret;

	if (aside())
		return raw_syscall(CALL);
	flush_old();
	ret = make(CALL);
	e = ret >= 0 ? fd_born(ret) : NULL;
	if (e)
		e->cls = FD_OTHER;
	return ret;
}

HANDLER(run_epoll_create)
{
	static uint32_t gen;
	struct fd_entry *e;
	long ret;

	if (aside())
		return raw_syscall(CALL);
	flush_old();
	ret = make(CALL);
	e = ret >= 0 ? fd_born(ret) : NULL;
	if (e) {
		e->cls = FD_EPOLL;
		e->gen = __atomic_add_fetch(&gen, 1, __ATOMIC_RELAXED);
	}
	return ret;
}

/*
 * @from has a second name now; what is written through
 * either must stay in order, so neither waits any more.
 */
static void dupped(struct fd_entry *from, long from_fd, long to)
{
	struct fd_entry *e = fd_born(to);

	if (from && from->ahead)
		ahead_dup(from, e);
	if (e) {
		e->flags |= FD_NODEFER;
		if (!from || from->cls == FD_OTHER || from->cls == FD_EPOLL)
			e->cls = FD_OTHER;
	}
	if (from)
		from->flags |= FD_NODEFER;
}

static void before_dup(struct fd_entry *e, long fd)
{
	flush();
	if (e && SHARED(e->spill))
		spill_settle(e, (int)fd);
}

ON_FD(run_dup)
{
	struct fd_entry *to = NULL;
	long ret;

	before_dup(e, a0);
	if (nr != SYS_dup && a0 != a1) {
		to = touch(a1);
		if (to && SHARED(to->spill))
			spill_settle(to, (int)a1);
		if (to && to->ahead)
			ahead_close(to, (int)a1, true);
	}
	ret = nr == SYS_dup ? make(CALL) : pass(CALL);
	if (ret >= 0 && ret != a0)
		dupped(e, a0, ret);
	return ret;
}

/* O_NONBLOCK was set or cleared. */
static void set_nonblock(struct fd_entry *e, long fd, bool on)
{
	if (!on && SHARED(e->spill))
		spill_settle(e, (int)fd);
	if (on)
		e->flags |= FD_NONBLOCK;
	else
		e->flags &= (uint16_t)~FD_NONBLOCK;
}

ON_FD(run_fcntl)
{
	long ret;

	switch ((int)a1) {
	case F_GETFD:
	case F_SETFD:
	case F_GETFL:
		flush_old();
		return pass(CALL);
	case F_SETFL:
		flush_of(e);
		ret = pass(CALL);
		/* It may read past the page cache from now on. */
		if (!ret && e)
			e->reads = false;
		if (!ret && e && e->cls != FD_UNKNOWN) {
			set_nonblock(e, a0, a2 & O_NONBLOCK);
			if (e->cls == FD_LOG || e->cls == FD_REG)
				e->cls = FD_UNKNOWN;
		}
		return ret;
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		before_dup(e, a0);
		ret = make(CALL);
		if (ret >= 0)
			dupped(e, a0, ret);
		return ret;
	default:
		flush();
		return pass(CALL);
	}
}

ON_FD(run_ioctl)
{
	long ret;

	switch ((unsigned int)a1) {
	case FIONBIO:
		flush_of(e);
		ret = pass(CALL);
		if (!ret && e && e->cls != FD_UNKNOWN && a2)
			set_nonblock(e, a0, *(const int *)a2);
		return ret;
	case FIONREAD:
		flush_of(e);
		ret = pass(CALL);
		if (!ret && e && e->ahead)
			*(int *)a2 += (int)ahead_bytes(e);
		return ret;
	case FIOCLEX:
	case FIONCLEX:
		flush_of(e);
		return pass(CALL);
	case SIOCOUTQ:
	case SIOCOUTQNSD:
		flush();
		ret = pass(CALL);
		if (!ret && e && SHARED(e->spill))
			*(int *)a2 += (int)spill_bytes(e);
		return ret;
	default:
		flush();
		return pass(CALL);
	}
}

/* --- sockets --- */

ON_FD(run_connect)
{
	if (e && (e->flags & FD_NONBLOCK) && !(e->flags & FD_UNIX))
		flush_old();
	else
		flush();
	return pass(CALL);
}

ON_FD(run_shutdown)
{
	long ret;

	if (e && SHARED(e->op) && a1 == SHUT_WR && fusing(ESCA_FUSE_CLOSE) &&
	    !(e->flags & FD_UNIX) && stream_waits(e, a0) == STREAM_READY) {
		ret = queue_end(e, END_SHUT);
		if (ret != NOT_QUEUED) {
			e->flags |= FD_NODEFER;
			return ret;
		}
	}
	flush();
	if (e) {
		e->flags |= FD_NODEFER;
		if (a1 != SHUT_WR)
			e->drained = 0;
		if (SHARED(e->spill) && !spill_drain(e, (int)a0)) {
			struct queue *q = SHARED(e->owner);

			queue_lock(q);
			ret = spill_shutdown(e, (int)a0, (int)a1);
			queue_unlock(q);
			return ret;
		}
		if (SHARED(e->err))
			return -late_error_take(e);
	}
	return pass(CALL);
}

/* From now on what is written is encrypted, or numbered otherwise; not what was written before. */
static bool changes_stream(int level, int name)
{
	return (level == IPPROTO_TCP && (name == TCP_ULP || name == TCP_REPAIR)) ||
	       level == SOL_TLS;
}

/* Options of a listener go to what it accepts. */
static void learn_opt(struct fd_entry *e, int level, int name, int value, bool whole)
{
	if (level == IPPROTO_TCP && name == TCP_CORK) {
		e->cork = e->cork_want = whole ? !!value : OPT_UNKNOWN;
	} else if (level == IPPROTO_TCP && name == TCP_NODELAY) {
		e->nodelay = e->nodelay_want = whole ? !!value : OPT_UNKNOWN;
	} else if (level == SOL_SOCKET && (name == SO_SNDBUF || name == SO_SNDBUFFORCE)) {
		e->credit = 0;
	} else if (level == SOL_SOCKET && name == SO_LINGER) {
		e->flags |= FD_LINGER;
	} else if (changes_stream(level, name)) {
		e->flags |= FD_NODEFER;
	}
}

ON_FD(run_setsockopt)
{
	bool shapes = a1 == IPPROTO_TCP && (a2 == TCP_CORK || a2 == TCP_NODELAY);
	bool whole = shapes && (int)a4 == sizeof(int) && a3;
	int value = 0;
	long ret;

	if (!e) {
		flush();
		return pass(CALL);
	}
	if (whole)
		memcpy(&value, (const void *)a3, sizeof(value));
	if (whole && (value == 0 || value == 1) && !SHARED(e->spill) && !SHARED(e->err) &&
	    fusing(ESCA_FUSE_CORK) && stream_waits(e, a0) == STREAM_READY &&
	    !(e->flags & FD_UNIX) &&
	    (a2 == TCP_CORK ? SHARED(e->cork) : SHARED(e->nodelay)) != OPT_UNKNOWN) {
		ret = queue_opt(e, (int)a0, (int)a2, value);
		if (likely(ret != NOT_QUEUED))
			return ret;
	}
	flush_of(e);
	if (unlikely(SHARED(e->spill)) && changes_stream((int)a1, (int)a2))
		spill_settle(e, (int)a0);
	if (fusing(ESCA_FUSE_AHEAD)) {
		ret = ahead_opt(e, (int)a1, (int)a2);
		if (ret != NOT_QUEUED)
			return ret;
	}
	ret = pass(CALL);
	if (!ret)
		learn_opt(e, (int)a1, (int)a2, value, whole);
	return ret;
}

ON_FD(run_getsockopt)
{
	long ret;

	flush_of(e);
	ret = pass(CALL);
	if (e && !ret && a1 == SOL_SOCKET && a2 == SO_ERROR && *(socklen_t *)a4 == sizeof(int)) {
		int err, owed = late_error_take(e);

		memcpy(&err, (const void *)a3, sizeof(err));
		if (!err)
			memcpy((void *)a3, &owed, sizeof(owed));
		/* It knows now that the stream is broken: no later write may seem to succeed. */
		if (err || owed)
			e->flags |= FD_NODEFER;
	}
	return ret;
}

/* A question about a descriptor that nothing waiting changes the answer of. */
ON_FD(run_ask)
{
	flush_of(e);
	return pass(CALL);
}

ON_FD(run_barrier)
{
	flush();
	return pass(CALL);
}

/* --- epoll --- */

/* The server's epoll_ctl(2) on @e was made: instance @ep, which is descriptor @epfd, @op, @ev. */
static void registered(struct fd_entry *e, struct fd_entry *ep, long epfd, int op,
		       const struct epoll_event *ev)
{
	if (SHARED(ep->cls) == FD_UNKNOWN)
		SHARE(ep->cls, FD_EPOLL);
	if (unlikely(e->ahead) && e->reg_ep != epfd + 1 && (e->reg_ep || op != EPOLL_CTL_ADD))
		ahead_second(e, ep, (int)epfd, op == EPOLL_CTL_DEL ? NULL : ev);
	if (op == EPOLL_CTL_DEL) {
		if (e->reg_ep == epfd + 1)
			registration_set(e, NULL, 0, NULL);
		return;
	}
	/* In two instances at once: whose events a spill would steal is not clear. */
	if (e->reg_ep && (e->reg_ep != epfd + 1 || e->reg_gen != ep->gen))
		SHARE(e->shared, true);
	else
		registration_set(e, ep, epfd, ev);
}

HANDLER(run_epoll_ctl)
{
	const struct epoll_event *ev = (const struct epoll_event *)a3;
	struct fd_entry *e, *ep;
	struct queue *q;
	long ret;

	if (aside())
		return raw_syscall(CALL);
	ep = fd_get(a0);
	e = touch(a2);
	if (ZOMBIE(e))
		return -EBADF;
	flush_old();
	if (!e || !ep)
		return pass(CALL);
	/* What will fail arms nothing. */
	if (unlikely(e->ahead) &&
	    ((a1 == EPOLL_CTL_MOD && e->reg_ep == a0 + 1) || (a1 == EPOLL_CTL_ADD && !e->reg_ep)))
		ahead_rearm(e);
	ret = registration_ctl(e, ep, a0, a1, a2, ev);
	if (ret != NOT_QUEUED)
		return ret;
	if (fd_ctl_waits(e))
		flush();
	if (a1 == EPOLL_CTL_DEL || (e->reg_ep && e->reg_ep != a0 + 1))
		flush_of(e);
	if (a1 != EPOLL_CTL_DEL && ev && ev->data.u64 >> 32 == SPILL_TAG)
		SHARE(ep->tag_clash, true);
	/* Another thread that flushes now may spill, and registers the stream for us then. */
	q = fd_waits(e) ? SHARED(e->owner) : NULL;
	if (q)
		queue_lock(q);
	kernel_before(e);
	if (likely(!SHARED(e->spill))) {
		ret = pass(CALL);
		if (!ret)
			registered(e, ep, a0, (int)a1, ev);
		if (q)
			queue_unlock(q);
		return ret;
	}
	if (q)
		queue_unlock(q);
	ret = spill_ctl(e, (int)a0, (int)a1, (int)a2, ev);
	if (ret != NOT_QUEUED)
		return ret;
	ret = pass(CALL);
	if (!ret)
		registered(e, ep, a0, (int)a1, ev);
	return ret;
}

ENTRY(setsockopt, run_setsockopt)
ENTRY(getsockopt, run_getsockopt)
ENTRY(epoll_ctl, run_epoll_ctl)
ENTRY(openat, run_openat)
ENTRY(close, run_close)
