/* SPDX-License-Identifier: MIT */
/*
 * predict.h - record the server once under the load,
 * and ask the analysis what aggregation will save.
 */
#ifndef ESCA_CLI_PREDICT_H
#define ESCA_CLI_PREDICT_H

#include <cli/bench-table.h>
#include <cli/bench.h>

/**
 * predict() - fill @p from a recording of the server of @s. A recording that fails or says nothing
 * is a warning: @p stays 0. Return: BENCH_OK or BENCH_INTERRUPTED.
 */
enum bench_end predict(struct bench_prediction *p, const struct bench_setup *s);

#endif
