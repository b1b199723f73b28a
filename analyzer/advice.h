/* SPDX-License-Identifier: MIT */
/* advice.h - the whole analysis, from a recording to findings, and its result. */
#ifndef ESCA_ANALYZER_ADVICE_H
#define ESCA_ANALYZER_ADVICE_H

#include <analyzer/loop.h>
#include <analyzer/savings.h>

/** Below this share of the server's CPU nothing is called worth it. */
#define ADVICE_WORTH_PERCENT 2.0

/** Where the CPU time of the server comes from. */
enum cpu_source {
	CPU_NONE,     /* nothing to tell it by */
	CPU_MEASURED, /* of the kernel's accounting, while the recording ran */
	CPU_TURNS,    /* the time between waits, where the recording has no CPU records */
};

/** Why no saving is quoted; the rest of the report stands. */
enum distrust {
	TRUSTED,
	DISTRUST_NO_LOOP, /* no event loop with turns was found */
	DISTRUST_STOPPED, /* recorded with --method ptrace */
	DISTRUST_NO_COST, /* no crossing cost */
	DISTRUST_NO_CPU,
	DISTRUST_CPU, /* the calls took longer than the CPU time there is */
};

/**
 * struct finding - one piece of advice. Strings are literals or belong to the advice.
 * @percent: of the server's CPU that it saves, negative where the recording cannot tell.
 * @plain: needs no esca.
 */
struct finding {
	const char *key; /* stable, for scripts */
	const char *title;
	const char *what;     /* to do */
	const char *evidence; /* with figures */
	const char *risk;
	const char *rejected; /* why not; NULL for a finding that stands */
	double percent;
	bool plain;
};

#define FINDINGS_MAX 64u

struct advice_loop {
	const struct loop *loop;
	struct site site;
	bool has_site;
	char comm[32];
	struct savings saved[SAVINGS_BACKENDS];
	double cpu_ns; /* between its waits */
};

struct advice {
	struct timeline *timeline; /* owner of the strings below */
	struct loops *loops;
	struct cost cost;
	const char *command;
	bool loaded; /* the recording says when the load ran; figures are of that time */
	enum trace_error end;
	double seconds;
	uint64_t calls;	  /* in the recording */
	uint64_t counted; /* of those, in turns */
	uint64_t requests;
	uint64_t lost;
	uint64_t lanes[3];
	enum distrust distrust;
	enum cpu_source cpu_source;
	double cpu_ns;				/* of the server, while what is counted happened */
	double cpu_share;			/* CPU time per time between waits, 0 to 1 */
	double recorder_ns;			/* of recording, taken off cpu_ns */
	struct tally total;			/* of all loops */
	struct savings saved[SAVINGS_BACKENDS]; /* shares of cpu_ns */
	double low[SAVINGS_BACKENDS];		/* bounds of the fused share: turns differ */
	double high[SAVINGS_BACKENDS];
	enum savings_backend best;
	uint32_t nloops;
	struct advice_loop loop[LOOPS_MAX];
	uint32_t nfindings;
	struct finding findings[FINDINGS_MAX]; /* those that stand first, by what they save */
};

/**
 * advice_from_file() - analyse the recording in @f with the costs @c; a cut recording is analysed
 * up to the cut. Return: 0 and *@a (free with advice_free()), also if there is nothing to advise;
 * -EINVAL: not readable, @why says why; -ENOMEM.
 */
int advice_from_file(FILE *f, const struct cost *c, const struct limits *lim, struct advice **a,
		     enum trace_error *why);
void advice_free(struct advice *a);

/**
 * advice_ratio() - predicted CPU time aggregated /
 * now with backend @b; 1 where no saving is quoted.
 */
double advice_ratio(const struct advice *a, enum savings_backend b);
/** advice_crossings() - predicted crossings per request; 0 where there are no requests. */
double advice_crossings(const struct advice *a, enum savings_backend b);

#endif
