/* SPDX-License-Identifier: MIT */
/*
 * fuzz-main.c - replay files through a fuzz target; directories
 * are replayed file by file. Stands in for libFuzzer.
 */
#include "config.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

static unsigned int replayed;

/* The file, each of its prefixes of some length, and the file with a byte changed in many places.
 */
static void replay(uint8_t *data, size_t size)
{
	LLVMFuzzerTestOneInput(data, size);
	for (size_t n = 0; n < size; n += 1 + size / 64)
		LLVMFuzzerTestOneInput(data, n);
	for (size_t i = 0; i < size; i += 1 + size / 256) {
		uint8_t was = data[i];

		data[i] = (uint8_t)(was ^ (1u << (i % 8)));
		LLVMFuzzerTestOneInput(data, size);
		data[i] = 0xff;
		LLVMFuzzerTestOneInput(data, size);
		data[i] = was;
	}
	replayed++;
}

static int replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data;
	struct stat st;

	if (!f || fstat(fileno(f), &st)) {
		perror(path);
		return 1;
	}
	data = malloc((size_t)st.st_size + 1);
	if (!data || fread(data, 1, (size_t)st.st_size, f) != (size_t)st.st_size) {
		perror(path);
		fclose(f);
		free(data);
		return 1;
	}
	fclose(f);
	replay(data, (size_t)st.st_size);
	free(data);
	return 0;
}

static int replay_path(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *e;
	int bad = 0;

	if (!dir)
		return replay_file(path);
	while ((e = readdir(dir))) {
		char file[PATH_MAX];

		if (e->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
		bad |= replay_file(file);
	}
	closedir(dir);
	return bad;
}

int main(int argc, char **argv)
{
	int bad = 0;

	for (int i = 1; i < argc; i++)
		bad |= replay_path(argv[i]);
	printf("%u files replayed\n", replayed);
	return bad || !replayed;
}
