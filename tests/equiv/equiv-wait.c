/* SPDX-License-Identifier: MIT */
/* equiv-wait.c - cases about the wait that ends a turn with several replies in it. */
#include <errno.h>
#include <limits.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <stdatomic.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "equiv.h"

#define CONNS  4
#define ROUNDS 50

bool can_wait(void)
{
	enum {
		OP = 59
	};
	size_t size = sizeof(struct io_uring_probe) + (OP + 1) * sizeof(struct io_uring_probe_op);
	struct io_uring_probe *p = calloc(1, size);
	struct io_uring_params params = {0};
	int fd = (int)syscall(SYS_io_uring_setup, 4, &params);
	bool can;

	can = p && fd >= 0 &&
	      !syscall(SYS_io_uring_register, fd, IORING_REGISTER_PROBE, p, OP + 1) &&
	      p->last_op >= OP && (p->ops[OP].flags & IO_URING_OP_SUPPORTED);
	close(fd);
	free(p);
	return can;
}

/* All connections are there, and each is watched for @events. */
static int gather(int *fds, uint32_t events)
{
	int ep = epoll_new(), i;

	for (i = 0; i < CONNS; i++)
		fds[i] = accept_wait(ep, 0);
	for (i = 0; i < CONNS; i++)
		watch(ep, EPOLL_CTL_MOD, fds[i], events);
	return ep;
}

static int wait_some(int ep, struct epoll_event *evs, int max)
{
	int n;

	do
		n = epoll_wait(ep, evs, max, 10000);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		die("epoll_wait");
	return n;
}

/*
 * Read a byte of each connection that has one, in one turn or in several, and answer it. Return:
 * how many events of @other came meanwhile.
 */
static int serve_round(int ep, int other)
{
	struct epoll_event evs[16];
	int left = CONNS, others = 0, i, n;
	char c;

	while (left) {
		n = wait_some(ep, evs, 16);
		for (i = 0; i < n; i++) {
			int fd = evs[i].data.fd;

			if (fd == other) {
				others++;
				continue;
			}
			if (read(fd, &c, 1) != 1)
				die("read");
			c = (char)(c - 'a' + 'A');
			if (write(fd, &c, 1) != 1)
				die("write");
			left--;
		}
	}
	return others;
}

/* --- peers --- */

static void dial_all(int *fds)
{
	int i;

	for (i = 0; i < CONNS; i++)
		fds[i] = dial(0);
}

/* All requests at once: the next ones are there when the replies to the first ones leave. */
static void ready_peer(void)
{
	int fds[CONNS], i;

	dial_all(fds);
	for (i = 0; i < CONNS; i++)
		say(fds[i], "abcdefghijklmnop");
	for (i = 0; i < CONNS; i++)
		hear_all(fds[i], 100, false);
}

/* The next request comes after all replies. */
static void step_peer(void)
{
	int fds[CONNS], i, round;
	char c;

	dial_all(fds);
	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < CONNS; i++)
			say(fds[i], "a");
		for (i = 0; i < CONNS; i++)
			if (read(fds[i], &c, 1) != 1 || c != 'A')
				die("reply");
	}
	note("%d rounds", round);
	for (i = 0; i < CONNS; i++)
		hear_all(fds[i], 100, false);
}

/* --- servers --- */

static void ready_server(void)
{
	int fds[CONNS], ep = gather(fds, EPOLLIN), i;

	/* All requests are there before the first is read. */
	usleep(50000);
	for (i = 0; i < 16; i++)
		serve_round(ep, -1);
}

static void step(uint32_t events)
{
	int fds[CONNS], ep = gather(fds, events), round;

	for (round = 0; round < ROUNDS; round++)
		serve_round(ep, -1);
	note("%d rounds", round);
}

static void lt_server(void)
{
	step(EPOLLIN);
}

/* An edge that came during a flush or between it and the wait is not lost. */
static void et_server(void)
{
	step(EPOLLIN | EPOLLET | EPOLLRDHUP);
}

/* What is reported once is reported in time, and once. */
static void oneshot_server(void)
{
	int fds[CONNS], ep = gather(fds, EPOLLIN), efd = eventfd(0, EFD_NONBLOCK), i, seen = 0;
	uint64_t one = 1;

	watch(ep, EPOLL_CTL_ADD, efd, 0);
	for (i = 0; i < ROUNDS; i++) {
		if (!(i % 2)) {
			if (write(efd, &one, 8) != 8)
				die("eventfd");
			watch(ep, EPOLL_CTL_MOD, efd, EPOLLIN | EPOLLONESHOT);
		}
		seen += serve_round(ep, efd);
		/* What is still to come is there now. */
		if (i % 2) {
			struct epoll_event ev;

			while (seen < i / 2 + 1) {
				if (epoll_wait(ep, &ev, 1, 10000) != 1)
					die("once");
				if (ev.data.fd == efd)
					seen++;
				else
					usleep(100);
			}
		}
	}
	note("%d rounds, %d times once", i, seen);
}

/* Nothing comes: the wait takes its time. */
static void timeout_server(void)
{
	int fds[CONNS], ep = gather(fds, EPOLLIN), i;
	struct timespec t0, t1;
	struct epoll_event ev;
	long us;

	for (i = 0; i < ROUNDS; i++)
		serve_round(ep, -1);
	/* The peer is done and does not hang up. */
	clock_gettime(CLOCK_MONOTONIC, &t0);
	note_result("wait", epoll_wait(ep, &ev, 1, 40));
	clock_gettime(CLOCK_MONOTONIC, &t1);
	us = (t1.tv_sec - t0.tv_sec) * 1000000 + (t1.tv_nsec - t0.tv_nsec) / 1000;
	note("too early: %d", us < 40000);
	note_result("no wait", epoll_wait(ep, &ev, 1, 0));
}

static void on_alarm(int sig)
{
}

static void interrupt_server(void)
{
	struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
	struct itimerval in = {.it_value = {.tv_usec = 30000}};
	int fds[CONNS], ep = gather(fds, EPOLLIN), i;
	struct epoll_event ev;

	sigaction(SIGALRM, &sa, NULL);
	for (i = 0; i < ROUNDS; i++)
		serve_round(ep, -1);
	setitimer(ITIMER_REAL, &in, NULL);
	note_result("wait", epoll_wait(ep, &ev, 1, 10000));
}

/* Does an event of @fd come, among others? */
static bool hear_of(int ep, int fd)
{
	struct epoll_event evs[16];
	int tries, i, n;

	for (tries = 0; tries < 100; tries++) {
		n = wait_some(ep, evs, 16);
		for (i = 0; i < n; i++)
			if (evs[i].data.fd == fd)
				return true;
	}
	return false;
}

/* A wait that fails: as it would, and the replies before it leave. */
static void bad_server(void)
{
	int fds[CONNS], ep = gather(fds, EPOLLIN), efd = eventfd(1, EFD_NONBLOCK), i;
	struct epoll_event ev[4];
	/* Unknown to the compiler, which would warn. */
	struct epoll_event *volatile nowhere = (struct epoll_event *)8;
	volatile int much = INT_MAX;

	for (i = 0; i < ROUNDS; i++) {
		if (i == ROUNDS - 6)
			watch(ep, EPOLL_CTL_ADD, efd, EPOLLIN | EPOLLET);
		/* Every connection is answered in one turn before each of these. */
		serve_round(ep, i >= ROUNDS - 6 ? efd : -1);
		switch (ROUNDS - i) {
		case 5:
			note_result("no room", epoll_wait(ep, ev, 0, 1000));
			break;
		case 4:
			note_result("too much room", epoll_wait(ep, ev, much, 1000));
			break;
		case 3:
			watch(ep, EPOLL_CTL_MOD, efd, EPOLLIN | EPOLLET);
			note_result("bad memory", epoll_wait(ep, nowhere, 4, 1000));
			note("event is still there: %d", hear_of(ep, efd));
			break;
		case 2:
			note_result("not an instance", epoll_wait(efd, ev, 4, 1000));
			break;
		case 1:
			note_result("nothing", epoll_wait(999, ev, 4, 1000));
			break;
		}
	}
}

/* Tight sockets and peers that do not read: not every reply of a turn fits. */
static void tight_server(void)
{
	static char line[1000];
	size_t done[CONNS] = {0}, total = 0, i;
	int fds[CONNS], ep;

	memset(line, 'x', sizeof(line));
	small_buffers();
	ep = gather(fds, EPOLLIN | EPOLLOUT);
	while (total < CONNS * 60 * sizeof(line)) {
		struct epoll_event evs[16];
		int n = wait_some(ep, evs, 16), k;

		for (k = 0; k < n; k++) {
			ssize_t ret;

			for (i = 0; fds[i] != evs[k].data.fd; i++)
				;
			do {
				size_t left = 60 * sizeof(line) - done[i];

				ret = write(fds[i], line,
					    left < sizeof(line) ? left : sizeof(line));
				if (ret < 0 && errno != EAGAIN)
					die("write");
				if (ret > 0) {
					done[i] += (size_t)ret;
					total += (size_t)ret;
				}
			} while (ret > 0 && done[i] < 60 * sizeof(line));
			if (done[i] == 60 * sizeof(line))
				close(fds[i]);
		}
	}
	note("wrote %zu", total);
}

static void tight_peer(void)
{
	int fds[CONNS], i;

	for (i = 0; i < CONNS; i++)
		fds[i] = dial_small();
	usleep(50000);
	for (i = 0; i < CONNS; i++)
		hear_all(fds[i], 700, false);
}

/* A child inherits nothing of the parent's wait, and the parent goes on. */
static void fork_server(void)
{
	int fds[CONNS], ep = gather(fds, EPOLLIN), i, status;

	for (i = 0; i < ROUNDS; i++) {
		pid_t pid = 0;

		serve_round(ep, -1);
		if (i % 10)
			continue;
		pid = fork();
		if (!pid) {
			int p[2], own = epoll_create1(0);
			struct epoll_event ev;

			if (pipe(p) || write(p[1], "x", 1) != 1)
				_exit(1);
			watch(own, EPOLL_CTL_ADD, p[0], EPOLLIN);
			_exit(epoll_wait(own, &ev, 1, 1000) == 1 ? 0 : 2);
		}
		waitpid(pid, &status, 0);
		if (status)
			die("child");
	}
	note("%d rounds", i);
}

/* Threads that come and go, two at a time, each with a loop of its own. */
static void *loop_thread(void *arg)
{
	int *fds = arg, ep = epoll_create1(0), i;

	for (i = 0; i < CONNS; i++)
		watch(ep, EPOLL_CTL_ADD, fds[i], EPOLLIN);
	for (i = 0; i < ROUNDS / 2; i++)
		serve_round(ep, -1);
	close(ep);
	return NULL;
}

static void threads_server(void)
{
	int fds[2][CONNS], ep[2], k, i, gen;
	pthread_t t[2];

	/* The peers dial together: whose connections are in which half does not matter. */
	for (k = 0; k < 2; k++)
		ep[k] = gather(fds[k], 0);
	for (k = 0; k < 2; k++) {
		for (i = 0; i < CONNS; i++)
			watch(ep[k], EPOLL_CTL_DEL, fds[k][i], 0);
		close(ep[k]);
	}
	for (gen = 0; gen < 2; gen++) {
		for (k = 0; k < 2; k++)
			pthread_create(&t[k], NULL, loop_thread, fds[k]);
		for (k = 0; k < 2; k++)
			pthread_join(t[k], NULL);
	}
	note("joined");
}

/* Two times as many, so that each half advances by itself. */
static void threads_peer(void)
{
	int fds[2 * CONNS], i, round;
	char c;

	for (i = 0; i < 2 * CONNS; i++)
		fds[i] = dial(0);
	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < 2 * CONNS; i++)
			say(fds[i], "a");
		for (i = 0; i < 2 * CONNS; i++)
			if (read(fds[i], &c, 1) != 1 || c != 'A')
				die("reply");
	}
	note("%d rounds", round);
}

/* A thread that waits after its replies is cancelled there; the replies have left. */
static atomic_int served;

static void *cancelled_thread(void *arg)
{
	int fds[CONNS], ep = gather(fds, EPOLLIN), i;
	struct epoll_event ev;

	for (i = 0; i < ROUNDS; i++)
		serve_round(ep, -1);
	served = 1;
	epoll_wait(ep, &ev, 1, -1);
	return NULL;
}

static void cancel_server(void)
{
	pthread_t t;
	void *ret;

	pthread_create(&t, NULL, cancelled_thread, NULL);
	while (!served)
		usleep(1000);
	usleep(20000);
	pthread_cancel(t);
	pthread_join(t, &ret);
	note("%s", ret == PTHREAD_CANCELED ? "was cancelled" : "went on");
}

const struct equiv_case equiv_wait[] = {
	{"wait-ready", ready_server, ready_peer},
	{"wait-lt", lt_server, step_peer},
	{"wait-et", et_server, step_peer},
	{"wait-oneshot", oneshot_server, step_peer},
	{"wait-timeout", timeout_server, step_peer},
	{"wait-interrupt", interrupt_server, step_peer},
	{"wait-bad", bad_server, step_peer},
	{"wait-tight", tight_server, tight_peer},
	{"wait-fork", fork_server, step_peer},
	{"wait-threads", threads_server, threads_peer},
	{"wait-cancel", cancel_server, step_peer},
	{NULL, NULL, NULL},
};
