/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the store keeps, and what it makes of what it finds. Crashes and faults of the disk: test-faults.c */
#include "base/text.h"
#include "store/fixture.h"
#include "store/json.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCKS      "state/locks"
#define ADMISSIONS "runtime/admissions"
#define ID         "deadbeef"

static const ApmigLockRecord *
loaded_lock(Fixture *fixture, guint i)
{
    g_assert_cmpuint(i, <, fixture->locks->len);
    return fixture->locks->pdata[i];
}

static void
assert_same_guests(const GPtrArray *a, const GPtrArray *b)
{
    g_assert_cmpuint(a ? a->len : 0, ==, b ? b->len : 0);
    for (guint i = 0; a && i < a->len; i++) {
        const ApmigLockGuest *one = g_ptr_array_index(a, i), *other = g_ptr_array_index(b, i);

        g_assert_cmpstr(one->uuid, ==, other->uuid);
        g_assert_cmpstr(one->name, ==, other->name);
    }
}

static void
assert_same_lock(const ApmigLockRecord *a, const ApmigLockRecord *b)
{
    g_assert_cmpstr(a->id, ==, b->id);
    g_assert_true(apmig_scope_equal(a->scope, b->scope));
    g_assert_cmpstr(a->reason, ==, b->reason);
    g_assert_cmpstr(a->change_id, ==, b->change_id);
    g_assert_cmpint(a->origin, ==, b->origin);
    g_assert_cmpuint(a->owner_uid, ==, b->owner_uid);
    g_assert_cmpstr(a->owner_name, ==, b->owner_name);
    g_assert_cmpint(a->on_busy, ==, b->on_busy);
    g_assert_cmpint(a->requested_at, ==, b->requested_at);
    g_assert_cmpint(a->held_at, ==, b->held_at);
    g_assert_cmpint(a->expected_duration_usec, ==, b->expected_duration_usec);
    g_assert_cmpuint(a->breaches, ==, b->breaches);
    g_assert_cmpuint(a->attempts, ==, b->attempts);
    assert_same_guests(a->guests, b->guests);
    assert_same_guests(a->departed, b->departed);
}

static void
assert_recovered(Fixture *fixture, guint i)
{
    const ApmigLockRecord *lock = loaded_lock(fixture, i);

    g_assert_cmpint(lock->origin, ==, APMIG_LOCK_RECOVERED);
    g_assert_cmpstr(apmig_scope_to_string(lock->scope), ==, "all");
    g_assert_cmpuint(lock->owner_uid, ==, 0);
    g_assert_true(apmig_lock_id_is_valid(lock->id));
    g_assert_cmpuint(strlen(lock->reason), <=, APMIG_REASON_MAX_LENGTH);
    g_assert_true(g_utf8_validate(lock->reason, -1, NULL));
    g_assert_cmpint(lock->requested_at, >, 0);
}

static char *
good_lock_text(Fixture *fixture)
{
    g_autoptr(ApmigLockRecord) record = test_record_new(ID);
    g_autofree char *path = fixture_path(fixture, LOCKS, ID ".json");
    char *text = NULL;

    fixture_open(fixture);
    g_assert_null(fixture_persist(fixture, record));
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_null(fixture_remove(fixture, record));
    fixture_close(fixture);
    return text;
}

static char *
replace(const char *text, const char *old, const char *new)
{
    g_auto(GStrv) parts = g_strsplit(text, old, 2);

    g_assert_cmpuint(g_strv_length(parts), ==, 2);
    return g_strjoinv(new, parts);
}

/* --- what is written is read ---------------------------------------------------------------------- */

static void
test_locks_survive(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigLockRecord) one = test_record_new("00000001"), two = test_record_new("00000002");
    GStatBuf st;
    g_autofree char *path = fixture_path(fixture, LOCKS, "00000001.json");

    fixture_open(fixture);
    g_assert_cmpuint(fixture->locks->len, ==, 0);
    g_assert_null(fixture_persist(fixture, one));
    g_assert_null(fixture_persist(fixture, two));
    g_assert_cmpint(g_stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 0777, ==, 0600);
    one->held_at = one->requested_at + 1;
    one->on_busy = APMIG_ON_BUSY_UNSET;
    one->origin = APMIG_LOCK_BY_ITSELF;
    g_assert_null(fixture_persist(fixture, one));

    fixture_reopen(fixture);
    g_assert_cmpuint(fixture->locks->len, ==, 2);
    g_assert_cmpuint(fixture->damage->len, ==, 0);
    assert_same_lock(loaded_lock(fixture, 0), one);
    assert_same_lock(loaded_lock(fixture, 1), two);
}

static void
test_removed_locks_are_gone(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigLockRecord) one = test_record_new("00000001"), two = test_record_new("00000002");

    fixture_open(fixture);
    g_assert_null(fixture_persist(fixture, one));
    g_assert_null(fixture_persist(fixture, two));
    g_assert_null(fixture_remove(fixture, one));
    fixture_reopen(fixture);
    g_assert_cmpuint(fixture->locks->len, ==, 1);
    assert_same_lock(loaded_lock(fixture, 0), two);

    g_assert_null(fixture_remove(fixture, two));
    g_assert_cmpuint(fixture_count(fixture, LOCKS), ==, 0);
    fixture_reopen(fixture);
    g_assert_cmpuint(fixture->locks->len, ==, 0);
    g_assert_null(fixture_remove(fixture, two)); /* again: it is gone, which is what was asked for */
}

/* --- guests that a lock remembers ------------------------------------------------------------------ */

static GPtrArray *
many_guests(guint n, const char *name)
{
    GPtrArray *guests = apmig_lock_guests_new();

    for (guint i = 0; i < n; i++) {
        g_autofree char *uuid = g_strdup_printf("%08x-edaf-9455-926a-d65c16db1809", i);

        g_assert_true(apmig_lock_guests_append(guests, uuid, name));
    }
    return guests;
}

/* A file that has none is as one of an earlier version, byte for byte. */
static void
test_no_guests(Fixture *fixture, gconstpointer data)
{
    g_autofree char *text = good_lock_text(fixture);
    const ApmigLockRecord *loaded;

    g_assert_null(strstr(text, "attempts"));
    g_assert_null(strstr(text, "guests"));
    g_assert_null(strstr(text, "departed"));
    fixture_put(fixture, LOCKS, ID ".json", text, -1);
    fixture_open(fixture);
    loaded = loaded_lock(fixture, 0);
    g_assert_cmpuint(loaded->attempts, ==, 0);
    g_assert_null(loaded->guests);
    g_assert_null(loaded->departed);
}

/* As many as a lock remembers, with names that take the most room in a file. */
static void
test_most_guests(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigLockRecord) record = test_record_new(ID);
    g_autofree char *name = g_strnfill(255, '"');

    record->attempts = G_MAXUINT;
    record->guests = many_guests(APMIG_LOCK_MAX_GUESTS, name);
    record->departed = many_guests(APMIG_LOCK_MAX_GUESTS, name);
    fixture_open(fixture);
    g_assert_null(fixture_persist(fixture, record));
    fixture_reopen(fixture);
    g_assert_cmpuint(fixture->damage->len, ==, 0);
    assert_same_lock(loaded_lock(fixture, 0), record);
}

/* Whatever libvirt calls a guest, its lock can be written. */
static void
test_odd_guest_names(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigLockRecord) record = test_record_new(ID);
    g_autofree char *long_name = g_strnfill(4096, 'x');
    const char *const names[] = {"", "g\xc3\xa4st \\ \"1\" {[", "two\nlines\x1b[2J", "\xff", long_name};
    const ApmigLockRecord *loaded;

    record->departed = apmig_lock_guests_new();
    for (guint i = 0; i < G_N_ELEMENTS(names); i++)
        apmig_lock_guests_append(record->departed, TEST_UUID, names[i]);
    fixture_open(fixture);
    g_assert_null(fixture_persist(fixture, record));
    fixture_reopen(fixture);
    loaded = loaded_lock(fixture, 0);
    g_assert_cmpuint(loaded->departed->len, ==, G_N_ELEMENTS(names));
    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        const ApmigLockGuest *guest = g_ptr_array_index(loaded->departed, i);
        g_autofree char *shown = apmig_text_escape(names[i], 255);

        g_assert_cmpstr(guest->name, ==, shown);
    }
}

/* A scope that was short as written can be long in its canonical form. */
static void
test_long_scope(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigLockRecord) record = test_record_new(ID);
    g_autoptr(GString) text = g_string_new("0.0");

    for (guint i = 2; text->len < APMIG_SCOPE_MAX_LENGTH - 8; i += 2)
        g_string_append_printf(text, ",%x.%x", i / 256 * 2, i % 256);
    apmig_scope_unref(record->scope);
    record->scope = apmig_scope_parse(text->str, NULL);
    g_assert_cmpuint(strlen(apmig_scope_to_string(record->scope)), >, APMIG_SCOPE_MAX_LENGTH);
    fixture_open(fixture);
    g_assert_null(fixture_persist(fixture, record));
    fixture_reopen(fixture);
    assert_same_lock(loaded_lock(fixture, 0), record);
}

static void
test_unreadable_is_not_written(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigLockRecord) record = test_record_new(ID);

    g_free(record->reason);
    record->reason = g_strdup("two\nlines");
    fixture_open(fixture);
    g_assert_nonnull(strstr(fixture_persist(fixture, record), "\"reason\""));
    g_assert_cmpuint(fixture_count(fixture, LOCKS), ==, 0);
    record->id[0] = '/';
    g_assert_nonnull(fixture_persist(fixture, record));
    g_assert_cmpuint(fixture_count(fixture, LOCKS), ==, 0);
}

static void
test_answers_come_in_order(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigLockRecord) record = test_record_new(ID);

    fixture_open(fixture);
    for (guint64 op = 1; op < 41; op += 2) {
        fixture_ask_lock(fixture, APMIG_ACTION_PERSIST_LOCK, op, record);
        fixture_ask_lock(fixture, APMIG_ACTION_REMOVE_LOCK, op + 1, record);
    }
    g_assert_cmpuint(fixture->n_answers, ==, 0); /* never from within the call */
    for (guint n = 1; n <= 40; n++) {
        guint64 before = fixture->last_op;

        fixture_wait(fixture, n);
        g_assert_cmpuint(fixture->last_op, >, before);
        n = fixture->n_answers;
    }
    g_assert_cmpuint(fixture->last_op, ==, 40);
    g_assert_null(fixture->last_error);
    g_assert_cmpuint(fixture_count(fixture, LOCKS), ==, 0);
}

static void
test_free_finishes_without_callback(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigLockRecord) record = test_record_new(ID);

    fixture_open(fixture);
    fixture_ask_lock(fixture, APMIG_ACTION_PERSIST_LOCK, 1, record);
    fixture_close(fixture);
    while (g_main_context_iteration(NULL, FALSE))
        ;
    g_assert_cmpuint(fixture->n_answers, ==, 0);
    fixture_open(fixture);
    g_assert_cmpuint(fixture->locks->len, ==, 1);
}

static void
test_one_store_at_a_time(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    fixture_open(fixture);
    g_assert_null(apmig_store_open(fixture->state, fixture->runtime, &error));
    g_assert_error(error, APMIG_ERROR, APMIG_ERROR_STATE_FAILURE);
    g_assert_nonnull(strstr(error->message, "another apmigd"));
    fixture_reopen(fixture);
}

static void
test_new_ids(Fixture *fixture, gconstpointer data)
{
    g_autofree char *text = good_lock_text(fixture);
    g_autofree char *id = NULL;

    fixture_put(fixture, LOCKS, ID ".json", text, -1);
    fixture_open(fixture);
    id = apmig_store_new_lock_id(fixture->store);
    g_assert_true(apmig_lock_id_is_valid(id));
    g_assert_cmpstr(id, !=, ID);
    g_assert_false(apmig_store_writer_is_stuck(fixture->store, G_MAXINT64, 1)); /* idle, for however long */
}

static void
test_folder_that_cannot_be(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    fixture_put(fixture, "state", "locks", "a file", -1);
    g_assert_null(apmig_store_open(fixture->state, fixture->runtime, &error));
    g_assert_error(error, APMIG_ERROR, APMIG_ERROR_STATE_FAILURE);
    g_assert_nonnull(strstr(error->message, "state/locks"));
}

/* --- damage --------------------------------------------------------------------------------------- */

static void
assert_damage(Fixture *fixture, const char *text, gssize length, const char *hint)
{
    fixture_put(fixture, LOCKS, ID ".json", text, length);
    fixture_open(fixture);
    g_assert_cmpuint(fixture->locks->len, ==, 1);
    assert_recovered(fixture, 0);
    g_assert_cmpstr(loaded_lock(fixture, 0)->id, ==, ID);
    g_assert_cmpuint(fixture->damage->len, ==, 1);
    if (!strstr(fixture->damage->pdata[0], hint))
        g_error("\"%s\" does not say \"%s\"", (char *)fixture->damage->pdata[0], hint);
    g_assert_nonnull(strstr(fixture->damage->pdata[0], ID));
    g_assert_true(fixture_has(fixture, LOCKS, ID ".json")); /* in its place until its removal */

    g_assert_null(fixture_remove(fixture, loaded_lock(fixture, 0)));
    g_assert_cmpuint(fixture_count(fixture, LOCKS), ==, 0);
    fixture_reopen(fixture);
    g_assert_cmpuint(fixture->locks->len, ==, 0);
    fixture_close(fixture);
}

static void
test_damaged_members(Fixture *fixture, gconstpointer data)
{
    static const struct {
        const char *old, *new, *hint;
    } cases[] = {
        {"\"version\" : 1", "\"version\" : 2", "newer"},
        {"\"version\" : 1", "\"version\" : 0", "version"},
        {"\"version\" : 1", "\"version\" : \"1\"", "version"},
        {"\"version\" : 1,", "", "version"},
        {"\"version\" : 1", "\"version\" : 1, \"colour\" : 2", "colour"},
        {"\"version\" : 1", "\"version\" : 1, \"breaches\" : 2", "breaches"},
        {"\"breaches\" : 3", "\"breaches\" : 3.0", "breaches"},
        {"\"breaches\" : 3", "\"breaches\" : -3", "breaches"},
        {"\"breaches\" : 3", "\"breaches\" : 4294967296", "breaches"},
        {"\"breaches\" : 3", "\"breaches\" : null", "breaches"},
        {"\"breaches\" : 3", "\"breaches\" : [3]", "breaches"},
        {"\"breaches\" : 3", "\"breaches\" : 99999999999999999999", "digits"},
        {"\"held-at\" : 0", "\"held-at\" : -1", "held-at"},
        {"\"owner-uid\" : 4294967294", "\"owner-uid\" : 4294967296", "owner-uid"},
        {"\"id\" : \"" ID "\"", "\"id\" : \"deadbee0\"", "\"id\""},
        {"\"id\" : \"" ID "\"", "\"id\" : 5", "\"id\""},
        {"04.0012", "04.xyz", "scope"},
        {"*.0013,04.0012", "none", "scope"},
        {"\"CHG-1\"", "\"\\u001b[2J\"", "change-id"},
        {"\"CHG-1\"", "\"a\\nb\"", "change-id"},
        {"\"CHG-1\"", "\"\\u0085\"", "change-id"},
        {"\"CHG-1\"", "\"\\u0000\"", "escape"},
        {"\"CHG-1\"", "\"\\ud800\"", "damaged"},
        {"\"CHG-1\"", "{}", "change-id"},
        {"\"request\"", "\"recovered\"", "origin"},
        {"\"request\"", "\"nobody\"", "origin"},
        {"\"wait\"", "\"explode\"", "on-busy"},
        {"{", "{ ?", "JSON"},
        {"\"version\"", "version", "JSON"},
        {"}", "} {}", "after the end"},
        {"}", "", "end"},
    };
    g_autofree char *good = good_lock_text(fixture);

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        gboolean is_scope = strcmp(cases[i].old, "*.0013,04.0012") == 0 && !strstr(good, cases[i].old);
        g_autofree char *text = replace(good, is_scope ? "04.0012,*.0013" : cases[i].old, cases[i].new);

        assert_damage(fixture, text, -1, cases[i].hint);
    }
}

static void
test_damaged_guests(Fixture *fixture, gconstpointer data)
{
#define GUEST "{\"uuid\": \"" TEST_UUID "\", \"name\": \"g\"}"
    static const struct {
        const char *members, *hint;
    } cases[] = {
        {"\"attempts\": -1", "attempts"},
        {"\"attempts\": 4294967296", "attempts"},
        {"\"attempts\": \"5\"", "attempts"},
        {"\"guests\": {}", "guests"},
        {"\"guests\": null", "guests"},
        {"\"departed\": [null]", "departed"},
        {"\"departed\": [[\"" TEST_UUID "\", \"g\"]]", "departed"},
        {"\"departed\": [" GUEST ", {}]", "\"uuid\""},
        {"\"departed\": [{\"uuid\": \"" TEST_UUID "\"}]", "\"name\""},
        {"\"departed\": [{\"uuid\": \"" TEST_UUID "\", \"name\": \"a\\nb\"}]", "\"name\""},
        {"\"departed\": [{\"uuid\": \"" TEST_UUID "\", \"name\": \"g\", \"age\": 1}]", "\"age\""},
        {"\"departed\": [{\"uuid\": \"C7A5FDBD-EDAF-9455-926A-D65C16DB1809\", \"name\": \"g\"}]", "UUID"},
        {"\"departed\": [{\"uuid\": \"g\", \"name\": \"g\"}]", "UUID"},
    };
    g_autofree char *good = good_lock_text(fixture);
    g_autoptr(GString) many = g_string_new("\"version\" : 1, \"guests\": [" GUEST);
    g_autofree char *too_many = NULL;

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *with = g_strconcat("\"version\" : 1, ", cases[i].members, NULL);
        g_autofree char *text = replace(good, "\"version\" : 1", with);

        assert_damage(fixture, text, -1, cases[i].hint);
    }
    for (guint i = 0; i < APMIG_LOCK_MAX_GUESTS; i++)
        g_string_append(many, "," GUEST);
    g_string_append(many, "]");
    too_many = replace(good, "\"version\" : 1", many->str);
    assert_damage(fixture, too_many, -1, "4096 guests");
#undef GUEST
}

static void
test_damaged_texts(Fixture *fixture, gconstpointer data)
{
    g_autofree char *good = good_lock_text(fixture);
    g_autofree char *deep = g_strnfill(100000, '[');
    g_autofree char *large = g_strnfill(APMIG_STORE_MAX_BYTES + 1, ' ');
    g_autofree char *long_text = g_strnfill(APMIG_REASON_MAX_LENGTH + 1, 'x');
    g_autofree char *long_reason = replace(good, "AES rotation", long_text);
    g_autofree char *garbage = g_malloc(4096);

    for (guint i = 0; i < 4096; i++)
        garbage[i] = i * 37;
    *deep = '{';
    assert_damage(fixture, "", 0, "end");
    assert_damage(fixture, "null", -1, "");
    assert_damage(fixture, "[]", -1, "object");
    assert_damage(fixture, "{}", -1, "version");
    assert_damage(fixture, "{\"version\":7,\"new\":{\"things\":[]}}", -1, "newer");
    assert_damage(fixture, deep, -1, "levels");
    assert_damage(fixture, large, -1, "bytes");
    assert_damage(fixture, long_reason, -1, "reason");
    assert_damage(fixture, garbage, 4096, "UTF-8");
    assert_damage(fixture, "{\"a\":\"\xff\"}", -1, "UTF-8");
    for (gsize cut = 0; cut < strlen(good) - 1; cut++)
        assert_damage(fixture, good, cut, "");
}

/* Every single flipped bit gives either the lock with another text, or a recovered one; never none. */
static void
test_flipped_bits(Fixture *fixture, gconstpointer data)
{
    g_autofree char *good = good_lock_text(fixture);
    gsize length = strlen(good);

    for (gsize i = 0; i < length * 8; i += 3) {
        g_autofree char *text = g_strdup(good);

        text[i / 8] ^= 1 << (i % 8);
        fixture_put(fixture, LOCKS, ID ".json", text, length);
        fixture_open(fixture);
        g_assert_cmpuint(fixture->locks->len, ==, 1);
        g_assert_cmpstr(loaded_lock(fixture, 0)->id, ==, ID);
        fixture_close(fixture);
    }
}

/* --- what is no lock file, in place of one --------------------------------------------------------- */

static void
make_link(const char *path)
{
    g_assert_cmpint(symlink("/etc/passwd", path), ==, 0);
}

static void
make_loose_link(const char *path)
{
    g_assert_cmpint(symlink("nowhere", path), ==, 0);
}

static void
make_fifo(const char *path)
{
    g_assert_cmpint(mkfifo(path, 0600), ==, 0);
}

static void
make_folder(const char *path)
{
    g_assert_cmpint(g_mkdir(path, 0700), ==, 0);
}

static void
make_full_folder(const char *path)
{
    g_autofree char *inner = g_build_filename(path, "inner", NULL);

    g_assert_cmpint(g_mkdir_with_parents(inner, 0700), ==, 0);
}

static void
test_other_things(Fixture *fixture, gconstpointer data)
{
    static void (*const make[])(const char *path) = {make_link, make_loose_link, make_fifo, make_folder,
                                                     make_full_folder};
    g_autofree char *path = fixture_path(fixture, LOCKS, ID ".json");

    for (guint i = 0; i < G_N_ELEMENTS(make); i++) {
        fixture_reopen(fixture);
        g_assert_cmpuint(fixture->locks->len, ==, 0);
        make[i](path);
        fixture_reopen(fixture);
        g_assert_cmpuint(fixture->locks->len, ==, 1);
        assert_recovered(fixture, 0);
        g_assert_cmpstr(loaded_lock(fixture, 0)->id, ==, ID);
        g_assert_nonnull(strstr(fixture->damage->pdata[0], "no regular file"));
        g_assert_null(fixture_remove(fixture, loaded_lock(fixture, 0)));
        g_assert_cmpuint(fixture_count(fixture, LOCKS), ==, 0);
    }
}

static void
test_other_names(Fixture *fixture, gconstpointer data)
{
    static const char *const names[] = {
        "DEADBEEF.json", "copy of deadbeef.json", "deadbeef.json~", "deadbeef",
        ".json",         "\xff\n\x1b.json",       "lost+found"};
    g_autofree char *text = good_lock_text(fixture);
    g_autoptr(GHashTable) ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    for (guint i = 0; i < G_N_ELEMENTS(names); i++)
        fixture_put(fixture, LOCKS, names[i], text, -1);
    fixture_open(fixture);
    g_assert_cmpuint(fixture->locks->len, ==, G_N_ELEMENTS(names));
    for (guint i = 0; i < fixture->locks->len; i++) {
        assert_recovered(fixture, i);
        g_hash_table_add(ids, g_strdup(loaded_lock(fixture, i)->id));
        g_assert_true(g_utf8_validate(fixture->damage->pdata[i], -1, NULL));
        g_assert_null(strchr(fixture->damage->pdata[i], '\n'));
    }
    g_assert_cmpuint(g_hash_table_size(ids), ==, G_N_ELEMENTS(names));

    fixture_reopen(fixture); /* the same ids again, so that an administrator can act on them */
    for (guint i = 0; i < fixture->locks->len; i++) {
        g_assert_true(g_hash_table_contains(ids, loaded_lock(fixture, i)->id));
        g_assert_null(fixture_remove(fixture, loaded_lock(fixture, i)));
    }
    g_assert_cmpuint(fixture_count(fixture, LOCKS), ==, 0);
}

static void
test_damage_beside_good(Fixture *fixture, gconstpointer data)
{
    g_autofree char *text = good_lock_text(fixture);

    fixture_put(fixture, LOCKS, ID ".json", text, -1);
    fixture_put(fixture, LOCKS, "00000001.json", text, -1); /* a copy: its id is another's */
    fixture_open(fixture);
    g_assert_cmpuint(fixture->locks->len, ==, 2); /* oldest first: the good one before its copy */
    g_assert_cmpint(loaded_lock(fixture, 0)->origin, ==, APMIG_LOCK_BY_REQUEST);
    assert_recovered(fixture, 1);
    g_assert_null(fixture_remove(fixture, loaded_lock(fixture, 1)));
    fixture_reopen(fixture);
    g_assert_cmpuint(fixture->locks->len, ==, 1);
    g_assert_cmpstr(loaded_lock(fixture, 0)->id, ==, ID);
}

/* --- the marker ----------------------------------------------------------------------------------- */

static void
test_lost_files(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigLockRecord) record = test_record_new(ID);
    g_autofree char *path = fixture_path(fixture, LOCKS, ID ".json");
    g_autofree char *id = NULL;

    fixture_open(fixture);
    g_assert_null(fixture_persist(fixture, record));
    fixture_close(fixture);
    g_assert_cmpint(g_unlink(path), ==, 0);
    fixture_open(fixture);
    g_assert_cmpuint(fixture->locks->len, ==, 1);
    assert_recovered(fixture, 0);
    g_assert_nonnull(strstr(loaded_lock(fixture, 0)->reason, "lost"));
    id = g_strdup(loaded_lock(fixture, 0)->id);
    fixture_reopen(fixture);
    g_assert_cmpstr(loaded_lock(fixture, 0)->id, ==, id);
    g_assert_null(fixture_remove(fixture, loaded_lock(fixture, 0)));
    fixture_reopen(fixture);
    g_assert_cmpuint(fixture->locks->len, ==, 0);
}

static void
test_lost_marker(Fixture *fixture, gconstpointer data)
{
    g_autofree char *text = good_lock_text(fixture);

    fixture_put(fixture, LOCKS, ID ".json", text, -1);
    fixture_open(fixture);
    g_assert_cmpuint(fixture->damage->len, ==, 0);
    g_assert_cmpuint(fixture_count(fixture, LOCKS), ==, 2); /* made again */
}

static void
test_left_over(Fixture *fixture, gconstpointer data)
{
    fixture_put(fixture, LOCKS, "." ID ".json.tmp", "{\"vers", -1);
    fixture_put(fixture, ADMISSIONS, "." TEST_UUID ".json.tmp", "{\"vers", -1);
    fixture_open(fixture);
    g_assert_cmpuint(fixture->locks->len + fixture->admissions->len + fixture->damage->len, ==, 0);
    g_assert_cmpuint(fixture_count(fixture, LOCKS), ==, 0);
    g_assert_cmpuint(fixture_count(fixture, ADMISSIONS), ==, 0);
}

/* --- admissions ----------------------------------------------------------------------------------- */

static void
test_admissions_survive(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigAdmission) admission = test_admission_new(TEST_UUID);
    const ApmigAdmission *loaded;

    fixture_open(fixture);
    g_assert_null(fixture_persist_admission(fixture, admission));
    fixture_reopen(fixture);
    g_assert_cmpuint(fixture->admissions->len, ==, 1);
    g_assert_cmpuint(fixture->damage->len, ==, 0);
    loaded = fixture->admissions->pdata[0];
    g_assert_cmpstr(loaded->uuid, ==, admission->uuid);
    g_assert_cmpstr(loaded->name, ==, admission->name);
    g_assert_true(apmig_scope_equal(loaded->scope, admission->scope));
    g_assert_true(
        g_strv_equal((const char *const *)loaded->devices, (const char *const *)admission->devices));
    g_assert_cmpint(loaded->admitted_at, ==, 1);

    fixture_ask_removal(fixture, TEST_UUID);
    fixture_reopen(fixture);
    g_assert_cmpuint(fixture->admissions->len, ==, 0);
}

static void
test_admission_of_no_queue(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigAdmission) admission = test_admission_new(TEST_UUID);

    apmig_scope_unref(admission->scope);
    admission->scope = apmig_scope_new_none();
    g_clear_pointer(&admission->devices, g_strfreev);
    fixture_open(fixture);
    g_assert_null(fixture_persist_admission(fixture, admission));
    fixture_reopen(fixture);
    g_assert_true(apmig_scope_is_none(((ApmigAdmission *)fixture->admissions->pdata[0])->scope));
}

static void
test_admission_of_the_unaffected(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigAdmission) admission = test_admission_new(TEST_UUID);

    apmig_scope_unref(admission->scope);
    admission->scope = apmig_scope_new_none();
    g_clear_pointer(&admission->devices, g_strfreev);
    admission->unaffected = TRUE;
    fixture_open(fixture);
    g_assert_null(fixture_persist_admission(fixture, admission));
    fixture_reopen(fixture);
    g_assert_true(((ApmigAdmission *)fixture->admissions->pdata[0])->unaffected);
}

static char *
good_admission_text(Fixture *fixture)
{
    g_autoptr(ApmigAdmission) admission = test_admission_new(TEST_UUID);
    g_autofree char *path = fixture_path(fixture, ADMISSIONS, TEST_UUID ".json");
    char *text = NULL;

    fixture_open(fixture);
    g_assert_null(fixture_persist_admission(fixture, admission));
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    fixture_ask_removal(fixture, TEST_UUID);
    fixture_close(fixture);
    return text;
}

static void
test_damaged_admissions(Fixture *fixture, gconstpointer data)
{
    static const char *const cases[][2] = {
        {"\"version\" : 1", "\"version\" : 2"},
        {TEST_UUID, "00000000-edaf-9455-926a-d65c16db1809"},
        {"aaaaaaaa-", "AAAAAAAA-"},
        {"\"admitted-at\" : 1", "\"admitted-at\" : 999999999999999999"},
        {"\"04.*\"", "\"04.*"},
        {"\"name\"", "\"nom\""},
        {"\"version\"", "\"unaffected\" : true, \"version\""}, /* and has queues */
        {"\"version\"", "\"unaffected\" : false, \"version\""},
        {"\"version\"", "\"unaffected\" : 1, \"version\""},
    };
    g_autofree char *good = good_admission_text(fixture);

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *text = replace(good, cases[i][0], cases[i][1]);
        const ApmigAdmission *loaded;

        fixture_put(fixture, ADMISSIONS, TEST_UUID ".json", text, -1);
        fixture_open(fixture);
        g_assert_cmpuint(fixture->admissions->len, ==, 1);
        g_assert_cmpuint(fixture->damage->len, ==, 1);
        loaded = fixture->admissions->pdata[0];
        g_assert_cmpstr(loaded->uuid, ==, TEST_UUID);
        g_assert_cmpstr(apmig_scope_to_string(loaded->scope), ==, "all");
        g_assert_cmpint(loaded->admitted_at, >, 1);
        fixture_ask_removal(fixture, TEST_UUID);
        fixture_close(fixture);
        g_assert_cmpuint(fixture_count(fixture, ADMISSIONS), ==, 0);
    }
}

static void
test_admissions_of_another_boot(Fixture *fixture, gconstpointer data)
{
    g_autofree char *good = good_admission_text(fixture);
    char *boot_id = strstr(good, "\"boot-id\" : \"") + strlen("\"boot-id\" : \"");

    boot_id[0] = boot_id[0] == '0' ? '1' : '0';
    fixture_put(fixture, ADMISSIONS, TEST_UUID ".json", good, -1);
    fixture_open(fixture);
    g_assert_cmpuint(fixture->admissions->len + fixture->damage->len, ==, 0);
    g_assert_cmpuint(fixture_count(fixture, ADMISSIONS), ==, 0);
}

/* It is moved aside within the folder, where it is no admission. */
static void
test_folder_in_place_of_an_admission(Fixture *fixture, gconstpointer data)
{
    g_autofree char *path = fixture_path(fixture, ADMISSIONS, TEST_UUID ".json");

    make_full_folder(path);
    fixture_open(fixture);
    g_assert_cmpuint(fixture->admissions->len, ==, 1);
    fixture_ask_removal(fixture, TEST_UUID);
    fixture_reopen(fixture);
    g_assert_cmpuint(fixture->admissions->len, ==, 0);
    g_assert_cmpuint(fixture->damage->len, ==, 1);
}

static void
test_admissions_of_no_guest(Fixture *fixture, gconstpointer data)
{
    fixture_put(fixture, ADMISSIONS, "README", "", 0);
    fixture_open(fixture);
    g_assert_cmpuint(fixture->admissions->len, ==, 0);
    g_assert_cmpuint(fixture->damage->len, ==, 1);
    fixture_ask_removal(fixture, "../../state/locks/.in-use"); /* no UUID, no removal */
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, func) g_test_add("/store/" name, Fixture, NULL, fixture_set_up, func, fixture_tear_down)
    ADD("locks-survive", test_locks_survive);
    ADD("removed-locks-are-gone", test_removed_locks_are_gone);
    ADD("no-guests", test_no_guests);
    ADD("most-guests", test_most_guests);
    ADD("odd-guest-names", test_odd_guest_names);
    ADD("damaged-guests", test_damaged_guests);
    ADD("long-scope", test_long_scope);
    ADD("unreadable-is-not-written", test_unreadable_is_not_written);
    ADD("answers-come-in-order", test_answers_come_in_order);
    ADD("free-finishes-without-callback", test_free_finishes_without_callback);
    ADD("one-store-at-a-time", test_one_store_at_a_time);
    ADD("new-ids", test_new_ids);
    ADD("folder-that-cannot-be", test_folder_that_cannot_be);
    ADD("damaged-members", test_damaged_members);
    ADD("damaged-texts", test_damaged_texts);
    ADD("flipped-bits", test_flipped_bits);
    ADD("other-things", test_other_things);
    ADD("other-names", test_other_names);
    ADD("damage-beside-good", test_damage_beside_good);
    ADD("lost-files", test_lost_files);
    ADD("lost-marker", test_lost_marker);
    ADD("left-over", test_left_over);
    ADD("admissions-survive", test_admissions_survive);
    ADD("admission-of-no-queue", test_admission_of_no_queue);
    ADD("admission-of-the-unaffected", test_admission_of_the_unaffected);
    ADD("damaged-admissions", test_damaged_admissions);
    ADD("admissions-of-another-boot", test_admissions_of_another_boot);
    ADD("folder-in-place-of-an-admission", test_folder_in_place_of_an_admission);
    ADD("admissions-of-no-guest", test_admissions_of_no_guest);
    return g_test_run();
}
