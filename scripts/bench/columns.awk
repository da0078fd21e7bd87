# SPDX-License-Identifier: GPL-2.0
# Tab-separated values to columns; an empty line ends a table.  The first two columns
# are text; the others are as wide as their titles.
!NF {
	titles = 0
	print ""
	next
}
!titles++ {
	for (i = 3; i <= NF; i++)
		width[i] = length($i) > 7 ? length($i) + 2 : 9
}
{
	printf "%-10s %-17s", $1, $2
	for (i = 3; i <= NF; i++)
		printf "%*s", width[i], $i
	print ""
}
