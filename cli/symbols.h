/* SPDX-License-Identifier: MIT */
/*
 * symbols.h - remember what was mapped where, and turn
 * the pcs of call stacks into functions, files and lines.
 */
#ifndef ESCA_CLI_SYMBOLS_H
#define ESCA_CLI_SYMBOLS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <analyzer/trace.h>

struct symbols;

int symbols_new(struct symbols **s);
void symbols_free(struct symbols *s);

/**
 * symbols_see() - @pc was met in process @pid, whose address space is number @mm: if the mappings
 * known of it do not cover @pc, read them now, while the process lives.
 */
void symbols_see(struct symbols *s, uint32_t mm, pid_t pid, uint64_t pc);

/**
 * symbols_range() - the bounds of the mapping of @mm that holds @addr, as far as a stack there
 * could be read: a stack that can grow is given the free space below it. Reads the mappings anew.
 * Return: false if nothing is mapped there.
 */
bool symbols_range(struct symbols *s, uint32_t mm, pid_t pid, uint64_t addr, uint64_t *lo,
		   uint64_t *hi);

/** symbols_is_ours() - does @pc lie in libesca.so? */
bool symbols_is_ours(const struct symbols *s, uint32_t mm, uint64_t pc);

/**
 * symbols_write() - resolve the @n return addresses @pc of @mm and write one TRACE_REC_SYMBOL each.
 */
int symbols_write(struct symbols *s, struct trace_writer *w, uint32_t mm, pid_t pid,
		  const uint64_t *pc, unsigned int n);

#endif
