#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What is installed, and that it goes again: make install, DKMS, and the packages,
# each into a directory.  In the lab, packages.sh does it for real.
set -uo pipefail
cd "$(dirname "$(realpath "$0")")/../../.." || exit
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
kdir=$PWD/build/lab
release=$(cat "$kdir/include/config/kernel.release") || exit
# shellcheck source=scripts/ktap.sh
. scripts/ktap.sh

m() {
	make --no-print-directory DESTDIR="$root" KDIR="$kdir" PREFIX=/usr "$@"
}

# A machine that has something where the files go
fresh() {
	rm -rf "$root"
	mkdir -p "$root/etc/libvirt/hooks" "$root/etc/modprobe.d" "$root/usr/share/man/man8"
	echo "options other x=1" >"$root/etc/modprobe.d/other.conf"
	snapshot >"$work/before"
}

snapshot() {
	(cd "$root" && find . -printf '%M %p\n' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum)
}

unchanged() {
	snapshot | diff "$work/before" -
}

# The files of scripts/install/files
there() {
	local mode from to
	while read -r _ mode from to; do
		to=${to/#MAN/\/usr\/share\/man}
		to=$root${to/#DOC/\/usr\/share\/doc\/prezero}
		cmp "$from" "$to" && [ "$(stat -c %a "$to")" = "$mode" ] || return
	done < <(grep -v '^#' scripts/install/files)
	modinfo -F vermagic "$root/lib/modules/$release/updates/prezero.ko" | grep "^$release "
}

goes() {
	m uninstall && unchanged
}

twice() {
	m install && m install && there && goes
}

edited() {
	local file=$root/etc/default/prezero-hook
	m install || return
	echo wait_s=7 >>"$file"
	cp "$file" "$work/edited"
	m install && cmp "$file" "$work/edited" || return
	m uninstall && cmp "$file" "$work/edited" || return
	# Found there, it is the administrator's.
	m install && m uninstall && cmp "$file" "$work/edited" || return
	rm "$file"
	rmdir "$root/etc/default" && unchanged
}

# A kernel that was removed took the module and its directories with it.
kernel_gone() {
	m install && rm -rf "${root:?}/lib" && goes
}

# The administrator's, even if it is the same
found_config() {
	mkdir -p "$root/etc/modprobe.d"
	cp scripts/install/modprobe.conf "$root/etc/modprobe.d/prezero.conf"
	snapshot >"$work/before"
	m install && goes || return
	rm "$root/etc/modprobe.d/prezero.conf"
	snapshot >"$work/before"
}

# By hand, or of a package
foreign() {
	mkdir "$root/etc/libvirt/hooks/qemu.d"
	echo mine >"$root/etc/libvirt/hooks/qemu.d/50-prezero"
	snapshot >"$work/before"
	! m install 2>&1 | tee "$work/out" || return
	grep "50-prezero is there, but not from 'make install'" "$work/out" && unchanged
}

# no_kernel TARGET
no_kernel() {
	! m "$1" KDIR="$work" 2>&1 | tee "$work/out" || return
	grep "or give KDIR=" "$work/out" && unchanged
}

# The settings are complete, and valid without their comment signs.
settings() {
	local param
	modinfo -F parm module/prezero.ko | cut -d: -f1 >"$work/params"
	[ -s "$work/params" ] || return
	mkdir -p "$work/modprobe.d"
	sed 's/^#\(options\)/\1/' scripts/install/modprobe.conf >"$work/modprobe.d/prezero.conf"
	/sbin/modprobe -C "$work/modprobe.d" --showconfig >"$work/config"
	while read -r param; do
		grep "^options prezero $param=[YNa-z]*$" "$work/config" &&
			grep "^\.It Cm $param$" scripts/install/prezero.4 || return
	done <"$work/params"
}

all_files_in_manual() {
	sed -n 's,^What:.*/sys/kernel/mm/prezero/\(.\),\1,p' \
		Documentation/ABI/testing/sysfs-kernel-mm-prezero | sort >"$work/attributes"
	sed -n '/^\.Sh FILES IN SYSFS/,/^\.Sh FILES$/ s/^\.It Cm //p' scripts/install/prezero.4 |
		sort | diff "$work/attributes" - && [ -s "$work/attributes" ]
}

# What both manual page formatters complain about
silent() {
	local out
	out=$("$@" 2>&1 >/dev/null) && [ -z "$out" ] && return
	echo "$out"
	return 1
}

lint() {
	mandoc -T lint -W warning "$1"
}

dkms_installs() {
	fresh
	mkdir -p "$root/lib/modules/$release"
	m dkms-install || return
	modinfo "$root/lib/modules/$release/updates/dkms/prezero.ko" && m dkms-uninstall || return
	[ -z "$(find "$root/usr/src" "$root/lib/modules" "$root/var/lib/dkms" -name '*prezero*')" ]
}

# dkms skips a kernel with that status.
dkms_skips() {
	fresh
	mkdir -p "$work/other/include/config"
	echo "CONFIG_MODULES=y" >"$work/other/include/config/auto.conf"
	echo 6.12.0-other >"$work/other/include/config/kernel.release"
	! m dkms-install KDIR="$work/other" 2>&1 | tee "$work/out" || return
	grep "lacks CONFIG_PAGE_PREZERO" "$work/out" || return
	! grep "bad exit status" "$work/out" && m dkms-uninstall
}

# A distribution's names files that only it has.
kernel_config() {
	cat >"$work/config" <<-CONFIG
	CONFIG_64BIT=y
	CONFIG_MODULES=y
	CONFIG_MODULE_SIG=y
	CONFIG_MODULE_SIG_KEY=""
	CONFIG_SYSTEM_TRUSTED_KEYS="debian/certs/debian-uefi-certs.pem"
	CONFIG_LOCALVERSION_AUTO=y
	CONFIG
	CONFIG=$work/config PREZERO_OUT=$work/deb scripts/install/deb.sh config || return
	cat >"$work/want" <<-CONFIG
	CONFIG_MODULE_SIG=y
	CONFIG_MODULE_SIG_KEY="certs/signing_key.pem"
	CONFIG_SYSTEM_TRUSTED_KEYS=""
	# CONFIG_LOCALVERSION_AUTO is not set
	CONFIG_PAGE_PREZERO=y
	CONFIG
	! grep -vxFf "$work/deb/linux/.config" "$work/want"
}

# In place of build/deb
build() {
	rm -rf "${work:?}/$1"
	PREZERO_OUT=$work/$1 nice scripts/install/deb.sh tools
}

contents() {
	local version
	version=$(scripts/install/version.sh)
	dpkg-deb -x "$work"/deb/prezero-tools_*.deb "$work/tools" &&
		dpkg-deb -x "$work"/deb/prezero-dkms_*.deb "$work/dkms" || return
	(cd "$work/tools" && find etc usr -type f | sort) | grep -v /changelog >"$work/files"
	diff - "$work/files" <<-LIST || return
	etc/default/prezero-hook
	etc/libvirt/hooks/qemu.d/50-prezero
	etc/modprobe.d/prezero.conf
	etc/modules-load.d/prezero.conf
	usr/share/doc/prezero-tools/copyright
	usr/share/doc/prezero-tools/examples/guest-memory.fstab
	usr/share/doc/prezero-tools/examples/passthrough.xml
	usr/share/doc/prezero-tools/install.rst.gz
	usr/share/doc/prezero-tools/prezero.rst.gz
	usr/share/man/man4/prezero.4.gz
	usr/share/man/man8/prezero-hook.8.gz
	LIST
	dpkg-deb -I "$work"/deb/prezero-tools_*.deb conffiles | diff - <(sed -n 's,^etc,/etc,p' "$work/files") || return
	dpkg-deb -f "$work"/deb/prezero-tools_*.deb Depends | grep libxml2-utils || return
	dpkg-deb -f "$work"/deb/prezero-dkms_*.deb Depends | grep dkms || return
	for file in module/Kbuild module/*.[ch]; do
		case $file in *.mod.c) continue ;; esac
		cmp "$file" "$work/dkms/usr/src/prezero-$version/${file##*/}" || return
	done
	grep "^PACKAGE_VERSION=\"$version\"$" "$work/dkms/usr/src/prezero-$version/dkms.conf"
}

same() {
	build again || return
	local file
	for file in "$work"/deb/*.deb; do
		cmp "$file" "$work/again/${file##*/}" || return
	done
}

fresh
t "make install refuses a directory without a kernel" no_kernel install
t "make install" m install
t "every file is in its place" there
t "make uninstall leaves the tree as it was" goes
t "a second make install changes nothing" twice
t "settings that were edited stay" edited
fresh
t "uninstall goes on after a kernel was removed" kernel_gone
t "settings that were there stay" found_config
t "a file from elsewhere is not overwritten" foreign
t "the module's settings are valid and complete" settings
t "prezero.4 has every file of sysfs" all_files_in_manual
for page in scripts/install/*.[48]; do
	t "${page##*/}: mandoc is silent" silent lint "$page"
	t "${page##*/}: man is silent" silent man --warnings -l "$page"
done
fresh
mkdir -p "$root/usr/src" "$root/var/lib/dkms" "$root/lib/modules"
snapshot >"$work/before"
t "make dkms-install refuses a directory without a kernel" no_kernel dkms-install
t "DKMS builds, installs and removes the module" dkms_installs
t "DKMS skips a kernel without the series" dkms_skips
t "the kernel's packages get a configuration" kernel_config
t "the packages are built" build deb
t "and have what they should" contents
t "lintian finds no error" lintian --fail-on error "$work"/deb/*.changes
t "the same files give the same packages" same
finish
