/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Permits in the runtime directory: what survives, who uses them, and files that are none. */
#include "base/boot-time.h"
#include "store/permit-files.h"
#include "store/permit-json.h"
#include "store/fixture.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ID      "0a1b2c3d"
#define BOOT_ID "0123456789abcdef0123456789abcdef"
#define HOUR    (3600 * (gint64)G_USEC_PER_SEC)

static ApmigPermit *
permit_new(void)
{
    ApmigPermit *permit = g_new0(ApmigPermit, 1);

    permit->id = g_strdup(ID);
    permit->uuid = g_strdup(TEST_UUID);
    permit->name = g_strdup("g\xc3\xa4st \"1\"");
    permit->reason = g_strdup("host dies");
    permit->owner_uid = 4294967294u;
    permit->login_uid = APMIG_PERMIT_NO_LOGIN;
    permit->owner_name = g_strdup("dora");
    permit->given_at = 1;
    permit->until = G_GINT64_CONSTANT(999999999999999999);
    permit->expires_at = apmig_boot_time() + HOUR;
    return permit;
}

static void
assert_same(const ApmigPermit *a, const ApmigPermit *b)
{
    g_assert_cmpstr(a->id, ==, b->id);
    g_assert_cmpstr(a->uuid, ==, b->uuid);
    g_assert_cmpstr(a->name, ==, b->name);
    g_assert_cmpstr(a->reason, ==, b->reason);
    g_assert_cmpstr(a->owner_name, ==, b->owner_name);
    g_assert_cmpuint(a->owner_uid, ==, b->owner_uid);
    g_assert_cmpuint(a->login_uid, ==, b->login_uid);
    g_assert_cmpint(a->given_at, ==, b->given_at);
    g_assert_cmpint(a->until, ==, b->until);
    g_assert_cmpint(a->expires_at, ==, b->expires_at);
}

/* What the folder of the fixture has; @ret_damage: (out) (optional): how many files are damaged */
static GPtrArray *
load(Fixture *fixture, guint *ret_damage)
{
    g_autoptr(ApmigFolder) folder = apmig_permits_open(fixture->runtime, NULL);
    GPtrArray *permits = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_permit_free);
    g_autoptr(GPtrArray) damage = g_ptr_array_new_with_free_func(g_free);

    g_assert_nonnull(folder);
    g_assert_true(apmig_permits_load(folder, apmig_boot_time(), permits, damage, NULL));
    if (ret_damage)
        *ret_damage = damage->len;
    return permits;
}

static void
put(Fixture *fixture, const ApmigPermit *permit)
{
    g_autoptr(ApmigFolder) folder = apmig_permits_open(fixture->runtime, NULL);
    g_autoptr(GError) error = NULL;

    if (!apmig_permits_write(folder, permit, &error))
        g_error("%s", error->message);
}

static void
test_survives_and_is_used_once(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigPermit) permit = permit_new();
    g_autoptr(ApmigFolder) folder = NULL;
    g_autoptr(GPtrArray) open = NULL;
    g_autoptr(GPtrArray) used = NULL;
    g_autoptr(GError) error = NULL;

    put(fixture, permit);
    open = load(fixture, NULL);
    g_assert_cmpuint(open->len, ==, 1);
    assert_same(open->pdata[0], permit);
    g_assert_null(((const ApmigPermit *)open->pdata[0])->used_by);
    permit->used_by = g_strdup(TEST_UUID);
    permit->outgoing = TRUE;
    folder = apmig_permits_open(fixture->runtime, NULL);
    g_assert_true(apmig_permits_use(folder, permit, NULL));
    g_assert_true(fixture_has(fixture, "runtime/permits", ID ".out." TEST_UUID ".used"));
    g_assert_false(apmig_permits_use(folder, permit, &error));
    g_assert_error(error, APMIG_ERROR, APMIG_ERROR_STATE_FAILURE);
    g_clear_pointer(&folder, apmig_folder_free);
    used = load(fixture, NULL);
    g_assert_cmpuint(used->len, ==, 1);
    assert_same(used->pdata[0], permit);
    g_assert_cmpstr(((const ApmigPermit *)used->pdata[0])->used_by, ==, TEST_UUID);
    g_assert_true(((const ApmigPermit *)used->pdata[0])->outgoing);
    folder = apmig_permits_open(fixture->runtime, NULL);
    g_assert_true(apmig_permits_remove(folder, permit, NULL));
    g_assert_true(apmig_permits_remove(folder, permit, NULL)); /* gone is gone */
    g_assert_cmpuint(fixture_count(fixture, "runtime/permits"), ==, 0);
}

/* A hook uses none while a daemon runs, whether that answers or not. */
static void
test_daemon_keeps_hooks_away(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigFolder) daemon = apmig_permits_open(fixture->runtime, NULL);
    g_autoptr(ApmigFolder) hook = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_nonnull(daemon);
    g_assert_null(apmig_permits_open_without_daemon(fixture->runtime, &error));
    g_assert_nonnull(strstr(error->message, "apmigd runs"));
    g_clear_pointer(&daemon, apmig_folder_free);
    hook = apmig_permits_open_without_daemon(fixture->runtime, NULL);
    g_assert_nonnull(hook);
}

/* --- the text ------------------------------------------------------------------------------------ */

static gboolean
decodes(const char *text, gssize length, gboolean *ret_stale)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigPermit) permit = apmig_permit_decode(text, length < 0 ? strlen(text) : (gsize)length, ID,
                                                        BOOT_ID, apmig_boot_time(), ret_stale, &error);

    g_assert_true(permit || error || *ret_stale);
    return permit != NULL;
}

static void
test_what_is_no_permit(void)
{
    static const struct {
        const char *from, *to;
    } changes[] = {
        {"\"version\" : 1", "\"version\" : 2"},
        {"\"id\" : \"" ID "\"", "\"id\" : \"00000000\""},
        {"\"uuid\" : \"" TEST_UUID "\"", "\"uuid\" : \"x\""},
        {"host dies", "host\\u0007dies"},
        {"\"owner-uid\" : 4294967294", "\"owner-uid\" : 4294967296"},
        {"\"given-at\" : 1", "\"given-at\" : -1"},
        {"\"given-at\" : 1", "\"given-at\" : 1.5"},
        {"\"given-at\" : 1", "\"given-at\" : 1, \"more\" : 1"},
        {"\"given-at\" : 1", "\"given-at\" : 1, \"given-at\" : 1"},
        {"\"expires-at\" : ", "\"expires-at\" : 99"}, /* far beyond what anybody can give */
    };
    g_autoptr(ApmigPermit) permit = permit_new();
    g_autofree char *text = apmig_permit_encode(permit, BOOT_ID, NULL);
    gboolean stale;

    g_assert_true(decodes(text, -1, &stale));
    for (guint i = 0; i < G_N_ELEMENTS(changes); i++) {
        g_auto(GStrv) parts = g_strsplit(text, changes[i].from, 2);
        g_autofree char *changed = NULL;

        g_assert_nonnull(parts[1]);
        changed = g_strjoinv(changes[i].to, parts);
        g_assert_false(decodes(changed, -1, &stale));
        g_assert_false(stale);
    }
    for (gsize i = 0; i + 1 < strlen(text); i++)
        g_assert_false(decodes(text, (gssize)i, &stale) && text[i] != '\n');
}

static void
test_of_another_boot(void)
{
    g_autoptr(ApmigPermit) permit = permit_new();
    g_autofree char *text = apmig_permit_encode(permit, "ffffffffffffffffffffffffffffffff", NULL);
    gboolean stale;

    g_assert_false(decodes(text, -1, &stale));
    g_assert_true(stale);
}

/* For nobody, and with a name that no file may have. */
static void
test_what_is_not_written(void)
{
    g_autoptr(ApmigPermit) permit = permit_new();
    g_autoptr(GError) error = NULL;

    permit->uuid[0] = permit->name[0] = '\0';
    g_assert_null(apmig_permit_encode(permit, BOOT_ID, &error));
    g_assert_error(error, APMIG_ERROR, APMIG_ERROR_STATE_FAILURE);
}

/* --- files --------------------------------------------------------------------------------------- */

/* Whoever is in its name was let in. */
static void
test_damaged_one_in_use_is_in_use(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigPermit) permit = permit_new();
    g_autoptr(GPtrArray) permits = NULL;
    guint damage;

    put(fixture, permit);
    fixture_put(fixture, "runtime/permits", ID ".json", "{", -1);
    permits = load(fixture, &damage);
    g_assert_cmpuint(permits->len, ==, 0);
    g_assert_cmpuint(damage, ==, 1);
    fixture_put(fixture, "runtime/permits", "ffffffff.in." TEST_UUID ".used", "{", -1);
    g_clear_pointer(&permits, g_ptr_array_unref);
    permits = load(fixture, &damage);
    g_assert_cmpuint(permits->len, ==, 1);
    g_assert_cmpstr(((const ApmigPermit *)permits->pdata[0])->used_by, ==, TEST_UUID);
    g_assert_cmpuint(damage, ==, 2);
}

static void
test_other_names(Fixture *fixture, gconstpointer data)
{
    static const char *const names[] = {
        "x.json",        ID,
        ID ".in.used",   ID ".in..used",
        ID ".in.x.used", ID ".json.in.json",
        ID ".JSON",      ID ".to." TEST_UUID ".used",
    };
    g_autoptr(ApmigFolder) folder = apmig_permits_open(fixture->runtime, NULL);
    g_autoptr(GPtrArray) permits = NULL;
    guint damage;

    g_clear_pointer(&folder, apmig_folder_free);
    for (guint i = 0; i < G_N_ELEMENTS(names); i++)
        fixture_put(fixture, "runtime/permits", names[i], "{}", -1);
    permits = load(fixture, &damage);
    g_assert_cmpuint(permits->len, ==, 0);
    g_assert_cmpuint(damage, ==, G_N_ELEMENTS(names));
}

static void
test_others_may_not_have_written_it(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigPermit) permit = permit_new();
    g_autofree char *path = fixture_path(fixture, "runtime/permits", ID ".json");
    g_autofree char *folder = g_path_get_dirname(path);
    g_autofree char *aside = fixture_path(fixture, "runtime", "aside");
    g_autoptr(GPtrArray) readable = NULL;
    g_autoptr(GPtrArray) linked = NULL;
    g_autoptr(GError) error = NULL;
    guint damage;

    put(fixture, permit);
    g_assert_cmpint(chmod(path, 0620), ==, 0);
    readable = load(fixture, &damage);
    g_assert_cmpuint(readable->len, ==, 0);
    g_assert_cmpuint(damage, ==, 1);
    g_assert_cmpint(chmod(path, 0600), ==, 0);
    g_assert_cmpint(rename(path, aside), ==, 0);
    g_assert_cmpint(symlink(aside, path), ==, 0);
    linked = load(fixture, &damage);
    g_assert_cmpuint(linked->len, ==, 0);
    g_assert_cmpuint(damage, ==, 1);
    g_assert_cmpint(chmod(folder, 0770), ==, 0);
    g_assert_null(apmig_permits_open_without_daemon(fixture->runtime, &error));
    g_assert_nonnull(strstr(error->message, "open to others"));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, func)                                                                                      \
    g_test_add("/permit-files/" path, Fixture, NULL, fixture_set_up, func, fixture_tear_down)
    ADD("survives-and-is-used-once", test_survives_and_is_used_once);
    ADD("daemon-keeps-hooks-away", test_daemon_keeps_hooks_away);
    ADD("damaged-one-in-use-is-in-use", test_damaged_one_in_use_is_in_use);
    ADD("other-names", test_other_names);
    ADD("others-may-not-have-written-it", test_others_may_not_have_written_it);
    g_test_add_func("/permit-files/what-is-no-permit", test_what_is_no_permit);
    g_test_add_func("/permit-files/of-another-boot", test_of_another_boot);
    g_test_add_func("/permit-files/what-is-not-written", test_what_is_not_written);
    return g_test_run();
}
