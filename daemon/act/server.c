/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "act/server.h"

#include <errno.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include <glib-unix.h>

#include "act/worker.h"
#include "base/log.h"

#define MAX_PEERS 16 /* apmigd has one connection */

struct ApmigActServer {
    ApmigActWorker *worker;
    int listener;
    guint source;
    uid_t peer;
    GPtrArray *peers; /* of Peer */
    ApmigActIdleFunc idle_changed;
    gpointer user_data;
    guint8 packet[APMIG_ACT_MAX_REQUEST_BYTES];
};

/* One reference is the server's while it is connected, and one each request's. */
typedef struct {
    grefcount refs;
    ApmigActServer *server; /* NULL: gone, and whatever comes of its requests is told nobody */
    int fd;
    guint source;
    uid_t uid;
    guint n_requests, n_stamps; /* under way */
} Peer;

static void
peer_unref(gpointer data)
{
    Peer *peer = data;

    if (g_ref_count_dec(&peer->refs))
        g_free(peer);
}

static void
hang_up(Peer *peer)
{
    ApmigActServer *server = g_steal_pointer(&peer->server);

    if (!server)
        return;
    g_source_remove(peer->source);
    close(peer->fd);
    g_ptr_array_remove_fast(server->peers, peer);
    if (server->peers->len == 0)
        server->idle_changed(TRUE, server->user_data);
    peer_unref(peer);
}

/* --- replies ------------------------------------------------------------------------------------- */

/* Who does not read them is not served; who has gone, as with a daemon that was restarted, is no news. */
static void
reply(Peer *peer, const ApmigActReply *message)
{
    if (!peer->server || send(peer->fd, message, sizeof *message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
        return;
    if (errno != EPIPE && errno != ECONNRESET)
        apmig_log(LOG_WARNING, "a reply could not be sent: %s", g_strerror(errno));
    hang_up(peer);
}

static void
refuse(Peer *peer, guint64 number, const char *why)
{
    ApmigActReply message = APMIG_ACT_REPLY_INIT;

    apmig_log(LOG_WARNING, "refused a request of the user %u: %s", peer->uid, why);
    message.number = number;
    apmig_act_reply_set(&message, APMIG_ACT_REFUSED, why);
    reply(peer, &message);
}

static int
priority_of(const ApmigActTask *task)
{
    switch ((ApmigActResult)task->reply.result) {
    case APMIG_ACT_DONE:
        return LOG_NOTICE;
    case APMIG_ACT_REFUSED:
    case APMIG_ACT_FAILED:
        return LOG_WARNING;
    default:
        return LOG_INFO;
    }
}

/* Whoever asks whether it is ready asks again and again, and tells of it himself. */
static void
log_outcome(const Peer *peer, const ApmigActTask *task)
{
    if (task->request.verb != APMIG_ACT_READY)
        apmig_log(priority_of(task), "%s of guest %s (%s), asked for by the user %u: %s: %s",
                  apmig_act_verb_to_string(task->request.verb), task->guest ? task->guest : "?",
                  task->request.uuid, peer->uid, apmig_act_result_to_string(task->reply.result),
                  task->reply.message);
}

static void
on_done(const ApmigActTask *task, gpointer user_data)
{
    Peer *peer = user_data;

    peer->n_requests--;
    peer->n_stamps -= task->stamp != NULL;
    log_outcome(peer, task);
    reply(peer, &task->reply);
}

/* --- requests ------------------------------------------------------------------------------------ */

static void
take_request(Peer *peer, gsize length)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *stamp = NULL;
    ApmigActRequest request;

    if (!apmig_act_request_check(peer->server->packet, length, &request, &stamp, &error)) {
        g_autofree char *why = g_strdup_printf("the request cannot be understood: %s", error->message);
        refuse(peer, request.number, why);
    } else if (peer->n_requests >= APMIG_ACT_MAX_REQUESTS ||
               (stamp && peer->n_stamps >= APMIG_ACT_MAX_STAMPS)) {
        refuse(peer, request.number, "too many requests are under way");
    } else {
        peer->n_requests++;
        peer->n_stamps += stamp != NULL;
        g_ref_count_inc(&peer->refs);
        apmig_act_worker_run(peer->server->worker, apmig_act_task_new(&request, g_steal_pointer(&stamp)),
                             on_done, peer, peer_unref);
    }
}

/* One packet at a time: others may have something to say, too. */
static gboolean
on_readable(int fd, GIOCondition condition, gpointer user_data)
{
    Peer *peer = user_data;
    gssize n;

    n = recv(fd, peer->server->packet, sizeof peer->server->packet, MSG_TRUNC | MSG_DONTWAIT);
    if (n > 0)
        take_request(peer, (gsize)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        hang_up(peer);
    return G_SOURCE_CONTINUE;
}

/* --- connections --------------------------------------------------------------------------------- */

static gboolean
may_ask(const ApmigActServer *server, int fd, uid_t *ret_uid)
{
    struct ucred credentials;
    socklen_t length = sizeof credentials;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0)
        return FALSE;
    *ret_uid = credentials.uid;
    if (credentials.uid == 0 || credentials.uid == server->peer)
        return server->peers->len < MAX_PEERS;
    apmig_log(LOG_WARNING, "the user %u may not ask for anything: only apmigd and root may", credentials.uid);
    return FALSE;
}

static gboolean
on_connection(int listener, GIOCondition condition, gpointer user_data)
{
    ApmigActServer *server = user_data;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    uid_t uid;
    Peer *peer;

    if (fd < 0)
        return G_SOURCE_CONTINUE;
    if (!may_ask(server, fd, &uid)) {
        close(fd);
        return G_SOURCE_CONTINUE;
    }
    peer = g_new0(Peer, 1);
    g_ref_count_init(&peer->refs);
    peer->server = server;
    peer->fd = fd;
    peer->uid = uid;
    peer->source = g_unix_fd_add(fd, G_IO_IN, on_readable, peer);
    g_ptr_array_add(server->peers, peer);
    if (server->peers->len == 1)
        server->idle_changed(FALSE, server->user_data);
    return G_SOURCE_CONTINUE;
}

ApmigActServer *
apmig_act_server_new(const char *uri, int listener, uid_t peer, ApmigActIdleFunc func, gpointer user_data)
{
    ApmigActServer *server = g_new0(ApmigActServer, 1);

    server->worker = apmig_act_worker_new(uri);
    server->listener = listener;
    server->peer = peer;
    server->peers = g_ptr_array_new();
    server->idle_changed = func;
    server->user_data = user_data;
    server->source = g_unix_fd_add(listener, G_IO_IN, on_connection, server);
    return server;
}

static void
ignore_idle(gboolean is_idle, gpointer user_data)
{
}

void
apmig_act_server_free(ApmigActServer *server)
{
    if (!server)
        return;
    server->idle_changed = ignore_idle;
    g_source_remove(server->source);
    close(server->listener);
    while (server->peers->len > 0)
        hang_up(g_ptr_array_index(server->peers, 0));
    apmig_act_worker_free(server->worker);
    g_ptr_array_unref(server->peers);
    g_free(server);
}
