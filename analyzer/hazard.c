/* SPDX-License-Identifier: MIT */
/* hazard.c - the rules of deferral, call by call. They mirror what mode run of libesca.so does:
 * what it would not do is not promised. */
#include "config.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include <analyzer/hazard.h>

static const struct {
	const char *key;
	const char *text;
} reasons[REASONS] = {
	[REASON_STREAM] = {"stream", "the kernel's send buffer takes it; answered ahead"},
	[REASON_SMALL_FILE] = {"small-file", "read, and leaves with its header"},
	[REASON_FILE] = {"file", "follows its header from the page cache"},
	[REASON_OPTION] = {"packet-option",
			   "only shapes packets; a pair around one write vanishes"},
	[REASON_LOG] = {"log", "append-only log: one write a turn"},
	[REASON_NEEDS_DATA] = {"needs-data", "the server needs the data"},
	[REASON_NEEDS_FD] = {"needs-fd", "the server needs the new descriptor"},
	[REASON_NEEDS_ANSWER] = {"needs-answer", "the server needs the answer"},
	[REASON_CLOSE_FILE] = {"close-file", "nothing waits for it"},
	[REASON_EPOLL] = {"epoll", "decides what the wait reports"},
	[REASON_PURE] = {"pure", "no order with other calls"},
	[REASON_CLOSE_SOCKET] = {"close-socket", "a close must follow its data"},
	[REASON_SHUTDOWN] = {"shutdown", "must follow its data"},
	[REASON_BLOCKING] = {"blocking", "blocking descriptor: the call may have to sleep"},
	[REASON_KIND] = {"kind", "neither a stream nor an append-only log"},
	[REASON_NO_EPOLL] = {"no-epoll", "no epoll watches this connection"},
	[REASON_TOO_BIG] = {"too-big", "too big to copy; joins the packet of what waits"},
	[REASON_BIG_FILE] = {"big-file", "too big to copy; joins the packet of its header"},
	[REASON_FILE_POSITION] = {"file-position", "moves the position of its file"},
	[REASON_FLAGS] = {"flags", "flags or control data that must be seen at once"},
	[REASON_FILE_WRITE] = {"file-write",
			       "not append-only, or synchronous: others may rely on it"},
	[REASON_STDERR] = {"stderr", "standard error must be seen at once"},
	[REASON_OTHER_OPTION] = {"option", "this option must be in force at once"},
	[REASON_STATE] = {"state", "changes what other processes or threads see"},
	[REASON_UNKNOWN] = {"unknown", "not known to esca"},
	[REASON_WAIT] = {"wait", "the turn ends here"},
};

const char *reason_key(enum reason r)
{
	return r < REASONS ? reasons[r].key : "";
}

const char *reason_text(enum reason r)
{
	return r < REASONS ? reasons[r].text : "";
}

const char *verdict_name(enum verdict v)
{
	static const char *const names[VERDICTS] = {"defer", "result", "pass", "barrier", "wait"};

	return v < VERDICTS ? names[v] : "";
}

/* Calls that have rules of their own. */
enum which {
	OTHER,
	WRITE,
	WRITEV,
	SENDTO,
	SENDMSG,
	SENDFILE,
	SETSOCKOPT,
	SHUTDOWN,
	CLOSE,
	EPOLL_CTL,
};

static enum which which(const struct call_row *row)
{
	static const char *const names[] = {
		[WRITE] = "write",	 [WRITEV] = "writev",	  [SENDTO] = "sendto",
		[SENDMSG] = "sendmsg",	 [SENDFILE] = "sendfile", [SETSOCKOPT] = "setsockopt",
		[SHUTDOWN] = "shutdown", [CLOSE] = "close",	  [EPOLL_CTL] = "epoll_ctl",
	};
	static const struct call_row *found[sizeof(names) / sizeof(names[0])];

	if (row->cls != CALL_DEFER)
		return OTHER;
	for (unsigned int i = WRITE; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!found[i])
			found[i] = call_row_by_name(names[i]);
		if (found[i] == row)
			return (enum which)i;
	}
	return OTHER;
}

bool fd_is_stream(const struct trace_call *c)
{
	return c->fd_kind == TRACE_FD_TCP || c->fd_kind == TRACE_FD_UNIX;
}

uint64_t call_bytes(const struct trace_call *c, const struct call_row *row)
{
	switch (which(row)) {
	case WRITE:
	case SENDTO:
		return c->args[2];
	case WRITEV:
	case SENDMSG:
		return c->extra ? c->extra : (c->result > 0 ? (uint64_t)c->result : 0);
	case SENDFILE:
		return c->args[3];
	default:
		return 0;
	}
}

bool call_is_request(const struct trace_call *c, const struct call_row *row)
{
	return row->cls == CALL_RESULT && row->fd_arg == 0 && fd_is_stream(c) && c->result > 0 &&
	       (row->buf == CALL_OUT || row->buf == CALL_IOV_OUT || row->buf == CALL_MSG_OUT) &&
	       row->ret == CALL_RET_UNKNOWN;
}

static struct judgement judge(enum verdict v, enum reason r)
{
	return (struct judgement){.verdict = v, .reason = r};
}

static struct judgement judge_log(const struct trace_call *c, const struct call_row *row,
				  const struct limits *lim)
{
	if (c->args[0] == 2)
		return judge(VERDICT_BARRIER, REASON_STDERR);
	if (!(c->fd_flags & TRACE_FD_APPEND) || c->fd_flags & TRACE_FD_SYNC)
		return judge(VERDICT_BARRIER, REASON_FILE_WRITE);
	if (call_bytes(c, row) > lim->log_max)
		return judge(VERDICT_BARRIER, REASON_TOO_BIG);
	return judge(VERDICT_DEFER, REASON_LOG);
}

/* What must hold of the stream that any kind of write goes to. */
static bool stream_ok(const struct trace_call *c, const struct fd_state *fd, struct judgement *why)
{
	if (!fd_is_stream(c))
		*why = judge(VERDICT_BARRIER, REASON_KIND);
	else if (!(c->fd_flags & TRACE_FD_NONBLOCK))
		*why = judge(VERDICT_BARRIER, REASON_BLOCKING);
	else if (!fd->registered)
		*why = judge(VERDICT_BARRIER, REASON_NO_EPOLL);
	else
		return true;
	return false;
}

static struct judgement judge_write(const struct trace_call *c, const struct call_row *row,
				    enum which w, const struct fd_state *fd,
				    const struct limits *lim)
{
	const uint64_t plain = MSG_NOSIGNAL | MSG_DONTWAIT | MSG_MORE;
	struct judgement j;

	if (c->fd_kind == TRACE_FD_REG && (w == WRITE || w == WRITEV))
		return judge_log(c, row, lim);
	if (!stream_ok(c, fd, &j))
		return j;
	if ((w == SENDTO && (c->args[3] & ~plain || c->args[4])) ||
	    (w == SENDMSG && c->args[2] & ~plain))
		return judge(VERDICT_BARRIER, REASON_FLAGS);
	if (call_bytes(c, row) > lim->copy_max)
		return judge(VERDICT_BARRIER, REASON_TOO_BIG);
	return judge(VERDICT_DEFER, REASON_STREAM);
}

static struct judgement judge_sendfile(const struct trace_call *c, const struct fd_state *fd,
				       const struct limits *lim)
{
	struct judgement j;

	if (!stream_ok(c, fd, &j))
		return j;
	if (!c->args[2])
		return judge(VERDICT_BARRIER, REASON_FILE_POSITION);
	if (c->args[3] > lim->body_max)
		return judge(VERDICT_BARRIER, REASON_BIG_FILE);
	return judge(VERDICT_DEFER, c->args[3] > lim->read_max ? REASON_FILE : REASON_SMALL_FILE);
}

/* Does the end of the stream follow its data when that leaves, and nothing leaves earlier for it?
 */
static bool follows(const struct trace_call *c, const struct fd_state *fd)
{
	struct judgement why;

	return c->fd_kind == TRACE_FD_TCP && stream_ok(c, fd, &why);
}

static struct judgement judge_defer(const struct trace_call *c, const struct call_row *row,
				    const struct fd_state *fd, const struct limits *lim)
{
	enum which w = which(row);

	switch (w) {
	case WRITE:
	case WRITEV:
	case SENDTO:
	case SENDMSG:
		return judge_write(c, row, w, fd, lim);
	case SENDFILE:
		return judge_sendfile(c, fd, lim);
	case SETSOCKOPT:
		if (c->fd_kind == TRACE_FD_TCP && c->args[1] == IPPROTO_TCP &&
		    (c->args[2] == TCP_CORK || c->args[2] == TCP_NODELAY) && c->result == 0)
			return judge(VERDICT_DEFER, REASON_OPTION);
		return judge(VERDICT_BARRIER, REASON_OTHER_OPTION);
	case SHUTDOWN:
		if (c->args[1] == SHUT_WR && follows(c, fd))
			return judge(VERDICT_PASS, REASON_SHUTDOWN);
		return judge(VERDICT_BARRIER, REASON_SHUTDOWN);
	case CLOSE:
		if (c->fd_kind == TRACE_FD_REG || c->fd_kind == TRACE_FD_DIR)
			return judge(VERDICT_PASS, REASON_CLOSE_FILE);
		if (follows(c, fd))
			return judge(VERDICT_PASS, REASON_CLOSE_SOCKET);
		return judge(VERDICT_BARRIER, REASON_CLOSE_SOCKET);
	case EPOLL_CTL:
		return judge(VERDICT_PASS, REASON_EPOLL);
	case OTHER:
		break;
	}
	return judge(VERDICT_BARRIER, REASON_STATE);
}

struct judgement hazard_judge(const struct trace_call *c, const struct call_row *row,
			      const struct fd_state *fd, const struct limits *lim)
{
	switch (row->cls) {
	case CALL_DEFER:
		return judge_defer(c, row, fd, lim);
	case CALL_WAIT:
		return judge(VERDICT_WAIT, REASON_WAIT);
	case CALL_PURE:
		return judge(VERDICT_PASS, REASON_PURE);
	case CALL_RESULT:
		if (row->ret == CALL_RET_FD)
			return judge(VERDICT_RESULT, REASON_NEEDS_FD);
		if (row->ret == CALL_RET_UNKNOWN && row->buf != CALL_NOBUF && row->buf != CALL_PATH)
			return judge(VERDICT_RESULT, REASON_NEEDS_DATA);
		return judge(VERDICT_RESULT, REASON_NEEDS_ANSWER);
	case CALL_BARRIER:
		break;
	}
	return judge(VERDICT_BARRIER, row->name ? REASON_STATE : REASON_UNKNOWN);
}
