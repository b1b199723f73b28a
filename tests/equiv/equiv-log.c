/* SPDX-License-Identifier: MIT */
/* equiv-log.c - cases about log files that are put aside, cut or looked at while lines wait. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "equiv.h"

static void put(int fd, const char *s)
{
	if (write(fd, s, strlen(s)) != (ssize_t)strlen(s))
		die("put");
}

/* --- logs that are put aside --- */

#define TURNS	  30
#define ROTATIONS 3

enum rotation {
	USR1, /* renamed; the server opens the new one, then closes the old one */
	HUP,  /* renamed; the server closes the old one, then opens the new one */
	COPY, /* copied and truncated, and nobody is told */
};

static atomic_int told; /* which TSAN lets signals be delivered at */

static void on_signal(int sig)
{
	told = 1;
}

static void rotate_server(enum rotation how)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	int ep = epoll_new(), fd, log = open_log(shared_path("log", 0)), i, k, n = 0;
	char c, line[32];

	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	accepted[WORD_SERVER] = (uint64_t)getpid();
	fd = accept_wait(ep, EPOLLIN);
	for (i = 0; i < TURNS; i++) {
		if (next_event(ep, NULL) != fd)
			die("whose event");
		if (told && how == USR1) {
			int fresh = open_log(shared_path("log", 0));

			close(log);
			log = fresh;
		} else if (told) {
			close(log);
			log = open_log(shared_path("log", 0));
		}
		told = 0;
		if (read(fd, &c, 1) != 1)
			die("read");
		for (k = 0; k < 4; k++) {
			snprintf(line, sizeof(line), "%d\n", n++);
			put(log, line);
			/* Lines wait before it, and more are written to the same file after it. */
			if (k == 1 && i % 10 == 4) {
				ask();
				while (how != COPY && !told)
					;
			}
		}
		put(fd, "r");
	}
	close(log);
	close(fd);
}

static void rotate_usr1(void)
{
	rotate_server(USR1);
}

static void rotate_hup(void)
{
	rotate_server(HUP);
}

static void rotate_copy(void)
{
	rotate_server(COPY);
}

static void copy(const char *from, const char *to)
{
	int in = open(from, O_RDWR), out = open(to, O_WRONLY | O_CREAT, 0600);

	if (in < 0 || out < 0)
		die("copy");
	while (sendfile(out, in, NULL, 65536) > 0)
		;
	if (ftruncate(in, 0))
		die("truncate");
	close(in);
	close(out);
}

/* All lines are in the files, in order and once, wherever they were cut. */
static void note_sum(void)
{
	int i, n = 0, bad = 0, number;
	char line[64];

	for (i = 1; i <= ROTATIONS + 1; i++) {
		const char *name = shared_path("log", i % (ROTATIONS + 1));
		FILE *f = fopen(name, "r");

		while (f && fgets(line, sizeof(line), f))
			bad += sscanf(line, "%d", &number) != 1 || number != n++ ||
			       !strchr(line, '\n');
		if (f)
			fclose(f);
		unlink(name);
	}
	note("%d lines, %d not in order", n, bad);
}

static void rotate_peer(enum rotation how)
{
	int fd = dial(0), i;

	for (i = 0; i < TURNS; i++)
		say(fd, "a");
	for (i = 1; i <= ROTATIONS; i++) {
		wait_for_word(WORD_ASKED, (uint64_t)i);
		if (how == COPY)
			copy(shared_path("log", 0), shared_path("log", i));
		else if (rename(shared_path("log", 0), shared_path("log", i)))
			die("rename");
		if (how != COPY)
			kill((pid_t)accepted[WORD_SERVER], how == HUP ? SIGHUP : SIGUSR1);
		accepted[WORD_DONE] = (uint64_t)i;
	}
	hear_all(fd, 100, false);
	if (how == COPY) {
		note_sum();
		return;
	}
	for (i = 1; i <= ROTATIONS; i++)
		note_file("put aside", shared_path("log", i));
	note_file("the last one", shared_path("log", 0));
}

static void usr1_peer(void)
{
	rotate_peer(USR1);
}

static void hup_peer(void)
{
	rotate_peer(HUP);
}

static void copy_peer(void)
{
	rotate_peer(COPY);
}

/* --- another thread looks at a log --- */

static atomic_int look_no;
static int look_log;

/* All ways to look; it never waits, and is told by memory alone. */
static void *looking_thread(void *arg)
{
	const char *name = shared_path("look", 0);
	char buf[4096];
	struct statx stx;
	struct stat st;
	int no, in = open(name, O_RDONLY | O_CLOEXEC), two[2];
	off_t off = 0;
	FILE *f;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, two))
		die("socketpair");
	atomic_store(&look_no, 0);
	for (no = 1; no <= 8; no++) {
		while (atomic_load(&look_no) != 2 * no - 1)
			;
		switch (no) {
		case 1:
			note_result("stat", stat(name, &st) ? -1 : st.st_size);
			break;
		case 2:
			note_result("fstat", fstat(in, &st) ? -1 : st.st_size);
			break;
		case 3:
			note_result("lseek", lseek(in, 0, SEEK_END));
			break;
		case 4:
			note_result("pread", pread(in, buf, sizeof(buf), 0));
			break;
		case 5:
			note_result("read", lseek(in, 0, SEEK_SET) ? -1 : read(in, buf, 4096));
			break;
		case 6:
			note_result("sendfile", sendfile(two[0], in, &off, 4096));
			break;
		case 7:
			note_result("statx", statx(AT_FDCWD, name, 0, STATX_SIZE, &stx)
						     ? -1
						     : (long)stx.stx_size);
			break;
		case 8:
			f = fopen(name, "r");
			note_result("fread", f ? (long)fread(buf, 1, sizeof(buf), f) : -1);
			if (f)
				fclose(f);
			break;
		}
		atomic_store(&look_no, 2 * no);
	}
	return NULL;
}

static void look_server(void)
{
	int ep = epoll_new(), fd, no;
	pthread_t t;

	look_log = open_log(shared_path("look", 0));
	atomic_store(&look_no, -1);
	pthread_create(&t, NULL, looking_thread, NULL);
	while (atomic_load(&look_no))
		;
	fd = serve_one(ep, EPOLLIN);
	for (no = 1; no <= 8; no++) {
		put(look_log, "a line\n");
		put(fd, "r");
		atomic_store(&look_no, 2 * no - 1);
		while (atomic_load(&look_no) != 2 * no)
			;
		put(fd, "s");
		if (next_event(ep, NULL) != fd)
			die("whose event");
		read_request(fd);
	}
	pthread_join(t, NULL);
	close(look_log);
	unlink(shared_path("look", 0));
}

static void look_peer(void)
{
	int fd = dial(0), no;

	say(fd, "request");
	for (no = 1; no <= 8; no++) {
		hear(fd, 2);
		say(fd, "n");
	}
	hear_all(fd, 100, false);
}

/* --- lines of two threads, each through a descriptor of its own --- */

static atomic_int step;
static int second; /* that thread's connection */

static void wait_step(int n)
{
	while (atomic_load(&step) != n)
		;
}

/* Step @n is done; the other thread takes the next one. */
static void pass_on(int n)
{
	atomic_store(&step, n);
	wait_step(n + 1);
}

static void *second_thread(void *arg)
{
	int ep = epoll_new(), log = open_log(shared_path("order", 0)), direct;

	direct = open(shared_path("order", 0), O_WRONLY | O_APPEND | O_DSYNC | O_CLOEXEC);
	wait_step(1);
	watch(ep, EPOLL_CTL_ADD, second, EPOLLIN);
	if (next_event(ep, NULL) != second)
		die("whose event");
	read_request(second);
	pass_on(2);
	put(log, "2 may wait too\n");
	pass_on(4);
	put(direct, "4 is real\n");
	pass_on(6);
	note_result("pwrite", pwrite(direct, "6 is real\n", 10, 0));
	put(second, "s");
	close(second);
	put(log, "7\n");
	pass_on(8);
	note_result("ftruncate", ftruncate(log, 70));
	put(log, "is cut\n");
	atomic_store(&step, 10);
	close(log);
	close(direct);
	return NULL;
}

static void order_server(void)
{
	int ep = epoll_new(), fd, log = open_log(shared_path("order", 0)), in;
	char buf[256] = "";
	pthread_t t;

	atomic_store(&step, 0);
	pthread_create(&t, NULL, second_thread, NULL);
	if (next_event(ep, NULL) != listener)
		die("not a connection");
	second = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	fd = serve_one(ep, EPOLLIN);
	pass_on(1);
	put(log, "1 waits\n");
	pass_on(3);
	put(log, "3 waits\n");
	pass_on(5);
	put(log, "5 waits\n");
	pass_on(7);
	put(log, "8 waits\n");
	put(log, "9 waits\n");
	pass_on(9);
	put(fd, "r");
	close(fd);
	close(log);
	pthread_join(t, NULL);
	in = open(shared_path("order", 0), O_RDONLY | O_CLOEXEC);
	note_result("read", read(in, buf, sizeof(buf) - 1));
	note("%s", buf);
	close(in);
	unlink(shared_path("order", 0));
}

static void order_peer(void)
{
	int fds[] = {dial(0), dial(0)};

	say(fds[0], "request");
	say(fds[1], "request");
	hear_all(fds[0], 100, false);
	hear_all(fds[1], 100, false);
}

const struct equiv_case equiv_log[] = {
	{"rotate-usr1", rotate_usr1, usr1_peer}, {"rotate-hup", rotate_hup, hup_peer},
	{"rotate-copy", rotate_copy, copy_peer}, {"log-looked-at", look_server, look_peer},
	{"log-order", order_server, order_peer}, {NULL, NULL, NULL},
};
