// SPDX-License-Identifier: GPL-2.0
/*
 * A VFIO device without an IOMMU, such as mediated devices are, that does
 * nothing but pin and unpin the pages it is told to: the ones among the
 * kernel's samples pin none, and the others want hardware.
 *
 * Writing { IOVA, number of pages } pins them, or unpins them if it is negative.
 */
#include <linux/completion.h>
#include <linux/err.h>
#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>

#define PINNER_PAGES	32

struct pinner {
	struct vfio_device vdev;
};

static struct platform_device *pinner_pdev;
static struct pinner *pinner;

static ssize_t pinner_write(struct vfio_device *vdev, const char __user *buf,
			    size_t count, loff_t *ppos)
{
	struct page *pages[PINNER_PAGES];
	struct {
		u64 iova;
		s64 npage;
	} order;
	int ret;

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

	return ret < 0 ? ret : count;
}

/* User space unpins before it unmaps: there is nothing to stop using. */
static void pinner_dma_unmap(struct vfio_device *vdev, u64 iova, u64 length)
{
}

static DECLARE_COMPLETION(pinner_released);

static void pinner_release(struct vfio_device *vdev)
{
	complete(&pinner_released);
}

static const struct vfio_device_ops pinner_ops = {
	.name = "pinner",
	.release = pinner_release,
	.bind_iommufd = vfio_iommufd_emulated_bind,
	.unbind_iommufd = vfio_iommufd_emulated_unbind,
	.attach_ioas = vfio_iommufd_emulated_attach_ioas,
	.detach_ioas = vfio_iommufd_emulated_detach_ioas,
	.write = pinner_write,
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
	/* With DEBUG_KOBJECT_RELEASE that takes seconds, and wants our ops */
	wait_for_completion(&pinner_released);
}

/* VFIO wants a device with a driver. */
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
