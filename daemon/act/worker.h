/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests carried out in threads, each on a connection to libvirt of its own: aborts wait for no stamp, and a guest that
 * hangs keeps no other waiting until there are as many as lanes. Main loop's thread; needs
 * apmig_libvirt_use_main_loop() before.
 */
#pragma once

#include "act/carry-out.h"

typedef struct ApmigActWorker ApmigActWorker;

/* @task: carried out, or failed for want of a connection; borrowed */
typedef void (*ApmigActDoneFunc)(const ApmigActTask *task, gpointer user_data);

/* Connects when there is something to do. */
ApmigActWorker *apmig_act_worker_new(const char *uri);
/* @worker: (nullable): no callback after it. Ends within a second even when calls hang. */
void apmig_act_worker_free(ApmigActWorker *worker);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigActWorker, apmig_act_worker_free)

/**
 * apmig_act_worker_run:
 * @task: (transfer full)
 * @func: called later, unless the worker is freed before
 * @free_data: (nullable): called after @func, or instead of it
 */
void apmig_act_worker_run(ApmigActWorker *worker, ApmigActTask *task, ApmigActDoneFunc func,
                          gpointer user_data, GDestroyNotify free_data);
