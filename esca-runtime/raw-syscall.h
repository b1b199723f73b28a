/* SPDX-License-Identifier: MIT */
/*
 * raw-syscall.h - the only way the runtime enters the
 * kernel: never through libc, whose names we have taken.
 */
#ifndef ESCA_RUNTIME_RAW_SYSCALL_H
#define ESCA_RUNTIME_RAW_SYSCALL_H

/**
 * raw_syscall() - one system call by number; returns what the
 * kernel returned (-errno on failure) and leaves errno alone.
 */
static inline __attribute__((always_inline)) long raw_syscall(long nr, long a0, long a1, long a2,
							      long a3, long a4, long a5)
{
	long ret;
	register long r10 __asm__("r10") = a3;
	register long r8 __asm__("r8") = a4;
	register long r9 __asm__("r9") = a5;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a0), "S"(a1), "d"(a2), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

/** raw_is_error() - is @ret a kernel error (-4095 to -1)? */
static inline int raw_is_error(long ret)
{
	return (unsigned long)ret >= (unsigned long)-4095L;
}

#endif
