/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading that sd-bus would answer before anybody is asked whether the caller may. It is taken out of sd-bus' hands, is a call
 * with the limits of every other, and goes on over the loopback once its caller may read. From then on nothing of his is
 * held back.
 */
#include "server/private.h"

#include <string.h>

/* Of the path of an object and the names in the arguments together; no name of D-Bus is longer than 255. */
#define TEXTS_MAX_BYTES 1024

/* What is kept for a call that waits is no more than it needs. Arguments of other types are none of these methods'. */
static gboolean
is_short(sd_bus_message *message)
{
    gsize length = strlen(sd_bus_message_get_path(message));
    const char *text;

    while (sd_bus_message_read(message, "s", &text) > 0)
        length += strlen(text);
    if (sd_bus_message_at_end(message, TRUE) <= 0)
        return FALSE;
    (void)sd_bus_message_rewind(message, TRUE);
    return length <= TEXTS_MAX_BYTES;
}

/* Returns: negative errno on failure */
static int
read_objects(ApmigServer *server, sd_bus_message *message, sd_bus_message **ret_reply)
{
    int r = 0;

    if (!server->loopback)
        server->loopback = apmig_loopback_new(server, &r);
    if (server->loopback)
        r = apmig_loopback_call(server->loopback, message, ret_reply);
    if (r < 0)
        g_clear_pointer(&server->loopback, apmig_loopback_free);
    return r;
}

static void
answer(ApmigCall *call, const GError *denied)
{
    g_autoptr(sd_bus_message) answered = NULL;
    g_autoptr(sd_bus_message) reply = NULL;
    int r = read_objects(call->server, call->message, &answered);
    const sd_bus_error *failure = r < 0 ? NULL : sd_bus_message_get_error(answered);

    if (failure)
        r = sd_bus_message_new_method_error(call->message, &reply, failure);
    else if (r >= 0)
        r = sd_bus_message_new_method_return(call->message, &reply);
    if (r >= 0 && !failure)
        r = sd_bus_message_copy(reply, answered, TRUE);
    apmig_call_send(call, reply, r);
}

int
apmig_hold_back(ApmigServer *server, sd_bus_message *message)
{
    const ApmigMethodRule *rule = apmig_method_rule(message);
    const ApmigPeer *peer;

    if (!rule || !rule->is_at_once)
        return 0;
    if (!is_short(message))
        return sd_bus_reply_method_errorf(message, SD_BUS_ERROR_INVALID_ARGS,
                                          "There is nothing here that has so long a name, or %s takes other "
                                          "arguments.",
                                          rule->member);
    peer = apmig_peer_of(server, message);
    if (!peer || apmig_peer_may_read(peer))
        return 0;
    return apmig_call_start(server, message, NULL, NULL, answer);
}
