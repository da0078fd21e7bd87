# SPDX-License-Identifier: GPL-2.0
# Rows of clear.c to a table, as tab-separated values.
include "stats";

["method", "instruction", "extent", "GB/s", "faster", "hot us", "more us"],
(group_by(.extent) | sort_by(.[0].extent as $e | ["4K", "2M", "1G"] | index($e))[]
| (map(select(.method == "none"))[0]) as $none
| (map(select(.method == "clear_page"))[0]) as $base
| .[]
| [.method, .insn // "-", .extent,
   (if .gbps then (.gbps | fixed(1)), (.gbps / $base.gbps | fixed(2)) + "x" else "-", "-" end),
   (.hot_us | fixed(1)), (.hot_us - $none.hot_us | fixed(1))])
| @tsv
