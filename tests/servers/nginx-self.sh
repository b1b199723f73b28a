#!/bin/bash
# SPDX-License-Identifier: MIT
# nginx-self.sh - the harness itself: two plain servers are found equal, and each kind of difference is found.
# shellcheck source=tests/servers/nginx-lib.sh
. "$top_srcdir/tests/servers/nginx-lib.sh"

# different WHAT COMMAND... - it must fail and say why
different()
{
	local what=$1 before=$failures

	shift
	"$@" >"$dir/said" 2>&1
	if [ "$failures" -eq "$before" ]; then
		fail "$what is not found"
	else
		failures=$before
	fi
}

for name in a b; do
	configure $name "sendfile on" "tcp_nopush on" workers=2
	start vanilla
	play $name seq 0 scenarios
	play $name all 3 scenarios
	stop QUIT
done
compare a b
check_log a b

play_wrong() # RUN SCENARIO
{
	configure "$1" "sendfile on"
	start vanilla
	play "$1" one 1 scenarios "$2"
	stop QUIT
}
play_wrong c pipeline-slow
printf '#' | dd of="$dir/www/20k" bs=1 seek=20479 conv=notrunc status=none
touch -d '2020-02-02 02:02:02 UTC' "$dir/www/20k"
play_wrong d pipeline-slow
different "a changed byte" compare c d
cp -r "$dir/c" "$dir/e"
truncate -s -1 "$dir/e/one/pipeline-slow.1"
different "a lost byte" compare c e
cp -r "$dir/a" "$dir/f"
rm -r "$dir/f/all/slow-1m.2"
different "a lost connection" compare a f

log=$dir/f/access.log
sed -i '5d' "$log"
different "a lost log line" check_log a f
sed '5p' "$dir/a/access.log" >"$log"
different "a doubled log line" check_log a f
sed '/^keepalive.0.1 /{h;d};/^keepalive.0.2 /G' "$dir/a/access.log" >"$log"
different "log lines out of order" check_log a f

# Bytes that never come: the client must not wait for ever, nor call it well.
cat >"$dir/hang" <<-END
	hang GET /1k; flush; wait; wait; read 1
END
configure g "sendfile on"
start vanilla
mkdir -p "$dir/g/h"
ESCA_TEST_DEADLINE=500 "$client" play "$port" "$dir/g/h" 1 "$dir/hang" 2>"$dir/said" && fail "a connection that hangs is not found"
grep -q 'hang.1 hangs in' "$dir/said" || fail "a connection that hangs is not named: $(cat "$dir/said")"
# And the load generator sees a wrong body.
out=$("$client" load "$port" 4 0.2 /1k "$dir/www/16k")
case $out in *completed=0*wrong=[1-9]*) ;; *) fail "a wrong body is not found: $out" ;; esac
out=$("$client" load "$port" 4 0.2 /16k "$dir/www/16k")
case $out in completed=[1-9]*\ broken=0\ wrong=0) ;; *) fail "a right body is not taken: $out" ;; esac
stop QUIT
done_testing
