/* SPDX-License-Identifier: MIT */
/*
 * spill.c - bytes that the server was told are sent and the kernel did not take: kept here, in
 * order, until the peer makes room.
 *
 * While a stream has a spill, its epoll registration in the kernel is ours: the server's events and
 * EPOLLOUT, with a tag for data. The server's own is in its fd_entry and is put back when the spill
 * is empty; the kernel then looks at readiness anew, so that an EPOLLOUT the server waits for is
 * the kernel's.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sock_diag.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include <esca-runtime/run.h>

struct spill {
	struct spill *next, *prev;
	struct fd_entry *e;
	int fd;
	int ep;		 /* epoll instance that drives it, plus 1; 0: none */
	int shut;	 /* shutdown(2) to make when empty: how plus 1; 0: none */
	bool slow;	 /* counted in undriven */
	size_t off, len; /* what is left in data */
	size_t size;	 /* of the mapping */
	uint64_t moved;	 /* ms, when the kernel last took some of it */
	char data[];
};

static uint32_t undriven; /* of them, those that no event drives or whose age must be watched */
static uint32_t list_lock;
static struct spill *list;

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* The list's lock is innermost and held for a few instructions. */
static void lock_list(void)
{
	while (__atomic_exchange_n(&list_lock, 1, __ATOMIC_ACQUIRE))
		__builtin_ia32_pause();
}

static void unlock_list(void)
{
	__atomic_store_n(&list_lock, 0, __ATOMIC_RELEASE);
}

static void set_slow(struct spill *s, bool slow)
{
	if (s->slow != slow)
		__atomic_fetch_add(&undriven, slow ? 1 : (uint32_t)-1, __ATOMIC_RELAXED);
	SHARE(s->slow, slow);
}

/* Have the kernel tell us when there is room; the server's own events go on. */
static void arm(struct fd_entry *e, struct spill *s)
{
	struct epoll_event ev;
	uint32_t own = 0;
	long ret = -ENOENT;

	if (!(e->flags & FD_ZOMBIE) && SHARED(e->reg_ep) && !SHARED(e->fired))
		own = SHARED(e->reg_events) & ~(uint32_t)(EPOLLONESHOT | EPOLLEXCLUSIVE);
	ev.events = own | EPOLLOUT;
	ev.data.u64 = (uint64_t)SPILL_TAG << 32 | (uint32_t)s->fd;
	if (s->ep)
		ret = kernel(SYS_epoll_ctl, s->ep - 1, EPOLL_CTL_MOD, s->fd, (long)&ev, 0);
	if (raw_is_error(ret)) {
		s->ep = 0;
		SHARE(e->tagged, false);
	} else {
		SHARE(e->tagged, true);
	}
	set_slow(s, !s->ep || (e->flags & FD_ZOMBIE));
}

static void disarm(struct fd_entry *e, struct spill *s)
{
	struct epoll_event ev;

	if (!e->tagged)
		return;
	SHARE(e->tagged, false);
	ev.events = SHARED(e->reg_events);
	ev.data.u64 = SHARED(e->reg_data);
	if (SHARED(e->fired)) {
		/* The server is told nothing until it arms it again; the kernel may yet report an
		 * end, once, and that must not be taken for the server's event. */
		ev.events = EPOLLONESHOT;
		ev.data.u64 = (uint64_t)SPILL_TAG << 32 | (uint32_t)s->fd;
		SHARE(fd_get(s->ep - 1)->tags, true);
	}
	kernel(SYS_epoll_ctl, s->ep - 1, SHARED(e->reg_ep) ? EPOLL_CTL_MOD : EPOLL_CTL_DEL, s->fd,
	       (long)&ev, 0);
}

void spill_add(struct fd_entry *e, int fd, const struct iovec *iov, unsigned int niov, size_t skip)
{
	size_t len = 0, size;
	struct spill *s;
	unsigned int i;
	long map;
	char *to;

	for (i = 0; i < niov; i++)
		len += iov[i].iov_len;
	size = sizeof(*s) + len - skip;
	map = kernel(SYS_mmap, 0, (long)size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		     -1);
	if (raw_is_error(map)) {
		/*
		 * No memory for what was promised: to the
		 * peer and the server the connection breaks.
		 */
		kernel(SYS_shutdown, fd, SHUT_RDWR, 0, 0, 0);
		late_error(e, fd, ECONNRESET);
		return;
	}
	s = (struct spill *)map;
	s->e = e;
	s->fd = fd;
	s->size = size;
	s->ep = SHARED(e->reg_ep);
	s->moved = now_ms();
	to = s->data;
	for (i = 0; i < niov; i++) {
		size_t n = iov[i].iov_len;

		if (skip >= n) {
			skip -= n;
			continue;
		}
		memcpy(to, (char *)iov[i].iov_base + skip, n - skip);
		to += n - skip;
		skip = 0;
	}
	s->len = (size_t)(to - s->data);
	SHARE(e->spill, s);
	lock_list();
	s->next = list;
	if (list)
		list->prev = s;
	list = s;
	unlock_list();
	__atomic_fetch_add(&hot.spills, 1, __ATOMIC_RELAXED);
	count(C_SPILLS, 1);
	arm(e, s);
}

static void release(struct fd_entry *e, struct spill *s)
{
	set_slow(s, false);
	lock_list();
	if (s->prev)
		s->prev->next = s->next;
	else
		list = s->next;
	if (s->next)
		s->next->prev = s->prev;
	unlock_list();
	__atomic_fetch_sub(&hot.spills, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&e->spill, NULL, __ATOMIC_RELEASE);
	kernel(SYS_munmap, (long)s, (long)s->size, 0, 0, 0);
}

void spill_discard(struct fd_entry *e)
{
	if (e->spill)
		release(e, e->spill);
}

/* It is empty, or the peer will never take the rest (@err). */
static void finished(struct fd_entry *e, struct spill *s, int err)
{
	int fd = s->fd, shut = s->shut;

	if (e->flags & FD_ZOMBIE) {
		release(e, s);
		fd_gone(e);
		kernel(SYS_close, fd, 0, 0, 0, 0);
		return;
	}
	if (shut)
		kernel(SYS_shutdown, fd, shut - 1, 0, 0, 0);
	disarm(e, s);
	release(e, s);
	if (err)
		late_error(e, fd, err);
}

static bool drain_locked(struct fd_entry *e, int fd)
{
	struct spill *s = e->spill;

	while (s && s->len) {
		long ret = kernel(SYS_sendto, fd, (long)(s->data + s->off), (long)s->len,
				  MSG_DONTWAIT | MSG_NOSIGNAL, 0);

		if (ret == -EAGAIN || ret == -EINTR || ret == -ENOBUFS || ret == -ENOMEM)
			return false;
		if (raw_is_error(ret)) {
			finished(e, s, (int)-ret);
			return true;
		}
		s->off += (size_t)ret;
		s->len -= (size_t)ret;
		s->moved = now_ms();
	}
	if (s)
		finished(e, s, 0);
	return true;
}

bool spill_drain(struct fd_entry *e, int fd)
{
	struct queue *q = SHARED(e->owner);
	bool done;

	/* Another thread has finished it and closed the stream. */
	if (!q)
		return true;
	queue_lock(q);
	done = drain_locked(e, fd);
	queue_unlock(q);
	return done;
}

void spill_finish(struct fd_entry *e, int fd, int ms)
{
	uint64_t end = now_ms() + (uint64_t)ms, now;
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	while (SHARED(e->spill) && !spill_drain(e, fd)) {
		now = now_ms();
		if (now >= end)
			return;
		kernel(SYS_poll, (long)&p, 1, (long)(end - now), 0, 0);
	}
}

/* Source: tcp_disconnect() of net/ipv4/tcp.c; other streams have no reset. */
void stream_reset(int fd)
{
	const struct sockaddr none = {.sa_family = AF_UNSPEC};

	if (raw_is_error(kernel(SYS_connect, fd, (long)&none, sizeof(none), 0, 0)))
		kernel(SYS_shutdown, fd, SHUT_RDWR, 0, 0, 0);
}

/* Give the connection up: what is left is lost to the peer, who sees a reset. */
static void reset_locked(struct fd_entry *e, struct spill *s)
{
	stream_reset(s->fd);
	finished(e, s, ECONNRESET);
}

/*
 * The server will not use @fd any more: have the kernel take the rest, as it would have taken the
 * bytes from a server that it let wait for room; it goes on sending them when we are gone. Whether
 * it may grow the buffer so far is for it to say.
 */
static bool hand_over(struct fd_entry *e, struct spill *s)
{
	uint32_t info[SK_MEMINFO_VARS] = {0};
	socklen_t len = sizeof(info);
	int size;

	if (raw_is_error(
		    kernel(SYS_getsockopt, s->fd, SOL_SOCKET, SO_MEMINFO, (long)info, (long)&len)))
		return drain_locked(e, s->fd);
	size = (int)(info[SK_MEMINFO_WMEM_QUEUED] / 2 + s->len + 4096); /* the kernel doubles it */
	if (raw_is_error(kernel(SYS_setsockopt, s->fd, SOL_SOCKET, SO_SNDBUFFORCE, (long)&size,
				sizeof(size))) &&
	    (uint32_t)size * 2 > info[SK_MEMINFO_SNDBUF])
		kernel(SYS_setsockopt, s->fd, SOL_SOCKET, SO_SNDBUF, (long)&size, sizeof(size));
	return drain_locked(e, s->fd);
}

/* Up to @max descriptors with a spill; the list may change as soon as it is looked at. */
static unsigned int snapshot(int *fds, unsigned int max, bool slow)
{
	unsigned int n = 0;
	struct spill *s;

	work_begin();
	lock_list();
	for (s = list; s && n < max; s = s->next)
		if (!slow || SHARED(s->slow))
			fds[n++] = s->fd;
	unlock_list();
	work_end();
	return n;
}

#define SNAPSHOT 256

void spill_finish_all(int ms)
{
	uint64_t end = now_ms() + (uint64_t)ms;
	struct pollfd p[SNAPSHOT];
	int fds[SNAPSHOT];

	while (SHARED(hot.spills)) {
		unsigned int n = snapshot(fds, SNAPSHOT, false), i, left = 0;
		uint64_t now = now_ms();

		for (i = 0; i < n; i++) {
			struct fd_entry *e = fd_get(fds[i]);

			if (!SHARED(e->spill) || spill_drain(e, fds[i]))
				continue;
			p[left].fd = fds[i];
			p[left++].events = POLLOUT;
		}
		if (!left || now >= end)
			return;
		kernel(SYS_poll, (long)p, left, (long)(end - now), 0, 0);
	}
}

/* Hand over, or else reset, what each stream has spilled. */
static void end_each(bool reset)
{
	unsigned int n, i, left;
	int fds[SNAPSHOT];

	do {
		n = snapshot(fds, SNAPSHOT, false);
		for (i = left = 0; i < n; i++) {
			struct fd_entry *e = fd_get(fds[i]);
			struct queue *q = SHARED(e->owner);

			if (!q)
				continue;
			queue_lock(q);
			if (e->spill && reset)
				reset_locked(e, e->spill);
			else if (e->spill && !hand_over(e, e->spill))
				left++;
			queue_unlock(q);
		}
		/* What is gone makes room in the snapshot for more. */
	} while (n == SNAPSHOT && left < n);
}

void spill_rest(void)
{
	end_each(false);
}

/*
 * The process ends. What a peer does not take in time is lost to it, and it must see a reset then,
 * not the end of a stream that looks complete.
 */
void spill_end(int ms)
{
	end_each(false);
	spill_finish_all(ms);
	end_each(true);
}

void spill_settle(struct fd_entry *e, int fd)
{
	struct queue *q = SHARED(e->owner);

	/* Another thread has finished it and closed the stream. */
	if (!q)
		return;
	queue_lock(q);
	if (e->spill)
		hand_over(e, e->spill);
	queue_unlock(q);
	spill_finish(e, fd, ESCA_EXIT_MS);
	if (!SHARED(e->spill))
		return;
	queue_lock(q);
	if (e->spill)
		reset_locked(e, e->spill);
	queue_unlock(q);
}

long spill_close(struct fd_entry *e, int fd)
{
	struct linger linger = {0};
	socklen_t len = sizeof(linger);
	struct queue *q = SHARED(e->owner);
	bool done;

	kernel(SYS_getsockopt, fd, SOL_SOCKET, SO_LINGER, (long)&linger, (long)&len);
	if (linger.l_onoff && linger.l_linger > 0)
		spill_finish(e, fd, linger.l_linger * 1000);
	queue_lock(q);
	if (!e->spill) {
		done = true;
	} else if (linger.l_onoff) {
		done = true;
		if (!hand_over(e, e->spill))
			release(e, e->spill);
	} else {
		done = !spill_orphan(e, fd);
	}
	queue_unlock(q);
	return done ? NOT_QUEUED : 0;
}

bool spill_orphan(struct fd_entry *e, int fd)
{
	if (hand_over(e, e->spill))
		return false;
	e->flags |= FD_ZOMBIE;
	/* The server closed it: no program that it starts may find it. */
	kernel(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC, 0, 0);
	arm(e, e->spill);
	return true;
}

long spill_shutdown(struct fd_entry *e, int fd, int how)
{
	if (how < SHUT_RD || how > SHUT_RDWR)
		return -EINVAL;
	if (how != SHUT_WR)
		kernel(SYS_shutdown, fd, SHUT_RD, 0, 0, 0);
	if (how == SHUT_RD)
		return 0;
	if (!e->spill)
		return kernel(SYS_shutdown, fd, SHUT_WR, 0, 0, 0);
	e->spill->shut = SHUT_WR + 1;
	return 0;
}

long spill_answer(struct fd_entry *e, bool nosignal)
{
	struct queue *q = SHARED(e->owner);
	bool ended;

	/* Another thread may just have got rid of it: EAGAIN all the same, and room is reported. */
	queue_lock(q);
	ended = e->spill && e->spill->shut;
	queue_unlock(q);
	return ended ? late_epipe(nosignal) : -EAGAIN;
}

long spill_ctl(struct fd_entry *e, int ep, int op, int fd, const struct epoll_event *ev)
{
	struct queue *q = SHARED(e->owner);
	long ret = 0;

	queue_lock(q);
	if (!e->spill || e->spill->ep != ep + 1) {
		ret = NOT_QUEUED;
		goto out;
	}
	if (op == EPOLL_CTL_DEL || op == EPOLL_CTL_MOD)
		ret = e->reg_ep ? 0 : -ENOENT;
	else if (op == EPOLL_CTL_ADD)
		ret = e->reg_ep ? -EEXIST : 0;
	else
		ret = -EINVAL;
	if (ret)
		goto out;
	registration_set(e, fd_get(ep), ep, op == EPOLL_CTL_DEL ? NULL : ev);
	arm(e, e->spill);
out:
	queue_unlock(q);
	return ret;
}

/* A one-shot registration reports: the server's part of it is over until it is armed again. */
static void fire(struct fd_entry *e)
{
	struct queue *q = SHARED(e->owner);

	queue_lock(q);
	SHARE(e->fired, true);
	if (e->spill)
		arm(e, e->spill);
	queue_unlock(q);
}

int spill_events(struct epoll_event *evs, int n)
{
	int i, left = 0;

	for (i = 0; i < n; i++) {
		struct epoll_event ev = evs[i];
		struct fd_entry *e;
		uint32_t give;
		int fd;

		if (ev.data.u64 >> 32 != SPILL_TAG) {
			evs[left++] = ev;
			continue;
		}
		fd = (int)(uint32_t)ev.data.u64;
		e = fd_get(fd);
		/*
		 * Emptied since the kernel queued this: the
		 * registration was put back and reports for itself.
		 */
		if (!e || !SHARED(e->spill))
			continue;
		give = ev.events & ~(uint32_t)EPOLLOUT &
		       (SHARED(e->reg_events) | EPOLLERR | EPOLLHUP);
		if (!SHARED(e->reg_ep) || (e->flags & FD_ZOMBIE) || SHARED(e->fired))
			give = 0;
		if (give && (SHARED(e->reg_events) & EPOLLONESHOT))
			fire(e);
		if (ev.events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
			spill_drain(e, fd);
		if (!give)
			continue;
		evs[left].events = give;
		evs[left++].data.u64 = SHARED(e->reg_data);
	}
	return left;
}

int spill_before_wait(void)
{
	int fds[SNAPSHOT], max = -1;
	uint64_t now;
	unsigned int n, i;

	if (likely(!SHARED(undriven)))
		return -1;
	now = now_ms();
	n = snapshot(fds, SNAPSHOT, true);
	for (i = 0; i < n; i++) {
		struct fd_entry *e = fd_get(fds[i]);
		struct spill *s;
		struct queue *q = SHARED(e->owner);
		int ms;

		if (!q)
			continue;
		queue_lock(q);
		s = e->spill;
		if (s && !drain_locked(e, fds[i])) {
			if ((e->flags & FD_ZOMBIE) && now - s->moved > ESCA_ORPHAN_MS) {
				reset_locked(e, s);
			} else {
				ms = s->ep ? 1000 : 10;
				if (max < 0 || ms < max)
					max = ms;
			}
		}
		queue_unlock(q);
	}
	return max;
}

uint32_t spill_bytes(const struct fd_entry *e)
{
	struct queue *q = SHARED(e->owner);
	uint32_t n;

	queue_lock(q);
	n = e->spill ? (uint32_t)e->spill->len : 0;
	queue_unlock(q);
	return n;
}

void spill_child(void)
{
	list = NULL;
	list_lock = 0;
	hot.spills = 0;
	undriven = 0;
}
