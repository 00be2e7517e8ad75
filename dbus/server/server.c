/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "server/event-source.h"
#include "server/private.h"

#include <gio/gio.h>
#include <string.h>

/* --- what the core tells ------------------------------------------------------------------------------ */

static void
on_lock_changed(const char *id, gpointer user_data)
{
    apmig_lock_object_refresh(user_data, id);
    apmig_manager_refresh(user_data);
}

static void
on_lock_forgotten(const char *id, gpointer user_data)
{
    apmig_object_remove(((ApmigServer *)user_data)->locks, id);
    apmig_manager_refresh(user_data);
}

static void
on_migration_changed(const char *id, gpointer user_data)
{
    apmig_migration_object_refresh(user_data, id);
}

static void
on_migration_forgotten(const char *id, gpointer user_data)
{
    apmig_object_remove(((ApmigServer *)user_data)->migrations, id);
}

static void
on_view_changed(gpointer user_data)
{
    apmig_manager_refresh(user_data);
}

static void
on_keys_changed(const ApmigWatchChanges *changes, gpointer user_data)
{
    const ApmigServer *server = user_data;
    g_autofree char *message = apmig_bus_text(changes->message);

    (void)sd_bus_emit_signal(server->bus, APMIG_BUS_PATH, APMIG_BUS_MANAGER, "KeysChanged", "ss",
                             apmig_scope_to_string(changes->queues), message);
}

static void
on_policy_changed(gpointer user_data)
{
    apmig_manager_refresh(user_data);
}

static void
on_config_changed(const ApmigWatchChanges *changes, gpointer user_data)
{
    const ApmigServer *server = user_data;
    g_autofree char *message = apmig_bus_text(changes->message);

    (void)sd_bus_emit_signal(server->bus, APMIG_BUS_PATH, APMIG_BUS_MANAGER, "ConfigurationChanged", "ss",
                             apmig_scope_to_string(changes->queues), message);
}

static void
on_permits_changed(gpointer user_data)
{
    apmig_manager_refresh(user_data);
}

static const ApmigCoreListener core_listener = {
    .lock_changed = on_lock_changed,
    .lock_forgotten = on_lock_forgotten,
    .migration_changed = on_migration_changed,
    .migration_forgotten = on_migration_forgotten,
    .view_changed = on_view_changed,
    .keys_changed = on_keys_changed,
    .policy_changed = on_policy_changed,
    .config_changed = on_config_changed,
    .permits_changed = on_permits_changed,
};

static const ApmigCoreListener no_listener;

/* What the core knew before it had a listener. */
static void
add_known_objects(ApmigServer *server)
{
    const ApmigEngine *engine = apmig_core_engine(server->core);
    g_autoptr(GPtrArray) locks = apmig_engine_list_locks(engine);
    g_autoptr(GPtrArray) migrations = apmig_engine_list_migrations(engine);

    for (guint i = 0; i < locks->len; i++)
        apmig_lock_object_refresh(server, ((const ApmigLock *)g_ptr_array_index(locks, i))->record->id);
    for (guint i = 0; i < migrations->len; i++)
        apmig_migration_object_refresh(server,
                                       ((const ApmigMigration *)g_ptr_array_index(migrations, i))->id);
    apmig_manager_refresh(server);
}

/* --- the connection ----------------------------------------------------------------------------------- */

static gboolean
call_lost_func(gpointer user_data)
{
    ApmigServer *server = user_data;

    server->lost_id = 0;
    if (server->lost_func)
        server->lost_func(server->lost_data);
    return G_SOURCE_REMOVE;
}

/* Later, not from within sd-bus: the function may free the server. */
static gboolean
on_lost(gpointer user_data)
{
    ApmigServer *server = user_data;

    if (server->lost_id == 0)
        server->lost_id = g_idle_add(call_lost_func, server);
    return G_SOURCE_REMOVE;
}

static int
on_disconnected(sd_bus_message *signal, void *user_data, sd_bus_error *ret_error)
{
    on_lost(user_data);
    return 0;
}

static int
open_bus(ApmigServer *server)
{
    int r = sd_event_new(&server->event);

    if (r >= 0)
        r = sd_bus_open_system_with_description(&server->bus, "apmigd");
    if (r >= 0)
        r = sd_bus_attach_event(server->bus, server->event, SD_EVENT_PRIORITY_NORMAL);
    if (r >= 0)
        r = sd_bus_match_signal(server->bus, NULL, "org.freedesktop.DBus.Local", NULL,
                                "org.freedesktop.DBus.Local", "Disconnected", on_disconnected, server);
    return r;
}

static int
register_objects(ApmigServer *server)
{
    int r = sd_bus_add_object_manager(server->bus, NULL, APMIG_BUS_PATH);

    if (r >= 0)
        r = apmig_manager_register(server);
    if (r >= 0)
        r = apmig_lock_objects_register(server);
    if (r >= 0)
        r = apmig_migration_objects_register(server);
    return r;
}

ApmigServer *
apmig_server_new(ApmigCore *core, GError **error)
{
    g_autoptr(ApmigServer) server = g_new0(ApmigServer, 1);
    int r;

    server->core = core;
    server->started_at = g_get_real_time();
    server->locks = apmig_objects_new();
    server->migrations = apmig_objects_new();
    server->calls = g_hash_table_new(NULL, NULL);

    r = open_bus(server);
    if (r < 0) {
        g_set_error(error, G_IO_ERROR, g_io_error_from_errno(-r), "Cannot connect to the system bus: %s.",
                    g_strerror(-r));
        return NULL;
    }
    r = register_objects(server);
    if (r < 0) {
        g_set_error(error, G_IO_ERROR, g_io_error_from_errno(-r),
                    "Cannot register the objects on the bus: %s.", g_strerror(-r));
        return NULL;
    }

    server->source = apmig_event_source_new(server->event);
    g_source_set_callback(server->source, on_lost, server, NULL);
    g_source_attach(server->source, NULL);

    apmig_core_set_listener(core, &core_listener, server);
    add_known_objects(server);
    return g_steal_pointer(&server);
}

gboolean
apmig_server_take_name(ApmigServer *server, GError **error)
{
    int r = sd_bus_request_name(server->bus, APMIG_BUS_NAME, 0);

    if (r >= 0)
        return TRUE;

    if (r == -EEXIST)
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_EXISTS,
                    "The name %s on the system bus is taken: another apmigd is running.", APMIG_BUS_NAME);
    else
        g_set_error(
            error, G_IO_ERROR, g_io_error_from_errno(-r),
            "The bus does not give the name %s: %s; the bus policy org.apmigd1.conf must allow it to the "
            "user of apmigd.",
            APMIG_BUS_NAME, g_strerror(-r));
    return FALSE;
}

void
apmig_server_set_lost_func(ApmigServer *server, GSourceFunc func, gpointer user_data)
{
    server->lost_func = func;
    server->lost_data = user_data;
}

/* A lock that is still draining is withdrawn with its caller. */
static void
end_calls(ApmigServer *server)
{
    g_autoptr(GError) stopping =
        g_error_new_literal(APMIG_ERROR, APMIG_ERROR_CANCELLED,
                            "apmigd is being stopped: see apmigctl list once it runs again, and ask anew");
    GHashTableIter iter;
    gpointer call;

    for (g_hash_table_iter_init(&iter, server->calls); g_hash_table_iter_next(&iter, &call, NULL);
         g_hash_table_iter_init(&iter, server->calls))
        apmig_call_fail(call, stopping);
}

void
apmig_server_free(ApmigServer *server)
{
    if (!server)
        return;

    end_calls(server);
    if (server->source) {
        apmig_core_set_listener(server->core, &no_listener, NULL);
        g_source_destroy(server->source);
        g_source_unref(server->source);
    }
    g_clear_handle_id(&server->lost_id, g_source_remove);
    if (server->bus)
        sd_bus_detach_event(server->bus);
    sd_bus_flush_close_unref(server->bus);
    sd_event_unref(server->event);
    g_hash_table_unref(server->calls);
    g_hash_table_unref(server->locks);
    g_hash_table_unref(server->migrations);
    g_strfreev(server->manager_texts);
    g_free(server);
}
