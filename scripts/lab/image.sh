#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Build the disk that the libvirt lab boots from, if it is not there yet: Debian
# with libvirt and QEMU, and for the guests a CD with only GRUB on it.  run.sh adds
# kernel, modules and scripts.
#
# Result: build/l1/disk.img
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/../.."
out=$PWD/build/l1
suite=bookworm

packages=(
	libvirt-clients libvirt-daemon libvirt-daemon-driver-qemu libxml2-utils
	qemu-system-x86 seabios
	# what a machine has, and to look around with
	kmod less mount numactl pciutils procps strace
)
mkdir -p "$out" build/logs
id=$(sha256sum <scripts/lab/image.sh)
if [ "$(cat "$out/.inputs" 2>/dev/null)" = "$id" ] && [ -e "$out/disk.img" ]; then
	exit 0
fi
rm -f "$out/.inputs"
tmp=$(mktemp -d "$out/tmp.XXXXXX")
trap 'rm -rf "$tmp"' EXIT

# GRUB prints a word on the serial line when it is up, and waits.
iso() {
	mkdir -p "$tmp/iso/boot/grub"
	cat >"$tmp/iso/boot/grub/grub.cfg" <<-CFG
	serial --unit=0 --speed=115200
	terminal_output serial
	echo GRUB-IS-UP
	sleep 1000000
	CFG
	grub-mkrescue -d /usr/lib/grub/i386-pc -o "$tmp/grub.iso" \
		--install-modules="serial terminal echo sleep normal" --modules="serial" \
		--locales= --fonts= --themes= "$tmp/iso"
}

# As root, or as any user: mmdebstrap finds a way to unpack it, and fakeroot lets
# the files have their owners.
disk() {
	local as=()
	[ "$(id -u)" = 0 ] || as=(fakeroot)
	# mmdebstrap gives the hooks the root as $1.
	# shellcheck disable=SC2016
	mmdebstrap --variant=apt --format=tar \
		--include="$(IFS=,; echo "${packages[*]}")" \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--aptopt='Apt::Install-Recommends "false"' \
		--customize-hook="copy-in $tmp/grub.iso /srv" \
		--customize-hook='chroot "$1" passwd -d root' \
		--customize-hook='chroot "$1" useradd --system --user-group libvirt-qemu' \
		--customize-hook='rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/*' \
		"$suite" "$tmp/root.tar"
	# shellcheck disable=SC2016
	"${as[@]}" bash -ec '
		mkdir "$1/root"
		tar -C "$1/root" --numeric-owner -xf "$1/root.tar"
		rm "$1/root.tar"
		truncate -s 3G "$1/disk.img"
		mkfs.ext4 -q -L lab -d "$1/root" "$1/disk.img"' - "$tmp"
}

echo "libvirt lab: making the disk from Debian packages, a minute or two"
log=build/logs/lab-image.log
# Not "if ! make_it": within that, set -e would not hold.
set +e
(set -e; iso; disk) >"$log" 2>&1 </dev/null
rc=$?
set -e
[ "$rc" -eq 0 ] || {
	echo "lab-image: failed; from $log:" >&2
	tail -n 15 "$log" >&2
	exit 1
}
mv "$tmp/disk.img" "$out/disk.img"
echo "$id" >"$out/.inputs"
