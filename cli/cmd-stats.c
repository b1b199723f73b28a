/* SPDX-License-Identifier: MIT */
/* cmd-stats.c - esca stats: the counters of a server that runs under esca run --stats, now. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cli/cmd.h>
#include <cli/kernel-count.h>
#include <cli/msg.h>
#include <cli/output.h>
#include <cli/stats.h>

struct options {
	pid_t pid;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;
	char *end;
	long v;

	switch (key) {
	case ARGP_KEY_ARG:
		if (state->arg_num)
			argp_error(state, "stats takes one process, but '%s' was given as well",
				   arg);
		errno = 0;
		v = strtol(arg, &end, 10);
		if (errno || end == arg || *end || strchr("+- ", *arg) || v < 1 || v > 0x7fffffff)
			argp_error(state, "PID is the number of a process, not '%s'", arg);
		o->pid = (pid_t)v;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which process? give the number of esca run, of the server or of "
				  "one of its workers");
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static int run(int argc, char **argv)
{
	static const struct argp argp = {
		.parser = parse,
		.args_doc = "PID",
		.doc = "Print as JSON what has been aggregated so far in a server whose 'esca run' "
		       "counts (option stats). PID is that of esca, of the server or of one of its "
		       "workers."
		       "Exit status: 0 printed, 1 nobody counts in that process, 2 its counters "
		       "cannot be read or printed, 64 wrong command line.",
	};
	struct options o = {0};
	struct kernel_count count;
	struct stats s;
	json_t *json;
	int ret;

	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &o);
	ret = stats_find(&s, o.pid);
	switch (ret) {
	case 0:
		break;
	case -ESRCH:
		msg_error("there is no process %d; see 'pgrep -a esca'", (int)o.pid);
		return ESCA_EXIT_FAILED;
	case -ENOENT:
		msg_error("process %d has no counters; start the server with 'esca run --stats "
			  "FILE'",
			  (int)o.pid);
		return ESCA_EXIT_MISMATCH;
	case -EPROTO:
		msg_error("process %d runs under another version of esca; use the 'esca stats' of "
			  "that one",
			  (int)o.pid);
		return ESCA_EXIT_FAILED;
	case -EACCES:
		msg_error(
			"the counters of process %d may not be read; run 'esca stats' as the user "
			"who started the server, or as root",
			(int)o.pid);
		return ESCA_EXIT_FAILED;
	default:
		msg_perror(ret, "cannot read the counters of process %d", (int)o.pid);
		return ESCA_EXIT_FAILED;
	}
	json = stats_to_json(s.area);
	if (json) {
		kernel_count_find(&count, s.owner);
		kernel_count_to_json(&count, s.area, json);
		kernel_count_close(&count);
	}
	ret = json ? output_stdout(json) : -ENOMEM;
	json_decref(json);
	stats_close(&s);
	if (ret) {
		msg_perror(ret, "cannot write the counters to standard output");
		return ESCA_EXIT_FAILED;
	}
	return ESCA_EXIT_OK;
}

const struct cmd cmd_stats = {
	.name = "stats",
	.help = "the counters of a server under esca run --stats, now",
	.run = run,
};
