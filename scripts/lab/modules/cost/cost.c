// SPDX-License-Identifier: GPL-2.0
/*
 * The cost of the page allocator. Under "-icount shift=0" a nanosecond is an
 * instruction, so the figures of two kernels can be compared to the digit.
 *
 * The path of an allocation depends on what is on the free lists. Before counting,
 * the module brings them to a state that is the same on all kernels: there are
 * only movable blocks of the largest order, and the per-cpu lists are empty. All
 * allocations are movable, so none falls back to another migratetype.
 *
 * Parameters in /sys/module/cost/parameters:
 *
 * run		write "KIND ORDER" to count, read "NANOSECONDS HOLDS LOOPS"
 * count_locks	1: count how often a zone->lock is taken, by kprobes. The
 *		nanoseconds mean nothing then.
 * holds	how often a zone->lock was taken since count_locks became 1
 *
 * Kinds, all but the first and those of many blocks without per-cpu lists:
 *
 * percpu	allocate and free one block, which is on the per-cpu list, if its
 *		order has one
 * same		allocate and free one block, which comes from the free list of its
 *		own order and goes back there
 * split	allocate and free one block, which is split off a block of the
 *		largest order and merges with it again
 * alloc	allocate COST_BYTES block after block: a split here and there, and
 *		refills of the per-cpu list
 * zero		the same with __GFP_ZERO
 * free		free these blocks, up to the free lists
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/gfp.h>
#include <linux/kprobes.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/module.h>
#include <linux/nodemask.h>
#include <linux/sizes.h>
#include <linux/vmstat.h>

#include "cost.h"

#define COST_LOOPS	20000
#define COST_BYTES	SZ_64M
#define COST_MAX_BLOCKS	4096

#define COST_GFP	(GFP_NOWAIT | __GFP_NOWARN | __GFP_MOVABLE)

/* Not exported, found by kprobes */
static void (*cost_drain_all_pages)(struct zone *zone);

/* Where movable memory comes from */
static struct zone *cost_zone;

static LIST_HEAD(cost_held);
static struct page *cost_blocks[COST_MAX_BLOCKS];

static u64 cost_ns;
static unsigned long cost_run_holds;
static unsigned int cost_loops;

static bool count_locks;
atomic_long_t cost_holds = ATOMIC_LONG_INIT(0);
EXPORT_SYMBOL_GPL(cost_holds);

static int cost_lock_taken(struct kprobe *p, struct pt_regs *regs)
{
	unsigned long lock = regs_get_kernel_argument(regs, 0);
	int nid, i;

	for_each_online_node(nid) {
		for (i = 0; i < MAX_NR_ZONES; i++) {
			if (lock == (unsigned long)
				    &NODE_DATA(nid)->node_zones[i].lock)
				atomic_long_inc(&cost_holds);
		}
	}

	return 0;
}

static struct kprobe cost_probes[] = {
	{ .symbol_name = "_raw_spin_lock", .pre_handler = cost_lock_taken },
	{ .symbol_name = "_raw_spin_lock_irq", .pre_handler = cost_lock_taken },
	{ .symbol_name = "_raw_spin_lock_irqsave",
	  .pre_handler = cost_lock_taken },
};

static int count_locks_set(const char *val, const struct kernel_param *kp)
{
	bool on;
	int err;
	int i;

	err = kstrtobool(val, &on);
	if (err || on == count_locks)
		return err;

	for (i = 0; i < ARRAY_SIZE(cost_probes); i++) {
		if (!on) {
			unregister_kprobe(&cost_probes[i]);
			/* To be able to register it again */
			cost_probes[i].addr = NULL;
			cost_probes[i].flags = 0;
			continue;
		}
		err = register_kprobe(&cost_probes[i]);
		if (err) {
			while (i--)
				unregister_kprobe(&cost_probes[i]);
			return err;
		}
	}
	atomic_long_set(&cost_holds, 0);
	count_locks = on;

	return 0;
}

static const struct kernel_param_ops count_locks_ops = {
	.set = count_locks_set,
	.get = param_get_bool,
};
module_param_cb(count_locks, &count_locks_ops, &count_locks, 0644);

static int holds_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%ld\n", atomic_long_read(&cost_holds));
}

static const struct kernel_param_ops holds_ops = {
	.get = holds_get,
};
module_param_cb(holds, &holds_ops, NULL, 0444);

static struct per_cpu_pages *per_cpu_list(void)
{
	return raw_cpu_ptr(cost_zone->per_cpu_pageset);
}

/* A per-cpu list adapts its limits to its use: reset them */
static void reset_per_cpu_list(void)
{
	struct per_cpu_pages *pcp = per_cpu_list();

	cost_drain_all_pages(cost_zone);
	pcp->high = pcp->high_min;
	pcp->flags = 0;
	pcp->alloc_factor = 0;
	pcp->free_count = 0;
}

/* With the list locked, allocations and frees go to the free lists directly. */
static void bypass_per_cpu_list(void)
{
	spin_lock(&per_cpu_list()->lock);
}

static void use_per_cpu_list(void)
{
	spin_unlock(&per_cpu_list()->lock);
}

/*
 * Each CPU adds its counts to the zone's figure when they reach a limit. Add them
 * now, so that this happens at the same place in each run.
 */
static void fold_free_pages(void)
{
	s8 *diff = raw_cpu_ptr(cost_zone->per_cpu_zonestats)->vm_stat_diff;

	zone_page_state_add(diff[NR_FREE_PAGES], cost_zone, NR_FREE_PAGES);
	diff[NR_FREE_PAGES] = 0;
}

static bool hold(unsigned int order, gfp_t gfp)
{
	struct page *page = alloc_pages(gfp, order);

	if (!page)
		return false;
	set_page_private(page, order);
	list_add(&page->lru, &cost_held);

	return true;
}

static void release_held(void)
{
	struct page *page, *next;
	unsigned int order;

	list_for_each_entry_safe(page, next, &cost_held, lru) {
		list_del(&page->lru);
		order = page_private(page);
		set_page_private(page, 0);
		__free_pages(page, order);
	}
	cost_drain_all_pages(cost_zone);
}

/*
 * Hold all blocks of a migratetype up to order @last. Small orders first: a block
 * that is split for one leaves its rest to the orders from there on.
 */
static bool hold_all(int mt, gfp_t gfp, unsigned int last)
{
	struct list_head *list;
	unsigned int order;

	for (order = 0; order <= last; order++) {
		list = &cost_zone->free_area[order].free_list[mt];
		while (!list_empty(list)) {
			if (!hold(order, gfp))
				return false;
		}
	}

	return true;
}

/*
 * Leave nothing on the free lists but movable blocks of the largest order. The
 * check of the watermarks looks at the lists of all migratetypes.
 */
static bool prepare_lists(void)
{
	gfp_t gfp = COST_GFP & ~__GFP_MOVABLE;
	bool done;

	reset_per_cpu_list();
	bypass_per_cpu_list();
	done = hold_all(MIGRATE_UNMOVABLE, gfp, MAX_PAGE_ORDER) &&
	       hold_all(MIGRATE_RECLAIMABLE, gfp | __GFP_RECLAIMABLE,
			MAX_PAGE_ORDER) &&
	       hold_all(MIGRATE_MOVABLE, COST_GFP, MAX_PAGE_ORDER - 1);
	use_per_cpu_list();

	return done;
}

static bool alloc_and_free(unsigned int order)
{
	struct page *page = alloc_pages(COST_GFP, order);

	if (!page)
		return false;
	__free_pages(page, order);

	return true;
}

/*
 * Hold one of two blocks that are buddies: the other, when freed, has no buddy to
 * merge with, and is allocated next.
 */
static bool prepare_same(unsigned int order)
{
	struct page *page;

	if (order == MAX_PAGE_ORDER)
		return true;

	page = alloc_pages(COST_GFP, order);
	if (!page || !hold(order, COST_GFP))
		return false;
	__free_pages(page, order);

	return true;
}

static int cost_of_one(unsigned int order)
{
	int i, err = 0;

	fold_free_pages();
	cost_loops = COST_LOOPS;
	cost_run_holds = atomic_long_read(&cost_holds);
	cost_ns = ktime_get_ns();
	for (i = 0; i < COST_LOOPS; i++) {
		if (!alloc_and_free(order))
			err = -ENOMEM;
	}
	cost_ns = ktime_get_ns() - cost_ns;
	cost_run_holds = atomic_long_read(&cost_holds) - cost_run_holds;

	return err;
}

static int cost_without_per_cpu_list(unsigned int order, bool same)
{
	int err = -ENOMEM;

	bypass_per_cpu_list();
	if (!same || prepare_same(order))
		err = cost_of_one(order);
	use_per_cpu_list();

	return err;
}

static int cost_of_per_cpu_list(unsigned int order)
{
	/* The first one fills it */
	return alloc_and_free(order) ? cost_of_one(order) : -ENOMEM;
}

static int cost_of_many(unsigned int order, gfp_t gfp, bool free)
{
	unsigned int i, nr = min_t(unsigned int, COST_MAX_BLOCKS,
				   COST_BYTES >> (PAGE_SHIFT + order));
	unsigned long holds;
	u64 start;

	fold_free_pages();
	holds = atomic_long_read(&cost_holds);
	start = ktime_get_ns();
	for (i = 0; i < nr; i++) {
		cost_blocks[i] = alloc_pages(gfp, order);
		if (!cost_blocks[i])
			break;
	}
	cost_ns = ktime_get_ns() - start;
	cost_run_holds = atomic_long_read(&cost_holds) - holds;
	cost_loops = i;

	start = ktime_get_ns();
	holds = atomic_long_read(&cost_holds);
	while (i--)
		__free_pages(cost_blocks[i], order);
	cost_drain_all_pages(cost_zone);
	if (free) {
		cost_ns = ktime_get_ns() - start;
		cost_run_holds = atomic_long_read(&cost_holds) - holds;
	}

	return cost_loops == nr ? 0 : -ENOMEM;
}

static int run_set(const char *val, const struct kernel_param *kp)
{
	unsigned long flags;
	unsigned int order;
	char kind[8];
	int err;

	if (sscanf(val, "%7s %u", kind, &order) != 2 || order > MAX_PAGE_ORDER)
		return -EINVAL;

	/* Without interrupts each run is the same, to the instruction */
	local_irq_save(flags);
	if (!prepare_lists())
		err = -ENOMEM;
	else if (!strcmp(kind, "percpu"))
		err = cost_of_per_cpu_list(order);
	else if (!strcmp(kind, "same") || !strcmp(kind, "split"))
		err = cost_without_per_cpu_list(order, kind[1] == 'a');
	else if (!strcmp(kind, "alloc") || !strcmp(kind, "free"))
		err = cost_of_many(order, COST_GFP, kind[0] == 'f');
	else if (!strcmp(kind, "zero"))
		err = cost_of_many(order, COST_GFP | __GFP_ZERO, false);
	else
		err = -EINVAL;
	release_held();
	local_irq_restore(flags);

	return err;
}

static int run_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%llu %lu %u\n", cost_ns, cost_run_holds,
			  cost_loops);
}

static const struct kernel_param_ops run_ops = {
	.set = run_set,
	.get = run_get,
};
module_param_cb(run, &run_ops, NULL, 0644);

static int __init cost_init(void)
{
	struct kprobe probe = { .symbol_name = "drain_all_pages" };
	struct page *page;
	int err;

	err = register_kprobe(&probe);
	if (err)
		return err;
	cost_drain_all_pages = (void *)probe.addr;
	unregister_kprobe(&probe);

	page = alloc_pages(COST_GFP, 0);
	if (!page)
		return -ENOMEM;
	cost_zone = page_zone(page);
	__free_page(page);

	return 0;
}
module_init(cost_init);

static void __exit cost_exit(void)
{
	count_locks_set("0", NULL);
}
module_exit(cost_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Counts what allocating and freeing costs");
