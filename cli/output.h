/* SPDX-License-Identifier: MIT */
/*
 * output.h - files that esca writes for its user:
 * checked before the work, replaced as a whole after it.
 */
#ifndef ESCA_CLI_OUTPUT_H
#define ESCA_CLI_OUTPUT_H

#include <jansson.h>

/**
 * output_check() - could output_json() write @path now?
 * Nothing is left behind. Return: 0, or negative errno.
 */
int output_check(const char *path);

/**
 * output_json() - replace @path by @json, as a whole: a reader sees the old or the new file. What
 * is not a regular file
 * (/dev/stdout, a pipe) is written in place. Return: 0, or negative errno.
 */
int output_json(const json_t *json, const char *path);

/** output_stdout() - print @json. Return: 0, or negative errno. */
int output_stdout(const json_t *json);

#endif
