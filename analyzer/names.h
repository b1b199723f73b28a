/* SPDX-License-Identifier: MIT */
/* names.h - the names of the numbers in a recording, as dump, report and test cases write them. */
#ifndef ESCA_ANALYZER_NAMES_H
#define ESCA_ANALYZER_NAMES_H

#include <stdint.h>

#include <analyzer/trace.h>

/** Each gives NULL where there is no name. */
const char *name_fd_kind(unsigned int kind);
const char *name_lane(unsigned int lane);
const char *name_mark(unsigned int kind);
const char *name_error(int64_t result); /* of a call that failed: -11 is "EAGAIN" */
const char *name_sol(uint64_t level);
const char *name_sockopt(uint64_t level, uint64_t name);
const char *name_epoll_op(uint64_t op);

/** name_epoll_events() - "EPOLLIN|EPOLLET" into @buf; returns @buf. */
const char *name_epoll_events(uint32_t events, char *buf, size_t size);

#endif
