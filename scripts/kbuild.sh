#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Configure and build one of the lab's kernels, if anything it is made of
# changed.
#
# usage: kbuild.sh NAME SOURCE FRAGMENT...
#   NAME      object directory under build/
#   SOURCE    source tree under build/
#   FRAGMENT  configuration fragments over allnoconfig
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/.."
name=$1 src=$PWD/build/$2
shift 2
out=$PWD/build/$name
mkdir -p "$out" build/logs

# What the kernel is made of: commit, changes on top, files git does not know,
# configuration, compiler.
inputs() {
	git -C "$src" rev-parse HEAD
	git -C "$src" diff HEAD
	git -C "$src" ls-files -o --exclude-standard -z | (cd "$src" && xargs -0r sha256sum)
	cat "$@" scripts/kbuild.sh scripts/kmake.sh
	gcc --version
	realpath "$src"
}
id=$(inputs "$@" | sha256sum)

if [ "$(cat "$out/.inputs" 2>/dev/null)" = "$id" ] && [ -e "$out/arch/x86/boot/bzImage" ]; then
	exit 0
fi
rm -f "$out/.inputs"

log=build/logs/config-$name.log
{
	scripts/kmake.sh -C "$src" O="$out" allnoconfig &&
		(cd "$src" && scripts/kconfig/merge_config.sh -m -O "$out" "$out/.config" \
			"${@/#/$OLDPWD/}") &&
		scripts/kmake.sh -C "$src" O="$out" olddefconfig
} >"$log" 2>&1 || {
	echo "kbuild: configuring $name failed: see $log" >&2
	exit 1
}
# An option that did not survive is a test that silently tests nothing.  A
# later fragment has the last word on a symbol.
lost=$(awk '
	match($0, /CONFIG_[A-Z0-9_]+/) && /^(CONFIG_|# CONFIG_.* is not set)/ {
		want[substr($0, RSTART, RLENGTH)] = $0
	}
	END { for (s in want) print want[s] }' "$@" | grep -vxFf "$out/.config" || true)
if [ -n "$lost" ]; then
	echo "kbuild: $name: these did not get into the configuration (dependencies? duplicates?):" >&2
	echo "$lost" >&2
	exit 1
fi

scripts/progress.sh "kernel $name" "build/logs/kernel-$name.log" \
	scripts/kmake.sh -C "$src" O="$out" -j"$(nproc)" bzImage modules
echo "$id" >"$out/.inputs"
