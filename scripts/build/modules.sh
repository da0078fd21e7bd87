#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Build module/ or kunit/ for one of the lab's kernels, for each kernel in a
# directory of its own, where run.sh finds them.
#
# usage: modules.sh NAME PART...
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/../.."
name=$1
shift
kdir=$PWD/build/$name
mkdir -p build/logs

for part; do
	dir=build/mod/$name/$part
	mkdir -p "$dir"
	# Sources by link: an error message's path leads to the real file.
	find "$dir" -type l -delete
	find "$part" \( -name '*.[ch]' -o -name Kbuild \) ! -name '*.mod.c' | while read -r f; do
		mkdir -p "build/mod/$name/$(dirname "$f")"
		ln -s "$PWD/$f" "build/mod/$name/$f"
	done
	log=build/logs/${part//\//-}-$name.log
	scripts/build/kmake.sh -C "$kdir" M="$PWD/$dir" modules >"$log" 2>&1 || {
		echo "modules: $part does not build for $name, from $log:" >&2
		grep -E 'error|warning|undefined|\*\*\*' "$log" | head -n 20 >&2
		exit 1
	}
done
