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

/* What was read. */
typedef struct {
    GPtrArray *
        locks; /* of ApmigLockRecord: a file that does not read, is of a newer version, is too large, no regular file,
                            * or whose name is not its id is one APMIG_LOCK_RECOVERED with the id of the file name when that is
                            * valid, else a derived one; so is a folder that once had locks (a marker file says so) and has lost
                            * its lock files without a removal. The damaged file stays in place until that lock's removal, which
                            * takes it away. */
    GPtrArray *
        declared; /* of ApmigEvidenceRecord: what was declared of keys; nothing when it does not read: it is then moved
                            * aside */
    GPtrArray *
        admissions; /* of ApmigAdmission: a damaged one is one of scope all for the UUID of its file name. Those of an
                            * earlier boot are dropped */
    GPtrArray
        *permits; /* of ApmigPermit: those of this boot, open, expired or in use; a damaged one is none */
    GPtrArray *damage; /* of sentences: one for each damage found, for the log */
    GError *error;     /* a folder cannot be read at all; then nothing is known; NULL: all was read */
} ApmigStoreLoaded;

void apmig_store_loaded_init(ApmigStoreLoaded *loaded);
void apmig_store_loaded_clear(ApmigStoreLoaded *loaded);

/* See apmig_store_open(). */
ApmigDisk *apmig_disk_open(const char *state_dir, const char *runtime_dir,
                           GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Reads the state folder, or the runtime folder, once, before the first write there. @loaded: initialized; gets what is in it,
 * or the error */
void apmig_disk_load_state(ApmigDisk *disk, ApmigStoreLoaded *loaded);
void apmig_disk_load_runtime(ApmigDisk *disk, ApmigStoreLoaded *loaded);
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
