#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Run a long command: its output goes to a log, one line shows its progress, and
# the log's errors are shown when it fails.
#
# usage: progress.sh LABEL LOG COMMAND...
set -u
label=$1 log=$2
shift 2
mkdir -p "$(dirname "$log")"
: >"$log"

line() {
	local s=$SECONDS steps
	steps=$(grep -cE '^  [A-Z_ ]+[a-z./]|^Applying|^(not )?ok ' "$log")
	printf '%s: %d:%02d, %d steps done' "$label" $((s / 60)) $((s % 60)) "$steps"
}

"$@" >>"$log" 2>&1 </dev/null &
job=$!
trap 'kill $job 2>/dev/null; wait $job; exit 130' INT TERM
while kill -0 $job 2>/dev/null; do
	if [ -t 1 ]; then
		printf '\r%s\033[K' "$(line)"
	elif ((SECONDS % 60 == 59)); then
		line
		echo
	fi
	sleep 1
done
wait $job
rc=$?
[ ! -t 1 ] || printf '\r'
line
if [ "$rc" -eq 0 ]; then
	echo
else
	echo ", then FAILED with status $rc; from $log:"
	grep -nE '(error|warning):|Error|\*\*\*|^(fatal|not ok)' "$log" | tail -n 10
	tail -n 5 "$log"
fi
exit $rc
