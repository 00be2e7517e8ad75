/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fleet/keys-fixture.h"
#include "fleet/release.h"

#include "ap/fixture.h"

#define W "0xf9d6ef6c1e0bb9fc1a37ebdd2d4e1a01"

typedef struct {
    Fleet fleet;
    GPtrArray *keys; /* of ApmigFleetKeys: kvm1 to kvm3, in step */
} Fixture;

#define CASE(name, test) g_test_add("/fleet/release/" name, Fixture, NULL, set_up, test, tear_down)

static void
set_up(Fixture *fixture, gconstpointer data)
{
    fleet_set_up(&fixture->fleet, data);
    fleet_set_state(&fixture->fleet, APMIG_FLEET_RELEASING);
    fixture->keys = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_fleet_keys_free);
    for (guint n = 1; n <= 3; n++) {
        ApmigFleetKeys *keys = fleet_keys_new(n);

        fleet_keys_add_aes(keys, 4, 0x12, K1);
        g_ptr_array_add(fixture->keys, keys);
    }
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    fleet_tear_down(&fixture->fleet, data);
    g_ptr_array_unref(fixture->keys);
}

static ApmigFleetKeys *
keys_of(const Fixture *fixture, guint n)
{
    return g_ptr_array_index(fixture->keys, n - 1);
}

static ApmigFleetRelease *
judge(const Fixture *fixture)
{
    return apmig_fleet_judge_release(&fixture->fleet.question, &fixture->fleet.snapshot, fixture->keys);
}

static void
assert_in_step(const Fixture *fixture, const char *unverified)
{
    g_autoptr(ApmigFleetRelease) release = judge(fixture);

    g_assert_cmpstr(release->message, ==, "");
    g_assert_cmpint(release->standing, ==, APMIG_FLEET_RELEASE_IN_STEP);
    g_assert_cmpuint(release->reasons->len, ==, 0);
    g_assert_cmpstr(release->unverified, ==, unverified);
}

static void
assert_refused(const Fixture *fixture, ApmigError code, const char *message)
{
    g_autoptr(ApmigFleetRelease) release = judge(fixture);

    g_assert_cmpstr(release->message, ==, message);
    g_assert_cmpint(release->standing, ==, APMIG_FLEET_RELEASE_REFUSED);
    g_assert_cmpint(release->code, ==, code);
}

static void
assert_unanswered(const Fixture *fixture, ApmigFleetReasonKind kind, const char *host)
{
    g_autoptr(ApmigFleetRelease) release = judge(fixture);
    const ApmigFleetReason *reason;

    g_assert_cmpint(release->standing, ==, APMIG_FLEET_RELEASE_UNANSWERED);
    g_assert_cmpuint(release->reasons->len, ==, 1);
    reason = g_ptr_array_index(release->reasons, 0);
    g_assert_cmpint(reason->kind, ==, kind);
    g_assert_cmpstr(reason->host, ==, host);
    g_assert_cmpstr(release->message, ==, reason->sentence);
}

static void
test_in_step(Fixture *fixture, gconstpointer data)
{
    assert_in_step(fixture, "");
}

static void
test_unverified(Fixture *fixture, gconstpointer data)
{
    fleet_keys_add_unknown(keys_of(fixture, 1), 5, 0x12, APMIG_KEY_WK);
    fleet_keys_add(keys_of(fixture, 2), 5, 0x12, APMIG_KEY_WK, NULL, "valid " W, NULL)->evidence =
        APMIG_EVIDENCE_DECLARED;
    fleet_keys_add_unknown(keys_of(fixture, 3), 6, 0x12, APMIG_KEY_APKA);
    assert_in_step(fixture, "Not verified: AP queues 05.0012 (WK) on kvm1; 06.0012 (APKA) on kvm3.");
}

#define LOAD_THE_SAME                                                                                        \
    "; load and set the same keys on every host and release the lock again, or force the release where "     \
    "they are meant to differ."

static void
test_differs(Fixture *fixture, gconstpointer data)
{
    fleet_keys_add(keys_of(fixture, 1), 5, 0x12, APMIG_KEY_APKA, "empty", "valid " K2, "invalid");
    fleet_keys_add(keys_of(fixture, 2), 5, 0x12, APMIG_KEY_APKA, "empty", "valid " K3, "invalid");
    assert_refused(fixture, APMIG_ERROR_KEYS_DIFFER,
                   "The master keys are not in step: APKA CUR of AP queue 05.0012 is " K2 " on kvm1 but " K3
                   " on kvm2" LOAD_THE_SAME);
}

/* Nobody waits for the third, whose keys cannot mend that. */
static void
test_differs_and_silent(Fixture *fixture, gconstpointer data)
{
    g_ptr_array_set_size(fixture->keys, 1);
    g_ptr_array_add(fixture->keys, fleet_keys_new(2));
    fleet_keys_add_aes(keys_of(fixture, 2), 4, 0x12, K3);
    assert_refused(fixture, APMIG_ERROR_KEYS_DIFFER,
                   "The master keys are not in step: AES CUR of AP queue 04.0012 is " K1 " on kvm1 but " K3
                   " on kvm2" LOAD_THE_SAME);
}

static void
test_unfinished(Fixture *fixture, gconstpointer data)
{
    fleet_keys_add(keys_of(fixture, 3), 5, 0x12, APMIG_KEY_APKA, "full " K3, "valid " K1, "invalid");
    assert_refused(fixture, APMIG_ERROR_KEY_CHANGE_UNFINISHED,
                   "A key change is unfinished: APKA NEW of AP queue 05.0012 is full " K3
                   " on kvm3; set the new keys on every adapter of every host, or clear NEW, and release the "
                   "lock again.");
}

static void
test_silent(Fixture *fixture, gconstpointer data)
{
    g_ptr_array_set_size(fixture->keys, 2);
    assert_unanswered(fixture, APMIG_FLEET_SILENT, "kvm3");
}

/* Keys that were read before the release was asked for: they may have been changed since. */
static void
test_read_before(Fixture *fixture, gconstpointer data)
{
    keys_of(fixture, 3)->head.revision = FLEET_REVISION - 1;
    assert_unanswered(fixture, APMIG_FLEET_OLDER_REVISION, "kvm3");
    keys_of(fixture, 3)->head.revision = FLEET_REVISION;
    keys_of(fixture, 3)->head.received_at = FLEET_NOW - FLEET_MAX_AGE - 1;
    assert_unanswered(fixture, APMIG_FLEET_STALE, "kvm3");
}

static void
test_stranger(Fixture *fixture, gconstpointer data)
{
    g_ptr_array_add(fixture->keys, fleet_keys_new(4));
    assert_unanswered(fixture, APMIG_FLEET_NOT_LISTED, fleet_host_id(4));
}

/* Who is left out keeps its lock, whatever its keys are. */
static void
test_left_out(Fixture *fixture, gconstpointer data)
{
    g_ptr_array_set_size(fixture->keys, 2);
    g_ptr_array_add(fixture->keys, fleet_keys_new(3));
    fleet_keys_add_aes(keys_of(fixture, 3), 4, 0x12, K3);
    fleet_leave_out(&fixture->fleet, "kvm3");
    assert_in_step(fixture, "");
}

static void
test_not_releasing(Fixture *fixture, gconstpointer data)
{
    fleet_set_state(&fixture->fleet, APMIG_FLEET_LOCKED);
    assert_unanswered(fixture, APMIG_FLEET_RELEASE_ASKED, "");
    fleet_set_state(&fixture->fleet, APMIG_FLEET_RELEASING);
    fixture->fleet.snapshot.cluster_id = "42";
    assert_unanswered(fixture, APMIG_FLEET_STORE_REPLACED, "");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    CASE("in-step", test_in_step);
    CASE("unverified", test_unverified);
    CASE("differs", test_differs);
    CASE("differs-and-silent", test_differs_and_silent);
    CASE("unfinished", test_unfinished);
    CASE("silent", test_silent);
    CASE("read-before", test_read_before);
    CASE("stranger", test_stranger);
    CASE("left-out", test_left_out);
    CASE("not-releasing", test_not_releasing);
    return g_test_run();
}
