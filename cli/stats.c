/* SPDX-License-Identifier: MIT */
/* stats.c - the counters that libesca.so shares with us, and their JSON. */
#include "config.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cli/stats.h>

static const struct {
	const char *name;
	size_t offset;
} counters[] = {
	{"turns", offsetof(struct esca_stats_slot, turns)},
	{"calls", offsetof(struct esca_stats_slot, calls)},
	{"crossings", offsetof(struct esca_stats_slot, crossings)},
	{"deferred", offsetof(struct esca_stats_slot, deferred)},
	{"fused", offsetof(struct esca_stats_slot, fused)},
	{"passed", offsetof(struct esca_stats_slot, passed)},
	{"short", offsetof(struct esca_stats_slot, short_writes)},
	{"errors", offsetof(struct esca_stats_slot, errors)},
	{"spills", offsetof(struct esca_stats_slot, spills)},
	{"bytes_copied", offsetof(struct esca_stats_slot, bytes_copied)},
};

#define NCOUNTERS (sizeof(counters) / sizeof(counters[0]))

static uint64_t counter(const struct esca_stats_slot *slot, size_t i)
{
	return __atomic_load_n((const uint64_t *)((const char *)slot + counters[i].offset),
			       __ATOMIC_RELAXED);
}

int stats_open(struct stats *s)
{
	int ret;

	s->area = NULL;
	s->fd = memfd_create("esca-stats", MFD_CLOEXEC);
	if (s->fd < 0)
		return -errno;
	if (ftruncate(s->fd, sizeof(*s->area)))
		goto fail;
	s->area = mmap(NULL, sizeof(*s->area), PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
	if (s->area == MAP_FAILED)
		goto fail;
	s->area->magic = ESCA_STATS_MAGIC;
	s->area->nslots = ESCA_STATS_SLOTS;
	snprintf(s->path, sizeof(s->path), "/proc/%d/fd/%d", (int)getpid(), s->fd);
	return 0;
fail:
	ret = -errno;
	close(s->fd);
	s->area = NULL;
	s->fd = -1;
	return ret;
}

void stats_close(struct stats *s)
{
	if (s->area)
		munmap(s->area, sizeof(*s->area));
	if (s->fd >= 0)
		close(s->fd);
	s->area = NULL;
	s->fd = -1;
}

void stats_total(const struct esca_stats_area *area, struct esca_stats_slot *total)
{
	memset(total, 0, sizeof(*total));
	for (unsigned int i = 0; i < ESCA_STATS_SLOTS; i++) {
		const struct esca_stats_slot *slot = &area->slot[i];

		if (!__atomic_load_n(&slot->pid, __ATOMIC_ACQUIRE))
			continue;
		total->pid++;
		if (slot->backend > total->backend)
			total->backend = slot->backend;
		for (size_t k = 0; k < NCOUNTERS; k++)
			*(uint64_t *)((char *)total + counters[k].offset) += counter(slot, k);
	}
}

static void set_counters(json_t *json, const struct esca_stats_slot *slot)
{
	for (size_t i = 0; i < NCOUNTERS; i++)
		json_object_set_new(json, counters[i].name,
				    json_integer((json_int_t)counter(slot, i)));
}

json_t *stats_to_json(const struct esca_stats_area *area)
{
	json_t *json = json_object(), *list = json_array(), *total = json_object();
	struct esca_stats_slot sum;

	for (unsigned int i = 0; i < ESCA_STATS_SLOTS; i++) {
		const struct esca_stats_slot *slot = &area->slot[i];
		uint32_t pid = __atomic_load_n(&slot->pid, __ATOMIC_ACQUIRE);
		json_t *p;

		if (!pid)
			continue;
		p = json_pack("{s:I, s:s}", "pid", (json_int_t)pid, "backend",
			      slot->backend == 1 ? "uring" : "direct");
		set_counters(p, slot);
		json_array_append_new(list, p);
	}
	stats_total(area, &sum);
	set_counters(total, &sum);
	json_object_set_new(json, "processes", list);
	json_object_set_new(json, "total", total);
	json_object_set_new(
		json, "uncounted_processes",
		json_integer((json_int_t)__atomic_load_n(&area->overflow, __ATOMIC_RELAXED)));
	return json;
}
