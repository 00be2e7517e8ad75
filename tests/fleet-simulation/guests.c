/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The truth about guests: where each runs, and its migration from Begin at the source over the hook at the destination and
 * the stream to the moment when it runs there, as libvirt does it.
 */
#include "fleet.h"

static void next_stage(Sim *sim, gpointer object, guint64 turn);

/* --- what is to be seen of a guest --------------------------------------------------------------- */

Guest *
guest_by_uuid(Sim *sim, const char *uuid)
{
    for (guint i = 0; uuid && i < sim->n_guests; i++)
        if (g_str_equal(sim->guests[i].uuid, uuid))
            return &sim->guests[i];
    return NULL;
}

ApmigJob
guest_job(const Guest *guest, const Host *host)
{
    if (guest->stage != STAGE_NONE && guest->source == host)
        return APMIG_JOB_OUTGOING;
    if (guest->stage >= STAGE_COMING && guest->stage < STAGE_ARRIVED && guest->dest == host)
        return APMIG_JOB_INCOMING;
    return guest->host == host ? APMIG_JOB_NONE : APMIG_JOB_GONE;
}

ApmigGuestFacts
guest_facts(const Sim *sim, const Guest *guest)
{
    return (ApmigGuestFacts){
        .affected = guest->mask ? APMIG_AFFECTED_YES : APMIG_AFFECTED_NO,
        .scope = guest->mask ? sim->scopes[guest->mask] : NULL,
    };
}

/* --- migrations ---------------------------------------------------------------------------------- */

static void
enter(Sim *sim, Guest *guest, Stage stage, gint64 delay)
{
    guest->stage = stage;
    guest->turn++;
    sim_later(sim, delay, next_stage, guest, guest->turn, NULL);
}

static void
rest(Guest *guest)
{
    guest->stage = STAGE_NONE;
    guest->turn++;
    guest->source = guest->dest = NULL;
    guest->hook = 0;
}

static void
fail(Sim *sim, Guest *guest)
{
    const Stage stage = guest->stage;
    Host *source = guest->source, *dest = guest->dest;

    sim_trace(sim, "the migration of %s from %s to %s has failed", guest->name, source->name, dest->name);
    rest(guest);
    if (stage >= STAGE_COMING)
        libvirt_news(sim, dest, guest, APMIG_NEWS_STOPPED_LOST);
    if (stage >= STAGE_SUSPENDED)
        libvirt_news(sim, source, guest, APMIG_NEWS_RESUMED);
    else
        libvirt_hint(sim, source, guest);
}

static void
answered(Sim *sim, Host *host, const ApmigAction *reply, gpointer data)
{
    Guest *guest = data;
    const ApmigCaller hook = guest->hook;

    if (guest->stage != STAGE_ASKING || guest->dest != host || !hook)
        return;
    guest->hook = 0;
    if (!reply || reply->type != APMIG_ACTION_REPLY_ADMIT || !reply->reply.allowed) {
        sim_met(sim, MET_REFUSED_MOVE);
        fail(sim, guest);
        return;
    }
    host_caller_gone(sim, host, hook);
    enter(sim, guest, STAGE_ALLOWED,
          dice_chance(&sim->dice, 900) ? dice_roll(&sim->dice, 40 * MSEC, 120 * MSEC)
                                       : dice_spread(&sim->dice, 1 * SECOND, 8 * SECOND));
}

/* Returns: (transfer full) (nullable): what it brings. */
static ApmigStamp *
stamp_of(const Sim *sim, const Guest *guest)
{
    ApmigStampLock *lock = NULL;
    g_autoptr(ApmigEvidence) evidence = apmig_evidence_new();

    if (!guest->stamped_by)
        return NULL;
    if (*guest->stamp) {
        lock = g_new0(ApmigStampLock, 1);
        lock->id = g_strdup(guest->stamp);
        lock->reason = g_strdup("a rotation");
        lock->owner = g_strdup("cora");
        lock->since = sim_realtime(sim);
    }
    return apmig_stamp_new(guest->stamped_by->id, sim_realtime(sim), NULL, evidence, lock);
}

/* The hook's script refuses an affected guest when nobody answers. */
static void
ask_hook(Sim *sim, Guest *guest)
{
    Host *dest = guest->dest;
    g_autoptr(ApmigStamp) stamp = stamp_of(sim, guest);
    g_autoptr(ApmigEvidence) evidence = apmig_evidence_new();
    ApmigEvent event = {.type = APMIG_EVENT_ADMIT};

    guest->permitted_at = 0;
    enter(sim, guest, STAGE_ASKING, 5 * SECOND);
    if (!dest->hook) {
        enter(sim, guest, STAGE_ALLOWED, 50 * MSEC);
        return;
    }
    if (!dest->engine) {
        enter(sim, guest, guest->mask ? STAGE_ASKING : STAGE_ALLOWED, 5 * SECOND);
        return;
    }
    event.admit.uuid = guest->uuid;
    event.admit.name = guest->name;
    event.admit.facts = guest_facts(sim, guest);
    event.admit.arrival.stamp = stamp;
    event.admit.arrival.evidence = evidence;
    event.admit.arrival.host_id = dest->id;
    event.admit.arrival.asked_at = host_boot_time(sim, dest);
    if (apmig_engine_find_permit(dest->engine, guest->uuid))
        guest->permitted_at = dest->permit_at[guest->index];
    guest->hook = dest->last_caller + 1;
    host_ask(sim, dest, &event, answered, guest, NULL);
}

/* The guest runs there from now on. */
static void
arrive(Sim *sim, Guest *guest)
{
    check_move(sim, guest);
    sim_met(sim, guest->permitted_at ? MET_PERMITTED_MOVE : MET_MOVE);
    sim_trace(sim, "%s has moved from %s to %s", guest->name, guest->source->name, guest->dest->name);
    guest->host = guest->dest;
    guest->since = sim->now;
    enter(sim, guest, STAGE_ARRIVED, dice_spread(&sim->dice, 1 * MSEC, 500 * MSEC));
    libvirt_news(sim, guest->dest, guest, APMIG_NEWS_RESUMED);
}

static void
confirm(Sim *sim, Guest *guest)
{
    Host *source = guest->source;

    rest(guest);
    libvirt_news(sim, source, guest, APMIG_NEWS_STOPPED_MIGRATED);
}

static void
next_stage(Sim *sim, gpointer object, guint64 turn)
{
    Guest *guest = object;

    if (guest->turn != turn)
        return;
    switch (guest->stage) {
    case STAGE_BEGIN:
        if (guest->dest->up)
            ask_hook(sim, guest);
        else
            fail(sim, guest);
        break;
    case STAGE_ASKING: /* the hook's own deadline: that is a no */
        if (guest->hook)
            host_caller_gone(sim, guest->dest, guest->hook);
        fail(sim, guest);
        break;
    case STAGE_ALLOWED:
        if (dice_chance(&sim->dice, 50)) {
            fail(sim, guest);
            break;
        }
        enter(sim, guest, STAGE_COMING, dice_spread(&sim->dice, 1 * MSEC, 500 * MSEC));
        libvirt_news(sim, guest->dest, guest, APMIG_NEWS_ARRIVING);
        break;
    case STAGE_COMING:
        enter(sim, guest, STAGE_SENDING, dice_spread(&sim->dice, 20 * MSEC, 60 * SECOND));
        libvirt_news(sim, guest->source, guest, APMIG_NEWS_SENDING);
        break;
    case STAGE_SENDING:
        enter(sim, guest, STAGE_SUSPENDED, dice_spread(&sim->dice, 1 * MSEC, 2 * SECOND));
        libvirt_news(sim, guest->source, guest, APMIG_NEWS_SUSPENDED);
        break;
    case STAGE_SUSPENDED:
        if (dice_chance(&sim->dice, 900))
            arrive(sim, guest);
        else
            fail(sim, guest);
        break;
    case STAGE_ARRIVED:
        confirm(sim, guest);
        break;
    case STAGE_NONE:
        break;
    }
}

void
guest_migrate(Sim *sim, Guest *guest, Host *dest)
{
    if (!guest->host || guest->stage != STAGE_NONE || dest == guest->host)
        return;
    guest->source = guest->host;
    guest->dest = dest;
    sim_trace(sim, "%s is to move from %s to %s", guest->name, guest->source->name, dest->name);
    enter(sim, guest, STAGE_BEGIN, dice_spread(&sim->dice, 5 * MSEC, 1 * SECOND));
    libvirt_hint(sim, guest->source, guest);
}

static void
cancelled(Sim *sim, gpointer object, guint64 turn)
{
    Guest *guest = object;

    if (guest->turn != turn)
        return;
    sim_met(sim, MET_ABORTED_MOVE);
    fail(sim, guest);
}

ApmigStepOutcome
guest_abort(Sim *sim, Guest *guest, const Host *host)
{
    if (guest_job(guest, host) != APMIG_JOB_OUTGOING)
        return APMIG_STEP_NO_JOB;
    if (guest->stage == STAGE_ARRIVED || (guest->stage == STAGE_SUSPENDED && dice_chance(&sim->dice, 500)))
        return APMIG_STEP_REQUESTED; /* too late */
    if (guest->hook)
        host_caller_gone(sim, guest->dest, guest->hook);
    guest->hook = 0;
    guest->turn++;
    sim_later(sim, dice_spread(&sim->dice, 1 * MSEC, 2 * SECOND), cancelled, guest, guest->turn, NULL);
    return APMIG_STEP_REQUESTED;
}

/* --- life ---------------------------------------------------------------------------------------- */

void
guests_host_dies(Sim *sim, Host *host)
{
    for (guint i = 0; i < sim->n_guests; i++) {
        Guest *guest = &sim->guests[i];
        Host *source = guest->source, *dest = guest->dest;
        const Stage stage = guest->stage;

        if (stage != STAGE_NONE && (source == host || dest == host))
            rest(guest);
        if (stage != STAGE_NONE && dest == host && source != host) {
            if (stage == STAGE_ARRIVED)
                libvirt_news(sim, source, guest, APMIG_NEWS_STOPPED_MIGRATED);
            else
                libvirt_hint(sim, source, guest);
        }
        if (stage >= STAGE_COMING && stage < STAGE_ARRIVED && source == host)
            libvirt_news(sim, dest, guest, APMIG_NEWS_STOPPED_LOST);
        if (guest->host != host)
            continue;
        sim_trace(sim, "%s has died with %s", guest->name, host->name);
        guest->host = NULL;
        guest->since = sim->now;
    }
}

static void
start(Sim *sim, Guest *guest, Host *host)
{
    if (!host->up || sim->now - guest->since < 5 * SECOND)
        return;
    guest->host = host;
    guest->since = sim->now;
    guest->stamped_by = NULL;
    guest->stamp[0] = '\0';
    sim_trace(sim, "%s starts on %s", guest->name, host->name);
    libvirt_news(sim, host, guest, APMIG_NEWS_STARTED);
}

/* Operators, and what moves guests by itself. */
static void
act(Sim *sim, gpointer object, guint64 number)
{
    Guest *guest = &sim->guests[dice_roll(&sim->dice, 0, sim->n_guests - 1)];
    Host *host = &sim->hosts[dice_roll(&sim->dice, 0, sim->n_hosts - 1)];

    if (!guest->host && guest->stage == STAGE_NONE)
        start(sim, guest, host);
    else
        guest_migrate(sim, guest, host);
    sim_later(sim, dice_roll(&sim->dice, 10 * MSEC, 2 * sim->profile.move_pause), act, NULL, 0, NULL);
}

void
guests_init(Sim *sim)
{
    sim->n_guests = (guint)dice_roll(&sim->dice, 2, MAX_GUESTS);
    for (guint i = 0; i < sim->n_guests; i++) {
        Guest *guest = &sim->guests[i];

        guest->index = i;
        g_snprintf(guest->uuid, sizeof(guest->uuid), "%08x-1111-4222-8333-444455556666", i);
        g_snprintf(guest->name, sizeof(guest->name), "g%u", i % 10);
        guest->mask = dice_chance(&sim->dice, 100) ? 0 : (guint)dice_roll(&sim->dice, 1, ALL_QUEUES);
        guest->host = &sim->hosts[dice_roll(&sim->dice, 0, sim->n_hosts - 1)];
    }
    sim_later(sim, dice_roll(&sim->dice, 1, 10 * SECOND), act, NULL, 0, NULL);
}
