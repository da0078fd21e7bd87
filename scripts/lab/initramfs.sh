#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Build the lab's initramfs parts that stay the same from run to run: busybox
# and init, and stress-ng with its libraries.  run.sh appends the run's own
# files; the kernel unpacks any number of archives one after another.
#
# usage: initramfs.sh base|stress OUT.cpio
set -eu

here=$(dirname "$(realpath "$0")")
what=$1
out=$(realpath "$2")
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT

need() {
	command -v "$1" || {
		echo "initramfs.sh: no $1 here: run 'make setup'" >&2
		exit 1
	}
}

cd "$tree"
case $what in
base)
	mkdir -p bin sbin dev proc sys tmp lab etc root
	busybox=$(need busybox)
	cp "$busybox" bin/busybox
	"$busybox" --list | while read -r applet; do
		[ "$applet" = busybox ] || ln -s busybox "bin/$applet"
	done
	cp "$here/init" init
	;;
stress)
	stress=$(need stress-ng)
	{ echo "$stress"; ldd "$stress" | grep -o '/[^ ]*'; } | while read -r file; do
		mkdir -p ".$(dirname "$file")"
		cp -L "$file" ".$file"
	done
	mkdir -p bin
	[ -e bin/stress-ng ] || ln -s "$stress" bin/stress-ng
	;;
*)
	echo "usage: initramfs.sh base|stress OUT.cpio" >&2
	exit 2
	;;
esac
find . | cpio --quiet -o -H newc -R 0:0 >"$out.tmp"
mv "$out.tmp" "$out"
