// SPDX-License-Identifier: GPL-2.0
/*
 * iommu-tables: is a page table of the IOMMU freed only after its range was
 * flushed from the IOTLB, and with the hint (IH) that says that tables have changed?
 *
 * Which tables there are, and for what range, is read from debugfs while memory
 * is mapped. What is freed and flushed, and in which order, is read from the
 * kernel's trace. For VT-d. What is not as it should be goes to stdout, and makes
 * the exit status 1.
 */
#define _GNU_SOURCE
#include <getopt.h>

#include "vfio-test.h"

#define ADDR_MASK	0xffffffffff000ULL	/* of an IOMMU table entry */
#define MAX_TABLES	4096
#define MAX_FLUSHES	8192

/* Long enough for a flush queue's timer */
#define FLUSH_QUEUE_US	500000

static struct lab lab;
static const char *bdf, *sysfs;

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

static void trace_init(void)
{
	trace_must_write("events/enable", "0");
	trace_must_write("kprobe_events",
			 "p:tables_flush cache_tag_flush_range start=$arg2:x64 end=$arg3:x64 ih=$arg4:u32\n"
			 "p:tables_flush_all cache_tag_flush_all\n");
	trace_must_write("buffer_size_kb", "8192");
	trace_must_write("events/kprobes/enable", "1");
	trace_must_write("events/kmem/mm_page_free/enable", "1");
}

/*
 * Go through the trace. Each table that was freed must have been flushed before.
 * Returns how many were freed, and forgets them.
 */
static int check_trace(const char *what)
{
	static struct { __u64 start, last; } flushed[MAX_FLUSHES];
	int nr_flushed = 0, freed = 0;
	bool all = false;
	char line[512];
	FILE *f = trace_open();

	while (fgets(line, sizeof(line), f)) {
		unsigned long long start, end, pfn;
		unsigned int ih;
		char *at;

		if (strstr(line, "[LOST"))
			errx(1, "%s: the trace is not complete", what);
		if (strstr(line, " tables_flush_all: ")) {
			all = true;
			continue;
		}
		at = strstr(line, " start=");
		if (strstr(line, " tables_flush: ") && at &&
		    sscanf(at, " start=%llx end=%llx ih=%u", &start, &end, &ih) == 3) {
			/* A flush that spares the tables' caches is none. */
			if (ih)
				continue;
			if (nr_flushed == MAX_FLUSHES)
				errx(1, "%s: more than %d flushes", what, MAX_FLUSHES);
			flushed[nr_flushed].start = start;
			flushed[nr_flushed++].last = end | (SZ_4K - 1);
			continue;
		}
		at = strstr(line, " mm_page_free: ");
		at = at ? strstr(at, "pfn=") : NULL;
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
			expect(good, "%s: the table for %#llx..%#llx flushed before it is freed",
			       what, t.iova, t.iova + t.size - 1);
			tables[i] = tables[--nr_tables];
			freed++;
			break;
		}
	}
	fclose(f);
	printf("%s: %d tables freed\n", what, freed);
	return freed;
}

/*
 * VFIO, with either kind of container
 */

static void dma_map(const void *mem, __u64 iova, __u64 size)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)mem,
		.iova = iova,
		.size = size,
	};

	if (ioctl(lab.container, VFIO_IOMMU_MAP_DMA, &map))
		errx(1, "VFIO_IOMMU_MAP_DMA of %#llx bytes at %#llx: %m", size, iova);
}

static void dma_unmap(__u64 iova, __u64 size)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap), .iova = iova, .size = size };

	if (ioctl(lab.container, VFIO_IOMMU_UNMAP_DMA, &unmap) || unmap.size != size)
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

static int unmap_traced(const char *what, __u64 iova, __u64 size)
{
	read_tables();
	trace_restart();
	dma_unmap(iova, size);
	return check_trace(what);
}

static void test_vfio(void)
{
	const __u64 head = SZ_2M - SZ_4K, iova = IOVA_BASE + head;
	__u8 *mem;
	__u64 size;

	/* A table of which all is unmapped, between two of which one page is */
	mem = memory(2 * SZ_2M + SZ_4K);
	size = SZ_4K + SZ_2M + SZ_4K;
	touch(mem + head, SZ_4K, MADV_NOHUGEPAGE);
	touch_pieces(mem + SZ_2M);
	touch(mem + 2 * SZ_2M, SZ_4K, MADV_NOHUGEPAGE);
	dma_map(mem + head, iova, size);
	expect(unmap_traced("small pages", iova, size), "small pages: a table freed");

	/* Tables and huge pages by turns */
	mem = memory(7 * SZ_2M + SZ_4K);
	size = SZ_4K + 6 * SZ_2M + SZ_4K;
	touch(mem + head, SZ_4K, MADV_NOHUGEPAGE);
	touch_pieces(mem + SZ_2M);
	touch(mem + 2 * SZ_2M, SZ_2M, MADV_HUGEPAGE);
	touch_pieces(mem + 3 * SZ_2M);
	touch(mem + 4 * SZ_2M, 2 * SZ_2M, MADV_HUGEPAGE);
	touch_pieces(mem + 6 * SZ_2M);
	touch(mem + 7 * SZ_2M, SZ_4K, MADV_NOHUGEPAGE);
	dma_map(mem + head, iova, size);
	expect(unmap_traced("both sizes", iova, size) == 3,
	       "both sizes: three tables freed");

	/* A huge page where there is a table that has been emptied in two steps */
	mem = memory(2 * SZ_2M);
	touch_pieces(mem);
	touch(mem + SZ_2M, SZ_2M, MADV_HUGEPAGE);
	dma_map(mem, IOVA_BASE, SZ_1M);
	dma_map(mem + SZ_1M, IOVA_BASE + SZ_1M, SZ_1M);
	expect(!unmap_traced("first half", IOVA_BASE, SZ_1M),
	       "first half: the table stays");
	unmap_traced("second half", IOVA_BASE + SZ_1M, SZ_1M);
	trace_restart();
	dma_map(mem + SZ_2M, IOVA_BASE, SZ_2M);
	expect(check_trace("a huge page"),
	       "a huge page: the table in its place freed");
	dma_unmap(IOVA_BASE, SZ_2M);

	/* A table of huge pages, with a small one before it */
	mem = memory(2 * SZ_1G);
	touch(mem + SZ_1G - SZ_4K, SZ_4K, MADV_NOHUGEPAGE);
	touch(mem + SZ_1G, SZ_1G, MADV_HUGEPAGE);
	dma_map(mem + SZ_1G - SZ_4K, IOVA_BASE + SZ_1G - SZ_4K, SZ_1G + SZ_4K);
	unmap_traced("1 GiB of huge pages", IOVA_BASE + SZ_1G - SZ_4K, SZ_1G + SZ_4K);
}

/*
 * The DMA API, through the lab's driver for the device
 */

static void sysfs_write(const char *file, unsigned long val)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", sysfs, file);
	f = fopen(path, "we");
	if (!f || fprintf(f, "%lu\n", val) < 0 || fclose(f))
		errx(1, "%s: %m: is the device bound to dma_api?", path);
}

static void test_dma_api(void)
{
	/* The last: 1 GiB, which is unmapped at once, and 2 MiB */
	static const unsigned long pages[] = {
		513, 1024, 1027, 512, 2049, 512 * 512 + 512
	};

	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		char what[32];
		int freed;

		snprintf(what, sizeof(what), "%lu pages", pages[i]);
		sysfs_write("map", pages[i]);
		read_tables();
		trace_restart();
		sysfs_write("map", 0);
		usleep(FLUSH_QUEUE_US);
		freed = check_trace(what);
		expect(freed >= (int)(pages[i] / 512), "%s: %lu tables freed, not %d",
		       what, pages[i] / 512, freed);
	}
}

static void usage(void)
{
	fputs("iommu-tables -d DEVICE {-g GROUP [-f] | -s DIRECTORY}\n"
	      "  -d  an edu device\n"
	      "  -g  its group: with VFIO\n"
	      "  -f  through iommufd\n"
	      "  -s  where it is in sysfs: with the DMA API, bound to dma_api\n", stderr);
	exit(2);
}

int main(int argc, char **argv)
{
	const char *group = NULL, *container = "/dev/vfio/vfio";
	int opt;

	while ((opt = getopt(argc, argv, "g:d:s:f")) != -1) {
		switch (opt) {
		case 'g':
			group = optarg;
			break;
		case 'd':
			bdf = optarg;
			break;
		case 's':
			sysfs = optarg;
			break;
		case 'f':
			container = "/dev/iommu";
			break;
		default:
			usage();
		}
	}
	if (!bdf || !group == !sysfs || optind != argc)
		usage();

	trace_init();
	if (group) {
		lab_open(&lab, container, VFIO_TYPE1v2_IOMMU, group);
		lab_open_edu(&lab, bdf);
		test_vfio();
	} else {
		test_dma_api();
	}
	trace_stop();
	return failures != 0;
}
