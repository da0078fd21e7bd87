// SPDX-License-Identifier: GPL-2.0
/* Scratch checks of the vfio/type1 leaf series: what is mapped, pinned, charged. */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/userfaultfd.h>
#include <linux/vfio.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <time.h>

#define P 4096ULL
#define M (1ULL << 20)
#define G (1ULL << 30)
#define IOVA 0x100000000ULL

static int container, group1, group2, dev1 = -1;
static const char *bdf1, *bdf2;
static int nt, nfail;

static void ok(bool good, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("%sok %d ", good ? "" : "not ", ++nt);
	vprintf(fmt, ap);
	printf("\n");
	fflush(stdout);
	nfail += !good;
	va_end(ap);
}

static long stat_of(const char *file, const char *key)
{
	char line[256];
	FILE *f = fopen(file, "re");
	long v = -1;
	size_t n = strlen(key);

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, n) && (line[n] == ' ' || line[n] == ':' || line[n] == '\t'))
			v = strtol(line + n + 1, NULL, 10);
	if (f)
		fclose(f);
	return v;
}

static long pins(void)
{
	/* per-cpu deltas are folded when vm/stat_refresh is written */
	int fd = open("/proc/sys/vm/stat_refresh", O_WRONLY);

	if (fd >= 0) {
		if (write(fd, "1", 1) < 0)
			warn("stat_refresh");
		close(fd);
	}
	return stat_of("/proc/vmstat", "nr_foll_pin_acquired") - stat_of("/proc/vmstat", "nr_foll_pin_released");
}

static long vmlck(void) /* pages */
{
	return stat_of("/proc/self/status", "VmLck") / 4;
}

static int dma_map(void *mem, uint64_t iova, uint64_t size, int flags)
{
	struct vfio_iommu_type1_dma_map map = { .argsz = sizeof(map),
		.flags = flags ?: VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)mem, .iova = iova, .size = size };
	return ioctl(container, VFIO_IOMMU_MAP_DMA, &map) ? -errno : 0;
}

static long dma_unmap(uint64_t iova, uint64_t size)
{
	struct vfio_iommu_type1_dma_unmap u = { .argsz = sizeof(u), .iova = iova, .size = size };

	return ioctl(container, VFIO_IOMMU_UNMAP_DMA, &u) ? -errno : (long)u.size;
}

static uint64_t pfn_of(void *va)
{
	static int fd = -1;
	uint64_t e = 0;

	if (fd < 0)
		fd = open("/proc/self/pagemap", O_RDONLY);
	if (pread(fd, &e, 8, (uintptr_t)va / P * 8) != 8)
		err(1, "pagemap");
	return e >> 63 ? e & ((1ULL << 55) - 1) : 0;
}

/* Read the IOMMU's page table: for each 4K page of [IOVA, +size) its pfn. Counts leaves by size. */
struct dump { uint64_t *pfn; unsigned long n4k, n2m, n1g, stray; };

static struct dump iommu_dump(const char *bdf, uint64_t iova, uint64_t size)
{
	struct dump d = { .pfn = calloc(size / P, 8) };
	char path[128], line[512];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/kernel/debug/iommu/intel/%s/domain_translation_struct", bdf);
	f = fopen(path, "re");
	if (!f)
		err(1, "%s", path);
	while (fgets(line, sizeof(line), f)) {
		unsigned long long v[6], ipfn, pte, sz;
		int n = sscanf(line, " %llx | %llx %llx %llx %llx %llx", &ipfn, &v[0], &v[1], &v[2], &v[3], &v[4]);
		if (n < 3)
			continue;
		/* columns: PML5E PML4E PDPE PDE PTE, the last one non-zero is the leaf */
		n--;
		while (n > 1 && !v[n - 1])
			n--;
		pte = v[n - 1];
		sz = n == 5 ? 1 : n == 4 ? 512 : 512 * 512;
		if (ipfn * P < iova || (ipfn + sz) * P > iova + size) {
			d.stray++;
			continue;
		}
		*(n == 5 ? &d.n4k : n == 4 ? &d.n2m : &d.n1g) += 1;
		for (unsigned long long i = 0; i < sz; i++)
			d.pfn[ipfn - iova / P + i] = ((pte & 0xffffffffff000ULL) >> 12) + i;
	}
	fclose(f);
	return d;
}

/* All of it mapped to the pages the CPU sees; how many contiguous runs there are. */
static bool verify(const char *bdf, void *mem, uint64_t iova, uint64_t size, struct dump *out)
{
	struct dump d = iommu_dump(bdf, iova, size);
	bool good = true;

	for (uint64_t i = 0; i < size / P && good; i++) {
		uint64_t pfn = pfn_of((char *)mem + i * P);

		if (!pfn || d.pfn[i] != pfn) {
			printf("# page %llu: IOMMU %llx, CPU %llx\n", (unsigned long long)i,
			       (unsigned long long)d.pfn[i], (unsigned long long)pfn);
			good = false;
		}
	}
	free(d.pfn);
	if (out)
		*out = d;
	return good;
}

static void *reserve(uint64_t size, uint64_t align)
{
	char *p = mmap(NULL, size + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		err(1, "mmap");
	return (void *)(((uintptr_t)p + align - 1) & ~(align - 1));
}

static char *anon(uint64_t size, int advice, int flags, uint64_t align)
{
	char *p = mmap(reserve(size, align), size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | flags, -1, 0);
	if (p == MAP_FAILED)
		err(1, "mmap anon");
	if (advice)
		madvise(p, size, advice);
	return p;
}

static void check(const char *what, char *mem, uint64_t size, uint64_t want2m, uint64_t want1g)
{
	long p0 = pins(), l0 = vmlck(), r;
	struct dump d = { 0 };
	int e = dma_map(mem, IOVA, size, 0);
	long p1, l1;
	bool v;

	ok(!e, "%s: map (%s)", what, strerror(-e));
	if (e)
		return;
	p1 = pins(); l1 = vmlck();
	ok(p1 - p0 == (long)(size / P), "%s: %ld pages pinned of %llu", what, p1 - p0, (unsigned long long)(size / P));
	ok(l1 - l0 == (long)(size / P), "%s: %ld pages charged", what, l1 - l0);
	v = verify(bdf1, mem, IOVA, size, &d);
	ok(v, "%s: IOMMU maps the same pages: %lu x 4K, %lu x 2M, %lu x 1G", what, d.n4k, d.n2m, d.n1g);
	ok(d.n2m >= want2m && d.n1g >= want1g, "%s: superpages kept", what);
	r = dma_unmap(IOVA, size);
	ok(r == (long)size, "%s: unmap %ld", what, r);
	ok(pins() == p0 && vmlck() == l0, "%s: nothing stays pinned (%ld) or charged (%ld)", what, pins() - p0, vmlck() - l0);
	d = iommu_dump(bdf1, IOVA, size);
	ok(!d.n4k && !d.n2m && !d.n1g, "%s: IOMMU table empty", what);
	free(d.pfn);
}

static void open_all(const char *g1, const char *g2)
{
	char path[64];

	container = open("/dev/vfio/vfio", O_RDWR);
	snprintf(path, sizeof(path), "/dev/vfio/%s", g1);
	group1 = open(path, O_RDWR);
	if (container < 0 || group1 < 0 || ioctl(group1, VFIO_GROUP_SET_CONTAINER, &container) ||
	    ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		err(1, "open vfio");
	if (g2) {
		snprintf(path, sizeof(path), "/dev/vfio/%s", g2);
		group2 = open(path, O_RDWR);
	}
}

static int fail_fd = -1;

static void fail_nth(int n)
{
	char buf[16];
	int len = snprintf(buf, sizeof(buf), "%d", n);

	if (fail_fd < 0)
		fail_fd = open("/proc/thread-self/fail-nth", O_RDWR);
	if (fail_fd < 0 || pwrite(fail_fd, buf, len, 0) != len)
		err(1, "fail-nth");
}

static int fail_left(void)
{
	char buf[16] = "";

	if (pread(fail_fd, buf, 15, 0) <= 0 || pwrite(fail_fd, "0", 1, 0) != 1)
		err(1, "fail-nth");
	return atoi(buf);
}

static void drop_cap(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	if (syscall(SYS_capget, &h, d))
		err(1, "capget");
	d[0].effective &= ~(1 << CAP_IPC_LOCK);
	if (syscall(SYS_capset, &h, d))
		err(1, "capset");
}

static void raise_cap(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	if (syscall(SYS_capget, &h, d))
		err(1, "capget");
	d[0].effective |= (1 << CAP_IPC_LOCK);
	if (syscall(SYS_capset, &h, d))
		err(1, "capset");
}

static void limit(uint64_t pages)
{
	struct rlimit r = { pages * P, 1ULL << 50 };

	if (setrlimit(RLIMIT_MEMLOCK, &r))
		err(1, "rlimit");
}

static void test_layouts(void)
{
	uint64_t size = 64 * M;
	char *a, *b;

	a = anon(size, MADV_HUGEPAGE, 0, 2 * M);
	check("thp cold", a, size, size / (2 * M), 0);
	check("thp warm", a, size, size / (2 * M), 0);
	check("thp part, clipped", a + 3 * P, size - 7 * P, 0, 0);
	munmap(a, size);

	a = anon(size, MADV_NOHUGEPAGE, 0, 2 * M);
	check("4k cold", a, size, 0, 0);
	check("4k warm", a, size, 0, 0);
	munmap(a, size);

	/* every other page comes from elsewhere: fragmented */
	a = anon(size, MADV_NOHUGEPAGE, 0, 2 * M);
	b = anon(size, MADV_NOHUGEPAGE, 0, 2 * M);
	for (uint64_t i = 0; i < size; i += P) {
		a[i] = 1;
		b[i] = 1;
	}
	check("4k fragmented", a, size, 0, 0);
	munmap(a, size);
	munmap(b, size);

	/* THP remapped in pieces: folios partly mapped, out of order, meeting at odd places */
	a = anon(size, MADV_HUGEPAGE, 0, 2 * M);
	memset(a, 1, size);
	b = reserve(size, 2 * M);
	for (uint64_t i = 0; i < 8; i++) {
		/* swap the halves and drop a few pages in each */
		if (mremap(a + i * 2 * M, M, M, MREMAP_MAYMOVE | MREMAP_FIXED, b + i * 2 * M + M) == MAP_FAILED ||
		    mremap(a + i * 2 * M + M, M, M, MREMAP_MAYMOVE | MREMAP_FIXED, b + i * 2 * M) == MAP_FAILED)
			err(1, "mremap");
	}
	/* page granular shuffle in the ninth */
	for (uint64_t i = 0; i < 512; i++)
		if (mremap(a + 16 * M + (i ^ 1) * P, P, P, MREMAP_MAYMOVE | MREMAP_FIXED, b + 16 * M + i * P) == MAP_FAILED)
			err(1, "mremap");
	check("thp remapped in pieces", b, 18 * M, 0, 0);
	munmap(b, size);
	munmap(a, size);

	/* PTE-mapped THP: split the PMD, keep the folio */
	a = anon(size, MADV_HUGEPAGE, 0, 2 * M);
	memset(a, 1, size);
	for (uint64_t i = 0; i < size; i += 2 * M) {
		mprotect(a + i + P, P, PROT_READ);
		mprotect(a + i + P, P, PROT_READ | PROT_WRITE);
	}
	check("thp mapped by ptes", a, size, 0, 0);
	munmap(a, size);

	/* run over a VMA bound: two VMAs, one of them shmem */
	a = anon(size, MADV_HUGEPAGE, 0, 2 * M);
	if (mmap(a + 10 * M + 5 * P, 20 * M, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		err(1, "mmap shared");
	check("anon and shmem side by side", a, size, 0, 0);
	munmap(a, size);

	a = mmap(reserve(64 * M, 2 * M), 64 * M, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_HUGETLB | (21 << 26), -1, 0);
	if (a != MAP_FAILED) {
		check("hugetlb 2M", a, 64 * M, 32, 0);
		check("hugetlb 2M odd", a + 5 * P, 64 * M - 9 * P, 0, 0);
		munmap(a, 64 * M);
	} else
		ok(false, "hugetlb 2M mmap");
	a = mmap(reserve(2 * G, G), 2 * G, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_HUGETLB | (30 << 26), -1, 0);
	if (a != MAP_FAILED) {
		check("hugetlb 1G", a, 2 * G, 0, 2);
		check("hugetlb 1G odd", a + 2 * M + 5 * P, G, 0, 0);
		munmap(a, 2 * G);
	} else
		ok(false, "hugetlb 1G mmap");
}

static void test_readonly(void)
{
	uint64_t size = 8 * M;
	char *a = anon(size, MADV_HUGEPAGE, 0, 2 * M);
	long p0 = pins(), l0 = vmlck();
	int e;

	/* never touched, read-only pin: unsharing must give real pages */
	e = dma_map(a, IOVA, size, VFIO_DMA_MAP_FLAG_READ);
	ok(!e && pins() - p0 == (long)(size / P), "read-only, untouched: %ld pinned", pins() - p0);
	ok(verify(bdf1, a, IOVA, size, NULL), "read-only, untouched: same pages");
	ok(dma_unmap(IOVA, size) == (long)size && pins() == p0 && vmlck() == l0, "read-only, untouched: undone");
	munmap(a, size);

	/* huge zero page first, then a read-only pin */
	a = anon(size, MADV_HUGEPAGE, 0, 2 * M);
	for (uint64_t i = 0; i < size; i += P)
		if (((volatile char *)a)[i])
			err(1, "not zero");
	e = dma_map(a, IOVA, size, VFIO_DMA_MAP_FLAG_READ);
	ok(!e && pins() - p0 == (long)(size / P), "huge zero page, read-only: %ld pinned", pins() - p0);
	a[5 * P] = 1;
	ok(verify(bdf1, a, IOVA, size, NULL), "huge zero page, read-only: same pages after a write");
	ok(dma_unmap(IOVA, size) == (long)size && pins() == p0 && vmlck() == l0, "huge zero page: undone");
	munmap(a, size);

	/* private mapping of shared memory: COW has to be broken */
	{
		int fd = syscall(SYS_memfd_create, "x", 0);

		if (ftruncate(fd, size))
			err(1, "ftruncate");
		a = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
		e = dma_map(a, IOVA, size, VFIO_DMA_MAP_FLAG_READ);
		ok(!e && verify(bdf1, a, IOVA, size, NULL), "private memfd, read-only: same pages");
		memset(a, 3, size);
		ok(verify(bdf1, a, IOVA, size, NULL), "private memfd, read-only: same pages after writes");
		ok(dma_unmap(IOVA, size) == (long)size && pins() == p0, "private memfd: undone");
		munmap(a, size);
		a = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
		e = dma_map(a, IOVA, size, 0);
		ok(e == -EFAULT && pins() == p0 && vmlck() == l0, "write pin of a read-only VMA refused (%d)", e);
		e = dma_map(a, IOVA, size, VFIO_DMA_MAP_FLAG_READ);
		ok(!e, "read pin of it");
		dma_unmap(IOVA, size);
		munmap(a, size);
		close(fd);
	}
	/* a hole at the end, in the middle */
	a = anon(size, MADV_HUGEPAGE, 0, 2 * M);
	munmap(a + 5 * M + P, P);
	e = dma_map(a, IOVA, size, 0);
	ok(e == -EFAULT && pins() == p0 && vmlck() == l0, "hole: %d, pins %ld, charge %ld", e, pins() - p0, vmlck() - l0);
	munmap(a, size);

	/* fork afterwards and before */
	a = anon(size, MADV_NOHUGEPAGE, 0, 2 * M);
	memset(a, 1, size);
	if (!fork()) {
		sleep(1);
		_exit(0);
	}
	e = dma_map(a, IOVA, size, VFIO_DMA_MAP_FLAG_READ);
	ok(!e && verify(bdf1, a, IOVA, size, NULL), "shared with a child, read-only: unshared");
	memset(a, 2, size);
	ok(verify(bdf1, a, IOVA, size, NULL), "shared with a child: same pages after writes");
	dma_unmap(IOVA, size);
	wait(NULL);
	ok(pins() == p0 && vmlck() == l0, "shared with a child: undone");
	munmap(a, size);

	/* userfaultfd, missing */
	{
		int u = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
		struct uffdio_api api = { .api = UFFD_API };
		struct uffdio_register reg;

		a = anon(size, MADV_NOHUGEPAGE, 0, 2 * M);
		memset(a, 1, size / 2);
		reg = (struct uffdio_register){ .range = { (uintptr_t)a, size }, .mode = UFFDIO_REGISTER_MODE_MISSING };
		if (u < 0 || ioctl(u, UFFDIO_API, &api) || ioctl(u, UFFDIO_REGISTER, &reg))
			err(1, "uffd");
		e = dma_map(a, IOVA, size, 0);
		ok(e == -EFAULT && pins() == p0 && vmlck() == l0, "userfaultfd: %d, pins %ld", e, pins() - p0);
		close(u);
		munmap(a, size);
	}
}

static void test_rlimit(void)
{
	uint64_t size = 600 * M;
	uint64_t n = size / P;
	char *a;
	long p0, l0;
	int e;

	for (int thp = 0; thp < 2; thp++) {
		a = anon(size, thp ? MADV_HUGEPAGE : MADV_NOHUGEPAGE, 0, 2 * M);
		memset(a, 1, size);
		p0 = pins();
		l0 = vmlck();
		drop_cap();
		limit(l0 + n);
		e = dma_map(a, IOVA, size, 0);
		ok(!e && vmlck() == l0 + (long)n, "rlimit: exactly enough for %s (%d)", thp ? "thp" : "4k", e);
		e = dma_map(a, IOVA + 4 * G, P, 0);
		ok(e == -ENOMEM, "rlimit: not one page more (%d)", e);
		ok(vmlck() == l0 + (long)n && pins() - p0 == (long)n, "rlimit: charge after that");
		dma_unmap(IOVA, size);
		ok(vmlck() == l0 && pins() == p0, "rlimit: undone");
		limit(l0 + n - 1);
		e = dma_map(a, IOVA, size, 0);
		ok(e == -ENOMEM && vmlck() == l0 && pins() == p0, "rlimit: one page short: %d, charge %ld, pins %ld", e, vmlck() - l0, pins() - p0);
		limit(1);
		e = dma_map(a, IOVA, size, 0);
		ok(e == -ENOMEM && vmlck() == l0 && pins() == p0, "rlimit: next to nothing: %d", e);
		limit(1ULL << 30);
		raise_cap();
		munmap(a, size);
	}
}

static void test_unmap_semantics(void)
{
	uint64_t size = 8 * M;
	char *a = anon(size, MADV_HUGEPAGE, 0, 2 * M);
	long p0 = pins(), r;

	dma_map(a, IOVA, 4 * M, 0);
	dma_map(a + 4 * M, IOVA + 4 * M, 4 * M, 0);
	r = dma_unmap(IOVA, M);
	ok(r == -EINVAL, "v2: unmap of the head of a mapping refused (%ld)", r);
	r = dma_unmap(IOVA + 2 * M, 6 * M);
	ok(r == -EINVAL, "v2: unmap from the middle refused (%ld)", r);
	r = dma_unmap(IOVA, 6 * M);
	ok(r == -EINVAL, "v2: unmap to the middle refused (%ld)", r);
	r = dma_unmap(IOVA - M, P);
	ok(r == 0, "v2: unmap of nothing (%ld)", r);
	ok(verify(bdf1, a, IOVA, size, NULL), "v2: both mapped still");
	/* to the very end of the address space */
	r = dma_unmap(IOVA, 0 - IOVA);
	ok(r == (long)size && pins() == p0, "unmap up to 2^64: %ld", r);
	r = dma_unmap(IOVA, 0 - IOVA + P);
	ok(r == -EINVAL, "unmap past 2^64 refused (%ld)", r);
	munmap(a, size);
}

static void test_failnth(const char *what, uint64_t size, int advice, bool warm)
{
	long p0, l0, last_err = 0;
	int n, e;
	char *a;

	p0 = pins();
	l0 = vmlck();
	a = anon(size, advice, 0, 2 * M);
	if (warm)
		memset(a, 1, size);
	for (n = 1; n < 4000; n++) {
		int left;

		if (!warm)
			madvise(a, size, MADV_DONTNEED);
		fail_nth(n);
		e = dma_map(a, IOVA, size, 0);
		left = fail_left();
		if (!e) {
			bool v = verify(bdf1, a, IOVA, size, NULL);
			long r;

			if (!v || pins() - p0 != (long)(size / P) || vmlck() - l0 != (long)(size / P)) {
				ok(false, "%s: success at failure %d is not one", what, n);
				return;
			}
			fail_nth(left ? 0 : 1 + n % 7);
			r = dma_unmap(IOVA, size);
			fail_left();
			if (r != (long)size || pins() != p0 || vmlck() != l0) {
				ok(false, "%s: unmap with a failure: %ld, pins %ld, charge %ld", what, r, pins() - p0, vmlck() - l0);
				return;
			}
			if (left)
				break;	/* the failure was never reached */
			continue;
		}
		last_err++;
		{
			struct dump d = iommu_dump(bdf1, IOVA, size);

			free(d.pfn);
			if (d.n4k || d.n2m || d.n1g) {
				ok(false, "%s: failure %d (%d) leaves %lu+%lu+%lu IOMMU entries", what, n, e, d.n4k, d.n2m, d.n1g);
				return;
			}
		}
		if (pins() != p0 || vmlck() != l0) {
			ok(false, "%s: failure %d (%d) leaves pins %ld, charge %ld", what, n, e, pins() - p0, vmlck() - l0);
			return;
		}
	}
	ok(n > 1 && n < 4000, "%s: %d points of failure, %ld failed maps, nothing left behind", what, n - 1, last_err);
	munmap(a, size);
}

/* A failure while a second device is attached: it gets a domain of its own, replay */
static void test_second(void)
{
	uint64_t size = 32 * M;
	char *a = anon(size, MADV_HUGEPAGE, 0, 2 * M), *b = anon(size, MADV_NOHUGEPAGE, 0, 2 * M);
	long p0 = pins(), l0 = vmlck();
	int n, e, own = 0, failed = 0;

	memset(b, 1, size);
	if (dma_map(a, IOVA, size, 0) || dma_map(b, IOVA + G, size, 0)) {
		ok(false, "second: map");
		return;
	}
	for (n = 1; n < 2000; n++) {
		int left;
		struct dump d;

		fail_nth(n);
		e = ioctl(group2, VFIO_GROUP_SET_CONTAINER, &container) ? -errno : 0;
		left = fail_left();
		if (pins() - p0 != 2 * (long)(size / P) || vmlck() - l0 != 2 * (long)(size / P)) {
			ok(false, "second: failure %d (%d): pins %ld, charge %ld", n, e, pins() - p0, vmlck() - l0);
			return;
		}
		if (e) {
			failed++;
			continue;
		}
		if (!verify(bdf2, a, IOVA, size, &d) || !verify(bdf2, b, IOVA + G, size, NULL)) {
			ok(false, "second: failure %d: wrong pages", n);
			return;
		}
		own++;
		if (left)
			break;
		if (n % 3 == 0) {
			/* with both domains in place */
			dma_unmap(IOVA, size);
			if (dma_map(a, IOVA, size, 0) || !verify(bdf2, a, IOVA, size, NULL) || !verify(bdf1, a, IOVA, size, NULL)) {
				ok(false, "second: failure %d: wrong pages after a new map", n);
				return;
			}
		}
		if (ioctl(group2, VFIO_GROUP_UNSET_CONTAINER, &container))
			err(1, "unset container");
	}
	ok(true, "second device: %d points of failure, %d attached, %d refused, pins and charge always right", n, own, failed);
	e = dma_unmap(IOVA, size) != (long)size || dma_unmap(IOVA + G, size) != (long)size;
	ok(!e && pins() == p0 && vmlck() == l0, "second device: undone");
	ioctl(group2, VFIO_GROUP_UNSET_CONTAINER, &container);
	munmap(a, size);
	munmap(b, size);
}

static int child_map(void *arg)
{
	dma_map(arg, IOVA, 2 * G, 0);
	return 0;
}

static void test_kill(void)
{
	uint64_t size = 2 * G;
	char *a = anon(size, MADV_HUGEPAGE, 0, 2 * M);
	long p0 = pins(), l0 = vmlck();
	int killed = 0;

	/* the child shares our mm, so that what it leaves charged shows */
	for (int us = 200; us < 400000; us = us * 3 / 2) {
		char *stack = malloc(65536);
		int st, pid = clone(child_map, stack + 65536, CLONE_VM | CLONE_FILES | SIGCHLD, a);
		long r;

		if (pid < 0)
			err(1, "clone");
		usleep(us);
		kill(pid, SIGKILL);
		waitpid(pid, &st, 0);
		free(stack);
		r = dma_unmap(IOVA, size);
		if (WIFSIGNALED(st) && !r)
			killed++;
		if (pins() != p0 || vmlck() != l0) {
			ok(false, "kill after %d us: pins %ld, charge %ld, unmapped %ld", us, pins() - p0, vmlck() - l0, r);
			p0 = pins();
			l0 = vmlck();
		}
		madvise(a, size, MADV_DONTNEED);
	}
	ok(killed > 0, "killed in mid-map %d times, nothing pinned or charged", killed);
	munmap(a, size);
}

static void test_bar(const char *bdf)
{
	struct vfio_region_info bar = { .argsz = sizeof(bar), .index = VFIO_PCI_BAR2_REGION_INDEX };
	struct dump d;
	long p0 = pins(), l0 = vmlck();
	int e;
	char *m;

	dev1 = ioctl(group2, VFIO_GROUP_GET_DEVICE_FD, bdf);
	if (dev1 < 0 || ioctl(dev1, VFIO_DEVICE_GET_REGION_INFO, &bar)) {
		ok(false, "bar: device %s: %s", bdf, strerror(errno));
		return;
	}
	m = mmap(reserve(bar.size, G), bar.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, dev1, bar.offset);
	if (m == MAP_FAILED) {
		ok(false, "bar: mmap: %s", strerror(errno));
		return;
	}
	e = dma_map(m, IOVA, bar.size, 0);
	ok(!e && pins() == p0 && vmlck() == l0, "bar: %llu bytes mapped (%d), not pinned or charged", (unsigned long long)bar.size, e);
	d = iommu_dump(bdf1, IOVA, bar.size);
	for (uint64_t i = 1; i < bar.size / P; i++)
		if (d.pfn[i] != d.pfn[0] + i) {
			ok(false, "bar: page %llu", (unsigned long long)i);
			break;
		}
	ok(d.n4k == 0 && d.n2m + d.n1g > 0, "bar: pfn %llx, %lu x 4K, %lu x 2M, %lu x 1G", (unsigned long long)d.pfn[0], d.n4k, d.n2m, d.n1g);
	ok(dma_unmap(IOVA, bar.size) == (long)bar.size, "bar: unmap");
	/* RAM, BAR and RAM in one mapping */
	{
		char *r = reserve(64 * M, 2 * M), *x = r;

		if (mmap(x, 8 * M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ||
		    mmap(x + 8 * M, 8 * M, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, dev1, bar.offset + 4 * P) == MAP_FAILED ||
		    mmap(x + 16 * M, 8 * M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
			err(1, "mmap mixed");
		e = dma_map(x, IOVA, 24 * M, 0);
		ok(!e && pins() - p0 == (long)(16 * M / P) && vmlck() - l0 == (long)(16 * M / P),
		   "bar amid RAM: %d, pins %ld, charge %ld", e, pins() - p0, vmlck() - l0);
		ok(verify(bdf1, x, IOVA, 8 * M, NULL) && verify(bdf1, x + 16 * M, IOVA + 16 * M, 8 * M, NULL), "bar amid RAM: same pages");
		ok(dma_unmap(IOVA, 24 * M) == (long)(24 * M) && pins() == p0 && vmlck() == l0, "bar amid RAM: undone, pins %ld charge %ld", pins() - p0, vmlck() - l0);
		munmap(x, 24 * M);
	}
	munmap(m, bar.size);
	close(dev1);
}

static void loop(void)
{
	uint64_t size = G;
	char *a = anon(size, MADV_NOHUGEPAGE, 0, 2 * M);

	memset(a, 1, size);
	printf("# LOOP\n");
	for (;;) {
		if (dma_map(a, IOVA, size, 0))
			err(1, "map");
		dma_unmap(IOVA, size);
	}
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void bench_fragmented(void)
{
	uint64_t size = 512 * M;
	char *a = anon(size, MADV_NOHUGEPAGE, 0, 2 * M), *b = anon(size, MADV_NOHUGEPAGE, 0, 2 * M);
	double t0, t1, t2;

	for (uint64_t i = 0; i < size; i += P) {
		a[i] = 1;
		b[i] = 1;
	}
	for (int i = 0; i < 2; i++) {
		t0 = now();
		if (dma_map(a, IOVA, size, 0))
			err(1, "map");
		t1 = now();
		dma_unmap(IOVA, size);
		t2 = now();
		printf("# fragmented 512M: map %.6f unmap %.6f\n", t1 - t0, t2 - t1);
	}
	ok(true, "fragmented");
}

int main(int argc, char **argv)
{
	if (argc < 6)
		errx(2, "leaf G1 BDF1 G2 BDF2 TESTS [G3 BDF3]");
	bdf1 = argv[2];
	bdf2 = argv[4];
	open_all(argv[1], argv[3]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (strchr(argv[5], 'p')) loop();
	if (strchr(argv[5], 'F')) bench_fragmented();
	if (strchr(argv[5], 'l')) test_layouts();
	if (strchr(argv[5], 'r')) test_readonly();
	if (strchr(argv[5], 'm')) test_rlimit();
	if (strchr(argv[5], 'u')) test_unmap_semantics();
	if (strchr(argv[5], 'k')) test_kill();
	if (strchr(argv[5], 'f')) {
		test_failnth("fail thp cold", 8 * M, MADV_HUGEPAGE, false);
		test_failnth("fail thp warm", 8 * M, MADV_HUGEPAGE, true);
		test_failnth("fail 4k cold", M / 2, MADV_NOHUGEPAGE, false);
		test_failnth("fail 4k warm", 8 * M, MADV_NOHUGEPAGE, true);
	}
	if (strchr(argv[5], '2')) test_second();
	if (strchr(argv[5], 'b') && argc > 7) {
		char path[64];

		close(group2);
		snprintf(path, sizeof(path), "/dev/vfio/%s", argv[6]);
		group2 = open(path, O_RDWR);
		if (group2 < 0 || ioctl(group2, VFIO_GROUP_SET_CONTAINER, &container))
			err(1, "group3");
		test_bar(argv[7]);
	}
	printf("1..%d\n", nt);
	return nfail != 0;
}
