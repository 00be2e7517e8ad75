/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a guest brings that comes in. */
#include "engine/private.h"

static gboolean
knows_lock(const ApmigEngine *engine, const char *id)
{
    for (guint i = 0; i < engine->ended_locks->len; i++) {
        const Lock *lock = g_ptr_array_index(engine->ended_locks, i);

        if (g_str_equal(lock->pub.record->id, id))
            return TRUE;
    }
    return engine_find_lock(engine, id) != NULL;
}

/* A guest that is restored was saved here, or elsewhere, and long ago or not: its stamp tells of its keys then. That it
 * was saved under a lock tells nothing of now. Without a stamp it comes back all the same. */
ApmigStampPolicy
engine_stamp_policy(const ApmigEngine *engine, const ApmigEvent *event)
{
    const ApmigPolicy *policy = engine->policy;
    const ApmigStamp *stamp = event->admit.arrival.stamp;
    ApmigStampPolicy answers = {
        .keys_differ = policy->keys_differ,
        .keys_unknown = policy->keys_unknown,
        .missing = policy->stamp_missing,
        .fresh_seconds = policy->stamp_fresh_seconds,
        .own_host_id = event->admit.arrival.host_id,
        .own_lock_is_known = stamp && stamp->lock && knows_lock(engine, stamp->lock->id),
    };

    if (!event->admit.restore)
        return answers;
    answers.keys_unknown = MIN(answers.keys_unknown, APMIG_STAMP_WARN);
    answers.missing = MIN(answers.missing, APMIG_STAMP_WARN);
    answers.fresh_seconds = 0;
    answers.own_host_id = NULL;
    return answers;
}

gboolean
engine_arrival_tells_of_device(const ApmigArrival *arrival)
{
    return arrival->has_device && arrival->stamp && arrival->stamp->view && !arrival->stamp->is_declared;
}

gboolean
engine_arrival_has_view(const ApmigEngine *engine, const ApmigEvent *event)
{
    const ApmigStamp *stamp = event->admit.arrival.stamp;
    const ApmigStampPolicy policy = engine_stamp_policy(engine, event);

    return stamp && stamp->view && !stamp->is_declared && apmig_stamp_counts(stamp, event->realtime, &policy);
}

/* Of the guest's metadata only a whole stamp that counts tells what a device has, and only of a guest that has not
 * several of which it may be silent. */
ApmigScope *
engine_arrival_scope(const ApmigEngine *engine, const ApmigEvent *event)
{
    const ApmigArrival *arrival = &event->admit.arrival;
    g_autoptr(ApmigScope) stamped = NULL;

    if (arrival->has_device && engine_arrival_has_view(engine, event) && arrival->stamp->keys) {
        stamped = apmig_ap_view_scope(arrival->stamp->view);
        return arrival->declared ? apmig_scope_union(stamped, arrival->declared) : g_steal_pointer(&stamped);
    }
    return event->admit.facts.scope ? apmig_scope_ref(event->admit.facts.scope) : apmig_scope_new_all();
}
