/* SPDX-License-Identifier: MIT */
/*
 * kernel-count.h - how many system calls the kernel saw of a server, beside what libesca.so
 * counted.
 *
 * By the tracepoint raw_syscalls:sys_enter, which slows every call on the host that is made while
 * somebody counts: only where it is asked for.
 */
#ifndef ESCA_CLI_KERNEL_COUNT_H
#define ESCA_CLI_KERNEL_COUNT_H

#include <sys/types.h>

#include <jansson.h>

#include <esca-runtime/plan.h>

/** struct kernel_count - @fd: the counter, -1: none, then @why is half a sentence after "because".
 */
struct kernel_count {
	int fd;
	char why[128];
};

/**
 * kernel_count_open() - count the calls of @pid, a child that has not yet called exec, and of all
 * that will descend from it, from the exec on. Fills *@k in any case.
 */
void kernel_count_open(struct kernel_count *k, pid_t pid);

/** kernel_count_find() - the counter that esca run, process @pid, holds. Fills *@k in any case. */
void kernel_count_find(struct kernel_count *k, pid_t pid);
void kernel_count_close(struct kernel_count *k);

/**
 * kernel_count_to_json() - put "kernel_calls" and "unseen" into @json, null where not counted, then
 * "unseen_because". @area: what libesca.so counted.
 */
void kernel_count_to_json(const struct kernel_count *k, const struct esca_stats_area *area,
			  json_t *json);

#endif
