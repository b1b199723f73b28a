/* SPDX-License-Identifier: MIT */
/*
 * hook.c - what a wrapped call costs beside libc's own, in turn in one process: calls that the
 * runtime does not touch, and writes that it queues. To be run under esca run.
 */
#include "config.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS	1001
#define CALLS	100
#define STREAMS 16
#define BYTES	100

/* libc's own, which LD_PRELOAD does not reach. */
static ssize_t (*libc_write)(int, const void *, size_t);
static ssize_t (*libc_read)(int, void *, size_t);
static int (*libc_getsockopt)(int, int, int, void *, socklen_t *);

static int null, udp, empty[2], ep, near[STREAMS], far[STREAMS];
static double ticks_per_ns;
static char bytes[BYTES];

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "hook: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t tsc(void)
{
	return __builtin_ia32_rdtsc();
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double at(double *v, size_t n, double q)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[(size_t)(q * (double)(n - 1))];
}

static void clock_start(void)
{
	struct timespec a, b;
	uint64_t t = tsc();
	double ns;

	clock_gettime(CLOCK_MONOTONIC, &a);
	do {
		clock_gettime(CLOCK_MONOTONIC, &b);
		ns = (double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec);
	} while (ns < 2e7);
	ticks_per_ns = (double)(tsc() - t) / ns;
}

static void say(const char *what, double *own, double *wrapped, double *diff, double goal,
		double found)
{
	double lo = at(diff, ROUNDS, .1), hi = at(diff, ROUNDS, .9);

	if (own)
		printf("%-44s %8.1f %8.1f %8.1f [%.1f-%.1f]", what, at(own, ROUNDS, .5),
		       at(wrapped, ROUNDS, .5), at(diff, ROUNDS, .5), lo, hi);
	else
		printf("%-44s %8s %8.1f %8.1f [%.1f-%.1f]", what, "-", at(wrapped, ROUNDS, .5),
		       at(diff, ROUNDS, .5), lo, hi);
	printf("  %3.0f  %s\n", goal, found <= goal ? "yes" : "NO");
}

/* --- not touched --- */

enum call {
	WRITE,
	READ,
	GETSOCKOPT,
};

static void calls(enum call c, bool own)
{
	socklen_t len;
	int v;

	for (int i = 0; i < CALLS; i++) {
		switch (c) {
		case WRITE:
			(own ? libc_write : write)(null, bytes, BYTES);
			break;
		case READ:
			(own ? libc_read : read)(empty[0], bytes, BYTES);
			break;
		case GETSOCKOPT:
			len = sizeof(v);
			(own ? libc_getsockopt : getsockopt)(udp, SOL_SOCKET, SO_TYPE, &v, &len);
			break;
		}
	}
}

static void untouched(const char *what, enum call c)
{
	static double own[ROUNDS], wrapped[ROUNDS], diff[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		uint64_t t0 = tsc(), t1, t2;

		calls(c, true);
		t1 = tsc();
		calls(c, false);
		t2 = tsc();
		own[i] = (double)(t1 - t0) / ticks_per_ns / CALLS;
		wrapped[i] = (double)(t2 - t1) / ticks_per_ns / CALLS;
		diff[i] = wrapped[i] - own[i];
	}
	say(what, own, wrapped, diff, 10, at(diff, ROUNDS, .5));
}

/* --- queued --- */

static void streams(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	socklen_t len = sizeof(to);
	int one = 1, l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (l < 0 || bind(l, (struct sockaddr *)&to, sizeof(to)) || listen(l, STREAMS) ||
	    getsockname(l, (struct sockaddr *)&to, &len))
		die("cannot listen");
	ep = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < STREAMS; i++) {
		struct epoll_event ev = {.events = EPOLLIN, .data.fd = i};

		far[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (far[i] < 0 || connect(far[i], (struct sockaddr *)&to, sizeof(to)))
			die("cannot connect");
		near[i] = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (near[i] < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, near[i], &ev))
			die("cannot accept");
		setsockopt(far[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		setsockopt(near[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	}
	close(l);
}

/* The peers ask; what they asked is read, so a turn has begun and nothing has been written. */
static void turn(void)
{
	struct epoll_event evs[STREAMS];
	int seen = 0;
	char c;

	for (int i = 0; i < STREAMS; i++)
		if (libc_write(far[i], "x", 1) != 1)
			die("cannot ask");
	while (seen < STREAMS) {
		int n = epoll_wait(ep, evs, STREAMS, 1000);

		if (n <= 0)
			die("nothing to read");
		for (int i = 0; i < n; i++)
			if (read(near[evs[i].data.fd], &c, 1) == 1)
				seen++;
	}
}

/* What is queued goes out with the wait; the peers take it, all of it and nothing else. */
static void settle(size_t each)
{
	static char in[STREAMS * BYTES];
	struct epoll_event ev;

	if (epoll_wait(ep, &ev, 1, 0) < 0)
		die("cannot wait");
	for (int i = 0; i < STREAMS; i++)
		for (size_t got = 0; got < each;) {
			ssize_t n = libc_read(far[i], in, each - got);

			if (n <= 0 || memcmp(in, bytes, (size_t)n))
				die("wrong bytes");
			got += (size_t)n;
		}
}

static void queued(const char *what, bool same)
{
	static double wrapped[ROUNDS], diff[ROUNDS];

	for (int r = 0; r < ROUNDS; r++) {
		uint64_t t;

		turn();
		t = tsc();
		for (int i = 0; i < STREAMS; i++)
			if (write(near[same ? r % STREAMS : i], bytes, BYTES) != BYTES)
				die("short write");
		wrapped[r] = (double)(tsc() - t) / ticks_per_ns / STREAMS;
		diff[r] = wrapped[r];
		if (same) {
			struct epoll_event ev;
			static char in[STREAMS * BYTES];

			epoll_wait(ep, &ev, 1, 0);
			if (libc_read(far[r % STREAMS], in, sizeof(in)) <= 0)
				die("nothing came");
		} else {
			settle(BYTES);
		}
	}
	say(what, NULL, wrapped, diff, 25, at(wrapped, ROUNDS, .5));
}

static void *from(void *libc, const char *name)
{
	void *f = dlsym(libc, name);

	if (!f)
		die(name);
	return f;
}

int main(void)
{
	void *libc = dlopen("libc.so.6", RTLD_NOW);

	if (!libc)
		die("cannot open libc");
	*(void **)&libc_write = from(libc, "write");
	*(void **)&libc_read = from(libc, "read");
	*(void **)&libc_getsockopt = from(libc, "getsockopt");
	if (*(void **)&libc_write == dlsym(RTLD_DEFAULT, "write"))
		fputs("hook: libesca.so is not at work; run this under esca run\n", stderr);
	null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (null < 0 || udp < 0 || pipe2(empty, O_NONBLOCK | O_CLOEXEC))
		die("cannot make the descriptors");
	clock_start();
	streams();
	printf("%-44s %8s %8s %8s  %s\n", "CALL, ns", "LIBC", "WRAPPED", "COST",
	       "[10%-90%]  GOAL  MET");
	untouched("write to /dev/null, no turn", WRITE);
	untouched("read of an empty pipe, no turn", READ);
	untouched("getsockopt of a datagram socket, no turn", GETSOCKOPT);
	turn();
	untouched("write to /dev/null, in a turn", WRITE);
	untouched("read of an empty pipe, in a turn", READ);
	untouched("getsockopt of a datagram socket, in a turn", GETSOCKOPT);
	queued("write of 100 B queued, 16 streams", false);
	queued("write of 100 B queued, one stream", true);
	return 0;
}
