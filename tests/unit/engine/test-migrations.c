/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a lock does about migrations that it meets, and what becomes of them. */
#include "engine/stories.h"

#include <string.h>

static void
test_outgoing_is_aborted_and_held_when_gone(void)
{
    g_autoptr(ApmigAction) step = NULL;
    const ApmigMigration *migration;
    Story story;

    begin(&story);
    drain(&story, "all", APMIG_ON_BUSY_UNSET);
    listed(&story, 1);
    answered(&story, APMIG_JOB_OUTGOING, "04.0012");
    step = expect(&story, APMIG_ACTION_RUN_STEP);
    g_assert_cmpstr(step->step.uuid, ==, G1);
    tell(&story,
         (ApmigEvent){.type = APMIG_EVENT_STEP_FINISHED, .step = {step->op, APMIG_STEP_REQUESTED, ""}});
    answered(&story, APMIG_JOB_OUTGOING, NULL); /* a yes proves nothing */
    expect_state(&story, "aaaaaaaa", "draining");
    listed(&story, 1);
    pass(&story, 50000);
    answered(&story, APMIG_JOB_NONE, NULL);
    expect_none(&story, APMIG_ACTION_PERSIST_LOCK); /* what was read while it lasted is no proof */
    listed(&story, 1);
    answered(&story, APMIG_JOB_NONE, NULL);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    expect_state(&story, "aaaaaaaa", "held");
    migration = apmig_engine_lookup_migration(story.engine, "5708_1");
    g_assert_cmpstr(migration->result, ==, "aborted");
    end(&story);
}

static void
test_completed_anyway(void)
{
    g_autoptr(ApmigAction) step = NULL;
    Story story;

    begin(&story);
    drain(&story, "all", APMIG_ON_BUSY_UNSET);
    listed(&story, 1);
    answered(&story, APMIG_JOB_OUTGOING, "04.0012");
    step = expect(&story, APMIG_ACTION_RUN_STEP);
    tell(&story,
         (ApmigEvent){.type = APMIG_EVENT_STEP_FINISHED, .step = {step->op, APMIG_STEP_REQUESTED, ""}});
    tell(&story,
         (ApmigEvent){.type = APMIG_EVENT_GUEST_NEWS, .news = {G1, NULL, APMIG_NEWS_STOPPED_MIGRATED}});
    answered(&story, APMIG_JOB_GONE, NULL);
    g_assert_cmpstr(apmig_engine_lookup_migration(story.engine, "5708_1")->result, ==, "completed-anyway");
    end(&story);
}

static void
test_postcopy_is_left_alone(void)
{
    const ApmigMigration *migration;
    const ApmigStepRecord *record;
    Story story;

    begin(&story);
    drain(&story, "all", APMIG_ON_BUSY_UNSET);
    listed(&story, 1);
    {
        g_autoptr(ApmigAction) query = expect(&story, APMIG_ACTION_QUERY_GUEST);
        g_autoptr(ApmigScope) scope = apmig_scope_new_all();

        tell(&story, (ApmigEvent){.type = APMIG_EVENT_GUEST_ANSWERED,
                                  .answered = {.token = query->query.token,
                                               .uuid = G1,
                                               .job = APMIG_JOB_OUTGOING,
                                               .postcopy = TRUE,
                                               .facts_read = TRUE,
                                               .facts = {APMIG_AFFECTED_YES, scope}}});
    }
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    migration = apmig_engine_lookup_migration(story.engine, "5708_1");
    g_assert_cmpuint(migration->steps->len, ==, 1);
    record = g_ptr_array_index(migration->steps, 0);
    g_assert_cmpstr(apmig_step_outcome_to_string(record->outcome), ==, "not-abortable");
    pass(&story, story.policy->request_timeout_usec);
    written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
    expect_error(&story, 1, APMIG_ERROR_TIMEOUT, "post-copy");
    end(&story);
}

static void
test_unknown_guest_blocks_and_is_left_alone(void)
{
    Story story;

    begin(&story);
    drain(&story, "ff.00ff", APMIG_ON_BUSY_UNSET);
    listed(&story, 1);
    answered(&story, APMIG_JOB_INCOMING, NULL);
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    pass(&story, story.policy->request_timeout_usec);
    written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
    expect_error(&story, 1, APMIG_ERROR_TIMEOUT, "g1");
    end(&story);
}

static void
test_refuse(void)
{
    Story story;

    begin(&story);
    drain(&story, "all", APMIG_ON_BUSY_REFUSE);
    listed(&story, 1);
    answered(&story, APMIG_JOB_OUTGOING, "04.0012");
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
    expect_error(&story, 1, APMIG_ERROR_BUSY, "g1");
    g_assert_cmpstr(apmig_engine_lookup_lock(story.engine, "aaaaaaaa")->result, ==, "busy");
    end(&story);
}

/* What could be done about it is told where it can be done. */
static void
test_refusal_advises_what_helps(void)
{
    for (gboolean postcopy = FALSE; postcopy <= TRUE; postcopy++) {
        g_autoptr(ApmigScope) scope = apmig_scope_new_all();
        g_autoptr(ApmigAction) query = NULL;
        Story story;

        begin(&story);
        drain(&story, "all", APMIG_ON_BUSY_REFUSE);
        listed(&story, 1);
        query = expect(&story, APMIG_ACTION_QUERY_GUEST);
        tell(&story, (ApmigEvent){.type = APMIG_EVENT_GUEST_ANSWERED,
                                  .answered = {.token = query->query.token,
                                               .uuid = G1,
                                               .job = APMIG_JOB_OUTGOING,
                                               .postcopy = postcopy,
                                               .facts_read = TRUE,
                                               .facts = {APMIG_AFFECTED_YES, scope}}});
        written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
        g_autoptr(ApmigAction) reply = expect(&story, APMIG_ACTION_REPLY_ERROR);

        g_assert_nonnull(strstr(reply->reply.message, "ask again when it is over"));
        g_assert_cmpint(strstr(reply->reply.message, "on-busy=abort") != NULL, ==, !postcopy);
        end(&story);
    }
}

static void
test_wait_acts_only_on_the_later_one(void)
{
    Story story;

    begin(&story);
    drain(&story, "all", APMIG_ON_BUSY_WAIT);
    listed(&story, 2);
    {
        g_autoptr(ApmigAction) first = expect(&story, APMIG_ACTION_QUERY_GUEST);
        g_autoptr(ApmigAction) second = expect(&story, APMIG_ACTION_QUERY_GUEST);
        g_autoptr(ApmigScope) scope = apmig_scope_new_all();
        ApmigEvent answer = {.type = APMIG_EVENT_GUEST_ANSWERED,
                             .answered = {.token = first->query.token,
                                          .uuid = first->query.uuid,
                                          .job = APMIG_JOB_OUTGOING,
                                          .facts_read = TRUE,
                                          .facts = {APMIG_AFFECTED_YES, scope}}};

        tell(&story, answer);
        expect_none(&story, APMIG_ACTION_RUN_STEP);
        answer.answered.token = second->query.token;
        answer.answered.uuid = second->query.uuid;
        answer.answered.job = APMIG_JOB_NONE;
        tell(&story, answer);
        tell(&story, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {second->query.uuid, NULL}});
    }
    answered(&story, APMIG_JOB_OUTGOING, NULL); /* the second began after the request */
    apmig_action_free(expect(&story, APMIG_ACTION_RUN_STEP));
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    end(&story);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/engine/outgoing-aborted", test_outgoing_is_aborted_and_held_when_gone);
    g_test_add_func("/engine/completed-anyway", test_completed_anyway);
    g_test_add_func("/engine/post-copy", test_postcopy_is_left_alone);
    g_test_add_func("/engine/refusal-advises-what-helps", test_refusal_advises_what_helps);
    g_test_add_func("/engine/unknown-guest", test_unknown_guest_blocks_and_is_left_alone);
    g_test_add_func("/engine/refuse", test_refuse);
    g_test_add_func("/engine/wait", test_wait_acts_only_on_the_later_one);
    return g_test_run();
}
