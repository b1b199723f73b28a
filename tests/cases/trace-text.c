/* SPDX-License-Identifier: MIT */
/*
 * trace-text.c - "trace-text OUT": the text on standard input
 * as a recording; "trace-text -d": a recording as that text.
 */
#include "config.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <analyzer/trace-text.h>

static int to_text(void)
{
	struct trace_reader *r;
	struct trace_event ev;
	enum trace_error e = trace_reader_open(&r, stdin);

	while (!e && !(e = trace_next(r, &ev)))
		trace_text_print(stdout, trace_reader_header(r), &ev);
	trace_reader_free(r);
	if (e == TRACE_CUT)
		puts("cut");
	else if (e != TRACE_EOF)
		fprintf(stderr, "trace-text: %s\n", trace_strerror(e));
	return e == TRACE_EOF || e == TRACE_CUT ? 0 : 2;
}

static int to_trace(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	const char *what = NULL;
	struct trace_writer *w;
	unsigned int line = 0;
	int err;

	if (fd < 0) {
		perror(path);
		return 2;
	}
	err = trace_writer_new(&w, fd);
	if (!err) {
		err = trace_text_parse(stdin, w, &line, &what);
		trace_writer_free(w);
	}
	close(fd);
	if (what)
		fprintf(stderr, "trace-text: line %u: %s\n", line, what);
	else if (err)
		fprintf(stderr, "trace-text: %s\n", strerror(-err));
	return err ? 2 : 0;
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fputs("usage: trace-text OUT < TEXT, or trace-text -d < RECORDING\n", stderr);
		return 64;
	}
	return strcmp(argv[1], "-d") ? to_trace(argv[1]) : to_text();
}
