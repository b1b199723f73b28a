/* SPDX-License-Identifier: MIT */
/*
 * wrap.c - the interposed libc symbols: each hands its call, in the kernel's shape, to the handler
 * of the mode in force.
 *
 * A wrapper makes the system call that the libc function of Debian 12 (glibc 2.36) makes, no other
 * one.
 */
#undef _FORTIFY_SOURCE
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <esca-runtime/raw-syscall.h>
#include <esca-runtime/runtime.h>

#define API __attribute__((visibility("default")))

#define L(x)			      ((long)(x))
#define CALL6(name, a, b, c, d, e, f) esca_entries[ROW_##name](L(a), L(b), L(c), L(d), L(e), L(f))
#define CALL0(name)		      CALL6(name, 0, 0, 0, 0, 0, 0)
#define CALL1(name, a)		      CALL6(name, a, 0, 0, 0, 0, 0)
#define CALL2(name, a, b)	      CALL6(name, a, b, 0, 0, 0, 0)
#define CALL3(name, a, b, c)	      CALL6(name, a, b, c, 0, 0, 0)
#define CALL4(name, a, b, c, d)	      CALL6(name, a, b, c, d, 0, 0)
#define CALL5(name, a, b, c, d, e)    CALL6(name, a, b, c, d, e, 0)

/* --- files and streams --- */

API ssize_t read(int fd, void *buf, size_t n)
{
	return CALL3(read, fd, buf, n);
}

API ssize_t readv(int fd, const struct iovec *iov, int cnt)
{
	return CALL3(readv, fd, iov, cnt);
}

API ssize_t pread64(int fd, void *buf, size_t n, off64_t off)
{
	return CALL4(pread64, fd, buf, n, off);
}

API ssize_t pread(int fd, void *buf, size_t n, off_t off)
{
	return CALL4(pread64, fd, buf, n, off);
}

API ssize_t preadv(int fd, const struct iovec *iov, int cnt, off_t off)
{
	return CALL4(preadv, fd, iov, cnt, off);
}

API ssize_t preadv64(int fd, const struct iovec *iov, int cnt, off64_t off)
{
	return CALL4(preadv, fd, iov, cnt, off);
}

API ssize_t write(int fd, const void *buf, size_t n)
{
	return CALL3(write, fd, buf, n);
}

API ssize_t writev(int fd, const struct iovec *iov, int cnt)
{
	return CALL3(writev, fd, iov, cnt);
}

API ssize_t pwrite64(int fd, const void *buf, size_t n, off64_t off)
{
	return CALL4(pwrite64, fd, buf, n, off);
}

API ssize_t pwrite(int fd, const void *buf, size_t n, off_t off)
{
	return CALL4(pwrite64, fd, buf, n, off);
}

API ssize_t pwritev(int fd, const struct iovec *iov, int cnt, off_t off)
{
	return CALL4(pwritev, fd, iov, cnt, off);
}

API ssize_t pwritev64(int fd, const struct iovec *iov, int cnt, off64_t off)
{
	return CALL4(pwritev, fd, iov, cnt, off);
}

API ssize_t preadv2(int fd, const struct iovec *iov, int cnt, off_t off, int flags)
{
	return CALL6(preadv2, fd, iov, cnt, off, 0, flags);
}

API ssize_t preadv64v2(int fd, const struct iovec *iov, int cnt, off64_t off, int flags)
{
	return CALL6(preadv2, fd, iov, cnt, off, 0, flags);
}

API ssize_t pwritev2(int fd, const struct iovec *iov, int cnt, off_t off, int flags)
{
	return CALL6(pwritev2, fd, iov, cnt, off, 0, flags);
}

API ssize_t pwritev64v2(int fd, const struct iovec *iov, int cnt, off64_t off, int flags)
{
	return CALL6(pwritev2, fd, iov, cnt, off, 0, flags);
}

API ssize_t sendfile(int out, int in, off_t *off, size_t n)
{
	return CALL4(sendfile, out, in, off, n);
}

API ssize_t sendfile64(int out, int in, off64_t *off, size_t n)
{
	return CALL4(sendfile, out, in, off, n);
}

API ssize_t splice(int in, off64_t *off_in, int out, off64_t *off_out, size_t n, unsigned int flags)
{
	return CALL6(splice, in, off_in, out, off_out, n, flags);
}

API ssize_t tee(int in, int out, size_t n, unsigned int flags)
{
	return CALL4(tee, in, out, n, flags);
}

API ssize_t vmsplice(int fd, const struct iovec *iov, size_t n, unsigned int flags)
{
	return CALL4(vmsplice, fd, iov, n, flags);
}

API int close(int fd)
{
	return CALL1(close, fd);
}

API int close_range(unsigned int first, unsigned int last, int flags)
{
	return CALL3(close_range, first, last, flags);
}

API void closefrom(int first)
{
	if (first < 0)
		first = 0;
	esca_handlers[ROW_close_range](SYS_close_range, first, ~0U, 0, 0, 0, 0);
}

static int needs_mode(int flags)
{
	return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
}

#define OPEN_MODE(flags)                                                                           \
	({                                                                                         \
		mode_t mode_ = 0;                                                                  \
		if (needs_mode(flags)) {                                                           \
			va_list ap_;                                                               \
			va_start(ap_, flags);                                                      \
			mode_ = va_arg(ap_, mode_t);                                               \
			va_end(ap_);                                                               \
		}                                                                                  \
		mode_;                                                                             \
	})

API int open(const char *path, int flags, ...)
{
	return CALL4(openat, AT_FDCWD, path, flags, OPEN_MODE(flags));
}

API int open64(const char *path, int flags, ...)
{
	return CALL4(openat, AT_FDCWD, path, flags, OPEN_MODE(flags));
}

API int openat(int dir, const char *path, int flags, ...)
{
	return CALL4(openat, dir, path, flags, OPEN_MODE(flags));
}

API int openat64(int dir, const char *path, int flags, ...)
{
	return CALL4(openat, dir, path, flags, OPEN_MODE(flags));
}

API int creat(const char *path, mode_t mode)
{
	return CALL4(openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

API int creat64(const char *path, mode_t mode)
{
	return CALL4(openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

/* On x86-64 struct stat, struct stat64 and the kernel's are one layout. */
API int fstatat(int dir, const char *path, struct stat *st, int flags)
{
	return CALL4(newfstatat, dir, path, st, flags);
}

API int fstatat64(int dir, const char *path, struct stat64 *st, int flags)
{
	return CALL4(newfstatat, dir, path, st, flags);
}

API int fstat(int fd, struct stat *st)
{
	if (fd < 0) {
		errno = EBADF;
		return -1;
	}
	return CALL4(newfstatat, fd, "", st, AT_EMPTY_PATH);
}

API int fstat64(int fd, struct stat64 *st)
{
	return fstat(fd, (struct stat *)st);
}

API int stat(const char *path, struct stat *st)
{
	return CALL4(newfstatat, AT_FDCWD, path, st, 0);
}

API int stat64(const char *path, struct stat64 *st)
{
	return CALL4(newfstatat, AT_FDCWD, path, st, 0);
}

API int lstat(const char *path, struct stat *st)
{
	return CALL4(newfstatat, AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW);
}

API int lstat64(const char *path, struct stat64 *st)
{
	return CALL4(newfstatat, AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW);
}

API off_t lseek(int fd, off_t off, int whence)
{
	return CALL3(lseek, fd, off, whence);
}

API off64_t lseek64(int fd, off64_t off, int whence)
{
	return CALL3(lseek, fd, off, whence);
}

API int ftruncate(int fd, off_t len)
{
	return CALL2(ftruncate, fd, len);
}

API int ftruncate64(int fd, off64_t len)
{
	return CALL2(ftruncate, fd, len);
}

API int fsync(int fd)
{
	return CALL1(fsync, fd);
}

API int fdatasync(int fd)
{
	return CALL1(fdatasync, fd);
}

#define VARARG(after)                                                                              \
	({                                                                                         \
		va_list ap_;                                                                       \
		long arg_;                                                                         \
		va_start(ap_, after);                                                              \
		arg_ = va_arg(ap_, long);                                                          \
		va_end(ap_);                                                                       \
		arg_;                                                                              \
	})

/* glibc answers F_GETOWN through F_GETOWN_EX, so that a process group is not taken for an error. */
static long own_of(int fd)
{
	struct f_owner_ex ex;
	long ret = esca_handlers[ROW_fcntl](SYS_fcntl, fd, F_GETOWN_EX, L(&ex), 0, 0, 0);

	if (raw_is_error(ret))
		return esca_result(ret);
	return ex.type == F_OWNER_PGRP ? -ex.pid : ex.pid;
}

API int fcntl(int fd, int cmd, ...)
{
	if (cmd == F_GETOWN)
		return own_of(fd);
	return CALL3(fcntl, fd, cmd, VARARG(cmd));
}

API int fcntl64(int fd, int cmd, ...)
{
	if (cmd == F_GETOWN)
		return own_of(fd);
	return CALL3(fcntl, fd, cmd, VARARG(cmd));
}

API int ioctl(int fd, unsigned long req, ...)
{
	return CALL3(ioctl, fd, req, VARARG(req));
}

API int dup(int fd)
{
	return CALL1(dup, fd);
}

API int dup2(int fd, int to)
{
	return CALL2(dup2, fd, to);
}

API int dup3(int fd, int to, int flags)
{
	return CALL3(dup3, fd, to, flags);
}

API int pipe(int fds[2])
{
	return CALL1(pipe, fds);
}

API int pipe2(int fds[2], int flags)
{
	return CALL2(pipe2, fds, flags);
}

API int eventfd(unsigned int value, int flags)
{
	return CALL2(eventfd2, value, flags);
}

API int eventfd_read(int fd, eventfd_t *value)
{
	return CALL3(read, fd, value, sizeof(*value)) == sizeof(*value) ? 0 : -1;
}

API int eventfd_write(int fd, eventfd_t value)
{
	return CALL3(write, fd, &value, sizeof(value)) == sizeof(value) ? 0 : -1;
}

API int timerfd_create(clockid_t clock, int flags)
{
	return CALL2(timerfd_create, clock, flags);
}

/* --- sockets --- */

API int socket(int domain, int type, int protocol)
{
	return CALL3(socket, domain, type, protocol);
}

API int socketpair(int domain, int type, int protocol, int fds[2])
{
	return CALL4(socketpair, domain, type, protocol, fds);
}

API int connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	return CALL3(connect, fd, addr, len);
}

API int bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	return CALL3(bind, fd, addr, len);
}

API int listen(int fd, int backlog)
{
	return CALL2(listen, fd, backlog);
}

API int accept(int fd, struct sockaddr *addr, socklen_t *len)
{
	return CALL3(accept, fd, addr, len);
}

API int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	return CALL4(accept4, fd, addr, len, flags);
}

API int shutdown(int fd, int how)
{
	return CALL2(shutdown, fd, how);
}

API int setsockopt(int fd, int level, int name, const void *val, socklen_t len)
{
	return CALL5(setsockopt, fd, level, name, val, len);
}

API int getsockopt(int fd, int level, int name, void *val, socklen_t *len)
{
	return CALL5(getsockopt, fd, level, name, val, len);
}

API int getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
	return CALL3(getsockname, fd, addr, len);
}

API int getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
	return CALL3(getpeername, fd, addr, len);
}

API ssize_t sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr,
		   socklen_t len)
{
	return CALL6(sendto, fd, buf, n, flags, addr, len);
}

API ssize_t send(int fd, const void *buf, size_t n, int flags)
{
	return CALL6(sendto, fd, buf, n, flags, NULL, 0);
}

API ssize_t recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *addr, socklen_t *len)
{
	return CALL6(recvfrom, fd, buf, n, flags, addr, len);
}

API ssize_t recv(int fd, void *buf, size_t n, int flags)
{
	return CALL6(recvfrom, fd, buf, n, flags, NULL, NULL);
}

API ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	return CALL3(sendmsg, fd, msg, flags);
}

API ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	return CALL3(recvmsg, fd, msg, flags);
}

API int sendmmsg(int fd, struct mmsghdr *vec, unsigned int n, int flags)
{
	return CALL4(sendmmsg, fd, vec, n, flags);
}

API int recvmmsg(int fd, struct mmsghdr *vec, unsigned int n, int flags, struct timespec *timeout)
{
	return CALL5(recvmmsg, fd, vec, n, flags, timeout);
}

/* --- waits --- */

API int epoll_create(int size)
{
	return CALL1(epoll_create, size);
}

API int epoll_create1(int flags)
{
	return CALL1(epoll_create1, flags);
}

API int epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	return CALL4(epoll_ctl, epfd, op, fd, ev);
}

API int epoll_wait(int epfd, struct epoll_event *evs, int max, int timeout)
{
	return CALL4(epoll_wait, epfd, evs, max, timeout);
}

API int epoll_pwait(int epfd, struct epoll_event *evs, int max, int timeout, const sigset_t *mask)
{
	return CALL6(epoll_pwait, epfd, evs, max, timeout, mask, _NSIG / 8);
}

API int epoll_pwait2(int epfd, struct epoll_event *evs, int max, const struct timespec *timeout,
		     const sigset_t *mask)
{
	return CALL6(epoll_pwait2, epfd, evs, max, timeout, mask, _NSIG / 8);
}

API int poll(struct pollfd *fds, nfds_t n, int timeout)
{
	return CALL3(poll, fds, n, timeout);
}

/* The kernel writes the time left; the caller's timespec is const. */
API int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	struct timespec ts;

	if (timeout)
		ts = *timeout;
	return CALL5(ppoll, fds, n, timeout ? &ts : NULL, mask, _NSIG / 8);
}

API int select(int n, fd_set *in, fd_set *out, fd_set *ex, struct timeval *timeout)
{
	return CALL5(select, n, in, out, ex, timeout);
}

API int pselect(int n, fd_set *in, fd_set *out, fd_set *ex, const struct timespec *timeout,
		const sigset_t *mask)
{
	struct {
		const sigset_t *mask;
		size_t size;
	} data = {mask, _NSIG / 8};
	struct timespec ts;

	if (timeout)
		ts = *timeout;
	return CALL6(pselect6, n, in, out, ex, timeout ? &ts : NULL, &data);
}

/* --- what _FORTIFY_SOURCE turns the calls above into; the checks stay --- */

extern void __chk_fail(void) __attribute__((noreturn));
API ssize_t __read_chk(int fd, void *buf, size_t n, size_t size);
API ssize_t __pread_chk(int fd, void *buf, size_t n, off_t off, size_t size);
API ssize_t __pread64_chk(int fd, void *buf, size_t n, off64_t off, size_t size);
API ssize_t __recv_chk(int fd, void *buf, size_t n, size_t size, int flags);
API ssize_t __recvfrom_chk(int fd, void *buf, size_t n, size_t size, int flags,
			   struct sockaddr *addr, socklen_t *len);
API int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size);
API int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
		    const sigset_t *mask, size_t size);

API ssize_t __read_chk(int fd, void *buf, size_t n, size_t size)
{
	if (n > size)
		__chk_fail();
	return read(fd, buf, n);
}

API ssize_t __pread_chk(int fd, void *buf, size_t n, off_t off, size_t size)
{
	if (n > size)
		__chk_fail();
	return pread(fd, buf, n, off);
}

API ssize_t __pread64_chk(int fd, void *buf, size_t n, off64_t off, size_t size)
{
	if (n > size)
		__chk_fail();
	return pread64(fd, buf, n, off);
}

API ssize_t __recv_chk(int fd, void *buf, size_t n, size_t size, int flags)
{
	if (n > size)
		__chk_fail();
	return recv(fd, buf, n, flags);
}

API ssize_t __recvfrom_chk(int fd, void *buf, size_t n, size_t size, int flags,
			   struct sockaddr *addr, socklen_t *len)
{
	if (n > size)
		__chk_fail();
	return recvfrom(fd, buf, n, flags, addr, len);
}

API int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size)
{
	if (size / sizeof(*fds) < n)
		__chk_fail();
	return poll(fds, n, timeout);
}

API int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
		    const sigset_t *mask, size_t size)
{
	if (size / sizeof(*fds) < n)
		__chk_fail();
	return ppoll(fds, n, timeout, mask);
}
