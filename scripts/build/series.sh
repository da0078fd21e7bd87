# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# The one reader of patches/series.  A group is a directory of patches/: a cover
# letter, 0000-cover-letter.patch, and patches.  The last line of a cover letter
# may say which other groups have to be applied before: "Needs: GROUP...".

# series PATCHES [GROUP...]: the patches in order, of these groups or of all
series() {
	local p
	[ ! -e "$1/series" ] || grep -vE '^(#|$)' "$1/series" | while read -r p; do
		[ $# -eq 1 ] || [[ " ${*:2} " == *" ${p%%/*} "* ]] || continue
		echo "$p"
	done
}

# groups PATCHES: their names in order
groups() {
	series "$1" | cut -d/ -f1 | uniq
}

# needs PATCHES GROUP: the groups that it needs
needs() {
	sed -n 's/^Needs: //p' "$1/$2/0000-cover-letter.patch"
}

# with_needs PATCHES GROUP...: these groups and all that they need, in order
with_needs() {
	local want=" ${*:2} " before='' g n
	while [ "$want" != "$before" ]; do
		before=$want
		for g in $want; do
			for n in $(needs "$1" "$g"); do
				[[ "$want" == *" $n "* ]] || want+="$n "
			done
		done
	done
	for g in $(groups "$1"); do
		[[ "$want" != *" $g "* ]] || echo "$g"
	done
}
