// SPDX-License-Identifier: GPL-2.0
/*
 * What an allocation and its free cost. Under "-icount shift=0" a nanosecond is
 * an instruction, so the figures of two kernels can be compared to the digit.
 * Loading prints one line per order to the kernel log and always fails, so that
 * there is nothing to unload.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/gfp.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>

#define COST_LOOPS	20000

static u64 cost_of(unsigned int order)
{
	unsigned long flags;
	struct page *page;
	u64 start, ns;
	int i;

	/* Without interrupts each run is the same, to the instruction */
	local_irq_save(flags);
	start = ktime_get_ns();
	for (i = 0; i < COST_LOOPS; i++) {
		page = alloc_pages(GFP_ATOMIC | __GFP_NOWARN, order);
		if (page)
			__free_pages(page, order);
	}
	ns = ktime_get_ns() - start;
	local_irq_restore(flags);

	return ns;
}

static int __init cost_init(void)
{
	unsigned int order;

	for (order = 0; order <= 9; order += 3) {
		cost_of(order); /* fill the per-cpu lists */
		pr_info("order %u: %llu ns for %d loops\n", order,
			cost_of(order), COST_LOOPS);
	}

	return -EAGAIN;
}
module_init(cost_init);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Counts what an allocation costs");
