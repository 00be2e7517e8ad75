/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a lock stands on a host, as whoever asks over ssh finds it: what the engine publishes, and its answer to the question
 * whether it is ready.
 */
#include "fleet.h"

static ApmigFleetHostState
state_of(const ApmigLock *lock)
{
    static const ApmigFleetHostState states[] = {
        [APMIG_LOCK_REQUESTED] = APMIG_FLEET_HOST_REQUESTED,
        [APMIG_LOCK_DRAINING] = APMIG_FLEET_HOST_DRAINING,
        [APMIG_LOCK_HELD] = APMIG_FLEET_HOST_HELD,
        [APMIG_LOCK_PERMITTED] = APMIG_FLEET_HOST_PERMITTED,
        [APMIG_LOCK_UNPROVEN] = APMIG_FLEET_HOST_UNPROVEN,
        [APMIG_LOCK_BREACHED] = APMIG_FLEET_HOST_BREACHED,
        [APMIG_LOCK_VERIFYING] = APMIG_FLEET_HOST_VERIFYING,
    };

    return lock->record->origin == APMIG_LOCK_RECOVERED ? APMIG_FLEET_HOST_RECOVERED : states[lock->state];
}

static void
add_clause(GStrv *clauses, const char *clause)
{
    const guint n = g_strv_length(*clauses);

    *clauses = g_renew(char *, *clauses, n + 2);
    (*clauses)[n] = g_strdup(clause);
    (*clauses)[n + 1] = NULL;
}

static void
add_permits(const Host *host, ApmigFleetLockAnswer *answer)
{
    g_autoptr(GPtrArray) permits = apmig_engine_list_permits(host->engine);

    for (guint i = 0; i < permits->len; i++) {
        const ApmigPermit *permit = g_ptr_array_index(permits, i);

        if (!permit->used_by)
            add_clause(&answer->permits, apmig_permit_guest(permit));
    }
}

static void
add_departed(const ApmigLockRecord *record, ApmigFleetLockAnswer *answer)
{
    for (guint i = 0; record->departed && i < record->departed->len; i++)
        add_clause(&answer->departed, ((const ApmigLockGuest *)g_ptr_array_index(record->departed, i))->name);
}

static ApmigFleetLockAnswer *
lock_answer_new(const Host *host, const ApmigLock *lock, const ApmigAction *verdict, const char *lock_id)
{
    ApmigFleetLockAnswer *answer = apmig_fleet_lock_answer_new(lock_id);
    const gboolean allowed = verdict->type == APMIG_ACTION_REPLY_VERDICT && verdict->reply.allowed;

    g_free(answer->local_id);
    answer->local_id = g_strdup(lock->record->id);
    answer->scope = apmig_scope_ref(lock->record->scope);
    answer->state = state_of(lock);
    answer->held_at = lock->record->held_at;
    answer->breaches = lock->record->breaches;
    add_permits(host, answer);
    add_departed(lock->record, answer);
    if (!allowed && answer->state == APMIG_FLEET_HOST_HELD && !*answer->permits && !*answer->departed)
        add_clause(&answer->blockers, verdict->reply.message);
    return answer;
}

ApmigFleetAnswer *
answer_new(const Host *host, const ApmigAction *verdict, const char *lock_id, const char *local_id)
{
    ApmigFleetAnswer *answer = apmig_fleet_answer_new(host->name, NULL);
    const ApmigLock *lock = *local_id ? apmig_engine_lookup_lock(host->engine, local_id) : NULL;

    g_free(answer->boot_id);
    answer->boot_id = g_strdup(host->boot_id);
    if (!host->hook) {
        g_free(answer->hook_problem);
        answer->hook_problem = g_strdup("its script is missing");
    }
    if (lock && !lock->result && verdict)
        g_ptr_array_add(answer->locks, lock_answer_new(host, lock, verdict, lock_id));
    return answer;
}
