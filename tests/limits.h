/* SPDX-License-Identifier: MIT */
/* limits.h - the bounds of the runtime, for the tests of the analysis. */
#ifndef ESCA_TESTS_LIMITS_H
#define ESCA_TESTS_LIMITS_H

#include <analyzer/hazard.h>
#include <esca-runtime/plan.h>

static const struct limits limits = {
	.copy_max = ESCA_COPY_MAX,
	.file_max = ESCA_FILE_MAX,
	.read_max = ESCA_READ_MAX,
	.body_max = ESCA_BODY_MAX,
	.credit_max = ESCA_CREDIT_MAX,
	.log_max = ESCA_LOG_MAX,
	.queue_calls = ESCA_QUEUE_CALLS,
	.queue_bytes = ESCA_QUEUE_BYTES,
	.age_ns = ESCA_QUEUE_AGE * 1000ull,
};

#endif
