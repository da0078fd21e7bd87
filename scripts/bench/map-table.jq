# SPDX-License-Identifier: GPL-2.0
# Rows of vfio-map to one table, as tab-separated values: a line per backing
# and configuration, medians over the repeats, and the ratio to the first
# configuration (6.12 if it ran, else leaf).  Times on the clock below 5 ms vary
# too much for a ratio; counted ones do not.
include "stats";

# Three digits at least
def seconds: fixed(if . < 0.1 then 6 else 3 end);
def variant: .config + if .iommufd then " iommufd" else "" end;
def rank: . as $v | ["6.12", "leaf", "leaf+prezero"] | index($v) // length;

["memory", "kernel", "map s", "ns/4K", "faster", "remap s", "faster", "unmap s", "faster", "zeroed %", "runs"],
(["thp", "4k", "4kfrag", "memfd", "memfd-qemu", "tmpfs", "hugetlb2m", "hugetlb1g"] as $order
| group_by(.backing) | sort_by(.[0].backing as $b | $order | index($b))[]
| group_by(variant) | sort_by(.[0] | variant | [rank, .])
| .[0] as $base
| .[] as $rows
| def column(get): ($rows | map(get) | median) as $t | ($base | map(get) | median) as $of
	| ($t | seconds),
	  (if $rows[0].counted or ([$t, $of] | min) >= 0.005 then ($of / $t | fixed(1)) + "x" else "-" end);
[ $rows[0].backing, ($rows[0] | variant),
    ([column(.map_s)] as [$s, $faster]
	| $s, ($rows | map(.map_s * 4096e9 / .bytes) | median | fixed(0)), $faster),
    column(.remap_s), column(.unmap_s),
    (if $rows[0].zeroed_pct == null then "-" else $rows | map(.zeroed_pct) | median | fixed(1) end),
    ($rows | length | tostring) ])
| @tsv
