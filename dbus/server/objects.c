/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Objects on the bus, texts in its messages, and what changed of properties. */
#include "server/private.h"

#include <stdarg.h>
#include <string.h>

char *
apmig_bus_text(const char *text)
{
    return g_utf8_make_valid(text ? text : "", -1);
}

int
apmig_append_text(sd_bus_message *message, const char *text)
{
    g_autofree char *valid = apmig_bus_text(text);

    return sd_bus_message_append(message, "s", valid);
}

int
apmig_append_lock_paths(sd_bus_message *message, GPtrArray *locks)
{
    int r = sd_bus_message_open_container(message, 'a', "o");

    for (guint i = 0; r >= 0 && i < locks->len; i++) {
        const ApmigLock *lock = g_ptr_array_index(locks, i);
        g_autofree char *path = g_strconcat(APMIG_BUS_LOCK_PREFIX "/", lock->record->id, NULL);

        r = sd_bus_message_append(message, "o", path);
    }
    return r < 0 ? r : sd_bus_message_close_container(message);
}

static void
object_free(gpointer data)
{
    ApmigObject *object = data;

    g_free(object->id);
    g_free(object->path);
    g_strfreev(object->texts);
    g_free(object);
}

GHashTable *
apmig_objects_new(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, NULL, object_free);
}

ApmigObject *
apmig_object_find_or_add(ApmigServer *server, GHashTable *objects, const char *prefix, const char *id,
                         gboolean *ret_added)
{
    ApmigObject *object = g_hash_table_lookup(objects, id);

    *ret_added = !object;
    if (object)
        return object;

    object = g_new0(ApmigObject, 1);
    object->server = server;
    object->id = g_strdup(id);
    object->path = g_strconcat(prefix, "/", id, NULL);
    g_hash_table_insert(objects, object->id, object);
    return object;
}

void
apmig_object_announce(ApmigObject *object)
{
    GHashTableIter iter;
    ApmigBus *bus;

    for (g_hash_table_iter_init(&iter, object->server->buses); (bus = apmig_bus_next(&iter));) {
        (void)sd_bus_emit_object_added(bus->bus, object->path);
        apmig_bus_check_queue(bus);
    }
}

void
apmig_object_remove(GHashTable *objects, const char *id)
{
    ApmigObject *object = g_hash_table_lookup(objects, id);
    GHashTableIter iter;
    ApmigBus *bus;

    if (!object)
        return;

    /* sd-bus finds out by our find functions which interfaces it had: it goes out of the table last. */
    for (g_hash_table_iter_init(&iter, object->server->buses); (bus = apmig_bus_next(&iter));) {
        (void)sd_bus_emit_object_removed(bus->bus, object->path);
        apmig_bus_check_queue(bus);
    }
    g_hash_table_remove(objects, id);
}

int
apmig_objects_find(GHashTable *objects, const char *prefix, const char *path, void **ret_found)
{
    gsize length = strlen(prefix);
    ApmigObject *object = NULL;

    if (strncmp(path, prefix, length) == 0 && path[length] == '/')
        object = g_hash_table_lookup(objects, path + length + 1);
    if (!object)
        return 0;

    *ret_found = object;
    return 1;
}

/* sd-bus frees what it gets with free(3); GLib's memory is that too (since 2.46). */
int
apmig_objects_enumerate(GHashTable *objects, char ***ret_paths)
{
    GStrv paths = g_new0(char *, g_hash_table_size(objects) + 1);
    GHashTableIter iter;
    gpointer value;
    guint n = 0;

    g_hash_table_iter_init(&iter, objects);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        paths[n++] = g_strdup(((ApmigObject *)value)->path);

    *ret_paths = paths;
    return 0;
}

void
apmig_server_emit_signal(ApmigServer *server, const char *path, const char *interface, const char *member,
                         const char *signature, ...)
{
    GHashTableIter iter;
    ApmigBus *bus;

    for (g_hash_table_iter_init(&iter, server->buses); (bus = apmig_bus_next(&iter));) {
        va_list arguments;

        va_start(arguments, signature);
        (void)sd_bus_emit_signalv(bus->bus, path, interface, member, signature, arguments);
        va_end(arguments);
        apmig_bus_check_queue(bus);
    }
}

static void
emit_properties_changed(ApmigServer *server, const char *path, const char *interface, const char **names)
{
    GHashTableIter iter;
    ApmigBus *bus;

    for (g_hash_table_iter_init(&iter, server->buses); (bus = apmig_bus_next(&iter));) {
        (void)sd_bus_emit_properties_changed_strv(bus->bus, path, interface, (char **)names);
        apmig_bus_check_queue(bus);
    }
}

void
apmig_server_emit_changes(ApmigServer *server, const char *path, const char *interface,
                          const char *const *names, GStrv *last, char **now)
{
    guint n = g_strv_length(now);
    g_auto(GStrv) before = *last;
    g_autofree const char **changed = g_new0(const char *, n + 1);
    guint n_changed = 0;

    *last = g_new0(char *, n + 1);
    for (guint i = 0; i < n; i++) {
        (*last)[i] = now[i];
        if (before && strcmp(before[i], now[i]) != 0)
            changed[n_changed++] = names[i];
    }
    if (n_changed > 0)
        emit_properties_changed(server, path, interface, changed);
}
