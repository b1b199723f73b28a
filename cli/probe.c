/* SPDX-License-Identifier: MIT */
/* probe.c - what this host allows, found out by trying it. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef HAVE_LIBURING
#include <liburing.h>
#endif

#include <cli/plan.h>
#include <cli/probe.h>
#include <cli/target.h>

#define FOUND(c, ...)  snprintf((c)->found, sizeof((c)->found), __VA_ARGS__)
#define REMEDY(c, ...) snprintf((c)->todo, sizeof((c)->todo), __VA_ARGS__)

bool probe_file(const char *path, char *line, size_t size)
{
	FILE *f = fopen(path, "re");
	bool ok;

	if (!f)
		return false;
	ok = fgets(line, (int)size, f);
	fclose(f);
	if (ok)
		line[strcspn(line, "\n")] = '\0';
	return ok;
}

/* The value of "Key:" in a file of such lines. */
static bool file_value(const char *path, const char *key, char *value, size_t size)
{
	FILE *f = fopen(path, "re");
	char line[4096];
	bool found = false;

	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f)) {
		size_t n = strlen(key);
		char *p = line + n;

		if (strncmp(line, key, n))
			continue;
		p += strspn(p, " \t");
		if (*p++ != ':')
			continue;
		p += strspn(p, " \t");
		p[strcspn(p, "\n")] = '\0';
		snprintf(value, size, "%s", p);
		found = true;
	}
	fclose(f);
	return found;
}

static bool status_value(const char *key, char *value, size_t size)
{
	return file_value("/proc/self/status", key, value, size);
}

/* Run @fn in a child; its exit status, -1 if it was killed. */
static int in_child(int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return -1;
	if (!pid)
		_exit(fn());
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* --- the machine --- */

static void check_kernel(struct probe_check *c)
{
	unsigned int major = 0, minor = 0;
	struct utsname u;

	uname(&u);
	FOUND(c, "Linux %s on %s", u.release, u.machine);
	if (sscanf(u.release, "%u.%u", &major, &minor) == 2 &&
	    (major < 5 || (major == 5 && minor < 3))) {
		c->state = PROBE_NO;
		REMEDY(c, "esca trace needs Linux 5.3 (PTRACE_GET_SYSCALL_INFO): install a newer "
			  "kernel.");
	}
}

static void check_cpu(struct probe_check *c)
{
	char model[128] = "unknown", flags[4096] = "";

	file_value("/proc/cpuinfo", "model name", model, sizeof(model));
	file_value("/proc/cpuinfo", "flags", flags, sizeof(flags));
	FOUND(c, "%s%s", model, strstr(flags, " hypervisor") ? ", virtual machine" : "");
}

static void check_cores(struct probe_check *c)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	char siblings[64] = "";
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) ? 1 : CPU_COUNT(&set);

	probe_file("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list", siblings,
		   sizeof(siblings));
	FOUND(c, "%d of %ld usable", n, online);
	if (n < 2) {
		c->state = PROBE_NOTE;
		REMEDY(c, "Give esca bench two cores: on one, the load takes its time from the "
			  "server.");
	} else if (n == 2 && strpbrk(siblings, ",-")) {
		c->state = PROBE_NOTE;
		FOUND(c, "%d of %ld usable, threads of one core", n, online);
		REMEDY(c,
		       "The load slows the server down through the shared core: trust ratios, not "
		       "times.");
	}
}

static void check_mitigations(struct probe_check *c)
{
	char meltdown[128] = "unknown", spectre[160] = "unknown";

	probe_file("/sys/devices/system/cpu/vulnerabilities/meltdown", meltdown, sizeof(meltdown));
	probe_file("/sys/devices/system/cpu/vulnerabilities/spectre_v2", spectre, sizeof(spectre));
	spectre[strcspn(spectre, ";,")] = '\0';
	FOUND(c, "page-table isolation %s, spectre_v2: %s", strstr(meltdown, "PTI") ? "on" : "off",
	      spectre);
	c->state = PROBE_NOTE;
}

/* --- what trace needs --- */

/*
 * Attach to a child, read its memory, let it die.
 * @readv: errno of process_vm_readv, -1 if not reached.
 */
static int try_ptrace(int *readv_err)
{
	static volatile unsigned long secret = 0x455343410000;
	int err = 0, status;
	unsigned long copy = 0;
	struct iovec to = {&copy, sizeof(copy)};
	struct iovec from = {(void *)(uintptr_t)&secret, sizeof(secret)};
	pid_t pid;

	*readv_err = -1;
	pid = fork();
	if (pid < 0)
		return errno;
	if (!pid) {
		secret++;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	if (ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_EXITKILL | PTRACE_O_TRACESECCOMP) ||
	    ptrace(PTRACE_INTERRUPT, pid, 0, 0))
		err = errno;
	else if (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status))
		*readv_err = process_vm_readv(pid, &to, 1, &from, 1, 0) == (ssize_t)sizeof(copy)
				     ? 0
				     : errno;
	kill(pid, SIGKILL);
	while (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status))
		;
	return err;
}

static void check_ptrace(struct probe_check *c)
{
	char scope[16] = "", caps[32] = "0", tracer[16] = "0";
	int readv_err, err = try_ptrace(&readv_err);
	bool cap;

	probe_file("/proc/sys/kernel/yama/ptrace_scope", scope, sizeof(scope));
	status_value("CapEff", caps, sizeof(caps));
	status_value("TracerPid", tracer, sizeof(tracer));
	cap = strtoull(caps, NULL, 16) >> 19 & 1; /* CAP_SYS_PTRACE */
	if (!err) {
		FOUND(c, "a child can be traced; yama scope %s, CAP_SYS_PTRACE %s",
		      *scope ? scope : "none", cap ? "yes" : "no");
		return;
	}
	c->state = PROBE_NO;
	FOUND(c, "tracing a child fails: %s", strerror(err));
	if (atoi(tracer))
		REMEDY(c,
		       "This process is being traced itself (by pid %s): run esca without strace "
		       "or "
		       "a debugger around it.",
		       tracer);
	else if (*scope == '3')
		REMEDY(c, "yama forbids tracing until the next boot: remove "
			  "kernel.yama.ptrace_scope=3 from /etc/sysctl.d and reboot.");
	else
		REMEDY(c,
		       "In a container add --cap-add SYS_PTRACE, or a seccomp profile that allows "
		       "ptrace.");
}

static void check_readv(struct probe_check *c)
{
	int err;

	if (try_ptrace(&err)) {
		c->state = PROBE_NO;
		FOUND(c, "not tried, for want of ptrace");
	} else if (err) {
		c->state = PROBE_NO;
		FOUND(c, "reading a traced child's memory fails: %s", strerror(err));
		REMEDY(c, "In a container use a seccomp profile that allows process_vm_readv.");
	} else {
		FOUND(c, "a traced child's memory can be read");
	}
}

/* RET_TRACE without a tracer answers ENOSYS: that shows the filter at work. */
static int try_seccomp(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {sizeof(code) / sizeof(code[0]), code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog))
		return errno;
	if (syscall(SYS_getppid) != -1 || errno != ENOSYS)
		return 255;
	return 0;
}

static void check_seccomp(struct probe_check *c)
{
	int err = in_child(try_seccomp);
	char mode[8] = "0";

	status_value("Seccomp", mode, sizeof(mode));
	if (!err) {
		FOUND(c, "a filter can be installed%s",
		      atoi(mode) ? "; this process is in one already" : "");
		return;
	}
	c->state = PROBE_NO;
	if (err == 255 || err < 0)
		FOUND(c, "a filter is taken but does not work");
	else
		FOUND(c, "a filter cannot be installed: %s", strerror(err));
	REMEDY(c, "Use a kernel with CONFIG_SECCOMP_FILTER, or 'esca trace --method ptrace', which "
		  "is slower.");
}

static void check_memfd(struct probe_check *c)
{
	char path[64];
	int again, fd = memfd_create("esca-doctor", MFD_CLOEXEC);

	if (fd < 0) {
		c->state = PROBE_NO;
		FOUND(c, "memfd_create fails: %s", strerror(errno));
		REMEDY(c, "In a container use a seccomp profile that allows memfd_create.");
		return;
	}
	/* libesca.so opens it like this, from inside the server */
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
	again = open(path, O_RDWR | O_CLOEXEC);
	if (again < 0) {
		c->state = PROBE_NO;
		FOUND(c, "cannot be opened through /proc: %s", strerror(errno));
		REMEDY(c, "Mount /proc (mount -t proc proc /proc).");
	} else {
		FOUND(c, "memory can be shared with the server");
		close(again);
	}
	close(fd);
}

/* --- what run needs --- */

static void check_library(struct probe_check *c)
{
	char path[PATH_MAX];

	if (target_library(path, sizeof(path))) {
		c->state = PROBE_NO;
		FOUND(c, "not found beside this esca, nor in %s", ESCA_LIBDIR);
		REMEDY(c, "Install esca again with 'make install'.");
	} else {
		FOUND(c, "%.190s", path);
	}
}

static int preload_maps_fd;

/* A library that cannot be preloaded is only a warning to the loader: look whether it is there. */
static int cat_maps_preloaded(void)
{
	char path[PATH_MAX];

	if (target_library(path, sizeof(path)) || setenv("LD_PRELOAD", path, 1) ||
	    dup2(preload_maps_fd, STDOUT_FILENO) < 0)
		return 1;
	execlp("cat", "cat", "/proc/self/maps", (char *)NULL);
	return 127;
}

static void check_preload(struct probe_check *c)
{
	bool there = false;
	char line[512];
	FILE *f = tmpfile();

	c->state = PROBE_NO;
	if (!f) {
		FOUND(c, "not tried: no temporary file (%s)", strerror(errno));
		REMEDY(c, "Make /tmp writable.");
		return;
	}
	preload_maps_fd = fileno(f);
	if (!in_child(cat_maps_preloaded)) {
		rewind(f);
		while (!there && fgets(line, sizeof(line), f))
			there = strstr(line, "/libesca.so");
	}
	fclose(f);
	if (there) {
		c->state = PROBE_YES;
		FOUND(c, "libesca.so is loaded into a program");
	} else {
		FOUND(c, "libesca.so is not loaded into a program");
		REMEDY(c,
		       "See what 'LD_PRELOAD=.../libesca.so /bin/true' says; the path may have no "
		       "spaces or colons, and the folder must not be mounted noexec.");
	}
}

bool probe_uring(char *why, size_t size)
{
	char value[32] = "0";

	if (status_value("Seccomp", value, sizeof(value)) && atoi(value)) {
		snprintf(why, size,
			 "a seccomp filter is in force here, which io_uring would go around");
		return false;
	}
	if (status_value("TracerPid", value, sizeof(value)) && atoi(value)) {
		snprintf(why, size,
			 "this process is being traced, and a tracer does not see io_uring");
		return false;
	}
#ifdef HAVE_LIBURING
	struct io_uring ring;
	/* As the runtime has it. */
	int ret = io_uring_queue_init(8, &ring,
				      IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
					      IORING_SETUP_SUBMIT_ALL);

	if (!ret) {
		ret = io_uring_register_ring_fd(&ring);
		io_uring_queue_exit(&ring);
		if (ret == 1)
			return true;
	}
	if (ret == -EPERM &&
	    probe_file("/proc/sys/kernel/io_uring_disabled", value, sizeof(value)) && atoi(value))
		snprintf(why, size, "kernel.io_uring_disabled is %s here", value);
	else if (ret == -ENOSYS)
		snprintf(why, size, "this kernel has no io_uring");
	else if (ret == -EINVAL)
		snprintf(why, size, "the io_uring of this kernel is older than that of Linux 6.1");
	else
		snprintf(why, size, "io_uring_setup fails: %s", strerror(-ret));
#else
	snprintf(why, size, "this esca was built without liburing");
#endif
	return false;
}

static void check_uring(struct probe_check *c)
{
	char why[160];

	if (!probe_uring(why, sizeof(why))) {
		c->state = PROBE_NOTE;
		FOUND(c, "not usable: %s", why);
		REMEDY(c, "Nothing is lost but the uring backend; to allow it: sysctl "
			  "kernel.io_uring_disabled=0.");
		if (!strstr(why, "io_uring_disabled"))
			REMEDY(c, "Nothing is lost but the uring backend; direct is used.");
		return;
	}
#ifdef HAVE_LIBURING
	struct io_uring_probe *p = io_uring_get_probe();

	FOUND(c, "a ring can be set up; waiting for epoll in it: %s",
	      p && io_uring_opcode_supported(p, 59 /* IORING_OP_EPOLL_WAIT, Linux 6.15 */) ? "yes"
											   : "no");
	if (p)
		io_uring_free_probe(p);
#endif
}

static void check_esca_kernel(struct probe_check *c)
{
	c->state = PROBE_NOTE;
	FOUND(c, "stock kernel: the direct and uring backends are there");
}

/* --- what bench and the report like --- */

static void check_symbols(struct probe_check *c)
{
#ifdef HAVE_LIBDW
	DIR *dir = opendir("/usr/lib/debug/.build-id");

	FOUND(c, "function names; file and line where a server has debug symbols (%s installed)",
	      dir ? "some are" : "none is");
	if (dir)
		closedir(dir);
#else
	c->state = PROBE_NOTE;
	FOUND(c, "this esca was built without libdw: reports show addresses");
	REMEDY(c, "Install libdw-dev and build esca again.");
#endif
}

static void check_congestion(struct probe_check *c)
{
	char name[32];

	if (!probe_file("/proc/sys/net/ipv4/tcp_congestion_control", name, sizeof(name))) {
		c->state = PROBE_NOTE;
		FOUND(c, "not known");
		return;
	}
	FOUND(c, "%s", name);
	if (!strcmp(name, "bbr")) {
		c->state = PROBE_NOTE;
		FOUND(c, "bbr, which paces packets with timers");
		REMEDY(c,
		       "Timers hide what is measured: give esca bench --isolate-net (as root), or "
		       "use cubic.");
	}
}

static const struct {
	const char *id, *title;
	bool needed;
	void (*check)(struct probe_check *);
} checks[] = {
	{"kernel", "kernel", true, check_kernel},
	{"cpu", "processor", false, check_cpu},
	{"cores", "cores", false, check_cores},
	{"mitigations", "mitigations", false, check_mitigations},
	{"ptrace", "ptrace", true, check_ptrace},
	{"seccomp", "seccomp filter", true, check_seccomp},
	{"process_vm_readv", "process_vm_readv", true, check_readv},
	{"memfd", "shared memory", true, check_memfd},
	{"library", "libesca.so", true, check_library},
	{"preload", "preloading", true, check_preload},
	{"io_uring", "io_uring", false, check_uring},
	{"esca_kernel", "ESCA kernel", false, check_esca_kernel},
	{"symbols", "symbols", false, check_symbols},
	{"congestion", "TCP congestion", false, check_congestion},
};

_Static_assert(sizeof(checks) / sizeof(checks[0]) <= PROBE_MAX, "PROBE_MAX");

size_t probe_all(struct probe_check *list)
{
	size_t n = sizeof(checks) / sizeof(checks[0]);

	for (size_t i = 0; i < n; i++) {
		memset(&list[i], 0, sizeof(list[i]));
		list[i].id = checks[i].id;
		list[i].title = checks[i].title;
		list[i].needed = checks[i].needed;
		list[i].state = PROBE_YES;
		checks[i].check(&list[i]);
	}
	return n;
}
