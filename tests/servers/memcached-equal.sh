# SPDX-License-Identifier: MIT
# memcached-equal.sh - memcached under esca run answers as memcached does in all its protocols, and ends as it does.
# Sourced with `backend` set by the test of each backend.
# shellcheck shell=bash
# shellcheck disable=SC2034
needs="memcached:memcached /usr/bin/python3:python3"
# shellcheck source=tests/servers/servers-lib.sh
. "$top_srcdir/tests/servers/servers-lib.sh"
need_backend
quick="threads twin"

# start OPTION... HOW RUN - an option "unix" makes it a unix socket; sets address
start()
{
	local how=${*: -2:1} ready='listens $port'

	run=$dir/${*: -1}
	set -- "${@:1:$#-2}"
	mkdir -p "$run"
	chmod 777 "$run"
	port=$(free_port) || exit 1
	address=$port
	if [ "${1:-}" = unix ]; then
		shift
		address=$run/socket ready='[ -S "$run/socket" ]'
		set -- -s "$address" "$@"
	else
		set -- -p "$port" -l 127.0.0.1 "$@"
	fi
	# The first look must not be one of the clients that are counted.
	launch "$how" "$ready" memcached -u nobody -m 256 "$@"
}

# equal NAME SIGNAL DIALOGUES OPTION... - DIALOGUES: names, or all
equal()
{
	local name=$1 end=$2 dialogues=$3 how

	shift 3
	wanted "$name" || return
	name=${name#+}
	echo "$backend: $name: $*"
	[ "$dialogues" != all ] || dialogues=
	for how in vanilla "$backend"; do
		case $name in *tight*) export ESCA_TEST_CREDIT=4194304 ;; *) unset ESCA_TEST_CREDIT ;; esac
		UDP_PORT=$("$client" port 21550 21599)
		export UDP_PORT
		case " $* " in *' -U '*) start "${@/UDP/$UDP_PORT}" "$how" "$name-$how" ;; *) start "$@" "$how" "$name-$how" ;; esac
		# shellcheck disable=SC2086
		talk "$name-$how" seq 0 memcached-talk.py "$address" $dialogues
		[ -n "$dialogues" ] || talk "$name-$how" all 4 memcached-talk.py "$address"
		stop "$end"
		echo "$status" >"$run/status"
	done
	compare "$name-vanilla" "$name-$backend"
	diff "$dir/$name-vanilla/status" "$dir/$name-$backend/status" || fail "$name: another exit status"
	# That a client had left before it was asked for its address, and how often it was tried in vain to take one, are matters of time.
	sed -i '/^getpeername: /d; /^accept4(): /d' "$dir/$name-vanilla/err" "$dir/$name-$backend/err"
	diff "$dir/$name-vanilla/err" "$dir/$name-$backend/err" || fail "$name: other words on standard error"
	[ -n "$dialogues" ] || counted "$name-$backend" "$(case $name in *tight*) echo '.spills > 0' ;; *) echo '.deferred > 0' ;; esac)"
}

equal threads TERM all -t 4
equal tight INT all unix -t 4
equal udp USR1 datagrams -t 2 -U UDP
equal limit INT queue -t 2 -c 40 -o no_maxconns_fast
equal fast INT crowd -t 2 -c 40 -o maxconns_fast
equal killed KILL text -t 2
equal +one USR1 all -t 1
equal +unix TERM all unix -t 4
equal +big INT all -t 4 -I 4m -R 100
equal +requests USR1 all -t 4 -R 1

! wanted twin || twins twin memcached start -t 4
! wanted +twin-tight || ESCA_TEST_CREDIT=4194304 twins twin-tight memcached start unix -t 2
done_testing
