# SPDX-License-Identifier: MIT
# servers-lib.sh - what the tests of all servers share: a folder, a port, a server plain or under esca, its end, transcripts compared.
# Sourced after the variable `needs` names the programs that the test runs ("redis-server:redis-server", program:package).
# shellcheck shell=bash

: "${top_srcdir:?}" "${top_builddir:?}" "${ESCA:?}"
PATH=$PATH:/usr/sbin:/sbin
client=$top_builddir/tests/servers/client
for need in ${needs:-}; do
	command -v "${need%:*}" >/dev/null || {
		echo "${need%:*} is not installed; install the package ${need#*:}"
		exit 77
	}
done

dir=$(mktemp -d "${TMPDIR:-/tmp}/esca-servers.XXXXXX")
chmod 755 "$dir" # workers of servers are not root
failures=0
loose='abort-'   # the scenarios of which the log's status and size may vary
server=          # what start() started
kept=()          # servers put aside by keep()
trap 'finish' EXIT
trap 'exit 1' INT TERM HUP

finish()
{
	local rc=$?

	trap - EXIT
	[ -z "$server" ] || stop TERM >/dev/null 2>&1
	while [ ${#kept[@]} -gt 0 ]; do
		take_up
		stop TERM >/dev/null 2>&1
	done
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


# under HOW COMMAND... - sets cmd to what runs COMMAND so. HOW: vanilla, a backend of esca run, or BACKEND-exec for one without --stats,
# where esca becomes the server.
under()
{
	local how=$1

	shift
	case $how in
	vanilla) cmd=("$@") ;;
	preload) cmd=(env LD_PRELOAD="$top_builddir/esca-runtime/.libs/libesca.so" "$@") ;;
	*-exec) cmd=("$ESCA" run --backend "${how%-exec}" -- "$@") ;;
	*) cmd=("$ESCA" run --backend "$how" --stats "$run/stats.json" -- "$@") ;;
	esac
}

free_port() # prints one
{
	"$client" port "${ESCA_TEST_PORT_LOW:-20000}" "${ESCA_TEST_PORT_HIGH:-31999}"
}

listens() # PORT
{
	(exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

tree_of() # PID... - these and all their descendants
{
	local p

	for p; do
		echo "$p"
		# shellcheck disable=SC2046
		tree_of $(pgrep -P "$p")
	done
}

# launch HOW READY COMMAND... - start it in the folder $run and wait until READY, words evaluated, is true. Sets server (what the shell
# started) and master (the server itself).
launch()
{
	local how=$1 ready=$2

	shift 2
	under "$how" "$@"
	set -m # a process group of its own: some servers signal all of it
	# Who runs the tests in the background ignores SIGINT, and haproxy would as well.
	env --default-signal=INT "${cmd[@]}" >"$run/out" 2>"$run/err" </dev/null &
	server=$!
	set +m
	master=$server
	wait_for 30 eval "$ready" || {
		fail "$how: the server is not ready within 30 s: $(cat "$run/err" "$run/out")"
		exit 1
	}
	case $how in
	vanilla | preload | *-exec) ;;
	*) master=$(pgrep -P "$server" | head -n 1) ;;
	esac
}

# Put the running server aside, so that another can be started; take the last one up again, so that stop() stops it.
keep()
{
	kept+=("$server $master $run $port")
	server=
}

take_up()
{
	read -r server master run port <<<"${kept[-1]}"
	unset 'kept[-1]'
}

# stop SIGNAL [COMMAND...] - send it to the server, or run COMMAND that ends it, and wait until all is over; sets status to what the shell
# got from the server or from esca.
stop()
{
	local pids sig=$1

	shift
	# shellcheck disable=SC2046
	pids=$(tree_of "$master" $(pgrep -P "$master") | sort -u | tr '\n' ' ')
	if [ $# -gt 0 ]; then "$@"; else kill -s "$sig" "$master"; fi
	# shellcheck disable=SC2086
	wait_for 20 gone $pids || {
		fail "the server is not gone 20 s after $sig"
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

# compare A B - the transcripts in the folders of two runs are the same.
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

# counted RUN FILTER - did esca do anything there, and does the jq FILTER hold for the totals?
counted()
{
	jq -e ".total | .turns > 0 and .deferred > 0 and .crossings > 0 and .calls > 0 and ($2)" "$dir/$1/stats.json" >/dev/null ||
		fail "$1: nothing was aggregated, or not $2: $(jq -c .total "$dir/$1/stats.json")"
	echo "	$(jq -r '.total | [.turns, .calls, .crossings, .deferred, .spills] | "turns \(.[0]), calls \(.[1]), crossings \(.[2]), deferred \(.[3]), spills \(.[4])"' "$dir/$1/stats.json")"
}

# The tests with a file for each backend begin with this.
need_backend()
{
	: "${backend:?}"
	if reason=$(backend_missing "$backend"); then
		echo "the backend $backend does not work here: $reason"
		exit 77
	fi
}

# wanted NAME - is this configuration to be run? ESCA_TEST names those to run alone, patterns allowed. Of names with "+" before them only
# ESCA_TEST_LONG=1 runs them; of those without, ESCA_TEST_QUICK=1 runs the ones in $quick.
wanted()
{
	# shellcheck disable=SC2254
	case ${1#+} in ${ESCA_TEST:-*}) ;; *) return 1 ;; esac
	case $1 in +*) [ "${ESCA_TEST_LONG:-}" = 1 ] || [ -n "${ESCA_TEST:-}" ] || return 1 ;; esac
	[ "${ESCA_TEST_QUICK:-}" != 1 ] || [[ " ${quick:-} " == *" ${1#+} "* ]]
}

# talk RUN NAME COPIES PROGRAM ADDRESS [DIALOGUE...] - let the dialogues of a Python program at the server; transcripts go to $dir/RUN/NAME.
talk()
{
	mkdir -p "$dir/$1/$2"
	PYTHONDONTWRITEBYTECODE=1 timeout 120 /usr/bin/python3 "$top_srcdir/tests/servers/$4" "$5" "$dir/$1/$2" "$3" "${@:6}" 2>"$dir/$1/talk.err" ||
		fail "$1: dialogues of $2: $(head -n 5 "$dir/$1/talk.err")"
}

make_cert() # $dir/cert.pem, key.pem and both in one.pem
{
	openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -keyout "$dir/key.pem" -out "$dir/cert.pem" 2>"$dir/openssl" || {
		cat "$dir/openssl"
		exit 1
	}
	cat "$dir/cert.pem" "$dir/key.pem" >"$dir/one.pem"
}

# http2 RUN URL - what curl and h2load get by HTTP/2: files below $dir/RUN/http2
http2()
{
	local out=$dir/$1/http2 f urls=()

	mkdir -p "$out"
	for f in 0 1k 20k 64k 1m none 5m 1k 20k 16k+1; do
		urls+=(-o "$out/${#urls[@]}" "$2/$f")
	done
	curl -sSk --http2 --max-time 60 --no-progress-meter --parallel --parallel-immediate "${urls[@]}" -w '%{http_version} %{http_code} %{size_download} %{url}\n' 2>"$out/err" |
		sed "s|$2||" | sort >"$out/codes"
	curl -sSk --http2 --max-time 60 -I "$2/20k" 2>>"$out/err" | grep -vi '^date:' >"$out/head"
	curl -sSk --http2 --max-time 60 --limit-rate 4M "$2/5m" -o "$out/slow" 2>>"$out/err"
	curl -sSk --http2 --max-time 60 -H 'Date: Sun, 02 Feb 2020 02:02:02 GMT' -T "$dir/www/1m" "$2/up/h2" -w '%{http_code}\n' >"$out/up" 2>>"$out/err"
	curl -sSk --http2 --max-time 60 "$2/up/h2" -o "$out/up-again" 2>>"$out/err"
	h2load -n "${3:-1000}" -c 10 -m 10 "$2/1k" "$2/20k" "$2/1" 2>&1 | grep -E '^(requests|status codes):' >"$out/h2load"
	touch "$out/answered"
}

# twins NAME PROTOCOL START... - one stream of a client that misbehaves to the server alone and to the server under $backend at once. START is
# the command that starts it, to be followed by HOW and RUN, and sets address. ESCA_TEST_SEED repeats a run.
twins()
{
	local name=$1 protocol=$2 n=2000 first end=${end:-TERM}

	shift 2
	[ "${ESCA_TEST_QUICK:-}" != 1 ] || n=300
	[ "${ESCA_TEST_LONG:-}" != 1 ] || n=30000
	"$@" vanilla "$name-vanilla"
	first=$address
	keep
	"$@" "$backend" "$name-$backend"
	PYTHONDONTWRITEBYTECODE=1 timeout 600 /usr/bin/python3 "$top_srcdir/tests/servers/twin.py" "$protocol" "$first" "$address" "$n" "${ESCA_TEST_SEED:-}" ||
		fail "$name: the twins differ"
	stop "$end"
	[ "$status" -eq 0 ] || fail "$name-$backend: exit status $status after the twins"
	take_up
	stop "$end"
	[ "$status" -eq 0 ] || fail "$name-vanilla: exit status $status after the twins"
	counted "$name-$backend" '.deferred > 0'
}
