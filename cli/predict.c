/* SPDX-License-Identifier: MIT */
/*
 * predict.c - record the server once under the load,
 * and ask the analysis what aggregation will save.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <analyzer/advice.h>

#include <cli/advise.h>
#include <cli/calibrate.h>
#include <cli/msg.h>
#include <cli/predict.h>

/* The last line of what a command said, in @fd, without "esca: ". */
static void last_line(int fd, char *line, size_t size)
{
	char buf[1024], *start;
	off_t end = lseek(fd, 0, SEEK_END);
	ssize_t n = pread(fd, buf, sizeof(buf) - 1, end > 1023 ? end - 1023 : 0);

	while (n > 0 && buf[n - 1] == '\n')
		n--;
	buf[n > 0 ? n : 0] = '\0';
	start = strrchr(buf, '\n');
	start = start ? start + 1 : buf;
	if (!strncmp(start, "esca: ", 6))
		start += 6;
	snprintf(line, size, "%.200s", start);
}

/* Record into @path, with server and tracer on the server's CPU and the load on its own. */
static enum bench_end record(const struct bench_setup *s, const char *path, bool *recorded)
{
	size_t n = 0;
	enum bench_end end;
	char *load = NULL, line[256];
	char **argv;
	int log, out, status = 0;

	*recorded = false;
	while (s->command[n])
		n++;
	argv = calloc(n + 8, sizeof(*argv));
	log = memfd_create("esca-predict-log", MFD_CLOEXEC);
	out = memfd_create("esca-predict-out", MFD_CLOEXEC);
	if (!argv || log < 0 || out < 0 ||
	    asprintf(&load, "taskset -cp %d $$ >/dev/null; %s", s->load_cpu, s->load) < 0) {
		msg_perror(ENOMEM, "cannot record the server");
		end = BENCH_FAILED;
		goto out;
	}
	argv[0] = (char *)"esca";
	argv[1] = (char *)"trace";
	argv[2] = (char *)"-o";
	argv[3] = (char *)path;
	argv[4] = (char *)"--load";
	argv[5] = load;
	argv[6] = (char *)"--";
	memcpy(argv + 7, s->command, n * sizeof(*argv));
	end = bench_child(argv, s->server_cpu, out, log, s->timeout_s, &status);
	if (end == BENCH_OK && status) {
		last_line(log, line, sizeof(line));
		msg_warn("no prediction, because recording the server failed: %s", line);
	}
	*recorded = end == BENCH_OK && !status;
out:
	free(load);
	free(argv);
	if (log >= 0)
		close(log);
	if (out >= 0)
		close(out);
	return end;
}

static void analyse(struct bench_prediction *p, const struct bench_setup *s, const char *path)
{
	enum savings_backend b = s->plan.backend == PLAN_URING ? SAVINGS_URING : SAVINGS_DIRECT;
	enum trace_error why;
	struct advice *a;
	struct cost cost;
	FILE *f;
	int ret = calibrate(&cost);

	if (ret) {
		msg_perror(ret, "no prediction, because a crossing cannot be timed here");
		return;
	}
	f = fopen(path, "re");
	if (!f) {
		msg_perror(errno, "no prediction, because the recording cannot be read");
		return;
	}
	ret = advice_from_file(f, &cost, &advise_limits, &a, &why);
	fclose(f);
	if (ret) {
		msg_warn("no prediction, because the recording cannot be analysed: %s",
			 ret == -EINVAL ? trace_strerror(why) : strerror(-ret));
		return;
	}
	if (a->distrust == TRUSTED) {
		p->cpu_ratio = advice_ratio(a, b);
		if (a->requests) {
			p->crossings_per_request = (double)a->total.calls / (double)a->requests;
			p->crossings_after = advice_crossings(a, b);
		}
	} else {
		msg_warn("no prediction, because the recording shows no event loop whose cost "
			 "could be told; see 'esca advise report'");
	}
	advice_free(a);
}

enum bench_end predict(struct bench_prediction *p, const struct bench_setup *s)
{
	const char *tmp = getenv("TMPDIR");
	enum bench_end end;
	bool recorded;
	char path[4096];
	int fd, n;

	memset(p, 0, sizeof(*p));
	n = snprintf(path, sizeof(path), "%s/esca-bench.XXXXXX", tmp && *tmp ? tmp : "/tmp");
	fd = n > 0 && (size_t)n < sizeof(path) ? mkostemp(path, O_CLOEXEC) : -1;
	if (fd < 0) {
		msg_perror(errno, "no prediction, because no recording can be made in '%s'", path);
		return BENCH_OK;
	}
	close(fd);
	end = record(s, path, &recorded);
	if (recorded)
		analyse(p, s, path);
	unlink(path);
	return end;
}
