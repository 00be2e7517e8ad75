/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/stamping.h"

#include <stdlib.h>

#include <libvirt/virterror.h>

#include "guest/stamp-xml.h"
#include "libvirt/domain.h"
#include "libvirt/guest-queues.h"

void
apmig_stamp_plan_free(ApmigStampPlan *plan)
{
    if (!plan)
        return;
    g_free(plan->xml);
    g_free(plan->message);
    apmig_other_keys_free(plan->other_keys);
    g_free(plan);
}

/* --- one guest ----------------------------------------------------------------------------------- */

/* @message: (transfer full) (nullable). Returns: FALSE: it is decided. */
static gboolean
decide(ApmigStampPlan *plan, ApmigStamping result, char *message)
{
    plan->result = result;
    plan->message = message;
    return FALSE;
}

/* Returns: whether its metadata may be written. */
static gboolean
has_no_job(virDomainPtr domain, ApmigStampPlan *plan)
{
    g_autoptr(ApmigLibvirtReading) reading = g_new0(ApmigLibvirtReading, 1);

    apmig_domain_read_job(domain, NULL, reading);
    switch (reading->job) {
    case APMIG_JOB_GONE:
        return decide(plan, APMIG_STAMPING_DONE, NULL);
    case APMIG_JOB_OUTGOING:
    case APMIG_JOB_INCOMING:
    case APMIG_JOB_OTHER:
        return decide(plan, APMIG_STAMPING_BUSY, NULL);
    case APMIG_JOB_UNKNOWN:
        return decide(plan, APMIG_STAMPING_FAILED, g_steal_pointer(&reading->error));
    case APMIG_JOB_NONE:
        break;
    }
    return TRUE;
}

ApmigStampPlan *
apmig_libvirt_plan_stamp(ApmigLibvirtConnection *connection, const char *uuid, ApmigSysfs *sysfs,
                         ApmigStampHost *host, const ApmigStampOrder *order)
{
    ApmigStampPlan *plan = g_new0(ApmigStampPlan, 1);
    g_autoptr(virDomain) domain = apmig_libvirt_connection_find(connection, uuid);
    g_autoptr(ApmigGuest) guest = NULL;
    g_autoptr(GError) error = NULL;

    if (!domain) {
        const gboolean is_gone = virGetLastErrorCode() == VIR_ERR_NO_DOMAIN;

        decide(plan, is_gone ? APMIG_STAMPING_DONE : APMIG_STAMPING_FAILED, apmig_libvirt_error_message());
        return plan;
    }
    if (!has_no_job(domain, plan))
        return plan;
    guest = apmig_domain_read_guest(domain, &error);
    if (!guest) {
        decide(plan, APMIG_STAMPING_FAILED, g_strdup(error->message));
        return plan;
    }
    apmig_guest_read_queues(guest, sysfs);
    plan->other_keys = apmig_stamp_find_other_keys(guest, order);
    plan->change = apmig_stamp_compose(guest, host, order, &plan->xml);
    return plan;
}

/* --- those that have one ------------------------------------------------------------------------- */

static void
name_clear(gpointer data)
{
    ApmigGuestName *name = data;

    g_free((char *)name->uuid);
    g_free((char *)name->name);
}

/* What comes in has its metadata from its source, and libvirt answers without waiting for it. */
static void
add_stamped(GArray *stamped, virDomainPtr domain)
{
    char *there = virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, APMIG_STAMP_NAMESPACE,
                                       VIR_DOMAIN_AFFECT_LIVE);
    char uuid[VIR_UUID_STRING_BUFLEN];
    ApmigGuestName name;

    if ((there || virGetLastErrorCode() != VIR_ERR_NO_DOMAIN_METADATA) &&
        virDomainGetUUIDString(domain, uuid) == 0) {
        name = (ApmigGuestName){g_strdup(uuid), g_strdup(virDomainGetName(domain))};
        g_array_append_val(stamped, name);
    }
    free(there); /* libvirt's, from malloc() */
}

static gboolean
add_all_stamped(GArray *stamped, ApmigLibvirtConnection *connection, GError **error)
{
    virDomainPtr *domains = NULL;
    const int n_domains = virConnectListAllDomains(apmig_libvirt_connection_handle(connection), &domains,
                                                   VIR_CONNECT_LIST_DOMAINS_ACTIVE);

    if (n_domains < 0) {
        apmig_domain_set_unavailable(error);
        return FALSE;
    }
    for (int i = 0; i < n_domains; i++) {
        add_stamped(stamped, domains[i]);
        virDomainFree(domains[i]);
    }
    free(domains); /* libvirt's, from malloc() */
    return TRUE;
}

GArray *
apmig_libvirt_list_stamped(ApmigLibvirtConnection *connection, const char *guest, GError **error)
{
    g_autoptr(GArray) stamped = g_array_new(FALSE, FALSE, sizeof(ApmigGuestName));
    g_autoptr(virDomain) domain = NULL;

    g_array_set_clear_func(stamped, name_clear);
    if (*guest == '\0')
        return add_all_stamped(stamped, connection, error) ? g_steal_pointer(&stamped) : NULL;
    domain = apmig_libvirt_connection_look_up(connection, guest, error);
    if (!domain)
        return NULL;
    add_stamped(stamped, domain);
    return g_steal_pointer(&stamped);
}
