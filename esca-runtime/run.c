/* SPDX-License-Identifier: MIT */
/*
 * run.c - mode run: which of a server's calls may wait in its thread's queue, which need the queue
 * flushed first, and which neither.
 *
 * The rule: what is not known to be safe is flushed before and then made for real.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include <esca-runtime/backend.h>
#include <esca-runtime/handlers.h>

const struct backend *backend = &backend_direct;
struct hot hot;

static uint32_t at_most(uint32_t v, uint32_t max)
{
	return v < max ? v : max;
}

static const struct {
	enum esca_row row;
	esca_handler handler;
} handlers[] = {
	{ROW_write, run_write},
	{ROW_writev, run_writev},
	{ROW_sendto, run_sendto},
	{ROW_sendmsg, run_sendmsg},
	{ROW_sendfile, run_sendfile},
	{ROW_sendmmsg, run_out},
	{ROW_splice, run_out},
	{ROW_tee, run_out},
	{ROW_vmsplice, run_out},
	{ROW_pwrite64, run_out},
	{ROW_pwritev, run_out},
	{ROW_pwritev2, run_out},
	{ROW_read, run_read},
	{ROW_readv, run_read},
	{ROW_recvfrom, run_read},
	{ROW_recvmsg, run_read},
	{ROW_recvmmsg, run_recvmmsg},
	{ROW_pread64, run_read},
	{ROW_preadv, run_read},
	{ROW_preadv2, run_read},
	{ROW_accept, run_accept},
	{ROW_accept4, run_accept},
	{ROW_openat, run_openat},
	{ROW_newfstatat, run_newfstatat},
	{ROW_lseek, run_lseek},
	{ROW_fsync, run_sync},
	{ROW_fdatasync, run_sync},
	{ROW_ftruncate, run_sync},
	{ROW_close, run_close},
	{ROW_close_range, run_close_range},
	{ROW_socket, run_socket},
	{ROW_socketpair, run_pair},
	{ROW_pipe, run_pair},
	{ROW_pipe2, run_pair},
	{ROW_eventfd2, run_make},
	{ROW_timerfd_create, run_make},
	{ROW_epoll_create, run_epoll_create},
	{ROW_epoll_create1, run_epoll_create},
	{ROW_dup, run_dup},
	{ROW_dup2, run_dup},
	{ROW_dup3, run_dup},
	{ROW_fcntl, run_fcntl},
	{ROW_ioctl, run_ioctl},
	{ROW_connect, run_connect},
	{ROW_bind, run_barrier},
	{ROW_listen, run_barrier},
	{ROW_shutdown, run_shutdown},
	{ROW_setsockopt, run_setsockopt},
	{ROW_getsockopt, run_getsockopt},
	{ROW_getsockname, run_ask},
	{ROW_getpeername, run_ask},
	{ROW_epoll_ctl, run_epoll_ctl},
	{ROW_epoll_wait, wait_epoll},
	{ROW_epoll_pwait, wait_epoll},
	{ROW_epoll_pwait2, wait_epoll},
	{ROW_poll, wait_other},
	{ROW_ppoll, wait_other},
	{ROW_select, wait_other},
	{ROW_pselect6, wait_other},
};

int run_start(const struct esca_plan *plan)
{
	unsigned int i;

	hot.settings.fuse = plan->fuse;
	hot.settings.calls = at_most(plan->calls, ESCA_QUEUE_CALLS);
	hot.settings.bytes = at_most(plan->bytes, ESCA_QUEUE_BYTES);
	hot.settings.age_us = plan->age_us;
	queue_age_ticks = (uint64_t)hot.settings.age_us * 2000; /* until the clock is known */
	queue_long_ticks = (uint64_t)ESCA_LONG_TURN * 2000;
#ifdef HAVE_LIBURING
	if (!strcmp(plan->backend, "uring") && !backend_uring.probe())
		backend = &backend_uring;
#endif
	stats_open(plan->stats);
	stats_backend(backend->id);
	fd_limit();
	if (getenv(ESCA_TEST_CREDIT_ENV))
		fd_test_credit = (uint32_t)atoi(getenv(ESCA_TEST_CREDIT_ENV));
	life_start();
	for (i = 0; i < sizeof(handlers) / sizeof(*handlers); i++)
		esca_handlers[handlers[i].row] = handlers[i].handler;
#define PUT(row) esca_entries[ROW_##row] = entry_##row;
	HOT_ROWS(PUT)
#undef PUT
	return 0;
}
