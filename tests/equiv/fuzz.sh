#!/bin/bash
# SPDX-License-Identifier: MIT
# fuzz.sh - programs that tests/equiv/equiv-gen makes up: each plain and under esca run, in every mode; what it sees must be equal.
#
# ESCA_TEST_SEED: begin there, and nowhere else.  ESCA_TEST_COUNT: so many programs.  ESCA_TEST_SECONDS: go on for so long;
# with ESCA_TEST_LONG (make check-long) an hour.
# EQUIV_GEN_THREADS: all of them with two threads.
# A program whose plain runs differ among themselves is counted and not compared; too many of them fail the test.
set -u
# shellcheck source=tests/equiv/reports.sh
. "$top_srcdir/tests/equiv/reports.sh"
dir=$(mktemp -d)
reports_into "$dir"
prog=$top_builddir/tests/equiv/equiv-gen
chunk=50
variants='direct hasty'
[ "${ESCA_TEST_QUICK:-}" ] && count=200 || count=3000
count=${ESCA_TEST_COUNT:-$count}
seconds=${ESCA_TEST_SECONDS:-}
[ -z "${ESCA_TEST_LONG:-}" ] || seconds=${seconds:-3600}
fixed=1000000
base=$((RANDOM * 32768 + RANDOM + 2000000))
pids=()

# What a run leaves when it is cut off has the death of its parent as its end.
cleanup()
{
	[ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null
	wait
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

if "$ESCA" run --backend uring -- true >"$dir/uring" 2>&1; then
	variants="direct uring hasty ahead"
else
	echo "without the uring backend: $(head -n 1 "$dir/uring")"
fi

run() # VARIANT SEED COUNT OUT [STATS] - what the servers and peers of the programs print
{
	local backend=$1 options=()

	case $1 in
	plain) timeout 900 "$prog" "$2" "$3" >"$4" 2>&1; return ;;
	# More is answered than the kernel has room for, so that it takes only a part: what then?
	hasty) backend=direct && export ESCA_TEST_CREDIT=131072 ;;
	ahead) backend=uring && options=(--read-ahead) ;;
	esac
	timeout 900 "$ESCA" run --backend "$backend" "${options[@]}" ${5:+--stats "$5"} -- "$prog" "$2" "$3" >"$4" 2>&1
	unset ESCA_TEST_CREDIT
	reports_hush "$4"
}

split_runs() # OUT PREFIX - one file a program
{
	awk -v p="$2" '/^=== / { f = p $2 } f { print > f }' "$1"
}

seed_differs() # VARIANT SEED DIR - a program that came out otherwise: is it the runtime?
{
	local _

	for _ in 1 2 3 4 5 6; do
		run plain "$2" 1 "$3/again"
		if ! cmp -s "$3/again" "$3/a.$2" || cmp -s "$3/again" "$3/v.$2"; then
			echo "unstable $2" >>"$dir/unstable"
			return
		fi
	done
	{
		echo "seed $2, $1: not what the plain run shows (<):"
		diff "$3/a.$2" "$3/v.$2" | head -n 30
		echo "again: ESCA_TEST_SEED=$2 ESCA_TEST_COUNT=1 make check TESTS=tests/equiv/fuzz.sh"
	} >>"$dir/failures"
	echo "$2" >>"$dir/failed"
}

compare() # SEED COUNT - one chunk in all variants
{
	local d=$dir/$1 s v

	mkdir "$d"
	run plain "$1" "$2" "$d/plain"
	run plain "$1" "$2" "$d/plain2"
	split_runs "$d/plain" "$d/a."
	split_runs "$d/plain2" "$d/b."
	for ((s = $1; s < $1 + $2; s++)); do
		# One that fails once and not again is a matter of timing: unstable, as below.
		if cmp -s "$d/a.$s" "$d/b.$s" && { ! [ -s "$d/a.$s" ] || grep -qE 'FAILED|WRONG|MORE WAS' "$d/a.$s"; }; then
			{
				echo "seed $s: the plain run failed:"
				grep -E 'FAILED|WRONG|MORE WAS' "$d/a.$s"
			} >>"$dir/failures"
			echo "$s" >>"$dir/failed"
			rm -f "$d/a.$s"
		elif ! cmp -s "$d/a.$s" "$d/b.$s"; then
			echo "unstable $s" >>"$dir/unstable"
			rm -f "$d/a.$s"
		fi
	done
	for v in $variants; do
		run "$v" "$1" "$2" "$d/$v" "$d/$v.stats"
		jq -r '.total | "\(.deferred) \(.spills)"' "$d/$v.stats" >>"$dir/stats.$v"
		cmp -s "$d/plain" "$d/$v" && continue
		split_runs "$d/$v" "$d/v."
		for ((s = $1; s < $1 + $2; s++)); do
			[ ! -e "$d/a.$s" ] || cmp -s "$d/a.$s" "$d/v.$s" || seed_differs "$v" "$s" "$d"
		done
		rm -f "$d"/v.*
	done
	echo "$2" >>"$dir/done"
	rm -rf "$d"
}

many() # FIRST COUNT - in chunks, two at a time
{
	local s n

	for ((s = $1; s < $1 + $2; s += chunk)); do
		n=$(($1 + $2 - s))
		[ "$n" -le $chunk ] || n=$chunk
		compare "$s" "$n" &
		pids+=($!)
		while [ ${#pids[@]} -ge 2 ]; do
			wait "${pids[0]}"
			pids=("${pids[@]:1}")
		done
		[ "$(wc -l <"$dir/failed")" -lt 10 ] || break
		[ -z "$seconds" ] || [ $SECONDS -lt "$seconds" ] || break
	done
	[ ${#pids[@]} -eq 0 ] || wait "${pids[@]}"
	pids=()
}

: >"$dir/failed"
: >"$dir/failures"
: >"$dir/unstable"
if [ -n "${ESCA_TEST_SEED:-}" ]; then
	many "$ESCA_TEST_SEED" "$count"
elif [ -n "$seconds" ]; then
	echo "seeds from $base"
	many "$base" 1000000000
else
	# The same on every run, so that a change that breaks one is known by it; by hand new ones as well.
	many $fixed $((count * 2 / 3))
	[ "${CI:-}" = true ] && base=$((fixed + count * 2 / 3))
	echo "seeds from $fixed, and from $base"
	many "$base" $((count / 3))
fi
total=$(awk '{ n += $1 } END { print n + 0 }' "$dir/done")
unstable=$(sort -u "$dir/unstable" | wc -l)
echo "$total programs in each of: plain $variants; $unstable unstable$(awk '{ printf " %s", $2 }' <(sort -u "$dir/unstable" | head -n 20))"
bad=0
for v in $variants; do
	awk -v v="$v" '{ d += $1; s += $2 } END { print v ": " d + 0 " calls deferred, " s + 0 " spills"; exit d == 0 }' \
		"$dir/stats.$v" || {
		echo "$v: nothing was deferred"
		[ "$total" -lt 20 ] || bad=1
	}
done
if [ -s "$dir/failed" ]; then
	head -n 200 "$dir/failures"
	echo "$(sort -u "$dir/failed" | wc -l) programs fail: $(sort -un "$dir/failed" | head -n 40 | tr '\n' ' ')"
	bad=1
fi
if [ $((unstable * 50)) -gt "$total" ] && [ "$total" -ge 50 ]; then
	echo "more than 2 % are unstable"
	bad=1
fi
reports_none || bad=1
exit $bad
