/* SPDX-License-Identifier: MIT */
/* stack.h - call stacks of stopped threads: unwound once each (libunwind-ptrace), known again by
 * the words that make them up. */
#ifndef ESCA_CLI_STACK_H
#define ESCA_CLI_STACK_H

#include <stdint.h>
#include <sys/types.h>

#include <analyzer/trace.h>
#include <cli/recorder.h>
#include <esca-runtime/record.h>

struct stacks;

/** stacks_new() - stack records go to @rec as they are first met; @rec is kept by the caller. */
int stacks_new(struct stacks **s, struct recorder *rec);
void stacks_free(struct stacks *s);

/**
 * stacks_id() - the stack of thread @tid, stopped in a call made at @ip with stack pointer @sp.
 * @mm: number of the address space: a fork keeps its parent's, an exec gets a new one. Frames of
 * libesca.so are left out. Return: its id, TRACE_NO_STACK if it cannot be unwound.
 */
uint32_t stacks_id(struct stacks *s, pid_t tid, pid_t pid, uint32_t mm, uint64_t ip, uint64_t sp);

/** stacks_answer() - fill the answer to the library's question @u for stopped thread @tid. */
void stacks_answer(struct stacks *s, pid_t tid, pid_t pid, uint32_t mm, struct record_unwind *u);

/** stacks_symbols() - write a symbol record for every pc of every stack met. */
void stacks_symbols(struct stacks *s);

#endif
