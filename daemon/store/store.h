/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What survives: one file per lock in DIR/locks (ID.json), and in the runtime directory one per admission
 * (admissions/UUID.json) and one per permit (permits/ID.json). Each of the two folders has a
 * thread that does all writing there, in order, so that a disk which hangs keeps nothing from the other one; the answers come
 * back in the main loop's thread. A lock file is written beside, synced, renamed, and its folder synced; a removal is
 * an unlink and a sync of the folder, so it works on a full disk. Reading is strict and bounded. What was declared of
 * master keys is one file beside the locks (declared-keys.json), written in the same way.
 */
#pragma once

#include "engine/action.h"

typedef struct ApmigStore ApmigStore;

/* @event: LOCK_PERSISTED and its like, with the op of the action that it answers; borrowed, without its times. */
typedef void (*ApmigStoreFunc)(const ApmigEvent *event, gpointer user_data);

/**
 * apmig_store_open:
 * @state_dir: holds locks/, created when missing (0700)
 * @runtime_dir: holds admissions/ and permits/, created when missing (0700)
 * @error: when a folder cannot be made, opened or locked; "another apmigd ..." when another process holds the flock
 *
 * Takes a flock on @state_dir for the life of the store.
 */
ApmigStore *apmig_store_open(const char *state_dir, const char *runtime_dir,
                             GError **error) G_GNUC_WARN_UNUSED_RESULT;

/**
 * apmig_store_load: reads everything; called once, before the first write, in the caller's thread
 * @ret_locks: (out) (element-type ApmigLockRecord): a file that does not read, is of a newer version, is too
 *   large, no regular file, or whose name is not its id comes as one APMIG_LOCK_RECOVERED with the id of the
 *   file name when that is valid, else a derived one; so does a folder that once had locks (a marker file says
 *   so) and has lost its lock files without a removal. The damaged file stays in place until that lock's
 *   removal, which takes it away.
 * @ret_admissions: (out) (element-type ApmigAdmission): a damaged one is one of scope all for the UUID of its
 *   file name. Boot time of the file is checked against this boot: older ones are dropped.
 * @ret_permits: (out) (element-type ApmigPermit): those of this boot, open, expired or in use; a damaged one is none
 * @ret_damage: (out) (element-type utf8): a sentence for each damage found, for the log
 * @error: a folder cannot be read at all
 */
gboolean apmig_store_load(ApmigStore *store, GPtrArray **ret_locks, GPtrArray **ret_admissions,
                          GPtrArray **ret_permits, GPtrArray **ret_damage,
                          GError **error) G_GNUC_WARN_UNUSED_RESULT;

/**
 * apmig_store_load_declared: as apmig_store_load()
 * @damage: (element-type utf8): gets a sentence when the file does not read; it is then moved aside
 *
 * Returns: (transfer full) (element-type ApmigEvidenceRecord): what was declared; nothing when it does not read.
 */
GPtrArray *apmig_store_load_declared(ApmigStore *store, GPtrArray *damage) G_GNUC_WARN_UNUSED_RESULT;

/* Starts the writers. */
void apmig_store_start(ApmigStore *store, ApmigStoreFunc func, gpointer user_data);

/**
 * apmig_store_carry_out: in the main loop's thread; returns at once
 * @action: (transfer full): one of the first group in action.h. One with op 0 is not answered.
 */
void apmig_store_carry_out(ApmigStore *store, ApmigAction *action);

/* Returns: (transfer full): an id that no lock file on disk has. */
char *apmig_store_new_lock_id(ApmigStore *store);

/* Whether a writer has been at one operation for longer than @limit_usec at boot time @now (usec): its disk hangs. The
 * watchdog is fed only while that is not so. */
gboolean apmig_store_writer_is_stuck(ApmigStore *store, gint64 now, gint64 limit_usec);

/* Finishes the operations under way, joins the writers, calls no callback. */
void apmig_store_free(ApmigStore *store);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigStore, apmig_store_free)
