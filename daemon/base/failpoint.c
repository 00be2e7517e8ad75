/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/failpoint.h"

#ifdef APMIGD_FAILPOINTS
#include <glib.h>
#include <signal.h>
#include <string.h>

#define LOOK_AGAIN_USEC 5000

static void
end_process(void)
{
    raise(SIGKILL);
}

static void
stop_process(void)
{
    raise(SIGSTOP);
}

static void
hang(void)
{
    const char *end = g_getenv("APMIGD_FAILPOINT_END");
    g_autofree char *hangs = g_strconcat(end ? end : "", ".hangs", NULL);

    if (end)
        (void)g_file_set_contents(hangs, "", 0, NULL);
    while (!end || !g_file_test(end, G_FILE_TEST_EXISTS))
        g_usleep(LOOK_AGAIN_USEC);
}

void
apmig_failpoint(const char *name)
{
    static const struct {
        const char *prefix;
        void (*func)(void);
    } kinds[] = {{"stop:", stop_process}, {"hang:", hang}, {"", end_process}};
    const char *wanted = g_getenv("APMIGD_FAILPOINT");
    guint kind = 0;

    if (!wanted)
        return;
    while (!g_str_has_prefix(wanted, kinds[kind].prefix))
        kind++;
    if (g_str_equal(wanted + strlen(kinds[kind].prefix), name))
        kinds[kind].func();
}

bool
apmig_failpoint_skips(const char *name)
{
    const char *wanted = g_getenv("APMIGD_FAILPOINT"), *begin = g_getenv("APMIGD_FAILPOINT_BEGIN");

    return wanted && begin && g_str_has_prefix(wanted, "skip:") &&
           g_str_equal(wanted + strlen("skip:"), name) && g_file_test(begin, G_FILE_TEST_EXISTS);
}
#endif
