#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Print the project's version: the module's, else the newest in CHANGELOG; or
# PREZERO_VERSION, for tests of an upgrade.
cd "$(dirname "$(realpath "$0")")/../.." || exit
version=${PREZERO_VERSION:-}
[ -n "$version" ] || version=$(sed -n 's/^MODULE_VERSION("\(.*\)");$/\1/p' module/prezero.c)
[ -n "$version" ] || [ ! -e CHANGELOG ] ||
	version=$(sed -n 's/^[^0-9]*\([0-9][0-9]*\(\.[0-9][0-9]*\)\{1,\}\).*/\1/p' CHANGELOG | head -n 1)
echo "${version:-0.9}"
