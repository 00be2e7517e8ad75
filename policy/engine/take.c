/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is asked of locks: that one is taken, adopted, or asked for again; whose caller is gone; and which there are from before. */
#include "engine/private.h"

/* --- which lock is meant ------------------------------------------------------------------------- */

static gboolean
is_without_owner(const Lock *other, const ApmigEvent *event)
{
    return other->pub.record->origin == APMIG_LOCK_BY_ITSELF &&
           apmig_scope_equal(other->pub.record->scope, event->take.scope);
}

/* A lock that apmigd took by itself gets the first administrator who asks for its scope as its owner. */
static gboolean
is_adoption(const Lock *other, const ApmigEvent *event)
{
    return other && is_without_owner(other, event) && other->was_held && !other->ending &&
           other->pub.state != APMIG_LOCK_VERIFYING && !other->op && !other->taker &&
           event->take.origin == APMIG_LOCK_BY_REQUEST && !event->take.hook_problem;
}

/* Whoever asks for the same change once more, as after the death of his console, gets what he has. */
static gboolean
is_same_request(const Lock *other, const ApmigEvent *event)
{
    const char *change_id = event->take.change_id ? event->take.change_id : "";
    const ApmigLockRecord *record = other ? other->pub.record : NULL;

    return record && *change_id && !other->ending && other->amendments.length == 0 &&
           record->origin == APMIG_LOCK_BY_REQUEST && event->take.origin == APMIG_LOCK_BY_REQUEST &&
           record->owner_uid == event->take.uid && g_str_equal(record->change_id, change_id) &&
           g_str_equal(record->reason, event->take.reason) &&
           apmig_scope_equal(record->scope, event->take.scope);
}

/* --- refusals ------------------------------------------------------------------------------------ */

static guint
count_locks_of(const ApmigEngine *engine, guint32 uid)
{
    guint count = 0;

    for (guint i = 0; i < engine->locks->len; i++)
        count += ((Lock *)g_ptr_array_index(engine->locks, i))->pub.record->owner_uid == uid;
    return count;
}

static char *
refuse_hook(const ApmigEvent *event, ApmigError *ret_code)
{
    *ret_code = APMIG_ERROR_HOOK_NOT_INSTALLED;
    return g_strdup_printf(
        "nothing would keep incoming migrations out: %s; install the hook and reload libvirt, "
        "or set allow-missing-hook",
        event->take.hook_problem);
}

/* Returns: (nullable) (transfer full): why the request is refused at once. */
static char *
refuse_take(const ApmigEngine *engine, const Lock *other, const ApmigEvent *event, ApmigError *ret_code)
{
    if (!engine->loaded) {
        *ret_code = APMIG_ERROR_STATE_FAILURE;
        return g_strdup(APMIG_LOCKS_UNREAD);
    }
    if (other) {
        g_autofree char *description = lock_describe(other);

        if (event->take.hook_problem && (is_same_request(other, event) || is_without_owner(other, event)))
            return refuse_hook(event, ret_code);
        *ret_code = APMIG_ERROR_LOCKED;
        return g_strdup_printf("scope %s overlaps %s; it is released with: apmigctl unlock %s",
                               apmig_scope_to_string(event->take.scope), description, other->pub.record->id);
    }
    if (event->take.hook_problem)
        return refuse_hook(event, ret_code);
    *ret_code = APMIG_ERROR_LIMIT_EXCEEDED;
    if (engine->locks->len >= engine->policy->max_locks)
        return g_strdup_printf("there are %u locks, the limit: release one first", engine->locks->len);
    if (event->take.uid != 0 && count_locks_of(engine, event->take.uid) >= engine->policy->max_locks_per_user)
        return g_strdup_printf("%s has %u locks, the limit: release one first", event->take.user,
                               engine->policy->max_locks_per_user);
    return NULL;
}

/* --- who asks, and how long he waits ------------------------------------------------------------- */

static void
lock_fill(ApmigLockRecord *record, const ApmigEvent *event)
{
    g_free(record->reason);
    g_free(record->change_id);
    g_free(record->owner_name);
    record->reason = g_strdup(event->take.reason);
    record->change_id = g_strdup(event->take.change_id ? event->take.change_id : "");
    record->origin = event->take.origin;
    record->owner_uid = event->take.uid;
    record->owner_name = g_strdup(event->take.user);
    record->on_busy = event->take.on_busy;
    record->expected_duration_usec = event->take.expected_duration_usec;
}

/* When the caller is to be answered; 0: no deadline. */
static gint64
take_deadline(const ApmigEngine *engine, const ApmigEvent *event)
{
    if (event->take.timeout_usec)
        return engine->now + event->take.timeout_usec;
    return event->take.no_wait ? 0 : engine->now + engine->policy->request_timeout_usec;
}

static void
lock_set_taker(const ApmigEngine *engine, Lock *lock, const ApmigEvent *event)
{
    gint64 deadline = take_deadline(engine, event);

    lock->taker = event->caller;
    lock->no_wait = event->take.no_wait;
    lock->answer_by = deadline ? deadline : engine->now + APMIG_DISK_LIMIT_USEC;
}

static void
lock_set_caller(ApmigEngine *engine, Lock *lock, const ApmigEvent *event)
{
    lock_set_taker(engine, lock, event);
    lock_expect_end(engine, lock, engine->now);
}

/* --- a lock that is there already ---------------------------------------------------------------- */

static void
adopt(ApmigEngine *engine, Lock *lock, const ApmigEvent *event)
{
    ApmigLockRecord *heir = apmig_lock_record_copy(lock->pub.record);

    lock_fill(heir, event);
    lock_set_taker(engine, lock, event);
    if (event->take.no_wait) {
        lock->heir = heir;
        lock_write(engine, lock, WRITE_ADOPT);
        return;
    }
    lock->suitor = heir;
    lock->adopt_token = engine->last_token;
    lock->deadline = take_deadline(engine, event);
    engine_hurry(engine);
}

static void
ask_again(ApmigEngine *engine, Lock *lock, const ApmigEvent *event)
{
    gint64 deadline = take_deadline(engine, event);
    const Again again = {event->caller, deadline ? deadline : engine->now + APMIG_DISK_LIMIT_USEC,
                         event->take.no_wait};

    g_array_append_val(lock->again, again);
    engine_log(engine, APMIG_LOG_LOCK_REQUESTED, LOG_NOTICE, lock, NULL,
               "lock %s of scope %s is there, and asked for again by %s: \"%s\"", lock->pub.record->id,
               apmig_scope_to_string(lock->pub.record->scope), event->take.user, event->take.reason);
    engine_hurry(engine);
}

/* Nobody waits for it any more who wanted to be told. */
static void
cancel_unawaited(ApmigEngine *engine, Lock *lock, const char *why)
{
    if (!lock_is_awaited(lock) && !lock->no_wait && !lock->was_held)
        lock_begin_end(engine, lock, "cancelled", APMIG_ERROR_CANCELLED, why);
}

static void
fail_late(ApmigEngine *engine, const Lock *lock, ApmigCaller caller)
{
    g_autofree char *wait = apmig_engine_describe_wait(engine, &lock->pub);
    gboolean owes = lock->op && (!lock->durable || lock->ending);
    ApmigError code = owes                ? APMIG_ERROR_STATE_FAILURE
                      : engine->connected ? APMIG_ERROR_TIMEOUT
                                          : APMIG_ERROR_HYPERVISOR_UNAVAILABLE;
    g_autofree char *message =
        g_strdup_printf("lock %s, which the same change had asked for, was not held in time: %s",
                        lock->pub.record->id, *wait ? wait : "the disk did not answer");

    engine_reply_error(engine, caller, code, message);
}

/* Returns: whether it was answered. */
static gboolean
answer_again(ApmigEngine *engine, Lock *lock, const Again *again)
{
    gboolean is_there = again->no_wait ? lock->durable : lock->pub.state == APMIG_LOCK_HELD;

    if (is_there && !lock->ending) {
        lock->no_wait |= again->no_wait; /* somebody relies on it from now on */
        engine_reply(engine, APMIG_ACTION_REPLY_TAKEN, again->caller)->id = g_strdup(lock->pub.record->id);
    } else if (engine->now >= again->deadline)
        fail_late(engine, lock, again->caller);
    else
        return FALSE;
    return TRUE;
}

void
engine_settle_again(ApmigEngine *engine)
{
    for (guint i = engine->locks->len; i > 0; i--) {
        Lock *lock = g_ptr_array_index(engine->locks, i - 1);
        guint n = lock->again->len;

        for (guint j = n; j > 0; j--)
            if (answer_again(engine, lock, &g_array_index(lock->again, Again, j - 1)))
                g_array_remove_index(lock->again, j - 1);
        if (lock->again->len < n)
            cancel_unawaited(engine, lock, "it was not held in time for anybody who waited for it");
    }
}

gint64
lock_again_next_deadline(const Lock *lock)
{
    gint64 deadline = G_MAXINT64;

    for (guint i = 0; i < lock->again->len; i++)
        deadline = MIN(deadline, g_array_index(lock->again, Again, i).deadline);
    return deadline;
}

/* --- requests ------------------------------------------------------------------------------------ */

static void
request_lock(ApmigEngine *engine, const ApmigEvent *event)
{
    ApmigLockRecord *record = g_new0(ApmigLockRecord, 1);
    Lock *lock;

    lock_fill(record, event);
    record->id = g_strdup(event->take.id);
    record->scope = apmig_scope_ref(event->take.scope);
    record->requested_at = engine->realtime;
    lock = lock_new(engine, record);
    lock_set_standing(lock, APMIG_LOCK_REQUESTED);
    lock->deadline = take_deadline(engine, event);
    lock_set_caller(engine, lock, event);
    engine_unplug_lock_requested(engine);
    engine_log(engine, APMIG_LOG_LOCK_REQUESTED, LOG_NOTICE, lock, NULL,
               "lock %s of scope %s requested by %s: \"%s\"", record->id,
               apmig_scope_to_string(record->scope), record->owner_name, record->reason);
    lock_write(engine, lock, WRITE_CREATE);
}

void
engine_take(ApmigEngine *engine, const ApmigEvent *event)
{
    Lock *other = engine_overlapping_lock(engine, event->take.scope);
    gboolean adopts = is_adoption(other, event);
    gboolean is_same = !event->take.hook_problem && !event->take.only_new && is_same_request(other, event);
    ApmigError code = APMIG_ERROR_LOCKED;
    g_autofree char *refusal = adopts || is_same ? NULL : refuse_take(engine, other, event, &code);

    if (refusal)
        engine_reply_error(engine, event->caller, code, refusal);
    else if (event->take.rehearse)
        engine_rehearse(engine, event);
    else if (adopts)
        adopt(engine, other, event);
    else if (is_same)
        ask_again(engine, other, event);
    else
        request_lock(engine, event);
}

static void
taker_gone(ApmigEngine *engine, Lock *lock)
{
    lock->taker = 0;
    if (lock->suitor || lock->again->len > 0)
        lock->deadline = 0;
    g_clear_pointer(&lock->suitor, apmig_lock_record_free);
}

void
engine_caller_gone(ApmigEngine *engine, ApmigCaller caller)
{
    for (guint i = 0; i < engine->locks->len; i++) {
        Lock *lock = g_ptr_array_index(engine->locks, i);
        gboolean is_his = lock->taker == caller;

        if (is_his)
            taker_gone(engine, lock);
        for (guint j = lock->again->len; j > 0; j--)
            if (g_array_index(lock->again, Again, j - 1).caller == caller) {
                g_array_remove_index(lock->again, j - 1);
                is_his = TRUE;
            }
        if (!is_his)
            continue;
        cancel_unawaited(engine, lock, "the caller disconnected before the lock was held");
        return;
    }
}
