/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who changes a lock that is there, asks whether its keys may be changed, or rehearses one; and what they may be told.
 */
#include "simulation.h"

#include <string.h>

#define NOTE "; card 05 waits for a spare part"

static const char *const users[] = {"root", "anna", "bert"};

/* --- who asks -------------------------------------------------------------------------------------- */

static void
amend(Sim *sim)
{
    Lock *lock = choose_lock(sim);
    const ApmigLock *state = lock && sim->engine ? apmig_engine_lookup_lock(sim->engine, lock->id) : NULL;
    ApmigEvent event = {.type = APMIG_EVENT_AMEND};
    Caller *caller;

    if (!state || !daemon_is_there(sim))
        return;
    caller = daemon_new_caller(sim, CALLER_AMEND);
    caller->lock = lock;
    caller->what = (ApmigAmendment)dice_roll(&sim->dice, APMIG_AMEND_OWNER, APMIG_AMEND_REASON);
    caller->uid = (guint32)dice_roll(&sim->dice, 0, 2);
    caller->timeout = 20 * SECOND; /* the cards may be asked for its release: so long at most */
    event.caller = caller->number;
    event.amend.id = lock->id;
    event.amend.what = caller->what;
    event.amend.uid = caller->uid;
    event.amend.user = users[caller->uid];
    event.amend.owner_uid = state->record->owner_uid;
    event.amend.text = &NOTE[2]; /* without what the engine puts between */
    event.amend.duration_usec = dice_spread(&sim->dice, 1 * SECOND, 300 * SECOND);
    caller->extent = sim->now + event.amend.duration_usec;
    daemon_deliver(sim, &event);
}

static void
check(Sim *sim)
{
    Lock *lock = choose_lock(sim);
    ApmigEvent event = {.type = APMIG_EVENT_CHECK};
    Caller *caller;

    if (!lock || !daemon_is_there(sim))
        return;
    caller = daemon_new_caller(sim, CALLER_CHECK);
    caller->lock = lock;
    caller->timeout = dice_spread(&sim->dice, 100 * MSEC, 20 * SECOND);
    event.caller = caller->number;
    event.check.id = lock->id;
    event.check.limit_usec = caller->timeout;
    daemon_deliver(sim, &event);
}

static void
rehearse(Sim *sim)
{
    guint mask = choose_mask(sim);
    ApmigEvent event = {.type = APMIG_EVENT_TAKE};
    Caller *caller;

    if (!daemon_is_there(sim))
        return;
    caller = daemon_new_caller(sim, CALLER_REHEARSE);
    caller->mask = mask;
    caller->timeout = dice_spread(&sim->dice, 100 * MSEC, 20 * SECOND);
    event.caller = caller->number;
    event.take.rehearse = TRUE;
    event.take.id = "00000000";
    event.take.scope = sim_scope(sim, mask);
    event.take.reason = TAKE_REASON;
    event.take.user = "root";
    event.take.on_busy = (ApmigOnBusy)dice_roll(&sim->dice, APMIG_ON_BUSY_UNSET, APMIG_ON_BUSY_REFUSE);
    event.take.timeout_usec = caller->timeout;
    daemon_deliver(sim, &event);
}

void
inquirers_act(Sim *sim)
{
    gint64 what = dice_roll(&sim->dice, 0, 99);

    if (what < 40)
        amend(sim);
    else if (what < 75)
        check(sim);
    else
        rehearse(sim);
}

gboolean
has_inquiry(const Sim *sim)
{
    for (guint i = 0; i < sim->callers->len; i++) {
        const Caller *caller = g_ptr_array_index(sim->callers, i);

        if (!caller->gone && (caller->kind == CALLER_CHECK || caller->kind == CALLER_REHEARSE))
            return TRUE;
    }
    return FALSE;
}

/* --- what they may be told ------------------------------------------------------------------------- */

gboolean
is_taken_over(const Sim *sim, const Lock *lock)
{
    for (guint i = 0; i < sim->callers->len; i++) {
        const Caller *caller = g_ptr_array_index(sim->callers, i);

        if (caller->kind == CALLER_AMEND && caller->lock == lock && caller->what == APMIG_AMEND_OWNER)
            return TRUE;
    }
    return lock->handed_late && disk_is_busy(sim);
}

void
check_amended(Sim *sim, Caller *caller)
{
    Lock *lock = caller->lock;
    const ApmigLockRecord *record = g_hash_table_lookup(sim->durable_locks, lock->id);
    const ApmigLock *state = apmig_engine_lookup_lock(sim->engine, lock->id);

    if (!record || !state || state->result) {
        sim_violation(sim, "I3", "lock %s is said to be changed, and is not there", lock->id);
        return;
    }
    if ((record->held_at && record->held_at != state->record->held_at) ||
        !apmig_scope_equal(record->scope, state->record->scope))
        sim_violation(sim, "I3", "lock %s is written as another one when it is changed", lock->id);
    switch (caller->what) {
    case APMIG_AMEND_OWNER:
        if (record->owner_uid != caller->uid || state->record->owner_uid != caller->uid)
            sim_violation(sim, "I3", "lock %s is said to be taken over, and is not, durably", lock->id);
        lock->adopted = TRUE;
        sim_cover(sim, COVER_TAKEN_OVER);
        break;
    case APMIG_AMEND_DURATION:
        if (!record->expected_duration_usec || (state->overdue && sim->now < caller->extent))
            sim_violation(sim, "I6", "lock %s is said to be extended, and is overdue", lock->id);
        sim_cover(sim, COVER_EXTENDED);
        break;
    case APMIG_AMEND_REASON:
        if (!g_str_has_suffix(record->reason, NOTE) || !g_str_equal(record->reason, state->record->reason))
            sim_violation(sim, "I3", "the reason of lock %s is said to be changed, and is not, durably",
                          lock->id);
        sim_cover(sim, COVER_ANNOTATED);
        break;
    }
}

static gboolean
amend_may_fail_with(Sim *sim, const Caller *caller, ApmigError code)
{
    Lock *lock = caller->lock;
    const ApmigLock *state = apmig_engine_lookup_lock(sim->engine, lock->id);

    switch (code) {
    case APMIG_ERROR_NO_SUCH_LOCK:
        return !sim->loaded || !state || state->result || lock->removing || lock->release_asked ||
               state->state == APMIG_LOCK_VERIFYING;
    case APMIG_ERROR_STATE_FAILURE:
        lock->handed_late |= caller->what == APMIG_AMEND_OWNER;
        return !sim->loaded || lock->origin == APMIG_LOCK_RECOVERED || sim->disk_faults > caller->faults ||
               disk_is_late(sim, caller);
    case APMIG_ERROR_NOT_OWNER:
        sim_cover(sim, COVER_AMENDED_ANOTHERS);
        return caller->what != APMIG_AMEND_OWNER;
    case APMIG_ERROR_BUSY:
        return caller->what == APMIG_AMEND_OWNER;
    case APMIG_ERROR_INVALID_REASON: /* there is no room for more */
        return caller->what == APMIG_AMEND_REASON &&
               strlen(state->record->reason) + strlen(NOTE) > APMIG_REASON_MAX_LENGTH;
    default:
        return FALSE;
    }
}

void
check_inquirer_error(Sim *sim, Caller *caller, ApmigError code)
{
    gboolean late = sim->now >= caller->opened_at + caller->timeout;
    gboolean may = code == APMIG_ERROR_HYPERVISOR_UNAVAILABLE && late;

    if (may)
        sim_cover(sim, COVER_UNPROVEN);
    if (caller->kind == CALLER_AMEND)
        may = amend_may_fail_with(sim, caller, code);
    else if (caller->kind == CALLER_CHECK)
        may |= code == APMIG_ERROR_NO_SUCH_LOCK || (code == APMIG_ERROR_STATE_FAILURE && !sim->loaded);
    else /* a rehearsal is refused at once as a request would be */
        may |= code == APMIG_ERROR_LOCKED || code == APMIG_ERROR_LIMIT_EXCEEDED || !sim->loaded;
    if (!may)
        sim_violation(sim, "I6", "caller %" G_GUINT64_FORMAT " is told %s, which is not true", caller->number,
                      apmig_error_name(code));
}

/* Returns: (nullable): a migration of such queues that libvirt has shown since before the question. */
static const Migration *
find_older(const Guest *guest, guint mask, gint64 asked_at)
{
    const Migration *migration = guest->migration;

    if (!migration || migration->stage == STAGE_ENDED || guest->changing || !(migration->mask & mask))
        return NULL;
    return migration->began_at && migration->began_at < asked_at ? migration : NULL;
}

static void
check_go(Sim *sim, const Caller *caller)
{
    const Lock *lock = caller->lock;
    const ApmigLock *state = apmig_engine_lookup_lock(sim->engine, lock->id);

    sim_cover(sim, COVER_GO);
    if (!state || state->result || state->state != APMIG_LOCK_HELD)
        sim_violation(sim, "I1", "the keys of lock %s may be changed, it is said, and it is not held",
                      lock->id);
    if (state && state->record->departed && state->record->departed->len)
        sim_violation(sim, "I2", "the keys of lock %s may be changed, it is said, and a guest has departed",
                      lock->id);
    if (sim->no_steps)
        sim_violation(sim, "I2",
                      "the keys of lock %s may be changed, it is said, and no migration could be ended",
                      lock->id);
    if (permits_may_concern(sim, lock->mask))
        sim_violation(sim, "I1", "the keys of lock %s may be changed, it is said, while a permit is open",
                      lock->id);
    for (guint i = 0; i < sim->n_guests && !sim->violation; i++)
        if (find_older(&sim->guests[i], lock->mask, caller->opened_at))
            sim_violation(sim, "I1", "the keys of lock %s may be changed, it is said, while %s migrates",
                          lock->id, sim->guests[i].name);
}

static gboolean
is_found(const ApmigAction *action, const Guest *guest)
{
    for (guint i = 0; i < action->reply.findings->len; i++)
        if (g_str_equal(((const ApmigRehearsed *)g_ptr_array_index(action->reply.findings, i))->uuid,
                        guest->uuid))
            return TRUE;
    return FALSE;
}

void
check_verdict(Sim *sim, const Caller *caller, const ApmigAction *action)
{
    if (caller->kind == CALLER_CHECK && action->reply.allowed)
        check_go(sim, caller);
    else if (caller->kind == CALLER_CHECK)
        sim_cover(sim, COVER_NO_GO);
    else
        sim_cover(sim, COVER_REHEARSED);
    for (guint i = 0; caller->kind == CALLER_REHEARSE && i < sim->n_guests && !sim->violation; i++) {
        const Guest *guest = &sim->guests[i];

        if (find_older(guest, caller->mask, caller->opened_at) && !is_found(action, guest))
            sim_violation(sim, "I2", "a rehearsal does not tell of %s, which migrates", guest->name);
    }
}
