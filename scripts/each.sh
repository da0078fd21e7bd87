#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# After each patch the kernel still builds, and in the end the files the series
# touches bring no new message from gcc W=1, kernel-doc or sparse.
#
# Inner patches: the objects of the directories the series touches.  The whole
# kernel is built from the last one anyway.
set -uo pipefail
cd "$(dirname "$(realpath "$0")")/.." || exit
linux=build/linux src=$PWD/build/each-src out=$PWD/build/each
log=build/logs/each.log

# shellcheck source=scripts/git.sh
. scripts/git.sh
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
arm64='^drivers/iommu/(arm/|io-pgtable-arm)'
mapfile -t touched < <(printf '%s\n' "${all[@]}" | grep -vE "$arm64")
mapfile -t touched_arm64 < <(printf '%s\n' "${all[@]}" | grep -E "$arm64|^mm/gup|^drivers/vfio/")
mapfile -t dirs < <(dirname "${touched[@]}" | sort -u)
# More than the lab has, so that all of them are compiled
options=(-e AMD_IOMMU)

configure() {
	scripts/kmake.sh -C "$src" O="$out" allnoconfig &&
		(cd "$src" && scripts/kconfig/merge_config.sh -m -O "$out" "$out/.config" \
			"$OLDPWD/scripts/lab/lab.config" "$OLDPWD/Kconfig.fragment" &&
			scripts/config --file "$out/.config" "${options[@]}") &&
		scripts/kmake.sh -C "$src" O="$out" olddefconfig
}

build() {
	configure >>"$log" 2>&1 || { tail -n 5 "$log"; return 1; }
	scripts/kmake.sh -C "$src" O="$out" -j"$(nproc)" KCFLAGS=-Werror "${dirs[@]/%//}" \
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
	# Compile them again, whatever is there: only then they speak.
	(cd "$out" && rm -f "${objs[@]}")
	scripts/kmake.sh -C "$src" O="$out" -j"$(nproc)" C=2 W=1 CF=-fdiagnostic-prefix=sparse \
		"${objs[@]}" 2>&1 | tee -a $log | grep -E '(warning|error):' |
		sed -E 's,^(\.\./)*[^:]*each-src/,,; s/:[0-9]+(:[0-9]+)?:/:/g' | sort
}

no_new_messages() {
	messages "${touched[@]}" >"$out/messages"
	comm -13 "$out/base-messages" "$out/messages" >"$out/new-messages"
	cat "$out/new-messages"
	[ ! -s "$out/new-messages" ]
}

# The last one again, as it is for those who do not want the feature
build_without() {
	(cd "$out" && "$src/scripts/config" --file .config -d PAGE_PREZERO) &&
		scripts/kmake.sh -C "$src" O="$out" olddefconfig >>"$log" 2>&1 || return 1
	! grep -q '^CONFIG_PAGE_PREZERO=' "$out/.config" || return 1
	scripts/kmake.sh -C "$src" O="$out" -j"$(nproc)" KCFLAGS=-Werror "${dirs[@]/%//}" \
		>"$out/build.log" 2>&1 || { tail -n 20 "$out/build.log"; return 1; }
}

# What is left, from the last one, for that architecture
build_arm64() {
	local make=(scripts/kmake.sh -C "$src" O="$out-arm64" ARCH=arm64
		CROSS_COMPILE=aarch64-linux-gnu- CC="ccache aarch64-linux-gnu-gcc" -j"$(nproc)")
	local options=() o
	for o in PCI IOMMU_SUPPORT ARM_SMMU_V3 IOMMUFD VFIO VFIO_CONTAINER VFIO_IOMMU_TYPE1 VFIO_PCI \
		TRANSPARENT_HUGEPAGE HUGETLBFS CMA MIGRATION COMPACTION PAGE_REPORTING PAGE_PREZERO MODULES; do
		options+=(-e "$o")
	done
	mkdir -p "$out-arm64"
	{
		"${make[@]}" allnoconfig &&
			"$src/scripts/config" --file "$out-arm64/.config" "${options[@]}" &&
			"${make[@]}" olddefconfig &&
			"${make[@]}" KCFLAGS=-Werror "${touched_arm64[@]/%.c/.o}"
	} >"$out/build.log" 2>&1 || { tail -n 20 "$out/build.log"; return 1; }
}

at base
t "the kernel before the series is configured" configure
messages "${touched[@]}" >"$out/base-messages"
for commit in $(git -C $linux rev-list --reverse base..series); do
	at "$commit"
	t "builds after: $(git -C $linux log -1 --format=%s "$commit")" build
done
t "no new message from gcc W=1, kernel-doc or sparse" no_new_messages
t "builds without CONFIG_PAGE_PREZERO" build_without
t "builds for arm64" build_arm64
finish
