/* SPDX-License-Identifier: MIT */
/* syscall.h - look a row of the call table (syscalls.def) up by number. */
#ifndef ESCA_ANALYZER_SYSCALL_H
#define ESCA_ANALYZER_SYSCALL_H

#include <stdint.h>

/** What the analysis may do with a call; see syscalls.def. */
enum call_class {
	CALL_DEFER,
	CALL_RESULT,
	CALL_WAIT,
	CALL_PURE,
	CALL_BARRIER,
};

/** What the pointer argument points to; see syscalls.def. */
enum call_buf {
	CALL_NOBUF,
	CALL_IN,
	CALL_OUT,
	CALL_INOUT,
	CALL_IOV_IN,
	CALL_IOV_OUT,
	CALL_MSG_IN,
	CALL_MSG_OUT,
	CALL_PATH,
};

/** What the call returns on success; see syscalls.def. */
enum call_ret {
	CALL_RET_ZERO,
	CALL_RET_SIZE,
	CALL_RET_IOV,
	CALL_RET_FD,
	CALL_RET_UNKNOWN,
};

/** One row of syscalls.def. Argument positions are 0 to 5, -1 for none. */
struct call_row {
	const char *name;
	int nr; /* x86-64; negative where the build host lacks the call */
	enum call_class cls;
	int fd_arg;
	enum call_buf buf;
	int ptr_arg;
	int len_arg;
	enum call_ret ret;
	int ret_arg;
	const char *args; /* one letter an argument; its length is their number */
};

/**
 * call_row() - the row of an x86-64 call number.
 *
 * Never NULL: a number without a row gives a BARRIER row with six arguments and a NULL name.
 */
const struct call_row *call_row(unsigned int nr);

/** call_row_by_name() - the row of that name, NULL if the table has none. */
const struct call_row *call_row_by_name(const char *name);

/** call_rows() - the whole table; *count gets its length. */
const struct call_row *call_rows(unsigned int *count);

/** call_nargs() - how many arguments the row's call takes, 0 to 6. */
unsigned int call_nargs(const struct call_row *row);

#endif
