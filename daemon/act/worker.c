/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "act/worker.h"

#include "base/mailbox.h"
#include "libvirt/pool.h"

#define MINUTE (60 * G_USEC_PER_SEC)
#define MSEC   G_TIME_SPAN_MILLISECOND

#define END_WAIT_USEC (400 * MSEC) /* for calls under way to return */

enum {
    STEPS,
    STAMPS,
    N_POOLS
};

/* An abort takes two milliseconds, a stamp up to forty; a guest that hangs takes 30 s, and so many may. */
static const ApmigLibvirtLanes lanes[N_POOLS] = {
    [STEPS] = {"act-step", APMIG_LIBVIRT_FULL, 1, 16, 20 * MSEC, MINUTE},
    [STAMPS] = {"act-stamp", APMIG_LIBVIRT_FULL, 1, 16, 100 * MSEC, MINUTE},
};

/* Counted by g_atomic_rc_box: one reference is the owner's, and one each call's. */
struct ApmigActWorker {
    ApmigLibvirtPool *pools[N_POOLS]; /* NULL: freed */
};

typedef struct {
    ApmigActWorker *worker;
    ApmigActTask *task;
    ApmigActDoneFunc func;
    gpointer user_data;
    GDestroyNotify free_data;
} Call;

static void
on_done(gpointer data)
{
    Call *call = data;

    if (call->worker->pools[0])
        call->func(call->task, call->user_data);
    if (call->free_data)
        call->free_data(call->user_data);
    apmig_act_task_free(call->task);
    g_atomic_rc_box_release(call->worker);
    g_free(call);
}

static void
make_call(ApmigLibvirtConnection *connection, const GError *error, gpointer data)
{
    Call *call = data;

    if (connection)
        apmig_act_carry_out(connection, call->task);
    else
        apmig_act_reply_set(&call->task->reply, APMIG_ACT_FAILED, error->message);
    apmig_post(on_done, call, NULL);
}

void
apmig_act_worker_run(ApmigActWorker *worker, ApmigActTask *task, ApmigActDoneFunc func, gpointer user_data,
                     GDestroyNotify free_data)
{
    const gboolean is_step = task->request.verb == APMIG_ACT_ABORT || task->request.verb == APMIG_ACT_READY;
    Call *call = g_new(Call, 1);

    *call = (Call){g_atomic_rc_box_acquire(worker), task, func, user_data, free_data};
    apmig_libvirt_pool_run(worker->pools[is_step ? STEPS : STAMPS], make_call, call);
}

ApmigActWorker *
apmig_act_worker_new(const char *uri)
{
    ApmigActWorker *worker = g_atomic_rc_box_new0(ApmigActWorker);

    for (guint i = 0; i < N_POOLS; i++)
        worker->pools[i] = apmig_libvirt_pool_new(uri, &lanes[i]);
    return worker;
}

void
apmig_act_worker_free(ApmigActWorker *worker)
{
    const gint64 limit = g_get_monotonic_time() + END_WAIT_USEC;

    if (!worker)
        return;
    for (guint i = 0; i < N_POOLS; i++)
        apmig_libvirt_pool_close(worker->pools[i]);
    for (guint i = 0; i < N_POOLS; i++)
        apmig_libvirt_pool_free(g_steal_pointer(&worker->pools[i]), limit);
    g_atomic_rc_box_release(worker);
}
