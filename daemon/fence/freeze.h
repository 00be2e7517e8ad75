/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stopping every task of a process by ptrace(2) for a moment, without a trace: it is not signalled, a stop by
 * SIGSTOP stays one, signals on their way arrive afterwards. The kernel lets all tasks run on when the thread that
 * froze them ends, however it ends. One thread, the same all the time.
 */
#pragma once

#include "fence/protocol.h"

#include <sys/types.h>

typedef struct ApmigFreeze ApmigFreeze;

/**
 * apmig_freeze_begin:
 * @proc: a descriptor of /proc/PID
 * @proc_root: a descriptor of /proc, for the reason of a refusal
 * @limit_usec: how long it may take until every task has stopped
 * @reply: on failure gets %APMIG_FENCE_FAILED and a sentence that names the obstacle
 *
 * Once it returns, no task of the process runs or is within a system call. On failure every task that has stopped
 * runs again; one that has not (it is in an uninterruptible sleep) is let go by the kernel when this thread ends.
 *
 * Returns: (transfer full) (nullable): free with apmig_freeze_end()
 */
ApmigFreeze *apmig_freeze_begin(int proc, int proc_root, gint64 limit_usec, ApmigFenceReply *reply);

/* Lets the process run on; one that was killed meanwhile ends for its parent when this thread has ended. Returns: how
 * long any of its tasks was stopped, usec. */
gint64 apmig_freeze_end(ApmigFreeze *freeze);

guint apmig_freeze_count_tasks(const ApmigFreeze *freeze);
