/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which mediated device a guest that comes in gets here, where the policy says that it need not have the UUID of the one
 * at its source. A device is promised with the admission and stays so as long as the guest's migration is in progress.
 */
#include "engine/private.h"

#include "ap/device-remap.h"

void
migration_promise(Migration *migration, const char *const *devices)
{
    for (guint i = 0; devices && devices[i]; i++)
        g_hash_table_add(migration->promised, g_strdup(devices[i]));
}

/* --- what others have ---------------------------------------------------------------------------- */

static void
add_all(GPtrArray *taken, const char *const *devices)
{
    for (guint i = 0; devices && devices[i]; i++)
        g_ptr_array_add(taken, (gpointer)devices[i]);
}

static void
add_devices_of(GPtrArray *taken, const Migration *migration)
{
    GHashTableIter iter;
    gpointer uuid;

    add_all(taken, (const char *const *)migration->pub.devices);
    g_hash_table_iter_init(&iter, migration->promised);
    while (g_hash_table_iter_next(&iter, &uuid, NULL))
        g_ptr_array_add(taken, uuid);
}

/* The devices of a guest that comes in are not told by libvirt. So those of a migration that ended while libvirt was
 * asked count, too. */
static void
add_devices_of_migrations(const ApmigEngine *engine, const ApmigEvent *event, GPtrArray *taken)
{
    for (guint i = 0; i < engine->migrations->len; i++) {
        const Migration *migration = g_ptr_array_index(engine->migrations, i);

        if (!g_str_equal(migration->pub.uuid, event->admit.uuid))
            add_devices_of(taken, migration);
    }
    for (guint i = 0; i < engine->ended_migrations->len; i++) {
        const Migration *migration = g_ptr_array_index(engine->ended_migrations, i);

        if (migration->ended_at >= event->admit.arrival.asked_at &&
            !g_str_equal(migration->pub.uuid, event->admit.uuid))
            add_devices_of(taken, migration);
    }
}

static void
add_devices_of_guests(const ApmigEngine *engine, const ApmigEvent *event, GPtrArray *taken)
{
    GHashTableIter iter;
    const Guest *guest;

    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        if (!guest->stopped && !g_str_equal(guest->uuid, event->admit.uuid))
            add_all(taken, (const char *const *)guest->devices);
}

/* Returns: (transfer container): UUIDs, ended by NULL, valid until the engine gets its next event. */
static GPtrArray *
list_taken(const ApmigEngine *engine, const ApmigEvent *event)
{
    GPtrArray *taken = g_ptr_array_new();

    add_devices_of_migrations(engine, event, taken);
    add_devices_of_guests(engine, event, taken);
    add_all(taken, event->admit.arrival.in_use);
    g_ptr_array_add(taken, NULL);
    return taken;
}

/* Returns: (transfer container): what an earlier admission of the same guest has promised, ended by NULL. */
static GPtrArray *
list_promised(const ApmigEngine *engine, const ApmigEvent *event)
{
    const Migration *earlier = engine_find_migration(engine, event->admit.uuid, FALSE);
    GPtrArray *promised = g_ptr_array_new();
    GHashTableIter iter;
    gpointer uuid;

    if (earlier) {
        g_hash_table_iter_init(&iter, earlier->promised);
        while (g_hash_table_iter_next(&iter, &uuid, NULL))
            g_ptr_array_add(promised, uuid);
    }
    g_ptr_array_add(promised, NULL);
    return promised;
}

/* A guest that is coming in may be let in once more, though libvirt will refuse that: its QEMU has the device of the first
 * yes, and nothing may tell another one of it. */
static gboolean
guest_may_be_here(const ApmigEngine *engine, const char *uuid)
{
    const Migration *earlier = engine_find_migration(engine, uuid, FALSE);

    return !engine->connected || !engine->list_token || engine_guest_is_active(engine, uuid) ||
           (earlier && earlier->incoming_seen);
}

/* --- the choice ---------------------------------------------------------------------------------- */

/* A guest that is restored has its device's state in a file of this host's, or none. */
char *
engine_choose_device(const ApmigEngine *engine, const ApmigEvent *event, char **ret_device)
{
    const ApmigArrival *arrival = &event->admit.arrival;
    g_autoptr(GPtrArray) taken = NULL;
    g_autoptr(GPtrArray) promised = NULL;
    g_autofree char *chosen = NULL;
    char *why_not = NULL;
    ApmigRemapQuestion question = {
        .remap = engine->policy->remap_devices,
        .device = arrival->device,
        .source = engine_arrival_has_view(engine, event) ? arrival->stamp->view : NULL,
        .host = arrival->host,
        .guests_known = arrival->in_use != NULL,
        .may_be_here = guest_may_be_here(engine, event->admit.uuid),
    };

    *ret_device = NULL;
    if (question.remap == APMIG_REMAP_OFF || event->admit.restore || !arrival->device)
        return NULL;
    taken = list_taken(engine, event);
    promised = list_promised(engine, event);
    question.taken = (const char *const *)taken->pdata;
    question.promised = (const char *const *)promised->pdata;
    chosen = apmig_device_remap_choose(&question, &why_not);
    if (chosen && !g_str_equal(chosen, arrival->device))
        *ret_device = g_steal_pointer(&chosen);
    return why_not;
}

/* --- what follows from it ------------------------------------------------------------------------ */

GStrv
engine_list_devices_here(const ApmigEvent *event, const char *device)
{
    GStrv devices = g_strdupv((char **)event->admit.facts.devices);

    for (guint i = 0; device && devices && devices[i]; i++) {
        if (!g_str_equal(devices[i], event->admit.arrival.device))
            continue;
        g_free(devices[i]);
        devices[i] = g_strdup(device);
    }
    return devices;
}

GHashTable *
engine_device_map_new(const char *own, const char *device)
{
    GHashTable *map = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);

    g_hash_table_insert(map, g_strdup(own), g_strdup(device));
    return map;
}

char *
engine_describe_device_map(GHashTable *map)
{
    GString *text = g_string_new(NULL);
    GHashTableIter iter;
    const char *own, *device;

    if (map) {
        g_hash_table_iter_init(&iter, map);
        while (g_hash_table_iter_next(&iter, (gpointer *)&own, (gpointer *)&device))
            g_string_append_printf(text, ", with mediated device %s in the place of %s", device, own);
    }
    return g_string_free(text, FALSE);
}
