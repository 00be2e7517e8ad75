/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The values that describe a host's crypto hardware: making, copying, freeing. */
#include "ap/ap.h"

/* --- masks --------------------------------------------------------------------------------------- */

static guint8
bit_of(guint number)
{
    return (guint8)(0x80 >> (number % 8));
}

gboolean
apmig_ap_mask_has(const ApmigApMask *mask, guint number)
{
    return number < APMIG_AP_NUMBERS && (mask->bytes[number / 8] & bit_of(number)) != 0;
}

void
apmig_ap_mask_add(ApmigApMask *mask, guint number)
{
    if (number < APMIG_AP_NUMBERS)
        mask->bytes[number / 8] |= bit_of(number);
}

/* --- cards --------------------------------------------------------------------------------------- */

ApmigApCard *
apmig_ap_card_new(guint adapter)
{
    ApmigApCard *card = g_new0(ApmigApCard, 1);

    card->adapter = adapter;
    card->type = g_strdup("");
    card->serial = g_strdup("");
    return card;
}

ApmigApCard *
apmig_ap_card_copy(const ApmigApCard *card)
{
    ApmigApCard *copy = g_new(ApmigApCard, 1);

    *copy = *card;
    copy->type = g_strdup(card->type);
    copy->serial = g_strdup(card->serial);
    return copy;
}

void
apmig_ap_card_free(ApmigApCard *card)
{
    if (!card)
        return;
    g_free(card->type);
    g_free(card->serial);
    g_free(card);
}

/* --- queues -------------------------------------------------------------------------------------- */

ApmigApQueue *
apmig_ap_queue_new(guint adapter, guint domain)
{
    ApmigApQueue *queue = g_new0(ApmigApQueue, 1);

    queue->adapter = adapter;
    queue->domain = domain;
    queue->driver = g_strdup("");
    queue->driver_override = g_strdup("");
    return queue;
}

ApmigApQueue *
apmig_ap_queue_copy(const ApmigApQueue *queue)
{
    ApmigApQueue *copy = g_new(ApmigApQueue, 1);

    *copy = *queue;
    copy->driver = g_strdup(queue->driver);
    copy->driver_override = g_strdup(queue->driver_override);
    return copy;
}

void
apmig_ap_queue_free(ApmigApQueue *queue)
{
    if (!queue)
        return;
    g_free(queue->driver);
    g_free(queue->driver_override);
    g_free(queue);
}

/* --- mediated devices ---------------------------------------------------------------------------- */

ApmigApDevice *
apmig_ap_device_new(const char *uuid)
{
    ApmigApDevice *device = g_new0(ApmigApDevice, 1);

    device->uuid = g_strdup(uuid);
    return device;
}

ApmigApDevice *
apmig_ap_device_copy(const ApmigApDevice *device)
{
    ApmigApDevice *copy = g_new(ApmigApDevice, 1);

    *copy = *device;
    copy->uuid = g_strdup(device->uuid);
    copy->queues = device->queues ? apmig_scope_ref(device->queues) : NULL;
    return copy;
}

void
apmig_ap_device_free(ApmigApDevice *device)
{
    if (!device)
        return;
    g_free(device->uuid);
    apmig_scope_unref(device->queues);
    g_free(device);
}

/* --- hosts --------------------------------------------------------------------------------------- */

ApmigApHost *
apmig_ap_host_new(void)
{
    ApmigApHost *host = g_new0(ApmigApHost, 1);

    host->cards = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_ap_card_free);
    host->queues = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_ap_queue_free);
    host->devices = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_ap_device_free);
    return host;
}

ApmigApHost *
apmig_ap_host_copy(const ApmigApHost *host)
{
    ApmigApHost *copy = apmig_ap_host_new();
    ApmigApHost empty = *copy;

    *copy = *host;
    copy->cards = empty.cards;
    copy->queues = empty.queues;
    copy->devices = empty.devices;
    for (guint i = 0; i < host->cards->len; i++)
        g_ptr_array_add(copy->cards, apmig_ap_card_copy(g_ptr_array_index(host->cards, i)));
    for (guint i = 0; i < host->queues->len; i++)
        g_ptr_array_add(copy->queues, apmig_ap_queue_copy(g_ptr_array_index(host->queues, i)));
    for (guint i = 0; i < host->devices->len; i++)
        g_ptr_array_add(copy->devices, apmig_ap_device_copy(g_ptr_array_index(host->devices, i)));
    return copy;
}

void
apmig_ap_host_free(ApmigApHost *host)
{
    if (!host)
        return;
    g_ptr_array_unref(host->cards);
    g_ptr_array_unref(host->queues);
    g_ptr_array_unref(host->devices);
    g_free(host);
}
