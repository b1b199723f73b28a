/* SPDX-License-Identifier: MIT */
/*
 * equiv-signal.c - cases in which a handler that does not just return interrupts what follows a
 * turn: the many replies that leave, when they were deferred.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "equiv.h"

/* siginterrupt(3) */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

#define CONNS  200
#define ROUNDS 12

/* How many replies connection @i has been promised. */
#define PROMISED(i) accepted[2000 + (i)]

static int conns[CONNS];
static volatile sig_atomic_t rang, in_child;
static bool plain_exit;
static sigjmp_buf back;

/* --- server --- */

/* It rings while replies leave: as long after this as makes each round another. */
static void arm(int round)
{
	struct itimerval in = {.it_value = {.tv_usec = 1 + round * 40}};

	setitimer(ITIMER_REAL, &in, NULL);
}

static void gather(int ep)
{
	int i;

	for (i = 0; i < CONNS; i++)
		conns[i] = accept_wait(ep, 0);
	for (i = 0; i < CONNS; i++)
		watch(ep, EPOLL_CTL_MOD, conns[i], EPOLLIN);
}

/* A turn with all requests in it. */
static void turn(int ep)
{
	static struct epoll_event evs[CONNS];
	int left = CONNS, i, n;
	uint8_t who;

	while (left) {
		n = epoll_wait(ep, evs, CONNS, 10000);
		if (n <= 0)
			die("epoll_wait");
		for (i = 0; i < n; i++, left--) {
			if (read(evs[i].data.fd, &who, 1) != 1)
				die("read");
			if (write(evs[i].data.fd, "A", 1) != 1)
				die("write");
			PROMISED(who)++;
		}
	}
}

static void rest(int ep)
{
	struct epoll_event ev;

	while (!rang)
		epoll_wait(ep, &ev, 1, 1000);
}

/* Each round has a process and connections of its own. */
static void workers(void (*handler)(int))
{
	struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_RESTART};
	int round, status, sum = 0;

	for (round = 0; round < ROUNDS; round++) {
		pid_t pid = fork();

		if (!pid) {
			int ep = epoll_new(), i;

			plain_exit = round % 2;
			gather(ep);
			sigaction(SIGALRM, &sa, NULL);
			wait_for_word(WORD_ASKED, (uint64_t)round + 1);
			turn(ep);
			arm(round / 2);
			rest(ep);
			if (in_child)
				_exit(0);
			wait(NULL);
			for (i = 0; i < CONNS; i++)
				close(conns[i]);
			_exit(0);
		}
		if (waitpid(pid, &status, 0) != pid)
			die("waitpid");
		sum += status;
	}
	note("%d workers, statuses %d", round, sum);
}

static void on_exit_signal(int sig)
{
	if (plain_exit)
		exit(0);
	_exit(0);
}

static void exit_server(void)
{
	workers(on_exit_signal);
}

static void on_fork_signal(int sig)
{
	int e = errno;

	in_child = !fork();
	rang = 1;
	errno = e;
}

static void fork_server(void)
{
	workers(on_fork_signal);
}

static void on_jump_signal(int sig)
{
	siglongjmp(back, 1);
}

static void jump_server(void)
{
	static volatile int round;
	int ep = epoll_new();

	gather(ep);
	signal(SIGALRM, on_jump_signal);
	for (round = 0; round < ROUNDS; round++) {
		wait_for_word(WORD_ASKED, (uint64_t)round + 1);
		if (sigsetjmp(back, 1))
			continue;
		turn(ep);
		arm(round);
		rest(ep);
	}
	note("%d jumps", round);
}

/* What is set is what is told, however it was set; once means once. */
static void on_info_signal(int sig, siginfo_t *info, void *context)
{
	rang += info->si_signo == sig && context;
}

static void told_server(void)
{
	struct sigaction sa = {.sa_sigaction = on_info_signal,
			       .sa_flags = (int)(SA_SIGINFO | SA_RESETHAND | SA_NODEFER)};
	struct sigaction old;
	int ep = epoll_new(), i;

	gather(ep);
	wait_for_word(WORD_ASKED, 1);
	note("default: %d", signal(SIGALRM, on_fork_signal) == SIG_DFL);
	note("plain: %d", signal(SIGALRM, on_jump_signal) == on_fork_signal);
	siginterrupt(SIGALRM, 1);
	sigaction(SIGALRM, &sa, &old);
	note("jump: %d, flags %x, mask %d", old.sa_handler == on_jump_signal,
	     (unsigned int)old.sa_flags & ~0x04000000u, sigismember(&old.sa_mask, SIGALRM));
	sigaction(SIGALRM, NULL, &old);
	note("info: %d, flags %x", old.sa_sigaction == on_info_signal,
	     (unsigned int)old.sa_flags & ~0x04000000u);
	turn(ep);
	arm(4);
	rest(ep);
	note("rang: %d", rang);
	sigaction(SIGALRM, NULL, &old);
	note("default: %d, flags %x", old.sa_handler == SIG_DFL,
	     (unsigned int)old.sa_flags & ~0x04000000u);
	note("bad: %d", signal(SIGKILL, on_jump_signal) == SIG_ERR);
	for (i = 0; i < CONNS; i++)
		close(conns[i]);
}

/* --- peers --- */

static void ask_all(const int *fds)
{
	int i;

	for (i = 0; i < CONNS; i++) {
		uint8_t who = (uint8_t)i;

		if (write(fds[i], &who, 1) != 1)
			die("write");
	}
	accepted[WORD_ASKED]++;
}

static void rounds_peer(int rounds)
{
	int fds[CONNS], round, i, lost = 0, extra = 0;
	char buf[16];

	for (round = 0; round < rounds; round++) {
		for (i = 0; i < CONNS; i++) {
			PROMISED(i) = 0;
			fds[i] = dial(0);
		}
		ask_all(fds);
		for (i = 0; i < CONNS; i++) {
			uint64_t got = 0;
			ssize_t n;

			while ((n = read(fds[i], buf, sizeof(buf))) > 0)
				got += (uint64_t)n;
			lost += got < PROMISED(i);
			extra += got > PROMISED(i);
			close(fds[i]);
		}
	}
	note("%d rounds, %d lost, %d twice", round, lost, extra);
}

static void workers_peer(void)
{
	rounds_peer(ROUNDS);
}

static void once_peer(void)
{
	rounds_peer(1);
}

static void jump_peer(void)
{
	int fds[CONNS], round, i, n = 0;
	char c;

	for (i = 0; i < CONNS; i++)
		fds[i] = dial(0);
	for (round = 0; round < ROUNDS; round++) {
		ask_all(fds);
		for (i = 0; i < CONNS; i++)
			n += read(fds[i], &c, 1) == 1;
	}
	for (i = 0; i < CONNS; i++)
		n += read(fds[i], &c, 1) == 1;
	note("%d rounds, %d replies", round, n);
}

const struct equiv_case equiv_signal[] = {
	{"signal-exit", exit_server, workers_peer},
	{"signal-fork", fork_server, workers_peer},
	{"signal-jump", jump_server, jump_peer},
	{"signal-told", told_server, once_peer},
	{NULL, NULL, NULL},
};
