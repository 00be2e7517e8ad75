/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What has to be counted or named because it is true: guests that left, whether or not any answer showed it; and what must
 * not be said while it is not known.
 */
#include "simulation.h"

#define PATIENCE   (1 * SECOND)
#define HEARTBEAT  (5 * SECOND)
#define ROUND      (2 * SECOND)
#define STOP_GRACE (200 * MSEC)

static gboolean
concerns(const Lock *lock, guint mask)
{
    return lock->living && lock->listed && lock->was_held && !lock->removing && (lock->mask & mask);
}

/* Whether that @migration goes on, or has gone on, is to be counted under @lock. */
static gboolean
is_to_count(const Sim *sim, const Lock *lock, const Migration *migration)
{
    const Guest *guest = migration->guest;

    if (!concerns(lock, migration->mask) || guest_uses_permit(sim, guest, TRUE) ||
        guest_has_permit(sim, guest) || guest->kind != APMIG_AFFECTED_YES)
        return FALSE;
    /* Only what was read of it, and is so still, tells that it concerns the lock. */
    return guest->told.facts && (guest->told.mask & lock->mask) && !guest->changing;
}

void
truth_forget_sent(Guest *guest)
{
    if (guest->sent)
        g_ptr_array_set_size(guest->sent_under, 0);
    guest->sent = FALSE;
}

void
truth_guest_sends(Sim *sim, const Migration *migration)
{
    Guest *guest = migration->guest;

    if (guest->presence != GUEST_ACTIVE)
        return; /* it was counted when it left */
    for (guint i = 0; i < sim->locks->len; i++) {
        Lock *lock = g_ptr_array_index(sim->locks, i);

        if (!is_to_count(sim, lock, migration))
            continue;
        if (!guest->sent_under)
            guest->sent_under = g_ptr_array_new();
        if (!g_ptr_array_find(guest->sent_under, lock, NULL)) /* two, one after the other, look like one */
            g_ptr_array_add(guest->sent_under, lock);
        guest->sent = TRUE;
        guest->sent_token = sim->newest_token;
    }
}

void
truth_may_count(Migration *migration)
{
    migration->may_count++;
}

void
truth_guest_was_not_seen_to_stay(const Guest *guest)
{
    if (guest->told.job == APMIG_JOB_OUTGOING && guest->told.migration)
        truth_may_count(guest->told.migration);
}

void
truth_guest_leaves(Sim *sim, const Migration *migration)
{
    truth_forget_sent(migration->guest);
    for (guint i = 0; i < sim->locks->len; i++) {
        Lock *lock = g_ptr_array_index(sim->locks, i);

        if (!is_to_count(sim, lock, migration))
            continue;
        lock->left++;
        sim_cover(sim, COVER_LEFT);
        if (migration->told_incarnation != sim->incarnation)
            sim_cover(sim, COVER_LEFT_UNSEEN);
    }
}

void
truth_guest_stops(Sim *sim, const Guest *guest)
{
    for (guint i = 0; i < sim->locks->len; i++)
        ((Lock *)g_ptr_array_index(sim->locks, i))->roster &= ~(1u << guest->index);
}

void
truth_crash(Sim *sim)
{
    for (guint i = 0; i < sim->locks->len; i++) {
        Lock *lock = g_ptr_array_index(sim->locks, i);
        const ApmigLockRecord *record = g_hash_table_lookup(sim->durable_locks, lock->id);
        guint known = record ? record->breaches + (record->departed ? record->departed->len : 0) : 0;

        lock->left = MIN(lock->left, known);
        lock->departed = record && record->departed ? record->departed->len : 0;
        for (guint j = 0; j < sim->n_guests; j++)
            if (!record || !apmig_lock_guests_find(record->guests, sim->guests[j].uuid))
                lock->roster &= ~(1u << j);
    }
}

/* --- after every event --------------------------------------------------------------------------- */

gboolean
truth_knows(const Lock *lock, const Guest *guest)
{
    const Told *told = &guest->told;

    return guest->presence == GUEST_ACTIVE && !guest->changing && told->facts && told->current &&
           told->affected == APMIG_AFFECTED_YES && told->life == guest->life &&
           (told->mask & guest->mask & lock->mask);
}

static void
check_silence(Sim *sim, const Lock *lock, const ApmigLock *now)
{
    gint64 limit = sim->policy->silence_usec + PATIENCE;
    gint64 since = MAX(sim->connected_at, MAX(lock->counts_from, sim->policy_at));

    if (now->state != APMIG_LOCK_HELD && now->state != APMIG_LOCK_PERMITTED)
        return;
    if (!sim->connected) {
        sim_violation(sim, "I1", "lock %s is %s, and nothing is seen", lock->id,
                      apmig_lock_state_to_string(now));
        return;
    }
    if (sim->now > MAX(sim->beaten_at, since) + HEARTBEAT + limit)
        sim_violation(sim, "I1", "lock %s is held, and no heartbeat was answered for long", lock->id);
    for (guint i = 0; i < sim->n_guests; i++) {
        const Guest *guest = &sim->guests[i];

        if (truth_knows(lock, guest) &&
            sim->now > MAX(MAX(guest->told.good_at, guest->told.known_at), MAX(guest->since, since)) +
                           sim->policy->held_interval_usec + limit)
            sim_violation(sim, "I1", "lock %s is held, and %s has not answered for long", lock->id,
                          guest->name);
    }
}

/* All answers on which held rests are of one round. */
static void
check_round(Sim *sim, const Lock *lock)
{
    for (guint i = 0; i < sim->n_guests; i++) {
        const Guest *guest = &sim->guests[i];

        if (truth_knows(lock, guest) && guest->told.asked_at &&
            guest->told.answered_at < sim->now - ROUND - PATIENCE)
            sim_violation(sim, "I1", "lock %s becomes held on what %s has told long ago", lock->id,
                          guest->name);
    }
}

static guint
count_departed(const ApmigLock *now)
{
    return now->record->departed ? now->record->departed->len : 0;
}

/* What libvirt told of memory that leaves is known by now: held says so. */
static void
count_sent(Sim *sim, Lock *lock)
{
    for (guint i = 0; i < sim->n_guests; i++) {
        Guest *guest = &sim->guests[i];

        if (guest->sent && guest->told.token > guest->sent_token &&
            g_ptr_array_remove(guest->sent_under, lock))
            lock->left++;
        guest->sent &= guest->sent_under && guest->sent_under->len > 0;
    }
}

/* Held is not said between that news and the answer to a question that was put after it; unless the guest's job was known to be
 * another, whose memory it may have been. */
static void
check_sending(Sim *sim, const Lock *lock)
{
    for (guint i = 0; i < sim->n_guests; i++) {
        const Guest *guest = &sim->guests[i];

        if (guest->presence == GUEST_ACTIVE && guest->sent && guest->told.token <= guest->sent_token &&
            guest->told.job != APMIG_JOB_OTHER && g_ptr_array_find(guest->sent_under, lock, NULL))
            sim_violation(sim, "I1", "lock %s is held, memory of %s leaves, and nobody has asked to where",
                          lock->id, guest->name);
    }
}

/* Each breach is one of something. Where events are missing, an attempt may be one, and stays one when they come again. */
static void
check_breaches(Sim *sim, Lock *lock, const ApmigLock *now)
{
    guint reasons = sim->may_count;

    for (guint i = 0; i < sim->migrations->len; i++)
        reasons += ((const Migration *)g_ptr_array_index(sim->migrations, i))->may_count;
    if (g_str_equal(apmig_engine_view_state(sim->engine), "events late"))
        lock->excused = MAX(lock->excused, now->record->breaches - MIN(reasons, now->record->breaches));
    else if (now->record->breaches > reasons + lock->excused)
        sim_violation(sim, "I2", "lock %s counts %u breaches, and there were %u", lock->id,
                      now->record->breaches, reasons);
}

static void
check_left(Sim *sim, Lock *lock, const ApmigLock *now)
{
    if (now->state == APMIG_LOCK_HELD)
        check_sending(sim, lock);
    if (now->state == APMIG_LOCK_HELD)
        count_sent(sim, lock);
    if (now->record->breaches > lock->breaches)
        check_breaches(sim, lock, now);
    if (count_departed(now) < lock->departed && !lock->annotated)
        sim_violation(sim, "I2", "lock %s forgets who has departed, and nobody said that he knows", lock->id);
    lock->annotated = FALSE;
    if (count_departed(now) < lock->departed)
        lock->left = MIN(lock->left, now->record->breaches + count_departed(now));
    lock->departed = count_departed(now);
    if (now->record->breaches + count_departed(now) < lock->left)
        sim_violation(sim, "I2", "%u guests have left under lock %s, and it counts %u breaches", lock->left,
                      lock->id, now->record->breaches);
}

/* Who was here, and is not in a list that began later, is named. */
static void
check_departed(Sim *sim, Lock *lock, const ApmigLock *now)
{
    if (lock->removing)
        return;
    for (guint i = 0; i < sim->n_guests; i++) {
        const Guest *guest = &sim->guests[i];
        gboolean named = apmig_lock_guests_find(now->record->departed, guest->uuid) != NULL;

        if (named) {
            sim_cover(sim, COVER_DEPARTED);
            lock->roster &= ~(1u << i); /* until somebody says that he knows */
        }
        if (named || !(lock->roster & (1u << i)) || guest->presence != GUEST_ABSENT)
            continue;
        if (sim->connected && sim->loaded && sim->listed_from > guest->since &&
            sim->now > MAX(sim->listed_at, sim->started_at) + STOP_GRACE + PATIENCE)
            sim_violation(sim, "I2", "%s was here under lock %s and is gone, and it is not named",
                          guest->name, lock->id);
    }
}

/* What is told of a guest that is no concern of the lock's any more counts in every state. */
static void
note_roster(Sim *sim, Lock *lock, gboolean held)
{
    for (guint i = 0; i < sim->n_guests; i++) {
        const Guest *guest = &sim->guests[i];

        if (held && truth_knows(lock, guest))
            lock->roster |= 1u << i;
        else if (guest->presence != GUEST_ABSENT &&
                 (held || (guest->told.facts && !truth_knows(lock, guest))))
            lock->roster &= ~(1u << i); /* it may be another by now */
    }
}

void
check_truth(Sim *sim, Lock *lock, const ApmigLock *now, gboolean becomes)
{
    if (lock->was_held && (now->state == APMIG_LOCK_DRAINING || now->state == APMIG_LOCK_REQUESTED))
        sim_violation(sim, "I1", "lock %s, which was held, drains again", lock->id);
    check_silence(sim, lock, now);
    if (becomes && !lock->read_while_verifying)
        check_round(sim, lock);
    check_left(sim, lock, now);
    check_departed(sim, lock, now);
    note_roster(sim, lock, now->state == APMIG_LOCK_HELD);
    if (now->record->attempts)
        sim_cover(sim, COVER_ATTEMPT);
}
