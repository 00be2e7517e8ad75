/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* PermitMigration, RevokePermit and ListPermits: what may go through a lock, once. */
#include "server/private.h"

/* --- arguments --------------------------------------------------------------------------------------- */

/* Returns: (nullable): borrowed from @message; else @error is set. */
static const char *
read_guest(sd_bus_message *message, GError **error)
{
    return apmig_text_read(message, APMIG_PERMIT_GUEST_MAX_LENGTH, "The guest's name",
                           APMIG_ERROR_INVALID_GUEST, error);
}

static gboolean
read_duration(ApmigEvent *event, const ApmigOption *option, GError **error)
{
    event->permit.duration_usec = option->given ? (gint64)option->number : APMIG_PERMIT_DEFAULT_USEC;
    if (!option->given ||
        (option->number >= APMIG_PERMIT_MIN_USEC && option->number <= APMIG_PERMIT_MAX_USEC))
        return TRUE;
    g_set_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION,
                "Option \"%s\" is %" G_GUINT64_FORMAT ": give from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT
                " microseconds.",
                option->name, option->number, (gint64)APMIG_PERMIT_MIN_USEC, APMIG_PERMIT_MAX_USEC);
    return FALSE;
}

/* @ret_change_id: (out) (nullable): borrowed from @message */
static gboolean
read_permit(ApmigEvent *event, const char **ret_change_id, sd_bus_message *message, GError **error)
{
    ApmigOption options[] = {{"duration-usec", "t"}, {"change-id", "s"}, {NULL}};
    const ApmigOption *change = &options[1];

    event->permit.name = read_guest(message, error);
    if (!event->permit.name)
        return FALSE;
    event->permit.reason =
        apmig_text_read(message, APMIG_REASON_MAX_LENGTH, "The reason", APMIG_ERROR_INVALID_REASON, error);
    if (!event->permit.reason || !apmig_options_read(message, options, error) ||
        !read_duration(event, &options[0], error))
        return FALSE;
    *ret_change_id = change->given ? change->text : NULL;
    return !change->given ||
           apmig_text_is_presentable(change->text, APMIG_CHANGE_MAX_LENGTH, "Option \"change-id\"",
                                     APMIG_ERROR_INVALID_OPTION, error);
}

/* --- giving ------------------------------------------------------------------------------------------ */

static void
permitted(ApmigCall *call, const ApmigAction *reply)
{
    apmig_call_reply(call, "t", (guint64)reply->reply.permit->until);
}

static void
permit_with_name(const char *name, gpointer user_data)
{
    ApmigCall *call = user_data;
    const char *guest = call->event.permit.name;
    g_autofree char *id = apmig_core_new_id(call->server->core);
    g_autofree char *lower = g_ascii_strdown(guest, -1);
    const ApmigRequester *requester = &call->peer->requester;

    apmig_call_log_request(call, call->request, guest,
                           "permit guest '%s' to migrate once within %" G_GINT64_FORMAT " s: \"%s\"", guest,
                           call->event.permit.duration_usec / G_USEC_PER_SEC, call->event.permit.reason);
    call->event.permit.id = id;
    call->event.permit.uuid = g_uuid_string_is_valid(lower) ? lower : "";
    call->event.permit.name = g_uuid_string_is_valid(lower) ? "" : guest;
    call->event.permit.uid = call->uid;
    call->event.permit.login_uid =
        requester->login_uid >= 0 ? (guint32)requester->login_uid : APMIG_PERMIT_NO_LOGIN;
    call->event.permit.login_verified = requester->login_uid >= 0 && requester->verified;
    call->event.permit.user = name;
    apmig_call_request(call, permitted);
}

static void
permit_authorized(ApmigCall *call, const GError *denied)
{
    if (denied)
        apmig_call_fail(call, denied);
    else
        apmig_call_look_up_name(call, permit_with_name);
}

static void
permit_identified(ApmigCall *call, const GError *denied)
{
    call->change_id = g_strdup(call->data);
    apmig_call_authorize(call, call->rule->action, permit_authorized);
}

int
apmig_method_permit_migration(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    ApmigEvent event = {.type = APMIG_EVENT_PERMIT};
    const char *change_id = NULL;
    g_autoptr(GError) error = NULL;

    if (!read_permit(&event, &change_id, message, &error))
        return apmig_reply_error(message, error);
    return apmig_call_start_request(user_data, message, &event, (char *)change_id, NULL, permit_identified);
}

/* --- revoking ---------------------------------------------------------------------------------------- */

static void
revoke_authorized(ApmigCall *call, const GError *denied)
{
    const char *guest = call->event.revoke.guest;

    if (denied) {
        apmig_call_fail(call, denied);
        return;
    }
    apmig_call_log_request(call, call->request, guest, "revoke the permit of guest '%s'", guest);
    apmig_call_request(call, NULL);
}

static void
revoke_identified(ApmigCall *call, const GError *denied)
{
    apmig_call_authorize(call, call->rule->action, revoke_authorized);
}

int
apmig_method_revoke_permit(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    g_autoptr(GError) error = NULL;
    ApmigEvent event = {.type = APMIG_EVENT_REVOKE, .revoke.guest = read_guest(message, &error)};

    if (!event.revoke.guest)
        return apmig_reply_error(message, error);
    return apmig_call_start_request(user_data, message, &event, NULL, NULL, revoke_identified);
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
        r = sd_bus_message_append(reply, "{sv}{sv}", "login-uid", "u", permit->login_uid, "login-verified",
                                  "b", (int)permit->login_verified);
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
