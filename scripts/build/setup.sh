#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Install what the project needs and this machine lacks (Debian 12).
#
# usage: setup.sh        what "make check" needs
#        setup.sh deb    what packages are built with
set -euo pipefail

packages=(
	# building a kernel
	bc bison build-essential ccache cpio flex git kmod libelf-dev libssl-dev
	linux-source-6.12 patch python3 rsync xz-utils
	# checking it
	coccinelle codespell gcc-aarch64-linux-gnu python3-docutils python3-git python3-ply shellcheck sparse
	# booting it, and reading the results
	busybox-static jq qemu-system-x86 stress-ng
	# the libvirt lab and its plot
	e2fsprogs fakeroot gnuplot-nox grub-common grub-pc-bin mmdebstrap mtools
	uidmap xorriso
	# packages, DKMS, and the libvirt hook
	debhelper dh-dkms dkms libxml2-utils lintian mandoc
)
case ${1:-} in
'') ;;
# A distribution's configuration wants BTF, which pahole makes.
deb) packages=(debhelper dh-dkms dwarves linux-config-6.12) ;;
*)
	echo "usage: setup.sh [deb]" >&2
	exit 2
	;;
esac

installed() {
	dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^ii'
}

command -v dpkg-query >/dev/null || {
	echo "setup: not a Debian machine: install what these packages have: ${packages[*]}" >&2
	exit 1
}
missing=()
for p in "${packages[@]}"; do
	installed "$p" || missing+=("$p")
done
[ ${#missing[@]} -gt 0 ] || exit 0

line="apt-get install -y --no-install-recommends ${missing[*]}"
if [ "$(id -u)" = 0 ]; then
	sudo=()
elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
	sudo=(sudo)
else
	echo "setup: packages are missing and this user may not install them. As root, run:" >&2
	echo "    $line" >&2
	exit 1
fi
echo "setup: $line"
export DEBIAN_FRONTEND=noninteractive
# Word splitting is wanted: no package name has a space.
# shellcheck disable=SC2086
if ! "${sudo[@]}" $line >/dev/null; then
	"${sudo[@]}" apt-get update -q >/dev/null || true
	"${sudo[@]}" $line || {
		echo "setup: that failed. As root, run:" >&2
		echo "    apt-get update && $line" >&2
		exit 1
	}
fi
