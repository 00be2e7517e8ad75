/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Queues that change without an event: when guests are asked about them, and what an answer proves. */
#include "engine/stories.h"

/* Guest g1 answers, with what its device has now; NULL: its facts are not told. Returns: FALSE: it is not asked. */
static gboolean
answer_with_queues(Story *story, ApmigJob job, const char *scope_text)
{
    g_autoptr(ApmigAction) action = next(story, APMIG_ACTION_QUERY_GUEST);
    g_autoptr(ApmigScope) scope = scope_text ? apmig_scope_parse_stored(scope_text, NULL) : NULL;

    if (!action)
        return FALSE;
    g_assert_cmpstr(action->query.uuid, ==, G1);
    tell(story,
         (ApmigEvent){.type = APMIG_EVENT_GUEST_ANSWERED,
                      .answered = {.token = action->query.token,
                                   .uuid = G1,
                                   .job = job,
                                   .progress = {.data_processed = job == APMIG_JOB_OUTGOING},
                                   .facts_read = scope != NULL,
                                   .facts = {APMIG_AFFECTED_YES, scope, .scope_varies = scope != NULL}}});
    return TRUE;
}

static void
answered_with_queues(Story *story, ApmigJob job, const char *scope_text)
{
    g_assert_true(answer_with_queues(story, job, scope_text));
}

/* A lock of 05.* is held; g1 is active, idle, and has 04.0012 by a mediated device. */
static void
hold_beside_device(Story *story)
{
    const ApmigGuestName guests[] = {{G1, "g1"}};

    drain(story, "05.*", APMIG_ON_BUSY_UNSET);
    listed(story, 1);
    answered_with_queues(story, APMIG_JOB_NONE, "04.0012");
    listed(story, 1); /* the list before was asked for before the lock was durable */
    written(story, APMIG_ACTION_PERSIST_LOCK, NULL);
    apmig_action_free(expect(story, APMIG_ACTION_REPLY_TAKEN));
    expect_state(story, "aaaaaaaa", "held");
    pass(story, story->policy->draining_interval_usec); /* from now on at the interval of a held lock */
    while (answer_list(story, guests, 1) || answer_with_queues(story, APMIG_JOB_NONE, "04.0012"))
        ;
    g_ptr_array_set_size(story->actions, 0);
}

/* ------------------------------------------------------------------------------------------------- */

static void
test_held_rests_on_queues_read_for_it(void)
{
    Story story;

    begin(&story);
    hold_beside_device(&story);
    take(&story, 2, "bbbbbbbb", "06.*", APMIG_ON_BUSY_WAIT, FALSE);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    listed(&story, 1);
    expect_none(&story, APMIG_ACTION_PERSIST_LOCK); /* as far as was known, g1 does not overlap */
    answered_with_queues(&story, APMIG_JOB_OUTGOING, "04.0012,06.0012");
    expect_none(&story, APMIG_ACTION_PERSIST_LOCK);
    expect_state(&story, "aaaaaaaa", "held");
    pass(&story, story.policy->draining_interval_usec);
    answered_with_queues(&story, APMIG_JOB_OUTGOING, "04.0012"); /* what it takes along is known now */
    expect_none(&story, APMIG_ACTION_PERSIST_LOCK);
    listed(&story, 1);
    answered_with_queues(&story, APMIG_JOB_OUTGOING, "04.0012");
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    expect_state(&story, "bbbbbbbb", "held");
    end(&story);
}

static void
test_widening_under_a_lock_is_a_breach(void)
{
    const ApmigLock *lock;
    Story story;

    begin(&story);
    hold_beside_device(&story);
    lock = apmig_engine_lookup_lock(story.engine, "aaaaaaaa");
    pass(&story, story.policy->held_interval_usec);
    answered_with_queues(&story, APMIG_JOB_OUTGOING, "04.0012"); /* none of this lock's */
    expect_state(&story, "aaaaaaaa", "held");
    g_assert_cmpuint(lock->record->breaches, ==, 0);
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    listed(&story, 1);
    pass(&story, story.policy->held_interval_usec);
    answered_with_queues(&story, APMIG_JOB_OUTGOING, "04.0012,05.0012");
    expect_state(&story, "aaaaaaaa", "breached");
    g_assert_cmpuint(lock->record->breaches, ==, 1);
    apmig_action_free(expect(&story, APMIG_ACTION_RUN_STEP));
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL); /* that g1 is one of its guests */
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL); /* the count */
    listed(&story, 1);

    /* It goes on, and takes none of them along any more. */
    pass(&story, story.policy->draining_interval_usec);
    listed(&story, 1);
    answered_with_queues(&story, APMIG_JOB_OUTGOING, "04.0012");
    expect_state(&story, "aaaaaaaa", "breached");     /* what was read while it did is no proof */
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL); /* that g1 is none of them any more */
    listed(&story, 1);
    answered_with_queues(&story, APMIG_JOB_OUTGOING, "04.0012");
    expect_state(&story, "aaaaaaaa", "held");
    end(&story);
}

/* A guest that overlaps no lock is asked about all the same, while there is a lock; then it is not. */
static void
test_queues_are_read_at_the_interval(void)
{
    Story story;

    begin(&story);
    hold_beside_device(&story);
    pass(&story, story.policy->held_interval_usec);
    answered_with_queues(&story, APMIG_JOB_NONE, "05.0012");
    listed(&story, 1);
    pass(&story, story.policy->held_interval_usec);
    answered_with_queues(&story, APMIG_JOB_NONE, "none");
    listed(&story, 1);
    pass(&story, story.policy->held_interval_usec);
    answered_with_queues(&story, APMIG_JOB_NONE, "04.0012");
    listed(&story, 1);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_HINT}); /* something has changed in sysfs */
    answered_with_queues(&story, APMIG_JOB_NONE, "04.0012");
    expect_state(&story, "aaaaaaaa", "held");
    g_ptr_array_set_size(story.actions, 0);
    release(&story, 8, "aaaaaaaa", TRUE);
    written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_HINT});
    pass(&story, story.policy->held_interval_usec);
    expect_none(&story, APMIG_ACTION_QUERY_GUEST);
    end(&story);
}

/* Whose queues were not told is asked for everything, and that it migrates keeps the lock from being held. */
static void
test_queues_that_are_not_told(void)
{
    Story story;

    begin(&story);
    hold_beside_device(&story);
    take(&story, 2, "bbbbbbbb", "06.*", APMIG_ON_BUSY_WAIT, FALSE);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    listed(&story, 1);
    answered_with_queues(&story, APMIG_JOB_OUTGOING, NULL);
    expect_state(&story, "bbbbbbbb", "draining");
    expect_none(&story, APMIG_ACTION_PERSIST_LOCK);
    pass(&story, story.policy->draining_interval_usec);
    {
        g_autoptr(ApmigAction) action = expect(&story, APMIG_ACTION_QUERY_GUEST);

        g_assert_true(action->query.want_facts);
        tell(&story,
             (ApmigEvent){.type = APMIG_EVENT_GUEST_ANSWERED,
                          .answered = {.token = action->query.token, .uuid = G1, .job = APMIG_JOB_NONE}});
    }
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL); /* it does not migrate, whatever it has */
    expect_state(&story, "bbbbbbbb", "held");
    end(&story);
}

/* After an event the next answer tells everything; one under way tells nothing of the devices. */
static void
test_change_while_queues_are_read(void)
{
    g_autoptr(ApmigAction) under_way = NULL;
    g_autoptr(ApmigScope) scope = apmig_scope_parse("04.0012", NULL);
    Story story;

    begin(&story);
    hold_beside_device(&story);
    pass(&story, story.policy->held_interval_usec);
    under_way = expect(&story, APMIG_ACTION_QUERY_GUEST);
    g_assert_false(under_way->query.want_facts);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_GUEST_NEWS, .news = {G1, NULL, APMIG_NEWS_CHANGED}});
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_GUEST_ANSWERED,
                              .answered = {.token = under_way->query.token,
                                           .uuid = G1,
                                           .job = APMIG_JOB_OUTGOING,
                                           .facts_read = TRUE,
                                           .facts = {APMIG_AFFECTED_YES, scope, .scope_varies = TRUE}}});
    expect_state(&story, "aaaaaaaa", "breached"); /* of what is not known */
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    {
        g_autoptr(ApmigAction) action = expect(&story, APMIG_ACTION_QUERY_GUEST);

        g_assert_true(action->query.want_facts);
    }
    end(&story);
}

/* Libvirt's event of its start is late: what was read of the guest is of an earlier life. */
static void
test_queues_of_an_earlier_life(void)
{
    g_autoptr(ApmigAction) question = NULL;
    Story story;

    begin(&story);
    hold(&story, "04.*");
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {G1, NULL}});
    answered(&story, APMIG_JOB_INCOMING, NULL);
    g_assert_false(apmig_engine_lookup_migration(story.engine, "5708_1")->scope_known);
    end(&story);

    begin(&story);
    hold(&story, "04.*");
    news(&story, APMIG_NEWS_STOPPED);
    g_assert_true(answer_query(&story, NULL, (ApmigEvent){.answered = {.job = APMIG_JOB_NONE}}));
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {G1, NULL}});
    question = expect(&story, APMIG_ACTION_QUERY_GUEST);
    g_assert_true(question->query.want_facts);
    end(&story);
}

/* Libvirt's event of its start is missing: what is read ahead of its job is of its next life, and stays. */
static void
test_queues_of_the_next_life(void)
{
    g_autoptr(ApmigAction) question = NULL, next_question = NULL;
    g_autoptr(ApmigScope) scope = apmig_scope_parse("05.0012", NULL);
    Story story;

    begin(&story);
    hold(&story, "all");
    news(&story, APMIG_NEWS_STOPPED);
    question = expect(&story, APMIG_ACTION_QUERY_GUEST);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_FACTS_READ,
                              .facts_read = {question->query.token, G1, {APMIG_AFFECTED_YES, scope}}});
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_GUEST_ANSWERED,
                              .answered = {.token = question->query.token, .uuid = G1}});
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {G1, NULL}});
    next_question = expect(&story, APMIG_ACTION_QUERY_GUEST);
    g_assert_false(next_question->query.want_facts);
    end(&story);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/engine/queues-read-for-held", test_held_rests_on_queues_read_for_it);
    g_test_add_func("/engine/queues-widened", test_widening_under_a_lock_is_a_breach);
    g_test_add_func("/engine/queues-at-the-interval", test_queues_are_read_at_the_interval);
    g_test_add_func("/engine/queues-not-told", test_queues_that_are_not_told);
    g_test_add_func("/engine/queues-and-change", test_change_while_queues_are_read);
    g_test_add_func("/engine/queues-of-an-earlier-life", test_queues_of_an_earlier_life);
    g_test_add_func("/engine/queues-of-the-next-life", test_queues_of_the_next_life);
    return g_test_run();
}
