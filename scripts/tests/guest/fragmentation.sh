#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Clearing memory ahead, and the choice of blocks that goes with it, do not fragment
# memory. The same mixed load runs with leaf and with leaf+prezero. Both leave the
# same share of free memory in whole pageblocks, and the same number of huge pages
# can be allocated from it.
#
# Prints for each the free blocks by order, the share of free memory in pageblocks,
# and the share of faults that got a huge page.
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh

files=/tmp/files

# Memory that stays allocated, unmovable and movable (pinned memory, page cache,
# inodes), is spread among memory that is freed again.
round() {
	mkdir -p "$files/$1"
	for n in $(seq 20); do
		dd if=/dev/zero of="$files/$1/big$n" bs=1M count=4 2>/dev/null || return 1
	done
	for n in $(seq 2000); do
		: >"$files/$1/small$n"
	done
	map_row 4k 64M >/dev/null && map_row thp 128M -x >/dev/null || return 1
	rm "$files/$1"/big*[1-9] "$files/$1"/small*[1-9]
}

load() {
	for r in $(seq 8); do
		round "$r" || return 1
	done
}

blocks() {
	awk '{ for (i = 5; i <= NF; i++) n[i - 5] += $i; nr = NF - 5 }
		END { for (i = 0; i <= nr; i++) printf " %d", n[i]; print "" }' /proc/buddyinfo
}

# Sets pageblocks_pct and huge_pct
measure() {
	echo 3 >/proc/sys/vm/drop_caches
	# What is on per-cpu lists is free, too.
	sleep 3
	pageblocks_pct=$(($(free_blocks) * 100 / $(vmstat nr_free_pages)))
	measure_blocks=$(blocks)
	measure_mib=$(awk '/^MemFree/ { print int($2 / 1024 * 0.95 / 2) * 2 }' /proc/meminfo)
	measure_alloc=$(vmstat thp_fault_alloc)
	measure_fallback=$(vmstat thp_fault_fallback)
	map_row thp "${measure_mib}M" -x >/dev/null || return 1
	measure_alloc=$(($(vmstat thp_fault_alloc) - measure_alloc))
	measure_fallback=$(($(vmstat thp_fault_fallback) - measure_fallback))
	huge_pct=$((measure_alloc * 100 / (measure_alloc + measure_fallback)))
	echo "# prezero $1: free blocks by order:$measure_blocks"
	echo "# prezero $1: $pageblocks_pct % of free memory in pageblocks, $huge_pct % of $((measure_alloc + measure_fallback)) huge faults got one"
}

setup_thp
# A fault must find a huge page without compaction.
echo never >/sys/kernel/mm/transparent_hugepage/defrag
bind_edu
load_prezero || die "nothing to test"
prezero_off
t "the load with leaf" load
measure off || die "nothing to compare with"
off_pageblocks=$pageblocks_pct off_huge=$huge_pct
rm -r "$files"
echo 3 >/proc/sys/vm/drop_caches
echo 1 >/proc/sys/vm/compact_memory
prezero_on
wait_cleared
t "the load with leaf+prezero" load
measure on || die "nothing to compare"
t "no less of free memory is in pageblocks" test "$pageblocks_pct" -ge $((off_pageblocks - 2))
t "and no fewer faults get a huge page" test "$huge_pct" -ge $((off_huge - 2))
t "cleared memory went to requests for zeroes" sh -c "
	cat $PREZERO/pages_unasked $PREZERO/pages_hit
	[ \$(cat $PREZERO/pages_unasked) -lt \$(cat $PREZERO/pages_hit) ]"
finish
