/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which guests' stamps are written, when, and what they are to tell of locks. */
#include "engine.h"

#include <string.h>
#include <syslog.h>

#define G1 "11111111-1111-4111-8111-111111111111"
#define G2 "22222222-2222-4222-8222-222222222222"

typedef struct {
    ApmigEngine *engine;
    ApmigPolicy *policy;
    GPtrArray *actions; /* not yet looked at */
    gint64 now;
} Fixture;

static void
tell(Fixture *fixture, ApmigEvent event)
{
    event.now = fixture->now;
    event.realtime = G_GINT64_CONSTANT(1800000000000000) + fixture->now;
    apmig_engine_handle(fixture->engine, &event, fixture->actions);
}

/* As the daemon does: an event at each deadline. */
static void
pass(Fixture *fixture, gint64 usec)
{
    gint64 end = fixture->now + usec;

    for (gint64 at = apmig_engine_next_deadline(fixture->engine); at <= end;
         at = apmig_engine_next_deadline(fixture->engine)) {
        g_assert_cmpint(at, >, fixture->now); /* else it would be busy for ever */
        fixture->now = at;
        tell(fixture, (ApmigEvent){.type = APMIG_EVENT_DEADLINE});
    }
    fixture->now = end;
}

static ApmigAction *
next(Fixture *fixture, ApmigActionType type)
{
    for (guint i = 0; i < fixture->actions->len; i++) {
        ApmigAction *action = fixture->actions->pdata[i];

        if (action->type == type)
            return g_ptr_array_steal_index(fixture->actions, i);
    }
    return NULL;
}

static void
expect_none(Fixture *fixture, ApmigActionType type)
{
    g_autoptr(ApmigAction) action = next(fixture, type);

    g_assert_null(action);
}

/* The stamp of @uuid is to be written, with @lock (NULL: none) for one of 04.0012. Returns: its op. */
static guint64
expect_stamp(Fixture *fixture, const char *uuid, const char *lock)
{
    g_autoptr(ApmigAction) action = next(fixture, APMIG_ACTION_STAMP_GUEST);
    g_autoptr(ApmigScope) scope = apmig_scope_parse("04.0012", NULL);
    g_autoptr(ApmigStampLock) chosen = NULL;

    g_assert_nonnull(action);
    g_assert_cmpstr(action->uuid, ==, uuid);
    chosen = apmig_stamp_choose_lock(action->locks, scope);
    g_assert_cmpstr(chosen ? chosen->id : NULL, ==, lock);
    if (chosen)
        g_assert_cmpstr(chosen->reason, ==, "AES rotation");
    return action->op;
}

static void
finish(Fixture *fixture, guint64 op, ApmigStamping result)
{
    tell(fixture, (ApmigEvent){.type = APMIG_EVENT_STAMP_FINISHED, .stamping = {op, result, "it hangs"}});
}

/* A connection to no guests, when everything has been looked at. */
static void
set_up(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GPtrArray) none = g_ptr_array_new();
    g_autoptr(ApmigAction) list = NULL;

    fixture->policy = apmig_policy_new_default();
    fixture->engine = apmig_engine_new(fixture->policy, "5708");
    fixture->actions = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_action_free);
    fixture->now = G_USEC_PER_SEC;
    tell(fixture, (ApmigEvent){.type = APMIG_EVENT_STORE_LOADED, .store_loaded = {none, none}});
    tell(fixture, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    pass(fixture, 11 * G_USEC_PER_SEC);
    list = next(fixture, APMIG_ACTION_LIST_GUESTS);
    g_assert_nonnull(list);
    tell(fixture, (ApmigEvent){.type = APMIG_EVENT_GUESTS_LISTED, .listed = {list->token, NULL, NULL, 0}});
    pass(fixture, 2 * G_USEC_PER_SEC);
    g_ptr_array_set_size(fixture->actions, 0);
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    apmig_engine_free(fixture->engine);
    apmig_policy_free(fixture->policy);
    g_ptr_array_unref(fixture->actions);
}

static void
set_form(Fixture *fixture, ApmigStampForm form)
{
    fixture->policy->stamp = form;
    tell(fixture, (ApmigEvent){.type = APMIG_EVENT_POLICY_CHANGED, .policy = fixture->policy});
}

/* Answers every question there is: G1 is of 04.0012, G2 of 05.0013. Returns: whether there was one. */
static gboolean
answer(Fixture *fixture, ApmigJob job)
{
    static const ApmigGuestName guests[] = {{G1, "g1"}, {G2, "g2"}};
    g_autoptr(ApmigAction) list = next(fixture, APMIG_ACTION_LIST_GUESTS);
    g_autoptr(ApmigAction) query = next(fixture, APMIG_ACTION_QUERY_GUEST);
    g_autoptr(ApmigScope) scope = NULL;

    if (list)
        tell(fixture,
             (ApmigEvent){.type = APMIG_EVENT_GUESTS_LISTED, .listed = {list->token, NULL, guests, 2}});
    if (!query)
        return list != NULL;
    scope = apmig_scope_parse(g_str_equal(query->uuid, G1) ? "04.0012" : "05.0013", NULL);
    tell(fixture, (ApmigEvent){.type = APMIG_EVENT_GUEST_ANSWERED,
                               .answered = {.token = query->token,
                                            .uuid = query->uuid,
                                            .job = job,
                                            .facts_read = query->want_facts,
                                            .facts = {APMIG_AFFECTED_YES, scope}}});
    return TRUE;
}

static void
write_lock(Fixture *fixture, ApmigActionType type)
{
    g_autoptr(ApmigAction) action = next(fixture, type);

    g_assert_nonnull(action);
    tell(fixture, (ApmigEvent){.type = type == APMIG_ACTION_PERSIST_LOCK ? APMIG_EVENT_LOCK_PERSISTED
                                                                         : APMIG_EVENT_LOCK_REMOVED,
                               .persisted = {action->op, NULL}});
}

static void
request(Fixture *fixture, const char *id, const char *scope_text, gboolean no_wait)
{
    g_autoptr(ApmigScope) scope = apmig_scope_parse(scope_text, NULL);

    tell(fixture, (ApmigEvent){.type = APMIG_EVENT_TAKE,
                               .take = {.caller = 1,
                                        .id = id,
                                        .scope = scope,
                                        .reason = "AES rotation",
                                        .change_id = "",
                                        .uid = 1000,
                                        .user = "cora",
                                        .no_wait = no_wait}});
    write_lock(fixture, APMIG_ACTION_PERSIST_LOCK);
}

static void
hold(Fixture *fixture, const char *id, const char *scope)
{
    request(fixture, id, scope, FALSE);
    while (answer(fixture, APMIG_JOB_NONE))
        expect_none(fixture, APMIG_ACTION_STAMP_GUEST);
    write_lock(fixture, APMIG_ACTION_PERSIST_LOCK);
    expect_none(fixture, APMIG_ACTION_STAMP_GUEST); /* whoever waits for held has it first */
}

static void
release(Fixture *fixture, const char *id)
{
    tell(fixture, (ApmigEvent){.type = APMIG_EVENT_RELEASE, .release = {2, id, TRUE}});
    write_lock(fixture, APMIG_ACTION_REMOVE_LOCK);
}

static void
start(Fixture *fixture, const char *uuid)
{
    tell(fixture, (ApmigEvent){.type = APMIG_EVENT_GUEST_CHANGED, .changed = {uuid}});
    pass(fixture, G_USEC_PER_SEC);
}

/* --- causes --------------------------------------------------------------------------------------- */

static void
test_start(Fixture *fixture, gconstpointer data)
{
    finish(fixture, 12345, APMIG_STAMPING_FAILED); /* an answer to nothing */
    start(fixture, G1);
    finish(fixture, expect_stamp(fixture, G1, NULL), APMIG_STAMPING_DONE);
    pass(fixture, G_USEC_PER_SEC);
    expect_none(fixture, APMIG_ACTION_STAMP_GUEST);
}

static void
test_lock(Fixture *fixture, gconstpointer data)
{
    hold(fixture, "aaaaaaaa", "04.0012");
    pass(fixture, G_USEC_PER_SEC);
    finish(fixture, expect_stamp(fixture, G1, "aaaaaaaa"), APMIG_STAMPING_DONE);
    expect_none(fixture, APMIG_ACTION_STAMP_GUEST); /* not the other guest */
    while (answer(fixture, APMIG_JOB_NONE))
        pass(fixture, G_USEC_PER_SEC / 10);
    pass(fixture, G_USEC_PER_SEC);
    expect_none(fixture, APMIG_ACTION_STAMP_GUEST); /* not at every reading */

    start(fixture, G2);
    finish(fixture, expect_stamp(fixture, G2, "aaaaaaaa"), APMIG_STAMPING_DONE);

    release(fixture, "aaaaaaaa");
    pass(fixture, G_USEC_PER_SEC);
    finish(fixture, expect_stamp(fixture, G1, NULL), APMIG_STAMPING_DONE);
    expect_none(fixture, APMIG_ACTION_STAMP_GUEST);
}

/* One that is never held is never told of. */
static void
test_lock_that_is_not_held(Fixture *fixture, gconstpointer data)
{
    request(fixture, "aaaaaaaa", "04.0012", FALSE);
    while (answer(fixture, APMIG_JOB_OUTGOING))
        expect_none(fixture, APMIG_ACTION_STAMP_GUEST);
    start(fixture, G2);
    expect_none(fixture, APMIG_ACTION_STAMP_GUEST); /* it waits for the lock */
    release(fixture, "aaaaaaaa");
    pass(fixture, G_USEC_PER_SEC);
    expect_stamp(fixture, G2, NULL);
    expect_none(fixture, APMIG_ACTION_STAMP_GUEST);
}

/* But not for ever. */
static void
test_held_back(Fixture *fixture, gconstpointer data)
{
    request(fixture, "aaaaaaaa", "04.0012", TRUE);
    start(fixture, G2);
    pass(fixture, 28 * G_USEC_PER_SEC);
    expect_none(fixture, APMIG_ACTION_STAMP_GUEST);
    pass(fixture, 2 * G_USEC_PER_SEC);
    expect_stamp(fixture, G2, NULL);
}

static void
test_other_lock_takes_its_place(Fixture *fixture, gconstpointer data)
{
    hold(fixture, "aaaaaaaa", "04.0012");
    pass(fixture, G_USEC_PER_SEC);
    finish(fixture, expect_stamp(fixture, G1, "aaaaaaaa"), APMIG_STAMPING_DONE);
    hold(fixture, "bbbbbbbb", "04.0013");
    pass(fixture, G_USEC_PER_SEC);
    expect_none(fixture, APMIG_ACTION_STAMP_GUEST);
    start(fixture, G1);
    expect_stamp(fixture, G1, "aaaaaaaa");
}

/* Locks that were held before a restart are told of; so is that one is gone, to guests that no lock covers. */
static void
test_after_a_connection(Fixture *fixture, gconstpointer data)
{
    tell(fixture, (ApmigEvent){.type = APMIG_EVENT_VIEW_LOST, .view_lost = {"it went away"}});
    tell(fixture, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    pass(fixture, 5 * G_USEC_PER_SEC);
    expect_none(fixture, APMIG_ACTION_LIST_GUESTS);
    pass(fixture, 6 * G_USEC_PER_SEC);
    g_assert_true(answer(fixture, APMIG_JOB_NONE));
    pass(fixture, 2 * G_USEC_PER_SEC);
    for (guint i = 0; i < 2; i++) {
        g_autoptr(ApmigAction) action = next(fixture, APMIG_ACTION_STAMP_GUEST);

        g_assert_nonnull(action);
        finish(fixture, action->op, APMIG_STAMPING_DONE);
    }
    pass(fixture, 60 * G_USEC_PER_SEC);
    expect_none(fixture, APMIG_ACTION_STAMP_GUEST);
    expect_none(fixture, APMIG_ACTION_LIST_GUESTS);
    expect_none(fixture, APMIG_ACTION_QUERY_GUEST);
}

static void
test_list_that_fails(Fixture *fixture, gconstpointer data)
{
    tell(fixture, (ApmigEvent){.type = APMIG_EVENT_VIEW_LOST, .view_lost = {"it went away"}});
    tell(fixture, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    for (guint i = 0; i < 3; i++) {
        g_autoptr(ApmigAction) list = NULL;

        pass(fixture, 11 * G_USEC_PER_SEC);
        list = next(fixture, APMIG_ACTION_LIST_GUESTS);
        g_assert_nonnull(list);
        expect_none(fixture, APMIG_ACTION_LIST_GUESTS);
        tell(fixture,
             (ApmigEvent){.type = APMIG_EVENT_GUESTS_LISTED, .listed = {list->token, "it hangs", NULL, 0}});
    }
    pass(fixture, 5 * G_USEC_PER_SEC);
    g_assert_true(answer(fixture, APMIG_JOB_NONE));
    pass(fixture, 2 * G_USEC_PER_SEC);
    apmig_action_free(next(fixture, APMIG_ACTION_STAMP_GUEST));
    apmig_action_free(next(fixture, APMIG_ACTION_STAMP_GUEST));
    expect_none(fixture, APMIG_ACTION_STAMP_GUEST);
    expect_none(fixture, APMIG_ACTION_LIST_GUESTS);
}

/* --- results -------------------------------------------------------------------------------------- */

static void
test_busy(Fixture *fixture, gconstpointer data)
{
    start(fixture, G1);
    for (guint i = 0; i < 20; i++) { /* the job takes its time */
        finish(fixture, expect_stamp(fixture, G1, NULL), APMIG_STAMPING_BUSY);
        expect_none(fixture, APMIG_ACTION_STAMP_GUEST);
        pass(fixture, 6 * G_USEC_PER_SEC);
        answer(fixture, APMIG_JOB_NONE);
    }
    tell(fixture, (ApmigEvent){.type = APMIG_EVENT_GUEST_STOPPED, .stopped = {G1, TRUE}});
    finish(fixture, expect_stamp(fixture, G1, NULL), APMIG_STAMPING_BUSY);
    pass(fixture, 60 * G_USEC_PER_SEC);
    {
        g_autoptr(ApmigAction) action = next(fixture, APMIG_ACTION_STAMP_GUEST);

        g_assert_true(!action || !g_str_equal(action->uuid, G1)); /* it is gone */
    }
}

static void
test_failure(Fixture *fixture, gconstpointer data)
{
    start(fixture, G1);
    finish(fixture, expect_stamp(fixture, G1, NULL), APMIG_STAMPING_FAILED);
    pass(fixture, 9 * G_USEC_PER_SEC / 2);
    expect_none(fixture, APMIG_ACTION_STAMP_GUEST);
    set_form(fixture, APMIG_STAMP_DIGEST);
    pass(fixture, 6 * G_USEC_PER_SEC);
    {
        g_autoptr(ApmigAction) action = next(fixture, APMIG_ACTION_STAMP_GUEST);

        g_assert_nonnull(action);
        g_assert_cmpint(action->form, ==, APMIG_STAMP_DIGEST);
        finish(fixture, action->op, APMIG_STAMPING_FAILED);
    }
    for (;;) {
        g_autoptr(ApmigAction) entry = next(fixture, APMIG_ACTION_LOG);

        g_assert_nonnull(entry);
        if (entry->log != APMIG_LOG_STAMP_FAILED)
            continue;
        g_assert_nonnull(strstr(entry->message, "it hangs"));
        g_assert_cmpstr(entry->uuid, ==, G1);
        g_assert_cmpint(entry->priority, ==, LOG_WARNING);
        break;
    }
}

/* What is written was decided before: the change goes into the next one. */
static void
test_change_meanwhile(Fixture *fixture, gconstpointer data)
{
    guint64 op;

    hold(fixture, "aaaaaaaa", "04.0012");
    pass(fixture, G_USEC_PER_SEC);
    op = expect_stamp(fixture, G1, "aaaaaaaa");
    release(fixture, "aaaaaaaa");
    pass(fixture, G_USEC_PER_SEC);
    expect_none(fixture, APMIG_ACTION_STAMP_GUEST); /* one at a time */
    finish(fixture, op, APMIG_STAMPING_DONE);
    pass(fixture, G_USEC_PER_SEC);
    expect_stamp(fixture, G1, NULL);
}

static void
test_view_lost(Fixture *fixture, gconstpointer data)
{
    tell(fixture, (ApmigEvent){.type = APMIG_EVENT_GUEST_CHANGED, .changed = {G1}});
    tell(fixture, (ApmigEvent){.type = APMIG_EVENT_VIEW_LOST, .view_lost = {"it went away"}});
    pass(fixture, 60 * G_USEC_PER_SEC);
    expect_none(fixture, APMIG_ACTION_STAMP_GUEST);
}

/* --- arrival, and policy -------------------------------------------------------------------------- */

static void
arrive(Fixture *fixture)
{
    static const ApmigGuestName guests[] = {{G1, "g1"}};
    g_autoptr(ApmigScope) scope = apmig_scope_parse("04.0012", NULL);
    const ApmigJob jobs[] = {APMIG_JOB_INCOMING, APMIG_JOB_NONE};

    tell(
        fixture,
        (ApmigEvent){.type = APMIG_EVENT_ADMIT,
                     .admit = {.caller = 5, .uuid = G1, .name = "g1", .facts = {APMIG_AFFECTED_YES, scope}}});
    {
        g_autoptr(ApmigAction) admission = next(fixture, APMIG_ACTION_PERSIST_ADMISSION);

        tell(fixture,
             (ApmigEvent){.type = APMIG_EVENT_ADMISSION_PERSISTED, .persisted = {admission->op, NULL}});
    }
    tell(fixture, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {G1}});
    for (guint i = 0; i < G_N_ELEMENTS(jobs); i++) {
        g_autoptr(ApmigAction) query = NULL;

        for (;;) {
            g_autoptr(ApmigAction) list = next(fixture, APMIG_ACTION_LIST_GUESTS);

            if (!list)
                break;
            tell(fixture,
                 (ApmigEvent){.type = APMIG_EVENT_GUESTS_LISTED, .listed = {list->token, NULL, guests, 1}});
        }
        expect_none(fixture, APMIG_ACTION_STAMP_GUEST);
        query = next(fixture, APMIG_ACTION_QUERY_GUEST);
        g_assert_nonnull(query);
        tell(fixture, (ApmigEvent){.type = APMIG_EVENT_GUEST_ANSWERED,
                                   .answered = {.token = query->token, .uuid = G1, .job = jobs[i]}});
        tell(fixture, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {G1}});
    }
    pass(fixture, G_USEC_PER_SEC);
}

static void
test_arrival(Fixture *fixture, gconstpointer data)
{
    arrive(fixture);
    expect_stamp(fixture, G1, NULL);
}

/* Of the source's nothing is left, even where none is written. */
static void
test_arrival_without_stamps(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigAction) action = NULL;

    set_form(fixture, APMIG_STAMP_OFF);
    arrive(fixture);
    action = next(fixture, APMIG_ACTION_STAMP_GUEST);
    g_assert_nonnull(action);
    g_assert_cmpint(action->form, ==, APMIG_STAMP_OFF);
}

static void
test_off(Fixture *fixture, gconstpointer data)
{
    set_form(fixture, APMIG_STAMP_OFF);
    tell(fixture, (ApmigEvent){.type = APMIG_EVENT_VIEW_LOST, .view_lost = {"it went away"}});
    tell(fixture, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    pass(fixture, 60 * G_USEC_PER_SEC);
    expect_none(fixture, APMIG_ACTION_LIST_GUESTS);
    start(fixture, G1);
    hold(fixture, "aaaaaaaa", "04.0012");
    pass(fixture, G_USEC_PER_SEC);
    release(fixture, "aaaaaaaa");
    pass(fixture, 60 * G_USEC_PER_SEC);
    expect_none(fixture, APMIG_ACTION_STAMP_GUEST);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, func) g_test_add("/engine-stamps/" path, Fixture, NULL, set_up, func, tear_down)
    ADD("start", test_start);
    ADD("lock", test_lock);
    ADD("lock-that-is-not-held", test_lock_that_is_not_held);
    ADD("held-back", test_held_back);
    ADD("other-lock", test_other_lock_takes_its_place);
    ADD("after-a-connection", test_after_a_connection);
    ADD("list-that-fails", test_list_that_fails);
    ADD("busy", test_busy);
    ADD("failure", test_failure);
    ADD("change-meanwhile", test_change_meanwhile);
    ADD("view-lost", test_view_lost);
    ADD("arrival", test_arrival);
    ADD("arrival-without-stamps", test_arrival_without_stamps);
    ADD("off", test_off);
#undef ADD
    return g_test_run();
}
