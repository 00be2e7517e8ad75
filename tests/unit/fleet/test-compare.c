/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fleet/compare.h"
#include "fleet/keys-fixture.h"

#include "ap/fixture.h"

#define W1 "0xf9d6ef6c1e0bb9fc1a37ebdd2d4e1a01c0ffee00c0ffee00c0ffee00c0ffee00"
#define W2 "0xf9d6ef6c1e0bb9fc1a37ebdd2d4e1a010badcafe0badcafe0badcafe0badcafe"

typedef struct {
    Fleet fleet;
    GPtrArray *keys; /* of ApmigFleetKeys: kvm1 to kvm3, without any */
} Fixture;

#define CASE(name, test) g_test_add("/fleet/compare/" name, Fixture, NULL, set_up, test, tear_down)

static void
set_up(Fixture *fixture, gconstpointer data)
{
    fleet_set_up(&fixture->fleet, data);
    fixture->keys = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_fleet_keys_free);
    for (guint n = 1; n <= 3; n++)
        g_ptr_array_add(fixture->keys, fleet_keys_new(n));
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

/* @expected: "STANDING: CLAUSE" of each finding, ended by %NULL */
static void
assert_found(const Fixture *fixture, const char *scope, const char *const *expected)
{
    g_autoptr(ApmigScope) parsed = scope_of(scope);
    g_autoptr(GPtrArray) findings = apmig_fleet_compare_keys(fixture->fleet.document, parsed, fixture->keys);

    for (guint i = 0; i < findings->len; i++) {
        const ApmigFleetKeyFinding *finding = g_ptr_array_index(findings, i);
        g_autofree char *text =
            g_strdup_printf("%s: %s", apmig_fleet_key_standing_to_string(finding->standing), finding->clause);

        g_assert_cmpstr(text, ==, expected[i]);
        g_assert_nonnull(expected[i]);
    }
    g_assert_null(expected[findings->len]);
}

#define FOUND(...)                                                                                           \
    (const char *const[])                                                                                    \
    {                                                                                                        \
        __VA_ARGS__, NULL                                                                                    \
    }

static void
test_in_step(Fixture *fixture, gconstpointer data)
{
    for (guint n = 1; n <= 3; n++)
        fleet_keys_add_aes(keys_of(fixture, n), 4, 0x12, K1);
    assert_found(fixture, "all", FOUND("in-step: AES CUR of AP queue 04.0012 is " K1 " on kvm1, kvm2, kvm3"));
    assert_found(fixture, "05.*", FOUND(NULL));
}

/* The odd one comes last, whatever its number. */
static void
test_differs(Fixture *fixture, gconstpointer data)
{
    fleet_keys_add_aes(keys_of(fixture, 1), 4, 0x12, K3);
    fleet_keys_add_aes(keys_of(fixture, 2), 4, 0x12, K1);
    fleet_keys_add_aes(keys_of(fixture, 3), 4, 0x12, K1);
    assert_found(fixture, "all",
                 FOUND("differs: AES CUR of AP queue 04.0012 is " K1 " on kvm2, kvm3 but " K3 " on kvm1"));
}

/* Not the same queue: that they differ is no matter of the fleet. */
static void
test_other_domains(Fixture *fixture, gconstpointer data)
{
    fleet_keys_add_aes(keys_of(fixture, 1), 4, 0x12, K1);
    fleet_keys_add_aes(keys_of(fixture, 2), 4, 0x13, K2);
    assert_found(fixture, "all",
                 FOUND("in-step: AES CUR of AP queue 04.0012 is " K1 " on kvm1",
                       "in-step: AES CUR of AP queue 04.0013 is " K2 " on kvm2"));
}

static void
test_no_key_on_one(Fixture *fixture, gconstpointer data)
{
    fleet_keys_add_aes(keys_of(fixture, 1), 4, 0x12, K1);
    fleet_keys_add(keys_of(fixture, 2), 4, 0x12, APMIG_KEY_AES, "empty", "invalid", "invalid");
    assert_found(fixture, "all",
                 FOUND("differs: AES CUR of AP queue 04.0012 is " K1 " on kvm1 but none on kvm2"));
}

static void
test_no_key_anywhere(Fixture *fixture, gconstpointer data)
{
    fleet_keys_add(keys_of(fixture, 1), 4, 0x12, APMIG_KEY_APKA, "empty", "invalid", "invalid");
    fleet_keys_add(keys_of(fixture, 2), 4, 0x12, APMIG_KEY_APKA, "empty", "empty", "invalid");
    assert_found(fixture, "all", FOUND("in-step: APKA CUR of AP queue 04.0012 is none on kvm1, kvm2"));
}

static void
test_unknown(Fixture *fixture, gconstpointer data)
{
    fleet_keys_add_unknown(keys_of(fixture, 1), 4, 0x12, APMIG_KEY_AES);
    fleet_keys_add_unknown(keys_of(fixture, 3), 4, 0x12, APMIG_KEY_AES);
    fleet_keys_add_aes(keys_of(fixture, 2), 5, 0x13, K1);
    fleet_keys_add_unknown(keys_of(fixture, 3), 5, 0x13, APMIG_KEY_AES);
    assert_found(fixture, "all",
                 FOUND("unknown: AES CUR of AP queue 04.0012 is not known on kvm1, kvm3",
                       "in-part: AES CUR of AP queue 05.0013 is " K1 " on kvm2"));
}

/* What the card contradicts, what is valid without a pattern. */
static void
test_counts_no_more(Fixture *fixture, gconstpointer data)
{
    fleet_keys_add(keys_of(fixture, 1), 4, 0x12, APMIG_KEY_AES, NULL, "valid " K1, NULL)->contradicted = TRUE;
    fleet_keys_add(keys_of(fixture, 2), 4, 0x12, APMIG_KEY_AES, NULL, "valid", NULL);
    fleet_keys_add_aes(keys_of(fixture, 3), 4, 0x12, K2);
    assert_found(fixture, "all", FOUND("in-part: AES CUR of AP queue 04.0012 is " K2 " on kvm3"));
}

static void
test_unfinished(Fixture *fixture, gconstpointer data)
{
    fleet_keys_add_aes(keys_of(fixture, 1), 4, 0x12, K1);
    fleet_keys_add(keys_of(fixture, 2), 4, 0x12, APMIG_KEY_AES, "full " K3, "valid " K1, "invalid");
    fleet_keys_add(keys_of(fixture, 3), 4, 0x12, APMIG_KEY_AES, "partial", "valid " K1, "invalid");
    assert_found(fixture, "all",
                 FOUND("unfinished: AES NEW of AP queue 04.0012 is full " K3
                       " on kvm2 but none on kvm1 but partial on kvm3",
                       "in-step: AES CUR of AP queue 04.0012 is " K1 " on kvm1, kvm2, kvm3"));
}

/* A guest whose keys are not re-enciphered yet still needs it; a card that has been replaced has none. */
static void
test_old(Fixture *fixture, gconstpointer data)
{
    fleet_keys_add(keys_of(fixture, 1), 4, 0x12, APMIG_KEY_AES, "empty", "valid " K1, "valid " K2);
    fleet_keys_add(keys_of(fixture, 2), 4, 0x12, APMIG_KEY_AES, "empty", "valid " K1, "invalid");
    assert_found(fixture, "all", FOUND("in-step: AES CUR of AP queue 04.0012 is " K1 " on kvm1, kvm2"));
    fleet_keys_add(keys_of(fixture, 3), 4, 0x12, APMIG_KEY_AES, "empty", "valid " K1, "valid " K3);
    assert_found(fixture, "all",
                 FOUND("in-step: AES CUR of AP queue 04.0012 is " K1 " on kvm1, kvm2, kvm3",
                       "differs: AES OLD of AP queue 04.0012 is " K2 " on kvm1 but " K3
                       " on kvm3 but none on kvm2"));
}

/* Of a WK as many bytes count as the kernel compares, and as zkey shows. */
static void
test_wk(Fixture *fixture, gconstpointer data)
{
    fleet_keys_add(keys_of(fixture, 1), 5, 0x12, APMIG_KEY_WK, "empty", "valid " W1, NULL);
    fleet_keys_add(keys_of(fixture, 2), 5, 0x12, APMIG_KEY_WK, "empty", "valid " W2, NULL);
    assert_found(
        fixture, "all",
        FOUND("in-step: WK CUR of AP queue 05.0012 is 0xf9d6ef6c1e0bb9fc1a37ebdd2d4e1a01 on kvm1, kvm2"));
}

static void
test_adapters_differ(Fixture *fixture, gconstpointer data)
{
    ApmigFleetKeys *keys = keys_of(fixture, 2);

    fleet_keys_add_aes(keys, 5, 0x12, K2);
    fleet_keys_add_aes(keys, 4, 0x12, K1);
    fleet_keys_add_aes(keys, 7, 0x13, K3);
    fleet_keys_add_unknown(keys, 8, 0x12, APMIG_KEY_AES);
    assert_found(fixture, "04-05.*",
                 FOUND("in-step: AES CUR of AP queue 04.0012 is " K1 " on kvm2",
                       "in-step: AES CUR of AP queue 05.0012 is " K2 " on kvm2",
                       "differs: AES CUR of AP queue 04.0012 is " K1 " on kvm2 but " K2 " in 05.0012 there"));
    /* whichever of them is the lock's; and neither of another lock */
    assert_found(fixture, "05.0012",
                 FOUND("differs: AES CUR of AP queue 05.0012 is " K2 " on kvm2 but " K1 " in 04.0012 there",
                       "in-step: AES CUR of AP queue 05.0012 is " K2 " on kvm2"));
    assert_found(fixture, "07.0013", FOUND("in-step: AES CUR of AP queue 07.0013 is " K3 " on kvm2"));
}

static void
test_passed_over(Fixture *fixture, gconstpointer data)
{
    fleet_keys_add_aes(keys_of(fixture, 1), 4, 0x12, K1);
    fleet_keys_add_aes(keys_of(fixture, 2), 4, 0x12, K2);
    fleet_keys_add_aes(keys_of(fixture, 3), 4, 0x12, K3);
    fleet_set_text(&keys_of(fixture, 2)->head.problem, "it cannot be parsed");
    fleet_set_text(&keys_of(fixture, 3)->head.host, fleet_host_id(4));
    assert_found(fixture, "all", FOUND("in-step: AES CUR of AP queue 04.0012 is " K1 " on kvm1"));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    CASE("in-step", test_in_step);
    CASE("differs", test_differs);
    CASE("other-domains", test_other_domains);
    CASE("no-key-on-one", test_no_key_on_one);
    CASE("no-key-anywhere", test_no_key_anywhere);
    CASE("unknown", test_unknown);
    CASE("counts-no-more", test_counts_no_more);
    CASE("unfinished", test_unfinished);
    CASE("old", test_old);
    CASE("wk", test_wk);
    CASE("adapters-differ", test_adapters_differ);
    CASE("passed-over", test_passed_over);
    return g_test_run();
}
