/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The plain values that go in and out of the engine: copying, freeing, naming. */
#include "engine/engine.h"

#include <string.h>

/* --- names --------------------------------------------------------------------------------------- */

static const char *const lock_states[] = {
    [APMIG_LOCK_REQUESTED] = "requested", [APMIG_LOCK_DRAINING] = "draining",
    [APMIG_LOCK_HELD] = "held",           [APMIG_LOCK_PERMITTED] = "permitted",
    [APMIG_LOCK_UNPROVEN] = "unproven",   [APMIG_LOCK_BREACHED] = "breached",
    [APMIG_LOCK_VERIFYING] = "verifying",
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
    copy->scope = record->scope ? apmig_scope_ref(record->scope) : NULL;
    copy->reason = g_strdup(record->reason);
    copy->change_id = g_strdup(record->change_id);
    copy->owner_name = g_strdup(record->owner_name);
    copy->guests = record->guests ? g_ptr_array_ref(record->guests) : NULL;
    copy->departed = record->departed ? g_ptr_array_ref(record->departed) : NULL;
    return copy;
}

void
apmig_lock_record_free(ApmigLockRecord *record)
{
    if (!record)
        return;
    g_free(record->id);
    apmig_scope_unref(record->scope);
    g_free(record->reason);
    g_free(record->change_id);
    g_free(record->owner_name);
    g_clear_pointer(&record->guests, g_ptr_array_unref);
    g_clear_pointer(&record->departed, g_ptr_array_unref);
    g_free(record);
}

const char *
apmig_lock_state_to_string(const ApmigLock *lock)
{
    g_return_val_if_fail((guint)lock->state < G_N_ELEMENTS(lock_states), "");
    if (lock->result)
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

/* --- the guests that a lock remembers ------------------------------------------------------------ */

static void
lock_guest_free(gpointer data)
{
    ApmigLockGuest *guest = data;

    g_free(guest->uuid);
    g_free(guest->name);
    g_free(guest);
}

GPtrArray *
apmig_lock_guests_new(void)
{
    return g_ptr_array_new_with_free_func(lock_guest_free);
}

gboolean
apmig_lock_guests_append(GPtrArray *guests, const char *uuid, const char *name)
{
    ApmigLockGuest *guest;

    if (guests->len >= APMIG_LOCK_MAX_GUESTS)
        return FALSE;
    guest = g_new(ApmigLockGuest, 1);
    guest->uuid = g_strdup(uuid);
    guest->name = g_strdup(name);
    g_ptr_array_add(guests, guest);
    return TRUE;
}

const ApmigLockGuest *
apmig_lock_guests_find(const GPtrArray *guests, const char *uuid)
{
    for (guint i = 0; guests && i < guests->len; i++) {
        const ApmigLockGuest *guest = g_ptr_array_index(guests, i);

        if (g_str_equal(guest->uuid, uuid))
            return guest;
    }
    return NULL;
}

GPtrArray *
apmig_lock_guests_copy_without(const GPtrArray *guests, const char *uuid)
{
    GPtrArray *others = apmig_lock_guests_new();

    for (guint i = 0; guests && i < guests->len; i++) {
        const ApmigLockGuest *guest = g_ptr_array_index(guests, i);

        if (!uuid || !g_str_equal(guest->uuid, uuid))
            apmig_lock_guests_append(others, guest->uuid, guest->name);
    }
    return others;
}

/* --- migrations and admissions ------------------------------------------------------------------- */

const char *
apmig_migration_phase_to_string(ApmigMigrationPhase phase)
{
    g_return_val_if_fail((guint)phase < G_N_ELEMENTS(migration_phases), "");
    return migration_phases[phase];
}

gboolean
apmig_news_is_stop(ApmigNews news)
{
    return news == APMIG_NEWS_STOPPED || news == APMIG_NEWS_STOPPED_SAVED ||
           news == APMIG_NEWS_STOPPED_LOST || news == APMIG_NEWS_STOPPED_MIGRATED;
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
    copy->scope = admission->scope ? apmig_scope_ref(admission->scope) : NULL;
    copy->devices = g_strdupv(admission->devices);
    return copy;
}

void
apmig_admission_free(ApmigAdmission *admission)
{
    if (!admission)
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

GError *
apmig_reply_get_error(const ApmigAction *reply)
{
    return reply->type == APMIG_ACTION_REPLY_ERROR
               ? g_error_new_literal(APMIG_ERROR, reply->reply.code, reply->reply.message)
               : NULL;
}

static void
clear_reply(ApmigReply *reply)
{
    g_free(reply->id);
    g_free(reply->message);
    g_clear_pointer(&reply->findings, g_ptr_array_unref);
    g_clear_pointer(&reply->warnings, g_ptr_array_unref);
    g_clear_pointer(&reply->device_map, g_hash_table_unref);
    apmig_permit_free(reply->permit);
}

static void
clear_entry(ApmigLogEntry *entry)
{
    g_free(entry->message);
    g_free(entry->lock_id);
    g_free(entry->change_id);
    g_free(entry->migration_id);
    g_free(entry->uuid);
    g_free(entry->guest);
    g_free(entry->result);
    g_clear_pointer(&entry->locks, g_ptr_array_unref);
}

static void
clear_step(ApmigAction *action)
{
    g_free(action->step.migration_id);
    g_free(action->step.uuid);
    g_free(action->step.guest);
    g_free(action->step.device);
}

static void
action_clear(ApmigAction *action)
{
    switch (action->type) {
    case APMIG_ACTION_PERSIST_LOCK:
    case APMIG_ACTION_REMOVE_LOCK:
        apmig_lock_record_free(action->lock);
        break;
    case APMIG_ACTION_PERSIST_ADMISSION:
    case APMIG_ACTION_REMOVE_ADMISSION:
        apmig_admission_free(action->admission);
        break;
    case APMIG_ACTION_PERSIST_PERMIT:
    case APMIG_ACTION_REMOVE_PERMIT:
        apmig_permit_free(action->permit);
        break;
    case APMIG_ACTION_PERSIST_DECLARED:
        g_clear_pointer(&action->declared, g_ptr_array_unref);
        break;
    case APMIG_ACTION_LIST_GUESTS:
    case APMIG_ACTION_QUERY_GUEST:
    case APMIG_ACTION_HEARTBEAT:
        g_free(action->query.uuid);
        break;
    case APMIG_ACTION_RUN_STEP:
        clear_step(action);
        break;
    case APMIG_ACTION_LOOK_AT_GUEST:
        g_free(action->look.uuid);
        g_free(action->look.guest);
        g_free(action->look.device);
        break;
    case APMIG_ACTION_READ_KEYS:
    case APMIG_ACTION_READ_USES:
        g_free(action->reading.lock_id);
        apmig_scope_unref(action->reading.scope);
        break;
    case APMIG_ACTION_STAMP_GUEST:
        g_free(action->stamp.uuid);
        g_clear_pointer(&action->stamp.locks, g_ptr_array_unref);
        break;
    case APMIG_ACTION_REPLY_TAKEN:
    case APMIG_ACTION_REPLY_RELEASED:
    case APMIG_ACTION_REPLY_AMENDED:
    case APMIG_ACTION_REPLY_VERDICT:
    case APMIG_ACTION_REPLY_PERMIT:
    case APMIG_ACTION_REPLY_ADMIT:
    case APMIG_ACTION_REPLY_DECLARED:
    case APMIG_ACTION_REPLY_ERROR:
        clear_reply(&action->reply);
        break;
    case APMIG_ACTION_PUBLISH_LOCK:
    case APMIG_ACTION_FORGET_LOCK:
    case APMIG_ACTION_PUBLISH_MIGRATION:
    case APMIG_ACTION_FORGET_MIGRATION:
    case APMIG_ACTION_PUBLISH_PERMITS:
    case APMIG_ACTION_PUBLISH_VIEW:
        g_free(action->id);
        break;
    case APMIG_ACTION_LOG:
        clear_entry(&action->entry);
        break;
    }
}

void
apmig_action_free(ApmigAction *action)
{
    if (!action)
        return;
    action_clear(action);
    g_free(action);
}
