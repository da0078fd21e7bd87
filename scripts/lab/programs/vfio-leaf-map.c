// SPDX-License-Identifier: GPL-2.0
/*
 * vfio-leaf-map: memory of every layout, that is, however it comes to be mapped in
 * the process, is mapped for the device as it lies, by the largest entries that fit.
 *
 * The layouts are those of which a walk by page table leaf may take too much or
 * join too little: folios in pieces, huge pages behind PTEs, neighbours in memory
 * that are none in the process. Each is mapped and unmapped, and looked at in
 * between. Where pages do not follow each other the device itself carries data from
 * one to the next.
 */
#include "vfio-leaf.h"

FIXTURE(map) {
	struct lab lab;
};

FIXTURE_VARIANT(map) {
	const char *container;
	unsigned int pin_batch;
	bool disable_hugepages;
};

FIXTURE_VARIANT_ADD(map, by_leaf) {
	.container = TYPE1,
};

FIXTURE_VARIANT_ADD(map, pin_batch_1) {
	.container = TYPE1,
	.pin_batch = 1,
};

FIXTURE_VARIANT_ADD(map, pin_batch_512) {
	.container = TYPE1,
	.pin_batch = 512,
};

FIXTURE_VARIANT_ADD(map, disable_hugepages) {
	.container = TYPE1,
	.disable_hugepages = true,
};

FIXTURE_VARIANT_ADD(map, iommufd) {
	.container = IOMMUFD,
};

FIXTURE_SETUP(map)
{
	set_pinning(variant->pin_batch, variant->disable_hugepages);
	leaf_open(&self->lab, variant->container, VFIO_TYPE1v2_IOMMU);
}

FIXTURE_TEARDOWN(map)
{
}

/*
 * Carry data across the first bounds of physically contiguous runs. Returns the
 * offset to which it did not get, or 0.
 */
static __u64 carry_across_bounds(struct lab *lab, __u8 *mem, __u64 size)
{
	__u64 *pfns = pfns_of(mem, size), from = 0, lost = 0;
	int n = 0;

	for (__u64 i = SZ_4K; i < size && n < 3 && !lost; i += SZ_4K) {
		__u64 to = i - EDU_CHUNK / 2;

		if (pfns[i / SZ_4K] == pfns[i / SZ_4K - 1] + 1)
			continue;
		fill(mem + from, i);
		memset(mem + to, 0x5a, EDU_CHUNK);
		edu_dma(lab, IOVA_BASE + from, false);
		edu_dma(lab, IOVA_BASE + to, true);
		if (memcmp(mem + from, mem + to, EDU_CHUNK))
			lost = to;
		from = to;
		n++;
	}
	free(pfns);
	return lost;
}

/* Map and unmap it. Returns the table in between, without its pages. */
static struct table check_mapping(struct __test_metadata *_metadata, struct lab *lab,
				  __u8 *mem, __u64 size)
{
	struct account before = account();
	const long pages = size / SZ_4K;
	struct table t;

	ASSERT_EQ(0, dma_map(lab, mem, IOVA_BASE, size));
	EXPECT_PINNED_CHARGED(before, pages, to_charge(lab, pages));
	t = read_table(lab->bdf, IOVA_BASE, size);
	EXPECT_EQ(0, t.elsewhere);
	EXPECT_EQ(-1, table_differs(&t, mem, size));
	free(t.pfn);
	t.pfn = NULL;
	EXPECT_EQ(0, carry_across_bounds(lab, mem, size));
	EXPECT_EQ((long)size, dma_unmap(lab, IOVA_BASE, size));
	EXPECT_MORE(before, 0);
	EXPECT_NO_TABLE(lab);
	return t;
}

/* The same, and the large entries are these, if there may be any. */
#define CHECK_LAYOUT(mem, size, nr_2m, nr_1g) do {				\
	bool large_ = !variant->disable_hugepages;				\
	struct table t_ = check_mapping(_metadata, &self->lab, mem, size);	\
	EXPECT_EQ(large_ ? (nr_2m) : 0, t_.n2m);				\
	EXPECT_EQ(large_ ? (nr_1g) : 0, t_.n1g);				\
} while (0)

TEST_F(map, a_thp_is_one_entry)
{
	const __u64 size = 64 * SZ_1M;
	__u8 *mem = anon(size, MADV_HUGEPAGE);

	/* Not touched, then touched */
	CHECK_LAYOUT(mem, size, size / SZ_2M, 0);
	CHECK_LAYOUT(mem, size, size / SZ_2M, 0);
	/* IOVA and address differ in the low bits now: no superpage fits */
	CHECK_LAYOUT(mem + 3 * SZ_4K, size - 7 * SZ_4K, 0, 0);
}

TEST_F(map, small_pages_are_mapped_as_they_lie)
{
	const __u64 size = 16 * SZ_1M;
	__u8 *mem = anon(size, MADV_NOHUGEPAGE);

	/* Superpages or not: as the allocator happens to give pages */
	check_mapping(_metadata, &self->lab, mem, size);
	check_mapping(_metadata, &self->lab, mem, size);
}

TEST_F(map, pages_that_are_no_neighbours_are_not_joined)
{
	const __u64 size = 16 * SZ_1M;

	CHECK_LAYOUT(fragmented(size), size, 0, 0);
}

/*
 * Huge pages in pieces, none of which lies where it lay: a folio's size says
 * nothing about what is mapped.
 */
TEST_F(map, folios_in_pieces_are_mapped_as_the_pieces_lie)
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
	CHECK_LAYOUT(to, 8 * SZ_2M, 0, 0);
}

TEST_F(map, a_thp_behind_ptes_is_joined_again)
{
	const __u64 size = 8 * SZ_2M;

	CHECK_LAYOUT(mapped_by_ptes(size, SZ_4K), size, size / SZ_2M, 0);
}

TEST_F(map, two_kinds_of_memory_are_one_request)
{
	const __u64 size = 16 * SZ_1M;
	__u8 *mem = anon(size, MADV_HUGEPAGE);

	map_at(mem + 4 * SZ_1M + 5 * SZ_4K, 6 * SZ_1M, PROT_READ | PROT_WRITE,
	       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	/* Not touched, then touched */
	CHECK_LAYOUT(mem, size, 4, 0);
	CHECK_LAYOUT(mem, size, 4, 0);
}

/* Page faults so far, those that a map takes among them */
static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

static __u8 *map_huge_file(__u8 *at, __u64 size, int fd)
{
	map_at(at, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (madvise(at, size, MADV_HUGEPAGE))
		errx(1, "madvise: %m");
	return at;
}

/* Where QEMU maps a memfd: a page before a 2M boundary */
static __u8 *before_a_boundary(__u64 size)
{
	return reserve_space(size + SZ_2M, SZ_2M) + SZ_2M - SZ_4K;
}

TEST_F(map, shmem_at_a_2m_boundary_takes_one_fault_for_each_huge_page)
{
	const __u64 size = 8 * SZ_2M;
	__u8 *file = map_huge_file(reserve_space(size, SZ_2M), size, memfd(size));
	long before = faults();

	ASSERT_EQ(0, dma_map(&self->lab, file, IOVA_BASE, size));
	EXPECT_LE(faults() - before, (long)(size / SZ_2M) + 2);
	EXPECT_EQ((long)size, dma_unmap(&self->lab, IOVA_BASE, size));
	CHECK_LAYOUT(file, size, size / SZ_2M, 0);
}

/* There it is mapped by PTEs, which the IOMMU has to know nothing of. */
TEST_F(map, shmem_off_a_2m_boundary_has_the_superpages_of_its_huge_pages)
{
	const __u64 size = 8 * SZ_2M;
	__u8 *mem = before_a_boundary(size);
	unsigned long wrong = 0;
	int fd = memfd(size);
	__u8 *file;

	file = map_huge_file(reserve_space(size, SZ_2M), size, fd);
	for (__u64 i = 0; i < size; i += SZ_4K)
		memset(file + i, 1 + i / SZ_4K % 251, SZ_4K);
	map_at(mem, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK_LAYOUT(mem, size, size / SZ_2M, 0);
	/* They are the file's pages still, but for what the device carried. */
	for (__u64 i = 0; i < size; i += SZ_4K)
		wrong += mem[i] != 1 + i / SZ_4K % 251 && i % SZ_2M >= EDU_CHUNK;
	EXPECT_EQ(0, wrong);
}

/* With the pages still to be made: small ones, as in 6.12 */
TEST_F(map, fresh_shmem_off_a_2m_boundary_is_mapped)
{
	const __u64 size = 8 * SZ_2M;

	check_mapping(_metadata, &self->lab,
		      map_huge_file(before_a_boundary(size), size, memfd(size)), size);
}

TEST_F(map, a_2m_hugetlb_page_is_one_entry)
{
	const __u64 size = 16 * SZ_2M;
	__u8 *mem = hugetlb(size, SZ_2M);

	/* Not touched, then touched */
	CHECK_LAYOUT(mem, size, size / SZ_2M, 0);
	CHECK_LAYOUT(mem, size, size / SZ_2M, 0);
	CHECK_LAYOUT(mem + 5 * SZ_4K, size - 9 * SZ_4K, 0, 0);
}

/* Page by page this takes minutes. */
FIXTURE(map_1g) {
	struct lab lab;
};

FIXTURE_VARIANT(map_1g) {
	const char *container;
	bool disable_hugepages;
};

FIXTURE_VARIANT_ADD(map_1g, by_leaf) {
	.container = TYPE1,
};

FIXTURE_VARIANT_ADD(map_1g, iommufd) {
	.container = IOMMUFD,
};

FIXTURE_SETUP(map_1g)
{
	set_pinning(0, false);
	leaf_open(&self->lab, variant->container, VFIO_TYPE1v2_IOMMU);
}

FIXTURE_TEARDOWN(map_1g)
{
}

TEST_F(map_1g, a_1g_hugetlb_page_is_one_entry)
{
	__u8 *mem = hugetlb(SZ_1G, SZ_1G);

	/* Not touched, then touched */
	CHECK_LAYOUT(mem, SZ_1G, 0, 1);
	CHECK_LAYOUT(mem, SZ_1G, 0, 1);
	/* A part of it, and a part at odd bounds */
	CHECK_LAYOUT(mem + SZ_2M, 8 * SZ_2M, 8, 0);
	CHECK_LAYOUT(mem + 5 * SZ_4K, 3 * SZ_1M, 0, 0);
}

TEST_HARNESS_MAIN
