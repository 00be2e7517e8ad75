/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the hypervisor is asked: what a guest has, once, when it is first seen; what it does after each hint, at short
 * intervals while that is awaited or it migrates, at long ones while a lock is held, and never without a lock, an open
 * migration or a question of somebody. There is no event for the start or the failed end of an outgoing migration (libvirt),
 * hence the intervals.
 */
#include "engine/private.h"

#define INCOMING_INTERVAL_USEC (G_USEC_PER_SEC / 2)
#define LIST_INTERVAL_USEC     (G_USEC_PER_SEC / 2)

/* One whose queues change without an event is asked about under any lock: it may overlap by now. */
gboolean
engine_guest_matters(const ApmigEngine *engine, const Guest *guest)
{
    return guest->affected == APMIG_AFFECTED_UNKNOWN || engine_overlapping_lock(engine, guest->scope) ||
           (guest->scope_varies && engine->locks->len) || engine_guest_migrates(engine, guest->uuid) ||
           engine_is_inquired(engine, guest);
}

gboolean
engine_reading_is_needed(const ApmigEngine *engine)
{
    return engine->connected && (engine->locks->len || engine->migrations->len || engine->inquiries->len);
}

void
engine_ask_list(ApmigEngine *engine)
{
    ApmigAction *action = engine_act(engine, APMIG_ACTION_LIST_GUESTS);

    action->query.token = engine->list_asked = ++engine->last_token;
    engine->list_again = FALSE;
    engine_owe(engine, &engine->list_owed_since, engine->now);
}

void
engine_ask_guest(ApmigEngine *engine, Guest *guest)
{
    ApmigAction *action = engine_act(engine, APMIG_ACTION_QUERY_GUEST);

    action->query.token = guest->asked = ++engine->last_token;
    action->query.uuid = g_strdup(guest->uuid);
    action->query.want_facts = guest->affected == APMIG_AFFECTED_UNKNOWN ||
                               (guest->scope_varies && guest->told_token < guest->answer_token);
    guest->asked_at = engine->now;
    guest->ask_again = FALSE;
    engine_owe(engine, &guest->owed_since, engine->now);
}

/* Now, or as soon as the question under way is answered: what it proves may be too old. */
static void
ask_guest_anew(ApmigEngine *engine, Guest *guest)
{
    if (guest->asked)
        guest->ask_again = TRUE;
    else
        engine_ask_guest(engine, guest);
}

static void
ask_list_anew(ApmigEngine *engine)
{
    if (engine->list_asked)
        engine->list_again = TRUE;
    else
        engine_ask_list(engine);
}

void
engine_read_guests(ApmigEngine *engine)
{
    if (engine->connected && engine->loaded)
        ask_list_anew(engine);
}

void
engine_need_list(ApmigEngine *engine)
{
    if (!engine->list_asked && !engine->list_token)
        engine_ask_list(engine);
}

void
engine_hurry(ApmigEngine *engine)
{
    GHashTableIter iter;
    Guest *guest;

    engine->next_sweep = engine->list_at = 0;
    engine->list_again = engine->list_asked != 0;
    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        guest->ask_again = guest->asked != 0;
}

void
lock_begin_round(ApmigEngine *engine, Lock *lock)
{
    lock->proof_token = engine->last_token;
    lock->round_at = engine->now;
    lock->round_realtime = engine->realtime;
    engine_hurry(engine);
}

/* Anything may have happened. */
static void
hint_all(ApmigEngine *engine)
{
    GHashTableIter iter;
    Guest *guest;

    engine_hurry(engine);
    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        guest->hint_token = engine->last_token;
}

/* @guest: (nullable): NULL: none that is known */
static void
ask_anew(ApmigEngine *engine, Guest *guest)
{
    if (!guest)
        ask_list_anew(engine);
    else if (engine_guest_matters(engine, guest))
        ask_guest_anew(engine, guest);
}

void
engine_hint(ApmigEngine *engine, const char *uuid, const char *name)
{
    Guest *guest = NULL;

    if (!engine->connected || !engine->loaded)
        return;
    if (!uuid && !name)
        hint_all(engine);
    if (uuid)
        guest = g_hash_table_lookup(engine->guests, uuid);
    else if (name)
        guest = engine_find_guest_by_name(engine, name);
    if (guest)
        guest->hint_token = engine->last_token;
    ask_anew(engine, guest);
}

void
engine_look_again(ApmigEngine *engine, const char *uuid)
{
    if (engine->connected && engine->loaded)
        ask_anew(engine, g_hash_table_lookup(engine->guests, uuid));
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

        if (lock_waits_for_reading(lock))
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
    if (engine->late || engine->hints_lost)
        return "events late";
    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        if ((!guest->answer_token || guest->trouble) && engine_guest_matters(engine, guest))
            return "reading";
    return "complete";
}

const char *
apmig_engine_view_trouble(const ApmigEngine *engine)
{
    return engine->view_trouble ? engine->view_trouble : "";
}

/* Whether somebody waits for an answer to a question that is put about @guest from now on. */
static gboolean
guest_is_awaited(const ApmigEngine *engine, const Guest *guest)
{
    const Migration *incoming = engine_find_migration(engine, guest->uuid, FALSE);

    for (guint i = 0; i < engine->locks->len; i++) {
        const Lock *lock = g_ptr_array_index(engine->locks, i);

        if (lock_waits_for_reading(lock) && guest->answer_token <= lock_awaited_token(lock))
            return TRUE;
    }
    for (guint i = 0; i < engine->inquiries->len; i++)
        if (guest->answer_token <= ((const Inquiry *)g_ptr_array_index(engine->inquiries, i))->proof_token)
            return TRUE;
    return incoming &&
           (guest->answer_token <= incoming->expiry_token || guest->answer_token <= incoming->settled_token);
}

/* libvirtd writes an error into its log each time it is asked about a guest that comes in. Its arrival and its end are
 * events, so a longer interval will do; so it will for one that rests, or does not answer. */
static gboolean
guest_is_due(const ApmigEngine *engine, const Guest *guest, gint64 sweep_interval)
{
    gint64 interval = engine->policy->held_interval_usec;

    if (!guest->answer_token && !guest->trouble)
        return TRUE;
    if (sweep_interval >= interval && guest->job != APMIG_JOB_INCOMING)
        return TRUE;
    if (guest->job == APMIG_JOB_INCOMING)
        interval = INCOMING_INTERVAL_USEC;
    else if (!guest->trouble && (guest->job == APMIG_JOB_OUTGOING || guest->sending ||
                                 guest->answer_token <= guest->hint_token || guest_is_awaited(engine, guest)))
        interval = 0;
    else if (guest->trouble && guest_is_awaited(engine, guest))
        interval = INCOMING_INTERVAL_USEC;
    return engine->now >= guest->asked_at + interval;
}

static gboolean
list_is_awaited(const ApmigEngine *engine)
{
    for (guint i = 0; i < engine->locks->len; i++) {
        const Lock *lock = g_ptr_array_index(engine->locks, i);

        if (lock_waits_for_reading(lock) && engine->list_token <= lock_awaited_token(lock))
            return TRUE;
    }
    for (guint i = 0; i < engine->inquiries->len; i++)
        if (engine->list_token <= ((const Inquiry *)g_ptr_array_index(engine->inquiries, i))->proof_token)
            return TRUE;
    return FALSE;
}

static void
settle_list(ApmigEngine *engine, gint64 interval)
{
    if (engine->now < engine->list_at && !list_is_awaited(engine))
        return;
    if (engine->list_at)
        engine_owe(engine, &engine->list_owed_since, MIN(engine->list_at, engine->now));
    engine->list_at = engine->now + MAX(interval, LIST_INTERVAL_USEC);
    if (!engine->list_asked)
        engine_ask_list(engine);
}

void
engine_settle_owed(ApmigEngine *engine)
{
    gint64 interval = engine->connected ? sweep_interval(engine) : 0;
    GHashTableIter iter;
    Guest *guest;

    if (!interval || !engine->next_sweep || engine->now < engine->next_sweep)
        return;
    if (engine->list_at && engine->now >= engine->list_at)
        engine_owe(engine, &engine->list_owed_since, engine->list_at);
    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        if (guest_is_due(engine, guest, interval) && engine_guest_matters(engine, guest))
            engine_owe(engine, &guest->owed_since, engine->next_sweep);
}

void
engine_settle_view(ApmigEngine *engine)
{
    gint64 interval = engine->connected ? sweep_interval(engine) : 0;
    gint64 due = engine->next_sweep ? MIN(engine->next_sweep, engine->now) : engine->now;
    GHashTableIter iter;
    Guest *guest;

    if (!interval)
        engine->next_sweep = engine->list_at = 0;
    if (!interval || engine->now < engine->next_sweep)
        return;
    engine->next_sweep = engine->now + interval;
    settle_list(engine, interval);
    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest)) {
        if (!guest_is_due(engine, guest, interval) || !engine_guest_matters(engine, guest))
            continue;
        engine_owe(engine, &guest->owed_since, due);
        if (!guest->asked)
            engine_ask_guest(engine, guest);
    }
}

gint64
engine_view_next_deadline(const ApmigEngine *engine)
{
    return engine->connected && sweep_interval(engine) ? MAX(engine->next_sweep, 1) : G_MAXINT64;
}
