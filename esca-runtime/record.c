/* SPDX-License-Identifier: MIT */
/* record.c - mode record. */
#include "config.h"

#include <errno.h>

#include <esca-runtime/runtime.h>

int record_start(const struct esca_plan *plan)
{
	return -ENOSYS;
}
