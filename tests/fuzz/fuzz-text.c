/* SPDX-License-Identifier: MIT */
/* fuzz-text.c - any bytes as the text of a recording. */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <analyzer/trace-text.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FILE *f = fmemopen((void *)(uintptr_t)data, size ? size : 1, "r");
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	const char *what = NULL;
	unsigned int line = 0;
	struct trace_writer *w;

	if (!f || fd < 0 || trace_writer_new(&w, fd))
		abort();
	/* Many repeats are no fault, and take long. */
	if (!memmem(data, size, "repeat", 6)) {
		int err = trace_text_parse(f, w, &line, &what);

		if (what && (!line || !*what || !err))
			abort();
	}
	trace_writer_free(w);
	close(fd);
	fclose(f);
	return 0;
}
