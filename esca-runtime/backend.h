/* SPDX-License-Identifier: MIT */
/* backend.h - policy | mechanism: how the data operations of one flush reach the kernel. */
#ifndef ESCA_RUNTIME_BACKEND_H
#define ESCA_RUNTIME_BACKEND_H

#include <esca-runtime/run.h>

/**
 * struct backend - one way into the kernel. All have the same contract: operations are executed in
 * order, each exactly once, none sleeps, none raises SIGPIPE, and result is what sendmsg(2) would
 * have returned. No two operations of one send() are on the same descriptor.
 */
struct backend {
	const char *name;
	unsigned int id; /* as in struct esca_stats_slot */
	/** probe() - can it work in this process? Return: 0 or negative errno. */
	int (*probe)(void);
	void (*send)(struct queue *q, struct send *v, unsigned int n);
	/**
	 * send_ready() - send(), and in the same crossing after all of them what epoll_wait(2) with
	 * a timeout of 0 does. Return: the number of events in @evs, which are then taken from the
	 * instance; 0: none, or the backend cannot tell, or epoll_wait(2) would fail. Nothing stays
	 * pending. NULL: the backend has no such operation.
	 */
	int (*send_ready)(struct queue *q, struct send *v, unsigned int n, struct harvest *h);
	/**
	 * recv() - so many reads of streams and files in one crossing, none of which sleeps; result
	 * is what recv(2) or preadv2(2) with RWF_NOWAIT would have returned. What could not be
	 * tried has -EAGAIN. NULL: the backend has no such operation.
	 */
	void (*recv)(struct queue *q, struct recv *v, unsigned int n);
	/** detach() - the thread that uses @q ends. */
	void (*detach)(struct queue *q);
	/** child() - @q was inherited by a fork child: forget, touch nothing of the parent's. */
	void (*child)(struct queue *q);
};

extern const struct backend backend_direct;
extern const struct backend backend_uring;

/** The one in force. */
extern const struct backend *backend;

#endif
