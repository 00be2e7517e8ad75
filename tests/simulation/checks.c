/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The invariants that hold after every event, in terms of what is true.
 */
#include "simulation.h"

#define MAX_RECORDS 32           /* of steps, but for those under way */
#define PATIENCE    (1 * SECOND) /* beyond every interval and deadline, for events that come late */

static gboolean
is_disjoint(const Lock *lock, const Migration *migration)
{
    return !migration || migration->stage == STAGE_ENDED || !(lock->mask & migration->mask);
}

static gboolean
is_under_lock(ApmigLockState state)
{
    return state == APMIG_LOCK_HELD || state == APMIG_LOCK_PERMITTED || state == APMIG_LOCK_UNPROVEN ||
           state == APMIG_LOCK_BREACHED;
}

/* --- I1, I4: what held says ------------------------------------------------------------------------ */

/* Whether the hook's yes to @migration is open: its guest may still appear. */
static gboolean
is_open_yes(const Sim *sim, const Migration *migration)
{
    return migration && migration->stage == STAGE_ALLOWED && !migration->hookless && !migration->forgotten &&
           sim->now <= migration->asked_at + sim->policy->admission_usec;
}

static void
check_guest_under_held(Sim *sim, const Lock *lock, const Guest *guest, gboolean becomes)
{
    const Migration *migration = guest->migration;

    if (!is_disjoint(lock, guest->expected) && is_open_yes(sim, guest->expected))
        sim_violation(sim, "I1", "lock %s is held while the hook's yes for %s is open", lock->id,
                      guest->name);
    if (is_disjoint(lock, migration))
        return;
    if (!migration->outgoing && !migration->stray)
        sim_violation(sim, "I1", "lock %s is held while %s, which was admitted, is coming in", lock->id,
                      guest->name);
    else if (becomes && migration->began_at < lock->counts_from)
        sim_violation(sim, "I1", "lock %s becomes held while %s migrates since before the lock was durable",
                      lock->id, guest->name);
    else if (guest->told.migration == migration && migration->told_incarnation == sim->incarnation &&
             (guest->told.facts || !migration->outgoing))
        sim_violation(sim, "I2", "lock %s is held while %s is known to migrate", lock->id, guest->name);
}

/* Returns: (nullable): what a complete reading, whose questions were put after the lock was durable, lacks. */
static const char *
find_unread(const Sim *sim, const Lock *lock)
{
    if (!sim->connected || sim->listed_from < lock->counts_from)
        return "the list of guests";
    for (guint i = 0; i < sim->n_guests; i++) {
        const Guest *guest = &sim->guests[i];

        if (guest->presence == GUEST_ABSENT || guest->since >= lock->counts_from || guest->changing ||
            !(guest->mask & lock->mask))
            continue;
        if (guest->told.asked_at < lock->counts_from)
            return guest->name;
    }
    return NULL;
}

static void
check_held(Sim *sim, const Lock *lock, gboolean becomes)
{
    const char *unread = becomes && !lock->read_while_verifying ? find_unread(sim, lock) : NULL;

    if (lock->gone_early && !lock->removal_failed)
        sim_violation(sim, "I6", "lock %s is held though its caller had vanished before", lock->id);
    if (!lock->durable_at)
        sim_violation(sim, "I3", "lock %s is held and not durable", lock->id);
    if (unread)
        sim_violation(sim, "I4", "lock %s becomes held and nobody has told of %s", lock->id, unread);
    if (becomes)
        check_strangers(sim, lock);
    for (guint i = 0; i < sim->n_guests; i++)
        check_guest_under_held(sim, lock, &sim->guests[i], becomes);
}

/* --- I2: breaches ---------------------------------------------------------------------------------- */

/* Returns: (nullable): the migration of which this event told for the first time. */
static const Migration *
just_told(Sim *sim, const ApmigEvent *event)
{
    const Guest *guest =
        event->type == APMIG_EVENT_GUEST_ANSWERED ? guest_by_uuid(sim, event->answered.uuid) : NULL;
    const Migration *migration = guest ? guest->told.migration : NULL;

    if (!migration || migration->told_incarnation != sim->incarnation || migration->told_at != sim->now)
        return NULL;
    if (event->answered.job != APMIG_JOB_OUTGOING && event->answered.job != APMIG_JOB_INCOMING)
        return NULL;
    return migration->stage != STAGE_ENDED ? migration : NULL;
}

static void
check_breach(Sim *sim, const Lock *lock, const ApmigLock *now, const Migration *migration)
{
    gboolean was_held =
        lock->was_held && (lock->state == APMIG_LOCK_DRAINING || lock->state == APMIG_LOCK_VERIFYING);
    /* What comes in can be read only once it has come. */
    gboolean unread = !migration || (!migration->outgoing && now->state == APMIG_LOCK_UNPROVEN);
    gboolean under = lock->listed && (is_under_lock(lock->state) || was_held);

    if (!under || is_disjoint(lock, migration) || lock->removing)
        return;
    if (guest_uses_permit(sim, migration->guest, migration->outgoing)) {
        if (now->state == APMIG_LOCK_HELD)
            sim_violation(sim, "I1", "lock %s is held while %s migrates with a permit", lock->id,
                          migration->guest->name);
        return;
    }
    if (lock->state == APMIG_LOCK_PERMITTED)
        sim_cover(sim, COVER_PERMIT_BREACHED);
    if (lock->reading)
        sim_cover(sim, COVER_BREACHED_VERIFYING);
    else if (now->state != APMIG_LOCK_BREACHED && !unread)
        sim_violation(sim, "I2", "lock %s is %s while %s migrates under it", lock->id,
                      apmig_lock_state_to_string(now), migration->guest->name);
}

/* Job states are read again and again, so that nothing is missed. */
static void
check_polling(Sim *sim, const Lock *lock, const Guest *guest)
{
    const Told *told = &guest->told;
    gint64 since;
    gint64 interval = sim->policy->held_interval_usec;

    if (guest->presence == GUEST_ABSENT || guest->changing || !told->facts ||
        told->affected != APMIG_AFFECTED_YES || told->asking || told->life != guest->life)
        return;
    /* Whose queues change without news is asked under every lock. */
    if (!(told->varies && guest->varies) && !(told->mask & guest->mask & lock->mask))
        return;
    since = MAX(MAX(told->answered_at, sim->connected_at), MAX(lock->counts_from, guest->since));
    if (sim->now > since + interval + PATIENCE)
        sim_violation(sim, "I2", "%s has not been asked for longer than the interval under lock %s",
                      guest->name, lock->id);
}

static void
check_watch(Sim *sim, const Lock *lock)
{
    if (!sim->connected || !lock->durable_at || lock->state == APMIG_LOCK_REQUESTED || lock->removing)
        return;
    if (!sim->list_asked &&
        sim->now > MAX(sim->connected_at, lock->counts_from) + sim->policy->held_interval_usec + PATIENCE)
        sim_violation(sim, "I2", "the guests are not listed though lock %s lives", lock->id);
    for (guint i = 0; i < sim->n_guests; i++) {
        check_ended(sim, lock, &sim->guests[i]);
        check_polling(sim, lock, &sim->guests[i]);
    }
}

/* --- locks ----------------------------------------------------------------------------------------- */

static gboolean
is_published(const Sim *sim, const char *id)
{
    for (guint i = 0; i < sim->actions->len; i++) {
        const ApmigAction *action = g_ptr_array_index(sim->actions, i);

        if (action->type == APMIG_ACTION_PUBLISH_LOCK && g_str_equal(action->id, id))
            return TRUE;
    }
    return FALSE;
}

static void
cover_state(Sim *sim, const Lock *lock, const ApmigLock *now)
{
    static const Situation situations[] = {COVER_STATE_REQUESTED, COVER_STATE_DRAINING, COVER_STATE_HELD,
                                           COVER_STATE_PERMITTED, COVER_STATE_UNPROVEN, COVER_STATE_BREACHED,
                                           COVER_STATE_VERIFYING};

    sim_cover(sim, situations[now->state]);
    if (lock->listed && lock->state == APMIG_LOCK_BREACHED && now->state == APMIG_LOCK_HELD)
        sim_cover(sim, COVER_BREACH_OVER);
    if (lock->listed && lock->state == APMIG_LOCK_UNPROVEN && now->state == APMIG_LOCK_HELD)
        sim_cover(sim, COVER_PROVEN_AGAIN);
    if (lock->listed && lock->state == APMIG_LOCK_PERMITTED && now->state == APMIG_LOCK_HELD)
        sim_cover(sim, COVER_PERMIT_OVER);
    if (now->overdue && !lock->overdue)
        sim_cover(sim, COVER_OVERDUE);
}

static void
note_lock(Sim *sim, Lock *lock, const ApmigLock *now)
{
    gboolean changed = !lock->listed || lock->state != now->state ||
                       lock->breaches != now->record->breaches || lock->overdue != now->overdue;

    if (lock->listed && now->record->breaches < lock->breaches)
        sim_violation(sim, "I2", "lock %s forgets breaches", lock->id);
    if (now->overdue && !now->record->expected_duration_usec)
        sim_violation(sim, "I6", "lock %s is overdue, and no duration was announced", lock->id);
    if (changed && !is_published(sim, lock->id))
        sim_violation(sim, "I2", "lock %s changes, and nobody is told", lock->id);
    if (changed)
        cover_state(sim, lock, now);
    /* Then it may be held as soon as it is no longer verified, whatever is known by then. */
    lock->read_while_verifying =
        now->state == APMIG_LOCK_VERIFYING &&
        (lock->read_while_verifying || lock->state == APMIG_LOCK_HELD || !find_unread(sim, lock));
    lock->listed = TRUE;
    lock->was_held |= now->state == APMIG_LOCK_HELD;
    lock->state = now->state;
    lock->breaches = now->record->breaches;
    lock->overdue = now->overdue;
}

static void
check_lock(Sim *sim, const ApmigLock *now, const Migration *told)
{
    Lock *lock = known_lock(sim, now->record->id);

    if (!lock || !lock->living) {
        sim_violation(sim, "I3", "the engine has a lock %s that it should not", now->record->id);
        return;
    }
    if (lock->was_held && lock->held_at && now->record->held_at != lock->held_at)
        sim_violation(sim, "I3", "lock %s forgets since when it is held", lock->id);
    if (told)
        check_breach(sim, lock, now, told);
    if (now->state == APMIG_LOCK_HELD)
        check_held(sim, lock, !lock->listed || lock->state != APMIG_LOCK_HELD);
    check_verifying(sim, lock, now);
    check_truth(sim, lock, now,
                now->state == APMIG_LOCK_HELD && (!lock->listed || lock->state != APMIG_LOCK_HELD));
    note_lock(sim, lock, now);
    check_watch(sim, lock);
}

/* A lock that lived is not among the engine's any more. */
static void
check_lock_gone(Sim *sim, Lock *lock)
{
    const ApmigLock *ended = apmig_engine_lookup_lock(sim->engine, lock->id);
    gboolean half_written = lock->write_failed && lock->removal_failed;

    if (!ended || !ended->result || !ended->message || !*ended->message) {
        sim_violation(sim, "I3", "lock %s has vanished", lock->id);
        return;
    }
    if (g_hash_table_contains(sim->durable_locks, lock->id) && !half_written)
        sim_violation(sim, "I3", "lock %s has ended, and is still on disk", lock->id);
    if (lock->was_held && !lock->release_asked)
        sim_violation(sim, "I3", "lock %s was held, and ended though nobody released it", lock->id);
    if (lock->origin == APMIG_LOCK_RECOVERED && !lock->forced)
        sim_violation(sim, "I3", "the recovered lock %s ended without force", lock->id);
    check_released_lock(sim, lock, ended);
    if (!is_published(sim, lock->id))
        sim_violation(sim, "I3", "lock %s ended, and nobody is told", lock->id);
    if (lock->origin == APMIG_LOCK_RECOVERED)
        sim_cover(sim, COVER_FORCED);
    lock->living = lock->listed = FALSE;
}

static void
check_locks(Sim *sim, const ApmigEvent *event)
{
    g_autoptr(GPtrArray) locks = apmig_engine_list_locks(sim->engine);
    const Migration *told = just_told(sim, event);

    for (guint i = 0; i < locks->len && !sim->violation; i++)
        check_lock(sim, g_ptr_array_index(locks, i), told);
    for (guint i = 0; i < sim->locks->len && sim->loaded && !sim->violation; i++) {
        Lock *lock = g_ptr_array_index(sim->locks, i);
        gboolean found = FALSE;

        for (guint j = 0; lock->living && j < locks->len && !found; j++)
            found = g_str_equal(((const ApmigLock *)g_ptr_array_index(locks, j))->record->id, lock->id);
        if (lock->living && !found)
            check_lock_gone(sim, lock);
    }
    if (told && sim->loaded)
        check_permit_heeded(sim, told);
    if (told && told->guest->kind == APMIG_AFFECTED_UNKNOWN && told->outgoing && locks->len)
        sim_cover(sim, COVER_UNKNOWN_GUEST);
}

/* --- callers and migrations -------------------------------------------------------------------------- */

/* Returns: when @caller has to be answered at the latest. The hook does not wait for ever by itself. */
static gint64
due_answer(const Sim *sim, const Caller *caller)
{
    gboolean waits = (caller->kind == CALLER_TAKE && !caller->no_wait) || caller->kind == CALLER_RELEASE ||
                     caller->kind >= CALLER_AMEND;
    gint64 until =
        MAX(caller->opened_at + (waits ? caller->timeout : 0), MAX(sim->started_at, sim->awake_since));

    if (!disk_is_busy(sim) &&
        caller->kind != CALLER_AMEND) /* which may wait for the disk and then for the cards */
        return MAX(until, sim->disk_idle_since) + PATIENCE;
    if (caller->kind == CALLER_ADMIT)
        return G_MAXINT64;
    if (caller->kind == CALLER_TAKE && caller->timeout)
        return MAX(until, caller->opened_at + caller->timeout) + SECOND + PATIENCE;
    return until + APMIG_DISK_LIMIT_USEC + PATIENCE;
}

static void
check_callers(Sim *sim)
{
    for (guint i = 0; sim->loaded && i < sim->callers->len; i++) {
        const Caller *caller = g_ptr_array_index(sim->callers, i);

        if (!caller->gone && sim->now > due_answer(sim, caller))
            sim_violation(sim, "I6", "caller %" G_GUINT64_FORMAT " waits for an answer in vain",
                          caller->number);
    }
}

static void
check_migrations(Sim *sim)
{
    static const struct {
        const char *result;
        Situation situation;
    } results[] = {
        {"completed", COVER_COMPLETED},
        {"completed-anyway", COVER_COMPLETED_ANYWAY},
        {"aborted", COVER_ABORTED},
        {"failed", COVER_FAILED},
        {"not-abortable", COVER_NOT_ABORTABLE},
        {"vanished", COVER_EXPIRED},
        {"unknown", COVER_FATE_UNKNOWN},
        {"unaffected", COVER_FATE_UNKNOWN},
    };

    for (guint i = 0; i < sim->actions->len && !sim->violation; i++) {
        const ApmigAction *action = g_ptr_array_index(sim->actions, i);
        const ApmigMigration *migration;
        gboolean known = FALSE;

        if (action->type != APMIG_ACTION_PUBLISH_MIGRATION)
            continue;
        migration = apmig_engine_lookup_migration(sim->engine, action->id);
        if (!migration || (migration->phase == APMIG_MIGRATION_ENDED) != (*migration->result != '\0'))
            sim_violation(sim, "I2", "migration %s is published, and has no result or should have none",
                          action->id);
        else if (migration->steps->len > MAX_RECORDS + APMIG_N_STEPS)
            sim_violation(sim, "I6", "migration %s has %u records of steps", action->id,
                          migration->steps->len);
        for (guint j = 0; migration && j < G_N_ELEMENTS(results); j++) {
            if (!g_str_equal(migration->result, results[j].result))
                continue;
            sim_cover(sim, results[j].situation);
            if (!migration->outgoing && results[j].situation == COVER_ABORTED)
                sim_cover(sim, COVER_INCOMING_ABORTED);
            known = TRUE;
        }
        if (migration && *migration->result && !known)
            sim_violation(sim, "I2", "migration %s ended with \"%s\", which is no result", action->id,
                          migration->result);
    }
}

void
check_state(Sim *sim, const ApmigEvent *event)
{
    check_locks(sim, event);
    check_migrations(sim);
    check_permits(sim);
    check_stamps(sim);
    check_guests(sim);
    check_callers(sim);
}

/* --- death and rebirth ------------------------------------------------------------------------------- */

void
check_crash(Sim *sim, gboolean reboot)
{
    static const Situation situations[] = {COVER_CRASH_REQUESTED, COVER_CRASH_DRAINING, COVER_CRASH_HELD,
                                           COVER_CRASH_PERMITTED, COVER_CRASH_UNPROVEN, COVER_CRASH_BREACHED,
                                           COVER_CRASH_VERIFYING};

    truth_crash(sim);
    for (guint i = 0; i < sim->locks->len; i++) {
        Lock *lock = g_ptr_array_index(sim->locks, i);
        gboolean durable = g_hash_table_contains(sim->durable_locks, lock->id);

        if (lock->living && lock->listed)
            sim_cover(sim, reboot ? COVER_REBOOT : situations[lock->state]);
        if (lock->living && !durable && lock->was_held && !lock->release_asked)
            sim_violation(sim, "I3", "lock %s was held, and is not on disk when the daemon dies", lock->id);
        if (lock->reading)
            sim_cover(sim, COVER_CRASH_READING);
        release_over(lock);
        lock->living = durable;
        lock->listed = FALSE;
        lock->gone_early = FALSE;
    }
    if (g_hash_table_size(sim->durable_admissions) && !reboot)
        sim_cover(sim, COVER_CRASH_ADMISSION);
}

void
check_loaded(Sim *sim)
{
    permits_loaded(sim);
    for (guint i = 0; i < sim->n_guests; i++) {
        Guest *guest = &sim->guests[i];

        if (!disk_has_admission(sim, guest->uuid))
            guest_forget_admission(guest);
        else if (!guest->in_mask || guest->in_incarnation == sim->incarnation) {
            /* Its removal was not written any more, perhaps before it was asked for again, and refused since nothing was
             * loaded yet: what is on the disk may be of other queues. */
            guest->in_mask = sim->mask_all;
            guest->in_mixed = TRUE;
        }
    }
    for (guint i = 0; i < sim->locks->len; i++) {
        Lock *lock = g_ptr_array_index(sim->locks, i);
        const ApmigLockRecord *record = g_hash_table_lookup(sim->durable_locks, lock->id);

        lock->living = record != NULL;
        if (!record)
            continue;
        lock->durable_at = lock->counts_from = sim->now;
        lock->held_at = record->held_at;
        lock->origin = record->origin;
        lock->on_busy = record->on_busy;
        lock->hold_decided = lock->was_held = record->held_at != 0;
        lock->hold_told = FALSE;
    }
}

/* --- in the end ------------------------------------------------------------------------------------ */

/* That an unaffected guest was let in counts while it is here. */
static void
check_admissions_are_over(Sim *sim)
{
    GHashTableIter iter;
    const ApmigAdmission *record;

    g_hash_table_iter_init(&iter, sim->durable_admissions);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&record))
        if (!record->unaffected || guest_by_uuid(sim, record->uuid)->presence == GUEST_ABSENT)
            sim_violation(sim, "live", "an admission stays for ever");
}

void
check_calm(Sim *sim)
{
    g_autoptr(GPtrArray) locks = NULL;
    g_autoptr(GPtrArray) migrations = NULL;

    if (!sim->engine || !sim->loaded) {
        sim_violation(sim, "live", "the daemon does not come back");
        return;
    }
    locks = apmig_engine_list_locks(sim->engine);
    migrations = apmig_engine_list_migrations(sim->engine);
    for (guint i = 0; i < locks->len; i++) {
        const ApmigLock *lock = g_ptr_array_index(locks, i);
        const ApmigLockRecord *record = g_hash_table_lookup(sim->durable_locks, lock->record->id);

        if (record && record->breaches != lock->record->breaches && record->origin != APMIG_LOCK_RECOVERED &&
            !known_lock(sim, record->id)->write_failed)
            sim_violation(sim, "I2", "lock %s had %u breaches, and %u are on the disk", record->id,
                          lock->record->breaches, record->breaches);
        /* Refusals are written along with what else changes. */
        if (record && record->attempts != lock->record->attempts && record->origin != APMIG_LOCK_RECOVERED &&
            !known_lock(sim, record->id)->write_failed && !known_lock(sim, record->id)->refused)
            sim_violation(sim, "I2", "lock %s had %u attempts, and %u are on the disk", record->id,
                          lock->record->attempts, record->attempts);
        if (lock->state != APMIG_LOCK_HELD)
            sim_violation(sim, "live", "lock %s is %s, and nothing is in its way", lock->record->id,
                          apmig_lock_state_to_string(lock));
    }
    if (migrations->len)
        sim_violation(sim, "live", "the migration of %s has no end",
                      ((const ApmigMigration *)g_ptr_array_index(migrations, 0))->guest);
    check_admissions_are_over(sim);
    check_stamps(sim);
    if (g_hash_table_size(sim->durable_permits))
        sim_violation(sim, "live", "a permit stays for ever");
    for (guint i = 0; i < sim->callers->len; i++)
        if (!((const Caller *)g_ptr_array_index(sim->callers, i))->gone)
            sim_violation(sim, "I6", "somebody still waits for an answer");
    if (locks->len)
        sim_cover(sim, COVER_CALM);
}

void
check_idle(Sim *sim)
{
    g_autoptr(GPtrArray) locks = apmig_engine_list_locks(sim->engine);

    check_stamps(sim);
    if (locks->len)
        sim_violation(sim, "live", "a lock outlives its release");
    if (apmig_engine_next_deadline(sim->engine) != G_MAXINT64)
        sim_violation(sim, "live", "the engine waits for something, and there is nothing");
    for (guint i = 0; i < sim->locks->len; i++) {
        const Lock *lock = g_ptr_array_index(sim->locks, i);

        if (apmig_engine_lookup_lock(sim->engine, lock->id))
            sim_violation(sim, "live", "lock %s is never forgotten", lock->id);
    }
}
