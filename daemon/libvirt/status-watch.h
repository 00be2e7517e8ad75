/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Watches libvirt's status folder. The QEMU driver rewrites NAME.xml there, by a rename, whenever a job of the
 * guest begins, a good third of a second before its first event about an outgoing migration (virDomainObjSave()
 * called by qemuDomainSaveStatus(); virXMLSaveFile() renames). The files are libvirt's own format and are never
 * read. inotify(7), no polling; also of a folder that is not there yet.
 */
#pragma once

#include <glib.h>

typedef struct ApmigStatusWatch ApmigStatusWatch;

/* @name: (nullable): of the guest that something happened to; NULL: perhaps to any, changes went unseen. */
typedef void (*ApmigStatusFunc)(const char *name, gpointer user_data);

/* @watched: the folder itself is, from now on: nothing in it goes unseen; FALSE at first */
typedef void (*ApmigStatusWatchedFunc)(gboolean watched, gpointer user_data);

/**
 * apmig_status_watch_new:
 * @dir: an absolute path; need not exist
 * @func: called in the main loop's thread, never from within this call, as the next one
 * @watched_func: called before @func is for the first time
 *
 * Where it cannot be watched (no permission, no inotify instance left) there are no hints until a folder on the
 * way changes; hints only make things faster. Main loop's thread only.
 */
ApmigStatusWatch *apmig_status_watch_new(const char *dir, ApmigStatusFunc func,
                                         ApmigStatusWatchedFunc watched_func, gpointer user_data);
/**
 * apmig_status_watch_check:
 *
 * Looks, from the main loop and soon, whether the folder that is watched is still the one of that name: nothing tells when
 * something is mounted over it, or a folder above it was exchanged. If it is not, that one is watched from now on, and
 * what happened in it before is owned up to. Main loop's thread only.
 */
void apmig_status_watch_check(ApmigStatusWatch *watch);
void apmig_status_watch_free(ApmigStatusWatch *watch);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigStatusWatch, apmig_status_watch_free)
