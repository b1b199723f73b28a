/* SPDX-License-Identifier: MIT */
/*
 * equiv-life.c - cases about processes, threads, signals and
 * shared descriptors: nothing that waits is lost, or sent twice.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <spawn.h>
#include <unistd.h>

#include "equiv.h"

static void put(int fd, const char *s)
{
	if (write(fd, s, strlen(s)) != (ssize_t)strlen(s))
		die("put");
}

/* A server with a response on its way. */
static int busy(void)
{
	int fd = serve_one(epoll_new(), EPOLLIN);

	put(fd, "header,");
	put(fd, "body,");
	return fd;
}

static void peer(void)
{
	int fd = dial(0);

	say(fd, "request");
	hear_all(fd, 100, false);
}

/* Parent and child write in turn and tell each other through memory alone: no call lies between. */
static void fork_server(void)
{
	atomic_int *turn =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int fd = busy();
	pid_t pid = fork();

	if (!pid) {
		put(fd, "child,");
		atomic_store(turn, 1);
		_exit(3);
	}
	while (!atomic_load(turn))
		;
	waitpid(pid, NULL, 0);
	put(fd, "parent,");
	pid = (pid_t)syscall(SYS_fork);
	if (!pid) {
		put(fd, "raw child,");
		exit(4);
	}
	waitpid(pid, NULL, 0);
	put(fd, "parent");
}

static char *const no_env[] = {NULL};

static void exec_server(void)
{
	int fd = busy();
	char num[16];

	fcntl(fd, F_SETFD, 0);
	snprintf(num, sizeof(num), "%d", fd);
	put(fd, "before exec,");
	execl(self_path, self_path, "after-exec", num, (char *)NULL);
	die("execl");
}

static void exec_fails(void)
{
	int fd = busy();

	note_result("execv", execv("/nonexistent", no_env));
	put(fd, "still here");
}

static void spawn(const char *how, int fd)
{
	char num[16];
	char *argv[] = {(char *)(uintptr_t)self_path, (char *)(uintptr_t) "after-exec", num, NULL};
	int status = -1;
	pid_t pid = -1;

	snprintf(num, sizeof(num), "%d", fd);
	if (!strcmp(how, "vfork")) {
		pid = vfork();
		if (!pid) {
			close(listener);
			execv(self_path, argv);
			_exit(127);
		}
	} else if (posix_spawn(&pid, self_path, NULL, NULL, argv, environ)) {
		die("posix_spawn");
	}
	waitpid(pid, &status, 0);
	note("%s: %d", how, status);
}

static void vfork_server(void)
{
	int ep = epoll_new(), fd = serve_one(ep, EPOLLIN);

	fcntl(fd, F_SETFD, 0);
	put(fd, "one,");
	spawn("vfork", fd);
	put(fd, "two,");
	spawn("posix_spawn", fd);
	put(fd, "three,");
	note("listener is still open: %d", fcntl(listener, F_GETFD) >= 0);
	if (system("exit 7") != 7 << 8)
		die("system");
	put(fd, "four");
}

static void exit_server(void)
{
	busy();
	exit(5);
}

static void exit_now_server(void)
{
	busy();
	_exit(6);
}

static void quick_exit_server(void)
{
	busy();
	quick_exit(8);
}

static void return_server(void)
{
	busy();
}

static void abort_server(void)
{
	busy();
	abort();
}

static void raise_server(void)
{
	busy();
	raise(SIGTERM);
}

static void raw_exit_server(void)
{
	busy();
	syscall(SYS_exit_group, 9);
}

static void *thread_end(void *arg)
{
	int fd = busy();

	if (arg)
		pthread_exit(NULL);
	put(fd, "end of thread");
	return NULL;
}

static void thread_server(void)
{
	pthread_t t;
	int i;

	for (i = 0; i < 2; i++) {
		pthread_create(&t, NULL, thread_end, i ? &t : NULL);
		pthread_join(t, NULL);
	}
}

static void thread_peer(void)
{
	int a = dial(0), b;

	say(a, "request");
	hear(a, 25);
	b = dial(0);
	say(b, "request");
	hear(b, 12);
}

static int bell[2];

static void ring(int sig)
{
	int e = errno;

	if (write(bell[1], "!", 1) < 0 && errno != EAGAIN)
		abort();
	errno = e;
}

/* A handler that interrupts anything at all, and writes to a pipe of the loop. */
static void signal_server(void)
{
	struct itimerval every = {{0, 300}, {0, 300}}, off = {{0, 0}, {0, 0}};
	struct sigaction sa = {.sa_handler = ring, .sa_flags = SA_RESTART};
	int ep = epoll_new(), fd = serve_one(ep, EPOLLIN), i = 0, rings = 0;
	char buf[64];

	if (pipe2(bell, O_NONBLOCK | O_CLOEXEC))
		die("pipe2");
	watch(ep, EPOLL_CTL_ADD, bell[0], EPOLLIN);
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
	put(fd, "start,");
	while (i < 400) {
		int who = next_event(ep, NULL), k, n;

		if (who == bell[0]) {
			while (read(bell[0], buf, sizeof(buf)) > 0)
				rings++;
			continue;
		}
		for (n = (int)read(fd, buf, sizeof(buf)); n > 0; n--, i++) {
			for (k = 0; k < 20; k++) {
				char s[32];

				snprintf(s, sizeof(s), "%d.%d,", i, k);
				put(fd, s);
			}
		}
	}
	setitimer(ITIMER_REAL, &off, NULL);
	note("rang: %d", rings > 0);
}

static void signal_peer(void)
{
	uint64_t sum = 0, len = 0;
	char buf[4096];
	int fd = dial(0), i;

	say(fd, "request");
	hear(fd, 6);
	for (i = 0; i < 400; i++) {
		ssize_t n, k;

		say(fd, "n");
		n = read(fd, buf, i % 50 ? 1 : sizeof(buf));
		if (n <= 0)
			break;
		len += (uint64_t)n;
		for (k = 0; k < n; k++)
			sum = sum * 31 + (unsigned char)buf[k];
		if (i % 4 == 0)
			usleep(200);
	}
	for (;;) {
		ssize_t n = read(fd, buf, sizeof(buf)), k;

		if (n <= 0)
			break;
		len += (uint64_t)n;
		for (k = 0; k < n; k++)
			sum = sum * 31 + (unsigned char)buf[k];
	}
	note("%llu bytes, sum %016llx", (unsigned long long)len, (unsigned long long)sum);
}

static void dup_server(void)
{
	int fd = busy(), copy = dup(fd), low, i;

	for (i = 0; i < 5; i++) {
		put(fd, "a");
		put(copy, "b");
	}
	low = fcntl(fd, F_DUPFD_CLOEXEC, 100);
	note("F_DUPFD %d", low);
	put(low, "c");
	put(fd, "d");
	close(fd);
	put(copy, "e");
}

static void rights_server(void)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} c;
	char byte = 'x';
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = c.buf,
			     .msg_controllen = sizeof(c.buf)};
	struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
	int ep = epoll_new(), fd = serve_one(ep, EPOLLIN), two[2], copy, i;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, two))
		die("socketpair");
	put(fd, "first,");
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	note_result("sendmsg", sendmsg(two[0], &msg, 0));
	put(fd, "second,");
	msg.msg_controllen = sizeof(c.buf);
	note_result("recvmsg", recvmsg(two[1], &msg, 0));
	memcpy(&copy, CMSG_DATA(h), sizeof(copy));
	for (i = 0; i < 5; i++) {
		put(copy, "a");
		put(fd, "b");
	}
}

/* Both ends of a local stream in one thread: a write is there as soon as it is made. */
static void unix_server(void)
{
	int ep = epoll_new(), fd = serve_one(ep, EPOLLIN), two[2];
	char buf[64];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, two))
		die("socketpair");
	watch(ep, EPOLL_CTL_ADD, two[0], EPOLLIN);
	put(fd, "one,");
	next_event(ep, NULL);
	read_request(fd);
	put(two[0], "to myself");
	note_result("read", read(two[1], buf, sizeof(buf)));
	put(fd, "two");
	put(two[1], "and back");
	note_result("read", read(two[0], buf, sizeof(buf)));
}

static void unix_peer(void)
{
	int fd = dial(0);

	say(fd, "request");
	hear(fd, 4);
	say(fd, "1");
	hear_all(fd, 100, false);
}

#define ROUNDS 300

static atomic_int baton;
static int shared;

static void *other_thread(void *arg)
{
	int i;

	for (i = 0; i < ROUNDS; i++) {
		while (atomic_load_explicit(&baton, memory_order_acquire) != 2 * i + 1)
			;
		put(shared, "B");
		atomic_store_explicit(&baton, 2 * i + 2, memory_order_release);
	}
	return NULL;
}

/* Two threads that write to one stream in turn and tell each other through memory alone. */
static void share_server(void)
{
	int ep = epoll_new(), i;
	pthread_t t;

	shared = serve_one(ep, EPOLLIN);
	put(shared, "A");
	pthread_create(&t, NULL, other_thread, NULL);
	for (i = 0; i < ROUNDS; i++) {
		put(shared, "A");
		atomic_store_explicit(&baton, 2 * i + 1, memory_order_release);
		while (atomic_load_explicit(&baton, memory_order_acquire) != 2 * i + 2)
			;
	}
	pthread_join(t, NULL);
}

static void *handed_over(void *arg)
{
	put(*(int *)arg, "from the other thread,");
	atomic_store(&baton, 1);
	return NULL;
}

/* The thread exists already when the stream is handed to it: no call of ours lies between. */
static void *waits_for_it(void *arg)
{
	int fd;

	while (!(fd = atomic_load(&baton)))
		;
	put(fd, "second");
	close(fd);
	atomic_store(&baton, 0);
	return NULL;
}

static void handover_server(void)
{
	int ep = epoll_new(), fd;
	pthread_t t;

	pthread_create(&t, NULL, waits_for_it, NULL);
	fd = serve_one(ep, EPOLLIN);
	put(fd, "first,");
	atomic_store(&baton, fd);
	while (atomic_load(&baton))
		;
	pthread_join(t, NULL);
	fd = serve_one(ep, EPOLLIN);
	put(fd, "header,");
	pthread_create(&t, NULL, handed_over, &fd);
	pthread_join(t, NULL);
	put(fd, "tail");
}

/*
 * The same while the thread that had it goes on: the other one flushes a queue whose owner is at
 * work on other streams.
 */
#define BUSY_CONNS  6
#define BUSY_ROUNDS 200

static atomic_int handed; /* 0: none; -1: no more */

static void *ends_them(void *arg)
{
	int fd;

	while ((fd = atomic_load(&handed)) >= 0) {
		if (!fd)
			continue;
		put(fd, "B");
		close(fd);
		atomic_store(&handed, 0);
	}
	return NULL;
}

/* In turns until each has been read; the one at @*free is accepted first. */
static void read_all(int ep, int *fds, int *free)
{
	struct epoll_event evs[16];
	int left = BUSY_CONNS, n, i;

	while (left) {
		n = epoll_wait(ep, evs, 16, 10000);
		if (n <= 0)
			die("epoll_wait");
		for (i = 0; i < n; i++) {
			if (evs[i].data.fd != listener) {
				read_request(evs[i].data.fd);
				put(evs[i].data.fd, "1");
				left--;
				continue;
			}
			fds[*free] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
			if (fds[*free] < 0)
				die("accept4");
			watch(ep, EPOLL_CTL_ADD, fds[(*free)++], EPOLLIN);
		}
	}
}

static void busy_server(void)
{
	int ep = epoll_new(), fds[BUSY_CONNS], next = 0, round, k;
	pthread_t t;
	char c;

	pthread_create(&t, NULL, ends_them, NULL);
	for (round = 0; round < BUSY_ROUNDS; round++) {
		read_all(ep, fds, &next);
		next = round % BUSY_CONNS;
		for (k = 0; k < BUSY_CONNS; k++)
			put(fds[k], "2");
		if (round % 2)
			watch(ep, EPOLL_CTL_DEL, fds[next], 0);
		atomic_store(&handed, fds[next]);
		for (k = 0; k < BUSY_CONNS; k++) {
			if (k == next)
				continue;
			if (read(fds[k], &c, 1) != -1 || errno != EAGAIN)
				die("read");
			watch(ep, EPOLL_CTL_MOD, fds[k], EPOLLIN | EPOLLOUT);
			set_int(fds[k], IPPROTO_TCP, TCP_NODELAY, round % 3 == 0);
			put(fds[k], "3");
			watch(ep, EPOLL_CTL_MOD, fds[k], EPOLLIN);
		}
		while (atomic_load(&handed))
			;
	}
	atomic_store(&handed, -1);
	pthread_join(t, NULL);
	note("%d rounds", round);
}

static void busy_peer(void)
{
	int fds[BUSY_CONNS], round, i, n;
	char buf[4];

	for (i = 0; i < BUSY_CONNS; i++)
		fds[i] = dial(0);
	for (round = 0; round < BUSY_ROUNDS; round++) {
		int ends = round % BUSY_CONNS;

		for (i = 0; i < BUSY_CONNS; i++)
			say(fds[i], "a");
		for (i = 0; i < BUSY_CONNS; i++) {
			n = (int)recv(fds[i], buf, i == ends ? 4 : 3, MSG_WAITALL);
			if (n != 3 || memcmp(buf, i == ends ? "12B" : "123", 3)) {
				note("round %d, %d: '%.*s'", round, i, n, buf);
				die("reply");
			}
		}
		close(fds[ends]);
		fds[ends] = dial(0);
	}
	note("%d rounds", round);
}

static void handover_peer(void)
{
	int a = dial(0), b;

	say(a, "request");
	hear_all(a, 100, false);
	b = dial(0);
	say(b, "request");
	hear_all(b, 100, false);
}

/* Somebody who can be told only through the stream holds what we wait for. */
static void sleep_server(void)
{
	int fd = busy(), p[2];
	char c;

	if (pipe(p))
		die("pipe");
	usleep(1000);
	put(fd, "more,");
	if (fork() == 0) {
		usleep(10000);
		_exit(write(p[1], "x", 1) != 1);
	}
	put(fd, "yet more,");
	note_result("read", read(p[0], &c, 1));
	put(fd, "end");
}

/* The same, where the call that sleeps is one that libc makes by itself. */
static void stdio_server(void)
{
	int fd = busy(), p[2];
	char line[64];
	FILE *f;

	if (pipe(p))
		die("pipe");
	f = fdopen(p[0], "r");
	put(fd, "question");
	if (fork() == 0) {
		usleep(10000);
		_exit(write(p[1], "answer\n", 7) != 7);
	}
	put(fd, "more");
	note("fgets: %s", fgets(line, sizeof(line), f) ? line : "nothing");
}

/* A thread that sleeps in a call of ours can be cancelled, as it can in libc's. */
static volatile int sleeps_in;

static void *sleeper(void *arg)
{
	struct pollfd p = {.fd = *(int *)arg, .events = POLLIN};
	struct epoll_event ev;
	char c;
	int ep;

	switch (sleeps_in) {
	case 0:
		(void)!read(*(int *)arg, &c, 1);
		break;
	case 1:
		poll(&p, 1, -1);
		break;
	case 2:
		ep = epoll_create1(EPOLL_CLOEXEC);
		epoll_wait(ep, &ev, 1, -1);
		break;
	}
	return NULL;
}

static void cancel_server(void)
{
	int fd = busy(), p[2];

	if (pipe(p))
		die("pipe");
	for (sleeps_in = 0; sleeps_in < 3; sleeps_in++) {
		pthread_t t;
		void *ret;

		put(fd, "before,");
		pthread_create(&t, NULL, sleeper, &p[0]);
		usleep(20000);
		pthread_cancel(t);
		pthread_join(t, &ret);
		note("sleeper %d %s", sleeps_in,
		     ret == PTHREAD_CANCELED ? "was cancelled" : "went on");
	}
	put(fd, "after");
}

/* A fork that libc knows nothing of, and what its child writes. */
static void clone3_server(void)
{
	struct clone_args args = {.exit_signal = SIGCHLD};
	int fd = busy(), status;
	long pid;

	put(fd, "before,");
	pid = syscall(SYS_clone3, &args, sizeof(args));
	if (!pid) {
		int ep = epoll_create1(EPOLL_CLOEXEC);
		struct epoll_event ev;

		watch(ep, EPOLL_CTL_ADD, fd, EPOLLOUT);
		epoll_wait(ep, &ev, 1, 1000);
		put(fd, "child,");
		watch(ep, EPOLL_CTL_MOD, fd, EPOLLIN);
		epoll_wait(ep, &ev, 1, 1);
		_exit(0);
	}
	waitpid((pid_t)pid, &status, 0);
	put(fd, "after");
}

/*
 * As much as is taken, and then the end, of the process
 * or of the connection: the peer gets all that was taken.
 */
enum flood_end {
	EXIT,
	CLOSE,
	SPAWN,
	SELECT
};

static void flood(enum flood_end then)
{
	char name[] = "sleep", arg[] = "30", *argv[] = {name, arg, NULL};
	static char piece[16384];
	int ep = epoll_new(), fd = serve_one(ep, EPOLLIN);
	fd_set set;
	ssize_t n;
	pid_t pid;

	memset(piece, 'p', sizeof(piece));
	set_int(fd, SOL_SOCKET, SO_SNDBUF, 65536);
	watch(ep, EPOLL_CTL_MOD, fd, EPOLLOUT);
	for (;;) {
		next_event(ep, NULL);
		while ((n = write(fd, piece, sizeof(piece))) > 0)
			*accepted += (uint64_t)n;
		if (n < 0 && errno == EAGAIN)
			break;
	}
	note("more than a piece was taken: %s", *accepted > sizeof(piece) ? "yes" : "no");
	switch (then) {
	case EXIT:
		break;
	case CLOSE:
		note_result("close", close(fd));
		break;
	case SPAWN:
		note_result("close", close(fd));
		if (posix_spawnp(&pid, "sleep", NULL, NULL, argv, environ))
			die("sleep");
		while (next_event(ep, NULL) != listener)
			;
		kill(pid, SIGKILL);
		break;
	case SELECT:
		fd = accept(listener, NULL, NULL);
		while (fd < 0 && errno == EAGAIN) {
			FD_ZERO(&set);
			FD_SET(listener, &set);
			select(listener + 1, &set, NULL, NULL, NULL);
			fd = accept(listener, NULL, NULL);
		}
		note("the peer came back");
		break;
	}
}

static void flood_exit_server(void)
{
	flood(EXIT);
}

static void flood_close_server(void)
{
	flood(CLOSE);
}

static void flood_spawn_server(void)
{
	flood(SPAWN);
}

static void flood_select_server(void)
{
	flood(SELECT);
}

static void flood_peer(void)
{
	int fd = dial(8192);
	const char *how;
	uint64_t len;

	say(fd, "request");
	usleep(500000);
	len = swallow(fd, &how);
	note("all that was taken arrived: %s, then %s", len == *accepted ? "yes" : "no", how);
}

static void flood_end_peer(void)
{
	flood_peer();
	dial(0);
}

/* Comes back when it has it all, where the server waits for it. */
static void flood_again_peer(void)
{
	static char buf[65536];
	uint64_t len = 0;
	int fd = dial(8192);
	ssize_t n = 1;

	say(fd, "request");
	usleep(500000);
	while (len < *accepted && (n = read(fd, buf, sizeof(buf))) > 0)
		len += (uint64_t)n;
	note("all that was taken arrived: %s", len == *accepted ? "yes" : "no");
	dial(0);
}

const struct equiv_case equiv_life[] = {
	{"fork", fork_server, peer},
	{"exec", exec_server, peer},
	{"exec-fails", exec_fails, peer},
	{"vfork", vfork_server, peer},
	{"exit", exit_server, peer},
	{"exit-now", exit_now_server, peer},
	{"quick-exit", quick_exit_server, peer},
	{"return", return_server, peer},
	{"abort", abort_server, peer},
	{"raise", raise_server, peer},
	{"raw-exit", raw_exit_server, peer},
	{"thread", thread_server, thread_peer},
	{"signal", signal_server, signal_peer},
	{"dup", dup_server, peer},
	{"rights", rights_server, peer},
	{"unix", unix_server, unix_peer},
	{"share", share_server, peer},
	{"handover", handover_server, handover_peer},
	{"handover-busy", busy_server, busy_peer},
	{"sleep", sleep_server, peer},
	{"stdio", stdio_server, peer},
	{"cancel", cancel_server, peer},
	{"flood-exit", flood_exit_server, flood_peer},
	{"flood-close", flood_close_server, flood_peer},
	{"flood-spawn", flood_spawn_server, flood_end_peer},
	{"flood-select", flood_select_server, flood_again_peer},
	{"clone3", clone3_server, peer},
	{NULL, NULL, NULL},
};
