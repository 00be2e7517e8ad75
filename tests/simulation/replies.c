/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rules for single actions: what may be said to a caller and asked of the hypervisor.
 */
#include "simulation.h"

Lock *
known_lock(Sim *sim, const char *id)
{
    for (guint i = sim->locks->len; id && i > 0; i--) {
        Lock *lock = g_ptr_array_index(sim->locks, i - 1);

        if (g_str_equal(lock->id, id))
            return lock;
    }
    return NULL;
}

Lock *
known_lock_new(Sim *sim, const char *id, guint mask)
{
    Lock *lock = g_new0(Lock, 1);

    lock->id = g_strdup(id);
    lock->mask = lock->asked_mask = mask;
    lock->asked_at = sim->now;
    lock->requested_at = sim_realtime(sim);
    g_ptr_array_add(sim->locks, lock);
    return lock;
}

void
known_lock_free(Lock *lock)
{
    g_free(lock->id);
    g_free(lock);
}

static const ApmigLockRecord *
on_disk(Sim *sim, const char *id)
{
    return g_hash_table_lookup(sim->durable_locks, id);
}

/* Whether the engine has it as a living lock. */
static gboolean
is_alive(Sim *sim, const char *id)
{
    const ApmigLock *lock = apmig_engine_lookup_lock(sim->engine, id);

    return lock && !lock->result;
}

static Lock *
overlapping_lock(Sim *sim, guint mask, const Lock *except)
{
    for (guint i = 0; i < sim->locks->len; i++) {
        Lock *lock = g_ptr_array_index(sim->locks, i);

        if (lock != except && lock->living && (lock->mask & mask))
            return lock;
    }
    return NULL;
}

/* --- what is written ------------------------------------------------------------------------------- */

/* Returns: since when the first of those waits who may get @lock by a request, and not at once; G_MAXINT64: nobody does, or
 * it may be somebody who takes it over. */
static gint64
adoption_asked_at(const Sim *sim, const Lock *lock)
{
    gint64 asked_at = G_MAXINT64;

    for (guint i = 0; i < sim->callers->len; i++) {
        const Caller *caller = g_ptr_array_index(sim->callers, i);

        if (caller->kind == CALLER_AMEND && caller->lock == lock)
            return G_MAXINT64;
        if (caller->kind == CALLER_TAKE && caller->lock != lock && caller->lock->mask == lock->mask) {
            if (caller->no_wait)
                return G_MAXINT64;
            asked_at = MIN(asked_at, caller->opened_at);
        }
    }
    return asked_at;
}

/* Who adopts it gets it by a reading that began after he asked. */
static void
check_adoption(Sim *sim, const Lock *lock)
{
    const ApmigLock *state = apmig_engine_lookup_lock(sim->engine, lock->id);
    gint64 asked_at = adoption_asked_at(sim, lock);

    if (asked_at == G_MAXINT64)
        return;
    if (state->state != APMIG_LOCK_HELD)
        sim_violation(sim, "I1", "lock %s is adopted, and not held", lock->id);
    if (sim->listed_from < asked_at)
        sim_violation(sim, "I1", "lock %s is adopted, and the guests were not listed since", lock->id);
    for (guint i = 0; i < sim->n_guests; i++)
        if (truth_knows(lock, &sim->guests[i]) && sim->guests[i].since < asked_at &&
            sim->guests[i].told.asked_at < asked_at)
            sim_violation(sim, "I1", "lock %s is adopted, and %s was not asked since", lock->id,
                          sim->guests[i].name);
}

static void
check_persist(Sim *sim, const ApmigLockRecord *record)
{
    Lock *lock = known_lock(sim, record->id);

    if (!lock) {
        sim_violation(sim, "I3", "lock %s is written, and nobody asked for it", record->id);
        return;
    }
    if (lock->origin == APMIG_LOCK_RECOVERED)
        sim_violation(sim, "I3", "the damaged file of lock %s is overwritten", record->id);
    if (!apmig_scope_equal(record->scope, sim_scope(sim, lock->mask)))
        sim_violation(sim, "I3", "lock %s is written with scope %s", record->id,
                      apmig_scope_to_string(record->scope));
    if (lock->was_held && lock->held_at && record->held_at != lock->held_at)
        sim_violation(sim, "I3",
                      "lock %s was held since %" G_GINT64_FORMAT
                      " and is written as held since %" G_GINT64_FORMAT,
                      record->id, lock->held_at, record->held_at);
    if (!record->reason || !record->change_id || !record->owner_name)
        sim_violation(sim, "I3", "the record of lock %s is incomplete", record->id);
    if (!lock->living && overlapping_lock(sim, lock->mask, lock))
        sim_violation(sim, "I1", "lock %s is written, and overlaps lock %s", lock->id,
                      overlapping_lock(sim, lock->mask, lock)->id);
    if (record->origin == APMIG_LOCK_BY_REQUEST && on_disk(sim, lock->id) &&
        on_disk(sim, lock->id)->origin == APMIG_LOCK_BY_ITSELF)
        check_adoption(sim, lock);
    if (record->held_at)
        lock->hold_decided = TRUE;
    lock->living = TRUE;
}

/* --- replies to those who lock ----------------------------------------------------------------------- */

/* Whoever asks for the same change once more is given what he has. */
static gboolean
is_same_request(const Caller *caller, const Lock *lock, const ApmigLockRecord *record)
{
    return caller->of_change && *record->change_id && record->owner_uid == caller->uid &&
           record->origin == APMIG_LOCK_BY_REQUEST && lock->mask == caller->lock->mask;
}

static void
check_taken(Sim *sim, Caller *caller, const char *id)
{
    const ApmigLockRecord *record = on_disk(sim, id);
    const ApmigLock *state = apmig_engine_lookup_lock(sim->engine, id);
    Lock *lock = known_lock(sim, id);
    gboolean is_same =
        lock && record && state && lock != caller->lock && is_same_request(caller, lock, state->record);
    gboolean adopted = lock != caller->lock && !is_same;

    if (!lock || !record || !is_alive(sim, id)) {
        sim_violation(sim, "I3", "a caller is told of lock %s, which is not durable", id);
        return;
    }
    if (adopted && (!lock->by_itself || lock->adopted || record->origin != APMIG_LOCK_BY_REQUEST))
        sim_violation(sim, "I3", "a caller is given lock %s, which is somebody else's", id);
    if (!caller->no_wait && !record->held_at)
        sim_violation(sim, "I3", "a caller is told that lock %s is held, which is not durable", id);
    if (!caller->no_wait && state->state != APMIG_LOCK_HELD && state->state != APMIG_LOCK_PERMITTED &&
        state->state != APMIG_LOCK_UNPROVEN && state->state != APMIG_LOCK_BREACHED)
        sim_violation(sim, "I1", "a caller is told that lock %s is held while it is %s", id,
                      apmig_lock_state_to_string(state));
    if (is_same)
        sim_cover(sim, COVER_SAME_REQUEST);
    /* One of apmigd's own that was adopted for the same change may be told of in each of the states above. */
    if (is_same && !lock->by_itself && !caller->no_wait && state->state != APMIG_LOCK_HELD)
        sim_violation(sim, "I1", "a caller is told that lock %s, which was there, is held while it is %s", id,
                      apmig_lock_state_to_string(state));
    if (adopted) {
        lock->adopted = TRUE;
        lock->gone_early = FALSE;
        sim_cover(sim, COVER_ADOPTED);
    }
    lock->told = TRUE;
    sim_cover(sim, caller->no_wait ? COVER_TAKEN_NO_WAIT : COVER_TAKEN);
}

static void
check_released(Sim *sim, Caller *caller)
{
    const char *id = caller->lock ? caller->lock->id : NULL;

    if (!id || on_disk(sim, id) || is_alive(sim, id))
        sim_violation(sim, "I3", "lock %s is said to be released, and is still there",
                      id ? id : "that never was");
    sim_cover(sim, COVER_RELEASED);
}

/* Returns: whether an error of that kind may be the answer to this request now. */
static gboolean
take_may_fail_with(Sim *sim, Caller *caller, ApmigError code)
{
    Lock *lock = caller->lock;
    gboolean late = caller->timeout && sim->now >= caller->opened_at + caller->timeout;

    switch (code) {
    case APMIG_ERROR_LOCKED:
        sim_cover(sim, COVER_LOCKED);
        return overlapping_lock(sim, lock->mask, lock) != NULL;
    case APMIG_ERROR_BUSY:
        sim_cover(sim, COVER_BUSY);
        return lock->on_busy == APMIG_ON_BUSY_REFUSE || lock->on_busy == APMIG_ON_BUSY_UNSET;
    case APMIG_ERROR_TIMEOUT:
        sim_cover(sim, COVER_TIMEOUT);
        return late;
    case APMIG_ERROR_HYPERVISOR_UNAVAILABLE:
        sim_cover(sim, COVER_UNAVAILABLE);
        return late;
    case APMIG_ERROR_CANCELLED:
        sim_cover(sim, COVER_CANCELLED);
        return lock->release_asked || !lock->living; /* the latter: what it was to adopt was released */
    case APMIG_ERROR_HOOK_NOT_INSTALLED:
        sim_cover(sim, COVER_HOOK);
        return caller->hook_problem;
    case APMIG_ERROR_LIMIT_EXCEEDED:
        sim_cover(sim, COVER_LIMIT);
        return TRUE;
    case APMIG_ERROR_STATE_FAILURE:
        sim_cover(sim, COVER_STATE_FAILURE);
        return !sim->loaded || sim->disk_faults > caller->faults || disk_is_late(sim, caller);
    default:
        return FALSE;
    }
}

gboolean
replies_is_asked_again(const Sim *sim, const Caller *caller)
{
    for (guint i = 0; caller->of_change && i < sim->callers->len; i++) {
        const Caller *other = g_ptr_array_index(sim->callers, i);

        if (other != caller && !other->gone && other->kind == CALLER_TAKE && other->of_change &&
            other->uid == caller->uid && other->lock->mask == caller->lock->mask)
            return TRUE;
    }
    return FALSE;
}

static void
check_take_error(Sim *sim, Caller *caller, ApmigError code)
{
    Lock *lock = caller->lock;
    gboolean kept =
        (code == APMIG_ERROR_STATE_FAILURE && (lock->removal_failed || disk_is_late(sim, caller))) ||
        ((code == APMIG_ERROR_TIMEOUT || code == APMIG_ERROR_HYPERVISOR_UNAVAILABLE) &&
         replies_is_asked_again(sim, caller));

    if (!take_may_fail_with(sim, caller, code))
        sim_violation(sim, "I6", "the request of lock %s fails with %s, which is not true", lock->id,
                      apmig_error_name(code));
    if (!kept && (on_disk(sim, lock->id) || is_alive(sim, lock->id)))
        sim_violation(sim, "I3", "the request of lock %s fails with %s, and the lock is still there",
                      lock->id, apmig_error_name(code));
}

static void
check_release_error(Sim *sim, Caller *caller, ApmigError code)
{
    Lock *lock = caller->lock;
    gboolean unforced = lock && lock->origin == APMIG_LOCK_RECOVERED && !caller->force;

    if (code == APMIG_ERROR_NO_SUCH_LOCK) {
        sim_cover(sim, COVER_NO_SUCH_LOCK);
        if (lock)
            release_over(lock);
        if (lock && is_alive(sim, lock->id))
            sim_violation(sim, "I6", "the release of lock %s fails with NoSuchLock, and it is there",
                          lock->id);
    } else if (code == APMIG_ERROR_STATE_FAILURE) {
        sim_cover(sim, COVER_RELEASE_FAILURE);
        if (!sim->loaded) {
            if (lock)
                release_over(lock);
            return;
        }
        if (!unforced && sim->disk_faults == caller->faults && !disk_is_late(sim, caller))
            sim_violation(sim, "I6", "the release of lock %s fails with StateFailure, and the disk is well",
                          lock->id);
        if (!is_alive(sim, lock->id) && !(lock->write_failed && lock->removal_failed))
            sim_violation(sim, "I3", "the release of lock %s fails, and the lock is gone", lock->id);
    } else if (code == APMIG_ERROR_KEY_CHANGE_UNFINISHED || code == APMIG_ERROR_KEYS_DIFFER)
        check_refused_keys(sim, caller, code);
    else if (code == APMIG_ERROR_NOT_OWNER) {
        sim_cover(sim, COVER_NOT_OWNER);
        if (caller->force || lock->reading ||
            ((!lock->by_itself || lock->adopted) && !is_taken_over(sim, lock)))
            sim_violation(sim, "I6", "the release of lock %s fails with NotOwner, and nobody gets it",
                          lock->id);
        release_over(lock);
    } else
        sim_violation(sim, "I6", "a release fails with %s", apmig_error_name(code));
}

/* --- replies to the hook ----------------------------------------------------------------------------- */

static void
check_allowed(Sim *sim, Caller *caller)
{
    Lock *lock = overlapping_lock(sim, caller->mask, NULL);
    const char *uuid = caller->migration ? caller->migration->guest->uuid : NULL;

    if (caller->migration)
        guest_let_in(sim, caller->migration->guest);
    if (caller->affected == APMIG_AFFECTED_NO) {
        sim_cover(sim, COVER_UNAFFECTED);
        return;
    }
    sim_cover(sim, COVER_ALLOWED);
    if (!sim->loaded)
        sim_violation(sim, "I4", "a guest is admitted before the locks on disk are known");
    if (caller->is_refused)
        sim_violation(sim, "stamp", "a guest is let in whose stamp the policy refuses");
    if (caller->is_refused_dry)
        sim_violation(sim, "stamp", "a guest is let in that a check in advance refused");
    if (lock && caller->migration)
        check_permitted_yes(sim, caller->migration->guest, lock->id);
    else if (lock)
        sim_violation(sim, "I1", "a guest is admitted against lock %s", lock->id);
    if (uuid && !disk_has_admission(sim, uuid))
        sim_violation(sim, "I4", "the hook is told yes before the admission is durable");
}

static guint
count_admissions(Sim *sim)
{
    g_autoptr(GPtrArray) migrations = apmig_engine_list_migrations(sim->engine);
    guint count = sim->callers->len;

    for (guint i = 0; i < migrations->len; i++)
        count += !((const ApmigMigration *)g_ptr_array_index(migrations, i))->outgoing;
    return count;
}

static void
check_denied(Sim *sim, Caller *caller)
{
    gboolean just = (overlapping_lock(sim, caller->mask, NULL) && !caller->permitted) || caller->is_refused ||
                    sim->disk_faults > caller->faults || !sim->loaded ||
                    count_admissions(sim) >= sim->policy->max_admissions;

    sim_cover(sim, COVER_DENIED);
    if (sim->has_stamps && sim->loaded && sim->event == APMIG_EVENT_ADMIT && !caller->is_refused_dry &&
        caller->affected != APMIG_AFFECTED_NO)
        sim_violation(sim, "stamp", "a guest is refused that a check in advance let in");
    /* libvirt will refuse a second guest of that UUID anyway. */
    just |= caller->migration && caller->migration->guest->presence != GUEST_ABSENT;
    if (!just || (sim->loaded && caller->affected == APMIG_AFFECTED_NO))
        sim_violation(sim, "I4", "a guest is refused, and nothing is in its way");
}

static void
check_reply(Sim *sim, const ApmigAction *action)
{
    Caller *caller = daemon_find_caller(sim, action->reply.caller);
    gboolean fails = action->type == APMIG_ACTION_REPLY_ERROR;

    if (!caller) {
        sim_violation(sim, "I6", "caller %" G_GUINT64_FORMAT " is answered, and nobody of that number waits",
                      action->reply.caller);
        return;
    }
    if (caller->gone) {
        if (fails && caller->kind == CALLER_AMEND)
            caller->lock->handed_late |= caller->what == APMIG_AMEND_OWNER;
        return;
    }
    if ((fails || (action->type == APMIG_ACTION_REPLY_ADMIT && !action->reply.allowed)) &&
        (!action->reply.message || !*action->reply.message))
        sim_violation(sim, "I6", "a refusal without a reason");
    if (action->type == APMIG_ACTION_REPLY_TAKEN && caller->kind == CALLER_TAKE)
        check_taken(sim, caller, action->reply.id);
    else if (action->type == APMIG_ACTION_REPLY_RELEASED && caller->kind == CALLER_RELEASE)
        check_released(sim, caller);
    else if (action->type == APMIG_ACTION_REPLY_AMENDED && caller->kind == CALLER_AMEND)
        check_amended(sim, caller);
    else if (action->type == APMIG_ACTION_REPLY_VERDICT && caller->kind >= CALLER_CHECK)
        check_verdict(sim, caller, action);
    else if (action->type == APMIG_ACTION_REPLY_PERMIT &&
             (caller->kind == CALLER_PERMIT || caller->kind == CALLER_REVOKE))
        check_permit_reply(sim, caller, action);
    else if (fails && (caller->kind == CALLER_PERMIT || caller->kind == CALLER_REVOKE))
        check_permit_error(sim, caller, action->reply.code);
    else if (fails && caller->kind >= CALLER_AMEND)
        check_inquirer_error(sim, caller, action->reply.code);
    else if (fails && caller->kind == CALLER_TAKE)
        check_take_error(sim, caller, action->reply.code);
    else if (fails && caller->kind == CALLER_RELEASE)
        check_release_error(sim, caller, action->reply.code);
    else if (action->type == APMIG_ACTION_REPLY_ADMIT && action->reply.allowed &&
             caller->kind == CALLER_ADMIT)
        check_allowed(sim, caller);
    else if (caller->kind == CALLER_ADMIT && (fails || action->type == APMIG_ACTION_REPLY_ADMIT))
        check_denied(sim, caller);
    else
        sim_violation(sim, "I6", "caller %" G_GUINT64_FORMAT " gets the answer to another question",
                      action->reply.caller);
}

/* --- what is asked of the hypervisor ------------------------------------------------------------------ */

gboolean
has_open(const Sim *sim)
{
    g_autoptr(GPtrArray) locks = apmig_engine_list_locks(sim->engine);
    g_autoptr(GPtrArray) migrations = apmig_engine_list_migrations(sim->engine);

    return locks->len || migrations->len || has_inquiry(sim);
}

static void
check_question(Sim *sim, const ApmigAction *action)
{
    Guest *guest = guest_by_uuid(sim, action->query.uuid);

    /* What guests have is read when they are first seen, lock or not. */
    gboolean news = sim->event == APMIG_EVENT_VIEW_STARTED || sim->event == APMIG_EVENT_STORE_LOADED ||
                    sim->event == APMIG_EVENT_GUEST_NEWS || sim->event == APMIG_EVENT_HINT ||
                    sim->event == APMIG_EVENT_GUESTS_LISTED || sim->has_stamps;
    gboolean may = action->type == APMIG_ACTION_QUERY_GUEST ? action->query.want_facts : news;

    if (!may && !sim->was_open && !has_open(sim))
        sim_violation(sim, "I5", "the hypervisor is asked, and there is no lock and no migration");
    if (action->type == APMIG_ACTION_QUERY_GUEST && !guest)
        sim_violation(sim, "I5", "the hypervisor is asked for a guest that never was");
    else if (guest && guest->told.asking && guest->told.life == guest->life)
        sim_violation(sim, "I5", "a second question for %s is put before the first is answered", guest->name);
}

void
check_action(Sim *sim, const ApmigAction *action)
{
    switch (action->type) {
    case APMIG_ACTION_PERSIST_LOCK:
        check_persist(sim, action->lock);
        break;
    case APMIG_ACTION_REMOVE_LOCK:
        check_remove(sim, action->lock->id);
        break;
    case APMIG_ACTION_READ_KEYS:
        check_read_keys(sim, action);
        break;
    case APMIG_ACTION_LIST_GUESTS:
    case APMIG_ACTION_QUERY_GUEST:
        check_question(sim, action);
        break;
    case APMIG_ACTION_REMOVE_ADMISSION:
        if (!action->admission->unaffected)
            guest_forget_admission(guest_by_uuid(sim, action->admission->uuid));
        break;
    case APMIG_ACTION_PERSIST_PERMIT:
        if (action->permit->used_by)
            check_use_permit(sim, action->permit);
        break;
    case APMIG_ACTION_REMOVE_PERMIT:
        check_remove_permit(sim, action->permit);
        break;
    case APMIG_ACTION_LOG:
        if (action->entry.log == APMIG_LOG_LOCK_BREACHED)
            check_breach_logged(sim, action);
        if (action->entry.log == APMIG_LOG_ADMISSION_DENIED && action->entry.lock_id)
            known_lock(sim, action->entry.lock_id)->refused = TRUE;
        if (action->entry.log == APMIG_LOG_LOCK_AMENDED &&
            g_str_has_prefix(action->entry.message, "the reason"))
            known_lock(sim, action->entry.lock_id)->annotated = TRUE;
        break;
    case APMIG_ACTION_STAMP_GUEST:
        check_stamp(sim, action);
        break;
    case APMIG_ACTION_RUN_STEP:
        check_step(sim, action);
        break;
    case APMIG_ACTION_REPLY_TAKEN:
    case APMIG_ACTION_REPLY_RELEASED:
    case APMIG_ACTION_REPLY_AMENDED:
    case APMIG_ACTION_REPLY_VERDICT:
    case APMIG_ACTION_REPLY_PERMIT:
    case APMIG_ACTION_REPLY_ADMIT:
    case APMIG_ACTION_REPLY_ERROR:
        check_reply(sim, action);
        break;
    default:
        break;
    }
}
