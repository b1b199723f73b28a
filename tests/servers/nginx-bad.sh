#!/bin/bash
# SPDX-License-Identifier: MIT
# nginx-bad.sh - what goes wrong with a server at start and at the terminal: a port in use, a wrong configuration, Ctrl-C; esca run must end
# as the server alone does, say what it says, and leave nothing running.
# shellcheck source=tests/servers/nginx-lib.sh
. "$top_srcdir/tests/servers/nginx-lib.sh"

# both WHAT WORD CONF - nginx with this configuration alone, under esca run, and under esca run --stats: same status, same words
both()
{
	local what=$1 word=$2 conf=$3 how alone status

	for how in alone become stay; do
		cmd=("$nginx" -e "$run/error-$how.log" -c "$conf")
		case $how in
		become) cmd=("$ESCA" run -- "${cmd[@]}") ;;
		stay) cmd=("$ESCA" run --stats "$run/bad-$how.json" -- "${cmd[@]}") ;;
		esac
		timeout 30 "${cmd[@]}" >"$run/out-$how" 2>"$run/err-$how" </dev/null
		status=$?
		[ "$how" = alone ] && alone=$status
		[ "$status" -eq "$alone" ] || fail "$what: exit status $status under esca ($how), $alone without"
		grep -q "$word" "$run/err-$how" || fail "$what: ($how) does not say '$word': $(cat "$run/err-$how")"
		sed 's/^[0-9/]* [0-9:]* //; s/[0-9]*#[0-9]*: //' "$run/err-$how" | grep -v 'still could not bind' >"$run/words-$how"
		cmp -s "$run/words-alone" "$run/words-$how" ||
			fail "$what: other words under esca ($how): $(diff "$run/words-alone" "$run/words-$how")"
	done
	jq -e .total "$run/bad-stay.json" >/dev/null || fail "$what: no counters of a server that ended at once"
}

configure first "sendfile on"
start vanilla
used=$port
configure second "sendfile on"
sed -i "s/127.0.0.1:$port/127.0.0.1:$used/" "$run/nginx.conf"
both "port in use" "Address already in use" "$run/nginx.conf"
"$client" load "$used" 2 0.1 /1k "$dir/www/1k" | grep -q 'completed=[1-9].*wrong=0' || fail "the server that has the port was disturbed"
run=$dir/first
stop QUIT

configure third "sendfile on" "no_such_directive on"
both "wrong configuration" "no_such_directive" "$run/nginx.conf"
both "no configuration" "No such file" "$run/none.conf"

# Ctrl-C and Ctrl-\ reach the whole foreground group; a supervisor signals only the process that it started.
for how in vanilla direct direct-exec; do
	for sig in INT TERM QUIT; do
		for whom in group process; do
			configure "$sig-$whom-$how" "sendfile on"
			set -m # a process group of its own
			start "$how"
			set +m
			mkdir -p "$run/one"
			"$client" play "$port" "$run/one" 1 "$top_srcdir/tests/servers/scenarios" keepalive
			pids="$master $(pgrep -P "$master" | tr '\n' ' ')"
			[ "$whom" = group ] && kill -s "$sig" -- "-$server" || kill -s "$sig" "$server"
			# shellcheck disable=SC2086
			wait_for 10 gone $pids "$server" || {
				fail "$how: SIG$sig to the $whom leaves something running"
				stop KILL
				continue
			}
			wait "$server"
			got=$?
			server=
			[ "$got" -eq 0 ] || fail "$how: SIG$sig to the $whom: exit status $got, and nginx alone has 0"
			grep -q '^keepalive.1.4 200' "$run/one/answered" || fail "$how: no service"
			[ "$how" != direct ] || jq -e '.total.turns > 0' "$run/stats.json" >/dev/null ||
				fail "$how: no counters after SIG$sig to the $whom"
		done
	done
done

# esca itself is killed: the server goes on, or is gone; it is not half alive.
configure orphan "sendfile on"
start direct
kill -KILL "$server"
wait "$server" 2>/dev/null
mkdir -p "$run/one"
if alive "$master"; then
	play orphan one 1 scenarios keepalive pipeline slow-64k
	grep -q '^pipeline.1.9 200' "$run/one/answered" || fail "the server is half alive without esca"
	pids="$master $(pgrep -P "$master" | tr '\n' ' ')"
	kill -QUIT "$master"
	# shellcheck disable=SC2086
	wait_for 10 gone $pids || fail "the server does not end any more"
fi
server=
done_testing
