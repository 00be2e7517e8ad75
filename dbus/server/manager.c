/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* org.apmigd1.Manager, but for what takes and releases locks and what tells of keys. */
#include "base/log.h"
#include "guest/xml.h"
#include "server/private.h"

#include <string.h>

/* --- lists -------------------------------------------------------------------------------------------- */

static int
append_lock(sd_bus_message *reply, const ApmigLock *lock)
{
    const ApmigLockRecord *record = lock->record;
    g_autofree char *path = g_strconcat(APMIG_BUS_LOCK_PREFIX "/", record->id, NULL);
    g_autofree char *reason = apmig_bus_text(record->reason);

    return sd_bus_message_append(reply, "(ossssut)", path, record->id, apmig_scope_to_string(record->scope),
                                 apmig_lock_state_to_string(lock), reason, record->owner_uid,
                                 (guint64)record->requested_at);
}

static int
method_list_locks(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    ApmigServer *server = user_data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) locks = NULL;
    g_autoptr(sd_bus_message) reply = NULL;
    int r;

    if (!apmig_method_is_free(message, &error) || !apmig_server_knows_locks(server, &error))
        return apmig_reply_error(message, error);

    locks = apmig_engine_list_locks(apmig_core_engine(server->core));
    r = sd_bus_message_new_method_return(message, &reply);
    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'a', "(ossssut)");
    for (guint i = 0; r >= 0 && i < locks->len; i++)
        r = append_lock(reply, g_ptr_array_index(locks, i));
    if (r >= 0)
        r = sd_bus_message_close_container(reply);
    return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static int
append_migration(sd_bus_message *reply, const ApmigMigration *migration)
{
    g_autofree char *path = g_strconcat(APMIG_BUS_MIGRATION_PREFIX "/", migration->id, NULL);
    g_autofree char *guest = apmig_bus_text(migration->guest);

    return sd_bus_message_append(
        reply, "(osssss)", path, guest, migration->uuid, apmig_migration_direction(migration),
        apmig_migration_phase_to_string(migration->phase), apmig_migration_scope_text(migration));
}

static int
method_list_migrations(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    ApmigServer *server = user_data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) migrations = NULL;
    g_autoptr(sd_bus_message) reply = NULL;
    int r;

    if (!apmig_method_is_free(message, &error))
        return apmig_reply_error(message, error);

    migrations = apmig_engine_list_migrations(apmig_core_engine(server->core));
    r = sd_bus_message_new_method_return(message, &reply);
    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'a', "(osssss)");
    for (guint i = 0; r >= 0 && i < migrations->len; i++)
        r = append_migration(reply, g_ptr_array_index(migrations, i));
    if (r >= 0)
        r = sd_bus_message_close_container(reply);
    return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static int
method_release_lock(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    const char *path = NULL;
    int r = sd_bus_message_read(message, "o", &path);

    if (r < 0)
        return r;
    /* A path of another kind is no lock either, and is called by its whole name. */
    return apmig_release_lock(
        user_data, message,
        g_str_has_prefix(path, APMIG_BUS_LOCK_PREFIX "/") ? path + strlen(APMIG_BUS_LOCK_PREFIX "/") : path);
}

/* --- AdmitMigration: the hook's question -------------------------------------------------------------- */

/* @map: (nullable) */
static int
append_device_map(sd_bus_message *reply, GHashTable *map)
{
    int r = sd_bus_message_open_container(reply, 'a', "{ss}");
    GHashTableIter iter;
    const char *own, *device;

    if (map)
        g_hash_table_iter_init(&iter, map);
    while (r >= 0 && map && g_hash_table_iter_next(&iter, (gpointer *)&own, (gpointer *)&device))
        r = sd_bus_message_append(reply, "{ss}", own, device);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* @device_map: (nullable) */
static void
reply_admit(ApmigCall *call, gboolean allowed, const char *reason, GHashTable *device_map)
{
    g_autofree char *text = apmig_bus_text(reason);
    g_autoptr(sd_bus_message) reply = NULL;
    int r = sd_bus_message_new_method_return(call->message, &reply);

    if (r >= 0)
        r = sd_bus_message_append(reply, "bs", (int)allowed, text);
    if (r >= 0)
        r = append_device_map(reply, device_map);
    apmig_call_send(call, reply, r);
}

static void
admitted(ApmigCall *call, const ApmigAction *answer)
{
    if (answer->reply.allowed)
        apmig_peer_follow(call->peer, answer->reply.caller);
    reply_admit(call, answer->reply.allowed, answer->reply.message, answer->reply.device_map);
}

static gboolean
read_operation(const char *operation, gboolean *ret_restore, GError **error)
{
    g_autofree char *shown = NULL;

    *ret_restore = strcmp(operation, "restore") == 0;
    if (*ret_restore || strcmp(operation, "migrate") == 0)
        return TRUE;

    shown = apmig_text_escape(operation, APMIG_SHOWN_MAX_BYTES);
    g_set_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION,
                "The operation is \"%s\": only migrate and restore ask for an admission.", shown);
    return FALSE;
}

static ApmigGuest *
read_guest(const char *name, const char *xml, GError **error)
{
    g_autoptr(ApmigGuest) guest = apmig_guest_parse(xml, strlen(xml), error);
    g_autofree char *shown = apmig_text_escape(name, APMIG_SHOWN_MAX_BYTES);
    g_autofree char *found = NULL;

    if (!guest)
        return NULL;
    if (guest->affected == APMIG_AFFECTED_NO || strcmp(name, guest->name) == 0)
        return g_steal_pointer(&guest);

    found = apmig_text_escape(guest->name, APMIG_SHOWN_MAX_BYTES);
    g_set_error(
        error, APMIG_ERROR, APMIG_ERROR_INVALID_GUEST,
        "The guest is called \"%s\" but its domain XML says \"%s\": give the two that libvirt hands to the "
        "hook.",
        shown, found);
    return NULL;
}

/* The XML is read only now that the caller is known to be root: reading it is work. */
static void
admit_identified(ApmigCall *call, const GError *denied)
{
    const char *name, *operation, *suboperation, *extra, *xml;
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigGuest) guest = NULL;
    gboolean restore = FALSE;

    if (sd_bus_message_read(call->message, "sssss", &name, &operation, &suboperation, &extra, &xml) <= 0)
        g_set_error(&error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION, "The arguments cannot be read.");
    else if (read_operation(operation, &restore, &error))
        guest = read_guest(name, xml, &error);
    if (!guest) {
        apmig_call_fail(call, error);
        return;
    }

    /* By nothing that libvirt shows of it later could it be known again. */
    if (guest->affected == APMIG_AFFECTED_NO && !*guest->uuid) {
        reply_admit(call, TRUE, "", NULL);
        return;
    }

    /* With a vfio-ap device its scope is all unless its stamp tells, whatever queues the device has here: its configuration
     * is replaced by that of the source when its state is loaded. */
    call->answered = admitted;
    call->caller =
        apmig_core_admit(call->server->core, g_steal_pointer(&guest), restore, apmig_call_replied, call);
}

static int
method_admit_migration(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    return apmig_call_start(user_data, message, NULL, NULL, admit_identified);
}

/* --- CheckGuest: the dry run -------------------------------------------------------------------------- */

static int
append_checked(sd_bus_message *reply, const ApmigEngine *engine, const char *guest,
               const ApmigGuestFacts *facts)
{
    g_autoptr(GPtrArray) locks = NULL;
    gboolean allowed;
    g_autofree char *text = apmig_server_check_guest(engine, guest, facts, &allowed, &locks);
    int r = sd_bus_message_append(reply, "bs", (int)allowed, text);

    return r < 0 ? r : apmig_append_lock_paths(reply, locks);
}

static void
reply_checked(ApmigCall *call, const ApmigGuestFacts *facts)
{
    g_autoptr(sd_bus_message) reply = NULL;
    const char *guest = NULL;
    int r = sd_bus_message_new_method_return(call->message, &reply);

    (void)sd_bus_message_rewind(call->message, TRUE);
    (void)sd_bus_message_read(call->message, "s", &guest);
    if (r >= 0)
        r = append_checked(reply, apmig_core_engine(call->server->core), guest, facts);
    apmig_call_send(call, reply, r);
}

static void
on_facts(const ApmigGuestFacts *facts, const GError *error, gpointer user_data)
{
    ApmigCall *call = user_data;

    call->caller = 0;
    if (facts)
        reply_checked(call, facts);
    else
        apmig_call_fail(call, error);
}

static void
check_identified(ApmigCall *call, const GError *denied)
{
    const char *guest = NULL;

    (void)sd_bus_message_rewind(call->message, TRUE);
    (void)sd_bus_message_read(call->message, "s", &guest);
    call->caller = apmig_core_look_up_facts(call->server->core, guest, on_facts, call);
}

static int
method_check_guest(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    g_autoptr(GError) error = NULL;
    const char *guest = NULL;
    int r = sd_bus_message_read(message, "s", &guest);

    if (r < 0)
        return r;
    if (!apmig_text_is_presentable(guest, APMIG_GUEST_NAME_MAX_BYTES, "The guest's name",
                                   APMIG_ERROR_INVALID_GUEST, &error))
        return apmig_reply_error(message, error);
    return apmig_call_start(user_data, message, NULL, NULL, check_identified);
}

/* --- properties --------------------------------------------------------------------------------------- */

static gboolean
is_locked(const ApmigServer *server)
{
    const ApmigEngine *engine = apmig_core_engine(server->core);
    g_autoptr(GPtrArray) locks = apmig_engine_list_locks(engine);

    return locks->len > 0 || !apmig_engine_is_loaded(engine);
}

static int
get_version(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
            void *user_data, sd_bus_error *ret_error)
{
    return sd_bus_message_append(reply, "s", APMIG_VERSION);
}

static int
get_hypervisor_state(sd_bus *bus, const char *path, const char *interface, const char *property,
                     sd_bus_message *reply, void *user_data, sd_bus_error *ret_error)
{
    const ApmigServer *server = user_data;

    return sd_bus_message_append(reply, "s", apmig_engine_view_state(apmig_core_engine(server->core)));
}

static int
get_locked(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
           void *user_data, sd_bus_error *ret_error)
{
    return sd_bus_message_append(reply, "b", (int)is_locked(user_data));
}

static int
get_hook_installed(sd_bus *bus, const char *path, const char *interface, const char *property,
                   sd_bus_message *reply, void *user_data, sd_bus_error *ret_error)
{
    const ApmigServer *server = user_data;

    return sd_bus_message_append(reply, "b", (int)apmig_core_hook_installed(server->core, NULL));
}

static int
get_hook_last_called(sd_bus *bus, const char *path, const char *interface, const char *property,
                     sd_bus_message *reply, void *user_data, sd_bus_error *ret_error)
{
    const ApmigServer *server = user_data;

    return sd_bus_message_append(reply, "t", (guint64)apmig_core_hook_last_called(server->core));
}

static int
get_started_at(sd_bus *bus, const char *path, const char *interface, const char *property,
               sd_bus_message *reply, void *user_data, sd_bus_error *ret_error)
{
    const ApmigServer *server = user_data;

    return sd_bus_message_append(reply, "t", (guint64)server->started_at);
}

static int
get_hypervisor_problem(sd_bus *bus, const char *path, const char *interface, const char *property,
                       sd_bus_message *reply, void *user_data, sd_bus_error *ret_error)
{
    const ApmigServer *server = user_data;

    return apmig_append_text(reply, apmig_engine_view_trouble(apmig_core_engine(server->core)));
}

static int
get_counters(sd_bus *bus, const char *path, const char *interface, const char *property,
             sd_bus_message *reply, void *user_data, sd_bus_error *ret_error)
{
    int r = sd_bus_message_open_container(reply, 'a', "{st}");

    for (guint log = 0; r >= 0 && log < APMIG_N_LOGS; log++) {
        g_autofree char *name = g_ascii_strdown(apmig_log_name((ApmigLog)log), -1);

        r = sd_bus_message_append(reply, "{st}", name, apmig_log_count((ApmigLog)log));
    }
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int
get_key_trouble(sd_bus *bus, const char *path, const char *interface, const char *property,
                sd_bus_message *reply, void *user_data, sd_bus_error *ret_error)
{
    const ApmigServer *server = user_data;
    g_autofree char *trouble = apmig_core_describe_key_trouble(server->core);

    return apmig_append_text(reply, trouble);
}

static int
get_host_id(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
            void *user_data, sd_bus_error *ret_error)
{
    const ApmigServer *server = user_data;
    const char *id = apmig_core_identity(server->core)->id;

    return sd_bus_message_append(reply, "s", id ? id : "");
}

static int
get_device_trouble(sd_bus *bus, const char *path, const char *interface, const char *property,
                   sd_bus_message *reply, void *user_data, sd_bus_error *ret_error)
{
    const ApmigServer *server = user_data;
    g_autofree char *trouble = apmig_core_describe_device_trouble(server->core);

    return apmig_append_text(reply, trouble);
}

static int
get_host_id_basis(sd_bus *bus, const char *path, const char *interface, const char *property,
                  sd_bus_message *reply, void *user_data, sd_bus_error *ret_error)
{
    const ApmigServer *server = user_data;

    return sd_bus_message_append(reply, "s", apmig_core_identity(server->core)->basis);
}

static int
get_stamp_trouble(sd_bus *bus, const char *path, const char *interface, const char *property,
                  sd_bus_message *reply, void *user_data, sd_bus_error *ret_error)
{
    const ApmigServer *server = user_data;

    return apmig_append_text(reply, apmig_core_stamp_trouble(server->core));
}

static int
get_policy_trouble(sd_bus *bus, const char *path, const char *interface, const char *property,
                   sd_bus_message *reply, void *user_data, sd_bus_error *ret_error)
{
    const ApmigServer *server = user_data;

    return apmig_append_text(reply, apmig_core_policy_trouble(server->core));
}

static int
get_permits(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
            void *user_data, sd_bus_error *ret_error)
{
    const ApmigServer *server = user_data;
    g_autoptr(GPtrArray) permits = apmig_engine_list_permits(apmig_core_engine(server->core));

    return sd_bus_message_append(reply, "u", permits->len);
}

void
apmig_manager_refresh(ApmigServer *server)
{
    static const char *const names[] = {"HypervisorState", "HypervisorProblem", "Locked",
                                        "PolicyTrouble",   "Permits",           NULL};
    char *texts[] = {
        g_strdup(apmig_engine_view_state(apmig_core_engine(server->core))),
        g_strdup(apmig_engine_view_trouble(apmig_core_engine(server->core))),
        g_strdup(is_locked(server) ? "yes" : "no"),
        g_strdup(apmig_core_policy_trouble(server->core)),
        apmig_permits_text(server),
        NULL,
    };

    G_STATIC_ASSERT(G_N_ELEMENTS(texts) == G_N_ELEMENTS(names));
    apmig_server_emit_changes(server, APMIG_BUS_PATH, APMIG_BUS_MANAGER, names, &server->manager_texts,
                              texts);
}

/* --- the vtable --------------------------------------------------------------------------------------- */

/* Unprivileged to sd-bus, which otherwise asks for CAP_SYS_ADMIN: see authorize.c for who may call what. */
static const sd_bus_vtable manager_vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD_WITH_ARGS("TakeLock", SD_BUS_ARGS("s", scope, "s", reason, "a{sv}", options),
                            SD_BUS_RESULT("o", lock), apmig_method_take_lock, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("RehearseLock", SD_BUS_ARGS("s", scope, "s", reason, "a{sv}", options),
                            SD_BUS_RESULT("b", possible, "s", why_not, "aa{sv}", migrations),
                            apmig_method_rehearse_lock, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("ReleaseLock", SD_BUS_ARGS("o", lock, "a{sv}", options), SD_BUS_NO_RESULT,
                            method_release_lock, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("ListLocks", SD_BUS_NO_ARGS, SD_BUS_RESULT("a(ossssut)", locks),
                            method_list_locks, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("ListMigrations", SD_BUS_NO_ARGS, SD_BUS_RESULT("a(osssss)", migrations),
                            method_list_migrations, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS(
        "AdmitMigration",
        SD_BUS_ARGS("s", guest, "s", operation, "s", suboperation, "s", extra, "s", domain_xml),
        SD_BUS_RESULT("b", allowed, "s", reason, "a{ss}", device_map), method_admit_migration,
        SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("CheckGuest", SD_BUS_ARGS("s", guest),
                            SD_BUS_RESULT("b", allowed, "s", reason, "ao", locks), method_check_guest,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("DescribeGuest", SD_BUS_ARGS("s", guest), SD_BUS_RESULT("s", domain_xml),
                            apmig_method_describe_guest, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("CheckMigration", SD_BUS_ARGS("s", domain_xml),
                            SD_BUS_RESULT("b", allowed, "s", reason, "a(ssssss)", findings),
                            apmig_method_check_migration, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("ListGuests", SD_BUS_ARGS("s", scope, "a{sv}", options),
                            SD_BUS_RESULT("aa{sv}", guests), apmig_method_list_guests,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("RemoveStamps", SD_BUS_ARGS("s", guest), SD_BUS_RESULT("u", removed),
                            apmig_method_remove_stamps, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("ListQueues", SD_BUS_NO_ARGS, SD_BUS_RESULT("aa{sv}", queues),
                            apmig_method_list_queues, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("ListKeys", SD_BUS_ARGS("s", scope, "a{sv}", options),
                            SD_BUS_RESULT("aa{sv}", keys), apmig_method_list_keys,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("DeclareKeys", SD_BUS_ARGS("a{ss}", patterns, "a{sv}", options),
                            SD_BUS_RESULT("as", warnings), apmig_method_declare_keys,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("DescribePolicy", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", json),
                            apmig_method_describe_policy, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("PermitMigration", SD_BUS_ARGS("s", guest, "s", reason, "a{sv}", options),
                            SD_BUS_RESULT("t", until), apmig_method_permit_migration,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("RevokePermit", SD_BUS_ARGS("s", guest), SD_BUS_NO_RESULT,
                            apmig_method_revoke_permit, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("ListPermits", SD_BUS_NO_ARGS, SD_BUS_RESULT("aa{sv}", permits),
                            apmig_method_list_permits, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_SIGNAL_WITH_ARGS("LockEnded", SD_BUS_ARGS("o", lock, "s", id, "s", result, "s", message), 0),
    SD_BUS_SIGNAL_WITH_ARGS("KeysChanged", SD_BUS_ARGS("s", scope, "s", message), 0),
    SD_BUS_SIGNAL_WITH_ARGS("ConfigurationChanged", SD_BUS_ARGS("s", scope, "s", message), 0),
    SD_BUS_PROPERTY("Version", "s", get_version, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("StartedAt", "t", get_started_at, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Counters", "a{st}", get_counters, 0, 0),
    SD_BUS_PROPERTY("HypervisorState", "s", get_hypervisor_state, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("HypervisorProblem", "s", get_hypervisor_problem, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Locked", "b", get_locked, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("HookInstalled", "b", get_hook_installed, 0, 0),
    SD_BUS_PROPERTY("HookLastCalled", "t", get_hook_last_called, 0, 0),
    SD_BUS_PROPERTY("KeyTrouble", "s", get_key_trouble, 0, 0),
    SD_BUS_PROPERTY("HostId", "s", get_host_id, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("HostIdBasis", "s", get_host_id_basis, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("StampTrouble", "s", get_stamp_trouble, 0, 0),
    SD_BUS_PROPERTY("DeviceTrouble", "s", get_device_trouble, 0, 0),
    SD_BUS_PROPERTY("PolicyTrouble", "s", get_policy_trouble, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_PROPERTY("Permits", "u", get_permits, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
    SD_BUS_VTABLE_END,
};

int
apmig_manager_register(ApmigServer *server, sd_bus *bus)
{
    return sd_bus_add_object_vtable(bus, NULL, APMIG_BUS_PATH, APMIG_BUS_MANAGER, manager_vtable, server);
}
