/* SPDX-License-Identifier: MIT */
/* savings.c - schedule times profile. */
#include "config.h"

#include <analyzer/savings.h>

#define KIB 1024.0

static double n(uint64_t v)
{
	return (double)v;
}

struct savings savings_of(const struct tally *t, const struct cost *c, enum savings_backend b)
{
	double overhead =
		n(t->deferred) * c->queue + n(t->copied - t->body_bytes) / KIB * c->copy_kib;
	double further_kib = n(t->body_bytes) / KIB - n(t->bodies);
	double in_kernel = n(t->elided) * c->sockopt + n(t->packets) * c->packet +
			   n(t->logs) * c->log_write + n(t->bodies) * c->sendfile;
	struct savings s;

	if (further_kib > 0)
		in_kernel -= further_kib * c->sendfile_kib;
	if (b == SAVINGS_URING) {
		s.grouped = n(t->grouped_ops) * (c->crossing - c->uring_op) -
			    n(t->grouped_enters) * c->uring_enter;
		s.fused = (n(t->calls) - n(t->uring)) * c->crossing -
			  n(t->uring_enters) * c->uring_enter - n(t->uring_ops) * c->uring_op;
	} else {
		s.grouped = 0;
		s.fused = (n(t->calls) - n(t->direct)) * c->crossing;
	}
	s.grouped -= overhead;
	s.fused += in_kernel - overhead;
	return s;
}

uint64_t savings_crossings(const struct tally *t, enum savings_backend b)
{
	return b == SAVINGS_URING ? t->uring + t->uring_enters : t->direct;
}

const char *savings_backend_name(enum savings_backend b)
{
	return b == SAVINGS_URING ? "uring" : "direct";
}
