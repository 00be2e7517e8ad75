/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* org.apmigd1.Migration, at /org/apmigd1/migration/ID. */
#include "server/private.h"

#include <string.h>

static const ApmigMigration *
migration_of(const ApmigObject *object)
{
    return apmig_engine_lookup_migration(apmig_core_engine(object->server->core), object->id);
}

const char *
apmig_migration_scope_text(const ApmigMigration *migration)
{
    return migration->scope_known && migration->scope ? apmig_scope_to_string(migration->scope) : "all";
}

/* --- properties --------------------------------------------------------------------------------------- */

/* Returns: (transfer full): the value of a property that is a text. */
static char *
text_of(const ApmigMigration *migration, const char *property)
{
    const struct {
        const char *property;
        const char *text;
    } texts[] = {
        {"Guest", migration->guest},
        {"Uuid", migration->uuid},
        {"Direction", apmig_migration_direction(migration)},
        {"Phase", apmig_migration_phase_to_string(migration->phase)},
        {"Scope", apmig_migration_scope_text(migration)},
        {"Result", migration->result},
        {"Message", migration->message},
    };

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        if (strcmp(property, texts[i].property) == 0)
            return apmig_bus_text(texts[i].text);
    }
    g_return_val_if_reached(g_strdup(""));
}

static int
get_text(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
         void *user_data, sd_bus_error *ret_error)
{
    const ApmigMigration *migration = migration_of(user_data);
    g_autofree char *text = migration ? text_of(migration, property) : NULL;

    return migration ? apmig_append_text(reply, text) : -ENOENT;
}

static int
get_started_at(sd_bus *bus, const char *path, const char *interface, const char *property,
               sd_bus_message *reply, void *user_data, sd_bus_error *ret_error)
{
    const ApmigMigration *migration = migration_of(user_data);

    return migration ? sd_bus_message_append(reply, "t", (guint64)migration->started_at) : -ENOENT;
}

static int
get_postcopy(sd_bus *bus, const char *path, const char *interface, const char *property,
             sd_bus_message *reply, void *user_data, sd_bus_error *ret_error)
{
    const ApmigMigration *migration = migration_of(user_data);

    return migration ? sd_bus_message_append(reply, "b", (int)migration->postcopy) : -ENOENT;
}

static int
get_permitted(sd_bus *bus, const char *path, const char *interface, const char *property,
              sd_bus_message *reply, void *user_data, sd_bus_error *ret_error)
{
    const ApmigMigration *migration = migration_of(user_data);

    return migration ? sd_bus_message_append(reply, "b", (int)migration->permitted) : -ENOENT;
}

static int
get_devices(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
            void *user_data, sd_bus_error *ret_error)
{
    const ApmigMigration *migration = migration_of(user_data);

    return migration ? sd_bus_message_append_strv(reply, migration->devices) : -ENOENT;
}

static int
get_progress(sd_bus *bus, const char *path, const char *interface, const char *property,
             sd_bus_message *reply, void *user_data, sd_bus_error *ret_error)
{
    const ApmigMigration *migration = migration_of(user_data);

    if (!migration)
        return -ENOENT;
    return sd_bus_message_append(reply, "a{st}", 4, "data-total", migration->progress.data_total,
                                 "data-processed", migration->progress.data_processed, "data-remaining",
                                 migration->progress.data_remaining, "elapsed-usec",
                                 migration->progress.elapsed_usec);
}

static int
append_step(sd_bus_message *reply, const ApmigStepRecord *step)
{
    g_autofree char *message = apmig_bus_text(step->message);

    return sd_bus_message_append(reply, "(ssts)", apmig_step_to_string(step->step),
                                 apmig_step_outcome_to_string(step->outcome), (guint64)step->at, message);
}

static int
get_steps(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
          void *user_data, sd_bus_error *ret_error)
{
    const ApmigMigration *migration = migration_of(user_data);
    int r = migration ? sd_bus_message_open_container(reply, 'a', "(ssts)") : -ENOENT;

    for (guint i = 0; r >= 0 && migration->steps && i < migration->steps->len; i++)
        r = append_step(reply, g_ptr_array_index(migration->steps, i));
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* --- the vtable --------------------------------------------------------------------------------------- */

static const sd_bus_vtable migration_vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_PROPERTY("Guest", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Uuid", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Direction", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Phase", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Scope", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Devices", "as", get_devices, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("StartedAt", "t", get_started_at, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("PostCopy", "b", get_postcopy, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Permitted", "b", get_permitted, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Progress", "a{st}", get_progress, 0, 0),
    SD_BUS_PROPERTY("Steps", "a(ssts)", get_steps, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Result", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Message", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_VTABLE_END,
};

static int
find_migration(sd_bus *bus, const char *path, const char *interface, void *user_data, void **ret_found,
               sd_bus_error *ret_error)
{
    const ApmigServer *server = user_data;

    return apmig_objects_find(server->migrations, APMIG_BUS_MIGRATION_PREFIX, path, ret_found);
}

static int
enumerate_migrations(sd_bus *bus, const char *prefix, void *user_data, char ***ret_nodes,
                     sd_bus_error *ret_error)
{
    const ApmigServer *server = user_data;

    return apmig_objects_enumerate(server->migrations, ret_nodes);
}

int
apmig_migration_objects_register(ApmigServer *server, sd_bus *bus)
{
    int r = sd_bus_add_fallback_vtable(bus, NULL, APMIG_BUS_MIGRATION_PREFIX, APMIG_BUS_MIGRATION,
                                       migration_vtable, find_migration, server);

    return r < 0 ? r
                 : sd_bus_add_node_enumerator(bus, NULL, APMIG_BUS_MIGRATION_PREFIX, enumerate_migrations,
                                              server);
}

/* --- changes ------------------------------------------------------------------------------------------ */

static char *
summarize_steps(const ApmigMigration *migration)
{
    GString *summary = g_string_new(NULL);

    for (guint i = 0; migration->steps && i < migration->steps->len; i++) {
        const ApmigStepRecord *step = g_ptr_array_index(migration->steps, i);

        g_string_append_printf(summary, "%d %d %" G_GINT64_FORMAT " %s\n", step->step, step->outcome,
                               step->at, step->message ? step->message : "");
    }
    return g_string_free(summary, FALSE);
}

void
apmig_migration_object_refresh(ApmigServer *server, const char *id)
{
    static const char *const names[] = {
        "Guest", "Phase", "Scope", "Devices", "PostCopy", "Permitted", "Steps", "Result", "Message", NULL,
    };
    const ApmigMigration *migration = apmig_engine_lookup_migration(apmig_core_engine(server->core), id);
    gboolean added = FALSE;
    ApmigObject *object;

    if (!migration)
        return;

    object = apmig_object_find_or_add(server, server->migrations, APMIG_BUS_MIGRATION_PREFIX, id, &added);
    char *texts[] = {
        text_of(migration, "Guest"),
        text_of(migration, "Phase"),
        text_of(migration, "Scope"),
        migration->devices ? g_strjoinv(" ", migration->devices) : g_strdup(""),
        g_strdup(migration->postcopy ? "yes" : "no"),
        g_strdup(migration->permitted ? "yes" : "no"),
        summarize_steps(migration),
        text_of(migration, "Result"),
        text_of(migration, "Message"),
        NULL,
    };

    G_STATIC_ASSERT(G_N_ELEMENTS(texts) == G_N_ELEMENTS(names));
    apmig_server_emit_changes(server, object->path, APMIG_BUS_MIGRATION, names, &object->texts, texts);
    if (added)
        apmig_object_announce(object);
}
