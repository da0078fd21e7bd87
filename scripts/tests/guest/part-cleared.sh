#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Requests for zeroes find memory that was cleared ahead. Three maps, one right
# after the other, are all served from cleared memory as long as there is any; and
# when only a part of memory is cleared, a map of that size is served from that part.
#
# usage: part-cleared.sh MIB [PERCENT...]
#   MIB       each map of the three
#   PERCENT   parts of memory to clear (25 50 75)
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh

mib=${1:-1024}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- 25 50 75

# map_to BACKING MIB ROW
map_to() {
	map_row "$1" "$2M" >"$3" && cat "$3"
}

# served_to BACKING MIB ROW: map it; at least 95 % was served without clearing
served_to() {
	map_to "$@" || return 1
	served_pct=$(field zeroed_pct "$3")
	[ "${served_pct%.*}" -ge 95 ]
}

# How long the maps took: printed only, because other load on the machine changes
# it
seconds() {
	echo "# $1: $(field map_s /tmp/map1), $(field map_s /tmp/map2), $(field map_s /tmp/map3) s"
}

# Wait until nothing was cleared for a second
wait_settled() {
	settled_last=-1
	while settled_now=$(free_zeroed) && [ "$settled_now" != "$settled_last" ]; do
		settled_last=$settled_now
		sleep 1
	done
}

# clear_part PERCENT: clear that share of free memory, less the reserve that each
# zone keeps for other requests.  Sets part_mib
clear_part() {
	prezero_off
	part_free=$(awk '/^MemFree/ { print int($2 / 1024) }' /proc/meminfo)
	# What holds the rest does not write to it; it is not cleared all the same.
	hugetlb_pool hugetlb2m $((part_free * (100 - $1) / 100 / 2 * 2 << 20))
	prezero_on
	wait_settled
	no_more_passes
	hugetlb_pool hugetlb2m 0
	part_mib=$(($(free_zeroed) / 256))
	echo "# $part_mib of $part_free MiB cleared"
}

setup_thp
bind_edu
load_prezero || die "nothing to test"
echo 3 >/proc/sys/vm/drop_caches
for backing in thp memfd 4k; do
	prezero_off
	prezero_on
	wait_cleared
	no_more_passes
	for n in 1 2 3; do
		# What was freed in 4K pages is not in whole pageblocks again
		# before the per-cpu lists are drained, and smaller blocks come
		# first, whatever they hold.
		if [ "$backing" = 4k ] && [ $n -gt 1 ]; then
			t "$backing: map $n of 3" map_to 4k "$mib" /tmp/map$n
			continue
		fi
		t "$backing: map $n of 3 is served" served_to $backing "$mib" /tmp/map$n
	done
	seconds $backing
done
for percent; do
	for backing in thp memfd 4k; do
		clear_part "$percent"
		t "$backing: with $percent % cleared, a map of 97 % of that is served" \
			served_to $backing $((part_mib * 97 / 100 / 2 * 2)) /tmp/part
	done
done
t "nothing was given to a request that did not ask for zeroes" sh -c "
	cat $PREZERO/pages_unasked $PREZERO/pages_hit
	[ \$(cat $PREZERO/pages_unasked) -le \$((\$(cat $PREZERO/pages_hit) / 100)) ]"
finish
