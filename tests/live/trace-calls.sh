#!/bin/bash
# SPDX-License-Identifier: MIT
# trace-calls.sh - esca trace records exactly the calls that its victims say they have made, by either lane.
set -u
# shellcheck source=tests/live/trace.sh
. "$top_srcdir/tests/live/trace.sh"

names="read write close getppid lseek openat pread64 dup2 poll wait4"

# by_thread FILE: each thread's lines together, in their order
by_thread()
{
	sort -s -n -k1,1 "$1"
}

# record METHOD PROGRAM MODE: leaves the recording, what was logged, what was recorded
record()
{
	rm -f log got expected
	timeout 20 "$ESCA" trace -o t.data --method "$1" -- "$2" "$3" "$dir/log" 2>err
	status=$?
	tail -c +5 log | tr -d '\0' >expected
	# shellcheck disable=SC2086
	"$calls" t.data $names >got 2>>err || bad "$3 by $1: the recording cannot be read: $(cat err)"
	[ "$(wc -l <expected)" -gt 10 ] || bad "$3 by $1: the victim logged nothing"
}

# same MODE METHOD: per thread the same calls in the same order
same()
{
	record "$2" "$victim" "$1"
	[ "$status" = 0 ] || bad "$1 by $2: exit status $status: $(cat err)"
	[ ! -s err ] || bad "$1 by $2: says $(cat err)"
	diff <(by_thread expected) <(by_thread got) >differ || bad "$1 by $2: logged (<) and recorded (>) differ:
$(head -20 differ)"
}

for mode in files threads forks vforks spawns thread-execs interrupted restarted stopped dying daemon stacks; do
	for method in ring ptrace; do
		same "$mode" "$method"
		"$calls" t.data --lanes >lanes
		grep -q ' lost ' lanes && bad "$mode by $method: calls were lost"
		if [ "$mode" = files ]; then
			"$ESCA" dump t.data >text
			for kind in 'pread64([0-9]*<reg>' 'write([0-9]*<pipe>' 'read([0-9]*<pipe>' 'close(-77'; do
				grep -q "$kind" text || bad "files by $method: nowhere $kind"
			done
		fi
		case $mode-$method in
		restarted-*)
			awk '$2 == "read" && $4 != 0 && $5 == 2 { n++ } END { exit !n }' lanes ||
				bad "restarted by $method: the stopped read is not marked as restarted"
			;;
		dying-*)
			awk '$2 == "read" && $5 == 1 { n++ } END { exit n != 1 }' lanes ||
				bad "dying by $method: the unfinished read is not there once"
			;;
		spawns-* | vforks-*)
			grep -q ' process 3 . /.*/true' lanes || bad "$mode by $method: no exec of true"
			;;
		files-ring)
			awk '$2 == "lseek" && $4 == 0 { ring++ } $2 == "getppid" && $4 == 1 { net++ }
				END { exit !(ring > 10 && net > 10) }' lanes || bad "files by ring: the lanes are not as they should be"
			"$ESCA" dump --format json t.data | grep -q '"type":"path".*"path":"[^"]*/live/.*victim"' ||
				bad "files by ring: the path of the opened file is missing"
			;;
		*-ptrace)
			awk 'NF == 6 && $4 != 2 { n++ } END { exit n > 0 }' lanes || bad "$mode by ptrace: a call of another lane"
			;;
		esac
	done
done

# Two ways to one call site are two stacks, in both lanes.
for method in ring ptrace; do
	record "$method" "$victim" stacks
	"$calls" t.data --lanes >lanes
	"$calls" t.data --symbols >symbols
	[ "$(awk '$2 == "write" { print $6 }' lanes | sort | uniq -c | awk '$1 == 100' | wc -l)" = 2 ] ||
		bad "stacks by $method: not two stacks of a hundred calls each: $(awk '$2 == "write" { print $6 }' lanes | sort | uniq -c)"
	for f in leaf way_one way_two stacks main; do
		grep -q "^symbol .* $f\$" symbols || bad "stacks by $method: no symbol for $f"
	done
	grep -q '^symbol .* record_call$' symbols && bad "stacks by $method: the library's own frames"
done

# With handlers at any instruction the order is not known; each call is there once, or counted as lost where the ring was full.
record ring "$victim" storm
[ "$status" = 0 ] || bad "storm: exit status $status: $(cat err)"
"$calls" t.data --lanes >lanes
made=$(awk '$2 == "lseeks" { print $3 } $2 == "write" || $2 == "read" { n++ } END { print n }' expected | awk '{ n += $1 } END { print n }')
kept=$(awk '($2 == "lseek" || $2 == "write" || $2 == "read") && $4 == 0 { n++ } END { print n }' lanes)
lost=$(awk '$2 == "lost" { n += $3 } END { print n + 0 }' lanes)
[ "$made" = $((kept + lost)) ] || bad "storm: $made calls made, $kept recorded, $lost lost"
[ "$(grep -c write expected)" -ge 100 ] || bad "storm: no handler has run"

# A static program: said, and recorded all the same.
${CC:-cc} -static -pthread -o static "$top_srcdir/tests/live/victim.c" 2>cc.err || bad "no static victim: $(cat cc.err)"
record ring ./static files
[ "$status" = 0 ] || bad "static: exit status $status"
grep -q 'cannot be loaded into.*every call is stopped' err || bad "static: no warning: $(cat err)"
diff <(by_thread expected) <(by_thread got) >differ || bad "static: logged and recorded differ: $(head -20 differ)"
exit $failed
