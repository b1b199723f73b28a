/* SPDX-License-Identifier: MIT */
/*
 * queue.c - each thread's queue: what the server was told is done and the kernel has not heard of
 * yet.
 *
 * The lock is taken by the owner around every change and by another thread only to flush. While a
 * thread holds a lock it has BYPASS_BUSY set, so that signal handlers wait (signal.c); the calls of
 * one that cannot go straight to the kernel and never into a half-made queue.
 */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <esca-runtime/backend.h>
#include <esca-runtime/run.h>

__thread struct thread self;
uint64_t queue_age_ticks, queue_long_ticks;

static struct queue *all; /* every queue ever made; never freed */
static uint32_t all_lock;

static void spin(uint32_t *lock)
{
	unsigned int tries = 0;

	while (__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE)) {
		while (__atomic_load_n(lock, __ATOMIC_RELAXED)) {
			if (++tries & 63)
				__builtin_ia32_pause();
			else
				raw_syscall(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
		}
	}
}

void queue_lock(struct queue *q)
{
	work_begin();
	if (unlikely(__atomic_exchange_n(&q->lock, 1, __ATOMIC_ACQUIRE)))
		spin(&q->lock);
}

void queue_unlock(struct queue *q)
{
	__atomic_store_n(&q->lock, 0, __ATOMIC_RELEASE);
	work_end();
}

/* The counts that the owner reads without the lock; n last, see queue_waits(). */
static void reset(struct queue *q)
{
	q->nops = q->nsegs = q->nctls = q->nopts = q->nlines = 0;
	q->npieces = q->nafter = 0;
	SHARE(q->nruns, 0);
	SHARE(q->nunix, 0);
	SHARE(q->ncloses, 0);
	q->used = q->log_used = 0;
	q->list.prev = q->list.next = &q->list;
	__atomic_store_n(&q->n, 0, __ATOMIC_RELEASE);
}

struct queue *queue_get(void)
{
	static uint32_t made;
	struct queue *q;
	long map;

	if (self.q || (self.bypass & BYPASS_GONE))
		return self.q;
	/* A signal handler must not come here while we hold the lock. */
	work_begin();
	spin(&all_lock);
	for (q = all; q && __atomic_load_n(&q->in_use, __ATOMIC_ACQUIRE); q = q->all_next)
		;
	if (q)
		SHARE(q->in_use, true);
	__atomic_store_n(&all_lock, 0, __ATOMIC_RELEASE);
	if (!q) {
		map = raw_syscall(SYS_mmap, 0, sizeof(*q), PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (raw_is_error(map)) {
			work_end();
			return NULL;
		}
		q = (struct queue *)map;
		q->in_use = true;
		reset(q);
		q->turn = (uint64_t)__atomic_add_fetch(&made, 1, __ATOMIC_RELAXED) << 40;
		spin(&all_lock);
		q->all_next = all;
		__atomic_store_n(&all, q, __ATOMIC_RELEASE);
		__atomic_store_n(&all_lock, 0, __ATOMIC_RELEASE);
	}
	q->in_turn = q->small = false;
	SHARE(q->gain, QUEUE_GAIN); /* until it is known */
	self.q = q;
	life_thread();
	work_end();
	return q;
}

void queue_leave(void)
{
	struct queue *q = self.q;

	if (!q)
		return;
	queue_flush(q);
	backend->detach(q);
	q->in_turn = false;
	self.q = NULL;
	__atomic_store_n(&q->in_use, false, __ATOMIC_RELEASE);
}

void queue_child(void)
{
	struct queue *q;

	for (q = all; q; q = q->all_next) {
		backend->child(q);
		reset(q);
		q->lock = 0;
		q->in_turn = false;
		q->in_use = q == self.q;
	}
	all_lock = 0;
	work_end();
}

void queue_flush_all(void)
{
	struct queue *q;

	for (q = __atomic_load_n(&all, __ATOMIC_ACQUIRE); q; q = q->all_next)
		if (queue_waits(q))
			queue_flush(q);
}

void queue_flush(struct queue *q)
{
	queue_lock(q);
	queue_flush_locked(q, NULL);
	queue_unlock(q);
}

/* Calls that needed no operation of their own: small turns are worth deferring in. */
static void merged(struct queue *q, enum esca_fusion how, unsigned int calls)
{
	fused(how, calls);
	SHARE(q->gain, QUEUE_GAIN);
}

/* --- the flush --- */

/*
 * A regular file takes all or has a reason not to; what is
 * left of a line that was cut short is offered once more.
 */
static void flush_logs(struct queue *q)
{
	unsigned int i, made = 0;

	for (i = 0; i < q->nruns; i++) {
		struct log_run *run = &q->runs[i];
		const char *p = q->log + run->off;
		size_t left = run->len;
		long ret = -EBADF;

		if (!run->e)
			continue;
		while (left) {
			ret = kernel(SYS_write, run->fd, (long)p, (long)left, 0, 0);
			made++;
			if (ret <= 0)
				break;
			if ((size_t)ret < left)
				count(C_SHORT, 1);
			p += ret;
			left -= (size_t)ret;
		}
		if (raw_is_error(ret))
			late_error(run->e, run->fd, (int)-ret);
		__atomic_store_n(&run->e->log_pending, 0, __ATOMIC_RELEASE);
	}
	if (q->nlines > made)
		merged(q, ESCA_FUSE_LOG, q->nlines - made);
	SHARE(q->nruns, 0);
	q->nlines = 0;
	q->log_used = 0;
}

/*
 * How many bytes of @op are to be held back with what follows them, as the server has asked for by
 * a cork or MSG_MORE, also that of the call @real that follows at once; what was written before is
 * not.
 */
static uint32_t held(const struct op *op, const struct op *real)
{
	bool more = op->more || op->e->cork_want == 1 || (op == real && op->e->open);

	return more && op->pushed < op->bytes ? op->bytes - op->pushed : 0;
}

/* The last @len bytes of @s are to be sent after it. */
static void cut_off(struct op *op, struct send *s, size_t len)
{
	struct iovec *v = (struct iovec *)s->iov + s->niov - 1;

	s->len -= len;
	op->rest = 1;
	while (len > v->iov_len) {
		len -= v->iov_len;
		v--;
		s->niov--;
		op->rest++;
	}
	if (len == v->iov_len) {
		s->niov--;
		return;
	}
	memmove(v + 1, v, op->rest * sizeof(*v));
	v[0].iov_len -= len;
	v[1].iov_base = (char *)v[1].iov_base + v[0].iov_len;
	v[1].iov_len = len;
}

static unsigned int collect(struct queue *q, struct op *more)
{
	unsigned int n = 0, niov = 0;
	struct op *op;

	for (op = q->list.next; op != &q->list; op = op->next) {
		struct send *s = &q->sends[n];
		uint32_t back;
		unsigned int seg;

		if (!op->nseg)
			continue;
		back = held(op, more);
		s->fd = op->fd;
		s->flags = MSG_DONTWAIT | MSG_NOSIGNAL;
		s->iov = &q->iov[niov];
		s->niov = op->nseg;
		s->len = op->bytes;
		for (seg = op->first; seg != SEG_NONE; seg = q->segs[seg].next) {
			q->iov[niov].iov_base = q->arena + q->segs[seg].off;
			q->iov[niov++].iov_len = q->segs[seg].len;
		}
		if ((op == more && !op->e->open) || (op->body && !op->body_held) ||
		    back == op->bytes) {
			s->flags |= MSG_MORE;
		} else if (unlikely(back)) {
			cut_off(op, s, back);
			niov++;
			q->nafter++;
		}
		n++;
	}
	return n;
}

static void settle(struct queue *q, struct op *op, const struct send *s)
{
	struct fd_entry *e = op->e;

	if (likely(s->result == (long)s->len))
		return;
	if (s->result >= 0 || s->result == -EAGAIN || s->result == -EINTR ||
	    s->result == -ENOBUFS || s->result == -ENOMEM) {
		size_t done = s->result > 0 ? (size_t)s->result : 0;

		count(C_SHORT, 1);
		SHARE(e->bulk, true);
		if (!op->body)
			spill_add(e, op->fd, s->iov, s->niov, done);
		else if (!piece_spill(q, op, s, done))
			piece_break(e, op->fd);
		return;
	}
	late_error(e, op->fd, (int)-s->result);
}

static struct op *op_new(struct queue *q, struct fd_entry *e, int fd)
{
	struct op *op = &q->ops[q->nops++];

	op->e = e;
	op->fd = fd;
	op->t0 = q->now;
	op->bytes = 0;
	op->nseg = 0;
	op->first = op->last = SEG_NONE;
	op->more = op->cut = false;
	op->rest = 0;
	op->pushed = 0;
	op->end = 0;
	op->body = 0;
	op->next = &q->list;
	op->prev = q->list.prev;
	op->prev->next = op;
	q->list.prev = op;
	SHARE(e->op, op);
	__atomic_store_n(&e->owner, q, __ATOMIC_RELEASE);
	if (e->flags & FD_UNIX)
		SHARE(q->nunix, q->nunix + 1);
	return op;
}

static void queue_long(struct queue *q)
{
	unsigned int score = SHARED(q->long_score) + ESCA_LONG_SCORE;

	if (score > 2 * ESCA_LONG_SCORE) {
		score = 0;
		SHARE(q->plain_turns, ESCA_LONG_TURNS);
	}
	SHARE(q->long_score, (uint16_t)score);
}

/* What follows the bytes: a stream that the server has ended ends. Nothing of @op waits any more.
 */
static void end(struct op *op)
{
	struct fd_entry *e = op->e;
	int fd = op->fd;

	if (op->end & END_SHUT)
		spill_shutdown(e, fd, SHUT_WR);
	/* The last that is done to it. */
	__atomic_store_n(&e->op, NULL, __ATOMIC_RELEASE);
	if (!(op->end & END_CLOSE) || (e->spill && spill_orphan(e, fd)))
		return;
	/* Before the call: after it the number may be another thread's. */
	fd_gone(e);
	kernel(SYS_close, fd, 0, 0, 0, 0);
}

/* What is held back of @op follows what is not. */
static void send_rest(struct queue *q, struct op *op, struct send *s)
{
	struct send r = *s;

	if (s->result != (long)s->len) {
		s->niov += op->rest;
		s->len = op->bytes;
		settle(q, op, s);
		return;
	}
	r.flags |= MSG_MORE;
	r.iov = s->iov + s->niov;
	r.niov = op->rest;
	r.len = op->bytes - s->len;
	backend_direct.send(q, &r, 1);
	settle(q, op, &r);
}

/*
 * If not all of it went out, what is to be done about that must know which one-shot registrations
 * have just reported.
 */
static int send_ready(struct queue *q, unsigned int n, struct harvest *h)
{
	int ready = backend->send_ready(q, q->sends, n, h);
	unsigned int i;

	for (i = 0; i < n && ready; i++)
		if (unlikely(q->sends[i].result != (long)q->sends[i].len || q->nafter)) {
			turn_events(h->ep, fd_get(h->ep), h->evs, ready);
			break;
		}
	return ready;
}

static int flush_with(struct queue *q, struct op *more, struct harvest *h)
{
	unsigned int n, i = 0, sets = 0, left;
	int ready = 0;
	struct fd_entry *keep = more ? more->e : NULL;
	int keep_fd = more ? more->fd : -1;
	struct op *op, *next;
	uint64_t now;

	if (!q->n)
		return 0;
	if (unlikely(tsc() - q->t0 > SHARED(queue_long_ticks)))
		queue_long(q);
	registration_flush(q);
	if (q->npieces)
		piece_read(q);
	/*
	 * Lines first: none of the responses of this flush
	 * may be seen before its line (semantics: F11).
	 */
	flush_logs(q);
	n = collect(q, more);
	/* What a close takes away is not to be reported any more. */
	if (n && h && !q->ncloses)
		ready = send_ready(q, n, h);
	else if (n)
		backend->send(q, q->sends, n);
	now = q->now = tsc();
	for (op = q->list.next; op != &q->list; op = next) {
		next = op->next;
		/* Still open, and for the functions below a stream like any other. */
		if (op->end & END_CLOSE)
			op->e->flags &= (uint16_t)~FD_ZOMBIE;
		count(C_DELAY + esca_delay_bucket(now - op->t0), 1);
		if (unlikely(op->rest))
			send_rest(q, op, &q->sends[i++]);
		else if (op->nseg)
			settle(q, op, &q->sends[i++]);
		if (op->body && !op->cut && !op->e->spill && !op->e->err) {
			/* Its end is held back as well. */
			if (op->body_held && op->e->cork_want == 1)
				sets += fuse_apply_opts(op->e, op->fd);
			piece_send(q, op);
		}
		if (unlikely(op->cut))
			piece_break(op->e, op->fd);
		if (unlikely(fuse_opts_dirty(op->e)) && op->e != keep)
			sets += fuse_apply_opts(op->e, op->fd);
		end(op);
	}
	piece_done(q);
	left = keep ? fuse_opts_dirty(keep) : 0;
	if (q->nopts > sets + left)
		merged(q, ESCA_FUSE_CORK, q->nopts - sets - left);
	reset(q);
	if (left) {
		op_new(q, keep, keep_fd);
		SHARE(q->n, 1);
		q->nopts = (uint16_t)left;
	}
	return ready;
}

void queue_flush_locked(struct queue *q, struct op *more)
{
	flush_with(q, more, NULL);
}

int queue_flush_ready(struct queue *q, struct harvest *h)
{
	int ready;

	queue_lock(q);
	ready = flush_with(q, NULL, backend->send_ready ? h : NULL);
	queue_unlock(q);
	return ready;
}

/* --- filling it --- */

/* Make room for a call of @len payload bytes; e->op may be gone afterwards. */
void queue_room(struct queue *q, size_t len)
{
	/* Reading the clock costs as much as the rest of queueing a call. */
	if (!(q->n & 3))
		q->now = tsc();
	if (!q->n)
		q->t0 = q->now;
	else if (unlikely(q->n >= hot.settings.calls || q->nops >= ESCA_QUEUE_CALLS - 1 ||
			  q->nctls >= ESCA_QUEUE_CALLS || q->nsegs >= QUEUE_SEGS - 1 ||
			  q->used + len > hot.settings.bytes ||
			  q->now - q->t0 > SHARED(queue_age_ticks))) {
		queue_flush_locked(q, NULL);
		q->t0 = q->now = tsc();
	}
}

/*
 * The op of @e at the end of the list, where its new
 * constituent belongs; NULL: it cannot be queued.
 */
static struct op *op_at_end(struct queue *q, struct fd_entry *e, int fd, size_t len,
			    enum esca_fusion how)
{
	struct op *op;

	if (unlikely(fd_barred(e)))
		return NULL;
	if (e->op && e->owner != q)
		return NULL;
	queue_room(q, len);
	/*
	 * An AF_UNIX peer sees each write at once, in order
	 * with those to others: never move one past another.
	 */
	if (e->op && e->op != q->list.prev && (e->flags & FD_UNIX))
		queue_flush_locked(q, NULL);
	/* Only options are behind a body. */
	if (e->op && (e->op->nseg >= QUEUE_OPSEGS || (e->op->nseg && len && !fusing(how)) ||
		      (e->op->body && how != ESCA_FUSE_CORK) || unlikely(e->op->end)))
		queue_flush_locked(q, NULL);
	if (unlikely(e->spill || e->err))
		return NULL;
	op = e->op;
	if (!op)
		return op_new(q, e, fd);
	if (op != q->list.prev) {
		op->prev->next = op->next;
		op->next->prev = op->prev;
		op->next = &q->list;
		op->prev = q->list.prev;
		op->prev->next = op;
		q->list.prev = op;
	}
	return op;
}

static void op_drop_if_empty(struct queue *q, struct op *op)
{
	struct fd_entry *e = op->e;

	if (op->nseg || op->body || fuse_opts_dirty(e) || op != q->list.prev ||
	    op != &q->ops[q->nops - 1])
		return;
	op->prev->next = op->next;
	op->next->prev = op->prev;
	q->nops--;
	if (e->flags & FD_UNIX)
		SHARE(q->nunix, q->nunix - 1);
	SHARE(e->op, NULL);
}

/* One more call waits. */
static void waits(struct queue *q)
{
	SHARE(q->n, q->n + 1);
	count(C_DEFERRED, 1);
}

/* @len bytes of @e have been answered ahead. */
static void spend(struct fd_entry *e, size_t len)
{
	e->credit -= len < e->credit ? (uint32_t)len : e->credit;
}

/* @len bytes at the end of the arena belong to @op now. */
static void op_extend(struct queue *q, struct op *op, size_t len, enum esca_fusion how, bool more)
{
	struct seg *last = op->last != SEG_NONE ? &q->segs[op->last] : NULL;

	if (last)
		merged(q, how, 1);
	if (last && last->off + last->len == q->used) {
		last->len += (uint32_t)len;
	} else {
		uint16_t i = q->nsegs++;

		q->segs[i].off = q->used;
		q->segs[i].len = (uint32_t)len;
		q->segs[i].next = SEG_NONE;
		if (last)
			last->next = i;
		else
			op->first = i;
		op->last = i;
		op->nseg++;
	}
	op->bytes += (uint32_t)len;
	op->more = more;
	if (!more && op->e->cork_want != 1)
		op->pushed = op->bytes;
	spend(op->e, len);
	q->used += (uint32_t)len;
	waits(q);
	count(C_COPIED, len);
}

static bool in_credit(struct fd_entry *e, int fd, size_t len)
{
	return fd_credit(e, fd, e->op ? e->op->bytes : 0, len);
}

long queue_send(struct fd_entry *e, int fd, const struct iovec *iov, unsigned int n, size_t len,
		int flags)
{
	struct queue *q = self.q;
	long ret = NOT_QUEUED;
	struct op *op;
	char *to;
	unsigned int i;

	queue_lock(q);
	if (!in_credit(e, fd, len))
		goto out;
	op = op_at_end(q, e, fd, len, ESCA_FUSE_MERGE);
	if (!op)
		goto out;
	to = q->arena + q->used;
	for (i = 0; i < n; i++) {
		memcpy(to, iov[i].iov_base, iov[i].iov_len);
		to += iov[i].iov_len;
	}
	op_extend(q, op, len, ESCA_FUSE_MERGE, flags & MSG_MORE);
	ret = (long)len;
out:
	queue_unlock(q);
	return ret;
}

/*
 * A body behind its header, to go from the page cache to the
 * stream. An AF_UNIX peer would see it in its place among others.
 */
static bool queue_body(struct queue *q, struct fd_entry *e, int fd, struct fd_entry *in, int in_fd,
		       off_t off, size_t len)
{
	struct op *op = op_at_end(q, e, fd, 0, ESCA_FUSE_HEADER);

	if (!op)
		return false;
	/* A flush may have found that the file is shorter than it was said to be. */
	if (!piece_can(q, in, off, len)) {
		op_drop_if_empty(q, op);
		return false;
	}
	piece_add(q, in, in_fd, off, len);
	op->body = q->npieces;
	op->body_held = op->e->cork_want == 1;
	q->nafter++;
	op->more = false;
	if (op->nseg)
		merged(q, ESCA_FUSE_HEADER, 1);
	spend(e, len);
	waits(q);
	return true;
}

long queue_file(struct fd_entry *e, int fd, struct fd_entry *in, int in_fd, off_t *off, size_t len)
{
	struct queue *q = self.q;
	long ret = NOT_QUEUED, got = (long)len;
	struct piece *p;
	struct op *op;
	bool can;

	queue_lock(q);
	can = piece_can(q, in, *off, len);
	if ((!can && len > ESCA_FILE_MAX) || !in_credit(e, fd, len))
		goto out;
	if (can && len > ESCA_READ_MAX && !(e->flags & FD_UNIX)) {
		if (queue_body(q, e, fd, in, in_fd, *off, len)) {
			*off += got;
			ret = got;
		}
		goto out;
	}
	if (len > ESCA_FILE_MAX)
		goto out;
	op = op_at_end(q, e, fd, len, ESCA_FUSE_HEADER);
	if (!op)
		goto out;
	/* The flush may have made room, or used the promise up. */
	if (can && backend->recv && piece_can(q, in, *off, len)) {
		p = piece_add(q, in, in_fd, *off, len);
		p->e = e;
		p->at = q->used;
	} else {
		got = kernel(SYS_pread64, in_fd, (long)(q->arena + q->used), (long)len, (long)*off,
			     0);
	}
	if (got <= 0) {
		op_drop_if_empty(q, op);
		goto out;
	}
	op_extend(q, op, (size_t)got, ESCA_FUSE_HEADER, false);
	*off += got;
	ret = got;
out:
	queue_unlock(q);
	return ret;
}

long queue_opt(struct fd_entry *e, int fd, int name, int value)
{
	struct queue *q = self.q;
	long ret = NOT_QUEUED;
	struct op *op;

	queue_lock(q);
	/* Even without a change it sends what MSG_MORE or a cork holds back: a call that counts. */
	if (e->open || (name == TCP_NODELAY && value && e->cork_want == 1))
		goto out;
	/* The kernel sends what it holds when a cork ends, also if another begins at once. */
	if (name == TCP_CORK && value && SHARED(e->cork) == 1 && e->cork_want == 0)
		queue_flush_locked(q, NULL);
	op = op_at_end(q, e, fd, 0, ESCA_FUSE_CORK);
	if (!op)
		goto out;
	ret = 0;
	waits(q);
	q->nopts++;
	if (name == TCP_NODELAY)
		e->nodelay_want = (uint8_t)value;
	else
		e->cork_want = (uint8_t)value;
	if (!value && name == TCP_CORK) {
		op->more = false;
		op->pushed = op->bytes;
		op->body_held = false;
	}
out:
	queue_unlock(q);
	return ret;
}

long queue_end(struct fd_entry *e, unsigned int end)
{
	struct queue *q = self.q;
	long ret = NOT_QUEUED;

	queue_lock(q);
	if (!e->op || e->owner != q || SHARED(e->shared) || e->err || e->spill)
		goto out;
	e->op->end |= (uint8_t)end;
	if (end & END_CLOSE) {
		e->flags |= FD_ZOMBIE;
		SHARE(q->ncloses, q->ncloses + 1);
	}
	waits(q);
	merged(q, ESCA_FUSE_CLOSE, 1);
	ret = 0;
out:
	queue_unlock(q);
	return ret;
}

long queue_log(struct fd_entry *e, int fd, const struct iovec *iov, unsigned int n, size_t len)
{
	struct queue *q = self.q;
	struct log_run *run;
	long ret = NOT_QUEUED;
	unsigned int i;

	queue_lock(q);
	/*
	 * A line may overtake what waits on a TCP stream, since
	 * networks take their time; not what waits on a local one.
	 */
	if (q->nunix)
		goto out;
	queue_room(q, 0);
	if (q->log_used + len > LOG_BYTES || q->nruns >= LOG_RUNS) {
		queue_flush_locked(q, NULL);
		q->t0 = tsc();
	}
	if (e->err || fd_barred(e))
		goto out;
	run = q->nruns ? &q->runs[q->nruns - 1] : NULL;
	if (!run || run->e != e) {
		run = &q->runs[q->nruns];
		SHARE(run->e, e);
		run->fd = fd;
		run->off = q->log_used;
		run->len = 0;
	}
	for (i = 0; i < n; i++) {
		memcpy(q->log + q->log_used, iov[i].iov_base, iov[i].iov_len);
		q->log_used += (uint32_t)iov[i].iov_len;
	}
	run->len += (uint32_t)len;
	q->nlines++;
	SHARE(q->nruns, (uint16_t)(run - q->runs + 1));
	SHARE(e->log_pending, 1);
	__atomic_store_n(&e->owner, q, __ATOMIC_RELEASE);
	waits(q);
	count(C_COPIED, len);
	ret = (long)len;
out:
	queue_unlock(q);
	return ret;
}

bool queue_has_log(struct queue *q, const struct fd_entry *e)
{
	unsigned int i, n = q ? SHARED(q->nruns) : 0;

	if (!n)
		return false;
	if (!e || !(e->flags & FD_INODE))
		return true;
	for (i = 0; i < n; i++) {
		const struct fd_entry *log = SHARED(q->runs[i].e);

		if (log && (!(log->flags & FD_INODE) || (log->dev == e->dev && log->ino == e->ino)))
			return true;
	}
	return false;
}

bool queue_logs_wait(void)
{
	struct queue *q;

	for (q = __atomic_load_n(&all, __ATOMIC_ACQUIRE); q; q = q->all_next)
		if (SHARED(q->nruns))
			return true;
	return false;
}

bool queue_flush_logs(const struct fd_entry *e, const struct queue *but)
{
	bool any = false;
	struct queue *q;

	for (q = __atomic_load_n(&all, __ATOMIC_ACQUIRE); q; q = q->all_next) {
		if (q == but || likely(!queue_has_log(q, e)))
			continue;
		queue_flush(q);
		any = true;
	}
	return any;
}

void queue_drop(struct fd_entry *e)
{
	struct queue *q = e->owner;
	unsigned int i;

	if (!q || (self.bypass & BYPASS_BUSY))
		return;
	queue_lock(q);
	count(C_ERRORS, 1);
	spill_discard(e);
	if (e->op) {
		e->op->prev->next = e->op->next;
		e->op->next->prev = e->op->prev;
		SHARE(e->op, NULL);
	}
	for (i = 0; i < q->nruns; i++)
		if (q->runs[i].e == e)
			SHARE(q->runs[i].e, NULL);
	piece_lost(q, e);
	queue_unlock(q);
}
