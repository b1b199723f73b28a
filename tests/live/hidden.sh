#!/bin/bash
# SPDX-License-Identifier: MIT
# hidden.sh - libc functions that make their system calls inside libc, between calls that wait: the peer has what it has without the runtime.
# Also as a compiler with _FORTIFY_SOURCE calls them.
set -u
# shellcheck source=tests/live/lib.sh
. "$top_srcdir/tests/live/lib.sh"

$CC -std=gnu11 -D_GNU_SOURCE -O2 -D_FORTIFY_SOURCE=2 -I"$top_srcdir" -I"$top_builddir" -o "$dir/fortified" "$top_srcdir/tests/live/hidden.c" || exit 1
backends=direct
"$ESCA" run --backend uring -- true 2>&1 | grep -q direct || backends='direct uring'
for prog in "$top_builddir/tests/live/hidden" "$dir/fortified"; do
	for case in $("$prog"); do
		timeout 60 "$prog" "$case" >"$dir/plain" 2>&1 || bad "$case fails without the runtime: $(cat "$dir/plain")"
		for b in $backends; do
			timeout 60 "$ESCA" run --backend "$b" --stats "$dir/s" -- "$prog" "$case" >"$dir/run" 2>&1 || bad "$case fails with $b"
			diff "$dir/plain" "$dir/run" || bad "$case, $b: not what it shows without the runtime (<)"
			[ "$(jq .total.deferred "$dir/s")" -gt 0 ] || bad "$case, $b: nothing waited"
		done
	done
done
exit $failed
