/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A lock's life: when it is held, breached, overdue, released, forgotten. */
#include "engine/stories.h"

static void
test_held_only_after_durable_and_read(void)
{
    Story story;

    begin(&story);
    open_view(&story);
    take(&story, 1, "aaaaaaaa", "all", APMIG_ON_BUSY_UNSET, FALSE);
    expect_state(&story, "aaaaaaaa", "requested");
    listed(&story, 1); /* asked before the lock was durable: proves nothing */
    answered(&story, APMIG_JOB_NONE, "04.0012");
    expect_none(&story, APMIG_ACTION_REPLY_TAKEN);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    expect_state(&story, "aaaaaaaa", "draining");
    listed(&story, 1);
    expect_none(&story, APMIG_ACTION_REPLY_TAKEN);
    answered(&story, APMIG_JOB_NONE, "04.0012");
    expect_none(&story, APMIG_ACTION_REPLY_TAKEN); /* held_at is not durable */
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    expect_state(&story, "aaaaaaaa", "held");
    apmig_action_free(expect(&story, APMIG_ACTION_REPLY_TAKEN));
    end(&story);
}

/* Whoever is told held is told of now, not of before the disk was slow. */
static void
test_held_on_a_slow_disk(void)
{
    const ApmigLock *lock;
    Story story;
    gint64 read_at;

    begin(&story);
    drain(&story, "all", APMIG_ON_BUSY_UNSET);
    lock = find_lock(&story, "aaaaaaaa");
    listed(&story, 0);
    listed(&story, 0);
    pass(&story, 10 * G_USEC_PER_SEC);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    expect_state(&story, "aaaaaaaa", "draining");
    read_at = STORY_REALTIME + story.now;
    listed(&story, 0); /* asked before */
    expect_none(&story, APMIG_ACTION_REPLY_TAKEN);
    listed(&story, 0);
    expect_state(&story, "aaaaaaaa", "held");
    g_assert_cmpint(lock->proven_at, ==, read_at);
    apmig_action_free(expect(&story, APMIG_ACTION_REPLY_TAKEN));
    end(&story);
}

static void
test_breach(void)
{
    const ApmigLock *lock;
    Story story;

    begin(&story);
    hold(&story, "*.0012");
    lock = apmig_engine_lookup_lock(story.engine, "aaaaaaaa");
    pass(&story, 6 * G_USEC_PER_SEC);
    answer_query(&story, NULL,
                 (ApmigEvent){.answered = {.job = APMIG_JOB_OUTGOING, .progress = {.data_processed = 1}}});
    expect_state(&story, "aaaaaaaa", "breached");
    g_assert_cmpuint(lock->record->breaches, ==, 1);
    apmig_action_free(expect(&story, APMIG_ACTION_RUN_STEP));
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL); /* the count */
    listed(&story, 1);
    pass(&story, 50000);
    answered(&story, APMIG_JOB_NONE, NULL);
    expect_state(&story, "aaaaaaaa", "breached"); /* the reading is older than the end of the breach */
    listed(&story, 1);
    expect_state(&story, "aaaaaaaa", "breached");
    listed(&story, 1);
    expect_state(&story, "aaaaaaaa", "breached");
    answered(&story, APMIG_JOB_NONE, NULL);
    expect_state(&story, "aaaaaaaa", "held");
    g_assert_cmpuint(lock->record->breaches, ==, 1);
    end(&story);
}

/* Of the record that is given to the disk now, which answers. */
static guint
write_breaches(Story *story)
{
    g_autoptr(ApmigAction) action = expect(story, APMIG_ACTION_PERSIST_LOCK);

    tell(story, (ApmigEvent){.type = APMIG_EVENT_LOCK_PERSISTED, .persisted = {action->op, NULL}});
    return action->lock->breaches;
}

static const ApmigEvent leaving = {
    .answered = {.job = APMIG_JOB_OUTGOING, .progress = {.data_processed = 1}}};

/* A write that is under way has a copy from before. */
static void
test_breach_while_the_lock_is_written(void)
{
    Story story;

    begin(&story);
    hold(&story, "*.0012");
    pass(&story, 6 * G_USEC_PER_SEC);
    g_assert_true(answer_query_about(&story, G1, NULL, leaving));
    listed(&story, 2);
    g_assert_true(answer_query_about(&story, G2, "04.0012", leaving));
    g_assert_cmpuint(find_lock(&story, "aaaaaaaa")->record->breaches, ==, 2);
    g_assert_cmpuint(write_breaches(&story), ==, 1);
    g_assert_cmpuint(write_breaches(&story), ==, 2);
    expect_none(&story, APMIG_ACTION_PERSIST_LOCK);
    end(&story);
}

static void
test_breach_while_the_lock_is_adopted(void)
{
    Story story;

    begin(&story);
    open_view(&story);
    take_lock(&story, "aaaaaaaa", "*.0012",
              (ApmigEvent){.take = {.origin = APMIG_LOCK_BY_ITSELF, .no_wait = TRUE}});
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    listed(&story, 0);
    pass(&story, 50000);
    listed(&story, 0);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    expect_state(&story, "aaaaaaaa", "held");
    take(&story, 4, "bbbbbbbb", "*.0012", APMIG_ON_BUSY_UNSET, FALSE);
    while (answer_list(&story, NULL, 0))
        ; /* the reading for him */
    news(&story, APMIG_NEWS_STARTED);
    listed(&story, 1);
    g_assert_true(answer_query_about(&story, G1, "04.0012", leaving));
    g_assert_cmpuint(find_lock(&story, "aaaaaaaa")->record->breaches, ==, 1);
    g_assert_cmpuint(write_breaches(&story), ==, 0);
    g_assert_cmpint(find_lock(&story, "aaaaaaaa")->record->origin, ==, APMIG_LOCK_BY_REQUEST);
    g_assert_cmpuint(write_breaches(&story), ==, 1);
    end(&story);
}

static void
test_overdue(void)
{
    g_autoptr(ApmigLockRecord) record = record_on_disk(APMIG_LOCK_BY_REQUEST, 5);
    Story story;

    begin(&story);
    record->expected_duration_usec = 60 * G_USEC_PER_SEC;
    load(&story, record, NULL);
    g_assert_false(apmig_engine_lookup_lock(story.engine, "dddddddd")->overdue);
    pass(&story, 61 * G_USEC_PER_SEC);
    g_assert_true(apmig_engine_lookup_lock(story.engine, "dddddddd")->overdue);
    admit(&story, 9, G1, "04.0012", FALSE); /* loud, but still a lock */
    expect_admit(&story, FALSE, "dddddddd");
    end(&story);
}

static void
test_release_opens_the_gate_after_the_removal(void)
{
    Story story;

    begin(&story);
    hold(&story, "all");
    release(&story, 7, "cccccccc", FALSE);
    expect_error(&story, 7, APMIG_ERROR_NO_SUCH_LOCK, "cccccccc");
    release(&story, 8, "aaaaaaaa", TRUE);
    expect_state(&story, "aaaaaaaa", "verifying");
    admit(&story, 9, G1, "04.0012", FALSE);
    expect_admit(&story, FALSE, "verifying");
    expect_none(&story, APMIG_ACTION_REPLY_RELEASED);
    written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
    apmig_action_free(expect(&story, APMIG_ACTION_REPLY_RELEASED));
    expect_state(&story, "aaaaaaaa", "ended");
    admit(&story, 10, G1, "04.0012", FALSE);
    written(&story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
    expect_admit(&story, TRUE, "");
    end(&story);
}

static void
test_release_fails_and_the_lock_stays(void)
{
    Story story;

    begin(&story);
    hold(&story, "all");
    release(&story, 8, "aaaaaaaa", TRUE);
    written(&story, APMIG_ACTION_REMOVE_LOCK, "Read-only file system");
    expect_error(&story, 8, APMIG_ERROR_STATE_FAILURE, "Read-only");
    admit(&story, 9, G1, "04.0012", FALSE);
    expect_admit(&story, FALSE, "aaaaaaaa");
    end(&story);
}

static void
test_ended_objects_are_forgotten(void)
{
    Story story;

    begin(&story);
    hold(&story, "all");
    release(&story, 8, "aaaaaaaa", TRUE);
    written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
    pass(&story, 10 * 60 * G_USEC_PER_SEC - 1);
    expect_none(&story, APMIG_ACTION_FORGET_LOCK);
    pass(&story, 1);
    apmig_action_free(expect(&story, APMIG_ACTION_FORGET_LOCK));
    g_assert_null(apmig_engine_lookup_lock(story.engine, "aaaaaaaa"));
    g_assert_cmpint(apmig_engine_next_deadline(story.engine), ==, G_MAXINT64);
    end(&story);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/engine/held-only-after-durable-and-read", test_held_only_after_durable_and_read);
    g_test_add_func("/engine/held-on-a-slow-disk", test_held_on_a_slow_disk);
    g_test_add_func("/engine/breach", test_breach);
    g_test_add_func("/engine/breach-while-written", test_breach_while_the_lock_is_written);
    g_test_add_func("/engine/breach-while-adopted", test_breach_while_the_lock_is_adopted);
    g_test_add_func("/engine/overdue", test_overdue);
    g_test_add_func("/engine/release", test_release_opens_the_gate_after_the_removal);
    g_test_add_func("/engine/release-fails", test_release_fails_and_the_lock_stays);
    g_test_add_func("/engine/forgotten", test_ended_objects_are_forgotten);
    return g_test_run();
}
