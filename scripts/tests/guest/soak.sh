#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# All kinds of load at once: memory is allocated, split, merged, compacted, taken
# offline and dirtied, prezero clears free memory as fast as it can, and the kernel
# compares each page served without clearing with zero.
#
# usage: soak.sh MINUTES
#
# Needs "kernelcore=" less than all memory, so that some can be taken offline, and
# "hugetlb_cma=1G", whose gigantic pages alloc_contig_range() allocates.
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh

minutes=${1:-2}
seconds=$((minutes * 60))
end=$(($(date +%s) + seconds))

start_prezero() {
	load_prezero &&
		echo 1 >"$PREZERO/verify" &&
		echo 10 >"$PREZERO/interval_ms" &&
		prezero_on
}

# The load leaves some memory free; run-out.sh tests running out of it.
load() {
	exec stress-ng --timeout "${seconds}s" --temp-path /tmp --verify \
		--vm 1 --vm-bytes 20% --vm-method all \
		--mmap 1 --mmap-bytes 5% --memfd 1 --memfd-bytes 32M \
		--shm 1 --shm-bytes 4M --shm-objs 8 \
		--fork 1 --malloc 1 --malloc-bytes 64K --malloc-max 1024 \
		--metrics-brief >/tmp/stress.out 2>&1
}

maps() {
	while [ "$(date +%s)" -lt $((end - 5)) ]; do
		for backing in thp 4k memfd; do
			map_row $backing 128M -x >/dev/null || return 1
		done
	done
}

# The page cache: write, drop (meddle does), read, compare, delete.
files() {
	truncate -s 400M /tmp/disk && losetup /dev/loop0 /tmp/disk &&
		mke2fs -F /dev/loop0 && mkdir -p /tmp/mnt &&
		mount -t ext4 /dev/loop0 /tmp/mnt &&
		dd if=/dev/urandom of=/tmp/pattern bs=1M count=16 || return 1
	while [ "$(date +%s)" -lt $((end - 5)) ]; do
		for i in 1 2 3 4 5 6 7 8; do
			cp /tmp/pattern /tmp/mnt/$i || return 1
		done
		sync
		for i in 1 2 3 4 5 6 7 8; do
			cmp /tmp/pattern /tmp/mnt/$i || return 1
		done
		rm /tmp/mnt/[1-8]
	done
	umount /tmp/mnt && losetup -d /dev/loop0
}

# The memory blocks that can go offline: those of ZONE_MOVABLE without memory that
# the kernel took at boot.
movable_blocks() {
	for block in /sys/devices/system/memory/memory[0-9]*; do
		[ "$(cat "$block/removable")" = 1 ] || continue
		case $(cat "$block/valid_zones") in
		Movable*) echo "$block" ;;
		esac
	done
}

# One of them at random.  It may be busy, which is not a failure.  If it is not
# offline after 10 s, try no longer.
offline_online() {
	for block in $(movable_blocks | shuf | head -n 1); do
		timeout 10 sh -c "echo offline >$block/state" 2>/dev/null || continue
		echo online_movable >"$block/state" || return 1
		echo "${block##*/}" >>/tmp/offlined
	done
}

offlined() {
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		offline_online || return 1
		[ ! -s /tmp/offlined ] || return 0
	done
	movable_blocks
	return 1
}

HUGE=/sys/kernel/mm/hugepages

# All that an administrator may do, and that the kernel does by itself.
meddle() {
	n=0
	while [ "$(date +%s)" -lt $((end - 5)) ]; do
		n=$((n + 1))
		case $((n % 10)) in
		0) echo 1 >/proc/sys/vm/compact_memory ;;
		1) offline_online ;;
		2) echo 1 >"$PREZERO/flush" ;;
		3) prezero_off_on ;;
		4) echo 16 >$HUGE/hugepages-2048kB/nr_hugepages ;;
		5) echo 0 >$HUGE/hugepages-2048kB/nr_hugepages ;;
		6) reload ;;
		7) echo 1 >$HUGE/hugepages-1048576kB/nr_hugepages ;;
		8) echo 0 >$HUGE/hugepages-1048576kB/nr_hugepages ;;
		9) echo 3 >/proc/sys/vm/drop_caches ;;
		esac || return 1
		progress $((100 - 100 * (end - $(date +%s)) / seconds)) "of $minutes minutes"
		sleep 0.7
	done
	# Slow as a machine may be, it got somewhere
	echo "$n steps" >&2
	[ "$n" -gt 3 ]
}

prezero_off_on() {
	echo 0 >"$PREZERO/enabled" && echo 1 >"$PREZERO/enabled"
}

reload() {
	rmmod prezero && start_prezero
}

wait_for() {
	wait "$1" || { tail -n 20 "$2"; return 1; }
}

more_than() {
	echo "$1: $(vmstat "$1")"
	[ "$(vmstat "$1")" -gt "$2" ]
}

setup_thp
# Free blocks may be few under this load; fragmented memory is not a failure.
t "prezero starts, with verify" start_prezero || die "nothing to soak"
bind_edu
load &
load_pid=$!
maps >/tmp/maps.out 2>&1 &
maps_pid=$!
# Its progress lines are for the terminal.
meddle 2>/tmp/meddle.out &
meddle_pid=$!
files >/tmp/files.out 2>&1 &
files_pid=$!
t "the administrator's part ran without an error" wait_for $meddle_pid /tmp/meddle.out
t "each file had its contents" wait_for $files_pid /tmp/files.out
t "each map was of zeroes" wait_for $maps_pid /tmp/maps.out
t "the load ran without an error" wait_for $load_pid /tmp/stress.out
# Under load no memory may have gone offline yet.
t "memory goes offline and comes back" offlined
t "pages were cleared" more_than prezero_cleared 0
t "pages were served" more_than prezero_hit 0
t_not "no page was served that is not zero" more_than prezero_verify_failed 0
t "prezero unloads and loads again" reload
t "and unloads at the end" rmmod prezero
t "no page is left marked" test "$(free_zeroed)" = 0
finish
