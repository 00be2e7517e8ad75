/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Locks that last longer than announced, or than the policy expects of those that announced nothing. They are told of,
 * and stay: only a release ends a lock.
 */
#include "engine/private.h"

void
lock_expect_end(const ApmigEngine *engine, Lock *lock, gint64 from)
{
    gint64 announced = lock->pub.record->expected_duration_usec;
    gint64 duration = announced ? announced : engine->policy->overdue_usec;

    lock->overdue_from = from;
    lock->overdue_at = duration ? MAX(from + duration, 1) : 0;
}

/* By the new policy a lock may not be overdue any more. */
void
engine_locks_on_policy_changed(ApmigEngine *engine)
{
    for (guint i = 0; i < engine->locks->len; i++) {
        Lock *lock = g_ptr_array_index(engine->locks, i);
        gint64 again = engine->policy->overdue_again_usec;

        lock_expect_end(engine, lock, lock->overdue_from);
        lock->overdue_again = lock->pub.overdue && again ? engine->now + again : 0;
        if (!lock->pub.overdue || (lock->overdue_at && engine->now >= lock->overdue_at))
            continue;
        lock->pub.overdue = FALSE;
        lock->dirty = TRUE;
    }
}

void
lock_settle_overdue(ApmigEngine *engine, Lock *lock)
{
    gint64 again = engine->policy->overdue_again_usec;
    gint64 due_at = lock->pub.overdue ? lock->overdue_again : lock->overdue_at;

    if (!due_at || engine->now < due_at)
        return;
    lock->dirty |= !lock->pub.overdue;
    lock->pub.overdue = TRUE;
    lock->overdue_again = again ? engine->now + again : 0;
    engine_log(engine, APMIG_LOG_LOCK_OVERDUE, LOG_WARNING, lock, NULL,
               "lock %s is older than %s; it stays until it is released with: apmigctl unlock %s",
               lock->pub.record->id,
               lock->pub.record->expected_duration_usec ? "announced" : "the policy's overdue-usec",
               lock->pub.record->id);
}
