#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Profile the first map of memory in the lab, and print the functions that take 1 %
# of it or more.
#
# environment:
#   N         GiB to map (4); the VM has three times that
#   REPEAT    how many maps (10)
#   BACKING   which memory (thp)
#   PREZERO   off: leaf, instead of leaf+prezero
#   ICOUNT    set: by counted time instead of wall time
set -euo pipefail
here=$(dirname "$(realpath "$0")")
n=${N:-4} repeat=${REPEAT:-10} backing=${BACKING:-thp}
timing=(--prealloc)
[ -z "${ICOUNT:-}" ] || timing+=(--icount)

"$here/../lab/run.sh" --raw --memory $((n * 3))G "${timing[@]}" --time $((300 + 60 * n * repeat)) --name profile \
	"$here/profile-guest.sh" $((n << 10)) "$repeat" "$backing" "${PREZERO:-on}" |
	awk -v what="$n GiB of $backing, leaf$([ "${PREZERO:-on}" = off ] || echo +prezero)" '
		$1 == "map" { maps++; seconds += $2; zeroed += $3 }
		$1 == "sample" { n[$3] += $2; total += $2 }
		END {
			if (!maps || !total)
				exit 1
			printf "%s, %d maps of %.6f s, %.1f %% of it cleared ahead\n\n",
				what, maps, seconds / maps, zeroed / maps
			print "    %         us  function"
			fflush()
			for (f in n)
				if (n[f] * 100 >= total)
					printf "%5.1f %10.1f  %s\n", n[f] * 100 / total,
						seconds / maps * 1e6 * n[f] / total, f | "sort -rn"
			close("sort -rn")
		}'
