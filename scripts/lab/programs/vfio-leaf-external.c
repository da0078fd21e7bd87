// SPDX-License-Identifier: GPL-2.0
/*
 * vfio-leaf-external: pages that a device without an IOMMU pins. They are charged when
 * they are pinned, but not again when a device with an IOMMU comes, for which all of
 * the mapping is pinned. Such a device has all of the IOVA space, to its last byte.
 *
 * The device is that of the lab's module "pinner".
 */
#include "vfio-leaf.h"

#define EXTERNAL_PAGES	10

/* What is mapped is not pinned before that device asks for it. */
FIXTURE(external) {
	struct lab lab;
	int device;
};

FIXTURE_VARIANT(external) {
	unsigned int pin_batch;
};

FIXTURE_VARIANT_ADD(external, by_leaf) {
};

FIXTURE_VARIANT_ADD(external, pin_batch_1) {
	.pin_batch = 1,
};

FIXTURE_VARIANT_ADD(external, pin_batch_512) {
	.pin_batch = 512,
};

FIXTURE_SETUP(external)
{
	set_pinning(variant->pin_batch, false);
	lab_open(&self->lab, TYPE1, VFIO_TYPE1v2_IOMMU, group_of(PINNER));
	self->lab.bdf = env_device("EDU");
	self->device = open_device(self->lab.group, PINNER);
}

FIXTURE_TEARDOWN(external)
{
}

#define EXPECT_PIN(iova)							\
	EXPECT_EQ(0, pinner_pin(self->device, iova, EXTERNAL_PAGES))
#define EXPECT_UNPIN(iova)							\
	EXPECT_EQ(0, pinner_pin(self->device, iova, -EXTERNAL_PAGES))

TEST_F(external, pages_are_charged_once)
{
	const __u64 size = 8 * SZ_1M, at = IOVA_BASE + SZ_1M + 5 * SZ_4K;
	__u8 *mem = touched(size, MADV_HUGEPAGE);
	const long pages = size / SZ_4K;
	struct account before = account();
	struct lab *lab = &self->lab;
	struct charges c;
	int group;

	/* A task with CAP_IPC_LOCK when it maps may lock without a limit from then on. */
	lock_cap(false);
	limit_pages(before.charged + pages - 1);
	ASSERT_EQ(0, dma_map(lab, mem, IOVA_BASE, size));
	EXPECT_MORE(before, 0);
	EXPECT_PIN(at);
	EXPECT_MORE(before, EXTERNAL_PAGES);

	/* The limit is the mapping's, all of it, and not a page more */
	group = lab_open_group(group_of(lab->bdf));
	EXPECT_NE(0, join_group(lab, group));
	EXPECT_MORE(before, EXTERNAL_PAGES);
	limit_pages(before.charged + pages);
	ASSERT_EQ(0, join_group(lab, group));
	EXPECT_PINNED_CHARGED(before, pages + EXTERNAL_PAGES, pages);
	EXPECT_SAME_PAGES(lab, mem, size);

	/* While there is an IOMMU they are charged with the mapping. */
	EXPECT_UNPIN(at);
	EXPECT_MORE(before, pages);
	EXPECT_PIN(at);
	EXPECT_PINNED_CHARGED(before, pages + EXTERNAL_PAGES, pages);
	leave_group(group);
	EXPECT_MORE(before, EXTERNAL_PAGES);

	/* With room for more, they are not charged again for a while, either */
	limit_pages(before.charged + 2 * pages);
	trace_charges();
	ASSERT_EQ(0, join_group(lab, group));
	c = charges();
	EXPECT_EQ(pages - EXTERNAL_PAGES, c.added);
	EXPECT_EQ(0, c.taken);
	leave_group(group);
	EXPECT_UNPIN(at);
	EXPECT_MORE(before, 0);
	EXPECT_EQ((long)size, dma_unmap(lab, IOVA_BASE, size));
}

TEST_F(external, pages_are_dirty_once_they_are_unpinned)
{
	__u8 *mem = touched(SZ_1M, MADV_NOHUGEPAGE);

	ASSERT_EQ(0, dma_map(&self->lab, mem, IOVA_BASE, SZ_1M));
	EXPECT_PIN(IOVA_BASE);
	EXPECT_EQ(0, dirty(mem, SZ_1M));
	EXPECT_UNPIN(IOVA_BASE);
	EXPECT_EQ(EXTERNAL_PAGES, dirty(mem, SZ_1M));
	EXPECT_EQ((long)SZ_1M, dma_unmap(&self->lab, IOVA_BASE, SZ_1M));
}

/* The dirty pages of a range, without a look at them. Returns 0 or -errno. */
static int dirty_pages(struct lab *lab, __u32 flag, __u64 iova, __u64 size)
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
	return ioctl(lab->container, VFIO_IOMMU_DIRTY_PAGES, &dirty) ? -errno : 0;
}

static int get_dirty_pages(struct lab *lab, __u64 iova, __u64 size)
{
	return dirty_pages(lab, VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP, iova, size);
}

/* Returns how much was unmapped or -errno */
static long dma_unmap_all(struct lab *lab)
{
	struct vfio_iommu_type1_dma_unmap all = {
		.argsz = sizeof(all), .flags = VFIO_DMA_UNMAP_FLAG_ALL };

	return ioctl(lab->container, VFIO_IOMMU_UNMAP_DMA, &all) ? -errno : (long)all.size;
}

/* The last 2 MiB of the IOVA space, those before, and the last pages */
#define LAST		(-(__u64)SZ_2M)
#define BEFORE_LAST	(LAST - SZ_2M)
#define LAST_PAGES	(-(__u64)EXTERNAL_PAGES * SZ_4K)

TEST_F(external, iova_and_address_do_not_overflow)
{
	struct lab *lab = &self->lab;
	__u8 *mem = touched(2 * SZ_2M, MADV_HUGEPAGE);

	EXPECT_EQ(-EOVERFLOW, dma_map(lab, mem, LAST, 2 * SZ_2M));
	EXPECT_EQ(-EOVERFLOW, dma_map(lab, (void *)(uintptr_t)LAST, 0, 2 * SZ_2M));
	EXPECT_EQ(-EINVAL, dma_map(lab, mem, LAST, 0));
}

TEST_F(external, the_iova_space_is_used_up_to_its_last_byte)
{
	struct lab *lab = &self->lab;
	__u8 *mem = touched(2 * SZ_2M, MADV_HUGEPAGE);
	struct account before = account();

	ASSERT_EQ(0, dirty_pages(lab, VFIO_IOMMU_DIRTY_PAGES_FLAG_START, 0, 0));
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, dma_map(lab, mem, BEFORE_LAST, SZ_2M));
		ASSERT_EQ(0, dma_map(lab, mem + SZ_2M, LAST, SZ_2M));
		EXPECT_EQ(-EEXIST, dma_map(lab, mem, -(__u64)SZ_4K, SZ_4K));
		EXPECT_PIN(LAST_PAGES);
		EXPECT_MORE(before, EXTERNAL_PAGES);
		EXPECT_UNPIN(LAST_PAGES);
		EXPECT_MORE(before, 0);

		EXPECT_EQ(-EOVERFLOW,
			  pinner_pin(self->device, LAST_PAGES, EXTERNAL_PAGES + 1));
		EXPECT_EQ(-EINVAL, pinner_pin(self->device, LAST_PAGES, 0));
		EXPECT_MORE(before, 0);
		EXPECT_EQ(0, get_dirty_pages(lab, BEFORE_LAST, 2 * SZ_2M));
		EXPECT_EQ(-EOVERFLOW, get_dirty_pages(lab, LAST, 2 * SZ_2M));
		EXPECT_EQ(-EINVAL, get_dirty_pages(lab, LAST, 0));
		EXPECT_EQ(-EOVERFLOW, dma_unmap(lab, LAST, 2 * SZ_2M));
		EXPECT_EQ(-EINVAL, dma_unmap(lab, -(__u64)SZ_4K, SZ_4K));
		if (i == 0) {
			EXPECT_EQ((long)SZ_2M, dma_unmap(lab, LAST, SZ_2M));
			EXPECT_EQ((long)SZ_2M, dma_unmap(lab, BEFORE_LAST, SZ_2M));
		} else if (i == 1) {
			EXPECT_EQ((long)(2 * SZ_2M),
				  dma_unmap(lab, BEFORE_LAST, 2 * SZ_2M));
		} else {
			EXPECT_EQ((long)(2 * SZ_2M), dma_unmap_all(lab));
		}
		EXPECT_EQ(0, dma_unmap(lab, BEFORE_LAST, 2 * SZ_2M));
	}
}

/* The kernel warns of that. */
TEST_F(external, pages_are_not_unpinned_around_the_end_of_the_iova_space)
{
	struct lab *lab = &self->lab;
	__u8 *mem = touched(2 * SZ_2M, MADV_HUGEPAGE);
	struct account before = account();

	ASSERT_EQ(0, dma_map(lab, mem, 0, SZ_2M));
	ASSERT_EQ(0, dma_map(lab, mem + SZ_2M, LAST, SZ_2M));
	EXPECT_PIN(0);
	EXPECT_PIN(LAST_PAGES);
	pinner_pin(self->device, LAST_PAGES, -2 * EXTERNAL_PAGES);
	EXPECT_MORE(before, 2 * EXTERNAL_PAGES);
	EXPECT_UNPIN(0);
	EXPECT_UNPIN(LAST_PAGES);
	EXPECT_EQ((long)SZ_2M, dma_unmap(lab, 0, SZ_2M));
	EXPECT_EQ((long)SZ_2M, dma_unmap(lab, LAST, SZ_2M));
}

/*
 * iommufd has no record of the pages that a device with an IOMMU has: it reads them
 * back from the page table, by the entry.
 */
FIXTURE(iommufd) {
	struct lab lab;
	int device;
};

FIXTURE_SETUP(iommufd)
{
	leaf_open(&self->lab, IOMMUFD, VFIO_TYPE1v2_IOMMU);
	self->device = join_device(&self->lab, PINNER);
}

FIXTURE_TEARDOWN(iommufd)
{
}

/* The first of the pages pinned last that is not one of @mem, or -1 */
static long pinned_other(int device, const __u8 *mem)
{
	__u64 pfns[EXTERNAL_PAGES], *want;
	long page;

	if (read(device, pfns, sizeof(pfns)) != sizeof(pfns))
		errx(1, "read from " PINNER ": %m");
	want = pfns_of(mem, sizeof(pfns) / 8 * SZ_4K);
	page = first_other(want, pfns, EXTERNAL_PAGES);
	free(want);
	return page;
}

TEST_F(iommufd, pages_are_read_back_with_one_look_up_for_an_entry)
{
	const __u64 size = 2 * SZ_2M, at = SZ_1M + 5 * SZ_4K;
	__u8 *mem = touched(size, MADV_HUGEPAGE);
	int lookups = 0;
	char line[512];
	FILE *f;

	ASSERT_EQ(0, dma_map(&self->lab, mem, IOVA_BASE, size));
	trace_start("p:leaf_lookup intel_iommu_iova_to_phys\n"
		    "p:leaf_lookup_range intel_iommu_iova_to_phys_length\n");
	EXPECT_PIN(IOVA_BASE + at);
	f = trace_open();
	while (fgets(line, sizeof(line), f))
		lookups += !!strstr(line, " leaf_lookup");
	fclose(f);
	trace_stop();
	EXPECT_EQ(1, lookups);
	EXPECT_EQ(-1, pinned_other(self->device, mem + at));
	EXPECT_UNPIN(IOVA_BASE + at);
	/* Two entries, and what is between them */
	EXPECT_PIN(IOVA_BASE + SZ_2M - 3 * SZ_4K);
	EXPECT_EQ(-1, pinned_other(self->device, mem + SZ_2M - 3 * SZ_4K));
	EXPECT_UNPIN(IOVA_BASE + SZ_2M - 3 * SZ_4K);
	EXPECT_EQ((long)size, dma_unmap(&self->lab, IOVA_BASE, size));
}

TEST_HARNESS_MAIN
