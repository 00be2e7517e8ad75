/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/permit-json.h"

#include "engine/action.h"
#include "store/members.h"

#include <string.h>

#define VERSION 1

static const char *const members[] = {
    "version",   "boot-id",    "id",       "uuid",  "name",       "reason", "owner-uid",
    "login-uid", "owner-name", "given-at", "until", "expires-at", NULL,
};

gboolean
apmig_permit_is_uuid(const char *text)
{
    g_autofree char *lower = g_ascii_strdown(text, -1);

    return g_uuid_string_is_valid(text) && g_str_equal(lower, text);
}

static gboolean
decode_texts(JsonObject *object, ApmigPermit *permit, const char *id, GError **error)
{
    if (!apmig_members_copy_text(object, "id", APMIG_PERMIT_ID_LENGTH, &permit->id, error) ||
        !apmig_members_copy_text(object, "uuid", APMIG_PERMIT_GUEST_MAX_LENGTH, &permit->uuid, error) ||
        !apmig_members_copy_text(object, "name", APMIG_PERMIT_GUEST_MAX_LENGTH, &permit->name, error) ||
        !apmig_members_copy_text(object, "reason", APMIG_REASON_MAX_LENGTH, &permit->reason, error) ||
        !apmig_members_copy_text(object, "owner-name", APMIG_PERMIT_GUEST_MAX_LENGTH, &permit->owner_name,
                                 error))
        return FALSE;
    if (!g_str_equal(permit->id, id))
        return apmig_members_fail(error, "its member \"id\" is not that of its name");
    if (*permit->uuid && !apmig_permit_is_uuid(permit->uuid))
        return apmig_members_fail(error, "its member \"uuid\" is none");
    return *permit->uuid || *permit->name || apmig_members_fail(error, "it is for no guest");
}

/* However long it says that it counts: it cannot have been given for longer than from now on. */
static gboolean
decode_numbers(JsonObject *object, ApmigPermit *permit, gint64 now, GError **error)
{
    gint64 owner, login;

    if (!apmig_members_get_integer(object, "owner-uid", G_MAXUINT32, &owner, error) ||
        !apmig_members_get_integer(object, "login-uid", G_MAXUINT32, &login, error) ||
        !apmig_members_get_integer(object, "given-at", G_MAXINT64, &permit->given_at, error) ||
        !apmig_members_get_integer(object, "until", G_MAXINT64, &permit->until, error) ||
        !apmig_members_get_integer(object, "expires-at", now + APMIG_PERMIT_MAX_USEC, &permit->expires_at,
                                   error))
        return FALSE;
    permit->owner_uid = (guint32)owner;
    permit->login_uid = (guint32)login;
    return TRUE;
}

ApmigPermit *
apmig_permit_decode(const char *text, gsize length, const char *id, const char *boot_id, gint64 now,
                    gboolean *ret_stale, GError **error)
{
    g_autoptr(ApmigPermit) permit = g_new0(ApmigPermit, 1);
    g_autoptr(JsonObject) object = apmig_members_parse(text, length, id, VERSION, members, error);
    const char *its_boot;

    *ret_stale = FALSE;
    if (!object ||
        !apmig_members_get_text(object, "boot-id", APMIG_PERMIT_GUEST_MAX_LENGTH, &its_boot, error))
        return NULL;
    if (!g_str_equal(its_boot, boot_id)) {
        *ret_stale = TRUE;
        return NULL;
    }
    if (!decode_texts(object, permit, id, error) || !decode_numbers(object, permit, now, error))
        return NULL;
    return g_steal_pointer(&permit);
}

char *
apmig_permit_encode(const ApmigPermit *permit, const char *boot_id, GError **error)
{
    g_autoptr(JsonBuilder) builder = apmig_members_begin(VERSION);
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
    apmig_members_add_text(builder, "owner-name", permit->owner_name);
    apmig_members_add_integer(builder, "given-at", permit->given_at);
    apmig_members_add_integer(builder, "until", permit->until);
    apmig_members_add_integer(builder, "expires-at", permit->expires_at);
    text = apmig_members_end(builder);

    same = apmig_permit_decode(text, strlen(text), permit->id, boot_id, permit->expires_at, &stale, error);
    if (!same) {
        g_prefix_error(error, "the file of permit %s would not read: ", permit->id);
        return NULL;
    }
    return g_steal_pointer(&text);
}
