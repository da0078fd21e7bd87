#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Put the series, or some of its groups, on a Linux 6.12 tree of your own: as
# commits on a git tree, as changed files on an unpacked archive.  Everything is
# tried on a copy of the affected files first; if a patch does not apply, nothing is
# changed.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
patches=$(realpath "${PATCHES:-$here/../patches}")
# shellcheck source=scripts/build/series.sh
. "$here/build/series.sh"

refuse() {
	echo "apply: $*" >&2
	exit 1
}

usage() {
	cat <<-USAGE
	usage: apply.sh DIR [--only GROUP...] [--without GROUP...] [--dry-run]
	  DIR                  a Linux 6.12 kernel tree
	  --only GROUP...      these groups of patches, and those that they need
	  --without GROUP...   all groups but these
	  --dry-run            say what would be done, and change nothing
	Groups:
	USAGE
	for g in $(groups "$patches"); do
		printf '  %-12s %2d  %s\n' "$g" "$(series "$patches" "$g" | wc -l)" \
			"$(sed -n 's/^Subject: \[PATCH[^]]*\] //p' "$patches/$g/0000-cover-letter.patch")"
		[ -z "$(needs "$patches" "$g")" ] || printf '  %-12s     needs %s\n' '' "$(needs "$patches" "$g")"
	done
}

wrong() {
	echo "apply: $*" >&2
	usage >&2
	exit 2
}

dir='' only='' without='' dry=''
into=
for arg; do
	case $arg in
	--only) into=only ;;
	--without) into=without ;;
	--dry-run) dry=1 into='' ;;
	-h | --help) usage; exit ;;
	-*) wrong "no such option: $arg" ;;
	*)
		if [ -n "$into" ] && [[ " $(groups "$patches" | paste -sd' ') " == *" $arg "* ]]; then
			declare "$into+= $arg"
		elif [ -n "$into" ] && { [ -n "$dir" ] || [ ! -d "$arg" ]; }; then
			wrong "no such group: $arg"
		elif [ -z "$dir" ]; then
			dir=$arg
		else
			wrong "one tree at a time, not $dir and $arg"
		fi
		;;
	esac
done
for list in only without; do
	[[ " $* " != *" --$list "* ]] || [ -n "${!list}" ] || wrong "--$list: which groups?"
done
[ -n "$dir" ] || wrong "which kernel tree?"
[ -n "$(series "$patches")" ] || refuse "$patches/series lists no patch"
[ -d "$dir" ] || refuse "$dir is not a directory"
dir=$(realpath "$dir")
command -v patch >/dev/null || refuse "no patch(1) here: apt-get install patch"

#
# Which groups?
#
# Word splitting is wanted below: group names have no spaces.
# shellcheck disable=SC2086
{
	want=$(with_needs "$patches" ${only:-$(groups "$patches")} | paste -sd' ')
	for g in $without; do
		want=$(echo " $want " | sed "s/ $g / /" | xargs)
	done
	for g in $want; do
		for n in $(needs "$patches" "$g"); do
			[[ " $want " == *" $n "* ]] ||
				refuse "$g needs $n: leave $g out, too (--without$without $g), or keep $n"
		done
	done
	[ -n "$want" ] || refuse "no group is left to apply"
	mapfile -t series < <(series "$patches" $want)
}
if [ -n "$only" ]; then
	for g in $want; do
		[[ "$only " == *" $g "* ]] || echo "apply: with $g, which is needed"
	done
fi

#
# Is this the right tree, and is it in order?
#
version=$(sed -nE 's/^(VERSION|PATCHLEVEL) = ([0-9]+)$/\2/p' "$dir/Makefile" 2>/dev/null | paste -sd. || true)
[ -n "$version" ] || refuse "$dir is not a kernel tree: no version in its Makefile"
[ "$version" = 6.12 ] || refuse "$dir is Linux $version; the series is for 6.12.y"

# What PG_zeroed relies on, a fix in 6.12.y: without it, data would leak.
[[ " $want " != *" prezero "* ]] ||
	grep -q '^	page->private = 0;$' "$dir/mm/page_alloc.c" 2>/dev/null ||
	refuse "in $dir free_pages_prepare() does not make page->private 0: take a newer 6.12.y, 6.12.117 has it"

# A tree unpacked inside another repository is not a git tree.
is_git=
if [ -e "$dir/.git" ]; then
	git -C "$dir" rev-parse --show-toplevel >/dev/null || refuse "git does not work on $dir"
fi
[ "$(git -C "$dir" rev-parse --show-toplevel 2>/dev/null)" != "$dir" ] || is_git=1
if [ -n "$is_git" ]; then
	[ -z "$(git -C "$dir" status --porcelain --untracked-files=no)" ] ||
		refuse "$dir has changes that are not committed: commit or stash them first"
	for d in rebase-merge rebase-apply MERGE_HEAD CHERRY_PICK_HEAD REVERT_HEAD; do
		[ ! -e "$(git -C "$dir" rev-parse --absolute-git-dir)/$d" ] ||
			refuse "$dir is in the middle of a rebase, am or merge: finish it first"
	done
	git -C "$dir" var GIT_COMMITTER_IDENT >/dev/null 2>&1 ||
		refuse "git has no name and address for commits: git config --global user.name and user.email"
fi

#
# Try it: the files that the patches touch, as they are, somewhere else
#
copy=$(mktemp -d)
trap 'rm -rf "$copy" "$copy.log"' EXIT
mapfile -t files < <(cd "$patches" && sed -nE 's,^(---|\+\+\+) [ab]/,,p' "${series[@]}" | sort -u)
(cd "$dir" && for f in "${files[@]}"; do
	[ ! -e "$f" ] || cp --parents "$f" "$copy"
done)
try() {
	patch -d "$copy" -p1 -F0 -f -s --no-backup-if-mismatch "${@:2}" <"$patches/$1"
}

# A patch that can be taken off again is there already.
for ((i = ${#series[@]} - 1; i >= 0; i--)); do
	try "${series[i]}" -R --dry-run >/dev/null 2>&1 || continue
	if [ $((i + 1)) -eq ${#series[@]} ]; then
		refuse "$dir has these patches already"
	fi
	refuse "$dir has part of the series already (${series[i]}): start from a clean tree, or leave its group out (--without ${series[i]%/*})"
done

for p in "${series[@]}"; do
	try "$p" >"$copy.log" 2>&1 || {
		sed 's/^/    /' "$copy.log" >&2
		refuse "$p does not apply to $dir (Linux $version); nothing was changed"
	}
done

if [ -n "$dry" ]; then
	printf '%s\n' "${series[@]}"
	echo "apply: ${#series[@]} patches ($want) would apply to $dir; nothing was changed"
	exit
fi

#
# For real
#
if [ -n "$is_git" ]; then
	before=$(git -C "$dir" rev-parse HEAD)
	git -C "$dir" am -q "${series[@]/#/$patches/}" || {
		git -C "$dir" am --abort
		[ "$(git -C "$dir" rev-parse HEAD)" = "$before" ] || git -C "$dir" reset -q --keep "$before"
		refuse "git am failed (hooks?); $dir is as it was"
	}
	echo "apply: ${#series[@]} commits on $dir; to undo: git reset --keep $before"
else
	# The copy holds the result: put it in place file by file.
	for f in "${files[@]}"; do
		if [ ! -e "$copy/$f" ]; then
			rm -f "$dir/$f"
		elif ! cmp -s "$copy/$f" "$dir/$f"; then
			mkdir -p "$dir/$(dirname "$f")"
			# Not through a link, and all of the file or nothing
			cp "$copy/$f" "$dir/$f.apply.tmp"
			[ ! -e "$dir/$f" ] || chmod --reference="$dir/$f" "$dir/$f.apply.tmp"
			mv -f "$dir/$f.apply.tmp" "$dir/$f"
		fi
	done
	echo "apply: ${#series[@]} patches on $dir"
fi
