/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ap-fixture.h"

#include "ap-find.h"

#include <string.h>

static void
card_free(gpointer data)
{
    ApmigApCard *card = data;

    g_free(card->type);
    g_free(card->serial);
    g_free(card);
}

static void
queue_free(gpointer data)
{
    ApmigApQueue *queue = data;

    g_free(queue->driver);
    g_free(queue);
}

static void
device_free(gpointer data)
{
    ApmigApDevice *device = data;

    g_free(device->uuid);
    apmig_scope_unref(device->queues);
    g_free(device);
}

ApmigApHost *
host_new(void)
{
    ApmigApHost *host = g_new0(ApmigApHost, 1);

    host->present = TRUE;
    host->cards = g_ptr_array_new_with_free_func(card_free);
    host->queues = g_ptr_array_new_with_free_func(queue_free);
    host->devices = g_ptr_array_new_with_free_func(device_free);
    host->has_masks = host->has_default_masks = APMIG_YES;
    host->can_migrate = TRUE;
    return host;
}

void
host_free(ApmigApHost *host)
{
    g_ptr_array_unref(host->cards);
    g_ptr_array_unref(host->queues);
    g_ptr_array_unref(host->devices);
    g_free(host);
}

ApmigApCard *
host_add_card(ApmigApHost *host, guint adapter, const char *type)
{
    ApmigApCard *card = g_new0(ApmigApCard, 1);
    char mode = type[strlen(type) - 1];

    card->adapter = adapter;
    card->type = g_strdup(type);
    card->serial = g_strdup("");
    card->hwtype = card->raw_hwtype = (guint)g_ascii_digit_value(type[strlen("CEX")]) + 6;
    card->functions = mode == 'C' ? FUNCTIONS_CCA : mode == 'P' ? FUNCTIONS_EP11 : FUNCTIONS_ACCELERATOR;
    card->has_functions = card->online = card->config = APMIG_YES;
    card->chkstop = APMIG_NO;
    g_ptr_array_add(host->cards, card);
    return card;
}

ApmigApQueue *
host_add_queue(ApmigApHost *host, guint adapter, guint domain, const char *driver)
{
    ApmigApQueue *queue = g_new0(ApmigApQueue, 1);
    const ApmigApCard *card = apmig_ap_find_card(host, adapter);

    queue->adapter = adapter;
    queue->domain = domain;
    queue->driver = g_strdup(driver);
    queue->functions = card->functions;
    queue->has_functions = queue->config = APMIG_YES;
    queue->chkstop = APMIG_NO;
    g_ptr_array_add(host->queues, queue);
    return queue;
}

void
mask_add(ApmigApMask *mask, guint number)
{
    mask->bytes[number / 8] |= (guint8)(0x80 >> (number % 8));
}

ApmigApDevice *
host_add_device(ApmigApHost *host, const char *uuid, const char *scope)
{
    ApmigApDevice *device = g_new0(ApmigApDevice, 1);

    device->uuid = g_strdup(uuid);
    device->queues = scope_of(scope);
    device->has_config = APMIG_YES;
    for (guint i = 0; i < APMIG_AP_NUMBERS * APMIG_AP_NUMBERS; i++) {
        if (!apmig_scope_contains(device->queues, i / APMIG_AP_NUMBERS, i % APMIG_AP_NUMBERS))
            continue;
        mask_add(&device->adapters, i / APMIG_AP_NUMBERS);
        mask_add(&device->domains, i % APMIG_AP_NUMBERS);
    }
    g_ptr_array_add(host->devices, device);
    return device;
}

ApmigMkvps
mkvps_of(const char *text)
{
    ApmigMkvps mkvps;

    apmig_mkvps_parse(text, strlen(text), &mkvps);
    return mkvps;
}

ApmigScope *
scope_of(const char *text)
{
    g_autoptr(GError) error = NULL;
    ApmigScope *scope = apmig_scope_parse(text, &error);

    g_assert_no_error(error);
    return scope;
}

void
assert_says(const char *text, const char *part)
{
    g_assert_nonnull(text);
    if (strstr(text, part) == NULL)
        g_error("\"%s\" lacks \"%s\"", text, part);
}
