#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# run.sh reports each kind of failure: one run for each.
#
# usage: runner-test.sh [KERNEL]
set -uo pipefail
top=$(realpath "$(dirname "$0")/../../..")
kernel=${1:-lab}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# shellcheck source=scripts/ktap.sh
. "$top/scripts/ktap.sh"

# script LINE...: write the script to run in the lab
script() {
	printf '%s\n' '. /lab/lib.sh' "$@" >"$work/runner.sh"
}

run() {
	"$top/scripts/lab/run.sh" --kernel "$kernel" --memory 512M --time 20 --name runner "$work/runner.sh" 2>&1
}

# fails MESSAGE: the run fails with this message
fails() {
	! run >"$work/out" || { echo "it passed"; return 1; }
	cat "$work/out"
	grep -q "$1" "$work/out"
}

# raw STATUS OUTPUT: run.sh --raw returns the status and output of a command
raw() {
	local rc=0
	"$top/scripts/lab/run.sh" --raw --kernel "$kernel" --memory 512M --time 20 --name runner "$work/runner.sh" >"$work/out" || rc=$?
	cat "$work/out"
	echo "status $rc"
	[ "$rc" -eq "$1" ] && [ "$(cat "$work/out")" = "$2" ]
}

# Files in the libvirt lab's /out are on this machine afterwards.
in_libvirt_lab() {
	local rc=0
	"$top/scripts/lab/run.sh" --disk --raw --kernel "$kernel" --memory 2G --time 120 --name runner "$top/scripts/lab/shell.sh" \
		'virsh version >/out/version; ls /lab/prezero.ko; exit 5' >"$work/out" || rc=$?
	cat "$work/out" "$top/build/runs/runner/out/version"
	[ "$rc" -eq 5 ] && grep -q '^/lab/prezero.ko$' "$work/out" &&
		grep -q 'Running hypervisor: QEMU' "$top/build/runs/runner/out/version"
}

script 't "fine" true' 'finish'
t "a run that passes, passes" run
script 't "fine" true' 't "not fine" false' 'finish'
t "a failed test fails the run" fails "a test failed"
script 't "fine" true' 'echo 1..1' 'exit 3'
t "a bad exit status fails the run" fails "the script failed"
script 't "fine" true' 'exit 0'
t "a script without a plan fails the run" fails "the plan says nothing"
script 't "fine" true' 'echo 1..2' 'exit 0'
t "a short count fails the run" fails "1 tests passed, the plan says 2"
script 't "fine" true' 'printf "TAP version 13\n1..2\nok 1 a\nok 2 b\n" >/tmp/ktap' 't_ktap cat /tmp/ktap' 'finish'
t "a program's own results are counted" run
script 'printf "1..2\nok 1 a\nnot ok 2 b\n" >/tmp/ktap' 't_ktap cat /tmp/ktap' 'finish'
t "one of them that failed fails the run" fails "not ok 2 b"
script 'printf "1..1\nok 1 a # SKIP b\n" >/tmp/ktap' 't_ktap cat /tmp/ktap' 'finish'
t "one that was skipped does, too" fails "not ok 1 a"
script 'printf "1..2\nok 1 a\n" >/tmp/ktap' 't_ktap cat /tmp/ktap' 'finish'
t "fewer results than the program's plan says fail the run" fails "not ok 2 .*1 results, the plan says 2"
script 't "fine" true' 't_ktap false' 'finish'
t "a program without a plan fails the run" fails "not ok 2 false"
script 't "fine" true' 'echo "WARNING: CPU: 0 PID: 1 at mm/x.c:1" >/dev/kmsg' 'finish'
t "a warning in the kernel log fails the run" fails "the kernel complained"
script 't "fine" true' 'echo "BUG: Bad page state in process x" >/dev/kmsg' 'finish'
t "a bad page in the kernel log fails the run" fails "Bad page state"
script 'echo c >/proc/sysrq-trigger'
t "a panic fails the run" fails "did not come to its end"
script 'sleep 1000'
t "running out of time fails the run" fails "no end after 20 s"
printf 'echo one; exit 7\n' >"$work/runner.sh"
t "a command's status and output come back" raw 7 one
printf 'printf one\n' >"$work/runner.sh"
t "output without a newline at the end comes back, too" raw 0 one
printf 'echo "WARNING: CPU: 0 PID: 1 at mm/x.c:1" >/dev/kmsg\n' >"$work/runner.sh"
t "a warning in the kernel log fails a command" raw 1 ''
t "a command in the libvirt lab" in_libvirt_lab
finish
