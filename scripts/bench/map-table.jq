# SPDX-License-Identifier: GPL-2.0
# Rows of vfio-map to one table, as tab-separated values: a line per backing
# and variant, medians over the repeats, and the ratio to the first variant
# (the unpatched kernel if it ran, else prezero off).
include "stats";

# Three digits at least, of whatever size
def seconds: fixed(if . < 0.1 then 6 else 3 end);
def variant: if .kernel == "unpatched" then if .iommufd then "unpatched iommufd" else "unpatched" end
	elif .iommufd then "iommufd"
	elif .prezero then "prezero on"
	elif (.pin_batch // 0) != 0 then "pin_batch=\(.pin_batch)"
	else "prezero off" end;
def rank: if startswith("unpatched") then 0 elif startswith("prezero off") then 1
	elif startswith("prezero on") then 2 else 3 end;

["memory", "kernel", "map s", "ns/4K", "faster", "remap s", "faster", "unmap s", "faster", "zeroed %", "runs"],
(["thp", "4k", "4kfrag", "memfd", "memfd-qemu", "tmpfs", "hugetlb2m", "hugetlb1g"] as $order
| group_by(.backing) | sort_by(.[0].backing as $b | $order | index($b))[]
| group_by(variant) | sort_by(.[0] | variant | [rank, .])
| .[0] as $base
| .[] as $rows
| def column(get): ($rows | map(get) | median) as $t
	| ($t | seconds), (($base | map(get) | median) / $t | fixed(1)) + "x";
[ $rows[0].backing, ($rows[0] | variant),
    ([column(.map_s)] as [$s, $faster]
	| $s, ($rows | map(.map_s * 4096e9 / .bytes) | median | fixed(0)), $faster),
    column(.remap_s), column(.unmap_s),
    (if $rows[0].zeroed_pct == null then "-" else $rows | map(.zeroed_pct) | median | fixed(1) end),
    ($rows | length | tostring) ])
| @tsv
