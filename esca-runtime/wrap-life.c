/* SPDX-License-Identifier: MIT */
/*
 * wrap-life.c - libc functions that make their system calls inside libc: the mode in force is told,
 * then libc does its work.
 *
 * Three kinds: those that may sleep or that others may see the effect of (barrier), those that end
 * the process or its image (finish), and those that touch a descriptor behind our back (forget).
 */
#undef _FORTIFY_SOURCE
/* Nor the inline getchar() and getline() of <stdio.h>: they are defined here. */
#ifndef __NO_INLINE__
#define __NO_INLINE__ 1
#endif
#include "config.h"

#include <aio.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <mqueue.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <pwd.h>
#include <resolv.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/syslog.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#include <esca-runtime/raw-syscall.h>
#include <esca-runtime/runtime.h>

#define API __attribute__((visibility("default")))

/* With optimisation a macro; here it is a function. */
#undef fread_unlocked

static void nothing(void)
{
}

static void nothing_fd(int fd)
{
}

static void nothing_ends(bool ends)
{
}

static bool no_call(long *ret, long nr, const long *args)
{
	return false;
}

static bool never(void)
{
	return false;
}

struct esca_hooks esca_hooks = {
	.action = esca_real_sigaction,
	.barrier = nothing,
	.pending = never,
	.finish = nothing_ends,
	.vfork = nothing,
	.child = nothing,
	.confined = nothing,
	.cancel = nothing,
	.unlimited = nothing,
	.forget = nothing_fd,
	.call = no_call,
};

/* Nothing may wait when these run. */
#define BARRIERS(X)                                                                                \
	X(int, posix_spawn,                                                                        \
	  (pid_t * pid, const char *path, const posix_spawn_file_actions_t *fa,                    \
	   const posix_spawnattr_t *at, char *const argv[], char *const envp[]),                   \
	  (pid, path, fa, at, argv, envp))                                                         \
	X(int, posix_spawnp,                                                                       \
	  (pid_t * pid, const char *path, const posix_spawn_file_actions_t *fa,                    \
	   const posix_spawnattr_t *at, char *const argv[], char *const envp[]),                   \
	  (pid, path, fa, at, argv, envp))                                                         \
	X(int, system, (const char *cmd), (cmd))                                                   \
	X(FILE *, popen, (const char *cmd, const char *type), (cmd, type))                         \
	X(int, pclose, (FILE * f), (f))                                                            \
	X(pid_t, wait, (int *st), (st))                                                            \
	X(pid_t, waitpid, (pid_t pid, int *st, int opt), (pid, st, opt))                           \
	X(pid_t, wait3, (int *st, int opt, struct rusage *ru), (st, opt, ru))                      \
	X(pid_t, wait4, (pid_t pid, int *st, int opt, struct rusage *ru), (pid, st, opt, ru))      \
	X(int, waitid, (idtype_t type, id_t id, siginfo_t * info, int opt), (type, id, info, opt)) \
	X(int, kill, (pid_t pid, int sig), (pid, sig))                                             \
	X(int, killpg, (pid_t pid, int sig), (pid, sig))                                           \
	X(int, tgkill, (pid_t pid, pid_t tid, int sig), (pid, tid, sig))                           \
	X(int, raise, (int sig), (sig))                                                            \
	X(int, sigqueue, (pid_t pid, int sig, const union sigval v), (pid, sig, v))                \
	X(int, pthread_kill, (pthread_t t, int sig), (t, sig))                                     \
	X(unsigned int, sleep, (unsigned int s), (s))                                              \
	X(int, usleep, (useconds_t us), (us))                                                      \
	X(int, nanosleep, (const struct timespec *ts, struct timespec *rem), (ts, rem))            \
	X(int, clock_nanosleep,                                                                    \
	  (clockid_t c, int fl, const struct timespec *ts, struct timespec *rem),                  \
	  (c, fl, ts, rem))                                                                        \
	X(int, sched_yield, (void), ())                                                            \
	X(int, pause, (void), ())                                                                  \
	X(int, sigsuspend, (const sigset_t *set), (set))                                           \
	X(int, sigwait, (const sigset_t *set, int *sig), (set, sig))                               \
	X(int, sigwaitinfo, (const sigset_t *set, siginfo_t *info), (set, info))                   \
	X(int, sigtimedwait, (const sigset_t *set, siginfo_t *info, const struct timespec *ts),    \
	  (set, info, ts))                                                                         \
	X(int, pthread_create,                                                                     \
	  (pthread_t * t, const pthread_attr_t *at, void *(*fn)(void *), void *arg),               \
	  (t, at, fn, arg))                                                                        \
	X(int, pthread_join, (pthread_t t, void **ret), (t, ret))                                  \
	X(int, pthread_timedjoin_np, (pthread_t t, void **ret, const struct timespec *ts),         \
	  (t, ret, ts))                                                                            \
	X(int, pthread_cond_wait, (pthread_cond_t * c, pthread_mutex_t * m), (c, m))               \
	X(int, pthread_cond_timedwait,                                                             \
	  (pthread_cond_t * c, pthread_mutex_t * m, const struct timespec *ts), (c, m, ts))        \
	X(int, pthread_cond_clockwait,                                                             \
	  (pthread_cond_t * c, pthread_mutex_t * m, clockid_t clk, const struct timespec *ts),     \
	  (c, m, clk, ts))                                                                         \
	X(int, pthread_cond_signal, (pthread_cond_t * c), (c))                                     \
	X(int, pthread_cond_broadcast, (pthread_cond_t * c), (c))                                  \
	X(int, pthread_barrier_wait, (pthread_barrier_t * b), (b))                                 \
	X(int, pthread_mutex_timedlock, (pthread_mutex_t * m, const struct timespec *ts), (m, ts)) \
	X(int, pthread_mutex_clocklock,                                                            \
	  (pthread_mutex_t * m, clockid_t clk, const struct timespec *ts), (m, clk, ts))           \
	X(int, pthread_rwlock_timedrdlock, (pthread_rwlock_t * l, const struct timespec *ts),      \
	  (l, ts))                                                                                 \
	X(int, pthread_rwlock_timedwrlock, (pthread_rwlock_t * l, const struct timespec *ts),      \
	  (l, ts))                                                                                 \
	X(int, pthread_rwlock_clockrdlock,                                                         \
	  (pthread_rwlock_t * l, clockid_t clk, const struct timespec *ts), (l, clk, ts))          \
	X(int, pthread_rwlock_clockwrlock,                                                         \
	  (pthread_rwlock_t * l, clockid_t clk, const struct timespec *ts), (l, clk, ts))          \
	X(int, pthread_clockjoin_np,                                                               \
	  (pthread_t t, void **ret, clockid_t clk, const struct timespec *ts), (t, ret, clk, ts))  \
	X(int, sem_wait, (sem_t * s), (s))                                                         \
	X(int, sem_timedwait, (sem_t * s, const struct timespec *ts), (s, ts))                     \
	X(int, sem_clockwait, (sem_t * s, clockid_t clk, const struct timespec *ts), (s, clk, ts)) \
	X(int, sem_post, (sem_t * s), (s))                                                         \
	X(int, setuid, (uid_t u), (u))                                                             \
	X(int, setgid, (gid_t g), (g))                                                             \
	X(int, seteuid, (uid_t u), (u))                                                            \
	X(int, setegid, (gid_t g), (g))                                                            \
	X(int, setreuid, (uid_t r, uid_t e), (r, e))                                               \
	X(int, setregid, (gid_t r, gid_t e), (r, e))                                               \
	X(int, setresuid, (uid_t r, uid_t e, uid_t s), (r, e, s))                                  \
	X(int, setresgid, (gid_t r, gid_t e, gid_t s), (r, e, s))                                  \
	X(int, setgroups, (size_t n, const gid_t *g), (n, g))                                      \
	X(int, initgroups, (const char *user, gid_t g), (user, g))                                 \
	X(int, unshare, (int fl), (fl))                                                            \
	X(int, setns, (int fd, int type), (fd, type))                                              \
	X(int, chroot, (const char *path), (path))                                                 \
	X(int, chdir, (const char *path), (path))                                                  \
	X(int, fchdir, (int fd), (fd))                                                             \
	X(int, rename, (const char *from, const char *to), (from, to))                             \
	X(int, renameat, (int fd, const char *from, int tfd, const char *to), (fd, from, tfd, to)) \
	X(int, renameat2, (int fd, const char *from, int tfd, const char *to, unsigned int fl),    \
	  (fd, from, tfd, to, fl))                                                                 \
	X(int, link, (const char *from, const char *to), (from, to))                               \
	X(int, linkat, (int fd, const char *from, int tfd, const char *to, int fl),                \
	  (fd, from, tfd, to, fl))                                                                 \
	X(int, symlink, (const char *from, const char *to), (from, to))                            \
	X(int, unlink, (const char *path), (path))                                                 \
	X(int, unlinkat, (int fd, const char *path, int fl), (fd, path, fl))                       \
	X(int, truncate, (const char *path, off_t len), (path, len))                               \
	X(int, truncate64, (const char *path, off64_t len), (path, len))                           \
	X(void, sync, (void), ())                                                                  \
	X(FILE *, fopen, (const char *path, const char *mode), (path, mode))                       \
	X(FILE *, fopen64, (const char *path, const char *mode), (path, mode))                     \
	X(DIR *, opendir, (const char *path), (path))                                              \
	X(size_t, fread, (void *buf, size_t size, size_t n, FILE *f), (buf, size, n, f))           \
	X(size_t, fread_unlocked, (void *buf, size_t size, size_t n, FILE *f), (buf, size, n, f))  \
	X(size_t, __fread_chk, (void *buf, size_t room, size_t size, size_t n, FILE *f),           \
	  (buf, room, size, n, f))                                                                 \
	X(char *, fgets, (char *s, int n, FILE *f), (s, n, f))                                     \
	X(char *, fgets_unlocked, (char *s, int n, FILE *f), (s, n, f))                            \
	X(char *, __fgets_chk, (char *s, size_t room, int n, FILE *f), (s, room, n, f))            \
	X(int, fgetc, (FILE * f), (f))                                                             \
	X(int, getc, (FILE * f), (f))                                                              \
	X(int, getchar, (void), ())                                                                \
	X(int, getc_unlocked, (FILE * f), (f))                                                     \
	X(int, fgetc_unlocked, (FILE * f), (f))                                                    \
	X(int, getchar_unlocked, (void), ())                                                       \
	X(int, __uflow, (FILE * f), (f))                                                           \
	X(int, __underflow, (FILE * f), (f))                                                       \
	X(ssize_t, getline, (char **line, size_t *n, FILE *f), (line, n, f))                       \
	X(ssize_t, getdelim, (char **line, size_t *n, int end, FILE *f), (line, n, end, f))        \
	X(ssize_t, __getdelim, (char **line, size_t *n, int end, FILE *f), (line, n, end, f))      \
	X(int, fflush, (FILE * f), (f))                                                            \
	X(int, statx, (int dir, const char *path, int fl, unsigned int mask, struct statx *st),    \
	  (dir, path, fl, mask, st))                                                               \
	X(ssize_t, copy_file_range,                                                                \
	  (int in, off64_t *ioff, int out, off64_t *ooff, size_t n, unsigned int fl),              \
	  (in, ioff, out, ooff, n, fl))                                                            \
	X(int, getaddrinfo,                                                                        \
	  (const char *node, const char *serv, const struct addrinfo *hints,                       \
	   struct addrinfo **res),                                                                 \
	  (node, serv, hints, res))                                                                \
	X(int, getnameinfo,                                                                        \
	  (const struct sockaddr *sa, socklen_t len, char *host, socklen_t hl, char *serv,         \
	   socklen_t sl, int fl),                                                                  \
	  (sa, len, host, hl, serv, sl, fl))                                                       \
	X(struct hostent *, gethostbyname, (const char *name), (name))                             \
	X(struct hostent *, gethostbyname2, (const char *name, int af), (name, af))                \
	X(struct hostent *, gethostbyaddr, (const void *addr, socklen_t len, int type),            \
	  (addr, len, type))                                                                       \
	X(int, gethostbyname_r,                                                                    \
	  (const char *name, struct hostent *h, char *buf, size_t n, struct hostent **res,         \
	   int *err),                                                                              \
	  (name, h, buf, n, res, err))                                                             \
	X(int, gethostbyname2_r,                                                                   \
	  (const char *name, int af, struct hostent *h, char *buf, size_t n, struct hostent **res, \
	   int *err),                                                                              \
	  (name, af, h, buf, n, res, err))                                                         \
	X(int, gethostbyaddr_r,                                                                    \
	  (const void *addr, socklen_t len, int type, struct hostent *h, char *buf, size_t n,      \
	   struct hostent **res, int *err),                                                        \
	  (addr, len, type, h, buf, n, res, err))                                                  \
	X(int, gai_suspend, (const struct gaicb *const list[], int n, const struct timespec *ts),  \
	  (list, n, ts))                                                                           \
	X(int, res_query, (const char *name, int cls, int type, unsigned char *buf, int n),        \
	  (name, cls, type, buf, n))                                                               \
	X(int, res_search, (const char *name, int cls, int type, unsigned char *buf, int n),       \
	  (name, cls, type, buf, n))                                                               \
	X(struct passwd *, getpwnam, (const char *name), (name))                                   \
	X(struct passwd *, getpwuid, (uid_t u), (u))                                               \
	X(int, getpwnam_r,                                                                         \
	  (const char *name, struct passwd *pw, char *buf, size_t n, struct passwd **res),         \
	  (name, pw, buf, n, res))                                                                 \
	X(int, getpwuid_r,                                                                         \
	  (uid_t u, struct passwd * pw, char *buf, size_t n, struct passwd **res),                 \
	  (u, pw, buf, n, res))                                                                    \
	X(struct group *, getgrnam, (const char *name), (name))                                    \
	X(struct group *, getgrgid, (gid_t g), (g))                                                \
	X(int, getgrnam_r,                                                                         \
	  (const char *name, struct group *gr, char *buf, size_t n, struct group **res),           \
	  (name, gr, buf, n, res))                                                                 \
	X(int, getgrgid_r, (gid_t g, struct group * gr, char *buf, size_t n, struct group **res),  \
	  (g, gr, buf, n, res))                                                                    \
	X(int, getgrouplist, (const char *user, gid_t g, gid_t *list, int *n), (user, g, list, n)) \
	X(void, vsyslog, (int prio, const char *fmt, va_list ap), (prio, fmt, ap))                 \
	X(void, __vsyslog_chk, (int prio, int flag, const char *fmt, va_list ap),                  \
	  (prio, flag, fmt, ap))                                                                   \
	X(ssize_t, msgrcv, (int id, void *msg, size_t n, long type, int fl),                       \
	  (id, msg, n, type, fl))                                                                  \
	X(int, msgsnd, (int id, const void *msg, size_t n, int fl), (id, msg, n, fl))              \
	X(int, semop, (int id, struct sembuf *ops, size_t n), (id, ops, n))                        \
	X(int, semtimedop, (int id, struct sembuf *ops, size_t n, const struct timespec *ts),      \
	  (id, ops, n, ts))                                                                        \
	X(ssize_t, mq_receive, (mqd_t q, char *msg, size_t n, unsigned int *prio),                 \
	  (q, msg, n, prio))                                                                       \
	X(ssize_t, mq_timedreceive,                                                                \
	  (mqd_t q, char *msg, size_t n, unsigned int *prio, const struct timespec *ts),           \
	  (q, msg, n, prio, ts))                                                                   \
	X(int, mq_send, (mqd_t q, const char *msg, size_t n, unsigned int prio),                   \
	  (q, msg, n, prio))                                                                       \
	X(int, mq_timedsend,                                                                       \
	  (mqd_t q, const char *msg, size_t n, unsigned int prio, const struct timespec *ts),      \
	  (q, msg, n, prio, ts))                                                                   \
	X(int, mtx_lock, (mtx_t * m), (m))                                                         \
	X(int, mtx_timedlock, (mtx_t * m, const struct timespec *ts), (m, ts))                     \
	X(int, cnd_wait, (cnd_t * c, mtx_t * m), (c, m))                                           \
	X(int, cnd_timedwait, (cnd_t * c, mtx_t * m, const struct timespec *ts), (c, m, ts))       \
	X(int, cnd_signal, (cnd_t * c), (c))                                                       \
	X(int, cnd_broadcast, (cnd_t * c), (c))                                                    \
	X(int, thrd_sleep, (const struct timespec *ts, struct timespec *rem), (ts, rem))           \
	X(int, thrd_create, (thrd_t * t, thrd_start_t fn, void *arg), (t, fn, arg))                \
	X(int, thrd_join, (thrd_t t, int *res), (t, res))                                          \
	X(int, aio_suspend, (const struct aiocb *const list[], int n, const struct timespec *ts),  \
	  (list, n, ts))                                                                           \
	X(int, aio_suspend64,                                                                      \
	  (const struct aiocb64 *const list[], int n, const struct timespec *ts), (list, n, ts))   \
	X(int, lio_listio, (int mode, struct aiocb *const list[], int n, struct sigevent *ev),     \
	  (mode, list, n, ev))                                                                     \
	X(int, lio_listio64, (int mode, struct aiocb64 *const list[], int n, struct sigevent *ev), \
	  (mode, list, n, ev))                                                                     \
	X(int, syncfs, (int fd), (fd))                                                             \
	X(int, flock, (int fd, int op), (fd, op))                                                  \
	X(int, lockf, (int fd, int cmd, off_t len), (fd, cmd, len))                                \
	X(int, lockf64, (int fd, int cmd, off64_t len), (fd, cmd, len))                            \
	X(void *, mmap, (void *at, size_t len, int prot, int fl, int fd, off_t off),               \
	  (at, len, prot, fl, fd, off))                                                            \
	X(void *, mmap64, (void *at, size_t len, int prot, int fl, int fd, off64_t off),           \
	  (at, len, prot, fl, fd, off))

/* Those below do more than flush. */
#define OTHERS(X)                                                                                  \
	X(pid_t, _Fork, (void), ())                                                                \
	X(int, execvp, (const char *file, char *const argv[]), (file, argv))                       \
	X(int, execvpe, (const char *file, char *const argv[], char *const envp[]),                \
	  (file, argv, envp))                                                                      \
	X(void, quick_exit, (int st), (st))                                                        \
	X(int, pthread_cancel, (pthread_t t), (t))                                                 \
	X(void, abort, (void), ())                                                                 \
	X(int, pthread_mutex_lock, (pthread_mutex_t * m), (m))                                     \
	X(int, pthread_mutex_trylock, (pthread_mutex_t * m), (m))                                  \
	X(int, pthread_rwlock_rdlock, (pthread_rwlock_t * l), (l))                                 \
	X(int, pthread_rwlock_tryrdlock, (pthread_rwlock_t * l), (l))                              \
	X(int, pthread_rwlock_wrlock, (pthread_rwlock_t * l), (l))                                 \
	X(int, pthread_rwlock_trywrlock, (pthread_rwlock_t * l), (l))                              \
	X(int, setrlimit, (__rlimit_resource_t what, const struct rlimit *lim), (what, lim))       \
	X(int, setrlimit64, (__rlimit_resource_t what, const struct rlimit64 *lim), (what, lim))   \
	X(int, prlimit,                                                                            \
	  (pid_t pid, enum __rlimit_resource what, const struct rlimit *lim, struct rlimit *old),  \
	  (pid, what, lim, old))                                                                   \
	X(int, prctl,                                                                              \
	  (int op, unsigned long a, unsigned long b, unsigned long c, unsigned long d),            \
	  (op, a, b, c, d))                                                                        \
	X(int, sigaction, (int sig, const struct sigaction *act, struct sigaction *old),           \
	  (sig, act, old))                                                                         \
	X(int, siginterrupt, (int sig, int on), (sig, on))                                         \
	X(int, fclose, (FILE * f), (f))                                                            \
	X(FILE *, fdopen, (int fd, const char *mode), (fd, mode))                                  \
	X(FILE *, freopen, (const char *path, const char *mode, FILE *f), (path, mode, f))         \
	X(FILE *, freopen64, (const char *path, const char *mode, FILE *f), (path, mode, f))       \
	X(int, fileno, (FILE * f), (f))                                                            \
	X(int, fileno_unlocked, (FILE * f), (f))                                                   \
	X(int, vfscanf, (FILE * f, const char *fmt, va_list ap), (f, fmt, ap))                     \
	X(int, vscanf, (const char *fmt, va_list ap), (fmt, ap))                                   \
	X(int, __isoc99_vfscanf, (FILE * f, const char *fmt, va_list ap), (f, fmt, ap))            \
	X(int, __isoc99_vscanf, (const char *fmt, va_list ap), (fmt, ap))                          \
	X(DIR *, fdopendir, (int fd), (fd))                                                        \
	X(int, closedir, (DIR * d), (d))                                                           \
	X(int, dirfd, (DIR * d), (d))                                                              \
	X(int, vdprintf, (int fd, const char *fmt, va_list ap), (fd, fmt, ap))                     \
	X(int, __vdprintf_chk, (int fd, int flag, const char *fmt, va_list ap), (fd, flag, fmt, ap))

#define POINTER(ret, name, params, args) static ret(*real_##name) params;
BARRIERS(POINTER)
OTHERS(POINTER)

/* What the assembly below jumps to. */
__attribute__((visibility("hidden"))) void *esca_real_vfork, *esca_real_clone, *esca_real_syscall;

/*
 * Only look-ups that succeed: a failed one allocates, and the server's malloc (jemalloc) may be the
 * one that has called us, to map or lock something.
 */
static void *resolve(const char *name)
{
	/* Of these there are two versions, and the plain name finds the old one. */
	bool cond = !strncmp(name, "pthread_cond_", 13) && strcmp(name, "pthread_cond_clockwait");
	bool lio = !strncmp(name, "lio_listio", 10);
	void *p = cond	? dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2")
		  : lio ? dlvsym(RTLD_NEXT, name, "GLIBC_2.4")
			: dlsym(RTLD_NEXT, name);

	if (!p)
		abort();
	return p;
}

/* All at once and early: some of them are called in signal handlers and vfork children. */
__attribute__((constructor(101))) static void resolve_all(void)
{
#define RESOLVE(ret, name, params, args)                                                           \
	if (!real_##name)                                                                          \
		*(void **)&real_##name = resolve(#name);
	BARRIERS(RESOLVE)
	OTHERS(RESOLVE)
	esca_real_vfork = resolve("vfork");
	esca_real_clone = resolve("clone");
	esca_real_syscall = resolve("syscall");
}

#define REAL(name) (__builtin_expect(!real_##name, 0) ? (resolve_all(), real_##name) : real_##name)

#define WRAP(ret, name, params, args)                                                              \
	API ret name params;                                                                       \
	API ret name params                                                                        \
	{                                                                                          \
		esca_hooks.barrier();                                                              \
		return REAL(name) args;                                                            \
	}
BARRIERS(WRAP)

API int pthread_cancel(pthread_t t)
{
	esca_hooks.barrier();
	esca_hooks.cancel();
	return REAL(pthread_cancel)(t);
}

API void __attribute__((format(printf, 2, 3))) syslog(int prio, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsyslog(prio, fmt, ap);
	va_end(ap);
}

API void __syslog_chk(int prio, int flag, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
API void __syslog_chk(int prio, int flag, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	__vsyslog_chk(prio, flag, fmt, ap);
	va_end(ap);
}

/* --- signals: handlers wait while the runtime is at work --- */

int esca_real_sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	return REAL(sigaction)(sig, act, old);
}

API int sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	return esca_hooks.action(sig, act, old);
}

/* libc's own, of those below, would not come by us. */
static sighandler_t set_handler(int sig, sighandler_t handler, int flags)
{
	struct sigaction act = {.sa_handler = handler, .sa_flags = flags}, old;

	if (handler == SIG_ERR || sig < 1 || sig >= NSIG) {
		errno = EINVAL;
		return SIG_ERR;
	}
	if (!(flags & SA_NODEFER))
		act.sa_mask.__val[0] = 1ul << (sig - 1);
	return sigaction(sig, &act, &old) ? SIG_ERR : old.sa_handler;
}

static uint64_t interrupting; /* signals that siginterrupt(3) was called for */

API sighandler_t signal(int sig, sighandler_t handler)
{
	uint64_t set = __atomic_load_n(&interrupting, __ATOMIC_RELAXED);

	return set_handler(sig, handler, (set >> ((sig - 1) & 63)) & 1 ? 0 : SA_RESTART);
}

API sighandler_t bsd_signal(int sig, sighandler_t handler);
API sighandler_t bsd_signal(int sig, sighandler_t handler)
{
	return signal(sig, handler);
}

API sighandler_t ssignal(int sig, sighandler_t handler)
{
	return signal(sig, handler);
}

API sighandler_t __sysv_signal(int sig, sighandler_t handler)
{
	return set_handler(sig, handler, (int)(SA_RESETHAND | SA_NODEFER));
}

API sighandler_t sysv_signal(int sig, sighandler_t handler);
API sighandler_t sysv_signal(int sig, sighandler_t handler)
{
	return __sysv_signal(sig, handler);
}

API int siginterrupt(int sig, int on)
{
	int ret = REAL(siginterrupt)(sig, on);

	if (!ret && on)
		__atomic_or_fetch(&interrupting, 1ull << (sig - 1), __ATOMIC_RELAXED);
	else if (!ret)
		__atomic_and_fetch(&interrupting, ~(1ull << (sig - 1)), __ATOMIC_RELAXED);
	return ret;
}

/* --- processes --- */

API pid_t _Fork(void)
{
	pid_t pid;

	esca_hooks.barrier();
	pid = REAL(_Fork)();
	if (!pid)
		esca_hooks.child();
	return pid;
}

API int execve(const char *path, char *const argv[], char *const envp[])
{
	esca_hooks.finish(false);
	errno = (int)-raw_syscall(SYS_execve, (long)path, (long)argv, (long)envp, 0, 0, 0);
	return -1;
}

API int execv(const char *path, char *const argv[])
{
	return execve(path, argv, environ);
}

API int execveat(int fd, const char *path, char *const argv[], char *const envp[], int flags)
{
	esca_hooks.finish(false);
	errno = (int)-raw_syscall(SYS_execveat, fd, (long)path, (long)argv, (long)envp, flags, 0);
	return -1;
}

API int fexecve(int fd, char *const argv[], char *const envp[])
{
	if (fd < 0) {
		errno = EINVAL;
		return -1;
	}
	return execveat(fd, "", argv, envp, AT_EMPTY_PATH);
}

API int execvp(const char *file, char *const argv[])
{
	esca_hooks.finish(false);
	return REAL(execvp)(file, argv);
}

API int execvpe(const char *file, char *const argv[], char *const envp[])
{
	esca_hooks.finish(false);
	return REAL(execvpe)(file, argv, envp);
}

/* The words after @arg up to NULL, in memory of this frame's caller. */
#define GATHER(arg, ap, argv)                                                                      \
	size_t n_ = 1;                                                                             \
	va_list ap, count_;                                                                        \
	char **argv;                                                                               \
	va_start(ap, arg);                                                                         \
	va_copy(count_, ap);                                                                       \
	while (va_arg(count_, char *))                                                             \
		n_++;                                                                              \
	va_end(count_);                                                                            \
	argv = __builtin_alloca((n_ + 1) * sizeof(char *));                                        \
	argv[0] = (char *)(uintptr_t)arg;                                                          \
	for (size_t i_ = 1; i_ <= n_; i_++)                                                        \
		argv[i_] = va_arg(ap, char *);

API int execl(const char *path, const char *arg, ...)
{
	GATHER(arg, ap, argv)
	va_end(ap);
	return execve(path, argv, environ);
}

API int execlp(const char *file, const char *arg, ...)
{
	GATHER(arg, ap, argv)
	va_end(ap);
	return execvp(file, argv);
}

API int execle(const char *path, const char *arg, ...)
{
	char **envp;
	GATHER(arg, ap, argv)
	envp = va_arg(ap, char **);
	va_end(ap);
	return execve(path, argv, envp);
}

API __attribute__((noreturn)) void _exit(int status)
{
	esca_hooks.finish(true);
	for (;;)
		raw_syscall(SYS_exit_group, status, 0, 0, 0, 0, 0);
}

API __attribute__((noreturn)) void _Exit(int status)
{
	_exit(status);
}

API __attribute__((noreturn)) void quick_exit(int status)
{
	esca_hooks.finish(true);
	REAL(quick_exit)(status);
	__builtin_unreachable();
}

API __attribute__((noreturn)) void abort(void)
{
	esca_hooks.finish(true);
	if (real_abort)
		real_abort();
	for (;;)
		__builtin_trap();
}

/* --- functions that return twice, or on another stack: told in passing, on registers and stack as
 * they came --- */

__attribute__((visibility("hidden"))) void esca_on_vfork(void);
__attribute__((visibility("hidden"))) void esca_on_clone(long flags);
__attribute__((visibility("hidden"))) bool esca_on_syscall(long *ret, long nr, const long *args);

__attribute__((used)) void esca_on_vfork(void)
{
	if (!esca_real_vfork)
		resolve_all();
	esca_hooks.vfork();
}

__attribute__((used)) void esca_on_clone(long flags)
{
	long args[6] = {flags, 1};
	long ret;

	if (!esca_real_clone)
		resolve_all();
	esca_hooks.barrier();
	if (flags & CLONE_VM)
		esca_hooks.call(&ret, SYS_clone, args);
}

__attribute__((used)) bool esca_on_syscall(long *ret, long nr, const long *args)
{
	if (!esca_real_syscall)
		resolve_all();
	if (!esca_hooks.call(ret, nr, args))
		return false;
	if (raw_is_error(*ret)) {
		errno = (int)-*ret;
		*ret = -1;
	}
	return true;
}

__asm__(".text\n"
	".globl vfork\n.type vfork,@function\n"
	"vfork:\n"
	"	sub $8, %rsp\n"
	"	call esca_on_vfork\n"
	"	add $8, %rsp\n"
	"	jmp *esca_real_vfork(%rip)\n"
	".size vfork,.-vfork\n"

	".globl clone\n.type clone,@function\n"
	"clone:\n"
	"	push %rdi\n	push %rsi\n	push %rdx\n	push %rcx\n	push %r8\n"
	"	push %r9\n	sub $8, %rsp\n"
	"	movslq %edx, %rdi\n"
	"	call esca_on_clone\n"
	"	add $8, %rsp\n	pop %r9\n"
	"	pop %r8\n	pop %rcx\n	pop %rdx\n	pop %rsi\n	pop %rdi\n"
	"	jmp *esca_real_clone(%rip)\n"
	".size clone,.-clone\n"

	".globl syscall\n.type syscall,@function\n"
	"syscall:\n"
	"	push %rbp\n	mov %rsp, %rbp\n	sub $64, %rsp\n"
	"	mov %rdi, 0(%rsp)\n	mov %rsi, 8(%rsp)\n	mov %rdx, 16(%rsp)\n"
	"	mov %rcx, 24(%rsp)\n	mov %r8, 32(%rsp)\n	mov %r9, 40(%rsp)\n"
	"	mov 16(%rbp), %rax\n	mov %rax, 48(%rsp)\n"
	"	mov %rdi, %rsi\n"
	"	lea 56(%rsp), %rdi\n"
	"	lea 8(%rsp), %rdx\n"
	"	call esca_on_syscall\n"
	"	test %al, %al\n"
	"	jz 1f\n"
	"	mov 56(%rsp), %rax\n"
	"	leave\n"
	"	ret\n"
	"1:	mov 0(%rsp), %rdi\n	mov 8(%rsp), %rsi\n	mov 16(%rsp), %rdx\n"
	"	mov 24(%rsp), %rcx\n	mov 32(%rsp), %r8\n	mov 40(%rsp), %r9\n"
	"	leave\n"
	"	jmp *esca_real_syscall(%rip)\n"
	".size syscall,.-syscall\n");

/* --- locks: only one that is taken makes us sleep --- */

#define WRAP_LOCK(type, name, try_name)                                                            \
	API int name(type *l)                                                                      \
	{                                                                                          \
		if (esca_hooks.pending()) {                                                        \
			int ret = REAL(try_name)(l);                                               \
                                                                                                   \
			if (ret == 0 || ret == EOWNERDEAD)                                         \
				return ret;                                                        \
			esca_hooks.barrier();                                                      \
		}                                                                                  \
		return REAL(name)(l);                                                              \
	}
WRAP_LOCK(pthread_mutex_t, pthread_mutex_lock, pthread_mutex_trylock)
WRAP_LOCK(pthread_rwlock_t, pthread_rwlock_rdlock, pthread_rwlock_tryrdlock)
WRAP_LOCK(pthread_rwlock_t, pthread_rwlock_wrlock, pthread_rwlock_trywrlock)

/* --- limits and confinement --- */

API int setrlimit(__rlimit_resource_t what, const struct rlimit *lim)
{
	int ret;

	esca_hooks.barrier();
	ret = REAL(setrlimit)(what, lim);
	esca_hooks.unlimited();
	return ret;
}

API int setrlimit64(__rlimit_resource_t what, const struct rlimit64 *lim)
{
	int ret;

	esca_hooks.barrier();
	ret = REAL(setrlimit64)(what, lim);
	esca_hooks.unlimited();
	return ret;
}

API int prlimit(pid_t pid, enum __rlimit_resource what, const struct rlimit *lim,
		struct rlimit *old)
{
	int ret;

	esca_hooks.barrier();
	ret = REAL(prlimit)(pid, what, lim, old);
	esca_hooks.unlimited();
	return ret;
}

API int prctl(int op, ...)
{
	unsigned long a, b, c, d;
	va_list ap;

	va_start(ap, op);
	a = va_arg(ap, unsigned long);
	b = va_arg(ap, unsigned long);
	c = va_arg(ap, unsigned long);
	d = va_arg(ap, unsigned long);
	va_end(ap);
	esca_hooks.barrier();
	if (op == PR_SET_SECCOMP)
		esca_hooks.confined();
	return REAL(prctl)(op, a, b, c, d);
}

/* --- scanf(3), whose names <stdio.h> gives to the functions of C99 --- */

#define WRAP_SCANF(name, symbol, real, params, last, args)                                         \
	API int name params __asm__(symbol);                                                       \
	API int name params                                                                        \
	{                                                                                          \
		va_list ap;                                                                        \
		int ret;                                                                           \
                                                                                                   \
		va_start(ap, last);                                                                \
		esca_hooks.barrier();                                                              \
		ret = REAL(real) args;                                                             \
		va_end(ap);                                                                        \
		return ret;                                                                        \
	}
#define WRAP_VSCANF(name, symbol, real, params, args)                                              \
	API int name params __asm__(symbol);                                                       \
	API int name params                                                                        \
	{                                                                                          \
		esca_hooks.barrier();                                                              \
		return REAL(real) args;                                                            \
	}
WRAP_SCANF(old_fscanf, "fscanf", vfscanf, (FILE * f, const char *fmt, ...), fmt, (f, fmt, ap))
WRAP_SCANF(old_scanf, "scanf", vscanf, (const char *fmt, ...), fmt, (fmt, ap))
WRAP_SCANF(c99_fscanf, "__isoc99_fscanf", __isoc99_vfscanf, (FILE * f, const char *fmt, ...), fmt,
	   (f, fmt, ap))
WRAP_SCANF(c99_scanf, "__isoc99_scanf", __isoc99_vscanf, (const char *fmt, ...), fmt, (fmt, ap))
WRAP_VSCANF(old_vfscanf, "vfscanf", vfscanf, (FILE * f, const char *fmt, va_list ap), (f, fmt, ap))
WRAP_VSCANF(old_vscanf, "vscanf", vscanf, (const char *fmt, va_list ap), (fmt, ap))
WRAP_VSCANF(c99_vfscanf, "__isoc99_vfscanf", __isoc99_vfscanf,
	    (FILE * f, const char *fmt, va_list ap), (f, fmt, ap))
WRAP_VSCANF(c99_vscanf, "__isoc99_vscanf", __isoc99_vscanf, (const char *fmt, va_list ap),
	    (fmt, ap))

/* --- descriptors that stdio and dirent use by themselves --- */

API int fclose(FILE *f)
{
	int fd = REAL(fileno)(f);

	if (fd >= 0)
		esca_hooks.forget(fd);
	return REAL(fclose)(f);
}

API int vdprintf(int fd, const char *fmt, va_list ap)
{
	if (fd >= 0)
		esca_hooks.forget(fd);
	return REAL(vdprintf)(fd, fmt, ap);
}

API int __vdprintf_chk(int fd, int flag, const char *fmt, va_list ap);
API int __vdprintf_chk(int fd, int flag, const char *fmt, va_list ap)
{
	if (fd >= 0)
		esca_hooks.forget(fd);
	return REAL(__vdprintf_chk)(fd, flag, fmt, ap);
}

API int __attribute__((format(printf, 2, 3))) dprintf(int fd, const char *fmt, ...)
{
	va_list ap;
	int ret;

	va_start(ap, fmt);
	ret = vdprintf(fd, fmt, ap);
	va_end(ap);
	return ret;
}

API int __dprintf_chk(int fd, int flag, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
API int __dprintf_chk(int fd, int flag, const char *fmt, ...)
{
	va_list ap;
	int ret;

	va_start(ap, fmt);
	ret = __vdprintf_chk(fd, flag, fmt, ap);
	va_end(ap);
	return ret;
}

API FILE *fdopen(int fd, const char *mode)
{
	if (fd >= 0)
		esca_hooks.forget(fd);
	return REAL(fdopen)(fd, mode);
}

API FILE *freopen(const char *path, const char *mode, FILE *f)
{
	int fd = REAL(fileno)(f);

	if (fd >= 0)
		esca_hooks.forget(fd);
	return REAL(freopen)(path, mode, f);
}

API FILE *freopen64(const char *path, const char *mode, FILE *f)
{
	int fd = REAL(fileno)(f);

	if (fd >= 0)
		esca_hooks.forget(fd);
	return REAL(freopen64)(path, mode, f);
}

API int fileno(FILE *f)
{
	int fd = REAL(fileno)(f);

	if (fd >= 0)
		esca_hooks.forget(fd);
	return fd;
}

API int fileno_unlocked(FILE *f)
{
	return fileno(f);
}

API DIR *fdopendir(int fd)
{
	if (fd >= 0)
		esca_hooks.forget(fd);
	return REAL(fdopendir)(fd);
}

API int closedir(DIR *d)
{
	int fd = REAL(dirfd)(d);

	if (fd >= 0)
		esca_hooks.forget(fd);
	return REAL(closedir)(d);
}

API int dirfd(DIR *d)
{
	int fd = REAL(dirfd)(d);

	if (fd >= 0)
		esca_hooks.forget(fd);
	return fd;
}
