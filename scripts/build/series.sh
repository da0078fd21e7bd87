# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What source.sh and patches.sh share: git without the user's settings, the
# series as files, and what of it a tree holds.

# The user's aliases, diff algorithm and signature key stay out of the patches.
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
# The tree may belong to another user than the one that runs this.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'

# A rebase, am or merge is under way.
busy() {
	local d
	d=$(git -C "$1" rev-parse --absolute-git-dir)
	[ -e "$d/rebase-merge" ] || [ -e "$d/rebase-apply" ] || [ -e "$d/MERGE_HEAD" ]
}

# format_series TREE RANGE OUTDIR: one file per commit, and the series file
format_series() {
	git -C "$1" -c diff.algorithm=myers -c core.abbrev=40 format-patch --quiet \
		--zero-commit --no-signature --no-numbered --no-base --no-thread \
		--full-index --no-renames --no-color --no-ext-diff --no-textconv \
		--no-attach --no-cover-letter --stat=80 -o "$3" "$2"
	# Neither dates nor hashes: rebuilding the tree must change nothing.
	sed -i -e '1,/^---$/ { /^Date: /d }' \
		-e '/^index [0-9a-f]\{40\}\.\.[0-9a-f]\{40\}/d' "$3"/*.patch
	{
		echo "# SPDX-License-Identifier: GPL-2.0"
		(cd "$3" && find . -name '*.patch' -printf '%f\n' | LC_ALL=C sort)
	} >"$3/series"
}

series() {
	[ ! -e "$1/series" ] || grep -vE '^(#|$)' "$1/series" || true
}

# A name for the state of a patches directory
patches_id() {
	(cd "$1" && series . | while read -r p; do cat "$p"; done | sha256sum | cut -d' ' -f1)
}

# remember TREE PATCHES: the tree's series and these patches are the same.
remember() {
	git -C "$1" config prezero.head "$(git -C "$1" rev-parse series)"
	git -C "$1" config prezero.patches "$(patches_id "$2")"
}
