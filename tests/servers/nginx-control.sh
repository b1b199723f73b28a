# SPDX-License-Identifier: MIT
# nginx-control.sh - what an admin does to nginx while it serves: reload, reopen the logs, quit, stop; and a worker that is killed.
# The same must hold for nginx alone, or the test is wrong. Sourced with `backend` set by the test of each backend.
# ESCA_TEST names one case to run alone.
# shellcheck shell=bash
# shellcheck source=tests/servers/nginx-lib.sh
. "$top_srcdir/tests/servers/nginx-lib.sh"

: "${backend:?}"
if reason=$(backend_missing "$backend"); then
	echo "the backend $backend does not work here: $reason"
	exit 77
fi

load_start() # SECONDS PATH
{
	"$client" load "$port" 50 "$1" "$2" "$dir/www$2" >"$run/load" 2>&1 &
	load=$!
}

load_end() # sets completed, retried, broken, wrong
{
	local word

	wait "$load" || fail "$how: the load did not end well: $(cat "$run/load")"
	completed=0 retried=0 broken=0 wrong=0
	for word in $(cat "$run/load"); do
		case $word in *=*) declare -g "${word?}" ;; esac
	done
	echo "	$(cat "$run/load")"
	[ "$completed" -gt 100 ] || fail "$how: only $completed requests were completed"
	[ "$wrong" -eq 0 ] || fail "$how: $wrong wrong answers"
}

lines() { cat "$@" 2>/dev/null | wc -l; }

workers() { pgrep -P "$master" | sort | tr '\n' ' '; }

# Nothing that was asked before may break; a connection may be closed between two requests, once a reload.
case_reload()
{
	local before old

	configure "reload-$how" workers=2 "sendfile on" "tcp_nopush on"
	start "$how"
	before=$(workers)
	load_start 2.5 /20k
	sleep 0.5
	kill -HUP "$master"
	sleep 0.8
	kill -HUP "$master"
	load_end
	[ "$broken" -eq 0 ] || fail "$how: $broken answers broke off at a reload"
	[ "$retried" -le 100 ] || fail "$how: $retried connections were closed at two reloads of 50 connections"
	[ "$(lines "$run/access.log")" -eq "$completed" ] ||
		fail "$how: $(lines "$run/access.log") log lines for $completed answers after a reload"
	for old in $before; do
		wait_for 10 gone "$old" || fail "$how: the old worker $old is still there after a reload"
	done
	[ "$(workers | wc -w)" -eq 2 ] || fail "$how: not two workers after a reload"
	play "reload-$how" after 1 scenarios keepalive pipeline
	stop QUIT
	[ "$status" -eq 0 ] || fail "$how: exit status $status"
}

case_reopen()
{
	configure "reopen-$how" workers=2 "sendfile on"
	start "$how"
	load_start 1.5 /1k
	sleep 0.5
	mv "$run/access.log" "$run/access.log.1"
	kill -USR1 "$master"
	load_end
	stop QUIT
	[ "$broken" -eq 0 ] && [ "$retried" -eq 0 ] || fail "$how: connections broke when the log was reopened"
	[ -s "$run/access.log" ] && [ -s "$run/access.log.1" ] || fail "$how: one of the two logs is empty"
	[ "$(lines "$run/access.log" "$run/access.log.1")" -eq "$completed" ] ||
		fail "$how: $(lines "$run/access.log.1") + $(lines "$run/access.log") log lines for $completed answers"
}

marked()
{
	[ "$(find "$run/all" -name '*.mark' 2>/dev/null | wc -l)" -eq 8 ]
}

case_quit()
{
	local player

	configure "quit-$how" "sendfile on"
	start "$how"
	play "quit-$how" all 2 scenarios-quit &
	player=$!
	wait_for 10 marked || fail "$how: the clients are not served"
	stop QUIT
	wait "$player"
	[ "$status" -eq 0 ] || fail "$how: exit status $status"
	rm -f "$run"/all/*.mark
	[ "$how" = vanilla ] || compare quit-vanilla "quit-$how"
	grep -q '^stopped.1.0 200' "$run/all/answered" && grep -q '^slow.2.0 200' "$run/all/answered" ||
		fail "$how: what was being sent at SIGQUIT did not arrive: $(cat "$run/all/answered")"
}

case_stop()
{
	configure "stop-$how" daemon=on workers=2 "sendfile on"
	start "$how"
	load_start 1 /20k
	sleep 0.3
	stop TERM
	kill "$load"
	wait "$load" 2>/dev/null
	[ "$status" -eq 0 ] || fail "$how: exit status $status"
}

new_worker()
{
	[ "$(workers | wc -w)" -eq 2 ] && [ "$(workers)" != "$before" ]
}

case_killed()
{
	local before

	configure "killed-$how" workers=2 "sendfile on"
	start "$how"
	before=$(workers)
	load_start 1.5 /20k
	sleep 0.4
	kill -KILL "${before%% *}"
	wait_for 5 new_worker || fail "$how: the master started no new worker"
	load_end
	[ $((broken + retried)) -le 50 ] || fail "$how: $broken answers broke off and $retried connections were closed, of 50"
	[ "$(lines "$run/access.log")" -ge $((completed - 50)) ] ||
		fail "$how: $(lines "$run/access.log") log lines for $completed answers"
	play "killed-$how" after 1 scenarios keepalive pipeline
	grep -q '^pipeline.1.9 200' "$run/after/answered" || fail "$how: no service after a worker was killed"
	stop QUIT
}

case_stats()
{
	configure "stats-$how" workers=2 "sendfile on"
	start "$how"
	load_start 1.5 /1k
	load_end
	stop QUIT
	[ "$how" = vanilla ] || jq -e --argjson n "$completed" '
		(.processes | length >= 3)
		and (.total | .turns > 0 and .deferred > 0 and .fused > 0 and .crossings < .calls and .calls > 4 * $n
			and .bytes_copied > 0)
		and ([.processes[].calls] | add) == .total.calls
		and ([.processes[].turns] | add) == .total.turns
	' "$run/stats.json" >/dev/null || fail "$how: the statistics cannot be right after $completed requests: $(cat "$run/stats.json")"
}

for name in reload reopen quit stop killed stats; do
	# shellcheck disable=SC2254
	case $name in ${ESCA_TEST:-*}) ;; *) continue ;; esac
	for how in vanilla "$backend" "$backend-exec"; do
		[ "$name $how" != "stats $backend-exec" ] || continue
		echo "$name: $how"
		"case_$name"
		grep -E '\[(alert|crit|emerg)\]' "$run/error.log" | grep -v 'exited on signal 9' >"$dir/alerts" &&
			fail "$how: nginx complains: $(head -n 3 "$dir/alerts")"
	done
done
done_testing
