#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# prezero's methods to clear memory: each clears, they can be switched while memory
# is being cleared, and nothing is served that is not zero.
#
# usage: method.sh INSTRUCTION    of method nt on this CPU
# shellcheck source=scripts/lab/lib.sh
. /lab/lib.sh
nt=$1

in_kernel_log() {
	dmesg | grep "prezero: method: " >/tmp/log
	grep -E "$1" /tmp/log || { cat /tmp/log; return 1; }
}

# Not the marks, which are for the setting
methods() {
	tr -d '[]()' <"$PREZERO/method"
}

# lists REGEX: the file is that
lists() {
	grep -xE "$1" "$PREZERO/method" || { cat "$PREZERO/method"; return 1; }
}

# refused NAME ERROR: the write fails, and the method stays
refused() {
	refused_old=$(cat "$PREZERO/method")
	echo "$1" 2>/tmp/error >"$PREZERO/method" && return 1
	cat /tmp/error
	grep -q "$2" /tmp/error && [ "$(cat "$PREZERO/method")" = "$refused_old" ]
}

# served: memory that was cleared reads as zeroes, as verify mode and the program
# that maps it find. Afterwards all of it is dirty.
served() {
	wait_cleared
	map_pooled thp 512 >/tmp/row || { cat /tmp/row; return 1; }
	cat /tmp/row
	[ "$(field zeroed_pct /tmp/row | cut -d. -f1)" -ge 90 ] &&
		[ "$(vmstat prezero_verify_failed)" = 0 ]
}

clears_by() {
	echo "$1" >"$PREZERO/method" &&
		grep -qF "[$1]" "$PREZERO/method" &&
		echo 1 >"$PREZERO/flush" &&
		served
}

# Through all methods until SECONDS are over, while flush keeps the thread busy
switches() {
	switches_end=$(($(date +%s) + $1))
	switches_from=$(cat "$PREZERO/pages_cleared")
	switches_n=0
	while [ "$(date +%s)" -lt "$switches_end" ]; do
		echo 1 >"$PREZERO/flush"
		for method in $(methods); do
			echo "$method" >"$PREZERO/method" || return 1
			switches_n=$((switches_n + 1))
			progress $((100 - (switches_end - $(date +%s)) * 100 / $1)) "of switching" >&3
		done
	done
	echo "$switches_n switches, $(($(cat "$PREZERO/pages_cleared") - switches_from)) pages cleared"
	[ "$(cat "$PREZERO/pages_cleared")" -gt "$switches_from" ] && served
}

setup_thp
bind_edu
t_not "an unknown method is refused when loading" insmod /lab/prezero.ko allow_guest=1 method=fastest
t "the log lists those there are" in_kernel_log "no such name; choose from: auto clear_page nt$"
t_not "so is one that this CPU lacks" insmod /lab/prezero.ko allow_guest=1 method=movdir64b
t "the log says so" in_kernel_log "this CPU does not have it; choose from: auto clear_page nt$"
t "a method can be given when loading" insmod /lab/prezero.ko allow_guest=1 enabled=0 method=nt
t "the file shows it in brackets" lists 'auto clear_page \[nt\]'
rmmod prezero
t "without one the module loads" load_prezero || die "nothing to test"
t "the file shows what auto took" lists '\[auto\] (\(clear_page\) nt|clear_page \(nt\))'
t "the log says so, with figures" in_kernel_log "auto took (clear_page|nt); GB/s on CPU [01]: clear_page \(.*\) [0-9]+\.[0-9], nt \($nt\) [0-9]+\.[0-9]$"
t "an unknown name is refused" refused fastest "Invalid argument"
t "a method that this CPU lacks is refused" refused movdir64b "not supported"
echo 1 >"$PREZERO/verify"
prezero_on
for method in $(methods); do
	[ "$method" = auto ] || t "$method clears" clears_by "$method"
done
t "methods can be switched while they clear" switches 10
echo auto >"$PREZERO/method"
t "auto clears" served
finish
