#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Everything, on a bare machine.  Each part prints its own ok and not ok lines;
# a part that prints none is one check.  Last line: N passed, N failed.
set -uo pipefail
cd "$(dirname "$(realpath "$0")")/../.." || exit
mkdir -p build/logs build/results
passed=0 failed=0

part() {
	local log=build/logs/check-${1//[^a-z0-9]/-}.log rc ok bad start=$SECONDS
	echo "== $1"
	"${@:2}" 2>&1 | tee "$log"
	rc=$?
	ok=$(grep -c '^ok ' "$log")
	bad=$(grep -c '^not ok ' "$log")
	if [ "$rc" -ne 0 ] && [ "$bad" -eq 0 ]; then
		echo "not ok $1"
		bad=1
	elif [ "$ok$bad" = 00 ]; then
		echo "ok $1"
		ok=1
	fi
	passed=$((passed + ok)) failed=$((failed + bad))
	echo "   $((SECONDS - start)) s, $((SECONDS / 60)) min in all"
	return "$rc"
}

m() {
	make --no-print-directory "$@"
}

part "setup" m setup
part "source" m source
part "style" m style
part "libvirt hook" scripts/tests/host/hook-test.sh
part "apply to a tree" scripts/tests/host/apply-test.sh
part "each patch" scripts/tests/host/each.sh
if part "kernel" m kernel && part "module" m module-lab; then
	part "module is clean" scripts/tests/host/module-check.sh
	part "install" scripts/tests/host/install-test.sh
	part "kunit" m kunit
	part "lab image" m lab-image
	part "lab runner" scripts/tests/host/runner-test.sh
	part "lab" scripts/tests/cases.sh check
	part "start of a guest" m bench-boot-short
	if part "debug kernel" m module-debug; then
		part "lab on the debug kernel" scripts/tests/cases.sh debug
		part "soak" m soak MINUTES=2
	fi
fi
echo "$passed passed, $failed failed" | tee build/results/check
[ "$failed" -eq 0 ]
