/* SPDX-License-Identifier: MIT */
/* advise.h - what all who analyse a recording need besides it: the bounds of mode run. */
#ifndef ESCA_CLI_ADVISE_H
#define ESCA_CLI_ADVISE_H

#include <analyzer/hazard.h>
#include <esca-runtime/plan.h>

/** For advice_from_file(): as esca-runtime/plan.h has them. */
static const struct limits advise_limits = {
	.copy_max = ESCA_COPY_MAX,
	.file_max = ESCA_FILE_MAX,
	.read_max = ESCA_READ_MAX,
	.body_max = ESCA_BODY_MAX,
	.reads_min = ESCA_READS_MIN,
	.plain_pieces = ESCA_PLAIN_PIECES,
	.credit_max = ESCA_CREDIT_MAX,
	.log_max = ESCA_LOG_MAX,
	.queue_calls = ESCA_QUEUE_CALLS,
	.queue_bytes = ESCA_QUEUE_BYTES,
	.age_ns = ESCA_QUEUE_AGE * 1000ull,
};

#endif
