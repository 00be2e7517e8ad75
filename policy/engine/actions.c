/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What goes out: actions, entries of the journal, replies. */
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
engine_publish(ApmigEngine *engine, ApmigActionType type, const char *id)
{
    engine_act(engine, type)->id = g_strdup(id);
}

/* --- entries of the journal ---------------------------------------------------------------------- */

void
entry_add_locks(ApmigLogEntry *entry, const ApmigEngine *engine, const ApmigScope *scope)
{
    g_return_if_fail(!entry->locks);
    entry->locks = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_lock_record_free);
    for (guint i = 0; i < engine->locks->len; i++) {
        const Lock *lock = g_ptr_array_index(engine->locks, i);

        if (!scope || apmig_scope_overlaps(lock->pub.record->scope, scope))
            g_ptr_array_add(entry->locks, apmig_lock_record_copy(lock->pub.record));
    }
}

void
entry_set_guest(ApmigLogEntry *entry, const char *uuid, const char *name)
{
    g_free(entry->uuid);
    g_free(entry->guest);
    entry->uuid = g_strdup(uuid);
    entry->guest = g_strdup(name);
}

ApmigLogEntry *
engine_log(ApmigEngine *engine, ApmigLog log, int priority, const Lock *lock, const Migration *migration,
           const char *format, ...)
{
    ApmigLogEntry *entry = &engine_act(engine, APMIG_ACTION_LOG)->entry;
    va_list args;

    va_start(args, format);
    entry->message = g_strdup_vprintf(format, args);
    va_end(args);
    entry->log = log;
    entry->priority = priority;
    entry->lock_id = lock ? g_strdup(lock->pub.record->id) : NULL;
    entry->change_id = lock ? g_strdup(lock->pub.record->change_id) : NULL;
    entry->migration_id = migration ? g_strdup(migration->pub.id) : NULL;
    if (migration)
        entry_set_guest(entry, migration->pub.uuid, migration->pub.guest);
    if (log == APMIG_LOG_LOCK_ENDED)
        entry->result = g_strdup(lock->pub.result);
    if (log == APMIG_LOG_MIGRATION_ENDED)
        entry->result = g_strdup(migration->pub.result);
    if (migration && !lock)
        entry_add_locks(entry, engine, migration->pub.scope);
    return entry;
}

/* --- replies ------------------------------------------------------------------------------------- */

ApmigReply *
engine_reply(ApmigEngine *engine, ApmigActionType type, ApmigCaller caller)
{
    ApmigReply *reply = &engine_act(engine, type)->reply;

    reply->caller = caller;
    return reply;
}

void
engine_reply_taken(ApmigEngine *engine, Lock *lock)
{
    if (lock->taker)
        engine_reply(engine, APMIG_ACTION_REPLY_TAKEN, lock->taker)->id = g_strdup(lock->pub.record->id);
    lock->taker = 0;
}

void
engine_reply_error(ApmigEngine *engine, ApmigCaller caller, ApmigError code, const char *message)
{
    ApmigReply *reply;

    if (!caller) /* it is gone */
        return;
    reply = engine_reply(engine, APMIG_ACTION_REPLY_ERROR, caller);
    reply->code = code;
    reply->message = g_strdup(message);
}

void
engine_earlier(gint64 *deadline, gint64 candidate)
{
    if (candidate && candidate < *deadline)
        *deadline = candidate;
}
