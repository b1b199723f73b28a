#!/bin/bash
# SPDX-License-Identifier: MIT
# nginx-stats.sh - the counters of an nginx of two workers, asked for while it serves: by the pid of any of its processes, before and after a
# reload and after a worker was killed, and in the file at the end: all workers there ever were, and no counter ever less.
# shellcheck source=tests/servers/nginx-lib.sh
. "$top_srcdir/tests/servers/nginx-lib.sh"

workers() { pgrep -P "$master" | sort | tr '\n' ' '; }

# two_new OLD... - are there two workers, none of them OLD?
two_new()
{
	local w p

	w=$(workers)
	[ "$(echo "$w" | wc -w)" = 2 ] || return 1
	for p; do
		[[ " $w " != *" $p "* ]] || return 1
	done
}

# ask FILE PID
ask()
{
	"$ESCA" stats "$2" >"$run/$1" 2>"$run/said" || fail "esca stats of process $2: $(cat "$run/said")"
}

# has FILE PID... - the processes are in the list, once, the total is their sum
has()
{
	local file=$run/$1 p

	shift
	for p; do
		jq -e --argjson p "$p" '[.processes[] | select(.pid == $p)] | length == 1' "$file" >/dev/null || fail "${file##*/}: process $p is not there once"
	done
	jq -e '.uncounted_threads == 0 and ([.processes[].calls] | add) == .total.calls and
		([.processes[].deferred] | add) == .total.deferred' "$file" >/dev/null || fail "${file##*/}: the total is not the sum"
}

# grew A B - no process of A is missing in B or has a lower count there, and the total is higher
grew()
{
	jq -e --slurpfile b "$run/$2" '($b[0].processes | map({key: (.pid | tostring), value: .}) | from_entries) as $new |
		all(.processes[]; . as $p | $new[.pid | tostring] as $q | $q != null and $q.calls >= $p.calls and $q.deferred >= $p.deferred) and
		$b[0].total.calls > .total.calls' "$run/$1" >/dev/null || fail "from $1 to $2 counts were lost"
}

configure stats "sendfile on" "tcp_nopush on" workers=2
start direct
first=$(workers)
play stats one 1 scenarios keepalive pipeline-slow
ask 1 "$server"
# shellcheck disable=SC2086
has 1 "$master" $first
for p in $master $first; do
	ask same "$p"
	# shellcheck disable=SC2086
	has same "$master" $first
done
kill -HUP "$master"
# shellcheck disable=SC2086
wait_for 20 two_new $first || fail "no new workers after a reload"
second=$(workers)
play stats two 1 scenarios keepalive pipeline-slow
ask 2 "$master"
# shellcheck disable=SC2086
has 2 "$master" $first $second
grew 1 2
victim=${second%% *}
kill -KILL "$victim"
wait_for 20 two_new "$victim" || fail "the killed worker was not replaced"
third=$(workers)
play stats three 1 scenarios keepalive
ask 3 "$server"
# shellcheck disable=SC2086
has 3 "$master" $first $second $third
grew 2 3
stop QUIT
cp "$run/stats.json" "$run/4"
# shellcheck disable=SC2086
has 4 "$master" $first $second $third
grew 3 4
done_testing
