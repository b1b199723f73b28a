/* SPDX-License-Identifier: MIT */
/* batch.c - turns that the server's author marks: what esca.h calls. */
#include "config.h"

#include <esca-runtime/handlers.h>

#define API __attribute__((visibility("default")))

API void esca_runtime_begin(void);
API void esca_runtime_end(void);

/* A turn that is marked counts as one with so many events: its author knows that it pays. */
#define MARKED_EVENTS 16

static __thread unsigned int depth; /* begins without their end yet */

/* Nothing to do: another mode, or the runtime is at work under the signal handler that calls. */
static bool idle(void)
{
	return esca_handlers[ROW_write] != run_write || (unlikely(self.bypass) && bypassed());
}

void esca_runtime_begin(void)
{
	struct queue *q;

	if (idle())
		return;
	life_look();
	if (depth++)
		return;
	q = self.q;
	if (q && q->in_turn)
		return;
	if (q && q->small) {
		q->small = false;
		q->in_turn = true;
		return;
	}
	count(C_TURNS, 1);
	turn_begin(MARKED_EVENTS);
}

void esca_runtime_end(void)
{
	if (idle())
		return;
	life_look();
	if (depth && --depth)
		return;
	flush();
	turn_end();
}
