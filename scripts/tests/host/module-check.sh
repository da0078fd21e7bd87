#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# gcc W=1, kernel-doc and sparse have nothing to say about the module and the KUnit
# suites, nor has coccinelle about the module.
set -uo pipefail
cd "$(dirname "$(realpath "$0")")/../../.." || exit
# shellcheck source=scripts/ktap.sh
. scripts/ktap.sh

silent() {
	local out
	out=$("$@" 2>&1)
	local rc=$?
	! grep -E '(warning|error|WARNING|ERROR):' <<<"$out" && [ "$rc" -eq 0 ]
}

scripts/build/modules.sh lab module kunit || exit
for part in module kunit; do
	dir=$PWD/build/mod/lab/$part
	find "$dir" -name '*.o' -delete
	t "$part: gcc W=1, kernel-doc and sparse are silent" \
		silent scripts/build/kmake.sh -C build/lab M="$dir" C=2 W=1 modules
done

# The kernel's own rules. Left out are the few in OCaml ("make coccicheck" would need
# the compiler, which is larger than all other packages), and the one against testing
# addresses: the module tests which symbols the kernel has.
cocci() {
	local rule out options
	while read -r rule; do
		options=$(sed -n 's,^// Options: ,,p' "$rule")
		# Word splitting is wanted: the rule's own options.
		# shellcheck disable=SC2086
		out=$(spatch -D report --no-show-diff --very-quiet $options \
			--cocci-file "$rule" module/*.c 2>&1 | grep '^module/.*:[0-9]') || continue
		printf '%s\n' "${rule#build/linux/scripts/}" "$out"
	done < <(grep -rlE 'virtual report' build/linux/scripts/coccinelle |
		xargs grep -LE '(initialize|script):ocaml' | grep -v /test_addr.cocci | sort) | tee "$found"
	[ ! -s "$found" ]
}
found=$(mktemp)
trap 'rm -f "$found"' EXIT
t "module: coccinelle is silent" cocci
finish
