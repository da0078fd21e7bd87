#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# prezero from load to unload: cleared memory is served without clearing, forgotten
# memory is cleared again, and dirty memory is never served as cleared.
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh

# served BACKING MIN MAX: map it; between MIN and MAX percent are served without
# clearing
served() {
	map_pooled "$1" 256 >/tmp/row || return 1
	cat /tmp/row
	pct=$(sed 's/.*"zeroed_pct":\([0-9]*\).*/\1/' /tmp/row)
	[ "$pct" -ge "$2" ] && [ "$pct" -le "$3" ]
}

# keeps FILE: invalid values are refused, and the value stays
keeps() {
	old=$(cat "$PREZERO/$1")
	for bad in '' x 4294967296 -1 2x; do
		echo "$bad" 2>/dev/null >"$PREZERO/$1" && { echo "$1 took '$bad'"; return 1; }
	done
	[ "$(cat "$PREZERO/$1")" = "$old" ]
}

# Each file, and (RO), (RW) or (WO) as its mode, both as documented and as found
documented() {
	awk -v mode="RO 444 RW 644 WO 200" '
		BEGIN { for (i = split(mode, m); i > 0; i -= 2) octal[m[i - 1]] = m[i] }
		$1 == "What:" { file = $2 }
		match($0, /\((RO|RW|WO)\)/) { print octal[substr($0, RSTART + 1, 2)], file }
		' /lab/sysfs-kernel-mm-prezero | sort >/tmp/documented
	find "$PREZERO" -type f -exec stat -c '%a %n' {} + | sort >/tmp/found
	[ -s /tmp/found ] && diff /tmp/documented /tmp/found
}

# A gigantic page has the contents of the free blocks that it is made of.
gigantic() {
	for _ in 1 2; do
		map_pooled hugetlb1g 1024 -x || return 1
	done
}

nothing_marked() {
	[ "$(free_zeroed)" = 0 ]
}

in_kernel_log() {
	dmesg | grep -q "prezero: .*$1"
}

setup_thp
bind_edu
t_not "the module does not load in a guest by itself" insmod /lab/prezero.ko
t "the log says why" in_kernel_log guest
t "with allow_guest=1 it loads" load_prezero || die "nothing to test"
t "its files in sysfs are those that are documented" documented
t_not "it does not load twice" insmod /lab/prezero.ko allow_guest=1
t "off, nothing is marked" nothing_marked
t "off, nothing is served" served thp 0 0
# The gigantic page was reserved at boot (hugepages=1), while it could be had.
hugetlb_pool hugetlb1g 0
prezero_on
wait_cleared
t "free memory is cleared" true
echo 1 >"$PREZERO/verify"
# alloc_contig_range() allocates them and splits free blocks for that.
t "gigantic pages come and go" gigantic
for backing in thp memfd 4k; do
	wait_cleared
	t "$backing is served" served $backing 90 100
done
# Now all of the free memory has been allocated and written, and is cleared again.
wait_cleared
t "thp is served again, after all memory was dirty" served thp 90 100
t "nothing was served that is not zero" test "$(vmstat prezero_verify_failed)" = 0
for file in enabled order interval_ms idle_only verify; do
	t "$file refuses invalid values" keeps $file
done
prezero_off
t "flush forgets all cleared memory" nothing_marked
t "nothing is served then" served thp 0 0
prezero_on
wait_cleared
t "the module unloads" rmmod prezero
t "and leaves nothing marked" nothing_marked
t "and nothing in sysfs" test ! -e "$PREZERO"
finish
