#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Map memory for DMA in the lab, and print one table: leaf and leaf+prezero on the
# kernel "lab", 6.12 on the kernel "stock".
#
# usage: map.sh [lab|stock]...   kernels to run, side by side
# environment:
#   N         GiB to map (4); the VM has 3 * N, and 2 more with hugetlb1g
#   REPEAT    how often (1); the kernels take turns, the table has medians
#   ICOUNT    set: counted time instead of wall time
#   BACKINGS  which memory (thp 4k memfd; tmpfs hugetlb2m hugetlb1g 4kfrag memfd-qemu)
#   PIN_BATCH values of that parameter to compare with its default (1 512)
#   IOMMUFD   set: also through iommufd's version of the container
#   APPEND    more kernel command line; "init_on_alloc=1" is Debian's default
set -euo pipefail
here=$(dirname "$(realpath "$0")")
top=$(realpath "$here/../..")
n=${N:-4} repeat=${REPEAT:-1} out=$top/build/results/map.json
read -ra backings <<<"${BACKINGS:-thp 4k memfd}"
kernels=("${@:-lab}")
mkdir -p "${out%/*}"
rm -f "$out"
rows=$(mktemp)
trap 'rm -f "$rows"' EXIT

timing=(--prealloc --append "${APPEND:-}")
[ -z "${ICOUNT:-}" ] || timing+=(--icount)
mem=$((n * 3))
# Gigantic pages need unfragmented memory, and some more of it: they come first.
if [[ " ${backings[*]} " = *" hugetlb1g "* ]]; then
	mem=$((mem + 2))
	backings=(hugetlb1g "${backings[@]/hugetlb1g/}")
	mapfile -t backings < <(printf '%s\n' "${backings[@]}" | grep .)
fi
limit=$((120 + 60 * n * ${#backings[@]} * (1 + $(wc -w <<<"${PIN_BATCH:-} ${IOMMUFD:-}"))))
for ((r = 1; r <= repeat; r++)); do
	for kernel in "${kernels[@]}"; do
		modes="leaf leaf+prezero"
		if [ "$kernel" = stock ]; then
			modes=6.12
		else
			for batch in ${PIN_BATCH:-}; do
				modes="$modes pin_batch=$batch"
			done
		fi
		[ -z "${IOMMUFD:-}" ] || modes="$modes iommufd"
		echo "$kernel kernel, $n GiB of ${backings[*]}, run $r of $repeat"
		"$top/scripts/lab/run.sh" --kernel "$kernel" --memory "${mem}G" "${timing[@]}" --time $limit \
			--name "map-$kernel" "$here/map-guest.sh" $((n << 10)) $r $r "$modes" \
			"${backings[@]}" >"$rows.out" || {
			cat "$rows.out"
			exit 1
		}
		grep '^{' "$rows.out" >>"$rows"
		rm -f "$rows.out"
	done
done
jq -s --argjson counted "$([ -n "${ICOUNT:-}" ] && echo true || echo false)" \
	'map(. + {counted: $counted})' "$rows" >"$out"

echo
jq -L "$here" -r -f "$here/map-table.jq" "$out" | awk -F'\t' -f "$here/columns.awk"
echo
echo "rows: ${out#"$top"/}"
