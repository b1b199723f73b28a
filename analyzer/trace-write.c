/* SPDX-License-Identifier: MIT */
/*
 * trace-write.c - append records to a recording; the one place that packs calls.
 *
 * The body of a TRACE_REC_CALLS record is struct trace_calls, then `count` calls one after the
 * other. A varint is little endian base 128, at most 10 bytes; a svarint is the varint of the
 * zigzag form. A block stands for itself: what deltas refer to is 0 at its begin. One call is
 *
 *   byte      head: bits 0-1 lane, then one bit each for what follows if set: 2 extra, 3 flags, 4
 * descriptor, 5 stack; 6-7 are 0 varint    nr * 8 + n, where n is how many arguments follow
 * (trailing zeros are left out) svarint   enter_ns minus that of the call before in the block
 *   varint    exit_ns - enter_ns
 *   svarint   result
 *   n svarint argument minus the same argument of the last call in the block that fell into the
 * same slot, nr modulo 64 [varint   extra] [byte     flags] [byte     descriptor: kind, plus 16 *
 * flags] [varint   stack]
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <analyzer/hash.h>
#include <analyzer/syscall.h>
#include <analyzer/trace-pack.h>
#include <analyzer/trace.h>

#define BLOCK_SIZE  (16u * 1024)
#define OUT_SIZE    (256u * 1024)
#define CMDLINE_MAX (64u * 1024)

/** The calls of one thread that are not in a record yet. */
struct open_block {
	uint32_t tid;
	uint32_t count;
	size_t used;
	struct pack_state state;
	UT_hash_handle hh;
	uint8_t body[BLOCK_SIZE];
};

struct trace_writer {
	int fd;
	uint64_t start_ns;
	int err; /* the first write that failed, negative errno */
	uint32_t stacks;
	uint64_t calls;
	uint64_t lost;
	uint64_t written;
	struct open_block *blocks;
	size_t used;
	uint8_t out[OUT_SIZE];
};

static uint64_t now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int write_all(int fd, const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t done = write(fd, p, n);

		if (done < 0 && errno == EAGAIN) {
			struct pollfd pfd = {.fd = fd, .events = POLLOUT};

			poll(&pfd, 1, -1);
			continue;
		}
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		p += done;
		n -= (size_t)done;
	}
	return 0;
}

static int drain(struct trace_writer *w)
{
	if (!w->err)
		w->err = write_all(w->fd, w->out, w->used);
	w->used = 0;
	return w->err;
}

static int put_bytes(struct trace_writer *w, const void *data, size_t n)
{
	const uint8_t *p = data;

	w->written += n;
	while (n && !w->err) {
		size_t room = sizeof(w->out) - w->used;
		size_t part = n < room ? n : room;

		memcpy(w->out + w->used, p, part);
		w->used += part;
		p += part;
		n -= part;
		if (w->used == sizeof(w->out))
			drain(w);
	}
	return w->err;
}

/** One piece of a record's body. */
struct piece {
	const void *data;
	size_t size;
};

static int put_record(struct trace_writer *w, enum trace_rec_type type, const struct piece *pieces,
		      unsigned int n)
{
	static const uint8_t zero[8];
	struct trace_rec_header h = {.type = (uint16_t)type};
	size_t size = 0;

	for (unsigned int i = 0; i < n; i++)
		size += pieces[i].size;
	if (size > TRACE_MAX_REC_SIZE)
		return -E2BIG;
	h.size = (uint32_t)size;
	put_bytes(w, &h, sizeof(h));
	for (unsigned int i = 0; i < n; i++)
		put_bytes(w, pieces[i].data, pieces[i].size);
	return put_bytes(w, zero, -size & 7);
}

static int put_fixed(struct trace_writer *w, enum trace_rec_type type, const void *body,
		     size_t size)
{
	return put_record(w, type, &(struct piece){body, size}, 1);
}

static int close_block(struct trace_writer *w, struct open_block *b)
{
	struct trace_calls head = {.tid = b->tid, .count = b->count};
	struct piece pieces[] = {{&head, sizeof(head)}, {b->body, b->used}};

	if (!b->count)
		return w->err;
	b->count = 0;
	b->used = 0;
	memset(&b->state, 0, sizeof(b->state));
	return put_record(w, TRACE_REC_CALLS, pieces, 2);
}

/* What is said of a thread must not overtake its calls. */
static int close_block_of(struct trace_writer *w, uint32_t tid)
{
	struct open_block *b;

	HASH_FIND(hh, w->blocks, &tid, sizeof(tid), b);
	return b ? close_block(w, b) : w->err;
}

int trace_writer_new(struct trace_writer **wp, int fd)
{
	struct trace_file_header h = {
		.magic = TRACE_MAGIC,
		.major = TRACE_MAJOR,
		.minor = TRACE_MINOR,
		.byte_order = TRACE_BYTE_ORDER,
		.header_size = sizeof(h),
		.arch = TRACE_ARCH_X86_64,
	};
	struct trace_writer *w;
	int err;

	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->fd = fd;
	h.start_mono_ns = now_ns(CLOCK_MONOTONIC);
	h.start_real_ns = now_ns(CLOCK_REALTIME);
	w->start_ns = h.start_mono_ns;
	put_bytes(w, &h, sizeof(h));
	err = drain(w);
	if (err) {
		free(w);
		return err;
	}
	*wp = w;
	return 0;
}

void trace_writer_free(struct trace_writer *w)
{
	struct open_block *b;
	struct open_block *next;

	if (!w)
		return;
	HASH_ITER (hh, w->blocks, b, next) {
		HASH_DEL(w->blocks, b);
		free(b);
	}
	free(w);
}

int trace_put_fact(struct trace_writer *w, const char *key, const char *value)
{
	struct piece pieces[] = {{key, strlen(key) + 1}, {value, strlen(value) + 1}};

	return put_record(w, TRACE_REC_FACT, pieces, 2);
}

int trace_put_process(struct trace_writer *w, const struct trace_process *p, const char *exe,
		      const char *cmdline, size_t cmdline_size)
{
	struct piece pieces[] = {
		{p, sizeof(*p)},
		{exe, strlen(exe) + 1},
		{cmdline, cmdline_size < CMDLINE_MAX ? cmdline_size : CMDLINE_MAX},
		{"", 1},
	};
	bool ended = !pieces[2].size || !cmdline[pieces[2].size - 1];

	return put_record(w, TRACE_REC_PROCESS, pieces, ended ? 3 : 4);
}

int trace_put_thread(struct trace_writer *w, const struct trace_thread *t, const char *comm)
{
	struct piece pieces[] = {{t, sizeof(*t)}, {comm, strlen(comm) + 1}};

	close_block_of(w, t->tid);
	return put_record(w, TRACE_REC_THREAD, pieces, 2);
}

int trace_put_stack(struct trace_writer *w, const struct trace_stack *s, const uint64_t *pc)
{
	struct piece pieces[] = {{s, sizeof(*s)}, {pc, s->depth * sizeof(*pc)}};

	if (s->id != w->stacks + 1 || !s->depth || s->depth > TRACE_MAX_STACK)
		return -EINVAL;
	w->stacks++;
	return put_record(w, TRACE_REC_STACK, pieces, 2);
}

int trace_put_symbol(struct trace_writer *w, const struct trace_symbol *s, const char *module,
		     const char *function, const char *file)
{
	struct piece pieces[] = {
		{s, sizeof(*s)},
		{module, strlen(module) + 1},
		{function, strlen(function) + 1},
		{file, strlen(file) + 1},
	};

	return put_record(w, TRACE_REC_SYMBOL, pieces, 4);
}

static uint8_t *put_varint(uint8_t *p, uint64_t v)
{
	while (v >= 0x80) {
		*p++ = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	*p++ = (uint8_t)v;
	return p;
}

static uint8_t *put_svarint(uint8_t *p, uint64_t v)
{
	return put_varint(p, (v << 1) ^ (0 - (v >> 63)));
}

static uint8_t *pack_call(uint8_t *p, struct pack_state *s, const struct trace_call *c)
{
	uint64_t *last = s->args[c->nr % PACK_SLOTS];
	unsigned int n = c->flags & TRACE_CALL_COMPAT ? 6 : call_nargs(call_row(c->nr));
	uint64_t spent = c->exit_ns > c->enter_ns ? c->exit_ns - c->enter_ns : 0;

	while (n && !c->args[n - 1])
		n--;
	*p++ = (uint8_t)(c->lane | (c->extra ? PACK_EXTRA : 0) | (c->flags ? PACK_FLAGS : 0) |
			 (c->fd_kind || c->fd_flags ? PACK_FD : 0) | (c->stack ? PACK_STACK : 0));
	p = put_varint(p, c->nr * 8u + n);
	p = put_svarint(p, c->enter_ns - s->enter_ns);
	s->enter_ns = c->enter_ns;
	p = put_varint(p, spent);
	p = put_svarint(p, (uint64_t)c->result);
	for (unsigned int i = 0; i < 6; i++) {
		uint64_t arg = i < n ? c->args[i] : 0;

		if (i < n)
			p = put_svarint(p, arg - last[i]);
		last[i] = arg;
	}
	if (c->extra)
		p = put_varint(p, c->extra);
	if (c->flags)
		*p++ = c->flags;
	if (c->fd_kind || c->fd_flags)
		*p++ = (uint8_t)(c->fd_kind | c->fd_flags << 4);
	if (c->stack)
		p = put_varint(p, c->stack);
	return p;
}

int trace_put_call(struct trace_writer *w, const struct trace_call *c)
{
	struct open_block *b;

	if (!c->tid || c->lane > TRACE_LANE_STOP || c->fd_kind >= TRACE_FD_KINDS ||
	    c->fd_flags > 15 || c->stack > w->stacks)
		return -EINVAL;
	HASH_FIND(hh, w->blocks, &c->tid, sizeof(c->tid), b);
	if (!b) {
		b = calloc(1, sizeof(*b));
		if (!b)
			return -ENOMEM;
		b->tid = c->tid;
		HASH_ADD(hh, w->blocks, tid, sizeof(b->tid), b);
	}
	if (b->used + PACK_CALL_MAX > sizeof(b->body))
		close_block(w, b);
	b->used = (size_t)(pack_call(b->body + b->used, &b->state, c) - b->body);
	b->count++;
	w->calls++;
	return w->err;
}

int trace_put_lost(struct trace_writer *w, const struct trace_lost *l)
{
	w->lost += l->count;
	close_block_of(w, l->tid);
	return put_fixed(w, TRACE_REC_LOST, l, sizeof(*l));
}

int trace_put_cpu(struct trace_writer *w, const struct trace_cpu *c)
{
	close_block_of(w, c->tid);
	return put_fixed(w, TRACE_REC_CPU, c, sizeof(*c));
}

int trace_put_mark(struct trace_writer *w, const struct trace_mark *m)
{
	return put_fixed(w, TRACE_REC_MARK, m, sizeof(*m));
}

int trace_put_exit(struct trace_writer *w, const struct trace_exit *e)
{
	struct open_block *b;

	HASH_FIND(hh, w->blocks, &e->tid, sizeof(e->tid), b);
	if (b) {
		close_block(w, b);
		HASH_DEL(w->blocks, b);
		free(b);
	}
	return put_fixed(w, TRACE_REC_EXIT, e, sizeof(*e));
}

int trace_put_signal(struct trace_writer *w, const struct trace_signal *s)
{
	return put_fixed(w, TRACE_REC_SIGNAL, s, sizeof(*s));
}

int trace_put_path(struct trace_writer *w, const struct trace_path *p, const char *path)
{
	struct piece pieces[] = {{p, sizeof(*p)}, {path, strlen(path) + 1}};

	return put_record(w, TRACE_REC_PATH, pieces, 2);
}

static void close_blocks(struct trace_writer *w)
{
	struct open_block *b;
	struct open_block *next;

	HASH_ITER (hh, w->blocks, b, next)
		close_block(w, b);
}

int trace_sync(struct trace_writer *w, uint64_t mono_ns)
{
	close_blocks(w);
	put_fixed(w, TRACE_REC_SYNC, &mono_ns, sizeof(mono_ns));
	return drain(w);
}

int trace_end(struct trace_writer *w, uint64_t mono_ns)
{
	struct trace_end end = {.mono_ns = mono_ns, .calls = w->calls, .lost = w->lost};

	close_blocks(w);
	put_fixed(w, TRACE_REC_END, &end, sizeof(end));
	return drain(w);
}

uint64_t trace_writer_bytes(const struct trace_writer *w)
{
	return w->written;
}

uint64_t trace_writer_calls(const struct trace_writer *w)
{
	return w->calls;
}

uint64_t trace_writer_start_ns(const struct trace_writer *w)
{
	return w->start_ns;
}
