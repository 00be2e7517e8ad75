/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the engine makes of a policy's rules, and of its word on locks that grow old: each test is one rule of its own,
 * told as the events that lead to it.
 */
#include "engine/fixture.h"

#include <string.h>

#define WEB    "11111111-1111-4111-8111-111111111111"
#define DB     "22222222-2222-4222-8222-222222222222"
#define SECOND ((gint64)G_USEC_PER_SEC)

/* --- telling -------------------------------------------------------------------------------------- */

static ApmigPolicy *
parse(const char *json)
{
    g_autoptr(GError) error = NULL;
    ApmigPolicy *policy = apmig_policy_parse(json, strlen(json), "site.json", NULL, &error);

    g_assert_no_error(error);
    policy->stamp = APMIG_STAMP_OFF; /* stamps have a test of their own */
    return policy;
}

static void
begin_ruled(Story *story, const char *policy_json)
{
    begin_with(story, parse(policy_json));
    open_view(story);
}

static void
change_policy(Story *story, const char *json)
{
    g_autoptr(ApmigPolicy) policy = parse(json);

    tell(story, (ApmigEvent){.type = APMIG_EVENT_POLICY_CHANGED, .policy = policy});
}

static void
list(Story *story)
{
    const ApmigGuestName guests[] = {{WEB, "web-1"}, {DB, "db-1"}};

    while (answer_list(story, guests, 2))
        ;
}

/* @on_busy: of the request. The lock is then durable, and the guests are listed. */
static void
take(Story *story, ApmigOnBusy on_busy, gint64 expected_duration)
{
    take_lock(
        story, "aaaaaaaa", "all",
        (ApmigEvent){.caller = 1, .take = {.on_busy = on_busy, .expected_duration_usec = expected_duration}});
    written(story, APMIG_ACTION_PERSIST_LOCK, NULL);
    list(story);
}

/* @scope: (nullable): NULL: its XML could not be read */
static void
answer(Story *story, const char *uuid, ApmigJob job, const char *scope)
{
    g_autoptr(ApmigAction) query = next_about(story, APMIG_ACTION_QUERY_GUEST, uuid);
    g_autoptr(ApmigScope) queues = scope ? apmig_scope_parse(scope, NULL) : NULL;

    g_assert_nonnull(query);
    tell(story,
         (ApmigEvent){.type = APMIG_EVENT_GUEST_ANSWERED,
                      .answered = {.token = query->query.token,
                                   .uuid = query->query.uuid,
                                   .job = job,
                                   .facts_read = query->query.want_facts,
                                   .facts = {scope ? APMIG_AFFECTED_YES : APMIG_AFFECTED_UNKNOWN, queues}}});
}

static void
expect_step(Story *story, const char *uuid)
{
    g_autoptr(ApmigAction) step = next_about(story, APMIG_ACTION_RUN_STEP, uuid);

    g_assert_nonnull(step);
    g_assert_cmpint(step->step.kind, ==, APMIG_STEP_LIBVIRT_ABORT);
}

static void
expect_no_step(Story *story)
{
    expect_none(story, APMIG_ACTION_RUN_STEP);
}

static void
expect_busy(Story *story, const char *part)
{
    written(story, APMIG_ACTION_REMOVE_LOCK, NULL);
    expect_error(story, 1, APMIG_ERROR_BUSY, part);
}

/* --- on-busy -------------------------------------------------------------------------------------- */

static const char db_refuses[] = "{\"rules\":[{\"match\":{\"guest\":\"db-*\"},\"on-busy\":\"refuse\"}]}";

/* Else a guest's migration would be ended for a lock that never comes to be. */
static void
test_one_refusal_comes_before_any_step(void)
{
    Story story;

    begin_ruled(&story, db_refuses);
    take(&story, APMIG_ON_BUSY_UNSET, 0);
    answer(&story, WEB, APMIG_JOB_OUTGOING, "04.0012");
    expect_no_step(&story);
    answer(&story, DB, APMIG_JOB_OUTGOING, "05.0012");
    expect_busy(&story, "guest 'db-1' has a rule in the policy, $.rules[0] of site.json");
    expect_no_step(&story);
    end(&story);
}

static void
test_steps_begin_once_nobody_refuses(void)
{
    Story story;

    begin_ruled(&story, db_refuses);
    take(&story, APMIG_ON_BUSY_UNSET, 0);
    answer(&story, WEB, APMIG_JOB_OUTGOING, "04.0012");
    expect_no_step(&story);
    answer(&story, DB, APMIG_JOB_NONE, "05.0012");
    expect_step(&story, WEB);
    end(&story);
}

/* Once it was known that nobody refuses, the other guests need not be heard again. */
static void
test_what_was_known_stays_known(void)
{
    Story story;

    begin_ruled(&story, "{\"rules\":[{\"match\":{\"guest\":\"db-*\"},\"on-busy\":\"refuse\"},"
                        "{\"match\":{\"guest\":\"web-*\"},\"on-busy\":\"wait\"}]}");
    take(&story, APMIG_ON_BUSY_UNSET, 0);
    answer(&story, WEB, APMIG_JOB_OUTGOING, "04.0012");
    answer(&story, DB, APMIG_JOB_NONE, "05.0012");
    expect_no_step(&story);
    change_policy(&story, db_refuses);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_LOST, .view_lost = {"it was restarted"}});
    g_ptr_array_set_size(story.actions, 0);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    list(&story);
    answer(&story, WEB, APMIG_JOB_OUTGOING, "04.0012");
    expect_step(&story, WEB);
    end(&story);
}

static void
test_request_comes_before_rules(void)
{
    Story story;

    begin_ruled(&story, db_refuses);
    take(&story, APMIG_ON_BUSY_ABORT, 0);
    answer(&story, DB, APMIG_JOB_OUTGOING, "05.0012");
    expect_step(&story, DB); /* nobody else needs to be heard for that */
    end(&story);

    begin_ruled(&story, "{\"rules\":[{\"match\":{\"guest\":\"*\"},\"on-busy\":\"abort\"}]}");
    take(&story, APMIG_ON_BUSY_REFUSE, 0);
    answer(&story, DB, APMIG_JOB_OUTGOING, "05.0012");
    expect_busy(&story, "guest 'db-1' is migrating out; ask again");
    end(&story);
}

static void
test_one_waits_another_is_ended(void)
{
    Story story;

    begin_ruled(&story, "{\"rules\":[{\"match\":{\"scope\":\"05.*\"},\"on-busy\":\"wait\"}]}");
    take(&story, APMIG_ON_BUSY_UNSET, 0);
    answer(&story, DB, APMIG_JOB_OUTGOING, "05.0012");
    expect_no_step(&story);
    answer(&story, WEB, APMIG_JOB_OUTGOING, "04.0012");
    expect_step(&story, WEB);
    expect_no_step(&story);
    change_policy(&story, "{}"); /* it is looked up anew */
    pass(&story, 1);
    expect_step(&story, DB);
    end(&story);
}

/* A rule for some queues says nothing of a guest whose queues are not known, until they are. */
static void
test_unknown_queues(void)
{
    Story story;

    begin_ruled(&story,
                "{\"on-busy\":\"wait\",\"rules\":[{\"match\":{\"scope\":\"05.*\"},\"on-busy\":\"refuse\"}]}");
    take(&story, APMIG_ON_BUSY_UNSET, 0);
    answer(&story, DB, APMIG_JOB_OUTGOING, NULL);
    g_assert_null(next(&story, APMIG_ACTION_REMOVE_LOCK));
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_GUEST_NEWS, .news = {DB, NULL, APMIG_NEWS_CHANGED}});
    answer(&story, DB, APMIG_JOB_OUTGOING, "05.0012");
    expect_busy(&story, "$.rules[0] of site.json");
    end(&story);
}

/* --- steps, admissions ---------------------------------------------------------------------------- */

static void
test_deadline_of_a_step(void)
{
    Story story;
    g_autoptr(GPtrArray) migrations = NULL;
    const ApmigStepRecord *record;

    begin_ruled(&story, "{\"rules\":[{\"match\":{\"guest\":\"web-*\"},\"steps\":"
                        "[{\"step\":\"libvirt-abort\",\"deadline-usec\":700000}]}]}");
    take(&story, APMIG_ON_BUSY_UNSET, 0);
    answer(&story, WEB, APMIG_JOB_OUTGOING, "04.0012");
    expect_step(&story, WEB);
    migrations = apmig_engine_list_migrations(story.engine);
    record = g_ptr_array_index(((ApmigMigration *)g_ptr_array_index(migrations, 0))->steps, 0);
    pass(&story, 699999);
    g_assert_cmpint(record->outcome, ==, APMIG_STEP_RUNNING);
    pass(&story, 1);
    g_assert_cmpint(record->outcome, ==, APMIG_STEP_LATE);
    end(&story);
}

static void
test_admission_time(void)
{
    g_autoptr(ApmigScope) scope = apmig_scope_parse("04.0012", NULL);
    g_autoptr(ApmigAction) persist = NULL;
    g_autoptr(ApmigAction) reply = NULL;
    Story story;

    begin_ruled(&story, "{\"rules\":[{\"match\":{\"guest\":\"web-*\"},\"admission-usec\":600000000}]}");
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_ADMIT,
                              .caller = 1,
                              .admit = {.uuid = WEB, .name = "web-1", .facts = {APMIG_AFFECTED_YES, scope}}});
    persist = next(&story, APMIG_ACTION_PERSIST_ADMISSION);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_ADMISSION_PERSISTED, .persisted = {persist->op, NULL}});
    reply = next(&story, APMIG_ACTION_REPLY_ADMIT);
    g_assert_true(reply->reply.allowed);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_CALLER_GONE, .caller = 1});
    g_assert_true(answer_list(&story, NULL, 0)); /* it has not come already */
    g_assert_cmpint(apmig_engine_next_deadline(story.engine), ==, story.now + 600 * SECOND);
    end(&story);
}

/* --- locks that grow old -------------------------------------------------------------------------- */

/* Returns: how often the journal was told since the last time. */
static guint
count_overdue(Story *story)
{
    guint count = 0;
    ApmigAction *action;

    while ((action = next(story, APMIG_ACTION_LOG))) {
        count += action->entry.log == APMIG_LOG_LOCK_OVERDUE;
        apmig_action_free(action);
    }
    return count;
}

static gboolean
is_overdue(const Story *story)
{
    return apmig_engine_lookup_lock(story->engine, "aaaaaaaa")->overdue;
}

static void
test_overdue_by_the_policy(void)
{
    Story story;

    begin_ruled(
        &story,
        "{\"request-timeout-usec\":86400000000,\"overdue-usec\":3600000000,\"overdue-again-usec\":60000000}");
    take(&story, APMIG_ON_BUSY_UNSET, 0);
    pass(&story, 3600 * SECOND - 1);
    g_assert_false(is_overdue(&story));
    pass(&story, 1);
    g_assert_true(is_overdue(&story));
    g_assert_cmpuint(count_overdue(&story), ==, 1);
    pass(&story, 60 * SECOND - 1);
    g_assert_cmpuint(count_overdue(&story), ==, 0);
    pass(&story, 1);
    g_assert_cmpuint(count_overdue(&story), ==, 1);
    change_policy(&story, "{\"overdue-usec\":7200000000}");
    g_assert_false(is_overdue(&story));
    pass(&story, 3540 * SECOND);
    g_assert_true(is_overdue(&story));
    g_assert_cmpuint(count_overdue(&story), ==, 1);
    pass(&story, 3600 * SECOND); /* said once now */
    g_assert_cmpuint(count_overdue(&story), ==, 0);
    end(&story);
}

static void
test_announced_duration_comes_first(void)
{
    Story story;

    begin_ruled(&story, "{\"request-timeout-usec\":86400000000,\"overdue-usec\":1000000}");
    take(&story, APMIG_ON_BUSY_UNSET, 60 * SECOND);
    pass(&story, 60 * SECOND - 1);
    g_assert_false(is_overdue(&story));
    pass(&story, 1);
    g_assert_true(is_overdue(&story));
    end(&story);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/engine-rules/one-refusal-comes-before-any-step",
                    test_one_refusal_comes_before_any_step);
    g_test_add_func("/engine-rules/steps-begin-once-nobody-refuses", test_steps_begin_once_nobody_refuses);
    g_test_add_func("/engine-rules/what-was-known-stays-known", test_what_was_known_stays_known);
    g_test_add_func("/engine-rules/request-comes-before-rules", test_request_comes_before_rules);
    g_test_add_func("/engine-rules/one-waits-another-is-ended", test_one_waits_another_is_ended);
    g_test_add_func("/engine-rules/unknown-queues", test_unknown_queues);
    g_test_add_func("/engine-rules/deadline-of-a-step", test_deadline_of_a_step);
    g_test_add_func("/engine-rules/admission-time", test_admission_time);
    g_test_add_func("/engine-rules/overdue-by-the-policy", test_overdue_by_the_policy);
    g_test_add_func("/engine-rules/announced-duration-comes-first", test_announced_duration_comes_first);
    return g_test_run();
}
