#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# In the lab: map memory for DMA with each backing in each mode, and print one
# JSON row per map.  make demo and make bench tabulate them.
#
# usage: map-guest.sh SIZE-IN-MIB FIRST-REPEAT LAST-REPEAT "MODE..." BACKING...
#   6.12          the kernel without the series
#   leaf          the series, nothing cleared ahead
#   leaf+prezero  the series, all free memory is cleared before
#   pin_batch=N   leaf with that parameter of vfio/type1; 1 is page by page
#   iommufd       6.12 or leaf, through iommufd's version of the container
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh

mib=$1
first=$2
last=$3
modes=$4
shift 4

PIN_BATCH=/sys/module/vfio_iommu_type1/parameters/pin_batch

# one_row BACKING REPEAT [ARG]
one_row() {
	map_pooled "$1" "$mib" -n "$2" ${3:+"$3"} >/tmp/row
}

setup_thp
bind_edu
if vmstat nr_free_zeroed >/dev/null; then
	load_prezero || die "prezero.ko does not load: see the kernel log"
fi

repeat=$first
while [ "$repeat" -le "$last" ]; do
	for backing; do
		for mode in $modes; do
			if [ "$mode" = leaf+prezero ]; then
				prezero_on
				# The last row dirtied memory: wait until it is cleared again.
				wait_cleared
			elif [ -d "$PREZERO" ]; then
				prezero_off
			fi
			batch=0
			through=
			case $mode in
			pin_batch=*) batch=${mode#*=} ;;
			iommufd) through=-f ;;
			esac
			[ ! -e $PIN_BATCH ] || echo "$batch" >$PIN_BATCH
			progress 0 "mapping $mib MiB of $backing, $mode"
			# No option is no argument.
			# shellcheck disable=SC2086
			t "$backing $mode repeat $repeat" one_row "$backing" "$repeat" $through &&
				cat /tmp/row
		done
	done
	repeat=$((repeat + 1))
done
finish
