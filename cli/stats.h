/* SPDX-License-Identifier: MIT */
/* stats.h - the counters that libesca.so shares with us, and their JSON. */
#ifndef ESCA_CLI_STATS_H
#define ESCA_CLI_STATS_H

#include <stddef.h>
#include <sys/types.h>

#include <jansson.h>

#include <esca-runtime/plan.h>

/** struct stats - the shared area: @path is what the plan names, valid while this process lives. */
struct stats {
	struct esca_stats_area *area;
	int fd;
	pid_t owner; /* of one that was found: who holds it open, 0 if nobody does */
	char path[64];
};

/** stats_open() - a fresh area. Return: 0, or negative errno. */
int stats_open(struct stats *s);
void stats_close(struct stats *s);

/**
 * stats_find() - the area that process @pid counts into, which is esca run itself or runs under it;
 * to be read only (stats-find.c).
 * Return: 0; -ESRCH no such process, -ENOENT it has none, -EACCES it may not be looked at, -EPROTO
 * the area is not of this version, or another negative errno.
 */
int stats_find(struct stats *s, pid_t pid);

/** STATS_NAME - what the kernel calls the area's file. */
#define STATS_NAME "esca-stats"

/** stats_total() - the sum over all threads; pid is their number, backend the highest one in use.
 */
void stats_total(const struct esca_stats_area *area, struct esca_stats_slot *total);

/** stats_fused() - calls that needed no operation of their own, whatever the fusion. */
uint64_t stats_fused(const struct esca_stats_slot *slot);

/** stats_delay_us() - a quantile (0 to 1) of how long deferred operations waited, in microseconds.
 */
double stats_delay_us(const struct esca_stats_slot *slot, double quantile);

/** stats_to_json() - "processes" and "total" as esca-run(1) documents them, or NULL without memory.
 */
json_t *stats_to_json(const struct esca_stats_area *area);

#endif
