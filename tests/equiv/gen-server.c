/* SPDX-License-Identifier: MIT */
/* gen-server.c - the server of a generated program: its loop, its streams, and what it tells the
 * peer. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "gen.h"

struct conn conns[CONNS];
struct watch watches[WATCHES];
int ep = -1, body = -1;
enum loop loop;
unsigned int opno;
bool numbers_known = true;

const char *const kind_names[KINDS] = {"write",	       "send",	  "send nosignal", "send more",
				       "writev",       "sendmsg", "syscall write", "sendfile",
				       "sendfile pos", "sendmmsg"};

void result(const char *what, long ret)
{
	if (ret == -1)
		note("%u %s = -%s", opno, what, strerrorname_np(errno));
	else if (ret < 0)
		note("%u %s = -%s", opno, what, strerrorname_np((int)-ret));
	else
		note("%u %s = %ld", opno, what, ret);
}

void number(const char *what, long ret)
{
	if (ret >= 0 && !numbers_known)
		note("%u %s", opno, what);
	else
		result(what, ret);
}

unsigned int index_of(const struct conn *c)
{
	return (unsigned int)(c - conns);
}

struct stream *stream_of(const struct conn *c)
{
	return &sh->streams[index_of(c)];
}

bool healthy(const struct conn *c)
{
	return c->fd >= 0 && !c->shut && !c->gone && !c->rst;
}

/* --- the peer --- */

void tell(enum peer_does what, unsigned int conn, uint32_t arg)
{
	unsigned int i = sh->ncmds++;

	if (i >= CMDS)
		_exit(97);
	sh->cmds[i].what = what;
	sh->cmds[i].conn = conn;
	sh->cmds[i].arg = arg;
}

static void lost(const char *what)
{
	note("%u FAILED: %s", opno, what);
	_exit(96);
}

static short quiet_poll(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	return quietly(SYS_poll, (long)&p, 1, 0, 0, 0, 0) > 0 ? p.revents : 0;
}

/* How much a TCP stream has ever received; it may have been read ahead. */
static uint64_t quiet_received(int fd)
{
	/* struct tcp_info of <linux/tcp.h>, as far as tcpi_bytes_received */
	uint64_t info[17] = {0};
	socklen_t len = sizeof(info);

	quietly(SYS_getsockopt, fd, IPPROTO_TCP, TCP_INFO, (long)info, (long)&len, 0);
	return info[16];
}

static void arrived(struct conn *c)
{
	unsigned int tries;

	for (tries = 0; tries < 100000; tries++) {
		bool there = true;

		if (c->rst)
			there = quiet_poll(c->fd, POLLIN) & POLLHUP;
		else if (c->fin)
			there = quiet_poll(c->fd, POLLRDHUP) & POLLRDHUP;
		/* Asked last: it takes the socket's lock, so what was seen above is complete. */
		if (there &&
		    (c->rst || c->local || quiet_received(c->fd) >= (uint64_t)c->heard + c->inq))
			return;
		quiet_nap(50);
	}
	lost("what the peer did did not arrive");
}

void ask(void)
{
	uint32_t old = sh->done, i;
	uint64_t one = 1;

	if (!sh->ncmds)
		return;
	sh->asked++;
	quietly(SYS_write, bell, (long)&one, sizeof(one), 0, 0, 0);
	if (!quiet_wait(&sh->done, old))
		lost("the peer is gone");
	for (i = 0; i < sh->ncmds; i++) {
		struct conn *c = &conns[sh->cmds[i].conn];

		switch ((enum peer_does)sh->cmds[i].what) {
		case PEER_SEND:
			c->inq += sh->cmds[i].arg;
			break;
		case PEER_HALF:
			c->fin = true;
			break;
		case PEER_CLOSE:
			c->fin = c->gone = true;
			break;
		case PEER_RESET:
			c->rst = true;
			stream_of(c)->prefix = true;
			break;
		default:
			break;
		}
	}
	for (i = 0; i < sh->ncmds; i++)
		if (sh->cmds[i].what > PEER_DIAL_LOCAL)
			arrived(&conns[sh->cmds[i].conn]);
	sh->ncmds = 0;
}

/* --- the loop --- */

bool loop_is_epoll(void)
{
	return loop <= LOOP_EPOLL_PWAIT2;
}

long watch_raw(int op, unsigned int w, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.u64 = w};
	long ret = epoll_ctl(ep, op, watches[w].fd, &ev);

	if (!ret) {
		watches[w].on = op != EPOLL_CTL_DEL;
		if (watches[w].on)
			watches[w].events = events;
	}
	return ret;
}

void watch_set(unsigned int w, int fd, uint32_t events)
{
	watches[w].fd = fd;
	if (!loop_is_epoll()) {
		watches[w].events = events & ~(uint32_t)(EPOLLET | EPOLLONESHOT);
		watches[w].on = true;
		return;
	}
	result("watch", watch_raw(watches[w].on ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, w, events));
}

void watch_gone(unsigned int w)
{
	watches[w].fd = -1;
	watches[w].on = false;
}

static int wait_epoll_way(int ms)
{
	struct epoll_event evs[WATCHES + 4];
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
	int n, i;

	do {
		if (loop == LOOP_EPOLL)
			n = epoll_wait(ep, evs, WATCHES + 4, ms);
		else if (loop == LOOP_EPOLL_PWAIT)
			n = epoll_pwait(ep, evs, WATCHES + 4, ms, NULL);
		else
			n = epoll_pwait2(ep, evs, WATCHES + 4, ms < 0 ? NULL : &ts, NULL);
	} while (n < 0 && errno == EINTR);
	for (i = 0; i < n; i++) {
		if (evs[i].data.u64 >= WATCHES)
			lost("an event with foreign data");
		watches[evs[i].data.u64].got = evs[i].events;
	}
	return n;
}

static int wait_poll_way(int ms)
{
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
	struct pollfd p[WATCHES];
	int n, i;

	for (i = 0; i < WATCHES; i++) {
		p[i].fd = watches[i].on ? watches[i].fd : -1;
		p[i].events = (short)watches[i].events;
		p[i].revents = 0;
	}
	do
		n = loop == LOOP_POLL ? poll(p, WATCHES, ms)
				      : ppoll(p, WATCHES, ms < 0 ? NULL : &ts, NULL);
	while (n < 0 && errno == EINTR);
	for (i = 0; n > 0 && i < WATCHES; i++)
		watches[i].got = (uint32_t)(unsigned short)p[i].revents;
	return n;
}

static int wait_select_way(int ms)
{
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000L};
	fd_set in, out;
	int n, i, max = 0;

	do {
		FD_ZERO(&in);
		FD_ZERO(&out);
		for (i = 0; i < WATCHES; i++) {
			if (!watches[i].on || watches[i].fd < 0)
				continue;
			if (watches[i].events & EPOLLIN)
				FD_SET(watches[i].fd, &in);
			if (watches[i].events & EPOLLOUT)
				FD_SET(watches[i].fd, &out);
			if (watches[i].fd >= max)
				max = watches[i].fd + 1;
		}
		if (loop == LOOP_SELECT)
			n = select(max, &in, &out, NULL, ms < 0 ? NULL : &tv);
		else
			n = pselect(max, &in, &out, NULL, ms < 0 ? NULL : &ts, NULL);
	} while (n < 0 && errno == EINTR);
	for (i = 0; n > 0 && i < WATCHES; i++) {
		if (!watches[i].on || watches[i].fd < 0)
			continue;
		if (FD_ISSET(watches[i].fd, &in))
			watches[i].got |= EPOLLIN;
		if (FD_ISSET(watches[i].fd, &out))
			watches[i].got |= EPOLLOUT;
	}
	return n;
}

int wait_once(int ms)
{
	unsigned int i;

	for (i = 0; i < WATCHES; i++)
		watches[i].got = 0;
	if (loop_is_epoll())
		return wait_epoll_way(ms);
	if (loop <= LOOP_PPOLL)
		return wait_poll_way(ms);
	return wait_select_way(ms);
}

/*
 * Will a wait surely return? Then it may as well be one that sleeps. The kernel is not asked: it
 * may not have heard yet of a change that waits.
 */
static bool something_ready(void)
{
	unsigned int i;

	for (i = 0; i < CONNS; i++) {
		const struct watch *w = &watches[i];

		if (!healthy(&conns[i]) || !w->on || w->events & (EPOLLET | EPOLLONESHOT))
			continue;
		if ((w->events & EPOLLIN && conns[i].inq) ||
		    (w->events & EPOLLOUT && !conns[i].tight))
			return true;
	}
	return false;
}

static void names(char *to, size_t size, uint32_t ev)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} bits[] = {{EPOLLIN, "in"},   {EPOLLOUT, "out"}, {EPOLLRDHUP, "rdhup"}, {EPOLLHUP, "hup"},
		    {EPOLLERR, "err"}, {EPOLLPRI, "pri"}, {POLLNVAL, "nval"}};
	size_t i, n = 0;

	to[0] = 0;
	for (i = 0; i < sizeof(bits) / sizeof(*bits); i++)
		if (ev & bits[i].bit && n < size)
			n += (size_t)snprintf(to + n, size - n, "%s%s", n ? "," : "", bits[i].name);
}

void turn(void)
{
	static const char *const who[] = {"listener", "local", "pipe", "event", "pair"};
	char line[400], ev[64];
	size_t n = 0;
	unsigned int i;
	int ret, ms;

	ms = something_ready() ? (chance(50) ? 5000 : -1) : chance(3) ? 1 : 0;
	ret = wait_once(ms);
	if (ret < 0) {
		result("wait", ret);
		return;
	}
	line[0] = 0;
	for (i = 0; i < WATCHES; i++) {
		uint32_t got = watches[i].got;

		if (i < CONNS && conns[i].tight) {
			if (loop_is_epoll() && watches[i].events & (EPOLLET | EPOLLONESHOT))
				continue;
			got &= ~(uint32_t)EPOLLOUT;
		}
		/* When the peer acknowledges our end is an edge of its own. */
		if (i < CONNS && conns[i].shut && watches[i].events & (EPOLLET | EPOLLONESHOT))
			continue;
		/* Errors and ends may be edges of their own: the first one counts. */
		if (i < CONNS && conns[i].rst && watches[i].events & (EPOLLET | EPOLLONESHOT)) {
			if (conns[i].rst_seen)
				continue;
			conns[i].rst_seen = got & EPOLLHUP;
		}
		if (!got)
			continue;
		names(ev, sizeof(ev), got);
		if (i < CONNS)
			n += (size_t)snprintf(line + n, sizeof(line) - n, " c%u:%s", i, ev);
		else
			n += (size_t)snprintf(line + n, sizeof(line) - n, " %s:%s", who[i - CONNS],
					      ev);
	}
	note("%u wait:%s", opno, line);
}

/* --- streams --- */

void synced(struct conn *c)
{
	struct stream *s = stream_of(c);
	int one = 1, zero = 0;
	unsigned int tries;

	if (c->fd < 0 || c->gone || c->rst)
		return;
	if (c->corked) {
		result("uncork", setsockopt(c->fd, IPPROTO_TCP, TCP_CORK, &zero, sizeof(zero)));
		c->corked = false;
	}
	if (c->more && !c->shut) {
		/* Setting it pushes, whether it was set or not. */
		result("push", setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
		c->more = false;
		c->nodelay = true;
	}
	turn();
	for (tries = 0; s->received != s->accepted; tries++) {
		if (tries == 40000)
			lost("bytes written before a wait did not arrive");
		/* A full stream goes on where the loop waits. */
		if (c->tight)
			wait_once(0);
		quiet_nap(50);
	}
	c->unsynced = c->writes = 0;
}

void settle(struct conn *c, uint32_t n)
{
	c->unsynced += n;
	c->writes++;
	if (in_helper && may.quiet_thread)
		return;
	if (c->unsynced > (c->local ? 50000 : 160000) || c->writes > 50) {
		synced(c);
		c->unsynced = n;
	}
}

unsigned char body_byte(off_t i)
{
	return (unsigned char)(i * 13 + (i >> 8));
}

static void fill(unsigned char *buf, unsigned int conn, uint32_t pos, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++, pos++)
		buf[i] = (unsigned char)(pos * 3 + (pos >> 7) + conn * 17);
}

#define PIECE 65536

static long write_kind(struct message *m, unsigned char *buf, uint32_t n, off_t *off)
{
	struct iovec iov[4] = {{buf, n / 3}, {buf, 0}, {buf + n / 3, n / 2}, {NULL, 0}};
	struct mmsghdr mm = {.msg_hdr = {.msg_iov = iov, .msg_iovlen = 4}};
	int fd = m->c->fd;
	long ret;

	iov[3].iov_base = buf + n / 3 + n / 2;
	iov[3].iov_len = n - n / 3 - n / 2;
	switch (m->kind) {
	case KIND_WRITE:
		return write(fd, buf, n);
	case KIND_SEND:
		return send(fd, buf, n, 0);
	case KIND_SEND_NOSIGNAL:
		return send(fd, buf, n, MSG_NOSIGNAL);
	case KIND_SEND_MORE:
		return send(fd, buf, n, MSG_MORE);
	case KIND_WRITEV:
		return writev(fd, iov, 4);
	case KIND_SENDMSG:
		return sendmsg(fd, &mm.msg_hdr, 0);
	case KIND_RAW_WRITE:
		return syscall(SYS_write, fd, buf, n);
	case KIND_SENDFILE:
		return sendfile(fd, body, off, n);
	case KIND_SENDFILE_POS:
		if (lseek(body, *off, SEEK_SET) != *off)
			lost("lseek");
		return sendfile(fd, body, NULL, n);
	default:
		ret = sendmmsg(fd, &mm, 1, 0);
		return ret == 1 ? (long)mm.msg_len : ret;
	}
}

long write_once(struct message *m)
{
	static unsigned char buf[PIECE];
	struct conn *c = m->c;
	struct stream *s = stream_of(c);
	uint32_t n = m->left < PIECE ? m->left : PIECE, i;
	bool file = m->kind == KIND_SENDFILE || m->kind == KIND_SENDFILE_POS;
	off_t off = m->off;
	long ret;

	if (s->accepted + n > STREAM_MAX)
		lost("the program is too long");
	if (file)
		for (i = 0; i < n; i++)
			s->sent[s->accepted + i] = body_byte(m->off + i);
	else
		fill(buf, index_of(c), s->accepted, n);
	if (!file)
		memcpy(s->sent + s->accepted, buf, n);
	ret = write_kind(m, buf, n, &off);
	if (ret < 0)
		return -errno;
	/* The buffer is ours again, whatever the kernel has of it. */
	memset(buf, 'X', ret < 1000 ? (size_t)ret : 1000);
	s->accepted += (uint32_t)ret;
	m->left -= (uint32_t)ret;
	if (file && m->kind == KIND_SENDFILE && off != m->off + ret)
		note("%u sendfile left its offset at %ld", opno, (long)off);
	m->off += ret;
	if (m->kind == KIND_SEND_MORE)
		c->more = true;
	else if (ret)
		c->more = false;
	return ret;
}

/* Have the loop hear of room in @c. */
static void want_out(struct conn *c, bool want, uint32_t before)
{
	unsigned int w = index_of(c);

	if (!loop_is_epoll()) {
		watches[w].on = true;
		watches[w].events = want ? before | EPOLLOUT : before;
		return;
	}
	if (want && (before & EPOLLET) && (before & EPOLLOUT))
		return;
	if (watch_raw(EPOLL_CTL_MOD, w, want ? before | EPOLLOUT : before))
		lost("epoll_ctl for room");
}

void burst(struct message *m, unsigned int n)
{
	uint32_t before[CONNS], left = n, rounds = 0;
	bool waits[CONNS] = {false}, ready[CONNS];
	unsigned int i;

	/* Edges of others are seen here, and not by a wait that may or may not be. */
	turn();
	for (i = 0; i < n; i++) {
		before[i] = watches[index_of(m[i].c)].events;
		ready[i] = true;
	}
	while (left) {
		for (i = 0; i < n; i++) {
			bool et = loop_is_epoll() && before[i] & EPOLLET;
			long ret = 1;

			while (m[i].left && ready[i] && ret > 0) {
				uint32_t had = m[i].left;

				ret = write_once(&m[i]);
				if (ret < 0 && ret != -EAGAIN && ret != -EINTR) {
					note("%u c%u in a burst", opno, index_of(m[i].c));
					result("write", ret);
					m[i].left = 0;
				}
				if (!et && ret > 0 && (uint32_t)ret < had)
					break;
			}
			if (m[i].left) {
				if (!waits[i] || (loop_is_epoll() && before[i] & EPOLLONESHOT))
					want_out(m[i].c, true, before[i]);
				waits[i] = true;
				ready[i] = false;
			}
		}
		for (i = left = 0; i < n; i++)
			left += m[i].left > 0;
		if (!left)
			break;
		if (wait_once(5000) == 0 || ++rounds > 20000)
			lost("a stream never had room again");
		for (i = 0; i < n; i++)
			if (watches[index_of(m[i].c)].got & (EPOLLOUT | EPOLLERR | EPOLLHUP))
				ready[i] = true;
	}
	for (i = 0; i < n; i++)
		if (waits[i])
			want_out(m[i].c, false, before[i]);
}
