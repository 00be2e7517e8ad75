/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a migration is ended: on the source libvirt-abort and vfio-state at once and side by side; on the destination
 * vfio-state at once, and kill-incoming when that is late or was refused. A yes of any of them proves nothing: only
 * the end of the migration does, so each is tried again while it lasts.
 */
#include "engine/private.h"

#define RECORDS_MAX 32
/* vfio-state and kill-incoming are asked again soon when the device was in no state to be changed, or the step failed
 * before it began to act: the state that it can change may last for less than a second. */
#define SOON_USEC (G_USEC_PER_SEC / 2)

/* --- records ------------------------------------------------------------------------------------- */

static ApmigStepRecord *
add_record(ApmigEngine *engine, Migration *migration, ApmigStep step, ApmigStepOutcome outcome,
           const char *message)
{
    ApmigStepRecord *record = g_new0(ApmigStepRecord, 1);

    record->step = step;
    record->outcome = outcome;
    record->at = engine->realtime;
    record->message = g_strdup(message);
    g_ptr_array_add(migration->pub.steps, record);
    migration->dirty = TRUE;
    return record;
}

static void
log_record(ApmigEngine *engine, const Migration *migration, const ApmigStepRecord *record)
{
    engine_log(engine, APMIG_LOG_STEP_FINISHED, LOG_NOTICE, NULL, migration, "%s of guest %s: %s%s%s",
               apmig_step_to_string(record->step), migration->pub.guest,
               apmig_step_outcome_to_string(record->outcome), *record->message ? ": " : "", record->message);
}

/* The same outcome again is no news: the earlier record stands for it, with the later time. Returns: whether it is. */
static gboolean
merge_record(Migration *migration, ApmigStepRecord *record)
{
    for (guint i = migration->pub.steps->len; i > 0; i--) {
        ApmigStepRecord *earlier = g_ptr_array_index(migration->pub.steps, i - 1);

        if (earlier == record || earlier->step != record->step)
            continue;
        if (earlier->outcome != record->outcome || !g_str_equal(earlier->message, record->message))
            return FALSE;
        earlier->at = record->at;
        g_ptr_array_remove(migration->pub.steps, record);
        return TRUE;
    }
    return FALSE;
}

/* The oldest goes, but for the first of all, which tells how it began, and those under way, which are still held. */
static void
bound_records(Migration *migration)
{
    for (guint i = 1; migration->pub.steps->len > RECORDS_MAX && i < migration->pub.steps->len;) {
        const ApmigStepRecord *record = g_ptr_array_index(migration->pub.steps, i);

        if (record->outcome == APMIG_STEP_RUNNING)
            i++;
        else
            g_ptr_array_remove_index(migration->pub.steps, i);
    }
}

static void
finish_record(ApmigEngine *engine, Migration *migration, StepState *state, ApmigStepOutcome outcome,
              const char *message)
{
    ApmigStepRecord *record = g_steal_pointer(&state->record);

    record->outcome = outcome;
    g_free(record->message);
    record->message = g_strdup(message ? message : "");
    migration->dirty = TRUE;
    if (merge_record(migration, record))
        return;
    log_record(engine, migration, record);
    bound_records(migration);
}

/* --- answers ------------------------------------------------------------------------------------- */

static gint64
step_deadline(const Migration *migration, ApmigStep step)
{
    const ApmigPolicyStep *policy_step = apmig_guest_settings_find_step(&migration->settings, step);

    return policy_step ? policy_step->deadline_usec : SOON_USEC; /* the policy has changed meanwhile */
}

static void
step_answered(ApmigEngine *engine, Migration *migration, ApmigStep step, ApmigStepOutcome outcome,
              const char *message)
{
    StepState *state = &migration->steps[step];
    gboolean soon = outcome == APMIG_STEP_NOTHING_TO_DO ||
                    (outcome == APMIG_STEP_FAILED && step != APMIG_STEP_LIBVIRT_ABORT);

    state->op = 0;
    state->failed = outcome == APMIG_STEP_FAILED;
    state->again_at = soon ? engine->now + SOON_USEC : state->begun_at + step_deadline(migration, step);
    if (state->record) /* else it was late, and is recorded so */
        finish_record(engine, migration, state, outcome, message);
    if (state->outdated) {
        state->outdated = state->failed = FALSE;
        state->again_at = engine->now;
        return;
    }
    /* A fence on the destination stays: there is nothing to add to it. */
    state->over |=
        outcome == APMIG_STEP_REQUESTED && step == APMIG_STEP_VFIO_STATE && !migration->pub.outgoing;
    /* kill-incoming says so, too, while the stream has not begun, of which vfio-state says that there is nothing to do:
     * only together do they tell that it is too late. */
    if (outcome != APMIG_STEP_NOT_ABORTABLE ||
        (step == APMIG_STEP_KILL_INCOMING && !migration->steps[APMIG_STEP_VFIO_STATE].over))
        return;
    state->over = TRUE;
    migration->not_abortable |= step != APMIG_STEP_VFIO_STATE;
}

void
migration_begin_steps_anew(Migration *migration)
{
    migration->not_abortable = FALSE;
    for (guint step = 0; step < APMIG_N_STEPS; step++) {
        StepState *state = &migration->steps[step];

        state->over = state->failed = FALSE;
        state->outdated = state->op != 0;
        state->first_at = state->again_at = 0;
    }
}

void
engine_step_finished(ApmigEngine *engine, guint64 op, ApmigStepOutcome outcome, const char *message)
{
    for (guint i = 0; op && i < engine->migrations->len; i++) {
        Migration *migration = g_ptr_array_index(engine->migrations, i);

        for (guint step = 0; step < APMIG_N_STEPS; step++) {
            if (migration->steps[step].op != op)
                continue;
            step_answered(engine, migration, (ApmigStep)step, outcome, message);
            engine_hint(engine, migration->pub.uuid, NULL);
            return;
        }
    }
}

void
engine_steps_lost(ApmigEngine *engine)
{
    for (guint i = 0; i < engine->migrations->len; i++) {
        Migration *migration = g_ptr_array_index(engine->migrations, i);
        StepState *state = &migration->steps[APMIG_STEP_LIBVIRT_ABORT];

        if (!state->op)
            continue;
        step_answered(engine, migration, APMIG_STEP_LIBVIRT_ABORT, APMIG_STEP_FAILED,
                      "the connection to libvirt was lost");
        state->again_at = engine->now;
    }
}

/* --- what is due --------------------------------------------------------------------------------- */

static gboolean
is_known_to_be_affected(const ApmigEngine *engine, const Migration *migration)
{
    const Guest *guest = g_hash_table_lookup(engine->guests, migration->pub.uuid);

    /* The XML of a guest that comes in is known from the hook alone. Of one that leaves the last that was read counts
     * while libvirt cannot be asked; once it can, it is asked first. */
    if (migration->pub.outgoing && engine->connected)
        return guest && guest->affected == APMIG_AFFECTED_YES;
    return migration->pub.scope_known;
}

/* Whether the guest's QEMU is thought to be there. */
static gboolean
is_in_progress(const ApmigEngine *engine, const Migration *migration)
{
    const Guest *guest = g_hash_table_lookup(engine->guests, migration->pub.uuid);

    if (migration->pub.outgoing)
        return !migration->gone_since && !migration->stopped_known;
    return migration->incoming_seen && migration->shown && !(guest && guest->stopped);
}

static gboolean
is_to_end(const ApmigEngine *engine, const Migration *migration)
{
    if (!is_known_to_be_affected(engine, migration) || !is_in_progress(engine, migration))
        return FALSE;
    for (guint i = 0; i < engine->locks->len; i++)
        if (lock_wants_end(engine, g_ptr_array_index(engine->locks, i), migration))
            return TRUE;
    return FALSE;
}

/* Returns: the boot time at which @step is due; G_MAXINT64: never, or not yet known. */
static gint64
step_due_at(const ApmigEngine *engine, const Migration *migration, ApmigStep step)
{
    const StepState *state = &migration->steps[step];
    const StepState *fence = &migration->steps[APMIG_STEP_VFIO_STATE];
    gboolean has_device = migration->pub.devices[0] != NULL;

    if (state->op || state->over)
        return G_MAXINT64;
    switch (step) {
    case APMIG_STEP_LIBVIRT_ABORT:
        return migration->pub.outgoing && engine->connected ? state->again_at : G_MAXINT64;
    case APMIG_STEP_VFIO_STATE:
        return has_device ? state->again_at : G_MAXINT64;
    case APMIG_STEP_KILL_INCOMING:
        if (migration->pub.outgoing || !has_device || !fence->first_at)
            return G_MAXINT64;
        if (fence->failed)
            return state->again_at;
        return MAX(state->again_at, fence->first_at + step_deadline(migration, APMIG_STEP_VFIO_STATE));
    }
    return G_MAXINT64;
}

void
engine_foresee_steps(const ApmigEngine *engine, const Migration *migration, ApmigRehearsed *finding)
{
    gboolean has_device = migration->pub.devices[0] != NULL;

    if (migration->pub.permitted)
        finding->why = g_strdup("it is permitted");
    else if (!is_known_to_be_affected(engine, migration))
        finding->why = g_strdup("its queues are not known, so it is left alone");
    else if (migration->pub.postcopy)
        finding->why = g_strdup("it is in post-copy: the guest already runs at its destination");
    if (finding->why)
        return;
    for (guint i = 0; i < migration->settings.n_steps; i++) {
        ApmigStep step = migration->settings.steps[i].step;
        gboolean may_do = step == APMIG_STEP_LIBVIRT_ABORT ? migration->pub.outgoing
                          : step == APMIG_STEP_VFIO_STATE  ? has_device
                                                           : has_device && !migration->pub.outgoing;

        if (may_do)
            finding->steps[finding->n_steps++] = step;
    }
    finding->why = finding->n_steps > 0 ? g_strdup("")
                   : migration->pub.outgoing
                       ? g_strdup("no step of the policy ends it")
                       : g_strdup_printf("it can only be ended on its source host, with: "
                                         "virsh domjobabort %s",
                                         migration->pub.uuid);
}

static void
start_step(ApmigEngine *engine, Migration *migration, ApmigStep step)
{
    StepState *state = &migration->steps[step];
    ApmigAction *action = engine_act(engine, APMIG_ACTION_RUN_STEP);

    action->op = state->op = ++engine->last_op;
    action->step.kind = step;
    action->step.migration_id = g_strdup(migration->pub.id);
    action->step.uuid = g_strdup(migration->pub.uuid);
    action->step.guest = g_strdup(migration->pub.guest);
    action->step.device = g_strdup(migration->pub.devices[0]);
    action->step.outgoing = migration->pub.outgoing;
    state->begun_at = engine->now;
    if (!state->first_at) {
        state->first_at = engine->now;
        engine_log(engine, APMIG_LOG_STEP_STARTED, LOG_NOTICE, NULL, migration,
                   "ending migration %s of guest %s: %s", apmig_migration_direction(&migration->pub),
                   migration->pub.guest, apmig_step_to_string(step));
    }
    state->record = add_record(engine, migration, step, APMIG_STEP_RUNNING, "");
}

/* Its answer may still come; until then it is not begun anew. */
static void
note_late_steps(ApmigEngine *engine, Migration *migration)
{
    for (guint step = 0; step < APMIG_N_STEPS; step++) {
        StepState *state = &migration->steps[step];

        if (state->record && engine->now >= state->begun_at + step_deadline(migration, (ApmigStep)step))
            finish_record(engine, migration, state, APMIG_STEP_LATE, "");
    }
}

void
engine_settle_steps(ApmigEngine *engine, Migration *migration)
{
    note_late_steps(engine, migration);
    if (migration->not_abortable || !is_to_end(engine, migration))
        return;
    if (migration->pub.postcopy) {
        migration->not_abortable = TRUE;
        log_record(engine, migration,
                   add_record(engine, migration, migration->settings.steps[0].step, APMIG_STEP_NOT_ABORTABLE,
                              "post-copy: the guest already runs at its destination"));
        return;
    }
    for (guint i = 0; i < migration->settings.n_steps; i++) {
        ApmigStep step = migration->settings.steps[i].step;

        if (engine->now >= step_due_at(engine, migration, step))
            start_step(engine, migration, step);
    }
}

gint64
migration_next_step(const ApmigEngine *engine, const Migration *migration)
{
    gint64 next = G_MAXINT64;

    for (guint step = 0; step < APMIG_N_STEPS; step++) {
        const StepState *state = &migration->steps[step];

        if (state->record)
            engine_earlier(&next, state->begun_at + step_deadline(migration, (ApmigStep)step));
    }
    if (migration->not_abortable || !is_to_end(engine, migration))
        return next;
    for (guint i = 0; i < migration->settings.n_steps; i++)
        engine_earlier(&next, MAX(step_due_at(engine, migration, migration->settings.steps[i].step), 1));
    return next;
}
