/* SPDX-License-Identifier: MIT */
/* tracer-mem.h - the memory and the descriptors of a traced process, seen from outside. */
#ifndef ESCA_CLI_TRACER_MEM_H
#define ESCA_CLI_TRACER_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <analyzer/trace.h>

/**
 * tracer_read(), tracer_write() - @size bytes at @addr of @tid;
 * 0, or negative errno (nothing, or only a part, was moved).
 */
int tracer_read(pid_t tid, uint64_t addr, void *buf, size_t size);
int tracer_write(pid_t tid, uint64_t addr, const void *buf, size_t size);

/** tracer_read_string() - the string at @addr, cut to @size; "" if it cannot be read. */
void tracer_read_string(pid_t tid, uint64_t addr, char *buf, size_t size);

/** tracer_extra() - what the pointers of the finished call @c meant: see trace_call.extra. */
uint64_t tracer_extra(pid_t tid, const struct trace_call *c);

/** tracer_fd() - what descriptor @fd of the process behind @pidfd is, into the call's fields. */
void tracer_fd(int pidfd, int fd, struct trace_call *c);

#endif
