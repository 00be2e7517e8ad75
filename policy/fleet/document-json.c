/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fleet/private.h"

#include <string.h>

#include "base/error.h"
#include "engine/lock.h"

static const char *const document_keys[] = {"version", "fleet", "members", "locks", NULL};
static const char *const member_keys[] = {"host", "name", NULL};
static const char *const lock_keys[] = {"id",           "scope",   "reason", "change-id", "owner",
                                        "requested-at", "on-busy", "state",  "left-out",  NULL};
static const char *const left_out_keys[] = {"host", "by", "reason", "at", NULL};

/* --- reading -------------------------------------------------------------------------------------- */

static gboolean
read_member(const ApmigJsonPlace *place, ApmigFleetDocument *document, GError **error)
{
    g_autofree char *id = NULL;
    g_autofree char *name = NULL;

    if (!apmig_json_check_keys(place, member_keys, "unknown", error) ||
        !fleet_json_read_uuid(place, "host", FALSE, &id, error) ||
        !fleet_json_read_name(place, "name", &name, error))
        return FALSE;
    apmig_fleet_document_add_member(document, id, name);
    return TRUE;
}

static gboolean
read_left_out(const ApmigJsonPlace *place, ApmigFleetLock *lock, GError **error)
{
    g_autofree char *host = NULL;
    g_autofree char *by = NULL;
    g_autofree char *reason = NULL;
    gint64 at;

    if (!apmig_json_check_keys(place, left_out_keys, "unknown", error) ||
        !fleet_json_read_name(place, "host", &host, error) ||
        !fleet_json_read_name(place, "by", &by, error) ||
        !fleet_json_read_text(place, "reason", APMIG_REASON_MAX_LENGTH, &reason, error) ||
        !fleet_json_read_integer(place, "at", 0, G_MAXINT64, &at, error))
        return FALSE;
    apmig_fleet_lock_leave_out(lock, host, by, reason, at);
    return TRUE;
}

static gboolean
read_all_left_out(const ApmigJsonPlace *place, ApmigFleetLock *lock, GError **error)
{
    JsonArray *array;

    if (!fleet_json_read_array(place, "left-out", APMIG_FLEET_MAX_HOSTS, &array, error))
        return FALSE;
    for (guint i = 0; i < json_array_get_length(array); i++) {
        g_autofree char *path = NULL;
        ApmigJsonPlace inner;

        if (!apmig_json_enter(place, "left-out", i, "an object", &path, &inner, error) ||
            !read_left_out(&inner, lock, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
read_state(const ApmigJsonPlace *place, ApmigFleetLockState *ret_state, GError **error)
{
    const char *text;

    if (!apmig_json_read_string(place, "state", "locked, releasing or released", &text, error))
        return FALSE;
    for (guint i = 0; i <= APMIG_FLEET_RELEASED; i++) {
        if (g_str_equal(text, apmig_fleet_lock_state_to_string((ApmigFleetLockState)i))) {
            *ret_state = (ApmigFleetLockState)i;
            return TRUE;
        }
    }
    return apmig_json_fail(place, "state", error, "must be locked, releasing or released");
}

static gboolean
read_on_busy(const ApmigJsonPlace *place, ApmigOnBusy *ret_on_busy, GError **error)
{
    static const char expected[] = "abort, wait or refuse, or \"\" for what each host's policy says";
    const char *text;

    if (!apmig_json_read_string(place, "on-busy", expected, &text, error))
        return FALSE;
    return *text == '\0' || apmig_on_busy_from_string(text, ret_on_busy) ||
           apmig_json_fail(place, "on-busy", error, "must be %s", expected);
}

static gboolean
read_lock(const ApmigJsonPlace *place, ApmigFleetLock *lock, GError **error)
{
    return apmig_json_check_keys(place, lock_keys, "unknown", error) &&
           fleet_json_read_lock_id(place, "id", FALSE, &lock->id, error) &&
           fleet_json_read_scope(place, "scope", &lock->scope, error) &&
           fleet_json_read_text(place, "reason", APMIG_REASON_MAX_LENGTH, &lock->reason, error) &&
           fleet_json_read_text(place, "change-id", APMIG_CHANGE_MAX_LENGTH, &lock->change_id, error) &&
           fleet_json_read_name(place, "owner", &lock->owner, error) &&
           fleet_json_read_integer(place, "requested-at", 0, G_MAXINT64, &lock->requested_at, error) &&
           read_on_busy(place, &lock->on_busy, error) && read_state(place, &lock->state, error) &&
           read_all_left_out(place, lock, error);
}

static gboolean
read_members(const ApmigJsonPlace *place, ApmigFleetDocument *document, GError **error)
{
    JsonArray *array;

    if (!fleet_json_read_array(place, "members", APMIG_FLEET_MAX_HOSTS, &array, error))
        return FALSE;
    for (guint i = 0; i < json_array_get_length(array); i++) {
        g_autofree char *path = NULL;
        ApmigJsonPlace inner;

        if (!apmig_json_enter(place, "members", i, "an object", &path, &inner, error) ||
            !read_member(&inner, document, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
read_locks(const ApmigJsonPlace *place, ApmigFleetDocument *document, GError **error)
{
    JsonArray *array;

    if (!fleet_json_read_array(place, "locks", APMIG_FLEET_MAX_LOCKS, &array, error))
        return FALSE;
    for (guint i = 0; i < json_array_get_length(array); i++) {
        g_autofree char *path = NULL;
        ApmigJsonPlace inner;
        ApmigFleetLock *lock;

        if (!apmig_json_enter(place, "locks", i, "an object", &path, &inner, error))
            return FALSE;
        lock = apmig_fleet_lock_new();
        g_ptr_array_add(document->locks, lock);
        if (!read_lock(&inner, lock, error))
            return FALSE;
    }
    return TRUE;
}

ApmigFleetDocument *
apmig_fleet_document_parse(const char *text, gsize length, const char *origin, GError **error)
{
    g_autoptr(JsonObject) object = fleet_json_parse(text, length, origin, document_keys, error);
    g_autoptr(ApmigFleetDocument) document = object ? apmig_fleet_document_new("") : NULL;
    const ApmigJsonPlace place = {origin, "$", object};

    if (!object || !fleet_json_read_name(&place, "fleet", &document->fleet, error) ||
        !read_members(&place, document, error) || !read_locks(&place, document, error))
        return NULL;
    if (!apmig_fleet_document_check(document, error)) {
        g_prefix_error(error, "%s: ", origin);
        return NULL;
    }
    return g_steal_pointer(&document);
}

/* --- writing -------------------------------------------------------------------------------------- */

static void
add_member(JsonBuilder *builder, const ApmigFleetMember *member)
{
    json_builder_begin_object(builder);
    fleet_json_add_text(builder, "host", member->id);
    fleet_json_add_text(builder, "name", member->name);
    json_builder_end_object(builder);
}

static void
add_left_out(JsonBuilder *builder, const ApmigFleetLeftOut *left_out)
{
    json_builder_begin_object(builder);
    fleet_json_add_text(builder, "host", left_out->host);
    fleet_json_add_text(builder, "by", left_out->by);
    fleet_json_add_text(builder, "reason", left_out->reason);
    fleet_json_add_integer(builder, "at", left_out->at);
    json_builder_end_object(builder);
}

static void
add_lock(JsonBuilder *builder, const ApmigFleetLock *lock)
{
    json_builder_begin_object(builder);
    fleet_json_add_text(builder, "id", lock->id);
    fleet_json_add_text(builder, "scope", apmig_scope_to_string(lock->scope));
    fleet_json_add_text(builder, "reason", lock->reason);
    fleet_json_add_text(builder, "change-id", lock->change_id);
    fleet_json_add_text(builder, "owner", lock->owner);
    fleet_json_add_integer(builder, "requested-at", lock->requested_at);
    fleet_json_add_text(builder, "on-busy", apmig_on_busy_to_string(lock->on_busy));
    fleet_json_add_text(builder, "state", apmig_fleet_lock_state_to_string(lock->state));
    json_builder_set_member_name(builder, "left-out");
    json_builder_begin_array(builder);
    for (guint i = 0; i < lock->left_out->len; i++)
        add_left_out(builder, g_ptr_array_index(lock->left_out, i));
    json_builder_end_array(builder);
    json_builder_end_object(builder);
}

static char *
write_document(const ApmigFleetDocument *document)
{
    g_autoptr(JsonBuilder) builder = fleet_json_begin();

    fleet_json_add_text(builder, "fleet", document->fleet);
    json_builder_set_member_name(builder, "members");
    json_builder_begin_array(builder);
    for (guint i = 0; i < document->members->len; i++)
        add_member(builder, g_ptr_array_index(document->members, i));
    json_builder_end_array(builder);
    json_builder_set_member_name(builder, "locks");
    json_builder_begin_array(builder);
    for (guint i = 0; i < document->locks->len; i++)
        add_lock(builder, g_ptr_array_index(document->locks, i));
    json_builder_end_array(builder);
    return fleet_json_end(builder);
}

char *
apmig_fleet_document_write(const ApmigFleetDocument *document, GError **error)
{
    g_autofree char *text = NULL;
    g_autoptr(ApmigFleetDocument) same = NULL;

    if (!apmig_fleet_document_check(document, error))
        return NULL;
    text = write_document(document);
    same = apmig_fleet_document_parse(text, strlen(text), "the document to be written", error);
    return same ? g_steal_pointer(&text) : NULL;
}
