/* SPDX-License-Identifier: MIT */
/*
 * cmd.h - what a subcommand is: each lives in its own
 * cli/cmd-NAME.c, which ends in one const struct cmd.
 */
#ifndef ESCA_CLI_CMD_H
#define ESCA_CLI_CMD_H

#include <argp.h>

/**
 * Exit statuses of esca; every command's --help and man page state
 * them. `trace` and `run` pass the server's own status through.
 */
enum esca_exit {
	ESCA_EXIT_OK = 0,
	/* it ran, and the answer is no: a comparison differs, a load command failed */
	ESCA_EXIT_MISMATCH = 1,
	ESCA_EXIT_FAILED = 2,	/* it could not run; one sentence on standard error says why */
	ESCA_EXIT_USAGE = 64,	/* the command line is wrong */
	ESCA_EXIT_NOEXEC = 126, /* the server cannot be executed */
	ESCA_EXIT_NOENT = 127,	/* there is no such server program */
};

/**
 * struct cmd - one subcommand.
 * @run: gets its own argv, argv[0] being "esca NAME"; returns an exit status.
 */
struct cmd {
	const char *name;
	const char *help; /* one line, no full stop */
	int (*run)(int argc, char **argv);
};

extern const struct cmd cmd_trace;
extern const struct cmd cmd_dump;
extern const struct cmd cmd_advise;
extern const struct cmd cmd_run;
extern const struct cmd cmd_stats;
extern const struct cmd cmd_bench;
extern const struct cmd cmd_doctor;

#endif
