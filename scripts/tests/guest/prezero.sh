#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# prezero from load to unload: what it clears is served, what it is told to
# forget is not, and nothing dirty ever passes for clear.
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh

# served BACKING MIN MAX: map it; the share served without clearing is between
served() {
	map_pooled "$1" 256 >/tmp/row || return 1
	cat /tmp/row
	pct=$(sed 's/.*"zeroed_pct":\([0-9]*\).*/\1/' /tmp/row)
	[ "$pct" -ge "$2" ] && [ "$pct" -le "$3" ]
}

# what FILE holds; what cannot be written there; and that it did not help
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

# What a gigantic page holds is what the free blocks it is made of held.
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
t "and says why" in_kernel_log guest
t "it does when told to" load_prezero || die "nothing to test"
t "its files in sysfs are those that are documented" documented
t_not "but not twice" insmod /lab/prezero.ko allow_guest=1
t "off, nothing is marked" nothing_marked
t "off, nothing is served" served thp 0 0
# Since boot (hugepages=1), so that memory for it is to be had
hugetlb_pool hugetlb1g 0
prezero_on
wait_cleared
t "free memory is cleared" true
echo 1 >"$PREZERO/verify"
# They come by way of alloc_contig_range(), which takes free blocks apart.
t "gigantic pages come and go" gigantic
for backing in thp memfd 4k; do
	wait_cleared
	t "$backing is served" served $backing 90 100
done
# Now all of the free memory has been allocated and written, and is cleared again.
wait_cleared
t "and again, after it was dirty" served thp 90 100
t "nothing was served that is not zero" test "$(vmstat prezero_verify_failed)" = 0
for file in enabled order interval_ms idle_only verify; do
	t "$file refuses what is no value" keeps $file
done
prezero_off
t "flush forgets it all" nothing_marked
t "nothing is served then" served thp 0 0
prezero_on
wait_cleared
t "the module unloads" rmmod prezero
t "and leaves nothing marked" nothing_marked
t "and nothing in sysfs" test ! -e "$PREZERO"
finish
