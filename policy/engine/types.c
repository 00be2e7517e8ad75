/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The plain values that go in and out of the engine: copying, freeing, naming. */
#include "engine/engine.h"

#include <string.h>

/* --- names --------------------------------------------------------------------------------------- */

static const char *const lock_states[] = {
    [APMIG_LOCK_REQUESTED] = "requested", [APMIG_LOCK_DRAINING] = "draining",
    [APMIG_LOCK_HELD] = "held",           [APMIG_LOCK_PERMITTED] = "permitted",
    [APMIG_LOCK_BREACHED] = "breached",   [APMIG_LOCK_VERIFYING] = "verifying",
};

static const char *const lock_origins[] = {
    [APMIG_LOCK_BY_REQUEST] = "request",
    [APMIG_LOCK_BY_ITSELF] = "itself",
    [APMIG_LOCK_RECOVERED] = "recovered",
};

static const char *const migration_phases[] = {
    [APMIG_MIGRATION_ADMITTED] = "admitted",
    [APMIG_MIGRATION_INCOMING] = "incoming",
    [APMIG_MIGRATION_OUTGOING] = "outgoing",
    [APMIG_MIGRATION_ENDED] = "ended",
};

static const char *const step_outcomes[] = {
    [APMIG_STEP_RUNNING] = "running",
    [APMIG_STEP_REQUESTED] = "requested",
    [APMIG_STEP_NO_JOB] = "no-job",
    [APMIG_STEP_NOTHING_TO_DO] = "nothing-to-do",
    [APMIG_STEP_NOT_ABORTABLE] = "not-abortable",
    [APMIG_STEP_FAILED] = "failed",
    [APMIG_STEP_LATE] = "late",
    [APMIG_STEP_UNAVAILABLE] = "unavailable",
};

static const char *const treatments[] = {
    [APMIG_WOULD_END] = "end",
    [APMIG_WOULD_WAIT] = "wait",
    [APMIG_WOULD_REFUSE] = "refuse",
};

/* --- locks --------------------------------------------------------------------------------------- */

ApmigLockRecord *
apmig_lock_record_copy(const ApmigLockRecord *record)
{
    ApmigLockRecord *copy = g_new(ApmigLockRecord, 1);

    *copy = *record;
    copy->id = g_strdup(record->id);
    copy->scope = record->scope != NULL ? apmig_scope_ref(record->scope) : NULL;
    copy->reason = g_strdup(record->reason);
    copy->change_id = g_strdup(record->change_id);
    copy->owner_name = g_strdup(record->owner_name);
    return copy;
}

void
apmig_lock_record_free(ApmigLockRecord *record)
{
    if (record == NULL)
        return;
    g_free(record->id);
    apmig_scope_unref(record->scope);
    g_free(record->reason);
    g_free(record->change_id);
    g_free(record->owner_name);
    g_free(record);
}

const char *
apmig_lock_state_to_string(const ApmigLock *lock)
{
    g_return_val_if_fail((guint)lock->state < G_N_ELEMENTS(lock_states), "");
    if (lock->result != NULL)
        return "ended";
    if (lock->record->origin == APMIG_LOCK_RECOVERED)
        return "recovered";
    return lock_states[lock->state];
}

const char *
apmig_lock_origin_to_string(ApmigLockOrigin origin)
{
    g_return_val_if_fail((guint)origin < G_N_ELEMENTS(lock_origins), "");
    return lock_origins[origin];
}

gboolean
apmig_lock_origin_from_string(const char *text, ApmigLockOrigin *ret_origin)
{
    for (guint i = 0; i < G_N_ELEMENTS(lock_origins); i++) {
        if (g_str_equal(text, lock_origins[i])) {
            *ret_origin = (ApmigLockOrigin)i;
            return TRUE;
        }
    }
    return FALSE;
}

/* --- migrations and admissions ------------------------------------------------------------------- */

const char *
apmig_migration_phase_to_string(ApmigMigrationPhase phase)
{
    g_return_val_if_fail((guint)phase < G_N_ELEMENTS(migration_phases), "");
    return migration_phases[phase];
}

const char *
apmig_migration_direction(const ApmigMigration *migration)
{
    return migration->outgoing ? "out" : "in";
}

const char *
apmig_step_outcome_to_string(ApmigStepOutcome outcome)
{
    g_return_val_if_fail((guint)outcome < G_N_ELEMENTS(step_outcomes), "");
    return step_outcomes[outcome];
}

ApmigAdmission *
apmig_admission_copy(const ApmigAdmission *admission)
{
    ApmigAdmission *copy = g_new(ApmigAdmission, 1);

    *copy = *admission;
    copy->uuid = g_strdup(admission->uuid);
    copy->name = g_strdup(admission->name);
    copy->scope = admission->scope != NULL ? apmig_scope_ref(admission->scope) : NULL;
    copy->devices = g_strdupv(admission->devices);
    return copy;
}

void
apmig_admission_free(ApmigAdmission *admission)
{
    if (admission == NULL)
        return;
    g_free(admission->uuid);
    g_free(admission->name);
    apmig_scope_unref(admission->scope);
    g_strfreev(admission->devices);
    g_free(admission);
}

/* --- actions ------------------------------------------------------------------------------------- */

void
apmig_rehearsed_free(ApmigRehearsed *finding)
{
    g_free(finding->migration_id);
    g_free(finding->uuid);
    g_free(finding->guest);
    g_free(finding->why);
    g_free(finding);
}

const char *
apmig_treatment_to_string(ApmigTreatment treatment)
{
    g_return_val_if_fail((guint)treatment < G_N_ELEMENTS(treatments), "");
    return treatments[treatment];
}

void
apmig_step_record_free(ApmigStepRecord *record)
{
    g_free(record->message);
    g_free(record);
}

void
apmig_action_free(ApmigAction *action)
{
    if (action == NULL)
        return;
    g_free(action->id);
    apmig_scope_unref(action->scope);
    g_free(action->change_id);
    g_free(action->migration_id);
    g_free(action->uuid);
    g_free(action->guest);
    g_free(action->device);
    g_free(action->message);
    g_free(action->result);
    apmig_lock_record_free(action->record);
    apmig_admission_free(action->admission);
    apmig_permit_free(action->permit);
    g_clear_pointer(&action->locks, g_ptr_array_unref);
    g_clear_pointer(&action->device_map, g_hash_table_unref);
    g_clear_pointer(&action->findings, g_ptr_array_unref);
    g_free(action);
}
