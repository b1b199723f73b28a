/* SPDX-License-Identifier: MIT */
/*
 * client.c - an HTTP client that misbehaves in known ways and writes down every byte it gets.
 *
 * client play PORT OUT COPIES SCENARIOS [NAME...]
 *	Plays the scenarios of the file SCENARIOS: all connections at once, COPIES of each; with
 *COPIES 0, one after the other. Writes, into the folder OUT, a transcript a connection (NAME.COPY:
 *all bytes received, then how it ended) and the file `answered`: the X-Id and status of each
 *complete response. The value of Date and the boundary of multipart answers are masked, nothing
 *else. client load PORT CONNECTIONS SECONDS PATH FILE Asks for PATH on keep-alive connections, each
 *answer to be 200 with the bytes of FILE; prints completed=, retried=, broken=, wrong=. An idle
 *connection that the server closed counts as retried, one that broke inside an answer as broken.
 * client port LOW HIGH
 *	Prints a free port.
 *
 * A scenario is a line: a name, then actions separated by ';':
 *	rcvbuf N	SO_RCVBUF, before connecting
 *	METHOD PATH [HEADER: VALUE | HEADER: VALUE ...]		put a request into the send buffer,
 *with Host and X-Id (NAME.COPY.NUMBER) raw TEXT	put TEXT (\r \n known) into the send buffer
 *	flush		send the buffer in one call
 *	chop N		send the buffer in pieces of N bytes, a moment apart
 *	wait		read until each request that was sent is answered, or the connection ends
 *	read N		read N bytes and stop reading
 *	slow N MS	from now on read at most N bytes each MS milliseconds
 *	pause MS	do nothing
 *	mark		make the file OUT/NAME.COPY.mark
 *	shut		half close
 *	eof		read to the end
 *	reset		close with a RST
 * ESCA_TEST_DEADLINE: milliseconds after which what has not ended hangs; 60000 if not set.
 * When its actions are over, a connection is closed. Exit status: 0, 1 if something did not end in
 *time (each with a sentence), 2 usage.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_ACTIONS 64
#define MAX_REQS    256
#define DEADLINE_MS 60000 /* ESCA_TEST_DEADLINE overrides it */
#define CHOP_MS	    1

struct buf {
	char *p;
	size_t len, cap;
};

struct scenario {
	char *name;
	char *action[MAX_ACTIONS];
	unsigned int count;
};

/* Where the answer being received stands. */
struct answer {
	size_t start; /* its first byte in `in` */
	size_t end;   /* one behind its last, 0 while its head is not complete */
	int status;
	bool last; /* it says Connection: close */
};

struct conn {
	const struct scenario *sc;
	unsigned int copy;
	int fd;
	unsigned int step;
	bool entered; /* the action at step has begun */
	bool drain;   /* only the end is awaited */
	short want;   /* what to poll for before the next step */
	long wake;    /* the time before which nothing is done, ms */
	size_t slow_n;
	int slow_ms;
	size_t until; /* of read */
	struct buf out, in;
	size_t sent;
	bool head[MAX_REQS]; /* was request i a HEAD */
	bool raw[MAX_REQS];  /* was it text without an X-Id */
	unsigned int queued, asked, answered;
	struct answer ans;
	struct buf ids;
	const char *end; /* how it ended, NULL while it has not */
};

static void die(const char *what)
{
	fprintf(stderr, "client: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void put(struct buf *b, const void *p, size_t n)
{
	if (b->len + n + 1 > b->cap) {
		b->cap = (b->len + n + 1) * 2;
		b->p = realloc(b->p, b->cap);
		if (!b->p)
			die("realloc");
	}
	memcpy(b->p + b->len, p, n);
	b->len += n;
	b->p[b->len] = '\0';
}

static long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int dial(int port, int rcvbuf)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0)
		die("socket");
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (rcvbuf)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof(rcvbuf));
	if (connect(fd, (struct sockaddr *)&sin, sizeof(sin))) {
		close(fd);
		return -1;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

/* The value of the header @name in the head [p, p + n), NULL if it is not there. */
static const char *header(const char *p, size_t n, const char *name)
{
	const char *end = p + n;
	size_t len = strlen(name);

	for (; p < end; p++) {
		if (end - p > (long)len && !strncasecmp(p, name, len) && p[len] == ':') {
			p += len + 1;
			while (*p == ' ')
				p++;
			return p;
		}
		p = memchr(p, '\n', end - p);
		if (!p)
			break;
	}
	return NULL;
}

/* Look at the head of the answer at a->start of @in; is it all there? */
static bool parse_head(struct answer *a, const struct buf *in, bool to_head)
{
	const char *p = in->p + a->start, *v;
	const char *eoh;
	size_t n;

	if (in->len <= a->start)
		return false;
	eoh = memmem(p, in->len - a->start, "\r\n\r\n", 4);
	if (!eoh)
		return false;
	n = eoh + 4 - p;
	a->status = n > 12 ? atoi(p + 9) : 0;
	v = header(p, n, "Content-Length");
	a->end = a->start + n;
	if (!to_head && a->status != 304 && v)
		a->end += strtoul(v, NULL, 10);
	v = header(p, n, "Connection");
	a->last = v && !strncasecmp(v, "close", 5);
	return true;
}

/* Count the answers that are complete. */
static void take_answers(struct conn *c)
{
	while (c->answered < c->asked) {
		struct answer *a = &c->ans;
		char line[256];
		int n;

		if (!a->end && !parse_head(a, &c->in, c->head[c->answered]))
			return;
		if (c->in.len < a->end)
			return;
		if (c->raw[c->answered])
			n = snprintf(line, sizeof(line), "- %d\n", a->status);
		else
			n = snprintf(line, sizeof(line), "%s.%u.%u %d\n", c->sc->name, c->copy,
				     c->answered, a->status);
		put(&c->ids, line, n);
		c->answered++;
		a->start = a->end;
		a->end = 0;
		if (a->last)
			return;
	}
}

static void finish(struct conn *c, const char *how)
{
	c->end = how;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

/* Read up to @max bytes. Return: false when there is nothing more to read now. */
static bool pull(struct conn *c, size_t max)
{
	static char tmp[65536];
	ssize_t n = read(c->fd, tmp, max < sizeof(tmp) ? max : sizeof(tmp));

	if (n > 0) {
		put(&c->in, tmp, n);
		take_answers(c);
		return true;
	}
	if (n == 0)
		finish(c, "eof");
	else if (errno == ECONNRESET)
		finish(c, "reset by server");
	else if (errno != EAGAIN && errno != EINTR)
		finish(c, strerror(errno));
	return false;
}

static void unescape(struct buf *b, const char *s)
{
	for (; *s; s++) {
		if (s[0] == '\\' && s[1] == 'r')
			put(b, "\r", 1), s++;
		else if (s[0] == '\\' && s[1] == 'n')
			put(b, "\n", 1), s++;
		else
			put(b, s, 1);
	}
}

static void queue_request(struct conn *c, const char *action)
{
	char method[16], path[256], line[512];
	int n = 0;
	const char *h;

	if (sscanf(action, "%15s %255s%n", method, path, &n) < 2) {
		fprintf(stderr, "client: %s: bad action '%s'\n", c->sc->name, action);
		exit(2);
	}
	c->head[c->queued] = !strcmp(method, "HEAD");
	n = snprintf(line, sizeof(line), "%s %s HTTP/1.1\r\nHost: t\r\nX-Id: %s.%u.%u\r\n", method,
		     path, c->sc->name, c->copy, c->queued);
	put(&c->out, line, n);
	h = action + strlen(method) + 1 + strlen(path);
	while (*h) {
		size_t len = strcspn(h += strspn(h, " |"), "|"), keep = len;

		while (keep && h[keep - 1] == ' ')
			keep--;
		if (keep) {
			put(&c->out, h, keep);
			put(&c->out, "\r\n", 2);
		}
		h += len;
	}
	put(&c->out, "\r\n", 2);
	if (++c->queued == MAX_REQS) {
		fprintf(stderr, "client: %s: more than %d requests\n", c->sc->name, MAX_REQS - 1);
		exit(2);
	}
}

/*
 * Send what is in the buffer, at most @max bytes. A connection
 * that the server has closed shows when it is read.
 */
static bool push(struct conn *c, size_t max)
{
	size_t n = c->out.len - c->sent;
	ssize_t ret = send(c->fd, c->out.p + c->sent, n < max ? n : max, MSG_NOSIGNAL);

	if (ret < 0 && errno != EAGAIN)
		ret = n;
	if (ret > 0)
		c->sent += ret;
	return c->sent == c->out.len;
}

static bool is(const char *a, const char *word)
{
	size_t n = strlen(word);

	return !strncmp(a, word, n) && (!a[n] || a[n] == ' ');
}

static void read_some(struct conn *c, size_t max, long now)
{
	if (c->slow_n) {
		pull(c, max < c->slow_n ? max : c->slow_n);
		c->wake = now + c->slow_ms;
		return;
	}
	for (int i = 0; i < 16 && !c->end && max; i++) {
		size_t before = c->in.len;

		if (!pull(c, max))
			return;
		max -= c->in.len - before;
	}
}

/*
 * One step of a connection.
 * Return: what to poll for before the next; 0: look again at c->wake, or at once.
 */
static short advance(struct conn *c, const char *out_dir, long now)
{
	const char *a;
	bool first = !c->entered;
	struct linger linger = {.l_onoff = 1};

	if (c->drain) {
		read_some(c, SIZE_MAX, now);
		return c->end ? 0 : POLLIN;
	}
	if (c->step == c->sc->count) {
		finish(c, "closed");
		return 0;
	}
	a = c->sc->action[c->step];
	c->entered = true;
	if (is(a, "rcvbuf")) {
		/* done when dialling */
	} else if (is(a, "raw")) {
		unescape(&c->out, a + 4);
		c->raw[c->queued++] = true;
	} else if (is(a, "flush")) {
		c->asked = c->queued;
		if (!push(c, SIZE_MAX))
			return POLLOUT;
	} else if (is(a, "chop")) {
		c->asked = c->queued;
		c->wake = now + CHOP_MS;
		if (!push(c, strtoul(a + 5, NULL, 10)))
			return 0;
	} else if (is(a, "wait")) {
		if (c->answered < c->asked) {
			if (!first)
				read_some(c, SIZE_MAX, now);
			if (c->end)
				return 0;
			if (c->answered < c->asked && !c->ans.last)
				return POLLIN;
		}
		if (c->ans.last) {
			c->drain = true; /* nothing more comes but the end */
			return POLLIN;
		}
	} else if (is(a, "read")) {
		if (first)
			c->until = c->in.len + strtoul(a + 5, NULL, 10);
		else
			read_some(c, c->until - c->in.len, now);
		if (c->end)
			return 0;
		if (c->in.len < c->until)
			return POLLIN;
	} else if (is(a, "eof")) {
		if (!first)
			read_some(c, SIZE_MAX, now);
		if (!c->end)
			return POLLIN;
		return 0;
	} else if (is(a, "slow")) {
		if (sscanf(a, "slow %zu %d", &c->slow_n, &c->slow_ms) != 2)
			c->slow_n = 0;
	} else if (is(a, "pause")) {
		c->wake = now + atol(a + 6);
	} else if (is(a, "mark")) {
		char path[4096];
		FILE *f;

		snprintf(path, sizeof(path), "%s/%s.%u.mark", out_dir, c->sc->name, c->copy);
		f = fopen(path, "w");
		if (!f)
			die(path);
		fclose(f);
	} else if (is(a, "shut")) {
		shutdown(c->fd, SHUT_WR);
	} else if (is(a, "reset")) {
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
		finish(c, "reset");
		return 0;
	} else if (a[0] >= 'A' && a[0] <= 'Z') {
		queue_request(c, a);
	} else {
		fprintf(stderr, "client: %s: unknown action '%s'\n", c->sc->name, a);
		exit(2);
	}
	c->step++;
	c->entered = false;
	return 0;
}

/* Play @n connections to their ends. Return: how many did not end in time. */
static int play(struct conn *conns, unsigned int n, int port, const char *out_dir)
{
	struct pollfd *pfd = calloc(n, sizeof(*pfd));
	const char *limit = getenv("ESCA_TEST_DEADLINE");
	long deadline = now_ms() + (limit ? atol(limit) : DEADLINE_MS);
	unsigned int open = n;

	if (!pfd)
		die("calloc");
	for (unsigned int i = 0; i < n; i++) {
		const char *a = conns[i].sc->action[0];

		conns[i].fd = dial(port, is(a, "rcvbuf") ? atoi(a + 7) : 0);
		if (conns[i].fd < 0)
			finish(&conns[i], "refused");
	}
	while (open) {
		long now = now_ms(), next = deadline;

		if (now >= deadline)
			break;
		for (unsigned int i = 0; i < n; i++) {
			struct conn *c = &conns[i];

			if (c->wake > now || (c->want && !pfd[i].revents))
				continue;
			do {
				c->want = c->end ? 0 : advance(c, out_dir, now);
			} while (!c->end && !c->want && c->wake <= now);
		}
		open = 0;
		for (unsigned int i = 0; i < n; i++) {
			struct conn *c = &conns[i];

			pfd[i] = (struct pollfd){.fd = -1};
			if (c->end)
				continue;
			open++;
			if (c->wake > now) {
				if (c->wake < next)
					next = c->wake;
			} else {
				pfd[i].fd = c->fd;
				pfd[i].events = c->want;
			}
		}
		now = now_ms();
		if (open)
			poll(pfd, n, next > now ? next - now : 0);
	}
	for (unsigned int i = 0; i < n; i++)
		if (!conns[i].end) {
			fprintf(stderr,
				"client: %s.%u hangs in '%s' after %zu bytes, %u of %u answered\n",
				conns[i].sc->name, conns[i].copy,
				conns[i].step < conns[i].sc->count
					? conns[i].sc->action[conns[i].step]
					: "end",
				conns[i].in.len, conns[i].answered, conns[i].asked);
			finish(&conns[i], "hangs");
		}
	free(pfd);
	return open;
}

/* Overwrite what differs from run to run though nothing is wrong. */
static void mask(struct buf *b)
{
	static const char *const dates[] = {"\r\nDate: ", "\r\ndate: "};
	static const char boundary[] = "boundary=";
	char value[20];
	char *p, *end = b->p + b->len;

	if (!b->len)
		return;
	for (unsigned int i = 0; i < 2; i++)
		for (p = b->p; (p = memmem(p, end - p, dates[i], strlen(dates[i])));) {
			p += strlen(dates[i]);
			memset(p, 'D', end - p < 29 ? end - p : 29);
		}
	for (p = b->p; (p = memmem(p, end - p, boundary, sizeof(boundary) - 1));) {
		p += sizeof(boundary) - 1;
		if (end - p < (long)sizeof(value))
			break;
		memcpy(value, p, sizeof(value));
		for (char *q = p; (q = memmem(q, end - q, value, sizeof(value)));)
			memset(q, 'B', sizeof(value));
	}
}

static void write_out(struct conn *c, const char *out_dir, FILE *answered)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.%u", out_dir, c->sc->name, c->copy);
	f = fopen(path, "w");
	if (!f)
		die(path);
	mask(&c->in);
	put(&c->in, "", 0);
	put(&c->ids, "", 0);
	fwrite(c->in.p, 1, c->in.len, f);
	fprintf(f, "\n-- %s\n", c->end);
	if (fclose(f))
		die(path);
	fwrite(c->ids.p, 1, c->ids.len, answered);
	free(c->in.p);
	free(c->out.p);
	free(c->ids.p);
}

static unsigned int load_scenarios(struct scenario *sc, unsigned int max, const char *path,
				   char **names)
{
	FILE *f = fopen(path, "r");
	unsigned int n = 0;
	char *line = NULL;
	size_t cap = 0;

	if (!f)
		die(path);
	while (getline(&line, &cap, f) > 0) {
		char *rest = line + strcspn(line, " \t\n"), *a;
		struct scenario *s = &sc[n];
		bool wanted = !*names;

		if (rest == line || line[0] == '#')
			continue;
		*rest++ = '\0';
		for (char **p = names; *p; p++)
			wanted |= !strcmp(*p, line);
		if (!wanted)
			continue;
		if (n == max) {
			fprintf(stderr, "client: %s: more than %u scenarios\n", path, max);
			exit(2);
		}
		*s = (struct scenario){.name = strdup(line)};
		while ((a = strsep(&rest, ";\n"))) {
			a += strspn(a, " \t");
			if (!*a)
				continue;
			if (s->count == MAX_ACTIONS) {
				fprintf(stderr, "client: %s: more than %d actions\n", line,
					MAX_ACTIONS);
				exit(2);
			}
			s->action[s->count++] = strdup(a);
		}
		n++;
	}
	free(line);
	fclose(f);
	if (!n) {
		fprintf(stderr, "client: %s: no such scenario\n", path);
		exit(2);
	}
	return n;
}

static int cmd_play(int argc, char **argv)
{
	static struct scenario sc[256];
	int port = atoi(argv[2]), copies = atoi(argv[4]), bad = 0;
	unsigned int n = load_scenarios(sc, 256, argv[5], argv + 6), each = copies ? copies : 1;
	struct conn *conns = calloc((size_t)n * each, sizeof(*conns));
	char path[4096];
	FILE *answered;

	snprintf(path, sizeof(path), "%s/answered", argv[3]);
	answered = fopen(path, "w");
	if (!answered || !conns)
		die(path);
	/* The same scenarios are spread, so that neighbours in a turn differ. */
	for (unsigned int i = 0; i < n * each; i++) {
		conns[i].sc = &sc[i % n];
		conns[i].copy = copies ? i / n + 1 : 0;
		if (!copies)
			bad += play(&conns[i], 1, port, argv[3]);
	}
	if (copies)
		bad = play(conns, n * each, port, argv[3]);
	for (unsigned int i = 0; i < n * each; i++)
		write_out(&conns[i], argv[3], answered);
	free(conns);
	if (fclose(answered))
		die(path);
	return bad ? 1 : 0;
}

/* One connection of cmd_load(). */
struct loader {
	int fd;
	struct buf in;
	struct answer ans;
};

static int cmd_load(int argc, char **argv)
{
	int port = atoi(argv[2]), n = atoi(argv[3]);
	long end = now_ms() + (long)(atof(argv[4]) * 1000), now;
	unsigned long completed = 0, retried = 0, broken = 0, wrong = 0;
	struct loader *ls = calloc(n, sizeof(*ls));
	struct pollfd *pfd = calloc(n, sizeof(*pfd));
	struct buf body = {0};
	static char tmp[65536];
	FILE *f = fopen(argv[6], "r");
	char req[512];
	size_t got,
		req_len = snprintf(req, sizeof(req), "GET %s HTTP/1.1\r\nHost: t\r\n\r\n", argv[5]);
	bool busy = true;

	if (!f || !ls || !pfd)
		die(argv[6]);
	while ((got = fread(tmp, 1, sizeof(tmp), f)))
		put(&body, tmp, got);
	fclose(f);
	for (int i = 0; i < n; i++)
		ls[i].fd = -1;
	while (busy && (now = now_ms()) < end + 20000) {
		busy = false;
		for (int i = 0; i < n; i++) {
			struct loader *l = &ls[i];

			if (l->fd < 0 && now < end) {
				l->fd = dial(port, 0);
				l->in.len = 0;
				l->ans = (struct answer){0};
				if (l->fd < 0 || send(l->fd, req, req_len, MSG_NOSIGNAL) < 0)
					retried++;
			}
			pfd[i] = (struct pollfd){.fd = l->fd, .events = POLLIN};
			busy |= l->fd >= 0;
		}
		poll(pfd, n, 100);
		for (int i = 0; i < n; i++) {
			struct loader *l = &ls[i];
			ssize_t len;

			if (l->fd < 0 || !pfd[i].revents)
				continue;
			len = read(l->fd, tmp, sizeof(tmp));
			if (len < 0 && errno == EAGAIN)
				continue;
			if (len > 0) {
				put(&l->in, tmp, len);
				if (!l->ans.end && !parse_head(&l->ans, &l->in, false))
					continue;
				if (l->in.len < l->ans.end)
					continue;
				if (l->in.len == l->ans.end && l->ans.status == 200 &&
				    l->ans.end > body.len &&
				    !memcmp(l->in.p + l->ans.end - body.len, body.p, body.len))
					completed++;
				else
					wrong++;
				if (now_ms() < end && !l->ans.last) {
					l->in.len = 0;
					l->ans = (struct answer){0};
					if (send(l->fd, req, req_len, MSG_NOSIGNAL) > 0)
						continue;
					retried++;
				}
			} else if (l->in.len) {
				broken++;
			} else {
				retried++;
			}
			close(l->fd);
			l->fd = -1;
		}
	}
	if (busy)
		fprintf(stderr, "client: some answers never came\n");
	for (int i = 0; i < n; i++)
		free(ls[i].in.p);
	free(ls);
	free(pfd);
	free(body.p);
	printf("completed=%lu retried=%lu broken=%lu wrong=%lu\n", completed, retried, broken,
	       wrong);
	return busy ? 1 : 0;
}

static int cmd_port(int low, int high)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};

	for (int i = 0; i <= high - low; i++) {
		int port = low + (getpid() + i) % (high - low + 1),
		    fd = socket(AF_INET, SOCK_STREAM, 0);

		sin.sin_port = htons(port);
		if (fd >= 0 && !bind(fd, (struct sockaddr *)&sin, sizeof(sin))) {
			close(fd);
			printf("%d\n", port);
			return 0;
		}
		close(fd);
	}
	return 1;
}

int main(int argc, char **argv)
{
	struct rlimit rl;

	if (!getrlimit(RLIMIT_NOFILE, &rl)) {
		rl.rlim_cur = rl.rlim_max;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
	if (argc >= 6 && !strcmp(argv[1], "play"))
		return cmd_play(argc, argv);
	if (argc == 7 && !strcmp(argv[1], "load"))
		return cmd_load(argc, argv);
	if (argc == 4 && !strcmp(argv[1], "port"))
		return cmd_port(atoi(argv[2]), atoi(argv[3]));
	fprintf(stderr, "usage: client play|load|port ...; the head of client.c has the rest\n");
	return 2;
}
