#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Break the kernel patches one rule at a time, and see that a KUnit case fails.
#
# usage: run.sh [N...]	(default: all of mutants.list)
#
# The kernel build/mutants is the lab kernel with mutants.patch, which adds the
# boot parameter prezero_mutation=N. Needs build/linux (make source).
set -euo pipefail
here=$(dirname "$(realpath "$0")")
cd "$here/../.."
tree=build/linux-mutants

if [ -d "$tree" ]; then
	git -C "$tree" reset --quiet --hard series
else
	git -C build/linux worktree prune
	git -C build/linux worktree add --quiet --detach ../linux-mutants series
fi
git -C "$tree" apply "$here/mutants.patch" || {
	echo "mutants: mutants.patch does not fit the series any more: adapt it" >&2
	exit 1
}
scripts/build/kbuild.sh mutants linux-mutants scripts/lab/lab.config Kconfig.fragment
scripts/build/modules.sh mutants module kunit

# boot N SUITE: run it, and print the cases that fail
boot() {
	scripts/lab/run.sh --untimed --kernel mutants --memory 5G --name "mutant-$1" \
		--append "prezero_mutation=$1 kunit.filter_glob=$2" \
		scripts/tests/guest/kunit.sh </dev/null >/dev/null 2>&1 || true
	grep -aoE '    (not )?ok [0-9]+ [a-z0-9_]+' "build/runs/mutant-$1/console.log" |
		awk '$1 == "not" { print $4 } $1 == "ok" { n++ } END { if (!n) print "no-case-ran" }' |
		sort -u || true
}

# A case that fails without a mutation, too, shows nothing.
failed=$(boot 0 '*')
[ -z "$failed" ] || {
	echo "mutants: these fail with nothing broken: $failed" >&2
	exit 1
}

# mutant N CASE RULE: run the suite that has the case, say whether that failed
mutant() {
	local suite=page_prezero failed
	# Only that suite: it takes a third of the time.
	! grep -q "KUNIT_CASE.*($2[,)]" kunit/page_reporting_kunit.c || suite=page_reporting
	! grep -q "KUNIT_CASE.*($2[,)]" kunit/gup_runs_kunit.c || suite=gup_runs
	failed=$(boot "$1" "$suite")
	if grep -qx "$2" <<<"$failed"; then
		printf '%s\t%s\tcaught by: %s\n' "$1" "$3" "$(tr '\n' ' ' <<<"$failed")"
	else
		printf '%s\t%s\tNOT CAUGHT by %s; failed: %s\n' "$1" "$3" "$2" "${failed:-none}"
	fi
}

results=$(mktemp)
trap 'rm -f "$results"' EXIT
while IFS=$'\t' read -r n case rule; do
	[[ $n =~ ^[0-9]+$ ]] || continue
	[ $# -eq 0 ] || [[ " $* " == *" $n "* ]] || continue
	while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do
		wait -n || true
	done
	mutant "$n" "$case" "$rule" | tee -a "$results" &
done <"$here/mutants.list"
wait

mutants=$(wc -l <"$results")
survived=$(grep -c 'NOT CAUGHT by' "$results" || true)
[ "$mutants" -gt 0 ] || { echo "mutants: no such mutant" >&2; exit 1; }
echo "$mutants mutants, $survived not caught"
[ "$survived" -eq 0 ]
