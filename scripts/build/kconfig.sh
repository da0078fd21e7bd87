#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Configure a kernel: allnoconfig and fragments over it.  Fails when an option of a
# fragment does not get into the configuration.
#
# usage: kconfig.sh NAME SOURCE FRAGMENT...
#   NAME      object directory under build/
#   SOURCE    source tree under build/
#   FRAGMENT  configuration fragments; the last one that names a symbol counts
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/../.."
name=$1 src=$PWD/build/$2 out=$PWD/build/$1 log=build/logs/config-$1.log
shift 2
mkdir -p "$out" build/logs

{
	scripts/build/kmake.sh -C "$src" O="$out" allnoconfig &&
		(cd "$src" && scripts/kconfig/merge_config.sh -m -O "$out" "$out/.config" \
			"${@/#/$OLDPWD/}") &&
		scripts/build/kmake.sh -C "$src" O="$out" olddefconfig
} >"$log" 2>&1 || {
	echo "kconfig: configuring $name failed: see $log" >&2
	exit 1
}

# unset_in CONFIG FRAGMENT...: the fragments' "is not set" lines that CONFIG agrees
# with; a symbol that CONFIG does not have is not set, either
unset_in() {
	grep -hxE '# CONFIG_[A-Z0-9_]+ is not set' "${@:2}" | while read -r _ s _; do
		grep -q "^$s=" "$1" || echo "# $s is not set"
	done
}

# Without its option a test would silently test nothing.
lost=$(awk '
	match($0, /CONFIG_[A-Z0-9_]+/) && /^(CONFIG_|# CONFIG_.* is not set)/ {
		want[substr($0, RSTART, RLENGTH)] = $0
	}
	END {
		for (s in want)
			print want[s]
	}' "$@" | grep -vxFf <(cat "$out/.config"; unset_in "$out/.config" "$@") || true)
if [ -n "$lost" ]; then
	echo "kconfig: $name: these did not get into the configuration (dependencies? duplicates?):" >&2
	echo "$lost" >&2
	exit 1
fi
