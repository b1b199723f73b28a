/* SPDX-License-Identifier: MIT */
/* gen-ops.c - what a generated server does with its streams, and how it begins and ends. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "gen.h"

struct features may;
volatile uint32_t sigpipes;
int listener = -1, local_listener = -1;
bool in_helper, in_child, may_be_inherited;

struct conn *pick(bool (*ok)(const struct conn *))
{
	unsigned int i, n = 0;

	for (i = 0; i < CONNS; i++)
		n += ok(&conns[i]);
	if (!n)
		return NULL;
	n = below(n);
	for (i = 0; i < CONNS; i++)
		if (ok(&conns[i]) && !n--)
			return &conns[i];
	return NULL;
}

bool roomy(const struct conn *c)
{
	return healthy(c) && !c->tight;
}

static bool is_open(const struct conn *c)
{
	return c->fd >= 0;
}

static bool talks(const struct conn *c)
{
	return healthy(c) && !c->fin;
}

static bool talks_tcp(const struct conn *c)
{
	return talks(c) && !c->local;
}

/* --- writing --- */

static uint32_t some_size(void)
{
	switch (below(8)) {
	case 0:
		return below(3);
	case 1:
	case 2:
		return 1 + below(6000);
	case 3:
		return 1 + below(40000);
	default:
		return 1 + below(300);
	}
}

/* At which write after the other end left the error comes depends on timing; that it does, not. */
static void write_until_error(struct conn *c)
{
	int i, err = 0;
	ssize_t n;

	turn();
	for (i = 0; i < 2000; i++) {
		n = chance(50) ? write(c->fd, "x", 1) : send(c->fd, "x", 1, 0);
		if (n < 0 && errno != EAGAIN) {
			err = errno;
			break;
		}
		wait_once(0);
		quiet_nap(20);
	}
	note("%u c%u written to until -%s, SIGPIPEs %u", opno, index_of(c),
	     err ? strerrorname_np(err) : "never", sigpipes);
	c->told = c->dead = true;
}

static void write_ill(struct conn *c)
{
	uint64_t seed = rnd();
	ssize_t n;

	if (may.sigpipe == 2)
		ending(true);
	if ((c->rst || c->gone) && !c->dead) {
		/* How many numbers it draws depends on timing. */
		uint64_t keep = rnd_state;

		rnd_state = seed;
		write_until_error(c);
		rnd_state = keep;
		return;
	}
	if (c->shut && (c->rst || c->gone) && !c->dead)
		return;
	n = chance(50) ? write(c->fd, "gone", 4) : send(c->fd, "gone", 4, MSG_NOSIGNAL);
	note("%u c%u write after the end = -%s, SIGPIPEs %u", opno, index_of(c),
	     n < 0 ? strerrorname_np(errno) : "none", sigpipes);
}

static struct message message(struct conn *c)
{
	struct message m = {.c = c, .kind = below(KINDS), .left = some_size()};

	/* What a child leaves open, its parent does not know of. */
	if ((c->tight || in_child) && m.kind == KIND_SEND_MORE)
		m.kind = KIND_SEND;
	m.off = below(BODY_SIZE);
	if (c->tight && m.off + m.left > BODY_SIZE)
		m.off = BODY_SIZE - m.left;
	if (c->tight && !m.left)
		m.left = 1;
	return m;
}

static bool full(const struct conn *c)
{
	return stream_of(c)->accepted > STREAM_MAX - 150000;
}

void op_write(struct conn *c)
{
	struct message m;
	uint32_t n;
	long ret;

	if (!healthy(c)) {
		write_ill(c);
		return;
	}
	m = message(c);
	n = m.left;
	if (full(c))
		return;
	if (c->tight && !c->blocking) {
		if (!watches[index_of(c)].on)
			return;
		burst(&m, 1);
		note("%u c%u %s of %u, in the end", opno, index_of(c), kind_names[m.kind], n);
		return;
	}
	settle(c, n);
	ret = write_once(&m);
	if (ret < 0)
		errno = (int)-ret;
	note("%u c%u %s %u = %ld%s", opno, index_of(c), kind_names[m.kind], n, ret < 0 ? -1 : ret,
	     ret < 0 ? strerrorname_np((int)-ret) : "");
}

static void op_burst(void)
{
	struct message m[CONNS];
	unsigned int i, n = 0;

	for (i = 0; i < CONNS; i++) {
		struct conn *c = &conns[i];

		if (!healthy(c) || c->blocking || !watches[i].on || full(c) || chance(20))
			continue;
		m[n] = message(c);
		if (!c->tight) {
			if (m[n].off + m[n].left > BODY_SIZE)
				m[n].off = BODY_SIZE - m[n].left;
			settle(c, m[n].left);
		}
		n++;
	}
	burst(m, n);
	note("%u burst of %u", opno, n);
}

void taken_by_other(struct conn *c, const char *p, uint32_t n)
{
	struct stream *s = stream_of(c);

	memcpy(s->sent + s->accepted, p, n);
	s->accepted += n;
	c->more = false;
	settle(c, n);
}

/* --- reading --- */

static ssize_t read_kind(struct conn *c, unsigned char *buf, size_t n, uint32_t kind)
{
	struct iovec iov[2] = {{buf, n / 2}, {buf + n / 2, n - n / 2}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

	switch (kind) {
	case 0:
		return recv(c->fd, buf, n, MSG_PEEK | MSG_DONTWAIT);
	case 1:
		return recv(c->fd, buf, n, 0);
	case 2:
		return recv(c->fd, buf, n, MSG_DONTWAIT);
	case 3:
		return readv(c->fd, iov, 2);
	case 4:
		return recvmsg(c->fd, &msg, 0);
	case 5:
		return recvfrom(c->fd, buf, n, 0, NULL, NULL);
	case 6:
		return syscall(SYS_read, c->fd, buf, n);
	default:
		return read(c->fd, buf, n);
	}
}

void op_read(struct conn *c)
{
	static unsigned char buf[65536];
	uint32_t n = chance(may.herd ? 5 : 30) ? 1 + below(50)
		     : chance(50)	       ? sizeof(buf)
					       : 1 + below(5000);
	uint32_t kind = below(12), i;
	bool wrong = false;
	ssize_t ret;
	int has = -1;

	if (c->blocking && !c->inq && !c->fin && !c->rst)
		return;
	if (kind == 11 && !c->rst) {
		if (ioctl(c->fd, FIONREAD, &has))
			result("FIONREAD", -1);
		note("%u c%u FIONREAD %d", opno, index_of(c), has);
		return;
	}
	ret = read_kind(c, buf, n, kind);
	/*
	 * The end may have come after the read before this one; only where the loop was told of it
	 * must it be there at once. Not twice.
	 */
	if (ret < 0 && errno == EAGAIN && c->fin && !c->inq)
		ret = read_kind(c, buf, n, kind);
	if (ret < 0) {
		note("%u c%u read(%u) %u = -%s", opno, index_of(c), kind, n,
		     strerrorname_np(errno));
		if (errno == ECONNRESET || errno == EPIPE)
			c->told = c->dead = true;
		return;
	}
	for (i = 0; i < (uint32_t)ret; i++)
		wrong |= buf[i] != peer_byte(index_of(c), c->heard + i);
	note("%u c%u read(%u) %u = %zd%s", opno, index_of(c), kind, n, ret, wrong ? " WRONG" : "");
	if (kind) {
		c->heard += (uint32_t)ret;
		c->inq -= (uint32_t)ret;
	}
}

/* --- options --- */

static void op_opt(struct conn *c)
{
	unsigned int i = index_of(c);
	int on = chance(75), ret;

	if (c->rst || c->gone)
		return;
	switch (below(7)) {
	case 0:
		if (!on && chance(80))
			on = 1;
		ret = setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		if (!ret) {
			c->nodelay = on;
			/* It pushes what a cork holds too, but the cork stays. */
			if (on)
				c->more = false;
		}
		break;
	case 1:
	case 2:
	case 3:
		on = chance(40);
		ret = setsockopt(c->fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
		if (!ret)
			c->corked = on;
		break;
	case 4:
		ret = setsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
		break;
	case 5:
		ret = setsockopt(c->fd, IPPROTO_TCP, TCP_CORK, &on, 1);
		break;
	default:
		ret = setsockopt(c->fd, IPPROTO_TCP, 999, &on, sizeof(on));
		break;
	}
	note("%u c%u set %d = %s", opno, i, on, ret ? strerrorname_np(errno) : "0");
}

static void op_getopt(struct conn *c)
{
	static const struct {
		int level, name;
	} opts[] = {{IPPROTO_TCP, TCP_NODELAY}, {IPPROTO_TCP, TCP_CORK}, {SOL_SOCKET, SO_ERROR},
		    {SOL_SOCKET, SO_ERROR},	{SOL_SOCKET, SO_TYPE},	 {SOL_SOCKET, SO_KEEPALIVE},
		    {SOL_SOCKET, SO_ACCEPTCONN}};
	uint32_t k = below(sizeof(opts) / sizeof(*opts));
	int value = -1;
	socklen_t len = sizeof(value);

	if (getsockopt(c->fd, opts[k].level, opts[k].name, &value, &len)) {
		result("getsockopt", -1);
		return;
	}
	note("%u c%u option %u is %d", opno, index_of(c), k, value);
	if (opts[k].name == SO_ERROR && opts[k].level == SOL_SOCKET && value)
		c->told = c->dead = true;
}

static void op_setfl(struct conn *c)
{
	int on = !c->blocking, flags = fcntl(c->fd, F_GETFL);

	note("%u c%u F_GETFL %x", opno, index_of(c), flags);
	if (!may.blocking || c->rst || c->gone)
		return;
	if (chance(50)) {
		on = c->blocking;
		result("FIONBIO", ioctl(c->fd, FIONBIO, &on));
	} else {
		result("F_SETFL", fcntl(c->fd, F_SETFL, flags ^ O_NONBLOCK));
	}
	c->blocking = !c->blocking;
}

/* --- beginning and end of streams --- */

static uint32_t some_events(const struct conn *c)
{
	static const uint32_t level[] = {EPOLLIN, EPOLLIN | EPOLLRDHUP, EPOLLIN | EPOLLOUT},
			      edge[] = {EPOLLIN | EPOLLET, EPOLLIN | EPOLLRDHUP | EPOLLET,
					EPOLLIN | EPOLLOUT | EPOLLET,
					EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
	uint32_t k = below(10);

	if (k < 6)
		return level[below(3)];
	/* A local socket makes an edge whenever its peer reads. */
	if (k < 9)
		return edge[below(c->local ? 2 : 4)];
	return EPOLLIN | EPOLLONESHOT;
}

static int accept_kind(int from, bool *nonblock)
{
	int fd, one = 1;

	*nonblock = true;
	switch (below(4)) {
	case 0:
		fd = accept(from, NULL, NULL);
		if (fd >= 0)
			fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
		return fd;
	case 1:
		fd = accept4(from, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			ioctl(fd, FIONBIO, &one);
		return fd;
	default:
		return accept4(from, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	}
}

static bool unused(const struct conn *c)
{
	return !c->used;
}

/* The peer of a new connection connects: Return: the listener that has it. */
static int dialed(struct conn *c)
{
	int from;

	c->used = true;
	c->local = may.local && chance(40);
	c->tight = !c->local && may.tight && chance(50);
	from = c->local ? local_listener : listener;
	tell(c->local ? PEER_DIAL_LOCAL : PEER_DIAL, index_of(c), c->tight ? 8192u << below(2) : 0);
	ask();
	for (;;) {
		struct pollfd p = {.fd = from, .events = POLLIN};

		if (quietly(SYS_poll, (long)&p, 1, 100, 0, 0, 0) == 1)
			break;
	}
	return from;
}

void conn_new(void)
{
	static struct conn *pending; /* connected, but there was no descriptor for it */
	struct conn *c = pending ? pending : pick(unused);
	int from, one = 1, size = 4096 << below(3);
	bool nonblock;

	if (!c)
		return;
	if (!pending)
		from = dialed(c);
	else
		from = c->local ? local_listener : listener;
	if (chance(60))
		turn();
	c->fd = accept_kind(from, &nonblock);
	number("accept", c->fd);
	pending = c->fd < 0 ? c : NULL;
	if (pending)
		return;
	if (chance(30))
		result("accept again", accept4(from, NULL, NULL, SOCK_NONBLOCK));
	if (c->tight)
		result("SO_SNDBUF", setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
	if (!c->local && chance(85)) {
		result("nodelay", setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
		c->nodelay = true;
	}
	watch_set(index_of(c), c->fd, some_events(c));
}

/* How the stream will end, if nobody has it any more. */
static void end_of(struct conn *c, bool killed)
{
	struct stream *s = stream_of(c);

	if (!c->used)
		return;
	if (c->inq && (c->tight ||
		       (!c->local && (!c->nodelay || c->corked || c->more || c->unsynced > 20000))))
		s->prefix = true;
	/* It is reset behind the end that was sent before. */
	if (c->inq && c->shut)
		s->prefix = s->any_end = true;
	/*
	 * Bytes that were read ahead are unread to the kernel no more. It is told of them, but not
	 * where another process may have the stream as well, or when this one
	 * is killed: then the peer sees the end first, as
	 * if its last bytes had come after it.
	 */
	if (c->inq && (may_be_inherited || killed))
		s->any_end = true;
	if (killed && c->tight)
		s->prefix = s->any_end = true;
}

void ending(bool killed)
{
	unsigned int i;

	for (i = 0; i < CONNS; i++)
		if (conns[i].fd >= 0)
			end_of(&conns[i], killed);
}

void conn_close(struct conn *c)
{
	end_of(c, false);
	note("%u c%u close", opno, index_of(c));
	result("close", close(c->fd));
	watch_gone(index_of(c));
	/*
	 * With bytes that the peer has not taken its number may be kept busy; also, for another
	 * thread, until this one's turn is over.
	 */
	if (c->tight || may.thread)
		numbers_known = false;
	c->fd = -1;
}

static void op_close(struct conn *c)
{
	int fd = c->fd;
	char b;

	if (may.sigpipe == 2)
		ending(true);
	conn_close(c);
	switch (below(6)) {
	case 0:
		result("close again", close(fd));
		break;
	case 1:
		result("write to the closed", write(fd, "x", 1));
		break;
	case 2:
		result("read of the closed", read(fd, &b, 1));
		break;
	case 3:
		result("shutdown of the closed", shutdown(fd, SHUT_WR));
		break;
	case 4:
		number("the number again", dup(ep >= 0 ? ep : listener));
		break;
	default:
		break;
	}
}

static void op_shutdown(struct conn *c)
{
	int how = chance(75) ? SHUT_WR : chance(50) ? SHUT_RDWR : SHUT_RD;

	if (!healthy(c))
		return;
	note("%u c%u shutdown %d", opno, index_of(c), how);
	result("shutdown", shutdown(c->fd, how));
	if (how != SHUT_RD)
		c->shut = true;
	if (how != SHUT_WR)
		c->fin = true;
}

static void op_hangup(void)
{
	struct conn *c = pick(chance(50) ? talks : talks_tcp);
	uint32_t how = below(3);

	if (!c)
		return;
	if (c->local && how == 2)
		how = 1;
	note("%u c%u: the peer leaves, way %u", opno, index_of(c), how);
	if (how == 1)
		synced(c);
	tell(how == 0 ? PEER_HALF : how == 1 ? PEER_CLOSE : PEER_RESET, index_of(c), 0);
	ask();
	/* Until a loop has waited, networks may be slow. */
	turn();
}

/* --- programs --- */

void op_small(void)
{
	struct conn *c = pick(roomy);

	opno++;
	if (may.logs && chance(30))
		op_log();
	else if (c)
		op_write(c);
}

void op_any(void)
{
	struct conn *c = pick(is_open);
	uint32_t k = below(100);

	opno++;
	if (!c) {
		conn_new();
		return;
	}
	if (k < 25)
		op_write(c);
	else if (k < 37)
		op_read(c);
	else if (k < 44)
		turn();
	else if (k < 52)
		op_opt(c);
	else if (k < 56)
		op_getopt(c);
	else if (k < 60)
		op_setfl(c);
	else if (k < 63)
		conn_new();
	else if (k < 66)
		op_close(c);
	else if (k < 68)
		op_shutdown(c);
	else if (k < 71 && may.hangups)
		op_hangup();
	else if (k < 75)
		op_burst();
	else if (k < 78)
		synced(c);
	else if (k < 81 && loop_is_epoll())
		op_ctl();
	else if (k < 85 && may.logs)
		op_log();
	else if (k < 88 && may.files)
		op_file();
	else if (k < 91 && may.pairs)
		op_pair();
	else if (k < 93 && may.udp)
		op_datagram();
	else if (k < 95)
		op_signal();
	else if (k < 97)
		op_process();
	else if (may.odd)
		op_odd();
}

/*
 * The other thread and this one take turns. In some programs they tell each other by semaphores,
 * which are system calls that flush; in others through memory alone, and the other thread makes
 * then only calls that others do not see the effect of before a wait of this one.
 */
static volatile uint32_t baton;
static sem_t go, gone;

static void *helper(void *arg)
{
	for (;;) {
		if (!may.quiet_thread)
			sem_wait(&go);
		else if (!quiet_wait(&baton, 0))
			continue;
		in_helper = true;
		if (may.quiet_thread)
			op_small();
		else
			op_any();
		in_helper = false;
		if (!may.quiet_thread) {
			sem_post(&gone);
			continue;
		}
		quiet_set(&baton, 0);
	}
	return NULL;
}

static void op_or_helper(void)
{
	if (!may.thread || !chance(30)) {
		op_any();
		return;
	}
	if (!may.quiet_thread) {
		sem_post(&go);
		while (sem_wait(&gone) && errno == EINTR)
			;
		return;
	}
	quiet_set(&baton, 1);
	if (!quiet_wait(&baton, 1)) {
		note("%u FAILED: the other thread hangs", opno);
		_exit(95);
	}
}

static void op_round(void)
{
	uint32_t i, k;

	for (i = 0; i < CONNS; i++)
		if (talks(&conns[i]) && chance(may.herd ? 95 : 60) && conns[i].inq < 20000)
			tell(PEER_SEND, i, 1 + below(chance(10) ? 8000 : 300));
	ask();
	opno++;
	turn();
	for (i = 0; i < CONNS; i++) {
		struct conn *c = &conns[i];

		if (c->fd < 0 || !c->inq)
			continue;
		opno++;
		op_read(c);
		for (k = below(3); k && c->fd >= 0; k--) {
			opno++;
			op_write(c);
		}
		if (loop_is_epoll() && watches[i].on && watches[i].events & EPOLLONESHOT)
			result("arm", watch_raw(EPOLL_CTL_MOD, i, watches[i].events));
	}
	for (k = below(may.herd ? 3 : 7); k; k--)
		op_or_helper();
}

static void on_sigpipe(int sig)
{
	sigpipes++;
}

static void start_listening(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	socklen_t len = sizeof(in);
	int one = 1;

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&in, sizeof(in)) || listen(listener, 64) ||
	    getsockname(listener, (struct sockaddr *)&in, &len))
		_exit(94);
	sh->tcp_port = in.sin_port;
	watch_set(WATCH_LISTENER, listener, EPOLLIN);
	if (!may.local)
		return;
	memset(sh->local, 0, sizeof(sh->local));
	snprintf(sh->local + 1, sizeof(sh->local) - 1, "equiv-gen-%d", getpid());
	memcpy(un.sun_path, sh->local, sizeof(sh->local));
	local_listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (bind(local_listener, (struct sockaddr *)&un,
		 offsetof(struct sockaddr_un, sun_path) + sizeof(sh->local)) ||
	    listen(local_listener, 64))
		_exit(94);
	watch_set(WATCH_LOCAL, local_listener, EPOLLIN);
}

static void end_by_exec(void)
{
	struct conn *c = pick(roomy);

	if (c) {
		taken_by_other(c, "child", 5);
		if (dup2(c->fd, 1) != 1 || execl("/proc/self/exe", "equiv-gen", "child", NULL))
			_exit(93);
	}
}

static void finish(void)
{
	uint32_t how = below(12), i;

	note("ends in way %u", how);
	if (how == 7)
		may_be_inherited = true;
	if (how == 5)
		for (i = 0; i < CONNS; i++)
			if (conns[i].fd >= 0)
				conn_close(&conns[i]);
	ending(how == 1 || how == 2 || how == 3);
	switch (how) {
	case 0:
		_exit(1);
	case 1:
		abort();
	case 2:
		kill(getpid(), SIGKILL);
		break;
	case 3:
		raise(SIGTERM);
		break;
	case 4:
		syscall(SYS_exit_group, 4);
		break;
	case 6:
		quick_exit(6);
	case 7:
		end_by_exec();
		break;
	case 8:
		turn();
		break;
	default:
		break;
	}
	exit(0);
}

void server_run(uint64_t seed)
{
	struct stat st;
	uint32_t rounds;
	pthread_t t;
	uint32_t i;

	/* Many that all talk, as there is something to read ahead of then. */
	may.herd = chance(20);
	may.thread = chance(20) || getenv("EQUIV_GEN_THREADS");
	may.quiet_thread = chance(40);
	may.dups = chance(25);
	may.rights = chance(10);
	may.forks = chance(20);
	may.spawns = chance(8);
	may.signals = chance(25);
	may.local = chance(25);
	may.tight = chance(30);
	may.ctl = chance(50);
	may.blocking = chance(15);
	may.hangups = chance(40);
	may.files = chance(40);
	may.logs = chance(50);
	may.pairs = chance(25);
	may.udp = chance(20);
	may.odd = chance(25);
	may.sigpipe = chance(60) ? 0 : chance(60) ? 1 : 2;
	loop = chance(70) ? below(3) : below(LOOPS);
	signal(SIGPIPE, may.sigpipe == 0 ? SIG_IGN : may.sigpipe == 1 ? on_sigpipe : SIG_DFL);
	for (i = 0; i < CONNS; i++)
		conns[i].fd = -1;
	for (i = 0; i < WATCHES; i++)
		watches[i].fd = -1;
	if (loop_is_epoll()) {
		ep = epoll_create1(EPOLL_CLOEXEC);
		number("epoll", ep);
	}
	start_listening();
	body = open("body", O_RDONLY | O_CLOEXEC);
	number("body", body);
	/* What a server knows the size of may wait. */
	if (chance(60) && !fstat(body, &st))
		note("it has %ld", (long)st.st_size);
	odd_start();
	sem_init(&go, 0, 0);
	sem_init(&gone, 0, 0);
	if (may.thread && pthread_create(&t, NULL, helper, NULL))
		_exit(92);
	for (i = may.herd ? CONNS : 1 + below(4); i; i--)
		conn_new();
	rounds = may.herd ? 8 + below(8) : 2 + below(8);
	while (rounds-- && opno < max_ops)
		op_round();
	finish();
	_exit(91);
}
