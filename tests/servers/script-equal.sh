# SPDX-License-Identifier: MIT
# script-equal.sh - servers written for Node.js and for Python's asyncio and selectors are the same under esca run.
# Sourced with `backend` set by the test of each backend.
# shellcheck shell=bash
# shellcheck disable=SC2034
needs="nodejs:nodejs /usr/bin/python3:python3"
# shellcheck source=tests/servers/servers-lib.sh
. "$top_srcdir/tests/servers/servers-lib.sh"
need_backend
quick="node asyncio"
make_files

# start KIND [WORKERS] HOW RUN - sets address
start()
{
	local how=${*: -2:1}

	run=$dir/${*: -1}
	set -- "${@:1:$#-2}"
	mkdir -p "$run"
	port=$(free_port) || exit 1
	address=$port
	case $1 in
	node) launch "$how" 'listens $port' nodejs "$top_srcdir/tests/servers/node-server.js" "$port" "$dir/www" ${2:+"$2"} ;;
	*) launch "$how" 'listens $port' /usr/bin/python3 "$top_srcdir/tests/servers/python-server.py" "$1" "$port" "$dir/www" ;;
	esac
}

# equal NAME SIGNAL KIND [WORKERS]
equal()
{
	local name=$1 end=$2 how

	shift 2
	wanted "$name" || return
	name=${name#+}
	echo "$backend: $name: $*"
	for how in vanilla "$backend"; do
		case $name in *credit*) export ESCA_TEST_CREDIT=4194304 ;; *) unset ESCA_TEST_CREDIT ;; esac
		start "$@" "$how" "$name-$how"
		case $1 in
		node | asyncio)
			HTTP_UP="echo" talk "$name-$how" seq 0 http-talk.py "$address"
			HTTP_UP="echo" talk "$name-$how" all 3 http-talk.py "$address"
			play "$name-$how" play 2 scenarios keepalive close http10 empty-file one-byte large large-close head pipeline pipeline-1k pipeline-slow \
				bytewise slow-64k slow-1m stalls abort-first abort-middle abort-20k abort-pipeline reset-idle
			;;
		*)
			talk "$name-$how" seq 0 echo-talk.py "$address"
			talk "$name-$how" all 8 echo-talk.py "$address"
			;;
		esac
		stop "$end"
		echo "$status" >"$run/status"
	done
	compare "$name-vanilla" "$name-$backend"
	diff "$dir/$name-vanilla/status" "$dir/$name-$backend/status" || fail "$name: another exit status"
	diff "$dir/$name-vanilla/err" "$dir/$name-$backend/err" || fail "$name: other words on standard error"
	counted "$name-$backend" '.deferred > 0'
}

equal node TERM node
equal asyncio TERM asyncio
equal epoll TERM epoll
equal poll TERM poll
equal select TERM select
equal killed KILL asyncio
equal +cluster INT node 2
equal +credit TERM asyncio
equal +epoll-credit TERM epoll

export HTTP_UP="echo"
! wanted twin || twins twin-node http start node
! wanted twin || twins twin-asyncio http start asyncio
! wanted twin || twins twin-poll echo start poll
! wanted +twin-select || twins twin-select echo start select
! wanted +twin-epoll || twins twin-epoll echo start epoll
done_testing
