#!/bin/bash
# SPDX-License-Identifier: MIT
# reach.sh - calls that do not go through libc are found and named before a server starts: in its files, in a recording of it; and counted by
# the kernel while it runs.
# shellcheck disable=SC2016
set -u
# shellcheck source=tests/live/lib.sh
. "$top_srcdir/tests/live/lib.sh"
tiny=$top_builddir/tests/live/tiny

# says STATUS PATTERN ARG... - exit status STATUS; one line on standard error has PATTERN, or where that is empty there is none
says()
{
	local status=$1 pattern=$2 got
	shift 2
	timeout 20 "$ESCA" "$@" >out 2>err
	got=$?
	[ "$got" = "$status" ] || bad "$*: exit status $got, not $status: $(cat err)"
	if [ -z "$pattern" ]; then
		[ ! -s err ] || bad "$*: says $(cat err)"
	else
		[ "$(wc -l <err)" = 1 ] || bad "$*: not one sentence: $(cat err)"
		grep -qE -- "$pattern" err || bad "$*: does not say '$pattern': $(cat err)"
	fi
}

# --- libraries and programs that enter the kernel by themselves; the bytes of the instruction alone, in constants and distances, are no call
cat >lib.c <<'END'
#include <sys/syscall.h>
long lib_call(long a)
{
	long ret;
	__asm__ volatile("syscall" : "=a"(ret) : "a"(NR), "D"(a), "S"(0), "d"(0) : "rcx", "r11", "memory");
	return ret;
}
END
cat >bytes.c <<'END'
unsigned f(unsigned x) { return x * 0x050f + 0x00050f00 + (x ^ 0x050fb8); }
END
echo 'long lib_call(long); int main(void) { return lib_call(-1) == 0; }' >main.c
echo 'unsigned f(unsigned); int main(void) { return f(1) == 0; }' >main-bytes.c
build() # NAME NR
{
	$CC -O2 -shared -fPIC -DNR="$2" -o "lib$1.so" lib.c && $CC -o "$1" main.c "./lib$1.so" || bad "cannot build $1"
}
build ring SYS_io_uring_enter
build waits SYS_epoll_wait
build writes SYS_write
build futex SYS_futex
$CC -O2 -shared -fPIC -o libbytes.so bytes.c && $CC -o bytes main-bytes.c ./libbytes.so || bad "cannot build bytes"
$CC -O2 -DNR=SYS_epoll_wait -o own main.c lib.c || bad "cannot build own"
says 2 'libring.so.*linked with, makes io_uring_enter by itself in lib_call\(\).*--allow-unseen' run -- ./ring
says 2 'libwaits.so.*makes epoll_wait by itself in lib_call' run --stats s.json -- ./waits
[ ! -e s.json ] || bad "a refused server left a counters' file"
says 2 "'./own' makes epoll_wait by itself in lib_call" run -- ./own
says 0 'warning: .*io_uring_enter' run --allow-unseen -- ./ring
says 0 'warning: .*libwrites.so.* makes write by itself in lib_call.*--recording' run -- ./writes
says 0 '' run -- ./futex
says 0 '' run -- ./bytes
LD_PRELOAD=$dir/libring.so says 0 '' run -- true
says 2 'io_uring_enter' bench --load true -- ./ring
printf '#!%s\n' "$dir/waits" >script
chmod +x script
says 2 'epoll_wait' run -- ./script
strip waits libwaits.so
says 2 'libwaits.so.*epoll_wait' run -- ./waits

# --- Go, by the marks that its linker leaves, in a program and in a library
head -c 64 /dev/zero >mark
if objcopy --add-section .go.buildinfo=mark own go-program && objcopy --add-section .note.go.buildid=mark libfutex.so libgo.so &&
	$CC -o go-user main.c ./libgo.so; then
	says 2 'go-program.* is written in Go' run -- ./go-program
	says 2 'go-program.* is written in Go' run --allow-unseen -- ./go-program
	says 2 'libgo.so.*linked with, is written in Go.*--allow-unseen' run -- ./go-user
	says 0 'warning: .*is written in Go' run --allow-unseen -- ./go-user
else
	bad "cannot mark programs as Go's"
fi

# --- what a recording shows
cat >raw.c <<'END'
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
static volatile long number; /* so that nothing is to be seen in the file */
static long raw(long nr, long a, long b, long c, long d)
{
	register long r10 __asm__("r10") = d;
	long ret;
	number = nr;
	__asm__ volatile("syscall" : "=a"(ret) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
	return ret;
}
int main(int argc, char **argv)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int one = 1, n = 0, ep = epoll_create1(0), s = socket(AF_INET, SOCK_STREAM, 0);
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = s};
	const char *how = argv[2];
	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(s, (void *)&a, sizeof(a)) || listen(s, 9))
		return 1;
	epoll_ctl(ep, EPOLL_CTL_ADD, s, &ev);
	for (;;) {
		char c;
		if (!strcmp(how, "sleep") && n % 2 == 1 ? raw(SYS_epoll_wait, ep, (long)&ev, 1, -1) != 1 : epoll_wait(ep, &ev, 1, -1) != 1)
			continue;
		if (ev.data.fd == s) {
			ev.data.fd = accept4(s, 0, 0, SOCK_NONBLOCK);
			epoll_ctl(ep, EPOLL_CTL_ADD, ev.data.fd, &ev);
			continue;
		}
		if (read(ev.data.fd, &c, 1) != 1) {
			close(ev.data.fd);
			continue;
		}
		if (!strcmp(how, "half") && n / 4 % 2) /* 4 connections, in turn */
			raw(SYS_write, ev.data.fd, (long)&c, 1, 0);
		else if (!strcmp(how, "libc"))
			syscall(SYS_write, ev.data.fd, &c, 1);
		else
			write(ev.data.fd, &c, 1);
		if (!strcmp(how, "pid"))
			raw(SYS_getppid, 0, 0, 0, 0);
		n++;
	}
}
END
$CC -O2 -w -o raw raw.c || exit 1
port=$("$top_builddir/tests/servers/client" port 21350 21399) || exit 1
for how in half sleep libc pid; do
	timeout 60 "$ESCA" trace -o $how.data --load "$tiny ask $port 400" -- ./raw "$port" $how >out 2>err || bad "cannot record raw $how: $(cat err)"
done
cp raw raw-true # the program must be the recorded one
recorded() { says "$1" "$2" run "${@:3}" -- ./raw "$port" pid; }
recorded 2 'half.data shows write.*overtake.*--allow-unseen' --recording half.data
recorded 2 'sleep.data shows epoll_wait.*sleeps' --recording sleep.data
says 2 'does not run in the recording' run --recording half.data -- ./raw-true
says 2 'not a recording' run --recording raw.c -- ./raw
says 2 'nothing.data' run --recording nothing.data -- ./raw
# those that may run do; each ends by itself since its port is not one
for how in libc pid half; do
	allow=
	[ $how != half ] || allow=--allow-unseen
	# shellcheck disable=SC2086
	timeout 2 "$ESCA" run $allow --recording $how.data -- ./raw "$port" $how >out 2>err </dev/null
	[ $? = 124 ] || bad "the server of $how.data was not run: $(cat err)"
	case $how in
	libc) [ ! -s err ] || ! grep -v '0\.[0-9] %' err || bad "calls by syscall(2) are said to be unseen" ;;
	pid) grep -qE 'warning: .* [0-9.]+ % of the calls .*(getppid|call 110).*none is on a descriptor' err || bad "pid.data: $(cat err)" ;;
	half) grep -q 'warning: .*overtake' err || bad "half.data with --allow-unseen: $(cat err)" ;;
	esac
done
timeout 60 "$ESCA" trace --method ptrace -o stop.data --load "$tiny ask $port 40" -- ./raw "$port" half >out 2>err || bad "cannot record: $(cat err)"
recorded 2 'without --method ptrace' --recording stop.data

# --- counted by the kernel
"$ESCA" run --count-kernel -- true 2>err
[ $? = 64 ] && grep -q 'needs --stats' err || bad "--count-kernel without --stats: $(cat err)"
says 0 '' run --stats s.json -- true
jq -e '.kernel_calls == null and .unseen == null and (.unseen_because | length > 5)' s.json >/dev/null || bad "not asked for, counted: $(cat s.json)"
cat >many.c <<'END'
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void)
{
	for (int k = 0; k < 2; k++)
		if (!fork()) {
			for (int i = 0; i < 5000; i++)
				lseek(0, 0, SEEK_CUR);
			for (int i = 0; i < 3000; i++) {
				long ret;
				__asm__ volatile("syscall" : "=a"(ret) : "a"(SYS_getppid) : "rcx", "r11", "memory");
			}
			return 0;
		}
	while (wait(NULL) > 0)
		;
	return 0;
}
END
$CC -O2 -w -o many many.c || exit 1
says 0 '' run --count-kernel --stats s.json -- ./many
if jq -e '.unseen == null' s.json >/dev/null; then
	echo "the kernel does not count here: $(jq -r .unseen_because s.json)"
else
	jq -e '.kernel_calls >= 16000 and .unseen >= 6000 and .unseen < 7000 and (has("unseen_because") | not)' s.json >/dev/null ||
		bad "of 10000 calls by libc and 6000 past it: $(jq -c '{kernel_calls, unseen, crossings: .total.crossings}' s.json)"
fi
exit $failed
