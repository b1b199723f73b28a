/* SPDX-License-Identifier: MIT */
/* calibrate.c - measure the cost profile of this host. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef HAVE_LIBURING
#include <liburing.h>
#endif

#include <cli/calibrate.h>

#define ROUNDS	  15 /* samples of each figure; the median counts */
#define HEAD_SIZE 240
#define KIB	  1024
#define BIG_KIB	  16
#define CONNS	  16

/*
 * CPU time of this thread, so that being preempted does not count; on loopback that includes what
 * the peer's receive path does in our context, as it does for a server.
 */
static double cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), by_value);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static double at_least(double v, double min)
{
	return v > min ? v : min;
}

/* --- crossing, queue and copy: no descriptor needed --- */

double calibrate_crossing(void)
{
	enum {
		BATCH = 1000
	};
	double v[ROUNDS];

	for (int r = 0; r < ROUNDS; r++) {
		double t = cpu_ns();

		for (int i = 0; i < BATCH; i++)
			syscall(SYS_getppid);
		v[r] = (cpu_ns() - t) / BATCH;
	}
	return at_least(median(v, ROUNDS), 0);
}

/*
 * What queueing does, without the runtime, which lives in another process: fill an entry, copy a
 * small reply head behind it.
 */
struct entry {
	long nr, args[6];
	uint32_t size, fd;
	unsigned char bytes[HEAD_SIZE];
};

static __attribute__((noinline)) void enqueue(struct entry *e, long fd, const void *buf, uint32_t n)
{
	e->nr = SYS_write;
	e->args[0] = fd;
	e->args[1] = (long)(intptr_t)e->bytes;
	e->args[2] = n;
	e->fd = (uint32_t)fd;
	e->size = n;
	memcpy(e->bytes, buf, n);
	__asm__ volatile("" : : "r"(e) : "memory");
}

static void calibrate_memory(struct cost *c)
{
	enum {
		BATCH = 2000,
		SLOTS = 64
	};
	static struct entry queue[SLOTS];
	static unsigned char from[SLOTS][KIB], to[SLOTS][KIB];
	double q[ROUNDS], m[ROUNDS];

	for (int r = 0; r < ROUNDS; r++) {
		double t = cpu_ns();

		for (int i = 0; i < BATCH; i++)
			enqueue(&queue[i % SLOTS], i, from[i % SLOTS], HEAD_SIZE);
		q[r] = (cpu_ns() - t) / BATCH;
		t = cpu_ns();
		for (int i = 0; i < BATCH; i++) {
			memcpy(to[i % SLOTS], from[(i * 7) % SLOTS], KIB);
			__asm__ volatile("" : : "r"(to) : "memory");
		}
		m[r] = (cpu_ns() - t) / BATCH;
	}
	c->queue = median(q, ROUNDS);
	c->copy_kib = median(m, ROUNDS);
}

/* --- files --- */

/* An unlinked file with @size bytes in the page cache, or -1. */
static int temp_file(size_t size, int flags)
{
	const char *dirs[] = {getenv("TMPDIR"), "/var/tmp", "/tmp", "."};
	static const char zero[KIB];
	int fd = -1;

	for (unsigned int i = 0; fd < 0 && i < 4; i++) {
		char path[PATH_MAX];
		int n;

		if (!dirs[i] || !*dirs[i])
			continue;
		fd = open(dirs[i], O_TMPFILE | O_RDWR | O_CLOEXEC | flags, 0600);
		if (fd >= 0)
			break;
		n = snprintf(path, sizeof(path), "%s/esca.XXXXXX", dirs[i]);
		if (n < 0 || (size_t)n >= sizeof(path))
			continue;
		fd = mkostemp(path, O_CLOEXEC | flags);
		if (fd >= 0)
			unlink(path);
	}
	for (size_t done = 0; fd >= 0 && done < size; done += KIB)
		if (write(fd, zero, KIB) != KIB) {
			close(fd);
			fd = -1;
		}
	return fd;
}

static void calibrate_log(struct cost *c)
{
	enum {
		BATCH = 100,
		LINE = 100
	};
	int fd = temp_file(0, O_APPEND);
	double v[ROUNDS];
	char line[LINE];

	if (fd < 0)
		return;
	memset(line, 'x', sizeof(line));
	for (int r = 0; r < ROUNDS; r++) {
		double t = cpu_ns();

		for (int i = 0; i < BATCH; i++)
			if (write(fd, line, LINE) != LINE) {
				close(fd);
				return;
			}
		v[r] = (cpu_ns() - t) / BATCH;
		if (ftruncate(fd, 0))
			break;
	}
	close(fd);
	c->log_write = at_least(median(v, ROUNDS) - c->crossing, 0);
}

static void calibrate_pread(struct cost *c)
{
	enum {
		BATCH = 200
	};
	int fd = temp_file(KIB, 0);
	double v[ROUNDS];
	char to[KIB];

	if (fd < 0)
		return;
	for (int r = 0; r < ROUNDS; r++) {
		double t = cpu_ns();

		for (int i = 0; i < BATCH; i++)
			if (pread(fd, to, KIB, 0) != KIB) {
				close(fd);
				return;
			}
		v[r] = (cpu_ns() - t) / BATCH;
	}
	close(fd);
	c->pread = at_least(median(v, ROUNDS) - c->crossing, 0);
}

/* --- replies over loopback connections to a peer that reads them --- */

struct net {
	int conn[CONNS];
	int file;
	int sync; /* the peer says on it that it has read a round */
	pid_t peer;
};

/* The calls of one reply, and what they send. */
enum reply {
	ONE_PACKET,
	TWO_PACKETS,
	SENDFILE_1K,
	PREAD_1K,
	SENDFILE_16K,
	PREAD_16K,
	REPLIES
};

static bool send_reply(const struct net *n, int fd, enum reply kind)
{
	static unsigned char head[HEAD_SIZE], body[BIG_KIB * KIB];
	size_t want = kind >= SENDFILE_16K ? sizeof(body) : KIB;
	struct iovec iov[2] = {{head, sizeof(head)}, {body, want}};
	off_t off = 0;

	switch (kind) {
	case TWO_PACKETS:
		return write(fd, head, sizeof(head)) == (ssize_t)sizeof(head) &&
		       write(fd, body, want) == (ssize_t)want;
	case SENDFILE_1K:
	case SENDFILE_16K:
		return send(fd, head, sizeof(head), MSG_MORE) == (ssize_t)sizeof(head) &&
		       sendfile(fd, n->file, &off, want) == (ssize_t)want;
	case PREAD_1K:
	case PREAD_16K:
		if (pread(n->file, body, want, 0) != (ssize_t)want)
			return false;
		__attribute__((fallthrough));
	default:
		return writev(fd, iov, 2) == (ssize_t)(sizeof(head) + want);
	}
}

static size_t reply_size(enum reply kind)
{
	return HEAD_SIZE + (kind >= SENDFILE_16K ? BIG_KIB * KIB : KIB);
}

/* The other end: reads every connection as bytes come, and says when a round's are all there. Ends
 * when its socket to us does. */
static __attribute__((noreturn)) void peer_run(const int *conn, int sync, int cpu)
{
	static char buf[64 * KIB];
	int ep = epoll_create1(0);
	size_t want = 0, got = 0;
	struct epoll_event ev[CONNS + 1];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (cpu >= 0) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET((size_t)cpu, &set);
		sched_setaffinity(0, sizeof(set), &set);
	}
	for (int i = 0; i <= CONNS; i++) {
		ev[0].events = EPOLLIN;
		ev[0].data.fd = i < CONNS ? conn[i] : sync;
		if (epoll_ctl(ep, EPOLL_CTL_ADD, ev[0].data.fd, ev))
			_exit(1);
	}
	for (;;) {
		int n = epoll_wait(ep, ev, CONNS + 1, -1);

		for (int i = 0; i < n; i++) {
			if (ev[i].data.fd == sync) {
				if (read(sync, &want, sizeof(want)) != (ssize_t)sizeof(want))
					_exit(0);
			} else {
				ssize_t len = recv(ev[i].data.fd, buf, sizeof(buf), MSG_DONTWAIT);

				if (len == 0)
					_exit(0);
				got += len > 0 ? (size_t)len : 0;
			}
		}
		if (want && got == want) {
			want = got = 0;
			if (write(sync, "", 1) != 1)
				_exit(0);
		}
	}
}

/* Two CPUs that we may use: ours and another for the peer, -1 where there is only one. */
static int other_cpu(void)
{
	cpu_set_t set;
	int self = sched_getcpu();

	if (sched_getaffinity(0, sizeof(set), &set))
		return -1;
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (i != self && CPU_ISSET((size_t)i, &set))
			return i;
	return -1;
}

static void net_close(struct net *n)
{
	for (int i = 0; i < CONNS; i++)
		if (n->conn[i] >= 0)
			close(n->conn[i]);
	if (n->sync >= 0)
		close(n->sync);
	if (n->file >= 0)
		close(n->file);
	if (n->peer > 0) {
		kill(n->peer, SIGKILL);
		while (waitpid(n->peer, NULL, 0) < 0 && errno == EINTR)
			;
	}
}

/*
 * Connections of ours to ourselves, without Nagle and, if
 * allowed, without a congestion control that paces by timers.
 */
static bool connect_pair(int listener, const struct sockaddr_in *addr, int *ours, int *theirs)
{
	static const char reno[] = "reno";
	int one = 1;

	*theirs = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*theirs < 0)
		return false;
	if (connect(*theirs, (const struct sockaddr *)addr, sizeof(*addr)))
		return false;
	*ours = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (*ours < 0)
		return false;
	setsockopt(*ours, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(*ours, IPPROTO_TCP, TCP_CONGESTION, reno, sizeof(reno) - 1);
	return true;
}

static bool net_open(struct net *n)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int theirs[CONNS], sync[2] = {-1, -1}, listener;
	socklen_t len = sizeof(addr);
	bool ok = false;

	memset(n->conn, -1, sizeof(n->conn));
	memset(theirs, -1, sizeof(theirs));
	n->sync = -1;
	n->peer = -1;
	n->file = temp_file((size_t)BIG_KIB * KIB, 0);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (n->file < 0 || listener < 0 || bind(listener, (struct sockaddr *)&addr, sizeof(addr)) ||
	    listen(listener, CONNS) || getsockname(listener, (struct sockaddr *)&addr, &len) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sync))
		goto out;
	for (int i = 0; i < CONNS; i++)
		if (!connect_pair(listener, &addr, &n->conn[i], &theirs[i]))
			goto out;
	n->peer = fork();
	if (n->peer < 0)
		goto out;
	if (!n->peer) {
		close(sync[0]);
		for (int i = 0; i < CONNS; i++)
			close(n->conn[i]);
		peer_run(theirs, sync[1], other_cpu());
	}
	n->sync = sync[0];
	sync[0] = -1;
	ok = true;
out:
	for (int i = 0; i < CONNS; i++)
		if (theirs[i] >= 0)
			close(theirs[i]);
	if (listener >= 0)
		close(listener);
	if (sync[0] >= 0)
		close(sync[0]);
	if (sync[1] >= 0)
		close(sync[1]);
	if (!ok)
		net_close(n);
	return ok;
}

/* One reply on each connection; ns a reply, negative on failure. */
static double net_round(const struct net *n, enum reply kind)
{
	size_t total = CONNS * reply_size(kind);
	double t;
	char c;

	t = cpu_ns();
	for (int i = 0; i < CONNS; i++)
		if (!send_reply(n, n->conn[i], kind))
			return -1;
	t = cpu_ns() - t;
	if (send(n->sync, &total, sizeof(total), MSG_NOSIGNAL) != (ssize_t)sizeof(total) ||
	    recv(n->sync, &c, 1, 0) != 1)
		return -1;
	return t / CONNS;
}

static void calibrate_sockopt(struct cost *c, int fd)
{
	enum {
		BATCH = 200
	};
	double v[ROUNDS];

	for (int r = 0; r < ROUNDS; r++) {
		double t = cpu_ns();

		for (int i = 0; i < BATCH; i++) {
			int on = !(i & 1);

			setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
		}
		v[r] = (cpu_ns() - t) / BATCH;
	}
	c->sockopt = at_least(median(v, ROUNDS) - c->crossing, 0);
}

static void calibrate_net(struct cost *c)
{
	enum {
		NET_ROUNDS = 4 * ROUNDS,
		WARMUP = 4
	};
	double v[REPLIES][NET_ROUNDS], m[REPLIES];
	struct net n;

	if (!net_open(&n))
		return;
	calibrate_sockopt(c, n.conn[0]);
	/* in turn, so that a disturbance meets all kinds alike */
	for (int r = -WARMUP; r < NET_ROUNDS; r++)
		for (int k = 0; k < REPLIES; k++) {
			double ns = net_round(&n, (enum reply)k);

			if (ns < 0) {
				net_close(&n);
				return;
			}
			if (r >= 0)
				v[k][r] = ns;
		}
	net_close(&n);
	for (int k = 0; k < REPLIES; k++)
		m[k] = median(v[k], NET_ROUNDS);
	c->packet = at_least(m[TWO_PACKETS] - m[ONE_PACKET] - c->crossing, 0);
	c->sendfile = m[SENDFILE_1K] - m[PREAD_1K];
	c->sendfile_kib = (m[PREAD_16K] - m[SENDFILE_16K] + c->sendfile) / (BIG_KIB - 1);
}

/* --- io_uring --- */

#ifdef HAVE_LIBURING
/*
 * What an operation of a ring costs beside its work: sends of a reply's size, which succeed, as
 * those of a flush do; through a ring as libesca.so has it, and by plain calls.
 */
static void calibrate_uring(struct cost *c)
{
	enum {
		BATCH = 32,
		TIMES = 10,
		BYTES = 100
	};
	double alone[ROUNDS], batch[ROUNDS], enter[ROUNDS];
	char buf[BATCH * BYTES] = {0};
	struct io_uring ring;
	int sock[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sock))
		return;
	if (io_uring_queue_init(BATCH, &ring,
				IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
					IORING_SETUP_SUBMIT_ALL)) {
		close(sock[0]);
		close(sock[1]);
		return;
	}
	c->uring = true;
	for (int r = 0; r < ROUNDS; r++) {
		double t = cpu_ns();

		for (int i = 0; i < TIMES * BATCH; i++)
			syscall(SYS_io_uring_enter, ring.ring_fd, 0, 0, 0, NULL, 0);
		enter[r] = (cpu_ns() - t) / (TIMES * BATCH);
		alone[r] = batch[r] = 0;
		for (int k = 0; k < TIMES; k++) {
			t = cpu_ns();
			for (int i = 0; i < BATCH; i++)
				send(sock[0], buf, BYTES, MSG_DONTWAIT | MSG_NOSIGNAL);
			alone[r] += cpu_ns() - t;
			if (recv(sock[1], buf, sizeof(buf), 0) != sizeof(buf))
				c->uring = false;
			t = cpu_ns();
			for (int i = 0; i < BATCH; i++) {
				struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

				if (!sqe)
					break;
				io_uring_prep_send(sqe, sock[0], buf, BYTES,
						   MSG_DONTWAIT | MSG_NOSIGNAL | MSG_WAITALL);
				sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
			}
			io_uring_submit(&ring);
			batch[r] += cpu_ns() - t;
			/* not inline, or not at all: this ring cannot do what we need */
			if (recv(sock[1], buf, sizeof(buf), 0) != sizeof(buf))
				c->uring = false;
		}
		alone[r] /= TIMES * BATCH;
		batch[r] /= TIMES;
	}
	io_uring_queue_exit(&ring);
	close(sock[0]);
	close(sock[1]);
	c->uring_enter = median(enter, ROUNDS);
	c->uring_op = at_least((median(batch, ROUNDS) - c->uring_enter) / BATCH -
				       (median(alone, ROUNDS) - c->crossing),
			       1);
}
#else
static void calibrate_uring(struct cost *c)
{
}
#endif

int calibrate_backends(struct cost *c)
{
	memset(c, 0, sizeof(*c));
	c->crossing = calibrate_crossing();
	if (!(c->crossing > 0))
		return -ENOSYS;
	calibrate_uring(c);
	return 0;
}

int calibrate(struct cost *c)
{
	int ret = calibrate_backends(c);

	if (ret)
		return ret;
	calibrate_memory(c);
	calibrate_log(c);
	calibrate_pread(c);
	calibrate_net(c);
	return 0;
}
