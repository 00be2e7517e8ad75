/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The life of a lock: requested -> draining -> held <-> permitted, unproven, breached. How it is asked for is in take.c, how
 * it ends in release.c, what is changed of it meanwhile in amend.c.
 */
#include "engine/private.h"

/* A reading whose answers are spread over longer than this is no round: what was told first may not be true any more. */
#define ROUND_USEC (2 * G_USEC_PER_SEC)

/* How long what is said of an unproven lock may stand after what it says has changed: it takes a walk over all guests. */
#define SAY_UNPROVEN_USEC G_USEC_PER_SEC

#define HOLD_AGAIN_USEC (5 * G_USEC_PER_SEC) /* pause after a failed write of held_at that nobody waits for */

void
lock_free(Lock *lock)
{
    apmig_lock_record_free(lock->pub.record);
    g_clear_pointer(&lock->heir, apmig_lock_record_free);
    g_clear_pointer(&lock->suitor, apmig_lock_record_free);
    g_clear_pointer(&lock->acknowledged, g_ptr_array_unref);
    g_free(lock->pub.result);
    g_free(lock->pub.message);
    g_free(lock->pub.unverified);
    g_free(lock->pub.warnings);
    g_free(lock->end_message);
    lock_clear_amendments(lock);
    g_free(lock->uses_trouble);
    g_array_unref(lock->again);
    g_array_unref(lock->releasers);
    g_hash_table_unref(lock->breached_by);
    g_hash_table_unref(lock->missing);
    g_hash_table_unref(lock->attempts);
    g_free(lock->pub.unproven);
    g_ptr_array_unref(lock->blockers);
    g_free(lock);
}

Lock *
lock_new(ApmigEngine *engine, ApmigLockRecord *record)
{
    Lock *lock = g_new0(Lock, 1);

    lock->pub.record = record;
    lock->pub.unverified = g_strdup("");
    lock->pub.warnings = g_strdup("");
    lock->again = g_array_new(FALSE, FALSE, sizeof(Again));
    lock->releasers = g_array_new(FALSE, FALSE, sizeof(ApmigCaller));
    lock->pub.unproven = g_strdup("");
    lock->breached_by = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    lock->missing = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    lock->attempts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, attempts_free);
    lock->blockers = g_ptr_array_new_with_free_func(g_free);
    g_queue_init(&lock->amendments);
    lock->request_token = lock->proof_token = engine->last_token;
    lock->dirty = TRUE;
    g_ptr_array_add(engine->locks, lock);
    return lock;
}

/* --- written ------------------------------------------------------------------------------------- */

static void
lock_hold(ApmigEngine *engine, Lock *lock)
{
    lock->was_held = TRUE;
    lock->held_token = lock->proof_token;
    lock->pub.proven_at = lock->round_realtime;
}

static void
lock_created(ApmigEngine *engine, Lock *lock)
{
    lock->durable = TRUE;
    lock_set_standing(lock, APMIG_LOCK_DRAINING);
    lock_begin_round(engine, lock);
    if (lock->no_wait)
        engine_reply_taken(engine, lock);
}

static void
lock_adopted(ApmigEngine *engine, Lock *lock)
{
    lock_install_heir(lock);
    lock->deadline = 0;
    lock->pub.overdue = FALSE;
    lock_expect_end(engine, lock, engine->now);
    lock->dirty = TRUE;
    engine_reply_taken(engine, lock);
    engine_log(engine, APMIG_LOG_LOCK_ADOPTED, LOG_NOTICE, lock, NULL, "lock %s was adopted by %s: \"%s\"",
               lock->pub.record->id, lock->pub.record->owner_name, lock->pub.record->reason);
}

static void
lock_write_failed(ApmigEngine *engine, Lock *lock, Write write, const char *error)
{
    g_autofree char *message =
        g_strdup_printf("lock %s could not be written (%s): mend the state folder and ask again",
                        lock->pub.record->id, error);

    engine_log(engine, APMIG_LOG_STATE_FAILURE, LOG_ERR, lock, NULL, "%s", message);
    lock->never_written = write == WRITE_CREATE;
    if (write == WRITE_CREATE || (write == WRITE_HOLD && lock->taker))
        lock_begin_end(engine, lock, "failed", APMIG_ERROR_STATE_FAILURE, message);
    if (write == WRITE_ADOPT) {
        engine_reply_error(engine, lock->taker, APMIG_ERROR_STATE_FAILURE, message);
        lock->taker = 0;
        g_clear_pointer(&lock->heir, apmig_lock_record_free);
    }
    if (write == WRITE_AMEND)
        lock_amended(engine, lock, message);
    if (write == WRITE_HOLD) {
        lock->pub.record->held_at = 0;
        lock->hold_again_at = engine->now + HOLD_AGAIN_USEC;
    }
}

void
engine_lock_written(ApmigEngine *engine, guint64 op, const char *error)
{
    Lock *lock = engine_find_lock_written(engine, op);
    Write write;

    for (guint i = 0; error && !lock && i < engine->locks->len; i++) {
        Lock *other = g_ptr_array_index(engine->locks, i);

        if (other->create_op == op)
            other->never_written = TRUE; /* overtaken by its removal */
    }
    if (!lock)
        return;
    write = lock->write;
    lock->op = 0;
    lock->write = WRITE_NONE;
    if (error)
        lock_write_failed(engine, lock, write, error);
    else if (write == WRITE_CREATE)
        lock_created(engine, lock);
    else if (write == WRITE_HOLD)
        lock_hold(engine, lock);
    else if (write == WRITE_ADOPT)
        lock_adopted(engine, lock);
    else if (write == WRITE_AMEND)
        lock_amended(engine, lock, NULL);
    if (lock->update_due && !lock->op)
        lock_update(engine, lock);
}

/* --- migrations under a lock ---------------------------------------------------------------------- */

/* The request's word counts for all migrations, the policy's for each. */
static ApmigOnBusy
lock_on_busy(const Lock *lock, const Migration *migration)
{
    return lock->pub.record->on_busy != APMIG_ON_BUSY_UNSET ? lock->pub.record->on_busy
                                                            : migration->settings.on_busy;
}

/* Returns: (nullable): a migration older than the request because of which that is refused. */
static const Migration *
find_refusing_migration(const ApmigEngine *engine, const Lock *lock)
{
    for (guint i = 0; i < engine->migrations->len; i++) {
        const Migration *migration = g_ptr_array_index(engine->migrations, i);

        if (lock_is_blocked_by(lock, migration) && !lock_is_older(lock, migration) &&
            lock_on_busy(lock, migration) == APMIG_ON_BUSY_REFUSE)
            return migration;
    }
    return NULL;
}

/* One refusal fails the request, so nothing is ended for it before it is known that there is none: where rules differ,
 * a migration that has not been seen yet may be the one. */
static gboolean
lock_may_be_refused(const ApmigEngine *engine, const Lock *lock)
{
    if (lock->pub.record->on_busy != APMIG_ON_BUSY_UNSET || !apmig_policy_may_refuse(engine->policy))
        return FALSE;
    return (!lock->busy_known && !engine_view_has_told(engine, lock)) ||
           find_refusing_migration(engine, lock);
}

gboolean
lock_wants_end(const ApmigEngine *engine, const Lock *lock, const Migration *migration)
{
    if (migration->pub.permitted)
        return FALSE;
    if (!lock->durable || lock->ending || !lock_is_blocked_by(lock, migration))
        return FALSE;
    if (lock_is_breached_by(lock, migration))
        return TRUE;
    return lock_on_busy(lock, migration) == APMIG_ON_BUSY_ABORT && !lock_may_be_refused(engine, lock);
}

/* What goes on under a lock. */
typedef struct {
    gboolean met; /* an overlapping migration is in progress: one of the next three, or an older one */
    gboolean breached;
    gboolean permitted;
    gboolean unknown; /* something comes in, of which what it has is not known */
} Meeting;

static Meeting
lock_meet_migrations(ApmigEngine *engine, Lock *lock)
{
    Meeting meeting = {0};

    for (guint i = 0; i < engine->migrations->len; i++) {
        const Migration *migration = g_ptr_array_index(engine->migrations, i);

        if (!lock_is_blocked_by(lock, migration))
            continue;
        meeting.met = TRUE;
        meeting.permitted |= migration->pub.permitted;
        meeting.unknown |=
            !migration->pub.permitted && !migration->pub.outgoing && !migration->pub.scope_known;
        if (!lock_is_breached_by(lock, migration))
            continue;
        meeting.breached |= lock->was_held;
        lock_note_breach(engine, lock, migration);
    }
    return meeting;
}

/* --- settling ------------------------------------------------------------------------------------ */

static void
lock_time_out(ApmigEngine *engine, Lock *lock)
{
    g_autofree char *wait = apmig_engine_describe_wait(engine, &lock->pub);
    g_autoptr(GPtrArray) blockers = apmig_engine_blockers(engine, &lock->pub);
    /* What is known to be in progress while nobody can be asked is known from before. */
    gboolean is_told = engine->connected && (blockers->len || engine_view_is_clear(engine, lock));
    ApmigError code = is_told ? APMIG_ERROR_TIMEOUT : APMIG_ERROR_HYPERVISOR_UNAVAILABLE;
    gboolean stays = lock->again->len > 0;
    g_autofree char *message = g_strdup_printf(
        "the lock was not held in time, and %s: %s%s", stays ? "is waited for by another request" : "is gone",
        *wait ? wait : "the disk did not answer", engine_describe_lingering(engine, lock));

    if (!stays) {
        lock_begin_end(engine, lock, "timeout", code, message);
        return;
    }
    engine_reply_error(engine, lock->taker, code, message);
    lock->taker = 0;
    lock->deadline = 0;
}

static void
lock_say_unproven(Lock *lock, const char *why)
{
    if (g_str_equal(lock->pub.unproven, why))
        return;
    g_free(lock->pub.unproven);
    lock->pub.unproven = g_strdup(why);
    lock->dirty = TRUE;
}

static void
lock_say_unproven_why(const ApmigEngine *engine, Lock *lock)
{
    g_autofree char *silence = engine_describe_silence(engine, lock);
    g_autofree char *doubt = *silence ? g_strdup(silence) : engine_describe_doubt(engine, lock);

    lock_say_unproven(lock, doubt);
    lock->unproven_said_at = engine->now;
}

/* Whether a complete reading, all of its answers of one round, shows nothing in progress. One that took long is taken once
 * more: its first answers are too old by then. Of a guest that is missing libvirt's event may still tell that it has left. */
static gboolean
lock_is_proven(ApmigEngine *engine, Lock *lock)
{
    if (!engine_view_is_clear(engine, lock) || engine_is_silent(engine, lock) ||
        g_hash_table_size(lock->missing))
        return FALSE;
    if (engine->now <= lock->round_at + ROUND_USEC)
        return TRUE;
    lock_begin_round(engine, lock);
    return FALSE;
}

static void
lock_enter_held(ApmigEngine *engine, Lock *lock)
{
    if (lock->standing == APMIG_LOCK_BREACHED)
        engine_log(engine, APMIG_LOG_BREACH_OVER, LOG_NOTICE, lock, NULL,
                   "no migration is in progress under lock %s", lock->pub.record->id);
    else if (lock->standing == APMIG_LOCK_PERMITTED)
        engine_log(engine, APMIG_LOG_LOCK_HELD, LOG_NOTICE, lock, NULL,
                   "lock %s is held again: what was permitted is over", lock->pub.record->id);
    else if (lock->standing == APMIG_LOCK_UNPROVEN)
        engine_log(engine, APMIG_LOG_LOCK_HELD, LOG_NOTICE, lock, NULL,
                   "lock %s is held again: it is proven that no migration of scope %s is in progress",
                   lock->pub.record->id, apmig_scope_to_string(lock->pub.record->scope));
    else
        engine_log(engine, APMIG_LOG_LOCK_HELD, LOG_NOTICE, lock, NULL,
                   "lock %s is held: no migration of scope %s is in progress", lock->pub.record->id,
                   apmig_scope_to_string(lock->pub.record->scope));
    lock_set_standing(lock, APMIG_LOCK_HELD);
    lock_say_unproven(lock, "");
    lock->pub.proven_at = MAX(lock->pub.proven_at, lock->round_realtime);
    if (lock->suitor)
        return;
    lock->deadline = 0;
    engine_reply_taken(engine, lock);
}

/* It is held again when a reading that begins now shows nothing any more. */
static void
lock_leave_held(ApmigEngine *engine, Lock *lock, ApmigLockState standing)
{
    lock_set_standing(lock, standing);
    lock_begin_round(engine, lock);
    if (standing != APMIG_LOCK_UNPROVEN)
        return;
    lock_say_unproven_why(engine, lock);
    engine_log(
        engine, APMIG_LOG_VIEW_LATE, LOG_WARNING, lock, NULL,
        "that no migration is in progress under lock %s is not proven any more: %s; the gate stays shut, do not "
        "change keys until it is held again",
        lock->pub.record->id, lock->pub.unproven);
}

/* Of several states that apply, the worst. They are in that order. */
static ApmigLockState
lock_worst(const ApmigEngine *engine, const Lock *lock, const Meeting *meeting)
{
    if (meeting->breached)
        return APMIG_LOCK_BREACHED;
    if (meeting->unknown || engine_is_silent(engine, lock) || engine_has_doubt(engine, lock))
        return APMIG_LOCK_UNPROVEN;
    return meeting->permitted ? APMIG_LOCK_PERMITTED : APMIG_LOCK_HELD;
}

/* One that was held is never drained again. What is better than it is now has to be proven, by a reading that began when it
 * became what it is. */
static void
lock_proceed_held(ApmigEngine *engine, Lock *lock, const Meeting *meeting)
{
    ApmigLockState worst = lock_worst(engine, lock, meeting);

    if (lock->standing == APMIG_LOCK_UNPROVEN && engine->now >= lock->unproven_said_at + SAY_UNPROVEN_USEC)
        lock_say_unproven_why(engine, lock);
    if (worst > lock->standing)
        lock_leave_held(engine, lock, worst);
    else if (worst == APMIG_LOCK_PERMITTED && lock->standing == APMIG_LOCK_UNPROVEN &&
             !engine_is_silent(engine, lock) &&
             engine_view_is_read(engine, lock->pub.record->scope, lock->proof_token))
        lock_set_standing(lock, APMIG_LOCK_PERMITTED);
    else if (worst == APMIG_LOCK_HELD && !meeting->met && lock->standing != APMIG_LOCK_HELD &&
             lock->op == 0 && lock_is_proven(engine, lock))
        lock_enter_held(engine, lock);
}

static void
lock_proceed(ApmigEngine *engine, Lock *lock)
{
    Meeting meeting = lock_meet_migrations(engine, lock);

    if (lock->met && !meeting.met)
        lock_begin_round(engine, lock);
    lock->met = meeting.met;
    if (lock->was_held && (lock->standing != APMIG_LOCK_DRAINING || meeting.breached)) {
        lock_proceed_held(engine, lock, &meeting);
        return;
    }
    if (lock->op || meeting.met || !engine_view_is_clear(engine, lock) ||
        (!lock->was_held && !engine_uses_are_clear(engine, lock)) || !lock_is_proven(engine, lock))
        return;
    if (lock->was_held)
        lock_enter_held(engine, lock);
    else if (engine->now >= lock->hold_again_at) {
        lock->pub.record->held_at = engine->realtime;
        lock_refresh_guests(engine, lock);
        lock_write(engine, lock, WRITE_HOLD);
    }
}

static void
fail_adoption(ApmigEngine *engine, Lock *lock, ApmigError code, const char *message)
{
    g_clear_pointer(&lock->suitor, apmig_lock_record_free);
    lock->deadline = 0;
    engine_reply_error(engine, lock->taker, code, message);
    lock->taker = 0;
}

/* Whoever adopts a lock gets it with the same proof as who takes one. */
static void
lock_settle_adoption(ApmigEngine *engine, Lock *lock)
{
    if (!lock->suitor)
        return;
    if (lock->pub.record->origin != APMIG_LOCK_BY_ITSELF) {
        g_autofree char *description = lock_describe(lock);

        fail_adoption(engine, lock, APMIG_ERROR_LOCKED, description);
    } else if (lock->pub.state == APMIG_LOCK_HELD && !lock->op &&
               engine_view_is_read(engine, lock->pub.record->scope, lock->adopt_token)) {
        lock->heir = g_steal_pointer(&lock->suitor);
        lock->deadline = 0;
        lock_write(engine, lock, WRITE_ADOPT);
    } else if (engine->now >= lock->deadline) {
        g_autofree char *wait = apmig_engine_describe_wait(engine, &lock->pub);
        g_autofree char *message =
            g_strdup_printf("the lock was not proven to be held in time, and stays apmigd's own: %s", wait);

        fail_adoption(engine, lock, APMIG_ERROR_TIMEOUT, message);
    }
}

/* Returns: (transfer full): which rule says so; "" when it is the request or the top level of the policy. */
static char *
describe_refusing_rule(const Lock *lock, const Migration *refusing)
{
    const ApmigPolicyRule *rule = refusing->settings.rule;

    if (lock->pub.record->on_busy != APMIG_ON_BUSY_UNSET || !rule || rule->on_busy == APMIG_ON_BUSY_UNSET)
        return g_strdup("");
    return g_strdup_printf(" (guest '%s' has a rule in the policy, $.rules[%u] of %s)", refusing->pub.guest,
                           rule->index, rule->origin);
}

static void
lock_refuse(ApmigEngine *engine, Lock *lock, const Migration *refusing)
{
    g_autofree char *busy = engine_describe_blockers(engine, lock);
    g_autofree char *rule = describe_refusing_rule(lock, refusing);
    gboolean may_end = !refusing->pub.postcopy && !refusing->pub.permitted && refusing->pub.scope_known;
    g_autofree char *message = g_strdup_printf("%s%s; ask again when it is over%s", busy, rule,
                                               may_end ? ", or with on-busy=abort" : "");

    lock_begin_end(engine, lock, "busy", APMIG_ERROR_BUSY, message);
}

void
engine_settle_lock(ApmigEngine *engine, Lock *lock)
{
    gboolean waits = lock->standing == APMIG_LOCK_REQUESTED || lock->standing == APMIG_LOCK_DRAINING;
    const Migration *refusing = NULL;

    lock_settle_overdue(engine, lock);
    engine_settle_release(engine, lock);
    if (lock->ending || !lock->durable) {
        if (!lock->ending && lock->deadline && engine->now >= lock->deadline)
            lock_time_out(engine, lock);
        return;
    }
    if (waits && !lock->was_held && !lock->kept)
        refusing = find_refusing_migration(engine, lock);
    if (refusing) {
        lock_refuse(engine, lock, refusing);
        return;
    }
    if (waits && !lock->busy_known && apmig_policy_may_refuse(engine->policy))
        lock->busy_known = engine_view_has_told(engine, lock);
    engine_settle_departed(engine, lock);
    lock_proceed(engine, lock);
    lock_settle_adoption(engine, lock);
    engine_settle_amendments(engine, lock);
    if (!lock->suitor && lock->standing != APMIG_LOCK_HELD && lock->deadline && engine->now >= lock->deadline)
        lock_time_out(engine, lock);
}

void
engine_publish_locks(ApmigEngine *engine)
{
    for (guint i = 0; i < engine->locks->len; i++) {
        Lock *lock = g_ptr_array_index(engine->locks, i);
        g_autoptr(GPtrArray) blockers = apmig_engine_blockers(engine, &lock->pub);
        gboolean same = blockers->len == lock->blockers->len;

        for (guint j = 0; same && j < blockers->len; j++)
            same = g_str_equal(((Migration *)g_ptr_array_index(blockers, j))->pub.id,
                               g_ptr_array_index(lock->blockers, j));
        if (same && !lock->dirty)
            continue;
        g_ptr_array_set_size(lock->blockers, 0);
        for (guint j = 0; j < blockers->len; j++)
            g_ptr_array_add(lock->blockers, g_strdup(((Migration *)g_ptr_array_index(blockers, j))->pub.id));
        lock->dirty = FALSE;
        engine_publish(engine, APMIG_ACTION_PUBLISH_LOCK, lock->pub.record->id);
    }
}

gint64
lock_next_deadline(const ApmigEngine *engine, const Lock *lock)
{
    gint64 deadline = G_MAXINT64;

    engine_earlier(&deadline, lock->pub.overdue ? lock->overdue_again : lock->overdue_at);
    if (!lock->ending)
        engine_earlier(&deadline, lock->deadline);
    if (lock->keys_op)
        engine_earlier(&deadline, lock->keys_until);
    if (lock->hold_again_at > engine->now)
        engine_earlier(&deadline, lock->hold_again_at);
    engine_earlier(&deadline, lock_next_reading_of_uses(engine, lock));
    engine_earlier(&deadline, lock_next_departure(engine, lock));
    return deadline;
}
