/* SPDX-License-Identifier: MIT */
/*
 * backend-uring.c - one io_uring_enter(2) for all data operations of a flush.
 *
 * Only what io_uring does in order, at once and in the caller's context is given to it: SEND and
 * SENDMSG with MSG_DONTWAIT. With MSG_WAITALL a short send counts as failed, so that success needs
 * no completion (IOSQE_CQE_SKIP_SUCCESS) and all else has one.
 */
#include "config.h"

#include <errno.h>
#include <liburing.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <esca-runtime/backend.h>

#define FAILED ((void *)-1) /* q->backend: this thread could not get a ring and does without */

#define OP_EPOLL_WAIT 59	 /* IORING_OP_EPOLL_WAIT, Linux 6.15 */
#define DATA_WAIT     (1u << 16) /* user_data: of the wait, and of the request to cancel it */
#define DATA_CANCEL   (DATA_WAIT + 1)

/*
 * After a wait that found nothing ready so many turns make it with a plain call. Looking in vain
 * costs about as much as eight successes gain.
 */
#define MISS_TURNS 32

/** struct state - of one thread. */
struct state {
	struct io_uring ring;
	unsigned int misses; /* turns to go without a wait in the ring */
};

static bool can_wait; /* the kernel has OP_EPOLL_WAIT */

static bool traced(void)
{
	static const char word[] = "TracerPid:\t";
	char buf[4096];
	const char *p;
	long fd, n;

	fd = raw_syscall(SYS_openat, -100, (long)"/proc/self/status", 0, 0, 0, 0);
	if (raw_is_error(fd))
		return false;
	n = raw_syscall(SYS_read, fd, (long)buf, sizeof(buf) - 1, 0, 0, 0);
	raw_syscall(SYS_close, fd, 0, 0, 0, 0, 0);
	buf[n > 0 ? n : 0] = '\0';
	p = strstr(buf, word);
	return p && p[sizeof(word) - 1] != '0';
}

static int ring_init(struct io_uring *ring)
{
	return io_uring_queue_init(ESCA_QUEUE_CALLS, ring,
				   IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
					   IORING_SETUP_SUBMIT_ALL);
}

static bool has_wait(struct io_uring *ring)
{
	/* The structure ends in an array without a size. */
	_Alignas(struct io_uring_probe) char
		room[sizeof(struct io_uring_probe) +
		     (OP_EPOLL_WAIT + 1) * sizeof(struct io_uring_probe_op)] = {0};
	struct io_uring_probe *p = (struct io_uring_probe *)room;

	if (io_uring_register_probe(ring, p, OP_EPOLL_WAIT + 1))
		return false;
	return p->last_op >= OP_EPOLL_WAIT && (p->ops[OP_EPOLL_WAIT].flags & IO_URING_OP_SUPPORTED);
}

static int uring_probe(void)
{
	struct io_uring ring;
	int ret;

	/* Its operations would be unseen by a seccomp filter and by a tracer. */
	if (raw_syscall(SYS_prctl, PR_GET_SECCOMP, 0, 0, 0, 0, 0) || traced())
		return -EPERM;
	ret = ring_init(&ring);
	if (ret)
		return ret;
	can_wait = has_wait(&ring);
	io_uring_queue_exit(&ring);
	return 0;
}

/*
 * The ring of this thread, known to the kernel by the thread
 * alone: no descriptor stays open that the server could see.
 */
static struct state *state_new(void)
{
	struct io_uring *ring;
	long map = raw_syscall(SYS_mmap, 0, sizeof(struct state), PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (raw_is_error(map))
		return FAILED;
	ring = &((struct state *)map)->ring;
	if (ring_init(ring))
		goto fail;
	if (io_uring_register_ring_fd(ring) != 1 || io_uring_ring_dontfork(ring)) {
		io_uring_queue_exit(ring);
		goto fail;
	}
	raw_syscall(SYS_close, ring->ring_fd, 0, 0, 0, 0, 0);
	return (struct state *)map;
fail:
	raw_syscall(SYS_munmap, map, sizeof(struct state), 0, 0, 0, 0);
	return FAILED;
}

static void uring_detach(struct queue *q)
{
	struct state *st = q->backend;
	struct io_uring *ring;

	q->backend = NULL;
	if (!st || st == FAILED || self.q != q)
		return;
	ring = &st->ring;
	io_uring_unregister_ring_fd(ring);
	raw_syscall(SYS_munmap, (long)ring->sq.sqes,
		    (long)(ring->sq.ring_entries * sizeof(struct io_uring_sqe)), 0, 0, 0, 0);
	raw_syscall(SYS_munmap, (long)ring->sq.ring_ptr, (long)ring->sq.ring_sz, 0, 0, 0, 0);
	raw_syscall(SYS_munmap, (long)st, sizeof(*st), 0, 0, 0, 0);
}

/* This thread's state; NULL: it does without. A ring answers only the thread that made it. */
static struct state *state_of(struct queue *q)
{
	if (unlikely(self.q != q))
		return NULL;
	if (unlikely(!q->backend))
		q->backend = state_new();
	return q->backend == FAILED ? NULL : q->backend;
}

static void fill(struct io_uring *ring, struct queue *q, struct send *v, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
		int flags = v[i].flags | MSG_WAITALL;

		if (v[i].niov == 1) {
			io_uring_prep_send(sqe, v[i].fd, v[i].iov->iov_base, v[i].iov->iov_len,
					   flags);
		} else {
			struct msghdr *msg = &q->msgs[i];

			memset(msg, 0, sizeof(*msg));
			msg->msg_iov = (struct iovec *)v[i].iov;
			msg->msg_iovlen = v[i].niov;
			io_uring_prep_sendmsg(sqe, v[i].fd, msg, (unsigned int)flags);
		}
		sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
		sqe->user_data = i;
		v[i].result = (long)v[i].len;
	}
}

/* Take all completions. Return: true if the wait's is among them, *@ready its result. */
static bool reap(struct io_uring *ring, struct send *v, unsigned int n, int *ready)
{
	unsigned int head, seen = 0;
	struct io_uring_cqe *cqe;
	bool waited = false;

	io_uring_for_each_cqe(ring, head, cqe)
	{
		if (cqe->user_data < n) {
			v[cqe->user_data].result = cqe->res;
		} else if (cqe->user_data == DATA_WAIT) {
			*ready = cqe->res;
			waited = true;
		}
		seen++;
	}
	io_uring_cq_advance(ring, seen);
	return waited;
}

/* What was not submitted has not happened: by plain calls then, and no ring any more. */
static void give_up(struct queue *q, struct send *v, unsigned int n)
{
	uring_detach(q);
	q->backend = FAILED;
	backend_direct.send(q, v, n);
}

static void uring_send(struct queue *q, struct send *v, unsigned int n)
{
	struct state *st = n < 2 ? NULL : state_of(q);
	int ret, ready;

	/* A single operation gains nothing. */
	if (!st) {
		backend_direct.send(q, v, n);
		return;
	}
	fill(&st->ring, q, v, n);
	count(C_CROSSINGS, 1);
	ret = io_uring_submit(&st->ring);
	reap(&st->ring, v, n, &ready);
	if (ret < 0)
		ret = 0;
	if (unlikely((unsigned int)ret < n))
		give_up(q, v + ret, n - (unsigned int)ret);
}

/*
 * Nothing was ready and the wait is pending: take it back. It has not looked again, and does not
 * any more: this ring's requests go on only when this thread enters it, and the request to cancel
 * is seen first. Return: the events that it has nevertheless.
 */
static int cancel_wait(struct queue *q, struct state *st)
{
	struct io_uring *ring = &st->ring;
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	int ready = 0, tries;

	io_uring_prep_cancel64(sqe, DATA_WAIT, 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	sqe->user_data = DATA_CANCEL;
	for (tries = 0; tries < 100; tries++) {
		count(C_CROSSINGS, 1);
		io_uring_submit_and_wait(ring, 1);
		if (reap(ring, NULL, 0, &ready))
			return ready;
	}
	/* The kernel does not do what it should: what is pending ends with the ring. */
	uring_detach(q);
	q->backend = FAILED;
	return 0;
}

/*
 * A wait in the ring is worth its while only if it need not sleep: what sleeps there is armed,
 * woken and done anew at a higher cost than the crossing that was saved, and may be interrupted,
 * cancelled and left by a jump. So it only looks, and a plain call sleeps.
 */
static int uring_send_ready(struct queue *q, struct send *v, unsigned int n, struct harvest *h)
{
	struct state *st = n < 2 || !can_wait ? NULL : state_of(q);
	struct io_uring_sqe *sqe;
	int ret, ready = 0;

	if (!st || n + 1 > ESCA_QUEUE_CALLS) {
		uring_send(q, v, n);
		return 0;
	}
	if (st->misses) {
		st->misses--;
		uring_send(q, v, n);
		return 0;
	}
	fill(&st->ring, q, v, n);
	sqe = io_uring_get_sqe(&st->ring);
	io_uring_prep_rw(OP_EPOLL_WAIT, sqe, h->ep, h->evs, (unsigned int)h->max, 0);
	sqe->user_data = DATA_WAIT;
	count(C_CROSSINGS, 1);
	ret = io_uring_submit(&st->ring);
	if (reap(&st->ring, v, n, &ready)) {
		fused(ESCA_FUSE_WAIT, ready > 0);
	} else if (ret == (int)n + 1) {
		st->misses = MISS_TURNS;
		ready = cancel_wait(q, st);
	}
	if (ret < 0)
		ret = 0;
	if (unlikely((unsigned int)ret < n))
		give_up(q, v + ret, n - (unsigned int)ret);
	else if (unlikely((unsigned int)ret == n))
		give_up(q, v, 0);
	return ready > 0 ? ready : 0;
}

/* The ring's memory is not in the child; what described it is one page that stays. */
static void uring_child(struct queue *q)
{
	q->backend = NULL;
}

static void uring_recv(struct queue *q, struct recv *v, unsigned int n)
{
	struct state *st = state_of(q);
	unsigned int i, head, seen = 0;
	struct io_uring_cqe *cqe;
	bool done;

	for (i = 0; i < n; i++)
		v[i].result = -EAGAIN;
	if (!st)
		return;
	for (i = 0; i < n; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&st->ring);

		if (v[i].off < 0) {
			io_uring_prep_recv(sqe, v[i].fd, v[i].buf, v[i].len, MSG_DONTWAIT);
		} else {
			io_uring_prep_read(sqe, v[i].fd, v[i].buf, (unsigned int)v[i].len,
					   (uint64_t)v[i].off);
			sqe->rw_flags = RWF_NOWAIT;
		}
		sqe->user_data = i;
	}
	count(C_CROSSINGS, 1);
	done = io_uring_submit(&st->ring) == (int)n;
	io_uring_for_each_cqe(&st->ring, head, cqe)
	{
		if (cqe->user_data < n)
			v[cqe->user_data].result = cqe->res;
		seen++;
	}
	io_uring_cq_advance(&st->ring, seen);
	if (likely(done))
		return;
	uring_detach(q);
	q->backend = FAILED;
}

const struct backend backend_uring = {
	.name = "uring",
	.id = 1,
	.probe = uring_probe,
	.send = uring_send,
	.send_ready = uring_send_ready,
	.recv = uring_recv,
	.detach = uring_detach,
	.child = uring_child,
};
