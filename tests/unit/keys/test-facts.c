/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which of the changes that cards tell were announced. */
#include "keys/facts.h"

#include "ap/fixture.h"

#define AES(new, cur) "AES NEW: " new "\nAES CUR: " cur "\n"
#define EMPTY         "empty 0x0000000000000000"
#define FULL          "full 0x2222222222222222"
#define K1            "valid 0x1111111111111111"
#define K2            "valid 0x2222222222222222"
#define NONE          "invalid 0x0000000000000000"
#define DASHES        "- -"
#define WK(last)      "0x00112233445566778899aabbccddeeff00112233445566778899aabbccddee" last "\n"

static ApmigWatch *
watch_new(void)
{
    return apmig_watch_new(&apmig_key_kind);
}

/* Returns: (transfer full) (nullable): what is told when 02.0004 says @text in two readings, with locks over @covered. */
static ApmigWatchChanges *
observe(ApmigWatch *watch, const char *text, const char *covered)
{
    g_autoptr(ApmigScope) all = apmig_scope_new_all();
    g_autoptr(ApmigScope) locked = covered ? scope_of(covered) : apmig_scope_new_none();
    g_autoptr(ApmigScope) left = apmig_scope_without(all, locked);
    g_autoptr(GPtrArray) readings = g_ptr_array_new();
    g_autoptr(GHashTable) facts = NULL;
    ApmigKeyReading reading = {0x02, 0x04, mkvps_of(text)};

    g_ptr_array_add(readings, &reading);
    facts = apmig_key_facts(readings);
    apmig_watch_begin(watch, "", "although nobody has locked them", left, NULL, G_MININT64);
    g_assert_null(apmig_watch_observe(watch, facts, 1, 1));
    return apmig_watch_observe(watch, facts, 2, 2);
}

static void
test_what_is_a_change(void)
{
    static const struct {
        const char *before, *now, *says; /* NULL: no change */
    } cases[] = {
        {NULL, AES(EMPTY, K1), NULL},
        {NULL, AES(FULL, K1), "AES NEW is full in AP queue 02.0004"},
        {AES(EMPTY, K1), AES(EMPTY, K1), NULL},
        {AES(EMPTY, K1), AES("partial 0x0000000000000000", K1), "AES NEW is partial"},
        {AES("partial 0x0000000000000000", K1), AES(FULL, K1), NULL}, /* it was told when it began */
        {AES(FULL, K1), AES(EMPTY, K2),
         "AES CUR was 0x1111111111111111 and is 0x2222222222222222 in AP queue 02.0004"},
        {AES(EMPTY, K1), AES(EMPTY, NONE), "and is invalid"},
        {AES(EMPTY, NONE), AES(EMPTY, K1), "was invalid and is 0x1111111111111111"},
        {AES(EMPTY, NONE), AES(EMPTY, NONE), NULL},
        {AES(EMPTY, K1), AES(DASHES, DASHES), NULL},
        {"WK CUR: invalid -\nWK NEW: empty -\n",
         "WK CUR: invalid -\nWK NEW: uncommitted "
         "0x00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n",
         "WK NEW is uncommitted"},
        {"WK CUR: valid " WK("00"), "WK CUR: valid " WK("99"), NULL}, /* the kernel does not compare so far */
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(ApmigWatch) watch = watch_new();
        g_autoptr(ApmigWatchChanges) first = cases[i].before ? observe(watch, cases[i].before, "all") : NULL;
        g_autoptr(ApmigWatchChanges) changes = observe(watch, cases[i].now, NULL);
        g_autoptr(ApmigWatchChanges) again = observe(watch, cases[i].now, NULL);
        g_autoptr(ApmigScope) group = NULL;

        g_assert_null(first); /* it was announced */
        g_assert_null(again); /* it is told once */
        g_assert_cmpint(changes != NULL, ==, cases[i].says != NULL);
        if (!changes)
            continue;
        assert_says(changes->message, "Master keys change although nobody has locked them: ");
        assert_says(changes->message, cases[i].says);
        g_assert_cmpstr(apmig_scope_to_string(changes->queues), ==, "02.0004");
        group = apmig_key_group(changes->queues);
        g_assert_cmpstr(apmig_scope_to_string(group), ==, "*.0004");
    }
}

/* Under a lock everything may change, and what it has become is not told after it either, unless it is unfinished. */
static void
test_announced(void)
{
    g_autoptr(ApmigWatch) watch = watch_new();
    g_autoptr(ApmigScope) scope = scope_of("*.0004");
    g_autoptr(ApmigWatchChanges) missed = NULL;

    g_assert_null(observe(watch, AES(EMPTY, K1), NULL));
    g_assert_null(observe(watch, AES(FULL, K1), "*.0004"));
    apmig_key_facts_forget(watch, scope);
    g_assert_null(observe(watch, AES(EMPTY, K2), NULL)); /* set since then, and released */
    apmig_key_facts_forget(watch, scope);
    missed = observe(watch, AES(FULL, K2), NULL);
    assert_says(missed->message, "AES NEW is full");
}

/* A reading that failed in between hides nothing. */
static void
test_over_a_gap(void)
{
    g_autoptr(ApmigWatch) watch = watch_new();
    g_autoptr(ApmigWatchChanges) changes = NULL;

    g_assert_null(observe(watch, AES(EMPTY, K1), NULL));
    g_assert_null(observe(watch, AES(DASHES, DASHES), NULL));
    changes = observe(watch, AES(EMPTY, K2), NULL);
    assert_says(changes->message, "and is 0x2222222222222222");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/key-facts/what-is-a-change", test_what_is_a_change);
    g_test_add_func("/key-facts/announced", test_announced);
    g_test_add_func("/key-facts/over-a-gap", test_over_a_gap);
    return g_test_run();
}
