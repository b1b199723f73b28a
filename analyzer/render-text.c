/* SPDX-License-Identifier: MIT */
/*
 * render-text.c - the report as a person reads it: the answer
 * first, then the loops it follows from, then what to do.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <libsmartcols.h>

#include <analyzer/render.h>

/* Loops and kinds of call with a smaller share of the calls are only counted. */
#define SHARE_MIN 0.01

static double each(uint64_t n, uint64_t of)
{
	return of ? (double)n / (double)of : 0;
}

static void head(FILE *f, const struct advice *a)
{
	fprintf(f,
		"Recording of %s: %.3g s%s, %" PRIu64 " calls in turns of event loops, %" PRIu64
		" requests\n",
		*a->command ? a->command : "a server", a->seconds, a->loaded ? " under load" : "",
		a->counted, a->requests);
	if (a->end == TRACE_CUT)
		fputs("The recording was cut off; this is of what precedes the cut.\n", f);
	if (a->lost)
		fprintf(f,
			"%" PRIu64 " calls were lost (%.1f %%: rings full); turns around the gaps "
			"look shorter than they are.\n",
			a->lost, 100 * each(a->lost, a->lost + a->calls));
	if (a->lanes[TRACE_LANE_NET] && !a->lanes[TRACE_LANE_STOP])
		fprintf(f, "%.1f %% of the calls were stopped to be recorded and look slow.\n",
			100 * each(a->lanes[TRACE_LANE_NET],
				   a->lanes[TRACE_LANE_NET] + a->lanes[TRACE_LANE_RING]));
	fputc('\n', f);
}

static void headline(FILE *f, const struct advice *a)
{
	enum savings_backend b = a->best;
	double percent = 100 * a->saved[b].fused;

	if (a->distrust) {
		fprintf(f, "%s\n\n", distrust_text(a->distrust));
		return;
	}
	if (percent > -0.5 && percent < 0.5)
		fputs("Aggregation is not worth it here: it would change the server's CPU time by "
		      "less than half a percent.\n",
		      f);
	else if (percent <= 0)
		fprintf(f,
			"Aggregation is not worth it here: it would cost about %.1f %% more CPU "
			"time.\n",
			-percent);
	else if (percent < ADVICE_WORTH_PERCENT)
		fprintf(f,
			"Aggregation is not worth it here: it would save about %.1f %% of the "
			"server's CPU time.\n",
			percent);
	else
		fprintf(f,
			"Aggregation (esca run) would save about %.0f %% of the server's CPU time "
			"(%.0f to %.0f %%): %s.\n",
			percent, 100 * a->low[b], 100 * a->high[b],
			percent < 5 ? "hardly worth it; measure with 'esca bench'" : "worth it");
	fprintf(f, "\n  %-8s %15s %13s %26s %21s\n", "backend", "crossings only", "with fusion",
		"CPU time aggregated / now", "crossings a request");
	for (unsigned int i = 0; i < SAVINGS_BACKENDS; i++) {
		enum savings_backend back = (enum savings_backend)i;

		if (back == SAVINGS_URING && !a->cost.uring)
			continue;
		fprintf(f, "  %-8s %13.1f %% %11.1f %% %26.2f %12.2f -> %5.2f\n",
			savings_backend_name(back), 100 * a->saved[back].grouped,
			100 * a->saved[back].fused, advice_ratio(a, back),
			each(a->counted, a->requests), advice_crossings(a, back));
	}
	fputc('\n', f);
	fprintf(f, "  One crossing costs %.0f ns here. CPU time now: %.2f us a request, %s.\n",
		a->cost.crossing, a->requests ? a->cpu_ns / 1000 / (double)a->requests : 0,
		a->cpu_source == CPU_MEASURED ? "as the kernel accounted it"
					      : "taken as the time between waits");
	if (a->recorder_ns > 0)
		fprintf(f, "  Recording itself took %.1f %% and is not counted.\n",
			100 * a->recorder_ns / (a->cpu_ns + a->recorder_ns));
	fputc('\n', f);
}

static void place(FILE *f, const struct site *s)
{
	if (*s->function)
		fprintf(f, " in %s", s->function);
	else if (*s->module)
		fprintf(f, " in %s+%#" PRIx64, s->module, s->offset);
	if (*s->caller)
		fprintf(f, ", called from %s", s->caller);
	if (*s->file)
		fprintf(f, " (%s:%" PRIu32 ")", s->file, s->line);
	else if (*s->function && *s->module)
		fprintf(f, " of %s", s->module);
}

static void sequence(FILE *f, const struct advice *a, const struct loop *l)
{
	const struct pattern *p = loop_pattern(l);
	uint64_t all = 0;
	char label[64];

	if (!p)
		return;
	for (uint32_t i = 0; i < l->npatterns; i++)
		all += l->patterns[i].count;
	fputs("  One request: ", f);
	for (unsigned int i = 0; i < p->n; i++)
		fprintf(f, "%s%s", i ? ", " : "",
			kind_label(loops_kind(a->loops, p->kind[i]), label, sizeof(label)));
	fprintf(f, " (%.0f %% of requests)\n", 100 * each(p->count, all));
}

__attribute__((format(printf, 3, 4))) static void cell(struct libscols_line *line, size_t column,
						       const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) >= 0)
		scols_line_refer_data(line, column, s);
	va_end(ap);
}

struct row {
	uint32_t kind;
	uint64_t count;
};

static int by_count(const void *va, const void *vb)
{
	const struct row *a = va;
	const struct row *b = vb;

	if (a->count != b->count)
		return a->count > b->count ? -1 : 1;
	return a->kind < b->kind ? -1 : a->kind > b->kind;
}

static int call_table(FILE *f, const struct advice *a, const struct loop *l)
{
	struct libscols_table *tb = scols_new_table();
	const struct tally *t = &l->total;
	uint64_t per = t->requests ? t->requests : t->turns;
	struct row rows[KINDS_MAX];
	uint64_t rest = 0;
	uint32_t n = 0;

	if (!tb)
		return -ENOMEM;
	scols_table_new_column(tb, "  CALL", 0, 0);
	scols_table_new_column(tb, t->requests ? "A REQUEST" : "A TURN", 0, SCOLS_FL_RIGHT);
	scols_table_new_column(tb, "MEAN us", 0, SCOLS_FL_RIGHT);
	scols_table_new_column(tb, "VERDICT", 0, 0);
	scols_table_new_column(tb, "CAN WAIT", 0, SCOLS_FL_RIGHT);
	scols_table_new_column(tb, "BECAUSE", 0, 0);
	scols_table_set_stream(tb, f);
	scols_table_set_termforce(tb, SCOLS_TERMFORCE_NEVER);
	for (uint32_t k = 0; k < KINDS_MAX; k++)
		if (l->kinds[k].count)
			rows[n++] = (struct row){.kind = k, .count = l->kinds[k].count};
	qsort(rows, n, sizeof(rows[0]), by_count);
	for (uint32_t i = 0; i < n; i++) {
		const struct kind_tally *k = &l->kinds[rows[i].kind];
		struct libscols_line *line;
		enum reason why;
		char label[64];

		if ((double)k->count < SHARE_MIN * (double)t->calls && i >= 3) {
			rest += k->count;
			continue;
		}
		line = scols_table_new_line(tb, NULL);
		if (!line)
			break;
		cell(line, 0, "  %s",
		     kind_label(loops_kind(a->loops, rows[i].kind), label, sizeof(label)));
		cell(line, 1, "%.2f", each(k->count, per));
		cell(line, 2, "%.2f", each(k->ns, k->count) / 1000);
		cell(line, 3, "%s", kind_verdict(k, &why));
		if (k->verdict[VERDICT_DEFER])
			cell(line, 4, "%.0f %%", 100 * each(k->verdict[VERDICT_DEFER], k->count));
		else
			cell(line, 4, "-");
		cell(line, 5, "%s", reason_text(why));
	}
	scols_print_table(tb);
	scols_unref_table(tb);
	if (rest)
		fprintf(f, "  and %.2f other calls %s\n", each(rest, per),
			t->requests ? "a request" : "a turn");
	return 0;
}

static void crossings(FILE *f, const struct advice *a, const struct tally *t, const char *unit,
		      uint64_t per, int digits)
{
	fprintf(f, "  Crossings %s: now %.*f, with esca run %.*f (direct)", unit, digits,
		each(t->calls, per), digits, each(savings_crossings(t, SAVINGS_DIRECT), per));
	if (a->cost.uring)
		fprintf(f, " or %.*f (uring)", digits,
			each(savings_crossings(t, SAVINGS_URING), per));
	fprintf(f, "; no schedule can need fewer than %.*f\n", digits, each(t->depth, per));
}

static int loop(FILE *f, const struct advice *a, const struct advice_loop *al, unsigned int number)
{
	const struct loop *l = al->loop;
	const struct tally *t = &l->total;
	int err;

	fprintf(f, "Loop %u: %s", number, call_row(l->nr)->name);
	if (al->has_site)
		place(f, &al->site);
	fprintf(f, ", %" PRIu32 " %s", l->threads, l->threads == 1 ? "thread" : "threads");
	if (*al->comm)
		fprintf(f, " (%s)", al->comm);
	fputs("\n  A turn begins where this call returns and ends where it is made again.\n", f);
	fprintf(f,
		"  Turns: %" PRIu64
		"; requests in a turn: median %u, 9 of 10 turns have at most %u%s\n",
		t->turns, loop_degree(l, 0.5), loop_degree(l, 0.9),
		loop_degree(l, 0.9) == DEGREES - 1 ? " or more" : "");
	if (t->requests)
		crossings(f, a, t, "a request", t->requests, 2);
	crossings(f, a, t, "a turn", t->turns, 1);
	if (!a->distrust && a->nloops > 1)
		fprintf(f, "  Its share of the saving: %.1f %% of the server's CPU time\n",
			100 * al->saved[a->best].fused / a->cpu_ns);
	sequence(f, a, l);
	fputc('\n', f);
	err = call_table(f, a, l);
	if (t->deferred)
		fprintf(f,
			"  Of the calls that can wait, %.2f %% did not succeed in full when they "
			"were made; esca run keeps the rest of their bytes.\n",
			100 * each(t->mistakes, t->deferred));
	fputc('\n', f);
	return err;
}

static void finding(FILE *f, const struct finding *x)
{
	if (x->percent >= 0)
		fprintf(f, "  %5.1f %%  %s\n", x->percent, x->title);
	else
		fprintf(f, "  %s\n", x->title);
	fprintf(f, "           do:        %s\n", x->what);
	fprintf(f, "           evidence:  %s\n", x->evidence);
	fprintf(f, "           risk:      %s\n", x->risk);
}

static void findings(FILE *f, const struct advice *a, bool plain, const char *title)
{
	bool any = false;

	for (uint32_t i = 0; i < a->nfindings; i++) {
		const struct finding *x = &a->findings[i];

		if (x->rejected || x->plain != plain)
			continue;
		if (!any)
			fprintf(f, "%s\n", title);
		any = true;
		finding(f, x);
	}
	if (any)
		fputc('\n', f);
}

static void rejected(FILE *f, const struct advice *a)
{
	bool any = false;

	for (uint32_t i = 0; i < a->nfindings; i++) {
		const struct finding *x = &a->findings[i];

		if (!x->rejected)
			continue;
		if (!any)
			fputs("Looked at and not worth it\n", f);
		any = true;
		fprintf(f, "  %5.1f %%  %s: %s\n", x->percent, x->title, x->rejected);
	}
	if (any)
		fputc('\n', f);
}

static int render(FILE *f, const struct advice *a)
{
	unsigned int shown = 0;
	int err = 0;

	head(f, a);
	headline(f, a);
	for (uint32_t i = 0; i < a->nloops && !err; i++) {
		if (i && (double)a->loop[i].loop->total.calls < SHARE_MIN * (double)a->counted)
			break;
		err = loop(f, a, &a->loop[i], ++shown);
	}
	if (shown < a->nloops)
		fprintf(f, "%u other loops have less than one percent of the calls.\n\n",
			a->nloops - shown);
	findings(f, a, false,
		 "What esca run does about it (of the server's CPU time; parts do not add up "
		 "exactly)");
	findings(f, a, true, "What helps without esca");
	rejected(f, a);
	return err;
}

const struct renderer render_text = {.name = "text", .render = render};
