#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Boot a lab kernel in QEMU, run one script in it, and return its verdict.
#
# The run fails when the script fails or its output is cut short, when the kernel
# log has a complaint that allow.list does not explain, or when time is up.  Logs:
# build/runs/NAME/{out,console}.log
set -euo pipefail

usage() {
	cat <<-USAGE
	usage: run.sh [OPTION...] SCRIPT [ARG...]
	  -k, --kernel NAME     build/NAME: lab, stock or debug (default lab)
	  -m, --memory SIZE     in MiB, or with G (default 1G)
	  -c, --cpus N          (default 2)
	  -n, --nodes N         NUMA nodes; CPUs and memory are split evenly (default 1)
	  -t, --time SECONDS    time limit (default 120)
	  -a, --append ARGS     more kernel command line
	  -q, --qemu ARGS       more QEMU arguments
	  -y, --iommu KIND      intel, amd or virtio (default intel)
	  -e, --devices         a second edu device, and one with a BAR of 1 GiB
	  -p, --prealloc        touch all of the VM's memory first: for anything timed
	  -S, --sparse          take only the memory that the VM writes
	  -B, --balloon         a balloon with free page reporting; QEMU's monitor is
	                        /dev/ttyS2
	  -i, --icount          counted time: one CPU, an instruction takes a nanosecond
	  -u, --untimed         use KVM if it works here: nothing is timed
	  -D, --blank SIZE      a blank disk, /dev/vda
	  -s, --stress          put stress-ng in
	  -o, --name NAME       name of the run (default SCRIPT-KERNEL)
	  -M, --modules NAME    the modules built for kernel NAME (default: its own)
	  -d, --disk            boot from the libvirt image (make lab-image): Debian with
	                        libvirt, the script is run by bash; /out there is
	                        build/runs/NAME/out
	  -C, --copy FILE       with --disk: boot from FILE, a copy of the image (made when
	                        it is not there), which keeps what is written to it
	  -x, --image FILE      boot this kernel instead of build/NAME's
	  -r, --raw             the script is any command: return its status, expect no
	                        plan
	  -I, --interactive     the script is a shell: give it this terminal (Ctrl-A X
	                        ends it)
	  -v, --verbose         show the kernel log, too
	  -h, --help            this text
	USAGE
}

options=$(getopt -n run.sh -o +k:m:c:n:t:a:q:y:D:epSBiuso:M:dC:x:rIvh \
	-l kernel:,memory:,cpus:,nodes:,time:,append:,qemu:,iommu:,devices,prealloc \
	-l sparse,balloon,icount,untimed,blank:,stress,name:,modules:,disk,copy:,image:,raw \
	-l interactive,verbose,help -- "$@") || { usage >&2; exit 2; }
eval set -- "$options"

kernel=lab mem=1G cpus=2 nodes=1 limit=120 append='' qemu_args='' prealloc=off
icount='' untimed='' stress='' name='' verbose='' mods='' blank='' devices=''
disk='' copy='' image='' raw='' interactive='' status='' iommu=intel reserve=on balloon=''
while :; do
	case $1 in
	-k | --kernel) kernel=$2; shift ;;
	-m | --memory) mem=$2; shift ;;
	-c | --cpus) cpus=$2; shift ;;
	-n | --nodes) nodes=$2; shift ;;
	-t | --time) limit=$2; shift ;;
	-a | --append) append+=" $2"; shift ;;
	-q | --qemu) qemu_args=$2; shift ;;
	-y | --iommu) iommu=$2; shift ;;
	-D | --blank) blank=$2; shift ;;
	-o | --name) name=$2; shift ;;
	-C | --copy) copy=$2; shift ;;
	-x | --image) image=$2; shift ;;
	-M | --modules) mods=$2; shift ;;
	-e | --devices) devices=1 ;;
	-p | --prealloc) prealloc=on ;;
	-S | --sparse) reserve=off ;;
	-B | --balloon) balloon=1 ;;
	-i | --icount) icount=1 ;;
	-u | --untimed) untimed=1 ;;
	-s | --stress) stress=1 ;;
	-d | --disk) disk=1 ;;
	-r | --raw) raw=1 ;;
	-I | --interactive) interactive=1 limit=0 ;;
	-v | --verbose) verbose=1 ;;
	-h | --help) usage; exit ;;
	--) shift; break ;;
	esac
	shift
done
[ $# -gt 0 ] || { usage >&2; exit 2; }
script=$1
shift

here=$(dirname "$(realpath "$0")")
top=$(realpath "$here/../..")
build=$top/build
image=${image:-$build/$kernel/arch/x86/boot/bzImage}
name=${name:-$(basename "$script" .sh)-$kernel}
dir=$build/runs/$name

fail() {
	echo "run.sh: $name: $*" >&2
	exit 1
}

case $kernel in
lab) target=kernel ;;
*) target=kernel-$kernel ;;
esac
[ -r "$image" ] || fail "no $image: run 'make $target'"
[ -z "$disk" ] || [ -r "$build/l1/disk.img" ] || fail "no $build/l1/disk.img: run 'make lab-image'"
[ -r "$script" ] || fail "no such script: $script"
case $mem in
*G) mib=$((${mem%G} * 1024)) ;;
*M) mib=${mem%M} ;;
*) mib=$mem ;;
esac

# How much of the host's memory the VM will touch.  With sparse memory that is the
# kernel's struct pages, and some more.
free_mib=$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
want_mib=$mib
[ "$reserve" = on ] || want_mib=$((512 + mib / 48))
[ "$want_mib" -lt "$free_mib" ] ||
	fail "the VM wants $want_mib MiB, this machine has $free_mib free: ask for less (--memory), or wait"

# /dev/kvm may exist and not work, so boot a kernel to find out.  The answer is kept
# until this machine reboots.
pick_accel() {
	local stamp=$build/.kvm id
	id=$(cat /proc/sys/kernel/random/boot_id)
	[ -w /dev/kvm ] || { echo tcg; return; }
	if [ "$(cut -d' ' -f1 "$stamp" 2>/dev/null)" != "$id" ]; then
		if LAB_ACCEL=kvm timeout -k 5 40 "$0" -k "$kernel" -m 256M -t 30 \
		   -o kvm-probe "$top/scripts/tests/guest/kvm-probe.sh" >/dev/null 2>&1; then
			echo "$id kvm" >"$stamp"
		else
			echo "$id tcg" >"$stamp"
		fi
	fi
	cut -d' ' -f2 "$stamp"
}

# One run of a name at a time. Only one run at a time puts its files together.
mkdir -p "$build/runs" "$build/initramfs" "$build/tools"
exec 8>"$build/runs/.$name.lock" 9>"$build/runs/.lock"
flock 8
rm -rf "$dir"
mkdir -p "$dir"
accel=${LAB_ACCEL:-tcg}
[ -z "$untimed" ] || [ -n "$icount" ] || accel=$(pick_accel)

#
# What the lab boots from
#
part() {
	local out=$build/initramfs/$1.cpio
	if [ "$here/initramfs.sh" -nt "$out" ] || [ "$here/init" -nt "$out" ]; then
		"$here/initramfs.sh" "$1" "$out"
	fi
	cat "$out"
}

tool() {
	local out
	out=$build/tools/$(basename "$1" .c)
	if [ ! -e "$out" ] || [ -n "$(find "$1" "$here"/programs/*.h -newer "$out")" ]; then
		gcc -O2 -Wall -Wextra -Werror -static -fmacro-prefix-map="$top/=" \
			-isystem "$build/linux/tools/testing/selftests" -o "$out" "$1"
	fi
	cp "$out" "$dir/tree/lab/"
}

flock 9
mkdir -p "$dir/tree/lab/kunit"
for c in "$here"/programs/*.c; do
	tool "$c"
done
cp "$here/lib.sh" "$top/scripts/ktap.sh" "$top"/scripts/tests/guest/*.sh "$dir/tree/lab/"
cp "$script" "$top"/Documentation/ABI/testing/* "$dir/tree/lab/"
modules() {
	[ ! -d "$build/mod/${mods:-$kernel}/$1" ] || find "$build/mod/${mods:-$kernel}/$1" -name '*.ko' -exec cp {} "$2" \;
}
modules module "$dir/tree/lab"
modules kunit "$dir/tree/lab/kunit"
modules scripts/lab/modules/cost "$dir/tree/lab"
modules scripts/lab/modules/pinner "$dir/tree/lab"
if [ -n "$disk" ]; then
	mkdir "$dir/out"
	cp "$here/l1.sh" "$here/l2.xml" "$top"/scripts/libvirt/* "$dir/tree/lab/"
fi
{
	printf "exec ${disk:+ba}sh /lab/%q" "$(basename "$script")"
	[ $# -eq 0 ] || printf ' %q' "$@"
	echo
} >"$dir/tree/lab/cmd"
{
	part base
	[ -z "$stress" ] || part stress
	(cd "$dir/tree" && find . | cpio --quiet -o -H newc -R 0:0)
} >"$dir/initramfs.cpio"
rm -rf "$dir/tree"
flock -u 9

#
# The machine
#
qemu=(qemu-system-x86_64 -nodefaults -display none -no-reboot
	-machine "q35,kernel-irqchip=split"
	-serial "file:$dir/console.log" -serial "${interactive:+mon:}stdio"
	-kernel "$image" -initrd "$dir/initramfs.cpio" -m "$mib")

# Before the devices that it translates for
case $iommu in
intel) qemu+=(-device "intel-iommu,intremap=on,caching-mode=on") ;;
amd) qemu+=(-device "amd-iommu,intremap=on") ;;
virtio) qemu+=(-device virtio-iommu-pci) ;;
*) fail "--iommu $iommu: say intel, amd or virtio" ;;
esac
qemu+=(-device "edu,dma_mask=0xffffffffffffffff")

# With erms, TCG runs "rep stosb" byte by byte, six times slower than the rest of
# the kernel. That would make skipping the clearing look better than it is.
case $accel in
tcg) qemu+=(-cpu "max,-erms,-fsrm,-la57") ;;
kvm) qemu+=(-accel kvm -cpu host) ;;
*) fail "LAB_ACCEL=$accel: say tcg or kvm" ;;
esac
if [ -n "$icount" ]; then
	cpus=1
	qemu+=(-accel "tcg,thread=single" -icount "shift=0,sleep=off")
elif [ "$accel" = tcg ]; then
	qemu+=(-accel "tcg,thread=multi")
fi
qemu+=(-smp "$cpus,sockets=$nodes")

if [ "$nodes" -gt 1 ]; then
	[ $((cpus % nodes)) -eq 0 ] || fail "$cpus CPUs do not split into $nodes nodes"
	per=$((cpus / nodes))
	for ((i = 0; i < nodes; i++)); do
		qemu+=(-object "memory-backend-ram,id=ram$i,size=$((mib / nodes))M,prealloc=$prealloc,reserve=$reserve"
			-numa "node,nodeid=$i,memdev=ram$i,cpus=$((i * per))-$(((i + 1) * per - 1))")
	done
else
	qemu+=(-object "memory-backend-ram,id=ram,size=${mib}M,prealloc=$prealloc,reserve=$reserve"
		-machine "memory-backend=ram")
fi
if [ -n "$disk" ]; then
	append+=" lab_disk"
	if [ -n "$copy" ]; then
		[ -e "$copy" ] || cp --sparse=always "$build/l1/disk.img" "$copy"
		qemu+=(-drive "file=$copy,format=raw,if=virtio,cache=unsafe")
	else
		qemu+=(-drive "file=$build/l1/disk.img,format=raw,if=virtio,snapshot=on")
	fi
	qemu+=(-fsdev "local,id=out,path=$dir/out,security_model=none"
		-device "virtio-9p-pci,fsdev=out,mount_tag=out")
fi
if [ -n "$blank" ]; then
	truncate -s "$blank" "$dir/blank" || fail "no disk of size $blank: give it in bytes or with M or G"
	qemu+=(-drive "file=$dir/blank,if=virtio,format=raw,cache=unsafe")
fi
if [ -n "$devices" ]; then
	qemu+=(-device "edu,dma_mask=0xffffffffffffffff"
		-object "memory-backend-ram,id=bar,size=1G,share=on"
		-device "ivshmem-plain,memdev=bar")
fi
# The monitor listens at a socket, and the third serial line is connected to it:
# the script in the VM gives QEMU its commands.
if [ -n "$balloon" ]; then
	qemu+=(-device "virtio-balloon-pci,free-page-reporting=on"
		-chardev "socket,id=monitor,path=$dir/monitor,server=on,wait=off"
		-mon "chardev=monitor"
		-chardev "socket,id=line,path=$dir/monitor" -serial chardev:line)
fi
# The caller's arguments come last. They are split at spaces.
# shellcheck disable=SC2206
qemu+=($qemu_args)
# no_timer_check: on a loaded machine ticks come late, and the kernel would take
# its timer for broken.
qemu+=(-append "console=ttyS0 intel_iommu=on no_timer_check panic=-1 loglevel=7 $append")

#
# Run, showing the script's output as it comes
#
show() {
	local line
	while IFS= read -r line; do
		case $line in
		'# progress '*)
			line=${line#\# progress }
			if [ -t 2 ]; then
				bar "${line%% *}" "${line#* }"
			fi
			;;
		'# lab: exit '*) ;;
		*)
			# A command's output may lack its last newline.
			line=${line%'# lab: exit '*}
			[ ! -t 2 ] || printf '\033[K' >&2
			printf '%s\n' "$line"
			;;
		esac
	done
}

bar() {
	local full='########################################' n=$(($1 * 40 / 100))
	printf '\r[%-40s] %3d %% %s\033[K\r' "${full:0:n}" "$1" "$2" >&2
}

printf '%q ' "${qemu[@]}" >"$dir/qemu.cmd"
tail_pid=
if [ -n "$verbose" ]; then
	: >"$dir/console.log"
	tail -f "$dir/console.log" >&2 &
	tail_pid=$!
fi
rc=0
if [ -n "$interactive" ]; then
	"${qemu[@]}" || rc=$?
	rm -f "$dir/initramfs.cpio"
	exit "$rc"
fi
timeout --foreground -k 5 "$limit" "${qemu[@]}" </dev/null 2>"$dir/qemu.log" |
	tee "$dir/out.log" | show || rc=${PIPESTATUS[0]}
[ -z "$tail_pid" ] || kill "$tail_pid"
rm -f "$dir/initramfs.cpio" "$dir/blank"

#
# The verdict
#
problem() {
	echo "# run.sh: $name: $*" >&2
	bad=1
}
bad=

if [ "$rc" -eq 124 ] || [ "$rc" -eq 137 ]; then
	problem "no end after $limit s (time limit: --time)"
elif [ "$rc" -ne 0 ]; then
	problem "QEMU ended with status $rc: $(tail -n 3 "$dir/qemu.log")"
fi

if ! grep -q '# lab: exit [0-9]*$' "$dir/out.log"; then
	problem "the script did not come to its end; the kernel's last words:"
	tail -n 15 "$dir/console.log" 2>/dev/null | sed 's/^/#   /' >&2
elif [ -n "$raw" ]; then
	status=$(sed -n 's/.*# lab: exit //p' "$dir/out.log" | tail -n 1)
elif ! grep -q '^# lab: exit 0$' "$dir/out.log"; then
	problem "the script failed"
fi
if [ -z "$raw" ]; then
	grep -q '^not ok ' "$dir/out.log" && problem "a test failed"
	oks=$(grep -c '^ok ' "$dir/out.log") || true
	plan=$(sed -n 's/^1\.\.//p' "$dir/out.log")
	[ "${plan:-none}" = "$oks" ] ||
		problem "$oks tests passed, the plan says ${plan:-nothing}"
fi

# Each complaint of the kernel fails the run, unless allow.list explains it.
splats='BUG:|WARNING:|Oops|KASAN|KCSAN|KFENCE|UBSAN|ODEBUG|INFO: (possible|task|rcu|trying|lockdep|suspicious)|rcu:.*(stall|starved)|soft lockup|hard LOCKUP|[Bb]ad page|[Bb]ad rss|Kernel panic|general protection|unable to handle|Call Trace|DMAR:.*[Ff]ault|memory leak|page_table_check|Out of memory|invoked oom-killer|segfault|page_prezero: .*not zeroed'
awk -v run="$name" '
	/^[ \t]*(#|$)/ { next }
	!/# ./ { print "allow.list:" NR ": no reason given" >"/dev/stderr"; exit 1 }
	run ~ "^(" $1 ")$" { sub(/^[^ \t]+[ \t]+/, ""); sub(/[ \t]+# .*/, ""); print }
' "$here/allow.list" >"$dir/allowed" || problem "scripts/lab/allow.list is broken"
if grep -aE "$splats" "$dir/console.log" 2>/dev/null |
   grep -avE -f "$dir/allowed" >"$dir/splats"; then
	problem "the kernel complained ($dir/console.log):"
	head -n 10 "$dir/splats" | sed 's/^/#   /' >&2
fi

# The status of a command comes before the verdict on the run.
[ "${status:-0}" -eq 0 ] || exit "$status"
[ -z "$bad" ]
