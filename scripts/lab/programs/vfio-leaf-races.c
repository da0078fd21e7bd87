// SPDX-License-Identifier: GPL-2.0
/*
 * vfio-leaf-races: a task that is killed while it maps leaves nothing behind.
 *
 * Where the task shares its memory with another process, what is left of it can be
 * seen there, and is there for good. And the mmap_lock may be taken then: a killed task
 * must wait for it all the same to give back what it charged.
 */
#include "vfio-leaf.h"

#include <pthread.h>

FIXTURE(killed_task) {
	struct lab lab;
	__u8 *mem;
};

FIXTURE_VARIANT(killed_task) {
	int advice;
	bool charged;		/* killed when it has charged pages, and not before */
	bool contended;
};

FIXTURE_VARIANT_ADD(killed_task, at_any_time) {
	.advice = MADV_HUGEPAGE,
};

FIXTURE_VARIANT_ADD(killed_task, with_pages_charged) {
	.advice = MADV_NOHUGEPAGE,
	.charged = true,
};

FIXTURE_VARIANT_ADD(killed_task, with_pages_charged_and_the_mmap_lock_taken) {
	.advice = MADV_NOHUGEPAGE,
	.charged = true,
	.contended = true,
};

/*
 * Hold the mmap_lock nearly all of the time: the kernel looks each of these pages up
 * before it lets go of it.
 */
#define LOOKED_UP	(16 * SZ_1M)

static void *hold_mmap_lock(void *mem)
{
	for (;;)
		if (madvise(mem, LOOKED_UP, MADV_POPULATE_READ))
			errx(1, "MADV_POPULATE_READ: %m");
	return NULL;
}

FIXTURE_SETUP(killed_task)
{
	pthread_t thread;
	__u8 *mem;

	set_pinning(0, false);
	leaf_open(&self->lab, TYPE1, VFIO_TYPE1v2_IOMMU);
	self->mem = anon(SZ_1G, variant->advice);
	if (!variant->contended)
		return;
	mem = touched(LOOKED_UP, MADV_NOHUGEPAGE);
	/* It ends with the process. */
	if (pthread_create(&thread, NULL, hold_mmap_lock, mem))
		errx(1, "pthread_create: %m");
}

FIXTURE_TEARDOWN(killed_task)
{
}

struct map_all {
	struct lab *lab;
	void *mem;
};

static int map_all(void *arg)
{
	struct map_all *all = arg;

	dma_map(all->lab, all->mem, IOVA_BASE, SZ_1G);
	return 0;
}

/* Wait until pages are charged, or for some ten seconds. */
static void wait_charged(struct account since)
{
	for (int i = 0; i < 100000 && charged() == since.charged; i++)
		usleep(100);
}

TEST_F(killed_task, has_nothing_pinned_or_charged)
{
	struct map_all all = { &self->lab, self->mem };
	struct account before = account();
	int killed = 0, in_debt = 0;

	for (int us = 200; us < 300000 && !_metadata->exit_code; us += us / 2) {
		__u8 *stack = malloc(1 << 16);
		long ret, debt;
		int status;
		pid_t pid;

		pid = clone(map_all, stack + (1 << 16),
			    CLONE_VM | CLONE_FILES | SIGCHLD, &all);
		if (pid < 0)
			errx(1, "clone: %m");
		if (variant->charged)
			wait_charged(before);
		usleep(us);
		debt = charged() - before.charged;
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		free(stack);

		/* All of it, or nothing */
		ret = dma_unmap(&self->lab, IOVA_BASE, SZ_1G);
		EXPECT_EQ(ret ? (long)SZ_1G : 0, ret);
		if (WIFSIGNALED(status) && !ret) {
			killed++;
			in_debt += debt > 0;
		}
		EXPECT_MORE(before, 0);
		EXPECT_NO_TABLE(&self->lab);
		madvise(self->mem, SZ_1G, MADV_DONTNEED);
	}
	EXPECT_LT(0, variant->charged ? in_debt : killed);
	TH_LOG("%d maps killed in the middle, %d of them with pages charged", killed,
	       in_debt);
}

/* A process that maps and unmaps, and says so when it begins. */
static pid_t fork_mapper(void)
{
	int begun[2];
	pid_t pid;
	char c;

	if (pipe(begun))
		errx(1, "pipe: %m");
	pid = fork_child();
	if (!pid) {
		struct lab lab;
		__u8 *mem;

		leaf_open(&lab, TYPE1, VFIO_TYPE1v2_IOMMU);
		mem = anon(SZ_1G, MADV_NOHUGEPAGE);
		if (write(begun[1], "", 1) != 1)
			_exit(1);
		while (!dma_map(&lab, mem, IOVA_BASE, SZ_1G) &&
		       dma_unmap(&lab, IOVA_BASE, SZ_1G) == (long)SZ_1G)
			;
		_exit(1);
	}
	close(begun[1]);
	if (read(begun[0], &c, 1) != 1)
		errx(1, "the process that maps did not begin");
	close(begun[0]);
	return pid;
}

/* Whatever way the process ends, its pages are unpinned. */
TEST(a_killed_process_has_nothing_pinned)
{
	long before = pinned();

	set_pinning(0, false);
	for (int i = 0; i < 3; i++) {
		const useconds_t after[] = { 100000, 300000, 700000 };
		pid_t pid = fork_mapper();
		int status;

		usleep(after[i]);
		kill(pid, SIGKILL);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		/* It did not end by itself. */
		EXPECT_TRUE(WIFSIGNALED(status));
		EXPECT_EQ(before, pinned());
	}
}

TEST_HARNESS_MAIN
