/* SPDX-License-Identifier: MIT */
/* run.c - mode run. */
#include "config.h"

#include <errno.h>

#include <esca-runtime/runtime.h>

int run_start(const struct esca_plan *plan)
{
	return -ENOSYS;
}
