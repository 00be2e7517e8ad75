/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "server/private.h"

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
    ApmigServer *server = user_data;
    g_autofree char *message = apmig_bus_text(changes->message);

    apmig_server_emit_signal(server, APMIG_BUS_PATH, APMIG_BUS_MANAGER, "KeysChanged", "ss",
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
    ApmigServer *server = user_data;
    g_autofree char *message = apmig_bus_text(changes->message);

    apmig_server_emit_signal(server, APMIG_BUS_PATH, APMIG_BUS_MANAGER, "ConfigurationChanged", "ss",
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

/* --- its life ----------------------------------------------------------------------------------------- */

ApmigServer *
apmig_server_new(ApmigCore *core)
{
    ApmigServer *server = g_new0(ApmigServer, 1);

    server->core = core;
    server->started_at = g_get_real_time();
    server->buses = g_hash_table_new(NULL, NULL);
    server->peers = g_hash_table_new(g_str_hash, g_str_equal);
    server->locks = apmig_objects_new();
    server->migrations = apmig_objects_new();
    server->calls = g_hash_table_new(NULL, NULL);
    server->readings = apmig_readings_new();
    apmig_core_set_listener(core, &core_listener, server);
    add_known_objects(server);
    return server;
}

gboolean
apmig_server_open(ApmigServer *server, const char *runtime_dir, ApmigOpenedFunc opened, gpointer user_data,
                  GError **error)
{
    g_autofree char *path = g_build_filename(runtime_dir, APMIG_PRIVATE_SOCKET, NULL);

    server->private_socket = apmig_private_socket_new(server, path, error);
    if (!server->private_socket)
        return FALSE;
    server->public_bus = apmig_public_bus_new(server, opened, user_data);
    return TRUE;
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
    apmig_core_set_listener(server->core, &no_listener, NULL);
    apmig_private_socket_free(server->private_socket);
    apmig_public_bus_free(server->public_bus);
    apmig_loopback_free(server->loopback);
    apmig_readings_free(server->readings);
    g_hash_table_unref(server->calls);
    g_hash_table_unref(server->peers);
    g_hash_table_unref(server->buses);
    g_hash_table_unref(server->locks);
    g_hash_table_unref(server->migrations);
    g_strfreev(server->manager_texts);
    g_free(server);
}
