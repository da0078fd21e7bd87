#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The module on a kernel without the series: refused, in words.
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh

t_not "the module does not load" insmod /lab/prezero.ko allow_guest=1
says_why() {
	dmesg | grep -qE 'prezero: .*(patch|series|CONFIG_PAGE_PREZERO)'
}
t "and the log says what is missing" says_why
finish
