/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The AP bus and vfio_ap's mediated devices in sysfs: reads what is there, and judges nothing.
 *
 * Every function blocks and may be called by several threads at once: it belongs into a worker thread. Reading takes
 * locks of the kernel that it holds while it resets queues. Nothing here needs a privilege. sysfs is read file by file, so
 * the whole is not of one moment; a file that vanishes meanwhile is unknown, and a device that does is not there.
 */
#pragma once

#include "ap/ap.h"
#include "cards/sysfs.h"

/* In place of @sysfs_root when nothing else is wanted. */
#define APMIG_SYSFS_ROOT "/sys"

/**
 * apmig_ap_read_host:
 *
 * Asks no card for anything, so serial numbers are "": see apmig_ap_read_serial(). What hangs is there, and nothing is known
 * of it; it takes a second longer then.
 *
 * Returns: (transfer full): always; without an AP bus it is not present, and has mediated devices at most.
 */
ApmigApHost *apmig_ap_read_host(ApmigSysfs *sysfs);

/* Whether the AP bus has the driver that passes queues through to guests. No lock of the kernel's is taken, so that nothing
 * blocks. */
gboolean apmig_ap_has_guest_driver(const char *sysfs_root);

/**
 * apmig_ap_is_device:
 * @uuid: from outside; need not be a UUID
 *
 * Returns: whether it is a mediated device of vfio_ap, which is one that has a matrix; APMIG_NO also when there is no
 * such device.
 */
ApmigKnown apmig_ap_is_device(const char *sysfs_root, const char *uuid);

/**
 * apmig_ap_device_scope:
 * @uuid: from outside; need not be a UUID
 *
 * The queues that the guest of a mediated device has, or would have: guest_matrix, and matrix where a kernel has no
 * such file. They change without an event: when queues are assigned or taken away, and when a card or a queue comes
 * or goes.
 *
 * Returns: (transfer full) (nullable): NULL when it is no mediated device of vfio_ap, or cannot be read, or hangs.
 */
ApmigScope *apmig_ap_device_scope(ApmigSysfs *sysfs, const char *uuid);

/* The kernel asks the card, as for mkvps. Returns: (transfer full): a card's serial number; "" when it does not tell. */
char *apmig_ap_read_serial(const char *sysfs_root, guint adapter);

/**
 * apmig_ap_read_mkvps_text:
 * @error: (out): #G_IO_ERROR; %G_IO_ERROR_NOT_FOUND when there is no such file: the queue is not there, is an
 *   accelerator, or is not bound to cex4queue, as those that guests have; %G_IO_ERROR_NOT_CONNECTED when it was not
 *   online before and after
 *
 * The master-key verification patterns of a queue as the kernel shows them. The kernel asks the card, which takes
 * milliseconds and, when the card does not answer, up to 900 s: for a worker thread of its own, with a deadline
 * outside. The kernel waits interruptibly and shows dashes, without an error, when a signal arrives, so all signals
 * are blocked while it reads (zcrypt_msgtype6.c: zcrypt_msgtype6_send_cprb(), _send_ep11_cprb()). The file of a queue
 * that is offline may show what was true once (zcrypt_ccamisc.c before 6.16: cca_get_info()), so online is read before
 * and after, and must be 1 both times. Even so any line of it may be dashes: unknown.
 *
 * Returns: (transfer full) (nullable): at most 4 KiB.
 */
char *apmig_ap_read_mkvps_text(const char *sysfs_root, guint adapter, guint domain,
                               GError **error) G_GNUC_WARN_UNUSED_RESULT;
