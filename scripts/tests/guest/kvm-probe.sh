#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# If a guest boots this far, KVM works on this machine.
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh

t "user space runs" true
finish
