/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "server/private.h"

#include <gio/gio.h>
#include <stdarg.h>
#include <string.h>

#define MAX_CALLS_PER_USER 32 /* root, who may stop the daemon anyway, is not limited */

/* --- errors ---------------------------------------------------------------------------------------- */

static char *
bus_name_of_error(const GError *error)
{
    if (error->domain == APMIG_ERROR)
        return g_strconcat(APMIG_BUS_ERROR_PREFIX, apmig_error_name((ApmigError)error->code), NULL);
    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED))
        return g_strdup(SD_BUS_ERROR_ACCESS_DENIED);
    return g_strdup(SD_BUS_ERROR_FAILED);
}

int
apmig_reply_error(sd_bus_message *message, const GError *error)
{
    g_autofree char *name = bus_name_of_error(error);
    g_autofree char *text = apmig_bus_text(error->message);
    int r = sd_bus_reply_method_errorf(message, name, "%s", text);

    return r < 0 ? r : 1;
}

static GError *
error_without_row(sd_bus_message *message)
{
    return g_error_new(G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED, "Nobody is allowed to call %s here.",
                       sd_bus_message_get_member(message));
}

gboolean
apmig_method_is_free(sd_bus_message *message, GError **error)
{
    const ApmigMethodRule *rule = apmig_method_rule(message);

    if (rule && rule->access == APMIG_ACCESS_FREE)
        return TRUE;
    g_propagate_error(error, error_without_row(message));
    return FALSE;
}

/* --- the life of a call ------------------------------------------------------------------------------ */

static void
destroy_call(ApmigCall *call)
{
    if (call->caller != 0)
        apmig_core_caller_gone(call->server->core, call->caller);
    if (call->user_lookup)
        apmig_user_lookup_cancel(call->user_lookup);
    apmig_authorization_free(call->authorization);
    sd_bus_slot_unref(call->identity);
    sd_bus_slot_unref(call->watch);
    if (call->free_data)
        call->free_data(call->data);
    sd_bus_message_unref(call->message);
    apmig_requester_clear(&call->requester);
    g_free(call->lock_id);
    g_free(call->change_id);
    g_free(call);
}

void
apmig_call_free(ApmigCall *call)
{
    g_hash_table_remove(call->server->calls, call);
    destroy_call(call);
}

void
apmig_call_fail(ApmigCall *call, const GError *error)
{
    if (call->request)
        apmig_call_log_refusal(call, error);
    (void)apmig_reply_error(call->message, error);
    apmig_call_free(call);
}

void
apmig_call_send(ApmigCall *call, sd_bus_message *reply, int r)
{
    if (r >= 0)
        r = sd_bus_send(NULL, reply, NULL);
    if (r < 0)
        (void)sd_bus_reply_method_errnof(call->message, r, "The answer cannot be sent: %s", g_strerror(-r));
    apmig_call_free(call);
}

void
apmig_call_reply(ApmigCall *call, const char *signature, ...)
{
    g_autoptr(sd_bus_message) reply = NULL;
    va_list arguments;
    int r = sd_bus_message_new_method_return(call->message, &reply);

    va_start(arguments, signature);
    if (r >= 0)
        r = sd_bus_message_appendv(reply, signature, arguments);
    va_end(arguments);
    apmig_call_send(call, reply, r);
}

/* --- what the core is asked for ---------------------------------------------------------------------- */

void
apmig_call_replied(const ApmigAction *reply, gpointer user_data)
{
    ApmigCall *call = user_data;
    g_autoptr(GError) error = apmig_reply_get_error(reply);

    call->caller = 0;
    if (error)
        apmig_call_fail(call, error);
    else if (call->answered)
        call->answered(call, reply);
    else
        apmig_call_reply(call, "");
}

void
apmig_call_request(ApmigCall *call, ApmigAnswerFunc answered)
{
    call->answered = answered;
    call->caller = apmig_core_request(call->server->core, &call->event, apmig_call_replied, call);
}

/* --- who is calling ---------------------------------------------------------------------------------- */

static guint
count_calls_of(const ApmigServer *server, guint32 uid)
{
    GHashTableIter iter;
    gpointer key;
    guint count = 0;

    g_hash_table_iter_init(&iter, server->calls);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        const ApmigCall *call = key;

        count += call->identified && call->uid == uid;
    }
    return count;
}

static GError *
check_caller(const ApmigCall *call)
{
    if (call->uid == 0)
        return NULL;
    if (call->rule->access == APMIG_ACCESS_ROOT)
        return g_error_new(G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED, "Not authorized: only root may call %s.",
                           call->rule->member);
    if (count_calls_of(call->server, call->uid) > MAX_CALLS_PER_USER)
        return g_error_new(APMIG_ERROR, APMIG_ERROR_LIMIT_EXCEEDED,
                           "User %" G_GUINT32_FORMAT
                           " waits for %d answers already: wait for one of them, or end it.",
                           call->uid, MAX_CALLS_PER_USER);
    return NULL;
}

/* The a{sv} of GetConnectionCredentials (D-Bus specification, "Message Bus Messages"). Returns: whether it has the user. */
static gboolean
read_credentials(sd_bus_message *reply, guint32 *ret_uid, guint32 *ret_pid)
{
    gboolean found = FALSE;
    const char *name;

    if (sd_bus_message_enter_container(reply, 'a', "{sv}") <= 0)
        return FALSE;
    while (sd_bus_message_enter_container(reply, 'e', "sv") > 0) {
        if (sd_bus_message_read(reply, "s", &name) <= 0)
            return FALSE;
        if (strcmp(name, "UnixUserID") == 0)
            found = sd_bus_message_read(reply, "v", "u", ret_uid) > 0;
        else if (strcmp(name, "ProcessID") == 0)
            (void)sd_bus_message_read(reply, "v", "u", ret_pid);
        else
            (void)sd_bus_message_skip(reply, "v");
        if (sd_bus_message_exit_container(reply) < 0)
            return FALSE;
    }
    return found;
}

static int
on_identified(sd_bus_message *reply, void *user_data, sd_bus_error *ret_error)
{
    ApmigCall *call = user_data;
    g_autoptr(GError) denied = NULL;
    guint32 pid = 0;

    call->identity = sd_bus_slot_unref(call->identity);
    if (sd_bus_message_is_method_error(reply, NULL) > 0 || !read_credentials(reply, &call->uid, &pid)) {
        denied = g_error_new(G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED,
                             "Not authorized: the bus does not say whose the call is.");
    } else {
        call->identified = TRUE;
        call->requester.uid = call->uid;
        if (call->request)
            apmig_requester_look_up(&call->requester, pid);
        denied = check_caller(call);
    }

    if (denied)
        apmig_call_fail(call, denied);
    else
        call->next(call, NULL);
    return 1;
}

/* Asynchronously: sd_bus_query_sender_creds() would wait for the bus. The user is the one that opened the
 * caller's connection; the bus took it from the socket. */
static int
ask_identity(ApmigCall *call)
{
    return sd_bus_call_method_async(call->server->bus, &call->identity, "org.freedesktop.DBus",
                                    "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                    "GetConnectionCredentials", on_identified, call, "s",
                                    sd_bus_message_get_sender(call->message));
}

/* --- a caller that vanishes -------------------------------------------------------------------------- */

static int
on_name_owner_changed(sd_bus_message *signal, void *user_data, sd_bus_error *ret_error)
{
    const char *new_owner = NULL;

    if (sd_bus_message_read(signal, "sss", NULL, NULL, &new_owner) > 0 && *new_owner == '\0')
        apmig_call_free(user_data);
    return 0;
}

static int
on_watch_installed(sd_bus_message *reply, void *user_data, sd_bus_error *ret_error)
{
    g_autoptr(GError) error = NULL;

    if (sd_bus_message_is_method_error(reply, NULL) <= 0)
        return 1;

    error = g_error_new(APMIG_ERROR, APMIG_ERROR_LIMIT_EXCEEDED,
                        "The bus does not let apmigd watch one more caller (%s): try again later.",
                        sd_bus_message_get_error(reply)->message);
    apmig_call_fail(user_data, error);
    return 1;
}

/* Asked of the bus before the identity, so that one of the two notices a caller that has left already. */
static int
watch_caller(ApmigCall *call)
{
    g_autofree char *match = g_strdup_printf("type='signal',sender='org.freedesktop.DBus',"
                                             "path='/org/freedesktop/DBus',interface='org.freedesktop.DBus',"
                                             "member='NameOwnerChanged',arg0='%s'",
                                             sd_bus_message_get_sender(call->message));

    return sd_bus_add_match_async(call->server->bus, &call->watch, match, on_name_owner_changed,
                                  on_watch_installed, call);
}

/* --- the steps --------------------------------------------------------------------------------------- */

int
apmig_call_start_request(ApmigServer *server, sd_bus_message *message, const ApmigEvent *event, gpointer data,
                         GDestroyNotify free_data, ApmigCallFunc next)
{
    ApmigCall *call = g_new0(ApmigCall, 1);
    int r = 0;

    call->server = server;
    call->message = sd_bus_message_ref(message);
    call->rule = apmig_method_rule(message);
    call->request = call->rule ? call->rule->request : NULL;
    call->event = *event;
    call->next = next;
    call->data = data;
    call->free_data = free_data;
    g_hash_table_add(server->calls, call);

    if (!call->rule) {
        g_autoptr(GError) error = error_without_row(message);

        apmig_call_fail(call, error);
        return 1;
    }
    if (!sd_bus_message_get_sender(message))
        r = -ENXIO;
    if (r >= 0 && (call->rule->access == APMIG_ACCESS_POLKIT || call->rule->access == APMIG_ACCESS_ROOT))
        r = watch_caller(call);
    if (r >= 0)
        r = ask_identity(call);
    if (r < 0)
        apmig_call_free(call);
    return r < 0 ? r : 1;
}

int
apmig_call_start(ApmigServer *server, sd_bus_message *message, gpointer data, GDestroyNotify free_data,
                 ApmigCallFunc next)
{
    return apmig_call_start_request(server, message, &(ApmigEvent){0}, data, free_data, next);
}

static void
on_authorized(const GError *denied, gpointer user_data)
{
    ApmigCall *call = user_data;
    ApmigAuthorization *authorization = g_steal_pointer(&call->authorization);

    call->next(call, denied);
    apmig_authorization_free(authorization);
}

void
apmig_call_authorize(ApmigCall *call, const char *action, ApmigCallFunc next)
{
    g_autoptr(GError) error = NULL;

    if (call->uid == 0) {
        next(call, NULL);
        return;
    }

    call->next = next;
    call->authorization = apmig_authorization_new(call->message, action, on_authorized, call, &error);
    if (!call->authorization)
        next(call, error);
}

static void
on_name(const char *name, gpointer user_data)
{
    ApmigCall *call = user_data;

    call->user_lookup = NULL;
    call->name_func(name, call);
}

void
apmig_call_look_up_name(ApmigCall *call, ApmigUserNameFunc func)
{
    call->name_func = func;
    if (call->uid == 0)
        func("root", call);
    else
        call->user_lookup = apmig_user_name_look_up(call->uid, on_name, call);
}
