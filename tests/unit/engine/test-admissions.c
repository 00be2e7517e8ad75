/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who is let in: an admission is durable before a yes, keeps a lock from being held, and ends by a reading. */
#include "engine/stories.h"

static void
test_gate_closes_with_the_request(void)
{
    Story story;

    begin(&story);
    load(&story, NULL, NULL);
    take(&story, 1, "aaaaaaaa", "*.0012", APMIG_ON_BUSY_UNSET, FALSE);
    admit(&story, 2, G1, "04.0012", FALSE);
    expect_admit(&story, FALSE, "aaaaaaaa");
    admit(&story, 3, G1, "04.0012", TRUE);
    expect_admit(&story, FALSE, "cora");
    admit(&story, 4, G1, "04.0013", TRUE);
    expect_admit(&story, TRUE, "");
    admit(&story, 5, G2, NULL, FALSE); /* unaffected */
    expect_admit(&story, TRUE, "");
    end(&story);
}

static void
test_admission_is_written_before_yes_and_blocks(void)
{
    Story story;

    begin(&story);
    open_view(&story);
    admit(&story, 2, G1, "04.0012", FALSE);
    expect_none(&story, APMIG_ACTION_REPLY_ADMIT);
    written(&story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
    expect_admit(&story, TRUE, "");
    take(&story, 1, "aaaaaaaa", "all", APMIG_ON_BUSY_UNSET, FALSE);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    listed(&story, 0);
    expect_state(&story, "aaaaaaaa", "draining");
    expect_none(&story, APMIG_ACTION_PERSIST_LOCK);
    pass(&story, 50000);
    listed(&story, 1);
    answered(&story, APMIG_JOB_INCOMING, NULL);
    pass(&story, G_USEC_PER_SEC);
    answered(&story, APMIG_JOB_NONE, "04.0012"); /* it has arrived */
    expect_none(&story, APMIG_ACTION_PERSIST_LOCK);
    listed(&story, 1); /* of a reading that began before; the next is of after */
    answered(&story, APMIG_JOB_NONE, NULL);
    expect_none(&story, APMIG_ACTION_PERSIST_LOCK);
    listed(&story, 1);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    expect_state(&story, "aaaaaaaa", "held");
    apmig_action_free(expect(&story, APMIG_ACTION_REMOVE_ADMISSION));
    end(&story);
}

static void
test_lock_between_question_and_yes_denies(void)
{
    Story story;

    begin(&story);
    load(&story, NULL, NULL);
    admit(&story, 2, G1, "04.0012", FALSE);
    take(&story, 1, "aaaaaaaa", "all", APMIG_ON_BUSY_UNSET, FALSE);
    written(&story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
    expect_admit(&story, FALSE, "aaaaaaaa");
    apmig_action_free(expect(&story, APMIG_ACTION_REMOVE_ADMISSION));
    end(&story);
}

static void
test_admission_expires_only_by_a_reading(void)
{
    Story story;

    begin(&story);
    open_view(&story);
    admit(&story, 2, G1, "04.0012", FALSE);
    written(&story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
    pass(&story, G_USEC_PER_SEC);
    expect_none(&story, APMIG_ACTION_LIST_GUESTS);
    hook_ends(&story, 2);
    listed(&story, 0);                              /* it has not come already */
    pass(&story, story.policy->admission_usec - 1); /* since the hook's end */
    expect_none(&story, APMIG_ACTION_LIST_GUESTS);
    pass(&story, 1);
    expect_none(&story, APMIG_ACTION_REMOVE_ADMISSION);
    listed(&story, 0);
    apmig_action_free(expect(&story, APMIG_ACTION_REMOVE_ADMISSION));
    end(&story);
}

/* The time that the yes was given for is not to be drawn out by whoever asked for it. */
static void
test_hook_that_does_not_end(void)
{
    Story story;

    begin(&story);
    open_view(&story);
    admit(&story, 2, G1, "04.0012", FALSE);
    written(&story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
    pass(&story, story.policy->admission_usec);
    listed(&story, 0);
    apmig_action_free(expect(&story, APMIG_ACTION_REMOVE_ADMISSION));
    end(&story);
}

/* Whoever asked has gone before the answer: from then on nobody is to go any more. */
static void
test_hook_that_ended_before_its_answer(void)
{
    Story story;

    begin(&story);
    open_view(&story);
    admit(&story, 2, G1, "04.0012", FALSE);
    hook_ends(&story, 2);
    expect_none(&story, APMIG_ACTION_LIST_GUESTS);
    written(&story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
    listed(&story, 0);
    expect_none(&story, APMIG_ACTION_REMOVE_ADMISSION);
    end(&story);
}

/* The disk is slow: the guest's time begins with the yes. */
static void
test_yes_that_is_written_slowly(void)
{
    Story story;

    begin(&story);
    open_view(&story);
    admit(&story, 2, G1, "04.0012", FALSE);
    live(&story, story.policy->admission_usec + 2 * G_USEC_PER_SEC, APMIG_JOB_GONE);
    expect_none(&story, APMIG_ACTION_REMOVE_ADMISSION);
    written(&story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
    expect_admit(&story, TRUE, "");
    live(&story, story.policy->admission_usec - G_USEC_PER_SEC, APMIG_JOB_GONE);
    expect_none(&story, APMIG_ACTION_REMOVE_ADMISSION);
    live(&story, 2 * G_USEC_PER_SEC, APMIG_JOB_GONE);
    apmig_action_free(expect(&story, APMIG_ACTION_REMOVE_ADMISSION));
    end(&story);
}

/* That the second question is denied takes nothing of the first yes back. */
static void
test_yes_and_a_question_that_is_denied(void)
{
    Story story;

    begin(&story);
    open_view(&story);
    admit(&story, 2, G1, "04.0012", FALSE);
    written(&story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
    expect_admit(&story, TRUE, "");
    admit(&story, 3, G1, "04.0012", FALSE);
    take(&story, 1, "aaaaaaaa", "all", APMIG_ON_BUSY_WAIT, TRUE);
    written(&story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
    expect_admit(&story, FALSE, "aaaaaaaa");
    expect_none(&story, APMIG_ACTION_REMOVE_ADMISSION);
    live(&story, story.policy->admission_usec - G_USEC_PER_SEC, APMIG_JOB_GONE);
    expect_state(&story, "aaaaaaaa", "draining");
    live(&story, 2 * G_USEC_PER_SEC, APMIG_JOB_GONE);
    expect_state(&story, "aaaaaaaa", "held");
    end(&story);
}

/* It is active, was not when it was let in, and the hook of the last yes has gone: no other arrival is open. */
static void
test_two_yeses_and_one_guest(void)
{
    Story story;

    begin(&story);
    open_view(&story);
    for (ApmigCaller caller = 2; caller <= 3; caller++) {
        admit(&story, caller, G1, "04.0012", FALSE);
        written(&story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
        expect_admit(&story, TRUE, "");
    }
    hook_ends(&story, 2);
    news(&story, APMIG_NEWS_ARRIVING);
    answer_all(&story, APMIG_JOB_INCOMING);
    news(&story, APMIG_NEWS_RESUMED);
    answer_all(&story, APMIG_JOB_NONE);
    live(&story, 10 * G_USEC_PER_SEC, APMIG_JOB_NONE);
    expect_none(&story, APMIG_ACTION_REMOVE_ADMISSION); /* the second may be the one that is still to come */
    hook_ends(&story, 3);
    expect_none(&story, APMIG_ACTION_REMOVE_ADMISSION);
    answer_all(&story, APMIG_JOB_NONE);
    apmig_action_free(expect(&story, APMIG_ACTION_REMOVE_ADMISSION));
    g_assert_cmpstr(apmig_engine_lookup_migration(story.engine, "5708_1")->result, ==, "completed");
    end(&story);
}

/* That a guest of which another yes was given rests here says nothing. */
static void
test_guest_that_was_here_before_the_yes(void)
{
    Story story;

    begin(&story);
    hold(&story, "05.*");
    news(&story, APMIG_NEWS_CHANGED);
    answer_all(&story, APMIG_JOB_NONE);
    admit(&story, 2, G1, "04.0012", FALSE);
    written(&story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
    hook_ends(&story, 2);
    live(&story, 59 * G_USEC_PER_SEC, APMIG_JOB_NONE);
    expect_none(&story, APMIG_ACTION_REMOVE_ADMISSION);
    live(&story, 2 * G_USEC_PER_SEC, APMIG_JOB_NONE);
    apmig_action_free(expect(&story, APMIG_ACTION_REMOVE_ADMISSION));
    end(&story);
}

/* Who comes in when libvirt can be asked again may be another than was let in meanwhile. */
static void
test_yes_without_a_view(void)
{
    Story story;

    begin(&story);
    load(&story, NULL, NULL);
    admit(&story, 2, G1, "04.0012", FALSE);
    written(&story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
    expect_admit(&story, TRUE, "");
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    take(&story, 1, "aaaaaaaa", "all", APMIG_ON_BUSY_WAIT, TRUE);
    live(&story, 2 * G_USEC_PER_SEC, APMIG_JOB_INCOMING);
    live(&story, 2 * G_USEC_PER_SEC, APMIG_JOB_GONE);
    expect_none(&story, APMIG_ACTION_REMOVE_ADMISSION);
    expect_state(&story, "aaaaaaaa", "draining");
    live(&story, story.policy->admission_usec, APMIG_JOB_GONE);
    apmig_action_free(expect(&story, APMIG_ACTION_REMOVE_ADMISSION));
    expect_state(&story, "aaaaaaaa", "held");
    end(&story);
}

static void
test_offline_migration_ends_with_its_definition(void)
{
    Story story;

    begin(&story);
    open_view(&story);
    news(&story, APMIG_NEWS_DEFINED); /* it was here already: its home host always has one */
    answer_all(&story, APMIG_JOB_GONE);
    admit(&story, 2, G1, "04.0012", FALSE);
    written(&story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
    live(&story, 10 * G_USEC_PER_SEC, APMIG_JOB_GONE);
    expect_none(&story, APMIG_ACTION_REMOVE_ADMISSION);
    news(&story, APMIG_NEWS_DEFINED);
    expect_none(&story, APMIG_ACTION_REMOVE_ADMISSION);
    answer_all(&story, APMIG_JOB_GONE);
    apmig_action_free(expect(&story, APMIG_ACTION_REMOVE_ADMISSION));
    g_assert_cmpstr(apmig_engine_lookup_migration(story.engine, "5708_1")->result, ==, "completed");
    end(&story);
}

/* A list that was asked for before the guest was defined, or before its time was over, says nothing of what follows. */
/* Of a guest that was here before. */
static void
test_admission_ends_by_no_older_answer(void)
{
    Story story;

    begin(&story);
    open_view(&story);
    news(&story, APMIG_NEWS_STARTED);
    listed(&story, 1);
    news(&story, APMIG_NEWS_STOPPED);
    admit(&story, 2, G1, "04.0012", FALSE);
    written(&story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
    expect_admit(&story, TRUE, "");
    answered(&story, APMIG_JOB_NONE, "04.0012");
    expect_none(&story, APMIG_ACTION_REMOVE_ADMISSION);
    end(&story);
}

static void
test_admission_ends_by_no_older_list(void)
{
    Story story;

    begin(&story);
    open_view(&story);
    admit(&story, 2, G1, "04.0012", FALSE);
    written(&story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
    live(&story, 2 * G_USEC_PER_SEC, APMIG_JOB_GONE);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {G1, NULL}});
    news(&story, APMIG_NEWS_DEFINED);
    listed(&story, 0);
    expect_none(&story, APMIG_ACTION_REMOVE_ADMISSION);
    listed(&story, 0);
    apmig_action_free(expect(&story, APMIG_ACTION_REMOVE_ADMISSION));

    admit(&story, 2, G1, "04.0012", FALSE);
    written(&story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
    live(&story, story.policy->admission_usec - 1, APMIG_JOB_GONE);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {G1, NULL}});
    pass(&story, 2);
    listed(&story, 0);
    expect_none(&story, APMIG_ACTION_REMOVE_ADMISSION);
    listed(&story, 0);
    apmig_action_free(expect(&story, APMIG_ACTION_REMOVE_ADMISSION));
    end(&story);
}

/* The definition may be of the first attempt, and the guest of the second is still to come. */
static void
test_offline_migration_and_another(void)
{
    Story story;

    begin(&story);
    open_view(&story);
    for (guint i = 0; i < 2; i++) {
        admit(&story, 2, G1, "04.0012", FALSE);
        written(&story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
    }
    news(&story, APMIG_NEWS_DEFINED);
    live(&story, 10 * G_USEC_PER_SEC, APMIG_JOB_GONE);
    expect_none(&story, APMIG_ACTION_REMOVE_ADMISSION);
    live(&story, story.policy->admission_usec, APMIG_JOB_GONE);
    apmig_action_free(expect(&story, APMIG_ACTION_REMOVE_ADMISSION));
    end(&story);
}

static void
test_incoming_guest_has_the_scope_of_its_admission(void)
{
    Story story;

    begin(&story);
    come_in(&story, "05.*");
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    expect_state(&story, "aaaaaaaa", "held");
    end(&story);

    begin(&story);
    come_in(&story, "04.*");
    expect_none(&story, APMIG_ACTION_PERSIST_LOCK);
    expect_state(&story, "aaaaaaaa", "draining");
    end(&story);
}

static void
test_guest_that_left_may_come_back(void)
{
    Story story;

    begin(&story);
    hold(&story, "all");
    release(&story, 8, "aaaaaaaa", TRUE);
    written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_GUEST_NEWS,
                              .news = {G1, NULL, APMIG_NEWS_STOPPED_MIGRATED}}); /* nobody asks about it */
    admit(&story, 9, G1, "04.0012", FALSE);
    written(&story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {G1, NULL}});
    answered(&story, APMIG_JOB_INCOMING, NULL);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {G1, NULL}});
    answered(&story, APMIG_JOB_NONE, "04.0012");
    apmig_action_free(expect(&story, APMIG_ACTION_REMOVE_ADMISSION));
    g_assert_cmpstr(apmig_engine_view_state(story.engine), ==, "connected");
    end(&story);
}

/* It came in some time ago, as an unaffected guest that nobody follows: that it rests now says nothing of a later yes. */
static void
test_came_before_the_yes_unfollowed(void)
{
    Story story;

    begin(&story);
    open_view(&story);
    admit(&story, 2, G1, NULL, FALSE);
    news(&story, APMIG_NEWS_ARRIVING);
    listed(&story, 1);
    answered(&story, APMIG_JOB_INCOMING, NULL);
    pass(&story, 30 * G_USEC_PER_SEC);
    apmig_action_free(expect(&story, APMIG_ACTION_PERSIST_ADMISSION));
    admit(&story, 3, G1, "04.0012", FALSE);
    apmig_action_free(expect(&story, APMIG_ACTION_REMOVE_ADMISSION));
    written(&story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
    live(&story, 10 * G_USEC_PER_SEC, APMIG_JOB_NONE);
    expect_none(&story, APMIG_ACTION_REMOVE_ADMISSION);
    end(&story);
}

/* The one that comes may be either: no step is run on it, by the next run neither. */
static void
test_devices_are_taken_away_for_good(void)
{
    const char *const devices[] = {"a1b2c3d4-f1bb-47f0-914d-000000000101", NULL};
    g_autoptr(ApmigScope) scope = apmig_scope_parse("04.0012", NULL);
    g_autoptr(ApmigAction) with = NULL, without = NULL;
    Story story;

    begin(&story);
    open_view(&story);
    tell(&story,
         (ApmigEvent){
             .type = APMIG_EVENT_ADMIT,
             .caller = 2,
             .admit = {.uuid = G1, .name = "g1", .facts = {APMIG_AFFECTED_YES, scope, .devices = devices}}});
    with = expect(&story, APMIG_ACTION_PERSIST_ADMISSION);
    g_assert_cmpstr(with->admission->devices[0], ==, devices[0]);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_ADMISSION_PERSISTED, .persisted = {with->op, NULL}});
    pass(&story, 5 * G_USEC_PER_SEC);
    admit(&story, 3, G1, NULL, FALSE);
    without = expect(&story, APMIG_ACTION_PERSIST_ADMISSION);
    g_assert_null(without->admission->devices[0]);
    g_assert_true(apmig_scope_equal(without->admission->scope, scope));
    g_assert_cmpint(without->admission->admitted_at, ==, with->admission->admitted_at);
    end(&story);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/engine/gate-closes-with-the-request", test_gate_closes_with_the_request);
    g_test_add_func("/engine/admission-written-before-yes", test_admission_is_written_before_yes_and_blocks);
    g_test_add_func("/engine/lock-between-question-and-yes", test_lock_between_question_and_yes_denies);
    g_test_add_func("/engine/admission-expires-by-a-reading", test_admission_expires_only_by_a_reading);
    g_test_add_func("/engine/hook-that-does-not-end", test_hook_that_does_not_end);
    g_test_add_func("/engine/hook-that-ended-before-its-answer", test_hook_that_ended_before_its_answer);
    g_test_add_func("/engine/yes-written-slowly", test_yes_that_is_written_slowly);
    g_test_add_func("/engine/yes-and-denied", test_yes_and_a_question_that_is_denied);
    g_test_add_func("/engine/two-yeses", test_two_yeses_and_one_guest);
    g_test_add_func("/engine/here-before-the-yes", test_guest_that_was_here_before_the_yes);
    g_test_add_func("/engine/yes-without-a-view", test_yes_without_a_view);
    g_test_add_func("/engine/offline-migration", test_offline_migration_ends_with_its_definition);
    g_test_add_func("/engine/no-older-answer", test_admission_ends_by_no_older_answer);
    g_test_add_func("/engine/no-older-list", test_admission_ends_by_no_older_list);
    g_test_add_func("/engine/offline-and-another", test_offline_migration_and_another);
    g_test_add_func("/engine/incoming-scope", test_incoming_guest_has_the_scope_of_its_admission);
    g_test_add_func("/engine/left-and-back", test_guest_that_left_may_come_back);
    g_test_add_func("/engine/came-before-the-yes-unfollowed", test_came_before_the_yes_unfollowed);
    g_test_add_func("/engine/devices-taken-away", test_devices_are_taken_away_for_good);
    return g_test_run();
}
