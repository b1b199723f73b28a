#!/bin/bash
# SPDX-License-Identifier: MIT
# cmd-bench.sh - esca bench as a command: a table from a real server, every way to fail, and nothing left running after any of them.
set -u
# shellcheck source=tests/live/lib.sh
. "$top_srcdir/tests/live/lib.sh"
cp "$top_builddir/tests/live/tiny" "$dir/tiny-$$" || exit 1
tiny=$dir/tiny-$$

# A port that nobody listens on; each test takes the next one, so that one failure does not make another.
port=$((20000 + $$ % 10000))
next_port()
{
	while :; do
		port=$((port + 1))
		grep -q ":$(printf %04X $port) " /proc/net/tcp || return
	done
}

left_over()
{
	local p

	for p in /proc/[0-9]*/exe; do
		[ "$(readlink "$p")" = "$tiny" ] && return 0
	done
	return 1
}

# expect STATUS WORD ARG...: bench --no-predict ARG... ends with STATUS and says WORD, and nothing it started is left
expect()
{
	local status=$1 word=$2 got
	shift 2
	timeout 60 "$ESCA" bench --no-predict "$@" >out 2>err
	got=$?
	[ "$got" = "$status" ] || bad "bench $*: exit status $got, not $status: $(cat err)"
	[ -z "$word" ] || grep -q -- "$word" err || bad "bench $*: does not say '$word': $(cat err)"
	left_over && bad "bench $*: something is left running"
}

# --- command lines and targets
expect 64 'which server' --load true
expect 64 'which load' -- "$tiny" serve 1
expect 64 'pairs' --pairs 0 --load true -- "$tiny" serve 1
expect 64 'pairs' --pairs 3x --load true -- "$tiny" serve 1
expect 64 'requests' --requests -3 --load true -- "$tiny" serve 1
expect 64 'backend' --backend frob --load true -- "$tiny" serve 1
expect 127 'no server program' --load true -- ./missing
expect 126 'directory' --load true -- /tmp
expect 2 'nothing was measured' --json no/such/dir/f --load true -- "$tiny" serve 1
expect 2 'CPU 1000' --server-cpu 1000 --load true -- "$tiny" serve 1

# --- servers and loads that fail
next_port
expect 1 'before it listened' --load true -- "$tiny" serve
next_port
expect 1 'does not listen' --timeout 1 --load true -- "$tiny" serve $port deaf
next_port
expect 1 'has not ended' --timeout 1 --load 'sleep 1000' -- "$tiny" serve $port
next_port
expect 1 'failed with status 3' --load 'exit 3' -- "$tiny" serve $port
next_port
expect 1 'signal 6' --load "'$tiny' ask $port 1; true" -- "$tiny" serve $port crash
next_port
"$tiny" serve $port & other=$!
for _ in $(seq 100); do grep -q ":$(printf %04X $port) .* 0A " /proc/net/tcp && break; sleep 0.05; done
mkdir other && mv "$tiny" other/ && cp other/tiny-$$ "$tiny" # so that it does not count as left over
expect 1 'in use' --load true -- "$tiny" serve $port
kill $other

# --- it measures
next_port
expect 0 '' --pairs 2 --requests 400 --json b.json --load "'$tiny' ask $port 400" -- "$tiny" serve $port
grep -q 'CPU time per request, us' out || bad "no CPU time per request: $(cat out)"
grep -q 'requests per second' out || bad "no throughput: $(cat out)"
[ "$(grep -c '"requests": 400' b.json)" = 4 ] || bad "the JSON does not have 4 runs of 400 requests"
for key in cpu_per_request_us ratio ratio_min ratio_max vanilla aggregated server_cpu load_cpu backend command load; do
	grep -q "\"$key\"" b.json || bad "the JSON has no $key"
done
next_port
expect 0 'no number of requests' --pairs 1 --load "'$tiny' ask $port 400" -- "$tiny" serve $port
grep -q 'CPU time of the load, ms' out || bad "no CPU time of a whole load: $(cat out)"
next_port
expect 0 '' --pairs 1 --requests 400 --load "'$tiny' ask $port 400" -- "$tiny" serve $port daemon
grep -q 'CPU time per request' out || bad "a server in the background: $(cat out)"

# what a load tool says of failed requests is our answer too: this is the output of wrk against a server that answers 404
next_port
cat >load <<END
cat "$top_srcdir/tests/unit/load/wrk-404.txt"
'$tiny' ask $port 400
END
expect 1 '98649 requests failed vanilla and 98649 aggregated' --pairs 1 --load 'sh ./load' -- "$tiny" serve $port

# a load that leaves something in the background
next_port
expect 0 '' --pairs 1 --requests 4 --load "'$tiny' ask $port 4; '$tiny' serve $((port + 5000)) deaf & true" -- "$tiny" serve $port

# --- interrupted: while the server starts, under the load
interrupt() # SIGNAL AFTER ARG...
{
	local sig=$1 after=$2 pid status
	shift 2
	"$ESCA" bench --no-predict "$@" >out 2>err &
	pid=$!
	sleep "$after"
	kill -"$sig" $pid
	wait $pid
	status=$?
	[ $status = $((128 + $(kill -l "$sig"))) ] || bad "$sig: exit status $status: $(cat err)"
	grep -q 'interrupted' err || bad "$sig: does not say so: $(cat err)"
	left_over && bad "$sig: something is left running"
}
next_port
interrupt TERM 0.5 --load true -- "$tiny" serve $port deaf
next_port
interrupt HUP 0.7 --load 'sleep 1000' -- "$tiny" serve $port
next_port
interrupt TERM 0.7 --load "'$tiny' ask $port 100000000" -- "$tiny" serve $port

# --- killed: neither the server nor the load outlives it
killed() # AFTER ARG...
{
	local after=$1 pid i
	shift
	"$ESCA" bench "$@" >out 2>err &
	pid=$!
	for ((i = 0; i < 200; i++)); do "$after" && break; sleep 0.05; done
	"$after" || bad "killed: bench did not get as far as '$after': $(cat err)"
	kill -9 $pid
	wait $pid 2>/dev/null
	for ((i = 0; i < 100; i++)); do left_over || break; sleep 0.05; done
	left_over && bad "killed: bench $* left something running"
}
serving() { grep -q ":$(printf %04X $port) .* 0A " /proc/net/tcp; }
loading()
{
	local p

	for p in /proc/[0-9]*; do
		[ "$(readlink "$p/exe")" = "$tiny" ] && tr '\0' ' ' <"$p/cmdline" | grep -q ' ask ' && return 0
	done 2>/dev/null
	return 1
}
next_port
killed left_over --no-predict --load true -- "$tiny" serve $port deaf
next_port
killed loading --no-predict --load "'$tiny' ask $port 100000000; true" -- "$tiny" serve $port
next_port
killed serving --load "'$tiny' ask $port 100000000; true" -- "$tiny" serve $port

# --- with the recording for the prediction: it leaves no file, also when it is interrupted, and a recording that fails is not the end
mkdir tmp
export TMPDIR=$dir/tmp
next_port
timeout 60 "$ESCA" bench --pairs 1 --requests 400 --json b.json --load "'$tiny' ask $port 400" -- "$tiny" serve $port >out 2>err ||
	bad "with a prediction: $(cat err)"
grep -q '"cpu_ratio": [01]\.' b.json || grep -q 'no prediction' err || bad "neither a prediction nor a word why: $(cat out err)"
left_over && bad "the recording left something running"
next_port
"$ESCA" bench --load "'$tiny' ask $port 100000000" -- "$tiny" serve $port >out 2>err &
pid=$!
sleep 0.7
kill -TERM $pid
wait $pid
[ $? = 143 ] || bad "interrupted while recording: exit status is not 143"
left_over && bad "interrupted while recording: something is left running"
next_port
cat >once <<END
#!/bin/sh
[ -n "\$ESCA_RUNTIME" ] && [ "\${ESCA_RUNTIME#*mode=record}" != "\$ESCA_RUNTIME" ] && exit 9
exec '$tiny' serve $port
END
chmod +x once
timeout 60 "$ESCA" bench --pairs 1 --requests 4 --load "'$tiny' ask $port 4" -- ./once >out 2>err || bad "recording fails: $(cat err)"
grep -q 'no prediction' err || bad "recording fails, and nothing is said: $(cat err)"
[ -z "$(ls tmp)" ] || bad "left in TMPDIR: $(ls tmp)"

# --- a network of its own
next_port
if [ "$(id -u)" = 0 ] && unshare -n true 2>/dev/null; then
	expect 0 '' --isolate-net --pairs 1 --requests 40 --load "cat /proc/sys/net/ipv4/tcp_congestion_control >cc; '$tiny' ask $port 40" \
		-- "$tiny" serve $port
	[ "$(cat cc)" = reno ] || bad "not reno in the isolated network: $(cat cc)"
	grep -q bbr err && bad "warns of bbr in the isolated network"
fi
exit $failed
