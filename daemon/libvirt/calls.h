/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The questions to libvirt and the calls that change something. All of them block, some for 30 s and more,
 * and belong into the thread that the connection belongs to.
 */
#pragma once

#include "engine/event.h"
#include "guest/xml.h"
#include "libvirt/connection.h"
#include "libvirt/stamper.h"

/* What one query found out. */
typedef struct {
    ApmigJob job;
    gboolean postcopy;
    gboolean stranded; /* paused for a migration that is no more; see qemuMigrationAnyConnectionClosed() */
    ApmigProgress progress;
    ApmigGuest *guest; /* (nullable): what is known of it, when asked for or given, and readable */
    char *error;       /* (nullable): with APMIG_JOB_UNKNOWN, as a clause */
} ApmigLibvirtReading;

void apmig_libvirt_reading_free(ApmigLibvirtReading *reading);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigLibvirtReading, apmig_libvirt_reading_free)

/**
 * apmig_libvirt_list:
 * @error: #APMIG_ERROR_HYPERVISOR_UNAVAILABLE with libvirt's sentence
 *
 * Returns: (transfer full) (nullable) (element-type ApmigGuestName): the active guests, which own their strings.
 */
GArray *apmig_libvirt_list(ApmigLibvirtConnection *connection, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/**
 * apmig_libvirt_query:
 * @want_facts: also read its XML, and without a vfio-ap device in it that of its persistent configuration, unless it is
 *   an incoming guest: libvirt >= 10 then waits 30 s and fails (qemuDomainGetXMLDesc() takes a job that an incoming
 *   migration does not allow)
 * @known: (nullable): what its XML said last, without @want_facts: its queues alone are read anew, again unless it is
 *   an incoming guest
 * @sysfs_root: where the queues of its mediated devices are read
 *
 * The job is that of virDomainGetJobStats(), which fails with VIR_ERR_OPERATION_UNSUPPORTED for an incoming guest,
 * before it waits for anything (qemuDomainGetJobStatsInternal()). A driver without job information has no jobs.
 * A transfer that is over but not yet cleaned up after (type COMPLETED, FAILED or CANCELLED) still is a job.
 *
 * Returns: (transfer full): always; with APMIG_JOB_UNKNOWN its error is set.
 */
ApmigLibvirtReading *apmig_libvirt_query(ApmigLibvirtConnection *connection, const char *uuid,
                                         gboolean want_facts, const ApmigGuest *known,
                                         const char *sysfs_root) G_GNUC_WARN_UNUSED_RESULT;

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
 * apmig_libvirt_abort: ends the outgoing migration of a guest, and nothing else
 * @ret_message: (out) (transfer full): a clause to the outcome
 *
 * virDomainAbortJob() would also kill a save, a dump, a snapshot or a backup, so the job is looked at first; one
 * that takes the migration's place between the two calls cannot be told. A migration in post-copy is left alone:
 * the guest already runs at the other side. APMIG_STEP_REQUESTED proves nothing: a migration whose transfer is
 * complete goes on although libvirt said yes.
 */
ApmigStepOutcome apmig_libvirt_abort(ApmigLibvirtConnection *connection, const char *uuid,
                                     char **ret_message);

/**
 * apmig_libvirt_stamp: writes the stamp of a guest, or takes it away
 * @host: this host's hardware
 * @ret_other_keys: (out) (transfer full) (nullable): see apmig_stamp_find_other_keys(); left alone when nothing was read
 * @ret_message: (out) (transfer full) (nullable): a clause, with %APMIG_STAMPING_FAILED
 *
 * Into the live metadata alone: what a host says of a guest is not true elsewhere, nor after the guest's next start. The
 * job is looked at right before: virDomainSetMetadata() waits 30 s for the end of a migration, and then fails. One that
 * begins between the two calls cannot be told.
 */
ApmigStamping apmig_libvirt_stamp(ApmigLibvirtConnection *connection, const char *uuid,
                                  const char *sysfs_root, ApmigStampHost *host, const ApmigStampOrder *order,
                                  ApmigOtherKeys **ret_other_keys, char **ret_message);

/**
 * apmig_libvirt_remove_stamps:
 * @guest: name or UUID; "": all active ones
 * @ret_removed: (out): how many had one and have none any more, also with @error
 * @error: #APMIG_ERROR_NO_SUCH_GUEST, #APMIG_ERROR_BUSY, or #APMIG_ERROR_HYPERVISOR_UNAVAILABLE
 */
gboolean apmig_libvirt_remove_stamps(ApmigLibvirtConnection *connection, const char *guest,
                                     guint *ret_removed, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/**
 * apmig_libvirt_look_up: what the XML of a guest says, whether it is active or not
 * @guest: its UUID, or else its name
 * @sysfs_root: where the queues of an active one's mediated devices are read
 * @ret_guest: (out) (transfer full): NULL for an incoming guest, whose XML is not asked for
 * @error: #APMIG_ERROR_NO_SUCH_GUEST, #APMIG_ERROR_INVALID_GUEST, or #APMIG_ERROR_HYPERVISOR_UNAVAILABLE with
 *   libvirt's sentence
 */
gboolean apmig_libvirt_look_up(ApmigLibvirtConnection *connection, const char *guest, const char *sysfs_root,
                               ApmigGuest **ret_guest, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/**
 * apmig_libvirt_describe: see apmig_stamp_describe(); of a guest that is active or not
 * @guest: its UUID, or else its name
 * @error: as apmig_libvirt_look_up(), and #APMIG_ERROR_BUSY of an incoming guest, whose XML is not asked for
 *
 * Returns: (transfer full) (nullable)
 */
char *apmig_libvirt_describe(ApmigLibvirtConnection *connection, const char *guest, const char *sysfs_root,
                             const ApmigStampOrder *order, GError **error) G_GNUC_WARN_UNUSED_RESULT;
