/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A stand-in for the vfio_ap driver of s390, for tests on machines without
 * AP hardware: see main.c.
 */
#ifndef VFIO_AP_STANDIN_H
#define VFIO_AP_STANDIN_H

#include <linux/bitmap.h>
#include <linux/mdev.h>
#include <linux/mutex.h>
#include <linux/pci_regs.h>
#include <linux/types.h>
#include <linux/vfio.h>

#define STANDIN_NUMBERS	256	/* of adapters, of domains */

/* Bit n of a bitmap is adapter or domain n. */
struct standin_matrix {
	DECLARE_BITMAP(adapters, STANDIN_NUMBERS);
	DECLARE_BITMAP(domains, STANDIN_NUMBERS);
	DECLARE_BITMAP(control_domains, STANDIN_NUMBERS);
};

struct standin_session;

struct standin {
	struct vfio_device vdev;

	struct mutex matrix_lock;	/* protects the matrix */
	struct standin_matrix matrix;

	u8 config[PCI_CFG_SPACE_SIZE];

	struct mutex state_lock;	/* protects all below; taken first */
	enum vfio_device_mig_state state;
	struct standin_session *session;	/* in STOP_COPY and RESUMING */
};

static inline struct standin *to_standin(struct vfio_device *vdev)
{
	return container_of(vdev, struct standin, vdev);
}

/* sysfs.c: the attributes of a mediated device */
extern const struct attribute_group *standin_mdev_groups[];

/* device.c: the device as QEMU sees it */
extern const struct vfio_device_ops standin_device_ops;

/* migration.c: its migration states and the data that travels */
extern const struct vfio_migration_ops standin_migration_ops;
void standin_migration_init(struct standin *standin);
void standin_migration_reset(struct standin *standin);

#endif
