/* SPDX-License-Identifier: MIT */
/* test-load.c - the outputs of real load tools, and a real little server, as cli/load.c sees them.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cli/load.h>

static void check(const char *file, bool understood, const char *tool, uint64_t requests,
		  double rps, double p99_us, uint64_t failed)
{
	const char *dir = getenv("top_srcdir");
	char path[4096], text[16384];
	struct load_result r;
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "%s/tests/unit/load/%s", dir ? dir : ".", file);
	f = fopen(path, "re");
	assert_non_null(f);
	n = fread(text, 1, sizeof(text), f);
	fclose(f);
	assert_int_equal(load_parse(&r, text, n), understood);
	if (!understood)
		return;
	assert_string_equal(r.tool, tool);
	assert_int_equal(r.requests, requests);
	assert_float_equal(r.rps, rps, rps / 1e5);
	assert_float_equal(r.p99_us, p99_us, 0.01);
	assert_int_equal(r.failed, failed);
}

static void parse_wrk(void **state)
{
	check("wrk-latency.txt", true, "wrk", 76920, 76888.94, 310, 0);
	check("wrk-plain.txt", true, "wrk", 83614, 76008.37, 0, 0);
}

static void parse_own(void **state)
{
	check("own.txt", true, "esca-load", 64727, 32348.0, 9699.3, 0);
	check("own-failed.txt", true, "esca-load", 53253, 25324.0, 13631.5, 3);
}

static void parse_own_more(void **state)
{
	static const char text[] = "{\"tool\": \"esca-load\", \"requests\": 100, \"rps\": 50.0, "
				   "\"p50_us\": 7.5, \"p99_us\": 9.5, \"failed\": 0, "
				   "\"crossings\": 303}\n";
	static const char cut[] = "{\"tool\": \"esca-load\", \"requests\": 100}\n";
	struct load_result r;

	assert_true(load_parse(&r, text, sizeof(text) - 1));
	assert_int_equal(r.calls, 303);
	assert_float_equal(r.p50_us, 7.5, 0.01);
	assert_false(load_parse(&r, cut, sizeof(cut) - 1));
	assert_false(load_parse(&r, cut, sizeof(cut) - 3));
}

static void parse_wrk_failures(void **state)
{
	check("wrk-404.txt", true, "wrk", 98649, 89677.97, 216, 98649);
	check("wrk-errors.txt", true, "wrk", 61682, 30816.67, 265, 27505);
}

static void parse_ab(void **state)
{
	check("ab.txt", true, "ab", 2000, 48322.02, 0, 0);
	check("ab-404.txt", true, "ab", 200, 16904.74, 1000, 200);
	check("ab-refused.txt", false, NULL, 0, 0, 0, 0);
}

/* Two tests of 20000 requests: the total, the rate over both, the worse p99. */
static void parse_redis_full(void **state)
{
	check("redis-full.txt", true, "redis-benchmark", 40000,
	      40000 / (20000 / 80971.66 + 20000 / 72463.77), 327, 0);
}

/* --csv and -q do not say how many requests were made. */
static void parse_redis_short(void **state)
{
	check("redis-csv.txt", true, "redis-benchmark", 0, 2 / (1 / 79051.38 + 1 / 82304.52), 319,
	      0);
	check("redis-q.txt", true, "redis-benchmark", 0, 2 / (1 / 67567.57 + 1 / 71942.45), 0, 0);
}

static void parse_two_runs(void **state)
{
	static const char text[] = "Running 1s test @ http://a/\n"
				   "     99%    1.50ms\n"
				   "  1000 requests in 1.00s, 1MB read\n"
				   "Requests/sec:   1000.00\n"
				   "Running 1s test @ http://b/\n"
				   "     99%    1.20s \n"
				   "  3000 requests in 1.00s, 1MB read\n"
				   "  Socket errors: connect 1, read 2, write 3, timeout 4\n"
				   "Requests/sec:   1000.00\n";
	struct load_result r;

	assert_true(load_parse(&r, text, strlen(text)));
	assert_int_equal(r.requests, 4000);
	assert_float_equal(r.rps, 1000, 0.01);
	assert_float_equal(r.p99_us, 1.2e6, 1);
	assert_int_equal(r.failed, 10);
}

static void parse_foreign(void **state)
{
	static const char *const text[] = {"",
					   "\n\n",
					   "hello\n",
					   "Requests/sec: 12\n",
					   "100 requests in 1.00s\n",
					   "\"a\",\"b\"\n",
					   "Running 1s test @ http://a/\n"};
	char junk[5000];
	struct load_result r;

	for (unsigned int i = 0; i < sizeof(text) / sizeof(text[0]); i++)
		assert_false(load_parse(&r, text[i], strlen(text[i])));
	memset(junk, '9', sizeof(junk));
	assert_false(load_parse(&r, junk, sizeof(junk)));
}

/* A child that listens when told to, and has a grandchild that burns CPU. */
struct server {
	pid_t pid;
	int go; /* a byte: listen */
	int up; /* a byte: done so */
};

static void server_start(struct server *s, int family)
{
	int go[2], up[2];

	assert_int_equal(pipe2(go, O_CLOEXEC) | pipe2(up, O_CLOEXEC), 0);
	s->pid = fork();
	assert_true(s->pid >= 0);
	if (!s->pid) {
		struct sockaddr_in in = {.sin_family = AF_INET,
					 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		struct sockaddr_un un = {.sun_family = AF_UNIX}; /* autobind */
		int sock = socket(family, SOCK_STREAM, 0);
		char c;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(go[1]);
		if (family == AF_INET ? bind(sock, (struct sockaddr *)&in, sizeof(in))
				      : bind(sock, (struct sockaddr *)&un, sizeof(sa_family_t)))
			_exit(1);
		if (read(go[0], &c, 1) != 1 || listen(sock, 1) || write(up[1], "", 1) != 1)
			_exit(1);
		if (read(go[0], &c, 1) < 0)
			_exit(1);
		_exit(0);
	}
	close(go[0]);
	close(up[1]);
	s->go = go[1];
	s->up = up[0];
}

static void check_listening(int family)
{
	struct server s;
	char c;

	server_start(&s, family);
	assert_int_equal(load_listening(s.pid), 0);
	assert_int_equal(write(s.go, "", 1), 1);
	assert_int_equal(read(s.up, &c, 1), 1);
	assert_int_equal(load_listening(s.pid), 1);
	close(s.go);
	close(s.up);
	assert_int_equal(waitpid(s.pid, NULL, 0), s.pid);
	assert_true(load_listening(s.pid) < 0);
}

static void listening_tcp(void **state)
{
	check_listening(AF_INET);
}

static void listening_unix(void **state)
{
	check_listening(AF_UNIX);
}

static bool in_tree(pid_t root, pid_t pid)
{
	pid_t pids[64];
	size_t n = load_tree(root, pids, 64);

	for (size_t i = 0; i < n; i++)
		if (pids[i] == pid)
			return true;
	return false;
}

/* cat <fifo> keeps the shell's child alive until we let go of the pipe. */
static void tree(void **state)
{
	char buf[32] = "";
	int out[2];
	pid_t shell, child;

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	shell = load_spawn("sleep 1000 & echo $!; wait", -1, out[1]);
	assert_true(shell > 0);
	assert_true(read(out[0], buf, sizeof(buf) - 1) > 0);
	child = atoi(buf);
	assert_true(child > 0);
	assert_int_equal(getpgid(shell), shell);
	assert_true(in_tree(shell, shell));
	assert_true(in_tree(shell, child));
	assert_false(in_tree(child, shell));
	assert_false(in_tree(shell, getpid()));
	assert_int_equal(kill(-shell, SIGKILL), 0);
	waitpid(shell, NULL, 0);
	close(out[0]);
	close(out[1]);
}

/* A daemon that was left to us counts as the server's; an orphan of the load does not. */
static void tree_of_subreaper(void **state)
{
	pid_t launcher, load, daemon_pid, orphan;
	char buf[32] = "";
	int out[2];

	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	launcher = fork();
	if (!launcher) {
		pid_t pid = fork();

		if (!pid) {
			prctl(PR_SET_PDEATHSIG, 0);
			pause();
			_exit(0);
		}
		dprintf(out[1], "%d\n", (int)pid);
		_exit(0);
	}
	assert_int_equal(waitpid(launcher, NULL, 0), launcher);
	assert_true(read(out[0], buf, sizeof(buf) - 1) > 0);
	daemon_pid = atoi(buf);

	load = load_spawn("sleep 1000 & echo $!", -1, out[1]);
	assert_int_equal(waitpid(load, NULL, 0), load);
	memset(buf, 0, sizeof(buf));
	assert_true(read(out[0], buf, sizeof(buf) - 1) > 0);
	orphan = atoi(buf);

	assert_true(in_tree(launcher, daemon_pid));
	assert_false(in_tree(launcher, orphan));
	kill(daemon_pid, SIGKILL);
	kill(orphan, SIGKILL);
	assert_int_equal(waitpid(daemon_pid, NULL, 0), daemon_pid);
	assert_int_equal(waitpid(orphan, NULL, 0), orphan);
	prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
	close(out[0]);
	close(out[1]);
}

/* What a child that was waited for used stays in its parent's sum. */
static void tree_cpu(void **state)
{
	struct timespec nap = {.tv_nsec = 20000000};
	uint64_t before, after = 0;
	char buf[8];
	int out[2];
	pid_t pid;

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	pid = load_spawn(
		"i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo x; exec sleep 1000", -1,
		out[1]);
	before = load_tree_cpu_ns(pid);
	assert_true(read(out[0], buf, sizeof(buf)) > 0);
	after = load_tree_cpu_ns(pid);
	assert_true(after >
		    before + 1000000); /* a hundred thousand rounds of a shell: more than 1 ms */
	nanosleep(&nap, NULL);
	before = load_tree_cpu_ns(pid);
	nanosleep(&nap, NULL);
	assert_true(load_tree_cpu_ns(pid) < before + 20000000);
	kill(-pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(load_tree_cpu_ns(pid), 0);
	close(out[0]);
	close(out[1]);
}

/* Signals that we ignore or block do not reach the load command. */
static void spawn_signals(void **state)
{
	sigset_t set, old;
	int status;
	pid_t pid;

	signal(SIGTERM, SIG_IGN);
	sigfillset(&set);
	sigprocmask(SIG_BLOCK, &set, &old);
	pid = load_spawn("kill -TERM $$; exit 3", -1, -1);
	sigprocmask(SIG_SETMASK, &old, NULL);
	signal(SIGTERM, SIG_DFL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGTERM);
}

/* Whoever called is killed: the whole load ends, not only its shell. */
static void spawn_orphaned(void **state)
{
	struct pollfd pfd;
	int out[2], status;
	char c;
	pid_t pid;

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		load_spawn("sleep 1000 & (echo; sleep 1000); true", -1, out[1]);
		for (;;)
			pause();
	}
	close(out[1]);
	assert_int_equal(read(out[0], &c, 1), 1);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	/* The pipe ends when nobody has it any more. */
	pfd = (struct pollfd){.fd = out[0], .events = POLLIN};
	assert_int_equal(poll(&pfd, 1, 20000), 1);
	assert_int_equal(read(out[0], &c, 1), 0);
	close(out[0]);
}

/* The leader of the group ends as the shell did. */
static void spawn_status(void **state)
{
	int status;

	assert_int_equal(waitpid(load_spawn("exit 42", -1, -1), &status, 0) > 0, 1);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 42);
	assert_int_equal(waitpid(load_spawn("kill -KILL $$", -1, -1), &status, 0) > 0, 1);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parse_own),	     cmocka_unit_test(parse_own_more),
		cmocka_unit_test(parse_wrk),	     cmocka_unit_test(parse_wrk_failures),
		cmocka_unit_test(parse_ab),	     cmocka_unit_test(parse_redis_full),
		cmocka_unit_test(parse_redis_short), cmocka_unit_test(parse_two_runs),
		cmocka_unit_test(parse_foreign),     cmocka_unit_test(listening_tcp),
		cmocka_unit_test(listening_unix),    cmocka_unit_test(tree),
		cmocka_unit_test(tree_of_subreaper), cmocka_unit_test(tree_cpu),
		cmocka_unit_test(spawn_signals),     cmocka_unit_test(spawn_orphaned),
		cmocka_unit_test(spawn_status),
	};

	cmocka_set_test_filter(getenv("ESCA_TEST"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
