#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The figures of speed.c, and the time that a large program (QEMU) takes to start and
# end.  Runs in the lab and on any machine; boot.sh compares the two.
speed || exit
from=${EPOCHREALTIME/./}
for _ in 1 2 3 4 5; do
	echo quit | qemu-system-x86_64 -machine none -nodefaults -display none \
		-monitor stdio >/dev/null || exit
done
printf 'QEMU\t%d\tms\n' $(((${EPOCHREALTIME/./} - from) / 5000))
