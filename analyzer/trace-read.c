/* SPDX-License-Identifier: MIT */
/*
 * trace-read.c - validate a recording and hand out its
 * events one by one; nothing in the file is trusted.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <analyzer/trace-pack.h>
#include <analyzer/trace.h>

#define HEADER_MAX 4096u

struct trace_reader {
	FILE *f;
	struct trace_file_header header;
	enum trace_error state; /* TRACE_OK until the first answer that is final */
	uint32_t stacks;

	/*
	 * The record being read; one byte more than it may
	 * have, for a NUL that no string can run past.
	 */
	uint8_t *body;
	size_t room;
	size_t size;

	/* Inside a TRACE_REC_CALLS record: calls still to come, and where the next one begins. */
	uint32_t calls;
	size_t pos;
	bool cut; /* the file ends within it */
	uint32_t tid;
	struct pack_state pack;
};

static enum trace_error final(struct trace_reader *r, enum trace_error e)
{
	r->calls = 0;
	r->state = e;
	return e;
}

/* A short read is a cut, unless the stream failed. */
static enum trace_error short_read(struct trace_reader *r)
{
	return ferror(r->f) ? TRACE_IO : TRACE_CUT;
}

static enum trace_error read_file_header(struct trace_reader *r)
{
	struct trace_file_header *h = &r->header;
	size_t n = fread(h, 1, sizeof(*h), r->f);
	char skip[HEADER_MAX];

	if (n < sizeof(*h) && ferror(r->f))
		return TRACE_IO;
	if (!n || memcmp(h->magic, TRACE_MAGIC, n < sizeof(h->magic) ? n : sizeof(h->magic)))
		return TRACE_NOT_A_TRACE;
	if (n < sizeof(*h))
		return TRACE_CUT;
	if (h->byte_order == __builtin_bswap32(TRACE_BYTE_ORDER))
		return TRACE_BYTEORDER;
	if (h->byte_order != TRACE_BYTE_ORDER)
		return TRACE_CORRUPT;
	if (h->major != TRACE_MAJOR)
		return TRACE_VERSION;
	if (h->arch != TRACE_ARCH_X86_64)
		return TRACE_ARCH;
	if (h->header_size < sizeof(*h) || h->header_size > HEADER_MAX)
		return TRACE_CORRUPT;
	n = h->header_size - sizeof(*h);
	return fread(skip, 1, n, r->f) == n ? TRACE_OK : short_read(r);
}

enum trace_error trace_reader_open(struct trace_reader **rp, FILE *f)
{
	struct trace_reader *r;
	enum trace_error e;

	*rp = NULL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return TRACE_IO;
	r->f = f;
	e = read_file_header(r);
	if (e) {
		free(r);
		return e;
	}
	*rp = r;
	return TRACE_OK;
}

void trace_reader_free(struct trace_reader *r)
{
	if (!r)
		return;
	free(r->body);
	free(r);
}

const struct trace_file_header *trace_reader_header(const struct trace_reader *r)
{
	return &r->header;
}

/* Grows as bytes really arrive, so that a size in a damaged header costs no memory. */
static enum trace_error read_body(struct trace_reader *r, size_t size)
{
	size_t step = 64u * 1024;

	r->size = 0;
	while (r->size < size || !r->room) {
		size_t part = size - r->size < step ? size - r->size : step;
		size_t got;

		if (r->room < r->size + part + 1) {
			size_t room = r->size + step + 1;
			uint8_t *body = realloc(r->body, room);

			if (!body)
				return TRACE_IO;
			r->body = body;
			r->room = room;
		}
		got = fread(r->body + r->size, 1, part, r->f);
		r->size += got;
		if (got < part)
			return short_read(r);
	}
	r->body[r->size] = 0;
	return TRACE_OK;
}

/** A place in the body of a record. */
struct cursor {
	const uint8_t *p;
	const uint8_t *end;
	bool bad; /* ran over the end, or a number that does not exist */
};

static uint64_t get_varint(struct cursor *c)
{
	uint64_t v = 0;

	for (unsigned int shift = 0; shift < 64; shift += 7) {
		uint8_t byte;

		if (c->p == c->end)
			break;
		byte = *c->p++;
		if (shift == 63 && byte > 1)
			break;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return v;
	}
	c->bad = true;
	return 0;
}

static uint64_t get_svarint(struct cursor *c)
{
	uint64_t v = get_varint(c);

	return (v >> 1) ^ (0 - (v & 1));
}

static uint8_t get_byte(struct cursor *c)
{
	if (c->p == c->end) {
		c->bad = true;
		return 0;
	}
	return *c->p++;
}

/* Return: false if the bytes at @cur are no call. */
static bool unpack_call(struct trace_reader *r, struct cursor *cur, struct trace_call *c)
{
	uint8_t head = get_byte(cur);
	uint64_t nr = get_varint(cur);
	unsigned int n = nr & 7;
	uint64_t *last;
	uint64_t spent;
	uint64_t stack;

	nr >>= 3;
	if (cur->bad || head & ~PACK_HEAD || (head & PACK_LANE) > TRACE_LANE_STOP || n > 6 ||
	    nr > UINT16_MAX)
		return false;
	memset(c, 0, sizeof(*c));
	c->tid = r->tid;
	c->nr = (uint16_t)nr;
	c->lane = head & PACK_LANE;
	c->enter_ns = r->pack.enter_ns + get_svarint(cur);
	r->pack.enter_ns = c->enter_ns;
	spent = get_varint(cur);
	c->result = (int64_t)get_svarint(cur);
	if (__builtin_add_overflow(c->enter_ns, spent, &c->exit_ns))
		return false;
	last = r->pack.args[nr % PACK_SLOTS];
	for (unsigned int i = 0; i < 6; i++) {
		if (i < n)
			c->args[i] = last[i] + get_svarint(cur);
		last[i] = c->args[i];
	}
	if (head & PACK_EXTRA)
		c->extra = get_varint(cur);
	if (head & PACK_FLAGS)
		c->flags = get_byte(cur);
	if (head & PACK_FD) {
		uint8_t fd = get_byte(cur);

		c->fd_kind = fd & 15;
		c->fd_flags = fd >> 4;
	}
	stack = head & PACK_STACK ? get_varint(cur) : TRACE_NO_STACK;
	c->stack = (uint32_t)stack;
	return !cur->bad && c->fd_kind < TRACE_FD_KINDS && stack <= r->stacks;
}

static enum trace_error next_call(struct trace_reader *r, struct trace_event *ev)
{
	struct cursor cur = {.p = r->body + r->pos, .end = r->body + r->size};

	ev->type = TRACE_REC_CALLS;
	if (!unpack_call(r, &cur, &ev->call))
		return final(r, r->cut && cur.p == cur.end ? TRACE_CUT : TRACE_CORRUPT);
	r->pos = (size_t)(cur.p - r->body);
	r->calls--;
	if (!r->calls && cur.p != cur.end)
		return final(r, TRACE_CORRUPT);
	return TRACE_OK;
}

/* A record of calls begins; @cut: the file ends within it. */
static enum trace_error begin_calls(struct trace_reader *r, size_t size, bool cut)
{
	struct trace_calls head;

	if (r->size < sizeof(head))
		return final(r, cut ? TRACE_CUT : TRACE_CORRUPT);
	memcpy(&head, r->body, sizeof(head));
	if (!head.tid || head.count > (size - sizeof(head)) / PACK_CALL_MIN ||
	    (!head.count && size > sizeof(head)))
		return final(r, TRACE_CORRUPT);
	r->tid = head.tid;
	r->calls = head.count;
	r->pos = sizeof(head);
	r->cut = cut;
	memset(&r->pack, 0, sizeof(r->pack));
	return TRACE_OK;
}

/* The string at *@pos; NULL if it does not end within the body. Moves *@pos behind it. */
static const char *get_string(const struct trace_reader *r, size_t *pos)
{
	const char *s = (const char *)r->body + *pos;
	const char *end;

	if (*pos >= r->size)
		return NULL;
	end = memchr(s, 0, r->size - *pos);
	if (!end)
		return NULL;
	*pos += (size_t)(end - s) + 1;
	return s;
}

/* The fixed part of a record; false if the body is too short for it. */
static bool get_fixed(const struct trace_reader *r, void *to, size_t size)
{
	if (r->size < size)
		return false;
	memcpy(to, r->body, size);
	return true;
}

static bool decode_process(const struct trace_reader *r, struct trace_event *ev)
{
	size_t pos = sizeof(ev->process.p);

	if (!get_fixed(r, &ev->process.p, sizeof(ev->process.p)))
		return false;
	ev->process.exe = get_string(r, &pos);
	if (!ev->process.exe)
		return false;
	ev->process.cmdline = (const char *)r->body + pos;
	ev->process.cmdline_size = r->size - pos;
	return !ev->process.cmdline_size || !r->body[r->size - 1];
}

static bool decode_stack(struct trace_reader *r, struct trace_event *ev)
{
	struct trace_stack *s = &ev->stack.s;

	if (!get_fixed(r, s, sizeof(*s)) || s->id != r->stacks + 1 || !s->depth ||
	    s->depth > TRACE_MAX_STACK || r->size < sizeof(*s) + s->depth * sizeof(uint64_t))
		return false;
	ev->stack.pc = (const uint64_t *)(const void *)(r->body + sizeof(*s));
	r->stacks++;
	return true;
}

static bool decode_symbol(const struct trace_reader *r, struct trace_event *ev)
{
	size_t pos = sizeof(ev->symbol.s);

	if (!get_fixed(r, &ev->symbol.s, sizeof(ev->symbol.s)))
		return false;
	ev->symbol.module = get_string(r, &pos);
	ev->symbol.function = get_string(r, &pos);
	ev->symbol.file = get_string(r, &pos);
	return ev->symbol.module && ev->symbol.function && ev->symbol.file;
}

/* Return: false if the body contradicts the layout; *@known false if the type is one to skip. */
static bool decode(struct trace_reader *r, struct trace_event *ev, bool *known)
{
	size_t pos = 0;

	switch (ev->type) {
	case TRACE_REC_FACT:
		ev->fact.key = get_string(r, &pos);
		ev->fact.value = get_string(r, &pos);
		return ev->fact.key && ev->fact.value;
	case TRACE_REC_PROCESS:
		return decode_process(r, ev);
	case TRACE_REC_THREAD:
		pos = sizeof(ev->thread.t);
		ev->thread.comm = get_string(r, &pos);
		return get_fixed(r, &ev->thread.t, sizeof(ev->thread.t)) && ev->thread.comm;
	case TRACE_REC_STACK:
		return decode_stack(r, ev);
	case TRACE_REC_SYMBOL:
		return decode_symbol(r, ev);
	case TRACE_REC_LOST:
		return get_fixed(r, &ev->lost, sizeof(ev->lost));
	case TRACE_REC_CPU:
		return get_fixed(r, &ev->cpu, sizeof(ev->cpu));
	case TRACE_REC_MARK:
		return get_fixed(r, &ev->mark, sizeof(ev->mark));
	case TRACE_REC_EXIT:
		return get_fixed(r, &ev->exit, sizeof(ev->exit));
	case TRACE_REC_SYNC:
		return get_fixed(r, &ev->sync_ns, sizeof(ev->sync_ns));
	case TRACE_REC_SIGNAL:
		return get_fixed(r, &ev->signal, sizeof(ev->signal));
	case TRACE_REC_PATH:
		pos = sizeof(ev->path.p);
		ev->path.path = get_string(r, &pos);
		return get_fixed(r, &ev->path.p, sizeof(ev->path.p)) && ev->path.path;
	case TRACE_REC_END:
		return get_fixed(r, &ev->end, sizeof(ev->end));
	case TRACE_REC_CALLS:
		break;
	}
	*known = false;
	return true;
}

/*
 * Read one record. TRACE_OK: @ev is filled if *@have,
 * else the record holds calls or is of a type to skip.
 */
static enum trace_error next_record(struct trace_reader *r, struct trace_event *ev, bool *have)
{
	struct trace_rec_header h;
	enum trace_error e;
	uint8_t pad[8];
	size_t n;

	*have = false;
	if (fread(&h, 1, sizeof(h), r->f) < sizeof(h))
		return final(r, short_read(r));
	if (!h.type || h.size > TRACE_MAX_REC_SIZE)
		return final(r, TRACE_CORRUPT);
	e = read_body(r, h.size);
	if (h.type == TRACE_REC_CALLS && (!e || e == TRACE_CUT)) {
		enum trace_error bad = begin_calls(r, h.size, e == TRACE_CUT);

		if (bad || e == TRACE_CUT)
			return bad;
	}
	if (e)
		return final(r, e);
	n = -(size_t)h.size & 7;
	if (fread(pad, 1, n, r->f) < n) {
		/* The record itself is whole. */
		if (ferror(r->f))
			return final(r, TRACE_IO);
	}
	if (h.type == TRACE_REC_CALLS)
		return TRACE_OK;
	*have = true;
	ev->type = (enum trace_rec_type)h.type;
	if (!decode(r, ev, have))
		return final(r, TRACE_CORRUPT);
	return TRACE_OK;
}

enum trace_error trace_next(struct trace_reader *r, struct trace_event *ev)
{
	enum trace_error e;
	bool have;

	if (r->state)
		return r->state;
	for (;;) {
		if (r->calls)
			return next_call(r, ev);
		if (r->cut)
			return final(r, TRACE_CUT);
		e = next_record(r, ev, &have);
		if (e)
			return e;
		if (have)
			break;
	}
	if (ev->type == TRACE_REC_END)
		r->state = TRACE_EOF;
	return TRACE_OK;
}

const char *trace_strerror(enum trace_error e)
{
	switch (e) {
	case TRACE_OK:
		return "no error";
	case TRACE_EOF:
		return "the recording ends here";
	case TRACE_CUT:
		return "the recording was cut off before its end";
	case TRACE_NOT_A_TRACE:
		return "not a recording of esca; make one with 'esca trace'";
	case TRACE_VERSION:
		return "recorded in the format of another version of esca; read it with that "
		       "version or record again";
	case TRACE_BYTEORDER:
		return "recorded on a machine of the other byte order; read it on a machine of "
		       "that kind";
	case TRACE_ARCH:
		return "recorded on another processor architecture than x86-64, which this esca "
		       "cannot read";
	case TRACE_CORRUPT:
		return "the recording is damaged; record again";
	case TRACE_IO:
		return "the recording cannot be read";
	}
	return "unknown error";
}
