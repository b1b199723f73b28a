/* SPDX-License-Identifier: MIT */
/* render.h - an advice as a report: one row a format. */
#ifndef ESCA_ANALYZER_RENDER_H
#define ESCA_ANALYZER_RENDER_H

#include <analyzer/advice.h>

/**
 * struct renderer
 * @render: print @a to @f. Return: 0 or negative errno.
 */
struct renderer {
	const char *name;
	int (*render)(FILE *f, const struct advice *a);
};

extern const struct renderer render_text;
extern const struct renderer render_json;

/** renderer_by_name() - NULL if there is none. */
const struct renderer *renderer_by_name(const char *name);

/** distrust_text() - why no saving is quoted, as a sentence. */
const char *distrust_text(enum distrust d);
/** kind_verdict() - the word for what mostly becomes of calls of a kind, and the reason for most.
 */
const char *kind_verdict(const struct kind_tally *k, enum reason *why);

#endif
