// SPDX-License-Identifier: GPL-2.0
/*
 * PG_zeroed in the page allocator: where it is kept, where it has to be dropped,
 * and which blocks are handed out.
 *
 * The tests work on blocks of MAX_PAGE_ORDER of the running kernel's own free
 * memory (free_blocks.h), and call the functions that a page reporting client
 * calls.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/gfp.h>
#include <linux/kasan.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/page-isolation.h>
#include <linux/page_prezero.h>
#include <linux/pagevec.h>
#include <linux/sched.h>
#include <linux/vmstat.h>

#include "mm/internal.h"
#include "mm/page_prezero.h"
#include "mm/shuffle.h"

#include "free_blocks.h"

#define HALF_ORDER	(BLOCK_ORDER - 1)

static void disable(void *unused)
{
	page_prezero_disable();
}

static int page_prezero_test_init(struct kunit *test)
{
	int err;

	if (page_prezero_enabled())
		kunit_skip(test, "a module clears free memory: unload it first");
	if (want_init_on_free() || want_init_on_alloc(0))
		kunit_skip(test, "init_on_free or init_on_alloc is set: boot without");
	err = page_prezero_enable();
	if (err == -EOPNOTSUPP)
		kunit_skip(test, "not for this machine, see the line above");
	KUNIT_ASSERT_EQ(test, err, 0);
	test_stay_on_cpu(test);

	return kunit_add_action_or_reset(test, disable, NULL);
}

/* A block that reads as zeroes. */
static struct free_block *take_zeroes(struct kunit *test)
{
	struct free_block *b = free_block_take(test);

	fill_pages(b->page, BLOCK_ORDER, 0);

	return b;
}

/* All of the block is free, none of it with PG_zeroed. */
static void expect_free_not_zeroed(struct kunit *test, struct free_block *b)
{
	struct free_block_state st;

	free_block_state(b, &st);
	KUNIT_EXPECT_EQ(test, st.free, BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, st.zeroed, 0);
	KUNIT_EXPECT_EQ(test, st.stray, 0);
}

/* Allocated pages have no trace of what the allocator kept in them. */
static void expect_no_trace(struct kunit *test, struct page *page,
			    unsigned int order)
{
	unsigned int i, flagged = 0, private = 0;

	for (i = 0; i < 1 << order; i++) {
		flagged += PagePrivate(page + i);
		private += !!page_private(page + i);
	}
	KUNIT_EXPECT_EQ_MSG(test, flagged, 0, "PG_private, order %u", order);
	KUNIT_EXPECT_EQ_MSG(test, private, 0, "page->private, order %u", order);
}

static void order_desc(const unsigned int *order, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "order %u", *order);
}

/* Orders below that of the block, and those of per-cpu lists */
static const unsigned int part_orders[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 };

static const unsigned int pcp_orders[] = {
	0, 1, 2, 3,
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
	HPAGE_PMD_ORDER,
#endif
};

static const unsigned int all_orders[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 };

KUNIT_ARRAY_PARAM(part_order, part_orders, order_desc);
KUNIT_ARRAY_PARAM(pcp_order, pcp_orders, order_desc);
KUNIT_ARRAY_PARAM(all_order, all_orders, order_desc);

/*
 * Where the flag comes from
 */
static void return_test_zeroed_is_flagged(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	struct free_block_state st;

	free_block_give(b, 0, BLOCK_ORDER, true);
	free_block_state(b, &st);
	KUNIT_EXPECT_EQ(test, st.nr_zeroed[BLOCK_ORDER], 1);
	KUNIT_EXPECT_EQ(test, st.wrong, 0);
	KUNIT_EXPECT_EQ(test, st.stray, 0);
}

static void return_test_not_zeroed_is_not_flagged(struct kunit *test)
{
	struct free_block *b = free_block_take(test);

	free_block_give(b, 0, BLOCK_ORDER, false);
	expect_free_not_zeroed(test, b);
}

/* The value that an owner has left in page->private means nothing. */
static void return_test_other_private(struct kunit *test)
{
	struct free_block *b = free_block_take(test);
	unsigned long flags;

	spin_lock_irqsave(&b->zone->lock, flags);
	set_page_private(b->page, 1);
	__return_free_page(b->page, BLOCK_ORDER);
	bitmap_zero(b->ours, BLOCK_PAGES);
	spin_unlock_irqrestore(&b->zone->lock, flags);
	expect_free_not_zeroed(test, b);
}

/* Taking a block off the free lists drops the flag. */
static void borrow_test_drops_flag(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	unsigned long flags;

	free_block_give(b, 0, BLOCK_ORDER, true);
	KUNIT_ASSERT_TRUE(test, free_block_grab(b, 0, BLOCK_ORDER));
	KUNIT_EXPECT_FALSE(test, PageZeroed(b->page));
	KUNIT_EXPECT_EQ(test, page_private(b->page), 0);
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 0);

	spin_lock_irqsave(&b->zone->lock, flags);
	__return_free_page(b->page, BLOCK_ORDER);
	bitmap_zero(b->ours, BLOCK_PAGES);
	spin_unlock_irqrestore(&b->zone->lock, flags);
	expect_free_not_zeroed(test, b);
}

static void return_test_not_allowed(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	struct free_block_state st;
	unsigned long flags;

	spin_lock_irqsave(&b->zone->lock, flags);
	page_prezero_allowed = false;
	__free_block_give(b, 0, BLOCK_ORDER, true);
	__free_block_state(b, &st);
	page_prezero_allowed = true;
	spin_unlock_irqrestore(&b->zone->lock, flags);

	KUNIT_EXPECT_EQ(test, st.free, BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, st.zeroed, 0);
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 0);
}

static void return_test_feature_off(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);

	page_prezero_disable();
	free_block_give(b, 0, BLOCK_ORDER, true);
	expect_free_not_zeroed(test, b);
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 0);
}

/*
 * Splitting
 */
static void expand_test_hands_flag_to_remainders(struct kunit *test)
{
	const unsigned int low = *(const unsigned int *)test->param_value;
	struct free_block *b = take_zeroes(test);
	struct free_block_state *left = &b->left;
	unsigned int order;

	pcp_off(b);
	hide_free_blocks(b, false);
	free_block_alloc(b, true, TEST_GFP | __GFP_ZERO, low);

	KUNIT_EXPECT_EQ(test, left->free, BLOCK_PAGES - (1 << low));
	KUNIT_EXPECT_EQ(test, left->zeroed, left->free);
	for (order = low; order < BLOCK_ORDER; order++)
		KUNIT_EXPECT_EQ_MSG(test, left->nr_zeroed[order], 1,
				    "remainder of order %u", order);
	KUNIT_EXPECT_EQ(test, left->wrong, 0);
	KUNIT_EXPECT_EQ(test, left->stray, 0);
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), left->zeroed);
}

static void expand_test_dirty_block(struct kunit *test)
{
	const unsigned int low = *(const unsigned int *)test->param_value;
	struct free_block *b = free_block_take(test);

	pcp_off(b);
	hide_free_blocks(b, false);
	free_block_alloc(b, false, TEST_GFP, low);

	KUNIT_EXPECT_EQ(test, b->left.free, BLOCK_PAGES - (1 << low));
	KUNIT_EXPECT_EQ(test, b->left.zeroed, 0);
}

/* A whole block changes its type on the way out. */
static void steal_test_hands_flag_to_remainders(struct kunit *test)
{
	const gfp_t gfp = (TEST_GFP & ~__GFP_MOVABLE) | __GFP_RECLAIMABLE;
	struct free_block *b = take_zeroes(test);
	unsigned long hit;
	struct page *page;

	pcp_off(b);
	hide_free_blocks(b, true);
	hit = vm_event(PREZERO_HIT);
	page = free_block_alloc(b, true, gfp | __GFP_ZERO, 4);

	KUNIT_EXPECT_EQ(test, b->left.free, BLOCK_PAGES - 16);
	KUNIT_EXPECT_EQ(test, b->left.zeroed, BLOCK_PAGES - 16);
	KUNIT_EXPECT_EQ(test, vm_event(PREZERO_HIT) - hit, 16);
	KUNIT_EXPECT_TRUE(test, pages_read_as(page, 4, 0));
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), BLOCK_PAGES - 16);
}

/*
 * Merging: puts two halves of a block of the next order on the free lists.
 * Returns whether the merged block has the flag.
 */
static bool merged_is_zeroed(struct free_block *b, unsigned int order,
			     bool zeroed1, bool zeroed2, bool backwards)
{
	unsigned int half = 1 << order;
	bool merged, zeroed;
	unsigned long flags;

	fill_pages(b->page, order, zeroed1 ? 0 : 0xa5);
	fill_pages(b->page + half, order, zeroed2 ? 0 : 0xa5);

	spin_lock_irqsave(&b->zone->lock, flags);
	if (backwards) {
		__free_block_give(b, half, order, zeroed2);
		__free_block_give(b, 0, order, zeroed1);
	} else {
		__free_block_give(b, 0, order, zeroed1);
		__free_block_give(b, half, order, zeroed2);
	}
	zeroed = PageZeroed(b->page);
	merged = __free_block_grab(b, 0, order + 1);
	spin_unlock_irqrestore(&b->zone->lock, flags);

	KUNIT_EXPECT_TRUE_MSG(b->test, merged, "not merged, order %u", order);

	return zeroed;
}

static void merge_test_zeroed_with_zeroed(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	struct free_block *b = free_block_take(test);

	KUNIT_EXPECT_TRUE(test, merged_is_zeroed(b, order, true, true, false));
	KUNIT_EXPECT_TRUE(test, merged_is_zeroed(b, order, true, true, true));
}

static void merge_test_zeroed_with_dirty(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	struct free_block *b = free_block_take(test);

	KUNIT_EXPECT_FALSE(test, merged_is_zeroed(b, order, true, false, false));
	KUNIT_EXPECT_FALSE(test, merged_is_zeroed(b, order, true, false, true));
}

static void merge_test_dirty_with_zeroed(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	struct free_block *b = free_block_take(test);

	KUNIT_EXPECT_FALSE(test, merged_is_zeroed(b, order, false, true, false));
	KUNIT_EXPECT_FALSE(test, merged_is_zeroed(b, order, false, true, true));
}

static void merge_test_dirty_with_dirty(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	struct free_block *b = free_block_take(test);

	KUNIT_EXPECT_FALSE(test, merged_is_zeroed(b, order, false, false, false));
}

/* Single pages, in random order: a flag lost at one merge stays lost. */
static void merge_pages(struct free_block *b, unsigned int dirty,
			struct free_block_state *st)
{
	unsigned long flags;
	unsigned int i, off;

	spin_lock_irqsave(&b->zone->lock, flags);
	for (i = 0; i < BLOCK_PAGES; i++) {
		off = i * 385 % BLOCK_PAGES;
		__free_block_give(b, off, 0, off != dirty);
	}
	__free_block_state(b, st);
	spin_unlock_irqrestore(&b->zone->lock, flags);
}

static void merge_test_all_pages(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	struct free_block_state st;

	merge_pages(b, BLOCK_PAGES, &st);
	KUNIT_EXPECT_EQ(test, st.nr_zeroed[BLOCK_ORDER], 1);
	KUNIT_EXPECT_EQ(test, st.wrong, 0);
	KUNIT_EXPECT_EQ(test, st.stray, 0);
}

static void merge_test_one_page_dirty(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	struct free_block_state st;

	fill_pages(b->page + 777, 0, 1);
	merge_pages(b, 777, &st);
	KUNIT_EXPECT_EQ(test, st.nr[BLOCK_ORDER], 1);
	KUNIT_EXPECT_EQ(test, st.zeroed, 0);
	KUNIT_EXPECT_EQ(test, st.stray, 0);
}

/*
 * Other ways out of the free lists
 */
static void isolate_free_page_test_drops_flag(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	struct free_block_state st;
	bool flagged, private;
	unsigned long flags;
	int isolated;

	spin_lock_irqsave(&b->zone->lock, flags);
	__free_block_give(b, 0, BLOCK_ORDER, true);
	isolated = __isolate_free_page(b->page, BLOCK_ORDER);
	flagged = PageZeroed(b->page);
	private = page_private(b->page);
	__putback_isolated_page(b->page, BLOCK_ORDER, MIGRATE_MOVABLE);
	__free_block_state(b, &st);
	spin_unlock_irqrestore(&b->zone->lock, flags);

	KUNIT_EXPECT_EQ(test, isolated, BLOCK_PAGES);
	KUNIT_EXPECT_FALSE(test, flagged);
	KUNIT_EXPECT_FALSE(test, private);
	KUNIT_EXPECT_EQ(test, st.free, BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, st.zeroed, 0);
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 0);
}

/* Isolation splits a block larger than a pageblock, which drops the flag. */
static void isolate_range_test_splits_block(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);

	free_block_give(b, 0, BLOCK_ORDER, true);
	free_block_isolate(b, 0, BLOCK_PAGES);
	expect_free_not_zeroed(test, b);
	free_block_unisolate(b);
	expect_free_not_zeroed(test, b);
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 0);
}

/* A block of a pageblock or less goes to another free list of its order. */
static void isolate_range_test_moves_block(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	struct free_block_state st;

	fill_pages(b->page + 256, 8, 0xa5);
	free_block_give(b, 0, 7, true);
	free_block_give(b, 256, 7, false);

	free_block_isolate(b, 0, pageblock_nr_pages);
	free_block_state(b, &st);
	KUNIT_EXPECT_EQ(test, st.nr[7], 2);
	KUNIT_EXPECT_TRUE(test, free_block_is_zeroed(b, 0, 7));
	KUNIT_EXPECT_FALSE(test, free_block_is_zeroed(b, 256, 7));
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 128);

	free_block_unisolate(b);
	KUNIT_EXPECT_TRUE(test, free_block_is_zeroed(b, 0, 7));
	KUNIT_EXPECT_FALSE(test, free_block_is_zeroed(b, 256, 7));
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 128);
}

/* Two halves that isolation has kept apart are merged when it ends. */
static void unisolate_test_merges_with_dirty(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	struct free_block_state st;

	if (pageblock_order != HALF_ORDER)
		kunit_skip(test, "a block is not two pageblocks");
	free_block_isolate(b, 0, pageblock_nr_pages);
	fill_pages(b->page + pageblock_nr_pages, HALF_ORDER, 0xa5);
	free_block_give(b, 0, HALF_ORDER, true);
	free_block_give(b, pageblock_nr_pages, HALF_ORDER, false);
	free_block_state(b, &st);
	KUNIT_EXPECT_EQ(test, st.nr[HALF_ORDER], 2);
	KUNIT_EXPECT_EQ(test, st.nr_zeroed[HALF_ORDER], 1);

	free_block_unisolate(b);
	free_block_state(b, &st);
	KUNIT_EXPECT_EQ(test, st.nr[BLOCK_ORDER], 1);
	KUNIT_EXPECT_EQ(test, st.zeroed, 0);
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 0);
}

/* One of the pageblocks of a block is isolated while it is with a client. */
static void return_test_half_isolated(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	struct free_block_state st;

	if (pageblock_order != HALF_ORDER)
		kunit_skip(test, "a block is not two pageblocks");
	free_block_isolate(b, 0, pageblock_nr_pages);
	free_block_give(b, 0, BLOCK_ORDER, true);
	free_block_state(b, &st);
	KUNIT_EXPECT_EQ(test, st.nr[HALF_ORDER], 2);
	KUNIT_EXPECT_EQ(test, st.nr_zeroed[HALF_ORDER], 2);
	KUNIT_EXPECT_EQ(test, st.wrong, 0);
	KUNIT_EXPECT_EQ(test, st.stray, 0);
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), BLOCK_PAGES);

	free_block_unisolate(b);
	free_block_state(b, &st);
	KUNIT_EXPECT_EQ(test, st.free, BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, st.wrong, 0);
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), st.zeroed);
}

static void alloc_contig_range_test_drops_flag(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	unsigned long pfn = page_to_pfn(b->page);
	int err;

	free_block_give(b, 0, BLOCK_ORDER, true);
	err = alloc_contig_range(pfn, pfn + BLOCK_PAGES, MIGRATE_MOVABLE,
				 GFP_KERNEL);
	KUNIT_ASSERT_EQ(test, err, 0);
	expect_no_trace(test, b->page, BLOCK_ORDER);
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 0);

	fill_pages(b->page, BLOCK_ORDER, 0xa5);
	free_contig_range(pfn, BLOCK_PAGES);
	drain_all_pages(b->zone);
	expect_free_not_zeroed(test, b);
}

/*
 * Isolated pages have their order in page->private. It must not pass for "reads as
 * zeroes" when one request gets all of them as one page.
 */
static void alloc_contig_range_test_compound(struct kunit *test)
{
	struct free_block *b = free_block_take(test);
	unsigned long pfn = page_to_pfn(b->page);
	int err;

	fill_pages(b->page, BLOCK_ORDER, 0xa5);
	free_block_give(b, 0, BLOCK_ORDER, false);
	err = alloc_contig_range(pfn, pfn + BLOCK_PAGES, MIGRATE_MOVABLE,
				 GFP_KERNEL | __GFP_COMP | __GFP_ZERO);
	KUNIT_ASSERT_EQ(test, err, 0);
	KUNIT_EXPECT_TRUE(test, pages_read_as(b->page, BLOCK_ORDER, 0));

	free_contig_range(pfn, BLOCK_PAGES);
	drain_all_pages(b->zone);
	expect_free_not_zeroed(test, b);
}

#ifdef CONFIG_MEMORY_FAILURE
/* As memory_failure() and unpoison_memory() do it. */
static void take_page_off_buddy_test_drops_flag(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	struct page *page = b->page + 333;
	struct free_block_state st;

	free_block_give(b, 0, BLOCK_ORDER, true);
	KUNIT_ASSERT_TRUE(test, take_page_off_buddy(page));
	page_ref_inc(page);

	free_block_state(b, &st);
	KUNIT_EXPECT_EQ(test, st.free, BLOCK_PAGES - 1);
	KUNIT_EXPECT_EQ(test, st.zeroed, 0);
	KUNIT_EXPECT_EQ(test, st.stray, 0);
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 0);

	put_page_back_buddy(page);
	expect_free_not_zeroed(test, b);
}
#endif

#ifdef CONFIG_COMPACTION
/*
 * Memory that merges while a compacting task waits for it goes straight to that
 * task. Here its page->private still says that it reads as zeroes, although the
 * feature was switched off meanwhile.
 */
static void compaction_capture_test_drops_flag(struct kunit *test)
{
	struct free_block *b = free_block_take(test);
	struct compact_control cc = {
		.order = HALF_ORDER,
		.migratetype = MIGRATE_MOVABLE,
		.zone = b->zone,
		.direct_compaction = true,
	};
	struct capture_control capc = { .cc = &cc };
	unsigned long flags, private = 0;

	page_prezero_disable();
	spin_lock_irqsave(&b->zone->lock, flags);
	current->flags &= ~PF_KTHREAD;
	current->capture_control = &capc;
	__free_block_give(b, 0, HALF_ORDER, true);
	current->capture_control = NULL;
	current->flags |= PF_KTHREAD;
	if (capc.page) {
		free_block_adopt(b, 0, HALF_ORDER);
		private = page_private(capc.page);
	}
	spin_unlock_irqrestore(&b->zone->lock, flags);

	KUNIT_ASSERT_PTR_EQ(test, capc.page, b->page);
	KUNIT_EXPECT_EQ(test, private, 0);
}

/* The same with one half that reads as zeroes and one that does not. */
static void compaction_capture_test_merged(struct kunit *test)
{
	struct free_block *b = free_block_take(test);
	struct compact_control cc = {
		.order = HALF_ORDER,
		.migratetype = MIGRATE_MOVABLE,
		.zone = b->zone,
		.direct_compaction = true,
	};
	struct capture_control capc = { .cc = &cc };
	unsigned int quarter = 1 << (HALF_ORDER - 1);
	unsigned long flags, private = 0;

	spin_lock_irqsave(&b->zone->lock, flags);
	__free_block_give(b, quarter, HALF_ORDER - 1, false);
	current->flags &= ~PF_KTHREAD;
	current->capture_control = &capc;
	__free_block_give(b, 0, HALF_ORDER - 1, true);
	current->capture_control = NULL;
	current->flags |= PF_KTHREAD;
	if (capc.page) {
		free_block_adopt(b, 0, HALF_ORDER);
		private = page_private(capc.page) |
			  page_private(capc.page + quarter);
	}
	spin_unlock_irqrestore(&b->zone->lock, flags);

	KUNIT_ASSERT_PTR_EQ(test, capc.page, b->page);
	KUNIT_EXPECT_EQ(test, private, 0);
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 0);
}
#endif

/*
 * Allocated, written and freed
 */
static void free_test_dirtied_is_not_flagged(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	struct free_block *b = take_zeroes(test);
	struct page *page;

	pcp_off(b);
	hide_free_blocks(b, false);
	page = free_block_alloc(b, true, TEST_GFP | __GFP_ZERO, order);
	fill_pages(page, order, 0xa5);
	test_free(test, page, order);
	expect_free_not_zeroed(test, b);
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 0);
}

/* Owners may leave any value in page->private. */
static void free_test_private_of_owner(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	struct free_block *b = take_zeroes(test);
	struct page *page;

	pcp_off(b);
	hide_free_blocks(b, false);
	page = free_block_alloc(b, true, TEST_GFP | __GFP_ZERO, order);
	fill_pages(page, order, 0xa5);
	set_page_private(page, PAGE_PRIVATE_ZEROED);
	test_free(test, page, order);
	expect_free_not_zeroed(test, b);
}

/* free_unref_folios() keeps the order in page->private. */
static void free_folios_test_dirtied_is_not_flagged(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	struct free_block *b = take_zeroes(test);
	struct folio_batch fbatch;
	struct page *page;

	pcp_off(b);
	hide_free_blocks(b, false);
	page = free_block_alloc(b, true,
				TEST_GFP_USER | __GFP_COMP | __GFP_ZERO, order);
	fill_pages(page, order, 0xa5);

	folio_batch_init(&fbatch);
	folio_batch_add(&fbatch, page_folio(page));
	test_disown(test, page, order);
	folios_put(&fbatch);
	expect_free_not_zeroed(test, b);
}

static void free_test_split_pages(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	struct page *page;
	unsigned int i;

	page = free_block_alloc(b, true, TEST_GFP_USER | __GFP_ZERO,
				BLOCK_ORDER);
	fill_pages(page, BLOCK_ORDER, 0xa5);
	test_disown(test, page, BLOCK_ORDER);
	split_page(page, BLOCK_ORDER);
	expect_no_trace(test, page, BLOCK_ORDER);
	for (i = 0; i < BLOCK_PAGES; i++)
		__free_page(page + i);
	drain_all_pages(b->zone);
	expect_free_not_zeroed(test, b);
}

/*
 * Per-cpu lists
 */

/* Pages of a block that are on per-cpu lists and known there as zeroed */
static unsigned int zeroed_on_pcp(struct free_block *b, struct page *ours,
				  unsigned int order)
{
	unsigned int off, nr = 0;

	for (off = 0; off < BLOCK_PAGES; off++) {
		struct page *page = b->page + off;

		if (page >= ours && page < ours + (1 << order))
			continue;
		if (!PageBuddy(page) && !page_count(page))
			nr += page_private(page) == PAGE_PRIVATE_ZEROED;
	}

	return nr;
}

/*
 * Makes the allocator refill the per-cpu list of this CPU from a block with
 * PG_zeroed. Returns the page that was allocated for that.
 */
static struct page *pcp_refill(struct kunit *test, struct free_block *b,
			       unsigned int order, gfp_t gfp)
{
	struct page *page;
	int tries = 16;

	do {
		hide_free_blocks(b, false);
		drain_all_pages(b->zone);
		hide_free_blocks(b, false);
		page = free_block_alloc(b, true, gfp | __GFP_ZERO, order);
		if (zeroed_on_pcp(b, page, order))
			return page;

		/* Another task took or drained them: start again */
		test_free(test, page, order);
		drain_all_pages(b->zone);
		if (!free_block_grab(b, 0, BLOCK_ORDER))
			break;
		fill_pages(b->page, BLOCK_ORDER, 0);
	} while (--tries);
	KUNIT_FAIL_AND_ABORT(test, "none on the per-cpu list, order %u", order);

	return NULL;
}

static void pcp_test_keeps_flag(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	struct free_block *b = take_zeroes(test);
	struct free_block_state st;
	struct page *page;

	page = pcp_refill(test, b, order, TEST_GFP);
	drain_all_pages(b->zone);
	free_block_state(b, &st);
	KUNIT_EXPECT_EQ(test, st.free, BLOCK_PAGES - (1 << order));
	KUNIT_EXPECT_EQ(test, st.zeroed, st.free);
	KUNIT_EXPECT_EQ(test, st.wrong, 0);
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), st.zeroed);

	/* A page that was freed comes back without */
	fill_pages(page, order, 0xa5);
	test_free(test, page, order);
	drain_all_pages(b->zone);
	expect_free_not_zeroed(test, b);
}

/* Pages on the list are served from there as zeroed. */
static void pcp_test_serves_zeroes(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	struct free_block *b = take_zeroes(test);
	struct page *page;
	unsigned long hit;

	pcp_refill(test, b, order, TEST_GFP);
	hit = vm_event(PREZERO_HIT);
	page = alloc_pages(TEST_GFP | __GFP_ZERO, order);
	hit = vm_event(PREZERO_HIT) - hit;
	KUNIT_ASSERT_NOT_NULL(test, page);
	test_own(test, page, order);

	KUNIT_ASSERT_PTR_EQ(test, page, b->page + (1 << order));
	KUNIT_EXPECT_EQ(test, hit, 1 << order);
	KUNIT_EXPECT_TRUE(test, pages_read_as(page, order, 0));
	expect_no_trace(test, page, order);
}

/* Pages that are freed and allocated again by way of the per-cpu list only */
static void pcp_test_freed_page_is_cleared(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	struct free_block *b = take_zeroes(test);
	struct page *page, *again;
	int tries = 4096;

	page = pcp_refill(test, b, order, TEST_GFP);
	fill_pages(page, order, 0xa5);
	set_page_private(page, PAGE_PRIVATE_ZEROED);
	test_free(test, page, order);
	/* Zeroed pages on the list come first */
	do {
		again = alloc_pages(TEST_GFP | __GFP_ZERO, order);
		KUNIT_ASSERT_NOT_NULL(test, again);
		test_own(test, again, order);
	} while (again != page && --tries);

	KUNIT_ASSERT_PTR_EQ(test, again, page);
	KUNIT_EXPECT_TRUE(test, pages_read_as(page, order, 0));
}

static void pcp_test_forgotten(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	struct free_block *b = take_zeroes(test);
	struct free_block_state st;
	struct page *page;

	page = pcp_refill(test, b, order, TEST_GFP);
	page_prezero_forget();
	KUNIT_EXPECT_EQ(test, zeroed_on_pcp(b, page, order), 0);
	free_block_state(b, &st);
	KUNIT_EXPECT_EQ(test, st.zeroed, 0);
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 0);
}

/*
 * Allocating
 */
static void alloc_test_gfp_zero_of_zeroed(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	unsigned long taken, hit, miss;
	struct page *page;

	taken = vm_event(PREZERO_TAKEN);
	hit = vm_event(PREZERO_HIT);
	miss = vm_event(PREZERO_MISS);
	page = free_block_alloc(b, true, TEST_GFP | __GFP_ZERO, BLOCK_ORDER);

	KUNIT_EXPECT_EQ(test, vm_event(PREZERO_TAKEN) - taken, BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, vm_event(PREZERO_HIT) - hit, BLOCK_PAGES);
	KUNIT_EXPECT_LT(test, vm_event(PREZERO_MISS) - miss, BLOCK_PAGES);
	KUNIT_EXPECT_TRUE(test, pages_read_as(page, BLOCK_ORDER, 0));
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 0);
}

/*
 * To see that the allocator really does not write the memory, the test says that
 * a block reads as zeroes which does not.
 */
static void alloc_test_zeroed_is_not_written(struct kunit *test)
{
	struct free_block *b = free_block_take(test);
	struct page *page;

	page = free_block_alloc(b, true, TEST_GFP | __GFP_ZERO, BLOCK_ORDER);
	KUNIT_EXPECT_TRUE(test, pages_read_as(page, BLOCK_ORDER, 0xa5));
}

static void alloc_test_gfp_zero_of_dirty(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	struct free_block *b = free_block_take(test);
	unsigned long taken, hit, miss;
	struct page *page;

	pcp_off(b);
	hide_free_blocks(b, false);
	taken = vm_event(PREZERO_TAKEN);
	hit = vm_event(PREZERO_HIT);
	miss = vm_event(PREZERO_MISS);
	page = free_block_alloc(b, false, TEST_GFP | __GFP_ZERO, order);

	KUNIT_EXPECT_EQ(test, vm_event(PREZERO_TAKEN) - taken, 0);
	KUNIT_EXPECT_EQ(test, vm_event(PREZERO_HIT) - hit, 0);
	KUNIT_EXPECT_GE(test, vm_event(PREZERO_MISS) - miss, 1 << order);
	KUNIT_EXPECT_TRUE(test, pages_read_as(page, order, 0));
}

/* From a per-cpu list with zeroed pages only */
static void alloc_test_zeroes_not_wanted(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	unsigned long taken, hit, miss;
	struct page *page;

	pcp_refill(test, b, pageblock_order, TEST_GFP);

	taken = vm_event(PREZERO_TAKEN);
	hit = vm_event(PREZERO_HIT);
	miss = vm_event(PREZERO_MISS);
	page = alloc_pages(TEST_GFP, pageblock_order);
	KUNIT_ASSERT_NOT_NULL(test, page);
	test_own(test, page, pageblock_order);

	KUNIT_EXPECT_GE(test, vm_event(PREZERO_TAKEN) - taken,
			pageblock_nr_pages);
	KUNIT_EXPECT_LT(test, vm_event(PREZERO_HIT) - hit, pageblock_nr_pages);
	KUNIT_EXPECT_LT(test, vm_event(PREZERO_MISS) - miss,
			pageblock_nr_pages);
}

static void alloc_test_no_trace_in_page(struct kunit *test)
{
	const unsigned int order = *(const unsigned int *)test->param_value;
	struct free_block *b = take_zeroes(test);
	struct page *page;

	pcp_off(b);
	hide_free_blocks(b, false);
	page = free_block_alloc(b, true, TEST_GFP_USER | __GFP_ZERO, order);
	expect_no_trace(test, page, order);
	KUNIT_EXPECT_FALSE(test, page_is_pfmemalloc(page));
}

/* Pages that were each said to read as zeroes before they merged */
static void alloc_test_no_trace_of_merging(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	struct free_block_state st;
	struct page *page;

	merge_pages(b, BLOCK_PAGES, &st);
	KUNIT_EXPECT_EQ(test, st.zeroed, BLOCK_PAGES);
	page = free_block_alloc(b, true, TEST_GFP_USER | __GFP_ZERO,
				BLOCK_ORDER);
	expect_no_trace(test, page, BLOCK_ORDER);
}

static struct page *alloc_of_test(struct kunit *test, gfp_t gfp,
				  unsigned int order)
{
	struct page *page = alloc_pages(TEST_GFP | gfp, order);

	KUNIT_ASSERT_NOT_NULL(test, page);
	test_own(test, page, order);

	return page;
}

static void init_on_alloc_off(void *unused)
{
	static_branch_disable(&init_on_alloc);
}

/*
 * An allocation that init_on_alloc clears is not a request for zeroes. Memory for
 * user space need not be cleared again.
 */
static void alloc_test_init_on_alloc(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	struct free_block *dirty = free_block_take(test);
	unsigned long hit, miss;
	struct page *page;

	static_branch_enable(&init_on_alloc);
	test_at_end(test, init_on_alloc_off, NULL);
	free_block_give(b, 0, BLOCK_ORDER, true);
	KUNIT_EXPECT_PTR_NE(test, alloc_of_test(test, 0, BLOCK_ORDER), b->page);
	KUNIT_ASSERT_TRUE(test, free_block_grab(b, 0, BLOCK_ORDER));

	hit = vm_event(PREZERO_HIT);
	page = free_block_alloc(b, true, TEST_GFP_USER | __GFP_COMP | __GFP_ZERO,
				BLOCK_ORDER);
	KUNIT_EXPECT_EQ(test, vm_event(PREZERO_HIT) - hit, BLOCK_PAGES);
	KUNIT_EXPECT_TRUE(test, pages_read_as(page, BLOCK_ORDER, 0));
	KUNIT_EXPECT_FALSE(test, user_alloc_needs_zeroing());

	hit = vm_event(PREZERO_HIT);
	miss = vm_event(PREZERO_MISS);
	page = free_block_alloc(dirty, false, TEST_GFP_USER | __GFP_COMP,
				BLOCK_ORDER);
	KUNIT_EXPECT_EQ(test, vm_event(PREZERO_HIT) - hit, 0);
	KUNIT_EXPECT_GE(test, vm_event(PREZERO_MISS) - miss, BLOCK_PAGES);
	KUNIT_EXPECT_TRUE(test, pages_read_as(page, BLOCK_ORDER, 0));
}

#define BULK	16

static void expect_bulk(struct kunit *test, bool zeroed)
{
	struct free_block *b = free_block_take(test);
	struct page *pages[BULK] = {};
	unsigned long nr, flags, hit;
	unsigned int i, inside = 0;

	fill_pages(b->page, BLOCK_ORDER, zeroed ? 0 : 0xa5);
	drain_all_pages(b->zone);
	pcp_off(b);
	hide_free_blocks(b, false);
	hit = vm_event(PREZERO_HIT);
	spin_lock_irqsave(&b->zone->lock, flags);
	__free_block_give(b, 0, BLOCK_ORDER, zeroed);
	__free_block_to_front(b, 0);
	spin_unlock_irqrestore(&b->zone->lock, flags);
	nr = alloc_pages_bulk_array_node(TEST_GFP | __GFP_ZERO,
					 zone_to_nid(b->zone), BULK, pages);
	hit = vm_event(PREZERO_HIT) - hit;
	for (i = 0; i < nr; i++)
		test_own(test, pages[i], 0);

	for (i = 0; i < nr; i++) {
		inside += pages[i] >= b->page &&
			  pages[i] < b->page + BLOCK_PAGES;
		KUNIT_EXPECT_TRUE(test, pages_read_as(pages[i], 0, 0));
		expect_no_trace(test, pages[i], 0);
	}
	KUNIT_EXPECT_GT(test, inside, 0);
	KUNIT_EXPECT_EQ(test, hit, zeroed ? inside : 0);
}

static void alloc_bulk_test_of_zeroed(struct kunit *test)
{
	expect_bulk(test, true);
}

static void alloc_bulk_test_of_dirty(struct kunit *test)
{
	expect_bulk(test, false);
}

/* Memory was written and freed: the next owner must not find the old contents. */
static void alloc_test_not_inherited(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	struct page *page;

	page = free_block_alloc(b, true, TEST_GFP_USER | __GFP_ZERO,
				BLOCK_ORDER);
	fill_pages(page, BLOCK_ORDER, 0xa5);
	test_free(test, page, BLOCK_ORDER);
	KUNIT_ASSERT_TRUE(test, free_block_grab(b, 0, BLOCK_ORDER));
	page = free_block_alloc(b, false, TEST_GFP_USER | __GFP_ZERO,
				BLOCK_ORDER);
	KUNIT_EXPECT_TRUE(test, pages_read_as(page, BLOCK_ORDER, 0));
}

/*
 * Which block a request gets
 */
/* Both kinds are free: each request takes the kind that it has use for. */
static void pick_test_by_request(struct kunit *test)
{
	struct free_block *dirty = free_block_take(test);
	struct free_block *b = take_zeroes(test);

	free_block_give(b, 0, BLOCK_ORDER, true);
	free_block_give(dirty, 0, BLOCK_ORDER, false);
	KUNIT_EXPECT_PTR_NE(test, alloc_of_test(test, 0, BLOCK_ORDER), b->page);
	KUNIT_EXPECT_TRUE(test, free_block_is_zeroed(b, 0, BLOCK_ORDER));
	KUNIT_EXPECT_PTR_EQ(test, alloc_of_test(test, __GFP_ZERO, BLOCK_ORDER),
			    b->page);
}

/* The kind is chosen within the smallest order that has a block. */
static void pick_test_smaller_than_pageblock(struct kunit *test)
{
	struct free_block *dirty = free_block_take(test);
	struct free_block *b = take_zeroes(test);

	pcp_off(b);
	hide_free_blocks(b, false);
	free_block_give(dirty, 0, 4, false);
	free_block_give(dirty, 32, 4, false);
	free_block_give(b, 0, 4, true);
	free_block_give(b, 32, 4, true);
	KUNIT_EXPECT_PTR_EQ(test, alloc_of_test(test, 0, 4), dirty->page);
	KUNIT_EXPECT_PTR_EQ(test, alloc_of_test(test, __GFP_ZERO, 4), b->page);
	KUNIT_EXPECT_TRUE(test, free_block_is(dirty, 32, 4));
	KUNIT_EXPECT_TRUE(test, free_block_is_zeroed(b, 32, 4));
}

/* If only the other kind is left, a request takes that. */
static void pick_test_other_kind(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	unsigned long hit;
	struct page *page;

	hit = vm_event(PREZERO_HIT);
	page = free_block_alloc(b, false, TEST_GFP | __GFP_ZERO, BLOCK_ORDER);
	KUNIT_EXPECT_EQ(test, vm_event(PREZERO_HIT) - hit, 0);
	KUNIT_EXPECT_TRUE(test, pages_read_as(page, BLOCK_ORDER, 0));
}

static void pick_test_only_zeroed(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	struct page *page;

	pcp_off(b);
	hide_free_blocks(b, true);
	free_block_set_type(b, MIGRATE_RECLAIMABLE);
	free_block_give(b, 0, 4, true);
	page = alloc_pages((TEST_GFP & ~__GFP_MOVABLE) | __GFP_RECLAIMABLE, 4);
	KUNIT_ASSERT_NOT_NULL(test, page);
	test_own(test, page, 4);
	KUNIT_EXPECT_PTR_EQ(test, page, b->page);
}

/* The watermarks count a zeroed block, even if it is the only one. */
static void pick_test_only_block_of_node(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	struct page *page;

	hide_halves(b, BLOCK_ORDER);
	free_block_give(b, 0, BLOCK_ORDER, true);
	page = alloc_pages((TEST_GFP | __GFP_ZERO) & ~__GFP_DIRECT_RECLAIM,
			   BLOCK_ORDER);
	KUNIT_ASSERT_NOT_NULL(test, page);
	test_own(test, page, BLOCK_ORDER);
	KUNIT_EXPECT_PTR_EQ(test, page, b->page);
}

static void expect_from_block(struct kunit *test, struct page *page,
			      struct free_block *b)
{
	KUNIT_EXPECT_GE(test, page_to_pfn(page), page_to_pfn(b->page));
	KUNIT_EXPECT_LT(test, page_to_pfn(page),
			page_to_pfn(b->page) + BLOCK_PAGES);
}

/* Among whole pageblocks of any order the contents decide. */
static void prefer_test_larger(struct kunit *test)
{
	struct free_block *small = free_block_take(test);
	struct free_block *b = take_zeroes(test);
	struct page *page;

	if (pageblock_order == BLOCK_ORDER)
		kunit_skip(test, "needs blocks larger than a pageblock");
	pcp_off(b);
	hide_free_blocks(b, false);
	free_block_give(small, 0, pageblock_order, false);
	free_block_give(b, 0, BLOCK_ORDER, true);
	page = alloc_of_test(test, __GFP_ZERO, pageblock_order);
	expect_from_block(test, page, b);
	KUNIT_EXPECT_TRUE(test, free_block_is(small, 0, pageblock_order));
}

/* The type of a whole pageblock does not matter, either. */
static void prefer_test_other_type(struct kunit *test)
{
	struct free_block *dirty = free_block_take(test);
	struct free_block *b = take_zeroes(test);
	struct page *page;

	pcp_off(b);
	free_block_set_type(dirty, MIGRATE_UNMOVABLE);
	free_block_give(dirty, 0, BLOCK_ORDER, false);
	free_block_give(b, 0, BLOCK_ORDER, true);
	page = alloc_pages((TEST_GFP & ~__GFP_MOVABLE) | __GFP_ZERO,
			   pageblock_order);
	KUNIT_ASSERT_NOT_NULL(test, page);
	test_own(test, page, pageblock_order);
	expect_from_block(test, page, b);
	KUNIT_EXPECT_TRUE(test, free_block_is(dirty, 0, BLOCK_ORDER));
	/* All of it is of the type of the request now */
	test_free(test, page, pageblock_order);
	KUNIT_EXPECT_TRUE(test, free_block_is_of(b, 0, BLOCK_ORDER,
						 MIGRATE_UNMOVABLE));
	expect_exact_counters(test);
}

/* But the allocator splits no pageblock because of its contents. */
static void prefer_test_smaller_than_pageblock(struct kunit *test)
{
	struct free_block *small = free_block_take(test);
	struct free_block *b = take_zeroes(test);
	struct page *page;

	pcp_off(b);
	hide_free_blocks(b, false);
	free_block_give(small, 0, 4, false);
	free_block_give(b, 0, BLOCK_ORDER, true);
	page = alloc_of_test(test, __GFP_ZERO, 4);
	KUNIT_EXPECT_PTR_EQ(test, page, small->page);
	KUNIT_EXPECT_TRUE(test, free_block_is_zeroed(b, 0, BLOCK_ORDER));
	KUNIT_EXPECT_TRUE(test, pages_read_as(page, 4, 0));
}

/* A zeroed block of a zone that TEST_GFP takes from second. */
static struct free_block *give_zeroes_of_lower_zone(struct kunit *test,
						    unsigned int order)
{
	struct free_block *b = free_block_take_for(test, TEST_GFP | GFP_DMA32);

	if (b->zone == free_block_take(test)->zone)
		kunit_skip(test, "needs free memory above and below 4 GiB");
	fill_pages(b->page, order, 0);
	free_block_give(b, 0, order, true);

	return b;
}

static struct zone *zone_of_alloc(struct kunit *test, gfp_t gfp,
				  unsigned int order)
{
	return page_zone(alloc_of_test(test, gfp, order));
}

/* User space memory may come from any zone of the node: the contents decide. */
static void zone_test_by_request(struct kunit *test)
{
	struct free_block *b = give_zeroes_of_lower_zone(test, BLOCK_ORDER);

	KUNIT_EXPECT_PTR_NE(test, zone_of_alloc(test, __GFP_HIGHMEM, 0), b->zone);
	KUNIT_EXPECT_PTR_EQ(test, alloc_of_test(test, __GFP_HIGHMEM | __GFP_ZERO,
						BLOCK_ORDER), b->page);
}

/* Kernel memory does not use up zones that other requests depend on. */
static void zone_test_kernel_memory(struct kunit *test)
{
	struct free_block *b = give_zeroes_of_lower_zone(test, BLOCK_ORDER);

	KUNIT_EXPECT_PTR_NE(test, zone_of_alloc(test, __GFP_ZERO, BLOCK_ORDER),
			    b->zone);
}

static void zone_test_preferred_has_zeroes(struct kunit *test)
{
	struct free_block *lower = give_zeroes_of_lower_zone(test, BLOCK_ORDER);
	struct free_block *b = take_zeroes(test);

	free_block_give(b, 0, BLOCK_ORDER, true);
	KUNIT_EXPECT_PTR_EQ(test, alloc_of_test(test, __GFP_HIGHMEM | __GFP_ZERO,
						BLOCK_ORDER), b->page);
	KUNIT_EXPECT_TRUE(test, free_block_is_zeroed(lower, 0, BLOCK_ORDER));
}

/* A zeroed block that is too small does not count. */
static void zone_test_order(struct kunit *test)
{
	struct free_block *b = give_zeroes_of_lower_zone(test, HALF_ORDER);

	KUNIT_EXPECT_PTR_NE(test, zone_of_alloc(test, __GFP_HIGHMEM | __GFP_ZERO,
						BLOCK_ORDER), b->zone);
}

/* A part of a pageblock does not count, either, for small requests. */
static void zone_test_part_of_pageblock(struct kunit *test)
{
	struct free_block *b = give_zeroes_of_lower_zone(test,
							 pageblock_order - 1);

	KUNIT_EXPECT_PTR_NE(test, zone_of_alloc(test, __GFP_HIGHMEM | __GFP_ZERO,
						0), b->zone);
}

static void restore_watermark(void *data)
{
	struct free_block *b = data;

	b->zone->_watermark[WMARK_HIGH] = b->high;
}

/* The reserve of a zone for requests that depend on it stays untouched. */
static void zone_test_high_watermark(struct kunit *test)
{
	struct free_block *b = give_zeroes_of_lower_zone(test, BLOCK_ORDER);

	b->high = b->zone->_watermark[WMARK_HIGH];
	test_at_end(test, restore_watermark, b);
	b->zone->_watermark[WMARK_HIGH] = zone_managed_pages(b->zone);
	KUNIT_EXPECT_PTR_NE(test, zone_of_alloc(test, __GFP_HIGHMEM | __GFP_ZERO,
						BLOCK_ORDER), b->zone);
}

#if defined(CONFIG_SHUFFLE_PAGE_ALLOCATOR) && defined(CONFIG_MEMORY_HOTPLUG)
/* Memory that comes online makes the kernel shuffle the free lists. */
static void shuffle_test_keeps_lists_apart(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);

	free_block_give(b, 0, BLOCK_ORDER, true);
	__shuffle_zone(b->zone);
	KUNIT_EXPECT_GE(test, expect_exact_counters(test), BLOCK_PAGES);
}
#endif

/* A block takes its flag along to the list of another type. */
static void move_test_not_allowed(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	struct free_block_state st;

	/* Less than a pageblock: more than one would be split, and lose the flag */
	free_block_give(b, 0, pageblock_order - 1, true);
	page_prezero_allowed = false;
	free_block_isolate(b, 0, pageblock_nr_pages);
	free_block_state(b, &st);
	page_prezero_allowed = true;
	KUNIT_EXPECT_EQ(test, st.free, pageblock_nr_pages / 2);
	KUNIT_EXPECT_EQ(test, st.zeroed, 0);
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 0);
}

/* The request decides which kind a per-cpu list hands out, too. */
static void pick_pcp_test_by_request(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	struct page *zeroed, *dirty;

	drain_all_pages(b->zone);
	hide_free_blocks(b, false);
	/* A refill for zeroes, and a freed page at the head of the list */
	zeroed = free_block_alloc(b, true, TEST_GFP | __GFP_ZERO, 0);
	test_free(test, zeroed, 0);
	dirty = alloc_of_test(test, 0, 0);
	KUNIT_EXPECT_PTR_EQ(test, dirty, zeroed);
	test_free(test, dirty, 0);
	KUNIT_EXPECT_PTR_NE(test, alloc_of_test(test, __GFP_ZERO, 0), dirty);
}

/* The other way round: zeroed pages ran out in the middle of a refill */
static void pick_pcp_test_zeroed_first(struct kunit *test)
{
	struct free_block *dirty = free_block_take(test);
	struct free_block *b = take_zeroes(test);
	struct page *page;

	hide_free_blocks(b, false);
	drain_all_pages(b->zone);
	hide_free_blocks(b, false);
	free_block_give(b, 0, 0, true);
	free_block_give(b, 2, 0, true);
	free_block_give(dirty, 0, BLOCK_ORDER, false);
	KUNIT_ASSERT_PTR_EQ(test, alloc_of_test(test, __GFP_ZERO, 0), b->page);
	page = alloc_of_test(test, 0, 0);
	KUNIT_EXPECT_PTR_NE(test, page, b->page + 2);
	KUNIT_EXPECT_PTR_EQ(test, alloc_of_test(test, __GFP_ZERO, 0), b->page + 2);
}

#ifdef CONFIG_TRANSPARENT_HUGEPAGE
/* A zeroed huge page comes before one that was freed just now. */
static void pick_pcp_test_huge(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	struct page *dirty, *page;

	drain_all_pages(b->zone);
	dirty = alloc_of_test(test, 0, pageblock_order);
	test_free(test, dirty, pageblock_order);
	free_block_give(b, 0, BLOCK_ORDER, true);
	page = alloc_of_test(test, __GFP_ZERO, pageblock_order);
	expect_from_block(test, page, b);
	/* Any other request does take it. */
	KUNIT_EXPECT_PTR_EQ(test, alloc_of_test(test, 0, pageblock_order),
			    dirty);
}
#endif

/*
 * Counters and age
 */
static void counters_test_follow_free_lists(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	unsigned int off, pages = 0;
	unsigned long had = expect_exact_counters(test);

	KUNIT_EXPECT_EQ(test, had, 0);
	for (off = 0; off < BLOCK_PAGES; off += 64) {
		free_block_give(b, off, off / 64 % 6, off % 128);
		if (off % 128)
			pages += 1 << off / 64 % 6;
	}
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), pages);
	for (off = 0; off < BLOCK_PAGES; off += 64) {
		KUNIT_EXPECT_TRUE(test, free_block_grab(b, off, off / 64 % 6));
		if (off % 128)
			pages -= 1 << off / 64 % 6;
		KUNIT_EXPECT_EQ(test, expect_exact_counters(test), pages);
	}
}

static void counters_test_vmstat(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);

	KUNIT_EXPECT_EQ(test, 0, zone_page_state_snapshot(b->zone,
							  NR_FREE_ZEROED));
	free_block_give(b, 0, BLOCK_ORDER, true);
	KUNIT_EXPECT_EQ(test, zone_page_state_snapshot(b->zone, NR_FREE_ZEROED),
			BLOCK_PAGES);
	KUNIT_EXPECT_TRUE(test, free_block_grab(b, 0, BLOCK_ORDER));
	KUNIT_EXPECT_EQ(test, 0, zone_page_state_snapshot(b->zone,
							  NR_FREE_ZEROED));
}

static void age_test_of_freed_block(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	unsigned long age, flags;

	b->page->index = jiffies - HZ;
	spin_lock_irqsave(&b->zone->lock, flags);
	__free_block_give(b, 0, BLOCK_ORDER, false);
	age = page_free_age(b->page);
	spin_unlock_irqrestore(&b->zone->lock, flags);
	KUNIT_EXPECT_LE(test, age, HZ / 2);
}

/* A merged block is as young as the younger of its halves. */
static void age_test_of_merged_block(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	unsigned long age, flags;

	spin_lock_irqsave(&b->zone->lock, flags);
	__free_block_give(b, 0, HALF_ORDER, false);
	b->page->index = jiffies - HZ;
	__free_block_give(b, BLOCK_PAGES / 2, HALF_ORDER, false);
	age = page_free_age(b->page);
	spin_unlock_irqrestore(&b->zone->lock, flags);
	KUNIT_EXPECT_LE(test, age, HZ / 2);
}

/*
 * Forgetting
 */
static void forget_test_no_flag_left(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	unsigned long hit;

	free_block_give(b, 0, BLOCK_ORDER, true);
	KUNIT_ASSERT_GT(test, expect_exact_counters(test), 0);
	page_prezero_forget();
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 0);
	KUNIT_EXPECT_FALSE(test, PageZeroed(b->page));

	/* And so it is cleared again */
	KUNIT_ASSERT_TRUE(test, free_block_grab(b, 0, BLOCK_ORDER));
	fill_pages(b->page, BLOCK_ORDER, 0xa5);
	hit = vm_event(PREZERO_HIT);
	free_block_alloc(b, false, TEST_GFP | __GFP_ZERO, BLOCK_ORDER);
	KUNIT_EXPECT_EQ(test, vm_event(PREZERO_HIT) - hit, 0);
	KUNIT_EXPECT_TRUE(test, pages_read_as(b->page, BLOCK_ORDER, 0));
}

/* More on one list than is walked with the lock held */
static void forget_test_long_list(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	struct free_block_state st;
	unsigned int off;

	for (off = 0; off < BLOCK_PAGES; off += 2)
		free_block_give(b, off, 0, true);
	KUNIT_EXPECT_GT(test, expect_exact_counters(test), BLOCK_PAGES / 4);
	page_prezero_forget();
	free_block_state(b, &st);
	KUNIT_EXPECT_EQ(test, st.zeroed, 0);
	KUNIT_EXPECT_EQ(test, st.stray, 0);
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 0);
}

static void forget_test_all_lists(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	unsigned int order;

	/* One of each order below, none next to its buddy */
	for (order = 0; order < BLOCK_ORDER; order++)
		free_block_give(b, 1 << order, order, true);
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), BLOCK_PAGES - 1);
	page_prezero_forget();
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 0);
}

static void forget_test_isolated_block(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);

	free_block_isolate(b, 0, pageblock_nr_pages);
	free_block_give(b, 0, 8, true);
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 256);
	page_prezero_forget();
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 0);
}

static void forget_test_ends(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);

	page_prezero_forget();
	free_block_give(b, 0, BLOCK_ORDER, true);
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), BLOCK_PAGES);
}

static void forget_test_feature_off(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);

	page_prezero_disable();
	page_prezero_forget();
	free_block_give(b, 0, BLOCK_ORDER, true);
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 0);
	KUNIT_EXPECT_FALSE(test, PageZeroed(b->page));
}

/* Allocates zeroes of all orders and leaves them dirty, until told to stop. */
struct allocator {
	struct task_struct *task;
	unsigned long allocated;
	unsigned long not_zeroed;
};

static int allocator_thread(void *data)
{
	struct allocator *a = data;
	unsigned int order = 0;
	struct page *page;

	while (!kthread_should_stop()) {
		order = (order + 7) % NR_PAGE_ORDERS;
		page = alloc_pages(TEST_GFP | __GFP_ZERO, order);
		if (page) {
			a->allocated++;
			a->not_zeroed += !pages_read_as(page, order, 0);
			fill_pages(page, order, 0x5a);
			__free_pages(page, order);
		}
		cond_resched();
	}

	return 0;
}

static void allocator_stop(void *data)
{
	struct allocator *a = data;

	kthread_stop(a->task);
}

static void forget_test_while_allocating(struct kunit *test)
{
	struct allocator *a = kunit_kzalloc(test, sizeof(*a), GFP_KERNEL);
	struct free_block *b;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, a);
	a->task = kthread_run(allocator_thread, a, "kunit_allocator");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, a->task);
	test_at_end(test, allocator_stop, a);

	for (i = 0; i < 40; i++) {
		b = take_zeroes(test);
		free_block_give(b, 0, BLOCK_ORDER, true);
		if (i % 4)
			continue;
		page_prezero_forget();
		KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 0);
	}
	kunit_release_action(test, allocator_stop, a);
	KUNIT_EXPECT_GT(test, a->allocated, 0);
	KUNIT_EXPECT_EQ(test, a->not_zeroed, 0);
}

static void disable_test_no_flag_left(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);

	free_block_give(b, 0, BLOCK_ORDER, true);
	page_prezero_disable();
	KUNIT_EXPECT_FALSE(test, page_prezero_enabled());
	KUNIT_EXPECT_FALSE(test, PageZeroed(b->page));
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 0);
}

static void disable_test_enable_again(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);

	free_block_give(b, 0, BLOCK_ORDER, true);
	page_prezero_disable();
	page_prezero_disable();
	KUNIT_EXPECT_EQ(test, page_prezero_enable(), 0);
	KUNIT_EXPECT_EQ(test, page_prezero_enable(), 0);
	KUNIT_EXPECT_TRUE(test, page_prezero_enabled());
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 0);

	KUNIT_ASSERT_TRUE(test, free_block_grab(b, 0, BLOCK_ORDER));
	free_block_give(b, 0, BLOCK_ORDER, true);
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), BLOCK_PAGES);
}

/* Switching the feature off and on again brings no flag back. */
static void disable_test_pages_on_pcp(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	struct page *page;

	page = pcp_refill(test, b, 0, TEST_GFP);
	page_prezero_disable();
	KUNIT_EXPECT_EQ(test, zeroed_on_pcp(b, page, 0), 0);
	KUNIT_EXPECT_EQ(test, page_prezero_enable(), 0);
	drain_all_pages(b->zone);
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 0);
}

/* As on the way out of hibernation: interrupts off, one walk. */
static void restored_test_no_flag_left(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	struct free_block_state st;
	unsigned long flags;
	unsigned int off;

	if (!IS_ENABLED(CONFIG_HIBERNATION))
		kunit_skip(test, "needs CONFIG_HIBERNATION");
	free_block_give(b, BLOCK_PAGES / 2, HALF_ORDER, true);
	for (off = 0; off < BLOCK_PAGES / 2; off += 2)
		free_block_give(b, off, 0, true);
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), BLOCK_PAGES * 3 / 4);

	local_irq_save(flags);
	page_prezero_restored();
	local_irq_restore(flags);

	free_block_state(b, &st);
	KUNIT_EXPECT_EQ(test, st.zeroed, 0);
	KUNIT_EXPECT_EQ(test, st.free, BLOCK_PAGES * 3 / 4);
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 0);
}

/*
 * Verifying. The first failure after boot also leaves a dump of the page and a
 * stack trace in the kernel log.
 */
static void verify_off(void *unused)
{
	page_prezero_set_verify(false);
}

static void verify_on(struct kunit *test)
{
	page_prezero_set_verify(true);
	test_at_end(test, verify_off, NULL);
}

static const unsigned long dirty_bytes[] = {
	0, PAGE_SIZE - 1, PAGE_SIZE, (PAGE_SIZE << (BLOCK_ORDER - 1)) + 1,
	(PAGE_SIZE << BLOCK_ORDER) - 1,
};

static void dirty_byte_desc(const unsigned long *offset, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "byte %#lx", *offset);
}

KUNIT_ARRAY_PARAM(dirty_byte, dirty_bytes, dirty_byte_desc);

static void dirty_one_byte(struct kunit *test, struct free_block *b)
{
	const unsigned long offset = *(const unsigned long *)test->param_value;

	kasan_disable_current();
	*((u8 *)page_address(b->page) + offset) = 1;
	kasan_enable_current();
}

static void verify_test_dirty_byte(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	unsigned long failed, taken, hit, miss;
	struct page *page;

	verify_on(test);
	dirty_one_byte(test, b);
	failed = vm_event(PREZERO_VERIFY_FAILED);
	taken = vm_event(PREZERO_TAKEN);
	hit = vm_event(PREZERO_HIT);
	miss = vm_event(PREZERO_MISS);
	page = free_block_alloc(b, true, TEST_GFP | __GFP_ZERO, BLOCK_ORDER);

	KUNIT_EXPECT_EQ(test, vm_event(PREZERO_VERIFY_FAILED) - failed, 1);
	KUNIT_EXPECT_EQ(test, vm_event(PREZERO_TAKEN) - taken, 0);
	KUNIT_EXPECT_EQ(test, vm_event(PREZERO_HIT) - hit, 0);
	KUNIT_EXPECT_GE(test, vm_event(PREZERO_MISS) - miss, BLOCK_PAGES);
	KUNIT_EXPECT_TRUE(test, pages_read_as(page, BLOCK_ORDER, 0));
}

static void verify_test_zeroes(struct kunit *test)
{
	struct free_block *b = take_zeroes(test);
	unsigned long failed, hit;
	struct page *page;

	verify_on(test);
	failed = vm_event(PREZERO_VERIFY_FAILED);
	hit = vm_event(PREZERO_HIT);
	page = free_block_alloc(b, true, TEST_GFP_USER | __GFP_ZERO,
				BLOCK_ORDER);
	KUNIT_EXPECT_TRUE(test, pages_read_as(page, BLOCK_ORDER, 0));
	KUNIT_EXPECT_EQ(test, vm_event(PREZERO_HIT) - hit, BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, vm_event(PREZERO_VERIFY_FAILED) - failed, 0);
}

/* Verifying does not look at memory that was not said to read as zeroes. */
static void verify_test_dirty_block(struct kunit *test)
{
	struct free_block *b = free_block_take(test);
	unsigned long failed;

	verify_on(test);
	failed = vm_event(PREZERO_VERIFY_FAILED);
	free_block_alloc(b, false, TEST_GFP | __GFP_ZERO, BLOCK_ORDER);
	KUNIT_EXPECT_EQ(test, vm_event(PREZERO_VERIFY_FAILED) - failed, 0);
	KUNIT_EXPECT_TRUE(test, pages_read_as(b->page, BLOCK_ORDER, 0));
}

static struct kunit_case page_prezero_test_cases[] = {
	KUNIT_CASE(return_test_zeroed_is_flagged),
	KUNIT_CASE(return_test_not_zeroed_is_not_flagged),
	KUNIT_CASE(return_test_not_allowed),
	KUNIT_CASE(return_test_feature_off),
	KUNIT_CASE(return_test_half_isolated),
	KUNIT_CASE(return_test_other_private),
	KUNIT_CASE(borrow_test_drops_flag),
	KUNIT_CASE_PARAM(expand_test_hands_flag_to_remainders,
			 part_order_gen_params),
	KUNIT_CASE_PARAM(expand_test_dirty_block, part_order_gen_params),
	KUNIT_CASE(steal_test_hands_flag_to_remainders),
	KUNIT_CASE_PARAM(merge_test_zeroed_with_zeroed, part_order_gen_params),
	KUNIT_CASE_PARAM(merge_test_zeroed_with_dirty, part_order_gen_params),
	KUNIT_CASE_PARAM(merge_test_dirty_with_zeroed, part_order_gen_params),
	KUNIT_CASE_PARAM(merge_test_dirty_with_dirty, part_order_gen_params),
	KUNIT_CASE(merge_test_all_pages),
	KUNIT_CASE(merge_test_one_page_dirty),
	KUNIT_CASE(isolate_free_page_test_drops_flag),
	KUNIT_CASE(isolate_range_test_splits_block),
	KUNIT_CASE(isolate_range_test_moves_block),
	KUNIT_CASE(unisolate_test_merges_with_dirty),
	KUNIT_CASE(alloc_contig_range_test_drops_flag),
	KUNIT_CASE(alloc_contig_range_test_compound),
#ifdef CONFIG_MEMORY_FAILURE
	KUNIT_CASE(take_page_off_buddy_test_drops_flag),
#endif
#ifdef CONFIG_COMPACTION
	KUNIT_CASE(compaction_capture_test_drops_flag),
	KUNIT_CASE(compaction_capture_test_merged),
#endif
	KUNIT_CASE_PARAM(free_test_dirtied_is_not_flagged,
			 all_order_gen_params),
	KUNIT_CASE_PARAM(free_test_private_of_owner, all_order_gen_params),
	KUNIT_CASE_PARAM(free_folios_test_dirtied_is_not_flagged,
			 all_order_gen_params),
	KUNIT_CASE(free_test_split_pages),
	KUNIT_CASE_PARAM(pcp_test_keeps_flag, pcp_order_gen_params),
	KUNIT_CASE_PARAM(pcp_test_serves_zeroes, pcp_order_gen_params),
	KUNIT_CASE_PARAM(pcp_test_freed_page_is_cleared, pcp_order_gen_params),
	KUNIT_CASE_PARAM(pcp_test_forgotten, pcp_order_gen_params),
	KUNIT_CASE(alloc_test_gfp_zero_of_zeroed),
	KUNIT_CASE(alloc_test_zeroed_is_not_written),
	KUNIT_CASE_PARAM(alloc_test_gfp_zero_of_dirty, all_order_gen_params),
	KUNIT_CASE(alloc_test_zeroes_not_wanted),
	KUNIT_CASE_PARAM(alloc_test_no_trace_in_page, all_order_gen_params),
	KUNIT_CASE(alloc_test_no_trace_of_merging),
	KUNIT_CASE(alloc_test_init_on_alloc),
	KUNIT_CASE(alloc_bulk_test_of_zeroed),
	KUNIT_CASE(alloc_bulk_test_of_dirty),
	KUNIT_CASE(alloc_test_not_inherited),
	KUNIT_CASE(pick_test_by_request),
	KUNIT_CASE(pick_test_smaller_than_pageblock),
	KUNIT_CASE(pick_test_other_kind),
	KUNIT_CASE(pick_test_only_zeroed),
	KUNIT_CASE(pick_test_only_block_of_node),
	KUNIT_CASE(prefer_test_larger),
	KUNIT_CASE(prefer_test_other_type),
	KUNIT_CASE(prefer_test_smaller_than_pageblock),
	KUNIT_CASE(zone_test_by_request),
	KUNIT_CASE(zone_test_kernel_memory),
	KUNIT_CASE(zone_test_preferred_has_zeroes),
	KUNIT_CASE(zone_test_order),
	KUNIT_CASE(zone_test_part_of_pageblock),
	KUNIT_CASE(zone_test_high_watermark),
#if defined(CONFIG_SHUFFLE_PAGE_ALLOCATOR) && defined(CONFIG_MEMORY_HOTPLUG)
	KUNIT_CASE(shuffle_test_keeps_lists_apart),
#endif
	KUNIT_CASE(move_test_not_allowed),
	KUNIT_CASE(pick_pcp_test_by_request),
	KUNIT_CASE(pick_pcp_test_zeroed_first),
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
	KUNIT_CASE(pick_pcp_test_huge),
#endif
	KUNIT_CASE(counters_test_follow_free_lists),
	KUNIT_CASE(counters_test_vmstat),
	KUNIT_CASE(age_test_of_freed_block),
	KUNIT_CASE(age_test_of_merged_block),
	KUNIT_CASE(forget_test_no_flag_left),
	KUNIT_CASE(forget_test_long_list),
	KUNIT_CASE(forget_test_all_lists),
	KUNIT_CASE(forget_test_isolated_block),
	KUNIT_CASE(forget_test_ends),
	KUNIT_CASE(forget_test_feature_off),
	KUNIT_CASE(forget_test_while_allocating),
	KUNIT_CASE(disable_test_no_flag_left),
	KUNIT_CASE(disable_test_enable_again),
	KUNIT_CASE(disable_test_pages_on_pcp),
	KUNIT_CASE(restored_test_no_flag_left),
	KUNIT_CASE_PARAM(verify_test_dirty_byte, dirty_byte_gen_params),
	KUNIT_CASE(verify_test_zeroes),
	KUNIT_CASE(verify_test_dirty_block),
	{}
};

static struct kunit_suite page_prezero_test_suite = {
	.name = "page_prezero",
	.init = page_prezero_test_init,
	.test_cases = page_prezero_test_cases,
};

kunit_test_suite(page_prezero_test_suite);

MODULE_DESCRIPTION("KUnit suites for free memory that reads as zeroes");
MODULE_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
MODULE_LICENSE("GPL");
