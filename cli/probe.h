/* SPDX-License-Identifier: MIT */
/* probe.h - what this host allows, found out by trying it. */
#ifndef ESCA_CLI_PROBE_H
#define ESCA_CLI_PROBE_H

#include <stdbool.h>
#include <stddef.h>

enum probe_state {
	PROBE_YES,
	PROBE_NO,
	PROBE_NOTE, /* neither good nor bad, but worth knowing */
};

/**
 * struct probe_check - one thing looked at.
 * @id: stable, for scripts. @needed: without it trace, run or bench does not work.
 * @found: what is there. @todo: what to do about it, a sentence; empty if nothing.
 */
struct probe_check {
	const char *id;
	const char *title;
	bool needed;
	enum probe_state state;
	char found[192];
	char todo[256];
};

#define PROBE_MAX 24

/**
 * probe_all() - look at everything; children are started and
 * waited for. Return: how many of @list (PROBE_MAX) were filled.
 */
size_t probe_all(struct probe_check *list);

/**
 * probe_uring() - can the uring backend be used in a server started from here?
 * Return: true, or false and in @why half a sentence that goes on after "because".
 */
bool probe_uring(char *why, size_t size);

/** probe_file() - the first line of a file, such as one in /proc/sys; false if it cannot be read.
 */
bool probe_file(const char *path, char *line, size_t size);

#endif
