/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rules for what is done to guests: which step may be run when, on whom, and that it is.
 */
#include "simulation.h"

#define PATIENCE (1 * SECOND) /* beyond every interval and deadline, for events that come late */

Effort *
steps_effort(Sim *sim, const char *migration_id)
{
    Effort *effort = g_hash_table_lookup(sim->efforts, migration_id);

    if (!effort) {
        effort = g_new0(Effort, 1);
        g_hash_table_insert(sim->efforts, g_strdup(migration_id), effort);
    }
    return effort;
}

static void
begin_anew(Effort *effort)
{
    for (guint step = 0; step < APMIG_N_STEPS; step++) {
        effort->over[step] = FALSE;
        effort->outdated[step] = effort->op[step] != 0;
    }
}

gboolean
steps_begin_anew(Sim *sim, const Guest *guest)
{
    g_autoptr(GPtrArray) migrations = apmig_engine_list_migrations(sim->engine);
    gboolean found = FALSE;

    for (guint i = 0; i < migrations->len; i++) {
        const ApmigMigration *migration = g_ptr_array_index(migrations, i);

        if (migration->outgoing || !g_str_equal(migration->uuid, guest->uuid))
            continue;
        begin_anew(steps_effort(sim, migration->id));
        found = TRUE;
    }
    return found;
}

/* --- answers --------------------------------------------------------------------------------------- */

static void
note_answer(Sim *sim, Effort *effort, ApmigStep step, ApmigStepOutcome outcome)
{
    effort->op[step] = 0;
    if (outcome == APMIG_STEP_RUNNING) { /* a look */
        effort->outdated[step] = FALSE;
        return;
    }
    if (effort->first_at[step] && outcome == APMIG_STEP_REQUESTED && sim->now > effort->late_at[step])
        sim_cover(sim, COVER_STEP_LATE);
    if (step == APMIG_STEP_VFIO_STATE)
        effort->failed = outcome == APMIG_STEP_FAILED;
    if (effort->outdated[step] || outcome != APMIG_STEP_NOT_ABORTABLE) {
        effort->outdated[step] = FALSE;
        return;
    }
    effort->over[step] = TRUE;
    for (guint i = 0; step != APMIG_STEP_VFIO_STATE && i < APMIG_N_STEPS; i++)
        effort->over[i] = TRUE;
}

void
check_step_answer(Sim *sim, guint64 op, ApmigStepOutcome outcome)
{
    GHashTableIter iter;
    Effort *effort;

    g_hash_table_iter_init(&iter, sim->efforts);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&effort))
        for (guint step = 0; step < APMIG_N_STEPS; step++)
            if (effort->op[step] == op)
                note_answer(sim, effort, (ApmigStep)step, outcome);
}

void
check_steps_lost(Sim *sim)
{
    GHashTableIter iter;
    Effort *effort;

    g_hash_table_iter_init(&iter, sim->efforts);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&effort))
        effort->op[APMIG_STEP_LIBVIRT_ABORT] = 0;
}

/* --- one step -------------------------------------------------------------------------------------- */

/* What the engine can know: of this view; while there is none, of the one before. */
static const Told *
last_told(const Sim *sim, const Guest *guest)
{
    return sim->connected || guest->told.asked_at ? &guest->told : &guest->before;
}

/* An incoming one was seen in this view, or in one before and there is no news of it yet. */
static const Told *
last_told_incoming(const Guest *guest)
{
    return guest->told.asked_at ? &guest->told : &guest->before;
}

static gboolean
is_under(Sim *sim, const Lock *lock)
{
    const ApmigLock *state = apmig_engine_lookup_lock(sim->engine, lock->id);

    if (!lock->living || !lock->durable_at)
        return FALSE;
    /* One that the same event ends was a reason still. */
    return state && !state->result && state->state != APMIG_LOCK_REQUESTED &&
           (!lock->removing || state->state != APMIG_LOCK_VERIFYING || lock->state != APMIG_LOCK_VERIFYING);
}

/* Whether what the engine means by an incoming one can be told from the truth. It is over perhaps; and what the hook said last of a guest
 * with an earlier admission, a daemon that has died since need not know: the helper then finds another device. */
static gboolean
is_here(const Sim *sim, const Guest *guest)
{
    const Migration *migration = guest->migration;

    if (guest->in_mixed && guest->in_incarnation != sim->incarnation)
        return FALSE;
    return migration && !migration->outgoing && migration->began_at;
}

/* Rules of a run are for names and UUIDs alone, so what is known of queues does not matter. */
static ApmigGuestSettings
settings_of(const Sim *sim, const Guest *guest)
{
    return apmig_policy_for_guest(sim->policy, guest->uuid, guest->name, NULL);
}

/* Whether @lock is a reason to end the migration of @guest, which may be over already. */
static gboolean
is_reason(Sim *sim, const Lock *lock, const Guest *guest, gboolean outgoing)
{
    ApmigOnBusy on_busy =
        lock->on_busy != APMIG_ON_BUSY_UNSET ? lock->on_busy : settings_of(sim, guest).on_busy;
    const Migration *migration = guest->migration;
    guint mask = outgoing              ? last_told(sim, guest)->mask
                 : is_here(sim, guest) ? migration->taken_mask
                                       : guest->in_mask;

    if (!is_under(sim, lock) || !(lock->mask & mask))
        return FALSE;
    /* One whose proof is on disk is held, though what has begun to overlap meanwhile kept it from being said. */
    if (on_busy == APMIG_ON_BUSY_ABORT || lock->was_held || lock->held_at ||
        lock->origin == APMIG_LOCK_RECOVERED)
        return TRUE;
    return outgoing && (!migration || migration->began_at >= lock->asked_at);
}

static void
check_outgoing(Sim *sim, const Guest *guest)
{
    const Told *told = last_told(sim, guest);

    if (!told->facts || told->affected != APMIG_AFFECTED_YES)
        sim_violation(sim, "I5", "a step is run on %s, which is not known to be affected", guest->name);
    else if (told->job != APMIG_JOB_OUTGOING && !told->saving_at)
        sim_violation(sim, "I5", "a step is run on %s, which was not seen migrating out", guest->name);
    else if (told->postcopy)
        sim_violation(sim, "I7", "a step is run on %s in post-copy", guest->name);
}

/* What comes in is known from the hook alone. */
static void
check_incoming(Sim *sim, const Guest *guest, const ApmigAction *action)
{
    const Migration *migration = guest->migration;
    const Told *told = last_told_incoming(guest);

    /* An answer that it is gone may be older than a list in which it stands. */
    if (told->job != APMIG_JOB_INCOMING && told->job != APMIG_JOB_GONE)
        sim_violation(sim, "I5", "a step is run on %s, which was not seen coming in", guest->name);
    else if (!guest->in_mask)
        sim_violation(sim, "I5", "a step is run on %s, of which the hook said nothing", guest->name);
    else if (action->step.kind == APMIG_STEP_LIBVIRT_ABORT)
        sim_violation(sim, "I5", "the job of %s, which comes in, is aborted", guest->name);
    if (!is_here(sim, guest))
        return;
    if ((migration->hookless && !migration->as_let_in) || guest->kind != APMIG_AFFECTED_YES)
        sim_violation(sim, "I5", "a step is run on %s, which is not known to be affected", guest->name);
    else if (g_strcmp0(action->step.device, guest->device.uuid) != 0)
        sim_violation(sim, "I5", "a step is run on %s with the device of an earlier life", guest->name);
}

/* Where the fence comes first it has to have failed, or to be late; unless it does nothing on the driver. */
static void
check_kill(Sim *sim, const Effort *effort, const ApmigAction *action, const Guest *guest)
{
    const ApmigGuestSettings settings = settings_of(sim, guest);
    gint64 first_at = effort->first_at[APMIG_STEP_VFIO_STATE];

    if (action->step.qemu && last_told_incoming(guest)->asked_at < effort->found_at)
        sim_violation(sim, "I7", "%s is to be killed, and libvirt was not asked since it was found",
                      guest->name);
    for (guint i = 0; i < settings.n_steps && settings.steps[i].step != APMIG_STEP_KILL_INCOMING; i++) {
        if (settings.steps[i].step != APMIG_STEP_VFIO_STATE || effort->failed ||
            (effort->found && effort->vain))
            continue;
        if (!first_at)
            sim_violation(sim, "I7", "%s is to be killed, and was never fenced", guest->name);
        else if (sim->now < first_at + settings.steps[i].deadline_usec)
            sim_violation(sim, "I7", "%s is to be killed before its fence is late", guest->name);
    }
}

static void
check_order(Sim *sim, const Effort *effort, const ApmigAction *action, const Guest *guest)
{
    if (effort->op[action->step.kind])
        sim_violation(sim, "I7", "%s is run on %s while another one is",
                      apmig_step_to_string(action->step.kind), guest->name);
    if (effort->over[action->step.kind])
        sim_violation(sim, "I7", "%s is run on %s, which is known not to be abortable",
                      apmig_step_to_string(action->step.kind), guest->name);
    if (action->step.kind != APMIG_STEP_LIBVIRT_ABORT && !(action->step.device && *action->step.device))
        sim_violation(sim, "I5", "%s is run on %s, which has no device",
                      apmig_step_to_string(action->step.kind), guest->name);
    if (action->step.kind != APMIG_STEP_KILL_INCOMING)
        return;
    if (action->step.outgoing)
        sim_violation(sim, "I7", "%s is to be killed at its source", guest->name);
    else
        check_kill(sim, effort, action, guest);
}

static void
note_step(Sim *sim, Effort *effort, const ApmigAction *action, Guest *guest)
{
    const ApmigGuestSettings settings = settings_of(sim, guest);
    const ApmigPolicyStep *step = apmig_guest_settings_find_step(&settings, action->step.kind);

    if (!step)
        sim_violation(sim, "I5", "a step is run on %s that the policy does without", guest->name);
    else
        effort->late_at[action->step.kind] = sim->now + step->deadline_usec;
    if (settings.rule)
        sim_cover(sim, COVER_STEP_BY_RULE);
    sim_cover(sim, COVER_STEP);
    if (!sim->connected)
        sim_cover(sim, COVER_STEP_BLIND);
    if (guest->migration && !guest->migration->outgoing == !action->step.outgoing) {
        guest->migration->steps++;
        guest->migration->step_incarnation = sim->incarnation;
    }
    effort->op[action->step.kind] = action->op;
    if (!effort->first_at[action->step.kind])
        effort->first_at[action->step.kind] = sim->now;
    if (effort->op[APMIG_STEP_LIBVIRT_ABORT] && effort->op[APMIG_STEP_VFIO_STATE])
        sim_cover(sim, COVER_SIDE_BY_SIDE);
}

void
check_step(Sim *sim, const ApmigAction *action)
{
    Guest *guest = guest_by_uuid(sim, action->step.uuid);
    const ApmigMigration *migration = apmig_engine_lookup_migration(sim->engine, action->step.migration_id);
    Effort *effort = steps_effort(sim, action->step.migration_id);
    gboolean reason = FALSE;

    if (guest_uses_permit(sim, guest, action->step.outgoing))
        sim_violation(sim, "I5", "a step is run on %s, whose migration is permitted", guest->name);
    if (!migration || migration->phase == APMIG_MIGRATION_ENDED ||
        !migration->outgoing != !action->step.outgoing)
        sim_violation(sim, "I5", "a step is run on %s for a migration that is none", guest->name);
    if (action->step.kind == APMIG_STEP_LIBVIRT_ABORT && !sim->connected)
        sim_violation(sim, "I5", "the job of %s is aborted without a connection", guest->name);
    if (action->step.outgoing)
        check_outgoing(sim, guest);
    else
        check_incoming(sim, guest, action);
    for (guint i = 0; i < sim->locks->len && !reason; i++)
        reason = is_reason(sim, g_ptr_array_index(sim->locks, i), guest, action->step.outgoing);
    if (!reason)
        sim_violation(sim, "I5", "a step is run on %s, and no lock is a reason to", guest->name);
    check_order(sim, effort, action, guest);
    note_step(sim, effort, action, guest);
}

/* --- what is left ---------------------------------------------------------------------------------- */

void
check_guests(Sim *sim)
{
    for (guint i = 0; i < sim->n_guests; i++) {
        const Guest *guest = &sim->guests[i];

        if (guest->presence != GUEST_ACTIVE || guest->migration || guest->paused || guest->stranded ||
            guest->restoring)
            continue;
        if (guest->device.state != APMIG_VFIO_RUNNING)
            sim_violation(sim, "I7", "%s is left with a stopped device", guest->name);
        if (sim->calm && guest->frozen_until > sim->now + 10 * SECOND)
            sim_violation(sim, "I7", "%s is left frozen", guest->name);
    }
}

/* --- that it is done ------------------------------------------------------------------------------- */

/* Whether a step of the policy can be run on the migration of @guest. */
static gboolean
has_step(const Sim *sim, const Guest *guest)
{
    const ApmigGuestSettings settings = settings_of(sim, guest);

    if (*guest->device.uuid && apmig_guest_settings_find_step(&settings, APMIG_STEP_VFIO_STATE))
        return TRUE;
    return guest->migration->outgoing && apmig_guest_settings_find_step(&settings, APMIG_STEP_LIBVIRT_ABORT);
}

static gboolean
is_known(const Guest *guest)
{
    const Migration *migration = guest->migration;
    const Told *told = &guest->told;

    if (told->postcopy || guest->changing)
        return FALSE;
    if (migration->outgoing)
        return told->facts && told->affected == APMIG_AFFECTED_YES && told->job == APMIG_JOB_OUTGOING;
    return guest->kind == APMIG_AFFECTED_YES && guest->in_mask && !guest->in_mixed && !migration->stray &&
           told->job == APMIG_JOB_INCOMING;
}

/* libvirt leaves no question without an answer: a process is killed only when one has told that its guest comes in. */
static gboolean
libvirt_is_sound(const Sim *sim)
{
    return sim->calm || (!sim->profile.silent && !sim->profile.workers);
}

/* Nothing that this run may meet keeps the steps from working. */
static gboolean
is_sound(const Sim *sim, const Guest *guest)
{
    const ApmigGuestSettings settings = settings_of(sim, guest);

    return helper_is_sound(sim) && libvirt_is_sound(sim) && *guest->device.uuid && !guest->device.refuses &&
           !guest->device.blocks && apmig_guest_settings_find_step(&settings, APMIG_STEP_VFIO_STATE) &&
           apmig_guest_settings_find_step(&settings, APMIG_STEP_KILL_INCOMING);
}

static gboolean
settings_fence_first(const ApmigGuestSettings *settings)
{
    for (guint i = 0; i < settings->n_steps; i++)
        if (settings->steps[i].step != APMIG_STEP_LIBVIRT_ABORT)
            return settings->steps[i].step == APMIG_STEP_VFIO_STATE;
    return FALSE;
}

static void
check_incoming_ends(Sim *sim, const Lock *lock, const Guest *guest, gint64 since)
{
    const ApmigGuestSettings settings = settings_of(sim, guest);
    const Migration *migration = guest->migration;
    gint64 deadlines = 0;

    if (migration->stage != STAGE_TRANSFER || !is_sound(sim, guest))
        return;
    if (!guest->told.prompt_since || sim->now > guest->told.good_at + PATIENCE)
        return; /* whose QEMU it is has to be told, too */
    since = MAX(since, guest->told.prompt_since);
    since = MAX(MAX(since, guest->in_asked_at), migration->stream_at) + 2 * PATIENCE;
    for (guint i = 0; i < settings.n_steps; i++)
        if (settings.steps[i].step != APMIG_STEP_VFIO_STATE || !guest->device.ap)
            deadlines += settings.steps[i].deadline_usec;
    if (!guest->device.ap && settings_fence_first(&settings) && !migration->fenced && sim->now > since)
        sim_violation(sim, "live", "%s, which comes in under lock %s, is not fenced", guest->name, lock->id);
    if (sim->now > since + deadlines)
        sim_violation(sim, "live", "%s still comes in under lock %s", guest->name, lock->id);
}

void
check_ended(Sim *sim, const Lock *lock, const Guest *guest)
{
    const Migration *migration = guest->migration;
    const Told *told = &guest->told;
    gint64 since;

    if (!migration || migration->stage == STAGE_ENDED || !(lock->mask & migration->mask) ||
        migration->merged || told->migration != migration || told->stopped_at || told->doubted ||
        migration->told_incarnation != sim->incarnation || migration->stage == STAGE_POSTCOPY)
        return;
    if (!is_known(guest) || !has_step(sim, guest) || guest_uses_permit(sim, guest, migration->outgoing))
        return;
    if (lock->on_busy != APMIG_ON_BUSY_ABORT && !lock->was_held)
        return;
    since = MAX(MAX(migration->told_at, lock->counts_from), MAX(sim->policy_at, sim->awake_since));
    if (!migration->steps && sim->now > since + PATIENCE + told->answered_at - told->asked_at)
        sim_violation(sim, "I2", "%s migrates under lock %s and nothing is done about it", guest->name,
                      lock->id);
    if (!migration->outgoing)
        check_incoming_ends(sim, lock, guest, since);
}
