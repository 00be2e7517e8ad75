/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The private socket: D-Bus without a bus, for root alone. The gate must not ride on a bus that any user can clog.
 *
 * It is made by the daemon, not by systemd: where nobody listens, connect() fails at once, and the hook has the bus start
 * apmigd. Over it all objects, methods and signals are those of the public bus.
 */
#include "server/event-source.h"
#include "server/private.h"

#include <errno.h>
#include <gio/gio.h>
#include <glib-unix.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-id128.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5: include/uapi/asm-generic/socket.h, also of s390 */
#endif

#define CONNECTIONS_MAX 128u
#define QUEUE_MAX       256 /* of messages that a peer has not read */

struct ApmigPrivateSocket {
    ApmigServer *server;
    char *path;
    int fd;
    guint listen_id; /* 0: full, and nobody is let in */
    sd_event *event;
    GSource *source;
    GPtrArray *connections; /* of ApmigBus, the oldest first */
};

/* --- connections -------------------------------------------------------------------------------------- */

static gboolean on_connection(gint fd, GIOCondition condition, gpointer user_data);

static void
listen_again(ApmigPrivateSocket *socket)
{
    if (socket->listen_id == 0)
        socket->listen_id = g_unix_fd_add(socket->fd, G_IO_IN, on_connection, socket);
}

static void
close_connection(ApmigPrivateSocket *socket, ApmigBus *bus)
{
    g_ptr_array_remove(socket->connections, bus);
    if (bus->peer)
        apmig_peer_gone(bus->peer);
    apmig_bus_free(bus, FALSE);
}

static void
on_lost(ApmigBus *bus, gpointer user_data)
{
    close_connection(user_data, bus);
    listen_again(user_data);
}

static gboolean
process_rest(gpointer user_data)
{
    ApmigBus *bus = user_data;

    bus->begun_id = 0;
    while (bus->lost_id == 0 && sd_bus_process(bus->bus, NULL) > 0)
        ;
    return G_SOURCE_REMOVE;
}

/* What came along with the last line of the authentication has been read with it, so that nothing wakes sd-bus up for it
 * (systemd 252: bus_socket_read_auth() reads on, and sd_bus_get_timeout() knows only of whole messages). Not from within
 * sd-bus. */
static int
on_begun(sd_bus_message *signal, void *user_data, sd_bus_error *ret_error)
{
    ApmigBus *bus = user_data;

    if (bus->begun_id == 0)
        bus->begun_id = g_timeout_add(0, process_rest, bus);
    return 0;
}

static gboolean
has_calls(const ApmigBus *bus)
{
    GHashTableIter iter;
    gpointer call;

    for (g_hash_table_iter_init(&iter, bus->server->calls); g_hash_table_iter_next(&iter, &call, NULL);)
        if (((const ApmigCall *)call)->peer == bus->peer)
            return TRUE;
    return FALSE;
}

/* Who waits for nothing makes room: root's programs that only listen keep no guest out. Returns: whether there is room. */
static gboolean
make_room(ApmigPrivateSocket *socket)
{
    for (guint i = 0; socket->connections->len >= CONNECTIONS_MAX && i < socket->connections->len; i++) {
        ApmigBus *bus = g_ptr_array_index(socket->connections, i);

        if (!has_calls(bus)) {
            close_connection(socket, bus);
            break;
        }
    }
    return socket->connections->len < CONNECTIONS_MAX;
}

/* @fd: (transfer full). Returns: (transfer full) (nullable) */
static sd_bus *
start_connection(ApmigPrivateSocket *socket, int fd)
{
    sd_bus *sd = NULL;
    sd_id128_t id;
    int r = sd_bus_new(&sd);

    if (r >= 0)
        r = sd_bus_set_fd(sd, fd, fd);
    if (r < 0) {
        close(fd);
        sd_bus_unref(sd);
        return NULL;
    }
    (void)sd_bus_set_description(sd, "apmigd-private");
    r = sd_id128_randomize(&id);
    if (r >= 0)
        r = sd_bus_set_server(sd, TRUE, id);
    if (r >= 0)
        r = sd_bus_set_sender(sd, APMIG_BUS_NAME);
    if (r >= 0)
        r = sd_bus_set_connected_signal(sd, TRUE);
    if (r >= 0)
        r = sd_bus_start(sd);
    return r < 0 ? sd_bus_close_unref(sd) : sd;
}

/* Returns: (transfer full): a pidfd of who connected, or -1: the kernel has none. */
static int
open_peer(int fd)
{
    int pidfd = -1;
    socklen_t length = sizeof(pidfd);

    return getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &length) < 0 ? -1 : pidfd;
}

/* @fd: (transfer full) */
static void
add_connection(ApmigPrivateSocket *socket, int fd, const struct ucred *credentials)
{
    int pidfd = open_peer(fd);
    sd_bus *sd = start_connection(socket, fd);
    int r = 0;
    ApmigBus *bus =
        sd ? apmig_bus_new(socket->server, sd, socket->event, QUEUE_MAX, on_lost, socket, &r) : NULL;

    if (!bus) {
        if (pidfd >= 0)
            close(pidfd);
        return;
    }
    bus->peer = apmig_peer_new(bus, NULL);
    bus->peer->identified = TRUE;
    bus->peer->pidfd = pidfd;
    bus->peer->uid = credentials->uid;
    bus->peer->pid = (guint32)MAX(credentials->pid, 0);
    g_ptr_array_add(socket->connections, bus);
    r = sd_bus_match_signal(sd, NULL, "org.freedesktop.DBus.Local", NULL, "org.freedesktop.DBus.Local",
                            "Connected", on_begun, bus);
    if (r >= 0)
        r = apmig_tree_register(socket->server, sd);
    if (r < 0)
        close_connection(socket, bus);
}

/* The mode lets in apmigd's own user as well: it has no business here. */
static gboolean
on_connection(gint listening, GIOCondition condition, gpointer user_data)
{
    ApmigPrivateSocket *socket = user_data;
    struct ucred credentials = {.uid = (uid_t)-1};
    socklen_t length = sizeof(credentials);
    int fd;

    if (!make_room(socket)) {
        socket->listen_id = 0;
        return G_SOURCE_REMOVE;
    }
    fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return G_SOURCE_CONTINUE;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0 || credentials.uid != 0)
        close(fd);
    else
        add_connection(socket, fd, &credentials);
    return G_SOURCE_CONTINUE;
}

/* --- the socket --------------------------------------------------------------------------------------- */

static gboolean
fail(const char *path, GError **error)
{
    int code = errno;

    g_set_error(error, G_IO_ERROR, g_io_error_from_errno(code), "Cannot listen on %s: %s.", path,
                g_strerror(code));
    return FALSE;
}

/* It takes its place when it is complete: whoever finds one can connect to it. */
static gboolean
open_socket(ApmigPrivateSocket *self, GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_autofree char *beside = g_strconcat(self->path, ".new", NULL);

    if (g_strlcpy(address.sun_path, beside, sizeof(address.sun_path)) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return fail(self->path, error);
    }
    self->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (self->fd < 0 || (unlink(beside) < 0 && errno != ENOENT) ||
        bind(self->fd, (struct sockaddr *)&address, sizeof(address)) < 0 || chmod(beside, 0600) < 0 ||
        listen(self->fd, SOMAXCONN) < 0 || rename(beside, self->path) < 0)
        return fail(self->path, error);
    return TRUE;
}

static gboolean
on_event_source_ended(gpointer user_data)
{
    return G_SOURCE_REMOVE;
}

ApmigPrivateSocket *
apmig_private_socket_new(ApmigServer *server, const char *path, GError **error)
{
    ApmigPrivateSocket *socket = g_new0(ApmigPrivateSocket, 1);
    int r = sd_event_new(&socket->event);

    socket->server = server;
    socket->fd = -1;
    socket->path = g_strdup(path);
    socket->connections = g_ptr_array_new();
    if (r < 0)
        errno = -r;
    if (r < 0 ? !fail(path, error) : !open_socket(socket, error)) {
        apmig_private_socket_free(socket);
        return NULL;
    }
    /* Before the public bus, and on a par with the answers of threads, which an admission waits for. */
    socket->source = apmig_event_source_new(socket->event);
    g_source_set_callback(socket->source, on_event_source_ended, socket, NULL);
    g_source_attach(socket->source, NULL);
    listen_again(socket);
    return socket;
}

void
apmig_private_socket_free(ApmigPrivateSocket *socket)
{
    if (!socket)
        return;
    if (socket->listen_id != 0) {
        g_source_remove(socket->listen_id);
        (void)unlink(socket->path);
    }
    while (socket->connections->len > 0)
        close_connection(socket, g_ptr_array_index(socket->connections, socket->connections->len - 1));
    if (socket->source) {
        g_source_destroy(socket->source);
        g_source_unref(socket->source);
    }
    if (socket->fd >= 0)
        close(socket->fd);
    sd_event_unref(socket->event);
    g_ptr_array_unref(socket->connections);
    g_free(socket->path);
    g_free(socket);
}
