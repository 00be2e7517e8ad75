/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guests that are moved by unplugging: the device is taken away, the guest migrates, the device is given back. A guest
 * that had a device while a lock over its queues lived counts as having them until no such lock is left, whatever
 * becomes of the device; that it was taken away is no reason to let it leave. A device that is given back under a lock
 * that is held is told of, and left alone.
 *
 * Kept over a lost connection, for devices are unplugged meanwhile too, but not over a restart: the stamp and the
 * persistent configuration are.
 */
#include "engine/private.h"

/* What a guest had. */
typedef struct {
    ApmigScope *scope; /* all that it had, while the lock lived */
    GStrv devices;     /* as it was told last that it had any */
    gboolean lost;     /* one of them was taken away */
} Plugged;

void
plugged_free(gpointer data)
{
    Plugged *plugged = data;

    apmig_scope_unref(plugged->scope);
    g_strfreev(plugged->devices);
    g_free(plugged);
}

static gboolean
has_all(const Guest *guest, char **devices)
{
    for (guint i = 0; devices[i]; i++)
        if (!g_strv_contains((const char *const *)guest->devices, devices[i]))
            return FALSE;
    return TRUE;
}

/* What is known of @guest is as it was told; of one that has stopped it is what an earlier life had. */
static void
remember(ApmigEngine *engine, const Guest *guest)
{
    Plugged *plugged = g_hash_table_lookup(engine->plugged, guest->uuid);
    g_autoptr(ApmigScope) earlier = NULL;

    if (guest->affected != APMIG_AFFECTED_YES || guest->stopped || !guest->devices[0] ||
        (!plugged && !engine_overlapping_lock(engine, guest->scope)))
        return;
    if (!plugged) {
        plugged = g_new0(Plugged, 1);
        plugged->scope = apmig_scope_new_none();
        g_hash_table_insert(engine->plugged, g_strdup(guest->uuid), plugged);
    }
    earlier = plugged->scope;
    plugged->scope = apmig_scope_union(earlier, guest->scope);
    g_strfreev(plugged->devices);
    plugged->devices = g_strdupv(guest->devices);
}

/* Of one of which nothing is known, everything is assumed already. */
static void
keep(const ApmigEngine *engine, Guest *guest)
{
    const Plugged *plugged = g_hash_table_lookup(engine->plugged, guest->uuid);
    g_autoptr(ApmigScope) told = NULL;

    if (!plugged || !plugged->lost || guest->affected == APMIG_AFFECTED_UNKNOWN)
        return;
    told = guest->scope;
    guest->scope = apmig_scope_union(told, plugged->scope);
    guest->affected = APMIG_AFFECTED_YES;
}

/* --- what is given back -------------------------------------------------------------------------- */

static void
log_replug(ApmigEngine *engine, const Guest *guest, const char *device, const Lock *lock)
{
    entry_set_guest(
        engine_log(engine, APMIG_LOG_GUEST_REPLUGGED, LOG_ERR, lock, NULL,
                   "guest %s was given mediated device %s while lock %s is held over its AP queues: its keys "
                   "may be others already, or become so",
                   guest->name, device, lock->pub.record->id),
        guest->uuid, guest->name);
}

/* Of a guest that was never told of before it is not known whether it had the device all the time. */
static void
look_for_replug(ApmigEngine *engine, const Guest *guest)
{
    const Lock *lock = NULL;

    if (!guest->told_devices || guest->affected == APMIG_AFFECTED_NO)
        return;
    for (guint i = 0; !lock && i < engine->locks->len; i++) {
        const Lock *candidate = g_ptr_array_index(engine->locks, i);

        if (candidate->was_held && !candidate->ending &&
            apmig_scope_overlaps(candidate->pub.record->scope, guest->scope))
            lock = candidate;
    }
    for (guint i = 0; lock && guest->devices[i]; i++)
        if (!g_strv_contains((const char *const *)guest->told_devices, guest->devices[i]))
            log_replug(engine, guest, guest->devices[i], lock);
}

/* --- when ---------------------------------------------------------------------------------------- */

void
engine_unplug_learned(ApmigEngine *engine, Guest *guest)
{
    Plugged *plugged = g_hash_table_lookup(engine->plugged, guest->uuid);

    look_for_replug(engine, guest);
    g_strfreev(guest->told_devices);
    guest->told_devices = g_strdupv(guest->devices);
    if (plugged && !has_all(guest, plugged->devices))
        plugged->lost = TRUE;
    remember(engine, guest);
    keep(engine, guest);
}

void
engine_unplug_lock_requested(ApmigEngine *engine)
{
    GHashTableIter iter;
    Guest *guest;

    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        remember(engine, guest);
}

void
engine_unplug_stopped(ApmigEngine *engine, const char *uuid)
{
    g_hash_table_remove(engine->plugged, uuid);
}

/* What a guest has without what it had is to be read anew, and until then nothing is done to its migration, even if
 * libvirt goes away before. */
static void
stop_keeping(ApmigEngine *engine, const char *uuid)
{
    Guest *guest = g_hash_table_lookup(engine->guests, uuid);
    Migration *outgoing = engine_find_migration(engine, uuid, TRUE);

    if (guest && guest->affected == APMIG_AFFECTED_YES)
        guest_forget_facts(guest, engine->last_token);
    if (outgoing)
        outgoing->pub.scope_known = FALSE;
}

void
engine_settle_unplugged(ApmigEngine *engine)
{
    GHashTableIter iter;
    const char *uuid;
    const Plugged *plugged;

    g_hash_table_iter_init(&iter, engine->plugged);
    while (g_hash_table_iter_next(&iter, (gpointer *)&uuid, (gpointer *)&plugged)) {
        if (engine_overlapping_lock(engine, plugged->scope))
            continue;
        if (plugged->lost)
            stop_keeping(engine, uuid);
        g_hash_table_iter_remove(&iter);
    }
}
