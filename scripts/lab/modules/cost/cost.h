/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _COST_H
#define _COST_H

#include <linux/atomic.h>

/* How often a zone->lock was taken, while cost.ko counts that */
extern atomic_long_t cost_holds;

#endif /* _COST_H */
