/* SPDX-License-Identifier: MIT */
/*
 * hidden.c - in a turn, writes that may wait and then a libc function that writes, wakes or sleeps
 * inside libc: what the peer has, in which order, must be what it has without the runtime.
 *
 *   hidden CASE
 */
#include "config.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>

#include <tests/live/pair.h>

static int say_v(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int say_v(const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vdprintf(here, fmt, ap);
	va_end(ap);
	return n;
}

/* One turn that goes on: the byte was read, calls may wait. */
static void in_turn(void)
{
	struct epoll_event ev;
	char c;

	if (send(peer, "xyz", 3, 0) != 3)
		die("send");
	for (int i = 0; i < 3; i++)
		if (epoll_wait(ep, &ev, 1, 5000) != 1 || read(here, &c, 1) != 1)
			die("turn");
}

static void with_dprintf(void)
{
	in_turn();
	say("one ");
	printf("dprintf: %d\n", dprintf(here, "%s ", "two"));
	say("three ");
	printf("vdprintf: %d\n", say_v("%d ", 4));
	say("five");
	hear_n(20);
}

static void with_pwritev2(void)
{
	struct iovec iov = {(char *)(uintptr_t) "two ", 4};

	in_turn();
	say("one ");
	printf("pwritev2: %zd\n", pwritev2(here, &iov, 1, -1, 0));
	say("three");
	hear_n(13);
}

static void with_splice(void)
{
	struct iovec iov = {(char *)(uintptr_t) "two ", 4};
	int p[2];

	if (pipe(p))
		die("pipe");
	in_turn();
	say("one ");
	printf("vmsplice: %zd\n", vmsplice(p[1], &iov, 1, 0));
	hear("after vmsplice");
	say("more ");
	printf("splice: %zd\n", splice(p[0], NULL, here, NULL, 4, 0));
	say("three");
	hear_n(14);
}

/* Another process may look as soon as it is woken. */
static void with_eventfd(void)
{
	int e = eventfd(0, 0);
	eventfd_t v = 0;

	in_turn();
	say("one");
	printf("eventfd_write: %d\n", eventfd_write(e, 7));
	hear("when another is woken");
	printf("eventfd_read: %d", eventfd_read(e, &v));
	printf(" %d\n", (int)v);
	close(e);
	printf("eventfd_write: %d\n", eventfd_write(e, 1));
}

/* A call that sleeps: the peer may be what ends the sleep. */
static void with_recvmmsg(void)
{
	int s[2];
	char buf[8];
	struct iovec iov = {buf, sizeof(buf)};
	struct mmsghdr m = {.msg_hdr = {.msg_iov = &iov, .msg_iovlen = 1}};

	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, s))
		die("socketpair");
	in_turn();
	if (write(s[0], "wake", 4) != 4)
		die("write");
	say("one");
	printf("recvmmsg: %d", recvmmsg(s[1], &m, 1, 0, NULL));
	printf(" %u\n", m.msg_len);
	hear("after what may sleep");
}

/* The lowest number that is free: that of what was closed. */
static void with_timerfd(void)
{
	in_turn();
	say("one");
	close(here);
	printf("timerfd_create: %d\n", timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
	hear("after the close");
}

static const struct pair_case cases[] = {
	{"dprintf", with_dprintf},
	{"pwritev2", with_pwritev2},
	{"splice", with_splice},
	{"eventfd", with_eventfd},
	{"recvmmsg", with_recvmmsg},
	{"timerfd", with_timerfd},
	{NULL, NULL},
};

int main(int argc, char **argv)
{
	return pair_main(cases, argc, argv);
}
