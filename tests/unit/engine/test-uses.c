/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A lock over queues that a QEMU uses which is not of this hypervisor is not held. */
#include "ap/fixture.h"
#include "engine/fixture.h"

#define G1 "11111111-1111-4111-8111-111111111111"
#define D1 "a1b2c3d4-f1bb-47f0-914d-000000000101"
#define D2 "a1b2c3d4-f1bb-47f0-914d-000000000102"

typedef struct {
    Story story;
    ApmigApHost *host;
    gboolean has_guest; /* G1, with D1 */
} Fixture;

static gboolean
answer(Fixture *fixture)
{
    static const ApmigGuestName guests[] = {{G1, "g1"}};
    static const char *const devices[] = {D1, NULL};
    ApmigEvent guest = {.answered = {.job = fixture->has_guest ? APMIG_JOB_NONE : APMIG_JOB_GONE,
                                     .facts = {.devices = devices}}};

    return answer_list(&fixture->story, guests, fixture->has_guest ? 1 : 0) ||
           answer_query(&fixture->story, "04.0012", guest) || answer_write(&fixture->story);
}

/* Everything but the AP bus is read and written. */
static void
settle(Fixture *fixture)
{
    while (answer(fixture))
        ;
}

static void
go_on(Fixture *fixture, gint64 usec)
{
    pass(&fixture->story, usec);
    settle(fixture);
}

/* The AP bus is read. @error: NULL: as it is */
static void
read_uses(Fixture *fixture, const char *error)
{
    g_autoptr(ApmigAction) action = expect(&fixture->story, APMIG_ACTION_READ_USES);

    g_assert_cmpint(action->reading.limit_usec, >, 0);
    tell(&fixture->story, (ApmigEvent){.type = APMIG_EVENT_USES_READ,
                                       .uses_read = {action->op, error ? NULL : fixture->host, error}});
    settle(fixture);
}

static void
set_up(Fixture *fixture, gconstpointer data)
{
    begin(&fixture->story);
    fixture->has_guest = TRUE;
    fixture->host = host_new();
    host_add_card(fixture->host, 4, "CEX8C");
    host_add_card(fixture->host, 5, "CEX8C");
    host_add_queue(fixture->host, 4, 0x12, "vfio_ap")->status = APMIG_AP_STATUS_IN_USE;
    host_add_queue(fixture->host, 5, 0x12, "vfio_ap")->status = APMIG_AP_STATUS_IN_USE;
    host_add_device(fixture->host, D1, "04.0012");
    host_add_device(fixture->host, D2, "05.0012");
    tell(&fixture->story, (ApmigEvent){.type = APMIG_EVENT_HARDWARE_CHANGED, .hardware = {TRUE}});
    open_view(&fixture->story);
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    end(&fixture->story);
    apmig_ap_host_free(fixture->host);
}

static void
request(Fixture *fixture, const char *id, const char *scope)
{
    take_lock(&fixture->story, id, scope, (ApmigEvent){.caller = 1, .take = {}});
    expect_none(&fixture->story, APMIG_ACTION_READ_USES); /* before the guests were read */
    settle(fixture);
}

static void
assert_state(Fixture *fixture, const char *id, ApmigLockState state, const char *says)
{
    const ApmigLock *lock = apmig_engine_lookup_lock(fixture->story.engine, id);
    g_autofree char *wait = apmig_engine_describe_wait(fixture->story.engine, lock);

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
    go_on(fixture, 60 * G_USEC_PER_SEC);
    expect_none(&fixture->story, APMIG_ACTION_READ_USES);
}

static void
test_stranger(Fixture *fixture, gconstpointer data)
{
    request(fixture, "aaaaaaaa", "05.*");
    for (guint i = 0; i < 10; i++) {
        read_uses(fixture, NULL);
        assert_state(fixture, "aaaaaaaa", APMIG_LOCK_DRAINING, "05.0012 (mediated device " D2 ")");
        expect_none(&fixture->story, APMIG_ACTION_READ_USES);
        go_on(fixture, G_USEC_PER_SEC);
    }
    pass(&fixture->story, 10 * G_USEC_PER_SEC);
    expect_none(&fixture->story, APMIG_ACTION_REPLY_ERROR); /* not before it is removed */
    apmig_action_free(next(&fixture->story, APMIG_ACTION_READ_USES));
    written(&fixture->story, APMIG_ACTION_REMOVE_LOCK, NULL);
    expect_error(&fixture->story, 1, APMIG_ERROR_TIMEOUT, "05.0012 (mediated device " D2 ")");
}

static void
test_stranger_ends(Fixture *fixture, gconstpointer data)
{
    request(fixture, "aaaaaaaa", "all");
    read_uses(fixture, NULL);
    assert_state(fixture, "aaaaaaaa", APMIG_LOCK_DRAINING, "05.0012");
    ((ApmigApQueue *)fixture->host->queues->pdata[1])->status = APMIG_AP_STATUS_ASSIGNED;
    go_on(fixture, G_USEC_PER_SEC);
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
    go_on(fixture, G_USEC_PER_SEC);
    read_uses(fixture, NULL);
    assert_state(fixture, "aaaaaaaa", APMIG_LOCK_HELD, NULL);
}

static void
test_reading_that_fails(Fixture *fixture, gconstpointer data)
{
    request(fixture, "aaaaaaaa", "04.*");
    read_uses(fixture, "sysfs did not tell in time");
    assert_state(fixture, "aaaaaaaa", APMIG_LOCK_DRAINING, "sysfs did not tell in time");
    g_assert_cmpint(apmig_engine_next_deadline(fixture->story.engine), <=,
                    fixture->story.now + G_USEC_PER_SEC);
    go_on(fixture, G_USEC_PER_SEC);
    read_uses(fixture, NULL);
    assert_state(fixture, "aaaaaaaa", APMIG_LOCK_HELD, NULL);
}

/* Each lock has its own proof; and an answer to another question is none. */
static void
test_two_locks(Fixture *fixture, gconstpointer data)
{
    request(fixture, "aaaaaaaa", "04.*");
    tell(&fixture->story,
         (ApmigEvent){.type = APMIG_EVENT_USES_READ, .uses_read = {G_MAXUINT64, fixture->host, NULL}});
    assert_state(fixture, "aaaaaaaa", APMIG_LOCK_DRAINING, "being read");
    read_uses(fixture, NULL);
    request(fixture, "bbbbbbbb", "05.*");
    read_uses(fixture, NULL);
    assert_state(fixture, "aaaaaaaa", APMIG_LOCK_HELD, NULL);
    assert_state(fixture, "bbbbbbbb", APMIG_LOCK_DRAINING, "05.0012");
}

/* It keeps a lock of its own from being held, and no other. */
static void
test_queue_that_hangs(Fixture *fixture, gconstpointer data)
{
    ApmigApQueue *queue = fixture->host->queues->pdata[1];

    queue->status = APMIG_AP_STATUS_UNKNOWN;
    queue->hangs = TRUE;
    request(fixture, "aaaaaaaa", "05.*");
    read_uses(fixture, NULL);
    assert_state(fixture, "aaaaaaaa", APMIG_LOCK_DRAINING, "sysfs does not tell in time");
    request(fixture, "bbbbbbbb", "04.*");
    read_uses(fixture, NULL);
    assert_state(fixture, "bbbbbbbb", APMIG_LOCK_HELD, NULL);
    queue->hangs = FALSE;
    go_on(fixture, G_USEC_PER_SEC);
    read_uses(fixture, NULL);
    assert_state(fixture, "aaaaaaaa", APMIG_LOCK_HELD, NULL);
}

static void
test_host_without(Fixture *fixture, gconstpointer data)
{
    tell(&fixture->story, (ApmigEvent){.type = APMIG_EVENT_HARDWARE_CHANGED, .hardware = {FALSE}});
    request(fixture, "aaaaaaaa", "all");
    expect_none(&fixture->story, APMIG_ACTION_READ_USES);
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
    ADD("queue-that-hangs", test_queue_that_hangs);
    ADD("two-locks", test_two_locks);
    ADD("host-without", test_host_without);
#undef ADD
    return g_test_run();
}
