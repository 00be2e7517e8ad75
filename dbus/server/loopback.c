/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A connection of ours to ourselves. sd-bus answers for properties and objects from within itself when a call comes in, and
 * has no way to be given one again that was held back: over this connection it comes in a second time.
 *
 * Both ends are served here and at once. What they say to each other lies in the kernel as soon as it is said, so that one of
 * them always goes on until the reply is there.
 */
#include "server/private.h"

#include <errno.h>
#include <sys/socket.h>
#include <systemd/sd-id128.h>
#include <unistd.h>

struct ApmigLoopback {
    sd_bus *caller;
    sd_bus *objects;
};

/* Returns: negative errno on failure */
static int
turn(ApmigLoopback *loopback)
{
    int caller = sd_bus_process(loopback->caller, NULL);
    int objects = caller < 0 ? caller : sd_bus_process(loopback->objects, NULL);

    if (objects < 0)
        return objects;
    return caller == 0 && objects == 0 ? -EIO : 0;
}

/* @fd: (transfer full): also on failure */
static int
take_socket(sd_bus **bus, int fd)
{
    int r = sd_bus_new(bus);

    if (r >= 0)
        r = sd_bus_set_fd(*bus, fd, fd);
    if (r < 0)
        close(fd);
    return r;
}

static int
start(ApmigLoopback *loopback, ApmigServer *server)
{
    sd_id128_t id;
    int r = sd_id128_randomize(&id);

    if (r >= 0)
        r = sd_bus_set_server(loopback->objects, TRUE, id);
    if (r >= 0)
        r = sd_bus_start(loopback->objects);
    if (r >= 0)
        r = sd_bus_start(loopback->caller);
    if (r >= 0)
        r = apmig_tree_register(server, loopback->objects);
    return r;
}

ApmigLoopback *
apmig_loopback_new(ApmigServer *server, int *ret_error)
{
    ApmigLoopback *loopback = g_new0(ApmigLoopback, 1);
    int fds[2];
    int r = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0 ? -errno : 0;

    if (r >= 0) {
        int other = take_socket(&loopback->objects, fds[1]);

        r = take_socket(&loopback->caller, fds[0]);
        r = other < 0 ? other : r;
    }
    if (r >= 0)
        r = start(loopback, server);
    if (r >= 0)
        return loopback;
    apmig_loopback_free(loopback);
    *ret_error = r;
    return NULL;
}

static int
on_reply(sd_bus_message *reply, void *user_data, sd_bus_error *ret_error)
{
    *(sd_bus_message **)user_data = sd_bus_message_ref(reply);
    return 1;
}

/* Returns: negative errno on failure */
static int
copy_call(ApmigLoopback *loopback, sd_bus_message *call, sd_bus_message **ret_copy)
{
    int r = sd_bus_message_new_method_call(loopback->caller, ret_copy, APMIG_BUS_NAME,
                                           sd_bus_message_get_path(call), sd_bus_message_get_interface(call),
                                           sd_bus_message_get_member(call));

    if (r >= 0)
        r = sd_bus_message_rewind(call, TRUE);
    return r < 0 ? r : sd_bus_message_copy(*ret_copy, call, TRUE);
}

int
apmig_loopback_call(ApmigLoopback *loopback, sd_bus_message *call, sd_bus_message **ret_reply)
{
    g_autoptr(sd_bus_message) copy = NULL;
    sd_bus_slot *slot = NULL;
    int r = copy_call(loopback, call, &copy);

    *ret_reply = NULL;
    if (r >= 0)
        r = sd_bus_call_async(loopback->caller, &slot, copy, on_reply, ret_reply, UINT64_MAX);
    while (r >= 0 && !*ret_reply)
        r = turn(loopback);
    sd_bus_slot_unref(slot);
    return r;
}

void
apmig_loopback_free(ApmigLoopback *loopback)
{
    if (!loopback)
        return;
    sd_bus_close_unref(loopback->caller);
    sd_bus_close_unref(loopback->objects);
    g_free(loopback);
}
