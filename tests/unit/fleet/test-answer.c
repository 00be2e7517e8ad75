/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fleet/fixture.h"

#include <string.h>

#include "ap/fixture.h"
#include "base/error.h"

#define HOST "11111111-1111-4111-8111-000000000001"
#define LOCK                                                                                                 \
    "{\"id\":\"3f9a21c0\",\"local-id\":\"aaaabbbb\",\"scope\":\"all\",\"state\":\"held\",\"held-at\":2,"     \
    "\"breaches\":1,\"blockers\":[\"one\",\"two\"],\"permits\":[],\"departed\":[\"three\"]}"
#define SOUND                                                                                                \
    "{\"version\":1,\"fleet\":\"prod\",\"host\":\"" HOST "\",\"cluster-id\":\"11181209318209912301\","       \
    "\"revision\":7,\"boot-id\":\"22222222-2222-4222-8222-000000000001\",\"apmigd\":\"0.1.0\","              \
    "\"hook-problem\":\"\",\"locks\":[" LOCK "]}"

static ApmigFleetAnswer *
parse(const char *text, GError **error)
{
    return apmig_fleet_answer_parse(text, strlen(text), "ack", error);
}

static void
test_round_trip(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigFleetAnswer) answer = parse(SOUND, &error);
    const ApmigFleetLockAnswer *lock;
    g_autofree char *text = NULL;

    g_assert_no_error(error);
    g_assert_null(answer->head.problem);
    g_assert_cmpint(answer->head.revision, ==, 7);
    g_assert_cmpint(answer->head.received_at, ==, 0);
    lock = g_ptr_array_index(answer->locks, 0);
    g_assert_cmpint(lock->state, ==, APMIG_FLEET_HOST_HELD);
    g_assert_cmpuint(lock->breaches, ==, 1);
    g_assert_cmpstr(lock->blockers[1], ==, "two");
    g_assert_cmpstr(lock->departed[0], ==, "three");
    text = apmig_fleet_answer_write(answer, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(text, ==, SOUND);
}

static void
test_states(void)
{
    static const char *const words[] = {"requested", "draining",  "permitted", "unproven",   "breached",
                                        "verifying", "recovered", "released",  "forced-open"};

    for (gsize i = 0; i < G_N_ELEMENTS(words); i++) {
        g_autofree char *word = g_strdup_printf("\"%s\"", words[i]);
        g_autofree char *text = fleet_replace(SOUND, "\"held\"", word);
        g_autoptr(GError) error = NULL;
        g_autoptr(ApmigFleetAnswer) answer = parse(text, &error);
        g_autofree char *again = answer ? apmig_fleet_answer_write(answer, &error) : NULL;

        g_assert_no_error(error);
        g_assert_cmpstr(again, ==, text);
    }
}

static const struct {
    const char *old, *new_text, *message;
} faults[] = {
    {"\"version\":1", "\"version\":2",
     "ack: $.version is 2, and only version 1 is supported: upgrade apmigd."},
    {"\"apmigd\"", "\"apmig\"",
     "ack: $.apmig is unknown, the keys here are: version, fleet, host, cluster-id, revision, boot-id, "
     "apmigd, hook-problem, locks."},
    {HOST, "kvm1", "ack: $.host must be a UUID in lower case."},
    {"\"fleet\":\"prod\"", "\"fleet\":\"\"", "ack: $.fleet must not be empty."},
    {"\"11181209318209912301\"", "11181209", "ack: $.cluster-id must be a string, \"\" for none."},
    {"11181209318209912301", "111812093182099123011",
     "ack: $.cluster-id has 21 bytes, at most 20 are allowed."},
    {"11181209318209912301", "1e5", "ack: $.cluster-id must be a string of decimal digits."},
    {"11181209318209912301", "", "ack: $.cluster-id must be a string of decimal digits."},
    {"\"revision\":7", "\"revision\":0", "ack: $.revision is 0, and must be from 1 on."},
    {"\"revision\":7", "\"revision\":7.5", "ack: $.revision must be an integer."},
    {"\"revision\":7", "\"revision\":1234567890123456789", "ack:1:122: a number has at most 18 digits."},
    {"\"revision\":7,", "", "ack: $.revision must be an integer."},
    {"22222222-2222-4222-8222-000000000001", "x", "ack: $.boot-id must be a UUID in lower case."},
    {LOCK, LOCK "," LOCK, "ack: $.locks[1].id is 3f9a21c0, which stands there twice."},
    {LOCK, "[]", "ack: $.locks[0] must be an object."},
    {"[" LOCK "]", "7", "ack: $.locks must be an array."},
    {"\"id\":\"3f9a21c0\"", "\"id\":\"\"",
     "ack: $.locks[0].id must be the id of a lock, 8 to 32 hexadecimal digits in lower case."},
    {"\"all\"", "\"04.xx\"",
     "ack: $.locks[0].scope is no scope (The scope is wrong at position 4: expected a domain of 1 to 4 "
     "hexadecimal digits or \"*\", found \"xx\")."},
    {"\"held\"", "\"open\"", "ack: $.locks[0].state must be a state of a lock on a host, such as held."},
    {"\"held-at\":2", "\"held-at\":0",
     "ack: $.locks[0].state is held, and so \"held-at\" must not be 0 nor \"local-id\" empty."},
    {"aaaabbbb", "",
     "ack: $.locks[0].state is held, and so \"held-at\" must not be 0 nor \"local-id\" empty."},
    {"\"breaches\":1", "\"breaches\":4294967296",
     "ack: $.locks[0].breaches is 4294967296, and must be from 0 on, and smaller."},
    {"\"one\"", "\"\"",
     "ack: $.locks[0].blockers must hold strings of 1 to 1024 bytes without control characters."},
    {"\"one\"", "1",
     "ack: $.locks[0].blockers must hold strings of 1 to 1024 bytes without control characters."},
    {"\"one\"", "null",
     "ack: $.locks[0].blockers must hold strings of 1 to 1024 bytes without control characters."},
    {"\"one\"", "\"a\\u001bb\"",
     "ack: $.locks[0].blockers must hold strings of 1 to 1024 bytes without control characters."},
    {",\"departed\":[\"three\"]", "", "ack: $.locks[0].departed must be an array."},
};

static void
test_faults(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(faults); i++) {
        g_autofree char *text = fleet_replace(SOUND, faults[i].old, faults[i].new_text);
        g_autoptr(GError) error = NULL;
        g_autoptr(ApmigFleetAnswer) answer = parse(text, &error);

        g_assert_null(answer);
        g_assert_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION);
        g_assert_cmpstr(error->message, ==, faults[i].message);
    }
}

static void
test_cut(void)
{
    for (gsize length = 0; length < strlen(SOUND); length++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(ApmigFleetAnswer) answer = apmig_fleet_answer_parse(SOUND, length, "ack", &error);

        g_assert_null(answer);
        g_assert_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION);
    }
}

static void
assert_not_written(const ApmigFleetAnswer *answer, const char *problem)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(apmig_fleet_answer_write(answer, &error));
    g_assert_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION);
    assert_says(error->message, problem);
}

static void
test_bounds(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigFleetAnswer) answer = parse(SOUND, &error);
    ApmigFleetLockAnswer *lock = g_ptr_array_index(answer->locks, 0);
    g_autofree char *clause = g_strnfill(APMIG_FLEET_MAX_CLAUSE_LENGTH + 1, 'x');
    g_autoptr(GPtrArray) many = g_ptr_array_new();

    for (guint i = 0; i <= APMIG_FLEET_MAX_BLOCKERS; i++)
        g_ptr_array_add(many, (gpointer) "one");
    g_ptr_array_add(many, NULL);
    g_strfreev(lock->permits);
    lock->permits = g_strdupv((char **)many->pdata);
    assert_not_written(answer, "$.locks[0].permits has 65 elements, at most 64 are allowed.");
    fleet_set_clause(&lock->permits, clause);
    assert_not_written(answer, "$.locks[0].permits must hold strings of 1 to 1024 bytes");
    fleet_set_clause(&lock->permits, NULL);
    fleet_set_text(&answer->hook_problem, clause);
    assert_not_written(answer, "$.hook-problem has 1025 bytes, at most 1024 are allowed.");
    fleet_set_text(&answer->hook_problem, "");
    g_clear_pointer(&lock->scope, apmig_scope_unref);
    assert_not_written(answer, "$.locks[0].scope has no AP queue in it.");
    g_ptr_array_set_size(answer->locks, 0);
    for (guint i = 0; i <= APMIG_FLEET_MAX_LOCKS; i++)
        g_ptr_array_add(answer->locks, apmig_fleet_lock_answer_new("3f9a21c0"));
    assert_not_written(answer, "$.locks has 65 elements, at most 64 are allowed.");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fleet/answer/round-trip", test_round_trip);
    g_test_add_func("/fleet/answer/states", test_states);
    g_test_add_func("/fleet/answer/faults", test_faults);
    g_test_add_func("/fleet/answer/cut", test_cut);
    g_test_add_func("/fleet/answer/bounds", test_bounds);
    return g_test_run();
}
