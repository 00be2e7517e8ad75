/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Values of the bus as JSON: kept apart from the calls, since the hook is to load no JSON-GLib, and with it GIO. */
#include <string.h>

#include "ctl/bus.h"
#include "ctl/format.h"
#include "names.h"

void
ctl_print_json(JsonNode *node, CtlJson json)
{
    g_autofree char *text = json_to_string(node, json == CTL_JSON_PRETTY);

    puts(text);
    json_node_unref(node);
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

JsonArray *
ctl_bus_call_for_list(sd_bus *bus, sd_bus_message *call, GError **error)
{
    g_autoptr(sd_bus_message) reply = ctl_bus_call(bus, call, CTL_CALL_USEC, NULL, NULL, error);
    g_autoptr(JsonNode) node = reply ? ctl_bus_read_json(reply, error) : NULL;

    if (!node)
        return NULL;
    if (JSON_NODE_HOLDS_ARRAY(node))
        return json_node_dup_array(node);
    g_set_error_literal(error, CTL_ERROR, CTL_EXIT_FAILURE, "apmigd's answer is no list");
    return NULL;
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

/* That there is no lock says nothing as long as apmigd has not read those on its disk. */
static gboolean
are_locks_known(sd_bus *bus, gint64 timeout_usec, GError **error)
{
    g_autoptr(sd_bus_message) call =
        ctl_bus_new_call(bus, APMIG_BUS_PATH, APMIG_BUS_MANAGER, "ListLocks", error);
    g_autoptr(sd_bus_message) reply = call ? ctl_bus_call(bus, call, timeout_usec, NULL, NULL, error) : NULL;

    return reply != NULL;
}

gboolean
ctl_bus_get_objects(sd_bus *bus, gint64 timeout_usec, gboolean with_ended, GPtrArray **ret_locks,
                    GPtrArray **ret_migrations, GError **error)
{
    g_autoptr(sd_bus_message) call = ctl_bus_new_call(
        bus, APMIG_BUS_PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", error);
    g_autoptr(JsonObject) objects = call ? call_for_object(bus, call, timeout_usec, error) : NULL;

    g_autoptr(GPtrArray) locks = objects ? collect(objects, APMIG_BUS_LOCK, "RequestedAt", with_ended) : NULL;

    if (!locks || (locks->len == 0 && !are_locks_known(bus, timeout_usec, error)))
        return FALSE;
    *ret_locks = g_steal_pointer(&locks);
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
