/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ap/use.h"

void
apmig_ap_use_free(ApmigApUse *use)
{
    if (!use)
        return;
    g_free(use->device);
    g_free(use);
}

/* What a guest has of a device is a part of what is assigned to it. */
static gboolean
device_may_have(const ApmigApDevice *device, const ApmigApQueue *queue)
{
    if (device->queues)
        return apmig_scope_contains(device->queues, queue->adapter, queue->domain);
    return device->has_config != APMIG_YES || (apmig_ap_mask_has(&device->adapters, queue->adapter) &&
                                               apmig_ap_mask_has(&device->domains, queue->domain));
}

/* A queue is of one device at most. Returns: (nullable) */
static const ApmigApDevice *
find_device(const ApmigApHost *host, const ApmigApQueue *queue)
{
    for (guint i = 0; i < host->devices->len; i++) {
        const ApmigApDevice *device = g_ptr_array_index(host->devices, i);

        if (device->queues && device_may_have(device, queue))
            return device;
    }
    return NULL;
}

const ApmigApDevice *
apmig_ap_find_device_with(const ApmigApHost *host, const ApmigApQueue *queue)
{
    const ApmigApDevice *found = find_device(host, queue);

    for (guint i = 0; !found && i < host->devices->len; i++) {
        const ApmigApDevice *device = g_ptr_array_index(host->devices, i);

        if (device->has_config == APMIG_YES && apmig_ap_mask_has(&device->adapters, queue->adapter) &&
            apmig_ap_mask_has(&device->domains, queue->domain))
            found = device;
    }
    return found;
}

static gboolean
may_be_seen(const ApmigApHost *host, const ApmigApQueue *queue, const char *const *devices)
{
    for (guint i = 0; i < host->devices->len; i++) {
        const ApmigApDevice *device = g_ptr_array_index(host->devices, i);

        if (g_strv_contains(devices, device->uuid) && device_may_have(device, queue))
            return TRUE;
    }
    return FALSE;
}

GPtrArray *
apmig_ap_list_unseen_uses(const ApmigApHost *host, const char *const *devices)
{
    GPtrArray *uses = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_ap_use_free);

    for (guint i = 0; i < host->queues->len; i++) {
        const ApmigApQueue *queue = g_ptr_array_index(host->queues, i);
        const ApmigApDevice *device;
        ApmigApUse *use;

        if (queue->status != APMIG_AP_STATUS_IN_USE || may_be_seen(host, queue, devices))
            continue;
        device = find_device(host, queue);
        use = g_new0(ApmigApUse, 1);
        use->queue = (ApmigApqn){queue->adapter, queue->domain};
        use->device = g_strdup(device ? device->uuid : "");
        g_ptr_array_add(uses, use);
    }
    return uses;
}
