/* SPDX-License-Identifier: MIT */
/* equiv.c - run one case: start its server and its peer, and print what they saw. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "equiv.h"

int listener = -1;
const char *self_path;
volatile uint64_t *accepted;
#define SMALL 1000 /* the word of it that small_buffers() sets */

/*
 * Shared memory: writing a note is no system call,
 * which could be a flush that hides what is tested.
 */
struct transcript {
	uint32_t len;
	char text[65536 - sizeof(uint32_t)];
};
static struct transcript *transcript;
static struct sockaddr_in addr;

void note(const char *fmt, ...)
{
	size_t room = sizeof(transcript->text) - transcript->len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(transcript->text + transcript->len, room - 1, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= room - 1)
		_exit(99);
	transcript->len += (uint32_t)n;
	transcript->text[transcript->len++] = '\n';
}

void die(const char *what)
{
	note("FAILED: %s: %s", what, strerror(errno));
	_exit(98);
}

void note_result(const char *what, long ret)
{
	if (ret >= 0)
		note("%s = %ld", what, ret);
	else
		note("%s = -%s", what, strerrorname_np(errno));
}

int epoll_new(void)
{
	int ep = epoll_create1(EPOLL_CLOEXEC);

	if (ep < 0)
		die("epoll_create1");
	watch(ep, EPOLL_CTL_ADD, listener, EPOLLIN);
	return ep;
}

void watch(int ep, int op, int fd, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.fd = fd};

	if (epoll_ctl(ep, op, fd, &ev))
		die("epoll_ctl");
}

int next_event(int ep, uint32_t *events)
{
	struct epoll_event ev;
	int n;

	do
		n = epoll_wait(ep, &ev, 1, 10000);
	while (n < 0 && errno == EINTR);
	if (n != 1)
		die("epoll_wait");
	if (events)
		*events = ev.events;
	return ev.data.fd;
}

int accept_wait(int ep, uint32_t events)
{
	int fd;

	if (next_event(ep, NULL) != listener)
		die("not a connection");
	fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		die("accept4");
	watch(ep, EPOLL_CTL_ADD, fd, events);
	return fd;
}

void read_request(int fd)
{
	char buf[256];

	if (read(fd, buf, sizeof(buf)) <= 0)
		die("read");
}

void read_byte(int fd)
{
	char c;

	if (read(fd, &c, 1) != 1)
		die("read");
}

int serve_one(int ep, uint32_t events)
{
	int fd = accept_wait(ep, events);
	char buf[sizeof("request") - 1];
	uint32_t got;

	do
		if (next_event(ep, &got) != fd)
			die("not a request");
	while (!(got & EPOLLIN));
	/* Not what the peer may have said after that. */
	if (read(fd, buf, sizeof(buf)) <= 0)
		die("read");
	return fd;
}

void set_int(int fd, int level, int name, int value)
{
	if (setsockopt(fd, level, name, &value, sizeof(value)))
		die("setsockopt");
}

int get_int(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	if (getsockopt(fd, level, name, &value, &len))
		die("getsockopt");
	return value;
}

int dial(int rcvbuf)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	if (rcvbuf)
		set_int(fd, SOL_SOCKET, SO_RCVBUF, rcvbuf);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		die("connect");
	return fd;
}

/* A socket has the buffer that its listener has when the connection comes. */
void small_buffers(void)
{
	set_int(listener, SOL_SOCKET, SO_SNDBUF, 4608);
	accepted[SMALL] = 1;
}

int dial_small(void)
{
	while (!accepted[SMALL])
		usleep(1000);
	return dial(2048);
}

void say(int fd, const char *s)
{
	if (write(fd, s, strlen(s)) != (ssize_t)strlen(s))
		die("say");
}

uint64_t swallow(int fd, const char **how)
{
	static char buf[65536];
	uint64_t got = 0;
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		got += (uint64_t)n;
	*how = n ? strerrorname_np(errno) : "the end";
	return got;
}

void hear(int fd, size_t n)
{
	char buf[512];
	size_t have = 0;

	while (have < n && have < sizeof(buf)) {
		ssize_t ret = read(fd, buf + have, n - have);

		if (ret <= 0) {
			note("heard '%.*s', then %s", (int)have, buf,
			     ret ? strerrorname_np(errno) : "the end");
			return;
		}
		have += (size_t)ret;
	}
	note("heard '%.*s'", (int)have, buf);
}

void hear_all(int fd, size_t step, bool rest)
{
	static unsigned char buf[65536];
	uint64_t hash = 14695981039346656037u, len = 0;
	ssize_t n, i;

	while ((n = read(fd, buf, step)) > 0) {
		for (i = 0; i < n; i++)
			hash = (hash ^ buf[i]) * 1099511628211u;
		len += (uint64_t)n;
		if (rest)
			usleep(300);
	}
	note("heard %llu bytes, hash %016llx, then %s", (unsigned long long)len,
	     (unsigned long long)hash, n ? strerrorname_np(errno) : "the end");
}

void ask(void)
{
	uint64_t n = accepted[WORD_ASKED] + 1;

	accepted[WORD_ASKED] = n;
	while (accepted[WORD_DONE] < n)
		;
}

void wait_for_word(enum word word, uint64_t n)
{
	while (accepted[word] < n)
		usleep(200);
}

const char *shared_path(const char *what, int n)
{
	static char names[4][64];
	static unsigned int next;
	char *name = names[next++ % 4];

	snprintf(name, sizeof(names[0]), "/tmp/esca-equiv-%s.%d.%d", what, (int)getppid(), n);
	return name;
}

int open_log(const char *name)
{
	int fd = open(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);

	if (fd < 0)
		die("open_log");
	return fd;
}

void note_file(const char *what, const char *name)
{
	char line[64], first[64] = "", last[64] = "";
	FILE *f = fopen(name, "r");
	int n = 0;

	while (f && fgets(line, sizeof(line), f)) {
		if (!n++)
			memcpy(first, line, sizeof(first));
		memcpy(last, line, sizeof(last));
	}
	first[strcspn(first, "\n")] = last[strcspn(last, "\n")] = '\0';
	note("%s: %d lines from '%s' to '%s'", what, n, first, last);
	if (f)
		fclose(f);
	unlink(name);
}

void hang_up_hard(int fd)
{
	struct linger now = {.l_onoff = 1, .l_linger = 0};

	if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)))
		die("SO_LINGER");
	close(fd);
}

static const struct equiv_case *find(const char *name)
{
	const struct equiv_case *lists[] = {equiv_io,	 equiv_life,  equiv_turn, equiv_wait,
					    equiv_ahead, equiv_modes, equiv_log,  equiv_world,
					    equiv_file,	 equiv_signal};
	size_t i;

	for (i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
		const struct equiv_case *c;

		for (c = lists[i]; c->name; c++) {
			if (!name)
				puts(c->name);
			else if (!strcmp(name, c->name))
				return c;
		}
	}
	return NULL;
}

static struct transcript *blank(void)
{
	void *p = mmap(NULL, sizeof(*transcript), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(99);
	}
	return p;
}

static pid_t start(void (*fn)(void), struct transcript *t)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	transcript = t;
	alarm(60);
	fn();
	exit(0);
}

static void print(const char *who, const struct transcript *t, int status)
{
	printf("%s:\n%.*s", who, (int)t->len, t->text);
	if (WIFSIGNALED(status))
		printf("%s was killed by SIG%s\n", who, sigabbrev_np(WTERMSIG(status)));
	else
		printf("%s ended with status %d\n", who, WEXITSTATUS(status));
}

int main(int argc, char **argv)
{
	struct rlimit lim = {1024, 1024};
	const struct equiv_case *c;
	socklen_t len = sizeof(addr);
	struct transcript *server_out, *peer_out;
	int server_status, peer_status;
	pid_t server, peer;

	if (argc == 3 && !strcmp(argv[1], "after-exec")) {
		ssize_t n = write(atoi(argv[2]), "after exec\n", 11);

		return n != 11;
	}
	if (argc == 2 && !strcmp(argv[1], "can-wait"))
		return !can_wait();
	if (argc != 2) {
		find(NULL);
		return 0;
	}
	c = find(argv[1]);
	if (!c) {
		fprintf(stderr, "equiv: no case %s\n", argv[1]);
		return 99;
	}
	self_path = argv[0];
	setrlimit(RLIMIT_NOFILE, &lim);
	server_out = blank();
	peer_out = blank();
	accepted = (volatile uint64_t *)blank();
	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	addr.sin_family = AF_INET;
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (struct sockaddr *)&addr, sizeof(addr)) || listen(listener, 512) ||
	    getsockname(listener, (struct sockaddr *)&addr, &len)) {
		perror("listener");
		return 99;
	}
	server = start(c->server, server_out);
	peer = start(c->peer, peer_out);
	close(listener);
	waitpid(server, &server_status, 0);
	waitpid(peer, &peer_status, 0);
	print("server", server_out, server_status);
	print("peer", peer_out, peer_status);
	return 0;
}
