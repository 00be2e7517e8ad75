/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The true state of the host: its guests, and each migration from its real beginning to its real end.
 */
#include "simulation.h"

#include <string.h>

static void next_stage(Sim *sim, gpointer object, guint64 turn);

/* --- devices --------------------------------------------------------------------------------------- */

/* QEMU brings the device to a state. */
static void
set_device(Device *device, ApmigVfioState state, ApmigSession session)
{
    device->state = device->believed = state;
    device->session = session;
}

/* As QEMU does (vfio_migration_set_state), which asks nothing of a device that it believes to run already. */
static void
run_device(Sim *sim, Guest *guest)
{
    Device *device = &guest->device;

    device->session = APMIG_SESSION_NONE;
    if (device->believed != APMIG_VFIO_RUNNING)
        device->state = device->believed = APMIG_VFIO_RUNNING;
    if (device->state != APMIG_VFIO_RUNNING)
        sim_violation(sim, "I7", "%s runs, and its device is stopped for good", guest->name);
}

static void
follow_outgoing(Sim *sim, Migration *migration)
{
    Device *device = &migration->guest->device;

    if (migration->stage == STAGE_TRANSFER && device->precopy)
        set_device(device, APMIG_VFIO_PRE_COPY, APMIG_SESSION_SAVING);
    else if (migration->stage == STAGE_STOP_COPY)
        set_device(device,
                   device->precopy && dice_chance(&sim->dice, 300) ? APMIG_VFIO_PRE_COPY_P2P
                                                                   : APMIG_VFIO_STOP_COPY,
                   APMIG_SESSION_SAVING);
    else if (migration->stage == STAGE_DONE || migration->stage == STAGE_POSTCOPY)
        set_device(device, APMIG_VFIO_STOP, APMIG_SESSION_NONE);
}

static void
follow_incoming(Sim *sim, Migration *migration)
{
    Device *device = &migration->guest->device;

    if (migration->stage == STAGE_TRANSFER)
        set_device(device, APMIG_VFIO_RESUMING, APMIG_SESSION_LOADING);
    else if (migration->stage == STAGE_DONE)
        device->session = APMIG_SESSION_NONE;
}

static void
choose_device(Sim *sim, Guest *guest)
{
    Device *device = &guest->device;

    *device = (Device){.state = APMIG_VFIO_RUNNING, .believed = APMIG_VFIO_RUNNING};
    if (!guest->mask || dice_chance(&sim->dice, 150))
        return;
    g_snprintf(device->uuid, sizeof(device->uuid), "%08x-aaaa-4bbb-8ccc-ddddeeeeffff", ++sim->n_devices);
    device->precopy = dice_chance(&sim->dice, 400);
    device->refuses = dice_chance(&sim->dice, sim->profile.refusing);
    device->ap = !device->precopy && sim->n_devices % 3 > 0;
    device->refuses &= !device->ap;
    device->blocks = dice_chance(&sim->dice, sim->profile.blocking);
}

/* --- guests ---------------------------------------------------------------------------------------- */

static void
enter(Sim *sim, Migration *migration, Stage stage, gint64 delay)
{
    gboolean moves = migration->stage != stage;

    migration->stage = stage;
    if (moves && stage == STAGE_TRANSFER)
        migration->stream_at = sim->now;
    if (moves && stage == STAGE_TRANSFER && migration->outgoing)
        migration->may_count += 2; /* libvirt's event of it may come after its end was seen */
    if (moves && stage == STAGE_TRANSFER && migration->outgoing)
        hypervisor_tell(sim, NEWS_SENDING, migration->guest);
    if (moves && stage == STAGE_STOP_COPY)
        migration->suspended = TRUE;
    if (moves && stage == STAGE_STOP_COPY)
        hypervisor_tell(sim, NEWS_SUSPENDED, migration->guest);
    if (moves && *migration->guest->device.uuid) {
        if (migration->outgoing)
            follow_outgoing(sim, migration);
        else
            follow_incoming(sim, migration);
    }
    migration->turn++;
    if (stage != STAGE_ENDED)
        sim_queue(sim, delay, next_stage, migration, migration->turn, NULL);
}

Guest *
guest_by_uuid(Sim *sim, const char *uuid)
{
    for (guint i = 0; uuid && i < sim->n_guests; i++)
        if (g_str_equal(sim->guests[i].uuid, uuid))
            return &sim->guests[i];
    return NULL;
}

ApmigJob
guest_job(const Guest *guest)
{
    if (guest->presence == GUEST_ABSENT)
        return APMIG_JOB_GONE;
    if (guest->presence == GUEST_INCOMING)
        return APMIG_JOB_INCOMING;
    if (guest->migration)
        return APMIG_JOB_OUTGOING;
    return guest->other_job ? APMIG_JOB_OTHER : APMIG_JOB_NONE;
}

static void
choose_queues(Sim *sim, Guest *guest)
{
    guint kind = (guint)dice_roll(&sim->dice, 0, 9);

    guest->kind = kind < 2 ? APMIG_AFFECTED_NO : kind < 3 ? APMIG_AFFECTED_UNKNOWN : APMIG_AFFECTED_YES;
    if (guest->kind == APMIG_AFFECTED_NO)
        guest->mask = 0;
    else if (guest->kind == APMIG_AFFECTED_UNKNOWN || kind == 3)
        guest->mask = sim->mask_all;
    else
        guest->mask = choose_few(sim);
    choose_device(sim, guest);
    guest->varies = guest->kind == APMIG_AFFECTED_YES && *guest->device.uuid && dice_chance(&sim->dice, 600);
}

static void
set_presence(Sim *sim, Guest *guest, Presence presence)
{
    guest->life += (guest->presence == GUEST_ABSENT) != (presence == GUEST_ABSENT);
    guest->presence = presence;
    guest->stranded = FALSE;
    guest->since = sim->now;
    if (presence != GUEST_ABSENT)
        return;
    guest->other_job = guest->restoring = guest->paused = guest->from_afar = FALSE;
    guest->frozen_until = 0;
    set_device(&guest->device, APMIG_VFIO_RUNNING, APMIG_SESSION_NONE);
}

static void
resume(Sim *sim, gpointer object, guint64 life)
{
    Guest *guest = object;

    if (!guest->paused || guest->life != life)
        return;
    guest->paused = FALSE;
    run_device(sim, guest);
}

void
guests_init(Sim *sim)
{
    sim->n_guests = sim->world == WORLD_CROWD ? MAX_GUESTS : (guint)dice_roll(&sim->dice, 1, 7);
    for (guint i = 0; i < sim->n_guests; i++) {
        Guest *guest = &sim->guests[i];

        guest->index = i;
        g_snprintf(guest->uuid, sizeof(guest->uuid), "%08x-1111-4222-8333-444455556666", i);
        g_snprintf(guest->name, sizeof(guest->name), "g%u", i % 100);
        choose_queues(sim, guest);
        set_presence(sim, guest, dice_chance(&sim->dice, 700) ? GUEST_ACTIVE : GUEST_ABSENT);
    }
}

/* --- outside of migrations ------------------------------------------------------------------------- */

static gboolean
is_idle(const Guest *guest)
{
    return !guest->migration && !guest->expected && !guest->other_job && !guest->changing &&
           !guest->restoring;
}

/* Two that are not here are made anew with each other's name. */
static void
may_be_renamed(Sim *sim, Guest *guest)
{
    Guest *other = &sim->guests[dice_roll(&sim->dice, 0, sim->n_guests - 1)];
    char name[sizeof(guest->name)];

    if (!dice_chance(&sim->dice, sim->profile.renames) || other == guest || other->presence != GUEST_ABSENT ||
        !is_idle(other))
        return;
    memcpy(name, guest->name, sizeof(name));
    memcpy(guest->name, other->name, sizeof(name));
    memcpy(other->name, name, sizeof(name));
    sim_trace(sim, "guest %u is called %s now, and guest %u %s", guest->index, guest->name, other->index,
              other->name);
    sim_cover(sim, COVER_RENAMED);
}

void
guest_start(Sim *sim, Guest *guest)
{
    /* A start takes longer than the news of the stop before. */
    if (guest->presence != GUEST_ABSENT || !is_idle(guest) || sim->now - guest->since < SECOND)
        return;
    if (dice_chance(&sim->dice, 300))
        choose_queues(sim, guest);
    may_be_renamed(sim, guest);
    set_presence(sim, guest, GUEST_ACTIVE);
    guest->stamp = (Stamp){0}; /* it is not kept with the definition */
    guest->changing = sim->connected;
    sim_trace(sim, "%s starts, queues %02x", guest->name, guest->mask);
    hypervisor_tell(sim, NEWS_STARTED, guest);
}

void
guest_stop(Sim *sim, Guest *guest)
{
    if (guest->presence != GUEST_ACTIVE || !is_idle(guest))
        return;
    truth_guest_was_not_seen_to_stay(guest);
    set_presence(sim, guest, GUEST_ABSENT);
    sim_trace(sim, "%s stops", guest->name);
    hypervisor_tell(sim, dice_chance(&sim->dice, 800) ? NEWS_STOPPED : NEWS_STOPPED_LOST, guest);
}

static void
restore_fails(Sim *sim, Guest *guest)
{
    sim_trace(sim, "%s is not restored", guest->name);
    guest->changing = FALSE;
    set_presence(sim, guest, GUEST_ABSENT);
    hypervisor_tell(sim, NEWS_STOPPED_LOST, guest);
}

static void
restored(Sim *sim, gpointer object, guint64 life)
{
    Guest *guest = object;

    if (!guest->restoring || guest->life != life)
        return;
    if (sim->now < guest->frozen_until) {
        sim_queue(sim, guest->frozen_until - sim->now, restored, guest, life, NULL);
        return;
    }
    guest->restoring = FALSE;
    run_device(sim, guest);
    sim_trace(sim, "%s is restored", guest->name);
    sim_cover(sim, COVER_RESTORED);
    guest->changing = sim->connected;
    hypervisor_tell(sim, NEWS_STARTED, guest);
}

void
guest_restore(Sim *sim, Guest *guest)
{
    if (guest->presence != GUEST_ABSENT || !is_idle(guest) || sim->now - guest->since < SECOND)
        return;
    set_presence(sim, guest, GUEST_ACTIVE);
    guest->restoring = guest->from_afar = TRUE;
    guest->changing = sim->connected;
    if (*guest->device.uuid)
        set_device(&guest->device, APMIG_VFIO_RESUMING, APMIG_SESSION_LOADING);
    sim_trace(sim, "%s is being restored, queues %02x", guest->name, guest->mask);
    hypervisor_tell(sim, NEWS_HINT, guest);
    sim_queue(sim, dice_roll(&sim->dice, 300, 3000) * MSEC, restored, guest, guest->life, NULL);
}

static void
ask_to_restore(Sim *sim, gpointer object, guint64 life)
{
    Guest *guest = object;

    if (guest->life != life || guest->presence != GUEST_ABSENT || guest->expected || sim->calm)
        return;
    sim_cover(sim, COVER_RESTORED_INSTEAD);
    actors_ask_hook(sim, guest, NULL);
}

/* Somebody wants it back: by a file, and as soon as may be. */
static void
may_be_restored(Sim *sim, Guest *guest)
{
    if (dice_chance(&sim->dice, sim->profile.restores))
        sim_queue(sim, dice_roll(&sim->dice, 1000, 3000) * MSEC, ask_to_restore, guest, guest->life, NULL);
}

void
guest_replug(Sim *sim, Guest *guest)
{
    if (guest->presence != GUEST_ACTIVE || !is_idle(guest) || guest->paused || guest->stranded ||
        sim->now < guest->frozen_until)
        return;
    choose_queues(sim, guest);
    guest->changing = sim->connected;
    sim_trace(sim, "%s has other devices now, queues %02x", guest->name, guest->mask);
    hypervisor_tell(sim, NEWS_CHANGED, guest);
}

void
guest_reassign(Sim *sim, Guest *guest)
{
    g_autoptr(GPtrArray) locks = sim->engine ? apmig_engine_list_locks(sim->engine) : NULL;

    if (guest->presence != GUEST_ACTIVE || !guest->varies || !is_idle(guest))
        return;
    guest->mask = choose_few(sim);
    sim_trace(sim, "the device of %s has other queues now, %02x", guest->name, guest->mask);
    if (locks && locks->len)
        sim_cover(sim, COVER_REASSIGNED);
}

static void
end_other_job(Sim *sim, gpointer object, guint64 number)
{
    Guest *guest = object;

    /* The job may have ended with an earlier life of the guest. */
    gboolean saved = guest->other_job && !guest->migration && dice_chance(&sim->dice, 200);

    guest->other_job = FALSE;
    hypervisor_tell(sim, dice_chance(&sim->dice, 700) ? NEWS_JOB_SAVED : NEWS_HINT, guest);
    if (!saved)
        return;
    truth_guest_was_not_seen_to_stay(guest);
    set_presence(sim, guest, GUEST_ABSENT);
    sim_trace(sim, "%s is saved", guest->name);
    sim_cover(sim, COVER_SAVED);
    hypervisor_tell(sim, NEWS_STOPPED_SAVED, guest);
    may_be_restored(sim, guest);
}

void
guest_begin_other_job(Sim *sim, Guest *guest)
{
    if (guest->presence != GUEST_ACTIVE || !is_idle(guest))
        return;
    guest->other_job = TRUE;
    sim_trace(sim, "%s is being dumped", guest->name);
    hypervisor_tell(sim, NEWS_HINT, guest);
    if (dice_chance(&sim->dice, 500))
        hypervisor_tell(sim, NEWS_SENDING, guest);
    sim_queue(sim, dice_spread(&sim->dice, 10 * MSEC, 30 * SECOND), end_other_job, guest, 0, NULL);
}

/* --- migrations ------------------------------------------------------------------------------------ */

static Migration *
migration_new(Sim *sim, Guest *guest, gboolean outgoing)
{
    Migration *migration = g_new0(Migration, 1);

    migration->number = sim->migrations->len;
    migration->guest = guest;
    migration->outgoing = outgoing;
    migration->mask = migration->taken_mask = guest->mask;
    migration->completes = dice_chance(&sim->dice, 700);
    migration->endless = !outgoing && dice_chance(&sim->dice, sim->profile.endless);
    migration->asked_at = sim->now;
    g_ptr_array_add(sim->migrations, migration);
    return migration;
}

static void
arrive(Sim *sim, Guest *guest)
{
    set_presence(sim, guest, GUEST_ACTIVE);
    if (dice_chance(&sim->dice, sim->profile.paused)) {
        guest->paused = TRUE;
        sim_trace(sim, "%s arrives paused", guest->name);
        sim_cover(sim, COVER_ARRIVED_PAUSED);
        sim_queue(sim, dice_spread(&sim->dice, 10 * MSEC, 120 * SECOND), resume, guest, guest->life, NULL);
    } else
        run_device(sim, guest);
}

static void
end(Sim *sim, Migration *migration, gboolean completed)
{
    Guest *guest = migration->guest;
    gboolean began = migration->began_at != 0;

    if (migration->stage == STAGE_ENDED)
        return;
    sim_trace(sim, "migration %u of %s %s, %s", migration->number, guest->name,
              migration->outgoing ? "out" : "in", completed ? "completes" : "has failed");
    if (guest->expected == migration)
        guest->expected = NULL;
    if (guest->migration == migration)
        guest->migration = NULL;
    enter(sim, migration, STAGE_ENDED, 0);
    if (!began)
        return;
    if (migration->outgoing && completed) {
        set_presence(sim, guest, GUEST_ABSENT);
        guest->leaving = migration;
        hypervisor_tell(
            sim, dice_chance(&sim->dice, sim->profile.dies) ? NEWS_STOPPED_LOST : NEWS_STOPPED_MIGRATED,
            guest);
        guest->leaving = NULL;
    } else if (!migration->outgoing && completed) {
        arrive(sim, guest);
        hypervisor_tell(sim, dice_chance(&sim->dice, 700) ? NEWS_RESUMED : NEWS_HINT, guest);
    } else if (!migration->outgoing) {
        set_presence(sim, guest, GUEST_ABSENT);
        hypervisor_tell(sim, NEWS_STOPPED_LOST, guest);
        may_be_restored(sim, guest);
    } else {
        if (!guest->stranded)
            run_device(sim, guest);
        /* libvirt has no event for it, unless the guest had been suspended; only its status folder may move. */
        if (migration->suspended && !guest->stranded) {
            sim_cover(sim, COVER_RESUMED);
            hypervisor_tell(sim, NEWS_RESUMED, guest);
        } else if (dice_chance(&sim->dice, 200))
            hypervisor_tell(sim, NEWS_HINT, guest);
    }
}

void
guest_migrate_out(Sim *sim, Guest *guest)
{
    Migration *migration;

    if (guest->presence != GUEST_ACTIVE || !is_idle(guest))
        return;
    migration = migration_new(sim, guest, TRUE);
    migration->began_at = sim->now;
    guest->migration = migration;
    stamps_guest_leaves(sim, guest);
    if (guest->stranded || guest->paused)
        run_device(sim, guest); /* somebody has resumed it */
    guest->stranded = guest->paused = FALSE;
    if (guest->told.asking)
        sim_cover(sim, COVER_DURING_READING);
    sim_trace(sim, "migration %u of %s out begins, queues %02x", migration->number, guest->name,
              migration->mask);
    hypervisor_tell(sim, NEWS_HINT, guest);
    enter(sim, migration, STAGE_BEGIN, dice_spread(&sim->dice, 5 * MSEC, 5 * SECOND));
}

/* By the engine: also one of which the hook has asked and gone before the question was written. */
gboolean
guest_has_record(const Sim *sim, const Guest *guest)
{
    g_autoptr(GPtrArray) migrations = sim->engine ? apmig_engine_list_migrations(sim->engine) : NULL;

    for (guint i = 0; migrations && i < migrations->len; i++) {
        const ApmigMigration *migration = g_ptr_array_index(migrations, i);

        if (!migration->outgoing && g_str_equal(migration->uuid, guest->uuid))
            return TRUE;
    }
    return FALSE;
}

static gboolean
is_expected(const Sim *sim, const Guest *guest)
{
    return guest_has_record(sim, guest) || g_hash_table_contains(sim->durable_admissions, guest->uuid) ||
           permits_have_user(sim, guest);
}

/* The source has, before its guest appeared here, and tries again. */
static void
give_up(Sim *sim, Guest *guest)
{
    if (!guest->expected || guest->expected->stage != STAGE_ALLOWED || guest->expected->hookless)
        return;
    sim_cover(sim, COVER_RETRIED);
    end(sim, guest->expected, FALSE);
}

void
guest_let_in(Sim *sim, Guest *guest)
{
    guest->let_in = (LetIn){.at = sim->now, .kind = guest->kind, .mask = guest->mask};
    g_strlcpy(guest->let_in.device, guest->device.uuid, sizeof(guest->let_in.device));
}

static gboolean
is_as_let_in(const Sim *sim, const Guest *guest)
{
    if (guest->kind == APMIG_AFFECTED_UNKNOWN || guest->in_mixed || permits_have_user(sim, guest) ||
        (guest->in_mask && guest->in_mask != guest->mask))
        return FALSE;
    return guest->kind == guest->let_in.kind && guest->mask == guest->let_in.mask &&
           g_str_equal(guest->device.uuid, guest->let_in.device);
}

void
guest_migrate_in(Sim *sim, Guest *guest, gboolean hookless)
{
    Migration *migration;
    gboolean is_mistaken;

    if (!hookless && dice_chance(&sim->dice, sim->profile.retries))
        give_up(sim, guest);
    /* The hook may also ask for a guest that turns out to be active here already, or to come in. */
    if (guest->expected || guest->changing || sim->now - guest->since < SECOND ||
        (guest->migration && (hookless || guest->migration->outgoing || guest->migration->stray ||
                              !dice_chance(&sim->dice, sim->profile.retries))))
        return;
    if (guest->migration)
        sim_cover(sim, COVER_ASKED_AGAIN);
    /* One that the hook has let in, or has asked for, is not mistaken for another that nobody asked for. */
    is_mistaken = hookless &&
                  (sim->now < guest->let_in.at + 2 * sim->policy->admission_usec || is_expected(sim, guest));
    if (is_mistaken && !is_as_let_in(sim, guest))
        return;
    if (!is_mistaken && guest->presence == GUEST_ABSENT && dice_chance(&sim->dice, 200))
        choose_queues(sim, guest);
    if (guest->presence == GUEST_ABSENT)
        may_be_renamed(sim, guest);
    migration = migration_new(sim, guest, FALSE);
    migration->hookless = hookless;
    migration->as_let_in = is_mistaken;
    if (is_mistaken)
        sim_cover(sim, COVER_UNASKED_AS_LET_IN);
    guest->expected = migration;
    sim_trace(sim, "migration %u of %s in is asked for, queues %02x", migration->number, guest->name,
              migration->mask);
    if (hookless)
        enter(sim, migration, STAGE_ALLOWED, 0);
    else {
        enter(sim, migration, STAGE_ASKING, 5 * SECOND);
        actors_ask_hook(sim, guest, migration);
    }
}

void
guest_refused(const Sim *sim, Guest *guest)
{
    if (guest_has_record(sim, guest))
        return;
    guest->in_mask = 0;
    guest->in_mixed = FALSE;
}

void
guest_forget_admission(Guest *guest)
{
    guest->in_mask = 0;
    guest->in_mixed = FALSE;
    guest->told.doubted |= guest->told.facts_asked_at <= guest->in_asked_at;
    guest->told.lasts &= !guest->told.doubted;
}

/* How long after the hook's yes a guest appears: other hook scripts may be slow. */
static gint64
appearance_delay(Sim *sim)
{
    if (!dice_chance(&sim->dice, sim->profile.slow_hook))
        return dice_roll(&sim->dice, 40 * MSEC, 120 * MSEC);
    if (dice_chance(&sim->dice, 600))
        return dice_spread(&sim->dice, 1, 8 * SECOND);
    return dice_roll(&sim->dice, sim->policy->admission_usec - 2 * SECOND, 2 * sim->policy->admission_usec);
}

void
migration_answered(Sim *sim, Migration *migration, gboolean allowed)
{
    ApmigCaller caller = migration->caller;

    if (migration->stage != STAGE_ASKING)
        return;
    migration->caller = 0;
    if (!allowed || migration->guest->presence != GUEST_ABSENT)
        end(sim, migration, FALSE);
    else {
        migration->offline = dice_chance(&sim->dice, sim->profile.offline);
        migration->never = migration->offline || dice_chance(&sim->dice, 100);
        daemon_hook_ends(sim, caller);
        enter(sim, migration, STAGE_ALLOWED,
              migration->never && dice_chance(&sim->dice, 500) ? sim->policy->admission_usec + 5 * SECOND
                                                               : appearance_delay(sim));
    }
}

static gboolean
is_late(const Sim *sim, const Migration *migration)
{
    return migration->hookless || migration->forgotten ||
           sim->now > migration->asked_at + sim->policy->admission_usec;
}

static void
appear(Sim *sim, Migration *migration)
{
    Guest *guest = migration->guest;

    if (migration->offline && guest->presence == GUEST_ABSENT) {
        sim_cover(sim, COVER_OFFLINE);
        hypervisor_tell(sim, NEWS_DEFINED, guest);
    }
    if (migration->never || guest->presence != GUEST_ABSENT) {
        end(sim, migration, FALSE);
        return;
    }
    migration->stray = is_late(sim, migration);
    truth_may_count(migration);
    migration->began_at = sim->now;
    guest->expected = NULL;
    guest->migration = migration;
    guest->from_afar = TRUE;
    set_presence(sim, guest, GUEST_INCOMING);
    stamps_guest_comes(sim, guest);
    if (migration->stray && !migration->hookless)
        sim_cover(sim, COVER_STRAY);
    sim_trace(sim, "migration %u of %s in: the guest appears%s", migration->number, guest->name,
              migration->stray ? ", unexpected" : "");
    hypervisor_tell(sim, NEWS_ARRIVING, guest);
    /* Disks may be copied before the stream of memory and devices begins. */
    enter(sim, migration, STAGE_BEGIN,
          dice_chance(&sim->dice, 300) ? dice_roll(&sim->dice, 1 * SECOND, 20 * SECOND)
                                       : dice_roll(&sim->dice, 1 * MSEC, 50 * MSEC));
}

static gint64
transfer_duration(Sim *sim, const Migration *migration)
{
    if (migration->outgoing)
        return dice_spread(&sim->dice, 20 * MSEC, 60 * SECOND);
    return migration->endless && !sim->calm ? 3600 * SECOND : dice_spread(&sim->dice, 20 * MSEC, 30 * SECOND);
}

/* The switchover. */
static void
transferred(Sim *sim, Migration *migration)
{
    if (migration->fenced)
        sim_cover(sim, COVER_FENCE_WORKED);
    if (!migration->completes || migration->fenced)
        end(sim, migration, FALSE);
    else if (migration->outgoing)
        enter(sim, migration, STAGE_STOP_COPY, dice_spread(&sim->dice, 1 * MSEC, 4 * SECOND));
    else
        enter(sim, migration, STAGE_LOADED, dice_spread(&sim->dice, 1 * MSEC, 500 * MSEC));
}

static void
loaded(Sim *sim, Migration *migration)
{
    if (migration->fenced) {
        sim_cover(sim, COVER_FENCE_WORKED);
        end(sim, migration, FALSE);
    } else if (migration->outgoing && dice_chance(&sim->dice, sim->profile.postcopy)) {
        sim_trace(sim, "migration %u of %s out is in post-copy", migration->number, migration->guest->name);
        enter(sim, migration, STAGE_POSTCOPY, dice_spread(&sim->dice, 100 * MSEC, 20 * SECOND));
    } else
        enter(sim, migration, STAGE_DONE, dice_spread(&sim->dice, 5 * MSEC, 3 * SECOND));
}

static void
next_stage(Sim *sim, gpointer object, guint64 turn)
{
    Migration *migration = object;

    if (migration->turn != turn)
        return;
    if (sim->now < migration->guest->frozen_until) {
        sim_queue(sim, migration->guest->frozen_until - sim->now, next_stage, migration, turn, NULL);
        return;
    }
    switch (migration->stage) {
    case STAGE_ASKING: /* the hook's own deadline: it gives up, and that is a no */
        daemon_caller_gone(sim, migration->caller);
        end(sim, migration, FALSE);
        break;
    case STAGE_ALLOWED:
        appear(sim, migration);
        break;
    case STAGE_BEGIN:
        if (migration->outgoing && dice_chance(&sim->dice, 80))
            end(sim, migration, FALSE); /* refused at the destination */
        else
            enter(sim, migration, STAGE_TRANSFER, transfer_duration(sim, migration));
        break;
    case STAGE_TRANSFER:
        transferred(sim, migration);
        break;
    case STAGE_STOP_COPY:
    case STAGE_LOADED:
        loaded(sim, migration);
        break;
    case STAGE_DONE:
    case STAGE_POSTCOPY:
        end(sim, migration, TRUE);
        break;
    case STAGE_CANCELLING:
        end(sim, migration, FALSE);
        break;
    case STAGE_ENDED:
        break;
    }
}

ApmigStepOutcome
migration_abort(Sim *sim, Guest *guest)
{
    Migration *migration = guest->migration;

    if (guest_job(guest) != APMIG_JOB_OUTGOING)
        return APMIG_STEP_NO_JOB;
    if (migration->stage == STAGE_POSTCOPY)
        return APMIG_STEP_NOT_ABORTABLE;
    if (dice_chance(&sim->dice, sim->profile.failing))
        return APMIG_STEP_FAILED;
    if (migration->stage == STAGE_DONE || migration->stage == STAGE_CANCELLING ||
        dice_chance(&sim->dice, sim->profile.lying))
        return APMIG_STEP_REQUESTED;
    enter(sim, migration, STAGE_CANCELLING,
          dice_chance(&sim->dice, 950) ? dice_spread(&sim->dice, 1 * MSEC, 3 * SECOND) : 28 * SECOND);
    return APMIG_STEP_REQUESTED;
}

static void
outgoing_fenced(Sim *sim, Migration *migration)
{
    sim_cover(sim, migration->stage == STAGE_TRANSFER ? COVER_FENCED_PRE_COPY : COVER_FENCED_STOP_COPY);
    migration->fenced = TRUE;
    /* QEMU fails with its next read, or only at the switchover when it has read all there is. */
    if (migration->stage != STAGE_CANCELLING && dice_chance(&sim->dice, 500))
        enter(sim, migration, STAGE_CANCELLING, dice_spread(&sim->dice, 1 * MSEC, 500 * MSEC));
}

void
guest_device_set(Sim *sim, Guest *guest, ApmigVfioState state)
{
    Migration *migration = guest->migration;

    guest->device.state = state;
    if (guest->restoring) { /* by a helper that was told to when another QEMU was here; the file stays */
        restore_fails(sim, guest);
        return;
    }
    if (!migration || !migration->began_at) {
        sim_violation(sim, "I7", "the device of %s, which does not migrate, is changed", guest->name);
        return;
    }
    if (migration->outgoing) {
        guest->device.session = APMIG_SESSION_NONE;
        outgoing_fenced(sim, migration);
        return;
    }
    migration->fenced = migration->stage < STAGE_LOADED;
    sim_cover(sim, migration->fenced ? COVER_FENCED_IN : COVER_FENCED_IN_VAIN);
}

void
guest_killed(Sim *sim, Guest *guest)
{
    Migration *migration = guest->migration;

    if (!migration || migration->outgoing || migration->stage < STAGE_BEGIN || migration->stage >= STAGE_DONE)
        sim_violation(sim, "I7", "%s is killed, and runs nowhere any more", guest->name);
    else
        end(sim, migration, FALSE);
}

/* --- misfortune ------------------------------------------------------------------------------------ */

void
guests_disturbed(Sim *sim)
{
    for (guint i = 0; i < sim->n_guests; i++) {
        Guest *guest = &sim->guests[i];

        if (guest->restoring && dice_chance(&sim->dice, 500))
            restore_fails(sim, guest);
        if (guest->migration)
            truth_may_count(guest->migration);
        if (guest->migration && dice_chance(&sim->dice, 500)) {
            gboolean done = guest->migration->outgoing && guest->migration->stage == STAGE_DONE;

            guest->stranded = done && dice_chance(&sim->dice, 500);
            end(sim, guest->migration, done && !guest->stranded);
        } else if (guest->expected && guest->expected->stage == STAGE_ALLOWED && dice_chance(&sim->dice, 300))
            guest->expected->completes = FALSE;
    }
}

void
guests_reboot(Sim *sim)
{
    for (guint i = 0; i < sim->n_guests; i++) {
        Guest *guest = &sim->guests[i];

        if (guest->migration)
            enter(sim, guest->migration, STAGE_ENDED, 0);
        if (guest->expected)
            enter(sim, guest->expected, STAGE_ENDED, 0);
        guest->migration = guest->expected = NULL;
        guest->changing = FALSE;
        set_presence(sim, guest, GUEST_ABSENT);
    }
}

void
guests_calm_down(Sim *sim)
{
    for (guint i = 0; i < sim->n_guests; i++) {
        Migration *migration = sim->guests[i].migration;

        if (migration)
            enter(sim, migration, migration->stage, dice_roll(&sim->dice, 1, 8 * SECOND));
    }
}
