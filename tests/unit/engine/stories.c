/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/stories.h"

void
take(Story *story, ApmigCaller caller, const char *id, const char *scope, ApmigOnBusy on_busy,
     gboolean no_wait)
{
    take_lock(story, id, scope,
              (ApmigEvent){.caller = caller, .take = {.on_busy = on_busy, .no_wait = no_wait}});
}

void
release(Story *story, ApmigCaller caller, const char *id, gboolean force)
{
    tell(story, (ApmigEvent){.type = APMIG_EVENT_RELEASE, .caller = caller, .release = {id, force}});
}

void
listed(Story *story, guint n_guests)
{
    const ApmigGuestName guests[] = {{G1, "g1"}, {G2, "g2"}};

    g_assert_true(answer_list(story, guests, n_guests));
}

void
answered(Story *story, ApmigJob job, const char *scope)
{
    g_assert_true(answer_query(story, scope, (ApmigEvent){.answered = {.job = job}}));
}

void
answer_all(Story *story, ApmigJob job)
{
    const ApmigGuestName guests[] = {{G1, "g1"}};

    while (answer_list(story, guests, job == APMIG_JOB_GONE ? 0 : 1) ||
           answer_query(story, "04.0012", (ApmigEvent){.answered = {.job = job}}) || answer_write(story))
        ;
}

void
live(Story *story, gint64 usec, ApmigJob job)
{
    gint64 end = story->now + usec;

    while (story->now < end) {
        pass(story, MIN(G_USEC_PER_SEC, end - story->now));
        answer_all(story, job);
    }
}

void
news(Story *story, ApmigNews what)
{
    tell(story, (ApmigEvent){.type = APMIG_EVENT_GUEST_NEWS, .news = {G1, "g1", what}});
}

void
admit(Story *story, ApmigCaller caller, const char *uuid, const char *scope_text, gboolean restore)
{
    g_autoptr(ApmigScope) scope = scope_text ? apmig_scope_parse(scope_text, NULL) : NULL;

    tell(story, (ApmigEvent){.type = APMIG_EVENT_ADMIT,
                             .caller = caller,
                             .admit = {.uuid = uuid,
                                       .name = "g1",
                                       .restore = restore,
                                       .facts = {scope ? APMIG_AFFECTED_YES : APMIG_AFFECTED_NO, scope}}});
}

void
hook_ends(Story *story, ApmigCaller caller)
{
    tell(story, (ApmigEvent){.type = APMIG_EVENT_CALLER_GONE, .caller = caller});
}

void
expect_admit(Story *story, gboolean allowed, const char *needle)
{
    g_autoptr(ApmigAction) reply = expect(story, APMIG_ACTION_REPLY_ADMIT);

    g_assert_cmpint(reply->reply.allowed, ==, allowed);
    g_assert_nonnull(strstr(reply->reply.message, needle));
}

void
drain(Story *story, const char *scope, ApmigOnBusy on_busy)
{
    open_view(story);
    take(story, 1, "aaaaaaaa", scope, on_busy, FALSE);
    written(story, APMIG_ACTION_PERSIST_LOCK, NULL);
}

void
hold(Story *story, const char *scope)
{
    g_autoptr(ApmigAction) reply = NULL;

    open_view(story);
    news(story, APMIG_NEWS_STARTED);
    take(story, 1, "aaaaaaaa", scope, APMIG_ON_BUSY_UNSET, FALSE);
    written(story, APMIG_ACTION_PERSIST_LOCK, NULL);
    listed(story, 1);
    answered(story, APMIG_JOB_NONE, "04.0012");
    listed(story, 1);
    written(story, APMIG_ACTION_PERSIST_LOCK, NULL);
    reply = expect(story, APMIG_ACTION_REPLY_TAKEN);
    expect_state(story, "aaaaaaaa", "held");
    pass(story, story->policy->draining_interval_usec); /* from now on at the interval of a held lock */
    answer_all(story, APMIG_JOB_NONE);
    g_ptr_array_set_size(story->actions, 0);
}

void
come_in(Story *story, const char *lock_scope)
{
    open_view(story);
    admit(story, 2, G1, "04.0012", FALSE);
    written(story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
    take(story, 1, "aaaaaaaa", lock_scope, APMIG_ON_BUSY_UNSET, FALSE);
    written(story, APMIG_ACTION_PERSIST_LOCK, NULL);
    listed(story, 1);
    answered(story, APMIG_JOB_INCOMING, NULL);
    listed(story, 1);
    pass(story, G_USEC_PER_SEC);
    answered(story, APMIG_JOB_INCOMING, NULL);
}

ApmigLockRecord *
record_on_disk(ApmigLockOrigin origin, gint64 held_at)
{
    ApmigLockRecord *record = g_new0(ApmigLockRecord, 1);

    record->id = g_strdup("dddddddd");
    record->scope = apmig_scope_new_all();
    record->reason = g_strdup("EP11 key change");
    record->change_id = g_strdup("");
    record->origin = origin;
    record->owner_name = g_strdup("root");
    record->requested_at = G_GINT64_CONSTANT(1800000000000000);
    record->held_at = held_at;
    return record;
}
