/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fleet/fixture.h"

#include <string.h>

#include "ap/fixture.h"
#include "base/error.h"

#define HOST     "11111111-1111-4111-8111-000000000001"
#define HOST2    "11111111-1111-4111-8111-000000000002"
#define LEFT_OUT "{\"host\":\"kvm2\",\"by\":\"anna\",\"reason\":\"its board is out\",\"at\":3}"
#define SOUND                                                                                                \
    "{\"version\":1,\"fleet\":\"prod\",\"members\":[{\"host\":\"" HOST "\",\"name\":\"kvm1\"},"              \
    "{\"host\":\"" HOST2 "\",\"name\":\"kvm2\"}],\"locks\":[{\"id\":\"3f9a21c0\",\"scope\":\"*.0012\","      \
    "\"reason\":\"AES rotation\",\"change-id\":\"CHG-1\",\"owner\":\"anna\",\"requested-at\":1,"             \
    "\"on-busy\":\"wait\",\"state\":\"locked\",\"left-out\":[" LEFT_OUT "]}]}"

static ApmigFleetDocument *
parse(const char *text, GError **error)
{
    return apmig_fleet_document_parse(text, strlen(text), "doc", error);
}

static void
test_round_trip(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigFleetDocument) document = parse(SOUND, &error);
    g_autofree char *text = NULL;
    const ApmigFleetLock *lock;
    const ApmigFleetLeftOut *left_out;

    g_assert_no_error(error);
    text = apmig_fleet_document_write(document, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(text, ==, SOUND);
    lock = apmig_fleet_document_find_lock(document, "3f9a21c0");
    g_assert_cmpstr(apmig_scope_to_string(lock->scope), ==, "*.0012");
    g_assert_cmpint(lock->on_busy, ==, APMIG_ON_BUSY_WAIT);
    left_out = apmig_fleet_lock_find_left_out(lock, apmig_fleet_document_find_member(document, HOST2));
    g_assert_cmpstr(left_out->reason, ==, "its board is out");
    g_assert_null(apmig_fleet_lock_find_left_out(lock, apmig_fleet_document_find_member(document, "kvm1")));
    g_assert_null(apmig_fleet_document_find_member(document, "kvm"));
    g_assert_null(apmig_fleet_document_find_member(document, ""));
    g_assert_null(apmig_fleet_document_find_lock(document, "3f9a21c1"));
}

/* What is replaced in the text, and what is said of it. */
static const struct {
    const char *old, *new_text, *message;
} faults[] = {
    {"{\"version\":1", "", "doc:1:1: the text is to be one object, in {}."},
    {"\"version\":1", "\"version\":2",
     "doc: $.version is 2, and only version 1 is supported: upgrade apmigd."},
    {"\"version\":1,", "", "doc: $.version must be the number 1."},
    {"\"fleet\"", "\"flet\"", "doc: $.flet is unknown, the keys here are: version, fleet, members, locks."},
    {"\"fleet\":\"prod\"", "\"fleet\":\"\"", "doc: $.fleet must not be empty."},
    {"\"fleet\":\"prod\"", "\"fleet\":7", "doc: $.fleet must be a string, \"\" for none."},
    {"\"fleet\":\"prod\"", "\"fleet\":\"a\\nb\"",
     "doc: $.fleet has a control character in it, write it without."},
    {"\"members\":[", "\"members\":{},\"members\":[",
     "doc:1: the key \"members\" stands twice in one object, keep one."},
    {"\"locks\":[", "\"locks\":[7,", "doc: $.locks[0] must be an object."},
    /* members */
    {HOST, "kvm1", "doc: $.members[0].host must be a UUID in lower case."},
    {HOST, "1111111A-1111-4111-8111-000000000001", "doc: $.members[0].host must be a UUID in lower case."},
    {HOST, "", "doc: $.members[0].host must be a UUID in lower case."},
    {HOST, HOST2,
     "doc: The fleet's document has two hosts of the id " HOST2
     ", one of them \"kvm2\": take out the one that is there twice."},
    {"\"name\":\"kvm1\"", "\"name\":\"kvm2\"",
     "doc: The fleet's document has two hosts that are called \"kvm2\": every host is to be told from the "
     "others."},
    {"\"name\":\"kvm1\"", "\"name\":\"11111111-1111-4111-8111-000000000003\"",
     "doc: The fleet's document has a host that is called \"11111111-1111-4111-8111-000000000003\", which is the "
     "id of another: give it a name."},
    {"\"name\":\"kvm1\"", "\"name\":\"kvm1\",\"zone\":1",
     "doc: $.members[0].zone is unknown, the keys here are: host, name."},
    /* locks */
    {"3f9a21c0", "3f9a21c",
     "doc: $.locks[0].id must be the id of a lock, 8 to 32 hexadecimal digits in lower case."},
    {"3f9a21c0", "3F9A21C0",
     "doc: $.locks[0].id must be the id of a lock, 8 to 32 hexadecimal digits in lower case."},
    {"*.0012", "none", "doc: $.locks[0].scope has no AP queue in it."},
    {"\"requested-at\":1", "\"requested-at\":-1",
     "doc: $.locks[0].requested-at is -1, and must be from 0 on."},
    {"\"requested-at\":1", "\"requested-at\":\"1\"", "doc: $.locks[0].requested-at must be an integer."},
    {"\"requested-at\":1,", "", "doc: $.locks[0].requested-at must be an integer."},
    {"\"wait\"", "\"now\"",
     "doc: $.locks[0].on-busy must be abort, wait or refuse, or \"\" for what each host's policy says."},
    {"\"locked\"", "\"open\"", "doc: $.locks[0].state must be locked, releasing or released."},
    {"\"owner\":\"anna\"", "\"owner\":\"\"", "doc: $.locks[0].owner must not be empty."},
    {"\"owner\":", "\"forced\":1,\"owner\":",
     "doc: $.locks[0].forced is unknown, the keys here are: id, scope, reason, change-id, owner, "
     "requested-at, on-busy, state, left-out."},
    /* left out */
    {"\"host\":\"kvm2\"", "\"host\":\"kvm3\"",
     "doc: The fleet's document leaves \"kvm3\" out of lock 3f9a21c0, which is no host of the fleet: see its "
     "name."},
    {LEFT_OUT, LEFT_OUT "," LEFT_OUT,
     "doc: The fleet's document leaves \"kvm2\" out of lock 3f9a21c0 twice."},
    {"\"at\":3", "\"at\":true", "doc: $.locks[0].left-out[0].at must be an integer."},
    {"\"by\":\"anna\"", "\"by\":\"\"", "doc: $.locks[0].left-out[0].by must not be empty."},
    {"[" LEFT_OUT "]", "null", "doc: $.locks[0].left-out must be an array."},
};

static void
test_faults(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(faults); i++) {
        g_autofree char *text = fleet_replace(SOUND, faults[i].old, faults[i].new_text);
        g_autoptr(GError) error = NULL;
        g_autoptr(ApmigFleetDocument) document = parse(text, &error);

        g_assert_null(document);
        g_assert_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION);
        g_assert_cmpstr(error->message, ==, faults[i].message);
    }
}

/* A document that was cut off is none, wherever it was. */
static void
test_cut(void)
{
    for (gsize length = 0; length < strlen(SOUND); length++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(ApmigFleetDocument) document = apmig_fleet_document_parse(SOUND, length, "doc", &error);

        g_assert_null(document);
        g_assert_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION);
    }
}

/* F2: a host opens only by released, for this lock, and where it is not left out. */
static void
test_opens(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigFleetDocument) document = parse(SOUND, &error);
    ApmigFleetLock *lock = g_ptr_array_index(document->locks, 0);

    g_assert_false(apmig_fleet_document_opens(document, lock->id, HOST));
    lock->state = APMIG_FLEET_RELEASING;
    g_assert_false(apmig_fleet_document_opens(document, lock->id, HOST));
    lock->state = APMIG_FLEET_RELEASED;
    g_assert_true(apmig_fleet_document_opens(document, lock->id, HOST));
    g_assert_false(apmig_fleet_document_opens(document, lock->id, HOST2));
    g_assert_false(apmig_fleet_document_opens(document, "3f9a21c1", HOST));
    g_assert_false(apmig_fleet_document_opens(document, lock->id, fleet_host_id(3)));
    g_ptr_array_set_size(document->locks, 0);
    g_assert_false(apmig_fleet_document_opens(document, "3f9a21c0", HOST));
}

/* --- bounds --------------------------------------------------------------------------------------- */

static void
assert_written(const ApmigFleetDocument *document, const char *problem)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = apmig_fleet_document_write(document, &error);

    if (!problem) {
        g_assert_no_error(error);
        g_assert_cmpuint(strlen(text), <=, APMIG_FLEET_MAX_BYTES);
        return;
    }
    g_assert_null(text);
    g_assert_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION);
    assert_says(error->message, problem);
}

static void
add_lock(ApmigFleetDocument *document, guint n)
{
    ApmigFleetLock *lock = apmig_fleet_lock_new();
    g_autofree char *id = g_strdup_printf("%08x", n);

    fleet_set_text(&lock->id, id);
    fleet_set_text(&lock->owner, "anna");
    lock->scope = apmig_scope_new_all();
    g_ptr_array_add(document->locks, lock);
}

static void
test_bounds(void)
{
    g_autoptr(ApmigFleetDocument) document = apmig_fleet_document_new("prod");

    for (guint n = 1; n <= APMIG_FLEET_MAX_HOSTS; n++) {
        g_autofree char *name = g_strdup_printf("kvm%u", n);

        apmig_fleet_document_add_member(document, fleet_host_id(n), name);
    }
    for (guint n = 0; n < APMIG_FLEET_MAX_LOCKS; n++)
        add_lock(document, n);
    assert_written(document, NULL);
    add_lock(document, APMIG_FLEET_MAX_LOCKS);
    assert_written(document, "has 65 locks, at most 64 are allowed: release some.");
    g_ptr_array_remove_index(document->locks, APMIG_FLEET_MAX_LOCKS);
    apmig_fleet_document_add_member(document, fleet_host_id(APMIG_FLEET_MAX_HOSTS + 1), "kvm");
    assert_written(document, "has 501 hosts, at most 500 are allowed: make two fleets of them.");
}

static void
test_too_long(void)
{
    g_autofree char *text = g_strnfill(APMIG_FLEET_MAX_BYTES + 1, ' ');
    g_autofree char *name = g_strnfill(APMIG_FLEET_MAX_NAME_LENGTH + 1, 'x');
    g_autofree char *long_name = fleet_replace(SOUND, "prod", name);
    g_autoptr(GError) error = NULL;

    g_assert_null(parse(text, &error));
    g_assert_cmpstr(error->message, ==, "doc: it has 1048577 bytes, at most 1048576 are allowed.");
    g_clear_error(&error);
    g_assert_null(parse(long_name, &error));
    g_assert_cmpstr(error->message, ==, "doc: $.fleet has 256 bytes, at most 255 are allowed.");
}

/* One that could not be parsed again is not written. */
static void
test_not_written(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigFleetDocument) document = parse(SOUND, &error);
    ApmigFleetMember *member = g_ptr_array_index(document->members, 0);
    ApmigFleetLock *lock = g_ptr_array_index(document->locks, 0);

    fleet_set_text(&member->id, "");
    assert_written(document, "$.members[0].host must be a UUID in lower case.");
    fleet_set_text(&member->id, HOST);
    fleet_set_text(&member->name, "");
    assert_written(document, "The fleet's document has a member without a name: give it one.");
    fleet_set_text(&member->name, "kvm1");
    fleet_set_text(&lock->reason, "\xff");
    assert_written(document, "the document to be written:");
    fleet_set_text(&lock->reason, "a\tb");
    assert_written(document, "$.locks[0].reason has a control character in it");
    fleet_set_text(&lock->reason, "");
    fleet_set_text(&lock->id, "x");
    assert_written(document, "has a lock of the id \"x\", which must be 8 to 32 hexadecimal digits.");
    fleet_set_text(&lock->id, "00000000");
    add_lock(document, 0);
    assert_written(document, "The fleet's document has two locks of the id 00000000.");
    g_ptr_array_remove_index(document->locks, 1);
    g_clear_pointer(&lock->scope, apmig_scope_unref);
    assert_written(document, "The fleet's document has the lock 00000000 without an AP queue in its scope.");
    lock->scope = apmig_scope_new_none();
    assert_written(document, "The fleet's document has the lock 00000000 without an AP queue in its scope.");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fleet/document/round-trip", test_round_trip);
    g_test_add_func("/fleet/document/faults", test_faults);
    g_test_add_func("/fleet/document/cut", test_cut);
    g_test_add_func("/fleet/document/opens", test_opens);
    g_test_add_func("/fleet/document/bounds", test_bounds);
    g_test_add_func("/fleet/document/too-long", test_too_long);
    g_test_add_func("/fleet/document/not-written", test_not_written);
    return g_test_run();
}
