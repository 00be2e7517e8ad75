/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The end of a lock, of whatever cause: removed from disk, and then gone. Before the release of one that was held, the
 * cards are asked whether the keys are in step: held -> verifying -> gone, or held again. It is in force meanwhile as
 * it was before, and nothing durable changes until its removal.
 */
#include "engine/private.h"

/* --- ending -------------------------------------------------------------------------------------- */

void
lock_begin_end(ApmigEngine *engine, Lock *lock, const char *result, ApmigError code, const char *message)
{
    if (lock->ending)
        return;
    lock->ending = TRUE;
    lock->keys_op = 0;
    lock->end_result = result;
    lock->end_code = code;
    g_free(lock->end_message);
    lock->end_message = g_strdup(message);
    lock->pub.state = APMIG_LOCK_VERIFYING;
    lock->dirty = TRUE;
    if (lock->write == WRITE_HOLD) /* overtaken, too: nobody was told that it is held */
        lock->pub.record->held_at = 0;
    g_clear_pointer(&lock->heir, apmig_lock_record_free); /* an adoption or a change that is overtaken */
    g_clear_pointer(&lock->suitor, apmig_lock_record_free);
    lock_fail_amendments(engine, lock);
    lock_write(engine, lock, WRITE_REMOVE);
}

void
lock_fail_releasers(ApmigEngine *engine, Lock *lock, ApmigError code, const char *message)
{
    for (guint i = 0; i < lock->releasers->len; i++)
        engine_reply_error(engine, g_array_index(lock->releasers, ApmigCaller, i), code, message);
    g_array_set_size(lock->releasers, 0);
}

static void
lock_fail_again(ApmigEngine *engine, Lock *lock)
{
    for (guint i = 0; i < lock->again->len; i++) {
        g_autofree char *message =
            g_strdup_printf("lock %s, which the same change had asked for, has ended: %s: %s; ask again",
                            lock->pub.record->id, lock->pub.result, lock->pub.message);

        engine_reply_error(engine, g_array_index(lock->again, Again, i).caller, APMIG_ERROR_CANCELLED,
                           message);
    }
    g_array_set_size(lock->again, 0);
}

static void
lock_finish(ApmigEngine *engine, Lock *lock, ApmigError taker_code, const char *taker_message)
{
    guint index;

    lock->pub.result = g_strdup(lock->end_result);
    lock->pub.message = g_strdup(lock->end_message);
    lock->ended_at = engine->now;
    engine_log(engine, APMIG_LOG_LOCK_ENDED, LOG_NOTICE, lock, NULL, "lock %s ended: %s: %s",
               lock->pub.record->id, lock->pub.result, lock->pub.message);
    engine_publish(engine, APMIG_ACTION_PUBLISH_LOCK, lock->pub.record->id);
    if (lock->taker)
        engine_reply_error(engine, lock->taker, taker_code, taker_message);
    lock->taker = 0;
    lock_fail_again(engine, lock);
    for (guint i = 0; i < lock->releasers->len; i++)
        engine_reply(engine, APMIG_ACTION_REPLY_RELEASED, g_array_index(lock->releasers, ApmigCaller, i));
    if (g_ptr_array_find(engine->locks, lock, &index))
        g_ptr_array_add(engine->ended_locks, g_ptr_array_steal_index(engine->locks, index));
}

/* The lock could not be removed: it stays, and is written anew, since a part of the removal may have succeeded. */
static void
lock_keep(ApmigEngine *engine, Lock *lock, const char *error)
{
    const char *id = lock->pub.record->id;
    g_autofree char *message = g_strdup_printf(
        "lock %s could not be removed from disk (%s); it stays: mend the state folder and release it "
        "with: apmigctl unlock %s",
        id, error, id);

    engine_log(engine, APMIG_LOG_STATE_FAILURE, LOG_ERR, lock, NULL, "%s", message);
    if (lock->taker)
        engine_reply_error(engine, lock->taker, APMIG_ERROR_STATE_FAILURE, message);
    lock->taker = 0;
    lock->deadline = 0;
    lock_fail_releasers(engine, lock, APMIG_ERROR_STATE_FAILURE, message);
    lock->ending = FALSE;
    lock->kept = TRUE;
    lock->durable = TRUE;
    lock_set_standing(lock, lock->was_held ? APMIG_LOCK_UNPROVEN : APMIG_LOCK_DRAINING);
    lock_update(engine, lock);
    lock_begin_round(engine, lock);
}

void
engine_lock_removed(ApmigEngine *engine, guint64 op, const char *error)
{
    Lock *lock = engine_find_lock_written(engine, op);

    if (!lock)
        return;
    lock->op = 0;
    if (error && lock->never_written)
        lock_fail_releasers(engine, lock, APMIG_ERROR_STATE_FAILURE, error);
    if (!error || lock->never_written)
        lock_finish(engine, lock, error ? APMIG_ERROR_STATE_FAILURE : lock->end_code, lock->end_message);
    else
        lock_keep(engine, lock, error);
}

/* --- are the keys in step? ----------------------------------------------------------------------- */

static void
note_unverified(Lock *lock, const char *unverified)
{
    g_free(lock->pub.unverified);
    lock->pub.unverified = g_strdup(unverified);
}

/* @how: a clause
 * @unverified: a sentence; "" when all was verified */
static void
end_released(ApmigEngine *engine, Lock *lock, const char *how, const char *unverified)
{
    g_autofree char *message = g_strconcat(how, *unverified ? ". " : "", unverified, NULL);

    note_unverified(lock, unverified);
    lock_begin_end(engine, lock, "released", APMIG_ERROR_CANCELLED, message);
}

static void
begin_verifying(ApmigEngine *engine, Lock *lock)
{
    ApmigAction *action = engine_act(engine, APMIG_ACTION_READ_KEYS);

    action->op = lock->keys_op = ++engine->last_op;
    action->reading.lock_id = g_strdup(lock->pub.record->id);
    action->reading.scope = apmig_scope_ref(lock->pub.record->scope);
    action->reading.limit_usec = engine->policy->release_verify_usec;
    lock->keys_until = engine->now + engine->policy->release_verify_usec;
    lock->pub.state = APMIG_LOCK_VERIFYING;
    lock->dirty = TRUE;
}

static void
refuse_release(ApmigEngine *engine, Lock *lock, const ApmigReleaseCheck *check)
{
    lock->keys_op = 0;
    lock->pub.state = lock->standing;
    lock->dirty = TRUE;
    note_unverified(lock, check->unverified);
    engine_log(engine, APMIG_LOG_RELEASE_REFUSED, LOG_WARNING, lock, NULL, "lock %s stays: %s",
               lock->pub.record->id, check->message);
    lock_fail_releasers(engine, lock, check->code, check->message);
}

/* What cannot be read keeps no lock for ever: the release goes on and says so. */
static void
judge(ApmigEngine *engine, Lock *lock, const ApmigEvent *event)
{
    g_autoptr(ApmigReleaseCheck) check = NULL;

    if (event->keys_read.error) {
        g_autofree char *unverified =
            g_strdup_printf("Not verified: the keys could not be read: %s.", event->keys_read.error);

        end_released(engine, lock, "released", unverified);
        return;
    }
    if (!event->keys_read.host->present) {
        end_released(
            engine, lock,
            "released; there is no AP bus on this host, so keys that reach guests in other ways were "
            "not looked at",
            "");
        return;
    }
    check = apmig_release_check(lock->pub.record->scope, event->keys_read.host, event->keys_read.readings,
                                event->keys_read.evidence);
    if (check->in_step)
        end_released(engine, lock, "released", check->unverified);
    else
        refuse_release(engine, lock, check);
}

void
engine_keys_read(ApmigEngine *engine, const ApmigEvent *event)
{
    for (guint i = 0; event->keys_read.op && i < engine->locks->len; i++) {
        Lock *lock = g_ptr_array_index(engine->locks, i);

        if (lock->keys_op != event->keys_read.op)
            continue;
        judge(engine, lock, event);
        return;
    }
}

void
engine_settle_release(ApmigEngine *engine, Lock *lock)
{
    if (lock->keys_op && engine->now >= lock->keys_until)
        end_released(engine, lock, "released",
                     "Not verified: the cards did not answer in time (release-verify-usec).");
}

/* --- the request --------------------------------------------------------------------------------- */

/* Returns: (nullable) (transfer full): why the request is refused at once. */
static char *
refuse_request(const ApmigEngine *engine, const Lock *lock, const ApmigEvent *event, ApmigError *ret_code)
{
    if (!engine->loaded) {
        *ret_code = APMIG_ERROR_STATE_FAILURE;
        return g_strdup(APMIG_LOCKS_UNREAD);
    }
    if (!lock) {
        *ret_code = APMIG_ERROR_NO_SUCH_LOCK;
        return g_strdup_printf("there is no lock %s: see apmigctl list", event->release.id);
    }
    if (event->release.force)
        return NULL;
    if (lock->pub.record->origin == APMIG_LOCK_RECOVERED) {
        *ret_code = APMIG_ERROR_STATE_FAILURE;
        return g_strdup_printf(
            "lock %s stands for damage (%s): when the keys are known to be in step, release it "
            "with: apmigctl unlock --force %s",
            lock->pub.record->id, lock->pub.record->reason, lock->pub.record->id);
    }
    if (lock_changes_hands(lock) && !lock->ending) {
        *ret_code = APMIG_ERROR_NOT_OWNER;
        return g_strdup_printf("lock %s is just becoming that of %s, who asked for it: ask again",
                               lock->pub.record->id, lock->heir->owner_name);
    }
    return NULL;
}

void
engine_release(ApmigEngine *engine, const ApmigEvent *event)
{
    Lock *lock = engine_find_lock(engine, event->release.id);
    ApmigError code = APMIG_ERROR_NO_SUCH_LOCK;
    g_autofree char *refusal = refuse_request(engine, lock, event, &code);

    if (refusal) {
        engine_reply_error(engine, event->caller, code, refusal);
        return;
    }
    if (event->release.warnings) {
        g_free(lock->pub.warnings);
        lock->pub.warnings = g_strdup(event->release.warnings);
    }
    g_array_append_val(lock->releasers, event->caller);
    if (lock->ending || (lock->keys_op && !event->release.force))
        return; /* it joins */
    if (!lock->was_held)
        lock_begin_end(engine, lock, "cancelled", APMIG_ERROR_CANCELLED, "released before it was held");
    else if (event->release.force)
        end_released(engine, lock, "released by force", "Not verified: the keys were not looked at.");
    else if (lock->taker && !lock->suitor)
        lock_begin_end(engine, lock, "released", APMIG_ERROR_CANCELLED,
                       "released before anybody was told held");
    else if (engine->policy->on_release == APMIG_ON_RELEASE_TRUST)
        end_released(engine, lock, "released",
                     "Not verified: the policy (on-release) trusts whoever releases.");
    else
        begin_verifying(engine, lock);
}
