/* SPDX-License-Identifier: MIT */
/*
 * equiv-turn.c - cases about what waits besides bytes: ends of streams, epoll registrations, reads
 * that find nothing, and loops without epoll.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#include "equiv.h"

static void put(int fd, const char *s)
{
	if (write(fd, s, strlen(s)) != (ssize_t)strlen(s))
		die("put");
}

static void peer(void)
{
	int fd = dial(0);

	say(fd, "request");
	hear_all(fd, 100, false);
}

static int ctl(int ep, int op, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event ev = {.events = events, .data.u64 = data};

	return epoll_ctl(ep, op, fd, &ev);
}

/* Everything about a descriptor that was closed with bytes on their way. */
static void close_server(void)
{
	int ep = epoll_new(), fd = serve_one(ep, EPOLLIN), other;
	char c;

	put(fd, "all of it");
	note_result("close", close(fd));
	note_result("close again", close(fd));
	note_result("write", write(fd, "x", 1));
	note_result("send", send(fd, "x", 1, MSG_NOSIGNAL));
	note_result("read", read(fd, &c, 1));
	note_result("mod", ctl(ep, EPOLL_CTL_MOD, fd, EPOLLIN, 1));
	note_result("shutdown", shutdown(fd, SHUT_WR));
	note_result("getfd", fcntl(fd, F_GETFD));
	note_result("dup", dup(fd));
	/* The lowest number that is free is that of the closed one. */
	put(serve_one(ep, EPOLLIN), "second");
	other = open("/dev/null", O_RDONLY | O_NONBLOCK);
	note("the next descriptors: %d", other - fd);
}

static void two_peers(void)
{
	int fd = dial(0), second;

	say(fd, "request");
	hear_all(fd, 100, false);
	second = dial(0);
	say(second, "request");
	hear_all(second, 100, false);
}

static void reuse_server(void)
{
	int ep = epoll_new(), i, fd = -1, last = -1;

	for (i = 0; i < 20; i++) {
		fd = serve_one(ep, EPOLLIN | EPOLLRDHUP);
		if (last >= 0 && fd != last)
			note("number %d after %d", fd, last);
		put(fd, "header,");
		put(fd, "body");
		if (i % 3 == 0)
			shutdown(fd, SHUT_WR);
		if (i % 2 == 0 && ctl(ep, EPOLL_CTL_DEL, fd, 0, 0))
			die("EPOLL_CTL_DEL");
		close(fd);
		last = fd;
	}
	note("served %d", i);
}

static void reuse_peer(void)
{
	int i;

	for (i = 0; i < 20; i++)
		peer();
}

static void shut_server(void)
{
	int fd = serve_one(epoll_new(), EPOLLIN);
	char buf[8];
	ssize_t n;

	put(fd, "last words");
	note_result("shutdown", shutdown(fd, SHUT_WR));
	note_result("send", send(fd, "x", 1, MSG_NOSIGNAL));
	while ((n = read(fd, buf, sizeof(buf))) < 0 && errno == EAGAIN)
		usleep(1000);
	note("read '%.*s'", (int)n, buf);
	note_result("close", close(fd));
}

static void shut_peer(void)
{
	int fd = dial(0);

	say(fd, "request");
	hear_all(fd, 100, false);
	say(fd, "bye");
}

/* What the kernel would answer, and which registration is in force at the next wait. */
static void ctl_server(void)
{
	int ep = epoll_new(), other = epoll_create1(0), fd = serve_one(ep, EPOLLIN), i;
	struct epoll_event ev;

	put(fd, "one,");
	note_result("mod", ctl(ep, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT, 1));
	note_result("same", ctl(ep, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT, 1));
	note_result("back", ctl(ep, EPOLL_CTL_MOD, fd, EPOLLIN, 2));
	note_result("add", ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 2));
	note_result("del", ctl(ep, EPOLL_CTL_DEL, fd, 0, 0));
	note_result("del again", ctl(ep, EPOLL_CTL_DEL, fd, 0, 0));
	note_result("mod after del", ctl(ep, EPOLL_CTL_MOD, fd, EPOLLIN, 3));
	note_result("add after del", ctl(ep, EPOLL_CTL_ADD, fd, EPOLLOUT, 0xabcdef0123456789));
	note_result("elsewhere", ctl(other, EPOLL_CTL_MOD, fd, EPOLLIN, 4));
	note_result("wait", epoll_wait(ep, &ev, 1, 10000));
	note("events %x data %llx", ev.events, (unsigned long long)ev.data.u64);
	for (i = 0; i < 3; i++) {
		note_result("no event", ctl(ep, EPOLL_CTL_MOD, fd, 0, 5));
		note_result("out", ctl(ep, EPOLL_CTL_MOD, fd, EPOLLOUT, 6));
		note_result("wait", epoll_wait(ep, &ev, 1, 10000));
		note("events %x data %llx", ev.events, (unsigned long long)ev.data.u64);
	}
	put(fd, "two");
	note_result("edge", ctl(ep, EPOLL_CTL_MOD, fd, EPOLLOUT | EPOLLET, 7));
	note_result("wait", epoll_wait(ep, &ev, 1, 10000));
	note("events %x data %llx", ev.events, (unsigned long long)ev.data.u64);
	note_result("edge again", ctl(ep, EPOLL_CTL_MOD, fd, EPOLLOUT | EPOLLET, 7));
	note_result("wait", epoll_wait(ep, &ev, 1, 10000));
	note_result("and nothing more", epoll_wait(ep, &ev, 1, 20));
	note_result("del", ctl(ep, EPOLL_CTL_DEL, fd, 0, 0));
	note_result("close", close(fd));
	note_result("nothing", epoll_wait(ep, &ev, 1, 20));
}

/* Reads that find nothing left, and what comes after them. */
static void again_server(void)
{
	int ep = epoll_new(), fd = accept_wait(ep, EPOLLIN), i;
	char buf[64];

	for (i = 0; i < 8; i++) {
		ssize_t n;

		if (next_event(ep, NULL) != fd)
			die("whose event");
		n = read(fd, buf, sizeof(buf));
		note("read '%.*s'", (int)n, buf);
		note_result("again",
			    i % 2 ? recv(fd, buf, sizeof(buf), 0) : read(fd, buf, sizeof(buf)));
		put(fd, "+");
	}
	if (next_event(ep, NULL) != fd)
		die("whose event");
	note_result("at the end", read(fd, buf, sizeof(buf)));
}

static void again_peer(void)
{
	int fd = dial(0), i;

	for (i = 0; i < 8; i++) {
		say(fd, "ping");
		hear(fd, 1);
	}
}

/* Armed for one event each time, also while what was answered waits for the peer. */
static void oneshot_server(void)
{
	static char chunk[1000];
	int ep = epoll_new(), fd, sent = 0, i;
	struct epoll_event ev;
	ssize_t n;
	char c;

	small_buffers();
	fd = serve_one(ep, EPOLLIN);
	note_result("arm", ctl(ep, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLONESHOT, 1));
	memset(chunk, 'x', sizeof(chunk));
	while (sent < 40000 && (n = write(fd, chunk, sizeof(chunk))) > 0)
		sent += (int)n;
	for (i = 0; i < 4; i++) {
		/* The peer has written; nothing else is to come before it is armed again. */
		note_result("wait", epoll_wait(ep, &ev, 1, 10000));
		note("events %x data %d", ev.events, (int)ev.data.u64);
		note_result("not armed", epoll_wait(ep, &ev, 1, 20));
		if (read(fd, &c, 1) != 1)
			die("read");
		note_result("arm", ctl(ep, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLONESHOT, (uint64_t)i));
	}
	*accepted = (uint64_t)sent;
	close(fd);
}

static void oneshot_peer(void)
{
	int fd = dial_small();
	uint64_t got;
	const char *how;
	char c;

	say(fd, "request");
	got = read(fd, &c, 1) == 1;
	say(fd, "abcd");
	usleep(200000);
	got += swallow(fd, &how);
	note("what was accepted was sent: %s", got == *accepted ? "yes" : "no");
}

/*
 * Setting an option to what it is sends what MSG_MORE holds back. The server dies with bytes
 * unread, so that what is still held then is never sent.
 */
static void more_server(void)
{
	int ep = epoll_new(), fd = accept_wait(ep, EPOLLIN), i;
	char c;

	set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	for (i = 0; i < 2; i++) {
		if (next_event(ep, NULL) != fd)
			die("whose event");
		if (read(fd, &c, 1) != 1)
			die("read");
		put(fd, "reply,");
	}
	if (send(fd, "held", 4, MSG_MORE) != 4)
		die("send");
	set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	kill(getpid(), SIGKILL);
}

static void more_peer(void)
{
	int fd = dial(0);

	say(fd, "abcd");
	hear_all(fd, 100, false);
}

#define BATCH 4

enum fate {
	STAYS,
	RESETS,
	HALF_CLOSES,
	STAYS_TOO,
};

/*
 * In a turn with several of them one peer resets its connection and one closes half of it, between
 * two writes to each: the server hears of both, and what it wrote to the others is unharmed.
 */
static void batch_server(void)
{
	int ep = epoll_new(), fds[BATCH], told[BATCH] = {0}, left = BATCH, i, n;
	struct epoll_event evs[8];
	char buf[16];

	for (i = 0; i < BATCH; i++)
		fds[i] = accept_wait(ep, 0);
	for (i = 0; i < BATCH; i++)
		watch(ep, EPOLL_CTL_MOD, fds[i], EPOLLIN | EPOLLRDHUP);
	accepted[0] = 1;
	while (accepted[1] < 1)
		;
	if (epoll_wait(ep, evs, 8, 10000) != BATCH)
		die("not all");
	for (i = 0; i < BATCH; i++)
		read_request(fds[i]);
	for (i = 0; i < BATCH; i++)
		put(fds[i], "one,");
	accepted[0] = 2;
	while (accepted[1] < 2)
		;
	for (i = 0; i < BATCH; i++)
		if (send(fds[i], "two,", 4, MSG_NOSIGNAL) != 4 && i != RESETS)
			die("send");
	while (left) {
		n = epoll_wait(ep, evs, 8, 10000);
		if (n <= 0)
			die("epoll_wait");
		for (i = 0; i < n; i++) {
			int fd = evs[i].data.fd, who = 0;
			ssize_t len;

			while (fds[who] != fd)
				who++;
			len = read(fd, buf, sizeof(buf));
			if (len < 0 && errno == EAGAIN)
				continue;
			told[who] = len > 0 ? 1 : len ? -errno : 2;
			send(fd, "three", 5, MSG_NOSIGNAL);
			close(fd);
			left--;
		}
	}
	note("goes on: %d and %d", told[STAYS], told[STAYS_TOO]);
	note("half closed: %d", told[HALF_CLOSES]);
	/* By the read, or, if a write has told it already, by an end. */
	note("reset: %d", told[RESETS] == -ECONNRESET || told[RESETS] == 2);
}

static void batch_peer(void)
{
	int fds[BATCH], i;

	for (i = 0; i < BATCH; i++)
		fds[i] = dial(0);
	for (i = 0; i < BATCH; i++)
		say(fds[i], "request");
	while (accepted[0] < 1)
		usleep(200);
	usleep(20000);
	accepted[1] = 1;
	while (accepted[0] < 2)
		usleep(200);
	hang_up_hard(fds[RESETS]);
	shutdown(fds[HALF_CLOSES], SHUT_WR);
	accepted[1] = 2;
	for (i = 0; i < BATCH; i++) {
		if (i == RESETS)
			continue;
		if (i != HALF_CLOSES)
			say(fds[i], "x");
		hear(fds[i], 13);
	}
}

#define POLLED 3

/* One loop, three connections, no epoll. */
static void loop_without(bool by_select)
{
	struct pollfd p[POLLED + 1] = {{.fd = listener, .events = POLLIN}};
	int n = 0, served = 0, i;
	char buf[64];

	while (served < POLLED) {
		fd_set in;
		int ret, max = 0;

		FD_ZERO(&in);
		for (i = 0; i <= n; i++) {
			p[i].revents = 0;
			FD_SET(p[i].fd, &in);
			max = p[i].fd > max ? p[i].fd : max;
		}
		ret = by_select ? select(max + 1, &in, NULL, NULL, NULL)
				: poll(p, (nfds_t)n + 1, 10000);
		if (ret <= 0)
			die("wait");
		for (i = n; i >= 0; i--) {
			int fd = p[i].fd;

			if (by_select ? !FD_ISSET(fd, &in) : !p[i].revents)
				continue;
			if (fd == listener) {
				fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
				if (fd < 0)
					die("accept4");
				n++;
				p[n].fd = fd;
				p[n].events = POLLIN;
				continue;
			}
			if (read(fd, buf, sizeof(buf)) <= 0)
				die("read");
			put(fd, "header,");
			put(fd, "body,");
			put(fd, "end");
			close(fd);
			note_result("write after close", write(fd, "x", 1));
			p[i] = p[n--];
			served++;
		}
	}
}

static void poll_server(void)
{
	loop_without(false);
}

static void select_server(void)
{
	loop_without(true);
}

static void polled_peer(void)
{
	int fd[POLLED], i;

	for (i = 0; i < POLLED; i++)
		fd[i] = dial(0);
	for (i = 0; i < POLLED; i++)
		say(fd[i], "request");
	for (i = 0; i < POLLED; i++)
		hear_all(fd[i], 100, false);
}

const struct equiv_case equiv_turn[] = {
	{"close", close_server, two_peers},
	{"reuse", reuse_server, reuse_peer},
	{"shut", shut_server, shut_peer},
	{"ctl", ctl_server, peer},
	{"again", again_server, again_peer},
	{"more", more_server, more_peer},
	{"oneshot", oneshot_server, oneshot_peer},
	{"poll", poll_server, polled_peer},
	{"select", select_server, polled_peer},
	{"batch", batch_server, batch_peer},
	{NULL, NULL, NULL},
};
