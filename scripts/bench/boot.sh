#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# How long a guest with a passed-through device takes from "virsh start" to
# GRUB, in the libvirt lab: tables, build/results/boot.json and boot.png.
#
# usage: boot.sh          both kernels, the whole table
#        boot.sh short    leaf and leaf+prezero only, two sizes, in counted time,
#                         with a verdict
# environment:
#   MAX       GiB of the largest guest (8); the lab has 4 GiB more
#   REPEAT    how often each start is measured (3)
#   SLOPE     how many times more the two sizes that make THP's slope (1)
#   BACKINGS  which memory (hugetlb1g hugetlb2m thp tmpfs; memfd)
#   ICOUNT    set: counted time instead of wall time, to boot-counted.*
set -euo pipefail
here=$(dirname "$(realpath "$0")")
top=$(realpath "$here/../..")
what=${1:-full}
max=${MAX:-8} repeat=${REPEAT:-3} slope=${SLOPE:-1}
# The most contiguous memory first, before memory is fragmented
backings=${BACKINGS:-hugetlb1g hugetlb2m thp tmpfs}
out=$top/build/results/boot
timing=()
if [ "$what" = short ]; then
	out+=-short
	max=4
	ICOUNT=1
elif [ -n "${ICOUNT:-}" ]; then
	out+=-counted
fi
[ -z "${ICOUNT:-}" ] || timing=(--icount)

sizes=
for ((mib = 512; mib < max << 10; mib *= 2)); do
	sizes+="$mib "
done
sizes+=$((max << 10))

# starts KERNEL REPEAT GROUP...: one boot of the lab, its rows to $rows
starts() {
	local rc=0
	echo "$1 kernel, run $2: $((SECONDS / 60)) min"
	"$top/scripts/lab/run.sh" --disk --prealloc "${timing[@]}" --kernel "$1" --memory "$((max + 4))G" --time 3600 --name "starts-$1" \
		"$here/boot-guest.sh" "${@:2}" >"$rows.out" || rc=$?
	grep '^{' "$rows.out" >>"$rows" || true
	[ "$rc" -eq 0 ] || { cat "$rows.out"; exit 1; }
}

# How much slower the lab is than this machine, by kind of work
speed() {
	"$top/scripts/lab/run.sh" --disk --prealloc --raw --memory 2G --name speed "$here/speed.sh" >"$rows.lab"
	PATH=$top/build/tools:$PATH "$here/speed.sh" >"$rows.out"
	paste "$rows.out" "$rows.lab" | awk -F'\t' '
		BEGIN { printf "%-10s %9s %9s %6s  slower\n", "", "here", "lab", "" }
		{
			ratio = $3 ~ /\/s$/ ? $2 / $5 : $5 / $2
			printf "%-10s %9s %9s %-6s %5.1fx\n", $1, $2, $5, $3, ratio
		}'
}

mkdir -p "${out%/*}"
# This file stays: if the run is cut short, it has the rows so far.
rows=$out.rows
rm -f "$rows"
trap 'rm -f "$rows.out" "$rows.lab" "$rows.plot"' EXIT

if [ "$what" = short ]; then
	starts lab 1 "1024 4096" thp leaf,leaf+prezero
else
	# Measure the two sizes of the slope more often. Only the slope of THP is
	# small enough to need that.
	stock=() lab=()
	far="$((max > 4 ? 4096 : 512)) $((max << 10))"
	for ((r = 0; r < slope; r++)); do
		stock+=("$far" thp 6.12)
		lab+=("$far" thp leaf+prezero)
	done
	for ((r = 1; r <= repeat; r++)); do
		starts stock $r "$sizes" "$backings" 6.12 "${stock[@]}" "$far" thp "no device,6.12:again"
		starts lab $r "$sizes" "$backings" "page by page,leaf,leaf+prezero" "${lab[@]}" "$far" thp leaf+prezero:again,leaf+prezero:hook
	done
fi
jq -s . "$rows" >"$out.json"

echo
jq -L "$here" -r -f "$here/boot-table.jq" "$out.json" | awk -F'\t' -f "$here/columns.awk" | tee "$out.txt"
echo
if [ "$what" = short ]; then
	# Clearing ahead works if the memory was served without clearing, and the
	# time to start does not grow with memory.
	jq -e '
		def s($config; $mib): map(select(.config == $config and .mib == $mib))[0].start_s;
		(map(select(.config == "leaf+prezero")) | length == 2 and all(.hit_mib >= .mib * 0.95)) and
		s("leaf+prezero"; 4096) < s("leaf"; 4096) and
		s("leaf+prezero"; 4096) - s("leaf+prezero"; 1024) < 0.2 * (s("leaf"; 4096) - s("leaf"; 1024))
		' "$out.json" >/dev/null || {
		echo "not ok the time to start does not grow with cleared memory: see ${out#"$top"/}.json"
		exit 1
	}
	echo "ok the time to start does not grow with cleared memory"
else
	if [ -z "${ICOUNT:-}" ]; then
		speed | tee -a "$out.txt"
		echo
	fi
	jq -L "$here" -r -f "$here/boot-plot.jq" "$out.json" >"$rows.plot"
	unit=seconds
	[ -z "${ICOUNT:-}" ] || unit="10^9 instructions"
	gnuplot -e "rows='$rows.plot'; backings='$backings'; unit='$unit'; out='$out.png'" "$here/boot-plot.gp"
	echo "rows: ${out#"$top"/}.json, plot: ${out#"$top"/}.png"
fi
