// SPDX-License-Identifier: GPL-2.0
/*
 * iommu-tables: a page table of the IOMMU is freed only after its range was flushed
 * from the IOTLB of its domain, with the hint (IH) that says that tables have changed.
 *
 * Which tables there are, and for what range, is read from debugfs while memory
 * is mapped. What is freed and flushed, and in which order, is read from the
 * kernel's trace; of which domain they are, too: the one that was told of the map, as
 * VT-d's caching mode has it. For VT-d.
 */
#include "vfio-test.h"

#define ADDR_MASK	0xffffffffff000ULL	/* of an IOMMU table entry */
#define MAX_TABLES	4096
#define MAX_FLUSHES	8192

/* Long enough for a flush queue's timer */
#define FLUSH_QUEUE_US	500000

static const char *bdf;

/**
 * struct table - a page table that was seen linked
 * @pfn: where it is
 * @iova: what it translates
 * @size: the same
 */
static struct table {
	__u64 pfn;
	__u64 iova;
	__u64 size;
} tables[MAX_TABLES];
static int nr_tables;

static void add_table(__u64 entry, __u64 iova, __u64 size)
{
	struct table t = { (entry & ADDR_MASK) / SZ_4K, iova & ~(size - 1), size };

	for (int i = 0; i < nr_tables; i++)
		if (tables[i].pfn == t.pfn)
			return;
	if (nr_tables == MAX_TABLES)
		errx(1, "more than %d tables", MAX_TABLES);
	tables[nr_tables++] = t;
}

/* Add the tables of the device's domain to those that are known. */
static void read_tables(void)
{
	char path[128], line[256];
	FILE *f;

	snprintf(path, sizeof(path),
		 "/sys/kernel/debug/iommu/intel/%s/domain_translation_struct", bdf);
	f = fopen(path, "re");
	if (!f)
		errx(1, "%s: %m", path);
	while (fgets(line, sizeof(line), f)) {
		/* A page frame, then PML5E, PML4E, PDPE, PDE, PTE or fewer */
		unsigned long long pfn, e[5];
		int n = sscanf(line, " %llx | %llx %llx %llx %llx %llx", &pfn,
			       &e[0], &e[1], &e[2], &e[3], &e[4]) - 1;

		while (n > 1 && !e[n - 1])
			n--;
		if (n == 5)
			add_table(e[3], pfn * SZ_4K, SZ_2M);
		if (n >= 4)
			add_table(e[2], pfn * SZ_4K, SZ_1G);
	}
	fclose(f);
}

static void trace_tables(void)
{
	trace_stop();
	trace_must_write("kprobe_events",
			 "p:tables_map cache_tag_flush_range_np domain=$arg1:x64\n"
			 "p:tables_flush cache_tag_flush_range domain=$arg1:x64 start=$arg2:x64 end=$arg3:x64 ih=$arg4:u32\n"
			 "p:tables_flush_all cache_tag_flush_all domain=$arg1:x64\n");
	trace_must_write("buffer_size_kb", "8192");
	trace_must_write("events/kprobes/enable", "1");
	trace_must_write("events/kmem/mm_page_free/enable", "1");
	trace_restart();
}

/* A line of the trace, if it is this event: from its first argument on */
static const char *event(const char *line, const char *name, const char *argument)
{
	const char *at = strstr(line, name);

	return at ? strstr(at, argument) : NULL;
}

/* The domain in which memory was mapped since the trace began */
static unsigned long long traced_domain(void)
{
	unsigned long long domain = 0, d;
	char line[512];
	FILE *f = trace_open();

	while (fgets(line, sizeof(line), f)) {
		const char *at = event(line, " tables_map: ", " domain=");

		if (!at || sscanf(at, " domain=%llx", &d) != 1)
			continue;
		if (domain && domain != d)
			errx(1, "maps in two domains: is another program using the IOMMU?");
		domain = d;
	}
	fclose(f);
	if (!domain)
		errx(1, "no map in the trace: start QEMU with -device intel-iommu,caching-mode=on");
	return domain;
}

/**
 * struct freed - what the trace says of the tables that are known
 * @tables: freed
 * @early: of these, freed before their range was flushed from the IOTLB of their domain
 */
struct freed {
	int tables;
	int early;
};

/* Go through the trace, and forget the tables that were freed. */
static struct freed traced_tables(unsigned long long domain)
{
	static struct { __u64 start, last; } flushed[MAX_FLUSHES];
	struct freed freed = {};
	int nr_flushed = 0;
	bool all = false;
	char line[512];
	FILE *f = trace_open();

	while (fgets(line, sizeof(line), f)) {
		unsigned long long d, start, end, pfn;
		const char *at;
		unsigned int ih;

		if (strstr(line, "[LOST"))
			errx(1, "the trace is not complete");
		at = event(line, " tables_flush_all: ", " domain=");
		if (at && sscanf(at, " domain=%llx", &d) == 1) {
			all |= d == domain;
			continue;
		}
		at = event(line, " tables_flush: ", " domain=");
		if (at && sscanf(at, " domain=%llx start=%llx end=%llx ih=%u", &d, &start,
				 &end, &ih) == 4) {
			/* A flush that spares the tables' caches is none. */
			if (ih || d != domain)
				continue;
			if (nr_flushed == MAX_FLUSHES)
				errx(1, "more than %d flushes", MAX_FLUSHES);
			flushed[nr_flushed].start = start;
			flushed[nr_flushed++].last = end | (SZ_4K - 1);
			continue;
		}
		at = event(line, " mm_page_free: ", "pfn=");
		if (!at || sscanf(at, "pfn=%llx", &pfn) != 1)
			continue;
		for (int i = 0; i < nr_tables; i++) {
			struct table t = tables[i];
			bool good = all;

			if (t.pfn != pfn)
				continue;
			for (int j = 0; j < nr_flushed && !good; j++)
				good = flushed[j].start <= t.iova &&
				       flushed[j].last >= t.iova + t.size - 1;
			if (!good)
				ksft_print_msg("freed before it is flushed: %#llx..%#llx\n",
					       t.iova, t.iova + t.size - 1);
			tables[i] = tables[--nr_tables];
			freed.tables++;
			freed.early += !good;
			break;
		}
	}
	fclose(f);
	return freed;
}

/*
 * VFIO, with either kind of container
 */
FIXTURE(vfio) {
	struct lab lab;
};

FIXTURE_VARIANT(vfio) {
	const char *container;
	bool at_once;		/* unmaps a request of any size with one call */
};

FIXTURE_VARIANT_ADD(vfio, type1) {
	.container = "/dev/vfio/vfio",
};

FIXTURE_VARIANT_ADD(vfio, iommufd) {
	.container = "/dev/iommu",
	.at_once = true,
};

FIXTURE_SETUP(vfio)
{
	bdf = env_device("EDU");
	trace_tables();
	lab_open(&self->lab, variant->container, VFIO_TYPE1v2_IOMMU, group_of(bdf));
	lab_open_edu(&self->lab, bdf);
}

FIXTURE_TEARDOWN(vfio)
{
	trace_stop();
}

static void dma_map(struct lab *lab, const void *mem, __u64 iova, __u64 size)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)mem,
		.iova = iova,
		.size = size,
	};

	if (ioctl(lab->container, VFIO_IOMMU_MAP_DMA, &map))
		errx(1, "VFIO_IOMMU_MAP_DMA of %#llx bytes at %#llx: %m", size, iova);
}

static void dma_unmap(struct lab *lab, __u64 iova, __u64 size)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap), .iova = iova, .size = size };

	if (ioctl(lab->container, VFIO_IOMMU_UNMAP_DMA, &unmap) || unmap.size != size)
		errx(1, "VFIO_IOMMU_UNMAP_DMA of %#llx bytes at %#llx: %m", size, iova);
}

/* @size bytes of address space that starts at a 1G boundary, with memory in it */
static __u8 *memory(__u64 size)
{
	__u8 *p = reserve_space(size, SZ_1G);

	if (mprotect(p, size, PROT_READ | PROT_WRITE))
		errx(1, "mprotect: %m");
	return p;
}

static void touch(__u8 *mem, __u64 size, int advice)
{
	if (madvise(mem, size, advice))
		errx(1, "madvise: %m");
	memset(mem, 1, size);
}

#define PIECE		0x10000ULL

/*
 * A huge page in pieces that do not lie where they lay: the IOMMU maps it with a
 * table, and it takes few enough regions for vfio/type1 to unmap it at a time.
 */
static void touch_pieces(__u8 *mem)
{
	__u8 *from = memory(SZ_2M);

	touch(from, SZ_2M, MADV_HUGEPAGE);
	for (__u64 i = 0; i < SZ_2M; i += PIECE)
		if (mremap(from + i, PIECE, PIECE, MREMAP_MAYMOVE | MREMAP_FIXED,
			   mem + SZ_2M - PIECE - i) == MAP_FAILED)
			errx(1, "mremap: %m");
}

static struct freed unmap_traced(struct lab *lab, __u64 iova, __u64 size)
{
	unsigned long long domain = traced_domain();

	read_tables();
	trace_restart();
	dma_unmap(lab, iova, size);
	return traced_tables(domain);
}

#define HEAD	(SZ_2M - SZ_4K)

/* A table of which all is unmapped, between two of which one page is */
TEST_F(vfio, a_table_between_two_that_stay_is_flushed_first)
{
	const __u64 iova = IOVA_BASE + HEAD, size = SZ_4K + SZ_2M + SZ_4K;
	__u8 *mem = memory(2 * SZ_2M + SZ_4K);
	struct freed freed;

	touch(mem + HEAD, SZ_4K, MADV_NOHUGEPAGE);
	touch_pieces(mem + SZ_2M);
	touch(mem + 2 * SZ_2M, SZ_4K, MADV_NOHUGEPAGE);
	dma_map(&self->lab, mem + HEAD, iova, size);
	freed = unmap_traced(&self->lab, iova, size);
	EXPECT_LT(0, freed.tables);
	EXPECT_EQ(0, freed.early);
}

TEST_F(vfio, tables_that_take_turns_with_huge_pages_are_flushed_first)
{
	const __u64 iova = IOVA_BASE + HEAD, size = SZ_4K + 6 * SZ_2M + SZ_4K;
	__u8 *mem = memory(7 * SZ_2M + SZ_4K);
	struct freed freed;

	touch(mem + HEAD, SZ_4K, MADV_NOHUGEPAGE);
	touch_pieces(mem + SZ_2M);
	touch(mem + 2 * SZ_2M, SZ_2M, MADV_HUGEPAGE);
	touch_pieces(mem + 3 * SZ_2M);
	touch(mem + 4 * SZ_2M, 2 * SZ_2M, MADV_HUGEPAGE);
	touch_pieces(mem + 6 * SZ_2M);
	touch(mem + 7 * SZ_2M, SZ_4K, MADV_NOHUGEPAGE);
	dma_map(&self->lab, mem + HEAD, iova, size);
	freed = unmap_traced(&self->lab, iova, size);
	EXPECT_EQ(3, freed.tables);
	EXPECT_EQ(0, freed.early);
}

/* One that has been emptied in two steps, neither of which frees it */
TEST_F(vfio, a_table_that_a_huge_page_replaces_is_flushed_first)
{
	__u8 *mem = memory(2 * SZ_2M);
	unsigned long long domain;
	struct freed freed;

	touch_pieces(mem);
	touch(mem + SZ_2M, SZ_2M, MADV_HUGEPAGE);
	dma_map(&self->lab, mem, IOVA_BASE, SZ_1M);
	dma_map(&self->lab, mem + SZ_1M, IOVA_BASE + SZ_1M, SZ_1M);
	domain = traced_domain();
	read_tables();
	trace_restart();
	dma_unmap(&self->lab, IOVA_BASE, SZ_1M);
	freed = traced_tables(domain);
	EXPECT_EQ(0, freed.tables);
	read_tables();
	trace_restart();
	dma_unmap(&self->lab, IOVA_BASE + SZ_1M, SZ_1M);
	freed = traced_tables(domain);
	EXPECT_EQ(0, freed.early);
	trace_restart();
	dma_map(&self->lab, mem + SZ_2M, IOVA_BASE, SZ_2M);
	freed = traced_tables(domain);
	EXPECT_LT(0, freed.tables);
	EXPECT_EQ(0, freed.early);
	dma_unmap(&self->lab, IOVA_BASE, SZ_2M);
}

/* 1 GiB, with a small page before it: a driver frees the table if asked for all of it */
TEST_F(vfio, a_table_of_huge_pages_is_flushed_first)
{
	const __u64 iova = IOVA_BASE + SZ_1G - SZ_4K, size = SZ_1G + SZ_4K;
	__u8 *mem = memory(2 * SZ_1G);
	struct freed freed;

	touch(mem + SZ_1G - SZ_4K, SZ_4K, MADV_NOHUGEPAGE);
	touch(mem + SZ_1G, SZ_1G, MADV_HUGEPAGE);
	dma_map(&self->lab, mem + SZ_1G - SZ_4K, iova, size);
	freed = unmap_traced(&self->lab, iova, size);
	EXPECT_LE(variant->at_once, freed.tables);
	EXPECT_EQ(0, freed.early);
}

/*
 * The DMA API, through the lab's driver for the device
 */
FIXTURE(dma_api) {
};

FIXTURE_VARIANT(dma_api) {
	unsigned long pages;
};

FIXTURE_VARIANT_ADD(dma_api, 513_pages) {
	.pages = 513,
};

FIXTURE_VARIANT_ADD(dma_api, 1024_pages) {
	.pages = 1024,
};

FIXTURE_VARIANT_ADD(dma_api, 1027_pages) {
	.pages = 1027,
};

FIXTURE_VARIANT_ADD(dma_api, 512_pages) {
	.pages = 512,
};

FIXTURE_VARIANT_ADD(dma_api, 2049_pages) {
	.pages = 2049,
};

/* 1 GiB, which is unmapped at once, and 2 MiB */
FIXTURE_VARIANT_ADD(dma_api, 262656_pages) {
	.pages = 512 * 512 + 512,
};

FIXTURE_SETUP(dma_api)
{
	bdf = env_device("EDU");
	trace_tables();
}

FIXTURE_TEARDOWN(dma_api)
{
	trace_stop();
}

static void dma_api_map(unsigned long pages)
{
	char path[128], val[16];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/map", bdf);
	snprintf(val, sizeof(val), "%lu", pages);
	if (!write_file(path, val))
		errx(1, "%s: %m: is the device bound to dma_api?", path);
}

TEST_F(dma_api, tables_are_flushed_before_they_are_freed)
{
	unsigned long long domain;
	struct freed freed;

	dma_api_map(variant->pages);
	domain = traced_domain();
	read_tables();
	trace_restart();
	dma_api_map(0);
	usleep(FLUSH_QUEUE_US);
	freed = traced_tables(domain);
	EXPECT_LE(variant->pages / 512, (unsigned long)freed.tables);
	EXPECT_EQ(0, freed.early);
}

TEST_HARNESS_MAIN
