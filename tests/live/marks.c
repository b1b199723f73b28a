/* SPDX-License-Identifier: MIT */
/*
 * marks.c - a server whose author marks its turns with esca.h, and its peer. What both see is
 * printed; it does not depend on whether the runtime is there.
 *
 *   marks CASE
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <esca-runtime/esca.h>
#include <tests/live/pair.h>

static void pair(void)
{
	turn();
	esca_batch_begin();
	say("one ");
	say("two");
	esca_batch_end();
	hear("after the end");
	say("three");
	hear("outside");
}

static void nested(void)
{
	turn();
	esca_batch_begin();
	esca_batch_begin();
	say("one ");
	esca_batch_end();
	say("two");
	esca_batch_end();
	hear("after the outer end");
	esca_batch_end();
	esca_batch_end();
	esca_batch_begin();
	say("three");
	esca_batch_end();
	hear("after ends without a begin");
}

static void across_wait(void)
{
	struct epoll_event ev;

	turn();
	esca_batch_begin();
	say("one");
	printf("wait: %d\n", epoll_wait(ep, &ev, 1, 0));
	hear("after the wait");
	esca_batch_end();
}

static void keeps_errno(void)
{
	turn();
	errno = 4711;
	esca_batch_begin();
	if (write(here, "one", 3) != 3)
		die("write");
	errno = 4711;
	esca_batch_end();
	printf("errno: %d\n", errno);
	hear("after the end");
	esca_batch_begin();
	errno = 4711;
	esca_batch_end();
	printf("errno: %d\n", errno);
}

static void in_handler(int sig)
{
	esca_batch_begin();
	esca_batch_end();
}

/* Handlers that come at any moment, between and inside the calls of the runtime. */
static void handler(void)
{
	static const struct itimerval often = {{0, 50}, {0, 50}}, never;
	struct sigaction sa = {.sa_handler = in_handler, .sa_flags = SA_RESTART};
	size_t all = 0;

	turn();
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (int i = 0; i < 20000; i++) {
		char buf[8];

		esca_batch_begin();
		if (write(here, "abcd", 4) != 4)
			die("write");
		esca_batch_end();
		if (recv(peer, buf, 4, MSG_WAITALL) != 4 || memcmp(buf, "abcd", 4))
			die("recv");
		all += 4;
	}
	setitimer(ITIMER_REAL, &never, NULL);
	printf("bytes: %zu\n", all);
}

static void *other(void *arg)
{
	turn();
	esca_batch_begin();
	if (write(here, "from a thread", 13) != 13)
		die("write");
	return NULL; /* the end of a thread is the end of what it began */
}

static void thread(void)
{
	pthread_t t;

	if (pthread_create(&t, NULL, other, NULL) || pthread_join(t, NULL))
		die("thread");
	hear_n(13);
}

static void forked(void)
{
	int status;
	pid_t pid;

	turn();
	esca_batch_begin();
	if (write(here, "parent ", 7) != 7)
		die("write");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (write(here, "child", 5) != 5)
			_exit(1);
		esca_batch_end();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	esca_batch_end();
	printf("child: %d\n", status);
	hear_n(12);
}

static const struct pair_case cases[] = {
	{"pair", pair},		{"nested", nested},   {"across-wait", across_wait},
	{"errno", keeps_errno}, {"handler", handler}, {"thread", thread},
	{"fork", forked},	{NULL, NULL},
};

int main(int argc, char **argv)
{
	return pair_main(cases, argc, argv);
}
