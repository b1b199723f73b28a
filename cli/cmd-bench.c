/* SPDX-License-Identifier: MIT */
/* cmd-bench.c - esca bench: a server vanilla and aggregated in turn, under the user's load. */
#include "config.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cli/bench.h>
#include <cli/bench-table.h>
#include <cli/cmd.h>
#include <cli/msg.h>
#include <cli/options.h>
#include <cli/output.h>
#include <cli/predict.h>
#include <cli/probe.h>
#include <cli/reach.h>

#define MAX_PAIRS 1000

enum {
	KEY_LOAD = 256,
	KEY_JSON,
	KEY_REQUESTS,
	KEY_SERVER_CPU,
	KEY_LOAD_CPU,
	KEY_NO_PREDICT,
	KEY_ISOLATE,
	KEY_TIMEOUT,
};

struct options {
	const char *load, *json;
	unsigned long pairs, requests, timeout_s;
	long server_cpu, load_cpu;
	struct plan_options plan;
	bool no_predict, isolate;
	char **command;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &o->plan;
		return 0;
	case KEY_LOAD:
		o->load = arg;
		return 0;
	case 'p':
		o->pairs = options_number(state, "--pairs", arg, 1, MAX_PAIRS, 0);
		return 0;
	case KEY_JSON:
		o->json = arg;
		return 0;
	case KEY_REQUESTS:
		o->requests = options_number(state, "--requests", arg, 1, 1000000000000ul, 0);
		return 0;
	case KEY_SERVER_CPU:
		o->server_cpu =
			(long)options_number(state, "--server-cpu", arg, 0, CPU_SETSIZE - 1, 0);
		return 0;
	case KEY_LOAD_CPU:
		o->load_cpu = (long)options_number(state, "--load-cpu", arg, 0, CPU_SETSIZE - 1, 0);
		return 0;
	case KEY_NO_PREDICT:
		o->no_predict = true;
		return 0;
	case KEY_ISOLATE:
		o->isolate = true;
		return 0;
	case KEY_TIMEOUT:
		o->timeout_s = options_number(state, "--timeout", arg, 1, 1000000, 0);
		return 0;
	case ARGP_KEY_SUCCESS:
		if (!o->load)
			argp_error(state, "which load? give its command with --load");
		return 0;
	}
	return options_server(key, state, &o->command);
}

/* Server and load on a CPU each, unless the user said which. Return: 0, or an exit status. */
static int choose_cpus(struct options *o)
{
	long first = -1, second = -1;
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set)) {
		msg_perror(errno, "cannot see which CPUs may be used");
		return ESCA_EXIT_FAILED;
	}
	for (long i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET((size_t)i, &set))
			continue;
		if (first < 0)
			first = i;
		else if (second < 0)
			second = i;
	}
	if ((o->server_cpu >= 0 && !CPU_ISSET((size_t)o->server_cpu, &set)) ||
	    (o->load_cpu >= 0 && !CPU_ISSET((size_t)o->load_cpu, &set))) {
		msg_error("CPU %ld may not be used here; see 'taskset -p $$' for those that may",
			  o->server_cpu >= 0 && !CPU_ISSET((size_t)o->server_cpu, &set)
				  ? o->server_cpu
				  : o->load_cpu);
		return ESCA_EXIT_FAILED;
	}
	if (o->server_cpu < 0)
		o->server_cpu = o->load_cpu == first && second >= 0 ? second : first;
	if (o->load_cpu < 0)
		o->load_cpu = o->server_cpu == first && second >= 0 ? second : first;
	if (o->server_cpu == o->load_cpu)
		msg_warn("server and load share CPU %ld, so throughput and latency show the load "
			 "as much as the server",
			 o->server_cpu);
	return 0;
}

static int isolate(void)
{
	int ret = bench_isolate();

	if (!ret)
		return 0;
	if (ret == -EPERM)
		msg_error("cannot make a network of its own for the benchmark; run it as root, or "
			  "without --isolate-net");
	else
		msg_perror(ret, "cannot make a network of its own for the benchmark");
	return ESCA_EXIT_FAILED;
}

/* The sentence for an end that is not BENCH_OK, and the exit status. */
static int status_of(enum bench_end end)
{
	if (end == BENCH_INTERRUPTED) {
		msg_error("interrupted by signal %d; everything that was started has been stopped",
			  bench_signal());
		return 128 + bench_signal();
	}
	return ESCA_EXIT_MISMATCH;
}

static int save_json(const struct options *o, const struct plan_choice *choice,
		     const struct bench_pair *pairs, size_t n, const struct bench_prediction *p)
{
	json_t *json = bench_json(pairs, n, p), *command = json_array();
	int ret;

	for (char **word = o->command; *word; word++)
		json_array_append_new(command, json_string(*word));
	json_object_update_new(json, json_pack("{s:o, s:s, s:s, s:i, s:i, s:b}", "command", command,
					       "load", o->load, "backend",
					       plan_backend_name(choice->backend), "server_cpu",
					       (int)o->server_cpu, "load_cpu", (int)o->load_cpu,
					       "isolated", o->isolate));
	ret = json ? output_json(json, o->json) : -ENOMEM;
	json_decref(json);
	if (ret)
		msg_perror(ret, "cannot write the results to '%s'", o->json);
	return ret;
}

/* What the reader of the table has to know beside it. Return: failed requests in all. */
static uint64_t remarks(const struct options *o, const struct bench_pair *pairs, size_t n)
{
	uint64_t failed[2] = {0, 0};
	double busy = 0, seconds = 0;
	bool counted = true;
	char cc[32];

	for (size_t i = 0; i < n; i++) {
		failed[0] += pairs[i].vanilla.failed;
		failed[1] += pairs[i].aggregated.failed;
		busy += pairs[i].vanilla.cpu_ns / 1e9;
		seconds += pairs[i].vanilla.seconds;
		counted &= pairs[i].aggregated.counted;
	}
	if (!counted)
		msg_warn("libesca.so did not count anything in the aggregated server, so it was "
			 "not at work there");
	if (!bench_per_request(pairs, n))
		msg_warn("the load's output says no number of requests, so whole loads are "
			 "compared; use --requests, or a load that always makes the same ones");
	if (seconds > 0 && busy / seconds < 0.7)
		msg_warn("the server was busy only %.0f %% of the time, so throughput is the "
			 "load's; CPU time is the figure to look at",
			 100 * busy / seconds);
	if (!o->isolate &&
	    probe_file("/proc/sys/net/ipv4/tcp_congestion_control", cc, sizeof(cc)) &&
	    !strcmp(cc, "bbr"))
		msg_warn("TCP uses bbr here, which paces with timers and hides part of the gain; "
			 "--isolate-net measures without it");
	if (failed[0] + failed[1])
		msg_error("%llu requests failed vanilla and %llu aggregated, so the figures "
			  "compare nothing; check the load against the server by hand",
			  (unsigned long long)failed[0], (unsigned long long)failed[1]);
	return failed[0] + failed[1];
}

static int bench(const struct options *o, struct bench_setup *s)
{
	struct bench_prediction prediction = {0};
	enum bench_end end = BENCH_OK;
	struct plan_choice choice;
	struct bench_pair *pairs;
	int status = ESCA_EXIT_OK;

	plan_choose(&choice, o->plan.backend);
	if (choice.fallback)
		msg_warn("measuring the direct backend instead of uring, because %s", choice.why);
	s->plan = o->plan;
	s->plan.backend = choice.backend;
	pairs = calloc(o->pairs, sizeof(*pairs));
	if (!pairs) {
		msg_perror(ENOMEM, "cannot hold the results");
		return ESCA_EXIT_FAILED;
	}
	if (!o->no_predict) {
		msg_progress("recording for the prediction");
		end = predict(&prediction, s);
	}
	for (unsigned long i = 0; end == BENCH_OK && i < o->pairs; i++) {
		msg_progress("pair %lu of %lu: vanilla", i + 1, o->pairs);
		end = bench_run(&pairs[i].vanilla, s, false, i > 0);
		if (end != BENCH_OK)
			break;
		msg_progress("pair %lu of %lu: aggregated", i + 1, o->pairs);
		end = bench_run(&pairs[i].aggregated, s, true, true);
	}
	msg_progress_end();
	if (end != BENCH_OK) {
		status = status_of(end);
		goto out;
	}
	printf("%s: %lu pair%s, CPU %ld for the server, CPU %ld for the load, %s backend\n",
	       o->command[0], o->pairs, o->pairs > 1 ? "s" : "", o->server_cpu, o->load_cpu,
	       plan_backend_name(choice.backend));
	if (bench_table(stdout, pairs, o->pairs, &prediction) || fflush(stdout) || ferror(stdout)) {
		msg_error("cannot write to standard output; check what it is redirected to");
		status = ESCA_EXIT_FAILED;
	}
	if (remarks(o, pairs, o->pairs) && !status)
		status = ESCA_EXIT_MISMATCH;
	if (o->json && save_json(o, &choice, pairs, o->pairs, &prediction))
		status = ESCA_EXIT_FAILED;
out:
	free(pairs);
	return status;
}

static int run(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"load", KEY_LOAD, "CMD", 0,
		 "The load, a shell command; it is run against each server once that listens", 0},
		{"pairs", 'p', "N", 0, "Measure N times vanilla and aggregated in turn (5)", 0},
		{"requests", KEY_REQUESTS, "N", 0,
		 "The load makes N requests; needed where its output is not that of wrk, ab or "
		 "redis-benchmark",
		 0},
		{"json", KEY_JSON, "FILE", 0, "Write all that was measured to FILE", 0},
		{"server-cpu", KEY_SERVER_CPU, "N", 0, "The CPU to pin the server to", 0},
		{"load-cpu", KEY_LOAD_CPU, "N", 0, "The CPU to pin the load to", 0},
		{"isolate-net", KEY_ISOLATE, NULL, 0,
		 "Measure in a network of its own, with loopback and reno only (root)", 0},
		{"no-predict", KEY_NO_PREDICT, NULL, 0, "Do not record the server first", 0},
		{"timeout", KEY_TIMEOUT, "S", 0,
		 "Give the server S seconds to listen and the load S seconds to end (60)", 0},
		{0},
	};
	static const struct argp_child children[] = {{&options_plan, 0, NULL, 0}, {0}};
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.children = children,
		.args_doc = "--load CMD [--] COMMAND [ARG...]",
		.doc = "Run a server vanilla and aggregated in turn under a load, and show what "
		       "that saved.\v"
		       "Exit status: 0 measured, 1 the server, the load or some requests failed, 2 "
		       "it could not be measured, 64 wrong command line, 126 the server cannot be "
		       "executed, 127 there is no such program, 128+N interrupted by signal N.",
	};
	struct options o = {.plan = PLAN_DEFAULT,
			    .pairs = 5,
			    .timeout_s = 60,
			    .server_cpu = -1,
			    .load_cpu = -1};
	struct bench_setup s = {0};
	struct target target;
	cpu_set_t set;
	int ret;

	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &o);
	target_inspect(&target, o.command[0]);
	if (target.kind != TARGET_OK) {
		msg_error("%s", target_sentence(&target));
		return target.kind < TARGET_OK ? target_exit_status(&target) : ESCA_EXIT_FAILED;
	}
	ret = reach_check(&target, NULL, o.plan.allow_unseen);
	if (ret)
		return ret;
	if (target_library(s.library, sizeof(s.library))) {
		msg_error("cannot find libesca.so beside this esca or in '%s'; install esca again "
			  "with 'make install'",
			  ESCA_LIBDIR);
		return ESCA_EXIT_FAILED;
	}
	if (!target_published(&target, s.library, s.published, sizeof(s.published)))
		s.published[0] = '\0';
	if (o.json && (ret = output_check(o.json))) {
		msg_perror(ret, "cannot write the results to '%s', so nothing was measured",
			   o.json);
		return ESCA_EXIT_FAILED;
	}
	ret = choose_cpus(&o);
	if (!ret && o.isolate)
		ret = isolate();
	if (ret)
		return ret;
	bench_init();
	/* keep off the server's CPU ourselves */
	CPU_ZERO(&set);
	CPU_SET((size_t)o.load_cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
	s.target = &target;
	s.command = o.command;
	s.load = o.load;
	s.server_cpu = (int)o.server_cpu;
	s.load_cpu = (int)o.load_cpu;
	s.timeout_s = (unsigned int)o.timeout_s;
	s.requests = o.requests;
	return bench(&o, &s);
}

const struct cmd cmd_bench = {
	.name = "bench",
	.help = "a server vanilla and aggregated in turn under your load",
	.run = run,
};
