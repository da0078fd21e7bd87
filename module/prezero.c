// SPDX-License-Identifier: GPL-2.0
/*
 * prezero: clears free memory while no other task wants the CPU
 *
 * The kernel keeps track of which free blocks read as zeroes and skips the
 * clearing when it allocates them (mm/page_prezero.h). This module is the policy:
 * when to clear, on which CPUs, which blocks, and when to stop. It is a client of
 * page reporting, which hands it free blocks; the module marks those it cleared.
 *
 * One thread of the lowest priority goes over all nodes every interval_ms. After
 * each chunk (struct store_method) the thread checks whether another task wants its
 * CPU. If so, the thread ends the pass and tries again a little later. A block that
 * is half cleared goes back unmarked.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <kunit/visibility.h>
#include <linux/cpumask.h>
#include <linux/freezer.h>
#include <linux/highmem.h>
#include <linux/kobject.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/libnvdimm.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/nodemask.h>
#include <linux/page_prezero.h>
#include <linux/page_reporting.h>
#include <linux/sched.h>
#include <linux/sched/isolation.h>
#include <linux/sched/stat.h>
#include <linux/slab.h>
#include <linux/sysfs.h>
#include <linux/time64.h>
#include <linux/topology.h>
#include <linux/vmstat.h>
#include <linux/wait.h>
#include <uapi/linux/sched/types.h>

#include "prezero.h"
#include "stores.h"

#ifndef CONFIG_PAGE_PREZERO
#error "this kernel tree lacks CONFIG_PAGE_PREZERO: apply the patches and enable it"
#endif

#define PREZERO_INTERVAL_MS_MIN		10
#define PREZERO_INTERVAL_MS_MAX		(60 * 60 * 1000)

/* Pause after a pass that was stopped, unless the interval is shorter */
#define PREZERO_RETRY_MS		100U

/*
 * To measure a method: bytes to clear, and how often. A round takes less than 0.2 ms,
 * unless other tasks get in between: after PREZERO_MEASURE_MS the least has to do.
 */
#define PREZERO_MEASURE_SZ		SZ_256K
#define PREZERO_MEASURE_ROUNDS		32
#define PREZERO_MEASURE_ROUNDS_MIN	8
#define PREZERO_MEASURE_MS		10

static int prezero_report(struct page_reporting_dev_info *prdev,
			  struct scatterlist *sgl, unsigned int nents);

static struct page_reporting_dev_info prezero_prdev = {
	.report = prezero_report,
	.prezero = true,
};

/* Serializes starting and stopping: protects prezero_thread and the registration */
static DEFINE_MUTEX(prezero_mutex);
static struct task_struct *prezero_thread;
static DECLARE_WAIT_QUEUE_HEAD(prezero_wait);
static bool prezero_kicked;

static unsigned int prezero_interval_ms = 2000;
static bool prezero_idle_only = true;
static bool prezero_verify;
static const struct store_method *prezero_method;
/* prezero_method was measured to be the fastest */
static bool prezero_method_auto;

/* Written by the thread only */
static unsigned long prezero_passes;
static unsigned long prezero_passes_stopped;

/*
 * Load in a virtual machine, too (bool, default N). Clearing the free memory of a
 * guest makes its host allocate that memory and clear it.
 */
static bool allow_guest;
module_param(allow_guest, bool, 0444);
MODULE_PARM_DESC(allow_guest, "Load in a virtual machine, too, whose host then allocates the memory (default: N)");

/* Start clearing when loaded (bool, default Y). Later on, sysfs starts and stops. */
static bool enabled = true;
module_param(enabled, bool, 0444);
MODULE_PARM_DESC(enabled, "Start clearing when loaded (default: Y)");

/*
 * How to clear: a method's name, or auto (the default) to measure which method of
 * this CPU is the fastest. Later on, sysfs changes it.
 */
static char *method = "auto";
module_param(method, charp, 0444);
MODULE_PARM_DESC(method, "How to clear: auto, clear_page, or on x86_64 nt, clzero, movdir64b, on arm64 stnp (default: auto)");

/* The time one method takes, to clear memory that is in no cache. */
static u64 prezero_measure(const struct store_method *m, void *mem)
{
	u64 start;

	arch_invalidate_pmem(mem, PREZERO_MEASURE_SZ);
	start = ktime_get_ns();
	store_method_clear(m, mem, PREZERO_MEASURE_SZ);

	/* No division by zero with a coarse clock */
	return max(ktime_get_ns() - start, 1);
}

/*
 * Measure all methods in turn, and take the best time of each, because other tasks
 * and interrupts get in between.
 *
 * Returns the fastest, or an error without memory.
 */
static const struct store_method *prezero_fastest(void)
{
	u64 end = ktime_get_ns() + PREZERO_MEASURE_MS * NSEC_PER_MSEC;
	const struct store_method *m, *fastest = store_methods;
	u64 best[ARRAY_SIZE(store_methods)];
	unsigned int round, i;
	int cpu, len = 0;
	char log[160];
	void *mem;

	mem = kvmalloc(PREZERO_MEASURE_SZ, GFP_KERNEL);
	if (!mem)
		return ERR_PTR(-ENOMEM);

	memset(best, 0xff, sizeof(best));
	migrate_disable();
	cpu = raw_smp_processor_id();
	for (round = 0; round < PREZERO_MEASURE_ROUNDS; round++) {
		for (m = store_methods; m->name; m++) {
			if (!store_method_usable(m))
				continue;
			i = m - store_methods;
			best[i] = min(best[i], prezero_measure(m, mem));
			cond_resched();
		}
		if (round + 1 >= PREZERO_MEASURE_ROUNDS_MIN && ktime_get_ns() > end)
			break;
	}
	migrate_enable();
	kvfree(mem);

	for (m = store_methods; m->name; m++) {
		i = m - store_methods;
		if (best[i] == U64_MAX)
			continue;
		/* Bytes per nanosecond are GB/s */
		len += scnprintf(log + len, sizeof(log) - len,
				 "%s %s (%s) %llu.%llu", len ? "," : "",
				 m->name, m->insn, PREZERO_MEASURE_SZ / best[i],
				 PREZERO_MEASURE_SZ * 10 / best[i] % 10);
		if (best[i] < best[fastest - store_methods])
			fastest = m;
	}
	pr_info("method: auto took %s; GB/s on CPU %d:%s\n", fastest->name,
		cpu, log);

	return fastest;
}

/*
 * The names that may be written, with the one that is set in square brackets. If
 * that is auto, the method it took is in parentheses.
 */
static int prezero_method_names(char *buf, size_t size)
{
	const struct store_method *set = READ_ONCE(prezero_method);
	bool is_auto = READ_ONCE(prezero_method_auto);
	const struct store_method *m;
	int len;

	len = scnprintf(buf, size, is_auto ? "[auto]" : "auto");
	for (m = store_methods; m->name; m++) {
		if (store_method_usable(m))
			len += scnprintf(buf + len, size - len,
					 m != set ? " %s" : is_auto ? " (%s)" : " [%s]",
					 m->name);
	}

	return len;
}

/* The method of that name, or an error that the log explains */
static const struct store_method *prezero_find_method(const char *name)
{
	const struct store_method *m;
	char names[64];
	int err = -EINVAL;

	for (m = store_methods; m->name; m++) {
		if (!sysfs_streq(name, m->name))
			continue;
		if (store_method_usable(m))
			return m;
		err = -EOPNOTSUPP;
	}

	prezero_method_names(names, sizeof(names));
	pr_err("method: %s; choose from: %s\n",
	       err == -EINVAL ? "no such name" : "this CPU does not have it",
	       names);

	return ERR_PTR(err);
}

static int prezero_set_method(const char *name)
{
	bool is_auto = sysfs_streq(name, "auto");
	const struct store_method *m;

	lockdep_assert_held(&prezero_mutex);

	m = is_auto ? prezero_fastest() : prezero_find_method(name);
	if (IS_ERR(m))
		return PTR_ERR(m);

	/* The thread goes on with the next block */
	WRITE_ONCE(prezero_method, m);
	WRITE_ONCE(prezero_method_auto, is_auto);

	return 0;
}

static bool prezero_must_end(void)
{
	return kthread_should_stop() || freezing(current);
}

/**
 * prezero_must_stop - does the thread have to end its pass now?
 *
 * Return: true if the thread is to end or to freeze, if it is on an isolated CPU,
 * or, with idle_only, if another task wants its CPU.
 */
VISIBLE_IF_KUNIT bool prezero_must_stop(void)
{
	if (prezero_must_end())
		return true;

	/* A new cpuset partition may have isolated the thread's CPU */
	if (cpu_is_isolated(raw_smp_processor_id()))
		return true;

	return READ_ONCE(prezero_idle_only) &&
	       (need_resched() || !single_task_running());
}
EXPORT_SYMBOL_IF_KUNIT(prezero_must_stop);

/**
 * prezero_clear_block - clear a block of free pages
 * @m: how
 * @sgl: what prezero_report() was given
 * @page: first page of the block
 * @nr_pages: number of pages of PAGE_SIZE in it
 * @begin: called with @sgl before each chunk of @m; returns false to stop
 * @end: called with @sgl after each chunk of @m
 *
 * Return: 0 if all of the block reads as zeroes, -EAGAIN if @begin returned false.
 */
VISIBLE_IF_KUNIT int prezero_clear_block(const struct store_method *m,
					 struct scatterlist *sgl,
					 struct page *page,
					 unsigned long nr_pages,
					 bool (*begin)(struct scatterlist *sgl),
					 void (*end)(struct scatterlist *sgl))
{
	size_t done, len = nr_pages << PAGE_SHIFT;

	for (done = 0; done < len; done += m->chunk) {
		if (!begin(sgl))
			return -EAGAIN;
		m->clear(page_address(page) + done, min(m->chunk, len - done));
		end(sgl);
	}

	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(prezero_clear_block);

static bool prezero_begin_chunk(struct scatterlist *sgl)
{
	if (prezero_must_stop())
		return false;

	/* With idle_only the pass ends instead */
	if (!READ_ONCE(prezero_idle_only))
		cond_resched();

	return page_prezero_write_begin(sgl);
}

static int prezero_report(struct page_reporting_dev_info *prdev,
			  struct scatterlist *sgl, unsigned int nents)
{
	struct scatterlist *sg;
	unsigned int i;
	int err;

	for_each_sg(sgl, sg, nents, i) {
		err = prezero_clear_block(READ_ONCE(prezero_method), sgl,
					  sg_page(sg), sg->length >> PAGE_SHIFT,
					  prezero_begin_chunk,
					  page_prezero_write_end);
		if (err || !page_prezero_write_begin(sgl))
			return -EAGAIN;
		page_prezero_mark(sgl, sg_page(sg));
		page_prezero_write_end(sgl);
	}

	return 0;
}

/*
 * Run on a CPU of node @nid if it has one, but never on an isolated CPU: neither
 * of isolcpus= and nohz_full=, nor of a cpuset partition.
 */
static void prezero_move_to_node(int nid)
{
	cpumask_var_t mask;
	int cpu;

	if (!zalloc_cpumask_var(&mask, GFP_KERNEL))
		return;

	for_each_online_cpu(cpu) {
		if (!cpu_is_isolated(cpu))
			cpumask_set_cpu(cpu, mask);
	}
	if (cpumask_intersects(mask, cpumask_of_node(nid)))
		cpumask_and(mask, mask, cpumask_of_node(nid));
	if (!cpumask_empty(mask) && !cpumask_equal(mask, current->cpus_ptr))
		set_cpus_allowed_ptr(current, mask);
	free_cpumask_var(mask);
}

/*
 * If the CPUs of one node are busy, the pass still goes on with the other nodes.
 *
 * Returns whether the pass was completed on all nodes.
 */
static bool prezero_pass(void)
{
	bool stopped = false;
	int nid;

	for_each_node_state(nid, N_MEMORY) {
		prezero_move_to_node(nid);
		/* Check before taking blocks off the free lists, too */
		if (prezero_must_stop() ||
		    page_prezero_scan_node(&prezero_prdev, nid))
			stopped = true;
		if (prezero_must_end())
			break;
	}

	WRITE_ONCE(prezero_passes, prezero_passes + 1);
	if (stopped)
		WRITE_ONCE(prezero_passes_stopped, prezero_passes_stopped + 1);

	return !stopped;
}

static int prezero_threadfn(void *unused)
{
	const struct sched_attr attr = { .sched_policy = SCHED_IDLE };
	unsigned int ms;

	sched_setattr_nocheck(current, &attr);
	set_freezable();

	while (!kthread_should_stop()) {
		ms = READ_ONCE(prezero_interval_ms);
		if (!prezero_pass())
			ms = min(ms, PREZERO_RETRY_MS);

		wait_event_freezable_timeout(prezero_wait,
					     kthread_should_stop() ||
					     xchg(&prezero_kicked, false),
					     msecs_to_jiffies(ms));
	}

	return 0;
}

static int prezero_start(void)
{
	struct task_struct *thread;
	int err;

	lockdep_assert_held(&prezero_mutex);

	if (prezero_thread)
		return 0;

	err = page_reporting_register(&prezero_prdev);
	if (err == -EBUSY)
		pr_err("another client of free page reporting is registered, virtio_balloon as a rule: unload it first\n");
	if (err)
		return err;

	thread = kthread_run(prezero_threadfn, NULL, "prezero");
	if (IS_ERR(thread)) {
		page_reporting_unregister(&prezero_prdev);
		return PTR_ERR(thread);
	}
	prezero_thread = thread;

	return 0;
}

static void prezero_stop(void)
{
	lockdep_assert_held(&prezero_mutex);

	if (!prezero_thread)
		return;

	/* On a busy machine a SCHED_IDLE thread might not get a CPU to end */
	sched_set_normal(prezero_thread, 0);
	kthread_stop(prezero_thread);
	prezero_thread = NULL;
	page_reporting_unregister(&prezero_prdev);
}

static void prezero_kick(void)
{
	WRITE_ONCE(prezero_kicked, true);
	wake_up(&prezero_wait);
}

#define PREZERO_ATTR_RO(_name) \
	static struct kobj_attribute _name##_attr = __ATTR_RO(_name)

#define PREZERO_ATTR_RW(_name) \
	static struct kobj_attribute _name##_attr = __ATTR_RW(_name)

static ssize_t enabled_show(struct kobject *kobj, struct kobj_attribute *attr,
			    char *buf)
{
	return sysfs_emit(buf, "%d\n", !!READ_ONCE(prezero_thread));
}

static ssize_t enabled_store(struct kobject *kobj, struct kobj_attribute *attr,
			     const char *buf, size_t count)
{
	bool on;
	int err;

	err = kstrtobool(buf, &on);
	if (err)
		return err;

	mutex_lock(&prezero_mutex);
	if (on)
		err = prezero_start();
	else
		prezero_stop();
	mutex_unlock(&prezero_mutex);

	return err ?: count;
}
PREZERO_ATTR_RW(enabled);

static int prezero_store_uint(const char *buf, unsigned int *val,
			      unsigned int min, unsigned int max)
{
	unsigned int new;
	int err;

	err = kstrtouint(buf, 10, &new);
	if (err)
		return err;
	if (new < min || new > max)
		return -ERANGE;

	WRITE_ONCE(*val, new);
	prezero_kick();

	return 0;
}

static ssize_t order_show(struct kobject *kobj, struct kobj_attribute *attr,
			  char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(prezero_prdev.order));
}

static ssize_t order_store(struct kobject *kobj, struct kobj_attribute *attr,
			   const char *buf, size_t count)
{
	return prezero_store_uint(buf, &prezero_prdev.order, 0,
				  MAX_PAGE_ORDER) ?: count;
}
PREZERO_ATTR_RW(order);

static ssize_t interval_ms_show(struct kobject *kobj,
				struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(prezero_interval_ms));
}

static ssize_t interval_ms_store(struct kobject *kobj,
				 struct kobj_attribute *attr,
				 const char *buf, size_t count)
{
	return prezero_store_uint(buf, &prezero_interval_ms,
				  PREZERO_INTERVAL_MS_MIN,
				  PREZERO_INTERVAL_MS_MAX) ?: count;
}
PREZERO_ATTR_RW(interval_ms);

static ssize_t idle_only_show(struct kobject *kobj, struct kobj_attribute *attr,
			      char *buf)
{
	return sysfs_emit(buf, "%d\n", READ_ONCE(prezero_idle_only));
}

static ssize_t idle_only_store(struct kobject *kobj,
			       struct kobj_attribute *attr,
			       const char *buf, size_t count)
{
	bool on;
	int err;

	err = kstrtobool(buf, &on);
	if (err)
		return err;

	WRITE_ONCE(prezero_idle_only, on);

	return count;
}
PREZERO_ATTR_RW(idle_only);

static ssize_t method_show(struct kobject *kobj, struct kobj_attribute *attr,
			   char *buf)
{
	int len = prezero_method_names(buf, PAGE_SIZE);

	return len + sysfs_emit_at(buf, len, "\n");
}

static ssize_t method_store(struct kobject *kobj, struct kobj_attribute *attr,
			    const char *buf, size_t count)
{
	int err;

	mutex_lock(&prezero_mutex);
	err = prezero_set_method(buf);
	mutex_unlock(&prezero_mutex);

	return err ?: count;
}
PREZERO_ATTR_RW(method);

static ssize_t verify_show(struct kobject *kobj, struct kobj_attribute *attr,
			   char *buf)
{
	return sysfs_emit(buf, "%d\n", READ_ONCE(prezero_verify));
}

static ssize_t verify_store(struct kobject *kobj, struct kobj_attribute *attr,
			    const char *buf, size_t count)
{
	bool on;
	int err;

	err = kstrtobool(buf, &on);
	if (err)
		return err;

	mutex_lock(&prezero_mutex);
	WRITE_ONCE(prezero_verify, on);
	page_prezero_set_verify(on);
	mutex_unlock(&prezero_mutex);

	return count;
}
PREZERO_ATTR_RW(verify);

static ssize_t flush_store(struct kobject *kobj, struct kobj_attribute *attr,
			   const char *buf, size_t count)
{
	bool on;
	int err;

	err = kstrtobool(buf, &on);
	if (err)
		return err;
	if (!on)
		return -EINVAL;

	page_prezero_forget();

	return count;
}

static struct kobj_attribute flush_attr = __ATTR_WO(flush);

/* All events; the caller frees them */
static unsigned long *prezero_vm_events(void)
{
	unsigned long *events = kcalloc(NR_VM_EVENT_ITEMS, sizeof(*events),
					GFP_KERNEL);

	if (events)
		all_vm_events(events);

	return events;
}

static ssize_t prezero_vm_event_show(enum vm_event_item item, char *buf)
{
	unsigned long *events = prezero_vm_events();
	ssize_t ret;

	if (!events)
		return -ENOMEM;

	ret = sysfs_emit(buf, "%lu\n", events[item]);
	kfree(events);

	return ret;
}

static ssize_t pages_cleared_show(struct kobject *kobj,
				  struct kobj_attribute *attr, char *buf)
{
	return prezero_vm_event_show(PREZERO_CLEARED, buf);
}
PREZERO_ATTR_RO(pages_cleared);

static ssize_t pages_hit_show(struct kobject *kobj, struct kobj_attribute *attr,
			      char *buf)
{
	return prezero_vm_event_show(PREZERO_HIT, buf);
}
PREZERO_ATTR_RO(pages_hit);

static ssize_t pages_miss_show(struct kobject *kobj,
			       struct kobj_attribute *attr, char *buf)
{
	return prezero_vm_event_show(PREZERO_MISS, buf);
}
PREZERO_ATTR_RO(pages_miss);

static ssize_t pages_unasked_show(struct kobject *kobj,
				  struct kobj_attribute *attr, char *buf)
{
	unsigned long *events = prezero_vm_events();
	unsigned long hit, taken;

	if (!events)
		return -ENOMEM;

	hit = events[PREZERO_HIT];
	taken = events[PREZERO_TAKEN];
	kfree(events);

	/* The counters are not read at once: hit may be ahead for a moment */
	return sysfs_emit(buf, "%lu\n", taken > hit ? taken - hit : 0);
}
PREZERO_ATTR_RO(pages_unasked);

static ssize_t pages_free_zeroed_show(struct kobject *kobj,
				      struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lu\n", global_zone_page_state(NR_FREE_ZEROED));
}
PREZERO_ATTR_RO(pages_free_zeroed);

static ssize_t verify_failed_show(struct kobject *kobj,
				  struct kobj_attribute *attr, char *buf)
{
	return prezero_vm_event_show(PREZERO_VERIFY_FAILED, buf);
}
PREZERO_ATTR_RO(verify_failed);

static ssize_t passes_show(struct kobject *kobj, struct kobj_attribute *attr,
			   char *buf)
{
	return sysfs_emit(buf, "%lu\n", READ_ONCE(prezero_passes));
}
PREZERO_ATTR_RO(passes);

static ssize_t passes_stopped_show(struct kobject *kobj,
				   struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lu\n", READ_ONCE(prezero_passes_stopped));
}
PREZERO_ATTR_RO(passes_stopped);

static struct attribute *prezero_attrs[] = {
	&enabled_attr.attr,
	&order_attr.attr,
	&interval_ms_attr.attr,
	&idle_only_attr.attr,
	&method_attr.attr,
	&verify_attr.attr,
	&flush_attr.attr,
	&pages_cleared_attr.attr,
	&pages_hit_attr.attr,
	&pages_miss_attr.attr,
	&pages_unasked_attr.attr,
	&pages_free_zeroed_attr.attr,
	&verify_failed_attr.attr,
	&passes_attr.attr,
	&passes_stopped_attr.attr,
	NULL,
};
ATTRIBUTE_GROUPS(prezero);

static struct kobject *prezero_kobj;

static int __init prezero_init(void)
{
	int err;

	if (!page_prezero_scan_node || !&mm_kobj) {
		pr_err("this kernel lacks CONFIG_PAGE_PREZERO: boot one with the PG_zeroed patches\n");
		return -EOPNOTSUPP;
	}

	if (page_prezero_in_guest() && !allow_guest) {
		pr_err("in a virtual machine clearing free memory makes the host allocate it: load with allow_guest=1 to do it nevertheless\n");
		return -EOPNOTSUPP;
	}

	prezero_prdev.order = pageblock_order;

	prezero_kobj = kobject_create_and_add("prezero", mm_kobj);
	if (!prezero_kobj)
		return -ENOMEM;

	mutex_lock(&prezero_mutex);
	err = prezero_set_method(method);
	if (!err && enabled)
		err = prezero_start();
	mutex_unlock(&prezero_mutex);
	if (err)
		goto put_kobj;

	/* Last: from here on users may start and stop the thread */
	err = sysfs_create_groups(prezero_kobj, prezero_groups);
	if (err)
		goto stop;

	return 0;

stop:
	mutex_lock(&prezero_mutex);
	prezero_stop();
	mutex_unlock(&prezero_mutex);
put_kobj:
	kobject_del(prezero_kobj);
	kobject_put(prezero_kobj);

	return err;
}
module_init(prezero_init);

static void __exit prezero_exit(void)
{
	/* Waits for writers in sysfs: prezero cannot be started again afterwards */
	sysfs_remove_groups(prezero_kobj, prezero_groups);
	kobject_del(prezero_kobj);
	kobject_put(prezero_kobj);

	mutex_lock(&prezero_mutex);
	prezero_stop();
	mutex_unlock(&prezero_mutex);

	page_prezero_set_verify(false);
}
module_exit(prezero_exit);

MODULE_LICENSE("GPL");
MODULE_VERSION("0.9");
MODULE_DESCRIPTION("Clears free memory in idle time, ahead of its allocation");
