/* SPDX-License-Identifier: MIT */
/* savings.h - what a schedule saves, by a cost profile. */
#ifndef ESCA_ANALYZER_SAVINGS_H
#define ESCA_ANALYZER_SAVINGS_H

#include <analyzer/batch.h>
#include <analyzer/cost.h>

/** The ways into the kernel that the runtime has. */
enum savings_backend {
	SAVINGS_DIRECT,
	SAVINGS_URING,
	SAVINGS_BACKENDS,
};

/**
 * struct savings - ns of server CPU; negative: it would cost.
 * @grouped: crossings only: every call is still made, those that may wait are made together.
 * @fused: with fusion: merged, folded and left-out calls too, and what they save within the kernel.
 */
struct savings {
	double grouped;
	double fused;
};

/**
 * savings_of() - what the calls of @t save with backend @b.
 *
 * What the recording shows is preferred to what the profile says: of the calls that become one
 * write, all but the longest are saved, each for what it took. The longest is the one that really
 * sent, or one that was preempted: either way it is not counted.
 */
struct savings savings_of(const struct tally *t, const struct cost *c, enum savings_backend b);

/** savings_crossings() - kernel entries that remain of the tally's calls with fusion. */
uint64_t savings_crossings(const struct tally *t, enum savings_backend b);

const char *savings_backend_name(enum savings_backend b);

#endif
