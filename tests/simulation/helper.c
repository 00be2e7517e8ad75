/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The helper that acts on a guest's QEMU and device, and what the daemon keeps of it: it proves what it has before
 * it, decides by the real helper's table from what is true at that moment, and acts; to kill it freezes before, and thaws
 * after that. It may be missing, slow, unable to freeze, and die at any moment. It outlives the daemon, and an answer that
 * is awaited no more.
 */
#include "simulation.h"

#define CLIENT_DEADLINE (2 * SECOND) /* after which the daemon awaits no answer; for each request */
#define DRIVER_SLOWEST  (5 * SECOND)

typedef struct {
    guint64 op;
    ApmigStep step;
    ApmigFenceDirection direction;
    Guest *guest;
    char *migration_id;
    char *device;
    guint incarnation;
    guint life;     /* of the guest whose QEMU it looks at */
    guint64 wanted; /* of the action */
    gboolean answered;
    ApmigStepOutcome outcome;
} Call;

static void
call_clear(gpointer data)
{
    Call *call = data;

    g_free(call->migration_id);
    g_free(call->device);
}

static void
call_unref(gpointer call)
{
    g_rc_box_release_full(call, call_clear);
}

static void
then(Sim *sim, Call *call, gint64 delay, void (*func)(Sim *sim, gpointer object, guint64 number))
{
    sim_queue(sim, delay, func, g_rc_box_acquire(call), 0, call_unref);
}

gboolean
helper_is_sound(const Sim *sim)
{
    const Profile *profile = &sim->profile;

    return !profile->no_helper && !profile->slow_helper && !profile->helper_dies && !profile->freeze_fails;
}

/* --- answers --------------------------------------------------------------------------------------- */

static void
deliver(Sim *sim, Call *call)
{
    ApmigEvent event = {.type = APMIG_EVENT_STEP_FINISHED};
    Effort *effort;

    if (call->answered || sim->incarnation != call->incarnation)
        return;
    call->answered = TRUE;
    effort = steps_effort(sim, call->migration_id);
    if (effort->found) {
        event.step.qemu = effort->life + 1;
        event.step.state_is_vain = effort->vain;
        if (!effort->found_at)
            effort->found_at = sim->now;
    }
    event.step.op = call->op;
    event.step.outcome = call->outcome;
    event.step.message = "the helper's sentence";
    daemon_deliver(sim, &event);
}

/* The daemon hears of it. */
static void
tell(Sim *sim, Call *call, gint64 delay, void (*func)(Sim *sim, gpointer object, guint64 number))
{
    sim_queue_for_daemon(sim, delay, func, g_rc_box_acquire(call), 0, call_unref);
}

static void
answered(Sim *sim, gpointer object, guint64 number)
{
    deliver(sim, object);
}

static void
answer(Sim *sim, Call *call, ApmigStepOutcome outcome)
{
    call->outcome = outcome;
    tell(sim, call, dice_spread(&sim->dice, 100, 5 * MSEC), answered);
}

static void
time_is_up(Sim *sim, gpointer object, guint64 number)
{
    Call *call = object;

    if (call->answered || sim->incarnation != call->incarnation)
        return;
    sim_cover(sim, COVER_HELPER_SILENT);
    call->outcome = APMIG_STEP_FAILED;
    deliver(sim, call);
}

/* Its connection ends, which need not be noticed. */
static void
die(Sim *sim, Call *call, Situation situation)
{
    sim_cover(sim, situation);
    sim_trace(sim, "the helper for %s dies", call->guest->name);
    if (dice_chance(&sim->dice, 700))
        answer(sim, call, APMIG_STEP_FAILED);
}

static gboolean
has_accident(Sim *sim, guint chance)
{
    return !sim->calm && dice_chance(&sim->dice, chance);
}

/* --- acting ---------------------------------------------------------------------------------------- */

static ApmigDecision
decide(const Call *call)
{
    const Device *device = &call->guest->device;
    gboolean kill = call->step == APMIG_STEP_KILL_INCOMING;

    return apmig_fence_decide(kill ? APMIG_FENCE_KILL_INCOMING : APMIG_FENCE_FENCE, call->direction,
                              device->ap ? APMIG_DRIVER_VFIO_AP : APMIG_DRIVER_OTHER, device->state,
                              device->session);
}

static ApmigStepOutcome
report(Sim *sim, const Call *call, const ApmigDecision *decision)
{
    gboolean kill = call->step == APMIG_STEP_KILL_INCOMING;

    switch (decision->result) {
    case APMIG_FENCE_NOTHING_TO_DO:
        sim_cover(sim, call->guest->device.ap && !kill ? COVER_FENCE_VAIN : COVER_FENCE_EARLY);
        return APMIG_STEP_NOTHING_TO_DO;
    case APMIG_FENCE_NOT_ABORTABLE:
        sim_cover(sim, kill ? COVER_KILL_TOO_LATE : COVER_FENCE_TOO_LATE);
        return APMIG_STEP_NOT_ABORTABLE;
    default:
        return APMIG_STEP_FAILED;
    }
}

static ApmigStepOutcome
set_state(Sim *sim, Call *call, ApmigVfioState state)
{
    const Device *device = &call->guest->device;

    if (device->refuses && device->state == APMIG_VFIO_RESUMING) {
        sim_cover(sim, COVER_FENCE_REFUSED);
        return APMIG_STEP_FAILED;
    }
    sim_trace(sim, "the device of %s is fenced", call->guest->name);
    guest_device_set(sim, call->guest, state);
    return APMIG_STEP_REQUESTED;
}

static ApmigStepOutcome
kill_guest(Sim *sim, Call *call)
{
    sim_trace(sim, "%s is killed", call->guest->name);
    sim_cover(sim, COVER_KILLED);
    if (call->guest->device.refuses)
        sim_cover(sim, COVER_KILLED_REFUSED);
    if (call->guest->device.ap)
        sim_cover(sim, COVER_KILLED_AP);
    guest_killed(sim, call->guest);
    return APMIG_STEP_REQUESTED;
}

static ApmigStepOutcome
act(Sim *sim, Call *call)
{
    ApmigDecision decision = decide(call);

    switch (decision.act) {
    case APMIG_ACT_SET_STOP:
        return set_state(sim, call, APMIG_VFIO_STOP);
    case APMIG_ACT_SET_RUNNING:
        return set_state(sim, call, APMIG_VFIO_RUNNING);
    case APMIG_ACT_KILL:
        return kill_guest(sim, call);
    default:
        return report(sim, call, &decision);
    }
}

static void
act_now(Sim *sim, gpointer object, guint64 number)
{
    Call *call = object;
    ApmigStepOutcome outcome;

    if (call->guest->life != call->life) { /* the QEMU ended meanwhile */
        answer(sim, call, APMIG_STEP_FAILED);
        return;
    }
    if (has_accident(sim, sim->profile.helper_dies / 3)) { /* the kernel thaws */
        die(sim, call, COVER_HELPER_DIED);
        return;
    }
    outcome = act(sim, call);
    if (has_accident(sim, sim->profile.helper_dies / 3))
        die(sim, call, COVER_HELPER_DIED_LATE);
    else
        answer(sim, call, outcome);
}

/* The guest goes on meanwhile. */
static void
fence(Sim *sim, Call *call)
{
    gint64 duration = dice_spread(&sim->dice, 100, 5 * MSEC);

    if (call->guest->device.blocks) {
        duration = dice_spread(&sim->dice, 100 * MSEC, DRIVER_SLOWEST);
        sim_cover(sim, COVER_FENCE_BLOCKED);
    }
    then(sim, call, duration, act_now);
}

static void
freeze(Sim *sim, Call *call)
{
    Guest *guest = call->guest;
    gint64 duration = dice_spread(&sim->dice, 500, 100 * MSEC);

    if (sim->now < guest->frozen_until || has_accident(sim, sim->profile.freeze_fails)) {
        sim_cover(sim, COVER_FREEZE_FAILED);
        answer(sim, call, APMIG_STEP_FAILED);
        return;
    }
    guest->frozen_until = sim->now + duration;
    then(sim, call, duration, act_now);
}

/* --- proving --------------------------------------------------------------------------------------- */

/* Returns: whether what is found is what the daemon told of. One that is not is to be looked for anew. */
static gboolean
prove(Sim *sim, Call *call, Effort *effort)
{
    const Guest *guest = call->guest;
    gboolean proven = guest->presence != GUEST_ABSENT && g_strcmp0(call->device, guest->device.uuid) == 0 &&
                      (call->direction == APMIG_FENCE_OUT || guest->from_afar) &&
                      (!effort || !effort->found || effort->life == guest->life);

    if (!proven) {
        sim_cover(sim, COVER_OTHER_QEMU);
        if (effort)
            effort->found = FALSE, effort->found_at = 0;
        return FALSE;
    }
    call->life = guest->life;
    if (!effort) /* the daemon is gone */
        return TRUE;
    effort->found = TRUE;
    effort->life = guest->life;
    effort->vain = guest->device.ap;
    return TRUE;
}

/* Whom nobody has asked libvirt about since it was found is not killed. */
static gboolean
is_named(const Call *call)
{
    return call->step != APMIG_STEP_KILL_INCOMING || call->wanted == call->life + 1;
}

static void
arrive(Sim *sim, gpointer object, guint64 number)
{
    Call *call = object;
    Effort *effort =
        sim->incarnation == call->incarnation && sim->engine ? steps_effort(sim, call->migration_id) : NULL;

    sim_trace(sim, "the helper looks at %s", call->guest->name);
    if (has_accident(sim, sim->profile.helper_dies / 3)) {
        die(sim, call, COVER_HELPER_DIED);
        return;
    }
    if (!prove(sim, call, effort))
        answer(sim, call, APMIG_STEP_FAILED);
    else if (!is_named(call))
        answer(sim, call, APMIG_STEP_RUNNING);
    else if (decide(call).act == APMIG_ACT_KILL)
        freeze(sim, call);
    else
        fence(sim, call);
}

/* --- looking --------------------------------------------------------------------------------------- */

typedef struct {
    Guest *guest;
    guint64 op;
    guint incarnation;
    gboolean saving;
    Migration *migration; /* (nullable): the one out that it was seen in */
} Look;

static void
looked_at(Sim *sim, gpointer object, guint64 number)
{
    const Look *look = object;
    ApmigEvent event = {.type = APMIG_EVENT_GUEST_LOOKED_AT, .looked_at = {look->op, look->saving}};

    if (sim->incarnation != look->incarnation)
        return;
    if (look->saving && look->migration)
        truth_may_count(look->migration);
    else if (look->saving)
        sim->may_count++;
    if (look->saving)
        sim_cover(sim, COVER_LOOKED);
    if (look->migration) {
        look->guest->told.saving_at = sim->now;
        look->guest->told.saved = look->migration;
    }
    daemon_deliver(sim, &event);
}

static void
look(Sim *sim, gpointer object, guint64 number)
{
    Look *look = object;
    const Guest *guest = look->guest;

    look->saving = guest->device.session == APMIG_SESSION_SAVING ||
                   (guest->presence == GUEST_ACTIVE && guest->other_job && look->op % 2 > 0);
    if (look->saving && guest->migration && guest->migration->outgoing)
        look->migration = guest->migration;
    sim_queue_for_daemon(sim, (1 + (gint64)(look->op % 7)) * MSEC, looked_at, g_rc_box_acquire(look), 0,
                         g_rc_box_release);
}

/* No dice are rolled for it. */
void
helper_look(Sim *sim, guint64 op, Guest *guest)
{
    Look *object = g_rc_box_new0(Look);
    gint64 delay = (op % 31 == 0 ? 1500 : 1 + (gint64)(op % 20)) * MSEC;

    object->guest = guest;
    object->op = op;
    object->incarnation = sim->incarnation;
    if (sim->profile.no_helper)
        sim_queue_for_daemon(sim, MSEC, looked_at, object, 0, g_rc_box_release);
    else
        sim_queue(sim, delay, look, object, 0, g_rc_box_release);
}

void
helper_run(Sim *sim, const ApmigAction *action, Guest *guest)
{
    Call *call = g_rc_box_new0(Call);
    gboolean slow = has_accident(sim, sim->profile.slow_helper);

    call->op = action->op;
    call->step = action->step.kind;
    call->direction = action->step.outgoing ? APMIG_FENCE_OUT : APMIG_FENCE_IN;
    call->guest = guest;
    call->wanted = action->step.qemu;
    call->migration_id = g_strdup(action->step.migration_id);
    call->device = g_strdup(action->step.device);
    call->incarnation = sim->incarnation;
    if (sim->profile.no_helper) {
        sim_cover(sim, COVER_HELPER_MISSING);
        answer(sim, call, APMIG_STEP_UNAVAILABLE);
    } else {
        then(sim, call,
             slow ? dice_spread(&sim->dice, 100 * MSEC, 10 * SECOND)
                  : dice_spread(&sim->dice, 1 * MSEC, 30 * MSEC),
             arrive);
        tell(sim, call, (dice_chance(&sim->dice, 500) ? 1 : 2) * CLIENT_DEADLINE, time_is_up);
    }
    call_unref(call);
}
