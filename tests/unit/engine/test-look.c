/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A guest of which libvirt does not tell the job, and what the helper sees of its device meanwhile. */
#include "ap/fixture.h"
#include "engine/stories.h"

#define D1     "aaaaaaaa-0000-4000-8000-000000000001"
#define SECOND ((gint64)G_USEC_PER_SEC)

static const char *const devices[] = {D1, NULL};

/* Of guest g1, which is of 04.0012 and has a device. */
static void
answer_token(Story *story, ApmigToken token, ApmigJob job)
{
    g_autoptr(ApmigScope) scope = apmig_scope_parse("04.0012", NULL);

    tell(story, (ApmigEvent){.type = APMIG_EVENT_GUEST_ANSWERED,
                             .answered = {.token = token,
                                          .uuid = G1,
                                          .job = job,
                                          .facts_read = TRUE,
                                          .facts = {APMIG_AFFECTED_YES, scope, devices}}});
}

static void
answer(Story *story, ApmigJob job)
{
    g_autoptr(ApmigAction) question = expect(story, APMIG_ACTION_QUERY_GUEST);

    answer_token(story, question->query.token, job);
}

static void
list(Story *story)
{
    const ApmigGuestName guests[] = {{G1, "g1"}};

    while (answer_list(story, guests, G_N_ELEMENTS(guests)))
        ;
}

/* Every question there is, and that follows. */
static void
answer_each(Story *story, ApmigJob job)
{
    g_autoptr(ApmigAction) question = NULL;

    do {
        list(story);
        g_clear_pointer(&question, apmig_action_free);
        question = next(story, APMIG_ACTION_QUERY_GUEST);
        if (question)
            answer_token(story, question->query.token, job);
    } while (question);
}

/* A lock of everything is held, and g1 at rest. The next question about it has been put, and has no answer. */
static void
hold_and_ask(Story *story)
{
    begin(story);
    open_view(story);
    news(story, APMIG_NEWS_STARTED);
    list(story);
    answer(story, APMIG_JOB_NONE);
    take(story, 1, "aaaaaaaa", "all", APMIG_ON_BUSY_UNSET, TRUE);
    written(story, APMIG_ACTION_PERSIST_LOCK, NULL);
    answer_each(story, APMIG_JOB_NONE);
    written(story, APMIG_ACTION_PERSIST_LOCK, NULL);
    answer_each(story, APMIG_JOB_NONE);
    expect_state(story, "aaaaaaaa", "held");
    g_ptr_array_set_size(story->actions, 0);
    tell(story, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {G1, NULL}});
}

/* The same of a lock that is asked for while libvirt does not tell. */
static void
drain_and_ask(Story *story)
{
    begin(story);
    open_view(story);
    news(story, APMIG_NEWS_STARTED);
    list(story);
    answer(story, APMIG_JOB_NONE);
}

static guint64
expect_look(Story *story)
{
    g_autoptr(ApmigAction) action = expect(story, APMIG_ACTION_LOOK_AT_GUEST);

    g_assert_cmpstr(action->look.uuid, ==, G1);
    g_assert_cmpstr(action->look.guest, ==, "g1");
    g_assert_cmpstr(action->look.device, ==, D1);
    expect_none(story, APMIG_ACTION_LOOK_AT_GUEST);
    return action->op;
}

static void
looked_at(Story *story, guint64 op, gboolean saving)
{
    tell(story, (ApmigEvent){.type = APMIG_EVENT_GUEST_LOOKED_AT, .looked_at = {op, saving}});
}

/* Until it is late, and then. */
static guint64
wait_for_look(Story *story)
{
    pass(story, SECOND - 1);
    expect_none(story, APMIG_ACTION_LOOK_AT_GUEST);
    pass(story, 1);
    return expect_look(story);
}

/* ------------------------------------------------------------------------------------------------- */

static void
test_only_when_an_answer_is_late(void)
{
    guint64 op;
    Story story;

    hold_and_ask(&story);
    op = wait_for_look(&story);
    looked_at(&story, op, FALSE);
    expect_state(&story, "aaaaaaaa", "held"); /* no session is no sign of anything */
    pass(&story, 2 * SECOND - 1);
    expect_none(&story, APMIG_ACTION_LOOK_AT_GUEST);
    pass(&story, 1);
    op = expect_look(&story);
    pass(&story, 60 * SECOND);
    expect_none(&story, APMIG_ACTION_LOOK_AT_GUEST); /* one at a time */
    answer_each(&story, APMIG_JOB_NONE);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {G1, NULL}});
    looked_at(&story, op, TRUE); /* older than that answer */
    answer_each(&story, APMIG_JOB_NONE);
    g_assert_cmpuint(find_lock(&story, "aaaaaaaa")->record->breaches, ==, 0);
    end(&story);
}

/* Nothing is done: it may go into a file. */
static void
test_held_is_not_proven_while_a_device_is_saved(void)
{
    Story story;

    hold_and_ask(&story);
    looked_at(&story, wait_for_look(&story), TRUE);
    expect_state(&story, "aaaaaaaa", "unproven");
    assert_says(find_lock(&story, "aaaaaaaa")->unproven, "the device of guest 'g1' is being saved");
    expect_log(&story, APMIG_LOG_VIEW_LATE,
               "the device of guest g1 is being saved, for another host or into a file");
    pass(&story, 5 * SECOND);
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    answer(&story, APMIG_JOB_OTHER); /* asked before it was seen */
    expect_state(&story, "aaaaaaaa", "unproven");
    answer_each(&story, APMIG_JOB_OTHER);
    expect_state(&story, "aaaaaaaa", "held");
    g_assert_cmpuint(find_lock(&story, "aaaaaaaa")->record->breaches, ==, 0);
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    end(&story);
}

/* It left, or was saved, before anybody could know: that is no rest. */
static void
test_what_it_was_is_never_told(void)
{
    Story story;

    hold_and_ask(&story);
    looked_at(&story, wait_for_look(&story), TRUE);
    answer_each(&story, APMIG_JOB_NONE);
    g_assert_cmpuint(find_lock(&story, "aaaaaaaa")->record->breaches, ==, 1);
    end(&story);
}

static void
expect_both_steps(Story *story)
{
    g_autoptr(ApmigAction) abort_step = expect(story, APMIG_ACTION_RUN_STEP);
    g_autoptr(ApmigAction) state_step = expect(story, APMIG_ACTION_RUN_STEP);

    g_assert_cmpint(abort_step->step.kind, ==, APMIG_STEP_LIBVIRT_ABORT);
    g_assert_cmpint(state_step->step.kind, ==, APMIG_STEP_VFIO_STATE);
    g_assert_true(state_step->step.outgoing);
    g_assert_cmpstr(state_step->step.device, ==, D1);
}

/* libvirt has said that it is a migration, by its event, and the look that it has not ended since. */
static void
test_switchover_is_ended(void)
{
    g_autoptr(ApmigAction) late = NULL;
    g_autoptr(GPtrArray) migrations = NULL;
    Story story;

    drain_and_ask(&story);
    news(&story, APMIG_NEWS_SUSPENDED);
    take(&story, 1, "aaaaaaaa", "all", APMIG_ON_BUSY_ABORT, TRUE);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    list(&story);
    late = expect(&story, APMIG_ACTION_QUERY_GUEST);
    looked_at(&story, wait_for_look(&story), TRUE);
    expect_log(&story, APMIG_LOG_MIGRATION_SEEN,
               "it was stopped for its switchover, and its device is being saved");
    expect_both_steps(&story);
    expect_state(&story, "aaaaaaaa", "draining");
    answer_token(&story, late->query.token, APMIG_JOB_NONE); /* it may be of before the migration */
    migrations = apmig_engine_list_migrations(story.engine);
    g_assert_cmpuint(migrations->len, ==, 1);
    answer_each(&story, APMIG_JOB_NONE);
    expect_log(&story, APMIG_LOG_MIGRATION_ENDED, "the guest");
    list(&story);
    answer_each(&story, APMIG_JOB_NONE);
    end(&story);
}

/* Of a guest that was left so by a migration, or that was stopped long ago, that word is worth nothing: it may be saved now. */
static void
test_word_of_a_switchover_that_is_over(void)
{
    for (int answered_since = 0; answered_since < 2; answered_since++) {
        Story story;

        drain_and_ask(&story);
        news(&story, APMIG_NEWS_SUSPENDED);
        if (!answered_since)
            pass(&story, 60 * SECOND);
        take(&story, 1, "aaaaaaaa", "all", APMIG_ON_BUSY_ABORT, TRUE);
        written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
        list(&story);
        if (answered_since)
            answer(&story, APMIG_JOB_OTHER);
        tell(&story, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {G1, NULL}});
        looked_at(&story, wait_for_look(&story), TRUE);
        expect_none(&story, APMIG_ACTION_RUN_STEP);
        end(&story);
    }
}

/* Who waits for the lock is told. */
static void
test_deadline_tells_of_it(void)
{
    Story story;

    drain_and_ask(&story);
    take(&story, 1, "aaaaaaaa", "all", APMIG_ON_BUSY_ABORT, FALSE);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    list(&story);
    looked_at(&story, wait_for_look(&story), TRUE);
    pass(&story, 19 * SECOND);
    answer_write(&story);
    expect_error(&story, 1, APMIG_ERROR_HYPERVISOR_UNAVAILABLE,
                 "guest 'g1', whose device is being saved, for another host or into a file");
    end(&story);
}

/* It does not answer: that matters as soon as a lock covers it. */
static void
test_lock_of_other_keys(void)
{
    Story story;

    drain_and_ask(&story);
    take(&story, 1, "aaaaaaaa", "all", APMIG_ON_BUSY_UNSET, TRUE);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    release(&story, 3, "aaaaaaaa", FALSE);
    written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
    take(&story, 1, "bbbbbbbb", "05.0013", APMIG_ON_BUSY_UNSET, TRUE);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    pass(&story, 10 * SECOND);
    expect_none(&story, APMIG_ACTION_LOOK_AT_GUEST);
    take(&story, 1, "cccccccc", "04.0012", APMIG_ON_BUSY_UNSET, TRUE);
    pass(&story, SECOND);
    expect_look(&story);
    end(&story);
}

static void
test_nobody_is_looked_at_without_a_lock(void)
{
    Story story;

    drain_and_ask(&story);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {G1, NULL}});
    pass(&story, 60 * SECOND);
    expect_none(&story, APMIG_ACTION_LOOK_AT_GUEST);
    end(&story);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/engine/look/only-when-an-answer-is-late", test_only_when_an_answer_is_late);
    g_test_add_func("/engine/look/held-is-not-proven-while-a-device-is-saved",
                    test_held_is_not_proven_while_a_device_is_saved);
    g_test_add_func("/engine/look/what-it-was-is-never-told", test_what_it_was_is_never_told);
    g_test_add_func("/engine/look/switchover-is-ended", test_switchover_is_ended);
    g_test_add_func("/engine/look/word-of-a-switchover-that-is-over", test_word_of_a_switchover_that_is_over);
    g_test_add_func("/engine/look/deadline-tells-of-it", test_deadline_tells_of_it);
    g_test_add_func("/engine/look/lock-of-other-keys", test_lock_of_other_keys);
    g_test_add_func("/engine/look/nobody-is-looked-at-without-a-lock",
                    test_nobody_is_looked_at_without_a_lock);
    return g_test_run();
}
