# SPDX-License-Identifier: GPL-2.0
# Rows of boot-guest.sh to gnuplot's data: a line per memory and size, a median per
# configuration, "-" where there is none.
include "stats";

. as $rows
| (map(.mib) | unique) as $sizes
| ["memory", "GiB", "page by page", "6.12", "leaf", "leaf+prezero", "no device"],
(["thp", "tmpfs", "hugetlb2m", "hugetlb1g"][] as $b | $sizes[] as $s
| [$b, $s / 1024]
+ [("page by page", "6.12", "leaf", "leaf+prezero", "no device") as $c
	| [$rows[] | select(.start == "first" and .mib == $s and .config == $c and
		(.backing == $b or $c == "no device")) | .start_s]
	| if . == [] then "-" else median end])
| @tsv
