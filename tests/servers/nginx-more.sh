# SPDX-License-Identifier: MIT
# nginx-more.sh - nginx with TLS, HTTP/2, uploads, connections to a server behind it over TCP, and how it accepts: equal under esca run.
# Sourced with `backend` set by the test of each backend.
# shellcheck shell=bash
needs="curl:curl h2load:nghttp2-client openssl:openssl /usr/bin/python3:python3"
# shellcheck source=tests/servers/nginx-lib.sh
. "$top_srcdir/tests/servers/nginx-lib.sh"
need_backend
# shellcheck disable=SC2034
quick="tls-tight twin"
make_cert

# more NAME WORD... - words for configure(); before them: tls: dialogues over TLS and HTTP/2
more()
{
	local name=$1 how tls=''

	shift
	wanted "$name" || return
	name=${name#+}
	[ "$1" != tls ] || tls=tls:
	echo "$backend: $name: $*"
	for how in vanilla "$backend"; do
		case $name in *tight*) export ESCA_TEST_CREDIT=65536 ;; *) unset ESCA_TEST_CREDIT ;; esac
		configure "$name-$how" "$@"
		start "$how"
		HTTP_UP=put talk "$name-$how" seq 0 http-talk.py "$tls$port"
		HTTP_UP=put talk "$name-$how" all 3 http-talk.py "$tls$port"
		case " $* " in *upstream*)
			HTTP_UP=put HTTP_PREFIX=/p talk "$name-$how" seq-p 0 http-talk.py "$tls$port"
			HTTP_UP=put HTTP_PREFIX=/p talk "$name-$how" all-p 2 http-talk.py "$tls$port"
			;;
		*) [ -n "$tls" ] || play "$name-$how" play 2 scenarios ;;
		esac
		[ -z "$tls" ] || http2 "$name-$how" "https://127.0.0.1:$port"
		stop QUIT
		[ "$status" -eq 0 ] || fail "$name-$how: exit status $status"
		grep -E '\[(alert|crit|emerg)\]' "$run/error.log" | grep -v 'SSL_' && fail "$name-$how: nginx complains"
	done
	compare "$name-vanilla" "$name-$backend"
	counted "$name-$backend" "$(case $name in *tight*) echo '.spills > 0' ;; *) echo '.deferred > 0' ;; esac)"
}

more +tls tls "sendfile on" "tcp_nopush on"
more proxy-tcp upstream-tcp "sendfile on" "client_body_in_file_only clean"
more accept workers=2 listen=reuseport "events multi_accept on" daemon=on "sendfile on" "open_file_cache max=100"
more tls-tight tls sndbuf=4k workers=2 "sendfile on" "ssl_buffer_size 4k"
more +tls-proxy tls upstream-tcp workers=2 "proxy_request_buffering off"
more +tls-threads tls "aio threads" "sendfile on" daemon=on
more +proxy-stream upstream-tcp "proxy_request_buffering off" "proxy_http_version 1.1" "proxy_buffering off"
more +accept-mutex workers=2 "events accept_mutex on" "events multi_accept on" "sendfile on" "tcp_nopush on"

nginx_twin() # WORD... HOW RUN
{
	configure "${@: -1}" "${@:1:$#-2}"
	start "${@: -2:1}"
	# shellcheck disable=SC2034
	address=$port
}
end=QUIT
export HTTP_UP=put
! wanted twin || twins twin http nginx_twin "sendfile on"
! wanted +twin-nopush || twins twin-nopush http nginx_twin workers=2 sndbuf=8k "sendfile on" "tcp_nopush on" "open_file_cache max=100"
done_testing
