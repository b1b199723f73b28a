/* SPDX-License-Identifier: MIT */
/*
 * signal.c - the server's signal handlers never run while the runtime is at work on their thread.
 *
 * A handler may end the process, fork, or jump: in the middle of a flush that would lose replies,
 * send them twice or leave a lock held. To block signals around each flush costs two crossings a
 * turn. So every handler is called by ours, which is only a jump as long as self.bypass does not
 * say BYPASS_BUSY. If it does, the signal is queued again for this very thread with all it came
 * with, and the code that was interrupted goes on with signals blocked, until it is no longer busy
 * and restores the mask: then the kernel delivers what is pending, as if it had come just then.
 */
#include "config.h"

#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include <esca-runtime/run.h>

/* What the server has set: @handler, called with three arguments whatever it takes; @set: what the
 * kernel was given. */
static struct {
	void (*handler)(int sig, siginfo_t *info, void *context);
	bool siginfo;
	struct sigaction set;
} actions[NSIG];

#define BIT(sig) (1ull << ((sig)-1))
/* What an instruction causes cannot wait: it would be made again, or the kernel ends us. */
#define FAULTS (BIT(SIGSEGV) | BIT(SIGBUS) | BIT(SIGFPE) | BIT(SIGILL) | BIT(SIGTRAP) | BIT(SIGSYS))

static void set_mask(const uint64_t *mask, uint64_t *old)
{
	raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, (long)mask, (long)old, sizeof(*mask), 0, 0);
}

static bool hold(int sig, siginfo_t *info, ucontext_t *context)
{
	uint64_t all = ~FAULTS | BIT(sig), now;
	uint64_t *mask = (uint64_t *)&context->uc_sigmask;

	/* A filter of the server may not allow what follows, and threads that libc did not make may
	 * share what we know of ours. */
	if (((FAULTS & BIT(sig)) && info->si_code > 0) || (SHARED(hot.over) && !life_ends))
		return false;
	/* With SA_NODEFER it would be delivered at once. */
	set_mask(&all, &now);
	if (raw_syscall(SYS_rt_tgsigqueueinfo, raw_syscall(SYS_getpid, 0, 0, 0, 0, 0, 0),
			raw_syscall(SYS_gettid, 0, 0, 0, 0, 0, 0), sig, (long)info, 0, 0)) {
		set_mask(&now, NULL); /* RLIMIT_SIGPENDING */
		return false;
	}
	if (actions[sig].set.sa_flags & (int)SA_RESETHAND)
		esca_real_sigaction(sig, &actions[sig].set, NULL);
	/*
	 * Where we interrupted ourselves, the mask to return to is that of
	 * the first, which blocks the least; in whatever order we get here.
	 */
	__atomic_or_fetch(&self.held, ~*mask, __ATOMIC_RELAXED);
	*mask |= all;
	return true;
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
	if (unlikely(self.bypass & BYPASS_BUSY) && hold(sig, info, context))
		return;
	SHARED(actions[sig].handler)(sig, info, context);
}

void signals_release(void)
{
	uint64_t mask = ~SHARED(self.held);

	SHARE(self.held, 0);
	set_mask(&mask, NULL);
}

static int signal_action(int sig, const struct sigaction *act, struct sigaction *old)
{
	void (*handler)(int, siginfo_t *, void *);
	struct sigaction set;
	bool siginfo;
	int ret;

	if (sig < 1 || sig >= NSIG)
		return esca_real_sigaction(sig, act, old);
	handler = SHARED(actions[sig].handler);
	siginfo = SHARED(actions[sig].siginfo);
	/* on_signal: libc itself puts back what it found, with other flags. A vfork child has our
	 * memory, and handlers of its own. */
	if (act && act->sa_sigaction != on_signal &&
	    !((self.bypass & BYPASS_VFORK) && bypassed())) {
		SHARE(actions[sig].siginfo, !!(act->sa_flags & SA_SIGINFO));
		if (act->sa_handler != SIG_DFL && act->sa_handler != SIG_IGN) {
			set = *act;
			SHARE(actions[sig].handler, set.sa_sigaction);
			set.sa_sigaction = on_signal;
			set.sa_flags |= SA_SIGINFO;
			actions[sig].set = set;
			act = &set;
		}
	}
	ret = esca_real_sigaction(sig, act, old);
	if (ret || !old)
		return ret;
	/* SA_RESETHAND leaves the flags. */
	if (!siginfo && (old->sa_sigaction == on_signal || old->sa_handler == SIG_DFL))
		old->sa_flags &= ~SA_SIGINFO;
	if (old->sa_sigaction == on_signal)
		old->sa_sigaction = handler;
	return ret;
}

void signals_start(void)
{
	esca_hooks.action = signal_action;
}
