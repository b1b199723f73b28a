/* SPDX-License-Identifier: MIT */
/*
 * tracer-filter.c - the seccomp filter a traced server gets:
 * every call stops it, but those made through the gate.
 */
#include "config.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cli/tracer.h>
#include <esca-runtime/record.h>

#define GATE_TESTS 5

/*
 * Let the gate through. libseccomp cannot test the instruction
 * pointer; jumps are relative, so its program may follow.
 */
static void put_gate_tests(struct sock_filter *f)
{
	const unsigned int ip = offsetof(struct seccomp_data, instruction_pointer);
	const struct sock_filter tests[GATE_TESTS] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ip),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)ESCA_GATE_IP, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ip + 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(ESCA_GATE_IP >> 32), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	for (unsigned int i = 0; i < GATE_TESTS; i++)
		f[i] = tests[i];
}

/* What libseccomp makes of "every call of every architecture", as a file. */
static int export_all(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_TRACE(0));
	int fd = memfd_create("esca-filter", MFD_CLOEXEC);
	int err = 0;

	if (!ctx || fd < 0)
		err = -ENOMEM;
	if (!err)
		err = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_TRACE(0));
	if (!err)
		err = seccomp_export_bpf(ctx, fd);
	if (ctx)
		seccomp_release(ctx);
	if (err && fd >= 0)
		close(fd);
	return err ? err : fd;
}

int tracer_filter_make(struct sock_fprog *prog, bool gate)
{
	unsigned int skip = gate ? GATE_TESTS : 0;
	int fd = export_all();
	struct sock_filter *f;
	off_t size;
	int err = 0;

	if (fd < 0)
		return fd;
	size = lseek(fd, 0, SEEK_END);
	f = calloc(skip + (size_t)size / sizeof(*f), sizeof(*f));
	if (!f)
		err = -ENOMEM;
	else if (pread(fd, f + skip, (size_t)size, 0) != size)
		err = -EIO;
	close(fd);
	if (err) {
		free(f);
		return err;
	}
	if (gate)
		put_gate_tests(f);
	prog->filter = f;
	prog->len = (unsigned short)(skip + (size_t)size / sizeof(*f));
	return 0;
}

int tracer_filter_install(const struct sock_fprog *prog)
{
	unsigned int flags = SECCOMP_FILTER_FLAG_SPEC_ALLOW;

	if (!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, prog))
		return 0;
	/*
	 * Without CAP_SYS_ADMIN the kernel wants the promise
	 * that no program gains privileges under the filter.
	 */
	if (errno == EACCES && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, prog) ? -errno : 0;
}
