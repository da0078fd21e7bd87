# SPDX-License-Identifier: GPL-2.0
# Start time against memory: a panel per kind of memory, a line per
# configuration.  Wants "rows" (what boot-plot.jq writes), "backings" (the panels),
# "unit" and "out".
set terminal pngcairo size 1200,900 font ",11"
set output out
set datafile missing "-"
set datafile separator tab
set multiplot layout 2,2 title "virsh start to GRUB with a passed-through device, emulated"
set xlabel "guest memory, GiB"
set ylabel unit
set yrange [0:*]
set xrange [0:*]
set grid
set key top left
array config[7] = ["", "", "page by page", "6.12", "leaf", "leaf+prezero", "no device"]
do for [backing in backings] {
	set title backing
	plot for [i = 3:7] rows using (strcol(1) eq backing ? $2 : NaN):i with linespoints lw 2 pt 7 \
		title config[i]
}
