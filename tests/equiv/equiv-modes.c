/* SPDX-License-Identifier: MIT */
/*
 * equiv-modes.c - cases about what a loop is told: each trigger mode, by how the server reads and
 * by whether the peer has room for what it is sent.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "equiv.h"

/* How the server reads when there is something: until nothing is left, once, not at all. */
enum take {
	DRAIN,
	ONCE,
	LEAVE,
};

/* A few bytes, or more than the peer's socket, the server's and ESCA_TEST_CREDIT have room for. */
enum amount {
	LITTLE = 300,
	MUCH = 300 * 1000,
};

#define PIECE 1000

/* Words of the shared memory: what the peer is to do, what it has done, how much it will be sent.
 */
enum modes_word {
	WANTED,
	DONE,
	TOTAL,
};

enum step {
	SPEAK = 1, /* ten bytes, and two times more */
	READ = 4,  /* all that it is sent */
	SHUT = 5,
};

/* --- the peer --- */

static void modes_peer(void)
{
	static char buf[65536];
	uint64_t step, got = 0;
	int fd = dial_small();
	ssize_t n;

	set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	say(fd, "request");
	for (step = SPEAK; step <= SHUT; step++) {
		while (accepted[WANTED] < step)
			usleep(200);
		if (step < READ)
			say(fd, "0123456789");
		if (step == SHUT)
			shutdown(fd, SHUT_WR);
		/* The server goes on writing while this reads. */
		if (step != READ)
			accepted[DONE] = step;
		while (step == READ && got < accepted[TOTAL]) {
			n = read(fd, buf, sizeof(buf));
			if (n <= 0)
				die("less than was promised");
			got += (uint64_t)n;
		}
		accepted[DONE] = step;
	}
	note("got %llu bytes", (unsigned long long)got);
	hear_all(fd, 100, false);
}

/* --- the server --- */

static uint32_t mode, room;
static int ep, fd;
static bool armed;

/* Sleeping is a call, before which the runtime gives the kernel all that it can. */
static void spin(long ms)
{
	struct timespec from, now;

	clock_gettime(CLOCK_MONOTONIC, &from);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while ((now.tv_sec - from.tv_sec) * 1000 + (now.tv_nsec - from.tv_nsec) / 1000000 < ms);
}

static void peer_does(enum step step)
{
	accepted[WANTED] = step;
	while (accepted[DONE] < step)
		;
}

static void arm(void)
{
	watch(ep, EPOLL_CTL_MOD, fd, mode | room | EPOLLIN | EPOLLRDHUP);
	armed = true;
}

/* One wait, and what it says. Return: is there anything to read? */
static bool look(const char *when, int ms)
{
	struct epoll_event evs[4];
	int n = epoll_wait(ep, evs, 4, ms);

	if (n < 0 || n > 1)
		die("look");
	if (!n) {
		note("%s: nothing", when);
		return false;
	}
	if (evs[0].data.fd != fd)
		die("whose event");
	armed = !(mode & EPOLLONESHOT);
	note("%s:%s%s%s%s", when, evs[0].events & EPOLLIN ? " in" : "",
	     evs[0].events & EPOLLOUT ? " out" : "", evs[0].events & EPOLLRDHUP ? " rdhup" : "",
	     evs[0].events & (EPOLLERR | EPOLLHUP) ? " err" : "");
	return evs[0].events & EPOLLIN;
}

static size_t take(enum take how)
{
	char buf[64];
	size_t sum = 0;
	ssize_t n;

	if (how == ONCE)
		return read(fd, buf, 4) == 4 ? 4 : 0;
	while (how == DRAIN && (n = read(fd, buf, sizeof(buf))) != 0) {
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			die("read");
		sum += (size_t)n;
	}
	return sum;
}

/* As much of @n bytes as is taken now. */
static size_t put(size_t n)
{
	static char piece[PIECE];
	size_t done = 0;

	while (done < n) {
		size_t len = n - done < PIECE ? n - done : PIECE;
		ssize_t ret;

		memset(piece, 'a' + (int)(done / PIECE % 26), len);
		ret = write(fd, piece, len);
		if (ret < 0 && errno == EAGAIN)
			break;
		if (ret < 0)
			die("write");
		done += (size_t)ret;
	}
	return done;
}

/* Until the socket is full for good: what was under way has found its place in the peer's. */
static size_t fill(size_t n)
{
	size_t done = put(n), more = n > LITTLE;

	while (more) {
		spin(20);
		more = put(n - done);
		done += more;
	}
	return done;
}

static void modes(uint32_t trigger, enum take how, enum amount amount)
{
	struct epoll_event ev;
	size_t done, got = 0;
	int i;

	mode = trigger;
	small_buffers();
	ep = epoll_new();
	fd = serve_one(ep, EPOLLIN);
	watch(ep, EPOLL_CTL_DEL, listener, 0);
	accepted[TOTAL] = amount;
	done = fill(amount);
	note("full: %d", done < amount);
	room = EPOLLOUT;
	arm();
	if (amount == LITTLE)
		look("room", 1000);
	for (i = 0; i < 3; i++) {
		peer_does((enum step)(SPEAK + i));
		if (look("something comes", armed ? 1000 : 10))
			got += take(how);
		look("then", 10);
		look("and then", 10);
		/* What is there is reported anew, in each mode. */
		arm();
		if (look("armed again", 10))
			got += take(how);
		look("later", 10);
	}
	got += take(DRAIN);
	note("read %zu", got);
	/* Nothing is left to read; room is reported until all is written, and each time it comes.
	 */
	accepted[WANTED] = READ;
	arm();
	while (done < amount) {
		if (epoll_wait(ep, &ev, 1, 10000) != 1)
			die("no room");
		if (ev.events & ~(uint32_t)EPOLLOUT)
			die("what event");
		done += put(amount - done);
		if (mode & EPOLLONESHOT)
			arm();
	}
	/* The last of it may wait for the server's next call: the peer has it only if one comes. */
	while (accepted[DONE] < READ)
		usleep(200);
	room = 0;
	arm();
	look("written", 10);
	peer_does(SHUT);
	look("the end", 1000);
	look("after the end", 10);
	note_result("read", read(fd, &(char){0}, 1));
	arm();
	look("armed at the end", 10);
	if (put(LITTLE) != LITTLE)
		die("the last words");
	close(fd);
}

#define CASE(name, trigger, how, amount)                                                           \
	static void name(void)                                                                     \
	{                                                                                          \
		modes(trigger, how, amount);                                                       \
	}
#define CASES(name, trigger)                                                                       \
	CASE(name##_drain_little, trigger, DRAIN, LITTLE)                                          \
	CASE(name##_drain_much, trigger, DRAIN, MUCH)                                              \
	CASE(name##_once_little, trigger, ONCE, LITTLE)                                            \
	CASE(name##_once_much, trigger, ONCE, MUCH)                                                \
	CASE(name##_leave_little, trigger, LEAVE, LITTLE)                                          \
	CASE(name##_leave_much, trigger, LEAVE, MUCH)

CASES(lt, 0)
CASES(et, EPOLLET)
CASES(once, EPOLLONESHOT)
CASES(et_once, EPOLLET | EPOLLONESHOT)

#define ROWS(name, func)                                                                           \
	{"modes-" name "-drain-little", func##_drain_little, modes_peer},                          \
		{"modes-" name "-drain-much", func##_drain_much, modes_peer},                      \
		{"modes-" name "-once-little", func##_once_little, modes_peer},                    \
		{"modes-" name "-once-much", func##_once_much, modes_peer},                        \
		{"modes-" name "-leave-little", func##_leave_little, modes_peer},                  \
	{                                                                                          \
		"modes-" name "-leave-much", func##_leave_much, modes_peer                         \
	}

const struct equiv_case equiv_modes[] = {
	ROWS("lt", lt),	    ROWS("et", et), ROWS("oneshot", once), ROWS("et-oneshot", et_once),
	{NULL, NULL, NULL},
};
