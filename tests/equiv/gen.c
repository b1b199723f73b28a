/* SPDX-License-Identifier: MIT */
/*
 * gen.c - equiv-gen SEED [COUNT [OPS]]: run the programs of COUNT seeds, one after the other, and
 * print what their servers and peers saw. With EQUIV_GEN_THREADS in the environment each program
 * has a second thread.
 */
#include <errno.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "gen.h"

struct shared *sh;
int bell = -1, udp_peer = -1;
unsigned int max_ops;
uint64_t rnd_state;

long quietly(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

bool quiet_wait(volatile uint32_t *word, uint32_t old)
{
	struct timespec ts = {.tv_sec = 1};
	int tries;

	for (tries = 0; __atomic_load_n(word, __ATOMIC_ACQUIRE) == old; tries++) {
		if (tries == 10)
			return false;
		while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == old &&
		       quietly(SYS_futex, (long)word, FUTEX_WAIT, old, (long)&ts, 0, 0) !=
			       -ETIMEDOUT)
			;
	}
	return true;
}

void quiet_set(volatile uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
	quietly(SYS_futex, (long)word, FUTEX_WAKE, 100, 0, 0, 0);
}

void quiet_nap(long us)
{
	struct timespec ts = {.tv_nsec = us * 1000};

	quietly(SYS_nanosleep, (long)&ts, 0, 0, 0, 0, 0);
}

void note(const char *fmt, ...)
{
	struct text *t = &sh->text;
	size_t room = sizeof(t->s) - t->len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->s + t->len, room, fmt, ap);
	va_end(ap);
	if (n > 0 && (size_t)n < room - 1) {
		t->s[t->len + (uint32_t)n] = '\n';
		t->len += (uint32_t)n + 1;
	}
}

uint64_t rnd(void)
{
	rnd_state ^= rnd_state >> 12;
	rnd_state ^= rnd_state << 25;
	rnd_state ^= rnd_state >> 27;
	return rnd_state * 2685821657736338717u;
}

uint32_t below(uint32_t n)
{
	return (uint32_t)((rnd() >> 32) * n >> 32);
}

bool chance(uint32_t percent)
{
	return below(100) < percent;
}

uint32_t hash_of(const void *p, size_t n)
{
	const unsigned char *s = p;
	uint32_t h = 2166136261u;
	size_t i;

	for (i = 0; i < n; i++)
		h = (h ^ s[i]) * 16777619u;
	return h;
}

/* --- the parent --- */

static pid_t start(void (*fn)(uint64_t), uint64_t seed)
{
	pid_t pid = fork();

	if (pid < 0) {
		perror("fork");
		exit(99);
	}
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	rnd_state = seed * 0x9e3779b97f4a7c15u + 0x1234567;
	rnd();
	rnd();
	alarm(40);
	fn(seed);
	_exit(0);
}

static void print_stream(unsigned int i, const struct stream *s)
{
	static const char *const ends[] = {"",	      "still open",   "the end",
					   "a reset", "an odd error", "closed by the peer"};
	uint32_t n = s->received, good = 0;

	if (s->end == END_NONE)
		return;
	while (good < n && good < s->accepted && s->sent[good] == s->got[good])
		good++;
	if (good < n)
		printf("c%u: WRONG: byte %u of %u is not as accepted (%u)\n", i, good, n,
		       s->accepted);
	else if (s->prefix)
		printf("c%u: a part of it, then %s\n", i, s->any_end ? "whatever" : ends[s->end]);
	else
		printf("c%u: %u bytes, %08x, then %s%s\n", i, n, hash_of((const void *)s->got, n),
		       s->any_end ? "whatever" : ends[s->end],
		       n == s->accepted ? "" : ", but MORE WAS ACCEPTED");
}

static void print(uint64_t seed, int server, int peer)
{
	unsigned int i;

	printf("=== %llu\n%.*s", (unsigned long long)seed, (int)sh->text.len, sh->text.s);
	if (WIFSIGNALED(server))
		printf("server: SIG%s\n", sigabbrev_np(WTERMSIG(server)));
	else
		printf("server: status %d\n", WEXITSTATUS(server));
	if (peer)
		printf("peer: FAILED with status %x\n", (unsigned int)peer);
	for (i = 0; i < CONNS; i++)
		print_stream(i, &sh->streams[i]);
	for (i = 0; i < sh->ngrams; i++)
		printf("datagram of %u: %08x\n", sh->grams[i].len, sh->grams[i].hash);
}

static void run(uint64_t seed)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	socklen_t len = sizeof(addr);
	int server_status = 0, peer_status = 0;
	pid_t server, peer;
	uint64_t one = 1;
	unsigned int i;

	sh->asked = sh->done = sh->ncmds = sh->ngrams = sh->child_done = 0;
	sh->server_gone = false;
	sh->text.len = 0;
	for (i = 0; i < CONNS; i++) {
		struct stream *s = &sh->streams[i];

		s->accepted = s->received = s->end = 0;
		s->prefix = s->any_end = false;
	}
	bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	udp_peer = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bell < 0 || bind(udp_peer, (struct sockaddr *)&addr, sizeof(addr)) ||
	    getsockname(udp_peer, (struct sockaddr *)&addr, &len)) {
		perror("equiv-gen");
		exit(99);
	}
	sh->udp_port = addr.sin_port;
	server = start(server_run, seed);
	peer = start(peer_run, seed);
	waitpid(server, &server_status, 0);
	sh->server_gone = true;
	if (write(bell, &one, sizeof(one)) < 0)
		perror("bell");
	waitpid(peer, &peer_status, 0);
	close(bell);
	close(udp_peer);
	print(seed, server_status, peer_status);
	fflush(stdout);
}

/* A folder of our own, with the file that is sent from. */
static char dir[] = "/tmp/equiv-gen.XXXXXX";

static void leave_dir(void)
{
	unlink("body");
	unlink("log");
	unlink("log.old");
	unlink("file");
	rmdir(dir);
}

static void enter_dir(void)
{
	static unsigned char bytes[BODY_SIZE];
	FILE *f;
	off_t i;

	if (!mkdtemp(dir) || chdir(dir)) {
		perror(dir);
		exit(99);
	}
	for (i = 0; i < BODY_SIZE; i++)
		bytes[i] = body_byte(i);
	f = fopen("body", "w");
	if (!f || fwrite(bytes, BODY_SIZE, 1, f) != 1 || fclose(f)) {
		perror("body");
		exit(99);
	}
}

int main(int argc, char **argv)
{
	struct rlimit lim = {256, 256}, core = {0, 0};
	uint64_t seed, n;

	if (argc == 2 && !strcmp(argv[1], "child"))
		return write(1, "child", 5) != 5;
	if (argc < 2) {
		fprintf(stderr, "Usage: equiv-gen SEED [COUNT [OPS]]\n");
		return 64;
	}
	seed = strtoull(argv[1], NULL, 10);
	n = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	max_ops = argc > 3 ? (unsigned int)atoi(argv[3]) : 1000;
	setrlimit(RLIMIT_NOFILE, &lim);
	setrlimit(RLIMIT_CORE, &core);
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sh == MAP_FAILED) {
		perror("mmap");
		return 99;
	}
	enter_dir();
	for (; n; n--)
		run(seed++);
	leave_dir();
	return 0;
}
