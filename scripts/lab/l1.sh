# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
# Functions for the scripts that run in the libvirt lab (run.sh --disk): libvirt,
# and a guest.  For bash; source lib.sh first.

# libvirt runs QEMU as root and unconfined: the lab has no systemd, and is thrown
# away afterwards.
start_libvirt() {
	cat >>/etc/libvirt/qemu.conf <<-CONF
	user = "root"
	group = "root"
	namespaces = []
	cgroup_controllers = []
	security_driver = "none"
	stdio_handler = "file"
	hugetlbfs_mount = ["/dev/hugepages", "/dev/hugepages1G"]
	CONF
	mount -t hugetlbfs -o pagesize=1G hugetlbfs /dev/hugepages1G
	mkdir -p /var/log/libvirt/qemu /var/lib/libvirt/qemu /var/cache/libvirt/qemu
	hostname lab
	busybox syslogd -O /run/syslog
	libvirtd -d || return
	virsh -q connect qemu:///system
}

# l2_backing BACKING: the domain element for each kind of memory
l2_backing() {
	case $1 in
	memfd | tmpfs) echo "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>" ;;
	hugetlb2m) echo "<memoryBacking><hugepages><page size='2' unit='MiB'/></hugepages></memoryBacking>" ;;
	hugetlb1g) echo "<memoryBacking><hugepages><page size='1' unit='GiB'/></hugepages></memoryBacking>" ;;
	esac
}

# l2_qemu BACKING MIB: QEMU arguments that no domain element stands for, as in
# passthrough.xml: a file that QEMU maps at a 2 MiB boundary, instead of libvirt's
# memfd
l2_qemu() {
	[ "$1" = tmpfs ] || return 0
	printf "<qemu:commandline>"
	printf "<qemu:arg value='%s'/>" \
		-object "memory-backend-file,id=shared,size=$2M,mem-path=/run/guest-memory,share=on,align=2M" \
		-machine memory-backend=shared
	printf "</qemu:commandline>\n"
}

# l2_hostdev: the element for the edu device, which vfio-pci already has
l2_hostdev() {
	[[ $EDU =~ ^(.*):(.*):(.*)\.(.*)$ ]] || return
	printf "<hostdev mode='subsystem' type='pci' managed='no'><source>"
	printf "<address domain='0x%s' bus='0x%s' slot='0x%s' function='0x%s'/>" "${BASH_REMATCH[@]:1}"
	printf "</source></hostdev>\n"
}

# example_domain FILE MIB: the example domain in FILE, with the changes that each
# operator has to make
example_domain() {
	sed -e "s|<memory unit='GiB'>64<|<memory unit='MiB'>$2<|" \
		-e "s|cpuset='0-7'>8<|cpuset='0-1'>2<|" \
		-e "s|/var/lib/libvirt/images/passthrough.img|/srv/grub.iso|" \
		-e "s| cache='none' io='native'||" \
		-e "s|<serial type='pty'/>|<serial type='pipe'><source path='/run/l2'/></serial>|" \
		-e "s|<address domain='0x0000' bus='0x41' slot='0x00' function='0x0'/>|$(l2_hostdev | grep -o '<address.*/>')|" \
		"$1"
}

# define_l2 BACKING MIB ["no device"]: the guest "l2", with the device or without
define_l2() {
	local device
	device=$(l2_hostdev)
	[ "${3:-}" != "no device" ] || device=
	sed -e "s|@MIB@|$2|" -e "s|@BACKING@|$(l2_backing "$1")|" -e "s|@DEVICE@|$device|" \
		-e "s|@QEMU@|$(l2_qemu "$1" "$2")|" /lab/l2.xml >/tmp/l2.xml
	virsh -q define /tmp/l2.xml
}

# seconds_since MICROSECONDS
seconds_since() {
	local us=$((${EPOCHREALTIME/./} - $1))
	printf '%d.%06d\n' $((us / 1000000)) $((us % 1000000))
}

# start_l2 NAME: from "virsh start" to GRUB's word on the serial line, a pipe.
# Sets start_s, and virsh_s to the time until virsh was done: then QEMU is up and
# all of the memory is mapped.
start_l2() {
	local from line
	exec 4<&-
	rm -f /run/l2.in /run/l2.out
	mkfifo /run/l2.in /run/l2.out
	exec 4<>/run/l2.out
	from=${EPOCHREALTIME/./}
	virsh -q start "$1" || return
	virsh_s=$(seconds_since "$from")
	while IFS= read -r -t 120 -u 4 line; do
		[[ $line != *GRUB-IS-UP* ]] || break
	done || {
		echo "no word from GRUB in 120 s"
		return 1
	}
	start_s=$(seconds_since "$from")
}

stop_l2() {
	virsh -q destroy "$1"
}

# at_rest: wait until prezero has cleared all, and set its defaults
at_rest() {
	prezero_on
	wait_cleared
	echo 1 >"$PREZERO/idle_only"
	echo 2000 >"$PREZERO/interval_ms"
}
