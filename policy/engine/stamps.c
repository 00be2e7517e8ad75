/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which guests get a stamp, and when: one that has started or arrived, or whose devices or declared keys have changed, and
 * those that a lock covers which has become held, has got another owner, or is gone. Each write is an event to every client
 * of libvirt, so nothing else is a cause; and once after each connection every active guest is looked at, for what has
 * happened meanwhile.
 *
 * Whether a guest of which nothing is known is affected, and what its queues are, is read when its stamp is written;
 * where the stamp already says what it should, nothing is written.
 *
 * Nothing waits for a stamp. While a lock waits to be held, stamps wait for that.
 */
#include "engine/private.h"

#define PAUSE_USEC     (G_USEC_PER_SEC / 10) /* after the cause, for what is more urgent */
#define HOLD_BACK_USEC (30 * G_USEC_PER_SEC) /* a lock may wait for days */
#define AGAIN_USEC     (10 * G_USEC_PER_SEC) /* after a failure */
#define ALL_USEC       (10 * G_USEC_PER_SEC) /* after a connection: at the host's start, guests are started then */
#define LIST_USEC      G_USEC_PER_SEC        /* for libvirt to list them, and between two attempts */
#define FAILURES_MAX   2

typedef struct {
    guint64 op;    /* the write under way; 0: none */
    gint64 due_at; /* boot time */
    gint64 wanted_at;
    guint failures;
    gboolean again; /* wanted once more since the write under way began */
    gboolean arrived;
    ApmigNews change;    /* since the last write began */
    ApmigNews handed_on; /* with the write under way */
} Stamp;

/* A write under way, of a guest that has stopped since. It waits for up to 30 s until libvirt has done what it does with the
 * guest: so it may come after, and in the place of, what was written in the guest's next life. */
typedef struct {
    char *uuid;
    gboolean overtakes; /* such a write has begun */
} Stray;

/* --- what is wanted ------------------------------------------------------------------------------ */

void
engine_stamp_guest(ApmigEngine *engine, const char *uuid, gboolean arrived)
{
    Stamp *stamp = g_hash_table_lookup(engine->stamps, uuid);

    if (engine->policy->stamp == APMIG_STAMP_OFF && !arrived)
        return;
    if (!stamp) {
        stamp = g_new0(Stamp, 1);
        g_hash_table_insert(engine->stamps, g_strdup(uuid), stamp);
    }
    stamp->again = stamp->op != 0;
    stamp->arrived |= arrived;
    stamp->failures = 0;
    stamp->wanted_at = engine->now;
    stamp->due_at = engine->now + PAUSE_USEC;
}

void
engine_stamp_between(ApmigEngine *engine, const char *uuid)
{
    Stamp *stamp = g_hash_table_lookup(engine->stamps, uuid);

    if (stamp && !stamp->op)
        stamp->due_at = engine->now;
}

/* A start or a plug that is followed by another change still is one. */
void
engine_stamp_changed_guest(ApmigEngine *engine, const char *uuid, ApmigNews change)
{
    Stamp *stamp;

    engine_stamp_guest(engine, uuid, FALSE);
    stamp = g_hash_table_lookup(engine->stamps, uuid);
    if (stamp && change != APMIG_NEWS_CHANGED)
        stamp->change = change;
}

static void
stamp_guests_under(ApmigEngine *engine, const ApmigScope *scope)
{
    GHashTableIter iter;
    Guest *guest;

    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest)) {
        if (guest->affected == APMIG_AFFECTED_YES && !guest->stopped &&
            apmig_scope_overlaps(guest->scope, scope))
            engine_stamp_guest(engine, guest->uuid, FALSE);
    }
}

/* Of which it is not known now whether the lock covers them: their stamps may tell of it. */
static void
stamp_unknown_guests(ApmigEngine *engine)
{
    GHashTableIter iter;
    const char *uuid;

    g_hash_table_iter_init(&iter, engine->lock_tellers);
    while (g_hash_table_iter_next(&iter, (gpointer *)&uuid, NULL)) {
        const Guest *guest = g_hash_table_lookup(engine->guests, uuid);

        if (!guest || guest->affected == APMIG_AFFECTED_UNKNOWN)
            engine_stamp_guest(engine, uuid, FALSE);
    }
}

static gboolean
tells_the_same(const ApmigLockRecord *record, const ApmigLockRecord *stamped)
{
    return g_str_equal(record->owner_name, stamped->owner_name) &&
           g_str_equal(record->reason, stamped->reason);
}

/* A lock is told of once whoever took it has his answer. */
static void
note_new_locks(ApmigEngine *engine)
{
    for (guint i = 0; i < engine->locks->len; i++) {
        const Lock *lock = g_ptr_array_index(engine->locks, i);
        const ApmigLockRecord *record = lock->pub.record;
        const ApmigLockRecord *stamped = g_hash_table_lookup(engine->stamped_locks, record->id);
        ApmigLockRecord *copy;

        if (!lock->was_held || lock->ending || lock->taker || (stamped && tells_the_same(record, stamped)))
            continue;
        if (stamped)
            stamp_unknown_guests(engine);
        copy = apmig_lock_record_copy(record);
        g_hash_table_replace(engine->stamped_locks, copy->id, copy);
        stamp_guests_under(engine, record->scope);
    }
}

static void
note_ended_locks(ApmigEngine *engine)
{
    GHashTableIter iter;
    const ApmigLockRecord *stamped;

    g_hash_table_iter_init(&iter, engine->stamped_locks);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&stamped)) {
        if (engine_find_lock(engine, stamped->id))
            continue;
        stamp_guests_under(engine, stamped->scope);
        stamp_unknown_guests(engine);
        g_hash_table_iter_remove(&iter);
    }
}

/* Under a lock guests are asked about anyway; without one nothing of them is known but the list. */
static void
look_at_all(ApmigEngine *engine)
{
    GHashTableIter iter;
    Guest *guest;

    if (!engine->stamp_all_at || engine->now < engine->stamp_all_at)
        return;
    engine->stamp_all_at = engine->list_token ? 0 : engine->now + LIST_USEC;
    if (!engine->list_token) {
        engine_need_list(engine);
        return;
    }
    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        if (guest->affected != APMIG_AFFECTED_NO && !guest->stopped)
            engine_stamp_guest(engine, guest->uuid, FALSE);
}

/* --- writing ------------------------------------------------------------------------------------- */

static gboolean
a_lock_waits(const ApmigEngine *engine)
{
    for (guint i = 0; i < engine->locks->len; i++) {
        const Lock *lock = g_ptr_array_index(engine->locks, i);

        if (!lock->was_held && !lock->ending)
            return TRUE;
    }
    return FALSE;
}

static gint64
due_at(const Stamp *stamp, gboolean held_back)
{
    return held_back ? MAX(stamp->due_at, stamp->wanted_at + HOLD_BACK_USEC) : stamp->due_at;
}

static GPtrArray *
copy_locks(const ApmigEngine *engine)
{
    GPtrArray *locks = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_lock_record_free);

    for (guint i = 0; i < engine->locks->len; i++) {
        const Lock *lock = g_ptr_array_index(engine->locks, i);

        if (g_hash_table_contains(engine->stamped_locks, lock->pub.record->id))
            g_ptr_array_add(locks, apmig_lock_record_copy(lock->pub.record));
    }
    return locks;
}

static void
mark_strays(ApmigEngine *engine, const char *uuid, gboolean overtake)
{
    GHashTableIter iter;
    Stray *stray;

    g_hash_table_iter_init(&iter, engine->stray_stamps);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&stray))
        if (g_str_equal(stray->uuid, uuid))
            stray->overtakes = overtake;
}

static void
write_stamp(ApmigEngine *engine, const char *uuid, Stamp *stamp)
{
    ApmigAction *action = engine_act(engine, APMIG_ACTION_STAMP_GUEST);

    action->op = stamp->op = ++engine->last_op;
    action->stamp.uuid = g_strdup(uuid);
    action->stamp.form = engine->policy->stamp;
    action->stamp.locks = copy_locks(engine);
    if (action->stamp.locks->len > 0)
        g_hash_table_add(engine->lock_tellers, g_strdup(uuid));
    else
        g_hash_table_remove(engine->lock_tellers, uuid);
    action->stamp.change = stamp->handed_on = stamp->change;
    stamp->change = APMIG_NEWS_CHANGED;
    stamp->again = FALSE;
    mark_strays(engine, uuid, TRUE);
}

void
engine_settle_stamps(ApmigEngine *engine)
{
    gboolean held_back = a_lock_waits(engine);
    GHashTableIter iter;
    const char *uuid;
    Stamp *stamp;

    note_ended_locks(engine);
    note_new_locks(engine);
    if (!engine->connected)
        return;
    look_at_all(engine);
    g_hash_table_iter_init(&iter, engine->stamps);
    while (g_hash_table_iter_next(&iter, (gpointer *)&uuid, (gpointer *)&stamp)) {
        if (stamp->op == 0 && engine->now >= due_at(stamp, held_back))
            write_stamp(engine, uuid, stamp);
    }
}

gint64
engine_stamps_next_deadline(const ApmigEngine *engine)
{
    gboolean held_back = a_lock_waits(engine);
    gint64 deadline = G_MAXINT64;
    GHashTableIter iter;
    Stamp *stamp;

    if (!engine->connected)
        return deadline;
    engine_earlier(&deadline, engine->stamp_all_at);
    g_hash_table_iter_init(&iter, engine->stamps);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&stamp))
        if (stamp->op == 0)
            engine_earlier(&deadline, due_at(stamp, held_back));
    return deadline;
}

/* --- what is not wanted any more ----------------------------------------------------------------- */

void
stray_stamp_free(gpointer data)
{
    Stray *stray = data;

    g_free(stray->uuid);
    g_free(stray);
}

void
engine_forget_stamp(ApmigEngine *engine, const char *uuid)
{
    const Stamp *stamp = g_hash_table_lookup(engine->stamps, uuid);
    Stray *stray;

    mark_strays(engine, uuid, FALSE);
    if (stamp && stamp->op) {
        stray = g_new0(Stray, 1);
        stray->uuid = g_strdup(uuid);
        g_hash_table_insert(engine->stray_stamps, GSIZE_TO_POINTER(stamp->op), stray);
    }
    g_hash_table_remove(engine->stamps, uuid);
    g_hash_table_remove(engine->lock_tellers, uuid);
}

/* What was asked for over another connection is answered no more. */
static void
forget_all(ApmigEngine *engine)
{
    g_hash_table_remove_all(engine->stamps);
    g_hash_table_remove_all(engine->stray_stamps);
}

static void
stray_finished(ApmigEngine *engine, guint64 op, ApmigStamping result)
{
    const Stray *stray = g_hash_table_lookup(engine->stray_stamps, GSIZE_TO_POINTER(op));

    if (stray && stray->overtakes && result == APMIG_STAMPING_DONE)
        engine_stamp_guest(engine, stray->uuid, FALSE);
    g_hash_table_remove(engine->stray_stamps, GSIZE_TO_POINTER(op));
}

/* --- what came of it ----------------------------------------------------------------------------- */

static void
log_failure(ApmigEngine *engine, const char *uuid, const char *message)
{
    const Guest *guest = g_hash_table_lookup(engine->guests, uuid);
    const char *name = guest ? guest->name : uuid;
    ApmigLogEntry *entry = engine_log(
        engine, APMIG_LOG_STAMP_FAILED, LOG_WARNING, NULL, NULL,
        "the stamp of guest %s could not be written, so the hosts where it goes do not learn what this host "
        "knows: %s",
        name, message ? message : "no reason given");

    entry_set_guest(entry, uuid, name);
    if (guest)
        entry_add_locks(entry, engine, guest->scope);
}

/* Returns: whether it is to be written again. */
static gboolean
is_to_be_written_again(ApmigEngine *engine, const char *uuid, Stamp *stamp, const ApmigEvent *event)
{
    if (event->stamping.result != APMIG_STAMPING_DONE && stamp->change == APMIG_NEWS_CHANGED)
        stamp->change = stamp->handed_on; /* nobody has looked, as far as is known */
    if (stamp->again)
        return TRUE;
    switch (event->stamping.result) {
    case APMIG_STAMPING_DONE:
        return FALSE;
    case APMIG_STAMPING_BUSY:
        stamp->due_at = engine->now + engine->policy->held_interval_usec;
        return TRUE;
    case APMIG_STAMPING_FAILED:
        break;
    }
    stamp->due_at = engine->now + AGAIN_USEC;
    if (++stamp->failures < FAILURES_MAX)
        return TRUE;
    log_failure(engine, uuid, event->stamping.message);
    return FALSE;
}

void
engine_stamp_finished(ApmigEngine *engine, const ApmigEvent *event)
{
    GHashTableIter iter;
    const char *uuid;
    Stamp *stamp;

    g_hash_table_iter_init(&iter, engine->stamps);
    while (g_hash_table_iter_next(&iter, (gpointer *)&uuid, (gpointer *)&stamp)) {
        if (stamp->op == 0 || stamp->op != event->stamping.op)
            continue;
        stamp->op = 0;
        if (!is_to_be_written_again(engine, uuid, stamp, event))
            g_hash_table_iter_remove(&iter);
        return;
    }
    stray_finished(engine, event->stamping.op, event->stamping.result);
}

/* --- the view ------------------------------------------------------------------------------------ */

void
engine_stamps_view_started(ApmigEngine *engine)
{
    forget_all(engine);
    engine->stamp_all_at = engine->policy->stamp != APMIG_STAMP_OFF ? engine->now + ALL_USEC : 0;
}

void
engine_stamps_view_lost(ApmigEngine *engine)
{
    forget_all(engine);
    engine->stamp_all_at = 0;
}

ApmigStampLock *
apmig_stamp_choose_lock(const GPtrArray *locks, const ApmigScope *scope)
{
    for (guint i = 0; i < locks->len; i++) {
        const ApmigLockRecord *record = g_ptr_array_index(locks, i);
        ApmigStampLock *lock;

        if (!apmig_scope_overlaps(record->scope, scope))
            continue;
        lock = g_new0(ApmigStampLock, 1);
        lock->id = g_strdup(record->id);
        lock->reason = g_strdup(record->reason);
        lock->owner = g_strdup(record->owner_name);
        lock->since = record->requested_at;
        return lock;
    }
    return NULL;
}

ApmigAction *
apmig_engine_plan_stamp(const ApmigEngine *engine)
{
    ApmigAction *action = g_new0(ApmigAction, 1);

    action->type = APMIG_ACTION_STAMP_GUEST;
    action->stamp.form = engine->policy->stamp == APMIG_STAMP_OFF ? APMIG_STAMP_FULL : engine->policy->stamp;
    action->stamp.locks = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_lock_record_free);
    for (guint i = 0; i < engine->locks->len; i++) {
        const Lock *lock = g_ptr_array_index(engine->locks, i);

        g_ptr_array_add(action->stamp.locks, apmig_lock_record_copy(lock->pub.record));
    }
    return action;
}
