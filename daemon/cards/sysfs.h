/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Readings of sysfs that nobody waits for longer than they take when all is well: a file of one queue or device waits in the
 * kernel while that is reset, or for as long as its card does not answer, and the others are read meanwhile. A reading that
 * hangs keeps its thread; until it has returned, nobody reads that entry again.
 */
#pragma once

#include <glib.h>

/* Counted; any thread. */
typedef struct ApmigSysfs ApmigSysfs;

/* In threads of its own. @root: where sysfs is mounted. @name: of an entry, a queue, a card or a device. Returns: (transfer
 * full) (nullable): what was read of it */
typedef gpointer (*ApmigSysfsFunc)(const char *root, const char *name);

/* Reads nothing yet. */
ApmigSysfs *apmig_sysfs_new(const char *root);
ApmigSysfs *apmig_sysfs_ref(ApmigSysfs *sysfs);
/* @sysfs: (nullable) */
void apmig_sysfs_unref(ApmigSysfs *sysfs);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigSysfs, apmig_sysfs_unref)

const char *apmig_sysfs_root(const ApmigSysfs *sysfs);

/**
 * apmig_sysfs_read:
 * @names: (element-type utf8): of entries, each once
 * @destroy: for what is read
 * @unread: (element-type utf8) (nullable): gets those of @names that hang
 *
 * Calls @func for each of @names, several at once, and waits until all are read, or for a second in which none was. Blocks
 * for that long; for worker threads.
 *
 * Returns: (transfer full): what was read of those of which something was, in no order.
 */
GPtrArray *apmig_sysfs_read(ApmigSysfs *sysfs, const GPtrArray *names, ApmigSysfsFunc func,
                            GDestroyNotify destroy, GPtrArray *unread);
