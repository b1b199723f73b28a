/* SPDX-License-Identifier: MIT */
/*
 * render-json.c - the report as one JSON object; its
 * keys are documented in esca-advise(1) and stay.
 */
#include "config.h"

#include <errno.h>
#include <math.h>

#include <jansson.h>

#include <analyzer/render.h>

static json_t *number(double v)
{
	return json_real(isfinite(v) ? round(v * 10000) / 10000 : 0);
}

static json_t *count(uint64_t v)
{
	return json_integer((json_int_t)v);
}

/* A string that may be no UTF-8. */
static json_t *text(const char *s)
{
	json_t *j = json_string(s);

	return j ? j : json_string("?");
}

static double each(uint64_t n, uint64_t of)
{
	return of ? (double)n / (double)of : 0;
}

static json_t *render_tally(const struct tally *t)
{
	return json_pack(
		"{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "turns",
		count(t->turns), "calls", count(t->calls), "requests", count(t->requests),
		"crossings_direct", count(savings_crossings(t, SAVINGS_DIRECT)), "crossings_uring",
		count(savings_crossings(t, SAVINGS_URING)), "crossings_lower_bound",
		count(t->depth), "deferred", count(t->deferred), "merged", count(t->merged),
		"packets_saved", count(t->packets), "files_read", count(t->bodies),
		"options_elided", count(t->elided), "log_writes_saved", count(t->logs),
		"bytes_copied", count(t->copied), "mispredicted", count(t->mistakes));
}

static json_t *render_kind(const struct advice *a, const struct loop *l, uint32_t kind)
{
	const struct kind_tally *k = &l->kinds[kind];
	json_t *outcomes = json_object();
	enum reason why;
	const char *verdict = kind_verdict(k, &why);
	char label[64];

	for (unsigned int i = 0; i < OUTCOMES; i++)
		if (k->outcome[i])
			json_object_set_new(outcomes, outcome_name(i), count(k->outcome[i]));
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:s, s:s, s:s, s:o, s:o}", "call",
			 kind_label(loops_kind(a->loops, kind), label, sizeof(label)), "count",
			 count(k->count), "per_request", number(each(k->count, l->total.requests)),
			 "failed", count(k->failed), "mean_ns", number(each(k->ns, k->count)),
			 "verdict", verdict, "reason", reason_key(why), "reason_text",
			 reason_text(why), "deferrable",
			 number(each(k->verdict[VERDICT_DEFER], k->count)), "outcomes", outcomes);
}

static json_t *render_sequence(const struct advice *a, const struct loop *l)
{
	const struct pattern *p = loop_pattern(l);
	json_t *list = json_array();
	char label[64];

	for (unsigned int i = 0; p && i < p->n; i++)
		json_array_append_new(list, text(kind_label(loops_kind(a->loops, p->kind[i]), label,
							    sizeof(label))));
	return list;
}

static json_t *render_site(const struct advice_loop *l)
{
	if (!l->has_site)
		return json_null();
	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "module", text(l->site.module), "function",
			 text(l->site.function), "file", text(l->site.file), "caller",
			 text(l->site.caller), "line", count(l->site.line));
}

static json_t *render_saved(const struct advice *a, enum savings_backend b)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "crossings_only_percent",
			 number(100 * a->saved[b].grouped), "with_fusion_percent",
			 number(100 * a->saved[b].fused), "low_percent", number(100 * a->low[b]),
			 "high_percent", number(100 * a->high[b]), "predicted_ratio",
			 number(advice_ratio(a, b)), "crossings_per_request",
			 number(advice_crossings(a, b)));
}

static json_t *render_loop(const struct advice *a, const struct advice_loop *al)
{
	const struct loop *l = al->loop;
	const struct tally *t = &l->total;
	json_t *calls = json_array();
	json_t *j;

	for (uint32_t k = 0; k < loops_kinds(a->loops); k++)
		if (l->kinds[k].count)
			json_array_append_new(calls, render_kind(a, l, k));
	j = json_pack("{s:s?, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "wait",
		      call_row(l->nr)->name, "site", render_site(al), "thread_name", text(al->comm),
		      "threads", count(l->threads), "requests_per_turn_median",
		      count(loop_degree(l, 0.5)), "requests_per_turn_p90",
		      count(loop_degree(l, 0.9)), "sequence", render_sequence(a, l), "total",
		      render_tally(t), "calls", calls);
	if (!a->distrust)
		for (unsigned int b = 0; b < SAVINGS_BACKENDS; b++)
			json_object_set_new(j,
					    b == SAVINGS_URING ? "saved_percent_uring"
							       : "saved_percent_direct",
					    number(100 * al->saved[b].fused / a->cpu_ns));
	return j;
}

static json_t *render_findings(const struct advice *a)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < a->nfindings; i++) {
		const struct finding *f = &a->findings[i];

		json_array_append_new(
			list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:o, s:s?}", "key", f->key,
					"title", f->title, "what", f->what, "evidence", f->evidence,
					"risk", f->risk, "needs_esca", !f->plain, "saves_percent",
					a->distrust ? json_null() : number(f->percent), "rejected",
					f->rejected));
	}
	return list;
}

static int render(FILE *f, const struct advice *a)
{
	static const char *const sources[] = {"none", "measured", "turns"};
	static const char *const distrusts[] = {NULL,	   "no-loop", "stopped",
						"no-cost", "no-cpu",  "cpu"};
	json_t *loops = json_array();
	json_t *j;
	int err;

	for (uint32_t i = 0; i < a->nloops; i++)
		json_array_append_new(loops, render_loop(a, &a->loop[i]));
	j = json_pack("{s:i, s:o, s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:s?, s:s, s:o, s:o, "
		      "s:s, s:o, s:o, s:o, s:o, s:o}",
		      "version", 1, "command", text(a->command), "complete", a->end == TRACE_EOF,
		      "under_load", a->loaded, "seconds", number(a->seconds), "calls_recorded",
		      count(a->calls), "calls_lost", count(a->lost), "calls_counted",
		      count(a->counted), "requests", count(a->requests), "calls_stopped",
		      count(a->lanes[TRACE_LANE_STOP] + a->lanes[TRACE_LANE_NET]),
		      "no_saving_because", distrusts[a->distrust], "cpu_source",
		      sources[a->cpu_source], "cpu_ns", number(a->cpu_ns), "cpu_ns_per_request",
		      number(a->requests ? a->cpu_ns / (double)a->requests : 0), "backend",
		      savings_backend_name(a->best), "predicted_ratio",
		      number(advice_ratio(a, a->best)), "total", render_tally(&a->total),
		      "backends",
		      json_pack("{s:o, s:o}", "direct", render_saved(a, SAVINGS_DIRECT), "uring",
				a->cost.uring ? render_saved(a, SAVINGS_URING) : json_null()),
		      "loops", loops, "findings", render_findings(a));
	if (!j)
		return -ENOMEM;
	err = json_dumpf(j, f, JSON_INDENT(2) | JSON_REAL_PRECISION(10)) ? -EIO : 0;
	fputc('\n', f);
	json_decref(j);
	return err;
}

const struct renderer render_json = {.name = "json", .render = render};
