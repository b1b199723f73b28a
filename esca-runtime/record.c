/* SPDX-License-Identifier: MIT */
/*
 * record.c - mode record: each wrapped call is made through the gate and leaves one slot in the
 * ring of its thread.
 *
 * Whatever cannot be recorded here (no area, no free ring) is made as a plain call: the tracer's
 * filter stops it and records it there. Everything is safe against a signal handler that interrupts
 * it at any instruction and makes calls of its own.
 */
#include "config.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>

#include <esca-runtime/cancel.h>
#include <esca-runtime/raw-syscall.h>
#include <esca-runtime/record.h>
#include <esca-runtime/runtime.h>

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define barrier()   __asm__ volatile("" : : : "memory")

#define NR_MAX	    512
#define STACKS_MAX  4096 /* stacks known to a process; later ones are not looked up */
#define STACK_HEADS 1024
#define RANGES	    4
#define PROBES	    1000
#define ROUNDS	    10

/** A stack the tracer has unwound for this process. */
struct known_stack {
	uint64_t ra;
	uint32_t id;
	uint32_t count;
	/* bytes from the innermost return address to the end of the last word compared */
	uint32_t span;
	uint32_t next; /* index + 1 in the chain of its head */
	uint64_t pc[RECORD_WORDS];
	uint32_t off[RECORD_WORDS];
};

/** The memory of a process besides its rings; one private mapping, so that a fork inherits it. */
struct process_tables {
	struct record_fd fd[RECORD_FDS];
	uint32_t head[STACK_HEADS];
	uint32_t stacks;
	struct known_stack stack[STACKS_MAX];
};

struct stack_range {
	uint64_t lo;
	uint64_t hi;
};

/**
 * What a thread knows. generation tells a forked child,
 * whose life page the kernel has wiped, from its parent.
 */
struct thread_state {
	uint32_t generation;
	uint32_t next_range;
	struct record_ring *ring; /* NULL: none was free */
	uintptr_t entered_sp;
	struct stack_range range[RANGES];
};

static __thread struct thread_state self;
static struct record_area *area;
static struct process_tables *tables;
static volatile uint32_t
	*life; /* generation of the process; 0 in a child that has not looked yet */
static uint32_t generation;

extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char etext[] __attribute__((visibility("hidden")));

/**
 * The call through the gate: where the filter lets it
 * pass. The gate's `ret` returns to the caller of this.
 */
long record_gate(long nr, long a0, long a1, long a2, long a3, long a4, long a5);
__asm__(".text\n"
	".hidden record_gate\n"
	".globl record_gate\n"
	".type record_gate, @function\n"
	"record_gate:\n"
	"	.cfi_startproc\n"
	"	mov %rdi, %rax\n"
	"	mov %rsi, %rdi\n"
	"	mov %rdx, %rsi\n"
	"	mov %rcx, %rdx\n"
	"	mov %r8, %r10\n"
	"	mov %r9, %r8\n"
	"	mov 8(%rsp), %r9\n"
	"	mov $0x7e5ca000, %r11d\n"
	"	jmp *%r11\n"
	"	.cfi_endproc\n"
	".size record_gate, . - record_gate\n");
_Static_assert(ESCA_GATE_ADDR == 0x7e5ca000ull, "record_gate has the address of the gate");

static inline uint64_t now(void)
{
	struct timespec ts;

	if (likely(area->tsc)) {
		uint32_t lo, hi;

		__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
		return (uint64_t)hi << 32 | lo;
	}
	clock_gettime(CLOCK_MONOTONIC, &ts); /* the vdso's: no crossing */
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* --- rings --- */

static struct record_ring *claim_ring(uint32_t tid)
{
	for (unsigned int i = 0; i < RECORD_RINGS; i++) {
		struct record_ring *r = &area->ring[i];
		uint32_t none = 0, used = area->used;

		while (used <= i &&
		       !__atomic_compare_exchange_n(&area->used, &used, i + 1, false,
						    __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			;
		if (!__atomic_load_n(&r->owner, __ATOMIC_RELAXED) &&
		    __atomic_compare_exchange_n(&r->owner, &none, tid, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			return r;
	}
	return NULL;
}

/* The first call of a thread, or of the only thread of a forked child. */
static __attribute__((noinline)) void thread_start(struct thread_state *t)
{
	struct record_ring *r;

	if (!*life)
		*life = ++generation;
	r = claim_ring((uint32_t)record_gate(SYS_gettid, 0, 0, 0, 0, 0, 0));
	barrier();
	if (t->generation == *life) { /* a signal handler was here first */
		if (r)
			__atomic_store_n(&r->owner, 0, __ATOMIC_RELEASE);
		return;
	}
	t->ring = r;
	t->entered_sp = 0;
	barrier();
	t->generation = *life;
}

/*
 * Claim a slot. The claim is one instruction, so that a handler that interrupts the thread anywhere
 * gets a slot of its own; a full ring is noticed RECORD_MARGIN slots early for the same reason.
 */
static inline struct record_slot *claim_slot(struct record_ring *r, uint32_t *seq)
{
	uint64_t pos = 1;

	if (unlikely(r->head - __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE) >=
		     RECORD_SLOTS - RECORD_MARGIN)) {
		__asm__ volatile("incq %0" : "+m"(r->lost));
		return NULL;
	}
	__asm__ volatile("xaddq %0, %1" : "+r"(pos), "+m"(r->head) : : "memory");
	*seq = (uint32_t)pos + 1;
	return &r->slot[pos % RECORD_SLOTS];
}

/* --- stacks --- */

static inline bool in_library(uintptr_t pc)
{
	return pc - (uintptr_t)__ehdr_start < (uintptr_t)(etext - __ehdr_start);
}

/*
 * Where on the stack the innermost return address outside
 * this library lies; its functions all keep a frame pointer.
 */
static inline uintptr_t *server_frame(uintptr_t *fp)
{
	while (in_library(fp[1]))
		fp = (uintptr_t *)fp[0];
	return fp + 1;
}

static inline uint64_t stack_end(const struct thread_state *t, uint64_t addr)
{
	for (unsigned int i = 0; i < RANGES; i++)
		if (addr >= t->range[i].lo && addr < t->range[i].hi)
			return t->range[i].hi;
	return 0;
}

static bool same_stack(const struct known_stack *k, uintptr_t slot)
{
	for (uint32_t i = 0; i < k->count; i++)
		if (*(const uint64_t *)(slot + k->off[i]) != k->pc[i])
			return false;
	return true;
}

static inline unsigned int stack_head(uint64_t ra)
{
	return (unsigned int)(ra * 0x9e3779b97f4a7c15u >> 54) % STACK_HEADS;
}

static uint32_t stack_find(uintptr_t slot, uint64_t ra, uint64_t end)
{
	uint32_t at = __atomic_load_n(&tables->head[stack_head(ra)], __ATOMIC_ACQUIRE);

	while (at) {
		const struct known_stack *k = &tables->stack[at - 1];

		if (k->ra == ra && slot + k->span <= end && same_stack(k, slot))
			return at;
		at = k->next;
	}
	return 0;
}

static void stack_keep(const struct record_unwind *u)
{
	uint32_t *head = &tables->head[stack_head(u->ra)];
	uint32_t at = __atomic_fetch_add(&tables->stacks, 1, __ATOMIC_RELAXED);
	struct known_stack *k = &tables->stack[at];

	if (at >= STACKS_MAX)
		return;
	k->ra = u->ra;
	k->id = u->id;
	k->count = u->count <= RECORD_WORDS ? u->count : RECORD_WORDS;
	k->span = k->count ? u->off[k->count - 1] + 8 : 8;
	for (uint32_t i = 0; i < k->count; i++) {
		k->pc[i] = u->pc[i];
		k->off[i] = u->off[i];
	}
	k->next = __atomic_load_n(head, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(head, &k->next, at + 1, false, __ATOMIC_RELEASE,
					    __ATOMIC_RELAXED))
		;
}

/*
 * A stack, or a place for one, that was not seen before:
 * the tracer unwinds it while the thread stands still.
 */
static __attribute__((noinline)) uint32_t stack_learn(struct thread_state *t, uintptr_t slot,
						      uint64_t ra)
{
	struct record_unwind u;
	struct stack_range *r;
	uint32_t at;

	if (__atomic_load_n(&tables->stacks, __ATOMIC_RELAXED) >= STACKS_MAX)
		return 0;
	u.slot = slot;
	u.ra = ra;
	if (raw_syscall(RECORD_NR_UNWIND, (long)&u, sizeof(u), 0, 0, 0, 0))
		return 0;
	r = &t->range[t->next_range++ % RANGES];
	r->hi = 0;
	barrier();
	r->lo = u.lo;
	barrier();
	r->hi = u.hi;
	at = stack_find(slot, ra, u.hi);
	if (!at || tables->stack[at - 1].id != u.id)
		stack_keep(&u);
	return u.id;
}

static inline uint32_t stack_id(struct thread_state *t, uintptr_t *fp)
{
	uintptr_t *slot = server_frame(fp);
	uint64_t end = stack_end(t, (uintptr_t)slot);
	uint32_t at = end ? stack_find((uintptr_t)slot, *slot, end) : 0;

	return likely(at) ? tables->stack[at - 1].id : stack_learn(t, (uintptr_t)slot, *slot);
}

/* --- descriptors --- */

/* Argument position of the descriptor plus 1, by call number; 0 for none. */
#define NOFD -1
static const uint8_t fd_arg[NR_MAX] = {
#define ESCA_CALL(name, cls, fd, buf, ptr, len, ret, ret_arg, args) [SYS_##name] = (fd) + 1,
#include <analyzer/syscalls.def>
#undef ESCA_CALL
};

static struct record_fd fd_look(long fd)
{
	struct record_fd *e;

	if (fd < 0 || fd >= RECORD_FDS)
		return record_look(record_gate, fd);
	e = &tables->fd[fd];
	if (unlikely(!e->kind)) {
		struct record_fd found = record_look(record_gate, fd);

		if (found.kind == RECORD_FD_UNKNOWN)
			return found;
		*e = found;
	}
	return *e;
}

static void fd_set_kind(long fd, uint8_t kind, long flags)
{
	if (fd < 0 || fd >= RECORD_FDS)
		return;
	tables->fd[fd].flags = record_flags(flags);
	tables->fd[fd].kind = kind;
}

/* What a listening stream socket gives is a stream of its family, and takes no flags from it. */
static void fd_accepted(long listener, long fd, long flags)
{
	bool known = listener >= 0 && listener < RECORD_FDS &&
		     tables->fd[listener].kind == RECORD_FD_LISTEN;
	long domain = known ? record_sockopt(record_gate, fd, SO_DOMAIN) : -1;
	uint8_t kind = domain == AF_UNIX			 ? RECORD_FD_UNIX
		       : domain == AF_INET || domain == AF_INET6 ? RECORD_FD_TCP
								 : RECORD_FD_NONE;

	fd_set_kind(fd, kind, O_RDWR | (flags & O_NONBLOCK));
}

static void fd_set_flag(long fd, uint8_t mask, uint8_t flags)
{
	if (fd >= 0 && fd < RECORD_FDS)
		tables->fd[fd].flags = (tables->fd[fd].flags & ~mask) | (flags & mask);
}

static void fd_forget(unsigned long first, unsigned long last)
{
	for (unsigned long fd = first; fd <= last && fd < RECORD_FDS; fd++)
		tables->fd[fd].kind = RECORD_FD_NONE;
}

static void fd_forget_pair(const int *pair)
{
	fd_forget((unsigned int)pair[0], (unsigned int)pair[0]);
	fd_forget((unsigned int)pair[1], (unsigned int)pair[1]);
}

/*
 * A call that succeeded has changed what a descriptor number
 * stands for. SOCK_NONBLOCK and O_NONBLOCK are one bit.
 */
static void fd_follow(long nr, const long *a, long ret)
{
	switch (nr) {
	case SYS_close:
		fd_forget((unsigned int)a[0], (unsigned int)a[0]);
		break;
	case SYS_close_range:
		fd_forget((unsigned int)a[0], (unsigned int)a[1]);
		break;
	case SYS_accept:
		fd_accepted(a[0], ret, 0);
		break;
	case SYS_accept4:
		fd_accepted(a[0], ret, a[3]);
		break;
	case SYS_open:
		fd_set_kind(ret, record_kind(record_gate, ret), a[1]);
		break;
	case SYS_openat:
		fd_set_kind(ret, record_kind(record_gate, ret), a[2]);
		break;
	case SYS_socket:
	case SYS_dup:
	case SYS_dup2:
	case SYS_dup3:
		fd_forget((unsigned long)ret, (unsigned long)ret);
		break;
	case SYS_epoll_create:
	case SYS_epoll_create1:
		fd_set_kind(ret, RECORD_FD_EPOLL, O_RDWR);
		break;
	case SYS_eventfd2:
		fd_set_kind(ret, RECORD_FD_EVENT, O_RDWR | (a[1] & O_NONBLOCK));
		break;
	case SYS_pipe:
	case SYS_pipe2:
		fd_forget_pair((const int *)a[0]);
		break;
	case SYS_socketpair:
		fd_forget_pair((const int *)a[3]);
		break;
	case SYS_listen:
		fd_forget((unsigned int)a[0], (unsigned int)a[0]);
		break;
	case SYS_fcntl:
		if (a[1] == F_DUPFD || a[1] == F_DUPFD_CLOEXEC)
			fd_forget((unsigned long)ret, (unsigned long)ret);
		else if (a[1] == F_SETFL)
			fd_set_flag(a[0], RECORD_FD_NONBLOCK | RECORD_FD_APPEND,
				    record_flags(a[2]));
		break;
	case SYS_ioctl:
		if (a[1] == FIONBIO)
			fd_set_flag(a[0], RECORD_FD_NONBLOCK,
				    *(const int *)a[2] ? RECORD_FD_NONBLOCK : 0);
		break;
	}
}

static const uint8_t changes_fd[NR_MAX] = {
	[SYS_close] = 1,	 [SYS_close_range] = 1, [SYS_accept] = 1,     [SYS_accept4] = 1,
	[SYS_open] = 1,		 [SYS_openat] = 1,	[SYS_socket] = 1,     [SYS_dup] = 1,
	[SYS_dup2] = 1,		 [SYS_dup3] = 1,	[SYS_pipe] = 1,	      [SYS_pipe2] = 1,
	[SYS_epoll_create] = 1,	 [SYS_eventfd2] = 1,	[SYS_listen] = 1,     [SYS_fcntl] = 1,
	[SYS_epoll_create1] = 1, [SYS_ioctl] = 1,	[SYS_socketpair] = 1,
};

/* --- what a pointer meant; only read where the kernel has just read it --- */

static uint64_t iov_total(const struct iovec *iov, size_t count)
{
	uint64_t total = 0;

	for (size_t i = 0; i < count; i++)
		total += iov[i].iov_len;
	return total;
}

static bool reached_socket(long ret)
{
	return ret >= 0 || ret == -EAGAIN || ret == -EPIPE || ret == -ECONNRESET;
}

static uint64_t extra_of(long nr, const long *a, long ret)
{
	const struct msghdr *msg;

	switch (nr) {
	case SYS_setsockopt:
		return !ret && a[4] >= (long)sizeof(int) ? (uint32_t)(*(const int *)a[3]) : 0;
	case SYS_epoll_ctl:
		return !ret && a[1] != EPOLL_CTL_DEL ? ((const struct epoll_event *)a[3])->events
						     : 0;
	case SYS_writev:
		return reached_socket(ret) ? iov_total((const struct iovec *)a[1], (size_t)a[2])
					   : 0;
	case SYS_sendmsg:
		msg = (const struct msghdr *)a[1];
		return reached_socket(ret) ? iov_total(msg->msg_iov, msg->msg_iovlen) : 0;
	}
	return 0;
}

/* --- the call --- */

static inline __attribute__((always_inline)) long record(struct thread_state *t, uintptr_t *fp,
							 long nr, const long *a)
{
	struct record_ring *r = t->ring;
	struct record_fd fd = {RECORD_FD_NONE, 0};
	struct record_slot *s;
	uint64_t enter, exit, saved;
	uint32_t seq, stack = 0;
	uintptr_t saved_sp;
	long ret;

	if (fd_arg[nr]) {
		if (likely(!r->borrowed))
			fd = fd_look((int)a[fd_arg[nr] - 1]);
		else
			fd = record_look(record_gate, (int)a[fd_arg[nr] - 1]);
	}
	if (area->stacks)
		stack = stack_id(t, fp);
	enter = now();
	/*
	 * An outer call is in flight if it is deeper in the stack
	 * than this one; else a handler has jumped out of it.
	 */
	saved = r->entered;
	saved_sp = t->entered_sp;
	if (!saved || (uintptr_t)fp >= saved_sp) {
		saved = 0;
		t->entered_sp = (uintptr_t)fp;
		r->entered = enter;
	}
	barrier();
	if (unlikely(cancellable(nr))) {
		int type = cancel_begin();

		ret = record_gate(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
		cancel_end(type);
	} else {
		ret = record_gate(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	}
	exit = now();
	if (unlikely(changes_fd[nr]) && !raw_is_error(ret) && !r->borrowed)
		fd_follow(nr, a, ret);
	s = claim_slot(r, &seq);
	if (likely(s)) {
		s->enter = enter;
		s->exit = exit;
		s->result = ret;
		for (unsigned int i = 0; i < 6; i++)
			s->args[i] = (uint64_t)a[i];
		s->extra = extra_of(nr, a, ret);
		s->stack = stack;
		s->nr = (uint16_t)nr;
		s->fd_kind = fd.kind;
		s->fd_flags = fd.flags;
		__atomic_store_n(&s->seq, seq, __ATOMIC_RELEASE);
	}
	if (!saved) {
		barrier();
		r->entered = 0;
	}
	return ret;
}

static long record_call(long nr, long a0, long a1, long a2, long a3, long a4, long a5)
{
	const long a[6] = {a0, a1, a2, a3, a4, a5};
	struct thread_state *t = &self;

	if (unlikely(t->generation != *life))
		thread_start(t);
	if (unlikely(!t->ring))
		return esca_plain(nr, a0, a1, a2, a3, a4, a5);
	return record(t, __builtin_frame_address(0), nr, a);
}

/* --- start --- */

static int raw_map(void **p, uint64_t at, size_t size, int prot, int flags, int fd)
{
	long ret = raw_syscall(SYS_mmap, (long)at, (long)size, prot, flags, fd, 0);

	if (raw_is_error(ret))
		return (int)ret;
	*p = (void *)ret;
	return 0;
}

static __attribute__((noinline)) uint64_t probe_ticks(bool recorded)
{
	static const long none[6];
	uint64_t start = now();

	for (unsigned int i = 0; i < PROBES; i++) {
		if (recorded)
			record(&self, __builtin_frame_address(0), SYS_getppid, none);
		else
			record_gate(SYS_getppid, 0, 0, 0, 0, 0, 0);
	}
	return now() - start;
}

/*
 * What recording one call costs: once per recording, in a ring
 * that nobody drains, the lowest of a few rounds each way.
 */
static void measure_cost(void)
{
	uint64_t plain = UINT64_MAX, recorded = UINT64_MAX;
	uint32_t one = 1;
	void *ring;

	if (!__atomic_compare_exchange_n(&area->calibrate, &one, 0, false, __ATOMIC_RELAXED,
					 __ATOMIC_RELAXED))
		return;
	if (raw_map(&ring, 0, sizeof(struct record_ring), PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1))
		return;
	self.ring = ring;
	for (unsigned int i = 0; i < ROUNDS; i++) {
		uint64_t p = probe_ticks(false), r = probe_ticks(true);

		plain = p < plain ? p : plain;
		recorded = r < recorded ? r : recorded;
		self.ring->head = 0;
	}
	self.ring = NULL;
	raw_syscall(SYS_munmap, (long)ring, sizeof(struct record_ring), 0, 0, 0, 0);
	if (recorded > plain)
		area->record_ticks = (recorded - plain) * 1024 / PROBES;
}

/* Written before it becomes executable: never both. */
static int map_gate(void)
{
	static const uint8_t code[] = {0x0f, 0x05, 0xc3}; /* syscall; ret */
	void *p;
	int err;

	err = raw_map(&p, ESCA_GATE_ADDR, 4096, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1);
	if (err)
		return err;
	if ((uintptr_t)p != ESCA_GATE_ADDR) {
		raw_syscall(SYS_munmap, (long)p, 4096, 0, 0, 0, 0);
		return -EEXIST;
	}
	for (unsigned int i = 0; i < sizeof(code); i++)
		((volatile uint8_t *)p)[i] = code[i];
	return (int)raw_syscall(SYS_mprotect, (long)p, 4096, PROT_READ | PROT_EXEC, 0, 0, 0);
}

/*
 * What an unwinder must know of the gate, since a thread that is cancelled in it is unwound from
 * there: the return address is at the stack pointer and nothing was saved. The form is that of
 * .eh_frame (Linux Standard Base, section 10.6): one CIE, one FDE, an end.
 */
static const struct __attribute__((packed)) {
	uint32_t cie_size, cie_id;
	uint8_t version, augmentation, code_align, data_align, return_column;
	uint8_t rules[7];
	uint32_t fde_size, fde_cie; /* distance back to the CIE */
	uint64_t begin, range;
	uint32_t end;
} gate_frame = {
	.cie_size = 16,
	.version = 1,
	.code_align = 1,
	.data_align = 0x78,   /* -8 */
	.return_column = 16,  /* DWARF's number of the return address */
	.rules = {0x0c, 7, 8, /* DW_CFA_def_cfa: rsp + 8 */
		  0x90,
		  1}, /* DW_CFA_offset: the return address at CFA - 8; the rest is DW_CFA_nop */
	.fde_size = 20,
	.fde_cie = 24,
	.begin = ESCA_GATE_ADDR,
	.range = 3,
	.end = 0,
};

/* The first pthread_cancel(3) of a process. libc loads the same library for it. */
static void record_cancel(void)
{
	static int done;
	void (*frame)(const void *);
	void *lib;

	if (__atomic_exchange_n(&done, 1, __ATOMIC_RELAXED))
		return;
	lib = dlopen("libgcc_s.so.1", RTLD_NOW);
	*(void **)&frame = lib ? dlsym(lib, "__register_frame") : NULL;
	if (frame)
		frame(&gate_frame);
}

static int map_area(const char *path)
{
	long fd = raw_syscall(SYS_openat, AT_FDCWD, (long)path, O_RDWR | O_CLOEXEC, 0, 0, 0);
	void *p;
	int err;

	if (raw_is_error(fd))
		return (int)fd;
	err = raw_map(&p, 0, sizeof(*area), PROT_READ | PROT_WRITE, MAP_SHARED, (int)fd);
	raw_syscall(SYS_close, fd, 0, 0, 0, 0, 0);
	if (err)
		return err;
	area = p;
	return area->magic == RECORD_MAGIC && area->nrings == RECORD_RINGS ? 0 : -EPROTO;
}

static int map_tables(void)
{
	void *p;
	int err;

	err = raw_map(&p, 0, sizeof(*tables), PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	if (err)
		return err;
	tables = p;
	err = raw_map(&p, 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	if (err)
		return err;
	err = (int)raw_syscall(SYS_madvise, (long)p, 4096, MADV_WIPEONFORK, 0, 0, 0);
	life = p;
	*life = ++generation;
	return err;
}

int record_start(const struct esca_plan *plan)
{
	int err;

	if (raw_syscall(RECORD_NR_HUSH, 1, 0, 0, 0, 0, 0))
		return -ENOSYS; /* no tracer */
	err = map_area(plan->ring);
	if (!err)
		err = map_tables();
	if (!err)
		err = map_gate();
	if (!err) {
		measure_cost();
		esca_hooks.cancel = record_cancel;
		for (unsigned int i = 0; i < ROW_COUNT; i++)
			esca_handlers[i] = record_call;
		raw_syscall(RECORD_NR_LIVE, (long)tables->fd, 0, 0, 0, 0, 0);
	}
	raw_syscall(RECORD_NR_HUSH, 0, 0, 0, 0, 0, 0);
	return err;
}
