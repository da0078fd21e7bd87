// SPDX-License-Identifier: GPL-2.0
/*
 * vfio-leaf-pages: which pages the device gets. They are those that the process
 * has and goes on to have: no zero page, nothing that another process shares, no page
 * that went bad. Memory that cannot all be pinned is refused, and none of it stays
 * pinned. What the device may have written to is dirty afterwards.
 *
 * Where several pages are pinned by one look at the page table, each must be such a
 * page: hence the tests in which only some of the neighbours are.
 */
#include <linux/userfaultfd.h>

#include "vfio-leaf.h"

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101	/* in the kernel's asm/mman.h only */
#endif

FIXTURE(pages) {
	struct lab lab;
};

FIXTURE_VARIANT(pages) {
	const char *container;
	unsigned int pin_batch;
	bool disable_hugepages;
};

FIXTURE_VARIANT_ADD(pages, by_leaf) {
	.container = TYPE1,
};

FIXTURE_VARIANT_ADD(pages, pin_batch_1) {
	.container = TYPE1,
	.pin_batch = 1,
};

FIXTURE_VARIANT_ADD(pages, pin_batch_512) {
	.container = TYPE1,
	.pin_batch = 512,
};

FIXTURE_VARIANT_ADD(pages, disable_hugepages) {
	.container = TYPE1,
	.disable_hugepages = true,
};

FIXTURE_VARIANT_ADD(pages, iommufd) {
	.container = IOMMUFD,
};

FIXTURE_SETUP(pages)
{
	set_pinning(variant->pin_batch, variant->disable_hugepages);
	leaf_open(&self->lab, variant->container, VFIO_TYPE1v2_IOMMU);
}

FIXTURE_TEARDOWN(pages)
{
}

/* Map it so that the device can only read it. */
static int dma_map_read(struct lab *lab, const void *mem, __u64 size)
{
	return dma_map_flags(lab, mem, IOVA_BASE, size, VFIO_DMA_MAP_FLAG_READ);
}

/* Without a write there is only the zero page, which must not stay. */
TEST_F(pages, the_zero_page_is_replaced)
{
	const __u64 size = 8 * SZ_1M;
	const long pages = size / SZ_4K;
	struct account before = account();

	for (int touch = 0; touch < 2; touch++) {
		volatile __u8 *mem = anon(size, MADV_HUGEPAGE);
		unsigned long sum = 0;

		for (__u64 i = 0; touch && i < size; i += SZ_4K)
			sum += mem[i];
		EXPECT_EQ(0, sum);
		ASSERT_EQ(0, dma_map_read(&self->lab, (void *)mem, size));
		EXPECT_PINNED_CHARGED(before, pages, to_charge(&self->lab, pages));
		mem[5 * SZ_4K] = 1;
		EXPECT_SAME_PAGES(&self->lab, (void *)mem, size);
		EXPECT_EQ((long)size, dma_unmap(&self->lab, IOVA_BASE, size));
		EXPECT_MORE(before, 0);
	}
}

/* Pages of others are copied before they are pinned, even for reading. */
TEST_F(pages, the_page_cache_of_a_private_file_is_copied)
{
	const __u64 size = 8 * SZ_1M;
	struct account before = account();
	__u8 *mem;

	mem = map_at(reserve_space(size, SZ_2M), size, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE, memfd(size), 0);
	ASSERT_EQ(0, dma_map_read(&self->lab, mem, size));
	memset(mem, 3, size);
	EXPECT_SAME_PAGES(&self->lab, mem, size);
	EXPECT_EQ((long)size, dma_unmap(&self->lab, IOVA_BASE, size));
	EXPECT_MORE(before, 0);
}

TEST_F(pages, what_a_child_shares_is_copied)
{
	const __u64 size = 8 * SZ_1M;
	struct account before = account();
	__u8 *mem = touched(size, MADV_NOHUGEPAGE);
	pid_t pid = fork_sharer();

	ASSERT_EQ(0, dma_map_read(&self->lab, mem, size));
	memset(mem, 2, size);
	EXPECT_SAME_PAGES(&self->lab, mem, size);
	EXPECT_EQ((long)size, dma_unmap(&self->lab, IOVA_BASE, size));
	kill_child(pid);
	EXPECT_MORE(before, 0);
}

/*
 * The pages of one huge page, all mapped for reading only, and some of them the
 * child's, too: these are copied, the others stay.
 */
TEST_F(pages, only_the_shared_pages_of_a_folio_are_copied)
{
	__u8 *mem = touched(SZ_2M, MADV_HUGEPAGE);
	struct account before = account();
	const __u64 own = SZ_2M / 4;
	__u64 *was, *is, moved = 0, stay = 0;
	pid_t pid;

	if (madvise(mem, own, MADV_DONTFORK))
		errx(1, "madvise: %m");
	pid = fork_sharer();
	if (madvise(mem, own, MADV_DOFORK) || mprotect(mem, SZ_2M, PROT_READ))
		errx(1, "madvise, mprotect: %m");
	was = pfns_of(mem, SZ_2M);
	/* One huge page to begin with */
	ASSERT_EQ(was[0] + 511, was[511]);
	ASSERT_EQ(0, dma_map_read(&self->lab, mem, SZ_2M));
	EXPECT_SAME_PAGES(&self->lab, mem, SZ_2M);
	is = pfns_of(mem, SZ_2M);
	for (__u64 i = 0; i < 512; i++) {
		if (i * SZ_4K < own)
			moved += is[i] != was[i];
		else
			stay += is[i] == was[i];
	}
	EXPECT_EQ(0, moved);
	EXPECT_EQ(0, stay);
	EXPECT_EQ((long)SZ_2M, dma_unmap(&self->lab, IOVA_BASE, SZ_2M));
	EXPECT_MORE(before, 0);
	kill_child(pid);
}

/*
 * Memory in which every eighth page, from the fourth on, is mostly followed by its
 * neighbour. Pages of per-cpu lists may come in reverse: take them all.
 */
static __u8 *ascending(__u64 size)
{
	for (int tries = 0; tries < 512; tries++) {
		__u8 *mem = touched(size, MADV_NOHUGEPAGE);
		__u64 *pfns = pfns_of(mem, size), rows = 0;

		for (__u64 i = 4; i + 1 < size / SZ_4K; i += 8)
			rows += pfns[i] + 1 == pfns[i + 1];
		free(pfns);
		if (rows > size / SZ_4K / 8 / 2)
			return mem;
	}
	errx(1, "free memory is too fragmented for pages in a row");
}

/* A child that has written to every eighth page: its copy, and the other one is ours */
static pid_t fork_writer(__u8 *mem, __u64 n)
{
	int done[2];
	pid_t pid;
	char c;

	if (pipe(done))
		errx(1, "pipe: %m");
	pid = fork_child();
	if (!pid) {
		for (__u64 i = 4; i < n; i += 8)
			mem[i * SZ_4K] = 9;
		if (write(done[1], "", 1) == 1)
			pause();
		_exit(1);
	}
	if (read(done[0], &c, 1) != 1)
		errx(1, "the child: %m");
	close(done[0]);
	close(done[1]);
	return pid;
}

/*
 * Some pages are the process's own, and the ones next to them in memory are shared
 * with a child: they are copied all the same.
 */
static void check_cow(struct __test_metadata *_metadata, struct lab *lab, __u32 flags)
{
	const __u64 size = SZ_1M, n = size / SZ_4K;
	struct account before = account();
	__u8 *mem = ascending(size);
	unsigned long rows = 0, shared = 0, own = 0;
	pid_t pid = fork_writer(mem, n);
	struct table t;
	__u64 *was;

	for (__u64 i = 4; i < n; i += 8)
		mem[i * SZ_4K] = 2;
	was = pfns_of(mem, size);

	ASSERT_EQ(0, dma_map_flags(lab, mem, IOVA_BASE, size, flags));
	t = read_table(lab->bdf, IOVA_BASE, size);
	EXPECT_EQ(0, t.elsewhere);
	EXPECT_EQ(-1, table_differs(&t, mem, size));
	for (__u64 i = 0; i < n; i++) {
		if (i % 8 == 4) {
			own += t.pfn[i] != was[i];
			rows += was[i] + 1 == was[i + 1];
		} else {
			shared += t.pfn[i] == was[i];
		}
	}
	/* Own pages next to shared ones, or this shows nothing */
	EXPECT_LT(0, rows);
	EXPECT_EQ(0, own);
	EXPECT_EQ(0, shared);
	EXPECT_EQ((long)size, dma_unmap(lab, IOVA_BASE, size));
	kill_child(pid);
	EXPECT_MORE(before, 0);
}

TEST_F(pages, shared_neighbours_of_own_pages_are_copied_for_reading)
{
	check_cow(_metadata, &self->lab, VFIO_DMA_MAP_FLAG_READ);
}

TEST_F(pages, shared_neighbours_of_own_pages_are_copied_for_writing)
{
	check_cow(_metadata, &self->lab,
		  VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE);
}

/* Bad address, and nothing is left of the part that could be pinned. */
#define EXPECT_REFUSED(mem, size) do {					\
	struct account before_ = account();				\
	EXPECT_EQ(-EFAULT, dma_map(&self->lab, mem, IOVA_BASE, size));	\
	EXPECT_MORE(before_, 0);					\
	EXPECT_NO_TABLE(&self->lab);					\
} while (0)

TEST_F(pages, read_only_memory_is_refused_for_writing)
{
	const __u64 size = 8 * SZ_1M;
	__u8 *mem = map_at(reserve_space(size, SZ_2M), size, PROT_READ,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	EXPECT_REFUSED(mem, size);
	EXPECT_EQ(0, dma_map_read(&self->lab, mem, size));
	EXPECT_EQ((long)size, dma_unmap(&self->lab, IOVA_BASE, size));
}

TEST_F(pages, memory_with_a_hole_is_refused)
{
	const __u64 size = 8 * SZ_1M;
	__u8 *mem = anon(size, MADV_HUGEPAGE);

	munmap(mem + 5 * SZ_1M + SZ_4K, SZ_4K);
	EXPECT_REFUSED(mem, size);
	/* And where the hole is the last page */
	munmap(mem + size - SZ_4K, SZ_4K);
	EXPECT_REFUSED(mem + 6 * SZ_1M, 2 * SZ_1M);
}

/*
 * That anonymous memory was written to is in its page table entries, which know
 * nothing of the device: its folios are clean until they are unpinned.
 */
#define CHECK_DIRTY(mem, size) do {						\
	__u8 *mem_ = mem;							\
	__u64 size_ = size;							\
										\
	ASSERT_EQ(0, dirty(mem_, size_));					\
	ASSERT_EQ(0, dma_map_read(&self->lab, mem_, size_));			\
	ASSERT_EQ((long)size_, dma_unmap(&self->lab, IOVA_BASE, size_));	\
	EXPECT_EQ(0, dirty(mem_, size_));					\
	ASSERT_EQ(0, dma_map(&self->lab, mem_, IOVA_BASE, size_));		\
	EXPECT_EQ(0, dirty(mem_, size_));					\
	ASSERT_EQ((long)size_, dma_unmap(&self->lab, IOVA_BASE, size_));	\
	EXPECT_EQ(size_ / SZ_4K, dirty(mem_, size_));				\
} while (0)

TEST_F(pages, small_pages_are_dirty_once_the_device_could_write_to_them)
{
	CHECK_DIRTY(touched(SZ_1M, MADV_NOHUGEPAGE), SZ_1M);
}

TEST_F(pages, huge_pages_are_dirty_once_the_device_could_write_to_them)
{
	CHECK_DIRTY(touched(4 * SZ_2M, MADV_HUGEPAGE), 4 * SZ_2M);
}

/* A fault that vfio/type1 cannot wait for: iommufd waits. */
FIXTURE(userfaultfd) {
	struct lab lab;
};

FIXTURE_VARIANT(userfaultfd) {
	unsigned int pin_batch;
	bool disable_hugepages;
};

FIXTURE_VARIANT_ADD(userfaultfd, by_leaf) {
};

FIXTURE_VARIANT_ADD(userfaultfd, pin_batch_1) {
	.pin_batch = 1,
};

FIXTURE_VARIANT_ADD(userfaultfd, pin_batch_512) {
	.pin_batch = 512,
};

FIXTURE_VARIANT_ADD(userfaultfd, disable_hugepages) {
	.disable_hugepages = true,
};

FIXTURE_SETUP(userfaultfd)
{
	set_pinning(variant->pin_batch, variant->disable_hugepages);
	leaf_open(&self->lab, TYPE1, VFIO_TYPE1v2_IOMMU);
}

FIXTURE_TEARDOWN(userfaultfd)
{
}

TEST_F(userfaultfd, that_does_not_answer_has_its_memory_refused)
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
	EXPECT_REFUSED(mem, size);
}

/*
 * Memory that goes out of use. It does not come back, so this is done once.
 */
FIXTURE(memory_errors) {
	struct lab lab;
};

FIXTURE_SETUP(memory_errors)
{
	set_pinning(0, false);
	leaf_open(&self->lab, TYPE1, VFIO_TYPE1v2_IOMMU);
}

FIXTURE_TEARDOWN(memory_errors)
{
}

/*
 * What is pinned cannot be moved away. Taking a page out of use because of
 * memory errors shows it, as nothing else is in its way.
 */
TEST_F(memory_errors, a_pinned_page_stays_where_it_is)
{
	__u8 *mem = touched(SZ_2M, MADV_NOHUGEPAGE);
	__u64 pfn = pfn_of(mem + SZ_4K);

	ASSERT_EQ(0, dma_map(&self->lab, mem, IOVA_BASE, SZ_2M));
	EXPECT_NE(0, madvise(mem + SZ_4K, SZ_4K, MADV_SOFT_OFFLINE));
	EXPECT_EQ(pfn, pfn_of(mem + SZ_4K));
	EXPECT_SAME_PAGES(&self->lab, mem, SZ_2M);
	EXPECT_EQ((long)SZ_2M, dma_unmap(&self->lab, IOVA_BASE, SZ_2M));
	EXPECT_EQ(0, madvise(mem + SZ_4K, SZ_4K, MADV_SOFT_OFFLINE));
	EXPECT_NE(pfn, pfn_of(mem + SZ_4K));
	EXPECT_EQ(1, mem[SZ_4K]);
}

/* The kernel tells all processes that map a page that went bad. */
static void told(int sig __attribute__((unused)))
{
}

/*
 * A page that went bad in a huge page that cannot be split, as it is pinned: it is
 * not mapped along with the others.
 */
TEST_F(memory_errors, a_page_that_went_bad_is_not_mapped_along)
{
	const __u64 bad = 300 * SZ_4K;
	__u8 *mem = reserve_space(SZ_2M, SZ_2M), *other = reserve_space(SZ_2M, SZ_2M);
	int fd = memfd(SZ_2M);
	__u64 *pfns, present = 0;

	map_at(mem, SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (madvise(mem, SZ_2M, MADV_HUGEPAGE))
		errx(1, "madvise: %m");
	memset(mem, 1, SZ_2M);
	ASSERT_EQ(0, dma_map(&self->lab, mem, IOVA_BASE, SZ_2M));
	signal(SIGBUS, told);
	/* It is marked, but stays where it is */
	if (madvise(mem + bad, SZ_4K, MADV_HWPOISON) && errno != EHWPOISON)
		errx(1, "MADV_HWPOISON: %m: the kernel needs CONFIG_MEMORY_FAILURE=y");
	map_at(other, SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	other[SZ_4K] = 1;
	/* The page that faults is mapped, and no other. */
	pfns = pfns_of(other, SZ_2M);
	for (int i = 0; i < 512; i++)
		present += !!pfns[i];
	EXPECT_NE(0, pfns[1]);
	EXPECT_EQ(1, present);
	EXPECT_EQ((long)SZ_2M, dma_unmap(&self->lab, IOVA_BASE, SZ_2M));
}

TEST_HARNESS_MAIN
