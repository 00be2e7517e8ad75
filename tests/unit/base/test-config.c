/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The configuration file: its defaults, its keys, and what is refused with file, group and key. */
#include "base/config.h"
#include "base/text.h"

#include <glib/gstdio.h>
#include <string.h>

typedef struct {
    char *dir, *path;
} Fixture;

static void
set_up(Fixture *fixture, gconstpointer data)
{
    fixture->dir = g_dir_make_tmp("apmigd-test-XXXXXX", NULL);
    fixture->path = g_build_filename(fixture->dir, "apmigd.conf", NULL);
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    g_unlink(fixture->path);
    g_rmdir(fixture->dir);
    g_free(fixture->path);
    g_free(fixture->dir);
}

static ApmigConfig *
load(Fixture *fixture, const char *text, GError **error)
{
    g_assert_true(g_file_set_contents(fixture->path, text, -1, NULL));
    return apmig_config_load(fixture->path, TRUE, error);
}

static void
assert_default(const ApmigConfig *config)
{
    g_assert_nonnull(config);
    g_assert_cmpstr(config->libvirt_uri, ==, "qemu:///system");
    g_assert_cmpstr(config->hooks_dir, ==, "/etc/libvirt/hooks");
    g_assert_cmpstr(config->status_dir, ==, "/run/libvirt/qemu");
    g_assert_cmpint(config->hook_timeout_usec, ==, 5000000);
    g_assert_true(config->hook_deny_unreachable);
}

static void
test_missing(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigConfig) config = apmig_config_load(fixture->path, FALSE, &error);

    g_assert_no_error(error);
    assert_default(config);
    g_assert_null(apmig_config_load(fixture->path, TRUE, &error));
    g_assert_nonnull(strstr(error->message, fixture->path));
}

static void
test_unreadable_is_an_error(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(apmig_config_load(fixture->dir, FALSE, &error));
    g_assert_nonnull(strstr(error->message, fixture->dir));
}

static void
test_empty(Fixture *fixture, gconstpointer data)
{
    static const char *const texts[] = {"", "# nothing\n", "[Libvirt]\n", "[Hook]\n[Libvirt]\n"};

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(ApmigConfig) config = load(fixture, texts[i], &error);

        g_assert_no_error(error);
        assert_default(config);
    }
}

static void
test_all_keys(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigConfig) config =
        load(fixture,
             "[Libvirt]\nURI=test:///default\nHooksDirectory=/h\nStatusDirectory=\n"
             "[Hook]\nTimeout = 60\nOnUnreachable=allow\n",
             &error);

    g_assert_no_error(error);
    g_assert_cmpstr(config->libvirt_uri, ==, "test:///default");
    g_assert_cmpstr(config->hooks_dir, ==, "/h");
    g_assert_cmpstr(config->status_dir, ==, "");
    g_assert_cmpint(config->hook_timeout_usec, ==, 60000000);
    g_assert_false(config->hook_deny_unreachable);
}

/* What the shipped file shows as defaults are the defaults, and all keys are in it. */
static void
test_shipped(Fixture *fixture, gconstpointer data)
{
    static const char *const keys[] = {"URI", "HooksDirectory", "StatusDirectory", "Timeout",
                                       "OnUnreachable"};
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigConfig) as_shipped = apmig_config_load(SOURCE_DIR "/systemd/apmigd.conf", TRUE, &error);
    g_autoptr(ApmigConfig) uncommented = NULL;
    g_autoptr(GRegex) comment = g_regex_new("^#([A-Za-z]+=)", G_REGEX_MULTILINE, 0, NULL);
    g_autofree char *text = NULL, *active = NULL;

    g_assert_no_error(error);
    assert_default(as_shipped);
    g_assert_true(g_file_get_contents(SOURCE_DIR "/systemd/apmigd.conf", &text, NULL, NULL));
    active = g_regex_replace(comment, text, -1, 0, "\\1", 0, NULL);
    uncommented = load(fixture, active, &error);
    g_assert_no_error(error);
    assert_default(uncommented);
    for (guint i = 0; i < G_N_ELEMENTS(keys); i++) {
        g_autofree char *line = g_strdup_printf("\n%s=", keys[i]);

        g_assert_nonnull(strstr(active, line));
    }
}

static void
test_refused(Fixture *fixture, gconstpointer data)
{
    static const struct {
        const char *text, *group, *key;
    } cases[] = {
        {"[Libvirt]\nUri=qemu:///system\n", "[Libvirt]", "Uri"},
        {"[Libvirt]\nURI=\n", "[Libvirt]", "URI"},
        {"[Libvirt]\nURI=\xff\n", "[Libvirt]", "URI"},
        {"[Libvirt]\nHooksDirectory=hooks\n", "[Libvirt]", "HooksDirectory"},
        {"[Libvirt]\nHooksDirectory=\n", "[Libvirt]", "HooksDirectory"},
        {"[Libvirt]\nStatusDirectory=./x\n", "[Libvirt]", "StatusDirectory"},
        {"[Libvirt]\nTimeout=5\n", "[Libvirt]", "Timeout"},
        {"[Hook]\nTimeout=0\n", "[Hook]", "Timeout"},
        {"[Hook]\nTimeout=61\n", "[Hook]", "Timeout"},
        {"[Hook]\nTimeout=5s\n", "[Hook]", "Timeout"},
        {"[Hook]\nTimeout=99999999999999999999\n", "[Hook]", "Timeout"},
        {"[Hook]\nTimeout=\n", "[Hook]", "Timeout"},
        {"[Hook]\nOnUnreachable=maybe\n", "[Hook]", "OnUnreachable"},
        {"[Hooks]\nTimeout=5\n", "[Hooks]", ""},
        {"[Empty]\n", "[Empty]", ""},
        {"Timeout=5\n", "", ""},
        {"[Hook\n", "", ""},
        {"garbage\n", "", ""},
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(load(fixture, cases[i].text, &error));
        g_assert_nonnull(error);
        g_test_message("%s", error->message);
        g_assert_nonnull(strstr(error->message, fixture->path));
        g_assert_nonnull(strstr(error->message, cases[i].group));
        g_assert_nonnull(strstr(error->message, cases[i].key));
    }
}

/* Whatever the file says, the sentence can be shown. */
static void
test_refused_in_plain_words(Fixture *fixture, gconstpointer data)
{
    static const char *const texts[] = {
        "[L\xffibvirt]\n", "\xff\n", "[Libvirt]\n\xff=1\n", "[Hook]\nTimeout=\x1b[31m\n", "[\x1b[31m]\n",
    };
    g_autofree char *dots = g_strnfill(32768, '.');
    g_autofree char *long_path = g_strconcat("[Libvirt]\nHooksDirectory=", dots, "\n", NULL);

    for (guint i = 0; i <= G_N_ELEMENTS(texts); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(load(fixture, i < G_N_ELEMENTS(texts) ? texts[i] : long_path, &error));
        g_assert_true(g_str_has_prefix(error->message, fixture->path));
        g_assert_true(apmig_text_is_plain(error->message, strlen(fixture->path) + 1024));
    }
}

static void
test_large(Fixture *fixture, gconstpointer data)
{
    g_autofree char *text = g_strnfill(1024 * 1024, '#');
    g_autoptr(GError) error = NULL;

    g_assert_null(load(fixture, text, &error));
    g_assert_nonnull(strstr(error->message, "bytes"));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, func) g_test_add("/config/" name, Fixture, NULL, set_up, func, tear_down)
    ADD("missing", test_missing);
    ADD("unreadable-is-an-error", test_unreadable_is_an_error);
    ADD("empty", test_empty);
    ADD("all-keys", test_all_keys);
    ADD("shipped", test_shipped);
    ADD("refused", test_refused);
    ADD("refused-in-plain-words", test_refused_in_plain_words);
    ADD("large", test_large);
    return g_test_run();
}
