/* SPDX-License-Identifier: MIT */
/* plan.c - choose a backend for libesca.so and tell it the plan, by the environment of the server.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cli/calibrate.h>
#include <cli/plan.h>
#include <cli/probe.h>

/*
 * Turns of at least this many queued calls are where
 * io_uring is used, so its enter is shared by as many.
 */
#define URING_BATCH 8

/* What is gained must be more than what the calibration may be off by. */
#define URING_MARGIN 1.2

static const char *const names[] = {
	[PLAN_AUTO] = "auto",
	[PLAN_DIRECT] = "direct",
	[PLAN_URING] = "uring",
};

bool plan_backend_parse(enum plan_backend *b, const char *name)
{
	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(names[i], name)) {
			*b = (enum plan_backend)i;
			return true;
		}
	return false;
}

const char *plan_backend_name(enum plan_backend b)
{
	return names[b];
}

static const char *const fusion_names[] = {
#define NAME(id, name, on) name,
	ESCA_FUSIONS(NAME)
#undef NAME
};

#define NAME(id, name, on) name ", "
const char plan_fusion_names[] = ESCA_FUSIONS(NAME) "all";
#undef NAME

unsigned int plan_fusion(const char *name, size_t len)
{
	if (len == strlen("all") && !strncmp(name, "all", len))
		return (1u << ESCA_FUSE_MAX) - 1;
	for (unsigned int f = 0; f < ESCA_FUSE_MAX; f++)
		if (strlen(fusion_names[f]) == len && !strncmp(name, fusion_names[f], len))
			return 1u << f;
	return 0;
}

void plan_choose(struct plan_choice *choice, enum plan_backend asked)
{
	struct cost c;
	double uring;

	memset(choice, 0, sizeof(*choice));
	choice->backend = PLAN_DIRECT;
	if (asked == PLAN_DIRECT) {
		snprintf(choice->why, sizeof(choice->why), "you asked for it");
		return;
	}
	if (!probe_uring(choice->why, sizeof(choice->why))) {
		choice->fallback = asked == PLAN_URING;
		return;
	}
	if (asked == PLAN_URING) {
		choice->backend = PLAN_URING;
		snprintf(choice->why, sizeof(choice->why), "you asked for it");
		return;
	}
	calibrate_backends(&c);
	uring = c.uring_op + c.uring_enter / URING_BATCH;
	if (c.uring && c.crossing > URING_MARGIN * uring)
		choice->backend = PLAN_URING;
	snprintf(choice->why, sizeof(choice->why),
		 "a crossing costs %.0f ns here and an operation through io_uring %.0f ns",
		 c.crossing, uring);
}

int plan_preload(const char *library, const char *second)
{
	const char *users = getenv("LD_PRELOAD");
	char *value;
	int ret = 0;

	if (strpbrk(library, " :"))
		return -EINVAL;
	if (asprintf(&value, "%s%s%s%s%s", library, second ? ":" : "", second ? second : "",
		     users && *users ? ":" : "", users ? users : "") < 0)
		return -ENOMEM;
	if (setenv("LD_PRELOAD", value, 1))
		ret = -errno;
	free(value);
	return ret;
}

int plan_run(const struct plan_options *o, enum plan_backend backend, const char *stats)
{
	char value[256];
	int n = snprintf(value, sizeof(value),
			 "abi=%d mode=run backend=%s fuse=%x calls=%u bytes=%u age=%u%s%s",
			 ESCA_PLAN_ABI, plan_backend_name(backend), o->fuse, o->calls, o->bytes,
			 o->age_us, stats ? " stats=" : "", stats ? stats : "");

	if (n < 0 || (size_t)n >= sizeof(value))
		return -ENAMETOOLONG;
	return setenv(ESCA_PLAN_ENV, value, 1) ? -errno : 0;
}
