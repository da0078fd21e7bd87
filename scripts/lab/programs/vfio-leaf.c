// SPDX-License-Identifier: GPL-2.0
/*
 * vfio-leaf: is what VFIO_IOMMU_MAP_DMA mapped, pinned and charged exactly what
 * it was asked for, however the memory is mapped in the process, and is nothing
 * left of it afterwards, whatever went wrong in between?
 *
 * Three witnesses that vfio/type1 does not write itself:
 *
 *   the IOMMU's own page table, which the driver shows in debugfs, against
 *     /proc/self/pagemap: each page, and the size of each entry;
 *   nr_foll_pin_acquired - nr_foll_pin_released in /proc/vmstat;
 *   VmLck in /proc/self/status.
 *
 * One test per call. What differs from what it should be goes to stdout, and
 * makes the exit status 1. No other program may pin pages meanwhile.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <linux/capability.h>
#include <linux/memfd.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "vfio-test.h"

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101	/* in the kernel's asm/mman.h only */
#endif

#define PFN_MASK	0xffffffffff000ULL	/* of an IOMMU table entry */
#define PAGEMAP_PRESENT	0x8000000000000000ULL
#define PAGEMAP_PFN	0x007fffffffffffffULL

static struct lab lab;
static const char *group1, *bdf, *group2, *bdf2, *group3, *bdf3;

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
static struct pins pins(void)
{
	struct pins p;
	int fd = open("/proc/sys/vm/stat_refresh", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "1", 1) != 1)
		errx(1, "/proc/sys/vm/stat_refresh: %m");
	close(fd);
	if (!read_counter("/proc/vmstat", "nr_foll_pin_acquired", &p.acquired) ||
	    !read_counter("/proc/vmstat", "nr_foll_pin_released", &p.released))
		errx(1, "no nr_foll_pin_* in /proc/vmstat");
	return p;
}

/* Pages pinned, by all programs */
static long pinned(void)
{
	struct pins p = pins();

	return p.acquired - p.released;
}

/* Pages in locked_vm */
static long charged(void)
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

static struct account account(void)
{
	return (struct account){ pinned(), charged() };
}

static void expect_more(const char *what, struct account since, long pages)
{
	long p = pinned() - since.pinned, c = charged() - since.charged;

	expect(p == pages && c == pages,
	       "%s: %ld pages more pinned and charged, not %ld and %ld", what,
	       pages, p, c);
}

static __u64 pfn_of(const void *addr)
{
	static int fd = -1;
	__u64 entry = 0;

	if (fd < 0)
		fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (pread(fd, &entry, 8, (uintptr_t)addr / SZ_4K * 8) != 8)
		errx(1, "/proc/self/pagemap: %m");
	return entry & PAGEMAP_PRESENT ? entry & PAGEMAP_PFN : 0;
}

/**
 * struct table - a piece of an IOMMU page table
 * @root: address of its first page
 * @pfn: what each 4K page of it is mapped to; to be freed
 * @n4k: entries of that size
 * @n2m: the same
 * @n1g: the same
 */
struct table {
	unsigned long long root;
	__u64 *pfn;
	unsigned long n4k;
	unsigned long n2m;
	unsigned long n1g;
};

static struct table read_table(const char *device, __u64 iova, __u64 size)
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
				expect(false, "nothing mapped at %#llx",
				       (first + i) * SZ_4K);
		}
	}
	fclose(f);
	return t;
}

static void expect_no_table(const char *what)
{
	struct table t = read_table(bdf, IOVA_BASE, SZ_4K);

	expect(!t.n4k && !t.n2m && !t.n1g,
	       "%s: no IOMMU entry, not %lu + %lu + %lu", what, t.n4k, t.n2m,
	       t.n1g);
	free(t.pfn);
}

/* The device has the very pages that the process has. */
static struct table expect_table(const char *what, const char *device,
				 const __u8 *mem, __u64 iova, __u64 size)
{
	struct table t = read_table(device, iova, size);

	for (__u64 i = 0; i < size / SZ_4K; i++) {
		__u64 pfn = pfn_of(mem + i * SZ_4K);

		if (!pfn || t.pfn[i] != pfn) {
			expect(false, "%s: page %llu is %#llx, not %#llx", what,
			       i, pfn, t.pfn[i]);
			break;
		}
	}
	return t;
}

static void expect_same_pages(const char *what, const __u8 *mem, __u64 size)
{
	free(expect_table(what, bdf, mem, IOVA_BASE, size).pfn);
}

/*
 * What is done
 */

static int dma_map_flags(const void *mem, __u64 iova, __u64 size, __u32 flags)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = flags,
		.vaddr = (uintptr_t)mem,
		.iova = iova,
		.size = size,
	};

	return ioctl(lab.container, VFIO_IOMMU_MAP_DMA, &map) ? -errno : 0;
}

static int dma_map(const void *mem, __u64 iova, __u64 size)
{
	return dma_map_flags(mem, iova, size,
			     VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE);
}

/* Returns how much was unmapped or -errno */
static long dma_unmap(__u64 iova, __u64 size)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = iova,
		.size = size,
	};

	return ioctl(lab.container, VFIO_IOMMU_UNMAP_DMA, &unmap) ?
		       -errno : (long)unmap.size;
}

static void expect_unmap(const char *what, __u64 iova, __u64 size, long want)
{
	long ret = dma_unmap(iova, size);

	expect(ret == want, "%s: unmap says %ld, not %ld", what, want, ret);
}

static __u8 *map_at(__u8 *addr, __u64 size, int prot, int flags, int fd,
		    off_t offset)
{
	__u8 *p = mmap(addr, size, prot, flags | MAP_FIXED, fd, offset);

	if (p == MAP_FAILED)
		errx(1, "mmap of %llu bytes: %m: are there enough huge pages?",
		     size);
	return p;
}

static __u8 *anon(__u64 size, int advice)
{
	__u8 *p = map_at(reserve_space(size, SZ_2M), size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (advice && madvise(p, size, advice))
		errx(1, "madvise: %m");
	return p;
}

static __u8 *touched(__u64 size, int advice)
{
	return memset(anon(size, advice), 1, size);
}

static void move_pages_to(__u8 *to, __u8 *from, __u64 size)
{
	if (mremap(from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED)
		errx(1, "mremap: %m");
}

/*
 * Layouts: ways for memory to be mapped in the process
 */

/* Carry data across the first bounds of physically contiguous runs. */
static void check_bounds(const char *what, __u8 *mem, __u64 size)
{
	__u64 from = 0;
	int n = 0;

	for (__u64 i = SZ_4K; i < size && n < 3; i += SZ_4K) {
		__u64 to = i - EDU_CHUNK / 2;

		if (pfn_of(mem + i) == pfn_of(mem + i - SZ_4K) + 1)
			continue;
		fill(mem + from, i);
		memset(mem + to, 0x5a, EDU_CHUNK);
		edu_dma(&lab, IOVA_BASE + from, false);
		edu_dma(&lab, IOVA_BASE + to, true);
		expect(!memcmp(mem + from, mem + to, EDU_CHUNK),
		       "%s: the device carries %#llx to %#llx", what, from, to);
		from = to;
		n++;
	}
}

/* Map and unmap it. Returns the table in between, without its pages. */
static struct table check_mapping(const char *what, __u8 *mem, __u64 size)
{
	struct account before = account();
	struct table t = {};
	int err;

	err = dma_map(mem, IOVA_BASE, size);
	expect(!err, "%s: mapped, not %s", what, strerror(-err));
	if (err)
		return t;
	expect_more(what, before, size / SZ_4K);
	t = expect_table(what, bdf, mem, IOVA_BASE, size);
	free(t.pfn);
	t.pfn = NULL;
	check_bounds(what, mem, size);
	expect_unmap(what, IOVA_BASE, size, size);
	expect_more(what, before, 0);
	expect_no_table(what);
	return t;
}

static void check_layout(const char *what, __u8 *mem, __u64 size,
			 unsigned long n2m, unsigned long n1g)
{
	struct table t = check_mapping(what, mem, size);

	expect(t.n2m == n2m && t.n1g == n1g,
	       "%s: %lu entries of 2M and %lu of 1G, not %lu and %lu", what,
	       n2m, n1g, t.n2m, t.n1g);
}

static void test_thp(void)
{
	const __u64 size = 64 * SZ_1M;
	__u8 *mem = anon(size, MADV_HUGEPAGE);

	check_layout("not touched", mem, size, size / SZ_2M, 0);
	check_layout("touched", mem, size, size / SZ_2M, 0);
	/* IOVA and address differ in the low bits now: no superpage fits */
	check_layout("odd bounds", mem + 3 * SZ_4K, size - 7 * SZ_4K, 0, 0);
}

static void test_4k(void)
{
	const __u64 size = 16 * SZ_1M;
	__u8 *mem = anon(size, MADV_NOHUGEPAGE);

	/* Superpages or not: as the allocator happens to give pages */
	check_mapping("not touched", mem, size);
	check_mapping("touched", mem, size);
}

/* Every other page belongs to another process. */
static void test_fragmented(void)
{
	const __u64 size = 16 * SZ_1M;
	__u8 *mem = anon(size, MADV_NOHUGEPAGE);
	__u8 *other = anon(size, MADV_NOHUGEPAGE);

	for (__u64 i = 0; i < size; i += SZ_4K)
		other[i] = ++mem[i];
	check_layout("fragmented", mem, size, 0, 0);
}

/*
 * Huge pages in pieces, none of which lies where it lay: a folio's size says
 * nothing about what is mapped.
 */
static void test_remapped(void)
{
	__u8 *mem = touched(8 * SZ_2M, MADV_HUGEPAGE);
	__u8 *to = reserve_space(8 * SZ_2M, SZ_2M);
	const __u64 half = SZ_2M / 2;

	/* Halves swapped */
	for (int i = 0; i < 6; i++) {
		move_pages_to(to + i * SZ_2M + half, mem + i * SZ_2M, half);
		move_pages_to(to + i * SZ_2M, mem + i * SZ_2M + half, half);
	}
	/* Neighbours swapped, page by page */
	for (int i = 0; i < 512; i++)
		move_pages_to(to + 6 * SZ_2M + i * SZ_4K,
			      mem + 6 * SZ_2M + (i ^ 1) * SZ_4K, SZ_4K);
	/* A hole in the middle, with a page of another folio in it */
	move_pages_to(to + 7 * SZ_2M, mem + 7 * SZ_2M, half);
	move_pages_to(to + 7 * SZ_2M + half + SZ_4K,
		      mem + 7 * SZ_2M + half + SZ_4K, half - SZ_4K);
	map_at(to + 7 * SZ_2M + half, SZ_4K, PROT_READ | PROT_WRITE,
	       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check_layout("remapped", to, 8 * SZ_2M, 0, 0);
}

/* Huge pages that are whole, but mapped by PTEs: joined again. */
static void test_ptes(void)
{
	const __u64 size = 8 * SZ_2M;
	__u8 *mem = touched(size, MADV_HUGEPAGE);

	for (__u64 i = 0; i < size; i += SZ_2M) {
		if (mprotect(mem + i + SZ_4K, SZ_4K, PROT_READ) ||
		    mprotect(mem + i + SZ_4K, SZ_4K, PROT_READ | PROT_WRITE))
			errx(1, "mprotect: %m");
	}
	check_layout("PTEs", mem, size, size / SZ_2M, 0);
}

/* Two kinds of memory in one request */
static void test_vmas(void)
{
	const __u64 size = 16 * SZ_1M;
	__u8 *mem = anon(size, MADV_HUGEPAGE);

	map_at(mem + 4 * SZ_1M + 5 * SZ_4K, 6 * SZ_1M, PROT_READ | PROT_WRITE,
	       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check_layout("not touched", mem, size, 4, 0);
	check_layout("touched", mem, size, 4, 0);
}

static int memfd(__u64 size)
{
	int fd = syscall(SYS_memfd_create, "vfio-leaf", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, size))
		errx(1, "memfd_create: %m");
	return fd;
}

/* Page faults so far, those that a map takes among them */
static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

/* How many pages of @mem's @size are mapped in the process */
static __u64 present(const __u8 *mem, __u64 size)
{
	__u64 n = 0;

	for (__u64 i = 0; i < size; i += SZ_4K)
		n += pfn_of(mem + i) != 0;
	return n;
}

/*
 * Shared memory of huge pages. At 2M boundaries each takes one fault; elsewhere, as
 * QEMU maps a memfd, they are mapped by PTEs, which the IOMMU has to know nothing of.
 */
static void test_shmem(void)
{
	const __u64 size = 8 * SZ_2M;
	int fd = memfd(size), fresh = memfd(size);
	__u8 *file = reserve_space(size, SZ_2M);
	__u8 *mem = reserve_space(size + SZ_2M, SZ_2M) + SZ_2M - SZ_4K;
	long before;

	map_at(file, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (madvise(file, size, MADV_HUGEPAGE))
		errx(1, "madvise: %m");
	before = faults();
	expect(!dma_map(file, IOVA_BASE, size), "at a boundary: mapped");
	before = faults() - before;
	expect(before <= (long)(size / SZ_2M) + 2,
	       "at a boundary: one fault for each huge page, not %ld for %llu",
	       before, size / SZ_2M);
	expect_unmap("at a boundary", IOVA_BASE, size, size);
	check_layout("at a boundary", file, size, size / SZ_2M, 0);
	for (__u64 i = 0; i < size; i += SZ_4K)
		memset(file + i, 1 + i / SZ_4K % 251, SZ_4K);

	/* QEMU's place for a memfd */
	map_at(mem, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	check_layout("before a boundary", mem, size, size / SZ_2M, 0);
	for (__u64 i = 0; i < size; i += SZ_4K)
		expect(mem[i] == 1 + i / SZ_4K % 251 || i % SZ_2M < EDU_CHUNK,
		       "before a boundary: the file's page at %#llx", i);
	munmap(mem, size);
	close(fd);

	/* The same, with the pages still to be made: small ones, as in 6.12 */
	map_at(mem, size, PROT_READ | PROT_WRITE, MAP_SHARED, fresh, 0);
	if (madvise(mem, size, MADV_HUGEPAGE))
		errx(1, "madvise: %m");
	check_mapping("fresh, before a boundary", mem, size);
	munmap(mem, size);
	close(fresh);
}

/* The kernel tells all processes that map a page that went bad. */
static void told(int sig __attribute__((unused)))
{
}

/*
 * A page that went bad in a huge page that cannot be split, as it is pinned: it is
 * not mapped along with the others.
 */
static void test_poison(void)
{
	const __u64 bad = 300 * SZ_4K;
	__u8 *mem = reserve_space(SZ_2M, SZ_2M), *other = reserve_space(SZ_2M, SZ_2M);
	int fd = memfd(SZ_2M);

	map_at(mem, SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (madvise(mem, SZ_2M, MADV_HUGEPAGE))
		errx(1, "madvise: %m");
	memset(mem, 1, SZ_2M);
	expect(!dma_map(mem, IOVA_BASE, SZ_2M), "mapped");
	signal(SIGBUS, told);
	/* It is marked, but stays where it is */
	if (madvise(mem + bad, SZ_4K, MADV_HWPOISON) && errno != EHWPOISON)
		errx(1, "MADV_HWPOISON: %m: the kernel needs CONFIG_MEMORY_FAILURE=y");
	map_at(other, SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	other[SZ_4K] = 1;
	expect(pfn_of(other + SZ_4K) && present(other, SZ_2M) == 1,
	       "the page that faults is mapped, and no other: not %llu",
	       present(other, SZ_2M));
	expect_unmap("all", IOVA_BASE, SZ_2M, SZ_2M);
}

static void test_hugetlb2m(void)
{
	const __u64 size = 16 * SZ_2M;
	__u8 *mem = map_at(reserve_space(size, SZ_2M), size,
			   PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
			   MAP_HUGETLB | (21 << MAP_HUGE_SHIFT), -1, 0);

	check_layout("not touched", mem, size, size / SZ_2M, 0);
	check_layout("touched", mem, size, size / SZ_2M, 0);
	check_layout("odd bounds", mem + 5 * SZ_4K, size - 9 * SZ_4K, 0, 0);
}

static void test_hugetlb1g(void)
{
	__u8 *mem = map_at(reserve_space(SZ_1G, SZ_1G), SZ_1G,
			   PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
			   MAP_HUGETLB | (30 << MAP_HUGE_SHIFT), -1, 0);

	check_layout("not touched", mem, SZ_1G, 0, 1);
	check_layout("touched", mem, SZ_1G, 0, 1);
	check_layout("part", mem + SZ_2M, 8 * SZ_2M, 8, 0);
	check_layout("odd bounds", mem + 5 * SZ_4K, 3 * SZ_1M, 0, 0);
}

/*
 * What can be in the way of a pin
 */

/* Without a write there is only the zero page, which must not stay. */
static void test_zero_page(void)
{
	const __u64 size = 8 * SZ_1M;
	struct account before = account();

	for (int touch = 0; touch < 2; touch++) {
		volatile __u8 *mem = anon(size, MADV_HUGEPAGE);

		for (__u64 i = 0; touch && i < size; i += SZ_4K)
			expect(!mem[i], "zero at %#llx", i);
		expect(!dma_map_flags((void *)mem, IOVA_BASE, size,
				      VFIO_DMA_MAP_FLAG_READ), "mapped");
		expect_more("mapped", before, size / SZ_4K);
		mem[5 * SZ_4K] = 1;
		expect_same_pages("after a write", (__u8 *)mem, size);
		expect_unmap("all", IOVA_BASE, size, size);
		expect_more("unmapped", before, 0);
	}
}

/* A child that has all memory in common with us, and does nothing with it */
static pid_t fork_sharer(void)
{
	pid_t pid = fork();

	if (!pid) {
		pause();
		_exit(0);
	}
	return pid;
}

/* Pages of others are copied before they are pinned, even for reading. */
static void test_unshare(void)
{
	const __u64 size = 8 * SZ_1M;
	struct account before = account();
	int fd = memfd(size);
	__u8 *mem;
	pid_t pid;

	mem = map_at(reserve_space(size, SZ_2M), size, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE, fd, 0);
	expect(!dma_map_flags(mem, IOVA_BASE, size, VFIO_DMA_MAP_FLAG_READ),
	       "private file: mapped");
	memset(mem, 3, size);
	expect_same_pages("private file, after writes", mem, size);
	expect_unmap("private file", IOVA_BASE, size, size);

	mem = touched(size, MADV_NOHUGEPAGE);
	pid = fork_sharer();
	expect(!dma_map_flags(mem, IOVA_BASE, size, VFIO_DMA_MAP_FLAG_READ),
	       "forked: mapped");
	memset(mem, 2, size);
	expect_same_pages("forked, after writes", mem, size);
	expect_unmap("forked", IOVA_BASE, size, size);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	expect_more("unmapped", before, 0);
}

/*
 * The pages of one huge page, all mapped for reading only, and some of them the
 * child's, too: these are copied, the others stay.
 */
static void test_unshare_some(void)
{
	__u8 *mem = touched(SZ_2M, MADV_HUGEPAGE);
	struct account before = account();
	const __u64 own = SZ_2M / 4;
	__u64 pfn[512], moved = 0, stay = 0;
	pid_t pid;

	if (madvise(mem, own, MADV_DONTFORK))
		errx(1, "madvise: %m");
	pid = fork_sharer();
	if (madvise(mem, own, MADV_DOFORK) || mprotect(mem, SZ_2M, PROT_READ))
		errx(1, "madvise, mprotect: %m");
	for (__u64 i = 0; i < 512; i++)
		pfn[i] = pfn_of(mem + i * SZ_4K);
	expect(pfn[0] + 511 == pfn[511], "one huge page to begin with");
	expect(!dma_map_flags(mem, IOVA_BASE, SZ_2M, VFIO_DMA_MAP_FLAG_READ), "mapped");
	expect_same_pages("mapped", mem, SZ_2M);
	for (__u64 i = 0; i < 512; i++) {
		if (i * SZ_4K < own)
			moved += pfn_of(mem + i * SZ_4K) != pfn[i];
		else
			stay += pfn_of(mem + i * SZ_4K) == pfn[i];
	}
	expect(!moved, "%llu of its own pages have moved", moved);
	expect(!stay, "the device has %llu pages of the child's", stay);
	expect_unmap("all", IOVA_BASE, SZ_2M, SZ_2M);
	expect_more("unmapped", before, 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/*
 * Memory of which most pages are next to each other. Those that per-cpu lists hold
 * may well come in reverse: take them all.
 */
static __u8 *ascending(__u64 size)
{
	for (int tries = 0; tries < 512; tries++) {
		__u8 *mem = touched(size, MADV_NOHUGEPAGE);
		__u64 rows = 0;

		for (__u64 i = SZ_4K; i < size; i += SZ_4K)
			rows += pfn_of(mem + i) == pfn_of(mem + i - SZ_4K) + 1;
		if (rows > size / SZ_4K / 2)
			return mem;
	}
	errx(1, "free memory is too fragmented for pages in a row");
}

/*
 * Some pages are the process's own, and the ones next to them in memory are shared
 * with a child: they are copied all the same.
 */
static void test_cow(void)
{
	const __u64 size = SZ_1M, n = size / SZ_4K;
	struct account before = account();

	for (int rw = 0; rw < 2; rw++) {
		const char *what = rw ? "write" : "read";
		__u8 *mem = ascending(size);
		unsigned long rows = 0, shared = 0, own = 0;
		int done[2];
		struct table t;
		__u64 pfn[256];
		pid_t pid;
		char c;

		if (pipe(done))
			errx(1, "pipe: %m");
		pid = fork();
		if (!pid) {
			/* The copies are the child's */
			for (__u64 i = 4; i < n; i += 8)
				mem[i * SZ_4K] = 9;
			if (write(done[1], what, 1) == 1)
				pause();
			_exit(1);
		}
		if (read(done[0], &c, 1) != 1)
			errx(1, "the child: %m");
		for (__u64 i = 4; i < n; i += 8)
			mem[i * SZ_4K] = 2;
		for (__u64 i = 0; i < n; i++)
			pfn[i] = pfn_of(mem + i * SZ_4K);

		expect(!dma_map_flags(mem, IOVA_BASE, size, VFIO_DMA_MAP_FLAG_READ |
				      (rw ? VFIO_DMA_MAP_FLAG_WRITE : 0)),
		       "%s: mapped", what);
		t = expect_table(what, bdf, mem, IOVA_BASE, size);
		for (__u64 i = 0; i < n; i++) {
			if (i % 8 == 4) {
				own += t.pfn[i] != pfn[i];
				rows += pfn[i] + 1 == pfn[i + 1];
			} else {
				shared += t.pfn[i] == pfn[i];
			}
		}
		expect(rows, "%s: own pages next to shared ones, or this shows nothing",
		       what);
		expect(!own, "%s: %lu of its own pages have moved", what, own);
		expect(!shared, "%s: the device has %lu pages of the child's", what,
		       shared);
		free(t.pfn);
		expect_unmap(what, IOVA_BASE, size, size);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		close(done[0]);
		close(done[1]);
		munmap(mem, size);
		expect_more(what, before, 0);
	}
}

static void expect_refused(const char *what, const __u8 *mem, __u64 size)
{
	struct account before = account();
	int err = dma_map(mem, IOVA_BASE, size);

	expect(err == -EFAULT, "%s: bad address, not %s", what, strerror(-err));
	expect_more(what, before, 0);
	expect_no_table(what);
}

static void test_refused(void)
{
	const __u64 size = 8 * SZ_1M;
	__u8 *mem;

	mem = map_at(reserve_space(size, SZ_2M), size, PROT_READ,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	expect_refused("read-only", mem, size);
	expect(!dma_map_flags(mem, IOVA_BASE, size, VFIO_DMA_MAP_FLAG_READ),
	       "read-only: mapped for reading");
	expect_unmap("read-only", IOVA_BASE, size, size);

	mem = anon(size, MADV_HUGEPAGE);
	munmap(mem + 5 * SZ_1M + SZ_4K, SZ_4K);
	expect_refused("a hole", mem, size);
	munmap(mem + size - SZ_4K, SZ_4K);
	expect_refused("a hole at the end", mem + 6 * SZ_1M, 2 * SZ_1M);
}

/* No answer comes */
static void test_userfaultfd(void)
{
	const __u64 size = 8 * SZ_1M;
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg;
	__u8 *mem = anon(size, MADV_NOHUGEPAGE);
	int fd;

	memset(mem, 1, size / 2);
	fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	reg = (struct uffdio_register){
		.range = { (uintptr_t)mem, size },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) ||
	    ioctl(fd, UFFDIO_REGISTER, &reg))
		errx(1, "userfaultfd: %m");
	expect_refused("userfaultfd", mem, size);
}

/*
 * RLIMIT_MEMLOCK
 */

static void lock_cap(bool on)
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

static void limit_pages(__u64 pages)
{
	struct rlimit limit = { pages * SZ_4K, RLIM_INFINITY };

	if (setrlimit(RLIMIT_MEMLOCK, &limit))
		errx(1, "setrlimit: %m");
}

/* A map that the limit refuses pins no more than it on its way. */
static void expect_too_much(const char *what, const __u8 *mem, __u64 size,
			    __u64 limit)
{
	struct account before = account();
	__u64 since = pins().acquired, until;

	limit_pages(before.charged + limit);
	expect(dma_map(mem, IOVA_BASE, size) == -ENOMEM, "%s: refused", what);
	expect_more(what, before, 0);
	until = pins().acquired;
	/* What is not charged, such as reserved pages, comes by arrays of 512. */
	expect(until - since <= limit + 512, "%s: %llu pages pinned, not %llu", what,
	       limit + 512, until - since);
}

/* More than is charged at a time, so that the limit is met in a later part */
static void test_rlimit(void)
{
	const __u64 size = 300 * SZ_2M;
	const long pages = size / SZ_4K;

	for (int thp = 0; thp < 2; thp++) {
		__u8 *mem = touched(size, thp ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
		struct account before = account();

		lock_cap(false);
		limit_pages(before.charged + pages);
		expect(!dma_map(mem, IOVA_BASE, size), "room for all");
		expect_more("all", before, pages);
		expect(dma_map(mem, IOVA_BASE + SZ_1G, SZ_4K) == -ENOMEM,
		       "not one page more");
		expect_more("no more", before, pages);
		expect_unmap("all", IOVA_BASE, size, size);
		expect_more("unmapped", before, 0);

		expect_too_much("one page short", mem, size, pages - 1);
		expect_too_much("a part", mem, size, pages / 7);
		expect_too_much("next to nothing", mem, size, 1);
		lock_cap(true);
		munmap(mem, size);
	}
}

/*
 * Unmap
 */

static void test_unmap_v2(void)
{
	const __u64 half = 4 * SZ_1M;
	__u8 *mem = touched(2 * half, MADV_HUGEPAGE);
	struct account before = account();

	expect(!dma_map(mem, IOVA_BASE, half) &&
	       !dma_map(mem + half, IOVA_BASE + half, half), "mapped");
	expect_unmap("the head of a mapping", IOVA_BASE, SZ_1M, -EINVAL);
	expect_unmap("the tail of one", IOVA_BASE + half + SZ_1M, half - SZ_1M,
		     -EINVAL);
	expect_unmap("from the middle", IOVA_BASE + SZ_1M, 2 * half - SZ_1M,
		     -EINVAL);
	expect_unmap("to the middle", IOVA_BASE, half + SZ_1M, -EINVAL);
	expect_unmap("nothing", IOVA_BASE - SZ_1M, SZ_4K, 0);
	expect_unmap("past 2^64", IOVA_BASE, SZ_4K - IOVA_BASE, -EOVERFLOW);
	expect_unmap("no size", IOVA_BASE, 0, -EINVAL);
	expect_more("none of these", before, 2 * half / SZ_4K);
	expect_same_pages("none of these", mem, 2 * half);
	expect_unmap("the second one", IOVA_BASE + half, half, half);
	expect_more("the second one", before, half / SZ_4K);
	expect_same_pages("the first one", mem, half);
	expect_unmap("up to 2^64", IOVA_BASE, -IOVA_BASE, half);
	expect_more("all", before, 0);
	expect_no_table("all");
}

/* The first type1 unmaps a mapping as a whole if its head is hit. */
static void test_unmap_v1(void)
{
	const __u64 half = 4 * SZ_1M;
	__u8 *mem = touched(2 * half, MADV_HUGEPAGE);
	struct account before = account();

	expect(!dma_map(mem, IOVA_BASE, half) &&
	       !dma_map(mem + half, IOVA_BASE + half, half), "mapped");
	expect_unmap("from the middle", IOVA_BASE + SZ_1M, SZ_1M, 0);
	expect_more("from the middle", before, 2 * half / SZ_4K);
	expect_same_pages("from the middle", mem, 2 * half);
	expect_unmap("the head", IOVA_BASE, SZ_1M, half);
	expect_more("the head", before, half / SZ_4K);
	expect_unmap("the rest", IOVA_BASE, 2 * half, half);
	expect_more("all", before, 0);
	expect_no_table("all");
}

/*
 * Failures
 */

static int fail_fd = -1;

/* Let the N-th allocation of this thread from here on fail, 0 for none. */
static void fail_nth(int n)
{
	char buf[16];
	int len = snprintf(buf, sizeof(buf), "%d", n);

	if (fail_fd < 0)
		fail_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (fail_fd < 0 || pwrite(fail_fd, buf, len, 0) != len)
		errx(1, "fail-nth: %m: the kernel needs CONFIG_FAULT_INJECTION");
}

/* Stop that. Returns whether it never came to the N-th. */
static bool fail_not_reached(void)
{
	char buf[16] = "";

	if (pread(fail_fd, buf, sizeof(buf) - 1, 0) <= 0)
		errx(1, "fail-nth: %m");
	fail_nth(0);
	return atoi(buf) > 0;
}

/*
 * Files are opened once, and before the first failure: without memory there is
 * no opening them, and no getting out again.
 */
enum fail_knob { MAKE_IT_FAIL, TASK_FILTER, TIMES, SPACE, PROBABILITY, FAIL_KNOBS };

static void fail_knob(enum fail_knob knob, long val)
{
	static const char * const paths[FAIL_KNOBS] = {
		[MAKE_IT_FAIL] = "/proc/thread-self/make-it-fail",
		[TASK_FILTER] = "/sys/kernel/debug/fail_page_alloc/task-filter",
		[TIMES] = "/sys/kernel/debug/fail_page_alloc/times",
		[SPACE] = "/sys/kernel/debug/fail_page_alloc/space",
		[PROBABILITY] = "/sys/kernel/debug/fail_page_alloc/probability",
	};
	static int fds[FAIL_KNOBS];
	char buf[16];
	int len = snprintf(buf, sizeof(buf), "%ld", val);

	if (!fds[knob])
		fds[knob] = open(paths[knob], O_WRONLY | O_CLOEXEC);
	if (fds[knob] < 0 || write(fds[knob], buf, len) != len)
		errx(1, "%s: %m: the kernel needs CONFIG_FAIL_PAGE_ALLOC",
		     paths[knob]);
}

/*
 * Let this thread have so many pages, and then none: a single failure in the
 * middle is a short pin, which is tried again from where it ended.
 */
static void fail_after(long pages)
{
	fail_knob(PROBABILITY, 0);
	fail_knob(MAKE_IT_FAIL, 1);
	fail_knob(TASK_FILTER, 1);
	fail_knob(TIMES, -1);
	fail_knob(SPACE, pages + 1);
	fail_knob(PROBABILITY, 100);
}

static void fail_no_more(void)
{
	fail_knob(PROBABILITY, 0);
	fail_knob(MAKE_IT_FAIL, 0);
	fail_knob(TASK_FILTER, 0);
}

/* A map that failed left nothing; one that did not did all of its work. */
static void expect_all_or_nothing(const char *what, int err, const __u8 *mem,
				  __u64 size, struct account before)
{
	if (err) {
		expect_no_table(what);
		expect_more(what, before, 0);
	} else {
		expect_same_pages(what, mem, size);
		expect_more(what, before, size / SZ_4K);
	}
}

/* Map with each allocation failing in turn, until there is none left to fail. */
static void sweep(__u64 size, int advice, bool touch)
{
	__u8 *mem = anon(size, advice);
	int n, failed = 0, err = 0;
	struct account before;
	bool clean = false;
	char what[32];

	if (touch)
		memset(mem, 1, size);
	before = account();
	for (n = 1; !clean && !failures; n++) {
		snprintf(what, sizeof(what), "failure %d", n);
		if (!touch)
			madvise(mem, size, MADV_DONTNEED);
		fail_nth(n);
		err = dma_map(mem, IOVA_BASE, size);
		clean = fail_not_reached();
		expect_all_or_nothing(what, err, mem, size, before);
		failed += !!err;
		if (err)
			continue;
		fail_nth(clean ? 0 : 1 + n % 7);
		expect_unmap(what, IOVA_BASE, size, size);
		fail_not_reached();
		expect_all_or_nothing(what, -1, mem, size, before);
	}
	expect(failed > 0, "failed maps");
	printf("%d failures injected, %d of them failed the map\n", n - 2, failed);
}

/* Map with memory for so many pages, a few more each time, until it is enough. */
static void sweep_out_of_memory(__u64 size, int advice, int step)
{
	__u8 *mem = anon(size, advice);
	struct account before = account();
	int pages, err = -1, failed = 0;
	char what[32];

	for (pages = 0; err && !failures; pages += step) {
		snprintf(what, sizeof(what), "%d pages", pages);
		madvise(mem, size, MADV_DONTNEED);
		fail_after(pages);
		err = dma_map(mem, IOVA_BASE, size);
		fail_no_more();
		expect_all_or_nothing(what, err, mem, size, before);
		failed += !!err;
	}
	/* Without memory for anything */
	fail_after(0);
	expect_unmap("out of memory", IOVA_BASE, size, size);
	fail_no_more();
	expect_all_or_nothing("unmapped", -1, mem, size, before);
	expect(failed > 1, "failed maps");
	printf("%d failed maps, then one with memory for %d pages\n", failed,
	       pages - step);
}

static void test_fail_thp(void)
{
	sweep(8 * SZ_1M, MADV_HUGEPAGE, false);
}

static void test_fail_thp_touched(void)
{
	sweep(8 * SZ_1M, MADV_HUGEPAGE, true);
}

static void test_fail_4k(void)
{
	sweep(SZ_1M / 4, MADV_NOHUGEPAGE, false);
}

static void test_fail_4k_touched(void)
{
	sweep(8 * SZ_1M, MADV_NOHUGEPAGE, true);
}

/* Does the second device have both of these, at IOVA_BASE and 1G above it? */
static struct table expect_second(const char *what, const __u8 *huge,
				  const __u8 *small, __u64 size)
{
	struct table t = read_table(bdf2, IOVA_BASE, 2 * SZ_1G);

	for (__u64 i = 0; i < size / SZ_4K; i++) {
		if (t.pfn[i] == pfn_of(huge + i * SZ_4K) &&
		    t.pfn[SZ_1G / SZ_4K + i] == pfn_of(small + i * SZ_4K))
			continue;
		expect(false, "%s: the second device has page %llu", what, i);
		break;
	}
	expect(t.n2m >= size / SZ_2M, "%s: superpages, not %lu", what, t.n2m);
	return t;
}

static void test_oom_thp(void)
{
	sweep_out_of_memory(8 * SZ_1M, MADV_HUGEPAGE, 61);
}

static void test_oom_4k(void)
{
	sweep_out_of_memory(SZ_1M, MADV_NOHUGEPAGE, 1);
}

/*
 * A second device shares the first one's domain, unless it cannot be attached
 * to that: then it gets one of its own, where all mappings are replayed. Let
 * each allocation fail in turn, to get there, and to fail there.
 */
static void test_second(void)
{
	const __u64 size = 8 * SZ_1M;
	__u8 *huge = touched(size, MADV_HUGEPAGE);
	__u8 *small = touched(size, MADV_NOHUGEPAGE);
	int n, refused = 0, own = 0, fd = lab_open_group(group2);
	struct account before = account();
	const long pages = 2 * size / SZ_4K;
	struct table t;

	expect(!dma_map(huge, IOVA_BASE, size) &&
	       !dma_map(small, IOVA_BASE + SZ_1G, size), "mapped");
	for (n = 1; !failures; n++) {
		unsigned long long root;
		char what[32];
		bool clean;
		int err;

		snprintf(what, sizeof(what), "failure %d", n);
		fail_nth(n);
		err = ioctl(fd, VFIO_GROUP_SET_CONTAINER, &lab.container);
		clean = fail_not_reached();
		expect_more(what, before, pages);
		if (err) {
			refused++;
			continue;
		}
		t = expect_second(what, huge, small, size);
		root = t.root;
		free(t.pfn);
		t = read_table(bdf, IOVA_BASE, 2 * SZ_1G);
		free(t.pfn);
		if (t.root != root) {
			/* Two domains: unmap and map in both */
			own++;
			expect_unmap(what, IOVA_BASE, size, size);
			expect_more(what, before, pages / 2);
			expect(!dma_map(huge, IOVA_BASE, size), "%s: again", what);
			expect_more(what, before, pages);
			free(expect_second(what, huge, small, size).pfn);
		}
		if (clean)
			break;
		if (ioctl(fd, VFIO_GROUP_UNSET_CONTAINER))
			errx(1, "VFIO_GROUP_UNSET_CONTAINER: %m");
		expect_more(what, before, pages);
	}
	expect(refused > 0, "refused attachments");
	expect(own > 0, "a domain of its own");
	printf("%d failures injected, %d refused the device, %d gave it its own domain\n",
	       n - 1, refused, own);
	expect_unmap("the first", IOVA_BASE, size, size);
	expect_unmap("the second", IOVA_BASE + SZ_1G, size, size);
	expect_more("unmapped", before, 0);
	close(fd);
}

static int map_all(void *mem)
{
	dma_map(mem, IOVA_BASE, SZ_1G);
	return 0;
}

/*
 * Killed in mid-map. The child shares this process's memory, so that what it
 * leaves behind is still there to be seen.
 */
static void test_kill(void)
{
	__u8 *mem = anon(SZ_1G, MADV_HUGEPAGE);
	struct account before = account();
	int killed = 0;

	for (int us = 200; us < 300000; us += us / 2) {
		__u8 *stack = malloc(1 << 16);
		char what[32];
		int status;
		pid_t pid;
		long ret;

		snprintf(what, sizeof(what), "after %d us", us);
		pid = clone(map_all, stack + (1 << 16),
			    CLONE_VM | CLONE_FILES | SIGCHLD, mem);
		if (pid < 0)
			errx(1, "clone: %m");
		usleep(us);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		free(stack);

		/* All of it, or nothing */
		ret = dma_unmap(IOVA_BASE, SZ_1G);
		expect(!ret || ret == SZ_1G, "%s: %ld mapped", what, ret);
		killed += WIFSIGNALED(status) && !ret;
		expect_more(what, before, 0);
		expect_no_table(what);
		madvise(mem, SZ_1G, MADV_DONTNEED);
	}
	expect(killed > 0, "a map killed in the middle");
	printf("%d maps killed in the middle\n", killed);
}

/*
 * The events of @name that this process causes. Not by set_event_pid: that patches
 * the scheduler, and QEMU 7.2 lets the other CPU run into a breakpoint that is gone.
 */
static bool trace_enable(const char *name)
{
	char file[64], filter[32];

	snprintf(filter, sizeof(filter), "common_pid == %d", getpid());
	snprintf(file, sizeof(file), "events/%s/filter", name);
	if (!trace_write(file, filter))
		return false;
	snprintf(file, sizeof(file), "events/%s/enable", name);
	return trace_write(file, "1");
}

/* Trace what this process does, with @probes. */
static void trace_start(const char *probes)
{
	trace_must_write("kprobe_events", probes);
	if (!trace_enable("kprobes"))
		errx(1, TRACING "events/kprobes: %m");
	trace_restart();
}

/*
 * What is charged in excess for a while, and given back, is not there at the end to
 * be seen. These are the sums of both.
 */
struct charges {
	long added;
	long taken;
};

static void trace_charges(void)
{
	trace_start("p:leaf_charge __account_locked_vm pages=$arg2:u64 inc=$arg3:u8\n");
}

/* Since trace_charges(), which ends with this */
static struct charges charges(void)
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

static void expect_charges(const char *what, long pages)
{
	struct charges c = charges();

	expect(c.added == pages && !c.taken,
	       "%s: %ld pages charged and none given back, not %ld and %ld", what,
	       pages, c.added, c.taken);
}

/* What lspci says of a device's BAR @nr */
static __u64 bar_address(const char *device, int nr)
{
	unsigned long long start = 0;
	char path[128], line[128];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource", device);
	f = fopen(path, "re");
	while (f && nr-- >= 0 && fgets(line, sizeof(line), f))
		start = strtoull(line, NULL, 16);
	if (!start)
		errx(1, "%s: %m", path);
	fclose(f);
	return start;
}

/* Put the other kind of device into the container, too, and open it. */
static int join_device(void)
{
	int group = lab_open_group(group3), device;

	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &lab.container))
		errx(1, "VFIO_GROUP_SET_CONTAINER: %m");
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf3);
	if (device < 0)
		errx(1, "VFIO_GROUP_GET_DEVICE_FD %s: %m", bdf3);
	return device;
}

/*
 * Device memory: neither pinned nor charged, but mapped by the leaf
 */
static void test_bar(void)
{
	struct vfio_region_info bar = {
		.argsz = sizeof(bar), .index = VFIO_PCI_BAR2_REGION_INDEX };
	int device = join_device();
	struct account before = account();
	__u64 bar_pfn = bar_address(bdf3, 2) / SZ_4K;
	struct table t;
	__u8 *mem;

	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &bar))
		errx(1, "%s: %m", bdf3);
	mem = map_at(reserve_space(bar.size, SZ_1G), bar.size,
		     PROT_READ | PROT_WRITE, MAP_SHARED, device, bar.offset);
	expect(!dma_map(mem, IOVA_BASE, bar.size), "mapped");
	expect_more("mapped", before, 0);
	t = read_table(bdf, IOVA_BASE, bar.size);
	for (__u64 i = 0; i < bar.size / SZ_4K; i++) {
		if (t.pfn[i] == bar_pfn + i)
			continue;
		expect(false, "page %llu is %#llx, not %#llx", i, bar_pfn + i,
		       t.pfn[i]);
		break;
	}
	expect(!t.n4k && t.n2m + t.n1g, "superpages only, not %lu of 4K", t.n4k);
	free(t.pfn);
	expect_unmap("all", IOVA_BASE, bar.size, bar.size);

	/* Memory, device memory at odd bounds, memory: in one request */
	mem = anon(24 * SZ_1M, 0);
	map_at(mem + 8 * SZ_1M, 8 * SZ_1M, PROT_READ | PROT_WRITE, MAP_SHARED,
	       device, bar.offset + 4 * SZ_4K);
	trace_charges();
	expect(!dma_map(mem, IOVA_BASE, 24 * SZ_1M), "mixed: mapped");
	expect_charges("mixed", 16 * SZ_1M / SZ_4K);
	expect_more("mixed", before, 16 * SZ_1M / SZ_4K);
	t = read_table(bdf, IOVA_BASE, 24 * SZ_1M);
	for (__u64 i = 0; i < 24 * SZ_1M / SZ_4K; i++) {
		__u64 pfn = pfn_of(mem + i * SZ_4K);

		/* pagemap does not tell those of device memory */
		if (i >= 8 * SZ_1M / SZ_4K && i < 16 * SZ_1M / SZ_4K)
			pfn = bar_pfn + 4 + i - 8 * SZ_1M / SZ_4K;
		if (pfn && t.pfn[i] == pfn)
			continue;
		expect(false, "mixed: page %llu is %#llx, not %#llx", i, pfn,
		       t.pfn[i]);
		break;
	}
	free(t.pfn);
	expect_unmap("mixed", IOVA_BASE, 24 * SZ_1M, 24 * SZ_1M);
	expect_more("unmapped", before, 0);
	expect_no_table("unmapped");
}

/*
 * Memory that a driver maps as if it were a device's, as one leaf: refused if as
 * much as one of its pages may be freed.
 */
static void test_pfnmap(void)
{
	int device = join_device();
	struct account before = account();
	struct table t;
	__u8 *mem;

	mem = reserve_space(SZ_2M, SZ_2M);
	map_at(mem, SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED, device, SZ_2M);
	expect(!dma_map(mem, IOVA_BASE, SZ_2M), "reserved: mapped");
	expect_more("reserved", before, 0);
	t = read_table(bdf, IOVA_BASE, SZ_2M);
	expect(t.n2m == 1 && !t.n4k, "reserved: one superpage");
	free(t.pfn);
	expect_unmap("reserved", IOVA_BASE, SZ_2M, SZ_2M);

	for (int owned = 0; owned < 512; owned += 511) {
		map_at(mem, SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED, device,
		       owned * SZ_4K);
		/* There, and not refused for being out of reach */
		expect(!*(volatile __u8 *)mem, "a page is managed: zero");
		expect_refused("a page is managed", mem, SZ_2M);
	}
	munmap(mem, SZ_2M);
	close(device);
}

/*
 * Pages pinned by a device without an IOMMU: they are charged when they are
 * pinned, but not again when a device with an IOMMU comes, for which all are.
 */

#define EXTERNAL_PAGES	10

/* Pin @pages, or unpin them if that is negative. Returns 0 or -errno. */
static int external_pages(int device, __u64 iova, long pages)
{
	__s64 order[2] = { iova, pages };

	return write(device, order, sizeof(order)) == sizeof(order) ? 0 : -errno;
}

static void external(int device, const char *what, __u64 iova, bool pin)
{
	int err = external_pages(device, iova, pin ? EXTERNAL_PAGES : -EXTERNAL_PAGES);

	expect(!err, "%s: %s", what, strerror(-err));
}

static int open_external(void)
{
	int device = ioctl(lab.group, VFIO_GROUP_GET_DEVICE_FD, bdf3);

	if (device < 0)
		errx(1, "VFIO_GROUP_GET_DEVICE_FD %s: %m", bdf3);
	return device;
}

static void test_external(void)
{
	const __u64 size = 8 * SZ_1M, at = IOVA_BASE + SZ_1M + 5 * SZ_4K;
	__u8 *mem = touched(size, MADV_HUGEPAGE);
	const long pages = size / SZ_4K;
	struct account before = account();
	struct rlimit was;
	int group, device;

	device = open_external();
	/* A task with CAP_IPC_LOCK when it maps may lock without a limit from then on. */
	getrlimit(RLIMIT_MEMLOCK, &was);
	lock_cap(false);
	limit_pages(before.charged + pages - 1);
	expect(!dma_map(mem, IOVA_BASE, size), "mapped");
	expect_more("no IOMMU", before, 0);
	external(device, "pinned", at, true);
	expect_more("pinned", before, EXTERNAL_PAGES);

	/* The limit is the mapping's, all of it, and not a page more */
	group = lab_open_group(group1);
	expect(ioctl(group, VFIO_GROUP_SET_CONTAINER, &lab.container),
	       "one page short: refused");
	expect_more("one page short", before, EXTERNAL_PAGES);
	limit_pages(before.charged + pages);
	expect(!ioctl(group, VFIO_GROUP_SET_CONTAINER, &lab.container),
	       "just enough: %m");

	expect(charged() - before.charged == pages,
	       "an IOMMU: %ld pages more charged, not %ld", pages,
	       charged() - before.charged);
	expect(pinned() - before.pinned == pages + EXTERNAL_PAGES,
	       "an IOMMU: %ld pages more pinned, not %ld", pages + EXTERNAL_PAGES,
	       pinned() - before.pinned);
	expect_same_pages("an IOMMU", mem, size);

	/* While there is an IOMMU they are charged with the mapping. */
	external(device, "unpinned", at, false);
	expect_more("unpinned", before, pages);
	external(device, "pinned again", at, true);
	expect(charged() - before.charged == pages, "pinned again: charged once");

	if (ioctl(group, VFIO_GROUP_UNSET_CONTAINER))
		errx(1, "VFIO_GROUP_UNSET_CONTAINER: %m");
	expect_more("no IOMMU again", before, EXTERNAL_PAGES);

	/* With room for more, they are not charged again for a while, either */
	limit_pages(before.charged + 2 * pages);
	trace_charges();
	expect(!ioctl(group, VFIO_GROUP_SET_CONTAINER, &lab.container),
	       "room for more: %m");
	expect_charges("room for more", pages - EXTERNAL_PAGES);
	if (ioctl(group, VFIO_GROUP_UNSET_CONTAINER))
		errx(1, "VFIO_GROUP_UNSET_CONTAINER: %m");
	external(device, "unpinned at the end", at, false);
	expect_more("unpinned at the end", before, 0);
	expect_unmap("all", IOVA_BASE, size, size);
	lock_cap(true);
	setrlimit(RLIMIT_MEMLOCK, &was);
	close(device);
}

/*
 * The same through iommufd, which has no record of the pages that a device with an
 * IOMMU has: it reads them back from the page table, by the entry.
 */
static void test_iommufd_pins(void)
{
	const __u64 size = 2 * SZ_2M, at = SZ_1M + 5 * SZ_4K;
	__u8 *mem = touched(size, MADV_HUGEPAGE);
	int device = join_device(), lookups = 0;
	__u64 pfns[EXTERNAL_PAGES] = {};
	char line[512];
	FILE *f;

	expect(!dma_map(mem, IOVA_BASE, size), "mapped");
	trace_start("p:leaf_lookup intel_iommu_iova_to_phys\n"
		    "p:leaf_lookup_range intel_iommu_iova_to_phys_range\n");
	external(device, "pinned", IOVA_BASE + at, true);
	f = trace_open();
	while (fgets(line, sizeof(line), f))
		lookups += !!strstr(line, " leaf_lookup");
	fclose(f);
	trace_stop();
	expect(lookups == 1, "%d pages of one entry: one look-up, not %d",
	       EXTERNAL_PAGES, lookups);
	expect(read(device, pfns, sizeof(pfns)) == sizeof(pfns), "read: %m");
	for (int i = 0; i < EXTERNAL_PAGES; i++)
		expect(pfns[i] == pfn_of(mem + at + i * SZ_4K),
		       "page %d is %#llx, not %#llx", i,
		       pfn_of(mem + at + i * SZ_4K), pfns[i]);
	/* Two entries, and what is between them */
	external(device, "unpinned", IOVA_BASE + at, false);
	external(device, "pinned", IOVA_BASE + SZ_2M - 3 * SZ_4K, true);
	expect(read(device, pfns, sizeof(pfns)) == sizeof(pfns), "read: %m");
	for (int i = 0; i < EXTERNAL_PAGES; i++)
		expect(pfns[i] == pfn_of(mem + SZ_2M + (i - 3) * SZ_4K),
		       "page %d of two is %#llx, not %#llx", i,
		       pfn_of(mem + SZ_2M + (i - 3) * SZ_4K), pfns[i]);
	external(device, "unpinned", IOVA_BASE + SZ_2M - 3 * SZ_4K, false);
	expect_unmap("all", IOVA_BASE, size, size);
	close(device);
}

/* The dirty pages of a range, without a look at them. Returns 0 or -errno. */
static int dirty_pages(__u32 flag, __u64 iova, __u64 size)
{
	static __u64 bitmap[2 * SZ_2M / SZ_4K / 64];
	struct vfio_iommu_type1_dirty_bitmap_get get = {
		.iova = iova,
		.size = size,
		.bitmap = { SZ_4K, sizeof(bitmap), bitmap },
	};
	struct {
		struct vfio_iommu_type1_dirty_bitmap head;
		__u8 get[sizeof(get)];
	} dirty = { .head = { sizeof(dirty), flag } };

	memcpy(dirty.head.data, &get, sizeof(get));
	return ioctl(lab.container, VFIO_IOMMU_DIRTY_PAGES, &dirty) ? -errno : 0;
}

static int get_dirty_pages(__u64 iova, __u64 size)
{
	return dirty_pages(VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP, iova, size);
}

/*
 * Up to the last byte of the IOVA space, which an IOMMU may not have: a device
 * without one does.
 */
static void test_top(void)
{
	__u8 *mem = touched(2 * SZ_2M, MADV_HUGEPAGE);
	const __u64 last = -(__u64)SZ_2M, before_last = last - SZ_2M;
	const __u64 pins = -(__u64)EXTERNAL_PAGES * SZ_4K;
	struct vfio_iommu_type1_dma_unmap all = {
		.argsz = sizeof(all), .flags = VFIO_DMA_UNMAP_FLAG_ALL };
	struct account before = account();
	int device = open_external();

	expect(dma_map(mem, last, 2 * SZ_2M) == -EOVERFLOW, "beyond the end: overflow");
	expect(dma_map((void *)(uintptr_t)last, 0, 2 * SZ_2M) == -EOVERFLOW,
	       "memory beyond the end: overflow");
	expect(dma_map(mem, last, 0) == -EINVAL, "no size: invalid");
	expect(!dirty_pages(VFIO_IOMMU_DIRTY_PAGES_FLAG_START, 0, 0), "dirty pages: %m");
	for (int i = 0; i < 3; i++) {
		expect(!dma_map(mem, before_last, SZ_2M), "before the last: mapped");
		expect(!dma_map(mem + SZ_2M, last, SZ_2M), "the last: mapped");
		expect(dma_map(mem, -(__u64)SZ_4K, SZ_4K) == -EEXIST,
		       "the last page: is there already");
		external(device, "pinned", pins, true);
		expect_more("pinned", before, EXTERNAL_PAGES);
		external(device, "unpinned", pins, false);
		expect_more("unpinned", before, 0);

		expect(external_pages(device, pins, EXTERNAL_PAGES + 1) == -EOVERFLOW,
		       "pinned beyond the end: overflow");
		expect(external_pages(device, pins, 0) == -EINVAL, "no pages: invalid");
		expect_more("beyond the end", before, 0);
		expect(!get_dirty_pages(before_last, 2 * SZ_2M), "dirty pages: %m");
		expect(get_dirty_pages(last, 2 * SZ_2M) == -EOVERFLOW,
		       "dirty pages beyond the end: overflow");
		expect(get_dirty_pages(last, 0) == -EINVAL, "dirty pages of none: invalid");
		expect(dma_unmap(last, 2 * SZ_2M) == -EOVERFLOW,
		       "unmap beyond the end: overflow");
		expect(dma_unmap(-(__u64)SZ_4K, SZ_4K) == -EINVAL,
		       "unmap of the last page only: refused");
		if (i == 0) {
			expect_unmap("the last", last, SZ_2M, SZ_2M);
			expect_unmap("the one before", before_last, SZ_2M, SZ_2M);
		} else if (i == 1) {
			expect_unmap("both", before_last, 2 * SZ_2M, 2 * SZ_2M);
		} else {
			expect(!ioctl(lab.container, VFIO_IOMMU_UNMAP_DMA, &all) &&
			       all.size == 2 * SZ_2M, "all of it: %m");
		}
		expect_unmap("nothing left", before_last, 2 * SZ_2M, 0);
	}

	/* Pages are not unpinned around the end. The kernel warns of that. */
	expect(!dma_map(mem, 0, SZ_2M) && !dma_map(mem + SZ_2M, last, SZ_2M),
	       "the first and the last: mapped");
	external(device, "the first", 0, true);
	external(device, "the last", pins, true);
	external_pages(device, pins, -2 * EXTERNAL_PAGES);
	expect_more("unpinned beyond the end", before, 2 * EXTERNAL_PAGES);
	external(device, "the first", 0, false);
	external(device, "the last", pins, false);
	expect_unmap("the first", 0, SZ_2M, SZ_2M);
	expect_unmap("the last", last, SZ_2M, SZ_2M);
	close(device);
}

/*
 * What is pinned cannot be moved away. Taking a page out of use because of
 * memory errors shows it, as nothing else is in its way.
 */
static void test_soft_offline(void)
{
	__u8 *mem = touched(SZ_2M, MADV_NOHUGEPAGE);
	__u64 pfn = pfn_of(mem + SZ_4K);

	expect(!dma_map(mem, IOVA_BASE, SZ_2M), "mapped");
	expect(madvise(mem + SZ_4K, SZ_4K, MADV_SOFT_OFFLINE) && pfn_of(mem + SZ_4K) == pfn,
	       "pinned: stays where it is");
	expect_same_pages("pinned", mem, SZ_2M);
	expect_unmap("all", IOVA_BASE, SZ_2M, SZ_2M);
	expect(!madvise(mem + SZ_4K, SZ_4K, MADV_SOFT_OFFLINE), "unmapped: %m");
	expect(pfn_of(mem + SZ_4K) != pfn, "unmapped: moved");
	expect(mem[SZ_4K] == 1, "unmapped: the same contents");
}

/*
 * How often: by the kernel's own trace events. How often references on pages are
 * taken only a kernel with CONFIG_DEBUG_PAGE_REF tells.
 */

static bool count_grabs;

struct counts {
	unsigned long grabs;
	unsigned long write_locks;
	unsigned long maps;
	unsigned long unmaps;
	unsigned long unpins;
	unsigned long early;	/* unpins before the IOTLB was told of the unmap */
};

static struct counts counts(void)
{
	struct counts c = { 0 };
	bool stale = false;
	char line[512];
	FILE *f = trace_open();

	while (fgets(line, sizeof(line), f)) {
		if (line[0] == '#')
			continue;
		c.grabs += !!strstr(line, " page_ref_mod: ");
		c.write_locks += strstr(line, "mmap_lock_start_locking: ") &&
				 strstr(line, "write=true");
		c.maps += !!strstr(line, " map: ");
		if (strstr(line, " unmap: ")) {
			c.unmaps++;
			stale = true;
		}
		if (strstr(line, " leaf_sync: "))
			stale = false;
		if (strstr(line, " leaf_unpin: ")) {
			c.unpins++;
			c.early += stale;
		}
	}
	fclose(f);
	trace_restart();
	return c;
}

static void count(const char *what, __u8 *mem, __u64 size, unsigned long leaves)
{
	unsigned long runs = 1;
	struct counts c;

	for (__u64 i = SZ_4K; i < size; i += SZ_4K)
		runs += pfn_of(mem + i) != pfn_of(mem + i - SZ_4K) + 1;
	counts();
	expect(!dma_map(mem, IOVA_BASE, size), "%s: mapped", what);
	c = counts();
	printf("%s: %llu MiB, %lu leaves, %lu runs: %lu mmap write locks, %lu maps",
	       what, size >> 20, leaves, runs, c.write_locks, c.maps);
	if (count_grabs)
		printf(", %lu references", c.grabs);
	expect(!count_grabs || (c.grabs && c.grabs <= leaves),
	       "%s: a reference taken per leaf, %lu", what, leaves);
	expect(c.write_locks && c.write_locks <= (size + 128 * SZ_2M - 1) / (128 * SZ_2M),
	       "%s: a write lock per 256 MiB", what);
	expect(c.maps && c.maps <= runs, "%s: an iommu_map() per run, %lu", what,
	       runs);
	expect_unmap(what, IOVA_BASE, size, size);
	c = counts();
	printf(", %lu unmaps\n", c.unmaps);
	expect(c.unmaps && c.unmaps <= runs, "%s: an iommu_unmap() per run, %lu",
	       what, runs);
	expect(c.unpins && !c.early,
	       "%s: %lu of %lu unpins while the device may still get there", what,
	       c.early, c.unpins);
	munmap(mem, size);
}

static void test_counts(void)
{
	const __u64 size = 200 * SZ_2M;
	__u8 *mem, *other;

	if (!trace_write("buffer_size_kb", "8192") ||
	    !trace_enable("mmap_lock/mmap_lock_start_locking") ||
	    !trace_enable("iommu/map") || !trace_enable("iommu/unmap"))
		errx(1, TRACING ": %m: no event tracing in this kernel");
	trace_start("p:leaf_sync intel_iommu_tlb_sync\n"
		    "p:leaf_unpin unpin_user_page_range_dirty_lock\n");
	count_grabs = trace_enable("page_ref/page_ref_mod");

	count("thp", touched(size, MADV_HUGEPAGE), size, size / SZ_2M);
	mem = map_at(reserve_space(32 * SZ_2M, SZ_2M), 32 * SZ_2M,
		     PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
		     MAP_HUGETLB | (21 << MAP_HUGE_SHIFT), -1, 0);
	count("hugetlb2m", memset(mem, 1, 32 * SZ_2M), 32 * SZ_2M, 32);
	mem = map_at(reserve_space(SZ_1G, SZ_1G), SZ_1G,
		     PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
		     MAP_HUGETLB | (30 << MAP_HUGE_SHIFT), -1, 0);
	mem[0] = 1;
	count("hugetlb1g", mem, SZ_1G, 1);

	/*
	 * Huge pages behind PTEs: a reference for the first page, one for the
	 * row behind it, one while the folio is put on the active list.
	 */
	mem = touched(8 * SZ_2M, MADV_HUGEPAGE);
	for (int i = 0; i < 8; i++)
		if (mprotect(mem + i * SZ_2M, SZ_4K, PROT_READ) ||
		    mprotect(mem + i * SZ_2M, SZ_4K, PROT_READ | PROT_WRITE))
			errx(1, "mprotect: %m");
	count("thp by ptes", mem, 8 * SZ_2M, 3 * 8);

	mem = anon(8 * SZ_2M, MADV_NOHUGEPAGE);
	other = anon(8 * SZ_2M, MADV_NOHUGEPAGE);
	for (__u64 i = 0; i < 8 * SZ_2M; i += SZ_4K)
		other[i] = ++mem[i];
	count("fragmented", mem, 8 * SZ_2M, 8 * SZ_2M / SZ_4K);

	trace_stop();
}

/*
 * Keep a mapping until a signal comes, for a script to see what it keeps
 * from happening. Prints where its first page is.
 */
static void test_hold(void)
{
	__u8 *mem = touched(64 * SZ_1M, MADV_HUGEPAGE);

	expect(!dma_map(mem, IOVA_BASE, 64 * SZ_1M), "mapped");
	printf("%llu\n", pfn_of(mem));
	fflush(stdout);
	pause();
}

/* Map memory over and over, until a signal comes. */
static void test_loop(void)
{
	__u8 *mem = anon(SZ_1G, MADV_NOHUGEPAGE);

	printf("looping\n");
	fflush(stdout);
	while (!failures) {
		expect(!dma_map(mem, IOVA_BASE, SZ_1G), "mapped");
		expect_unmap("all", IOVA_BASE, SZ_1G, SZ_1G);
	}
}

static const struct test {
	const char *name;
	void (*fn)(void);
} tests[] = {
	{ "thp", test_thp },
	{ "4k", test_4k },
	{ "fragmented", test_fragmented },
	{ "remapped", test_remapped },
	{ "ptes", test_ptes },
	{ "vmas", test_vmas },
	{ "shmem", test_shmem },
	{ "poison", test_poison },
	{ "hugetlb2m", test_hugetlb2m },
	{ "hugetlb1g", test_hugetlb1g },
	{ "zero-page", test_zero_page },
	{ "unshare", test_unshare },
	{ "unshare-some", test_unshare_some },
	{ "cow", test_cow },
	{ "refused", test_refused },
	{ "userfaultfd", test_userfaultfd },
	{ "rlimit", test_rlimit },
	{ "unmap-v2", test_unmap_v2 },
	{ "unmap-v1", test_unmap_v1 },
	{ "fail-thp", test_fail_thp },
	{ "fail-thp-touched", test_fail_thp_touched },
	{ "fail-4k", test_fail_4k },
	{ "fail-4k-touched", test_fail_4k_touched },
	{ "oom-thp", test_oom_thp },
	{ "oom-4k", test_oom_4k },
	{ "second", test_second },
	{ "kill", test_kill },
	{ "bar", test_bar },
	{ "pfnmap", test_pfnmap },
	{ "external", test_external },
	{ "iommufd-pins", test_iommufd_pins },
	{ "top", test_top },
	{ "soft-offline", test_soft_offline },
	{ "counts", test_counts },
	{ "hold", test_hold },
	{ "loop", test_loop },
};

static void usage(void)
{
	fputs("vfio-leaf -g GROUP -d DEVICE [-G GROUP -D DEVICE] [-b GROUP -B DEVICE] TEST\n"
	      "  -g, -d  an edu device\n"
	      "  -G, -D  another one, for the test \"second\"\n"
	      "  -b, -B  a device with a large BAR 2, for the test \"bar\",\n"
	      "          or one without an IOMMU, for \"external\", \"iommufd-pins\",\n"
	      "          \"top\" and \"pfnmap\"\n"
	      "TEST is one of", stderr);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		fprintf(stderr, " %s", tests[i].name);
	fputs("\n", stderr);
	exit(2);
}

int main(int argc, char **argv)
{
	int opt, iommu = VFIO_TYPE1v2_IOMMU;
	const struct test *test = NULL;
	bool no_iommu;

	while ((opt = getopt(argc, argv, "g:d:G:D:b:B:")) != -1) {
		switch (opt) {
		case 'g':
			group1 = optarg;
			break;
		case 'd':
			bdf = optarg;
			break;
		case 'G':
			group2 = optarg;
			break;
		case 'D':
			bdf2 = optarg;
			break;
		case 'b':
			group3 = optarg;
			break;
		case 'B':
			bdf3 = optarg;
			break;
		default:
			usage();
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(tests) && optind == argc - 1; i++)
		if (!strcmp(argv[optind], tests[i].name))
			test = &tests[i];
	if (!test || !group1 || !bdf)
		usage();
	if (test->fn == test_second && (!group2 || !bdf2))
		errx(2, "%s needs a second device: -G, -D", test->name);
	no_iommu = test->fn == test_external || test->fn == test_top;
	if ((test->fn == test_bar || test->fn == test_pfnmap ||
	     test->fn == test_iommufd_pins || no_iommu) && (!group3 || !bdf3))
		errx(2, "%s needs another kind of device: -b, -B", test->name);
	if (test->fn == test_unmap_v1)
		iommu = VFIO_TYPE1_IOMMU;

	lab_open(&lab, test->fn == test_iommufd_pins ? "/dev/iommu" : "/dev/vfio/vfio",
		 iommu, no_iommu ? group3 : group1);
	if (!no_iommu)
		lab_open_edu(&lab, bdf);
	test->fn();
	return failures != 0;
}
