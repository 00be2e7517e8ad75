/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is asked of the engine about a lock that is there, or of one that nobody takes: changes of it, whether its keys may
 * be changed now, rehearsals.
 */
#include "ap/fixture.h"
#include "engine/fixture.h"

#define G1     "11111111-1111-4111-8111-111111111111"
#define DEVICE "88888888-8888-4888-8888-888888888888"
#define LOCK   "aaaaaaaa"
#define SECOND ((gint64)G_USEC_PER_SEC)

static void
expect_amended(Story *story, ApmigCaller caller)
{
    g_autoptr(ApmigAction) reply = expect(story, APMIG_ACTION_REPLY_AMENDED);

    g_assert_cmpuint(reply->reply.caller, ==, caller);
    g_assert_cmpstr(reply->reply.id, ==, LOCK);
}

static const ApmigLock *
the_lock(Story *story)
{
    return find_lock(story, LOCK);
}

/* Returns: (transfer full): what was given to the disk, whose answer is told. */
static ApmigLockRecord *
record_written(Story *story, const char *error)
{
    g_autoptr(ApmigAction) action = expect(story, APMIG_ACTION_PERSIST_LOCK);

    tell(story, (ApmigEvent){.type = APMIG_EVENT_LOCK_PERSISTED, .persisted = {action->op, error}});
    return g_steal_pointer(&action->lock);
}

static gboolean
list(Story *story)
{
    const ApmigGuestName guests[] = {{G1, "g1"}};

    return answer_list(story, guests, 1);
}

static void
listed(Story *story)
{
    g_assert_true(list(story));
}

static void
answered(Story *story, ApmigJob job, gboolean postcopy)
{
    const char *const devices[] = {DEVICE, NULL};

    g_assert_true(answer_query(
        story, "04.0012",
        (ApmigEvent){.answered = {.job = job, .postcopy = postcopy, .facts = {.devices = devices}}}));
}

static void
begin_verifying(Story *story)
{
    ApmigPolicy *policy = apmig_policy_new_default();

    policy->stamp = APMIG_STAMP_OFF;
    policy->on_release = APMIG_ON_RELEASE_VERIFY;
    begin_with(story, policy);
    open_view(story);
}

static void
take(Story *story, ApmigCaller caller, const char *scope, ApmigOnBusy on_busy, gboolean rehearse)
{
    take_lock(story, LOCK, scope,
              (ApmigEvent){
                  .caller = caller,
                  .take = {.on_busy = on_busy, .expected_duration_usec = 60 * SECOND, .rehearse = rehearse}});
}

/* What is still being asked is answered. */
static void
settle_questions(Story *story)
{
    for (guint i = 0; i < 2; i++)
        list(story);
}

/* A lock of cora's that is held, with guest g1 of scope 04.0012 active and idle. */
static void
hold(Story *story)
{
    begin_verifying(story);
    take(story, 1, "04.*", APMIG_ON_BUSY_UNSET, FALSE);
    apmig_lock_record_free(record_written(story, NULL));
    listed(story);
    answered(story, APMIG_JOB_NONE, FALSE);
    settle_questions(story);
    apmig_lock_record_free(record_written(story, NULL));
    g_assert_cmpstr(apmig_lock_state_to_string(the_lock(story)), ==, "held");
    pass(story, 50000); /* from now on at the interval of a held lock */
    while (list(story) || answer_query(story, "04.0012", (ApmigEvent){.answered = {.job = APMIG_JOB_NONE}}))
        ;
    g_ptr_array_set_size(story->actions, 0);
}

static void
amend(Story *story, ApmigCaller caller, ApmigAmendment what, const char *text, gint64 duration_usec)
{
    tell(story, (ApmigEvent){.type = APMIG_EVENT_AMEND,
                             .caller = caller,
                             .amend = {.id = LOCK,
                                       .what = what,
                                       .uid = 1001,
                                       .user = "dora",
                                       .owner_uid = 1000,
                                       .text = text,
                                       .duration_usec = duration_usec}});
}

/* --- changes of a lock ----------------------------------------------------------------------------- */

static void
test_take_over_is_durable_before_the_answer(void)
{
    g_autoptr(ApmigLockRecord) record = NULL;
    Story story;

    hold(&story);
    amend(&story, 2, APMIG_AMEND_OWNER, "shift ends", 0);
    expect_none(&story, APMIG_ACTION_REPLY_AMENDED);
    g_assert_cmpuint(the_lock(&story)->record->owner_uid, ==, 1000);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_RELEASE, .caller = 3, .release = {LOCK}});
    expect_error(&story, 3, APMIG_ERROR_NOT_OWNER, "dora"); /* it was cora who was asked for that */
    record = record_written(&story, NULL);
    expect_amended(&story, 2);
    g_assert_cmpuint(record->owner_uid, ==, 1001);
    g_assert_cmpstr(record->reason, ==, "AES rotation");
    g_assert_cmpint(record->held_at, ==, the_lock(&story)->record->held_at);
    g_assert_cmpstr(the_lock(&story)->record->owner_name, ==, "dora");
    g_assert_cmpstr(apmig_lock_state_to_string(the_lock(&story)), ==, "held");
    expect_log(&story, APMIG_LOG_LOCK_TAKEN_OVER,
               "of cora (uid 1000) was taken over by dora (uid 1001): \"shift ends\"");
    apmig_action_free(expect(&story, APMIG_ACTION_PUBLISH_LOCK));
    end(&story);
}

static void
test_change_that_cannot_be_written_is_none(void)
{
    Story story;

    hold(&story);
    amend(&story, 2, APMIG_AMEND_OWNER, "shift ends", 0);
    apmig_lock_record_free(record_written(&story, "No space left on device"));
    expect_error(&story, 2, APMIG_ERROR_STATE_FAILURE, "No space left on device");
    g_assert_cmpstr(the_lock(&story)->record->owner_name, ==, "cora");
    amend(&story, 3, APMIG_AMEND_OWNER, "shift ends", 0); /* nothing is left of it */
    apmig_lock_record_free(record_written(&story, NULL));
    expect_amended(&story, 3);
    end(&story);
}

static void
test_breach_while_a_change_is_written_is_kept(void)
{
    g_autoptr(ApmigLockRecord) changed = NULL;
    g_autoptr(ApmigLockRecord) counted = NULL;
    Story story;

    hold(&story);
    amend(&story, 2, APMIG_AMEND_REASON, "card 05 is late", 0);
    pass(&story, 6 * SECOND);
    answered(&story, APMIG_JOB_OUTGOING, TRUE); /* so memory has left */
    g_assert_cmpuint(the_lock(&story)->record->breaches, ==, 1);
    changed = record_written(&story, NULL);
    g_assert_cmpuint(changed->breaches, ==, 0);
    expect_amended(&story, 2);
    g_assert_cmpuint(the_lock(&story)->record->breaches, ==, 1);
    counted = record_written(&story, NULL);
    g_assert_cmpuint(counted->breaches, ==, 1);
    g_assert_cmpstr(counted->reason, ==, "AES rotation; card 05 is late");
    end(&story);
}

static void
test_extended_is_not_overdue(void)
{
    g_autoptr(ApmigLockRecord) record = NULL;
    Story story;

    hold(&story);
    pass(&story, 100 * SECOND);
    g_assert_true(the_lock(&story)->overdue);
    amend(&story, 2, APMIG_AMEND_DURATION, NULL, 3600 * SECOND);
    g_assert_true(the_lock(&story)->overdue);
    record = record_written(&story, NULL);
    expect_amended(&story, 2);
    g_assert_false(the_lock(&story)->overdue);
    /* On disk it counts from the request, so that it is the same after a restart. */
    g_assert_cmpint(record->requested_at + record->expected_duration_usec, ==,
                    STORY_REALTIME + story.now + 3600 * SECOND);
    pass(&story, 3599 * SECOND);
    g_assert_false(the_lock(&story)->overdue);
    pass(&story, SECOND);
    g_assert_true(the_lock(&story)->overdue);
    end(&story);
}

static void
test_reason_grows_as_far_as_it_may(void)
{
    g_autofree char *much = g_strnfill(APMIG_REASON_MAX_LENGTH, 'x');
    Story story;

    hold(&story);
    amend(&story, 2, APMIG_AMEND_REASON, much, 0);
    expect_error(&story, 2, APMIG_ERROR_INVALID_REASON, "270 bytes: at most 256");
    expect_none(&story, APMIG_ACTION_PERSIST_LOCK);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_AMEND,
                              .caller = 3,
                              .amend = {.id = LOCK,
                                        .what = APMIG_AMEND_REASON,
                                        .uid = 0,
                                        .user = "root",
                                        .owner_uid = 1000,
                                        .text = much,
                                        .replace = TRUE}});
    apmig_lock_record_free(record_written(&story, NULL));
    expect_amended(&story, 3);
    g_assert_cmpstr(the_lock(&story)->record->reason, ==, much);
    expect_log(&story, APMIG_LOG_LOCK_AMENDED, "by root (uid 0) from \"AES rotation\" to \"xxx");
    end(&story);
}

static void
test_changes_come_one_after_the_other(void)
{
    Story story;

    hold(&story);
    amend(&story, 2, APMIG_AMEND_OWNER, "shift ends", 0);
    amend(&story, 3, APMIG_AMEND_DURATION, NULL, SECOND); /* as cora, whose it is no longer then */
    apmig_lock_record_free(record_written(&story, NULL));
    expect_amended(&story, 2);
    expect_error(&story, 3, APMIG_ERROR_NOT_OWNER, "changed hands to dora");
    expect_none(&story, APMIG_ACTION_PERSIST_LOCK);
    end(&story);
}

/* Whoever released it was allowed to, as things were then; so whoever wants it changed waits for what comes of it. */
static void
test_change_waits_for_the_cards(void)
{
    g_autoptr(ApmigAction) reading = NULL;
    Story story;

    hold(&story);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_RELEASE, .caller = 2, .release = {LOCK}});
    reading = expect(&story, APMIG_ACTION_READ_KEYS);
    amend(&story, 3, APMIG_AMEND_OWNER, "shift ends", 0);
    expect_none(&story, APMIG_ACTION_PERSIST_LOCK);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_KEYS_READ, .keys_read = {reading->op, "no card answers"}});
    apmig_action_free(expect(&story, APMIG_ACTION_REMOVE_LOCK));
    expect_error(&story, 3, APMIG_ERROR_NO_SUCH_LOCK, "just ending");
    amend(&story, 4, APMIG_AMEND_OWNER, "shift ends", 0);
    expect_error(&story, 4, APMIG_ERROR_NO_SUCH_LOCK, "see apmigctl list");
    end(&story);
}

static void
test_who_waits_for_a_lock_keeps_it(void)
{
    Story story;

    begin_verifying(&story);
    take(&story, 1, "04.*", APMIG_ON_BUSY_UNSET, FALSE);
    apmig_lock_record_free(record_written(&story, NULL));
    amend(&story, 2, APMIG_AMEND_OWNER, "shift ends", 0);
    expect_error(&story, 2, APMIG_ERROR_BUSY, "cora still waits");
    amend(&story, 3, APMIG_AMEND_REASON, "card 05 is late", 0);
    apmig_lock_record_free(record_written(&story, NULL));
    expect_amended(&story, 3);
    end(&story);
}

static void
test_nothing_of_damage_is_changed(void)
{
    ApmigLockRecord damaged = {.id = (char *)LOCK,
                               .scope = apmig_scope_new_all(),
                               .reason = (char *)"its file is damaged",
                               .change_id = (char *)"",
                               .owner_name = (char *)"root",
                               .origin = APMIG_LOCK_RECOVERED};
    g_autoptr(GPtrArray) locks = g_ptr_array_new();
    g_autoptr(GPtrArray) admissions = g_ptr_array_new();
    Story story = {.now = SECOND};

    g_ptr_array_add(locks, &damaged);
    story.policy = apmig_policy_new_default();
    story.engine = apmig_engine_new(story.policy, "5708");
    story.actions = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_action_free);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_STORE_LOADED, .store_loaded = {locks, admissions}});
    amend(&story, 2, APMIG_AMEND_OWNER, "shift ends", 0);
    expect_error(&story, 2, APMIG_ERROR_STATE_FAILURE, "apmigctl unlock --force aaaaaaaa");
    expect_none(&story, APMIG_ACTION_PERSIST_LOCK);
    apmig_scope_unref(damaged.scope);
    end(&story);
}

/* --- may the keys be changed? ----------------------------------------------------------------------- */

static void
check(Story *story, ApmigCaller caller)
{
    tell(story, (ApmigEvent){.type = APMIG_EVENT_CHECK, .caller = caller, .check = {LOCK, 10 * SECOND}});
}

static void
expect_verdict(Story *story, ApmigCaller caller, gboolean ready, const char *part)
{
    g_autoptr(ApmigAction) reply = expect(story, APMIG_ACTION_REPLY_VERDICT);

    g_assert_cmpuint(reply->reply.caller, ==, caller);
    g_assert_cmpint(reply->reply.allowed, ==, ready);
    assert_says(reply->reply.message, part);
}

static void
test_go_rests_on_a_reading_of_its_own(void)
{
    g_autoptr(ApmigAction) reply = NULL;
    Story story;

    hold(&story);
    pass(&story, 6 * SECOND); /* the reading of every so often is under way */
    check(&story, 2);
    listed(&story);
    answered(&story, APMIG_JOB_NONE, FALSE); /* asked before */
    expect_none(&story, APMIG_ACTION_REPLY_VERDICT);
    listed(&story);
    expect_none(&story, APMIG_ACTION_REPLY_VERDICT);
    story.now += SECOND;
    answered(&story, APMIG_JOB_NONE, FALSE);
    reply = expect(&story, APMIG_ACTION_REPLY_VERDICT);
    g_assert_true(reply->reply.allowed);
    g_assert_cmpstr(reply->reply.message, ==, "");
    g_assert_cmpint(reply->reply.read_at, ==, STORY_REALTIME + story.now - SECOND);
    end(&story);
}

static void
test_no_go_names_what_it_found(void)
{
    Story story;

    hold(&story);
    check(&story, 2);
    listed(&story);
    answered(&story, APMIG_JOB_OUTGOING, FALSE);
    expect_verdict(&story, 2, FALSE, "lock aaaaaaaa is breached: guest 'g1' is migrating out");
    end(&story);
}

/* Nothing is in progress, and yet: what begins could not be ended. */
static void
test_no_go_without_steps(void)
{
    Story story;

    hold(&story);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_STEPS_CHANGED, .steps = {"nobody listens"}});
    check(&story, 2);
    listed(&story);
    answered(&story, APMIG_JOB_NONE, FALSE);
    expect_verdict(&story, 2, FALSE, "a migration that began now could not be ended: nobody listens");
    g_assert_cmpstr(apmig_lock_state_to_string(the_lock(&story)), ==, "held");
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_STEPS_CHANGED});
    check(&story, 3);
    listed(&story);
    answered(&story, APMIG_JOB_NONE, FALSE);
    expect_verdict(&story, 3, TRUE, "");
    end(&story);
}

static void
test_silence_proves_nothing(void)
{
    Story story;

    hold(&story);
    check(&story, 2);
    check(&story, 3);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_CALLER_GONE, .caller = 3});
    listed(&story);
    pass(&story, 9 * SECOND);
    expect_none(&story, APMIG_ACTION_REPLY_ERROR);
    pass(&story, SECOND);
    expect_error(
        &story, 2, APMIG_ERROR_HYPERVISOR_UNAVAILABLE,
        "has not told the job state of guest 'g1'; see whether its QEMU answers, with: virsh domjobinfo");
    expect_none(&story, APMIG_ACTION_REPLY_ERROR);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_LOST, .view_lost = {"libvirtd was stopped"}});
    check(&story, 4);
    pass(&story, 10 * SECOND);
    expect_verdict(&story, 4, FALSE,
                   "aaaaaaaa is not proven: the hypervisor is not reachable: libvirtd was stopped");
    end(&story);
}

static void
test_lock_that_ends_is_no_lock(void)
{
    Story story;

    hold(&story);
    check(&story, 2);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_RELEASE, .caller = 3, .release = {LOCK, TRUE}});
    listed(&story);
    answered(&story, APMIG_JOB_NONE, FALSE);
    expect_verdict(&story, 2, FALSE, "release of lock aaaaaaaa is under way");
    check(&story, 4);
    g_autoptr(ApmigAction) removal = expect(&story, APMIG_ACTION_REMOVE_LOCK);

    tell(&story, (ApmigEvent){.type = APMIG_EVENT_LOCK_REMOVED, .persisted = {removal->op}});
    expect_error(&story, 4, APMIG_ERROR_NO_SUCH_LOCK, "there is no lock aaaaaaaa");
    end(&story);
}

/* --- rehearsals ------------------------------------------------------------------------------------- */

/* The rehearsal of a lock that g1's migration meets. Returns: (transfer full): its answer. */
static ApmigAction *
rehearse(Story *story, ApmigOnBusy on_busy, ApmigJob job, gboolean postcopy)
{
    begin_verifying(story);
    take(story, 2, "04.*", on_busy, TRUE);
    listed(story);
    answered(story, job, postcopy);
    expect_none(story, APMIG_ACTION_PERSIST_LOCK);
    expect_none(story, APMIG_ACTION_RUN_STEP);
    g_assert_null(apmig_engine_lookup_lock(story->engine, LOCK));
    return expect(story, APMIG_ACTION_REPLY_VERDICT);
}

static const ApmigRehearsed *
the_finding(const ApmigAction *reply)
{
    g_assert_cmpuint(reply->reply.findings->len, ==, 1);
    return g_ptr_array_index(reply->reply.findings, 0);
}

static void
test_rehearsal_tells_the_steps_and_takes_none(void)
{
    g_autoptr(ApmigScope) scope = apmig_scope_parse("04.0012", NULL);
    Story story;
    g_autoptr(ApmigAction) reply = rehearse(&story, APMIG_ON_BUSY_ABORT, APMIG_JOB_OUTGOING, FALSE);
    const ApmigRehearsed *finding = the_finding(reply);

    g_assert_true(reply->reply.allowed);
    g_assert_cmpstr(finding->guest, ==, "g1");
    g_assert_true(finding->outgoing);
    g_assert_cmpstr(apmig_treatment_to_string(finding->treatment), ==, "end");
    g_assert_cmpuint(finding->n_steps, ==, 2); /* not kill-incoming */
    g_assert_cmpint(finding->steps[0], ==, APMIG_STEP_LIBVIRT_ABORT);
    g_assert_cmpint(finding->steps[1], ==, APMIG_STEP_VFIO_STATE);
    /* The gate is open, and the migration goes on. */
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_ADMIT,
                              .caller = 3,
                              .admit = {.uuid = "22222222-2222-4222-8222-222222222222",
                                        .name = "g2",
                                        .restore = TRUE,
                                        .facts = {APMIG_AFFECTED_YES, scope}}});
    g_autoptr(ApmigAction) admitted = expect(&story, APMIG_ACTION_REPLY_ADMIT);

    g_assert_true(admitted->reply.allowed);
    pass(&story, 60 * SECOND);
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    end(&story);
}

static void
test_rehearsal_of_what_cannot_be_ended(void)
{
    Story story;
    g_autoptr(ApmigAction) reply = rehearse(&story, APMIG_ON_BUSY_ABORT, APMIG_JOB_OUTGOING, TRUE);

    g_assert_true(reply->reply.allowed);
    g_assert_cmpstr(apmig_treatment_to_string(the_finding(reply)->treatment), ==, "wait");
    assert_says(the_finding(reply)->why, "post-copy");
    end(&story);
}

static void
test_rehearsal_heeds_on_busy(void)
{
    Story refused, waiting, idle;
    g_autoptr(ApmigAction) refusal = rehearse(&refused, APMIG_ON_BUSY_REFUSE, APMIG_JOB_OUTGOING, FALSE);
    g_autoptr(ApmigAction) wait = rehearse(&waiting, APMIG_ON_BUSY_WAIT, APMIG_JOB_OUTGOING, FALSE);
    g_autoptr(ApmigAction) nothing = rehearse(&idle, APMIG_ON_BUSY_REFUSE, APMIG_JOB_NONE, FALSE);

    g_assert_false(refusal->reply.allowed);
    assert_says(refusal->reply.message, "a migration is in progress");
    g_assert_cmpstr(apmig_treatment_to_string(the_finding(refusal)->treatment), ==, "refuse");
    g_assert_true(wait->reply.allowed);
    g_assert_cmpstr(apmig_treatment_to_string(the_finding(wait)->treatment), ==, "wait");
    g_assert_true(nothing->reply.allowed);
    g_assert_cmpuint(nothing->reply.findings->len, ==, 0);
    /* And then nothing is asked any more, as without a lock. */
    g_assert_cmpint(apmig_engine_next_deadline(idle.engine), ==, G_MAXINT64);
    end(&refused);
    end(&waiting);
    end(&idle);
}

static void
test_rehearsal_is_refused_as_a_request_would_be(void)
{
    Story story;

    hold(&story);
    take(&story, 2, "04.0012", APMIG_ON_BUSY_UNSET, TRUE);
    expect_error(&story, 2, APMIG_ERROR_LOCKED, "cora");
    end(&story);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/engine-requests/take-over", test_take_over_is_durable_before_the_answer);
    g_test_add_func("/engine-requests/write-fails", test_change_that_cannot_be_written_is_none);
    g_test_add_func("/engine-requests/breach-meanwhile", test_breach_while_a_change_is_written_is_kept);
    g_test_add_func("/engine-requests/extend", test_extended_is_not_overdue);
    g_test_add_func("/engine-requests/annotate", test_reason_grows_as_far_as_it_may);
    g_test_add_func("/engine-requests/one-after-the-other", test_changes_come_one_after_the_other);
    g_test_add_func("/engine-requests/waits-for-the-cards", test_change_waits_for_the_cards);
    g_test_add_func("/engine-requests/requester-waits", test_who_waits_for_a_lock_keeps_it);
    g_test_add_func("/engine-requests/damage", test_nothing_of_damage_is_changed);
    g_test_add_func("/engine-requests/go", test_go_rests_on_a_reading_of_its_own);
    g_test_add_func("/engine-requests/no-go", test_no_go_names_what_it_found);
    g_test_add_func("/engine-requests/no-go-without-steps", test_no_go_without_steps);
    g_test_add_func("/engine-requests/silence", test_silence_proves_nothing);
    g_test_add_func("/engine-requests/lock-that-ends", test_lock_that_ends_is_no_lock);
    g_test_add_func("/engine-requests/rehearsal", test_rehearsal_tells_the_steps_and_takes_none);
    g_test_add_func("/engine-requests/rehearsal-post-copy", test_rehearsal_of_what_cannot_be_ended);
    g_test_add_func("/engine-requests/rehearsal-on-busy", test_rehearsal_heeds_on_busy);
    g_test_add_func("/engine-requests/rehearsal-refused", test_rehearsal_is_refused_as_a_request_would_be);
    return g_test_run();
}
