/* SPDX-License-Identifier: MIT */
/*
 * reach.h - which calls of a server libesca.so cannot see, since they do not go through libc: by
 * what is in its files (reach.c), by what a recording shows (reach-recording.c).
 */
#ifndef ESCA_CLI_REACH_H
#define ESCA_CLI_REACH_H

#include <limits.h>
#include <stdint.h>

#include <cli/target.h>

enum reach_verdict {
	REACH_ALL,    /* nothing was found that it would not see */
	REACH_PART,   /* some calls it would not see; of no harm, as far as one can tell */
	REACH_UNSAFE, /* what it answers could be overtaken by, or wait for, what it does not see */
	REACH_NONE,   /* it would see nothing worth seeing */
};

/** struct reach - a verdict, and the sentence that goes with all but REACH_ALL. */
struct reach {
	enum reach_verdict verdict;
	char sentence[3 * PATH_MAX];
};

/**
 * reach_look() - look into the program of @t and all that it is linked with. What it loads later by
 * itself is not known.
 */
void reach_look(struct reach *r, const struct target *t);

/**
 * reach_recording() - what the recording at @path, made by the ring lane, shows of @t. Return: 0,
 * or an exit status; then what is wrong with the recording has been said.
 */
int reach_recording(struct reach *r, const struct target *t, const char *path);

/**
 * reach_check() - both, as an option asked for (@recording: NULL for none), and say what was found:
 * an error for what is not to be run, a warning for the rest. @allow: run it nevertheless.
 * Return: 0, or an exit status.
 */
int reach_check(const struct target *t, const char *recording, int allow);

#endif
