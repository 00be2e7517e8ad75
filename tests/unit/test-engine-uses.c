/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A lock over queues that a QEMU uses which is not of this hypervisor is not held. */
#include "ap-fixture.h"
#include "engine.h"

#include <string.h>

#define G1 "11111111-1111-4111-8111-111111111111"
#define D1 "a1b2c3d4-f1bb-47f0-914d-000000000101"
#define D2 "a1b2c3d4-f1bb-47f0-914d-000000000102"

typedef struct {
    ApmigEngine *engine;
    ApmigPolicy *policy;
    GPtrArray *actions; /* not yet looked at */
    ApmigApHost *host;
    gint64 now;
    gboolean has_guest; /* G1, with D1 */
} Fixture;

static void
tell(Fixture *fixture, ApmigEvent event)
{
    event.now = fixture->now;
    event.realtime = G_GINT64_CONSTANT(1800000000000000) + fixture->now;
    apmig_engine_handle(fixture->engine, &event, fixture->actions);
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

static gboolean
answer_question(Fixture *fixture)
{
    static const ApmigGuestName guests[] = {{G1, "g1"}};
    static const char *const devices[] = {D1, NULL};
    g_autoptr(ApmigScope) scope = scope_of("04.0012");
    g_autoptr(ApmigAction) list = next(fixture, APMIG_ACTION_LIST_GUESTS);
    g_autoptr(ApmigAction) query = list ? NULL : next(fixture, APMIG_ACTION_QUERY_GUEST);

    if (list)
        tell(fixture, (ApmigEvent){.type = APMIG_EVENT_GUESTS_LISTED,
                                   .listed = {list->token, NULL, guests, fixture->has_guest ? 1 : 0}});
    else if (query)
        tell(fixture, (ApmigEvent){.type = APMIG_EVENT_GUEST_ANSWERED,
                                   .answered = {.token = query->token,
                                                .uuid = G1,
                                                .job = fixture->has_guest ? APMIG_JOB_NONE : APMIG_JOB_GONE,
                                                .facts_read = query->want_facts && fixture->has_guest,
                                                .facts = {APMIG_AFFECTED_YES, scope, devices, FALSE}}});
    return list || query;
}

static gboolean
answer_write(Fixture *fixture)
{
    g_autoptr(ApmigAction) persist = next(fixture, APMIG_ACTION_PERSIST_LOCK);

    if (persist)
        tell(fixture, (ApmigEvent){.type = APMIG_EVENT_LOCK_PERSISTED, .persisted = {persist->op, NULL}});
    return persist != NULL;
}

/* Everything but the AP bus is read and written. */
static void
settle(Fixture *fixture)
{
    while (answer_question(fixture) || answer_write(fixture))
        ;
}

static void
pass(Fixture *fixture, gint64 usec)
{
    fixture->now += usec;
    tell(fixture, (ApmigEvent){.type = APMIG_EVENT_DEADLINE});
    settle(fixture);
}

/* The AP bus is read. @error: NULL: as it is */
static void
read_uses(Fixture *fixture, const char *error)
{
    g_autoptr(ApmigAction) action = next(fixture, APMIG_ACTION_READ_USES);

    g_assert_nonnull(action);
    g_assert_cmpint(action->limit_usec, >, 0);
    tell(fixture, (ApmigEvent){.type = APMIG_EVENT_USES_READ,
                               .uses_read = {action->op, error ? NULL : fixture->host, error}});
    settle(fixture);
}

static void
expect_no_reading(Fixture *fixture)
{
    g_autoptr(ApmigAction) action = next(fixture, APMIG_ACTION_READ_USES);

    g_assert_null(action);
}

static void
set_up(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GPtrArray) none = g_ptr_array_new();

    fixture->policy = apmig_policy_new_default();
    fixture->policy->stamp = APMIG_STAMP_OFF;
    fixture->engine = apmig_engine_new(fixture->policy, "5708");
    fixture->actions = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_action_free);
    fixture->now = G_USEC_PER_SEC;
    fixture->has_guest = TRUE;
    fixture->host = host_new();
    host_add_card(fixture->host, 4, "CEX8C");
    host_add_card(fixture->host, 5, "CEX8C");
    host_add_queue(fixture->host, 4, 0x12, "vfio_ap")->status = APMIG_AP_STATUS_IN_USE;
    host_add_queue(fixture->host, 5, 0x12, "vfio_ap")->status = APMIG_AP_STATUS_IN_USE;
    host_add_device(fixture->host, D1, "04.0012");
    host_add_device(fixture->host, D2, "05.0012");
    tell(fixture, (ApmigEvent){.type = APMIG_EVENT_HARDWARE_CHANGED, .hardware = {TRUE}});
    tell(fixture, (ApmigEvent){.type = APMIG_EVENT_STORE_LOADED, .store_loaded = {none, none}});
    tell(fixture, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    apmig_engine_free(fixture->engine);
    apmig_policy_free(fixture->policy);
    apmig_ap_host_free(fixture->host);
    g_ptr_array_unref(fixture->actions);
}

static void
request(Fixture *fixture, const char *id, const char *scope_text)
{
    g_autoptr(ApmigScope) scope = scope_of(scope_text);

    tell(fixture, (ApmigEvent){.type = APMIG_EVENT_TAKE,
                               .take = {.caller = 1,
                                        .id = id,
                                        .scope = scope,
                                        .reason = "AES rotation",
                                        .change_id = "",
                                        .user = "cora"}});
    expect_no_reading(fixture); /* before the guests were read */
    settle(fixture);
}

static void
assert_state(Fixture *fixture, const char *id, ApmigLockState state, const char *says)
{
    const ApmigLock *lock = apmig_engine_lookup_lock(fixture->engine, id);
    g_autofree char *wait = apmig_engine_describe_wait(fixture->engine, lock);

    g_assert_cmpint(lock->state, ==, state);
    if (says)
        assert_says(wait, says);
    else
        g_assert_cmpstr(wait, ==, "");
}

/* --- cases --------------------------------------------------------------------------------------- */

static void
test_our_guest(Fixture *fixture, gconstpointer data)
{
    request(fixture, "aaaaaaaa", "04.*");
    assert_state(fixture, "aaaaaaaa", APMIG_LOCK_DRAINING, "AP queues are being read");
    read_uses(fixture, NULL);
    assert_state(fixture, "aaaaaaaa", APMIG_LOCK_HELD, NULL);
    pass(fixture, 60 * G_USEC_PER_SEC);
    expect_no_reading(fixture);
}

static void
test_stranger(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigAction) reply = NULL;

    request(fixture, "aaaaaaaa", "05.*");
    for (guint i = 0; i < 10; i++) {
        read_uses(fixture, NULL);
        assert_state(fixture, "aaaaaaaa", APMIG_LOCK_DRAINING, "05.0012 (mediated device " D2 ")");
        expect_no_reading(fixture);
        pass(fixture, G_USEC_PER_SEC);
    }
    pass(fixture, 60 * G_USEC_PER_SEC);
    reply = next(fixture, APMIG_ACTION_REPLY_ERROR);
    g_assert_null(reply); /* not before it is removed */
    apmig_action_free(next(fixture, APMIG_ACTION_READ_USES));
    {
        g_autoptr(ApmigAction) removal = next(fixture, APMIG_ACTION_REMOVE_LOCK);

        g_assert_nonnull(removal);
        tell(fixture, (ApmigEvent){.type = APMIG_EVENT_LOCK_REMOVED, .persisted = {removal->op, NULL}});
    }
    reply = next(fixture, APMIG_ACTION_REPLY_ERROR);
    g_assert_nonnull(reply);
    g_assert_cmpint(reply->code, ==, APMIG_ERROR_TIMEOUT);
    assert_says(reply->message, "05.0012 (mediated device " D2 ")");
}

static void
test_stranger_ends(Fixture *fixture, gconstpointer data)
{
    request(fixture, "aaaaaaaa", "all");
    read_uses(fixture, NULL);
    assert_state(fixture, "aaaaaaaa", APMIG_LOCK_DRAINING, "05.0012");
    ((ApmigApQueue *)fixture->host->queues->pdata[1])->status = APMIG_AP_STATUS_ASSIGNED;
    pass(fixture, G_USEC_PER_SEC);
    read_uses(fixture, NULL);
    assert_state(fixture, "aaaaaaaa", APMIG_LOCK_HELD, NULL);
}

/* The guest was started after the list, and is in the next one. */
static void
test_guest_that_starts(Fixture *fixture, gconstpointer data)
{
    fixture->has_guest = FALSE;
    request(fixture, "aaaaaaaa", "04.*");
    fixture->has_guest = TRUE;
    read_uses(fixture, NULL);
    assert_state(fixture, "aaaaaaaa", APMIG_LOCK_DRAINING, "04.0012");
    pass(fixture, G_USEC_PER_SEC);
    read_uses(fixture, NULL);
    assert_state(fixture, "aaaaaaaa", APMIG_LOCK_HELD, NULL);
}

static void
test_reading_that_fails(Fixture *fixture, gconstpointer data)
{
    request(fixture, "aaaaaaaa", "04.*");
    read_uses(fixture, "sysfs did not tell in time");
    assert_state(fixture, "aaaaaaaa", APMIG_LOCK_DRAINING, "sysfs did not tell in time");
    g_assert_cmpint(apmig_engine_next_deadline(fixture->engine), <=, fixture->now + G_USEC_PER_SEC);
    pass(fixture, G_USEC_PER_SEC);
    read_uses(fixture, NULL);
    assert_state(fixture, "aaaaaaaa", APMIG_LOCK_HELD, NULL);
}

/* Each lock has its own proof; and an answer to another question is none. */
static void
test_two_locks(Fixture *fixture, gconstpointer data)
{
    request(fixture, "aaaaaaaa", "04.*");
    tell(fixture,
         (ApmigEvent){.type = APMIG_EVENT_USES_READ, .uses_read = {G_MAXUINT64, fixture->host, NULL}});
    assert_state(fixture, "aaaaaaaa", APMIG_LOCK_DRAINING, "being read");
    read_uses(fixture, NULL);
    request(fixture, "bbbbbbbb", "05.*");
    read_uses(fixture, NULL);
    assert_state(fixture, "aaaaaaaa", APMIG_LOCK_HELD, NULL);
    assert_state(fixture, "bbbbbbbb", APMIG_LOCK_DRAINING, "05.0012");
}

static void
test_host_without(Fixture *fixture, gconstpointer data)
{
    tell(fixture, (ApmigEvent){.type = APMIG_EVENT_HARDWARE_CHANGED, .hardware = {FALSE}});
    request(fixture, "aaaaaaaa", "all");
    expect_no_reading(fixture);
    assert_state(fixture, "aaaaaaaa", APMIG_LOCK_HELD, NULL);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, func) g_test_add("/engine-uses/" path, Fixture, NULL, set_up, func, tear_down)
    ADD("our-guest", test_our_guest);
    ADD("stranger", test_stranger);
    ADD("stranger-ends", test_stranger_ends);
    ADD("guest-that-starts", test_guest_that_starts);
    ADD("reading-that-fails", test_reading_that_fails);
    ADD("two-locks", test_two_locks);
    ADD("host-without", test_host_without);
#undef ADD
    return g_test_run();
}
