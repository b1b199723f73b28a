/* SPDX-License-Identifier: MIT */
/*
 * cost.h - the cost profile: what entering the kernel and what
 * fusing saves, in ns, measured on one host by cli/calibrate.c.
 */
#ifndef ESCA_ANALYZER_COST_H
#define ESCA_ANALYZER_COST_H

#include <stdbool.h>

/**
 * struct cost - ns of server CPU. All are medians of a
 * calibration on an otherwise idle moment; 0 means not measured.
 * @crossing: one entry into the kernel and back that does nothing (getppid).
 * @uring_enter, @uring_op: io_uring_enter with nothing to
 * do; each inline operation in it, beside the work itself.
 * @queue: queueing one call in libesca.so.
 * @copy_kib: copying one KiB into the queue.
 * @packet: sending a small reply as two segments of a TCP
 * loopback connection instead of one, without the crossing.
 * @sendfile: sendfile of 1 KiB from the page cache instead of pread
 * of it into memory that is being sent anyway, without crossings.
 * @sendfile_kib: what copying instead of sendfile costs
 * for each further KiB (positive: the copy loses).
 * @pread: pread of 1 KiB from the page cache, without the crossing.
 * @sockopt: a TCP_CORK or TCP_NODELAY setsockopt, without the crossing.
 * @log_write: a 100-byte append to a regular file, without the crossing.
 */
struct cost {
	double crossing;
	double uring_enter;
	double uring_op;
	double queue;
	double copy_kib;
	double packet;
	double sendfile;
	double sendfile_kib;
	double pread;
	double sockopt;
	double log_write;
	bool uring; /* io_uring is usable on this host */
};

#endif
