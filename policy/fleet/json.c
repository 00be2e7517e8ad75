/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fleet/private.h"

#include <string.h>

#include "base/error.h"

#define VERSION 1

#define UUID_LENGTH       36
#define LOCK_ID_LENGTH    32
#define CLUSTER_ID_LENGTH 20

/* --- reading -------------------------------------------------------------------------------------- */

/* Its version comes before its keys: a later version has others. */
static gboolean
check_top(const ApmigJsonPlace *place, const char *const *keys, GError **error)
{
    gint64 version;

    if (!apmig_json_get_integer(place, "version", &version))
        return apmig_json_fail(place, "version", error, "must be the number %d", VERSION);
    if (version != VERSION)
        return apmig_json_fail(place, "version", error,
                               "is %" G_GINT64_FORMAT ", and only version %d is supported: upgrade apmigd",
                               version, VERSION);
    return apmig_json_check_keys(place, keys, "unknown", error);
}

JsonObject *
fleet_json_parse(const char *text, gsize length, const char *origin, const char *const *keys, GError **error)
{
    g_autoptr(JsonObject) object =
        apmig_strict_json_parse(text, length, APMIG_FLEET_MAX_BYTES, origin, error);
    const ApmigJsonPlace place = {origin, "$", object};

    if (!object || !check_top(&place, keys, error))
        return NULL;
    return g_steal_pointer(&object);
}

static gboolean
is_plain(const char *text)
{
    for (const char *p = text; *p; p = g_utf8_next_char(p))
        if (g_unichar_iscntrl(g_utf8_get_char(p)))
            return FALSE;
    return TRUE;
}

gboolean
fleet_json_read_text(const ApmigJsonPlace *place, const char *key, gsize max_bytes, char **ret_text,
                     GError **error)
{
    const char *text;

    if (!apmig_json_read_string(place, key, "\"\" for none", &text, error))
        return FALSE;
    if (strlen(text) > max_bytes)
        return apmig_json_fail(place, key, error, "has %zu bytes, at most %zu are allowed", strlen(text),
                               max_bytes);
    if (!is_plain(text))
        return apmig_json_fail(place, key, error, "has a control character in it, write it without");
    g_free(*ret_text);
    *ret_text = g_strdup(text);
    return TRUE;
}

gboolean
fleet_json_read_name(const ApmigJsonPlace *place, const char *key, char **ret_text, GError **error)
{
    g_autofree char *text = NULL;

    if (!fleet_json_read_text(place, key, APMIG_FLEET_MAX_NAME_LENGTH, &text, error))
        return FALSE;
    if (*text == '\0')
        return apmig_json_fail(place, key, error, "must not be empty");
    g_free(*ret_text);
    *ret_text = g_steal_pointer(&text);
    return TRUE;
}

static gboolean
is_canonical_uuid(const char *text)
{
    return g_uuid_string_is_valid(text) && strspn(text, "0123456789abcdef-") == strlen(text);
}

gboolean
fleet_json_read_uuid(const ApmigJsonPlace *place, const char *key, gboolean may_be_empty, char **ret_text,
                     GError **error)
{
    g_autofree char *text = NULL;

    if (!fleet_json_read_text(place, key, UUID_LENGTH, &text, error))
        return FALSE;
    if (!is_canonical_uuid(text) && !(may_be_empty && *text == '\0'))
        return apmig_json_fail(place, key, error, "must be a UUID in lower case");
    g_free(*ret_text);
    *ret_text = g_steal_pointer(&text);
    return TRUE;
}

gboolean
fleet_json_read_lock_id(const ApmigJsonPlace *place, const char *key, gboolean may_be_empty, char **ret_text,
                        GError **error)
{
    g_autofree char *text = NULL;

    if (!fleet_json_read_text(place, key, LOCK_ID_LENGTH, &text, error))
        return FALSE;
    if (!apmig_fleet_lock_id_is_valid(text) && !(may_be_empty && *text == '\0'))
        return apmig_json_fail(place, key, error,
                               "must be the id of a lock, 8 to 32 hexadecimal digits in lower case");
    g_free(*ret_text);
    *ret_text = g_steal_pointer(&text);
    return TRUE;
}

gboolean
fleet_json_read_integer(const ApmigJsonPlace *place, const char *key, gint64 min, gint64 max,
                        gint64 *ret_number, GError **error)
{
    gint64 number;

    if (!apmig_json_get_integer(place, key, &number))
        return apmig_json_fail(place, key, error, "must be an integer");
    if (number < min || number > max)
        return apmig_json_fail(place, key, error,
                               "is %" G_GINT64_FORMAT ", and must be from %" G_GINT64_FORMAT " on%s", number,
                               min, number > max ? ", and smaller" : "");
    *ret_number = number;
    return TRUE;
}

gboolean
fleet_json_read_scope(const ApmigJsonPlace *place, const char *key, ApmigScope **ret_scope, GError **error)
{
    g_autofree char *text = NULL;
    g_autoptr(ApmigScope) scope = NULL;
    g_autoptr(GError) cause = NULL;

    if (!fleet_json_read_text(place, key, APMIG_FLEET_MAX_SCOPE_LENGTH, &text, error))
        return FALSE;
    scope = apmig_scope_parse_stored(text, &cause);
    if (!scope) {
        if (g_str_has_suffix(cause->message, "."))
            cause->message[strlen(cause->message) - 1] = '\0';
        return apmig_json_fail(place, key, error, "is no scope (%s)", cause->message);
    }
    if (apmig_scope_is_none(scope))
        return apmig_json_fail(place, key, error, "has no AP queue in it");
    *ret_scope = g_steal_pointer(&scope);
    return TRUE;
}

gboolean
fleet_json_read_array(const ApmigJsonPlace *place, const char *key, guint max, JsonArray **ret_array,
                      GError **error)
{
    JsonNode *node = json_object_get_member(place->object, key);
    guint length;

    if (!node || !JSON_NODE_HOLDS_ARRAY(node))
        return apmig_json_fail(place, key, error, "must be an array");
    length = json_array_get_length(json_node_get_array(node));
    if (length > max)
        return apmig_json_fail(place, key, error, "has %u elements, at most %u are allowed", length, max);
    *ret_array = json_node_get_array(node);
    return TRUE;
}

static gboolean
read_clause(const ApmigJsonPlace *place, const char *key, JsonNode *element, GPtrArray *clauses,
            GError **error)
{
    const char *text =
        json_node_get_value_type(element) == G_TYPE_STRING ? json_node_get_string(element) : "";

    if (*text == '\0' || strlen(text) > APMIG_FLEET_MAX_CLAUSE_LENGTH || !is_plain(text))
        return apmig_json_fail(place, key, error,
                               "must hold strings of 1 to %u bytes without control characters",
                               APMIG_FLEET_MAX_CLAUSE_LENGTH);
    g_ptr_array_add(clauses, g_strdup(text));
    return TRUE;
}

gboolean
fleet_json_read_clauses(const ApmigJsonPlace *place, const char *key, GStrv *ret_clauses, GError **error)
{
    g_autoptr(GPtrArray) clauses = g_ptr_array_new_with_free_func(g_free);
    JsonArray *array;

    if (!fleet_json_read_array(place, key, APMIG_FLEET_MAX_BLOCKERS, &array, error))
        return FALSE;
    for (guint i = 0; i < json_array_get_length(array); i++)
        if (!read_clause(place, key, json_array_get_element(array, i), clauses, error))
            return FALSE;
    g_ptr_array_add(clauses, NULL);
    g_strfreev(*ret_clauses);
    *ret_clauses = (GStrv)g_ptr_array_free(g_steal_pointer(&clauses), FALSE);
    return TRUE;
}

/* A number of 64 bits, of which JSON's would lose the last digits. */
static gboolean
read_cluster_id(const ApmigJsonPlace *place, char **ret_text, GError **error)
{
    g_autofree char *text = NULL;

    if (!fleet_json_read_text(place, "cluster-id", CLUSTER_ID_LENGTH, &text, error))
        return FALSE;
    if (*text == '\0' || strspn(text, "0123456789") != strlen(text))
        return apmig_json_fail(place, "cluster-id", error, "must be a string of decimal digits");
    g_free(*ret_text);
    *ret_text = g_steal_pointer(&text);
    return TRUE;
}

gboolean
fleet_json_read_head(const ApmigJsonPlace *place, ApmigFleetHead *head, GError **error)
{
    return fleet_json_read_name(place, "fleet", &head->fleet, error) &&
           fleet_json_read_uuid(place, "host", FALSE, &head->host, error) &&
           read_cluster_id(place, &head->cluster_id, error) &&
           fleet_json_read_integer(place, "revision", 1, G_MAXINT64, &head->revision, error);
}

/* --- writing -------------------------------------------------------------------------------------- */

JsonBuilder *
fleet_json_begin(void)
{
    JsonBuilder *builder = json_builder_new();

    json_builder_begin_object(builder);
    fleet_json_add_integer(builder, "version", VERSION);
    return builder;
}

void
fleet_json_add_text(JsonBuilder *builder, const char *key, const char *text)
{
    json_builder_set_member_name(builder, key);
    json_builder_add_string_value(builder, text);
}

void
fleet_json_add_integer(JsonBuilder *builder, const char *key, gint64 number)
{
    json_builder_set_member_name(builder, key);
    json_builder_add_int_value(builder, number);
}

void
fleet_json_add_clauses(JsonBuilder *builder, const char *key, char *const *clauses)
{
    json_builder_set_member_name(builder, key);
    json_builder_begin_array(builder);
    for (; *clauses; clauses++)
        json_builder_add_string_value(builder, *clauses);
    json_builder_end_array(builder);
}

void
fleet_json_add_head(JsonBuilder *builder, const ApmigFleetHead *head)
{
    fleet_json_add_text(builder, "fleet", head->fleet);
    fleet_json_add_text(builder, "host", head->host);
    fleet_json_add_text(builder, "cluster-id", head->cluster_id);
    fleet_json_add_integer(builder, "revision", head->revision);
}

char *
fleet_json_end(JsonBuilder *builder)
{
    g_autoptr(JsonGenerator) generator = json_generator_new();
    g_autoptr(JsonNode) root = NULL;

    json_builder_end_object(builder);
    root = json_builder_get_root(builder);
    json_generator_set_root(generator, root);
    return json_generator_to_data(generator, NULL);
}
