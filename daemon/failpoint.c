/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "failpoint.h"

#ifdef APMIGD_FAILPOINTS
#include <glib.h>
#include <signal.h>

void
apmig_failpoint(const char *name)
{
    if (g_strcmp0(g_getenv("APMIGD_FAILPOINT"), name) == 0)
        raise(SIGKILL);
}
#endif
