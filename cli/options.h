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

#endif
