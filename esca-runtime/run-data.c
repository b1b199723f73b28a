/* SPDX-License-Identifier: MIT */
/* run-data.c - mode run: calls that move bytes. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/syscall.h>

#include <esca-runtime/handlers.h>

/* --- out --- */

/* A server that was told that a stream is broken is not told that a later write succeeds. */
static long told(struct fd_entry *e, long ret)
{
	if (unlikely(late_is_of_stream(ret)))
		e->flags |= FD_NODEFER;
	return ret;
}

/* A flush, this thread's or another one's, left something wrong: true if *@ret answers the call. */
static inline bool flushed_ill(struct fd_entry *e, bool nosignal, long *ret)
{
	if (unlikely(SHARED(e->spill)))
		*ret = spill_answer(e, nosignal);
	else if (unlikely(SHARED(e->err)))
		*ret = late_error_on_write(e, nosignal);
	else
		return false;
	return true;
}

/*
 * The real call on a stream, after all that waits. What
 * waits for the stream itself shares the packet with it.
 */
static long stream_real(enum esca_reason why, struct fd_entry *e, long fd, size_t len,
			bool nosignal, long nr, long a0, long a1, long a2, long a3, long a4,
			long a5)
{
	struct queue *q = self.q;
	bool more = false;
	long ret;

	if (queue_waits(q)) {
		queue_lock(q);
		more = fusing(ESCA_FUSE_HEADER) && len && len <= ESCA_MORE_MAX && e->op &&
		       e->op->nseg && !(e->flags & FD_UNIX);
		queue_flush_locked(q, more ? e->op : NULL);
		queue_unlock(q);
	}
	if (flushed_ill(e, nosignal, &ret))
		return ret;
	ret = pass_for(why, CALL);
	if (more && ret <= 0)
		fuse_push(e, (int)fd);
	if (ret > ESCA_COPY_MAX || ret == -EAGAIN)
		SHARE(e->bulk, true);
	return told(e, ret);
}

/* A stream that something went wrong with: true if *@ret answers the call. */
static bool stream_ill(struct fd_entry *e, long fd, bool nosignal, long *ret)
{
	if (SHARED(e->spill) && !spill_drain(e, (int)fd)) {
		count(C_PASSED + ESCA_PASS_ILL, 1);
		*ret = spill_answer(e, nosignal);
		return true;
	}
	if (SHARED(e->err)) {
		*ret = late_error_on_write(e, nosignal);
		return true;
	}
	return false;
}

/* The sum of a vector if it may be copied: 0 if not. */
static size_t iov_small(const struct iovec *iov, unsigned long n)
{
	size_t len = 0;
	unsigned long i;

	if (!n || n > IOV_MAX)
		return 0;
	for (i = 0; i < n; i++) {
		if (iov[i].iov_len > ESCA_COPY_MAX)
			return 0;
		len += iov[i].iov_len;
		if (len > ESCA_COPY_MAX)
			return 0;
	}
	return len;
}

/*
 * The server writes to what may be a file: lines that another
 * thread wrote to it through a descriptor of its own come first.
 */
static inline void lines_first(const struct fd_entry *e)
{
	if (e && (e->cls == FD_LOG || e->cls == FD_REG || e->cls == FD_UNKNOWN ||
		  (e->cls == FD_OTHER && (e->flags & FD_INODE))))
		queue_flush_logs(e, self.q);
}

#define SEND_FLAGS (MSG_NOSIGNAL | MSG_DONTWAIT | MSG_MORE)

static IN_FRAME long out(struct fd_entry *e, long fd, const struct iovec *iov, unsigned long n,
			 int flags, bool sock, long nr, long a0, long a1, long a2, long a3, long a4,
			 long a5)
{
	bool nosignal = flags & MSG_NOSIGNAL;
	size_t len;
	long ret;
	int why;

	e->open = flags & MSG_MORE;
	if (unlikely(SHARED(e->spill) || SHARED(e->err)) && stream_ill(e, fd, nosignal, &ret))
		return ret;
	if (e->cls == FD_OTHER) {
		lines_first(e);
		life_look();
		flush();
		return pass_for(ESCA_PASS_KIND, CALL);
	}
	why = stream_waits(e, fd);
	if (why == STREAM_READY) {
		len = iov_small(iov, n);
		if (flags & ~SEND_FLAGS)
			why = ESCA_PASS_EXOTIC;
		else if (!len)
			why = ESCA_PASS_SIZE;
		else
			why = ESCA_PASS_FULL;
		if (why == ESCA_PASS_FULL && !SHARED(e->bulk)) {
			ret = queue_send(e, (int)fd, iov, (unsigned int)n, len, flags);
			if (likely(ret != NOT_QUEUED))
				return ret;
			if (unlikely(SHARED(e->spill) || SHARED(e->err)) &&
			    stream_ill(e, fd, nosignal, &ret))
				return ret;
		}
		return stream_real((enum esca_reason)why, e, fd, 1, nosignal, CALL);
	}
	lines_first(e);
	if (e->cls == FD_LOG && fusing(ESCA_FUSE_LOG) && !sock && fd > 2 && self.q &&
	    self.q->in_turn && !SHARED(hot.over) && !SHARED(fd_size_limited) && !fd_barred(e)) {
		len = iov_small(iov, n);
		if (len && len <= ESCA_LOG_MAX) {
			ret = queue_log(e, (int)fd, iov, (unsigned int)n, len);
			if (likely(ret != NOT_QUEUED))
				return ret;
		}
	}
	flush();
	if (flushed_ill(e, nosignal, &ret))
		return ret;
	return told(e, pass_for((enum esca_reason)why, CALL));
}

ON_FD(run_write)
{
	struct iovec iov = {(void *)a1, (size_t)a2};

	if (e)
		return out(e, a0, &iov, 1, 0, false, CALL);
	flush();
	return pass(CALL);
}

ON_FD(run_writev)
{
	if (e)
		return out(e, a0, (const struct iovec *)a1, (unsigned int)a2, 0, false, CALL);
	flush();
	return pass(CALL);
}

ON_FD(run_sendto)
{
	struct iovec iov = {(void *)a1, (size_t)a2};

	if (e)
		return out(e, a0, &iov, a4 ? 0 : 1, (int)a3, true, CALL);
	flush();
	return pass(CALL);
}

/* Descriptors that leave in a message have another holder from now on. */
static void rights_out(const struct msghdr *msg)
{
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR((struct msghdr *)msg, c)) {
		size_t n, i;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
		    c->cmsg_len < CMSG_LEN(0))
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < n; i++) {
			struct fd_entry *e;
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			e = touch(fd);
			if (!e)
				continue;
			if (SHARED(e->spill))
				spill_settle(e, fd);
			e->flags |= FD_NODEFER;
		}
	}
}

static void rights_in(struct msghdr *msg)
{
	struct cmsghdr *c;

	if (!msg->msg_control || !msg->msg_controllen)
		return;
	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n, i;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
		    c->cmsg_len < CMSG_LEN(0))
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < n; i++) {
			struct fd_entry *e;
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			e = fd_born(fd);
			if (e)
				e->flags |= FD_NODEFER;
		}
	}
}

ON_FD(run_sendmsg)
{
	const struct msghdr *msg = (const struct msghdr *)a1;

	if (msg && msg->msg_control && msg->msg_controllen) {
		if (e)
			e->open = a2 & MSG_MORE;
		flush();
		rights_out(msg);
		if (e && SHARED(e->spill))
			return spill_answer(e, (int)a2 & MSG_NOSIGNAL);
		return pass(CALL);
	}
	if (e && msg)
		return out(e, a0, msg->msg_iov, msg->msg_name ? 0 : msg->msg_iovlen, (int)a2, true,
			   CALL);
	flush();
	return pass(CALL);
}

/* The server looks at a file: lines of it that wait, in whichever thread's queue, go first. */
static void logs_first(struct fd_entry *e, long fd)
{
	if (likely(!queue_logs_wait()))
		return;
	if (e && !(e->flags & FD_INODE))
		fd_probe(e, (int)fd);
	queue_flush_logs(e, NULL);
}

HANDLER(run_sendfile)
{
	struct fd_entry *e, *in;
	off_t *off = (off_t *)a2;
	long ret;
	int why;

	if (aside())
		return raw_syscall(CALL);
	e = touch(a0);
	in = touch(a1);
	if (ZOMBIE(e) || ZOMBIE(in))
		return -EBADF;
	logs_first(in, a1);
	if (!e) {
		flush();
		return pass(CALL);
	}
	if (unlikely(SHARED(e->spill) || SHARED(e->err)) && stream_ill(e, a0, false, &ret))
		return ret;
	why = stream_waits(e, a0);
	if (why == STREAM_READY) {
		why = ESCA_PASS_SIZE;
		if (!fusing(ESCA_FUSE_HEADER))
			why = ESCA_PASS_OFF;
		else if (!off || !in || *off < 0)
			why = ESCA_PASS_EXOTIC;
		else if (a3 > 0 && (size_t)a3 <= ESCA_BODY_MAX)
			why = ESCA_PASS_FULL;
		if (why == ESCA_PASS_FULL && !SHARED(e->bulk)) {
			if (!(in->flags & FD_INODE))
				fd_probe(in, (int)a1);
			if (in->flags & FD_INODE) {
				ret = queue_file(e, (int)a0, in, (int)a1, off, (size_t)a3);
				if (likely(ret != NOT_QUEUED))
					return ret;
				if (unlikely(SHARED(e->spill) || SHARED(e->err)) &&
				    stream_ill(e, a0, false, &ret))
					return ret;
			}
		}
		return stream_real((enum esca_reason)why, e, a0, (size_t)a3, false, CALL);
	}
	lines_first(e);
	flush();
	if (flushed_ill(e, false, &ret))
		return ret;
	return told(e, pass_for((enum esca_reason)why, CALL));
}

/* Other calls that put bytes out: never before those that wait, or that the peer has not taken. */
HANDLER(run_out)
{
	long fd = nr == SYS_splice ? a2 : nr == SYS_tee ? a1 : a0;
	struct fd_entry *e, *in;
	long ret;

	if (aside())
		return raw_syscall(CALL);
	e = touch(fd);
	in = fd != a0 ? touch(a0) : NULL;
	lines_first(e);
	flush();
	if (ZOMBIE(e))
		return -EBADF;
	/* splice and sendmmsg have flags of their own for that. */
	if (e)
		e->open = true;
	if (in && unlikely(in->ahead) && nr == SYS_splice && a4 > 0)
		return ahead_splice(in, (int)fd, (size_t)a4);
	if (e && unlikely(SHARED(e->spill) || SHARED(e->err)) && stream_ill(e, fd, false, &ret))
		return ret;
	ret = pass(CALL);
	return e ? told(e, ret) : ret;
}

/* --- in --- */

/* Reading from it neither sleeps nor shows what waits. */
bool quiet(struct fd_entry *e, long fd)
{
	if (!e)
		return false;
	if (e->cls == FD_UNKNOWN)
		fd_probe(e, (int)fd);
	switch (e->cls) {
	case FD_STREAM:
	case FD_SOCKET:
	case FD_LISTEN:
		/* A local peer may be in this very thread: what was written is there to be read. */
		if ((e->flags & FD_UNIX) && self.q && SHARED(self.q->nunix))
			return false;
		return e->flags & FD_NONBLOCK;
	case FD_REG:
	case FD_LOG:
		return !queue_has_log(self.q, e);
	default:
		return false;
	}
}

/*
 * A read of @e failed with @ret: the server knows now that the
 * stream is broken, and no later write may seem to succeed.
 */
static void broken(struct fd_entry *e, long ret)
{
	if (e->cls != FD_STREAM || ret == -EAGAIN || ret == -EINTR || ret == -EFAULT ||
	    ret == -EINVAL || ret == -ENOMEM)
		return;
	flush_of(e);
	e->flags |= FD_NODEFER;
	late_error_drop(e);
}

/* How many bytes a read asks for; 0: not a plain read of a stream. */
static size_t wanted(long nr, long a1, long a2, long a3)
{
	const struct iovec *iov = (const struct iovec *)a1;
	size_t len = 0;
	long i;

	switch (nr) {
	case SYS_read:
		return (size_t)a2;
	case SYS_recvfrom:
		return a3 & ~(long)MSG_DONTWAIT ? 0 : (size_t)a2;
	case SYS_readv:
		for (i = 0; i < a2 && i < IOV_MAX; i++)
			len += iov[i].iov_len;
		return len;
	}
	return 0;
}

/*
 * A read of the stream @e came back short: it is drained. The next one in this turn is answered
 * with EAGAIN, once. What came since is reported by the next wait, if the registration is
 * level-triggered; by edges it may not be, as a read also stops short at urgent data, and what is
 * behind that makes no new edge (semantics: F9 has it for edges too).
 * Where the wait reported an end, the server may know that a read cannot find nothing.
 */
static void note_drained(struct fd_entry *e, long fd)
{
	uint32_t events;

	if (!fusing(ESCA_FUSE_EAGAIN) || stream_waits(e, fd) != STREAM_READY || !e->reg_ep ||
	    (e->flags & FD_UNIX) || SHARED(e->spill) || SHARED(e->ctl) == CTL_DEL)
		return;
	if (!turn_ready(e, &events)) {
		SHARE(fd_get(e->reg_ep - 1)->heed, true);
		return;
	}
	if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) || !(e->reg_events & EPOLLIN) ||
	    (e->reg_events & EPOLLET))
		return;
	e->drained = self.q->turn;
}

static bool is_drained(struct fd_entry *e)
{
	if (likely(!e->drained))
		return false;
	if (!self.q || e->drained != self.q->turn || SHARED(e->err))
		e->drained = 0;
	if (!e->drained)
		return false;
	e->drained = 0;
	return true;
}

ON_FD(run_read)
{
	size_t want = 0;
	long ret;

	if (e && (e->cls == FD_REG || e->cls == FD_LOG || e->cls == FD_UNKNOWN))
		logs_first(e, a0);
	flush_unless_quiet(e, a0);
	/* A server that asks for the answer without waiting for events drives the spill too. */
	if (e && unlikely(SHARED(e->spill)))
		spill_drain(e, (int)a0);
	if (e && unlikely(e->ahead)) {
		want = wanted(nr, a1, a2, a3);
		ret = ahead_read(e, (int)a0, nr, a1, a2, a3, a4, a5);
		if (ret != NOT_QUEUED)
			goto read;
	}
	if (e && e->cls == FD_STREAM) {
		want = wanted(nr, a1, a2, a3);
		if (unlikely(!want && fusing(ESCA_FUSE_AHEAD)))
			e->flags |= FD_NOAHEAD;
		if (is_drained(e) && want) {
			fused(ESCA_FUSE_EAGAIN, 1);
			count(C_ANSWERED, 1);
			return -EAGAIN;
		}
	}
	ret = pass(CALL);
read:
	if (e && ret > 0) {
		SHARE(e->bulk, false);
		if (want && (size_t)ret < want) {
			if (ret < ESCA_AHEAD_BYTES)
				e->flags |= FD_READS;
			note_drained(e, a0);
		}
	}
	if (e && unlikely(SHARED(e->err)) && ret <= 0 && e->cls == FD_STREAM)
		return -late_error_take(e);
	if (e && unlikely(ret < 0) && ret != -EAGAIN)
		broken(e, ret);
	if (nr == SYS_recvmsg && ret >= 0)
		rights_in((struct msghdr *)a1);
	return ret;
}

ON_FD(run_recvmmsg)
{
	struct mmsghdr *vec = (struct mmsghdr *)a1;
	long ret, i;

	flush();
	if (e)
		e->flags |= FD_NOAHEAD;
	if (e && unlikely(e->ahead) && a2 > 0) {
		ret = ahead_read(e, (int)a0, SYS_recvmsg, (long)&vec->msg_hdr, a3 & ~MSG_WAITFORONE,
				 0, 0, 0);
		if (ret != NOT_QUEUED) {
			vec->msg_len = (unsigned int)ret;
			return 1;
		}
	}
	ret = pass(CALL);
	for (i = 0; i < ret; i++)
		rights_in(&vec[i].msg_hdr);
	return ret;
}

HANDLER(run_newfstatat)
{
	struct stat *st = (struct stat *)a2;
	struct fd_entry *e = NULL;
	struct fd_entry file;
	bool by_fd;
	long ret;

	if (aside())
		return raw_syscall(CALL);
	by_fd = ((int)a3 & AT_EMPTY_PATH) && a1 && !*(const char *)a1;
	if (by_fd) {
		e = touch(a0);
		if (ZOMBIE(e))
			return -EBADF;
	}
	flush_old();
	ret = pass(CALL);
	if (ret)
		return ret;
	if (unlikely(queue_logs_wait())) {
		memset(&file, 0, sizeof(file));
		fd_learn_stat(&file, st);
		if ((file.flags & FD_INODE) && queue_flush_logs(&file, NULL))
			ret = pass(CALL);
	}
	if (e && !ret)
		fd_learn_stat(e, st);
	return ret;
}

ON_FD(run_lseek)
{
	logs_first(e, a0);
	return pass(CALL);
}

/* A file that is synced or cut is a journal, not a log: its writes are real from now on. */
ON_FD(run_sync)
{
	lines_first(e);
	flush();
	if (e)
		e->flags |= FD_NODEFER;
	if (e && SHARED(e->err))
		return -late_error_take(e);
	return pass(CALL);
}

ENTRY(write, run_write)
ENTRY(writev, run_writev)
ENTRY(sendto, run_sendto)
ENTRY(sendmsg, run_sendmsg)
ENTRY(sendfile, run_sendfile)
ENTRY(read, run_read)
ENTRY(readv, run_read)
ENTRY(recvfrom, run_read)
ENTRY(recvmsg, run_read)
ENTRY(pread64, run_read)
ENTRY(newfstatat, run_newfstatat)
