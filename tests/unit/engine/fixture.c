/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/fixture.h"

#include "ap/fixture.h"

void
begin(Story *story)
{
    ApmigPolicy *policy = apmig_policy_new_default();

    policy->stamp = APMIG_STAMP_OFF;
    begin_with(story, policy);
}

void
begin_with(Story *story, ApmigPolicy *policy)
{
    story->policy = policy;
    story->engine = apmig_engine_new(policy, "5708");
    story->actions = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_action_free);
    story->now = G_USEC_PER_SEC;
    story->workers_busy = FALSE;
}

void
end(Story *story)
{
    apmig_engine_free(story->engine);
    apmig_policy_free(story->policy);
    g_ptr_array_unref(story->actions);
}

/* --- telling ------------------------------------------------------------------------------------- */

static void
hand_over(Story *story, ApmigEvent event)
{
    event.now = story->now;
    event.realtime = STORY_REALTIME + story->now;
    apmig_engine_handle(story->engine, &event, story->actions);
}

void
tell(Story *story, ApmigEvent event)
{
    hand_over(story, event);
    while (!story->workers_busy) {
        g_autoptr(ApmigAction) heartbeat = next(story, APMIG_ACTION_HEARTBEAT);

        if (!heartbeat)
            break;
        hand_over(story, (ApmigEvent){.type = APMIG_EVENT_HEARTBEAT_ANSWERED,
                                      .heartbeat = {heartbeat->query.token, NULL}});
    }
}

void
pass(Story *story, gint64 usec)
{
    gint64 end = story->now + usec;

    for (gint64 at = apmig_engine_next_deadline(story->engine); at < end;
         at = apmig_engine_next_deadline(story->engine)) {
        g_assert_cmpint(at, >, story->now); /* else it would be busy for ever */
        story->now = at;
        tell(story, (ApmigEvent){.type = APMIG_EVENT_DEADLINE});
    }
    stand_still(story, end - story->now);
}

void
stand_still(Story *story, gint64 usec)
{
    story->now += usec;
    tell(story, (ApmigEvent){.type = APMIG_EVENT_DEADLINE});
}

void
load(Story *story, ApmigLockRecord *lock, ApmigAdmission *admission)
{
    g_autoptr(GPtrArray) locks = g_ptr_array_new();
    g_autoptr(GPtrArray) admissions = g_ptr_array_new();

    if (lock)
        g_ptr_array_add(locks, lock);
    if (admission)
        g_ptr_array_add(admissions, admission);
    tell(story, (ApmigEvent){.type = APMIG_EVENT_STORE_LOADED, .store_loaded = {locks, admissions}});
}

void
open_view(Story *story)
{
    load(story, NULL, NULL);
    tell(story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    answer_list(story, NULL, 0);
}

void
take_lock(Story *story, const char *id, const char *scope_text, ApmigEvent event)
{
    g_autoptr(ApmigScope) scope = scope_of(scope_text);

    event.type = APMIG_EVENT_TAKE;
    event.take.id = id;
    event.take.scope = scope;
    event.take.reason = "AES rotation";
    if (!event.take.change_id)
        event.take.change_id = "";
    event.take.uid = 1000;
    event.take.user = "cora";
    tell(story, event);
}

/* --- what the engine does ------------------------------------------------------------------------ */

/* Returns: (nullable): of which guest it is. */
static const char *
uuid_of(const ApmigAction *action)
{
    if (action->type == APMIG_ACTION_QUERY_GUEST)
        return action->query.uuid;
    if (action->type == APMIG_ACTION_RUN_STEP)
        return action->step.uuid;
    if (action->type == APMIG_ACTION_STAMP_GUEST)
        return action->stamp.uuid;
    return action->type == APMIG_ACTION_LOG ? action->entry.uuid : NULL;
}

ApmigAction *
next_about(Story *story, ApmigActionType type, const char *uuid)
{
    for (guint i = 0; i < story->actions->len; i++) {
        const ApmigAction *action = story->actions->pdata[i];

        if (action->type == type && (!uuid || g_strcmp0(uuid_of(action), uuid) == 0))
            return g_ptr_array_steal_index(story->actions, i);
    }
    return NULL;
}

ApmigAction *
next(Story *story, ApmigActionType type)
{
    return next_about(story, type, NULL);
}

ApmigAction *
expect(Story *story, ApmigActionType type)
{
    ApmigAction *action = next(story, type);

    g_assert_nonnull(action);
    return action;
}

void
expect_none(Story *story, ApmigActionType type)
{
    g_autoptr(ApmigAction) action = next(story, type);

    g_assert_null(action);
}

void
expect_error(Story *story, ApmigCaller caller, ApmigError code, const char *part)
{
    g_autoptr(ApmigAction) reply = expect(story, APMIG_ACTION_REPLY_ERROR);

    g_assert_cmpuint(reply->reply.caller, ==, caller);
    g_assert_cmpstr(apmig_error_name(reply->reply.code), ==, apmig_error_name(code));
    assert_says(reply->reply.message, part);
}

void
expect_log(Story *story, ApmigLog log, const char *part)
{
    for (;;) {
        g_autoptr(ApmigAction) entry = expect(story, APMIG_ACTION_LOG);

        if (entry->entry.log != log)
            continue;
        assert_says(entry->entry.message, part);
        return;
    }
}

const ApmigLock *
find_lock(Story *story, const char *id)
{
    const ApmigLock *lock = apmig_engine_lookup_lock(story->engine, id);

    g_assert_nonnull(lock);
    return lock;
}

void
expect_state(Story *story, const char *id, const char *state)
{
    g_assert_cmpstr(apmig_lock_state_to_string(find_lock(story, id)), ==, state);
}

/* --- answers ------------------------------------------------------------------------------------- */

gboolean
answer_list(Story *story, const ApmigGuestName *guests, guint n_guests)
{
    g_autoptr(ApmigAction) action = next(story, APMIG_ACTION_LIST_GUESTS);

    if (!action)
        return FALSE;
    tell(story, (ApmigEvent){.type = APMIG_EVENT_GUESTS_LISTED,
                             .listed = {action->query.token, NULL, guests, n_guests}});
    return TRUE;
}

gboolean
answer_query_about(Story *story, const char *uuid, const char *scope_text, ApmigEvent event)
{
    g_autoptr(ApmigAction) action = next_about(story, APMIG_ACTION_QUERY_GUEST, uuid);
    g_autoptr(ApmigScope) scope = scope_text ? scope_of(scope_text) : NULL;

    if (!action)
        return FALSE;
    event.type = APMIG_EVENT_GUEST_ANSWERED;
    event.answered.token = action->query.token;
    event.answered.uuid = action->query.uuid;
    event.answered.facts_read = action->query.want_facts && event.answered.job != APMIG_JOB_INCOMING &&
                                event.answered.job != APMIG_JOB_GONE;
    event.answered.facts.affected = scope ? APMIG_AFFECTED_YES : APMIG_AFFECTED_NO;
    event.answered.facts.scope = scope;
    tell(story, event);
    return TRUE;
}

gboolean
answer_query(Story *story, const char *scope_text, ApmigEvent event)
{
    return answer_query_about(story, NULL, scope_text, event);
}

gboolean
answer_write(Story *story)
{
    for (guint i = 0; i < story->actions->len; i++) {
        ApmigActionType type = ((const ApmigAction *)story->actions->pdata[i])->type;

        if (type != APMIG_ACTION_PERSIST_LOCK && type != APMIG_ACTION_REMOVE_LOCK)
            continue;
        written(story, type, NULL);
        return TRUE;
    }
    return FALSE;
}

static ApmigEventType
answer_to(ApmigActionType type)
{
    switch (type) {
    case APMIG_ACTION_PERSIST_LOCK:
        return APMIG_EVENT_LOCK_PERSISTED;
    case APMIG_ACTION_REMOVE_LOCK:
        return APMIG_EVENT_LOCK_REMOVED;
    case APMIG_ACTION_PERSIST_ADMISSION:
        return APMIG_EVENT_ADMISSION_PERSISTED;
    case APMIG_ACTION_PERSIST_PERMIT:
    case APMIG_ACTION_REMOVE_PERMIT:
        return APMIG_EVENT_PERMIT_WRITTEN;
    default:
        g_assert_not_reached();
    }
}

void
written(Story *story, ApmigActionType type, const char *error)
{
    g_autoptr(ApmigAction) action = expect(story, type);

    tell(story, (ApmigEvent){.type = answer_to(type), .persisted = {action->op, error}});
}
