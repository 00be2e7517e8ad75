/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine-private.h"

ApmigEngine *
apmig_engine_new(const ApmigPolicy *policy, const char *run_id)
{
    ApmigEngine *engine = g_new0(ApmigEngine, 1);

    engine->policy = apmig_policy_copy(policy);
    engine->run_id = g_strdup(run_id);
    engine->locks = g_ptr_array_new_with_free_func((GDestroyNotify)lock_free);
    engine->ended_locks = g_ptr_array_new_with_free_func((GDestroyNotify)lock_free);
    engine->migrations = g_ptr_array_new_with_free_func((GDestroyNotify)migration_free);
    engine->ended_migrations = g_ptr_array_new_with_free_func((GDestroyNotify)migration_free);
    engine->pending = g_ptr_array_new_with_free_func((GDestroyNotify)pending_admission_free);
    engine->guests = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)guest_free);
    engine->arrivals = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    engine->stamps = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    engine->stamped_locks =
        g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)apmig_lock_record_free);
    engine->inquiries = engine_new_inquiries();
    engine->permits = g_ptr_array_new_with_free_func(permit_free);
    engine->plugged = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, plugged_free);
    engine->last_token = 1; /* 0 stands for no question */
    engine->view_trouble = g_strdup("not connected yet");
    engine->published_view = "disconnected";
    return engine;
}

void
apmig_engine_free(ApmigEngine *engine)
{
    if (!engine)
        return;
    g_ptr_array_unref(engine->locks);
    g_ptr_array_unref(engine->ended_locks);
    g_ptr_array_unref(engine->migrations);
    g_ptr_array_unref(engine->ended_migrations);
    g_ptr_array_unref(engine->pending);
    g_hash_table_unref(engine->guests);
    g_hash_table_unref(engine->arrivals);
    g_hash_table_unref(engine->stamps);
    g_hash_table_unref(engine->stamped_locks);
    g_ptr_array_unref(engine->inquiries);
    g_ptr_array_unref(engine->permits);
    g_hash_table_unref(engine->plugged);
    g_free(engine->view_trouble);
    g_free(engine->run_id);
    apmig_policy_free(engine->policy);
    g_free(engine);
}

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

/* Those in use first: an open one is not used by what has one already. */
static void
load_permits(ApmigEngine *engine, const GPtrArray *permits, gboolean used)
{
    for (guint i = 0; permits && i < permits->len; i++) {
        const ApmigPermit *record = g_ptr_array_index(permits, i);

        if (!record->used_by == !used)
            engine_load_permit(engine, record);
    }
}

static void
handle_store_loaded(ApmigEngine *engine, const ApmigEvent *event)
{
    g_return_if_fail(!engine->loaded);

    for (guint i = 0; i < event->store_loaded.locks->len; i++)
        engine_load_lock(engine, g_ptr_array_index(event->store_loaded.locks, i));
    for (guint i = 0; i < event->store_loaded.admissions->len; i++)
        engine_load_admission(engine, g_ptr_array_index(event->store_loaded.admissions, i));
    load_permits(engine, event->store_loaded.permits, TRUE);
    load_permits(engine, event->store_loaded.permits, FALSE);
    engine->loaded = TRUE;
}

static void
handle_policy_changed(ApmigEngine *engine, const ApmigPolicy *policy)
{
    ApmigPolicy *old = engine->policy;

    engine->policy = apmig_policy_copy(policy);
    for (guint i = 0; i < engine->migrations->len; i++)
        migration_heed_policy(engine, g_ptr_array_index(engine->migrations, i));
    engine_locks_heed_policy(engine);
    apmig_policy_free(old); /* now that nothing points into it any more */
}

static void
dispatch(ApmigEngine *engine, const ApmigEvent *event)
{
    switch (event->type) {
    case APMIG_EVENT_STORE_LOADED:
        handle_store_loaded(engine, event);
        break;
    case APMIG_EVENT_TAKE:
        engine_take(engine, event);
        break;
    case APMIG_EVENT_RELEASE:
        engine_release(engine, event);
        break;
    case APMIG_EVENT_AMEND:
        engine_amend(engine, event);
        break;
    case APMIG_EVENT_CHECK:
        engine_check(engine, event);
        break;
    case APMIG_EVENT_PERMIT:
        engine_permit(engine, event);
        break;
    case APMIG_EVENT_REVOKE:
        engine_revoke(engine, event);
        break;
    case APMIG_EVENT_CALLER_GONE:
        engine_forget_inquiries(engine, event->caller_gone.caller);
        engine_forget_permit_callers(engine, event->caller_gone.caller);
        engine_caller_gone(engine, event->caller_gone.caller);
        break;
    case APMIG_EVENT_ADMIT:
        engine_admit(engine, event);
        break;
    case APMIG_EVENT_LOCK_PERSISTED:
        engine_lock_written(engine, event->persisted.op, event->persisted.error);
        break;
    case APMIG_EVENT_LOCK_REMOVED:
        engine_lock_removed(engine, event->persisted.op, event->persisted.error);
        break;
    case APMIG_EVENT_ADMISSION_PERSISTED:
        engine_admission_written(engine, event->persisted.op, event->persisted.error);
        break;
    case APMIG_EVENT_PERMIT_WRITTEN:
        engine_permit_written(engine, event->persisted.op, event->persisted.error);
        break;
    case APMIG_EVENT_VIEW_STARTED:
        engine_view_started(engine);
        break;
    case APMIG_EVENT_VIEW_LOST:
        engine_view_lost(engine, event->view_lost.reason);
        break;
    case APMIG_EVENT_GUESTS_LISTED:
        engine_listed(engine, event);
        break;
    case APMIG_EVENT_GUEST_ANSWERED:
        engine_answered(engine, event);
        break;
    case APMIG_EVENT_GUEST_CHANGED:
        engine_guest_changed(engine, event->changed.uuid, event->changed.change);
        break;
    case APMIG_EVENT_GUEST_STOPPED:
        engine_guest_stopped(engine, event->stopped.uuid, event->stopped.migrated);
        break;
    case APMIG_EVENT_HINT:
        engine_hint(engine, event->hint.uuid, event->hint.name);
        break;
    case APMIG_EVENT_STEP_FINISHED:
        engine_step_finished(engine, event->step.op, event->step.outcome, event->step.message);
        break;
    case APMIG_EVENT_KEYS_READ:
        engine_keys_read(engine, event);
        break;
    case APMIG_EVENT_STAMP_FINISHED:
        engine_stamp_finished(engine, event);
        break;
    case APMIG_EVENT_USES_READ:
        engine_uses_read(engine, event);
        break;
    case APMIG_EVENT_HARDWARE_CHANGED:
        engine_hardware_changed(engine, event->hardware.has_guest_queues);
        break;
    case APMIG_EVENT_POLICY_CHANGED:
        handle_policy_changed(engine, event->policy);
        break;
    case APMIG_EVENT_DEADLINE:
        break;
    }
}

static void
forget_ended(ApmigEngine *engine)
{
    while (engine->ended_locks->len) {
        Lock *lock = g_ptr_array_index(engine->ended_locks, 0);

        if (engine->ended_locks->len <= RETAIN_MAX && engine->now < lock->ended_at + RETAIN_USEC)
            break;
        engine_act(engine, APMIG_ACTION_FORGET_LOCK)->id = g_strdup(lock->pub.record->id);
        g_ptr_array_remove_index(engine->ended_locks, 0);
    }
    while (engine->ended_migrations->len) {
        Migration *migration = g_ptr_array_index(engine->ended_migrations, 0);

        if (engine->ended_migrations->len <= RETAIN_MAX && engine->now < migration->ended_at + RETAIN_USEC)
            break;
        engine_act(engine, APMIG_ACTION_FORGET_MIGRATION)->id = g_strdup(migration->pub.id);
        g_ptr_array_remove_index(engine->ended_migrations, 0);
    }
}

static void
publish(ApmigEngine *engine)
{
    const char *view = apmig_engine_view_state(engine);

    for (guint i = 0; i < engine->migrations->len; i++) {
        Migration *migration = g_ptr_array_index(engine->migrations, i);

        if (migration->dirty)
            engine_act(engine, APMIG_ACTION_PUBLISH_MIGRATION)->id = g_strdup(migration->pub.id);
        migration->dirty = FALSE;
    }
    engine_publish_locks(engine);
    engine_publish_permits(engine);
    if (!g_str_equal(view, engine->published_view))
        engine_act(engine, APMIG_ACTION_PUBLISH_VIEW);
    engine->published_view = view;
}

/* Permits first: one that has expired is no reason any more. Migrations before locks: an end that was just seen may make a
 * lock held; and both before inquiries, which are told how things stand. Ended entries leave the arrays, hence the walks
 * from the end. */
static void
settle(ApmigEngine *engine)
{
    engine_settle_permits(engine);
    for (guint i = engine->migrations->len; i > 0; i--)
        engine_settle_migration(engine, g_ptr_array_index(engine->migrations, i - 1));
    for (guint i = engine->locks->len; i > 0; i--)
        engine_settle_lock(engine, g_ptr_array_index(engine->locks, i - 1));
    engine_settle_unplugged(engine);
    engine_settle_inquiries(engine);
    engine_settle_view(engine);
    engine_settle_stamps(engine);
    publish(engine);
    forget_ended(engine);
}

void
apmig_engine_handle(ApmigEngine *engine, const ApmigEvent *event, GPtrArray *actions)
{
    engine->now = MAX(event->now, engine->now);
    engine->realtime = event->realtime;
    engine->actions = actions;
    dispatch(engine, event);
    settle(engine);
    engine->actions = NULL;
}

gint64
apmig_engine_next_deadline(const ApmigEngine *engine)
{
    gint64 deadline = MIN(engine_view_next_deadline(engine), engine_stamps_next_deadline(engine));

    engine_earlier(&deadline, engine_inquiries_next_deadline(engine));
    engine_earlier(&deadline, engine_permits_next_deadline(engine));
    for (guint i = 0; i < engine->locks->len; i++)
        engine_earlier(&deadline, lock_next_deadline(engine, g_ptr_array_index(engine->locks, i)));
    for (guint i = 0; i < engine->migrations->len; i++)
        engine_earlier(&deadline, migration_next_deadline(engine, g_ptr_array_index(engine->migrations, i)));
    if (engine->ended_locks->len)
        engine_earlier(&deadline,
                       ((Lock *)g_ptr_array_index(engine->ended_locks, 0))->ended_at + RETAIN_USEC);
    if (engine->ended_migrations->len)
        engine_earlier(&deadline,
                       ((Migration *)g_ptr_array_index(engine->ended_migrations, 0))->ended_at + RETAIN_USEC);
    return deadline;
}

const ApmigPolicy *
apmig_engine_policy(const ApmigEngine *engine)
{
    return engine->policy;
}

const ApmigLock *
apmig_engine_lookup_lock(const ApmigEngine *engine, const char *id)
{
    Lock *lock = engine_find_lock(engine, id);

    if (lock)
        return &lock->pub;
    for (guint i = 0; i < engine->ended_locks->len; i++) {
        lock = g_ptr_array_index(engine->ended_locks, i);
        if (g_str_equal(lock->pub.record->id, id))
            return &lock->pub;
    }
    return NULL;
}

static const ApmigMigration *
find_by_id(const GPtrArray *migrations, const char *id)
{
    for (guint i = 0; i < migrations->len; i++) {
        const Migration *migration = g_ptr_array_index(migrations, i);

        if (g_str_equal(migration->pub.id, id))
            return &migration->pub;
    }
    return NULL;
}

const ApmigMigration *
apmig_engine_lookup_migration(const ApmigEngine *engine, const char *id)
{
    const ApmigMigration *migration = find_by_id(engine->migrations, id);

    return migration ? migration : find_by_id(engine->ended_migrations, id);
}

/* The public part of a Lock or Migration is its first member, so the pointers can be handed out as they are. */
G_STATIC_ASSERT(G_STRUCT_OFFSET(Lock, pub) == 0);
G_STATIC_ASSERT(G_STRUCT_OFFSET(Migration, pub) == 0);

static GPtrArray *
copy_pointers(const GPtrArray *array)
{
    GPtrArray *copy = g_ptr_array_sized_new(array->len);

    for (guint i = 0; i < array->len; i++)
        g_ptr_array_add(copy, g_ptr_array_index(array, i));
    return copy;
}

GPtrArray *
apmig_engine_list_locks(const ApmigEngine *engine)
{
    return copy_pointers(engine->locks);
}

GPtrArray *
apmig_engine_list_migrations(const ApmigEngine *engine)
{
    return copy_pointers(engine->migrations);
}
