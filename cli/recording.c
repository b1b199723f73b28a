/* SPDX-License-Identifier: MIT */
/*
 * recording.c - open a recording that the user named,
 * and say in one sentence what is wrong with it.
 */
#include "config.h"

#include <errno.h>
#include <string.h>

#include <cli/cmd.h>
#include <cli/msg.h>
#include <cli/recording.h>

FILE *recording_open(const char *path)
{
	FILE *f;

	if (!strcmp(path, "-"))
		return stdin;
	f = fopen(path, "re");
	if (!f && errno == ENOENT && !strcmp(path, RECORDING_DEFAULT))
		msg_error("there is no %s here; record a server with 'esca trace -- COMMAND' "
			  "first, or name the recording",
			  path);
	else if (!f)
		msg_perror(errno, "cannot open the recording %s", path);
	return f;
}

int recording_end(const char *path, enum trace_error e, const char *shown)
{
	if (!strcmp(path, "-"))
		path = "standard input";
	switch (e) {
	case TRACE_OK:
	case TRACE_EOF:
		return ESCA_EXIT_OK;
	case TRACE_CUT:
		msg_warn("%s: %s; %s", path, trace_strerror(e), shown);
		return ESCA_EXIT_OK;
	case TRACE_IO:
		msg_perror(errno, "cannot read the recording %s", path);
		return ESCA_EXIT_FAILED;
	default:
		msg_error("%s: %s", path, trace_strerror(e));
		return ESCA_EXIT_FAILED;
	}
}
