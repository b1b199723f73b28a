/* SPDX-License-Identifier: MIT */
/*
 * ahead.c - read-ahead: what the kernel has for the descriptors that a wait reported is fetched in
 * one crossing, before the server asks for it.
 *
 * Bytes that were fetched cannot be put back, so until the server has read them they are in the
 * kernel's queue as far as anybody can see: reads of any kind find them, waits report them, a close
 * resets the connection as it does where bytes are unread. A slot belongs to the thread that filled
 * it and is changed under the lock of that thread's queue.
 */
#include "config.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <esca-runtime/backend.h>
#include <esca-runtime/run.h>

/* Fewer than so many reads at once gain nothing: each costs a completion more than a plain call. */
#define AHEAD_MIN 4
/* A descriptor on which it was of no use so often is left alone. */
#define AHEAD_BAD 3
/*
 * A thread that leaves more than one in four unread pauses for so many turns after having fetched
 * so many.
 */
#define AHEAD_PAUSE  1024
#define AHEAD_WINDOW 256

struct slot {
	struct fd_entry *e; /* NULL: free */
	struct queue *q;    /* whose it is */
	int fd;
	uint32_t off, len;
	uint64_t turn;	/* when it was filled */
	bool full;	/* the kernel may have had more at that time */
	bool late;	/* counted as not read in its turn */
	bool rearmed;	/* registered anew since: reported once, whatever the kind */
	uint16_t names; /* descriptors that lead to it */
	struct {
		int32_t ep; /* as in struct fd_entry; 0: none */
		uint32_t gen, events;
		uint64_t data;
	} second; /* another registration, made while it holds something */
	char data[ESCA_AHEAD_BYTES];
};

struct ahead {
	struct ahead *next;
	uint32_t fetched, unread, pause;
	struct slot slots[ESCA_AHEAD_SLOTS];
};

static struct ahead *pools; /* never freed, as queues are not */

static struct ahead *pool(struct queue *q)
{
	struct ahead *a = q->ahead;
	long map;

	if (likely(a != NULL))
		return a;
	map = kernel(SYS_mmap, 0, sizeof(*a), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		     -1);
	if (raw_is_error(map))
		return NULL;
	a = (struct ahead *)map;
	q->ahead = a;
	a->next = __atomic_load_n(&pools, __ATOMIC_ACQUIRE);
	while (!__atomic_compare_exchange_n(&pools, &a->next, a, false, __ATOMIC_ACQ_REL,
					    __ATOMIC_ACQUIRE))
		;
	return a;
}

static void release(struct slot *s)
{
	__atomic_store_n(&s->e, NULL, __ATOMIC_RELEASE);
	__atomic_fetch_sub(&hot.aheads, 1, __ATOMIC_RELAXED);
}

/* Another descriptor that leads to @s. */
static struct fd_entry *other_name(const struct slot *s, const struct fd_entry *but)
{
	unsigned int fd;

	for (fd = 0; fd <= SHARED(fd_high); fd++)
		if (fd_table[fd].ahead == s && &fd_table[fd] != but)
			return &fd_table[fd];
	return NULL;
}

/* @n bytes of @s have been read through @e. Lock held. */
static void consume(struct slot *s, struct fd_entry *e, size_t n)
{
	s->off += (uint32_t)n;
	s->len -= (uint32_t)n;
	if (s->len)
		return;
	for (e->ahead = NULL; unlikely(--s->names); e->ahead = NULL) {
		e = other_name(s, e);
		if (!e)
			break;
	}
	release(s);
}

static void bad(struct fd_entry *e)
{
	if (++e->ahead_bad >= AHEAD_BAD)
		e->flags |= FD_NOAHEAD;
}

/* --- fetching --- */

/* May @e, which epoll instance @epfd reported, be read ahead? */
static bool eligible(const struct fd_entry *e, int epfd)
{
	const uint16_t never = FD_UNIX | FD_NODEFER | FD_NOAHEAD | FD_ZOMBIE;

	return e->cls == FD_STREAM && (e->flags & FD_NONBLOCK) && (e->flags & FD_READS) &&
	       !(e->flags & never) && !SHARED(e->tagged) && !SHARED(e->twin) &&
	       !SHARED(e->shared) && !SHARED(e->spill) && !SHARED(e->err) && !SHARED(e->ahead) &&
	       (!SHARED(e->owner) || SHARED(e->owner) == self.q) && e->reg_ep == epfd + 1 &&
	       !(e->reg_events & (EPOLLONESHOT | EPOLLEXCLUSIVE));
}

void ahead_fetch(int epfd, const struct fd_entry *ep, const struct epoll_event *evs, int n)
{
	struct queue *q = self.q;
	struct recv v[ESCA_AHEAD_SLOTS];
	struct slot *s[ESCA_AHEAD_SLOTS];
	unsigned int k = 0, free_slot = 0, i;
	struct ahead *a;

	if (n < AHEAD_MIN || !q || !q->in_turn || !backend->recv || SHARED(ep->owner) != q ||
	    SHARED(ep->tag_clash) || fd_barred(ep))
		return;
	a = pool(q);
	if (!a)
		return;
	if (unlikely(a->pause)) {
		a->pause--;
		return;
	}
	for (i = 0; i < (unsigned int)n; i++) {
		struct fd_entry *e;

		/* What ends is read by the server itself: an error is reported once. */
		if (!(evs[i].events & EPOLLIN) ||
		    (evs[i].events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP | EPOLLPRI)))
			continue;
		e = turn_find(epfd, ep, evs[i].data.u64);
		if (!e || !eligible(e, epfd))
			continue;
		while (free_slot < ESCA_AHEAD_SLOTS && a->slots[free_slot].e)
			free_slot++;
		if (free_slot == ESCA_AHEAD_SLOTS)
			break;
		s[k] = &a->slots[free_slot++];
		s[k]->fd = (int)(e - fd_table);
		v[k].fd = s[k]->fd;
		v[k].off = -1;
		v[k].buf = s[k]->data;
		v[k++].len = ESCA_AHEAD_BYTES;
	}
	if (k < AHEAD_MIN)
		return;
	queue_lock(q);
	backend->recv(q, v, k);
	for (i = 0; i < k; i++) {
		struct fd_entry *e = fd_get(v[i].fd);

		__atomic_store_n(&e->owner, q, __ATOMIC_RELEASE);
		if (v[i].result > 0) {
			s[i]->e = e;
			s[i]->q = q;
			s[i]->off = 0;
			s[i]->len = (uint32_t)v[i].result;
			s[i]->turn = q->turn;
			s[i]->full = v[i].result == ESCA_AHEAD_BYTES;
			s[i]->late = s[i]->rearmed = false;
			s[i]->names = 1;
			s[i]->second.ep = 0;
			e->ahead = s[i];
			__atomic_fetch_add(&hot.aheads, 1, __ATOMIC_RELAXED);
			/* A body: the server's own buffer is the better place for it. */
			if (s[i]->full)
				bad(e);
		} else if (v[i].result < 0 && v[i].result != -EAGAIN && v[i].result != -EINTR &&
			   v[i].result != -ENOMEM && v[i].result != -ENOBUFS) {
			late_error(e, v[i].fd, (int)-v[i].result);
		}
	}
	queue_unlock(q);
	a->fetched += k;
	if (a->fetched >= AHEAD_WINDOW) {
		if (a->unread > a->fetched / 4)
			a->pause = AHEAD_PAUSE;
		a->fetched = a->unread = 0;
	}
}

/* --- reading --- */

/*
 * The rest of a read that the slot could not fill, from the kernel. It is the kernel that says when
 * a stream is empty, unless the slot is of this turn and was not full: then it was empty at that
 * time, and what came since is reported by the next wait.
 */
static long top_up(struct fd_entry *e, struct queue *q, int fd, const struct iovec *iov,
		   unsigned long n, size_t skip, int flags)
{
	long got = 0, ret;

	for (; n; n--, iov++) {
		if (skip >= iov->iov_len) {
			skip -= iov->iov_len;
			continue;
		}
		ret = kernel(SYS_recvfrom, fd, (long)((char *)iov->iov_base + skip),
			     (long)(iov->iov_len - skip), flags, 0);
		if (ret < 0 && ret != -EAGAIN && ret != -EINTR && ret != -EFAULT &&
		    ret != -ENOMEM) {
			queue_lock(q);
			late_error(e, fd, (int)-ret);
			queue_unlock(q);
		}
		if (ret <= 0)
			break;
		got += ret;
		if ((size_t)ret < iov->iov_len - skip || (flags & MSG_PEEK))
			break;
		skip = 0;
	}
	return got;
}

static long serve(struct fd_entry *e, int fd, const struct iovec *iov, unsigned long n, int flags)
{
	struct slot *s = e->ahead;
	struct queue *q = s->q;
	size_t want = 0, have = 0;
	bool ask;
	unsigned long i;

	for (i = 0; i < n; i++)
		want += iov[i].iov_len;
	if (!want)
		return NOT_QUEUED;
	queue_lock(q);
	if (unlikely(e->ahead != s || !s->e)) {
		queue_unlock(q);
		return NOT_QUEUED;
	}
	for (i = 0; i < n && have < s->len; i++) {
		size_t part = s->len - have < iov[i].iov_len ? s->len - have : iov[i].iov_len;

		if (!(flags & MSG_TRUNC))
			memcpy(iov[i].iov_base, s->data + s->off + have, part);
		have += part;
	}
	ask = want > have && (s->full || q != self.q || s->turn != q->turn);
	if (!(flags & MSG_PEEK))
		consume(s, e, have);
	queue_unlock(q);
	if (ask) {
		int how = flags & (MSG_PEEK | MSG_TRUNC | MSG_WAITALL);

		if ((e->flags & FD_NONBLOCK) || (flags & MSG_DONTWAIT) || !(flags & MSG_WAITALL))
			how |= MSG_DONTWAIT;
		return (long)have + top_up(e, q, fd, iov, n, have, how);
	}
	count(C_ANSWERED, 1);
	fused(ESCA_FUSE_AHEAD, 1);
	return (long)have;
}

#define FLAGS (MSG_DONTWAIT | MSG_NOSIGNAL | MSG_PEEK | MSG_TRUNC | MSG_WAITALL | MSG_CMSG_CLOEXEC)

long ahead_read(struct fd_entry *e, int fd, long nr, long a1, long a2, long a3, long a4, long a5)
{
	struct iovec iov = {(void *)a1, (size_t)a2};
	struct msghdr *msg = (struct msghdr *)a1;
	long ret;

	switch (nr) {
	case SYS_read:
		return serve(e, fd, &iov, 1, 0);
	case SYS_readv:
		if (a2 < 0 || a2 > IOV_MAX)
			return NOT_QUEUED;
		return serve(e, fd, (const struct iovec *)a1, (unsigned long)a2, 0);
	case SYS_recvfrom:
		if ((int)a3 & ~FLAGS)
			return NOT_QUEUED;
		ret = serve(e, fd, &iov, 1, (int)a3);
		if (ret != NOT_QUEUED && a4 && a5)
			*(socklen_t *)a5 = 0;
		return ret;
	case SYS_recvmsg:
		if (((int)a2 & ~FLAGS) || msg->msg_iovlen > IOV_MAX)
			return NOT_QUEUED;
		ret = serve(e, fd, msg->msg_iov, msg->msg_iovlen, (int)a2);
		if (ret != NOT_QUEUED) {
			msg->msg_namelen = 0;
			msg->msg_controllen = 0;
			msg->msg_flags = (int)a2 & MSG_CMSG_CLOEXEC;
		}
		return ret;
	}
	return NOT_QUEUED;
}

uint32_t ahead_bytes(const struct fd_entry *e)
{
	return e->ahead ? e->ahead->len : 0;
}

long ahead_splice(struct fd_entry *e, int to, size_t len)
{
	struct slot *s = e->ahead;
	long ret;

	e->flags |= FD_NOAHEAD;
	ret = kernel(SYS_write, to, (long)(s->data + s->off), (long)(len < s->len ? len : s->len),
		     0, 0);
	if (ret > 0) {
		queue_lock(s->q);
		consume(s, e, (size_t)ret);
		queue_unlock(s->q);
	}
	return ret;
}

/* --- waits --- */

/*
 * Each slot that holds something, and whose it is. Other threads' slots may change meanwhile; what
 * is reported of them then is a moment old, as it may be of the kernel's.
 */
#define for_each_held(a, s, e)                                                                     \
	for (a = __atomic_load_n(&pools, __ATOMIC_ACQUIRE); a; a = a->next)                        \
		for (s = a->slots; s < a->slots + ESCA_AHEAD_SLOTS; s++)                           \
			if (!(e = __atomic_load_n(&s->e, __ATOMIC_ACQUIRE)))                       \
				continue;                                                          \
			else

/* What epoll would report of @s in @epfd, and with which data; 0: nothing. */
static uint32_t due(const struct slot *s, const struct fd_entry *e, int epfd, uint64_t *data)
{
	uint32_t gen = fd_get(epfd)->gen;

	if (e->reg_ep == epfd + 1 && e->reg_gen == gen) {
		*data = e->reg_data;
		if ((e->reg_events & (EPOLLET | EPOLLONESHOT)) && !s->rearmed)
			return 0;
		return e->reg_events & (EPOLLIN | EPOLLRDNORM);
	}
	*data = s->second.data;
	if (s->second.ep != epfd + 1 || s->second.gen != gen)
		return 0;
	return s->second.events & (EPOLLIN | EPOLLRDNORM);
}

/* @s has been reported in @epfd: what is due once is due no more. */
static void reported(struct slot *s, struct fd_entry *e, int epfd, bool alone)
{
	bool first = e->reg_ep == epfd + 1;
	uint32_t *events = first ? &e->reg_events : &s->second.events;
	struct epoll_event ev = {.events = EPOLLET};

	if ((*events & EPOLLONESHOT) && alone) {
		ev.data.u64 = first ? e->reg_data : s->second.data;
		kernel(SYS_epoll_ctl, epfd, EPOLL_CTL_MOD, s->fd, (long)&ev, 0);
	}
	if (first)
		s->rearmed = false;
	else if (*events & (EPOLLET | EPOLLONESHOT))
		*events = 0;
}

long ahead_wait(long nr, long a0, long a1, long a2, long a3, long a4, long a5)
{
	struct epoll_event *evs = (struct epoll_event *)a1;
	int max = (int)a2, from, n = 0, dues = 0, i;
	uint64_t data;
	static const struct timespec zero;
	struct fd_entry *ep = fd_get(a0), *e;
	struct ahead *a;
	struct slot *s;
	long ret;

	if (max <= 0 || !ep || ep->cls != FD_EPOLL)
		return NOT_QUEUED;
	for_each_held(a, s, e)
	{
		if (!s->late && self.q && s->q == self.q) {
			s->late = true;
			a->unread++;
			bad(e);
		}
		dues += due(s, e, (int)a0, &data) != 0;
	}
	if (!dues)
		return NOT_QUEUED;
	/* The kernel's events and ours take turns where there is no room for all. */
	from = max - (dues < max / 2 ? dues : max / 2);
	if (max == 1 && ((self.q ? self.q->turn : 0) & 1))
		from = 0;
	if (from) {
		count(C_CROSSINGS, 1);
		ret = sleeping_syscall(nr, a0, a1, from, nr == SYS_epoll_pwait2 ? (long)&zero : 0,
				       a4, a5);
		if (raw_is_error(ret))
			return ret;
		n = (int)ret;
		if (n && (SHARED(hot.spills) || SHARED(ep->tags)))
			n = spill_events(evs, n);
	}
	for_each_held(a, s, e)
	{
		uint32_t what = due(s, e, (int)a0, &data);
		bool alone;

		if (!what)
			continue;
		for (i = 0; i < n; i++)
			if (e->reg_ep == a0 + 1 ? turn_find((int)a0, ep, evs[i].data.u64) == e
						: evs[i].data.u64 == data)
				break;
		alone = i == n;
		if (alone) {
			if (n == max)
				continue;
			evs[n].events = 0;
			evs[n++].data.u64 = data;
		}
		evs[i].events |= what;
		reported(s, e, (int)a0, alone);
	}
	return n ? n : NOT_QUEUED;
}

void ahead_rearm(struct fd_entry *e)
{
	e->ahead->rearmed = true;
}

void ahead_second(struct fd_entry *e, const struct fd_entry *ep, int epfd,
		  const struct epoll_event *ev)
{
	struct slot *s = e->ahead;

	if (!ev && s->second.ep != epfd + 1)
		return;
	s->second.ep = ev ? epfd + 1 : 0;
	s->second.gen = ep->gen;
	s->second.events = ev ? ev->events : 0;
	s->second.data = ev ? ev->data.u64 : 0;
}

/* poll and ppoll: descriptors that hold something are readable. */
static long held_poll(long nr, long a0, long a1, long a3, long a4)
{
	struct pollfd *p = (struct pollfd *)a0;
	static const struct timespec zero;
	bool any = false;
	long i, n;

	for (i = 0; i < a1 && !any; i++) {
		const struct fd_entry *e = fd_get(p[i].fd);

		any = e && e->ahead && (p[i].events & (POLLIN | POLLRDNORM));
	}
	if (!any)
		return NOT_QUEUED;
	n = kernel(nr, a0, a1, nr == SYS_ppoll ? (long)&zero : 0, a3, a4);
	for (i = 0; i < a1 && n >= 0; i++) {
		const struct fd_entry *e = fd_get(p[i].fd);

		if (!e || !e->ahead || !(p[i].events & (POLLIN | POLLRDNORM)))
			continue;
		n += !p[i].revents;
		p[i].revents |= p[i].events & (POLLIN | POLLRDNORM);
	}
	return n;
}

static long held_select(long nr, long a0, long a1, long a2, long a3, long a5)
{
	const size_t bits = 8 * sizeof(long);
	int found[ESCA_AHEAD_SLOTS], n = 0, i;
	unsigned long *in = (unsigned long *)a1;
	long zero[2] = {0, 0}, ret;
	const struct fd_entry *e;
	struct ahead *a;
	struct slot *s;

	if (!in)
		return NOT_QUEUED;
	for_each_held(a, s, e)
	{
		if (s->fd < a0 && n < ESCA_AHEAD_SLOTS &&
		    (in[(size_t)s->fd / bits] >> (size_t)s->fd % bits & 1))
			found[n++] = s->fd;
	}
	if (!n)
		return NOT_QUEUED;
	count(C_CROSSINGS, 1);
	ret = raw_syscall(nr, a0, a1, a2, a3, (long)zero, a5);
	for (i = 0; i < n && ret >= 0; i++) {
		unsigned long bit = 1ul << (size_t)found[i] % bits;

		ret += !(in[(size_t)found[i] / bits] & bit);
		in[(size_t)found[i] / bits] |= bit;
	}
	return ret;
}

long ahead_poll(long nr, long a0, long a1, long a2, long a3, long a4, long a5)
{
	if (nr == SYS_poll || nr == SYS_ppoll)
		return held_poll(nr, a0, a1, a3, a4);
	return held_select(nr, a0, a1, a2, a3, a5);
}

/* --- ends --- */

static void reset_at_close(const struct fd_entry *e, int fd)
{
	struct linger now = {.l_onoff = 1, .l_linger = 0};

	if (!SHARED(e->forked))
		kernel(SYS_setsockopt, fd, SOL_SOCKET, SO_LINGER, (long)&now, sizeof(now));
}

void ahead_close(struct fd_entry *e, int fd, bool end)
{
	struct slot *s = e->ahead;
	struct queue *q = s->q;

	queue_lock(q);
	e->ahead = NULL;
	s->e = --s->names ? other_name(s, e) : s->e;
	if (s->names && s->e) {
		s->fd = (int)(s->e - fd_table);
	} else {
		/* The kernel resets a connection that is closed with bytes unread. */
		if (end)
			reset_at_close(e, fd);
		release(s);
	}
	queue_unlock(q);
}

void ahead_dup(struct fd_entry *from, struct fd_entry *to)
{
	struct queue *q = from->ahead->q;

	queue_lock(q);
	if (from->ahead && to) {
		to->ahead = from->ahead;
		to->ahead->names++;
	}
	queue_unlock(q);
}

void ahead_end(void)
{
	const struct fd_entry *e;
	struct ahead *a;
	struct slot *s;

	for_each_held(a, s, e)
	{
		reset_at_close(e, s->fd);
	}
}

void ahead_forks(void)
{
	unsigned int fd;

	if (!fusing(ESCA_FUSE_AHEAD))
		return;
	for (fd = 0; fd <= SHARED(fd_high); fd++)
		SHARE(fd_table[fd].forked, true);
}

long ahead_opt(struct fd_entry *e, int level, int name)
{
	if (level == SOL_SOCKET) {
		switch (name) {
		case SO_KEEPALIVE:
		case SO_LINGER:
		case SO_REUSEADDR:
		case SO_REUSEPORT:
		case SO_SNDBUF:
		case SO_RCVBUF:
		case SO_SNDTIMEO:
		case SO_PRIORITY:
			return NOT_QUEUED;
		}
	} else if (level == IPPROTO_TCP) {
		switch (name) {
		case TCP_NODELAY:
		case TCP_CORK:
		case TCP_QUICKACK:
		case TCP_DEFER_ACCEPT:
		case TCP_FASTOPEN:
		case TCP_KEEPIDLE:
		case TCP_KEEPINTVL:
		case TCP_KEEPCNT:
		case TCP_USER_TIMEOUT:
		case TCP_CONGESTION:
		case TCP_NOTSENT_LOWAT:
			return NOT_QUEUED;
		}
	} else if (level == IPPROTO_IP || level == IPPROTO_IPV6) {
		return NOT_QUEUED;
	}
	e->flags |= FD_NOAHEAD;
	/*
	 * The kernel would decipher what comes from now on, but some of that is here already: as if
	 * it had not got that module, which makes TLS libraries do it themselves.
	 */
	if (level == IPPROTO_TCP && name == TCP_ULP && e->ahead)
		return -ENOENT;
	return NOT_QUEUED;
}
