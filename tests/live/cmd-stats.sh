#!/bin/bash
# SPDX-License-Identifier: MIT
# cmd-stats.sh - esca stats as a command, and that the counters are complete: threads that have ended, workers forked, killed and replaced by
# exec are all in them, while the server runs and in its file at the end.
set -u
# shellcheck source=tests/live/lib.sh
. "$top_srcdir/tests/live/lib.sh"
esca='' server=''
trap 'for p in $esca $server; do kill -9 "$p" 2>/dev/null; done; rm -rf "$dir"' EXIT

expect()
{
	tried stats "$@"
	[ ! -s out ] || bad "stats $*: prints $(cat out)"
}

expect 64 'which process'
expect 64 'not .x.' x
expect 64 'not .0.' 0
expect 64 'not .-5.' -- -5
expect 64 'not .99999999999.' 99999999999
expect 64 'as well' 1 2
sh -c 'exit 0' & wait $!
expect 2 'no process' $!
expect 1 '--stats' $$
sleep 100 & server=$!
expect 1 '--stats' $server
"$ESCA" run -- true
kill $server
wait $server 2>/dev/null
server=

# --- a server of known calls: 3 workers of 2 threads, one after the other, 1000 calls each; then one is killed by SIGKILL, one ends, one becomes
# another program that makes 500 more. The server waits meanwhile, and ends when a file is there.
cat >known.c <<'END'
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
static void calls(int n)
{
	while (n--)
		lseek(0, 0, SEEK_CUR);
}
static void *thread(void *arg)
{
	calls(1000);
	return NULL;
}
int main(int argc, char **argv)
{
	if (argc > 1) {
		calls(500);
		return 0;
	}
	for (int i = 0; i < 3; i++) {
		if (fork())
			continue;
		for (int k = 0; k < 2; k++) {
			pthread_t t;
			if (pthread_create(&t, NULL, thread, NULL) || pthread_join(t, NULL))
				_exit(1);
		}
		if (!i)
			kill(getpid(), SIGKILL);
		if (i == 1)
			execl("./known", "known", "leaf", (char *)NULL);
		_exit(0);
	}
	while (wait(NULL) > 0)
		;
	if (write(open("ready", O_CREAT | O_WRONLY, 0600), "x", 1) != 1)
		return 1;
	while (access("go", F_OK))
		usleep(10000);
	return 0;
}
END
sed -i 's/#include <pthread.h>/#include <fcntl.h>\n&/' known.c
$CC -o known known.c -pthread || exit 1

# complete FILE - 4 processes, of which three made 2000 calls and 20 at most, 500 more for the one that became another program
complete()
{
	jq -e '(.processes | map(select(.calls >= 2000 and .calls < 2020)) | length) == 2 and
		(.processes | map(select(.calls >= 2500 and .calls < 2540)) | length) == 1 and (.processes | length) == 4 and
		(.processes | map(.pid) | unique | length) == 4 and .uncounted_threads == 0 and
		.total.calls == (.processes | map(.calls) | add) and .total.crossings == (.processes | map(.crossings) | add) and
		.total.passed == ([.total.passed_by[]] | add)' "$1" >/dev/null || bad "$1 is not complete: $(jq -c '[.processes[] | [.pid, .calls]]' "$1")"
}

"$ESCA" run --stats final -- ./known &
esca=$!
for _ in $(seq 200); do [ -e ready ] && break; sleep 0.05; done
server=$(pgrep -P $esca)
"$ESCA" stats $esca >by-esca || bad "no counters by esca's pid"
"$ESCA" stats "$server" >by-server || bad "no counters by the server's pid"
[ ! -e final ] || bad "the file was there before the end"
complete by-esca
complete by-server
[ "$(jq -S 'keys' by-server)" = "$(jq -S 'keys' by-esca)" ] || bad "by-server and by-esca have other members"
"$ESCA" stats "$server" >/dev/full 2>err && bad "a full disk is not noticed"
grep -q 'standard output' err || bad "does not say what it could not write: $(cat err)"
if [ "$(id -u)" = 0 ]; then
	chmod 755 "$dir"
	setpriv --reuid 65534 --regid 65534 --clear-groups "$ESCA" stats "$server" >out 2>err
	[ $? = 2 ] && grep -q 'root' err || bad "another user's server: $(cat err out)"
fi
touch go
wait $esca
complete final
[ "$(jq -S keys final)" = "$(jq -S keys by-esca)" ] || bad "the file has other members than esca stats"
esca='' server=''
rm -f go ready

# --- esca killed: root still sees the counters of what it left behind
"$ESCA" run --stats final -- ./known &
esca=$!
for _ in $(seq 200); do [ -e ready ] && break; sleep 0.05; done
server=$(pgrep -P $esca)
kill -9 $esca
wait $esca 2>/dev/null
esca=
if [ "$(id -u)" = 0 ] && [ -n "$(ls "/proc/$server/map_files" 2>/dev/null)" ]; then
	"$ESCA" stats "$server" >orphan || bad "no counters after esca was killed"
	complete orphan
fi
touch go
for _ in $(seq 200); do kill -0 "$server" 2>/dev/null || break; sleep 0.05; done
server=

# --- a library of another version, and an area that is not whole, count nothing and harm nothing
lib=$top_builddir/esca-runtime/.libs/libesca.so
abi=$("$ESCA" run -- sh -c 'printf "%s\\n" $ESCA_RUNTIME' | sed -n 's/^abi=//p')
head -c 100 /dev/zero >short
for plan in "abi=1 mode=run backend=direct stats=$dir/short" "abi=999 mode=run stats=$dir/none" "abi=$abi mode=run stats=$dir/short" \
	"abi=$abi mode=run stats=$dir/none" "abi=$abi mode=run stats=/dev/zero" "abi=$abi mode=run stats=" "mode=run" ""; do
	[ "$(ESCA_RUNTIME=$plan LD_PRELOAD=$lib sh -c 'echo here; (echo there)' 2>&1)" = "here
there" ] || bad "a server with the plan '$plan' is harmed"
done
[ "$(wc -c <short)" = 100 ] && [ ! -s none ] || bad "something was written into a file that is not an area"
exit $failed
