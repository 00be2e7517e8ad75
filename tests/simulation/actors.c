/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who does something of their own accord: administrators, operators, remote hosts, and misfortune.
 */
#include "simulation.h"
#include "stamp/arrival-check.h"

#include <string.h>

static const char *const users[] = {"root", "anna", "bert"};

/* --- what a run may meet ----------------------------------------------------------------------------- */

static guint
sometimes(Sim *sim, guint chance, guint low, guint high)
{
    return dice_chance(&sim->dice, chance) ? (guint)dice_spread(&sim->dice, low, high) : 0;
}

static void
choose_profile(Sim *sim)
{
    Profile *profile = &sim->profile;
    Dice *dice = &sim->dice;

    profile->length = dice_roll(dice, 30, 180) * SECOND;
    profile->admin_pause = dice_spread(dice, 500 * MSEC, 20 * SECOND);
    profile->operator_pause = dice_spread(dice, 200 * MSEC, 30 * SECOND);
    profile->remote_pause = dice_spread(dice, 200 * MSEC, 30 * SECOND);
    profile->host_pause = dice_spread(dice, 1 * SECOND, 60 * SECOND);
    profile->fault_pause = dice_spread(dice, 1 * SECOND, 60 * SECOND);
    profile->slow = sometimes(sim, 500, 1, 200);
    profile->failing = sometimes(sim, 400, 1, 100);
    profile->silent = sometimes(sim, 200, 1, 10);
    profile->lying = sometimes(sim, 400, 20, 500);
    profile->hints_lost = sometimes(sim, 500, 50, 1000);
    profile->postcopy = sometimes(sim, 500, 50, 700);
    profile->slow_hook = sometimes(sim, 500, 50, 700);
    profile->hookless = sometimes(sim, 150, 20, 300);
    profile->crash = sometimes(sim, 500, 50, 400);
    profile->reboot = sometimes(sim, 200, 20, 200);
    profile->disk_fault = sometimes(sim, 300, 50, 400);
    profile->view_fault = sometimes(sim, 500, 100, 600);
    profile->clock_jump = sometimes(sim, 300, 50, 300);
    profile->damage = sometimes(sim, 300, 50, 500);
    profile->crash_on_write = sometimes(sim, 400, 5, 100);
    profile->disk_slowest = dice_spread(dice, 1 * MSEC, 3 * SECOND);
    profile->refusing = sometimes(sim, 400, 100, 1000);
    profile->blocking = sometimes(sim, 300, 100, 1000);
    profile->paused = sometimes(sim, 500, 50, 700);
    profile->endless = sometimes(sim, 500, 50, 700);
    profile->slow_helper = sometimes(sim, 300, 20, 500);
    profile->helper_dies = sometimes(sim, 300, 20, 700);
    profile->freeze_fails = sometimes(sim, 300, 20, 700);
    profile->no_helper = dice_chance(dice, 60);
    profile->key_pause = dice_spread(dice, 500 * MSEC, 60 * SECOND);
    profile->slow_cards = sometimes(sim, 400, 20, 700);
    profile->failing_cards = sometimes(sim, 200, 20, 500);
    profile->silent_cards = sometimes(sim, 300, 20, 500);
    profile->no_ap = dice_chance(dice, 100);
    profile->workers = sometimes(sim, 200, 1, 4);
    profile->late = sometimes(sim, 200, 5, 200);
    profile->dies = sometimes(sim, 300, 20, 500);
    profile->disk_hangs = sometimes(sim, 300, 2, 50);
    profile->suspends = sometimes(sim, 150, 20, 200);
    profile->stops = sometimes(sim, 200, 20, 400);
    profile->retries = sometimes(sim, 500, 50, 500);
    profile->offline = sometimes(sim, 300, 50, 300);
    profile->renames = sometimes(sim, 200, 50, 500);
    profile->sysfs_hangs = sometimes(sim, 300, 20, 500);
    profile->restores = sometimes(sim, 400, 50, 700);
    profile->runtime_lost = sometimes(sim, 200, 100, 700);
    profile->state_older = sometimes(sim, 150, 50, 300);
    if (sim->world != WORLD_CROWD)
        return;
    profile->length = MIN(profile->length, 60 * SECOND);
    profile->admin_pause = MIN(profile->admin_pause, 700 * MSEC);
    profile->operator_pause = MIN(profile->operator_pause, 5 * SECOND);
    profile->remote_pause = MIN(profile->remote_pause, 5 * SECOND);
    profile->host_pause = MIN(profile->host_pause, 10 * SECOND);
    profile->workers *= 5;
}

/* Any of them, in any order; all of them most often. */
static void
choose_steps(Sim *sim, ApmigPolicy *policy)
{
    ApmigStep steps[] = {APMIG_STEP_LIBVIRT_ABORT, APMIG_STEP_VFIO_STATE, APMIG_STEP_KILL_INCOMING};

    for (guint i = APMIG_N_STEPS - 1; i > 0; i--) {
        guint other = (guint)dice_roll(&sim->dice, 0, i);
        ApmigStep step = steps[i];

        steps[i] = steps[other];
        steps[other] = step;
    }
    policy->n_steps =
        dice_chance(&sim->dice, 600) ? APMIG_N_STEPS : (guint)dice_roll(&sim->dice, 1, APMIG_N_STEPS - 1);
    for (guint i = 0; i < policy->n_steps; i++) {
        policy->steps[i].step = steps[i];
        policy->steps[i].deadline_usec = dice_spread(&sim->dice, 200 * MSEC, 8 * SECOND);
    }
}

/* For names and UUIDs, not for queues: see settings_of() in steps.c. */
static ApmigPolicyRule *
choose_rule(Sim *sim, guint index)
{
    g_autofree char *name = g_strdup_printf("g%u", (guint)dice_roll(&sim->dice, 0, 7));
    ApmigPolicyRule *rule = apmig_policy_rule_new("simulation", index);
    ApmigPolicy own = {0};

    /* The first policy is there before the guests are. */
    if (sim->n_guests && (sim->profile.renames || dice_chance(&sim->dice, 500)))
        apmig_policy_rule_set_guest(rule, sim->guests[0].uuid);
    else
        apmig_policy_rule_set_guest(rule, dice_chance(&sim->dice, 700) ? name : "g?");
    rule->on_busy = (ApmigOnBusy)dice_roll(&sim->dice, APMIG_ON_BUSY_UNSET, APMIG_ON_BUSY_REFUSE);
    if (dice_chance(&sim->dice, 300))
        choose_steps(sim, &own);
    memcpy(rule->steps, own.steps, sizeof rule->steps);
    rule->n_steps = own.n_steps;
    return rule;
}

static GPtrArray *
choose_rules(Sim *sim)
{
    GPtrArray *rules = apmig_policy_rules_copy(NULL);
    guint n_rules = dice_chance(&sim->dice, 300) ? (guint)dice_roll(&sim->dice, 1, 3) : 0;

    if (sim->profile.renames && !sim->n_guests)
        return rules;
    for (guint i = 0; i < n_rules; i++)
        g_ptr_array_add(rules, choose_rule(sim, i));
    return rules;
}

static ApmigPolicy *
choose_policy(Sim *sim)
{
    ApmigPolicy *policy = g_new0(ApmigPolicy, 1);
    Dice *dice = &sim->dice;

    policy->on_busy = (ApmigOnBusy)dice_roll(dice, APMIG_ON_BUSY_ABORT, APMIG_ON_BUSY_REFUSE);
    choose_steps(sim, policy);
    policy->admission_usec = sim->policy ? sim->policy->admission_usec : dice_roll(dice, 1, 12) * 5 * SECOND;
    policy->draining_interval_usec = 50 * MSEC;
    policy->held_interval_usec = 5 * SECOND;
    policy->silence_usec = 15 * SECOND;
    policy->request_timeout_usec = dice_spread(dice, 100 * MSEC, 20 * SECOND);
    policy->on_release = dice_chance(dice, 100) ? APMIG_ON_RELEASE_TRUST : APMIG_ON_RELEASE_VERIFY;
    policy->release_verify_usec = dice_spread(dice, 100 * MSEC, 20 * SECOND);
    policy->max_locks = (guint)dice_roll(dice, 2, 16);
    policy->max_locks_per_user = (guint)dice_roll(dice, 1, 8);
    policy->max_admissions = (guint)dice_roll(dice, 1, 16);
    if (sim->world == WORLD_CROWD) {
        policy->max_locks = policy->max_locks_per_user = 24;
        policy->max_admissions *= 4;
    }
    policy->rules = choose_rules(sim);
    stamps_choose_policy(sim, policy);
    arrivals_choose_policy(sim, policy);
    return policy;
}

static void
change_policy(Sim *sim)
{
    ApmigPolicy *policy = choose_policy(sim);
    ApmigEvent event = {.type = APMIG_EVENT_POLICY_CHANGED};

    apmig_policy_free(sim->policy);
    sim->policy = policy;
    sim->policy_at = sim->now;
    event.policy = policy;
    daemon_deliver(sim, &event);
}

/* --- administrators ---------------------------------------------------------------------------------- */

guint
choose_few(Sim *sim)
{
    guint mask;

    if (sim->world != WORLD_CROWD)
        return (guint)dice_roll(&sim->dice, 1, (1 << sim->n_queues) - 1);
    mask = 1u << dice_roll(&sim->dice, 0, sim->n_queues - 1);
    if (dice_chance(&sim->dice, 200))
        mask |= 1u << dice_roll(&sim->dice, 0, sim->n_queues - 1);
    return mask;
}

guint
choose_mask(Sim *sim)
{
    return dice_chance(&sim->dice, sim->world == WORLD_CROWD ? 5 : 250) ? sim->mask_all : choose_few(sim);
}

Lock *
choose_lock(Sim *sim)
{
    guint n = 0;

    for (guint i = 0; i < sim->locks->len; i++)
        n += ((Lock *)g_ptr_array_index(sim->locks, i))->living;
    n = n ? (guint)dice_roll(&sim->dice, 1, n) : 0;
    for (guint i = 0; n && i < sim->locks->len; i++) {
        Lock *lock = g_ptr_array_index(sim->locks, i);

        if (lock->living && --n == 0)
            return lock;
    }
    return NULL;
}

static void
fill_take(Sim *sim, ApmigEvent *event, guint mask)
{
    Dice *dice = &sim->dice;

    event->take.scope = sim_scope(sim, mask);
    event->take.reason = TAKE_REASON;
    event->take.change_id = dice_chance(dice, 500) ? "CHG-17" : "";
    event->take.uid = (guint32)dice_roll(dice, 0, 2);
    event->take.user = users[event->take.uid];
    event->take.on_busy = (ApmigOnBusy)dice_roll(dice, APMIG_ON_BUSY_UNSET, APMIG_ON_BUSY_REFUSE);
    event->take.timeout_usec = dice_chance(dice, 500) ? dice_spread(dice, 10 * MSEC, 60 * SECOND) : 0;
    event->take.expected_duration_usec =
        dice_chance(dice, 500) ? dice_spread(dice, 1 * SECOND, 300 * SECOND) : 0;
    event->take.no_wait = dice_chance(dice, 300);
    event->take.hook_problem =
        dice_chance(dice, 30) ? "/etc/libvirt/hooks/qemu.d/zz-apmigd is missing" : NULL;
    if (dice_chance(dice, 150)) {
        event->take.origin = APMIG_LOCK_BY_ITSELF;
        event->take.no_wait = TRUE;
        event->take.timeout_usec = 0;
    }
}

static void
take(Sim *sim)
{
    Lock *other = dice_chance(&sim->dice, 200) ? choose_lock(sim) : NULL;
    guint mask = other ? other->mask : choose_mask(sim);
    g_autofree char *id = g_strdup_printf("%08x", (guint32)dice_next(&sim->dice));
    ApmigEvent event = {.type = APMIG_EVENT_TAKE};
    Caller *caller;
    Lock *lock;

    if (!daemon_is_there(sim) || known_lock(sim, id))
        return;
    fill_take(sim, &event, mask);
    lock = known_lock_new(sim, id, mask);
    lock->origin = event.take.origin;
    lock->on_busy = event.take.on_busy;
    lock->by_itself = lock->origin == APMIG_LOCK_BY_ITSELF;
    caller = daemon_new_caller(sim, CALLER_TAKE);
    caller->lock = lock;
    caller->uid = event.take.uid;
    caller->of_change = *event.take.change_id != '\0' && !lock->by_itself;
    caller->no_wait = event.take.no_wait;
    caller->hook_problem = event.take.hook_problem != NULL;
    caller->timeout = event.take.timeout_usec;
    if (!caller->timeout && !caller->no_wait)
        caller->timeout = sim->policy->request_timeout_usec;
    event.caller = caller->number;
    event.take.id = id;
    daemon_deliver(sim, &event);
}

static void
release(Sim *sim, Lock *lock, gboolean force)
{
    ApmigEvent event = {.type = APMIG_EVENT_RELEASE};
    Caller *caller;

    if (!daemon_is_there(sim))
        return;
    caller = daemon_new_caller(sim, CALLER_RELEASE);
    caller->lock = lock;
    caller->force = force;
    if (lock && (force || lock->origin != APMIG_LOCK_RECOVERED)) {
        lock->release_asked = TRUE;
        release_begins(sim, caller);
    }
    event.caller = caller->number;
    event.release.id = lock ? lock->id : "00000000";
    event.release.force = force;
    daemon_deliver(sim, &event);
}

void
actors_release_all(Sim *sim)
{
    for (guint i = 0; i < sim->locks->len; i++) {
        Lock *lock = g_ptr_array_index(sim->locks, i);

        if (lock->living)
            release(sim, lock, lock->origin == APMIG_LOCK_RECOVERED || dice_chance(&sim->dice, 300));
    }
}

/* A client of any kind disconnects, not knowing what becomes of its request. */
static void
vanish(Sim *sim)
{
    Caller *caller;

    if (!sim->callers->len || !daemon_is_there(sim))
        return;
    caller = g_ptr_array_index(sim->callers, (guint)dice_roll(&sim->dice, 0, sim->callers->len - 1));
    if (caller->migration)
        return; /* the hook has its own deadline */
    daemon_caller_gone(sim, caller->number);
}

static void
release_any(Sim *sim)
{
    gboolean force = dice_chance(&sim->dice, 400);

    release(sim, choose_lock(sim), force);
}

static void
administrate(Sim *sim)
{
    gint64 what = dice_roll(&sim->dice, 0, 99);

    if (what < 55)
        take(sim);
    else if (what < 85)
        release_any(sim);
    else if (what < 88)
        release(sim, NULL, FALSE);
    else if (what < 97)
        vanish(sim);
    else if (daemon_is_there(sim) || !sim->engine)
        change_policy(sim);
}

/* --- guests and hosts -------------------------------------------------------------------------------- */

static Guest *
choose_guest(Sim *sim)
{
    return &sim->guests[dice_roll(&sim->dice, 0, sim->n_guests - 1)];
}

/* What the engine may have on record of the guest by then is perhaps another one. */
static void
note_asked(Sim *sim, Guest *guest, guint mask)
{
    gboolean has_device = *guest->device.uuid != '\0';
    gboolean has_record = steps_begin_anew(sim, guest);

    guest->in_mixed |= guest->kind == APMIG_AFFECTED_UNKNOWN;
    if (has_record || guest->in_mask)
        guest->in_mixed |= guest->in_mask != mask || !guest->in_device || !has_device;
    guest->in_mask |= mask;
    guest->in_device = has_device;
    guest->in_incarnation = sim->incarnation;
    guest->in_asked_at = sim->now;
}

/* What it brings, and what has to follow from that. */
static void
judge_arrival(Sim *sim, const Guest *guest, Arrival *arrival, Caller *caller, ApmigEvent *event)
{
    g_autoptr(ApmigArrivalCheck) check = NULL;

    caller->mask = arrival_mask(sim, guest, arrival, caller->restore);
    caller->is_refused = arrival_is_refused(sim, arrival, caller->restore, caller->permitted);
    arrival_fill(sim, guest, arrival, event);
    event->now = sim_boot_time(sim);
    event->realtime = sim_realtime(sim);
    check = apmig_engine_check_arrival(sim->engine, event);
    caller->is_refused_dry = check->refusal != NULL;
}

void
actors_ask_hook(Sim *sim, Guest *guest, Migration *migration)
{
    ApmigEvent event = {.type = APMIG_EVENT_ADMIT};
    const char *const devices[] = {
        guest->kind == APMIG_AFFECTED_YES && *guest->device.uuid ? guest->device.uuid : NULL, NULL};
    Arrival *arrival;
    Caller *caller;

    if (!daemon_is_there(sim)) {
        if (migration)
            migration_answered(sim, migration, FALSE);
        return;
    }
    caller = daemon_new_caller(sim, CALLER_ADMIT);
    caller->migration = migration;
    caller->restore = !migration;
    caller->guest = migration ? NULL : guest;
    caller->affected = guest->kind;
    caller->mask = guest->mask;
    caller->permitted = migration && guest_has_permit(sim, guest);
    if (migration) {
        migration->caller = caller->number;
    }
    event.caller = caller->number;
    event.admit.uuid = guest->uuid;
    event.admit.name = guest->name;
    event.admit.restore = !migration;
    event.admit.facts.affected = guest->kind;
    event.admit.facts.scope = guest->kind == APMIG_AFFECTED_YES ? sim_scope(sim, guest->mask) : NULL;
    event.admit.facts.devices = devices;
    arrival = arrival_new(sim, guest, !migration);
    if (arrival)
        judge_arrival(sim, guest, arrival, caller, &event);
    if (arrival && migration)
        arrival_note(guest, arrival);
    if (migration)
        note_asked(sim, guest, caller->mask);
    if (migration)
        migration->taken_mask = caller->mask;
    daemon_deliver(sim, &event);
    g_clear_pointer(&arrival, arrival_free);
}

static void
operate(Sim *sim)
{
    guest_migrate_out(sim, choose_guest(sim));
}

static void
send_from_remote(Sim *sim)
{
    gboolean hookless = dice_chance(&sim->dice, sim->profile.hookless);

    guest_migrate_in(sim, choose_guest(sim), hookless);
}

static void
use_host(Sim *sim)
{
    Guest *guest = choose_guest(sim);

    switch (dice_roll(&sim->dice, 0, 7)) {
    case 0:
        guest_stop(sim, guest);
        break;
    case 1:
        guest_replug(sim, guest);
        break;
    case 2:
        guest_begin_other_job(sim, guest);
        break;
    case 3:
        if (guest->presence == GUEST_ABSENT && !guest->expected)
            actors_ask_hook(sim, guest, NULL);
        break;
    case 4:
    case 5:
        guest_reassign(sim, guest);
        break;
    default:
        guest_start(sim, guest);
        break;
    }
}

/* --- misfortune ------------------------------------------------------------------------------------ */

static void
cover_view_lost(Sim *sim)
{
    for (guint i = 0; sim->connected && i < sim->locks->len; i++) {
        const Lock *lock = g_ptr_array_index(sim->locks, i);

        if (lock->living && lock->listed && lock->state == APMIG_LOCK_DRAINING)
            sim_cover(sim, COVER_VIEW_LOST_DRAINING);
        if (lock->living && lock->listed && lock->state == APMIG_LOCK_HELD)
            sim_cover(sim, COVER_VIEW_LOST_HELD);
    }
}

static void
cover_under_lock(Sim *sim, Situation situation)
{
    for (guint i = 0; sim->engine && i < sim->locks->len; i++)
        if (((const Lock *)g_ptr_array_index(sim->locks, i))->listed) {
            sim_cover(sim, situation);
            return;
        }
}

static void
jump_clock(Sim *sim)
{
    sim->realtime_offset += dice_roll(&sim->dice, -3600, 3600) * SECOND;
    sim_trace(sim, "the clock jumps");
    sim_cover(sim, COVER_CLOCK_JUMP);
}

static void
misfortune(Sim *sim)
{
    const Profile *profile = &sim->profile;

    if (profile->state_older && dice_chance(&sim->dice, 300))
        daemon_back_up(sim);
    if (dice_chance(&sim->dice, profile->suspends)) {
        cover_under_lock(sim, COVER_SUSPENDED);
        sim_suspend(sim, dice_spread(&sim->dice, 1 * SECOND, 600 * SECOND));
    }
    if (dice_chance(&sim->dice, profile->stops)) {
        cover_under_lock(sim, COVER_STOOD_STILL);
        daemon_stand_still(sim);
    }
    if (daemon_is_there(sim) && dice_chance(&sim->dice, profile->view_fault)) {
        cover_view_lost(sim);
        hypervisor_lose(sim, dice_chance(&sim->dice, 500));
    }
    if (dice_chance(&sim->dice, profile->disk_fault))
        disk_set_state(sim, dice_chance(&sim->dice, 500) ? DISK_FULL : DISK_READONLY);
    else if (dice_chance(&sim->dice, 700))
        disk_set_state(sim, DISK_GOOD);
    if (dice_chance(&sim->dice, profile->clock_jump))
        jump_clock(sim);
    if (dice_chance(&sim->dice, profile->reboot))
        daemon_reboot(sim);
    else if (dice_chance(&sim->dice, profile->crash))
        daemon_crash(sim);
}

/* --- who comes when ---------------------------------------------------------------------------------- */

typedef struct {
    void (*act)(Sim *sim);
    gsize pause; /* offset in Profile */
} Actor;

static const Actor actors[] = {
    {administrate, G_STRUCT_OFFSET(Profile, admin_pause)},
    {inquirers_act, G_STRUCT_OFFSET(Profile, admin_pause)},
    {operate, G_STRUCT_OFFSET(Profile, operator_pause)},
    {send_from_remote, G_STRUCT_OFFSET(Profile, remote_pause)},
    {use_host, G_STRUCT_OFFSET(Profile, host_pause)},
    {cards_change, G_STRUCT_OFFSET(Profile, key_pause)},
    {misfortune, G_STRUCT_OFFSET(Profile, fault_pause)},
};

static void
act(Sim *sim, gpointer object, guint64 number)
{
    const Actor *actor = &actors[number];
    gint64 pause = G_STRUCT_MEMBER(gint64, &sim->profile, actor->pause);

    if (sim->calm)
        return;
    actor->act(sim);
    sim_queue(sim, dice_spread(&sim->dice, 10 * MSEC, 2 * pause), act, NULL, number, NULL);
}

void
actors_init(Sim *sim)
{
    choose_profile(sim);
    sim->policy = choose_policy(sim);
    for (guint i = 0; i < G_N_ELEMENTS(actors); i++)
        sim_queue(sim, dice_roll(&sim->dice, 0, 3 * SECOND), act, NULL, i, NULL);
}

void
actors_calm_down(Sim *sim)
{
    sim_trace(sim, "calm");
    sim->calm = TRUE;
    sim->stands_until = 0;
    disk_set_state(sim, DISK_GOOD);
    cards_calm_down(sim);
    strangers_calm_down(sim);
    guests_calm_down(sim);
    hypervisor_lose(sim, FALSE);
}
