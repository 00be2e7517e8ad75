/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "act/client.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include <glib-unix.h>

#include "act/protocol.h"
#include "base/log.h"

/* It may begin until the deadline, and libvirt may take as long once more (VIR_JOB_WAIT_TIME). */
#define ANSWER_USEC (2 * APMIG_ACT_DEADLINE_USEC + 2 * G_USEC_PER_SEC)
/* For a connection to libvirt; and for systemd to start it, which takes long on an overloaded host. */
#define READY_USEC (10 * G_USEC_PER_SEC)
/* Longer than a daemon with a lock leaves it without a question. */
#define LINGER_SEC 20
/* A stamp fits whatever the kernel's default is; it grants the double (socket(7)). */
#define SEND_BYTES (APMIG_ACT_MAX_STAMP_BYTES + 64 * 1024)

typedef struct Client Client;

typedef struct {
    Client *client;
    guint64 number;
    GBytes *packet;
    gboolean is_sent;
    gboolean is_readiness;
    guint timeout;
    ApmigActResult result; /* with message */
    char *message;         /* (nullable): it is over, and this is to be told */
    ApmigActFunc func;
    gpointer user_data;
} Call;

struct Client {
    ApmigActor vtable;
    char *socket_path;
    int fd; /* -1: not connected */
    guint in_source, out_source;
    guint linger_source;
    guint64 last_number;
    GHashTable *calls; /* number -> Call: all that are not answered */
    GQueue unsent;     /* of Call: borrowed */
};

static void
call_free(gpointer data)
{
    Call *call = data;

    g_clear_handle_id(&call->timeout, g_source_remove);
    g_bytes_unref(call->packet);
    g_free(call->message);
    g_free(call);
}

/* --- the end of a call --------------------------------------------------------------------------- */

static void
finish(Call *call, ApmigActResult result, const char *message)
{
    Client *client = call->client;
    ApmigActFunc func = call->func;
    gpointer user_data = call->user_data;

    g_queue_remove(&client->unsent, call);
    g_hash_table_steal(client->calls, &call->number);
    call_free(call);
    func(result, message, user_data);
}

static gboolean
on_over(gpointer user_data)
{
    Call *call = user_data;
    g_autofree char *message = g_steal_pointer(&call->message);

    call->timeout = 0;
    finish(call, call->result, message);
    return G_SOURCE_REMOVE;
}

/* Its end is told later. @message: (transfer full) */
static void
end_later(Call *call, ApmigActResult result, char *message)
{
    if (call->message) {
        g_free(message);
        return;
    }
    call->result = result;
    call->message = message;
    g_clear_handle_id(&call->timeout, g_source_remove);
    g_queue_remove(&call->client->unsent, call);
    call->timeout = g_timeout_add(0, on_over, call);
}

static gboolean
on_timeout(gpointer user_data)
{
    Call *call = user_data;
    const gint64 limit = call->is_readiness ? READY_USEC : ANSWER_USEC;
    g_autofree char *message =
        g_strdup_printf("apmigd-act has not answered within %d s", (int)(limit / G_USEC_PER_SEC));

    call->timeout = 0;
    finish(call, APMIG_ACT_FAILED, message);
    return G_SOURCE_REMOVE;
}

/* --- the connection ------------------------------------------------------------------------------ */

static void
disconnect(Client *client)
{
    g_clear_handle_id(&client->in_source, g_source_remove);
    g_clear_handle_id(&client->out_source, g_source_remove);
    g_clear_handle_id(&client->linger_source, g_source_remove);
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
}

/* What it was asked may have been done; what it was not is asked anew by send_all(). */
static void
lose(Client *client)
{
    g_autoptr(GList) calls = g_hash_table_get_values(client->calls);

    disconnect(client);
    for (GList *link = calls; link; link = link->next) {
        Call *call = link->data;

        if (call->is_sent)
            end_later(call, APMIG_ACT_FAILED,
                      g_strdup("apmigd-act ended without an answer; see \"journalctl -u apmigd-act\""));
    }
}

static gboolean
on_linger(gpointer user_data)
{
    Client *client = user_data;

    if (g_hash_table_size(client->calls) > 0)
        return G_SOURCE_CONTINUE;
    client->linger_source = 0;
    disconnect(client);
    return G_SOURCE_REMOVE;
}

/* Returns: FALSE: it is none. */
static gboolean
take_reply(Client *client, const ApmigActReply *reply, gsize length)
{
    g_autoptr(GError) error = NULL;
    Call *call;

    if (!apmig_act_reply_check(reply, length, &error)) {
        apmig_log(LOG_WARNING, "the answer of apmigd-act cannot be understood: %s", error->message);
        return FALSE;
    }
    call = g_hash_table_lookup(client->calls, &reply->number);
    if (call && call->is_sent && !call->message) /* else it came too late */
        finish(call, (ApmigActResult)reply->result, reply->message);
    return TRUE;
}

static void send_all(Client *client);

static gboolean
on_readable(int fd, GIOCondition condition, gpointer user_data)
{
    Client *client = user_data;
    struct {
        ApmigActReply reply;
        char surplus; /* shows that a packet is too large */
    } received;
    const gssize n = recv(fd, &received, sizeof received, MSG_TRUNC | MSG_DONTWAIT);

    if (n > 0 ? take_reply(client, &received.reply, (gsize)n) : n < 0 && (errno == EAGAIN || errno == EINTR))
        return G_SOURCE_CONTINUE;
    lose(client);
    send_all(client);
    return G_SOURCE_CONTINUE;
}

/* Returns: 0, or errno */
static int
connect_now(Client *client)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int bytes = SEND_BYTES;
    int error;

    if (g_strlcpy(address.sun_path, client->socket_path, sizeof address.sun_path) >= sizeof address.sun_path)
        return ENAMETOOLONG;
    client->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (client->fd < 0 || connect(client->fd, (struct sockaddr *)&address, sizeof address) < 0) {
        error = errno;
        disconnect(client);
        return error;
    }
    setsockopt(client->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    client->in_source = g_unix_fd_add(client->fd, G_IO_IN, on_readable, client);
    return 0;
}

/* --- sending ------------------------------------------------------------------------------------- */

static char *
describe_unreachable(const Client *client, int error, ApmigActResult *ret_result)
{
    const gboolean is_absent = error == ENOENT || error == ECONNREFUSED;

    *ret_result = is_absent ? APMIG_ACT_UNAVAILABLE : APMIG_ACT_FAILED;
    if (is_absent)
        return g_strdup_printf("nobody listens at \"%s\": apmigd-act is not installed, or its socket not "
                               "started (systemctl enable --now apmigd-act.socket)",
                               client->socket_path);
    return g_strdup_printf("apmigd-act could not be reached at \"%s\": %s", client->socket_path,
                           g_strerror(error));
}

/* Returns: 0, or errno. One that has ended meanwhile has not got it. */
static int
try_to_send(Client *client, const Call *call)
{
    gsize length;
    const void *data = g_bytes_get_data(call->packet, &length);

    if (send(client->fd, data, length, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
        return 0;
    return errno;
}

static gboolean on_writable(int fd, GIOCondition condition, gpointer user_data);

/* Returns: FALSE: no more can be sent for the moment */
static gboolean
send_call(Client *client, Call *call)
{
    ApmigActResult result;
    int error = client->fd >= 0 ? try_to_send(client, call) : EPIPE;

    if (error == EPIPE || error == ECONNRESET) {
        lose(client);
        error = connect_now(client);
        if (error == 0)
            error = try_to_send(client, call);
        else {
            char *message = describe_unreachable(client, error, &result);
            end_later(call, result, message);
            return TRUE;
        }
    }
    if (error == EAGAIN) {
        if (client->out_source == 0)
            client->out_source = g_unix_fd_add(client->fd, G_IO_OUT, on_writable, client);
        return FALSE;
    }
    if (error == 0)
        call->is_sent = TRUE;
    else
        end_later(call, APMIG_ACT_FAILED,
                  g_strdup_printf("apmigd-act could not be asked: %s", g_strerror(error)));
    return TRUE;
}

static void
send_all(Client *client)
{
    Call *call;

    while ((call = g_queue_peek_head(&client->unsent)) && send_call(client, call))
        g_queue_remove(&client->unsent, call);
}

static gboolean
on_writable(int fd, GIOCondition condition, gpointer user_data)
{
    Client *client = user_data;

    client->out_source = 0;
    send_all(client);
    return G_SOURCE_REMOVE;
}

static void
act(ApmigActor *vtable, const ApmigActOrder *order, ApmigActFunc func, gpointer user_data)
{
    Client *client = (Client *)vtable;
    Call *call = g_new0(Call, 1);

    call->client = client;
    call->number = ++client->last_number;
    call->packet = apmig_act_request_new(order, call->number, g_get_monotonic_time());
    call->is_readiness = order->verb == APMIG_ACT_READY;
    call->func = func;
    call->user_data = user_data;
    call->timeout = g_timeout_add((call->is_readiness ? READY_USEC : ANSWER_USEC) / 1000, on_timeout, call);
    g_hash_table_insert(client->calls, &call->number, call);
    g_queue_push_tail(&client->unsent, call);
    if (client->out_source == 0)
        send_all(client);
    g_clear_handle_id(&client->linger_source, g_source_remove);
    client->linger_source = g_timeout_add_seconds(LINGER_SEC, on_linger, client);
}

/* --- its life ------------------------------------------------------------------------------------ */

static void
free_client(ApmigActor *vtable)
{
    Client *client = (Client *)vtable;

    disconnect(client);
    g_queue_clear(&client->unsent);
    g_hash_table_unref(client->calls);
    g_free(client->socket_path);
    g_free(client);
}

ApmigActor *
apmig_act_client_new(const char *socket_path)
{
    Client *client = g_new0(Client, 1);

    client->vtable.act = act;
    client->vtable.free = free_client;
    client->socket_path = g_strdup(socket_path);
    client->fd = -1;
    client->calls = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, call_free);
    g_queue_init(&client->unsent);
    return &client->vtable;
}
