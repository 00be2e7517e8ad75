/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The calls to libvirt that change something. All of them block, some for 30 s and more, and belong into the thread that
 * the connection belongs to.
 */
#pragma once

#include "libvirt/connection.h"
#include "libvirt/stamper.h"

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
ApmigStamping apmig_libvirt_stamp(ApmigLibvirtConnection *connection, const char *uuid, ApmigSysfs *sysfs,
                                  ApmigStampHost *host, const ApmigStampOrder *order,
                                  ApmigOtherKeys **ret_other_keys, char **ret_message);

/**
 * apmig_libvirt_remove_stamps:
 * @guest: name or UUID; "": all active ones
 * @ret_removed: (out): how many had one and have none any more, also with @error
 * @error: #APMIG_ERROR_NO_SUCH_GUEST, #APMIG_ERROR_BUSY, or #APMIG_ERROR_HYPERVISOR_UNAVAILABLE
 */
gboolean apmig_libvirt_remove_stamps(ApmigLibvirtConnection *connection, const char *guest,
                                     guint *ret_removed, GError **error) G_GNUC_WARN_UNUSED_RESULT;
