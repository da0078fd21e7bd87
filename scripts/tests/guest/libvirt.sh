#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# In the libvirt lab: the hook and the example domain work with libvirt.
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh
# shellcheck source=scripts/lab/l1.sh
. /lab/l1.sh

hook=/etc/libvirt/hooks/qemu.d/50-prezero
# More than half of the lab's memory: a second guest that starts at once needs some
# of the first one's memory.
mib=2560

# served MIN MAX: start the example; between MIN and MAX percent of its memory were
# cleared already
served() {
	hit=$(vmstat prezero_hit)
	start_l2 passthrough || return
	hit=$(($(vmstat prezero_hit) - hit))
	echo "$((hit / 256)) of $mib MiB in $start_s s"
	stop_l2 passthrough
	[ $((hit * 100)) -ge $((mib * 256 * $1)) ] && [ $((hit * 100)) -le $((mib * 256 * $2)) ]
}

# hook_said WORDS: they are in the system's log, since the last look
hook_said() {
	cat /run/syslog
	grep -q "prezero-hook: passthrough: $1" /run/syslog || return
	: >/run/syslog
}

hook_silent() {
	hook_said . && return 1
	return 0
}

example_device() {
	ls -l "/proc/$(cat /run/libvirt/qemu/passthrough.pid)/fd" >/tmp/fds
	cat /tmp/fds
	grep "/dev/vfio/$GROUP\$" /tmp/fds
}

# comment ELEMENT: prints that element from the example's comment
comment() {
	sed -n "/<$1>/,/<\/$1>/p" /lab/passthrough.xml
}

# example_shared FILE: make the example's memory shared, as its comment says
example_shared() {
	comment memoryBacking >/tmp/backing
	comment qemu:commandline | sed "s/size=64G/size=${mib}M/" >/tmp/qemu
	sed -i -e "s|^<domain |&xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0' |" \
		-e "s|<name>.*<|<name>shared<|" \
		-e '/^  <vcpu /r /tmp/backing' -e '/^  <\/devices>/r /tmp/qemu' "$1"
}

# All of the guest's memory is in huge pages, and mapped as such.
shared_huge() {
	start_l2 shared || return
	huge_kib=$(awk '$1 == "ShmemPmdMapped:" { print $2 }' \
		"/proc/$(cat /run/libvirt/qemu/shared.pid)/smaps_rollup")
	stop_l2 shared
	echo "$huge_kib KiB of $mib MiB"
	[ "$huge_kib" = $((mib << 10)) ]
}

restart_libvirt() {
	kill "$(cat /run/libvirtd.pid)"
	sleep 2
	libvirtd -d && virsh -q connect qemu:///system
}

without_device() {
	define_l2 thp 512 "no device" && start_l2 l2 && stop_l2 l2
}

setup_thp
bind_edu
t "libvirt answers" start_libvirt || finish
example_domain /lab/passthrough.xml "$mib" >/tmp/example.xml
t "the example is a valid domain" virsh define --validate /tmp/example.xml
t "and starts" start_l2 passthrough
t "with its device" example_device
t "and stops" stop_l2 passthrough
example_shared /tmp/example.xml
t "the example with shared memory is a valid domain" virsh define --validate /tmp/example.xml
t "and has huge pages" shared_huge

mkdir -p "${hook%/*}"
install -m 755 /lab/50-prezero "$hook"
t "libvirt takes the hook" restart_libvirt
t "without prezero the machine starts" start_l2 passthrough
stop_l2 passthrough
t "the hook says it did not wait" hook_said "prezero is not running"

load_prezero || die "prezero.ko does not load"
at_rest
# Nothing is cleared any more unless the hook asks for it.
echo 3600000 >"$PREZERO/interval_ms"
# QEMU itself needs a little, too.
t "all is cleared, and served" served 95 101
t "the hook says so" hook_said "starting: $mib of $mib MiB are cleared"
t "started again at once, it waits, and all is served" served 95 101
t "the hook says so" hook_said "starting: $mib of $mib MiB are cleared"
echo wait_s=0 >/etc/default/prezero-hook
t "with wait_s=0 the machine starts at once, with less cleared memory" served 0 80
t "the hook says that it did not wait" hook_said "starting all the same: .*wait_s=0"
t "a machine without a device starts" without_device
t "the hook says nothing" hook_silent
finish
