// SPDX-License-Identifier: GPL-2.0-only
/*
 * A stand-in for the vfio_ap driver of s390, for tests
 *
 * It is not the driver, and it drives nothing. It offers the same places and
 * formats in sysfs (Documentation/arch/s390/vfio-ap.rst), and mediated devices
 * that can be migrated the way the driver's are to be: in one piece, with the
 * guest stopped (VFIO_MIGRATION_STOP_COPY alone). QEMU on a machine that is
 * not an s390 has no vfio-ap device, so to QEMU it is a vfio-pci one that
 * does nothing.
 *
 * What it leaves out: the AP bus, and with it the checks whether a queue
 * exists and is free. The same queue may be assigned to several mediated
 * devices, for one kernel stands for both hosts of a migration.
 */

#include <linux/device.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "standin.h"

static int standin_probe(struct mdev_device *mdev)
{
	struct standin *standin;
	int ret;

	standin = vfio_alloc_device(standin, vdev, mdev_dev(mdev),
				    &standin_device_ops);
	if (IS_ERR(standin))
		return PTR_ERR(standin);

	dev_set_drvdata(mdev_dev(mdev), standin);
	ret = vfio_register_emulated_iommu_dev(&standin->vdev);
	if (ret)
		vfio_put_device(&standin->vdev);
	return ret;
}

static void standin_remove(struct mdev_device *mdev)
{
	struct standin *standin = dev_get_drvdata(mdev_dev(mdev));

	vfio_unregister_group_dev(&standin->vdev);
	standin_migration_wait(standin);
	vfio_put_device(&standin->vdev);
}

static struct mdev_driver standin_mdev_driver = {
	.device_api = VFIO_DEVICE_API_PCI_STRING,
	.max_instances = STANDIN_NUMBERS,
	.driver = {
		.name = "vfio_ap_mdev",
		.owner = THIS_MODULE,
		.mod_name = KBUILD_MODNAME,
		.dev_groups = standin_mdev_groups,
	},
	.probe = standin_probe,
	.remove = standin_remove,
};

static ssize_t features_show(struct device *dev, struct device_attribute *attr,
			     char *buf)
{
	return sysfs_emit(buf, "guest_matrix hotplug ap_config migratable\n");
}
static DEVICE_ATTR_RO(features);

static struct attribute *matrix_attrs[] = {
	&dev_attr_features.attr,
	NULL
};
ATTRIBUTE_GROUPS(matrix);

static const struct bus_type matrix_bus = {
	.name = "matrix",
};

/* The types of mediated devices are named after it: "vfio_ap-passthrough". */
static struct device_driver matrix_driver = {
	.name = "vfio_ap",
	.bus = &matrix_bus,
	.owner = THIS_MODULE,
	.dev_groups = matrix_groups,
	.suppress_bind_attrs = true,
};

static struct mdev_type passthrough_type = {
	.sysfs_name = "passthrough",
	.pretty_name = "VFIO AP Passthrough Device",
};

static struct mdev_type *mdev_types[] = { &passthrough_type };

static struct device *root_device;
static struct device *matrix_device;
static struct mdev_parent mdev_parent;

static void matrix_release(struct device *dev)
{
	kfree(dev);
}

/* /sys/devices/vfio_ap/matrix */
static int __init matrix_create(void)
{
	int ret;

	matrix_device = kzalloc(sizeof(*matrix_device), GFP_KERNEL);
	if (!matrix_device)
		return -ENOMEM;
	matrix_device->parent = root_device;
	matrix_device->bus = &matrix_bus;
	matrix_device->release = matrix_release;
	device_initialize(matrix_device);

	ret = dev_set_name(matrix_device, "matrix");
	if (!ret)
		ret = device_add(matrix_device);
	if (ret)
		put_device(matrix_device);
	return ret;
}

static int __init standin_init(void)
{
	int ret;

	root_device = root_device_register("vfio_ap");
	if (IS_ERR(root_device))
		return PTR_ERR(root_device);
	ret = bus_register(&matrix_bus);
	if (ret)
		goto unregister_root;
	ret = driver_register(&matrix_driver);
	if (ret)
		goto unregister_bus;
	ret = matrix_create();
	if (ret)
		goto unregister_driver;
	ret = mdev_register_driver(&standin_mdev_driver);
	if (ret)
		goto unregister_matrix;
	ret = mdev_register_parent(&mdev_parent, matrix_device,
				   &standin_mdev_driver, mdev_types,
				   ARRAY_SIZE(mdev_types));
	if (ret)
		goto unregister_mdev_driver;
	return 0;

unregister_mdev_driver:
	mdev_unregister_driver(&standin_mdev_driver);
unregister_matrix:
	device_unregister(matrix_device);
unregister_driver:
	driver_unregister(&matrix_driver);
unregister_bus:
	bus_unregister(&matrix_bus);
unregister_root:
	root_device_unregister(root_device);
	return ret;
}

static void __exit standin_exit(void)
{
	standin_lock_exit();
	mdev_unregister_parent(&mdev_parent);
	mdev_unregister_driver(&standin_mdev_driver);
	device_unregister(matrix_device);
	driver_unregister(&matrix_driver);
	bus_unregister(&matrix_bus);
	root_device_unregister(root_device);
}

module_init(standin_init);
module_exit(standin_exit);

MODULE_DESCRIPTION("Stand-in for the s390 vfio_ap driver, for tests only");
MODULE_LICENSE("GPL");
