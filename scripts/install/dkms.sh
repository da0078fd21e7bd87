#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Put the module's source where DKMS looks for it, and have it built and installed
# for the running kernel, or the kernel of KDIR; or take all of that back.
#
# usage: dkms.sh install
#        dkms.sh uninstall
#
# Environment: KDIR (a kernel's build or headers directory), DESTDIR (a tree that
# has /usr/src, /var/lib/dkms and /lib/modules, for tests)
set -euo pipefail
root=${DESTDIR:+$(realpath -m "$DESTDIR")}
kdir=${KDIR:+$(realpath -m "$KDIR")}
cd "$(dirname "$(realpath "$0")")/../.."

die() {
	echo "dkms: $*" >&2
	exit 1
}

command -v dkms >/dev/null || die "no dkms here: apt-get install dkms"
version=$(scripts/install/version.sh)
source=$root/usr/src/prezero-$version
dkms=(dkms)
if [ -n "$root" ]; then
	dkms+=(--sourcetree "$root/usr/src" --dkmstree "$root/var/lib/dkms" --installtree "$root/lib/modules" --no-depmod)
	mkdir -p "$root/usr/src" "$root/var/lib/dkms" "$root/lib/modules"
fi

case ${1:-} in
install)
	kernel=()
	[ -z "$kdir" ] || [ -e "$kdir/include/config/kernel.release" ] ||
		die "no built kernel or headers in $kdir: install the kernel's headers, or give KDIR=DIRECTORY"
	[ -z "$kdir" ] || kernel=(-k "$(cat "$kdir/include/config/kernel.release")" --kernelsourcedir "$kdir")
	[ ! -e "$source" ] || die "$source is there: run 'make dkms-uninstall', or remove the package prezero-dkms"
	scripts/install/source.sh "$source" || die "cannot make $source: run this as root"
	sed "s/#MODULE_VERSION#/$version/" scripts/install/dkms.conf >"$source/dkms.conf"
	"${dkms[@]}" add "prezero/$version"
	rc=0
	"${dkms[@]}" install "prezero/$version" "${kernel[@]}" || rc=$?
	[ "$rc" -ne 77 ] ||
		die "this kernel lacks CONFIG_PAGE_PREZERO: DKMS builds the module when one that has it is installed, or now with KDIR=/lib/modules/RELEASE/build"
	exit "$rc"
	;;
uninstall)
	[ -e "$source/dkms.conf" ] || die "nothing to uninstall: no $source"
	[ -n "$root" ] || ! dpkg-query -S "$source" >/dev/null 2>&1 ||
		die "$source is the package prezero-dkms's: apt-get remove prezero-dkms"
	"${dkms[@]}" remove "prezero/$version" --all
	rm -rf "$source"
	if [ -z "$root" ] && [ -e /sys/module/prezero ]; then
		echo "The module is still loaded. To stop it: modprobe -r prezero"
	fi
	;;
*)
	sed -n '3,/^[^#]/ s/^# \{0,1\}//p' scripts/install/dkms.sh >&2
	exit 2
	;;
esac
