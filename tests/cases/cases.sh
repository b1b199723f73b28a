#!/bin/bash
# SPDX-License-Identifier: MIT
# cases.sh [NAME...] - text trace in, report out: each NAME.trace must give NAME.expected (default: all). With UPDATE=1 the reports are written anew.
set -u
here=${top_srcdir:?}/tests/cases
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0

[ $# -gt 0 ] || set -- "$here"/*.trace
for name; do
	name=$(basename "$name" .trace)
	if ! "${top_builddir:?}/tests/cases/trace-text" "$tmp/$name.data" <"$here/$name.trace"; then
		echo "FAIL: $name: the trace is not understood"
		failed=1
		continue
	fi
	"${ESCA:?}" advise report --profile "$here/profile.json" "$tmp/$name.data" >"$tmp/$name.report" 2>"$tmp/err"
	status=$?
	sed "s|$tmp/||" "$tmp/err" >>"$tmp/$name.report"
	echo "exit status $status" >>"$tmp/$name.report"
	"$ESCA" advise report --json --profile "$here/profile.json" "$tmp/$name.data" >"$tmp/$name.json" 2>/dev/null
	if [ "${UPDATE-}" = 1 ]; then
		cp "$tmp/$name.report" "$here/$name.expected"
	elif ! diff -u "$here/$name.expected" "$tmp/$name.report"; then
		echo "FAIL: $name"
		failed=1
		continue
	fi
	# The form that people write comes back from the recording, and says the same.
	"$top_builddir/tests/cases/trace-text" -d <"$tmp/$name.data" >"$tmp/$name.text" &&
		"$top_builddir/tests/cases/trace-text" "$tmp/again.data" <"$tmp/$name.text" &&
		"$top_builddir/tests/cases/trace-text" -d <"$tmp/again.data" | cmp - "$tmp/$name.text" ||
		{ echo "FAIL: $name: text and recording differ"; failed=1; continue; }
	if [ "$(tr -d ' \n' <"$tmp/$name.json" | head -c 12)" != '{"version":1' ]; then
		echo "FAIL: $name: no JSON"
		failed=1
		continue
	fi
	echo "ok: $name"
done
exit $failed
