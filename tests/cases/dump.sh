#!/bin/bash
# SPDX-License-Identifier: MIT
# dump.sh - esca dump prints dump.txt's recording as expected, and says what is wrong with what is no recording. UPDATE=1 writes the former anew.
set -u
here=${top_srcdir:?}/tests/cases
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
bad=0

# want STATUS MESSAGE ARG... - `esca dump ARG...` ends so and says so, in one line
want()
{
	local status=$1 message=$2 got

	shift 2
	"${ESCA:?}" dump "$@" >"$tmp/out" 2>"$tmp/err" </dev/null
	got=$?
	if [ $got != "$status" ] || ! grep -qF -- "$message" "$tmp/err" || [ "$(grep -c ^esca: "$tmp/err")" -gt 1 ]; then
		echo "esca dump $*: exit status $got instead of $status, '$(cat "$tmp/err")' instead of '$message'"
		bad=1
	fi
}

"${top_builddir:?}/tests/cases/trace-text" "$tmp/data" <"$here/dump.txt" || exit 1
"$ESCA" dump "$tmp/data" >"$tmp/dump.expected" || bad=1
"$ESCA" dump --format json "$tmp/data" >"$tmp/dump.json" || bad=1
for file in dump.expected dump.json; do
	if [ "${UPDATE-}" = 1 ]; then
		cp "$tmp/$file" "$here/$file"
	else
		diff -u "$here/$file" "$tmp/$file" || bad=1
	fi
done
"$ESCA" dump - <"$tmp/data" | diff "$tmp/dump.expected" - >/dev/null || { echo "standard input that is a file differs"; bad=1; }
[ "$("$ESCA" dump - < <(cat "$tmp/data") | wc -l)" = "$(wc -l <"$tmp/dump.expected")" ] || { echo "a pipe gives other lines"; bad=1; }

# cut: what precedes is printed, with a warning
size=$(stat -c %s "$tmp/data")
head -c $((size - 40)) "$tmp/data" >"$tmp/cut"
want 0 "cut off before its end" "$tmp/cut"
grep -q accept4 "$tmp/out" || { echo "nothing of what precedes the cut"; bad=1; }
head -c 20 "$tmp/data" >"$tmp/cut"
want 0 "cut off before its end" "$tmp/cut"

: >"$tmp/empty"
want 2 "not a recording of esca" "$tmp/empty"
want 2 "not a recording of esca" "$here/dump.txt"
want 2 "Is a directory" "$tmp"
want 2 "No such file" "$tmp/missing"
poke() { { head -c "$1" "$tmp/data"; printf '%b' "$2"; tail -c +$(($1 + 1 + $3)) "$tmp/data"; } >"$tmp/poked"; }
poke 8 '\x02' 1
want 2 "another version of esca" "$tmp/poked"
poke 12 '\x01\x02\x03\x04' 4
want 2 "other byte order" "$tmp/poked"
poke 20 '\xb7' 1
want 2 "another processor architecture" "$tmp/poked"
poke 44 '\xff\xff\xff\xff' 4
want 2 "damaged" "$tmp/poked"
want 64 "no format" --format xml "$tmp/data"
want 64 "one recording" "$tmp/data" "$tmp/data"
"$ESCA" dump "$tmp/data" >/dev/full 2>"$tmp/err"
[ $? = 2 ] && grep -q "cannot write to standard output" "$tmp/err" || { echo "a full disk goes unnoticed"; bad=1; }

# a reader that has seen enough is no error
for _ in $(seq 2000); do cat "$here/dump.txt"; done | sed 's/^stack.*//; s/stack=[0-9]//' >"$tmp/long.txt"
"$top_builddir/tests/cases/trace-text" "$tmp/long" <"$tmp/long.txt" || bad=1
set -o pipefail
"$ESCA" dump "$tmp/long" 2>"$tmp/err" | head -1 >/dev/null || { echo "a closed pipe is exit status $?"; bad=1; }
[ ! -s "$tmp/err" ] || { cat "$tmp/err"; bad=1; }
exit $bad
