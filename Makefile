# SPDX-License-Identifier: GPL-2.0
# All output is under build/.  Long steps log to build/logs/.

# The kernel that "make module" builds for
KDIR ?= build/lab
# GiB to map, repeats, counted time, kinds of memory, more kernel command line,
# values of pin_batch, through iommufd too (demo and bench)
N ?= 4
REPEAT ?= 1
ICOUNT ?=
BACKINGS ?=
APPEND ?=
PIN_BATCH ?=
IOMMUFD ?=
# install: below this directory; man pages and documentation below this one
DESTDIR ?=
PREFIX ?= /usr/local
# deb: the kernel's configuration
CONFIG ?=
# Rounds of bench-clear
ROUNDS ?=
# How long to soak
MINUTES ?= 10

# The libvirt lab: a command, which kernel, how much memory
CMD ?=
KERNEL ?= lab
MEM ?= 6G
# bench-boot: GiB of the largest guest, more runs of the sizes that the slope is
# taken from
MAX ?= 8
SLOPE ?= 1

export N REPEAT ICOUNT BACKINGS APPEND PIN_BATCH IOMMUFD ROUNDS CMD MAX SLOPE
export DESTDIR PREFIX CONFIG

# One at a time: every step uses all CPUs by itself.
.NOTPARALLEL:

.PHONY: help
help: ## this text
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "%-16s %s\n", $$1, $$2 }' Makefile

.PHONY: setup
setup: ## install what is missing on this (Debian 12) machine
	@scripts/build/setup.sh

.PHONY: source
source: setup ## unpack Linux 6.12 to build/linux and apply patches/ on branch "series"
	@scripts/build/source.sh

.PHONY: kernel
kernel: source ## build the lab kernel, with the series: build/lab
	@scripts/build/kbuild.sh lab linux scripts/lab/lab.config Kconfig.fragment

.PHONY: kernel-stock
kernel-stock: source ## build the same kernel without the series (6.12): build/stock
	@scripts/build/source.sh stock
	@scripts/build/kbuild.sh stock stock-src scripts/lab/lab.config

.PHONY: kernel-debug
kernel-debug: source ## build the lab kernel with KASAN, lockdep and other checks: build/debug
	@scripts/build/kbuild.sh debug linux scripts/lab/lab.config scripts/lab/debug.config Kconfig.fragment

# For build/lab the kernel is made first; any other has to be there.
.PHONY: module
module: $(if $(filter build/lab,$(KDIR)),kernel) ## build module/prezero.ko (KDIR=kernel to build for, default build/lab)
	@$(MAKE) --no-print-directory -C $(abspath $(KDIR)) M=$(CURDIR)/module modules

# For the running kernel, unless told otherwise
OWN_KDIR = $(if $(filter command line environment,$(origin KDIR)),$(KDIR),/lib/modules/$(shell uname -r)/build)

.PHONY: install
install: ## install module, libvirt hook, settings and man pages (KDIR=/lib/modules/RELEASE/build, default the running kernel; DESTDIR, PREFIX)
	@test -e "$(OWN_KDIR)/include/config/kernel.release" || { echo "no built kernel or headers in $(OWN_KDIR): install the kernel's headers, or give KDIR=DIRECTORY" >&2; exit 1; }
	@$(MAKE) --no-print-directory -C $(abspath $(OWN_KDIR)) M=$(CURDIR)/module modules
	@KDIR="$(OWN_KDIR)" scripts/install/install.sh install

.PHONY: uninstall
uninstall: ## remove what "make install" installed; settings that were edited stay
	@scripts/install/install.sh uninstall

.PHONY: dkms-install
dkms-install: ## let DKMS build and install the module, for later kernels, too
	@KDIR="$(OWN_KDIR)" scripts/install/dkms.sh install

.PHONY: dkms-uninstall
dkms-uninstall: ## remove the module from DKMS
	@scripts/install/dkms.sh uninstall

.PHONY: deb
deb: deb-kernel deb-tools ## all Debian packages, to build/deb: the kernel takes hours (CONFIG=FILE)

.PHONY: deb-setup
deb-setup:
	@scripts/build/setup.sh deb

.PHONY: deb-kernel
deb-kernel: deb-setup source ## the kernel's packages, configured as the running 6.12, Debian's or CONFIG=FILE
	@scripts/install/deb.sh kernel

.PHONY: deb-tools
deb-tools: deb-setup ## packages prezero-dkms and prezero-tools
	@scripts/install/deb.sh tools

.PHONY: module-lab
module-lab: kernel
	@scripts/build/modules.sh lab module scripts/lab/modules/pinner

.PHONY: module-debug
module-debug: kernel-debug
	@scripts/build/modules.sh debug module kunit scripts/lab/modules/pinner

.PHONY: patches
patches: ## write build/linux's branch "series" to patches/
	@scripts/build/patches.sh

.PHONY: kunit
kunit: module-lab ## run the KUnit suites in the lab
	@scripts/tests/host/kunit.sh

.PHONY: kunit-py
kunit-py: source ## run the KUnit suites built into a kernel of their own, by the kernel's kunit.py
	@scripts/tests/host/kunit-py.sh

.PHONY: lab-test
lab-test: module-lab lab-image ## run the lab tests (scripts/tests/cases)
	@scripts/tests/cases.sh check

.PHONY: lab-image
lab-image: setup ## build the disk of the libvirt lab: build/l1
	@scripts/lab/image.sh

.PHONY: lab
lab: module-lab lab-image ## a shell in the libvirt lab; CMD='...': run one command (KERNEL=lab, MEM=6G)
	@scripts/lab/run.sh --disk $(if $(CMD),--raw,--interactive) --kernel $(KERNEL) --memory $(MEM) --time 0 --name lab scripts/lab/shell.sh $(if $(CMD),"$$CMD")

.PHONY: demo
demo: module-lab ## map N GiB for a device, a table of leaf and leaf+prezero (N=4, BACKINGS="thp 4k memfd")
	@scripts/bench/map.sh lab

.PHONY: bench
bench: module-lab kernel-stock ## the same with 6.12 in the table, medians (REPEAT=5; ICOUNT=1: counted time; PIN_BATCH="1 512"; IOMMUFD=1)
	@REPEAT=$(if $(filter command line environment,$(origin REPEAT)),$(REPEAT),5) scripts/bench/map.sh stock lab

.PHONY: bench-clear
bench-clear: ## how fast each method clears memory on this machine itself, and what that does to its caches (ROUNDS=15)
	@scripts/bench/clear.sh

.PHONY: profile
profile: module-lab ## where the kernel spends the first map of cleared memory (N=4, REPEAT=10, BACKING=thp, PREZERO=off; ICOUNT=1)
	@scripts/bench/profile.sh

.PHONY: bench-boot
bench-boot: module-lab kernel-stock lab-image ## time from virsh start to GRUB with a device, table and plot (MAX=8 GiB; ICOUNT=1: counted time)
	@REPEAT=$(if $(filter command line environment,$(origin REPEAT)),$(REPEAT),3) scripts/bench/boot.sh

.PHONY: bench-boot-short
bench-boot-short: module-lab lab-image ## the same in two minutes: two sizes, leaf and leaf+prezero
	@scripts/bench/boot.sh short

SOAK = scripts/lab/run.sh --stress --memory 4G --append "kernelcore=2G hugetlb_cma=1G" --time $$(($(MINUTES) * 60 + 400))

.PHONY: soak
soak: module-debug ## all kinds of load at once on the debug kernel, each served page checked (MINUTES=10)
	@$(SOAK) --kernel debug --name soak scripts/tests/guest/soak.sh $(MINUTES)

.PHONY: soak-lab
soak-lab: module-lab ## the same on the lab kernel, which does more in the same time
	@$(SOAK) --kernel lab --name soak-lab scripts/tests/guest/soak.sh $(MINUTES)

.PHONY: style
style: ## checkpatch, shellcheck, codespell, SPDX lines, reStructuredText, ABI text
	@scripts/tests/host/style.sh

.PHONY: check
check: ## build and test everything; last line "N passed, N failed"
	@scripts/tests/check.sh

.PHONY: check-debug
check-debug: module-debug ## all lab tests on the debug kernel, the slow ones, too
	@scripts/tests/cases.sh debug debug-slow

.PHONY: check-long
check-long: ## what takes too long for "make check": each patch and group alone, kunit-py, long lab tests, cost (hours)
	@scripts/tests/check.sh long

.PHONY: check-packages
check-packages: module-lab lab-image deb-setup ## build the packages, install them in the libvirt lab, boot their kernel, remove them
	@scripts/tests/host/packages-test.sh

.PHONY: cost
cost: source ## count instructions and lock holds per fault, allocation and free, with 6.12 and the series, and per pass
	@scripts/build/source.sh stock
	@scripts/build/kbuild.sh cost linux scripts/lab/lab.config scripts/lab/cost.config Kconfig.fragment
	@scripts/build/kbuild.sh cost-stock stock-src scripts/lab/lab.config scripts/lab/cost.config
	@scripts/bench/cost.sh

.PHONY: mutations
mutations: kernel ## break the kernel rule by rule and see the KUnit suites fail (hours)
	@kunit/mutations/run.sh

.PHONY: clean
clean: ## remove what was built, but not the kernel tree
	@find build -mindepth 1 -maxdepth 1 ! -name 'linux*' ! -name '*-src' -exec rm -rf {} + 2>/dev/null || true
	@find module kunit \( -name '*.o' -o -name '*.ko' -o -name '*.mod' -o -name '*.mod.c' -o -name '.*.cmd' -o -name Module.symvers -o -name modules.order \) -delete

.PHONY: distclean
distclean: ## remove build/ with the kernel tree; stops if the tree holds commits that patches/ does not
	@scripts/build/source.sh remove
	@$(MAKE) --no-print-directory clean
