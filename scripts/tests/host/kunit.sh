#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Run the KUnit suites in the lab; kunit.py counts the cases.
set -uo pipefail
cd "$(dirname "$(realpath "$0")")/../../.." || exit
out=build/runs/kunit/out.log

scripts/build/modules.sh lab module kunit || exit
scripts/lab/run.sh --untimed --memory 5G --name kunit scripts/tests/guest/kunit.sh | grep -E '^(ok|not ok|#) |^ *(not )?ok '
rc=$?

# kunit.py expects the plan first.
{
	echo "KTAP version 1"
	grep '^1\.\.' $out
	grep -vE '^(KTAP version 1|1\.\.|# lab:)' $out
} | timeout 60 build/linux/tools/testing/kunit/kunit.py parse >build/logs/kunit.log 2>&1 || rc=1
tail -n 1 build/logs/kunit.log
exit "$rc"
