/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Silence is news: held says something of now, so a question without an answer ends it. What counts is when the question was
 * due, whether it could be put or not, so that a daemon or a host that stood still says so, too.
 *
 * The heartbeat is a question for a worker of normal priority: lists, states and look-ups are answered by libvirt's priority
 * workers when nothing else is (max_workers and prio_workers in virtqemud.conf).
 */
#include "engine/private.h"

#include "base/sentence.h"

#define HEARTBEAT_USEC (5 * G_USEC_PER_SEC)

void
engine_owe(ApmigEngine *engine, gint64 *owed_since, gint64 due)
{
    if (*owed_since && *owed_since <= due)
        return;
    *owed_since = MAX(due, 1);
    engine->silence_at = MIN(engine->silence_at, *owed_since + engine->policy->silence_usec);
    engine->look_at = MIN(engine->look_at, *owed_since + ANSWER_LATE_USEC);
}

static gboolean
is_silent(const ApmigEngine *engine, gint64 owed_since)
{
    return owed_since && engine->now >= owed_since + engine->policy->silence_usec;
}

/* Returns: (nullable): a guest that may overlap and has not answered. */
static const Guest *
find_silent_guest(const ApmigEngine *engine, const Lock *lock)
{
    GHashTableIter iter;
    Guest *guest;

    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        if (is_silent(engine, guest->owed_since) &&
            (guest->scope_varies || apmig_scope_overlaps(lock->pub.record->scope, guest->scope)))
            return guest;
    return NULL;
}

gboolean
engine_is_silent(const ApmigEngine *engine, const Lock *lock)
{
    if (!engine->connected)
        return TRUE;
    if (engine->now < engine->silence_at)
        return FALSE;
    return is_silent(engine, engine->heartbeat_owed) || is_silent(engine, engine->list_owed_since) ||
           find_silent_guest(engine, lock);
}

/* Returns: (transfer full): the time of day, so that the sentence stays the same. */
static char *
describe_since(const ApmigEngine *engine, gint64 owed_since)
{
    return apmig_sentence_time(engine->realtime - (engine->now - owed_since));
}

static char *
describe_silent_guest(const ApmigEngine *engine, const Guest *guest)
{
    g_autofree char *since = describe_since(engine, guest->owed_since);

    return g_strdup_printf("libvirt has not told the job of guest '%s' since %s%s%s: see whether its QEMU "
                           "answers, with: virsh domjobinfo %s",
                           guest->name, since, guest->trouble ? ": " : "",
                           guest->trouble ? guest->trouble : "", guest->uuid);
}

char *
engine_describe_silence(const ApmigEngine *engine, const Lock *lock)
{
    const char *trouble = engine->view_trouble ? engine->view_trouble : "it has not answered yet";
    const Guest *guest;

    if (!engine->connected)
        return g_strdup_printf("the hypervisor is not reachable: %s", trouble);
    if (is_silent(engine, engine->heartbeat_owed)) {
        g_autofree char *since = describe_since(engine, engine->heartbeat_owed);

        return g_strdup_printf("libvirt has not answered since %s: all of its workers may be busy, see: "
                               "virt-admin server-threadpool-info",
                               since);
    }
    guest = find_silent_guest(engine, lock);
    if (guest)
        return describe_silent_guest(engine, guest);
    if (is_silent(engine, engine->list_owed_since)) {
        g_autofree char *since = describe_since(engine, engine->list_owed_since);

        return g_strdup_printf("libvirt has not listed its guests since %s%s%s", since,
                               engine->view_trouble ? ": " : "",
                               engine->view_trouble ? engine->view_trouble : "");
    }
    return g_strdup("");
}

/* --- the heartbeat ------------------------------------------------------------------------------- */

/* Returns: (nullable): the affected guest that was not asked for the longest time, of those that answer. */
static Guest *
choose_guest(const ApmigEngine *engine)
{
    GHashTableIter iter;
    Guest *guest, *chosen = NULL;

    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        if (guest->affected == APMIG_AFFECTED_YES && !guest->owed_since && guest->job != APMIG_JOB_INCOMING &&
            (!chosen || guest->beat_token < chosen->beat_token))
            chosen = guest;
    return chosen;
}

static void
beat(ApmigEngine *engine)
{
    ApmigAction *action = engine_act(engine, APMIG_ACTION_HEARTBEAT);
    Guest *guest = choose_guest(engine);

    action->query.token = engine->heartbeat = ++engine->last_token;
    if (guest) {
        action->query.uuid = g_strdup(guest->uuid);
        guest->beat_token = engine->heartbeat;
    }
    engine->heartbeat_asked = engine->realtime;
}

/* Returns: the first boot time after @after at which something owed becomes silence; G_MAXINT64: never. */
static gint64
next_silence(const ApmigEngine *engine, gint64 after)
{
    gint64 limit = engine->policy->silence_usec, next = G_MAXINT64;
    const gint64 owed[] = {engine->heartbeat_owed, engine->list_owed_since};
    GHashTableIter iter;
    Guest *guest;

    for (guint i = 0; i < G_N_ELEMENTS(owed); i++)
        if (owed[i] && owed[i] + limit > after)
            next = MIN(next, owed[i] + limit);
    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        if (guest->owed_since && guest->owed_since + limit > after)
            next = MIN(next, guest->owed_since + limit);
    return next;
}

void
engine_settle_heartbeat(ApmigEngine *engine)
{
    if (engine->now >= engine->silence_at)
        engine->silence_at = next_silence(engine, 0);
    if (!engine->connected || engine->locks->len == 0) {
        engine->heartbeat = 0;
        engine->heartbeat_owed = engine->heartbeat_at = 0;
        return;
    }
    if (engine->now < engine->heartbeat_at)
        return;
    engine_owe(engine, &engine->heartbeat_owed, engine->heartbeat_at ? engine->heartbeat_at : engine->now);
    engine->heartbeat_at = engine->now + HEARTBEAT_USEC;
    if (!engine->heartbeat)
        beat(engine);
}

void
engine_heartbeat_answered(ApmigEngine *engine, const ApmigEvent *event)
{
    if (!engine->heartbeat || event->heartbeat.token != engine->heartbeat)
        return;
    engine->heartbeat = 0;
    if (event->heartbeat.error)
        return;
    engine->heartbeat_owed = 0;
    for (guint i = 0; i < engine->locks->len; i++) {
        Lock *lock = g_ptr_array_index(engine->locks, i);

        if (lock->standing == APMIG_LOCK_HELD && !engine_is_silent(engine, lock))
            lock->pub.proven_at = MAX(lock->pub.proven_at, engine->heartbeat_asked);
    }
}

gint64
engine_silence_next_deadline(const ApmigEngine *engine)
{
    gint64 deadline = G_MAXINT64;

    if (!engine->connected || engine->locks->len == 0)
        return deadline;
    engine_earlier(&deadline, MAX(engine->heartbeat_at, 1));
    return MIN(deadline,
               engine->silence_at > engine->now ? engine->silence_at : next_silence(engine, engine->now));
}
