#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# On a kernel without the series the module does not load, and says why.
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh

t_not "the module does not load" insmod /lab/prezero.ko allow_guest=1
says_why() {
	dmesg | grep -qE 'prezero: .*(patch|series|CONFIG_PAGE_PREZERO)'
}
t "and the log says what is missing" says_why
finish
