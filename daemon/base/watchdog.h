/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * systemd's watchdog (sd_watchdog_enabled(3)): told at half of its interval that the daemon lives, as long as the
 * main loop turns and the parts that work beside it say so. Main loop's thread only.
 */
#pragma once

#include <glib.h>

typedef struct ApmigWatchdog ApmigWatchdog;

typedef gboolean (*ApmigIsAliveFunc)(gpointer user_data);

/* Returns: (nullable): NULL when systemd has asked for no watchdog. */
ApmigWatchdog *apmig_watchdog_new(ApmigIsAliveFunc is_alive, gpointer user_data);
void apmig_watchdog_free(ApmigWatchdog *watchdog);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigWatchdog, apmig_watchdog_free)
