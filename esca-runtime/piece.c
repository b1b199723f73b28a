/* SPDX-License-Identifier: MIT */
/*
 * piece.c - pieces of files that the server has sent and that wait: small ones are read by the
 * flush, all of them in one crossing, bigger ones go from the page cache behind their header.
 *
 * The server was told that so many bytes were sent because an earlier fstat(2) of its own says that
 * the file has them. If the file has become shorter since, sendfile(2) would have said so; now the
 * peer gets what there is, and then the connection is reset.
 */
#include "config.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <esca-runtime/backend.h>
#include <esca-runtime/run.h>

bool piece_can(struct queue *q, const struct fd_entry *in, off_t off, size_t len)
{
	if (!fusing(ESCA_FUSE_FILE) || (uint64_t)off + len > SHARED(in->size) || !in->reads ||
	    fd_barred(in) || (in->owner && in->owner != q) || q->npieces >= ESCA_QUEUE_CALLS)
		return false;
	if (likely(!q->plain_pieces))
		return true;
	q->plain_pieces--;
	return false;
}

void piece_unwanted(struct queue *q)
{
	q->plain_pieces = ESCA_PLAIN_PIECES;
}

struct piece *piece_add(struct queue *q, struct fd_entry *in, int fd, off_t off, size_t len)
{
	struct piece *p = &q->pieces[q->npieces++];

	p->in = in;
	p->e = NULL;
	p->fd = fd;
	p->off = off;
	p->len = (uint32_t)len;
	SHARE(in->pieces, true);
	__atomic_store_n(&in->owner, q, __ATOMIC_RELEASE);
	fused(ESCA_FUSE_FILE, 1);
	return p;
}

/* The rest of it, after @got bytes, by plain calls. Return: how many bytes of it there are. */
static size_t read_piece(const struct piece *p, char *to, size_t got)
{
	while (got < p->len) {
		long ret = kernel(SYS_pread64, p->fd, (long)(to + got), (long)(p->len - got),
				  p->off + (long)got, 0);

		if (ret <= 0 && ret != -EINTR)
			break;
		got += ret > 0 ? (size_t)ret : 0;
	}
	if (unlikely(got < p->len))
		SHARE(p->in->size, 0);
	return got;
}

/* The stream ends where the file did, at @at: what is queued behind that is not to be sent. */
static void cut(struct queue *q, struct op *op, uint32_t at)
{
	unsigned int i;

	op->cut = true;
	op->bytes = op->nseg = 0;
	for (i = op->first; i != SEG_NONE; i = q->segs[i].next) {
		struct seg *s = &q->segs[i];

		if (at >= s->off && at <= s->off + s->len) {
			s->len = at - s->off;
			s->next = SEG_NONE;
			op->last = (uint16_t)i;
		}
		op->nseg += s->len > 0;
		op->bytes += s->len;
	}
}

void piece_read(struct queue *q)
{
	unsigned int i, n = 0, missed = 0;

	for (i = 0; i < q->npieces; i++) {
		struct piece *p = &q->pieces[i];

		if (!p->e)
			continue;
		q->reads[n].fd = p->fd;
		q->reads[n].off = p->off;
		q->reads[n].buf = q->arena + p->at;
		q->reads[n].len = p->len;
		q->reads[n++].result = -EAGAIN;
	}
	if (n >= ESCA_READS_MIN && backend->recv)
		backend->recv(q, q->reads, n);
	for (i = n = 0; i < q->npieces; i++) {
		struct piece *p = &q->pieces[i];
		long got;

		if (!p->e)
			continue;
		got = q->reads[n++].result;
		if (likely(got == (long)p->len))
			continue;
		got = (long)read_piece(p, q->arena + p->at, got > 0 ? (size_t)got : 0);
		if (got == (long)p->len)
			missed++;
		else if (p->e->op && !p->e->op->cut)
			cut(q, p->e->op, p->at + (uint32_t)got);
	}
	if (n >= ESCA_READS_MIN && missed > n / 2)
		piece_unwanted(q);
}

void piece_done(struct queue *q)
{
	unsigned int i;

	for (i = 0; i < q->npieces; i++)
		__atomic_store_n(&q->pieces[i].in->pieces, false, __ATOMIC_RELEASE);
}

/* What follows a cut: the connection ends, and the server hears of it. */
void piece_break(struct fd_entry *e, int fd)
{
	spill_discard(e);
	stream_reset(fd);
	late_error(e, fd, ECONNRESET);
}

bool piece_spill(struct queue *q, struct op *op, const struct send *s, size_t skip)
{
	struct piece *p = &q->pieces[op->body - 1];
	struct iovec iov[QUEUE_OPSEGS + 1];
	unsigned int n = 0;
	bool whole;
	long map;

	for (; s && n < s->niov; n++)
		iov[n] = s->iov[n];
	map = kernel(SYS_mmap, 0, p->len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	if (raw_is_error(map))
		return false;
	iov[n].iov_base = (void *)map;
	iov[n++].iov_len = p->len;
	whole = read_piece(p, (char *)map, 0) == p->len;
	if (whole)
		spill_add(op->e, op->fd, iov, n, skip);
	kernel(SYS_munmap, map, p->len, 0, 0, 0);
	return whole;
}

void piece_send(struct queue *q, struct op *op)
{
	struct piece *p = &q->pieces[op->body - 1];
	off_t off = p->off, end = p->off + p->len;
	long ret = 0;

	while (off < end) {
		ret = kernel(SYS_sendfile, op->fd, p->fd, (long)&off, end - off, 0);
		if (ret <= 0)
			break;
	}
	if (likely(off == end))
		return;
	if (op->nseg && off == p->off)
		fuse_push(op->e, op->fd);
	if (ret == -EAGAIN || ret == -EINTR || ret == -ENOBUFS || ret == -ENOMEM) {
		count(C_SHORT, 1);
		SHARE(op->e->bulk, true);
		if (piece_spill(q, op, NULL, (size_t)(off - p->off)))
			return;
		ret = 0;
	}
	if (late_is_of_stream(ret)) {
		late_error(op->e, op->fd, (int)-ret);
		return;
	}
	/* Of the file, which is too short or cannot be read: the stream would not end by itself. */
	SHARE(p->in->size, 0);
	piece_break(op->e, op->fd);
}

void piece_lost(struct queue *q, const struct fd_entry *in)
{
	unsigned int i;

	for (i = 0; i < q->npieces; i++)
		if (q->pieces[i].in == in)
			q->pieces[i].fd = -1;
}
