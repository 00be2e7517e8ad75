/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a migration is ended: on the source libvirt-abort and vfio-state at once and side by side; on the destination the
 * helper's steps in the policy's order, each when the one before is late, has failed, or does nothing with the device's
 * driver. A yes of any of them proves nothing: only the end of the migration does, so each is tried again while it lasts.
 *
 * A process is killed only if it was looked at before a question was put of which the answer was that its guest comes in:
 * libvirt starts the QEMU of a restore in the same way, and that has no source to go on at.
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
    if (outcome == APMIG_STEP_RUNNING) { /* its record goes on */
        state->again_at = engine->now;
        state->outdated = FALSE;
        return;
    }
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
    if (outcome != APMIG_STEP_NOT_ABORTABLE)
        return;
    state->over = TRUE;
    migration->not_abortable |= step != APMIG_STEP_VFIO_STATE;
}

static void
note_qemu(ApmigEngine *engine, Migration *migration, guint64 qemu, gboolean state_is_vain)
{
    if (qemu != migration->qemu) {
        migration->qemu = qemu;
        migration->qemu_token = engine->last_token;
        migration->qemu_comes_in = FALSE;
    }
    migration->state_is_vain = qemu && state_is_vain;
}

void
migration_begin_steps_anew(Migration *migration)
{
    migration->not_abortable = migration->qemu_comes_in = migration->state_is_vain = FALSE;
    migration->qemu = 0;
    for (guint step = 0; step < APMIG_N_STEPS; step++) {
        StepState *state = &migration->steps[step];

        state->over = state->failed = FALSE;
        state->outdated = state->op != 0;
        state->first_at = state->again_at = 0;
    }
}

/* What was under way when the migration ended is told how it came out. Returns: the migration whose
 * step @op is, or %NULL; *@ret_step is which. */
static Migration *
find_asked(const ApmigEngine *engine, guint64 op, ApmigStep *ret_step)
{
    const GPtrArray *lists[] = {engine->migrations, engine->ended_migrations};

    for (guint list = 0; op && list < G_N_ELEMENTS(lists); list++)
        for (guint i = 0; i < lists[list]->len; i++) {
            Migration *migration = g_ptr_array_index(lists[list], i);

            for (guint step = 0; step < APMIG_N_STEPS; step++)
                if (migration->steps[step].op == op) {
                    *ret_step = (ApmigStep)step;
                    return migration;
                }
        }
    return NULL;
}

void
engine_step_finished(ApmigEngine *engine, const ApmigEvent *event)
{
    ApmigStep step;
    Migration *migration = find_asked(engine, event->step.op, &step);

    if (!migration)
        return;
    if (step != APMIG_STEP_LIBVIRT_ABORT && !migration->steps[step].outdated)
        note_qemu(engine, migration, event->step.qemu, event->step.state_is_vain);
    step_answered(engine, migration, step, event->step.outcome, event->step.message);
    if (migration->pub.phase != APMIG_MIGRATION_ENDED)
        engine_look_again(engine, migration->pub.uuid);
}

void
engine_steps_changed(ApmigEngine *engine, const char *trouble)
{
    g_free(engine->step_trouble);
    engine->step_trouble = g_strdup(trouble);
}

static void
lose_abort(ApmigEngine *engine, Migration *migration)
{
    StepState *state = &migration->steps[APMIG_STEP_LIBVIRT_ABORT];

    if (!state->op)
        return;
    step_answered(engine, migration, APMIG_STEP_LIBVIRT_ABORT, APMIG_STEP_FAILED,
                  "the connection to libvirt was lost");
    state->again_at = engine->now;
}

void
engine_steps_lost(ApmigEngine *engine)
{
    for (guint i = 0; i < engine->migrations->len; i++)
        lose_abort(engine, g_ptr_array_index(engine->migrations, i));
    for (guint i = 0; i < engine->ended_migrations->len; i++)
        lose_abort(engine, g_ptr_array_index(engine->ended_migrations, i));
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

/* In this view: in one that has just begun its migration may be over, whatever is told of the guest before its job. */
static gboolean
is_told_to_leave(const Migration *migration, const Guest *guest)
{
    return guest->job == APMIG_JOB_OUTGOING || (migration->switches && guest->suspended);
}

/* Whether the guest's QEMU is thought to be there. */
static gboolean
is_in_progress(const ApmigEngine *engine, const Migration *migration)
{
    const Guest *guest = g_hash_table_lookup(engine->guests, migration->pub.uuid);

    if (migration->pub.outgoing)
        return !migration->gone_since && !migration->stopped_known &&
               (!engine->connected || (guest && is_told_to_leave(migration, guest)));
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

/* Returns: the boot time at which the steps before @step in the policy have had their time. */
static gint64
step_turn_at(const Migration *migration, ApmigStep step)
{
    const ApmigGuestSettings *settings = &migration->settings;
    gint64 at = 0;

    for (guint i = 0; i < settings->n_steps && settings->steps[i].step != step; i++) {
        ApmigStep earlier = settings->steps[i].step;
        const StepState *state = &migration->steps[earlier];

        if (earlier == APMIG_STEP_LIBVIRT_ABORT || state->failed ||
            (earlier == APMIG_STEP_VFIO_STATE && migration->state_is_vain))
            continue;
        if (!state->first_at)
            return G_MAXINT64;
        at = MAX(at, state->first_at + step_deadline(migration, earlier));
    }
    return at;
}

/* Returns: the boot time at which @step, of the helper, is due. */
static gint64
helper_step_due_at(const Migration *migration, ApmigStep step)
{
    const StepState *state = &migration->steps[step];

    if (!migration->pub.devices[0] || (step == APMIG_STEP_VFIO_STATE && migration->state_is_vain))
        return G_MAXINT64;
    if (migration->pub.outgoing)
        return step == APMIG_STEP_VFIO_STATE ? state->again_at : G_MAXINT64;
    if (step == APMIG_STEP_KILL_INCOMING && migration->qemu && !migration->qemu_comes_in)
        return G_MAXINT64; /* an answer will tell */
    return MAX(state->again_at, step_turn_at(migration, step));
}

/* Returns: the boot time at which @step is due; G_MAXINT64: never, or not yet known. */
static gint64
step_due_at(const ApmigEngine *engine, const Migration *migration, ApmigStep step)
{
    const StepState *state = &migration->steps[step];

    if (state->op || state->over)
        return G_MAXINT64;
    if (step != APMIG_STEP_LIBVIRT_ABORT)
        return helper_step_due_at(migration, step);
    return migration->pub.outgoing && engine->connected ? state->again_at : G_MAXINT64;
}

/* Once so, it stays so: a process that takes in a guest of another host is never a restore's. */
static void
note_that_it_comes_in(const ApmigEngine *engine, Migration *migration)
{
    const Guest *guest = g_hash_table_lookup(engine->guests, migration->pub.uuid);

    if (!migration->pub.outgoing && migration->qemu && guest && guest->job == APMIG_JOB_INCOMING &&
        guest->answer_token > migration->qemu_token)
        migration->qemu_comes_in = TRUE;
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
    action->step.qemu = migration->qemu;
    state->begun_at = engine->now;
    if (!state->first_at) {
        state->first_at = engine->now;
        engine_log(engine, APMIG_LOG_STEP_STARTED, LOG_NOTICE, NULL, migration,
                   "ending migration %s of guest %s: %s", apmig_migration_direction(&migration->pub),
                   migration->pub.guest, apmig_step_to_string(step));
    }
    if (!state->record)
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
    note_that_it_comes_in(engine, migration);
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
