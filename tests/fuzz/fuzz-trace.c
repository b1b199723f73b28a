/* SPDX-License-Identifier: MIT */
/* fuzz-trace.c - any bytes as a recording: reader, timeline, the whole analysis and both renderers.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include <analyzer/render.h>
#include <cli/advise.h>

#include "fuzz.h"

static const struct cost cost = {
	.crossing = 120,
	.uring_enter = 150,
	.uring_op = 75,
	.queue = 8,
	.copy_kib = 20,
	.packet = 4000,
	.sendfile = 850,
	.pread = 230,
	.sockopt = 125,
	.log_write = 600,
	.uring = true,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FILE *f = fmemopen((void *)(uintptr_t)data, size ? size : 1, "r");
	FILE *out = fopen("/dev/null", "w");
	struct trace_reader *r;
	struct trace_event ev;
	enum trace_error why;
	struct advice *a;

	if (!f || !out)
		abort();
	if (!trace_reader_open(&r, f)) {
		while (!trace_next(r, &ev))
			;
		trace_reader_free(r);
	}
	rewind(f);
	if (!advice_from_file(f, &cost, &advise_limits, &a, &why)) {
		if (render_text.render(out, a) || render_json.render(out, a))
			abort();
		advice_free(a);
	}
	fclose(f);
	fclose(out);
	return 0;
}
