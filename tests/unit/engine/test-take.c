/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests that do not come to be held: refused, cancelled, not written. */
#include "engine/stories.h"

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
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_CALLER_GONE, .caller = 1});
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

/* A migration that was seen before is named, and is not what the lock has failed for. */
static void
test_no_view_any_more_is_hypervisor_unavailable(void)
{
    g_autoptr(GPtrArray) blockers = NULL;
    Story story;

    begin(&story);
    open_view(&story);
    take(&story, 1, "aaaaaaaa", "all", APMIG_ON_BUSY_WAIT, FALSE);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    listed(&story, 1);
    answered(&story, APMIG_JOB_OUTGOING, "04.0012");
    blockers = apmig_engine_blockers(story.engine, apmig_engine_lookup_lock(story.engine, "aaaaaaaa"));
    g_assert_cmpuint(blockers->len, ==, 1);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_VIEW_LOST, .view_lost = {"libvirtd is not running"}});
    pass(&story, story.policy->request_timeout_usec);
    written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
    expect_error(&story, 1, APMIG_ERROR_HYPERVISOR_UNAVAILABLE, "libvirtd is not running");
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
                              .caller = 1,
                              .take = {.id = "aaaaaaaa",
                                       .scope = scope,
                                       .reason = "AES rotation",
                                       .user = "root",
                                       .hook_problem = "/etc/libvirt/hooks/qemu.d/zz-apmigd is missing"}});
    expect_error(&story, 1, APMIG_ERROR_HOOK_NOT_INSTALLED, "zz-apmigd");
    expect_none(&story, APMIG_ACTION_PERSIST_LOCK);
    end(&story);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/engine/locked-and-disjoint", test_locked_and_disjoint);
    g_test_add_func("/engine/write-fails", test_write_fails_and_the_lock_is_gone);
    g_test_add_func("/engine/caller-gone", test_caller_gone_cancels);
    g_test_add_func("/engine/no-view", test_no_view_is_hypervisor_unavailable);
    g_test_add_func("/engine/no-view-any-more", test_no_view_any_more_is_hypervisor_unavailable);
    g_test_add_func("/engine/limits", test_limits);
    g_test_add_func("/engine/hook-missing", test_hook_missing);
    return g_test_run();
}
