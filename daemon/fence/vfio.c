/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fence/vfio.h"

#include <errno.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MAX_FEATURE_BYTES 8

int
apmig_vfio_get_info(int fd, guint32 *ret_flags)
{
    struct vfio_device_info info = {.argsz = sizeof info};

    if (ioctl(fd, VFIO_DEVICE_GET_INFO, &info) < 0)
        return errno;
    *ret_flags = info.flags;
    return 0;
}

/* @data goes in with a SET and comes out of both. */
static int
device_feature(int fd, guint32 flags, void *data, gsize length)
{
    union {
        struct vfio_device_feature feature;
        guint8 bytes[sizeof(struct vfio_device_feature) + MAX_FEATURE_BYTES];
        guint64 align;
    } arg = {.feature = {.argsz = (guint32)(sizeof(struct vfio_device_feature) + length), .flags = flags}};

    memcpy(arg.bytes + sizeof(struct vfio_device_feature), data, length);
    if (ioctl(fd, VFIO_DEVICE_FEATURE, &arg) < 0)
        return errno;
    memcpy(data, arg.bytes + sizeof(struct vfio_device_feature), length);
    return 0;
}

int
apmig_vfio_get_migration(int fd, guint64 *ret_flags)
{
    struct vfio_device_feature_migration migration = {0};
    int error = device_feature(fd, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIGRATION, &migration,
                               sizeof migration);

    if (error == 0)
        *ret_flags = migration.flags;
    return error;
}

int
apmig_vfio_get_state(int fd, ApmigVfioState *ret_state)
{
    struct vfio_device_feature_mig_state mig = {.data_fd = -1};
    int error =
        device_feature(fd, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, &mig, sizeof mig);

    if (error == 0)
        *ret_state = apmig_vfio_state_from_kernel(mig.device_state);
    return error;
}

int
apmig_vfio_set_state(int fd, ApmigVfioState state)
{
    struct vfio_device_feature_mig_state mig = {.device_state = state, .data_fd = -1};
    int error =
        device_feature(fd, VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, &mig, sizeof mig);

    if (error == 0 && mig.data_fd >= 0)
        close(mig.data_fd);
    return error;
}
