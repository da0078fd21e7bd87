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

# Some cases need memory on both sides of 4 GiB, or a second CPU.
kunit=(tools/testing/kunit/kunit.py run --arch=x86_64
	--kunitconfig="$PWD/kunit/.kunitconfig" --build_dir="$PWD/build/kunit-py"
	--make_options="CC=ccache gcc" --jobs="$(nproc)" --timeout=900
	--kernel_args=no_timer_check
	--qemu_args="-smp 2 -m 5G -cpu max,-la57")
scripts/build/progress.sh "kunit.py" "$log" \
	env -C "$tree" "${kunit[@]}" "$@"
rc=$?
grep -aE '\[FAILED\]|Testing complete' "$log"
# A suite that was not built in would not fail.
for suite in page_prezero page_reporting gup_runs prezero_stores prezero_module; do
	[ $# -gt 0 ] || grep -aqF "[PASSED] $suite " "$log" || {
		echo "not ok kunit.py: suite $suite did not pass: see ${log#"$PWD"/}"
		rc=1
	}
done
# Any other reason is one that .kunitconfig or QEMU's arguments can mend.
if grep -a '# SKIP' build/kunit-py/test.log | grep -avE 'built in, it runs before|^ *ok [0-9]+ knob_test_write # SKIP'; then
	echo "not ok kunit.py: these cases were skipped for want of something"
	rc=1
fi
[ "$rc" -ne 0 ] || echo "skipped: only cases that need sysfs or hugetlbfs mounted; 'make kunit' runs them"
exit "$rc"
