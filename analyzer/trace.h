/* SPDX-License-Identifier: MIT */
/*
 * trace.h - the layout of a recording, and nothing else
 * defines a byte of it. esca-trace(5) says the same to users.
 *
 * Disk format (native byte order of the recording host; the magic tells a foreign one):
 *
 *   struct trace_file_header
 *   { struct trace_rec_header, body of `size` bytes, 0 to 7 zero bytes up to a multiple of 8 } ...
 *
 * Append only, no seeks: a recording can be a pipe and can be read
 * up to any cut. A reader skips a record type it does not know; a
 * change that an old reader cannot skip raises the major version.
 * The last record of a complete recording is TRACE_REC_END.
 */
#ifndef ESCA_ANALYZER_TRACE_H
#define ESCA_ANALYZER_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define TRACE_MAGIC	   "ESCATRC\n"
#define TRACE_MAJOR	   1
#define TRACE_MINOR	   0
#define TRACE_BYTE_ORDER   0x01020304u
#define TRACE_ARCH_X86_64  62 /* ELF e_machine */
#define TRACE_MAX_REC_SIZE (1u << 20)
#define TRACE_MAX_STACK	   64
#define TRACE_NO_STACK	   0

struct trace_file_header {
	char magic[8];
	uint16_t major;
	uint16_t minor;
	uint32_t byte_order;
	uint32_t header_size; /* of this struct, so that a minor version may add to it */
	uint32_t arch;
	uint64_t start_mono_ns; /* CLOCK_MONOTONIC when recording began */
	uint64_t start_real_ns; /* CLOCK_REALTIME at the same moment */
};

struct trace_rec_header {
	uint16_t type;
	uint16_t flags; /* 0 for now */
	uint32_t size;	/* of the body, without padding; at most TRACE_MAX_REC_SIZE */
};

enum trace_rec_type {
	/* key NUL value NUL: a fact of the host or the recording (kernel, cpu, command, ...) */
	TRACE_REC_FACT = 1,
	/* struct trace_process, exe NUL, command line (words separated by NUL) */
	TRACE_REC_PROCESS = 2,
	TRACE_REC_THREAD = 3, /* struct trace_thread, comm NUL */
	TRACE_REC_STACK = 4,  /* struct trace_stack, n x uint64_t pc, innermost first */
	/* struct trace_symbol, module NUL, function NUL, file NUL ("" where not known) */
	TRACE_REC_SYMBOL = 5,
	/* struct trace_calls, packed calls (see trace-write.c): calls of one thread in order */
	TRACE_REC_CALLS = 6,
	TRACE_REC_LOST = 7,  /* struct trace_lost */
	TRACE_REC_CPU = 8,   /* struct trace_cpu: what a thread had consumed at a moment */
	TRACE_REC_MARK = 9,  /* struct trace_mark: readiness, begin and end of the load */
	TRACE_REC_EXIT = 10, /* struct trace_exit: a thread or process ended */
	/* uint64_t mono_ns: every call that returned before this is in the file already */
	TRACE_REC_SYNC = 11,
	TRACE_REC_SIGNAL = 12, /* struct trace_signal: a signal was delivered */
	/* struct trace_path, path NUL: what name a descriptor was opened under */
	TRACE_REC_PATH = 13,
	TRACE_REC_END = 14, /* struct trace_end */
};

/** How a call came into the recording: design section 4. */
enum trace_lane {
	TRACE_LANE_RING = 0, /* the in-process ring: true durations */
	TRACE_LANE_NET = 1,  /* stopped by the filter beside the ring lane */
	/* --method ptrace: every call stopped; durations and batches are not the server's own */
	TRACE_LANE_STOP = 2,
};

/** What a descriptor was when the call used it. */
enum trace_fd_kind {
	TRACE_FD_NONE = 0, /* the call has no descriptor argument */
	TRACE_FD_UNKNOWN,  /* not looked at, or closed */
	TRACE_FD_TCP,
	TRACE_FD_UNIX,
	TRACE_FD_LISTEN,
	TRACE_FD_DGRAM,
	TRACE_FD_REG,
	TRACE_FD_DIR,
	TRACE_FD_PIPE,
	TRACE_FD_EPOLL,
	TRACE_FD_EVENT,
	TRACE_FD_OTHER,
	TRACE_FD_KINDS,
};

enum trace_fd_flag {
	TRACE_FD_NONBLOCK = 1,
	TRACE_FD_APPEND = 2,
	TRACE_FD_WRITABLE = 4, /* O_WRONLY or O_RDWR */
	TRACE_FD_SYNC = 8,
};

enum trace_call_flag {
	/* no exit was seen (killed in the call, or the recording ended); result is 0 */
	TRACE_CALL_UNFINISHED = 1,
	/* the kernel restarted it (ERESTART*); recorded once, with the final result */
	TRACE_CALL_RESTARTED = 2,
	TRACE_CALL_COMPAT = 4, /* a 32-bit call: nr is not an x86-64 number */
};

/**
 * struct trace_call - one system call, as reader and
 * writer hand it over (not the packed form on disk).
 * @enter_ns, @exit_ns: CLOCK_MONOTONIC.
 * @result: what the kernel returned, -errno on failure.
 * @args: as passed; those beyond the row's count are 0.
 * @extra: what a pointer argument meant, where the table's users
 * need it: setsockopt: the int at optval; epoll_ctl: events;
 *         writev, sendmsg: total length asked for; else 0.
 * @stack: id of a TRACE_REC_STACK record earlier in the file, TRACE_NO_STACK if none.
 */
struct trace_call {
	uint64_t enter_ns;
	uint64_t exit_ns;
	int64_t result;
	uint64_t args[6];
	uint64_t extra;
	uint32_t tid;
	uint32_t stack;
	uint16_t nr;
	uint8_t lane;
	uint8_t fd_kind;
	uint8_t fd_flags;
	uint8_t flags;
};

struct trace_process {
	uint32_t pid;
	uint32_t ppid;
	uint64_t mono_ns;
	uint32_t how;	  /* 0 first, 1 fork, 2 vfork, 3 exec, 4 attach */
	uint32_t preload; /* 1: the ring lane is live in it */
};

struct trace_thread {
	uint32_t tid;
	uint32_t pid;
	uint64_t mono_ns;
};

struct trace_stack {
	uint32_t id; /* 1, 2, 3 ... */
	uint32_t pid;
	uint32_t depth; /* 1 to TRACE_MAX_STACK */
	uint32_t pad;
};

/**
 * A pc of a stack, resolved when the recording ended (pc as in
 * the stack record; the call is the instruction before it).
 */
struct trace_symbol {
	uint64_t pc;
	/* from the start of the function, or of the module where no function is known */
	uint64_t offset;
	uint32_t pid;
	uint32_t line; /* 0: not known */
};

struct trace_calls {
	uint32_t tid;
	uint32_t count;
};

struct trace_lost {
	uint32_t tid; /* 0: not known */
	uint32_t why; /* 1: ring full */
	uint64_t count;
	uint64_t mono_ns;
};

struct trace_cpu {
	uint32_t tid;
	uint32_t pad;
	uint64_t mono_ns;
	/* user and system time of the thread since it began (/proc/PID/task/TID/schedstat) */
	uint64_t cpu_ns;
};

enum trace_mark_kind {
	TRACE_MARK_READY = 1,
	TRACE_MARK_LOAD_BEGIN = 2,
	TRACE_MARK_LOAD_END = 3
};

struct trace_mark {
	uint32_t kind;
	uint32_t value; /* LOAD_END: wait status of the load command */
	uint64_t mono_ns;
};

struct trace_exit {
	uint32_t tid;
	uint32_t status; /* wait status, as waitpid(2) gives it */
	uint64_t mono_ns;
};

struct trace_signal {
	uint32_t tid;
	uint32_t signo;
	uint64_t mono_ns;
};

struct trace_path {
	uint32_t pid;
	int32_t fd;
	uint64_t mono_ns;
};

struct trace_end {
	uint64_t mono_ns;
	uint64_t calls; /* recorded */
	uint64_t lost;
};

/* --- writing (trace-write.c): append to a descriptor that the writer does not own, buffered --- */

struct trace_writer;

/**
 * trace_writer_new() - start a recording on @fd and write the file header.
 * Return: 0 and *@w (free with trace_writer_free()), or negative errno.
 */
int trace_writer_new(struct trace_writer **w, int fd);
void trace_writer_free(struct trace_writer *w);

/**
 * Every trace_put_*() returns 0 or the negative errno of the write
 * that failed; after a failure all later ones return it too.
 */
int trace_put_fact(struct trace_writer *w, const char *key, const char *value);
int trace_put_process(struct trace_writer *w, const struct trace_process *p, const char *exe,
		      const char *cmdline, size_t cmdline_size);
int trace_put_thread(struct trace_writer *w, const struct trace_thread *t, const char *comm);
int trace_put_stack(struct trace_writer *w, const struct trace_stack *s, const uint64_t *pc);
int trace_put_symbol(struct trace_writer *w, const struct trace_symbol *s, const char *module,
		     const char *function, const char *file);
/**
 * trace_put_call() - append to the open block of the call's thread; a block goes out when full, at
 * each sync, and before a record that names its thread. -EINVAL: a stack that was not put, a kind,
 * flag or lane out of range, tid 0.
 */
int trace_put_call(struct trace_writer *w, const struct trace_call *c);
int trace_put_lost(struct trace_writer *w, const struct trace_lost *l);
int trace_put_cpu(struct trace_writer *w, const struct trace_cpu *c);
int trace_put_mark(struct trace_writer *w, const struct trace_mark *m);
int trace_put_exit(struct trace_writer *w, const struct trace_exit *e);
int trace_put_signal(struct trace_writer *w, const struct trace_signal *s);
int trace_put_path(struct trace_writer *w, const struct trace_path *p, const char *path);
/**
 * trace_sync() - all open blocks and buffers go to the descriptor, then a SYNC record of @mono_ns.
 */
int trace_sync(struct trace_writer *w, uint64_t mono_ns);
/** trace_end() - the END record, with the counts the writer kept; nothing may follow. */
int trace_end(struct trace_writer *w, uint64_t mono_ns);
/** Bytes and calls written so far, for progress. */
uint64_t trace_writer_bytes(const struct trace_writer *w);
uint64_t trace_writer_calls(const struct trace_writer *w);
/** trace_writer_start_ns() - CLOCK_MONOTONIC as the file header has it. */
uint64_t trace_writer_start_ns(const struct trace_writer *w);

/* --- reading (trace-read.c): validates everything, trusts nothing --- */

/**
 * struct trace_event - one record, decoded; strings point into the reader and live until the next
 * trace_next(). TRACE_REC_CALLS blocks come out as one event a call.
 */
struct trace_event {
	enum trace_rec_type type;
	union {
		struct {
			const char *key;
			const char *value;
		} fact;
		struct {
			struct trace_process p;
			const char *exe;
			const char *cmdline; /* words separated by NUL */
			size_t cmdline_size;
		} process;
		struct {
			struct trace_thread t;
			const char *comm;
		} thread;
		struct {
			struct trace_stack s;
			const uint64_t *pc;
		} stack;
		struct {
			struct trace_symbol s;
			const char *module;
			const char *function;
			const char *file;
		} symbol;
		struct trace_call call;
		struct trace_lost lost;
		struct trace_cpu cpu;
		struct trace_mark mark;
		struct trace_exit exit;
		struct trace_signal signal;
		uint64_t sync_ns;
		struct {
			struct trace_path p;
			const char *path;
		} path;
		struct trace_end end;
	};
};

struct trace_reader;

/** Why a recording could not be opened or read on; trace_strerror() has the sentence. */
enum trace_error {
	TRACE_OK = 0,
	TRACE_EOF = 1, /* complete: an END record was seen */
	TRACE_CUT = 2, /* ends before its END record; all before the cut was delivered */
	TRACE_NOT_A_TRACE = 3,
	TRACE_VERSION = 4, /* another major version */
	TRACE_BYTEORDER = 5,
	TRACE_ARCH = 6,
	TRACE_CORRUPT = 7, /* a record contradicts the layout; all before it was delivered */
	TRACE_IO = 8,	   /* errno says what */
};

/**
 * trace_reader_open() - read the header of a recording from @f, which the caller keeps.
 * Return: TRACE_OK and *@r (free with trace_reader_free()), or why not.
 */
enum trace_error trace_reader_open(struct trace_reader **r, FILE *f);
void trace_reader_free(struct trace_reader *r);
const struct trace_file_header *trace_reader_header(const struct trace_reader *r);

/** trace_next() - the next event; TRACE_OK while there is one. */
enum trace_error trace_next(struct trace_reader *r, struct trace_event *ev);
const char *trace_strerror(enum trace_error e);

#endif
