#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Hibernation: an image has the flags of free pages, but not the pages.  Needs a
# disk for the image.
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh

# Write an image, and restore it at once instead of powering off.
hibernate() {
	echo test_resume >/sys/power/disk && echo disk >/sys/power/state
}

swap() {
	mkswap /dev/vda && swapon /dev/vda
}

t "there is room for an image" swap || die "no disk"
t "prezero loads" load_prezero || die "nothing to test"
echo 1 >$PREZERO/verify
prezero_on
wait_cleared
# Keep prezero from clearing again before the test looks: the flags from the image
# must have been dropped.
echo 3600000 >$PREZERO/interval_ms
sleep 1
t "free memory is cleared" wait_cleared
t "an image is written and restored" hibernate
t "what was cleared is forgotten" test "$(free_zeroed)" = 0
t "a map reads zero" map_row thp 256M -x
prezero_on
t "free memory is cleared again" wait_cleared
for backing in thp 4k memfd; do
	t "a map of $backing reads zero" map_row $backing 128M -x
done
t "nothing was served that is not zero" test "$(vmstat prezero_verify_failed)" = 0
t "prezero unloads" rmmod prezero
finish
