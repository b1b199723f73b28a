/* SPDX-License-Identifier: MIT */
/*
 * hidden.c - in a turn, writes that may wait and then a libc function that writes, wakes or sleeps
 * inside libc: what the peer has, in which order, must be what it has without the runtime.
 *
 *   hidden CASE
 */
#include "config.h"

#include <aio.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <pwd.h>
#include <resolv.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>

#include <tests/live/pair.h>

static int say_v(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int say_v(const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vdprintf(here, fmt, ap);
	va_end(ap);
	return n;
}

/* One turn that goes on: the byte was read, calls may wait. */
static void in_turn(void)
{
	struct epoll_event ev;
	char c;

	if (send(peer, "xyz", 3, 0) != 3)
		die("send");
	for (int i = 0; i < 3; i++)
		if (epoll_wait(ep, &ev, 1, 5000) != 1 || read(here, &c, 1) != 1)
			die("turn");
}

static void with_dprintf(void)
{
	in_turn();
	say("one ");
	printf("dprintf: %d\n", dprintf(here, "%s ", "two"));
	say("three ");
	printf("vdprintf: %d\n", say_v("%d ", 4));
	say("five");
	hear_n(20);
}

static void with_pwritev2(void)
{
	struct iovec iov = {(char *)(uintptr_t) "two ", 4};

	in_turn();
	say("one ");
	printf("pwritev2: %zd\n", pwritev2(here, &iov, 1, -1, 0));
	say("three");
	hear_n(13);
}

static void with_splice(void)
{
	struct iovec iov = {(char *)(uintptr_t) "two ", 4};
	int p[2];

	if (pipe(p))
		die("pipe");
	in_turn();
	say("one ");
	printf("vmsplice: %zd\n", vmsplice(p[1], &iov, 1, 0));
	hear("after vmsplice");
	say("more ");
	printf("splice: %zd\n", splice(p[0], NULL, here, NULL, 4, 0));
	say("three");
	hear_n(14);
}

/* Another process may look as soon as it is woken. */
static void with_eventfd(void)
{
	int e = eventfd(0, 0);
	eventfd_t v = 0;

	in_turn();
	say("one");
	printf("eventfd_write: %d\n", eventfd_write(e, 7));
	hear("when another is woken");
	printf("eventfd_read: %d", eventfd_read(e, &v));
	printf(" %d\n", (int)v);
	close(e);
	printf("eventfd_write: %d\n", eventfd_write(e, 1));
}

/* A call that sleeps: the peer may be what ends the sleep. */
static void with_recvmmsg(void)
{
	int s[2];
	char buf[8];
	struct iovec iov = {buf, sizeof(buf)};
	struct mmsghdr m = {.msg_hdr = {.msg_iov = &iov, .msg_iovlen = 1}};

	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, s))
		die("socketpair");
	in_turn();
	if (write(s[0], "wake", 4) != 4)
		die("write");
	say("one");
	printf("recvmmsg: %d", recvmmsg(s[1], &m, 1, 0, NULL));
	printf(" %u\n", m.msg_len);
	hear("after what may sleep");
}

/* The lowest number that is free: that of what was closed. */
static void with_timerfd(void)
{
	in_turn();
	say("one");
	close(here);
	printf("timerfd_create: %d\n", timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
	hear("after the close");
}

/* Those that may sleep for a lock, a thread, a server of names or the disk, each in a turn. */
#define IN_TURN(what, call)                                                                        \
	do {                                                                                       \
		in_turn();                                                                         \
		say(what);                                                                         \
		long ret_ = (long)(call);                                                          \
		(void)ret_;                                                                        \
		hear("after " what);                                                               \
	} while (0)

static void *just_ends(void *arg)
{
	return arg;
}

static void with_locks(void)
{
	struct timespec now[2], *ts = &now[0], *mono = &now[1];
	pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
	pthread_rwlock_t l = PTHREAD_RWLOCK_INITIALIZER;
	pthread_t t;

	clock_gettime(CLOCK_REALTIME, ts);
	clock_gettime(CLOCK_MONOTONIC, mono);
	mono->tv_sec += 5;
	IN_TURN("mutex_clocklock", pthread_mutex_clocklock(&m, CLOCK_MONOTONIC, mono));
	IN_TURN("rwlock_timedrdlock", pthread_rwlock_timedrdlock(&l, ts));
	IN_TURN("rwlock_clockrdlock", pthread_rwlock_clockrdlock(&l, CLOCK_MONOTONIC, mono));
	/* Two have it: these are told that it is late. */
	IN_TURN("rwlock_timedwrlock", pthread_rwlock_timedwrlock(&l, ts));
	IN_TURN("rwlock_clockwrlock", pthread_rwlock_clockwrlock(&l, CLOCK_REALTIME, ts));
	if (pthread_create(&t, NULL, just_ends, NULL))
		die("pthread_create");
	IN_TURN("clockjoin", pthread_clockjoin_np(t, NULL, CLOCK_MONOTONIC, mono));
}

/* None of these asks a server: the names are none, or numbers, or too long. */
static void with_names(void)
{
	static char buf[4096], name[300];
	struct in_addr any = {0};
	struct hostent h, *hr;
	struct passwd pw, *pwr;
	struct group gr, *grr;
	unsigned char answer[512];
	int err, n = 16;
	gid_t list[16];

	memset(name, 'x', sizeof(name) - 1);
	IN_TURN("gethostbyname_r", gethostbyname_r("127.0.0.1", &h, buf, sizeof(buf), &hr, &err));
	IN_TURN("gethostbyname2_r",
		gethostbyname2_r("127.0.0.1", AF_INET, &h, buf, sizeof(buf), &hr, &err));
	IN_TURN("gethostbyaddr_r",
		gethostbyaddr_r(&any, 1, AF_INET, &h, buf, sizeof(buf), &hr, &err));
	IN_TURN("res_query", res_query(name, 1, 1, answer, sizeof(answer)));
	IN_TURN("res_search", res_search(name, 1, 1, answer, sizeof(answer)));
	IN_TURN("gai_suspend", gai_suspend(NULL, 0, NULL));
	IN_TURN("getpwnam", getpwnam("root"));
	IN_TURN("getpwuid", getpwuid(0));
	IN_TURN("getpwnam_r", getpwnam_r("root", &pw, buf, sizeof(buf), &pwr));
	IN_TURN("getpwuid_r", getpwuid_r(0, &pw, buf, sizeof(buf), &pwr));
	IN_TURN("getgrnam", getgrnam("root"));
	IN_TURN("getgrgid", getgrgid(0));
	IN_TURN("getgrnam_r", getgrnam_r("root", &gr, buf, sizeof(buf), &grr));
	IN_TURN("getgrgid_r", getgrgid_r(0, &gr, buf, sizeof(buf), &grr));
	IN_TURN("getgrouplist", getgrouplist("root", 0, list, &n));
}

static void with_aio(void)
{
	struct aiocb *none[1] = {NULL};
	struct aiocb64 *none64[1] = {NULL};
	struct timespec ts = {0, 1000000};
	FILE *f = tmpfile();

	if (!f)
		die("tmpfile");
	IN_TURN("aio_suspend64", aio_suspend64((const struct aiocb64 *const *)none64, 0, &ts));
	IN_TURN("lio_listio", lio_listio(LIO_WAIT, none, 0, NULL));
	IN_TURN("lio_listio64", lio_listio64(LIO_WAIT, none64, 0, NULL));
	IN_TURN("lockf64", lockf64(fileno(f), F_LOCK, 0));
}

/* As programs from before C99 have them. */
int old_fscanf(FILE *f, const char *fmt, ...) __asm__("fscanf");
int old_scanf(const char *fmt, ...) __asm__("scanf");
int old_vfscanf(FILE *f, const char *fmt, va_list ap) __asm__("vfscanf");
int old_vscanf(const char *fmt, va_list ap) __asm__("vscanf");

int __underflow(FILE *f);

static int scan_v(int how, const char *fmt, ...) __attribute__((format(scanf, 2, 3)));
static int scan_v(int how, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = how == 0   ? vfscanf(stdin, fmt, ap)
	    : how == 1 ? vscanf(fmt, ap)
	    : how == 2 ? old_vfscanf(stdin, fmt, ap)
		       : old_vscanf(fmt, ap);
	va_end(ap);
	return n;
}

/* The functions, not what <stdio.h> has the compiler make of them. */
static int (*volatile get)(FILE *) = getc_unlocked;
static int (*volatile fget)(FILE *) = fgetc_unlocked;
static int (*volatile getch)(void) = getchar_unlocked;

static void with_scanf(void)
{
	int p[2], a, b, c, d, e, f, g, h;

	if (pipe(p) || write(p[1], "1 2 3 4 5 6 7 8xyz\n", 19) != 19 || dup2(p[0], 0))
		die("pipe");
	IN_TURN("fscanf", fscanf(stdin, "%d", &a));
	IN_TURN("scanf", scanf("%d", &b));
	IN_TURN("old fscanf", old_fscanf(stdin, "%d", &c));
	IN_TURN("old scanf", old_scanf("%d", &d));
	IN_TURN("vfscanf", scan_v(0, "%d", &e));
	IN_TURN("vscanf", scan_v(1, "%d", &f));
	IN_TURN("old vfscanf", scan_v(2, "%d", &g));
	IN_TURN("old vscanf", scan_v(3, "%d", &h));
	printf("%d %d %d %d %d %d %d %d\n", a, b, c, d, e, f, g, h);
	IN_TURN("getc_unlocked", get(stdin));
	IN_TURN("fgetc_unlocked", fget(stdin));
	IN_TURN("getchar_unlocked", getch());
	printf("%d\n", getc_unlocked(stdin));
	if (write(p[1], "z", 1) != 1)
		die("write");
	IN_TURN("__underflow", __underflow(stdin));
	printf("%d\n", getc_unlocked(stdin));
	close(p[1]);
	IN_TURN("__uflow", __uflow(stdin));
}

static const struct pair_case cases[] = {
	{"dprintf", with_dprintf},
	{"pwritev2", with_pwritev2},
	{"splice", with_splice},
	{"eventfd", with_eventfd},
	{"recvmmsg", with_recvmmsg},
	{"timerfd", with_timerfd},
	{"locks", with_locks},
	{"names", with_names},
	{"aio", with_aio},
	{"scanf", with_scanf},
	{NULL, NULL},
};

int main(int argc, char **argv)
{
	return pair_main(cases, argc, argv);
}
