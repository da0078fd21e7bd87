#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# prezero with its defaults clears in idle time only, and does not run on isolated
# CPUs.  Needs three CPUs, and "isolcpus=1".
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh

passes() {
	passes_want=$(($(cat "$PREZERO/passes") + $1))
	for _ in $(seq 300); do
		[ "$(cat "$PREZERO/passes")" -lt "$passes_want" ] || return 0
		sleep 0.1
	done
	echo "no $1 passes in 30 s"
	return 1
}

thread() {
	grep -lx prezero /proc/[0-9]*/comm | cut -d/ -f3
}

# The CPUs that the thread may run on, after it had the time to move
allowed() {
	passes 2 || return 1
	sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' "/proc/$(thread)/status" | tee /tmp/allowed
	[ "$(cat /tmp/allowed)" = "$1" ]
}

# The name may contain anything, so count fields after it: the state is the first,
# the policy the 39th.  SCHED_IDLE is 5.
sched_idle() {
	[ "$(sed 's/.*) //' "/proc/$(thread)/stat" | cut -d' ' -f39)" = 5 ]
}

cleared() {
	vmstat prezero_cleared
}

partition() {
	mkdir /sys/fs/cgroup/isolated &&
		echo 2 >/sys/fs/cgroup/isolated/cpuset.cpus &&
		echo isolated >/sys/fs/cgroup/isolated/cpuset.cpus.partition &&
		grep -x isolated /sys/fs/cgroup/isolated/cpuset.cpus.partition
}

# A busy task on each CPU that the thread may use.  A block that the thread had
# begun before may still be put back, so counting starts after that.
nothing_cleared_when_busy() {
	for cpu in 0 2; do
		taskset -c "$cpu" sh -c 'while :; do :; done' &
	done
	busy=$(jobs -p)
	sleep 0.5
	echo 1 >"$PREZERO/flush"
	busy_before=$(cleared)
	passes 5
	busy_rc=$?
	busy_after=$(cleared)
	# The list is words.
	# shellcheck disable=SC2086
	kill $busy
	echo "$busy_before -> $busy_after, $(cat "$PREZERO/passes_stopped") passes stopped"
	[ "$busy_rc" = 0 ] && [ "$busy_after" = "$busy_before" ]
}

clears_again() {
	echo 1 >"$PREZERO/flush"
	wait_cleared
}

[ "$(cat /sys/devices/system/cpu/isolated)" = 1 ] || die "boot with isolcpus=1"
t "it loads" insmod /lab/prezero.ko allow_guest=1 || die "nothing to test"
t "it is on" test "$(cat "$PREZERO/enabled")" = 1
t "in idle time only" test "$(cat "$PREZERO/idle_only")" = 1
t "every 2 s" test "$(cat "$PREZERO/interval_ms")" = 2000
t "and clears free memory" wait_cleared
echo 100 >"$PREZERO/interval_ms"
t "its thread is SCHED_IDLE" sched_idle
t "and keeps off the CPU isolated at boot" allowed 0,2
t "it clears nothing while other tasks want the CPUs" nothing_cleared_when_busy
t "and goes on afterwards" clears_again
t "a CPU goes offline" sh -c 'echo 0 >/sys/devices/system/cpu/cpu2/online'
t "its thread moves to another CPU" allowed 0
t "and goes on clearing" clears_again
t "the CPU comes back" sh -c 'echo 1 >/sys/devices/system/cpu/cpu2/online'
t "and its thread may use it" allowed 0,2
echo +cpuset >/sys/fs/cgroup/cgroup.subtree_control
t "a cpuset partition isolates a CPU" partition
t "its thread keeps off that one" allowed 0
t "and goes on clearing" clears_again
t "it unloads" rmmod prezero
finish
