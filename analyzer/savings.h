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

struct savings savings_of(const struct tally *t, const struct cost *c, enum savings_backend b);

/** savings_crossings() - kernel entries that remain of the tally's calls with fusion. */
uint64_t savings_crossings(const struct tally *t, enum savings_backend b);

const char *savings_backend_name(enum savings_backend b);

#endif
