/* SPDX-License-Identifier: MIT */
/* call-table.c - syscalls.def against the kernel's headers and libseccomp: each name exists, each
 * number is right, each row makes sense. */
#include "config.h"

#include <asm/unistd_64.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>

#include <analyzer/syscall.h>

static const struct {
	const char *name;
	int nr;
} kernel[] = {
#define ESCA_CALL(name, cls, fd, buf, ptr, len, ret, ret_arg, args) {#name, __NR_##name},
#include <analyzer/syscalls.def>
#undef ESCA_CALL
};

static int bad;

static void check(int ok, const char *name, const char *what)
{
	if (ok)
		return;
	printf("%s: %s\n", name, what);
	bad = 1;
}

int main(void)
{
	unsigned int count;
	const struct call_row *rows = call_rows(&count);

	check(count == sizeof(kernel) / sizeof(kernel[0]), "syscalls.def",
	      "the analyzer has another number of rows");
	for (unsigned int i = 0; i < count; i++) {
		const struct call_row *r = &rows[i];
		int nargs = call_nargs(r);

		check(!strcmp(r->name, kernel[i].name), r->name,
		      "is in another place than in syscalls.def");
		check(r->nr == kernel[i].nr, r->name, "has another number than in asm/unistd_64.h");
		check(seccomp_syscall_resolve_name_arch(SCMP_ARCH_X86_64, r->name) == r->nr,
		      r->name, "has another number than in libseccomp");
		check(call_row(r->nr) == r, r->name,
		      "is not what its number leads to: two rows have one number");
		check(call_row_by_name(r->name) == r, r->name, "has two rows");
		check(nargs <= 6 && strspn(r->args, "dDpsuixol") == (size_t)nargs, r->name,
		      "has unknown argument letters");
		check(r->fd_arg < nargs && r->ptr_arg < nargs && r->len_arg < nargs &&
			      r->ret_arg < nargs,
		      r->name, "names an argument that it does not have");
		check(r->fd_arg < 0 || strchr("dD", r->args[r->fd_arg]), r->name,
		      "has a descriptor that is printed as none");
		check(r->ptr_arg < 0 || strchr("ps", r->args[r->ptr_arg]), r->name,
		      "has a pointer that is printed as none");
		check((r->buf == CALL_NOBUF) == (r->ptr_arg < 0), r->name,
		      "has a buffer without a pointer, or the other way round");
		check((r->buf == CALL_PATH) == (r->ptr_arg >= 0 && r->args[r->ptr_arg] == 's'),
		      r->name, "has a path that is printed as none");
		check((r->ret == CALL_RET_SIZE || r->ret == CALL_RET_IOV) <=
			      (r->ret_arg >= 0 || r->buf == CALL_MSG_IN),
		      r->name, "returns the size of no argument");
		check(r->cls != CALL_DEFER || r->fd_arg >= 0, r->name,
		      "is a candidate without a descriptor");
		check(r->cls != CALL_DEFER || r->ret != CALL_RET_UNKNOWN, r->name,
		      "is a candidate whose result is not known");
	}
	check(call_row(1023)->cls == CALL_BARRIER && call_row(~0u)->cls == CALL_BARRIER,
	      "unknown calls", "are no barriers");
	return bad;
}
