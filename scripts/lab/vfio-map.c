// SPDX-License-Identifier: GPL-2.0
/*
 * vfio-map: what one VFIO_IOMMU_MAP_DMA costs, and whether it did its work.
 *
 * A VMM with a passed-through device maps each RAM region with one such ioctl,
 * before the guest runs.  This program does the same with one region and the
 * "edu" device (1234:11e8), which has a DMA engine:
 *
 *   cold map    nothing is touched before: fault in, clear, pin, map
 *   unmap
 *   remap       the memory is there already: pin and map only
 *
 * In between, untimed, it checks what a fast wrong answer would get away with:
 * all of the memory reads as zero, the device reads and writes the right bytes
 * at both ends and in the middle, and after the unmap it reaches them no more.
 *
 * Prints one JSON row on success; on failure nothing, and what to do on stderr.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/memfd.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define fallthrough	__attribute__((fallthrough))
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

#define SZ_4K		0x1000ULL
#define SZ_2M		0x200000ULL
#define SZ_1G		0x40000000ULL

/* Above the MSI window at 0xfee00000, which type1 refuses, and 1G aligned. */
#define IOVA_BASE	0x100000000ULL

/* The edu device, see docs/specs/edu.txt in QEMU */
#define EDU_ID		0x00
#define EDU_DMA_SRC	0x80
#define EDU_DMA_DST	0x88
#define EDU_DMA_CNT	0x90
#define EDU_DMA_CMD	0x98
#define EDU_CMD_RUN	0x1
#define EDU_CMD_TO_RAM	0x2
#define EDU_BUF		0x40000ULL
/*
 * The buffer is 4 KiB, but QEMU before 9.1 aborts on a transfer that ends
 * exactly at its end: move half a page at a time.
 */
#define EDU_CHUNK	2048ULL
/* The engine answers after 100 ms; ten seconds is a loaded machine. */
#define EDU_TIMEOUT_S	10.0

struct backing {
	const char *name;
	__u64 align;
	bool memfd;
	int map_flags;
	int advice;		/* 0 when there is none to give */
};

static const struct backing backings[] = {
	{ "thp",	SZ_2M, false, 0, MADV_HUGEPAGE },
	{ "4k",		SZ_2M, false, 0, MADV_NOHUGEPAGE },
	{ "memfd",	SZ_2M, true,  0, MADV_HUGEPAGE },
	{ "hugetlb2m",	SZ_2M, false, MAP_HUGETLB | (21 << MAP_HUGE_SHIFT), 0 },
	{ "hugetlb1g",	SZ_1G, false, MAP_HUGETLB | (30 << MAP_HUGE_SHIFT), 0 },
};

struct lab {
	int container;
	int device;
	volatile __u8 *edu;
};

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

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

/* A "name number" line of a file in /proc */
static bool read_counter(const char *path, const char *name, __u64 *val)
{
	char line[256], key[64];
	FILE *f = fopen(path, "re");
	bool found = false;

	if (!f)
		errx(1, "open %s: %m: mount proc on /proc", path);
	while (!found && fgets(line, sizeof(line), f))
		found = sscanf(line, "%63s %llu", key, val) == 2 && !strcmp(key, name);
	fclose(f);
	return found;
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

static __u32 edu_read(struct lab *lab, int reg)
{
	return *(volatile __u32 *)(lab->edu + reg);
}

static void edu_write(struct lab *lab, int reg, __u64 val)
{
	*(volatile __u64 *)(lab->edu + reg) = val;
}

static void edu_dma(struct lab *lab, __u64 iova, bool to_ram)
{
	double end = now() + EDU_TIMEOUT_S;

	edu_write(lab, EDU_DMA_SRC, to_ram ? EDU_BUF : iova);
	edu_write(lab, EDU_DMA_DST, to_ram ? iova : EDU_BUF);
	edu_write(lab, EDU_DMA_CNT, EDU_CHUNK);
	edu_write(lab, EDU_DMA_CMD, EDU_CMD_RUN | (to_ram ? EDU_CMD_TO_RAM : 0));
	while (edu_read(lab, EDU_DMA_CMD) & EDU_CMD_RUN) {
		if (now() > end)
			errx(1, "the edu device did not finish a transfer at IOVA %#llx in %.0f s",
			     iova, EDU_TIMEOUT_S);
		usleep(1000);
	}
}

static void open_device(struct lab *lab, const char *group, const char *device)
{
	struct vfio_region_info bar = {
		.argsz = sizeof(bar), .index = VFIO_PCI_BAR0_REGION_INDEX };
	struct vfio_region_info cfg = {
		.argsz = sizeof(cfg), .index = VFIO_PCI_CONFIG_REGION_INDEX };
	struct vfio_group_status status = { .argsz = sizeof(status) };
	char path[64];
	__u16 cmd;
	int fd;

	lab->container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (lab->container < 0)
		errx(1,
		     "open /dev/vfio/vfio: %m: the kernel needs CONFIG_VFIO_CONTAINER=y, and you root");
	if (!ioctl(lab->container, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU))
		errx(1,
		     "VFIO_CHECK_EXTENSION: no type1v2 IOMMU: the kernel needs CONFIG_VFIO_IOMMU_TYPE1");

	snprintf(path, sizeof(path), "/dev/vfio/%s", group);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		errx(1,
		     "open %s: %m: bind the device to vfio-pci (driver_override), and boot with intel_iommu=on",
		     path);
	if (ioctl(fd, VFIO_GROUP_GET_STATUS, &status))
		errx(1, "VFIO_GROUP_GET_STATUS: %m");
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE))
		errx(1, "group %s is not viable: bind every device in it to vfio-pci",
		     group);
	if (ioctl(fd, VFIO_GROUP_SET_CONTAINER, &lab->container))
		errx(1, "VFIO_GROUP_SET_CONTAINER: %m: is another program using group %s?",
		     group);
	if (ioctl(lab->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		errx(1,
		     "VFIO_SET_IOMMU: %m: interrupt remapping is missing? (-device intel-iommu,intremap=on)");

	lab->device = ioctl(fd, VFIO_GROUP_GET_DEVICE_FD, device);
	if (lab->device < 0)
		errx(1, "VFIO_GROUP_GET_DEVICE_FD %s: %m: is it in group %s?",
		     device, group);
	if (ioctl(lab->device, VFIO_DEVICE_GET_REGION_INFO, &bar) ||
	    ioctl(lab->device, VFIO_DEVICE_GET_REGION_INFO, &cfg))
		errx(1, "VFIO_DEVICE_GET_REGION_INFO: %m");

	/* vfio-pci hands the device over with bus mastering off */
	if (pread(lab->device, &cmd, 2, cfg.offset + PCI_COMMAND) != 2)
		errx(1, "read the PCI command register: %m");
	cmd |= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	if (pwrite(lab->device, &cmd, 2, cfg.offset + PCI_COMMAND) != 2)
		errx(1, "write the PCI command register: %m");

	lab->edu = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED,
			lab->device, bar.offset);
	if (lab->edu == MAP_FAILED)
		errx(1, "mmap of BAR 0: %m");
	if ((edu_read(lab, EDU_ID) & 0xff) != 0xed)
		errx(1, "%s is not an edu device (id %#x): add -device edu to QEMU",
		     device, edu_read(lab, EDU_ID));
}

/* An aligned region of which nothing has been touched */
static __u8 *reserve(const struct backing *b, __u64 bytes)
{
	int flags = MAP_FIXED | MAP_NORESERVE | b->map_flags, fd = -1;
	__u8 *mem;

	mem = mmap(NULL, bytes + b->align, PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED)
		errx(1, "mmap of %llu bytes of address space: %m", bytes);
	mem = (__u8 *)(((uintptr_t)mem + b->align - 1) & ~(b->align - 1));

	if (b->memfd) {
		fd = syscall(SYS_memfd_create, "vfio-map", MFD_CLOEXEC);
		if (fd < 0 || ftruncate(fd, bytes))
			errx(1, "memfd_create: %m: the kernel needs CONFIG_MEMFD_CREATE=y");
		flags |= MAP_SHARED;
	} else {
		flags |= MAP_PRIVATE | MAP_ANONYMOUS;
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

/* Memory fresh from the kernel: anything but zero is somebody else's data. */
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

/* What is freed must not be zero by chance, or nobody finds it uncleared. */
static void dirty(__u8 *mem, __u64 bytes)
{
	for (__u64 i = 0; i < bytes; i += 8)
		*(__u64 *)(mem + i) = ~i;
}

static void fill(__u8 *p, __u32 seed)
{
	for (__u64 i = 0; i < EDU_CHUNK; i += 4) {
		seed = seed * 1664525 + 1013904223;
		memcpy(p + i, &seed, 4);
	}
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

/* A row must be about the pages it names. */
static void check_backing(const struct backing *b, __u64 bytes)
{
	const char *counter = b->memfd ? "ShmemPmdMapped:" : "AnonHugePages:";
	__u64 kib;

	if (!b->advice)
		return;
	if (!read_counter("/proc/self/smaps_rollup", counter, &kib))
		errx(1, "no %s in /proc/self/smaps_rollup", counter);

	if (b->advice == MADV_NOHUGEPAGE && kib)
		errx(1, "%llu KiB of huge pages in memory that was to be of 4K pages", kib);
	if (b->advice == MADV_HUGEPAGE && kib < (bytes >> 10) / 100 * 95)
		errx(1,
		     "only %llu of %llu KiB are in huge pages: free memory is fragmented, or %s says never",
		     kib, bytes >> 10,
		     b->memfd ? "transparent_hugepage/shmem_enabled" :
				"transparent_hugepage/enabled");
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
	fputs("vfio-map -g GROUP -d PCI-ADDRESS -b BACKING -s SIZE [-k KERNEL] [-n REPEAT] [-ux]\n"
	      "  -b  thp, 4k, memfd, hugetlb2m or hugetlb1g\n"
	      "  -s  how much to map: a multiple of 2M (of 1G for hugetlb1g)\n"
	      "  -k  the row's \"kernel\" (default: by /proc/vmstat)\n"
	      "  -n  the row's \"repeat\" (default 1)\n"
	      "  -u  also let the device try to write after the unmap (the IOMMU logs the fault)\n"
	      "  -x  take huge pages or not, as memory comes\n",
	      stderr);
	exit(2);
}

int main(int argc, char **argv)
{
	const char *group = NULL, *device = NULL, *kernel = NULL;
	const struct backing *b = NULL;
	double map_s, remap_s, unmap_s;
	bool prezero, patched, stale = false, any = false;
	__u64 bytes = 0, before = 0, after = 0;
	struct lab lab;
	int opt, repeat = 1;
	char pin_batch[32];
	__u8 *mem;

	while ((opt = getopt(argc, argv, "g:d:b:s:k:n:ux")) != -1) {
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
		case 'k':
			kernel = optarg;
			break;
		case 'n':
			repeat = atoi(optarg);
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

	open_device(&lab, group, device);
	mem = reserve(b, bytes);
	prezero = prezero_enabled();

	patched = prezero_hits(&before);
	map_s = dma_map(&lab, mem, bytes);
	prezero_hits(&after);

	if (!any)
		check_backing(b, bytes);
	check_zero(mem, bytes);
	check_dma(&lab, mem, bytes, repeat);

	unmap_s = dma_unmap(&lab, bytes);
	if (stale)
		check_unreachable(&lab, mem, bytes);

	remap_s = dma_map(&lab, mem, bytes);
	check_dma(&lab, mem, bytes, ~repeat);
	dma_unmap(&lab, bytes);
	dirty(mem, bytes);

	if (!kernel)
		kernel = patched ? "patched" : "unpatched";
	if (read_line("/sys/module/vfio_iommu_type1/parameters/pin_batch",
		      pin_batch, sizeof(pin_batch)))
		pin_batch[strcspn(pin_batch, "\n")] = 0;
	else
		snprintf(pin_batch, sizeof(pin_batch), "null");

	printf("{\"kernel\":\"%s\",\"prezero\":%s,\"pin_batch\":%s,",
	       kernel, prezero ? "true" : "false", pin_batch);
	printf("\"backing\":\"%s\",\"bytes\":%llu,", b->name, bytes);
	printf("\"map_s\":%.6f,\"remap_s\":%.6f,\"unmap_s\":%.6f,\"zeroed_pct\":",
	       map_s, remap_s, unmap_s);
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
