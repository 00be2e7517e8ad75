/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/requester.h"

#include <systemd/sd-bus.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(sd_bus_creds, sd_bus_creds_unref)

void
apmig_requester_look_up(ApmigRequester *requester, guint32 pid)
{
    g_autoptr(sd_bus_creds) creds = NULL;
    const char *unit;
    uid_t euid, login_uid;

    requester->login_uid = -1;
    requester->pid = pid > 0 ? (gint64)pid : -1;
    g_clear_pointer(&requester->unit, g_free);
    if (pid == 0 ||
        sd_bus_creds_new_from_pid(&creds, (pid_t)pid,
                                  SD_BUS_CREDS_EUID | SD_BUS_CREDS_AUDIT_LOGIN_UID | SD_BUS_CREDS_UNIT) < 0)
        return;
    if (sd_bus_creds_get_euid(creds, &euid) < 0 || euid != requester->uid)
        return;
    if (sd_bus_creds_get_audit_login_uid(creds, &login_uid) >= 0)
        requester->login_uid = login_uid;
    if (sd_bus_creds_get_unit(creds, &unit) >= 0)
        requester->unit = g_strdup(unit);
}

void
apmig_requester_clear(ApmigRequester *requester)
{
    g_clear_pointer(&requester->unit, g_free);
}
