# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# KTAP lines, for checks on the host and for tests in the lab.
#
# There is no local in sh: every function's variables carry its name.
KTAP_N=0
KTAP_FAILED=0

# mark TEXT: a test begins.  In the lab the text goes to the kernel log.
mark() {
	:
}

# subtests: results of the test that has just run, indented by four spaces.
subtests() {
	:
}

# t "what is true" command...: one test.  The output of the command is shown only
# when it fails.
t() {
	t_name=$1
	shift
	t_out=$(mktemp)
	KTAP_N=$((KTAP_N + 1))
	mark "$KTAP_N $t_name"
	if "$@" >"$t_out" 2>&1 </dev/null; then
		subtests
		echo "ok $KTAP_N $t_name"
		rm -f "$t_out"
	else
		t_rc=$?
		KTAP_FAILED=$((KTAP_FAILED + 1))
		subtests
		echo "not ok $KTAP_N $t_name"
		tail -n 100 "$t_out" | sed 's/^/# /'
		echo "# exit status $t_rc of: $*"
		rm -f "$t_out"
		return 1
	fi
}

# The end of a script: the plan, by which a run that was cut short shows, and the
# status.
finish() {
	echo "1..$KTAP_N"
	[ "$KTAP_N" -gt 0 ] && [ "$KTAP_FAILED" = 0 ]
	exit
}
