#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# In the lab: where the kernel spends the first map of memory, as the sum of
# REPEAT maps.  make profile shows it.
#
# usage: profile-guest.sh SIZE-IN-MIB REPEAT BACKING on|off	(prezero)
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh

setup_thp
bind_edu
load_prezero || die "prezero.ko does not load: see the kernel log"
[ "$4" = off ] || prezero_on
repeat=0
while [ "$repeat" -lt "$2" ]; do
	repeat=$((repeat + 1))
	[ "$4" = off ] || wait_cleared
	progress $((100 * (repeat - 1) / $2)) "mapping $1 MiB of $3, $repeat of $2"
	map_pooled "$3" "$1" -P "/tmp/profile.$repeat" >>/tmp/rows || exit
done
sed 's/.*"map_s":\([0-9.]*\).*"zeroed_pct":\([0-9.]*\).*/map \1 \2/' /tmp/rows
awk '{ n[$2] += $1 } END { for (f in n) print "sample", n[f], f }' /tmp/profile.*
