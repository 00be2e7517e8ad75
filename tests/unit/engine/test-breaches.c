/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What migrates under a lock that is held: what is a breach, what an attempt, and who is named as departed. */
#include "ap/fixture.h"
#include "engine/stories.h"

#define SECOND ((gint64)G_USEC_PER_SEC)

static const ApmigLockRecord *
the_record(Story *story)
{
    return find_lock(story, "aaaaaaaa")->record;
}

static void
expect_counts(Story *story, guint breaches, guint attempts)
{
    g_assert_cmpuint(the_record(story)->breaches, ==, breaches);
    g_assert_cmpuint(the_record(story)->attempts, ==, attempts);
}

/* Returns: how many such entries there are; they are taken away. */
static guint
count_logs(Story *story, ApmigLog log)
{
    guint n = 0;

    for (guint i = story->actions->len; i > 0; i--) {
        const ApmigAction *action = story->actions->pdata[i - 1];

        if (action->type != APMIG_ACTION_LOG || action->entry.log != log)
            continue;
        g_assert_cmpstr(action->entry.uuid, ==, G1);
        g_ptr_array_remove_index(story->actions, i - 1);
        n++;
    }
    return n;
}

static void
set_up(Story *story, gconstpointer data)
{
    begin(story);
    hold(story, "04.*");
}

static void
tear_down(Story *story, gconstpointer data)
{
    end(story);
}

/* An outgoing migration is seen, and ended by a step before its memory leaves. */
static void
try_to_leave(Story *story)
{
    g_autoptr(ApmigAction) step = NULL;

    tell(story, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {G1, NULL}});
    answered(story, APMIG_JOB_OUTGOING, NULL);
    expect_state(story, "aaaaaaaa", "breached"); /* while it lasts */
    step = expect(story, APMIG_ACTION_RUN_STEP);
    tell(story,
         (ApmigEvent){.type = APMIG_EVENT_STEP_FINISHED, .step = {step->op, APMIG_STEP_REQUESTED, ""}});
    answer_all(story, APMIG_JOB_NONE);
    expect_state(story, "aaaaaaaa", "held");
}

/* --- libvirt's events ------------------------------------------------------------------------------ */

/* No question ever showed it. */
static void
test_has_left(Story *story, gconstpointer data)
{
    news(story, APMIG_NEWS_STOPPED_MIGRATED);
    expect_counts(story, 1, 0);
    expect_log(story, APMIG_LOG_LOCK_BREACHED, "g1");
    live(story, 10 * SECOND, APMIG_JOB_GONE);
    expect_counts(story, 1, 0);
    g_assert_cmpuint(count_logs(story, APMIG_LOG_LOCK_BREACHED), ==, 0); /* it was said */
    g_assert_cmpuint(count_logs(story, APMIG_LOG_GUEST_DEPARTED), ==, 0);
    g_assert_cmpstr(apmig_engine_lookup_migration(story->engine, "5708_1")->result, ==, "completed");
    expect_state(story, "aaaaaaaa", "held");
}

/* It may have begun before the request. */
static void
test_has_left_a_draining_lock(void)
{
    Story story;

    begin(&story);
    open_view(&story);
    take(&story, 2, "bbbbbbbb", "05.*", APMIG_ON_BUSY_UNSET, TRUE); /* so that g1 is known */
    answer_all(&story, APMIG_JOB_NONE);
    take(&story, 1, "aaaaaaaa", "04.*", APMIG_ON_BUSY_UNSET, FALSE);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    news(&story, APMIG_NEWS_STOPPED_MIGRATED);
    live(&story, SECOND, APMIG_JOB_GONE);
    expect_counts(&story, 0, 0);
    expect_state(&story, "aaaaaaaa", "held");
    end(&story);
}

static void
test_memory_goes_into_a_file(Story *story, gconstpointer data)
{
    news(story, APMIG_NEWS_SENDING);
    expect_state(story, "aaaaaaaa", "unproven");
    assert_says(find_lock(story, "aaaaaaaa")->unproven, "memory of guest 'g1' is sent");
    answered(story, APMIG_JOB_OTHER, NULL);
    answer_all(story, APMIG_JOB_OTHER);
    expect_state(story, "aaaaaaaa", "held");
    expect_counts(story, 0, 0);
    g_assert_cmpuint(count_logs(story, APMIG_LOG_LOCK_BREACHED), ==, 0);
}

/* It was over before anybody could ask. */
static void
test_memory_went_into_a_file(Story *story, gconstpointer data)
{
    news(story, APMIG_NEWS_SENDING);
    news(story, APMIG_NEWS_JOB_SAVED);
    answer_all(story, APMIG_JOB_NONE);
    expect_state(story, "aaaaaaaa", "held");
    expect_counts(story, 0, 0);
}

/* That a job was a save is known of the time before the next sign of another. */
static void
test_memory_leaves_after_a_save(Story *story, gconstpointer data)
{
    tell(story, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {G1, NULL}});
    answer_all(story, APMIG_JOB_OTHER);
    news(story, APMIG_NEWS_SENDING);
    expect_state(story, "aaaaaaaa", "held");
    answer_all(story, APMIG_JOB_OTHER);
    tell(story,
         (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {G1, NULL}}); /* it is over, and the next has begun */
    news(story, APMIG_NEWS_SENDING);
    expect_state(story, "aaaaaaaa", "unproven");
    answer_all(story, APMIG_JOB_NONE);
    expect_counts(story, 1, 0);
    expect_state(story, "aaaaaaaa", "held");

    tell(story, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {G1, NULL}});
    answer_all(story, APMIG_JOB_OTHER);
    news(story, APMIG_NEWS_SENDING); /* nothing tells that the save is over, but the answer */
    answer_all(story, APMIG_JOB_NONE);
    expect_counts(story, 2, 0);
}

static void
test_memory_leaves(Story *story, gconstpointer data)
{
    news(story, APMIG_NEWS_SENDING);
    answered(story, APMIG_JOB_OUTGOING, NULL);
    expect_state(story, "aaaaaaaa", "breached");
    expect_counts(story, 1, 0);
    answer_all(story, APMIG_JOB_NONE);
    expect_state(story, "aaaaaaaa", "held");
    expect_counts(story, 1, 0);
    g_assert_cmpuint(count_logs(story, APMIG_LOG_LOCK_BREACHED), ==, 1);
    expect_log(story, APMIG_LOG_BREACH_OVER, "no migration is in progress");
}

/* It left before the lock was asked for, however late libvirt answers. */
static void
test_memory_left_before_the_request(void)
{
    Story story;

    begin(&story);
    open_view(&story);
    news(&story, APMIG_NEWS_STARTED);
    listed(&story, 1);
    answered(&story, APMIG_JOB_NONE, "04.0012");
    news(&story, APMIG_NEWS_SENDING);
    take(&story, 1, "aaaaaaaa", "*.0012", APMIG_ON_BUSY_UNSET, FALSE);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    live(&story, 2 * G_USEC_PER_SEC, APMIG_JOB_NONE);
    expect_counts(&story, 0, 0);
    expect_state(&story, "aaaaaaaa", "held");
    end(&story);
}

static void
test_memory_left_and_it_stopped(Story *story, gconstpointer data)
{
    news(story, APMIG_NEWS_SENDING);
    news(story, APMIG_NEWS_STOPPED);
    expect_counts(story, 1, 0);
    expect_log(story, APMIG_LOG_LOCK_BREACHED, "g1");
}

/* Whatever queues its device is given afterwards, with which it may already leave again when it answers at last. */
static void
test_memory_left_and_it_has_other_queues(Story *story, gconstpointer data)
{
    news(story, APMIG_NEWS_SENDING);
    answered(story, APMIG_JOB_OUTGOING, "05.0012");
    expect_counts(story, 1, 0);
    expect_log(story, APMIG_LOG_LOCK_BREACHED, "g1");
    answer_all(story, APMIG_JOB_NONE);
    expect_state(story, "aaaaaaaa", "held");
    expect_counts(story, 1, 0);

    news(story, APMIG_NEWS_SENDING);
    news(story, APMIG_NEWS_CHANGED);
    answered(story, APMIG_JOB_NONE, "05.0012");
    expect_counts(story, 2, 0);
}

static void
test_it_is_saved(Story *story, gconstpointer data)
{
    news(story, APMIG_NEWS_SENDING);
    news(story, APMIG_NEWS_STOPPED_SAVED);
    answer_all(story, APMIG_JOB_GONE);
    expect_counts(story, 0, 0);
    expect_state(story, "aaaaaaaa", "held");
}

/* Where to is not known: that is a breach. */
static void
test_memory_left(Story *story, gconstpointer data)
{
    news(story, APMIG_NEWS_SENDING);
    answer_all(story, APMIG_JOB_NONE);
    expect_counts(story, 1, 0);
    expect_log(story, APMIG_LOG_LOCK_BREACHED, "g1");
    expect_state(story, "aaaaaaaa", "held");
}

/* It was resumed here, and ends in some other way before an answer tells that it has stayed. */
static void
test_stopped_after_it_was_resumed(Story *story, gconstpointer data)
{
    tell(story, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {G1, NULL}});
    answered(story, APMIG_JOB_OUTGOING, NULL);
    news(story, APMIG_NEWS_SUSPENDED);
    news(story, APMIG_NEWS_RESUMED);
    news(story, APMIG_NEWS_STOPPED_LOST);
    live(story, SECOND, APMIG_JOB_GONE);
    g_assert_cmpstr(apmig_engine_lookup_migration(story->engine, "5708_1")->result, ==, "failed");
}

static void
test_stopped_after_its_switchover(Story *story, gconstpointer data)
{
    const ApmigMigration *migration;

    tell(story, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {G1, NULL}});
    answered(story, APMIG_JOB_OUTGOING, NULL);
    expect_counts(story, 0, 0);
    news(story, APMIG_NEWS_SUSPENDED);
    news(story, APMIG_NEWS_STOPPED_LOST);
    live(story, SECOND, APMIG_JOB_GONE);
    migration = apmig_engine_lookup_migration(story->engine, "5708_1");
    g_assert_cmpstr(migration->result, ==, "unknown");
    assert_says(migration->message, "look on both hosts");
    expect_counts(story, 1, 0);
}

/* What it had is being read. */
static void
test_has_left_unread(Story *story, gconstpointer data)
{
    news(story, APMIG_NEWS_CHANGED);
    news(story, APMIG_NEWS_STOPPED_MIGRATED);
    expect_log(story, APMIG_LOG_GUEST_DEPARTED, "what it had was not known");
    g_assert_cmpuint(the_record(story)->departed->len, ==, 1);
}

/* --- events that are missing ----------------------------------------------------------------------- */

static void
expect_late(Story *story, gboolean late)
{
    if (late)
        g_assert_cmpstr(apmig_engine_view_state(story->engine), ==, "events late");
    else
        g_assert_cmpstr(apmig_engine_view_state(story->engine), !=, "events late");
}

static void
test_end_without_an_event(Story *story, gconstpointer data)
{
    expect_late(story, FALSE);
    pass(story, SECOND);
    live(story, 10 * SECOND, APMIG_JOB_GONE);
    expect_late(story, TRUE);
}

static void
test_memory_without_an_event(Story *story, gconstpointer data)
{
    tell(story, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {G1, NULL}});
    g_assert_true(answer_query(
        story, NULL,
        (ApmigEvent){.answered = {.job = APMIG_JOB_OUTGOING, .progress = {.data_processed = 1}}}));
    live(story, SECOND, APMIG_JOB_OUTGOING);
    expect_late(story, FALSE);
    live(story, 2 * SECOND, APMIG_JOB_OUTGOING);
    expect_late(story, TRUE);
}

/* The answer to a step is no sign of libvirt's. */
static void
test_migration_without_a_hint(Story *story, gconstpointer data)
{
    g_autoptr(ApmigAction) step = NULL;

    pass(story, 5 * SECOND);
    answered(story, APMIG_JOB_OUTGOING, NULL);
    step = expect(story, APMIG_ACTION_RUN_STEP);
    tell(story,
         (ApmigEvent){.type = APMIG_EVENT_STEP_FINISHED, .step = {step->op, APMIG_STEP_REQUESTED, ""}});
    pass(story, SECOND - 1);
    expect_late(story, FALSE);
    live(story, SECOND, APMIG_JOB_OUTGOING);
    expect_late(story, TRUE);

    /* That nothing was sent is known by libvirt's events, and they are missing. */
    live(story, SECOND, APMIG_JOB_NONE);
    expect_state(story, "aaaaaaaa", "held");
    expect_counts(story, 1, 0);
}

static void
test_migration_with_a_late_hint(Story *story, gconstpointer data)
{
    pass(story, 5 * SECOND);
    answered(story, APMIG_JOB_OUTGOING, NULL);
    pass(story, SECOND - 1);
    tell(story, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {G1, NULL}});
    live(story, 5 * SECOND, APMIG_JOB_OUTGOING);
    expect_late(story, FALSE);
}

/* A list has a guest of which no event told that it started. */
static void
test_start_without_an_event(Story *story, gconstpointer data)
{
    const ApmigGuestName guests[] = {{G1, "g1"}, {G2, "g2"}};

    pass(story, 5 * SECOND);
    g_assert_true(answer_list(story, guests, 2));
    pass(story, SECOND - 1);
    expect_late(story, FALSE);
    pass(story, 1);
    expect_late(story, TRUE);
}

static void
test_folder_is_not_watched(Story *story, gconstpointer data)
{
    tell(story, (ApmigEvent){.type = APMIG_EVENT_HINTS_CHANGED, .hints = {FALSE}});
    expect_late(story, TRUE);
    tell(story, (ApmigEvent){.type = APMIG_EVENT_HINTS_CHANGED, .hints = {TRUE}});
    expect_late(story, FALSE);
}

/* --- events that are overtaken ---------------------------------------------------------------------- */

/* A list without it comes before libvirt's event of how it went. */
static void
overtake(Story *story)
{
    tell(story, (ApmigEvent){.type = APMIG_EVENT_HINT});
    while (answer_list(story, NULL, 0))
        ;
}

static void
test_has_left_and_was_missing(Story *story, gconstpointer data)
{
    overtake(story);
    news(story, APMIG_NEWS_STOPPED_MIGRATED);
    expect_counts(story, 1, 0);
    expect_log(story, APMIG_LOG_LOCK_BREACHED, "g1");
    g_assert_cmpuint(count_logs(story, APMIG_LOG_GUEST_DEPARTED), ==, 0);
}

static void
test_stopped_after_its_switchover_and_was_missing(Story *story, gconstpointer data)
{
    news(story, APMIG_NEWS_SUSPENDED);
    overtake(story);
    news(story, APMIG_NEWS_STOPPED_LOST);
    expect_counts(story, 1, 0);
    expect_log(story, APMIG_LOG_LOCK_BREACHED, "g1");
}

/* Its memory was seen leaving: held waits for the event, or for the guest to be named. */
static void
test_not_held_while_it_is_missing(Story *story, gconstpointer data)
{
    news(story, APMIG_NEWS_SENDING);
    expect_state(story, "aaaaaaaa", "unproven");
    overtake(story);
    answer_all(story, APMIG_JOB_GONE);
    expect_state(story, "aaaaaaaa", "unproven");
    live(story, SECOND, APMIG_JOB_GONE);
    expect_state(story, "aaaaaaaa", "held");
    g_assert_cmpuint(count_logs(story, APMIG_LOG_GUEST_DEPARTED), ==, 1);
}

/* --- attempts -------------------------------------------------------------------------------------- */

static void
test_attempt(Story *story, gconstpointer data)
{
    try_to_leave(story);
    expect_counts(story, 0, 1);
    g_assert_cmpstr(apmig_engine_lookup_migration(story->engine, "5708_1")->result, ==, "aborted");
    expect_log(story, APMIG_LOG_LOCK_ATTEMPTED, "guest g1 has tried to leave, and no memory was sent");
}

static void
test_attempts_are_told_together(Story *story, gconstpointer data)
{
    for (guint i = 0; i < 5; i++) {
        try_to_leave(story);
        pass(story, SECOND);
        answer_all(story, APMIG_JOB_NONE);
    }
    expect_counts(story, 0, 5);
    g_assert_cmpuint(count_logs(story, APMIG_LOG_LOCK_ATTEMPTED), <=, 2);
    live(story, 6 * SECOND, APMIG_JOB_NONE);
    try_to_leave(story);
    expect_log(story, APMIG_LOG_LOCK_ATTEMPTED, "6 times in 1");
    expect_counts(story, 0, 6);
}

/* --- what comes in without the hook -------------------------------------------------------------- */

static void
come_in_unasked(Story *story, const char *scope)
{
    const ApmigGuestName guests[] = {{G1, "g1"}, {G2, "g2"}};

    tell(story, (ApmigEvent){.type = APMIG_EVENT_GUEST_NEWS, .news = {G2, "g2", APMIG_NEWS_ARRIVING}});
    expect_state(story, "aaaaaaaa", "unproven");
    assert_says(find_lock(story, "aaaaaaaa")->unproven, "g2");
    expect_none(story, APMIG_ACTION_RUN_STEP);
    while (answer_list(story, guests, 2))
        ;
    g_assert_true(answer_query_about(story, G2, NULL, (ApmigEvent){.answered = {.job = APMIG_JOB_INCOMING}}));
    expect_state(story, "aaaaaaaa", "unproven");
    tell(story, (ApmigEvent){.type = APMIG_EVENT_GUEST_NEWS, .news = {G2, "g2", APMIG_NEWS_RESUMED}});
    for (guint i = 0; i < 3; i++) {
        while (answer_list(story, guests, 2) ||
               answer_query_about(story, G1, "04.0012", (ApmigEvent){.answered = {.job = APMIG_JOB_NONE}}) ||
               answer_query_about(story, G2, scope, (ApmigEvent){.answered = {.job = APMIG_JOB_NONE}}) ||
               answer_write(story))
            ;
        pass(story, SECOND);
    }
    expect_none(story, APMIG_ACTION_RUN_STEP);
    expect_state(story, "aaaaaaaa", "held");
}

static void
test_affected_guest_without_the_hook(Story *story, gconstpointer data)
{
    come_in_unasked(story, "04.0012");
    expect_counts(story, 1, 0);
    expect_log(story, APMIG_LOG_LOCK_BREACHED, "guest g2 has come in");
}

static void
test_unaffected_guest_without_the_hook(Story *story, gconstpointer data)
{
    come_in_unasked(story, NULL);
    expect_counts(story, 0, 0);
}

/* --- who is not here any more ---------------------------------------------------------------------- */

static void
test_guest_is_missing(Story *story, gconstpointer data)
{
    pass(story, 5 * SECOND);
    listed(story, 0);
    pass(story, 199999);
    g_assert_cmpuint(count_logs(story, APMIG_LOG_GUEST_DEPARTED), ==, 0); /* the event may be on its way */
    pass(story, 1);
    g_assert_cmpuint(count_logs(story, APMIG_LOG_GUEST_DEPARTED), ==, 1);
    g_assert_nonnull(apmig_lock_guests_find(the_record(story)->departed, G1));
    {
        g_autoptr(ApmigAction) write = expect(story, APMIG_ACTION_PERSIST_LOCK);

        g_assert_nonnull(apmig_lock_guests_find(write->lock->departed, G1));
        g_assert_null(apmig_lock_guests_find(write->lock->guests, G1));
    }
    live(story, 10 * SECOND, APMIG_JOB_GONE);
    g_assert_cmpuint(count_logs(story, APMIG_LOG_GUEST_DEPARTED), ==, 0); /* said once */
}

static void
test_guest_is_missing_and_was_shut_down(Story *story, gconstpointer data)
{
    pass(story, 5 * SECOND);
    listed(story, 0);
    pass(story, 199999);
    news(story, APMIG_NEWS_STOPPED);
    live(story, 10 * SECOND, APMIG_JOB_GONE);
    g_assert_cmpuint(count_logs(story, APMIG_LOG_GUEST_DEPARTED), ==, 0);
    g_assert_true(!the_record(story)->departed || the_record(story)->departed->len == 0);
}

/* The list without it overtakes libvirt's word of how it went. */
static void
test_guest_is_missing_and_has_left(Story *story, gconstpointer data)
{
    pass(story, 5 * SECOND);
    listed(story, 0);
    news(story, APMIG_NEWS_STOPPED_MIGRATED);
    expect_counts(story, 1, 0);
    expect_log(story, APMIG_LOG_LOCK_BREACHED, "g1");
    live(story, 10 * SECOND, APMIG_JOB_GONE);
    expect_counts(story, 1, 0);
    g_assert_cmpuint(count_logs(story, APMIG_LOG_GUEST_DEPARTED), ==, 0);
}

static void
test_guest_is_missing_after_its_switchover(Story *story, gconstpointer data)
{
    pass(story, 5 * SECOND);
    news(story, APMIG_NEWS_SUSPENDED);
    listed(story, 0);
    news(story, APMIG_NEWS_STOPPED_LOST);
    expect_counts(story, 1, 0);
    g_assert_cmpstr(apmig_engine_lookup_migration(story->engine, "5708_1")->result, ==, "unknown");
}

static void
test_unaffected_guest_is_missing_and_has_left(Story *story, gconstpointer data)
{
    news(story, APMIG_NEWS_CHANGED);
    while (answer_query_about(story, G1, NULL, (ApmigEvent){.answered = {.job = APMIG_JOB_NONE}}))
        ;
    pass(story, 5 * SECOND);
    listed(story, 0);
    news(story, APMIG_NEWS_STOPPED_MIGRATED);
    live(story, 10 * SECOND, APMIG_JOB_GONE);
    expect_counts(story, 0, 0);
    g_assert_cmpuint(count_logs(story, APMIG_LOG_GUEST_DEPARTED), ==, 0);
}

static void
expect_verdict(Story *story, gboolean ready, const char *part)
{
    g_autoptr(ApmigAction) verdict = NULL;

    tell(story, (ApmigEvent){.type = APMIG_EVENT_CHECK, .caller = 7, .check = {"dddddddd", 5 * SECOND}});
    answer_all(story, APMIG_JOB_NONE);
    verdict = expect(story, APMIG_ACTION_REPLY_VERDICT);
    g_assert_cmpint(verdict->reply.allowed, ==, ready);
    assert_says(verdict->reply.message, part);
}

static void
annotate(Story *story, const char *text)
{
    tell(story,
         (ApmigEvent){.type = APMIG_EVENT_AMEND,
                      .caller = 8,
                      .amend = {.id = "dddddddd", .what = APMIG_AMEND_REASON, .user = "root", .text = text}});
}

/* g2 was here, and went in the gap; and who was named before the gap is still. */
static void
test_departed_over_a_gap(void)
{
    g_autoptr(ApmigLockRecord) record = record_on_disk(APMIG_LOCK_BY_REQUEST, 5);
    Story story;

    begin(&story);
    record->guests = apmig_lock_guests_new();
    record->departed = apmig_lock_guests_new();
    apmig_lock_guests_append(record->guests, G1, "g1");
    apmig_lock_guests_append(record->guests, G2, "g2");
    apmig_lock_guests_append(record->departed, "33333333-3333-4333-8333-333333333333", "g3");
    load(&story, record, NULL);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    answer_all(&story, APMIG_JOB_NONE);
    live(&story, SECOND, APMIG_JOB_NONE);
    expect_log(&story, APMIG_LOG_GUEST_DEPARTED, "guest g2");
    expect_state(&story, "dddddddd", "held");
    expect_verdict(&story, FALSE, "guest 'g3'");
    annotate(&story, "g2 and g3 run on h2");
    written(&story, APMIG_ACTION_PERSIST_LOCK, "No space left on device");
    expect_error(&story, 8, APMIG_ERROR_STATE_FAILURE, "No space");
    expect_verdict(&story, FALSE, "and others");
    annotate(&story, "g2 and g3 run on h2");
    {
        g_autoptr(ApmigAction) write = expect(&story, APMIG_ACTION_PERSIST_LOCK);

        g_assert_true(!write->lock->departed || write->lock->departed->len == 0);
        tell(&story, (ApmigEvent){.type = APMIG_EVENT_LOCK_PERSISTED, .persisted = {write->op, NULL}});
    }
    apmig_action_free(expect(&story, APMIG_ACTION_REPLY_AMENDED));
    expect_verdict(&story, TRUE, "");
    end(&story);
}

/* Who says that he knows of those that he was told of says nothing of who departs while that is written. */
static void
test_departed_after_the_annotation(void)
{
    g_autoptr(ApmigLockRecord) record = record_on_disk(APMIG_LOCK_BY_REQUEST, 5);
    g_autoptr(ApmigAction) annotated = NULL, named = NULL;
    Story story;

    begin(&story);
    record->departed = apmig_lock_guests_new();
    apmig_lock_guests_append(record->departed, G2, "g2");
    load(&story, record, NULL);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    answer_all(&story, APMIG_JOB_NONE);
    annotate(&story, "g2 runs on h2");
    annotated = expect(&story, APMIG_ACTION_PERSIST_LOCK);
    news(&story, APMIG_NEWS_CHANGED);
    news(&story, APMIG_NEWS_STOPPED_MIGRATED); /* what it had was being read */
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_LOCK_PERSISTED, .persisted = {annotated->op, NULL}});
    named = expect(&story, APMIG_ACTION_PERSIST_LOCK);
    g_assert_nonnull(apmig_lock_guests_find(named->lock->departed, G1));
    end(&story);
}

/* --- written meanwhile ----------------------------------------------------------------------------- */

/* A change of owner is being written, and is not all that is known when it is. */
static void
test_counts_survive_a_take_over(Story *story, gconstpointer data)
{
    g_autoptr(ApmigAction) handed_over = NULL, counted = NULL;

    tell(story, (ApmigEvent){.type = APMIG_EVENT_AMEND,
                             .caller = 8,
                             .amend = {.id = "aaaaaaaa",
                                       .what = APMIG_AMEND_OWNER,
                                       .uid = 1001,
                                       .user = "dora",
                                       .owner_uid = 1000,
                                       .text = "shift ends"}});
    handed_over = expect(story, APMIG_ACTION_PERSIST_LOCK);
    news(story, APMIG_NEWS_STOPPED_MIGRATED);
    expect_counts(story, 1, 0);
    tell(story, (ApmigEvent){.type = APMIG_EVENT_LOCK_PERSISTED, .persisted = {handed_over->op, NULL}});
    g_assert_cmpstr(the_record(story)->owner_name, ==, "dora");
    expect_counts(story, 1, 0);
    counted = expect(story, APMIG_ACTION_PERSIST_LOCK);
    g_assert_cmpuint(counted->lock->breaches, ==, 1);
    g_assert_cmpstr(counted->lock->owner_name, ==, "dora");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, func) g_test_add("/engine-breaches/" path, Story, NULL, set_up, func, tear_down)
    ADD("has-left", test_has_left);
    g_test_add_func("/engine-breaches/has-left-a-draining-lock", test_has_left_a_draining_lock);
    ADD("memory-goes-into-a-file", test_memory_goes_into_a_file);
    ADD("memory-went-into-a-file", test_memory_went_into_a_file);
    ADD("memory-leaves-after-a-save", test_memory_leaves_after_a_save);
    ADD("memory-leaves", test_memory_leaves);
    ADD("memory-left", test_memory_left);
    ADD("memory-left-and-it-stopped", test_memory_left_and_it_stopped);
    ADD("memory-left-and-it-has-other-queues", test_memory_left_and_it_has_other_queues);
    ADD("it-is-saved", test_it_is_saved);
    ADD("stopped-after-its-switchover", test_stopped_after_its_switchover);
    ADD("stopped-after-it-was-resumed", test_stopped_after_it_was_resumed);
    ADD("has-left-unread", test_has_left_unread);
    ADD("end-without-an-event", test_end_without_an_event);
    ADD("memory-without-an-event", test_memory_without_an_event);
    ADD("migration-without-a-hint", test_migration_without_a_hint);
    ADD("migration-with-a-late-hint", test_migration_with_a_late_hint);
    ADD("start-without-an-event", test_start_without_an_event);
    ADD("folder-not-watched", test_folder_is_not_watched);
    ADD("has-left-and-was-missing", test_has_left_and_was_missing);
    ADD("stopped-and-was-missing", test_stopped_after_its_switchover_and_was_missing);
    ADD("not-held-while-missing", test_not_held_while_it_is_missing);
    ADD("attempt", test_attempt);
    ADD("attempts-are-told-together", test_attempts_are_told_together);
    ADD("affected-without-the-hook", test_affected_guest_without_the_hook);
    ADD("unaffected-without-the-hook", test_unaffected_guest_without_the_hook);
    ADD("missing", test_guest_is_missing);
    ADD("missing-and-shut-down", test_guest_is_missing_and_was_shut_down);
    ADD("missing-and-has-left", test_guest_is_missing_and_has_left);
    ADD("missing-after-its-switchover", test_guest_is_missing_after_its_switchover);
    ADD("missing-and-unaffected", test_unaffected_guest_is_missing_and_has_left);
    g_test_add_func("/engine-breaches/memory-left-before-the-request", test_memory_left_before_the_request);
    g_test_add_func("/engine-breaches/departed-over-a-gap", test_departed_over_a_gap);
    g_test_add_func("/engine-breaches/departed-after-the-annotation", test_departed_after_the_annotation);
    ADD("counts-survive-a-take-over", test_counts_survive_a_take_over);
#undef ADD
    return g_test_run();
}
