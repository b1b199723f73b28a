/* SPDX-License-Identifier: MIT */
/*
 * load.c - a load client that costs less than the servers it loads: one thread, keep-alive
 * connections, one prebuilt request, and of each reply its length, some of them to the byte.
 */
#include "config.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNS 10000
#define MAX_REPLY (1u << 20)
#define MAX_EVS	  256
#define SAMPLE	  64   /* one reply in so many is compared to the byte */
#define BIG_REPLY 4096 /* the others, if this big, are not even copied out of the kernel */
#define DRAIN_S	  5    /* what is outstanding at the end has so long to come */
#define OCTAVE	  32   /* buckets of latency an octave */
#define BUCKETS	  (OCTAVE * 40)
#define MAX_TIDS  256

static const char usage[] =
	"Usage: load -p PORT [-d SECONDS] [-c CONNECTIONS] [-r RATE] [-s US] [-x] MODE\n"
	"Modes: http PATH | redis-get BYTES | redis-set BYTES | memcached BYTES\n"
	"  -P N     so many requests in one write (redis only; 1)\n"
	"  -r RATE  so many requests a second in all, evenly spaced; 0: as they are answered\n"
	"  -s US    poll so long before sleeping (0)\n"
	"  -x       count the system calls of those who listen on the port (root)\n"
	"Prints one line of JSON. Exit status: 0 every reply was right, 1 not, 64 wrong options.\n";

struct conn {
	int fd;
	bool busy;
	size_t left; /* bytes of the reply that are still to come */
	uint64_t sent_ns;
};

static struct options {
	unsigned int port, conns, pipeline;
	double seconds, rate;
	uint64_t spin_ns;
	bool count;
} opt = {.conns = 50, .pipeline = 1, .seconds = 3};

static struct conn conns[MAX_CONNS];
static char *request, *reply, buf[MAX_REPLY];
static size_t request_len, reply_len, body_at; /* of one write; of its whole answer; see sample() */
static bool http;
static uint64_t replies, waits, failed, hist[BUCKETS];
static int ep;

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* --- latency --- */

static void latency(uint64_t ns)
{
	unsigned int octave, b;

	if (ns < OCTAVE)
		ns = OCTAVE;
	octave = 63 - (unsigned int)__builtin_clzll(ns);
	b = (octave - 5) * OCTAVE + (unsigned int)(ns >> (octave - 5) & (OCTAVE - 1));
	hist[b < BUCKETS ? b : BUCKETS - 1]++;
}

static double quantile_us(double q)
{
	uint64_t want = (uint64_t)(q * (double)replies), n = 0;
	unsigned int b = 0;

	while (b < BUCKETS - 1 && (n += hist[b]) <= want)
		b++;
	return (double)((uint64_t)(OCTAVE + b % OCTAVE) << b / OCTAVE) / 1e3;
}

/* --- the system calls of the server --- */

static int tids[MAX_TIDS], counters[MAX_TIDS];
static unsigned int ntids;

static bool holds(const char *pid, unsigned long inode)
{
	char path[300], want[64], to[64];
	struct dirent *d;
	bool found = false;
	DIR *dir;

	snprintf(want, sizeof(want), "socket:[%lu]", inode);
	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	dir = opendir(path);
	while (dir && !found && (d = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), d->d_name, to, sizeof(to) - 1);

		if (n > 0) {
			to[n] = '\0';
			found = !strcmp(to, want);
		}
	}
	if (dir)
		closedir(dir);
	return found;
}

static void tids_of(const char *pid)
{
	struct dirent *d;
	char path[300];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%s/task", pid);
	dir = opendir(path);
	while (dir && (d = readdir(dir)))
		if (*d->d_name != '.' && ntids < MAX_TIDS)
			tids[ntids++] = atoi(d->d_name);
	if (dir)
		closedir(dir);
}

static void find_server(void)
{
	unsigned long inode = 0, i;
	char line[512];
	unsigned int port, st;
	struct dirent *d;
	FILE *f = fopen("/proc/net/tcp", "re");
	DIR *dir = opendir("/proc");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " %*u: %*x:%x %*x:%*x %x %*s %*s %*s %*u %*u %lu", &port, &st,
			   &i) == 3 &&
		    port == opt.port && st == 10)
			inode = i;
	while (inode && dir && (d = readdir(dir)))
		if (*d->d_name >= '0' && *d->d_name <= '9' && holds(d->d_name, inode))
			tids_of(d->d_name);
	if (f)
		fclose(f);
	if (dir)
		closedir(dir);
}

/* Return: false if they cannot be counted here. */
static bool count_start(void)
{
	static const char *const at[] = {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"};
	struct perf_event_attr attr = {.type = PERF_TYPE_TRACEPOINT, .size = sizeof(attr)};
	unsigned long long id = 0;
	unsigned int i;
	char path[128];
	FILE *f;

	for (i = 0; i < 2 && !id; i++) {
		snprintf(path, sizeof(path), "%s/events/raw_syscalls/sys_enter/id", at[i]);
		f = fopen(path, "re");
		if (f && fscanf(f, "%llu", &id) != 1)
			id = 0;
		if (f)
			fclose(f);
	}
	if (!id)
		return false;
	attr.config = id;
	find_server();
	for (i = 0; i < ntids; i++) {
		counters[i] = (int)syscall(SYS_perf_event_open, &attr, tids[i], -1, -1,
					   PERF_FLAG_FD_CLOEXEC);
		if (counters[i] < 0)
			return false;
	}
	return ntids > 0;
}

static uint64_t count_end(void)
{
	uint64_t n, sum = 0;

	for (unsigned int i = 0; i < ntids; i++)
		if (read(counters[i], &n, sizeof(n)) == sizeof(n))
			sum += n;
	return sum;
}

/* --- the protocols --- */

static void repeat(char **what, size_t *len)
{
	char *all = malloc(*len * opt.pipeline);

	if (!all)
		die("memory");
	for (unsigned int i = 0; i < opt.pipeline; i++)
		memcpy(all + i * *len, *what, *len);
	free(*what);
	*what = all;
	*len *= opt.pipeline;
}

static void exactly(int fd, const char *ask, size_t ask_len, const char *want, size_t want_len)
{
	size_t n = 0;

	if (send(fd, ask, ask_len, MSG_NOSIGNAL) != (ssize_t)ask_len)
		die("cannot send to the server");
	while (n < want_len) {
		ssize_t ret = recv(fd, buf + n, want_len - n, 0);

		if (ret <= 0)
			die("the server does not answer");
		n += (size_t)ret;
	}
	if (memcmp(buf, want, want_len)) {
		fprintf(stderr, "load: the server says: %.*s\n", (int)want_len, buf);
		exit(1);
	}
}

/* The first reply is what the others are held against; it has a Content-Length. */
static void learn_http(int fd, const char *path)
{
	char *end = NULL, *length;
	size_t n = 0;

	if (asprintf(&request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path) < 0)
		die("memory");
	request_len = strlen(request);
	http = true;
	if (send(fd, request, request_len, MSG_NOSIGNAL) != (ssize_t)request_len)
		die("cannot send to the server");
	while (!reply_len || n < reply_len) {
		ssize_t ret = recv(fd, buf + n, sizeof(buf) - 1 - n, 0);

		if (ret <= 0)
			die("no whole reply");
		n += (size_t)ret;
		buf[n] = '\0';
		if (!end && (end = strstr(buf, "\r\n\r\n"))) {
			length = strcasestr(buf, "\r\nContent-Length:");
			body_at = (size_t)(end + 4 - buf);
			if (strncmp(buf, "HTTP/1.1 200 ", 13) || !length || length > end)
				break;
			reply_len = body_at + strtoul(length + 17, NULL, 10);
		}
	}
	if (!reply_len || n != reply_len || n >= sizeof(buf) - 1) {
		fprintf(stderr, "load: not a reply to count on: %.200s\n", buf);
		exit(1);
	}
	reply = malloc(n);
	if (!reply)
		die("memory");
	memcpy(reply, buf, n);
}

static void learn_cache(int fd, const char *mode, size_t size)
{
	char *value = malloc(size + 1), *set, *line;
	const char *ok = "+OK\r\n";
	int ret;

	if (!value)
		die("memory");
	for (size_t i = 0; i < size; i++)
		value[i] = (char)('a' + i % 26);
	value[size] = '\0';
	if (!strcmp(mode, "memcached")) {
		ok = "STORED\r\n";
		ret = asprintf(&set, "set esca:key 0 0 %zu\r\n%s\r\n", size, value);
		ret |= asprintf(&line, "get esca:key\r\n");
		ret |= asprintf(&reply, "VALUE esca:key 0 %zu\r\n%s\r\nEND\r\n", size, value);
	} else {
		ret = asprintf(&set, "*3\r\n$3\r\nSET\r\n$8\r\nesca:key\r\n$%zu\r\n%s\r\n", size,
			       value);
		ret |= asprintf(&line, "*2\r\n$3\r\nGET\r\n$8\r\nesca:key\r\n");
		ret |= asprintf(&reply, "$%zu\r\n%s\r\n", size, value);
	}
	if (ret < 0)
		die("memory");
	exactly(fd, set, strlen(set), ok, strlen(ok));
	exactly(fd, line, strlen(line), reply, strlen(reply));
	request = strcmp(mode, "redis-set") ? line : set;
	if (request == set)
		strcpy(reply, ok);
	request_len = strlen(request);
	reply_len = strlen(reply);
	repeat(&request, &request_len);
	repeat(&reply, &reply_len);
	free(value);
}

/* --- the load --- */

static int dial(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port)};
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)))
		die("cannot connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static void lost(struct conn *c)
{
	failed++;
	close(c->fd);
	c->fd = -1;
	c->busy = false;
}

static void ask(struct conn *c)
{
	c->sent_ns = now();
	c->left = reply_len;
	c->busy = true;
	if (send(c->fd, request, request_len, MSG_NOSIGNAL) != (ssize_t)request_len)
		lost(c);
}

/* Is what came, all in one piece, what it should be? The headers of HTTP have a date. */
static bool right(void)
{
	if (http)
		return !memcmp(buf, reply, 13) &&
		       !memcmp(buf + body_at, reply + body_at, reply_len - body_at);
	return !memcmp(buf, reply, reply_len);
}

/* Return: true if a reply has come whole. */
static bool answer(struct conn *c)
{
	bool sample = replies % SAMPLE == 0, whole;
	ssize_t n;

	if (!c->busy) { /* nothing was asked: a close, or bytes too many */
		lost(c);
		return false;
	}
	n = recv(c->fd, buf, c->left,
		 MSG_DONTWAIT | (sample || c->left < BIG_REPLY ? 0 : MSG_TRUNC));
	if (n <= 0) {
		if (n == 0 || errno != EAGAIN)
			lost(c);
		return false;
	}
	whole = (size_t)n == reply_len;
	c->left -= (size_t)n;
	if (c->left)
		return false;
	c->busy = false;
	replies++;
	latency(now() - c->sent_ns);
	if (sample && whole && !right())
		failed++;
	return true;
}

static unsigned int busy(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < opt.conns; i++)
		n += conns[i].busy;
	return n;
}

static int sleep_until(struct epoll_event *evs, uint64_t until)
{
	uint64_t t = now(), spin = t + opt.spin_ns;
	struct timespec ts;
	int n = 0;

	do {
		uint64_t left = until > t ? until - t : 0;

		if (!opt.spin_ns || t >= spin) {
			ts = (struct timespec){.tv_sec = (time_t)(left / 1000000000u),
					       .tv_nsec = (long)(left % 1000000000u)};
			return epoll_pwait2(ep, evs, MAX_EVS, &ts, NULL);
		}
		n = epoll_wait(ep, evs, MAX_EVS, 0);
		t = now();
	} while (!n && t < until);
	return n;
}

static void load(void)
{
	uint64_t start = now(), end = start + (uint64_t)(opt.seconds * 1e9), due = start;
	uint64_t gap = opt.rate > 0 ? (uint64_t)(1e9 / opt.rate * opt.pipeline) : 0;
	struct epoll_event evs[MAX_EVS];
	unsigned int next = 0;
	bool ending = false;

	for (unsigned int i = 0; !gap && i < opt.conns; i++)
		ask(&conns[i]);
	while (!ending || busy()) {
		uint64_t t = now();
		int n;

		if (!ending && t >= end) {
			ending = true;
			end = t + DRAIN_S * 1000000000ull;
			continue;
		}
		if (t >= end)
			break;
		for (; gap && !ending && due <= t; due += gap) {
			struct conn *c = &conns[next++ % opt.conns];

			if (c->fd >= 0 && !c->busy)
				ask(c);
		}
		n = sleep_until(evs, gap && !ending && due < end ? due : end);
		waits += n > 0;
		for (int i = 0; i < n; i++) {
			struct conn *c = &conns[evs[i].data.u32];

			if (c->fd >= 0 && answer(c) && !gap && !ending)
				ask(c);
		}
	}
	failed += busy();
}

/* Nothing more may come than was asked for. */
static void extra(void)
{
	for (unsigned int i = 0; i < opt.conns; i++) {
		if (conns[i].fd >= 0 && !conns[i].busy &&
		    recv(conns[i].fd, buf, 1, MSG_DONTWAIT) >= 0)
			failed++;
	}
}

static double number(const char *s, double min, double max)
{
	char *end;
	double v = strtod(s, &end);

	if (end == s || *end || !(v >= min && v <= max)) {
		fprintf(stderr, "load: '%s' is no number from %g to %g\n%s", s, min, max, usage);
		exit(64);
	}
	return v;
}

int main(int argc, char **argv)
{
	struct rlimit files;
	bool counting = false;
	double seconds;
	uint64_t start, calls = 0;
	int o, fd;

	while ((o = getopt(argc, argv, "p:d:c:P:r:s:x")) != -1) {
		switch (o) {
		case 'p':
			opt.port = (unsigned int)number(optarg, 1, 65535);
			break;
		case 'd':
			opt.seconds = number(optarg, 0.01, 3600);
			break;
		case 'c':
			opt.conns = (unsigned int)number(optarg, 1, MAX_CONNS);
			break;
		case 'P':
			opt.pipeline = (unsigned int)number(optarg, 1, 1000);
			break;
		case 'r':
			opt.rate = number(optarg, 0, 1e9);
			break;
		case 's':
			opt.spin_ns = (uint64_t)(1e3 * number(optarg, 0, 1e6));
			break;
		case 'x':
			opt.count = true;
			break;
		default:
			fputs(usage, stderr);
			return 64;
		}
	}
	if (!opt.port || argc - optind != 2) {
		fputs(usage, stderr);
		return 64;
	}
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	fd = dial();
	if (!strcmp(argv[optind], "http") && opt.pipeline == 1) {
		learn_http(fd, argv[optind + 1]);
	} else if (!strcmp(argv[optind], "redis-get") || !strcmp(argv[optind], "redis-set") ||
		   (!strcmp(argv[optind], "memcached") && opt.pipeline == 1)) {
		learn_cache(fd, argv[optind], (size_t)number(argv[optind + 1], 1, 100000));
	} else {
		fputs(usage, stderr);
		return 64;
	}
	if (reply_len > sizeof(buf)) {
		fputs("load: the replies are too long\n", stderr);
		return 64;
	}
	close(fd);
	ep = epoll_create1(EPOLL_CLOEXEC);
	for (unsigned int i = 0; i < opt.conns; i++) {
		struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.u32 = i};

		conns[i].fd = dial();
		if (epoll_ctl(ep, EPOLL_CTL_ADD, conns[i].fd, &ev))
			die("cannot watch a connection");
	}
	if (opt.count)
		counting = count_start();
	start = now();
	load();
	seconds = (double)(now() - start) / 1e9;
	if (counting)
		calls = count_end();
	extra();
	printf("{\"tool\": \"esca-load\", \"requests\": %" PRIu64
	       ", \"seconds\": %.4f, \"rps\": %.1f, "
	       "\"p50_us\": %.1f, \"p99_us\": %.1f, \"replies_per_wait\": %.2f, \"failed\": "
	       "%" PRIu64,
	       replies * opt.pipeline, seconds, (double)(replies * opt.pipeline) / seconds,
	       quantile_us(.5), quantile_us(.99), (double)replies / (double)(waits ? waits : 1),
	       failed);
	if (counting)
		printf(", \"crossings\": %" PRIu64, calls);
	puts("}");
	return failed || !replies;
}
