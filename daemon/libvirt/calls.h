/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The questions to libvirt about one guest. All of them block, some for 30 s and more, and belong into the thread that the connection
 * belongs to.
 */
#pragma once

#include "libvirt/connection.h"
#include "libvirt/domain.h"
#include "libvirt/stamper.h"

typedef struct {
    const char *uuid;
    gboolean
        want_facts; /* also what its XML says, and that of its persistent configuration, unless it comes in */
    const ApmigGuest
        *known; /* (nullable): what its XML said last, without @want_facts: its queues alone are read anew */
    ApmigSysfs *sysfs; /* where the queues of its mediated devices are read */
    /* Told what its XML says before its job is asked for, which may hang. @guest: borrowed */
    void (*facts_read)(const ApmigGuest *guest, gpointer data);
    gpointer data;
} ApmigLibvirtQuestion;

/**
 * apmig_libvirt_query: the job of a guest
 *
 * Its state is read first, without a job; then its XML, and then its job, of which see apmig_domain_read_job(). Where its
 * state is that of a guest that may be coming in the job is read before the XML. So a guest whose monitor hangs is known to
 * be affected or not long before libvirt gives up waiting for it.
 *
 * Returns: (transfer full): always; with APMIG_JOB_UNKNOWN its error is set. Its guest is set where facts_read() was not
 * called, and again, its queues read after its job, where its scope varies.
 */
ApmigLibvirtReading *apmig_libvirt_query(ApmigLibvirtConnection *connection,
                                         const ApmigLibvirtQuestion *question) G_GNUC_WARN_UNUSED_RESULT;

/* Returns: (transfer full) (nullable): what is known of an active guest that is not coming in, without its job. */
ApmigGuest *apmig_libvirt_read_facts(ApmigLibvirtConnection *connection, const char *uuid,
                                     ApmigSysfs *sysfs) G_GNUC_WARN_UNUSED_RESULT;

/**
 * apmig_libvirt_heartbeat: asks what takes a worker of normal priority
 * @uuid: (nullable): of the guest whose job is asked for; NULL: the states of all are
 *
 * Lists, states and look-ups are answered by libvirt's priority workers when nothing else is (remote_protocol.x). A guest
 * that is not there, or that comes in, is an answer.
 *
 * Returns: (transfer full) (nullable): why there was none, as a clause; NULL: it answered.
 */
char *apmig_libvirt_heartbeat(ApmigLibvirtConnection *connection, const char *uuid) G_GNUC_WARN_UNUSED_RESULT;

/**
 * apmig_libvirt_look_up: what the XML of a guest says, whether it is active or not
 * @guest: its UUID, or else its name
 * @sysfs: where the queues of an active one's mediated devices are read
 * @ret_guest: (out) (transfer full): NULL for an incoming guest, whose XML is not asked for
 * @error: #APMIG_ERROR_NO_SUCH_GUEST, #APMIG_ERROR_INVALID_GUEST, or #APMIG_ERROR_HYPERVISOR_UNAVAILABLE with
 *   libvirt's sentence
 */
gboolean apmig_libvirt_look_up(ApmigLibvirtConnection *connection, const char *guest, ApmigSysfs *sysfs,
                               ApmigGuest **ret_guest, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/**
 * apmig_libvirt_describe: see apmig_stamp_describe(); of a guest that is active or not
 * @guest: its UUID, or else its name
 * @error: as apmig_libvirt_look_up(), and #APMIG_ERROR_BUSY of an incoming guest, whose XML is not asked for
 *
 * Returns: (transfer full) (nullable)
 */
char *apmig_libvirt_describe(ApmigLibvirtConnection *connection, const char *guest, ApmigSysfs *sysfs,
                             const ApmigStampOrder *order, GError **error) G_GNUC_WARN_UNUSED_RESULT;
