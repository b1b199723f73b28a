/* SPDX-License-Identifier: MIT */
/* advise.h - what other commands need to analyse a recording themselves. */
#ifndef ESCA_CLI_ADVISE_H
#define ESCA_CLI_ADVISE_H

#include <analyzer/advice.h>

/** The bounds of mode run, as esca-runtime/plan.h has them, for advice_from_file(). */
extern const struct limits advise_limits;

#endif
