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
	struct savings s = {0};

	s.fused = n(t->reply_ns + t->elided_ns + t->logs_ns) + n(t->joined) * c->packet -
		  n(t->bodies) * (c->crossing + c->pread);
	if (further_kib > 0)
		s.fused -= further_kib * c->copy_kib;
	if (b == SAVINGS_URING) {
		s.grouped = n(t->grouped_ops) * (c->crossing - c->uring_op) -
			    n(t->grouped_enters) * c->uring_enter;
		s.fused += n(t->uring_ops) * (c->crossing - c->uring_op) -
			   n(t->uring_enters) * c->uring_enter;
	}
	s.grouped -= overhead;
	s.fused -= overhead;
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
