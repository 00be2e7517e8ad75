/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cards/evidence-plugins.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <gio/gunixinputstream.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "base/log.h"
#include "store/files.h"
#include "base/text.h"

#define READ_BYTES 16384

/* One plug-in at work: its output is read, and then its end is waited for; one of the two is always under way, and its
 * callback ends it or goes on. Not a GSubprocess: that reaps a process at once, and then its group has no name. */
typedef struct {
    ApmigPlugins *plugins; /* NULL: freed meanwhile */
    char *name;
    char *problem; /* a clause; NULL: none yet */
    GPid pid;
    GInputStream *stream;
    GByteArray *output;
    GCancellable *cancellable;
    guint timeout;
} Run;

struct ApmigPlugins {
    char *folder;
    gint64 limit_usec;
    ApmigPluginsCallbacks callbacks;
    gpointer user_data;
    GPtrArray *runs;      /* of Run, not owned: under way */
    GHashTable *names;    /* set: those that could be trusted last */
    GHashTable *problems; /* name -> what was wrong with it last */
};

/* --- which of them are trusted ------------------------------------------------------------------- */

/* @problem: (transfer full) (nullable): a clause; NULL: all is well again */
static void
note_problem(ApmigPlugins *plugins, const char *name, char *problem)
{
    const char *earlier = g_hash_table_lookup(plugins->problems, name);
    g_autofree char *clause = problem;
    g_autofree char *shown = apmig_text_escape(name, 255);

    if (!clause) {
        g_hash_table_remove(plugins->problems, name);
        return;
    }
    if (g_strcmp0(earlier, clause) == 0)
        return;
    apmig_log(LOG_ERR, "evidence plug-in %s/%s is not heard: %s", plugins->folder, shown, clause);
    g_hash_table_replace(plugins->problems, g_strdup(name), g_steal_pointer(&clause));
}

/* Returns: (transfer full) (nullable): why somebody else could change what is there, as a clause. */
static char *
find_distrust(const struct stat *st)
{
    if (st->st_uid != 0 && st->st_uid != geteuid())
        return g_strdup_printf("it belongs to uid %u: it must be root's (chown root)", (guint)st->st_uid);
    if (st->st_mode & (S_IWGRP | S_IWOTH))
        return g_strdup("others may write to it: chmod go-w");
    return NULL;
}

/* Returns: (transfer full) (nullable): why the file is no plug-in; "" for one that does not mean to be one. */
static char *
find_flaw(const ApmigFolder *folder, const char *name)
{
    struct stat st;

    if (*name == '.' || g_str_has_suffix(name, "~"))
        return g_strdup("");
    if (fstatat(folder->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return g_strdup(errno == ENOENT ? "" : g_strerror(errno));
    if (!S_ISREG(st.st_mode))
        return g_strdup("it is no regular file");
    if (!(st.st_mode & S_IXUSR))
        return g_strdup("");
    if (!apmig_text_is_plain(name, NAME_MAX))
        return g_strdup("its name is no plain text");
    return find_distrust(&st);
}

/* Returns: (transfer full) (nullable): NULL: there is none, or it cannot be trusted. */
static ApmigFolder *
open_folder(ApmigPlugins *plugins)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigFolder) folder = NULL;
    struct stat st;
    char *problem;

    if (!g_file_test(plugins->folder, G_FILE_TEST_EXISTS))
        return NULL;
    folder = apmig_folder_open(plugins->folder, &error);
    if (!folder)
        problem = g_strdup(error->message);
    else
        problem = fstat(folder->fd, &st) < 0 ? g_strdup(g_strerror(errno)) : find_distrust(&st);
    if (problem)
        g_clear_pointer(&folder, apmig_folder_free);
    note_problem(plugins, "", problem);
    return g_steal_pointer(&folder);
}

static void
find_plugins(ApmigPlugins *plugins)
{
    g_autoptr(ApmigFolder) folder = open_folder(plugins);
    g_autoptr(GPtrArray) names = folder ? apmig_folder_list(folder, NULL) : NULL;

    g_hash_table_remove_all(plugins->names);
    for (guint i = 0; names && i < names->len; i++) {
        const char *name = names->pdata[i];
        g_autofree char *flaw = find_flaw(folder, name);

        if (!flaw && g_hash_table_size(plugins->names) == APMIG_PLUGINS_MAX)
            flaw = g_strdup_printf("there are more than %d", APMIG_PLUGINS_MAX);
        if (!flaw)
            g_hash_table_add(plugins->names, g_strdup(name));
        else if (*flaw)
            note_problem(plugins, name, g_steal_pointer(&flaw));
    }
}

/* --- running ------------------------------------------------------------------------------------- */

static void
run_free(Run *run)
{
    g_clear_handle_id(&run->timeout, g_source_remove);
    g_object_unref(run->stream);
    g_object_unref(run->cancellable);
    g_byte_array_unref(run->output);
    g_free(run->problem);
    g_free(run->name);
    g_free(run);
}

/* What it has left behind goes with it: the group is its own. */
static void
kill_group(const Run *run)
{
    kill(-run->pid, SIGKILL);
}

static void
take_output(ApmigPlugins *plugins, Run *run)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) records = NULL;

    if (!run->problem) {
        records = apmig_attestation_parse((const char *)run->output->data, run->output->len, run->name,
                                          g_get_real_time(), &error);
        if (!records)
            run->problem = apmig_text_escape(error->message, 1024);
    }
    note_problem(plugins, run->name, g_strdup(run->problem));
    if (records)
        plugins->callbacks.answered(run->name, records, plugins->user_data);
}

static void
conclude(Run *run)
{
    ApmigPlugins *plugins = run->plugins;

    kill_group(run);
    if (plugins) {
        g_ptr_array_remove_fast(plugins->runs, run);
        take_output(plugins, run);
        if (plugins->runs->len == 0)
            plugins->callbacks.done(plugins->user_data);
    }
    run_free(run);
}

static void
set_problem(Run *run, const GError *error)
{
    if (!run->problem)
        run->problem = g_strdup(error->message);
}

static void
on_ended(GPid pid, int status, gpointer user_data)
{
    Run *run = user_data;
    g_autoptr(GError) error = NULL;

    if (!g_spawn_check_exit_status(status, &error))
        set_problem(run, error);
    conclude(run);
}

static void read_more(Run *run);

/* Killed or not, it is still to be reaped. */
static void
wait_for_end(Run *run)
{
    g_child_watch_add(run->pid, on_ended, run);
}

static void
on_read(GObject *stream, GAsyncResult *result, gpointer user_data)
{
    Run *run = user_data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) bytes = g_input_stream_read_bytes_finish(G_INPUT_STREAM(stream), result, &error);

    if (!bytes) {
        set_problem(run, error);
        kill_group(run);
        wait_for_end(run);
        return;
    }
    g_byte_array_append(run->output, g_bytes_get_data(bytes, NULL), (guint)g_bytes_get_size(bytes));
    if (run->output->len > APMIG_ATTESTATION_MAX_BYTES) {
        run->problem = g_strdup_printf("it printed more than %d bytes", APMIG_ATTESTATION_MAX_BYTES);
        kill_group(run);
    }
    if (run->problem || g_bytes_get_size(bytes) == 0)
        wait_for_end(run);
    else
        read_more(run);
}

static void
read_more(Run *run)
{
    g_input_stream_read_bytes_async(run->stream, READ_BYTES, G_PRIORITY_DEFAULT, run->cancellable, on_read,
                                    run);
}

static gboolean
on_timeout(gpointer user_data)
{
    Run *run = user_data;

    run->timeout = 0;
    g_free(run->problem);
    run->problem = g_strdup_printf("it had not ended after %.3g s, and was killed",
                                   (double)run->plugins->limit_usec / G_USEC_PER_SEC);
    kill_group(run);
    g_cancellable_cancel(run->cancellable);
    return G_SOURCE_REMOVE;
}

/* Between fork and exec. */
static void
become_leader(G_GNUC_UNUSED gpointer user_data)
{
    (void)setsid();
}

/* Returns: whether it runs, or failed to with @error set. */
static gboolean
spawn(const char *path, GPid *ret_pid, int *ret_stdout, GError **error)
{
    static const char *const environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", NULL};
    char *const arguments[] = {(char *)path, NULL};

    return g_spawn_async_with_pipes("/", (char **)arguments, (char **)environment, G_SPAWN_DO_NOT_REAP_CHILD,
                                    become_leader, NULL, ret_pid, NULL, ret_stdout, NULL, error);
}

static void
start(ApmigPlugins *plugins, const char *name)
{
    g_autofree char *path = g_build_filename(plugins->folder, name, NULL);
    g_autoptr(GError) error = NULL;
    int output = -1;
    GPid pid = 0;
    Run *run;

    if (!spawn(path, &pid, &output, &error)) {
        note_problem(plugins, name, g_strdup(error->message));
        return;
    }
    run = g_new0(Run, 1);
    run->plugins = plugins;
    run->name = g_strdup(name);
    run->pid = pid;
    run->stream = g_unix_input_stream_new(output, TRUE);
    run->output = g_byte_array_new();
    run->cancellable = g_cancellable_new();
    run->timeout = g_timeout_add((guint)(plugins->limit_usec / 1000), on_timeout, run);
    g_ptr_array_add(plugins->runs, run);
    read_more(run);
}

gboolean
apmig_plugins_ask(ApmigPlugins *plugins)
{
    GHashTableIter iter;
    gpointer name;

    if (plugins->runs->len > 0)
        return TRUE;
    find_plugins(plugins);
    g_hash_table_iter_init(&iter, plugins->names);
    while (g_hash_table_iter_next(&iter, &name, NULL))
        start(plugins, name);
    return plugins->runs->len > 0;
}

gboolean
apmig_plugins_has(const ApmigPlugins *plugins, const char *name)
{
    return g_hash_table_contains(plugins->names, name);
}

/* --- life ---------------------------------------------------------------------------------------- */

ApmigPlugins *
apmig_plugins_new(const char *folder, gint64 limit_usec, const ApmigPluginsCallbacks *callbacks,
                  gpointer user_data)
{
    ApmigPlugins *plugins = g_new0(ApmigPlugins, 1);

    plugins->folder = g_strdup(folder);
    plugins->limit_usec = limit_usec;
    plugins->callbacks = *callbacks;
    plugins->user_data = user_data;
    plugins->runs = g_ptr_array_new();
    plugins->names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    plugins->problems = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    return plugins;
}

void
apmig_plugins_free(ApmigPlugins *plugins)
{
    if (!plugins)
        return;
    for (guint i = 0; i < plugins->runs->len; i++) {
        Run *run = plugins->runs->pdata[i];

        run->plugins = NULL;
        g_clear_handle_id(&run->timeout, g_source_remove);
        kill_group(run);
        g_cancellable_cancel(run->cancellable);
    }
    g_ptr_array_unref(plugins->runs);
    g_hash_table_unref(plugins->names);
    g_hash_table_unref(plugins->problems);
    g_free(plugins->folder);
    g_free(plugins);
}
