/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who gives and revokes permits, and what a permit may do: let one migration of its guest through, which is no breach, and
 * nothing else. With dice of their own, so that what else a seed does stays the same.
 */
#include "simulation.h"

typedef enum {
    PERMIT_ASKED,
    PERMIT_OPEN,
    PERMIT_USED,
    PERMIT_GONE,
} Stand;

typedef struct {
    char *id;
    Guest *guest;
    gboolean has_uuid, has_name; /* it was given by that */
    gint64 expires_at;           /* boot time */
    Stand stand;
    gboolean outgoing;     /* with PERMIT_USED */
    guint yes;             /* how often a hook was told so against a lock */
    gboolean revoke_asked; /* or another one, in its place */
    guint turn;            /* when it was opened, loaded or used, by the number of events */
} Permit;

static void
permit_free(gpointer data)
{
    Permit *permit = data;

    g_free(permit->id);
    g_free(permit);
}

static Permit *
find(const Sim *sim, const char *id)
{
    for (guint i = sim->permits->len; i > 0; i--) {
        Permit *permit = g_ptr_array_index(sim->permits, i - 1);

        if (g_str_equal(permit->id, id))
            return permit;
    }
    return NULL;
}

static gboolean
is_open(const Sim *sim, const Permit *permit)
{
    return permit->stand == PERMIT_OPEN && sim_boot_time(sim) < permit->expires_at;
}

static Permit *
find_open(const Sim *sim, const Guest *guest)
{
    for (guint i = 0; i < sim->permits->len; i++) {
        Permit *permit = g_ptr_array_index(sim->permits, i);

        if (permit->guest == guest && is_open(sim, permit))
            return permit;
    }
    return NULL;
}

/* Returns: (nullable): the one that was used last: one by its name and one by its UUID may both be. */
static Permit *
find_used(const Sim *sim, const Guest *guest, gboolean outgoing)
{
    Permit *found = NULL;

    for (guint i = 0; i < sim->permits->len; i++) {
        Permit *permit = g_ptr_array_index(sim->permits, i);

        if (permit->guest == guest && permit->stand == PERMIT_USED && !permit->outgoing == !outgoing &&
            (!found || permit->turn >= found->turn))
            found = permit;
    }
    return found;
}

gboolean
guest_has_permit(const Sim *sim, const Guest *guest)
{
    return find_open(sim, guest) != NULL;
}

gboolean
guest_uses_permit(const Sim *sim, const Guest *guest, gboolean outgoing)
{
    return find_used(sim, guest, outgoing) != NULL;
}

/* --- who asks -------------------------------------------------------------------------------------- */

static void
give(Sim *sim)
{
    Dice *dice = &sim->permit_dice;
    Guest *guest = &sim->guests[dice_roll(dice, 0, sim->n_guests - 1)];
    gboolean by_name = dice_chance(dice, 300) && !sim->profile.renames;
    Permit *permit = g_new0(Permit, 1);
    ApmigEvent event = {.type = APMIG_EVENT_PERMIT};
    Caller *caller = daemon_new_caller(sim, CALLER_PERMIT);

    permit->id = g_strdup_printf("%08x", sim->permits->len + 1);
    permit->guest = guest;
    g_ptr_array_add(sim->permits, permit);
    caller->guest = guest;
    event.caller = caller->number;
    event.permit.id = permit->id;
    event.permit.uuid = by_name ? "" : guest->uuid;
    event.permit.name = by_name || (dice_chance(dice, 700) && !sim->profile.renames) ? guest->name : "";
    event.permit.reason = "the host dies";
    event.permit.user = "anna";
    event.permit.uid = 1;
    event.permit.duration_usec = dice_spread(dice, 1 * SECOND, 120 * SECOND);
    permit->has_uuid = *event.permit.uuid != '\0';
    permit->has_name = *event.permit.name != '\0';
    permit->expires_at = sim_boot_time(sim) + event.permit.duration_usec;
    daemon_deliver(sim, &event);
}

static void
revoke_any(Sim *sim)
{
    Dice *dice = &sim->permit_dice;
    Guest *guest = &sim->guests[dice_roll(dice, 0, sim->n_guests - 1)];
    ApmigEvent event = {.type = APMIG_EVENT_REVOKE};
    Caller *caller = daemon_new_caller(sim, CALLER_REVOKE);

    caller->guest = guest;
    for (guint i = 0; i < sim->permits->len; i++) {
        Permit *permit = g_ptr_array_index(sim->permits, i);

        permit->revoke_asked |= permit->guest == guest && permit->stand != PERMIT_ASKED;
    }
    event.caller = caller->number;
    caller->by_uuid = dice_chance(dice, 500) || sim->profile.renames;
    event.revoke.guest = caller->by_uuid ? guest->uuid : guest->name;
    daemon_deliver(sim, &event);
}

static void
act(Sim *sim, gpointer object, guint64 number)
{
    if (sim->calm)
        return;
    if (daemon_is_there(sim) && dice_chance(&sim->permit_dice, 850))
        give(sim);
    else if (daemon_is_there(sim))
        revoke_any(sim);
    sim_queue(sim, dice_roll(&sim->permit_dice, 10 * MSEC, 2 * sim->permit_pause), act, NULL, 0, NULL);
}

void
permits_init(Sim *sim)
{
    sim->permits = g_ptr_array_new_with_free_func(permit_free);
    sim->durable_permits =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)apmig_permit_free);
    sim->permit_dice.state = sim->seed * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15) + 1;
    sim->permit_pause = dice_spread(&sim->permit_dice, 1 * SECOND, 60 * SECOND);
    if (dice_chance(&sim->permit_dice, 400))
        sim_queue(sim, dice_roll(&sim->permit_dice, 0, 10 * SECOND), act, NULL, 0, NULL);
}

void
permits_free(Sim *sim)
{
    g_ptr_array_unref(sim->permits);
    g_hash_table_unref(sim->durable_permits);
}

/* --- on disk --------------------------------------------------------------------------------------- */

gboolean
permits_have_user(const Sim *sim, const Guest *guest)
{
    GHashTableIter iter;
    const ApmigPermit *record;

    g_hash_table_iter_init(&iter, sim->durable_permits);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&record))
        if (g_strcmp0(record->used_by, guest->uuid) == 0)
            return TRUE;
    return FALSE;
}

/* Before the answer to @record's creation is told. */
void
permits_created(Sim *sim, const char *id)
{
    Permit *permit = find(sim, id);

    for (guint i = 0; i < sim->permits->len; i++) {
        Permit *other = g_ptr_array_index(sim->permits, i);

        other->revoke_asked |= other != permit && other->guest == permit->guest;
    }
    permit->stand = PERMIT_OPEN;
    permit->turn = (guint)sim->n_events + 1;
}

void
permits_loaded(Sim *sim)
{
    for (guint i = 0; i < sim->permits->len; i++) {
        Permit *permit = g_ptr_array_index(sim->permits, i);
        const ApmigPermit *record = g_hash_table_lookup(sim->durable_permits, permit->id);

        permit->stand = !record ? PERMIT_GONE : record->used_by ? PERMIT_USED : PERMIT_OPEN;
        permit->outgoing = record && record->outgoing;
        permit->turn = (guint)sim->n_events + 1;
    }
}

/* --- what may be done with it ---------------------------------------------------------------------- */

static gboolean
engine_has_migration(const Sim *sim, const Guest *guest, gboolean outgoing)
{
    g_autoptr(GPtrArray) migrations = apmig_engine_list_migrations(sim->engine);

    for (guint i = 0; i < migrations->len; i++) {
        const ApmigMigration *migration = g_ptr_array_index(migrations, i);

        if (g_str_equal(migration->uuid, guest->uuid) && !migration->outgoing == !outgoing)
            return TRUE;
    }
    return FALSE;
}

static gboolean
engine_has_permitted(const Sim *sim, const Guest *guest, gboolean outgoing)
{
    g_autoptr(GPtrArray) migrations = apmig_engine_list_migrations(sim->engine);

    for (guint i = 0; i < migrations->len; i++) {
        const ApmigMigration *migration = g_ptr_array_index(migrations, i);

        if (migration->permitted && g_str_equal(migration->uuid, guest->uuid) &&
            !migration->outgoing == !outgoing)
            return TRUE;
    }
    return FALSE;
}

void
check_use_permit(Sim *sim, const ApmigPermit *record)
{
    Permit *permit = find(sim, record->id);

    if (!permit || !is_open(sim, permit))
        sim_violation(sim, "I2", "permit %s is used, and is not open", record->id);
    else if (!g_str_equal(record->used_by, permit->guest->uuid))
        sim_violation(sim, "I2", "permit %s of %s is used by another guest", record->id, permit->guest->name);
    if (sim->violation)
        return;
    if (permit->turn == (guint)sim->n_events)
        sim_cover(sim, COVER_PERMIT_WAITED);
    truth_forget_sent(permit->guest);
    permit->stand = PERMIT_USED;
    permit->outgoing = record->outgoing;
    permit->turn = (guint)sim->n_events;
    if (record->outgoing)
        sim_cover(sim, COVER_PERMIT_OUT);
}

void
check_remove_permit(Sim *sim, const ApmigPermit *record)
{
    Permit *permit = find(sim, record->id);
    gboolean expired = sim_boot_time(sim) >= permit->expires_at;

    if (permit->stand == PERMIT_USED && engine_has_permitted(sim, permit->guest, permit->outgoing) &&
        permit->turn != (guint)sim->n_events)
        sim_violation(sim, "I2", "permit %s ends, and the migration of %s does not", permit->id,
                      permit->guest->name);
    if (permit->stand == PERMIT_OPEN && !expired && !permit->revoke_asked &&
        permit->turn != (guint)sim->n_events)
        sim_violation(sim, "I3", "permit %s ends, and nobody wants it to", permit->id);
    if (permit->stand == PERMIT_OPEN && expired)
        sim_cover(sim, COVER_PERMIT_EXPIRED);
    permit->stand = PERMIT_GONE;
}

/* The hook is told yes, though a lock covers @guest. */
void
check_permitted_yes(Sim *sim, const Guest *guest, const char *lock)
{
    Permit *permit = find_used(sim, guest, FALSE);
    const ApmigPermit *record = permit ? g_hash_table_lookup(sim->durable_permits, permit->id) : NULL;

    if (!permit)
        sim_violation(sim, "I1", "a guest is admitted against lock %s", lock);
    else if (permit->yes++)
        sim_violation(sim, "I1", "permit %s of %s lets in two", permit->id, guest->name);
    else if (!record || !record->used_by)
        sim_violation(sim, "I3", "%s is let in by permit %s, which is not durably used", guest->name,
                      permit->id);
    sim_cover(sim, COVER_PERMIT_IN);
}

/* @told: the migration that this event told of for the first time; it had an open permit before. */
void
check_permit_heeded(Sim *sim, const Migration *told)
{
    if (told->mask && find_open(sim, told->guest) && !guest_uses_permit(sim, told->guest, told->outgoing))
        sim_violation(sim, "I6", "the permit of %s is open, and its migration does not use it",
                      told->guest->name);
}

/* After every event: what the engine takes for permitted is so, and is waited for. */
void
check_permits(Sim *sim)
{
    g_autoptr(GPtrArray) migrations = apmig_engine_list_migrations(sim->engine);

    for (guint i = 0; i < migrations->len; i++) {
        const ApmigMigration *migration = g_ptr_array_index(migrations, i);
        const Guest *guest = guest_by_uuid(sim, migration->uuid);

        if (migration->permitted && !guest_uses_permit(sim, guest, migration->outgoing))
            sim_violation(sim, "I2", "the migration of %s counts as permitted, and is not", guest->name);
    }
    for (guint i = 0; sim->loaded && i < sim->permits->len; i++) {
        const Permit *permit = g_ptr_array_index(sim->permits, i);

        if (permit->stand == PERMIT_USED && !engine_has_permitted(sim, permit->guest, permit->outgoing))
            sim_violation(sim, "I2", "permit %s is in use, and no migration of %s is", permit->id,
                          permit->guest->name);
    }
}

void
check_breach_logged(Sim *sim, const ApmigAction *entry)
{
    const char *id = entry->entry.migration_id;
    const ApmigMigration *migration = id ? apmig_engine_lookup_migration(sim->engine, id) : NULL;

    if (!id)
        return; /* of a guest that has come in and was read only then */
    if (!migration || guest_uses_permit(sim, guest_by_uuid(sim, migration->uuid), migration->outgoing))
        sim_violation(sim, "I2", "the migration of %s is permitted, and counted as a breach",
                      entry->entry.guest);
}

gboolean
permits_may_concern(const Sim *sim, guint mask)
{
    for (guint i = 0; i < sim->permits->len; i++) {
        const Permit *permit = g_ptr_array_index(sim->permits, i);
        const Told *told = &permit->guest->told;
        /* That an unaffected one comes in is known from the hook as well, and believed until libvirt tells of a change. */
        gboolean elsewhere = (told->facts && !told->varies && !(told->mask & mask)) || !permit->guest->mask ||
                             permit->guest->changing;

        if (is_open(sim, permit) && !elsewhere)
            return TRUE;
    }
    return FALSE;
}

/* --- replies --------------------------------------------------------------------------------------- */

void
check_permit_reply(Sim *sim, const Caller *caller, const ApmigAction *action)
{
    const ApmigPermit *record = g_hash_table_lookup(sim->durable_permits, action->reply.permit->id);
    const Permit *permit = find(sim, action->reply.permit->id);

    if (!permit || permit->guest != caller->guest)
        sim_violation(sim, "I6", "somebody is told of the permit of another guest");
    else if (caller->kind == CALLER_PERMIT && !record)
        sim_violation(sim, "I3", "permit %s is said to be given, and is not durable", permit->id);
    else if (caller->kind == CALLER_REVOKE && record)
        sim_violation(sim, "I3", "permit %s is said to be revoked, and is still there", permit->id);
    sim_cover(sim, caller->kind == CALLER_PERMIT ? COVER_PERMITTED : COVER_PERMIT_REVOKED);
}

/* Whether there is an open permit that is called as @caller calls it. */
static gboolean
is_found(const Sim *sim, const Caller *caller)
{
    for (guint i = 0; i < sim->permits->len; i++) {
        const Permit *permit = g_ptr_array_index(sim->permits, i);

        if (permit->guest == caller->guest && is_open(sim, permit) &&
            (caller->by_uuid ? permit->has_uuid : permit->has_name))
            return TRUE;
    }
    return FALSE;
}

void
check_permit_error(Sim *sim, const Caller *caller, ApmigError code)
{
    gboolean just = FALSE;

    if (code == APMIG_ERROR_BUSY) {
        sim_cover(sim, COVER_PERMIT_BUSY);
        just = engine_has_migration(sim, caller->guest, TRUE) ||
               engine_has_migration(sim, caller->guest, FALSE) || caller->guest->told.stopped_at ||
               sim->actions->len > 1; /* the migration has just ended */
    } else if (code == APMIG_ERROR_NO_SUCH_PERMIT) {
        sim_cover(sim, COVER_NO_SUCH_PERMIT);
        just = caller->kind == CALLER_REVOKE && !is_found(sim, caller);
    } else if (code == APMIG_ERROR_STATE_FAILURE) {
        just = !sim->loaded || sim->disk_faults > caller->faults || disk_is_late(sim, caller);
    } else if (code == APMIG_ERROR_LIMIT_EXCEEDED) {
        just = caller->kind == CALLER_PERMIT && sim->permits->len >= APMIG_PERMITS_MAX;
    }
    if (!just)
        sim_violation(sim, "I6", "who asks about a permit of %s is told %s, which is not true",
                      caller->guest->name, apmig_error_name(code));
}
