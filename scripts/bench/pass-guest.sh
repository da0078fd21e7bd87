#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# In the lab, in counted time: the cost of a pass over free memory with nothing left
# to clear. Prints lines of "pass CASE INSTRUCTIONS HOLDS BLOCKS": instructions,
# holds of zone->lock, and blocks that the client got once more.
#
# usage: pass-guest.sh CASE...
#   plain	nothing special
#   cma		there is a free CMA area: needs hugetlb_cma=1G
#   highatomic	there is a free block reserved for atomic allocations
#   poison	a free block has a page with a memory error in it
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh

COST=/sys/module/cost/parameters
PASS=/sys/module/pass/parameters

# at_rest CASE: twice, because counting holds takes instructions
at_rest() {
	# The per-cpu lists are drained now and then.
	sleep 3
	echo 0 >"$PASS/run" && read -r rest_ns _ <"$PASS/run" || return
	echo 1 >"$COST/count_locks" && echo 0 >"$PASS/run" &&
		read -r _ rest_holds rest_blocks <"$PASS/run" &&
		echo 0 >"$COST/count_locks" || return
	echo "pass $1 $rest_ns $rest_holds $rest_blocks" >&3
}

# While free memory is below the low and above the min watermark, an atomic
# allocation has the kernel set up a reserve.
reserve_highatomic() {
	reserve_was=$(cat /proc/sys/vm/min_free_kbytes)
	reserve_free=$(($(vmstat nr_free_pages) * 4))
	echo $((reserve_free * 85 / 100)) >/proc/sys/vm/min_free_kbytes
	echo 1 >"$PASS/highatomic"
	reserve_rc=$?
	echo "$reserve_was" >/proc/sys/vm/min_free_kbytes
	grep -A1 nr_reserved /proc/zoneinfo
	return "$reserve_rc"
}

prepare() {
	case $1 in
	plain) ;;
	cma) [ "$(vmstat nr_free_cma)" -gt 100000 ] ;;
	highatomic) reserve_highatomic ;;
	poison) echo 1 >"$PASS/poison" ;;
	esac
}

t "the counting module loads" insmod /lab/cost.ko || die "nothing to count with"
t "the client loads" insmod /lab/pass.ko || die "nothing to measure"
echo 0 >/proc/sys/debug/kprobes-optimization
t "it registers" sh -c "echo 1 >$PASS/enabled" || die "nothing to measure"
for case; do
	t "$case: prepared" prepare "$case"
	t "$case: measured" at_rest "$case"
done
t "the client unloads" rmmod pass
finish
