// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit suite for module/stores.h: each method that this CPU has clears what it is
 * told to and nothing else, and leaves the FPU to others.
 *
 * The other methods are refused by name, which suite prezero_module tests.
 */
#include <asm/simd.h>
#include <kunit/test.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/preempt.h>
#include <linux/string.h>

#include "../module/stores.h"

/* Room for the largest chunk, behind up to OFFSETS pages and before another */
#define OFFSETS		2
#define AREA_ORDER	5
#define AREA		(PAGE_SIZE << AREA_ORDER)
#define DIRTY		0xa5

static const void *stores_gen_params(const void *prev, char *desc)
{
	const struct store_method *m = prev ? prev : store_methods - 1;

	/* SSE2, too, where nt means AVX2 */
	while ((++m)->name) {
		if (m->has()) {
			snprintf(desc, KUNIT_PARAM_DESC_SIZE, "%s, %s", m->name,
				 m->insn);
			return m;
		}
	}

	return NULL;
}

static void stores_test_clears_exactly(struct kunit *test)
{
	const struct store_method *m = test->param_value;
	size_t from, len;
	char *area;

	BUILD_BUG_ON(OFFSETS * PAGE_SIZE + SZ_64K + PAGE_SIZE > AREA);
	area = kunit_kmalloc(test, AREA, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, area);
	KUNIT_ASSERT_LE(test, m->chunk, SZ_64K);

	for (from = 0; from <= OFFSETS * PAGE_SIZE; from += PAGE_SIZE) {
		for (len = PAGE_SIZE; len <= m->chunk; len += PAGE_SIZE) {
			memset(area, DIRTY, AREA);
			m->clear(area + from, len);
			KUNIT_ASSERT_NULL(test, memchr_inv(area, DIRTY, from));
			KUNIT_ASSERT_NULL(test, memchr_inv(area + from, 0, len));
			KUNIT_ASSERT_NULL(test, memchr_inv(area + from + len, DIRTY,
							   AREA - from - len));
		}
	}
}

static void stores_test_any_number_of_pages(struct kunit *test)
{
	const struct store_method *m = test->param_value;
	size_t len = m->chunk + PAGE_SIZE;
	char *area = kunit_kmalloc(test, AREA, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, area);
	memset(area, DIRTY, AREA);
	store_method_clear(m, area, len);
	KUNIT_EXPECT_NULL(test, memchr_inv(area, 0, len));
	KUNIT_EXPECT_NULL(test, memchr_inv(area + len, DIRTY, AREA - len));
}

static void stores_test_ends_fpu_section(struct kunit *test)
{
	const struct store_method *m = test->param_value;
	char *area = kunit_kmalloc(test, PAGE_SIZE, GFP_KERNEL);
	int count;

	KUNIT_ASSERT_NOT_NULL(test, area);
	count = preempt_count();
	m->clear(area, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, preempt_count(), count);
	KUNIT_EXPECT_TRUE(test, may_use_simd());
}

static struct kunit_case prezero_stores_test_cases[] = {
	KUNIT_CASE_PARAM(stores_test_clears_exactly, stores_gen_params),
	KUNIT_CASE_PARAM(stores_test_any_number_of_pages, stores_gen_params),
	KUNIT_CASE_PARAM(stores_test_ends_fpu_section, stores_gen_params),
	{}
};

static struct kunit_suite prezero_stores_test_suite = {
	.name = "prezero_stores",
	.test_cases = prezero_stores_test_cases,
};

kunit_test_suite(prezero_stores_test_suite);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("KUnit suite for the methods to clear memory");
