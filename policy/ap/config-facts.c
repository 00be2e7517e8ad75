/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ap/config-facts.h"

#include "ap/find.h"
#include "base/sentence.h"

/* What is compared of a queue. */
enum {
    ASPECT_PRESENCE,
    ASPECT_DRIVERS,
    ASPECT_DRIVER,
    ASPECT_DEVICE,
    ASPECT_GUEST,
    ASPECT_CONFIG,
    ASPECT_CHKSTOP,
};

#define PRESENCE (1u << ASPECT_PRESENCE)
#define DEVICE   (1u << ASPECT_DEVICE)

#define NOT_THERE "not there"

/* --- one queue ----------------------------------------------------------------------------------- */

static gboolean
has_assigned(const ApmigApDevice *device, const ApmigApQueue *queue)
{
    return device->has_config == APMIG_YES && apmig_ap_mask_has(&device->adapters, queue->adapter) &&
           apmig_ap_mask_has(&device->domains, queue->domain);
}

static gboolean
gives(const ApmigApDevice *device, const ApmigApQueue *queue)
{
    return device->queues && apmig_scope_contains(device->queues, queue->adapter, queue->domain);
}

/* One device that cannot be read may be the one that has the queue. */
static char *
describe_device(const ApmigApHost *host, const ApmigApQueue *queue)
{
    gboolean is_known = TRUE;

    for (guint i = 0; i < host->devices->len; i++) {
        const ApmigApDevice *device = g_ptr_array_index(host->devices, i);

        if (has_assigned(device, queue))
            return g_strdup_printf("assigned to mediated device %s", device->uuid);
        is_known = is_known && device->has_config == APMIG_YES;
    }
    return is_known ? g_strdup("assigned to no mediated device") : NULL;
}

static char *
describe_guest(const ApmigApHost *host, const ApmigApQueue *queue)
{
    gboolean is_known = TRUE;

    for (guint i = 0; i < host->devices->len; i++) {
        const ApmigApDevice *device = g_ptr_array_index(host->devices, i);

        if (gives(device, queue))
            return g_strdup_printf("for the guest of mediated device %s", device->uuid);
        is_known = is_known && device->queues;
    }
    return is_known ? g_strdup("for no guest") : NULL;
}

static char *
describe_drivers(const ApmigApHost *host, const ApmigApQueue *queue)
{
    ApmigKnown reserved = apmig_ap_is_reserved(host, queue);

    if (reserved == APMIG_UNKNOWN)
        return NULL;
    return g_strdup(reserved == APMIG_YES ? "reserved for the host's drivers" : "set aside for guests");
}

/* The worse of what the queue's and its card's file say. */
static ApmigKnown
draw_together(ApmigKnown queue, ApmigKnown card, ApmigKnown worse)
{
    if (queue == worse || card == worse)
        return worse;
    return queue != APMIG_UNKNOWN ? queue : card;
}

static char *
show(ApmigKnown known, const char *yes, const char *no)
{
    if (known == APMIG_UNKNOWN)
        return NULL;
    return g_strdup(known == APMIG_YES ? yes : no);
}

static void
add_facts(GHashTable *facts, const ApmigApHost *host, const ApmigApQueue *queue)
{
    const ApmigApCard *card = apmig_ap_find_card(host, queue->adapter);
    ApmigKnown config = draw_together(queue->config, card ? card->config : APMIG_UNKNOWN, APMIG_NO);
    ApmigKnown chkstop = draw_together(queue->chkstop, card ? card->chkstop : APMIG_UNKNOWN, APMIG_YES);
    char **clauses = apmig_facts_of_queue(facts, queue->adapter, queue->domain)->clauses;

    clauses[ASPECT_PRESENCE] = g_strdup("there");
    clauses[ASPECT_DRIVERS] = describe_drivers(host, queue);
    clauses[ASPECT_DRIVER] =
        *queue->driver ? g_strdup_printf("bound to %s", queue->driver) : g_strdup("bound to no driver");
    clauses[ASPECT_DEVICE] = describe_device(host, queue);
    clauses[ASPECT_GUEST] = describe_guest(host, queue);
    clauses[ASPECT_CONFIG] = show(config, "configured", "deconfigured");
    clauses[ASPECT_CHKSTOP] = show(chkstop, "checkstopped", "not checkstopped");
}

/* --- all of them --------------------------------------------------------------------------------- */

GHashTable *
apmig_config_facts(const ApmigApHost *host)
{
    GHashTable *facts = apmig_facts_new();

    for (guint i = 0; i < host->queues->len; i++)
        add_facts(facts, host, g_ptr_array_index(host->queues, i));
    return facts;
}

static void
describe(const ApmigApqn *queue, char *const *was, char *const *is, GPtrArray *places)
{
    g_autoptr(GPtrArray) before = g_ptr_array_new();
    g_autoptr(GPtrArray) now = g_ptr_array_new();
    g_autofree char *was_text = NULL;
    g_autofree char *is_text = NULL;

    for (guint i = 0; i < APMIG_WATCH_ASPECTS; i++) {
        if (!was[i])
            continue;
        g_ptr_array_add(before, was[i]);
        g_ptr_array_add(now, g_str_equal(is[i], NOT_THERE) ? "gone" : is[i]);
    }
    was_text = apmig_sentence_few(before, ", ");
    is_text = apmig_sentence_few(now, ", ");
    g_ptr_array_add(places, g_strdup_printf("AP queue %02x.%04x was %s and is %s", queue->adapter,
                                            queue->domain, was_text, is_text));
}

/* Whose guest has a queue follows from whose device has it. */
const ApmigWatchKind apmig_config_kind = {
    .subject = "The AP configuration changes",
    .separator = "; ",
    .initial = {[ASPECT_PRESENCE] = NOT_THERE},
    .is_complete = TRUE,
    .explained_by = {[ASPECT_DRIVERS] = PRESENCE,
                     [ASPECT_DRIVER] = PRESENCE,
                     [ASPECT_DEVICE] = PRESENCE,
                     [ASPECT_GUEST] = PRESENCE | DEVICE,
                     [ASPECT_CONFIG] = PRESENCE,
                     [ASPECT_CHKSTOP] = PRESENCE},
    .describe = describe,
};
