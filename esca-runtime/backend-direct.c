/* SPDX-License-Identifier: MIT */
/* backend-direct.c - plain calls, one an operation: fusion without any help from the kernel. */
#include "config.h"

#include <errno.h>
#include <sys/syscall.h>

#include <esca-runtime/backend.h>

static long send_vector(const struct send *s)
{
	struct msghdr msg = {.msg_iov = (struct iovec *)s->iov, .msg_iovlen = s->niov};

	return kernel(SYS_sendmsg, s->fd, (long)&msg, s->flags, 0, 0);
}

static int direct_probe(void)
{
	return 0;
}

static void direct_send(struct queue *q, struct send *v, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (likely(v[i].niov == 1))
			v[i].result = kernel(SYS_sendto, v[i].fd, (long)v[i].iov->iov_base,
					     (long)v[i].iov->iov_len, v[i].flags, 0);
		else
			v[i].result = send_vector(&v[i]);
}

static void direct_nothing(struct queue *q)
{
}

const struct backend backend_direct = {
	.name = "direct",
	.id = 0,
	.probe = direct_probe,
	.send = direct_send,
	.detach = direct_nothing,
	.child = direct_nothing,
};
