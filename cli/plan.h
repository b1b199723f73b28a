/* SPDX-License-Identifier: MIT */
/* plan.h - choose a backend for libesca.so and tell it the plan, by the environment of the server.
 */
#ifndef ESCA_CLI_PLAN_H
#define ESCA_CLI_PLAN_H

#include <stdbool.h>

enum plan_backend {
	PLAN_AUTO,
	PLAN_DIRECT,
	PLAN_URING
};

/**
 * struct plan_choice - which backend, and why.
 * @fallback: another one than asked for.
 * @why: half a sentence that goes on after "because".
 */
struct plan_choice {
	enum plan_backend backend; /* never PLAN_AUTO */
	bool fallback;
	char why[160];
};

/** plan_backend_parse() - "auto", "direct" or "uring". Return: false for anything else. */
bool plan_backend_parse(enum plan_backend *b, const char *name);
const char *plan_backend_name(enum plan_backend b);

/**
 * plan_choose() - the backend for @asked on this host;
 * takes a few milliseconds of measuring for PLAN_AUTO.
 */
void plan_choose(struct plan_choice *choice, enum plan_backend asked);

/**
 * plan_preload() - put @library first in LD_PRELOAD of our own environment, before what is there.
 * Return: 0, or -EINVAL if the path has a space or colon, which the loader takes for the end of it.
 */
int plan_preload(const char *library);

/** plan_run() - set ESCA_PLAN_ENV for mode run. @stats: the counters' path, or NULL. */
int plan_run(enum plan_backend backend, const char *stats);

#endif
