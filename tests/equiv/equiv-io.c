/* SPDX-License-Identifier: MIT */
/* equiv-io.c - cases about bytes: full buffers, resets, files, options, logs. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "equiv.h"

#define BIG (400 * 1000)

unsigned char text_byte(size_t i)
{
	return (unsigned char)(i * 7 + i / 251);
}

void write_all(int fd, const char *s)
{
	if (write(fd, s, strlen(s)) != (ssize_t)strlen(s))
		die("write_all");
}

/*
 * What is left of a big response goes out in small writes
 * until the socket is full. Return: whether all is written.
 */
static bool pump(int fd, size_t *done, size_t chunk)
{
	unsigned char buf[4096];
	size_t i, n;
	ssize_t ret;

	while (*done < BIG) {
		n = BIG - *done < chunk ? BIG - *done : chunk;
		for (i = 0; i < n; i++)
			buf[i] = text_byte(*done + i);
		ret = write(fd, buf, n);
		if (ret < 0 && errno == EAGAIN)
			return false;
		if (ret < 0)
			die("pump");
		*done += (size_t)ret;
	}
	return true;
}

/* A slow reader, a tiny buffer; how the server ends is the case's. */
static int big_response(uint32_t base, bool mod, size_t chunk)
{
	int ep = epoll_new(), fd;
	size_t done = 0;

	small_buffers();
	fd = serve_one(ep, base);
	while (!pump(fd, &done, chunk)) {
		uint32_t got;

		if (mod)
			watch(ep, EPOLL_CTL_MOD, fd, base | EPOLLOUT);
		do {
			if (next_event(ep, &got) != fd)
				die("whose event");
			if (got & (EPOLLERR | EPOLLHUP))
				die("unexpected end");
		} while (!(got & EPOLLOUT));
	}
	note("wrote all");
	/* Asked for nothing but input, the server hears of nothing but input. */
	if (mod)
		watch(ep, EPOLL_CTL_MOD, fd, base);
	return fd;
}

static void spill_lt(void)
{
	close(big_response(EPOLLIN, true, 1000));
}

static void spill_lt_wide(void)
{
	close(big_response(EPOLLIN, true, 4000));
}

static void spill_et(void)
{
	close(big_response(EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, false, 700));
}

static void spill_oneshot(void)
{
	close(big_response(EPOLLIN | EPOLLONESHOT, true, 1000));
}

static void spill_shutdown(void)
{
	int fd = big_response(EPOLLIN, true, 1000);
	char c;

	note_result("shutdown", shutdown(fd, SHUT_WR));
	while (read(fd, &c, 1) < 0 && errno == EAGAIN)
		usleep(2000);
	note("peer is done");
}

static void spill_unregister(void)
{
	int fd = big_response(EPOLLIN, true, 1000), ep = epoll_new();

	/* Into another instance, and out of that. */
	watch(ep, EPOLL_CTL_ADD, fd, EPOLLIN);
	watch(ep, EPOLL_CTL_DEL, fd, 0);
	close(fd);
	note_result("write after close", write(fd, "x", 1));
	note_result("close after close", close(fd));
}

static void spill_exit(void)
{
	big_response(EPOLLIN, true, 1000);
}

/* A thread that never waits, and so has no queue, reads from a local stream meanwhile. */
static atomic_int may_read;

static void *reads_unix(void *arg)
{
	char buf[16];

	while (!atomic_load(&may_read))
		;
	note_result("the other thread's read", read(*(int *)arg, buf, sizeof(buf)));
	note_result("and again", read(*(int *)arg, buf, sizeof(buf)));
	atomic_store(&may_read, 0);
	return NULL;
}

static void spill_thread(void)
{
	int fd, two[2];
	size_t done = 0;
	pthread_t t;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, two))
		die("socketpair");
	write_all(two[1], "hello");
	pthread_create(&t, NULL, reads_unix, &two[0]);
	small_buffers();
	fd = serve_one(epoll_new(), EPOLLIN);
	note("full: %d", !pump(fd, &done, 1000));
	atomic_store(&may_read, 1);
	/* No call of this thread gives the spill away meanwhile. */
	while (atomic_load(&may_read))
		;
	pthread_join(t, NULL);
	*accepted = done;
	close(fd);
}

/* Another name for a stream whose peer reads nothing until it has it, and what is written to both.
 */
static void spill_dup(void)
{
	int fd, other;
	size_t done = 0;

	small_buffers();
	fd = serve_one(epoll_new(), EPOLLIN);
	note("full: %d", !pump(fd, &done, 1000));
	other = dup(fd);
	note("dup: %d", other >= 0);
	accepted[1] = 1;
	set_int(fd, SOL_SOCKET, SO_SNDBUF, 500000);
	write_all(other, "one,");
	write_all(fd, "two");
	*accepted = done + 7;
	close(fd);
	close(other);
}

static void dup_peer(void)
{
	int fd = dial_small();
	const char *how;
	uint64_t got;

	say(fd, "go");
	while (!accepted[1])
		usleep(1000);
	got = swallow(fd, &how);
	note("what was taken arrived: %d, then %s", got == *accepted, how);
}

static void taken_peer(void)
{
	int fd = dial_small();
	const char *how;
	uint64_t got;

	say(fd, "go");
	usleep(100000);
	got = swallow(fd, &how);
	note("what was taken arrived: %d", got == *accepted);
}

static void slow_peer(void)
{
	int fd = dial_small();

	say(fd, "go");
	usleep(20000);
	hear_all(fd, 3000, true);
}

/* The peer is gone, with a reset, before the response is written: the server must get to know. */
static void reset_server(void)
{
	int ep = epoll_new(), fd = accept_wait(ep, EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP), turn;
	char buf[64];
	bool told = false;

	usleep(50000);
	for (turn = 0; turn < 4 && !told; turn++) {
		if (next_event(ep, NULL) != fd)
			die("whose event");
		while (!told) {
			ssize_t n = read(fd, buf, sizeof(buf));

			if (n < 0 && errno == EAGAIN)
				break;
			if (n < 0 && errno != ECONNRESET)
				die("read");
			if (n <= 0)
				told = true;
			else if (send(fd, "response", 8, MSG_NOSIGNAL) < 0)
				told = true;
			/* As nginx does: a short read is the last one until the next event. */
			if (n > 0)
				break;
		}
	}
	note("told: %d", told);
	note("later write fails: %d", send(fd, "more", 4, MSG_NOSIGNAL) < 0 && errno == EPIPE);
}

static void reset_peer(void)
{
	int fd = dial(0);

	say(fd, "request");
	usleep(10000);
	hang_up_hard(fd);
}

/* SIGPIPE has its default action: the server dies at a write, as it would. */
static void sigpipe_server(void)
{
	int ep = epoll_new(), victim = serve_one(ep, EPOLLIN | EPOLLET),
	    clock = serve_one(ep, EPOLLIN), i = 0;

	write_all(clock, "k");
	while (i < 20) {
		if (next_event(ep, NULL) == victim)
			continue;
		read_request(clock);
		if (write(victim, "data", 4) < 0 && errno == EPIPE)
			note("EPIPE came back");
		write_all(clock, "k");
		i++;
	}
	note("still alive");
}

static void sigpipe_peer(void)
{
	int victim = dial(0), clock, i;
	char c;

	say(victim, "request");
	usleep(20000);
	clock = dial(0);
	say(clock, "request");
	if (read(clock, &c, 1) != 1)
		die("clock");
	hang_up_hard(victim);
	for (i = 0; i < 20; i++)
		if (write(clock, "t", 1) != 1 || read(clock, &c, 1) != 1)
			break;
	note("the server stopped before the end: %d", i < 20);
}

static void halfclose_server(void)
{
	int ep = epoll_new(), fd = accept_wait(ep, EPOLLIN | EPOLLRDHUP);
	char buf[64];
	ssize_t n;

	usleep(20000);
	if (next_event(ep, NULL) != fd)
		die("whose event");
	n = read(fd, buf, sizeof(buf));
	note("read %zd", n);
	write_all(fd, "one,");
	n = read(fd, buf, sizeof(buf));
	note("read %zd", n);
	write_all(fd, "two");
	note_result("shutdown", shutdown(fd, SHUT_WR));
	note_result("write after shutdown", send(fd, "x", 1, MSG_NOSIGNAL));
	note_result("close", close(fd));
	note_result("close again", close(fd));
}

static void halfclose_peer(void)
{
	int fd = dial(0);

	say(fd, "request");
	shutdown(fd, SHUT_WR);
	hear_all(fd, 100, false);
}

static void emfile_server(void)
{
	struct rlimit lim = {40, 1024};
	int ep = epoll_new(), fd, n = 0, last = -1, got;

	setrlimit(RLIMIT_NOFILE, &lim);
	fd = serve_one(ep, EPOLLIN);
	write_all(fd, "head,");
	while ((got = open("/dev/null", O_RDONLY | O_NONBLOCK)) >= 0) {
		last = got;
		n++;
	}
	note_result("open at the limit", got);
	note_result("accept at the limit", accept4(listener, NULL, NULL, SOCK_NONBLOCK));
	note("made %d, the last was %d", n, last);
	write_all(fd, "tail");
	close(last);
	note_result("open again", open("/dev/null", O_RDONLY | O_NONBLOCK));
	note_result("close", close(fd));
}

static void emfile_peer(void)
{
	int fd = dial(0);

	say(fd, "request");
	hear_all(fd, 100, false);
}

#define CLOSED 8

static atomic_int all_closed;

/* Has as many descriptors as another thread, which goes on, was told are closed. */
static void *reusing_thread(void *arg)
{
	int i, n = 0;

	while (!atomic_load(&all_closed))
		;
	for (i = 0; i < CLOSED; i++)
		n += open("/dev/null", O_RDONLY | O_NONBLOCK) >= 0;
	note("opened %d", n);
	atomic_store(&all_closed, 0);
	return NULL;
}

static void emfile_thread_server(void)
{
	int ep = epoll_new(), fd, i, fds[CLOSED];
	struct rlimit lim = {40, 1024};
	pthread_t t;

	setrlimit(RLIMIT_NOFILE, &lim);
	pthread_create(&t, NULL, reusing_thread, NULL);
	for (i = 0; i < CLOSED; i++)
		fds[i] = accept_wait(ep, 0);
	fd = accept_wait(ep, EPOLLIN);
	while (open("/dev/null", O_RDONLY | O_NONBLOCK) >= 0)
		;
	if (next_event(ep, NULL) != fd)
		die("whose event");
	read_request(fd);
	for (i = 0; i < CLOSED; i++) {
		write_all(fds[i], "bye");
		close(fds[i]);
	}
	atomic_store(&all_closed, 1);
	while (atomic_load(&all_closed))
		;
	write_all(fd, "tail");
	close(fd);
	pthread_join(t, NULL);
}

static void emfile_thread_peer(void)
{
	int fds[CLOSED + 1], i;

	for (i = 0; i <= CLOSED; i++)
		fds[i] = dial(0);
	say(fds[CLOSED], "request");
	for (i = 0; i <= CLOSED; i++)
		hear_all(fds[i], 100, false);
}

#define STORM 400

static void storm_server(void)
{
	int ep = epoll_new(), served = 0;
	char buf[64];

	while (served < STORM) {
		struct epoll_event evs[8];
		int n = epoll_wait(ep, evs, 8, 10000), i;

		if (n <= 0)
			die("epoll_wait");
		for (i = 0; i < n; i++) {
			int fd = evs[i].data.fd;
			ssize_t len;

			if (fd == listener) {
				fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
				if (fd >= 0)
					watch(ep, EPOLL_CTL_ADD, fd, EPOLLIN);
				continue;
			}
			len = read(fd, buf, sizeof(buf));
			if (len <= 0)
				die("read");
			write_all(fd, "you said ");
			if (write(fd, buf, (size_t)len) != len)
				die("write");
			close(fd);
			served++;
		}
	}
	note("served %d", served);
}

static void storm_peer(void)
{
	int fds[20], i, k, wrong = 0;

	for (i = 0; i < STORM; i += 20) {
		for (k = 0; k < 20; k++) {
			char s[32];

			fds[k] = dial(0);
			snprintf(s, sizeof(s), "%d", i + k);
			say(fds[k], s);
		}
		for (k = 0; k < 20; k++) {
			char want[64], got[64];
			size_t have = 0;
			ssize_t n;

			snprintf(want, sizeof(want), "you said %d", i + k);
			while (have < sizeof(got) &&
			       (n = read(fds[k], got + have, sizeof(got) - have)) > 0)
				have += (size_t)n;
			if (have != strlen(want) || memcmp(want, got, have))
				wrong++;
			close(fds[k]);
		}
	}
	note("wrong answers: %d", wrong);
}

static void options_server(void)
{
	int ep = epoll_new(), fd = serve_one(ep, EPOLLIN);

	set_int(fd, IPPROTO_TCP, TCP_CORK, 1);
	write_all(fd, "a");
	write_all(fd, "b");
	note("corked: %d", get_int(fd, IPPROTO_TCP, TCP_CORK));
	set_int(fd, IPPROTO_TCP, TCP_CORK, 0);
	write_all(fd, "c,");
	set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	next_event(ep, NULL);
	read_byte(fd);
	note("nodelay %d cork %d", get_int(fd, IPPROTO_TCP, TCP_NODELAY),
	     get_int(fd, IPPROTO_TCP, TCP_CORK));
	set_int(fd, IPPROTO_TCP, TCP_CORK, 1);
	set_int(fd, IPPROTO_TCP, TCP_CORK, 0);
	set_int(fd, IPPROTO_TCP, TCP_NODELAY, 0);
	set_int(fd, IPPROTO_TCP, TCP_CORK, 1);
	note_result("send", send(fd, "d,", 2, MSG_MORE));
	next_event(ep, NULL);
	read_byte(fd);
	note("nodelay %d cork %d", get_int(fd, IPPROTO_TCP, TCP_NODELAY),
	     get_int(fd, IPPROTO_TCP, TCP_CORK));
	note_result("a bad option", setsockopt(fd, IPPROTO_TCP, 9999, "", 0));
	note_result("no value", setsockopt(fd, IPPROTO_TCP, TCP_CORK, NULL, 4));
	write_all(fd, "e");
	set_int(fd, IPPROTO_TCP, TCP_CORK, 0);
	note_result("close", close(fd));
}

static void options_peer(void)
{
	int fd = dial(0);

	say(fd, "request");
	hear(fd, 4);
	say(fd, "1");
	usleep(20000);
	say(fd, "2");
	hear_all(fd, 100, false);
}

/* Lines of two logs, in order, and seen as soon as somebody looks. */
static void log_server(void)
{
	char path[] = "/tmp/esca-equiv-log.XXXXXX", other[] = "/tmp/esca-equiv-log.XXXXXX",
	     buf[8192];
	int ep = epoll_new(), fd = serve_one(ep, EPOLLIN), log, log2, i, in;
	struct statx stx;
	struct stat st;
	off_t off = 0;

	close(mkstemp(path));
	close(mkstemp(other));
	log = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	log2 = open(other, O_WRONLY | O_APPEND | O_CLOEXEC);
	in = open(path, O_RDONLY);
	next_event(ep, NULL);
	read_byte(fd);
	for (i = 0; i < 40; i++) {
		int n = snprintf(buf, sizeof(buf), "line %d\n", i);

		note_result("log", write(i % 5 == 4 ? log2 : log, buf, (size_t)n));
		if (i % 3 == 0)
			write_all(fd, "r");
		if (i == 10 && !stat(path, &st))
			note("size by name %lld", (long long)st.st_size);
		if (i == 11 && !statx(AT_FDCWD, path, 0, STATX_SIZE, &stx))
			note("size by statx %llu", (unsigned long long)stx.stx_size);
		if (i == 12) {
			FILE *f = fopen(path, "r");
			int lines = 0;

			while (f && fgets(buf, sizeof(buf), f))
				lines++;
			note("%d lines by fgets", lines);
			if (f)
				fclose(f);
		}
		if (i == 14) {
			off64_t from = 0;
			int to = open(other, O_WRONLY);

			note_result("copy_file_range",
				    copy_file_range(in, &from, to, NULL, 4096, 0));
			close(to);
		}
		if (i == 13 && !fstat(log, &st))
			note("size %lld", (long long)st.st_size);
		if (i == 17)
			note_result("read", read(in, buf, sizeof(buf)));
		if (i == 20)
			note_result("pread", pread(in, buf, sizeof(buf), 0));
		if (i == 23)
			note_result("end", lseek(log, 0, SEEK_END));
		if (i == 26)
			note_result("sendfile", sendfile(fd, in, &off, 4096));
		if (i == 29) {
			note_result("ftruncate", ftruncate(log2, 3));
			note_result("rename", rename(path, path));
		}
	}
	next_event(ep, NULL);
	read_byte(fd);
	note_result("last", write(log, "before dup2\n", 12));
	note_result("dup2", dup2(log2, log));
	note_result("last", write(log, "after dup2\n", 11));
	close(log);
	note_result("all", pread(in, buf, sizeof(buf), 0));
	note("%.*s", 300, buf);
	note_result("all", pread(log2, buf, sizeof(buf), 0));
	close(log2);
	log2 = open(other, O_RDONLY);
	i = (int)read(log2, buf, sizeof(buf));
	note("%.*s", i, buf);
	unlink(path);
	unlink(other);
	close(fd);
}

static void log_peer(void)
{
	int fd = dial(0);

	say(fd, "request");
	usleep(20000);
	say(fd, "1");
	usleep(20000);
	say(fd, "2");
	hear_all(fd, 100, false);
}

/* Two connections and much small writing: who gets what, and in which order. */
static void merge_server(void)
{
	int ep = epoll_new(), a = serve_one(ep, EPOLLIN), b = serve_one(ep, EPOLLIN), i;
	volatile int bad = -1;
	char s[32];

	for (i = 0; i < 700; i++) {
		snprintf(s, sizeof(s), "%d%c", i, i % 7 ? ' ' : '\n');
		if (i % 3)
			write_all(a, s);
		else
			note("%zd", send(b, s, strlen(s), MSG_NOSIGNAL | (i % 2 ? MSG_MORE : 0)));
	}
	note_result("nothing", write(a, s, 0));
	note_result("a bad flag", send(b, s, 1, MSG_OOB));
	note_result("a bad vector", writev(a, NULL, bad));
	next_event(ep, NULL);
	note_result("left to send", ioctl(b, FIONREAD, &i));
	close(a);
	close(b);
}

static void merge_peer(void)
{
	int a = dial(0), b;

	say(a, "request");
	usleep(20000);
	b = dial(0);
	say(b, "request");
	usleep(20000);
	/* A connection that nobody takes: no read before it can swallow this event. */
	dial(0);
	hear_all(a, 1000, false);
	hear_all(b, 1000, false);
}

const struct equiv_case equiv_io[] = {
	{"spill-lt", spill_lt, slow_peer},
	{"spill-lt-wide", spill_lt_wide, slow_peer},
	{"spill-et", spill_et, slow_peer},
	{"spill-oneshot", spill_oneshot, slow_peer},
	{"spill-shutdown", spill_shutdown, slow_peer},
	{"spill-unregister", spill_unregister, slow_peer},
	{"spill-exit", spill_exit, slow_peer},
	{"spill-thread", spill_thread, taken_peer},
	{"spill-dup", spill_dup, dup_peer},
	{"reset", reset_server, reset_peer},
	{"sigpipe", sigpipe_server, sigpipe_peer},
	{"halfclose", halfclose_server, halfclose_peer},
	{"emfile", emfile_server, emfile_peer},
	{"emfile-thread", emfile_thread_server, emfile_thread_peer},
	{"storm", storm_server, storm_peer},
	{"options", options_server, options_peer},
	{"log", log_server, log_peer},
	{"merge", merge_server, merge_peer},
	{NULL, NULL, NULL},
};
