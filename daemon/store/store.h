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

#include "store/disk.h"

typedef struct ApmigStore ApmigStore;

/* @event: LOCK_PERSISTED and its like, with the op of the action that it answers; borrowed, without its times. */
typedef void (*ApmigStoreFunc)(const ApmigEvent *event, gpointer user_data);

/* Both in the main loop's thread. */
typedef struct {
    ApmigStoreFunc answered;
    /* Once; @loaded is the store's. */
    void (*loaded)(const ApmigStoreLoaded *loaded, gpointer user_data);
} ApmigStoreFuncs;

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
 * apmig_store_start: starts the writers; the first that each of them does is to read its folder
 *
 * What is to be carried out meanwhile is done after that.
 */
void apmig_store_start(ApmigStore *store, const ApmigStoreFuncs *funcs, gpointer user_data);

/**
 * apmig_store_wait_until_loaded: in the main loop's thread
 * @limit_usec: so long at most, for a disk may hang
 *
 * Returns: whether all has been read; then it has been told, from within this call. Else it is told when it has been read.
 */
gboolean apmig_store_wait_until_loaded(ApmigStore *store, gint64 limit_usec);

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
