/* SPDX-License-Identifier: MIT */
/*
 * record.h - the rings that libesca.so fills in mode record and the tracer drains: the ABI of the
 * fast lane.
 *
 * The tracer owns one memory file of struct record_area. A process opens it by the path in its
 * plan, maps it, closes the descriptor at once; each of its threads claims a ring. Nothing but ring
 * memory is shared: the table of known stacks and the table of descriptors belong to the process,
 * so a fork inherits them and an exec drops them.
 */
#ifndef ESCA_RUNTIME_RECORD_H
#define ESCA_RUNTIME_RECORD_H

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/** The gate: a page at a fixed address that holds `syscall; ret`, so that one seccomp filter stays
 * right across exec and fork. */
#define ESCA_GATE_ADDR 0x00007e5ca000ull
/** What the kernel reports as instruction pointer of a call made there. */
#define ESCA_GATE_IP (ESCA_GATE_ADDR + 2)

#define RECORD_MAGIC  0x43525345u /* "ESRC" */
#define RECORD_RINGS  256
#define RECORD_SLOTS  8192 /* a power of two; a ring stays below 1 MiB */
#define RECORD_MARGIN 64   /* slots kept free for signal handlers that interrupt the claim of one */
#define RECORD_WORDS  62   /* return addresses of a stack beside the innermost */
#define RECORD_FDS    65536

/**
 * Calls by which the library talks to the tracer. They are made outside the gate, so that the
 * filter stops them; the kernel never sees them. Without a tracer they fail with ENOSYS.
 *
 * UNWIND: struct record_unwind *, its size. The tracer fills the answer. Returns 0.
 *
 * HUSH: 1: the calls of this thread are the library's
 * own from here; 0: they are the server's again.
 *
 * LIVE: address of the table of descriptors: the ring lane is in force in this process.
 */
#define RECORD_NR_UNWIND 0xe5ca0
#define RECORD_NR_HUSH	 0xe5ca1
#define RECORD_NR_LIVE	 0xe5ca2

/** A slot is valid when seq is the low half of its position plus 1; the thread writes seq last.
 * Times are in area clock units. */
struct record_slot {
	uint64_t enter;
	uint64_t exit;
	int64_t result;
	uint64_t args[6];
	uint64_t extra;
	uint32_t seq;
	uint32_t stack; /* id of the tracer, 0 none */
	uint16_t nr;
	uint8_t fd_kind;
	uint8_t fd_flags;
	uint32_t reserved;
};

/**
 * The ring of one thread. head counts claimed slots and
 * never goes back, also not when the ring changes its owner.
 */
struct record_ring {
	/* written by the thread */
	uint64_t head;
	uint64_t entered; /* when the outermost call in flight began; 0: none */
	uint64_t lost;	  /* calls that found the ring full */
	uint64_t pad0[5];
	/* written by the tracer */
	uint64_t tail; /* slots before this are free again */
	/* a vfork child runs on this thread's memory: its descriptors are not the thread's */
	uint32_t borrowed;
	uint32_t pad1;
	uint64_t pad2[6];
	/* claimed by exchanging 0 for a thread id, given back by the tracer */
	uint32_t owner;
	uint32_t pad3[15];
	struct record_slot slot[RECORD_SLOTS];
};

struct record_area {
	uint32_t magic;
	uint32_t nrings;
	uint32_t tsc;	    /* times are time stamp counter ticks, else CLOCK_MONOTONIC ns */
	uint32_t stacks;    /* call stacks are wanted */
	uint32_t calibrate; /* the first process takes this from 1 to 0 and measures record_ps */
	uint32_t used;	    /* rings from this on were never claimed */
	/* what recording a call costs, in clock units times 1024; 0: not measured */
	uint64_t record_ticks;
	uint64_t reserved[506];
	struct record_ring ring[RECORD_RINGS];
};

/**
 * struct record_unwind - "which stack is this?"
 * @slot: address of the stack word that holds the innermost return address outside the library;
 * @ra: that address.
 * @id: of the stack; 0: it could not be unwound.
 * @lo, @hi: bounds of the mapping the stack lies in, so that the library reads no word beyond it.
 * @count, @off, @pc: where (relative to @slot) the other return addresses lie and what they are:
 * the same words in the same places below the same @ra are the same stack.
 */
struct record_unwind {
	uint64_t slot;
	uint64_t ra;
	uint32_t id;
	uint32_t count;
	uint64_t lo;
	uint64_t hi;
	uint64_t pc[RECORD_WORDS];
	uint32_t off[RECORD_WORDS];
};

/** What a descriptor is; the numbers are those of enum trace_fd_kind and enum trace_fd_flag
 * (cli/recorder.c asserts it). */
enum record_fd_kind {
	RECORD_FD_NONE = 0, /* in the table of descriptors: not looked at yet */
	RECORD_FD_UNKNOWN,
	RECORD_FD_TCP,
	RECORD_FD_UNIX,
	RECORD_FD_LISTEN,
	RECORD_FD_DGRAM,
	RECORD_FD_REG,
	RECORD_FD_DIR,
	RECORD_FD_PIPE,
	RECORD_FD_EPOLL,
	RECORD_FD_EVENT,
	RECORD_FD_OTHER,
};

enum record_fd_flag {
	RECORD_FD_NONBLOCK = 1,
	RECORD_FD_APPEND = 2,
	RECORD_FD_WRITABLE = 4,
	RECORD_FD_SYNC = 8,
};

/** One entry of the table of descriptors. */
struct record_fd {
	uint8_t kind;
	uint8_t flags;
};

/** How record_look() makes its calls: -errno on failure. */
typedef long (*record_syscall)(long nr, long a0, long a1, long a2, long a3, long a4, long a5);

/** record_flags() - the flags of a descriptor from its open flags. */
static inline uint8_t record_flags(long fl)
{
	return (fl & O_NONBLOCK ? RECORD_FD_NONBLOCK : 0) | (fl & O_APPEND ? RECORD_FD_APPEND : 0) |
	       ((fl & O_ACCMODE) != O_RDONLY ? RECORD_FD_WRITABLE : 0) |
	       (fl & O_DSYNC ? RECORD_FD_SYNC : 0);
}

static inline long record_sockopt(record_syscall call, long fd, int name)
{
	int value = -1;
	unsigned int len = sizeof(value);

	call(SYS_getsockopt, fd, SOL_SOCKET, name, (long)&value, (long)&len, 0);
	return value;
}

static inline uint8_t record_socket_kind(record_syscall call, long fd)
{
	long domain = record_sockopt(call, fd, SO_DOMAIN);
	long type = record_sockopt(call, fd, SO_TYPE);

	if (type == SOCK_DGRAM)
		return RECORD_FD_DGRAM;
	if (type != SOCK_STREAM)
		return RECORD_FD_OTHER;
	if (record_sockopt(call, fd, SO_ACCEPTCONN) == 1)
		return RECORD_FD_LISTEN;
	if (domain == AF_INET || domain == AF_INET6)
		return RECORD_FD_TCP;
	return domain == AF_UNIX ? RECORD_FD_UNIX : RECORD_FD_OTHER;
}

/* Those without a file type of their own tell it by the name of their link. */
static inline uint8_t record_anon_kind(record_syscall call, long fd)
{
	char link[32], path[32] = "/proc/self/fd/";
	char digits[12];
	unsigned int n = 14, d = 0;
	long len;

	do
		digits[d++] = '0' + fd % 10;
	while (fd /= 10);
	while (d)
		path[n++] = digits[--d];
	path[n] = '\0';
	len = call(SYS_readlinkat, AT_FDCWD, (long)path, (long)link, sizeof(link), 0, 0);
	if (len >= 18 && !memcmp(link, "anon_inode:[eventp", 18))
		return RECORD_FD_EPOLL;
	if (len >= 18 && !memcmp(link, "anon_inode:[eventf", 18))
		return RECORD_FD_EVENT;
	return RECORD_FD_OTHER;
}

/** record_kind() - what @fd is; UNKNOWN if it is not open. */
static inline uint8_t record_kind(record_syscall call, long fd)
{
	struct stat st;

	if (call(SYS_fstat, fd, (long)&st, 0, 0, 0, 0) < 0)
		return RECORD_FD_UNKNOWN;
	switch (st.st_mode & S_IFMT) {
	case S_IFREG:
		return RECORD_FD_REG;
	case S_IFDIR:
		return RECORD_FD_DIR;
	case S_IFIFO:
		return RECORD_FD_PIPE;
	case S_IFSOCK:
		return record_socket_kind(call, fd);
	case 0:
		return record_anon_kind(call, fd);
	}
	return RECORD_FD_OTHER;
}

/** record_look() - find out what @fd is and how it was opened. */
static inline struct record_fd record_look(record_syscall call, long fd)
{
	struct record_fd r = {RECORD_FD_UNKNOWN, 0};
	long fl = call(SYS_fcntl, fd, F_GETFL, 0, 0, 0, 0);

	if (fl < 0)
		return r;
	r.kind = record_kind(call, fd);
	r.flags = record_flags(fl);
	return r;
}

#endif
