/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/severity.h"

#include <glib.h>

const char *
apmig_severity_to_string(ApmigSeverity severity)
{
    static const char *const names[] = {
        [APMIG_SEVERITY_NONE] = "information",
        [APMIG_SEVERITY_UNKNOWN] = "unknown",
        [APMIG_SEVERITY_WARNING] = "warning",
        [APMIG_SEVERITY_ERROR] = "error",
    };

    g_return_val_if_fail((guint)severity < G_N_ELEMENTS(names), "error");
    return names[severity];
}
