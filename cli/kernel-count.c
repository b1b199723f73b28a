/* SPDX-License-Identifier: MIT */
/* kernel-count.c - how many system calls the kernel saw of a server. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cli/kernel-count.h>
#include <cli/probe.h>
#include <cli/stats.h>

#define WHY(k, ...) snprintf((k)->why, sizeof((k)->why), __VA_ARGS__)

static const char *const id_files[] = {
	"/sys/kernel/tracing/events/raw_syscalls/sys_enter/id",
	"/sys/kernel/debug/tracing/events/raw_syscalls/sys_enter/id",
};

void kernel_count_open(struct kernel_count *k, pid_t pid)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(attr),
		.disabled = 1,
		.inherit = 1,
		.enable_on_exec = 1,
	};
	char line[32];

	k->fd = -1;
	for (size_t i = 0; !attr.config && i < sizeof(id_files) / sizeof(id_files[0]); i++)
		if (probe_file(id_files[i], line, sizeof(line)))
			attr.config = strtoull(line, NULL, 10);
	if (!attr.config) {
		WHY(k, "the tracepoint raw_syscalls:sys_enter cannot be read here; root may");
		return;
	}
	k->fd = (int)syscall(SYS_perf_event_open, &attr, pid, -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (k->fd < 0)
		WHY(k, "the kernel does not let us count calls: %s", strerror(errno));
}

void kernel_count_find(struct kernel_count *k, pid_t pid)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct dirent *d;
	char path[64];
	DIR *dir;

	k->fd = -1;
	WHY(k, "esca run was started without --count-kernel");
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = pidfd >= 0 ? opendir(path) : NULL;
	while (dir && k->fd < 0 && (d = readdir(dir))) {
		char name[64];
		ssize_t n = readlinkat(dirfd(dir), d->d_name, name, sizeof(name) - 1);

		if (n <= 0)
			continue;
		name[n] = '\0';
		if (strcmp(name, "anon_inode:[perf_event]"))
			continue;
		k->fd = (int)syscall(SYS_pidfd_getfd, pidfd, atoi(d->d_name), 0);
		if (k->fd < 0)
			WHY(k, "the counter of esca run cannot be read: %s", strerror(errno));
	}
	if (dir)
		closedir(dir);
	if (pidfd >= 0)
		close(pidfd);
}

void kernel_count_close(struct kernel_count *k)
{
	if (k->fd >= 0)
		close(k->fd);
	k->fd = -1;
}

void kernel_count_to_json(const struct kernel_count *k, const struct esca_stats_area *area,
			  json_t *json)
{
	struct esca_stats_slot total;
	uint64_t calls;

	/* First what is never more. */
	stats_total(area, &total);
	if (k->fd < 0 || read(k->fd, &calls, sizeof(calls)) != (ssize_t)sizeof(calls)) {
		json_object_set_new(json, "kernel_calls", json_null());
		json_object_set_new(json, "unseen", json_null());
		json_object_set_new(json, "unseen_because",
				    json_string(k->fd < 0 ? k->why : "it cannot be read"));
		return;
	}
	json_object_set_new(json, "kernel_calls", json_integer((json_int_t)calls));
	json_object_set_new(
		json, "unseen",
		json_integer(calls > total.crossings ? (json_int_t)(calls - total.crossings) : 0));
}
