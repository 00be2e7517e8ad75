/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who speaks to us. The bus is asked once for each of its connections, and what it says is true until that has gone. */
#include "server/private.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <string.h>
#include <unistd.h>

#define FOLLOWED_MAX 1024 /* the hook asks once on a connection */

ApmigPeer *
apmig_peer_new(ApmigBus *bus, const char *name)
{
    ApmigPeer *peer = g_new0(ApmigPeer, 1);

    peer->bus = bus;
    peer->name = g_strdup(name);
    peer->pidfd = -1;
    g_queue_init(&peer->waiting);
    g_queue_init(&peer->readers);
    peer->followed = g_array_new(FALSE, FALSE, sizeof(ApmigCaller));
    return peer;
}

static void
close_pidfd(ApmigPeer *peer)
{
    if (peer->pidfd >= 0)
        close(peer->pidfd);
    peer->pidfd = -1;
}

void
apmig_peer_free(ApmigPeer *peer)
{
    close_pidfd(peer);
    apmig_requester_clear(&peer->requester);
    sd_bus_slot_unref(peer->question);
    g_queue_clear(&peer->waiting);
    apmig_authorization_free(peer->inspection);
    g_clear_error(&peer->reading_denied);
    g_queue_clear(&peer->readers);
    g_array_unref(peer->followed);
    g_free(peer->name);
    g_free(peer);
}

void
apmig_peer_follow(ApmigPeer *peer, ApmigCaller caller)
{
    if (peer->followed->len >= FOLLOWED_MAX) {
        apmig_core_caller_gone(peer->bus->server->core, g_array_index(peer->followed, ApmigCaller, 0));
        g_array_remove_index(peer->followed, 0);
    }
    g_array_append_val(peer->followed, caller);
}

ApmigPeer *
apmig_peer_of(ApmigServer *server, sd_bus_message *message)
{
    ApmigBus *bus = g_hash_table_lookup(server->buses, sd_bus_message_get_bus(message));
    const char *name = sd_bus_message_get_sender(message);
    ApmigPeer *peer;

    /* At the private socket a header's sender is what anybody may have written. */
    if (!bus || bus->peer)
        return bus ? bus->peer : NULL;
    if (!name)
        return NULL;
    peer = g_hash_table_lookup(server->peers, name);
    if (!peer) {
        peer = apmig_peer_new(bus, name);
        g_hash_table_insert(server->peers, peer->name, peer);
    }
    return peer;
}

/* --- identity --------------------------------------------------------------------------------------- */

/* The descriptor is the message's. */
static void
read_pidfd(sd_bus_message *reply, ApmigPeer *peer)
{
    int fd;

    close_pidfd(peer);
    if (sd_bus_message_read(reply, "v", "h", &fd) > 0)
        peer->pidfd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

/* The a{sv} of GetConnectionCredentials (D-Bus specification, "Message Bus Messages"); ProcessFD is there from dbus 1.15.8
 * and dbus-broker 35 on. Returns: whether it has the user. */
static gboolean
read_credentials(sd_bus_message *reply, ApmigPeer *peer)
{
    gboolean found = FALSE;
    const char *name;

    if (sd_bus_message_enter_container(reply, 'a', "{sv}") <= 0)
        return FALSE;
    while (sd_bus_message_enter_container(reply, 'e', "sv") > 0) {
        if (sd_bus_message_read(reply, "s", &name) <= 0)
            return FALSE;
        if (strcmp(name, "UnixUserID") == 0)
            found = sd_bus_message_read(reply, "v", "u", &peer->uid) > 0;
        else if (strcmp(name, "ProcessID") == 0)
            (void)sd_bus_message_read(reply, "v", "u", &peer->pid);
        else if (strcmp(name, "ProcessFD") == 0)
            read_pidfd(reply, peer);
        else
            (void)sd_bus_message_skip(reply, "v");
        if (sd_bus_message_exit_container(reply) < 0)
            return FALSE;
    }
    return found;
}

void
apmig_peer_look_up(ApmigPeer *peer)
{
    if (peer->looked_up)
        return;
    peer->looked_up = TRUE;
    peer->requester.uid = peer->uid;
    apmig_requester_look_up(&peer->requester, peer->pid, peer->pidfd);
    close_pidfd(peer);
}

static int
on_credentials(sd_bus_message *reply, void *user_data, sd_bus_error *ret_error)
{
    ApmigPeer *peer = user_data;
    g_autoptr(GError) error = NULL;

    peer->question = sd_bus_slot_unref(peer->question);
    if (sd_bus_message_is_method_error(reply, NULL) <= 0 && read_credentials(reply, peer)) {
        peer->identified = TRUE;
        /* At once: nobody who has many connections has us keep as many descriptors. */
        apmig_peer_look_up(peer);
    } else
        error = g_error_new(G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED,
                            "Not authorized: the bus does not say whose the call is.");
    peer->identified_func(peer, error);
    return 1;
}

/* Asynchronously: sd_bus_query_sender_creds() would wait for the bus. The user is the one that opened the
 * connection; the bus took it from the socket. */
int
apmig_peer_identify(ApmigPeer *peer, ApmigPeerFunc func)
{
    g_autoptr(sd_bus_message) question = NULL;
    int r;

    peer->identified_func = func;
    if (peer->question)
        return 0;
    r = sd_bus_message_new_method_call(peer->bus->bus, &question, "org.freedesktop.DBus",
                                       "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                       "GetConnectionCredentials");
    if (r >= 0)
        r = sd_bus_message_append(question, "s", peer->name);
    /* Without a limit: a bus that is flooded takes its time, and its answers would not come sooner for being given up, all
     * of them at once. */
    return r < 0 ? r
                 : sd_bus_call_async(peer->bus->bus, &peer->question, question, on_credentials, peer,
                                     UINT64_MAX);
}
