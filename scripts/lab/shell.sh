#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# In the libvirt lab: a root shell, or one command ("make lab").
#
# usage: shell.sh [COMMAND...]
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh >/dev/null
# shellcheck source=scripts/lab/l1.sh
. /lab/l1.sh

setup_thp
start_libvirt >/tmp/libvirt.out 2>&1 || {
	echo "libvirt does not start:"
	cat /tmp/libvirt.out
}
if [ $# -gt 0 ]; then
	bash -c "$*"
	exit
fi
cat >/root/.bashrc <<'RC'
PS1='lab:\w# '
. /lab/lib.sh >/dev/null
. /lab/l1.sh
RC
cat >/dev/ttyS1 <<'TEXT'

This is the libvirt lab: Debian, the lab kernel, libvirt, an IOMMU, and a device
to pass through. All tools are in /lab. Files in /out are kept, in
build/runs/lab/out; all others are lost. To end: "exit", or Ctrl-A X.

	insmod /lab/prezero.ko allow_guest=1	# load prezero
	bind_edu; define_l2 thp 1024; start_l2 l2	# a guest with the device
	echo $start_s; stop_l2 l2			# seconds of its start

TEXT
stty -F /dev/ttyS1 sane
TERM=vt220 setsid -cw bash -i </dev/ttyS1 >/dev/ttyS1 2>&1
