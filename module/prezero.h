/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _PREZERO_H
#define _PREZERO_H

#include <linux/mm.h>
#include <linux/sizes.h>

/* Memory to clear before looking up whether somebody else wants the CPU */
#define PREZERO_CHUNK	SZ_64K

#if IS_ENABLED(CONFIG_KUNIT)
bool prezero_must_stop(void);
int prezero_clear_block(struct page *page, unsigned long nr_pages,
			bool (*must_stop)(void));
#endif

#endif /* _PREZERO_H */
