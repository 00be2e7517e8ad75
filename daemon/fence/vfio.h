/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The few ioctl()s on a VFIO device's descriptor (include/uapi/linux/vfio.h). VFIO_DEVICE_RESET is not among them.
 * They block as long as the driver does.
 */
#pragma once

#include "fence/protocol.h"

/* @ret_flags: VFIO_DEVICE_FLAGS_*. Returns: 0, or errno. */
int apmig_vfio_get_info(int fd, guint32 *ret_flags);

/* @ret_flags: VFIO_MIGRATION_*. Returns: 0, or errno: ENOTTY from a driver without migration. */
int apmig_vfio_get_migration(int fd, guint64 *ret_flags);

/* Returns: 0, or errno. */
int apmig_vfio_get_state(int fd, ApmigVfioState *ret_state);

/* A success does not mean that anything has changed: setting the present state is one. Returns: 0, or errno. */
int apmig_vfio_set_state(int fd, ApmigVfioState state);
