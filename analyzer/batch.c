/* SPDX-License-Identifier: MIT */
/* batch.c - play the queue of mode run on recorded calls. */
#include "config.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <analyzer/batch.h>

#define PENDING_MAX 512u
#define FILES_MAX   256u

/** An option of a stream: what the kernel has, and what the server wants. */
struct option {
	bool kernel;
	bool want;
	bool set;	     /* in this flush */
	uint16_t n;	     /* how often */
	uint64_t ns;	     /* what these calls took, */
	uint64_t last_ns;    /* the last of them, */
	uint64_t most_ns;    /* the longest */
	uint8_t *outcome[8]; /* of the calls, for the flush to tell */
};

/** What waits on one descriptor. */
struct pending {
	uint32_t fd;
	bool log;
	bool joined; /* what follows its bytes is a bigger call: where a cork ends, that sends */
	uint32_t bytes;
	uint32_t writes;  /* calls whose bytes wait */
	uint32_t ops;	  /* of these, what io_uring could carry without fusion */
	uint64_t ns;	  /* what these calls took, */
	uint64_t most_ns; /* the longest */
	struct option cork;
	struct option nodelay;
};

struct batch {
	struct limits lim;
	uint32_t n;
	uint32_t settled; /* streams that were taken out of p[] and leave with the next flush */
	uint32_t settled_ops;
	uint32_t calls;
	uint32_t bytes;
	uint32_t nfiles, reads; /* pieces of files that wait, and those that are to be read */
	uint32_t plain_pieces;
	uint64_t oldest_ns;
	uint32_t files[FILES_MAX]; /* of which descriptors */
	struct pending p[PENDING_MAX];
};

const char *outcome_name(enum outcome o)
{
	static const char *const names[OUTCOMES] = {
		[OUT_MADE] = "made",	 [OUT_ALONE] = "alone", [OUT_MERGED] = "merged",
		[OUT_BODY] = "body",	 [OUT_FILE] = "file",	[OUT_JOINED] = "joined",
		[OUT_ELIDED] = "elided", [OUT_LOG] = "log",
	};

	return o < OUTCOMES ? names[o] : "";
}

void tally_add(struct tally *to, const struct tally *from)
{
	uint64_t *t = (uint64_t *)to;
	const uint64_t *f = (const uint64_t *)from;

	_Static_assert(sizeof(*to) % sizeof(*t) == 0, "a tally is all counts");
	for (size_t i = 0; i < sizeof(*to) / sizeof(*t); i++)
		t[i] += f[i];
}

struct batch *batch_new(const struct limits *lim)
{
	struct batch *b = calloc(1, sizeof(*b));

	if (b)
		b->lim = *lim;
	return b;
}

void batch_free(struct batch *b)
{
	free(b);
}

static struct pending *find(struct batch *b, uint32_t fd)
{
	for (uint32_t i = b->n; i-- > 0;)
		if (b->p[i].fd == fd)
			return &b->p[i];
	return NULL;
}

static struct pending *find_or_add(struct batch *b, struct tally *t, uint32_t fd,
				   const struct fd_state *st)
{
	struct pending *p = find(b, fd);

	if (p)
		return p;
	if (b->n == PENDING_MAX)
		batch_flush(b, t);
	p = &b->p[b->n++];
	memset(p, 0, sizeof(*p));
	p->fd = fd;
	p->cork.kernel = p->cork.want = st->corked;
	p->nodelay.kernel = p->nodelay.want = st->nodelay;
	return p;
}

/* Return: what the calls took that are left out; *@most the longest of them. */
static uint64_t flush_option(struct option *o, struct tally *t, uint64_t *most)
{
	unsigned int made = o->set && o->want != o->kernel;

	if (!o->n)
		return 0;
	t->direct += made;
	t->uring += made;
	t->elided += o->n - made;
	for (unsigned int i = 0; i < o->n && i < 8; i++)
		*o->outcome[i] = OUT_ELIDED;
	if (made && o->n <= 8)
		*o->outcome[o->n - 1] = OUT_ALONE;
	if (!made && o->most_ns > *most)
		*most = o->most_ns;
	return made ? o->ns - o->last_ns : o->ns;
}

/*
 * One write remains of all that was done to a stream. It is reckoned to take what the longest of
 * the calls took in the recording: that is the one that really sent. The others are saved.
 */
static void flush_stream(struct pending *p, struct tally *t)
{
	uint64_t most = 0;
	uint64_t elided = flush_option(&p->cork, t, &most);

	elided += flush_option(&p->nodelay, t, &most);
	if (!p->writes) {
		/* Where a cork ended, the kernel sent: that is still done, by the bigger call. */
		t->elided_ns += elided - (p->joined ? most : 0);
		return;
	}
	t->direct++;
	if (most > p->most_ns) {
		t->elided_ns += elided - most;
		t->reply_ns += p->ns;
	} else {
		t->elided_ns += elided;
		t->reply_ns += p->ns - p->most_ns;
	}
}

static void flush_pending(struct pending *p, struct tally *t, unsigned int *ops)
{
	if (p->log) {
		t->direct++;
		t->uring++;
		t->logs += p->writes - 1;
		t->log_writes++;
		t->logs_ns += p->ns - p->most_ns;
	} else {
		flush_stream(p, t);
		*ops += p->writes > 0;
	}
}

void batch_flush(struct batch *b, struct tally *t)
{
	unsigned int ops = b->settled;
	unsigned int grouped = b->settled_ops;

	if (!b->n && !b->settled)
		return;
	if (b->reads >= b->lim.reads_min) {
		t->uring_ops += b->reads;
		t->uring_enters++;
	} else {
		t->uring += b->reads;
	}
	b->nfiles = b->reads = 0;
	for (uint32_t i = 0; i < b->n; i++) {
		flush_pending(&b->p[i], t, &ops);
		grouped += b->p[i].ops;
	}
	/* One write alone is a plain call with either backend. */
	if (ops > 1) {
		t->uring_ops += ops;
		t->uring_enters++;
	} else {
		t->uring += ops;
	}
	if (grouped > 1) {
		t->grouped_ops += grouped;
		t->grouped_enters++;
	}
	t->flushes++;
	b->n = 0;
	b->settled = 0;
	b->settled_ops = 0;
	b->calls = 0;
	b->bytes = 0;
}

/*
 * A request was read on a stream whose last reply waits. Most clients send it only when they have
 * that reply, so under esca run it would not have been there yet: the next reply is not merged with
 * this one.
 */
static void settle(struct batch *b, struct tally *t, const struct trace_call *c)
{
	struct pending *p = find(b, (uint32_t)c->args[0]);
	unsigned int ops = 0;

	if (!p || p->log || !p->writes)
		return;
	flush_pending(p, t, &ops);
	b->settled += ops;
	b->settled_ops += p->ops;
	*p = b->p[--b->n];
}

static void queue(struct batch *b, struct tally *t, const struct trace_call *c)
{
	if (!b->calls++)
		b->oldest_ns = c->enter_ns;
	t->deferred++;
}

/*
 * In the vanilla run, would the bytes of @c have left
 * in a packet of their own, behind others of this turn?
 */
static bool own_packet(const struct fd_state *fd)
{
	return !fd->corked && !fd->open_packet;
}

/* What a call took, where the recording can tell: a stopped call's time is the recorder's. */
static uint64_t took(const struct trace_call *c)
{
	return c->lane == TRACE_LANE_RING ? c->exit_ns - c->enter_ns : 0;
}

static void take_bytes(struct batch *b, struct tally *t, struct pending *p,
		       const struct trace_call *c, uint64_t bytes)
{
	uint64_t ns = took(c);

	p->ns += ns;
	if (ns > p->most_ns)
		p->most_ns = ns;
	p->bytes += (uint32_t)bytes;
	b->bytes += (uint32_t)bytes;
	t->copied += bytes;
}

static void defer_write(struct batch *b, struct tally *t, const struct trace_call *c,
			const struct fd_state *fd, struct judgement j, uint64_t bytes,
			uint8_t *outcome)
{
	bool file = j.reason == REASON_SMALL_FILE;
	struct pending *p;

	/* The queue may have to be emptied first, for room or for the stream's credit. */
	p = find(b, (uint32_t)c->args[0]);
	if (b->bytes + bytes > b->lim.queue_bytes || (p && p->bytes + bytes > b->lim.credit_max))
		batch_flush(b, t);
	p = find_or_add(b, t, (uint32_t)c->args[0], fd);
	queue(b, t, c);
	take_bytes(b, t, p, c, bytes);
	if (file) {
		t->direct++; /* the pread */
		if (b->plain_pieces || b->nfiles == FILES_MAX) {
			t->uring++;
		} else {
			b->files[b->nfiles++] = (uint32_t)c->args[1];
			b->reads++;
		}
		t->bodies++;
		t->body_bytes += bytes;
	} else {
		p->ops++;
	}
	t->packets += p->writes && own_packet(fd);
	if (p->writes)
		t->merged++;
	*outcome = file ? (p->writes ? OUT_BODY : OUT_FILE) : (p->writes ? OUT_MERGED : OUT_ALONE);
	p->writes++;
}

/* It is sent at the flush, from the page cache: a crossing as before, in the packets of its header.
 */
static void defer_body(struct batch *b, struct tally *t, const struct trace_call *c,
		       const struct fd_state *fd, uint8_t *outcome)
{
	struct pending *p = find_or_add(b, t, (uint32_t)c->args[0], fd);

	queue(b, t, c);
	b->files[b->nfiles++] = (uint32_t)c->args[1];
	t->direct++;
	t->uring++;
	*outcome = p->writes ? OUT_JOINED : OUT_FILE;
	if (p->writes && own_packet(fd)) {
		t->packets++;
		t->joined++;
	}
	p->joined = true;
}

static void defer_log(struct batch *b, struct tally *t, const struct trace_call *c, uint64_t bytes,
		      uint8_t *outcome)
{
	static const struct fd_state none;
	struct pending *p = find_or_add(b, t, (uint32_t)c->args[0], &none);

	p->log = true;
	queue(b, t, c);
	take_bytes(b, t, p, c, bytes);
	*outcome = p->writes ? OUT_LOG : OUT_ALONE;
	p->writes++;
}

static void defer_option(struct batch *b, struct tally *t, const struct trace_call *c,
			 struct fd_state *fd, uint8_t *outcome)
{
	struct pending *p = find_or_add(b, t, (uint32_t)c->args[0], fd);
	struct option *o = c->args[2] == TCP_CORK ? &p->cork : &p->nodelay;

	queue(b, t, c);
	o->set = true;
	o->want = c->extra != 0;
	if (o->n < 8)
		o->outcome[o->n] = outcome;
	o->n++;
	o->last_ns = took(c);
	o->ns += o->last_ns;
	if (o->last_ns > o->most_ns)
		o->most_ns = o->last_ns;
	*outcome = OUT_ALONE;
}

/* The server's own view of the stream goes on, whatever waits. */
static void update_fd(const struct trace_call *c, const struct call_row *row, struct judgement j,
		      struct fd_state *fd)
{
	if (j.reason == REASON_OPTION && c->args[2] == TCP_CORK)
		fd->corked = c->extra != 0;
	else if (j.reason == REASON_OPTION)
		fd->nodelay = c->extra != 0;
	else if (row->buf == CALL_IN && row->ret == CALL_RET_SIZE && call_nargs(row) == 6)
		fd->open_packet = c->args[3] & MSG_MORE;
	else if (row->buf == CALL_MSG_IN)
		fd->open_packet = c->args[2] & MSG_MORE;
	else if (call_bytes(c, row))
		fd->open_packet = false;
}

/* Is it true that a deferred call did what it would have been answered? */
static bool mistaken(const struct trace_call *c, const struct call_row *row, struct judgement j)
{
	if (j.reason == REASON_OPTION)
		return c->result != 0;
	return c->result < 0 || (uint64_t)c->result != call_bytes(c, row);
}

/* Must what waits go first, or does the call concern one descriptor on which nothing waits? */
static bool flushes(struct judgement j, const struct trace_call *c, const struct pending *p)
{
	if (j.reason == REASON_OTHER_OPTION)
		return p;
	return p || j.reason != REASON_CLOSE_SOCKET || c->fd_kind != TRACE_FD_TCP;
}

static void barrier(struct batch *b, struct tally *t, const struct trace_call *c,
		    struct judgement j, const struct fd_state *fd, uint8_t *outcome)
{
	bool big = j.reason == REASON_BIG_FILE || j.reason == REASON_TOO_BIG;
	struct pending *p = find(b, (uint32_t)c->args[0]);
	struct pending kept = {0};

	/*
	 * Something too big to copy: the header that waits is sent with MSG_MORE, so they share
	 * packets, and the stream's options go on waiting.
	 */
	if (big && p && !p->log && p->writes) {
		t->packets += own_packet(fd);
		t->joined += own_packet(fd);
		*outcome = OUT_JOINED;
		kept = *p;
		kept.writes = 0;
		kept.ops = 0;
		kept.ns = kept.most_ns = 0;
		kept.joined = true;
		memset(&p->cork, 0, sizeof(p->cork));
		memset(&p->nodelay, 0, sizeof(p->nodelay));
	}
	if (flushes(j, c, p))
		batch_flush(b, t);
	if (kept.cork.n || kept.nodelay.n) {
		b->p[b->n++] = kept;
		b->calls = 1;
		b->oldest_ns = c->enter_ns;
	}
	t->direct++;
	t->uring++;
}

/* Time in a recording of stops is the recorder's: the server itself would not have taken so long.
 */
static bool too_old(const struct batch *b, const struct trace_call *c)
{
	return c->lane != TRACE_LANE_STOP && c->enter_ns > b->oldest_ns + b->lim.age_ns;
}

/* Does a piece of file @fd wait? */
static bool waits_for(const struct batch *b, uint32_t fd)
{
	for (uint32_t i = 0; i < b->nfiles; i++)
		if (b->files[i] == fd)
			return true;
	return false;
}

/* What becomes of a piece of a file where pieces do not wait. */
static struct judgement without_pieces(struct batch *b, const struct trace_call *c,
				       struct judgement j)
{
	if (j.verdict != VERDICT_DEFER ||
	    (j.reason != REASON_FILE && j.reason != REASON_SMALL_FILE))
		return j;
	if (!b->plain_pieces && b->nfiles < FILES_MAX)
		return j;
	if (b->plain_pieces)
		b->plain_pieces--;
	j.reason = REASON_SMALL_FILE;
	if (c->args[3] > b->lim.file_max) {
		j.verdict = VERDICT_BARRIER;
		j.reason = REASON_BIG_FILE;
	}
	return j;
}

void batch_call(struct batch *b, struct tally *t, const struct trace_call *c,
		const struct call_row *row, struct judgement j, struct fd_state *fd,
		uint8_t *outcome)
{
	uint64_t bytes = call_bytes(c, row);

	*outcome = OUT_MADE;
	j = without_pieces(b, c, j);
	if (b->calls >= b->lim.queue_calls || (b->calls && too_old(b, c)))
		batch_flush(b, t);
	switch (j.verdict) {
	case VERDICT_DEFER:
		t->mistakes += mistaken(c, row, j);
		if (j.reason == REASON_LOG)
			defer_log(b, t, c, bytes, outcome);
		else if (j.reason == REASON_OPTION)
			defer_option(b, t, c, fd, outcome);
		else if (j.reason == REASON_FILE)
			defer_body(b, t, c, fd, outcome);
		else
			defer_write(b, t, c, fd, j, bytes, outcome);
		break;
	case VERDICT_BARRIER:
	case VERDICT_WAIT:
		barrier(b, t, c, j, fd, outcome);
		break;
	default:
		if (call_is_request(c, row))
			settle(b, t, c);
		if (j.reason == REASON_CLOSE_FILE && waits_for(b, (uint32_t)c->args[0])) {
			batch_flush(b, t);
			b->plain_pieces = b->lim.plain_pieces;
		}
		t->direct++;
		t->uring++;
	}
	update_fd(c, row, j, fd);
}
