#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Write the commits base..series of build/linux to patches/, a directory for each
# group, and patches/series.
#
# The same commits give the same files on any machine: no commit ids, no git
# version, no user's git settings.  Files that do not change are not touched.
#
# usage: patches.sh [--check | OUTDIR]
#   --check   write nothing; fail if patches/ would change
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/../.."
tree=build/linux
check=''
case ${1:-} in
--check)
	check=1
	shift
	;;
-*)
	sed -n '3,/^set/ s/^# \{0,1\}//p' scripts/build/patches.sh
	exit 2
	;;
esac
out=$(realpath -m "${1:-patches}")

# shellcheck source=scripts/build/git.sh
. scripts/build/git.sh

[ -d $tree/.git ] || { echo "patches: no $tree yet: run 'make source'" >&2; exit 1; }
busy $tree && { echo "patches: $tree is in the middle of a rebase or am: finish it first" >&2; exit 1; }

[ "$(git -C $tree rev-parse base)" != "$(git -C $tree rev-parse series)" ] || {
	echo "patches: branch series of $tree is empty: run 'make source'" >&2
	exit 1
}

new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
format_series $tree base..series "$new"

[ -n "$(groups "$new")" ] || {
	echo "patches: no commit \"cover/GROUP: TITLE\" begins a group in $tree" >&2
	exit 1
}
if grep -rqE '^Subject: \[PATCH[^]]*\] (fixup|squash|amend)!' "$new"; then
	echo "patches: $tree has fixup! commits: run 'git rebase -i --autosquash base' there first" >&2
	exit 1
fi

if [ -n "$check" ]; then
	diff -rq "$new" "$out" && exit 0
	echo "patches: patches/ is not what $tree holds: run 'make patches'" >&2
	exit 1
fi

mkdir -p "$out"
[ -e "$out/series" ] || [ -z "$(ls -A "$out")" ] || {
	echo "patches: $out has other files, and no series" >&2
	exit 1
}
(cd "$out" && find . -mindepth 2 -maxdepth 2 -name '*.patch') | while read -r f; do
	[ -e "$new/$f" ] || { rm "$out/$f" && echo "removed ${f#./}"; }
done
(cd "$new" && find . -type f | LC_ALL=C sort) | while read -r f; do
	cmp -s "$new/$f" "$out/$f" && continue
	mkdir -p "$(dirname "$out/$f")"
	cp "$new/$f" "$out/$f" && echo "wrote   ${f#./}"
done
find "$out" -mindepth 1 -type d -empty -delete
if [ $# -eq 0 ]; then
	remember $tree patches
fi
