#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Free page reporting has one client at a time. If prezero is registered first, a
# balloon works without: it inflates, it is removed, and prezero stays registered.
# Needs run.sh --balloon.
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh

DRIVER=/sys/bus/virtio/drivers/virtio_balloon
VM_MIB=1024

find_balloon() {
	for device in "$DRIVER"/virtio*; do
		[ -e "$device" ] && DEVICE=${device##*/}
	done
}

bound() {
	ls -l "$DRIVER"
	[ -e "$DRIVER/$DEVICE" ]
}

bind() {
	echo "$DEVICE" >"$DRIVER/bind"
}

unbind() {
	echo "$DEVICE" >"$DRIVER/unbind"
}

# balloon_mib MIB: tell QEMU how much memory the VM shall keep
balloon_mib() {
	echo "balloon $1" >/dev/ttyS2
}

# Free memory in MiB, seen by the kernel
free_mib() {
	echo $(($(vmstat nr_free_pages) >> 8))
}

# free_becomes -lt|-ge MIB: less, or at least as much, is free within 90 s
free_becomes() {
	for _ in $(seq 180); do
		test "$(free_mib)" "$@" && return 0
		sleep 0.5
	done
	echo "$(free_mib) MiB are free, not $*"
	return 1
}

# The balloon takes about 512 MiB, and gives them back.
inflates() {
	before=$(free_mib)
	balloon_mib $((VM_MIB - 512))
	free_becomes -lt $((before - 450)) || return
	balloon_mib "$VM_MIB"
	free_becomes -ge $((before - 60))
}

says() {
	dmesg | tail -n 20
	dmesg | grep -q "$1"
}

# Without its registration prezero would clear nothing.
still_clears() {
	[ "$(cat "$PREZERO/enabled")" = 1 ] || return
	echo 1 >"$PREZERO/flush"
	wait_cleared
}

reports() {
	bind && load_prezero || return
	refuses sh -c "echo 1 >'$PREZERO/enabled'"
}

stty -F /dev/ttyS2 raw -echo
find_balloon
[ -n "${DEVICE:-}" ] || die "no balloon: start the lab with -B"

t "the balloon inflates and deflates" inflates
t "it is removed" unbind
t "prezero registers" load_prezero || die "nothing to test"
prezero_on
t "the balloon comes second" bind
t "it is bound all the same" bound
t "the log says that it lacks free page reporting" says 'virtio_balloon.*free page reporting is not available'
t "it inflates and deflates" inflates
t "prezero goes on clearing" still_clears
t "the balloon is removed" unbind
t "prezero is still registered and clears" still_clears
t "with prezero gone" rmmod prezero
t "the balloon has free page reporting again, and prezero is refused" reports
t "the log says why" says 'prezero: another client of free page reporting'
t "the balloon is removed for good" unbind
t "and prezero can start" sh -c "echo 1 >'$PREZERO/enabled'"
finish
