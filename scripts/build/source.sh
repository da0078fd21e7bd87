#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The kernel tree: Debian's source as one commit on branch "base", the patches
# on top on branch "series".
#
# Commits made in the tree are never lost: the patches are applied anew only
# when they changed and the tree has nothing of its own.
#
# usage: source.sh          build/linux, with the series
#        source.sh stock    build/stock-src, without
#        source.sh remove   remove all of build/, if no work is lost by it
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/../.."
tree=build/linux
tar=${LINUX_TAR:-/usr/src/linux-source-6.12.tar.xz}

# shellcheck source=scripts/build/git.sh
. scripts/build/git.sh

say() {
	echo "source: $*" >&2
}

# git wants a committer; the patches' authors stay.
export GIT_AUTHOR_NAME="Linux 6.12" GIT_AUTHOR_EMAIL=base@localhost
export GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL

unpack() {
	local tmp=build/linux.tmp version
	[ -r "$tar" ] || {
		say "no $tar: run 'make setup' (package linux-source-6.12), or set LINUX_TAR"
		exit 1
	}
	rm -rf $tmp
	mkdir -p $tmp
	tar -xJf "$tar" -C $tmp --strip-components=1
	version=$(make -s -C $tmp kernelversion)
	git -C $tmp init -q -b base
	git -C $tmp config core.commitGraph false
	git -C $tmp config gc.auto 0
	# The tree's .gitignore hides files that the archive has on purpose.
	git -C $tmp add -A -f
	GIT_AUTHOR_DATE='2024-11-17T00:00Z' GIT_COMMITTER_DATE='2024-11-17T00:00Z' \
		git -C $tmp commit -q -m "Linux $version"
	git -C $tmp checkout -q -b series
	mv $tmp $tree
}

# cover GROUP: an empty commit, with the text of the cover letter
cover() {
	local letter=patches/$1/0000-cover-letter.patch
	{
		sed -n "s,^Subject: \[PATCH[^]]*\] ,cover/$1: ,p" "$letter"
		echo
		sed '1,/^$/d' "$letter"
	} | git -C $tree commit -q --allow-empty --author="$(sed -n 's/^From: //p' "$letter")" -F -
}

# On a branch of its own, so that what "series" holds survives a failure.
apply() {
	local p group=''
	if [ -n "$(git -C $tree rev-parse -q --verify applying || true)" ] &&
	   ! git -C $tree merge-base --is-ancestor applying series; then
		git -C $tree branch -q -M applying "applied-$(date +%s)"
	fi
	git -C $tree checkout -q -B applying base
	series patches | while read -r p; do
		if [ "${p%/*}" != "$group" ]; then
			group=${p%/*}
			cover "$group" </dev/null
		fi
		echo "Applying $p"
		git -C $tree am -q --committer-date-is-author-date \
			"$PWD/patches/$p" </dev/null || {
			git -C $tree am --abort || true
			git -C $tree checkout -q series
			say "$p does not apply to $(git -C $tree log -1 --format=%s base)"
			say "mend it: branch 'applying' of $tree has the ones before it"
			exit 1
		}
	done
	git -C $tree checkout -q -B series
	git -C $tree branch -q -D applying
	remember $tree patches
}

# may_lose: what of it would be lost with the tree, a line each
may_lose() {
	local w
	git -C $tree for-each-ref --format='branch %(refname:short)' --no-merged=series refs/heads
	git -C $tree stash list
	for w in $(git -C $tree worktree list --porcelain | sed -n 's/^worktree //p'); do
		# Those that other scripts make hold no work.
		case ${w##*/} in
		each-src | groups-src | stock-src | linux-kunit | linux-mutants) continue ;;
		esac
		[ -d "$w" ] || continue
		git -C "$w" status --porcelain | sed "s,^,$w: ,"
		[ -n "$(git -C $tree branch --contains "$(git -C "$w" rev-parse HEAD)" --format=x)" ] ||
			echo "$w: commits that are on no branch"
	done
	! busy $tree || echo "a rebase or am"
}

if [ "${1:-}" = remove ]; then
	if [ -d $tree/.git ]; then
		others=$(may_lose)
		if [ -n "$others" ] || ! scripts/build/patches.sh --check; then
			say "$tree has work that patches/ does not:"
			[ -z "$others" ] || echo "$others" | head -n 20 >&2
			say "save it ('make patches'), or remove build/ by hand"
			exit 1
		fi
	fi
	rm -rf build
	exit 0
fi

if [ "${1:-}" = stock ]; then
	[ -d build/stock-src ] || git -C $tree worktree add -q --detach ../stock-src base
	exit 0
fi

[ -d $tree/.git ] || {
	say "unpacking $tar into $tree: takes a minute or two"
	unpack
	apply
	exit 0
}

# A first time that was cut short
if [ "$(git -C $tree rev-parse series)" = "$(git -C $tree rev-parse base)" ] && ! busy $tree; then
	apply
	exit 0
fi

# From here on the tree may hold commits of its own.
if busy $tree; then
	say "$tree is in the middle of a rebase or am: finish it first"
	exit 1
fi
head=$(git -C $tree rev-parse series)
was_head=$(git -C $tree config prezero.head || true)
was_patches=$(git -C $tree config prezero.patches || true)
is_patches=$(patches_id patches)

# Same patches by content, whatever the commits are?
if [ "$head" != "$was_head" ] || [ "$is_patches" != "$was_patches" ]; then
	now=$(mktemp -d)
	trap 'rm -rf "$now"' EXIT
	format_series $tree base..series "$now"
	if [ "$(patches_id "$now")" = "$is_patches" ]; then
		remember $tree patches
		was_head=$head
		was_patches=$is_patches
	fi
fi

own='' changed=''
[ "$head" = "$was_head" ] || own=1
[ "$is_patches" = "$was_patches" ] || changed=1
dirty=$(git -C $tree status --porcelain --untracked-files=no | head -n 1)

if [ "$(git -C $tree symbolic-ref -q --short HEAD)" != series ]; then
	say "$tree is not on branch 'series': run 'git -C $tree checkout series'"
	exit 1
elif [ -n "$changed" ] && [ -n "$own$dirty" ] && [ -n "$was_patches" ]; then
	say "patches/ changed, and $tree has work of its own."
	say "Keep the tree's: commit there, then 'make patches'."
	say "Take patches/: 'git -C $tree branch mine && git -C $tree reset --hard $was_head', then again."
	exit 1
elif [ -n "$changed" ] && [ -z "$own$dirty" ]; then
	say "patches/ changed: applying them anew"
	apply
elif [ -n "$own" ]; then
	say "note: $tree has commits that patches/ does not: 'make patches' when they are ready"
elif [ -n "$dirty" ]; then
	say "note: $tree has changes that are not committed; they are built as they are"
fi
