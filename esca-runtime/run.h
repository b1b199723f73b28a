/* SPDX-License-Identifier: MIT */
/*
 * run.h - what the files of mode run share: what is known of
 * each descriptor, each thread's queue, and how they are locked.
 */
#ifndef ESCA_RUNTIME_RUN_H
#define ESCA_RUNTIME_RUN_H

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <esca-runtime/cancel.h>
#include <esca-runtime/plan.h>
#include <esca-runtime/raw-syscall.h>
#include <esca-runtime/runtime.h>

/*
 * Of a function that enters the kernel: in the handler's own frame. Where the kernel clears or
 * overflows the CPU's return stack on its way (mitigations do), each return after a system call is
 * mispredicted and costs some 7 ns; libc's own function has one.
 */
#define IN_FRAME inline __attribute__((always_inline))

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/**
 * SHARED(), SHARE() - what threads read and write without a lock between them, where any order
 * will do.
 */
#define SHARED(x)   __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define SHARE(x, v) __atomic_store_n(&(x), v, __ATOMIC_RELAXED)

/* --- counters (stats.c) --- */

/** In the order of struct esca_stats_slot. */
enum count {
	C_TURNS,
	C_CALLS,
	C_CROSSINGS,
	C_DEFERRED,
	C_ANSWERED,
	C_PASSED,
	C_SHORT = C_PASSED + ESCA_PASS_MAX,
	C_ERRORS,
	C_SPILLS,
	C_COPIED,
	C_FUSED,
	C_DELAY = C_FUSED + ESCA_FUSE_MAX,
	C_MAX = C_DELAY + ESCA_DELAY_BUCKETS,
};

/**
 * stats_open() - map the area at @path; "" or any failure:
 * count nowhere. stats_backend() - say which backend it is.
 */
void stats_open(const char *path);
void stats_backend(unsigned int id);
/** stats_thread() - this thread's counters, which it has from now on. */
uint64_t *stats_thread(void);
/** stats_child() - we are a fork child: what was counted is the parent's. */
void stats_child(void);
/** stats_leave() - the thread ends: another one may count on where it stopped. */
void stats_leave(void);
/** stats_clock() - how many ticks of the time stamp counter a microsecond has. */
void stats_clock(uint64_t ticks_per_us);

/* --- what the user asked for (run.c) --- */

/**
 * struct settings - from the plan; constant once run_start() has returned.
 * @fuse: bit 1 << enum esca_fusion. @calls, @bytes: what may wait in one thread. @age_us: for how
 * long, when its next call is made.
 */
struct settings {
	uint32_t fuse;
	uint32_t calls, bytes, age_us;
};

/**
 * struct hot - what all calls look at, in one cache line: the server and the kernel leave little of
 * ours in the cache.
 */
struct hot {
	struct settings settings;
	uint32_t spills; /* how many spills there are in the process (spill.c) */
	uint32_t errors; /* how many descriptors are owed an error (late-error.c) */
	uint32_t aheads; /* how many slots hold something that was read ahead (ahead.c) */
	/* nothing is deferred any more, and no call made that is not the server's: the process is
	 * ending, or has a seccomp filter of its own, or threads that libc did not make (life.c) */
	bool over;
	/* one page that a fork wipes: 0 in a child that libc's handlers did not see; NULL: none */
	volatile char *alive;
} __attribute__((aligned(64)));
extern struct hot hot;

/** fusing() - is fusion @f on? fused() - count a call that needed no operation because of @f. */
static inline bool fusing(enum esca_fusion f)
{
	return hot.settings.fuse & 1u << f;
}

/* --- threads --- */

struct queue;

enum bypass {
	/* the runtime is at work on this thread: we are in a signal handler that interrupted it */
	BYPASS_BUSY = 1,
	BYPASS_VFORK = 2, /* a vfork child may be running in our memory */
	BYPASS_GONE = 4,  /* the thread is ending */
};

struct thread {
	struct queue *q; /* NULL until the first wait that returns an event */
	volatile uint8_t bypass;
	pid_t vfork_pid; /* who we are when no vfork child runs */
	/* signals that are blocked until it is no longer busy (signal.c); 0: no signal came */
	uint64_t held;
	uint64_t *n; /* its counters (stats.c); NULL: not yet asked for */
};

extern __thread struct thread self;

/** signals_start() - handlers that the server sets from now on wait while a thread is busy. */
void signals_start(void);
/** signals_release() - what was held is unblocked. */
void signals_release(void);

/** work_begin(), work_end() - the runtime is at work on this thread, and no longer. */
static inline void work_begin(void)
{
	self.bypass |= BYPASS_BUSY;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void work_end(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	self.bypass &= (uint8_t)~BYPASS_BUSY;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (unlikely(SHARED(self.held)))
		signals_release();
}

static inline void count(unsigned int what, uint64_t n)
{
	(likely(self.n) ? self.n : stats_thread())[what] += n;
}

static inline void fused(enum esca_fusion f, uint64_t calls)
{
	count(C_FUSED + f, calls);
}

/** bypassed() - must this call go straight to the kernel, for a reason in self.bypass? */
bool bypassed(void);

/* --- descriptors (fd.c) --- */

enum fd_class {
	FD_UNKNOWN, /* to be probed */
	FD_STREAM,  /* TCP or AF_UNIX stream, connected */
	FD_SOCKET,  /* stream socket not known to be connected */
	FD_LISTEN,
	FD_EPOLL,
	FD_REG, /* regular file */
	FD_LOG, /* regular file, O_APPEND and writable, not O_SYNC */
	FD_OTHER,
};

enum fd_flag {
	FD_NONBLOCK = 1,
	FD_UNIX = 2,
	FD_NODEFER = 4,	 /* something was done to it that deferral is not proven safe with */
	FD_LINGER = 8,	 /* SO_LINGER is set: a close may sleep or reset */
	FD_ZOMBIE = 16,	 /* closed by the server; the kernel hears of it when its bytes are out */
	FD_INODE = 32,	 /* dev and ino are known */
	FD_NOAHEAD = 64, /* never read ahead */
	FD_READS = 128,	 /* the server reads it by plain calls and got less than it asked for */
};

#define OPT_UNKNOWN 2

/** What epoll_ctl(2) is still to be made for a registration (registration.c). */
enum fd_ctl {
	CTL_NONE,
	CTL_MOD,
	CTL_DEL,
};

/**
 * struct fd_entry - one descriptor. All zero: unknown. Written by the thread that uses the
 * descriptor; op, spill, err, ctl and log_pending under the lock of owner's queue, in which another
 * thread may be flushing. Without the lock these are read by fd_waits() and SHARED(). What other
 * threads write besides is no bit of flags, since that would lose one of two changes.
 */
struct fd_entry {
	/* --- what most calls look at: one cache line --- */
	uint8_t cls;
	uint8_t ctl;
	uint16_t flags;
	bool shared;	     /* two threads use it, or an error of it was found by a flush */
	uint8_t log_pending; /* lines of it wait in owner's queue */
	bool pieces;	     /* pieces of this file wait in owner's queue */
	bool open; /* its last packet may be held back: its last bytes came with MSG_MORE */
	/* the peer has a lot to read first: the socket is likely full until it says something */
	bool bulk;
	bool fired;   /* its EPOLLONESHOT registration has reported and is not armed again */
	uint16_t err; /* errno owed to the server, 0 if none */
	/* bytes that may still be answered ahead before the kernel is asked again */
	uint32_t credit;
	struct queue *owner; /* thread that queued on it; FD_EPOLL: thread that waits on it */
	struct op *op;	     /* what waits in owner's queue */
	struct spill *spill; /* what the kernel did not take */
	struct slot *ahead;  /* what was read ahead (ahead.c) */
	int32_t reg_ep;	     /* epoll instance it is registered in, plus 1; 0: none */
	uint32_t reg_gen;    /* the gen of that */
	uint32_t reg_events; /* and for what */
	/* of an epoll instance: its events are looked at (turn_events()); server data of it looks
	 * like our tags; it may report our tags when nothing is spilled */
	bool heed, tag_clash, tags;
	bool twin; /* another registration has the same data: its events say nothing */
	/* --- */
	uint32_t gen;	       /* FD_EPOLL: distinguishes instances that had the same number */
	uint8_t cork, nodelay; /* what the kernel has: 0, 1, OPT_UNKNOWN */
	uint8_t cork_want, nodelay_want; /* what the server set; applied at the flush */
	bool reads;			 /* opened O_RDONLY; what it is, its first fstat() tells */
	uint8_t ahead_bad;		 /* how often reading ahead was of no use */
	bool tagged;	  /* the kernel's epoll registration is ours (spill.c), not the server's */
	bool indexed;	  /* in the index of registrations (turn.c) */
	bool forked;	  /* a child may hold it too, so our close is not the last */
	uint64_t drained; /* turn in which a read came back short, so nothing is left to read */
	/* --- where its events come from: the server's registration, and what the kernel has --- */
	uint64_t reg_data;
	uint64_t kernel_data;
	uint32_t kernel_events;	 /* while ctl is CTL_MOD or CTL_DEL: what the kernel has */
	uint32_t ready;		 /* what the wait of ready_turn reported */
	uint64_t ready_turn;	 /* the last turn whose wait reported it */
	struct queue *poll_q;	 /* thread that polls it, or selects on it */
	int32_t index_next;	 /* turn.c: next in its chain, plus 1 */
	uint64_t dev, ino, size; /* of a file; 0: not known, or not to be relied on */
} __attribute__((aligned(64)));

extern struct fd_entry fd_table[ESCA_FD_MAX];

/**
 * kernel_before(), kernel_after() - what a thread did before it armed @e in an epoll instance comes
 * before what the thread does that is told of @e. For TSAN, which does not see our system calls.
 */
#ifdef __SANITIZE_THREAD__
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
#define kernel_before(e) __tsan_release(&(e)->reg_ep)
#define kernel_after(e)	 __tsan_acquire(&(e)->reg_ep)
#else
#define kernel_before(e) ((void)(e))
#define kernel_after(e)	 ((void)(e))
#endif

/**
 * fd_waits() - does something wait for it? A flush says no only when all that it does to the
 * descriptor is done, and who asks sees that then.
 */
static inline bool fd_waits(const struct fd_entry *e)
{
	return __atomic_load_n(&e->op, __ATOMIC_ACQUIRE) ||
	       __atomic_load_n(&e->log_pending, __ATOMIC_ACQUIRE) ||
	       __atomic_load_n(&e->pieces, __ATOMIC_ACQUIRE);
}

static inline bool fd_ctl_waits(const struct fd_entry *e)
{
	return __atomic_load_n(&e->ctl, __ATOMIC_ACQUIRE) != CTL_NONE;
}

/** fd_barred() - may nothing wait for it any more? */
static inline bool fd_barred(const struct fd_entry *e)
{
	return (e->flags & FD_NODEFER) || SHARED(e->shared);
}

static inline struct fd_entry *fd_get(long fd)
{
	return (unsigned int)fd < ESCA_FD_MAX ? &fd_table[(unsigned int)fd] : NULL;
}

/**
 * fd_born() - @fd was just created: forget what its
 * number was. Return: its entry, NULL beyond the table.
 */
struct fd_entry *fd_born(long fd);
/** fd_gone() - @fd is about to be closed (nothing of it is queued). */
void fd_gone(struct fd_entry *e);
/** fd_probe() - ask the kernel what @fd is, if that is not known. */
void fd_probe(struct fd_entry *e, int fd);
/** fd_learn_stat() - what an fstat() of it told. */
void fd_learn_stat(struct fd_entry *e, const struct stat *st);
/** fd_accepted() - @fd came out of the listener @l. */
void fd_accepted(struct fd_entry *l, long fd, bool nonblock);
/** fd_opened() - @fd came out of open with @flags. */
void fd_opened(long fd, int flags);
/**
 * fd_credit() - may @len more bytes be answered ahead
 * on stream @e, @waits bytes of which wait already?
 */
bool fd_credit(struct fd_entry *e, int fd, uint32_t waits, size_t len);
/**
 * ESCA_TEST_CREDIT: as many bytes of each stream are answered
 * ahead, whatever the kernel has room for; 0: as it should be.
 */
extern uint32_t fd_test_credit;
/**
 * fd_foreign() - @e belongs to another thread's queue:
 * have that flushed, and never defer on it again.
 */
void fd_foreign(struct fd_entry *e);
/** fd_child() - we are a fork child: what we inherited is shared with the parent. */
void fd_child(void);
/** fd_limit() - RLIMIT_FSIZE may have changed. */
void fd_limit(void);
extern bool fd_size_limited;
/** Highest descriptor that ever had an entry. */
extern unsigned int fd_high;

/* --- queues (queue.c) --- */

#define SEG_NONE     0xffff
#define QUEUE_SEGS   1024
#define QUEUE_OPSEGS 64
#define LOG_BYTES    (32 << 10)
#define LOG_RUNS     64

/** A piece of the arena. */
struct seg {
	uint32_t off, len;
	uint16_t next;
};

/**
 * What waits on one stream: bytes, then socket options. In
 * the queue's list at the place of its last constituent.
 */
struct op {
	struct op *prev, *next;
	struct fd_entry *e;
	int fd;
	uint64_t t0; /* tsc of its first constituent */
	uint32_t bytes;
	uint16_t nseg, first, last;
	bool more;	 /* MSG_MORE on the last constituent */
	bool cut;	 /* a file was too short: after these bytes the stream ends */
	uint8_t end;	 /* what follows the bytes: enum op_end */
	uint16_t body;	 /* the piece of a file that follows the bytes, plus 1; 0: none */
	bool body_held;	 /* the server had corked the stream when it sent that */
	uint16_t rest;	 /* in a flush: so many iov are sent after the others */
	uint32_t pushed; /* so many of bytes are not held back by a cork or MSG_MORE */
};

enum op_end {
	END_SHUT = 1, /* shutdown(2) for writing */
	END_CLOSE = 2,
};

/** A registration that is to be changed, if its ctl still says so. */
struct ctl {
	struct fd_entry *e;
	int fd;
};

/** After a flush in which calls merged, so many small turns are worth deferring in. */
#define QUEUE_GAIN 256

/**
 * A piece of a file: read into the arena at @at, for stream @e, when the flush begins; or sent as
 * the body of an op (@e is NULL).
 */
struct piece {
	struct fd_entry *in, *e;
	int fd;
	uint32_t len, at;
	off_t off;
};

/** Log lines of one file, adjacent in the log arena. */
struct log_run {
	struct fd_entry *e;
	int fd;
	uint32_t off, len;
};

/** struct send - one data operation of a flush, as backends get it. @result: bytes taken or -errno.
 */
struct send {
	int fd;
	int flags;
	unsigned int niov;
	const struct iovec *iov;
	size_t len;
	long result;
};

/**
 * struct recv - one read of a batch, as backends get it. @off: where in a file; -1: of a stream.
 * @result: bytes or -errno.
 */
struct recv {
	int fd;
	void *buf;
	size_t len;
	off_t off;
	long result;
};

/** struct harvest - the wait that follows a flush: @max events of epoll instance @ep into @evs. */
struct harvest {
	int ep, max;
	struct epoll_event *evs;
};

struct queue {
	/* held while anything below changes; by others than the owner only to flush */
	uint32_t lock;
	uint32_t n; /* calls that wait; without the lock by queue_waits() */
	bool in_turn;
	bool small;	      /* it is in a turn of so few events that no call waits */
	uint16_t gain;	      /* so many small turns more are worth it: their calls merge */
	uint16_t degree;      /* events a turn, on average, in sixteenths */
	uint16_t small_turns; /* of which one in so many is a try */
	uint64_t turn;	      /* its number, unlike that of any other thread's */
	uint16_t plain_turns; /* so many turns more in which nothing is deferred */
	uint16_t long_score;  /* rises with each long turn, falls with each other */
	uint16_t nops, nsegs, nruns, nunix, nctls;
	uint16_t ncloses; /* descriptors that the server has closed and that are still open */
	uint16_t nopts;	  /* options set since the last flush */
	uint16_t nlines;  /* lines in runs */
	uint16_t npieces;
	uint16_t nafter;       /* what a flush sends by itself, after the batch: bodies, rests */
	uint16_t plain_pieces; /* so many pieces of files more do not wait */
	uint32_t used, log_used;
	uint64_t t0;	/* tsc when the oldest was queued */
	uint64_t now;	/* tsc at the last queue_room() */
	struct op list; /* in order */
	struct op ops[ESCA_QUEUE_CALLS];
	struct ctl ctls[ESCA_QUEUE_CALLS];
	struct seg segs[QUEUE_SEGS];
	struct log_run runs[LOG_RUNS];
	struct piece pieces[ESCA_QUEUE_CALLS];
	struct recv reads[ESCA_QUEUE_CALLS];
	struct iovec iov[QUEUE_SEGS + ESCA_QUEUE_CALLS];
	struct send sends[ESCA_QUEUE_CALLS];
	struct msghdr msgs[ESCA_QUEUE_CALLS];
	struct queue *all_next;
	bool in_use;
	void *backend;	     /* the backend's own, per thread */
	struct ahead *ahead; /* its slots; NULL: none yet */
	char log[LOG_BYTES];
	char arena[ESCA_QUEUE_BYTES];
};

/** What a queueing function returns when the call must be made for real. Never a kernel result. */
#define NOT_QUEUED LONG_MIN

void queue_lock(struct queue *q);
void queue_unlock(struct queue *q);
/** queue_get() - this thread's queue, made if need be; NULL if there is no memory. */
struct queue *queue_get(void);
/** queue_leave() - the thread ends: flush, and let another one have the queue. */
void queue_leave(void);
/** queue_flush() - everything that waits in @q goes to the kernel, in order. */
void queue_flush(struct queue *q);
/**
 * queue_flush_locked() - the same with the lock held; @more: a
 * big write on it follows at once, so its packet stays open.
 */
void queue_flush_locked(struct queue *q, struct op *more);
/**
 * queue_flush_ready() - queue_flush(), and in the same crossing the events that are ready then, if
 * the backend can. Return: their number; 0: the wait is still to be made.
 */
int queue_flush_ready(struct queue *q, struct harvest *h);
/** queue_flush_all() - of every thread. */
void queue_flush_all(void);
/** queue_child() - we are a fork child: what waits is the parent's. */
void queue_child(void);
/** queue_send() - queue bytes on a stream. Return: their number, or NOT_QUEUED. */
long queue_send(struct fd_entry *e, int fd, const struct iovec *iov, unsigned int n, size_t len,
		int flags);
/**
 * queue_file() - queue a piece of file @in, whose descriptor is @in_fd, on a stream. Return: as
 * sendfile(2), or NOT_QUEUED.
 */
long queue_file(struct fd_entry *e, int fd, struct fd_entry *in, int in_fd, off_t *off, size_t len);
/** queue_log() - queue a line on a log. Return: its length, or NOT_QUEUED. */
long queue_log(struct fd_entry *e, int fd, const struct iovec *iov, unsigned int n, size_t len);
/** queue_opt() - queue TCP_CORK or TCP_NODELAY. Return: 0 or NOT_QUEUED. */
long queue_opt(struct fd_entry *e, int fd, int name, int value);
/**
 * queue_end() - have shutdown or close (@end, enum op_end) follow what waits on @e, of which there
 * must be some. Return: 0 or NOT_QUEUED.
 */
long queue_end(struct fd_entry *e, unsigned int end);
/** queue_room() - make room for one more call; what waits may be gone afterwards. Lock held. */
void queue_room(struct queue *q, size_t len);
/** queue_drop() - throw away what waits for a descriptor that turned out to be closed. */
void queue_drop(struct fd_entry *e);
/** queue_has_log() - may bytes of the file @e (NULL: any file) wait in @q? */
bool queue_has_log(struct queue *q, const struct fd_entry *e);
/**
 * queue_logs_wait() - may lines of any file wait in any thread's queue? queue_flush_logs() - flush
 * the queues, except @but (NULL: none), that have some of @e (NULL: of any file). Return: were
 * there any?
 */
bool queue_logs_wait(void);
bool queue_flush_logs(const struct fd_entry *e, const struct queue *but);
extern uint64_t queue_age_ticks, queue_long_ticks; /* settings.age_us, ESCA_LONG_TURN */

static inline uint64_t tsc(void)
{
	return __builtin_ia32_rdtsc();
}

/** queue_waits() - does anything wait in @q (NULL: in none)? If not, what another thread's flush of
 * it did is seen. */
static inline bool queue_waits(const struct queue *q)
{
	return q && __atomic_load_n(&q->n, __ATOMIC_ACQUIRE);
}

/** flush() - what every doubt begins with. */
static inline void flush(void)
{
	if (unlikely(queue_waits(self.q)))
		queue_flush(self.q);
}

/** flush_old() - a call that needs no flush came by: flush only if something has waited too long.
 */
static inline void flush_old(void)
{
	if (queue_waits(self.q) && unlikely(tsc() - self.q->t0 > SHARED(queue_age_ticks)))
		queue_flush(self.q);
}

/** pass_for() - hand a call to the kernel as it came, because of @why. pass(): the server needs
 * what it returns. */
static IN_FRAME long pass_for(enum esca_reason why, long nr, long a0, long a1, long a2, long a3,
			      long a4, long a5)
{
	count(C_PASSED + why, 1);
	count(C_CROSSINGS, 1);
	return sleeping_syscall(nr, a0, a1, a2, a3, a4, a5);
}

static IN_FRAME long pass(long nr, long a0, long a1, long a2, long a3, long a4, long a5)
{
	return pass_for(ESCA_PASS_RESULT, nr, a0, a1, a2, a3, a4, a5);
}

/** kernel() - a call of our own. */
static IN_FRAME long kernel(long nr, long a0, long a1, long a2, long a3, long a4)
{
	count(C_CROSSINGS, 1);
	return raw_syscall(nr, a0, a1, a2, a3, a4, 0);
}

/* --- fusion (fuse.c) --- */

/** fuse_opts_dirty() - how many options of @e the kernel is yet to be told. fuse_apply_opts() -
 * tell it; the same number. */
static inline unsigned int fuse_opts_dirty(const struct fd_entry *e)
{
	return (e->cork_want != e->cork) + (e->nodelay_want != e->nodelay);
}

unsigned int fuse_apply_opts(struct fd_entry *e, int fd);
/** fuse_push() - a packet was left open for a write that then did not come: send it. */
void fuse_push(struct fd_entry *e, int fd);

/* --- pieces of files (piece.c); the lock of @q is held --- */

/** piece_can() - may @len bytes of file @in at @off be promised, and wait? */
bool piece_can(struct queue *q, const struct fd_entry *in, off_t off, size_t len);
/** piece_unwanted() - they are better read at once for a while. */
void piece_unwanted(struct queue *q);
/** piece_add() - they wait. The caller sets @e and @at of a piece that is to be read. */
struct piece *piece_add(struct queue *q, struct fd_entry *in, int fd, off_t off, size_t len);
/** piece_read() - read all that are to be read. piece_done() - no file is needed any more. */
void piece_read(struct queue *q);
void piece_done(struct queue *q);
/** piece_send() - send the body of @op, all of whose bytes are out. */
void piece_send(struct queue *q, struct op *op);
/**
 * piece_spill() - @skip bytes of @s (NULL: nothing) and of the body of @op were taken: spill the
 * rest. Return: false: there is no memory, or not so much of the file.
 */
bool piece_spill(struct queue *q, struct op *op, const struct send *s, size_t skip);
/** piece_break() - the file was too short: end the connection. */
void piece_break(struct fd_entry *e, int fd);
/** piece_lost() - @in was closed, and we did not see it. */
void piece_lost(struct queue *q, const struct fd_entry *in);

/* --- what went wrong late --- */

/** spill_add() - @len bytes at @skip of the segments were not taken. Lock of the owner held. */
void spill_add(struct fd_entry *e, int fd, const struct iovec *iov, unsigned int niov, size_t skip);
/** spill_drain() - offer them again. Return: true if nothing is left. Takes the owner's lock. */
bool spill_drain(struct fd_entry *e, int fd);
/** spill_finish() - offer them for up to @ms milliseconds. */
void spill_finish(struct fd_entry *e, int fd, int ms);
void spill_finish_all(int ms);
/**
 * spill_rest() - the thread is about to sleep where no event
 * reaches us, or to fork: the kernel takes all it can.
 */
void spill_rest(void);
/** spill_end() - the process ends: the kernel takes what it can, peers have @ms milliseconds for
 * the rest, then they are reset. */
void spill_end(int ms);
/** spill_settle() - another holder may write to it next: get it empty, or reset the connection. */
void spill_settle(struct fd_entry *e, int fd);
/**
 * stream_reset() - the connection ends, and the peer sees a reset, not the end of a stream that
 * looks complete.
 */
void stream_reset(int fd);
/** spill_discard() - the bytes will never be sent. Lock of the owner held. */
void spill_discard(struct fd_entry *e);
/**
 * spill_close() - the server closes a stream whose bytes are
 * still here. Return: 0, or NOT_QUEUED: close it for real.
 */
long spill_close(struct fd_entry *e, int fd);
/**
 * spill_orphan() - the same, for a stream that has no SO_LINGER and with the lock of the owner
 * held. Return: false: close it for real.
 */
bool spill_orphan(struct fd_entry *e, int fd);
/** spill_shutdown() - shutdown(2) behind the bytes, if there are any left. Lock of the owner held.
 */
long spill_shutdown(struct fd_entry *e, int fd, int how);
/** spill_answer() - what a write behind a spill is answered: -EAGAIN, or the end that was set. */
long spill_answer(struct fd_entry *e, bool nosignal);
/** spill_ctl() - epoll_ctl(2) of the server on a stream whose registration is ours now. */
long spill_ctl(struct fd_entry *e, int ep, int op, int fd, const struct epoll_event *ev);
/** spill_events() - act on and translate our own events. Return: how many are left for the server.
 */
int spill_events(struct epoll_event *evs, int n);
/**
 * spill_before_wait() - what no event drives. Return: how many
 * ms the wait may sleep at most, -1: as long as it likes.
 */
int spill_before_wait(void);
uint32_t spill_bytes(const struct fd_entry *e);
void spill_child(void);

#define SPILL_TAG 0xe5ca5b1eu

/**
 * late_error() - a queued operation failed with @err after it was answered. Lock of the owner held.
 */
void late_error(struct fd_entry *e, int fd, int err);
/** late_is_of_stream() - is @ret an error of the connection, which has then ended? */
static inline bool late_is_of_stream(long ret)
{
	return ret == -EPIPE || ret == -ECONNRESET || ret == -ETIMEDOUT || ret == -ENOTCONN ||
	       ret == -EHOSTUNREACH || ret == -ENETUNREACH;
}

/** late_error_take() - the error owed, which is then no longer owed; 0 if none. */
int late_error_take(struct fd_entry *e);
/** late_error_drop() - it is owed no longer. */
void late_error_drop(struct fd_entry *e);
/** late_error_shows() - does a wait report it? A broken pipe is no error of the socket to poll(2).
 */
static inline bool late_error_shows(const struct fd_entry *e)
{
	uint16_t err = SHARED(e->err);

	return err && err != EPIPE;
}

/** late_error_events() - the kernel forgot it when it told us: its events say so still. */
void late_error_events(int epfd, const struct fd_entry *ep, struct epoll_event *evs, int n);
/**
 * late_error_on_write() - the same, for a call that writes: with the signal that goes with EPIPE.
 * Return: -errno.
 */
long late_error_on_write(struct fd_entry *e, bool nosignal);
/** late_epipe() - EPIPE as the kernel gives it, with its signal. Return: -EPIPE. */
long late_epipe(bool nosignal);

/* --- epoll registrations (registration.c) --- */

/**
 * registration_ctl() - epoll_ctl(2) on a stream, if it may wait for the flush.
 * Return: 0 or -errno as the kernel would, or NOT_QUEUED.
 */
long registration_ctl(struct fd_entry *e, struct fd_entry *ep, long epfd, long op, long fd,
		      const struct epoll_event *ev);
/** registration_flush() - what waits in @q is made. Lock held. */
void registration_flush(struct queue *q);
/** registration_set() - the server's registration of @e is now @ev in @epfd; NULL: none. */
void registration_set(struct fd_entry *e, struct fd_entry *ep, long epfd,
		      const struct epoll_event *ev);
/** registration_drop() - @e is about to be closed: what waits for it need not be made. */
void registration_drop(struct fd_entry *e);

/* --- read-ahead (ahead.c) --- */

/** ahead_fetch() - a turn begins with @evs of epoll instance @ep: fetch what there is to read. */
void ahead_fetch(int epfd, const struct fd_entry *ep, const struct epoll_event *evs, int n);
/**
 * ahead_read() - a read of @e, which has a slot: read, readv, recvfrom or recvmsg. Return: as the
 * call, or NOT_QUEUED: make it.
 */
long ahead_read(struct fd_entry *e, int fd, long nr, long a1, long a2, long a3, long a4, long a5);
/** ahead_splice() - splice(2) from @e, which has a slot, to a pipe. */
long ahead_splice(struct fd_entry *e, int to, size_t len);
/** ahead_bytes() - how many bytes of @e are here and not in the kernel. */
uint32_t ahead_bytes(const struct fd_entry *e);
/**
 * ahead_wait(), ahead_poll() - a wait while something is held, without sleeping: the kernel's
 * events and those of what is held. Return: as the call, or NOT_QUEUED: nothing is held that it
 * would report.
 */
long ahead_wait(long nr, long a0, long a1, long a2, long a3, long a4, long a5);
long ahead_poll(long nr, long a0, long a1, long a2, long a3, long a4, long a5);
/** ahead_rearm() - @e, which has a slot, is registered anew: epoll looks again. */
void ahead_rearm(struct fd_entry *e);
/** ahead_second() - @e, which has a slot, is in a second instance @ep now, as @ev; NULL: no more.
 */
void ahead_second(struct fd_entry *e, const struct fd_entry *ep, int epfd,
		  const struct epoll_event *ev);
/**
 * ahead_close() - @e, which has a slot, is about to be closed; nothing of it is queued. @end: by
 * the server, whose peer then sees what it sees when bytes are unread.
 */
void ahead_close(struct fd_entry *e, int fd, bool end);
/** ahead_dup() - @to is another name of @from, which has a slot. */
void ahead_dup(struct fd_entry *from, struct fd_entry *to);
/** ahead_opt() - setsockopt(2) on @e. Return: its error, or NOT_QUEUED: make it. */
long ahead_opt(struct fd_entry *e, int level, int name);
/** ahead_forks() - the process forks, or has been. ahead_end() - it ends. */
void ahead_forks(void);
void ahead_end(void);

/* --- turns (turn.c) --- */

/** turn_end() - the thread is about to wait: no call waits any more until turn_begin(). */
static inline void turn_end(void)
{
	if (self.q) {
		self.q->in_turn = self.q->small = false;
		self.q->turn++; /* what it reported and found holds no longer */
	}
}

/**
 * turn_begin() - a wait returned @n events, more than none: calls may wait from now on, if that
 * gains anything here.
 */
void turn_begin(unsigned int n);
/** turn_events() - they came from epoll instance @ep: see what they say of which descriptor. */
void turn_events(int epfd, const struct fd_entry *ep, const struct epoll_event *evs, int n);
/** turn_find() - whose event of instance @ep has @data; NULL: not known, or several. */
struct fd_entry *turn_find(int epfd, const struct fd_entry *ep, uint64_t data);
/** turn_index(), turn_unindex() - the registration of @e has been made, or is no more. */
void turn_index(struct fd_entry *e);
void turn_unindex(struct fd_entry *e);
/** turn_child() - we are a fork child. */
void turn_child(void);

/**
 * turn_ready() - did this turn's wait report @e? *@events: what it reported.
 */
static inline bool turn_ready(const struct fd_entry *e, uint32_t *events)
{
	if (!self.q || SHARED(e->ready_turn) != self.q->turn)
		return false;
	*events = SHARED(e->ready);
	return true;
}

/* --- waits (wait.c), life (life.c) --- */

long wait_epoll(long nr, long a0, long a1, long a2, long a3, long a4, long a5);
long wait_other(long nr, long a0, long a1, long a2, long a3, long a4, long a5);

void life_start(void);
/** life_thread() - this thread got a queue. */
void life_thread(void);
/** life_child() - we are a fork child. life_look() - are we one, and nobody told us? */
void life_child(void);
static inline void life_look(void)
{
	if (unlikely(hot.alive && !*hot.alive))
		life_child();
}

/** life_ends - calls do not wait any more (hot.over) only because the process is ending. */
extern bool life_ends;

#endif
