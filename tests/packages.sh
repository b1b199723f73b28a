# SPDX-License-Identifier: MIT
# packages.sh - which Debian 12 packages esca needs, and how to install those that are missing. Sourced by quickstart and runtests.
# shellcheck shell=bash

# To build from the repository.
# shellcheck disable=SC2034
PACKAGES_BUILD="gcc make libc6-dev autoconf automake libtool pkg-config libunwind-dev libseccomp-dev libjansson-dev
	libsmartcols-dev libdw-dev liburing-dev uthash-dev"
# A server and a load to look at.
# shellcheck disable=SC2034
PACKAGES_DEMO="nginx wrk"
# What the tests run or are written with.
# shellcheck disable=SC2034
PACKAGES_TEST="jq libcmocka-dev clang clang-format libclang-rt-14-dev mandoc shellcheck codespell git xz-utils procps libcap2-bin
	iproute2 util-linux binutils file python3 redis-server curl openssl nghttp2-client
	lighttpd lighttpd-mod-openssl memcached haproxy nodejs"

packages_missing() # LIST... - print those that are not installed
{
	local p

	for p in "$@"; do
		[ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2>/dev/null)" = "ii " ] || printf '%s\n' "$p"
	done
}

packages_install() # LIST... - install what is missing of them; 1 with a sentence if that is not possible
{
	local missing sudo=() no_start=() log rc=0

	mapfile -t missing < <(packages_missing "$@")
	[ ${#missing[@]} -eq 0 ] && return 0
	if [ "$(id -u)" -ne 0 ]; then
		if ! command -v sudo >/dev/null; then
			printf 'These packages are missing and installing them needs root; as root, run: apt-get install %s\n' \
				"${missing[*]}" >&2
			return 1
		fi
		sudo=(sudo)
	fi
	printf 'Installing %s\n' "${missing[*]}"
	# A package that brings a server would start it; nobody asked for a server on port 80.
	if [ ! -e /usr/sbin/policy-rc.d ]; then
		printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee /usr/sbin/policy-rc.d >/dev/null
		"${sudo[@]}" chmod 755 /usr/sbin/policy-rc.d
		no_start=(/usr/sbin/policy-rc.d)
	fi
	log=$(mktemp)
	"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q update >"$log" 2>&1 &&
		"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install \
			"${missing[@]}" >>"$log" 2>&1 || rc=1
	[ ${#no_start[@]} -eq 0 ] || "${sudo[@]}" rm -f "${no_start[@]}"
	if [ "$rc" -ne 0 ]; then
		tail -n 20 "$log" >&2
		printf 'apt-get could not install %s; its last words are above.\n' "${missing[*]}" >&2
	fi
	rm -f "$log"
	return "$rc"
}
