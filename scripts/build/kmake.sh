#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# make for a kernel tree, through ccache.  The same inputs give the same objects in
# any directory, at any time, for any user.
CCACHE_BASEDIR=$(realpath "$(dirname "$0")/../..")
export CCACHE_BASEDIR CCACHE_NOHASHDIR=1 CCACHE_COMPILERCHECK=content
export KBUILD_BUILD_USER=lab KBUILD_BUILD_HOST=lab KBUILD_BUILD_VERSION=1
export KBUILD_BUILD_TIMESTAMP='2024-11-17'
exec make CC="ccache ${CROSS_COMPILE:-}gcc" HOSTCC="ccache gcc" "$@"
