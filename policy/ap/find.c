/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ap/find.h"

#include "ap/text.h"

const ApmigApCard *
apmig_ap_find_card(const ApmigApHost *host, guint adapter)
{
    for (guint i = 0; i < host->cards->len; i++) {
        const ApmigApCard *card = g_ptr_array_index(host->cards, i);

        if (card->adapter == adapter)
            return card;
    }
    return NULL;
}

const ApmigApQueue *
apmig_ap_find_queue(const ApmigApHost *host, guint adapter, guint domain)
{
    for (guint i = 0; i < host->queues->len; i++) {
        const ApmigApQueue *queue = g_ptr_array_index(host->queues, i);

        if (queue->adapter == adapter && queue->domain == domain)
            return queue;
    }
    return NULL;
}

const ApmigApDevice *
apmig_ap_find_device(const ApmigApHost *host, const char *uuid)
{
    for (guint i = 0; i < host->devices->len; i++) {
        const ApmigApDevice *device = g_ptr_array_index(host->devices, i);

        if (g_str_equal(device->uuid, uuid))
            return device;
    }
    return NULL;
}

ApmigApMode
apmig_ap_find_mode(const ApmigApHost *host, guint adapter)
{
    const ApmigApCard *card = apmig_ap_find_card(host, adapter);
    ApmigApMode mode = APMIG_AP_MODE_UNKNOWN;

    if (!card)
        return APMIG_AP_MODE_UNKNOWN;
    if (card->has_functions == APMIG_YES)
        mode = apmig_ap_mode_from_functions(card->functions);
    return mode != APMIG_AP_MODE_UNKNOWN ? mode : apmig_ap_mode_from_type(card->type);
}

const char *
apmig_ap_mode_to_string(ApmigApMode mode)
{
    static const char *const names[] = {
        [APMIG_AP_MODE_UNKNOWN] = "unknown",
        [APMIG_AP_MODE_CCA] = "CCA",
        [APMIG_AP_MODE_EP11] = "EP11",
        [APMIG_AP_MODE_ACCELERATOR] = "accelerator",
    };

    g_return_val_if_fail((guint)mode < G_N_ELEMENTS(names), "");
    return names[mode];
}

ApmigKnown
apmig_ap_is_reserved(const ApmigApHost *host, const ApmigApQueue *queue)
{
    if (*queue->driver_override)
        return g_str_equal(queue->driver_override, "vfio_ap") ? APMIG_NO : APMIG_YES;
    if (host->has_default_masks != APMIG_YES)
        return APMIG_UNKNOWN;
    return apmig_ap_mask_has(&host->adapters_default, queue->adapter) &&
                   apmig_ap_mask_has(&host->domains_default, queue->domain)
               ? APMIG_YES
               : APMIG_NO;
}

gboolean
apmig_ap_has_driver_override(const ApmigApHost *host)
{
    for (guint i = 0; i < host->queues->len; i++)
        if (*((const ApmigApQueue *)g_ptr_array_index(host->queues, i))->driver_override)
            return TRUE;
    return FALSE;
}
