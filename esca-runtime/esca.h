/* SPDX-License-Identifier: MIT */
/*
 * esca.h - for server authors: the two lines that say where a turn begins and where what it made
 * has to be out. See esca_batch_begin(3).
 *
 * Needs no library: a program that is not started by 'esca run' finds nothing behind the two names
 * and goes on.
 */
#ifndef ESCA_H
#define ESCA_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__x86_64__) && defined(__LP64__)
/*
 * The address of a function of libesca.so, or 0 where that is not loaded. Through the global offset
 * table, since a weak reference in C becomes 0 for good where a program is linked -no-pie.
 */
#define ESCA_CALL_IF_LOADED(name)                                                                  \
	do {                                                                                       \
		void (*esca_f)(void);                                                              \
		__asm__(".weak " #name "\n\tmovq " #name "@GOTPCREL(%%rip), %0" : "=r"(esca_f));   \
		if (esca_f)                                                                        \
			esca_f();                                                                  \
	} while (0)
#else
#define ESCA_CALL_IF_LOADED(name)                                                                  \
	do {                                                                                       \
	} while (0)
#endif

/**
 * esca_batch_begin() - a turn of this thread begins here: calls that need no answer may wait until
 * the matching esca_batch_end(), or the next wait. Pairs may be nested. Keeps errno; may be called
 * in signal handlers.
 */
static __inline__ void esca_batch_begin(void)
{
	ESCA_CALL_IF_LOADED(esca_runtime_begin);
}

/** esca_batch_end() - the outermost one: everything that waits in this thread is made now. */
static __inline__ void esca_batch_end(void)
{
	ESCA_CALL_IF_LOADED(esca_runtime_end);
}

#ifdef __cplusplus
}
#endif

#endif
