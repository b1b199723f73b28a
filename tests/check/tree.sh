#!/bin/bash
# SPDX-License-Identifier: MIT
# tree.sh - the files of the repository: a licence line in each, nothing generated among them, none too long, all of it in the tarball.
set -u
cd "$top_srcdir" || exit 1
git rev-parse --is-inside-work-tree >/dev/null 2>&1 && [ "$(git rev-parse --show-prefix)" = "" ] || {
	echo "this is not the repository but a copy of its files"
	exit 77
}
bad=0

complain()
{
	echo "$*"
	bad=1
}

tmp=$(mktemp)
trap 'rm -f "$tmp"' EXIT
git ls-files >"$tmp"
while IFS= read -r f; do
	[ -e "$f" ] || continue
	case $f in
	*.txt | *.data | *.esca | *.trace | *.json | *.md | *.patch | COPYING | */COPYING | NEWS | .gitignore | .clang-format | *.gitkeep | \
		tests/cases/*.exp* | tests/fuzz/*corpus*/*) ;;
	*) head -n 5 "$f" | grep -q 'SPDX-License-Identifier: ' || complain "$f: no SPDX-License-Identifier in its first lines" ;;
	esac
	case $f in
	*.o | *.lo | *.la | *.a | *.so | *.trs | *.gcda | *.gcno | Makefile | */Makefile | Makefile.in | configure | aclocal.m4 | config.h | config.h.in | \
		*.tar.* | *.log | *~ | *.orig | *.rej) complain "$f: generated, and yet tracked" ;;
	*.c | *.h | *.sh)
		[ "$(wc -l <"$f")" -le 1100 ] || complain "$f: more than 1100 lines"
		[ "$f" = tests/check/tree.sh ] || ! grep -nE '(TODO|FIXME|XXX):' "$f" || complain "$f: an unfinished thought" ;;
	esac
	case $f in
	*.[ch] | *.def | *.sh | *.map | *.[1-9])
		grep -qwF -e "$f" -e "${f%.c}" -- Makefile.am ./*/Makemodule.am tests/*/Makemodule.am || complain "$f: in no Makemodule.am, so not in the tarball" ;;
	esac
	case $f in
	*.c | *.h) grep -nE '^([^"]*[^":])?//' "$f" | grep -v '"' | sed "s|^|$f:|" | grep . && complain "$f: a comment that is not /* */" ;;
	esac
done <"$tmp"
git ls-files -ci --exclude-standard | grep . && complain "these files are tracked and ignored"
exit $bad
