/* SPDX-License-Identifier: MIT */
/* render.c - the formats of a report, and the words they share. */
#include "config.h"

#include <string.h>

#include <analyzer/render.h>

static const struct renderer *const renderers[] = {
	&render_text,
	&render_json,
};

const struct renderer *renderer_by_name(const char *name)
{
	for (size_t i = 0; i < sizeof(renderers) / sizeof(renderers[0]); i++)
		if (!strcmp(renderers[i]->name, name))
			return renderers[i];
	return NULL;
}

const char *distrust_text(enum distrust d)
{
	switch (d) {
	case TRUSTED:
		return "";
	case DISTRUST_NO_LOOP:
		return "No event loop was found: the program does not wait for many connections at "
		       "once, so there is nothing to gather.";
	case DISTRUST_STOPPED:
		return "No saving is quoted: every call was stopped to record it (--method "
		       "ptrace), so durations and the number of requests in a turn are not the "
		       "server's own; record without --method ptrace.";
	case DISTRUST_NO_COST:
		return "No saving is quoted: the cost of a crossing is not known; see 'esca "
		       "doctor'.";
	case DISTRUST_NO_CPU:
		return "No saving is quoted: the recording does not say what CPU time the server "
		       "used.";
	case DISTRUST_CPU:
		return "No saving is quoted: the calls took longer than the CPU time that the "
		       "server is said to have used; record again where it does not have to share "
		       "its processor.";
	}
	return "";
}

const char *kind_verdict(const struct kind_tally *k, enum reason *why)
{
	unsigned int v = 0;
	uint64_t fused = k->outcome[OUT_MERGED] + k->outcome[OUT_BODY] + k->outcome[OUT_JOINED] +
			 k->outcome[OUT_LOG];

	*why = REASON_STREAM;
	for (unsigned int r = 0; r < REASONS; r++)
		if (k->reason[r] > k->reason[*why])
			*why = (enum reason)r;
	for (unsigned int i = 0; i < VERDICTS; i++)
		if (k->verdict[i] > k->verdict[v])
			v = i;
	if (2 * k->outcome[OUT_ELIDED] > k->count)
		return "elide";
	if (2 * fused > k->count)
		return "fuse";
	return verdict_name((enum verdict)v);
}
