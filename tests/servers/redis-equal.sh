# SPDX-License-Identifier: MIT
# redis-equal.sh - Redis under esca run answers as Redis does, byte for byte, and what it leaves in its files is the same.
# Sourced with `backend` set by the test of each backend.
# shellcheck shell=bash
# shellcheck disable=SC2034
needs="redis-server:redis-server /usr/bin/python3:python3"
# shellcheck source=tests/servers/servers-lib.sh
. "$top_srcdir/tests/servers/servers-lib.sh"
need_backend
quick="plain aof-always twin"

# start HOW RUN [OPTION VALUE...] - sets address; a value "unix" of the option "listen" makes it a unix socket
start()
{
	local how=$1

	run=$dir/$2
	shift 2
	mkdir -p "$run"
	port=$(free_port) || exit 1
	address=$port
	launch "$how" 'grep -q "Ready to accept connections" "$run/log" 2>/dev/null' redis-server --port "$port" --bind 127.0.0.1 --dir "$run" \
		--logfile "$run/log" --daemonize no --save '' --enable-debug-command yes --tcp-backlog 128 --repl-diskless-sync-delay 0 \
		--client-output-buffer-limit normal 8mb 0 0 "$@"
}

# left RUN - the contents of its append-only files
left()
{
	(cd "$dir/$1" && find . -name '*.aof' | sort | xargs -r sha256sum)
}

# equal NAME [OPTION VALUE...] - the same dialogues with Redis alone and under esca; words before the options:
# replica: with another Redis that follows it; saves: with snapshots and rewrites under load; unix: over a unix socket;
# end=SIGNAL or end=SHUTDOWN: how it is stopped.
equal()
{
	local name=$1 how options leader replica saves unix end=TERM busy

	shift
	wanted "$name" || return
	name=${name#+}
	replica='' saves='' unix=''
	while [ $# -gt 0 ]; do
		case $1 in
		replica | saves | unix) declare "$1=yes" ;;
		end=*) end=${1#*=} ;;
		*) break ;;
		esac
		shift
	done
	echo "$backend: $name: $*"
	for how in vanilla "$backend"; do
		case $name in *tight* | *credit*) export ESCA_TEST_CREDIT=4194304 ;; *) unset ESCA_TEST_CREDIT ;; esac
		options=("$@")
		[ -z "$unix" ] || options+=(--unixsocket "$dir/$name-$how/socket")
		start "$how" "$name-$how" "${options[@]}"
		[ -z "$unix" ] || address=$run/socket
		[ -z "$replica" ] || {
			leader=$port
			keep
			start "$how" "$name-$how-replica" --replicaof "127.0.0.1 $leader"
			keep
			wait_for 10 grep -q 'Finished with success\|Done loading RDB' "$run/log" || fail "$how: the replica does not follow"
			server=
			read -r server master run port <<<"${kept[0]}"
			kept=("${kept[1]}")
			address=$port
			[ -z "$unix" ] || address=$run/socket
		}
		talk "$name-$how" seq 0 redis-talk.py "$address"
		left "$name-$how" >"$run/left"
		if [ -n "$saves" ]; then
			talk "$name-$how" saves 1 redis-talk.py "$address" saves &
			busy=$!
			talk "$name-$how" all-1 3 redis-talk.py "$address"
			wait "$busy"
			rm -rf "$run/saves/seq"
		fi
		talk "$name-$how" all 4 redis-talk.py "$address"
		[ -z "$replica" ] || talk "$name-$how" replicated 0 redis-talk.py "$address" replicated
		talk "$name-$how" digest 0 redis-talk.py "$address" digest
		[ -z "$replica" ] || {
			keep
			read -r server master run port <<<"${kept[0]}"
			kept=("${kept[1]}")
			mkdir -p "$dir/$name-$how/digest-replica"
			talk "$name-$how" digest-replica 0 redis-talk.py "$port" digest
			diff -r "$dir/$name-$how/digest" "$dir/$name-$how/digest-replica" || fail "$name-$how: the replica has other data"
			stop TERM
			[ "$status" -eq 0 ] || fail "$name-$how: exit status $status of the replica"
			take_up
			address=$port
			[ -z "$unix" ] || address=$run/socket
		}
		case $end in
		SHUTDOWN) stop SHUTDOWN /usr/bin/python3 -c "import socket, sys
s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
s.sendall(b'SHUTDOWN\r\n')
sys.exit(s.recv(100) != b'')" "$port" ;;
		*) stop "$end" ;;
		esac
		[ "$status" -eq "$([ "$end" = KILL ] && echo 137 || echo 0)" ] || fail "$name-$how: exit status $status"
		grep -iE 'bug report|assert|Error writing|Bad file|saving error' "$run/log" && fail "$name-$how: Redis complains"
		# What it left, read by a Redis alone.
		case " $* " in *' --appendonly yes '*)
			mv "$run/log" "$run/log.1"
			mkdir -p "$run/digest.1"
			start vanilla "$name-$how" "$@"
			talk "$name-$how" again 0 redis-talk.py "$address" digest
			stop TERM
			diff -r "$run/digest" "$run/again" || fail "$name-$how: other data after a restart"
			;;
		esac
	done
	compare "$name-vanilla" "$name-$backend"
	diff "$dir/$name-vanilla/left" "$dir/$name-$backend/left" || fail "$name: the append-only files differ"
	counted "$name-$backend" "$(case $name in tight | threads-tight) echo '.spills > 0' ;; *) echo '.deferred > 0' ;; esac)"
}

equal plain end=SHUTDOWN
equal aof-always saves end=TERM --appendonly yes --appendfsync always
equal threads-aof end=INT --appendonly yes --appendfsync everysec --io-threads 4 --io-threads-do-reads yes
# A unix socket has room for 200 KB, where TCP takes megabytes on the loopback.
equal tight unix end=TERM
equal replica replica end=SHUTDOWN --appendonly yes
equal +unix unix end=INT
equal +threads saves end=TERM --io-threads 4
equal +threads-tight unix end=TERM --io-threads 4 --io-threads-do-reads yes
equal +tcp-credit end=TERM
equal +replica-threads replica saves end=TERM --io-threads 4 --io-threads-do-reads yes --appendonly yes --repl-diskless-sync no

# The limit of clients, and that of descriptors: who comes too late is told so, or waits until another leaves.
if wanted crowd; then
	for how in vanilla "$backend"; do
		start "$how" "crowd-$how" --maxclients 10
		talk "crowd-$how" crowd 0 redis-talk.py "$address" crowd
		stop TERM
		[ "$status" -eq 0 ] || fail "crowd-$how: exit status $status"
	done
	compare crowd-vanilla "crowd-$backend"
fi

redis_twin() # OPTION... HOW RUN
{
	start "${@: -2}" "${@:1:$#-2}"
}
! wanted twin || twins twin redis redis_twin
! wanted +twin-threads || twins twin-threads redis redis_twin --io-threads 4 --io-threads-do-reads yes
done_testing
