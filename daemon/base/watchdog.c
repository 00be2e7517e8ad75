/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/watchdog.h"

#include <systemd/sd-daemon.h>

struct ApmigWatchdog {
    ApmigIsAliveFunc is_alive;
    gpointer user_data;
    GSource *timer;
};

static gboolean
tell(gpointer data)
{
    ApmigWatchdog *watchdog = data;

    if (watchdog->is_alive(watchdog->user_data))
        sd_notify(FALSE, "WATCHDOG=1");
    return G_SOURCE_CONTINUE;
}

ApmigWatchdog *
apmig_watchdog_new(ApmigIsAliveFunc is_alive, gpointer user_data)
{
    ApmigWatchdog *watchdog;
    guint64 interval_usec;

    if (sd_watchdog_enabled(FALSE, &interval_usec) <= 0)
        return NULL;
    watchdog = g_new0(ApmigWatchdog, 1);
    watchdog->is_alive = is_alive;
    watchdog->user_data = user_data;
    watchdog->timer = g_timeout_source_new(CLAMP(interval_usec / 2000, 1, G_MAXUINT));
    g_source_set_callback(watchdog->timer, tell, watchdog, NULL);
    g_source_attach(watchdog->timer, g_main_context_get_thread_default());
    return watchdog;
}

void
apmig_watchdog_free(ApmigWatchdog *watchdog)
{
    if (!watchdog)
        return;
    g_source_destroy(watchdog->timer);
    g_source_unref(watchdog->timer);
    g_free(watchdog);
}
