# SPDX-License-Identifier: MIT
# lighttpd-equal.sh - lighttpd under esca run sends what it sends without, logs it, restarts and stops as it does.
# Sourced with `backend` set by the test of each backend.
# shellcheck shell=bash
# shellcheck disable=SC2034
needs="lighttpd:lighttpd curl:curl h2load:nghttp2-client openssl:openssl /usr/bin/python3:python3"
# shellcheck source=tests/servers/servers-lib.sh
. "$top_srcdir/tests/servers/servers-lib.sh"
need_backend
quick="sendfile twin"
make_files
make_cert
mkdir -p "$dir/cgi"
cat >"$dir/cgi/echo" <<'END'
#!/bin/sh
printf 'Content-Type: text/x\r\nContent-Length: %s\r\n\r\n' "${CONTENT_LENGTH:-0}"
exec cat
END
chmod 755 "$dir/cgi/echo"

# start WORD... HOW RUN - words: tls, or lines of its configuration. Sets address.
start()
{
	local how=${*: -2:1} word lines=''

	run=$dir/${*: -1}
	set -- "${@:1:$#-2}"
	mkdir -p "$run"
	port=$(free_port) || exit 1
	address=$port
	for word; do
		case $word in
		tls)
			lines+="server.modules += ( \"mod_openssl\" )
ssl.engine = \"enable\"
ssl.pemfile = \"$dir/one.pem\"
" address=tls:$port ;;
		*) lines+=$word$'\n' ;;
		esac
	done
	cat >"$run/conf" <<-END
		server.modules = ( "mod_accesslog", "mod_alias", "mod_cgi" )
		server.document-root = "$dir/www"
		server.bind = "127.0.0.1"
		server.port = $port
		server.errorlog = "$run/error.log"
		server.upload-dirs = ( "$run" )
		index-file.names = ( "index.html" )
		mimetype.assign = ( "" => "application/octet-stream" )
		accesslog.filename = "$run/access.log"
		accesslog.format = "%{X-Id}i %s %b \"%r\""
		alias.url = ( "/echo" => "$dir/cgi/echo" )
		\$HTTP["url"] =~ "^/echo" { cgi.assign = ( "" => "" ) }
		server.max-keep-alive-requests = 1000
		server.max-keep-alive-idle = 60
		$lines
	END
	launch "$how" 'listens $port' lighttpd -D -f "$run/conf"
}

complains() { grep -vE 'server (started|stopped)|graceful|clock jumped|SSL|logfiles cycled|\[note\]|shutdown' "$run/error.log"; }

# equal NAME WORD...
equal()
{
	local name=$1 how

	shift
	wanted "$name" || return
	name=${name#+}
	echo "$backend: $name: $*"
	for how in vanilla "$backend"; do
		case $name in *credit*) export ESCA_TEST_CREDIT=4194304 ;; *) unset ESCA_TEST_CREDIT ;; esac
		start "$@" "$how" "$name-$how"
		case $address in
		tls:*)
			talk "$name-$how" seq 0 http-talk.py "$address"
			talk "$name-$how" all 3 http-talk.py "$address"
			http2 "$name-$how" "https://127.0.0.1:$port"
			;;
		*)
			[ "$name" != sendfile ] || play "$name-$how" seq 0 scenarios
			play "$name-$how" all 2 scenarios
			HTTP_UP="echo" talk "$name-$how" talk 2 http-talk.py "$address"
			;;
		esac
		stop INT
		[ "$status" -eq 0 ] || fail "$name-$how: exit status $status"
		# What a dialogue has got when it leaves, and so its line, varies.
		sed -i "/^talk /d" "$run/access.log"
		complains && fail "$name-$how: lighttpd complains"
	done
	compare "$name-vanilla" "$name-$backend"
	case $address in tls:*) ;; *) check_log "$name-vanilla" "$name-$backend" ;; esac
	counted "$name-$backend" '.deferred > 0'
}

equal sendfile 'server.network-backend = "sendfile"' 'server.event-handler = "linux-sysepoll"'
equal writev-poll 'server.network-backend = "writev"' 'server.event-handler = "poll"'
equal tls tls 'server.network-backend = "sendfile"'
equal +workers 'server.max-worker = 2'
equal +select 'server.event-handler = "select"'
equal +write 'server.network-backend = "write"' 'server.max-worker = 2'
equal +credit 'server.network-backend = "sendfile"'
equal +tls-workers tls 'server.max-worker = 2'

# Restarts while it serves, in the two ways there are; stops while it serves.
if wanted control; then
	for how in vanilla "$backend" "$backend-exec"; do
		echo "control: $how"
		start "$how" "control-$how"
		"$client" load "$port" 20 2 /20k "$dir/www/20k" >"$run/load" 2>&1 &
		load=$!
		sleep 0.5
		kill -USR1 "$master"
		sleep 0.7
		kill -HUP "$master"
		wait "$load" || fail "$how: the load did not end well"
		echo "	$(cat "$run/load")"
		grep -q 'broken=0 wrong=0' "$run/load" || fail "$how: answers broke off at a graceful restart: $(cat "$run/load")"
		wait_for 5 listens "$port" || fail "$how: not there after a restart"
		play "control-$how" after 1 scenarios keepalive pipeline
		stop TERM
		[ "$status" -eq 0 ] || fail "$how: exit status $status"
		[ "$(grep -c '^- 200' "$run/access.log")" -ge "$(sed 's/completed=\([0-9]*\).*/\1/' "$run/load")" ] || fail "$how: log lines are missing"
		[ "$how" = vanilla ] || compare control-vanilla "control-$how"
	done
fi

! wanted twin || end=INT twins twin http start
! wanted +twin-writev || end=INT twins twin-writev http start 'server.network-backend = "writev"' 'server.event-handler = "poll"' 'server.max-worker = 2'
done_testing
