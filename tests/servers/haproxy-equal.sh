# SPDX-License-Identifier: MIT
# haproxy-equal.sh - haproxy under esca run in front of an nginx passes what it passes without, reloads and stops as it does.
# Sourced with `backend` set by the test of each backend.
# shellcheck shell=bash
# shellcheck disable=SC2034
needs="haproxy:haproxy /usr/bin/python3:python3"
# shellcheck source=tests/servers/nginx-lib.sh
. "$top_srcdir/tests/servers/nginx-lib.sh"
need_backend
quick="http twin"
export HTTP_UP=put

# The server behind: closes after some requests, closes without an answer, and is slow.
configure nginx "sendfile on" "keepalive_requests 50" "access_log off" "server location /drop { return 444; }" \
	"server location /lazy { alias $dir/www; limit_rate 200k; }"
start vanilla
behind=$port
keep

# begin WORD... HOW RUN - words: tcp, master, or lines for its backend. Sets address.
begin()
{
	local how=${*: -2:1} mode=http workers='' lines='' word

	run=$dir/${*: -1}
	set -- "${@:1:$#-2}"
	mkdir -p "$run"
	port=$(free_port) || exit 1
	address=$port
	for word; do
		case $word in
		tcp) mode=tcp ;;
		master) workers=-W ;;
		*) lines+="	$word"$'\n' ;;
		esac
	done
	cat >"$run/conf" <<-END
		global
			nbthread 2
			hard-stop-after 3s
			maxconn 2000
			stats socket $run/socket level admin
			log stdout format raw local0
		defaults
			mode $mode
			log global
			timeout connect 10s
			timeout client 60s
			timeout server 60s
			timeout queue 30s
		frontend front
			bind 127.0.0.1:$port
			$([ "$mode" = tcp ] || echo 'capture request header X-Id len 40
			log-format "%[capture.req.hdr(0)] %ST %B %{+Q}r"')
			default_backend back
		backend back
			$([ "$mode" = tcp ] || echo 'http-reuse always
			stick-table type ip size 100 expire 60s')
		$lines
			server one 127.0.0.1:$behind maxconn 30
	END
	# shellcheck disable=SC2086
	launch "$how" 'listens $port' haproxy $workers -f "$run/conf"
}

# All but those in which haproxy keeps a connection that nginx closes, or may see the half close before the second request.
mapfile -t scenarios < <(sed -n 's/^\([a-z0-9][^ ]*\) .*/\1/p' "$top_srcdir/tests/servers/scenarios" | grep -vE '^(bad-version|no-host|half-close-0)$')

# equal NAME SIGNAL WORD...
equal()
{
	local name=$1 end=$2 how scenarios=("${scenarios[@]}")

	shift 2
	# What has half closed is then aborted, or answered, as it happens: by whether the end is seen before a connection to the server is there.
	case " $* " in *abortonclose*) mapfile -t scenarios < <(printf '%s\n' "${scenarios[@]}" | grep -v '^half-close') ;; esac
	wanted "$name" || return
	name=${name#+}
	echo "$backend: $name: $*"
	for how in vanilla "$backend"; do
		case $name in *tight*) export ESCA_TEST_CREDIT=4194304 ;; *) unset ESCA_TEST_CREDIT ;; esac
		rm -rf "$dir/nginx/up/"*
		begin "$@" "$how" "$name-$how"
		play "$name-$how" seq 0 scenarios "${scenarios[@]}"
		play "$name-$how" all 2 scenarios "${scenarios[@]}"
		talk "$name-$how" talk 2 http-talk.py "$address"
		HTTP_PREFIX=/lazy talk "$name-$how" lazy 1 http-talk.py "$address" half_close
		HTTP_PREFIX=/drop talk "$name-$how" drop 1 http-talk.py "$address" half_close
		talk "$name-$how" control 0 haproxy-talk.py "$run/socket"
		stop "$end"
		echo "$status" >"$run/status"
		grep -E '^[a-z0-9-]+\.[0-9]+\.[0-9]+ ' "$run/out" | grep -vE '^(talk|abort|half)' | sort >"$run/lines"
	done
	compare "$name-vanilla" "$name-$backend"
	diff "$dir/$name-vanilla/status" "$dir/$name-$backend/status" || fail "$name: another exit status"
	# haproxy drops a line where its threads collide (fd_write_frag_line of its fd.c); what both have logged must be the same, and once.
	awk '{ if (($1, FILENAME) in seen) { print "twice: " $0; bad = 1 } seen[$1, FILENAME] = 1 }
		NR == FNR { line[$1] = $0; n++; next }
		$1 in line { both++; if (line[$1] != $0) { print line[$1] " and " $0; bad = 1 } }
		END { if (both < 0.9 * n) { print both + 0 " of " n " lines"; bad = 1 } exit bad }' \
		"$dir/$name-vanilla/lines" "$dir/$name-$backend/lines" >"$dir/diff" || fail "$name: other log lines: $(head -n 5 "$dir/diff")"
	counted "$name-$backend" '.deferred > 0'
}

equal http USR1
equal tcp TERM tcp "option splice-auto"
equal +close INT "option httpclose"
equal +server-close TERM "option http-server-close" "option abortonclose"
equal +buffered USR1 "option http-buffer-request"
equal +tight USR1 tcp "option splice-auto"
equal +splice TERM "option splice-request" "option splice-response" "option http-no-delay"

# The master starts workers anew while they serve; each gets its end.
if wanted master; then
	for how in vanilla "$backend" "$backend-exec"; do
		echo "master: $how"
		begin master "$how" "master-$how"
		"$client" load "$port" 20 2.5 /20k "$dir/www/20k" >"$run/load" 2>&1 &
		load=$!
		sleep 0.7
		kill -USR2 "$master"
		sleep 0.8
		kill -USR2 "$master"
		wait "$load" || fail "$how: the load did not end well"
		echo "	$(cat "$run/load")"
		grep -q 'broken=0 wrong=0' "$run/load" || fail "$how: answers broke off at a reload: $(cat "$run/load")"
		wait_for 10 eval '[ "$(pgrep -P "$master" | wc -l)" -eq 1 ]' || fail "$how: $(pgrep -P "$master" | wc -l) workers after two reloads"
		play "master-$how" after 1 scenarios keepalive pipeline
		stop TERM
		echo "$status" >"$run/status"
		[ "$how" = vanilla ] || {
			compare master-vanilla "master-$how"
			diff "$dir/master-vanilla/status" "$run/status" || fail "$how: another exit status"
		}
	done
fi

unset HTTP_UP
! wanted twin || end=USR1 twins twin http begin
! wanted +twin-tcp || end=USR1 twins twin-tcp http begin tcp "option splice-auto"
take_up
stop QUIT
done_testing
