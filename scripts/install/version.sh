#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Print the project's version: the module's, else the newest in CHANGELOG.
cd "$(dirname "$(realpath "$0")")/../.." || exit
version=$(sed -n 's/^MODULE_VERSION("\(.*\)");$/\1/p' module/prezero.c)
[ -n "$version" ] || [ ! -e CHANGELOG ] ||
	version=$(sed -n 's/^[^0-9]*\([0-9][0-9]*\(\.[0-9][0-9]*\)\{1,\}\).*/\1/p' CHANGELOG | head -n 1)
echo "${version:-0.9}"
