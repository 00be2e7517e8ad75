/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Work in a process of its own, for as long as one is ready to wait. What does not come to its end in time is killed,
 * and not waited for: in the kernel it may sleep on, in a state in which no signal ends it. The process has to have one
 * thread, as this one has.
 */
#pragma once

#include "fence/protocol.h"

typedef enum {
    APMIG_LIMITED_DONE,
    APMIG_LIMITED_LATE, /* it was killed, and perhaps is still there; or goes on, as it said that it has to */
    APMIG_LIMITED_DIED, /* it ended otherwise */
} ApmigLimitedResult;

#define APMIG_LIMITED_BEGIN_USEC (500 * 1000)

/* In the process: @reply is a copy. */
typedef void (*ApmigLimitedFunc)(ApmigFenceReply *reply, gpointer user_data);

/**
 * apmig_limited_run:
 * @reply: gets what @func has made of it once that is done; else it is left alone
 * @since: (nullable): in memory that both share: the time, as of g_get_monotonic_time(), from which the limit counts; while it
 *   is 0 the process has not come to that, and has %APMIG_LIMITED_BEGIN_USEC to do so
 * @keep_fd: a descriptor that the process keeps open until it is gone and this one closes; -1: none
 *
 * The process does not hold the connection, so that its end is seen by whoever asked. It ends with this one.
 *
 * Returns: what became of it; with %APMIG_LIMITED_DONE it is gone.
 */
ApmigLimitedResult apmig_limited_run(ApmigFenceReply *reply, gint64 limit_usec, const gint64 *since,
                                     int keep_fd, ApmigLimitedFunc func,
                                     gpointer user_data) G_GNUC_WARN_UNUSED_RESULT;

/* In the process, with its @reply: from now on it is not killed, neither at its limit nor with whoever waits for it, because
 * what it begins it has to bring to an end. */
void apmig_limited_go_on(ApmigFenceReply *reply);
