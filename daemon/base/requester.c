/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/requester.h"
#include "base/proc.h"

#include <fcntl.h>
#include <systemd/sd-bus.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(sd_bus_creds, sd_bus_creds_unref)

/* The kernel's fs/pidfs.c, before 6.9 kernel/fork.c, pidfd_show_fdinfo(): "Pid:" is -1 once the process has been waited for,
 * and as long as it has not been, its number is nobody else's. */
static gboolean
is_process_of(int pidfd, guint32 pid)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fdinfo/%d", pidfd);
    g_autofree char *text = apmig_proc_read_field(AT_FDCWD, path, "Pid");
    guint64 number;

    return text && g_ascii_string_to_unsigned(text, 10, 1, G_MAXINT32, &number, NULL) && number == pid;
}

static void
read_process(ApmigRequester *requester, guint32 pid)
{
    g_autoptr(sd_bus_creds) creds = NULL;
    const char *unit;
    uid_t euid, login_uid;

    if (sd_bus_creds_new_from_pid(&creds, (pid_t)pid,
                                  SD_BUS_CREDS_EUID | SD_BUS_CREDS_AUDIT_LOGIN_UID | SD_BUS_CREDS_UNIT) < 0)
        return;
    if (sd_bus_creds_get_euid(creds, &euid) < 0 || euid != requester->uid)
        return;
    if (sd_bus_creds_get_audit_login_uid(creds, &login_uid) >= 0)
        requester->login_uid = login_uid;
    if (sd_bus_creds_get_unit(creds, &unit) >= 0)
        requester->unit = g_strdup(unit);
}

static void
forget_process(ApmigRequester *requester)
{
    requester->login_uid = -1;
    g_clear_pointer(&requester->unit, g_free);
}

void
apmig_requester_look_up(ApmigRequester *requester, guint32 pid, int pidfd)
{
    forget_process(requester);
    requester->verified = FALSE;
    requester->pid = pid > 0 ? (gint64)pid : -1;
    if (pid == 0 || (pidfd >= 0 && !is_process_of(pidfd, pid)))
        return;
    read_process(requester, pid);
    if (pidfd < 0)
        return;
    requester->verified = is_process_of(pidfd, pid);
    if (!requester->verified)
        forget_process(requester);
}

void
apmig_requester_clear(ApmigRequester *requester)
{
    g_clear_pointer(&requester->unit, g_free);
}
