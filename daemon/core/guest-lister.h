/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The active guests that may be affected, as the hypervisor tells of them, with a limit to the wait for it. Main loop's
 * thread only; nothing blocks.
 */
#pragma once

#include "libvirt/hypervisor.h"

typedef struct ApmigGuestLister ApmigGuestLister;

/* @hypervisor: borrowed, to outlive it */
ApmigGuestLister *apmig_guest_lister_new(ApmigHypervisor *hypervisor);
/* @lister: (nullable): no answer comes after it. Who was asked for it must not answer any more either: it is freed next. */
void apmig_guest_lister_free(ApmigGuestLister *lister);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigGuestLister, apmig_guest_lister_free)

/* @func: called once, later, never from within the call; with NULL when the hypervisor has not told within @limit_usec */
void apmig_guest_lister_list(ApmigGuestLister *lister, gint64 limit_usec, ApmigGuestDevicesFunc func,
                             gpointer user_data);
