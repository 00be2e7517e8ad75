/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The lock with which the tools of s390-tools keep changes of the AP configuration apart: chzdev ap, and mdevctl's callout
 * ap-check. It is advisory, and no lock on migrations: whoever holds it is just changing masks or mediated devices. Here
 * it is held for a reading, so that what is read is of one moment.
 *
 * Its ways are those of libap/ap.c and libutil/util_lockfile.c of s390-tools: the file has the holder's PID and a newline,
 * and is made by link(2) of a temporary one; it is stale when that process is gone, or when it is unreadable and older
 * than 120 s. The others wait for it for 90 s and then fail, mdevctl with them and so libvirt's list of node devices:
 * nobody may hold it for long, and nobody here waits for it for long.
 *
 * Any thread; the functions block for @limit_usec at most.
 */
#pragma once

#include <glib.h>

#define APMIG_AP_CONFIG_LOCK "/run/lock/s390apconfig.lock"

typedef struct ApmigApConfigLock ApmigApConfigLock;

/**
 * apmig_ap_config_lock_begin:
 * @path: %APMIG_AP_CONFIG_LOCK, or another place for tests
 * @limit_usec: for how long to try while somebody else holds it
 *
 * Returns: (transfer full): always, also when it could not be taken: apmig_ap_config_lock_end() tells.
 */
ApmigApConfigLock *apmig_ap_config_lock_begin(const char *path, gint64 limit_usec);

/**
 * apmig_ap_config_lock_drop:
 *
 * Gives it back before the end, from any thread, for what takes too long.
 */
void apmig_ap_config_lock_drop(ApmigApConfigLock *lock);

/**
 * apmig_ap_config_lock_end:
 * @lock: (transfer full)
 *
 * Gives it back. Where it cannot be taken, for want of the folder or of the right to write there, it is looked at before
 * and after instead.
 *
 * Returns: whether nobody else has held it in between, as far as can be told.
 */
gboolean apmig_ap_config_lock_end(ApmigApConfigLock *lock) G_GNUC_WARN_UNUSED_RESULT;
