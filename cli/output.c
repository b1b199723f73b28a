/* SPDX-License-Identifier: MIT */
/*
 * output.c - files that esca writes for its user:
 * checked before the work, replaced as a whole after it.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cli/output.h>

/* A new file beside @path, its name in @tmp; or negative errno. */
static int temporary(char *tmp, size_t size, const char *path)
{
	int fd, n = snprintf(tmp, size, "%s.XXXXXX", path);

	if (n < 0 || (size_t)n >= size)
		return -ENAMETOOLONG;
	fd = mkostemp(tmp, O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int output_check(const char *path)
{
	char tmp[PATH_MAX];
	struct stat st;
	int fd;

	if (!*path)
		return -ENOENT;
	if (!stat(path, &st)) {
		if (S_ISDIR(st.st_mode))
			return -EISDIR;
		if (access(path, W_OK))
			return -errno;
		if (!S_ISREG(st.st_mode))
			return 0;
	} else if (errno != ENOENT || path[strlen(path) - 1] == '/') {
		return -errno;
	}
	fd = temporary(tmp, sizeof(tmp), path);
	if (fd < 0)
		return fd;
	close(fd);
	unlink(tmp);
	return 0;
}

static int dump(const json_t *json, FILE *f)
{
	errno = 0;
	if (json_dumpf(json, f, JSON_INDENT(2) | JSON_REAL_PRECISION(12)) ||
	    fputc('\n', f) == EOF || fflush(f))
		return errno ? -errno : -EIO;
	return 0;
}

int output_json(const json_t *json, const char *path)
{
	char tmp[PATH_MAX];
	struct stat st;
	mode_t mask;
	int fd, ret;
	FILE *f;

	if (!stat(path, &st) && !S_ISREG(st.st_mode)) {
		f = fopen(path, "we");
		if (!f)
			return -errno;
		ret = dump(json, f);
		fclose(f);
		return ret;
	}
	fd = temporary(tmp, sizeof(tmp), path);
	if (fd < 0)
		return fd;
	mask = umask(0);
	umask(mask);
	fchmod(fd, 0666 & ~mask);
	f = fdopen(fd, "w");
	if (!f) {
		ret = -errno;
		close(fd);
		unlink(tmp);
		return ret;
	}
	ret = dump(json, f);
	if (fclose(f) && !ret)
		ret = -errno;
	if (!ret && rename(tmp, path))
		ret = -errno;
	if (ret)
		unlink(tmp);
	return ret;
}

int output_stdout(const json_t *json)
{
	return dump(json, stdout);
}
