/* SPDX-License-Identifier: MIT */
/* options.c - what the command lines of commands that start a server have in common. */
#include "config.h"

#include <cli/options.h>

error_t options_server(int key, struct argp_state *state, char ***command)
{
	switch (key) {
	case ARGP_KEY_ARG:
		*command = state->argv + state->next - 1;
		state->next = state->argc; /* the rest is the server's */
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which server? give its command line after --");
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}
