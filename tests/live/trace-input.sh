#!/bin/bash
# SPDX-License-Identifier: MIT
# trace-input.sh - what esca trace says and returns when something is wrong, and that it leaves nothing running.
set -u
# shellcheck source=tests/live/trace.sh
. "$top_srcdir/tests/live/trace.sh"

expect() { tried trace "$@"; }

# sound FILE [STATUS]: the recording is complete (or cut, with STATUS 3)
sound()
{
	local got
	"$calls" "$1" --lanes >lanes 2>calls.err
	got=$?
	[ "$got" = "${2-0}" ] || bad "recording $1: reader's status $got, not ${2-0}: $(cat calls.err)"
}

# none_left WORD: no process has WORD in its command line
none_left()
{
	local i
	for ((i = 0; i < 30; i++)); do
		pgrep -f -- "$1" >/dev/null || return 0
		sleep 0.1
	done
	bad "left running: $(pgrep -af -- "$1")"
}

# A server for the cases below: listens on a unix socket, until a signal ends it.
cat >server.c <<'END'
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
static volatile sig_atomic_t over;
static void on_term(int sig) { over = 1; }
int main(int argc, char **argv)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct sigaction sa = { .sa_handler = on_term };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	sigaction(SIGTERM, &sa, NULL);
	strncpy(a.sun_path, argv[1], sizeof(a.sun_path) - 1);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 5))
		return 4;
	if (argc > 2 && fork()) /* as a daemon */
		return 0;
	while (!over) {
		int c = accept(fd, NULL, NULL);
		if (c >= 0)
			close(c);
	}
	return 5;
}
END
${CC:-cc} -o server server.c || exit 1

# --- command lines, programs, output
expect 64 'which server'
expect 64 'duration' --duration soon -- /bin/true
expect 64 'duration' --duration -1 -- /bin/true
expect 64 'method' --method magic -- /bin/true
expect 127 'no server program' -- /no/such/program
expect 127 'no server program' -- no-such-program
expect 126 'directory' -- /tmp
: >plain && expect 126 'may not be executed' -- ./plain
echo text >script && chmod +x script && expect 126 'neither an ELF program' -- ./script
expect 2 'was not started' -o /no/such/dir/file -- ./server sock1
[ ! -e sock1 ] || bad "the server was started although its recording cannot be written"
expect 0 '' -o t.data -- /bin/true
sound t.data
expect 7 '' -o t.data -- sh -c 'exit 7'
expect 137 '' -o t.data -- sh -c 'kill -9 $$'
sound t.data
expect 0 '' -o /dev/null -n -- /bin/true

# --- a full disk: said once, and the server goes on
if mkdir full && mount -t tmpfs -o size=64k none full 2>/dev/null; then
	expect 2 'the recording ends here while the server goes on' -o full/t.data -- "$victim" threads "$dir/log"
	sound full/t.data 3
	[ "$(tail -c +5 log | tr -d '\0' | wc -l)" -gt 9000 ] || bad "full disk: the server did not run to its end"
	umount full
fi

# --- the load
expect 0 '' -o t.data --load 'sleep 0.3' -- ./server sock2
sound t.data
grep -q '^[0-9]* accept ' lanes || bad "load: no accept in the recording"
expect 1 "ended with status 5" -o t.data --load 'exit 5' -- ./server sock3
sound t.data
expect 1 "did not end within 1 seconds" -o t.data --duration 1 --load 'sleep 4711' -- ./server sock4
none_left 'sleep 4711'
expect 0 '' -o t.data --duration 0.5 -- ./server sock5
expect 4 'before it listened, so the load was not started' -o t.data --load 'touch loaded' -- ./server sock5
[ ! -e loaded ] || bad "the load ran without a server"
expect 9 'while the load was running' -o t.data --load 'sleep 30' -- \
	bash -c './server sock6 & sleep 0.5; kill -9 $!; exit 9'
expect 0 '' -o t.data --load 'sleep 0.2' -- ./server sock7 daemon
sound t.data
awk '$2 == "accept" { n++ } END { exit !n }' lanes || bad "daemon: its child was not recorded"
none_left './server sock'

# --- signals to esca go to the server, and the recording is closed
for sig in INT TERM HUP; do
	# The shell lets its background jobs ignore SIGINT.
	env --default-signal=INT "$ESCA" trace -o t.data -- ./server "sock-$sig" 2>err &
	pid=$!
	for ((i = 0; i < 100; i++)); do [ -S "sock-$sig" ] && break; sleep 0.05; done
	sleep 0.2
	kill -s "$sig" $pid
	wait $pid
	status=$?
	case $sig in
	INT) want=130 ;;
	TERM) want=5 ;; # it handles that
	HUP) want=129 ;;
	esac
	[ $status = $want ] || bad "SIG$sig: exit status $status, not $want: $(cat err)"
	sound t.data
done
none_left './server sock'

# --- a killed tracer takes the server with it, and what it recorded can be read
"$ESCA" trace -o t.data -- "$victim" forever "$dir/log9" 2>err &
pid=$!
sleep 1.5
kill -9 $pid
wait $pid 2>/dev/null
none_left "$dir/log9"
sound t.data 3
[ "$(wc -l <lanes)" -gt 500 ] || bad "killed tracer: only $(wc -l <lanes) records"

# --- and the load too, with what its shell has started
"$ESCA" trace -o t.data --load 'sleep 4712 & touch loading; sleep 4713; true' -- ./server sock9 2>err &
pid=$!
for ((i = 0; i < 200; i++)); do [ -e loading ] && break; sleep 0.05; done
[ -e loading ] || bad "the load of a tracer to be killed did not start"
sleep 0.2
kill -9 $pid
wait $pid 2>/dev/null
none_left 'sleep 471[23]'
none_left './server sock'

# --- no permission to trace: by a seccomp filter, because of another tracer
cat >deny.c <<'END'
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ptrace, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = { .len = sizeof(f) / sizeof(*f), .filter = f };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p))
		return 99;
	execv(argv[1], argv + 1);
	return 98;
}
END
${CC:-cc} -o deny deny.c || exit 1

# refused STATUS WORD COMMAND...: as expect, and the server was not started
refused()
{
	local status=$1 word=$2 got
	shift 2
	rm -f started
	# The leak check traces too.
	ASAN_OPTIONS=${ASAN_OPTIONS-}:detect_leaks=0 timeout 30 "$@" >out 2>err
	got=$?
	[ "$got" = "$status" ] || bad "$*: exit status $got, not $status: $(cat err)"
	grep -q -- "$word" err || bad "$*: does not say '$word': $(cat err)"
	[ "$(grep -c '^esca: ' err)" = 1 ] || bad "$*: not one sentence: $(cat err)"
	[ ! -e started ] || bad "$*: the server was started"
}
refused 2 'does not let esca trace .*touch.*SYS_PTRACE' ./deny "$ESCA" trace -o t.data -- touch started
refused 2 'traced already' "$ESCA" trace -o outer.data -- "$ESCA" trace -o t.data -- touch started

# --- a setuid server: root may record it, by stops, and another user may not
cp /bin/true privileged && chmod 4755 privileged
user=()
if [ "$(id -u)" = 0 ]; then
	expect 0 'every call is stopped' -o t.data -- ./privileged
	sound t.data
	user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
fi
chmod 755 . && cp "$ESCA" ./esca && chmod 755 esca
refused 2 'setuid.*run esca trace as root' "${user[@]}" ./esca trace -o /dev/null -- ./privileged

# --- a server that brings its own malloc, which maps and locks before libesca.so is ready
cat >malloc.c <<'END'
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static char *at, *end;
void *malloc(size_t n)
{
	void *p;
	n = (n + 31) & ~15ul;
	pthread_mutex_lock(&m);
	if (end - at < (long)n) {
		at = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		end = at + (1 << 20);
	}
	p = at;
	at += n;
	pthread_mutex_unlock(&m);
	return p;
}
void free(void *p) {}
void *calloc(size_t n, size_t s) { return memset(malloc(n * s), 0, n * s); }
void *realloc(void *p, size_t n) { void *q = malloc(n); if (p) memcpy(q, p, n); return q; }
__attribute__((constructor)) static void early(void) { free(malloc(100)); }
END
${CC:-cc} -shared -fPIC -fno-builtin -o libown.so malloc.c && ${CC:-cc} -o own server.c -Wl,--no-as-needed -L. -lown -Wl,-rpath,"$dir" || exit 1
expect 0 '' -o t.data --duration 0.5 -- ./own sock8
exit $failed
