/* SPDX-License-Identifier: MIT */
/*
 * load.c - start a server's load command, know when the
 * server listens, and read what the load tool measured.
 */
#include "config.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cli/load.h>

#define MAX_TREE  4096
#define MAX_LOADS 64

/*
 * The process groups load_spawn() made: what of them
 * comes back to us as an orphan is not the server's.
 */
static pid_t load_groups[MAX_LOADS];
static unsigned int load_ngroups;

/* --- the tree of processes --- */

struct proc {
	pid_t pid, ppid, pgrp;
	uint64_t dead_ticks; /* user and system time of children that were waited for */
	bool in;
};

static bool proc_read(struct proc *p, pid_t pid)
{
	unsigned long long cutime, cstime;
	char path[64], buf[1024], *s;
	int fd, ppid, pgrp;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (n <= 0)
		return false;
	buf[n] = '\0';
	s = strrchr(buf, ')'); /* the name before it may hold anything */
	if (!s || sscanf(s + 1, " %*c %d %d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %llu %llu",
			 &ppid, &pgrp, &cutime, &cstime) != 4)
		return false;
	*p = (struct proc){.pid = pid, .ppid = ppid, .pgrp = pgrp, .dead_ticks = cutime + cstime};
	return true;
}

static bool is_load_group(pid_t pgrp)
{
	unsigned int n = load_ngroups < MAX_LOADS ? load_ngroups : MAX_LOADS;

	for (unsigned int i = 0; i < n; i++)
		if (load_groups[i] == pgrp)
			return true;
	return false;
}

/*
 * All processes that descend from @pid, and the orphans
 * we have inherited, first in @all. Return: their number.
 */
static size_t tree_read(pid_t pid, struct proc *all, size_t max)
{
	DIR *dir = opendir("/proc");
	int subreaper = 0;
	pid_t self = getpid();
	size_t n = 0, count = 0;
	struct dirent *de;
	bool again;

	if (!dir)
		return 0;
	prctl(PR_GET_CHILD_SUBREAPER, &subreaper, 0, 0, 0);
	while (n < max && (de = readdir(dir)))
		if (isdigit((unsigned char)de->d_name[0]) && proc_read(&all[n], atoi(de->d_name)))
			n++;
	closedir(dir);
	do {
		again = false;
		for (size_t i = 0; i < n; i++) {
			bool in = all[i].pid == pid;

			if (all[i].in || all[i].pid == self)
				continue;
			if (subreaper && all[i].ppid == self && !is_load_group(all[i].pgrp))
				in = true;
			for (size_t j = 0; !in && j < n; j++)
				in = all[j].in && all[j].pid == all[i].ppid;
			all[i].in = in;
			again |= in;
		}
	} while (again);
	for (size_t i = 0; i < n; i++)
		if (all[i].in)
			all[count++] = all[i];
	return count;
}

size_t load_tree(pid_t pid, pid_t *pids, size_t max)
{
	struct proc *all = calloc(MAX_TREE, sizeof(*all));
	size_t n = all ? tree_read(pid, all, MAX_TREE) : 0;

	if (n > max)
		n = max;
	for (size_t i = 0; i < n; i++)
		pids[i] = all[i].pid;
	free(all);
	return n;
}

/*
 * The process CPU clock counts threads that have ended too and is exact to the ns for those that
 * run now; the same sum as /proc/PID/task/TID/schedstat otherwise. What was waited for is only
 * known in ticks.
 */
uint64_t load_tree_cpu_ns(pid_t pid)
{
	struct proc *all = calloc(MAX_TREE, sizeof(*all));
	size_t n = all ? tree_read(pid, all, MAX_TREE) : 0;
	uint64_t tick_ns = 1000000000ull / (uint64_t)sysconf(_SC_CLK_TCK);
	uint64_t ns = 0;

	for (size_t i = 0; i < n; i++) {
		struct timespec ts;
		clockid_t clock;

		ns += all[i].dead_ticks * tick_ns;
		if (!clock_getcpuclockid(all[i].pid, &clock) && !clock_gettime(clock, &ts))
			ns += (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
	}
	free(all);
	return ns;
}

/* --- does it listen --- */

struct inodes {
	uint64_t *ino;
	size_t n, room;
};

static int inodes_add(struct inodes *set, uint64_t ino)
{
	if (set->n == set->room) {
		size_t room = set->room ? 2 * set->room : 64;
		uint64_t *p = realloc(set->ino, room * sizeof(*p));

		if (!p)
			return -ENOMEM;
		set->ino = p;
		set->room = room;
	}
	set->ino[set->n++] = ino;
	return 0;
}

static int sockets_of(pid_t pid, struct inodes *set)
{
	char path[64], link[64];
	struct dirent *de;
	int ret = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT || errno == ESRCH ? 0 : -errno;
	while (!ret && (de = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), de->d_name, link, sizeof(link) - 1);
		uint64_t ino;

		if (n <= 0)
			continue;
		link[n] = '\0';
		if (sscanf(link, "socket:[%" SCNu64 "]", &ino) == 1)
			ret = inodes_add(set, ino);
	}
	closedir(dir);
	return ret;
}

/* Is one of @set a listening socket in @pid's network namespace, by /proc/PID/net/@table? */
static bool table_listens(pid_t pid, const char *table, const struct inodes *set)
{
	bool is_unix = !strcmp(table, "unix"), found = false;
	char path[64], *line = NULL;
	size_t size = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/net/%s", (int)pid, table);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!found && getline(&line, &size, f) > 0) {
		unsigned int state = 0, flags = 0;
		uint64_t ino = 0;

		if (is_unix) {
			/*
			 * Num: RefCount Protocol Flags Type St
			 * Inode Path; __SO_ACCEPTCON is 1 << 16
			 */
			if (sscanf(line, "%*s %*x %*x %x %*x %*x %" SCNu64, &flags, &ino) != 2 ||
			    !(flags & 0x10000))
				continue;
		} else {
			/*
			 * sl local remote st tx:rx tr:when retrnsmt
			 * uid timeout inode; TCP_LISTEN is 10
			 */
			if (sscanf(line, "%*s %*s %*s %x %*s %*s %*s %*s %*s %" SCNu64, &state,
				   &ino) != 2 ||
			    state != 10)
				continue;
		}
		for (size_t i = 0; !found && i < set->n; i++)
			found = set->ino[i] == ino;
	}
	free(line);
	fclose(f);
	return found;
}

int load_listening(pid_t pid)
{
	static const char *const tables[] = {"tcp", "tcp6", "unix"};
	struct proc *all = calloc(MAX_TREE, sizeof(*all));
	int ret = all ? 0 : -ENOMEM;
	size_t n = all ? tree_read(pid, all, MAX_TREE) : 0;

	if (all && !n)
		ret = -ESRCH;
	/* A process that we may not look into matters only if no other one listens. */
	for (size_t i = 0; ret <= 0 && i < n; i++) {
		struct inodes set = {NULL, 0, 0};
		int err = sockets_of(all[i].pid, &set);

		if (err)
			ret = err;
		for (unsigned int t = 0; ret <= 0 && set.n && t < 3; t++)
			if (table_listens(all[i].pid, tables[t], &set))
				ret = 1;
		free(set.ino);
	}
	free(all);
	return ret;
}

/* --- the load command --- */

/* The guard's own part: @shell runs. What comes to the group comes to the shell too; only that our
 * caller is gone (then @parent is not our parent) is ours to tell the group. */
static _Noreturn void guard(pid_t shell, pid_t parent, const sigset_t *signals)
{
	bool told = false;
	sigset_t own;
	int status;

	while (waitpid(shell, &status, WNOHANG) != shell) {
		if (!told && getppid() != parent) {
			kill(0, SIGTERM);
			told = true;
		}
		sigwaitinfo(signals, NULL);
	}
	if (!WIFSIGNALED(status))
		_exit(WEXITSTATUS(status));
	/* End as it did, without a second core. */
	prctl(PR_SET_DUMPABLE, 0);
	kill(getpid(), WTERMSIG(status));
	sigemptyset(&own);
	sigaddset(&own, WTERMSIG(status));
	sigprocmask(SIG_UNBLOCK, &own, NULL);
	_exit(128 + WTERMSIG(status));
}

/*
 * PR_SET_PDEATHSIG reaches a child of ours and not its children, and a load is often a shell with a
 * tool below it. So between us and the shell stands a guard that leads their process group, gets
 * the signal and passes it on to all of them.
 */
pid_t load_spawn(const char *cmd, int cpu, int out_fd)
{
	pid_t parent = getpid(), shell, pid = fork();
	sigset_t all, none;

	if (pid < 0)
		return -errno;
	if (pid) {
		setpgid(pid, pid); /* in the child as well: whoever comes first */
		load_groups[load_ngroups++ % MAX_LOADS] = pid;
		return pid;
	}
	setpgid(0, 0);
	for (int sig = 1; sig < NSIG; sig++)
		if (sig != SIGKILL && sig != SIGSTOP)
			signal(sig, SIG_DFL);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent) /* it was gone before it could be asked for */
		_exit(127);
	if (out_fd >= 0 && dup2(out_fd, STDOUT_FILENO) < 0)
		_exit(126);
	close_range(STDERR_FILENO + 1, ~0u, 0); /* the guard never executes a program */
	shell = fork();
	if (shell < 0)
		_exit(127);
	if (shell)
		guard(shell, parent, &all);
	if (cpu >= 0) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET((size_t)cpu, &set);
		sched_setaffinity(0, sizeof(set), &set);
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execl("/bin/sh", "sh", "-c", cmd, (char *)NULL);
	_exit(127);
}

/* --- what the load tool measured --- */

struct parse {
	struct load_result *r;
	double seconds; /* requests / rps, over all the tests in the output */
	double weight;	/* sum of 1/rps where the tool does not say how many requests */
	unsigned int unweighted;
	uint64_t requests; /* of the test being read */
	bool percentiles;  /* redis-benchmark: the next line has the latencies */
	int csv_rps, csv_p99;
};

static void is_tool(struct parse *p, const char *name)
{
	snprintf(p->r->tool, sizeof(p->r->tool), "%s", name);
}

static bool from(const struct parse *p, const char *name)
{
	return !strcmp(p->r->tool, name);
}

static void worst_p99(struct parse *p, double us)
{
	if (us > p->r->p99_us)
		p->r->p99_us = us;
}

/* One test has ended: @rps is what the tool says of it. */
static void test_done(struct parse *p, double rps)
{
	if (!(rps > 0))
		return;
	if (p->requests) {
		p->r->requests += p->requests;
		p->seconds += (double)p->requests / rps;
	} else {
		p->weight += 1 / rps;
		p->unweighted++;
	}
	p->requests = 0;
}

static bool parse_wrk(struct parse *p, const char *line)
{
	unsigned long long n, c, rd, wr, to;
	double v;
	char unit[8];

	if (sscanf(line, "Running %*s test @ %7s", unit) == 1) {
		is_tool(p, "wrk");
		return true;
	}
	if (!from(p, "wrk"))
		return false;
	if (sscanf(line, " 99%*[.0]%% %lf%7[a-z]", &v, unit) == 2 ||
	    sscanf(line, " 99%% %lf%7[a-z]", &v, unit) == 2) {
		if (!strcmp(unit, "us"))
			worst_p99(p, v);
		else if (!strcmp(unit, "ms"))
			worst_p99(p, v * 1e3);
		else if (!strcmp(unit, "s"))
			worst_p99(p, v * 1e6);
		else if (!strcmp(unit, "m"))
			worst_p99(p, v * 60e6);
	} else if (sscanf(line, " %llu requests in %7[0-9.]", &n, unit) == 2) {
		p->requests = n;
	} else if (sscanf(line, " Socket errors: connect %llu, read %llu, write %llu, timeout %llu",
			  &c, &rd, &wr, &to) == 4) {
		p->r->failed += c + rd + wr + to;
	} else if (sscanf(line, " Non-2xx or 3xx responses: %llu", &n) == 1) {
		p->r->failed += n;
	} else if (sscanf(line, "Requests/sec: %lf", &v) == 1) {
		test_done(p, v);
	}
	return true;
}

static bool parse_ab(struct parse *p, const char *line)
{
	unsigned long long n;
	double v;

	if (!strncmp(line, "This is ApacheBench", 19)) {
		is_tool(p, "ab");
		return true;
	}
	if (!from(p, "ab"))
		return false;
	if (sscanf(line, "Complete requests: %llu", &n) == 1)
		p->requests = n;
	else if (sscanf(line, "Failed requests: %llu", &n) == 1)
		p->r->failed += n;
	else if (sscanf(line, "Non-2xx responses: %llu", &n) == 1)
		p->r->failed += n;
	else if (sscanf(line, "Requests per second: %lf", &v) == 1)
		test_done(p, v);
	else if (sscanf(line, " 99%% %lf", &v) == 1)
		worst_p99(p, v * 1e3); /* whole ms */
	return true;
}

/* "SET","79051.38","0.146", ...: field @want of @line as a number; negative if there is none. */
static double csv_field(const char *line, int want)
{
	for (int i = 0; i < want; i++) {
		line = strchr(line, ',');
		if (!line)
			return -1;
		line++;
	}
	return *line == '"' ? atof(line + 1) : -1;
}

static bool parse_redis(struct parse *p, const char *line)
{
	double v, avg, min, p50, p95, p99;
	unsigned long long n;
	const char *s;

	if (!strncmp(line, "\"test\",\"rps\"", 12)) {
		int i = 0;

		is_tool(p, "redis-benchmark");
		p->csv_rps = 1;
		for (s = line; s; s = strchr(s, ','), s = s ? s + 1 : s, i++)
			if (!strncmp(s, "\"p99_latency_ms\"", 16))
				p->csv_p99 = i;
		return true;
	}
	if (p->csv_rps && *line == '"') {
		test_done(p, csv_field(line, p->csv_rps));
		if (p->csv_p99)
			worst_p99(p, csv_field(line, p->csv_p99) * 1e3);
		return true;
	}
	if (sscanf(line, " %llu requests completed in %lf seconds", &n, &v) == 2) {
		is_tool(p, "redis-benchmark");
		p->requests = n;
		return true;
	}
	s = strstr(line, " requests per second, p50=");
	if (s) {
		s = strrchr(line, ':'); /* "SET: 67567.57 requests per second, p50=0.159 msec" */
		if (s && sscanf(s, ": %lf", &v) == 1) {
			is_tool(p, "redis-benchmark");
			test_done(p, v);
		}
		return true;
	}
	if (!strncmp(line, "Error from server", 17)) {
		is_tool(p, "redis-benchmark");
		p->r->failed++;
		return true;
	}
	if (!from(p, "redis-benchmark"))
		return false;
	if (sscanf(line, " throughput summary: %lf requests per second", &v) == 1) {
		test_done(p, v);
	} else if (strstr(line, " p99 ") && strstr(line, " avg ")) {
		p->percentiles = true;
	} else if (p->percentiles) {
		p->percentiles = false;
		if (sscanf(line, " %lf %lf %lf %lf %lf", &avg, &min, &p50, &p95, &p99) == 5)
			worst_p99(p, p99 * 1e3);
	}
	return true;
}

/* The one line of tests/bench/load. */
static bool parse_own(struct parse *p, const char *line)
{
	json_t *j =
		strncmp(line, "{\"tool\": \"esca-load\"", 20) ? NULL : json_loads(line, 0, NULL);
	json_int_t n, failed, calls = 0;
	double rps, p50, p99;

	if (!j)
		return false;
	if (!json_unpack(j, "{s:I, s:F, s:F, s:F, s:I, s?I}", "requests", &n, "rps", &rps, "p50_us",
			 &p50, "p99_us", &p99, "failed", &failed, "crossings", &calls) &&
	    n >= 0 && failed >= 0 && calls >= 0) {
		is_tool(p, "esca-load");
		p->requests = (uint64_t)n;
		p->r->failed += (uint64_t)failed;
		p->r->calls += (uint64_t)calls;
		p->r->p50_us = p50;
		worst_p99(p, p99);
		test_done(p, rps);
	}
	json_decref(j);
	return true;
}

bool load_parse(struct load_result *r, const char *text, size_t size)
{
	struct parse p = {.r = r};
	const char *end = text + size;

	memset(r, 0, sizeof(*r));
	while (text < end) {
		const char *eol = text;
		char line[512];
		size_t len;

		while (eol < end && *eol != '\n' && *eol != '\r')
			eol++;
		len = (size_t)(eol - text);
		if (len >= sizeof(line))
			len = sizeof(line) - 1;
		memcpy(line, text, len);
		line[len] = '\0';
		if (!parse_own(&p, line) && !parse_wrk(&p, line) && !parse_ab(&p, line))
			parse_redis(&p, line);
		text = eol + 1;
	}
	/* Only some of the tests in the output told their number: then no total is known. */
	if (p.unweighted && p.seconds > 0)
		r->requests = 0;
	if (p.seconds > 0 && !p.unweighted)
		r->rps = (double)r->requests / p.seconds;
	else if (p.weight > 0)
		r->rps = p.unweighted / p.weight;
	return r->tool[0] && (r->rps > 0 || r->failed);
}
