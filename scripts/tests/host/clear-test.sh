#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The methods to clear memory (module/stores.h) in user space, and make bench-clear.
set -uo pipefail
cd "$(dirname "$(realpath "$0")")/../../.." || exit
# shellcheck source=scripts/ktap.sh
. scripts/ktap.sh
mkdir -p build/tools build/logs
log=build/logs/stores-test.log

subtests() {
	cat "$log"
	: >"$log"
}

methods() {
	gcc -O2 -Wall -Wextra -Werror -pthread -o build/tools/stores-test scripts/tests/host/stores-test.c &&
		build/tools/stores-test >"$log"
}

bench() {
	ROUNDS=1 scripts/bench/clear.sh
}

# Each extent has a row for each method and for none. No memory does 1000 GB/s.
rows() {
	jq -e '
		group_by(.extent) as $extents
		| ($extents | length >= 2)
		and ($extents | map(map(.method) | sort) | unique | length == 1)
		and ($extents[0] | map(.method) | contains(["none", "clear_page"]))
		and all(.[]; .hot_us > 0 and
			(if .method == "none" then .gbps == null else .gbps > 0.01 and .gbps < 1000 end))
		' build/results/clear.json
}

: >"$log"
t "each method clears what it is told to" methods
t "make bench-clear prints its table" bench
t "its rows are complete" rows
finish
