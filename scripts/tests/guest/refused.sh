#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# A kernel where another feature determines the contents of free memory.
#
# usage: refused.sh WHAT	first word of the reason, as page_prezero gives it
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh

what=$1

refused() {
	"$@" 2>/tmp/why && return 1
	cat /tmp/why
	dmesg | grep "page_prezero: not enabled: $what"
}

t "the module does not start" refused insmod /lab/prezero.ko allow_guest=1
t "it loads with enabled=0" load_prezero || die "nothing to test"
t_not "it does not start later, either" sh -c "echo 1 >$PREZERO/enabled"
t "it stays off" test "$(cat $PREZERO/enabled)" = 0
t "it unloads" rmmod prezero
finish
