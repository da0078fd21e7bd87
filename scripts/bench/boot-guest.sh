#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# In the libvirt lab: start a guest with each kind of memory, in each
# configuration, in each size, and print one JSON row per start.
#
# usage: boot-guest.sh REPEAT {"SIZES-IN-MIB" "BACKINGS" "CONFIG[:START],..."}...
#
# Configurations:
#   no device     the floor
#   page by page  the series, one page pinned and charged at a time
#   6.12          the kernel without the series
#   leaf          the series, nothing cleared ahead
#   leaf+prezero  the series, all free memory is cleared before
# Starts:
#   first         the memory has not been in use by a guest (the default)
#   again         the guest was stopped, and is started again at once
#   hook          the guest was stopped, and is started again when the hook says so
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh
# shellcheck source=scripts/lab/l1.sh
. /lab/l1.sh

repeat=$1
shift
pin_batch=/sys/module/vfio_iommu_type1/parameters/pin_batch

set_pin_batch() {
	if [ -e "$pin_batch" ]; then
		echo "$1" >"$pin_batch"
	elif [ "$1" != 0 ]; then
		die "this kernel has no vfio_iommu_type1.pin_batch: it lacks pinning by leaf"
	fi
}

set_config() {
	case $1 in
	"page by page") set_pin_batch 1 ;;
	*) set_pin_batch 0 ;;
	esac
	[ ! -d "$PREZERO" ] || prezero_off
}

# one_start CONFIG START BACKING MIB
one_start() {
	local wait_s=null hit=0 from
	define_l2 "$3" "$4" "$1" || return
	if [ "$1" = leaf+prezero ]; then
		# The pages of a pool are not prezero's: nothing to wait for
		case $3 in
		hugetlb*) prezero_on ;;
		*) at_rest ;;
		esac
	fi
	if [ "$2" != first ]; then
		start_l2 l2 && stop_l2 l2 || return
	fi
	if [ "$2" = hook ]; then
		virsh dumpxml --inactive l2 >/tmp/l2.dump
		from=${EPOCHREALTIME/./}
		/lab/50-prezero l2 prepare begin - </tmp/l2.dump || return
		wait_s=$(seconds_since "$from")
	fi
	[ ! -d "$PREZERO" ] || hit=$(vmstat prezero_hit)
	start_l2 l2 || return
	[ ! -d "$PREZERO" ] || hit=$(($(vmstat prezero_hit) - hit))
	stop_l2 l2
	printf '{"config":"%s","start":"%s","backing":"%s","mib":%d,"repeat":%d,"start_s":%s,"virsh_s":%s,"wait_s":%s,"hit_mib":%d}\n' \
		"$1" "$2" "$3" "$4" "$repeat" "$start_s" "$virsh_s" "$wait_s" $((hit / 256)) >/tmp/row
}

setup_thp
bind_edu
start_libvirt || die "libvirt does not start"
if vmstat nr_free_zeroed >/dev/null; then
	load_prezero || die "prezero.ko does not load: see the kernel log"
fi

# Before the first row, get programs and translated code into their caches.
warm_up() {
	define_l2 thp 512 "no device" && start_l2 l2 && stop_l2 l2 &&
		define_l2 thp 512 && start_l2 l2 && stop_l2 l2
}
t "a guest starts" warm_up || finish

# group SIZES BACKINGS CONFIGS
group() {
	local sizes=$1 backings=$2 configs largest=0 backing config start mib
	IFS=, read -ra configs <<<"$3"
	for mib in $sizes; do
		[ "$mib" -le "$largest" ] || largest=$mib
	done
	for backing in $backings; do
		hugetlb_pool "$backing" $((largest << 20))
		for config in "${configs[@]}"; do
			start=first
			case $config in *:*) start=${config#*:} ;; esac
			config=${config%:*}
			# The floor is the same for all: without a device,
			# memory is not touched.
			[ "$config" != "no device" ] || [ "$backing" = thp ] || continue
			set_config "$config"
			for mib in $sizes; do
				# Less than one page of it
				[ "$backing" != hugetlb1g ] || [ "$mib" -ge 1024 ] || continue
				progress 0 "$backing, $config, $start start: a guest of $mib MiB"
				t "$backing, $config, $start start of $mib MiB, run $repeat" \
					one_start "$config" "$start" "$backing" "$mib" &&
					cat /tmp/row
			done
		done
		hugetlb_pool "$backing" 0
	done
}

while [ $# -gt 0 ]; do
	group "$1" "$2" "$3"
	shift 3
done
finish
