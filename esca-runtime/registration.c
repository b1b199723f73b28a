/* SPDX-License-Identifier: MIT */
/*
 * registration.c - the server's epoll registrations of streams, and the changes of them that the
 * kernel has not heard of yet: of a turn's changes of one registration only the last one is made,
 * and none if it is what the kernel has, or if the stream is closed in the same turn.
 *
 * Only what cannot be told apart waits: changes of level-triggered registrations (an edge-triggered
 * or one-shot one is armed anew by each), deletions, and additions that follow a deletion. The
 * instance must be this thread's own, so that nobody waits on it before the flush.
 */
#include "config.h"

#include <errno.h>
#include <sys/syscall.h>

#include <esca-runtime/handlers.h>

/* Not level-triggered, or not to be changed by EPOLL_CTL_MOD. */
#define SPECIAL ((uint32_t)(EPOLLET | EPOLLONESHOT | EPOLLEXCLUSIVE | EPOLLWAKEUP))

void registration_set(struct fd_entry *e, struct fd_entry *ep, long epfd,
		      const struct epoll_event *ev)
{
	turn_unindex(e);
	if (!ev) {
		SHARE(e->reg_ep, 0);
		return;
	}
	SHARE(e->reg_ep, (int32_t)epfd + 1);
	SHARE(e->reg_gen, ep->gen);
	SHARE(e->reg_events, ev->events);
	SHARE(e->reg_data, ev->data.u64);
	SHARE(e->fired, false);
	if ((ev->events & EPOLLONESHOT) && !SHARED(ep->heed))
		SHARE(ep->heed, true);
	turn_index(e);
}

static void make(struct fd_entry *e, int fd)
{
	struct epoll_event ev = {.events = e->reg_events, .data.u64 = e->reg_data};

	if (e->ctl == CTL_DEL) {
		kernel(SYS_epoll_ctl, e->reg_ep - 1, EPOLL_CTL_DEL, fd, 0, 0);
		registration_set(e, NULL, 0, NULL);
	} else if (e->ctl == CTL_MOD) {
		if (e->kernel_events == e->reg_events && e->kernel_data == e->reg_data &&
		    !(e->reg_events & SPECIAL))
			fused(ESCA_FUSE_MOD, 1);
		else
			kernel(SYS_epoll_ctl, e->reg_ep - 1, EPOLL_CTL_MOD, fd, (long)&ev, 0);
	}
	__atomic_store_n(&e->ctl, CTL_NONE, __ATOMIC_RELEASE);
}

void registration_flush(struct queue *q)
{
	unsigned int i;

	for (i = 0; i < q->nctls; i++)
		make(q->ctls[i].e, q->ctls[i].fd);
	q->nctls = 0;
}

void registration_drop(struct fd_entry *e)
{
	struct queue *q = SHARED(e->owner);

	if (!fd_ctl_waits(e))
		return;
	queue_lock(q);
	if (e->ctl != CTL_NONE)
		fused(e->ctl == CTL_DEL ? ESCA_FUSE_DEL : ESCA_FUSE_MOD, 1);
	SHARE(e->ctl, CTL_NONE);
	queue_unlock(q);
}

/* Note that @e's registration is to be changed to @ctl. */
static void put(struct queue *q, struct fd_entry *e, long fd, enum fd_ctl ctl)
{
	if (e->ctl == CTL_NONE) {
		e->kernel_events = e->reg_events;
		e->kernel_data = e->reg_data;
		q->ctls[q->nctls].e = e;
		q->ctls[q->nctls++].fd = (int)fd;
		SHARE(q->n, q->n + 1);
		__atomic_store_n(&e->owner, q, __ATOMIC_RELEASE);
	} else {
		/* One call instead of two. */
		fused(ESCA_FUSE_MOD, 1);
	}
	SHARE(e->ctl, (uint8_t)ctl);
	count(C_DEFERRED, 1);
}

long registration_ctl(struct fd_entry *e, struct fd_entry *ep, long epfd, long op, long fd,
		      const struct epoll_event *ev)
{
	struct queue *q = self.q;
	bool deleted, here;
	long ret = NOT_QUEUED;

	if (!fd_ctl_waits(e) &&
	    (op == EPOLL_CTL_ADD || !fusing(op == EPOLL_CTL_DEL ? ESCA_FUSE_DEL : ESCA_FUSE_MOD)))
		return NOT_QUEUED;
	here = SHARED(e->reg_ep) == epfd + 1 && SHARED(e->reg_gen) == ep->gen;
	if (!here || stream_waits(e, fd) != STREAM_READY || (e->flags & FD_UNIX) ||
	    SHARED(e->spill) || (op != EPOLL_CTL_DEL && !ev) || SHARED(ep->cls) != FD_EPOLL)
		return NOT_QUEUED;
	queue_lock(q);
	if (e->ctl == CTL_NONE) {
		queue_room(q, 0);
		if (e->spill || e->err)
			goto out;
	}
	/* Another thread may have flushed until now. */
	deleted = e->ctl == CTL_DEL;
	if (!e->reg_ep)
		goto out;
	switch (op) {
	case EPOLL_CTL_DEL:
		ret = deleted ? -ENOENT : 0;
		if (!deleted)
			put(q, e, fd, CTL_DEL);
		break;
	case EPOLL_CTL_MOD:
		if (deleted) {
			ret = -ENOENT;
			break;
		}
		if ((ev->events | e->reg_events) & SPECIAL)
			break;
		ret = 0;
		if (e->ctl == CTL_NONE && ev->events == e->reg_events &&
		    ev->data.u64 == e->reg_data) {
			fused(ESCA_FUSE_MOD, 1);
			break;
		}
		put(q, e, fd, CTL_MOD);
		registration_set(e, ep, epfd, ev);
		break;
	case EPOLL_CTL_ADD:
		if (!deleted || (ev->events & EPOLLEXCLUSIVE))
			break;
		ret = 0;
		put(q, e, fd, CTL_MOD);
		registration_set(e, ep, epfd, ev);
		break;
	}
out:
	queue_unlock(q);
	return ret;
}
