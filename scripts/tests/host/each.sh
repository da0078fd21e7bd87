#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The series adds no message of gcc W=1, kernel-doc or sparse to the files it changes,
# builds without its option, and compiles for arm64.
#
# usage: each.sh [all]
#   all   and the kernel builds after each patch (make check-long)
#
# Only the directories that the series changes are built here.  "make kernel" builds
# the whole kernel after the last patch.
set -uo pipefail
cd "$(dirname "$(realpath "$0")")/../../.." || exit
linux=build/linux src=$PWD/build/each-src out=$PWD/build/each
log=build/logs/each.log

# shellcheck source=scripts/build/git.sh
. scripts/build/git.sh
# shellcheck source=scripts/ktap.sh
. scripts/ktap.sh

mkdir -p "$out" build/logs
: >$log
git -C $linux worktree prune
[ -d "$src" ] || git -C $linux worktree add -q --detach "$src" base
at() {
	git -C "$src" checkout -q --detach "$1"
}

# The files this configuration compiles, and those that only arm64 has
mapfile -t all < <(git -C $linux diff --name-only --diff-filter=AM base series -- '*.c' |
	grep -E '^(arch/x86|block|crypto|drivers|fs|init|ipc|kernel|lib|mm|net|virt)/')
mapfile -t touched < <(printf '%s\n' "${all[@]}" | grep -v '^drivers/iommu/.*arm')
mapfile -t touched_arm64 < <(printf '%s\n' "${all[@]}" | grep -vE '^drivers/iommu/(amd|intel)/')
mapfile -t dirs < <(dirname "${touched[@]}" | sort -u)

configure() {
	scripts/build/kconfig.sh each "${src##*/}" scripts/lab/lab.config "$@" 2>&1
}

# build: the objects of those directories, without a warning
build() {
	scripts/build/kmake.sh -C "$src" O="$out" -j"$(nproc)" KCFLAGS=-Werror "${dirs[@]/%//}" \
		>"$out/build.log" 2>&1
	local rc=$?
	cat "$out/build.log" >>"$log"
	[ "$rc" -eq 0 ] || grep -E -A5 '(error|warning):|\*\*\*' "$out/build.log"
	return "$rc"
}

# messages FILE.c...: what gcc, kernel-doc and sparse say, less the places
messages() {
	local f objs=()
	for f; do
		[ ! -e "$src/$f" ] || objs+=("${f%.c}.o")
	done
	# Compile all of them again: only then there are messages.
	(cd "$out" && rm -f "${objs[@]}")
	scripts/build/kmake.sh -C "$src" O="$out" -j"$(nproc)" C=2 W=1 CF=-fdiagnostic-prefix=sparse \
		"${objs[@]}" 2>&1 | tee -a $log | grep -E '(warning|error):' |
		sed -E 's,^(\.\./)*[^:]*each-src/,,; s/:[0-9]+(:[0-9]+)?:/:/g' | sort
}

no_new_messages() {
	messages "${touched[@]}" >"$out/messages"
	comm -13 "$out/base-messages" "$out/messages" >"$out/new-messages"
	cat "$out/new-messages"
	[ ! -s "$out/new-messages" ]
}

# The same files, from the last one, and the module, for the other architecture
build_arm64() {
	local ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu- dir=$PWD/build/each-arm64
	export ARCH CROSS_COMPILE

	scripts/build/kconfig.sh each-arm64 "${src##*/}" scripts/lab/arm64.config Kconfig.fragment 2>&1 &&
		scripts/build/kmake.sh -C "$src" O="$dir" -j"$(nproc)" KCFLAGS=-Werror \
			modules_prepare "${touched_arm64[@]/%.c/.o}" 2>&1 &&
		cp -r module "$dir" &&
		scripts/build/kmake.sh -C "$dir" M="$dir/module" KCFLAGS=-Werror prezero.o 2>&1
}

# build_patch COMMIT: what it adds to choose from is chosen first
build_patch() {
	git -C "$linux" diff --quiet "$1^" "$1" -- '*Kconfig*' ||
		configure Kconfig.fragment || return
	build
}

build_without() {
	configure && build
}

at base
t "the kernel before the series is configured" configure
messages "${touched[@]}" >"$out/base-messages"
if [ "${1:-}" = all ]; then
	for commit in $(git -C $linux rev-list --reverse base..series); do
		! is_cover $linux "$commit" || continue
		at "$commit"
		t "builds after: $(git -C $linux log -1 --format=%s "$commit")" build_patch "$commit"
	done
fi
at series
configure Kconfig.fragment
t "no new message from gcc W=1, kernel-doc or sparse" no_new_messages
# As it is without the feature
t "builds without CONFIG_PAGE_PREZERO" build_without
t "compiles for arm64" build_arm64
finish
