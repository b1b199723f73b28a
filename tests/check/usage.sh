#!/bin/bash
# SPDX-License-Identifier: MIT
# usage.sh - --help, --version and wrong options of esca and of each command: right stream, right exit status; --version tells the features.
set -u
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
bad=0

# said STATUS STREAM ARG... - exit status STATUS, and something on STREAM only
said()
{
	local status=$1 stream=$2 other=err got

	shift 2
	[ "$stream" = out ] || other=out
	"$ESCA" "$@" >"$dir/out" 2>"$dir/err" </dev/null
	got=$?
	[ "$got" -eq "$status" ] || {
		echo "esca $*: exit status $got, not $status"
		bad=1
	}
	[ -s "$dir/$stream" ] && [ ! -s "$dir/$other" ] || {
		echo "esca $*: its words belong to std$stream and are:" "$(cat "$dir/out" "$dir/err")"
		bad=1
	}
}

commands=$("$ESCA" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')
for f in "$top_srcdir"/cli/cmd-*.c; do
	c=${f##*/cmd-}
	echo "$commands" | grep -qx "${c%.c}" || {
		echo "esca --help does not list ${c%.c}"
		bad=1
	}
done
said 0 out --help
awk 'length > 120 { print FILENAME ": " $0; bad = 1 } END { exit bad }' "$dir/out" || bad=1
said 0 out --version
define() { sed -n "s/^#define $1 \"\(.*\)\"/\1/p" "$top_builddir/config.h"; }
printf '%s\n%s\n' "$(define PACKAGE_STRING)" "$(define ESCA_FEATURES)" | diff - "$dir/out" || {
	echo "esca --version is not the package and its features"
	bad=1
}
for f in libunwind libseccomp; do
	grep -q "[+]$f" "$dir/out" || {
		echo "esca --version does not tell $f"
		bad=1
	}
done
said 64 err
said 64 err --no-such-option
said 64 err no-such-command
for c in $commands; do
	said 0 out "$c" --help
	grep -q "^Usage: esca $c" "$dir/out" || {
		echo "esca $c --help: no usage line"
		bad=1
	}
	grep -qi 'exit status' "$dir/out" || {
		echo "esca $c --help: does not state its exit statuses"
		bad=1
	}
	said 0 out "$c" --version
	said 64 err "$c" --no-such-option
done
exit $bad
