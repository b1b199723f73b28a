/* SPDX-License-Identifier: MIT */
/* cmd-advise.c - esca advise report: what a recording says about aggregating the server. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <analyzer/render.h>
#include <cli/advise.h>
#include <cli/calibrate.h>
#include <cli/cmd.h>
#include <cli/msg.h>
#include <cli/profile.h>
#include <cli/recording.h>

struct advise {
	const char *path;
	const char *profile;
	bool json;
};

static bool get_cost(struct cost *c, const char *profile)
{
	char why[256];
	int err;

	if (profile) {
		err = profile_load(c, profile, why, sizeof(why));
		if (err)
			msg_error("cannot use the cost profile %s: %s", profile, why);
		return !err;
	}
	msg_progress("measuring what a crossing costs here");
	err = calibrate(c);
	msg_progress_end();
	if (err)
		msg_perror(err, "cannot measure what a crossing costs here; give a profile of "
				"another run with --profile");
	return !err;
}

static int report(const struct advise *adv)
{
	const struct renderer *r = renderer_by_name(adv->json ? "json" : "text");
	enum trace_error why;
	struct advice *a;
	struct cost cost;
	int status;
	FILE *f;
	int err;

	f = recording_open(adv->path);
	if (!f)
		return ESCA_EXIT_FAILED;
	if (!get_cost(&cost, adv->profile)) {
		if (f != stdin)
			fclose(f);
		return ESCA_EXIT_FAILED;
	}
	msg_progress("reading %s", adv->path);
	err = advice_from_file(f, &cost, &advise_limits, &a, &why);
	msg_progress_end();
	if (err == -ENOMEM || why == TRACE_OK) {
		msg_perror(err, "cannot analyse %s", adv->path);
		status = ESCA_EXIT_FAILED;
	} else {
		status = recording_end(adv->path, why, "the report is of what precedes the cut");
	}
	if (f != stdin)
		fclose(f);
	if (err)
		return ESCA_EXIT_FAILED;
	err = r->render(stdout, a);
	advice_free(a);
	if (err || fflush(stdout)) {
		msg_perror(err ? err : errno, "cannot write the report");
		return ESCA_EXIT_FAILED;
	}
	return status;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct advise *adv = state->input;

	switch (key) {
	case 'j':
		adv->json = true;
		return 0;
	case 'p':
		adv->profile = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (!state->arg_num && strcmp(arg, "report"))
			argp_error(state,
				   "there is no 'esca advise %s'; it is 'esca advise report'", arg);
		if (state->arg_num == 1)
			adv->path = arg;
		if (state->arg_num > 1)
			argp_error(state, "one recording at a time");
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "say what to do: esca advise report");
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static int run(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"json", 'j', NULL, 0, "the report as one JSON object", 0},
		{"profile", 'p', "FILE", 0,
		 "the cost profile (esca doctor --json) to reckon with, instead of measuring this "
		 "host",
		 0},
		{0},
	};
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.args_doc = "report [FILE]",
		.doc = "Say what the recording FILE (default: esca.data; - is standard input) "
		       "tells about aggregating the server: its event loops, which calls can wait, "
		       "be fused or left out, and what that saves.\v"
		       "Exit status: 0 reported, also if the recording was cut off or nothing is "
		       "worth it, 2 no recording, damaged, or of another version or machine, 64 "
		       "wrong command line.",
	};
	struct advise adv = {.path = RECORDING_DEFAULT};

	argp_parse(&argp, argc, argv, 0, NULL, &adv);
	return report(&adv);
}

const struct cmd cmd_advise = {
	.name = "advise", .help = "say what aggregating a recorded server would save", .run = run};
