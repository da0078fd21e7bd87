// SPDX-License-Identifier: GPL-2.0
/*
 * vfio-hold: keep memory mapped for an edu device until a signal comes, for a script
 * to see what that keeps from happening. Prints the number of its first page.
 */
#include "vfio-leaf.h"

int main(void)
{
	const __u64 size = 64 * SZ_1M;
	__u8 *mem = touched(size, MADV_HUGEPAGE);
	struct lab lab;

	leaf_open(&lab, TYPE1, VFIO_TYPE1v2_IOMMU);
	if (dma_map(&lab, mem, IOVA_BASE, size))
		errx(1, "VFIO_IOMMU_MAP_DMA: %m");
	printf("%llu\n", pfn_of(mem));
	fflush(stdout);
	pause();
	return 0;
}
