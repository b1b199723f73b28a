/* SPDX-License-Identifier: MIT */
/* main.c - find the subcommand and hand it its command line. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cli/cmd.h>
#include <cli/msg.h>

/* One row a command; help lists them in this order. */
static const struct cmd *const cmds[] = {
	&cmd_trace, &cmd_advise, &cmd_run, &cmd_stats, &cmd_bench, &cmd_doctor, &cmd_dump, NULL,
};

struct root {
	const struct cmd *cmd;
	int argc;
	char **argv;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct root *root = state->input;

	switch (key) {
	case ARGP_KEY_ARG:
		for (unsigned int i = 0; cmds[i]; i++)
			if (!strcmp(cmds[i]->name, arg))
				root->cmd = cmds[i];
		if (!root->cmd)
			argp_error(state, "there is no command '%s'; 'esca --help' lists them",
				   arg);
		root->argc = state->argc - state->next + 1;
		root->argv = state->argv + state->next - 1;
		state->next = state->argc; /* the rest is the command's */
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_usage(state);
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static char *help_filter(int key, const char *text, void *input)
{
	char *buf = NULL;
	size_t size = 0;
	FILE *f;

	if (key != ARGP_KEY_HELP_POST_DOC)
		return (char *)text;
	f = open_memstream(&buf, &size);
	if (!f)
		return (char *)text;
	fputs("Commands:\n", f);
	for (unsigned int i = 0; cmds[i]; i++)
		fprintf(f, "  %-10s %s\n", cmds[i]->name, cmds[i]->help);
	fputs("\n'esca COMMAND --help' has the options of a command, esca-COMMAND(1) its manual "
	      "page.\n\n"
	      "Exit status: 0 done, 1 done and the answer is no (a comparison differs, a load "
	      "failed), 2 could not run,\n"
	      "64 wrong command line; trace and run give the server's own status.\n",
	      f);
	fclose(f);
	return buf;
}

static void print_version(FILE *f, struct argp_state *state)
{
	fprintf(f, "%s\n%s\n", PACKAGE_STRING, ESCA_FEATURES);
}

void (*argp_program_version_hook)(FILE *, struct argp_state *) = print_version;

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.parser = parse,
		.args_doc = "COMMAND [OPTION...]",
		.doc = "Make an event-driven server cheaper per request without changing it: "
		       "record its system calls, find what can be gathered, run it aggregated, "
		       "measure the difference.\v",
		.help_filter = help_filter,
	};
	struct root root = {0};
	static char name[64];

	argp_err_exit_status = ESCA_EXIT_USAGE;
	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &root);
	snprintf(name, sizeof(name), "esca %s", root.cmd->name);
	root.argv[0] = name;
	return root.cmd->run(root.argc, root.argv);
}
