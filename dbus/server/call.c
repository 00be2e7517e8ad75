/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "server/private.h"

#include <errno.h>
#include <gio/gio.h>
#include <stdarg.h>

#define MAX_CALLS_PER_USER        32u  /* and per connection */
#define MAX_COSTLY_CALLS_PER_USER 4u   /* per connection 1, as long as it is not known whose it is */
#define MAX_CALLS                 256u /* of all users but root */

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
    if (call->peer)
        g_queue_remove(&call->peer->waiting, call);
    if (call->peer)
        g_queue_remove(&call->peer->readers, call);
    if (call->free_data)
        call->free_data(call->data);
    sd_bus_message_unref(call->message);
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

static ApmigCall *
find_call_of(const ApmigPeer *peer)
{
    GHashTableIter iter;
    gpointer call;

    for (g_hash_table_iter_init(&iter, peer->bus->server->calls); g_hash_table_iter_next(&iter, &call, NULL);)
        if (((const ApmigCall *)call)->peer == peer)
            return call;
    return NULL;
}

/* One after the other, found anew: what follows from the end of one may end another. */
void
apmig_peer_gone(ApmigPeer *peer)
{
    ApmigBus *bus = peer->bus;
    ApmigCall *call;

    while ((call = find_call_of(peer)))
        apmig_call_free(call);
    for (guint i = 0; i < peer->followed->len; i++)
        apmig_core_caller_gone(bus->server->core, g_array_index(peer->followed, ApmigCaller, i));
    if (peer->name)
        g_hash_table_remove(bus->server->peers, peer->name);
    else
        bus->peer = NULL;
    apmig_peer_free(peer);
}

void
apmig_call_fail(ApmigCall *call, const GError *error)
{
    if (call->request)
        apmig_call_log_refusal(call, error);
    (void)apmig_reply_error(call->message, error);
    if (call->peer)
        apmig_bus_check_queue(call->peer->bus);
    apmig_call_free(call);
}

void
apmig_call_send(ApmigCall *call, sd_bus_message *reply, int r)
{
    if (r >= 0)
        r = sd_bus_send(NULL, reply, NULL);
    if (r < 0)
        (void)sd_bus_reply_method_errnof(call->message, r, "The answer cannot be sent: %s", g_strerror(-r));
    apmig_bus_check_queue(call->peer->bus);
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

/* --- limits ------------------------------------------------------------------------------------------ */

/* Calls that are not answered yet. */
typedef struct {
    guint of_peer, of_user, of_all; /* but for root's */
    guint costly_of_peer, costly_of_user;
} Count;

/* Of those that are answered at once, or of the others: who waits for locks may look at them, as many as there are. */
static Count
count_calls(const ApmigServer *server, const ApmigPeer *peer, gboolean at_once)
{
    GHashTableIter iter;
    gpointer key;
    Count count = {0};

    g_hash_table_iter_init(&iter, server->calls);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        const ApmigCall *call = key;
        gboolean same_user = call->identified && peer->identified && call->peer->uid == peer->uid;

        if (!call->rule || call->rule->is_at_once != at_once)
            continue;
        count.of_peer += call->peer == peer;
        count.costly_of_peer += call->peer == peer && call->rule->is_costly;
        count.of_user += same_user;
        count.costly_of_user += same_user && call->rule->is_costly;
        count.of_all += call->identified && call->uid != 0;
    }
    return count;
}

static GError *
error_of_limit(const char *whose, guint max)
{
    return g_error_new(APMIG_ERROR, APMIG_ERROR_LIMIT_EXCEEDED,
                       "%s for %u answers already: wait for one of them, or end it.", whose, max);
}

/* Before anything is asked or looked up for a call: who it comes from may not be known yet. Root, who may stop the daemon
 * anyway, is not limited, and no number of others is in his way. */
static GError *
check_limits(const ApmigCall *call)
{
    const ApmigPeer *peer = call->peer;
    gboolean costly = call->rule->is_costly;
    g_autofree char *user = NULL;
    Count count;

    if (peer->identified && peer->uid == 0)
        return NULL;
    count = count_calls(call->server, peer, call->rule->is_at_once);
    user = g_strdup_printf("User %" G_GUINT32_FORMAT " waits", peer->uid);
    if (count.of_peer > MAX_CALLS_PER_USER)
        return error_of_limit("This connection waits", MAX_CALLS_PER_USER);
    if (costly && !peer->identified && count.costly_of_peer > 1)
        return error_of_limit("This connection, of which the bus has not said yet whose it is, waits", 1);
    if (count.of_user > MAX_CALLS_PER_USER)
        return error_of_limit(user, MAX_CALLS_PER_USER);
    if (costly && count.costly_of_user > MAX_COSTLY_CALLS_PER_USER) {
        g_autofree char *whose = g_strdup_printf("%s with %s", user, call->rule->member);

        return error_of_limit(whose, MAX_COSTLY_CALLS_PER_USER);
    }
    if (count.of_all > MAX_CALLS)
        return error_of_limit("All users but root together wait", MAX_CALLS);
    return NULL;
}

/* --- the steps --------------------------------------------------------------------------------------- */

static GError *
check_root(const ApmigCall *call)
{
    if (call->uid == 0 || call->rule->access != APMIG_ACCESS_ROOT)
        return NULL;
    return g_error_new(G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED, "Not authorized: only root may call %s.",
                       call->rule->member);
}

static void
read_on(ApmigCall *call, const GError *denied)
{
    if (denied)
        apmig_call_fail(call, denied);
    else
        call->next(call, NULL);
}

/* Of those that waited by then: what comes of one may be another call. */
static void
on_inspected(ApmigPeer *peer, const GError *denied)
{
    ApmigCall *call;

    for (guint n = g_queue_get_length(&peer->readers); n > 0 && (call = g_queue_pop_head(&peer->readers));
         n--)
        read_on(call, denied);
}

static void
start_reading(ApmigCall *call)
{
    ApmigPeer *peer = call->peer;
    g_autoptr(GError) error = NULL;

    if (call->uid == 0 || peer->reading_is_decided) {
        read_on(call, peer->reading_denied);
        return;
    }
    g_queue_push_tail(&peer->readers, call);
    if (!apmig_peer_inspect(peer, call->message, on_inspected, &error))
        apmig_call_fail(call, error);
}

static void
go_on(ApmigCall *call)
{
    g_autoptr(GError) denied = NULL;

    call->identified = TRUE;
    call->uid = call->peer->uid;
    if (call->request)
        apmig_peer_look_up(call->peer);
    denied = check_limits(call);
    if (!denied)
        denied = check_root(call);
    if (denied)
        apmig_call_fail(call, denied);
    else if (call->rule->access == APMIG_ACCESS_FREE)
        start_reading(call);
    else
        call->next(call, NULL);
}

/* Its calls in their order. Nobody takes the peer away meanwhile: that is told by the bus, or later. */
static void
on_identified(ApmigPeer *peer, const GError *error)
{
    ApmigCall *call;

    while ((call = g_queue_pop_head(&peer->waiting))) {
        if (error)
            apmig_call_fail(call, error);
        else
            go_on(call);
    }
    if (error)
        apmig_peer_gone(peer);
}

static void
wait_for_identity(ApmigCall *call)
{
    g_autoptr(GError) error = NULL;
    int r;

    g_queue_push_tail(&call->peer->waiting, call);
    r = apmig_peer_identify(call->peer, on_identified);
    if (r >= 0)
        return;
    error = g_error_new(G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED,
                        "Not authorized: the bus cannot be asked whose the call is (%s).", g_strerror(-r));
    apmig_call_fail(call, error);
}

int
apmig_call_start_request(ApmigServer *server, sd_bus_message *message, const ApmigEvent *event, gpointer data,
                         GDestroyNotify free_data, ApmigCallFunc next)
{
    ApmigCall *call = g_new0(ApmigCall, 1);
    g_autoptr(GError) error = NULL;

    call->server = server;
    call->peer = apmig_peer_of(server, message);
    call->message = sd_bus_message_ref(message);
    call->rule = apmig_method_rule(message);
    call->request = call->rule ? call->rule->request : NULL;
    call->event = *event;
    call->next = next;
    call->data = data;
    call->free_data = free_data;
    g_hash_table_add(server->calls, call);

    if (!call->peer) {
        apmig_call_free(call);
        return -ENXIO;
    }
    if (call->rule && call->peer->identified) {
        go_on(call);
        return 1;
    }
    error = call->rule ? check_limits(call) : error_without_row(message);
    if (error)
        apmig_call_fail(call, error);
    else
        wait_for_identity(call);
    return 1;
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

/* What is borrowed lives as long as the call, or the lock. */
static ApmigAuthorizationDetails
describe_request(const ApmigCall *call)
{
    const ApmigLock *lock =
        call->lock_id ? apmig_engine_lookup_lock(apmig_core_engine(call->server->core), call->lock_id) : NULL;
    ApmigAuthorizationDetails details = {0};

    if (call->event.type == APMIG_EVENT_TAKE)
        details.scope = apmig_scope_to_string(call->event.take.scope);
    else if (call->event.type == APMIG_EVENT_PERMIT)
        details.guest = call->event.permit.name;
    else if (call->event.type == APMIG_EVENT_REVOKE)
        details.guest = call->event.revoke.guest;
    if (lock) {
        details.scope = apmig_scope_to_string(lock->record->scope);
        details.lock = lock->record->id;
        details.owner = lock->record->owner_name;
    }
    return details;
}

void
apmig_call_authorize(ApmigCall *call, const char *action, ApmigCallFunc next)
{
    const ApmigAuthorizationDetails details = describe_request(call);
    g_autoptr(GError) error = NULL;

    if (call->uid == 0) {
        next(call, NULL);
        return;
    }

    call->next = next;
    call->authorization =
        apmig_authorization_new(call->message, action, &details, on_authorized, call, &error);
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
