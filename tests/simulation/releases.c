/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rules for releases: when the cards are asked, and what may come of it, in terms of what is true of the keys.
 */
#include "simulation.h"

#include <string.h>

static void
forget_reading(Lock *lock)
{
    lock->reading = 0;
    lock->cards_asked = lock->cards_answered = lock->out_of_step = FALSE;
}

void
release_begins(Sim *sim, Caller *caller)
{
    Lock *lock = caller->lock;
    gboolean trust = sim->policy->on_release == APMIG_ON_RELEASE_TRUST;

    if (lock->removing)
        return; /* it joins */
    lock->forced |= caller->force;
    if (lock->reading) {
        sim_cover(sim, caller->force ? COVER_FORCED_VERIFYING : COVER_JOINED);
        caller->timeout = MAX(lock->reading_until - sim->now, 0);
    } else {
        lock->trusted = trust;
        caller->timeout = trust ? 0 : sim->policy->release_verify_usec;
    }
    if (caller->force)
        caller->timeout = 0;
}

void
release_over(Lock *lock)
{
    lock->release_asked = lock->forced = lock->trusted = lock->removing = FALSE;
    forget_reading(lock);
}

/* --- asking the cards ---------------------------------------------------------------------------- */

void
check_read_keys(Sim *sim, const ApmigAction *action)
{
    Lock *lock = known_lock(sim, action->reading.lock_id);

    if (!lock || !lock->living || !lock->release_asked || lock->removing)
        sim_violation(sim, "keys", "the cards are asked for lock %s, which nobody wants released",
                      action->reading.lock_id);
    else if (lock->reading)
        sim_violation(sim, "keys", "the cards are asked for lock %s before they have answered", action->reading.lock_id);
    else if (!apmig_scope_equal(action->reading.scope, sim_scope(sim, lock->mask)))
        sim_violation(sim, "keys", "the cards are asked for %s", apmig_scope_to_string(action->reading.scope));
    else if (lock->trusted)
        sim_violation(sim, "keys", "the cards are asked, and the policy is to trust");
    else if (!lock->hold_decided)
        sim_violation(sim, "keys", "the cards are asked for lock %s, which was never held", action->reading.lock_id);
    if (sim->violation)
        return;
    forget_reading(lock);
    lock->cards_asked = TRUE;
    lock->reading = action->op;
    lock->reading_at = sim->now;
    lock->reading_until = sim->now + sim->policy->release_verify_usec;
}

void
check_keys_answer(Sim *sim, Lock *lock, guint64 op, gboolean fails)
{
    if (lock->reading != op) {
        sim_cover(sim, COVER_CARDS_LATE);
        return;
    }
    lock->reading = 0;
    lock->cards_answered = !fails;
    lock->out_of_step = !fails && (cards_are_unfinished(sim, lock->mask, lock->reading_at) ||
                                   cards_differ(sim, lock->mask, lock->reading_at));
}

/* --- what comes of it ---------------------------------------------------------------------------- */

void
check_remove(Sim *sim, const char *id)
{
    Lock *lock = known_lock(sim, id);

    if (!lock)
        return;
    lock->removing = TRUE;
    if (lock->was_held && !lock->forced && !lock->trusted) {
        if (!lock->cards_asked)
            sim_violation(sim, "keys", "lock %s is released, and no card was asked", id);
        else if (lock->reading && sim->now < lock->reading_until)
            sim_violation(sim, "keys", "lock %s is released before the cards have answered", id);
        else if (lock->out_of_step)
            sim_violation(sim, "keys", "lock %s is released, and its keys are not in step", id);
        if (lock->reading)
            sim_cover(sim, COVER_CARDS_SILENT);
        else if (lock->cards_answered)
            sim_cover(sim, sim->profile.no_ap ? COVER_NO_CARDS : COVER_VERIFIED);
    }
    if (lock->was_held && lock->trusted)
        sim_cover(sim, COVER_TRUSTED);
    lock->reading = 0;
}

/* @code: of the answer to a release */
void
check_refused_keys(Sim *sim, const Caller *caller, ApmigError code)
{
    const Lock *lock = caller->lock;
    gboolean unfinished = code == APMIG_ERROR_KEY_CHANGE_UNFINISHED;
    gboolean so = unfinished ? cards_are_unfinished(sim, lock->mask, sim->now)
                             : cards_differ(sim, lock->mask, sim->now);

    sim_cover(sim, unfinished ? COVER_UNFINISHED : COVER_DIFFER);
    if (caller->force)
        sim_violation(sim, "keys", "the forced release of lock %s is refused for its keys", lock->id);
    if (!lock->cards_answered || lock->removing)
        sim_violation(sim, "keys", "the release of lock %s is refused, and no card has said why", lock->id);
    if (!so && !cards_changed(sim, lock->mask, lock->reading_at))
        sim_violation(sim, "keys", "the release of lock %s fails with %s, which is not true", lock->id,
                      apmig_error_name(code));
}

/* After every event: whether the state says what is going on. */
void
check_verifying(Sim *sim, Lock *lock, const ApmigLock *now)
{
    gboolean verifying = lock->reading || lock->removing;

    if ((now->state == APMIG_LOCK_VERIFYING) != verifying)
        sim_violation(sim, "keys", "lock %s is %s, and %s being released", lock->id,
                      apmig_lock_state_to_string(now), verifying ? "is" : "is not");
    if (verifying || !lock->cards_asked)
        return;
    if (now->state == APMIG_LOCK_BREACHED)
        sim_cover(sim, COVER_REFUSED_BREACHED);
    release_over(lock);
}

void
check_released_lock(Sim *sim, const Lock *lock, const ApmigLock *ended)
{
    gboolean said = *ended->unverified != '\0';
    gboolean seen = lock->cards_answered && !lock->forced;

    if (strcmp(ended->result, "released") != 0 || !lock->was_held)
        return;
    if (!strstr(ended->message, ended->unverified) || (!said && !(seen && sim->profile.no_ap)))
        sim_violation(sim, "keys", "lock %s is released, and what was not verified is not said", lock->id);
    if (seen && sim->profile.no_ap && said)
        sim_violation(sim, "keys", "lock %s is released with words about cards that are not there", lock->id);
    if (seen && !sim->profile.no_ap && !cards_are_named(sim, lock->mask, lock->reading_at, ended->unverified))
        sim_violation(sim, "keys", "lock %s is released, and a queue that nobody can read is not named",
                      lock->id);
}
