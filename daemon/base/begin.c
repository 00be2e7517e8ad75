/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/begin.h"
#include "base/log.h"
#include "base/no-exec.h"

#include <signal.h>
#include <sys/stat.h>
#include <syslog.h>

static void
forbid_exec(void)
{
    g_autoptr(GError) error = NULL;

    if (!apmig_forbid_exec(&error))
        apmig_log(LOG_NOTICE, "%s", error->message);
}

void
apmig_begin(void)
{
    umask(0077);
    /* libvirt's client writes to a libvirtd that is just ending. systemd ignores it for its services; others start it, too. */
    signal(SIGPIPE, SIG_IGN);
    forbid_exec();
    apmig_log_start();
}
