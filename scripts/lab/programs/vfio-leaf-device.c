// SPDX-License-Identifier: GPL-2.0
/*
 * vfio-leaf-device: memory that is not the process's own, such as a BAR. It is mapped
 * by the leaf, too, but neither charged nor unpinned, and never what the kernel may
 * free. So it must not be in one run with ordinary memory, even if it is next to that
 * in the process and in physical memory: what holds for the first page of a run is
 * taken to hold for all.
 *
 * The lab's module "pinner" has such neighbours: see modules/pinner/pinner.c.
 */
#include "vfio-leaf.h"

/* Offsets of pinner's mappings */
#define PINNER_ROWS	(4 * SZ_1M)
#define PINNER_FIRST	(8 * SZ_1M)
#define PINNER_SECOND	(9 * SZ_1M)

FIXTURE(device_memory) {
	struct lab lab;
};

FIXTURE_VARIANT(device_memory) {
	unsigned int pin_batch;
};

FIXTURE_VARIANT_ADD(device_memory, by_leaf) {
};

FIXTURE_VARIANT_ADD(device_memory, pin_batch_1) {
	.pin_batch = 1,
};

FIXTURE_VARIANT_ADD(device_memory, pin_batch_512) {
	.pin_batch = 512,
};

FIXTURE_SETUP(device_memory)
{
	set_pinning(variant->pin_batch, false);
	leaf_open(&self->lab, TYPE1, VFIO_TYPE1v2_IOMMU);
}

FIXTURE_TEARDOWN(device_memory)
{
}

static struct vfio_region_info bar2(int device)
{
	struct vfio_region_info bar = {
		.argsz = sizeof(bar), .index = VFIO_PCI_BAR2_REGION_INDEX };

	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &bar))
		errx(1, "VFIO_DEVICE_GET_REGION_INFO: %m");
	return bar;
}

/* What lspci says of a device's BAR @nr, as a page number */
static __u64 bar_pfn(const char *device, int nr)
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
	return start / SZ_4K;
}

/* The first of @n pages that does not follow the one before, starting at @pfn; or -1 */
static long first_not_in_row(const __u64 *have, __u64 pfn, __u64 n)
{
	for (__u64 i = 0; i < n; i++)
		if (have[i] != pfn + i)
			return i;
	return -1;
}

TEST_F(device_memory, a_bar_is_superpages_and_neither_pinned_nor_charged)
{
	const char *name = env_device("BAR");
	int device = join_device(&self->lab, name);
	struct vfio_region_info bar = bar2(device);
	struct account before = account();
	struct table t;
	__u8 *mem;

	mem = map_at(reserve_space(bar.size, SZ_1G), bar.size,
		     PROT_READ | PROT_WRITE, MAP_SHARED, device, bar.offset);
	ASSERT_EQ(0, dma_map(&self->lab, mem, IOVA_BASE, bar.size));
	EXPECT_MORE(before, 0);
	t = read_table(self->lab.bdf, IOVA_BASE, bar.size);
	EXPECT_EQ(0, t.elsewhere);
	EXPECT_EQ(-1, first_not_in_row(t.pfn, bar_pfn(name, 2), bar.size / SZ_4K));
	EXPECT_EQ(0, t.n4k);
	EXPECT_LT(0, t.n2m + t.n1g);
	EXPECT_EQ((long)bar.size, dma_unmap(&self->lab, IOVA_BASE, bar.size));
	EXPECT_MORE(before, 0);
	EXPECT_NO_TABLE(&self->lab);
}

/* Memory, device memory at odd bounds, memory: in one request */
TEST_F(device_memory, only_the_memory_around_a_bar_is_charged)
{
	const char *name = env_device("BAR");
	int device = join_device(&self->lab, name);
	const __u64 size = 24 * SZ_1M, third = 8 * SZ_1M, n = third / SZ_4K;
	struct account before = account();
	__u8 *mem = anon(size, 0);
	struct charges c;
	struct table t;
	__u64 *pfns;

	map_at(mem + third, third, PROT_READ | PROT_WRITE, MAP_SHARED, device,
	       bar2(device).offset + 4 * SZ_4K);
	trace_charges();
	ASSERT_EQ(0, dma_map(&self->lab, mem, IOVA_BASE, size));
	c = charges();
	EXPECT_EQ((long)(2 * n), c.added);
	EXPECT_EQ(0, c.taken);
	EXPECT_MORE(before, 2 * n);
	t = read_table(self->lab.bdf, IOVA_BASE, size);
	EXPECT_EQ(0, t.elsewhere);
	/* pagemap does not tell the pages of device memory. */
	pfns = pfns_of(mem, size);
	EXPECT_EQ(-1, first_other(pfns, t.pfn, n));
	EXPECT_EQ(-1, first_not_in_row(t.pfn + n, bar_pfn(name, 2) + 4, n));
	EXPECT_EQ(-1, first_other(pfns + 2 * n, t.pfn + 2 * n, n));
	EXPECT_EQ((long)size, dma_unmap(&self->lab, IOVA_BASE, size));
	EXPECT_MORE(before, 0);
	EXPECT_NO_TABLE(&self->lab);
}

TEST_F(device_memory, a_reserved_leaf_is_one_superpage)
{
	int device = join_device(&self->lab, PINNER);
	struct account before = account();
	struct table t;
	__u8 *mem;

	mem = map_at(reserve_space(SZ_2M, SZ_2M), SZ_2M, PROT_READ | PROT_WRITE,
		     MAP_SHARED, device, SZ_2M);
	ASSERT_EQ(0, dma_map(&self->lab, mem, IOVA_BASE, SZ_2M));
	EXPECT_MORE(before, 0);
	t = read_table(self->lab.bdf, IOVA_BASE, SZ_2M);
	EXPECT_EQ(0, t.elsewhere);
	EXPECT_EQ(1, t.n2m);
	EXPECT_EQ(0, t.n4k);
	EXPECT_EQ((long)SZ_2M, dma_unmap(&self->lab, IOVA_BASE, SZ_2M));
}

/* Refused if as much as one of its pages, the first or the last, may be freed */
TEST_F(device_memory, a_leaf_with_a_managed_page_is_refused)
{
	int device = join_device(&self->lab, PINNER);
	__u8 *mem = reserve_space(SZ_2M, SZ_2M);
	struct account before = account();

	for (int managed = 0; managed < 512; managed += 511) {
		map_at(mem, SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED, device,
		       managed * SZ_4K);
		/* There, and not refused for being out of reach */
		EXPECT_EQ(0, *(volatile __u8 *)mem);
		EXPECT_EQ(-EFAULT, dma_map(&self->lab, mem, IOVA_BASE, SZ_2M));
		EXPECT_MORE(before, 0);
		EXPECT_NO_TABLE(&self->lab);
	}
}

/* Mapped, with these pages charged, and not joined to a superpage */
static void check_not_joined(struct __test_metadata *_metadata, struct lab *lab,
			     const __u8 *mem, long pinned, long charged, long left)
{
	struct account before = account();
	struct table t;

	ASSERT_EQ(0, dma_map(lab, mem, IOVA_BASE, SZ_2M));
	EXPECT_PINNED_CHARGED(before, pinned, charged);
	t = read_table(lab->bdf, IOVA_BASE, SZ_2M);
	EXPECT_EQ(0, t.elsewhere);
	/* One piece of memory, or this shows nothing */
	EXPECT_EQ(-1, first_not_in_row(t.pfn, t.pfn[0], 512));
	EXPECT_EQ(0, t.pfn[0] % 512);
	EXPECT_EQ(0, t.n2m);
	EXPECT_EQ(512, t.n4k);
	EXPECT_EQ((long)SZ_2M, dma_unmap(lab, IOVA_BASE, SZ_2M));
	EXPECT_PINNED_CHARGED(before, left, 0);
	EXPECT_NO_TABLE(lab);
}

/* Reserved pages stay pinned, in 6.12 as well: pinner unpins them in the end. */
TEST_F(device_memory, reserved_pages_are_not_joined_with_others)
{
	int device = join_device(&self->lab, PINNER);
	__u8 *mem = map_at(reserve_space(SZ_2M, SZ_2M), SZ_2M, PROT_READ | PROT_WRITE,
			   MAP_SHARED, device, PINNER_ROWS);

	check_not_joined(_metadata, &self->lab, mem, 512, 256, 256);
}

TEST_F(device_memory, pfnmap_is_not_joined_with_pages)
{
	int device = join_device(&self->lab, PINNER);
	__u8 *mem = reserve_space(SZ_2M, SZ_2M);

	map_at(mem, SZ_1M, PROT_READ | PROT_WRITE, MAP_SHARED, device, PINNER_FIRST);
	map_at(mem + SZ_1M, SZ_1M, PROT_READ | PROT_WRITE, MAP_SHARED, device,
	       PINNER_SECOND);
	check_not_joined(_metadata, &self->lab, mem, 256, 256, 0);
}

TEST_HARNESS_MAIN
