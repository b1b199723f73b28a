/* SPDX-License-Identifier: MIT */
/*
 * tracer.h - start a server under ptrace and the filter,
 * follow all it becomes, and hand what it does to a recorder.
 */
#ifndef ESCA_CLI_TRACER_H
#define ESCA_CLI_TRACER_H

#include <linux/filter.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <cli/recorder.h>

struct tracer;

/**
 * struct tracer_opts - how to trace.
 * @path, @argv: the server. @library: libesca.so for the ring lane, NULL: every call is stopped.
 * @mask: the signal mask the server starts with.
 * @other: called for each child of this process that ended and is no part of the server.
 */
struct tracer_opts {
	const char *path;
	char **argv;
	const char *library;
	bool stacks;
	const sigset_t *mask;
	void (*other)(void *arg, pid_t pid, int status);
	void *arg;
};

/** Where tracer_start() failed: the sentence depends on it. */
enum tracer_step {
	TRACER_STEP_SETUP,
	TRACER_STEP_FORK,
	TRACER_STEP_SEIZE,
};

/**
 * tracer_start() - fork the server, seize it and let it run. The strings of @o are kept by the
 * caller until tracer_free(). Return: 0 and *@t, or negative errno and *@step.
 */
int tracer_start(struct tracer **t, struct recorder *rec, const struct tracer_opts *o,
		 enum tracer_step *step);
void tracer_free(struct tracer *t);

/**
 * tracer_pump() - deal with every stop and exit there is
 * now, without waiting. SIGCHLD says when there is more.
 */
void tracer_pump(struct tracer *t);

/** tracer_alive() - is any process of the server left? tracer_pid() - the process that was started.
 */
bool tracer_alive(const struct tracer *t);
pid_t tracer_pid(const struct tracer *t);

/** What became of the first process. */
struct tracer_end {
	bool ended;
	int status;	/* wait status */
	int exec_err;	/* errno of its exec, 0: it became the server's program */
	int filter_err; /* errno of the filter's installation */
};
void tracer_end(const struct tracer *t, struct tracer_end *end);

/**
 * tracer_kill() - signal @sig to the server as its admin would:
 * the first process, or what it left behind as a daemon.
 */
void tracer_kill(struct tracer *t, int sig);
/** tracer_kill_all() - SIGKILL to every process of the server. */
void tracer_kill_all(struct tracer *t);

/** tracer_cpu() - a TRACE_REC_CPU record for every thread alive. */
void tracer_cpu(struct tracer *t);

/** tracer_symbols() - the symbols of all call stacks, at the end of the recording. */
void tracer_symbols(struct tracer *t);

/** tracer_ring_live() - has libesca.so come into force in any process? */
bool tracer_ring_live(const struct tracer *t);

/* --- the filter (tracer-filter.c) --- */

/** tracer_filter_make() - every call stops (RET_TRACE); with @gate, but those made there.
 * free(prog->filter) is the caller's. */
int tracer_filter_make(struct sock_fprog *prog, bool gate);
/** tracer_filter_install() - put it on the calling process; to be called in the child. */
int tracer_filter_install(const struct sock_fprog *prog);

#endif
