#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# vfio/type1 and memory hot-unplug: memory pinned for long is not in ZONE_MOVABLE,
# so ZONE_MOVABLE can go offline meanwhile. The pinned memory cannot.
#
# Needs "kernelcore=" less than all memory, for ZONE_MOVABLE.
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh

MEMORY=/sys/devices/system/memory

# timeout(1) ends an attempt that would not end by itself
offline() {
	timeout 10 sh -c "echo offline >$MEMORY/$1/state"
}

# Blocks of ZONE_MOVABLE that can go offline: not those that hold boot memory.
find_movable() {
	MOVABLE=
	for find_dir in "$MEMORY"/memory*; do
		[ "$(cat "$find_dir/valid_zones")" = Movable ] || continue
		offline "${find_dir##*/}" || continue
		echo online_movable >"$find_dir/state" || return 1
		MOVABLE="$MOVABLE ${find_dir##*/}"
	done
	[ -n "$MOVABLE" ]
}

movable_goes_offline() {
	for offline_block in $MOVABLE; do
		offline "$offline_block" || return 1
	done
	for offline_block in $MOVABLE; do
		echo online_movable >"$MEMORY/$offline_block/state" || return 1
	done
}

# A mapping in the background, of memory touched before: HELD is the block it
# begins in.
start_holding() {
	rm -f /tmp/hold
	vfio-hold >/tmp/hold &
	HOLD=$!
	until grep -q '^[0-9]' /tmp/hold; do
		kill -0 "$HOLD" || return 1
		sleep 0.1
	done
	HELD=memory$(($(cat /tmp/hold) * 4096 / 0x$(cat "$MEMORY"/block_size_bytes)))
}

stop_holding() {
	kill -9 "$HOLD"
	wait "$HOLD"
	[ "$(pinned)" = "$before" ]
}

# Without the pin this memory would come from ZONE_MOVABLE first.
not_movable() {
	[ "$(cat "$MEMORY/$HELD/valid_zones")" != Movable ]
}

setup_thp
bind_edu
export EDU
t "ZONE_MOVABLE can go offline" find_movable || die "no ZONE_MOVABLE: boot with kernelcore="
before=$(pinned)
t "memory is mapped" start_holding
t "none of it is in ZONE_MOVABLE" not_movable
t "ZONE_MOVABLE goes offline" movable_goes_offline
t_not "the mapped memory does not" offline "$HELD"
t "and is unpinned at the end" stop_holding
finish
