/* SPDX-License-Identifier: MIT */
/* init.c - read the plan when the library is loaded and put its mode in force; in doubt, none. */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include <esca-runtime/cancel.h>
#include <esca-runtime/plan.h>
#include <esca-runtime/raw-syscall.h>
#include <esca-runtime/runtime.h>

esca_handler esca_handlers[ROW_COUNT] = {[0 ... ROW_COUNT - 1] = esca_plain};

#define ESCA_CALL(name, cls, fd, buf, ptr, len, ret, ret_arg, args)                                \
	static long through_##name(long a0, long a1, long a2, long a3, long a4, long a5)           \
	{                                                                                          \
		return esca_result(esca_handlers[ROW_##name](SYS_##name, a0, a1, a2, a3, a4, a5)); \
	}
#include <analyzer/syscalls.def>
#undef ESCA_CALL

esca_entry esca_entries[ROW_COUNT] = {
#define ESCA_CALL(name, cls, fd, buf, ptr, len, ret, ret_arg, args) through_##name,
#include <analyzer/syscalls.def>
#undef ESCA_CALL
};

long esca_plain(long nr, long a0, long a1, long a2, long a3, long a4, long a5)
{
	return sleeping_syscall(nr, a0, a1, a2, a3, a4, a5);
}

/* Does the word at @w have the key @key? Then copy its value, cut to @size. */
static bool take(const char *w, size_t len, const char *key, char *value, size_t size)
{
	size_t klen = strlen(key);

	if (len <= klen || strncmp(w, key, klen) || w[klen] != '=')
		return false;
	len -= klen + 1;
	if (len >= size)
		len = size - 1;
	memcpy(value, w + klen + 1, len);
	value[len] = '\0';
	return true;
}

static void take_number(const char *w, size_t len, const char *key, int base, unsigned int *to)
{
	char word[16], *end;
	unsigned long v;

	if (!take(w, len, key, word, sizeof(word)))
		return;
	v = strtoul(word, &end, base);
	if (end != word && !*end && v <= 0xffffffffu)
		*to = (unsigned int)v;
}

static bool plan_parse(struct esca_plan *plan, const char *s)
{
	char word[16], abi[16] = "";

	memset(plan, 0, sizeof(*plan));
	strcpy(plan->backend, "direct");
	plan->fuse = ESCA_FUSE_DEFAULT;
	plan->calls = ESCA_QUEUE_CALLS;
	plan->bytes = ESCA_QUEUE_BYTES;
	plan->age_us = ESCA_QUEUE_AGE;
	while (*s) {
		size_t len = strcspn(s, " ");

		if (take(s, len, "mode", word, sizeof(word))) {
			if (!strcmp(word, "record"))
				plan->mode = ESCA_MODE_RECORD;
			else if (!strcmp(word, "run"))
				plan->mode = ESCA_MODE_RUN;
		}
		take(s, len, "abi", abi, sizeof(abi));
		take(s, len, "backend", plan->backend, sizeof(plan->backend));
		take_number(s, len, "fuse", 16, &plan->fuse);
		take_number(s, len, "calls", 10, &plan->calls);
		take_number(s, len, "bytes", 10, &plan->bytes);
		take_number(s, len, "age", 10, &plan->age_us);
		take(s, len, "stats", plan->stats, sizeof(plan->stats));
		take(s, len, "ring", plan->ring, sizeof(plan->ring));
		s += len;
		s += strspn(s, " ");
	}
	return atoi(abi) == ESCA_PLAN_ABI;
}

__attribute__((constructor)) static void esca_init(void)
{
	const char *env = getenv(ESCA_PLAN_ENV);
	struct esca_plan plan;

	if (!env || !plan_parse(&plan, env))
		return;
	if (plan.mode == ESCA_MODE_RECORD)
		record_start(&plan);
	else if (plan.mode == ESCA_MODE_RUN)
		run_start(&plan);
}
