/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cards/key-view.h"

#include "ap/find.h"
#include "cards/ap-sysfs.h"
#include "cards/card-reader.h"

#include <string.h>

typedef struct {
    ApmigKeyReading reading;
    gint64 at; /* monotonic */
} Kept;

typedef struct {
    ApmigKeyView *view;
    ApmigScope *scope;
    gint64 max_age, until; /* the latter: monotonic */
    gboolean host_only;
    ApmigApHost *host;
    GPtrArray *readings; /* of ApmigKeyReading */
    GArray *asked;       /* of ApmigApqn: the cards are asked about them */
    ApmigKeyViewFunc func;
    gpointer user_data;
} Reading;

struct ApmigKeyView {
    ApmigSysfs *sysfs;
    ApmigHostReader *host_reader;
    ApmigCardReader *card_reader;
    ApmigApHost *host; /* as it was read last; NULL: not */
    gint64 host_at;    /* monotonic */
    ApmigEvidence *evidence;
    GHashTable *kept;    /* queue -> Kept: what was read last */
    GPtrArray *readings; /* of Reading: those under way */
    ApmigKeyAlarmFunc alarm_func;
    gpointer alarm_data;
};

static void
reading_free(gpointer data)
{
    Reading *reading = data;

    apmig_scope_unref(reading->scope);
    apmig_ap_host_free(reading->host);
    g_ptr_array_unref(reading->readings);
    g_array_unref(reading->asked);
    g_free(reading);
}

static gpointer
key_of(guint adapter, guint domain)
{
    return GUINT_TO_POINTER(adapter * APMIG_AP_NUMBERS + domain);
}

/* --- what is known ------------------------------------------------------------------------------- */

/* @mkvps: (nullable): NULL: the queue cannot be read, or no longer */
static void
learn(ApmigKeyView *view, guint adapter, guint domain, const ApmigMkvps *mkvps)
{
    g_autoptr(GPtrArray) alarms = g_ptr_array_new_with_free_func(g_free);

    apmig_evidence_add_reading(view->evidence, adapter, domain, mkvps, g_get_real_time(), alarms);
    for (guint i = 0; view->alarm_func && i < alarms->len; i++)
        view->alarm_func(adapter, domain, g_ptr_array_index(alarms, i), view->alarm_data);
    if (mkvps) {
        Kept *kept = g_new(Kept, 1);

        *kept = (Kept){{adapter, domain, *mkvps}, g_get_monotonic_time()};
        g_hash_table_replace(view->kept, key_of(adapter, domain), kept);
    } else {
        g_hash_table_remove(view->kept, key_of(adapter, domain));
    }
}

/* Whether the card tells this host the keys of the queue. */
static gboolean
is_readable(const ApmigApHost *host, const ApmigApQueue *queue)
{
    return g_str_equal(queue->driver, "cex4queue") &&
           apmig_ap_find_mode(host, queue->adapter) != APMIG_AP_MODE_ACCELERATOR;
}

/* A queue that was given away, or is gone, may have other keys by now. */
static void
forget_unreadable(ApmigKeyView *view, const ApmigApHost *host)
{
    g_autoptr(GPtrArray) list = apmig_evidence_list(view->evidence);
    g_autoptr(GArray) gone = g_array_new(FALSE, FALSE, sizeof(ApmigApqn));

    for (guint i = 0; i < list->len; i++) {
        const ApmigEvidenceRecord *record = g_ptr_array_index(list, i);
        const ApmigApQueue *queue = apmig_ap_find_queue(host, record->adapter, record->domain);
        const ApmigApqn number = {record->adapter, record->domain};

        if (record->evidence == APMIG_EVIDENCE_VERIFIED && (!queue || !is_readable(host, queue)))
            g_array_append_val(gone, number);
    }
    for (guint i = 0; i < gone->len; i++)
        learn(view, g_array_index(gone, ApmigApqn, i).adapter, g_array_index(gone, ApmigApqn, i).domain,
              NULL);
}

/* --- the end of a reading ------------------------------------------------------------------------ */

static void
fill_in_serials(const ApmigKeyView *view, ApmigApHost *host)
{
    for (guint i = 0; i < host->cards->len; i++) {
        ApmigApCard *card = g_ptr_array_index(host->cards, i);

        g_free(card->serial);
        card->serial = g_strdup(apmig_card_reader_serial(view->card_reader, card->adapter));
    }
}

static void
finish(Reading *reading)
{
    ApmigKeyView *view = reading->view;
    guint index;

    if (g_ptr_array_find(view->readings, reading, &index))
        g_ptr_array_steal_index(view->readings, index);
    if (reading->host) {
        fill_in_serials(view, reading->host);
        reading->func(reading->host, reading->readings, view->evidence, NULL, reading->user_data);
    } else {
        reading->func(NULL, NULL, NULL, "sysfs did not tell this host's crypto hardware in time",
                      reading->user_data);
    }
    reading_free(reading);
}

/* --- cards --------------------------------------------------------------------------------------- */

static const ApmigKeyReading *
find_reading(const GPtrArray *readings, const ApmigApqn *queue)
{
    for (guint i = 0; i < readings->len; i++) {
        const ApmigKeyReading *reading = g_ptr_array_index(readings, i);

        if (reading->adapter == queue->adapter && reading->domain == queue->domain)
            return reading;
    }
    return NULL;
}

static void
add_reading(Reading *reading, const ApmigKeyReading *found)
{
    ApmigKeyReading *copy = g_new(ApmigKeyReading, 1);

    *copy = *found;
    g_ptr_array_add(reading->readings, copy);
}

static void
on_cards_read(const GPtrArray *readings, gpointer user_data)
{
    Reading *reading = user_data;

    for (guint i = 0; i < reading->asked->len; i++) {
        const ApmigApqn *queue = &g_array_index(reading->asked, ApmigApqn, i);
        const ApmigKeyReading *found = find_reading(readings, queue);

        learn(reading->view, queue->adapter, queue->domain, found ? &found->mkvps : NULL);
        if (found)
            add_reading(reading, found);
    }
    finish(reading);
}

static void
find_domains(const Reading *reading, ApmigApMask *domains)
{
    for (guint i = 0; i < reading->host->queues->len; i++) {
        const ApmigApQueue *queue = g_ptr_array_index(reading->host->queues, i);

        if (apmig_scope_contains(reading->scope, queue->adapter, queue->domain))
            apmig_ap_mask_add(domains, queue->domain);
    }
}

/* What was read a short while ago is taken; the rest is to be asked for. */
static void
choose_queues(Reading *reading)
{
    gint64 now = g_get_monotonic_time();
    ApmigApMask domains = {0};

    find_domains(reading, &domains);
    for (guint i = 0; i < reading->host->queues->len; i++) {
        const ApmigApQueue *queue = g_ptr_array_index(reading->host->queues, i);
        const ApmigApqn number = {queue->adapter, queue->domain};
        const Kept *kept = g_hash_table_lookup(reading->view->kept, key_of(queue->adapter, queue->domain));

        if (!apmig_ap_mask_has(&domains, queue->domain) || !is_readable(reading->host, queue))
            continue;
        if (kept && now - kept->at < reading->max_age)
            add_reading(reading, &kept->reading);
        else
            g_array_append_val(reading->asked, number);
    }
}

/* --- readings ------------------------------------------------------------------------------------ */

/* What was read earlier is not kept when a reading fails: it may be wrong by now. */
static void
keep_host(ApmigKeyView *view, const ApmigApHost *host)
{
    apmig_ap_host_free(view->host);
    view->host = host ? apmig_ap_host_copy(host) : NULL;
    view->host_at = g_get_monotonic_time();
    if (view->host)
        fill_in_serials(view, view->host);
}

static void
on_host_read(ApmigApHost *host, gpointer user_data)
{
    Reading *reading = user_data;
    ApmigKeyView *view = reading->view;

    reading->host = host;
    keep_host(view, host);
    if (host)
        forget_unreadable(view, host);
    if (!host || !host->present || reading->host_only) {
        finish(reading);
        return;
    }
    choose_queues(reading);
    apmig_card_reader_read(view->card_reader, (const ApmigApqn *)reading->asked->data, reading->asked->len,
                           MAX(reading->until - g_get_monotonic_time(), 0), on_cards_read, reading);
}

static Reading *
reading_new(ApmigKeyView *view, const ApmigScope *scope, gint64 limit_usec, ApmigKeyViewFunc func,
            gpointer user_data)
{
    Reading *reading = g_new0(Reading, 1);

    reading->view = view;
    reading->scope = scope ? apmig_scope_ref((ApmigScope *)scope) : NULL;
    reading->until = g_get_monotonic_time() + limit_usec;
    reading->readings = g_ptr_array_new_with_free_func(g_free);
    reading->asked = g_array_new(FALSE, FALSE, sizeof(ApmigApqn));
    reading->func = func;
    reading->user_data = user_data;
    g_ptr_array_add(view->readings, reading);
    return reading;
}

void
apmig_key_view_read(ApmigKeyView *view, const ApmigScope *scope, gint64 max_age_usec, gint64 limit_usec,
                    ApmigKeyViewFunc func, gpointer user_data)
{
    Reading *reading = reading_new(view, scope, limit_usec, func, user_data);

    reading->max_age = max_age_usec;
    apmig_host_reader_read(view->host_reader, limit_usec, on_host_read, reading);
}

void
apmig_key_view_read_host(ApmigKeyView *view, gint64 limit_usec, ApmigKeyViewFunc func, gpointer user_data)
{
    Reading *reading = reading_new(view, NULL, limit_usec, func, user_data);

    reading->host_only = TRUE;
    apmig_host_reader_read(view->host_reader, limit_usec, on_host_read, reading);
}

/* --- life ---------------------------------------------------------------------------------------- */

void
apmig_key_view_set_alarm_func(ApmigKeyView *view, ApmigKeyAlarmFunc func, gpointer user_data)
{
    view->alarm_func = func;
    view->alarm_data = user_data;
}

void
apmig_key_view_set_host_func(ApmigKeyView *view, ApmigHostReadingFunc func, gpointer user_data)
{
    apmig_host_reader_set_func(view->host_reader, func, user_data);
}

ApmigEvidence *
apmig_key_view_evidence(ApmigKeyView *view)
{
    return view->evidence;
}

const ApmigApHost *
apmig_key_view_host(const ApmigKeyView *view, gint64 max_age_usec)
{
    return g_get_monotonic_time() - view->host_at <= max_age_usec ? view->host : NULL;
}

gboolean
apmig_key_view_has_guest_queues(const ApmigKeyView *view)
{
    return apmig_ap_has_guest_driver(apmig_sysfs_root(view->sysfs));
}

ApmigKeyView *
apmig_key_view_new(ApmigSysfs *sysfs)
{
    ApmigKeyView *view = g_new0(ApmigKeyView, 1);

    view->sysfs = apmig_sysfs_ref(sysfs);
    view->host_reader = apmig_host_reader_new(sysfs);
    view->card_reader = apmig_card_reader_new(apmig_sysfs_root(sysfs));
    view->evidence = apmig_evidence_new();
    view->kept = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    view->readings = g_ptr_array_new_with_free_func(reading_free);
    return view;
}

void
apmig_key_view_free(ApmigKeyView *view)
{
    if (!view)
        return;
    apmig_host_reader_free(view->host_reader);
    apmig_card_reader_free(view->card_reader);
    g_ptr_array_unref(view->readings);
    g_hash_table_unref(view->kept);
    apmig_ap_host_free(view->host);
    apmig_evidence_free(view->evidence);
    apmig_sysfs_unref(view->sysfs);
    g_free(view);
}
