/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus.h"

#include <errno.h>
#include <string.h>

#include "format.h"
#include "names.h"

/* For ssh, which may ask for a password. */
#define CONNECT_USEC (2 * 60 * G_USEC_PER_SEC)

/* Returns: 0, or a negative errno. */
static int
wait_until_ready(sd_bus *bus)
{
    gint64 deadline = g_get_monotonic_time() + CONNECT_USEC;

    while (sd_bus_is_ready(bus) <= 0) {
        gint64 left = deadline - g_get_monotonic_time();
        int r = sd_bus_process(bus, NULL);

        if (r < 0)
            return r;
        if (r > 0)
            continue;
        if (left <= 0)
            return -ETIMEDOUT;
        r = sd_bus_wait(bus, (uint64_t)left);
        if (r < 0 && r != -EINTR)
            return r;
    }
    return 0;
}

static sd_bus *
open_remote(const char *host, GError **error)
{
    g_autoptr(sd_bus) bus = NULL;
    g_autofree char *shown = ctl_escape(host);
    int r = sd_bus_open_system_remote(&bus, host);

    if (r >= 0)
        r = wait_until_ready(bus);
    if (r >= 0)
        return g_steal_pointer(&bus);
    g_set_error(
        error, CTL_ERROR, CTL_EXIT_UNREACHABLE,
        "the system bus of host '%s' cannot be reached over ssh (%s): try 'ssh %s busctl status org.apmigd1'",
        shown, g_strerror(-r), shown);
    return NULL;
}

static sd_bus *
open_local(GError **error)
{
    sd_bus *bus = NULL;
    int r = sd_bus_open_system(&bus);

    if (r < 0)
        g_set_error(error, CTL_ERROR, CTL_EXIT_UNREACHABLE, "the system bus cannot be reached: %s",
                    g_strerror(-r));
    return bus;
}

sd_bus *
ctl_bus_open(const char *host, GError **error)
{
    g_autoptr(sd_bus) bus = host ? open_remote(host, error) : open_local(error);

    if (!bus)
        return NULL;
    (void)sd_bus_set_allow_interactive_authorization(bus, TRUE);
    return g_steal_pointer(&bus);
}

gboolean
ctl_bus_check(int r, GError **error)
{
    if (r >= 0)
        return TRUE;
    g_set_error(error, CTL_ERROR, CTL_EXIT_FAILURE, "a message of the bus cannot be made or read: %s",
                g_strerror(-r));
    return FALSE;
}

sd_bus_message *
ctl_bus_new_call(sd_bus *bus, const char *path, const char *interface, const char *member, GError **error)
{
    sd_bus_message *call = NULL;
    int r = sd_bus_message_new_method_call(bus, &call, APMIG_BUS_NAME, path, interface, member);

    return ctl_bus_check(r, error) ? call : NULL;
}

/* --- calls --------------------------------------------------------------------------------------- */

static int
on_reply(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    sd_bus_message **reply = user_data;

    *reply = sd_bus_message_ref(message);
    return 0;
}

/* Until @reply is there. Returns: 0, or a negative errno: -ETIMEDOUT at @deadline. */
static int
wait_for_reply(sd_bus *bus, sd_bus_message **reply, gint64 deadline, CtlTickFunc tick, gpointer user_data)
{
    gint64 next_tick = tick ? g_get_monotonic_time() + G_USEC_PER_SEC : G_MAXINT64;

    while (!*reply) {
        int r = sd_bus_process(bus, NULL);

        if (r < 0)
            return *reply ? 0 : r;
        if (r > 0)
            continue;

        gint64 now = g_get_monotonic_time();

        if (now >= deadline)
            return -ETIMEDOUT;
        if (now >= next_tick) {
            tick(user_data);
            next_tick = g_get_monotonic_time() + G_USEC_PER_SEC;
            continue;
        }

        r = sd_bus_wait(bus, (uint64_t)(MIN(deadline, next_tick) - now));
        if (r < 0 && r != -EINTR)
            return r;
    }
    return 0;
}

static void
set_unreachable(int r, gint64 timeout_usec, GError **error)
{
    if (r == -ETIMEDOUT) {
        g_autofree char *waited = ctl_format_duration(timeout_usec + G_USEC_PER_SEC / 2);

        g_set_error(error, CTL_ERROR, CTL_EXIT_UNREACHABLE, "no answer within %s", waited);
        return;
    }
    g_set_error(error, CTL_ERROR, CTL_EXIT_UNREACHABLE, "the system bus: %s", g_strerror(-r));
}

sd_bus_message *
ctl_bus_call(sd_bus *bus, sd_bus_message *call, gint64 timeout_usec, CtlTickFunc tick, gpointer user_data,
             GError **error)
{
    g_autoptr(sd_bus_message) reply = NULL;
    sd_bus_slot *slot = NULL;
    gint64 now = g_get_monotonic_time();
    gint64 deadline = timeout_usec < G_MAXINT64 - now ? now + timeout_usec : G_MAXINT64;
    int r = sd_bus_call_async(bus, &slot, call, on_reply, &reply, UINT64_MAX);

    if (r >= 0)
        r = wait_for_reply(bus, &reply, deadline, tick, user_data);
    sd_bus_slot_unref(slot);
    if (r < 0) {
        set_unreachable(r, timeout_usec, error);
        return NULL;
    }

    const sd_bus_error *failure = sd_bus_message_get_error(reply);

    if (failure) {
        g_set_error_literal(error, CTL_ERROR, (int)ctl_exit_from_dbus(failure->name),
                            failure->message ? failure->message : failure->name);
        return NULL;
    }
    return g_steal_pointer(&reply);
}

/* --- values -------------------------------------------------------------------------------------- */

static JsonNode *read_value(sd_bus_message *message);

static JsonNode *
read_basic(sd_bus_message *message, char type)
{
    union {
        uint8_t byte;
        int boolean;
        int16_t int16;
        uint16_t uint16;
        int32_t int32;
        uint32_t uint32;
        int64_t int64;
        uint64_t uint64;
        double real;
        const char *string;
    } value;
    JsonNode *node = json_node_new(JSON_NODE_VALUE);

    if (sd_bus_message_read_basic(message, type, &value) < 0)
        g_clear_pointer(&node, json_node_unref);
    else if (type == 'b')
        json_node_set_boolean(node, value.boolean != 0);
    else if (type == 'd')
        json_node_set_double(node, value.real);
    else if (type == 's' || type == 'o' || type == 'g')
        json_node_set_string(node, value.string);
    else
        json_node_set_int(node, type == 'y'   ? value.byte
                                : type == 'n' ? value.int16
                                : type == 'q' ? value.uint16
                                : type == 'i' ? value.int32
                                : type == 'u' ? (gint64)value.uint32
                                : type == 't' ? (gint64)MIN(value.uint64, (uint64_t)G_MAXINT64)
                                              : value.int64);
    return node;
}

static JsonNode *
read_dictionary(sd_bus_message *message, const char *contents)
{
    g_autoptr(JsonObject) object = json_object_new();
    g_autofree char *entry = g_strndup(contents + 1, strlen(contents) - 2);
    int r;

    while ((r = sd_bus_message_enter_container(message, SD_BUS_TYPE_DICT_ENTRY, entry)) > 0) {
        const char *key;

        if (sd_bus_message_read_basic(message, entry[0], &key) < 0)
            return NULL;

        JsonNode *value = read_value(message);

        if (!value)
            return NULL;
        json_object_set_member(object, key, value);
        if (sd_bus_message_exit_container(message) < 0)
            return NULL;
    }
    return r < 0 ? NULL : json_node_init_object(json_node_alloc(), object);
}

static JsonNode *
read_sequence(sd_bus_message *message)
{
    g_autoptr(JsonArray) array = json_array_new();

    while (sd_bus_message_at_end(message, FALSE) == 0) {
        JsonNode *element = read_value(message);

        if (!element)
            return NULL;
        json_array_add_element(array, element);
    }
    return json_node_init_array(json_node_alloc(), array);
}

/* Returns: (transfer full): NULL when it does not read. sd-bus bounds the depth of containers. */
static JsonNode *
read_value(sd_bus_message *message)
{
    const char *contents;
    char type;

    if (sd_bus_message_peek_type(message, &type, &contents) <= 0)
        return NULL;
    if (type != SD_BUS_TYPE_ARRAY && type != SD_BUS_TYPE_STRUCT && type != SD_BUS_TYPE_VARIANT)
        return read_basic(message, type);
    if (sd_bus_message_enter_container(message, type, contents) <= 0)
        return NULL;

    gboolean is_dictionary = type == SD_BUS_TYPE_ARRAY && contents[0] == '{' && strchr("sog", contents[1]);
    JsonNode *node = is_dictionary                 ? read_dictionary(message, contents)
                     : type == SD_BUS_TYPE_VARIANT ? read_value(message)
                                                   : read_sequence(message);

    if (sd_bus_message_exit_container(message) < 0)
        g_clear_pointer(&node, json_node_unref);
    return node;
}

JsonNode *
ctl_bus_read_json(sd_bus_message *message, GError **error)
{
    JsonNode *node = read_value(message);

    if (!node)
        g_set_error_literal(error, CTL_ERROR, CTL_EXIT_FAILURE,
                            "apmigd's answer does not read as what it says it is");
    return node;
}

/* --- objects ------------------------------------------------------------------------------------- */

static JsonObject *
call_for_object(sd_bus *bus, sd_bus_message *call, gint64 timeout_usec, GError **error)
{
    g_autoptr(sd_bus_message) reply = ctl_bus_call(bus, call, timeout_usec, NULL, NULL, error);
    g_autoptr(JsonNode) node = reply ? ctl_bus_read_json(reply, error) : NULL;

    if (!node)
        return NULL;
    if (!JSON_NODE_HOLDS_OBJECT(node)) {
        g_set_error_literal(error, CTL_ERROR, CTL_EXIT_FAILURE,
                            "apmigd's answer is not what its interface says");
        return NULL;
    }
    return json_node_dup_object(node);
}

JsonObject *
ctl_bus_get_manager(sd_bus *bus, GError **error)
{
    g_autoptr(sd_bus_message) call =
        ctl_bus_new_call(bus, APMIG_BUS_PATH, "org.freedesktop.DBus.Properties", "GetAll", error);

    if (!call || !ctl_bus_check(sd_bus_message_append(call, "s", APMIG_BUS_MANAGER), error))
        return NULL;
    return call_for_object(bus, call, CTL_CALL_USEC, error);
}

static gint
compare_by_age(gconstpointer a, gconstpointer b, gpointer user_data)
{
    const char *property = user_data;
    gint64 age_a = ctl_int(*(JsonObject **)a, property);
    gint64 age_b = ctl_int(*(JsonObject **)b, property);

    return (age_a > age_b) - (age_a < age_b);
}

static gboolean
has_ended(JsonObject *object)
{
    return g_str_equal(ctl_string(object, "State"), "ended") ||
           g_str_equal(ctl_string(object, "Phase"), "ended");
}

/* Those of @objects (path -> interface -> properties) that have @interface. */
static GPtrArray *
collect(JsonObject *objects, const char *interface, const char *age_property, gboolean with_ended)
{
    GPtrArray *found = g_ptr_array_new_with_free_func((GDestroyNotify)json_object_unref);
    JsonObjectIter iter;
    const char *path;
    JsonNode *node;

    json_object_iter_init(&iter, objects);
    while (json_object_iter_next(&iter, &path, &node)) {
        JsonObject *interfaces = JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
        JsonNode *wanted = interfaces ? json_object_get_member(interfaces, interface) : NULL;

        if (!wanted || !JSON_NODE_HOLDS_OBJECT(wanted))
            continue;

        JsonObject *object = json_node_get_object(wanted);

        if (has_ended(object) && !with_ended)
            continue;
        json_object_set_string_member(object, "Path", path);
        g_ptr_array_add(found, json_object_ref(object));
    }
    g_ptr_array_sort_with_data(found, compare_by_age, (gpointer)age_property);
    return found;
}

gboolean
ctl_bus_get_objects(sd_bus *bus, gint64 timeout_usec, gboolean with_ended, GPtrArray **ret_locks,
                    GPtrArray **ret_migrations, GError **error)
{
    g_autoptr(sd_bus_message) call = ctl_bus_new_call(
        bus, APMIG_BUS_PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", error);
    g_autoptr(JsonObject) objects = call ? call_for_object(bus, call, timeout_usec, error) : NULL;

    if (!objects)
        return FALSE;
    *ret_locks = collect(objects, APMIG_BUS_LOCK, "RequestedAt", with_ended);
    *ret_migrations = collect(objects, APMIG_BUS_MIGRATION, "StartedAt", with_ended);
    return TRUE;
}

const char *
ctl_string(JsonObject *object, const char *name)
{
    const char *value = json_object_get_string_member_with_default(object, name, "");

    return value ? value : "";
}

gint64
ctl_int(JsonObject *object, const char *name)
{
    return json_object_get_int_member_with_default(object, name, 0);
}

gboolean
ctl_bool(JsonObject *object, const char *name)
{
    return json_object_get_boolean_member_with_default(object, name, FALSE);
}
