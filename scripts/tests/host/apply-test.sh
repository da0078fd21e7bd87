#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# apply.sh against trees in order and out of order.  A tree here is the files
# the series touches, as they are before it, and the top Makefile.
set -uo pipefail
top=$(realpath "$(dirname "$0")/../../..")
linux=$top/build/linux
patches=${PATCHES:-$top/patches}
export PATCHES=$patches
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export GIT_CONFIG_GLOBAL=$work/gitconfig GIT_CONFIG_SYSTEM=/dev/null
git config --global user.name test
git config --global user.email test@localhost
git config --global init.defaultBranch main

# shellcheck source=scripts/build/series.sh
. "$top/scripts/build/series.sh"
mapfile -t series < <(series "$patches")
mapfile -t files < <(cd "$patches" && sed -nE 's,^(---|\+\+\+) [ab]/,,p' "${series[@]}" | sort -u)

# shellcheck source=scripts/ktap.sh
. "$top/scripts/ktap.sh"

plain() {
	local f
	rm -rf "$work/tree"
	mkdir "$work/tree"
	for f in Makefile "${files[@]}"; do
		git -C "$linux" cat-file -e "base:$f" 2>/dev/null || continue
		mkdir -p "$work/tree/$(dirname "$f")"
		git -C "$linux" show "base:$f" >"$work/tree/$f"
	done
}

git_tree() {
	plain
	git -C "$work/tree" init -q
	git -C "$work/tree" add -A
	git -C "$work/tree" commit -qm base
}

# The files only: what git keeps for itself is not the tree's content.
sum() {
	(cd "$work/tree" && find . -path ./.git -prune -o -type f -print0 | sort -z | xargs -0 sha256sum)
}

run() {
	"$top/scripts/apply.sh" "$work/tree" "$@" 2>&1 | tee "$work/out"
}

# applied TREE [OPTION... -- GROUP...]: that tree gets exactly these groups
applied() {
	local p options=() want=()
	mapfile -t want < <(series "$patches" "${@:3}")
	if [ $# -gt 1 ]; then
		read -ra options <<<"$2"
	fi
	plain >/dev/null
	mv "$work/tree" "$work/want"
	for p in "${want[@]}"; do
		patch -d "$work/want" -p1 -F0 -f -s --no-backup-if-mismatch <"$patches/$p" || return 1
	done
	"$1" && run "${options[@]}" || return 1
	diff -r -x .git "$work/want" "$work/tree"
	local rc=$?
	rm -rf "$work/want"
	return "$rc"
}

# refused MESSAGE [OPTION...]: says so, fails, and leaves every file alone
refused() {
	local before
	before=$(sum)
	! run "${@:2}" || return 1
	grep -q "$1" "$work/out" && [ "$(sum)" = "$before" ]
}

# A dry run says which patches, and leaves every file alone.
dry() {
	local before
	plain
	before=$(sum)
	run --dry-run && [ "$(sum)" = "$before" ] &&
		[ "$(grep -c '\.patch$' "$work/out")" = ${#series[@]} ]
}

# alone GROUP: with what it needs, as commits of which git am makes no complaint
alone() {
	local list
	mapfile -t list < <(with_needs "$patches" "$1")
	applied git_tree "--only $1" "${list[@]}"
}

t "a plain tree gets the series" applied plain
t "a second time is refused" refused "already"
t "a git tree gets the series" applied git_tree
commits=$(git -C "$work/tree" rev-list --count HEAD)
t "as one commit per patch" test "$commits" = $((${#series[@]} + 1))
t "a second time is refused on git, too" refused "already"

plain
patch -d "$work/tree" -p1 -f -s <"$patches/${series[0]}"
t "a tree with the first patch only is refused" refused "part of the series"

git_tree
some=("${series[@]:0:(${#series[@]} + 1) / 2}")
git -C "$work/tree" am -q "${some[@]/#/$patches/}"
t "a git tree with the first half is refused" refused "already"

plain
sed -i 's/^PATCHLEVEL = .*/PATCHLEVEL = 11/' "$work/tree/Makefile"
t "another version is refused" refused "is Linux 6.11"

git_tree
echo "# mine" >>"$work/tree/Makefile"
t "a git tree with open changes is refused" refused "not committed"

git_tree
mkdir "$work/tree/.git/rebase-apply"
t "a git tree in the middle of an am is refused" refused "in the middle"
rmdir "$work/tree/.git/rebase-apply" || echo "not ok the am is gone"

plain
cp -al "$work/tree" "$work/linked"
before=$(cd "$work/linked" && sha256sum <"${files[0]}")
t "a plain tree gets the series, its hard links do not" run
t "so it is" test "$(cd "$work/linked" && sha256sum <"${files[0]}")" = "$before"
rm -rf "$work/linked"

plain
last=$(sed -nE 's,^\+\+\+ b/,,p' "$patches/${series[-1]}" | tail -n 1)
: >"$work/tree/$last"
t "a tree the last patch does not fit is refused, untouched" refused "does not apply"

rm -rf "$work/tree"
mkdir "$work/tree"
t "something that is no kernel tree is refused" refused "not a kernel tree"

t "a dry run changes nothing" dry
for g in $(groups "$patches"); do
	t "group $g applies alone, with what it needs" alone "$g"
done
last=$(groups "$patches" | tail -n 1)
mapfile -t others < <(groups "$patches" | grep -vx "$last")
t "a group is left out" applied plain "--without $last" "${others[@]}"
plain
needed=$(needs "$patches" "$last" | cut -d' ' -f1)
t "a group that another one needs is not left out" refused "$last needs $needed" --without "$needed"
t "a list of no groups is refused" refused "which groups" --only
t "a group that does not exist is refused" refused "no such group: nothing" --only nothing
t "an option that does not exist is refused" refused "no such option" --nosuch vfio

finish
