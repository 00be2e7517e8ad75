/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ap/view.h"

#include "ap/find.h"

#define CARD_FUNCTIONS 0xffff0000u /* what the file of a card shows of bits 0..31 */

ApmigApView *
apmig_ap_view_new(void)
{
    ApmigApView *view = g_new0(ApmigApView, 1);

    view->queues = g_array_new(FALSE, TRUE, sizeof(ApmigApViewQueue));
    return view;
}

void
apmig_ap_view_free(ApmigApView *view)
{
    if (!view)
        return;
    g_array_unref(view->queues);
    g_free(view);
}

static void
take_functions_of_card(ApmigApViewQueue *view, const ApmigApCard *card)
{
    view->known_functions = CARD_FUNCTIONS;
    view->functions = card->functions & CARD_FUNCTIONS;
    /* Older kernels show bit 7 of a card as 0, whatever it is. */
    if ((view->functions & APMIG_AP_SLCF) == 0)
        view->known_functions &= ~APMIG_AP_SLCF;
}

ApmigApViewQueue
apmig_ap_view_describe_queue(const ApmigApHost *host, guint adapter, guint domain)
{
    const ApmigApCard *card = apmig_ap_find_card(host, adapter);
    const ApmigApQueue *queue = apmig_ap_find_queue(host, adapter, domain);
    ApmigApViewQueue view = {adapter, domain};

    if (queue && queue->has_functions == APMIG_YES) {
        view.known_functions = G_MAXUINT32;
        view.functions = queue->functions;
    } else if (card && card->has_functions == APMIG_YES) {
        take_functions_of_card(&view, card);
    }
    view.raw_hwtype = card ? card->raw_hwtype : 0;
    view.mode = apmig_ap_find_mode(host, adapter);
    return view;
}

ApmigApView *
apmig_ap_view_new_of_device(const ApmigApHost *host, const ApmigApDevice *device)
{
    ApmigApView *view = NULL;

    if (!device->queues)
        return NULL;
    view = apmig_ap_view_new();
    for (guint adapter = 0; adapter < APMIG_AP_NUMBERS; adapter++) {
        for (guint domain = 0; domain < APMIG_AP_NUMBERS; domain++) {
            ApmigApViewQueue queue;

            if (!apmig_scope_contains(device->queues, adapter, domain))
                continue;
            queue = apmig_ap_view_describe_queue(host, adapter, domain);
            g_array_append_val(view->queues, queue);
        }
    }
    /* Without the facility that tells the host's control domains (QCI) the kernel gives a guest none. */
    if (device->has_config != APMIG_YES || host->has_masks == APMIG_UNKNOWN)
        return view;
    view->has_control_domains = APMIG_YES;
    for (gsize i = 0; host->has_masks == APMIG_YES && i < sizeof view->control_domains.bytes; i++)
        view->control_domains.bytes[i] = device->control_domains.bytes[i] & host->control_domains.bytes[i];
    return view;
}

ApmigApView *
apmig_ap_view_new_of_scope(const ApmigApHost *host, const ApmigScope *scope)
{
    g_autoptr(ApmigApView) view = apmig_ap_view_new();

    for (guint i = 0; i < host->queues->len; i++) {
        const ApmigApQueue *queue = g_ptr_array_index(host->queues, i);
        ApmigApViewQueue described;

        if (!apmig_scope_contains(scope, queue->adapter, queue->domain))
            continue;
        described = apmig_ap_view_describe_queue(host, queue->adapter, queue->domain);
        g_array_append_val(view->queues, described);
    }
    return view->queues->len > 0 ? g_steal_pointer(&view) : NULL;
}

ApmigScope *
apmig_ap_view_scope(const ApmigApView *view)
{
    g_autoptr(GArray) queues = g_array_new(FALSE, FALSE, sizeof(ApmigApqn));

    for (guint i = 0; i < view->queues->len; i++) {
        const ApmigApViewQueue *queue = &g_array_index(view->queues, ApmigApViewQueue, i);
        const ApmigApqn number = {queue->adapter, queue->domain};

        g_array_append_val(queues, number);
    }
    return apmig_scope_new_from_queues((const ApmigApqn *)queues->data, queues->len);
}

gboolean
apmig_ap_view_has_control_domain(const ApmigApView *view, guint domain)
{
    return apmig_ap_mask_has(&view->control_domains, domain);
}
