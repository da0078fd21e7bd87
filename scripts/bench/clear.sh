#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# How fast each method of module/stores.h clears memory on this machine, and how much
# it disturbs a hot working set; in user space, as any user.
#
# usage: clear.sh
# environment:
#   ROUNDS    how often (15); the methods take turns, the table has medians
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/../.."
out=build/results/clear.json
mkdir -p build/tools "${out%/*}"
rm -f "$out"

for tool in gcc jq; do
	command -v $tool >/dev/null || {
		echo "bench-clear: no $tool: run 'make setup'" >&2
		exit 1
	}
done
gcc -O2 -Wall -Wextra -Werror -o build/tools/clear scripts/bench/clear.c
build/tools/clear ${ROUNDS:+"$ROUNDS"} >"$out.rows"
jq -s . "$out.rows" >"$out"
rm "$out.rows"

jq -L scripts/bench -r -f scripts/bench/clear-table.jq "$out" | awk -F'\t' -f scripts/bench/columns.awk
echo
jq -L scripts/bench -r -f scripts/bench/clear-legend.jq "$out"
echo "rows: $out"
