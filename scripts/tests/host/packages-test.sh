#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The packages, for real: a Debian gets the kernel's and prezero's with apt, boots
# that kernel, uses prezero, and loses all of it again (guest/packages.sh).
#
# The kernel has the lab's configuration.  What the packages depend on is
# downloaded here: the lab has no network.
set -uo pipefail
cd "$(dirname "$(realpath "$0")")/../../.." || exit
out=$PWD/build/packages
# shellcheck source=scripts/ktap.sh
. scripts/ktap.sh

# The lab's kernel differs in its name only: go on from its objects.
kernel_packages() {
	[ -e "$out/linux" ] || cp -a build/lab/. "$out/linux" || return
	CONFIG=build/lab/.config PREZERO_OUT=$out nice scripts/install/deb.sh kernel
}

prezero_packages() {
	PREZERO_OUT=$out scripts/install/deb.sh tools && PREZERO_VERSION=99 OUT=$out/newer scripts/install/deb.sh tools
}

# As apt would have it on the lab's disk
dependencies() {
	mkdir -p "$out/apt/partial"
	/sbin/debugfs -R "dump /var/lib/dpkg/status $out/status" build/l1/disk.img || return
	apt-get install -y --download-only --no-install-recommends -o Debug::NoLocking=1 \
		-o Dir::State::status="$out/status" -o Dir::Cache::archives="$out/apt" \
		"$out"/*.deb || { echo "if the lists of packages are old or missing: apt-get update"; return 1; }
}

# What "make install" and "make dkms-install" need
sources() {
	tar -czf "$out/source.tar.gz" Makefile Documentation/admin-guide module/Kbuild \
		module/prezero.[ch] scripts/install scripts/libvirt
}

lab() {
	scripts/lab/run.sh --disk --copy "$out/disk.img" --memory 4G --prealloc "$@"
}

share="-fsdev local,id=debs,path=$out,security_model=none,readonly=on -device virtio-9p-pci,fsdev=debs,mount_tag=debs"
mkdir -p "$out"
rm -f "$out/disk.img"
t "the kernel's packages are built" kernel_packages || finish
t "prezero's packages are built, and newer ones" prezero_packages || finish
t "their dependencies are here" dependencies || finish
t "and what make install needs" sources || finish
t "apt installs them" lab --name packages-install --time 1200 --qemu "$share" \
	scripts/tests/guest/packages.sh install || finish
t "they work, and go again" lab --name packages --time 1800 --qemu "$share" \
	--image build/runs/packages-install/out/vmlinuz scripts/tests/guest/packages.sh use
rm -f "$out/disk.img"
finish
