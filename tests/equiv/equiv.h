/* SPDX-License-Identifier: MIT */
/*
 * equiv.h - what the cases of tests/equiv share: a server
 * and a peer, two processes that write down what they see.
 */
#ifndef ESCA_TESTS_EQUIV_H
#define ESCA_TESTS_EQUIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>

/**
 * struct equiv_case - both run in a process of their own and connect through 127.0.0.1. What they
 * note() is printed when both have ended, the server's first. It must not depend on timing: the
 * plain run and those under the runtime are compared byte for byte.
 */
struct equiv_case {
	const char *name;
	void (*server)(void);
	void (*peer)(void);
};

extern const struct equiv_case equiv_io[], equiv_life[], equiv_turn[], equiv_wait[], equiv_ahead[],
	equiv_modes[], equiv_log[], equiv_world[], equiv_file[], equiv_signal[];

/** can_wait() - has the kernel IORING_OP_EPOLL_WAIT? */
bool can_wait(void);

/** The listening socket of the server, non-blocking, made before either runs. */
extern int listener;
/** The server's arguments after an exec: NULL else. */
extern const char *self_path;
/** Shared by server and peer: how many bytes the server was told are sent, or what a case likes. */
extern volatile uint64_t *accepted;
/** Words of it in cases where the server asks its peer for things. */
enum word {
	WORD_ASKED,
	WORD_DONE,
	WORD_SERVER, /* its process id */
	WORD_SENT,   /* bytes */
};

void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void die(const char *what) __attribute__((noreturn));

/** note_result() - a call's result and the name of its errno. */
void note_result(const char *what, long ret);

/** wait_for_word() - sleep until a word of the shared memory is at least @n. */
void wait_for_word(enum word word, uint64_t n);
/** shared_path() - a name that server and peer share; good for three calls more. */
const char *shared_path(const char *what, int n);
/** note_file() - how many lines it has, how it begins and how it ends; it is removed. */
void note_file(const char *what, const char *name);

/* --- server --- */

/** ask() - have the peer do the next thing, without a call that would flush what waits. */
void ask(void);
/** open_log() - for appending, made if need be. */
int open_log(const char *name);
int epoll_new(void);
void watch(int ep, int op, int fd, uint32_t events);
/**
 * next_event() - the descriptor of the next event, which
 * ends a turn; dies after ten seconds without one.
 */
int next_event(int ep, uint32_t *events);
/** serve_one() - accept a connection, watch it, and read the request in a turn of the loop. */
int serve_one(int ep, uint32_t events);
/** accept_wait() - the same without a request. */
int accept_wait(int ep, uint32_t events);
/** read_request() - in a turn: one read, which must bring something. */
void read_request(int fd);
/** read_byte() - the same, for one of several requests of a byte, which may have come together. */
void read_byte(int fd);
void set_int(int fd, int level, int name, int value);
int get_int(int fd, int level, int name);
/** small_buffers() - what dial_small() connects from now on has room for a few KiB. */
void small_buffers(void);

/** write_all() - a string, which must be taken whole. */
void write_all(int fd, const char *s);
/** text_byte() - byte @i of a long text. */
unsigned char text_byte(size_t i);

/* --- peer --- */

int dial(int rcvbuf);
/** dial_small() - when the server has called small_buffers(), with a receive buffer of 2 KiB. */
int dial_small(void);
void say(int fd, const char *s);
/** hear() - read exactly @n bytes and note them. */
void hear(int fd, size_t n);
/** swallow() - read to the end. Return: how many bytes; *@how: "the end" or the name of an errno.
 */
uint64_t swallow(int fd, const char **how);
/**
 * hear_all() - read to the end, @step bytes at a time and
 * resting between them, and note length, hash and how it ended.
 */
void hear_all(int fd, size_t step, bool rest);
void hang_up_hard(int fd);

#endif
