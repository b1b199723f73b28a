/* SPDX-License-Identifier: MIT */
/* bench-table.c - what the pairs of a benchmark say together, as a table and as JSON. */
#include "config.h"

#include <errno.h>
#include <libsmartcols.h>
#include <stdlib.h>
#include <string.h>

#include <cli/bench-table.h>

enum metric_id {
	CPU,
	RPS,
	P50,
	P99,
	CROSSINGS,
	METRICS
};

/**
 * struct metric - one line of the table.
 * @ok: every pair has it.
 */
struct metric {
	const char *name, *key;
	int digits;
	bool ok;
	double vanilla, aggregated;	    /* medians */
	double ratio, ratio_min, ratio_max; /* of the pairs' own ratios */
	double predicted;		    /* ratio; 0: not known */
};

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), by_value);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

bool bench_per_request(const struct bench_pair *pairs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!pairs[i].vanilla.requests || !pairs[i].aggregated.requests)
			return false;
	return true;
}

/*
 * Of a vanilla run nobody counted the crossings: each call is one, and the server makes the same
 * calls for a request in both. The recording has them all; the aggregated run counted those that
 * the runtime sees, and what it saved of them, the rest being made in both.
 */
static double crossings(const struct bench_run *r, bool aggregated, double recorded)
{
	double per = recorded > 0 ? (double)r->requests : 1;
	double calls = recorded > 0 ? recorded : (double)r->calls;

	if (!r->counted)
		return 0;
	return aggregated ? calls - ((double)r->calls - (double)r->crossings) / per : calls;
}

/* The value of one run, 0 if it has none. */
static double value(enum metric_id id, const struct bench_pair *pair, bool aggregated,
		    bool per_request, const struct bench_prediction *p)
{
	const struct bench_run *r = aggregated ? &pair->aggregated : &pair->vanilla;
	double per = per_request ? (double)r->requests : 1;

	switch (id) {
	case CPU:
		return r->cpu_ns / (per_request ? 1e3 : 1e6) / per;
	case RPS:
		return r->rps;
	case P50:
		return r->p50_us;
	case P99:
		return r->p99_us;
	case CROSSINGS:
		if (r->kernel)
			return (double)r->kernel / per;
		if (per_request && p->crossings_per_request > 0)
			return crossings(&pair->aggregated, aggregated, p->crossings_per_request);
		return crossings(&pair->aggregated, aggregated, 0) /
		       (per_request ? (double)pair->aggregated.requests : 1);
	default:
		return 0;
	}
}

static int metrics_fill(struct metric *m, const struct bench_pair *pairs, size_t n,
			const struct bench_prediction *p)
{
	bool per_request = bench_per_request(pairs, n);
	double *v = calloc(3 * n, sizeof(*v)), *a = v + n, *ratio = v + 2 * n;

	if (!v)
		return -ENOMEM;
	for (int id = 0; id < METRICS; id++) {
		static const struct metric names[2][METRICS] = {
			{{"CPU time of the load, ms", "cpu_ms", 1},
			 {"requests per second", "requests_per_second", 0},
			 {"p50 latency, us", "p50_us", 0},
			 {"p99 latency, us", "p99_us", 0},
			 {"crossings of the load", "crossings", 0}},
			{{"CPU time per request, us", "cpu_per_request_us", 2},
			 {"requests per second", "requests_per_second", 0},
			 {"p50 latency, us", "p50_us", 0},
			 {"p99 latency, us", "p99_us", 0},
			 {"crossings per request", "crossings_per_request", 2}},
		};

		m[id] = names[per_request][id];
		m[id].ok = true;
		for (size_t i = 0; i < n; i++) {
			v[i] = value((enum metric_id)id, &pairs[i], false, per_request, p);
			a[i] = value((enum metric_id)id, &pairs[i], true, per_request, p);
			if (!(v[i] > 0) || !(a[i] > 0))
				m[id].ok = false;
			else
				ratio[i] = a[i] / v[i];
		}
		if (!m[id].ok)
			continue;
		m[id].vanilla = median(v, n);
		m[id].aggregated = median(a, n);
		m[id].ratio = median(ratio, n);
		m[id].ratio_min = ratio[0];
		m[id].ratio_max = ratio[n - 1];
	}
	m[CPU].predicted = p->cpu_ratio;
	if (p->crossings_per_request > 0)
		m[CROSSINGS].predicted = p->crossings_after / p->crossings_per_request;
	free(v);
	return 0;
}

static int add_line(struct libscols_table *t, const struct metric *m)
{
	struct libscols_line *line = scols_table_new_line(t, NULL);
	char buf[64];
	int ret;

	if (!line)
		return -ENOMEM;
	ret = scols_line_set_data(line, 0, m->name);
	snprintf(buf, sizeof(buf), "%.*f", m->digits, m->vanilla);
	ret |= scols_line_set_data(line, 1, buf);
	snprintf(buf, sizeof(buf), "%.*f", m->digits, m->aggregated);
	ret |= scols_line_set_data(line, 2, buf);
	snprintf(buf, sizeof(buf), "%.2f [%.2f-%.2f]", m->ratio, m->ratio_min, m->ratio_max);
	ret |= scols_line_set_data(line, 3, buf);
	if (m->predicted > 0)
		snprintf(buf, sizeof(buf), "%.2f", m->predicted);
	ret |= scols_line_set_data(line, 4, m->predicted > 0 ? buf : "-");
	return ret ? -ENOMEM : 0;
}

int bench_table(FILE *f, const struct bench_pair *pairs, size_t n, const struct bench_prediction *p)
{
	static const char *const columns[] = {"", "VANILLA", "AGGREGATED", "RATIO", "PREDICTED"};
	struct libscols_table *t;
	struct metric m[METRICS];
	int ret = metrics_fill(m, pairs, n, p);

	if (ret)
		return ret;
	t = scols_new_table();
	if (!t)
		return -ENOMEM;
	scols_table_set_stream(t, f);
	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
		if (!scols_table_new_column(t, columns[i], 0, i ? SCOLS_FL_RIGHT : 0))
			ret = -ENOMEM;
	for (int id = 0; !ret && id < METRICS; id++)
		if (m[id].ok)
			ret = add_line(t, &m[id]);
	if (!ret)
		ret = scols_print_table(t);
	scols_unref_table(t);
	return ret;
}

/* --- JSON --- */

static json_t *run_json(const struct bench_run *r)
{
	json_t *j = json_pack("{s:f, s:f, s:I, s:f, s:f, s:f, s:I, s:s}", "cpu_ns", r->cpu_ns,
			      "seconds", r->seconds, "requests", (json_int_t)r->requests,
			      "requests_per_second", r->rps, "p50_us", r->p50_us, "p99_us",
			      r->p99_us, "failed", (json_int_t)r->failed, "tool", r->tool);

	if (j && r->kernel)
		json_object_set_new(j, "system_calls", json_integer((json_int_t)r->kernel));
	if (j && r->counted)
		json_object_set_new(j, "counters",
				    json_pack("{s:I, s:I, s:I, s:I, s:I, s:s}", "turns",
					      (json_int_t)r->turns, "calls", (json_int_t)r->calls,
					      "crossings", (json_int_t)r->crossings, "deferred",
					      (json_int_t)r->deferred, "fused",
					      (json_int_t)r->fused, "backend",
					      r->uring ? "uring" : "direct"));
	return j;
}

json_t *bench_json(const struct bench_pair *pairs, size_t n, const struct bench_prediction *p)
{
	json_t *list = json_array(), *summary = json_object(), *predicted = json_object();
	struct metric m[METRICS];

	if (metrics_fill(m, pairs, n, p)) {
		json_decref(list);
		json_decref(summary);
		json_decref(predicted);
		return NULL;
	}
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_pack("{s:o, s:o}", "vanilla",
						      run_json(&pairs[i].vanilla), "aggregated",
						      run_json(&pairs[i].aggregated)));
	for (int id = 0; id < METRICS; id++)
		if (m[id].ok)
			json_object_set_new(summary, m[id].key,
					    json_pack("{s:f, s:f, s:f, s:f, s:f}", "vanilla",
						      m[id].vanilla, "aggregated", m[id].aggregated,
						      "ratio", m[id].ratio, "ratio_min",
						      m[id].ratio_min, "ratio_max",
						      m[id].ratio_max));
	if (p->cpu_ratio > 0)
		json_object_set_new(predicted, "cpu_ratio", json_real(p->cpu_ratio));
	if (p->crossings_per_request > 0) {
		json_object_set_new(predicted, "crossings_per_request",
				    json_real(p->crossings_per_request));
		json_object_set_new(predicted, "crossings_after", json_real(p->crossings_after));
	}
	return json_pack("{s:o, s:o, s:o}", "pairs", list, "summary", summary, "predicted",
			 predicted);
}
