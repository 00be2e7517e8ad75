/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/guest-queues.h"

#include "cards/ap-sysfs.h"

static void
add_scope(ApmigScope **scope, const ApmigScope *more)
{
    ApmigScope *both = apmig_scope_union(*scope, more);

    apmig_scope_unref(*scope);
    *scope = both;
}

/* The first devices are vfio-ap's by their model, of the others only sysfs tells. */
static gboolean
is_ap_device(const ApmigGuest *guest, guint index, ApmigSysfs *sysfs)
{
    return index < guest->n_ap_devices ||
           apmig_ap_is_device(apmig_sysfs_root(sysfs), guest->devices[index]) != APMIG_NO;
}

/* A device that is not there, because it is made anew before it is plugged in again, tells nothing; what the guest had
 * is then known from its stamp, or it may be anything. */
static void
add_unplugged(ApmigGuest *guest, ApmigSysfs *sysfs, ApmigScope **scope)
{
    g_autoptr(ApmigScope) all = apmig_scope_new_all();

    for (guint i = 0; guest->unplugged[i]; i++) {
        g_autoptr(ApmigScope) queues = apmig_ap_device_scope(sysfs, guest->unplugged[i]);

        guest->scope_varies = TRUE;
        if (queues || !guest->knows_unplugged)
            add_scope(scope, queues ? queues : all);
    }
    if (guest->has_unnamed_unplugged)
        add_scope(scope, all);
}

void
apmig_guest_read_queues(ApmigGuest *guest, ApmigSysfs *sysfs)
{
    g_autoptr(ApmigScope) all = apmig_scope_new_all();
    g_autoptr(ApmigScope) scope = NULL;

    if (guest->affected != APMIG_AFFECTED_YES)
        return;
    scope = guest->declared ? apmig_scope_ref(guest->declared) : apmig_scope_new_none();
    guest->scope_varies = FALSE;
    for (guint i = 0; guest->devices[i]; i++) {
        g_autoptr(ApmigScope) queues = NULL;

        if (!is_ap_device(guest, i, sysfs))
            continue;
        guest->scope_varies = TRUE;
        queues = apmig_ap_device_scope(sysfs, guest->devices[i]);
        add_scope(&scope, queues ? queues : all);
    }
    if (guest->has_unnamed)
        add_scope(&scope, all);
    add_unplugged(guest, sysfs, &scope);
    apmig_scope_unref(guest->scope);
    guest->scope = g_steal_pointer(&scope);
}
