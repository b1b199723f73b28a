# SPDX-License-Identifier: MIT
# lib.sh - what the tests of commands share: a folder of their own, and how they say what is wrong. Sourced.
# shellcheck shell=bash
# shellcheck disable=SC2034
: "${ESCA:?}" "${CC:?}" "${top_srcdir:?}" "${top_builddir:?}"
top_srcdir=$(cd "$top_srcdir" && pwd)
dir=$(mktemp -d "${TMPDIR:-/tmp}/esca-test.XXXXXX")
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
failed=0

bad()
{
	echo "FAIL: $*"
	failed=1
}

# tried COMMAND STATUS WORD ARG...: `esca COMMAND ARG...` ends with STATUS and says one sentence with WORD, nothing where WORD is empty.
# What it prints is in out.
tried()
{
	local command=$1 status=$2 word=$3 got

	shift 3
	timeout 30 "$ESCA" "$command" "$@" >out 2>err
	got=$?
	[ "$got" = "$status" ] || bad "$command $*: exit status $got, not $status: $(cat err)"
	if [ -z "$word" ]; then
		[ ! -s err ] || bad "$command $*: says $(cat err)"
	else
		grep -q -- "$word" err || bad "$command $*: does not say '$word': $(cat err)"
		[ "$status" = 64 ] || [ "$(grep -c '^esca: ' err)" = 1 ] || bad "$command $*: more than a sentence: $(cat err)"
	fi
}
