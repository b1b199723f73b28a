/* SPDX-License-Identifier: MIT */
/*
 * stats.c - the counters of mode run. Each thread has a slot in the area that the tool reads and
 * counts there directly, so that they are complete at any time and however the process ends.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <esca-runtime/run.h>

static struct esca_stats_area *area;
static uint32_t backend_id;
static __thread struct esca_stats_slot *slot;
static __thread uint64_t nowhere[C_MAX];

_Static_assert(offsetof(struct esca_stats_slot, delay) == offsetof(struct esca_stats_slot, turns) +
								  C_DELAY * sizeof(uint64_t) &&
		       offsetof(struct esca_stats_slot, passed) ==
			       offsetof(struct esca_stats_slot, turns) +
				       C_PASSED * sizeof(uint64_t),
	       "enum count follows struct esca_stats_slot");

static uint64_t ticks;

void stats_clock(uint64_t ticks_per_us)
{
	SHARE(ticks, ticks_per_us);
	if (slot)
		slot->ticks_per_us = ticks_per_us;
}

void stats_open(const char *path)
{
	struct stat st;
	long fd, map;

	if (!*path)
		return;
	fd = raw_syscall(SYS_openat, AT_FDCWD, (long)path, O_RDWR | O_CLOEXEC, 0, 0, 0);
	if (raw_is_error(fd))
		return;
	/* What is not whole would be a SIGBUS later. */
	if (raw_syscall(SYS_fstat, fd, (long)&st, 0, 0, 0, 0) ||
	    st.st_size != (off_t)sizeof(*area)) {
		raw_syscall(SYS_close, fd, 0, 0, 0, 0, 0);
		return;
	}
	map = raw_syscall(SYS_mmap, 0, sizeof(*area), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	raw_syscall(SYS_close, fd, 0, 0, 0, 0, 0);
	if (raw_is_error(map))
		return;
	area = (struct esca_stats_area *)map;
	if (area->magic != ESCA_STATS_MAGIC || area->abi != ESCA_PLAN_ABI ||
	    area->nslots > ESCA_STATS_SLOTS)
		area = NULL;
}

/* One that an ended thread of process @pid has left, or a fresh one. */
static struct esca_stats_slot *claim(uint32_t pid)
{
	uint32_t used = __atomic_load_n(&area->used, __ATOMIC_ACQUIRE), i;

	for (i = 0; i < used && i < area->nslots; i++) {
		struct esca_stats_slot *s = &area->slot[i];
		uint32_t idle = 0;

		if (__atomic_load_n(&s->pid, __ATOMIC_ACQUIRE) == pid &&
		    __atomic_compare_exchange_n(&s->busy, &idle, 1, false, __ATOMIC_ACQ_REL,
						__ATOMIC_RELAXED))
			return s;
	}
	i = __atomic_fetch_add(&area->used, 1, __ATOMIC_RELAXED);
	if (i >= area->nslots) {
		__atomic_fetch_sub(&area->used, 1, __ATOMIC_RELAXED);
		__atomic_fetch_add(&area->overflow, 1, __ATOMIC_RELAXED);
		return NULL;
	}
	SHARE(area->slot[i].busy, 1);
	__atomic_store_n(&area->slot[i].pid, pid, __ATOMIC_RELEASE);
	return &area->slot[i];
}

uint64_t *stats_thread(void)
{
	slot = area ? claim((uint32_t)raw_syscall(SYS_getpid, 0, 0, 0, 0, 0, 0)) : NULL;
	if (slot) {
		slot->backend = backend_id;
		slot->ticks_per_us = SHARED(ticks);
	}
	self.n = slot ? &slot->turns : nowhere;
	return self.n;
}

void stats_backend(unsigned int id)
{
	backend_id = id;
	if (slot)
		slot->backend = id;
}

void stats_child(void)
{
	slot = NULL;
	self.n = NULL;
}

void stats_leave(void)
{
	if (slot)
		__atomic_store_n(&slot->busy, 0, __ATOMIC_RELEASE);
	slot = NULL;
	self.n = nowhere;
}
