#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Each command line of README (indented by a tab) is run here as it stands there,
# or, where "instead" gives a reason, something equivalent.  A command line that is
# not known here fails.
#
# Wants what "make check" has built: build/linux, build/lab and its modules.
set -uo pipefail
top=$(realpath "$(dirname "$0")/../../..")
work=$(mktemp -d)
trap 'rm -rf "$work"; make -s -C "$top/build/lab" M="$top/module" clean >/dev/null' EXIT
tree=$work/linux-6.12
lab_lines=()
cd "$top" || exit
# shellcheck source=scripts/ktap.sh
. scripts/ktap.sh

# The files of 6.12 that the series changes, and those that configure it
make_tree() {
	local files
	mapfile -t files < <(find patches -name '*.patch' -exec sed -nE 's,^(---|\+\+\+) [ab]/,,p' {} + | sort -u)
	mkdir "$tree"
	git -C build/linux archive base Kbuild Makefile scripts arch/x86/Makefile arch/x86/tools \
		':(glob)**/Kconfig*' >"$work/tree.tar" &&
		tar -xf "$work/tree.tar" -C "$tree" || return
	for f in "${files[@]}"; do
		git -C build/linux cat-file -e "base:$f" 2>/dev/null || continue
		mkdir -p "$tree/$(dirname "$f")"
		git -C build/linux show "base:$f" >"$tree/$f"
	done
}

# run LINE: here, and with paths of ours.  A cd stays.
run() {
	local line=${1//\/path\/to\/linux-6.12/$tree}
	eval "${line//\/path\/to\/prezero/$top}"
}

# would_run LINE TEXT: make would, and that takes TEXT.
would_run() {
	(cd "$top" && eval "${1/#make/make -n}") >"$work/would" || return
	grep -F -e "$2" "$work/would"
}

# instead REASON COMMAND...: the reason is shown when the command fails.
instead() {
	echo "not run as it stands: $1"
	"${@:2}"
}

demo() {
	would_run "$1" "scripts/bench/map.sh lab" || return
	# Once is enough.
	[ -e "$work/demo" ] || N=1 BACKINGS=thp scripts/bench/map.sh lab >"$work/demo" || return
	cat "$work/demo"
	grep -q '^thp *leaf ' "$work/demo" && grep -q '^thp *leaf+prezero ' "$work/demo"
}

a_config() {
	grep -vE 'CONFIG_PAGE_(PREZERO|REPORTING)\b' "$top/build/lab/.config" >.config
}

configured() {
	run "$1" && grep -x CONFIG_PAGE_PREZERO=y .config && grep -x CONFIG_PAGE_REPORTING=y .config
}

installed() {
	run "${1//\/path\/to\/linux-6.12/$top/build/lab} DESTDIR=$work/root" &&
		find "$work/root/lib/modules" -name 'prezero.ko*' | grep .
}

uninstalled() {
	run "$1 DESTDIR=$work/root" && ! find "$work/root" -name 'prezero.ko*' | grep .
}

# packages LINE: the project makes packages of these names.
packages() {
	local package
	for package in ${1#apt purge }; do
		grep -x "Package: $package" scripts/install/debian/control || return
	done
}

# built_packages LINE: its patterns are of files as "make deb" writes them.
built_packages() {
	local pattern file
	for pattern in ${1#apt install }; do
		for file in linux-image-6.12.117-prezero_1_amd64.deb linux-headers-6.12.117-prezero_1_amd64.deb prezero-dkms_1_all.deb; do
			# The pattern is one.
			# shellcheck disable=SC2254
			case ./build/deb/$file in $pattern) continue 2 ;; esac
		done
		echo "no package matches $pattern"
		return 1
	done
	grep -F build/deb scripts/install/deb.sh
}

# Those that need a kernel with the series: in a lab, all in a row.  It is a guest,
# and its modprobe is told where the module is as on an installed system.
in_lab() {
	{
		cat <<-'SCRIPT'
		. /lab/lib.sh
		dir=/lib/modules/$(uname -r)/updates
		mkdir -p "$dir" /etc/modprobe.d
		cp /lab/prezero.ko "$dir"
		depmod
		echo "options prezero allow_guest=1" >/etc/modprobe.d/prezero.conf
		cleared() {
			prezero_on
			wait_cleared
			[ "$(vmstat prezero_cleared)" -gt 0 ]
		}
		SCRIPT
		printf 't "%s" sh -c '\''%s'\''\n' "${lab_lines[0]}" "${lab_lines[0]}"
		echo 't "memory is cleared" cleared'
		for line in "${lab_lines[@]:1}"; do
			printf 't "%s" sh -c '\''%s'\''\n' "$line" "$line"
			case $line in
			"echo 0 "*) echo "t 'no memory is known to be cleared' test \"\$(free_zeroed)\" = 0" ;;
			esac
		done
		echo 't "the module is gone" test ! -e /sys/module/prezero'
		echo finish
	} >"$work/readme.sh"
	scripts/lab/run.sh --memory 1G --time 300 --name readme "$work/readme.sh"
}

command_line() {
	case $1 in
	"make demo" | "make demo N=1")
		instead "the kernel is built already, and 1 GiB of one kind of memory shows it" demo "$1" ;;
	"make check")
		instead "this test is part of it" would_run "$1" scripts/tests/check.sh ;;
	"make deb")
		instead "a distribution's kernel takes hours" would_run "$1" scripts/install/deb.sh ;;
	"apt install "*)
		instead "there are no such packages yet" built_packages "$1" ;;
	"apt purge "*)
		instead "it would remove them from this machine" packages "$1" ;;
	"cp /boot/config-"*)
		instead "this machine's kernel may be of another distribution" a_config ;;
	"make olddefconfig")
		configured "$1" ;;
	"make -j\$(nproc) bindeb-pkg")
		instead "the tree is not whole, and would build for hours" grep -q '^bindeb-pkg' scripts/Makefile.package ;;
	"make install KDIR="*)
		instead "it would install on this machine" installed "$1" ;;
	"make uninstall")
		instead "it would remove files from this machine" uninstalled "$1" ;;
	"scripts/apply.sh "* | "cd /path/to/"* | "scripts/kconfig/merge_config.sh "* | "scripts/config "* | "make help")
		run "$1" ;;
	*)
		echo "README has a command that this test does not know: add it to command_line()"
		return 1 ;;
	esac
}

t "a tree of 6.12 to try it on" make_tree
mapfile -t lines < <(sed -n 's/^\t//p' README)
t "README has command lines" test ${#lines[@]} -gt 10
for line in "${lines[@]}"; do
	case $line in
	"modprobe "* | "grep "*/proc/* | "echo "*/sys/*) lab_lines+=("$line") ;;
	*) t "$line" command_line "$line" ;;
	esac
done
cd "$top" || exit
t "on a kernel with the series:$(printf ' "%s"' "${lab_lines[@]}")" in_lab
finish
