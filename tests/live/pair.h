/* SPDX-License-Identifier: MIT */
/*
 * pair.h - both ends of one TCP connection in one process, for programs that look at what has
 * arrived after each of their steps.
 */
#ifndef ESCA_TESTS_LIVE_PAIR_H
#define ESCA_TESTS_LIVE_PAIR_H

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <esca-runtime/raw-syscall.h>

static int ep, here, peer; /* both ends of a TCP connection; ours is watched by ep */

static inline void die(const char *what)
{
	perror(what);
	exit(1);
}

static inline void connect_pair(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct epoll_event ev = {.events = EPOLLIN};
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(l, (struct sockaddr *)&a, sizeof(a)) || listen(l, 1) ||
	    getsockname(l, (struct sockaddr *)&a, &len))
		die("listen");
	peer = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(peer, (struct sockaddr *)&a, sizeof(a)))
		die("connect");
	here = accept4(l, NULL, NULL, SOCK_NONBLOCK);
	close(l);
	ep = epoll_create1(0);
	ev.data.fd = here;
	if (here < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, here, &ev))
		die("accept");
}

/* One turn as the runtime knows it, so that the loop that hears of the connection is known. */
static inline void turn(void)
{
	struct epoll_event ev;
	char c;

	if (send(peer, "x", 1, 0) != 1 || epoll_wait(ep, &ev, 1, 5000) != 1 ||
	    read(here, &c, 1) != 1)
		die("turn");
	if (epoll_wait(ep, &ev, 1, 0))
		die("epoll_wait");
}

static inline void say(const char *s)
{
	printf("write: %zd\n", write(here, s, strlen(s)));
}

/* All that the peer can read without waiting; past the runtime, which must not know of the look. */
static inline void hear(const char *when)
{
	char buf[256];
	volatile long nr = SYS_recvfrom; /* else esca run warns of it */
	long n = raw_syscall(nr, peer, (long)buf, sizeof(buf), MSG_DONTWAIT, 0, 0);

	printf("%s the peer has: %.*s\n", when, n > 0 ? (int)n : 0, buf);
}

/* Exactly what was said, however it came. */
static inline void hear_n(size_t n)
{
	char buf[256];

	printf("then: %zd %.*s\n", recv(peer, buf, n, MSG_WAITALL), (int)n, buf);
}

struct pair_case {
	const char *name; /* NULL ends the list */
	void (*run)(void);
};

/* Without an argument the names of the cases; else the one that is named, on a pair of its own. */
static inline int pair_main(const struct pair_case *c, int argc, char **argv)
{
	for (; c->name; c++) {
		if (argc < 2)
			puts(c->name);
		if (argc < 2 || strcmp(c->name, argv[1]))
			continue;
		connect_pair();
		c->run();
		return 0;
	}
	return argc < 2 ? 0 : 64;
}

#endif
