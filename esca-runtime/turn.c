/* SPDX-License-Identifier: MIT */
/*
 * turn.c - turns of a thread's loop: when one begins, whether it is worth deferring in, and which
 * descriptors its wait reported.
 *
 * epoll reports the server's data, not descriptors. Registrations are therefore indexed by their
 * data. Changes are made under a lock; look-ups are not, and take what they find only if it fits.
 */
#include "config.h"

#include <esca-runtime/run.h>

#define BUCKETS 4096
/* A chain is followed so far: while it changes, a look-up might go round in it. */
#define CHAIN_MAX 64

static int32_t buckets[BUCKETS]; /* first descriptor of the chain, plus 1 */
static uint32_t index_lock;

/* --- the index --- */

static int32_t *bucket_of(uint64_t data, uint32_t gen)
{
	uint64_t h = (data ^ (uint64_t)gen << 48) * 0x9e3779b97f4a7c15u;

	return &buckets[h >> 52];
}

/* Data that is the descriptor's number, as most servers have it, needs no chain. */
static bool names_itself(const struct fd_entry *e)
{
	return (uint32_t)SHARED(e->reg_data) == (uint32_t)(e - fd_table);
}

static bool same(const struct fd_entry *e, int32_t reg_ep, uint32_t gen, uint64_t data)
{
	return SHARED(e->reg_ep) == reg_ep && SHARED(e->reg_gen) == gen &&
	       SHARED(e->reg_data) == data && SHARED(e->indexed);
}

static struct fd_entry *find(int32_t reg_ep, uint32_t gen, uint64_t data,
			     const struct fd_entry *but)
{
	struct fd_entry *e = fd_get((long)(uint32_t)data);
	unsigned int steps;
	int32_t i;

	if (e && e != but && same(e, reg_ep, gen, data))
		return e;
	i = __atomic_load_n(bucket_of(data, gen), __ATOMIC_ACQUIRE);
	for (steps = 0; i && steps < CHAIN_MAX; steps++) {
		e = fd_get(i - 1);
		if (e != but && same(e, reg_ep, gen, data))
			return e;
		i = __atomic_load_n(&e->index_next, __ATOMIC_ACQUIRE);
	}
	return NULL;
}

/* Return: self.bypass as it was, which may already say that a queue is locked. */
static uint8_t lock_index(void)
{
	uint8_t was = self.bypass;

	work_begin();
	while (__atomic_exchange_n(&index_lock, 1, __ATOMIC_ACQUIRE))
		__builtin_ia32_pause();
	return was;
}

static void unlock_index(uint8_t was)
{
	__atomic_store_n(&index_lock, 0, __ATOMIC_RELEASE);
	if (!(was & BYPASS_BUSY))
		work_end();
}

void turn_index(struct fd_entry *e)
{
	uint8_t was = lock_index();
	struct fd_entry *twin;
	int32_t *b;

	twin = find(e->reg_ep, e->reg_gen, e->reg_data, e);
	SHARE(e->indexed, true);
	if (unlikely(twin)) {
		SHARE(twin->twin, true);
		SHARE(e->twin, true);
	}
	if (!names_itself(e)) {
		b = bucket_of(e->reg_data, e->reg_gen);
		SHARE(e->index_next, *b);
		__atomic_store_n(b, (int32_t)(e - fd_table) + 1, __ATOMIC_RELEASE);
	}
	unlock_index(was);
}

void turn_unindex(struct fd_entry *e)
{
	int32_t self_ref = (int32_t)(e - fd_table) + 1, *at;
	uint8_t was;

	if (!SHARED(e->indexed))
		return;
	was = lock_index();
	if (!names_itself(e))
		for (at = bucket_of(e->reg_data, e->reg_gen); *at;
		     at = &fd_table[*at - 1].index_next)
			if (*at == self_ref) {
				__atomic_store_n(at, e->index_next, __ATOMIC_RELEASE);
				break;
			}
	SHARE(e->indexed, false);
	unlock_index(was);
}

void turn_child(void)
{
	index_lock = 0;
}

/* --- turns --- */

/*
 * A loop whose turns have so few events (in sixteenths) gains nothing by having single calls wait.
 * It does where calls merge: every so many turns that is tried, and if they do it is done for some
 * time (QUEUE_GAIN).
 */
#define SMALL_DEGREE (3 * 16 + 8)
#define SMALL_EVENTS 3
#define PROBE_TURNS  32

void turn_begin(unsigned int n)
{
	struct queue *q = hot.over ? NULL : queue_get();
	unsigned int cut = n < 1024 ? n : 1024;
	uint16_t long_score, plain, gain;

	if (!q)
		return;
	q->turn++;
	q->degree = (uint16_t)(q->degree - q->degree / 8 + cut * 16 / 8);
	long_score = SHARED(q->long_score);
	if (long_score)
		SHARE(q->long_score, long_score - 1);
	q->in_turn = false;
	q->small = false;
	plain = SHARED(q->plain_turns);
	if (unlikely(plain)) {
		SHARE(q->plain_turns, plain - 1);
		return;
	}
	if (n <= SMALL_EVENTS && q->degree <= SMALL_DEGREE) {
		gain = SHARED(q->gain);
		if (gain)
			SHARE(q->gain, gain - 1);
		else if (++q->small_turns % PROBE_TURNS)
			q->small = true;
	}
	q->in_turn = !q->small;
}

struct fd_entry *turn_find(int epfd, const struct fd_entry *ep, uint64_t data)
{
	struct fd_entry *e = find(epfd + 1, ep->gen, data, NULL);

	return e && !SHARED(e->twin) ? e : NULL;
}

void turn_events(int epfd, const struct fd_entry *ep, const struct epoll_event *evs, int n)
{
	int i;

	if (!self.q)
		return;
	for (i = 0; i < n; i++) {
		struct fd_entry *e = turn_find(epfd, ep, evs[i].data.u64);

		if (!e)
			continue;
		kernel_after(e);
		if (SHARED(e->reg_events) & EPOLLONESHOT)
			SHARE(e->fired, true);
		SHARE(e->ready, evs[i].events);
		SHARE(e->ready_turn, self.q->turn);
	}
}
