/* SPDX-License-Identifier: MIT */
/* tracer-mem.c - the memory and the descriptors of a traced process, seen from outside. */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cli/tracer-mem.h>
#include <esca-runtime/record.h>

#define IOV_LOOK 64 /* vectors of a writev that are summed */

int tracer_read(pid_t tid, uint64_t addr, void *buf, size_t size)
{
	struct iovec local = {buf, size};
	struct iovec remote = {(void *)(uintptr_t)addr, size};
	ssize_t n = process_vm_readv(tid, &local, 1, &remote, 1, 0);

	if (n < 0)
		return -errno;
	return (size_t)n == size ? 0 : -EFAULT;
}

int tracer_write(pid_t tid, uint64_t addr, const void *buf, size_t size)
{
	struct iovec local = {(void *)(uintptr_t)buf, size};
	struct iovec remote = {(void *)(uintptr_t)addr, size};
	ssize_t n = process_vm_writev(tid, &local, 1, &remote, 1, 0);

	if (n < 0)
		return -errno;
	return (size_t)n == size ? 0 : -EFAULT;
}

void tracer_read_string(pid_t tid, uint64_t addr, char *buf, size_t size)
{
	size_t used = 0;

	/* Page by page: the string may end right before an unmapped one. */
	while (used < size - 1) {
		size_t part = 4096 - (addr + used) % 4096;

		if (part > size - 1 - used)
			part = size - 1 - used;
		if (tracer_read(tid, addr + used, buf + used, part))
			break;
		if (memchr(buf + used, '\0', part))
			return;
		used += part;
	}
	buf[used] = '\0';
}

static uint64_t iov_total(pid_t tid, uint64_t addr, uint64_t count)
{
	struct iovec iov[IOV_LOOK];
	uint64_t total = 0;

	if (count > 1024)
		return 0;
	while (count) {
		uint64_t part = count < IOV_LOOK ? count : IOV_LOOK;

		if (tracer_read(tid, addr, iov, part * sizeof(*iov)))
			return total;
		for (uint64_t i = 0; i < part; i++)
			total += iov[i].iov_len;
		addr += part * sizeof(*iov);
		count -= part;
	}
	return total;
}

static bool reached_socket(int64_t ret)
{
	return ret >= 0 || ret == -EAGAIN || ret == -EPIPE || ret == -ECONNRESET;
}

uint64_t tracer_extra(pid_t tid, const struct trace_call *c)
{
	struct epoll_event ev;
	struct msghdr msg;
	int value;

	if (c->flags & TRACE_CALL_COMPAT)
		return 0;
	switch (c->nr) {
	case SYS_setsockopt:
		if (c->result || c->args[4] < sizeof(value) ||
		    tracer_read(tid, c->args[3], &value, sizeof(value)))
			return 0;
		return (uint32_t)value;
	case SYS_epoll_ctl:
		if (c->result || c->args[1] == EPOLL_CTL_DEL ||
		    tracer_read(tid, c->args[3], &ev, sizeof(ev)))
			return 0;
		return ev.events;
	case SYS_writev:
		return reached_socket(c->result) ? iov_total(tid, c->args[1], c->args[2]) : 0;
	case SYS_sendmsg:
		if (!reached_socket(c->result) || tracer_read(tid, c->args[1], &msg, sizeof(msg)))
			return 0;
		return iov_total(tid, (uintptr_t)msg.msg_iov, msg.msg_iovlen);
	}
	return 0;
}

static long plain_call(long nr, long a0, long a1, long a2, long a3, long a4, long a5)
{
	long ret = syscall(nr, a0, a1, a2, a3, a4, a5);

	return ret < 0 ? -errno : ret;
}

void tracer_fd(int pidfd, int fd, struct trace_call *c)
{
	struct record_fd r = {RECORD_FD_UNKNOWN, 0};
	int copy = fd < 0 || pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);

	if (copy >= 0) {
		r = record_look(plain_call, copy);
		close(copy);
	}
	c->fd_kind = r.kind;
	c->fd_flags = r.flags;
}
