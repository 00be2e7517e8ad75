/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store-json.h"
#include "guest-xml.h"
#include "strict-json.h"
#include "text.h"

#include <string.h>

#define LOCK_VERSION      1
#define ADMISSION_VERSION 1

#define MAX_NAME_LENGTH 255
#define MAX_DEVICES     APMIG_GUEST_MAX_DEVICES

static const char *const lock_members[] = {
    "version",    "id",      "scope",        "reason",  "change-id",         "origin",   "owner-uid",
    "owner-name", "on-busy", "requested-at", "held-at", "expected-duration", "breaches", NULL,
};

static const char *const admission_members[] = {
    "version", "boot-id", "uuid", "name", "scope", "devices", "admitted-at", NULL,
};

G_GNUC_PRINTF(2, 3)
static gboolean
fail(GError **error, const char *format, ...)
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
        return fail(error, "it has no version");
    if (json_node_get_int(node) > known)
        return fail(error, "it has version %" G_GINT64_FORMAT ", newer than this apmigd reads",
                    json_node_get_int(node));
    return json_node_get_int(node) == known ||
           fail(error, "its version, %" G_GINT64_FORMAT ", is none", json_node_get_int(node));
}

/* Exactly the members named; the parser has seen to it that none stands twice. */
static gboolean
check_members(JsonObject *object, const char *const *members, GError **error)
{
    g_autoptr(GList) names = json_object_get_members(object);

    for (guint i = 0; members[i]; i++)
        if (!json_object_has_member(object, members[i]))
            return fail(error, "it has no member \"%s\"", members[i]);
    for (GList *name = names; name; name = name->next) {
        g_autofree char *shown = apmig_error_excerpt(name->data);

        if (!g_strv_contains(members, name->data))
            return fail(error, "it has an unknown member \"%s\"", shown);
    }
    return TRUE;
}

/* @stem: the file's name without ".json". */
static JsonObject *
parse_object(const char *text, gsize length, const char *stem, gint64 version, const char *const *members,
             GError **error)
{
    g_autofree char *shown = apmig_error_excerpt(stem);
    g_autofree char *origin = g_strconcat(shown, ".json", NULL);
    g_autoptr(GError) parse_error = NULL;
    g_autoptr(JsonObject) object =
        apmig_strict_json_parse(text, length, APMIG_STORE_MAX_BYTES, origin, &parse_error);

    if (!object) {
        fail(error, "it does not read: %s", parse_error->message);
        return NULL;
    }
    if (!check_version(object, version, error) || !check_members(object, members, error))
        return NULL;
    return g_steal_pointer(&object);
}

/* --- its members --------------------------------------------------------------------------------- */

static gboolean
node_get_text(JsonNode *node, const char *member, gsize max_bytes, const char **ret_text, GError **error)
{
    if (json_node_get_value_type(node) != G_TYPE_STRING)
        return fail(error, "its member \"%s\" is no text", member);
    if (!apmig_text_is_plain(json_node_get_string(node), max_bytes))
        return fail(error,
                    "its member \"%s\" is longer than %" G_GSIZE_FORMAT " bytes or has control characters",
                    member, max_bytes);
    *ret_text = json_node_get_string(node);
    return TRUE;
}

static gboolean
get_text(JsonObject *object, const char *member, gsize max_bytes, const char **ret_text, GError **error)
{
    return node_get_text(json_object_get_member(object, member), member, max_bytes, ret_text, error);
}

static gboolean
copy_text(JsonObject *object, const char *member, gsize max_bytes, char **ret_text, GError **error)
{
    const char *text;

    if (!get_text(object, member, max_bytes, &text, error))
        return FALSE;
    *ret_text = g_strdup(text);
    return TRUE;
}

static gboolean
get_integer(JsonObject *object, const char *member, gint64 max, gint64 *ret_value, GError **error)
{
    JsonNode *node = json_object_get_member(object, member);

    if (json_node_get_value_type(node) != G_TYPE_INT64)
        return fail(error, "its member \"%s\" is no integer", member);
    *ret_value = json_node_get_int(node);
    return (*ret_value >= 0 && *ret_value <= max) || fail(error, "its member \"%s\" is out of range", member);
}

static gboolean
get_scope(JsonObject *object, ApmigScope **ret_scope, GError **error)
{
    g_autoptr(GError) scope_error = NULL;
    const char *text;

    if (!get_text(object, "scope", APMIG_SCOPE_MAX_STORED_LENGTH, &text, error))
        return FALSE;
    *ret_scope = apmig_scope_parse_stored(text, &scope_error);
    return *ret_scope || fail(error, "its scope does not read: %s", scope_error->message);
}

/* A guest may have no queue at all; a lock is of some. */
static gboolean
get_lock_scope(JsonObject *object, ApmigScope **ret_scope, GError **error)
{
    return get_scope(object, ret_scope, error) &&
           (!apmig_scope_is_none(*ret_scope) || fail(error, "its scope is of no queue"));
}

/* The name of the file and what stands in it must agree: a copied or renamed file is no lock of its own. */
static gboolean
get_same_text(JsonObject *object, const char *member, const char *expected, char **ret_text, GError **error)
{
    if (!copy_text(object, member, MAX_NAME_LENGTH, ret_text, error))
        return FALSE;
    return strcmp(*ret_text, expected) == 0 ||
           fail(error, "its member \"%s\" is not that of its name", member);
}

static JsonBuilder *
begin_object(gint64 version)
{
    JsonBuilder *builder = json_builder_new();

    json_builder_begin_object(builder);
    json_builder_set_member_name(builder, "version");
    json_builder_add_int_value(builder, version);
    return builder;
}

static void
add_text(JsonBuilder *builder, const char *member, const char *text)
{
    json_builder_set_member_name(builder, member);
    json_builder_add_string_value(builder, text ? text : "");
}

static void
add_integer(JsonBuilder *builder, const char *member, gint64 value)
{
    json_builder_set_member_name(builder, member);
    json_builder_add_int_value(builder, value);
}

static char *
end_object(JsonBuilder *builder)
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

/* --- locks --------------------------------------------------------------------------------------- */

static gboolean
decode_words(JsonObject *object, ApmigLockRecord *record, GError **error)
{
    const char *origin, *on_busy;

    if (!get_text(object, "origin", MAX_NAME_LENGTH, &origin, error) ||
        !get_text(object, "on-busy", MAX_NAME_LENGTH, &on_busy, error))
        return FALSE;
    if (!apmig_lock_origin_from_string(origin, &record->origin) || record->origin == APMIG_LOCK_RECOVERED)
        return fail(error, "its member \"origin\" is none");
    record->on_busy = APMIG_ON_BUSY_UNSET;
    return *on_busy == '\0' || apmig_on_busy_from_string(on_busy, &record->on_busy) ||
           fail(error, "its member \"on-busy\" is none");
}

static gboolean
decode_numbers(JsonObject *object, ApmigLockRecord *record, GError **error)
{
    gint64 uid, breaches;

    if (!get_integer(object, "owner-uid", G_MAXUINT32, &uid, error) ||
        !get_integer(object, "requested-at", G_MAXINT64, &record->requested_at, error) ||
        !get_integer(object, "held-at", G_MAXINT64, &record->held_at, error) ||
        !get_integer(object, "expected-duration", G_MAXINT64, &record->expected_duration_usec, error) ||
        !get_integer(object, "breaches", G_MAXUINT, &breaches, error))
        return FALSE;
    record->owner_uid = uid;
    record->breaches = breaches;
    return TRUE;
}

ApmigLockRecord *
apmig_lock_record_decode(const char *text, gsize length, const char *id, GError **error)
{
    g_autoptr(ApmigLockRecord) record = g_new0(ApmigLockRecord, 1);
    g_autoptr(JsonObject) object = parse_object(text, length, id, LOCK_VERSION, lock_members, error);

    if (!object)
        return NULL;
    if (!apmig_lock_id_is_valid(id)) {
        fail(error, "its name is not that of a lock");
        return NULL;
    }
    if (!get_same_text(object, "id", id, &record->id, error) ||
        !get_lock_scope(object, &record->scope, error) ||
        !copy_text(object, "reason", APMIG_REASON_MAX_LENGTH, &record->reason, error) ||
        !copy_text(object, "change-id", APMIG_CHANGE_MAX_LENGTH, &record->change_id, error) ||
        !copy_text(object, "owner-name", MAX_NAME_LENGTH, &record->owner_name, error) ||
        !decode_words(object, record, error) || !decode_numbers(object, record, error))
        return NULL;
    return g_steal_pointer(&record);
}

char *
apmig_lock_record_encode(const ApmigLockRecord *record, GError **error)
{
    g_autoptr(JsonBuilder) builder = begin_object(LOCK_VERSION);
    g_autoptr(ApmigLockRecord) same = NULL;
    g_autofree char *text = NULL;

    add_text(builder, "id", record->id);
    add_text(builder, "scope", apmig_scope_to_string(record->scope));
    add_text(builder, "reason", record->reason);
    add_text(builder, "change-id", record->change_id);
    add_text(builder, "origin", apmig_lock_origin_to_string(record->origin));
    add_integer(builder, "owner-uid", record->owner_uid);
    add_text(builder, "owner-name", record->owner_name);
    add_text(builder, "on-busy", apmig_on_busy_to_string(record->on_busy));
    add_integer(builder, "requested-at", record->requested_at);
    add_integer(builder, "held-at", record->held_at);
    add_integer(builder, "expected-duration", record->expected_duration_usec);
    add_integer(builder, "breaches", record->breaches);
    text = end_object(builder);

    same = apmig_lock_record_decode(text, strlen(text), record->id, error);
    if (!same) {
        g_prefix_error(error, "the file of lock %s would not read: ", record->id);
        return NULL;
    }
    return g_steal_pointer(&text);
}

/* --- admissions ---------------------------------------------------------------------------------- */

gboolean
apmig_uuid_is_canonical(const char *text)
{
    if (!g_uuid_string_is_valid(text))
        return FALSE;
    for (; *text; text++)
        if (g_ascii_isupper(*text))
            return FALSE;
    return TRUE;
}

static gboolean
decode_devices(JsonObject *object, GStrv *ret_devices, GError **error)
{
    g_autoptr(GPtrArray) devices = g_ptr_array_new_with_free_func(g_free);
    JsonNode *node = json_object_get_member(object, "devices");
    JsonArray *array;

    if (!JSON_NODE_HOLDS_ARRAY(node) || json_array_get_length(json_node_get_array(node)) > MAX_DEVICES)
        return fail(error, "its member \"devices\" is no array of at most %u UUIDs", MAX_DEVICES);
    array = json_node_get_array(node);
    for (guint i = 0; i < json_array_get_length(array); i++) {
        const char *uuid = NULL;

        if (!node_get_text(json_array_get_element(array, i), "devices", MAX_NAME_LENGTH, &uuid, error))
            return FALSE;
        if (!apmig_uuid_is_canonical(uuid))
            return fail(error, "its member \"devices\" holds what is no UUID");
        g_ptr_array_add(devices, g_strdup(uuid));
    }
    g_ptr_array_add(devices, NULL);
    *ret_devices = (GStrv)g_ptr_array_free(g_steal_pointer(&devices), FALSE);
    return TRUE;
}

ApmigAdmission *
apmig_admission_decode(const char *text, gsize length, const char *uuid, const char *boot_id, gint64 now,
                       gboolean *ret_stale, GError **error)
{
    g_autoptr(ApmigAdmission) admission = g_new0(ApmigAdmission, 1);
    g_autoptr(JsonObject) object =
        parse_object(text, length, uuid, ADMISSION_VERSION, admission_members, error);
    const char *its_boot;

    *ret_stale = FALSE;
    if (!object || !get_text(object, "boot-id", MAX_NAME_LENGTH, &its_boot, error))
        return NULL;
    if (strcmp(its_boot, boot_id) != 0) {
        *ret_stale = TRUE;
        return NULL;
    }
    if (!apmig_uuid_is_canonical(uuid)) {
        fail(error, "its name is no UUID");
        return NULL;
    }
    if (!get_same_text(object, "uuid", uuid, &admission->uuid, error) ||
        !copy_text(object, "name", MAX_NAME_LENGTH, &admission->name, error) ||
        !get_scope(object, &admission->scope, error) || !decode_devices(object, &admission->devices, error) ||
        !get_integer(object, "admitted-at", now, &admission->admitted_at, error))
        return NULL;
    return g_steal_pointer(&admission);
}

static void
add_devices(JsonBuilder *builder, char **devices)
{
    json_builder_set_member_name(builder, "devices");
    json_builder_begin_array(builder);
    for (guint i = 0; devices && devices[i]; i++)
        json_builder_add_string_value(builder, devices[i]);
    json_builder_end_array(builder);
}

char *
apmig_admission_encode(const ApmigAdmission *admission, const char *boot_id, gint64 now, GError **error)
{
    g_autoptr(JsonBuilder) builder = begin_object(ADMISSION_VERSION);
    g_autoptr(ApmigAdmission) same = NULL;
    g_autofree char *text = NULL;
    gboolean stale;

    add_text(builder, "boot-id", boot_id);
    add_text(builder, "uuid", admission->uuid);
    add_text(builder, "name", admission->name);
    add_text(builder, "scope", apmig_scope_to_string(admission->scope));
    add_devices(builder, admission->devices);
    add_integer(builder, "admitted-at", admission->admitted_at);
    text = end_object(builder);

    same = apmig_admission_decode(text, strlen(text), admission->uuid, boot_id, now, &stale, error);
    if (!same) {
        g_prefix_error(error, "the file of the admission of guest %s would not read: ", admission->uuid);
        return NULL;
    }
    return g_steal_pointer(&text);
}
