/* SPDX-License-Identifier: MIT */
/* cmd-dump.c - esca dump: a recording as text, one call a line, or as JSON, one object a line. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <jansson.h>

#include <analyzer/hash.h>
#include <analyzer/names.h>
#include <analyzer/syscall.h>
#include <analyzer/timeline.h>
#include <cli/cmd.h>
#include <cli/msg.h>
#include <cli/recording.h>

/** How often a thread's waits have returned so far. */
struct turn {
	uint32_t tid;
	uint64_t n;
	UT_hash_handle hh;
};

struct dump {
	const char *path;
	bool json;
	struct timeline *t;
	uint64_t zero; /* CLOCK_MONOTONIC at the begin of the recording */
	struct turn *turns;
};

/*
 * The turn @c belongs to: 0 before the first wait, then
 * 1, 2, ...; a wait belongs to the turn that it ends.
 */
static uint64_t turn_of(struct dump *d, const struct trace_call *c)
{
	struct turn *turn;
	uint64_t n;

	HASH_FIND(hh, d->turns, &c->tid, sizeof(c->tid), turn);
	if (!turn) {
		turn = calloc(1, sizeof(*turn));
		if (!turn)
			return 0;
		turn->tid = c->tid;
		HASH_ADD(hh, d->turns, tid, sizeof(turn->tid), turn);
	}
	n = turn->n;
	if (call_row(c->nr)->cls == CALL_WAIT)
		turn->n++;
	return n;
}

static void print_option(FILE *f, const struct trace_call *c)
{
	const char *level = name_sol(c->args[1]);
	const char *name = name_sockopt(c->args[1], c->args[2]);

	if (level)
		fputs(level, f);
	else
		fprintf(f, "%" PRIu64, c->args[1]);
	if (name)
		fprintf(f, ", %s", name);
	else
		fprintf(f, ", %" PRIu64, c->args[2]);
}

static void print_arg(FILE *f, char letter, uint64_t v)
{
	switch (letter) {
	case 'D':
		if ((int)v == AT_FDCWD) {
			fputs("AT_FDCWD", f);
			break;
		}
		__attribute__((fallthrough));
	case 'd':
	case 'i':
		fprintf(f, "%d", (int)v);
		break;
	case 'u':
		fprintf(f, "%" PRIu64, v);
		break;
	case 'l':
		fprintf(f, "%" PRId64, (int64_t)v);
		break;
	case 'o':
		fprintf(f, "0%" PRIo64, v);
		break;
	case 'x':
		fprintf(f, "%s%" PRIx64, v ? "0x" : "", v);
		break;
	default:
		if (v)
			fprintf(f, "%#" PRIx64, v);
		else
			fputs("NULL", f);
	}
}

static void print_args(FILE *f, const struct trace_call *c, const struct call_row *row)
{
	bool sockopt = row->name && strstr(row->name, "sockopt");
	bool epoll = row->name && !strcmp(row->name, "epoll_ctl");
	char events[128];

	for (unsigned int i = 0; i < call_nargs(row); i++) {
		if (i)
			fputs(", ", f);
		if (sockopt && i == 1) {
			print_option(f, c);
			i++;
		} else if (sockopt && i == 3 && row->name[0] == 's') {
			fprintf(f, "[%d]", (int)c->extra);
		} else if (epoll && i == 1 && name_epoll_op(c->args[1])) {
			fputs(name_epoll_op(c->args[1]), f);
		} else if (epoll && i == 3 && c->args[3]) {
			fputs(name_epoll_events((uint32_t)c->extra, events, sizeof(events)), f);
		} else {
			print_arg(f, row->args[i], c->args[i]);
		}
		if ((int)i == row->fd_arg && c->fd_kind > TRACE_FD_UNKNOWN)
			fprintf(f, "<%s>", name_fd_kind(c->fd_kind));
	}
}

static void print_site(FILE *f, const struct timeline *t, uint32_t stack)
{
	struct site s;

	if (!timeline_site(t, stack, &s))
		return;
	if (*s.function)
		fprintf(f, "  %s", s.function);
	else
		fprintf(f, "  %s+%#" PRIx64, *s.module ? s.module : "?",
			*s.module ? s.offset : s.pc);
	if (*s.file)
		fprintf(f, " (%s:%" PRIu32 ")", s.file, s.line);
	else if (*s.function && *s.module)
		fprintf(f, " (%s)", s.module);
}

static void print_result(FILE *f, const struct trace_call *c, const struct call_row *row)
{
	const char *err = name_error(c->result);

	if (c->flags & TRACE_CALL_UNFINISHED)
		fputs(" = ?", f);
	else if (err)
		fprintf(f, " = -1 %s", err);
	else if (row->name && (!strcmp(row->name, "mmap") || !strcmp(row->name, "brk")))
		fprintf(f, " = %#" PRIx64, (uint64_t)c->result);
	else
		fprintf(f, " = %" PRId64, c->result);
}

static void print_time(const struct dump *d, uint64_t ns, uint32_t tid)
{
	bool before = ns < d->zero;
	uint64_t rel = before ? d->zero - ns : ns - d->zero;

	printf("%s%" PRIu64 ".%06" PRIu64 " %7" PRIu32, before ? "-" : "", rel / 1000000000,
	       rel / 1000 % 1000000, tid);
}

static void text_call(struct dump *d, const struct trace_call *c)
{
	const struct call_row *row = call_row(c->nr);

	print_time(d, c->enter_ns, c->tid);
	printf(" #%-6" PRIu64 " ", turn_of(d, c));
	if (row->name)
		fputs(row->name, stdout);
	else
		printf("syscall_%" PRIu16, c->nr);
	putchar('(');
	print_args(stdout, c, row);
	putchar(')');
	print_result(stdout, c, row);
	printf(" <%.3f us> %s", (double)(c->exit_ns - c->enter_ns) / 1000, name_lane(c->lane));
	print_site(stdout, d->t, c->stack);
	putchar('\n');
}

static void text_exit(const struct dump *d, const struct trace_exit *e)
{
	int status = (int)e->status;

	print_time(d, e->mono_ns, e->tid);
	if (WIFSIGNALED(status))
		printf(" killed by SIG%s\n",
		       sigabbrev_np(WTERMSIG(status)) ? sigabbrev_np(WTERMSIG(status)) : "?");
	else
		printf(" ended with status %d\n", WEXITSTATUS(status));
}

static void text_event(struct dump *d, const struct trace_event *ev)
{
	static const char *const marks[] = {"", "the server is ready", "the load begins",
					    "the load ends"};
	const char *name;

	switch (ev->type) {
	case TRACE_REC_CALLS:
		text_call(d, &ev->call);
		break;
	case TRACE_REC_FACT:
		printf("# %s: %s\n", ev->fact.key, ev->fact.value);
		break;
	case TRACE_REC_PROCESS:
		print_time(d, ev->process.p.mono_ns, ev->process.p.pid);
		printf(" process of %" PRIu32 ": %s\n", ev->process.p.ppid,
		       timeline_command(d->t, ev->process.p.pid));
		break;
	case TRACE_REC_THREAD:
		print_time(d, ev->thread.t.mono_ns, ev->thread.t.tid);
		printf(" thread of %" PRIu32 ": %s\n", ev->thread.t.pid, ev->thread.comm);
		break;
	case TRACE_REC_LOST:
		print_time(d, ev->lost.mono_ns, ev->lost.tid);
		printf(" LOST %" PRIu64 " calls\n", ev->lost.count);
		break;
	case TRACE_REC_MARK:
		print_time(d, ev->mark.mono_ns, 0);
		printf(" %s\n",
		       ev->mark.kind <= TRACE_MARK_LOAD_END ? marks[ev->mark.kind] : "mark");
		break;
	case TRACE_REC_EXIT:
		text_exit(d, &ev->exit);
		break;
	case TRACE_REC_SIGNAL:
		name = sigabbrev_np((int)ev->signal.signo);
		print_time(d, ev->signal.mono_ns, ev->signal.tid);
		printf(" signal SIG%s\n", name ? name : "?");
		break;
	case TRACE_REC_PATH:
		print_time(d, ev->path.p.mono_ns, ev->path.p.pid);
		printf(" descriptor %" PRId32 " is %s\n", ev->path.p.fd, ev->path.path);
		break;
	default:
		break;
	}
}

/* Bytes that are no UTF-8 would make jansson refuse the string. */
static json_t *text(const char *s)
{
	json_t *j = json_string(s);
	char *copy;

	if (j)
		return j;
	copy = strdup(s);
	for (char *p = copy; p && *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	j = json_string(copy ? copy : "");
	free(copy);
	return j;
}

static json_t *json_site(const struct timeline *t, uint32_t stack)
{
	struct site s;

	if (!timeline_site(t, stack, &s))
		return NULL;
	return json_pack("{s:o, s:o, s:o, s:I, s:I}", "module", text(s.module), "function",
			 text(s.function), "file", text(s.file), "line", (json_int_t)s.line, "pc",
			 (json_int_t)s.pc);
}

static json_t *json_call(struct dump *d, const struct trace_call *c)
{
	const struct call_row *row = call_row(c->nr);
	json_t *args = json_array();

	for (unsigned int i = 0; i < call_nargs(row); i++)
		json_array_append_new(args, json_integer((json_int_t)c->args[i]));
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:i, s:s?, s:o, s:I, s:s?, s:I, s:s, s:s, s:i, "
			 "s:I, s:i, s:I, s:o*}",
			 "type", "call", "time_ns", (json_int_t)(c->enter_ns - d->zero), "tid",
			 (json_int_t)c->tid, "pid", (json_int_t)timeline_pid(d->t, c->tid), "turn",
			 (json_int_t)turn_of(d, c), "nr", c->nr, "name", row->name, "args", args,
			 "result", (json_int_t)c->result, "error", name_error(c->result),
			 "duration_ns", (json_int_t)(c->exit_ns - c->enter_ns), "lane",
			 name_lane(c->lane), "fd_kind", name_fd_kind(c->fd_kind), "fd_flags",
			 c->fd_flags, "extra", (json_int_t)c->extra, "flags", c->flags, "stack",
			 (json_int_t)c->stack, "site", json_site(d->t, c->stack));
}

static json_t *json_event(struct dump *d, const struct trace_event *ev)
{
	switch (ev->type) {
	case TRACE_REC_CALLS:
		return json_call(d, &ev->call);
	case TRACE_REC_FACT:
		return json_pack("{s:s, s:o, s:o}", "type", "fact", "key", text(ev->fact.key),
				 "value", text(ev->fact.value));
	case TRACE_REC_PROCESS:
		return json_pack("{s:s, s:I, s:I, s:I, s:o, s:o}", "type", "process", "time_ns",
				 (json_int_t)(ev->process.p.mono_ns - d->zero), "pid",
				 (json_int_t)ev->process.p.pid, "ppid",
				 (json_int_t)ev->process.p.ppid, "exe", text(ev->process.exe),
				 "command", text(timeline_command(d->t, ev->process.p.pid)));
	case TRACE_REC_THREAD:
		return json_pack("{s:s, s:I, s:I, s:I, s:o}", "type", "thread", "time_ns",
				 (json_int_t)(ev->thread.t.mono_ns - d->zero), "tid",
				 (json_int_t)ev->thread.t.tid, "pid", (json_int_t)ev->thread.t.pid,
				 "comm", text(ev->thread.comm));
	case TRACE_REC_LOST:
		return json_pack("{s:s, s:I, s:I, s:I}", "type", "lost", "time_ns",
				 (json_int_t)(ev->lost.mono_ns - d->zero), "tid",
				 (json_int_t)ev->lost.tid, "count", (json_int_t)ev->lost.count);
	case TRACE_REC_CPU:
		return json_pack("{s:s, s:I, s:I, s:I}", "type", "cpu", "time_ns",
				 (json_int_t)(ev->cpu.mono_ns - d->zero), "tid",
				 (json_int_t)ev->cpu.tid, "cpu_ns", (json_int_t)ev->cpu.cpu_ns);
	case TRACE_REC_MARK:
		return json_pack("{s:s, s:I, s:s?, s:I}", "type", "mark", "time_ns",
				 (json_int_t)(ev->mark.mono_ns - d->zero), "mark",
				 name_mark(ev->mark.kind), "value", (json_int_t)ev->mark.value);
	case TRACE_REC_EXIT:
		return json_pack("{s:s, s:I, s:I, s:I}", "type", "exit", "time_ns",
				 (json_int_t)(ev->exit.mono_ns - d->zero), "tid",
				 (json_int_t)ev->exit.tid, "status", (json_int_t)ev->exit.status);
	case TRACE_REC_SIGNAL:
		return json_pack("{s:s, s:I, s:I, s:I}", "type", "signal", "time_ns",
				 (json_int_t)(ev->signal.mono_ns - d->zero), "tid",
				 (json_int_t)ev->signal.tid, "signo", (json_int_t)ev->signal.signo);
	case TRACE_REC_PATH:
		return json_pack("{s:s, s:I, s:I, s:i, s:o}", "type", "path", "time_ns",
				 (json_int_t)(ev->path.p.mono_ns - d->zero), "pid",
				 (json_int_t)ev->path.p.pid, "fd", ev->path.p.fd, "path",
				 text(ev->path.path));
	default:
		return NULL;
	}
}

static void print_json(struct dump *d, const struct trace_event *ev)
{
	json_t *j = json_event(d, ev);

	if (!j)
		return;
	json_dumpf(j, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(j);
}

/* Symbols come last in a recording; where the file can be read twice, read them first. */
static void look_ahead(struct dump *d, FILE *f)
{
	off_t pos = ftello(f);

	if (pos < 0 || fseeko(f, 0, SEEK_SET))
		return;
	if (timeline_read_symbols(d->t, f))
		msg_warn("out of memory: call sites are shown without names");
	clearerr(f);
	fseeko(f, pos, SEEK_SET);
}

static int dump(struct dump *d, FILE *f)
{
	struct trace_event ev;
	enum trace_error e;

	e = timeline_open(&d->t, f);
	if (e)
		return recording_end(d->path, e, "it holds no call");
	d->zero = timeline_header(d->t)->start_mono_ns;
	look_ahead(d, f);
	while (!ferror(stdout) && !(e = timeline_next(d->t, &ev))) {
		if (d->json)
			print_json(d, &ev);
		else
			text_event(d, &ev);
	}
	if (fflush(stdout) || ferror(stdout)) {
		if (errno == EPIPE)
			return ESCA_EXIT_OK;
		msg_perror(errno, "cannot write to standard output");
		return ESCA_EXIT_FAILED;
	}
	return recording_end(d->path, e, "everything before that is shown");
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct dump *d = state->input;

	switch (key) {
	case 'f':
		if (strcmp(arg, "text") && strcmp(arg, "json"))
			argp_error(state, "there is no format '%s'; it is text or json", arg);
		d->json = !strcmp(arg, "json");
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num)
			argp_error(state, "one recording at a time");
		d->path = arg;
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static int run(int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"format", 'f', "FORMAT", 0,
		 "text (default): one call a line; json: one object a line", 0},
		{0},
	};
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.args_doc = "[FILE]",
		.doc = "Print the recording FILE (default: esca.data; - is standard input), calls "
		       "of all threads in the order of time.\v"
		       "Exit status: 0 printed, also if the recording was cut off (then with a "
		       "warning), 2 no recording, damaged, or of another version or machine, 64 "
		       "wrong command line.",
	};
	struct dump d = {.path = RECORDING_DEFAULT};
	struct turn *turn;
	struct turn *next;
	FILE *f;
	int status;

	argp_parse(&argp, argc, argv, 0, NULL, &d);
	f = recording_open(d.path);
	if (!f)
		return ESCA_EXIT_FAILED;
	signal(SIGPIPE, SIG_IGN);
	status = dump(&d, f);
	timeline_free(d.t);
	HASH_ITER (hh, d.turns, turn, next) {
		HASH_DEL(d.turns, turn);
		free(turn);
	}
	if (f != stdin)
		fclose(f);
	return status;
}

const struct cmd cmd_dump = {.name = "dump", .help = "print a recording", .run = run};
