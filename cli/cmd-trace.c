/* SPDX-License-Identifier: MIT */
/*
 * cmd-trace.c - esca trace: start a server, record what it
 * asks of the kernel, and end it when the load is done.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cli/cmd.h>
#include <cli/load.h>
#include <cli/msg.h>
#include <cli/options.h>
#include <cli/recorder.h>
#include <cli/recording.h>
#include <cli/target.h>
#include <cli/tracer.h>

#define BUSY_NS	    2000000u /* how often rings are emptied while calls come, */
#define IDLE_NS	    5000000u /* and while none come: less than it takes to fill one */
#define SYNC_NS	    200000000ull
#define CPU_NS	    1000000000ull
#define PROGRESS_NS 500000000ull
#define LISTEN_NS   20000000ull	    /* between two looks whether the server listens */
#define LISTEN_MAX  120000000000ull /* a server that listens later is not waited for */
#define GRACE_NS    10000000000ull  /* from SIGTERM to SIGKILL */

struct options {
	const char *output;
	const char *load;
	double duration; /* seconds; 0: no limit */
	bool stop_lane;
	bool stacks;
	char **command;
};

/** Where a recording is. */
enum phase {
	PHASE_START,  /* the server starts */
	PHASE_READY,  /* it listens; the load runs, if there is one */
	PHASE_ENDING, /* it was told to end */
};

struct session {
	const struct options *o;
	struct tracer *tracer;
	struct recorder *rec;
	struct trace_writer *w;
	enum phase phase;
	uint64_t start_ns;
	uint64_t ready_ns;
	uint64_t end_ns; /* when it was told to end */
	uint64_t next_listen, next_sync, next_cpu, next_progress;
	pid_t load; /* 0: not running */
	bool load_ran;
	int load_status;
	bool we_ended;	    /* the server, because load or time were over */
	unsigned int asked; /* signals to end that came to us */
	bool told_error, told_cost;
	int fail; /* exit status that a failure of our own gives; 0: none */
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;
	char *end;

	switch (key) {
	case 'o':
		o->output = arg;
		return 0;
	case 'l':
		o->load = arg;
		return 0;
	case 'd':
		o->duration = strtod(arg, &end);
		if (*end || end == arg || !(o->duration > 0) || o->duration > 1e6)
			argp_error(state, "--duration is a number of seconds, not '%s'", arg);
		return 0;
	case 'm':
		if (strcmp(arg, "ring") && strcmp(arg, "ptrace"))
			argp_error(state, "--method is ring or ptrace, not '%s'", arg);
		o->stop_lane = !strcmp(arg, "ptrace");
		return 0;
	case 'n':
		o->stacks = false;
		return 0;
	}
	return options_server(key, state, &o->command);
}

/* --- facts --- */

static void first_line(const char *path, const char *key, char *buf, size_t size)
{
	FILE *f = fopen(path, "re");
	char line[512];

	buf[0] = '\0';
	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		const char *value = line;

		if (key && strncmp(line, key, strlen(key)))
			continue;
		if (key) {
			value = strchr(line, ':');
			value = value ? value + 1 + strspn(value + 1, " \t") : line;
		}
		snprintf(buf, size, "%.*s", (int)strcspn(value, "\n"), value);
		break;
	}
	fclose(f);
}

static void put_facts(struct session *s)
{
	char buf[512];
	struct utsname u;
	char *text = NULL;
	size_t size = 0;
	FILE *f;

	recorder_check(s->rec, trace_put_fact(s->w, "esca", PACKAGE_VERSION));
	if (!uname(&u)) {
		snprintf(buf, sizeof(buf), "%s %s %s", u.sysname, u.release, u.machine);
		recorder_check(s->rec, trace_put_fact(s->w, "kernel", buf));
	}
	first_line("/proc/cpuinfo", "model name", buf, sizeof(buf));
	recorder_check(s->rec, trace_put_fact(s->w, "cpu", buf));
	first_line("/sys/devices/system/cpu/vulnerabilities/meltdown", NULL, buf, sizeof(buf));
	recorder_check(s->rec, trace_put_fact(s->w, "meltdown", *buf ? buf : "unknown"));
	snprintf(buf, sizeof(buf), "%ld", sysconf(_SC_NPROCESSORS_ONLN));
	recorder_check(s->rec, trace_put_fact(s->w, "cores", buf));
	recorder_check(s->rec, trace_put_fact(s->w, "method", s->o->stop_lane ? "ptrace" : "ring"));
	f = open_memstream(&text, &size);
	if (!f)
		return;
	for (char **a = s->o->command; *a; a++)
		fprintf(f, "%s%s", a == s->o->command ? "" : " ", *a);
	fclose(f);
	recorder_check(s->rec, trace_put_fact(s->w, "command", text));
	free(text);
	if (s->o->load)
		recorder_check(s->rec, trace_put_fact(s->w, "load", s->o->load));
}

static void put_cost(struct session *s)
{
	double ns = recorder_cost_ns(s->rec);
	char buf[32];

	if (s->told_cost || ns <= 0)
		return;
	snprintf(buf, sizeof(buf), "%.1f", ns);
	recorder_check(s->rec, trace_put_fact(s->w, "record_ns", buf));
	s->told_cost = true;
}

static void put_mark(struct session *s, enum trace_mark_kind kind, uint32_t value)
{
	struct trace_mark m = {.kind = kind, .value = value, .mono_ns = recorder_now(s->rec)};

	/* What was called before the mark is in the file before it. */
	recorder_sync(s->rec);
	recorder_check(s->rec, trace_put_mark(s->w, &m));
	tracer_cpu(s->tracer);
}

/* --- the course of a recording --- */

static void end_server(struct session *s, uint64_t now)
{
	s->phase = PHASE_ENDING;
	s->end_ns = now;
	s->we_ended = true;
	tracer_kill(s->tracer, SIGTERM);
}

static void end_load(struct session *s)
{
	if (s->load)
		kill(-s->load, SIGTERM);
}

static void other_ended(void *arg, pid_t pid, int status)
{
	struct session *s = arg;

	if (!s->load || pid != s->load)
		return;
	s->load = 0;
	s->load_ran = true;
	s->load_status = status;
	put_mark(s, TRACE_MARK_LOAD_END, (uint32_t)status);
	if (s->phase == PHASE_READY)
		end_server(s, recorder_now(s->rec));
}

static void begin_load(struct session *s, uint64_t now)
{
	pid_t pid;

	put_mark(s, TRACE_MARK_LOAD_BEGIN, 0);
	pid = load_spawn(s->o->load, -1, -1);
	if (pid > 0) {
		s->load = pid;
		return;
	}
	msg_perror((int)pid, "cannot run the load '%s'", s->o->load);
	s->fail = ESCA_EXIT_FAILED;
	end_server(s, now);
}

static void starting(struct session *s, uint64_t now)
{
	if (now < s->next_listen)
		return;
	s->next_listen = now + LISTEN_NS;
	if (load_listening(tracer_pid(s->tracer)) == 1) {
		s->phase = PHASE_READY;
		s->ready_ns = now;
		put_mark(s, TRACE_MARK_READY, 0);
		if (s->o->load)
			begin_load(s, now);
	} else if (s->o->load && now - s->start_ns > LISTEN_MAX) {
		msg_error("'%s' does not listen on any socket after %d seconds, so the load was "
			  "not started; check the server's configuration",
			  s->o->command[0], (int)(LISTEN_MAX / 1000000000));
		s->fail = ESCA_EXIT_FAILED;
		end_server(s, now);
	}
}

static void check_time(struct session *s, uint64_t now)
{
	uint64_t from = s->o->load ? s->ready_ns : s->start_ns;

	if (s->phase == PHASE_ENDING) {
		if (now - s->end_ns > GRACE_NS)
			tracer_kill_all(s->tracer);
		return;
	}
	if (!s->o->duration || !from || (double)(now - from) < s->o->duration * 1e9)
		return;
	if (s->load) {
		msg_error("the load '%s' did not end within %g seconds and was stopped; give it a "
			  "shorter run or a longer --duration",
			  s->o->load, s->o->duration);
		s->fail = ESCA_EXIT_MISMATCH;
	}
	end_load(s);
	end_server(s, now);
}

static void show_progress(struct session *s, uint64_t now)
{
	msg_progress("%s: %llu calls, %.1f MB, %.0f s",
		     s->phase == PHASE_START   ? "starting"
		     : s->phase == PHASE_READY ? s->load ? "under load" : "recording"
					       : "ending",
		     (unsigned long long)trace_writer_calls(s->w),
		     (double)trace_writer_bytes(s->w) / 1e6, (double)(now - s->start_ns) / 1e9);
}

static void check_writing(struct session *s)
{
	int err = recorder_error(s->rec);

	if (!err || s->told_error)
		return;
	s->told_error = true;
	s->fail = ESCA_EXIT_FAILED;
	msg_perror(err,
		   "cannot write on to '%s', so the recording ends here while the server goes on; "
		   "make room or give another file with -o",
		   s->o->output);
}

/* What is due at @now besides the server's stops. */
static void tick(struct session *s, uint64_t now)
{
	if (s->phase == PHASE_START)
		starting(s, now);
	check_time(s, now);
	if (now >= s->next_sync) {
		s->next_sync = now + SYNC_NS;
		put_cost(s);
		recorder_sync(s->rec);
	}
	if (now >= s->next_cpu) {
		s->next_cpu = now + CPU_NS;
		tracer_cpu(s->tracer);
	}
	if (now >= s->next_progress) {
		s->next_progress = now + PROGRESS_NS;
		show_progress(s, now);
	}
	check_writing(s);
}

/* A signal that is meant for the server. What the terminal sends goes to the whole foreground
 * group: the server has it already. */
static void pass_on(struct session *s, const siginfo_t *si)
{
	bool has_it = si->si_code == SI_KERNEL && getpgid(tracer_pid(s->tracer)) == getpgrp();

	end_load(s);
	if (++s->asked > 2)
		tracer_kill_all(s->tracer);
	else if (!has_it)
		tracer_kill(s->tracer, si->si_signo);
}

static void wait_for_more(struct session *s, const sigset_t *wait, bool busy)
{
	struct timespec ts = {.tv_nsec = busy ? BUSY_NS : IDLE_NS};
	siginfo_t si;

	if (sigtimedwait(wait, &si, &ts) > 0 && si.si_signo != SIGCHLD)
		pass_on(s, &si);
}

static void follow(struct session *s, const sigset_t *wait)
{
	uint64_t last = 0;
	bool busy = false;

	s->start_ns = recorder_now(s->rec);
	for (;;) {
		uint64_t now;

		tracer_pump(s->tracer);
		if (!tracer_alive(s->tracer))
			break;
		now = recorder_now(s->rec);
		if (now - last >= (busy ? BUSY_NS : IDLE_NS) * 3 / 4) {
			busy = recorder_drain(s->rec) > 0;
			last = now;
		}
		tick(s, now);
		wait_for_more(s, wait, busy);
	}
}

/* The load outlives the server only if that ended first. */
static void reap_load(struct session *s)
{
	bool alive = s->load;
	int status;

	if (!alive)
		return;
	end_load(s);
	for (unsigned int i = 0; i < 200 && waitpid(s->load, &status, WNOHANG) != s->load; i++) {
		if (i == 100)
			kill(-s->load, SIGKILL);
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	s->load = 0;
}

static void close_recording(struct session *s)
{
	put_cost(s);
	recorder_sync(s->rec);
	tracer_symbols(s->tracer);
	recorder_check(s->rec, trace_end(s->w, recorder_now(s->rec)));
	check_writing(s);
	msg_progress_end();
}

static int exit_of(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static const char *how_ended(int status)
{
	static char buf[64];

	if (WIFSIGNALED(status))
		snprintf(buf, sizeof(buf), "was ended by signal %d", WTERMSIG(status));
	else
		snprintf(buf, sizeof(buf), "ended with status %d", WEXITSTATUS(status));
	return buf;
}

/* What came of it, as a sentence where it is not what was asked for, and as exit status. */
static int verdict(struct session *s, const struct tracer_end *end, bool load_cut)
{
	int own = exit_of(end->status);

	if (end->filter_err) {
		msg_perror(end->filter_err,
			   "the kernel refuses the seccomp filter that recording needs; run as "
			   "root, or allow seccomp to this container");
		return ESCA_EXIT_FAILED;
	}
	if (end->exec_err) {
		msg_perror(end->exec_err, "cannot start '%s'", s->o->command[0]);
		return end->exec_err == ENOENT ? ESCA_EXIT_NOENT : ESCA_EXIT_NOEXEC;
	}
	if (s->fail)
		return s->fail;
	if (s->asked)
		return own;
	if (s->o->load && s->phase == PHASE_START) {
		msg_error("the server %s before it listened, so the load was not started; its own "
			  "message is above",
			  how_ended(end->status));
		return own ? own : ESCA_EXIT_FAILED;
	}
	if (load_cut) {
		msg_error("the server %s while the load was running", how_ended(end->status));
		return own ? own : ESCA_EXIT_FAILED;
	}
	if (s->load_ran && s->load_status) {
		msg_error("the load '%s' %s", s->o->load, how_ended(s->load_status));
		return ESCA_EXIT_MISMATCH;
	}
	return s->we_ended ? ESCA_EXIT_OK : own;
}

static void say_refused(int err, enum tracer_step step, const char *server)
{
	char pid[16];

	switch (step) {
	case TRACER_STEP_SEIZE:
		first_line("/proc/self/status", "TracerPid:", pid, sizeof(pid));
		if (err == -EPERM && atoi(pid))
			msg_error("cannot trace '%s', because esca and what it starts is traced "
				  "already, by process %s; run esca without strace or a debugger "
				  "around it",
				  server, pid);
		else if (err == -EPERM)
			msg_error("this host does not let esca trace '%s'; in a container add "
				  "--cap-add SYS_PTRACE, on a host set kernel.yama.ptrace_scope to "
				  "1 or less, or run as root",
				  server);
		else
			msg_perror(err, "cannot trace '%s'", server);
		break;
	case TRACER_STEP_FORK:
		msg_perror(err, "cannot start '%s'", server);
		break;
	case TRACER_STEP_SETUP:
		msg_perror(err, "cannot prepare tracing");
		break;
	}
}

static int record(struct session *s, const struct target *t, const char *library)
{
	sigset_t wait, mask;
	struct tracer_opts to = {
		.path = t->path,
		.argv = s->o->command,
		.library = library,
		.stacks = s->o->stacks,
		.mask = &mask,
		.other = other_ended,
		.arg = s,
	};
	struct tracer_end end;
	enum tracer_step step;
	bool load_cut;
	int err;

	sigemptyset(&wait);
	sigaddset(&wait, SIGCHLD);
	sigaddset(&wait, SIGINT);
	sigaddset(&wait, SIGTERM);
	sigaddset(&wait, SIGHUP);
	sigaddset(&wait, SIGQUIT);
	sigprocmask(SIG_BLOCK, &wait, &mask);
	signal(SIGCHLD, SIG_DFL); /* ignored, it would reap for us */
	signal(SIGPIPE, SIG_IGN); /* the output may be a pipe */
	put_facts(s);
	err = tracer_start(&s->tracer, s->rec, &to, &step);
	if (err) {
		say_refused(err, step, t->path);
		return ESCA_EXIT_FAILED;
	}
	follow(s, &wait);
	load_cut = s->load && s->phase != PHASE_ENDING;
	reap_load(s);
	close_recording(s);
	tracer_end(s->tracer, &end);
	if (recorder_lost(s->rec))
		msg_warn("%llu calls were lost because the rings were full; the report says where",
			 (unsigned long long)recorder_lost(s->rec));
	if (library && !end.exec_err && !end.filter_err && !tracer_ring_live(s->tracer) && !s->fail)
		msg_warn("libesca.so was not loaded into '%s', so every call was stopped; times "
			 "and batches are not the server's own",
			 t->path);
	err = verdict(s, &end, load_cut);
	tracer_free(s->tracer);
	return err;
}

/* Can it be traced, and by which lane? Return: an exit status, 0 to go on. */
static int choose_lane(struct options *o, struct target *t, char *library, size_t size)
{
	target_inspect(t, o->command[0]);
	if (t->kind < TARGET_OK) {
		msg_error("%s", target_sentence(t));
		return target_exit_status(t);
	}
	if (t->kind == TARGET_PRIVILEGED && geteuid()) {
		msg_error("'%s' is setuid, setgid or has file capabilities, and the kernel does "
			  "not let a user trace it; run esca trace as root",
			  t->path);
		return ESCA_EXIT_FAILED;
	}
	if (t->kind != TARGET_OK && !o->stop_lane) {
		msg_warn("libesca.so cannot be loaded into '%s', so every call is stopped; times "
			 "and batches are not the server's own",
			 t->path);
		o->stop_lane = true;
	}
	if (!o->stop_lane && target_library(library, size)) {
		msg_error("cannot find libesca.so beside this esca or in '%s'; install esca again "
			  "with 'make install'",
			  ESCA_LIBDIR);
		return ESCA_EXIT_FAILED;
	}
	if (!o->stop_lane && strpbrk(library, " :")) {
		msg_error("cannot preload '%s', because the loader splits paths at spaces and "
			  "colons; install esca in a folder without them",
			  library);
		return ESCA_EXIT_FAILED;
	}
	return 0;
}

static int run(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"output", 'o', "FILE", 0, "Record into FILE (default: " RECORDING_DEFAULT ")", 0},
		{"load", 'l', "CMD", 0,
		 "Run the shell command CMD when the server listens; when it is done, end the "
		 "server with SIGTERM",
		 0},
		{"duration", 'd', "SECONDS", 0,
		 "End the server with SIGTERM after SECONDS; with --load, and the load with it, if "
		 "that takes longer",
		 0},
		{"method", 'm', "METHOD", 0,
		 "ring (default): calls are recorded inside the server; ptrace: every call is "
		 "stopped, which works for any program and falsifies times and batches",
		 0},
		{"no-stacks", 'n', NULL, 0, "Record no call stacks", 0},
		{0},
	};
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.args_doc = "[--] COMMAND [ARG...]",
		.doc = "Start a server and record each system call it makes, with its threads and "
		       "children.\v"
		       "Exit status: the server's own, 128+N where signal N ended it; 0 where esca "
		       "ended it after the load or the duration. 1 the load failed, 2 esca could "
		       "not record, 64 wrong command line, 126 the server cannot be executed, 127 "
		       "there is no such program.",
	};
	struct options o = {.output = RECORDING_DEFAULT, .stacks = true};
	struct session s = {.o = &o};
	char library[PATH_MAX];
	struct target t;
	int fd, ret;

	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &o);
	ret = choose_lane(&o, &t, library, sizeof(library));
	if (ret)
		return ret;
	fd = open(o.output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0) {
		msg_perror(errno,
			   "cannot write the recording to '%s', so the server was not started; "
			   "give another file with -o",
			   o.output);
		return ESCA_EXIT_FAILED;
	}
	ret = trace_writer_new(&s.w, fd);
	if (!ret)
		ret = recorder_new(&s.rec, s.w, !o.stop_lane, o.stacks);
	if (ret) {
		msg_perror(ret, "cannot begin a recording in '%s'", o.output);
		ret = ESCA_EXIT_FAILED;
	} else {
		ret = record(&s, &t, o.stop_lane ? NULL : library);
	}
	recorder_free(s.rec);
	trace_writer_free(s.w);
	if (close(fd) && !s.told_error) {
		msg_perror(errno, "cannot finish the recording in '%s'", o.output);
		ret = ESCA_EXIT_FAILED;
	}
	return ret;
}

const struct cmd cmd_trace = {
	.name = "trace",
	.help = "record what a server asks of the kernel",
	.run = run,
};
