/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the hypervisor tells of its guests, in answers and by itself. */
#include "engine/private.h"

#define HEARD_MAX 4096 /* guests that come and go between two lists */
#define GONE_MAX  4096
/* For how long libvirt's event of how a guest went is waited for, which may be overtaken by an answer. */
#define GONE_USEC (60 * G_USEC_PER_SEC)

static void
forget_view(ApmigEngine *engine)
{
    engine->list_asked = engine->list_token = engine->heartbeat = 0;
    engine->view_started_at = 0;
    engine->list_owed_since = engine->list_at = engine->heartbeat_owed = engine->heartbeat_at = 0;
    g_hash_table_remove_all(engine->guests);
    g_hash_table_remove_all(engine->gone);
    g_hash_table_remove_all(engine->heard);
    for (guint i = 0; i < engine->locks->len; i++)
        g_hash_table_remove_all(((Lock *)g_ptr_array_index(engine->locks, i))->missing);
}

void
engine_view_started(ApmigEngine *engine)
{
    engine->connected = TRUE;
    g_clear_pointer(&engine->view_trouble, g_free);
    g_clear_pointer(&engine->late, g_free);
    engine_unaffected_view_started(engine);
    forget_view(engine);
    engine_stamps_view_started(engine);
    entry_add_locks(
        engine_log(engine, APMIG_LOG_VIEW_STARTED, LOG_INFO, NULL, NULL, "connected to the hypervisor"),
        engine, NULL);
    engine_hurry(engine);
    engine_read_guests(engine);
}

void
engine_view_lost(ApmigEngine *engine, const char *reason)
{
    if (engine->connected || g_strcmp0(reason, engine->view_trouble) != 0) {
        entry_add_locks(engine_log(engine, APMIG_LOG_VIEW_LOST, engine->locks->len ? LOG_WARNING : LOG_INFO,
                                   NULL, NULL, "the hypervisor is not reachable: %s", reason),
                        engine, NULL);
    }
    engine->connected = FALSE;
    g_free(engine->view_trouble);
    engine->view_trouble = g_strdup(reason);
    for (guint i = 0; i < engine->locks->len; i++)
        ((Lock *)g_ptr_array_index(engine->locks, i))->unproven_said_at = 0;
    forget_view(engine);
    engine_steps_lost(engine);
    engine_stamps_view_lost(engine);
}

static void
see_guest(ApmigEngine *engine, const ApmigGuestName *seen, ApmigToken token)
{
    Guest *guest = g_hash_table_lookup(engine->guests, seen->uuid);

    if (!guest) {
        guest = g_new0(Guest, 1);
        guest->uuid = g_strdup(seen->uuid);
        guest->clear_token = engine->list_token;
        guest_forget_facts(guest, 0);
        if (engine->list_token && !g_hash_table_contains(engine->heard, seen->uuid))
            guest->unheard_at = engine->now;
        g_hash_table_insert(engine->guests, guest->uuid, guest);
        g_hash_table_remove(engine->gone, seen->uuid);
    }
    if (g_strcmp0(guest->name, seen->name) != 0) {
        g_free(guest->name);
        guest->name = g_strdup(seen->name);
    }
    guest->present_token = MAX(guest->present_token, token);
}

/* @guest: (transfer full): of none of the tables any more */
static void
keep_gone(ApmigEngine *engine, Guest *guest)
{
    guest->gone_at = engine->now;
    if (g_hash_table_size(engine->gone) >= GONE_MAX)
        g_hash_table_remove_all(engine->gone);
    g_hash_table_replace(engine->gone, guest->uuid, guest);
}

/* Returns: (nullable): what is known of the guest, which may have been found to be gone just before. */
static Guest *
find_lately(const ApmigEngine *engine, const char *uuid)
{
    Guest *guest = g_hash_table_lookup(engine->guests, uuid);
    Guest *gone = g_hash_table_lookup(engine->gone, uuid);

    return guest ? guest : gone && engine->now <= gone->gone_at + GONE_USEC ? gone : NULL;
}

/* Whoever was active when last heard of, and is not in the list of @token. */
static void
miss_guests(ApmigEngine *engine, ApmigToken token)
{
    g_autoptr(GPtrArray) missed = g_ptr_array_new_with_free_func(g_free);
    GHashTableIter iter;
    Guest *guest;

    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        if (guest->present_token < token) {
            g_hash_table_iter_steal(&iter);
            keep_gone(engine, guest);
        }
    for (guint i = 0; i < engine->migrations->len; i++) {
        const Migration *migration = g_ptr_array_index(engine->migrations, i);

        if (!g_hash_table_contains(engine->guests, migration->pub.uuid))
            g_ptr_array_add(missed, g_strdup(migration->pub.uuid));
    }
    for (guint i = 0; i < missed->len; i++)
        engine_migrations_guest_absent(engine, g_ptr_array_index(missed, i), token);
}

void
engine_listed(ApmigEngine *engine, const ApmigEvent *event)
{
    GHashTableIter iter;
    Guest *guest;

    if (!engine->list_asked || event->listed.token != engine->list_asked)
        return;
    engine->list_asked = 0;
    g_free(engine->view_trouble);
    engine->view_trouble = g_strdup(event->listed.error);
    if (!event->listed.error) {
        for (guint i = 0; i < event->listed.n_guests; i++)
            see_guest(engine, &event->listed.guests[i], event->listed.token);
        miss_guests(engine, event->listed.token);
        engine->list_token = event->listed.token;
        engine->list_owed_since = 0;
        if (!engine->view_started_at)
            engine->view_started_at = engine->now;
        g_hash_table_remove_all(engine->heard);
        engine->rosters_dirty = TRUE;
    }
    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        if (!guest->answer_token && !guest->asked && engine_guest_matters(engine, guest))
            engine_ask_guest(engine, guest);
    if (engine->list_again && !event->listed.error)
        engine_ask_list(engine);
}

static void
guest_learn_facts(Guest *guest, const ApmigGuestFacts *facts)
{
    guest_forget_facts(guest, guest->facts_token);
    guest->affected = facts->affected;
    if (facts->affected == APMIG_AFFECTED_NO) {
        apmig_scope_unref(guest->scope);
        guest->scope = apmig_scope_new_none();
    } else if (facts->affected == APMIG_AFFECTED_YES && facts->scope) {
        apmig_scope_unref(guest->scope);
        guest->scope = apmig_scope_ref(facts->scope);
        guest->scope_varies = facts->scope_varies;
    }
    if (facts->devices) {
        g_strfreev(guest->devices);
        guest->devices = g_strdupv((char **)facts->devices);
    }
}

static void
learn_facts(ApmigEngine *engine, Guest *guest, ApmigToken token, const ApmigGuestFacts *facts)
{
    if (token <= guest->facts_token)
        return;
    guest_learn_facts(guest, facts);
    engine_unplug_learned(engine, guest);
    guest->told_token = token;
    engine->rosters_dirty = TRUE;
    if (guest->came_token)
        engine_judge_arrival(engine, guest);
    engine_forget_unaffected(engine, guest->uuid);
}

static void
learn(ApmigEngine *engine, Guest *guest, const ApmigEvent *event)
{
    if (event->answered.facts_read)
        learn_facts(engine, guest, event->answered.token, &event->answered.facts);
    else if (guest->affected == APMIG_AFFECTED_UNKNOWN && event->answered.job == APMIG_JOB_INCOMING &&
             event->answered.token > guest->facts_token && engine_expects_unaffected(engine, guest->uuid))
        guest_learn_facts(guest, &(ApmigGuestFacts){.affected = APMIG_AFFECTED_NO});
}

/* Whether the QEMU that an answer shows is not the one of which its facts were read: libvirt's event of its start may be
 * late. What is active does not come in. */
static gboolean
is_another_life(const Guest *guest, const ApmigEvent *event)
{
    if (guest->stopped && event->answered.token > guest->stop_token)
        return TRUE;
    return event->answered.job == APMIG_JOB_INCOMING && guest->answer_token &&
           guest->job != APMIG_JOB_INCOMING;
}

static void
guest_answered(ApmigEngine *engine, Guest *guest, const ApmigEvent *event)
{
    if (is_another_life(guest, event))
        guest_forget_facts(guest, guest->facts_token);
    guest->answer_token = event->answered.token;
    guest->present_token = engine->last_token;
    guest->stopped &= event->answered.token <= guest->stop_token;
    guest->job = event->answered.job;
    guest->owed_since = 0;
    if (guest->job == APMIG_JOB_NONE)
        guest->suspended = FALSE;
    learn(engine, guest, event);
    engine_migrations_answered(engine, guest, event);
    if (guest->job == APMIG_JOB_NONE || guest->job == APMIG_JOB_OTHER)
        guest->clear_token = event->answered.token;
    if (event->answered.token > guest->sending_token)
        guest_forget_sending(guest); /* it is a migration, which is known now, or goes into a file */
}

void
engine_answered(ApmigEngine *engine, const ApmigEvent *event)
{
    Guest *guest = g_hash_table_lookup(engine->guests, event->answered.uuid);

    if (!guest || !guest->asked || guest->asked != event->answered.token)
        return;
    guest->asked = 0;
    g_clear_pointer(&guest->trouble, g_free);
    if (event->answered.job == APMIG_JOB_GONE && guest->present_token > event->answered.token) {
        guest->trouble = g_strdup("it was gone, and is there again");
        if (engine_reading_is_needed(engine))
            engine_ask_guest(engine, guest);
        return;
    }
    if (event->answered.job == APMIG_JOB_GONE) {
        g_autofree char *uuid = g_strdup(guest->uuid);

        g_hash_table_steal(engine->guests, uuid);
        keep_gone(engine, guest);
        engine->rosters_dirty = TRUE;
        engine_migrations_guest_absent(engine, uuid, event->answered.token);
        return;
    }
    if (event->answered.job == APMIG_JOB_UNKNOWN)
        guest->trouble = g_strdup(event->answered.error ? event->answered.error : "no reason given");
    else
        guest_answered(engine, guest, event);
    if (guest->ask_again && engine_reading_is_needed(engine) && engine_guest_matters(engine, guest))
        engine_ask_guest(engine, guest);
}

static void
guest_changed(ApmigEngine *engine, const char *uuid, ApmigNews change)
{
    Guest *guest = g_hash_table_lookup(engine->guests, uuid);
    Migration *outgoing = engine_find_migration(engine, uuid, TRUE);

    if (guest)
        guest_forget_facts(guest, engine->last_token);
    if (!engine_find_migration(engine, uuid, FALSE)) /* when that one has arrived, then */
        engine_stamp_changed_guest(engine, uuid, change);
    if (outgoing)
        outgoing->pub.scope_known = FALSE; /* until it is read anew, even if libvirt goes away before */
    engine_unaffected_has_come(engine, uuid);
}

static void
guest_is_stopped(ApmigEngine *engine, const char *uuid)
{
    Guest *guest = g_hash_table_lookup(engine->guests, uuid);
    Migration *incoming = engine_find_migration(engine, uuid, FALSE);

    if (incoming)
        incoming->shown = FALSE; /* what comes in next is another QEMU */
    engine_forget_unaffected(engine, uuid);
    engine_forget_stamp(engine, uuid);
    g_hash_table_remove(engine->gone, uuid);
    engine_unplug_stopped(engine, uuid);
    engine_forget_departing(engine, uuid);
    if (!guest)
        return;
    guest->stopped = TRUE;
    guest->stop_token = engine->last_token;
    guest_forget_sending(guest);
    guest->suspended = FALSE;
    guest->came_token = 0;
}

/* Of a guest that was never read nothing is left to be read: it may have been anybody's. @guest: (nullable) */
static void
departed_unseen(ApmigEngine *engine, Guest *guest, const char *uuid, const char *name, gboolean unknown)
{
    const char *how =
        unknown ? "it stopped at its switchover" : "it has migrated, and what it had was not known";

    if (guest && guest->affected != APMIG_AFFECTED_UNKNOWN)
        engine_migrations_guest_left(engine, guest, unknown);
    if (!guest || guest->affected == APMIG_AFFECTED_UNKNOWN)
        engine_note_departed(engine, uuid, name, how);
}

/* Memory had left, to another host or into a file, and it stopped before libvirt told which. */
static void
sent_somewhere(ApmigEngine *engine, Guest *guest)
{
    if (guest->affected != APMIG_AFFECTED_UNKNOWN)
        engine_migrations_guest_sent(engine, guest, "the guest has stopped");
    else
        engine_note_departed(engine, guest->uuid, guest->name,
                             "its memory was sent, and what it had was not known");
}

/* That it has left is the one certain sign, whether or not a question ever showed its migration. */
static void
guest_stopped(ApmigEngine *engine, const char *uuid, const char *name, ApmigNews what)
{
    Migration *outgoing = engine_find_migration(engine, uuid, TRUE);
    Guest *guest = find_lately(engine, uuid);
    gboolean unknown = what == APMIG_NEWS_STOPPED_LOST && guest && guest->suspended;

    if (outgoing && !outgoing->stopped_known) {
        outgoing->stopped_known = TRUE;
        outgoing->stop_token = engine->last_token;
        outgoing->stopped_migrated = what == APMIG_NEWS_STOPPED_MIGRATED;
        outgoing->stopped_unknown = unknown;
        outgoing->memory_sent |= outgoing->stopped_migrated || unknown;
    } else if (!outgoing && (unknown || what == APMIG_NEWS_STOPPED_MIGRATED)) {
        departed_unseen(engine, guest, uuid, name, unknown);
    } else if (!outgoing && guest && guest->sent && what != APMIG_NEWS_STOPPED_SAVED) {
        sent_somewhere(engine, guest);
    }
    guest_is_stopped(engine, uuid);
}

static void
guest_sends(ApmigEngine *engine, const char *uuid)
{
    Guest *guest = g_hash_table_lookup(engine->guests, uuid);
    Migration *outgoing = engine_find_migration(engine, uuid, TRUE);

    if (outgoing) {
        outgoing->memory_sent = TRUE;
        outgoing->iterated = TRUE;
    }
    if (!guest || outgoing || guest->affected == APMIG_AFFECTED_NO)
        return;
    guest_note_sending(engine, guest);
}

static void
guest_suspended(const ApmigEngine *engine, Guest *guest, gboolean suspended)
{
    guest->suspended = suspended;
    guest->suspended_at = engine->now;
    guest->suspended_token = engine->last_token;
}

/* Of two yeses it may be the first that it tells of. */
static void
guest_defined(ApmigEngine *engine, const char *uuid)
{
    Migration *incoming = engine_find_migration(engine, uuid, FALSE);

    if (incoming && incoming->granted_at && incoming->grants == 1)
        incoming->defined_token = engine->last_token;
}

void
engine_guest_news(ApmigEngine *engine, const ApmigEvent *event)
{
    const char *uuid = event->news.uuid;
    Guest *guest = g_hash_table_lookup(engine->guests, uuid);
    Migration *outgoing = engine_find_migration(engine, uuid, TRUE);

    if (guest)
        guest->unheard_at = 0;
    else if (g_hash_table_size(engine->heard) < HEARD_MAX)
        g_hash_table_add(engine->heard, g_strdup(uuid));
    switch (event->news.what) {
    case APMIG_NEWS_CHANGED:
    case APMIG_NEWS_STARTED:
    case APMIG_NEWS_PLUGGED:
        guest_changed(engine, uuid, event->news.what);
        break;
    case APMIG_NEWS_ARRIVING:
        guest_changed(engine, uuid, APMIG_NEWS_CHANGED);
        if (engine->loaded)
            engine_migrations_guest_arrives(engine, uuid, event->news.name ? event->news.name : uuid);
        break;
    case APMIG_NEWS_SENDING:
        guest_sends(engine, uuid);
        break;
    case APMIG_NEWS_JOB_SAVED:
        if (guest)
            guest_forget_sending(guest);
        break;
    case APMIG_NEWS_SUSPENDED:
    case APMIG_NEWS_RESUMED:
        if (guest)
            guest_suspended(engine, guest, event->news.what == APMIG_NEWS_SUSPENDED);
        break;
    case APMIG_NEWS_DEFINED:
        guest_defined(engine, uuid);
        break;
    case APMIG_NEWS_STOPPED:
    case APMIG_NEWS_STOPPED_SAVED:
    case APMIG_NEWS_STOPPED_LOST:
    case APMIG_NEWS_STOPPED_MIGRATED:
        guest_stopped(engine, uuid, event->news.name, event->news.what);
        break;
    case APMIG_NEWS_JOB_MIGRATED:
        if (outgoing)
            outgoing->memory_sent = TRUE;
        break;
    case APMIG_NEWS_OTHER:
        break;
    }
    engine_hint(engine, uuid, NULL);
}

void
engine_facts_read(ApmigEngine *engine, const ApmigEvent *event)
{
    Guest *guest = g_hash_table_lookup(engine->guests, event->facts_read.uuid);

    if (!guest || !guest->asked || guest->asked != event->facts_read.token)
        return;
    if (guest->stopped && event->facts_read.token > guest->stop_token) {
        guest_forget_facts(guest, guest->facts_token);
        guest->stopped = FALSE; /* what can be read is there again */
    }
    learn_facts(engine, guest, event->facts_read.token, &event->facts_read.facts);
    engine_migrations_facts_read(engine, guest);
}
