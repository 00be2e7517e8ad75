/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Locks, admissions and permits on the disk, one call after the other: what the store's writers do. What a call has said to be
 * done survives; a crash within a call leaves what was before it or what would be after it.
 * Errors are APMIG_ERROR_STATE_FAILURE with a sentence. One thread at a time for what lies in the state folder (locks and what
 * was declared), and one for the runtime folder (admissions and permits), except where said.
 */
#pragma once

#include "engine/action.h"

typedef struct ApmigDisk ApmigDisk;

/* See apmig_store_open() and apmig_store_load(). */
ApmigDisk *apmig_disk_open(const char *state_dir, const char *runtime_dir,
                           GError **error) G_GNUC_WARN_UNUSED_RESULT;
gboolean apmig_disk_load(ApmigDisk *disk, GPtrArray **ret_locks, GPtrArray **ret_admissions,
                         GPtrArray **ret_permits, GPtrArray **ret_damage,
                         GError **error) G_GNUC_WARN_UNUSED_RESULT;
void apmig_disk_free(ApmigDisk *disk);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigDisk, apmig_disk_free)

/* Any thread: whether a lock file has the id @id, or is about to be written for it. Reads no disk. */
gboolean apmig_disk_has_lock(ApmigDisk *disk, const char *id);
/* Any thread: says that it is about to be written. */
void apmig_disk_expect_lock(ApmigDisk *disk, const char *id);

/* On an error a lock that is new is not there, also after a restart; of one that was there before, the old
 * record or the new one is. */
gboolean apmig_disk_write_lock(ApmigDisk *disk, const ApmigLockRecord *record,
                               GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Takes away the file that the lock was loaded from or written to. On an error the lock is still there. */
gboolean apmig_disk_remove_lock(ApmigDisk *disk, const ApmigLockRecord *record,
                                GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* See apmig_store_load_declared(). */
GPtrArray *apmig_disk_load_declared(ApmigDisk *disk, GPtrArray *damage) G_GNUC_WARN_UNUSED_RESULT;
/* @records: all there are; on an error what was declared before is still there, or these are. */
gboolean apmig_disk_write_declared(ApmigDisk *disk, const GPtrArray *records,
                                   GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* These survive the end of this process, not of the boot; in place of what was there of that guest or permit. */
gboolean apmig_disk_write_admission(ApmigDisk *disk, const ApmigAdmission *admission,
                                    GError **error) G_GNUC_WARN_UNUSED_RESULT;
gboolean apmig_disk_remove_admission(ApmigDisk *disk, const char *uuid,
                                     GError **error) G_GNUC_WARN_UNUSED_RESULT;
gboolean apmig_disk_write_permit(ApmigDisk *disk, const ApmigPermit *permit,
                                 GError **error) G_GNUC_WARN_UNUSED_RESULT;
gboolean apmig_disk_remove_permit(ApmigDisk *disk, const char *id, GError **error) G_GNUC_WARN_UNUSED_RESULT;
