/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Queues that a guest uses which is not in the hypervisor's view: a guest of a session, or a QEMU started by hand.
 * The kernel tells that a queue is passed through to a running guest, not to which.
 */
#pragma once

#include "ap/ap.h"

typedef struct {
    ApmigApqn queue;
    char *device; /* UUID of the mediated device that has it; "" when none that can be read has */
} ApmigApUse;

void apmig_ap_use_free(ApmigApUse *use);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigApUse, apmig_ap_use_free)

/* Returns: (transfer none) (nullable): the mediated device that has the queue: gives it to its guest, or at least has it
 * assigned. */
const ApmigApDevice *apmig_ap_find_device_with(const ApmigApHost *host, const ApmigApQueue *queue);

/**
 * apmig_ap_list_unseen_uses:
 * @host: as it was read
 * @devices: (array zero-terminated=1): UUIDs, lower case, of the mediated devices of every active guest in the view;
 *   those of other kinds do not matter
 *
 * Neither @host nor the view is of one moment: a guest that starts or ends just then may be named, or missed. A queue
 * that may be that of a device in @devices whose queues cannot be read is not named.
 *
 * Returns: (transfer full) (element-type ApmigApUse): the queues in use of no device in @devices, by adapter and
 * domain as in @host.
 */
GPtrArray *apmig_ap_list_unseen_uses(const ApmigApHost *host, const char *const *devices);
