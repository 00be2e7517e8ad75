/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guests whose device is taken away under a lock: they count as having what they had, as long as a lock over that lives.
 * What the engine knows of it is followed here, from what it was told.
 */
#include "simulation.h"

static gboolean
has_lock_over(Sim *sim, guint mask)
{
    g_autoptr(GPtrArray) locks = apmig_engine_list_locks(sim->engine);

    for (guint i = 0; i < locks->len; i++) {
        const ApmigLock *lock = g_ptr_array_index(locks, i);
        const Lock *known = known_lock(sim, lock->record->id);

        if (known && (known->mask & mask))
            return TRUE;
    }
    return FALSE;
}

static gboolean
has_lock(const Sim *sim, const char *id)
{
    const ApmigLock *lock = apmig_engine_lookup_lock(sim->engine, id);

    return lock && !lock->result;
}

void
unplug_told(Sim *sim, Guest *guest)
{
    Told *told = &guest->told;
    Had *had = &guest->had;

    if (!told->current)
        return; /* the engine takes no notice */
    had->lost |= had->any && !g_str_equal(had->device, told->device);
    if (!had->lost || told->affected == APMIG_AFFECTED_UNKNOWN)
        return;
    if (told->affected == APMIG_AFFECTED_NO)
        sim_cover(sim, COVER_UNPLUGGED);
    told->mask |= had->mask;
    told->affected = APMIG_AFFECTED_YES;
    told->kept = TRUE;
}

static void
remember(Sim *sim, Guest *guest)
{
    const Told *told = &guest->told;
    Had *had = &guest->had;

    if (!told->facts || !told->current || told->stopped_at || told->job == APMIG_JOB_GONE ||
        told->affected != APMIG_AFFECTED_YES || !*told->device ||
        (!had->any && !has_lock_over(sim, told->mask)))
        return;
    had->any = TRUE;
    had->mask |= told->mask;
    g_strlcpy(had->device, told->device, sizeof(had->device));
}

static void
forget(Sim *sim, Guest *guest)
{
    if (!guest->had.any || has_lock_over(sim, guest->had.mask))
        return;
    guest->told.lasts = FALSE;
    if (guest->had.lost && guest->told.affected == APMIG_AFFECTED_YES) {
        stamps_may_be_due(sim, guest);
        guest->told.facts = FALSE;
        guest->facts_from = sim->now;
    }
    guest->had = (Had){0};
}

/* Such a guest that is known to migrate is one of the engine's migrations. */
static void
check_migrates(Sim *sim, const Guest *guest)
{
    const Told *told = &guest->told;
    g_autoptr(GPtrArray) migrations = NULL;

    if (!sim->connected || !told->facts || !told->kept || told->job != APMIG_JOB_OUTGOING ||
        !told->migration || told->migration != guest->migration)
        return;
    migrations = apmig_engine_list_migrations(sim->engine);
    for (guint i = 0; i < migrations->len; i++) {
        const ApmigMigration *migration = g_ptr_array_index(migrations, i);

        if (migration->outgoing && g_str_equal(migration->uuid, guest->uuid))
            return;
    }
    sim_violation(sim, "I2", "%s, whose device was taken away under a lock, migrates and is not seen",
                  guest->name);
}

void
check_unplugged(Sim *sim, const ApmigEvent *event)
{
    const char *uuid = event->type == APMIG_EVENT_GUEST_ANSWERED && event->answered.facts_read
                           ? event->answered.uuid
                       : event->type == APMIG_EVENT_FACTS_READ ? event->facts_read.uuid
                                                               : NULL;
    const Guest *answered = guest_by_uuid(sim, uuid);

    gboolean is_taken = event->type == APMIG_EVENT_TAKE && has_lock(sim, event->take.id);

    for (guint i = 0; i < sim->n_guests; i++) {
        Guest *guest = &sim->guests[i];

        if (is_taken || guest == answered)
            remember(sim, guest);
        forget(sim, guest);
        check_migrates(sim, guest);
    }
}
