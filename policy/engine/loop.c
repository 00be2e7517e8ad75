/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An event comes in, everything settles, and what has changed is published. */
#include "engine/private.h"

static void
handle_policy_changed(ApmigEngine *engine, const ApmigPolicy *policy)
{
    ApmigPolicy *old = engine->policy;

    engine->policy = apmig_policy_copy(policy);
    for (guint i = 0; i < engine->migrations->len; i++)
        migration_on_policy_changed(engine, g_ptr_array_index(engine->migrations, i));
    engine_locks_on_policy_changed(engine);
    engine->silence_at = 0;
    apmig_policy_free(old); /* now that nothing points into it any more */
}

static void
dispatch(ApmigEngine *engine, const ApmigEvent *event)
{
    switch (event->type) {
    case APMIG_EVENT_STORE_LOADED:
        engine_load(engine, event);
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
        engine_forget_inquiries(engine, event->caller);
        engine_forget_permit_callers(engine, event->caller);
        engine_caller_gone(engine, event->caller);
        engine_admission_caller_gone(engine, event->caller);
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
    case APMIG_EVENT_FACTS_READ:
        engine_facts_read(engine, event);
        break;
    case APMIG_EVENT_HEARTBEAT_ANSWERED:
        engine_heartbeat_answered(engine, event);
        break;
    case APMIG_EVENT_GUEST_NEWS:
        engine_guest_news(engine, event);
        break;
    case APMIG_EVENT_HINT:
        engine_hint(engine, event->hint.uuid, event->hint.name);
        break;
    case APMIG_EVENT_HINTS_CHANGED:
        engine_hints_changed(engine, event->hints.watched);
        break;
    case APMIG_EVENT_STEP_FINISHED:
        engine_step_finished(engine, event);
        break;
    case APMIG_EVENT_GUEST_LOOKED_AT:
        engine_looked_at(engine, event);
        break;
    case APMIG_EVENT_STEPS_CHANGED:
        engine_steps_changed(engine, event->steps.trouble);
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
    case APMIG_EVENT_DECLARED_PERSISTED:
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
        engine_publish(engine, APMIG_ACTION_FORGET_LOCK, lock->pub.record->id);
        g_ptr_array_remove_index(engine->ended_locks, 0);
    }
    while (engine->ended_migrations->len) {
        Migration *migration = g_ptr_array_index(engine->ended_migrations, 0);

        if (engine->ended_migrations->len <= RETAIN_MAX && engine->now < migration->ended_at + RETAIN_USEC)
            break;
        engine_publish(engine, APMIG_ACTION_FORGET_MIGRATION, migration->pub.id);
        g_ptr_array_remove_index(engine->ended_migrations, 0);
    }
}

static void
publish_migrations(ApmigEngine *engine, const GPtrArray *migrations)
{
    for (guint i = 0; i < migrations->len; i++) {
        Migration *migration = g_ptr_array_index(migrations, i);

        if (migration->dirty)
            engine_publish(engine, APMIG_ACTION_PUBLISH_MIGRATION, migration->pub.id);
        migration->dirty = FALSE;
    }
}

static void
publish_view(ApmigEngine *engine)
{
    const char *view = apmig_engine_view_state(engine);

    if (g_str_equal(view, engine->published_view) &&
        g_strcmp0(engine->view_trouble, engine->published_trouble) == 0)
        return;
    engine_act(engine, APMIG_ACTION_PUBLISH_VIEW);
    engine->published_view = view;
    g_free(engine->published_trouble);
    engine->published_trouble = g_strdup(engine->view_trouble);
}

static void
publish(ApmigEngine *engine)
{
    publish_migrations(engine, engine->migrations);
    publish_migrations(engine, engine->ended_migrations);
    engine_publish_locks(engine);
    engine_publish_permits(engine);
    publish_view(engine);
}

/* Permits first: one that has expired is no reason any more. The heartbeat and what else is owed before locks: what was due
 * while the daemon, or its host, stood still says that nothing is proven of that time. Migrations before locks: an end that was just
 * seen may make a lock held; and both before inquiries, which are told how things stand. Ended entries leave the arrays,
 * hence the walks from the end. */
static void
settle(ApmigEngine *engine)
{
    engine_settle_permits(engine);
    engine_settle_heartbeat(engine);
    engine_settle_owed(engine);
    for (guint i = engine->migrations->len; i > 0; i--)
        engine_settle_migration(engine, g_ptr_array_index(engine->migrations, i - 1));
    for (guint i = engine->locks->len; i > 0; i--)
        engine_settle_lock(engine, g_ptr_array_index(engine->locks, i - 1));
    engine_settle_again(engine);
    engine_settle_waiting(engine);
    engine->rosters_dirty = FALSE;
    engine_settle_lateness(engine);
    engine_settle_unplugged(engine);
    engine_settle_unaffected(engine);
    engine_settle_inquiries(engine);
    engine_settle_view(engine);
    engine_settle_looks(engine);
    engine_settle_stamps(engine);
    forget_ended(engine); /* before: what is forgotten is not looked up any more */
    publish(engine);
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
    engine_earlier(&deadline, engine_silence_next_deadline(engine));
    engine_earlier(&deadline, engine_looks_next_deadline(engine));
    engine_earlier(&deadline, engine_lateness_next_deadline(engine));
    engine_earlier(&deadline, engine_waiting_next_deadline(engine));
    engine_earlier(&deadline, engine_unaffected_next_deadline(engine));
    for (guint i = 0; i < engine->locks->len; i++)
        engine_earlier(&deadline, MIN(lock_next_deadline(engine, g_ptr_array_index(engine->locks, i)),
                                      lock_again_next_deadline(g_ptr_array_index(engine->locks, i))));
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
