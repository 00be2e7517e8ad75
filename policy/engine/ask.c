/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the hypervisor is asked: after each hint, at short intervals while a lock drains or is breached or somebody waits for
 * a reading, at long ones while one is held, and never without a lock, an open migration or such a question. There is no event
 * for the start or the failed end of an outgoing migration (libvirt), hence the intervals.
 */
#include "engine/private.h"

#define INCOMING_INTERVAL_USEC (G_USEC_PER_SEC / 2)

/* One whose queues change without an event is asked about under any lock: it may overlap by now. */
gboolean
engine_guest_matters(const ApmigEngine *engine, const Guest *guest)
{
    return engine_overlapping_lock(engine, guest->scope) || (guest->scope_varies && engine->locks->len) ||
           engine_guest_migrates(engine, guest->uuid) || engine_is_inquired(engine, guest);
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

    engine->next_sweep = 0;
    engine->list_again = engine->list_asked != 0;
    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        guest->ask_again = guest->asked != 0;
}

void
engine_hint(ApmigEngine *engine, const char *uuid, const char *name)
{
    Guest *guest = NULL;

    if (!engine_reading_is_needed(engine))
        return;
    if (!uuid && !name)
        engine_hurry(engine);
    if (uuid)
        guest = g_hash_table_lookup(engine->guests, uuid);
    else if (name)
        guest = engine_find_guest_by_name(engine, name);
    if (!guest && (engine->locks->len || !uuid || engine_guest_migrates(engine, uuid)))
        ask_list_anew(engine);
    else if (guest && engine_guest_matters(engine, guest))
        ask_guest_anew(engine, guest);
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
        if ((!guest->answer_token || guest->trouble) && engine_guest_matters(engine, guest))
            return "reading";
    return "complete";
}

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
        engine_ask_list(engine);
    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        if (!guest->asked && guest_is_due(engine, guest) && engine_guest_matters(engine, guest))
            engine_ask_guest(engine, guest);
}

gint64
engine_view_next_deadline(const ApmigEngine *engine)
{
    return engine->connected && sweep_interval(engine) ? MAX(engine->next_sweep, 1) : G_MAXINT64;
}
