// SPDX-License-Identifier: GPL-2.0
/*
 * vfio-leaf-failures: whatever fails, all of a map is done or nothing is left of it,
 * and what was mapped before is still there.
 *
 * The kernel's fault injection makes each allocation of a call fail in turn, until
 * there is none left to fail, or all of them from some page on: a single failure in
 * the middle is a short pin, which is tried again from where it ended.
 */
#include "vfio-leaf.h"

static int fail_fd = -1;

/* Let the N-th allocation of this thread from here on fail, 0 for none. */
static void fail_nth(int n)
{
	char buf[16];
	int len = snprintf(buf, sizeof(buf), "%d", n);

	if (fail_fd < 0)
		fail_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (fail_fd < 0 || pwrite(fail_fd, buf, len, 0) != len)
		errx(1, "fail-nth: %m: the kernel needs CONFIG_FAULT_INJECTION");
}

/* Stop that. Returns whether it never came to the N-th. */
static bool fail_not_reached(void)
{
	char buf[16] = "";

	if (pread(fail_fd, buf, sizeof(buf) - 1, 0) <= 0)
		errx(1, "fail-nth: %m");
	fail_nth(0);
	return atoi(buf) > 0;
}

/*
 * Files are opened once, and before the first failure: without memory there is
 * no opening them, and no getting out again.
 */
enum fail_knob { MAKE_IT_FAIL, TASK_FILTER, TIMES, SPACE, PROBABILITY, FAIL_KNOBS };

static void fail_knob(enum fail_knob knob, long val)
{
	static const char * const paths[FAIL_KNOBS] = {
		[MAKE_IT_FAIL] = "/proc/thread-self/make-it-fail",
		[TASK_FILTER] = "/sys/kernel/debug/fail_page_alloc/task-filter",
		[TIMES] = "/sys/kernel/debug/fail_page_alloc/times",
		[SPACE] = "/sys/kernel/debug/fail_page_alloc/space",
		[PROBABILITY] = "/sys/kernel/debug/fail_page_alloc/probability",
	};
	static int fds[FAIL_KNOBS];
	char buf[16];
	int len = snprintf(buf, sizeof(buf), "%ld", val);

	if (!fds[knob])
		fds[knob] = open(paths[knob], O_WRONLY | O_CLOEXEC);
	if (fds[knob] < 0 || write(fds[knob], buf, len) != len)
		errx(1, "%s: %m: the kernel needs CONFIG_FAIL_PAGE_ALLOC",
		     paths[knob]);
}

/* Let this thread have so many pages, and then none. */
static void fail_after(long pages)
{
	fail_knob(PROBABILITY, 0);
	fail_knob(MAKE_IT_FAIL, 1);
	fail_knob(TASK_FILTER, 1);
	fail_knob(TIMES, -1);
	fail_knob(SPACE, pages + 1);
	fail_knob(PROBABILITY, 100);
}

static void fail_no_more(void)
{
	fail_knob(PROBABILITY, 0);
	fail_knob(MAKE_IT_FAIL, 0);
	fail_knob(TASK_FILTER, 0);
}

/* A map that failed left nothing; one that did not did all of its work. */
static void check_all_or_nothing(struct __test_metadata *_metadata, struct lab *lab,
				 int err, const __u8 *mem, __u64 size,
				 struct account before)
{
	if (err) {
		EXPECT_NO_TABLE(lab);
		EXPECT_MORE(before, 0);
	} else {
		EXPECT_SAME_PAGES(lab, mem, size);
		EXPECT_MORE(before, size / SZ_4K);
	}
}

FIXTURE(each_allocation) {
	struct lab lab;
};

FIXTURE_VARIANT(each_allocation) {
	__u64 size;
	int advice;
	bool touch;
};

FIXTURE_VARIANT_ADD(each_allocation, thp) {
	.size = 8 * SZ_1M,
	.advice = MADV_HUGEPAGE,
};

FIXTURE_VARIANT_ADD(each_allocation, thp_touched) {
	.size = 8 * SZ_1M,
	.advice = MADV_HUGEPAGE,
	.touch = true,
};

FIXTURE_VARIANT_ADD(each_allocation, small) {
	.size = SZ_1M / 4,
	.advice = MADV_NOHUGEPAGE,
};

FIXTURE_VARIANT_ADD(each_allocation, small_touched) {
	.size = 8 * SZ_1M,
	.advice = MADV_NOHUGEPAGE,
	.touch = true,
};

FIXTURE_SETUP(each_allocation)
{
	set_pinning(0, false);
	leaf_open(&self->lab, TYPE1, VFIO_TYPE1v2_IOMMU);
}

FIXTURE_TEARDOWN(each_allocation)
{
}

TEST_F(each_allocation, that_fails_leaves_all_or_nothing)
{
	const __u64 size = variant->size;
	__u8 *mem = anon(size, variant->advice);
	int n, failed = 0, err = 0;
	struct account before;
	bool clean = false;

	if (variant->touch)
		memset(mem, 1, size);
	before = account();
	for (n = 1; !clean && !_metadata->exit_code; n++) {
		if (!variant->touch)
			madvise(mem, size, MADV_DONTNEED);
		fail_nth(n);
		err = dma_map(&self->lab, mem, IOVA_BASE, size);
		clean = fail_not_reached();
		check_all_or_nothing(_metadata, &self->lab, err, mem, size, before);
		failed += !!err;
		if (err)
			continue;
		fail_nth(clean ? 0 : 1 + n % 7);
		EXPECT_EQ((long)size, dma_unmap(&self->lab, IOVA_BASE, size));
		fail_not_reached();
		check_all_or_nothing(_metadata, &self->lab, -1, mem, size, before);
	}
	EXPECT_LT(0, failed);
	TH_LOG("%d failures injected, %d of them failed the map", n - 2, failed);
}

FIXTURE(out_of_memory) {
	struct lab lab;
};

FIXTURE_VARIANT(out_of_memory) {
	__u64 size;
	int advice;
	int step;
};

FIXTURE_VARIANT_ADD(out_of_memory, thp) {
	.size = 8 * SZ_1M,
	.advice = MADV_HUGEPAGE,
	.step = 61,
};

FIXTURE_VARIANT_ADD(out_of_memory, small) {
	.size = SZ_1M,
	.advice = MADV_NOHUGEPAGE,
	.step = 1,
};

FIXTURE_SETUP(out_of_memory)
{
	set_pinning(0, false);
	leaf_open(&self->lab, TYPE1, VFIO_TYPE1v2_IOMMU);
}

FIXTURE_TEARDOWN(out_of_memory)
{
}

/* With memory for so many pages, a few more each time, until it is enough */
TEST_F(out_of_memory, map_leaves_all_or_nothing_and_unmap_works)
{
	const __u64 size = variant->size;
	__u8 *mem = anon(size, variant->advice);
	struct account before = account();
	int pages, err = -1, failed = 0;

	for (pages = 0; err && !_metadata->exit_code; pages += variant->step) {
		madvise(mem, size, MADV_DONTNEED);
		fail_after(pages);
		err = dma_map(&self->lab, mem, IOVA_BASE, size);
		fail_no_more();
		check_all_or_nothing(_metadata, &self->lab, err, mem, size, before);
		failed += !!err;
	}
	/* Without memory for anything */
	fail_after(0);
	EXPECT_EQ((long)size, dma_unmap(&self->lab, IOVA_BASE, size));
	fail_no_more();
	check_all_or_nothing(_metadata, &self->lab, -1, mem, size, before);
	EXPECT_LT(1, failed);
	TH_LOG("%d failed maps, then one with memory for %d pages", failed,
	       pages - variant->step);
}

/*
 * A second device shares the first one's domain, unless it cannot be attached
 * to that: then it gets one of its own, where all mappings are replayed. Let
 * each allocation fail in turn, to get there, and to fail there.
 */
FIXTURE(second_device) {
	struct lab lab;
	const char *bdf;
};

FIXTURE_SETUP(second_device)
{
	set_pinning(0, false);
	leaf_open(&self->lab, TYPE1, VFIO_TYPE1v2_IOMMU);
	self->bdf = env_device("EDU2");
}

FIXTURE_TEARDOWN(second_device)
{
}

/* The second device has both of these, at IOVA_BASE and 1G above it. */
static unsigned long long check_second(struct __test_metadata *_metadata,
				       const char *bdf, const __u8 *huge,
				       const __u8 *small, __u64 size)
{
	struct table t = read_table(bdf, IOVA_BASE, 2 * SZ_1G);
	__u64 *huge_pfns = pfns_of(huge, size), *small_pfns = pfns_of(small, size);

	EXPECT_EQ(0, t.elsewhere);
	EXPECT_EQ(-1, first_other(huge_pfns, t.pfn, size / SZ_4K));
	EXPECT_EQ(-1, first_other(small_pfns, t.pfn + SZ_1G / SZ_4K, size / SZ_4K));
	EXPECT_GE(t.n2m, size / SZ_2M);
	free(huge_pfns);
	free(small_pfns);
	free(t.pfn);
	return t.root;
}

TEST_F(second_device, has_all_mappings_or_is_refused)
{
	const __u64 size = 8 * SZ_1M;
	__u8 *huge = touched(size, MADV_HUGEPAGE);
	__u8 *small = touched(size, MADV_NOHUGEPAGE);
	int n, refused = 0, own = 0, fd = lab_open_group(group_of(self->bdf));
	struct account before = account();
	const long pages = 2 * size / SZ_4K;
	struct lab *lab = &self->lab;

	ASSERT_EQ(0, dma_map(lab, huge, IOVA_BASE, size));
	ASSERT_EQ(0, dma_map(lab, small, IOVA_BASE + SZ_1G, size));
	for (n = 1; !_metadata->exit_code; n++) {
		unsigned long long root;
		struct table t;
		bool clean;
		int err;

		fail_nth(n);
		err = join_group(lab, fd);
		clean = fail_not_reached();
		EXPECT_MORE(before, pages);
		if (err) {
			refused++;
			continue;
		}
		root = check_second(_metadata, self->bdf, huge, small, size);
		t = read_table(lab->bdf, IOVA_BASE, 2 * SZ_1G);
		EXPECT_EQ(0, t.elsewhere);
		free(t.pfn);
		if (t.root != root) {
			/* Two domains: unmap and map in both */
			own++;
			EXPECT_EQ((long)size, dma_unmap(lab, IOVA_BASE, size));
			EXPECT_MORE(before, pages / 2);
			ASSERT_EQ(0, dma_map(lab, huge, IOVA_BASE, size));
			EXPECT_MORE(before, pages);
			check_second(_metadata, self->bdf, huge, small, size);
		}
		if (clean)
			break;
		leave_group(fd);
		EXPECT_MORE(before, pages);
	}
	EXPECT_LT(0, refused);
	EXPECT_LT(0, own);
	TH_LOG("%d failures injected, %d refused the device, %d gave it its own domain",
	       n - 1, refused, own);
	EXPECT_EQ((long)size, dma_unmap(lab, IOVA_BASE, size));
	EXPECT_EQ((long)size, dma_unmap(lab, IOVA_BASE + SZ_1G, size));
	EXPECT_MORE(before, 0);
}

/*
 * The first device with an IOMMU in a container in which there was none: all that is
 * mapped is pinned then. If that fails half way, all of it is unpinned.
 */
#define REPLAY_SIZE	(4 * SZ_1M)

struct replay {
	struct lab lab;
	int group;
	__u8 *mem[3];
	struct account before;
};

FIXTURE(first_device) {
	struct replay r;
};

FIXTURE_SETUP(first_device)
{
	struct replay *r = &self->r;

	set_pinning(0, false);
	lab_open(&r->lab, TYPE1, VFIO_TYPE1v2_IOMMU, group_of(PINNER));
	r->lab.bdf = env_device("EDU");
	r->group = lab_open_group(group_of(r->lab.bdf));
	/* One piece; one for each page; and huge pages once more */
	r->mem[0] = touched(REPLAY_SIZE, MADV_HUGEPAGE);
	r->mem[1] = fragmented(REPLAY_SIZE);
	r->mem[2] = touched(REPLAY_SIZE, MADV_HUGEPAGE);
	/* vfio/type1 knows of no device, or of no mappings, until one is open */
	open_device(r->lab.group, PINNER);
	r->before = account();
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, dma_map(&r->lab, r->mem[i],
				     IOVA_BASE + i * REPLAY_SIZE, REPLAY_SIZE));
	EXPECT_MORE(r->before, 0);
}

FIXTURE_TEARDOWN(first_device)
{
}

/* The device has all three, and leaves again. */
static void check_replayed(struct __test_metadata *_metadata, struct replay *r)
{
	struct table t = read_table(r->lab.bdf, IOVA_BASE, 3 * REPLAY_SIZE);

	EXPECT_EQ(0, t.elsewhere);
	for (int i = 0; i < 3; i++) {
		__u64 *pfns = pfns_of(r->mem[i], REPLAY_SIZE);
		const __u64 n = REPLAY_SIZE / SZ_4K;

		EXPECT_EQ(-1, first_other(pfns, t.pfn + i * n, n));
		free(pfns);
	}
	free(t.pfn);
	EXPECT_MORE(r->before, 3 * REPLAY_SIZE / SZ_4K);
	leave_group(r->group);
	EXPECT_MORE(r->before, 0);
}

TEST_F(first_device, that_meets_a_hole_leaves_nothing_pinned)
{
	struct replay *r = &self->r;
	__u8 *hole = r->mem[2] + REPLAY_SIZE / 2 + 5 * SZ_4K;

	munmap(hole, SZ_4K);
	EXPECT_EQ(-EFAULT, join_group(&r->lab, r->group));
	EXPECT_MORE(r->before, 0);
	map_at(hole, SZ_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_EQ(0, join_group(&r->lab, r->group));
	check_replayed(_metadata, r);
}

TEST_F(first_device, that_fails_to_allocate_leaves_nothing_pinned)
{
	struct replay *r = &self->r;
	int n, refused = 0;
	bool clean = false;

	for (n = 1; !clean && !_metadata->exit_code; n++) {
		int err;

		fail_nth(n);
		err = join_group(&r->lab, r->group);
		clean = fail_not_reached();
		if (err) {
			refused++;
			EXPECT_MORE(r->before, 0);
		} else {
			check_replayed(_metadata, r);
		}
	}
	EXPECT_LT(0, refused);
	TH_LOG("%d failures injected, %d refused the device", n - 2, refused);
}

TEST_HARNESS_MAIN
