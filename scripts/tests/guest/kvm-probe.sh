#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Can this machine run a guest under KVM?  Booting this far is the answer.
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh

t "user space runs" true
finish
