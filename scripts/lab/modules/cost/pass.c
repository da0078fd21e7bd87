// SPDX-License-Identifier: GPL-2.0
/*
 * The cost of a pass over the free blocks with nothing left to clear. A client like
 * prezero; a script tells it when to go over a node. The client reads memory before
 * it writes to it: in a lab with sparse memory, most of which has never been
 * written, this does not make the host allocate it.
 *
 * Parameters in /sys/module/pass/parameters:
 *
 * enabled	1: register, 0: unregister
 * run		write a node's number for passes over it, 100 ms apart, as long as
 *		there is something to clear, and five more. Read "NANOSECONDS HOLDS
 *		BLOCKS" of the cheapest of the five: a timer interrupt costs
 *		instructions, too. HOLDS of a zone->lock, if cost.ko counts them,
 *		and BLOCKS that the client was given.
 * poison	write 1: a free block has a page with a memory error in it
 * highatomic	write 1: make a free block a reserve for atomic allocations. Needs
 *		less free memory than the low watermark.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/module.h>
#include <linux/page_prezero.h>
#include <linux/page_reporting.h>
#include <linux/scatterlist.h>

#include "cost.h"

static u64 pass_ns;
static unsigned long pass_holds;
static unsigned long pass_blocks;
static bool pass_enabled;

static bool reads_as_zeroes(struct page *page)
{
	const u64 *p = page_address(page);
	const u64 *end = p + PAGE_SIZE / sizeof(*p);

	for (; p < end; p += 8) {
		if (p[0] | p[1] | p[2] | p[3] | p[4] | p[5] | p[6] | p[7])
			return false;
	}

	return true;
}

static void make_zeroed(struct page *page, unsigned long nr_pages)
{
	unsigned long i;

	for (i = 0; i < nr_pages; i++) {
		if (!reads_as_zeroes(page + i))
			clear_page(page_address(page + i));
	}
}

static int pass_report(struct page_reporting_dev_info *prdev,
		       struct scatterlist *sgl, unsigned int nents)
{
	struct scatterlist *sg;
	unsigned int i;

	for_each_sg(sgl, sg, nents, i) {
		pass_blocks++;
		/* Longer than a client should, but no other task runs in this lab */
		if (!page_prezero_write_begin(sgl))
			return -EAGAIN;
		make_zeroed(sg_page(sg), sg->length >> PAGE_SHIFT);
		page_prezero_mark(sgl, sg_page(sg));
		page_prezero_write_end(sgl);
	}

	return 0;
}

static struct page_reporting_dev_info pass_client = {
	.report = pass_report,
	.prezero = true,
};

static int pass_register(void)
{
	pass_client.order = pageblock_order;
	return page_reporting_register(&pass_client);
}

static void pass_unregister(void)
{
	page_reporting_unregister(&pass_client);
}

static int pass_over_node(int nid)
{
	return page_prezero_scan_node(&pass_client, nid);
}

static int enabled_set(const char *val, const struct kernel_param *kp)
{
	bool on;
	int err;

	err = kstrtobool(val, &on);
	if (err || on == pass_enabled)
		return err;

	if (on)
		err = pass_register();
	else
		pass_unregister();
	if (!err)
		pass_enabled = on;

	return err;
}

static const struct kernel_param_ops enabled_ops = {
	.set = enabled_set,
	.get = param_get_bool,
};
module_param_cb(enabled, &enabled_ops, &pass_enabled, 0644);

static int one_pass(int nid)
{
	unsigned long holds;
	u64 start;
	int err;

	/* The scan leaves alone what was freed a moment ago */
	msleep(100);

	pass_blocks = 0;
	holds = atomic_long_read(&cost_holds);
	start = ktime_get_ns();
	err = pass_over_node(nid);
	pass_ns = ktime_get_ns() - start;
	pass_holds = atomic_long_read(&cost_holds) - holds;

	return err;
}

/* Until a pass clears nothing, or no less than each of the ten before */
static int clear_all(int nid)
{
	unsigned long least = ULONG_MAX;
	int same = 0;
	int err;

	do {
		err = one_pass(nid);
		if (err)
			return err;
		if (pass_blocks < least) {
			least = pass_blocks;
			same = 0;
		}
	} while (pass_blocks && ++same < 10);

	return 0;
}

static int run_set(const char *val, const struct kernel_param *kp)
{
	unsigned long holds, blocks;
	u64 ns = U64_MAX;
	int nid;
	int err;
	int i;

	err = kstrtoint(val, 10, &nid);
	if (err)
		return err;
	if (nid < 0 || nid >= MAX_NUMNODES || !node_online(nid))
		return -EINVAL;

	err = clear_all(nid);
	for (i = 0; i < 5 && !err; i++) {
		err = one_pass(nid);
		if (pass_ns < ns) {
			ns = pass_ns;
			holds = pass_holds;
			blocks = pass_blocks;
		}
	}
	if (err)
		return err;

	pass_ns = ns;
	pass_holds = holds;
	pass_blocks = blocks;

	return 0;
}

static int run_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%llu %lu %lu\n", pass_ns, pass_holds,
			  pass_blocks);
}

static const struct kernel_param_ops run_ops = {
	.set = run_set,
	.get = run_get,
};
module_param_cb(run, &run_ops, NULL, 0644);

/* The kernel ignores an error in memory that it uses; the page is freed with the rest */
static int poison_set(const char *val, const struct kernel_param *kp)
{
	struct page *page = alloc_pages(GFP_KERNEL | __GFP_MOVABLE,
					pageblock_order);

	if (!page)
		return -ENOMEM;
	memory_failure(page_to_pfn(page) + pageblock_nr_pages / 2, 0);
	__free_pages(page, pageblock_order);

	return 0;
}

static const struct kernel_param_ops poison_ops = {
	.set = poison_set,
};
module_param_cb(poison, &poison_ops, NULL, 0200);

static int highatomic_set(const char *val, const struct kernel_param *kp)
{
	/* A whole block of the scan's, which is free afterwards */
	struct page *page = alloc_pages(GFP_ATOMIC, MAX_PAGE_ORDER);
	bool reserved;

	if (!page)
		return -ENOMEM;
	reserved = page_zone(page)->nr_reserved_highatomic;
	__free_pages(page, MAX_PAGE_ORDER);

	return reserved ? 0 : -EAGAIN;
}

static const struct kernel_param_ops highatomic_ops = {
	.set = highatomic_set,
};
module_param_cb(highatomic, &highatomic_ops, NULL, 0200);

static int __init pass_init(void)
{
	return 0;
}
module_init(pass_init);

static void __exit pass_exit(void)
{
	if (pass_enabled)
		pass_unregister();
}
module_exit(pass_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Counts what a pass over cleared memory costs");
