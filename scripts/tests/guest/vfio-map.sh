#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Map and unmap each kind of memory: fresh memory reads as zeroes, the device moves
# the right bytes, and moves none after the unmap.
#
# usage: vfio-map.sh [MIB [BACKING...]]	default: 512 MiB of each of the kinds below
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh

mib=${1:-512}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- thp 4k memfd memfd-qemu tmpfs hugetlb2m hugetlb1g

# one BACKING [ARG]: a gigantic page is mapped as a whole
one() {
	case $1 in
	hugetlb1g) one_mib=1024 ;;
	*) one_mib=$mib ;;
	esac
	map_pooled "$1" "$one_mib" -u ${2:+"$2"}
}

setup_thp
bind_edu
before=$(pinned)
for backing; do
	t "$backing" one "$backing"
	t "$backing, through iommufd" one "$backing" -f
done
t "nothing is pinned after all that" test "$(pinned)" = "$before"
finish
