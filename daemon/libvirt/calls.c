/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/calls.h"

#include <stdlib.h>
#include <string.h>

#include <libvirt/virterror.h>

#include "libvirt/guest-queues.h"
#include "guest/stamp-xml.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(virDomain, virDomainFree)

/* The job of a domain as virDomainGetJobStats() has it. */
typedef struct {
    int type;      /* virDomainJobType */
    int operation; /* virDomainJobOperation; VIR_DOMAIN_JOB_OPERATION_UNKNOWN when it was not told */
    ApmigProgress progress;
} JobStats;

static void
set_unavailable(GError **error)
{
    g_autofree char *message = apmig_libvirt_error_message();

    g_set_error_literal(error, APMIG_ERROR, APMIG_ERROR_HYPERVISOR_UNAVAILABLE, message);
}

void
apmig_libvirt_reading_free(ApmigLibvirtReading *reading)
{
    if (!reading)
        return;
    g_clear_pointer(&reading->guest, apmig_guest_free);
    g_free(reading->error);
    g_free(reading);
}

/* --- the list ------------------------------------------------------------------------------------ */

static void
guest_name_clear(gpointer data)
{
    ApmigGuestName *guest = data;

    g_free((char *)guest->uuid);
    g_free((char *)guest->name);
}

GArray *
apmig_libvirt_list(ApmigLibvirtConnection *connection, GError **error)
{
    virDomainPtr *domains = NULL;
    int n_domains = virConnectListAllDomains(apmig_libvirt_connection_handle(connection), &domains,
                                             VIR_CONNECT_LIST_DOMAINS_ACTIVE);
    GArray *guests;

    if (n_domains < 0) {
        set_unavailable(error);
        return NULL;
    }
    guests = g_array_sized_new(FALSE, FALSE, sizeof(ApmigGuestName), n_domains);
    g_array_set_clear_func(guests, guest_name_clear);
    for (int i = 0; i < n_domains; i++) {
        char uuid[VIR_UUID_STRING_BUFLEN] = "";
        ApmigGuestName guest;

        virDomainGetUUIDString(domains[i], uuid);
        guest.uuid = g_strdup(uuid);
        guest.name = g_strdup(virDomainGetName(domains[i]));
        g_array_append_val(guests, guest);
        virDomainFree(domains[i]);
    }
    free(domains); /* libvirt's, from malloc() */
    return guests;
}

/* --- the job of one ------------------------------------------------------------------------------ */

static guint64
get_number(virTypedParameterPtr params, int n_params, const char *name)
{
    unsigned long long value = 0;

    virTypedParamsGetULLong(params, n_params, name, &value);
    return value;
}

/* Returns: -1 with libvirt's error set. */
static int
read_job(virDomainPtr domain, JobStats *ret_stats)
{
    virTypedParameterPtr params = NULL;
    int n_params = 0;
    JobStats stats = {.operation = VIR_DOMAIN_JOB_OPERATION_UNKNOWN};

    if (virDomainGetJobStats(domain, &stats.type, &params, &n_params, 0) < 0)
        return -1;
    virTypedParamsGetInt(params, n_params, VIR_DOMAIN_JOB_OPERATION, &stats.operation);
    stats.progress.data_total = get_number(params, n_params, VIR_DOMAIN_JOB_DATA_TOTAL);
    stats.progress.data_processed = get_number(params, n_params, VIR_DOMAIN_JOB_DATA_PROCESSED);
    stats.progress.data_remaining = get_number(params, n_params, VIR_DOMAIN_JOB_DATA_REMAINING);
    stats.progress.elapsed_usec = get_number(params, n_params, VIR_DOMAIN_JOB_TIME_ELAPSED) * 1000;
    virTypedParamsFree(params, n_params);
    *ret_stats = stats;
    return 0;
}

/* What a failed virDomainGetJobStats() says about the job. */
static ApmigJob
job_from_error(virDomainPtr domain)
{
    int code = virGetLastErrorCode();

    switch (code) {
    case VIR_ERR_NO_DOMAIN:
        return APMIG_JOB_GONE;
    case VIR_ERR_OPERATION_INVALID:
    case VIR_ERR_OPERATION_UNSUPPORTED:
    case VIR_ERR_NO_SUPPORT:
        break;
    default:
        return APMIG_JOB_UNKNOWN;
    }
    switch (virDomainIsActive(domain)) {
    case 0:
        return APMIG_JOB_GONE;
    case 1:
        if (code == VIR_ERR_OPERATION_UNSUPPORTED)
            return APMIG_JOB_INCOMING;
        return code == VIR_ERR_NO_SUPPORT ? APMIG_JOB_NONE : APMIG_JOB_UNKNOWN;
    default:
        return virGetLastErrorCode() == VIR_ERR_NO_DOMAIN ? APMIG_JOB_GONE : APMIG_JOB_UNKNOWN;
    }
}

static ApmigJob
job_from_stats(const JobStats *stats)
{
    if (stats->type == VIR_DOMAIN_JOB_NONE)
        return APMIG_JOB_NONE;
    switch (stats->operation) {
    case VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT:
        return APMIG_JOB_OUTGOING;
    case VIR_DOMAIN_JOB_OPERATION_UNKNOWN:
        return APMIG_JOB_UNKNOWN;
    default:
        return APMIG_JOB_OTHER;
    }
}

/* Returns: -1 with libvirt's error set. */
static int
read_state(virDomainPtr domain, ApmigLibvirtReading *reading)
{
    int state, reason;

    if (virDomainGetState(domain, &state, &reason, 0) < 0)
        return -1;
    reading->postcopy = (state == VIR_DOMAIN_PAUSED && (reason == VIR_DOMAIN_PAUSED_POSTCOPY ||
                                                        reason == VIR_DOMAIN_PAUSED_POSTCOPY_FAILED)) ||
#if LIBVIR_CHECK_VERSION(8, 5, 0)
                        (state == VIR_DOMAIN_RUNNING && reason == VIR_DOMAIN_RUNNING_POSTCOPY_FAILED) ||
#endif
                        (state == VIR_DOMAIN_RUNNING && reason == VIR_DOMAIN_RUNNING_POSTCOPY);
    /* qemuMigrationAnyConnectionClosed() leaves it so when it cannot know how the migration ended. */
    reading->stranded =
        reading->job == APMIG_JOB_NONE && state == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_MIGRATION;
    return 0;
}

/* Reads the job into @reading. @ret_operation: of a job that is there. Returns: whether the XML may be asked for. */
static gboolean
query_job(virDomainPtr domain, ApmigLibvirtReading *reading, int *ret_operation)
{
    JobStats stats = {.operation = VIR_DOMAIN_JOB_OPERATION_UNKNOWN};
    gboolean timed_out = FALSE;

    if (read_job(domain, &stats) == 0) {
        reading->job = job_from_stats(&stats);
        reading->progress = stats.progress;
        if (reading->job == APMIG_JOB_UNKNOWN)
            reading->error = g_strdup("libvirt does not say what the guest's job is");
    } else {
        /* It waited for the guest, so this is no incoming one, for which it would not have waited. */
        timed_out = virGetLastErrorCode() == VIR_ERR_OPERATION_TIMEOUT;
        reading->job = job_from_error(domain);
        if (reading->job == APMIG_JOB_UNKNOWN)
            reading->error = apmig_libvirt_error_message();
    }
    if ((reading->job == APMIG_JOB_OUTGOING || reading->job == APMIG_JOB_INCOMING ||
         reading->job == APMIG_JOB_NONE) &&
        read_state(domain, reading) < 0) {
        reading->job = virGetLastErrorCode() == VIR_ERR_NO_DOMAIN ? APMIG_JOB_GONE : APMIG_JOB_UNKNOWN;
        if (reading->job == APMIG_JOB_UNKNOWN)
            reading->error = apmig_libvirt_error_message();
    }
    *ret_operation = stats.operation;
    return timed_out || reading->job == APMIG_JOB_NONE || reading->job == APMIG_JOB_OUTGOING ||
           reading->job == APMIG_JOB_OTHER;
}

/* --- what its XML says --------------------------------------------------------------------------- */

/* @flags: of virDomainGetXMLDesc() */
static ApmigGuest *
read_description(virDomainPtr domain, guint flags, GError **error)
{
    char *xml = virDomainGetXMLDesc(domain, flags);
    ApmigGuest *guest;

    if (!xml) {
        set_unavailable(error);
        return NULL;
    }
    guest = apmig_guest_parse(xml, strlen(xml), error);
    free(xml); /* libvirt's, from malloc() */
    return guest;
}

/* As guests with crypto queues are moved by unplugging, one without a device now may get it back. Of a transient guest
 * the inactive XML is the live one once more. */
static ApmigGuest *
read_guest(virDomainPtr domain, GError **error)
{
    g_autoptr(ApmigGuest) guest = read_description(domain, 0, error);
    g_autoptr(ApmigGuest) persistent = NULL;

    if (!guest || guest->n_ap_devices > 0 || guest->has_unnamed)
        return g_steal_pointer(&guest);
    persistent = read_description(domain, VIR_DOMAIN_XML_INACTIVE, error);
    if (!persistent)
        return NULL;
    apmig_guest_add_persistent(guest, persistent);
    return g_steal_pointer(&guest);
}

ApmigLibvirtReading *
apmig_libvirt_query(ApmigLibvirtConnection *connection, const char *uuid, gboolean want_facts,
                    const ApmigGuest *known, const char *sysfs_root)
{
    g_autoptr(ApmigLibvirtReading) reading = g_new0(ApmigLibvirtReading, 1);
    g_autoptr(virDomain) domain = apmig_libvirt_connection_find(connection, uuid);
    int operation;

    if (!domain) {
        reading->job = virGetLastErrorCode() == VIR_ERR_NO_DOMAIN ? APMIG_JOB_GONE : APMIG_JOB_UNKNOWN;
        if (reading->job == APMIG_JOB_UNKNOWN)
            reading->error = apmig_libvirt_error_message();
    } else if (query_job(domain, reading, &operation)) {
        if (want_facts)
            reading->guest = read_guest(domain, NULL);
        else if (known)
            reading->guest = apmig_guest_copy(known);
        /* After the job: what is told of its queues is not older than what is told of its migration. */
        if (reading->guest)
            apmig_guest_read_queues(reading->guest, sysfs_root);
    }
    if (reading->job == APMIG_JOB_GONE)
        apmig_libvirt_connection_forget(connection, uuid);
    return g_steal_pointer(&reading);
}

/* @guest: its UUID, or else its name. Returns: (transfer full) (nullable) */
static virDomainPtr
find_domain(ApmigLibvirtConnection *connection, const char *guest, GError **error)
{
    virConnectPtr handle = apmig_libvirt_connection_handle(connection);
    virDomainPtr domain = g_uuid_string_is_valid(guest) ? virDomainLookupByUUIDString(handle, guest)
                                                        : virDomainLookupByName(handle, guest);

    if (!domain && virGetLastErrorCode() == VIR_ERR_NO_DOMAIN)
        g_set_error(error, APMIG_ERROR, APMIG_ERROR_NO_SUCH_GUEST, "libvirt knows no guest '%s' on this host",
                    guest);
    else if (!domain)
        set_unavailable(error);
    return domain;
}

gboolean
apmig_libvirt_look_up(ApmigLibvirtConnection *connection, const char *guest, const char *sysfs_root,
                      ApmigGuest **ret_guest, GError **error)
{
    g_autoptr(virDomain) domain = NULL;
    JobStats stats;

    domain = find_domain(connection, guest, error);
    if (!domain)
        return FALSE;
    *ret_guest = NULL;
    if (read_job(domain, &stats) < 0 && job_from_error(domain) == APMIG_JOB_INCOMING)
        return TRUE;
    *ret_guest = read_guest(domain, error);
    if (*ret_guest && virDomainIsActive(domain) == 1)
        apmig_guest_read_queues(*ret_guest, sysfs_root);
    return *ret_guest != NULL;
}

static char *
describe_domain(virDomainPtr domain, const char *sysfs_root, const ApmigStampOrder *order, GError **error)
{
    g_autoptr(ApmigStampHost) host = apmig_stamp_host_new(sysfs_root);
    g_autoptr(ApmigGuest) guest = NULL;
    char *xml = virDomainGetXMLDesc(domain, 0);
    char *description = NULL;

    if (!xml) {
        set_unavailable(error);
        return NULL;
    }
    guest = apmig_guest_parse(xml, strlen(xml), error);
    if (guest) {
        apmig_guest_read_queues(guest, sysfs_root);
        description = apmig_stamp_describe(xml, guest, host, order, error);
    }
    free(xml); /* libvirt's, from malloc() */
    return description;
}

char *
apmig_libvirt_describe(ApmigLibvirtConnection *connection, const char *guest, const char *sysfs_root,
                       const ApmigStampOrder *order, GError **error)
{
    g_autoptr(virDomain) domain = find_domain(connection, guest, error);
    JobStats stats;

    if (!domain)
        return NULL;
    if (read_job(domain, &stats) < 0 && job_from_error(domain) == APMIG_JOB_INCOMING) {
        g_set_error(error, APMIG_ERROR, APMIG_ERROR_BUSY,
                    "guest '%s' comes in just now: try again when it is here", guest);
        return NULL;
    }
    return describe_domain(domain, sysfs_root, order, error);
}

/* --- the heartbeat ------------------------------------------------------------------------------- */

/* Returns: (transfer full) (nullable): as of apmig_libvirt_heartbeat(). */
static char *
ask_states(ApmigLibvirtConnection *connection)
{
    virDomainStatsRecordPtr *records = NULL;
    int n_records =
        virConnectGetAllDomainStats(apmig_libvirt_connection_handle(connection), VIR_DOMAIN_STATS_STATE,
                                    &records, VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE);

    if (n_records < 0)
        return virGetLastErrorCode() == VIR_ERR_NO_SUPPORT ? NULL : apmig_libvirt_error_message();
    virDomainStatsRecordListFree(records);
    return NULL;
}

char *
apmig_libvirt_heartbeat(ApmigLibvirtConnection *connection, const char *uuid)
{
    g_autoptr(virDomain) domain = uuid ? apmig_libvirt_connection_find(connection, uuid) : NULL;
    g_autoptr(ApmigLibvirtReading) reading = g_new0(ApmigLibvirtReading, 1);
    int operation;

    if (!domain)
        return ask_states(connection);
    query_job(domain, reading, &operation);
    if (reading->job == APMIG_JOB_GONE)
        apmig_libvirt_connection_forget(connection, uuid);
    return reading->job == APMIG_JOB_UNKNOWN ? g_steal_pointer(&reading->error) : NULL;
}

/* --- stamps -------------------------------------------------------------------------------------- */

/* Returns: DONE when there is nothing that could be written to; BUSY; FAILED with @ret_message, or without when the
 * metadata may be written. */
static ApmigStamping
check_writable(virDomainPtr domain, char **ret_message)
{
    g_autoptr(ApmigLibvirtReading) reading = g_new0(ApmigLibvirtReading, 1);
    int operation;

    query_job(domain, reading, &operation);
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
apmig_libvirt_stamp(ApmigLibvirtConnection *connection, const char *uuid, const char *sysfs_root,
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
    guest = read_guest(domain, &error);
    if (!guest) {
        *ret_message = g_strdup(error->message);
        return APMIG_STAMPING_FAILED;
    }
    apmig_guest_read_queues(guest, sysfs_root);
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
        set_unavailable(error);
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
    domain = find_domain(connection, guest, error);
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
    int operation;

    query_job(domain, reading, &operation);
    switch (reading->job) {
    case APMIG_JOB_OUTGOING:
        if (!reading->postcopy)
            return APMIG_STEP_REQUESTED;
        *ret_message = g_strdup("the migration is in post-copy, the guest already runs at the destination");
        return APMIG_STEP_NOT_ABORTABLE;
    case APMIG_JOB_OTHER:
        *ret_message =
            g_strdup_printf("the guest's job is %s, not a migration to another host, and is left alone",
                            operation_name(operation));
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
