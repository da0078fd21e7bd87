// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit suite for prezero.ko itself: its files in sysfs, and the clearing of a
 * block.
 *
 * The cases write the files through the VFS, as user space does, because the VFS
 * handles empty and overlong input.
 */
#include <kunit/test.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/string.h>

#include "../module/prezero.h"
#include "../module/stores.h"

#define PREZERO_DIR	"/sys/kernel/mm/prezero/"
#define BLOCK_ORDER	6
#define BLOCK_PAGES	BIT(BLOCK_ORDER)

static struct file *knob_open(struct kunit *test, const char *name, int flags)
{
	struct file *file;
	char path[64];

	if (!__is_defined(MODULE))
		kunit_skip(test, "built in, it runs before sysfs can be mounted");
	scnprintf(path, sizeof(path), PREZERO_DIR "%s", name);
	file = filp_open(path, flags, 0);
	KUNIT_ASSERT_FALSE_MSG(test, IS_ERR(file), "%s: %ld, is prezero loaded?",
			       path, PTR_ERR(file));

	return file;
}

static ssize_t knob_write(struct kunit *test, const char *name, const char *val)
{
	struct file *file = knob_open(test, name, O_WRONLY);
	loff_t pos = 0;
	ssize_t ret;

	ret = kernel_write(file, val, strlen(val), &pos);
	filp_close(file, NULL);

	return ret;
}

static const char *knob_read(struct kunit *test, const char *name)
{
	struct file *file = knob_open(test, name, O_RDONLY);
	char *buf = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	loff_t pos = 0;
	ssize_t len;

	KUNIT_ASSERT_NOT_NULL(test, buf);
	len = kernel_read(file, buf, PAGE_SIZE - 1, &pos);
	filp_close(file, NULL);
	KUNIT_ASSERT_GT(test, len, 0);

	return strim(buf);
}

struct knob_case {
	const char *name;
	const char *val;
	/* 0: the value is accepted, and read back as @shows (NULL: as @val) */
	int err;
	const char *shows;
};

static const struct knob_case knob_cases[] = {
	{ "order", "0", 0 },
	{ "order", __stringify(MAX_PAGE_ORDER), 0 },
	{ "order", "3\n", 0, "3" },
	{ "order", "11", -ERANGE },
	{ "order", "4294967296", -ERANGE },
	{ "order", "-1", -EINVAL },
	{ "order", "nine", -EINVAL },
	{ "order", "9 9", -EINVAL },
	{ "order", "\n", -EINVAL },
	{ "interval_ms", "10", 0 },
	{ "interval_ms", "3600000", 0 },
	{ "interval_ms", "9", -ERANGE },
	{ "interval_ms", "0", -ERANGE },
	{ "interval_ms", "3600001", -ERANGE },
	{ "interval_ms", "18446744073709551616", -ERANGE },
	{ "interval_ms", "-2000", -EINVAL },
	{ "interval_ms", "2s", -EINVAL },
	{ "interval_ms", " ", -EINVAL },
	{ "idle_only", "0", 0 },
	{ "idle_only", "1", 0 },
	{ "idle_only", "off", 0, "0" },
	{ "idle_only", "2", -EINVAL },
	{ "idle_only", "maybe", -EINVAL },
	{ "verify", "1", 0 },
	{ "verify", "N", 0, "0" },
	{ "verify", "2", -EINVAL },
	{ "method", "ntt", -EINVAL },
	{ "method", "AUTO", -EINVAL },
	{ "method", "nt clzero", -EINVAL },
	{ "method", "\n", -EINVAL },
	{ "enabled", "2", -EINVAL },
	{ "enabled", "\n", -EINVAL },
};

static void knob_case_desc(const struct knob_case *c, char *desc)
{
	char val[24];

	strscpy(val, c->val);
	strim(val);
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s=%s", c->name, val);
}

KUNIT_ARRAY_PARAM(knob, knob_cases, knob_case_desc);

static void knob_test_write(struct kunit *test)
{
	const struct knob_case *c = test->param_value;
	const char *before = knob_read(test, c->name);
	ssize_t ret = knob_write(test, c->name, c->val);

	if (c->err) {
		KUNIT_EXPECT_EQ(test, ret, c->err);
		KUNIT_EXPECT_STREQ(test, knob_read(test, c->name), before);
		return;
	}

	KUNIT_EXPECT_EQ(test, ret, strlen(c->val));
	KUNIT_EXPECT_STREQ(test, knob_read(test, c->name), c->shows ?: c->val);
	KUNIT_EXPECT_GT(test, knob_write(test, c->name, before), 0);
}

static void knob_test_overlong(struct kunit *test)
{
	char *val = kunit_kzalloc(test, 2 * PAGE_SIZE, GFP_KERNEL);
	const char *before = knob_read(test, "order");

	KUNIT_ASSERT_NOT_NULL(test, val);
	memset(val, '9', 2 * PAGE_SIZE - 1);
	KUNIT_EXPECT_LT(test, knob_write(test, "order", val), 0);
	KUNIT_EXPECT_STREQ(test, knob_read(test, "order"), before);
}

/* Reads as "auto clear_page [nt]", or "[auto] clear_page (nt)" if auto took nt. */
static void method_test_write(struct kunit *test)
{
	const char *shown = knob_read(test, "method");
	const struct store_method *m;
	char word[32];

	KUNIT_EXPECT_TRUE_MSG(test, strstarts(shown, "[auto] "), "%s", shown);
	KUNIT_EXPECT_NOT_NULL_MSG(test, strchr(shown, '('), "%s", shown);

	for (m = store_methods; m->name; m++) {
		if (!store_method_usable(m))
			continue;
		KUNIT_EXPECT_EQ(test, knob_write(test, "method", m->name),
				strlen(m->name));
		shown = knob_read(test, "method");
		scnprintf(word, sizeof(word), " [%s]", m->name);
		KUNIT_EXPECT_NOT_NULL_MSG(test, strstr(shown, word), "%s", shown);
		KUNIT_EXPECT_NULL(test, strchr(shown, '('));
	}

	KUNIT_EXPECT_EQ(test, knob_write(test, "method", "auto\n"), 5);
}

/* Only those that no other method of the CPU has the name of: with AVX2, nt is there */
static void method_test_refuses_unsupported(struct kunit *test)
{
	const char *before = knob_read(test, "method");
	const struct store_method *m, *other;

	for (m = store_methods; m->name; m++) {
		for (other = store_methods; other->name; other++) {
			if (!strcmp(other->name, m->name) && other->has())
				break;
		}
		if (other->name)
			continue;
		KUNIT_EXPECT_EQ(test, knob_write(test, "method", m->name),
				-EOPNOTSUPP);
		KUNIT_EXPECT_NULL(test, strstr(before, m->name));
	}

	KUNIT_EXPECT_STREQ(test, knob_read(test, "method"), before);
}

static void flush_test_takes_only_true(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, knob_write(test, "flush", "0"), -EINVAL);
	KUNIT_EXPECT_EQ(test, knob_write(test, "flush", "x"), -EINVAL);
	KUNIT_EXPECT_EQ(test, knob_write(test, "flush", "1"), 1);
}

static void counters_test_are_numbers(struct kunit *test)
{
	static const char * const names[] = {
		"pages_cleared", "pages_hit", "pages_miss", "pages_unasked",
		"pages_free_zeroed", "verify_failed", "passes",
		"passes_stopped",
	};
	unsigned long val;

	for (int i = 0; i < ARRAY_SIZE(names); i++)
		KUNIT_EXPECT_EQ_MSG(test, 0,
				    kstrtoul(knob_read(test, names[i]), 10, &val),
				    "%s", names[i]);
}

/* How often begin() was called, at which call it refuses, and calls of end() */
static unsigned int begun, refuse_at, ended;

static bool begin(struct scatterlist *sgl)
{
	return ++begun != refuse_at;
}

static void end(struct scatterlist *sgl)
{
	ended++;
}

static const void *method_gen_params(const void *prev, char *desc)
{
	const struct store_method *m = prev ? prev : store_methods - 1;

	while ((++m)->name) {
		if (store_method_usable(m)) {
			strscpy(desc, m->name, KUNIT_PARAM_DESC_SIZE);
			return m;
		}
	}

	return NULL;
}

static int clear_block(struct kunit *test, struct page *page)
{
	return prezero_clear_block(test->param_value, NULL, page, BLOCK_PAGES,
				   begin, end);
}

static unsigned long chunk_pages(struct kunit *test)
{
	const struct store_method *m = test->param_value;

	return m->chunk / PAGE_SIZE;
}

static void free_block(void *page)
{
	__free_pages(page, BLOCK_ORDER);
}

static struct page *dirty_block(struct kunit *test)
{
	struct page *page = alloc_pages(GFP_KERNEL, BLOCK_ORDER);

	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, free_block, page));
	memset(page_address(page), 0xa5, PAGE_SIZE << BLOCK_ORDER);
	begun = 0;
	refuse_at = 0;
	ended = 0;

	return page;
}

/* The number of pages from the start that read as zeroes; the rest is dirty. */
static unsigned long zeroed_pages(struct kunit *test, struct page *page)
{
	unsigned long i, zeroed;

	for (zeroed = 0; zeroed < BLOCK_PAGES; zeroed++) {
		if (memchr_inv(page_address(page + zeroed), 0, PAGE_SIZE))
			break;
	}
	for (i = zeroed; i < BLOCK_PAGES; i++)
		KUNIT_EXPECT_NULL(test, memchr_inv(page_address(page + i), 0xa5,
						   PAGE_SIZE));

	return zeroed;
}

static void clear_block_test_clears_all(struct kunit *test)
{
	struct page *page = dirty_block(test);

	KUNIT_EXPECT_EQ(test, 0, clear_block(test, page));
	KUNIT_EXPECT_EQ(test, zeroed_pages(test, page), BLOCK_PAGES);
}

static void clear_block_test_asks_per_chunk(struct kunit *test)
{
	struct page *page = dirty_block(test);

	clear_block(test, page);
	KUNIT_EXPECT_EQ(test, begun, BLOCK_PAGES / chunk_pages(test));
	KUNIT_EXPECT_EQ(test, ended, BLOCK_PAGES / chunk_pages(test));
}

static void clear_block_test_stops_when_told(struct kunit *test)
{
	struct page *page = dirty_block(test);

	refuse_at = 3;
	KUNIT_EXPECT_EQ(test, -EAGAIN, clear_block(test, page));
	KUNIT_EXPECT_EQ(test, zeroed_pages(test, page), 2 * chunk_pages(test));
}

static void clear_block_test_asks_before_it_writes(struct kunit *test)
{
	struct page *page = dirty_block(test);

	refuse_at = 1;
	KUNIT_EXPECT_EQ(test, -EAGAIN, clear_block(test, page));
	KUNIT_EXPECT_EQ(test, zeroed_pages(test, page), 0);
}

static struct kunit_case prezero_module_test_cases[] = {
	KUNIT_CASE_PARAM(knob_test_write, knob_gen_params),
	KUNIT_CASE(knob_test_overlong),
	KUNIT_CASE(method_test_write),
	KUNIT_CASE(method_test_refuses_unsupported),
	KUNIT_CASE(flush_test_takes_only_true),
	KUNIT_CASE(counters_test_are_numbers),
	KUNIT_CASE_PARAM(clear_block_test_clears_all, method_gen_params),
	KUNIT_CASE_PARAM(clear_block_test_asks_per_chunk, method_gen_params),
	KUNIT_CASE_PARAM(clear_block_test_stops_when_told, method_gen_params),
	KUNIT_CASE_PARAM(clear_block_test_asks_before_it_writes, method_gen_params),
	{}
};

static struct kunit_suite prezero_module_test_suite = {
	.name = "prezero_module",
	.test_cases = prezero_module_test_cases,
};

kunit_test_suite(prezero_module_test_suite);

MODULE_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("KUnit suite for prezero.ko");
