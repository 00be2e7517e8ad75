/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Nobody waits for a disk that hangs: who has asked for what must be durable first is answered in time, with what is not
 * known. What the disk was asked for goes on meanwhile, and settles when the disk has answered.
 */
#include "engine/private.h"

/* --- locks --------------------------------------------------------------------------------------- */

/* Returns: boot time when who waits for it to be held is answered; 0: the disk owes nothing. */
static gint64
taker_due(const Lock *lock)
{
    return lock->taker && lock->op ? MAX(lock->answer_by, lock->disk_since + DISK_GRACE_USEC) : 0;
}

/* The same of those who wait for it to be gone. */
static gint64
releasers_due(const Lock *lock)
{
    return lock->ending && lock->op && lock->releasers->len ? lock->disk_since + APMIG_DISK_LIMIT_USEC : 0;
}

static char *
describe_take(const Lock *lock)
{
    const char *id = lock->pub.record->id;

    if (lock->write == WRITE_ADOPT)
        return g_strdup_printf(
            "whether lock %s has become yours is not known, for the disk does not answer: it "
            "is in force as before, and is yours when it has answered; see apmigctl list",
            id);
    if (lock->durable)
        return g_strdup_printf(
            "lock %s is being taken back, and whether it is gone from the disk is not known: it "
            "is listed and the gate stays shut until the disk has answered; mend the state "
            "folder and see apmigctl list",
            id);
    return g_strdup_printf(
        "whether lock %s is on the disk is not known: it is listed and the gate stays shut until "
        "the disk has answered, and then it is taken back; mend the state folder and ask again",
        id);
}

static void
answer_taker(ApmigEngine *engine, Lock *lock)
{
    g_autofree char *message = describe_take(lock);

    engine_log(engine, APMIG_LOG_STATE_FAILURE, LOG_ERR, lock, NULL, "%s", message);
    engine_reply_error(engine, lock->taker, APMIG_ERROR_STATE_FAILURE, message);
    lock->taker = 0;
    if (lock->write != WRITE_ADOPT)
        lock_begin_end(engine, lock, "failed", APMIG_ERROR_STATE_FAILURE, message);
}

static void
answer_releasers(ApmigEngine *engine, Lock *lock)
{
    g_autofree char *message = g_strdup_printf(
        "whether lock %s is removed from the disk is not known: it stays listed and the gate shut "
        "until the disk has answered, and then it is gone; mend the state folder and see "
        "apmigctl list",
        lock->pub.record->id);

    engine_log(engine, APMIG_LOG_STATE_FAILURE, LOG_ERR, lock, NULL, "%s", message);
    lock_fail_releasers(engine, lock, APMIG_ERROR_STATE_FAILURE, message);
}

/* --- permits ------------------------------------------------------------------------------------- */

static gint64
permit_due(const Permit *permit)
{
    return permit->op && (permit->giver || permit->revoker) ? permit->asked_at + APMIG_DISK_LIMIT_USEC : 0;
}

static void
answer_for_permit(ApmigEngine *engine, Permit *permit)
{
    const char *guest = apmig_permit_guest(permit->pub);
    g_autofree char *message =
        permit->ending
            ? g_strdup_printf(
                  "the permit of guest '%s' counts no more, but whether its file is removed is not "
                  "known: should apmigd end before its runtime folder has answered, it may count "
                  "again; mend that folder and see apmigctl status",
                  guest)
            : g_strdup_printf(
                  "whether the permit for guest '%s' is written is not known: it does not count, and "
                  "is taken back when apmigd's runtime folder has answered; mend that and ask again",
                  guest);

    engine_log(engine, APMIG_LOG_STATE_FAILURE, LOG_ERR, NULL, NULL, "%s", message);
    engine_reply_error(engine, permit->ending ? permit->revoker : permit->giver, APMIG_ERROR_STATE_FAILURE,
                       message);
    permit->giver = permit->revoker = 0;
    permit->refused = !permit->ending;
}

/* --- all ----------------------------------------------------------------------------------------- */

static gboolean
is_past(const ApmigEngine *engine, gint64 due)
{
    return due && engine->now >= due;
}

void
engine_settle_waiting(ApmigEngine *engine)
{
    for (guint i = 0; i < engine->locks->len; i++) {
        Lock *lock = g_ptr_array_index(engine->locks, i);

        if (is_past(engine, taker_due(lock)))
            answer_taker(engine, lock);
        if (is_past(engine, releasers_due(lock)))
            answer_releasers(engine, lock);
        if (is_past(engine, lock_next_late_amendment(lock)))
            lock_answer_late_amendments(engine, lock);
    }
    for (guint i = 0; i < engine->permits->len; i++)
        if (is_past(engine, permit_due(g_ptr_array_index(engine->permits, i))))
            answer_for_permit(engine, g_ptr_array_index(engine->permits, i));
}

gint64
engine_waiting_next_deadline(const ApmigEngine *engine)
{
    gint64 deadline = G_MAXINT64;

    for (guint i = 0; i < engine->locks->len; i++) {
        const Lock *lock = g_ptr_array_index(engine->locks, i);

        engine_earlier(&deadline, taker_due(lock));
        engine_earlier(&deadline, releasers_due(lock));
        engine_earlier(&deadline, lock_next_late_amendment(lock));
    }
    for (guint i = 0; i < engine->permits->len; i++)
        engine_earlier(&deadline, permit_due(g_ptr_array_index(engine->permits, i)));
    return deadline;
}
