# SPDX-License-Identifier: MIT
# nginx-lib.sh - an nginx of Debian on a port and in a folder of its own, plain or under esca. Sourced by the tests of this folder.
# shellcheck shell=bash

: "${top_srcdir:?}" "${top_builddir:?}" "${ESCA:?}"
client=$top_builddir/tests/servers/client
nginx=$(command -v nginx || echo /usr/sbin/nginx)
[ -x "$nginx" ] || {
	echo "nginx is not installed; install the package nginx"
	exit 77
}

dir=$(mktemp -d "${TMPDIR:-/tmp}/esca-nginx.XXXXXX")
chmod 755 "$dir" # its workers are not root
failures=0
server=          # what start() started
loose='abort-'   # the scenarios of which the log's status and size may vary
trap 'finish' EXIT
trap 'exit 1' INT TERM HUP

finish()
{
	local rc=$?

	trap - EXIT
	[ -z "$server" ] || stop TERM >/dev/null 2>&1
	if [ "$rc" -eq 0 ] || [ "$rc" -eq 77 ]; then
		rm -rf "$dir"
	else
		echo "what is left of it: $dir"
	fi
	exit "$rc"
}

fail()
{
	failures=$((failures + 1))
	echo "FAIL: $*"
}

done_testing() # ends the test
{
	[ "$failures" -eq 0 ] || {
		echo "$failures failures"
		exit 1
	}
	exit 0
}

wait_for() # SECONDS COMMAND... - until it succeeds
{
	local end=$((SECONDS + $1))

	shift
	until "$@"; do
		[ "$SECONDS" -le "$end" ] || return 1
		sleep 0.02
	done
}

# The files it serves: each byte of one depends on its name and its place.
make_files()
{
	local name size

	mkdir -p "$dir/www/dir"
	while read -r name size; do
		awk -v name="$name" -v n="$((size / 16 + 1))" \
			'BEGIN { for (i = 0; i < n; i++) printf "%-5.5s%010d\n", name, i }' |
			head -c "$size" >"$dir/www/$name"
	done <<-END
		0 0
		1 1
		1k 1024
		16k-1 16383
		16k 16384
		16k+1 16385
		20k 20480
		64k 65536
		1m 1048576
		5m 5242880
	END
	echo '<p>index</p>' >"$dir/www/dir/index.html"
	touch -d '2020-02-02 02:02:02 UTC' "$dir"/www/* "$dir/www/dir/index.html"
}

# configure RUN [DIRECTIVE...] - write the configuration of the server that start() starts next into $dir/RUN.
# Words before the others: workers=N daemon=on|off sndbuf=SIZE (of the server's sockets). The rest goes into the http section; "upstream" there adds a server behind /p/.
configure()
{
	local workers=1 daemon=off sndbuf='' http='' upstream='' word

	run=$dir/$1
	shift
	mkdir -p "$run"
	port=$("$client" port "${ESCA_TEST_PORT_LOW:-21400}" "${ESCA_TEST_PORT_HIGH:-21499}") || exit 1
	for word; do
		case $word in
		workers=*) workers=${word#*=} ;;
		daemon=*) daemon=${word#*=} ;;
		sndbuf=*) sndbuf=$word ;;
		upstream) upstream=yes ;;
		*) http+="	$word;"$'\n' ;;
		esac
	done
	case $http in *access_log*) ;; *) http+="	access_log $run/access.log t;" ;; esac
	[ -z "$upstream" ] || {
		http+="
	upstream back { server unix:$run/back.sock; keepalive 8; }
	server { listen unix:$run/back.sock; root $dir/www; access_log off; }"
		upstream="location /p/ { proxy_pass http://back/; proxy_http_version 1.1; proxy_set_header Connection ''; }"
	}
	cat >"$run/nginx.conf" <<-END
		user nobody nogroup;
		worker_processes $workers;
		daemon $daemon;
		pid $run/pid;
		error_log $run/error.log info;
		events { worker_connections 1024; }
		http {
			types { text/html html; }
			default_type application/octet-stream;
			client_body_temp_path $run/temp-body;
			proxy_temp_path $run/temp-proxy;
			fastcgi_temp_path $run/temp-fastcgi;
			uwsgi_temp_path $run/temp-uwsgi;
			scgi_temp_path $run/temp-scgi;
			log_format t '\$http_x_id \$status \$body_bytes_sent "\$request"';
			keepalive_timeout 60s;
			port_in_redirect off;
		$http
			server {
				listen 127.0.0.1:$port backlog=1024 $sndbuf;
				root $dir/www;
				$upstream
			}
		}
	END
}

# start HOW - HOW: vanilla, a backend of esca run, or BACKEND-exec for one without --stats, where esca becomes the server; wait until it serves. Sets server (its pid) and master.
start()
{
	local cmd=("$nginx" -e "$run/error.log" -c "$run/nginx.conf")

	case $1 in
	vanilla) ;;
	preload) cmd=(env LD_PRELOAD="$top_builddir/esca-runtime/.libs/libesca.so" "${cmd[@]}") ;;
	*-exec) cmd=("$ESCA" run --backend "${1%-exec}" -- "${cmd[@]}") ;;
	*) cmd=("$ESCA" run --backend "$1" --stats "$run/stats.json" -- "${cmd[@]}") ;;
	esac
	"${cmd[@]}" >"$run/out" 2>"$run/err" &
	server=$!
	wait_for 10 serves || {
		fail "$1: the server does not listen on $port within 10 s: $(cat "$run/err" "$run/error.log")"
		exit 1
	}
	master=$(cat "$run/pid")
}

serves()
{
	[ -s "$run/pid" ] && (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null
}

alive() # PID...
{
	local p state

	for p; do
		read -r _ _ state _ 2>/dev/null <"/proc/$p/stat" || continue
		[ "$state" = Z ] || return 0
	done
	return 1
}

gone() { ! alive "$@"; }

# stop SIGNAL - send it to nginx's master, wait until all is over; sets status to what the shell got from the server or from esca.
stop()
{
	local pids
	pids="$master $(pgrep -P "$master" | tr '\n' ' ')"
	kill -s "$1" "$master"
	# shellcheck disable=SC2086
	wait_for 20 gone $pids || {
		fail "nginx is not gone 20 s after SIG$1"
		# shellcheck disable=SC2086
		kill -KILL $pids "$server" 2>/dev/null
	}
	wait_for 10 gone "$server" || {
		fail "esca is not gone 10 s after its server"
		kill -KILL "$server"
	}
	wait "$server"
	# shellcheck disable=SC2034
	status=$?
	server=
}

# compare A B - the transcripts in the folders of two runs and their access logs, lines of aborted requests without size and status.
compare()
{
	local f name bad=0

	for f in "$dir/$1"/*/; do
		f=${f%/}
		[ -e "$f/answered" ] || continue
		name=${f##*/}
		diff -rq "$f" "$dir/$2/$name" >"$dir/diff" || {
			bad=1
			sed 's/^/	/' "$dir/diff" | head -n 5
			while read -r _ a _ b _; do
				cmp "$a" "$b" | head -n 1
			done < <(grep '^Files' "$dir/diff" | head -n 3)
		}
	done
	[ "$bad" -eq 0 ] || {
		fail "$2: the answers differ from those of $1"
		return 1
	}
}

log_sorted() # FILE - what is behind an aborted answer is read or not, as it happens
{
	sed "/^abort-pipeline[^ ]*\.[12] /d; s/^\(\($loose\)[^ ]*\) [0-9]* [0-9]*/\1 * */" "$1" | sort
}

# check_log A B - B's access log against that of A and against what its clients got.
check_log()
{
	local log=$dir/$2/access.log bad=0

	[ -e "$dir/$1/access.log" ] || return 0
	log_sorted "$dir/$1/access.log" >"$dir/log-a"
	log_sorted "$log" >"$dir/log-b"
	diff "$dir/log-a" "$dir/log-b" >"$dir/diff" || {
		bad=1
		fail "$2: the access log differs from that of $1: $(head -n 5 "$dir/diff")"
	}
	# One line for each answer; ids of one connection in the order of its requests.
	awk 'NR == FNR { n[$1 " " $2]++; next }
		$1 != "-" {
			split($1, id, "."); conn = FILENAME id[1] "." id[2]
			if (conn in last && id[3] + 0 <= last[conn]) { print "out of order: " $0; bad = 1 }
			last[conn] = id[3] + 0
		}
		{ seen[$1 " " $2]++ }
		END {
			for (k in n) if (seen[k] != n[k]) { print k ": answered " n[k] " times, logged " seen[k] + 0; bad = 1 }
			exit bad
		}' <(cat "$dir/$2"/*/answered) "$log" >"$dir/diff" || {
		bad=1
		fail "$2: the access log is wrong: $(head -n 5 "$dir/diff")"
	}
	return $bad
}

# play RUN NAME COPIES FILE [SCENARIO...] - let the clients of a scenario file at the server; transcripts go to $dir/RUN/NAME.
play()
{
	mkdir -p "$dir/$1/$2"
	"$client" play "$port" "$dir/$1/$2" "$3" "$top_srcdir/tests/servers/$4" "${@:5}" || fail "$1: clients of $2 hang"
}

# Is the backend there? Prints why not.
backend_missing()
{
	[ "$1" = uring ] || return 1
	"$ESCA" run --backend uring -- true >/dev/null 2>"$dir/uring" && return 1
	cat "$dir/uring"
}

make_files

# aggregated RUN COUNTER - did esca do anything there, COUNTER among it, and did nginx say that something is wrong?
aggregated()
{
	jq -e ".total | .turns > 0 and .deferred > 0 and .crossings > 0 and .calls > 0 and $2 > 0" "$dir/$1/stats.json" >/dev/null ||
		fail "$1: nothing was aggregated, or $2 is 0: $(cat "$dir/$1/stats.json")"
	echo "	$(jq -r '.total | to_entries | map("\(.key) \(.value)") | join(", ")' "$dir/$1/stats.json")"
	grep -E '\[(alert|crit|emerg)\]' "$dir/$1/error.log" >"$dir/alerts" &&
		fail "$1: nginx complains: $(head -n 3 "$dir/alerts")"
}
