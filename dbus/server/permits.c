/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* PermitMigration, RevokePermit and ListPermits: what may go through a lock, once. */
#include "server/private.h"

/* A permit, or only whose. */
typedef struct {
    char *guest;
    char *reason;    /* (nullable): NULL: it is to be revoked */
    char *change_id; /* (nullable): for the journal */
    gint64 duration_usec;
} Permit;

static void
permit_free(gpointer data)
{
    Permit *permit = data;

    g_free(permit->guest);
    g_free(permit->reason);
    g_free(permit->change_id);
    g_free(permit);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Permit, permit_free)

/* --- arguments --------------------------------------------------------------------------------------- */

static gboolean
read_guest(Permit *permit, sd_bus_message *message, GError **error)
{
    permit->guest = apmig_text_read(message, APMIG_PERMIT_GUEST_MAX_LENGTH, "The guest's name",
                                    APMIG_ERROR_INVALID_GUEST, error);
    return permit->guest != NULL;
}

static gboolean
read_duration(Permit *permit, const ApmigOption *option, GError **error)
{
    permit->duration_usec = option->given ? (gint64)option->number : APMIG_PERMIT_DEFAULT_USEC;
    if (!option->given ||
        (option->number >= APMIG_PERMIT_MIN_USEC && option->number <= APMIG_PERMIT_MAX_USEC))
        return TRUE;
    g_set_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION,
                "Option \"%s\" is %" G_GUINT64_FORMAT ": give from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT
                " microseconds.",
                option->name, option->number, (gint64)APMIG_PERMIT_MIN_USEC, APMIG_PERMIT_MAX_USEC);
    return FALSE;
}

static gboolean
read_permit(Permit *permit, sd_bus_message *message, GError **error)
{
    ApmigOption options[] = {{"duration-usec", "t"}, {"change-id", "s"}, {NULL}};
    const ApmigOption *change = &options[1];

    if (!read_guest(permit, message, error))
        return FALSE;
    permit->reason =
        apmig_text_read(message, APMIG_REASON_MAX_LENGTH, "The reason", APMIG_ERROR_INVALID_REASON, error);
    if (!permit->reason || !apmig_options_read(message, options, error) ||
        !read_duration(permit, &options[0], error))
        return FALSE;
    permit->change_id = g_strdup(change->given ? change->text : NULL);
    return !change->given ||
           apmig_text_is_presentable(change->text, APMIG_CHANGE_MAX_LENGTH, "Option \"change-id\"",
                                     APMIG_ERROR_INVALID_OPTION, error);
}

/* --- steps ------------------------------------------------------------------------------------------- */

static void
on_permitted(const ApmigPermit *permit, const GError *error, gpointer user_data)
{
    ApmigCall *call = user_data;

    call->caller = 0;
    if (error)
        apmig_call_fail(call, error);
    else
        apmig_call_reply(call, "t", (guint64)permit->until);
}

static void
on_revoked(const ApmigPermit *permit, const GError *error, gpointer user_data)
{
    apmig_call_finish(user_data, error);
}

static void
permit_with_name(const char *name, gpointer user_data)
{
    ApmigCall *call = user_data;
    const Permit *permit = call->data;
    const ApmigPermitRequest request = {
        permit->guest, permit->reason, call->uid, call->requester.login_uid, name, permit->duration_usec,
    };

    apmig_call_log_request(call, call->request, permit->guest,
                           "permit guest '%s' to migrate once within %" G_GINT64_FORMAT " s: \"%s\"",
                           permit->guest, permit->duration_usec / G_USEC_PER_SEC, permit->reason);
    call->caller = apmig_core_permit_migration(call->server->core, &request, on_permitted, call);
}

static void
begin_revoking(ApmigCall *call)
{
    const Permit *permit = call->data;

    apmig_call_log_request(call, call->request, permit->guest, "revoke the permit of guest '%s'",
                           permit->guest);
    call->caller = apmig_core_revoke_permit(call->server->core, permit->guest, on_revoked, call);
}

static void
permit_authorized(ApmigCall *call, const GError *denied)
{
    const Permit *permit = call->data;

    if (denied)
        apmig_call_fail(call, denied);
    else if (!permit->reason)
        begin_revoking(call);
    else
        apmig_call_look_up_name(call, permit_with_name);
}

static void
permit_identified(ApmigCall *call, const GError *denied)
{
    call->change_id = g_strdup(((const Permit *)call->data)->change_id);
    apmig_call_authorize(call, call->rule->action, permit_authorized);
}

int
apmig_method_permit_migration(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Permit) permit = g_new0(Permit, 1);

    if (!read_permit(permit, message, &error))
        return apmig_reply_error(message, error);
    return apmig_call_start(user_data, message, g_steal_pointer(&permit), permit_free, permit_identified);
}

int
apmig_method_revoke_permit(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Permit) permit = g_new0(Permit, 1);

    if (!read_guest(permit, message, &error))
        return apmig_reply_error(message, error);
    return apmig_call_start(user_data, message, g_steal_pointer(&permit), permit_free, permit_identified);
}

/* --- the list ---------------------------------------------------------------------------------------- */

static int
append_permit(sd_bus_message *reply, const ApmigPermit *permit)
{
    const char *uuid = *permit->uuid || !permit->used_by ? permit->uuid : permit->used_by;
    g_autofree char *name = apmig_bus_text(permit->name);
    g_autofree char *reason = apmig_bus_text(permit->reason);
    g_autofree char *owner = apmig_bus_text(permit->owner_name);
    int r = sd_bus_message_open_container(reply, 'a', "{sv}");

    if (r >= 0)
        r = sd_bus_message_append(reply, "{sv}{sv}{sv}{sv}{sv}", "guest", "s", name, "uuid", "s", uuid,
                                  "reason", "s", reason, "owner-uid", "u", permit->owner_uid, "owner-name",
                                  "s", owner);
    if (r >= 0)
        r = sd_bus_message_append(reply, "{sv}{sv}{sv}", "given-at", "t", (guint64)permit->given_at, "until",
                                  "t", (guint64)permit->until, "in-use", "b", (int)(permit->used_by != NULL));
    if (r >= 0 && permit->login_uid != APMIG_PERMIT_NO_LOGIN)
        r = sd_bus_message_append(reply, "{sv}", "login-uid", "u", permit->login_uid);
    if (r >= 0 && permit->used_by)
        r = sd_bus_message_append(reply, "{sv}", "direction", "s", permit->outgoing ? "out" : "in");
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

int
apmig_method_list_permits(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    ApmigServer *server = user_data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) permits = NULL;
    g_autoptr(sd_bus_message) reply = NULL;
    int r;

    if (!apmig_method_is_free(message, &error))
        return apmig_reply_error(message, error);

    permits = apmig_engine_list_permits(apmig_core_engine(server->core));
    r = sd_bus_message_new_method_return(message, &reply);
    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'a', "a{sv}");
    for (guint i = 0; r >= 0 && i < permits->len; i++)
        r = append_permit(reply, g_ptr_array_index(permits, i));
    if (r >= 0)
        r = sd_bus_message_close_container(reply);
    return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

/* --- what follows for others ------------------------------------------------------------------------- */

char *
apmig_permits_text(const ApmigServer *server)
{
    g_autoptr(GPtrArray) permits = apmig_engine_list_permits(apmig_core_engine(server->core));
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < permits->len; i++) {
        const ApmigPermit *permit = g_ptr_array_index(permits, i);

        g_string_append_printf(text, "%s%s ", permit->id, permit->used_by ? " used" : "");
    }
    return g_string_free(text, FALSE);
}

char *
apmig_server_check_guest(const ApmigEngine *engine, const char *guest, const ApmigGuestFacts *facts,
                         gboolean *ret_allowed, GPtrArray **ret_locks)
{
    const ApmigPermit *permit = apmig_engine_find_permit(engine, guest);
    g_autofree char *reason = NULL;
    g_autofree char *text = NULL;

    *ret_locks = apmig_engine_check_guest(engine, facts, &reason);
    *ret_allowed = permit || (*ret_locks)->len == 0;
    if (permit && (*ret_locks)->len > 0)
        text = g_strdup_printf("permitted once by %s (\"%s\") in spite of %s", permit->owner_name,
                               permit->reason, reason);
    return apmig_bus_text(text ? text : reason);
}
