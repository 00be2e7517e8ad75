// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stand-in for vfio_ap: the device as QEMU's vfio-pci sees it, a PCI function
 * with a configuration space and nothing else
 */

#include <linux/module.h>
#include <linux/pci_ids.h>
#include <linux/uaccess.h>
#include <linux/unaligned.h>
#include <linux/vfio_pci_core.h>

#include "standin.h"

static bool says_ap = true;
module_param(says_ap, bool, 0644);
MODULE_PARM_DESC(says_ap, "GET_INFO tells that it is vfio_ap's, not any driver's");

#define STANDIN_DEVICE_ID	0x04ff
#define STANDIN_CLASS		0x1080

static void reset_config(struct standin *standin)
{
	u8 *config = standin->config;

	memset(config, 0, sizeof(standin->config));
	put_unaligned_le16(PCI_VENDOR_ID_IBM, config + PCI_VENDOR_ID);
	put_unaligned_le16(STANDIN_DEVICE_ID, config + PCI_DEVICE_ID);
	put_unaligned_le16(STANDIN_CLASS, config + PCI_CLASS_DEVICE);
}

static int standin_init_device(struct vfio_device *vdev)
{
	struct standin *standin = to_standin(vdev);

	reset_config(standin);
	standin_migration_init(standin);
	return 0;
}


static int standin_open(struct vfio_device *vdev)
{
	mutex_lock(&standin_lock);
	to_standin(vdev)->opened = true;
	mutex_unlock(&standin_lock);
	return 0;
}

static void reset(struct standin *standin)
{
	standin_migration_reset(standin);
	reset_config(standin);
}

static void standin_close(struct vfio_device *vdev)
{
	struct standin *standin = to_standin(vdev);

	mutex_lock(&standin_lock);
	standin->opened = false;
	reset(standin);
	mutex_unlock(&standin_lock);
}

/* Returns where of the configuration space to begin, or -errno. */
static int config_offset(loff_t pos, size_t count)
{
	u64 offset = pos & VFIO_PCI_OFFSET_MASK;

	if (VFIO_PCI_OFFSET_TO_INDEX(pos) != VFIO_PCI_CONFIG_REGION_INDEX ||
	    offset >= PCI_CFG_SPACE_SIZE ||
	    count > PCI_CFG_SPACE_SIZE - offset)
		return -EINVAL;
	return offset;
}

static ssize_t standin_read(struct vfio_device *vdev, char __user *buf,
			    size_t count, loff_t *ppos)
{
	struct standin *standin = to_standin(vdev);
	int offset = config_offset(*ppos, count);

	if (offset < 0)
		return offset;
	if (copy_to_user(buf, standin->config + offset, count))
		return -EFAULT;
	*ppos += count;
	return count;
}

/* Writable are the command register and the interrupt line. */
static ssize_t standin_write(struct vfio_device *vdev, const char __user *buf,
			     size_t count, loff_t *ppos)
{
	struct standin *standin = to_standin(vdev);
	int offset = config_offset(*ppos, count);
	u8 written[PCI_CFG_SPACE_SIZE];
	size_t n;

	if (offset < 0)
		return offset;
	if (copy_from_user(written, buf, count))
		return -EFAULT;
	for (n = 0; n < count; n++) {
		if (offset + n == PCI_COMMAND ||
		    offset + n == PCI_COMMAND + 1 ||
		    offset + n == PCI_INTERRUPT_LINE)
			standin->config[offset + n] = written[n];
	}
	*ppos += count;
	return count;
}

static long get_info(void __user *arg)
{
	unsigned long minsz = offsetofend(struct vfio_device_info, num_irqs);
	struct vfio_device_info info;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz)
		return -EINVAL;
	/* What tells vfio_ap's devices from others, beside what QEMU asks. */
	info.flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
	if (says_ap)
		info.flags |= VFIO_DEVICE_FLAGS_AP;
	info.num_regions = VFIO_PCI_NUM_REGIONS;
	info.num_irqs = VFIO_PCI_NUM_IRQS;
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

static long get_region_info(void __user *arg)
{
	unsigned long minsz = offsetofend(struct vfio_region_info, offset);
	struct vfio_region_info info;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz || info.index >= VFIO_PCI_NUM_REGIONS)
		return -EINVAL;
	info.offset = VFIO_PCI_INDEX_TO_OFFSET(info.index);
	info.size = 0;
	info.flags = 0;
	if (info.index == VFIO_PCI_CONFIG_REGION_INDEX) {
		info.size = PCI_CFG_SPACE_SIZE;
		info.flags = VFIO_REGION_INFO_FLAG_READ |
			     VFIO_REGION_INFO_FLAG_WRITE;
	}
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

/* It has no interrupt. QEMU takes ERR and REQ to be there unless refused. */
static long get_irq_info(void __user *arg)
{
	unsigned long minsz = offsetofend(struct vfio_irq_info, count);
	struct vfio_irq_info info;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz || info.index > VFIO_PCI_MSIX_IRQ_INDEX)
		return -EINVAL;
	info.flags = VFIO_IRQ_INFO_EVENTFD;
	info.count = 0;
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

static long locked_ioctl(struct standin *standin, unsigned int cmd,
			 void __user *user)
{
	switch (cmd) {
	case VFIO_DEVICE_GET_INFO:
		return get_info(user);
	case VFIO_DEVICE_GET_REGION_INFO:
		return get_region_info(user);
	case VFIO_DEVICE_GET_IRQ_INFO:
		return get_irq_info(user);
	case VFIO_DEVICE_SET_IRQS:
		return -EINVAL;
	case VFIO_DEVICE_RESET:
		reset(standin);
		return 0;
	}
	return -ENOTTY;
}

static long standin_ioctl(struct vfio_device *vdev, unsigned int cmd,
			  unsigned long arg)
{
	long ret;

	mutex_lock(&standin_lock);
	ret = locked_ioctl(to_standin(vdev), cmd, (void __user *)arg);
	mutex_unlock(&standin_lock);
	return ret;
}

const struct vfio_device_ops standin_device_ops = {
	.name = "vfio-ap-standin",
	.init = standin_init_device,
	.open_device = standin_open,
	.close_device = standin_close,
	.read = standin_read,
	.write = standin_write,
	.ioctl = standin_ioctl,
	.bind_iommufd = vfio_iommufd_emulated_bind,
	.unbind_iommufd = vfio_iommufd_emulated_unbind,
	.attach_ioas = vfio_iommufd_emulated_attach_ioas,
	.detach_ioas = vfio_iommufd_emulated_detach_ioas,
};
