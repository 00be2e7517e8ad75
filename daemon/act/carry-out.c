/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "act/carry-out.h"

#include <stdlib.h>

#include <libvirt/virterror.h>

#include "guest/stamp-xml.h"
#include "libvirt/domain.h"

/* Whatever libvirt waits for it waits for before it looks at the clock; so long at most, on a host that is overloaded, its
 * answer is under way then. */
#define ANSWER_USEC G_USEC_PER_SEC
/* Both ends of the time that it tells are cut to whole milliseconds. */
#define ROUNDING_USEC G_TIME_SPAN_MILLISECOND

G_STATIC_ASSERT(APMIG_ACT_MAX_STAMP_BYTES == APMIG_STAMP_MAX_BYTES);

ApmigActTask *
apmig_act_task_new(const ApmigActRequest *request, char *stamp)
{
    ApmigActTask *task = g_new0(ApmigActTask, 1);

    task->request = *request;
    task->stamp = stamp;
    task->reply = (ApmigActReply)APMIG_ACT_REPLY_INIT;
    task->reply.number = request->number;
    return task;
}

void
apmig_act_task_free(ApmigActTask *task)
{
    if (!task)
        return;
    g_free(task->stamp);
    g_free(task->guest);
    g_free(task);
}

/* --- the outcome --------------------------------------------------------------------------------- */

/* Returns: FALSE: so whoever finds that nothing is to be done can return it. */
static gboolean
end(ApmigActTask *task, ApmigActResult result, const char *message)
{
    apmig_act_reply_set(&task->reply, result, message);
    return FALSE;
}

/* With what libvirt said last: that there is no such guest is no failure. */
static gboolean
end_with_error(ApmigActTask *task)
{
    const gboolean is_gone = virGetLastErrorCode() == VIR_ERR_NO_DOMAIN;
    g_autofree char *message = apmig_libvirt_error_message();

    return end(task, is_gone ? APMIG_ACT_NOTHING : APMIG_ACT_FAILED, message);
}

/* --- what has to be so --------------------------------------------------------------------------- */

/* Right before anything is changed. */
static gboolean
is_in_time(ApmigActTask *task)
{
    const gint64 now = g_get_monotonic_time();

    if (task->request.requested_at > now)
        return end(task, APMIG_ACT_REFUSED, "the request is of a time to come");
    return now <= task->request.deadline ||
           end(task, APMIG_ACT_REFUSED, "it is too late: the request's deadline has passed");
}

/* The XML of a guest that comes in must not be asked for. */
static gboolean
has_xml(ApmigActTask *task, virDomainPtr domain)
{
    g_autoptr(ApmigLibvirtReading) reading = g_new0(ApmigLibvirtReading, 1);
    ApmigDomainState state;

    if (!apmig_domain_read_state(domain, &state))
        return end_with_error(task);
    if (!apmig_domain_may_come_in(&state))
        return TRUE;
    apmig_domain_read_job(domain, &state, reading);
    if (reading->job == APMIG_JOB_INCOMING)
        return end(task, APMIG_ACT_NOTHING,
                   "the migration is an incoming one, which only its source can abort");
    return reading->job != APMIG_JOB_UNKNOWN || end(task, APMIG_ACT_FAILED, reading->error);
}

static gboolean
is_affected(ApmigActTask *task, virDomainPtr domain)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigGuest) guest = apmig_domain_read_guest(domain, &error);

    if (!guest)
        return end(task, virGetLastErrorCode() == VIR_ERR_NO_DOMAIN ? APMIG_ACT_NOTHING : APMIG_ACT_FAILED,
                   error->message);
    return guest->affected == APMIG_AFFECTED_YES ||
           end(task, APMIG_ACT_REFUSED,
               "the guest is not affected: it has no AP queues, and declares no keys");
}

/* --- ending a migration -------------------------------------------------------------------------- */

static const char *
describe_operation(int operation)
{
    switch (operation) {
    case VIR_DOMAIN_JOB_OPERATION_START:
        return "a start";
    case VIR_DOMAIN_JOB_OPERATION_SAVE:
        return "a save";
    case VIR_DOMAIN_JOB_OPERATION_RESTORE:
        return "a restore";
    case VIR_DOMAIN_JOB_OPERATION_SNAPSHOT:
    case VIR_DOMAIN_JOB_OPERATION_SNAPSHOT_REVERT:
        return "a snapshot";
    case VIR_DOMAIN_JOB_OPERATION_DUMP:
        return "a dump";
    case VIR_DOMAIN_JOB_OPERATION_BACKUP:
        return "a backup";
    default:
        return "an operation";
    }
}

static gboolean
end_with_other_job(ApmigActTask *task, int operation)
{
    g_autofree char *message =
        g_strdup_printf("the guest's job is %s, not a migration to another host, and is left alone",
                        describe_operation(operation));

    return end(task, APMIG_ACT_NOTHING, message);
}

/* @asked_at: monotonic, when the question was put. Refuses only what began later for sure: a request is put because
 * somebody has seen the migration, mostly just before. */
static gboolean
is_the_one_meant(ApmigActTask *task, const ApmigLibvirtReading *reading, gint64 asked_at)
{
    const gint64 told_at = MAX(asked_at, g_get_monotonic_time() - ANSWER_USEC);
    const gint64 earliest = told_at - (gint64)reading->progress.elapsed_usec - ROUNDING_USEC;

    return earliest <= task->request.requested_at ||
           end(task, APMIG_ACT_REFUSED, "the migration began after the request, which does not mean it");
}

static gboolean
is_abortable(ApmigActTask *task, virDomainPtr domain)
{
    g_autoptr(ApmigLibvirtReading) reading = g_new0(ApmigLibvirtReading, 1);
    const gint64 asked_at = g_get_monotonic_time();

    apmig_domain_read_job(domain, NULL, reading);
    switch (reading->job) {
    case APMIG_JOB_OUTGOING:
        break;
    case APMIG_JOB_OTHER:
        return end_with_other_job(task, reading->operation);
    case APMIG_JOB_INCOMING:
        return end(task, APMIG_ACT_NOTHING,
                   "the migration is an incoming one, which only its source can abort");
    case APMIG_JOB_NONE:
        return end(task, APMIG_ACT_NOTHING, "the guest has no job");
    case APMIG_JOB_GONE:
        return end(task, APMIG_ACT_NOTHING, "the guest is not active here");
    case APMIG_JOB_UNKNOWN:
        return end(task, APMIG_ACT_FAILED, reading->error);
    }
    if (reading->postcopy)
        return end(task, APMIG_ACT_TOO_LATE,
                   "the migration is in post-copy, the guest already runs at the destination");
    if (reading->is_over)
        return end(task, APMIG_ACT_NOTHING, "the transfer has ended already, and libvirt cleans up after it");
    return is_the_one_meant(task, reading, asked_at);
}

static void
abort_migration(ApmigActTask *task, virDomainPtr domain)
{
    g_autofree char *refusal = NULL;
    int code;

    if (!has_xml(task, domain) || !is_affected(task, domain) || !is_abortable(task, domain) ||
        !is_in_time(task))
        return;
    if (virDomainAbortJob(domain) == 0) {
        end(task, APMIG_ACT_DONE, "libvirt took the request to abort the migration");
        return;
    }
    code = virGetLastErrorCode();
    refusal = apmig_libvirt_error_message();
    /* That the job ended and that it reached post-copy have the same code; its text is translated. */
    if ((code != VIR_ERR_NO_DOMAIN && code != VIR_ERR_OPERATION_INVALID) || is_abortable(task, domain))
        end(task, APMIG_ACT_FAILED, refusal);
}

/* --- stamps -------------------------------------------------------------------------------------- */

static gboolean
is_writable(ApmigActTask *task, virDomainPtr domain)
{
    g_autoptr(ApmigLibvirtReading) reading = g_new0(ApmigLibvirtReading, 1);

    apmig_domain_read_job(domain, NULL, reading);
    switch (reading->job) {
    case APMIG_JOB_NONE:
        return TRUE;
    case APMIG_JOB_GONE:
        return end(task, APMIG_ACT_NOTHING, "the guest is not active here");
    case APMIG_JOB_UNKNOWN:
        return end(task, APMIG_ACT_FAILED, reading->error);
    case APMIG_JOB_OUTGOING:
    case APMIG_JOB_INCOMING:
    case APMIG_JOB_OTHER:
        break;
    }
    return end(task, APMIG_ACT_BUSY, "the guest has a job, during which its metadata cannot be written");
}

/* @xml: (nullable): NULL: takes it away */
static void
set_stamp(ApmigActTask *task, virDomainPtr domain, const char *xml)
{
    if (!is_writable(task, domain) || !is_in_time(task))
        return;
    if (virDomainSetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, xml, xml ? APMIG_STAMP_PREFIX : NULL,
                             APMIG_STAMP_NAMESPACE, VIR_DOMAIN_AFFECT_LIVE) == 0) {
        end(task, APMIG_ACT_DONE, xml ? "the stamp is written" : "the stamp is taken away");
        return;
    }
    end_with_error(task);
    if (task->reply.result == APMIG_ACT_FAILED && virDomainIsActive(domain) == 0)
        end(task, APMIG_ACT_NOTHING, "the guest is not active here");
}

static gboolean
is_a_stamp(ApmigActTask *task)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigStamp) stamp = apmig_stamp_from_xml(task->stamp, &error);
    g_autofree char *message = !stamp ? g_strdup_printf("it is not a stamp: %s", error->message) : NULL;

    return stamp || end(task, APMIG_ACT_REFUSED, message);
}

static void
write_stamp(ApmigActTask *task, virDomainPtr domain)
{
    if (is_a_stamp(task) && is_writable(task, domain) && is_affected(task, domain))
        set_stamp(task, domain, task->stamp);
}

static void
remove_stamp(ApmigActTask *task, virDomainPtr domain)
{
    char *there;

    if (!is_writable(task, domain))
        return;
    there = virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, APMIG_STAMP_NAMESPACE,
                                 VIR_DOMAIN_AFFECT_LIVE);
    if (there)
        set_stamp(task, domain, NULL);
    else if (virGetLastErrorCode() == VIR_ERR_NO_DOMAIN_METADATA)
        end(task, APMIG_ACT_NOTHING, "the guest has no stamp");
    else
        end_with_error(task);
    free(there); /* libvirt's, from malloc() */
}

/* --- all of it ----------------------------------------------------------------------------------- */

static void
change_guest(ApmigActTask *task, virDomainPtr domain)
{
    task->guest = g_strdup(virDomainGetName(domain));
    switch ((ApmigActVerb)task->request.verb) {
    case APMIG_ACT_ABORT:
        abort_migration(task, domain);
        break;
    case APMIG_ACT_WRITE_STAMP:
        write_stamp(task, domain);
        break;
    case APMIG_ACT_REMOVE_STAMP:
        remove_stamp(task, domain);
        break;
    case APMIG_ACT_READY:
        break;
    }
}

void
apmig_act_carry_out(ApmigLibvirtConnection *connection, ApmigActTask *task)
{
    g_autoptr(virDomain) domain = NULL;

    if (task->request.verb == APMIG_ACT_READY) {
        end(task, APMIG_ACT_DONE, "connected to libvirt");
        return;
    }
    if (!is_in_time(task))
        return;
    domain = apmig_libvirt_connection_find(connection, task->request.uuid);
    if (domain)
        change_guest(task, domain);
    else
        end_with_error(task);
    if (task->reply.result == APMIG_ACT_NOTHING) /* it may be gone: nobody tells when it is */
        apmig_libvirt_connection_forget(connection, task->request.uuid);
}
