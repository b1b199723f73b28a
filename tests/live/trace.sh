# SPDX-License-Identifier: MIT
# trace.sh - what the tests of esca trace share. Sourced.
# shellcheck shell=bash
# shellcheck disable=SC2034
# shellcheck source=tests/live/lib.sh
. "$top_srcdir/tests/live/lib.sh"
victim=$top_builddir/tests/live/victim
calls=$top_builddir/tests/live/calls

# Not every container lets a process trace its child.
"$ESCA" trace -o probe.data --method ptrace -- /bin/true 2>probe.err || {
	if grep -q 'does not let esca trace\|refuses the seccomp filter' probe.err; then
		echo "SKIP: $(cat probe.err)"
		exit 77
	fi
	cat probe.err
	exit 1
}
