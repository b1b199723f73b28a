/* SPDX-License-Identifier: MIT */
/* plan.h - choose a backend for libesca.so and tell it the plan, by the environment of the server.
 */
#ifndef ESCA_CLI_PLAN_H
#define ESCA_CLI_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include <esca-runtime/plan.h>

enum plan_backend {
	PLAN_AUTO,
	PLAN_DIRECT,
	PLAN_URING
};

/**
 * struct plan_options - how the user wants a server aggregated. @fuse: bit 1 << enum esca_fusion.
 * @calls, @bytes: what may wait in one thread; @age_us: for how long, when its next call is made.
 */
struct plan_options {
	enum plan_backend backend;
	unsigned int fuse, calls, bytes, age_us;
	bool allow_unseen; /* also where some calls do not go through libc (reach.h) */
};

#define PLAN_DEFAULT                                                                               \
	((struct plan_options){.backend = PLAN_AUTO,                                               \
			       .fuse = ESCA_FUSE_DEFAULT,                                          \
			       .calls = ESCA_QUEUE_CALLS,                                          \
			       .bytes = ESCA_QUEUE_BYTES,                                          \
			       .age_us = ESCA_QUEUE_AGE})

/** plan_fusion() - the bits of the fusion named by the first @len bytes of @name; of "all", each; 0
 * for anything else. plan_fusion_names: all of them, with commas. */
unsigned int plan_fusion(const char *name, size_t len);
extern const char plan_fusion_names[];

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
 * plan_preload() - put @library, and @second unless that is NULL, first in LD_PRELOAD of our own
 * environment, before what is there. Return: 0, or -EINVAL if the path has a space or colon, which
 * the loader takes for the end of it.
 */
int plan_preload(const char *library, const char *second);

/**
 * plan_run() - set ESCA_PLAN_ENV for mode run. @backend: the one that plan_choose() gave. @stats:
 * the counters' path, or NULL.
 */
int plan_run(const struct plan_options *o, enum plan_backend backend, const char *stats);

#endif
