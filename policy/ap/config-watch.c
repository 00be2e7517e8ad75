/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ap/config-watch.h"

#include "ap/find.h"
#include "base/sentence.h"

/* What is compared of a queue. */
enum {
    ASPECT_DRIVERS,
    ASPECT_DRIVER,
    ASPECT_DEVICE,
    ASPECT_GUEST,
    ASPECT_CONFIG,
    ASPECT_CHKSTOP,
    N_ASPECTS,
};

typedef struct {
    char *aspects[N_ASPECTS];    /* clauses; NULL: not known */
    const ApmigApDevice *device; /* (nullable): that the queue is assigned to */
} State;

static void
state_clear(State *state)
{
    for (guint i = 0; i < N_ASPECTS; i++)
        g_free(state->aspects[i]);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(State, state_clear)

void
apmig_config_finding_free(ApmigConfigFinding *finding)
{
    if (finding == NULL)
        return;
    g_free(finding->was);
    g_free(finding->is);
    g_free(finding);
}

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
    return device->queues != NULL && apmig_scope_contains(device->queues, queue->adapter, queue->domain);
}

/* One device that cannot be read may be the one that has the queue. */
static void
describe_devices(const ApmigApHost *host, const ApmigApQueue *queue, State *state)
{
    const ApmigApDevice *giver = NULL;
    gboolean is_known = TRUE, is_giver_known = TRUE;

    for (guint i = 0; i < host->devices->len; i++) {
        const ApmigApDevice *device = host->devices->pdata[i];

        is_known = is_known && device->has_config == APMIG_YES;
        is_giver_known = is_giver_known && device->queues != NULL;
        if (state->device == NULL && has_assigned(device, queue))
            state->device = device;
        if (giver == NULL && gives(device, queue))
            giver = device;
    }
    if (state->device != NULL)
        state->aspects[ASPECT_DEVICE] =
            g_strdup_printf("assigned to mediated device %s", state->device->uuid);
    else if (is_known)
        state->aspects[ASPECT_DEVICE] = g_strdup("assigned to no mediated device");
    if (giver != NULL)
        state->aspects[ASPECT_GUEST] = g_strdup_printf("for the guest of mediated device %s", giver->uuid);
    else if (is_giver_known)
        state->aspects[ASPECT_GUEST] = g_strdup("for no guest");
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
describe(const ApmigApHost *host, const ApmigApQueue *queue, State *state)
{
    const ApmigApCard *card = apmig_ap_find_card(host, queue->adapter);
    ApmigKnown config = draw_together(queue->config, card != NULL ? card->config : APMIG_UNKNOWN, APMIG_NO);
    ApmigKnown chkstop =
        draw_together(queue->chkstop, card != NULL ? card->chkstop : APMIG_UNKNOWN, APMIG_YES);

    if (host->has_default_masks == APMIG_YES)
        state->aspects[ASPECT_DRIVERS] =
            g_strdup(apmig_ap_mask_has(&host->adapters_default, queue->adapter) &&
                             apmig_ap_mask_has(&host->domains_default, queue->domain)
                         ? "reserved for the host's drivers"
                         : "set aside for guests");
    state->aspects[ASPECT_DRIVER] = *queue->driver != '\0' ? g_strdup_printf("bound to %s", queue->driver)
                                                           : g_strdup("bound to no driver");
    describe_devices(host, queue, state);
    state->aspects[ASPECT_CONFIG] = show(config, "configured", "deconfigured");
    state->aspects[ASPECT_CHKSTOP] = show(chkstop, "checkstopped", "not checkstopped");
}

static gboolean
is_expected(const State *state, const char *const *expected)
{
    return expected != NULL && state->device != NULL && g_strv_contains(expected, state->device->uuid);
}

static gboolean
differs(const State *was, const State *is, guint aspect)
{
    return was->aspects[aspect] != NULL && is->aspects[aspect] != NULL &&
           !g_str_equal(was->aspects[aspect], is->aspects[aspect]);
}

/* Whose guest has it follows from whose device has it. */
static gboolean
is_told(const State *was, const State *is, guint aspect, const char *const *expected)
{
    if (!differs(was, is, aspect))
        return FALSE;
    if (aspect == ASPECT_GUEST && differs(was, is, ASPECT_DEVICE))
        return FALSE;
    return (aspect != ASPECT_DEVICE && aspect != ASPECT_GUEST) ||
           (!is_expected(was, expected) && !is_expected(is, expected));
}

static void
add_finding(GPtrArray *findings, const ApmigApQueue *queue, const char *was, const char *is)
{
    ApmigConfigFinding *finding = g_new0(ApmigConfigFinding, 1);

    finding->queue = (ApmigApqn){queue->adapter, queue->domain};
    finding->was = g_strdup(was);
    finding->is = g_strdup(is);
    g_ptr_array_add(findings, finding);
}

static void
compare_states(const ApmigApQueue *queue, const State *was, const State *is, const char *const *expected,
               GPtrArray *findings)
{
    g_autoptr(GPtrArray) before = g_ptr_array_new();
    g_autoptr(GPtrArray) now = g_ptr_array_new();
    g_autofree char *was_text = NULL;
    g_autofree char *is_text = NULL;

    for (guint i = 0; i < N_ASPECTS; i++) {
        if (!is_told(was, is, i, expected))
            continue;
        g_ptr_array_add(before, was->aspects[i]);
        g_ptr_array_add(now, is->aspects[i]);
    }
    if (now->len == 0)
        return;
    was_text = apmig_sentence_few(before, ", ");
    is_text = apmig_sentence_few(now, ", ");
    add_finding(findings, queue, was_text, is_text);
}

GPtrArray *
apmig_config_compare(const ApmigApHost *before, const ApmigApHost *now, const char *const *expected)
{
    GPtrArray *findings = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_config_finding_free);

    for (guint i = 0; i < before->queues->len; i++) {
        const ApmigApQueue *old = before->queues->pdata[i];
        const ApmigApQueue *new = apmig_ap_find_queue(now, old->adapter, old->domain);
        g_auto(State) was = {0};
        g_auto(State) is = {0};

        if (new == NULL) {
            add_finding(findings, old, "there", "gone");
            continue;
        }
        describe(before, old, &was);
        describe(now, new, &is);
        compare_states(old, &was, &is, expected, findings);
    }
    for (guint i = 0; i < now->queues->len; i++) {
        const ApmigApQueue *new = now->queues->pdata[i];

        if (apmig_ap_find_queue(before, new->adapter, new->domain) == NULL)
            add_finding(findings, new, "not there", "there");
    }
    return findings;
}

/* --- over time ----------------------------------------------------------------------------------- */

/* During which the configuration has to stay. */
typedef struct {
    char *what;
    ApmigScope *scope;
    GStrv expected;
    gint64 from, until;
} Guarded;

struct ApmigConfigWatch {
    ApmigApHost *last; /* NULL: nothing was read yet */
    gint64 last_asked_at;
    GHashTable *guarded; /* id -> Guarded */
};

static void
guarded_free(gpointer data)
{
    Guarded *guarded = data;

    g_free(guarded->what);
    apmig_scope_unref(guarded->scope);
    g_strfreev(guarded->expected);
    g_free(guarded);
}

ApmigConfigWatch *
apmig_config_watch_new(void)
{
    ApmigConfigWatch *watch = g_new0(ApmigConfigWatch, 1);

    watch->guarded = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, guarded_free);
    return watch;
}

void
apmig_config_watch_free(ApmigConfigWatch *watch)
{
    if (watch == NULL)
        return;
    apmig_ap_host_free(watch->last);
    g_hash_table_unref(watch->guarded);
    g_free(watch);
}

void
apmig_config_changes_free(ApmigConfigChanges *changes)
{
    if (changes == NULL)
        return;
    apmig_scope_unref(changes->queues);
    g_free(changes->message);
    g_free(changes);
}

gboolean
apmig_config_watch_begin(ApmigConfigWatch *watch, const char *id, const char *what, ApmigScope *scope,
                         const char *const *expected, gint64 at)
{
    const Guarded *earlier = g_hash_table_lookup(watch->guarded, id);
    gboolean is_new = earlier == NULL || earlier->until != G_MAXINT64;
    Guarded *guarded = g_new(Guarded, 1);

    *guarded = (Guarded){g_strdup(what), apmig_scope_ref(scope), g_strdupv((char **)expected),
                         is_new ? at : earlier->from, G_MAXINT64};
    g_hash_table_replace(watch->guarded, g_strdup(id), guarded);
    return is_new;
}

gboolean
apmig_config_watch_end(ApmigConfigWatch *watch, const char *id, gint64 at)
{
    Guarded *guarded = g_hash_table_lookup(watch->guarded, id);

    if (guarded == NULL || guarded->until != G_MAXINT64)
        return FALSE;
    guarded->until = at;
    return TRUE;
}

static gboolean
counts(const ApmigConfigWatch *watch, const Guarded *guarded, gint64 asked_at)
{
    return guarded->from <= watch->last_asked_at && asked_at <= guarded->until;
}

/* Returns: (transfer container): the devices that may be given other queues. */
static GPtrArray *
list_expected(const ApmigConfigWatch *watch)
{
    GPtrArray *expected = g_ptr_array_new();
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, watch->guarded);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const Guarded *guarded = value;

        for (guint i = 0; guarded->expected != NULL && guarded->expected[i] != NULL; i++)
            g_ptr_array_add(expected, guarded->expected[i]);
    }
    g_ptr_array_add(expected, NULL);
    return expected;
}

/* What is changed: the queues of @findings that have to stay. @during: set of what they have to stay for */
static void
choose(const ApmigConfigWatch *watch, const GPtrArray *findings, gint64 asked_at, GPtrArray *chosen,
       GHashTable *during)
{
    for (guint i = 0; i < findings->len; i++) {
        const ApmigConfigFinding *finding = findings->pdata[i];
        gboolean is_chosen = FALSE;
        GHashTableIter iter;
        gpointer value;

        g_hash_table_iter_init(&iter, watch->guarded);
        while (g_hash_table_iter_next(&iter, NULL, &value)) {
            const Guarded *guarded = value;

            if (!counts(watch, guarded, asked_at) ||
                !apmig_scope_contains(guarded->scope, finding->queue.adapter, finding->queue.domain))
                continue;
            g_hash_table_add(during, guarded->what);
            is_chosen = TRUE;
        }
        if (is_chosen)
            g_ptr_array_add(chosen, (gpointer)finding);
    }
}

static int
compare_texts(gconstpointer a, gconstpointer b)
{
    return g_strcmp0(*(const char *const *)a, *(const char *const *)b);
}

static char *
list_during(GHashTable *during)
{
    g_autoptr(GPtrArray) texts = g_ptr_array_new();
    GHashTableIter iter;
    gpointer text;

    g_hash_table_iter_init(&iter, during);
    while (g_hash_table_iter_next(&iter, &text, NULL))
        g_ptr_array_add(texts, text);
    g_ptr_array_sort(texts, compare_texts);
    return apmig_sentence_few(texts, ", ");
}

static ApmigConfigChanges *
conclude(const GPtrArray *chosen, GHashTable *during)
{
    g_autoptr(GPtrArray) places = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GArray) queues = g_array_new(FALSE, FALSE, sizeof(ApmigApqn));
    g_autofree char *when = list_during(during);
    g_autofree char *few = NULL;
    ApmigConfigChanges *changes;

    for (guint i = 0; i < chosen->len; i++) {
        const ApmigConfigFinding *finding = chosen->pdata[i];

        g_array_append_val(queues, finding->queue);
        g_ptr_array_add(places, g_strdup_printf("AP queue %02x.%04x was %s and is %s", finding->queue.adapter,
                                                finding->queue.domain, finding->was, finding->is));
    }
    few = apmig_sentence_few(places, "; ");
    changes = g_new0(ApmigConfigChanges, 1);
    changes->queues = apmig_scope_new_from_queues((const ApmigApqn *)queues->data, queues->len);
    changes->message = g_strdup_printf("The AP configuration changes %s: %s.", when, few);
    return changes;
}

static gboolean
is_over(G_GNUC_UNUSED gpointer id, gpointer value, gpointer asked_at)
{
    return ((const Guarded *)value)->until <= *(const gint64 *)asked_at;
}

ApmigConfigChanges *
apmig_config_watch_observe(ApmigConfigWatch *watch, const ApmigApHost *host, gint64 asked_at)
{
    g_autoptr(GPtrArray) expected = list_expected(watch);
    g_autoptr(GPtrArray) findings = NULL;
    g_autoptr(GPtrArray) chosen = g_ptr_array_new();
    g_autoptr(GHashTable) during = g_hash_table_new(g_str_hash, g_str_equal);
    ApmigConfigChanges *changes = NULL;

    if (host->is_in_flux)
        return NULL;
    if (watch->last != NULL) {
        findings = apmig_config_compare(watch->last, host, (const char *const *)expected->pdata);
        choose(watch, findings, asked_at, chosen, during);
        changes = chosen->len > 0 ? conclude(chosen, during) : NULL;
        apmig_ap_host_free(watch->last);
    }
    watch->last = apmig_ap_host_copy(host);
    watch->last_asked_at = asked_at;
    g_hash_table_foreach_remove(watch->guarded, is_over, &asked_at);
    return changes;
}
