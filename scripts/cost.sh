#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What the feature costs while it is compiled in and off: instructions per
# anonymous 4K fault and per allocation and free, beside the unpatched kernel.
# Fails when 4K faults or order-0 allocations take over 0.5 % more.
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/.."
# shellcheck source=scripts/ktap.sh
. scripts/ktap.sh
out=build/results/cost.txt
mkdir -p build/results

for kernel in stock lab; do
	scripts/modules.sh "$kernel" scripts/lab/cost
	scripts/lab/run.sh -i -p -k "$kernel" -m 1G -t 300 -o "cost-$kernel" \
		scripts/tests/cost-lab.sh | tee "build/results/cost-$kernel.log" |
		grep -v '^cost' || true
	grep '^cost ' "build/results/cost-$kernel.log" >"build/results/cost-$kernel"
done

join -j 2 -o 1.2,1.3,2.3 <(sort -u -k2,2 build/results/cost-stock) <(sort -u -k2,2 build/results/cost-lab) |
	awk 'BEGIN { printf "%-22s %12s %12s %9s\n", "instructions per", "unpatched", "compiled in", "more" }
		{ printf "%-22s %12.2f %12.2f %8.2f%%\n", $1, $2, $3, ($3 / $2 - 1) * 100 }' | tee "$out"

limit() {
	awk -v n="$1" '$1 == n { found = 1; exit !($4 + 0 <= 0.5) } END { if (!found) exit 1 }' "$out"
}
t "off: 4K faults within 0.5 % of unpatched" limit fault-4k
t "off: order-0 allocations within 0.5 % of unpatched" limit alloc-free-order-0
finish
