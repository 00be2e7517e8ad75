/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What of this host a lock covers; and that one which covers nothing is told, for its scope may be a slip. */
#include "core/private.h"

#include <sys/syslog.h>

#include "base/log.h"

GPtrArray *
apmig_core_list_covered_queues(const ApmigCore *core, const ApmigScope *scope)
{
    const ApmigApHost *host = apmig_key_view_host(core->key_view, G_MAXINT64);
    g_autoptr(GPtrArray) covered = g_ptr_array_new_with_free_func(g_free);

    if (!host)
        return NULL;
    for (guint i = 0; i < host->queues->len; i++) {
        const ApmigApQueue *queue = g_ptr_array_index(host->queues, i);

        if (apmig_scope_contains(scope, queue->adapter, queue->domain))
            g_ptr_array_add(covered, g_strdup_printf("%02x.%04x", queue->adapter, queue->domain));
    }
    return g_steal_pointer(&covered);
}

static void
log_that_nothing_is_covered(const ApmigLockRecord *record)
{
    g_autofree char *message = g_strdup_printf(
        "lock %s of scope %s covers no AP queue of this host and no guest on it: if that is not "
        "meant, release it, and see which there are with: apmigctl queues",
        record->id, apmig_scope_to_string(record->scope));

    apmig_log_entry(&(ApmigLogEntry){.log = APMIG_LOG_LOCK_COVERS_NOTHING,
                                     .priority = LOG_WARNING,
                                     .lock_id = record->id,
                                     .change_id = record->change_id,
                                     .message = message});
}

void
core_tell_coverage(ApmigCore *core, const ApmigLock *lock)
{
    const ApmigLockRecord *record = lock->record;
    g_autoptr(GPtrArray) queues = apmig_core_list_covered_queues(core, record->scope);
    g_autoptr(GPtrArray) guests = apmig_engine_list_covered(core->engine, lock);

    if (!queues || !guests || record->origin == APMIG_LOCK_RECOVERED)
        return;
    if (queues->len > 0 || guests->len > 0)
        g_hash_table_remove(core->uncovered, record->id);
    else if (g_hash_table_add(core->uncovered, g_strdup(record->id)))
        log_that_nothing_is_covered(record);
}

void
core_forget_coverage(ApmigCore *core, const char *id)
{
    g_hash_table_remove(core->uncovered, id);
}
