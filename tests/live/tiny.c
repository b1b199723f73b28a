/* SPDX-License-Identifier: MIT */
/*
 * tiny.c - a server and its client, small enough to misbehave on purpose.
 *
 *   tiny serve PORT [daemon|crash|deaf]
 *         one reply byte a request byte; in the background,
 *         dying at the first request, never listening
 *   tiny ask PORT N
 *         N requests over 4 connections, checked
 */
#include "config.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static struct sockaddr_in address(const char *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons((unsigned short)atoi(port)),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	return a;
}

static void add(int ep, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};

	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev))
		die("epoll_ctl");
}

static int serve(const char *port, const char *how)
{
	struct sockaddr_in a = address(port);
	int one = 1, ep = epoll_create1(EPOLL_CLOEXEC), sock = socket(AF_INET, SOCK_STREAM, 0);
	struct epoll_event ev[16];

	setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(sock, (struct sockaddr *)&a, sizeof(a)))
		die("bind");
	if (!strcmp(how, "deaf"))
		for (;;)
			pause();
	if (listen(sock, 64))
		die("listen");
	if (!strcmp(how, "daemon") && daemon(1, 1))
		die("daemon");
	add(ep, sock);
	for (;;) {
		int n = epoll_wait(ep, ev, 16, -1);

		for (int i = 0; i < n; i++) {
			char buf[64];
			ssize_t len;

			if (ev[i].data.fd == sock) {
				int fd = accept4(sock, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

				if (fd >= 0)
					add(ep, fd);
				continue;
			}
			len = read(ev[i].data.fd, buf, sizeof(buf));
			if (len <= 0) {
				close(ev[i].data.fd);
				continue;
			}
			if (!strcmp(how, "crash"))
				abort();
			if (write(ev[i].data.fd, buf, (size_t)len) != len)
				close(ev[i].data.fd);
		}
	}
}

static int ask(const char *port, long n)
{
	struct sockaddr_in a = address(port);
	int fd[4];

	for (int i = 0; i < 4; i++) {
		fd[i] = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(fd[i], (struct sockaddr *)&a, sizeof(a)))
			die("connect");
	}
	for (long r = 0; r < n; r++) {
		char out = (char)('a' + r % 26), in = 0;

		if (write(fd[r % 4], &out, 1) != 1 || read(fd[r % 4], &in, 1) != 1 || in != out) {
			fprintf(stderr, "request %ld got a wrong reply\n", r);
			return 1;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc >= 3 && !strcmp(argv[1], "serve"))
		return serve(argv[2], argc > 3 ? argv[3] : "");
	if (argc == 4 && !strcmp(argv[1], "ask"))
		return ask(argv[2], atol(argv[3]));
	fprintf(stderr, "tiny serve PORT [daemon|crash|deaf] | tiny ask PORT N\n");
	return 64;
}
