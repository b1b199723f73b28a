/* SPDX-License-Identifier: MIT */
/*
 * recording.h - open a recording that the user named,
 * and say in one sentence what is wrong with it.
 */
#ifndef ESCA_CLI_RECORDING_H
#define ESCA_CLI_RECORDING_H

#include <stdio.h>

#include <analyzer/trace.h>

#define RECORDING_DEFAULT "esca.data"

/**
 * recording_open() - open @path ("-": standard input) for reading. Return: NULL after msg_perror().
 */
FILE *recording_open(const char *path);

/**
 * recording_end() - say how reading @path ended, if that is anything but its END record; @shown
 * says what was done with it. Return: the exit status: ESCA_EXIT_OK also for a cut recording (a
 * warning), ESCA_EXIT_FAILED for anything else.
 */
int recording_end(const char *path, enum trace_error e, const char *shown);

#endif
