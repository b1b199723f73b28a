/* SPDX-License-Identifier: MIT */
/* handlers.h - what the handlers of mode run have in common: how each begins, and when it flushes.
 */
#ifndef ESCA_RUNTIME_HANDLERS_H
#define ESCA_RUNTIME_HANDLERS_H

#include <errno.h>

#include <esca-runtime/run.h>

#define HANDLER(name) long name(long nr, long a0, long a1, long a2, long a3, long a4, long a5)
#define CALL	      nr, a0, a1, a2, a3, a4, a5

HANDLER(run_accept);
HANDLER(run_ask);
HANDLER(run_barrier);
HANDLER(run_close);
HANDLER(run_close_range);
HANDLER(run_connect);
HANDLER(run_dup);
HANDLER(run_epoll_create);
HANDLER(run_epoll_ctl);
HANDLER(run_fcntl);
HANDLER(run_getsockopt);
HANDLER(run_ioctl);
HANDLER(run_lseek);
HANDLER(run_make);
HANDLER(run_newfstatat);
HANDLER(run_openat);
HANDLER(run_out);
HANDLER(run_pair);
HANDLER(run_read);
HANDLER(run_recvmmsg);
HANDLER(run_sendfile);
HANDLER(run_sendmsg);
HANDLER(run_sendto);
HANDLER(run_setsockopt);
HANDLER(run_shutdown);
HANDLER(run_socket);
HANDLER(run_sync);
HANDLER(run_write);
HANDLER(run_writev);

/** HOT_ROWS() - the rows that are called most often: their handlers are inlined in their entries.
 */
#define HOT_ROWS(X)                                                                                \
	X(write)                                                                                   \
	X(writev)                                                                                  \
	X(sendto)                                                                                  \
	X(sendmsg)                                                                                 \
	X(sendfile)                                                                                \
	X(read)                                                                                    \
	X(readv)                                                                                   \
	X(recvfrom)                                                                                \
	X(recvmsg)                                                                                 \
	X(pread64)                                                                                 \
	X(newfstatat)                                                                              \
	X(setsockopt)                                                                              \
	X(getsockopt)                                                                              \
	X(epoll_ctl)                                                                               \
	X(epoll_wait)                                                                              \
	X(openat)                                                                                  \
	X(close)

#define DECLARE(row) long entry_##row(long a0, long a1, long a2, long a3, long a4, long a5);
HOT_ROWS(DECLARE)
#undef DECLARE

/* Every handler begins here; true: the call goes straight to the kernel. */
static inline bool aside(void)
{
	count(C_CALLS, 1);
	return unlikely(self.bypass) && bypassed();
}

/*
 * The entry of a descriptor the server names; other threads'
 * queues know of it then. NULL: not one we keep account of.
 */
static inline struct fd_entry *touch(long fd)
{
	struct fd_entry *e = fd_get(fd);
	struct queue *owner;

	if (!e)
		return NULL;
	owner = SHARED(e->owner);
	if (owner != self.q && unlikely(owner != NULL))
		fd_foreign(e);
	return e;
}

#define ZOMBIE(e) (unlikely((e) && ((e)->flags & FD_ZOMBIE)))

/**
 * ON_FD() - the handler of a call whose first argument is a descriptor; its body gets the entry of
 * that as @e, NULL if it is not one we keep account of.
 */
#define ON_FD(name)                                                                                \
	static IN_FRAME long name##_on(struct fd_entry *e, long nr, long a0, long a1, long a2,     \
				       long a3, long a4, long a5);                                 \
	HANDLER(name)                                                                              \
	{                                                                                          \
		struct fd_entry *e;                                                                \
                                                                                                   \
		if (aside())                                                                       \
			return raw_syscall(CALL);                                                  \
		e = touch(a0);                                                                     \
		if (ZOMBIE(e))                                                                     \
			return -EBADF;                                                             \
		return name##_on(e, CALL);                                                         \
	}                                                                                          \
	static IN_FRAME long name##_on(struct fd_entry *e, long nr, long a0, long a1, long a2,     \
				       long a3, long a4, long a5)

/* Flush if something waits for this descriptor. */
static inline void flush_of(struct fd_entry *e)
{
	if (e && fd_waits(e))
		flush();
}

#define STREAM_READY (-1)

/**
 * stream_waits() - may calls on this stream wait? Its thread must be in a turn of the loop that
 * hears of it. Return: STREAM_READY, or the reason why not (enum esca_reason).
 */
static inline int stream_waits(struct fd_entry *e, long fd)
{
	const struct fd_entry *ep;

	life_look();
	if (!self.q || !self.q->in_turn || SHARED(hot.over))
		return self.q && self.q->small ? ESCA_PASS_FEW : ESCA_PASS_NO_TURN;
	if (unlikely(e->cls == FD_UNKNOWN || e->cls == FD_SOCKET))
		fd_probe(e, (int)fd);
	if (e->cls != FD_STREAM)
		return ESCA_PASS_KIND;
	if (!(e->flags & FD_NONBLOCK))
		return ESCA_PASS_BLOCKING;
	if (fd_barred(e))
		return ESCA_PASS_SHARED;
	if (!e->reg_ep)
		return SHARED(e->poll_q) == self.q ? STREAM_READY : ESCA_PASS_UNWATCHED;
	if (unlikely(e->reg_events & (EPOLLONESHOT | EPOLLEXCLUSIVE)) &&
	    ((e->reg_events & EPOLLEXCLUSIVE) || SHARED(e->twin)))
		return ESCA_PASS_EXOTIC;
	ep = fd_get(e->reg_ep - 1);
	if (ep->gen != e->reg_gen)
		return ESCA_PASS_UNWATCHED;
	if (SHARED(ep->owner) != self.q || SHARED(ep->tag_clash) || fd_barred(ep))
		return ESCA_PASS_SHARED;
	return STREAM_READY;
}

/** quiet() - does reading from @e neither sleep nor show what waits? */
bool quiet(struct fd_entry *e, long fd);

static inline void flush_unless_quiet(struct fd_entry *e, long fd)
{
	bool waits = queue_waits(self.q);

	if (likely(!waits && !SHARED(hot.spills)))
		return;
	if (quiet(e, fd)) {
		flush_old();
		return;
	}
	flush();
	if (unlikely(SHARED(hot.spills)))
		spill_rest();
}

#endif
