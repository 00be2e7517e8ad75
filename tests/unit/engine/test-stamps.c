/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which guests' stamps are written, when, and what they are to tell of locks. */
#include "engine/fixture.h"

#include <string.h>
#include <syslog.h>

#define G1 "11111111-1111-4111-8111-111111111111"
#define G2 "22222222-2222-4222-8222-222222222222"
#define G3 "33333333-3333-4333-8333-333333333333"

/* The stamp of @uuid is to be written, with @lock (NULL: none) for one of 04.0012. Returns: its op. */
static guint64
expect_stamp(Story *story, const char *uuid, const char *lock)
{
    g_autoptr(ApmigAction) action = next(story, APMIG_ACTION_STAMP_GUEST);
    g_autoptr(ApmigScope) scope = apmig_scope_parse("04.0012", NULL);
    g_autoptr(ApmigStampLock) chosen = NULL;

    g_assert_nonnull(action);
    g_assert_cmpstr(action->stamp.uuid, ==, uuid);
    chosen = apmig_stamp_choose_lock(action->stamp.locks, scope);
    g_assert_cmpstr(chosen ? chosen->id : NULL, ==, lock);
    if (chosen)
        g_assert_cmpstr(chosen->reason, ==, "AES rotation");
    return action->op;
}

static void
finish(Story *story, guint64 op, ApmigStamping result)
{
    tell(story, (ApmigEvent){.type = APMIG_EVENT_STAMP_FINISHED, .stamping = {op, result, "it hangs"}});
}

/* A connection to no guests, when everything has been looked at. */
static void
set_up(Story *story, gconstpointer data)
{
    begin_with(story, apmig_policy_new_default());
    open_view(story);
    pass(story, 13 * G_USEC_PER_SEC);
    g_ptr_array_set_size(story->actions, 0);
}

static void
tear_down(Story *story, gconstpointer data)
{
    end(story);
}

static void
set_form(Story *story, ApmigStampForm form)
{
    story->policy->stamp = form;
    tell(story, (ApmigEvent){.type = APMIG_EVENT_POLICY_CHANGED, .policy = story->policy});
}

/* Answers every question there is: G1 is of 04.0012, G2 of 05.0013. Returns: whether there was one. */
static gboolean
answer(Story *story, ApmigJob job)
{
    static const ApmigGuestName guests[] = {{G1, "g1"}, {G2, "g2"}};
    g_autoptr(ApmigAction) list = next(story, APMIG_ACTION_LIST_GUESTS);
    g_autoptr(ApmigAction) query = next(story, APMIG_ACTION_QUERY_GUEST);
    g_autoptr(ApmigScope) scope = NULL;

    if (list)
        tell(story,
             (ApmigEvent){.type = APMIG_EVENT_GUESTS_LISTED, .listed = {list->query.token, NULL, guests, 2}});
    if (!query)
        return list != NULL;
    scope = apmig_scope_parse(g_str_equal(query->query.uuid, G1) ? "04.0012" : "05.0013", NULL);
    tell(story, (ApmigEvent){.type = APMIG_EVENT_GUEST_ANSWERED,
                             .answered = {.token = query->query.token,
                                          .uuid = query->query.uuid,
                                          .job = job,
                                          .facts_read = query->query.want_facts,
                                          .facts = {APMIG_AFFECTED_YES, scope}}});
    return TRUE;
}

static void
request(Story *story, const char *id, const char *scope, gboolean no_wait)
{
    take_lock(story, id, scope, (ApmigEvent){.caller = 1, .take = {.no_wait = no_wait}});
    written(story, APMIG_ACTION_PERSIST_LOCK, NULL);
}

static void
hold(Story *story, const char *id, const char *scope)
{
    request(story, id, scope, FALSE);
    while (answer(story, APMIG_JOB_NONE))
        expect_none(story, APMIG_ACTION_STAMP_GUEST);
    written(story, APMIG_ACTION_PERSIST_LOCK, NULL);
    expect_none(story, APMIG_ACTION_STAMP_GUEST); /* whoever waits for held has it first */
}

static void
release(Story *story, const char *id)
{
    tell(story, (ApmigEvent){.type = APMIG_EVENT_RELEASE, .caller = 2, .release = {id, TRUE}});
    written(story, APMIG_ACTION_REMOVE_LOCK, NULL);
}

static void
start(Story *story, const char *uuid)
{
    tell(story, (ApmigEvent){.type = APMIG_EVENT_GUEST_NEWS, .news = {uuid, NULL, APMIG_NEWS_CHANGED}});
    pass(story, G_USEC_PER_SEC);
}

/* --- causes --------------------------------------------------------------------------------------- */

static void
test_start(Story *story, gconstpointer data)
{
    finish(story, 12345, APMIG_STAMPING_FAILED); /* an answer to nothing */
    start(story, G1);
    finish(story, expect_stamp(story, G1, NULL), APMIG_STAMPING_DONE);
    pass(story, G_USEC_PER_SEC);
    expect_none(story, APMIG_ACTION_STAMP_GUEST);
}

/* It was stamped under a lock that may have covered it, and that ends before anything of it is known. */
static void
test_lock_over_a_guest_that_was_not_listed(Story *story, gconstpointer data)
{
    hold(story, "aaaaaaaa", "06.*");
    start(story, G3);
    finish(story, expect_stamp(story, G3, NULL), APMIG_STAMPING_DONE);
    release(story, "aaaaaaaa");
    pass(story, G_USEC_PER_SEC);
    finish(story, expect_stamp(story, G3, NULL), APMIG_STAMPING_DONE);
    pass(story, G_USEC_PER_SEC);
    expect_none(story, APMIG_ACTION_STAMP_GUEST);
}

static void
test_lock(Story *story, gconstpointer data)
{
    hold(story, "aaaaaaaa", "04.0012");
    pass(story, G_USEC_PER_SEC);
    finish(story, expect_stamp(story, G1, "aaaaaaaa"), APMIG_STAMPING_DONE);
    expect_none(story, APMIG_ACTION_STAMP_GUEST); /* not the other guest */
    while (answer(story, APMIG_JOB_NONE))
        pass(story, G_USEC_PER_SEC / 10);
    pass(story, G_USEC_PER_SEC);
    expect_none(story, APMIG_ACTION_STAMP_GUEST); /* not at every reading */

    start(story, G2);
    finish(story, expect_stamp(story, G2, "aaaaaaaa"), APMIG_STAMPING_DONE);
    while (answer(story, APMIG_JOB_NONE))
        ;

    release(story, "aaaaaaaa");
    pass(story, G_USEC_PER_SEC);
    finish(story, expect_stamp(story, G1, NULL), APMIG_STAMPING_DONE);
    expect_none(story, APMIG_ACTION_STAMP_GUEST);
}

/* One that is never held is never told of. */
static void
test_lock_that_is_not_held(Story *story, gconstpointer data)
{
    request(story, "aaaaaaaa", "04.0012", FALSE);
    while (answer(story, APMIG_JOB_OUTGOING))
        expect_none(story, APMIG_ACTION_STAMP_GUEST);
    start(story, G2);
    expect_none(story, APMIG_ACTION_STAMP_GUEST); /* it waits for the lock */
    release(story, "aaaaaaaa");
    pass(story, G_USEC_PER_SEC);
    expect_stamp(story, G2, NULL);
    expect_none(story, APMIG_ACTION_STAMP_GUEST);
}

/* But not for ever. */
static void
test_held_back(Story *story, gconstpointer data)
{
    request(story, "aaaaaaaa", "04.0012", TRUE);
    start(story, G2);
    pass(story, 28 * G_USEC_PER_SEC);
    expect_none(story, APMIG_ACTION_STAMP_GUEST);
    pass(story, 2 * G_USEC_PER_SEC);
    expect_stamp(story, G2, NULL);
}

static void
test_other_lock_takes_its_place(Story *story, gconstpointer data)
{
    hold(story, "aaaaaaaa", "04.0012");
    pass(story, G_USEC_PER_SEC);
    finish(story, expect_stamp(story, G1, "aaaaaaaa"), APMIG_STAMPING_DONE);
    hold(story, "bbbbbbbb", "04.0013");
    pass(story, G_USEC_PER_SEC);
    expect_none(story, APMIG_ACTION_STAMP_GUEST);
    start(story, G1);
    expect_stamp(story, G1, "aaaaaaaa");
}

/* Locks that were held before a restart are told of; so is that one is gone, to guests that no lock covers. */
static void
test_after_a_connection(Story *story, gconstpointer data)
{
    tell(story, (ApmigEvent){.type = APMIG_EVENT_VIEW_LOST, .view_lost = {"it went away"}});
    tell(story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    while (answer(story, APMIG_JOB_NONE)) /* what they have */
        ;
    pass(story, 5 * G_USEC_PER_SEC);
    expect_none(story, APMIG_ACTION_STAMP_GUEST);
    pass(story, 8 * G_USEC_PER_SEC);
    expect_none(story, APMIG_ACTION_LIST_GUESTS);
    for (guint i = 0; i < 2; i++) {
        g_autoptr(ApmigAction) action = next(story, APMIG_ACTION_STAMP_GUEST);

        g_assert_nonnull(action);
        finish(story, action->op, APMIG_STAMPING_DONE);
    }
    pass(story, 60 * G_USEC_PER_SEC);
    expect_none(story, APMIG_ACTION_STAMP_GUEST);
    expect_none(story, APMIG_ACTION_LIST_GUESTS);
    expect_none(story, APMIG_ACTION_QUERY_GUEST);
}

/* Nothing is written to a guest that has left since it was listed. */
static void
test_gone_after_a_connection(Story *story, gconstpointer data)
{
    g_autoptr(ApmigAction) action = NULL;

    tell(story, (ApmigEvent){.type = APMIG_EVENT_VIEW_LOST, .view_lost = {"it went away"}});
    tell(story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    while (answer(story, APMIG_JOB_NONE))
        ;
    tell(story,
         (ApmigEvent){.type = APMIG_EVENT_GUEST_NEWS, .news = {G1, "g1", APMIG_NEWS_STOPPED_MIGRATED}});
    pass(story, 13 * G_USEC_PER_SEC);
    action = next(story, APMIG_ACTION_STAMP_GUEST);
    g_assert_nonnull(action);
    g_assert_cmpstr(action->stamp.uuid, ==, G2);
    expect_none(story, APMIG_ACTION_STAMP_GUEST);
}

static void
test_list_that_fails(Story *story, gconstpointer data)
{
    tell(story, (ApmigEvent){.type = APMIG_EVENT_VIEW_LOST, .view_lost = {"it went away"}});
    tell(story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    for (guint i = 0; i < 3; i++) {
        g_autoptr(ApmigAction) list = NULL;

        pass(story, 11 * G_USEC_PER_SEC);
        list = next(story, APMIG_ACTION_LIST_GUESTS);
        g_assert_nonnull(list);
        expect_none(story, APMIG_ACTION_LIST_GUESTS);
        tell(story, (ApmigEvent){.type = APMIG_EVENT_GUESTS_LISTED,
                                 .listed = {list->query.token, "it hangs", NULL, 0}});
    }
    pass(story, 5 * G_USEC_PER_SEC);
    g_assert_true(answer(story, APMIG_JOB_NONE));
    pass(story, 2 * G_USEC_PER_SEC);
    apmig_action_free(next(story, APMIG_ACTION_STAMP_GUEST));
    apmig_action_free(next(story, APMIG_ACTION_STAMP_GUEST));
    expect_none(story, APMIG_ACTION_STAMP_GUEST);
    expect_none(story, APMIG_ACTION_LIST_GUESTS);
}

/* --- results -------------------------------------------------------------------------------------- */

static void
test_busy(Story *story, gconstpointer data)
{
    start(story, G1);
    for (guint i = 0; i < 20; i++) { /* the job takes its time */
        finish(story, expect_stamp(story, G1, NULL), APMIG_STAMPING_BUSY);
        expect_none(story, APMIG_ACTION_STAMP_GUEST);
        pass(story, 6 * G_USEC_PER_SEC);
        answer(story, APMIG_JOB_NONE);
    }
    tell(story,
         (ApmigEvent){.type = APMIG_EVENT_GUEST_NEWS, .news = {G1, NULL, APMIG_NEWS_STOPPED_MIGRATED}});
    finish(story, expect_stamp(story, G1, NULL), APMIG_STAMPING_BUSY);
    pass(story, 60 * G_USEC_PER_SEC);
    {
        g_autoptr(ApmigAction) action = next(story, APMIG_ACTION_STAMP_GUEST);

        g_assert_true(!action || !g_str_equal(action->stamp.uuid, G1)); /* it is gone */
    }
}

/* A loop leaves a moment between its tries, and the next may last for ever. */
static void
test_busy_with_a_loop(Story *story, gconstpointer data)
{
    guint64 op;

    hold(story, "aaaaaaaa", "04.0012");
    pass(story, G_USEC_PER_SEC);
    op = expect_stamp(story, G1, "aaaaaaaa");
    tell(story, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {G1, NULL}});
    while (answer(story, APMIG_JOB_OUTGOING))
        ;
    finish(story, op, APMIG_STAMPING_BUSY);
    pass(story, G_USEC_PER_SEC / 10);
    expect_none(story, APMIG_ACTION_STAMP_GUEST);
    g_assert_true(answer(story, APMIG_JOB_NONE));
    expect_stamp(story, G1, "aaaaaaaa");
}

static void
test_failure(Story *story, gconstpointer data)
{
    start(story, G1);
    finish(story, expect_stamp(story, G1, NULL), APMIG_STAMPING_FAILED);
    pass(story, 9 * G_USEC_PER_SEC / 2);
    expect_none(story, APMIG_ACTION_STAMP_GUEST);
    set_form(story, APMIG_STAMP_DIGEST);
    pass(story, 6 * G_USEC_PER_SEC);
    {
        g_autoptr(ApmigAction) action = next(story, APMIG_ACTION_STAMP_GUEST);

        g_assert_nonnull(action);
        g_assert_cmpint(action->stamp.form, ==, APMIG_STAMP_DIGEST);
        finish(story, action->op, APMIG_STAMPING_FAILED);
    }
    for (;;) {
        g_autoptr(ApmigAction) entry = next(story, APMIG_ACTION_LOG);

        g_assert_nonnull(entry);
        if (entry->entry.log != APMIG_LOG_STAMP_FAILED)
            continue;
        g_assert_nonnull(strstr(entry->entry.message, "it hangs"));
        g_assert_cmpstr(entry->entry.uuid, ==, G1);
        g_assert_cmpint(entry->entry.priority, ==, LOG_WARNING);
        break;
    }
}

/* What is written was decided before: the change goes into the next one. */
static void
test_change_meanwhile(Story *story, gconstpointer data)
{
    guint64 op;

    hold(story, "aaaaaaaa", "04.0012");
    pass(story, G_USEC_PER_SEC);
    op = expect_stamp(story, G1, "aaaaaaaa");
    release(story, "aaaaaaaa");
    pass(story, G_USEC_PER_SEC);
    expect_none(story, APMIG_ACTION_STAMP_GUEST); /* one at a time */
    finish(story, op, APMIG_STAMPING_DONE);
    pass(story, G_USEC_PER_SEC);
    expect_stamp(story, G1, NULL);
}

/* The same, and the lock gets another owner: what the stamp tells of it is not true any more. */
static void
test_lock_amended_over_a_guest_that_was_not_listed(Story *story, gconstpointer data)
{
    hold(story, "aaaaaaaa", "06.*");
    start(story, G3);
    finish(story, expect_stamp(story, G3, NULL), APMIG_STAMPING_DONE);
    tell(
        story,
        (ApmigEvent){
            .type = APMIG_EVENT_AMEND,
            .caller = 2,
            .amend = {.id = "aaaaaaaa", .what = APMIG_AMEND_OWNER, .uid = 1, .user = "anna", .text = "AES"}});
    written(story, APMIG_ACTION_PERSIST_LOCK, NULL);
    pass(story, G_USEC_PER_SEC);
    finish(story, expect_stamp(story, G3, NULL), APMIG_STAMPING_DONE);
}

static void
test_view_lost(Story *story, gconstpointer data)
{
    tell(story, (ApmigEvent){.type = APMIG_EVENT_GUEST_NEWS, .news = {G1, NULL, APMIG_NEWS_CHANGED}});
    tell(story, (ApmigEvent){.type = APMIG_EVENT_VIEW_LOST, .view_lost = {"it went away"}});
    pass(story, 60 * G_USEC_PER_SEC);
    expect_none(story, APMIG_ACTION_STAMP_GUEST);
}

/* --- arrival, and policy -------------------------------------------------------------------------- */

static void
arrive(Story *story)
{
    static const ApmigGuestName guests[] = {{G1, "g1"}};
    g_autoptr(ApmigScope) scope = apmig_scope_parse("04.0012", NULL);
    const ApmigJob jobs[] = {APMIG_JOB_INCOMING, APMIG_JOB_NONE};

    tell(story, (ApmigEvent){.type = APMIG_EVENT_ADMIT,
                             .caller = 5,
                             .admit = {.uuid = G1, .name = "g1", .facts = {APMIG_AFFECTED_YES, scope}}});
    {
        g_autoptr(ApmigAction) admission = next(story, APMIG_ACTION_PERSIST_ADMISSION);

        tell(story,
             (ApmigEvent){.type = APMIG_EVENT_ADMISSION_PERSISTED, .persisted = {admission->op, NULL}});
    }
    tell(story, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {G1}});
    for (guint i = 0; i < G_N_ELEMENTS(jobs); i++) {
        g_autoptr(ApmigAction) query = NULL;

        for (;;) {
            g_autoptr(ApmigAction) list = next(story, APMIG_ACTION_LIST_GUESTS);

            if (!list)
                break;
            tell(story, (ApmigEvent){.type = APMIG_EVENT_GUESTS_LISTED,
                                     .listed = {list->query.token, NULL, guests, 1}});
        }
        expect_none(story, APMIG_ACTION_STAMP_GUEST);
        query = next(story, APMIG_ACTION_QUERY_GUEST);
        g_assert_nonnull(query);
        tell(story, (ApmigEvent){.type = APMIG_EVENT_GUEST_ANSWERED,
                                 .answered = {.token = query->query.token, .uuid = G1, .job = jobs[i]}});
        tell(story, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {G1}});
    }
    pass(story, G_USEC_PER_SEC);
}

static void
test_arrival(Story *story, gconstpointer data)
{
    arrive(story);
    expect_stamp(story, G1, NULL);
}

/* Of the source's nothing is left, even where none is written. */
static void
test_arrival_without_stamps(Story *story, gconstpointer data)
{
    g_autoptr(ApmigAction) action = NULL;

    set_form(story, APMIG_STAMP_OFF);
    arrive(story);
    action = next(story, APMIG_ACTION_STAMP_GUEST);
    g_assert_nonnull(action);
    g_assert_cmpint(action->stamp.form, ==, APMIG_STAMP_OFF);
}

static void
test_off(Story *story, gconstpointer data)
{
    set_form(story, APMIG_STAMP_OFF);
    tell(story, (ApmigEvent){.type = APMIG_EVENT_VIEW_LOST, .view_lost = {"it went away"}});
    tell(story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    while (answer(story, APMIG_JOB_NONE))
        ;
    pass(story, 60 * G_USEC_PER_SEC);
    expect_none(story, APMIG_ACTION_LIST_GUESTS);
    start(story, G1);
    hold(story, "aaaaaaaa", "04.0012");
    pass(story, G_USEC_PER_SEC);
    release(story, "aaaaaaaa");
    pass(story, 60 * G_USEC_PER_SEC);
    expect_none(story, APMIG_ACTION_STAMP_GUEST);
}

/* libvirt had the guest busy, for as long as that took: what was asked for in an earlier life comes last. */
static void
test_write_of_an_earlier_life(Story *story, gconstpointer data)
{
    guint64 early, late;

    start(story, G1);
    early = expect_stamp(story, G1, NULL);
    tell(story, (ApmigEvent){.type = APMIG_EVENT_GUEST_NEWS, .news = {G1, "g1", APMIG_NEWS_STOPPED}});
    start(story, G1);
    late = expect_stamp(story, G1, NULL);
    finish(story, late, APMIG_STAMPING_DONE);
    pass(story, G_USEC_PER_SEC);
    expect_none(story, APMIG_ACTION_STAMP_GUEST);
    finish(story, early, APMIG_STAMPING_DONE);
    pass(story, G_USEC_PER_SEC);
    late = expect_stamp(story, G1, NULL);
    tell(story, (ApmigEvent){.type = APMIG_EVENT_GUEST_NEWS, .news = {G1, "g1", APMIG_NEWS_STOPPED}});
    finish(story, late, APMIG_STAMPING_DONE);
    pass(story, 40 * G_USEC_PER_SEC);
    expect_none(story, APMIG_ACTION_STAMP_GUEST); /* it is not there */
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, func) g_test_add("/engine-stamps/" path, Story, NULL, set_up, func, tear_down)
    ADD("start", test_start);
    ADD("write-of-an-earlier-life", test_write_of_an_earlier_life);
    ADD("lock", test_lock);
    ADD("lock-over-a-guest-that-was-not-listed", test_lock_over_a_guest_that_was_not_listed);
    ADD("lock-amended-over-a-guest-that-was-not-listed", test_lock_amended_over_a_guest_that_was_not_listed);
    ADD("lock-that-is-not-held", test_lock_that_is_not_held);
    ADD("held-back", test_held_back);
    ADD("other-lock", test_other_lock_takes_its_place);
    ADD("after-a-connection", test_after_a_connection);
    ADD("gone-after-a-connection", test_gone_after_a_connection);
    ADD("list-that-fails", test_list_that_fails);
    ADD("busy", test_busy);
    ADD("busy-with-a-loop", test_busy_with_a_loop);
    ADD("failure", test_failure);
    ADD("change-meanwhile", test_change_meanwhile);
    ADD("view-lost", test_view_lost);
    ADD("arrival", test_arrival);
    ADD("arrival-without-stamps", test_arrival_without_stamps);
    ADD("off", test_off);
#undef ADD
    return g_test_run();
}
