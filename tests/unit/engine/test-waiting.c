/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A disk that hangs: who waits for it is answered in time, with what is not known, and all settles when it has answered. */
#include "engine/stories.h"

#define LOCK    "aaaaaaaa"
#define PERMIT  "eeeeeeee"
#define SECOND  ((gint64)G_USEC_PER_SEC)
#define UNKNOWN "is not known"

/* @timeout_usec: 0: none */
static void
ask(Story *story, gint64 timeout_usec, gboolean no_wait)
{
    begin(story);
    open_view(story);
    take_lock(story, LOCK, "*.0012",
              (ApmigEvent){.caller = 1, .take = {.timeout_usec = timeout_usec, .no_wait = no_wait}});
}

/* It is listed and the gate is shut until its removal is answered; then it is gone, and the next one is taken. */
static void
expect_taken_back(Story *story)
{
    expect_state(story, LOCK, "verifying");
    admit(story, 2, G1, "04.0012", FALSE);
    expect_admit(story, FALSE, LOCK);
    written(story, APMIG_ACTION_PERSIST_LOCK, NULL);
    expect_state(story, LOCK, "verifying");
    expect_none(story, APMIG_ACTION_REPLY_TAKEN);
    written(story, APMIG_ACTION_REMOVE_LOCK, NULL);
    expect_state(story, LOCK, "ended");
    expect_log(story, APMIG_LOG_LOCK_ENDED, LOCK);
    expect_none(story, APMIG_ACTION_REPLY_ERROR);
    take(story, 3, "bbbbbbbb", "*.0012", APMIG_ON_BUSY_UNSET, TRUE);
    written(story, APMIG_ACTION_PERSIST_LOCK, NULL);
    apmig_action_free(expect(story, APMIG_ACTION_REPLY_TAKEN));
}

static void
test_creation(void)
{
    Story story;

    ask(&story, 2 * SECOND, FALSE);
    pass(&story, 2 * SECOND - 1);
    expect_none(&story, APMIG_ACTION_REPLY_ERROR);
    g_assert_cmpint(apmig_engine_next_deadline(story.engine), ==, story.now + 1);
    pass(&story, 1);
    expect_error(&story, 1, APMIG_ERROR_STATE_FAILURE, "whether lock " LOCK " is on the disk " UNKNOWN);
    expect_log(&story, APMIG_LOG_STATE_FAILURE, UNKNOWN);
    expect_taken_back(&story);
    end(&story);
}

static void
test_creation_without_a_deadline(void)
{
    Story story;

    ask(&story, 0, TRUE);
    pass(&story, APMIG_DISK_LIMIT_USEC - 1);
    expect_none(&story, APMIG_ACTION_REPLY_ERROR);
    g_assert_cmpint(apmig_engine_next_deadline(story.engine), ==, story.now + 1);
    pass(&story, 1);
    expect_error(&story, 1, APMIG_ERROR_STATE_FAILURE, UNKNOWN);
    expect_taken_back(&story);
    end(&story);
}

/* With a disk that is well a deadline is told as what it is; that the lock is gone takes a moment. */
static void
test_taking_back(void)
{
    Story story;

    ask(&story, 2 * SECOND, FALSE);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    pass(&story, 2 * SECOND);
    expect_none(&story, APMIG_ACTION_REPLY_ERROR);
    pass(&story, SECOND / 2);
    written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
    expect_error(&story, 1, APMIG_ERROR_HYPERVISOR_UNAVAILABLE, "not held in time");
    end(&story);

    ask(&story, 2 * SECOND, FALSE);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    pass(&story, 2 * SECOND);
    pass(&story, SECOND);
    expect_error(&story, 1, APMIG_ERROR_STATE_FAILURE, "whether it is gone from the disk " UNKNOWN);
    expect_state(&story, LOCK, "verifying");
    written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
    expect_state(&story, LOCK, "ended");
    end(&story);
}

/* Nobody was told that it is held. */
static void
test_held_at(void)
{
    Story story;

    ask(&story, 2 * SECOND, FALSE);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    listed(&story, 0);
    pass(&story, 50000);
    listed(&story, 0);
    expect_state(&story, LOCK, "draining");
    pass(&story, 2 * SECOND);
    expect_error(&story, 1, APMIG_ERROR_STATE_FAILURE, UNKNOWN);
    expect_taken_back(&story);
    end(&story);
}

/* Whoever joins while the disk owes an answer for so long is told so at once. */
static void
test_release(void)
{
    Story story;

    begin(&story);
    hold(&story, "*.0012");
    release(&story, 4, LOCK, TRUE);
    pass(&story, APMIG_DISK_LIMIT_USEC - 1);
    expect_none(&story, APMIG_ACTION_REPLY_ERROR);
    pass(&story, 1);
    expect_error(&story, 4, APMIG_ERROR_STATE_FAILURE,
                 "whether lock " LOCK " is removed from the disk " UNKNOWN);
    expect_state(&story, LOCK, "verifying");
    admit(&story, 2, G1, "04.0012", FALSE);
    expect_admit(&story, FALSE, LOCK);
    release(&story, 5, LOCK, FALSE);
    expect_error(&story, 5, APMIG_ERROR_STATE_FAILURE, UNKNOWN);
    written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
    expect_none(&story, APMIG_ACTION_REPLY_RELEASED);
    expect_log(&story, APMIG_LOG_LOCK_ENDED, "released");
    end(&story);
}

/* One that fails late is kept as any. */
static void
test_release_that_fails(void)
{
    Story story;

    begin(&story);
    hold(&story, "*.0012");
    release(&story, 4, LOCK, TRUE);
    pass(&story, APMIG_DISK_LIMIT_USEC);
    expect_error(&story, 4, APMIG_ERROR_STATE_FAILURE, UNKNOWN);
    expect_log(&story, APMIG_LOG_STATE_FAILURE, UNKNOWN);
    written(&story, APMIG_ACTION_REMOVE_LOCK, "Input/output error");
    expect_none(&story, APMIG_ACTION_REPLY_ERROR);
    g_assert_cmpstr(find_lock(&story, LOCK)->result, ==, NULL);
    expect_log(&story, APMIG_LOG_STATE_FAILURE, "could not be removed");
    end(&story);
}

static void
amend(Story *story, ApmigCaller caller, const char *text)
{
    tell(story,
         (ApmigEvent){.type = APMIG_EVENT_AMEND,
                      .caller = caller,
                      .amend = {.id = LOCK, .what = APMIG_AMEND_REASON, .owner_uid = 1000, .text = text}});
}

/* Of what was not begun it is known that it is not. */
static void
test_changes(void)
{
    Story story;

    begin(&story);
    hold(&story, "*.0012");
    amend(&story, 4, "first");
    amend(&story, 5, "second");
    pass(&story, SECOND);
    amend(&story, 6, "third");
    pass(&story, APMIG_DISK_LIMIT_USEC - SECOND);
    expect_error(&story, 4, APMIG_ERROR_STATE_FAILURE, UNKNOWN);
    expect_error(&story, 5, APMIG_ERROR_STATE_FAILURE, "was not changed");
    expect_none(&story, APMIG_ACTION_REPLY_ERROR);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    expect_none(&story, APMIG_ACTION_REPLY_AMENDED);
    expect_log(&story, APMIG_LOG_LOCK_AMENDED, "AES rotation; first");
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    apmig_action_free(expect(&story, APMIG_ACTION_REPLY_AMENDED));
    g_assert_cmpstr(find_lock(&story, LOCK)->record->reason, ==, "AES rotation; first; third");
    end(&story);
}

static void
test_adoption(void)
{
    Story story;

    begin(&story);
    open_view(&story);
    take_lock(&story, LOCK, "*.0012",
              (ApmigEvent){.take = {.origin = APMIG_LOCK_BY_ITSELF, .no_wait = TRUE}});
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    listed(&story, 0);
    pass(&story, 50000);
    listed(&story, 0);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    expect_state(&story, LOCK, "held");
    take_lock(&story, "bbbbbbbb", "*.0012", (ApmigEvent){.caller = 4, .take = {.timeout_usec = 2 * SECOND}});
    while (answer_list(&story, NULL, 0))
        ; /* the reading for him */
    pass(&story, 2 * SECOND);
    expect_error(&story, 4, APMIG_ERROR_STATE_FAILURE, "whether lock " LOCK " has become yours " UNKNOWN);
    expect_state(&story, LOCK, "held");
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    expect_none(&story, APMIG_ACTION_REPLY_TAKEN);
    expect_log(&story, APMIG_LOG_LOCK_ADOPTED, LOCK);
    end(&story);
}

static void
permit(Story *story, ApmigCaller caller)
{
    tell(story, (ApmigEvent){.type = APMIG_EVENT_PERMIT,
                             .caller = caller,
                             .permit = {.id = PERMIT,
                                        .uuid = G1,
                                        .name = "g1",
                                        .reason = "host dies",
                                        .uid = 1000,
                                        .user = "dora",
                                        .duration_usec = 900 * SECOND}});
}

static void
ask_back(Story *story, ApmigCaller caller)
{
    tell(story, (ApmigEvent){.type = APMIG_EVENT_REVOKE, .caller = caller, .revoke = {"g1"}});
}

/* What opens the gate and was told of as not known does not count. */
static void
test_permit(void)
{
    Story story;

    begin(&story);
    open_view(&story);
    permit(&story, 4);
    pass(&story, APMIG_DISK_LIMIT_USEC);
    expect_error(&story, 4, APMIG_ERROR_STATE_FAILURE,
                 "whether the permit for guest 'g1' is written " UNKNOWN);
    written(&story, APMIG_ACTION_PERSIST_PERMIT, NULL);
    apmig_action_free(expect(&story, APMIG_ACTION_REMOVE_PERMIT));
    expect_none(&story, APMIG_ACTION_REPLY_PERMIT);
    g_assert_null(apmig_engine_find_permit(story.engine, "g1"));

    permit(&story, 5);
    written(&story, APMIG_ACTION_PERSIST_PERMIT, NULL);
    apmig_action_free(expect(&story, APMIG_ACTION_REPLY_PERMIT));
    ask_back(&story, 6);
    pass(&story, APMIG_DISK_LIMIT_USEC);
    expect_error(&story, 6, APMIG_ERROR_STATE_FAILURE, "whether its file is removed " UNKNOWN);
    written(&story, APMIG_ACTION_REMOVE_PERMIT, NULL);
    expect_none(&story, APMIG_ACTION_REPLY_PERMIT);
    expect_log(&story, APMIG_LOG_PERMIT_ENDED, "revoked");
    end(&story);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/engine/waiting/creation", test_creation);
    g_test_add_func("/engine/waiting/creation-without-a-deadline", test_creation_without_a_deadline);
    g_test_add_func("/engine/waiting/taking-back", test_taking_back);
    g_test_add_func("/engine/waiting/held-at", test_held_at);
    g_test_add_func("/engine/waiting/release", test_release);
    g_test_add_func("/engine/waiting/release-that-fails", test_release_that_fails);
    g_test_add_func("/engine/waiting/changes", test_changes);
    g_test_add_func("/engine/waiting/adoption", test_adoption);
    g_test_add_func("/engine/waiting/permit", test_permit);
    return g_test_run();
}
