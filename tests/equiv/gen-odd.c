/* SPDX-License-Identifier: MIT */
/* gen-odd.c - what a generated server does besides: files, logs, pipes, signals, processes, and
 * wrong calls. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gen.h"

static int logs = -1, pipes[2] = {-1, -1}, event = -1, pair[2] = {-1, -1}, udp = -1, ep2 = -1;
static int spare = -1; /* a second name of a stream */
static struct conn *spare_of;
static uint32_t pair_out[2], lines;

static void on_signal(int sig)
{
	int err = errno;

	if (sig == SIGUSR1)
		op_small();
	else
		note("%u a signal", opno);
	errno = err;
}

static void open_log(void)
{
	logs = open("log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	number("open the log", logs);
}

void odd_start(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = sh->udp_port};

	signal(SIGUSR1, on_signal);
	signal(SIGUSR2, on_signal);
	if (may.logs) {
		unlink("log");
		open_log();
	}
	if (may.pairs) {
		result("pipe", pipe2(pipes, O_NONBLOCK | O_CLOEXEC));
		event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		number("eventfd", event);
		result("pair",
		       socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair));
		watch_set(WATCH_PIPE, pipes[0], EPOLLIN);
		watch_set(WATCH_EVENT, event, EPOLLIN);
		watch_set(WATCH_PAIR, pair[1], chance(50) ? EPOLLIN : EPOLLIN | EPOLLET);
		if (chance(50) && loop_is_epoll()) {
			/* The other end too, so that what is written to it may wait. */
			struct epoll_event ev = {.events = 0, .data.u64 = WATCH_PAIR};

			result("watch the other", epoll_ctl(ep, EPOLL_CTL_ADD, pair[0], &ev));
		}
	}
	if (may.udp) {
		to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		number("udp", udp);
		result("connect", connect(udp, (struct sockaddr *)&to, sizeof(to)));
	}
	if (may.odd) {
		ep2 = epoll_create(5);
		number("epoll 2", ep2);
	}
}

/* --- files --- */

static void show_file(const char *name)
{
	static unsigned char buf[65536];
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t n = 0;

	number("open to look", fd);
	if (fd < 0)
		return;
	if (chance(50) && !fstat(fd, &st))
		note("%u %s has %ld bytes", opno, name, (long)st.st_size);
	n = chance(50) ? read(fd, buf, sizeof(buf)) : pread(fd, buf, sizeof(buf), 0);
	note("%u %s holds %zd bytes, %08x", opno, name, n, n > 0 ? hash_of(buf, (size_t)n) : 0);
	result("close", close(fd));
}

static void log_line(void)
{
	char line[400];
	struct iovec iov[2];
	size_t n = 1 + below(300);

	memset(line, 'a' + (int)(lines % 26), n);
	line[n - 1] = '\n';
	lines++;
	iov[0] = (struct iovec){line, n / 2};
	iov[1] = (struct iovec){line + n / 2, n - n / 2};
	result("log", chance(70) ? write(logs, line, n) : writev(logs, iov, 2));
	memset(line, 'X', n);
}

void op_log(void)
{
	struct stat st;
	int fd;

	switch (below(16)) {
	case 0:
		show_file("log");
		break;
	case 1:
		if (!stat("log", &st))
			note("%u the log has %ld", opno, (long)st.st_size);
		break;
	case 2:
		if (!fstat(logs, &st))
			note("%u the log has %ld", opno, (long)st.st_size);
		break;
	case 3:
		result("fsync", fsync(logs));
		break;
	case 4:
		result("rename", rename("log", "log.old"));
		log_line();
		fd = logs;
		if (chance(50)) {
			result("close the log", close(fd));
			open_log();
		} else {
			open_log();
			result("log over log", dup2(logs, fd));
			result("close the new log", close(logs));
			logs = fd;
		}
		show_file("log.old");
		break;
	case 5:
		result("ftruncate", ftruncate(logs, below(500)));
		break;
	case 6:
		result("lseek", lseek(logs, 0, SEEK_CUR));
		break;
	case 7:
		result("log size", lseek(logs, 0, SEEK_END));
		break;
	default:
		log_line();
		break;
	}
}

void op_file(void)
{
	static unsigned char buf[8192];
	struct conn *c = pick(roomy);
	struct stat st;
	ssize_t n = 0;
	int fd;

	switch (below(6)) {
	case 0:
		result("open", open("no such file", O_RDONLY));
		return;
	case 1:
		fd = open("file", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		number("open", fd);
		memset(buf, 'f', sizeof(buf));
		result("write", write(fd, buf, 1 + below(sizeof(buf))));
		result("pwrite", pwrite(fd, "patch", 5, below(9000)));
		if (!fstat(fd, &st))
			note("%u it has %ld", opno, (long)st.st_size);
		result("close", close(fd));
		show_file("file");
		return;
	default:
		break;
	}
	/* As a server of files does: look, head, body, close. */
	fd = open("body", O_RDONLY | O_CLOEXEC);
	number("open", fd);
	if (fd < 0)
		return;
	if (chance(60)) {
		if (!fstat(fd, &st))
			note("%u it has %ld", opno, (long)st.st_size);
		n = pread(fd, buf, sizeof(buf), below(BODY_SIZE + 3000));
		note("%u pread %zd %08x", opno, n, hash_of(buf, n > 0 ? (size_t)n : 0));
	}
	if (c && stream_of(c)->accepted < STREAM_MAX - 150000) {
		struct message m = {.c = c,
				    .kind = KIND_SENDFILE,
				    .left = 1 + below(chance(70) ? 20000 : 60000),
				    .off = below(BODY_SIZE - 60000)};
		int keep = body;

		settle(c, m.left);
		if (chance(50))
			op_write(c);
		body = fd;
		note("%u c%u gets of it %ld", opno, index_of(c), write_once(&m));
		body = keep;
	}
	result("close", close(fd));
	if (chance(30))
		result("read of the closed", read(fd, buf, 10));
}

/* --- local things --- */

void op_pair(void)
{
	static char buf[4096];
	uint64_t v = 1;
	uint32_t n = 1 + below(sizeof(buf)), way = below(2);
	ssize_t ret;

	memset(buf, 'p', sizeof(buf));
	switch (below(8)) {
	case 0:
		result("pipe write", write(pipes[1], buf, n < 100 ? n : 100));
		break;
	case 1:
		result("pipe read", read(pipes[0], buf, 150));
		break;
	case 2:
		result("event write", write(event, &v, sizeof(v)));
		break;
	case 3:
		ret = read(event, &v, sizeof(v));
		result("event read", ret);
		if (ret > 0)
			note("%u event %lu", opno, (unsigned long)v);
		break;
	case 4:
	case 5:
		if (pair_out[way] > 20000)
			break;
		ret = write(pair[way], buf, n);
		result("pair write", ret);
		if (ret > 0)
			pair_out[way] += (uint32_t)ret;
		break;
	default:
		ret = chance(80) ? read(pair[!way], buf, sizeof(buf))
				 : recv(pair[!way], buf, 10, MSG_PEEK);
		result("pair read", ret);
		if (ret > 10)
			pair_out[way] -= (uint32_t)ret;
		break;
	}
}

void op_datagram(void)
{
	static uint32_t sent;
	char buf[1200];
	uint32_t n = below(sizeof(buf));
	struct iovec iov = {buf, n};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (sent++ >= GRAMS)
		return;
	memset(buf, 'a' + (int)(sent % 26), sizeof(buf));
	switch (below(4)) {
	case 0:
		result("datagram", send(udp, buf, n, 0));
		break;
	case 1:
		result("datagram", sendto(udp, buf, n, 0, NULL, 0));
		break;
	case 2:
		result("datagram", sendmsg(udp, &msg, 0));
		break;
	default:
		result("datagram", write(udp, buf, n));
		break;
	}
	if (chance(30))
		result("datagram in", recv(udp, buf, sizeof(buf), 0));
}

/* --- processes and signals --- */

void op_signal(void)
{
	struct epoll_event ev;
	sigset_t block, none;

	if (!may.signals)
		return;
	switch (below(in_helper || may.thread ? 3 : 5)) {
	case 0:
		result("raise", raise(SIGUSR1));
		break;
	case 1:
		result("pthread_kill", pthread_kill(pthread_self(), SIGUSR1));
		break;
	case 2:
		result("tgkill", syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1));
		break;
	case 3:
		result("kill", kill(getpid(), SIGUSR1));
		break;
	default:
		if (ep2 < 0)
			break;
		sigemptyset(&none);
		sigemptyset(&block);
		sigaddset(&block, SIGUSR2);
		pthread_sigmask(SIG_BLOCK, &block, NULL);
		raise(SIGUSR2);
		result("epoll_pwait", epoll_pwait(ep2, &ev, 1, 5000, &none));
		pthread_sigmask(SIG_UNBLOCK, &block, NULL);
		break;
	}
}

static void ended(const char *what, pid_t pid)
{
	int status = -1;

	if (pid < 0) {
		result(what, pid);
		return;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	note("%u %s: status %x", opno, what, (unsigned int)status);
}

/* TSAN does not see a process that is made past libc: the child's accesses would be those of
 * another thread to it. */
#ifdef __SANITIZE_THREAD__
#define PAST_LIBC false
#else
#define PAST_LIBC true
#endif

static void op_fork(void)
{
	uint64_t seed = rnd() | 1;
	uint32_t how = below(3), n;
	pid_t pid = chance(80) || !PAST_LIBC ? fork() : (pid_t)syscall(SYS_fork);

	if (pid) {
		ended("child", pid);
		return;
	}
	in_child = true;
	rnd_state = seed;
	for (n = 1 + below(3); n; n--)
		op_small();
	if (how == 0)
		_exit(7);
	if (how == 1)
		raise(SIGKILL);
	exit(8);
}

static void op_vfork(void)
{
	struct conn *c = pick(roomy);
	pid_t pid;
	int fd;

	if (!c)
		return;
	fd = c->fd;
	pid = vfork();
	if (!pid) {
		if (write(fd, "vfork", 5) != 5)
			_exit(1);
		_exit(9);
	}
	ended("vfork", pid);
	taken_by_other(c, "vfork", 5);
}

static void op_spawn(void)
{
	char name[] = "equiv-gen", arg[] = "child", *argv[] = {name, arg, NULL};
	struct conn *c = pick(roomy);
	posix_spawn_file_actions_t fa;
	pid_t pid = -1;

	if (!c)
		return;
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, c->fd, 1);
	if (posix_spawn(&pid, "/proc/self/exe", &fa, NULL, argv, environ))
		note("%u posix_spawn failed", opno);
	posix_spawn_file_actions_destroy(&fa);
	ended("spawn", pid);
	taken_by_other(c, "child", 5);
}

void op_process(void)
{
	may_be_inherited |= may.forks || may.spawns;
	if (may.forks && chance(60))
		op_fork();
	else if (may.forks)
		op_vfork();
	else if (may.spawns)
		op_spawn();
}

/* --- registrations --- */

static bool registered(const struct conn *c)
{
	return c->fd >= 0 && !c->tight && watches[index_of(c)].on;
}

static bool open_and_roomy(const struct conn *c)
{
	return c->fd >= 0 && !c->tight;
}

void op_ctl(void)
{
	static const uint32_t masks[] = {EPOLLIN,
					 0,
					 EPOLLIN | EPOLLRDHUP,
					 EPOLLIN | EPOLLET,
					 EPOLLIN | EPOLLONESHOT,
					 EPOLLIN | EPOLLOUT,
					 EPOLLOUT,
					 EPOLLIN | EPOLLOUT | EPOLLET};
	struct conn *c = pick(chance(70) ? registered : open_and_roomy);
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = 0};
	unsigned int i;
	uint32_t mask;

	if (!c)
		return;
	i = index_of(c);
	mask = masks[below(c->local ? 5 : 8)];
	ev.data.u64 = i;
	note("%u c%u mask %x", opno, i, mask);
	switch (below(may.ctl ? 12 : 5)) {
	case 0:
		result("DEL", watch_raw(EPOLL_CTL_DEL, i, 0));
		if (chance(50))
			result("ADD", watch_raw(EPOLL_CTL_ADD, i, mask));
		break;
	case 1:
		result("ADD", watch_raw(EPOLL_CTL_ADD, i, mask));
		break;
	case 5:
		result("ADD bad", epoll_ctl(ep, EPOLL_CTL_ADD, 200, &ev));
		break;
	case 6:
		result("ADD file", epoll_ctl(ep, EPOLL_CTL_ADD, body, &ev));
		break;
	case 7:
		result("bad ep", epoll_ctl(c->fd, EPOLL_CTL_MOD, c->fd, &ev));
		break;
	case 8:
		result("bad op", epoll_ctl(ep, 77, c->fd, &ev));
		break;
	case 9:
		result("self", epoll_ctl(ep, EPOLL_CTL_ADD, ep, &ev));
		break;
	case 10:
		result("MOD file", epoll_ctl(ep, EPOLL_CTL_MOD, body, &ev));
		break;
	default:
		result("MOD", watch_raw(EPOLL_CTL_MOD, i, mask));
		if (chance(30))
			result("MOD", watch_raw(EPOLL_CTL_MOD, i, mask | EPOLLRDHUP));
		break;
	}
}

/* --- odd --- */

static void second_name(void)
{
	struct conn *c = pick(roomy);

	if (spare >= 0) {
		result("write by the other name", write(spare, "spare", 0));
		if (healthy(spare_of)) {
			if (write(spare, "spare", 5) == 5)
				taken_by_other(spare_of, "spare", 5);
		}
		if (chance(60)) {
			result("close the other name", close(spare));
			spare = -1;
		}
		return;
	}
	if (!c)
		return;
	spare_of = c;
	switch (below(3)) {
	case 0:
		spare = dup(c->fd);
		break;
	case 1:
		spare = fcntl(c->fd, F_DUPFD_CLOEXEC, 40);
		break;
	default:
		spare = dup2(c->fd, 60);
		break;
	}
	number("other name", spare);
}

static void by_rights(void)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} u;
	char b = 'b';
	struct iovec iov = {&b, 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.buf};
	struct conn *c = pick(roomy);
	struct cmsghdr *h;
	int ends[2], fd = -1;

	if (!c || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		return;
	memset(&u, 0, sizeof(u));
	msg.msg_controllen = sizeof(u.buf);
	h = CMSG_FIRSTHDR(&msg);
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &c->fd, sizeof(int));
	result("rights out", sendmsg(ends[0], &msg, 0));
	op_write(c);
	msg.msg_controllen = sizeof(u.buf);
	result("rights in", recvmsg(ends[1], &msg, MSG_CMSG_CLOEXEC));
	h = CMSG_FIRSTHDR(&msg);
	if (h)
		memcpy(&fd, CMSG_DATA(h), sizeof(int));
	number("it is", fd);
	if (fd >= 0 && healthy(c) && write(fd, "right", 5) == 5)
		taken_by_other(c, "right", 5);
	result("close", close(fd));
	result("close", close(ends[0]));
	result("close", close(ends[1]));
}

static void no_numbers(void)
{
	struct rlimit lim, old;
	int fds[64], n = 0, first;

	if (!numbers_known)
		return;
	first = dup(listener);
	number("first", first);
	if (first < 0 || getrlimit(RLIMIT_NOFILE, &old))
		return;
	lim = old;
	lim.rlim_cur = (rlim_t)first + 1 + below(5);
	result("setrlimit", setrlimit(RLIMIT_NOFILE, &lim));
	result("close", close(first));
	while (n < 64 && (fds[n] = chance(50) ? dup(listener) : open("body", O_RDONLY)) >= 0)
		n++;
	result("no more", -1);
	note("%u %d descriptors", opno, n);
	conn_new();
	while (n > 0)
		result("close", close(fds[--n]));
	setrlimit(RLIMIT_NOFILE, &old);
}

static void second_instance(void)
{
	struct conn *c = pick(open_and_roomy);
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = 1}, got[4];
	int n, i;

	if (!c)
		return;
	result("ADD 2", epoll_ctl(ep2, EPOLL_CTL_ADD, c->fd, &ev));
	op_write(c);
	if (c->fd < 0)
		return;
	n = epoll_wait(ep2, got, 4, 0);
	result("wait 2", n);
	for (i = 0; i < n; i++)
		note("%u of 2: %x", opno, got[i].events);
	if (chance(70))
		result("DEL 2", epoll_ctl(ep2, EPOLL_CTL_DEL, c->fd, &ev));
}

static void wrong_calls(void)
{
	struct conn *c = pick(roomy);
	static struct iovec many[1030];
	struct epoll_event ev;
	char b;

	result("write nowhere", write(222, "x", 1));
	result("close nowhere", close(222));
	result("send to a file", send(body, "x", 1, 0));
	result("wait of a file", epoll_wait(body, &ev, 1, 0));
	if (!c)
		return;
	result("writev too many", writev(c->fd, many, 1030));
	result("writev none", writev(c->fd, many, 0));
	result("pread of a stream", pread(c->fd, &b, 1, 0));
	result("lseek of a stream", lseek(c->fd, 0, SEEK_SET));
	result("sendfile from nowhere", sendfile(c->fd, 222, NULL, 10));
	result("no wait at all", ep >= 0 ? epoll_wait(ep, &ev, 0, 0) : -1);
}

void op_odd(void)
{
	switch (below(6)) {
	case 0:
	case 1:
		if (may.dups)
			second_name();
		break;
	case 2:
		if (may.rights)
			by_rights();
		break;
	case 3:
		no_numbers();
		break;
	case 4:
		second_instance();
		break;
	default:
		wrong_calls();
		break;
	}
}
