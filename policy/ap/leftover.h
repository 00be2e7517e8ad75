/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a load that failed has left in a mediated device. vfio_ap gives the device what the guest had at its source while the
 * guest's QEMU still loads, and nobody takes that back when the migration fails afterwards (write() of the series "s390/vfio-ap:
 * Add live guest migration support", v4 and later). The device is not empty then, and not what it was defined to be.
 */
#pragma once

#include "ap/ap.h"

/**
 * apmig_leftover_describe:
 * @before: the device as it was when the guest was let in
 * @after: as it is now that the guest is gone
 * @guest: its name
 *
 * Returns: (transfer full) (nullable): a sentence that names both, and the remedy; %NULL when nothing was left, or when either is
 *   not known.
 */
char *apmig_leftover_describe(const ApmigApDevice *before, const ApmigApDevice *after,
                              const char *guest) G_GNUC_WARN_UNUSED_RESULT;
