#!/bin/bash
# SPDX-License-Identifier: MIT
# marks.sh - esca_batch_begin() and esca_batch_end(): a program that has them, however it is linked, without the runtime, with it, and with
# each backend, shows the same; with it, calls waited between them. The names of the published ESCA likewise.
set -u
# shellcheck source=tests/live/lib.sh
. "$top_srcdir/tests/live/lib.sh"
prog=$top_builddir/tests/live/marks

# waited FILE - how many calls of the run were deferred
waited() { jq .total.deferred "$1"; }

backends=direct
"$ESCA" run --backend uring -- true 2>&1 | grep -q direct || backends='direct uring'
for case in $("$prog"); do
	timeout 60 "$prog" "$case" >"$dir/plain" 2>&1 || bad "$case fails without the runtime: $(cat "$dir/plain")"
	for b in $backends; do
		timeout 60 "$ESCA" run --backend "$b" --stats "$dir/s" -- "$prog" "$case" >"$dir/run" 2>&1 || bad "$case fails with $b"
		diff "$dir/plain" "$dir/run" || bad "$case, $b: not what it shows without the runtime (<)"
		[ "$(waited "$dir/s")" -gt 0 ] || bad "$case, $b: nothing waited between the marks"
	done
done

# --- every way to link, in C and C++, without a library
cat >"$dir/two.c" <<'END'
#include <esca.h>
#include <stdio.h>
int main(void)
{
	esca_batch_begin();
	esca_batch_end();
	esca_batch_end();
	puts("unharmed");
	return 0;
}
END
mkdir "$dir/include" && cp "$top_srcdir/esca-runtime/esca.h" "$dir/include"
for flags in '' '-O2 -pie -fPIE' '-O2 -no-pie -fno-pic' '-static' '-O2 -std=c89 -pedantic-errors -Wall -Wextra -Werror' '-x c++ -Wall -Werror'; do
	# shellcheck disable=SC2086
	$CC $flags -I"$dir/include" -o "$dir/two" "$dir/two.c" -x none || {
		bad "esca.h does not compile with '$flags'"
		continue
	}
	[ "$("$dir/two")" = unharmed ] || bad "'$flags': not unharmed without the runtime"
	case $flags in *static*) continue ;; esac
	[ "$("$ESCA" run --stats "$dir/s" -- "$dir/two")" = unharmed ] || bad "'$flags': not unharmed with the runtime"
	[ "$(jq .total.turns "$dir/s")" = 1 ] || bad "'$flags': the runtime was not called"
done

# --- a server that is patched for the published ESCA brings a library of the names, and one that only happens to have such names
cat >"$dir/shim.c" <<'END'
#include <stdio.h>
long esca_init(void) { return 0; }
long batch_start(int n) { return 0; }
long batch_flush(void) { return 0; }
END
cat >"$dir/patched.c" <<'END'
#include <stdio.h>
long esca_init(), batch_start(), batch_flush();
int main(void)
{
	esca_init();
	for (int i = 0; i < 3; i++) {
		batch_start();
		batch_start(1);
		batch_flush();
		batch_flush();
	}
	return 0;
}
END
cat >"$dir/theirs.c" <<'END'
#include <stdio.h>
long batch_start(int n) { printf("mine %d\n", n); return 1; }
long batch_flush(void) { puts("mine"); return 2; }
END
cat >"$dir/other.c" <<'END'
long batch_start(int), batch_flush(void);
int main(void) { return batch_start(7) + batch_flush() == 3 ? 0 : 1; }
END
cd "$dir" || exit 1
if $CC -shared -fPIC -o libshim.so shim.c && $CC -o patched patched.c ./libshim.so && $CC -shared -fPIC -o libtheirs.so theirs.c &&
	$CC -o other other.c ./libtheirs.so; then
	./patched || bad "the patched server does not run by itself"
	"$ESCA" run --stats s -- ./patched || bad "the patched server does not run"
	[ "$(jq .total.turns s)" = 3 ] || bad "the patched server's turns: $(jq .total.turns s), not 3"
	[ "$("$ESCA" run -- ./other)" = "mine 7
mine" ] || bad "a program's own batch_start and batch_flush were taken over"
else
	bad "cannot build servers with the published names"
fi
exit $failed
