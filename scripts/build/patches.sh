#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Write the commits base..series of build/linux to patches/, and patches/series.
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
if [ "${1:-}" = --check ]; then
	check=1
	shift
fi
out=$(realpath -m "${1:-patches}")

# shellcheck source=scripts/build/series.sh
. scripts/build/series.sh

[ -d $tree/.git ] || { echo "patches: no $tree yet: run 'make source'" >&2; exit 1; }
busy $tree && { echo "patches: $tree is in the middle of a rebase or am: finish it first" >&2; exit 1; }

[ "$(git -C $tree rev-parse base)" != "$(git -C $tree rev-parse series)" ] || {
	echo "patches: branch series of $tree is empty: run 'make source'" >&2
	exit 1
}

new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
format_series $tree base..series "$new"

if grep -qE '^Subject: \[PATCH\] (fixup|squash|amend)!' "$new"/*.patch; then
	echo "patches: $tree has fixup! commits: run 'git rebase -i --autosquash base' there first" >&2
	exit 1
fi

if [ -n "$check" ]; then
	diff -rq -x cover-letters "$new" "$out" && exit 0
	echo "patches: patches/ is not what $tree holds: run 'make patches'" >&2
	exit 1
fi

mkdir -p "$out"
for f in "$out"/*.patch; do
	[ -e "$f" ] && [ ! -e "$new/${f##*/}" ] && rm "$f" && echo "removed ${f##*/}"
done
for f in "$new"/*; do
	cmp -s "$f" "$out/${f##*/}" && continue
	cp "$f" "$out/" && echo "wrote   ${f##*/}"
done
if [ $# -eq 0 ]; then
	remember $tree patches
fi
