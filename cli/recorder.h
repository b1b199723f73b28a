/* SPDX-License-Identifier: MIT */
/*
 * recorder.h - from both lanes into one file: drain the
 * rings, bring each thread's calls into order, write them.
 */
#ifndef ESCA_CLI_RECORDER_H
#define ESCA_CLI_RECORDER_H

#include <stdbool.h>
#include <stdint.h>

#include <analyzer/trace.h>

struct recorder;

/**
 * recorder_new() - a recording that goes to @w, which the caller keeps.
 * @rings: make the memory file for libesca.so; @stacks: it shall ask for call stacks.
 * Takes about 20 ms: the time stamp counter is compared with the clock.
 * Return: 0 and *@r, or negative errno.
 */
int recorder_new(struct recorder **r, struct trace_writer *w, bool rings, bool stacks);
void recorder_free(struct recorder *r);

/** recorder_plan() - the value of ESCA_PLAN_ENV for the server; valid as long as @r. */
const char *recorder_plan(const struct recorder *r);

/**
 * recorder_now() - the time on the clock of the recording:
 * CLOCK_MONOTONIC, by the same counter that the rings use.
 */
uint64_t recorder_now(const struct recorder *r);

struct trace_writer *recorder_writer(const struct recorder *r);

/** recorder_check() - note what a trace_put_*() returned. recorder_error() - the first write that
 * failed, negative errno, or 0. */
void recorder_check(struct recorder *r, int err);
int recorder_error(const struct recorder *r);

/** recorder_thread() - @tid belongs to process @pid. */
void recorder_thread(struct recorder *r, uint32_t tid, uint32_t pid);

/** recorder_call() - a finished call of the net or stop lane; it is written when no earlier call of
 * its thread can still come. */
void recorder_call(struct recorder *r, const struct trace_call *c);

/**
 * recorder_open() - a net or stop lane call of thread
 * @tid that began at @enter_ns is in flight; 0: none is.
 */
void recorder_open(struct recorder *r, uint32_t tid, uint64_t enter_ns);

/** recorder_in_flight() - when the ring lane call that @tid is in began; 0: it is in none. */
uint64_t recorder_in_flight(struct recorder *r, uint32_t tid);

/**
 * recorder_drain() - empty all rings and write what is in
 * order. Return: the number of calls that came out of rings.
 */
unsigned int recorder_drain(struct recorder *r);

/** recorder_sync() - drain, and bring everything up to now to the file. */
void recorder_sync(struct recorder *r);

/**
 * recorder_borrow() - from here on the ring of thread @parent holds calls of its vfork child
 * @child, which runs on its memory. recorder_return() - the child has called exec or ended; call it
 * before recorder_thread_gone(@child).
 */
void recorder_borrow(struct recorder *r, uint32_t parent, uint32_t child);
void recorder_return(struct recorder *r, uint32_t parent, uint32_t child);

/**
 * recorder_thread_gone() - the thread has ended or lost its
 * memory by exec: write all it did and give its ring back.
 */
void recorder_thread_gone(struct recorder *r, uint32_t tid);

/** recorder_lost() - calls lost so far. recorder_cost_ns() - what recording one call in the ring
 * costs the server; 0: not measured. */
uint64_t recorder_lost(const struct recorder *r);
double recorder_cost_ns(const struct recorder *r);

#endif
