/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What libvirt says of one guest: its state, its job, its XML. Each asks and blocks, and belongs into the thread that the
 * connection of the guest belongs to.
 */
#pragma once

#include <libvirt/libvirt.h>

#include "engine/event.h"
#include "guest/xml.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(virDomain, virDomainFree)

/* As of virDomainGetState(). */
typedef struct {
    int state;  /* virDomainState */
    int reason; /* virDomainPausedReason and others */
} ApmigDomainState;

/* What one query found out. */
typedef struct {
    ApmigJob job;
    int operation; /* virDomainJobOperation, of a job that is there */
    gboolean postcopy;
    gboolean is_over;  /* of a migration: its transfer, after which libvirt only cleans up */
    gboolean stranded; /* paused for a migration that is no more; see qemuMigrationAnyConnectionClosed() */
    ApmigProgress progress;
    char *error;       /* (nullable): with APMIG_JOB_UNKNOWN, as a clause */
    ApmigGuest *guest; /* (nullable): what is known of it, as far as it is to be told with its job */
} ApmigLibvirtReading;

void apmig_libvirt_reading_free(ApmigLibvirtReading *reading);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigLibvirtReading, apmig_libvirt_reading_free)

/* Has the job be GONE when libvirt's last error says so, else UNKNOWN with its sentence. */
void apmig_domain_set_unreadable(ApmigLibvirtReading *reading);
/* Sets #APMIG_ERROR_HYPERVISOR_UNAVAILABLE with the sentence of libvirt's last error. */
void apmig_domain_set_unavailable(GError **error);

/* Returns: FALSE with libvirt's error set. libvirt needs no job of the guest for it, so it answers while its monitor hangs. */
gboolean apmig_domain_read_state(virDomainPtr domain, ApmigDomainState *ret_state) G_GNUC_WARN_UNUSED_RESULT;

/* Whether it may be an incoming guest, whose XML must not be asked for: libvirt 11.0 to 11.4 then waits 30 s and fails
 * (qemuDomainGetXMLDesc() takes a job that an incoming migration does not allow). Only its job tells. */
gboolean apmig_domain_may_come_in(const ApmigDomainState *state);

/**
 * apmig_domain_read_job:
 * @before: (nullable): its state, if it was read before: it is read once more only where that may have changed what is told
 * @reading: (out): of which all but the guest is set
 *
 * The job is that of virDomainGetJobStats(), which fails with VIR_ERR_OPERATION_UNSUPPORTED for an incoming guest,
 * before it waits for anything (qemuDomainGetJobStatsInternal()). A driver without job information has no jobs.
 * A transfer that is over but not yet cleaned up after (type COMPLETED, FAILED or CANCELLED) still is a job.
 *
 * Returns: whether its XML may be asked for.
 */
gboolean apmig_domain_read_job(virDomainPtr domain, const ApmigDomainState *before,
                               ApmigLibvirtReading *reading);

/**
 * apmig_domain_read_guest: what its XML says; without a vfio-ap device in it also that of its persistent configuration
 * @error: #APMIG_ERROR_HYPERVISOR_UNAVAILABLE, with libvirt's error set, or #APMIG_ERROR_INVALID_GUEST
 *
 * Returns: (transfer full) (nullable)
 */
ApmigGuest *apmig_domain_read_guest(virDomainPtr domain, GError **error) G_GNUC_WARN_UNUSED_RESULT;
