#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# prezero does not clear a node whose CPUs are busy, but does clear the other node.
# Needs two nodes with one CPU each.
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh

# Pages of a node that are known to be zeroes
zeroed_on() {
	awk -v node="Node $1," '
		/^Node/ { here = index($0, node) == 1 }
		here && $1 == "nr_free_zeroed" { n += $2 }
		END { print n + 0 }' /proc/zoneinfo
}

# MIB cleared on NODE, within 30 s
cleared_on() {
	for _ in $(seq 60); do
		[ "$(zeroed_on "$1")" -lt $(($2 << 8)) ] || return 0
		sleep 0.5
	done
	grep . /sys/kernel/mm/prezero/p*
	echo "$(zeroed_on "$1") pages of node $1"
	return 1
}

none_on() {
	zeroed_on "$1"
	[ "$(zeroed_on "$1")" = 0 ]
}

[ -d /sys/devices/system/node/node1 ] || die "one node: start the lab with -n 2"
taskset -c 0 sh -c 'while :; do :; done' &
busy=$!
t "prezero loads" insmod /lab/prezero.ko allow_guest=1 || die "nothing to test"
t "the idle node is cleared" cleared_on 1 128
t "the busy one is not" none_on 0
kill $busy
t "until it is idle" cleared_on 0 128
t "prezero unloads" rmmod prezero
finish
