/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What this host has of crypto hardware, and which guests use it: sysfs knows the mediated devices, the hypervisor
 * the guests that have them. Main loop's thread only; nothing blocks.
 */
#pragma once

#include "core/guest-lister.h"
#include "cards/key-view.h"

typedef struct ApmigQueueLister ApmigQueueLister;

/* @guests: (nullable) (element-type ApmigGuestDevices): the active ones; NULL: the hypervisor did not tell in time.
 * @error: (nullable): why @host is NULL, as a clause */
typedef void (*ApmigQueuesFunc)(const ApmigApHost *host, const GPtrArray *guests, const char *error,
                                gpointer user_data);

/* @guest_lister, @view: borrowed */
ApmigQueueLister *apmig_queue_lister_new(ApmigGuestLister *guest_lister, ApmigKeyView *view);
/* @lister: (nullable): no answer comes after it. @guest_lister and @view must not answer it
 * any more either: they are freed next. */
void apmig_queue_lister_free(ApmigQueueLister *lister);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigQueueLister, apmig_queue_lister_free)

/* @func: called once, later, never from within the call. @limit_usec: of the hypervisor and of sysfs */
void apmig_queue_lister_list(ApmigQueueLister *lister, gint64 limit_usec, ApmigQueuesFunc func,
                             gpointer user_data);
