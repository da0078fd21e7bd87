# SPDX-License-Identifier: GPL-2.0
# Functions for the tables and the plot (jq -L scripts/bench).
def median: sort | if length % 2 == 1 then .[(length - 1) / 2]
	else (.[length / 2 - 1] + .[length / 2]) / 2 end;
def fixed($digits): if . < 0 then "-" + (-. | fixed($digits)) else
	. * pow(10; $digits) | round | tostring
	| (if length <= $digits then ("0" * ($digits + 1 - length)) + . else . end)
	| if $digits == 0 then . else .[:-$digits] + "." + .[-$digits:] end end;
