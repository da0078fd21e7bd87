// SPDX-License-Identifier: GPL-2.0
/*
 * vfio-map: the time that one VFIO_IOMMU_MAP_DMA takes, and whether it did its work.
 *
 * A VMM with a passed-through device maps each RAM region with one such ioctl,
 * before the guest runs.  This program does the same with one region and the
 * "edu" device (1234:11e8), which has a DMA engine:
 *
 *   cold map    of memory that was not touched before: fault in, clear, pin, map
 *   unmap
 *   remap       of memory that is faulted in already: pin and map only
 *
 * In between, untimed, it checks that the result is right: all of the memory reads
 * as zero, the device reads and writes the right bytes at both ends and in the
 * middle, and it cannot reach them after the unmap.
 *
 * Prints one JSON row on success; on failure nothing, and what to do on stderr.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <linux/memfd.h>
#include <sys/resource.h>

#include "profile.h"
#include "vfio-lab.h"

#define fallthrough	__attribute__((fallthrough))

/* lib.sh mounts a tmpfs there that has huge pages */
#define TMPFS	"/run/guest-memory"

/* Private memory, or a file that can be shared */
enum source { ANON, MEMFD, TMPFS_FILE };

struct backing {
	const char *name;
	__u64 align;
	enum source source;
	int map_flags;
	int advice;		/* for madvise(), 0 for none */
	bool fragmented;	/* touched before, and no two pages adjacent */
	bool unaligned;		/* begins one page before a 2M boundary */
};

static const struct backing backings[] = {
	{ "thp",	SZ_2M, ANON, 0, MADV_HUGEPAGE, false, false },
	{ "4k",		SZ_2M, ANON, 0, MADV_NOHUGEPAGE, false, false },
	{ "4kfrag",	SZ_2M, ANON, 0, MADV_NOHUGEPAGE, true, false },
	{ "memfd",	SZ_2M, MEMFD, 0, MADV_HUGEPAGE, false, false },
	/* As QEMU places a memfd: 6.12 gives it no huge page, advice or not */
	{ "memfd-qemu",	SZ_2M, MEMFD, 0, MADV_HUGEPAGE, false, true },
	/* As QEMU places a file that it was given with align=2M */
	{ "tmpfs",	SZ_2M, TMPFS_FILE, 0, MADV_HUGEPAGE, false, false },
	{ "hugetlb2m",	SZ_2M, ANON, MAP_HUGETLB | (21 << MAP_HUGE_SHIFT), 0, false, false },
	{ "hugetlb1g",	SZ_1G, ANON, MAP_HUGETLB | (30 << MAP_HUGE_SHIFT), 0, false, false },
};

static bool read_line(const char *path, char *buf, int len)
{
	FILE *f = fopen(path, "re");
	bool ok;

	if (!f)
		return false;
	ok = fgets(buf, len, f);
	fclose(f);
	return ok;
}

/* Pages served without clearing; false if the kernel lacks the series */
static bool prezero_hits(__u64 *hits)
{
	return read_counter("/proc/vmstat", "prezero_hit", hits);
}

static bool prezero_enabled(void)
{
	char buf[16];

	return read_line("/sys/kernel/mm/prezero/enabled", buf, sizeof(buf)) &&
	       (buf[0] == '1' || buf[0] == 'Y');
}

/* The row begins with the configuration, by the name that all tables use. */
static void print_config(bool patched, bool prezero)
{
	char pin_batch[32];

	if (!patched) {
		printf("{\"config\":\"6.12\",");
		return;
	}
	/* The patch that adds the parameter may be left out */
	if (!read_line("/sys/module/vfio_iommu_type1/parameters/pin_batch",
		       pin_batch, sizeof(pin_batch)))
		snprintf(pin_batch, sizeof(pin_batch), "0");
	pin_batch[strcspn(pin_batch, "\n")] = 0;
	if (!strcmp(pin_batch, "0"))
		printf("{\"config\":\"%s\",", prezero ? "leaf+prezero" : "leaf");
	else if (!strcmp(pin_batch, "1"))
		printf("{\"config\":\"page by page\",");
	else
		printf("{\"config\":\"pin_batch=%s\",", pin_batch);
}

/* A region that has not been touched */
static __u8 *reserve(const struct backing *b, __u64 bytes)
{
	int flags = MAP_FIXED | MAP_NORESERVE | b->map_flags, fd = -1;
	__u8 *mem;

	if (b->unaligned)
		mem = reserve_space(bytes + b->align, b->align) + b->align - SZ_4K;
	else
		mem = reserve_space(bytes, b->align);
	switch (b->source) {
	case ANON:
		flags |= MAP_PRIVATE | MAP_ANONYMOUS;
		break;
	case MEMFD:
		fd = syscall(SYS_memfd_create, "vfio-map", MFD_CLOEXEC);
		if (fd < 0 || ftruncate(fd, bytes))
			errx(1, "memfd_create: %m: the kernel needs CONFIG_MEMFD_CREATE=y");
		flags |= MAP_SHARED;
		break;
	case TMPFS_FILE:
		fd = open(TMPFS, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		if (fd < 0 || ftruncate(fd, bytes))
			errx(1, TMPFS ": %m: mount a tmpfs there, with huge=within_size");
		flags |= MAP_SHARED;
		break;
	}
	mem = mmap(mem, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
	if (mem == MAP_FAILED)
		errx(1,
		     "mmap of %llu bytes as %s: %m: are there enough huge pages? (nr_hugepages)",
		     bytes, b->name);
	if (fd >= 0)
		close(fd);
	if (b->advice && madvise(mem, bytes, b->advice))
		errx(1, "madvise: %m: the kernel needs CONFIG_TRANSPARENT_HUGEPAGE=y");
	return mem;
}

/*
 * Touch the pages of @mem and of other memory in turn, so that no two pages of
 * @mem are adjacent.
 */
static void fragment(__u8 *mem, __u64 bytes)
{
	const struct backing other = { .name = "4k", .align = SZ_2M,
				       .advice = MADV_NOHUGEPAGE };
	volatile __u8 *a = mem, *b = reserve(&other, bytes);

	for (__u64 i = 0; i < bytes; i += SZ_4K) {
		a[i] = 0;
		b[i] = 0;
	}
}

static double dma_map(struct lab *lab, __u8 *mem, __u64 bytes)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)mem,
		.iova = IOVA_BASE,
		.size = bytes,
	};
	double t = now();

	if (ioctl(lab->container, VFIO_IOMMU_MAP_DMA, &map))
		errx(1, "VFIO_IOMMU_MAP_DMA of %llu bytes: %m: %s", bytes,
		     errno == ENOMEM ? "raise the locked memory limit (ulimit -l) or ask for less" :
		     errno == EFAULT ? "out of memory or of huge pages: ask for less" :
		     "see the kernel log");
	return now() - t;
}

static double dma_unmap(struct lab *lab, __u64 bytes)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = IOVA_BASE,
		.size = bytes,
	};
	double t = now();

	if (ioctl(lab->container, VFIO_IOMMU_UNMAP_DMA, &unmap))
		errx(1, "VFIO_IOMMU_UNMAP_DMA: %m: see the kernel log");
	t = now() - t;
	if (unmap.size != bytes)
		errx(1, "VFIO_IOMMU_UNMAP_DMA unmapped %llu of %llu bytes",
		     unmap.size, bytes);
	return t;
}

/* In memory fresh from the kernel, a byte that is not zero is another program's. */
static void check_zero(const __u8 *mem, __u64 bytes)
{
	const __u64 *p = (const __u64 *)mem, *end = p + bytes / 8;

	for (; p < end; p += 8) {
		if (p[0] | p[1] | p[2] | p[3] | p[4] | p[5] | p[6] | p[7])
			errx(1,
			     "NOT ZERO: fresh memory holds data at offset %#llx of %#llx",
			     (__u64)((const __u8 *)p - mem), bytes);
	}
}

/* Free the memory dirty: if it were zero, the check would not find it uncleared. */
static void dirty(__u8 *mem, __u64 bytes)
{
	for (__u64 i = 0; i < bytes; i += 8)
		*(__u64 *)(mem + i) = ~i;
}

/*
 * Carry data from one end of each pair to the other through the device.  The
 * places: both ends, both sides of a huge page's edge, and points in between
 * that no 2M or 1G step hits, so that a leaf mapped one page off shows.
 */
static void check_dma(struct lab *lab, __u8 *mem, __u64 bytes, __u32 seed)
{
	const __u64 places[] = {
		0,
		bytes - EDU_CHUNK,
		bytes / 2 - EDU_CHUNK,
		bytes / 2,
		(bytes / 3 & ~(SZ_4K - 1)) + EDU_CHUNK,
		(bytes / 5 * 4) & ~(SZ_4K - 1),
	};
	const int n = ARRAY_SIZE(places);

	for (int i = 0; i < n; i++) {
		__u64 from = places[i], to = places[(i + 1) % n];

		fill(mem + from, seed + i);
		memset(mem + to, 0x5a, EDU_CHUNK);
		edu_dma(lab, IOVA_BASE + from, false);
		edu_dma(lab, IOVA_BASE + to, true);
		if (memcmp(mem + from, mem + to, EDU_CHUNK))
			errx(1,
			     "WRONG DMA: the device did not carry offset %#llx to %#llx of %#llx: wrong pages are mapped",
			     from, to, bytes);
	}
}

/* After the unmap the device must reach neither end, IOTLB included. */
static void check_unreachable(struct lab *lab, __u8 *mem, __u64 bytes)
{
	const __u64 places[] = { 0, bytes - EDU_CHUNK };

	for (int i = 0; i < 2; i++) {
		__u8 *p = mem + places[i];

		memset(p, 0x5a, EDU_CHUNK);
		edu_dma(lab, IOVA_BASE + places[i], true);
		for (__u64 j = 0; j < EDU_CHUNK; j++)
			if (p[j] != 0x5a)
				errx(1,
				     "STALE DMA: the device wrote to offset %#llx after the unmap",
				     places[i]);
	}
}

/* KiB of the machine's shmem in huge pages, however they are mapped */
static __u64 shmem_huge(void)
{
	__u64 kib;

	if (!read_counter("/proc/meminfo", "ShmemHugePages:", &kib))
		errx(1, "no ShmemHugePages: in /proc/meminfo");
	return kib;
}

/* Page faults so far, including those during a map */
static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

/* The memory must have the kind of pages that the row names. */
static void check_backing(const struct backing *b, __u64 bytes, __u64 huge_before)
{
	const char *counter = b->source == ANON ? "AnonHugePages:" : "ShmemPmdMapped:";
	__u64 kib;

	if (!b->advice)
		return;
	if (!read_counter("/proc/self/smaps_rollup", counter, &kib))
		errx(1, "no %s in /proc/self/smaps_rollup", counter);
	if (b->unaligned)
		kib = shmem_huge() - huge_before;
	if (b->advice == MADV_NOHUGEPAGE || b->unaligned) {
		if (kib)
			errx(1, "%llu KiB of huge pages in memory that was to be of 4K pages",
			     kib);
	} else if (kib < (bytes >> 10) / 100 * 95) {
		errx(1,
		     "only %llu of %llu KiB are in huge pages: free memory is fragmented, or %s says never",
		     kib, bytes >> 10,
		     b->source == ANON ? "transparent_hugepage/enabled" :
		     b->source == MEMFD ? "transparent_hugepage/shmem_enabled" :
		     "the mount of " TMPFS);
	}
}

static __u64 parse_size(const char *s)
{
	char *end;
	__u64 n = strtoull(s, &end, 0);

	switch (*end) {
	case 'G':
		n <<= 10;
		fallthrough;
	case 'M':
		n <<= 10;
		fallthrough;
	case 'K':
		n <<= 10;
		end++;
	}
	if (*end || !n)
		errx(1, "'%s' is not a size: write it like 512M or 4G", s);
	return n;
}

static void usage(void)
{
	fputs("vfio-map -g GROUP -d PCI-ADDRESS -b BACKING -s SIZE\n"
	      "         [-n REPEAT] [-P FILE] [-fux]\n"
	      "  -b  thp, 4k, 4kfrag, memfd, memfd-qemu, tmpfs, hugetlb2m or hugetlb1g\n"
	      "  -s  how much to map: a multiple of 2M (of 1G for hugetlb1g)\n"
	      "  -n  the row's \"repeat\" (default 1)\n"
	      "  -P  write there where the kernel spends the cold map, in samples\n"
	      "  -f  through iommufd's version of the container\n"
	      "  -u  also let the device try to write after the unmap (the IOMMU logs the fault)\n"
	      "  -x  do not check whether the memory has huge pages\n",
	      stderr);
	exit(2);
}

int main(int argc, char **argv)
{
	const char *group = NULL, *device = NULL;
	const char *container = "/dev/vfio/vfio";
	const struct backing *b = NULL;
	double map_s, remap_s, unmap_s;
	long map_faults;
	bool prezero, patched, stale = false, any = false;
	__u64 bytes = 0, before = 0, after = 0, huge;
	FILE *profile_to = NULL;
	struct profile profile;
	struct lab lab;
	int opt, repeat = 1;
	__u8 *mem;

	while ((opt = getopt(argc, argv, "g:d:b:s:n:P:fux")) != -1) {
		switch (opt) {
		case 'g':
			group = optarg;
			break;
		case 'd':
			device = optarg;
			break;
		case 'b':
			for (size_t i = 0; i < ARRAY_SIZE(backings); i++)
				if (!strcmp(optarg, backings[i].name))
					b = &backings[i];
			if (!b)
				usage();
			break;
		case 's':
			bytes = parse_size(optarg);
			break;
		case 'n':
			repeat = atoi(optarg);
			break;
		case 'P':
			profile_to = fopen(optarg, "we");
			if (!profile_to)
				errx(1, "%s: %m", optarg);
			break;
		case 'f':
			container = "/dev/iommu";
			break;
		case 'u':
			stale = true;
			break;
		case 'x':
			any = true;
			break;
		default:
			usage();
		}
	}
	if (!group || !device || !b || !bytes || bytes % b->align || optind != argc)
		usage();

	lab_open(&lab, container, VFIO_TYPE1v2_IOMMU, group);
	lab_open_edu(&lab, device);
	mem = reserve(b, bytes);
	if (b->fragmented)
		fragment(mem, bytes);
	prezero = prezero_enabled();

	patched = prezero_hits(&before);
	huge = shmem_huge();
	if (profile_to)
		profile_start(&profile);
	map_faults = faults();
	map_s = dma_map(&lab, mem, bytes);
	map_faults = faults() - map_faults;
	prezero_hits(&after);
	if (profile_to)
		profile_stop(&profile, profile_to);

	if (!any)
		check_backing(b, bytes, huge);
	check_zero(mem, bytes);
	check_dma(&lab, mem, bytes, repeat);

	unmap_s = dma_unmap(&lab, bytes);
	if (stale)
		check_unreachable(&lab, mem, bytes);

	remap_s = dma_map(&lab, mem, bytes);
	check_dma(&lab, mem, bytes, ~repeat);
	dma_unmap(&lab, bytes);
	dirty(mem, bytes);

	print_config(patched, prezero);
	printf("\"iommufd\":%s,\"backing\":\"%s\",\"bytes\":%llu,",
	       strcmp(container, "/dev/iommu") ? "false" : "true", b->name, bytes);
	printf("\"map_s\":%.6f,\"faults\":%ld,\"remap_s\":%.6f,\"unmap_s\":%.6f,",
	       map_s, map_faults, remap_s, unmap_s);
	printf("\"zeroed_pct\":");
	if (patched) {
		/* Page tables come zeroed too, so hits can exceed the region. */
		double pct = 100.0 * (after - before) * SZ_4K / bytes;

		printf("%.1f", pct > 100 ? 100 : pct);
	} else {
		printf("null");
	}
	printf(",\"repeat\":%d}\n", repeat);
	return 0;
}
