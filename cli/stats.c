/* SPDX-License-Identifier: MIT */
/* stats.c - the counters that libesca.so shares with us, and their JSON. */
#include "config.h"

#include <errno.h>
#include <stdbool.h>
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
	{"answered", offsetof(struct esca_stats_slot, answered)},
	{"short", offsetof(struct esca_stats_slot, short_writes)},
	{"errors", offsetof(struct esca_stats_slot, errors)},
	{"spills", offsetof(struct esca_stats_slot, spills)},
	{"bytes_copied", offsetof(struct esca_stats_slot, bytes_copied)},
};

#define NCOUNTERS (sizeof(counters) / sizeof(counters[0]))

static const char *const fusions[] = {
#define NAME(id, name, on) name,
	ESCA_FUSIONS(NAME)
#undef NAME
};

static const char *const reasons[] = {
#define NAME(id, name) name,
	ESCA_REASONS(NAME)
#undef NAME
};

/* All counters of a slot, as one list. */
#define SLOT_WORDS                                                                                 \
	((sizeof(struct esca_stats_slot) - offsetof(struct esca_stats_slot, turns)) /              \
	 sizeof(uint64_t))

static uint64_t sum(const uint64_t *v, size_t n)
{
	uint64_t s = 0;

	for (size_t i = 0; i < n; i++)
		s += v[i];
	return s;
}

uint64_t stats_fused(const struct esca_stats_slot *slot)
{
	return sum(slot->fused, ESCA_FUSE_MAX);
}

double stats_delay_us(const struct esca_stats_slot *slot, double quantile)
{
	uint64_t all = sum(slot->delay, ESCA_DELAY_BUCKETS), below = 0;
	unsigned int i;

	if (!all || !slot->ticks_per_us)
		return 0;
	for (i = 0; i < ESCA_DELAY_BUCKETS - 1; i++) {
		below += slot->delay[i];
		if ((double)below >= quantile * (double)all)
			break;
	}
	/* The upper bound of the bucket: never less than it was. */
	return (double)esca_delay_floor(i + 1) / (double)slot->ticks_per_us;
}

int stats_open(struct stats *s)
{
	int ret;

	s->area = NULL;
	s->fd = memfd_create(STATS_NAME, MFD_CLOEXEC);
	if (s->fd < 0)
		return -errno;
	if (ftruncate(s->fd, sizeof(*s->area)))
		goto fail;
	s->area = mmap(NULL, sizeof(*s->area), PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
	if (s->area == MAP_FAILED)
		goto fail;
	s->area->magic = ESCA_STATS_MAGIC;
	s->area->abi = ESCA_PLAN_ABI;
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

/* A copy of what may be counting up meanwhile. */
static void read_slot(struct esca_stats_slot *to, const struct esca_stats_slot *slot)
{
	const uint64_t *from = &slot->turns;
	uint64_t *v = &to->turns;

	to->pid = __atomic_load_n(&slot->pid, __ATOMIC_ACQUIRE);
	to->backend = slot->backend;
	to->ticks_per_us = slot->ticks_per_us;
	for (size_t i = 0; i < SLOT_WORDS; i++)
		v[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

static void add_slot(struct esca_stats_slot *total, const struct esca_stats_slot *slot)
{
	uint64_t *to = &total->turns;
	const uint64_t *from = &slot->turns;

	if (slot->backend > total->backend)
		total->backend = slot->backend;
	if (slot->ticks_per_us)
		total->ticks_per_us = slot->ticks_per_us;
	for (size_t k = 0; k < SLOT_WORDS; k++)
		to[k] += from[k];
}

void stats_total(const struct esca_stats_area *area, struct esca_stats_slot *total)
{
	memset(total, 0, sizeof(*total));
	for (unsigned int i = 0; i < ESCA_STATS_SLOTS; i++) {
		struct esca_stats_slot slot;

		read_slot(&slot, &area->slot[i]);
		if (!slot.pid)
			break;
		total->pid++;
		add_slot(total, &slot);
	}
}

static json_t *by_name(const uint64_t *v, const char *const *names, size_t n)
{
	json_t *json = json_object();

	for (size_t i = 0; i < n; i++)
		json_object_set_new(json, names[i], json_integer((json_int_t)v[i]));
	return json;
}

static void set_counters(json_t *json, const struct esca_stats_slot *slot)
{
	for (size_t i = 0; i < NCOUNTERS; i++) {
		uint64_t v = *(const uint64_t *)((const char *)slot + counters[i].offset);

		json_object_set_new(json, counters[i].name, json_integer((json_int_t)v));
	}
	json_object_set_new(json, "fused", json_integer((json_int_t)stats_fused(slot)));
	json_object_set_new(json, "fused_by", by_name(slot->fused, fusions, ESCA_FUSE_MAX));
	json_object_set_new(json, "passed",
			    json_integer((json_int_t)sum(slot->passed, ESCA_PASS_MAX)));
	json_object_set_new(json, "passed_by", by_name(slot->passed, reasons, ESCA_PASS_MAX));
	json_object_set_new(json, "delay_us",
			    json_pack("{s:f, s:f}", "p50", stats_delay_us(slot, 0.50), "p99",
				      stats_delay_us(slot, 0.99)));
}

/* Was the process of slot @i in an earlier one too? */
static bool seen(const struct esca_stats_area *area, unsigned int i)
{
	for (unsigned int k = 0; k < i; k++)
		if (area->slot[k].pid == area->slot[i].pid)
			return true;
	return false;
}

/* The sum over the threads of the process of slot @first. */
static json_t *process_to_json(const struct esca_stats_area *area, unsigned int first)
{
	struct esca_stats_slot all = {0}, slot;
	uint32_t pid = area->slot[first].pid;
	json_t *json;

	for (unsigned int i = first; i < ESCA_STATS_SLOTS; i++) {
		read_slot(&slot, &area->slot[i]);
		if (!slot.pid)
			break;
		if (slot.pid == pid)
			add_slot(&all, &slot);
	}
	json = json_pack("{s:I, s:s}", "pid", (json_int_t)pid, "backend",
			 all.backend == 1 ? "uring" : "direct");
	set_counters(json, &all);
	return json;
}

json_t *stats_to_json(const struct esca_stats_area *area)
{
	json_t *json = json_object(), *list = json_array(), *total = json_object();
	struct esca_stats_slot all;

	for (unsigned int i = 0; i < ESCA_STATS_SLOTS; i++) {
		if (!__atomic_load_n(&area->slot[i].pid, __ATOMIC_ACQUIRE))
			break;
		if (!seen(area, i))
			json_array_append_new(list, process_to_json(area, i));
	}
	stats_total(area, &all);
	set_counters(total, &all);
	json_object_set_new(json, "processes", list);
	json_object_set_new(json, "total", total);
	json_object_set_new(
		json, "uncounted_threads",
		json_integer((json_int_t)__atomic_load_n(&area->overflow, __ATOMIC_RELAXED)));
	return json;
}
