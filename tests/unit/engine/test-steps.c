/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The steps that end a migration: their order, their repetition, their records. */
#include "engine/stories.h"

#include <string.h>

#define D1 "aaaaaaaa-0000-4000-8000-000000000001"

static const char *const devices[] = {D1, NULL};

static void
answered_with_device(Story *story, ApmigJob job, const char *scope_text)
{
    g_autoptr(ApmigAction) action = expect(story, APMIG_ACTION_QUERY_GUEST);
    g_autoptr(ApmigScope) scope = apmig_scope_parse(scope_text, NULL);

    tell(story, (ApmigEvent){.type = APMIG_EVENT_GUEST_ANSWERED,
                             .answered = {.token = action->query.token,
                                          .uuid = action->query.uuid,
                                          .job = job,
                                          .facts_read = job != APMIG_JOB_INCOMING,
                                          .facts = {APMIG_AFFECTED_YES, scope, devices}}});
}

static void
answer_without_facts(Story *story, ApmigJob job)
{
    g_autoptr(ApmigAction) action = expect(story, APMIG_ACTION_QUERY_GUEST);

    tell(story,
         (ApmigEvent){.type = APMIG_EVENT_GUEST_ANSWERED,
                      .answered = {.token = action->query.token, .uuid = action->query.uuid, .job = job}});
}

static void
admit_with_device(Story *story, const char *device, const char *scope_text)
{
    const char *const its_devices[] = {device, NULL};
    g_autoptr(ApmigScope) scope = apmig_scope_parse(scope_text, NULL);

    tell(story, (ApmigEvent){
                    .type = APMIG_EVENT_ADMIT,
                    .caller = 2,
                    .admit = {.uuid = G1, .name = "g1", .facts = {APMIG_AFFECTED_YES, scope, its_devices}}});
    written(story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
}

#define QEMU 4711 /* what the helper calls it */

/* The helper has found its process. */
static void
finished_on(Story *story, guint64 op, ApmigStepOutcome outcome, guint64 qemu, gboolean state_is_vain)
{
    tell(story, (ApmigEvent){.type = APMIG_EVENT_STEP_FINISHED,
                             .step = {op, outcome, "so it was", qemu, state_is_vain}});
}

/* Returns: its number. */
static guint64
expect_step(Story *story, ApmigStep step, gboolean outgoing)
{
    g_autoptr(ApmigAction) action = expect(story, APMIG_ACTION_RUN_STEP);

    g_assert_cmpstr(apmig_step_to_string(action->step.kind), ==, apmig_step_to_string(step));
    g_assert_cmpint(action->step.outgoing, ==, outgoing);
    g_assert_cmpstr(action->step.uuid, ==, G1);
    g_assert_cmpstr(action->step.guest, ==, "g1");
    g_assert_cmpstr(action->step.migration_id, ==, "5708_1");
    g_assert_cmpstr(action->step.device, ==, D1);
    return action->op;
}

static void
finished(Story *story, guint64 op, ApmigStepOutcome outcome)
{
    finished_on(story, op, outcome, QEMU, FALSE);
}

/* Libvirt says once more that the guest comes in. */
static void
still_comes_in(Story *story)
{
    answered(story, APMIG_JOB_INCOMING, NULL);
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

/* ------------------------------------------------------------------------------------------------- */

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

/* It is libvirt's job that lasts: the guest is at rest. */
static void
test_deadline_tells_of_a_job_that_lingers(void)
{
    const ApmigStepOutcome outcomes[] = {APMIG_STEP_REQUESTED, APMIG_STEP_FAILED};

    for (guint i = 0; i < G_N_ELEMENTS(outcomes); i++) {
        Story story;

        begin(&story);
        open_view(&story);
        take(&story, 1, "aaaaaaaa", "all", APMIG_ON_BUSY_ABORT, FALSE);
        written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
        listed(&story, 1);
        answered_with_device(&story, APMIG_JOB_OUTGOING, "04.0012");
        finished(&story, expect_step(&story, APMIG_STEP_LIBVIRT_ABORT, TRUE), outcomes[i]);
        pass(&story, story.policy->request_timeout_usec);
        written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
        g_autoptr(ApmigAction) reply = expect(&story, APMIG_ACTION_REPLY_ERROR);

        g_assert_cmpint(reply->reply.code, ==, APMIG_ERROR_TIMEOUT);
        g_assert_nonnull(strstr(reply->reply.message, "guest 'g1' is migrating out"));
        g_assert_cmpint(strstr(reply->reply.message, "keeps such a job for 30 s more: ask again then") !=
                            NULL,
                        ==, outcomes[i] == APMIG_STEP_REQUESTED);
        end(&story);
    }
}

static void
test_incoming_is_fenced_at_once_and_killed_when_that_is_late(void)
{
    Story story;

    begin(&story);
    load(&story, NULL, NULL);
    come_in_with_device(&story, "04.*", APMIG_ON_BUSY_ABORT);
    finished(&story, expect_step(&story, APMIG_STEP_VFIO_STATE, FALSE), APMIG_STEP_REQUESTED);
    still_comes_in(&story);
    pass(&story, 2 * G_USEC_PER_SEC - 1);
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    pass(&story, 1);
    finished(&story, expect_step(&story, APMIG_STEP_KILL_INCOMING, FALSE), APMIG_STEP_REQUESTED);
    expect_none(&story, APMIG_ACTION_RUN_STEP); /* a fence stays */
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_GUEST_NEWS, .news = {G1, NULL, APMIG_NEWS_STOPPED}});
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
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    still_comes_in(&story);
    expect_step(&story, APMIG_STEP_KILL_INCOMING, FALSE);
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    end(&story);
}

/* The state is no means there: the kill is the first step, as soon as it is known whom it would hit. */
static void
test_incoming_on_vfio_ap_is_killed_at_once(void)
{
    Story story;

    begin(&story);
    load(&story, NULL, NULL);
    come_in_with_device(&story, "all", APMIG_ON_BUSY_ABORT);
    finished_on(&story, expect_step(&story, APMIG_STEP_VFIO_STATE, FALSE), APMIG_STEP_NOTHING_TO_DO, QEMU,
                TRUE);
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    still_comes_in(&story);
    g_autoptr(ApmigAction) kill = expect(&story, APMIG_ACTION_RUN_STEP);

    g_assert_cmpint(kill->step.kind, ==, APMIG_STEP_KILL_INCOMING);
    g_assert_cmpuint(kill->step.qemu, ==, QEMU);
    end(&story);
}

/* A restore's QEMU is started in the same way. Whoever comes to be there later is looked at anew. */
static void
test_nobody_is_killed_unasked(void)
{
    guint64 op;
    Story story;

    begin(&story);
    load(&story, NULL, NULL);
    come_in_with_device(&story, "all", APMIG_ON_BUSY_ABORT);
    finished_on(&story, expect_step(&story, APMIG_STEP_VFIO_STATE, FALSE), APMIG_STEP_NOTHING_TO_DO, QEMU,
                TRUE);
    pass(&story, 5 * G_USEC_PER_SEC);
    expect_none(&story, APMIG_ACTION_RUN_STEP); /* libvirt says nothing */
    still_comes_in(&story);
    op = expect_step(&story, APMIG_STEP_KILL_INCOMING, FALSE);
    finished_on(&story, op, APMIG_STEP_FAILED, 0, FALSE); /* it is another process now */
    finished_on(&story, expect_step(&story, APMIG_STEP_VFIO_STATE, FALSE), APMIG_STEP_NOTHING_TO_DO, QEMU + 1,
                TRUE);
    pass(&story, G_USEC_PER_SEC);
    still_comes_in(&story); /* asked before that */
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    still_comes_in(&story);
    expect_step(&story, APMIG_STEP_KILL_INCOMING, FALSE);
    end(&story);
}

static void
test_policy_orders_the_steps(void)
{
    ApmigPolicy *policy = apmig_policy_new_default();
    Story story;

    policy->stamp = APMIG_STAMP_OFF;
    policy->steps[0] = (ApmigPolicyStep){APMIG_STEP_KILL_INCOMING, 3 * G_USEC_PER_SEC};
    policy->steps[1] = (ApmigPolicyStep){APMIG_STEP_VFIO_STATE, 2 * G_USEC_PER_SEC};
    policy->n_steps = 2;
    begin_with(&story, policy);
    load(&story, NULL, NULL);
    come_in_with_device(&story, "all", APMIG_ON_BUSY_ABORT);
    finished(&story, expect_step(&story, APMIG_STEP_KILL_INCOMING, FALSE), APMIG_STEP_RUNNING);
    still_comes_in(&story);
    finished(&story, expect_step(&story, APMIG_STEP_KILL_INCOMING, FALSE), APMIG_STEP_REQUESTED);
    pass(&story, 3 * G_USEC_PER_SEC - 1);
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    pass(&story, 1);
    expect_step(&story, APMIG_STEP_KILL_INCOMING, FALSE);
    expect_step(&story, APMIG_STEP_VFIO_STATE, FALSE);
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
    still_comes_in(&story);
    pass(&story, 2 * G_USEC_PER_SEC);
    fence_op = expect_step(&story, APMIG_STEP_VFIO_STATE, FALSE);
    finished(&story, expect_step(&story, APMIG_STEP_KILL_INCOMING, FALSE), APMIG_STEP_NOTHING_TO_DO);
    finished(&story, fence_op, APMIG_STEP_NOTHING_TO_DO);
    pass(&story, G_USEC_PER_SEC / 2);
    fence_op = expect_step(&story, APMIG_STEP_VFIO_STATE, FALSE);
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

/* The helper is still busy with the QEMU of an attempt for which the lock is gone; the next one has one of its own, and
 * nothing was done to that yet. */
static void
test_kill_awaits_the_fence_of_its_own_qemu(void)
{
    guint64 earlier;
    Story story;

    begin(&story);
    load(&story, NULL, NULL);
    come_in_with_device(&story, "all", APMIG_ON_BUSY_ABORT);
    earlier = expect_step(&story, APMIG_STEP_VFIO_STATE, FALSE);
    release(&story, 3, "aaaaaaaa", FALSE);
    written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
    pass(&story, 3 * G_USEC_PER_SEC);
    admit_with_device(&story, D1, "04.0012");
    take(&story, 1, "bbbbbbbb", "all", APMIG_ON_BUSY_ABORT, TRUE);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    answer_all(&story, APMIG_JOB_INCOMING);
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    finished(&story, earlier, APMIG_STEP_REQUESTED);
    finished(&story, expect_step(&story, APMIG_STEP_VFIO_STATE, FALSE), APMIG_STEP_REQUESTED);
    answer_all(&story, APMIG_JOB_INCOMING);
    pass(&story, 2 * G_USEC_PER_SEC - 1);
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    pass(&story, 1);
    expect_step(&story, APMIG_STEP_KILL_INCOMING, FALSE);
    end(&story);
}

/* What a step finds of the QEMU of the first attempt says nothing of that of the second. */
static void
test_incoming_by_another_qemu(void)
{
    guint64 op;
    Story story;

    begin(&story);
    load(&story, NULL, NULL);
    come_in_with_device(&story, "04.*", APMIG_ON_BUSY_ABORT);
    op = expect_step(&story, APMIG_STEP_VFIO_STATE, FALSE);
    release(&story, 8, "aaaaaaaa", TRUE);
    written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
    news(&story, APMIG_NEWS_STOPPED_LOST);
    while (answer_list(&story, NULL, 0))
        ;
    admit_with_device(&story, D1, "04.0012");
    take(&story, 3, "bbbbbbbb", "04.*", APMIG_ON_BUSY_ABORT, TRUE);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    news(&story, APMIG_NEWS_ARRIVING);
    listed(&story, 1);
    answered(&story, APMIG_JOB_INCOMING, NULL);
    expect_none(&story, APMIG_ACTION_RUN_STEP); /* one at a time */
    finished(&story, op, APMIG_STEP_NOT_ABORTABLE);
    expect_step(&story, APMIG_STEP_VFIO_STATE, FALSE);
    end(&story);
}

/* That the first attempt was seen coming in says nothing of the QEMU of the second. */
static void
test_incoming_that_an_event_alone_shows(void)
{
    Story story;

    begin(&story);
    open_view(&story);
    admit_with_device(&story, D1, "04.0012");
    news(&story, APMIG_NEWS_ARRIVING);
    listed(&story, 1);
    answered(&story, APMIG_JOB_INCOMING, NULL);
    news(&story, APMIG_NEWS_STOPPED_LOST);
    admit_with_device(&story, D1, "04.0012");
    news(&story, APMIG_NEWS_ARRIVING);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_LOST, .view_lost = {"it broke"}});
    g_ptr_array_set_size(story.actions, 0);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    take(&story, 1, "aaaaaaaa", "04.*", APMIG_ON_BUSY_ABORT, FALSE);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    listed(&story, 1);
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    answered(&story, APMIG_JOB_INCOMING, NULL);
    apmig_action_free(expect(&story, APMIG_ACTION_RUN_STEP));
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
    expect_step(&story, APMIG_STEP_VFIO_STATE, TRUE); /* it may have been installed meanwhile */
    abort_op = expect_step(&story, APMIG_STEP_LIBVIRT_ABORT, TRUE);
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

/* What it has is told before its job, which may be over by now. */
static void
test_source_is_left_alone_until_its_job_is_told(void)
{
    g_autoptr(ApmigScope) scope = apmig_scope_parse("04-05.0012", NULL);
    g_autoptr(ApmigAction) question = NULL;
    Story story;

    begin(&story);
    leave(&story);
    finished(&story, expect_step(&story, APMIG_STEP_LIBVIRT_ABORT, TRUE), APMIG_STEP_REQUESTED);
    finished(&story, expect_step(&story, APMIG_STEP_VFIO_STATE, TRUE), APMIG_STEP_NOTHING_TO_DO);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_LOST, .view_lost = {"libvirtd is not running"}});
    g_ptr_array_set_size(story.actions, 0);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    listed(&story, 1);
    question = expect(&story, APMIG_ACTION_QUERY_GUEST);
    tell(&story,
         (ApmigEvent){.type = APMIG_EVENT_FACTS_READ,
                      .facts_read = {question->query.token, G1, {APMIG_AFFECTED_YES, scope, devices}}});
    pass(&story, 10 * G_USEC_PER_SEC);
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    g_assert_cmpstr(apmig_scope_to_string(apmig_engine_lookup_migration(story.engine, "5708_1")->scope), ==,
                    "04.0012");
    tell(&story,
         (ApmigEvent){.type = APMIG_EVENT_GUEST_ANSWERED,
                      .answered = {.token = question->query.token, .uuid = G1, .job = APMIG_JOB_OUTGOING}});
    apmig_action_free(expect(&story, APMIG_ACTION_RUN_STEP));
    end(&story);
}

static void
tell_facts(Story *story, ApmigAffected affected, const char *scope_text)
{
    g_autoptr(ApmigAction) question = expect(story, APMIG_ACTION_QUERY_GUEST);
    g_autoptr(ApmigScope) scope = scope_text ? apmig_scope_parse(scope_text, NULL) : NULL;

    tell(story, (ApmigEvent){.type = APMIG_EVENT_FACTS_READ,
                             .facts_read = {question->query.token, G1, {affected, scope, devices}}});
}

/* It was seen before it was known what it has: it counted as one of every scope. */
static void
test_source_turns_out_to_have_other_queues(void)
{
    Story story;

    for (guint i = 0; i < 2; i++) {
        begin(&story);
        open_view(&story);
        take(&story, 1, "aaaaaaaa", "04.*", APMIG_ON_BUSY_ABORT, TRUE);
        written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
        listed(&story, 1);
        answer_without_facts(&story, APMIG_JOB_OUTGOING);
        pass(&story, story.policy->draining_interval_usec);
        expect_none(&story, APMIG_ACTION_RUN_STEP);
        tell_facts(&story, i == 0 ? APMIG_AFFECTED_YES : APMIG_AFFECTED_NO, i == 0 ? "05.0013" : NULL);
        pass(&story, 10 * G_USEC_PER_SEC);
        expect_none(&story, APMIG_ACTION_RUN_STEP);
        g_assert_cmpstr(apmig_engine_lookup_migration(story.engine, "5708_1")->result, ==,
                        i == 0 ? "" : "unaffected");
        end(&story);
    }
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

/* The migration may end before what ends it has answered: it is told then. */
static void
test_step_outlives_its_migration(void)
{
    const ApmigMigration *migration;
    guint64 abort_op, fence_op;
    Story story;

    begin(&story);
    leave(&story);
    abort_op = expect_step(&story, APMIG_STEP_LIBVIRT_ABORT, TRUE);
    fence_op = expect_step(&story, APMIG_STEP_VFIO_STATE, TRUE);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {G1, NULL}});
    answered(&story, APMIG_JOB_NONE, "04.0012");
    migration = apmig_engine_lookup_migration(story.engine, "5708_1");
    g_assert_cmpint(migration->phase, ==, APMIG_MIGRATION_ENDED);
    g_assert_cmpint(((ApmigStepRecord *)g_ptr_array_index(migration->steps, 1))->outcome, ==,
                    APMIG_STEP_RUNNING);
    g_ptr_array_set_size(story.actions, 0);

    finished(&story, fence_op, APMIG_STEP_REQUESTED);
    g_assert_cmpint(((ApmigStepRecord *)g_ptr_array_index(migration->steps, 1))->outcome, ==,
                    APMIG_STEP_REQUESTED);
    apmig_action_free(expect(&story, APMIG_ACTION_PUBLISH_MIGRATION));
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_LOST, .view_lost = {"gone"}});
    g_assert_cmpint(((ApmigStepRecord *)g_ptr_array_index(migration->steps, 0))->outcome, ==,
                    APMIG_STEP_FAILED);
    apmig_action_free(expect(&story, APMIG_ACTION_PUBLISH_MIGRATION));
    finished(&story, abort_op, APMIG_STEP_REQUESTED); /* it is known how it came out */
    g_assert_cmpint(((ApmigStepRecord *)g_ptr_array_index(migration->steps, 0))->outcome, ==,
                    APMIG_STEP_FAILED);
    end(&story);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/engine/side-by-side", test_source_is_aborted_and_fenced_side_by_side);
    g_test_add_func("/engine/lingering-job", test_deadline_tells_of_a_job_that_lingers);
    g_test_add_func("/engine/incoming-fenced-then-killed",
                    test_incoming_is_fenced_at_once_and_killed_when_that_is_late);
    g_test_add_func("/engine/incoming-killed-when-refused",
                    test_incoming_is_killed_when_the_fence_is_refused);
    g_test_add_func("/engine/incoming-on-vfio-ap", test_incoming_on_vfio_ap_is_killed_at_once);
    g_test_add_func("/engine/nobody-killed-unasked", test_nobody_is_killed_unasked);
    g_test_add_func("/engine/policy-orders-steps", test_policy_orders_the_steps);
    g_test_add_func("/engine/incoming-kill-too-early",
                    test_incoming_is_fenced_although_a_kill_came_too_early);
    g_test_add_func("/engine/incoming-left-alone", test_incoming_is_left_alone);
    g_test_add_func("/engine/incoming-of-two-attempts", test_incoming_of_two_attempts);
    g_test_add_func("/engine/kill-awaits-its-own-fence", test_kill_awaits_the_fence_of_its_own_qemu);
    g_test_add_func("/engine/incoming-by-another-qemu", test_incoming_by_another_qemu);
    g_test_add_func("/engine/source-of-other-queues", test_source_turns_out_to_have_other_queues);
    g_test_add_func("/engine/source-before-its-job-is-told", test_source_is_left_alone_until_its_job_is_told);
    g_test_add_func("/engine/incoming-by-an-event-alone", test_incoming_that_an_event_alone_shows);
    g_test_add_func("/engine/missing-helper", test_missing_helper_does_not_stop_the_abort);
    g_test_add_func("/engine/fenced-without-libvirt", test_source_is_fenced_without_libvirt);
    g_test_add_func("/engine/step-records", test_records_are_merged_and_bounded);
    g_test_add_func("/engine/step-outlives-its-migration", test_step_outlives_its_migration);
    return g_test_run();
}
