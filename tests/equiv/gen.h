/* SPDX-License-Identifier: MIT */
/*
 * gen.h - what the files of equiv-gen share: a seed makes a server and a peer of it, which do the
 * same on every run and write down what must not depend on timing.
 *
 * The server decides everything, by random numbers that depend on the seed alone. The peer does
 * what it is told through shared memory, and the server waits there, by system calls that no
 * library sees, until it is done and has arrived: so what is in every receive buffer is known, and
 * the results of nearly all calls with it. What does depend on timing, and is not compared:
 *  - how much of a message a full socket takes: messages to tight streams are sent to their end;
 *  - at which write after the peer hung up the error comes: the server writes until it does;
 *  - how much a peer gets of a stream that is reset: a prefix of it;
 *  - whether a tight stream can be written to, and which edges of it there are.
 */
#ifndef ESCA_TESTS_EQUIV_GEN_H
#define ESCA_TESTS_EQUIV_GEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CONNS	   6
#define STREAM_MAX (768 << 10)
#define CMDS	   16
#define GRAMS	   32

enum stream_end {
	END_NONE, /* never connected */
	END_OPEN,
	END_FIN,
	END_RESET,
	END_OTHER,
	END_BY_PEER, /* the peer closed or reset it */
};

/** One connection's bytes to the peer, as the server was told they are taken, and as they came. */
struct stream {
	volatile uint32_t accepted, received;
	volatile uint32_t end; /* enum stream_end, of the peer */
	/* set by the server: only a prefix is sure to arrive; how it ends is not known either */
	volatile bool prefix, any_end;
	unsigned char sent[STREAM_MAX], got[STREAM_MAX];
};

enum peer_does {
	PEER_DIAL, /* @arg: receive buffer, 0: as it is */
	PEER_DIAL_LOCAL,
	PEER_SEND, /* @arg bytes */
	PEER_HALF, /* close its direction */
	PEER_CLOSE,
	PEER_RESET,
};

struct text {
	volatile uint32_t len;
	char s[(128 << 10) - 4];
};

/** struct shared - of the server (and its children), the peer and the parent of both. */
struct shared {
	/* commands: the server raises asked, the peer makes done equal; both are futexes */
	volatile uint32_t asked, done;
	uint32_t ncmds;
	struct {
		uint32_t what, conn, arg;
	} cmds[CMDS];
	volatile bool server_gone;
	volatile uint32_t child_done;
	uint16_t tcp_port, udp_port;
	char local[32]; /* abstract name of the local listener */
	volatile uint32_t ngrams;
	struct {
		uint32_t len, hash;
	} grams[GRAMS];
	struct text text;
	struct stream streams[CONNS];
};

extern struct shared *sh;
/** A bell that wakes the peer, and the peer's datagram socket. */
extern int bell, udp_peer;
/** After so many operations the program ends; for making a failing one small. */
extern unsigned int max_ops;

/* --- gen.c --- */

/** quietly() - a system call that the runtime does not see. Return: as the kernel does. */
long quietly(long nr, long a, long b, long c, long d, long e, long f);
/** quiet_wait() - until *@word is not @old; false: after ten seconds. */
bool quiet_wait(volatile uint32_t *word, uint32_t old);
/** quiet_set() - *@word is @value from now on; who waits for that goes on. */
void quiet_set(volatile uint32_t *word, uint32_t value);
void quiet_nap(long us);
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

uint64_t rnd(void);
/** below() - 0 to @n - 1. chance() - true @percent times of a hundred. */
uint32_t below(uint32_t n);
bool chance(uint32_t percent);
extern uint64_t rnd_state;

uint32_t hash_of(const void *p, size_t n);
/** Byte @i of what the peer of @conn says. */
static inline unsigned char peer_byte(unsigned int conn, uint32_t i)
{
	return (unsigned char)(i * 7 + conn * 31 + (i >> 8));
}

/* --- gen-peer.c --- */

void peer_run(uint64_t seed) __attribute__((noreturn));

/* --- gen-server.c: the harness --- */

enum loop {
	LOOP_EPOLL,
	LOOP_EPOLL_PWAIT,
	LOOP_EPOLL_PWAIT2,
	LOOP_POLL,
	LOOP_PPOLL,
	LOOP_SELECT,
	LOOP_PSELECT,
	LOOPS,
};

/** What a loop waits for. The conns come first, with the same index. */
enum {
	WATCH_LISTENER = CONNS,
	WATCH_LOCAL,
	WATCH_PIPE,
	WATCH_EVENT,
	WATCH_PAIR,
	WATCHES
};

struct watch {
	int fd;		 /* -1: none */
	uint32_t events; /* as registered */
	bool on;
	uint32_t got; /* of the last wait */
};

struct conn {
	int fd; /* -1: none */
	bool used, local, tight, nodelay, corked, more, blocking;
	bool shut;	/* by us, for writing */
	bool fin, gone; /* the peer half-closed; closed altogether */
	bool rst_seen;
	bool rst, told, dead; /* was reset; we know; writing is known to fail with EPIPE */
	uint32_t heard;	      /* of what the peer said */
	uint32_t inq;	      /* delivered and not read */
	uint32_t unsynced, writes;
};

extern struct conn conns[CONNS];
extern struct watch watches[WATCHES];
extern int ep;
extern enum loop loop;
extern unsigned int opno;
extern bool numbers_known; /* no closed stream of ours may still have its number */

/** result() - note a call and its result. */
void result(const char *what, long ret);
/** number() - the same for one that makes a descriptor. */
void number(const char *what, long ret);
void tell(enum peer_does what, unsigned int conn, uint32_t arg);
/** ask() - have the peer do what it was told, and wait until it has arrived. */
void ask(void);
bool loop_is_epoll(void);
void watch_set(unsigned int w, int fd, uint32_t events);
/** watch_raw() - epoll_ctl(2) as it is; noted. */
long watch_raw(int op, unsigned int w, uint32_t events);
void watch_gone(unsigned int w);
/** turn() - one wait; what it returns is noted. */
void turn(void);
/** wait_once() - one wait that is not noted, and what it may see others have seen by turn(). */
int wait_once(int ms);
/** synced() - wait until the peer has got all that we wrote to @c. */
void synced(struct conn *c);
void settle(struct conn *c, uint32_t n);
/** healthy() - may it be written to, as far as both sides know? */
bool healthy(const struct conn *c);
struct stream *stream_of(const struct conn *c);
unsigned int index_of(const struct conn *c);

/** struct message - bytes on their way to one stream, by one kind of call. */
struct message {
	struct conn *c;
	uint32_t kind;
	uint32_t left;
	off_t off; /* in the file, for sendfile */
};
/** write_once() - one call. Return: its result, or -errno; what was taken is accounted for. */
long write_once(struct message *m);
/** burst() - send messages to their ends, as a loop does. */
void burst(struct message *m, unsigned int n);
enum {
	KIND_WRITE,
	KIND_SEND,
	KIND_SEND_NOSIGNAL,
	KIND_SEND_MORE,
	KIND_WRITEV,
	KIND_SENDMSG,
	KIND_RAW_WRITE,
	KIND_SENDFILE,
	KIND_SENDFILE_POS,
	KIND_SENDMMSG,
	KINDS
};
extern const char *const kind_names[KINDS];
extern int body; /* the file that is sent from */
#define BODY_SIZE 50000
unsigned char body_byte(off_t i);

/* --- gen-ops.c, gen-odd.c: what a program consists of --- */

/** Which of the less usual things this program does. */
struct features {
	bool thread, dups, rights, forks, spawns, signals, local, tight, ctl, blocking, hangups;
	bool files, logs, pairs, udp, odd, quiet_thread, herd;
	int sigpipe; /* 0 ignored, 1 counted, 2 default */
};
extern struct features may;
extern volatile uint32_t sigpipes;
extern int listener, local_listener;
extern bool in_helper, in_child;
/* A process that was started may have had our streams. */
extern bool may_be_inherited;

void server_run(uint64_t seed) __attribute__((noreturn));
/** pick() - a random one of those that @ok says yes to; NULL: there is none. */
struct conn *pick(bool (*ok)(const struct conn *));
/** roomy() - healthy, and takes all that it is given at once. */
bool roomy(const struct conn *c);
void op_write(struct conn *c);
void op_read(struct conn *c);
/** op_small() - one that a signal handler or a child can do. */
void op_small(void);
/** op_any() - one random operation. */
void op_any(void);
void conn_new(void);
void conn_close(struct conn *c);
/** taken_by_other() - somebody else wrote @n bytes at @p to it. */
void taken_by_other(struct conn *c, const char *p, uint32_t n);
/** ending() - what can be known of how each stream ends if the process ends now. */
void ending(bool killed);

void odd_start(void);
void op_odd(void);
void op_log(void);
void op_file(void);
void op_pair(void);
void op_datagram(void);
void op_process(void);
void op_signal(void);
void op_ctl(void);

#endif
