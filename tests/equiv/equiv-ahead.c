/* SPDX-License-Identifier: MIT */
/* equiv-ahead.c - cases about what may have been read before the server asks for it. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "equiv.h"

#define CONNS 6

static int fds[CONNS];

/* --- the peer: a greeting on each connection, and after its answer what the case is about --- */

static void greet(void)
{
	char c;
	int i;

	for (i = 0; i < CONNS; i++)
		fds[i] = dial(0);
	for (i = 0; i < CONNS; i++)
		say(fds[i], "hello");
	for (i = 0; i < CONNS; i++)
		if (read(fds[i], &c, 1) != 1)
			die("greeting");
}

static void say_n(int fd, size_t n)
{
	char *buf = malloc(n + 1);

	memset(buf, 'x', n);
	buf[n] = '\0';
	say(fd, buf);
	free(buf);
}

static void send_all(size_t n)
{
	int i;

	greet();
	for (i = 0; i < CONNS; i++)
		say_n(fds[i], n);
}

static void end_all(void)
{
	int i;

	for (i = 0; i < CONNS; i++)
		hear_all(fds[i], 100, false);
}

static void peer_small(void)
{
	send_all(1000);
	end_all();
}

static void peer_big(void)
{
	send_all(10000);
	end_all();
}

static void peer_tiny(void)
{
	send_all(10);
	end_all();
}

static void peer_eof(void)
{
	int i;

	send_all(100);
	for (i = 0; i < CONNS; i++)
		shutdown(fds[i], SHUT_WR);
	end_all();
}

/* The server says when. */
static void peer_reset(void)
{
	int i;

	send_all(7);
	while (!*accepted)
		usleep(1000);
	for (i = 0; i < CONNS; i++)
		hang_up_hard(fds[i]);
}

static void peer_more(void)
{
	int i;

	send_all(10);
	while (!*accepted)
		usleep(1000);
	for (i = 0; i < CONNS; i++)
		say_n(fds[i], 5);
	end_all();
}

static void peer_rounds(void)
{
	int i, round;
	char c;

	greet();
	for (round = 0; round < 20; round++) {
		for (i = 0; i < CONNS; i++)
			say(fds[i], "request");
		for (i = 0; i < CONNS; i++)
			if (read(fds[i], &c, 1) != 1)
				die("answer");
	}
	note("%d rounds", round);
	end_all();
}

/* --- the server --- */

static int index_of(int fd)
{
	int i;

	for (i = 0; i < CONNS; i++)
		if (fds[i] == fd)
			return i;
	die("whose event");
}

/* Wait until every connection has something, which it may have got before the wait. */
static void all_ready(int ep)
{
	struct epoll_event evs[16];
	unsigned int seen = 0;
	int i, n;

	while (seen != (1u << CONNS) - 1) {
		usleep(20000);
		n = epoll_wait(ep, evs, 16, 10000);
		if (n <= 0)
			die("all_ready");
		for (i = 0; i < n; i++)
			seen |= 1u << index_of(evs[i].data.fd);
	}
}

/* All have come, were greeted, and have sent more by the time this returns. */
static int greeted(uint32_t events)
{
	int ep = epoll_new(), i;
	char buf[64];

	for (i = 0; i < CONNS; i++)
		fds[i] = accept_wait(ep, 0);
	for (i = 0; i < CONNS; i++)
		watch(ep, EPOLL_CTL_MOD, fds[i], events);
	all_ready(ep);
	for (i = 0; i < CONNS; i++)
		if (read(fds[i], buf, sizeof(buf)) != 5 || write(fds[i], "h", 1) != 1)
			die("greeting");
	usleep(50000);
	all_ready(ep);
	return ep;
}

static void answer_all(void)
{
	int i;

	for (i = 0; i < CONNS; i++)
		if (write(fds[i], "answer", 6) != 6)
			die("answer");
}

static void rounds_server(void)
{
	int ep = greeted(EPOLLIN), round, i;
	char buf[64];

	for (round = 0; round < 20; round++) {
		for (i = 0; i < CONNS; i++)
			if (read(fds[i], buf, sizeof(buf)) != 7 || write(fds[i], "a", 1) != 1)
				die("round");
		if (round < 19)
			all_ready(ep);
	}
	note("%d rounds", round);
}

static void pieces_server(void)
{
	char buf[300];
	int i, k;

	greeted(EPOLLIN);
	for (i = 0; i < CONNS; i++)
		for (k = 0; k < 5; k++)
			note_result("read", read(fds[i], buf, sizeof(buf)));
	answer_all();
}

/* A read that asks for all gets all, or an edge-triggered server would wait for ever. */
static void big_server(void)
{
	static char buf[16384];
	int i;

	greeted(EPOLLIN | EPOLLET | EPOLLRDHUP);
	for (i = 0; i < CONNS; i++) {
		struct iovec iov[3] = {{buf, 3000}, {buf + 3000, 3000}, {buf + 6000, 10000}};

		if (i % 2)
			note_result("read", read(fds[i], buf, sizeof(buf)));
		else
			note_result("readv", readv(fds[i], iov, 3));
		note_result("again", read(fds[i], buf, sizeof(buf)));
	}
	answer_all();
}

/* How often each is reported, and whether any is reported twice. */
static void look(int ep, const char *when, int ms)
{
	int count[CONNS] = {0}, i, n, once = 0, more = 0, in = 0;
	struct epoll_event evs[64];

	n = epoll_wait(ep, evs, 64, ms);
	for (i = 0; i < n; i++) {
		count[index_of(evs[i].data.fd)]++;
		in += evs[i].events == EPOLLIN;
	}
	for (i = 0; i < CONNS; i++) {
		once += count[i] == 1;
		more += count[i] > 1;
	}
	note("%s: %d events, %d for input, %d once, %d more", when, n, in, once, more);
}

static void unread_server(void)
{
	int ep = greeted(EPOLLIN), i, other = epoll_create1(0);
	struct epoll_event evs[3];
	char buf[64];

	look(ep, "again", 1000);
	look(ep, "and again", 0);
	for (i = 0; i < CONNS; i++)
		watch(ep, EPOLL_CTL_MOD, fds[i], EPOLLRDHUP);
	look(ep, "not asked for", 10);
	for (i = 0; i < CONNS; i++)
		watch(ep, EPOLL_CTL_MOD, fds[i], EPOLLIN | EPOLLET);
	look(ep, "by edge", 1000);
	look(ep, "by edge, later", 10);
	/* What fails arms nothing. */
	for (i = 0; i < CONNS; i++) {
		struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.fd = fds[i]};

		note_result("added twice", epoll_ctl(ep, EPOLL_CTL_ADD, fds[i], &ev));
	}
	look(ep, "added twice", 10);
	for (i = 0; i < CONNS; i++)
		watch(ep, EPOLL_CTL_MOD, fds[i], EPOLLIN | EPOLLONESHOT);
	look(ep, "one shot", 1000);
	look(ep, "one shot, later", 10);
	for (i = 0; i < CONNS; i++)
		watch(ep, EPOLL_CTL_DEL, fds[i], 0);
	look(ep, "removed", 10);
	for (i = 0; i < CONNS; i++)
		watch(ep, EPOLL_CTL_ADD, fds[i], EPOLLIN);
	look(ep, "added", 1000);
	note("room for three: %d", epoll_wait(ep, evs, 3, 1000));
	note("room for one: %d", epoll_wait(ep, evs, 1, 1000));
	for (i = 0; i < CONNS; i++) {
		watch(ep, EPOLL_CTL_DEL, fds[i], 0);
		watch(other, EPOLL_CTL_ADD, fds[i], EPOLLIN);
	}
	look(other, "elsewhere", 1000);
	look(ep, "not here", 10);
	/* In two at once. */
	for (i = 0; i < CONNS; i++)
		watch(ep, EPOLL_CTL_ADD, fds[i], EPOLLIN | EPOLLET);
	look(ep, "both, by edge", 1000);
	look(ep, "both, by edge, later", 10);
	look(other, "both, by level", 1000);
	for (i = 0; i < CONNS; i++)
		watch(ep, EPOLL_CTL_MOD, fds[i], EPOLLIN | EPOLLOUT);
	look(ep, "both, with room", 1000);
	for (i = 0; i < CONNS; i++)
		watch(ep, EPOLL_CTL_MOD, fds[i], EPOLLIN | EPOLLONESHOT);
	look(ep, "both, one shot", 1000);
	look(ep, "both, one shot, later", 10);
	for (i = 0; i < CONNS; i++)
		watch(ep, EPOLL_CTL_DEL, fds[i], 0);
	look(ep, "one again", 10);
	look(other, "the other one", 1000);
	for (i = 0; i < CONNS; i++)
		note_result("read", read(fds[i], buf, sizeof(buf)));
	look(other, "read", 10);
	answer_all();
}

static void asked_server(void)
{
	struct pollfd p[CONNS];
	struct timeval tv = {1, 0};
	struct timespec ts = {1, 0};
	char buf[2000];
	struct iovec iov = {buf, sizeof(buf)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	int i, n, max = 0;
	fd_set in;

	greeted(EPOLLIN);
	FD_ZERO(&in);
	for (i = 0; i < CONNS; i++) {
		p[i].fd = fds[i];
		p[i].events = POLLIN | POLLOUT;
		FD_SET(fds[i], &in);
		max = fds[i] > max ? fds[i] : max;
	}
	note("poll: %d", poll(p, CONNS, 1000));
	for (i = 0; i < CONNS; i++)
		note("revents %x", (unsigned int)p[i].revents);
	for (i = 0; i < CONNS; i++)
		p[i].events = i % 2 ? POLLIN : 0;
	note("ppoll: %d", ppoll(p, CONNS, &ts, NULL));
	note("select: %d", select(max + 1, &in, NULL, NULL, &tv));
	for (i = 0; i < CONNS; i++)
		note("set: %d", !!FD_ISSET(fds[i], &in));
	for (i = 0; i < CONNS; i++) {
		n = -1;
		ioctl(fds[i], FIONREAD, &n);
		note("FIONREAD: %d", n);
		note_result("peek", recv(fds[i], buf, 600, MSG_PEEK));
		note_result("peek", recv(fds[i], buf, sizeof(buf), MSG_PEEK | MSG_DONTWAIT));
		note_result("skip", recv(fds[i], buf, 100, MSG_TRUNC));
		msg.msg_flags = 0;
		iov.iov_len = 200;
		note_result("recvmsg", recvmsg(fds[i], &msg, 0));
		note("flags %x", (unsigned int)msg.msg_flags);
		iov.iov_len = sizeof(buf);
		note_result("recv", recv(fds[i], buf, 100, MSG_WAITALL));
		ioctl(fds[i], FIONREAD, &n);
		note("FIONREAD: %d", n);
		note_result("out of band", recv(fds[i], buf, 1, MSG_OOB));
		note_result("recvmsg", recvmsg(fds[i], &msg, MSG_DONTWAIT));
		note_result("recvmsg", recvmsg(fds[i], &msg, MSG_DONTWAIT));
	}
	answer_all();
}

/* A read whose answer comes: EAGAIN only says that it is not there yet. */
static void get(int ep, int fd, size_t n)
{
	struct epoll_event evs[16];
	char buf[256];
	ssize_t ret;

	while ((ret = read(fd, buf, n)) < 0 && errno == EAGAIN)
		if (epoll_wait(ep, evs, 16, 10000) <= 0)
			die("get");
	note_result("read", ret);
}

static void eof_server(void)
{
	int ep = greeted(EPOLLIN), i;

	for (i = 0; i < CONNS; i++) {
		get(ep, fds[i], 60);
		get(ep, fds[i], 256);
		get(ep, fds[i], 256);
		get(ep, fds[i], 256);
	}
	answer_all();
}

static void reset_server(void)
{
	int ep = greeted(EPOLLIN), i;

	*accepted = 1;
	usleep(50000);
	for (i = 0; i < CONNS; i++) {
		get(ep, fds[i], 5);
		if (i == 1)
			note("SO_ERROR: %s",
			     strerrorname_np(get_int(fds[i], SOL_SOCKET, SO_ERROR)));
		get(ep, fds[i], 256);
		get(ep, fds[i], 256);
		get(ep, fds[i], 256);
		note_result("write", send(fds[i], "x", 1, MSG_NOSIGNAL));
	}
}

/* Bytes that were never read: the peer is to see that, by a reset. */
static void close_server(void)
{
	char buf[256];
	int i;

	greeted(EPOLLIN);
	for (i = 0; i < CONNS; i++) {
		if (i % 2)
			note_result("read", read(fds[i], buf, i == 1 ? 5 : sizeof(buf)));
		note_result("close", close(fds[i]));
	}
}

static void exit_server(void)
{
	greeted(EPOLLIN);
	exit(0);
}

static void fork_server(void)
{
	char buf[256];
	pid_t pid;
	int i;

	greeted(EPOLLIN);
	pid = fork();
	for (i = 0; i < CONNS; i++)
		if ((pid == 0) == (i % 2) && (read(fds[i], buf, sizeof(buf)) != 10 ||
					      write(fds[i], pid ? "parent" : "child", 5) != 5))
			die("read after fork");
	if (!pid)
		exit(0);
	waitpid(pid, NULL, 0);
	answer_all();
}

static void dup_server(void)
{
	char buf[256];
	int i;

	greeted(EPOLLIN);
	for (i = 0; i < CONNS; i++) {
		int other = dup(fds[i]), third = fcntl(fds[i], F_DUPFD_CLOEXEC, 100);

		note_result("read", read(other, buf, 3));
		note_result("read", read(fds[i], buf, 3));
		close(fds[i]);
		note_result("read", read(third, buf, 2));
		close(third);
		note_result("read", read(other, buf, sizeof(buf)));
		note_result("read", read(other, buf, sizeof(buf)));
		fds[i] = other;
	}
	answer_all();
}

static void *reader(void *arg)
{
	char buf[256];
	int i;

	for (i = 0; i < CONNS; i++)
		note_result("read", read(fds[i], buf, sizeof(buf)));
	return NULL;
}

static void thread_server(void)
{
	char buf[256];
	pthread_t t;
	int i;

	greeted(EPOLLIN);
	for (i = 0; i < CONNS; i++)
		note_result("read", read(fds[i], buf, 4));
	pthread_create(&t, NULL, reader, NULL);
	pthread_join(t, NULL);
	answer_all();
}

static void splice_server(void)
{
	char buf[2000];
	int p[2], i;

	greeted(EPOLLIN);
	if (pipe2(p, O_NONBLOCK))
		die("pipe2");
	for (i = 0; i < CONNS; i++) {
		note_result("splice", splice(fds[i], NULL, p[1], NULL, 700, SPLICE_F_NONBLOCK));
		note_result("splice", splice(fds[i], NULL, p[1], NULL, 700, SPLICE_F_NONBLOCK));
		note_result("splice", splice(fds[i], NULL, p[1], NULL, 700, SPLICE_F_NONBLOCK));
		note_result("read", read(p[0], buf, sizeof(buf)));
	}
	answer_all();
}

/* Some of it is read; more comes: the edge is of all that is there. */
static void more_server(void)
{
	int ep = greeted(EPOLLIN | EPOLLET), i;
	char buf[256];

	for (i = 0; i < CONNS; i++)
		note_result("read", read(fds[i], buf, 3));
	look(ep, "no edge", 10);
	*accepted = 1;
	all_ready(ep);
	for (i = 0; i < CONNS; i++)
		note_result("read", read(fds[i], buf, sizeof(buf)));
	answer_all();
}

const struct equiv_case equiv_ahead[] = {
	{"ahead-rounds", rounds_server, peer_rounds},
	{"ahead-pieces", pieces_server, peer_small},
	{"ahead-big", big_server, peer_big},
	{"ahead-unread", unread_server, peer_tiny},
	{"ahead-asked", asked_server, peer_small},
	{"ahead-eof", eof_server, peer_eof},
	{"ahead-reset", reset_server, peer_reset},
	{"ahead-close", close_server, peer_tiny},
	{"ahead-exit", exit_server, peer_tiny},
	{"ahead-fork", fork_server, peer_tiny},
	{"ahead-dup", dup_server, peer_tiny},
	{"ahead-thread", thread_server, peer_tiny},
	{"ahead-splice", splice_server, peer_small},
	{"ahead-more", more_server, peer_more},
	{NULL, NULL, NULL},
};
