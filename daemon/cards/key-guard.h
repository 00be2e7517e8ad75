/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Has the cards asked from time to time, and tells of changes that nobody announced (see key-watch.h). Main loop's
 * thread only; nothing blocks.
 */
#pragma once

#include "cards/key-view.h"
#include "keys/watch.h"

typedef struct ApmigKeyGuard ApmigKeyGuard;

typedef struct {
    /* Returns: (transfer full): the queues of all locks there are. */
    ApmigScope *(*covered)(gpointer user_data);
    void (*changed)(const ApmigKeyChanges *changes, gpointer user_data);
} ApmigKeyGuardCallbacks;

/* @view: borrowed, to outlive it */
ApmigKeyGuard *apmig_key_guard_new(ApmigKeyView *view, const ApmigKeyGuardCallbacks *callbacks,
                                   gpointer user_data);
/* @guard: (nullable): the view is freed with it or right after: a reading may be under way */
void apmig_key_guard_free(ApmigKeyGuard *guard);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigKeyGuard, apmig_key_guard_free)

/* @interval_usec: between two readings; 0: none */
void apmig_key_guard_set_interval(ApmigKeyGuard *guard, gint64 interval_usec);

/* A lock of that scope has ended. */
void apmig_key_guard_lock_ended(ApmigKeyGuard *guard, const ApmigScope *scope);
