#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# In the lab, in counted time: instructions per 4K fault and per allocation.
# Prints lines of "cost NAME INSTRUCTIONS"; scripts/cost.sh compares kernels.
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh

# The module's init fails by design once it has said what it measured.
insmod /lab/cost.ko 2>/dev/null
dmesg | sed -n 's/.*cost: order \([0-9]*\): \([0-9]*\) ns for \([0-9]*\) loops/\1 \2 \3/p' >/tmp/cost
t "allocations counted" test -s /tmp/cost
while read -r order ns loops; do
	echo "cost alloc-free-order-$order $((ns / loops)).$((ns * 100 / loops % 100))"
done </tmp/cost
t "faults counted" sh -c 'fault-loop >/tmp/fault'
echo "cost fault-4k $(($(cat /tmp/fault) / 20480)).$(($(cat /tmp/fault) * 100 / 20480 % 100))"
finish
