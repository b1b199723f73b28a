#!/bin/bash
# SPDX-License-Identifier: MIT
# bare-debian.sh - try ./quickstart, or another command of the tree, in a bare Debian 12: a machine on which one has worked hides what is missing.
#
# Usage: tests/check/bare-debian.sh [COMMAND...]      (default: ./quickstart; needs root and debootstrap)
# Makes a Debian 12 in a folder under TMPDIR with debootstrap, from the first Debian source of this host, copies the tracked files there,
# runs COMMAND in it with /proc, /dev and /sys, then checks that nothing was left running and that nothing outside the project's folder
# changed but by packages. Takes some minutes and 2 GB; not part of make check. KEEP=1 leaves the folder.
set -u
cd "$(dirname "$0")/../.." || exit 1
[ $# -gt 0 ] || set -- ./quickstart
mirror=
root=

die()
{
	echo "bare-debian.sh: $*" >&2
	exit 2
}

[ "$(id -u)" -eq 0 ] || die "debootstrap and chroot need root; run it with sudo"
command -v debootstrap >/dev/null || die "debootstrap is not installed; install the package debootstrap"

# The processes that live in the folder.
inmates()
{
	local p

	for p in /proc/[0-9]*; do
		[ "$(readlink "$p/root")" != "$root" ] || echo "${p#/proc/}"
	done
}

cleanup()
{
	local rc=$? p m

	trap - EXIT
	[ -n "$root" ] || exit "$rc"
	for p in $(inmates); do
		kill -KILL "$p" 2>/dev/null
	done
	for m in sys dev proc; do
		! mountpoint -q "$root/$m" || umount -R "$root/$m" 2>/dev/null || umount -R -l "$root/$m"
	done
	if grep -q " $root/" /proc/self/mounts; then
		echo "bare-debian.sh: $root is still mounted in part and is left as it is" >&2
		exit 2
	fi
	[ -n "${KEEP:-}" ] && echo "kept: $root" || rm -rf --one-file-system "$root"
	exit "$rc"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# The first source of this host that has Debian itself.
mirror=$(apt-get indextargets --format '$(REPO_URI) $(SUITE)' 'Created-By: Packages' 2>/dev/null |
	awk '$1 ~ /debian\/?$/ && ($2 == "bookworm" || $2 == "stable") { print $1; exit }')
mirror=${mirror:-http://deb.debian.org/debian}
root=$(mktemp -d "${TMPDIR:-/tmp}/esca-bare.XXXXXX") && root=$(realpath "$root")
chmod 755 "$root"
echo "== debootstrap from $mirror into $root"
debootstrap --variant=minbase bookworm "$root" "$mirror" >"$root.log" 2>&1 || {
	tail "$root.log" >&2
	rm -f "$root.log"
	die "debootstrap failed; its last words are above"
}
rm -f "$root.log"
# What lets this host reach its mirrors lets the folder reach them.
cp /etc/resolv.conf "$root/etc/resolv.conf"
cp /etc/hosts "$root/etc/hosts"
grep -rliE 'proxy|Verify-Peer|CaInfo|Check-Valid-Until' /etc/apt/apt.conf /etc/apt/apt.conf.d 2>/dev/null |
	while IFS= read -r f; do cp --parents "$f" "$root"; done
[ ! -d /usr/local/share/ca-certificates ] || cp -r /usr/local/share/ca-certificates "$root/usr/local/share/"
mount -t proc proc "$root/proc" && mount --rbind --make-rslave /dev "$root/dev" 2>/dev/null ||
	mount --bind /dev "$root/dev" || die "cannot mount /proc and /dev in $root"
mount -t sysfs -o ro sysfs "$root/sys" 2>/dev/null || mount --bind /sys "$root/sys"

mkdir "$root/root/esca"
git ls-files -z | xargs -0 cp -P --parents -t "$root/root/esca" || die "cannot copy the tree"

# What there is outside the project's folder, without what packages bring and what apt keeps.
outside()
{
	cd "$root" && {
		find . -xdev \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./root/esca -o -path ./var/lib/apt -o -path ./var/lib/dpkg \
			-o -path ./var/cache -o -path ./var/log/apt -o -path ./usr \) -prune -o -type f -print
		find ./usr/local -type f
	} | grep -vxE '\./(var/log/(dpkg|alternatives|bootstrap|faillog|lastlog|wtmp|btmp)(\.log)?|etc/ld\.so\.cache)' | sort
}

# Those of its files that belong to no package and that no package's script made.
unowned()
{
	(outside) | sed 's/^\.//' >"$root/after"
	comm -13 "$root/before" "$root/after" >"$root/new"
	cat "$root"/var/lib/dpkg/info/*.list | sort -u >"$root/owned"
	# A package's empty log files are its own, lines in them are not.
	comm -23 "$root/new" "$root/owned" | grep -vE "$made" | while IFS= read -r f; do
		[[ $f = /var/log/* && ! -s $root$f ]] || echo "$f"
	done
	rm -f "$root"/{after,new,owned}
}

# Made by the maintainer scripts of packages (perl, ssl, fontconfig, systemd and the like).
made='^/(etc/(\.pwd\.lock|group-?|gshadow-?|passwd-?|shadow-?|subuid-?|subgid-?|alternatives/|rc[0-9S]\.d/|ssl/|ca-certificates|mime\.types|shells|papersize|perl/|python3|fonts/|systemd/|udev/|dbus-1/|X11/|environment|inputrc|default/|machine-id|profile\.d/|apparmor\.d/|nginx/)|var/lib/(systemd|python|ucf|nginx|pam|emacsen-common|misc|shells\.state|xml-core|sgml-base|dbus|polkit-1|git)(/|$)|var/backups/|var/www/html/index\.nginx-debian\.html$|after$|before$|new$|owned$)'

(outside) | sed 's/^\.//' >"$root/before"
printf '== in the bare Debian:'
printf ' %q' "$@"
printf '\n'
begin=$SECONDS
# shellcheck disable=SC2046
env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TERM="${TERM:-dumb}" ${CI:+CI="$CI"} \
	$(env | sed -n 's/^\([a-zA-Z]*_[pP][rR][oO][xX][yY]=\S*\)$/\1/p') \
	chroot "$root" sh -c 'cd /root/esca && exec "$@"' sh "$@"
rc=$?
echo "== exit status $rc after $((SECONDS - begin)) s"
bad=0
[ "$rc" -eq 0 ] || bad=1
sleep 1
left=$(inmates)
[ -z "$left" ] || {
	echo "FAIL: left running:"
	# shellcheck disable=SC2086
	ps -o pid,args -p $left
	bad=1
}
left=$(unowned)
[ -z "$left" ] || {
	echo "FAIL: changed outside its folder:"
	echo "$left"
	bad=1
}
[ "$bad" -ne 0 ] || echo "== nothing left running, nothing changed outside its folder but by packages"
exit "$bad"
