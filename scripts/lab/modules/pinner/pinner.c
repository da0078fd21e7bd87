// SPDX-License-Identifier: GPL-2.0
/*
 * A VFIO device without an IOMMU, like a mediated device. It pins and unpins the
 * pages that user space tells it to. (The mediated devices among the kernel's
 * samples pin nothing, and the others need hardware.)
 *
 * Writing { IOVA, number of pages } pins them, or unpins them if the number is
 * negative. Reading returns the page frame numbers of those pinned last, 64 bits
 * each.
 *
 * Mapping it gives 2 MiB of ordinary memory, all in one piece. The offset says how:
 *
 *   0 to 2 MiB	as a VM_PFNMAP mapping of one leaf. All pages are reserved, so that an
 *		IOMMU may map them, but for the one at the offset (none at 2 MiB).
 *   4 MiB	as ordinary pages, which can be pinned, in rows of PINNER_ROW: every
 *		other row is reserved.
 *   8 MiB	the first half only, as ordinary pages, none of them reserved
 *   9 MiB	the second half, as a VM_PFNMAP mapping of small pages, all reserved
 */
#include <linux/completion.h>
#include <linux/err.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pfn_t.h>
#include <linux/platform_device.h>
#include <linux/sizes.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>

#define PINNER_PAGES	32

/* Offsets of mappings, in pages */
#define PINNER_ROWS	(SZ_4M >> PAGE_SHIFT)
#define PINNER_FIRST	(SZ_8M >> PAGE_SHIFT)
#define PINNER_SECOND	(PINNER_FIRST + HPAGE_PMD_NR / 2)

#define PINNER_ROW	8

struct pinner {
	struct vfio_device vdev;
	struct page *memory;
	u64 pfns[PINNER_PAGES];
};

static struct platform_device *pinner_pdev;
static struct pinner *pinner;

static ssize_t pinner_write(struct vfio_device *vdev, const char __user *buf,
			    size_t count, loff_t *ppos)
{
	struct pinner *p = container_of(vdev, struct pinner, vdev);
	struct page *pages[PINNER_PAGES];
	struct {
		u64 iova;
		s64 npage;
	} order;
	int i, ret;

	if (count != sizeof(order) || copy_from_user(&order, buf, sizeof(order)))
		return -EFAULT;
	if (order.npage > PINNER_PAGES || order.npage < -PINNER_PAGES)
		return -EINVAL;
	if (order.npage < 0) {
		vfio_unpin_pages(vdev, order.iova, -order.npage);
		return count;
	}
	ret = vfio_pin_pages(vdev, order.iova, order.npage,
			     IOMMU_READ | IOMMU_WRITE, pages);
	for (i = 0; i < ret; i++)
		p->pfns[i] = page_to_pfn(pages[i]);

	return ret < 0 ? ret : count;
}

static ssize_t pinner_read(struct vfio_device *vdev, char __user *buf,
			   size_t count, loff_t *ppos)
{
	struct pinner *p = container_of(vdev, struct pinner, vdev);

	if (count > sizeof(p->pfns) || copy_to_user(buf, p->pfns, count))
		return -EFAULT;

	return count;
}

/* User space unpins before it unmaps: there is nothing to stop using. */
static void pinner_dma_unmap(struct vfio_device *vdev, u64 iova, u64 length)
{
}

/* There is one user at a time. */
static void pinner_reserve(struct page *page, bool reserve)
{
	if (reserve)
		SetPageReserved(page);
	else
		ClearPageReserved(page);
}

static int pinner_init_device(struct vfio_device *vdev)
{
	struct pinner *p = container_of(vdev, struct pinner, vdev);

	p->memory = alloc_pages(GFP_KERNEL | __GFP_ZERO, HPAGE_PMD_ORDER);
	if (!p->memory)
		return -ENOMEM;

	split_page(p->memory, HPAGE_PMD_ORDER);
	return 0;
}

static vm_fault_t pinner_fault(struct vm_fault *vmf)
{
	return VM_FAULT_SIGBUS;
}

static vm_fault_t pinner_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	struct pinner *p = vmf->vma->vm_private_data;
	unsigned long pfn = page_to_pfn(p->memory);

	if (order != HPAGE_PMD_ORDER)
		return VM_FAULT_FALLBACK;

	return vmf_insert_pfn_pmd(vmf, __pfn_to_pfn_t(pfn, PFN_DEV), true);
}

static const struct vm_operations_struct pinner_vm_ops = {
	.fault = pinner_fault,
	.huge_fault = pinner_huge_fault,
};

/* One page is managed by the kernel, all others are reserved. */
static void pinner_map_leaf(struct pinner *p, struct vm_area_struct *vma)
{
	for (unsigned long i = 0; i < HPAGE_PMD_NR; i++)
		pinner_reserve(p->memory + i, i != vma->vm_pgoff);
	vm_flags_set(vma, VM_PFNMAP | VM_IO | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_private_data = p;
	vma->vm_ops = &pinner_vm_ops;
}

static int pinner_map_pages(struct pinner *p, struct vm_area_struct *vma, bool rows)
{
	unsigned long nr = vma_pages(vma);

	for (unsigned long i = 0; i < nr; i++) {
		int ret;

		pinner_reserve(p->memory + i, rows && i / PINNER_ROW % 2);
		ret = vm_insert_page(vma, vma->vm_start + i * PAGE_SIZE, p->memory + i);
		if (ret)
			return ret;
	}
	return 0;
}

static int pinner_map_second(struct pinner *p, struct vm_area_struct *vma)
{
	struct page *page = p->memory + HPAGE_PMD_NR / 2;

	for (unsigned long i = 0; i < HPAGE_PMD_NR / 2; i++)
		pinner_reserve(page + i, true);

	return remap_pfn_range(vma, vma->vm_start, page_to_pfn(page),
			       HPAGE_PMD_SIZE / 2, vma->vm_page_prot);
}

static int pinner_mmap(struct vfio_device *vdev, struct vm_area_struct *vma)
{
	struct pinner *p = container_of(vdev, struct pinner, vdev);
	unsigned long nr = vma_pages(vma);

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (vma->vm_pgoff == PINNER_FIRST && nr == HPAGE_PMD_NR / 2)
		return pinner_map_pages(p, vma, false);
	if (vma->vm_pgoff == PINNER_SECOND && nr == HPAGE_PMD_NR / 2)
		return pinner_map_second(p, vma);
	if (nr != HPAGE_PMD_NR || vma->vm_start & ~HPAGE_PMD_MASK)
		return -EINVAL;
	if (vma->vm_pgoff == PINNER_ROWS)
		return pinner_map_pages(p, vma, true);
	if (vma->vm_pgoff > HPAGE_PMD_NR)
		return -EINVAL;
	pinner_map_leaf(p, vma);

	return 0;
}

static DECLARE_COMPLETION(pinner_released);

static void pinner_release(struct vfio_device *vdev)
{
	struct pinner *p = container_of(vdev, struct pinner, vdev);

	for (unsigned long i = 0; i < HPAGE_PMD_NR; i++) {
		struct page *page = p->memory + i;

		pinner_reserve(page, false);
		/* Reserved pages are pinned by vfio/type1, but never unpinned. */
		while (folio_maybe_dma_pinned(page_folio(page)))
			unpin_user_page(page);
		__free_page(page);
	}
	complete(&pinner_released);
}

static const struct vfio_device_ops pinner_ops = {
	.name = "pinner",
	.init = pinner_init_device,
	.release = pinner_release,
	.bind_iommufd = vfio_iommufd_emulated_bind,
	.unbind_iommufd = vfio_iommufd_emulated_unbind,
	.attach_ioas = vfio_iommufd_emulated_attach_ioas,
	.detach_ioas = vfio_iommufd_emulated_detach_ioas,
	.read = pinner_read,
	.write = pinner_write,
	.mmap = pinner_mmap,
	.dma_unmap = pinner_dma_unmap,
};

static int pinner_probe(struct platform_device *pdev)
{
	int ret;

	pinner = vfio_alloc_device(pinner, vdev, &pdev->dev, &pinner_ops);
	if (IS_ERR(pinner))
		return PTR_ERR(pinner);

	ret = vfio_register_emulated_iommu_dev(&pinner->vdev);
	if (ret)
		vfio_put_device(&pinner->vdev);

	return ret;
}

static void pinner_remove(struct platform_device *pdev)
{
	vfio_unregister_group_dev(&pinner->vdev);
	vfio_put_device(&pinner->vdev);
	/* With DEBUG_KOBJECT_RELEASE that takes seconds, and calls our ops */
	wait_for_completion(&pinner_released);
}

/* VFIO needs a device with a driver. */
static struct platform_driver pinner_driver = {
	.driver = { .name = "pinner" },
	.probe = pinner_probe,
	.remove_new = pinner_remove,
};

static int __init pinner_init(void)
{
	int ret;

	ret = platform_driver_register(&pinner_driver);
	if (ret)
		return ret;

	pinner_pdev = platform_device_register_simple("pinner", PLATFORM_DEVID_NONE,
						      NULL, 0);
	if (IS_ERR(pinner_pdev)) {
		platform_driver_unregister(&pinner_driver);
		return PTR_ERR(pinner_pdev);
	}

	return 0;
}
module_init(pinner_init);

static void __exit pinner_exit(void)
{
	platform_device_unregister(pinner_pdev);
	platform_driver_unregister(&pinner_driver);
}
module_exit(pinner_exit);

MODULE_DESCRIPTION("Lab: a VFIO device that pins pages");
MODULE_LICENSE("GPL");
