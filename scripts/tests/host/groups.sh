#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Each group of patches, with those that it needs and no other, builds and boots.
#
# usage: groups.sh [GROUP...]
set -uo pipefail
cd "$(dirname "$(realpath "$0")")/../../.." || exit
src=build/groups-src

# shellcheck source=scripts/build/git.sh
. scripts/build/git.sh
# shellcheck source=scripts/ktap.sh
. scripts/ktap.sh

export GIT_COMMITTER_NAME=groups GIT_COMMITTER_EMAIL=groups@localhost
git -C build/linux worktree prune
[ -d $src ] || git -C build/linux worktree add -q --detach ../groups-src base

group() {
	local fragments=(scripts/lab/lab.config)
	git -C "$src" checkout -q --detach base &&
		scripts/apply.sh "$src" --only "$1" || return
	[ ! -e "$src/mm/page_prezero.c" ] || fragments+=(Kconfig.fragment)
	scripts/build/kbuild.sh groups groups-src "${fragments[@]}" &&
		scripts/lab/run.sh --kernel groups --memory 512M --time 60 --untimed \
			--name "group-$1" scripts/tests/guest/boot.sh
}

[ $# -gt 0 ] || mapfile -t all < <(groups patches)
for g in "${@:-${all[@]}}"; do
	t "group $g builds and boots" group "$g"
done
finish
