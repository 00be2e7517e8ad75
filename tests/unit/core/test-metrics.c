/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The metrics' text, and the file that it is kept in. */
#include "engine/metrics-text.h"
#include "core/metrics.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#define NOW      (1700000000 * (gint64)G_USEC_PER_SEC)
#define LOCKED   "apmigd_locks{state=\"draining\"} 1\n"
#define UNLOCKED "apmigd_locks{state=\"draining\"} 0\n"

/* --- an engine ------------------------------------------------------------------------------------ */

static void
handle(ApmigEngine *engine, ApmigEvent event)
{
    g_autoptr(GPtrArray) actions = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_action_free);

    event.now = NOW;
    event.realtime = NOW;
    apmig_engine_handle(engine, &event, actions);
    for (guint i = 0; i < actions->len; i++) {
        const ApmigAction *action = g_ptr_array_index(actions, i);

        if (action->type == APMIG_ACTION_PERSIST_LOCK)
            handle(engine, (ApmigEvent){.type = APMIG_EVENT_LOCK_PERSISTED, .persisted = {.op = action->op}});
    }
}

static ApmigEngine *
new_engine(void)
{
    g_autoptr(ApmigPolicy) policy = apmig_policy_new_default();
    g_autoptr(GPtrArray) none = g_ptr_array_new();
    ApmigEngine *engine;

    engine = apmig_engine_new(policy, "1");
    handle(engine, (ApmigEvent){.type = APMIG_EVENT_STORE_LOADED, .store_loaded = {none, none}});
    return engine;
}

static void
take(ApmigEngine *engine)
{
    g_autoptr(ApmigScope) all = apmig_scope_new_all();

    handle(engine, (ApmigEvent){.type = APMIG_EVENT_TAKE,
                                .caller = 1, .take = {.id = "00000001",
                                         .scope = all,
                                         .reason = "\"} 5\n",
                                         .change_id = "",
                                         .user = "root",
                                         .no_wait = TRUE}});
}

/* --- the text ------------------------------------------------------------------------------------- */

static void
test_text(void)
{
    g_autoptr(ApmigEngine) engine = new_engine();
    const char *events[APMIG_N_LOGS] = {[APMIG_LOG_LOCK_HELD] = "lock_held"};
    guint64 counts[APMIG_N_LOGS] = {[APMIG_LOG_LOCK_HELD] = 7};
    const ApmigMetricsSource source = {engine, events, counts, NOW, 0};
    g_autofree char *before = apmig_metrics_format(&source);
    g_autofree char *after = NULL;

    g_assert_true(g_str_has_prefix(before, "# HELP apmigd_locks Locks on master keys, by state.\n"
                                           "# TYPE apmigd_locks gauge\n"
                                           "apmigd_locks{state=\"requested\"} 0\n" UNLOCKED));
    g_assert_nonnull(strstr(before, "\napmigd_oldest_lock_requested_timestamp_seconds 0\n"));
    g_assert_nonnull(strstr(before, "\napmigd_hypervisor_connected 0\n"));
    g_assert_nonnull(strstr(before, "\napmigd_start_timestamp_seconds 1700000000\n"));
    g_assert_true(g_str_has_suffix(before, "# TYPE apmigd_events_total counter\n"
                                           "apmigd_events_total{event=\"lock_held\"} 7\n"));

    take(engine);
    after = apmig_metrics_format(&source);
    g_assert_nonnull(strstr(after, LOCKED));
    g_assert_nonnull(strstr(after, "\napmigd_oldest_lock_requested_timestamp_seconds 1700000000\n"));
    g_assert_null(strstr(after, "\"} 5\n\n")); /* what users write is in none of them */
}

/* As the format has it: HELP and TYPE of each metric once and before it, its samples together, no sample twice. */
static void
test_text_is_valid(void)
{
    g_autoptr(ApmigEngine) engine = new_engine();
    const char *events[APMIG_N_LOGS] = {"lock_requested", "lock_held"};
    guint64 counts[APMIG_N_LOGS] = {0};
    g_autofree char *text = apmig_metrics_format(&(ApmigMetricsSource){engine, events, counts, NOW, NOW});
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autofree char *current = NULL;

    for (guint i = 0; lines[i][0]; i++) {
        g_auto(GStrv) words = g_strsplit(lines[i], " ", 4);

        if (g_str_has_prefix(lines[i], "# HELP ")) {
            g_assert_true(g_hash_table_add(names, g_strdup(words[2])));
            g_free(current);
            current = g_strdup(words[2]);
            g_assert_cmpuint(strlen(words[3]), >, 0);
            g_assert_true(g_str_has_prefix(lines[i + 1], "# TYPE "));
        } else if (g_str_has_prefix(lines[i], "# TYPE ")) {
            g_assert_cmpstr(words[2], ==, current);
            g_assert_cmpstr(words[3], ==, g_str_has_suffix(current, "_total") ? "counter" : "gauge");
        } else {
            g_assert_true(
                g_regex_match_simple("^[a-z_]+(\\{[a-z]+=\"[a-z_]+\"\\})? [0-9]+$", lines[i], 0, 0));
            g_assert_true(g_str_has_prefix(lines[i], current));
            g_assert_true(strchr(" {", lines[i][strlen(current)]) != NULL);
            g_assert_true(g_hash_table_add(seen, g_strdup(words[0])));
        }
    }
    g_assert_cmpuint(g_hash_table_size(seen), >, 12);
}

/* --- the file ------------------------------------------------------------------------------------- */

typedef struct {
    char *folder;
    char *path;
    ApmigEngine *engine;
    ApmigMetrics *metrics;
} Fixture;

static void
set_up(Fixture *fixture, gconstpointer data)
{
    fixture->folder = g_dir_make_tmp("apmigd-test-XXXXXX", NULL);
    fixture->path = g_build_filename(fixture->folder, "apmigd.prom", NULL);
    fixture->engine = new_engine();
    fixture->metrics = apmig_metrics_new(fixture->path, fixture->engine);
    umask(0077); /* the daemon's */
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    g_autofree char *new = g_strconcat(fixture->path, ".new", NULL);

    apmig_metrics_free(fixture->metrics);
    apmig_engine_free(fixture->engine);
    g_unlink(new);
    g_unlink(fixture->path);
    g_rmdir(fixture->folder);
    g_free(fixture->path);
    g_free(fixture->folder);
}

/* Waits until the file has @text. Returns: how long that was, usec. */
static gint64
wait_for(const Fixture *fixture, const char *text)
{
    gint64 start = g_get_monotonic_time();

    for (;;) {
        g_autofree char *contents = NULL;

        if (g_file_get_contents(fixture->path, &contents, NULL, NULL) && strstr(contents, text))
            return g_get_monotonic_time() - start;
        g_assert_cmpint(g_get_monotonic_time() - start, <, 30 * G_USEC_PER_SEC);
        g_main_context_iteration(NULL, FALSE);
        g_usleep(1000);
    }
}

static void
test_file(Fixture *fixture, gconstpointer data)
{
    struct stat first, second;
    gint64 begin = g_get_monotonic_time();

    apmig_metrics_changed(fixture->metrics);
    wait_for(fixture, UNLOCKED);
    g_assert_cmpint(g_stat(fixture->path, &first), ==, 0);
    g_assert_cmpuint(first.st_mode & 0777, ==, 0644); /* whoever collects it is another user */

    /* Soon after, what has changed waits for the second to pass; then it is there at once, in a file of its own. */
    take(fixture->engine);
    for (guint i = 0; i < 1000; i++)
        apmig_metrics_count(fixture->metrics, APMIG_LOG_LOCK_REQUESTED);
    wait_for(fixture, LOCKED);
    g_assert_cmpint(g_get_monotonic_time() - begin, >=, G_USEC_PER_SEC);
    wait_for(fixture, "apmigd_events_total{event=\"lock_requested\"} 1000\n");
    g_assert_cmpint(g_stat(fixture->path, &second), ==, 0);
    g_assert_cmpuint(first.st_ino, !=, second.st_ino);
}

/* What others put there is replaced, not followed. */
static void
test_symlink(Fixture *fixture, gconstpointer data)
{
    g_autofree char *victim = g_build_filename(fixture->folder, "victim", NULL);
    g_autofree char *new = g_strconcat(fixture->path, ".new", NULL);
    g_autofree char *contents = NULL;

    g_assert_true(g_file_set_contents(victim, "mine", -1, NULL));
    g_assert_cmpint(symlink(victim, fixture->path), ==, 0);
    g_assert_cmpint(symlink(victim, new), ==, 0);
    apmig_metrics_changed(fixture->metrics);
    wait_for(fixture, UNLOCKED);
    g_assert_true(g_file_get_contents(victim, &contents, NULL, NULL));
    g_assert_cmpstr(contents, ==, "mine");
    g_unlink(victim);
}

/* A folder that is missing is told of; once it is there the metrics are. */
static void
test_no_folder(Fixture *fixture, gconstpointer data)
{
    gint64 until = g_get_monotonic_time() + 100 * 1000;

    g_assert_cmpint(g_rmdir(fixture->folder), ==, 0);
    apmig_metrics_changed(fixture->metrics);
    while (g_get_monotonic_time() < until) {
        g_main_context_iteration(NULL, FALSE);
        g_usleep(1000);
    }
    g_assert_cmpint(g_mkdir(fixture->folder, 0755), ==, 0);
    apmig_metrics_changed(fixture->metrics);
    wait_for(fixture, UNLOCKED);
}

/* What is being written when they are freed is nobody's any more. */
static void
test_freed_while_writing(Fixture *fixture, gconstpointer data)
{
    gint64 until = g_get_monotonic_time() + 100 * 1000;

    apmig_metrics_changed(fixture->metrics);
    g_main_context_iteration(NULL, TRUE);
    g_clear_pointer(&fixture->metrics, apmig_metrics_free);
    while (g_get_monotonic_time() < until) {
        g_main_context_iteration(NULL, FALSE);
        g_usleep(1000);
    }
    apmig_metrics_changed(NULL);
    apmig_metrics_count(NULL, APMIG_LOG_LOCK_HELD);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/metrics/text", test_text);
    g_test_add_func("/metrics/text-is-valid", test_text_is_valid);
    g_test_add("/metrics/file", Fixture, NULL, set_up, test_file, tear_down);
    g_test_add("/metrics/symlink", Fixture, NULL, set_up, test_symlink, tear_down);
    g_test_add("/metrics/no-folder", Fixture, NULL, set_up, test_no_folder, tear_down);
    g_test_add("/metrics/freed-while-writing", Fixture, NULL, set_up, test_freed_while_writing, tear_down);
    return g_test_run();
}
