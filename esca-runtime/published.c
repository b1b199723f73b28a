/* SPDX-License-Identifier: MIT */
/*
 * published.c - libesca-published.so: the names that servers patched for the published ESCA (PDP
 * 2022) call. 'esca run' loads it into those only, since another program may well have a
 * batch_flush of its own.
 */
#include "config.h"

#include <esca-runtime/esca.h>

#define API __attribute__((visibility("default")))

API long esca_init(void);
API long batch_start(int events);
API long batch_flush(void);

static __thread int begun; /* there, starts are not counted: the next flush ends them all */

long esca_init(void)
{
	return 0;
}

long batch_start(int events)
{
	if (!begun)
		esca_batch_begin();
	begun = 1;
	return 0;
}

long batch_flush(void)
{
	if (begun)
		esca_batch_end();
	begun = 0;
	return 0;
}
