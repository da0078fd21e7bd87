#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The KUnit suites built into a kernel of their own, configured, built and run by
# the kernel's tools/testing/kunit/kunit.py with kunit/.kunitconfig.  (As modules,
# in the lab, "make kunit" runs them.)
#
# Built in, the suites run before user space: cases that need a mounted sysfs or
# hugetlbfs are skipped and say so.
#
# usage: kunit-py.sh [SUITE.CASE]    as kunit.py takes it, with wildcards
set -uo pipefail
cd "$(dirname "$(realpath "$0")")/../../.." || exit
linux=build/linux tree=$PWD/build/linux-kunit log=$PWD/build/logs/kunit-py.log
mkdir -p build/logs

# The series, with module/ and kunit/ as a directory of the tree
git -C $linux worktree prune
[ -d "$tree" ] || git -C $linux worktree add -q --detach "$tree" series || exit
git -C "$tree" checkout -q -f --detach "$(git -C $linux rev-parse series)" || exit
rm -rf "$tree/prezero"
for dir in module kunit; do
	mkdir -p "$tree/prezero/$dir"
	cp -p $dir/*.[ch] $dir/Kbuild $dir/Kconfig "$tree/prezero/$dir/" || exit
	echo "obj-y += prezero/$dir/" >>"$tree/Kbuild"
	echo "source \"prezero/$dir/Kconfig\"" >>"$tree/Kconfig"
done

# Memory on both sides of 4 GiB, a second CPU, and pages of a hugetlb pool are
# what single cases ask for.
kunit=(tools/testing/kunit/kunit.py run --arch=x86_64
	--kunitconfig="$PWD/kunit/.kunitconfig" --build_dir="$PWD/build/kunit-py"
	--make_options="CC=ccache gcc" --jobs="$(nproc)" --timeout=900
	--kernel_args=no_timer_check
	--qemu_args="-smp 2 -m 5G -cpu max,-la57")
scripts/build/progress.sh "kunit.py" "$log" \
	env -C "$tree" "${kunit[@]}" "$@"
rc=$?
grep -aE '^\[[0-9:]+\] (Testing complete|\[(FAILED|SKIPPED)\]|=+ \[)' "$log" | sed 's/^\[[0-9:]*\] //'
# A kernel that stops half way has no plan to miss: count what must have run.
for suite in page_prezero page_reporting gup_runs prezero_module; do
	[ $# -gt 0 ] || grep -aqE "\[PASSED\] $suite |= \[PASSED\] $suite =|\[PASSED\] $suite$" "$log" || {
		echo "not ok kunit.py: suite $suite did not pass, see ${log#"$PWD"/}"
		rc=1
	}
done
exit "$rc"
