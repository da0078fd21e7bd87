#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Install the module and the files that belong to it ("files"), and uninstall just
# these: all that is created, directories too, is written to a list.
#
# usage: install.sh install     the module built for KDIR, and the files
#        install.sh tools       the files only, without a list: for packages
#        install.sh uninstall
#
# Environment: KDIR (kernel that the module was built for), DESTDIR, PREFIX
# (/usr/local), DOCDIR (PREFIX/share/doc/prezero)
set -euo pipefail
root=${DESTDIR:+$(realpath -m "$DESTDIR")}
kdir=${KDIR:+$(realpath -m "$KDIR")}
self=$(realpath "$0")
cd "$(dirname "$self")/../.."
prefix=${PREFIX:-/usr/local}
doc=${DOCDIR:-$prefix/share/doc/prezero}
list=$root/var/lib/prezero/installed
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

die() {
	echo "install: $*" >&2
	exit 1
}

digest() {
	sha256sum <"$1" | cut -d' ' -f1
}

# The list has lines "KIND DIGEST PATH"; those of directories have "-" as digest.
listed() {
	[ ! -e "$list" ] || awk -v path="$1" '$3 == path { print $2 }' "$list"
}

enlist() {
	local path=${2#"$root"}
	[ -n "$list" ] || return 0
	[ ! -e "$list" ] || sed -i "\| $path\$|d" "$list"
	echo "$1 $3 $path" >>"$list"
}

# make_dir PATH: with its parents, each of them listed
make_dir() {
	[ ! -d "$1" ] || return 0
	make_dir "$(dirname "$1")"
	mkdir "$1" || die "cannot make $1: run this as root, or give DESTDIR"
	made+=("$1")
}

# What to install: lines "KIND MODE SOURCE DESTINATION"
wanted() {
	local kind mode from to
	while read -r kind mode from to; do
		to=${to/#MAN/$prefix/share/man}
		echo "$kind $mode $from ${to/#DOC/$doc}"
	done < <(grep -v '^#' scripts/install/files)
	find "$stage" -name 'prezero.ko*' -printf 'file 644 %p /%P\n'
}

put() {
	local kind=$1 mode=$2 from=$3 to=$root$4 made=() dir
	if [ "$kind" = config ] && [ -e "$to" ] && ! cmp -s "$from" "$to" &&
	   [ "$(digest "$to")" != "$(listed "$4")" ]; then
		echo "kept       $4: it was edited"
		return
	fi
	if [ "$kind" = config ] && [ -e "$to" ] && [ -n "$list" ] && [ -z "$(listed "$4")" ]; then
		echo "kept       $4: it was there"
		return
	fi
	make_dir "$(dirname "$to")"
	install -m "$mode" "$from" "$to" || die "cannot write $to: run this as root, or give DESTDIR"
	for dir in "${made[@]}"; do
		enlist dir "$dir" -
	done
	enlist "$kind" "$to" "$(digest "$from")"
	echo "installed  $4"
}

install_all() {
	local kind mode from to made=() dir
	wanted >"$stage/wanted"
	# A file of a package, or put there by hand, is not ours to overwrite.
	while read -r kind mode from to; do
		[ -z "$list" ] || [ "$kind" = config ] || [ ! -e "$root$to" ] || [ -n "$(listed "$to")" ] ||
			die "$root$to is there, but not from 'make install': remove it (or the package it is from) first"
	done <"$stage/wanted"
	if [ -n "$list" ]; then
		make_dir "$(dirname "$list")"
		for dir in "${made[@]}"; do
			enlist dir "$dir" -
		done
	fi
	while read -r kind mode from to; do
		put "$kind" "$mode" "$from" "$to"
	done <"$stage/wanted"
}

# Kernels by the module's path, /lib/modules/RELEASE/updates/prezero.ko
run_depmod() {
	[ -z "$root" ] || return 0
	sed -n 's,.*/lib/modules/\([^/]*\)/.*,\1,p' | sort -u | while read -r release; do
		[ ! -d "/lib/modules/$release" ] || depmod "$release"
	done
}

case ${1:-} in
install)
	release=$(cat "$kdir/include/config/kernel.release") || die "KDIR=$kdir is no built kernel"
	make --no-print-directory -s -C "$kdir" M="$PWD/module" INSTALL_MOD_PATH="$stage" \
		INSTALL_MOD_DIR=updates DEPMOD=true modules_install >"$stage/log" 2>&1 || {
		cat "$stage/log" >&2
		die "the module is not built for '$kdir': run 'make module KDIR=$kdir'"
	}
	install_all
	run_depmod <"$stage/wanted"
	cat <<-TEXT
	To start prezero on kernel $release: modprobe prezero
	To have libvirt find the hook: systemctl restart libvirtd
	TEXT
	command -v xmllint >/dev/null || echo "The hook needs xmllint: apt-get install libxml2-utils"
	;;
tools)
	list=
	install_all
	;;
uninstall)
	[ -e "$list" ] || die "nothing to uninstall: $list is not there"
	tac "$list" >"$stage/list"
	[ -w "$list" ] || die "cannot change $list: run this as root"
	# The list goes before the directories, as it is in one of them; nothing that
	# comes after it is worth another try.
	sed -n '/^dir /!p' "$stage/list" >"$stage/files"
	sed -n '/^dir /p' "$stage/list" >"$stage/dirs"
	while read -r kind sum path; do
		if [ "$kind" = config ] && [ -e "$root$path" ] && [ "$(digest "$root$path")" != "$sum" ]; then
			echo "kept     $path: it was edited"
		else
			rm -f "$root$path" || die "cannot remove $root$path"
			echo "removed  $path"
		fi
	done <"$stage/files"
	rm "$list"
	while read -r _ _ path; do
		[ ! -d "$root$path" ] || rmdir --ignore-fail-on-non-empty "$root$path"
	done <"$stage/dirs"
	run_depmod <"$stage/list"
	if [ -z "$root" ] && [ -e /sys/module/prezero ]; then
		echo "The module is still loaded. To stop it: modprobe -r prezero"
	fi
	;;
*)
	sed -n '3,/^[^#]/ s/^# \{0,1\}//p' "$self" >&2
	exit 2
	;;
esac
