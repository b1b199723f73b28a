/* SPDX-License-Identifier: MIT */
/*
 * syscall.c - look a row of the call table up by number;
 * an unknown call is a BARRIER row, never a crash.
 */
#include "config.h"

#include <seccomp.h>
#include <string.h>

#include <analyzer/syscall.h>

#define NOFD  -1
#define NOARG -1
static const struct call_row rows[] = {
#define ESCA_CALL(name_, cls_, fd_, buf_, ptr_, len_, ret_, ret_arg_, args_)                       \
	{                                                                                          \
		.name = #name_,                                                                    \
		.nr = SCMP_SYS(name_),                                                             \
		.cls = CALL_##cls_,                                                                \
		.fd_arg = fd_,                                                                     \
		.buf = CALL_##buf_,                                                                \
		.ptr_arg = ptr_,                                                                   \
		.len_arg = len_,                                                                   \
		.ret = CALL_##ret_,                                                                \
		.ret_arg = ret_arg_,                                                               \
		.args = args_,                                                                     \
	},
#include <analyzer/syscalls.def>
#undef ESCA_CALL
};

#define NR_ROWS	  (sizeof(rows) / sizeof(rows[0]))
#define INDEX_MAX 1024

static const struct call_row unknown = {
	.nr = -1,
	.cls = CALL_BARRIER,
	.fd_arg = NOFD,
	.buf = CALL_NOBUF,
	.ptr_arg = NOARG,
	.len_arg = NOARG,
	.ret = CALL_RET_UNKNOWN,
	.ret_arg = NOARG,
	.args = "xxxxxx",
};

static const struct call_row *by_nr[INDEX_MAX];

__attribute__((constructor)) static void index_rows(void)
{
	for (unsigned int i = 0; i < NR_ROWS; i++)
		if (rows[i].nr >= 0 && rows[i].nr < INDEX_MAX)
			by_nr[rows[i].nr] = &rows[i];
}

const struct call_row *call_row(unsigned int nr)
{
	if (nr >= INDEX_MAX || !by_nr[nr])
		return &unknown;
	return by_nr[nr];
}

const struct call_row *call_row_by_name(const char *name)
{
	for (unsigned int i = 0; i < NR_ROWS; i++)
		if (!strcmp(rows[i].name, name))
			return &rows[i];
	return NULL;
}

const struct call_row *call_rows(unsigned int *count)
{
	*count = NR_ROWS;
	return rows;
}

unsigned int call_nargs(const struct call_row *row)
{
	return strlen(row->args);
}
