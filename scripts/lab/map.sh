#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# In the lab: map memory for DMA with each backing, without and with prezero,
# and print one JSON row per map.  make demo and make bench tabulate them.
#
# usage: map.sh SIZE-IN-MIB FIRST-REPEAT LAST-REPEAT "off|on|off on" BACKING...
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh

mib=$1
first=$2
last=$3
modes=$4
shift 4

one_row() {
	hugetlb_pool "$1" $((mib << 20))
	map_row "$1" "${mib}M" -n "$2" >/tmp/row
	rc=$?
	hugetlb_pool "$1" 0
	return "$rc"
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
			if [ "$mode" = on ]; then
				prezero_on
				# Everything the row before dirtied is to be cleared again.
				wait_cleared
			elif [ -d "$PREZERO" ]; then
				prezero_off
			fi
			progress 0 "mapping $mib MiB of $backing, prezero $mode"
			t "$backing prezero $mode repeat $repeat" one_row "$backing" "$repeat" &&
				cat /tmp/row
		done
	done
	repeat=$((repeat + 1))
done
finish
