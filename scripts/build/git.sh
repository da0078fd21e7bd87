# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What source.sh and patches.sh share: git without the user's settings, the
# series as files, and what of it a tree holds.
#
# In the tree an empty commit "cover/GROUP: TITLE" begins each group; its body is
# the cover letter.

# shellcheck source=scripts/build/series.sh
. "$(dirname "${BASH_SOURCE[0]}")/series.sh"

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

# format_series TREE RANGE OUTDIR: a directory per group, a file per commit, and the
# series file
format_series() {
	local tree=$1 out=$3 commit group='' cover='' last=''
	echo "# SPDX-License-Identifier: GPL-2.0" >"$out/series"
	for commit in $(git -C "$tree" rev-list --reverse "$2") end; do
		if [ "$commit" != end ] && ! is_cover "$tree" "$commit"; then
			[ -n "$group" ] || {
				echo "commit $commit of $tree comes before the first \"cover/GROUP: TITLE\"" >&2
				return 1
			}
			last=$commit
			continue
		fi
		[ -z "$group" ] || format_group "$tree" "$group" "$cover" "$last" "$out" || return
		[ "$commit" != end ] || break
		cover=$commit last=$commit
		group=$(git -C "$tree" log -1 --format=%s "$commit" | sed 's,^cover/\([^:]*\): .*,\1,')
	done
	# Neither dates nor hashes: rebuilding the tree must change nothing.
	find "$out" -name '*.patch' -exec sed -i -e '1,/^---$/ { /^Date: /d }' \
		-e '/^index [0-9a-f]\{40\}\.\.[0-9a-f]\{40\}/d' {} +
}

is_cover() {
	[[ $(git -C "$1" log -1 --format=%s "$2") == cover/* ]]
}

# format_group TREE GROUP COVER LAST OUTDIR: the commits after COVER up to LAST
format_group() {
	local dir=$5/$2 title n
	mkdir -p "$dir"
	git -C "$1" -c diff.algorithm=myers -c core.abbrev=40 format-patch --quiet \
		--zero-commit --no-signature --numbered --no-base --no-thread \
		--full-index --no-renames --no-color --no-ext-diff --no-textconv \
		--no-attach --no-cover-letter --stat=80 -o "$dir" "$3..$4" || return
	n=$(find "$dir" -name '*.patch' | wc -l)
	title=$(git -C "$1" log -1 --format=%s "$3" | sed 's/^[^:]*: //')
	{
		printf 'From %040d Mon Sep 17 00:00:00 2001\n' 0
		git -C "$1" log -1 --format="From: %an <%ae>%nSubject: [PATCH 0/$n] $title%n%n%b" "$3"
	} | sed -e :a -e '/^\n*$/ { $d; N; ba' -e '}' >"$dir/0000-cover-letter.patch"
	{
		printf '\n# %s: %s\n' "$2" "$title"
		(cd "$5" && find "$2" -name '*.patch' ! -name '0000-*' | LC_ALL=C sort)
	} >>"$5/series"
}

# A name for the state of a patches directory
patches_id() {
	(cd "$1" && {
		for g in $(groups .); do cat "$g/0000-cover-letter.patch"; done
		series . | while read -r p; do cat "$p"; done
	} | sha256sum | cut -d' ' -f1)
}

# remember TREE PATCHES: the tree's series and these patches are the same.
remember() {
	git -C "$1" config prezero.head "$(git -C "$1" rev-parse series)"
	git -C "$1" config prezero.patches "$(patches_id "$2")"
}
