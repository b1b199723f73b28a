# SPDX-License-Identifier: MIT
# nginx-lib.sh - an nginx of Debian on a port and in a folder of its own, plain or under esca. Sourced by the tests of this folder.
# shellcheck shell=bash

# shellcheck disable=SC2034
needs="nginx:nginx ${needs:-}"
# shellcheck source=tests/servers/servers-lib.sh
. "$top_srcdir/tests/servers/servers-lib.sh"
nginx=$(command -v nginx)

# configure RUN [DIRECTIVE...] - write the configuration of the server that start() starts next into $dir/RUN.
# Words before the others: workers=N daemon=on|off sndbuf=SIZE (of the server's sockets), listen=WORD (of the port), "events DIRECTIVE" for
# the events section, "server DIRECTIVE" for its server, "tls" for TLS and HTTP/2 on the port. The rest goes into the http section; "upstream" there adds a server behind /p/ on a
# unix socket, "upstream-tcp" one on a port. What is PUT below /up/ is stored.
configure()
{
	local workers=1 daemon=off sndbuf='' http='' upstream='' events='' more='' word back

	run=$dir/$1
	shift
	mkdir -p "$run"
	port=$(free_port) || exit 1
	for word; do
		case $word in
		workers=*) workers=${word#*=} ;;
		daemon=*) daemon=${word#*=} ;;
		sndbuf=*) sndbuf+=" $word" ;;
		listen=*) sndbuf+=" ${word#*=}" ;;
		tls) sndbuf+=" ssl http2" http+="	ssl_certificate $dir/cert.pem; ssl_certificate_key $dir/key.pem;"$'\n' ;;
		"server "*) more+="${word#server }"$'\n' ;;
		"events "*) events+="${word#events };" ;;
		upstream) upstream=yes back=unix:$run/back.sock ;;
		upstream-tcp) upstream=yes back=127.0.0.1:$("$client" port 21500 21549) ;;
		*) http+="	$word;"$'\n' ;;
		esac
	done
	case $http in *access_log*) ;; *) http+="	access_log $run/access.log t;" ;; esac
	[ -z "$upstream" ] || {
		http+="
	upstream back { server $back; keepalive 8; }
	server { listen $back; root $dir/www; access_log off; location /up/ { root $run; dav_methods PUT; create_full_put_path on; } }"
		upstream="location /p/ { proxy_pass http://back/; proxy_http_version 1.1; proxy_set_header Connection ''; }"
	}
	mkdir -p "$run/up"
	chmod 777 "$run" "$run/up"
	cat >"$run/nginx.conf" <<-END
		user nobody nogroup;
		worker_processes $workers;
		daemon $daemon;
		pid $run/pid;
		error_log $run/error.log info;
		events { worker_connections 1024; $events }
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
			client_max_body_size 10m;
		$http
			server {
				listen 127.0.0.1:$port backlog=1024 $sndbuf;
				root $dir/www;
				location /up/ { root $run; dav_methods PUT; create_full_put_path on; }
				$more
				$upstream
			}
		}
	END
}

# start HOW - as in servers-lib.sh; wait until it serves. Sets server (what the shell started) and master (nginx).
start()
{
	local cmd

	under "$1" "$nginx" -e "$run/error.log" -c "$run/nginx.conf"
	"${cmd[@]}" >"$run/out" 2>"$run/err" &
	server=$!
	master=$server
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
