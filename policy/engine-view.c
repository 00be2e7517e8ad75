/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is known of the hypervisor's active guests, and what is to be asked: after each hint, at short intervals while
 * a lock drains or is breached or somebody waits for a reading, at long ones while one is held, and never without a
 * lock, an open migration or such a question. There is no event for the start or the failed end of an outgoing
 * migration (libvirt), hence the intervals.
 */
#include "engine-private.h"

#define NAMED_MAX              8 /* guests named in one sentence */
#define INCOMING_INTERVAL_USEC (G_USEC_PER_SEC / 2)

void
guest_free(Guest *guest)
{
    g_free(guest->uuid);
    g_free(guest->name);
    apmig_scope_unref(guest->scope);
    g_strfreev(guest->devices);
    g_strfreev(guest->told_devices);
    g_free(guest->trouble);
    g_free(guest);
}

void
guest_forget_facts(Guest *guest, guint64 token)
{
    g_clear_pointer(&guest->scope, apmig_scope_unref);
    g_clear_pointer(&guest->devices, g_strfreev);
    guest->affected = APMIG_AFFECTED_UNKNOWN;
    guest->scope = apmig_scope_new_all();
    guest->scope_varies = FALSE;
    guest->devices = g_new0(char *, 1);
    guest->facts_token = token;
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

static Guest *
find_by_name(const ApmigEngine *engine, const char *name)
{
    GHashTableIter iter;
    Guest *guest;

    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        if (g_str_equal(guest->name, name))
            return guest;
    return NULL;
}

/* One whose queues change without an event is asked about under any lock: it may overlap by now. */
static gboolean
guest_matters(const ApmigEngine *engine, const Guest *guest)
{
    return engine_overlapping_lock(engine, guest->scope) || (guest->scope_varies && engine->locks->len) ||
           engine_guest_migrates(engine, guest->uuid) || engine_is_inquired(engine, guest);
}

static gboolean
reading_is_needed(const ApmigEngine *engine)
{
    return engine->connected && (engine->locks->len || engine->migrations->len || engine->inquiries->len);
}

/* --- asking -------------------------------------------------------------------------------------- */

static void
ask_list(ApmigEngine *engine)
{
    ApmigAction *action = engine_act(engine, APMIG_ACTION_LIST_GUESTS);

    action->token = engine->list_asked = ++engine->last_token;
    engine->list_again = FALSE;
}

static void
ask_guest(ApmigEngine *engine, Guest *guest)
{
    ApmigAction *action = engine_act(engine, APMIG_ACTION_QUERY_GUEST);

    action->token = guest->asked = ++engine->last_token;
    action->uuid = g_strdup(guest->uuid);
    action->want_facts = guest->affected == APMIG_AFFECTED_UNKNOWN ||
                         (guest->scope_varies && guest->told_token < guest->answer_token);
    guest->asked_at = engine->now;
    guest->ask_again = FALSE;
}

/* Now, or as soon as the question under way is answered: what it proves may be too old. */
static void
ask_guest_anew(ApmigEngine *engine, Guest *guest)
{
    if (guest->asked)
        guest->ask_again = TRUE;
    else
        ask_guest(engine, guest);
}

static void
ask_list_anew(ApmigEngine *engine)
{
    if (engine->list_asked)
        engine->list_again = TRUE;
    else
        ask_list(engine);
}

void
engine_need_list(ApmigEngine *engine)
{
    if (!engine->list_asked && !engine->list_token)
        ask_list(engine);
}

void
engine_hurry(ApmigEngine *engine)
{
    GHashTableIter iter;
    Guest *guest;

    engine->next_sweep = 0;
    engine->list_again = engine->list_asked != 0;
    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        guest->ask_again = guest->asked != 0;
}

/* --- what happens to the view --------------------------------------------------------------------- */

void
engine_view_started(ApmigEngine *engine)
{
    engine->connected = TRUE;
    g_clear_pointer(&engine->view_trouble, g_free);
    g_hash_table_remove_all(engine->arrivals); /* they may have come and gone unseen */
    g_hash_table_remove_all(engine->guests);
    engine->list_asked = 0;
    engine->list_token = 0;
    engine_stamps_view_started(engine);
    engine_log(engine, APMIG_LOG_VIEW_STARTED, LOG_INFO, NULL, NULL, "connected to the hypervisor");
    engine_log_concerns(engine, NULL);
    engine_hurry(engine);
}

void
engine_view_lost(ApmigEngine *engine, const char *reason)
{
    if (engine->connected || g_strcmp0(reason, engine->view_trouble) != 0) {
        engine_log(engine, APMIG_LOG_VIEW_LOST, engine->locks->len ? LOG_WARNING : LOG_INFO, NULL, NULL,
                   "the hypervisor is not reachable: %s", reason);
        engine_log_concerns(engine, NULL);
    }
    engine->connected = FALSE;
    g_free(engine->view_trouble);
    engine->view_trouble = g_strdup(reason);
    engine->list_asked = 0;
    engine->list_token = 0;
    g_hash_table_remove_all(engine->guests);
    engine_steps_lost(engine);
    engine_stamps_view_lost(engine);
}

static void
see_guest(ApmigEngine *engine, const ApmigGuestName *seen, guint64 token)
{
    Guest *guest = g_hash_table_lookup(engine->guests, seen->uuid);

    if (!guest) {
        guest = g_new0(Guest, 1);
        guest->uuid = g_strdup(seen->uuid);
        guest->clear_token = engine->list_token;
        guest_forget_facts(guest, 0);
        g_hash_table_insert(engine->guests, guest->uuid, guest);
    }
    if (g_strcmp0(guest->name, seen->name) != 0) {
        g_free(guest->name);
        guest->name = g_strdup(seen->name);
    }
    guest->present_token = MAX(guest->present_token, token);
}

/* Whoever was active when last heard of, and is not in the list of @token. */
static void
miss_guests(ApmigEngine *engine, guint64 token)
{
    g_autoptr(GPtrArray) missed = g_ptr_array_new_with_free_func(g_free);
    GHashTableIter iter;
    Guest *guest;

    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        if (guest->present_token < token)
            g_hash_table_iter_remove(&iter);
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
    }
    if (!reading_is_needed(engine))
        return;
    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        if (!guest->answer_token && !guest->asked && guest_matters(engine, guest))
            ask_guest(engine, guest);
    if (engine->list_again && !event->listed.error)
        ask_list(engine);
}

static gboolean
is_unaffected_arrival(const ApmigEngine *engine, const char *uuid)
{
    const gint64 *until = g_hash_table_lookup(engine->arrivals, uuid);

    return until && engine->now <= *until;
}

static void
learn(ApmigEngine *engine, Guest *guest, const ApmigEvent *event)
{
    if (event->answered.facts_read && event->answered.token > guest->facts_token) {
        guest_learn_facts(guest, &event->answered.facts);
        engine_unplug_learned(engine, guest);
        guest->told_token = event->answered.token;
        g_hash_table_remove(engine->arrivals, guest->uuid);
    } else if (guest->affected == APMIG_AFFECTED_UNKNOWN && event->answered.job == APMIG_JOB_INCOMING &&
               event->answered.token > guest->facts_token && is_unaffected_arrival(engine, guest->uuid)) {
        guest_learn_facts(guest, &(ApmigGuestFacts){.affected = APMIG_AFFECTED_NO});
    }
}

static void
guest_answered(ApmigEngine *engine, Guest *guest, const ApmigEvent *event)
{
    guest->answer_token = event->answered.token;
    guest->present_token = engine->last_token;
    guest->stopped &= event->answered.token <= guest->stop_token;
    guest->job = event->answered.job;
    if (guest->job == APMIG_JOB_NONE || guest->job == APMIG_JOB_OTHER)
        guest->clear_token = event->answered.token;
    learn(engine, guest, event);
    engine_migrations_answered(engine, guest, event);
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
        if (reading_is_needed(engine))
            ask_guest(engine, guest);
        return;
    }
    if (event->answered.job == APMIG_JOB_GONE) {
        g_autofree char *uuid = g_strdup(guest->uuid);

        g_hash_table_remove(engine->guests, uuid);
        engine_migrations_guest_absent(engine, uuid, event->answered.token);
        return;
    }
    if (event->answered.job == APMIG_JOB_UNKNOWN)
        guest->trouble = g_strdup(event->answered.error ? event->answered.error : "no reason given");
    else
        guest_answered(engine, guest, event);
    if (guest->ask_again && reading_is_needed(engine) && guest_matters(engine, guest))
        ask_guest(engine, guest);
}

void
engine_guest_changed(ApmigEngine *engine, const char *uuid, ApmigGuestChange change)
{
    Guest *guest = g_hash_table_lookup(engine->guests, uuid);
    gint64 *arrival_until = g_hash_table_lookup(engine->arrivals, uuid);
    Migration *outgoing = engine_find_migration(engine, uuid, TRUE);

    if (guest)
        guest_forget_facts(guest, engine->last_token);
    if (!engine_find_migration(engine, uuid, FALSE)) /* when that one has arrived, then */
        engine_stamp_changed_guest(engine, uuid, change);
    if (outgoing)
        outgoing->pub.scope_known = FALSE; /* until it is read anew, even if libvirt goes away before */
    if (arrival_until && engine->now <= *arrival_until)
        *arrival_until = G_MAXINT64; /* it has come, and is what the hook told of until it stops */
    engine_hint(engine, uuid, NULL);
}

void
engine_view_guest_stopped(ApmigEngine *engine, const char *uuid)
{
    Guest *guest = g_hash_table_lookup(engine->guests, uuid);

    g_hash_table_remove(engine->arrivals, uuid);
    g_hash_table_remove(engine->stamps, uuid);
    engine_unplug_stopped(engine, uuid);
    if (!guest)
        return;
    guest->stopped = TRUE;
    guest->stop_token = engine->last_token;
}

const Guest *
engine_find_guest(const ApmigEngine *engine, const char *uuid, const char *name)
{
    return *uuid ? g_hash_table_lookup(engine->guests, uuid) : find_by_name(engine, name);
}

gboolean
engine_guest_is_active(const ApmigEngine *engine, const char *uuid)
{
    const Guest *guest = g_hash_table_lookup(engine->guests, uuid);

    return guest && !guest->stopped;
}

void
engine_hint(ApmigEngine *engine, const char *uuid, const char *name)
{
    Guest *guest = NULL;

    if (!reading_is_needed(engine))
        return;
    if (!uuid && !name)
        engine_hurry(engine);
    if (uuid)
        guest = g_hash_table_lookup(engine->guests, uuid);
    else if (name)
        guest = find_by_name(engine, name);
    if (!guest && (engine->locks->len || !uuid || engine_guest_migrates(engine, uuid)))
        ask_list_anew(engine);
    else if (guest && guest_matters(engine, guest))
        ask_guest_anew(engine, guest);
}

/* --- what it tells ------------------------------------------------------------------------------- */

/* A guest that comes in is judged by its migration, which knows its scope from the hook: its XML cannot be read. */
static gboolean
guest_is_clear(const ApmigEngine *engine, const Guest *guest, guint64 proof_token)
{
    if (guest->answer_token <= proof_token)
        return FALSE;
    return guest->job == APMIG_JOB_NONE || guest->job == APMIG_JOB_OTHER ||
           (guest->job == APMIG_JOB_INCOMING && engine_find_migration(engine, guest->uuid, FALSE));
}

/* Queues that change without an event are known only as far as they were read for this lock. */
static gboolean
guest_may_overlap(const Guest *guest, const Lock *lock)
{
    return apmig_scope_overlaps(lock->pub.record->scope, guest->scope) ||
           (guest->scope_varies && guest->told_token <= lock->proof_token);
}

gboolean
engine_view_is_clear(const ApmigEngine *engine, const Lock *lock)
{
    GHashTableIter iter;
    Guest *guest;

    if (!engine->connected || engine->list_token <= lock->proof_token)
        return FALSE;
    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        if (guest_may_overlap(guest, lock) && !guest_is_clear(engine, guest, lock->proof_token))
            return FALSE;
    return TRUE;
}

gboolean
engine_view_has_told(const ApmigEngine *engine, const Lock *lock)
{
    gboolean told = engine->connected && engine->list_token > lock->proof_token;
    GHashTableIter iter;
    Guest *guest;

    g_hash_table_iter_init(&iter, engine->guests);
    while (told && g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        told = guest->answer_token > lock->proof_token || !guest_may_overlap(guest, lock);
    return told;
}

/* Whether it may have queues of @scope, and no question above @proof_token has told what it does. */
static gboolean
guest_is_unread(const Guest *guest, const ApmigScope *scope, guint64 proof_token)
{
    gboolean varied = guest->scope_varies && guest->told_token <= proof_token;

    return guest->answer_token <= proof_token && (varied || apmig_scope_overlaps(scope, guest->scope));
}

gboolean
engine_view_is_read(const ApmigEngine *engine, const ApmigScope *scope, guint64 proof_token)
{
    GHashTableIter iter;
    Guest *guest;

    if (!engine->connected || engine->list_token <= proof_token)
        return FALSE;
    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        if (guest_is_unread(guest, scope, proof_token))
            return FALSE;
    return TRUE;
}

void
engine_describe_view(const ApmigEngine *engine, const ApmigScope *scope, guint64 proof_token, GString *text)
{
    GHashTableIter iter;
    Guest *guest;
    guint named = 0;

    if (!engine->connected || engine->list_token <= proof_token) {
        g_string_append_printf(text, "%slibvirt has not listed its guests%s%s", text->len ? "; " : "",
                               engine->view_trouble ? ": " : "",
                               engine->view_trouble ? engine->view_trouble : "");
        return;
    }
    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest)) {
        if (!guest_is_unread(guest, scope, proof_token) || ++named > NAMED_MAX)
            continue;
        g_string_append_printf(text, "%slibvirt has not told the job state of guest '%s'%s%s",
                               text->len ? "; " : "", guest->name, guest->trouble ? ": " : "",
                               guest->trouble ? guest->trouble : "");
    }
    if (named > NAMED_MAX)
        g_string_append_printf(text, " and %u more", named - NAMED_MAX);
}

/* Returns: usec between two readings; 0: none is due. */
static gint64
sweep_interval(const ApmigEngine *engine)
{
    gboolean needed = engine->locks->len > 0;

    if (engine->inquiries->len)
        return engine->policy->draining_interval_usec;
    for (guint i = 0; i < engine->locks->len; i++) {
        const Lock *lock = g_ptr_array_index(engine->locks, i);

        if (!lock->ending &&
            (lock->standing == APMIG_LOCK_DRAINING || lock->standing == APMIG_LOCK_PERMITTED ||
             lock->standing == APMIG_LOCK_BREACHED))
            return engine->policy->draining_interval_usec;
    }
    for (guint i = 0; !needed && i < engine->migrations->len; i++) {
        const Migration *migration = g_ptr_array_index(engine->migrations, i);

        needed = migration->pub.outgoing || migration->expiry_token || migration->incoming_seen;
    }
    return needed ? engine->policy->held_interval_usec : 0;
}

const char *
apmig_engine_view_state(const ApmigEngine *engine)
{
    GHashTableIter iter;
    Guest *guest;

    if (!engine->connected)
        return "disconnected";
    if (!sweep_interval(engine))
        return "connected";
    if (!engine->list_token)
        return "reading";
    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        if ((!guest->answer_token || guest->trouble) && guest_matters(engine, guest))
            return "reading";
    return "complete";
}

/* --- settling ------------------------------------------------------------------------------------ */

/* libvirtd writes an error into its log each time it is asked about a guest that comes in. Its arrival and its end are
 * events, so a longer interval will do. */
static gboolean
guest_is_due(const ApmigEngine *engine, const Guest *guest)
{
    return !guest->answer_token || guest->job != APMIG_JOB_INCOMING ||
           engine->now >= guest->asked_at + INCOMING_INTERVAL_USEC;
}

void
engine_settle_view(ApmigEngine *engine)
{
    gint64 interval = engine->connected ? sweep_interval(engine) : 0;
    GHashTableIter iter;
    Guest *guest;

    if (!interval || engine->now < engine->next_sweep)
        return;
    engine->next_sweep = engine->now + interval;
    if (!engine->list_asked)
        ask_list(engine);
    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        if (!guest->asked && guest_is_due(engine, guest) && guest_matters(engine, guest))
            ask_guest(engine, guest);
}

gint64
engine_view_next_deadline(const ApmigEngine *engine)
{
    return engine->connected && sweep_interval(engine) ? MAX(engine->next_sweep, 1) : G_MAXINT64;
}
