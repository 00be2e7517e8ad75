/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tells that something about crypto hardware has changed, by udev's events: cards and queues that come, go, change
 * their driver or are set online or offline (subsystem ap), mediated devices that come and go (mdev), and vfio_ap's
 * parent of them (matrix). What has changed is to be read anew; much changes without any event (what is assigned to
 * a mediated device, master keys, a queue's status), so events only make things faster. Main loop's thread only.
 */
#pragma once

#include <glib.h>

#define APMIG_AP_MONITOR_PAUSE_MS 200 /* between two calls at least; also from an event to the call for it */

typedef struct ApmigApMonitor ApmigApMonitor;

typedef void (*ApmigApChangedFunc)(gpointer user_data);

/**
 * apmig_ap_monitor_new:
 * @func: called in the main loop's thread, never from within this call; once for all events of a burst
 *
 * Where udev cannot be listened to (no udevd, another network namespace than its own) there are no events.
 */
ApmigApMonitor *apmig_ap_monitor_new(ApmigApChangedFunc func, gpointer user_data);
void apmig_ap_monitor_free(ApmigApMonitor *monitor);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigApMonitor, apmig_ap_monitor_free)

/* What a uevent leads to. @action: as in "change"; one that changes nothing is none of ours. */
void apmig_ap_monitor_take(ApmigApMonitor *monitor, const char *action);
