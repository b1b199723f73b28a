#!/bin/bash
# SPDX-License-Identifier: MIT
# man.sh - each command has its page, each long option of --help is in the page and the other way round, and mandoc finds nothing.
set -u
command -v mandoc >/dev/null || {
	echo "mandoc is not installed; install the package mandoc"
	exit 77
}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
bad=0

long_options() { grep -oE -- '--[a-z][a-z0-9-]*' | sort -u; }

# page FILE WORD... - compare the options of the page with those of `esca WORD... --help`
page()
{
	local file=$top_srcdir/man/$1

	shift
	if [ ! -e "$file" ]; then
		echo "esca $*: no page ${file#"$top_srcdir"/}"
		bad=1
		return
	fi
	"$ESCA" "$@" --help | awk '/^ *(-[^-], )? *--[a-z]/' | sed -E 's/^ *(-., )? *//; s/[ =[].*//' | long_options |
		grep -vE -- '^--(help|usage|version)$' >"$dir/help"
	# Options are what .It, .B, .Fl or a bold tag line begins with; roff writes a hyphen as \-.
	sed 's/\\-/-/g; s/\\f[BIRP]//g' "$file" | awk '/^\.SH EXAMPLE|^\.Sh EXAMPLE/ { skip = 1 }
		/^\.S[Hh] / && !/EXAMPLE/ { skip = 0 } /^\.TP/ { tag = 1; next } tag { print; tag = 0 } /^\.It Fl/ && !skip' | sed -E 's/(Fl|,) -([a-z])/--\2/g' |
		long_options | grep -vE -- '^--(help|usage|version)$' >"$dir/page"
	diff "$dir/help" "$dir/page" || {
		echo "esca $*: the options of --help (<) and of ${file##*/} (>) differ"
		bad=1
	}
}

page esca.1
for c in $("$ESCA" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
	page "esca-$c.1" "$c"
done
for file in "$top_srcdir"/man/*.[1-9]; do
	mandoc -Tlint -W warning "$file" || bad=1
	grep -q '^\.S[Hh] "*EXIT STATUS' "$file" || [[ $file = *.[35] ]] || {
		echo "${file##*/}: no section EXIT STATUS"
		bad=1
	}
done
exit $bad
