// SPDX-License-Identifier: GPL-2.0
/*
 * vfio-leaf-limits: RLIMIT_MEMLOCK holds to the page, although it is charged in
 * large portions, and a map that it refuses pins no more than the limit on its way.
 *
 * The memory is more than is charged at a time, so that the limit is met in a later
 * portion.
 */
#include "vfio-leaf.h"

#define SIZE	(300 * SZ_2M)
#define PAGES	((long)(SIZE / SZ_4K))

FIXTURE(limits) {
	struct lab lab;
	__u8 *mem;
	struct account before;
};

FIXTURE_VARIANT(limits) {
	int advice;
	unsigned int pin_batch;
	bool disable_hugepages;
};

FIXTURE_VARIANT_ADD(limits, thp_by_leaf) {
	.advice = MADV_HUGEPAGE,
};

FIXTURE_VARIANT_ADD(limits, thp_pin_batch_1) {
	.advice = MADV_HUGEPAGE,
	.pin_batch = 1,
};

FIXTURE_VARIANT_ADD(limits, thp_pin_batch_512) {
	.advice = MADV_HUGEPAGE,
	.pin_batch = 512,
};

FIXTURE_VARIANT_ADD(limits, thp_disable_hugepages) {
	.advice = MADV_HUGEPAGE,
	.disable_hugepages = true,
};

FIXTURE_VARIANT_ADD(limits, small_by_leaf) {
	.advice = MADV_NOHUGEPAGE,
};

FIXTURE_VARIANT_ADD(limits, small_pin_batch_1) {
	.advice = MADV_NOHUGEPAGE,
	.pin_batch = 1,
};

FIXTURE_VARIANT_ADD(limits, small_pin_batch_512) {
	.advice = MADV_NOHUGEPAGE,
	.pin_batch = 512,
};

FIXTURE_VARIANT_ADD(limits, small_disable_hugepages) {
	.advice = MADV_NOHUGEPAGE,
	.disable_hugepages = true,
};

FIXTURE_SETUP(limits)
{
	set_pinning(variant->pin_batch, variant->disable_hugepages);
	leaf_open(&self->lab, TYPE1, VFIO_TYPE1v2_IOMMU);
	self->mem = touched(SIZE, variant->advice);
	self->before = account();
	lock_cap(false);
}

FIXTURE_TEARDOWN(limits)
{
}

TEST_F(limits, as_much_as_the_limit_is_mapped_and_not_a_page_more)
{
	limit_pages(self->before.charged + PAGES);
	ASSERT_EQ(0, dma_map(&self->lab, self->mem, IOVA_BASE, SIZE));
	EXPECT_MORE(self->before, PAGES);
	EXPECT_EQ(-ENOMEM, dma_map(&self->lab, self->mem, IOVA_BASE + SZ_1G, SZ_4K));
	EXPECT_MORE(self->before, PAGES);
	EXPECT_EQ((long)SIZE, dma_unmap(&self->lab, IOVA_BASE, SIZE));
	EXPECT_MORE(self->before, 0);
}

TEST_F(limits, what_is_refused_pins_no_more_than_the_limit)
{
	/* One page short, a part, next to nothing */
	const long limits[] = { PAGES - 1, PAGES / 7, 1 };

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		__u64 since = pins().acquired;

		limit_pages(self->before.charged + limits[i]);
		EXPECT_EQ(-ENOMEM, dma_map(&self->lab, self->mem, IOVA_BASE, SIZE));
		EXPECT_MORE(self->before, 0);
		/* What is not charged, such as reserved pages, comes by arrays of 512. */
		EXPECT_LE((long)(pins().acquired - since), limits[i] + 512);
	}
}

TEST_HARNESS_MAIN
