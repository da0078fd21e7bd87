# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Functions for the scripts that run in the lab: KTAP output, the edu device behind
# vfio-pci, and prezero's files.

# shellcheck source=scripts/ktap.sh
. /lab/ktap.sh

PREZERO=/sys/kernel/mm/prezero
echo "KTAP version 1"
GROUP=

# The test's name in the kernel log shows which test a splat belongs to.
mark() {
	echo "lab: $*" >/dev/kmsg
}

# t_not "what is true" command...: the command must fail.
t_not() {
	t_name=$1
	shift
	t "$t_name" refuses "$@"
}

# t_ktap COMMAND...: run a program that prints KTAP itself. Each of its results is one
# of ours, with our number; a test that was skipped did not pass. If there are fewer or
# more than its plan says, that is one more that failed.
t_ktap() {
	t_sum=$(mktemp)
	"$@" 2>&1 </dev/null | awk -v first="$KTAP_N" -v sum="$t_sum" -v what="$*" '
		/^K?TAP version / { next }
		/^1\.\./ { plan = substr($0, 4) + 0; next }
		/^(not )?ok [0-9]/ {
			bad = /^not/ || /#/
			failed += bad
			sub(/^(not )?ok [0-9]+/, (bad ? "not ok " : "ok ") (first + ++n))
		}
		# A harness of the kernel says which test begins, and OK before "ok".
		/^# +RUN / {
			print "lab: " $3 >"/dev/kmsg"
			close("/dev/kmsg")
			next
		}
		/^# +OK / { next }
		# Results, comments and what is indented, of a suite within
		!/^(ok|not ok|[# \t]|$)/ { printf "# " }
		{ print; fflush() }
		END {
			if (!plan || plan != n) {
				printf "not ok %d %s: %d results, the plan says %d\n", first + n + 1, what, n, plan
				n++
				failed++
			}
			print n, failed + 0 >sum
		}'
	read -r t_n t_failed <"$t_sum"
	rm -f "$t_sum"
	KTAP_N=$((KTAP_N + t_n))
	KTAP_FAILED=$((KTAP_FAILED + t_failed))
	[ "$t_failed" = 0 ]
}

refuses() {
	"$@" && return 1
	return 0
}

# die TEXT: end the script when the rest cannot work.  fd 3 gets past the
# redirection of t().
exec 3>&1
die() {
	echo "Bail out! $*" >&3
	exit 1
}

vmstat() {
	awk -v k="$1" '$1 == k { print $2; found = 1 } END { exit !found }' /proc/vmstat
}

# Pages pinned by all programs
pinned() {
	echo 1 >/proc/sys/vm/stat_refresh
	echo $(($(vmstat nr_foll_pin_acquired) - $(vmstat nr_foll_pin_released)))
}

# progress PERCENT TEXT: run.sh makes a bar of these lines.
progress() {
	echo "# progress $*"
}

# bind_vfio VENDOR DEVICE: hand all of these devices to vfio-pci, and set BOUND to
# their "ADDRESS GROUP"s, one per line.
bind_vfio() {
	BOUND=
	for bind_dev in /sys/bus/pci/devices/*; do
		[ "$(cat "$bind_dev/vendor" "$bind_dev/device" | tr '\n' ' ')" = "$1 $2 " ] || continue
		bind_addr=${bind_dev##*/}
		echo vfio-pci >"$bind_dev/driver_override"
		[ -e "$bind_dev/driver" ] || echo "$bind_addr" >/sys/bus/pci/drivers_probe
		[ "$(basename "$(readlink "$bind_dev/driver")")" = vfio-pci ] ||
			die "$bind_addr does not bind to vfio-pci: the kernel needs CONFIG_VFIO_PCI=y"
		[ -e "$bind_dev/iommu_group" ] ||
			die "$bind_addr has no IOMMU group: boot with intel_iommu=on"
		BOUND="$BOUND$bind_addr $(basename "$(readlink "$bind_dev/iommu_group")")
"
	done
}

# Hand the edu devices to vfio-pci.  Sets EDU (address) and GROUP to the first,
# and EDU2 and GROUP2 to the second if there is one.
bind_edu() {
	bind_vfio 0x1234 0x11e8
	[ -n "$BOUND" ] || die "no edu device: start QEMU with -device edu"
	# Word splitting is wanted.
	# shellcheck disable=SC2086
	set -- $BOUND
	# shellcheck disable=SC2034
	EDU=$1 GROUP=$2 EDU2=${3:-} GROUP2=${4:-}
}

# map_row BACKING BYTES [ARG...]: one run of vfio-map; its row, or why not.
map_row() {
	[ -n "$GROUP" ] || bind_edu
	map_backing=$1
	map_bytes=$2
	shift 2
	vfio-map -g "$GROUP" -d "$EDU" -b "$map_backing" -s "$map_bytes" "$@"
}

# field NAME FILE: a number of the row in FILE
field() {
	sed "s/.*\"$1\":\([0-9.]*\).*/\1/" "$2"
}

# Have the kernel use huge pages as the backings' names say.  The tmpfs is the one
# of the administrator's guide.
setup_thp() {
	echo always >/sys/kernel/mm/transparent_hugepage/enabled
	echo advise >/sys/kernel/mm/transparent_hugepage/shmem_enabled
	mkdir -p /run/guest-memory
	mount -t tmpfs -o huge=within_size,size=100%,mode=0700 guest-memory /run/guest-memory
}

# hugetlb_pool BACKING BYTES: make a pool of this size; 0 removes it.
hugetlb_pool() {
	case $1 in
	hugetlb2m) pool_kib=2048 ;;
	hugetlb1g) pool_kib=1048576 ;;
	*) return 0 ;;
	esac
	pool_pages=$(($2 / 1024 / pool_kib))
	pool_file=/sys/kernel/mm/hugepages/hugepages-${pool_kib}kB/nr_hugepages
	echo "$pool_pages" >"$pool_file"
	[ "$(cat "$pool_file")" = "$pool_pages" ] ||
		die "$1: got $(cat "$pool_file") of $pool_pages pages: free memory is fragmented, give the lab more (--memory)"
}

# map_pooled BACKING MIB [ARG...]: map_row, with a pool while it runs.
map_pooled() {
	pooled_backing=$1
	pooled_mib=$2
	shift 2
	hugetlb_pool "$pooled_backing" $((pooled_mib << 20))
	map_row "$pooled_backing" "${pooled_mib}M" "$@"
	pooled_rc=$?
	hugetlb_pool "$pooled_backing" 0
	return "$pooled_rc"
}

# Pages in free blocks that prezero can clear
free_blocks() {
	awk -v order="$(cat $PREZERO/order)" '
		{
			pages = 1
			for (i = 5; i <= NF; i++) {
				if (i >= 5 + order)
					n += $i * pages
				pages *= 2
			}
		}
		END { print n + 0 }' /proc/buddyinfo
}

# Cleared pages. Each CPU adds its counts with some delay; stat_refresh has them
# added now.
free_zeroed() {
	cat /proc/sys/vm/stat_refresh >/dev/null
	vmstat nr_free_zeroed
}

# Wait until all free memory but 2 % or 16 MiB is cleared, and the amount no longer
# grows.  (Some memory is always in transit, or in a zone too small to take from.)
wait_cleared() {
	wait_last=-1
	wait_idle=0
	while :; do
		wait_want=$(free_blocks)
		wait_have=$(free_zeroed) || die "no nr_free_zeroed in /proc/vmstat: not a patched kernel"
		[ "$wait_want" -gt 0 ] || die "no free block of order $(cat $PREZERO/order) at all"
		progress $((wait_have >= wait_want ? 100 : wait_have * 100 / wait_want)) "of free memory cleared"
		if [ "$wait_have" -gt "$wait_last" ]; then
			wait_idle=0
			wait_last=$wait_have
		else
			wait_idle=$((wait_idle + 1))
		fi
		if [ $wait_idle -ge 2 ] && { [ $((wait_have + 4096)) -ge "$wait_want" ] ||
		   [ $((wait_have * 100)) -ge $((wait_want * 98)) ]; }; then
			return
		fi
		# 30 s
		[ $wait_idle -lt 60 ] ||
			die "clearing stopped at $wait_have of $wait_want pages: $(grep -H . $PREZERO/* 2>/dev/null | tr '\n' ' ')"
		sleep 0.5
	done
}

# Load the module, stopped until prezero_on.  The lab is a guest, where the module
# only loads with allow_guest=1.
load_prezero() {
	insmod /lab/prezero.ko allow_guest=1 enabled=0
}

# At full speed, because tests measure the map and not the wait for memory.
prezero_on() {
	echo 0 >"$PREZERO/idle_only"
	echo 100 >"$PREZERO/interval_ms"
	echo 1 >"$PREZERO/enabled"
}

# No more passes until the next prezero_on.  Writing the interval starts a pass at
# once; wait for its end.
no_more_passes() {
	echo 3600000 >"$PREZERO/interval_ms"
	sleep 1
}

# Stop, and forget what is cleared, as if prezero had never run.
prezero_off() {
	echo 0 >"$PREZERO/enabled"
	echo 1 >"$PREZERO/flush"
	[ "$(free_zeroed)" = 0 ] || die "flush left $(free_zeroed) pages marked zeroed"
}
