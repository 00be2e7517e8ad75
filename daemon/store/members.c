/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/members.h"

#include "base/error.h"
#include "store/json.h"
#include "base/strict-json.h"
#include "base/text.h"

G_GNUC_PRINTF(2, 3)
gboolean
apmig_members_fail(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (error)
        *error = g_error_new_valist(APMIG_ERROR, APMIG_ERROR_STATE_FAILURE, format, args);
    va_end(args);
    return FALSE;
}

/* --- the object ---------------------------------------------------------------------------------- */

/* A newer version is told first: whatever else it has is its own affair. */
static gboolean
check_version(JsonObject *object, gint64 known, GError **error)
{
    JsonNode *node = json_object_get_member(object, "version");

    if (!node || json_node_get_value_type(node) != G_TYPE_INT64)
        return apmig_members_fail(error, "it has no version");
    if (json_node_get_int(node) > known)
        return apmig_members_fail(error, "it has version %" G_GINT64_FORMAT ", newer than this apmigd reads",
                                  json_node_get_int(node));
    return json_node_get_int(node) == known ||
           apmig_members_fail(error, "its version, %" G_GINT64_FORMAT ", is none", json_node_get_int(node));
}

/* The parser has seen to it that none stands twice. */
gboolean
apmig_members_check(JsonObject *object, const char *const *members, const char *const *optional,
                    GError **error)
{
    g_autoptr(GList) names = json_object_get_members(object);

    for (guint i = 0; members[i]; i++)
        if (!json_object_has_member(object, members[i]))
            return apmig_members_fail(error, "it has no member \"%s\"", members[i]);
    for (GList *name = names; name; name = name->next) {
        g_autofree char *shown = apmig_error_excerpt(name->data);

        if (!g_strv_contains(members, name->data) && (!optional || !g_strv_contains(optional, name->data)))
            return apmig_members_fail(error, "it has an unknown member \"%s\"", shown);
    }
    return TRUE;
}

JsonObject *
apmig_members_parse(const char *text, gsize length, const char *stem, const ApmigMembersForm *form,
                    GError **error)
{
    g_autofree char *shown = apmig_error_excerpt(stem);
    g_autofree char *origin = g_strconcat(shown, ".json", NULL);
    g_autoptr(GError) parse_error = NULL;
    g_autoptr(JsonObject) object =
        apmig_strict_json_parse(text, length, form->max_bytes, origin, &parse_error);

    if (!object) {
        apmig_members_fail(error, "it does not read: %s", parse_error->message);
        return NULL;
    }
    if (!check_version(object, form->version, error) ||
        !apmig_members_check(object, form->members, form->optional, error))
        return NULL;
    return g_steal_pointer(&object);
}

/* --- its members --------------------------------------------------------------------------------- */

gboolean
apmig_members_node_text(JsonNode *node, const char *member, gsize max_bytes, const char **ret_text,
                        GError **error)
{
    if (json_node_get_value_type(node) != G_TYPE_STRING)
        return apmig_members_fail(error, "its member \"%s\" is no text", member);
    if (!apmig_text_is_plain(json_node_get_string(node), max_bytes))
        return apmig_members_fail(
            error, "its member \"%s\" is longer than %" G_GSIZE_FORMAT " bytes or has control characters",
            member, max_bytes);
    *ret_text = json_node_get_string(node);
    return TRUE;
}

gboolean
apmig_members_get_text(JsonObject *object, const char *member, gsize max_bytes, const char **ret_text,
                       GError **error)
{
    return apmig_members_node_text(json_object_get_member(object, member), member, max_bytes, ret_text,
                                   error);
}

gboolean
apmig_members_copy_text(JsonObject *object, const char *member, gsize max_bytes, char **ret_text,
                        GError **error)
{
    const char *text;

    if (!apmig_members_get_text(object, member, max_bytes, &text, error))
        return FALSE;
    *ret_text = g_strdup(text);
    return TRUE;
}

gboolean
apmig_members_get_integer(JsonObject *object, const char *member, gint64 max, gint64 *ret_value,
                          GError **error)
{
    JsonNode *node = json_object_get_member(object, member);

    if (json_node_get_value_type(node) != G_TYPE_INT64)
        return apmig_members_fail(error, "its member \"%s\" is no integer", member);
    *ret_value = json_node_get_int(node);
    return (*ret_value >= 0 && *ret_value <= max) ||
           apmig_members_fail(error, "its member \"%s\" is out of range", member);
}

/* --- writing ------------------------------------------------------------------------------------- */

JsonBuilder *
apmig_members_begin(gint64 version)
{
    JsonBuilder *builder = json_builder_new();

    json_builder_begin_object(builder);
    json_builder_set_member_name(builder, "version");
    json_builder_add_int_value(builder, version);
    return builder;
}

void
apmig_members_add_text(JsonBuilder *builder, const char *member, const char *text)
{
    json_builder_set_member_name(builder, member);
    json_builder_add_string_value(builder, text ? text : "");
}

void
apmig_members_add_integer(JsonBuilder *builder, const char *member, gint64 value)
{
    json_builder_set_member_name(builder, member);
    json_builder_add_int_value(builder, value);
}

char *
apmig_members_end(JsonBuilder *builder)
{
    g_autoptr(JsonGenerator) generator = json_generator_new();
    g_autoptr(JsonNode) root = NULL;
    g_autofree char *text = NULL;

    json_builder_end_object(builder);
    root = json_builder_get_root(builder);
    json_generator_set_root(generator, root);
    json_generator_set_pretty(generator, TRUE);
    text = json_generator_to_data(generator, NULL);
    return g_strconcat(text, "\n", NULL);
}
