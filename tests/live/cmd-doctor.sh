#!/bin/bash
# SPDX-License-Identifier: MIT
# cmd-doctor.sh - esca doctor: text and JSON agree, a missing thing changes the exit status, nothing is left running.
set -u
# shellcheck source=tests/live/lib.sh
. "$top_srcdir/tests/live/lib.sh"

LC_ALL=C.UTF-8 NO_COLOR=1 "$ESCA" doctor >"$dir/text" 2>"$dir/err"
status=$?
[ $status = 0 ] || [ $status = 1 ] || bad "exit status $status: $(cat "$dir/err")"
for word in kernel ptrace seccomp process_vm_readv io_uring libesca.so 'one entry into the kernel'; do
	grep -q "$word" "$dir/text" || bad "the text does not mention $word"
done
grep -qE 'io_uring .*(not usable|waiting for epoll in it: (yes|no))' "$dir/text" || bad "does not say whether io_uring can wait for epoll"
grep -q '✓' "$dir/text" || bad "no mark in a UTF-8 locale"
LC_ALL=C "$ESCA" doctor >"$dir/ascii"
LC_ALL=C grep -q '[^ -~]' "$dir/ascii" && bad "not plain ASCII in the C locale"
grep -q "$(printf '\033')" "$dir/ascii" && bad "colours in a file"

"$ESCA" doctor --json >"$dir/json"
[ $? = $status ] || bad "--json has another exit status"
for id in kernel cpu cores mitigations ptrace seccomp process_vm_readv memfd library preload io_uring congestion; do
	grep -q "\"id\": \"$id\"" "$dir/json" || bad "the JSON has no $id"
done
grep -q '"crossing_ns": [1-9]' "$dir/json" || bad "no crossing in the JSON"

# a host that lacks something: a copy of esca away from its library
cp "$ESCA" "$dir/esca"
if "$dir/esca" doctor >"$dir/text" 2>&1; then
	grep -q "$dir" "$dir/text" && bad "found the library of nowhere"
	ls "$(dirname "$dir")/lib/libesca.so" /usr/local/lib/libesca.so 2>/dev/null ||
		bad "exit status 0 without libesca.so"
else
	[ $? = 1 ] || bad "exit status of a missing thing"
	grep -q 'make install' "$dir/text" || bad "does not say how to get libesca.so"
fi

"$ESCA" doctor extra >/dev/null 2>"$dir/err"
[ $? = 64 ] || bad "an argument is accepted"
"$ESCA" doctor >/dev/full 2>"$dir/err"
[ $? = 2 ] || bad "a full disk is not noticed"
grep -q 'standard output' "$dir/err" || bad "does not say what it could not write"
exit $failed
