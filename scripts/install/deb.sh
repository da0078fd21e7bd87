#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Build Debian packages.
#
# usage: deb.sh tools    prezero-dkms and prezero-tools
#        deb.sh kernel   the kernel with the series, by its own bindeb-pkg
#        deb.sh config   only its configuration, PREZERO_OUT/linux/.config
#
# Environment: CONFIG (a kernel's .config, the packaged kernel's), PREZERO_OUT (where
# the packages go, build/deb)
set -euo pipefail
config=${CONFIG:+$(realpath -m "$CONFIG")}
out=$(realpath -m "${PREZERO_OUT:-$(dirname "$0")/../../build/deb}")
cd "$(dirname "$(realpath "$0")")/../.."
version=$(scripts/install/version.sh)
mkdir -p "$out" build/logs

export DEBFULLNAME=${DEBFULLNAME:-prezero maintainers} DEBEMAIL=${DEBEMAIL:-maintainers@users.noreply.h-seed-4ac4619d.example}

die() {
	echo "deb: $*" >&2
	exit 1
}

for tool in dpkg-buildpackage dh dh_dkms; do
	command -v "$tool" >/dev/null || die "no $tool here: run 'scripts/build/setup.sh deb'"
done

# The same files give the same packages: their time is the newest commit's, or what
# the caller says.
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y module/prezero.c)}"
export SOURCE_DATE_EPOCH

tools() {
	local tmp tree
	tmp=$(mktemp -d "$out/tmp.XXXXXX")
	tree=$tmp/prezero
	mkdir -p "$tree/scripts/install"
	cp -r --parents Documentation/admin-guide scripts/libvirt scripts/install "$tree"
	scripts/install/source.sh "$tree/module"
	mv "$tree/scripts/install/debian" "$tree/"
	cat >"$tree/debian/changelog" <<-TEXT
	prezero ($version) bookworm; urgency=medium

	  * Version $version.

	 -- $DEBFULLNAME <$DEBEMAIL>  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
	TEXT
	(cd "$tree" && dpkg-buildpackage -us -uc -b)
	rm -f "$out"/prezero{,-dkms,-tools}_*.{deb,changes,buildinfo}
	mv "$tmp"/*.{deb,changes,buildinfo} "$out"
	rm -rf "$tmp"
}

# The first there is: CONFIG, the running kernel's, Debian's
choose_config() {
	local running debian=/usr/src/linux-config-6.12/config.amd64_none_amd64.xz
	running=/boot/config-$(uname -r)
	if [ -n "$config" ]; then
		[ -r "$config" ] || die "no $config"
		cat "$config"
	elif [[ $running = /boot/config-6.12* ]] && [ -r "$running" ]; then
		echo "deb: configured as the running kernel, $running" >&2
		cat "$running"
	elif [ -r "$debian" ]; then
		echo "deb: configured as Debian's, $debian" >&2
		xzcat "$debian"
	else
		die "no configuration of a 6.12 kernel here: give CONFIG=FILE, or apt-get install linux-config-6.12"
	fi
}

src=$PWD/build/linux obj=$out/linux

configure() {
	mkdir -p "$obj"
	# Debian's certificates are not in the source; and no key: the build makes one.
	choose_config | sed -e 's,^\(CONFIG_SYSTEM_TRUSTED_KEYS="\)debian/.*",\1",' \
		-e '/^CONFIG_MODULE_SIG_KEY=""/d' >"$obj/.config"
	echo '# CONFIG_LOCALVERSION_AUTO is not set' >"$obj/no-auto.config"
	"$src/scripts/kconfig/merge_config.sh" -m -O "$obj" "$obj/.config" \
		Kconfig.fragment "$obj/no-auto.config" >build/logs/deb-config.log
	scripts/build/kmake.sh -C "$src" O="$obj" olddefconfig >>build/logs/deb-config.log
	! grep -vxFf "$obj/.config" Kconfig.fragment | grep '^CONFIG' ||
		die "these did not get into the configuration: is build/linux patched, and is nothing of it ruled out?"
}

kernel() {
	configure
	rm -f "$out"/linux-{image,headers,libc-dev}-*-prezero*.deb
	KDEB_PKGVERSION=$(make -s -C "$src" kernelversion)-$version \
	DEB_BUILD_PROFILES=pkg.linux-upstream.nokerneldbg KDEB_CHANGELOG_DIST=bookworm \
		scripts/build/progress.sh "kernel packages" build/logs/deb-kernel.log \
		scripts/build/kmake.sh -C "$src" O="$obj" -j"$(nproc)" LOCALVERSION=-prezero bindeb-pkg
	# It would replace Debian's.
	rm -f "$out"/linux-libc-dev_*
}

case ${1:-} in
tools) scripts/build/progress.sh "packages" build/logs/deb-tools.log scripts/install/deb.sh tools-now ;;
tools-now) tools ;;
kernel) kernel ;;
config)
	configure
	exit
	;;
*)
	sed -n '3,/^[^#]/ s/^# \{0,1\}//p' scripts/install/deb.sh >&2
	exit 2
	;;
esac
[ "$1" = tools-now ] || ls -1 "$out"/*.deb
