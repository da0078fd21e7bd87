#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The module and the KUnit suites built anew with everything that complains:
# gcc W=1, kernel-doc, sparse, and coccinelle on the module.  Not a word is
# allowed.
set -uo pipefail
cd "$(dirname "$(realpath "$0")")/.." || exit
# shellcheck source=scripts/ktap.sh
. scripts/ktap.sh

silent() {
	local out
	out=$("$@" 2>&1)
	local rc=$?
	! grep -E '(warning|error|WARNING|ERROR):' <<<"$out" && [ "$rc" -eq 0 ]
}

for part in module kunit; do
	dir=$PWD/build/mod/lab/$part
	[ -d "$dir" ] || continue
	find "$dir" -name '*.o' -delete
	t "$part: gcc W=1, kernel-doc and sparse are silent" \
		silent scripts/kmake.sh -C build/lab M="$dir" C=2 W=1 modules
done

# M= wants real files, and only ours are looked at.
cocci() {
	local out
	out=$(scripts/kmake.sh -C build/linux M="$PWD/module" MODE=report coccicheck 2>&1) ||
		{ echo "$out" | tail; return 1; }
	! grep -E "^$PWD/module/|^(\./)?module/.*:[0-9]+" <<<"$out"
}
t "module: coccinelle is silent" cocci
finish
