// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit suite for pin_user_page_runs_remote(): runs of pages from real page
 * tables, in a process address space of the test's own.
 *
 * Most cases choose which page is mapped where: the mmap() of their own file
 * inserts the pages. In this way a huge folio can be mapped in part, in pieces,
 * backwards or next to any other, as user space can do with mremap(). The cases
 * work out the expected runs page by page. The layout of anonymous memory and of
 * hugetlb cannot be chosen: there pin_user_pages_remote(), which has no runs, says
 * which pages to expect.
 *
 * Needs transparent huge pages "always", one free hugetlb page of 1G, four of 2M,
 * and a hugetlbfs of each size on /dev/hugepages1G and /dev/hugepages.
 */
#include <kunit/test.h>
#include <linux/anon_inodes.h>
#include <linux/completion.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mmap_lock.h>
#include <linux/module.h>
#include <linux/page-isolation.h>
#include <linux/prandom.h>
#include <linux/sizes.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#define MAX_BLOCKS	8
#define MAX_PAGES	2048
/* As many as vfio/type1 takes at a time */
#define MAX_RUNS	256

#define TABLE_PAGES	PTRS_PER_PTE

/**
 * struct layout - pages to be mapped, and what they are taken from
 * @file: mmap() of this file inserts @pages
 * @pages: by their place in the file, NULL for a hole
 * @nr_blocks: of @block
 * @block: allocations
 * @order: their orders
 * @runs: where the function under test writes to
 * @addr: where @pages are mapped
 * @io_from: mappings of what is here and after it in the file are VM_IO
 */
struct layout {
	struct file *file;
	struct page *pages[MAX_PAGES];
	int nr_blocks;
	struct page *block[MAX_BLOCKS];
	unsigned int order[MAX_BLOCKS];
	struct page_run runs[MAX_RUNS];
	unsigned long addr;
	unsigned long io_from;
};

static const struct vm_operations_struct layout_vm_ops = { };

static int layout_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct layout *l = file->private_data;
	unsigned long i, nr = vma_pages(vma);

	if (vma->vm_pgoff + nr > MAX_PAGES)
		return -EINVAL;
	vma->vm_ops = &layout_vm_ops;
	if (vma->vm_pgoff >= l->io_from)
		vm_flags_set(vma, VM_IO);

	for (i = 0; i < nr; i++) {
		struct page *page = l->pages[vma->vm_pgoff + i];
		int ret;

		if (!page)
			continue;
		ret = vm_insert_page(vma, vma->vm_start + i * PAGE_SIZE, page);
		if (ret)
			return ret;
	}

	return 0;
}

static const struct file_operations layout_fops = {
	.owner = THIS_MODULE,
	.mmap = layout_mmap,
};

static int gup_runs_init(struct kunit *test)
{
	struct layout *l = vzalloc(sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->file = anon_inode_getfile("gup_runs", &layout_fops, l, O_RDWR);
	if (IS_ERR(l->file)) {
		int ret = PTR_ERR(l->file);

		vfree(l);
		return ret;
	}
	l->io_from = MAX_PAGES;
	test->priv = l;

	return 0;
}

/* Mapped pages still have a reference of their own. */
static void gup_runs_exit(struct kunit *test)
{
	struct layout *l = test->priv;
	int i, j;

	for (i = 0; i < l->nr_blocks; i++) {
		if (PageCompound(l->block[i])) {
			put_page(l->block[i]);
			continue;
		}
		for (j = 0; j < 1 << l->order[i]; j++) {
			ClearPageReserved(l->block[i] + j);
			put_page(l->block[i] + j);
		}
	}
	fput(l->file);
	vfree(l);
}

/* One folio of 2^order pages, or as many adjacent folios of one */
static struct page *new_block(struct kunit *test, unsigned int order,
			      bool one_folio)
{
	struct layout *l = test->priv;
	struct page *page = alloc_pages(GFP_KERNEL | __GFP_ZERO |
					(one_folio ? __GFP_COMP : 0), order);

	KUNIT_ASSERT_LT(test, l->nr_blocks, MAX_BLOCKS);
	KUNIT_ASSERT_NOT_NULL(test, page);
	if (!one_folio)
		split_page(page, order);
	l->block[l->nr_blocks] = page;
	l->order[l->nr_blocks++] = order;

	return page;
}

static void lay(struct kunit *test, unsigned int at, struct page *page,
		unsigned int nr)
{
	struct layout *l = test->priv;
	unsigned int i;

	KUNIT_ASSERT_LE(test, at + nr, MAX_PAGES);
	for (i = 0; i < nr; i++)
		l->pages[at + i] = page + i;
}

static unsigned long test_mmap(struct kunit *test, struct file *file,
			       unsigned long addr, unsigned long size,
			       unsigned long prot, unsigned long flags,
			       unsigned long offset)
{
	unsigned long ret = kunit_vm_mmap(test, file, addr, size, prot,
					  flags | (addr ? MAP_FIXED : 0), offset);

	KUNIT_ASSERT_NE(test, ret, 0);
	KUNIT_ASSERT_FALSE_MSG(test, IS_ERR_VALUE(ret), "mmap: %ld", (long)ret);

	return ret;
}

/* Address space for @size bytes, with its first byte @skip pages into a table */
static unsigned long test_reserve(struct kunit *test, unsigned long size,
				  unsigned int skip)
{
	unsigned long addr;

	addr = test_mmap(test, NULL, 0, size + 2 * PMD_SIZE, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS, 0);

	return ALIGN(addr, PMD_SIZE) + skip * PAGE_SIZE;
}

/* Private anonymous memory, writable, at @addr */
static void map_anon(struct kunit *test, unsigned long addr, unsigned long size)
{
	test_mmap(test, NULL, addr, size, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS, 0);
}

/* Map the first @nr pages of the layout, @skip pages into a page table. */
static void map_layout(struct kunit *test, unsigned int nr, unsigned int skip)
{
	struct layout *l = test->priv;
	unsigned long size = nr * PAGE_SIZE;

	l->addr = test_reserve(test, size, skip);
	test_mmap(test, l->file, l->addr, size, PROT_READ | PROT_WRITE,
		  MAP_SHARED, 0);
}

static long pin_runs(struct layout *l, unsigned long addr, unsigned long nr,
		     unsigned int flags, unsigned int *nr_runs)
{
	long ret;

	mmap_read_lock(current->mm);
	ret = pin_user_page_runs_remote(current->mm, addr, nr, flags, l->runs,
					nr_runs);
	mmap_read_unlock(current->mm);

	return ret;
}

static void unpin_runs(struct layout *l, unsigned int nr_runs)
{
	unsigned int i;

	for (i = 0; i < nr_runs; i++)
		unpin_user_page_range_dirty_lock(l->runs[i].page,
						 l->runs[i].nr_pages, false);
}

/* One page may follow another in a run. */
static bool adjacent(struct page *page, struct page *next)
{
	return page_to_pfn(page) + 1 == page_to_pfn(next) &&
	       PageReserved(page) == PageReserved(next);
}

/*
 * Expects the runs to be these pages, in the fewest runs possible. Returns the
 * number of pages in them.
 */
static unsigned long expect_runs(struct kunit *test, struct page **pages,
				 unsigned long nr, unsigned int nr_runs)
{
	struct layout *l = test->priv;
	unsigned long done = 0, i;
	unsigned int r;

	for (r = 0; r < nr_runs; r++) {
		struct page_run *run = &l->runs[r];

		KUNIT_ASSERT_GT(test, run->nr_pages, 0);
		KUNIT_ASSERT_LE(test, done + run->nr_pages, nr);
		KUNIT_EXPECT_FALSE_MSG(test,
				       done && adjacent(pages[done - 1], pages[done]),
				       "runs %u and %u are one", r - 1, r);
		for (i = 0; i < run->nr_pages; i++, done++) {
			KUNIT_ASSERT_PTR_EQ_MSG(test, nth_page(run->page, i), pages[done],
						"page %lu, %lu of run %u", done, i, r);
			KUNIT_EXPECT_TRUE_MSG(test,
					      !i || adjacent(pages[done - 1], pages[done]),
					      "run %u is two at %lu", r, i);
		}
	}

	return done;
}

/* Pins on a folio */
static int pins(struct folio *folio)
{
	return folio_has_pincount(folio) ? atomic_read(&folio->_pincount) :
		folio_ref_count(folio) / GUP_PIN_COUNTING_BIAS;
}

static void expect_pins(struct kunit *test, struct page **pages,
			unsigned long nr)
{
	struct layout *l = test->priv;
	unsigned long p;
	int i, j;

	for (i = 0; i < l->nr_blocks; i++) {
		bool large = PageCompound(l->block[i]);

		for (j = 0; j < (large ? 1 : 1 << l->order[i]); j++) {
			struct folio *folio = page_folio(l->block[i] + j);
			int want = 0;

			for (p = 0; p < nr; p++)
				want += page_folio(pages[p]) == folio;
			KUNIT_EXPECT_EQ_MSG(test, pins(folio), want,
					    "block %d, folio %d", i, j);
		}
	}
}

/*
 * Pin @nr pages of the layout from page @first on, with room for @max runs; check
 * the result, and that unpinning undoes it.
 */
static void expect_pinned(struct kunit *test, unsigned int first,
			  unsigned long nr, unsigned int max)
{
	struct layout *l = test->priv;
	struct page **pages = l->pages + first;
	unsigned int nr_runs = max;
	unsigned long there;
	long ret;

	/* It ends at a hole */
	for (there = 0; there < nr && pages[there]; there++)
		;

	ret = pin_runs(l, l->addr + first * PAGE_SIZE, nr, FOLL_WRITE, &nr_runs);
	if (!there) {
		KUNIT_EXPECT_EQ(test, ret, -EFAULT);
		KUNIT_EXPECT_EQ(test, nr_runs, 0);
		expect_pins(test, pages, 0);
		return;
	}
	KUNIT_ASSERT_GT(test, ret, 0);
	KUNIT_EXPECT_LE(test, nr_runs, max);
	KUNIT_EXPECT_EQ(test, expect_runs(test, pages, there, nr_runs), ret);
	/* It ends when it is out of runs, but not before */
	if (nr_runs < max)
		KUNIT_EXPECT_EQ(test, ret, there);
	expect_pins(test, pages, ret);
	unpin_runs(l, nr_runs);
	expect_pins(test, pages, 0);
}

/* Returns the number of runs, for cases that know it beforehand. */
static void expect_nr_runs(struct kunit *test, unsigned int first,
			   unsigned long nr, unsigned int want)
{
	struct layout *l = test->priv;
	unsigned int nr_runs = MAX_RUNS;

	expect_pinned(test, first, nr, MAX_RUNS);
	KUNIT_EXPECT_EQ(test, pin_runs(l, l->addr + first * PAGE_SIZE, nr,
				       FOLL_WRITE, &nr_runs), nr);
	KUNIT_EXPECT_EQ(test, nr_runs, want);
	unpin_runs(l, nr_runs);
}

/*
 * Layouts
 */

static void runs_test_whole_folio(struct kunit *test)
{
	lay(test, 0, new_block(test, 9, true), 512);
	map_layout(test, 512, 0);
	expect_nr_runs(test, 0, 512, 1);
	/* Clipped to the request */
	expect_nr_runs(test, 3, 500, 1);
	expect_nr_runs(test, 511, 1, 1);
}

static void runs_test_part_of_folio(struct kunit *test)
{
	struct page *page = new_block(test, 9, true);

	lay(test, 0, page + 100, 50);
	lay(test, 50, page + 300, 70);
	map_layout(test, 120, 17);
	expect_nr_runs(test, 0, 120, 2);
	expect_nr_runs(test, 49, 2, 2);
}

/* The end of a folio meets its beginning */
static void runs_test_folio_turned(struct kunit *test)
{
	struct page *page = new_block(test, 9, true);

	lay(test, 0, page + 256, 256);
	lay(test, 256, page, 256);
	map_layout(test, 512, 0);
	expect_nr_runs(test, 0, 512, 2);
}

static void runs_test_folio_backwards(struct kunit *test)
{
	struct page *page = new_block(test, 7, true);
	int i;

	for (i = 0; i < 128; i++)
		lay(test, i, page + 127 - i, 1);
	map_layout(test, 128, 0);
	expect_nr_runs(test, 0, 128, 128);
}

/* A page that is there twice */
static void runs_test_same_page(struct kunit *test)
{
	struct page *page = new_block(test, 0, true);

	lay(test, 0, page, 1);
	lay(test, 1, page, 1);
	map_layout(test, 2, 0);
	expect_nr_runs(test, 0, 2, 2);
}

/* Folios that are neighbours make one run */
static void runs_test_small_folios(struct kunit *test)
{
	lay(test, 0, new_block(test, 6, false), 64);
	map_layout(test, 64, 5);
	expect_nr_runs(test, 0, 64, 1);
}

/* A run does not end with the page table */
static void runs_test_across_tables(struct kunit *test)
{
	lay(test, 0, new_block(test, MAX_PAGE_ORDER, true), 1024);
	map_layout(test, 1024, 300);
	expect_nr_runs(test, 0, 1024, 1);
	expect_nr_runs(test, TABLE_PAGES - 300 - 1, 2, 1);
}

/* Nor with the VMA */
static void runs_test_across_vmas(struct kunit *test)
{
	struct layout *l = test->priv;
	struct page *page = new_block(test, 6, true);
	unsigned long addr = test_reserve(test, SZ_1M, 40);

	lay(test, 0, page, 64);
	l->addr = addr;
	test_mmap(test, l->file, addr, 30 * PAGE_SIZE, PROT_READ | PROT_WRITE,
		  MAP_SHARED, 0);
	test_mmap(test, l->file, addr + 30 * PAGE_SIZE, 34 * PAGE_SIZE,
		  PROT_READ | PROT_WRITE, MAP_SHARED, 30 * PAGE_SIZE);
	expect_nr_runs(test, 0, 64, 1);
	expect_nr_runs(test, 29, 2, 1);
}

/* But it does if the next VMA, with the same page table, must not be pinned */
static void runs_test_end_of_vma(struct kunit *test)
{
	struct layout *l = test->priv;
	unsigned long addr = test_reserve(test, SZ_1M, 0);
	unsigned int nr_runs = MAX_RUNS;

	lay(test, 0, new_block(test, 6, true), 64);
	l->addr = addr;
	l->io_from = 40;
	test_mmap(test, l->file, addr, 40 * PAGE_SIZE, PROT_READ | PROT_WRITE,
		  MAP_SHARED, 0);
	test_mmap(test, l->file, addr + 40 * PAGE_SIZE, 24 * PAGE_SIZE,
		  PROT_READ | PROT_WRITE, MAP_SHARED, 40 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, pin_runs(l, l->addr, 64, FOLL_WRITE, &nr_runs), 40);
	KUNIT_EXPECT_EQ(test, expect_runs(test, l->pages, 64, nr_runs), 40);
	unpin_runs(l, nr_runs);
	expect_pins(test, l->pages, 0);
	nr_runs = MAX_RUNS;
	KUNIT_EXPECT_EQ(test, pin_runs(l, l->addr + 40 * PAGE_SIZE, 1, FOLL_WRITE,
				       &nr_runs), -EFAULT);
	KUNIT_EXPECT_EQ(test, nr_runs, 0);
}

/* Reserved pages do not share a run with others */
static void runs_test_reserved(struct kunit *test)
{
	struct page *page = new_block(test, 5, false);
	int i;

	for (i = 8; i < 12; i++)
		SetPageReserved(page + i);
	SetPageReserved(page + 31);
	lay(test, 0, page, 32);
	map_layout(test, 32, 0);
	expect_nr_runs(test, 0, 32, 4);
	expect_nr_runs(test, 7, 2, 2);
	expect_nr_runs(test, 8, 4, 1);
}

/* Many mappings of the zero page, whose references are never counted */
static void runs_test_zero_page(struct kunit *test)
{
	struct layout *l = test->priv;
	unsigned int nr_runs = MAX_RUNS;
	struct file *file;

	lay(test, 0, new_block(test, 4, false), 16);
	l->pages[3] = ZERO_PAGE(0);
	l->pages[4] = ZERO_PAGE(0);

	/* Only callers that never write may have the zero page */
	file = anon_inode_getfile("gup_runs", &layout_fops, l, O_RDONLY);
	KUNIT_ASSERT_FALSE(test, IS_ERR(file));
	l->addr = test_reserve(test, SZ_1M, 0);
	test_mmap(test, file, l->addr, 16 * PAGE_SIZE, PROT_READ, MAP_SHARED, 0);
	fput(file);

	KUNIT_EXPECT_EQ(test, pin_runs(l, l->addr, 16, 0, &nr_runs), 16);
	KUNIT_EXPECT_EQ(test, nr_runs, 4);
	KUNIT_EXPECT_EQ(test, expect_runs(test, l->pages, 16, nr_runs), 16);
	expect_pins(test, l->pages, 16);
	unpin_runs(l, nr_runs);
	expect_pins(test, l->pages, 0);
}

/* A hole at each place: only the pages before it are pinned */
static void runs_test_hole(struct kunit *test)
{
	struct layout *l = test->priv;
	struct page *page = new_block(test, 4, true);
	struct page *small = new_block(test, 4, false);
	int i;

	lay(test, 0, page + 4, 12);
	lay(test, 12, small, 16);
	lay(test, 28, page, 4);
	for (i = 0; i < 32; i++) {
		struct page *was = l->pages[i];

		l->pages[i] = NULL;
		map_layout(test, 32, TABLE_PAGES - 20);
		expect_pinned(test, 0, 32, MAX_RUNS);
		expect_pinned(test, i ? i - 1 : 0, 8, MAX_RUNS);
		KUNIT_EXPECT_EQ(test, vm_munmap(l->addr, 32 * PAGE_SIZE), 0);
		l->pages[i] = was;
	}
}

/* With room for few runs, the next calls return the rest */
static void runs_test_out_of_runs(struct kunit *test)
{
	struct layout *l = test->priv;
	struct page *page = new_block(test, 6, true);
	unsigned int max;
	int i;

	for (i = 0; i < 16; i++)
		lay(test, 4 * i, page + 4 * (15 - i), 4);
	map_layout(test, 64, TABLE_PAGES - 30);
	for (max = 1; max <= 17; max++) {
		unsigned long done = 0;

		while (done < 64) {
			unsigned int nr_runs = max;
			long ret = pin_runs(l, l->addr + done * PAGE_SIZE,
					    64 - done, FOLL_WRITE, &nr_runs);

			KUNIT_ASSERT_GT(test, ret, 0);
			KUNIT_EXPECT_LE(test, nr_runs, max);
			KUNIT_EXPECT_EQ(test, expect_runs(test, l->pages + done,
							  64 - done, nr_runs), ret);
			unpin_runs(l, nr_runs);
			done += ret;
		}
		expect_pinned(test, 0, 64, max);
	}
}

/* Anything, in any order: pieces of folios of all sizes, reserved pages, holes */
static void runs_test_random(struct kunit *test)
{
	struct layout *l = test->priv;
	struct rnd_state rnd;
	int round, i;

	new_block(test, 9, true);
	new_block(test, MAX_PAGE_ORDER, true);
	new_block(test, 4, true);
	new_block(test, 2, true);
	new_block(test, 1, true);
	new_block(test, 6, false);
	for (i = 0; i < 64; i += 7)
		SetPageReserved(l->block[5] + i);

	prandom_seed_state(&rnd, 6);
	for (round = 0; round < 15; round++) {
		unsigned int nr = 0, b, first, len;

		while (nr < 1500) {
			b = prandom_u32_state(&rnd) % l->nr_blocks;
			first = prandom_u32_state(&rnd) % (1 << l->order[b]);
			len = 1 + prandom_u32_state(&rnd) % ((1 << l->order[b]) - first);
			lay(test, nr, l->block[b] + first, min(len, 1500 - nr));
			nr += min(len, 1500 - nr);
		}
		if (round % 3 == 0)
			l->pages[prandom_u32_state(&rnd) % nr] = NULL;
		map_layout(test, nr, prandom_u32_state(&rnd) % TABLE_PAGES);
		for (i = 0; i < 10; i++) {
			first = prandom_u32_state(&rnd) % nr;
			len = 1 + prandom_u32_state(&rnd) % (nr - first);
			expect_pinned(test, first, len,
				      1 + prandom_u32_state(&rnd) % MAX_RUNS);
		}
		KUNIT_EXPECT_EQ(test, vm_munmap(l->addr, nr * PAGE_SIZE), 0);
	}
}

/*
 * Another task waits for the mmap_lock
 */

struct waiter {
	struct mm_struct *mm;
	struct completion done;
};

static int wait_for_mmap_lock(void *data)
{
	struct waiter *w = data;

	mmap_write_lock(w->mm);
	mmap_write_unlock(w->mm);
	complete(&w->done);

	return 0;
}

static void runs_test_contended(struct kunit *test)
{
	struct layout *l = test->priv;
	struct waiter w;
	unsigned int nr_runs = MAX_RUNS;
	struct task_struct *task;
	long ret = 0;
	int i;

	lay(test, 0, new_block(test, MAX_PAGE_ORDER, true), 1024);
	map_layout(test, 1024, 500);
	w.mm = current->mm;
	init_completion(&w.done);

	mmap_read_lock(current->mm);
	task = kthread_run(wait_for_mmap_lock, &w, "gup_runs");
	if (!IS_ERR(task)) {
		for (i = 0; i < 1000 && !mmap_lock_is_contended(current->mm); i++)
			schedule_timeout_uninterruptible(1);
		ret = pin_user_page_runs_remote(current->mm, l->addr, 1024,
						FOLL_WRITE, l->runs, &nr_runs);
	}
	mmap_read_unlock(current->mm);
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	wait_for_completion(&w.done);

	/* The leaf, or row of them, that makes it 2 MiB is the last one */
	KUNIT_EXPECT_EQ(test, ret, TABLE_PAGES - 500 + TABLE_PAGES);
	KUNIT_ASSERT_EQ(test, nr_runs, 1);
	KUNIT_EXPECT_EQ(test, expect_runs(test, l->pages, 1024, 1), ret);
	unpin_runs(l, nr_runs);
	expect_pins(test, l->pages, 0);
}

/*
 * Memory as user space has it
 */

/* The pages that pin_user_pages_remote() finds: @nr pointers, to be freed */
static struct page **pages_at(struct kunit *test, unsigned long addr,
			      unsigned long nr)
{
	struct page **pages = kvcalloc(nr, sizeof(*pages), GFP_KERNEL);
	long ret;

	KUNIT_ASSERT_NOT_NULL(test, pages);
	mmap_read_lock(current->mm);
	ret = pin_user_pages_remote(current->mm, addr, nr,
				    FOLL_WRITE | FOLL_LONGTERM, pages, NULL);
	mmap_read_unlock(current->mm);
	if (ret > 0)
		unpin_user_pages(pages, ret);
	KUNIT_EXPECT_EQ(test, ret, nr);

	return pages;
}

static unsigned int expect_same(struct kunit *test, unsigned long addr,
				unsigned long nr)
{
	struct layout *l = test->priv;
	unsigned int nr_runs = MAX_RUNS;
	struct page **pages;
	long ret;

	/* First, so that it is this function which faults pages in */
	ret = pin_runs(l, addr, nr, FOLL_WRITE, &nr_runs);
	KUNIT_EXPECT_EQ(test, ret, nr);
	pages = pages_at(test, addr, nr);
	KUNIT_EXPECT_EQ(test, expect_runs(test, pages, nr, nr_runs), nr);
	kvfree(pages);
	unpin_runs(l, nr_runs);

	return nr_runs;
}

static void expect_refs(struct kunit *test, unsigned long addr,
			unsigned long nr, unsigned int order)
{
	struct page **pages = pages_at(test, addr, nr);
	unsigned long i;

	for (i = 0; i < nr; i++) {
		struct folio *folio = page_folio(pages[i]);

		KUNIT_EXPECT_EQ(test, folio_order(folio), order);
		KUNIT_EXPECT_EQ(test, pins(folio), 0);
	}
	kvfree(pages);
}

static void runs_test_thp(struct kunit *test)
{
	unsigned long addr = test_reserve(test, 4 * PMD_SIZE, 0);

	map_anon(test, addr, 4 * PMD_SIZE);
	expect_same(test, addr + 3 * PAGE_SIZE, 4 * TABLE_PAGES - 7);
	KUNIT_EXPECT_LE(test, expect_same(test, addr, 4 * TABLE_PAGES), 4);
	KUNIT_EXPECT_EQ(test, expect_same(test, addr + PMD_SIZE, TABLE_PAGES), 1);
	/* The bound of two huge pages */
	expect_same(test, addr + PMD_SIZE - PAGE_SIZE, 2);
	expect_refs(test, addr, 4 * TABLE_PAGES, PMD_ORDER);
}

/* A huge page with its middle unmapped, and other memory there */
static void runs_test_thp_remainder(struct kunit *test)
{
	unsigned long addr = test_reserve(test, 2 * PMD_SIZE, 0);
	unsigned long middle = addr + 100 * PAGE_SIZE;
	int i;

	map_anon(test, addr, 2 * PMD_SIZE);
	expect_refs(test, addr, 2 * TABLE_PAGES, PMD_ORDER);
	KUNIT_ASSERT_EQ(test, vm_munmap(middle, 9 * PAGE_SIZE), 0);
	map_anon(test, middle, 9 * PAGE_SIZE);
	for (i = 0; i < 9; i++)
		expect_same(test, middle + i * PAGE_SIZE, 1);
	expect_same(test, addr, 2 * TABLE_PAGES);
	expect_same(test, middle - PAGE_SIZE, 2);
	expect_same(test, middle + 8 * PAGE_SIZE, 2);
	KUNIT_EXPECT_EQ(test, expect_same(test, addr, 100), 1);
}

static unsigned long mmap_hugetlb(struct kunit *test, const char *dir,
				  unsigned long size, unsigned long page_size)
{
	struct file *file;
	unsigned long addr;

	if (!__is_defined(MODULE))
		kunit_skip(test, "built in, it runs before hugetlbfs can be mounted");
	file = filp_open(dir, O_TMPFILE | O_RDWR, 0600);
	KUNIT_ASSERT_FALSE_MSG(test, IS_ERR(file), "%s: %ld, is it mounted?",
			       dir, PTR_ERR(file));
	addr = test_mmap(test, NULL, 0, size + page_size, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS, 0);
	addr = ALIGN(addr, page_size);
	test_mmap(test, file, addr, size, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	filp_close(file, NULL);

	return addr;
}

static void runs_test_hugetlb_2m(struct kunit *test)
{
	unsigned long addr = mmap_hugetlb(test, "/dev/hugepages", 4 * SZ_2M, SZ_2M);

	KUNIT_EXPECT_LE(test, expect_same(test, addr, 4 * TABLE_PAGES), 4);
	KUNIT_EXPECT_EQ(test, expect_same(test, addr + SZ_2M, TABLE_PAGES), 1);
	expect_same(test, addr + 5 * PAGE_SIZE, 3 * TABLE_PAGES);
	expect_same(test, addr + SZ_2M - PAGE_SIZE, 2);
	expect_refs(test, addr, 4 * TABLE_PAGES, PMD_ORDER);
}

static void runs_test_hugetlb_1g(struct kunit *test)
{
	unsigned long addr = mmap_hugetlb(test, "/dev/hugepages1G", SZ_1G, SZ_1G);

	KUNIT_EXPECT_EQ(test, expect_same(test, addr, SZ_1G / PAGE_SIZE), 1);
	KUNIT_EXPECT_EQ(test, expect_same(test, addr + 5 * PAGE_SIZE, 1000), 1);
	KUNIT_EXPECT_EQ(test, expect_same(test, addr + SZ_1G - PAGE_SIZE, 1), 1);
	expect_refs(test, addr, 8, PUD_ORDER);
}

/*
 * Memory that must not be pinned where it is
 */

static void unisolate(void *data)
{
	unsigned long pfn = (unsigned long)data;

	undo_isolate_page_range(pfn, pfn + pageblock_nr_pages, MIGRATE_MOVABLE);
}

/* Pin @nr pages; those in the pageblock at @pfn have to be migrated before. */
static void expect_moved(struct kunit *test, unsigned long addr,
			 unsigned long nr, unsigned long pfn, unsigned long want)
{
	struct layout *l = test->priv;
	unsigned int nr_runs = MAX_RUNS, r;
	unsigned long i, value;

	for (i = 0; i < nr; i++)
		KUNIT_ASSERT_EQ(test, 0,
				put_user(pfn + i, (unsigned long __user *)
						  (addr + i * PAGE_SIZE)));

	KUNIT_EXPECT_EQ(test, pin_runs(l, addr, nr, FOLL_WRITE, &nr_runs), want);
	for (r = 0; r < nr_runs; r++) {
		unsigned long first = page_to_pfn(l->runs[r].page);

		KUNIT_EXPECT_TRUE_MSG(test, first + l->runs[r].nr_pages <= pfn ||
				      first >= pfn + pageblock_nr_pages,
				      "run %u has not moved", r);
	}
	unpin_runs(l, nr_runs);

	for (i = 0; i < nr; i++) {
		value = 0;
		KUNIT_EXPECT_EQ(test, 0,
				get_user(value, (unsigned long __user *)
						(addr + i * PAGE_SIZE)));
		KUNIT_EXPECT_EQ_MSG(test, value, pfn + i, "page %lu", i);
	}
}

/* Isolate a pageblock, as offlining does: none of its pages may be pinned for long. */
static bool isolate(struct kunit *test, unsigned long pfn)
{
	if (start_isolate_page_range(pfn, pfn + pageblock_nr_pages,
				     MIGRATE_MOVABLE, 0, GFP_KERNEL))
		return false;
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, unisolate, (void *)pfn));

	return true;
}

/* The second of three: one migration moves as much, so the third need not move */
static void runs_test_movable_thp(struct kunit *test)
{
	unsigned long addr = test_reserve(test, 3 * PMD_SIZE, 0);
	struct page **pages;
	unsigned long pfn;

	if (!IS_ENABLED(CONFIG_CMA))
		kunit_skip(test, "isolated memory may be pinned without CMA");
	if (pageblock_order != PMD_ORDER)
		kunit_skip(test, "a huge page is not a pageblock");
	map_anon(test, addr, 3 * PMD_SIZE);
	pages = pages_at(test, addr, 3 * TABLE_PAGES);
	pfn = page_to_pfn(pages[TABLE_PAGES]);
	kvfree(pages);

	KUNIT_ASSERT_TRUE(test, isolate(test, pfn));
	expect_moved(test, addr, 3 * TABLE_PAGES, pfn, 2 * TABLE_PAGES);
	expect_refs(test, addr, 3 * TABLE_PAGES, PMD_ORDER);
}

/* A row of pages of which only the last ones are in the pageblock */
static void runs_test_movable_row(struct kunit *test)
{
	const unsigned long nr = TABLE_PAGES - 1;
	unsigned long addr[32];
	unsigned int a;

	if (!IS_ENABLED(CONFIG_CMA))
		kunit_skip(test, "isolated memory may be pinned without CMA");
	/* With all page tables there, no unmovable memory gets in between */
	for (a = 0; a < ARRAY_SIZE(addr); a++) {
		addr[a] = test_reserve(test, nr * PAGE_SIZE, 0);
		map_anon(test, addr[a], nr * PAGE_SIZE);
		kvfree(pages_at(test, addr[a], 1));
	}

	/* New memory mostly comes in ascending order: look for a boundary */
	for (a = 0; a < ARRAY_SIZE(addr) - 2; a++) {
		struct page **pages = pages_at(test, addr[a], nr);
		unsigned long pfn, i;

		for (i = 8; i < nr - 8; i++) {
			pfn = page_to_pfn(pages[i]);
			if (pageblock_aligned(pfn) &&
			    page_to_pfn(pages[i - 8]) == pfn - 8 &&
			    page_to_pfn(pages[i + 7]) == pfn + 7)
				break;
		}
		kvfree(pages);
		if (i == nr - 8)
			continue;
		/* Pages that are not on the LRU lists yet cannot move: get well past them */
		kvfree(pages_at(test, addr[a + 1], nr));
		kvfree(pages_at(test, addr[a + 2], nr));
		if (!isolate(test, pfn))
			continue;

		expect_moved(test, addr[a] + (i - 8) * PAGE_SIZE, 16, pfn, 16);
		expect_refs(test, addr[a], nr, 0);
		return;
	}
	KUNIT_FAIL(test, "no pages found that are neighbours across a pageblock");
}

static struct kunit_case gup_runs_cases[] = {
	KUNIT_CASE(runs_test_whole_folio),
	KUNIT_CASE(runs_test_part_of_folio),
	KUNIT_CASE(runs_test_folio_turned),
	KUNIT_CASE(runs_test_folio_backwards),
	KUNIT_CASE(runs_test_same_page),
	KUNIT_CASE(runs_test_small_folios),
	KUNIT_CASE(runs_test_across_tables),
	KUNIT_CASE(runs_test_across_vmas),
	KUNIT_CASE(runs_test_end_of_vma),
	KUNIT_CASE(runs_test_reserved),
	KUNIT_CASE(runs_test_zero_page),
	KUNIT_CASE(runs_test_hole),
	KUNIT_CASE(runs_test_out_of_runs),
	KUNIT_CASE_SLOW(runs_test_random),
	KUNIT_CASE(runs_test_contended),
	KUNIT_CASE(runs_test_thp),
	KUNIT_CASE(runs_test_thp_remainder),
	KUNIT_CASE(runs_test_hugetlb_2m),
	KUNIT_CASE_SLOW(runs_test_hugetlb_1g),
	KUNIT_CASE(runs_test_movable_thp),
	KUNIT_CASE_SLOW(runs_test_movable_row),
	{ }
};

static struct kunit_suite gup_runs_suite = {
	.name = "gup_runs",
	.init = gup_runs_init,
	.exit = gup_runs_exit,
	.test_cases = gup_runs_cases,
};

kunit_test_suite(gup_runs_suite);

MODULE_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
MODULE_DESCRIPTION("KUnit suite for pin_user_page_runs_remote()");
MODULE_LICENSE("GPL");
