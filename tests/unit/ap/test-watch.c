/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* When a change counts: two readings in a row agree on it; and for whom. */
#include "ap/watch.h"

#include "ap/fixture.h"

static void
describe(const ApmigApqn *queue, char *const *was, char *const *is, GPtrArray *places)
{
    for (guint i = 0; i < APMIG_WATCH_ASPECTS; i++)
        if (was[i])
            g_ptr_array_add(places, g_strdup_printf("%s to %s", was[i], is[i]));
}

static const ApmigWatchKind kind = {.subject = "It changes", .separator = "; ", .describe = describe};

/* A watch for which lock l is in force, and which has read that 02.0004 is "old" at 2. */
static ApmigWatch *
watch_new(void)
{
    ApmigWatch *watch = apmig_watch_new(&kind);
    g_autoptr(GHashTable) facts = apmig_facts_new();
    g_autoptr(ApmigScope) all = scope_of("all");

    apmig_watch_begin(watch, "l", "under l", all, NULL, 1);
    apmig_facts_of_queue(facts, 2, 4)->clauses[0] = g_strdup("old");
    g_assert_null(apmig_watch_observe(watch, facts, 2, 2));
    return watch;
}

/* Returns: (transfer full): what is told when 02.0004 says @clause; "" for nothing. @clause: "?": nothing is known */
static char *
observe_at(ApmigWatch *watch, const char *clause, gint64 at)
{
    g_autoptr(GHashTable) facts = apmig_facts_new();
    g_autoptr(ApmigWatchChanges) changes = NULL;

    apmig_facts_of_queue(facts, 2, 4)->clauses[0] = g_str_equal(clause, "?") ? NULL : g_strdup(clause);
    changes = apmig_watch_observe(watch, facts, at, at);
    return g_strdup(changes ? changes->message : "");
}

static void
assert_told(ApmigWatch *watch, const char *clause, gint64 at, const char *message)
{
    g_autofree char *told = observe_at(watch, clause, at);

    g_assert_cmpstr(told, ==, message);
}

/* What a row of readings tells, and by which of them. */
static void
test_readings(void)
{
    static const struct {
        const char *readings; /* words */
        guint told_by;        /* 0: none; from 1 */
        const char *message;
        gboolean is_unsettled; /* at the end */
    } cases[] = {
        {"new", 0, "", TRUE},
        {"new new", 2, "It changes under l: old to new.", FALSE},
        {"new new new new", 2, "It changes under l: old to new.", FALSE},
        {"new old", 0, "", TRUE}, /* whether that was all is not known yet */
        {"new old old", 0, "", FALSE},
        {"new newer newer", 3, "It changes under l: old to newer.", FALSE},
        {"? new ? new", 4, "It changes under l: old to new.", FALSE}, /* what fails hides nothing */
        {"new old new old new", 5, "It changes under l: old to new.", FALSE},
        {"new newer new newer old new", 6, "It changes under l: old to new.", FALSE},
        {"new ? ? ? ?", 0, "", FALSE}, /* nobody waits for ever */
        {"new ? ? ? ? new new", 7, "It changes under l: old to new.", FALSE},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(ApmigWatch) watch = watch_new();
        g_auto(GStrv) readings = g_strsplit(cases[i].readings, " ", -1);

        g_assert_false(apmig_watch_is_unsettled(watch));
        for (guint j = 0; readings[j]; j++)
            assert_told(watch, readings[j], 3 + (gint64)j, j + 1 == cases[i].told_by ? cases[i].message : "");
        g_assert_cmpint(apmig_watch_is_unsettled(watch), ==, cases[i].is_unsettled);
    }
}

/* Each at its own pace, each told once. */
static void
test_two_at_a_time(void)
{
    static const char *const first[] = {"a", "b", "b", "b"}, *const second[] = {"a", "a", "b", "b"};
    static const char *const told[] = {"", "", "It changes under l: a to b.", "It changes under l: a to b."};
    g_autoptr(ApmigWatch) watch = watch_new();

    for (guint i = 0; i < G_N_ELEMENTS(told); i++) {
        g_autoptr(GHashTable) facts = apmig_facts_new();
        g_autoptr(ApmigWatchChanges) changes = NULL;

        apmig_facts_of_queue(facts, 3, 4)->clauses[0] = g_strdup(first[i]);
        apmig_facts_of_queue(facts, 3, 5)->clauses[0] = g_strdup(second[i]);
        changes = apmig_watch_observe(watch, facts, 3 + i, 3 + i);
        g_assert_cmpstr(changes ? changes->message : "", ==, told[i]);
    }
}

/* The change was there before the lock's end, though the reading that agrees came after it. */
static void
test_end_between_two_readings(void)
{
    g_autoptr(ApmigWatch) watch = watch_new();

    assert_told(watch, "new", 3, "");
    g_assert_true(apmig_watch_end(watch, "l", 4));
    assert_told(watch, "new", 5, "It changes under l: old to new.");
    assert_told(watch, "newer", 6, "");
    g_assert_false(apmig_watch_is_unsettled(watch)); /* it concerns nobody, so nobody waits for more */
}

/* A lock that begins in between has nothing to do with it. */
static void
test_begin_between_two_readings(void)
{
    g_autoptr(ApmigWatch) watch = watch_new();
    g_autoptr(ApmigScope) all = scope_of("all");

    assert_told(watch, "new", 3, "");
    apmig_watch_begin(watch, "m", "under m", all, NULL, 4);
    assert_told(watch, "new", 5, "It changes under l: old to new.");
    assert_told(watch, "newer", 6, "");
    assert_told(watch, "newer", 7, "It changes under l, under m: new to newer.");
}

/* A reading may have begun later than it was asked for: after a lock that was held meanwhile. */
static void
test_late_reading(void)
{
    g_autoptr(ApmigWatch) watch = watch_new();
    g_autoptr(ApmigScope) all = scope_of("all");
    g_autoptr(GHashTable) facts = apmig_facts_new();

    apmig_watch_begin(watch, "m", "under m", all, NULL, 4);
    apmig_facts_of_queue(facts, 2, 4)->clauses[0] = g_strdup("old");
    g_assert_null(apmig_watch_observe(watch, facts, 3, 5));
    assert_told(watch, "new", 6, "");
    assert_told(watch, "new", 7, "It changes under l, under m: old to new.");
}

static void
test_forgotten(void)
{
    g_autoptr(ApmigWatch) watch = watch_new();
    g_autoptr(ApmigScope) scope = scope_of("02.*");

    assert_told(watch, "new", 3, "");
    apmig_watch_forget(watch, scope, 0);
    assert_told(watch, "new", 4, "");
    g_assert_false(apmig_watch_is_unsettled(watch));
    assert_told(watch, "newer", 5, "");
    assert_told(watch, "newer", 6, "It changes under l: new to newer.");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/watch/readings", test_readings);
    g_test_add_func("/watch/two-at-a-time", test_two_at_a_time);
    g_test_add_func("/watch/end-between-two-readings", test_end_between_two_readings);
    g_test_add_func("/watch/begin-between-two-readings", test_begin_between_two_readings);
    g_test_add_func("/watch/late-reading", test_late_reading);
    g_test_add_func("/watch/forgotten", test_forgotten);
    return g_test_run();
}
