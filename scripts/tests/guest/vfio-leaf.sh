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

PIN_BATCH=/sys/module/vfio_iommu_type1/parameters/pin_batch
NO_HUGE=/sys/module/vfio_iommu_type1/parameters/disable_hugepages

leaf() {
	vfio-leaf -g "$GROUP" -d "$EDU" -G "$GROUP2" -D "$EDU2" -b "$BAR_GROUP" -B "$BAR" "$1"
}

# The same, and how far it got
leaf_said() {
	t "$1: $2" leaf "$2"
	sed 's/^/# /' /tmp/t.out
}

# Whatever way the process ends, its pages are unpinned.
killed() {
	killed_before=$(pinned)
	for killed_delay in 0.1 0.3 0.7; do
		leaf loop >/tmp/loop &
		until grep -q looping /tmp/loop; do
			sleep 0.1
		done
		sleep "$killed_delay"
		# The program, not the shell that waits for it
		killall -9 vfio-leaf
		wait $!
		[ "$(pinned)" = "$killed_before" ] || {
			echo "$(($(pinned) - killed_before)) pages are still pinned"
			return 1
		}
	done
}

# Pins of a device without an IOMMU
external() {
	vfio-leaf -g "$GROUP" -d "$EDU" -b "$(basename "$(readlink /sys/devices/platform/pinner/iommu_group)")" \
		-B pinner "$1"
}

userfaultfd=userfaultfd
[ "${1:-}" != debug ] || userfaultfd=
setup_thp
bind_vfio 0x1af4 0x1110
# Word splitting is wanted.
# shellcheck disable=SC2086
set -- $BOUND
BAR=${1:-} BAR_GROUP=${2:-}
bind_edu
[ -n "$EDU2$BAR" ] || die "one device only: start run.sh with --devices"
[ -w $PIN_BATCH ] || die "no $PIN_BATCH: not a patched kernel"

hugetlb_pool hugetlb1g $((1 << 30))
hugetlb_pool hugetlb2m $((64 << 20))
for test in thp 4k fragmented remapped ptes vmas shmem hugetlb2m hugetlb1g \
	zero-page unshare unshare-some cow refused $userfaultfd rlimit unmap-v2 unmap-v1 bar \
	soft-offline poison; do
	t "$test" leaf "$test"
done
t "a device that pins loads" insmod /lab/pinner.ko
t "its pins" external external
t "its pins, through iommufd" external iommufd-pins
t "mappings up to the last byte of the IOVA space" external top
t "memory mapped as a device's" external pfnmap
for batch in 1 512; do
	echo $batch >$PIN_BATCH
	for test in thp remapped vmas hugetlb2m refused $userfaultfd rlimit bar; do
		t "pin_batch=$batch: $test" leaf "$test"
	done
	t "pin_batch=$batch: pins of a device" external external
	t "pin_batch=$batch: memory mapped as a device's" external pfnmap
done
t "that device unloads" rmmod pinner
echo 0 >$PIN_BATCH
echo 1 >$NO_HUGE
for test in 4k unshare unshare-some cow refused $userfaultfd rlimit; do
	t "disable_hugepages: $test" leaf "$test"
done
echo 0 >$NO_HUGE
leaf_said "how often" counts
hugetlb_pool hugetlb2m 0
hugetlb_pool hugetlb1g 0

# Each allocation of a map is to fail, GFP_KERNEL and user pages included.
for knob in failslab/ignore-gfp-wait fail_page_alloc/ignore-gfp-wait \
	fail_page_alloc/ignore-gfp-highmem; do
	echo N >/sys/kernel/debug/$knob || die "no fault injection in this kernel"
done
echo 0 >/sys/kernel/debug/fail_page_alloc/min-order
# Each failure's stack is of no interest, and looks like a complaint.
echo 0 >/sys/kernel/debug/failslab/verbose
echo 0 >/sys/kernel/debug/fail_page_alloc/verbose
before=$(pinned)
for test in fail-thp fail-thp-touched fail-4k fail-4k-touched \
	oom-thp oom-4k second kill; do
	leaf_said "failures" $test
done
t "killed while it maps and unmaps" killed
t "nothing is pinned after all that" test "$(pinned)" = "$before"

finish
