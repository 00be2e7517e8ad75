/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Evidence plug-ins: what they may print, which of them are heard, and how they are ended. */
#include "cards/evidence-plugins.h"

#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cards/fixture.h"

#define SECONDS(n) (G_GINT64_CONSTANT(n) * G_USEC_PER_SEC)
#define NOW        SECONDS(1790000000)
#define LIMIT      (20 * G_USEC_PER_SEC)
#define ONE        "{\"queue\": \"04.0012\", \"class\": \"AES\", \"pattern\": \"0x0123456789abcdef\"}"
#define HEAD       "{\"version\": 1, \"keys\": ["
#define TAIL       "]}"

/* --- the format ---------------------------------------------------------------------------------- */

static void
test_format(void)
{
    static const char text[] =
        HEAD ONE ", {\"queue\": \"04.0012\", \"class\": \"AES\", \"register\": \"NEW\", \"pattern\": "
                 "\"0xFFFFFFFFFFFFFFFF\", "
                 "\"at\": 1780000000}, {\"queue\": \"05.00ff\", \"class\": \"WK\", \"at\": 1890000000, "
                 "\"pattern\": \"0x00112233445566778899aabbccddeeff\"}" TAIL;
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) records = apmig_attestation_parse(text, strlen(text), "tke", NOW, &error);
    const ApmigEvidenceRecord *record;

    g_assert_no_error(error);
    g_assert_cmpuint(records->len, ==, 2);
    record = records->pdata[0];
    g_assert_cmpint(record->evidence, ==, APMIG_EVIDENCE_ATTESTED);
    g_assert_cmpstr(record->source, ==, "tke");
    g_assert_cmpint(record->registers[APMIG_REGISTER_CUR].state, ==, APMIG_KEY_STATE_VALID);
    g_assert_cmpint(record->registers[APMIG_REGISTER_NEW].state, ==, APMIG_KEY_STATE_FULL);
    g_assert_cmpint(record->registers[APMIG_REGISTER_OLD].state, ==, APMIG_KEY_STATE_UNKNOWN);
    g_assert_cmpint(record->at, ==, SECONDS(1780000000)); /* the oldest */
    record = records->pdata[1];
    g_assert_cmpuint(record->adapter, ==, 0x05);
    g_assert_cmpuint(record->domain, ==, 0xff);
    g_assert_cmpint(record->key_class, ==, APMIG_KEY_WK);
    g_assert_cmpuint(record->registers[APMIG_REGISTER_CUR].length, ==, 16);
    g_assert_cmpint(record->at, ==, NOW); /* nothing is from the future */
}

static void
test_refused(void)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "tke:"},
        {"[]", "tke:"},
        {"{\"keys\": []}", "$.version must be 1"},
        {"{\"version\": 2, \"keys\": [], \"more\": 1}", "$.version must be 1"},
        {"{\"version\": 1}", "$.keys must be an array"},
        {"{\"version\": 1, \"keys\": [], \"Keys\": []}", "$.Keys is unknown"},
        {HEAD "1" TAIL, "$.keys[0] must be an object"},
        {HEAD ONE ", {\"queue\": \"4.12\", \"class\": \"AES\", \"pattern\": \"0x0123456789abcdef\"}" TAIL,
         "$.keys[1].queue must name one AP queue"},
        {HEAD "{\"queue\": \"04.*\", \"class\": \"AES\", \"pattern\": \"0x0123456789abcdef\"}" TAIL,
         "$.keys[0].queue must name one"},
        {HEAD "{\"queue\": \"04.0012\", \"class\": \"SYM\", \"pattern\": \"0x0123456789abcdef\"}" TAIL,
         "$.keys[0].class must be one of"},
        {HEAD "{\"queue\": \"04.0012\", \"class\": \"AES\", \"pattern\": \"0x0123456789abcde\"}" TAIL,
         "16 hexadecimal digits"},
        {HEAD "{\"queue\": \"04.0012\", \"class\": \"AES\", \"pattern\": \"0x0000000000000000\"}" TAIL,
         "not all of them zeros"},
        {HEAD "{\"queue\": \"04.0012\", \"class\": \"AES\", \"pattern\": 1}" TAIL,
         "$.keys[0].pattern must be a string"},
        {HEAD
         "{\"queue\": \"05.0012\", \"class\": \"WK\", \"register\": \"OLD\", \"pattern\": \"0x0123\"}" TAIL,
         "$.keys[0].register must be"},
        {HEAD
         "{\"queue\": \"04.0012\", \"class\": \"AES\", \"pattern\": \"0x0123456789abcdef\", \"at\": -1}" TAIL,
         "$.keys[0].at must be a time"},
        {HEAD
         "{\"queue\": \"04.0012\", \"class\": \"AES\", \"pattern\": \"0x0123456789abcdef\", \"by\": 1}" TAIL,
         "$.keys[0].by is unknown"},
        {HEAD ONE "," ONE TAIL, "a second time"},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GPtrArray) records =
            apmig_attestation_parse(cases[i].text, strlen(cases[i].text), "tke", NOW, &error);

        g_assert_null(records);
        g_assert_nonnull(error);
        if (!strstr(error->message, cases[i].says))
            g_error("\"%s\" lacks \"%s\"", error->message, cases[i].says);
    }
}

/* --- running ------------------------------------------------------------------------------------- */

typedef struct {
    char *folder;
    GString *heard; /* "NAME RECORDS " */
    gboolean done;
} Fixture;

static void
set_up(Fixture *fixture, gconstpointer data)
{
    fixture->folder = sysfs_new();
    fixture->heard = g_string_new(NULL);
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    sysfs_free(fixture->folder);
    g_string_free(fixture->heard, TRUE);
}

static void
add_plugin(const Fixture *fixture, const char *name, const char *script, int mode)
{
    g_autofree char *path = sysfs_path(fixture->folder, name);

    sysfs_write(fixture->folder, name, script);
    g_assert_cmpint(chmod(path, (mode_t)mode), ==, 0);
}

static void
on_answered(const char *name, const GPtrArray *records, gpointer data)
{
    g_string_append_printf(((Fixture *)data)->heard, "%s %u ", name, records->len);
}

static void
on_done(gpointer data)
{
    ((Fixture *)data)->done = TRUE;
}

static const ApmigPluginsCallbacks callbacks = {on_answered, on_done};

/* Returns: whether any ran. */
static gboolean
ask(Fixture *fixture, gint64 limit)
{
    g_autoptr(ApmigPlugins) plugins = apmig_plugins_new(fixture->folder, limit, &callbacks, fixture);
    gint64 end = g_get_monotonic_time() + LIMIT;

    fixture->done = FALSE;
    g_string_truncate(fixture->heard, 0);
    if (!apmig_plugins_ask(plugins))
        return FALSE;
    g_assert_true(apmig_plugins_ask(plugins)); /* they run only once */
    while (!fixture->done) {
        g_main_context_iteration(NULL, FALSE);
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
    return TRUE;
}

#define SAY(json) "#!/bin/sh\necho '" json "'\n"

static void
test_heard(Fixture *fixture, gconstpointer data)
{
    add_plugin(fixture, "tke", SAY(HEAD ONE TAIL), 0755);
    add_plugin(fixture, "README", SAY(HEAD TAIL), 0644);  /* not executable: not a plug-in */
    add_plugin(fixture, ".hidden", SAY(HEAD TAIL), 0755); /* an editor's */
    add_plugin(fixture, "backup~", SAY(HEAD TAIL), 0755);
    g_assert_true(ask(fixture, LIMIT));
    g_assert_cmpstr(fixture->heard->str, ==, "tke 1 ");
}

static void
test_not_trusted(Fixture *fixture, gconstpointer data)
{
    add_plugin(fixture, "open", SAY(HEAD TAIL), 0777);
    add_plugin(fixture, "group", SAY(HEAD TAIL), 0775);
    sysfs_link(fixture->folder, "link", "/bin/true");
    g_assert_false(ask(fixture, LIMIT));
    add_plugin(fixture, "tke", SAY(HEAD ONE TAIL), 0755);
    g_assert_true(ask(fixture, LIMIT));
    g_assert_cmpint(chmod(fixture->folder, 0777), ==, 0);
    g_assert_false(ask(fixture, LIMIT));
}

static void
test_failures(Fixture *fixture, gconstpointer data)
{
    add_plugin(fixture, "fails", "#!/bin/sh\necho '" HEAD TAIL "'\nexit 1\n", 0755);
    add_plugin(fixture, "floods", "#!/bin/sh\nyes\n", 0755);
    add_plugin(fixture, "babbles", SAY("hello"), 0755);
    add_plugin(fixture, "no-interpreter", "#!/no/such/thing\n", 0755);
    add_plugin(fixture, "tke", SAY(HEAD ONE TAIL), 0755);
    g_assert_true(ask(fixture, LIMIT));
    g_assert_cmpstr(fixture->heard->str, ==, "tke 1 ");
}

/* Also what it has started in the background, which holds its output open. */
static void
test_too_late(Fixture *fixture, gconstpointer data)
{
    g_autofree char *script =
        g_strdup_printf("#!/bin/sh\nsleep 1000 &\necho $! > %s/pid\necho '" HEAD TAIL "'\n", fixture->folder);
    g_autofree char *path = sysfs_path(fixture->folder, "pid");
    g_autofree char *text = NULL;
    gint64 end = g_get_monotonic_time() + LIMIT;

    add_plugin(fixture, "tke", script, 0755); /* it ends at once itself, perhaps before anybody looks at it */
    g_assert_true(ask(fixture, G_USEC_PER_SEC));
    g_assert_cmpstr(fixture->heard->str, ==, "");
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    while (kill((pid_t)g_ascii_strtoll(text, NULL, 10), 0) == 0) {
        g_autofree char *stat_path = g_strdup_printf("/proc/%s/stat", g_strstrip(text));
        g_autofree char *stat = NULL;

        if (!g_file_get_contents(stat_path, &stat, NULL, NULL) || strstr(stat, ") Z "))
            break;
        g_usleep(10000);
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    umask(0022);
    g_test_add_func("/attestation/format", test_format);
    g_test_add_func("/attestation/refused", test_refused);
#define ADD(name, function) g_test_add("/plugins/" name, Fixture, NULL, set_up, function, tear_down)
    ADD("heard", test_heard);
    ADD("not-trusted", test_not_trusted);
    ADD("failures", test_failures);
    ADD("too-late", test_too_late);
#undef ADD
    return g_test_run();
}
