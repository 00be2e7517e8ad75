/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/json.h"
#include "base/text.h"
#include "guest/xml.h"
#include "store/members.h"

#include <string.h>

#define LOCK_VERSION      1
#define ADMISSION_VERSION 1
#define PERMIT_VERSION    1

#define MAX_NAME_LENGTH 255
#define MAX_DEVICES     APMIG_GUEST_MAX_DEVICES

static const char *const lock_members[] = {
    "version",    "id",      "scope",        "reason",  "change-id",         "origin",   "owner-uid",
    "owner-name", "on-busy", "requested-at", "held-at", "expected-duration", "breaches", NULL,
};

/* What files of earlier versions do not have, and others where there is nothing to say. */
static const char *const lock_optional[] = {"attempts", "guests", "departed", NULL};

static const char *const lock_guest_members[] = {"uuid", "name", NULL};

static const char *const admission_members[] = {
    "version", "boot-id", "uuid", "name", "scope", "devices", "admitted-at", NULL,
};

/* Of a guest without crypto; earlier versions kept none of them. */
static const char *const admission_optional[] = {"unaffected", NULL};

static const char *const permit_members[] = {
    "version",    "boot-id",  "id",    "uuid",       "name",    "reason",    "owner-uid", "login-uid",
    "owner-name", "given-at", "until", "expires-at", "used-by", "direction", NULL,
};

/* Earlier versions did not know. */
static const char *const permit_optional[] = {"login-verified", NULL};

static const ApmigMembersForm lock_form = {LOCK_VERSION, APMIG_STORE_MAX_BYTES, lock_members, lock_optional};
static const ApmigMembersForm admission_form = {ADMISSION_VERSION, APMIG_STORE_MAX_PLAIN_BYTES,
                                                admission_members, admission_optional};
static const ApmigMembersForm permit_form = {PERMIT_VERSION, APMIG_STORE_MAX_PLAIN_BYTES, permit_members,
                                             permit_optional};

static gboolean
get_scope(JsonObject *object, ApmigScope **ret_scope, GError **error)
{
    g_autoptr(GError) scope_error = NULL;
    const char *text;

    if (!apmig_members_get_text(object, "scope", APMIG_SCOPE_MAX_STORED_LENGTH, &text, error))
        return FALSE;
    *ret_scope = apmig_scope_parse_stored(text, &scope_error);
    return *ret_scope || apmig_members_fail(error, "its scope does not read: %s", scope_error->message);
}

/* A guest may have no queue at all; a lock is of some. */
static gboolean
get_lock_scope(JsonObject *object, ApmigScope **ret_scope, GError **error)
{
    return get_scope(object, ret_scope, error) &&
           (!apmig_scope_is_none(*ret_scope) || apmig_members_fail(error, "its scope is of no queue"));
}

/* The name of the file and what stands in it must agree: a copied or renamed file is no lock of its own. */
static gboolean
get_same_text(JsonObject *object, const char *member, const char *expected, char **ret_text, GError **error)
{
    if (!apmig_members_copy_text(object, member, MAX_NAME_LENGTH, ret_text, error))
        return FALSE;
    return strcmp(*ret_text, expected) == 0 ||
           apmig_members_fail(error, "its member \"%s\" is not that of its name", member);
}

/* --- locks --------------------------------------------------------------------------------------- */

static gboolean
decode_words(JsonObject *object, ApmigLockRecord *record, GError **error)
{
    const char *origin, *on_busy;

    if (!apmig_members_get_text(object, "origin", MAX_NAME_LENGTH, &origin, error) ||
        !apmig_members_get_text(object, "on-busy", MAX_NAME_LENGTH, &on_busy, error))
        return FALSE;
    if (!apmig_lock_origin_from_string(origin, &record->origin) || record->origin == APMIG_LOCK_RECOVERED)
        return apmig_members_fail(error, "its member \"origin\" is none");
    record->on_busy = APMIG_ON_BUSY_UNSET;
    return *on_busy == '\0' || apmig_on_busy_from_string(on_busy, &record->on_busy) ||
           apmig_members_fail(error, "its member \"on-busy\" is none");
}

static gboolean
decode_numbers(JsonObject *object, ApmigLockRecord *record, GError **error)
{
    gint64 uid, breaches, attempts = 0;

    if (!apmig_members_get_integer(object, "owner-uid", G_MAXUINT32, &uid, error) ||
        !apmig_members_get_integer(object, "requested-at", G_MAXINT64, &record->requested_at, error) ||
        !apmig_members_get_integer(object, "held-at", G_MAXINT64, &record->held_at, error) ||
        !apmig_members_get_integer(object, "expected-duration", G_MAXINT64, &record->expected_duration_usec,
                                   error) ||
        !apmig_members_get_integer(object, "breaches", G_MAXUINT, &breaches, error) ||
        (json_object_has_member(object, "attempts") &&
         !apmig_members_get_integer(object, "attempts", G_MAXUINT, &attempts, error)))
        return FALSE;
    record->owner_uid = uid;
    record->breaches = breaches;
    record->attempts = attempts;
    return TRUE;
}

static gboolean
decode_guest(JsonNode *node, const char *member, GPtrArray *guests, GError **error)
{
    JsonObject *object = JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
    const char *uuid, *name;

    if (!object)
        return apmig_members_fail(error, "its member \"%s\" holds what is no guest", member);
    if (!apmig_members_check(object, lock_guest_members, NULL, error) ||
        !apmig_members_get_text(object, "uuid", MAX_NAME_LENGTH, &uuid, error) ||
        !apmig_members_get_text(object, "name", MAX_NAME_LENGTH, &name, error))
        return FALSE;
    if (!apmig_uuid_is_canonical(uuid))
        return apmig_members_fail(error, "its member \"%s\" holds what is no UUID", member);
    return apmig_lock_guests_append(guests, uuid, name) ||
           apmig_members_fail(error, "its member \"%s\" has more than %u guests", member,
                              APMIG_LOCK_MAX_GUESTS);
}

/* @ret_guests: (out) (nullable): NULL for none */
static gboolean
decode_guests(JsonObject *object, const char *member, GPtrArray **ret_guests, GError **error)
{
    JsonNode *node = json_object_get_member(object, member);
    g_autoptr(GPtrArray) guests = NULL;
    JsonArray *array;

    if (!node)
        return TRUE;
    if (!JSON_NODE_HOLDS_ARRAY(node))
        return apmig_members_fail(error, "its member \"%s\" is no array", member);
    array = json_node_get_array(node);
    guests = apmig_lock_guests_new();
    for (guint i = 0; i < json_array_get_length(array); i++)
        if (!decode_guest(json_array_get_element(array, i), member, guests, error))
            return FALSE;
    if (guests->len > 0)
        *ret_guests = g_steal_pointer(&guests);
    return TRUE;
}

ApmigLockRecord *
apmig_lock_record_decode(const char *text, gsize length, const char *id, GError **error)
{
    g_autoptr(ApmigLockRecord) record = g_new0(ApmigLockRecord, 1);
    g_autoptr(JsonObject) object = apmig_members_parse(text, length, id, &lock_form, error);

    if (!object)
        return NULL;
    if (!apmig_lock_id_is_valid(id)) {
        apmig_members_fail(error, "its name is not that of a lock");
        return NULL;
    }
    if (!get_same_text(object, "id", id, &record->id, error) ||
        !get_lock_scope(object, &record->scope, error) ||
        !apmig_members_copy_text(object, "reason", APMIG_REASON_MAX_LENGTH, &record->reason, error) ||
        !apmig_members_copy_text(object, "change-id", APMIG_CHANGE_MAX_LENGTH, &record->change_id, error) ||
        !apmig_members_copy_text(object, "owner-name", MAX_NAME_LENGTH, &record->owner_name, error) ||
        !decode_words(object, record, error) || !decode_numbers(object, record, error) ||
        !decode_guests(object, "guests", &record->guests, error) ||
        !decode_guests(object, "departed", &record->departed, error))
        return NULL;
    return g_steal_pointer(&record);
}

/* Its name is for people: one that no file may have is made to fit, for a lock that cannot be written is worse. */
static void
add_guest(JsonBuilder *builder, const ApmigLockGuest *guest)
{
    g_autofree char *name = apmig_text_escape(guest->name ? guest->name : "", MAX_NAME_LENGTH);

    json_builder_begin_object(builder);
    apmig_members_add_text(builder, "uuid", guest->uuid);
    apmig_members_add_text(builder, "name", name);
    json_builder_end_object(builder);
}

/* @guests: (nullable) */
static void
add_guests(JsonBuilder *builder, const char *member, const GPtrArray *guests)
{
    if (!guests || guests->len == 0)
        return;
    json_builder_set_member_name(builder, member);
    json_builder_begin_array(builder);
    for (guint i = 0; i < guests->len; i++)
        add_guest(builder, g_ptr_array_index(guests, i));
    json_builder_end_array(builder);
}

char *
apmig_lock_record_encode(const ApmigLockRecord *record, GError **error)
{
    g_autoptr(JsonBuilder) builder = apmig_members_begin(LOCK_VERSION);
    g_autoptr(ApmigLockRecord) same = NULL;
    g_autofree char *text = NULL;

    apmig_members_add_text(builder, "id", record->id);
    apmig_members_add_text(builder, "scope", apmig_scope_to_string(record->scope));
    apmig_members_add_text(builder, "reason", record->reason);
    apmig_members_add_text(builder, "change-id", record->change_id);
    apmig_members_add_text(builder, "origin", apmig_lock_origin_to_string(record->origin));
    apmig_members_add_integer(builder, "owner-uid", record->owner_uid);
    apmig_members_add_text(builder, "owner-name", record->owner_name);
    apmig_members_add_text(builder, "on-busy", apmig_on_busy_to_string(record->on_busy));
    apmig_members_add_integer(builder, "requested-at", record->requested_at);
    apmig_members_add_integer(builder, "held-at", record->held_at);
    apmig_members_add_integer(builder, "expected-duration", record->expected_duration_usec);
    apmig_members_add_integer(builder, "breaches", record->breaches);
    if (record->attempts > 0)
        apmig_members_add_integer(builder, "attempts", record->attempts);
    add_guests(builder, "guests", record->guests);
    add_guests(builder, "departed", record->departed);
    text = apmig_members_end(builder);

    same = apmig_lock_record_decode(text, strlen(text), record->id, error);
    if (!same) {
        g_prefix_error(error, "the file of lock %s would not read: ", record->id);
        return NULL;
    }
    return g_steal_pointer(&text);
}

/* --- of this boot -------------------------------------------------------------------------------- */

/* @ret_stale: (out): TRUE, without an error, for what is of another boot */
static gboolean
check_boot(JsonObject *object, const char *boot_id, gboolean *ret_stale, GError **error)
{
    const char *its_boot;

    if (!apmig_members_get_text(object, "boot-id", MAX_NAME_LENGTH, &its_boot, error))
        return FALSE;
    *ret_stale = !g_str_equal(its_boot, boot_id);
    return !*ret_stale;
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
        return apmig_members_fail(error, "its member \"devices\" is no array of at most %u UUIDs",
                                  MAX_DEVICES);
    array = json_node_get_array(node);
    for (guint i = 0; i < json_array_get_length(array); i++) {
        const char *uuid = NULL;

        if (!apmig_members_node_text(json_array_get_element(array, i), "devices", MAX_NAME_LENGTH, &uuid,
                                     error))
            return FALSE;
        if (!apmig_uuid_is_canonical(uuid))
            return apmig_members_fail(error, "its member \"devices\" holds what is no UUID");
        g_ptr_array_add(devices, g_strdup(uuid));
    }
    g_ptr_array_add(devices, NULL);
    *ret_devices = (GStrv)g_ptr_array_free(g_steal_pointer(&devices), FALSE);
    return TRUE;
}

/* It is there only where it is true. */
static gboolean
get_flag(JsonObject *object, const char *member, gboolean *ret_value, GError **error)
{
    JsonNode *node = json_object_get_member(object, member);

    if (node && (json_node_get_value_type(node) != G_TYPE_BOOLEAN || !json_node_get_boolean(node)))
        return apmig_members_fail(error, "its member \"%s\" is not true", member);
    *ret_value = node != NULL;
    return TRUE;
}

static void
add_flag(JsonBuilder *builder, const char *member, gboolean value)
{
    if (!value)
        return;
    json_builder_set_member_name(builder, member);
    json_builder_add_boolean_value(builder, TRUE);
}

static gboolean
decode_unaffected(JsonObject *object, ApmigAdmission *admission, GError **error)
{
    if (!get_flag(object, "unaffected", &admission->unaffected, error))
        return FALSE;
    if (admission->unaffected && (!apmig_scope_is_none(admission->scope) || admission->devices[0]))
        return apmig_members_fail(error, "it names queues of a guest that it says has none");
    return TRUE;
}

ApmigAdmission *
apmig_admission_decode(const char *text, gsize length, const char *uuid, const char *boot_id, gint64 now,
                       gboolean *ret_stale, GError **error)
{
    g_autoptr(ApmigAdmission) admission = g_new0(ApmigAdmission, 1);
    g_autoptr(JsonObject) object = apmig_members_parse(text, length, uuid, &admission_form, error);

    *ret_stale = FALSE;
    if (!object || !check_boot(object, boot_id, ret_stale, error))
        return NULL;
    if (!apmig_uuid_is_canonical(uuid)) {
        apmig_members_fail(error, "its name is no UUID");
        return NULL;
    }
    if (!get_same_text(object, "uuid", uuid, &admission->uuid, error) ||
        !apmig_members_copy_text(object, "name", MAX_NAME_LENGTH, &admission->name, error) ||
        !get_scope(object, &admission->scope, error) || !decode_devices(object, &admission->devices, error) ||
        !apmig_members_get_integer(object, "admitted-at", now, &admission->admitted_at, error) ||
        !decode_unaffected(object, admission, error))
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
    g_autoptr(JsonBuilder) builder = apmig_members_begin(ADMISSION_VERSION);
    g_autoptr(ApmigAdmission) same = NULL;
    g_autofree char *text = NULL;
    gboolean stale;

    apmig_members_add_text(builder, "boot-id", boot_id);
    apmig_members_add_text(builder, "uuid", admission->uuid);
    apmig_members_add_text(builder, "name", admission->name);
    apmig_members_add_text(builder, "scope", apmig_scope_to_string(admission->scope));
    add_devices(builder, admission->devices);
    apmig_members_add_integer(builder, "admitted-at", admission->admitted_at);
    add_flag(builder, "unaffected", admission->unaffected);
    text = apmig_members_end(builder);

    same = apmig_admission_decode(text, strlen(text), admission->uuid, boot_id, now, &stale, error);
    if (!same) {
        g_prefix_error(error, "the file of the admission of guest %s would not read: ", admission->uuid);
        return NULL;
    }
    return g_steal_pointer(&text);
}

/* --- permits ------------------------------------------------------------------------------------- */

static gboolean
decode_permit_texts(JsonObject *object, ApmigPermit *permit, const char *id, GError **error)
{
    if (!get_same_text(object, "id", id, &permit->id, error) ||
        !apmig_members_copy_text(object, "uuid", MAX_NAME_LENGTH, &permit->uuid, error) ||
        !apmig_members_copy_text(object, "name", APMIG_PERMIT_GUEST_MAX_LENGTH, &permit->name, error) ||
        !apmig_members_copy_text(object, "reason", APMIG_REASON_MAX_LENGTH, &permit->reason, error) ||
        !apmig_members_copy_text(object, "owner-name", MAX_NAME_LENGTH, &permit->owner_name, error))
        return FALSE;
    if (*permit->uuid && !apmig_uuid_is_canonical(permit->uuid))
        return apmig_members_fail(error, "its member \"uuid\" is no UUID");
    return *permit->uuid || *permit->name || apmig_members_fail(error, "it is for no guest");
}

/* However long it says that it counts: it cannot have been given for longer than from now on. */
static gboolean
decode_permit_numbers(JsonObject *object, ApmigPermit *permit, gint64 now, GError **error)
{
    gint64 owner, login;

    if (!apmig_members_get_integer(object, "owner-uid", G_MAXUINT32, &owner, error) ||
        !apmig_members_get_integer(object, "login-uid", G_MAXUINT32, &login, error) ||
        !get_flag(object, "login-verified", &permit->login_verified, error) ||
        !apmig_members_get_integer(object, "given-at", G_MAXINT64, &permit->given_at, error) ||
        !apmig_members_get_integer(object, "until", G_MAXINT64, &permit->until, error) ||
        !apmig_members_get_integer(object, "expires-at", now + APMIG_PERMIT_MAX_USEC, &permit->expires_at,
                                   error))
        return FALSE;
    permit->owner_uid = (guint32)owner;
    permit->login_uid = (guint32)login;
    return TRUE;
}

/* Both are "" while it is open. */
static gboolean
decode_permit_use(JsonObject *object, ApmigPermit *permit, GError **error)
{
    const char *used_by, *direction;

    if (!apmig_members_get_text(object, "used-by", MAX_NAME_LENGTH, &used_by, error) ||
        !apmig_members_get_text(object, "direction", MAX_NAME_LENGTH, &direction, error))
        return FALSE;
    if (!*used_by && !*direction)
        return TRUE;
    if (!apmig_uuid_is_canonical(used_by))
        return apmig_members_fail(error, "its member \"used-by\" is no UUID");
    permit->used_by = g_strdup(used_by);
    permit->outgoing = g_str_equal(direction, "out");
    return permit->outgoing || g_str_equal(direction, "in") ||
           apmig_members_fail(error, "its member \"direction\" is neither \"in\" nor \"out\"");
}

ApmigPermit *
apmig_permit_decode(const char *text, gsize length, const char *id, const char *boot_id, gint64 now,
                    gboolean *ret_stale, GError **error)
{
    g_autoptr(ApmigPermit) permit = g_new0(ApmigPermit, 1);
    g_autoptr(JsonObject) object = apmig_members_parse(text, length, id, &permit_form, error);

    *ret_stale = FALSE;
    if (!object || !check_boot(object, boot_id, ret_stale, error) ||
        !decode_permit_texts(object, permit, id, error) ||
        !decode_permit_numbers(object, permit, now, error) || !decode_permit_use(object, permit, error))
        return NULL;
    return g_steal_pointer(&permit);
}

char *
apmig_permit_encode(const ApmigPermit *permit, const char *boot_id, GError **error)
{
    const char *direction = permit->outgoing ? "out" : "in";
    g_autoptr(JsonBuilder) builder = apmig_members_begin(PERMIT_VERSION);
    g_autoptr(ApmigPermit) same = NULL;
    g_autofree char *text = NULL;
    gboolean stale;

    apmig_members_add_text(builder, "boot-id", boot_id);
    apmig_members_add_text(builder, "id", permit->id);
    apmig_members_add_text(builder, "uuid", permit->uuid);
    apmig_members_add_text(builder, "name", permit->name);
    apmig_members_add_text(builder, "reason", permit->reason);
    apmig_members_add_integer(builder, "owner-uid", permit->owner_uid);
    apmig_members_add_integer(builder, "login-uid", permit->login_uid);
    add_flag(builder, "login-verified", permit->login_verified);
    apmig_members_add_text(builder, "owner-name", permit->owner_name);
    apmig_members_add_integer(builder, "given-at", permit->given_at);
    apmig_members_add_integer(builder, "until", permit->until);
    apmig_members_add_integer(builder, "expires-at", permit->expires_at);
    apmig_members_add_text(builder, "used-by", permit->used_by);
    apmig_members_add_text(builder, "direction", permit->used_by ? direction : "");
    text = apmig_members_end(builder);

    same = apmig_permit_decode(text, strlen(text), permit->id, boot_id, permit->expires_at, &stale, error);
    if (!same) {
        g_prefix_error(error, "the file of permit %s would not read: ", permit->id);
        return NULL;
    }
    return g_steal_pointer(&text);
}
