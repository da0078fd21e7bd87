// SPDX-License-Identifier: GPL-2.0
/*
 * vfio-leaf-unmap: what a request to unmap takes. Version 2 of type1 takes whole
 * mappings or nothing, version 1 each mapping whose head is hit. What a request does
 * not take stays mapped, pinned and charged; what it takes is gone.
 */
#include "vfio-leaf.h"

#define HALF	(4 * SZ_1M)
#define PAGES	((long)(2 * HALF / SZ_4K))

/* A container with two mappings, next to each other */
struct halves {
	struct lab lab;
	__u8 *mem;
	struct account before;
};

static void map_halves(struct __test_metadata *_metadata, struct halves *h, int iommu)
{
	set_pinning(0, false);
	leaf_open(&h->lab, TYPE1, iommu);
	h->mem = touched(2 * HALF, MADV_HUGEPAGE);
	h->before = account();
	ASSERT_EQ(0, dma_map(&h->lab, h->mem, IOVA_BASE, HALF));
	ASSERT_EQ(0, dma_map(&h->lab, h->mem + HALF, IOVA_BASE + HALF, HALF));
}

FIXTURE(unmap_v2) {
	struct halves h;
};

FIXTURE_SETUP(unmap_v2)
{
	map_halves(_metadata, &self->h, VFIO_TYPE1v2_IOMMU);
}

FIXTURE_TEARDOWN(unmap_v2)
{
}

TEST_F(unmap_v2, what_is_refused_takes_nothing)
{
	struct lab *lab = &self->h.lab;

	/* The head and the tail of a mapping; from the middle of one, and to it */
	EXPECT_EQ(-EINVAL, dma_unmap(lab, IOVA_BASE, SZ_1M));
	EXPECT_EQ(-EINVAL, dma_unmap(lab, IOVA_BASE + HALF + SZ_1M, HALF - SZ_1M));
	EXPECT_EQ(-EINVAL, dma_unmap(lab, IOVA_BASE + SZ_1M, 2 * HALF - SZ_1M));
	EXPECT_EQ(-EINVAL, dma_unmap(lab, IOVA_BASE, HALF + SZ_1M));
	/* Where there is nothing; past 2^64; of no size */
	EXPECT_EQ(0, dma_unmap(lab, IOVA_BASE - SZ_1M, SZ_4K));
	EXPECT_EQ(-EOVERFLOW, dma_unmap(lab, IOVA_BASE, SZ_4K - IOVA_BASE));
	EXPECT_EQ(-EINVAL, dma_unmap(lab, IOVA_BASE, 0));
	EXPECT_MORE(self->h.before, PAGES);
	EXPECT_SAME_PAGES(lab, self->h.mem, 2 * HALF);
}

TEST_F(unmap_v2, whole_mappings_go_and_others_stay)
{
	struct lab *lab = &self->h.lab;

	EXPECT_EQ((long)HALF, dma_unmap(lab, IOVA_BASE + HALF, HALF));
	EXPECT_MORE(self->h.before, PAGES / 2);
	EXPECT_SAME_PAGES(lab, self->h.mem, HALF);
	/* Up to 2^64 */
	EXPECT_EQ((long)HALF, dma_unmap(lab, IOVA_BASE, -IOVA_BASE));
	EXPECT_MORE(self->h.before, 0);
	EXPECT_NO_TABLE(lab);
}

FIXTURE(unmap_v1) {
	struct halves h;
};

FIXTURE_SETUP(unmap_v1)
{
	map_halves(_metadata, &self->h, VFIO_TYPE1_IOMMU);
}

FIXTURE_TEARDOWN(unmap_v1)
{
}

TEST_F(unmap_v1, a_mapping_goes_as_a_whole_if_its_head_is_hit)
{
	struct lab *lab = &self->h.lab;

	/* From the middle; the head; the rest */
	EXPECT_EQ(0, dma_unmap(lab, IOVA_BASE + SZ_1M, SZ_1M));
	EXPECT_MORE(self->h.before, PAGES);
	EXPECT_SAME_PAGES(lab, self->h.mem, 2 * HALF);
	EXPECT_EQ((long)HALF, dma_unmap(lab, IOVA_BASE, SZ_1M));
	EXPECT_MORE(self->h.before, PAGES / 2);
	EXPECT_EQ((long)HALF, dma_unmap(lab, IOVA_BASE, 2 * HALF));
	EXPECT_MORE(self->h.before, 0);
	EXPECT_NO_TABLE(lab);
}

TEST_HARNESS_MAIN
