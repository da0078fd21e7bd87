#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# vfio/type1 by page table leaf: what is mapped, pinned and charged, for each
# way memory can be mapped, and that nothing is left of it, whatever fails.
#
# Wants run.sh --devices.
#
# usage: vfio-leaf.sh [debug]
#   debug  the kernel has CONFIG_DEBUG_VM, and complains of what 6.12 does, too: a
#          pin that userfaultfd cannot make wait
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh

# Each allocation of a map is to fail, GFP_KERNEL and user pages included.
inject_failures() {
	for knob in failslab/ignore-gfp-wait fail_page_alloc/ignore-gfp-wait \
		fail_page_alloc/ignore-gfp-highmem; do
		echo N >/sys/kernel/debug/$knob || die "no fault injection in this kernel"
	done
	echo 0 >/sys/kernel/debug/fail_page_alloc/min-order
	# Each failure's stack is of no interest, and looks like a complaint.
	echo 0 >/sys/kernel/debug/failslab/verbose
	echo 0 >/sys/kernel/debug/fail_page_alloc/verbose
}

without=
[ "${1:-}" != debug ] || without="-F userfaultfd"
setup_thp
bind_vfio 0x1af4 0x1110
# Word splitting is wanted.
# shellcheck disable=SC2086
set -- $BOUND
BAR=${1:-}
bind_edu
for device in "$EDU2" "$BAR"; do
	[ -n "$device" ] || die "one device only: start run.sh with --devices"
done
export EDU EDU2 BAR
before=$(pinned)
t "a device that pins loads" insmod /lab/pinner.ko

hugetlb_pool hugetlb1g $((1 << 30))
hugetlb_pool hugetlb2m $((64 << 20))
t_ktap vfio-leaf-map
# Word splitting is wanted.
# shellcheck disable=SC2086
t_ktap vfio-leaf-pages $without
t_ktap vfio-leaf-counts
hugetlb_pool hugetlb2m 0
hugetlb_pool hugetlb1g 0
for program in device external limits unmap races; do
	t_ktap vfio-leaf-$program
done
inject_failures
t_ktap vfio-leaf-failures

t "that device unloads" rmmod pinner
t "nothing is pinned after all that" test "$(pinned)" = "$before"
finish
