// SPDX-License-Identifier: GPL-2.0
/*
 * vfio-leaf-counts: how often. A map takes a reference for each leaf, the mmap_lock for
 * writing once for each batch, and an iommu_map() for each run of pages; an unmap takes
 * an iommu_unmap() for each run, and unpins nothing before the IOTLB was told.
 *
 * The kernel's own trace events tell. References on pages are counted only by a kernel
 * with CONFIG_DEBUG_PAGE_REF.
 */
#include "vfio-leaf.h"

struct counts {
	unsigned long grabs;
	unsigned long write_locks;
	unsigned long maps;
	unsigned long unmaps;
	unsigned long unpins;
	unsigned long early;	/* unpins before the IOTLB was told of the unmap */
};

FIXTURE(counts) {
	struct lab lab;
	bool count_grabs;
};

FIXTURE_SETUP(counts)
{
	set_pinning(0, false);
	leaf_open(&self->lab, TYPE1, VFIO_TYPE1v2_IOMMU);
	trace_start("p:leaf_sync intel_iommu_tlb_sync\n"
		    "p:leaf_unpin unpin_user_page_range_dirty_lock\n");
	if (!trace_write("buffer_size_kb", "8192") ||
	    !trace_enable("mmap_lock/mmap_lock_start_locking") ||
	    !trace_enable("iommu/map") || !trace_enable("iommu/unmap"))
		errx(1, TRACING ": %m: no event tracing in this kernel");
	self->count_grabs = trace_enable("page_ref/page_ref_mod");
}

FIXTURE_TEARDOWN(counts)
{
	trace_stop();
}

/* Since the last time */
static struct counts read_counts(void)
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

/* Memory that is faulted in, in so many leaves. */
static void check_counts(struct __test_metadata *_metadata, struct lab *lab,
			 bool count_grabs, __u8 *mem, __u64 size, unsigned long leaves)
{
	__u64 *pfns = pfns_of(mem, size), first = (__u64)mem / SZ_1G;
	unsigned long runs = 1, batches = ((__u64)mem + size - 1) / SZ_1G - first + 1;
	struct counts map, unmap;

	for (__u64 i = 1; i < size / SZ_4K; i++)
		runs += pfns[i] != pfns[i - 1] + 1;
	/* A batch ends with a GiB of addresses, or with 256 runs */
	batches += runs / 256;
	read_counts();
	ASSERT_EQ(0, dma_map(lab, mem, IOVA_BASE, size));
	map = read_counts();
	if (count_grabs) {
		EXPECT_LT(0, map.grabs);
		EXPECT_LE(map.grabs, leaves);
	}
	EXPECT_LT(0, map.write_locks);
	EXPECT_LE(map.write_locks, batches);
	EXPECT_LT(0, map.maps);
	EXPECT_LE(map.maps, runs);
	EXPECT_EQ((long)size, dma_unmap(lab, IOVA_BASE, size));
	unmap = read_counts();
	EXPECT_LT(0, unmap.unmaps);
	EXPECT_LE(unmap.unmaps, runs);
	EXPECT_LT(0, unmap.unpins);
	EXPECT_EQ(0, unmap.early);

	TH_LOG("%llu MiB, %lu leaves, %lu runs: %lu mmap write locks, %lu maps, %lu unmaps",
	       size >> 20, leaves, runs, map.write_locks, map.maps, unmap.unmaps);
	if (count_grabs)
		TH_LOG("%lu references", map.grabs);
	free(pfns);
}

TEST_F(counts, of_thp_are_bounded)
{
	const __u64 size = 200 * SZ_2M;

	check_counts(_metadata, &self->lab, self->count_grabs,
		     touched(size, MADV_HUGEPAGE), size, size / SZ_2M);
}

TEST_F(counts, of_2m_hugetlb_pages_are_bounded)
{
	const __u64 size = 32 * SZ_2M;

	check_counts(_metadata, &self->lab, self->count_grabs,
		     memset(hugetlb(size, SZ_2M), 1, size), size, 32);
}

TEST_F(counts, of_a_1g_hugetlb_page_are_bounded)
{
	__u8 *mem = hugetlb(SZ_1G, SZ_1G);

	mem[0] = 1;
	check_counts(_metadata, &self->lab, self->count_grabs, mem, SZ_1G, 1);
}

/*
 * A reference for the first page, one for the row behind it, one while the folio is
 * put on the active list
 */
TEST_F(counts, of_thp_behind_ptes_are_bounded)
{
	const __u64 size = 8 * SZ_2M;

	check_counts(_metadata, &self->lab, self->count_grabs, mapped_by_ptes(size, 0),
		     size, 3 * 8);
}

TEST_F(counts, of_fragmented_pages_are_bounded)
{
	const __u64 size = 8 * SZ_2M;

	check_counts(_metadata, &self->lab, self->count_grabs, fragmented(size), size,
		     size / SZ_4K);
}

TEST_HARNESS_MAIN
