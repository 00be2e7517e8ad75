/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ap-find.h"

#include <string.h>

#define MODE_CCA         0x10000000u /* bit 3 */
#define MODE_ACCELERATOR 0x08000000u /* bit 4 */
#define MODE_EP11        0x04000000u /* bit 5 */
#define MODES            (MODE_CCA | MODE_ACCELERATOR | MODE_EP11)

const ApmigApCard *
apmig_ap_find_card(const ApmigApHost *host, guint adapter)
{
    for (guint i = 0; i < host->cards->len; i++) {
        const ApmigApCard *card = host->cards->pdata[i];

        if (card->adapter == adapter)
            return card;
    }
    return NULL;
}

const ApmigApQueue *
apmig_ap_find_queue(const ApmigApHost *host, guint adapter, guint domain)
{
    for (guint i = 0; i < host->queues->len; i++) {
        const ApmigApQueue *queue = host->queues->pdata[i];

        if (queue->adapter == adapter && queue->domain == domain)
            return queue;
    }
    return NULL;
}

const ApmigApDevice *
apmig_ap_find_device(const ApmigApHost *host, const char *uuid)
{
    for (guint i = 0; i < host->devices->len; i++) {
        const ApmigApDevice *device = host->devices->pdata[i];

        if (g_str_equal(device->uuid, uuid))
            return device;
    }
    return NULL;
}

static ApmigApMode
mode_from_type(const char *type)
{
    gsize length = strlen(type);

    if (!g_str_has_prefix(type, "CEX") || length < strlen("CEX8C"))
        return APMIG_AP_MODE_UNKNOWN;
    switch (type[length - 1]) {
    case 'C':
        return APMIG_AP_MODE_CCA;
    case 'P':
        return APMIG_AP_MODE_EP11;
    case 'A':
        return APMIG_AP_MODE_ACCELERATOR;
    default:
        return APMIG_AP_MODE_UNKNOWN;
    }
}

ApmigApMode
apmig_ap_find_mode(const ApmigApHost *host, guint adapter)
{
    const ApmigApCard *card = apmig_ap_find_card(host, adapter);

    if (card == NULL)
        return APMIG_AP_MODE_UNKNOWN;
    if (card->has_functions == APMIG_YES) {
        guint32 mode = card->functions & MODES;

        if (mode == MODE_CCA)
            return APMIG_AP_MODE_CCA;
        if (mode == MODE_EP11)
            return APMIG_AP_MODE_EP11;
        if (mode == MODE_ACCELERATOR)
            return APMIG_AP_MODE_ACCELERATOR;
    }
    return mode_from_type(card->type);
}

gboolean
apmig_ap_mode_has_class(ApmigApMode mode, ApmigKeyClass key_class)
{
    switch (mode) {
    case APMIG_AP_MODE_CCA:
        return key_class != APMIG_KEY_WK;
    case APMIG_AP_MODE_EP11:
        return key_class == APMIG_KEY_WK;
    case APMIG_AP_MODE_ACCELERATOR:
        return FALSE;
    case APMIG_AP_MODE_UNKNOWN:
    default:
        return TRUE;
    }
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
