/* SPDX-License-Identifier: MIT */
/*
 * victim.c - programs that make calls and print what a recording of them must hold.
 *
 * victim MODE LOG: LOG is a file of text lines "TID NAME RESULT", in the order in which the calls
 * began. It is a shared mapping, so that writing it makes no call. Each thread begins with
 * close(-77), before which nothing is compared.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINES 65536

static struct log {
	unsigned int next;
	char line[LINES][64];
} * logged;

static const char *self_path, *log_path;
static int only_tid; /* there is one thread, and asking for its id takes too long */

static long raw(long ret)
{
	return ret < 0 ? -errno : ret;
}

/* The line of a call is taken when it begins and filled when it returns. */
static unsigned int begins(void)
{
	return __atomic_fetch_add(&logged->next, 1, __ATOMIC_RELAXED);
}

static void returned(unsigned int at, const char *name, const char *result)
{
	char digits[16];
	int n = 0, tid = only_tid ? only_tid : (int)syscall(SYS_gettid);
	char *p = logged->line[at];

	/* By hand: this runs in handlers and vfork children too. */
	do
		digits[n++] = (char)('0' + tid % 10);
	while (tid /= 10);
	while (n)
		*p++ = digits[--n];
	*p++ = ' ';
	p = stpcpy(p, name);
	*p++ = ' ';
	p = stpcpy(p, result);
	*p = '\n';
}

static void returned_long(unsigned int at, const char *name, long result)
{
	char buf[24], *p = buf + sizeof(buf) - 1;
	unsigned long v = result < 0 ? -(unsigned long)result : (unsigned long)result;

	*p = '\0';
	do
		*--p = (char)('0' + v % 10);
	while (v /= 10);
	if (result < 0)
		*--p = '-';
	returned(at, name, p);
}

#define DO(name, call)                                                                             \
	({                                                                                         \
		unsigned int at_ = begins();                                                       \
		long ret_ = raw(call);                                                             \
		returned_long(at_, name, ret_);                                                    \
		ret_;                                                                              \
	})

static void begin(void)
{
	DO("close", close(-77));
}

static void map_log(void)
{
	int fd = open(log_path, O_RDWR | O_CREAT, 0666);

	if (fd < 0 || ftruncate(fd, sizeof(*logged)))
		exit(99);
	logged = mmap(NULL, sizeof(*logged), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (logged == MAP_FAILED)
		exit(99);
}

static void some_calls(unsigned int n)
{
	char buf[64] = "abc";
	int p[2];

	if (pipe2(p, O_NONBLOCK))
		exit(98);
	for (unsigned int i = 0; i < n; i++) {
		DO("write", write(p[1], buf, 1 + i % 7));
		DO("read", read(p[0], buf, 3));
		DO("read", read(p[0], buf, 3));
		DO("getppid", syscall(SYS_getppid));
		DO("lseek", lseek(p[0], 0, SEEK_CUR));
		DO("write", syscall(SYS_write, p[1], buf, 64));
		DO("read", read(p[0], buf, 64));
	}
	DO("close", close(p[0]));
	DO("close", close(p[1]));
	DO("close", close(p[1]));
}

static void files(void)
{
	char buf[100];
	int fd = (int)DO("openat", open(self_path, O_RDONLY));

	DO("pread64", pread(fd, buf, 4, 0));
	DO("lseek", lseek(fd, 10, SEEK_SET));
	DO("read", read(fd, buf, sizeof(buf)));
	DO("openat", open("/no/such/file", O_RDONLY));
	DO("dup2", dup2(fd, 55));
	DO("close", close(55));
	DO("close", close(fd));
	some_calls(20);
	/* Open to the end: its path is told however late one looks. */
	DO("openat", open(self_path, O_RDONLY));
}

static void *thread_calls(void *arg)
{
	begin();
	some_calls(100);
	return NULL;
}

static void threads(void)
{
	pthread_t t[8];

	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < 8; i++)
			pthread_create(&t[i], NULL, thread_calls, NULL);
		for (unsigned int i = 0; i < 8; i++)
			pthread_join(t[i], NULL);
	}
	some_calls(3);
}

static void forks(void)
{
	pid_t pid[4];

	some_calls(3);
	for (unsigned int i = 0; i < 4; i++) {
		pid[i] = fork();
		if (!pid[i]) {
			begin();
			some_calls(30);
			if (!i && !fork()) { /* and a grandchild */
				begin();
				some_calls(5);
				_exit(0);
			}
			_exit(0);
		}
		some_calls(2);
	}
	for (unsigned int i = 0; i < 4; i++)
		DO("wait4", waitpid(pid[i], NULL, 0));
	some_calls(3);
}

/* The child's calls go through its parent's memory, and must not become its parent's. */
static void vforks(void)
{
	char buf[8] = "x";
	int p[2];

	if (pipe(p))
		exit(98);
	for (volatile unsigned int i = 0; i < 10; i++) {
		volatile pid_t pid;

		DO("write", write(p[1], buf, 2));
		pid = vfork();
		if (!pid) {
			DO("close", close(-77));
			DO("write", write(p[1], buf, 3));
			DO("read", read(p[0], buf, 4));
			if (i % 2)
				execl("/bin/true", "true", NULL);
			_exit(0);
		}
		DO("read", read(p[0], buf, 1));
		DO("wait4", waitpid(pid, NULL, 0));
	}
}

static void spawns(void)
{
	posix_spawn_file_actions_t fa;
	char name[] = "true", *argv[] = {name, NULL};
	pid_t pid;

	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 7, "/dev/null", O_RDONLY, 0);
	some_calls(2);
	if (posix_spawn(&pid, "/bin/true", &fa, NULL, argv, NULL))
		exit(98);
	some_calls(2);
	DO("wait4", waitpid(pid, NULL, 0));
}

static void *exec_thread(void *arg)
{
	begin();
	some_calls(3);
	execl(self_path, self_path, "files", log_path, NULL);
	exit(98);
}

static void thread_execs(void)
{
	pthread_t t;

	some_calls(2);
	pthread_create(&t, NULL, exec_thread, NULL);
	pthread_join(t, NULL);
	exit(98);
}

static int handler_pipe[2];

static void on_alarm(int sig)
{
	char c = 'h';

	DO("write", write(handler_pipe[1], &c, 1));
	DO("read", read(handler_pipe[0], &c, 1));
	DO("getppid", syscall(SYS_getppid));
}

static void handle(int flags)
{
	struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = flags};

	if (pipe(handler_pipe))
		exit(98);
	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGALRM, &sa, NULL);
}

/* A child that signals us when we sleep in a call, and then does @then. */
static pid_t pester(int sig, int then_fd)
{
	pid_t parent = getpid(), pid = fork();

	if (pid)
		return pid;
	usleep(200000);
	kill(parent, sig);
	usleep(200000);
	if (then_fd >= 0 && write(then_fd, "t", 1) != 1)
		_exit(1);
	_exit(0);
}

/* The handler runs inside a call that then ends with EINTR. */
static void interrupted(void)
{
	struct pollfd none = {.fd = -1};
	pid_t pid;

	handle(0);
	pid = pester(SIGUSR1, -1);
	DO("poll", poll(&none, 1, 20000));
	some_calls(2);
	DO("wait4", waitpid(pid, NULL, 0));
	pid = pester(SIGUSR1, -1);
	DO("poll", syscall(SYS_poll, &none, 1, 20000));
	some_calls(2);
	DO("wait4", waitpid(pid, NULL, 0));
}

/* The handler runs inside a call that then begins again: it is one call. */
static void restarted(void)
{
	char c;
	int p[2];
	pid_t pid;

	if (pipe(p))
		exit(98);
	handle(SA_RESTART);
	pid = pester(SIGUSR1, p[1]);
	DO("read", read(p[0], &c, 1));
	some_calls(2);
	DO("wait4", waitpid(pid, NULL, 0));
	pid = pester(SIGUSR1, p[1]);
	DO("read", syscall(SYS_read, p[0], &c, 1));
	some_calls(2);
	DO("wait4", waitpid(pid, NULL, 0));
}

/* Stopped and continued in a call, which the server cannot tell. */
static void stopped(void)
{
	struct pollfd none = {.fd = -1};
	pid_t parent = getpid(), pid = fork();

	if (!pid) {
		char path[64], buf[512] = "";
		int fd;

		usleep(100000);
		kill(parent, SIGSTOP);
		snprintf(path, sizeof(path), "/proc/%d/stat", (int)parent);
		for (unsigned int i = 0; i < 200 && !strstr(buf, ") t") && !strstr(buf, ") T");
		     i++) {
			usleep(10000);
			fd = open(path, O_RDONLY);
			if (read(fd, buf, sizeof(buf) - 1) < 0)
				_exit(1);
			close(fd);
		}
		usleep(50000);
		kill(parent, SIGCONT);
		_exit(0);
	}
	DO("poll", poll(&none, 1, 700));
	DO("poll", syscall(SYS_poll, &none, 1, 10));
	DO("wait4", waitpid(pid, NULL, 0));
	some_calls(2);
}

static volatile unsigned int storms;

static void on_storm(int sig)
{
	char c = 'h';

	DO("write", write(handler_pipe[1], &c, 1));
	DO("read", read(handler_pipe[0], &c, 1));
	storms++;
}

/* Handlers at any instruction of the recording: nothing may be lost or come twice. */
static void storm(void)
{
	struct itimerval it = {{0, 3000}, {0, 3000}}, off = {0};
	long n = 0;

	only_tid = (int)syscall(SYS_gettid);
	handle(SA_RESTART);
	signal(SIGALRM, on_storm);
	setitimer(ITIMER_REAL, &it, NULL);
	for (; storms < 100; n++)
		lseek(handler_pipe[0], 0, SEEK_CUR);
	setitimer(ITIMER_REAL, &off, NULL);
	returned_long(begins(), "lseeks", n);
}

static int dying_pipe[2];

static void *dying_thread(void *arg)
{
	char c;
	unsigned int at;

	begin();
	at = begins();
	returned(at, "read", "?");
	if (read(dying_pipe[0], &c, 1))
		exit(98);
	return NULL;
}

/* A thread that never comes back from its call. */
static void dying(void)
{
	pthread_t t;

	if (pipe(dying_pipe))
		exit(98);
	pthread_create(&t, NULL, dying_thread, NULL);
	usleep(100000);
	some_calls(2);
	_exit(0);
}

static void daemonised(void)
{
	some_calls(2);
	if (fork())
		_exit(0);
	setsid();
	if (fork())
		_exit(0);
	begin();
	usleep(100000);
	some_calls(10);
}

/* Two ways to one call site: two stacks. */
static __attribute__((noinline)) void leaf(int fd)
{
	char c = 0;

	DO("write", write(fd, &c, 1));
}

static __attribute__((noinline)) void way_one(int fd)
{
	leaf(fd);
	__asm__ volatile("");
}

static __attribute__((noinline)) void way_two(int fd)
{
	leaf(fd);
	__asm__ volatile("nop"); /* lest the two become one */
}

static void stacks(void)
{
	int fd = (int)DO("openat", open("/dev/null", O_WRONLY));

	for (unsigned int i = 0; i < 100; i++) {
		way_one(fd);
		way_two(fd);
	}
}

static void forever(void)
{
	for (unsigned int i = 0; i < 3; i++)
		if (!fork())
			break;
	for (;;) {
		some_calls(1);
		logged->next = 1;
		usleep(1000);
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} modes[] = {
		{"files", files},
		{"threads", threads},
		{"forks", forks},
		{"vforks", vforks},
		{"spawns", spawns},
		{"thread-execs", thread_execs},
		{"interrupted", interrupted},
		{"restarted", restarted},
		{"stopped", stopped},
		{"storm", storm},
		{"dying", dying},
		{"daemon", daemonised},
		{"stacks", stacks},
		{"forever", forever},
	};

	if (argc != 3)
		return 99;
	self_path = argv[0];
	log_path = argv[2];
	map_log();
	begin();
	for (unsigned int i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (!strcmp(modes[i].name, argv[1])) {
			modes[i].run();
			return 0;
		}
	return 99;
}
