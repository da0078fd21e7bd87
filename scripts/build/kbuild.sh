#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Configure and build one of the lab's kernels, if its source, configuration or
# compiler changed.
#
# usage: kbuild.sh NAME SOURCE FRAGMENT...
#   NAME      object directory under build/
#   SOURCE    source tree under build/
#   FRAGMENT  configuration fragments over allnoconfig
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/../.."
name=$1 src=$PWD/build/$2
shift 2
out=$PWD/build/$name
mkdir -p "$out" build/logs

# All that the kernel is made of: commit, changes on top, files unknown to git,
# configuration, compiler.
inputs() {
	git -C "$src" rev-parse HEAD
	git -C "$src" diff HEAD
	git -C "$src" ls-files -o --exclude-standard -z | (cd "$src" && xargs -0r sha256sum)
	cat "$@" scripts/build/kbuild.sh scripts/build/kconfig.sh scripts/build/kmake.sh
	gcc --version
	realpath "$src"
}
id=$(inputs "$@" | sha256sum)

if [ "$(cat "$out/.inputs" 2>/dev/null)" = "$id" ] && [ -e "$out/arch/x86/boot/bzImage" ]; then
	exit 0
fi
rm -f "$out/.inputs"

scripts/build/kconfig.sh "$name" "${src##*/}" "$@"
scripts/build/progress.sh "kernel $name" "build/logs/kernel-$name.log" \
	scripts/build/kmake.sh -C "$src" O="$out" -j"$(nproc)" bzImage modules
echo "$id" >"$out/.inputs"
