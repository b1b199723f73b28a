/* SPDX-License-Identifier: MIT */
/* cmd-run.c - esca run: relaunch a server under libesca.so, in mode run. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cli/cmd.h>
#include <cli/kernel-count.h>
#include <cli/msg.h>
#include <cli/options.h>
#include <cli/output.h>
#include <cli/plan.h>
#include <cli/reach.h>
#include <cli/stats.h>
#include <cli/target.h>

enum {
	KEY_COUNT = 256
};

struct options {
	struct plan_options plan;
	const char *stats, *recording;
	bool verbose, count_kernel;
	char **command;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &o->plan;
		return 0;
	case 's':
		o->stats = arg;
		return 0;
	case 'r':
		o->recording = arg;
		return 0;
	case KEY_COUNT:
		o->count_kernel = true;
		return 0;
	case ARGP_KEY_SUCCESS:
		if (o->count_kernel && !o->stats)
			argp_error(state, "--count-kernel needs --stats, where its count goes");
		return 0;
	case 'v':
		o->verbose = true;
		return 0;
	}
	return options_server(key, state, &o->command);
}

/* The signals that a server's admin sends; we hand them on. */
static const int forwarded[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH};

struct child {
	pid_t pid; /* the server as we started it */
	bool ended;
	int status; /* its wait status once it has ended */
};

/* To the server; where that went into the background, to what it left to us. */
static void forward(const struct child *c, int sig)
{
	char path[64], *word, *save = NULL, list[4096];
	size_t n;
	FILE *f;

	if (!c->ended) {
		kill(c->pid, sig);
		return;
	}
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	f = fopen(path, "re");
	if (!f)
		return;
	n = fread(list, 1, sizeof(list) - 1, f);
	fclose(f);
	list[n] = '\0';
	for (word = strtok_r(list, " ", &save); word; word = strtok_r(NULL, " ", &save))
		if (atoi(word) > 1)
			kill(atoi(word), sig);
}

/* Return: false when nothing of the server is left. */
static bool reap(struct child *c)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == c->pid) {
			c->ended = true;
			c->status = status;
		}
	return !(pid < 0 && errno == ECHILD);
}

/* @count: NULL, or what counts the server's calls from its first on. */
static int start(struct child *c, const struct target *t, char **command, const sigset_t *mask,
		 struct kernel_count *count)
{
	int err = 0, report[2], go[2];
	char byte = 0;

	if (pipe2(report, O_CLOEXEC))
		return -errno;
	if (pipe2(go, O_CLOEXEC)) {
		err = errno;
		close(report[0]);
		close(report[1]);
		return -err;
	}
	c->ended = false;
	c->pid = fork();
	if (c->pid < 0) {
		err = errno;
		close(report[0]);
		close(report[1]);
		close(go[0]);
		close(go[1]);
		return -err;
	}
	if (!c->pid) {
		sigprocmask(SIG_SETMASK, mask, NULL);
		close(go[1]);
		if (read(go[0], &byte, 1) < 0)
			_exit(ESCA_EXIT_FAILED);
		execv(t->path, command);
		err = errno;
		if (write(report[1], &err, sizeof(err)) < 0)
			_exit(ESCA_EXIT_FAILED);
		_exit(ESCA_EXIT_NOEXEC);
	}
	close(report[1]);
	close(go[0]);
	if (count)
		kernel_count_open(count, c->pid);
	close(go[1]); /* which lets it go */
	if (read(report[0], &err, sizeof(err)) == (ssize_t)sizeof(err))
		waitpid(c->pid, NULL, 0);
	else
		err = 0;
	close(report[0]);
	return -err;
}

/* The server as our child: pass signals on, wait for all that descends from it. */
static int run_and_count(const struct options *o, const struct target *t, const struct stats *stats)
{
	sigset_t wait, mask;
	struct kernel_count count = {.fd = -1, .why = "--count-kernel was not given"};
	struct child c = {0};
	json_t *json;
	int ret;

	sigemptyset(&wait);
	sigaddset(&wait, SIGCHLD);
	for (unsigned int i = 0; i < sizeof(forwarded) / sizeof(forwarded[0]); i++)
		sigaddset(&wait, forwarded[i]);
	sigprocmask(SIG_BLOCK, &wait, &mask);
	signal(SIGCHLD, SIG_DFL); /* ignored, it would reap for us */
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	ret = start(&c, t, o->command, &mask, o->count_kernel ? &count : NULL);
	if (ret) {
		msg_perror(ret, "cannot start '%s'", t->path);
		return ret == -ENOENT ? ESCA_EXIT_NOENT : ESCA_EXIT_NOEXEC;
	}
	while (reap(&c)) {
		siginfo_t si;
		int sig = sigwaitinfo(&wait, &si);

		/*
		 * What the terminal sends goes to the whole
		 * foreground group: the server has it already.
		 */
		if (sig > 0 && sig != SIGCHLD && si.si_code != SI_KERNEL)
			forward(&c, sig);
	}
	json = stats_to_json(stats->area);
	if (json)
		kernel_count_to_json(&count, stats->area, json);
	kernel_count_close(&count);
	ret = json ? output_json(json, o->stats) : -ENOMEM;
	json_decref(json);
	if (ret)
		msg_perror(ret, "cannot write the counters to '%s'", o->stats);
	if (WIFSIGNALED(c.status))
		return 128 + WTERMSIG(c.status);
	if (ret && !WEXITSTATUS(c.status))
		return ESCA_EXIT_FAILED;
	return WEXITSTATUS(c.status);
}

static int prepare(const struct options *o, const struct target *t, const char *stats_path)
{
	char library[PATH_MAX], second[PATH_MAX];
	struct plan_choice choice;
	int ret;

	ret = target_library(library, sizeof(library));
	if (ret) {
		msg_error("cannot find libesca.so beside this esca or in '%s'; install esca again "
			  "with 'make install'",
			  ESCA_LIBDIR);
		return ret;
	}
	plan_choose(&choice, o->plan.backend);
	if (choice.fallback)
		msg_warn("running with the direct backend instead of uring, because %s",
			 choice.why);
	else if (o->verbose)
		msg_error("backend %s, because %s", plan_backend_name(choice.backend), choice.why);
	ret = plan_preload(library,
			   target_published(t, library, second, sizeof(second)) ? second : NULL);
	if (ret == -EINVAL)
		msg_error("cannot preload '%s', because the loader splits paths at spaces and "
			  "colons; install esca in a folder without them",
			  library);
	else if (ret)
		msg_perror(ret, "cannot set LD_PRELOAD for '%s'", o->command[0]);
	if (!ret) {
		ret = plan_run(&o->plan, choice.backend, stats_path);
		if (ret)
			msg_perror(ret, "cannot hand libesca.so its plan");
	}
	return ret;
}

static int run(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"stats", 's', "FILE", 0,
		 "Stay as the server's parent and write what was aggregated to FILE, as JSON, when "
		 "it ends",
		 0},
		{"recording", 'r', "FILE", 0,
		 "Say what share of the calls libesca.so did not see in this recording of the "
		 "server, and do not run it where that is unsafe",
		 0},
		{"count-kernel", KEY_COUNT, NULL, 0,
		 "With --stats: have the kernel count the server's calls too, which slows them, to "
		 "tell how many libesca.so did not see",
		 0},
		{"verbose", 'v', NULL, 0, "Say which backend is used, and why", 0},
		{0},
	};
	static const struct argp_child children[] = {{&options_plan, 0, NULL, 0}, {0}};
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.children = children,
		.args_doc = "[--] COMMAND [ARG...]",
		.doc = "Run a server with its system calls aggregated by libesca.so.\v"
		       "Without --stats esca becomes the server: same process, its signals, its "
		       "exit status.\n\n"
		       "Exit status: the server's own, 128+N where signal N ended it; 2 esca could "
		       "not run it aggregated, 64 wrong command line, 126 the server cannot be "
		       "executed, 127 there is no such program.",
	};
	struct options o = {.plan = PLAN_DEFAULT};
	struct stats stats = {.fd = -1};
	struct target t;
	int ret;

	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &o);
	target_inspect(&t, o.command[0]);
	if (t.kind != TARGET_OK) {
		msg_error("%s", target_sentence(&t));
		return t.kind < TARGET_OK ? target_exit_status(&t) : ESCA_EXIT_FAILED;
	}
	ret = reach_check(&t, o.recording, o.plan.allow_unseen);
	if (ret)
		return ret;
	if (o.stats) {
		ret = output_check(o.stats);
		if (ret) {
			msg_perror(
				ret,
				"cannot write the counters to '%s', so the server was not started",
				o.stats);
			return ESCA_EXIT_FAILED;
		}
		ret = stats_open(&stats);
		if (ret) {
			msg_perror(ret, "cannot make shared memory for the counters");
			return ESCA_EXIT_FAILED;
		}
	}
	ret = prepare(&o, &t, o.stats ? stats.path : NULL);
	if (ret) {
		ret = ESCA_EXIT_FAILED;
	} else if (o.stats) {
		ret = run_and_count(&o, &t, &stats);
	} else {
		execv(t.path, o.command);
		ret = errno == ENOENT ? ESCA_EXIT_NOENT : ESCA_EXIT_NOEXEC;
		msg_perror(errno, "cannot start '%s'", t.path);
	}
	stats_close(&stats);
	return ret;
}

const struct cmd cmd_run = {
	.name = "run",
	.help = "run a server with its system calls aggregated",
	.run = run,
};
