/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What goes out: actions, entries of the journal, refusals. */
#include "engine/private.h"

ApmigAction *
engine_act(ApmigEngine *engine, ApmigActionType type)
{
    ApmigAction *action = g_new0(ApmigAction, 1);

    action->type = type;
    g_ptr_array_add(engine->actions, action);
    return action;
}

void
engine_log(ApmigEngine *engine, ApmigLog log, int priority, const Lock *lock, const Migration *migration,
           const char *format, ...)
{
    ApmigAction *action = engine_act(engine, APMIG_ACTION_LOG);
    va_list args;

    va_start(args, format);
    action->message = g_strdup_vprintf(format, args);
    va_end(args);
    action->log = log;
    action->priority = priority;
    action->id = lock ? g_strdup(lock->pub.record->id) : NULL;
    action->change_id = lock ? g_strdup(lock->pub.record->change_id) : NULL;
    action->migration_id = migration ? g_strdup(migration->pub.id) : NULL;
    action->uuid = migration ? g_strdup(migration->pub.uuid) : NULL;
    action->guest = migration ? g_strdup(migration->pub.guest) : NULL;
    if (log == APMIG_LOG_LOCK_ENDED)
        action->result = g_strdup(lock->pub.result);
    if (log == APMIG_LOG_MIGRATION_ENDED)
        action->result = g_strdup(migration->pub.result);
    if (migration && !lock)
        engine_log_concerns(engine, migration->pub.scope);
}

void
engine_log_concerns(ApmigEngine *engine, const ApmigScope *scope)
{
    ApmigAction *entry = g_ptr_array_index(engine->actions, engine->actions->len - 1);

    g_return_if_fail(entry->type == APMIG_ACTION_LOG && !entry->locks);
    entry->locks = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_lock_record_free);
    for (guint i = 0; i < engine->locks->len; i++) {
        const Lock *lock = g_ptr_array_index(engine->locks, i);

        if (!scope || apmig_scope_overlaps(lock->pub.record->scope, scope))
            g_ptr_array_add(entry->locks, apmig_lock_record_copy(lock->pub.record));
    }
}

void
engine_reply_error(ApmigEngine *engine, ApmigCaller caller, ApmigError code, const char *message)
{
    ApmigAction *action;

    if (!caller) /* it is gone */
        return;
    action = engine_act(engine, APMIG_ACTION_REPLY_ERROR);
    action->caller = caller;
    action->code = code;
    action->message = g_strdup(message);
}

void
engine_earlier(gint64 *deadline, gint64 candidate)
{
    if (candidate && candidate < *deadline)
        *deadline = candidate;
}
