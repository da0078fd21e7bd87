/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the vfio-leaf tests share. They ask: is what VFIO_IOMMU_MAP_DMA mapped,
 * pinned and charged exactly what it was asked for, however the memory is mapped
 * in the process, and is nothing left of it afterwards, whatever went wrong in
 * between?
 *
 * Three witnesses that vfio/type1 does not write itself:
 *
 *   the IOMMU's own page table, which the driver shows in debugfs, against
 *     /proc/self/pagemap: each page, and the size of each entry;
 *   nr_foll_pin_acquired - nr_foll_pin_released in /proc/vmstat;
 *   VmLck in /proc/self/status.
 *
 * Each test is a process of its own, which opens the container and its device. No
 * other program may pin pages meanwhile.
 */
#ifndef VFIO_LEAF_H
#define VFIO_LEAF_H

#include "vfio-test.h"

#include <linux/capability.h>
#include <linux/kernel-page-flags.h>
#include <linux/memfd.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define PFN_MASK	0xffffffffff000ULL	/* of an IOMMU table entry */
#define PAGEMAP_PRESENT	0x8000000000000000ULL
#define PAGEMAP_PFN	0x007fffffffffffffULL

#define TYPE1		"/dev/vfio/vfio"
#define IOMMUFD		"/dev/iommu"

/*
 * The witnesses
 */

/**
 * struct pins - pages pinned by all programs since the machine started
 * @acquired: pages
 * @released: pages of these that are not pinned any more
 */
struct pins {
	__u64 acquired;
	__u64 released;
};

/* Counters are per CPU: a write brings them home. */
static inline struct pins pins(void)
{
	struct pins p;

	if (!write_file("/proc/sys/vm/stat_refresh", "1"))
		errx(1, "/proc/sys/vm/stat_refresh: %m");
	if (!read_counter("/proc/vmstat", "nr_foll_pin_acquired", &p.acquired) ||
	    !read_counter("/proc/vmstat", "nr_foll_pin_released", &p.released))
		errx(1, "no nr_foll_pin_* in /proc/vmstat");
	return p;
}

/* Pages pinned, by all programs */
static inline long pinned(void)
{
	struct pins p = pins();

	return p.acquired - p.released;
}

/* Pages in locked_vm */
static inline long charged(void)
{
	__u64 kib = 0;

	if (!read_counter("/proc/self/status", "VmLck:", &kib))
		errx(1, "no VmLck in /proc/self/status");
	return kib / 4;
}

/* What is pinned and charged at a time, to compare with later */
struct account {
	long pinned;
	long charged;
};

static inline struct account account(void)
{
	return (struct account){ pinned(), charged() };
}

static inline struct account account_since(struct account since)
{
	return (struct account){ pinned() - since.pinned, charged() - since.charged };
}

/* So many pages more are pinned, and so many charged. */
#define EXPECT_PINNED_CHARGED(since, pages, charge) do {		\
	struct account more_ = account_since(since);			\
	EXPECT_EQ((long)(pages), more_.pinned);				\
	EXPECT_EQ((long)(charge), more_.charged);			\
} while (0)

/* How many of the pages mapped are charged: iommufd goes by CAP_IPC_LOCK. */
static inline long to_charge(struct lab *lab, long pages)
{
	return strcmp(lab->path, IOMMUFD) ? pages : 0;
}

/* As many of one as of the other */
#define EXPECT_MORE(since, pages) do {					\
	struct account more_ = account_since(since);			\
	long pages_ = pages;						\
	EXPECT_EQ(pages_, more_.pinned);				\
	EXPECT_EQ(pages_, more_.charged);				\
} while (0)

/* A table of 64-bit entries, one for each page, such as /proc/self/pagemap */
static inline void read_entries(const char *path, __u64 page, __u64 *entries, __u64 n)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	__u8 *to = (__u8 *)entries;
	__u64 done = 0;

	while (fd >= 0 && done < n * 8) {
		ssize_t got = pread(fd, to + done, n * 8 - done, page * 8 + done);

		if (got <= 0)
			break;
		done += got;
	}
	if (done < n * 8)
		errx(1, "%s: %m", path);
	close(fd);
}

/* The pages that @mem is mapped to, 0 for none. To be freed. */
static inline __u64 *pfns_of(const void *mem, __u64 size)
{
	__u64 n = size / SZ_4K, *pfns = calloc(n, sizeof(*pfns));

	if (!pfns)
		errx(1, "no memory for %llu page numbers", n);
	read_entries("/proc/self/pagemap", (uintptr_t)mem / SZ_4K, pfns, n);
	for (__u64 i = 0; i < n; i++)
		pfns[i] = pfns[i] & PAGEMAP_PRESENT ? pfns[i] & PAGEMAP_PFN : 0;
	return pfns;
}

static inline __u64 pfn_of(const void *addr)
{
	__u64 *pfns = pfns_of(addr, SZ_4K), pfn = *pfns;

	free(pfns);
	return pfn;
}

/* How many of @mem's pages belong to a dirty folio */
static inline __u64 dirty(const void *mem, __u64 size)
{
	__u64 *pfns = pfns_of(mem, size), n = 0;

	for (__u64 i = 0; i < size / SZ_4K; i++) {
		__u64 flags;

		read_entries("/proc/kpageflags", pfns[i], &flags, 1);
		n += flags >> KPF_DIRTY & 1;
	}
	free(pfns);
	return n;
}

/**
 * struct table - a piece of an IOMMU page table
 * @root: address of its first page
 * @pfn: what each 4K page of it is mapped to; to be freed
 * @elsewhere: entries outside of the piece
 * @n4k: entries of that size
 * @n2m: the same
 * @n1g: the same
 */
struct table {
	unsigned long long root;
	__u64 *pfn;
	unsigned long elsewhere;
	unsigned long n4k;
	unsigned long n2m;
	unsigned long n1g;
};

static inline struct table read_table(const char *device, __u64 iova, __u64 size)
{
	struct table t = { .pfn = calloc(size / SZ_4K, 8) };
	char path[128], line[256];
	FILE *f;

	snprintf(path, sizeof(path),
		 "/sys/kernel/debug/iommu/intel/%s/domain_translation_struct",
		 device);
	f = fopen(path, "re");
	if (!f || !t.pfn)
		errx(1, "%s: %m", path);
	while (fgets(line, sizeof(line), f)) {
		/* A page frame, then PML5E, PML4E, PDPE, PDE, PTE or fewer */
		unsigned long long first, e[5], pages;
		int n = sscanf(line, " %llx | %llx %llx %llx %llx %llx", &first,
			       &e[0], &e[1], &e[2], &e[3], &e[4]) - 1;

		if (n < 2) {
			char *at = strstr(line, "@0x");

			if (at)
				t.root = strtoull(at + 1, NULL, 16);
			continue;
		}
		while (n > 1 && !e[n - 1])
			n--;
		if (n == 5) {
			pages = 1;
			t.n4k++;
		} else if (n == 4) {
			pages = SZ_2M / SZ_4K;
			t.n2m++;
		} else {
			pages = SZ_1G / SZ_4K;
			t.n1g++;
		}
		for (__u64 i = 0; i < pages; i++) {
			__u64 page = first + i - iova / SZ_4K;

			if (page < size / SZ_4K)
				t.pfn[page] = (e[n - 1] & PFN_MASK) / SZ_4K + i;
			else
				t.elsewhere++;
		}
	}
	fclose(f);
	return t;
}

/* The number of entries, of whatever size */
static inline unsigned long table_entries(const char *device)
{
	struct table t = read_table(device, IOVA_BASE, SZ_4K);

	free(t.pfn);
	return t.n4k + t.n2m + t.n1g;
}

#define EXPECT_NO_TABLE(lab)	EXPECT_EQ(0, table_entries((lab)->bdf))

/* The first of @n pages that is not where it should be, or that is nowhere; or -1 */
static inline long first_other(const __u64 *want, const __u64 *have, __u64 n)
{
	for (__u64 i = 0; i < n; i++)
		if (!want[i] || want[i] != have[i])
			return i;
	return -1;
}

/* The first page of @t that is not the one the process has; or -1 */
static inline long table_differs(const struct table *t, const void *mem, __u64 size)
{
	__u64 *pfns = pfns_of(mem, size);
	long page = first_other(pfns, t->pfn, size / SZ_4K);

	free(pfns);
	return page;
}

/* The first page that the device does not have from @iova on, or nowhere else; or -1 */
static inline long device_lacks(const char *device, const void *mem, __u64 iova,
				__u64 size)
{
	struct table t = read_table(device, iova, size);
	long page = t.elsewhere ? 0 : table_differs(&t, mem, size);

	free(t.pfn);
	return page;
}

/* The device has the very pages that the process has, and no others. */
#define EXPECT_SAME_PAGES(lab, mem, size)				\
	EXPECT_EQ(-1, device_lacks((lab)->bdf, mem, IOVA_BASE, size))

/*
 * What is done
 */

/* How vfio/type1 pins: by leaf, unless one of these says otherwise */
static inline void set_pinning(unsigned int pin_batch, bool disable_hugepages)
{
	char val[16];

	snprintf(val, sizeof(val), "%u", pin_batch);
	if (!write_file("/sys/module/vfio_iommu_type1/parameters/pin_batch", val))
		errx(1, "pin_batch of vfio_iommu_type1: %m: not a patched kernel");
	if (!write_file("/sys/module/vfio_iommu_type1/parameters/disable_hugepages",
			disable_hugepages ? "1" : "0"))
		errx(1, "disable_hugepages of vfio_iommu_type1: %m");
}

/* A container with the edu device in it */
static inline void leaf_open(struct lab *lab, const char *container, int iommu)
{
	const char *edu = env_device("EDU");

	lab_open(lab, container, iommu, group_of(edu));
	lab_open_edu(lab, edu);
}

/* Put @group into the container, too. Returns 0 or -errno. */
static inline int join_group(struct lab *lab, int group)
{
	return ioctl(group, VFIO_GROUP_SET_CONTAINER, &lab->container) ? -errno : 0;
}

static inline void leave_group(int group)
{
	if (ioctl(group, VFIO_GROUP_UNSET_CONTAINER))
		errx(1, "VFIO_GROUP_UNSET_CONTAINER: %m");
}

/* A device of a group that is in a container */
static inline int open_device(int group, const char *name)
{
	int device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name);

	if (device < 0)
		errx(1, "VFIO_GROUP_GET_DEVICE_FD %s: %m", name);
	return device;
}

/* Put another kind of device into the container, too, and open it. */
static inline int join_device(struct lab *lab, const char *name)
{
	int group = lab_open_group(group_of(name));

	if (join_group(lab, group))
		errx(1, "VFIO_GROUP_SET_CONTAINER: %m");
	return open_device(group, name);
}

static inline int dma_map_flags(struct lab *lab, const void *mem, __u64 iova,
				__u64 size, __u32 flags)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = flags,
		.vaddr = (uintptr_t)mem,
		.iova = iova,
		.size = size,
	};

	return ioctl(lab->container, VFIO_IOMMU_MAP_DMA, &map) ? -errno : 0;
}

static inline int dma_map(struct lab *lab, const void *mem, __u64 iova, __u64 size)
{
	return dma_map_flags(lab, mem, iova, size,
			     VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE);
}

/* Returns how much was unmapped or -errno */
static inline long dma_unmap(struct lab *lab, __u64 iova, __u64 size)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = iova,
		.size = size,
	};

	return ioctl(lab->container, VFIO_IOMMU_UNMAP_DMA, &unmap) ?
		       -errno : (long)unmap.size;
}

/*
 * Pages pinned by the lab's device without an IOMMU, see pinner.c
 */

#define PINNER	"pinner"

/* Pin @pages, or unpin them if that is negative. Returns 0 or -errno. */
static inline int pinner_pin(int device, __u64 iova, long pages)
{
	__s64 order[2] = { iova, pages };

	return write(device, order, sizeof(order)) == sizeof(order) ? 0 : -errno;
}

/*
 * Memory
 */

static inline __u8 *map_at(__u8 *addr, __u64 size, int prot, int flags, int fd,
			   off_t offset)
{
	__u8 *p = mmap(addr, size, prot, flags | MAP_FIXED, fd, offset);

	if (p == MAP_FAILED)
		errx(1, "mmap of %llu bytes: %m: are there enough huge pages?",
		     size);
	return p;
}

static inline __u8 *anon(__u64 size, int advice)
{
	__u8 *p = map_at(reserve_space(size, SZ_2M), size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (advice && madvise(p, size, advice))
		errx(1, "madvise: %m");
	return p;
}

static inline __u8 *touched(__u64 size, int advice)
{
	return memset(anon(size, advice), 1, size);
}

/* Small pages, every other of which belongs to memory that is not mapped */
static inline __u8 *fragmented(__u64 size)
{
	__u8 *mem = anon(size, MADV_NOHUGEPAGE);
	__u8 *other = anon(size, MADV_NOHUGEPAGE);

	for (__u64 i = 0; i < size; i += SZ_4K)
		other[i] = ++mem[i];
	return mem;
}

/*
 * Huge pages that are whole, but mapped by PTEs, as the protection of the page at
 * @at of each was changed, and changed back
 */
static inline __u8 *mapped_by_ptes(__u64 size, __u64 at)
{
	__u8 *mem = touched(size, MADV_HUGEPAGE);

	for (__u64 i = at; i < size; i += SZ_2M) {
		if (mprotect(mem + i, SZ_4K, PROT_READ) ||
		    mprotect(mem + i, SZ_4K, PROT_READ | PROT_WRITE))
			errx(1, "mprotect: %m");
	}
	return mem;
}

/* Pages of a pool, of @page bytes each, which is a power of two */
static inline __u8 *hugetlb(__u64 size, __u64 page)
{
	return map_at(reserve_space(size, page), size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB |
		      (__builtin_ctzll(page) << MAP_HUGE_SHIFT), -1, 0);
}

static inline int memfd(__u64 size)
{
	int fd = syscall(SYS_memfd_create, "vfio-leaf", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, size))
		errx(1, "memfd_create: %m");
	return fd;
}

static inline void move_pages_to(__u8 *to, __u8 *from, __u64 size)
{
	if (mremap(from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED)
		errx(1, "mremap: %m");
}

/*
 * Other processes
 */

/* As fork(), but the child does not outlive the test. */
static inline pid_t fork_child(void)
{
	pid_t pid = fork();

	if (pid < 0)
		errx(1, "fork: %m");
	if (!pid)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

/* A child that has all memory in common with the test, and does nothing with it */
static inline pid_t fork_sharer(void)
{
	pid_t pid = fork_child();

	if (!pid) {
		pause();
		_exit(0);
	}
	return pid;
}

static inline void kill_child(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/*
 * RLIMIT_MEMLOCK
 */

static inline void lock_cap(bool on)
{
	struct __user_cap_header_struct hdr = {
		.version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &hdr, data))
		errx(1, "capget: %m");
	if (on)
		data[0].effective |= 1 << CAP_IPC_LOCK;
	else
		data[0].effective &= ~(1 << CAP_IPC_LOCK);
	if (syscall(SYS_capset, &hdr, data))
		errx(1, "capset: %m");
}

static inline void limit_pages(__u64 pages)
{
	struct rlimit limit = { pages * SZ_4K, RLIM_INFINITY };

	if (setrlimit(RLIMIT_MEMLOCK, &limit))
		errx(1, "setrlimit: %m");
}

/*
 * What is charged in excess for a while, and given back, is not there at the end to
 * be seen. These are the sums of both.
 */
struct charges {
	long added;
	long taken;
};

static inline void trace_charges(void)
{
	trace_start("p:leaf_charge __account_locked_vm pages=$arg2:u64 inc=$arg3:u8\n");
}

/* Since trace_charges(), which ends with this */
static inline struct charges charges(void)
{
	struct charges c = {};
	char line[512];
	FILE *f = trace_open();

	while (fgets(line, sizeof(line), f)) {
		char *at = strstr(line, " pages=");
		long pages, inc;

		if (!strstr(line, " leaf_charge: ") || !at ||
		    sscanf(at, " pages=%ld inc=%ld", &pages, &inc) != 2)
			continue;
		*(inc ? &c.added : &c.taken) += pages;
	}
	fclose(f);
	trace_stop();
	return c;
}

#endif /* VFIO_LEAF_H */
