# SPDX-License-Identifier: GPL-2.0
# What the columns of clear-table.jq are, and which method is the fastest.
include "stats";

def row($method): map(select(.extent == "2M" and .method == $method))[0];
row("none").hot_us as $none
| row("clear_page") as $base
| (map(select(.extent == "2M" and .gbps)) | max_by(.gbps)) as $best
| "clear_page is the kernel\u0027s own method, on this CPU \($base.insn).",
  "extent: cleared at a time, out of memory that does not fit in the caches",
  "hot us: to read a hot set of 1.5 MB afterwards; none: nothing was cleared before",
  "more us: how much longer that takes than with nothing cleared before",
  "Fastest with 2M: \($best.method) (\($best.insn)), \($best.gbps / $base.gbps | fixed(2))x clear_page,"
  + if $base.hot_us > $none then
	" with \(($best.hot_us - $none) * 100 / ($base.hot_us - $none) | fixed(0)) % of its extra time on the hot set"
  else "" end
