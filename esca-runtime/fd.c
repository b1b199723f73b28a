/* SPDX-License-Identifier: MIT */
/* fd.c - what each descriptor is, learned from the calls that made and changed it, or asked once.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <esca-runtime/run.h>

struct fd_entry fd_table[ESCA_FD_MAX];
unsigned int fd_high;
bool fd_size_limited;
uint32_t fd_test_credit;

static void note_high(const struct fd_entry *e)
{
	unsigned int fd = (unsigned int)(e - fd_table);

	if (fd > SHARED(fd_high))
		SHARE(fd_high, fd);
}

/* Nothing that waits may outlive the descriptor it was for, whoever closed it without our seeing.
 */
static void fd_clear(struct fd_entry *e)
{
	if (unlikely(fd_waits(e) || SHARED(e->spill)))
		queue_drop(e);
	if (unlikely(e->ahead))
		ahead_close(e, (int)(e - fd_table), false);
	turn_unindex(e);
	late_error_drop(e);
	memset(e, 0, sizeof(*e));
	e->cork = e->cork_want = e->nodelay = e->nodelay_want = OPT_UNKNOWN;
}

struct fd_entry *fd_born(long fd)
{
	struct fd_entry *e = fd_get(fd);

	if (e) {
		fd_clear(e);
		note_high(e);
	}
	return e;
}

void fd_gone(struct fd_entry *e)
{
	fd_clear(e);
}

static int sockopt(int fd, int level, int name)
{
	int val = 0;
	socklen_t len = sizeof(val);
	long ret = kernel(SYS_getsockopt, fd, level, name, (long)&val, (long)&len);

	return raw_is_error(ret) ? -1 : val;
}

static void probe_socket(struct fd_entry *e, int fd)
{
	int domain = sockopt(fd, SOL_SOCKET, SO_DOMAIN);
	struct linger linger = {0};
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer), llen = sizeof(linger);

	e->cls = FD_OTHER;
	if (sockopt(fd, SOL_SOCKET, SO_TYPE) != SOCK_STREAM)
		return;
	if (domain == AF_UNIX)
		e->flags |= FD_UNIX;
	else if ((domain != AF_INET && domain != AF_INET6) ||
		 sockopt(fd, SOL_SOCKET, SO_PROTOCOL) != IPPROTO_TCP)
		return;
	if (!(e->flags & FD_UNIX) && e->cork == OPT_UNKNOWN) {
		e->cork = e->cork_want = sockopt(fd, IPPROTO_TCP, TCP_CORK) != 0;
		e->nodelay = e->nodelay_want = sockopt(fd, IPPROTO_TCP, TCP_NODELAY) != 0;
	}
	if (raw_is_error(kernel(SYS_getsockopt, fd, SOL_SOCKET, SO_LINGER, (long)&linger,
				(long)&llen)) ||
	    linger.l_onoff)
		e->flags |= FD_LINGER;
	if (sockopt(fd, SOL_SOCKET, SO_ACCEPTCONN) == 1) {
		e->cls = FD_LISTEN;
		return;
	}
	e->cls = FD_SOCKET;
	if (kernel(SYS_getpeername, fd, (long)&peer, (long)&len, 0, 0) == 0)
		e->cls = FD_STREAM;
}

void fd_probe(struct fd_entry *e, int fd)
{
	struct stat st;
	long fl;

	if ((e->cls != FD_UNKNOWN && e->cls != FD_SOCKET) || unlikely(SHARED(hot.over)))
		return;
	note_high(e);
	if (e->cls == FD_SOCKET) {
		uint16_t flags = e->flags;

		probe_socket(e, fd);
		e->flags |= flags;
		return;
	}
	e->cork = e->cork_want = e->nodelay = e->nodelay_want = OPT_UNKNOWN;
	if (raw_is_error(kernel(SYS_fstat, fd, (long)&st, 0, 0, 0)))
		return;
	fl = kernel(SYS_fcntl, fd, F_GETFL, 0, 0, 0);
	if (raw_is_error(fl))
		return;
	if (fl & O_NONBLOCK)
		e->flags |= FD_NONBLOCK;
	if (S_ISSOCK(st.st_mode)) {
		probe_socket(e, fd);
	} else if (S_ISREG(st.st_mode)) {
		e->cls = FD_REG;
		if ((fl & O_APPEND) && (fl & O_ACCMODE) != O_RDONLY && !(fl & (O_SYNC | O_DSYNC)))
			e->cls = FD_LOG;
		e->reads = (fl & (O_ACCMODE | O_DIRECT)) == O_RDONLY;
		fd_learn_stat(e, &st);
	} else {
		e->cls = FD_OTHER;
	}
}

void fd_learn_stat(struct fd_entry *e, const struct stat *st)
{
	if (!S_ISREG(st->st_mode))
		return;
	if (e->reads && e->cls == FD_UNKNOWN)
		e->cls = FD_REG;
	e->dev = st->st_dev;
	e->ino = st->st_ino;
	/* What no blocks are behind is not a size: sysfs says 4096 of all that it has. */
	SHARE(e->size, st->st_blocks ? (uint64_t)st->st_size : 0);
	e->flags |= FD_INODE;
}

void fd_accepted(struct fd_entry *l, long fd, bool nonblock)
{
	struct fd_entry *e = fd_born(fd);

	if (!e || !l || l->cls != FD_LISTEN)
		return;
	/* A socket inherits the options of its listener. */
	e->cls = FD_STREAM;
	e->flags = (l->flags & (FD_UNIX | FD_LINGER | FD_NOAHEAD)) | (nonblock ? FD_NONBLOCK : 0);
	e->cork = e->cork_want = l->cork;
	e->nodelay = e->nodelay_want = l->nodelay;
	/* All that one listener accepts begin with the same empty buffer. */
	if (!SHARED(l->credit) && fd_credit(e, (int)fd, 0, 1))
		SHARE(l->credit, e->credit);
	e->credit = SHARED(l->credit);
}

void fd_opened(long fd, int flags)
{
	struct fd_entry *e = fd_born(fd);

	/* Whether a file that can be written is a log is asked when it is written. A plain one is
	 * known by its first fstat(). */
	if (e && (flags & (O_PATH | O_DIRECTORY)))
		e->cls = FD_OTHER;
	else if (e)
		e->reads = (flags & (O_ACCMODE | O_DIRECT)) == O_RDONLY;
}

/* How much of a stream the kernel takes at once; source: sk_get_meminfo() in net/core/sock.c,
 * sk_stream_memory_free() in net/sock.h. */
static uint32_t room(const struct fd_entry *e, int fd)
{
	uint32_t info[SK_MEMINFO_VARS] = {0}, used;
	socklen_t len = sizeof(info);

	if (raw_is_error(
		    kernel(SYS_getsockopt, fd, SOL_SOCKET, SO_MEMINFO, (long)info, (long)&len)))
		return 0;
	used = info[e->flags & FD_UNIX ? SK_MEMINFO_WMEM_ALLOC : SK_MEMINFO_WMEM_QUEUED];
	if (used >= info[SK_MEMINFO_SNDBUF])
		return 0;
	/* The kernel counts its own overhead in the buffer: about half of it is payload. */
	return (info[SK_MEMINFO_SNDBUF] - used) / 2;
}

bool fd_credit(struct fd_entry *e, int fd, uint32_t waits, size_t len)
{
	if (unlikely(SHARED(hot.over)))
		return false;
	if (unlikely(fd_test_credit))
		return waits + len <= fd_test_credit;
	if (likely(len <= e->credit))
		return true;
	/* What was answered ahead since the last look has left, as far as we know: look again. */
	e->credit = room(e, fd);
	if (e->credit > ESCA_CREDIT_MAX)
		e->credit = ESCA_CREDIT_MAX;
	e->credit = e->credit > waits ? e->credit - waits : 0;
	return len <= e->credit;
}

void fd_foreign(struct fd_entry *e)
{
	struct queue *q = __atomic_load_n(&e->owner, __ATOMIC_ACQUIRE);

	if (!q || q == self.q || e->cls == FD_EPOLL)
		return;
	if (SHARED(e->shared) && !fd_waits(e) && !fd_ctl_waits(e))
		return;
	queue_lock(q);
	if (e->op || e->log_pending || e->pieces || e->ctl != CTL_NONE)
		queue_flush_locked(q, NULL);
	SHARE(e->shared, true);
	queue_unlock(q);
}

void fd_child(void)
{
	unsigned int fd;

	for (fd = 0; fd <= SHARED(fd_high); fd++) {
		struct fd_entry *e = &fd_table[fd];

		e->op = NULL;
		e->ctl = CTL_NONE;
		e->poll_q = NULL;
		e->spill = NULL;
		e->log_pending = 0;
		e->pieces = false;
		e->owner = NULL;
		if (e->flags & FD_ZOMBIE) {
			raw_syscall(SYS_close, fd, 0, 0, 0, 0, 0);
			fd_clear(e);
			continue;
		}
		late_error_drop(e);
		e->tagged = false;
		if (e->cls == FD_STREAM || e->cls == FD_EPOLL || e->cls == FD_SOCKET)
			e->flags |= FD_NODEFER;
	}
}

void fd_limit(void)
{
	struct rlimit lim;

	SHARE(fd_size_limited,
	      raw_is_error(raw_syscall(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, (long)&lim, 0, 0)) ||
		      lim.rlim_cur != RLIM_INFINITY);
}
