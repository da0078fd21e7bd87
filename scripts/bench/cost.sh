#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What the feature costs, in instructions and holds of zone->lock counted by QEMU:
# faults, allocations and frees with 6.12, with the series (leaf), with prezero
# enabled and nothing cleared, and with everything cleared (leaf+prezero); and a
# pass of prezero over memory that is cleared. The tables are in
# build/results/cost.txt, their rows in cost.json.
#
# Fails when with leaf a fault or an allocation takes over 0.5 % more than with 6.12,
# or a free over 20 instructions more; when a pass with nothing to do takes over
# 5000 instructions; or when cleared memory does not make faults and requests for
# zeroes cheaper.
set -uo pipefail
cd "$(dirname "$(realpath "$0")")/../.." || exit
# shellcheck source=scripts/ktap.sh
. scripts/ktap.sh
results=build/results
mkdir -p $results

# lab NAME PREFIX OPTION... SCRIPT ARG...: its lines that begin with PREFIX
lab() {
	scripts/lab/run.sh --icount --time 600 --name "$1" "${@:3}" >"$results/$1.log" || {
		cat "$results/$1.log"
		return 1
	}
	grep "^$2 " "$results/$1.log" >"$results/$1"
}

measure() {
	scripts/build/modules.sh cost-stock scripts/lab/modules/cost || return
	scripts/build/modules.sh cost scripts/lab/modules/cost module || return
	lab cost-stock cost --prealloc --kernel cost-stock --memory 1G scripts/bench/cost-guest.sh 6.12 || return
	lab cost-lab cost --prealloc --kernel cost --memory 1G scripts/bench/cost-guest.sh leaf enabled leaf+prezero
}

# A CMA area of 1 GiB does not fit into 2 GiB, of which some is in use.
measure_passes() {
	local cases="plain highatomic poison" gib
	for gib in 2 64; do
		# shellcheck disable=SC2086
		lab "pass-$gib" pass --sparse --kernel cost --memory "${gib}G" scripts/bench/pass-guest.sh $cases || return
	done
	for gib in 4 64; do
		lab "pass-cma-$gib" pass --sparse --kernel cost --memory "${gib}G" --append hugetlb_cma=1G scripts/bench/pass-guest.sh cma || return
	done
}

t "faults, allocations and frees are counted" measure
t "passes are counted" measure_passes
[ "$KTAP_FAILED" -eq 0 ] || finish

sed 's/^cost //' $results/cost-stock $results/cost-lab | jq -Rn '[inputs | split(" ") | {state: .[0], what: .[1], instructions: (.[2] | tonumber), holds: (.[3] | tonumber)}]
	| reduce .[] as $r ({}; .[$r.what] += {($r.state): ($r | {instructions, holds})})
	| to_entries | map({what: .key} + .value)' >$results/cost-rows.json
for run in pass-2 pass-64 pass-cma-4 pass-cma-64; do
	sed "s/^pass/${run##*-}/" "$results/$run"
done | jq -Rn '[inputs | split(" ") | {gib: (.[0] | tonumber), case: .[1], instructions: (.[2] | tonumber), holds: (.[3] | tonumber), blocks: (.[4] | tonumber)}]' >$results/cost-passes.json
jq -n --slurpfile rows $results/cost-rows.json --slurpfile passes $results/cost-passes.json \
	'{rows: $rows[0], passes: $passes[0]}' >$results/cost.json

{
	cat <<-LEGEND
	Instructions and holds of zone->lock, for one fault, allocation or free

	6.12          the kernel without the series
	leaf          the series, prezero not loaded
	enabled       prezero enabled, nothing cleared
	leaf+prezero  all free memory cleared

	percpu    allocate and free, by way of the per-cpu list
	same      allocate and free, by way of the free list of that order
	split     allocate and free, split off order 10 and merged with it again
	alloc     allocate 64 MiB block after block (order 0: 16); zero: with __GFP_ZERO
	free      free them, until they are on the free lists
	again     fault in 4 MiB and give them back, 20 times

	LEGEND
	jq -L scripts/bench -r 'include "stats";
		def more($base): (. / $base - 1) * 100 | fixed(2) + "%";
		["", "", "6.12", "leaf", "", "enabled", "", "leaf+prezero", "", "holds:6.12", "leaf", "enabled", "leaf+prezero"],
		(.rows[] | [(.what | capture("(?<of>fault|order-[0-9]+)-(?<kind>.*)") | .of, .kind), (."6.12".instructions as $base | ($base | fixed(1)),
			(.leaf, .enabled, ."leaf+prezero" | .instructions | fixed(1), more($base))),
			(."6.12", .leaf, .enabled, ."leaf+prezero" | .holds | fixed(3))])
		| @tsv' $results/cost.json | awk -F'\t' -f scripts/bench/columns.awk
	cat <<-LEGEND

	A pass over cleared memory, with nothing left to clear

	plain       nothing special
	highatomic  with a free block that is reserved for atomic allocations
	poison      with a memory error in a block that was freed
	cma         with a free CMA area of 1 GiB

	LEGEND
	jq -r '["GiB", "case", "instructions", "holds", "blocks"],
		(.passes[] | [.gib, .case, .instructions, .holds, .blocks]) | @tsv' $results/cost.json |
		awk -F'\t' -f scripts/bench/columns.awk
} | tee $results/cost.txt

# none FILTER: rows or passes that are not as they should be; none is right
none() {
	jq -ce "$1" "$results/cost.json" || return 0
	return 1
}

t "leaf: faults, allocations and what per-cpu lists serve, within 0.5 % of 6.12" none '.rows[]
	| select(.what | test("-(free|same)$") | not)
	| select(.leaf.instructions > ."6.12".instructions * 1.005)
	| {what, "6.12": ."6.12".instructions, leaf: .leaf.instructions}'
# With the feature off __free_one_page() has the source that it has in 6.12, and a
# patched-out branch. But gcc 12 chooses other registers for it, and saves and
# restores more of them: 7 to 21 instructions for each free.
t "leaf: frees to the free lists take no more than 20 instructions more" none '.rows[]
	| select(.what | test("-(free|same)$"))
	| select(.leaf.instructions > ."6.12".instructions + 20 and
		.leaf.instructions > ."6.12".instructions * 1.005)
	| {what, "6.12": ."6.12".instructions, leaf: .leaf.instructions}'
# Faults are left out: how full a fault finds the per-cpu list depends on what ran
# before.
t "leaf: allocations and frees take zone->lock no more often" none '.rows[]
	| select(.what | startswith("order"))
	| select(.leaf.holds > ."6.12".holds + 0.001)
	| {what, "6.12": ."6.12".holds, leaf: .leaf.holds}'
# Single pages are left out: the search for one that is cleared takes as many
# instructions as clearing it, some 500. (Those that clear take more time.)
t "leaf+prezero: huge faults and requests for more than a page take less than with 6.12" none '.rows[]
	| select(.what | test("^fault-thp$|^order-([1-9]|10)-zero$"))
	| select(."leaf+prezero".instructions >= ."6.12".instructions)
	| {what, "6.12": ."6.12".instructions, "leaf+prezero": ."leaf+prezero".instructions}'
t "at rest: a pass takes 5000 instructions at most" none '.passes[] | select(.instructions > 5000)'
t "at rest: a pass clears nothing again" none '.passes[] | select(.blocks > 0)'
finish
