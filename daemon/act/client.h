/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Asking apmigd-act, the process that may change guests at libvirt. Main loop's thread; never blocks.
 */
#pragma once

#include "libvirt/actor.h"

#define APMIG_ACT_SOCKET "/run/apmigd-act.sock"

/**
 * apmig_act_client_new:
 * @socket_path: where systemd listens for it
 *
 * Connects when there is something to ask, and stays connected for a while: with a connection there it does not end. Where
 * nobody listens the result is %APMIG_ACT_UNAVAILABLE, with the remedy. If it does not answer in time, or ends without an
 * answer, the result is %APMIG_ACT_FAILED: it may have acted or not.
 *
 * Returns: (transfer full): to be freed by itself
 */
ApmigActor *apmig_act_client_new(const char *socket_path);
