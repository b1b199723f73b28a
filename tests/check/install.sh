#!/bin/bash
# SPDX-License-Identifier: MIT
# install.sh - make install: with DESTDIR, and into a prefix whose esca finds its libesca.so, also after the whole prefix was moved.
set -u
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
top_srcdir=$(cd "$top_srcdir" && pwd)
top_builddir=$(cd "$top_builddir" && pwd)
bad=0

make_() { make -C "$top_builddir" "$@" >"$dir/log" 2>&1 || {
	tail -n 20 "$dir/log"
	echo "make $* failed"
	exit 1
}; }

# runs ESCA LIBRARY - under ESCA run, is LIBRARY mapped and no other libesca.so?
runs()
{
	local got

	got=$("$1" run --backend direct -- cat /proc/self/maps | awk '/libesca/ { print $6 }' | sort -u)
	[ "$got" = "$2" ] || {
		echo "$1 loads '$got', not $2"
		bad=1
	}
}

unset DESTDIR MAKEFLAGS MAKELEVEL
make_ install DESTDIR="$dir/dest"
bindir=$(sed -n 's/^prefix = //p' "$top_builddir/Makefile")/bin
[ -x "$dir/dest$bindir/esca" ] || {
	echo "make install DESTDIR=... leaves no $bindir/esca there"
	bad=1
}
find "$dir/dest" -name '*.a' | grep . && bad=1
find "$dir/dest" -name 'esca*.[15]' | grep -q . || [ -z "$(ls "$top_srcdir"/man/*.1 2>/dev/null)" ] || {
	echo "no man pages are installed"
	bad=1
}

# A build of its own: the prefix is compiled in.
mkdir "$dir/build" && cd "$dir/build" || exit 1
prefix=$dir/place
"$top_srcdir/configure" -q --prefix="$prefix" CC="${CC:-cc}" >"$dir/log" 2>&1 || {
	tail "$dir/log"
	exit 1
}
top_builddir=$dir/build
make_ -j2 install
runs "$prefix/bin/esca" "$prefix/lib/libesca.so"
(cd / && PATH="$prefix/bin:$PATH" && runs esca "$prefix/lib/libesca.so"; exit $bad) || bad=1
# For server authors: the header, by pkg-config, and nothing to link with.
echo '#include <esca.h>
int main(void) { esca_batch_begin(); esca_batch_end(); return 0; }' >"$dir/two.c"
# shellcheck disable=SC2086
if export PKG_CONFIG_PATH=$prefix/lib/pkgconfig && flags=$(pkg-config --cflags --libs esca) && [ "$flags" = "-I$prefix/include " ] &&
	${CC:-cc} $flags -o "$dir/two" "$dir/two.c" && "$dir/two" && "$prefix/bin/esca" run -- "$dir/two"; then
	:
else
	echo "a program cannot be built with pkg-config esca ('${flags:-}')"
	bad=1
fi
[ "$(pkg-config --modversion esca)" = "$(sed -n 's/^#define PACKAGE_VERSION "\(.*\)"/\1/p' "$top_builddir/config.h")" ] || bad=1
mv "$prefix" "$dir/moved"
runs "$dir/moved/bin/esca" "$dir/moved/lib/libesca.so"
ln -s "$dir/moved/bin/esca" "$dir/link"
runs "$dir/link" "$dir/moved/lib/libesca.so"
rm "$dir/moved/lib/libesca.so"
"$dir/moved/bin/esca" run -- true 2>"$dir/err"
[ $? -eq 2 ] && grep -q 'libesca.so' "$dir/err" || {
	echo "without its libesca.so, esca run says: $(cat "$dir/err")"
	bad=1
}
mv "$dir/moved" "$prefix"
make_ uninstall
find "$prefix" -type f | grep . && {
	echo "make uninstall leaves files"
	bad=1
}
exit $bad
