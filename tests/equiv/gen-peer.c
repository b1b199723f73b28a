/* SPDX-License-Identifier: MIT */
/* gen-peer.c - the peer of a generated program: does what it is told, and reads as its seed says.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "gen.h"

static int fds[CONNS];
static uint32_t said[CONNS];

static void fail(int how)
{
	_exit(how);
}

static void dial(unsigned int i, bool local, int rcvbuf)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = sh->tcp_port};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int one = 1, mss = 1448;

	fds[i] = socket(local ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fds[i] < 0)
		fail(10);
	sh->streams[i].end = END_OPEN;
	if (local) {
		memcpy(un.sun_path, sh->local, sizeof(sh->local));
		if (connect(fds[i], (struct sockaddr *)&un,
			    offsetof(struct sockaddr_un, sun_path) + sizeof(sh->local)))
			fail(11);
		return;
	}
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (rcvbuf) {
		setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof(rcvbuf));
		/* Small windows of big segments go on by timers. */
		setsockopt(fds[i], IPPROTO_TCP, TCP_MAXSEG, &mss, sizeof(mss));
	}
	setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fds[i], (struct sockaddr *)&in, sizeof(in)))
		fail(12);
	setsockopt(fds[i], IPPROTO_TCP, TCP_QUICKACK, &one, sizeof(one));
}

static void say(unsigned int i, uint32_t n)
{
	unsigned char buf[16384];
	uint32_t k;

	if (n > sizeof(buf))
		fail(13);
	for (k = 0; k < n; k++)
		buf[k] = peer_byte(i, said[i] + k);
	said[i] += n;
	if (send(fds[i], buf, n, MSG_NOSIGNAL) != (ssize_t)n)
		fail(14);
}

static void leave(unsigned int i, bool hard)
{
	struct linger now = {.l_onoff = 1, .l_linger = 0};

	if (hard)
		setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fds[i]);
	fds[i] = -1;
	sh->streams[i].end = END_BY_PEER;
}

static void obey(void)
{
	uint32_t k;

	if (sh->asked == sh->done)
		return;
	for (k = 0; k < sh->ncmds; k++) {
		unsigned int i = sh->cmds[k].conn;

		switch ((enum peer_does)sh->cmds[k].what) {
		case PEER_DIAL:
		case PEER_DIAL_LOCAL:
			dial(i, sh->cmds[k].what == PEER_DIAL_LOCAL, (int)sh->cmds[k].arg);
			break;
		case PEER_SEND:
			say(i, sh->cmds[k].arg);
			break;
		case PEER_HALF:
			shutdown(fds[i], SHUT_WR);
			break;
		case PEER_CLOSE:
		case PEER_RESET:
			leave(i, sh->cmds[k].what == PEER_RESET);
			break;
		}
	}
	quiet_set(&sh->done, sh->asked);
}

/* Read once. What was read is told after it is in its place. */
static void hear(unsigned int i, uint32_t chunk)
{
	struct stream *s = &sh->streams[i];
	uint32_t room = STREAM_MAX - s->received;
	ssize_t n;

	if (!room)
		fail(15);
	n = read(fds[i], s->got + s->received, chunk < room ? chunk : room);
	if (n > 0) {
		__atomic_store_n(&s->received, s->received + (uint32_t)n, __ATOMIC_RELEASE);
		return;
	}
	if (n < 0 && errno == EINTR)
		return;
	s->end = !n ? END_FIN : errno == ECONNRESET ? END_RESET : END_OTHER;
}

static void hear_datagram(void)
{
	unsigned char buf[4096];
	ssize_t n = recv(udp_peer, buf, sizeof(buf), MSG_DONTWAIT);

	if (n < 0 || sh->ngrams >= GRAMS)
		return;
	sh->grams[sh->ngrams].len = (uint32_t)n;
	sh->grams[sh->ngrams].hash = hash_of(buf, (size_t)n);
	sh->ngrams++;
}

void peer_run(uint64_t seed)
{
	static const uint32_t chunks[] = {65536, 65536, 16384, 3000};
	uint32_t chunk = chunks[below(4)];
	bool slow = chance(15);
	unsigned int i;

	rnd_state ^= 0x5555;
	for (i = 0; i < CONNS; i++)
		fds[i] = -1;
	for (;;) {
		struct pollfd p[CONNS + 2];
		bool over = sh->server_gone;
		unsigned int open = 0;

		p[CONNS] = (struct pollfd){.fd = bell, .events = POLLIN};
		p[CONNS + 1] = (struct pollfd){.fd = udp_peer, .events = POLLIN};
		for (i = 0; i < CONNS; i++) {
			bool is = fds[i] >= 0 && sh->streams[i].end == END_OPEN;

			p[i] = (struct pollfd){.fd = is ? fds[i] : -1, .events = POLLIN};
			open += is;
		}
		if (poll(p, CONNS + 2, over && !open ? 0 : -1) == 0)
			break;
		if (p[CONNS].revents) {
			uint64_t n;

			if (read(bell, &n, sizeof(n)) < 0 && errno != EAGAIN)
				fail(16);
		}
		obey();
		if (p[CONNS + 1].revents)
			hear_datagram();
		for (i = 0; i < CONNS; i++)
			if (fds[i] >= 0 && p[i].revents)
				hear(i, chunk);
		if (slow)
			usleep(below(300));
	}
	_exit(0);
}
