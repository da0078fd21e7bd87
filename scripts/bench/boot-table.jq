# SPDX-License-Identifier: GPL-2.0
# Rows of boot-guest.sh to tables, as tab-separated values; an empty line between
# tables.  Seconds are medians; slopes and their 95 % intervals are of means.
include "stats";

def mean: add / length;
# Variance of the mean
def var: if length < 2 then null
	else mean as $m | (map(pow(. - $m; 2)) | add) / (length - 1) / length end;
def or_dash(f): if . == null then "-" else f end;

. as $rows
| (map(.mib) | unique) as $sizes
| ($sizes | last) as $hi
| (if $hi > 4096 then 4096 else $sizes[0] end) as $lo
| def times($b; $c; $mib): [$rows[] | select(.start == "first" and .backing == $b and .config == $c and .mib == $mib) | .start_s];
def med($b; $c; $mib): times($b; $c; $mib) | if . == [] then null else median end;
def slope($b; $c): times($b; $c; $lo) as $l | times($b; $c; $hi) as $h
	| if $l == [] or $h == [] or $lo == $hi then null else
	($l + $h | length - 2) as $df | (($hi - $lo) / 1024) as $gib
	| {s: ((($h | mean) - ($l | mean)) / $gib),
	   e: (if ($l | var) == null or ($h | var) == null then null
		else ($l | var) + ($h | var) | sqrt / $gib end),
	   # Student's, near enough
	   t: (1.96 + 3.3 / ([$df, 1] | max))} end;
(["thp", "tmpfs", "memfd", "hugetlb2m", "hugetlb1g"]
	| map(select(. as $b | any($rows[]; .backing == $b)))) as $backings
| ["no device", "page by page", "6.12", "leaf", "leaf+prezero"] as $configs

# As the published table: the largest guest
| (["\($hi / 1024) GiB", "start, s"] + $backings | map(sub("hugetlb"; ""))),
($configs[] | . as $c | [$backings[] as $b | med($b; $c; $hi)]
	| select(any(. != null))
	| ["", $c] + map(or_dash(fixed(2)))),
[],

# All sizes, the slope, and what is left of 6.12's
(["memory", "kernel"] + ($sizes | map(if . < 1024 then "\(.)M" else "\(. / 1024)G" end))
	+ ["s/GiB", "+-", "of 6.12's", "+-%", "runs"]),
($backings[] | . as $b | slope($b; "6.12") as $base | $configs[] | . as $c
	| [$sizes[] as $s | med($b; $c; $s)]
	| select(any(. != null))
	| slope($b; $c) as $own
	| [$b, $c] + map(or_dash(fixed(2)))
	+ (if $own == null then ["-", "-", "-", "-"] else
		[($own.s | fixed(3)),
		 ($own.e | or_dash(. * $own.t | fixed(3))),
		 (if $base == null or $base.s <= 0 then "-"
			else (100 * $own.s / $base.s | fixed(1)) + "%" end),
		 (if $c == "6.12" or $base == null or $base.s <= 0 or $own.e == null or $base.e == null then "-"
			else 100 * $own.t * ((pow($own.e; 2) + pow($own.s / $base.s * $base.e; 2)) | sqrt) / $base.s
			| fixed(1) end)] end)
	+ [times($b; $c; $hi) | length | tostring]),
[],

# Stopped and started again
(select(any($rows[]; .start == "again"))
	| ["start", "kernel"] + ($sizes | map(if . < 1024 then "\(.)M" else "\(. / 1024)G" end))),
([["6.12", "again"], ["leaf+prezero", "again"], ["leaf+prezero", "hook"]][]
	| . as [$c, $start]
	| [$sizes[] as $s | [$rows[] | select(.config == $c and .start == $start and .mib == $s)]
		| if . == [] then null else map(.start_s) | median end]
	| select(any(. != null))
	| [$start, $c] + map(or_dash(fixed(2)))),
([$sizes[] as $s | [$rows[] | select(.start == "hook" and .mib == $s) | .wait_s]
	| if . == [] then null else median end]
	| select(any(. != null))
	| ["", "(the hook waits)"] + map(or_dash(fixed(2))))
| @tsv
