#!/bin/bash
# SPDX-License-Identifier: MIT
# symbols.sh - libesca.so exports what libesca.map lists, and imports nothing that could lock, allocate or come back to its own wrappers.
set -u
lib=$top_builddir/esca-runtime/.libs/libesca.so
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
bad=0

sed -n '/^global:/,/^local:/p' "$top_srcdir/esca-runtime/libesca.map" | sed 's|/\*.*\*/||; /^[a-z]*:/d' |
	tr -d '\t\n ' | tr ';' '\n' | sort >"$dir/map"
nm -D --defined-only "$lib" | awk '{ sub(/@.*/, "", $3); print $3 }' | sort >"$dir/exported"
[ -s "$dir/map" ] || exit 1
diff "$dir/map" "$dir/exported" || {
	echo "libesca.so does not export what libesca.map lists (<: only in the map, >: only in the library)"
	bad=1
}

# What the public header calls is there.
names=$(sed -n 's/.*ESCA_CALL_IF_LOADED(\([a-z_]*\)).*;/\1/p' "$top_srcdir/esca-runtime/esca.h")
[ "$(echo "$names" | wc -w)" = 2 ] || bad=1
for n in $names; do
	grep -qx "$n" "$dir/exported" || {
		echo "libesca.so does not export $n, which esca.h calls"
		bad=1
	}
done
nm -D --defined-only "$top_builddir/esca-runtime/.libs/libesca-published.so" | awk '{ print $3 }' | sort | tr '\n' ' ' >"$dir/published"
[ "$(cat "$dir/published")" = "batch_flush batch_start esca_init " ] || {
	echo "libesca-published.so exports $(cat "$dir/published")"
	bad=1
}

# dlsym, dlvsym, pthread_key_create: in constructors only; dlopen: where libc does it itself, in pthread_cancel(3). pthread_setspecific: once a thread, in the memory of the thread.
# Functions of libc that take no lock, allocate nothing and make no call that we wrap (clock_gettime is the vdso's).
allowed='mem(cpy|move|set|cmp|chr|rchr)|str(len|nlen|cmp|ncmp|chr|rchr|spn|cspn|cpy|ncpy|tol|toul|toull|str)
	__(memcpy|memmove|memset|strcpy|strncpy)_chk __errno_location getenv|secure_getenv
	__chk_fail|__fdelt_chk pthread_atfork|__register_atfork __cxa_atexit __cxa_finalize __tls_get_addr
	io_uring_[a-z_]+|__io_uring_[a-z_]+ environ|__environ clock_gettime
	dlsym|dlvsym|dlopen pthread_key_create|pthread_setspecific|pthread_setcanceltype __libc_single_threaded
	_ITM_(de)?registerTMCloneTable __gmon_start__'
allowed="^($(echo "$allowed" | tr -s ' \t\n' '|'))$"
nm -D --undefined-only "$lib" | awk '{ sub(/@.*/, "", $2); print $2 }' | grep -vE "$allowed" && {
	echo "libesca.so imports what a library inside another's process should not need; if it does, say why in $0"
	bad=1
}

# What it is linked with is loaded into every server.
needed=$(readelf -d "$lib" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -vE '^(libc\.so\.6|liburing\.so\.2|ld-linux-x86-64\.so\.2)$')
[ -z "$needed" ] || {
	echo "libesca.so needs $needed"
	bad=1
}
exit $bad
