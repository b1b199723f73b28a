/* SPDX-License-Identifier: MIT */
/*
 * recorder.c - from both lanes into one file: drain the
 * rings, bring each thread's calls into order, write them.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include <analyzer/hash.h>
#include <cli/recorder.h>
#include <esca-runtime/plan.h>
#include <esca-runtime/record.h>

_Static_assert((int)RECORD_FD_UNKNOWN == (int)TRACE_FD_UNKNOWN &&
		       (int)RECORD_FD_OTHER == (int)TRACE_FD_OTHER &&
		       (int)RECORD_FD_EPOLL == (int)TRACE_FD_EPOLL &&
		       (int)RECORD_FD_NONBLOCK == (int)TRACE_FD_NONBLOCK &&
		       (int)RECORD_FD_SYNC == (int)TRACE_FD_SYNC,
	       "the library and the recording number descriptors alike");
_Static_assert(sizeof(struct record_slot) == 96, "slot layout");
_Static_assert(sizeof(struct record_ring) <= 1 << 20, "a ring stays below 1 MiB");

/* calls of a thread kept back for one that began earlier; then order gives way */
#define HELD_MAX 65536
/* a claimed slot that stays empty this long while later ones fill was jumped out of */
#define STUCK_NS   100000000u
#define LENDS_MAX  8
#define OPENED_MAX 8 /* descriptors whose path is looked up in a round */

/** The calls of one thread that are not written yet. */
struct rec_thread {
	uint32_t tid;
	uint32_t pid;
	uint64_t open_ns;  /* when the net lane call in flight began; 0: none */
	uint64_t limit_ns; /* calls that began before this can be written */
	struct trace_call *calls;
	size_t n;
	size_t cap;
	struct record_ring *ring;
	UT_hash_handle hh;
};

/**
 * Whose calls a ring holds from a position on: its owner's,
 * or of those who borrowed it one after the other.
 */
struct ring_user {
	uint64_t from;
	uint32_t tid;
};

struct ring_state {
	uint32_t owner;
	unsigned int users;
	struct ring_user user[LENDS_MAX];
	uint64_t lost;	   /* of the ring's counter, already reported */
	uint64_t stuck_ns; /* since when the slot at tail is empty though later ones are not */
};

struct recorder {
	struct trace_writer *w;
	int fd;
	struct record_area *area;
	struct ring_state state[RECORD_RINGS];
	struct rec_thread *threads;
	uint64_t lost;
	uint64_t base_ticks;
	uint64_t base_ns;
	uint64_t ns_per_tick; /* times 2^32 */
	bool tsc;
	int err;
	unsigned int nopened;
	struct trace_call opened[OPENED_MAX]; /* of this round, not closed in it */
	char plan[128];
};

/* --- the clock --- */

static uint64_t mono_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* The kernel trusts the counter as its clock: it runs at one rate on all cores. */
static bool tsc_usable(void)
{
	char name[16] = "";
	FILE *f = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");

	if (!f)
		return false;
	if (!fgets(name, sizeof(name), f))
		name[0] = '\0';
	fclose(f);
	return !strcmp(name, "tsc\n");
}

/* Of several tries the one whose two counter readings are closest. */
static void clock_pair(uint64_t *ticks, uint64_t *ns)
{
	uint64_t best = UINT64_MAX;

	for (unsigned int i = 0; i < 20; i++) {
		uint64_t before = __rdtsc();
		uint64_t t = mono_ns();
		uint64_t after = __rdtsc();

		if (after - before < best) {
			best = after - before;
			*ticks = before + best / 2;
			*ns = t;
		}
	}
}

static void clock_init(struct recorder *r)
{
	uint64_t ticks, ns;

	r->tsc = tsc_usable();
	if (!r->tsc)
		return;
	clock_pair(&r->base_ticks, &r->base_ns);
	nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	clock_pair(&ticks, &ns);
	r->ns_per_tick =
		(uint64_t)(((unsigned __int128)(ns - r->base_ns) << 32) / (ticks - r->base_ticks));
}

static uint64_t ticks_to_ns(const struct recorder *r, uint64_t ticks)
{
	if (!r->tsc)
		return ticks;
	if (ticks < r->base_ticks)
		return r->base_ns;
	return r->base_ns +
	       (uint64_t)(((unsigned __int128)(ticks - r->base_ticks) * r->ns_per_tick) >> 32);
}

uint64_t recorder_now(const struct recorder *r)
{
	return r->tsc ? ticks_to_ns(r, __rdtsc()) : mono_ns();
}

/* --- making one --- */

static int area_new(struct recorder *r, bool stacks)
{
	void *p;

	r->fd = memfd_create("esca-rings", MFD_CLOEXEC);
	if (r->fd < 0)
		return -errno;
	if (ftruncate(r->fd, sizeof(struct record_area)))
		return -errno;
	p = mmap(NULL, sizeof(struct record_area), PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	r->area = p;
	r->area->nrings = RECORD_RINGS;
	r->area->tsc = r->tsc;
	r->area->stacks = stacks;
	r->area->calibrate = 1;
	r->area->magic = RECORD_MAGIC;
	snprintf(r->plan, sizeof(r->plan), "abi=%d mode=record ring=/proc/%d/fd/%d", ESCA_PLAN_ABI,
		 (int)getpid(), r->fd);
	return 0;
}

int recorder_new(struct recorder **rp, struct trace_writer *w, bool rings, bool stacks)
{
	struct recorder *r = calloc(1, sizeof(*r));
	int err = 0;

	if (!r)
		return -ENOMEM;
	r->w = w;
	r->fd = -1;
	clock_init(r);
	if (rings)
		err = area_new(r, stacks);
	if (err) {
		recorder_free(r);
		return err;
	}
	*rp = r;
	return 0;
}

void recorder_free(struct recorder *r)
{
	struct rec_thread *t, *next;

	if (!r)
		return;
	HASH_ITER (hh, r->threads, t, next) {
		HASH_DEL(r->threads, t);
		free(t->calls);
		free(t);
	}
	if (r->area)
		munmap(r->area, sizeof(*r->area));
	if (r->fd >= 0)
		close(r->fd);
	free(r);
}

const char *recorder_plan(const struct recorder *r)
{
	return r->plan;
}

struct trace_writer *recorder_writer(const struct recorder *r)
{
	return r->w;
}

void recorder_check(struct recorder *r, int err)
{
	if (err && !r->err)
		r->err = err;
}

int recorder_error(const struct recorder *r)
{
	return r->err;
}

uint64_t recorder_lost(const struct recorder *r)
{
	return r->lost;
}

double recorder_cost_ns(const struct recorder *r)
{
	double ticks = r->area ? (double)r->area->record_ticks / 1024 : 0;

	return r->tsc ? ticks * (double)r->ns_per_tick / 4294967296.0 : ticks;
}

/* --- the calls of a thread, in order --- */

static struct rec_thread *thread_of(struct recorder *r, uint32_t tid)
{
	struct rec_thread *t;

	HASH_FIND(hh, r->threads, &tid, sizeof(tid), t);
	if (t)
		return t;
	t = calloc(1, sizeof(*t));
	if (!t) {
		recorder_check(r, -ENOMEM);
		return NULL;
	}
	t->tid = tid;
	HASH_ADD(hh, r->threads, tid, sizeof(t->tid), t);
	return t;
}

/* Calls come nearly in order: the place is looked for from the end. */
static void hold(struct recorder *r, const struct trace_call *c)
{
	struct rec_thread *t = thread_of(r, c->tid);
	size_t i;

	if (!t)
		return;
	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 64;
		struct trace_call *calls = reallocarray(t->calls, cap, sizeof(*calls));

		if (!calls) {
			recorder_check(r, -ENOMEM);
			return;
		}
		t->calls = calls;
		t->cap = cap;
	}
	for (i = t->n; i && t->calls[i - 1].enter_ns > c->enter_ns; i--)
		t->calls[i] = t->calls[i - 1];
	t->calls[i] = *c;
	t->n++;
}

/* Write what began before @limit. */
static void let_go(struct recorder *r, struct rec_thread *t, uint64_t limit)
{
	size_t n = 0;

	while (n < t->n && t->calls[n].enter_ns < limit) {
		/*
		 * A stack or kind out of range is refused by the
		 * writer: that call is not worth the recording.
		 */
		int err = trace_put_call(r->w, &t->calls[n++]);

		if (err && err != -EINVAL)
			recorder_check(r, err);
	}
	t->n -= n;
	if (n)
		memmove(t->calls, t->calls + n, t->n * sizeof(*t->calls));
}

void recorder_call(struct recorder *r, const struct trace_call *c)
{
	hold(r, c);
}

void recorder_open(struct recorder *r, uint32_t tid, uint64_t enter_ns)
{
	struct rec_thread *t = thread_of(r, tid);

	if (t)
		t->open_ns = enter_ns;
}

void recorder_thread(struct recorder *r, uint32_t tid, uint32_t pid)
{
	struct rec_thread *t = thread_of(r, tid);

	if (t)
		t->pid = pid;
}

/* --- paths of what was opened by a ring call --- */

static uint32_t process_of(struct recorder *r, uint32_t tid)
{
	struct rec_thread *t = thread_of(r, tid);

	return t ? t->pid : 0;
}

/* Remember what @c opens, and forget it again if it is closed at once. */
static void follow_open(struct recorder *r, const struct trace_call *c)
{
	if ((c->nr == SYS_openat || c->nr == SYS_open) && c->result >= 0 && r->nopened < OPENED_MAX)
		r->opened[r->nopened++] = *c;
	if (c->nr != SYS_close)
		return;
	for (unsigned int i = 0; i < r->nopened; i++)
		if (r->opened[i].result == (int)c->args[0] &&
		    process_of(r, r->opened[i].tid) == process_of(r, c->tid))
			r->opened[i--] = r->opened[--r->nopened];
}

static void put_paths(struct recorder *r)
{
	for (unsigned int i = 0; i < r->nopened; i++) {
		const struct trace_call *c = &r->opened[i];
		struct trace_path rec = {
			.pid = process_of(r, c->tid),
			.fd = (int32_t)c->result,
			.mono_ns = c->exit_ns,
		};
		char link[48], path[4096];
		ssize_t n;

		snprintf(link, sizeof(link), "/proc/%u/fd/%d", c->tid, rec.fd);
		n = readlink(link, path, sizeof(path) - 1);
		if (n <= 0 || !rec.pid)
			continue;
		path[n] = '\0';
		recorder_check(r, trace_put_path(r->w, &rec, path));
	}
	r->nopened = 0;
}

/* --- rings --- */

static void take_slot(struct recorder *r, const struct record_slot *s, uint32_t tid)
{
	struct trace_call c = {
		.enter_ns = ticks_to_ns(r, s->enter),
		.exit_ns = ticks_to_ns(r, s->exit),
		.result = s->result,
		.extra = s->extra,
		.tid = tid,
		.stack = s->stack,
		.nr = s->nr,
		.lane = TRACE_LANE_RING,
		.fd_kind = s->fd_kind,
		.fd_flags = s->fd_flags,
	};

	memcpy(c.args, s->args, sizeof(c.args));
	follow_open(r, &c);
	hold(r, &c);
}

static uint32_t user_at(struct ring_state *st, uint64_t pos)
{
	while (st->users > 1 && st->user[1].from <= pos) {
		st->users--;
		memmove(st->user, st->user + 1, st->users * sizeof(*st->user));
	}
	return st->user[0].tid;
}

static bool slot_full(const struct record_ring *ring, uint64_t pos)
{
	return __atomic_load_n(&ring->slot[pos % RECORD_SLOTS].seq, __ATOMIC_ACQUIRE) ==
	       (uint32_t)pos + 1;
}

static void report_lost(struct recorder *r, struct ring_state *st, uint64_t total)
{
	struct trace_lost l = {
		.tid = st->user[0].tid,
		.why = 1,
		.count = total - st->lost,
		.mono_ns = recorder_now(r),
	};

	if (!l.count)
		return;
	st->lost = total;
	r->lost += l.count;
	recorder_check(r, trace_put_lost(r->w, &l));
}

/* A handler that interrupted the filling of a slot never returned to it: that one call is lost. */
static bool stuck(struct recorder *r, struct ring_state *st, struct record_ring *ring, uint64_t pos)
{
	uint64_t t = recorder_now(r);

	if (!slot_full(ring, pos + 1)) {
		st->stuck_ns = 0;
		return false;
	}
	if (!st->stuck_ns)
		st->stuck_ns = t;
	if (t - st->stuck_ns < STUCK_NS)
		return false;
	st->stuck_ns = 0;
	__atomic_fetch_add(&ring->lost, 1, __ATOMIC_RELAXED);
	return true;
}

static unsigned int drain_ring(struct recorder *r, unsigned int i)
{
	struct record_ring *ring = &r->area->ring[i];
	struct ring_state *st = &r->state[i];
	uint32_t owner = __atomic_load_n(&ring->owner, __ATOMIC_ACQUIRE);
	uint64_t pos = ring->tail, head;
	unsigned int n = 0;

	if (!owner)
		return 0;
	if (st->owner != owner) {
		struct rec_thread *t = thread_of(r, owner);

		if (t)
			t->ring = ring;
		st->owner = owner;
		st->users = 1;
		st->user[0] = (struct ring_user){pos, owner};
	}
	head = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE);
	while (pos < head) {
		if (slot_full(ring, pos)) {
			take_slot(r, &ring->slot[pos % RECORD_SLOTS], user_at(st, pos));
			n++;
		} else if (!stuck(r, st, ring, pos)) {
			break;
		}
		__atomic_store_n(&ring->tail, ++pos, __ATOMIC_RELEASE);
	}
	report_lost(r, st, __atomic_load_n(&ring->lost, __ATOMIC_RELAXED));
	return n;
}

/*
 * Before this, nothing of the thread can still come. It is taken before the rings are read: a call
 * that began before @now is either seen in flight here, or was finished and is found in the ring.
 */
static uint64_t limit_of(struct recorder *r, const struct rec_thread *t, uint64_t now)
{
	uint64_t limit = t->open_ns && t->open_ns < now ? t->open_ns : now;
	uint64_t entered = t->ring ? __atomic_load_n(&t->ring->entered, __ATOMIC_ACQUIRE) : 0;

	if (entered && ticks_to_ns(r, entered) < limit)
		limit = ticks_to_ns(r, entered);
	return t->n > HELD_MAX ? now : limit;
}

unsigned int recorder_drain(struct recorder *r)
{
	uint64_t now = recorder_now(r);
	struct rec_thread *t, *next;
	unsigned int n = 0, used;

	HASH_ITER (hh, r->threads, t, next)
		t->limit_ns = limit_of(r, t, now);
	used = r->area ? __atomic_load_n(&r->area->used, __ATOMIC_ACQUIRE) : 0;
	for (unsigned int i = 0; i < used && i < RECORD_RINGS; i++)
		n += drain_ring(r, i);
	put_paths(r);
	HASH_ITER (hh, r->threads, t, next) {
		if (t->n)
			let_go(r, t, t->limit_ns);
	}
	return n;
}

void recorder_sync(struct recorder *r)
{
	uint64_t t = recorder_now(r);

	recorder_drain(r);
	recorder_check(r, trace_sync(r->w, t));
}

/* The ring whose calls are those of @tid now: its own, or one it has borrowed. */
static int ring_used_by(struct recorder *r, uint32_t tid)
{
	unsigned int used = r->area ? r->area->used : 0;

	for (unsigned int i = 0; i < used && i < RECORD_RINGS; i++) {
		const struct ring_state *st = &r->state[i];

		drain_ring(r, i);
		if (r->area->ring[i].owner && st->users && st->user[st->users - 1].tid == tid)
			return (int)i;
	}
	return -1;
}

uint64_t recorder_in_flight(struct recorder *r, uint32_t tid)
{
	int i = ring_used_by(r, tid);
	uint64_t entered =
		i >= 0 ? __atomic_load_n(&r->area->ring[i].entered, __ATOMIC_RELAXED) : 0;

	return entered ? ticks_to_ns(r, entered) : 0;
}

static void ring_switch(struct recorder *r, int i, uint32_t tid)
{
	struct record_ring *ring = &r->area->ring[i];
	struct ring_state *st = &r->state[i];

	if (st->users == LENDS_MAX)
		st->users--;
	st->user[st->users++] =
		(struct ring_user){__atomic_load_n(&ring->head, __ATOMIC_ACQUIRE), tid};
	ring->borrowed = tid != ring->owner;
}

void recorder_borrow(struct recorder *r, uint32_t parent, uint32_t child)
{
	int i = ring_used_by(r, parent);

	if (i >= 0)
		ring_switch(r, i, child);
}

void recorder_return(struct recorder *r, uint32_t parent, uint32_t child)
{
	int i = ring_used_by(r, child);

	if (i < 0)
		return;
	/*
	 * A ring that the child was the first to claim is
	 * the parent's: the claim is in memory they share.
	 */
	if (r->area->ring[i].owner == child) {
		struct rec_thread *t = thread_of(r, parent);

		r->area->ring[i].owner = parent;
		r->state[i].owner = parent;
		if (t)
			t->ring = &r->area->ring[i];
	}
	ring_switch(r, i, parent);
}

static void ring_release(struct recorder *r, int i)
{
	struct record_ring *ring = &r->area->ring[i];
	struct ring_state *st = &r->state[i];

	/* What was claimed and never filled died with the thread. */
	__atomic_store_n(&ring->tail, ring->head, __ATOMIC_RELEASE);
	ring->entered = 0;
	ring->borrowed = 0;
	memset(st, 0, sizeof(*st));
	st->lost = ring->lost;
	__atomic_store_n(&ring->owner, 0, __ATOMIC_RELEASE);
}

void recorder_thread_gone(struct recorder *r, uint32_t tid)
{
	unsigned int used = r->area ? r->area->used : 0;
	struct rec_thread *t;

	for (unsigned int i = 0; i < used && i < RECORD_RINGS; i++) {
		if (r->area->ring[i].owner != tid)
			continue;
		drain_ring(r, i);
		ring_release(r, (int)i);
	}
	put_paths(r); /* it stands before its end: what it has open is open still */
	HASH_FIND(hh, r->threads, &tid, sizeof(tid), t);
	if (!t)
		return;
	let_go(r, t, UINT64_MAX);
	HASH_DEL(r->threads, t);
	free(t->calls);
	free(t);
}
