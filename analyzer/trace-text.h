/* SPDX-License-Identifier: MIT */
/* trace-text.h - a recording as text that a person can write, for the cases of the test suite; the
 * form is told in trace-text.c. */
#ifndef ESCA_ANALYZER_TRACE_TEXT_H
#define ESCA_ANALYZER_TRACE_TEXT_H

#include <analyzer/trace.h>

/**
 * trace_text_parse() - turn the text in @f into records for @w; an END record is written if the
 * text does not end in "cut". Return: 0; -EINVAL and *@line, *@what say where the text is wrong and
 * why; or the writer's error.
 */
int trace_text_parse(FILE *f, struct trace_writer *w, unsigned int *line, const char **what);

/** trace_text_print() - one event as a line of that text; SYNC and END have none. @h: to tell times
 * from the recording's begin. */
void trace_text_print(FILE *f, const struct trace_file_header *h, const struct trace_event *ev);

#endif
