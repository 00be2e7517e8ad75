/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The descriptors that a QEMU holds of a VFIO device: that of the device itself, which is duplicated, and those of
 * its migration data sessions, of which it only matters that they are there.
 *
 * The device's is "anon_inode:[vfio-device]" where QEMU opened it through its group (drivers/vfio/vfio_main.c) and
 * "/dev/vfio/devices/vfioN" where it, or libvirt for it, opened the device itself (iommufd).
 *
 * A session's is an anonymous inode named by the driver, in no common way: "mtty_mig", "mlx5vf_mig", "virtiovf_mig",
 * "hisi_acc_vf_mig", "qat_vf_mig", "vfio_ap_mig_file", "pds_vfio_lm". The kernel's own kinds mostly stand in
 * brackets ("[eventfd]"); those which do not ("inotify", "kvm-vcpu:0") have nothing to do with migration. The rule:
 * no bracket, and of the words that '_' and '-' divide the name into, one after the first begins with "mig", or the
 * last is "lm" (live migration). A name that the rule does not know counts as no session, so that nothing is done on
 * a doubt. Loading and saving differ in the access mode, for which drivers pass O_WRONLY and O_RDONLY, as one may only
 * be written and the other only be read.
 */
#pragma once

#include "fence/decide.h"
#include "fence/process.h"

typedef struct {
    int folder;          /* /sys/bus/mdev/devices/UUID */
    char *uuid;          /* in lower case, as sysfs has it */
    char *group;         /* (nullable): "/dev/vfio/N" */
    guint32 api_bit;     /* VFIO_DEVICE_FLAGS_* of its device_api */
    ApmigDriver driver;  /* as far as sysfs tells */
    GArray *descriptors; /* of int: QEMU's that may be its; never NULL once found */
} ApmigDevice;

#define APMIG_DEVICE_INIT                                                                                    \
    {                                                                                                        \
        .folder = -1                                                                                         \
    }

typedef struct {
    ApmigSession session;
    char *unknown; /* (nullable): the name of an anonymous inode that might be a session by another name */
} ApmigLook;

/**
 * apmig_device_find:
 * @mdev: UUID of the mediated device
 * @device: initialized
 * @reply: on failure gets %APMIG_FENCE_REFUSED, or %APMIG_FENCE_FAILED, and a sentence
 *
 * By sysfs and /proc/PID/fd alone: nothing is duplicated, and the driver asked nothing. QEMU holds at least one
 * descriptor of a VFIO device, of which newer kernels do not say in fdinfo that it is another one; and the mediated
 * device's IOMMU group, unless it is the character device that sysfs names for it.
 */
gboolean apmig_device_find(const ApmigProcess *process, const ApmigFencePaths *paths, const char *mdev,
                           ApmigDevice *device, ApmigFenceReply *reply) G_GNUC_WARN_UNUSED_RESULT;

/**
 * apmig_device_open:
 * @device: as found
 * @ret_fd: (out): a duplicate of the device's descriptor; while it is open the device can be neither removed nor
 *   opened again
 * @ret_flags: (out): VFIO_DEVICE_FLAGS_* of it
 * @reply: like apmig_device_find()
 *
 * Asks the driver, which may take long. Of those that were found exactly one has to be the character device that sysfs
 * names, or a VFIO device of the kind that sysfs names.
 */
gboolean apmig_device_open(const ApmigProcess *process, const ApmigDevice *device, int *ret_fd,
                           guint32 *ret_flags, ApmigFenceReply *reply) G_GNUC_WARN_UNUSED_RESULT;

/* Which sessions there are, by /proc/PID alone. @look: initialized. Like apmig_device_find(). */
gboolean apmig_device_look(const ApmigProcess *process, ApmigLook *look,
                           ApmigFenceReply *reply) G_GNUC_WARN_UNUSED_RESULT;

/* Returns: whether an anonymous inode of that name is taken for a migration data session. */
gboolean apmig_device_is_session_name(const char *name);

void apmig_device_clear(ApmigDevice *device);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ApmigDevice, apmig_device_clear)
void apmig_look_clear(ApmigLook *look);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ApmigLook, apmig_look_clear)
