/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/calls.h"

#include <stdlib.h>
#include <string.h>

#include <libvirt/virterror.h>

#include "libvirt/guest-queues.h"
#include "guest/stamp-xml.h"

/* --- one guest ----------------------------------------------------------------------------------- */

static ApmigGuest *
read_active_guest(virDomainPtr domain, ApmigSysfs *sysfs, GError **error)
{
    ApmigGuest *guest = apmig_domain_read_guest(domain, error);

    if (guest)
        apmig_guest_read_queues(guest, sysfs);
    return guest;
}

/* Returns: whether there is no answer because libvirt waits for the guest's job: as its monitor hangs, it would wait once more. */
static gboolean
read_facts_first(virDomainPtr domain, const ApmigLibvirtQuestion *question, ApmigLibvirtReading *reading)
{
    g_autoptr(GError) error = NULL;

    reading->guest = read_active_guest(domain, question->sysfs, &error);
    if (reading->guest)
        question->facts_read(reading->guest, question->data);
    else if (virGetLastErrorCode() == VIR_ERR_OPERATION_TIMEOUT)
        apmig_domain_set_unreadable(reading);
    if (reading->guest && !reading->guest->scope_varies)
        g_clear_pointer(&reading->guest, apmig_guest_free);
    return reading->error != NULL;
}

/* What is told of its queues with its job is not older than that. */
static void
read_facts_last(virDomainPtr domain, const ApmigLibvirtQuestion *question, gboolean told,
                ApmigLibvirtReading *reading)
{
    if (!question->want_facts && question->known)
        reading->guest = apmig_guest_copy(question->known);
    else if (question->want_facts && !told)
        reading->guest = apmig_domain_read_guest(domain, NULL);
    if (reading->guest)
        apmig_guest_read_queues(reading->guest, question->sysfs);
}

static void
query_domain(virDomainPtr domain, const ApmigLibvirtQuestion *question, ApmigLibvirtReading *reading)
{
    ApmigDomainState state;
    gboolean facts_first;

    if (!apmig_domain_read_state(domain, &state)) {
        apmig_domain_set_unreadable(reading);
        return;
    }
    facts_first =
        question->want_facts && state.state != VIR_DOMAIN_SHUTOFF && !apmig_domain_may_come_in(&state);
    if (facts_first && read_facts_first(domain, question, reading))
        return;
    if (apmig_domain_read_job(domain, &state, reading))
        read_facts_last(domain, question, facts_first, reading);
    else
        g_clear_pointer(&reading->guest, apmig_guest_free);
}

ApmigLibvirtReading *
apmig_libvirt_query(ApmigLibvirtConnection *connection, const ApmigLibvirtQuestion *question)
{
    ApmigLibvirtReading *reading = g_new0(ApmigLibvirtReading, 1);
    g_autoptr(virDomain) domain = apmig_libvirt_connection_find(connection, question->uuid);

    if (domain)
        query_domain(domain, question, reading);
    else
        apmig_domain_set_unreadable(reading);
    if (reading->job == APMIG_JOB_GONE)
        apmig_libvirt_connection_forget(connection, question->uuid);
    return reading;
}

/* Whether it comes in; asks for its job only where its state leaves that open. */
static gboolean
comes_in(virDomainPtr domain, const ApmigDomainState *state)
{
    g_autoptr(ApmigLibvirtReading) reading = g_new0(ApmigLibvirtReading, 1);

    if (!apmig_domain_may_come_in(state))
        return FALSE;
    apmig_domain_read_job(domain, state, reading);
    return reading->job == APMIG_JOB_INCOMING;
}

ApmigGuest *
apmig_libvirt_read_facts(ApmigLibvirtConnection *connection, const char *uuid, ApmigSysfs *sysfs)
{
    g_autoptr(virDomain) domain = apmig_libvirt_connection_find(connection, uuid);
    ApmigDomainState state;

    if (!domain || !apmig_domain_read_state(domain, &state) || state.state == VIR_DOMAIN_SHUTOFF ||
        comes_in(domain, &state))
        return NULL;
    return read_active_guest(domain, sysfs, NULL);
}

gboolean
apmig_libvirt_look_up(ApmigLibvirtConnection *connection, const char *guest, ApmigSysfs *sysfs,
                      ApmigGuest **ret_guest, GError **error)
{
    g_autoptr(virDomain) domain = apmig_libvirt_connection_look_up(connection, guest, error);
    ApmigDomainState state;

    if (!domain)
        return FALSE;
    if (!apmig_domain_read_state(domain, &state)) {
        apmig_domain_set_unavailable(error);
        return FALSE;
    }
    *ret_guest = NULL;
    if (comes_in(domain, &state))
        return TRUE;
    *ret_guest = state.state == VIR_DOMAIN_SHUTOFF ? apmig_domain_read_guest(domain, error)
                                                   : read_active_guest(domain, sysfs, error);
    return *ret_guest != NULL;
}

static char *
describe_domain(virDomainPtr domain, ApmigSysfs *sysfs, const ApmigStampOrder *order, GError **error)
{
    g_autoptr(ApmigStampHost) host = apmig_stamp_host_new(sysfs);
    g_autoptr(ApmigGuest) guest = NULL;
    char *xml = virDomainGetXMLDesc(domain, 0);
    char *description = NULL;

    if (!xml) {
        apmig_domain_set_unavailable(error);
        return NULL;
    }
    guest = apmig_guest_parse(xml, strlen(xml), error);
    if (guest) {
        apmig_guest_read_queues(guest, sysfs);
        description = apmig_stamp_describe(xml, guest, host, order, error);
    }
    free(xml); /* libvirt's, from malloc() */
    return description;
}

char *
apmig_libvirt_describe(ApmigLibvirtConnection *connection, const char *guest, ApmigSysfs *sysfs,
                       const ApmigStampOrder *order, GError **error)
{
    g_autoptr(virDomain) domain = apmig_libvirt_connection_look_up(connection, guest, error);
    ApmigDomainState state;

    if (!domain)
        return NULL;
    if (apmig_domain_read_state(domain, &state) && comes_in(domain, &state)) {
        g_set_error(error, APMIG_ERROR, APMIG_ERROR_BUSY,
                    "guest '%s' comes in just now: try again when it is here", guest);
        return NULL;
    }
    return describe_domain(domain, sysfs, order, error);
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

    if (!domain)
        return ask_states(connection);
    apmig_domain_read_job(domain, NULL, reading);
    if (reading->job == APMIG_JOB_GONE)
        apmig_libvirt_connection_forget(connection, uuid);
    return reading->job == APMIG_JOB_UNKNOWN ? g_steal_pointer(&reading->error) : NULL;
}
