/* SPDX-License-Identifier: MIT */
/*
 * reach-recording.c - which calls of a server do not go through libc, by a recording of it. There,
 * the lane of a call tells: what libesca.so saw came by the ring, the rest was caught by the net.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <analyzer/syscall.h>
#include <analyzer/timeline.h>

#include <cli/cmd.h>
#include <cli/msg.h>
#include <cli/reach.h>
#include <cli/recording.h>

/* Descriptors and threads that are kept account of: by number, the processes mixed by a hash. What
 * falls into one slot by chance makes one more check of a pair, not a verdict. */
#define SLOTS 65536u
#define KINDS 1024u

/* The life of a descriptor: which calls were made on it, by either lane. */
struct life {
	uint32_t pid;
	int32_t fd;
	bool deferrable; /* the runtime would have had calls on it wait */
	bool unseen;	 /* and these it would not have seen: nr, stack of the first one */
	uint16_t nr;
	uint32_t stack;
};

/* Does the thread wait where the runtime sees it, and where not? */
struct waiter {
	uint32_t tid;
	bool seen, unseen;
	uint16_t nr;
	uint32_t stack;
};

struct survey {
	struct life *lives;
	struct waiter *waiters;
	uint64_t seen, unseen, by_nr[KINDS];
	uint32_t site[KINDS]; /* the stack of one such unseen call */
	bool loaded;	      /* the load has begun: what was counted before it is forgotten */
	bool over;
	bool ring;
	bool mine; /* the program is in it */
	/* the worst that was found */
	uint16_t nr;
	uint32_t stack;
	bool half_seen, sleeps;
};

static struct life *life_of(struct survey *s, uint32_t pid, uint64_t fd)
{
	uint32_t i = (pid * 2654435761u + (uint32_t)fd * 40503u) % SLOTS;
	struct life *l = &s->lives[i];

	if (l->pid != pid || l->fd != (int32_t)fd) {
		memset(l, 0, sizeof(*l));
		l->pid = pid;
		l->fd = (int32_t)fd;
	}
	return l;
}

/*
 * By the net, and not by syscall(2) of libc: that one the runtime takes over in mode run, while
 * libesca.so lets the net record it.
 */
static bool is_unseen(const struct timeline *t, const struct trace_call *c)
{
	const char *function, *module, *base;

	if (c->lane != TRACE_LANE_NET)
		return false;
	timeline_innermost(t, c->stack, &function, &module);
	base = strrchr(module, '/');
	return strcmp(function, "syscall") || !base || strncmp(base, "/libc.so", 8);
}

/* The kinds of descriptor that calls wait on; a log is one only beyond standard error. */
static bool may_wait_on(const struct trace_call *c, uint64_t fd)
{
	if (c->fd_kind == TRACE_FD_TCP || c->fd_kind == TRACE_FD_UNIX)
		return c->fd_flags & TRACE_FD_NONBLOCK;
	return c->fd_kind == TRACE_FD_REG && (c->fd_flags & TRACE_FD_APPEND) && fd > 2;
}

static void on_descriptor(struct survey *s, const struct timeline *t, const struct trace_call *c,
			  const struct call_row *row)
{
	struct life *l = life_of(s, timeline_pid(t, c->tid), c->args[row->fd_arg]);

	if (row->cls == CALL_DEFER && c->lane == TRACE_LANE_RING && row->nr != SYS_close &&
	    may_wait_on(c, c->args[row->fd_arg]))
		l->deferrable = true;
	if ((row->cls == CALL_DEFER || row->cls == CALL_RESULT) && is_unseen(t, c)) {
		l->unseen = true;
		l->nr = c->nr;
		l->stack = c->stack;
	}
	if (l->deferrable && l->unseen && !s->half_seen) {
		s->half_seen = true;
		s->nr = l->nr;
		s->stack = l->stack;
	}
	if (row->nr == SYS_close)
		memset(l, 0, sizeof(*l));
}

static void on_wait(struct survey *s, const struct timeline *t, const struct trace_call *c)
{
	struct waiter *w = &s->waiters[c->tid % SLOTS];

	if (w->tid != c->tid) {
		memset(w, 0, sizeof(*w));
		w->tid = c->tid;
	}
	if (!is_unseen(t, c)) {
		w->seen = true;
	} else if (c->nr == SYS_epoll_wait || c->nr == SYS_epoll_pwait ||
		   c->nr == SYS_epoll_pwait2 || c->nr == SYS_io_uring_enter) {
		/* libc makes none of these by itself; others it does, and the runtime knows where
		 */
		w->unseen = true;
		w->nr = c->nr;
		w->stack = c->stack;
	}
	if (w->seen && w->unseen && !s->half_seen && !s->sleeps) {
		s->sleeps = true;
		s->nr = w->nr;
		s->stack = w->stack;
	}
}

static void on_call(struct survey *s, const struct timeline *t, const struct trace_call *c)
{
	const struct call_row *row = call_row(c->nr);

	if (c->lane == TRACE_LANE_STOP || (c->flags & TRACE_CALL_COMPAT))
		return;
	s->ring |= c->lane == TRACE_LANE_RING;
	if (row->name && row->fd_arg >= 0 && row->cls != CALL_WAIT)
		on_descriptor(s, t, c, row);
	if (row->name && row->cls == CALL_WAIT)
		on_wait(s, t, c);
	if (row->name && row->ret == CALL_RET_FD && c->result >= 0)
		memset(life_of(s, timeline_pid(t, c->tid), (uint64_t)c->result), 0,
		       sizeof(struct life));
	if (s->over)
		return;
	if (!is_unseen(t, c)) {
		s->seen++;
		return;
	}
	s->unseen++;
	if (c->nr < KINDS && !s->by_nr[c->nr]++)
		s->site[c->nr] = c->stack;
}

static void on_mark(struct survey *s, const struct trace_mark *m)
{
	if (m->kind == TRACE_MARK_LOAD_BEGIN && !s->loaded) {
		s->loaded = true;
		s->seen = s->unseen = 0;
		memset(s->by_nr, 0, sizeof(s->by_nr));
	} else if (m->kind == TRACE_MARK_LOAD_END) {
		s->over = true;
	}
}

static bool same_program(const char *a, const char *b)
{
	struct stat sa, sb;

	return !strcmp(a, b) ||
	       (!stat(a, &sa) && !stat(b, &sb) && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino);
}

static enum trace_error survey(struct survey *s, struct timeline *t, const char *program)
{
	struct trace_event ev;
	enum trace_error e;

	while ((e = timeline_next(t, &ev)) == TRACE_OK) {
		switch (ev.type) {
		case TRACE_REC_PROCESS:
			s->mine |= same_program(ev.process.exe, program);
			break;
		case TRACE_REC_MARK:
			on_mark(s, &ev.mark);
			break;
		case TRACE_REC_CALLS:
			on_call(s, t, &ev.call);
			break;
		default:
			break;
		}
	}
	return e;
}

/* " in function (module)", as far as known. */
static void where(char *buf, size_t size, const struct timeline *t, uint32_t stack)
{
	struct site site;

	*buf = '\0';
	if (!timeline_site(t, stack, &site))
		return;
	if (*site.function)
		snprintf(buf, size, " in %s() of %s", site.function, site.module);
	else if (*site.module)
		snprintf(buf, size, " in %s", site.module);
}

static const char *name_of(uint16_t nr, char *buf, size_t size)
{
	const struct call_row *row = call_row(nr);

	if (row->name)
		return row->name;
	snprintf(buf, size, "call %u", nr);
	return buf;
}

#define SAY(r, ...) snprintf((r)->sentence, sizeof((r)->sentence), __VA_ARGS__)

static void judge(struct reach *r, const struct survey *s, const struct timeline *t,
		  const char *path)
{
	char in[PATH_MAX + 256], number[32];
	unsigned int most = 0;
	double share;

	r->verdict = REACH_ALL;
	where(in, sizeof(in), t, s->stack);
	if (s->half_seen) {
		r->verdict = REACH_UNSAFE;
		SAY(r,
		    "the recording %s shows %s%s on a descriptor whose other calls would wait, and "
		    "libesca.so did not see it, so it could overtake them; do not run this server "
		    "with esca, or use --allow-unseen",
		    path, name_of(s->nr, number, sizeof(number)), in);
		return;
	}
	if (s->sleeps) {
		r->verdict = REACH_UNSAFE;
		SAY(r,
		    "the recording %s shows %s%s in a thread with an event loop, and libesca.so "
		    "did not see it, so replies could wait while it sleeps; do not run this server "
		    "with esca, or use --allow-unseen",
		    path, name_of(s->nr, number, sizeof(number)), in);
		return;
	}
	if (!s->unseen)
		return;
	for (unsigned int i = 1; i < KINDS; i++)
		if (s->by_nr[i] > s->by_nr[most])
			most = i;
	share = 100.0 * (double)s->unseen / (double)(s->seen + s->unseen);
	if (share < 0.05)
		return;
	where(in, sizeof(in), t, s->site[most]);
	r->verdict = REACH_PART;
	SAY(r,
	    "by the recording %s, %.1f %% of the calls do not go through libesca.so, most of them "
	    "%s%s; none is on a descriptor whose calls would wait",
	    path, share, name_of((uint16_t)most, number, sizeof(number)), in);
}

/* Stacks and symbols come last, and are needed first. */
static bool look_ahead(struct timeline *t, FILE *f)
{
	off_t pos = ftello(f);

	if (pos < 0 || fseeko(f, 0, SEEK_SET) || timeline_read_symbols(t, f))
		return false;
	clearerr(f);
	return !fseeko(f, pos, SEEK_SET);
}

int reach_recording(struct reach *r, const struct target *t, const char *path)
{
	struct survey *s = calloc(1, sizeof(*s));
	struct timeline *line = NULL;
	int status = ESCA_EXIT_FAILED;
	enum trace_error e;
	FILE *f;

	f = recording_open(path);
	if (!f)
		goto out;
	if (s) {
		s->lives = calloc(SLOTS, sizeof(*s->lives));
		s->waiters = calloc(SLOTS, sizeof(*s->waiters));
	}
	if (!s || !s->lives || !s->waiters) {
		msg_perror(ENOMEM, "cannot read the recording %s", path);
		goto out;
	}
	e = timeline_open(&line, f);
	if (e == TRACE_OK && !look_ahead(line, f)) {
		msg_perror(errno, "cannot read the recording %s twice; give a file", path);
		goto out;
	}
	if (e == TRACE_OK)
		e = survey(s, line, t->program);
	status = recording_end(path, e, "what follows the cut is not known");
	if (status)
		goto out;
	if (!s->mine) {
		msg_error("'%s' does not run in the recording %s; record this server with 'esca "
			  "trace'",
			  t->program, path);
		status = ESCA_EXIT_FAILED;
	} else if (!s->ring) {
		msg_error("the recording %s does not tell what libesca.so would see; record the "
			  "server with 'esca trace' without --method ptrace",
			  path);
		status = ESCA_EXIT_FAILED;
	} else {
		judge(r, s, line, path);
	}
out:
	if (line)
		timeline_free(line);
	if (s) {
		free(s->lives);
		free(s->waiters);
	}
	free(s);
	if (f && f != stdin)
		fclose(f);
	return status;
}
