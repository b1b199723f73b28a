/* SPDX-License-Identifier: MIT */
/*
 * equiv-file.c - cases about files that are sent: from the page cache or copied, of known size and
 * not, closed, replaced and cut short while they wait.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <linux/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "equiv.h"

/* A new file of so much text, @path a buffer for its name. */
static int text_file(char *path, size_t size)
{
	size_t i;
	int fd;

	strcpy(path, "/tmp/esca-equiv-file.XXXXXX");
	fd = mkstemp(path);
	if (fd < 0)
		die("mkstemp");
	for (i = 0; i < size; i++) {
		unsigned char c = text_byte(i);

		if (write(fd, &c, 1) != 1)
			die("file");
	}
	return fd;
}

static int file_of(size_t size)
{
	char path[64];
	int fd = text_file(path, size);

	unlink(path);
	return fd;
}

/* A descriptor like a server's: opened to read, and looked at. *@path: of the file, in a buffer. */
static int looked_at(char *path, size_t size)
{
	struct stat st;
	int in;

	close(text_file(path, size));
	in = open(path, O_RDONLY);
	if (in < 0 || fstat(in, &st) || (size_t)st.st_size != size)
		die("open");
	return in;
}

#define STREAMS 8

/* The next connection, registered with @ep. */
static int take(int ep)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) < 0 && errno == EAGAIN)
		usleep(1000);
	if (fd < 0)
		die("accept4");
	watch(ep, EPOLL_CTL_ADD, fd, EPOLLIN);
	return fd;
}

/* All of them want something; the turn that finds the last answers. */
static void all_ask(int ep)
{
	struct epoll_event evs[STREAMS];
	int n = 0;

	while (n < STREAMS) {
		n = epoll_wait(ep, evs, STREAMS, 10000);
		if (n <= 0)
			die("wait");
		usleep(1000);
	}
}

/*
 * Turns of several events, each answered with a header and a piece of a file, of sizes around those
 * at which they are copied, sent from the page cache and not deferred at all.
 */
static const struct {
	off_t off;
	size_t len;
	bool corked;
	enum {
		STAYS,
		CLOSED,	  /* the file is closed right after */
		REPLACED, /* its number becomes that of another one */
		AGAIN,	  /* a second piece of it follows at once */
		LAST,	  /* the stream is closed right after */
	} then;
} pieces[] = {
	{0, 1000, false, STAYS},      {5, 1, true, STAYS},	   {0, 12288, false, STAYS},
	{100, 12289, true, STAYS},    {0, 300, false, AGAIN},	   {0, 20000, true, AGAIN},
	{0, 131072, true, STAYS},     {0, 131073, false, STAYS},   {199000, 5000, false, STAYS},
	{199000, 50000, true, STAYS}, {200000, 100, false, STAYS}, {0, 60000, false, LAST},
	{0, 1000, false, LAST},	      {0, 50000, true, REPLACED},  {0, 1000, false, REPLACED},
	{7, 20000, false, CLOSED},    {0, 1000, true, CLOSED},	   {0, 30000, false, CLOSED},
};

#define PIECES (sizeof(pieces) / sizeof(*pieces))
#define SIZE   200000

static void send_piece(int fd, unsigned int i, int *in, const char *path, int other)
{
	off_t off = pieces[i].off;
	size_t left = pieces[i].len;
	ssize_t n = 0, total = 0;

	if (pieces[i].corked)
		set_int(fd, IPPROTO_TCP, TCP_CORK, 1);
	write_all(fd, "header\n");
	/* What a socket takes at once is its own affair; how much there is of the file is not. */
	while (left && ((n = sendfile(fd, *in, &off, left)) > 0 || (n < 0 && errno == EAGAIN))) {
		if (n < 0)
			continue;
		left -= (size_t)n;
		total += n;
	}
	note("piece %u: %zd, offset %lld, end %zd", i, total, (long long)off, n > 0 ? 1 : n);
	switch (pieces[i].then) {
	case CLOSED:
		note_result("close file", close(*in));
		*in = open(path, O_RDONLY);
		break;
	case REPLACED:
		note_result("dup2", dup2(other, *in) - *in);
		note_result("close file", close(*in));
		*in = open(path, O_RDONLY);
		break;
	case AGAIN:
		off = 17;
		while ((n = sendfile(fd, *in, &off, 100)) < 0 && errno == EAGAIN)
			;
		note_result("again", n);
		break;
	default:
		break;
	}
	if (pieces[i].corked)
		set_int(fd, IPPROTO_TCP, TCP_CORK, 0);
	if (pieces[i].then == LAST)
		note_result("close", close(fd));
}

static void pieces_server(void)
{
	int ep = epoll_create1(0), fds[STREAMS], in, other = open("/dev/null", O_RDONLY);
	char path[64], c;
	struct stat st;
	unsigned int i, k;

	in = looked_at(path, SIZE);
	for (k = 0; k < STREAMS; k++)
		fds[k] = take(ep);
	set_int(fds[3], SOL_SOCKET, SO_SNDBUF, 4096);
	for (i = 0; i < PIECES; i++) {
		all_ask(ep);
		for (k = 0; k < STREAMS; k++)
			if (read(fds[k], &c, 1) != 1)
				die("request");
		if (fstat(in, &st) || st.st_size != SIZE)
			die("fstat");
		if (pieces[i].then == LAST) {
			/* One of them ends, the others go on. */
			send_piece(fds[0], i, &in, path, other);
			fds[0] = take(ep);
			for (k = 1; k < STREAMS; k++)
				write_all(fds[k], "n");
			continue;
		}
		for (k = 0; k < STREAMS; k++)
			send_piece(fds[k], i, &in, path, other);
	}
	unlink(path);
	for (k = 0; k < STREAMS; k++)
		close(fds[k]);
}

static size_t expect_of(unsigned int i, char *to)
{
	size_t n = 7, k, have = (size_t)pieces[i].off < SIZE ? SIZE - (size_t)pieces[i].off : 0;

	memcpy(to, "header\n", 7);
	if (have > pieces[i].len)
		have = pieces[i].len;
	for (k = 0; k < have; k++)
		to[n++] = (char)text_byte((size_t)pieces[i].off + k);
	for (k = 0; pieces[i].then == AGAIN && k < 100; k++)
		to[n++] = (char)text_byte(17 + k);
	return n;
}

/* In how many packets did what we have read since the last look come? */
static unsigned int packets(int fd, unsigned int *seen)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);
	unsigned int n;

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len))
		die("TCP_INFO");
	n = info.tcpi_data_segs_in - *seen;
	*seen = info.tcpi_data_segs_in;
	return n;
}

static void pieces_peer(void)
{
	static char want[SIZE + 200], got[SIZE + 200];
	int fds[STREAMS];
	unsigned int i, k, n, wrong = 0, seen[STREAMS] = {0};

	for (k = 0; k < STREAMS; k++)
		fds[k] = dial(k == 3 ? 4096 : 0);
	for (i = 0; i < PIECES; i++) {
		size_t len = expect_of(i, want);

		for (k = 0; k < STREAMS; k++)
			say(fds[k], "r");
		for (k = 0; k < STREAMS; k++) {
			bool last = pieces[i].then == LAST;
			size_t size = last && k ? 1 : len, have = 0;
			ssize_t ret;

			while (have < size && (ret = read(fds[k], got + have, size - have)) > 0)
				have += (size_t)ret;
			if (have != size || memcmp(got, last && k ? "n" : want, size)) {
				note("piece %u, stream %u: %zu bytes of %zu", i, k, have, size);
				wrong++;
			}
			/* A cork holds all of it together; a bigger one is pushed at half a window.
			 */
			n = packets(fds[k], &seen[k]);
			if (pieces[i].corked && k != 3 && len < 25000)
				note("piece %u, stream %u: %u packets", i, k, n);
			if (last && !k) {
				note_result("end", read(fds[k], got, 1));
				close(fds[k]);
				fds[k] = dial(0);
				seen[k] = 0;
			}
		}
	}
	note("wrong pieces: %u", wrong);
	for (k = 0; k < STREAMS; k++)
		hear_all(fds[k], 100, false);
}

/*
 * The file is cut short after the server has looked at it, which may have been long
 * ago: the peer gets the header and what there is, then the connection ends or is reset.
 */
static void short_server(void)
{
	static const size_t sizes[] = {1000, 8000, 50000};
	int ep = epoll_create1(0), fds[STREAMS];
	unsigned int i, k;

	for (i = 0; i < 3; i++) {
		struct epoll_event evs[STREAMS];
		char path[64], c;
		int in = looked_at(path, sizes[i]), n = 0;

		for (k = 0; k < STREAMS; k++)
			fds[k] = take(ep);
		all_ask(ep);
		for (k = 0; k < STREAMS; k++) {
			off_t off = 0;

			if (read(fds[k], &c, 1) != 1)
				die("request");
			/* By its name, so that nothing of it is told of the descriptor. */
			if (k == STREAMS / 2 && truncate(path, 700))
				die("truncate");
			write_all(fds[k], "header\n");
			if (sendfile(fds[k], in, &off, sizes[i]) < (ssize_t)sizes[i])
				shutdown(fds[k], SHUT_WR);
		}
		/* The peer has seen all of them end when it ends the first. */
		while ((n = (int)recv(fds[0], &c, 1, 0)) < 0 && errno == EAGAIN)
			if (epoll_wait(ep, evs, STREAMS, 10000) <= 0)
				die("wait");
		note_result("first", n);
		for (k = 0; k < STREAMS; k++)
			close(fds[k]);
		close(in);
		unlink(path);
	}
}

static void short_peer(void)
{
	static char got[60000];
	unsigned int i, k;

	for (i = 0; i < 3; i++) {
		int fds[STREAMS];

		for (k = 0; k < STREAMS; k++)
			fds[k] = dial(0);
		for (k = 0; k < STREAMS; k++)
			say(fds[k], "r");
		for (k = 0; k < STREAMS; k++) {
			static const size_t sizes[] = {1000, 8000, 50000};
			size_t want = 7 + (k < STREAMS / 2 ? sizes[i] : 700), have = 0;
			ssize_t ret = 1;

			/* Those that were answered before the cut may have had more to send. */
			while (have < want && (ret = read(fds[k], got + have, want - have)) > 0)
				have += (size_t)ret;
			if (k >= STREAMS / 2)
				note("%u.%u: %zu bytes, and no more: %d", i, k, have,
				     read(fds[k], got, 1) <= 0);
		}
		for (k = STREAMS; k--;)
			close(fds[k]);
	}
}

/*
 * What of a turn is held back by a cork or MSG_MORE at its end, and what is not: that reaches the
 * peer by itself, if not on each stream (kernels probe with what they hold), then on some. C and c:
 * cork and uncork; w, m and f with a number: write, send with MSG_MORE, and send of a file; ";":
 * the next turn. And how many bytes are not held back in the first one.
 */
static const struct {
	const char *script;
	size_t first;
} holds[] = {
	{"C w200 f1024 c C w200;c", 1224},
	{"w100 C w100;c", 100},
	{"f13000 C;c", 13000},
	{"f13100 C;c", 13100},
	{"w14000 m1;w1", 14000},
	{"f1024 m5000;w1", 1024},
	{"C w100 f13000 c C w7;c", 13100},
	{"w30 C w30 w40;w50 c", 30},
	{"C w1000 c m5000 m17000;w1", 1000},
	{"w1000 m20000;w1", 1000},
	{"C w17000 c C;c", 17000},
	{"C w17000 w10 c C w5;c", 17010},
};

#define HOLDS (sizeof(holds) / sizeof(*holds))

/* Do the rest of @s up to the end of the turn. Return: the rest after that. */
static const char *hold_turn(int fd, int in, const char *s)
{
	static char buf[32768];

	for (; *s && *s != ';'; s++) {
		char *end = (char *)s + 1;
		size_t n = strtoul(end, &end, 10);
		off_t off = 0;
		ssize_t ret = (ssize_t)n;

		switch (*s) {
		case 'C':
		case 'c':
			set_int(fd, IPPROTO_TCP, TCP_CORK, *s == 'C');
			break;
		case 'w':
			ret = write(fd, buf, n);
			break;
		case 'm':
			ret = send(fd, buf, n, MSG_MORE);
			break;
		case 'f':
			ret = sendfile(fd, in, &off, n);
			break;
		}
		if (ret != (ssize_t)n)
			die("hold");
		s = end - 1;
	}
	return *s ? s + 1 : s;
}

static void hold_server(void)
{
	int ep = epoll_create1(0), fds[STREAMS], in;
	const char *rest[STREAMS];
	char path[64], c;
	unsigned int i, k;

	in = looked_at(path, SIZE);
	unlink(path);
	for (k = 0; k < STREAMS; k++)
		fds[k] = take(ep);
	for (i = 0; i < 2 * HOLDS; i++) {
		all_ask(ep);
		for (k = 0; k < STREAMS; k++) {
			if (read(fds[k], &c, 1) != 1)
				die("request");
			rest[k] = hold_turn(fds[k], in, i % 2 ? rest[k] : holds[i / 2].script);
		}
	}
	while (epoll_wait(ep, (struct epoll_event[1]){{0}}, 1, 10000) < 0)
		;
}

static void hold_peer(void)
{
	static char buf[SIZE];
	unsigned int i, k;
	int fds[STREAMS];

	for (k = 0; k < STREAMS; k++)
		fds[k] = dial(0);
	for (i = 0; i < HOLDS; i++) {
		size_t total = 0, have[STREAMS];
		unsigned int apart = 0;
		const char *s;

		for (s = holds[i].script; *s; s++)
			if (*s == 'w' || *s == 'm' || *s == 'f')
				total += strtoul(s + 1, NULL, 10);
		for (k = 0; k < STREAMS; k++)
			say(fds[k], "r");
		for (k = 0; k < STREAMS; k++) {
			for (have[k] = 0; have[k] < holds[i].first;)
				have[k] += (size_t)read(fds[k], buf, total - have[k]);
			apart += have[k] == holds[i].first;
		}
		note("%s: the first part comes by itself: %d", holds[i].script, apart > 0);
		for (k = 0; k < STREAMS; k++)
			say(fds[k], "r");
		for (k = 0; k < STREAMS; k++)
			while (have[k] < total)
				have[k] += (size_t)read(fds[k], buf, total - have[k]);
	}
}

/* A file that says that it is longer than it is. */
static void sysfs_server(void)
{
	int ep = epoll_create1(0), fds[STREAMS], k;
	int in = open("/sys/kernel/uevent_seqnum", O_RDONLY);
	struct epoll_event evs[STREAMS];
	struct stat st;
	char c;

	if (in < 0 || fstat(in, &st))
		die("sysfs");
	for (k = 0; k < STREAMS; k++)
		fds[k] = take(ep);
	all_ask(ep);
	for (k = 0; k < STREAMS; k++) {
		off_t off = 0;

		if (read(fds[k], &c, 1) != 1)
			die("request");
		write_all(fds[k], "header\n");
		note("all of it: %d",
		     sendfile(fds[k], in, &off, (size_t)st.st_size) == off && off < st.st_size);
		shutdown(fds[k], SHUT_WR);
	}
	epoll_wait(ep, evs, STREAMS, 0);
}

static void sysfs_peer(void)
{
	int fds[STREAMS], k;
	char buf[5000];

	for (k = 0; k < STREAMS; k++)
		fds[k] = dial(0);
	for (k = 0; k < STREAMS; k++)
		say(fds[k], "r");
	for (k = 0; k < STREAMS; k++) {
		ssize_t n = 0, ret;

		while ((ret = read(fds[k], buf + n, sizeof(buf) - (size_t)n)) > 0)
			n += ret;
		note("%s, then %zd", n > 7 && buf[n - 1] == '\n' ? "all" : "something", ret);
	}
}

/* A file that gets shorter between the look at it and the sending. */
static void truncate_server(void)
{
	int ep = epoll_new(), fd = serve_one(ep, EPOLLIN), in = file_of(8000), big = file_of(60000);
	struct stat st;
	off_t off = 0;

	fstat(in, &st);
	next_event(ep, NULL);
	read_byte(fd);
	write_all(fd, "header,");
	note_result("ftruncate", ftruncate(in, 3000));
	note_result("sendfile", sendfile(fd, in, &off, (size_t)st.st_size));
	note("offset %lld", (long long)off);
	note_result("sendfile at the end", sendfile(fd, in, &off, 5000));
	next_event(ep, NULL);
	read_byte(fd);
	note_result("ftruncate", ftruncate(big, 0));
	off = 0;
	write_all(fd, "second header,");
	note_result("sendfile of nothing", sendfile(fd, big, &off, 60000));
	next_event(ep, NULL);
	read_byte(fd);
	note_result("sendfile from a bad descriptor", sendfile(fd, 777, &off, 100));
	off = 10;
	note_result("sendfile of a piece", sendfile(fd, in, &off, 20));
	note_result("sendfile, own position", sendfile(fd, in, NULL, 20));
	note_result("close file", close(in));
	note_result("close", close(fd));
}

static void truncate_peer(void)
{
	int fd = dial(0);

	say(fd, "request");
	usleep(20000);
	say(fd, "1");
	hear(fd, 7);
	usleep(20000);
	say(fd, "2");
	usleep(20000);
	say(fd, "3");
	hear_all(fd, 65536, false);
}

/* A header and a file that is too big to copy, again and again. */
static void files_server(void)
{
	int ep = epoll_new(), fd = serve_one(ep, EPOLLIN), small = file_of(1000),
	    big = file_of(50000), i;
	struct iovec iov[2] = {{(void *)"head", 4}, {(void *)"er\n", 3}};

	for (i = 0; i < 20; i++) {
		size_t left = i % 2 ? 50000 : 1000;
		off_t off = 0;

		if (i % 3 == 0)
			set_int(fd, IPPROTO_TCP, TCP_CORK, 1);
		if (writev(fd, iov, 2) != 7)
			die("writev");
		while (left) {
			ssize_t n = sendfile(fd, i % 2 ? big : small, &off, left);

			if (n < 0 && errno == EAGAIN) {
				watch(ep, EPOLL_CTL_MOD, fd, EPOLLOUT);
				next_event(ep, NULL);
				watch(ep, EPOLL_CTL_MOD, fd, EPOLLIN);
				continue;
			}
			if (n <= 0)
				die("sendfile");
			left -= (size_t)n;
		}
		if (i % 3 == 0)
			set_int(fd, IPPROTO_TCP, TCP_CORK, 0);
		if (next_event(ep, NULL) != fd)
			die("whose event");
		read_request(fd);
	}
	note("cork %d", get_int(fd, IPPROTO_TCP, TCP_CORK));
	close(fd);
}

static void files_peer(void)
{
	static char buf[60000];
	int fd = dial(0), i, wrong = 0;

	say(fd, "request");
	for (i = 0; i < 20; i++) {
		size_t want = 7 + (i % 2 ? 50000 : 1000), have = 0, k;
		ssize_t n;

		while (have < want && (n = read(fd, buf + have, want - have)) > 0)
			have += (size_t)n;
		if (have != want || memcmp(buf, "header\n", 7))
			wrong++;
		for (k = 7; k < have; k++)
			if ((unsigned char)buf[k] != text_byte(k - 7))
				wrong++;
		say(fd, "n");
	}
	note("wrong bytes: %d", wrong);
	hear_all(fd, 100, false);
}

const struct equiv_case equiv_file[] = {
	{"truncate", truncate_server, truncate_peer},
	{"files", files_server, files_peer},
	{"pieces", pieces_server, pieces_peer},
	{"short-file", short_server, short_peer},
	{"sysfs", sysfs_server, sysfs_peer},
	{"hold", hold_server, hold_peer},
	{NULL, NULL, NULL},
};
