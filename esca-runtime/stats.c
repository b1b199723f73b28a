/* SPDX-License-Identifier: MIT */
/*
 * stats.c - the counters of mode run, from each thread
 * to its process's slot in the area that the tool reads.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/single_threaded.h>
#include <sys/syscall.h>

#include <esca-runtime/run.h>

static struct esca_stats_area *area;
static struct esca_stats_slot *slot;

_Static_assert(offsetof(struct esca_stats_slot, bytes_copied) ==
		       offsetof(struct esca_stats_slot, turns) + C_COPIED * sizeof(uint64_t),
	       "enum count follows struct esca_stats_slot");

void stats_open(const char *path)
{
	long fd, map;

	if (!*path)
		return;
	fd = raw_syscall(SYS_openat, AT_FDCWD, (long)path, O_RDWR | O_CLOEXEC, 0, 0, 0);
	if (raw_is_error(fd))
		return;
	map = raw_syscall(SYS_mmap, 0, sizeof(*area), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	raw_syscall(SYS_close, fd, 0, 0, 0, 0, 0);
	if (raw_is_error(map))
		return;
	area = (struct esca_stats_area *)map;
	if (area->magic != ESCA_STATS_MAGIC || area->nslots > ESCA_STATS_SLOTS)
		area = NULL;
}

void stats_claim(unsigned int id)
{
	uint32_t pid = (uint32_t)raw_syscall(SYS_getpid, 0, 0, 0, 0, 0, 0);
	uint32_t i;

	slot = NULL;
	if (!area)
		return;
	/* After an exec the process goes on in the slot it has. */
	for (i = 0; i < area->nslots; i++) {
		uint32_t have = __atomic_load_n(&area->slot[i].pid, __ATOMIC_RELAXED);

		if (have == pid ||
		    (!have && __atomic_compare_exchange_n(&area->slot[i].pid, &have, pid, false,
							  __ATOMIC_RELAXED, __ATOMIC_RELAXED))) {
			slot = &area->slot[i];
			slot->backend = id;
			return;
		}
	}
	__atomic_fetch_add(&area->overflow, 1, __ATOMIC_RELAXED);
}

void stats_publish(void)
{
	uint64_t *to;
	int i;

	if (slot) {
		to = &slot->turns;
		if (__libc_single_threaded)
			for (i = 0; i < C_MAX; i++)
				to[i] += self.n[i];
		else
			for (i = 0; i < C_MAX; i++)
				if (self.n[i])
					__atomic_fetch_add(&to[i], self.n[i], __ATOMIC_RELAXED);
	}
	for (i = 0; i < C_MAX; i++)
		self.n[i] = 0;
}
