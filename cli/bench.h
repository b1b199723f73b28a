/* SPDX-License-Identifier: MIT */
/* bench.h - one measured run of a server under its load, vanilla or aggregated. */
#ifndef ESCA_CLI_BENCH_H
#define ESCA_CLI_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <cli/load.h>
#include <cli/plan.h>
#include <cli/target.h>

/** struct bench_setup - what is the same for all runs. */
struct bench_setup {
	const struct target *target;
	char **command;
	const char *load;
	int server_cpu, load_cpu; /* -1: not pinned */
	unsigned int timeout_s;	  /* for the server to listen, and for the load to end */
	/* the user's word for how many the load makes; 0: the load tool says it */
	uint64_t requests;
	struct plan_options plan; /* its backend is not PLAN_AUTO */
	char library[PATH_MAX];
	/* libesca-published.so, for a server that needs it; "" for others */
	char published[PATH_MAX];
};

/**
 * struct bench_run - what one run gave. CPU time and
 * counters are those between begin and end of the load.
 */
struct bench_run {
	double cpu_ns;	   /* of the server's whole tree */
	double seconds;	   /* the load took */
	uint64_t requests; /* 0: not known */
	double rps;	   /* 0: not known */
	double p50_us;	   /* 0: the tool gives none */
	double p99_us;	   /* likewise */
	uint64_t kernel;   /* system calls of the server, by the tool's own count; 0: it has none */
	uint64_t failed;   /* by the load tool's own count */
	char tool[24];	   /* "" if its output was not understood */
	int load_status;   /* exit status of the load, 128+n for a signal */
	bool counted;	   /* the counters below are valid (aggregated runs) */
	uint64_t turns, calls, crossings, deferred, fused;
	unsigned int uring; /* 1: some process used the uring backend */
};

/** What bench_run() and bench_wait() may end in, beside 0. */
enum bench_end {
	BENCH_OK = 0,
	BENCH_FAILED = -1,	/* a sentence was said */
	BENCH_INTERRUPTED = -2, /* a signal came; bench_signal() has it */
};

/** bench_init() - catch the signals that end us, become the subreaper of what we start. Call once.
 */
void bench_init(void);

/** bench_signal() - the signal that interrupted us, 0 if none. */
int bench_signal(void);

/**
 * bench_run() - start the server, aggregated or not, wait until it listens, run the load, stop the
 * server; nothing that was started is left when it returns. Says itself what failed. @again: the
 * server is known to start, so if it cannot now, wait for its port.
 */
enum bench_end bench_run(struct bench_run *r, const struct bench_setup *s, bool aggregated,
			 bool again);

/**
 * bench_child() - run our own binary with @argv (argv[0] is replaced), on @cpu, with these outputs,
 * until it ends; one that takes much longer than @timeout_s (it has a server and a load to wait
 * for) is ended as by Ctrl-C. Return: BENCH_OK and its exit status in *@status, or why not.
 */
enum bench_end bench_child(char **argv, int cpu, int out_fd, int err_fd, unsigned int timeout_s,
			   int *status);

/**
 * bench_isolate() - a network namespace of our own,
 * loopback up, reno. Return: 0, or negative errno.
 */
int bench_isolate(void);

#endif
