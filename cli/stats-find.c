/* SPDX-License-Identifier: MIT */
/*
 * stats-find.c - find the counters of a running server from the outside.
 *
 * esca run, an ancestor of all that it started, holds the area open; processes that descend from it
 * have it mapped. Their environment, which names it too, many servers overwrite with a title.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cli/stats.h>

static bool is_area(const char *name)
{
	return !strncmp(name, "/memfd:" STATS_NAME, strlen("/memfd:" STATS_NAME));
}

/* Open what is the area among the links of folder @path. Return: a descriptor, or negative errno.
 */
static int open_link(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *d;
	int fd = -ENOENT;

	if (!dir)
		return errno == EPERM ? -EACCES : -errno;
	while (fd == -ENOENT && (d = readdir(dir))) {
		char name[PATH_MAX];
		ssize_t n = readlinkat(dirfd(dir), d->d_name, name, sizeof(name) - 1);

		if (n < 0 && (errno == EACCES || errno == EPERM))
			fd = -EACCES;
		if (n <= 0)
			continue;
		name[n] = '\0';
		if (!is_area(name))
			continue;
		fd = openat(dirfd(dir), d->d_name, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			fd = errno == EPERM ? -EACCES : -errno;
	}
	closedir(dir);
	return fd;
}

/* The parent of @pid, 0 if it has none or is gone. */
static pid_t parent_of(pid_t pid)
{
	char path[64], line[256];
	pid_t parent = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "PPid: %d", &parent) == 1)
			break;
	fclose(f);
	return parent;
}

/* Is the area mapped in @pid? Return: 1, 0, or negative errno. */
static int is_mapped(pid_t pid)
{
	char path[64], *line = NULL;
	size_t size = 0;
	int found = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return errno == EPERM ? -EACCES : -errno;
	while (!found && getline(&line, &size, f) > 0) {
		char *name = strchr(line, '/');

		found = name && is_area(name);
	}
	free(line);
	fclose(f);
	return found;
}

static int find(pid_t pid, pid_t *owner)
{
	int fd, denied = 0, mapped;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	if (access(path, F_OK))
		return -ESRCH;
	mapped = is_mapped(pid);
	for (pid_t p = pid; p > 0; p = parent_of(p)) {
		snprintf(path, sizeof(path), "/proc/%d/fd", (int)p);
		fd = open_link(path);
		if (fd >= 0) {
			*owner = p;
			return fd;
		}
		if (fd == -EACCES)
			denied = fd;
	}
	/* esca run is gone: the area lives on in the server. Root may open what is mapped. */
	if (mapped > 0) {
		snprintf(path, sizeof(path), "/proc/%d/map_files", (int)pid);
		fd = open_link(path);
		if (fd >= 0)
			return fd;
		denied = -EACCES;
	}
	if (mapped == -EACCES)
		denied = mapped;
	/* With nothing mapped, what could not be looked at was not esca run's. */
	return mapped == 0 || !denied ? -ENOENT : denied;
}

int stats_find(struct stats *s, pid_t pid)
{
	struct stat st;
	int ret = 0;

	memset(s, 0, sizeof(*s));
	s->fd = find(pid, &s->owner);
	if (s->fd < 0)
		return s->fd;
	if (fstat(s->fd, &st)) {
		ret = -errno;
	} else if (st.st_size != (off_t)sizeof(*s->area)) {
		ret = -EPROTO;
	} else {
		s->area = mmap(NULL, sizeof(*s->area), PROT_READ, MAP_SHARED, s->fd, 0);
		if (s->area == MAP_FAILED) {
			ret = -errno;
			s->area = NULL;
		} else if (s->area->magic != ESCA_STATS_MAGIC || s->area->abi != ESCA_PLAN_ABI) {
			ret = -EPROTO;
		}
	}
	if (ret)
		stats_close(s);
	return ret;
}
