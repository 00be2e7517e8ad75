/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cards/key-guard.h"

#define READ_LIMIT_USEC (5 * G_USEC_PER_SEC)

struct ApmigKeyGuard {
    ApmigKeyView *view;
    ApmigKeyWatch *watch;
    ApmigKeyGuardCallbacks callbacks;
    gpointer user_data;
    gint64 interval;
    guint timeout;
    gboolean is_reading;
    gboolean is_stale; /* a lock has ended since the reading began, so it tells of a time under it */
};

static void
on_read(G_GNUC_UNUSED const ApmigApHost *host, const GPtrArray *readings,
        G_GNUC_UNUSED const ApmigEvidence *evidence, G_GNUC_UNUSED const char *error, gpointer user_data)
{
    ApmigKeyGuard *guard = user_data;
    g_autoptr(ApmigScope) covered = guard->callbacks.covered(guard->user_data);
    g_autoptr(ApmigKeyChanges) changes =
        readings && !guard->is_stale ? apmig_key_watch_observe(guard->watch, readings, covered) : NULL;

    guard->is_reading = guard->is_stale = FALSE;
    if (changes)
        guard->callbacks.changed(changes, guard->user_data);
}

static gboolean
on_due(gpointer user_data)
{
    ApmigKeyGuard *guard = user_data;
    g_autoptr(ApmigScope) all = apmig_scope_new_all();

    if (!guard->is_reading)
        apmig_key_view_read(guard->view, all, 0, READ_LIMIT_USEC, on_read, guard);
    guard->is_reading = TRUE;
    return G_SOURCE_CONTINUE;
}

void
apmig_key_guard_set_interval(ApmigKeyGuard *guard, gint64 interval_usec)
{
    if (interval_usec == guard->interval)
        return;
    guard->interval = interval_usec;
    g_clear_handle_id(&guard->timeout, g_source_remove);
    if (interval_usec > 0)
        guard->timeout = g_timeout_add((guint)(interval_usec / 1000), on_due, guard);
}

void
apmig_key_guard_lock_ended(ApmigKeyGuard *guard, const ApmigScope *scope)
{
    apmig_key_watch_forget(guard->watch, scope);
    guard->is_stale = guard->is_reading;
}

ApmigKeyGuard *
apmig_key_guard_new(ApmigKeyView *view, const ApmigKeyGuardCallbacks *callbacks, gpointer user_data)
{
    ApmigKeyGuard *guard = g_new0(ApmigKeyGuard, 1);

    guard->view = view;
    guard->watch = apmig_key_watch_new();
    guard->callbacks = *callbacks;
    guard->user_data = user_data;
    return guard;
}

void
apmig_key_guard_free(ApmigKeyGuard *guard)
{
    if (!guard)
        return;
    g_clear_handle_id(&guard->timeout, g_source_remove);
    apmig_key_watch_free(guard->watch);
    g_free(guard);
}
