/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ap/fixture.h"

#include "ap/find.h"

#include <string.h>

ApmigApHost *
host_new(void)
{
    ApmigApHost *host = apmig_ap_host_new();

    host->present = TRUE;
    host->has_masks = host->has_default_masks = APMIG_YES;
    host->can_migrate = TRUE;
    return host;
}

ApmigApCard *
host_add_card(ApmigApHost *host, guint adapter, const char *type)
{
    ApmigApCard *card = apmig_ap_card_new(adapter);
    char mode = type[strlen(type) - 1];

    g_free(card->type);
    card->type = g_strdup(type);
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
    ApmigApQueue *queue = apmig_ap_queue_new(adapter, domain);
    const ApmigApCard *card = apmig_ap_find_card(host, adapter);

    g_free(queue->driver);
    queue->driver = g_strdup(driver);
    queue->functions = card->functions;
    queue->has_functions = queue->config = APMIG_YES;
    queue->chkstop = APMIG_NO;
    g_ptr_array_add(host->queues, queue);
    return queue;
}

ApmigApDevice *
host_add_device(ApmigApHost *host, const char *uuid, const char *scope)
{
    ApmigApDevice *device = apmig_ap_device_new(uuid);

    device->queues = scope_of(scope);
    device->has_config = APMIG_YES;
    for (guint i = 0; i < APMIG_AP_NUMBERS * APMIG_AP_NUMBERS; i++) {
        if (!apmig_scope_contains(device->queues, i / APMIG_AP_NUMBERS, i % APMIG_AP_NUMBERS))
            continue;
        apmig_ap_mask_add(&device->adapters, i / APMIG_AP_NUMBERS);
        apmig_ap_mask_add(&device->domains, i % APMIG_AP_NUMBERS);
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
