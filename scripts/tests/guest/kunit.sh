#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Load every KUnit module and print its suites' results, each as one test.
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh

RESULTS=/sys/kernel/debug/kunit

# A module's init succeeds even if its tests fail: look at the results.  A suite that
# was skipped did not pass.  Each suite's results are a KTAP document with one test.
# Without its first two lines, and with the number of this script, that test is one
# of this script's.
suite() {
	KTAP_N=$((KTAP_N + 1))
	grep -q "^ok 1 [^#]*$" "$1/results" || KTAP_FAILED=$((KTAP_FAILED + 1))
	sed -e 1,2d -e "s/^\(not \)\{0,1\}ok 1 /\1ok $KTAP_N /" "$1/results"
}

# Huge pages of all sizes, for the suite that pins them
huge_pages() {
	setup_thp
	hugetlb_pool hugetlb1g $((1 << 30))
	hugetlb_pool hugetlb2m $((8 << 20))
	mount -t hugetlbfs -o pagesize=1G hugetlbfs /dev/hugepages1G
}

no_huge_pages() {
	umount /dev/hugepages1G
	hugetlb_pool hugetlb2m 0
	hugetlb_pool hugetlb1g 0
}

for module in /lab/kunit/*.ko; do
	[ -e "$module" ] || die "no KUnit module: run 'make kunit'"
	# The page allocator's suites need to be without a client, the module's suite
	# needs the module.
	if [ ! -d "$PREZERO" ] && tr '\0' '\n' <"$module" | grep -q '^depends=.*prezero'; then
		load_prezero || die "prezero.ko does not load"
	fi
	[ "${module##*/}" != gup_runs_kunit.ko ] || huge_pages
	before=$(ls "$RESULTS")
	insmod "$module" || die "$module does not load: see the kernel log"
	for dir in "$RESULTS"/*; do
		echo "$before" | grep -qxF "${dir##*/}" || suite "$dir"
	done
	[ "${module##*/}" != gup_runs_kunit.ko ] || no_huge_pages
done
finish
