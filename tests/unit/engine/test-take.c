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

/* --- the same change asks again ------------------------------------------------------------------ */

/* cora's change CHG-17, once more. */
static void
take_for_change(Story *story, ApmigCaller caller, const char *id, ApmigEvent event)
{
    event.caller = caller;
    event.take.change_id = "CHG-17";
    take_lock(story, id, "04.0012", event);
}

static void
expect_taken(Story *story, ApmigCaller caller, const char *id)
{
    g_autoptr(ApmigAction) action = expect(story, APMIG_ACTION_REPLY_TAKEN);

    g_assert_cmpuint(action->reply.caller, ==, caller);
    g_assert_cmpstr(action->reply.id, ==, id);
}

/* Her lock aaaaaaaa, which is durable, and waits for g1's migration. */
static void
drain_for_change(Story *story, ApmigEvent event)
{
    event.take.on_busy = APMIG_ON_BUSY_WAIT;
    open_view(story);
    take_for_change(story, 1, "aaaaaaaa", event);
    answer_all(story, APMIG_JOB_OUTGOING);
    expect_state(story, "aaaaaaaa", "draining");
}

static void
test_again_while_it_is_held(void)
{
    Story story;

    begin(&story);
    open_view(&story);
    take_for_change(&story, 1, "aaaaaaaa", (ApmigEvent){0});
    answer_all(&story, APMIG_JOB_NONE);
    expect_taken(&story, 1, "aaaaaaaa");
    take_for_change(&story, 2, "bbbbbbbb", (ApmigEvent){0});
    expect_taken(&story, 2, "aaaaaaaa");
    take_for_change(&story, 3, "cccccccc", (ApmigEvent){.take.no_wait = TRUE});
    expect_taken(&story, 3, "aaaaaaaa");
    expect_none(&story, APMIG_ACTION_PERSIST_LOCK);
    end(&story);
}

/* Both get the answer, and the lock stays as long as one of them waits. */
static void
test_again_while_it_drains(void)
{
    Story story;

    begin(&story);
    drain_for_change(&story, (ApmigEvent){0});
    take_for_change(&story, 2, "bbbbbbbb", (ApmigEvent){0});
    expect_none(&story, APMIG_ACTION_REPLY_TAKEN);
    take_for_change(&story, 3, "cccccccc", (ApmigEvent){.take.no_wait = TRUE});
    expect_taken(&story, 3, "aaaaaaaa");
    live(&story, G_USEC_PER_SEC, APMIG_JOB_NONE);
    expect_taken(&story, 1, "aaaaaaaa");
    expect_taken(&story, 2, "aaaaaaaa");
    end(&story);
}

static void
test_again_when_the_first_has_gone(void)
{
    Story story;

    begin(&story);
    drain_for_change(&story, (ApmigEvent){0});
    take_for_change(&story, 2, "bbbbbbbb", (ApmigEvent){.take.timeout_usec = 60 * G_USEC_PER_SEC});
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_CALLER_GONE, .caller = 1});
    live(&story, 30 * G_USEC_PER_SEC, APMIG_JOB_OUTGOING);
    expect_state(&story, "aaaaaaaa", "draining");
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_CALLER_GONE, .caller = 2});
    written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
    g_assert_cmpstr(apmig_engine_lookup_lock(story.engine, "aaaaaaaa")->result, ==, "cancelled");
    end(&story);
}

static void
test_again_is_longer_than_the_first(void)
{
    Story story;

    begin(&story);
    drain_for_change(&story, (ApmigEvent){.take.timeout_usec = 10 * G_USEC_PER_SEC});
    take_for_change(&story, 2, "bbbbbbbb", (ApmigEvent){.take.timeout_usec = 30 * G_USEC_PER_SEC});
    live(&story, 20 * G_USEC_PER_SEC, APMIG_JOB_OUTGOING);
    expect_error(&story, 1, APMIG_ERROR_TIMEOUT, "is waited for by another request");
    expect_state(&story, "aaaaaaaa", "draining");
    live(&story, 20 * G_USEC_PER_SEC, APMIG_JOB_OUTGOING);
    expect_error(&story, 2, APMIG_ERROR_TIMEOUT, "g1");
    g_assert_cmpstr(apmig_engine_lookup_lock(story.engine, "aaaaaaaa")->result, ==, "cancelled");
    end(&story);
}

/* What another relies on is not ended because one has waited for too long. */
static void
test_again_in_vain_of_a_lock_that_nobody_waited_for(void)
{
    Story story;

    begin(&story);
    drain_for_change(&story, (ApmigEvent){.take.no_wait = TRUE});
    take_for_change(&story, 2, "bbbbbbbb", (ApmigEvent){.take.timeout_usec = 10 * G_USEC_PER_SEC});
    live(&story, 20 * G_USEC_PER_SEC, APMIG_JOB_OUTGOING);
    expect_error(&story, 2, APMIG_ERROR_TIMEOUT, "g1");
    expect_state(&story, "aaaaaaaa", "draining");
    end(&story);
}

static void
test_again_while_it_is_released(void)
{
    Story story;

    begin(&story);
    drain_for_change(&story, (ApmigEvent){0});
    take_for_change(&story, 2, "bbbbbbbb", (ApmigEvent){0});
    release(&story, 3, "aaaaaaaa", FALSE);
    take_for_change(&story, 4, "dddddddd", (ApmigEvent){0});
    expect_error(&story, 4, APMIG_ERROR_LOCKED, "aaaaaaaa");
    written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
    expect_error(&story, 1, APMIG_ERROR_CANCELLED, "");
    expect_error(&story, 2, APMIG_ERROR_CANCELLED, "ask again");
    end(&story);
}

/* Another user, change or reason, another scope, or no change at all: the lock is in the way, as any is. */
static void
test_again_but_not_the_same(void)
{
    static const struct {
        const char *scope;
        const char *reason;
        const char *change_id;
        guint32 uid;
    } others[] = {
        {"04.0012,05.0012", "AES rotation", "CHG-17", 1000}, {"04.0012", "APKA rotation", "CHG-17", 1000},
        {"04.0012", "AES rotation", "CHG-18", 1000},         {"04.0012", "AES rotation", "", 1000},
        {"04.0012", "AES rotation", "CHG-17", 1001},
    };
    Story story;

    begin(&story);
    drain_for_change(&story, (ApmigEvent){0});
    for (guint i = 0; i < G_N_ELEMENTS(others); i++) {
        g_autoptr(ApmigScope) scope = apmig_scope_parse(others[i].scope, NULL);

        tell(&story, (ApmigEvent){.type = APMIG_EVENT_TAKE,
                                  .caller = 2 + i,
                                  .take = {.id = "bbbbbbbb",
                                           .scope = scope,
                                           .reason = others[i].reason,
                                           .change_id = others[i].change_id,
                                           .uid = others[i].uid,
                                           .user = "cora"}});
        expect_error(&story, 2 + i, APMIG_ERROR_LOCKED, "aaaaaaaa");
    }
    end(&story);
}

static void
test_again_where_only_a_new_one_is_wanted(void)
{
    Story story;

    begin(&story);
    drain_for_change(&story, (ApmigEvent){0});
    take_for_change(&story, 2, "bbbbbbbb", (ApmigEvent){.take.only_new = TRUE});
    expect_error(&story, 2, APMIG_ERROR_LOCKED, "aaaaaaaa");
    end(&story);
}

/* Without a hook what is there does not keep what it says. */
static void
test_again_without_a_hook(void)
{
    const ApmigEvent missing = {.take.hook_problem = "/etc/libvirt/hooks/qemu.d/zz-apmigd is missing"};
    Story story;

    begin(&story);
    drain_for_change(&story, (ApmigEvent){0});
    take_for_change(&story, 2, "bbbbbbbb", missing);
    expect_error(&story, 2, APMIG_ERROR_HOOK_NOT_INSTALLED, "zz-apmigd");
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
    g_test_add_func("/engine/again-held", test_again_while_it_is_held);
    g_test_add_func("/engine/again-draining", test_again_while_it_drains);
    g_test_add_func("/engine/again-first-gone", test_again_when_the_first_has_gone);
    g_test_add_func("/engine/again-longer", test_again_is_longer_than_the_first);
    g_test_add_func("/engine/again-in-vain", test_again_in_vain_of_a_lock_that_nobody_waited_for);
    g_test_add_func("/engine/again-released", test_again_while_it_is_released);
    g_test_add_func("/engine/again-not-the-same", test_again_but_not_the_same);
    g_test_add_func("/engine/again-only-new", test_again_where_only_a_new_one_is_wanted);
    g_test_add_func("/engine/again-without-a-hook", test_again_without_a_hook);
    return g_test_run();
}
