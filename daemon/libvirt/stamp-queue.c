/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/stamp-queue.h"

typedef struct {
    guint64 op; /* 0: stamps are taken away */
    char *guest;
    ApmigStampOrder *order;
    ApmigStampsRemovedFunc func;
    gpointer user_data;
} Job;

struct ApmigStampQueue {
    ApmigHypervisor *hypervisor;
    GQueue jobs; /* of Job: waiting */
    Job *job;    /* under way */
};

static void
job_free(Job *job)
{
    if (!job)
        return;
    g_free(job->guest);
    apmig_stamp_order_free(job->order);
    g_free(job);
}

ApmigStampQueue *
apmig_stamp_queue_new(ApmigHypervisor *hypervisor)
{
    ApmigStampQueue *queue = g_new0(ApmigStampQueue, 1);

    queue->hypervisor = hypervisor;
    g_queue_init(&queue->jobs);
    return queue;
}

void
apmig_stamp_queue_free(ApmigStampQueue *queue)
{
    if (!queue)
        return;
    g_queue_clear_full(&queue->jobs, (GDestroyNotify)job_free);
    job_free(queue->job);
    g_free(queue);
}

static void
removed(guint n_removed, const GError *error, gpointer user_data)
{
    ApmigStampQueue *queue = user_data;
    ApmigStampsRemovedFunc func = queue->job->func;
    gpointer data = queue->job->user_data;

    apmig_stamp_queue_next(queue);
    func(n_removed, error, data);
}

static void
begin(ApmigStampQueue *queue)
{
    if (queue->job || g_queue_is_empty(&queue->jobs))
        return;
    queue->job = g_queue_pop_head(&queue->jobs);
    if (queue->job->op != 0)
        queue->hypervisor->stamp_guest(queue->hypervisor, queue->job->op, queue->job->guest,
                                       g_steal_pointer(&queue->job->order));
    else
        queue->hypervisor->remove_stamps(queue->hypervisor, queue->job->guest, removed, queue);
}

static void
add(ApmigStampQueue *queue, Job job)
{
    Job *kept = g_new(Job, 1);

    *kept = job;
    g_queue_push_tail(&queue->jobs, kept);
    begin(queue);
}

void
apmig_stamp_queue_write(ApmigStampQueue *queue, guint64 op, const char *uuid, ApmigStampOrder *order)
{
    add(queue, (Job){.op = op, .guest = g_strdup(uuid), .order = order});
}

void
apmig_stamp_queue_remove(ApmigStampQueue *queue, const char *guest, ApmigStampsRemovedFunc func,
                         gpointer user_data)
{
    add(queue, (Job){.guest = g_strdup(guest), .func = func, .user_data = user_data});
}

void
apmig_stamp_queue_next(ApmigStampQueue *queue)
{
    g_clear_pointer(&queue->job, job_free);
    begin(queue);
}

static void
fail(Job *job, const GError *error)
{
    if (job->func)
        job->func(0, error, job->user_data);
    job_free(job);
}

void
apmig_stamp_queue_lost(ApmigStampQueue *queue, const char *reason)
{
    g_autoptr(GError) error = g_error_new_literal(APMIG_ERROR, APMIG_ERROR_HYPERVISOR_UNAVAILABLE, reason);
    Job *job = g_steal_pointer(&queue->job);

    if (job)
        fail(job, error);
    while ((job = g_queue_pop_head(&queue->jobs)))
        fail(job, error);
}
