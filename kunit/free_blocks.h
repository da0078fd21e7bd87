/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Free memory under the control of a test.
 *
 * A test takes a block of MAX_PAGE_ORDER off the free lists. From then on the test
 * decides which parts of the block are on the free lists, in which order they got
 * there and whether they are said to read as zeroes. As long as the test holds
 * zone->lock from the time it puts a part there until it has looked at that part,
 * no other task can get in between. At the end of the test all of the block goes
 * back to the free lists.
 */
#ifndef _FREE_BLOCKS_H
#define _FREE_BLOCKS_H

#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/mmzone.h>

#define BLOCK_ORDER	MAX_PAGE_ORDER
#define BLOCK_PAGES	BIT(BLOCK_ORDER)

/* For allocations of tests: served from the zone that the blocks are taken from */
#define TEST_GFP	(GFP_KERNEL | __GFP_MOVABLE | __GFP_THISNODE | \
			 __GFP_NOWARN | __GFP_NORETRY)
/* The same, as for memory of user space */
#define TEST_GFP_USER	(TEST_GFP | __GFP_HIGHMEM)

/**
 * struct free_block_state - what the free lists say of a block
 * @free: pages on the free lists
 * @zeroed: of them, in blocks with PG_zeroed
 * @nr: blocks by order
 * @nr_zeroed: of them, with PG_zeroed
 * @wrong: blocks with PG_zeroed that do not read as zeroes
 * @stray: pages with the bit of PG_zeroed that are not the first of a free block
 */
struct free_block_state {
	unsigned int free;
	unsigned int zeroed;
	unsigned int nr[NR_PAGE_ORDERS];
	unsigned int nr_zeroed[NR_PAGE_ORDERS];
	unsigned int wrong;
	unsigned int stray;
};

/**
 * struct free_block - a block of MAX_PAGE_ORDER that a test controls
 * @test: the test
 * @zone: its zone
 * @page: its first page
 * @ours: a bit for each page that the test holds: neither free nor allocated
 * @left: its state right after free_block_alloc()
 * @isolated: the first page frame that the test has isolated
 * @isolated_end: the first page frame after the isolated ones
 * @mt: migratetype that the test has given to its pageblocks
 * @high: the high watermark that a test has changed
 */
struct free_block {
	struct kunit *test;
	struct zone *zone;
	struct page *page;
	DECLARE_BITMAP(ours, BLOCK_PAGES);
	struct free_block_state left;
	unsigned long isolated;
	unsigned long isolated_end;
	int mt;
	unsigned long high;
};

/* Cleared pages, or such with a pattern in them; owned by the test or not */
void fill_pages(struct page *page, unsigned int order, u8 byte);
bool pages_read_as(struct page *page, unsigned int order, u8 byte);

/* Process context */
void test_stay_on_cpu(struct kunit *test);
void test_at_end(struct kunit *test, kunit_action_t *action, void *data);
struct free_block *free_block_take(struct kunit *test);
struct free_block *free_block_take_for(struct kunit *test, gfp_t gfp);
void free_block_state(struct free_block *b, struct free_block_state *st);
struct page *free_block_alloc(struct free_block *b, bool zeroed, gfp_t gfp,
			      unsigned int order);
void free_block_isolate(struct free_block *b, unsigned int off,
			unsigned int nr);
void free_block_unisolate(struct free_block *b);
void free_block_set_type(struct free_block *b, int mt);
void test_own(struct kunit *test, struct page *page, unsigned int order);
void test_disown(struct kunit *test, struct page *page, unsigned int order);
void test_free(struct kunit *test, struct page *page, unsigned int order);
void pcp_off(struct free_block *b);
void hide_free_blocks(struct free_block *b, bool others);
struct hidden_blocks *hide_but(struct free_block *b, unsigned long keep);
void hide_halves(struct free_block *b, unsigned int order);
void unhide(struct kunit *test, struct hidden_blocks *hidden);
unsigned long expect_exact_counters(struct kunit *test);
unsigned long vm_event(enum vm_event_item item);

/* Under zone->lock, interrupts off */
void __free_block_give(struct free_block *b, unsigned int off,
		       unsigned int order, bool zeroed);
bool __free_block_grab(struct free_block *b, unsigned int off,
		       unsigned int order);
void free_block_adopt(struct free_block *b, unsigned int off,
		      unsigned int order);
void __free_block_to_front(struct free_block *b, unsigned int off);
void __free_block_state(struct free_block *b, struct free_block_state *st);

/* The same with the lock taken here */
void free_block_give(struct free_block *b, unsigned int off,
		     unsigned int order, bool zeroed);
bool free_block_grab(struct free_block *b, unsigned int off,
		     unsigned int order);

/* A block with its first page at @off of @b: free, and with PG_zeroed? */
bool free_block_is(struct free_block *b, unsigned int off, unsigned int order);
bool free_block_is_zeroed(struct free_block *b, unsigned int off,
			  unsigned int order);

/* The same, on the free lists of a type */
bool free_block_is_of(struct free_block *b, unsigned int off,
		      unsigned int order, int mt);

#endif /* _FREE_BLOCKS_H */
