# SPDX-License-Identifier: GPL-2.0
# Count the tests in KTAP: prints passed, failed and skipped.  A result with
# results indented below it is not a test but their sum; it only counts when it
# failed and none of them did.  (A run fails so, for what the kernel log says.)
match($0, /^ *(not )?ok /) {
	match($0, /^ */)
	depth = RLENGTH
	below = failed_below = 0
	for (d in results)
		if (d + 0 > depth) {
			below += results[d]
			failed_below += failures[d]
			delete results[d]
			delete failures[d]
		}
	bad = /^ *not ok /
	results[depth]++
	failures[depth] += bad || failed_below
	if (below)
		failed += bad && !failed_below
	else if (/# SKIP/)
		skipped++
	else if (bad)
		failed++
	else
		passed++
}
END { print passed + 0, failed + 0, skipped + 0 }
