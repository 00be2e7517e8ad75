/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who may read. By default everybody may, and a site closes that by a rule of polkit's, which is asked once for each connection
 * to the bus; root is never asked about.
 *
 * Where there is no polkit, nobody can have closed reading, and what is everybody's by default is not lost with it. Where it
 * is there and gives no answer, it may have been closed, and only root reads until it answers.
 */
#include "server/private.h"

gboolean
apmig_peer_may_read(const ApmigPeer *peer)
{
    if (peer->identified && peer->uid == 0)
        return TRUE;
    return peer->reading_is_decided && !peer->reading_denied;
}

static void
on_answered(const GError *denied, gpointer user_data)
{
    ApmigPeer *peer = user_data;
    ApmigAuthorization *inspection = g_steal_pointer(&peer->inspection);
    ApmigPolkitState state = apmig_authorization_polkit_state(inspection);

    if (state == APMIG_POLKIT_ABSENT)
        denied = NULL;
    if (state != APMIG_POLKIT_FAILED) {
        peer->reading_is_decided = TRUE;
        peer->reading_denied = denied ? g_error_copy(denied) : NULL;
    }
    peer->inspected_func(peer, denied);
    apmig_authorization_free(inspection);
}

gboolean
apmig_peer_inspect(ApmigPeer *peer, sd_bus_message *message, ApmigPeerFunc func, GError **error)
{
    const ApmigAuthorizationDetails details = {0};

    peer->inspected_func = func;
    if (!peer->inspection)
        peer->inspection =
            apmig_authorization_new(message, APMIG_ACTION_INSPECT, &details, on_answered, peer, error);
    return peer->inspection != NULL;
}
