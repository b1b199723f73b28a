# SPDX-License-Identifier: MIT
# nginx-equal.sh - every byte that nginx sends under esca run is the byte that it sends without, and so is its access log.
# Sourced with `backend` set by the test of each backend. ESCA_TEST names one configuration to run alone, patterns allowed.
# ESCA_TEST_QUICK=1 leaves out all but four, for builds in which libesca.so is the same as in another that had them all.
# shellcheck shell=bash
# shellcheck source=tests/servers/nginx-lib.sh
. "$top_srcdir/tests/servers/nginx-lib.sh"

: "${backend:?}"
if reason=$(backend_missing "$backend"); then
	echo "the backend $backend does not work here: $reason"
	exit 77
fi

# equal NAME SCENARIOS [CONFIGURATION...] - configure as in nginx-lib.sh, play against vanilla and against esca, compare
equal()
{
	local name=$1 file=$2 how

	shift 2
	case ${ESCA_TEST_QUICK:-} in
	1) case $name in plain | nopush-cache | tight-nopush | proxy) ;; *) return ;; esac ;;
	esac
	# shellcheck disable=SC2254
	case $name in ${ESCA_TEST:-*}) ;; *) return ;; esac
	echo "$backend: $name: $*"
	for how in vanilla "$backend"; do
		# Where sockets are tight, more is answered than they have room for, so that the rest must be kept and sent later.
		case $name in *tight*) export ESCA_TEST_CREDIT=65536 ;; *) unset ESCA_TEST_CREDIT ;; esac
		configure "$name-$how" "$@"
		start "$how"
		play "$name-$how" seq 0 "$file"
		play "$name-$how" all 3 "$file"
		stop QUIT
		[ "$status" -eq 0 ] || fail "$name-$how: exit status $status"
	done
	compare "$name-vanilla" "$name-$backend" && check_log "$name-vanilla" "$name-$backend" &&
		aggregated "$name-$backend" "$(case $name in *tight*) echo .spills ;; *) echo .fused ;; esac)" && rm -rf "$dir/$name-"*
}

ofc="open_file_cache max=100 inactive=60s"

equal plain scenarios "sendfile on"
equal nopush scenarios "sendfile on" "tcp_nopush on"
equal nopush-cache scenarios workers=2 "sendfile on" "tcp_nopush on" "$ofc"
equal copy scenarios "sendfile off"
equal copy-cache-nolog scenarios workers=2 "sendfile off" "$ofc" "access_log off"
equal keepalive-3 scenarios daemon=on "sendfile on" "tcp_nopush on" "keepalive_requests 3"
equal tight scenarios sndbuf=4k "sendfile on"
equal tight-nopush scenarios daemon=on sndbuf=8k "sendfile on" "tcp_nopush on" "$ofc"
equal tight-copy scenarios workers=2 sndbuf=4k "sendfile off" "output_buffers 4 3k" "$ofc"
equal chunks scenarios daemon=on workers=2 "sendfile on" "sendfile_max_chunk 16k" "tcp_nodelay off"
equal small-buffers scenarios "sendfile off" "output_buffers 2 1k" "postpone_output 100" "$ofc"
# nginx may end a half-closed request before its thread has counted what it sent.
loose='abort-\|half-close'
equal threads scenarios "sendfile on" "tcp_nopush on" "aio threads" "$ofc"
loose='abort-'
equal proxy scenarios-proxy upstream "sendfile on"
equal proxy-tight scenarios-proxy upstream sndbuf=4k "sendfile on" "tcp_nopush on"
equal proxy-unbuffered scenarios-proxy workers=2 upstream "sendfile on" "tcp_nopush on" "proxy_buffering off" "$ofc"
done_testing
