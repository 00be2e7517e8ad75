/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is to become of guests' stamps: read here, and written by who may (actor.h). All of it blocks, some for 30 s and
 * more, and belongs into the thread that the connection belongs to.
 */
#pragma once

#include "libvirt/connection.h"
#include "libvirt/stamper.h"

/* What is to be done with the stamp of a guest, or why nothing is. */
typedef struct {
    ApmigStamping result;       /* with %APMIG_STAMP_KEEP */
    ApmigStampChange change;    /* what is to be asked of the actor */
    char *xml;                  /* (nullable): with %APMIG_STAMP_WRITE */
    char *message;              /* (nullable): a clause, with %APMIG_STAMPING_FAILED */
    ApmigOtherKeys *other_keys; /* (nullable): see apmig_stamp_find_other_keys() */
} ApmigStampPlan;

/* @plan: (nullable) */
void apmig_stamp_plan_free(ApmigStampPlan *plan);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigStampPlan, apmig_stamp_plan_free)

/**
 * apmig_libvirt_plan_stamp:
 * @host: this host's hardware
 *
 * The job is looked at first: a guest that has one is %APMIG_STAMPING_BUSY, and the XML of one that comes in must not be
 * asked for.
 *
 * Returns: (transfer full)
 */
ApmigStampPlan *apmig_libvirt_plan_stamp(ApmigLibvirtConnection *connection, const char *uuid,
                                         ApmigSysfs *sysfs, ApmigStampHost *host,
                                         const ApmigStampOrder *order);

/**
 * apmig_libvirt_list_stamped:
 * @guest: name or UUID; "": all active ones
 * @error: #APMIG_ERROR_NO_SUCH_GUEST or #APMIG_ERROR_HYPERVISOR_UNAVAILABLE
 *
 * Returns: (transfer full) (nullable) (element-type ApmigGuestName): those with a stamp, which own their strings, also
 * those of which it is not known.
 */
GArray *apmig_libvirt_list_stamped(ApmigLibvirtConnection *connection, const char *guest,
                                   GError **error) G_GNUC_WARN_UNUSED_RESULT;
