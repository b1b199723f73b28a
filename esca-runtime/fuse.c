/* SPDX-License-Identifier: MIT */
/*
 * fuse.c - packets that are one instead of two: what
 * becomes of TCP_CORK, TCP_NODELAY and MSG_MORE in a flush.
 */
#include "config.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/syscall.h>

#include <esca-runtime/run.h>

static void set(int fd, int name, int value)
{
	kernel(SYS_setsockopt, fd, IPPROTO_TCP, name, (long)&value, sizeof(value));
}

/*
 * After the data: a pair that came and went in one flush has left no trace, what remains is made
 * true. The two of them act on the same pending bytes, so which one comes first is not visible.
 */
unsigned int fuse_apply_opts(struct fd_entry *e, int fd)
{
	unsigned int n = fuse_opts_dirty(e);

	if (likely(!n))
		return 0;
	if (e->nodelay_want != e->nodelay)
		set(fd, TCP_NODELAY, e->nodelay_want);
	if (e->cork_want != e->cork)
		set(fd, TCP_CORK, e->cork_want);
	e->nodelay = e->nodelay_want;
	e->cork = e->cork_want;
	return n;
}

void fuse_push(struct fd_entry *e, int fd)
{
	/* Clearing a cork that is not set sends what MSG_MORE holds back, and nothing else. */
	if (!(e->flags & FD_UNIX) && e->cork != 1)
		set(fd, TCP_CORK, 0);
}
