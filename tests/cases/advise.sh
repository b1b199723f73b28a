#!/bin/bash
# SPDX-License-Identifier: MIT
# advise.sh - each key of the JSON report is in its manual page, and esca advise says what is wrong with what it cannot use.
set -u
here=${top_srcdir:?}/tests/cases
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
bad=0

# want STATUS MESSAGE ARG... - `esca advise ARG...` ends so and says so, in one line, and prints nothing
want()
{
	local status=$1 message=$2 got

	shift 2
	(cd "$tmp" && "${ESCA:?}" advise "$@") >"$tmp/out" 2>"$tmp/err" </dev/null
	got=$?
	if [ $got != "$status" ] || ! grep -qF -- "$message" "$tmp/err" || [ "$(grep -c ^esca: "$tmp/err")" -gt 1 ] || [ -s "$tmp/out" ]; then
		echo "esca advise $*: exit status $got instead of $status, '$(cat "$tmp/err")' instead of '$message'"
		bad=1
	fi
}

"${top_builddir:?}/tests/cases/trace-text" "$tmp/data" <"$here/nginx-log.trace" || exit 1
"$ESCA" advise report --json --profile "$here/profile.json" "$tmp/data" >"$tmp/json" || bad=1
grep -oE '"[a-z0-9_]+":' "$tmp/json" | tr -d '":' | sort -u >"$tmp/keys"
[ "$(wc -l <"$tmp/keys")" -gt 50 ] || { echo "few keys: $(cat "$tmp/keys")"; bad=1; }
while read -r key; do
	# Outcomes of calls are words of their own.
	grep -qwE "made|alone|merged|body|file|joined|elided|log|version|function|module|line" <<<"$key" || grep -qw -- "$key" "$top_srcdir/man/esca-advise.1" || {
		echo "esca-advise(1) does not tell of the key $key"
		bad=1
	}
done <"$tmp/keys"

profile=(--profile "$here/profile.json")
want 2 "record a server with 'esca trace" report "${profile[@]}"
want 2 "No such file" report "${profile[@]}" missing
want 2 "Is a directory" report "${profile[@]}" .
want 2 "not a recording of esca" report "${profile[@]}" "$here/nginx-log.trace"
want 2 "cost profile" report --profile "$tmp/missing" "$tmp/data"
want 2 "cost profile" report --profile "$here/nginx-log.trace" "$tmp/data"
want 64 "esca advise report" "${profile[@]}"
want 64 "esca advise report" improve
want 64 "one recording" report "$tmp/data" "$tmp/data"
"$ESCA" advise report "${profile[@]}" "$tmp/data" >/dev/full 2>"$tmp/err"
[ $? = 2 ] && grep -q "cannot write the report" "$tmp/err" || { echo "a full disk goes unnoticed"; bad=1; }
"$ESCA" advise report "${profile[@]}" - <"$tmp/data" >"$tmp/out" && grep -q "^Loop 1" "$tmp/out" || { echo "no report from standard input"; bad=1; }
# Measured here: whatever the figures, there is an answer.
"$ESCA" advise report "$tmp/data" >"$tmp/out" && grep -qE "^Aggregation" "$tmp/out" || { echo "no report with this host's costs"; bad=1; }
exit $bad
