#!/bin/bash
# SPDX-License-Identifier: MIT
# uring-denied.sh - where io_uring is refused esca run serves by the direct backend: --backend uring says so in one sentence, auto says nothing.
# The sysctl is tried only by make check-long, as root and without -j: it is the whole machine's, and other tests want rings.
set -u
# shellcheck source=tests/live/lib.sh
. "$top_srcdir/tests/live/lib.sh"
sysctl=/proc/sys/kernel/io_uring_disabled
was=
trap '[ -z "$was" ] || echo "$was" >$sysctl; rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM HUP
server=$top_builddir/tests/equiv/equiv # with its peers

# deny ERRNO COMMAND...: without io_uring, as containers have it (EPERM), and as a kernel without it answers (ENOSYS)
cat >"$dir/deny.c" <<'END'
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)atoi(argv[1])),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {4, filter};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		return 99;
	execvp(argv[2], argv + 2);
	return 98;
}
END
${CC:-cc} -o "$dir/deny" "$dir/deny.c" || exit 1

# serves WHAT WORD [COMMAND...] - under COMMAND, with each --backend: the same as without esca, and of uring a sentence with WORD
serves()
{
	local what=$1 word=$2 backend case

	shift 2
	for case in wait-ready files; do
		"$server" "$case" >"$dir/plain" || bad "$what: $case does not work without esca"
		for backend in uring auto; do
			rm -f "$dir/stats"
			timeout 60 "$@" "$ESCA" run --backend "$backend" --stats "$dir/stats" -- "$server" "$case" >"$dir/out" 2>"$dir/err" ||
				bad "$what: $backend: exit status $?"
			diff "$dir/plain" "$dir/out" || bad "$what: $backend: $case is not served as it is without"
			jq -e '.total.deferred > 0 and all(.processes[]; .backend == "direct")' "$dir/stats" >/dev/null ||
				bad "$what: $backend: not the direct backend: $(jq -c '[.processes[].backend]' "$dir/stats")"
			if [ "$backend" = auto ]; then
				[ ! -s "$dir/err" ] || bad "$what: auto says $(cat "$dir/err")"
			else
				{ grep -q "direct.*$word" "$dir/err" && [ "$(wc -l <"$dir/err")" -eq 1 ]; } || bad "$what: uring says $(cat "$dir/err")"
			fi
		done
	done
}

serves 'EPERM by a filter' 'seccomp filter' "$dir/deny" 1
serves 'ENOSYS by a filter' 'seccomp filter' "$dir/deny" 38

case "${ESCA_TEST_LONG:-} ${MAKEFLAGS:-}" in
1*-j*) echo "without the sysctl: other tests run at the same time" ;;
1*)
	[ -w $sysctl ] || exit $failed
	was=$(cat $sysctl)
	echo 2 >$sysctl
	serves 'the sysctl' 'io_uring_disabled is 2'
	# Only root has rings: the server had them when it started, and gets none for the threads and workers of another user.
	echo 1 >$sysctl
	"$server" setuid >"$dir/plain"
	timeout 60 "$ESCA" run --backend uring --stats "$dir/stats" -- "$server" setuid >"$dir/out" 2>&1
	diff "$dir/plain" "$dir/out" || bad "the sysctl: a server that is no longer root does not serve as it does without"
	echo "$was" >$sysctl
	was=
	;;
esac
exit $failed
