# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# reports.sh - what sanitizers in libesca.so find (configure --enable-runtime-sanitizer) goes into files, since a server may have
# no stderr and any exit status; a test looks into them when it is done.

# reports_into DIR - begin.  TSAN is not to name functions: it opens files for that, and so comes back to libesca.so.
reports_into()
{
	reports=$1/report
	export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}log_path=$reports"
	export UBSAN_OPTIONS="${UBSAN_OPTIONS:+$UBSAN_OPTIONS:}log_path=$reports"
	export TSAN_OPTIONS="${TSAN_OPTIONS:+$TSAN_OPTIONS:}log_path=$reports:symbolize=0:exitcode=0:atexit_sleep_ms=0"
}

# reports_named FILE - print it with functions and lines of what we have built
reports_named()
{
	local line offset file

	while IFS= read -r line; do
		case $line in
		*' <null> <null> (libesca.so+0x'*) file=$top_builddir/esca-runtime/.libs/libesca.so ;;
		*' <null> <null> (equiv+0x'*) file=$top_builddir/tests/equiv/equiv ;;
		*' <null> <null> (equiv-gen+0x'*) file=$top_builddir/tests/equiv/equiv-gen ;;
		*) file= ;;
		esac
		offset=${line##*+}
		[ -z "$file" ] || line="${line%%<null>*}$(addr2line -fsipe "$file" "${offset%)}" 2>&1 | head -n 1)"
		printf '%s\n' "$line"
	done <"$1"
}

# reports_none - print the first ones and fail if there are any
reports_none()
{
	local f n=0

	for f in "$reports".*; do
		[ -s "$f" ] || continue
		n=$((n + 1))
		[ $n -gt 5 ] || reports_named "$f" | head -n 150
	done
	[ $n -eq 0 ] || {
		echo "sanitizers report something in $n processes"
		return 1
	}
}

# reports_hush FILE - without what esca says of a program that is linked with libtsan.so
reports_hush()
{
	sed -i "/^esca: warning: '[^']*\/libtsan\.so/d" "$1"
}
