/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The values that a hypervisor tells of its guests and their devices. */
#include "libvirt/hypervisor.h"

ApmigGuestDevices *
apmig_guest_devices_new(const char *uuid, const char *name, const char *const *devices,
                        const ApmigScope *scope)
{
    ApmigGuestDevices *guest = g_new0(ApmigGuestDevices, 1);

    guest->uuid = g_strdup(uuid);
    guest->name = g_strdup(name);
    guest->devices = g_strdupv((char **)devices);
    guest->scope = scope ? apmig_scope_ref((ApmigScope *)scope) : apmig_scope_new_all();
    return guest;
}

ApmigGuestDevices *
apmig_guest_devices_copy(const ApmigGuestDevices *guest)
{
    return apmig_guest_devices_new(guest->uuid, guest->name, (const char *const *)guest->devices,
                                   guest->scope);
}

void
apmig_guest_devices_free(ApmigGuestDevices *guest)
{
    if (!guest)
        return;
    g_free(guest->uuid);
    g_free(guest->name);
    g_strfreev(guest->devices);
    apmig_scope_unref(guest->scope);
    g_free(guest);
}
