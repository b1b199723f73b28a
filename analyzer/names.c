/* SPDX-License-Identifier: MIT */
/* names.c - the names of the numbers in a recording. */
#include "config.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <analyzer/names.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *const kinds[TRACE_FD_KINDS] = {
	[TRACE_FD_NONE] = "none",   [TRACE_FD_UNKNOWN] = "unknown", [TRACE_FD_TCP] = "tcp",
	[TRACE_FD_UNIX] = "unix",   [TRACE_FD_LISTEN] = "listen",   [TRACE_FD_DGRAM] = "dgram",
	[TRACE_FD_REG] = "reg",	    [TRACE_FD_DIR] = "dir",	    [TRACE_FD_PIPE] = "pipe",
	[TRACE_FD_EPOLL] = "epoll", [TRACE_FD_EVENT] = "event",	    [TRACE_FD_OTHER] = "other",
};

static const char *const lanes[] = {"ring", "net", "stop"};
static const char *const marks[] = {NULL, "ready", "begin", "end"};

struct named {
	uint64_t value;
	const char *name;
};

#define NAME(x)                                                                                    \
	{                                                                                          \
		x, #x                                                                              \
	}

static const struct named levels[] = {
	NAME(SOL_SOCKET),  NAME(IPPROTO_IP),   NAME(IPPROTO_TCP),
	NAME(IPPROTO_UDP), NAME(IPPROTO_IPV6),
};

static const struct named socket_options[] = {
	NAME(SO_REUSEADDR),  NAME(SO_TYPE),	    NAME(SO_ERROR),	   NAME(SO_BROADCAST),
	NAME(SO_SNDBUF),     NAME(SO_RCVBUF),	    NAME(SO_KEEPALIVE),	   NAME(SO_LINGER),
	NAME(SO_REUSEPORT),  NAME(SO_PEERCRED),	    NAME(SO_RCVTIMEO),	   NAME(SO_SNDTIMEO),
	NAME(SO_ACCEPTCONN), NAME(SO_BINDTODEVICE), NAME(SO_INCOMING_CPU), NAME(SO_ZEROCOPY),
};

static const struct named tcp_options[] = {
	NAME(TCP_NODELAY),	NAME(TCP_MAXSEG),   NAME(TCP_CORK),	NAME(TCP_KEEPIDLE),
	NAME(TCP_KEEPINTVL),	NAME(TCP_KEEPCNT),  NAME(TCP_SYNCNT),	NAME(TCP_LINGER2),
	NAME(TCP_DEFER_ACCEPT), NAME(TCP_INFO),	    NAME(TCP_QUICKACK), NAME(TCP_CONGESTION),
	NAME(TCP_USER_TIMEOUT), NAME(TCP_FASTOPEN), NAME(TCP_ULP),	NAME(TCP_NOTSENT_LOWAT),
};

static const struct named epoll_ops[] = {
	NAME(EPOLL_CTL_ADD),
	NAME(EPOLL_CTL_DEL),
	NAME(EPOLL_CTL_MOD),
};

static const struct named epoll_events[] = {
	NAME(EPOLLIN),	    NAME(EPOLLPRI),   NAME(EPOLLOUT),	    NAME(EPOLLERR),
	NAME(EPOLLHUP),	    NAME(EPOLLRDHUP), NAME(EPOLLEXCLUSIVE), NAME(EPOLLWAKEUP),
	NAME(EPOLLONESHOT), NAME(EPOLLET),
};

static const char *find(const struct named *table, size_t n, uint64_t value)
{
	for (size_t i = 0; i < n; i++)
		if (table[i].value == value)
			return table[i].name;
	return NULL;
}

const char *name_fd_kind(unsigned int kind)
{
	return kind < COUNT(kinds) ? kinds[kind] : NULL;
}

const char *name_lane(unsigned int lane)
{
	return lane < COUNT(lanes) ? lanes[lane] : NULL;
}

const char *name_mark(unsigned int kind)
{
	return kind < COUNT(marks) ? marks[kind] : NULL;
}

const char *name_error(int64_t result)
{
	return result < 0 && result > -4096 ? strerrorname_np((int)-result) : NULL;
}

const char *name_sol(uint64_t level)
{
	return find(levels, COUNT(levels), level);
}

const char *name_sockopt(uint64_t level, uint64_t name)
{
	if (level == SOL_SOCKET)
		return find(socket_options, COUNT(socket_options), name);
	if (level == IPPROTO_TCP)
		return find(tcp_options, COUNT(tcp_options), name);
	return NULL;
}

const char *name_epoll_op(uint64_t op)
{
	return find(epoll_ops, COUNT(epoll_ops), op);
}

const char *name_epoll_events(uint32_t events, char *buf, size_t size)
{
	size_t used = 0;

	snprintf(buf, size, "0");
	for (size_t i = 0; i < COUNT(epoll_events); i++) {
		uint32_t bit = (uint32_t)epoll_events[i].value;

		if (!(events & bit) || used >= size)
			continue;
		events &= ~bit;
		used += (size_t)snprintf(buf + used, size - used, "%s%s", used ? "|" : "",
					 epoll_events[i].name);
	}
	if (events && used < size)
		snprintf(buf + used, size - used, "%s%#x", used ? "|" : "", events);
	return buf;
}
