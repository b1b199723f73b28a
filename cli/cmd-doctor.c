/* SPDX-License-Identifier: MIT */
/*
 * cmd-doctor.c - esca doctor: what this host allows, what a
 * crossing costs here, what is missing and how to get it.
 */
#include "config.h"

#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cli/calibrate.h>
#include <cli/cmd.h>
#include <cli/msg.h>
#include <cli/probe.h>
#include <cli/profile.h>

enum {
	KEY_JSON = 256
};

struct options {
	bool json;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case KEY_JSON:
		o->json = true;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "doctor takes no argument, but '%s' was given", arg);
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

struct look {
	const char *mark[3], *color[3], *off, *arrow;
};

static void look_choose(struct look *l)
{
	bool utf8 = setlocale(LC_CTYPE, "") && !strcmp(nl_langinfo(CODESET), "UTF-8");
	bool color = msg_use_color(STDOUT_FILENO);

	*l = (struct look){
		.mark = {[PROBE_YES] = utf8 ? "✓" : "ok",
			 [PROBE_NO] = utf8 ? "✗" : "NO",
			 [PROBE_NOTE] = utf8 ? "·" : "--"},
		.color = {[PROBE_YES] = color ? "\033[32m" : "",
			  [PROBE_NO] = color ? "\033[1;31m" : "",
			  [PROBE_NOTE] = color ? "\033[33m" : ""},
		.off = color ? "\033[0m" : "",
		.arrow = utf8 ? "→" : "->",
	};
}

static void print_text(const struct probe_check *list, size_t n, const struct cost *c, bool ok)
{
	const struct profile_field *f;
	struct look l;
	size_t count;

	look_choose(&l);
	for (size_t i = 0; i < n; i++) {
		printf("  %s%s%s %-17s %s\n", l.color[list[i].state], l.mark[list[i].state], l.off,
		       list[i].title, list[i].found);
		if (*list[i].todo)
			printf("    %-17s %s %s\n", "", l.arrow, list[i].todo);
	}
	printf("\nWhat things cost here, in ns of CPU time:\n");
	f = profile_fields(&count);
	for (size_t i = 0; i < count; i++) {
		double ns = profile_value(c, &f[i]);

		if (ns < 0 || ns > 0)
			printf("  %8.0f  %s\n", ns, f[i].what);
		else
			printf("  %8s  %s (could not be measured)\n", "?", f[i].what);
	}
	printf("\n%s\n", ok ? "Everything that esca needs works here."
			    : "Something that esca needs is missing: see the lines marked above.");
}

static int print_json(const struct probe_check *list, size_t n, const struct cost *c, bool ok)
{
	static const char *const states[] = {"yes", "no", "note"};
	json_t *checks = json_array(), *json;
	int ret;

	for (size_t i = 0; i < n; i++)
		json_array_append_new(checks,
				      json_pack("{s:s, s:s, s:s, s:b, s:s, s:s}", "id", list[i].id,
						"title", list[i].title, "state",
						states[list[i].state], "needed", list[i].needed,
						"found", list[i].found, "todo", list[i].todo));
	json = json_pack("{s:s, s:b, s:o, s:o}", "esca", PACKAGE_VERSION, "ok", ok, "checks",
			 checks, "profile", profile_to_json(c));
	ret = json ? json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(12)) : -1;
	putchar('\n');
	json_decref(json);
	return ret;
}

static int run(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"json", KEY_JSON, NULL, 0, "Print JSON; advise --profile reads it", 0},
		{0},
	};
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.doc = "Show what this host allows, what entering the kernel costs here, and what "
		       "is missing.\v"
		       "Exit status: 0 everything that esca needs works, 1 something is missing, 2 "
		       "the host could not be examined, 64 wrong command line.",
	};
	struct probe_check list[PROBE_MAX];
	struct options o = {0};
	bool ok = true;
	struct cost c;
	size_t n;
	int ret;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	msg_progress("looking at the host");
	n = probe_all(list);
	for (size_t i = 0; i < n; i++)
		ok &= !(list[i].needed && list[i].state == PROBE_NO);
	msg_progress("measuring what a crossing costs");
	ret = calibrate(&c);
	msg_progress_end();
	if (ret) {
		msg_perror(ret, "cannot time a kernel crossing on this host");
		return ESCA_EXIT_FAILED;
	}
	if (o.json)
		ret = print_json(list, n, &c, ok);
	else
		print_text(list, n, &c, ok);
	if (ret || fflush(stdout) || ferror(stdout)) {
		msg_error("cannot write to standard output; check what it is redirected to");
		return ESCA_EXIT_FAILED;
	}
	return ok ? ESCA_EXIT_OK : ESCA_EXIT_MISMATCH;
}

const struct cmd cmd_doctor = {
	.name = "doctor",
	.help = "what this host allows, what a crossing costs here, what is missing",
	.run = run,
};
