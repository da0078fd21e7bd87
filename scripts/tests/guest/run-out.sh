#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Cleared memory runs out in the middle of a map, or there is none. The mapped memory
# reads as zeroes, and the map takes no longer than with leaf.  Needs counted time
# (--icount).
#
# usage: run-out.sh MIB
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh

mib=${1:-512}

# map_to BACKING ROW
map_to() {
	map_row "$1" "${mib}M" -x >"$2"
}

# Leave little more free memory than the map takes, so that the map needs both the
# cleared and the other part.
ballast() {
	free_mib=$(awk '/^MemFree/ { print int($2 / 1024) }' /proc/meminfo)
	hugetlb_pool hugetlb2m $(((free_mib - $1) / 2 * 2 << 20))
}

# Clear all memory, stop, and have half of it dirtied.
half_cleared() {
	prezero_on
	wait_cleared
	no_more_passes
	map_row thp $((mib / 2 + 64))M -x >/dev/null
}

# share_between MIN MAX ROW
share_between() {
	cat "$3"
	share=$(field zeroed_pct "$3")
	[ "${share%.*}" -ge "$1" ] && [ "${share%.*}" -le "$2" ]
}

not_slower() {
	cat /tmp/off "$1"
	awk -v off="$(field map_s /tmp/off)" -v on="$(field map_s "$1")" \
		'BEGIN { print on / off; exit !(on <= off * 1.03) }'
}

setup_thp
bind_edu
load_prezero || die "nothing to test"
echo 3 >/proc/sys/vm/drop_caches
ballast $((mib + 192))
for backing in thp 4k memfd; do
	prezero_off
	map_row $backing "${mib}M" -x >/dev/null
	t "$backing: off, a map reads zero" map_to $backing /tmp/off
	half_cleared
	t "$backing: so does one that cleared memory ran out in" map_to $backing /tmp/half
	t "$backing: about half of it was cleared before" share_between 25 75 /tmp/half
	t "$backing: it took no longer" not_slower /tmp/half
	echo 1 >"$PREZERO/flush"
	t "$backing: one without any cleared memory reads zero" map_to $backing /tmp/none
	t "$backing: none of it was cleared before" share_between 0 0 /tmp/none
	t "$backing: it took no longer than 3 % more" not_slower /tmp/none
done
finish
