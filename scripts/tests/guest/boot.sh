#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The lab itself: all that the other tests rely on.
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh

edu_in_group() {
	bind_edu
	[ -c "/dev/vfio/$GROUP" ]
}

on_cpus() {
	[ "$(nproc)" = "$(grep -c ^processor /proc/cpuinfo)" ]
}

t "all CPUs are up" on_cpus
t "debugfs is mounted" test -d /sys/kernel/debug/kunit
t "the IOMMU is on" test -d /sys/class/iommu/dmar0
t "edu is bound to vfio-pci" edu_in_group
t "transparent huge pages are there" test -w /sys/kernel/mm/transparent_hugepage/enabled
finish
