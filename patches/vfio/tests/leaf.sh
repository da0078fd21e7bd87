#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# usage: leaf.sh TESTS [PIN_BATCH]
. /lab/lib.sh
bind() {
	echo vfio-pci >/sys/bus/pci/devices/$1/driver_override
	[ -e /sys/bus/pci/devices/$1/driver ] || echo $1 >/sys/bus/pci/drivers_probe
}
ids=
for d in /sys/bus/pci/devices/*; do
	case $(cat $d/vendor)$(cat $d/device) in
	0x12340x11e8) bind ${d##*/}; ids="$ids $(basename $(readlink $d/iommu_group)) ${d##*/}" ;;
	0x1af40x1110) bind ${d##*/}; iv="$(basename $(readlink $d/iommu_group)) ${d##*/}" ;;
	esac
done
echo always >/sys/kernel/mm/transparent_hugepage/enabled
[ -z "$2" ] || echo $2 >/sys/module/vfio_iommu_type1/parameters/pin_batch
echo 64 >/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages
echo 2 >/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages
for f in failslab fail_page_alloc; do
	d=/sys/kernel/debug/$f
	[ -d $d ] || continue
	echo 0 >$d/verbose
	echo N >$d/ignore-gfp-wait
	[ ! -e $d/min-order ] || echo 0 >$d/min-order
	[ ! -e $d/ignore-gfp-highmem ] || echo N >$d/ignore-gfp-highmem
	[ ! -e $d/cache-filter ] || echo N >$d/cache-filter
done
grep -E "^(pgmigrate_success|thp_migration_success|pgmigrate_fail)" /proc/vmstat | sed "s/^/# before /"; /lab/leaf $ids $1 $iv
r=$?; grep -E "^(pgmigrate_success|thp_migration_success|pgmigrate_fail)" /proc/vmstat | sed "s/^/# after /"; exit $r
