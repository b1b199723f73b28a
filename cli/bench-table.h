/* SPDX-License-Identifier: MIT */
/* bench-table.h - what the pairs of a benchmark say together, as a table and as JSON. */
#ifndef ESCA_CLI_BENCH_TABLE_H
#define ESCA_CLI_BENCH_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <jansson.h>

#include <cli/bench.h>

/** struct bench_pair - a vanilla run and the aggregated one after it. */
struct bench_pair {
	struct bench_run vanilla, aggregated;
};

/** struct bench_prediction - what a recording made before promised; a value of 0 is not known. */
struct bench_prediction {
	double cpu_ratio;	      /* aggregated / vanilla CPU time, with fusion */
	double crossings_per_request; /* vanilla */
	double crossings_after;	      /* aggregated, per request */
};

/**
 * bench_per_request() - do all runs know their number of
 * requests? Otherwise the table compares whole loads.
 */
bool bench_per_request(const struct bench_pair *pairs, size_t n);

/** bench_table() - print the table. Return: 0, or negative errno. */
int bench_table(FILE *f, const struct bench_pair *pairs, size_t n,
		const struct bench_prediction *p);

/** bench_json() - "pairs", "summary" and "predicted" of esca-bench(1), or NULL without memory. */
json_t *bench_json(const struct bench_pair *pairs, size_t n, const struct bench_prediction *p);

#endif
