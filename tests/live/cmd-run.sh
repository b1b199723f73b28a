#!/bin/bash
# SPDX-License-Identifier: MIT
# cmd-run.sh - esca run as a command: what it refuses and with which exit status, signals, exit statuses, the counters' file.
# shellcheck disable=SC2016
set -u
# shellcheck source=tests/live/lib.sh
. "$top_srcdir/tests/live/lib.sh"

expect() { tried run "$@"; }

# --- command lines
expect 64 'which server'
expect 64 'frob' --backend frob -- /bin/true
expect 64 'no-such' --no-such -- /bin/true
for list in frob merge,frob 'merge,' ',' '' none,merge MERGE; do
	expect 64 'header-body, merge, .*read-ahead' --fuse "$list" -- /bin/true
	expect 64 'header-body, merge, .*read-ahead' --no-fuse "$list" -- /bin/true
done
expect 64 'fusions' --no-fuse none -- /bin/true
for bound in '--max-calls 0' '--max-calls 257' '--max-calls x' '--max-calls 5K' '--max-bytes 24575' '--max-bytes 1025K' '--max-bytes 1G' \
	'--max-bytes -1' '--max-bytes 18014398509481985K' '--max-delay 0' '--max-delay 20001' '--max-delay 5us'; do
	# shellcheck disable=SC2086
	expect 64 'is a number from' $bound -- /bin/true
done

# plan WORD ARG...: of the plan of a server that is run with ARG... the word that begins with WORD
plan()
{
	local word=$1
	shift
	"$ESCA" run --backend direct "$@" -- sh -c 'printf "%s\n" $ESCA_RUNTIME' | grep "^$word="
}

# fuses NAMES ARG...: these fusions are on, and no other
fuses()
{
	local names=$1 name bit=1 mask=0
	shift
	for name in $all; do
		[[ ,$names, = *,$name,* ]] && mask=$((mask | bit))
		bit=$((bit * 2))
	done
	[ "$(plan fuse "$@")" = "$(printf 'fuse=%x' $mask)" ] || bad "run $*: $(plan fuse "$@"), not $names"
}

all=$("$ESCA" run --fuse '' x 2>&1 | sed -n 's/.*(\(.*\), all).*/\1/p' | tr -d ,)
[ "$(echo "$all" | wc -w)" -ge 10 ] || bad "the fusions are '$all'"
most=$(echo "$all" | sed 's/ *read-ahead//' | tr ' ' ,)
fuses "$most"
fuses "$most,read-ahead" --read-ahead
fuses "$most,read-ahead" --fuse all
fuses "" --fuse none
fuses "" --no-fuse all
fuses merge,log --fuse none --fuse merge,log
fuses log --no-fuse all --fuse merge,log --no-fuse merge,cork
[ "$(plan calls)/$(plan bytes)/$(plan age)" = calls=256/bytes=1048576/age=500 ] || bad "the bounds are not the documented ones"
[ "$(plan calls --max-calls 7)/$(plan bytes --max-bytes 30k)/$(plan age --max-delay 99)" = calls=7/bytes=30720/age=99 ] || bad "bounds do not come through"
for name in $all; do
	"$ESCA" run --help | tr -s ' \n' '  ' | grep -q "${name}[,:]" || bad "--help does not list $name"
	grep -q "^.It Cm $name\$" "$top_srcdir/man/esca-run.1" || bad "the manual page does not describe $name"
done

# --- targets
echo 'int main(void) { return 0; }' >s.c
${CC:-cc} -static -o static s.c || exit 1
cp /bin/true privileged && chmod u+s privileged
cp /bin/true plain && chmod a-x plain
echo 'just text' >text && chmod +x text
printf '#!/no/such/shell\n' >script && chmod +x script
expect 127 'no server program' ./missing
expect 127 'PATH' no-such-server-anywhere
expect 127 '/no/such/shell' ./script
expect 126 'directory' /tmp
expect 126 'permissions' ./plain
expect 126 '#!' ./text
expect 2 'statically' ./static
expect 2 'setuid' ./privileged
expect 2 'statically' --stats s.json ./static
[ ! -e s.json ] || bad "a refused server left a counters' file"

# --- the counters' file is checked before the server starts
expect 2 'not started' --stats no/such/dir/s.json -- touch started
expect 2 'not started' --stats /tmp -- touch started
expect 2 'not started' --stats /proc/version -- touch started
[ ! -e started ] || bad "the server was started though its counters cannot be written"

# --- exit statuses pass through, with and without a parent
expect 0 '' -- /bin/true
expect 7 '' -- sh -c 'exit 7'
expect 137 '' --stats s.json -- sh -c 'kill -9 $$'
expect 7 '' --stats s.json -- sh -c 'exit 7'
expect 7 '' --backend direct --stats s.json sh -c 'exit 7'
timeout 20 "$ESCA" run -- sh -c 'kill -TERM $$' 2>/dev/null
[ $? = 143 ] || bad "SIGTERM of the server did not come through"

# --- the file is a whole JSON object with the documented counters
for key in turns calls crossings deferred fused passed short errors spills bytes_copied processes total; do
	grep -q "\"$key\"" s.json || bad "the counters' file has no $key"
done
ls s.json.* 2>/dev/null && bad "a temporary file was left"

# --- without --stats esca becomes the server
pid=$(sh -c 'echo $$; exec "$ESCA" run -- sh -c "echo \$\$"' | uniq | wc -l)
[ "$pid" = 1 ] || bad "the server does not have esca's pid"

# --- libesca.so comes first and the user's own LD_PRELOAD stays (libm: one of libc would come before the runtime of a sanitizer build)
LD_PRELOAD=libm.so.6 "$ESCA" run -- sh -c 'echo $LD_PRELOAD' >out
grep -q '^/.*/libesca\.so:libm\.so\.6$' out || bad "LD_PRELOAD is $(cat out)"
"$ESCA" run -- cat /proc/self/maps | grep -q libesca.so || bad "libesca.so is not in the server"
# --- where io_uring cannot be used the backend is direct, and one sentence says so; with auto none does
cat >confine.c <<'END'
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog prog = {1, &allow};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		return 99;
	execvp(argv[1], argv + 1);
	return 98;
}
END
${CC:-cc} -o confine confine.c || exit 1
./confine "$ESCA" run --backend uring -- sh -c 'echo "$ESCA_RUNTIME"' >out 2>err
grep -q 'backend=direct' out || bad "under a seccomp filter the plan is $(cat out)"
{ grep -q 'direct.*seccomp' err && [ "$(wc -l <err)" = 1 ]; } || bad "under a seccomp filter it says $(cat err)"
./confine "$ESCA" run -- sh -c 'echo "$ESCA_RUNTIME"' >out 2>err
grep -q 'backend=direct' out || bad "auto under a seccomp filter: $(cat out)"
[ ! -s err ] || bad "auto under a seccomp filter says $(cat err)"
# A limit on locked memory, which older kernels hold rings against.
(ulimit -l 0 && exec "$ESCA" run --backend uring -- sh -c 'echo "$ESCA_RUNTIME"') >out 2>err
grep -q "backend=$([ -s err ] && echo direct || echo uring)" out || bad "without locked memory: $(cat out err)"
"$ESCA" run --backend uring -- sh -c 'echo "$ESCA_RUNTIME"' >out 2>err
if [ -s err ]; then
	grep -q 'backend=direct' out || bad "fell back, yet the plan is $(cat out)"
	grep -q 'direct' err || bad "fell back without saying so: $(cat err)"
else
	grep -q 'backend=uring' out || bad "asked for uring, the plan is $(cat out)"
fi

# --- a server with an allocator of its own (redis, with jemalloc), which is at work before libesca.so has been initialised
cat >alloc.c <<'END'
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
static char pool[1 << 20];
static size_t used;
void *malloc(size_t n)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	size_t *p;
	void *m;

	pthread_mutex_lock(&lock);
	p = (void *)(pool + used);
	m = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	munmap(m, 4096);
	used += (n + 31) / 16 * 16;
	if (used > sizeof(pool))
		_exit(3);
	*p = n;
	pthread_mutex_unlock(&lock);
	return p + 2;
}
void free(void *p) { (void)p; }
void *calloc(size_t n, size_t m) { return malloc(n * m); }
void *realloc(void *old, size_t n)
{
	void *p = malloc(n);
	return old ? memcpy(p, old, ((size_t *)old)[-2] < n ? ((size_t *)old)[-2] : n) : p;
}
__attribute__((constructor)) static void early(void) { free(malloc(1)); }
END
echo 'int main(void) { return 0; }' >main.c
if ${CC:-cc} -shared -fPIC -o liballoc.so alloc.c && ${CC:-cc} -o own-malloc main.c -Wl,--no-as-needed,-rpath,"$dir" -L. -lalloc; then
	expect 0 '' -- ./own-malloc
else
	bad "cannot build a program with an allocator of its own"
fi

# --- signals reach the server once, those of a terminal are left to it
cat >server <<'END'
#!/bin/sh
n=0
trap 'echo usr1' USR1
trap 'echo hup' HUP
trap 'echo term; exit 5' TERM
echo up
while :; do sleep 0.05; done
END
chmod +x server
"$ESCA" run --stats s.json -- ./server >log 2>err &
esca=$!
for _ in $(seq 100); do grep -q up log && break; sleep 0.05; done
kill -USR1 $esca
for _ in $(seq 100); do grep -q usr1 log && break; sleep 0.05; done
kill -HUP $esca
for _ in $(seq 100); do grep -q hup log && break; sleep 0.05; done
kill -TERM $esca
wait $esca
[ $? = 5 ] || bad "the server's status after SIGTERM did not come through"
[ "$(tr '\n' ' ' <log)" = "up usr1 hup term " ] || bad "signals: $(tr '\n' ' ' <log)"

# --- a server that goes into the background is waited for, and gets the signals
cat >daemon <<'END'
#!/bin/bash
( trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done ) &
exit 0
END
chmod +x daemon
rm -f s.json
"$ESCA" run --stats s.json -- ./daemon >log 2>err &
esca=$!
for _ in $(seq 100); do grep -q up log && break; sleep 0.05; done
sleep 0.3
kill -0 $esca 2>/dev/null || bad "esca did not wait for the daemon"
[ ! -e s.json ] || bad "the counters were written while the daemon runs"
kill -TERM $esca
wait $esca || bad "exit status of a daemonised server"
[ "$(tr '\n' ' ' <log)" = "up bye " ] || bad "daemon: $(tr '\n' ' ' <log)"
[ -s s.json ] || bad "no counters of the daemon"

# --- esca killed: the server goes on
"$ESCA" run --stats s.json -- sh -c 'echo $$ >pid; exec sleep 1000' &
esca=$!
for _ in $(seq 100); do [ -s pid ] && break; sleep 0.05; done
kill -9 $esca
wait $esca 2>/dev/null
sleep 0.1
kill -0 "$(cat pid)" 2>/dev/null || bad "the server died with esca"
kill -9 "$(cat pid)"

exit $failed
