/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * apmigd's state in one line and an exit status, as monitoring systems want it from a plug-in.
 */
#pragma once

#include <json-glib/json-glib.h>

/* What they all take from Nagios (https://www.monitoring-plugins.org/doc/guidelines.html). */
typedef enum {
    CTL_MONITOR_OK = 0,
    CTL_MONITOR_WARNING = 1,
    CTL_MONITOR_CRITICAL = 2,
    CTL_MONITOR_UNKNOWN = 3,
} CtlMonitor;

/**
 * ctl_check_status: prints the line
 * @manager: (nullable): its properties; NULL: they could not be read
 * @locks: (nullable) (element-type JsonObject): with @manager
 * @migrations: (nullable) (element-type JsonObject): the same
 * @error: (nullable): why they could not be read
 *
 * Returns: the exit status
 */
CtlMonitor ctl_check_status(JsonObject *manager, GPtrArray *locks, GPtrArray *migrations,
                            const GError *error);
