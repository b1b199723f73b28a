/* SPDX-License-Identifier: MIT */
/* bench.c - one measured run of a server under its load, vanilla or aggregated. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cli/bench.h>
#include <cli/msg.h>
#include <cli/stats.h>

#define STOP_S	   10 /* a server gets this long to end on SIGTERM */
#define MAX_PIDS   4096
#define MAX_OUTPUT (4u << 20)
#define NAP_MS	   5

static volatile sig_atomic_t caught;

static void on_signal(int sig)
{
	caught = sig;
}

void bench_init(void)
{
	static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	struct sigaction sa = {.sa_handler = on_signal};

	for (unsigned int i = 0; i < sizeof(ending) / sizeof(ending[0]); i++)
		sigaction(ending[i], &sa, NULL);
	signal(SIGCHLD, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

int bench_signal(void)
{
	return caught;
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void nap_ms(long ms)
{
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&ts, NULL);
}

static int exit_status(int wait_status)
{
	return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

/* --- the server --- */

struct server {
	pid_t pid;
	bool ended;
	int status; /* wait status */
	int log;    /* what it says on its standard output and error */
};

/* Signals as they were for us, for what we start. */
static void default_signals(void)
{
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		if (sig != SIGKILL && sig != SIGSTOP)
			signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void pin(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* In a child: SIGTERM when @parent is gone, also if it is gone already. */
static void end_with(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(127);
}

static int server_start(struct server *srv, const struct bench_setup *s, const struct stats *stats)
{
	pid_t parent = getpid();
	int null;

	memset(srv, 0, sizeof(*srv));
	srv->log = memfd_create("esca-bench-log", MFD_CLOEXEC);
	srv->pid = fork();
	if (srv->pid < 0)
		return -errno;
	if (srv->pid)
		return 0;
	setpgid(0, 0);
	default_signals();
	end_with(parent);
	pin(s->server_cpu);
	null = open("/dev/null", O_RDONLY);
	if (null >= 0)
		dup2(null, STDIN_FILENO);
	fcntl(srv->log, F_SETFL, O_APPEND);
	if (srv->log >= 0) {
		dup2(srv->log, STDOUT_FILENO);
		dup2(srv->log, STDERR_FILENO);
	}
	if (stats && (plan_preload(s->library, *s->published ? s->published : NULL) ||
		      plan_run(&s->plan, s->plan.backend, stats->path)))
		_exit(126);
	execv(s->target->path, s->command);
	dprintf(STDERR_FILENO, "cannot be executed: %s\n", strerror(errno));
	_exit(127);
}

/* Collect what has ended; the server's own status is kept. */
static void reap(struct server *srv)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == srv->pid) {
			srv->ended = true;
			srv->status = status;
		}
}

static size_t signal_tree(const struct server *srv, int sig)
{
	static pid_t pids[MAX_PIDS];
	size_t n = load_tree(srv->pid, pids, MAX_PIDS);

	for (size_t i = 0; sig && i < n; i++)
		kill(pids[i], sig);
	return n;
}

/*
 * As its admin would: SIGTERM to the server, or, where that went into the background, to what it
 * left. What has not ended then is killed. A signal to us makes it quicker, not less thorough.
 */
static void server_stop(struct server *srv)
{
	double until = now_s() + (caught ? STOP_S / 5. : STOP_S);

	reap(srv);
	if (srv->ended)
		signal_tree(srv, SIGTERM);
	else
		kill(srv->pid, SIGTERM);
	while (signal_tree(srv, 0) && now_s() < until) {
		nap_ms(NAP_MS);
		reap(srv);
	}
	until = now_s() + STOP_S;
	while (signal_tree(srv, SIGKILL) && now_s() < until) {
		nap_ms(NAP_MS);
		reap(srv);
	}
	reap(srv);
}

/* The last line the server said, without control characters. */
static void last_words(const struct server *srv, char *line, size_t size)
{
	off_t end = srv->log >= 0 ? lseek(srv->log, 0, SEEK_END) : 0;
	char buf[1024], *start;
	ssize_t n;

	*line = '\0';
	if (end <= 0)
		return;
	n = pread(srv->log, buf, sizeof(buf) - 1, end > 1023 ? end - 1023 : 0);
	while (n > 0 && (buf[n - 1] == '\n' || buf[n - 1] == ' '))
		n--;
	if (n <= 0)
		return;
	buf[n] = '\0';
	start = strrchr(buf, '\n');
	snprintf(line, size, "%.200s", start ? start + 1 : buf);
	for (char *p = line; *p; p++)
		if ((unsigned char)*p < ' ')
			*p = ' ';
}

static void say_ended(const struct server *srv, const char *command, const char *when)
{
	char words[256], how[64];

	last_words(srv, words, sizeof(words));
	if (WIFSIGNALED(srv->status))
		snprintf(how, sizeof(how), "was ended by signal %d", WTERMSIG(srv->status));
	else
		snprintf(how, sizeof(how), "ended with status %d", WEXITSTATUS(srv->status));
	msg_error("the server '%s' %s %s; %s%s%s", command, how, when,
		  *words ? "it said: " : "it said nothing, see its own log", words,
		  *words ? "" : "");
}

/* Nothing of the server is left. */
static bool server_gone(struct server *srv)
{
	reap(srv);
	return srv->ended && !signal_tree(srv, 0);
}

/*
 * Return: BENCH_OK, or BENCH_FAILED with *@died set where
 * the server ended by itself and nothing was said yet.
 */
static enum bench_end wait_listening(struct server *srv, const struct bench_setup *s, bool *died)
{
	double until = now_s() + s->timeout_s;
	uint64_t before, after;

	*died = false;
	for (;;) {
		int ret;

		if (caught)
			return BENCH_INTERRUPTED;
		if (server_gone(srv)) {
			*died = true;
			return BENCH_FAILED;
		}
		ret = load_listening(srv->pid);
		if (ret == 1)
			break;
		if (ret < 0 && ret != -ESRCH) {
			msg_perror(ret, "cannot see whether the server '%s' listens",
				   s->command[0]);
			return BENCH_FAILED;
		}
		if (now_s() > until) {
			msg_error("the server '%s' does not listen after %u s; check its "
				  "configuration, or give it longer with --timeout",
				  s->command[0], s->timeout_s);
			return BENCH_FAILED;
		}
		nap_ms(NAP_MS);
	}
	/* let it finish starting: until its CPU time stands still for a moment, at most a second */
	until = now_s() + 1;
	do {
		before = load_tree_cpu_ns(srv->pid);
		nap_ms(60);
		after = load_tree_cpu_ns(srv->pid);
	} while (!caught && now_s() < until && after - before > 1000000);
	return caught ? BENCH_INTERRUPTED : BENCH_OK;
}

/* --- the load --- */

struct output {
	char *text;
	size_t size;
};

static bool output_read(struct output *out, int fd)
{
	char buf[16384];
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n <= 0)
		return n < 0 && (errno == EINTR || errno == EAGAIN);
	if (out->size + (size_t)n <= MAX_OUTPUT) {
		char *p = realloc(out->text, out->size + (size_t)n);

		if (p) {
			out->text = p;
			memcpy(p + out->size, buf, (size_t)n);
			out->size += (size_t)n;
		}
	}
	return true;
}

/* End the load's whole group, also what it left in the background. */
static void load_stop(pid_t pid, bool reaped)
{
	if (!reaped) {
		kill(-pid, SIGTERM);
		for (int i = 0; i < 100 && waitpid(pid, NULL, WNOHANG) == 0; i++)
			nap_ms(NAP_MS);
	}
	kill(-pid, SIGKILL);
	if (!reaped)
		waitpid(pid, NULL, 0);
}

static enum bench_end load_run(struct server *srv, const struct bench_setup *s, struct output *out,
			       struct bench_run *r)
{
	double start = now_s(), until = start + s->timeout_s;
	enum bench_end end = BENCH_OK;
	bool reading = true;
	int fds[2], status;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK)) {
		msg_perror(errno, "cannot make a pipe for the load's output");
		return BENCH_FAILED;
	}
	fcntl(fds[1], F_SETFL, 0);
	pid = load_spawn(s->load, s->load_cpu, fds[1]);
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		msg_perror(pid, "cannot start the load '%s'", s->load);
		return BENCH_FAILED;
	}
	for (;;) {
		struct pollfd pfd = {.fd = fds[0], .events = POLLIN};
		pid_t ended = waitpid(pid, &status, WNOHANG);

		if (ended == pid)
			break;
		if (caught) {
			end = BENCH_INTERRUPTED;
			break;
		}
		if (now_s() > until) {
			msg_error("the load '%s' has not ended after %u s; give it an end, or more "
				  "time with --timeout",
				  s->load, s->timeout_s);
			end = BENCH_FAILED;
			break;
		}
		if (!reading)
			nap_ms(1);
		else if (poll(&pfd, 1, 2) > 0)
			reading = output_read(out, fds[0]);
	}
	r->seconds = now_s() - start;
	if (end == BENCH_OK) {
		r->load_status = exit_status(status);
		while (output_read(out, fds[0]) && out->size < MAX_OUTPUT) {
			struct pollfd pfd = {.fd = fds[0], .events = POLLIN};

			if (poll(&pfd, 1, 0) <= 0)
				break;
		}
	}
	load_stop(pid, end == BENCH_OK);
	close(fds[0]);
	return end;
}

static void count(struct bench_run *r, const struct esca_stats_slot *before,
		  const struct esca_stats_slot *after)
{
	r->counted = after->pid > 0;
	r->turns = after->turns - before->turns;
	r->calls = after->calls - before->calls;
	r->crossings = after->crossings - before->crossings;
	r->deferred = after->deferred - before->deferred;
	r->fused = stats_fused(after) - stats_fused(before);
	r->uring = after->backend == 1;
}

static enum bench_end measure(struct bench_run *r, const struct bench_setup *s, struct server *srv,
			      const struct stats *stats)
{
	struct esca_stats_slot before = {0}, after = {0};
	struct output out = {NULL, 0};
	struct load_result load;
	enum bench_end end;
	uint64_t cpu;

	if (stats)
		stats_total(stats->area, &before);
	cpu = load_tree_cpu_ns(srv->pid);
	end = load_run(srv, s, &out, r);
	r->cpu_ns = (double)(load_tree_cpu_ns(srv->pid) - cpu);
	if (end != BENCH_OK)
		goto out;
	if (server_gone(srv)) {
		say_ended(srv, s->command[0], "under the load");
		end = BENCH_FAILED;
		goto out;
	}
	if (stats) {
		stats_total(stats->area, &after);
		count(r, &before, &after);
	}
	if (out.text && load_parse(&load, out.text, out.size)) {
		memcpy(r->tool, load.tool, sizeof(r->tool));
		r->requests = load.requests;
		r->rps = load.rps;
		r->p50_us = load.p50_us;
		r->p99_us = load.p99_us;
		r->kernel = load.calls;
		r->failed = load.failed;
	}
	if (s->requests) {
		r->requests = s->requests;
		if (!(r->rps > 0) && r->seconds > 0)
			r->rps = (double)s->requests / r->seconds;
	}
	if (r->load_status) {
		msg_error("the load '%s' failed with status %d; try it by hand against the running "
			  "server",
			  s->load, r->load_status);
		end = BENCH_FAILED;
	}
out:
	free(out.text);
	return end;
}

enum bench_end bench_run(struct bench_run *r, const struct bench_setup *s, bool aggregated,
			 bool again)
{
	double until = now_s() + s->timeout_s;
	struct stats stats = {.fd = -1};
	enum bench_end end;
	struct server srv;
	bool died;
	int ret;

	memset(r, 0, sizeof(*r));
	if (aggregated) {
		ret = stats_open(&stats);
		if (ret) {
			msg_perror(ret, "cannot make shared memory for the counters");
			return BENCH_FAILED;
		}
	}
	for (;;) {
		ret = server_start(&srv, s, aggregated ? &stats : NULL);
		if (ret) {
			msg_perror(ret, "cannot start the server '%s'", s->command[0]);
			end = BENCH_FAILED;
			break;
		}
		end = wait_listening(&srv, s, &died);
		if (end == BENCH_OK)
			end = measure(r, s, &srv, aggregated ? &stats : NULL);
		server_stop(&srv);
		/* it did start before: its port may need a moment to become free */
		if (died && again && !caught && now_s() < until) {
			close(srv.log);
			nap_ms(200);
			continue;
		}
		if (died)
			say_ended(&srv, s->command[0],
				  aggregated ? "under libesca.so before it listened"
					     : "before it listened");
		break;
	}
	if (srv.log >= 0)
		close(srv.log);
	stats_close(&stats);
	return caught ? BENCH_INTERRUPTED : end;
}

/* --- our own other commands --- */

enum bench_end bench_child(char **argv, int cpu, int out_fd, int err_fd, unsigned int timeout_s,
			   int *status)
{
	double until = now_s() + 2. * timeout_s + STOP_S;
	struct server child = {.log = -1};
	pid_t parent = getpid();
	bool told = false;

	child.pid = fork();
	if (child.pid < 0) {
		msg_perror(errno, "cannot start esca %s", argv[1]);
		return BENCH_FAILED;
	}
	if (!child.pid) {
		setpgid(0, 0);
		default_signals();
		end_with(parent);
		pin(cpu);
		if (dup2(out_fd, STDOUT_FILENO) < 0 || dup2(err_fd, STDERR_FILENO) < 0)
			_exit(126);
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	while (!child.ended) {
		if (!told && (caught || now_s() > until)) {
			kill(child.pid,
			     SIGINT); /* it ends what it started, as it does at a terminal */
			told = true;
		}
		nap_ms(NAP_MS);
		reap(&child);
	}
	server_stop(&child);
	*status = exit_status(child.status);
	return caught ? BENCH_INTERRUPTED : BENCH_OK;
}

/* --- a network of our own --- */

int bench_isolate(void)
{
	static const char path[] = "/proc/sys/net/ipv4/tcp_congestion_control";
	struct ifreq ifr = {.ifr_name = "lo"};
	int fd, ret = 0;

	if (unshare(CLONE_NEWNET))
		return -errno;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (ioctl(fd, SIOCGIFFLAGS, &ifr))
		ret = -errno;
	ifr.ifr_flags |= IFF_UP;
	if (!ret && ioctl(fd, SIOCSIFFLAGS, &ifr))
		ret = -errno;
	close(fd);
	if (ret)
		return ret;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, "reno", 4) != 4)
		ret = -errno;
	close(fd);
	return ret;
}
