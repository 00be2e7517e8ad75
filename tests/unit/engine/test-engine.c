/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The engine, case by case: each test is one rule of a lock's or a migration's life, told as the events that lead to
 * it. The simulation looks for what these stories do not think of.
 */
#include "engine/fixture.h"

#define G1 "11111111-1111-4111-8111-111111111111"
#define G2 "22222222-2222-4222-8222-222222222222"

static void
take(Story *story, ApmigCaller caller, const char *id, const char *scope, ApmigOnBusy on_busy,
     gboolean no_wait)
{
    take_lock(story, id, scope,
              (ApmigEvent){.take = {.caller = caller, .on_busy = on_busy, .no_wait = no_wait}});
}

static void
release(Story *story, ApmigCaller caller, const char *id, gboolean force)
{
    tell(story, (ApmigEvent){.type = APMIG_EVENT_RELEASE, .release = {caller, id, force}});
}

/* A lock that is durable and waits to be held, with the hypervisor in view. */
static void
drain(Story *story, const char *scope, ApmigOnBusy on_busy)
{
    open_view(story);
    take(story, 1, "aaaaaaaa", scope, on_busy, FALSE);
    written(story, APMIG_ACTION_PERSIST_LOCK, NULL);
}

static void
listed(Story *story, guint n_guests)
{
    const ApmigGuestName guests[] = {{G1, "g1"}, {G2, "g2"}};

    g_assert_true(answer_list(story, guests, n_guests));
}

static void
answered(Story *story, ApmigJob job, const char *scope)
{
    g_assert_true(answer_query(story, scope, (ApmigEvent){.answered = {.job = job}}));
}

static void
admit(Story *story, ApmigCaller caller, const char *uuid, const char *scope_text, gboolean restore)
{
    g_autoptr(ApmigScope) scope = scope_text ? apmig_scope_parse(scope_text, NULL) : NULL;

    tell(story, (ApmigEvent){.type = APMIG_EVENT_ADMIT,
                             .admit = {.caller = caller,
                                       .uuid = uuid,
                                       .name = "g1",
                                       .restore = restore,
                                       .facts = {scope ? APMIG_AFFECTED_YES : APMIG_AFFECTED_NO, scope}}});
}

static void
expect_admit(Story *story, gboolean allowed, const char *needle)
{
    g_autoptr(ApmigAction) reply = expect(story, APMIG_ACTION_REPLY_ADMIT);

    g_assert_cmpint(reply->allowed, ==, allowed);
    g_assert_nonnull(strstr(reply->message, needle));
}

/* A lock of @scope that is held, with guest g1 of scope 04.0012 active and idle. */
static void
hold(Story *story, const char *scope)
{
    g_autoptr(ApmigAction) reply = NULL;

    drain(story, scope, APMIG_ON_BUSY_UNSET);
    listed(story, 1);
    answered(story, APMIG_JOB_NONE, "04.0012");
    listed(story, 1);
    pass(story, 50000);
    answered(story, APMIG_JOB_NONE, NULL);
    written(story, APMIG_ACTION_PERSIST_LOCK, NULL);
    reply = expect(story, APMIG_ACTION_REPLY_TAKEN);
    expect_state(story, "aaaaaaaa", "held");
    listed(story, 1); /* what is still being asked */
    g_ptr_array_set_size(story->actions, 0);
}

/* ------------------------------------------------------------------------------------------------- */

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
test_nothing_is_admitted_before_the_store_is_loaded(void)
{
    Story story;

    begin(&story);
    admit(&story, 2, G1, "04.0012", FALSE);
    expect_admit(&story, FALSE, "not read");
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
    pass(&story, 50000);
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
    pass(&story, story.policy->admission_usec - 1);
    expect_none(&story, APMIG_ACTION_LIST_GUESTS);
    pass(&story, 1);
    expect_none(&story, APMIG_ACTION_REMOVE_ADMISSION);
    listed(&story, 0);
    apmig_action_free(expect(&story, APMIG_ACTION_REMOVE_ADMISSION));
    end(&story);
}

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
    g_assert_cmpstr(step->uuid, ==, G1);
    tell(&story,
         (ApmigEvent){.type = APMIG_EVENT_STEP_FINISHED, .step = {step->op, APMIG_STEP_REQUESTED, ""}});
    answered(&story, APMIG_JOB_OUTGOING, NULL); /* a yes proves nothing */
    expect_state(&story, "aaaaaaaa", "draining");
    listed(&story, 1);
    pass(&story, 50000);
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
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_GUEST_STOPPED, .stopped = {G1, TRUE}});
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
                                  .answered = {.token = query->token,
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
test_unaffected_guest_on_its_way_in_is_no_blocker(void)
{
    Story story;

    begin(&story);
    open_view(&story);
    admit(&story, 2, G1, NULL, FALSE);
    take(&story, 1, "aaaaaaaa", "all", APMIG_ON_BUSY_UNSET, FALSE);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    listed(&story, 1);
    answered(&story, APMIG_JOB_INCOMING, NULL);
    listed(&story, 1);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    expect_state(&story, "aaaaaaaa", "held");
    end(&story);
}

/* The guest of an admission, seen coming in; the lock with its token is durable and waits. */
static void
come_in(Story *story, const char *lock_scope)
{
    open_view(story);
    admit(story, 2, G1, "04.0012", FALSE);
    written(story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
    take(story, 1, "aaaaaaaa", lock_scope, APMIG_ON_BUSY_UNSET, FALSE);
    written(story, APMIG_ACTION_PERSIST_LOCK, NULL);
    listed(story, 1);
    answered(story, APMIG_JOB_INCOMING, NULL);
    listed(story, 1);
    pass(story, G_USEC_PER_SEC);
    answered(story, APMIG_JOB_INCOMING, NULL);
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
    tell(&story,
         (ApmigEvent){.type = APMIG_EVENT_GUEST_STOPPED, .stopped = {G1, TRUE}}); /* nobody asks about it */
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

static void
test_open_admission_alone_reads_nothing(void)
{
    g_autoptr(ApmigScope) scope = apmig_scope_new_all();
    char *no_devices[] = {NULL};
    ApmigAdmission admission = {(char *)G1, (char *)"g1", scope, no_devices, G_USEC_PER_SEC};
    Story story;

    begin(&story);
    load(&story, NULL, &admission);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    expect_none(&story, APMIG_ACTION_LIST_GUESTS);
    g_assert_cmpstr(apmig_engine_view_state(story.engine), ==, "connected");
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
                             .answered = {.token = first->token,
                                          .uuid = first->uuid,
                                          .job = APMIG_JOB_OUTGOING,
                                          .facts_read = TRUE,
                                          .facts = {APMIG_AFFECTED_YES, scope}}};

        tell(&story, answer);
        expect_none(&story, APMIG_ACTION_RUN_STEP);
        answer.answered.token = second->token;
        answer.answered.uuid = second->uuid;
        answer.answered.job = APMIG_JOB_NONE;
        tell(&story, answer);
        tell(&story, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {second->uuid, NULL}});
    }
    answered(&story, APMIG_JOB_OUTGOING, NULL); /* the second began after the request */
    apmig_action_free(expect(&story, APMIG_ACTION_RUN_STEP));
    expect_none(&story, APMIG_ACTION_RUN_STEP);
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
    pass(&story, story.policy->held_interval_usec);
    answered(&story, APMIG_JOB_OUTGOING, NULL);
    expect_state(&story, "aaaaaaaa", "breached");
    g_assert_cmpuint(lock->record->breaches, ==, 1);
    apmig_action_free(expect(&story, APMIG_ACTION_RUN_STEP));
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL); /* the count */
    listed(&story, 1);
    pass(&story, 50000);
    answered(&story, APMIG_JOB_NONE, NULL);
    expect_state(&story, "aaaaaaaa", "breached"); /* the list is older than the breach */
    listed(&story, 1);
    expect_state(&story, "aaaaaaaa", "held");
    g_assert_cmpuint(lock->record->breaches, ==, 1);
    end(&story);
}

static void
test_locked_and_disjoint(void)
{
    Story story;

    begin(&story);
    hold(&story, "*.0012");
    take(&story, 2, "bbbbbbbb", "04.0010-0020", APMIG_ON_BUSY_UNSET, FALSE);
    expect_error(&story, 2, APMIG_ERROR_LOCKED, "cora");
    take(&story, 3, "bbbbbbbb", "*.0013", APMIG_ON_BUSY_UNSET, TRUE);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    apmig_action_free(expect(&story, APMIG_ACTION_REPLY_TAKEN));
    expect_state(&story, "bbbbbbbb", "draining");
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
test_write_fails_and_the_lock_is_gone(void)
{
    Story story;

    begin(&story);
    load(&story, NULL, NULL);
    take(&story, 1, "aaaaaaaa", "all", APMIG_ON_BUSY_UNSET, FALSE);
    written(&story, APMIG_ACTION_PERSIST_LOCK, "No space left on device");
    written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
    expect_error(&story, 1, APMIG_ERROR_STATE_FAILURE, "No space");
    admit(&story, 9, G1, "04.0012", FALSE);
    written(&story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
    expect_admit(&story, TRUE, "");
    end(&story);
}

static void
test_caller_gone_cancels(void)
{
    Story story;

    begin(&story);
    load(&story, NULL, NULL);
    take(&story, 1, "aaaaaaaa", "all", APMIG_ON_BUSY_UNSET, FALSE);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_CALLER_GONE, .caller_gone = {1}});
    written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
    g_assert_cmpstr(apmig_engine_lookup_lock(story.engine, "aaaaaaaa")->result, ==, "cancelled");
    end(&story);
}

static void
test_no_view_is_hypervisor_unavailable(void)
{
    Story story;

    begin(&story);
    load(&story, NULL, NULL);
    take(&story, 1, "aaaaaaaa", "all", APMIG_ON_BUSY_UNSET, FALSE);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_LOST, .view_lost = {"libvirtd is not running"}});
    pass(&story, story.policy->request_timeout_usec);
    written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
    expect_error(&story, 1, APMIG_ERROR_HYPERVISOR_UNAVAILABLE, "libvirtd is not running");
    end(&story);
}

static ApmigLockRecord *
record_on_disk(ApmigLockOrigin origin, gint64 held_at)
{
    ApmigLockRecord *record = g_new0(ApmigLockRecord, 1);

    record->id = g_strdup("dddddddd");
    record->scope = apmig_scope_new_all();
    record->reason = g_strdup("EP11 key change");
    record->change_id = g_strdup("");
    record->origin = origin;
    record->owner_name = g_strdup("root");
    record->requested_at = G_GINT64_CONSTANT(1800000000000000);
    record->held_at = held_at;
    return record;
}

static void
test_restart(void)
{
    g_autoptr(ApmigLockRecord) record = record_on_disk(APMIG_LOCK_BY_REQUEST, 5);
    Story story;

    begin(&story);
    load(&story, record, NULL);
    expect_state(&story, "dddddddd", "draining");
    admit(&story, 9, G1, "04.0012", FALSE);
    expect_admit(&story, FALSE, "dddddddd");
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    listed(&story, 1);
    answered(&story, APMIG_JOB_OUTGOING, "04.0012"); /* under a lock that was held: a breach */
    expect_state(&story, "dddddddd", "breached");
    apmig_action_free(expect(&story, APMIG_ACTION_RUN_STEP));
    end(&story);
}

static void
test_restart_held_again(void)
{
    g_autoptr(ApmigLockRecord) record = record_on_disk(APMIG_LOCK_BY_REQUEST, 5);
    Story story;

    begin(&story);
    load(&story, record, NULL);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    listed(&story, 1);
    answered(&story, APMIG_JOB_NONE, "04.0012");
    expect_state(&story, "dddddddd", "held");
    g_assert_cmpint(apmig_engine_lookup_lock(story.engine, "dddddddd")->record->held_at, ==, 5);
    end(&story);
}

static void
test_recovered_needs_force(void)
{
    g_autoptr(ApmigLockRecord) record = record_on_disk(APMIG_LOCK_RECOVERED, 0);
    Story story;

    begin(&story);
    load(&story, record, NULL);
    expect_state(&story, "dddddddd", "recovered");
    release(&story, 1, "dddddddd", FALSE);
    expect_error(&story, 1, APMIG_ERROR_STATE_FAILURE, "--force");
    release(&story, 2, "dddddddd", TRUE);
    written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
    apmig_action_free(expect(&story, APMIG_ACTION_REPLY_RELEASED));
    end(&story);
}

static void
test_own_lock_is_adopted(void)
{
    g_autoptr(ApmigLockRecord) record = record_on_disk(APMIG_LOCK_BY_ITSELF, 5);
    Story story;

    begin(&story);
    load(&story, record, NULL);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    listed(&story, 0);
    expect_state(&story, "dddddddd", "held");
    take(&story, 1, "aaaaaaaa", "*.0012", APMIG_ON_BUSY_UNSET, FALSE);
    expect_error(&story, 1, APMIG_ERROR_LOCKED, "scope all");
    take(&story, 2, "aaaaaaaa", "all", APMIG_ON_BUSY_UNSET, FALSE);
    expect_none(&story, APMIG_ACTION_REPLY_TAKEN);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    apmig_action_free(expect(&story, APMIG_ACTION_REPLY_TAKEN));
    g_assert_cmpstr(apmig_engine_lookup_lock(story.engine, "dddddddd")->record->owner_name, ==, "cora");
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
test_limits(void)
{
    g_autofree char *id = NULL;
    Story story;

    begin(&story);
    load(&story, NULL, NULL);
    for (guint i = 0; i < story.policy->max_locks_per_user; i++) {
        g_autofree char *scope = g_strdup_printf("01.%04x", i);

        g_free(id);
        id = g_strdup_printf("%08x", i);
        take(&story, i + 1, id, scope, APMIG_ON_BUSY_UNSET, TRUE);
    }
    expect_none(&story, APMIG_ACTION_REPLY_ERROR);
    take(&story, 99, "eeeeeeee", "02.0001", APMIG_ON_BUSY_UNSET, TRUE);
    expect_error(&story, 99, APMIG_ERROR_LIMIT_EXCEEDED, "cora");
    end(&story);
}

static void
test_hook_missing(void)
{
    g_autoptr(ApmigScope) scope = apmig_scope_new_all();
    Story story;

    begin(&story);
    load(&story, NULL, NULL);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_TAKE,
                              .take = {.caller = 1,
                                       .id = "aaaaaaaa",
                                       .scope = scope,
                                       .reason = "AES rotation",
                                       .user = "root",
                                       .hook_problem = "/etc/libvirt/hooks/qemu.d/zz-apmigd is missing"}});
    expect_error(&story, 1, APMIG_ERROR_HOOK_NOT_INSTALLED, "zz-apmigd");
    expect_none(&story, APMIG_ACTION_PERSIST_LOCK);
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

/* --- queues that change without an event ---------------------------------------------------------- */

/* Guest g1 answers, with what its device has now; NULL: its facts are not told. */
static void
answered_with_queues(Story *story, ApmigJob job, const char *scope_text)
{
    g_autoptr(ApmigAction) action = expect(story, APMIG_ACTION_QUERY_GUEST);
    g_autoptr(ApmigScope) scope = scope_text ? apmig_scope_parse_stored(scope_text, NULL) : NULL;

    g_assert_cmpstr(action->uuid, ==, G1);
    tell(story,
         (ApmigEvent){.type = APMIG_EVENT_GUEST_ANSWERED,
                      .answered = {.token = action->token,
                                   .uuid = G1,
                                   .job = job,
                                   .facts_read = scope != NULL,
                                   .facts = {APMIG_AFFECTED_YES, scope, .scope_varies = scope != NULL}}});
}

/* A lock of 05.* is held; g1 is active, idle, and has 04.0012 by a mediated device. */
static void
hold_beside_device(Story *story)
{
    drain(story, "05.*", APMIG_ON_BUSY_UNSET);
    listed(story, 1);
    answered_with_queues(story, APMIG_JOB_NONE, "04.0012");
    listed(story, 1); /* the list before was asked for before the lock was durable */
    written(story, APMIG_ACTION_PERSIST_LOCK, NULL);
    apmig_action_free(expect(story, APMIG_ACTION_REPLY_TAKEN));
    expect_state(story, "aaaaaaaa", "held");
    g_ptr_array_set_size(story->actions, 0);
}

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
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL); /* the count */
    listed(&story, 1);

    /* It goes on, and takes none of them along any more. */
    pass(&story, story.policy->draining_interval_usec);
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

        g_assert_true(action->want_facts);
        tell(&story, (ApmigEvent){.type = APMIG_EVENT_GUEST_ANSWERED,
                                  .answered = {.token = action->token, .uuid = G1, .job = APMIG_JOB_NONE}});
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
    g_assert_false(under_way->want_facts);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_GUEST_CHANGED, .changed = {G1}});
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_GUEST_ANSWERED,
                              .answered = {.token = under_way->token,
                                           .uuid = G1,
                                           .job = APMIG_JOB_OUTGOING,
                                           .facts_read = TRUE,
                                           .facts = {APMIG_AFFECTED_YES, scope, .scope_varies = TRUE}}});
    expect_state(&story, "aaaaaaaa", "breached"); /* of what is not known */
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    {
        g_autoptr(ApmigAction) action = expect(&story, APMIG_ACTION_QUERY_GUEST);

        g_assert_true(action->want_facts);
    }
    end(&story);
}

/* --- ending a migration -------------------------------------------------------------------------- */

#define D1 "aaaaaaaa-0000-4000-8000-000000000001"

static const char *const devices[] = {D1, NULL};

static void
answered_with_device(Story *story, ApmigJob job, const char *scope_text)
{
    g_autoptr(ApmigAction) action = expect(story, APMIG_ACTION_QUERY_GUEST);
    g_autoptr(ApmigScope) scope = apmig_scope_parse(scope_text, NULL);

    tell(story, (ApmigEvent){.type = APMIG_EVENT_GUEST_ANSWERED,
                             .answered = {.token = action->token,
                                          .uuid = action->uuid,
                                          .job = job,
                                          .facts_read = job != APMIG_JOB_INCOMING,
                                          .facts = {APMIG_AFFECTED_YES, scope, devices}}});
}

static void
admit_with_device(Story *story, const char *device, const char *scope_text)
{
    const char *const its_devices[] = {device, NULL};
    g_autoptr(ApmigScope) scope = apmig_scope_parse(scope_text, NULL);

    tell(story, (ApmigEvent){.type = APMIG_EVENT_ADMIT,
                             .admit = {.caller = 2,
                                       .uuid = G1,
                                       .name = "g1",
                                       .facts = {APMIG_AFFECTED_YES, scope, its_devices}}});
    written(story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
}

/* Returns: its number. */
static guint64
expect_step(Story *story, ApmigStep step, gboolean outgoing)
{
    g_autoptr(ApmigAction) action = expect(story, APMIG_ACTION_RUN_STEP);

    g_assert_cmpstr(apmig_step_to_string(action->step), ==, apmig_step_to_string(step));
    g_assert_cmpint(action->outgoing, ==, outgoing);
    g_assert_cmpstr(action->uuid, ==, G1);
    g_assert_cmpstr(action->guest, ==, "g1");
    g_assert_cmpstr(action->migration_id, ==, "5708_1");
    g_assert_cmpstr(action->device, ==, D1);
    return action->op;
}

static void
finished(Story *story, guint64 op, ApmigStepOutcome outcome)
{
    tell(story, (ApmigEvent){.type = APMIG_EVENT_STEP_FINISHED, .step = {op, outcome, "so it was"}});
}

/* Guest g1 with a device leaves; a lock wants it ended. */
static void
leave(Story *story)
{
    open_view(story);
    take(story, 1, "aaaaaaaa", "all", APMIG_ON_BUSY_ABORT, TRUE);
    written(story, APMIG_ACTION_PERSIST_LOCK, NULL);
    listed(story, 1);
    answered_with_device(story, APMIG_JOB_OUTGOING, "04.0012");
}

/* Guest g1 with a device was let in and is seen; then a lock of @scope is requested. */
static void
come_in_with_device(Story *story, const char *scope, ApmigOnBusy on_busy)
{
    tell(story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    admit_with_device(story, D1, "04.0012");
    take(story, 1, "aaaaaaaa", scope, on_busy, TRUE);
    written(story, APMIG_ACTION_PERSIST_LOCK, NULL);
    listed(story, 1);
    expect_none(story, APMIG_ACTION_RUN_STEP); /* an admission is none to act on */
    answered(story, APMIG_JOB_INCOMING, NULL);
}

static void
test_source_is_aborted_and_fenced_side_by_side(void)
{
    guint64 abort_op, fence_op;
    Story story;

    begin(&story);
    leave(&story);
    abort_op = expect_step(&story, APMIG_STEP_LIBVIRT_ABORT, TRUE);
    fence_op = expect_step(&story, APMIG_STEP_VFIO_STATE, TRUE);
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    finished(&story, fence_op, APMIG_STEP_NOTHING_TO_DO);
    pass(&story, G_USEC_PER_SEC / 2 - 1);
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    pass(&story, 1);
    fence_op = expect_step(&story, APMIG_STEP_VFIO_STATE, TRUE); /* it may be in a state to fence now */
    pass(&story, 60 * G_USEC_PER_SEC);
    expect_none(&story, APMIG_ACTION_RUN_STEP); /* both are late, and under way still */
    finished(&story, fence_op, APMIG_STEP_REQUESTED);
    expect_step(&story, APMIG_STEP_VFIO_STATE, TRUE);
    finished(&story, abort_op, APMIG_STEP_REQUESTED);
    expect_step(&story, APMIG_STEP_LIBVIRT_ABORT, TRUE);
    end(&story);
}

static void
test_incoming_is_fenced_at_once_and_killed_when_that_is_late(void)
{
    Story story;

    begin(&story);
    load(&story, NULL, NULL);
    come_in_with_device(&story, "04.*", APMIG_ON_BUSY_ABORT);
    finished(&story, expect_step(&story, APMIG_STEP_VFIO_STATE, FALSE), APMIG_STEP_REQUESTED);
    pass(&story, 2 * G_USEC_PER_SEC - 1);
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    pass(&story, 1);
    finished(&story, expect_step(&story, APMIG_STEP_KILL_INCOMING, FALSE), APMIG_STEP_REQUESTED);
    expect_none(&story, APMIG_ACTION_RUN_STEP); /* a fence stays */
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_GUEST_STOPPED, .stopped = {G1, FALSE}});
    pass(&story, 60 * G_USEC_PER_SEC);
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    end(&story);
}

static void
test_incoming_is_killed_when_the_fence_is_refused(void)
{
    Story story;

    begin(&story);
    load(&story, NULL, NULL);
    come_in_with_device(&story, "all", APMIG_ON_BUSY_ABORT);
    finished(&story, expect_step(&story, APMIG_STEP_VFIO_STATE, FALSE), APMIG_STEP_FAILED);
    expect_step(&story, APMIG_STEP_KILL_INCOMING, FALSE);
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    end(&story);
}

/* Disks may be copied for long before the stream begins: the device runs, and a kill finds nothing that it may end. */
static void
test_incoming_is_fenced_although_a_kill_came_too_early(void)
{
    guint64 fence_op;
    Story story;

    begin(&story);
    load(&story, NULL, NULL);
    come_in_with_device(&story, "all", APMIG_ON_BUSY_ABORT);
    finished(&story, expect_step(&story, APMIG_STEP_VFIO_STATE, FALSE), APMIG_STEP_NOTHING_TO_DO);
    pass(&story, 2 * G_USEC_PER_SEC);
    fence_op = expect_step(&story, APMIG_STEP_VFIO_STATE, FALSE);
    finished(&story, expect_step(&story, APMIG_STEP_KILL_INCOMING, FALSE), APMIG_STEP_NOT_ABORTABLE);
    finished(&story, fence_op, APMIG_STEP_NOTHING_TO_DO);
    pass(&story, G_USEC_PER_SEC / 2);
    fence_op = expect_step(&story, APMIG_STEP_VFIO_STATE, FALSE);
    pass(&story, 5 * G_USEC_PER_SEC);
    finished(&story, fence_op, APMIG_STEP_NOT_ABORTABLE); /* it is loaded */
    finished(&story, expect_step(&story, APMIG_STEP_KILL_INCOMING, FALSE), APMIG_STEP_NOT_ABORTABLE);
    pass(&story, 60 * G_USEC_PER_SEC);
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    end(&story);
}

static void
test_incoming_is_left_alone(void)
{
    Story story;

    begin(&story);
    load(&story, NULL, NULL);
    come_in_with_device(&story, "all", APMIG_ON_BUSY_WAIT);
    pass(&story, 60 * G_USEC_PER_SEC);
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    end(&story);

    begin(&story);
    load(&story, NULL, NULL);
    come_in_with_device(&story, "05.*", APMIG_ON_BUSY_ABORT); /* keys that the guest has not */
    pass(&story, 60 * G_USEC_PER_SEC);
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    end(&story);

    begin(&story);
    come_in(&story, "04.*"); /* no device */
    pass(&story, 60 * G_USEC_PER_SEC);
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    end(&story);
}

/* Which of two attempts it is that comes in is not known: only what holds for both is acted on. */
static void
test_incoming_of_two_attempts(void)
{
    Story story;

    begin(&story);
    load(&story, NULL, NULL);
    admit_with_device(&story, "aaaaaaaa-0000-4000-8000-000000000002", "04.0012");
    come_in_with_device(&story, "04.*", APMIG_ON_BUSY_ABORT);
    expect_step(&story, APMIG_STEP_VFIO_STATE, FALSE); /* with the device of the last one */
    end(&story);

    begin(&story);
    load(&story, NULL, NULL);
    admit_with_device(&story, D1, "05.0013");
    come_in_with_device(&story, "05.*", APMIG_ON_BUSY_ABORT);
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    expect_state(&story, "aaaaaaaa", "draining");
    end(&story);
}

static void
test_missing_helper_does_not_stop_the_abort(void)
{
    guint64 abort_op;
    Story story;

    begin(&story);
    leave(&story);
    abort_op = expect_step(&story, APMIG_STEP_LIBVIRT_ABORT, TRUE);
    finished(&story, expect_step(&story, APMIG_STEP_VFIO_STATE, TRUE), APMIG_STEP_UNAVAILABLE);
    finished(&story, abort_op, APMIG_STEP_REQUESTED);
    pass(&story, 5 * G_USEC_PER_SEC);
    abort_op = expect_step(&story, APMIG_STEP_LIBVIRT_ABORT, TRUE);
    expect_step(&story, APMIG_STEP_VFIO_STATE, TRUE); /* it may have been installed meanwhile */
    finished(&story, abort_op, APMIG_STEP_NOT_ABORTABLE);
    pass(&story, 60 * G_USEC_PER_SEC);
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    end(&story);
}

static void
test_source_is_fenced_without_libvirt(void)
{
    Story story;

    begin(&story);
    leave(&story);
    expect_step(&story, APMIG_STEP_LIBVIRT_ABORT, TRUE);
    finished(&story, expect_step(&story, APMIG_STEP_VFIO_STATE, TRUE), APMIG_STEP_NOTHING_TO_DO);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_LOST, .view_lost = {"libvirtd is not running"}});
    pass(&story, G_USEC_PER_SEC);
    finished(&story, expect_step(&story, APMIG_STEP_VFIO_STATE, TRUE), APMIG_STEP_NOTHING_TO_DO);
    g_ptr_array_set_size(story.actions, 0);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    pass(&story, G_USEC_PER_SEC);
    expect_none(&story, APMIG_ACTION_RUN_STEP); /* now that it can be asked, it is asked first */
    listed(&story, 1);
    answered_with_device(&story, APMIG_JOB_OUTGOING, "04.0012");
    expect_step(&story, APMIG_STEP_LIBVIRT_ABORT, TRUE);
    expect_step(&story, APMIG_STEP_VFIO_STATE, TRUE);
    end(&story);
}

static guint
count_records(Story *story, ApmigStep step)
{
    const ApmigMigration *migration = apmig_engine_lookup_migration(story->engine, "5708_1");
    guint count = 0;

    for (guint i = 0; i < migration->steps->len; i++)
        count += ((const ApmigStepRecord *)g_ptr_array_index(migration->steps, i))->step == step;
    return count;
}

static void
test_records_are_merged_and_bounded(void)
{
    const ApmigMigration *migration;
    const ApmigStepRecord *first;
    Story story;

    begin(&story);
    leave(&story);
    finished(&story, expect_step(&story, APMIG_STEP_LIBVIRT_ABORT, TRUE), APMIG_STEP_REQUESTED);
    for (guint i = 0; i < 8; i++) {
        finished(&story, expect_step(&story, APMIG_STEP_VFIO_STATE, TRUE), APMIG_STEP_NOTHING_TO_DO);
        pass(&story, G_USEC_PER_SEC / 2);
    }
    g_assert_cmpuint(count_records(&story, APMIG_STEP_VFIO_STATE), ==, 2); /* one, and one under way */
    g_assert_cmpuint(count_records(&story, APMIG_STEP_LIBVIRT_ABORT), ==, 1);
    migration = apmig_engine_lookup_migration(story.engine, "5708_1");
    for (guint i = 0; i < 200; i++) {
        g_autoptr(ApmigAction) step = NULL;

        while (!(step = next(&story, APMIG_ACTION_RUN_STEP)))
            pass(&story, G_USEC_PER_SEC / 2);
        finished(&story, step->op, i % 2 ? APMIG_STEP_REQUESTED : APMIG_STEP_FAILED);
        g_assert_cmpuint(migration->steps->len, <=, 34);
        g_ptr_array_set_size(story.actions, 0);
    }
    g_assert_cmpuint(migration->steps->len, >=, 30);
    first = g_ptr_array_index(migration->steps, 0);
    g_assert_cmpint(first->step, ==, APMIG_STEP_LIBVIRT_ABORT);
    g_assert_cmpint(first->outcome, ==, APMIG_STEP_REQUESTED);
    end(&story);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/engine/held-only-after-durable-and-read", test_held_only_after_durable_and_read);
    g_test_add_func("/engine/gate-closes-with-the-request", test_gate_closes_with_the_request);
    g_test_add_func("/engine/nothing-admitted-before-loaded",
                    test_nothing_is_admitted_before_the_store_is_loaded);
    g_test_add_func("/engine/admission-written-before-yes", test_admission_is_written_before_yes_and_blocks);
    g_test_add_func("/engine/lock-between-question-and-yes", test_lock_between_question_and_yes_denies);
    g_test_add_func("/engine/admission-expires-by-a-reading", test_admission_expires_only_by_a_reading);
    g_test_add_func("/engine/outgoing-aborted", test_outgoing_is_aborted_and_held_when_gone);
    g_test_add_func("/engine/completed-anyway", test_completed_anyway);
    g_test_add_func("/engine/post-copy", test_postcopy_is_left_alone);
    g_test_add_func("/engine/unknown-guest", test_unknown_guest_blocks_and_is_left_alone);
    g_test_add_func("/engine/unaffected-incoming", test_unaffected_guest_on_its_way_in_is_no_blocker);
    g_test_add_func("/engine/incoming-scope", test_incoming_guest_has_the_scope_of_its_admission);
    g_test_add_func("/engine/left-and-back", test_guest_that_left_may_come_back);
    g_test_add_func("/engine/admission-alone", test_open_admission_alone_reads_nothing);
    g_test_add_func("/engine/refuse", test_refuse);
    g_test_add_func("/engine/wait", test_wait_acts_only_on_the_later_one);
    g_test_add_func("/engine/breach", test_breach);
    g_test_add_func("/engine/locked-and-disjoint", test_locked_and_disjoint);
    g_test_add_func("/engine/release", test_release_opens_the_gate_after_the_removal);
    g_test_add_func("/engine/release-fails", test_release_fails_and_the_lock_stays);
    g_test_add_func("/engine/write-fails", test_write_fails_and_the_lock_is_gone);
    g_test_add_func("/engine/caller-gone", test_caller_gone_cancels);
    g_test_add_func("/engine/no-view", test_no_view_is_hypervisor_unavailable);
    g_test_add_func("/engine/restart-breach", test_restart);
    g_test_add_func("/engine/restart-held", test_restart_held_again);
    g_test_add_func("/engine/recovered", test_recovered_needs_force);
    g_test_add_func("/engine/adopted", test_own_lock_is_adopted);
    g_test_add_func("/engine/overdue", test_overdue);
    g_test_add_func("/engine/limits", test_limits);
    g_test_add_func("/engine/hook-missing", test_hook_missing);
    g_test_add_func("/engine/forgotten", test_ended_objects_are_forgotten);
    g_test_add_func("/engine/queues-read-for-held", test_held_rests_on_queues_read_for_it);
    g_test_add_func("/engine/queues-widened", test_widening_under_a_lock_is_a_breach);
    g_test_add_func("/engine/queues-at-the-interval", test_queues_are_read_at_the_interval);
    g_test_add_func("/engine/queues-not-told", test_queues_that_are_not_told);
    g_test_add_func("/engine/queues-and-change", test_change_while_queues_are_read);
    g_test_add_func("/engine/side-by-side", test_source_is_aborted_and_fenced_side_by_side);
    g_test_add_func("/engine/incoming-fenced-then-killed",
                    test_incoming_is_fenced_at_once_and_killed_when_that_is_late);
    g_test_add_func("/engine/incoming-killed-when-refused",
                    test_incoming_is_killed_when_the_fence_is_refused);
    g_test_add_func("/engine/incoming-kill-too-early",
                    test_incoming_is_fenced_although_a_kill_came_too_early);
    g_test_add_func("/engine/incoming-left-alone", test_incoming_is_left_alone);
    g_test_add_func("/engine/incoming-of-two-attempts", test_incoming_of_two_attempts);
    g_test_add_func("/engine/missing-helper", test_missing_helper_does_not_stop_the_abort);
    g_test_add_func("/engine/fenced-without-libvirt", test_source_is_fenced_without_libvirt);
    g_test_add_func("/engine/step-records", test_records_are_merged_and_bounded);
    return g_test_run();
}
