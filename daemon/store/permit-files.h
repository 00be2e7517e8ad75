/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Permits in the runtime directory, which both apmigd and the hook of a host read whose apmigd does not run: one JSON file
 * each in permits/, ID.json while it is open, and ID.in.UUID.used or ID.out.UUID.used once the guest of that UUID uses it.
 * It is used by renaming it, so that of two who try one does. apmigd holds a lock on the folder while it runs, so that a
 * hook never uses one behind its back. Any thread; errors are APMIG_ERROR_STATE_FAILURE with a sentence.
 */
#pragma once

#include "engine/permit.h"
#include "store/files.h"

#define APMIG_PERMIT_FILE_MAX_BYTES 8192

/**
 * apmig_permits_open: for apmigd
 * @runtime_dir: holds permits/, made when missing (0700)
 *
 * Waits for a hook that is just using one, for seconds at most.
 */
ApmigFolder *apmig_permits_open(const char *runtime_dir, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/**
 * apmig_permits_open_without_daemon: for the hook
 * @error: a clause: apmigd runs, the folder is not there, or others than its owner may write to it
 */
ApmigFolder *apmig_permits_open_without_daemon(const char *runtime_dir,
                                               GError **error) G_GNUC_WARN_UNUSED_RESULT;

/**
 * apmig_permits_load:
 * @now: boot time, usec
 * @permits: (element-type ApmigPermit): gets those of this boot, expired or not
 * @damage: (element-type utf8): gets a sentence for each file that counts for nothing. One in use whose text does not read
 *   is in use all the same: whoever uses it was let in.
 */
gboolean apmig_permits_load(ApmigFolder *folder, gint64 now, GPtrArray *permits, GPtrArray *damage,
                            GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Survives the end of this process, not of the boot. */
gboolean apmig_permits_write(ApmigFolder *folder, const ApmigPermit *permit,
                             GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* @permit: as it was open, with who uses it */
gboolean apmig_permits_use(ApmigFolder *folder, const ApmigPermit *permit,
                           GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Whether it is used or not. */
gboolean apmig_permits_remove(ApmigFolder *folder, const ApmigPermit *permit,
                              GError **error) G_GNUC_WARN_UNUSED_RESULT;
