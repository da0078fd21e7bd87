#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Put the series on a Linux 6.12 tree of your own: as commits on a git tree, as
# changed files on an unpacked archive.  Everything is tried on a copy of the
# affected files first; if anything is in the way, nothing is touched.
#
# usage: apply.sh DIR
set -euo pipefail
here=$(dirname "$(realpath "$0")")
patches=$(realpath "${PATCHES:-$here/../patches}")

refuse() {
	echo "apply: $*" >&2
	exit 1
}

[ $# -eq 1 ] || { echo "usage: $0 DIR-OF-A-6.12-KERNEL-TREE" >&2; exit 2; }
[ -d "$1" ] || refuse "$1 is not a directory"
dir=$(realpath "$1")
mapfile -t series < <(grep -vE '^(#|$)' "$patches/series" 2>/dev/null)
[ ${#series[@]} -gt 0 ] || refuse "$patches/series lists no patch"
command -v patch >/dev/null || refuse "no patch(1) here: apt-get install patch"

#
# Is this the right tree, and is it in order?
#
version=$(sed -nE 's/^(VERSION|PATCHLEVEL) = ([0-9]+)$/\2/p' "$dir/Makefile" 2>/dev/null | paste -sd. || true)
[ -n "$version" ] || refuse "$dir is not a kernel tree: no version in its Makefile"
[ "$version" = 6.12 ] || refuse "$dir is Linux $version; the series is for 6.12.y"

# What PG_zeroed relies on, a fix in 6.12.y: without it, data would leak.
grep -q '^	page->private = 0;$' "$dir/mm/page_alloc.c" 2>/dev/null ||
	refuse "in $dir free_pages_prepare() does not make page->private 0: take a newer 6.12.y, 6.12.117 has it"

# A tree unpacked inside another repository is not a git tree.
is_git=
[ "$(git -C "$dir" rev-parse --show-toplevel 2>/dev/null)" != "$dir" ] || is_git=1
if [ -n "$is_git" ]; then
	[ -z "$(git -C "$dir" status --porcelain --untracked-files=no)" ] ||
		refuse "$dir has changes that are not committed: commit or stash them first"
	for d in rebase-merge rebase-apply MERGE_HEAD; do
		[ ! -e "$(git -C "$dir" rev-parse --git-path "$d")" ] ||
			refuse "$dir is in the middle of a rebase, am or merge: finish it first"
	done
	git -C "$dir" var GIT_COMMITTER_IDENT >/dev/null 2>&1 ||
		refuse "git does not know who you are: git config --global user.email you@example.org"
fi

#
# The dry run: the files the series touches, as they are, somewhere else
#
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
mapfile -t files < <(cd "$patches" && sed -nE 's,^(---|\+\+\+) [ab]/,,p' "${series[@]}" | sort -u)
fresh_copy() {
	rm -rf "${copy:?}"/*
	(cd "$dir" && for f in "${files[@]}"; do
		[ ! -e "$f" ] || cp --parents "$f" "$copy"
	done)
}
try() {
	patch -d "$copy" -p1 -F0 -f -s --no-backup-if-mismatch "${@:2}" <"$patches/$1"
}

# A patch that can be taken off again is there already.
fresh_copy
for ((i = ${#series[@]} - 1; i >= 0; i--)); do
	try "${series[i]}" -R --dry-run >/dev/null 2>&1 || continue
	if [ $((i + 1)) -eq ${#series[@]} ]; then
		refuse "the series is in $dir already"
	fi
	refuse "$dir has part of the series already (${series[i]}): start from a clean tree"
done

for p in "${series[@]}"; do
	try "$p" >"$copy.log" 2>&1 || {
		sed 's/^/    /' "$copy.log" >&2
		rm -f "$copy.log"
		refuse "$p does not apply to $dir (Linux $version); nothing was changed"
	}
	rm -f "$copy.log"
done

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
			cp "$copy/$f" "$dir/$f"
		fi
	done
	echo "apply: ${#series[@]} patches on $dir"
fi
