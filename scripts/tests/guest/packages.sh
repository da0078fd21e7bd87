#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# In the libvirt lab: install the packages; with the kernel that they brought, use
# prezero as install.rst says, and remove all of it.
#
# usage: packages.sh install
#        packages.sh use
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh
# shellcheck source=scripts/lab/l1.sh
. /lab/l1.sh

hook=/etc/libvirt/hooks/qemu.d/50-prezero
example=/usr/share/doc/prezero-tools/examples/passthrough.xml
mib=1024
export DEBIAN_FRONTEND=noninteractive

# As udev would: bash wants it for <(), and DKMS is in bash.
ln -s /proc/self/fd /dev/fd
mkdir -p /debs
mount -t 9p -o trans=virtio,version=9p2000.L debs /debs || die "no packages"

# The lab's disk is made without documentation: this is wanted.
apt_install() {
	apt-get install -y --no-install-recommends -o Dpkg::Use-Pty=0 \
		-o Dpkg::Options::=--path-include='/usr/share/man/man[48]/prezero*' \
		-o Dpkg::Options::=--path-include='/usr/share/doc/prezero-tools/*' "$@"
}

# The module that modprobe takes, for the kernel of the packages
module_path() {
	modinfo -k "$release" -n prezero
}

# leftovers: what still has the project's name, or the kernel's
leftovers() {
	find / -xdev \( -path /lab -o -path /debs -o -path /out -o -path /tmp -o -path '/root/*' -o -path '/var/log/*' \) -prune \
		-o \( -name '*prezero*' -o -path '/lib/modules/*' -o -path '/usr/lib/modules/*' \) -print
}

gone() {
	leftovers
	[ -z "$(leftovers)" ]
}

vmstat_grows() {
	wait_cleared
	[ "$(free_zeroed)" -gt $((mib * 256)) ]
}

# modprobe as the module's settings say
loads() {
	modprobe prezero && [ "$(cat "$PREZERO/enabled")" = 1 ]
}

# Only the newer one is left, and the settings that were edited.
upgraded() {
	dkms status prezero
	[ "$(dkms status prezero | cut -d, -f1)" = prezero/99 ] &&
		grep '^options prezero allow_guest=Y' /etc/modprobe.d/prezero.conf
}

define_example() {
	example_domain "$example" "$mib" >/tmp/example.xml
	virsh -q define /tmp/example.xml
}

hook_said() {
	cat /run/syslog
	grep -q "prezero-hook: passthrough: $1" /run/syslog
}

# The line for /etc/fstab gives a tmpfs.
fstab_line() {
	umount /run/guest-memory
	rmdir /run/guest-memory
	cp /usr/share/doc/prezero-tools/examples/guest-memory.fstab /etc/fstab
	mount -a && findmnt -n -o OPTIONS /run/guest-memory | grep huge=within_size
}

make_project() {
	make --no-print-directory -C /root/prezero "$@"
}

# by_hand INSTALL UNINSTALL PATH: with make, and the module is at PATH
by_hand() {
	make_project "$1" || return
	[ "$(module_path)" = "$3" ] && modprobe prezero && modprobe -r prezero || return
	make_project "$2" && ! module_path
}

case $1 in
install)
	t "apt installs the packages" apt_install /debs/*.deb /debs/apt/*.deb || finish
	release=$(basename /lib/modules/*-prezero)
	t "DKMS has built the module" test "$(module_path)" = "/lib/modules/$release/updates/dkms/prezero.ko"
	t "the hook is there" test -x "$hook"
	t "the manual pages are there" ls /usr/share/man/man4/prezero.4.gz /usr/share/man/man8/prezero-hook.8.gz
	t "the kernel is there" cp "/boot/vmlinuz-$release" /out/vmlinuz
	;;
use)
	release=$(uname -r)
	t "this is the packages' kernel" test -d "/usr/src/linux-headers-$release"
	setup_thp
	bind_edu
	t "libvirt answers" start_libvirt || finish
	# The lab is a virtual machine.
	t_not "the module does not load in a virtual machine" modprobe prezero
	sed -i 's/^#options prezero allow_guest=N/options prezero allow_guest=Y/' /etc/modprobe.d/prezero.conf
	t "the settings let it" loads || finish
	t "free memory is cleared" vmstat_grows
	t "the example is defined" define_example
	t "a machine starts" start_l2 passthrough
	t "the hook says that it was served" hook_said "starting: $mib of $mib MiB are cleared"
	stop_l2 passthrough
	t "the line for fstab is right" fstab_line

	t "apt upgrades the packages" apt_install /debs/newer/*.deb
	t "DKMS has built the newer module" upgraded
	t "the module is unloaded" modprobe -r prezero
	t "and loads" loads
	t "the module is unloaded" modprobe -r prezero
	t_not "prezero and its kernel are found by name" gone
	t "apt removes the packages" apt-get remove -y prezero-dkms prezero-tools
	t_not "the module is gone" module_path
	t "the settings stay" test ! -e /usr/share/doc/prezero-tools -a -e /etc/modprobe.d/prezero.conf
	t "apt purges the settings" apt-get purge -y prezero-dkms prezero-tools
	t "the hook is gone" test ! -e "$hook"

	mkdir -p /root/prezero
	tar -C /root/prezero -xzf /debs/source.tar.gz
	mkdir -p /etc/modprobe.d
	echo "options prezero allow_guest=Y" >/etc/modprobe.d/lab.conf
	t "make install, make uninstall" by_hand install uninstall "/lib/modules/$release/updates/prezero.ko"
	t "make dkms-install, make dkms-uninstall" by_hand dkms-install dkms-uninstall "/lib/modules/$release/updates/dkms/prezero.ko"

	t "apt removes the kernel" apt-get purge -y "linux-image-$release" "linux-headers-$release"
	t "nothing is left" gone
	;;
esac
finish
