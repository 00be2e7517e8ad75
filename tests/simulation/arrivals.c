/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What guests bring that come in or are restored: stamps that are right, old, of this host, of another under a lock,
 * damaged or none; by the true keys of other hosts, which change. And what the policy makes of each. With the dice of
 * stamps.c, and in its runs alone.
 */
#include "ap/fixture.h"
#include "simulation.h"

#include <string.h>

#define HERE  "00000000-0000-4000-8000-00000000000e"
#define THERE "00000000-0000-4000-8000-00000000001e"
#define DAY   (24 * 3600 * SECOND)

typedef enum {
    BRINGS_NOTHING,
    BRINGS_WHAT_DOES_NOT_READ,
    BRINGS_STAMP,
    BRINGS_DAMAGED_STAMP,
} Brings;

struct Arrival {
    Brings brings;
    gboolean own, digest;
    gint64 written_at;
    char lock[9];
    guint mask;             /* of which it tells */
    guint keys[MAX_QUEUES]; /* 0: not known there */
    guint here[MAX_QUEUES]; /* 0: not known here */
    ApmigStamp *stamp;
    ApmigEvidence *evidence;
    ApmigScope *scope;
};

void
arrival_free(Arrival *arrival)
{
    apmig_stamp_free(arrival->stamp);
    apmig_evidence_free(arrival->evidence);
    apmig_scope_unref(arrival->scope);
    g_free(arrival);
}

/* --- the truth ----------------------------------------------------------------------------------- */

static void
change(Sim *sim, gpointer object, guint64 number)
{
    Dice *dice = &sim->stamp_dice;
    const guint queue = (guint)dice_roll(dice, 0, sim->n_queues - 1);

    if (dice_chance(dice, 600))
        for (guint i = 0; i < sim->n_queues; i++)
            sim->keys_there[i] = sim->queues[i].cur;
    else
        sim->keys_there[queue] = (guint)dice_roll(dice, 1, 3);
    sim->unknown_here = dice_chance(dice, 700) ? 0 : 1u << queue;
    if (!sim->calm)
        sim_queue(sim, dice_spread(dice, 200 * MSEC, 30 * SECOND), change, NULL, 0, NULL);
}

void
arrivals_init(Sim *sim)
{
    if (sim->has_stamps)
        change(sim, NULL, 0);
}

void
arrivals_choose_policy(Sim *sim, ApmigPolicy *policy)
{
    static const guint fresh[] = {0, 3600, 90 * 24 * 3600};
    Dice *dice = &sim->stamp_dice;

    if (!sim->has_stamps)
        return;
    policy->keys_differ = dice_chance(dice, 700) ? APMIG_STAMP_DENY : APMIG_STAMP_WARN;
    policy->keys_unknown = (ApmigStampAnswer)dice_roll(dice, APMIG_STAMP_OK, APMIG_STAMP_DENY);
    policy->stamp_missing = (ApmigStampAnswer)dice_roll(dice, APMIG_STAMP_OK, APMIG_STAMP_DENY);
    policy->stamp_fresh_seconds = fresh[dice_roll(dice, 0, 2)];
}

/* --- what it brings ------------------------------------------------------------------------------ */

static void
add_key(ApmigEvidence *evidence, guint queue, guint key, gboolean pending, gint64 at)
{
    g_autofree char *text = g_strdup_printf("WK CUR: valid 0x%u%063d\nWK NEW: %s0x%u%063d\n", key, 0,
                                            pending ? "uncommitted " : "empty - ", 9, 0);
    ApmigMkvps mkvps;

    if (!pending)
        *strstr(text, " 0x9") = '\0';
    mkvps = mkvps_of(text);
    apmig_evidence_add_reading(evidence, sim_adapter(queue), sim_domain(queue), &mkvps, at, NULL);
}

/* Returns: (transfer full) (nullable): the named queues of @mask, all of EP11's mode. */
static ApmigApView *
describe_view(Sim *sim, guint mask)
{
    ApmigApHost *host = host_new();
    ApmigApView *view;

    for (guint i = 0; i < sim->n_queues; i += 2)
        host_add_card(host, sim_adapter(i), "CEX8P");
    for (guint i = 0; i < sim->n_queues; i++)
        host_add_queue(host, sim_adapter(i), sim_domain(i), "vfio_ap");
    view = apmig_ap_view_new_of_scope(host, sim_scope(sim, mask));
    apmig_ap_host_free(host);
    return view;
}

static ApmigStampLock *
describe_lock(Sim *sim, const Arrival *arrival)
{
    ApmigStampLock *lock = *arrival->lock ? g_new0(ApmigStampLock, 1) : NULL;

    if (!lock)
        return NULL;
    lock->id = g_strdup(arrival->lock);
    lock->reason = g_strdup("another rotation");
    lock->owner = g_strdup("carla");
    lock->since = sim_realtime(sim);
    return lock;
}

static void
describe_stamp(Sim *sim, Arrival *arrival)
{
    g_autoptr(ApmigEvidence) there = apmig_evidence_new();

    for (guint i = 0; i < sim->n_queues; i++)
        if (arrival->keys[i])
            add_key(there, i, arrival->keys[i], FALSE, arrival->written_at);
    arrival->stamp = apmig_stamp_new(arrival->own ? HERE : THERE, arrival->written_at,
                                     describe_view(sim, arrival->mask), there, describe_lock(sim, arrival));
    if (arrival->brings == BRINGS_DAMAGED_STAMP)
        arrival->stamp->digest[0] = arrival->stamp->digest[0] == '0' ? '1' : '0';
    if (arrival->digest)
        g_clear_pointer(&arrival->stamp->keys, apmig_evidence_free);
}

static void
choose_stamp(Sim *sim, const Guest *guest, Arrival *arrival, gboolean restore)
{
    Dice *dice = &sim->stamp_dice;
    const gint64 what = dice_roll(dice, 0, 99);
    const gboolean is_old = what >= 50 && what < 60, is_early = what >= 60 && what < 65;
    gint64 age = dice_spread(dice, 1 * SECOND, 600 * SECOND);

    arrival->brings = what < 8    ? BRINGS_NOTHING
                      : what < 13 ? BRINGS_WHAT_DOES_NOT_READ
                      : what < 18 ? BRINGS_DAMAGED_STAMP
                                  : BRINGS_STAMP;
    arrival->own = restore ? what < 90 : what >= 65 && what < 78;
    arrival->digest = arrival->brings == BRINGS_STAMP && dice_chance(dice, 150);
    if (is_old || is_early)
        age = (is_old ? 1 : -1) * (dice_chance(dice, 500) ? 100 * DAY : 2 * 3600 * SECOND);
    arrival->written_at = sim_realtime(sim) - age;
    arrival->mask = guest->mask;
    for (guint i = 0; i < sim->n_queues; i++) {
        arrival->keys[i] = restore && dice_chance(dice, 700) ? sim->queues[i].cur : sim->keys_there[i];
        if (is_old)
            arrival->keys[i] = (guint)dice_roll(dice, 1, 3);
        if (dice_chance(dice, 30))
            arrival->keys[i] = 0;
    }
    if (arrival->own && guest->stamp.any && !guest->stamp.foreign)
        g_strlcpy(arrival->lock, guest->stamp.lock, sizeof(arrival->lock));
    else if (what >= 75 && what < 90)
        g_strlcpy(arrival->lock, "1ac0ffee", sizeof(arrival->lock));
}

/* --- what follows -------------------------------------------------------------------------------- */

/* Whether what it tells of queues and keys is believed. */
static gboolean
counts(const Sim *sim, const Arrival *arrival, const ApmigPolicy *policy, gboolean restore)
{
    const gint64 fresh = restore ? 0 : policy->stamp_fresh_seconds * SECOND;
    const gint64 age = sim_realtime(sim) - arrival->written_at;

    if (arrival->brings != BRINGS_STAMP || (arrival->own && !restore))
        return FALSE;
    return !fresh || (arrival->written_at >= 0 && ABS(age) <= fresh);
}

static gboolean
is_locked(Sim *sim, const Arrival *arrival, gboolean restore, gboolean permitted)
{
    if (arrival->brings < BRINGS_STAMP || !*arrival->lock || restore || permitted)
        return FALSE;
    return !arrival->own || !apmig_engine_lookup_lock(sim->engine, arrival->lock);
}

static gboolean
keys_are_refused(Sim *sim, const Arrival *arrival, const ApmigPolicy *policy, gboolean restore)
{
    gboolean differ = FALSE, unknown = FALSE;

    for (guint i = 0; i < sim->n_queues; i++) {
        if (!(arrival->mask & (1u << i)))
            continue;
        if (!arrival->keys[i] || !arrival->here[i])
            unknown = TRUE;
        else if (arrival->keys[i] != arrival->here[i])
            differ = TRUE;
    }
    if (arrival->digest) { /* which does not tell the one from the other */
        unknown |= differ;
        differ = FALSE;
    }
    if (differ && policy->keys_differ == APMIG_STAMP_DENY)
        sim_cover(sim, restore ? COVER_RESTORE_DIFFERS : COVER_ARRIVAL_DIFFERS);
    else if (unknown && policy->keys_unknown == APMIG_STAMP_DENY && !restore)
        sim_cover(sim, COVER_ARRIVAL_UNKNOWN);
    else {
        sim_cover(sim, differ || unknown ? COVER_ARRIVAL_DOUBTFUL : COVER_ARRIVAL_AGREES);
        return FALSE;
    }
    return TRUE;
}

gboolean
arrival_is_refused(Sim *sim, const Arrival *arrival, gboolean restore, gboolean permitted)
{
    const ApmigPolicy *policy = apmig_engine_policy(sim->engine);

    if (is_locked(sim, arrival, restore, permitted)) {
        sim_cover(sim, COVER_ARRIVAL_LOCKED);
        return TRUE;
    }
    if (counts(sim, arrival, policy, restore))
        return keys_are_refused(sim, arrival, policy, restore);
    if (policy->stamp_missing != APMIG_STAMP_DENY || restore) {
        sim_cover(sim, COVER_ARRIVAL_WITHOUT);
        return FALSE;
    }
    sim_cover(sim, COVER_ARRIVAL_MISSING);
    return TRUE;
}

/* What the engine has to take for the guest's queues. A guest with a device that brings no word that counts may have any. */
guint
arrival_mask(Sim *sim, const Guest *guest, const Arrival *arrival, gboolean restore)
{
    if (!*guest->device.uuid)
        return guest->mask;
    if (arrival->digest || !counts(sim, arrival, apmig_engine_policy(sim->engine), restore))
        return sim->mask_all;
    sim_cover(sim, COVER_ARRIVAL_TELLS_QUEUES);
    return arrival->mask & ~(1u << sim->n_queues);
}

/* --- asking -------------------------------------------------------------------------------------- */

Arrival *
arrival_new(Sim *sim, const Guest *guest, gboolean restore)
{
    Arrival *arrival;

    if (!sim->has_stamps || guest->kind == APMIG_AFFECTED_NO)
        return NULL;
    arrival = g_new0(Arrival, 1);
    choose_stamp(sim, guest, arrival, restore);
    if (!counts(sim, arrival, apmig_engine_policy(sim->engine), restore)) /* it may tell of any queues */
        arrival->mask = (guint)dice_roll(&sim->stamp_dice, 1, (1 << sim->n_queues) - 1);
    if (arrival->brings >= BRINGS_STAMP)
        describe_stamp(sim, arrival);
    arrival->evidence = apmig_evidence_new();
    for (guint i = 0; i < sim->n_queues; i++) {
        arrival->here[i] = sim->unknown_here & (1u << i) ? 0 : sim->queues[i].cur;
        if (arrival->here[i])
            add_key(arrival->evidence, i, arrival->here[i], sim->queues[i].pending, sim_realtime(sim));
    }
    return arrival;
}

void
arrival_fill(Sim *sim, const Guest *guest, Arrival *arrival, ApmigEvent *event)
{
    ApmigArrival *told = &event->admit.arrival;

    told->has_device = *guest->device.uuid != '\0';
    told->device = told->has_device ? guest->device.uuid : NULL;
    told->declared = NULL;
    told->stamp = arrival->stamp;
    told->stamp_problem = arrival->brings == BRINGS_WHAT_DOES_NOT_READ ? "it is no XML" : NULL;
    told->evidence = arrival->evidence;
    told->host_id = HERE;
    told->asked_at = sim_boot_time(sim);
    if (told->has_device)
        arrival->scope = apmig_scope_ref(sim_scope(sim, sim->mask_all));
    if (told->has_device)
        event->admit.facts.scope = arrival->scope;
}

void
arrival_note(Guest *guest, const Arrival *arrival)
{
    guest->brought = (Stamp){.any = arrival->brings != BRINGS_NOTHING, .foreign = !arrival->own};
}
