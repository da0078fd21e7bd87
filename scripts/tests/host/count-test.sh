#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# What check.sh counts of the KTAP lines it reads.
set -uo pipefail
cd "$(dirname "$(realpath "$0")")/../../.." || exit
# shellcheck source=scripts/ktap.sh
. scripts/ktap.sh

# counts "PASSED FAILED SKIPPED" LINE...
counts() {
	local got
	got=$(printf '%s\n' "${@:2}" | awk -f scripts/tests/count.awk)
	echo "$got"
	[ "$got" = "$1" ]
}

t "no result is no test" counts "0 0 0" "# ok 1 a comment" "1..0" "token 1"
t "results on one level are tests" counts "2 1 0" "ok 1 a" "not ok 2 b" "ok 3 c" "1..3"
t "a sum of passed tests is not a test" counts "3 0 0" "    ok 1 a" "    ok 2 b" "ok 1 suite" "ok 2 c"
t "nor is a sum of sums" counts "2 0 0" "        ok 1 a" "        ok 2 b" "    ok 1 case" "ok 1 suite"
t "a failed sum of a failed test counts once" counts "1 1 0" "    ok 1 a" "    not ok 2 b" "not ok 1 suite"
t "a failed sum of passed tests counts" counts "2 1 0" "    ok 1 a" "    ok 2 b" "not ok 1 suite"
t "a skipped test has not passed" counts "1 0 1" "ok 1 a # SKIP no second CPU" "ok 2 b"
finish
