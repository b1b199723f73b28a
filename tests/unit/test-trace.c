/* SPDX-License-Identifier: MIT */
/*
 * test-trace.c - what trace-write.c wrote, trace-read.c gives
 * back; cut, damaged and foreign files end in the right answer.
 */
#include "config.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <analyzer/syscall.h>
#include <analyzer/trace.h>

/** A recording in memory. */
struct image {
	uint8_t *data;
	size_t size;
};

static uint64_t seed = 1;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* A number of any length, extremes included. */
static uint64_t any(void)
{
	uint64_t v = rnd() >> (rnd() % 64);

	switch (rnd() % 8) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX;
	case 2:
		return (uint64_t)INT64_MIN;
	default:
		return v;
	}
}

static void random_call(struct trace_call *c, uint32_t stacks)
{
	memset(c, 0, sizeof(*c));
	c->tid = 1 + (uint32_t)(rnd() % 3);
	c->nr = (uint16_t)(rnd() % 500);
	c->enter_ns = any();
	c->exit_ns = c->enter_ns + any();
	if (c->exit_ns < c->enter_ns)
		c->exit_ns = c->enter_ns;
	c->result = (int64_t)any();
	for (unsigned int i = 0; i < call_nargs(call_row(c->nr)); i++)
		c->args[i] = any();
	c->extra = any();
	c->stack = (uint32_t)(rnd() % (stacks + 1));
	c->lane = (uint8_t)(rnd() % 3);
	c->fd_kind = (uint8_t)(rnd() % TRACE_FD_KINDS);
	c->fd_flags = (uint8_t)(rnd() % 16);
	c->flags = (uint8_t)(rnd() % 4);
}

static struct image slurp(int fd)
{
	struct image img;
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	img.size = (size_t)st.st_size;
	img.data = malloc(img.size + 1);
	assert_non_null(img.data);
	assert_int_equal(pread(fd, img.data, img.size, 0), (ssize_t)img.size);
	close(fd);
	return img;
}

static int scratch(void)
{
	int fd = memfd_create("trace", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

#define STACKS 5u

static void put_stacks(struct trace_writer *w)
{
	for (uint32_t i = 1; i <= STACKS; i++) {
		uint64_t pc[STACKS] = {0x1000 + i, 0x2000, 0x3000, 0x4000, 0x5000};
		struct trace_stack s = {.id = i, .pid = 1, .depth = i};

		assert_int_equal(trace_put_stack(w, &s, pc), 0);
	}
}

/* One of each record, and calls of three threads between them. */
static struct image small_recording(void)
{
	struct trace_process p = {.pid = 1, .ppid = 0, .mono_ns = 10, .how = 0, .preload = 1};
	struct trace_thread t = {.tid = 2, .pid = 1, .mono_ns = 11};
	struct trace_symbol sym = {.pc = 0x1001, .offset = 4, .pid = 1, .line = 12};
	struct trace_lost lost = {.tid = 2, .why = 1, .count = 7, .mono_ns = 12};
	struct trace_cpu cpu = {.tid = 2, .mono_ns = 13, .cpu_ns = 14};
	struct trace_mark mark = {.kind = TRACE_MARK_READY, .mono_ns = 15};
	struct trace_exit ex = {.tid = 2, .status = 9, .mono_ns = 16};
	struct trace_signal sig = {.tid = 1, .signo = 15, .mono_ns = 17};
	struct trace_path path = {.pid = 1, .fd = 3, .mono_ns = 18};
	struct trace_writer *w;
	int fd = scratch();

	assert_int_equal(trace_writer_new(&w, fd), 0);
	trace_put_fact(w, "kernel", "6.1");
	trace_put_process(w, &p, "/bin/x", "x\0-y", 5);
	trace_put_thread(w, &t, "worker");
	put_stacks(w);
	for (unsigned int i = 0; i < 40; i++) {
		struct trace_call c;

		random_call(&c, STACKS);
		assert_int_equal(trace_put_call(w, &c), 0);
	}
	trace_put_lost(w, &lost);
	trace_put_cpu(w, &cpu);
	trace_put_mark(w, &mark);
	trace_put_exit(w, &ex);
	trace_put_signal(w, &sig);
	trace_put_path(w, &path, "/etc/x");
	trace_put_symbol(w, &sym, "x", "main", "x.c");
	assert_int_equal(trace_sync(w, 19), 0);
	assert_int_equal(trace_end(w, 20), 0);
	assert_int_equal(trace_writer_calls(w), 40);
	trace_writer_free(w);
	return slurp(fd);
}

/* Read all of @size bytes. Return: how it ended; *@events and *@calls get what came. */
static enum trace_error read_all(const uint8_t *data, size_t size, unsigned int *events,
				 unsigned int *calls)
{
	struct trace_reader *r = NULL;
	struct trace_event ev;
	enum trace_error e;
	FILE *f = fmemopen((void *)data, size ? size : 1, "r");

	assert_non_null(f);
	if (!size)
		fgetc(f);
	*events = 0;
	*calls = 0;
	e = trace_reader_open(&r, f);
	while (!e) {
		e = trace_next(r, &ev);
		if (e)
			break;
		(*events)++;
		*calls += ev.type == TRACE_REC_CALLS;
	}
	if (r)
		assert_int_equal(trace_next(r, &ev), e);
	trace_reader_free(r);
	fclose(f);
	return e;
}

static void test_round_trip(void **state)
{
	enum {
		N = 20000
	};
	static struct trace_call calls[N];
	unsigned int next[4] = {0};
	unsigned int seen = 0;
	struct trace_writer *w;
	struct trace_reader *r;
	struct trace_event ev;
	struct image img;
	FILE *f;
	int fd = scratch();

	assert_int_equal(trace_writer_new(&w, fd), 0);
	put_stacks(w);
	for (unsigned int i = 0; i < N; i++) {
		random_call(&calls[i], STACKS);
		assert_int_equal(trace_put_call(w, &calls[i]), 0);
		if (i % 5000 == 4999)
			assert_int_equal(trace_sync(w, i), 0);
	}
	assert_int_equal(trace_end(w, 1), 0);
	assert_int_equal(trace_writer_bytes(w), lseek(fd, 0, SEEK_CUR));
	trace_writer_free(w);
	img = slurp(fd);
	f = fmemopen(img.data, img.size, "r");
	assert_int_equal(trace_reader_open(&r, f), TRACE_OK);
	while (trace_next(r, &ev) == TRACE_OK) {
		if (ev.type != TRACE_REC_CALLS)
			continue;
		/* Calls of one thread come in order. */
		while (calls[next[ev.call.tid]].tid != ev.call.tid)
			next[ev.call.tid]++;
		assert_memory_equal(&calls[next[ev.call.tid]++], &ev.call, sizeof(ev.call));
		seen++;
	}
	assert_int_equal(seen, N);
	assert_int_equal(trace_next(r, &ev), TRACE_EOF);
	trace_reader_free(r);
	fclose(f);
	free(img.data);
}

static void test_every_record(void **state)
{
	struct image img = small_recording();
	FILE *f = fmemopen(img.data, img.size, "r");
	unsigned int seen = 0;
	struct trace_reader *r;
	struct trace_event ev;

	assert_int_equal(trace_reader_open(&r, f), TRACE_OK);
	while (trace_next(r, &ev) == TRACE_OK) {
		seen |= 1u << ev.type;
		switch (ev.type) {
		case TRACE_REC_FACT:
			assert_string_equal(ev.fact.key, "kernel");
			assert_string_equal(ev.fact.value, "6.1");
			break;
		case TRACE_REC_PROCESS:
			assert_string_equal(ev.process.exe, "/bin/x");
			assert_int_equal(ev.process.cmdline_size, 5);
			assert_memory_equal(ev.process.cmdline, "x\0-y", 5);
			break;
		case TRACE_REC_THREAD:
			assert_string_equal(ev.thread.comm, "worker");
			break;
		case TRACE_REC_STACK:
			assert_int_equal(ev.stack.pc[0], 0x1000 + ev.stack.s.id);
			break;
		case TRACE_REC_SYMBOL:
			assert_string_equal(ev.symbol.function, "main");
			assert_string_equal(ev.symbol.file, "x.c");
			break;
		case TRACE_REC_LOST:
			assert_int_equal(ev.lost.count, 7);
			break;
		case TRACE_REC_CPU:
			assert_int_equal(ev.cpu.cpu_ns, 14);
			break;
		case TRACE_REC_PATH:
			assert_string_equal(ev.path.path, "/etc/x");
			break;
		case TRACE_REC_END:
			assert_int_equal(ev.end.calls, 40);
			assert_int_equal(ev.end.lost, 7);
			break;
		default:
			break;
		}
	}
	assert_int_equal(seen, (1u << (TRACE_REC_END + 1)) - 2);
	trace_reader_free(r);
	fclose(f);
	free(img.data);
}

/* Each prefix gives at least what shorter ones gave, and says that it is cut. */
static void test_cut_everywhere(void **state)
{
	struct image img = small_recording();
	unsigned int most = 0;
	unsigned int events;
	unsigned int calls;

	for (size_t n = 0; n < img.size; n++) {
		uint8_t *copy = malloc(n ? n : 1);
		enum trace_error e;

		memcpy(copy, img.data, n);
		e = read_all(copy, n, &events, &calls);
		free(copy);
		if (e == TRACE_EOF) { /* only padding is missing */
			assert_true(img.size - n < 8);
			continue;
		}
		assert_int_equal(e, n ? TRACE_CUT : TRACE_NOT_A_TRACE);
		assert_true(events >= most);
		most = events;
	}
	assert_int_equal(read_all(img.data, img.size, &events, &calls), TRACE_EOF);
	assert_int_equal(calls, 40);
	free(img.data);
}

/* Whatever is in the file, reading ends, within memory, in one of the documented answers. */
static void test_damaged(void **state)
{
	struct image img = small_recording();
	uint8_t *copy = malloc(img.size);
	unsigned int corrupt = 0;
	unsigned int events;
	unsigned int calls;

	for (unsigned int i = 0; i < 20000; i++) {
		enum trace_error e;

		memcpy(copy, img.data, img.size);
		for (unsigned int n = 1 + (unsigned int)(rnd() % 4); n; n--)
			copy[rnd() % img.size] = (uint8_t)rnd();
		e = read_all(copy, img.size, &events, &calls);
		assert_true(e >= TRACE_EOF && e <= TRACE_CORRUPT);
		corrupt += e == TRACE_CORRUPT;
	}
	assert_true(corrupt > 100);
	free(copy);
	free(img.data);
}

static void test_foreign(void **state)
{
	static const char text[] =
		"GET / HTTP/1.1\r\nHost: somewhere on the other side\r\n\r\n0123456";
	struct image img = small_recording();
	struct trace_file_header *h = (struct trace_file_header *)(void *)img.data;
	struct trace_file_header good = *h;
	unsigned int events;
	unsigned int calls;

	assert_int_equal(read_all((const uint8_t *)text, sizeof(text), &events, &calls),
			 TRACE_NOT_A_TRACE);
	h->byte_order = __builtin_bswap32(h->byte_order);
	assert_int_equal(read_all(img.data, img.size, &events, &calls), TRACE_BYTEORDER);
	*h = good;
	h->major = TRACE_MAJOR + 1;
	assert_int_equal(read_all(img.data, img.size, &events, &calls), TRACE_VERSION);
	*h = good;
	h->minor = TRACE_MINOR + 1;
	assert_int_equal(read_all(img.data, img.size, &events, &calls), TRACE_EOF);
	*h = good;
	h->arch = 183;
	assert_int_equal(read_all(img.data, img.size, &events, &calls), TRACE_ARCH);
	*h = good;
	h->header_size = 5;
	assert_int_equal(read_all(img.data, img.size, &events, &calls), TRACE_CORRUPT);
	free(img.data);
}

/* A minor version may add record types: they are skipped. */
static void test_unknown_type_is_skipped(void **state)
{
	struct image img = small_recording();
	struct trace_rec_header *h =
		(struct trace_rec_header *)(void *)(img.data + sizeof(struct trace_file_header));
	unsigned int all;
	unsigned int events;
	unsigned int calls;

	read_all(img.data, img.size, &all, &calls);
	h->type = 999;
	assert_int_equal(read_all(img.data, img.size, &events, &calls), TRACE_EOF);
	assert_int_equal(events, all - 1);
	free(img.data);
}

/* The promise of the format: calls as a server makes them take 30 bytes or fewer. */
static void test_size_of_a_call(void **state)
{
	const struct call_row *recvfrom_row = call_row_by_name("recvfrom");
	const struct call_row *writev_row = call_row_by_name("writev");
	const struct call_row *sendfile_row = call_row_by_name("sendfile");
	struct trace_call c = {.tid = 1, .enter_ns = 1000000000000000, .fd_kind = TRACE_FD_TCP};
	struct trace_writer *w;
	int fd = scratch();

	assert_int_equal(trace_writer_new(&w, fd), 0);
	put_stacks(w);
	for (unsigned int i = 0; i < 30000; i++) {
		uint64_t sock = 5 + rnd() % 50;
		uint64_t buf = 0x5581a2b00000 + rnd() % 50 * 4096;

		memset(c.args, 0, sizeof(c.args));
		c.enter_ns += 500 + rnd() % 3000;
		c.exit_ns = c.enter_ns + 300 + rnd() % 5000;
		c.args[0] = sock;
		c.args[1] = buf;
		c.args[2] = 1024;
		c.extra = 0;
		c.stack = 1 + i % 3;
		c.fd_flags = TRACE_FD_NONBLOCK | TRACE_FD_WRITABLE;
		if (i % 3 == 0) {
			c.nr = (uint16_t)recvfrom_row->nr;
			c.result = 45;
		} else if (i % 3 == 1) {
			c.nr = (uint16_t)writev_row->nr;
			c.args[1] = 0x7ffe12345678;
			c.args[2] = 1;
			c.extra = 240;
			c.result = 240;
		} else {
			c.nr = (uint16_t)sendfile_row->nr;
			c.args[1] = 10 + sock;
			c.args[2] = 0x7ffe12345888;
			c.args[3] = 1024;
			c.result = 1024;
		}
		assert_int_equal(trace_put_call(w, &c), 0);
	}
	assert_int_equal(trace_end(w, c.exit_ns), 0);
	assert_true(trace_writer_bytes(w) / 30000.0 <= 30);
	print_message("%.1f bytes a call\n", (double)trace_writer_bytes(w) / 30000);
	trace_writer_free(w);
	close(fd);
}

static void test_writer_refuses(void **state)
{
	struct trace_stack s = {.id = 2, .pid = 1, .depth = 1};
	struct trace_call c = {.tid = 1, .stack = 1};
	struct trace_writer *w;
	uint64_t pc = 1;
	int fd = scratch();

	assert_int_equal(trace_writer_new(&w, fd), 0);
	assert_true(trace_put_stack(w, &s, &pc) < 0); /* the first id is 1 */
	assert_true(trace_put_call(w, &c) < 0);	      /* a stack that is not in the file */
	c.stack = TRACE_NO_STACK;
	assert_int_equal(trace_put_call(w, &c), 0);
	trace_writer_free(w);
	close(fd);
}

static void test_write_error_sticks(void **state)
{
	struct trace_call c = {.tid = 1};
	struct trace_writer *w;
	int fd[2];

	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe(fd), 0);
	assert_int_equal(trace_writer_new(&w, fd[1]), 0);
	close(fd[0]);
	assert_int_equal(trace_put_call(w, &c), 0);
	assert_int_equal(trace_sync(w, 1), -EPIPE);
	assert_int_equal(trace_put_call(w, &c), -EPIPE);
	assert_int_equal(trace_end(w, 2), -EPIPE);
	trace_writer_free(w);
	close(fd[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_every_record),
		cmocka_unit_test(test_cut_everywhere),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_unknown_type_is_skipped),
		cmocka_unit_test(test_size_of_a_call),
		cmocka_unit_test(test_writer_refuses),
		cmocka_unit_test(test_write_error_sticks),
	};

	cmocka_set_test_filter(getenv("ESCA_TEST"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
