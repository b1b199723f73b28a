/* SPDX-License-Identifier: MIT */
/* options.c - what the command lines of commands that start a server have in common. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cli/options.h>
#include <cli/plan.h>
#include <esca-runtime/plan.h>

enum {
	KEY_FUSE = 1024,
	KEY_NO_FUSE,
	KEY_AHEAD,
	KEY_CALLS,
	KEY_BYTES,
	KEY_DELAY,
	KEY_UNSEEN,
};

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

unsigned long options_number(struct argp_state *state, const char *what, const char *arg,
			     unsigned long min, unsigned long max, int size)
{
	unsigned long v, unit = 1;
	char *end;

	errno = 0;
	v = strtoul(arg, &end, 10);
	if (size && end != arg && *end) {
		if (strchr("kK", *end))
			unit = 1ul << 10;
		else if (strchr("mM", *end))
			unit = 1ul << 20;
		end += unit > 1;
	}
	if (errno || end == arg || *end || strchr("+- ", *arg) || v > max / unit || v * unit < min)
		argp_error(state, "%s is a number from %lu to %lu, not '%s'", what, min, max, arg);
	return v * unit;
}

/* The fusions that @list names, as a mask; ends the program where it names another one. */
static unsigned int fusions(struct argp_state *state, const char *what, const char *list)
{
	unsigned int mask = 0;

	for (;;) {
		size_t len = strcspn(list, ",");
		unsigned int f = plan_fusion(list, len);

		if (!f)
			argp_error(state,
				   "%s takes fusions with commas between them (%s), not '%.*s'",
				   what, plan_fusion_names, (int)len, list);
		mask |= f;
		if (!list[len])
			return mask;
		list += len + 1;
	}
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct plan_options *o = state->input;

	switch (key) {
	case 'b':
		if (!plan_backend_parse(&o->backend, arg))
			argp_error(state, "--backend is auto, direct or uring, not '%s'", arg);
		return 0;
	case KEY_FUSE:
		if (!strcmp(arg, "none"))
			o->fuse = 0;
		else
			o->fuse |= fusions(state, "--fuse", arg);
		return 0;
	case KEY_NO_FUSE:
		o->fuse &= ~fusions(state, "--no-fuse", arg);
		return 0;
	case KEY_AHEAD:
		o->fuse |= 1u << ESCA_FUSE_AHEAD;
		return 0;
	case KEY_UNSEEN:
		o->allow_unseen = true;
		return 0;
	case KEY_CALLS:
		o->calls = (unsigned int)options_number(state, "--max-calls", arg, 1,
							ESCA_QUEUE_CALLS, 0);
		return 0;
	case KEY_BYTES:
		o->bytes = (unsigned int)options_number(state, "--max-bytes", arg, ESCA_FILE_MAX,
							ESCA_QUEUE_BYTES, 1);
		return 0;
	case KEY_DELAY:
		o->age_us = (unsigned int)options_number(state, "--max-delay", arg, 1,
							 ESCA_QUEUE_AGE_MAX, 0);
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static char *with_bounds(int key, const char *text, void *input)
{
	char *s = NULL;
	int n = -1;

	switch (key) {
	case KEY_CALLS:
		n = asprintf(&s, "%s (%d, which is the most)", text, ESCA_QUEUE_CALLS);
		break;
	case KEY_BYTES:
		n = asprintf(&s, "%s (%dK, which is the most; at least %dK)", text,
			     ESCA_QUEUE_BYTES >> 10, ESCA_FILE_MAX >> 10);
		break;
	case KEY_DELAY:
		n = asprintf(&s, "%s (%d; at most %d)", text, ESCA_QUEUE_AGE, ESCA_QUEUE_AGE_MAX);
		break;
	case KEY_FUSE:
		n = asprintf(&s, "%s: %s", text, plan_fusion_names);
		break;
	}
	return n < 0 ? (char *)text : s;
}

static const struct argp_option plan_options[] = {
	{"backend", 'b', "BACKEND", 0,
	 "How queued calls reach the kernel: auto (the best that works here), direct or uring", 0},
	{"fuse", KEY_FUSE, "LIST", 0,
	 "Switch fusions on (commas between them), or with none all of them off", 0},
	{"no-fuse", KEY_NO_FUSE, "LIST", 0, "Switch fusions off", 0},
	{"read-ahead", KEY_AHEAD, NULL, 0, "The same as --fuse read-ahead, which is off", 0},
	{"max-calls", KEY_CALLS, "N", 0, "So many calls may wait in one thread", 0},
	{"max-bytes", KEY_BYTES, "SIZE", 0, "So many bytes may wait in one thread", 0},
	{"max-delay", KEY_DELAY, "US", 0,
	 "What waits goes to the kernel with the first call after so many microseconds", 0},
	{"allow-unseen", KEY_UNSEEN, NULL, 0,
	 "Run it even where calls past libc were found that could be waited for or overtaken", 0},
	{0},
};

const struct argp options_plan = {
	.options = plan_options,
	.parser = parse,
	.help_filter = with_bounds,
};
