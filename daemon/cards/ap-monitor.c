/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cards/ap-monitor.h"

#include <gudev/gudev.h>

struct ApmigApMonitor {
    ApmigApChangedFunc func;
    gpointer user_data;
    GUdevClient *client;
    guint pause; /* source of the call that is due; 0: none is */
};

static gboolean
call(gpointer user_data)
{
    ApmigApMonitor *monitor = user_data;

    monitor->pause = 0;
    monitor->func(monitor->user_data);
    return G_SOURCE_REMOVE;
}

/* The call comes after the pause, not before it: events come in bursts, of which the last one counts. */
void
apmig_ap_monitor_take(ApmigApMonitor *monitor, const char *action)
{
    static const char *const actions[] = {"change", "add", "remove", "bind", "unbind", NULL};

    if (monitor->pause == 0 && g_strv_contains(actions, action))
        monitor->pause = g_timeout_add(APMIG_AP_MONITOR_PAUSE_MS, call, monitor);
}

static void
on_uevent(GUdevClient *client, const char *action, GUdevDevice *device, gpointer user_data)
{
    apmig_ap_monitor_take(user_data, action);
}

ApmigApMonitor *
apmig_ap_monitor_new(ApmigApChangedFunc func, gpointer user_data)
{
    static const char *const subsystems[] = {"ap", "mdev", "matrix", NULL};
    ApmigApMonitor *monitor = g_new0(ApmigApMonitor, 1);

    monitor->func = func;
    monitor->user_data = user_data;
    monitor->client = g_udev_client_new(subsystems);
    g_signal_connect(monitor->client, "uevent", G_CALLBACK(on_uevent), monitor);
    return monitor;
}

void
apmig_ap_monitor_free(ApmigApMonitor *monitor)
{
    if (!monitor)
        return;
    g_signal_handlers_disconnect_by_data(monitor->client, monitor);
    g_object_unref(monitor->client);
    if (monitor->pause != 0)
        g_source_remove(monitor->pause);
    g_free(monitor);
}
