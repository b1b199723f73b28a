/* SPDX-License-Identifier: MIT */
/* options.h - what the command lines of commands that start a server have in common. */
#ifndef ESCA_CLI_OPTIONS_H
#define ESCA_CLI_OPTIONS_H

#include <argp.h>

/**
 * options_server() - the part of an argp parser that takes the server's command line: all from its
 * first word on, into *@command (of the argv being parsed, NULL-terminated). For keys that the
 * command's own parser does not know.
 *
 * Return: 0, or ARGP_ERR_UNKNOWN for every other key. Where there is no server it does not return.
 */
error_t options_server(int key, struct argp_state *state, char ***command);

/**
 * options_number() - @arg as a number from @min to @max; @size: K or M after it is 2^10 or 2^20.
 * For anything else it ends the program with a usage error about the option @what.
 */
unsigned long options_number(struct argp_state *state, const char *what, const char *arg,
			     unsigned long min, unsigned long max, int size);

/**
 * options_plan - argp child for how a server is to be aggregated: backend, fusions, bounds. Its
 * input is a struct plan_options that begins as PLAN_DEFAULT.
 */
extern const struct argp options_plan;

#endif
