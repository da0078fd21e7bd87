#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Checks of the files that need no build.
set -uo pipefail
cd "$(dirname "$(realpath "$0")")/../../.." || exit
linux=$PWD/build/linux
dictionary=/usr/lib/python3/dist-packages/codespell_lib/data/dictionary.txt

# shellcheck source=scripts/build/git.sh
. scripts/build/git.sh
# shellcheck source=scripts/ktap.sh
. scripts/ktap.sh

mapfile -t files < <(git ls-files -co --exclude-standard | while read -r f; do [ ! -f "$f" ] || echo "$f"; done)
[ ${#files[@]} -gt 0 ] || { echo "style: git lists no files here" >&2; exit 1; }
matching() {
	printf '%s\n' "${files[@]}" | grep -E "$1" || true
}

shell_ok() {
	local scripts
	mapfile -t scripts < <(grep -lE '^#!/bin/(ba)?sh|shellcheck shell=' "${files[@]}")
	# SC2317: functions that t() calls look unreachable.
	shellcheck -x -P . -e SC2317 "${scripts[@]}"
}

# Patches carry their files' own; the formats of ABI files and pictures have no
# comments; COPYING is the license itself.
spdx_ok() {
	local f bad=0
	for f in $(matching '.' | grep -vE '^patches/.*\.patch$|^Documentation/ABI/|\.png$|^COPYING$'); do
		head -n 3 "$f" | grep -q 'SPDX-License-Identifier: GPL-2.0' || {
			echo "$f: no SPDX line"
			bad=1
		}
	done
	return "$bad"
}

rst_ok() {
	local f bad=0
	for f in $(matching '\.rst$'); do
		rst2html --strict "$f" >/dev/null || bad=1
	done
	return "$bad"
}

# get_abi.pl prints what it does not like, and ends with 0 all the same.
abi_ok() {
	local out
	out=$("$linux/scripts/get_abi.pl" --dir Documentation/ABI validate 2>&1) || return
	echo "$out"
	[ -z "$out" ]
}

checkpatch() {
	# Debian's python3 has the modules that it needs, so it must come first in PATH.
	(cd "$linux" && PATH=/usr/bin:/bin scripts/checkpatch.pl --strict --show-types --no-summary --quiet \
		--codespell --codespellfile "$dictionary" "$@")
}

t "shellcheck" shell_ok
# "coo" is a variable of the AMD IOMMU driver's, "Nd" a macro of manual pages, "parm"
# what modinfo calls a parameter
t "spelling" codespell -L coo,nd,parm "${files[@]}"
t "every file has its SPDX line" spdx_ok
t "reStructuredText" rst_ok
t "ABI: get_abi.pl validate" abi_ok
t "patches/ is what branch series holds" scripts/build/patches.sh --check
t "the mutations fit the series" git -C "$linux" apply --check "$PWD/kunit/mutations/mutants.patch"
# Page flags have CamelCase names; MAINTAINERS covers new files in mm/; commits of
# later releases, which the patches name, are not in this tree.
for p in $(series patches); do
	t "checkpatch $p" checkpatch --ignore CAMELCASE,FILE_PATH_CHANGES,UNKNOWN_COMMIT_ID "$PWD/patches/$p"
done
for f in $(matching '^(module|kunit)/.*\.[ch]$'); do
	t "checkpatch $f" checkpatch --file "$PWD/$f"
done
# In user space there is no readl() instead of volatile, and no header has macros
# for attributes.
for f in $(matching '^scripts/.*\.[ch]$'); do
	t "checkpatch $f" checkpatch --no-tree --ignore VOLATILE,PREFER_DEFINED_ATTRIBUTE_MACRO --file "$PWD/$f"
done
finish
