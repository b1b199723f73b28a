#!/bin/bash
# SPDX-License-Identifier: MIT
# bench.sh - each row of tests/bench/rows, vanilla and aggregated in turn by 'esca bench', held against its goals.
# Usage: bench.sh [ROW...]; environment: PAIRS (5), SECONDS_EACH (2), BENCH_OPTIONS (for esca bench), JSON (file to write), all as 'make bench' passes them.
# Needs root (a network of its own) and the servers; a row whose server is not installed is left out with a sentence.
set -u
here=$top_srcdir/tests/bench
load=$top_builddir/tests/bench/load
pairs=${PAIRS:-5}
each=${SECONDS_EACH:-2}
read -ra options <<<"${BENCH_OPTIONS:-}"
port=18081
backend_port=18082
PATH=$PATH:/usr/sbin

if [ "$(id -u)" -ne 0 ]; then
	echo "bench.sh: measuring needs root, for a network of its own and to count system calls"
	exit 2
fi
for tool in jq column unshare ip; do
	command -v "$tool" >/dev/null || { echo "bench.sh: $tool is missing; see tests/packages.sh"; exit 2; }
done
# A network of its own for all of it, as --isolate-net would make; a proxy's backend has to be in it too.
if [ -z "${ESCA_BENCH_INSIDE:-}" ]; then
	ESCA_BENCH_INSIDE=1 exec unshare -n -- "$BASH" "$0" "$@"
fi
ip link set lo up
echo reno >/proc/sys/net/ipv4/tcp_congestion_control

tmp=$(mktemp -d)
chmod 755 "$tmp"
backend_pid=
stop_backend()
{
	[ -n "$backend_pid" ] || return 0
	kill "$backend_pid" 2>/dev/null
	wait "$backend_pid" 2>/dev/null
	backend_pid=
}
trap 'stop_backend; rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP

mkdir "$tmp/root"
body=$(printf '%01024d' 0)
printf '%s' "$body" >"$tmp/root/1k"
for _ in {1..20}; do printf '%s' "$body"; done >"$tmp/root/20k"

nginx_conf() # FILE PORT EXTRA LOCATION - one worker in the foreground
{
	cat >"$1" <<END
worker_processes 1;
daemon off;
pid $1.pid;
error_log $1.log;
events { worker_connections 1024; }
http {
	access_log off;
	sendfile on;
	keepalive_requests 1000000000;
	client_body_temp_path $tmp/body;
	proxy_temp_path $tmp/proxy;
	fastcgi_temp_path $tmp/fastcgi;
	uwsgi_temp_path $tmp/uwsgi;
	scgi_temp_path $tmp/scgi;
	$3
	server {
		listen 127.0.0.1:$2 backlog=1024;
		root $tmp/root;
		$4
	}
}
END
}

start_backend() # its CPU is the load's
{
	nginx_conf "$tmp/backend.conf" "$backend_port" "open_file_cache max=100;" ""
	command -v nginx >/dev/null || return 1
	taskset -c 1 nginx -c "$tmp/backend.conf" 2>"$tmp/backend.err" &
	backend_pid=$!
	for _ in {1..50}; do
		(: <"/dev/tcp/127.0.0.1/$backend_port") 2>/dev/null && return 0
		sleep 0.1
	done
	return 1
}

server() # NAME - set cmd to its command line; 1 if it is not here
{
	case $1 in
	nginx-1k) nginx_conf "$tmp/conf" $port "open_file_cache max=100;" "" ;;
	nginx-log) nginx_conf "$tmp/conf" $port "tcp_nopush on; access_log $tmp/access.log;" "" ;;
	nginx-20k) nginx_conf "$tmp/conf" $port "tcp_nopush on; open_file_cache max=100;" "" ;;
	nginx-proxy)
		nginx_conf "$tmp/conf" $port \
			"upstream back { server 127.0.0.1:$backend_port; keepalive 64; keepalive_requests 1000000000; }" \
			"location / { proxy_pass http://back; proxy_http_version 1.1; proxy_set_header Connection ''; }"
		start_backend || return 1 ;;
	esac
	case $1 in
	nginx-*) cmd=(nginx -c "$tmp/conf") ;;
	lighttpd)
		cat >"$tmp/conf" <<-END
			server.port = $port
			server.bind = "127.0.0.1"
			server.document-root = "$tmp/root"
			server.max-keep-alive-requests = 65000
			mimetype.assign = ("" => "text/plain")
		END
		cmd=(lighttpd -D -f "$tmp/conf") ;;
	memcached) cmd=(memcached -l 127.0.0.1 -p "$port" -U 0 -t 1 -u nobody) ;;
	redis) cmd=(redis-server --bind 127.0.0.1 --port "$port" --save "" --appendonly no --daemonize no) ;;
	haproxy)
		cat >"$tmp/conf" <<-END
			global
				nbthread 1
			defaults
				mode http
				timeout connect 5s
				timeout client 60s
				timeout server 60s
				http-reuse always
			frontend f
				bind 127.0.0.1:$port
				default_backend b
			backend b
				server s 127.0.0.1:$backend_port
		END
		start_backend || return 1
		cmd=(haproxy -db -f "$tmp/conf") ;;
	node)
		cat >"$tmp/conf.js" <<-END
			const body = Buffer.alloc(1024, 48);
			require('http').createServer((q, s) => {
				s.writeHead(200, {'Content-Type': 'text/plain', 'Content-Length': 1024});
				s.end(body);
			}).listen($port, '127.0.0.1');
		END
		cmd=(node "$tmp/conf.js") ;;
	*) echo "bench.sh: no server '$1'"; exit 2 ;;
	esac
	command -v "${cmd[0]}" >/dev/null
}

measure() # NAME VARIANT GOAL CROSSINGS-GOAL LOAD OPTION... - its line goes to $tmp/lines, its JSON to $tmp/all
{
	local name=$1 variant=$2 goal=$3 most=$4 what=$5
	shift 5

	printf '%s, %s ...\n' "$name" "$variant" >&2
	if ! "$ESCA" bench --no-predict --pairs "$pairs" --server-cpu 0 --load-cpu 1 --json "$tmp/json" "$@" ${options[@]+"${options[@]}"} \
		--load "'$load' -p $port -d $each $what" -- "${cmd[@]}" >"$tmp/out" 2>&1; then
		cat "$tmp/out"
		printf '%s\t%s\tfailed\n' "$name" "$variant" >>"$tmp/lines"
		bad=1
		return
	fi
	# The system calls are counted apart: to count them costs the server time.
	"$ESCA" bench --no-predict --pairs 1 --server-cpu 0 --load-cpu 1 --json "$tmp/json-x" "$@" ${options[@]+"${options[@]}"} \
		--load "'$load' -p $port -d 1 -x $what" -- "${cmd[@]}" >"$tmp/out" 2>&1 || { cat "$tmp/out"; bad=1; }
	jq -n --arg name "$name" --arg variant "$variant" --arg goal "$goal" --arg most "$most" --slurpfile t "$tmp/json" --slurpfile x "$tmp/json-x" '
		def num: if . == "-" then null else tonumber end;
		$t[0] as $t | $x[0] as $x |
		($x.pairs[0] | (.vanilla.system_calls and .aggregated.system_calls)) as $seen |
		($x.summary.crossings_per_request // {vanilla: 0, aggregated: 0}) as $c |
		{row: $name, variant: $variant, goal: ($goal | num), crossings_goal: ($most | num), summary: $t.summary, pairs: $t.pairs,
		 turn: ($t.pairs | map(.aggregated | .requests / ((.counters.turns // 0) | if . == 0 then 1 else . end)) | add / length),
		 crossings: {vanilla: $c.vanilla, aggregated: $c.aggregated, by: (if $seen then "tracepoint" else "runtime" end)}} |
		.met = (if .goal then .summary.cpu_per_request_us.ratio <= .goal else null end) |
		.crossings_met = (if .crossings_goal then .crossings.aggregated <= .crossings_goal else null end)' >"$tmp/one" || { bad=1; return; }
	cat "$tmp/one" >>"$tmp/all"
	jq -r '
		def fix($n): (. * pow(10; $n) | round) as $v | ($v | tostring) as $s |
			if $n == 0 then $s else ("000" + $s)[-([($s | length), $n + 1] | max):] | .[:-$n] + "." + .[-$n:] end;
		def yes: if . == null then "-" elif . then "yes" else "NO" end;
		def range($n): "\(.ratio | fix($n)) [\(.ratio_min | fix($n))-\(.ratio_max | fix($n))]";
		def change($n): if . then "\(.vanilla | fix($n)) > \(.aggregated | fix($n))" else "-" end;
		[.row, .variant, (.summary.cpu_per_request_us | change(2)), (.summary.cpu_per_request_us | range(3)), (.goal // "-"), (.met | yes),
		 (.summary.requests_per_second | range(2)), (.summary.p50_us | change(0)), (.summary.p99_us | change(0)),
		 (.turn | fix(1)), "\(.crossings.vanilla | fix(2)) > \(.crossings.aggregated | fix(2))\(if .crossings.by == "runtime" then " (r)" else "" end)",
		 (.crossings_goal // "-"), (.crossings_met | yes)] | @tsv' "$tmp/one" >>"$tmp/lines"
}

bad=0
: >"$tmp/all"
printf 'ROW\tOPTIONS\tCPU us/REQ\tRATIO\tGOAL\tMET\tREQ/S RATIO\tP50 us\tP99 us\tREQ/TURN\tCROSSINGS/REQ\tGOAL\tMET\n' >"$tmp/lines"
for row in "$@"; do
	grep -q "^${row}[[:space:]]" "$here/rows" || { echo "bench.sh: no row '$row'; there are: $(awk '/^[^#]/ { print $1 }' "$here/rows" | xargs)"; exit 2; }
done
while read -r name kind goal ahead most what <&3; do
	case $name in '' | '#'*) continue ;; esac
	if [ $# -gt 0 ]; then
		case " $* " in *" $name "*) ;; *) continue ;; esac
	fi
	if ! server "$kind"; then
		echo "bench.sh: '$name' is left out: its server is not installed or does not start"
		stop_backend
		continue
	fi
	case ${VARIANTS:-both} in both | default) measure "$name" default "$goal" - "$what" 3<&- ;; esac
	[ "$ahead" = - ] || case ${VARIANTS:-both} in both | ahead) measure "$name" read-ahead "$ahead" "$most" "$what" --read-ahead 3<&- ;; esac
	stop_backend
done 3<"$here/rows"
uname -srm
echo "$pairs pairs of $each s, server on CPU 0, load on CPU 1, reno on loopback; medians, lowest and highest ratio within a pair"
echo "crossings: system calls counted by the raw_syscalls tracepoint in a run apart; (r): by the runtime, no tracepoint here"
column -t -s $'\t' -o '  ' "$tmp/lines"
[ -z "${JSON:-}" ] || jq -s . "$tmp/all" >"$JSON" || bad=1
exit $bad
