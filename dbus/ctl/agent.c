/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/agent.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <gio/gio.h>
#include <glib-unix.h>

#define PROGRAM   "pkttyagent"
#define NOTIFY_FD 3
#define START_MS  5000

static void
end_with_parent(gpointer data)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
}

/* It closes its end when it is registered, and when it fails. */
static void
wait_until_registered(int fd)
{
    struct pollfd end = {.fd = fd};

    (void)poll(&end, 1, START_MS);
}

/* Returns: (transfer full) (nullable): an agent that the session has already is left to it. */
static CtlAgent *
start(void)
{
    g_autoptr(GSubprocessLauncher) launcher = NULL;
    GSubprocess *agent;
    int fds[2];

    if (geteuid() == 0 || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO) ||
        !g_unix_open_pipe(fds, FD_CLOEXEC, NULL))
        return NULL;
    launcher = g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDIN_INHERIT);
    g_subprocess_launcher_take_fd(launcher, fds[1], NOTIFY_FD);
    g_subprocess_launcher_set_child_setup(launcher, end_with_parent, NULL, NULL);
    agent = g_subprocess_launcher_spawn(launcher, NULL, PROGRAM, "--notify-fd", G_STRINGIFY(NOTIFY_FD),
                                        "--fallback", NULL);
    g_clear_object(&launcher); /* with its copy of that end */
    if (agent)
        wait_until_registered(fds[0]);
    close(fds[0]);
    return (CtlAgent *)agent;
}

void
ctl_agent_stop(CtlAgent *agent)
{
    g_autoptr(GSubprocess) process = (GSubprocess *)agent;

    if (!process)
        return;
    g_subprocess_send_signal(process, SIGTERM);
    g_subprocess_send_signal(process, SIGCONT); /* it may have been stopped at the terminal */
    g_subprocess_wait(process, NULL, NULL);
}

sd_bus *
ctl_bus_open_to_change(const CtlCommon *common, CtlAgent **ret_agent, GError **error)
{
    sd_bus *bus = ctl_bus_open(common, error);

    if (bus && !common->no_ask_password && !common->host)
        *ret_agent = start();
    return bus;
}
