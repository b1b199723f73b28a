#!/bin/bash
# SPDX-License-Identifier: MIT
# equiv.sh - each case of tests/equiv/equiv plain and under esca run, with each backend: what its server and its peer see must be equal, and
# the runtime must have deferred something, or the case proves nothing. ESCA_TEST names cases to run alone.
set -u
# shellcheck source=tests/equiv/reports.sh
. "$top_srcdir/tests/equiv/reports.sh"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
reports_into "$dir"
prog=$top_builddir/tests/equiv/equiv
bad=0
spills=0
ahead=0
backends=direct
if "$ESCA" run --backend uring -- true >"$dir/uring" 2>&1; then
	backends='direct uring'
else
	echo "without the uring backend: $(head -n 1 "$dir/uring")"
fi

sanitizer=$(nm -D "$top_builddir/esca-runtime/.libs/libesca.so" | sed -nE 's/^ *U __(asan|tsan)_.*/\1/p' | head -n 1)

for case in ${ESCA_TEST:-$("$prog")}; do
	# ASAN makes calls of its own, which the filter of the server kills, and is not told of a jump that a program without it makes out of
	# instrumented functions, so that the stack stays poisoned. TSAN wraps sigaction(3) itself.
	case $sanitizer,$case in
	asan,seccomp | asan,signal-jump | tsan,signal-told)
		echo "$case: not with $sanitizer in libesca.so"
		continue
		;;
	esac
	timeout 100 "$prog" "$case" >"$dir/plain" 2>&1
	if grep -qE "FAILED|SIGALRM" "$dir/plain" || ! [ -s "$dir/plain" ]; then
		echo "$case: the plain run failed:"
		cat "$dir/plain"
		bad=1
		continue
	fi
	variants="$backends hasty"
	case $backends,$case in *uring,spill-* | *uring,wait-* | *uring,modes-* | *uring,pieces | *uring,short-file) variants="$variants hasty-uring ahead" ;; *uring,ahead-*) variants="$variants ahead" ;; esac
	for variant in $variants; do
		backend=$variant
		unset ESCA_TEST_CREDIT
		# More is answered than the kernel has room for, so that it takes only a part: what then?
		options=
		case $variant in
		ahead) backend=uring && options=--read-ahead ;;
		hasty) backend=direct && export ESCA_TEST_CREDIT=131072 ;;
		hasty-uring) backend=uring && export ESCA_TEST_CREDIT=131072 ;;
		esac
		timeout 100 "$ESCA" run --backend "$backend" $options --stats "$dir/stats" -- "$prog" "$case" >"$dir/run" 2>&1
		reports_hush "$dir/run"
		if ! diff "$dir/plain" "$dir/run" >"$dir/diff"; then
			echo "$case, $variant: not what the plain run shows (<):"
			cat "$dir/diff"
			bad=1
		fi
		jq -c .total.fused_by "$dir/stats" >>"$dir/fused"
		deferred=$(jq .total.deferred "$dir/stats")
		echo "$case, $variant: $deferred calls deferred, $(jq .total.spills "$dir/stats") spills"
		if [ "${deferred:-0}" -eq 0 ]; then
			echo "$case, $variant: nothing was deferred"
			bad=1
		fi
		# What the worker of another user did is in the counters too.
		if [ "$case" = setuid ] && [ "$deferred" -lt 360 ]; then
			echo "$case, $variant: not all was counted after the user had changed"
			bad=1
		fi
		if [ "$case,$variant" = wait-ready,uring ] && "$prog" can-wait && [ "$(jq .total.fused_by.wait "$dir/stats")" -eq 0 ]; then
			echo "$case, $variant: no flush and wait were one crossing"
			bad=1
		fi
		[ "$variant" != ahead ] || ahead=$((ahead + $(jq '.total.fused_by["read-ahead"]' "$dir/stats")))
		spills=$((spills + $(jq .total.spills "$dir/stats")))
	done
	unset ESCA_TEST_CREDIT
done
# Each fusion that needs no backend's help was at work somewhere.
[ -n "${ESCA_TEST:-}" ] || for fusion in header-body merge cork epoll-mod epoll-del eagain file log close; do
	[ "$(jq -s "map(.[\"$fusion\"]) | add" "$dir/fused")" -gt 0 ] || {
		echo "the fusion $fusion did nothing in any case"
		bad=1
	}
done
[ -n "${ESCA_TEST:-}" ] || [ "$spills" -gt 0 ] || {
	echo "nothing was spilled in any case"
	bad=1
}
case $backends,${ESCA_TEST:-} in
*uring,) [ "$ahead" -gt 0 ] || {
	echo "nothing was read ahead in any case"
	bad=1
} ;;
esac
reports_none || bad=1
exit $bad
