# SPDX-License-Identifier: MIT
# trace.sh - what the tests of esca trace share. Sourced.
# shellcheck shell=bash
# shellcheck disable=SC2034
victim=$top_builddir/tests/live/victim
calls=$top_builddir/tests/live/calls
dir=$(mktemp -d "${TMPDIR:-/tmp}/esca-test-trace.XXXXXX")
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
failed=0

bad()
{
	echo "FAIL: $*"
	failed=1
}

# Not every container lets a process trace its child.
"$ESCA" trace -o probe.data --method ptrace -- /bin/true 2>probe.err || {
	if grep -q 'does not let esca trace\|refuses the seccomp filter' probe.err; then
		echo "SKIP: $(cat probe.err)"
		exit 77
	fi
	cat probe.err
	exit 1
}
