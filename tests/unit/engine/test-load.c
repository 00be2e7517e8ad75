/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What was on disk, and what becomes of it after a restart. */
#include "engine/stories.h"

static void
test_nothing_is_admitted_before_the_store_is_loaded(void)
{
    Story story;

    begin(&story);
    admit(&story, 2, G1, "04.0012", FALSE);
    expect_admit(&story, FALSE, "not read");
    end(&story);
}

/* What concerns no lock waits for none. An admission of the same UUID that is found on disk later is left alone: it may be
 * another attempt's. */
static void
test_unaffected_before_the_store_is_loaded(void)
{
    g_autoptr(ApmigScope) scope = apmig_scope_new_all();
    g_autoptr(GPtrArray) migrations = NULL;
    char *devices[] = {(char *)G2, NULL};
    ApmigAdmission admission = {(char *)G1, (char *)"g1", scope, devices, G_USEC_PER_SEC};
    Story story;

    begin(&story);
    admit(&story, 2, G1, NULL, FALSE);
    expect_admit(&story, TRUE, "");
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED}); /* forgets who is expected */
    load(&story, NULL, &admission);
    migrations = apmig_engine_list_migrations(story.engine);
    g_assert_cmpuint(migrations->len, ==, 1);
    g_assert_null(((const ApmigMigration *)g_ptr_array_index(migrations, 0))->devices[0]);
    end(&story);
}

/* It is not known which locks there are. */
static void
test_nothing_is_said_of_locks_before_the_store_is_loaded(void)
{
    Story story;

    begin(&story);
    release(&story, 3, "dddddddd", TRUE);
    expect_error(&story, 3, APMIG_ERROR_STATE_FAILURE, "have not been read yet");
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_AMEND, .caller = 4, .amend = {.id = "dddddddd"}});
    expect_error(&story, 4, APMIG_ERROR_STATE_FAILURE, "have not been read yet");
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_CHECK, .caller = 5, .check = {"dddddddd", G_USEC_PER_SEC}});
    expect_error(&story, 5, APMIG_ERROR_STATE_FAILURE, "have not been read yet");
    end(&story);
}

/* But for what guests have, which is read once, while they answer. */
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
    listed(&story, 1);
    answered(&story, APMIG_JOB_NONE, "04.0012");
    live(&story, 2 * G_USEC_PER_SEC, APMIG_JOB_NONE); /* once more when its hook is gone */
    pass(&story, 30 * G_USEC_PER_SEC);
    expect_none(&story, APMIG_ACTION_LIST_GUESTS);
    expect_none(&story, APMIG_ACTION_QUERY_GUEST);
    g_assert_cmpstr(apmig_engine_view_state(story.engine), ==, "connected");
    end(&story);
}

static void
test_restart(void)
{
    g_autoptr(ApmigLockRecord) record = record_on_disk(APMIG_LOCK_BY_REQUEST, 5);
    Story story;

    begin(&story);
    load(&story, record, NULL);
    expect_state(&story, "dddddddd", "unproven");
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
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL); /* that g1 is here */
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

/* A lock waits for a yes from before the restart, and its guest, which was not here at first, is seen coming in. */
static void
come_in_after_a_restart(Story *story)
{
    g_autoptr(ApmigScope) scope = apmig_scope_parse("04.0012", NULL);
    char *no_devices[] = {NULL};
    ApmigAdmission admission = {(char *)G1, (char *)"g1", scope, no_devices, G_USEC_PER_SEC};

    begin(story);
    load(story, NULL, &admission);
    tell(story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    answer_all(story, APMIG_JOB_GONE);
    take(story, 1, "aaaaaaaa", "all", APMIG_ON_BUSY_WAIT, TRUE);
    answer_all(story, APMIG_JOB_GONE);
    news(story, APMIG_NEWS_ARRIVING);
    answer_all(story, APMIG_JOB_INCOMING);
}

/* Of a yes from before a restart it is not known whether its guest has come: what is here may be that of another one. */
static void
test_open_admission_binds_to_nobody(void)
{
    Story story;

    come_in_after_a_restart(&story);
    news(&story, APMIG_NEWS_STOPPED);
    live(&story, 59 * G_USEC_PER_SEC - story.now, APMIG_JOB_GONE);
    expect_none(&story, APMIG_ACTION_REMOVE_ADMISSION);
    expect_state(&story, "aaaaaaaa", "draining");
    live(&story, 3 * G_USEC_PER_SEC, APMIG_JOB_GONE);
    apmig_action_free(expect(&story, APMIG_ACTION_REMOVE_ADMISSION));
    expect_state(&story, "aaaaaaaa", "held");
    end(&story);
}

/* Whichever yes it came by: while it is here no other can be followed. */
static void
test_open_admission_is_over_when_its_guest_is_here(void)
{
    Story story;

    come_in_after_a_restart(&story);
    news(&story, APMIG_NEWS_RESUMED);
    live(&story, 2 * G_USEC_PER_SEC, APMIG_JOB_NONE);
    apmig_action_free(expect(&story, APMIG_ACTION_REMOVE_ADMISSION));
    expect_state(&story, "aaaaaaaa", "held");
    end(&story);
}

/* --- a lock that apmigd took by itself ------------------------------------------------------------ */

static void
load_own(Story *story)
{
    g_autoptr(ApmigLockRecord) record = record_on_disk(APMIG_LOCK_BY_ITSELF, 5);

    begin(story);
    load(story, record, NULL);
    tell(story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    listed(story, 0);
    expect_state(story, "dddddddd", "held");
}

static void
expect_owner(Story *story, const char *name)
{
    g_assert_cmpstr(find_lock(story, "dddddddd")->record->owner_name, ==, name);
}

static void
test_own_lock_is_adopted(void)
{
    Story story;

    load_own(&story);
    take(&story, 1, "aaaaaaaa", "*.0012", APMIG_ON_BUSY_UNSET, FALSE);
    expect_error(&story, 1, APMIG_ERROR_LOCKED, "scope all");
    take(&story, 2, "aaaaaaaa", "all", APMIG_ON_BUSY_UNSET, FALSE);
    expect_none(&story, APMIG_ACTION_PERSIST_LOCK); /* what was read before he asked is no proof for him */
    listed(&story, 0);
    expect_none(&story, APMIG_ACTION_REPLY_TAKEN);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    apmig_action_free(expect(&story, APMIG_ACTION_REPLY_TAKEN));
    g_assert_cmpstr(apmig_engine_lookup_lock(story.engine, "dddddddd")->record->owner_name, ==, "cora");
    end(&story);
}

/* Whoever adopts it is promised what whoever takes one is. */
static void
test_own_lock_is_not_adopted_without_the_hook(void)
{
    Story story;

    load_own(&story);
    take_lock(&story, "aaaaaaaa", "all",
              (ApmigEvent){.caller = 1,
                           .take = {.hook_problem = "/etc/libvirt/hooks/qemu.d/zz-apmigd is missing"}});
    expect_error(&story, 1, APMIG_ERROR_HOOK_NOT_INSTALLED, "zz-apmigd");
    expect_none(&story, APMIG_ACTION_PERSIST_LOCK);
    expect_owner(&story, "root");
    end(&story);
}

static void
test_own_lock_is_not_adopted_in_time(void)
{
    Story story;

    load_own(&story);
    take(&story, 1, "aaaaaaaa", "all", APMIG_ON_BUSY_UNSET, FALSE);
    pass(&story, story.policy->request_timeout_usec - 1);
    expect_none(&story, APMIG_ACTION_REPLY_ERROR);
    pass(&story, 1);
    expect_error(&story, 1, APMIG_ERROR_TIMEOUT, "stays apmigd's own");
    expect_none(&story, APMIG_ACTION_REMOVE_LOCK);
    expect_none(&story, APMIG_ACTION_PERSIST_LOCK);
    expect_owner(&story, "root");
    answer_all(&story, APMIG_JOB_GONE);
    live(&story, 60 * G_USEC_PER_SEC, APMIG_JOB_GONE);
    expect_state(&story, "dddddddd", "held");
    expect_none(&story, APMIG_ACTION_REPLY_TAKEN);
    expect_owner(&story, "root");
    take(&story, 2, "aaaaaaaa", "all", APMIG_ON_BUSY_UNSET, FALSE); /* the next one may */
    answer_all(&story, APMIG_JOB_GONE);
    apmig_action_free(expect(&story, APMIG_ACTION_REPLY_TAKEN));
    expect_owner(&story, "cora");
    end(&story);
}

static void
test_own_lock_is_not_adopted_by_who_is_gone(void)
{
    Story story;

    load_own(&story);
    take(&story, 1, "aaaaaaaa", "all", APMIG_ON_BUSY_UNSET, FALSE);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_CALLER_GONE, .caller = 1});
    live(&story, 60 * G_USEC_PER_SEC, APMIG_JOB_GONE);
    expect_state(&story, "dddddddd", "held");
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_LOST, .view_lost = {"libvirtd was stopped"}});
    pass(&story, 60 * G_USEC_PER_SEC);
    expect_none(&story, APMIG_ACTION_REMOVE_LOCK); /* nobody waits for it any more */
    expect_owner(&story, "root");
    end(&story);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/engine/nothing-admitted-before-loaded",
                    test_nothing_is_admitted_before_the_store_is_loaded);
    g_test_add_func("/engine/unaffected-before-loaded", test_unaffected_before_the_store_is_loaded);
    g_test_add_func("/engine/nothing-said-before-loaded",
                    test_nothing_is_said_of_locks_before_the_store_is_loaded);
    g_test_add_func("/engine/admission-alone", test_open_admission_alone_reads_nothing);
    g_test_add_func("/engine/restart-breach", test_restart);
    g_test_add_func("/engine/restart-held", test_restart_held_again);
    g_test_add_func("/engine/recovered", test_recovered_needs_force);
    g_test_add_func("/engine/admission-binds-to-nobody", test_open_admission_binds_to_nobody);
    g_test_add_func("/engine/admission-of-who-is-here", test_open_admission_is_over_when_its_guest_is_here);
    g_test_add_func("/engine/adopted", test_own_lock_is_adopted);
    g_test_add_func("/engine/not-adopted-without-hook", test_own_lock_is_not_adopted_without_the_hook);
    g_test_add_func("/engine/not-adopted-in-time", test_own_lock_is_not_adopted_in_time);
    g_test_add_func("/engine/not-adopted-by-who-is-gone", test_own_lock_is_not_adopted_by_who_is_gone);
    return g_test_run();
}
