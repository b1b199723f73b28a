/* SPDX-License-Identifier: MIT */
/* life.c - fork, exec, exit, signals, threads: what waits must neither be lost nor be sent twice.
 */
#include "config.h"

#include <linux/sched.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include <esca-runtime/backend.h>
#include <esca-runtime/run.h>

bool life_ends;

static pthread_key_t key;
static uint64_t start_tsc;
static struct timespec start_time;

bool bypassed(void)
{
	if (self.bypass & BYPASS_VFORK) {
		if (raw_syscall(SYS_getpid, 0, 0, 0, 0, 0, 0) != self.vfork_pid)
			return true;
		self.bypass &= (uint8_t)~BYPASS_VFORK;
	}
	return self.bypass & BYPASS_BUSY;
}

static bool hands_off(void)
{
	return unlikely(self.bypass) && bypassed();
}

static void life_barrier(void)
{
	if (hands_off())
		return;
	flush();
	/* What it is about may be a file to which other threads have written. */
	if (unlikely(queue_logs_wait()))
		queue_flush_logs(NULL, NULL);
	if (unlikely(SHARED(hot.spills)))
		spill_rest();
}

static bool life_pending(void)
{
	return queue_waits(self.q) || SHARED(hot.spills);
}

static void life_finish(bool ends)
{
	if (hands_off())
		return;
	queue_flush_all();
	if (SHARED(hot.spills))
		spill_end(ESCA_EXIT_MS);
	if (ends)
		ahead_end();
}

static void life_prepare(void)
{
	if (hands_off())
		return;
	ahead_forks();
	flush();
	/* The child may write to what it inherits: what came before goes first. */
	if (SHARED(hot.spills))
		spill_rest();
}

void life_child(void)
{
	ahead_forks();
	stats_child();
	if (hot.alive)
		*hot.alive = 1;
	spill_child();
	turn_child();
	fd_child();
	queue_child();
}

static void life_forked(void)
{
	life_child();
}

static void life_vfork(void)
{
	if (hands_off())
		return;
	life_prepare();
	self.vfork_pid = (pid_t)raw_syscall(SYS_getpid, 0, 0, 0, 0, 0, 0);
	self.bypass |= BYPASS_VFORK;
}

static void life_forget(int fd)
{
	struct fd_entry *e = fd_get(fd);

	if (!e || hands_off())
		return;
	fd_foreign(e);
	flush();
	if (SHARED(e->spill) && !(e->flags & FD_ZOMBIE))
		spill_settle(e, fd);
	e->cls = FD_OTHER;
}

/*
 * A filter that the server has made allows the calls that it makes, and none of ours may be among
 * them: from now on its calls go through as they come, and we make none.
 */
static void life_confined(void)
{
	if (hands_off())
		return;
	queue_flush_all();
	if (SHARED(hot.spills)) {
		spill_rest();
		spill_finish_all(ESCA_EXIT_MS);
	}
	backend = &backend_direct;
	SHARE(hot.over, true);
}

static bool life_call(long *ret, long nr, const long *a)
{
	const struct clone_args *args;

	if (hands_off())
		return false;
	switch (nr) {
#define ESCA_CALL(name, cls, fd, buf, ptr, len, r, ret_arg, args)                                  \
	case SYS_##name:                                                                           \
		if (esca_handlers[ROW_##name] == esca_plain)                                       \
			break;                                                                     \
		*ret = esca_handlers[ROW_##name](nr, a[0], a[1], a[2], a[3], a[4], a[5]);          \
		return true;
#include <analyzer/syscalls.def>
#undef ESCA_CALL
	}
	switch (nr) {
	case SYS_vfork:
		life_vfork();
		return false;
	case SYS_clone3:
		args = (const struct clone_args *)a[0];
		if (args && !(args->flags & CLONE_VM) && !args->stack)
			goto forks;
		flush();
		SHARE(hot.over, true);
		return false;
	case SYS_clone:
		if (a[0] & CLONE_VM) {
			/*
			 * Somebody makes threads without libc:
			 * ours are not to be told apart any more.
			 */
			flush();
			SHARE(hot.over, true);
			return false;
		}
		if (a[1])
			break;
		__attribute__((fallthrough));
	case SYS_fork:
	forks:
		life_prepare();
		*ret = raw_syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
		if (!*ret)
			life_child();
		return true;
	case SYS_execve:
	case SYS_execveat:
	case SYS_exit_group:
		life_finish(nr == SYS_exit_group);
		return false;
	case SYS_seccomp:
		/* libseccomp asks with the others what there is. */
		if (a[0] == SECCOMP_SET_MODE_STRICT || a[0] == SECCOMP_SET_MODE_FILTER)
			life_confined();
		return false;
	case SYS_getpid:
	case SYS_gettid:
	case SYS_clock_gettime:
	case SYS_getrandom:
	case SYS_getcpu:
	case SYS_membarrier:
		return false;
	}
	flush();
	return false;
}

static void thread_end(void *arg)
{
	queue_leave();
	self.bypass |= BYPASS_GONE;
	stats_leave();
}

void life_thread(void)
{
	struct timespec now;
	int64_t us;

	pthread_setspecific(key, &self);
	clock_gettime(CLOCK_MONOTONIC, &now);
	us = (now.tv_sec - start_time.tv_sec) * 1000000 + (now.tv_nsec - start_time.tv_nsec) / 1000;
	if (us > 1000) {
		uint64_t per_us = (tsc() - start_tsc) / (uint64_t)us;

		SHARE(queue_age_ticks, per_us * hot.settings.age_us);
		SHARE(queue_long_ticks, per_us * ESCA_LONG_TURN);
		stats_clock(per_us);
	}
}

void life_start(void)
{
	long map;

	start_tsc = tsc();
	clock_gettime(CLOCK_MONOTONIC, &start_time);
	map = raw_syscall(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	if (!raw_is_error(map)) {
		if (!raw_syscall(SYS_madvise, map, 4096, MADV_WIPEONFORK, 0, 0, 0)) {
			hot.alive = (volatile char *)map;
			*hot.alive = 1;
		}
	}
	pthread_key_create(&key, thread_end);
	pthread_atfork(life_prepare, NULL, life_forked);
	esca_hooks.barrier = life_barrier;
	esca_hooks.pending = life_pending;
	esca_hooks.unlimited = fd_limit;
	esca_hooks.finish = life_finish;
	esca_hooks.vfork = life_vfork;
	esca_hooks.child = life_child;
	esca_hooks.forget = life_forget;
	esca_hooks.confined = life_confined;
	esca_hooks.call = life_call;
	signals_start();
}

/* The preloaded library is the last to be torn down: what atexit handlers wrote is here too. */
__attribute__((destructor)) static void life_end(void)
{
	if (esca_hooks.finish != life_finish)
		return;
	life_ends = !SHARED(hot.over);
	SHARE(hot.over, true);
	life_finish(true);
}
