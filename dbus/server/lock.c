/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* org.apmigd1.Lock, at /org/apmigd1/lock/ID. */
#include "server/private.h"

#include <string.h>

static const ApmigEngine *
engine_of(const ApmigObject *object)
{
    return apmig_core_engine(object->server->core);
}

static const ApmigLock *
lock_of(const ApmigObject *object)
{
    return apmig_engine_lookup_lock(engine_of(object), object->id);
}

/* --- properties --------------------------------------------------------------------------------------- */

/* Returns: (transfer full): the value of a property that is a text. */
static char *
text_of(const ApmigObject *object, const ApmigLock *lock, const char *property)
{
    const ApmigLockRecord *record = lock->record;
    const struct {
        const char *property;
        const char *text;
    } texts[] = {
        {"Id", record->id},
        {"Scope", apmig_scope_to_string(record->scope)},
        {"Reason", record->reason},
        {"ChangeId", record->change_id},
        {"State", apmig_lock_state_to_string(lock)},
        {"Origin", apmig_lock_origin_to_string(record->origin)},
        {"OwnerName", record->owner_name},
        {"OnBusy", apmig_on_busy_to_string(record->on_busy)},
        {"Unproven", lock->unproven},
        {"Unverified", lock->unverified},
        {"Warnings", lock->warnings},
        {"Result", lock->result},
        {"Message", lock->message},
    };

    if (strcmp(property, "Waiting") == 0)
        return lock->result ? g_strdup("") : apmig_engine_describe_wait(engine_of(object), lock);

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
    const ApmigObject *object = user_data;
    const ApmigLock *lock = lock_of(object);
    g_autofree char *text = lock ? text_of(object, lock, property) : NULL;

    return lock ? apmig_append_text(reply, text) : -ENOENT;
}

static int
get_time(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
         void *user_data, sd_bus_error *ret_error)
{
    const ApmigLock *lock = lock_of(user_data);
    gint64 usec;

    if (!lock)
        return -ENOENT;

    if (strcmp(property, "RequestedAt") == 0)
        usec = lock->record->requested_at;
    else if (strcmp(property, "HeldAt") == 0)
        usec = lock->record->held_at;
    else if (strcmp(property, "ProvenAt") == 0)
        usec = lock->proven_at;
    else
        usec = lock->record->expected_duration_usec;
    return sd_bus_message_append(reply, "t", (guint64)usec);
}

static int
get_number(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
           void *user_data, sd_bus_error *ret_error)
{
    const ApmigLock *lock = lock_of(user_data);
    guint32 number;

    if (!lock)
        return -ENOENT;

    if (strcmp(property, "OwnerUid") == 0)
        number = lock->record->owner_uid;
    else
        number = strcmp(property, "Attempts") == 0 ? lock->record->attempts : lock->record->breaches;
    return sd_bus_message_append(reply, "u", number);
}

static int
get_overdue(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
            void *user_data, sd_bus_error *ret_error)
{
    const ApmigLock *lock = lock_of(user_data);

    return lock ? sd_bus_message_append(reply, "b", (int)lock->overdue) : -ENOENT;
}

/* Returns: (transfer full): the paths of the migrations that stand between the lock and held. */
static GStrv
paths_of_blockers(const ApmigObject *object, const ApmigLock *lock)
{
    g_autoptr(GPtrArray) migrations = NULL;
    GStrv paths;

    if (lock->result)
        return g_new0(char *, 1);

    migrations = apmig_engine_blockers(engine_of(object), lock);
    paths = g_new0(char *, migrations->len + 1);
    for (guint i = 0; i < migrations->len; i++) {
        const ApmigMigration *migration = g_ptr_array_index(migrations, i);

        paths[i] = g_strconcat(APMIG_BUS_MIGRATION_PREFIX "/", migration->id, NULL);
    }
    return paths;
}

static int
get_blockers(sd_bus *bus, const char *path, const char *interface, const char *property,
             sd_bus_message *reply, void *user_data, sd_bus_error *ret_error)
{
    const ApmigLock *lock = lock_of(user_data);
    g_auto(GStrv) paths = lock ? paths_of_blockers(user_data, lock) : NULL;
    int r = lock ? sd_bus_message_open_container(reply, 'a', "o") : -ENOENT;

    for (guint i = 0; r >= 0 && paths[i]; i++)
        r = sd_bus_message_append(reply, "o", paths[i]);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int
append_guest(sd_bus_message *reply, const ApmigLockGuest *guest)
{
    g_autofree char *uuid = apmig_bus_text(guest->uuid);
    g_autofree char *name = apmig_bus_text(guest->name);

    return sd_bus_message_append(reply, "(ss)", uuid, name);
}

static int
get_departed(sd_bus *bus, const char *path, const char *interface, const char *property,
             sd_bus_message *reply, void *user_data, sd_bus_error *ret_error)
{
    const ApmigLock *lock = lock_of(user_data);
    const GPtrArray *departed = lock ? lock->record->departed : NULL;
    int r = lock ? sd_bus_message_open_container(reply, 'a', "(ss)") : -ENOENT;

    for (guint i = 0; r >= 0 && departed && i < departed->len; i++)
        r = append_guest(reply, g_ptr_array_index(departed, i));
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* Returns: (transfer full): what differs when guests have departed, or are known of. */
static char *
departed_text(const ApmigLock *lock)
{
    const GPtrArray *departed = lock->record->departed;
    GString *text = g_string_new(NULL);

    for (guint i = 0; departed && i < departed->len; i++) {
        const ApmigLockGuest *guest = g_ptr_array_index(departed, i);

        g_string_append_printf(text, "%s %s\n", guest->uuid, guest->name);
    }
    return g_string_free(text, FALSE);
}

/* --- what it covers ----------------------------------------------------------------------------------- */

/* @texts: (nullable): what is not known is not there */
static int
append_texts(sd_bus_message *reply, const char *key, const GPtrArray *texts)
{
    g_auto(GStrv) strv = texts ? g_new0(char *, texts->len + 1) : NULL;
    int r = texts ? sd_bus_message_open_container(reply, 'e', "sv") : 0;

    if (!texts)
        return 0;
    for (guint i = 0; i < texts->len; i++)
        strv[i] = apmig_bus_text(g_ptr_array_index(texts, i));
    if (r >= 0)
        r = sd_bus_message_append(reply, "s", key);
    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'v', "as");
    if (r >= 0)
        r = sd_bus_message_append_strv(reply, strv);
    if (r >= 0)
        r = sd_bus_message_close_container(reply);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int
get_coverage(sd_bus *bus, const char *path, const char *interface, const char *property,
             sd_bus_message *reply, void *user_data, sd_bus_error *ret_error)
{
    const ApmigObject *object = user_data;
    const ApmigLock *lock = lock_of(object);
    g_autoptr(GPtrArray) queues = NULL, guests = NULL;
    int r = lock ? sd_bus_message_open_container(reply, 'a', "{sv}") : -ENOENT;

    if (lock && !lock->result) {
        queues = apmig_core_list_covered_queues(object->server->core, lock->record->scope);
        guests = apmig_engine_list_covered(engine_of(object), lock);
    }
    if (r >= 0)
        r = append_texts(reply, "queues", queues);
    if (r >= 0)
        r = append_texts(reply, "guests", guests);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* --- the vtable --------------------------------------------------------------------------------------- */

static int
method_release(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    ApmigObject *object = user_data;

    return apmig_release_lock(object->server, message, apmig_message_lock_id(message));
}

static int
method_take_over(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    const ApmigObject *object = user_data;

    return apmig_amend_lock(object->server, message, APMIG_AMEND_OWNER);
}

static int
method_extend(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    const ApmigObject *object = user_data;

    return apmig_amend_lock(object->server, message, APMIG_AMEND_DURATION);
}

static int
method_annotate(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    const ApmigObject *object = user_data;

    return apmig_amend_lock(object->server, message, APMIG_AMEND_REASON);
}

static int
method_check(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    const ApmigObject *object = user_data;

    return apmig_check_lock(object->server, message);
}

static const sd_bus_vtable lock_vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD_WITH_ARGS("Release", SD_BUS_ARGS("a{sv}", options), SD_BUS_NO_RESULT, method_release,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("TakeOver", SD_BUS_ARGS("s", reason, "a{sv}", options), SD_BUS_NO_RESULT,
                            method_take_over, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("Extend", SD_BUS_ARGS("t", duration_usec, "a{sv}", options), SD_BUS_NO_RESULT,
                            method_extend, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("Annotate", SD_BUS_ARGS("s", text, "a{sv}", options), SD_BUS_NO_RESULT,
                            method_annotate, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("Check", SD_BUS_ARGS("a{sv}", options), SD_BUS_RESULT("a{sv}", verdict),
                            method_check, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_PROPERTY("Id", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Scope", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Reason", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("ChangeId", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("State", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Origin", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("OwnerUid", "u", get_number, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("OwnerName", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("OnBusy", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("RequestedAt", "t", get_time, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("HeldAt", "t", get_time, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("ExpectedDuration", "t", get_time, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Overdue", "b", get_overdue, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Blockers", "ao", get_blockers, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Waiting", "s", get_text, 0, 0),
    SD_BUS_PROPERTY("Breaches", "u", get_number, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Attempts", "u", get_number, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Departed", "a(ss)", get_departed, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Unproven", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("ProvenAt", "t", get_time, 0, 0),
    SD_BUS_PROPERTY("Coverage", "a{sv}", get_coverage, 0, 0),
    SD_BUS_PROPERTY("Unverified", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Warnings", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Result", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Message", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_VTABLE_END,
};

static int
find_lock(sd_bus *bus, const char *path, const char *interface, void *user_data, void **ret_found,
          sd_bus_error *ret_error)
{
    const ApmigServer *server = user_data;

    return apmig_objects_find(server->locks, APMIG_BUS_LOCK_PREFIX, path, ret_found);
}

static int
enumerate_locks(sd_bus *bus, const char *prefix, void *user_data, char ***ret_nodes, sd_bus_error *ret_error)
{
    const ApmigServer *server = user_data;

    return apmig_objects_enumerate(server->locks, ret_nodes);
}

int
apmig_lock_objects_register(ApmigServer *server, sd_bus *bus)
{
    int r = sd_bus_add_fallback_vtable(bus, NULL, APMIG_BUS_LOCK_PREFIX, APMIG_BUS_LOCK, lock_vtable,
                                       find_lock, server);

    return r < 0 ? r : sd_bus_add_node_enumerator(bus, NULL, APMIG_BUS_LOCK_PREFIX, enumerate_locks, server);
}

/* --- changes ------------------------------------------------------------------------------------------ */

static void
emit_changes(ApmigObject *object, const ApmigLock *lock)
{
    static const char *const names[] = {
        "Scope",     "Reason",   "ChangeId",    "State",    "Origin",           "OwnerUid",
        "OwnerName", "OnBusy",   "RequestedAt", "HeldAt",   "ExpectedDuration", "Overdue",
        "Blockers",  "Breaches", "Attempts",    "Departed", "Unproven",         "Unverified",
        "Warnings",  "Result",   "Message",     NULL,
    };
    const ApmigLockRecord *record = lock->record;
    g_auto(GStrv) blockers = paths_of_blockers(object, lock);
    char *texts[] = {
        text_of(object, lock, "Scope"),
        text_of(object, lock, "Reason"),
        text_of(object, lock, "ChangeId"),
        text_of(object, lock, "State"),
        text_of(object, lock, "Origin"),
        g_strdup_printf("%" G_GUINT32_FORMAT, record->owner_uid),
        text_of(object, lock, "OwnerName"),
        text_of(object, lock, "OnBusy"),
        g_strdup_printf("%" G_GINT64_FORMAT, record->requested_at),
        g_strdup_printf("%" G_GINT64_FORMAT, record->held_at),
        g_strdup_printf("%" G_GINT64_FORMAT, record->expected_duration_usec),
        g_strdup(lock->overdue ? "yes" : "no"),
        g_strjoinv(" ", blockers),
        g_strdup_printf("%u", record->breaches),
        g_strdup_printf("%u", record->attempts),
        departed_text(lock),
        text_of(object, lock, "Unproven"),
        text_of(object, lock, "Unverified"),
        text_of(object, lock, "Warnings"),
        text_of(object, lock, "Result"),
        text_of(object, lock, "Message"),
        NULL,
    };

    G_STATIC_ASSERT(G_N_ELEMENTS(texts) == G_N_ELEMENTS(names));
    apmig_server_emit_changes(object->server, object->path, APMIG_BUS_LOCK, names, &object->texts, texts);
}

static void
emit_end(ApmigObject *object, const ApmigLock *lock)
{
    g_autofree char *result = apmig_bus_text(lock->result);
    g_autofree char *message = apmig_bus_text(lock->message);

    object->end_is_out = TRUE;
    apmig_server_emit_signal(object->server, APMIG_BUS_PATH, APMIG_BUS_MANAGER, "LockEnded", "osss",
                             object->path, object->id, result, message);
}

void
apmig_lock_object_refresh(ApmigServer *server, const char *id)
{
    const ApmigLock *lock = apmig_engine_lookup_lock(apmig_core_engine(server->core), id);
    gboolean added = FALSE;
    ApmigObject *object;

    if (!lock)
        return;

    object = apmig_object_find_or_add(server, server->locks, APMIG_BUS_LOCK_PREFIX, id, &added);
    emit_changes(object, lock);
    if (added)
        apmig_object_announce(object);
    if (lock->result && !object->end_is_out)
        emit_end(object, lock);
}
