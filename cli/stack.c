/* SPDX-License-Identifier: MIT */
/* stack.c - call stacks of stopped threads: unwound once each (libunwind-ptrace), known again by
 * the words that make them up. */
#include "config.h"

#include <errno.h>
#include <libunwind-ptrace.h>
#include <stdlib.h>
#include <string.h>

#include <analyzer/hash.h>
#include <cli/stack.h>
#include <cli/symbols.h>
#include <cli/tracer-mem.h>

#define SPAN_MAX 65536u /* a stack that reaches further is unwound each time */
/* stacks known by their words; then all are forgotten and learned again */
#define CACHE_MAX  20000
#define PAGE_CACHE 16

/** A frame: its pc, and where on the stack that return address lies (0: in a register). */
struct frame {
	uint64_t pc;
	uint64_t slot;
};

/** A stack as recorded. Key: address space and pcs. */
struct interned {
	uint32_t id;
	pid_t pid;
	UT_hash_handle hh;
	size_t keylen;
	uint64_t key[]; /* mm, pcs */
};

/** A stack as met at a call site: the words that prove it. */
struct known {
	uint32_t id;
	uint32_t count;
	uint32_t span;
	struct known *next;
	struct {
		uint32_t off; /* from the stack pointer */
		uint64_t pc;
	} word[];
};

struct site_key {
	uint64_t ip;
	uint64_t mm;
};

struct site {
	struct site_key key;
	uint32_t span; /* the largest of its stacks */
	struct known *known;
	UT_hash_handle hh;
};

struct stacks {
	struct recorder *rec;
	struct symbols *symbols;
	struct interned *interned;
	struct site *sites;
	unsigned int nknown;
	uint32_t last_id;
	unw_addr_space_t space;
	uint8_t *buf; /* SPAN_MAX bytes */
};

/* --- memory for libunwind: pages, not words --- */

static struct {
	pid_t tid;
	struct {
		uint64_t page;
		bool valid;
		uint8_t data[4096];
	} slot[PAGE_CACHE];
} pages;

static void pages_forget(pid_t tid)
{
	pages.tid = tid;
	for (unsigned int i = 0; i < PAGE_CACHE; i++)
		pages.slot[i].valid = false;
}

static int access_mem(unw_addr_space_t as, unw_word_t addr, unw_word_t *val, int write, void *arg)
{
	unsigned int i = (addr / 4096) % PAGE_CACHE;

	if (write || addr % 4096 > 4096 - sizeof(*val))
		return _UPT_access_mem(as, addr, val, write, arg);
	if (!pages.slot[i].valid || pages.slot[i].page != addr / 4096) {
		pages.slot[i].valid = false;
		if (tracer_read(pages.tid, addr & ~4095ull, pages.slot[i].data, 4096))
			return -UNW_EINVAL;
		pages.slot[i].page = addr / 4096;
		pages.slot[i].valid = true;
	}
	memcpy(val, pages.slot[i].data + addr % 4096, sizeof(*val));
	return 0;
}

static unsigned int unwind(struct stacks *s, pid_t tid, struct frame *f, unsigned int max)
{
	void *upt = _UPT_create(tid);
	unsigned int n = 0;
	unw_cursor_t c;

	if (!upt)
		return 0;
	pages_forget(tid);
	if (unw_init_remote(&c, s->space, upt)) {
		_UPT_destroy(upt);
		return 0;
	}
	do {
		unw_word_t pc = 0, sp = 0;

		if (unw_get_reg(&c, UNW_REG_IP, &pc) || unw_get_reg(&c, UNW_REG_SP, &sp) || !pc)
			break;
		f[n].pc = pc;
		f[n].slot = n ? sp - 8 : 0;
		n++;
		/*
		 * What a signal interrupted is where it
		 * happened to be: not part of the call's stack.
		 */
		if (unw_is_signal_frame(&c) > 0)
			break;
	} while (n < max && unw_step(&c) > 0);
	_UPT_destroy(upt);
	return n;
}

/* --- interning --- */

static uint32_t intern(struct stacks *s, pid_t pid, uint32_t mm, const struct frame *f,
		       unsigned int n)
{
	struct trace_stack rec = {.pid = (uint32_t)pid};
	size_t keylen = (n + 1) * sizeof(uint64_t);
	struct interned *i = calloc(1, sizeof(*i) + keylen), *old;
	int err;

	if (!i || !n) {
		free(i);
		return TRACE_NO_STACK;
	}
	i->keylen = keylen;
	i->key[0] = mm;
	for (unsigned int k = 0; k < n; k++)
		i->key[k + 1] = f[k].pc;
	HASH_FIND(hh, s->interned, i->key, keylen, old);
	if (old) {
		free(i);
		return old->id;
	}
	for (unsigned int k = 0; k < n; k++)
		symbols_see(s->symbols, mm, pid, f[k].pc);
	rec.id = s->last_id + 1;
	rec.depth = n;
	err = trace_put_stack(recorder_writer(s->rec), &rec, i->key + 1);
	if (err) {
		recorder_check(s->rec, err);
		free(i);
		return TRACE_NO_STACK;
	}
	i->id = ++s->last_id;
	i->pid = pid;
	HASH_ADD_KEYPTR(hh, s->interned, i->key, keylen, i);
	return i->id;
}

/* --- stacks known by their words --- */

static void forget_known(struct stacks *s)
{
	struct site *site, *next;

	HASH_ITER (hh, s->sites, site, next) {
		while (site->known) {
			struct known *k = site->known;

			site->known = k->next;
			free(k);
		}
		HASH_DEL(s->sites, site);
		free(site);
	}
	s->nknown = 0;
}

static struct site *site_of(struct stacks *s, uint32_t mm, uint64_t ip, bool add)
{
	const struct site_key key = {.ip = ip, .mm = mm};
	struct site *site;

	HASH_FIND(hh, s->sites, &key, sizeof(key), site);
	if (site || !add)
		return site;
	site = calloc(1, sizeof(*site));
	if (!site)
		return NULL;
	site->key = key;
	HASH_ADD(hh, s->sites, key, sizeof(site->key), site);
	return site;
}

static void keep(struct stacks *s, uint32_t mm, uint64_t ip, uint64_t sp, const struct frame *f,
		 unsigned int n, uint32_t id)
{
	struct site *site;
	struct known *k;

	if (s->nknown >= CACHE_MAX)
		forget_known(s);
	site = site_of(s, mm, ip, true);
	k = calloc(1, sizeof(*k) + n * sizeof(k->word[0]));
	if (!site || !k) {
		free(k);
		return;
	}
	k->id = id;
	for (unsigned int i = 1; i < n; i++) {
		if (f[i].slot < sp || f[i].slot - sp >= SPAN_MAX - 8) {
			free(k);
			return;
		}
		k->word[k->count].off = (uint32_t)(f[i].slot - sp);
		k->word[k->count++].pc = f[i].pc;
	}
	if (k->count)
		k->span = k->word[k->count - 1].off + 8;
	if (k->span > site->span)
		site->span = k->span;
	k->next = site->known;
	site->known = k;
	s->nknown++;
}

static bool words_match(const struct known *k, const uint8_t *buf, uint32_t size)
{
	if (k->span > size)
		return false;
	for (uint32_t i = 0; i < k->count; i++) {
		uint64_t word;

		memcpy(&word, buf + k->word[i].off, sizeof(word));
		if (word != k->word[i].pc)
			return false;
	}
	return true;
}

static const struct known *recall(struct stacks *s, pid_t tid, uint32_t mm, uint64_t ip,
				  uint64_t sp)
{
	const struct site *site = site_of(s, mm, ip, false);
	uint32_t size;

	if (!site)
		return NULL;
	size = site->span;
	if (size && tracer_read(tid, sp, s->buf, size)) {
		/* Near the end of the stack: what is in this page must do. */
		if (size > 4096 - sp % 4096)
			size = (uint32_t)(4096 - sp % 4096);
		if (tracer_read(tid, sp, s->buf, size))
			return NULL;
	}
	for (const struct known *k = site->known; k; k = k->next)
		if (words_match(k, s->buf, size))
			return k;
	return NULL;
}

uint32_t stacks_id(struct stacks *s, pid_t tid, pid_t pid, uint32_t mm, uint64_t ip, uint64_t sp)
{
	const struct known *k = recall(s, tid, mm, ip, sp);
	struct frame f[TRACE_MAX_STACK], theirs[TRACE_MAX_STACK];
	unsigned int n, kept = 0;
	uint32_t id;

	if (k)
		return k->id;
	n = unwind(s, tid, f, TRACE_MAX_STACK);
	if (n)
		symbols_see(s->symbols, mm, pid, f[0].pc);
	for (unsigned int i = 0; i < n; i++)
		if (!symbols_is_ours(s->symbols, mm, f[i].pc))
			theirs[kept++] = f[i];
	id = intern(s, pid, mm, theirs, kept);
	keep(s, mm, ip, sp, f, n, id);
	return id;
}

void stacks_answer(struct stacks *s, pid_t tid, pid_t pid, uint32_t mm, struct record_unwind *u)
{
	struct frame f[TRACE_MAX_STACK + 8];
	unsigned int n, first = 0;

	u->id = TRACE_NO_STACK;
	u->count = 0;
	u->lo = u->hi = 0;
	if (!symbols_range(s->symbols, mm, pid, u->slot, &u->lo, &u->hi))
		return;
	n = unwind(s, tid, f, TRACE_MAX_STACK + 8);
	while (first < n && f[first].slot != u->slot)
		first++;
	if (first == n || f[first].pc != u->ra) {
		/*
		 * The unwinder did not come through the library:
		 * the return address is all that is known.
		 */
		f[0].pc = u->ra;
		first = 0;
		n = 1;
	}
	if (n - first > RECORD_WORDS + 1)
		n = first + RECORD_WORDS + 1;
	for (unsigned int i = first + 1; i < n; i++) {
		uint64_t word;

		/* Only what lies where the unwinder says can prove the stack the next time. */
		if (f[i].slot <= u->slot || f[i].slot + 8 > u->hi ||
		    f[i].slot - u->slot > UINT32_MAX ||
		    tracer_read(tid, f[i].slot, &word, sizeof(word)) || word != f[i].pc) {
			n = i;
			break;
		}
		u->off[u->count] = (uint32_t)(f[i].slot - u->slot);
		u->pc[u->count++] = f[i].pc;
	}
	u->id = intern(s, pid, mm, f + first, n - first);
}

static int by_pc(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/*
 * All pcs of the stacks of one process in one address
 * space. Return: their number; *@pcs is the caller's.
 */
static unsigned int collect(const struct stacks *s, pid_t pid, uint64_t mm, uint64_t **pcs)
{
	size_t n = 0, out = 0;
	uint64_t *all;

	for (const struct interned *i = s->interned; i; i = i->hh.next)
		if (i->pid == pid && i->key[0] == mm)
			n += i->keylen / sizeof(uint64_t) - 1;
	all = calloc(n + 1, sizeof(*all));
	*pcs = all;
	if (!all)
		return 0;
	n = 0;
	for (const struct interned *i = s->interned; i; i = i->hh.next)
		if (i->pid == pid && i->key[0] == mm)
			for (size_t k = 1; k < i->keylen / sizeof(uint64_t); k++)
				all[n++] = i->key[k];
	qsort(all, n, sizeof(*all), by_pc);
	for (size_t k = 0; k < n; k++)
		if (!out || all[out - 1] != all[k])
			all[out++] = all[k];
	return (unsigned int)out;
}

void stacks_symbols(struct stacks *s)
{
	/*
	 * The list is in the order of the first meeting: a pair
	 * (process, address space) is done at its first stack.
	 */
	for (struct interned *i = s->interned; i; i = i->hh.next) {
		const struct interned *first = s->interned;
		uint64_t *pcs;
		unsigned int n;

		while (first != i && (first->pid != i->pid || first->key[0] != i->key[0]))
			first = first->hh.next;
		if (first != i)
			continue;
		n = collect(s, i->pid, i->key[0], &pcs);
		recorder_check(s->rec, symbols_write(s->symbols, recorder_writer(s->rec),
						     (uint32_t)i->key[0], i->pid, pcs, n));
		free(pcs);
	}
}

int stacks_new(struct stacks **sp, struct recorder *rec)
{
	static unw_accessors_t accessors;
	struct stacks *s = calloc(1, sizeof(*s));

	accessors = _UPT_accessors;
	accessors.access_mem = access_mem;
	if (!s)
		return -ENOMEM;
	s->rec = rec;
	s->buf = malloc(SPAN_MAX);
	s->space = unw_create_addr_space(&accessors, 0);
	if (!s->buf || !s->space || symbols_new(&s->symbols)) {
		stacks_free(s);
		return -ENOMEM;
	}
	unw_set_caching_policy(s->space, UNW_CACHE_NONE);
	*sp = s;
	return 0;
}

void stacks_free(struct stacks *s)
{
	struct interned *i, *next;

	if (!s)
		return;
	forget_known(s);
	HASH_ITER (hh, s->interned, i, next) {
		HASH_DEL(s->interned, i);
		free(i);
	}
	if (s->space)
		unw_destroy_addr_space(s->space);
	symbols_free(s->symbols);
	free(s->buf);
	free(s);
}
