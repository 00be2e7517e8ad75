/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Held says something of now: what ends it when nobody answers, and what makes it true again. */
#include "ap/fixture.h"
#include "engine/stories.h"

#define SECOND ((gint64)G_USEC_PER_SEC)

static void
expect_not_ready(Story *story, const char *part)
{
    g_autoptr(ApmigAction) verdict = NULL;

    tell(story, (ApmigEvent){.type = APMIG_EVENT_CHECK,
                             .caller = 7,
                             .check = {"aaaaaaaa", story->policy->silence_usec}});
    answer_all(story, APMIG_JOB_NONE);
    verdict = expect(story, APMIG_ACTION_REPLY_VERDICT);
    g_assert_false(verdict->reply.allowed);
    assert_says(verdict->reply.message, part);
}

static void
answer_heartbeat(Story *story, const ApmigAction *heartbeat, const char *error)
{
    tell(story,
         (ApmigEvent){.type = APMIG_EVENT_HEARTBEAT_ANSWERED, .heartbeat = {heartbeat->query.token, error}});
}

/* --- the heartbeat ------------------------------------------------------------------------------- */

/* All that libvirt's priority workers answer is answered, and is no proof. */
static void
test_heartbeat_without_an_answer(void)
{
    g_autoptr(ApmigAction) heartbeat = NULL, earlier = NULL;
    const ApmigLock *lock;
    Story story;
    gint64 noticed;

    begin(&story);
    hold(&story, "all"); /* since 1 s; the next is put at 6 s */
    lock = find_lock(&story, "aaaaaaaa");
    story.workers_busy = TRUE;
    live(&story, 21 * SECOND - 1 - story.now, APMIG_JOB_NONE);
    expect_state(&story, "aaaaaaaa", "held");
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {G1, NULL}});
    earlier = expect(&story, APMIG_ACTION_QUERY_GUEST);
    pass(&story, 1);
    noticed = STORY_REALTIME + story.now;
    expect_state(&story, "aaaaaaaa", "unproven");
    expect_log(&story, APMIG_LOG_VIEW_LATE, "libvirt has not answered since");
    assert_says(lock->unproven, "libvirt has not answered since");
    g_assert_cmpint(lock->proven_at, <, noticed - 15 * SECOND);

    heartbeat = expect(&story, APMIG_ACTION_HEARTBEAT);
    g_assert_cmpstr(heartbeat->query.uuid, ==, G1);
    answer_heartbeat(&story, heartbeat, NULL);
    expect_state(&story, "aaaaaaaa", "unproven");
    listed(&story, 1);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_GUEST_ANSWERED,
                              .answered = {.token = earlier->query.token, .uuid = G1}});
    expect_state(&story, "aaaaaaaa", "unproven"); /* that was asked before it was noticed */
    answered(&story, APMIG_JOB_NONE, NULL);
    expect_state(&story, "aaaaaaaa", "held");
    g_assert_cmpint(lock->proven_at, ==, noticed);
    g_assert_cmpstr(lock->unproven, ==, "");
    expect_log(&story, APMIG_LOG_LOCK_HELD, "held again");
    end(&story);
}

static void
test_complete_readings_do_not_replace_it(void)
{
    Story story;

    begin(&story);
    hold(&story, "all");
    story.workers_busy = TRUE;
    live(&story, 60 * SECOND, APMIG_JOB_NONE);
    expect_state(&story, "aaaaaaaa", "unproven");
    expect_not_ready(&story, "not proven: libvirt has not answered since ");
    admit(&story, 9, G2, "04.0012", FALSE);
    expect_admit(&story, FALSE, "unproven"); /* the gate is shut as before */
    {
        g_autoptr(ApmigAction) heartbeat = expect(&story, APMIG_ACTION_HEARTBEAT);

        expect_none(&story, APMIG_ACTION_HEARTBEAT); /* one at a time */
        answer_heartbeat(&story, heartbeat, "the connection was reset");
    }
    live(&story, 6 * SECOND, APMIG_JOB_NONE);
    expect_state(&story, "aaaaaaaa", "unproven"); /* an error is no answer */
    story.workers_busy = FALSE;
    live(&story, 3 * SECOND, APMIG_JOB_NONE); /* that under way is answered */
    expect_state(&story, "aaaaaaaa", "held");
    end(&story);
}

/* Whose worker is busy in turn would go unnoticed otherwise. */
static void
test_heartbeats_go_round(void)
{
    const ApmigGuestName guests[] = {{G1, "g1"}, {G2, "g2"}};
    g_autoptr(ApmigAction) last = NULL;
    Story story;
    guint n = 0;

    begin(&story);
    hold(&story, "all");
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_GUEST_NEWS, .news = {G2, "g2", APMIG_NEWS_STARTED}});
    story.workers_busy = TRUE;
    for (guint i = 0; i < 30; i++) {
        ApmigAction *heartbeat;

        while (answer_list(&story, guests, 2) ||
               answer_query(&story, "04.0012", (ApmigEvent){.answered = {.job = APMIG_JOB_NONE}}) ||
               answer_write(&story))
            ;
        pass(&story, SECOND);
        heartbeat = next(&story, APMIG_ACTION_HEARTBEAT);
        if (!heartbeat)
            continue;
        if (last)
            g_assert_cmpstr(heartbeat->query.uuid, !=, last->query.uuid);
        answer_heartbeat(&story, heartbeat, NULL);
        g_clear_pointer(&last, apmig_action_free);
        last = heartbeat;
        n++;
    }
    g_assert_cmpuint(n, >=, 5);
    end(&story);
}

/* What an answer proves is of the time when it was asked. */
static void
test_proven_when_it_was_asked(void)
{
    g_autoptr(ApmigAction) heartbeat = NULL;
    const ApmigLock *lock;
    Story story;
    gint64 asked_at;

    begin(&story);
    hold(&story, "all");
    lock = find_lock(&story, "aaaaaaaa");
    asked_at = STORY_REALTIME + story.now;
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_LOST, .view_lost = {"it broke"}});
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    stand_still(&story, SECOND);
    answer_all(&story, APMIG_JOB_NONE);
    expect_state(&story, "aaaaaaaa", "held");
    g_assert_cmpint(lock->proven_at, ==, asked_at);

    story.workers_busy = TRUE;
    for (guint i = 0; !heartbeat && i < 60; i++) {
        live(&story, SECOND / 10, APMIG_JOB_NONE);
        asked_at = STORY_REALTIME + story.now;
        heartbeat = next(&story, APMIG_ACTION_HEARTBEAT);
    }
    g_assert_nonnull(heartbeat);
    live(&story, 2 * SECOND, APMIG_JOB_NONE);
    answer_heartbeat(&story, heartbeat, NULL);
    g_assert_cmpint(lock->proven_at, <=, asked_at);
    g_assert_cmpint(lock->proven_at, >, asked_at - SECOND / 5);
    end(&story);
}

/* Whether a question could be put does not matter. */
static void
test_loop_stood_still(void)
{
    Story story;

    begin(&story);
    hold(&story, "all");
    stand_still(&story, 14 * SECOND);
    expect_state(&story, "aaaaaaaa", "held");
    answer_all(&story, APMIG_JOB_NONE);
    story.workers_busy = TRUE; /* nothing is answered in the same moment */
    stand_still(&story, 30 * SECOND);
    expect_state(&story, "aaaaaaaa", "unproven");
    expect_log(&story, APMIG_LOG_VIEW_LATE, "is not proven any more: libvirt has not answered since 2");
    story.workers_busy = FALSE;
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_DEADLINE});
    answer_all(&story, APMIG_JOB_NONE);
    expect_state(&story, "aaaaaaaa", "held");
    end(&story);
}

/* A guest was due to be asked, and was not: no heartbeat makes up for it, nor does a question that is put at once for what
 * came first, for it may be answered before anything else comes. */
static void
test_guest_was_due_while_the_loop_stood_still(void)
{
    const ApmigEvent first[] = {{.type = APMIG_EVENT_DEADLINE},
                                {.type = APMIG_EVENT_HINT, .hint = {G1, NULL}}};

    for (guint i = 0; i < G_N_ELEMENTS(first); i++) {
        ApmigPolicy *policy = apmig_policy_new_default();
        Story story;

        policy->stamp = APMIG_STAMP_OFF;
        policy->held_interval_usec = SECOND;
        begin_with(&story, policy);
        hold(&story, "all");
        story.workers_busy = TRUE; /* nothing is answered in the same moment */
        story.now += 17 * SECOND;  /* a heartbeat was due 12 s ago */
        tell(&story, first[i]);
        expect_state(&story, "aaaaaaaa", "unproven");
        answer_all(&story, APMIG_JOB_NONE);
        expect_state(&story, "aaaaaaaa", "held");
        end(&story);
    }
}

/* --- guests, and the view ------------------------------------------------------------------------- */

static void
test_guest_that_does_not_tell(void)
{
    Story story;

    begin(&story);
    hold(&story, "05.*");
    take(&story, 2, "bbbbbbbb", "04.*", APMIG_ON_BUSY_UNSET, TRUE);
    answer_all(&story, APMIG_JOB_NONE);
    expect_state(&story, "bbbbbbbb", "held");
    for (guint i = 0; i < 25; i++) {
        pass(&story, SECOND);
        while (
            answer_list(&story, (const ApmigGuestName[]){{G1, "g1"}}, 1) ||
            answer_query(&story, "04.0012",
                         (ApmigEvent){.answered = {.job = APMIG_JOB_UNKNOWN, .error = "its monitor hangs"}}))
            ;
        if (i == 13)
            expect_state(&story, "bbbbbbbb", "held");
    }
    expect_state(&story, "bbbbbbbb", "unproven");
    assert_says(find_lock(&story, "bbbbbbbb")->unproven, "the job of guest 'g1'");
    assert_says(find_lock(&story, "bbbbbbbb")->unproven, "its monitor hangs");
    expect_state(&story, "aaaaaaaa", "held"); /* it does not concern that one */
    answer_all(&story, APMIG_JOB_NONE);
    live(&story, SECOND, APMIG_JOB_NONE);
    expect_state(&story, "bbbbbbbb", "held");
    end(&story);
}

static void
test_list_that_does_not_come(void)
{
    Story story;

    begin(&story);
    hold(&story, "all");
    for (guint i = 0; i < 25; i++) {
        pass(&story, SECOND);
        while (answer_query(&story, "04.0012", (ApmigEvent){.answered = {.job = APMIG_JOB_NONE}}))
            ;
        if (i == 13)
            expect_state(&story, "aaaaaaaa", "held");
    }
    expect_state(&story, "aaaaaaaa", "unproven");
    assert_says(find_lock(&story, "aaaaaaaa")->unproven, "libvirt has not listed its guests since");
    answer_all(&story, APMIG_JOB_NONE);
    live(&story, SECOND, APMIG_JOB_NONE);
    expect_state(&story, "aaaaaaaa", "held");
    end(&story);
}

static void
test_view_is_lost(void)
{
    Story story;

    begin(&story);
    hold(&story, "all");
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_LOST, .view_lost = {"libvirtd was stopped"}});
    expect_state(&story, "aaaaaaaa", "unproven");
    expect_log(&story, APMIG_LOG_VIEW_LATE, "not reachable: libvirtd was stopped");
    pass(&story, 60 * SECOND);
    expect_state(&story, "aaaaaaaa", "unproven");
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    listed(&story, 1);
    expect_state(&story, "aaaaaaaa", "unproven");
    answer_all(&story, APMIG_JOB_NONE);
    expect_state(&story, "aaaaaaaa", "held");
    end(&story);
}

static void
test_lock_of_an_earlier_run(void)
{
    g_autoptr(ApmigLockRecord) record = record_on_disk(APMIG_LOCK_BY_REQUEST, 5);
    Story story;

    begin(&story);
    load(&story, record, NULL);
    expect_state(&story, "dddddddd", "unproven");
    pass(&story, 24 * 3600 * SECOND);
    expect_none(&story, APMIG_ACTION_REMOVE_LOCK); /* it is never drained again, so nothing times out */
    expect_state(&story, "dddddddd", "unproven");
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    answer_all(&story, APMIG_JOB_NONE);
    expect_state(&story, "dddddddd", "held");
    g_assert_cmpint(find_lock(&story, "dddddddd")->record->held_at, ==, 5);
    end(&story);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/engine-silence/heartbeat", test_heartbeat_without_an_answer);
    g_test_add_func("/engine-silence/readings-do-not-replace-it", test_complete_readings_do_not_replace_it);
    g_test_add_func("/engine-silence/loop-stood-still", test_loop_stood_still);
    g_test_add_func("/engine-silence/guest-was-due", test_guest_was_due_while_the_loop_stood_still);
    g_test_add_func("/engine-silence/guest-does-not-tell", test_guest_that_does_not_tell);
    g_test_add_func("/engine-silence/heartbeats-go-round", test_heartbeats_go_round);
    g_test_add_func("/engine-silence/proven-when-asked", test_proven_when_it_was_asked);
    g_test_add_func("/engine-silence/list-does-not-come", test_list_that_does_not_come);
    g_test_add_func("/engine-silence/view-lost", test_view_is_lost);
    g_test_add_func("/engine-silence/earlier-run", test_lock_of_an_earlier_run);
    return g_test_run();
}
