#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Build and test everything, on a bare machine.  Each part prints KTAP; a part
# without a result counts as one.  Last line: N passed, N failed.  "passed" counts
# tests only; style checks and builds have a line of their own.  "failed" counts all.
#
# usage: check.sh        what takes less than an hour
#        check.sh long   the rest; also writes Documentation/results/check-long.txt
set -uo pipefail
cd "$(dirname "$(realpath "$0")")/../.." || exit
mkdir -p build/logs build/results
parts=()
declare -A passed=([style]=0 [build]=0 [test]=0) failures=([style]=0 [build]=0 [test]=0)

# part style|build|test NAME COMMAND...  Subtests are shown only if they failed; the
# log has all.
part() {
	local kind=$1 name=$2 log=build/logs/check-${2//[^a-z0-9]/-}.log rc ok bad start=$SECONDS
	echo "== $name"
	"${@:3}" 2>&1 | tee "$log" | sed -uE '/^ +ok /d'
	rc=$?
	read -r ok bad _ < <(awk -f scripts/tests/count.awk "$log")
	if [ "$rc" -ne 0 ] && [ "$bad" -eq 0 ]; then
		echo "not ok $name"
		bad=1
	elif [ "$ok$bad" = 00 ]; then
		echo "ok $name"
		ok=1
	fi
	passed[$kind]=$((passed[$kind] + ok))
	failures[$kind]=$((failures[$kind] + bad))
	parts+=("$(printf '%-24s %6d %6d %8d' "$name" "$ok" "$bad" $((SECONDS - start)))")
	echo "   $((SECONDS - start)) s, $((SECONDS / 60)) min in all"
	return "$rc"
}

m() {
	make --no-print-directory "$@"
}

short() {
	part style "style" m style
	part test "counting" scripts/tests/host/count-test.sh
	part test "libvirt hook" scripts/tests/host/hook-test.sh
	part test "methods to clear" scripts/tests/host/clear-test.sh
	part test "apply to a tree" scripts/tests/host/apply-test.sh
	part build "the last patch" scripts/tests/host/each.sh
	if part build "kernel" m kernel && part build "module" m module-lab; then
		part style "module is clean" scripts/tests/host/module-check.sh
		part test "install" scripts/tests/host/install-test.sh
		part test "kunit" m kunit
		part build "lab image" m lab-image
		part test "lab runner" scripts/tests/host/runner-test.sh
		part test "lab" scripts/tests/cases.sh check
		part test "start of a guest" m bench-boot-short
		part test "README" scripts/tests/host/readme-test.sh
		if part build "debug kernel" m module-debug; then
			part test "lab on the debug kernel" scripts/tests/cases.sh debug
			part test "soak" m soak MINUTES=2
		fi
	fi
}

long() {
	part build "each patch" scripts/tests/host/each.sh all
	part test "each group" scripts/tests/host/groups.sh
	part test "kunit.py" m kunit-py
	if part build "kernels" m module-lab module-debug kernel-stock; then
		part test "long lab tests" scripts/tests/cases.sh long debug-slow stock
		part test "packages" m check-packages
		part test "cost" m cost
	fi
}

part build "setup" m setup
part build "source" m source
"${1:-short}"

others=$((failures[style] + failures[build]))
echo "$((passed[style] + failures[style])) style checks, $((passed[build] + failures[build])) builds:" \
	"$([ "$others" -eq 0 ] && echo ok || echo "$others failed")"
failed=$((others + failures[test]))
last="${passed[test]} passed, $failed failed"
if [ "${1:-}" = long ]; then
	{
		echo "\"make check-long\" of $(date -u +%F), $(git describe --always --dirty)"
		echo
		printf '%-24s %6s %6s %8s\n' part passed failed seconds
		printf '%s\n' "${parts[@]}" ""
		echo "$last"
	} >Documentation/results/check-long.txt
fi
echo "$last" | tee build/results/check
[ "$failed" -eq 0 ]
