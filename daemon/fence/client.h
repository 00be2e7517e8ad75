/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Asking apmigd-fence, the helper with capabilities, to act on a QEMU. Main loop's thread; never blocks.
 */
#pragma once

#include "fence/protocol.h"

#include <gio/gio.h>

#define APMIG_FENCE_SOCKET "/run/apmigd-fence.sock"
/* It ends itself 2 s after its start; the rest is for systemd to start it, which takes long on an overloaded host. */
#define APMIG_FENCE_DEADLINE_USEC (6 * G_USEC_PER_SEC)

/* @reply: borrowed. */
typedef void (*ApmigFenceFunc)(const ApmigFenceReply *reply, gpointer user_data);

/**
 * apmig_fence_call_async:
 * @socket_path: where systemd listens for the helper
 * @request: copied
 * @cancellable: (nullable): once cancelled, @func is never called; the helper may act nonetheless
 * @func: called exactly once otherwise, not from within this call, at the latest after %APMIG_FENCE_DEADLINE_USEC
 *
 * Without a helper (nobody listens at @socket_path) the result is %APMIG_FENCE_UNAVAILABLE. If it does not answer
 * in time, or ends without an answer, it is %APMIG_FENCE_FAILED with both states unknown: it may have acted or not.
 */
void apmig_fence_call_async(const char *socket_path, const ApmigFenceRequest *request,
                            GCancellable *cancellable, ApmigFenceFunc func, gpointer user_data);
