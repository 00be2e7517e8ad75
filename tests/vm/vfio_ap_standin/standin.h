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
#include <linux/wait.h>

#define STANDIN_NUMBERS	256	/* of adapters, of domains */

/* Bit n of a bitmap is adapter or domain n. */
struct standin_matrix {
	DECLARE_BITMAP(adapters, STANDIN_NUMBERS);
	DECLARE_BITMAP(domains, STANDIN_NUMBERS);
	DECLARE_BITMAP(control_domains, STANDIN_NUMBERS);
};

struct standin_session;

/* standin_lock protects all but the first two. */
struct standin {
	struct vfio_device vdev;
	wait_queue_head_t files_gone;

	struct standin_matrix matrix;
	u8 config[PCI_CFG_SPACE_SIZE];
	bool opened;
	enum vfio_device_mig_state state;
	/* The newest of each kind, until its file is closed: no references. */
	struct standin_session *saving;
	struct standin_session *loading;
	unsigned int n_files;	/* of sessions, the newest or not */
};

static inline struct standin *to_standin(struct vfio_device *vdev)
{
	return container_of(vdev, struct standin, vdev);
}

/* lock.c: of all devices */
extern struct mutex standin_lock;
void standin_lock_exit(void);

/* sysfs.c: the attributes of a mediated device */
extern const struct attribute_group *standin_mdev_groups[];

/* device.c: the device as QEMU sees it */
extern const struct vfio_device_ops standin_device_ops;

/* migration.c: its migration states and the data that travels */
extern const struct vfio_migration_ops standin_migration_ops;
void standin_migration_init(struct standin *standin);
void standin_migration_reset(struct standin *standin);
void standin_migration_wait(struct standin *standin);

#endif
