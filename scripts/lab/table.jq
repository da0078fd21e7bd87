# SPDX-License-Identifier: GPL-2.0
# Rows of vfio-map to one table, as tab-separated values: a line per backing
# and variant, medians over the repeats, and the ratio to the first variant
# (the unpatched kernel if it ran, else prezero off).
def median: sort | if length % 2 == 1 then .[(length - 1) / 2]
	else (.[length / 2 - 1] + .[length / 2]) / 2 end;
def fixed($digits): . * pow(10; $digits) | round | tostring
	| (if length <= $digits then ("0" * ($digits + 1 - length)) + . else . end)
	| if $digits == 0 then . else .[:-$digits] + "." + .[-$digits:] end;
def variant: if .kernel == "unpatched" then "unpatched"
	elif .prezero then "prezero on" else "prezero off" end;
def rank: {"unpatched": 0, "prezero off": 1, "prezero on": 2}[.];

["memory", "kernel", "map s", "ns/4K", "faster", "remap s", "unmap s", "zeroed %", "runs"],
(["thp", "4k", "memfd", "hugetlb2m", "hugetlb1g"] as $order
| group_by(.backing) | sort_by(.[0].backing as $b | $order | index($b))[]
| group_by(variant) | sort_by(.[0] | variant | rank)
| (.[0] | map(.map_s) | median) as $first
| .[]
| (map(.map_s) | median) as $map
| [ .[0].backing, (.[0] | variant),
    ($map | fixed(3)),
    ($map * 1e9 / (.[0].bytes / 4096) | fixed(0)),
    ($first / $map | fixed(1)) + "x",
    (map(.remap_s) | median | fixed(3)),
    (map(.unmap_s) | median | fixed(3)),
    (if .[0].zeroed_pct == null then "-" else map(.zeroed_pct) | median | fixed(1) end),
    (length | tostring) ])
| @tsv
