/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/changes.h"

#include <stdlib.h>

#include <libvirt/virterror.h>

#include "guest/stamp-xml.h"
#include "libvirt/domain.h"
#include "libvirt/guest-queues.h"

/* --- stamps -------------------------------------------------------------------------------------- */

/* Returns: DONE when there is nothing that could be written to; BUSY; FAILED with @ret_message, or without when the
 * metadata may be written. */
static ApmigStamping
check_writable(virDomainPtr domain, char **ret_message)
{
    g_autoptr(ApmigLibvirtReading) reading = g_new0(ApmigLibvirtReading, 1);

    apmig_domain_read_job(domain, NULL, reading);
    switch (reading->job) {
    case APMIG_JOB_GONE:
        return APMIG_STAMPING_DONE;
    case APMIG_JOB_OUTGOING:
    case APMIG_JOB_INCOMING:
    case APMIG_JOB_OTHER:
        return APMIG_STAMPING_BUSY;
    case APMIG_JOB_UNKNOWN:
        *ret_message = g_steal_pointer(&reading->error);
        break;
    case APMIG_JOB_NONE:
        break;
    }
    return APMIG_STAMPING_FAILED;
}

/* @xml: NULL: takes it away. Returns: -1 with libvirt's error set. */
static int
set_stamp(virDomainPtr domain, const char *xml)
{
    return virDomainSetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, xml, xml ? APMIG_STAMP_PREFIX : NULL,
                                APMIG_STAMP_NAMESPACE, VIR_DOMAIN_AFFECT_LIVE);
}

static ApmigStamping
write_stamp(virDomainPtr domain, const char *xml, char **ret_message)
{
    ApmigStamping result = check_writable(domain, ret_message);
    int code;

    if (result != APMIG_STAMPING_FAILED || *ret_message)
        return result;
    if (set_stamp(domain, xml) == 0)
        return APMIG_STAMPING_DONE;
    code = virGetLastErrorCode();
    *ret_message = apmig_libvirt_error_message();
    return code == VIR_ERR_NO_DOMAIN || virDomainIsActive(domain) == 0 ? APMIG_STAMPING_DONE
                                                                       : APMIG_STAMPING_FAILED;
}

ApmigStamping
apmig_libvirt_stamp(ApmigLibvirtConnection *connection, const char *uuid, ApmigSysfs *sysfs,
                    ApmigStampHost *host, const ApmigStampOrder *order, ApmigOtherKeys **ret_other_keys,
                    char **ret_message)
{
    g_autoptr(virDomain) domain = apmig_libvirt_connection_find(connection, uuid);
    g_autoptr(ApmigGuest) guest = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *xml = NULL;
    ApmigStamping result;

    *ret_message = NULL;
    if (!domain) {
        *ret_message = apmig_libvirt_error_message();
        return virGetLastErrorCode() == VIR_ERR_NO_DOMAIN ? APMIG_STAMPING_DONE : APMIG_STAMPING_FAILED;
    }
    result = check_writable(domain, ret_message); /* an incoming guest's XML must not be asked for */
    if (result != APMIG_STAMPING_FAILED || *ret_message)
        return result;
    guest = apmig_domain_read_guest(domain, &error);
    if (!guest) {
        *ret_message = g_strdup(error->message);
        return APMIG_STAMPING_FAILED;
    }
    apmig_guest_read_queues(guest, sysfs);
    *ret_other_keys = apmig_stamp_find_other_keys(guest, order);
    if (apmig_stamp_compose(guest, host, order, &xml) == APMIG_STAMP_KEEP)
        return APMIG_STAMPING_DONE;
    return write_stamp(domain, xml, ret_message);
}

/* Returns: whether it has none any more. */
static gboolean
remove_stamp(virDomainPtr domain, guint *ret_removed, GError **error)
{
    g_autofree char *message = NULL;
    ApmigStamping result = check_writable(domain, &message);
    char *there = NULL;

    if (result == APMIG_STAMPING_FAILED && !message) {
        there = virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, APMIG_STAMP_NAMESPACE,
                                     VIR_DOMAIN_AFFECT_LIVE);
        if (!there && virGetLastErrorCode() == VIR_ERR_NO_DOMAIN_METADATA)
            return TRUE;
        free(there); /* libvirt's, from malloc() */
        result = write_stamp(domain, NULL, &message);
        *ret_removed += result == APMIG_STAMPING_DONE;
    }
    if (result == APMIG_STAMPING_BUSY)
        g_set_error(
            error, APMIG_ERROR, APMIG_ERROR_BUSY,
            "guest '%s' has a job, such as a migration, during which its metadata cannot be written: try again "
            "when it is over",
            virDomainGetName(domain));
    else if (result == APMIG_STAMPING_FAILED)
        g_set_error(error, APMIG_ERROR, APMIG_ERROR_HYPERVISOR_UNAVAILABLE,
                    "the metadata of guest '%s' cannot be written: %s", virDomainGetName(domain), message);
    return result == APMIG_STAMPING_DONE;
}

static gboolean
remove_all_stamps(ApmigLibvirtConnection *connection, guint *ret_removed, GError **error)
{
    virDomainPtr *domains = NULL;
    int n_domains = virConnectListAllDomains(apmig_libvirt_connection_handle(connection), &domains,
                                             VIR_CONNECT_LIST_DOMAINS_ACTIVE);
    gboolean all = TRUE;

    if (n_domains < 0) {
        apmig_domain_set_unavailable(error);
        return FALSE;
    }
    for (int i = 0; i < n_domains; i++) {
        all = remove_stamp(domains[i], ret_removed, all ? error : NULL) && all;
        virDomainFree(domains[i]);
    }
    free(domains); /* libvirt's, from malloc() */
    return all;
}

gboolean
apmig_libvirt_remove_stamps(ApmigLibvirtConnection *connection, const char *guest, guint *ret_removed,
                            GError **error)
{
    g_autoptr(virDomain) domain = NULL;

    *ret_removed = 0;
    if (*guest == '\0')
        return remove_all_stamps(connection, ret_removed, error);
    domain = apmig_libvirt_connection_look_up(connection, guest, error);
    return domain && remove_stamp(domain, ret_removed, error);
}

/* --- ending a migration -------------------------------------------------------------------------- */

static const char *
operation_name(int operation)
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

/* Returns: REQUESTED when the guest has a migration that may be aborted; else the outcome, with its clause. */
static ApmigStepOutcome
check_abortable(virDomainPtr domain, char **ret_message)
{
    g_autoptr(ApmigLibvirtReading) reading = g_new0(ApmigLibvirtReading, 1);

    apmig_domain_read_job(domain, NULL, reading);
    switch (reading->job) {
    case APMIG_JOB_OUTGOING:
        if (!reading->postcopy)
            return APMIG_STEP_REQUESTED;
        *ret_message = g_strdup("the migration is in post-copy, the guest already runs at the destination");
        return APMIG_STEP_NOT_ABORTABLE;
    case APMIG_JOB_OTHER:
        *ret_message =
            g_strdup_printf("the guest's job is %s, not a migration to another host, and is left alone",
                            operation_name(reading->operation));
        return APMIG_STEP_NO_JOB;
    case APMIG_JOB_INCOMING:
        *ret_message = g_strdup("the migration is an incoming one, which only its source can abort");
        return APMIG_STEP_NO_JOB;
    case APMIG_JOB_NONE:
        *ret_message = g_strdup("the guest has no job");
        return APMIG_STEP_NO_JOB;
    case APMIG_JOB_GONE:
        *ret_message = g_strdup("the guest is not active here");
        return APMIG_STEP_NO_JOB;
    case APMIG_JOB_UNKNOWN:
        break;
    }
    *ret_message = g_steal_pointer(&reading->error);
    return APMIG_STEP_FAILED;
}

ApmigStepOutcome
apmig_libvirt_abort(ApmigLibvirtConnection *connection, const char *uuid, char **ret_message)
{
    g_autoptr(virDomain) domain = apmig_libvirt_connection_find(connection, uuid);
    g_autofree char *refusal = NULL;
    ApmigStepOutcome outcome;
    int code;

    if (!domain) {
        outcome = virGetLastErrorCode() == VIR_ERR_NO_DOMAIN ? APMIG_STEP_NO_JOB : APMIG_STEP_FAILED;
        *ret_message = apmig_libvirt_error_message();
        return outcome;
    }
    outcome = check_abortable(domain, ret_message);
    if (outcome != APMIG_STEP_REQUESTED)
        return outcome;
    if (virDomainAbortJob(domain) == 0) {
        *ret_message = g_strdup("libvirt took the request to abort the migration");
        return APMIG_STEP_REQUESTED;
    }
    code = virGetLastErrorCode();
    refusal = apmig_libvirt_error_message();
    /* That the job ended and that it reached post-copy have the same code; its text is translated. */
    if (code == VIR_ERR_NO_DOMAIN || code == VIR_ERR_OPERATION_INVALID)
        outcome = check_abortable(domain, ret_message);
    if (outcome == APMIG_STEP_REQUESTED) {
        *ret_message = g_steal_pointer(&refusal);
        outcome = APMIG_STEP_FAILED;
    }
    return outcome;
}
