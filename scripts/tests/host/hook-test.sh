#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The libvirt hook by itself: XML as libvirt writes it, and a made-up /sys, in
# which each node has some MiB of cleared memory.
set -uo pipefail
top=$(realpath "$(dirname "$0")/../../..")
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
# shellcheck source=scripts/ktap.sh
. "$top/scripts/ktap.sh"

hook=$top/scripts/libvirt/50-prezero

# stock MIB...: of each node, one after the other
stock() {
	local mib node=0
	for mib; do
		mkdir -p "$root/sys/devices/system/node/node$node"
		# A name that only begins alike must not be taken for it.
		printf '%s\n' "nr_free_pages 999999999" "nr_free_zeroed $((mib * 256))" \
			"nr_free_zeroed_not 999999999" \
			>"$root/sys/devices/system/node/node$node/vmstat"
		node=$((node + 1))
	done
}

fresh() {
	rm -rf "${root:?}"/*
	mkdir -p "$root/sys/kernel/mm/prezero" "$root/etc/default" "$root/proc"
	echo 1 >"$root/sys/kernel/mm/prezero/enabled"
	echo 2000 >"$root/sys/kernel/mm/prezero/interval_ms"
	echo "wait_s=1" >"$root/etc/default/prezero-hook"
}

# domain MIB NUMA DEVICE [BACKING [CPU]]: the XML of a machine
pci="<hostdev mode='subsystem' type='pci' managed='yes'>
      <source>
        <address domain='0x0000' bus='0x41' slot='0x00' function='0x0'/>
      </source>
    </hostdev>"
domain() {
	# The hook need not read it.
	cat <<-XML || true
	<domain type='kvm' id='1'>
	  <name>vm</name>
	  <metadata>
	    <x:memory xmlns:x='http://example.org/'>1</x:memory>
	    <x:path xmlns:x='http://example.org/'>C:\\cache</x:path>
	  </metadata>
	  <memory unit='KiB'>$(($1 * 1024))</memory>
	  <currentMemory unit='KiB'>1024</currentMemory>
	  ${4:-}
	  <vcpu placement='static'>2</vcpu>
	  $2
	  ${5:-}
	  <devices>
	    <memory model='dimm'><target><size unit='KiB'>1</size></target></memory>
	    $3
	  </devices>
	</domain>
	XML
}

# hook: what it said is in $root/said, and it took $took hundredths of a second
hook() {
	local from to
	from=${EPOCHREALTIME/./}
	PREZERO_HOOK_ROOT=$root timeout 10 sh "$hook" \
		vm "${1:-prepare}" "${2:-begin}" - 2>"$root/said" || { echo "status $?"; return 1; }
	to=${EPOCHREALTIME/./}
	took=$(((to - from) / 10000))
	cat "$root/said"
}

ready() {
	hook && grep -q ': starting: ' "$root/said" && [ "$took" -lt 90 ]
}

gives_up() {
	hook && grep -q 'starting all the same: '"$1" "$root/said" && [ "$took" -ge 95 ] && [ "$took" -lt 500 ]
}

silent() {
	hook "$@" && [ ! -s "$root/said" ] && [ "$took" -lt 90 ]
}

does_not_wait() {
	hook && grep -q "${1:-not running}" "$root/said" && [ "$took" -lt 90 ]
}

strict() {
	echo "<numatune><memory mode='strict' nodeset='$1'/></numatune>"
}

enough() {
	fresh
	stock 600 500
	domain 1024 "" "$pci" | ready
}
t "enough on all nodes together: it starts" enough

too_little() {
	fresh
	stock 600 400
	domain 1024 "" "$pci" | gives_up "1000 of 1024 MiB"
}
t "too little: it starts after wait_s" too_little

right_node() {
	fresh
	stock 4096 1000
	domain 1024 "$(strict 0)" "$pci" | ready || return
	domain 1024 "$(strict 1)" "$pci" | gives_up "1000 of 1024 MiB"
}
t "only the machine's own node counts" right_node

node_sets() {
	fresh
	stock 100 100 5000 100 100 5000 5000 5000 5000 5000 5000
	domain 400 "$(strict 0-4,^2)" "$pci" | ready || return
	domain 401 "$(strict 0-4,^2)" "$pci" | gives_up "400 of 401 MiB" || return
	domain 200 "$(strict 1,3)" "$pci" | ready || return
	domain 201 "$(strict 1,3)" "$pci" | gives_up "200 of 201 MiB" || return
	domain 5001 "$(strict 10)" "$pci" | gives_up "5000 of 5001 MiB"
}
t "ranges, lists and exceptions of nodes" node_sets

cells() {
	fresh
	stock 1000 300 700
	cpu="<cpu><numa>
	    <cell id='0' cpus='0' memory='$((800 << 10))' unit='KiB' memAccess='shared'/>
	    <cell id='1' cpus='1' memory='$((300 << 10))' unit='KiB'/>
	    <cell id='2' cpus='2' memory='$((700 << 10))' unit='KiB'/>
	  </numa></cpu>"
	tune="<numatune>
	    <memory mode='strict' nodeset='2'/>
	    <memnode cellid='0' mode='strict' nodeset='0'/>
	    <memnode cellid='1' mode='preferred' nodeset='1'/>
	  </numatune>"
	domain 1800 "$tune" "$pci" "" "$cpu" | ready || return
	stock 1000 299 700
	domain 1800 "$tune" "$pci" "" "$cpu" | gives_up "1799 of 1800 MiB" || return
	stock 1000 300 650
	domain 1800 "$tune" "$pci" "" "$cpu" | gives_up "1750 of 1800 MiB"
}
t "each cell of the guest has its node, the rest the domain's" cells

cells_of_one_node() {
	fresh
	stock 1000
	cpu="<cpu><numa>
	    <cell id='0' cpus='0' memory='$((600 << 10))' unit='KiB'/>
	    <cell id='1' cpus='1' memory='$((600 << 10))' unit='KiB'/>
	  </numa></cpu>"
	tune="<numatune>
	    <memnode cellid='0' mode='strict' nodeset='0'/>
	    <memnode cellid='1' mode='strict' nodeset='0'/>
	  </numatune>"
	domain 1200 "$tune" "$pci" "" "$cpu" | gives_up "1000 of 1200 MiB are cleared (nodes: 0)"
}
t "two cells of the guest on one node" cells_of_one_node

no_nodes() {
	fresh
	stock 1000
	rm -r "$root/sys/devices"
	echo "nr_free_zeroed $((1000 * 256))" >"$root/proc/vmstat"
	domain 1000 "" "$pci" | ready || return
	domain 1001 "" "$pci" | gives_up "1000 of 1001 MiB"
}
t "a kernel without NUMA" no_nodes

comes_while_waiting() {
	fresh
	echo "wait_s=15" >"$root/etc/default/prezero-hook"
	stock 100
	(sleep 0.7; stock 500; sleep 0.7; stock 1024) &
	domain 1024 "" "$pci" | {
		hook && grep -q ': starting: ' "$root/said" &&
			[ "$took" -ge 130 ] && [ "$took" -lt 400 ]
	}
	rc=$?
	wait
	return "$rc"
}
t "memory that is cleared meanwhile" comes_while_waiting

stalls() {
	fresh
	printf '%s\n' wait_s=15 stall_s=1 >"$root/etc/default/prezero-hook"
	stock 100
	domain 1024 "" "$pci" | gives_up ".*no more is coming"
}
t "no headway: it starts after stall_s" stalls

not_concerned() {
	fresh
	stock 0
	domain 1024 "" "" | silent || return
	domain 1024 "" "<!-- $pci -->" | silent || return
	domain 1024 "" "<hostdev mode='subsystem' type='usb'><source/></hostdev>" | silent || return
	domain 1024 "" "<interface type='network'><source network='x'/></interface>" | silent || return
	domain 1024 "" "$pci" "<memoryBacking><hugepages><page size='2048' unit='KiB'/></hugepages></memoryBacking>" | silent
}
t "nothing to wait for: no device, or a hugetlb pool" not_concerned

network_function() {
	fresh
	stock 0
	domain 1024 "" "<interface type='hostdev' managed='yes'><source/></interface>" | gives_up "0 of 1024 MiB"
}
t "a network card's function is a passed-through device" network_function

other_moments() {
	fresh
	stock 0
	for op in "start begin" "started begin" "release end" "stopped end" "prepare end"; do
		# shellcheck disable=SC2086
		domain 1024 "" "$pci" | silent $op || return
	done
}
t "at other moments it does nothing" other_moments

without_prezero() {
	fresh
	stock 0
	echo 0 >"$root/sys/kernel/mm/prezero/enabled"
	domain 1024 "" "$pci" | does_not_wait || return
	rm -r "$root/sys/kernel/mm/prezero"
	domain 1024 "" "$pci" | does_not_wait
}
t "prezero off or absent: no wait" without_prezero

without_xmllint() {
	local hook=$root/hook
	fresh
	stock 0
	sed 's/command -v xmllint/&-is-not-here/' "$top/scripts/libvirt/50-prezero" >"$hook"
	domain 1024 "" "$pci" | does_not_wait "no xmllint"
}
t "no xmllint: no wait" without_xmllint

broken() {
	fresh
	stock 0
	# A start that fails because of a hook would be worse than a slow one.
	for words in 'stall_s=x' 'stall_s=(' 'exit 3' 'stall_s='; do
		printf '%s\n' "$words" "wait_s=1" >"$root/etc/default/prezero-hook"
		domain 1024 "" "$pci" | hook || return
	done
	fresh
	hook </dev/null || return
	echo "not XML < at all" | hook || return
	rm "$root/sys/kernel/mm/prezero/interval_ms"
	domain 1024 "" "$pci" | hook
}
t "whatever is broken, the machine starts" broken

example() {
	fresh
	stock 0
	# As libvirt hands it on: in KiB
	sed "s/<memory unit='GiB'>64</<memory unit='KiB'>$((64 << 20))</" \
		"$top/scripts/libvirt/passthrough.xml" | gives_up "0 of 65536 MiB"
}
t "the example machine is waited for" example
finish
