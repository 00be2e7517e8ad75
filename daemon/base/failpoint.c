/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/failpoint.h"

#ifdef APMIGD_FAILPOINTS
#include <glib.h>
#include <signal.h>
#include <string.h>

#define STOP_PREFIX "stop:"

void
apmig_failpoint(const char *name)
{
    const char *wanted = g_getenv("APMIGD_FAILPOINT");
    gboolean stop = wanted && g_str_has_prefix(wanted, STOP_PREFIX);

    if (g_strcmp0(stop ? wanted + strlen(STOP_PREFIX) : wanted, name) == 0)
        raise(stop ? SIGSTOP : SIGKILL);
}
#endif
