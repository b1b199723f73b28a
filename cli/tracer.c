/* SPDX-License-Identifier: MIT */
/*
 * tracer.c - the ptrace loop.
 *
 * Any request may fail with ESRCH, since SIGKILL ends a stop: the thread's state is then left as it
 * is, and its exit is waited for. All requests are made by the thread that called tracer_start().
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <analyzer/hash.h>
#include <analyzer/syscall.h>
#include <cli/stack.h>
#include <cli/target.h>
#include <cli/tracer-mem.h>
#include <cli/tracer.h>
#include <esca-runtime/plan.h>

#define OPTIONS                                                                                    \
	(PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |  \
	 PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT | PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)

#define BROKEN_MAX 8 /* interrupted calls of a thread, one inside the handler of the other */
/* a new thread whose parent's event never comes is let go after this */
#define EARLY_NS 300000000u
/* stopped calls of a process that has no ring; then it counts as stopped at every call */
#define NET_LIMIT  2000
#define READ_LIMIT 4096
/* farther apart are two stacks, as a handler has that runs on its own */
#define STACK_MAX (8u << 20)

/* The kernel's own: how a call says that it is to be restarted. */
#define ERESTART_FIRST 512
#define ERESTART_LAST  516

struct process {
	pid_t pid;
	uint32_t mm;
	int pidfd;
	unsigned int threads;
	uint32_t how; /* of struct trace_process */
	pid_t ppid;
	bool ring;	   /* libesca.so is in force */
	bool stopped_lane; /* nothing will come by a ring: every call is stopped */
	unsigned int net_calls;
	uint64_t fd_table; /* address of its struct record_fd[]; 0: none */
	UT_hash_handle hh;
};

/** A call on its way; ip is behind its instruction. */
struct pending {
	struct trace_call c;
	uint64_t ip;
	uint64_t sp;
};

struct tracee {
	pid_t tid;
	struct process *proc; /* NULL: stopped before its parent's event told what it is */
	uint64_t early_ns;    /* since when it waits for that */
	bool in_call;
	bool hush;   /* the calls are the library's own */
	bool expect; /* its first stop is still to come */
	struct pending call;
	struct pending broken[BROKEN_MAX]; /* interrupted, not yet known how they end */
	unsigned int nbroken;
	pid_t vfork_parent; /* runs on that thread's memory until exec or exit */
	UT_hash_handle hh;
};

struct tracer {
	struct recorder *rec;
	struct stacks *stacks; /* NULL: not wanted */
	struct tracer_opts o;
	struct process *processes;
	struct tracee *tracees;
	pid_t pid;
	uint32_t last_mm;
	bool execed;
	bool live;
	int up; /* the child writes the errno of the filter here, if it is refused; -1: closed */
	struct tracer_end end;
};

/* --- processes and threads --- */

static struct tracee *tracee_of(struct tracer *t, pid_t tid)
{
	struct tracee *e;

	HASH_FIND(hh, t->tracees, &tid, sizeof(tid), e);
	return e;
}

static struct tracee *tracee_new(struct tracer *t, pid_t tid)
{
	struct tracee *e = calloc(1, sizeof(*e));

	if (!e) {
		recorder_check(t->rec, -ENOMEM);
		return NULL;
	}
	e->tid = tid;
	HASH_ADD(hh, t->tracees, tid, sizeof(e->tid), e);
	return e;
}

static struct process *process_of(struct tracer *t, pid_t pid)
{
	struct process *p;

	HASH_FIND(hh, t->processes, &pid, sizeof(pid), p);
	return p;
}

static void process_put(struct tracer *t, struct process *p)
{
	if (--p->threads)
		return;
	HASH_DEL(t->processes, p);
	if (p->pidfd >= 0)
		close(p->pidfd);
	free(p);
}

static struct process *process_new(struct tracer *t, pid_t pid, pid_t ppid, uint32_t mm,
				   uint32_t how)
{
	struct process *p = calloc(1, sizeof(*p));

	if (!p) {
		recorder_check(t->rec, -ENOMEM);
		return NULL;
	}
	p->pid = pid;
	p->ppid = ppid;
	p->mm = mm;
	p->how = how;
	p->stopped_lane = !t->o.library;
	p->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	HASH_ADD(hh, t->processes, pid, sizeof(p->pid), p);
	return p;
}

/* Text of a small file of @tid under /proc; "" if there is none. */
static size_t proc_read(pid_t tid, const char *name, char *buf, size_t size)
{
	char path[64];
	ssize_t n;
	int fd;

	buf[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)tid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, buf, size - 1);
	close(fd);
	if (n < 0)
		n = 0;
	buf[n] = '\0';
	return (size_t)n;
}

static pid_t status_field(pid_t tid, const char *field)
{
	char buf[READ_LIMIT];
	const char *at;

	proc_read(tid, "status", buf, sizeof(buf));
	at = strstr(buf, field);
	return at ? (pid_t)atoi(at + strlen(field)) : 0;
}

static void put_process(struct tracer *t, const struct process *p)
{
	struct trace_process rec = {
		.pid = (uint32_t)p->pid,
		.ppid = (uint32_t)p->ppid,
		.mono_ns = recorder_now(t->rec),
		.how = p->how,
		.preload = p->ring,
	};
	char link[32], exe[READ_LIMIT], cmdline[READ_LIMIT];
	size_t size = proc_read(p->pid, "cmdline", cmdline, sizeof(cmdline));
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%d/exe", (int)p->pid);
	n = readlink(link, exe, sizeof(exe) - 1);
	exe[n > 0 ? n : 0] = '\0';
	recorder_check(t->rec,
		       trace_put_process(recorder_writer(t->rec), &rec, exe, cmdline, size));
}

static void put_thread(struct tracer *t, const struct tracee *e)
{
	struct trace_thread rec = {
		.tid = (uint32_t)e->tid,
		.pid = (uint32_t)e->proc->pid,
		.mono_ns = recorder_now(t->rec),
	};
	char comm[32];
	size_t n = proc_read(e->tid, "comm", comm, sizeof(comm));

	recorder_thread(t->rec, rec.tid, rec.pid);
	if (n && comm[n - 1] == '\n')
		comm[n - 1] = '\0';
	recorder_check(t->rec, trace_put_thread(recorder_writer(t->rec), &rec, comm));
}

static void put_cpu(struct tracer *t, const struct tracee *e)
{
	struct trace_cpu rec = {.tid = (uint32_t)e->tid};
	char name[48], buf[128];

	snprintf(name, sizeof(name), "task/%d/schedstat", (int)e->tid);
	if (!proc_read(e->tid, name, buf, sizeof(buf)))
		return;
	rec.cpu_ns = strtoull(buf, NULL, 10);
	rec.mono_ns = recorder_now(t->rec);
	recorder_check(t->rec, trace_put_cpu(recorder_writer(t->rec), &rec));
}

/* A thread of @p is there; its process too, if @p is new. */
static void tracee_join(struct tracer *t, struct tracee *e, struct process *p)
{
	e->proc = p;
	if (!p->threads++)
		put_process(t, p);
	put_thread(t, e);
}

/* --- resuming --- */

static void resume(struct tracee *e, int sig)
{
	ptrace(e->in_call ? PTRACE_SYSCALL : PTRACE_CONT, e->tid, NULL, (void *)(intptr_t)sig);
}

/* --- calls --- */

static void finish(struct tracer *t, struct pending *p)
{
	recorder_call(t->rec, &p->c);
}

/* When the oldest call of the thread that is still open began. */
static void tell_open(struct tracer *t, const struct tracee *e)
{
	uint64_t open = e->in_call && !e->hush ? e->call.c.enter_ns : 0;

	if (e->nbroken)
		open = e->broken[0].c.enter_ns;
	recorder_open(t->rec, (uint32_t)e->tid, open);
}

static uint8_t lane_of(struct process *p)
{
	if (!p->ring && !p->stopped_lane && ++p->net_calls > NET_LIMIT)
		p->stopped_lane = true;
	return p->stopped_lane ? TRACE_LANE_STOP : TRACE_LANE_NET;
}

/* What the call does with a descriptor makes the library's own note of it stale. */
static void forget_fd(const struct process *p, const struct trace_call *c)
{
	static const struct record_fd none;
	int64_t fd = -1;

	if (!p->fd_table || c->result < 0)
		return;
	switch (c->nr) {
	case SYS_close:
	case SYS_fcntl:
	case SYS_ioctl:
		fd = (int)c->args[0];
		break;
	default:
		if (call_row(c->nr)->ret == CALL_RET_FD)
			fd = c->result;
	}
	if (fd >= 0 && fd < RECORD_FDS)
		tracer_write(p->pid, p->fd_table + (uint64_t)fd * sizeof(none), &none,
			     sizeof(none));
}

static void put_path(struct tracer *t, const struct tracee *e, const struct trace_call *c)
{
	struct trace_path rec = {
		.pid = (uint32_t)e->proc->pid,
		.fd = (int32_t)c->result,
		.mono_ns = c->exit_ns,
	};
	char path[READ_LIMIT];

	if (c->result < 0 || (c->nr != SYS_openat && c->nr != SYS_open) ||
	    c->flags & TRACE_CALL_COMPAT)
		return;
	tracer_read_string(e->tid, c->args[c->nr == SYS_openat], path, sizeof(path));
	recorder_check(t->rec, trace_put_path(recorder_writer(t->rec), &rec, path));
}

static void call_done(struct tracer *t, struct tracee *e, int64_t result)
{
	struct trace_call *c = &e->call.c;

	c->exit_ns = recorder_now(t->rec);
	c->result = result;
	e->in_call = false;
	if (e->hush)
		return;
	c->extra = tracer_extra(e->tid, c);
	forget_fd(e->proc, c);
	put_path(t, e, c);
	finish(t, &e->call);
}

/* The interrupted call number @i and those inside its handlers are over. */
static void broken_over(struct tracer *t, struct tracee *e, unsigned int i, uint8_t flags)
{
	while (e->nbroken > i) {
		struct pending *p = &e->broken[--e->nbroken];

		p->c.flags |= flags;
		if (flags & TRACE_CALL_UNFINISHED)
			p->c.result = 0;
		finish(t, p);
	}
}

/*
 * A handler that has jumped away left its interrupted
 * call below the stack: it has ended as EINTR would.
 */
static void broken_check(struct tracer *t, struct tracee *e, uint64_t sp)
{
	unsigned int i = 0;

	while (i < e->nbroken && (e->broken[i].sp >= sp || sp - e->broken[i].sp > STACK_MAX))
		i++;
	broken_over(t, e, i, 0);
}

static bool same_call(const struct pending *p, const struct pending *q)
{
	if (p->ip != q->ip || p->sp != q->sp)
		return false;
	return q->c.nr == SYS_restart_syscall ||
	       (p->c.nr == q->c.nr && !memcmp(p->c.args, q->c.args, sizeof(p->c.args)));
}

static void call_begin(struct tracer *t, struct tracee *e, const struct __ptrace_syscall_info *info)
{
	struct pending p = {.ip = info->instruction_pointer, .sp = info->stack_pointer};
	const struct call_row *row;
	struct trace_call *c = &p.c;
	unsigned int nargs;

	c->enter_ns = recorder_now(t->rec);
	c->tid = (uint32_t)e->tid;
	c->nr = (uint16_t)info->seccomp.nr;
	c->lane = lane_of(e->proc);
	if (info->arch != AUDIT_ARCH_X86_64)
		c->flags = TRACE_CALL_COMPAT;
	row = call_row(c->flags & TRACE_CALL_COMPAT ? UINT16_MAX : c->nr);
	nargs = call_nargs(row);
	for (unsigned int i = 0; i < nargs; i++)
		c->args[i] = info->seccomp.args[i];
	broken_check(t, e, p.sp);
	if (e->nbroken && same_call(&e->broken[e->nbroken - 1], &p)) {
		e->call = e->broken[--e->nbroken];
		e->call.c.flags |= TRACE_CALL_RESTARTED;
		e->in_call = true;
		return;
	}
	e->call = p;
	e->in_call = true;
	if (e->hush)
		return;
	if (row->fd_arg >= 0)
		tracer_fd(e->proc->pidfd, (int)c->args[row->fd_arg], &e->call.c);
	if (t->stacks && t->execed)
		e->call.c.stack =
			stacks_id(t->stacks, e->tid, e->proc->pid, e->proc->mm, p.ip, p.sp);
}

/* Let the stopped call not happen, with @result as its answer. */
static void answer(struct tracee *e, long result)
{
	struct user_regs_struct regs;

	if (ptrace(PTRACE_GETREGS, e->tid, NULL, &regs))
		return;
	regs.orig_rax = (unsigned long)-1;
	regs.rax = (unsigned long)result;
	ptrace(PTRACE_SETREGS, e->tid, NULL, &regs);
}

static void service_unwind(struct tracer *t, struct tracee *e, const uint64_t *args)
{
	struct record_unwind u;
	int err = -EINVAL;

	if (t->stacks && args[1] == sizeof(u))
		err = tracer_read(e->tid, args[0], &u, offsetof(struct record_unwind, id));
	if (!err) {
		stacks_answer(t->stacks, e->tid, e->proc->pid, e->proc->mm, &u);
		err = tracer_write(e->tid, args[0], &u, sizeof(u));
	}
	answer(e, err);
}

/* The calls of record.h. Return: false if it is none of them. */
static bool service(struct tracer *t, struct tracee *e, const struct __ptrace_syscall_info *info)
{
	const uint64_t *args = (const uint64_t *)info->seccomp.args;

	if (info->arch != AUDIT_ARCH_X86_64 || !t->o.library)
		return false;
	switch (info->seccomp.nr) {
	case RECORD_NR_UNWIND:
		service_unwind(t, e, args);
		return true;
	case RECORD_NR_HUSH:
		e->hush = args[0] != 0;
		answer(e, 0);
		return true;
	case RECORD_NR_LIVE:
		e->proc->ring = true;
		e->proc->fd_table = args[0];
		t->live = true;
		put_process(t, e->proc);
		answer(e, 0);
		return true;
	}
	return false;
}

static bool is_exec(const struct trace_call *c)
{
	return !(c->flags & TRACE_CALL_COMPAT) && (c->nr == SYS_execve || c->nr == SYS_execveat);
}

static void on_seccomp(struct tracer *t, struct tracee *e)
{
	struct __ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, e->tid, sizeof(info), &info) <= 0)
		return;
	if (info.op != PTRACE_SYSCALL_INFO_SECCOMP) {
		resume(e, 0);
		return;
	}
	if (service(t, e, &info)) {
		resume(e, 0);
		return;
	}
	call_begin(t, e, &info);
	/* A successful exec lets the parent run before we hear of it; a child that calls exec makes
	 * no more calls in its memory. */
	if (e->vfork_parent && is_exec(&e->call.c))
		recorder_return(t->rec, (uint32_t)e->vfork_parent, (uint32_t)e->tid);
	tell_open(t, e);
	resume(e, 0);
}

/* rt_sigreturn has put back the registers of an interrupted call: does it end now, or begin again?
 */
static void after_handler(struct tracer *t, struct tracee *e)
{
	struct user_regs_struct regs;
	struct pending *p;

	if (!e->nbroken || ptrace(PTRACE_GETREGS, e->tid, NULL, &regs))
		return;
	p = &e->broken[e->nbroken - 1];
	if (regs.rip == p->ip && regs.rsp == p->sp) {
		p->c.result = (int64_t)regs.rax;
		p->c.exit_ns = recorder_now(t->rec);
		finish(t, p);
		e->nbroken--;
	}
}

static void exec_failed(struct tracer *t, struct tracee *e, int err)
{
	if (e->proc->pid == t->pid && !t->execed)
		t->end.exec_err = err;
	if (e->vfork_parent)
		recorder_borrow(t->rec, (uint32_t)e->vfork_parent, (uint32_t)e->tid);
}

static void on_exit_stop(struct tracer *t, struct tracee *e)
{
	struct __ptrace_syscall_info info;

	if (!e->in_call) {
		resume(e, 0);
		return;
	}
	if (ptrace(PTRACE_GET_SYSCALL_INFO, e->tid, sizeof(info), &info) <= 0)
		return;
	if (info.op != PTRACE_SYSCALL_INFO_EXIT) {
		resume(e, 0);
		return;
	}
	if (info.exit.is_error && info.exit.rval <= -ERESTART_FIRST &&
	    info.exit.rval >= -ERESTART_LAST && !e->hush) {
		if (e->nbroken == BROKEN_MAX)
			broken_over(t, e, BROKEN_MAX - 1, 0);
		e->call.c.exit_ns = recorder_now(t->rec);
		e->call.c.result = -EINTR;
		e->broken[e->nbroken++] = e->call;
		e->in_call = false;
	} else {
		bool sigreturn = e->call.c.nr == SYS_rt_sigreturn;

		if (info.exit.is_error && is_exec(&e->call.c))
			exec_failed(t, e, (int)-info.exit.rval);
		/* What rt_sigreturn "returns" is the register it has put back. */
		call_done(t, e, sigreturn ? 0 : info.exit.rval);
		if (sigreturn)
			after_handler(t, e);
	}
	tell_open(t, e);
	resume(e, 0);
}

/* --- the tree --- */

static void child_start(struct tracer *t, struct tracee *child)
{
	child->early_ns = 0;
	resume(child, 0);
}

/* A thread or process that @parent has made; its own first stop may have come before this. */
static void adopt(struct tracer *t, struct tracee *child, struct process *parent, uint32_t how)
{
	pid_t pid = status_field(child->tid, "\nTgid:");
	struct process *p;

	if (!pid)
		pid = child->tid;
	p = process_of(t, pid);
	if (!p) {
		p = process_new(t, pid, parent ? parent->pid : 0,
				parent ? parent->mm : ++t->last_mm, how);
		if (!p)
			return;
		if (parent) {
			p->ring = parent->ring;
			p->stopped_lane = parent->stopped_lane;
			p->fd_table = parent->fd_table;
		}
	}
	tracee_join(t, child, p);
}

static void on_child(struct tracer *t, struct tracee *e, int event)
{
	unsigned long msg;
	struct tracee *child;

	if (ptrace(PTRACE_GETEVENTMSG, e->tid, NULL, &msg))
		return;
	child = tracee_of(t, (pid_t)msg);
	if (!child) {
		child = tracee_new(t, (pid_t)msg);
		if (child)
			child->expect = true;
	}
	if (child && !child->proc) {
		adopt(t, child, e->proc, event == PTRACE_EVENT_VFORK ? 2 : 1);
		if (event == PTRACE_EVENT_VFORK) {
			child->vfork_parent = e->tid;
			recorder_borrow(t->rec, (uint32_t)e->tid, (uint32_t)child->tid);
		}
		if (!child->expect)
			child_start(t, child);
	}
	resume(e, 0);
}

static void vfork_over(struct tracer *t, struct tracee *e)
{
	if (e->vfork_parent)
		recorder_return(t->rec, (uint32_t)e->vfork_parent, (uint32_t)e->tid);
	e->vfork_parent = 0;
}

static void tracee_free(struct tracer *t, struct tracee *e)
{
	HASH_DEL(t->tracees, e);
	if (e->proc)
		process_put(t, e->proc);
	free(e);
}

/* The thread is gone, or goes: what it was in has no end. */
static void close_calls(struct tracer *t, struct tracee *e)
{
	vfork_over(t, e);
	if (e->in_call && !e->hush) {
		e->call.c.flags |= TRACE_CALL_UNFINISHED;
		e->call.c.exit_ns = recorder_now(t->rec);
		finish(t, &e->call);
	}
	e->in_call = false;
	broken_over(t, e, 0, TRACE_CALL_UNFINISHED);
	recorder_thread_gone(t->rec, (uint32_t)e->tid);
}

static bool program_is_static(pid_t pid)
{
	struct target target;
	char link[32];

	snprintf(link, sizeof(link), "/proc/%d/exe", (int)pid);
	target_inspect(&target, link);
	return target.kind != TARGET_OK;
}

/* The address space is new, and of all threads only this one is left, under the id of the process.
 */
static void on_exec(struct tracer *t, struct tracee *e)
{
	struct process *p = e->proc;
	struct tracee *other, *next;
	struct pending call = e->call;
	bool in_call = e->in_call;
	unsigned long former = 0;

	ptrace(PTRACE_GETEVENTMSG, e->tid, NULL, &former);
	if (former && (pid_t)former != e->tid) {
		struct tracee *was = tracee_of(t, (pid_t)former);

		if (was) {
			call = was->call;
			in_call = was->in_call;
			was->in_call = false;
		}
	}
	e->in_call = in_call && (pid_t)former == e->tid ? false : e->in_call;
	HASH_ITER (hh, t->tracees, other, next) {
		if (other->proc != p)
			continue;
		close_calls(t, other);
		if (other != e)
			tracee_free(t, other);
	}
	e->call = call;
	e->call.c.tid = (uint32_t)e->tid;
	e->in_call = in_call;
	e->hush = false;
	p->mm = ++t->last_mm;
	p->how = 3;
	p->ring = false;
	p->fd_table = 0;
	p->net_calls = 0;
	p->stopped_lane = !t->o.library || program_is_static(p->pid);
	if (p->pid == t->pid)
		t->execed = true;
	put_process(t, p);
	put_thread(t, e);
	tell_open(t, e);
	resume(e, 0);
}

/*
 * A call through the gate that the thread will not return from
 * has left nothing in the ring: the registers still tell it.
 */
static void ring_call_dies(struct tracer *t, struct tracee *e)
{
	uint64_t entered = recorder_in_flight(t->rec, (uint32_t)e->tid);
	struct user_regs_struct regs;
	struct trace_call c = {
		.enter_ns = entered, .tid = (uint32_t)e->tid, .lane = TRACE_LANE_RING};
	unsigned int nargs;

	if (!entered || ptrace(PTRACE_GETREGS, e->tid, NULL, &regs))
		return;
	if (regs.rip != ESCA_GATE_IP && regs.rip != ESCA_GATE_ADDR)
		return;
	c.nr = (uint16_t)((long)regs.orig_rax >= 0 ? regs.orig_rax : regs.rax);
	nargs = call_nargs(call_row(c.nr));
	memcpy(c.args, (uint64_t[]){regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9},
	       nargs * sizeof(c.args[0]));
	c.exit_ns = recorder_now(t->rec);
	c.flags = TRACE_CALL_UNFINISHED;
	c.fd_kind = call_row(c.nr)->fd_arg >= 0 ? TRACE_FD_UNKNOWN : TRACE_FD_NONE;
	recorder_call(t->rec, &c);
}

static void on_exit_event(struct tracer *t, struct tracee *e)
{
	if (!e->vfork_parent)
		ring_call_dies(t, e);
	put_cpu(t, e);
	close_calls(t, e);
	resume(e, 0);
}

static void on_gone(struct tracer *t, pid_t tid, int status)
{
	struct tracee *e = tracee_of(t, tid);
	struct trace_exit rec = {
		.tid = (uint32_t)tid,
		.status = (uint32_t)status,
		.mono_ns = recorder_now(t->rec),
	};

	if (!e) {
		if (t->o.other)
			t->o.other(t->o.arg, tid, status);
		return;
	}
	if (tid == t->pid) {
		t->end.ended = true;
		t->end.status = status;
		if (read(t->up, &t->end.filter_err, sizeof(int)) != sizeof(int))
			t->end.filter_err = 0;
	}
	if (e->proc)
		close_calls(t, e);
	recorder_check(t->rec, trace_put_exit(recorder_writer(t->rec), &rec));
	tracee_free(t, e);
}

static void on_signal(struct tracer *t, struct tracee *e, int sig)
{
	struct trace_signal rec = {
		.tid = (uint32_t)e->tid,
		.signo = (uint32_t)sig,
		.mono_ns = recorder_now(t->rec),
	};

	recorder_check(t->rec, trace_put_signal(recorder_writer(t->rec), &rec));
	resume(e, sig);
}

static bool stops_a_group(int sig)
{
	return sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU;
}

/* Its first stop, or one for the whole process, in which it stays until SIGCONT. */
static void on_event_stop(struct tracee *e, int sig)
{
	if (stops_a_group(sig))
		ptrace(PTRACE_LISTEN, e->tid, NULL, NULL);
	else
		resume(e, 0);
}

static void on_stop(struct tracer *t, struct tracee *e, int status)
{
	int sig = WSTOPSIG(status);
	int event = status >> 16;

	e->expect = false;
	switch (event) {
	case PTRACE_EVENT_SECCOMP:
		on_seccomp(t, e);
		return;
	case PTRACE_EVENT_FORK:
	case PTRACE_EVENT_VFORK:
	case PTRACE_EVENT_CLONE:
		on_child(t, e, event);
		return;
	case PTRACE_EVENT_EXEC:
		on_exec(t, e);
		return;
	case PTRACE_EVENT_EXIT:
		on_exit_event(t, e);
		return;
	case PTRACE_EVENT_STOP:
		on_event_stop(e, sig);
		return;
	case 0:
		break;
	default:
		resume(e, 0);
		return;
	}
	if (sig == (SIGTRAP | 0x80))
		on_exit_stop(t, e);
	else
		on_signal(t, e, sig);
}

static void dispatch(struct tracer *t, pid_t tid, int status)
{
	struct tracee *e;

	if (!WIFSTOPPED(status)) {
		on_gone(t, tid, status);
		return;
	}
	e = tracee_of(t, tid);
	if (!e)
		e = tracee_new(t, tid);
	if (!e)
		return;
	if (!e->proc) {
		e->early_ns = recorder_now(t->rec); /* until its parent's event comes */
		return;
	}
	on_stop(t, e, status);
}

/* The parent was killed before its event: the child lives on without it. */
static void adopt_orphans(struct tracer *t)
{
	uint64_t now = recorder_now(t->rec);
	struct tracee *e, *next;

	HASH_ITER (hh, t->tracees, e, next) {
		if (e->proc || !e->early_ns || now - e->early_ns < EARLY_NS)
			continue;
		adopt(t, e, NULL, 1);
		if (e->proc)
			child_start(t, e);
	}
}

/*
 * All stops are collected before any is dealt with, so
 * that a busy thread does not keep the others waiting.
 */
void tracer_pump(struct tracer *t)
{
	enum {
		ROUND = 256
	};
	struct {
		pid_t tid;
		int status;
	} got[ROUND];
	unsigned int n;

	do {
		for (n = 0; n < ROUND; n++) {
			got[n].tid = waitpid(-1, &got[n].status, WNOHANG | __WALL);
			if (got[n].tid <= 0)
				break;
		}
		for (unsigned int i = 0; i < n; i++)
			dispatch(t, got[i].tid, got[i].status);
	} while (n);
	adopt_orphans(t);
}

/* --- start --- */

static char **child_env(const struct tracer *t)
{
	extern char **environ;
	static char preload[READ_LIMIT + 16], plan[256];
	const char *old = getenv("LD_PRELOAD");
	size_t n = 0, out = 0;
	char **env;

	while (environ[n])
		n++;
	env = calloc(n + 3, sizeof(*env));
	if (!env || !t->o.library)
		return env ? free(env), environ : NULL;
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], "LD_PRELOAD=", 11) &&
		    strncmp(environ[i], ESCA_PLAN_ENV "=", sizeof(ESCA_PLAN_ENV)))
			env[out++] = environ[i];
	snprintf(preload, sizeof(preload), "LD_PRELOAD=%s%s%s", t->o.library, old ? ":" : "",
		 old ? old : "");
	snprintf(plan, sizeof(plan), ESCA_PLAN_ENV "=%s", recorder_plan(t->rec));
	env[out++] = preload;
	env[out++] = plan;
	return env;
}

/*
 * The child: wait until it is traced, take the filter, become
 * the server. What it writes to @up is the errno of the filter.
 */
static _Noreturn void child_main(const struct tracer *t, const struct sock_fprog *prog, char **env,
				 int go, int up)
{
	char c;
	int err;

	if (read(go, &c, 1) != 1)
		_exit(127);
	sigprocmask(SIG_SETMASK, t->o.mask, NULL);
	err = tracer_filter_install(prog);
	if (err) {
		if (write(up, &err, sizeof(err)) < 0)
			_exit(127);
		_exit(127);
	}
	execve(t->o.path, t->o.argv, env);
	_exit(127);
}

static int launch(struct tracer *t, const struct sock_fprog *prog, enum tracer_step *step)
{
	char **env = child_env(t);
	struct tracee *e;
	struct process *p;
	int go[2], up[2];
	int err = 0;

	*step = TRACER_STEP_FORK;
	if (!env)
		return -ENOMEM;
	if (pipe2(go, O_CLOEXEC) || pipe2(up, O_CLOEXEC | O_NONBLOCK))
		return -errno;
	t->pid = fork();
	if (t->pid < 0)
		return -errno;
	if (!t->pid)
		child_main(t, prog, env, go[0], up[1]);
	if (env != environ)
		free(env);
	close(go[0]);
	close(up[1]);
	*step = TRACER_STEP_SEIZE;
	if (ptrace(PTRACE_SEIZE, t->pid, NULL, (void *)(uintptr_t)OPTIONS)) {
		err = -errno;
		kill(t->pid, SIGKILL);
		waitpid(t->pid, NULL, 0);
	} else {
		e = tracee_new(t, t->pid);
		p = process_new(t, t->pid, getpid(), ++t->last_mm, 0);
		if (!e || !p)
			return -ENOMEM;
		tracee_join(t, e, p);
		if (write(go[1], "g", 1) != 1)
			err = -errno;
		close(go[1]);
	}
	t->up = up[0];
	return err;
}

int tracer_start(struct tracer **tp, struct recorder *rec, const struct tracer_opts *o,
		 enum tracer_step *step)
{
	struct tracer *t = calloc(1, sizeof(*t));
	struct sock_fprog prog;
	int err;

	*step = TRACER_STEP_SETUP;
	if (!t)
		return -ENOMEM;
	t->rec = rec;
	t->o = *o;
	t->up = -1;
	err = o->stacks ? stacks_new(&t->stacks, rec) : 0;
	if (!err)
		err = tracer_filter_make(&prog, o->library != NULL);
	if (!err) {
		prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
		err = launch(t, &prog, step);
		free(prog.filter);
	}
	if (err) {
		tracer_free(t);
		return err;
	}
	*tp = t;
	return 0;
}

void tracer_free(struct tracer *t)
{
	struct tracee *e, *next;

	if (!t)
		return;
	HASH_ITER (hh, t->tracees, e, next)
		tracee_free(t, e);
	stacks_free(t->stacks);
	if (t->up >= 0)
		close(t->up);
	free(t);
}

bool tracer_alive(const struct tracer *t)
{
	return t->tracees;
}

pid_t tracer_pid(const struct tracer *t)
{
	return t->pid;
}

void tracer_end(const struct tracer *t, struct tracer_end *end)
{
	*end = t->end;
}

void tracer_kill(struct tracer *t, int sig)
{
	if (!t->end.ended) {
		kill(t->pid, sig);
		return;
	}
	/* The daemon that it has left: its processes whose parent is gone are ours now. */
	for (struct process *p = t->processes; p; p = p->hh.next)
		if (status_field(p->pid, "\nPPid:") == getpid())
			kill(p->pid, sig);
}

void tracer_kill_all(struct tracer *t)
{
	for (struct process *p = t->processes; p; p = p->hh.next)
		kill(p->pid, SIGKILL);
}

void tracer_cpu(struct tracer *t)
{
	for (struct tracee *e = t->tracees; e; e = e->hh.next)
		if (e->proc)
			put_cpu(t, e);
}

void tracer_symbols(struct tracer *t)
{
	if (t->stacks)
		stacks_symbols(t->stacks);
}

bool tracer_ring_live(const struct tracer *t)
{
	return t->live;
}
