/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/metrics.h"

#include <errno.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <syslog.h>

#include "base/log.h"
#include "engine/metrics-text.h"

#define INTERVAL_USEC G_USEC_PER_SEC

struct ApmigMetrics {
    char *path;
    ApmigMetricsSource source;
    char *events[APMIG_N_LOGS];
    guint64 counts[APMIG_N_LOGS];
    char *written;     /* (nullable): what is in the file */
    gint64 written_at; /* monotonic, when that was begun */
    gboolean is_dirty;
    gboolean has_failed; /* and this was told */
    guint timeout;
    GTask *writing; /* (nullable) */
};

/* --- the file ------------------------------------------------------------------------------------ */

typedef struct {
    char *path;
    char *text;
} Write;

static void
write_free(gpointer data)
{
    Write *write = data;

    g_free(write->path);
    g_free(write->text);
    g_free(write);
}

/* Runs in a thread. The collector reads as a user of its own, whatever our umask; and any file that ends in ".prom". */
static void
write_file(GTask *task, G_GNUC_UNUSED gpointer source, gpointer task_data,
           G_GNUC_UNUSED GCancellable *cancellable)
{
    const Write *write = task_data;
    g_autofree char *new = g_strconcat(write->path, ".new", NULL);
    GError *error = NULL;

    if (g_file_set_contents_full(new, write->text, -1, G_FILE_SET_CONTENTS_NONE, 0644, &error) &&
        (g_chmod(new, 0644) < 0 || g_rename(new, write->path) < 0))
        error = g_error_new(G_FILE_ERROR, (int)g_file_error_from_errno(errno), "%s: %s", write->path,
                            g_strerror(errno));
    if (error)
        g_task_return_error(task, error);
    else
        g_task_return_boolean(task, TRUE);
}

static void schedule(ApmigMetrics *metrics);

static void
on_written(G_GNUC_UNUSED GObject *source, GAsyncResult *result, gpointer user_data)
{
    ApmigMetrics *metrics = user_data;
    gboolean is_freed = g_cancellable_is_cancelled(g_task_get_cancellable(G_TASK(result)));
    g_autoptr(GError) error = NULL;
    gboolean done = g_task_propagate_boolean(G_TASK(result), &error);

    if (is_freed)
        return;
    g_clear_object(&metrics->writing);
    if (!done) {
        g_clear_pointer(&metrics->written, g_free);
        if (!metrics->has_failed)
            apmig_log(LOG_WARNING, "The metrics cannot be written (%s): see [Metrics] Textfile=.",
                      error->message);
    }
    metrics->has_failed = !done;
    schedule(metrics);
}

static void
begin_write(ApmigMetrics *metrics, const char *text)
{
    g_autoptr(GCancellable) freed = g_cancellable_new();
    Write *write = g_new0(Write, 1);

    write->path = g_strdup(metrics->path);
    write->text = g_strdup(text);
    metrics->writing = g_task_new(NULL, freed, on_written, metrics);
    g_task_set_task_data(metrics->writing, write, write_free);
    g_task_set_check_cancellable(metrics->writing, FALSE);
    g_task_run_in_thread(metrics->writing, write_file);
}

static gboolean
on_due(gpointer user_data)
{
    ApmigMetrics *metrics = user_data;
    g_autofree char *text = apmig_metrics_format(&metrics->source);

    metrics->timeout = 0;
    metrics->is_dirty = FALSE;
    if (g_strcmp0(text, metrics->written) == 0)
        return G_SOURCE_REMOVE;
    metrics->written_at = g_get_monotonic_time();
    g_free(metrics->written);
    metrics->written = g_steal_pointer(&text);
    begin_write(metrics, metrics->written);
    return G_SOURCE_REMOVE;
}

static void
schedule(ApmigMetrics *metrics)
{
    gint64 wait = metrics->written_at + INTERVAL_USEC - g_get_monotonic_time();

    if (metrics->is_dirty && metrics->timeout == 0 && !metrics->writing)
        metrics->timeout = g_timeout_add((guint)(CLAMP(wait, 0, INTERVAL_USEC) / 1000), on_due, metrics);
}

/* --- what is told -------------------------------------------------------------------------------- */

void
apmig_metrics_changed(ApmigMetrics *metrics)
{
    if (!metrics)
        return;
    metrics->is_dirty = TRUE;
    schedule(metrics);
}

void
apmig_metrics_count(ApmigMetrics *metrics, ApmigLog log)
{
    if (!metrics)
        return;
    metrics->counts[log]++;
    apmig_metrics_changed(metrics);
}

void
apmig_metrics_hook_called(ApmigMetrics *metrics)
{
    if (!metrics)
        return;
    metrics->source.hook_called_at = g_get_real_time();
    apmig_metrics_changed(metrics);
}

/* --- life ---------------------------------------------------------------------------------------- */

/* Not those that are told elsewhere than through the core. */
static gboolean
is_counted(ApmigLog log)
{
    return log != APMIG_LOG_REQUEST_MADE && log != APMIG_LOG_REQUEST_REFUSED &&
           log != APMIG_LOG_KEYS_DECLARED;
}

ApmigMetrics *
apmig_metrics_new(const char *path, const ApmigEngine *engine)
{
    ApmigMetrics *metrics = g_new0(ApmigMetrics, 1);

    metrics->path = g_strdup(path);
    for (guint log = 0; log < APMIG_N_LOGS; log++)
        metrics->events[log] = is_counted(log) ? g_ascii_strdown(apmig_log_name(log), -1) : NULL;
    metrics->source = (ApmigMetricsSource){.engine = engine,
                                           .events = (const char *const *)metrics->events,
                                           .counts = metrics->counts,
                                           .started_at = g_get_real_time()};
    metrics->written_at = g_get_monotonic_time() - INTERVAL_USEC;
    return metrics;
}

void
apmig_metrics_free(ApmigMetrics *metrics)
{
    if (!metrics)
        return;
    g_clear_handle_id(&metrics->timeout, g_source_remove);
    if (metrics->writing)
        g_cancellable_cancel(g_task_get_cancellable(metrics->writing));
    g_clear_object(&metrics->writing);
    for (guint log = 0; log < APMIG_N_LOGS; log++)
        g_free(metrics->events[log]);
    g_free(metrics->written);
    g_free(metrics->path);
    g_free(metrics);
}
