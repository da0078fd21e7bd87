#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# In the lab, in counted time: instructions and holds of zone->lock per fault,
# allocation and free. Prints lines of "cost STATE NAME INSTRUCTIONS HOLDS";
# scripts/bench/cost.sh compares kernels.
#
# usage: cost-guest.sh STATE...
#   6.12          the kernel without the series
#   leaf          the series, prezero not loaded
#   enabled       prezero enabled, no memory cleared
#   leaf+prezero  all free memory cleared before each measurement
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh

COST=/sys/module/cost/parameters

# ratio A B: A/B with three digits
ratio() {
	echo "$(($1 / $2)).$(printf %03d $(($1 % $2 * 1000 / $2)))"
}

enter() {
	case $1 in
	enabled)
		echo 1 >"$PREZERO/enabled" && no_more_passes &&
			echo 1 >"$PREZERO/flush" &&
			[ "$(free_zeroed)" = 0 ]
		;;
	esac
}

# The last measurement used some of the cleared memory: wait until it is back.
ready() {
	[ "$STATE" = leaf+prezero ] || return 0
	echo 100 >"$PREZERO/interval_ms" && wait_cleared >/dev/null && no_more_passes
}

# run KIND ORDER, or run fault KIND: sets INSTRUCTIONS and HOLDS
run() {
	ready || return
	if [ "$1" = fault ]; then
		run_holds=$(cat "$COST/holds")
		fault-loop "$2" >/tmp/fault || return
		read -r run_ns run_nr </tmp/fault
		run_holds=$(($(cat "$COST/holds") - run_holds))
	else
		echo "$1 $2" >"$COST/run" || return
		read -r run_ns run_holds run_nr <"$COST/run"
	fi
	INSTRUCTIONS=$(ratio "$run_ns" "$run_nr")
	HOLDS=$(ratio "$run_holds" "$run_nr")
}

# measure NAME ARG...: run twice, because counting holds takes instructions
measure() {
	measure_name=$1
	shift
	run "$@" || return
	measure_instructions=$INSTRUCTIONS
	echo 1 >"$COST/count_locks" && run "$@" || return
	echo 0 >"$COST/count_locks"
	echo "cost $STATE $measure_name $measure_instructions $HOLDS" >&3
}

all_orders() {
	for order in 0 1 2 3 4 5 6 7 8 9 10; do
		case $order in
		[0-39]) measure "order-$order-percpu" percpu "$order" || return ;;
		esac
		for kind in same split alloc zero free; do
			measure "order-$order-$kind" "$kind" "$order" || return
		done
	done
}

all_faults() {
	for kind in 4k thp 4k-again; do
		measure "fault-$kind" fault "$kind" || return
	done
}

t "the counting module loads" insmod /lab/cost.ko || die "nothing to count with"
setup_thp
# With it a probe would take instructions for a while after it was removed.
echo 0 >/proc/sys/debug/kprobes-optimization
for STATE; do
	case $STATE in
	enabled | leaf+prezero)
		[ -e "$PREZERO" ] || t "prezero loads" load_prezero || die "nothing to measure"
		;;
	esac
	t "$STATE: state entered" enter "$STATE" || die "not what is to be measured"
	t "$STATE: allocations counted" all_orders
	t "$STATE: faults counted" all_faults
done
finish
