/* SPDX-License-Identifier: MIT */
/*
 * load.h - start a server's load command, know when the
 * server listens, and read what the load tool measured.
 */
#ifndef ESCA_CLI_LOAD_H
#define ESCA_CLI_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/**
 * load_listening() - does @pid, or a process that descends from it, have a
 * listening TCP or unix socket? Looks at /proc only; nothing is connected
 * to. Daemonised children count when the caller is their subreaper.
 * Return: 1 yes, 0 not yet, negative errno.
 */
int load_listening(pid_t pid);

/**
 * load_spawn() - run @cmd by /bin/sh -c in a process group of its own, with signals at their
 * defaults. If this process is killed, the whole group gets SIGTERM.
 * @cpu: pin it there, -1 for no pinning. @out_fd: its standard output, -1 to inherit.
 * Return: the pid of the group's leader, which ends as the shell does (wait for it; kill(-pid) ends
 * the whole group), or negative errno.
 */
pid_t load_spawn(const char *cmd, int cpu, int out_fd);

/** What a load tool said of itself. */
struct load_result {
	char tool[24];	   /* "wrk", "ab", "redis-benchmark", "esca-load"; "": not understood */
	uint64_t requests; /* completed; 0 if not known */
	double rps;	   /* requests per second; 0 if not known */
	double p50_us;	   /* 0 if the tool gave none */
	double p99_us;	   /* likewise */
	uint64_t calls;	   /* system calls of the server, if the tool counted them */
	uint64_t failed;   /* failed or non-2xx requests and socket errors */
};

/**
 * load_parse() - understand the output @text of wrk, ab,
 * redis-benchmark or tests/bench/load. Return: false if it is none of them.
 */
bool load_parse(struct load_result *r, const char *text, size_t size);

/**
 * load_tree() - the processes that descend from @pid, itself
 * included, into @pids; returns their number, at most @max.
 */
size_t load_tree(pid_t pid, pid_t *pids, size_t max);

/**
 * load_tree_cpu_ns() - user and system time of all threads
 * of @pid and its descendants alive now, in ns (schedstat).
 */
uint64_t load_tree_cpu_ns(pid_t pid);

#endif
