/* SPDX-License-Identifier: MIT */
/*
 * equiv-world.c - cases about what changes around a server while calls wait: its user, the calls it
 * may make, the files it sends, what its streams speak, who serves them, its end.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "equiv.h"

#define NOBODY 65534

static void put(int fd, const char *s)
{
	if (write(fd, s, strlen(s)) != (ssize_t)strlen(s))
		die("put");
}

/* --- another user --- */

#define USER_ROUNDS 60

/* Each request is answered in two writes, and logged. */
static void rounds(int ep, int fd, int log)
{
	char line[32];
	int i;

	for (i = 0; i < USER_ROUNDS; i++) {
		if (next_event(ep, NULL) != fd)
			die("whose event");
		read_request(fd);
		snprintf(line, sizeof(line), "line %d\n", i);
		put(log, line);
		put(fd, "hea");
		put(fd, "der");
	}
}

/* Binds and opens its log as root, is nobody when it serves, and so is the worker that it forks. */
static void setuid_server(void)
{
	int ep = epoll_new(), fd = serve_one(ep, EPOLLIN), log = open_log(shared_path("user", 0)),
	    status;
	bool root = !geteuid();
	pid_t pid;

	put(log, "as root\n");
	put(fd, "first,");
	note_result("setgid", setgid(root ? NOBODY : getgid()));
	note_result("setuid", setuid(root ? NOBODY : getuid()));
	put(log, "as nobody\n");
	put(fd, "then");
	note("nobody: %d", !root || (geteuid() == NOBODY && getegid() == NOBODY));
	note("back: %d", root && !setuid(0));
	rounds(ep, fd, log);
	pid = fork();
	if (!pid) {
		int own = epoll_create1(EPOLL_CLOEXEC);

		watch(own, EPOLL_CTL_ADD, listener, EPOLLIN);
		fd = serve_one(own, EPOLLIN);
		put(fd, "worker");
		rounds(own, fd, log);
		exit(0);
	}
	waitpid(pid, &status, 0);
	note("the worker ended with %d", status);
}

static void user_rounds(int fd)
{
	char buf[8];
	int i;

	for (i = 0; i < USER_ROUNDS; i++) {
		size_t have = 0;
		ssize_t n;

		say(fd, "r");
		while (have < 6 && (n = read(fd, buf + have, 6 - have)) > 0)
			have += (size_t)n;
		if (have != 6 || memcmp(buf, "header", 6))
			die("answer");
	}
}

static void setuid_peer(void)
{
	int a = dial(0), b;

	say(a, "request");
	hear(a, 10);
	user_rounds(a);
	b = dial(0);
	say(b, "request");
	hear(b, 6);
	user_rounds(b);
	hear_all(b, 100, false);
	hear_all(a, 100, false);
	note_file("log", shared_path("user", 0));
}

/* --- a filter of its own --- */

#define CELL_CONNS  4
#define CELL_ROUNDS 20

#define ALLOW(name)                                                                                \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1),                                     \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* From now on any call that this program does not make is the end of it. */
static void confine(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		ALLOW(read),
		ALLOW(write),
		ALLOW(accept4),
		ALLOW(close),
		ALLOW(epoll_ctl),
		ALLOW(epoll_wait),
		ALLOW(exit_group),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog prog = {sizeof(filter) / sizeof(*filter), filter};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		die("seccomp");
}

static void cell_rounds(int ep, int conns)
{
	int left = conns * CELL_ROUNDS, i, n;
	struct epoll_event evs[8];
	char c;

	while (left) {
		n = epoll_wait(ep, evs, 8, 10000);
		if (n <= 0)
			die("epoll_wait");
		for (i = 0; i < n; i++, left--) {
			if (read(evs[i].data.fd, &c, 1) != 1)
				die("read");
			put(evs[i].data.fd, "an");
			put(evs[i].data.fd, "swer");
		}
	}
}

static void seccomp_server(void)
{
	int ep = epoll_new(), fds[CELL_CONNS], i;

	for (i = 0; i < CELL_CONNS; i++)
		fds[i] = accept_wait(ep, 0);
	for (i = 0; i < CELL_CONNS; i++)
		watch(ep, EPOLL_CTL_MOD, fds[i], EPOLLIN);
	cell_rounds(ep, CELL_CONNS);
	put(fds[0], "last words,");
	confine();
	put(fds[0], "first words");
	cell_rounds(ep, CELL_CONNS);
	accepted[WORD_ASKED] = 1;
	accept_wait(ep, EPOLLIN);
	cell_rounds(ep, CELL_CONNS + 1);
}

static void cell_peer_rounds(const int *fds, int n)
{
	int round, i, wrong = 0;
	char buf[8];

	for (round = 0; round < CELL_ROUNDS; round++) {
		for (i = 0; i < n; i++)
			say(fds[i], "a");
		for (i = 0; i < n; i++)
			wrong += recv(fds[i], buf, 6, MSG_WAITALL) != 6 || memcmp(buf, "answer", 6);
	}
	note("%d rounds with %d, %d wrong", round, n, wrong);
}

static void seccomp_peer(void)
{
	int fds[CELL_CONNS + 1], i;

	for (i = 0; i < CELL_CONNS; i++)
		fds[i] = dial(0);
	cell_peer_rounds(fds, CELL_CONNS);
	hear(fds[0], 22);
	cell_peer_rounds(fds, CELL_CONNS);
	wait_for_word(WORD_ASKED, 1);
	fds[CELL_CONNS] = dial(0);
	cell_peer_rounds(fds, CELL_CONNS + 1);
	for (i = 0; i <= CELL_CONNS; i++)
		hear_all(fds[i], 100, false);
}

/* --- a sudden end --- */

#define KILL_CONNS 3
#define KILL_TURNS 20

/* What was answered and logged in turns before the one in which it is killed is there. */
static void kill9_server(void)
{
	int ep = epoll_new(), fds[KILL_CONNS], log = open_log(shared_path("kill", 0)), i, turn, n;
	struct epoll_event evs[8];
	char c, reply[32];

	accepted[WORD_SERVER] = (uint64_t)getpid();
	for (i = 0; i < KILL_CONNS; i++)
		fds[i] = accept_wait(ep, 0);
	ask(); /* all requests are there */
	for (i = 0; i < KILL_CONNS; i++)
		watch(ep, EPOLL_CTL_MOD, fds[i], EPOLLIN);
	for (turn = 0; turn < KILL_TURNS; turn++) {
		n = epoll_wait(ep, evs, 8, 10000);
		if (n != KILL_CONNS)
			die("not all");
		for (i = 0; i < n; i++) {
			if (read(evs[i].data.fd, &c, 1) != 1)
				die("read");
			snprintf(reply, sizeof(reply), "reply %d\n", turn);
			put(evs[i].data.fd, "header of ");
			put(log, reply);
			put(evs[i].data.fd, reply);
		}
	}
	ask(); /* to be killed */
}

static void kill9_peer(void)
{
	static char want[8192], got[16384];
	int fds[KILL_CONNS], i, turn, lines = 0, whole = 0, torn = 0, number;
	size_t before = 0, len = 0;
	const char *name = shared_path("kill", 0);
	char line[64];
	FILE *f;

	for (i = 0; i < KILL_CONNS; i++)
		fds[i] = dial(0);
	for (i = 0; i < KILL_CONNS; i++)
		say(fds[i], "01234567890123456789");
	for (turn = 0; turn < KILL_TURNS; turn++) {
		before = len;
		len += (size_t)snprintf(want + len, sizeof(want) - len, "header of reply %d\n",
					turn);
	}
	wait_for_word(WORD_ASKED, 1);
	usleep(20000);
	accepted[WORD_DONE] = 1;
	wait_for_word(WORD_ASKED, 2);
	kill((pid_t)accepted[WORD_SERVER], SIGKILL);
	for (i = 0; i < KILL_CONNS; i++) {
		size_t have = 0;
		ssize_t n;

		while ((n = read(fds[i], got + have, sizeof(got) - have)) > 0)
			have += (size_t)n;
		note("all of the turns before: %d, and of the last one a part: %d, then %s",
		     have >= before && !memcmp(got, want, before),
		     have <= len && !memcmp(got, want, have), n ? "an error" : "the end");
	}
	f = fopen(name, "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "reply %d", &number) != 1 || !strchr(line, '\n') ||
		    number != lines / KILL_CONNS)
			torn++;
		whole += ++lines <= (KILL_TURNS - 1) * KILL_CONNS;
	}
	note("%d lines of the turns before, %d wrong", whole, torn);
	unlink(name);
}

/* --- files that get shorter while they are sent --- */

#define SHRINKS (1 << 20)
#define CUT	50000	   /* what is sent of the rest may be zeros by the time it leaves */
#define FIRST	(7 + 3000) /* header and small file */

static char pattern(size_t i)
{
	return (char)(i * 7 + i / 251);
}

static int make_file(const char *name, size_t size)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	char *buf = malloc(size);
	size_t i;

	for (i = 0; buf && i < size; i++)
		buf[i] = pattern(i);
	if (fd < 0 || !buf || write(fd, buf, size) != (ssize_t)size)
		die("make_file");
	free(buf);
	return fd;
}

static void shrink_server(void)
{
	int ep = epoll_new(), fd, big, small;
	bool cut = false;
	ssize_t n;
	off_t off = 0;

	small_buffers();
	big = make_file(shared_path("shrink", 1), SHRINKS);
	small = make_file(shared_path("shrink", 0), 3000);
	fd = serve_one(ep, EPOLLIN);
	/* The file is cut when it was sent and has not left. */
	put(fd, "header,");
	n = sendfile(fd, small, &off, 3000);
	ask();
	note_result("sendfile", n);
	accepted[WORD_SENT] = FIRST;
	note_result("sendfile of what is gone", sendfile(fd, small, &off, 3000));
	off = 0;
	note_result("and of all", sendfile(fd, small, &off, 3000));
	watch(ep, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT);
	do {
		if (next_event(ep, NULL) != fd)
			die("whose event");
		while ((n = sendfile(fd, big, &off, 20000)) > 0)
			accepted[WORD_SENT] += (uint64_t)n;
		if (n < 0 && errno != EAGAIN)
			die("sendfile");
		/* Another process cuts it where it has been sent already. */
		if (off > 100000 && !cut) {
			cut = true;
			ask();
		}
	} while (n);
	note("cut: %d", cut);
	put(fd, "end");
	close(fd);
}

static void look_at(const char *buf, size_t n, size_t *got, int *wrong)
{
	static const char frame[] = "header,";
	size_t i;

	for (i = 0; i < n; i++) {
		size_t at = *got + i;

		if (at < 7)
			*wrong += buf[i] != frame[at];
		else if (at < FIRST)
			*wrong += buf[i] != pattern(at - 7);
		else if (at < FIRST + CUT && at < accepted[WORD_SENT])
			*wrong += buf[i] != pattern(at - FIRST);
	}
	*got += n;
}

static void shrink_peer(void)
{
	static char buf[8192];
	int fd = dial_small(), wrong = 0, i;
	size_t got = 0;
	ssize_t n;

	say(fd, "request");
	for (i = 0; i < 2; i++) {
		/* Until it is time, take what comes: slowly, so that the socket is full. */
		while (accepted[WORD_ASKED] <= (uint64_t)i) {
			n = recv(fd, buf, 2000, MSG_DONTWAIT);
			if (n > 0)
				look_at(buf, (size_t)n, &got, &wrong);
			usleep(100);
		}
		if (truncate(shared_path("shrink", i), i ? CUT : 0))
			die("truncate");
		accepted[WORD_DONE] = (uint64_t)i + 1;
	}
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		look_at(buf, (size_t)n, &got, &wrong);
	note("all that was sent came: %d, %d wrong, then %s", got == accepted[WORD_SENT] + 3, wrong,
	     n ? strerrorname_np(errno) : "the end");
	unlink(shared_path("shrink", 0));
	unlink(shared_path("shrink", 1));
}

/*
 * Files whose size the server knows, cut by another process between the call that sends them and
 * the end of the turn. Their peers get what is left of the file and the end of the connection, or
 * all of it; never what comes next in its place. The other streams of the turn are as ever.
 */
#define LATE_CONNS  6
#define LATE_CUT    1 /* whose file is small, and cut */
#define LATE_BEFORE 4000
#define LATE_BIG    5 /* whose is sent from the page cache, and cut */

static size_t late_len(int i)
{
	return i == LATE_BIG ? 60000 : 3000;
}

static bool late_cut(int i)
{
	return i == LATE_CUT || i == LATE_BIG;
}

static void late_server(void)
{
	int ep = epoll_new(), fds[LATE_CONNS], in[LATE_CONNS], i, left = LATE_CONNS - 2;
	static char before[LATE_BEFORE];
	struct epoll_event evs[8];
	struct stat st;

	memset(before, 'z', sizeof(before));
	for (i = 0; i < LATE_CONNS; i++) {
		fds[i] = accept_wait(ep, 0);
		close(make_file(shared_path("late", i), late_len(i)));
		in[i] = open(shared_path("late", i), O_RDONLY | O_CLOEXEC);
		if (in[i] < 0 || fstat(in[i], &st) || (size_t)st.st_size != late_len(i))
			die("file");
		watch(ep, EPOLL_CTL_MOD, fds[i], EPOLLIN);
	}
	/* Where the runtime keeps what waits, something else was before. */
	for (i = 0; i < LATE_CONNS; i++)
		if (write(fds[i], before, sizeof(before)) != sizeof(before))
			die("before");
	epoll_wait(ep, evs, 8, 0);
	ask(); /* all requests are there */
	if (epoll_wait(ep, evs, 8, 10000) != LATE_CONNS)
		die("not all");
	for (i = 0; i < LATE_CONNS; i++) {
		off_t off = 0;

		read_request(fds[i]);
		put(fds[i], "header,");
		note_result("sendfile", sendfile(fds[i], in[i], &off, late_len(i)));
	}
	ask(); /* to cut two of the files */
	for (i = 0; i < LATE_CONNS; i++)
		send(fds[i], "more,", 5, MSG_NOSIGNAL);
	for (i = 0; i < LATE_CONNS; i++)
		if (late_cut(i))
			watch(ep, EPOLL_CTL_DEL, fds[i], 0);
	while (left) {
		int fd = next_event(ep, NULL);

		read_request(fd);
		put(fd, "bye");
		close(fd);
		left--;
	}
}

static void late_look(int i, const char *got, size_t len, int err)
{
	size_t body = 7 + late_len(i), at, wrong = 0;
	const char *end = late_cut(i) ? "more," : "more,bye";

	for (at = 0; at < len; at++) {
		if (at < 7)
			wrong += got[at] != "header,"[at];
		else if (at >= body)
			wrong += at - body >= strlen(end) || got[at] != end[at - body];
		else
			wrong += got[at] != pattern(at - 7) && !(late_cut(i) && !got[at]);
	}
	if (late_cut(i))
		note("cut: %zu wrong, the header is there: %d", wrong, len >= 7);
	else
		note("not cut: %zu bytes, %zu wrong, then %s", len, wrong,
		     err ? strerrorname_np(err) : "the end");
}

static void late_peer(void)
{
	static char got[128 * 1024];
	int fds[LATE_CONNS], i;

	for (i = 0; i < LATE_CONNS; i++)
		fds[i] = dial(0);
	wait_for_word(WORD_ASKED, 1);
	for (i = 0; i < LATE_CONNS; i++)
		if (recv(fds[i], got, LATE_BEFORE, MSG_WAITALL) != LATE_BEFORE)
			die("before");
	for (i = 0; i < LATE_CONNS; i++)
		say(fds[i], "request");
	usleep(20000);
	accepted[WORD_DONE] = 1;
	wait_for_word(WORD_ASKED, 2);
	if (truncate(shared_path("late", LATE_CUT), 1000) ||
	    truncate(shared_path("late", LATE_BIG), 20000))
		die("truncate");
	accepted[WORD_DONE] = 2;
	for (i = 0; i < LATE_CONNS; i++)
		if (!late_cut(i))
			say(fds[i], "x");
	for (i = 0; i < LATE_CONNS; i++) {
		size_t len = 0;
		ssize_t n;

		while ((n = read(fds[i], got + len, sizeof(got) - len)) > 0)
			len += (size_t)n;
		late_look(i, got, len, n ? errno : 0);
		unlink(shared_path("late", i));
	}
}

/* --- what a stream speaks --- */

/*
 * Plain text, then records that the kernel encrypts, where it can: what was written before the key
 * was set is never encrypted. Key and counter are fixed, so that the records are the same each
 * time.
 */
static void ktls_server(void)
{
	struct tls12_crypto_info_aes_gcm_128 key = {
		.info = {.version = TLS_1_2_VERSION, .cipher_type = TLS_CIPHER_AES_GCM_128},
		.key = "0123456789abcde",
		.iv = "1234567",
		.salt = "abc",
	};
	static char piece[1000];
	size_t done = 0;
	int ep = epoll_new(), fd, i;
	ssize_t n;

	small_buffers();
	fd = serve_one(ep, EPOLLIN);
	memset(piece, 'p', sizeof(piece));
	while ((n = write(fd, piece, sizeof(piece))) > 0 && done < 500000)
		done += (size_t)n;
	accepted[WORD_SENT] = done + (n > 0 ? (size_t)n : 0);
	note_result("TCP_ULP", setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")));
	note_result("TLS_TX", setsockopt(fd, SOL_TLS, TLS_TX, &key, sizeof(key)));
	accepted[WORD_ASKED] = 1;
	watch(ep, EPOLL_CTL_MOD, fd, EPOLLOUT);
	for (i = 0; i < 30; i++) {
		if (next_event(ep, NULL) != fd)
			die("whose event");
		while (write(fd, "record", 6) < 0 && errno == EAGAIN)
			next_event(ep, NULL);
	}
	close(fd);
}

static void ktls_peer(void)
{
	static char buf[65536];
	int fd = dial_small(), other = 0;
	uint64_t got = 0;

	say(fd, "request");
	/* As much as was taken before is plain. */
	wait_for_word(WORD_ASKED, 1);
	while (got < accepted[WORD_SENT]) {
		uint64_t left = accepted[WORD_SENT] - got;
		ssize_t n = read(fd, buf, left < sizeof(buf) ? (size_t)left : sizeof(buf)), i;

		if (n <= 0)
			die("less than was taken");
		for (i = 0; i < n; i++)
			other += buf[i] != 'p';
		got += (uint64_t)n;
	}
	note("%d not plain", other);
	hear_all(fd, sizeof(buf), false);
}

/* --- a process for each request --- */

static void cgi_server(void)
{
	int ep = epoll_new(), i, status;
	char num[16];

	for (i = 0; i < 10; i++) {
		int fd = serve_one(ep, EPOLLIN);
		pid_t pid;

		put(fd, "Content-Type: text/plain\r\n");
		put(fd, "\r\n");
		snprintf(num, sizeof(num), "%d", i);
		pid = i % 2 ? vfork() : fork();
		if (!pid) {
			dup2(fd, STDOUT_FILENO);
			execl("/bin/sh", "sh", "-c", "echo body of $0; (echo and more)", num,
			      (char *)NULL);
			_exit(127);
		}
		note_result("close", close(fd));
	}
	while (wait(&status) > 0)
		note("ended with %d", status);
}

static void cgi_peer(void)
{
	int i;

	for (i = 0; i < 10; i++) {
		int fd = dial(0);

		say(fd, "request");
		hear(fd, 28 + 10 + 9 + 1);
		close(fd);
	}
}

/* --- threads that share an epoll instance --- */

#define POOL_CONNS  6
#define POOL_ROUNDS 40

static int pool_ep, pool_end;
static atomic_int pool_left = POOL_CONNS * POOL_ROUNDS;

static void *pool_thread(void *arg)
{
	struct epoll_event ev;
	uint64_t one = 1;
	char c;

	for (;;) {
		if (epoll_wait(pool_ep, &ev, 1, 10000) != 1)
			die("epoll_wait");
		if (ev.data.fd == pool_end)
			return NULL;
		if (read(ev.data.fd, &c, 1) != 1)
			die("read");
		put(ev.data.fd, "an");
		put(ev.data.fd, "swer");
		watch(pool_ep, EPOLL_CTL_MOD, ev.data.fd, EPOLLIN | EPOLLONESHOT);
		if (atomic_fetch_sub(&pool_left, 1) == 1 && write(pool_end, &one, 8) != 8)
			die("eventfd");
	}
}

static void pool_server(void)
{
	int ep = epoll_new(), fds[POOL_CONNS], i;
	pthread_t t[3];

	pool_ep = epoll_create1(EPOLL_CLOEXEC);
	pool_end = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	watch(pool_ep, EPOLL_CTL_ADD, pool_end, EPOLLIN);
	for (i = 0; i < POOL_CONNS; i++) {
		fds[i] = serve_one(ep, EPOLLIN);
		put(fds[i], "abc");
		put(fds[i], "defg");
		watch(ep, EPOLL_CTL_DEL, fds[i], 0);
		watch(pool_ep, EPOLL_CTL_ADD, fds[i], EPOLLIN | EPOLLONESHOT);
	}
	for (i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, pool_thread, NULL);
	for (i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	note("left: %d", atomic_load(&pool_left));
}

static void pool_peer(void)
{
	int fds[POOL_CONNS], i, round, wrong = 0;
	char buf[16];

	for (i = 0; i < POOL_CONNS; i++) {
		fds[i] = dial(0);
		say(fds[i], "request");
		hear(fds[i], 7);
	}
	for (round = 0; round < POOL_ROUNDS; round++) {
		for (i = 0; i < POOL_CONNS; i++)
			say(fds[i], "a");
		for (i = 0; i < POOL_CONNS; i++)
			wrong += recv(fds[i], buf, 6, MSG_WAITALL) != 6 || memcmp(buf, "answer", 6);
	}
	note("%d rounds, %d wrong", round, wrong);
	for (i = 0; i < POOL_CONNS; i++)
		hear_all(fds[i], 100, false);
}

const struct equiv_case equiv_world[] = {
	{"setuid", setuid_server, setuid_peer},
	{"seccomp", seccomp_server, seccomp_peer},

	{"kill9", kill9_server, kill9_peer},
	{"shrink", shrink_server, shrink_peer},
	{"shrink-late", late_server, late_peer},
	{"ktls", ktls_server, ktls_peer},
	{"cgi", cgi_server, cgi_peer},
	{"pool", pool_server, pool_peer},
	{NULL, NULL, NULL},
};
