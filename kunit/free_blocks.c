// SPDX-License-Identifier: GPL-2.0
/*
 * Free memory under the control of a test, see free_blocks.h.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/highmem.h>
#include <linux/kasan.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/page-isolation.h>
#include <linux/sched.h>
#include <linux/smp.h>
#include <linux/string.h>
#include <linux/vmstat.h>

#include "mm/internal.h"
#include "mm/page_prezero.h"

#include "free_blocks.h"

void test_at_end(struct kunit *test, kunit_action_t *action, void *data)
{
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, action, data));
}

/*
 * Keeps a test on one CPU, so that it allocates from one node and uses the same
 * per-cpu lists all the time.
 */
void test_stay_on_cpu(struct kunit *test)
{
	int err;

	err = set_cpus_allowed_ptr(current, cpumask_of(raw_smp_processor_id()));
	KUNIT_ASSERT_EQ(test, err, 0);
}

/* Free memory is poisoned for KASAN; the tests read and write it nevertheless. */
void fill_pages(struct page *page, unsigned int order, u8 byte)
{
	kasan_disable_current();
	memset(page_address(page), byte, PAGE_SIZE << order);
	kasan_enable_current();
}

bool pages_read_as(struct page *page, unsigned int order, u8 byte)
{
	bool ret;

	kasan_disable_current();
	ret = !memchr_inv(page_address(page), byte, PAGE_SIZE << order);
	kasan_enable_current();

	return ret;
}

unsigned long vm_event(enum vm_event_item item)
{
	/* Large for a stack; there is one test at a time */
	static unsigned long events[NR_VM_EVENT_ITEMS];

	all_vm_events(events);

	return events[item];
}

/* The zone that such requests take memory from first. */
static struct zone *test_zone(struct kunit *test, gfp_t gfp)
{
	struct page *page = alloc_pages(gfp, 0);
	struct zone *zone;

	KUNIT_ASSERT_NOT_NULL(test, page);
	zone = page_zone(page);
	__free_page(page);

	return zone;
}

void __free_block_give(struct free_block *b, unsigned int off,
		       unsigned int order, bool zeroed)
{
	set_page_private(b->page + off, zeroed ? PAGE_PRIVATE_ZEROED : 0);
	__return_free_page(b->page + off, order);
	bitmap_clear(b->ours, off, 1 << order);
}

bool __free_block_grab(struct free_block *b, unsigned int off,
		       unsigned int order)
{
	if (!free_block_is(b, off, order))
		return false;

	__borrow_free_page(b->page + off, order);
	bitmap_set(b->ours, off, 1 << order);

	return true;
}

void free_block_give(struct free_block *b, unsigned int off,
		     unsigned int order, bool zeroed)
{
	unsigned long flags;

	spin_lock_irqsave(&b->zone->lock, flags);
	__free_block_give(b, off, order, zeroed);
	spin_unlock_irqrestore(&b->zone->lock, flags);
}

bool free_block_grab(struct free_block *b, unsigned int off,
		     unsigned int order)
{
	unsigned long flags;
	bool ret;

	spin_lock_irqsave(&b->zone->lock, flags);
	ret = __free_block_grab(b, off, order);
	spin_unlock_irqrestore(&b->zone->lock, flags);

	return ret;
}

bool free_block_is(struct free_block *b, unsigned int off, unsigned int order)
{
	struct page *page = b->page + off;

	return PageBuddy(page) && buddy_order(page) == order;
}

bool free_block_is_zeroed(struct free_block *b, unsigned int off,
			  unsigned int order)
{
	return free_block_is(b, off, order) && PageZeroed(b->page + off);
}

bool free_block_is_of(struct free_block *b, unsigned int off,
		      unsigned int order, int mt)
{
	struct page *page = b->page + off, *pos;
	struct free_area *area = &b->zone->free_area[order];
	unsigned long flags;
	unsigned int zeroed;
	bool ret = false;

	spin_lock_irqsave(&b->zone->lock, flags);
	for (zeroed = 0; zeroed < 2; zeroed++) {
		list_for_each_entry(pos, free_list_of(area, mt, zeroed), buddy_list)
			ret |= pos == page;
	}
	spin_unlock_irqrestore(&b->zone->lock, flags);

	return ret;
}

/* The block that is allocated next from the free list that the block is on. */
void __free_block_to_front(struct free_block *b, unsigned int off)
{
	struct page *page = b->page + off;
	struct free_area *area = &b->zone->free_area[buddy_order(page)];

	list_move(&page->buddy_list,
		  free_list_of(area, MIGRATE_MOVABLE, PageZeroed(page)));
}

void __free_block_state(struct free_block *b, struct free_block_state *st)
{
	unsigned int off = 0, order, i;
	struct page *page;

	memset(st, 0, sizeof(*st));
	while (off < BLOCK_PAGES) {
		page = b->page + off;
		if (!PageBuddy(page)) {
			st->stray += test_bit(off, b->ours) &&
				     PagePrivate(page);
			off++;
			continue;
		}

		order = buddy_order(page);
		st->free += 1 << order;
		st->nr[order]++;
		if (PageZeroed(page)) {
			st->zeroed += 1 << order;
			st->nr_zeroed[order]++;
			st->wrong += !pages_read_as(page, order, 0);
		}
		for (i = 1; i < 1 << order; i++)
			st->stray += PagePrivate(page + i);

		off += 1 << order;
	}
}

void free_block_state(struct free_block *b, struct free_block_state *st)
{
	unsigned long flags;

	spin_lock_irqsave(&b->zone->lock, flags);
	__free_block_state(b, st);
	spin_unlock_irqrestore(&b->zone->lock, flags);
}

static void free_block_return(void *data)
{
	struct free_block *b = data;
	unsigned long flags;
	unsigned int off;

	spin_lock_irqsave(&b->zone->lock, flags);
	if (bitmap_full(b->ours, BLOCK_PAGES)) {
		__free_block_give(b, 0, BLOCK_ORDER, false);
	} else {
		for_each_set_bit(off, b->ours, BLOCK_PAGES)
			__free_block_give(b, off, 0, false);
	}
	spin_unlock_irqrestore(&b->zone->lock, flags);
}

/* Takes a free block of the zone that such requests are served from first. */
struct free_block *free_block_take_for(struct kunit *test, gfp_t gfp)
{
	struct free_block *b = kunit_kzalloc(test, sizeof(*b), GFP_KERNEL);
	unsigned long flags;
	struct list_head *list;
	struct page *page;

	KUNIT_ASSERT_NOT_NULL(test, b);
	b->test = test;
	b->zone = test_zone(test, gfp);
	list = free_list_of(&b->zone->free_area[BLOCK_ORDER], MIGRATE_MOVABLE,
			    false);

	spin_lock_irqsave(&b->zone->lock, flags);
	page = list_first_entry_or_null(list, struct page, buddy_list);
	if (page) {
		b->page = page;
		__free_block_grab(b, 0, BLOCK_ORDER);
	}
	spin_unlock_irqrestore(&b->zone->lock, flags);

	if (!page)
		kunit_skip(test, "no free block of order %d in zone %s: needs more free memory",
			   BLOCK_ORDER, b->zone->name);
	test_at_end(test, free_block_return, b);
	fill_pages(b->page, BLOCK_ORDER, 0xa5);

	return b;
}

/* Takes a free block. It is full of 0xa5. */
struct free_block *free_block_take(struct kunit *test)
{
	return free_block_take_for(test, TEST_GFP);
}

/* The allocator has handed these pages of the block to the test: it holds them again */
void free_block_adopt(struct free_block *b, unsigned int off,
		      unsigned int order)
{
	bitmap_set(b->ours, off, 1 << order);
}

static void free_block_undo_isolate(void *data)
{
	struct free_block *b = data;

	undo_isolate_page_range(b->isolated, b->isolated_end, MIGRATE_MOVABLE);
}

/* Isolates pageblocks of the block, as memory offlining and CMA do. */
void free_block_isolate(struct free_block *b, unsigned int off,
			unsigned int nr)
{
	b->isolated = page_to_pfn(b->page) + off;
	b->isolated_end = b->isolated + nr;
	KUNIT_ASSERT_EQ(b->test, 0,
			start_isolate_page_range(b->isolated, b->isolated_end,
						 MIGRATE_MOVABLE, 0,
						 GFP_KERNEL));
	test_at_end(b->test, free_block_undo_isolate, b);
}

void free_block_unisolate(struct free_block *b)
{
	kunit_release_action(b->test, free_block_undo_isolate, b);
}

static void free_block_reset_type(void *data)
{
	struct free_block *b = data;

	/* If this fails, pages are in use, and stay where they are */
	if (!start_isolate_page_range(b->isolated, b->isolated_end, b->mt, 0,
				      GFP_KERNEL))
		free_block_undo_isolate(b);
}

/* Makes the pageblocks of the block a reserve, until the end of the test. */
void free_block_set_type(struct free_block *b, int mt)
{
	free_block_isolate(b, 0, BLOCK_PAGES);
	if (is_migrate_isolate(mt))
		return;

	kunit_remove_action(b->test, free_block_undo_isolate, b);
	undo_isolate_page_range(b->isolated, b->isolated_end, mt);
	b->mt = mt;
	test_at_end(b->test, free_block_reset_type, b);
}

/*
 * Allocations that are freed at the end of the test, unless the test has freed
 * them. The order is in the low bits of the address of the page.
 */
static void *test_pages(struct page *page, unsigned int order)
{
	BUILD_BUG_ON(NR_PAGE_ORDERS > 16 || sizeof(struct page) % 16);

	return (void *)((unsigned long)page | order);
}

static void test_pages_free(void *data)
{
	unsigned long order = (unsigned long)data & 15;

	__free_pages(data - order, order);
}

void test_own(struct kunit *test, struct page *page, unsigned int order)
{
	test_at_end(test, test_pages_free, test_pages(page, order));
}

/* The test has freed it. */
void test_disown(struct kunit *test, struct page *page, unsigned int order)
{
	kunit_remove_action(test, test_pages_free, test_pages(page, order));
}

void test_free(struct kunit *test, struct page *page, unsigned int order)
{
	kunit_release_action(test, test_pages_free, test_pages(page, order));
}

/*
 * Allocates @order at the start of a block that is on the free lists as a whole. If
 * the block is not there yet, it is put there, said to read as zeroes or not. Its
 * state after the allocation is in @b->left. To allocate less than the block, hide
 * the other free blocks and switch the per-cpu lists off first, because the
 * allocator would take smaller blocks before.
 */
struct page *free_block_alloc(struct free_block *b, bool zeroed, gfp_t gfp,
			      unsigned int order)
{
	struct kunit *test = b->test;
	unsigned long flags;
	struct page *page;
	int tries = 16;

	while (tries--) {
		spin_lock_irqsave(&b->zone->lock, flags);
		if (bitmap_full(b->ours, BLOCK_PAGES))
			__free_block_give(b, 0, BLOCK_ORDER, zeroed);
		if (free_block_is(b, 0, BLOCK_ORDER))
			__free_block_to_front(b, 0);
		spin_unlock_irqrestore(&b->zone->lock, flags);

		page = alloc_pages(gfp, order);

		spin_lock_irqsave(&b->zone->lock, flags);
		__free_block_state(b, &b->left);
		spin_unlock_irqrestore(&b->zone->lock, flags);

		KUNIT_ASSERT_NOT_NULL(test, page);
		test_own(test, page, order);
		if (page == b->page)
			return page;

		/* Another task was faster, or the page came from a per-cpu list */
		if (!free_block_grab(b, 0, BLOCK_ORDER))
			break;
	}
	KUNIT_FAIL_AND_ABORT(test, "other tasks allocate from zone %s all the time",
			     b->zone->name);

	return NULL;
}

/*
 * A thread switches the per-cpu lists of a zone off and on: the lock that is held
 * meanwhile has to be released by the same task, and the end of a test runs in
 * another one.
 */
struct pcp_off {
	struct zone *zone;
	struct task_struct *task;
	struct completion done;
};

static int pcp_off_thread(void *data)
{
	struct pcp_off *off = data;

	zone_pcp_disable(off->zone);
	complete(&off->done);
	while (!kthread_should_stop()) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (!kthread_should_stop())
			schedule();
		__set_current_state(TASK_RUNNING);
	}
	zone_pcp_enable(off->zone);

	return 0;
}

static void pcp_on(void *data)
{
	struct pcp_off *off = data;

	kthread_stop(off->task);
}

void pcp_off(struct free_block *b)
{
	struct kunit *test = b->test;
	struct pcp_off *off = kunit_kzalloc(test, sizeof(*off), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, off);
	off->zone = b->zone;
	init_completion(&off->done);
	off->task = kthread_run(pcp_off_thread, off, "kunit_pcp_off");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, off->task);
	test_at_end(test, pcp_on, off);
	wait_for_completion(&off->done);
}

/* Blocks that would be allocated before the start of a whole block. */
struct hidden_blocks {
	struct zone *zone;
	struct list_head list[NR_PAGE_ORDERS];
};

static void unhide_free_blocks(void *data)
{
	struct hidden_blocks *hidden = data;
	struct page *page, *next;
	unsigned long flags;
	unsigned int order;

	for (order = 0; order < NR_PAGE_ORDERS; order++) {
		spin_lock_irqsave(&hidden->zone->lock, flags);
		list_for_each_entry_safe(page, next, &hidden->list[order],
					 buddy_list) {
			list_del(&page->buddy_list);
			__return_free_page(page, order);
		}
		spin_unlock_irqrestore(&hidden->zone->lock, flags);
	}
}

static void __hide_free_list(struct hidden_blocks *hidden, unsigned int order,
			     int mt, unsigned long keep, bool zeroed)
{
	struct list_head *list = free_list_of(&hidden->zone->free_area[order],
					      mt, zeroed);
	struct page *page, *next;
	unsigned long flags;

	spin_lock_irqsave(&hidden->zone->lock, flags);
	list_for_each_entry_safe(page, next, list, buddy_list) {
		if (keep && zone_page_state_snapshot(hidden->zone,
						     NR_FREE_PAGES) <= keep)
			break;
		__borrow_free_page(page, order);
		list_add(&page->buddy_list, &hidden->list[order]);
	}
	spin_unlock_irqrestore(&hidden->zone->lock, flags);
}

static void hide_free_list(struct hidden_blocks *hidden, unsigned int order,
			   int mt, unsigned long keep)
{
	__hide_free_list(hidden, order, mt, keep, false);
	__hide_free_list(hidden, order, mt, keep, true);
}

static struct hidden_blocks *hidden_blocks(struct free_block *b)
{
	struct hidden_blocks *hidden;
	unsigned int order;

	hidden = kunit_kzalloc(b->test, sizeof(*hidden), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(b->test, hidden);
	hidden->zone = b->zone;
	for (order = 0; order < NR_PAGE_ORDERS; order++)
		INIT_LIST_HEAD(&hidden->list[order]);
	test_at_end(b->test, unhide_free_blocks, hidden);

	return hidden;
}

/*
 * Hides the blocks that __GFP_MOVABLE would take before a block of MAX_PAGE_ORDER,
 * and, with @others, all blocks of other types.
 */
void hide_free_blocks(struct free_block *b, bool others)
{
	struct hidden_blocks *hidden = hidden_blocks(b);
	unsigned int order;

	for (order = 0; order < NR_PAGE_ORDERS; order++) {
		if (order < BLOCK_ORDER)
			hide_free_list(hidden, order, MIGRATE_MOVABLE, 0);
		if (others) {
			hide_free_list(hidden, order, MIGRATE_UNMOVABLE, 0);
			hide_free_list(hidden, order, MIGRATE_RECLAIMABLE, 0);
		}
	}
}

/* Hides the large blocks of a zone until no more than @keep pages are free. */
struct hidden_blocks *hide_but(struct free_block *b, unsigned long keep)
{
	struct hidden_blocks *hidden = hidden_blocks(b);
	unsigned int order;

	for (order = BLOCK_ORDER; order > PAGE_ALLOC_COSTLY_ORDER; order--) {
		hide_free_list(hidden, order, MIGRATE_MOVABLE, keep);
		hide_free_list(hidden, order, MIGRATE_UNMOVABLE, keep);
		hide_free_list(hidden, order, MIGRATE_RECLAIMABLE, keep);
	}

	return hidden;
}

static void hide_halves_of_zone(struct free_block *b, unsigned int order)
{
	struct hidden_blocks *hidden = hidden_blocks(b);
	struct page *page, *next;
	struct list_head *list;
	unsigned int zeroed;
	unsigned long flags;
	int mt;

	spin_lock_irqsave(&b->zone->lock, flags);
	for (mt = 0; mt < MIGRATE_PCPTYPES; mt++) {
		for (zeroed = 0; zeroed < 2; zeroed++) {
			list = free_list_of(&b->zone->free_area[order], mt, zeroed);
			list_for_each_entry_safe(page, next, list, buddy_list) {
				__borrow_free_page(page, order);
				__return_free_page(page, order - 1);
				page += 1 << (order - 1);
				list_add(&page->buddy_list, &hidden->list[order - 1]);
			}
		}
	}
	spin_unlock_irqrestore(&b->zone->lock, flags);
}

/*
 * Hides half of each block of an order in all zones that the block's zone falls
 * back to, so that only reserves have blocks of that order. The zones stay above
 * their watermarks.
 */
void hide_halves(struct free_block *b, unsigned int order)
{
	struct free_block in_zone = { .test = b->test };
	int i;

	for (i = 0; i <= zone_idx(b->zone); i++) {
		in_zone.zone = &b->zone->zone_pgdat->node_zones[i];
		if (populated_zone(in_zone.zone))
			hide_halves_of_zone(&in_zone, order);
	}
}

void unhide(struct kunit *test, struct hidden_blocks *hidden)
{
	kunit_release_action(test, unhide_free_blocks, hidden);
}

/*
 * Comparing the counters with the free lists
 */
struct zeroed_count {
	unsigned long pages;
	unsigned long misplaced;	/* on the list of the other kind */
	bool exact;
};

static void count_zeroed(struct zone *zone, struct zeroed_count *c)
{
	unsigned int order, mt, zeroed;
	struct list_head *list;
	unsigned long flags;
	struct page *page;

	memset(c, 0, sizeof(*c));
	spin_lock_irqsave(&zone->lock, flags);
	for_each_migratetype_order(order, mt) {
		for (zeroed = 0; zeroed < 2; zeroed++) {
			list = free_list_of(&zone->free_area[order], mt, zeroed);
			list_for_each_entry(page, list, buddy_list) {
				c->misplaced += PageZeroed(page) != zeroed;
				if (PageZeroed(page))
					c->pages += 1UL << order;
			}
		}
	}
	c->exact = zone_page_state_snapshot(zone, NR_FREE_ZEROED) == c->pages;
	spin_unlock_irqrestore(&zone->lock, flags);
}

static unsigned long expect_zone_counters(struct kunit *test, struct zone *zone)
{
	struct zeroed_count c;
	int tries = 10;

	/* The kernel may be adding up the counters of the CPUs at this moment */
	do {
		count_zeroed(zone, &c);
	} while (!c.exact && --tries);
	KUNIT_EXPECT_TRUE_MSG(test, c.exact,
			      "zone %s: %lu pages on the free lists have PG_zeroed, nr_free_zeroed is %lu",
			      zone->name, c.pages,
			      zone_page_state_snapshot(zone, NR_FREE_ZEROED));
	KUNIT_EXPECT_EQ(test, c.misplaced, 0);

	return c.pages;
}

/* Returns how many pages are in free blocks with PG_zeroed, anywhere. */
unsigned long expect_exact_counters(struct kunit *test)
{
	unsigned long pages = 0;
	struct zone *zone;
	int nid, i;

	for_each_node_state(nid, N_MEMORY) {
		for (i = 0; i < MAX_NR_ZONES; i++) {
			zone = &NODE_DATA(nid)->node_zones[i];
			if (populated_zone(zone))
				pages += expect_zone_counters(test, zone);
		}
	}

	return pages;
}
