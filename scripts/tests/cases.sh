#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Run lab tests from the table scripts/tests/cases, by group or by name.
#
# usage: cases.sh GROUP-OR-NAME...
set -uo pipefail
cd "$(dirname "$(realpath "$0")")/../.." || exit
# shellcheck source=scripts/ktap.sh
. scripts/ktap.sh

# What the test in the lab said, if run.sh came as far as starting it.
subtests() {
	grep -aE '^ *(not )?ok ' "build/runs/$name/out.log" 2>/dev/null | sed 's/^/    /'
}

while read -r name kernel cpus mem limit groups flags script; do
	wanted=
	for w; do
		case ",$groups,$name," in *",$w,"*) wanted=1 ;; esac
	done
	[ -n "$wanted" ] || continue
	options=()
	[ "$flags" = - ] || IFS=, read -ra options <<<"$flags"
	rm -f "build/runs/$name/out.log"
	# Word splitting is wanted: the script's arguments.
	# shellcheck disable=SC2086
	t "lab: $name" scripts/lab/run.sh --kernel "$kernel" --cpus "$cpus" --memory "$mem" --time "$limit" \
		"${options[@]}" --name "$name" scripts/tests/guest/$script
done < <(grep -vE '^(#|$)' scripts/tests/cases)

[ "$KTAP_N" -gt 0 ] || { echo "cases: nothing in scripts/tests/cases is called $*" >&2; exit 2; }
finish
