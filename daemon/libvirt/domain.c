/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/domain.h"

#include <stdlib.h>
#include <string.h>

#include <libvirt/virterror.h>

#include "libvirt/connection.h"

/* The job of a domain as virDomainGetJobStats() has it. */
typedef struct {
    int type;      /* virDomainJobType */
    int operation; /* virDomainJobOperation; VIR_DOMAIN_JOB_OPERATION_UNKNOWN when it was not told */
    ApmigProgress progress;
} JobStats;

void
apmig_domain_set_unavailable(GError **error)
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

void
apmig_domain_set_unreadable(ApmigLibvirtReading *reading)
{
    reading->job = virGetLastErrorCode() == VIR_ERR_NO_DOMAIN ? APMIG_JOB_GONE : APMIG_JOB_UNKNOWN;
    if (reading->job == APMIG_JOB_UNKNOWN)
        reading->error = apmig_libvirt_error_message();
}

/* --- its job ------------------------------------------------------------------------------------- */

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

/* --- its state ----------------------------------------------------------------------------------- */

gboolean
apmig_domain_read_state(virDomainPtr domain, ApmigDomainState *ret_state)
{
    return virDomainGetState(domain, &ret_state->state, &ret_state->reason, 0) == 0;
}

static gboolean
is_postcopy(const ApmigDomainState *state)
{
    if (state->state == VIR_DOMAIN_PAUSED)
        return state->reason == VIR_DOMAIN_PAUSED_POSTCOPY ||
               state->reason == VIR_DOMAIN_PAUSED_POSTCOPY_FAILED;
#if LIBVIR_CHECK_VERSION(8, 5, 0)
    if (state->state == VIR_DOMAIN_RUNNING && state->reason == VIR_DOMAIN_RUNNING_POSTCOPY_FAILED)
        return TRUE;
#endif
    return state->state == VIR_DOMAIN_RUNNING && state->reason == VIR_DOMAIN_RUNNING_POSTCOPY;
}

static gboolean
is_paused_for_migration(const ApmigDomainState *state)
{
    return state->state == VIR_DOMAIN_PAUSED && state->reason == VIR_DOMAIN_PAUSED_MIGRATION;
}

gboolean
apmig_domain_may_come_in(const ApmigDomainState *state)
{
    return is_paused_for_migration(state) || is_postcopy(state) ||
           (state->state == VIR_DOMAIN_PAUSED && state->reason == VIR_DOMAIN_PAUSED_STARTING_UP);
}

/* --- both ---------------------------------------------------------------------------------------- */

/* What was read before a migration ended says that one is there still. */
static void
add_state(virDomainPtr domain, const ApmigDomainState *before, ApmigLibvirtReading *reading)
{
    ApmigDomainState state;

    if (before && reading->job == APMIG_JOB_NONE && !apmig_domain_may_come_in(before))
        return;
    if (!apmig_domain_read_state(domain, &state)) {
        apmig_domain_set_unreadable(reading);
        return;
    }
    reading->postcopy = is_postcopy(&state);
    /* qemuMigrationAnyConnectionClosed() leaves it so when it cannot know how the migration ended. */
    reading->stranded = reading->job == APMIG_JOB_NONE && is_paused_for_migration(&state);
}

gboolean
apmig_domain_read_job(virDomainPtr domain, const ApmigDomainState *before, ApmigLibvirtReading *reading)
{
    JobStats stats = {.operation = VIR_DOMAIN_JOB_OPERATION_UNKNOWN};
    g_autofree char *refusal = NULL;
    gboolean timed_out = FALSE;

    if (read_job(domain, &stats) == 0) {
        reading->job = job_from_stats(&stats);
        reading->is_over = stats.type == VIR_DOMAIN_JOB_FAILED || stats.type == VIR_DOMAIN_JOB_CANCELLED;
        reading->progress = stats.progress;
        if (reading->job == APMIG_JOB_UNKNOWN)
            reading->error = g_strdup("libvirt does not say what the guest's job is");
    } else {
        /* It waited for the guest, so this is no incoming one, for which it would not have waited. */
        timed_out = virGetLastErrorCode() == VIR_ERR_OPERATION_TIMEOUT;
        refusal = apmig_libvirt_error_message();
        reading->job = job_from_error(domain);
        if (reading->job == APMIG_JOB_UNKNOWN)
            reading->error = g_steal_pointer(&refusal);
    }
    if (reading->job == APMIG_JOB_OUTGOING || reading->job == APMIG_JOB_INCOMING ||
        reading->job == APMIG_JOB_NONE)
        add_state(domain, before, reading);
    reading->operation = stats.operation;
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
        apmig_domain_set_unavailable(error);
        return NULL;
    }
    guest = apmig_guest_parse(xml, strlen(xml), error);
    free(xml); /* libvirt's, from malloc() */
    return guest;
}

/* As guests with crypto queues are moved by unplugging, one without a device now may get it back. Of a transient guest
 * the inactive XML is the live one once more. */
ApmigGuest *
apmig_domain_read_guest(virDomainPtr domain, GError **error)
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
