/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guests without crypto on their way in: what the hook told of them is all that is known, for a while, and for the next run. */
#include "engine/stories.h"

/* What is on its way in is waited for by every lock. */
static void
expect_unknown(Story *story)
{
    g_autoptr(GPtrArray) migrations = apmig_engine_list_migrations(story->engine);

    g_assert_cmpuint(migrations->len, ==, 1);
    g_assert_false(((const ApmigMigration *)g_ptr_array_index(migrations, 0))->scope_known);
}

static void
expect_unaffected(Story *story)
{
    g_autoptr(GPtrArray) migrations = apmig_engine_list_migrations(story->engine);

    g_assert_cmpuint(migrations->len, ==, 0);
}

static void
test_it_blocks_no_lock(void)
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

/* The one that was let in may have come and gone: who comes in now may be another. */
static void
test_not_believed_over_a_gap(void)
{
    Story story;

    begin(&story);
    open_view(&story);
    admit(&story, 2, G1, NULL, FALSE);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_LOST, .view_lost = {"it broke"}});
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    take(&story, 1, "aaaaaaaa", "all", APMIG_ON_BUSY_UNSET, FALSE);
    live(&story, 2 * G_USEC_PER_SEC, APMIG_JOB_INCOMING);
    expect_state(&story, "aaaaaaaa", "draining");
    end(&story);
}

/* What comes by that UUID later, by another way than the hook, may be anything. */
static void
test_not_believed_for_ever(void)
{
    Story story;

    begin(&story);
    open_view(&story);
    admit(&story, 2, G1, NULL, FALSE);
    pass(&story, 61 * G_USEC_PER_SEC);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {G1, NULL}});
    listed(&story, 1);
    answered(&story, APMIG_JOB_INCOMING, NULL);
    expect_unknown(&story);
    end(&story);
}

/* --- in the runtime folder ------------------------------------------------------------------------ */

/* Returns: (transfer full): its file as the engine has it written, and as the next run finds it. */
static ApmigAction *
expect_file(Story *story)
{
    ApmigAction *action = expect(story, APMIG_ACTION_PERSIST_ADMISSION);

    g_assert_true(action->admission->unaffected);
    g_assert_true(apmig_scope_is_none(action->admission->scope));
    return action;
}

/* A run that finds what the one before had written, some time ago. */
static void
begin_next(Story *story, gint64 ago)
{
    g_autoptr(ApmigAction) file = NULL;

    begin(story);
    open_view(story);
    admit(story, 2, G1, NULL, FALSE);
    file = expect_file(story);
    end(story);

    begin(story);
    story->now = ago;
    file->admission->admitted_at = 0;
    load(story, NULL, file->admission);
}

static void
test_known_to_the_next_run(void)
{
    Story story;

    begin_next(&story, 30 * G_USEC_PER_SEC);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    take(&story, 1, "aaaaaaaa", "all", APMIG_ON_BUSY_UNSET, FALSE);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    live(&story, 2 * G_USEC_PER_SEC, APMIG_JOB_INCOMING);
    expect_unaffected(&story);
    expect_state(&story, "aaaaaaaa", "held");
    end(&story);
}

/* As by the run that was told. */
static void
test_not_believed_for_ever_by_the_next_run(void)
{
    Story story;

    begin_next(&story, 61 * G_USEC_PER_SEC);
    apmig_action_free(expect(&story, APMIG_ACTION_REMOVE_ADMISSION));
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    take(&story, 1, "aaaaaaaa", "all", APMIG_ON_BUSY_UNSET, FALSE);
    live(&story, 2 * G_USEC_PER_SEC, APMIG_JOB_INCOMING);
    expect_unknown(&story);
    end(&story);
}

static void
test_not_believed_over_a_gap_of_the_next_run(void)
{
    Story story;

    begin_next(&story, G_USEC_PER_SEC);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_LOST, .view_lost = {"it broke"}});
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    apmig_action_free(expect(&story, APMIG_ACTION_REMOVE_ADMISSION));
    take(&story, 1, "aaaaaaaa", "all", APMIG_ON_BUSY_UNSET, FALSE);
    live(&story, 2 * G_USEC_PER_SEC, APMIG_JOB_INCOMING);
    expect_unknown(&story);
    end(&story);
}

/* It has come, it has stopped, it has not come in time, or another of its UUID was asked for. */
static void
test_its_file_goes(void)
{
    Story story;

    begin(&story);
    open_view(&story);
    admit(&story, 2, G1, NULL, FALSE);
    apmig_action_free(expect_file(&story));
    expect_none(&story, APMIG_ACTION_REMOVE_ADMISSION);
    news(&story, APMIG_NEWS_STOPPED);
    apmig_action_free(expect(&story, APMIG_ACTION_REMOVE_ADMISSION));

    admit(&story, 2, G1, NULL, FALSE);
    apmig_action_free(expect_file(&story));
    pass(&story, 60 * G_USEC_PER_SEC);
    expect_none(&story, APMIG_ACTION_REMOVE_ADMISSION);
    pass(&story, G_USEC_PER_SEC);
    apmig_action_free(expect(&story, APMIG_ACTION_REMOVE_ADMISSION));

    admit(&story, 2, G1, NULL, FALSE);
    apmig_action_free(expect_file(&story));
    admit(&story, 3, G1, "04.0012", FALSE);
    apmig_action_free(expect(&story, APMIG_ACTION_REMOVE_ADMISSION));
    written(&story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
    end(&story);
}

/* An affected one of that UUID was let in just before, and may be the one that comes: the next run waits for it. */
static void
test_its_file_takes_no_admissions_place(void)
{
    Story story;

    begin(&story);
    open_view(&story);
    admit(&story, 3, G1, "04.0012", FALSE);
    written(&story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
    admit(&story, 2, G1, NULL, FALSE);
    expect_none(&story, APMIG_ACTION_PERSIST_ADMISSION);
    expect_none(&story, APMIG_ACTION_REMOVE_ADMISSION);
    end(&story);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/engine/unaffected/blocks-no-lock", test_it_blocks_no_lock);
    g_test_add_func("/engine/unaffected/gap", test_not_believed_over_a_gap);
    g_test_add_func("/engine/unaffected/for-ever", test_not_believed_for_ever);
    g_test_add_func("/engine/unaffected/next-run", test_known_to_the_next_run);
    g_test_add_func("/engine/unaffected/next-run-for-ever", test_not_believed_for_ever_by_the_next_run);
    g_test_add_func("/engine/unaffected/next-run-gap", test_not_believed_over_a_gap_of_the_next_run);
    g_test_add_func("/engine/unaffected/file-goes", test_its_file_goes);
    g_test_add_func("/engine/unaffected/no-admissions-place", test_its_file_takes_no_admissions_place);
    return g_test_run();
}
