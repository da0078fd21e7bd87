#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Copy the module's source, without what a build leaves beside it.
#
# usage: source.sh DIRECTORY
set -eu
cd "$(dirname "$(realpath "$0")")/../.."
mkdir -p "$1"
find module -maxdepth 1 \( -name '*.[ch]' -o -name Kbuild \) ! -name '*.mod.c' \
	-exec install -m 644 {} "$1" \;
