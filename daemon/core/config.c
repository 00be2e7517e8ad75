/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The core's side of the AP configuration: what has to stay while a lock is in force or a guest migrates, when it is
 * read, and what follows when it has changed.
 *
 * It is read whenever anything reads it: after udev's events, where cards are watched, and for callers. Most changes have
 * no event, so besides once when a lock is held or a migration begins, and once when either ends.
 */
#include "core/private.h"

#include <sys/syslog.h>

#include "base/log.h"

/* --- what has to stay ---------------------------------------------------------------------------- */

/* Under the old lock of an earlier run of apmigd, too: whoever holds it was told so then. */
static gboolean
is_in_force(const ApmigLock *lock)
{
    return !lock->result && (lock->state == APMIG_LOCK_HELD || lock->state == APMIG_LOCK_BREACHED ||
                             lock->record->held_at != 0);
}

static void
read_for_comparison(ApmigCore *core)
{
    if (core->on_config_change != APMIG_ON_UNANNOUNCED_IGNORE)
        core_read_host(core);
}

void
core_heed_lock(ApmigCore *core, const char *id)
{
    const ApmigLock *lock = apmig_engine_lookup_lock(core->engine, id);
    g_autofree char *what = g_strdup_printf("under lock %s", id);

    if (lock && is_in_force(lock)) {
        if (apmig_config_watch_begin(core->config_watch, id, what, lock->record->scope, NULL,
                                     g_get_monotonic_time()))
            read_for_comparison(core);
    } else {
        apmig_config_watch_end(core->config_watch, id, g_get_monotonic_time());
    }
}

/* The verification of keys reads the host's hardware, too; a release without it does not. */
void
core_heed_release(ApmigCore *core, const char *id)
{
    const ApmigLock *lock = apmig_engine_lookup_lock(core->engine, id);

    if (lock && is_in_force(lock))
        read_for_comparison(core);
}

/* Of a guest whose queues are not known nothing has to stay. One that comes in brings its source's configuration, which
 * the kernel gives to its device. */
void
core_heed_migration(ApmigCore *core, const char *id)
{
    const ApmigMigration *migration = apmig_engine_lookup_migration(core->engine, id);
    gint64 now = g_get_monotonic_time();
    g_autofree char *what = NULL;

    if (!migration || migration->phase == APMIG_MIGRATION_ENDED) {
        /* The reading is asked for first: one that is asked for after the end is not compared. */
        if (migration && migration->scope_known)
            read_for_comparison(core);
        apmig_config_watch_end(core->config_watch, id, g_get_monotonic_time());
    } else if (migration->scope_known) {
        what = g_strdup_printf("while guest %s migrates %s", migration->guest,
                               apmig_migration_direction(migration));
        if (apmig_config_watch_begin(core->config_watch, id, what, migration->scope,
                                     migration->outgoing ? NULL : (const char *const *)migration->devices,
                                     now))
            read_for_comparison(core);
    }
}

/* --- what has changed ---------------------------------------------------------------------------- */

/* Returns: (transfer full): @queues without those of @covered. */
static ApmigScope *
take_away(const ApmigScope *queues, const ApmigScope *covered)
{
    g_autoptr(GArray) left = g_array_new(FALSE, FALSE, sizeof(ApmigApqn));

    for (guint i = 0; i < APMIG_AP_NUMBERS * APMIG_AP_NUMBERS; i++) {
        const ApmigApqn queue = {i / APMIG_AP_NUMBERS, i % APMIG_AP_NUMBERS};

        if (apmig_scope_contains(queues, queue.adapter, queue.domain) &&
            !apmig_scope_contains(covered, queue.adapter, queue.domain))
            g_array_append_val(left, queue);
    }
    return apmig_scope_new_from_queues((const ApmigApqn *)left->data, left->len);
}

static void
lock_what_is_free(ApmigCore *core, const ApmigConfigChanges *changes)
{
    g_autoptr(ApmigScope) covered = core_list_covered(core);
    g_autoptr(ApmigScope) left = take_away(changes->queues, covered);

    if (!apmig_scope_is_none(left))
        core_lock_by_itself(core, left, changes->message);
}

static void
host_was_read(const ApmigApHost *host, gint64 asked_at, gpointer user_data)
{
    ApmigCore *core = user_data;
    g_autoptr(ApmigConfigChanges) changes = apmig_config_watch_observe(core->config_watch, host, asked_at);

    if (!changes || core->on_config_change == APMIG_ON_UNANNOUNCED_IGNORE)
        return;
    apmig_log_entry(&(ApmigLogEntry){.log = APMIG_LOG_CONFIG_CHANGED,
                                   .priority = LOG_ERR,
                                   .message = changes->message});
    if (core->listener.config_changed)
        core->listener.config_changed(changes, core->listener_data);
    if (core->on_config_change == APMIG_ON_UNANNOUNCED_LOCK)
        lock_what_is_free(core, changes);
}

void
core_watch_config(ApmigCore *core)
{
    core->config_watch = apmig_config_watch_new();
    apmig_key_view_set_host_func(core->key_view, host_was_read, core);
}
