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
	io_uring_queue_exit(&ring);
	return 0;
}

/*
 * The ring of this thread, known to the kernel by the thread
 * alone: no descriptor stays open that the server could see.
 */
static struct io_uring *ring_new(void)
{
	struct io_uring *ring;
	long map = raw_syscall(SYS_mmap, 0, sizeof(*ring), PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (raw_is_error(map))
		return FAILED;
	ring = (struct io_uring *)map;
	if (ring_init(ring))
		goto fail;
	if (io_uring_register_ring_fd(ring) != 1 || io_uring_ring_dontfork(ring)) {
		io_uring_queue_exit(ring);
		goto fail;
	}
	raw_syscall(SYS_close, ring->ring_fd, 0, 0, 0, 0, 0);
	return ring;
fail:
	raw_syscall(SYS_munmap, map, sizeof(*ring), 0, 0, 0, 0);
	return FAILED;
}

static void uring_send(struct queue *q, struct send *v, unsigned int n)
{
	struct io_uring *ring = q->backend;
	unsigned int i, head, seen = 0;
	struct io_uring_cqe *cqe;
	int ret;

	/* A single operation gains nothing, and a ring answers only the thread that made it. */
	if (n < 2 || self.q != q || ring == FAILED) {
		backend_direct.send(q, v, n);
		return;
	}
	if (!ring) {
		q->backend = ring = ring_new();
		if (ring == FAILED) {
			backend_direct.send(q, v, n);
			return;
		}
	}
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
	count(C_CROSSINGS, 1);
	ret = io_uring_submit(ring);
	io_uring_for_each_cqe(ring, head, cqe)
	{
		if (cqe->user_data < n)
			v[cqe->user_data].result = cqe->res;
		seen++;
	}
	io_uring_cq_advance(ring, seen);
	/* What was not submitted has not happened: by plain calls then, and no ring any more. */
	i = ret < 0 ? 0 : (unsigned int)ret;
	if (unlikely(i < n)) {
		q->backend = FAILED;
		backend_direct.send(q, v + i, n - i);
	}
}

static void uring_detach(struct queue *q)
{
	struct io_uring *ring = q->backend;

	q->backend = NULL;
	if (!ring || ring == FAILED || self.q != q)
		return;
	io_uring_unregister_ring_fd(ring);
	raw_syscall(SYS_munmap, (long)ring->sq.sqes,
		    (long)(ring->sq.ring_entries * sizeof(struct io_uring_sqe)), 0, 0, 0, 0);
	raw_syscall(SYS_munmap, (long)ring->sq.ring_ptr, (long)ring->sq.ring_sz, 0, 0, 0, 0);
	raw_syscall(SYS_munmap, (long)ring, sizeof(*ring), 0, 0, 0, 0);
}

/* The ring's memory is not in the child; what described it is one page that stays. */
static void uring_child(struct queue *q)
{
	q->backend = NULL;
}

const struct backend backend_uring = {
	.name = "uring",
	.id = 1,
	.probe = uring_probe,
	.send = uring_send,
	.detach = uring_detach,
	.child = uring_child,
};
