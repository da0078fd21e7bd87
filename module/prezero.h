/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _PREZERO_H
#define _PREZERO_H

#include <linux/kobject.h>
#include <linux/mm.h>
#include <linux/page_prezero.h>
#include <linux/page_reporting.h>

/*
 * Weak, because a kernel without the patches lacks these symbols. prezero_init()
 * then runs nevertheless, and says in one line what is missing.
 */
extern typeof(page_reporting_register) page_reporting_register __weak;
extern typeof(page_reporting_unregister) page_reporting_unregister __weak;
extern typeof(page_prezero_scan_node) page_prezero_scan_node __weak;
extern typeof(page_prezero_write_begin) page_prezero_write_begin __weak;
extern typeof(page_prezero_write_end) page_prezero_write_end __weak;
extern typeof(page_prezero_mark) page_prezero_mark __weak;
extern typeof(page_prezero_forget) page_prezero_forget __weak;
extern typeof(page_prezero_set_verify) page_prezero_set_verify __weak;
extern typeof(page_prezero_in_guest) page_prezero_in_guest __weak;
extern typeof(mm_kobj) mm_kobj __weak;

struct store_method;

#if IS_ENABLED(CONFIG_KUNIT)
bool prezero_must_stop(void);
int prezero_clear_block(const struct store_method *m, struct scatterlist *sgl,
			struct page *page, unsigned long nr_pages,
			bool (*begin)(struct scatterlist *sgl),
			void (*end)(struct scatterlist *sgl));
#endif

#endif /* _PREZERO_H */
