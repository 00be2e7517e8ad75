/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ListGuests: the guests of this host that a lock of some scope would concern. */
#include "server/private.h"

/* --- dictionaries ------------------------------------------------------------------------------------ */

static int
append_devices(sd_bus_message *reply, char **devices)
{
    int r = sd_bus_message_open_container(reply, 'e', "sv");

    if (r >= 0)
        r = sd_bus_message_append(reply, "s", "devices");
    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'v', "as");
    if (r >= 0)
        r = sd_bus_message_append_strv(reply, devices);
    if (r >= 0)
        r = sd_bus_message_close_container(reply);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int
append_locks(sd_bus_message *reply, GPtrArray *locks)
{
    int r = sd_bus_message_open_container(reply, 'e', "sv");

    if (r >= 0)
        r = sd_bus_message_append(reply, "s", "locks");
    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'v', "ao");
    if (r >= 0)
        r = apmig_append_lock_paths(reply, locks);
    if (r >= 0)
        r = sd_bus_message_close_container(reply);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int
append_allowed(sd_bus_message *reply, const ApmigEngine *engine, const ApmigGuestDevices *guest)
{
    const ApmigGuestFacts facts = {.affected = APMIG_AFFECTED_YES, .scope = guest->scope};
    g_autoptr(GPtrArray) locks = NULL;
    gboolean allowed;
    g_autofree char *text = apmig_server_check_guest(engine, guest->uuid, &facts, &allowed, &locks);
    int r = sd_bus_message_append(reply, "{sv}{sv}", "allowed", "b", (int)allowed, "reason", "s", text);

    return r < 0 ? r : append_locks(reply, locks);
}

/* @migration: (nullable): of the guest, in progress */
static int
append_migration(sd_bus_message *reply, const ApmigMigration *migration)
{
    g_autofree char *path =
        migration ? g_strconcat(APMIG_BUS_MIGRATION_PREFIX "/", migration->id, NULL) : NULL;

    return migration ? sd_bus_message_append(reply, "{sv}{sv}", "migration", "o", path, "direction", "s",
                                             apmig_migration_direction(migration))
                     : 0;
}

static int
append_guest(sd_bus_message *reply, const ApmigEngine *engine, const ApmigGuestDevices *guest,
             const ApmigMigration *migration)
{
    g_autofree char *name = apmig_bus_text(guest->name);
    int r = sd_bus_message_open_container(reply, 'a', "{sv}");

    if (r >= 0)
        r = sd_bus_message_append(reply, "{sv}{sv}{sv}", "uuid", "s", guest->uuid, "name", "s", name, "scope",
                                  "s", apmig_scope_to_string(guest->scope));
    if (r >= 0)
        r = append_devices(reply, guest->devices);
    if (r >= 0)
        r = append_allowed(reply, engine, guest);
    if (r >= 0)
        r = append_migration(reply, migration);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* --- both sources ------------------------------------------------------------------------------------ */

static const ApmigMigration *
find_migration(const GPtrArray *migrations, const char *uuid)
{
    for (guint i = 0; i < migrations->len; i++) {
        const ApmigMigration *migration = g_ptr_array_index(migrations, i);

        if (g_str_equal(migration->uuid, uuid))
            return migration;
    }
    return NULL;
}

static gboolean
is_listed(const GPtrArray *guests, const char *uuid)
{
    for (guint i = 0; i < guests->len; i++)
        if (g_str_equal(((const ApmigGuestDevices *)g_ptr_array_index(guests, i))->uuid, uuid))
            return TRUE;
    return FALSE;
}

/* The XML of a guest that comes in cannot be read: of that one its migration knows. */
static int
append_arriving(sd_bus_message *reply, const ApmigEngine *engine, const ApmigScope *scope, const GPtrArray *guests,
                const GPtrArray *migrations)
{
    int r = 0;

    for (guint i = 0; r >= 0 && i < migrations->len; i++) {
        const ApmigMigration *migration = g_ptr_array_index(migrations, i);
        const ApmigGuestDevices guest = {migration->uuid, migration->guest, migration->devices,
                                         migration->scope};

        if (!is_listed(guests, migration->uuid) && apmig_scope_overlaps(scope, migration->scope))
            r = append_guest(reply, engine, &guest, migration);
    }
    return r;
}

static int
append_guests(sd_bus_message *reply, const ApmigEngine *engine, const ApmigScope *scope, const GPtrArray *guests)
{
    g_autoptr(GPtrArray) migrations = apmig_engine_list_migrations(engine);
    int r = sd_bus_message_open_container(reply, 'a', "a{sv}");

    for (guint i = 0; r >= 0 && i < guests->len; i++) {
        const ApmigGuestDevices *guest = g_ptr_array_index(guests, i);

        if (apmig_scope_overlaps(scope, guest->scope))
            r = append_guest(reply, engine, guest, find_migration(migrations, guest->uuid));
    }
    if (r >= 0)
        r = append_arriving(reply, engine, scope, guests, migrations);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* --- the call ---------------------------------------------------------------------------------------- */

static void
on_guests(const GPtrArray *guests, gpointer user_data)
{
    ApmigCall *call = user_data;
    g_autoptr(GError) error = NULL;
    g_autoptr(sd_bus_message) reply = NULL;
    int r;

    call->caller = 0;
    if (!guests) {
        error = g_error_new_literal(APMIG_ERROR, APMIG_ERROR_HYPERVISOR_UNAVAILABLE,
                                    "The hypervisor has not told which guests it has: try again.");
        apmig_call_fail(call, error);
        return;
    }
    r = sd_bus_message_new_method_return(call->message, &reply);
    if (r >= 0)
        r = append_guests(reply, apmig_core_engine(call->server->core), call->data, guests);
    apmig_call_send(call, reply, r);
}

static void
list_identified(ApmigCall *call, const GError *denied)
{
    call->caller = apmig_core_list_guests(call->server->core, on_guests, call);
}

static void
scope_free(gpointer scope)
{
    apmig_scope_unref(scope);
}

int
apmig_method_list_guests(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    ApmigOption options[] = {{NULL}};
    g_autoptr(GError) error = NULL;
    const char *text = NULL;
    g_autoptr(ApmigScope) scope = NULL;
    int r = sd_bus_message_read(message, "s", &text);

    if (r < 0)
        return r;
    scope = apmig_scope_parse(text, &error);
    if (!scope || !apmig_options_read(message, options, &error))
        return apmig_reply_error(message, error);
    return apmig_call_start(user_data, message, g_steal_pointer(&scope), scope_free, list_identified);
}
