#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Map and unmap each kind of memory: fresh memory reads as zeroes, the device moves
# the right bytes, and moves none after the unmap.
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh

mib=${1:-512}

# one BACKING [ARG]
one() {
	map_pooled "$1" "$mib" -u ${2:+"$2"}
}

setup_thp
bind_edu
before=$(pinned)
for backing in thp 4k memfd memfd-qemu tmpfs hugetlb2m; do
	t "$backing" one "$backing"
	t "$backing, through iommufd" one "$backing" -f
done
mib=1024
t hugetlb1g one hugetlb1g
t "hugetlb1g, through iommufd" one hugetlb1g -f
t "nothing is pinned after all that" test "$(pinned)" = "$before"
finish
