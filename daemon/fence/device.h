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
    ApmigVfioState state;
    ApmigSession session;
    char *unknown; /* (nullable): the name of an anonymous inode that might be a session by another name */
} ApmigLook;

/**
 * apmig_device_open:
 * @mdev: UUID of the mediated device
 * @ret_fd: (out): a duplicate of the device's descriptor; while it is open the device can be neither removed nor
 *   opened again
 * @reply: on failure gets %APMIG_FENCE_REFUSED, or %APMIG_FENCE_FAILED, and a sentence
 *
 * Proves that it is @mdev's: QEMU has the mediated device's IOMMU group open, or the character device that sysfs
 * names for it; the descriptor is a VFIO device of the kind that sysfs names; it is the only one of which that is
 * true (newer kernels tell the device in fdinfo); and its driver supports migration.
 */
gboolean apmig_device_open(const ApmigProcess *process, const ApmigFencePaths *paths, const char *mdev,
                           int *ret_fd, ApmigFenceReply *reply) G_GNUC_WARN_UNUSED_RESULT;

/* Reads the device's state and which sessions there are. @look: initialized. Like apmig_device_open(). */
gboolean apmig_device_look(const ApmigProcess *process, int fd, ApmigLook *look,
                           ApmigFenceReply *reply) G_GNUC_WARN_UNUSED_RESULT;

/* Returns: whether an anonymous inode of that name is taken for a migration data session. */
gboolean apmig_device_is_session_name(const char *name);

void apmig_look_clear(ApmigLook *look);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ApmigLook, apmig_look_clear)
