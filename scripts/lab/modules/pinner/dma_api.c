// SPDX-License-Identifier: GPL-2.0
/*
 * A driver for the edu device that only maps memory with the DMA API. Writing a
 * number to the device's attribute "map" maps that many single pages, in one
 * scatterlist. The next write unmaps them; writing 0 maps no others. There are 4096
 * pages, which are used again and again. Neighbours are swapped: pages in a row would
 * be mapped by a large entry, without a table.
 */
#include <linux/dma-mapping.h>
#include <linux/kstrtox.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>

#define DMA_API_PAGES_MAX	(SZ_2G / PAGE_SIZE)
#define DMA_API_PAGES		4096

static DEFINE_MUTEX(dma_api_lock);
static struct sg_table dma_api_sgt;
static struct page *dma_api_pages[DMA_API_PAGES];

static void dma_api_free(void)
{
	int i;

	for (i = 0; i < DMA_API_PAGES && dma_api_pages[i]; i++) {
		__free_page(dma_api_pages[i]);
		dma_api_pages[i] = NULL;
	}
	sg_free_table(&dma_api_sgt);
}

static void dma_api_unmap(struct device *dev)
{
	if (!dma_api_sgt.sgl)
		return;
	dma_unmap_sgtable(dev, &dma_api_sgt, DMA_BIDIRECTIONAL, 0);
	dma_api_free();
}

static int dma_api_map(struct device *dev, unsigned int pages)
{
	unsigned int i, nr = min(round_up(pages, 2), DMA_API_PAGES);
	struct scatterlist *sg;
	int ret;

	ret = sg_alloc_table(&dma_api_sgt, pages, GFP_KERNEL);
	if (ret)
		return ret;
	for (i = 0; i < nr; i++) {
		dma_api_pages[i] = alloc_page(GFP_KERNEL);
		if (!dma_api_pages[i]) {
			ret = -ENOMEM;
			goto free;
		}
	}
	for_each_sgtable_sg(&dma_api_sgt, sg, i)
		sg_set_page(sg, dma_api_pages[(i ^ 1) % DMA_API_PAGES], PAGE_SIZE, 0);
	ret = dma_map_sgtable(dev, &dma_api_sgt, DMA_BIDIRECTIONAL, 0);
	if (!ret)
		return 0;

free:
	dma_api_free();
	return ret;
}

static ssize_t map_store(struct device *dev, struct device_attribute *attr,
			 const char *buf, size_t count)
{
	unsigned int pages;
	int ret;

	ret = kstrtouint(buf, 0, &pages);
	if (ret)
		return ret;
	if (pages > DMA_API_PAGES_MAX)
		return -EINVAL;

	mutex_lock(&dma_api_lock);
	dma_api_unmap(dev);
	if (pages)
		ret = dma_api_map(dev, pages);
	mutex_unlock(&dma_api_lock);

	return ret ?: count;
}
static DEVICE_ATTR_WO(map);

static struct attribute *dma_api_attrs[] = {
	&dev_attr_map.attr,
	NULL
};
ATTRIBUTE_GROUPS(dma_api);

static int dma_api_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	int ret;

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;

	return dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
}

static void dma_api_remove(struct pci_dev *pdev)
{
	dma_api_unmap(&pdev->dev);
}

/* For the device that has it as driver_override: there is memory for one */
static const struct pci_device_id dma_api_ids[] = {
	{ PCI_DEVICE_DRIVER_OVERRIDE(0x1234, 0x11e8, PCI_ID_F_VFIO_DRIVER_OVERRIDE) },
	{ }
};

static struct pci_driver dma_api_driver = {
	.name = "dma_api",
	.id_table = dma_api_ids,
	.probe = dma_api_probe,
	.remove = dma_api_remove,
	.dev_groups = dma_api_groups,
};
module_pci_driver(dma_api_driver);

MODULE_DESCRIPTION("Lab: maps memory with the DMA API");
MODULE_LICENSE("GPL");
