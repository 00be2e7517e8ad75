/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Permits in the runtime directory: what survives, who uses it, and files that are none. */
#include "base/boot-time.h"
#include "store/json.h"
#include "store/fixture.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PERMITS "runtime/permits"
#define ID      TEST_PERMIT_ID
#define BOOT_ID "0123456789abcdef0123456789abcdef"

static const ApmigPermit *
loaded_permit(Fixture *fixture)
{
    g_assert_cmpuint(fixture->permits->len, ==, 1);
    g_assert_cmpuint(fixture->damage->len, ==, 0);
    return g_ptr_array_index(fixture->permits, 0);
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
    g_assert_cmpint(a->login_verified, ==, b->login_verified);
    g_assert_cmpint(a->given_at, ==, b->given_at);
    g_assert_cmpint(a->until, ==, b->until);
    g_assert_cmpint(a->expires_at, ==, b->expires_at);
    g_assert_cmpstr(a->used_by, ==, b->used_by);
    g_assert_cmpint(a->outgoing, ==, b->outgoing);
}

static void
test_survives_open_and_in_use(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigPermit) permit = test_permit_new();

    fixture_open(fixture);
    g_assert_null(fixture_persist_permit(fixture, permit));
    fixture_reopen(fixture);
    assert_same(loaded_permit(fixture), permit);

    permit->used_by = g_strdup(TEST_UUID);
    for (guint outgoing = 0; outgoing < 2; outgoing++) {
        permit->outgoing = outgoing != 0;
        permit->login_verified = outgoing != 0;
        g_assert_null(fixture_persist_permit(fixture, permit));
        fixture_reopen(fixture);
        assert_same(loaded_permit(fixture), permit);
        g_assert_cmpuint(fixture_count(fixture, PERMITS), ==, 1);
    }

    for (guint i = 0; i < 2; i++) /* gone is gone */
        g_assert_null(fixture_remove_permit(fixture, permit));
    g_assert_cmpuint(fixture_count(fixture, PERMITS), ==, 0);
}

/* --- the text ------------------------------------------------------------------------------------ */

static gboolean
decodes(const char *text, gsize length, gboolean *ret_stale)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigPermit) permit =
        apmig_permit_decode(text, length, ID, BOOT_ID, apmig_boot_time(), ret_stale, &error);

    g_assert_cmpint(permit != NULL, ==, !error && !*ret_stale);
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
        {"\"login-verified\" : true", "\"login-verified\" : false"},
        {"\"login-verified\" : true", "\"login-verified\" : 1"},
        {"\"used-by\" : \"" TEST_UUID "\"", "\"used-by\" : \"\""},
        {"\"used-by\" : \"" TEST_UUID "\"", "\"used-by\" : \"x\""},
        {"\"direction\" : \"in\"", "\"direction\" : \"\""},
        {"\"direction\" : \"in\"", "\"direction\" : \"to\""},
    };
    g_autoptr(ApmigPermit) permit = test_permit_new();
    g_autofree char *text = NULL;
    gboolean stale;

    permit->used_by = g_strdup(TEST_UUID);
    permit->login_verified = TRUE;
    text = apmig_permit_encode(permit, BOOT_ID, NULL);
    g_assert_true(decodes(text, strlen(text), &stale));
    for (guint i = 0; i < G_N_ELEMENTS(changes); i++) {
        g_auto(GStrv) parts = g_strsplit(text, changes[i].from, 2);
        g_autofree char *changed = NULL;

        g_assert_nonnull(parts[1]);
        changed = g_strjoinv(changes[i].to, parts);
        g_assert_false(decodes(changed, strlen(changed), &stale));
        g_assert_false(stale);
    }
    for (gsize i = 0; text[i] != '\0'; i++) /* cut off anywhere but before the last newline */
        g_assert_true(!decodes(text, i, &stale) || text[i] == '\n');
}

static void
test_what_is_for_nobody_is_not_written(void)
{
    g_autoptr(ApmigPermit) permit = test_permit_new();
    g_autoptr(GError) error = NULL;

    permit->uuid[0] = permit->name[0] = '\0';
    g_assert_null(apmig_permit_encode(permit, BOOT_ID, &error));
    g_assert_error(error, APMIG_ERROR, APMIG_ERROR_STATE_FAILURE);
}

/* --- files --------------------------------------------------------------------------------------- */

static void
test_of_another_boot(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigPermit) permit = test_permit_new();
    g_autofree char *text = apmig_permit_encode(permit, BOOT_ID, NULL);

    fixture_put(fixture, PERMITS, ID ".json", text, -1);
    fixture_open(fixture);
    g_assert_cmpuint(fixture->permits->len + fixture->damage->len, ==, 0);
    g_assert_cmpuint(fixture_count(fixture, PERMITS), ==, 0);
}

static void
assert_is_none(Fixture *fixture, const char *said)
{
    fixture_reopen(fixture);
    g_assert_cmpuint(fixture->permits->len, ==, 0);
    g_assert_cmpuint(fixture->damage->len, ==, 1);
    g_assert_nonnull(strstr(g_ptr_array_index(fixture->damage, 0), said));
}

/* It is told of at each start until another takes its place or it is taken away; neither stumbles over it. */
static void
test_damage_is_no_permit(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigPermit) permit = test_permit_new();
    g_autofree char *path = fixture_path(fixture, PERMITS, ID ".json");
    g_autofree char *inner = g_build_filename(path, "inner", NULL);

    permit->used_by = g_strdup(TEST_UUID);
    fixture_open(fixture);
    g_assert_null(fixture_persist_permit(fixture, permit));
    fixture_put(fixture, PERMITS, ID ".json", "{", -1);
    assert_is_none(fixture, "it permits nothing: give the permit anew");
    g_assert_null(fixture_persist_permit(fixture, permit));
    fixture_reopen(fixture);
    assert_same(loaded_permit(fixture), permit);

    g_assert_null(fixture_remove_permit(fixture, permit));
    g_assert_cmpint(symlink("/etc/passwd", path), ==, 0);
    assert_is_none(fixture, "no regular file");
    g_assert_null(fixture_remove_permit(fixture, permit));
    g_assert_cmpint(g_mkdir_with_parents(inner, 0700), ==, 0);
    assert_is_none(fixture, "no regular file");
    g_assert_null(fixture_remove_permit(fixture, permit));
    g_assert_false(fixture_has(fixture, PERMITS, ID ".json"));
}

static void
test_other_names(Fixture *fixture, gconstpointer data)
{
    static const char *const names[] = {"x.json", ID, ID ".JSON", ID "0.json", TEST_UUID ".json"};

    for (guint i = 0; i < G_N_ELEMENTS(names); i++)
        fixture_put(fixture, PERMITS, names[i], "{}", -1);
    fixture_open(fixture);
    g_assert_cmpuint(fixture->permits->len, ==, 0);
    g_assert_cmpuint(fixture->damage->len, ==, G_N_ELEMENTS(names));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, func) g_test_add("/permits/" path, Fixture, NULL, fixture_set_up, func, fixture_tear_down)
    ADD("survives-open-and-in-use", test_survives_open_and_in_use);
    ADD("of-another-boot", test_of_another_boot);
    ADD("damage-is-no-permit", test_damage_is_no_permit);
    ADD("other-names", test_other_names);
    g_test_add_func("/permits/what-is-no-permit", test_what_is_no_permit);
    g_test_add_func("/permits/what-is-for-nobody-is-not-written", test_what_is_for_nobody_is_not_written);
    return g_test_run();
}
