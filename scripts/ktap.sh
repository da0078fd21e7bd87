# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# KTAP lines for the checks that run on the host.
ktap_n=0
ktap_failed=0

# t "what is true" command...: its output is the diagnosis, shown when it fails.
t() {
	local ktap_out
	ktap_out=$(mktemp)
	ktap_n=$((ktap_n + 1))
	if "${@:2}" >"$ktap_out" 2>&1 </dev/null; then
		echo "ok $ktap_n $1"
	else
		ktap_failed=$((ktap_failed + 1))
		echo "not ok $ktap_n $1"
		sed 's/^/# /' "$ktap_out" | tail -n 30
	fi
	rm -f "$ktap_out"
}

finish() {
	echo "1..$ktap_n"
	[ "$ktap_n" -gt 0 ] && [ "$ktap_failed" -eq 0 ]
	exit
}
