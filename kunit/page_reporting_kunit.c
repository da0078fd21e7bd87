// SPDX-License-Identifier: GPL-2.0
/*
 * Page reporting's promises to a client that clears free pages, and to one that
 * does not.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/page-isolation.h>
#include <linux/page_prezero.h>
#include <linux/page_reporting.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/vmstat.h>
#include <linux/workqueue.h>

#include "mm/internal.h"
#include "mm/page_prezero.h"
#include "mm/page_reporting.h"

#include "free_blocks.h"

#define MAX_BATCH	SZ_16M
#define MIN_AGE		msecs_to_jiffies(20)

/* Long enough for page reporting's delayed work, which waits 2 s, to be done */
#define WORK_TIMEOUT	(20 * HZ)

#define NR_WATCHED	4

struct client {
	struct page_reporting_dev_info prdev;
	struct kunit *test;
	int nid;

	/* The test's own part of report(), and its data */
	int (*report)(struct client *c, struct scatterlist *sgl,
		      unsigned int nents);
	struct task_struct *task;
	struct completion reporting;
	struct completion go_on;
	bool other_done;
	bool other_done_early;
	bool write_refused;	/* it may not write any more */
	int other_ret;

	/* What report() has got */
	unsigned int calls;
	unsigned int blocks;
	size_t max_len;
	unsigned int max_nents;
	unsigned int min_order;
	unsigned int young;	/* freed less than MIN_AGE ago */
	unsigned int not_clean;	/* still on a list, or marked already */
	unsigned int atomic;	/* calls when sleeping is not allowed */
	unsigned int zone;	/* of the last call, in this pass */
	unsigned int zone_higher;	/* calls for a zone higher than the last */
	struct page *watched[NR_WATCHED];
	unsigned int seen[NR_WATCHED];
};

static int client_report(struct page_reporting_dev_info *prdev,
			 struct scatterlist *sgl, unsigned int nents)
{
	struct client *c = container_of(prdev, struct client, prdev);
	struct scatterlist *sg;
	unsigned int i, j;
	size_t len = 0;

	c->calls++;
	c->blocks += nents;
	might_sleep();
	c->atomic += irqs_disabled();
	c->zone_higher += zone_idx(page_zone(sg_page(sgl))) > c->zone;
	c->zone = zone_idx(page_zone(sg_page(sgl)));
	for_each_sg(sgl, sg, nents, i) {
		struct page *page = sg_page(sg);
		unsigned int order = get_order(sg->length);

		len += sg->length;
		c->min_order = min(c->min_order, order);
		c->not_clean += PageBuddy(page) || PagePrivate(page) ||
				page_private(page);
		if (prdev->prezero)
			c->young += jiffies - page->index < MIN_AGE;
		for (j = 0; j < NR_WATCHED; j++)
			c->seen[j] += c->watched[j] == page;
	}
	c->max_len = max(c->max_len, len);
	c->max_nents = max(c->max_nents, nents);

	return c->report ? c->report(c, sgl, nents) : 0;
}

static void client_unregister(void *data)
{
	struct client *c = data;

	page_reporting_unregister(&c->prdev);
}

static void client_forget_seen(struct client *c)
{
	c->calls = 0;
	c->blocks = 0;
	c->max_len = 0;
	c->max_nents = 0;
	c->min_order = UINT_MAX;
	memset(c->seen, 0, sizeof(c->seen));
}

static struct client *client_alloc(struct kunit *test, bool zeroes)
{
	struct client *c = kunit_kzalloc(test, sizeof(*c), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, c);
	c->test = test;
	c->nid = numa_mem_id();
	c->prdev.report = client_report;
	c->prdev.prezero = zeroes;
	c->prdev.order = BLOCK_ORDER;
	init_completion(&c->reporting);
	init_completion(&c->go_on);
	client_forget_seen(c);

	return c;
}

static void client_register(struct client *c)
{
	KUNIT_ASSERT_EQ(c->test, 0, page_reporting_register(&c->prdev));
	test_at_end(c->test, client_unregister, c);
}

/* A registered client that clears free pages. */
static struct client *zeroing_client(struct kunit *test)
{
	struct client *c = client_alloc(test, true);

	client_register(c);

	return c;
}

/* A pass over the node, and checks of all that holds for each pass. */
static int client_pass(struct client *c)
{
	int ret;

	c->zone = MAX_NR_ZONES;
	ret = page_prezero_scan_node(&c->prdev, c->nid);

	KUNIT_EXPECT_EQ(c->test, c->young, 0);
	KUNIT_EXPECT_EQ(c->test, c->zone_higher, 0);
	KUNIT_EXPECT_EQ(c->test, c->not_clean, 0);
	KUNIT_EXPECT_EQ(c->test, c->atomic, 0);
	KUNIT_EXPECT_LE(c->test, c->max_len, MAX_BATCH);
	KUNIT_EXPECT_LE(c->test, c->max_nents, PAGE_REPORTING_CAPACITY);

	return ret;
}

/* Returns whether the client may do so. */
static bool mark_zeroed(struct scatterlist *sgl, struct page *page,
			unsigned int order)
{
	if (!page_prezero_write_begin(sgl))
		return false;

	fill_pages(page, order, 0);
	page_prezero_mark(sgl, page);
	page_prezero_write_end(sgl);

	return true;
}

static void watch(struct client *c, unsigned int i, struct free_block *b)
{
	c->watched[i] = b->page;
	c->nid = zone_to_nid(b->zone);
}

/* Puts part of a block where a pass finds it, as if freed a while ago. */
static void give_old(struct free_block *b, unsigned int off,
		     unsigned int order, bool zeroed)
{
	unsigned long flags;

	spin_lock_irqsave(&b->zone->lock, flags);
	__free_block_give(b, off, order, zeroed);
	b->page[off].index = jiffies - HZ;
	spin_unlock_irqrestore(&b->zone->lock, flags);
}

static struct free_block *watched_block(struct client *c, unsigned int i)
{
	struct free_block *b = free_block_take(c->test);

	watch(c, i, b);
	give_old(b, 0, BLOCK_ORDER, false);

	return b;
}

/* Blocks that come back from a client count as freed at that time. */
static void let_age(void)
{
	msleep(50);
}

static int page_reporting_test_init(struct kunit *test)
{
	struct client *c = client_alloc(test, true);
	int err;

	err = page_reporting_register(&c->prdev);
	if (err == -EBUSY)
		kunit_skip(test, "there is a page reporting client: unload it first");
	if (err == -EOPNOTSUPP)
		kunit_skip(test, "not for this machine, see the line above");
	KUNIT_ASSERT_EQ(test, err, 0);
	page_reporting_unregister(&c->prdev);
	test_stay_on_cpu(test);
	let_age();

	return 0;
}

/*
 * Registering
 */
static void register_test_switches_on_and_off(struct kunit *test)
{
	struct client *c = client_alloc(test, true);
	unsigned long before = jiffies;

	KUNIT_EXPECT_FALSE(test, page_prezero_enabled());
	client_register(c);
	KUNIT_EXPECT_TRUE(test, page_prezero_enabled());
	/* Blocks freed before that are old enough by now, even if their age is wrong */
	KUNIT_EXPECT_GE(test, jiffies - before, MIN_AGE);
	kunit_release_action(test, client_unregister, c);
	KUNIT_EXPECT_FALSE(test, page_prezero_enabled());
}

static void register_test_second_client(struct kunit *test)
{
	struct client *first = zeroing_client(test);
	struct client *second = client_alloc(test, true);
	struct client *plain = client_alloc(test, false);

	KUNIT_EXPECT_EQ(test, page_reporting_register(&second->prdev), -EBUSY);
	KUNIT_EXPECT_EQ(test, page_reporting_register(&plain->prdev), -EBUSY);
	KUNIT_EXPECT_EQ(test, page_reporting_register(&first->prdev), -EBUSY);
	/* A client that was refused cannot unregister the one that was not */
	page_reporting_unregister(&second->prdev);
	KUNIT_EXPECT_EQ(test, client_pass(first), 0);
	KUNIT_EXPECT_GT(test, first->calls, 0);
	KUNIT_EXPECT_EQ(test, second->calls, 0);

	kunit_release_action(test, client_unregister, first);
	let_age();
	client_register(second);
	KUNIT_EXPECT_EQ(test, client_pass(second), 0);
	KUNIT_EXPECT_GT(test, second->calls, 0);
}

static void register_test_second_after_plain(struct kunit *test)
{
	struct client *plain = client_alloc(test, false);
	struct client *second = client_alloc(test, true);

	client_register(plain);
	KUNIT_EXPECT_EQ(test, page_reporting_register(&second->prdev), -EBUSY);
	KUNIT_EXPECT_FALSE(test, page_prezero_enabled());
}

static int mark_watched(struct client *c, struct scatterlist *sgl,
			unsigned int nents)
{
	struct scatterlist *sg;
	unsigned int i;

	for_each_sg(sgl, sg, nents, i) {
		if (sg_page(sg) == c->watched[0])
			mark_zeroed(sgl, sg_page(sg), get_order(sg->length));
	}

	return 0;
}

static void unregister_test_no_flag_left(struct kunit *test)
{
	struct client *c = zeroing_client(test);
	struct free_block *b = watched_block(c, 0);

	c->report = mark_watched;
	KUNIT_EXPECT_EQ(test, client_pass(c), 0);
	KUNIT_EXPECT_TRUE(test, PageZeroed(b->page));
	kunit_release_action(test, client_unregister, c);
	KUNIT_EXPECT_FALSE(test, PageZeroed(b->page));
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 0);
}

/*
 * Which client may ask for a pass, and for which
 */
static void process_node_test_not_registered(struct kunit *test)
{
	struct client *c = client_alloc(test, true);

	KUNIT_EXPECT_EQ(test, client_pass(c), -ENODEV);
	client_register(c);
	KUNIT_EXPECT_EQ(test, client_pass(c), 0);
	KUNIT_EXPECT_GT(test, c->calls, 0);

	kunit_release_action(test, client_unregister, c);
	client_forget_seen(c);
	KUNIT_EXPECT_EQ(test, client_pass(c), -ENODEV);
	KUNIT_EXPECT_EQ(test, c->calls, 0);
}

static void process_node_test_other_client_registered(struct kunit *test)
{
	struct client *c = client_alloc(test, true);
	struct client *other = zeroing_client(test);

	KUNIT_EXPECT_EQ(test, client_pass(c), -ENODEV);
	KUNIT_EXPECT_EQ(test, c->calls, 0);
	KUNIT_EXPECT_EQ(test, other->calls, 0);
}

static void process_node_test_not_a_zeroing_client(struct kunit *test)
{
	struct client *c = client_alloc(test, false);

	client_register(c);
	KUNIT_EXPECT_EQ(test, client_pass(c), -EINVAL);
	KUNIT_EXPECT_EQ(test, c->calls, 0);
}

static void process_node_test_invalid_order(struct kunit *test)
{
	struct client *c = zeroing_client(test);

	c->prdev.order = MAX_PAGE_ORDER + 1;
	KUNIT_EXPECT_EQ(test, client_pass(c), -EINVAL);
	c->prdev.order = UINT_MAX;
	KUNIT_EXPECT_EQ(test, client_pass(c), -EINVAL);
	KUNIT_EXPECT_EQ(test, c->calls, 0);
}

static void process_node_test_no_such_node(struct kunit *test)
{
	struct client *c = zeroing_client(test);

	c->nid = MAX_NUMNODES;
	KUNIT_EXPECT_EQ(test, client_pass(c), 0);
	KUNIT_EXPECT_EQ(test, c->calls, 0);
}

/*
 * What the client says it has done
 */
static void process_node_test_marked_gets_flag(struct kunit *test)
{
	struct client *c = zeroing_client(test);
	struct free_block *b = watched_block(c, 0);
	unsigned long cleared = vm_event(PREZERO_CLEARED);
	struct free_block_state st;

	c->report = mark_watched;
	KUNIT_EXPECT_EQ(test, client_pass(c), 0);
	KUNIT_EXPECT_GE(test, c->seen[0], 1);
	free_block_state(b, &st);
	KUNIT_EXPECT_EQ(test, st.nr_zeroed[BLOCK_ORDER], 1);
	KUNIT_EXPECT_EQ(test, st.wrong, 0);
	KUNIT_EXPECT_EQ(test, st.stray, 0);
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, vm_event(PREZERO_CLEARED) - cleared, BLOCK_PAGES);
}

static void process_node_test_zeroed_not_given_again(struct kunit *test)
{
	struct client *c = zeroing_client(test);
	struct free_block *b = watched_block(c, 0);

	c->report = mark_watched;
	KUNIT_EXPECT_EQ(test, client_pass(c), 0);
	KUNIT_EXPECT_TRUE(test, PageZeroed(b->page));
	client_forget_seen(c);
	let_age();
	KUNIT_EXPECT_EQ(test, client_pass(c), 0);
	KUNIT_EXPECT_GT(test, c->calls, 0);
	KUNIT_EXPECT_EQ(test, c->seen[0], 0);
}

/* A client that had to stop early has finished only some. */
static void process_node_test_not_marked_comes_again(struct kunit *test)
{
	struct client *c = zeroing_client(test);
	struct free_block *done = watched_block(c, 0);
	struct free_block *not_done = watched_block(c, 1);

	c->report = mark_watched;
	KUNIT_EXPECT_EQ(test, client_pass(c), 0);
	KUNIT_EXPECT_GE(test, c->seen[1], 1);
	KUNIT_EXPECT_TRUE(test, PageZeroed(done->page));
	KUNIT_EXPECT_TRUE(test, free_block_is(not_done, 0, BLOCK_ORDER));
	KUNIT_EXPECT_FALSE(test, PageZeroed(not_done->page));

	client_forget_seen(c);
	let_age();
	KUNIT_EXPECT_EQ(test, client_pass(c), 0);
	KUNIT_EXPECT_EQ(test, c->seen[0], 0);
	KUNIT_EXPECT_GE(test, c->seen[1], 1);
}

static int mark_first_and_fail(struct client *c, struct scatterlist *sgl,
			       unsigned int nents)
{
	unsigned int i;

	mark_zeroed(sgl, sg_page(sgl), get_order(sgl->length));
	for (i = 0; i < min(nents, NR_WATCHED); i++)
		c->watched[i] = sg_page(&sgl[i]);

	return -EIO;
}

static void process_node_test_marked_despite_error(struct kunit *test)
{
	struct client *c = zeroing_client(test);
	unsigned int i;

	c->report = mark_first_and_fail;
	KUNIT_EXPECT_EQ(test, client_pass(c), -EIO);
	KUNIT_ASSERT_NOT_NULL(test, c->watched[0]);
	KUNIT_EXPECT_TRUE(test, PageBuddy(c->watched[0]));
	KUNIT_EXPECT_TRUE(test, PageZeroed(c->watched[0]));
	for (i = 1; i < NR_WATCHED && c->watched[i]; i++) {
		KUNIT_EXPECT_TRUE(test, PageBuddy(c->watched[i]));
		KUNIT_EXPECT_FALSE(test, PageZeroed(c->watched[i]));
	}
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), BLOCK_PAGES);
}

static int fail(struct client *c, struct scatterlist *sgl, unsigned int nents)
{
	return -EINTR;
}

static void process_node_test_error_ends_pass(struct kunit *test)
{
	struct client *c = zeroing_client(test);

	c->report = fail;
	c->prdev.order = 0;
	KUNIT_EXPECT_EQ(test, client_pass(c), -EINTR);
	KUNIT_EXPECT_EQ(test, c->calls, 1);
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 0);
}

/*
 * Which blocks the client gets
 */
static void process_node_test_order(struct kunit *test)
{
	struct client *c = zeroing_client(test);
	struct free_block *b = free_block_take(test);

	watch(c, 0, b);
	c->watched[1] = b->page + BLOCK_PAGES / 2;
	give_old(b, 0, BLOCK_ORDER - 1, false);
	give_old(b, BLOCK_PAGES / 2, BLOCK_ORDER - 2, false);

	c->prdev.order = BLOCK_ORDER - 1;
	KUNIT_EXPECT_EQ(test, client_pass(c), 0);
	KUNIT_EXPECT_EQ(test, c->min_order, BLOCK_ORDER - 1);
	KUNIT_EXPECT_GE(test, c->seen[0], 1);
	KUNIT_EXPECT_EQ(test, c->seen[1], 0);
}

static void process_node_test_order_0(struct kunit *test)
{
	struct client *c = zeroing_client(test);
	struct free_block *b = free_block_take(test);
	unsigned int i;

	c->nid = zone_to_nid(b->zone);
	for (i = 0; i < NR_WATCHED; i++) {
		c->watched[i] = b->page + 2 * i;
		give_old(b, 2 * i, 0, false);
	}
	c->prdev.order = 0;
	KUNIT_EXPECT_EQ(test, client_pass(c), 0);
	KUNIT_EXPECT_EQ(test, c->min_order, 0);
	for (i = 0; i < NR_WATCHED; i++)
		KUNIT_EXPECT_GE(test, c->seen[i], 1);
}

static int change_order(struct client *c, struct scatterlist *sgl,
			unsigned int nents)
{
	WRITE_ONCE(c->prdev.order, c->calls % 2 ? c->other_ret : 0);

	return 0;
}

/* The client may change its mind at any time. */
static void process_node_test_order_changes(struct kunit *test)
{
	static const unsigned int orders[] = { 0, 9, MAX_PAGE_ORDER + 1, INT_MAX };
	struct client *c = zeroing_client(test);
	struct free_block *b = watched_block(c, 0);
	unsigned int i;

	c->report = change_order;
	for (i = 0; i < ARRAY_SIZE(orders); i++) {
		client_forget_seen(c);
		c->prdev.order = BLOCK_ORDER;
		c->other_ret = orders[i];
		KUNIT_EXPECT_EQ(test, client_pass(c), 0);
		KUNIT_EXPECT_GT(test, c->calls, 0);
		let_age();
	}
	KUNIT_EXPECT_TRUE(test, free_block_is(b, 0, BLOCK_ORDER));
}

/* Up to the limit, but not beyond: see client_pass(). */
static void process_node_test_batch(struct kunit *test)
{
	struct client *c = zeroing_client(test);
	struct free_block *b[2 * MAX_BATCH / (PAGE_SIZE << BLOCK_ORDER)];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(b); i++)
		b[i] = free_block_take(test);
	for (i = 0; i < ARRAY_SIZE(b); i++)
		give_old(b[i], 0, BLOCK_ORDER, false);
	c->nid = zone_to_nid(b[0]->zone);
	KUNIT_EXPECT_EQ(test, client_pass(c), 0);
	KUNIT_EXPECT_EQ(test, c->max_len, MAX_BATCH);
}

#define SMALL_ORDER	4
#define SMALL_PAGES	BIT(SMALL_ORDER)

/* How many blocks of that order are left while some are with the client */
static int count_left(struct client *c, struct scatterlist *sgl,
		      unsigned int nents)
{
	struct zone *zone = page_zone(sg_page(sgl));

	if (get_order(sgl->length) == SMALL_ORDER && sg_page(sgl) >= c->watched[0] &&
	    sg_page(sgl) < c->watched[0] + BLOCK_PAGES)
		c->other_ret = max_t(int, c->other_ret, nents -
				     READ_ONCE(zone->free_area[SMALL_ORDER].nr_free));

	return 0;
}

/* Requests of this order still find some. */
static void process_node_test_leaves_half(struct kunit *test)
{
	struct client *c = zeroing_client(test);
	struct free_block *b = free_block_take(test);
	unsigned int off;

	hide_free_blocks(b, true);
	watch(c, 0, b);
	c->other_ret = INT_MIN;
	for (off = 0; off < 16 * SMALL_PAGES; off += 2 * SMALL_PAGES)
		give_old(b, off, SMALL_ORDER, false);
	c->report = count_left;
	c->prdev.order = SMALL_ORDER;
	KUNIT_EXPECT_EQ(test, client_pass(c), 0);
	KUNIT_EXPECT_GE(test, c->seen[0], 1);
	KUNIT_EXPECT_LE(test, c->other_ret, 1);
}

/* The only block is taken if a larger one can serve a request instead. */
static void process_node_test_only_block(struct kunit *test)
{
	struct client *c = zeroing_client(test);
	struct free_block *larger = free_block_take(test);
	struct free_block *b = free_block_take(test);

	/* A type of which there is nothing else; the zone has enough memory */
	hide_free_blocks(b, true);
	free_block_set_type(larger, MIGRATE_RECLAIMABLE);
	free_block_set_type(b, MIGRATE_RECLAIMABLE);
	watch(c, 0, b);
	give_old(b, 0, SMALL_ORDER, false);
	c->prdev.order = SMALL_ORDER;
	KUNIT_EXPECT_EQ(test, client_pass(c), 0);
	KUNIT_EXPECT_EQ(test, c->seen[0], 0);

	give_old(larger, 0, BLOCK_ORDER - 1, true);
	KUNIT_EXPECT_EQ(test, client_pass(c), 0);
	KUNIT_EXPECT_GE(test, c->seen[0], 1);
}

/* A block is not the last one if there are others that are zeroed. */
static void process_node_test_others_zeroed(struct kunit *test)
{
	struct client *c = zeroing_client(test);
	struct free_block *b = free_block_take(test);

	hide_free_blocks(b, true);
	free_block_set_type(b, MIGRATE_RECLAIMABLE);
	watch(c, 0, b);
	give_old(b, 0, SMALL_ORDER, false);
	give_old(b, 2 * SMALL_PAGES, SMALL_ORDER, true);
	c->prdev.order = SMALL_ORDER;
	KUNIT_EXPECT_EQ(test, client_pass(c), 0);
	KUNIT_EXPECT_GE(test, c->seen[0], 1);
}

#define LONG_LIST_BLOCKS	8

static int count_small(struct client *c, struct scatterlist *sgl,
		       unsigned int nents)
{
	if (get_order(sgl->length) == SMALL_ORDER)
		c->other_ret += nents;

	return 0;
}

/*
 * A pass looks at the free list in steps. It gets through all of the list, even if
 * the first blocks are not for the client.
 */
static void process_node_test_long_list(struct kunit *test)
{
	struct client *c = zeroing_client(test);
	struct free_block *b[LONG_LIST_BLOCKS];
	unsigned int i, off, nr = 0;

	for (i = 0; i < LONG_LIST_BLOCKS; i++) {
		b[i] = free_block_take(test);
		fill_pages(b[i]->page, BLOCK_ORDER, 0);
	}
	hide_free_blocks(b[0], true);
	c->nid = zone_to_nid(b[0]->zone);
	for (i = 0; i < LONG_LIST_BLOCKS; i++) {
		for (off = 0; off < BLOCK_PAGES; off += 2 * SMALL_PAGES) {
			bool zeroed = i < LONG_LIST_BLOCKS - 2;

			give_old(b[i], off, SMALL_ORDER, zeroed);
			nr += !zeroed;
		}
	}
	c->report = count_small;
	c->prdev.order = SMALL_ORDER;
	KUNIT_EXPECT_EQ(test, client_pass(c), 0);
	KUNIT_EXPECT_GE(test, c->other_ret, nr);
	KUNIT_EXPECT_GT(test, expect_exact_counters(test),
			(LONG_LIST_BLOCKS - 2) * BLOCK_PAGES / 2 - 1);
}

/* The pass gets past young blocks, even if there are more than one step's. */
static void process_node_test_young_first(struct kunit *test)
{
	struct client *c = zeroing_client(test);
	struct free_block *b = free_block_take(test);
	struct free_block *young[LONG_LIST_BLOCKS];
	unsigned int i, off;
	unsigned long flags;

	for (i = 0; i < LONG_LIST_BLOCKS; i++)
		young[i] = free_block_take(test);
	hide_free_blocks(b, true);
	watch(c, 0, b);
	spin_lock_irqsave(&b->zone->lock, flags);
	for (i = 0; i < LONG_LIST_BLOCKS; i++) {
		for (off = 0; off < BLOCK_PAGES; off += 2 * SMALL_PAGES)
			__free_block_give(young[i], off, SMALL_ORDER, false);
	}
	spin_unlock_irqrestore(&b->zone->lock, flags);
	give_old(b, 0, SMALL_ORDER, false);
	c->prdev.order = SMALL_ORDER;
	KUNIT_EXPECT_EQ(test, client_pass(c), 0);
	KUNIT_EXPECT_GE(test, c->seen[0], 1);
}

static void process_node_test_min_age(struct kunit *test)
{
	struct client *c = zeroing_client(test);
	struct free_block *b = free_block_take(test);
	unsigned long flags;

	watch(c, 0, b);
	spin_lock_irqsave(&b->zone->lock, flags);
	__free_block_give(b, 0, BLOCK_ORDER, false);
	__free_block_to_front(b, 0);
	spin_unlock_irqrestore(&b->zone->lock, flags);
	/* client_report() checks that the block was not too young */
	KUNIT_EXPECT_EQ(test, client_pass(c), 0);

	let_age();
	client_forget_seen(c);
	KUNIT_EXPECT_EQ(test, client_pass(c), 0);
	KUNIT_EXPECT_GE(test, c->seen[0], 1);
}

/* Puts a page of the block on the per-cpu list of a CPU; the test then runs there. */
static void put_on_pcp(struct kunit *test, struct free_block *b, unsigned int cpu)
{
	struct page *page;

	hide_free_blocks(b, false);
	drain_all_pages(b->zone);
	hide_free_blocks(b, false);
	KUNIT_ASSERT_EQ(test, 0, set_cpus_allowed_ptr(current, cpumask_of(cpu)));
	page = free_block_alloc(b, false, TEST_GFP, 0);
	test_free(test, page, 0);
	KUNIT_EXPECT_FALSE(test, free_block_is(b, 0, BLOCK_ORDER));
}

/*
 * A page of the block is on the per-cpu list of a CPU: the pass brings it back,
 * and so finds the block.
 */
static void expect_drained(struct kunit *test, unsigned int cpu)
{
	struct client *c = zeroing_client(test);
	unsigned int here = raw_smp_processor_id();
	struct free_block *b = free_block_take(test);
	int tries = 20;

	put_on_pcp(test, b, cpu);
	KUNIT_ASSERT_EQ(test, 0, set_cpus_allowed_ptr(current, cpumask_of(here)));

	/* Time for the other CPU to become idle */
	let_age();
	c->nid = zone_to_nid(b->zone);
	/* They are drained once in a second, and only of CPUs that are idle */
	do {
		msleep(200);
		KUNIT_EXPECT_EQ(test, client_pass(c), 0);
	} while (!free_block_is(b, 0, BLOCK_ORDER) && --tries);
	KUNIT_ASSERT_TRUE(test, free_block_is(b, 0, BLOCK_ORDER));

	/* That was just now, so the next pass does not drain them */
	put_on_pcp(test, b, here);
	KUNIT_EXPECT_EQ(test, client_pass(c), 0);
	KUNIT_EXPECT_FALSE(test, free_block_is(b, 0, BLOCK_ORDER));
}

static void process_node_test_drains_this_cpu(struct kunit *test)
{
	expect_drained(test, raw_smp_processor_id());
}

static void process_node_test_drains_idle_cpu(struct kunit *test)
{
	unsigned int cpu = cpumask_any_but(cpumask_of_node(numa_mem_id()),
					   raw_smp_processor_id());

	if (cpu >= nr_cpu_ids)
		kunit_skip(test, "the node needs a second CPU");
	expect_drained(test, cpu);
}

static const int reserves[] = {
	MIGRATE_HIGHATOMIC,
#ifdef CONFIG_CMA
	MIGRATE_CMA,
#endif
	MIGRATE_ISOLATE,
};

static void reserve_desc(const int *mt, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s",
		 is_migrate_highatomic(*mt) ? "highatomic" :
		 is_migrate_cma(*mt) ? "cma" : "isolated");
}

KUNIT_ARRAY_PARAM(reserve, reserves, reserve_desc);

static void process_node_test_leaves_reserves(struct kunit *test)
{
	const int mt = *(const int *)test->param_value;
	struct client *c = zeroing_client(test);
	struct free_block *b = free_block_take(test);
	struct free_block *other = watched_block(c, 1);
	const unsigned int quarter = BLOCK_ORDER - 2;

	watch(c, 0, b);
	c->watched[2] = b->page + BLOCK_PAGES / 2;
	free_block_set_type(b, mt);
	/* Two, as the last one would be left in any case */
	give_old(b, 0, quarter, false);
	give_old(b, BLOCK_PAGES / 2, quarter, false);
	c->prdev.order = quarter;
	KUNIT_EXPECT_EQ(test, client_pass(c), 0);
	KUNIT_EXPECT_EQ(test, c->seen[0], 0);
	KUNIT_EXPECT_GE(test, c->seen[1], 1);
	KUNIT_EXPECT_EQ(test, c->seen[2], 0);
	KUNIT_EXPECT_TRUE(test, free_block_is(b, 0, quarter));
	KUNIT_EXPECT_TRUE(test, free_block_is(b, BLOCK_PAGES / 2, quarter));
	KUNIT_EXPECT_TRUE(test, free_block_is(other, 0, BLOCK_ORDER));
}

static void process_node_test_watermark(struct kunit *test)
{
	struct client *c = zeroing_client(test);
	struct free_block *b = free_block_take(test);
	unsigned long keep = low_wmark_pages(b->zone) + SZ_8M / PAGE_SIZE;
	struct hidden_blocks *hidden;

	hidden = hide_but(b, keep);
	KUNIT_ASSERT_LE(test, zone_page_state(b->zone, NR_FREE_PAGES),
			low_wmark_pages(b->zone) + SZ_8M / PAGE_SIZE +
			SZ_4M / PAGE_SIZE);
	watch(c, 0, b);
	give_old(b, 0, BLOCK_ORDER, false);
	KUNIT_EXPECT_EQ(test, client_pass(c), 0);
	KUNIT_EXPECT_EQ(test, c->seen[0], 0);

	unhide(test, hidden);
	KUNIT_EXPECT_EQ(test, client_pass(c), 0);
	KUNIT_EXPECT_GE(test, c->seen[0], 1);
}

static int mark_some_fail_some(struct client *c, struct scatterlist *sgl,
			       unsigned int nents)
{
	if (c->calls % 3 == 0)
		mark_zeroed(sgl, sg_page(sgl), get_order(sgl->length));

	return c->calls % 16 ? 0 : -EIO;
}

static void process_node_test_nothing_lost(struct kunit *test)
{
	struct client *c = zeroing_client(test);
	struct free_block *b = watched_block(c, 0);
	struct zone *zone = b->zone;
	long before, after;
	unsigned int i;

	drain_all_pages(zone);
	before = zone_page_state_snapshot(zone, NR_FREE_PAGES);
	c->report = mark_some_fail_some;
	for (i = 0; i < 12; i++) {
		c->prdev.order = BLOCK_ORDER - i % 3;
		page_prezero_scan_node(&c->prdev, c->nid);
	}
	drain_all_pages(zone);
	after = zone_page_state_snapshot(zone, NR_FREE_PAGES);
	KUNIT_EXPECT_GT(test, c->calls, 3);
	KUNIT_EXPECT_TRUE(test, free_block_is(b, 0, BLOCK_ORDER));
	/* Other tasks allocate and free, but not whole blocks */
	KUNIT_EXPECT_LT(test, abs(before - after), BLOCK_PAGES);
	expect_exact_counters(test);
}

/*
 * Other users of memory, while pages are with the client
 */
static int wait_for_other(struct client *c, struct scatterlist *sgl,
			  unsigned int nents)
{
	struct scatterlist *sg;
	unsigned int i;

	for_each_sg(sgl, sg, nents, i) {
		if (sg_page(sg) == c->watched[0]) {
			mark_zeroed(sgl, sg_page(sg), get_order(sg->length));
			complete(&c->reporting);
			wait_for_completion_timeout(&c->go_on, 10 * HZ);
			/* Time for the other thread to do what it must not do yet */
			msleep(20);
			c->other_done_early = READ_ONCE(c->other_done);
			c->write_refused = !page_prezero_write_begin(sgl);
			if (!c->write_refused)
				page_prezero_write_end(sgl);
		}
	}

	return 0;
}

static int pass_thread(void *data)
{
	struct client *c = data;

	c->other_ret = page_prezero_scan_node(&c->prdev, c->nid);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(HZ / 10);

	return 0;
}

static void pass_thread_stop(void *data)
{
	struct client *c = data;

	complete(&c->go_on);
	kthread_stop(c->task);
}

/* Another thread makes a pass; it has the first watched block on return. */
static void start_pass_of(struct kunit *test, struct client *c,
			  int (*report)(struct client *c, struct scatterlist *sgl,
					unsigned int nents))
{
	unsigned int cpu = cpumask_any_but(cpu_online_mask, raw_smp_processor_id());

	c->report = report;
	c->task = kthread_create(pass_thread, c, "kunit_pass");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, c->task);
	/* The test has its own CPU */
	if (cpu < nr_cpu_ids)
		kthread_bind(c->task, cpu);
	wake_up_process(c->task);
	test_at_end(test, pass_thread_stop, c);
	KUNIT_ASSERT_GT(test, wait_for_completion_timeout(&c->reporting,
							  WORK_TIMEOUT), 0);
}

static void start_pass(struct kunit *test, struct client *c)
{
	start_pass_of(test, c, wait_for_other);
}

/* Until the block is the client's no more, or for long */
static int wait_to_be_recalled(struct client *c, struct scatterlist *sgl,
			       unsigned int nents)
{
	int tries = 200;

	complete(&c->reporting);
	while (page_prezero_write_begin(sgl)) {
		page_prezero_write_end(sgl);
		if (!--tries)
			return 0;
		msleep(20);
	}
	c->write_refused = true;
	/* Time for the other to do what it must not do yet */
	msleep(200);
	WRITE_ONCE(c->other_done, true);

	return -EAGAIN;
}

/* A client that clears much does not keep the one that unregisters it waiting. */
static void unregister_test_recalls(struct kunit *test)
{
	struct client *c = zeroing_client(test);

	watched_block(c, 0);
	start_pass_of(test, c, wait_to_be_recalled);
	kunit_release_action(test, client_unregister, c);
	/* It has gone on while the client had not returned, but has waited for it */
	KUNIT_EXPECT_TRUE(test, c->write_refused);
	KUNIT_EXPECT_TRUE(test, READ_ONCE(c->other_done));
	kunit_release_action(test, pass_thread_stop, c);
	KUNIT_EXPECT_EQ(test, c->other_ret, -ENODEV);
}

static int write_for_long(struct client *c, struct scatterlist *sgl,
			  unsigned int nents)
{
	if (c->calls > 1 || !page_prezero_write_begin(sgl))
		return 0;

	complete(&c->reporting);
	mdelay(100);
	WRITE_ONCE(c->other_done, true);
	page_prezero_write_end(sgl);

	return 0;
}

/* A step of the client that has begun is waited for. */
static void page_prezero_recall_test_waits(struct kunit *test)
{
	struct client *c = zeroing_client(test);
	bool done;

	if (num_online_cpus() < 2)
		kunit_skip(test, "needs a second CPU");
	watched_block(c, 0);
	start_pass_of(test, c, write_for_long);
	page_prezero_recall(true);
	done = READ_ONCE(c->other_done);
	KUNIT_EXPECT_TRUE(test, done);
	kunit_release_action(test, pass_thread_stop, c);
}

static void unregister_test_in_mid_pass(struct kunit *test)
{
	struct client *c = zeroing_client(test);
	struct free_block *last = watched_block(c, 1);
	struct free_block *b = watched_block(c, 0);
	unsigned long flags;
	unsigned int calls;

	spin_lock_irqsave(&b->zone->lock, flags);
	__free_block_to_front(b, 0);
	spin_unlock_irqrestore(&b->zone->lock, flags);
	start_pass(test, c);
	complete(&c->go_on);
	kunit_release_action(test, client_unregister, c);
	WRITE_ONCE(c->other_done, true);
	calls = c->calls;

	kunit_release_action(test, pass_thread_stop, c);
	KUNIT_EXPECT_FALSE(test, c->other_done_early);
	KUNIT_EXPECT_EQ(test, c->other_ret, -ENODEV);
	KUNIT_EXPECT_EQ(test, c->calls, calls);
	KUNIT_EXPECT_TRUE(test, free_block_is(b, 0, BLOCK_ORDER));
	KUNIT_EXPECT_TRUE(test, free_block_is(last, 0, BLOCK_ORDER));
	KUNIT_EXPECT_FALSE(test, PageZeroed(b->page));
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 0);
	KUNIT_EXPECT_FALSE(test, page_prezero_enabled());
}

/* The memory comes back although the client has not returned. */
static void page_prezero_recall_test(struct kunit *test)
{
	struct client *c = zeroing_client(test);
	struct free_block *b = watched_block(c, 0);

	start_pass(test, c);
	KUNIT_EXPECT_FALSE(test, PageBuddy(b->page));
	KUNIT_EXPECT_TRUE(test, page_prezero_recall(true));
	KUNIT_EXPECT_TRUE(test, free_block_is_zeroed(b, 0, BLOCK_ORDER));
	KUNIT_EXPECT_FALSE(test, page_prezero_recall(true));
	WRITE_ONCE(c->other_done, true);

	kunit_release_action(test, pass_thread_stop, c);
	KUNIT_EXPECT_TRUE(test, c->other_done_early);
	KUNIT_EXPECT_TRUE(test, free_block_is(b, 0, BLOCK_ORDER));
	KUNIT_EXPECT_EQ(test, c->other_ret, -EAGAIN);
}

/* A client that is told so late must not write any more. */
static void page_prezero_write_begin_test_recalled(struct kunit *test)
{
	struct client *c = zeroing_client(test);

	watched_block(c, 0);
	start_pass(test, c);
	page_prezero_recall(true);
	kunit_release_action(test, pass_thread_stop, c);
	KUNIT_EXPECT_TRUE(test, c->write_refused);
}

/* Nor is it waited for if it writes just then: it sees it after that. */
static int recall_while_writing(struct client *c, struct scatterlist *sgl,
				unsigned int nents)
{
	bool any;

	if (!page_prezero_write_begin(sgl))
		return 0;
	any = page_prezero_recall(false);
	page_prezero_write_end(sgl);
	KUNIT_EXPECT_FALSE(c->test, any);
	c->write_refused = !page_prezero_write_begin(sgl);
	if (!c->write_refused)
		page_prezero_write_end(sgl);

	return 0;
}

static void page_prezero_recall_test_while_writing(struct kunit *test)
{
	struct client *c = zeroing_client(test);

	watched_block(c, 0);
	c->report = recall_while_writing;
	KUNIT_EXPECT_EQ(test, client_pass(c), -EAGAIN);
	KUNIT_EXPECT_TRUE(test, c->write_refused);
}

/* Nothing goes out from a pause on, until it ends. */
static void page_prezero_pause_test(struct kunit *test)
{
	struct client *c = zeroing_client(test);

	watched_block(c, 0);
	page_prezero_pause();
	KUNIT_EXPECT_EQ(test, client_pass(c), -EAGAIN);
	KUNIT_EXPECT_EQ(test, c->calls, 0);
	page_prezero_resume();
	KUNIT_EXPECT_EQ(test, client_pass(c), 0);
	KUNIT_EXPECT_GE(test, c->seen[0], 1);
}

static void alloc_contig_range_test_of_block_with_client(struct kunit *test)
{
	struct client *c = zeroing_client(test);
	struct free_block *b = watched_block(c, 0);
	unsigned long pfn = page_to_pfn(b->page);
	int err;

	start_pass(test, c);
	KUNIT_EXPECT_FALSE(test, PageBuddy(b->page));
	err = alloc_contig_range(pfn, pfn + BLOCK_PAGES, MIGRATE_MOVABLE,
				 GFP_KERNEL);
	KUNIT_EXPECT_EQ(test, err, 0);
	if (!err)
		free_contig_range(pfn, BLOCK_PAGES);

	kunit_release_action(test, pass_thread_stop, c);
}

/* An allocation that would fail has back what is being cleared. */
static void alloc_test_of_what_client_has(struct kunit *test)
{
	struct client *c = zeroing_client(test);
	struct free_block *other = free_block_take(test);
	struct free_block *b = watched_block(c, 0);
	struct page *page;

	/* So that it is not the last one, which would not be taken */
	give_old(other, 0, BLOCK_ORDER, false);
	start_pass(test, c);
	KUNIT_EXPECT_FALSE(test, PageBuddy(b->page));
	hide_halves(b, BLOCK_ORDER);
	/* With no time to compact memory */
	page = alloc_pages(TEST_GFP & ~__GFP_DIRECT_RECLAIM, BLOCK_ORDER);
	KUNIT_EXPECT_NOT_NULL(test, page);
	if (page)
		__free_pages(page, BLOCK_ORDER);
	kunit_release_action(test, pass_thread_stop, c);
}

#ifdef CONFIG_MEMORY_FAILURE
static void memory_failure_test_of_block_with_client(struct kunit *test)
{
	struct client *c = zeroing_client(test);
	struct free_block *b = watched_block(c, 0);
	unsigned long pfn = page_to_pfn(b->page) + 333;
	int err;

	start_pass(test, c);
	KUNIT_EXPECT_FALSE(test, PageBuddy(b->page));
	err = memory_failure(pfn, MF_SW_SIMULATED);
	KUNIT_EXPECT_EQ(test, err, 0);
	KUNIT_EXPECT_FALSE(test, free_block_is(b, 0, BLOCK_ORDER));
	KUNIT_EXPECT_FALSE(test, PageBuddy(pfn_to_page(pfn)));
	KUNIT_EXPECT_EQ(test, unpoison_memory(pfn), 0);

	kunit_release_action(test, pass_thread_stop, c);
}

/* A bad page in a free block: not written, not handed out, and not seen again. */
static void process_node_test_hwpoison(struct kunit *test)
{
	struct client *c = zeroing_client(test);
	struct free_block *b = free_block_take(test);
	struct page *bad = b->page + 333;

	watch(c, 0, b);
	SetPageHWPoison(bad);
	num_poisoned_pages_inc(page_to_pfn(bad));
	give_old(b, 0, BLOCK_ORDER, false);
	KUNIT_EXPECT_EQ(test, client_pass(c), 0);
	KUNIT_EXPECT_EQ(test, c->seen[0], 0);
	KUNIT_EXPECT_FALSE(test, free_block_is(b, 0, BLOCK_ORDER));
	KUNIT_EXPECT_TRUE(test, free_block_is(b, BLOCK_PAGES / 2, BLOCK_ORDER - 1));
	KUNIT_EXPECT_TRUE(test, free_block_is(b, 332, 0));
	KUNIT_EXPECT_FALSE(test, PageBuddy(bad));
	KUNIT_EXPECT_EQ(test, page_count(bad), 1);
	KUNIT_EXPECT_TRUE(test, pages_read_as(bad, 0, 0xa5));
	KUNIT_EXPECT_EQ(test, unpoison_memory(page_to_pfn(bad)), 0);
	KUNIT_EXPECT_TRUE(test, free_block_is(b, 0, BLOCK_ORDER));
}

static void soft_offline_page_test_of_block_with_client(struct kunit *test)
{
	struct client *c = zeroing_client(test);
	struct free_block *b = watched_block(c, 0);
	unsigned long pfn = page_to_pfn(b->page) + 333;

	start_pass(test, c);
	KUNIT_EXPECT_FALSE(test, PageBuddy(b->page));
	KUNIT_EXPECT_EQ(test, soft_offline_page(pfn, 0), 0);
	KUNIT_EXPECT_EQ(test, unpoison_memory(pfn), 0);

	kunit_release_action(test, pass_thread_stop, c);
}
#endif

/* And what the client does not have can be had without waiting for it. */
static void alloc_test_during_report(struct kunit *test)
{
	struct client *c = zeroing_client(test);
	struct free_block *b = watched_block(c, 0);
	struct page *page;

	start_pass(test, c);
	KUNIT_EXPECT_FALSE(test, PageBuddy(b->page));
	page = alloc_pages(TEST_GFP | __GFP_ZERO, BLOCK_ORDER);
	KUNIT_EXPECT_NOT_NULL(test, page);
	if (page)
		__free_pages(page, BLOCK_ORDER);
	page_prezero_forget();
	complete(&c->go_on);
	kunit_release_action(test, pass_thread_stop, c);
	KUNIT_EXPECT_EQ(test, c->other_ret, 0);
}

/*
 * A client that does not clear pages
 */
static int tell_done(struct client *c, struct scatterlist *sgl,
		     unsigned int nents)
{
	if (c->watched[0] && !c->seen[0])
		return 0;

	complete(&c->reporting);

	return c->other_ret;
}

static void wait_for_work(struct client *c)
{
	KUNIT_ASSERT_GT(c->test, wait_for_completion_timeout(&c->reporting,
							     WORK_TIMEOUT), 0);
	/* Until it has put back what was reported */
	flush_delayed_work(&c->prdev.work);
}

static struct free_block *block_to_report(struct client *c)
{
	struct free_block *b = free_block_take(c->test);
	unsigned long flags;

	watch(c, 0, b);
	spin_lock_irqsave(&b->zone->lock, flags);
	__free_block_give(b, 0, BLOCK_ORDER, false);
	__free_block_to_front(b, 0);
	spin_unlock_irqrestore(&b->zone->lock, flags);
	c->report = tell_done;

	return b;
}

static void plain_client_test_reported_once(struct kunit *test)
{
	struct client *c = client_alloc(test, false);
	struct free_block *b = block_to_report(c);
	unsigned long flags;
	struct page *page;

	client_register(c);
	KUNIT_EXPECT_FALSE(test, page_prezero_enabled());
	wait_for_work(c);
	KUNIT_EXPECT_TRUE(test, free_block_is(b, 0, BLOCK_ORDER));
	KUNIT_EXPECT_TRUE(test, PageReported(b->page));
	KUNIT_EXPECT_FALSE(test, PageZeroed(b->page));
	KUNIT_EXPECT_EQ(test, c->seen[0], 1);

	/* Freed memory has it told again, but not of the same block */
	reinit_completion(&c->reporting);
	c->watched[1] = b->page;
	c->seen[1] = 0;
	c->watched[0] = NULL;
	page = alloc_pages(TEST_GFP & ~__GFP_MOVABLE, BLOCK_ORDER);
	KUNIT_ASSERT_NOT_NULL(test, page);
	spin_lock_irqsave(&b->zone->lock, flags);
	if (free_block_is(b, 0, BLOCK_ORDER))
		__free_block_to_front(b, 0);
	spin_unlock_irqrestore(&b->zone->lock, flags);
	__free_pages(page, BLOCK_ORDER);
	wait_for_work(c);
	KUNIT_EXPECT_EQ(test, c->seen[1], 0);
	KUNIT_EXPECT_EQ(test, expect_exact_counters(test), 0);
}

static void plain_client_test_error(struct kunit *test)
{
	struct client *c = client_alloc(test, false);
	struct free_block *b = block_to_report(c);

	c->other_ret = -EIO;
	client_register(c);
	wait_for_work(c);
	KUNIT_EXPECT_TRUE(test, free_block_is(b, 0, BLOCK_ORDER));
	KUNIT_EXPECT_FALSE(test, PageReported(b->page));
}

static void no_work(struct work_struct *work)
{
}

static void cancel_no_work(void *data)
{
	struct client *c = data;

	cancel_delayed_work_sync(&c->prdev.work);
}

/* One that clears pages does so when it likes: freed memory starts nothing. */
static void zeroing_client_test_nothing_queued(struct kunit *test)
{
	struct client *plain = client_alloc(test, false);
	struct client *c = client_alloc(test, true);
	struct page *page;

	/* Has the allocator notify of freed pages from now on */
	client_register(plain);
	kunit_release_action(test, client_unregister, plain);

	INIT_DELAYED_WORK(&c->prdev.work, no_work);
	test_at_end(test, cancel_no_work, c);
	client_register(c);
	page = alloc_pages(TEST_GFP, BLOCK_ORDER);
	KUNIT_ASSERT_NOT_NULL(test, page);
	__free_pages(page, BLOCK_ORDER);
	KUNIT_EXPECT_EQ(test, atomic_read(&c->prdev.state), 0);
	KUNIT_EXPECT_FALSE(test, delayed_work_pending(&c->prdev.work));
	KUNIT_EXPECT_EQ(test, c->calls, 0);
}

static struct kunit_case page_reporting_test_cases[] = {
	KUNIT_CASE(register_test_switches_on_and_off),
	KUNIT_CASE(register_test_second_client),
	KUNIT_CASE(register_test_second_after_plain),
	KUNIT_CASE(unregister_test_no_flag_left),
	KUNIT_CASE(unregister_test_in_mid_pass),
	KUNIT_CASE(unregister_test_recalls),
	KUNIT_CASE(process_node_test_not_registered),
	KUNIT_CASE(process_node_test_other_client_registered),
	KUNIT_CASE(process_node_test_not_a_zeroing_client),
	KUNIT_CASE(process_node_test_invalid_order),
	KUNIT_CASE(process_node_test_no_such_node),
	KUNIT_CASE(process_node_test_marked_gets_flag),
	KUNIT_CASE(process_node_test_zeroed_not_given_again),
	KUNIT_CASE(process_node_test_not_marked_comes_again),
	KUNIT_CASE(process_node_test_marked_despite_error),
	KUNIT_CASE(process_node_test_error_ends_pass),
	KUNIT_CASE(process_node_test_order),
	KUNIT_CASE(process_node_test_order_0),
	KUNIT_CASE(process_node_test_order_changes),
	KUNIT_CASE(process_node_test_batch),
	KUNIT_CASE(process_node_test_leaves_half),
	KUNIT_CASE(process_node_test_only_block),
	KUNIT_CASE(process_node_test_others_zeroed),
	KUNIT_CASE(process_node_test_long_list),
	KUNIT_CASE(process_node_test_young_first),
	KUNIT_CASE(process_node_test_min_age),
	KUNIT_CASE(process_node_test_drains_this_cpu),
	KUNIT_CASE(process_node_test_drains_idle_cpu),
	KUNIT_CASE_PARAM(process_node_test_leaves_reserves,
			 reserve_gen_params),
	KUNIT_CASE(process_node_test_watermark),
	KUNIT_CASE(process_node_test_nothing_lost),
	KUNIT_CASE(page_prezero_recall_test),
	KUNIT_CASE(page_prezero_recall_test_while_writing),
	KUNIT_CASE(page_prezero_recall_test_waits),
	KUNIT_CASE(page_prezero_write_begin_test_recalled),
	KUNIT_CASE(page_prezero_pause_test),
	KUNIT_CASE(alloc_contig_range_test_of_block_with_client),
#ifdef CONFIG_MEMORY_FAILURE
	KUNIT_CASE(memory_failure_test_of_block_with_client),
	KUNIT_CASE(soft_offline_page_test_of_block_with_client),
	KUNIT_CASE(process_node_test_hwpoison),
#endif
	KUNIT_CASE(alloc_test_during_report),
	KUNIT_CASE(alloc_test_of_what_client_has),
	KUNIT_CASE_SLOW(plain_client_test_reported_once),
	KUNIT_CASE_SLOW(plain_client_test_error),
	KUNIT_CASE(zeroing_client_test_nothing_queued),
	{}
};

static struct kunit_suite page_reporting_test_suite = {
	.name = "page_reporting",
	.init = page_reporting_test_init,
	.test_cases = page_reporting_test_cases,
};

kunit_test_suite(page_reporting_test_suite);
