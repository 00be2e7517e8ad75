/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cards/host-reader.h"

#include "cards/ap-config-lock.h"
#include "cards/ap-sysfs.h"

/* For the tools' lock. Whoever has it may keep it for as long as it takes mdevctl to start a device, and everybody who asks
 * for queues or for a release waits for this reading: it is then read all the same, and marked; the next reading is as good
 * an opportunity. */
#define LOCK_LIMIT_USEC (300 * G_TIME_SPAN_MILLISECOND)
/* The tools fail when it is not theirs within 90 s, and a reading waits for the kernel without a limit. */
#define LOCK_HELD_MS 2000

/* What a thread reads. Counted by g_atomic_rc_box: one reference is its thread's, one the reader's. */
typedef struct {
    char *sysfs_root;
    char *lock_path;         /* (nullable) */
    ApmigHostReader *reader; /* main loop's thread; NULL: freed meanwhile */
    ApmigApHost *host;       /* the thread's until it is done */
    GMutex mutex;            /* guards: */
    ApmigApConfigLock *lock; /* (nullable): while it is held */
} Job;

typedef struct {
    ApmigHostReader *reader;
    const Job *job;  /* that reads for it; NULL: not begun */
    GSource *source; /* ready at the deadline, or once there is a host */
    ApmigApHost *host;
    ApmigHostReadFunc func;
    gpointer user_data;
} Request;

struct ApmigHostReader {
    char *sysfs_root;
    char *lock_path;
    Job *job;            /* NULL: none under way */
    guint drop;          /* when its lock has been held for long; 0: it was given back */
    GPtrArray *requests; /* of Request: those not answered */
};

static void
job_clear(gpointer data)
{
    Job *job = data;

    apmig_ap_host_free(job->host);
    g_free(job->sysfs_root);
    g_free(job->lock_path);
    g_mutex_clear(&job->mutex);
}

static void
job_unref(gpointer data)
{
    g_atomic_rc_box_release_full(data, job_clear);
}

static void
request_free(gpointer data)
{
    Request *request = data;

    g_source_destroy(request->source);
    g_source_unref(request->source);
    apmig_ap_host_free(request->host);
    g_free(request);
}

/* --- jobs ---------------------------------------------------------------------------------------- */

static void start_job(ApmigHostReader *reader);

static gboolean
job_done(gpointer data)
{
    const Job *job = data;
    ApmigHostReader *reader = job->reader;

    if (!reader)
        return G_SOURCE_REMOVE;
    for (guint i = 0; i < reader->requests->len; i++) {
        Request *request = reader->requests->pdata[i];

        if (request->job != job)
            continue;
        request->host = apmig_ap_host_copy(job->host);
        g_source_set_ready_time(request->source, 0);
    }
    g_clear_handle_id(&reader->drop, g_source_remove);
    g_clear_pointer(&reader->job, job_unref);
    start_job(reader);
    return G_SOURCE_REMOVE;
}

static void
set_lock(Job *job, ApmigApConfigLock *lock)
{
    g_mutex_lock(&job->mutex);
    job->lock = lock;
    g_mutex_unlock(&job->mutex);
}

static void
read_under_lock(Job *job)
{
    ApmigApConfigLock *lock = apmig_ap_config_lock_begin(job->lock_path, LOCK_LIMIT_USEC);

    set_lock(job, lock);
    job->host = apmig_ap_read_host(job->sysfs_root);
    set_lock(job, NULL);
    job->host->is_in_flux = !apmig_ap_config_lock_end(lock);
}

static gpointer
read_host(gpointer data)
{
    Job *job = data;
    GSource *source = g_idle_source_new();

    if (job->lock_path)
        read_under_lock(job);
    else
        job->host = apmig_ap_read_host(job->sysfs_root);
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, job_done, job, job_unref);
    g_source_attach(source, NULL);
    g_source_unref(source);
    return NULL;
}

static gboolean
drop_lock(gpointer data)
{
    ApmigHostReader *reader = data;
    Job *job = reader->job;

    reader->drop = 0;
    g_mutex_lock(&job->mutex);
    if (job->lock)
        apmig_ap_config_lock_drop(job->lock);
    g_mutex_unlock(&job->mutex);
    return G_SOURCE_REMOVE;
}

static void
start_job(ApmigHostReader *reader)
{
    Job *job;
    GThread *thread;

    if (reader->job || reader->requests->len == 0)
        return;
    job = g_atomic_rc_box_new0(Job);
    job->sysfs_root = g_strdup(reader->sysfs_root);
    job->lock_path = apmig_ap_is_present(reader->sysfs_root) ? g_strdup(reader->lock_path) : NULL;
    g_mutex_init(&job->mutex);
    job->reader = reader;
    g_atomic_rc_box_acquire(job);
    thread = g_thread_try_new("host", read_host, job, NULL);
    if (!thread) {
        job_unref(job); /* too many threads: the requests wait for their deadlines */
        job_unref(job);
        return;
    }
    g_thread_unref(thread);
    reader->job = job;
    if (job->lock_path)
        reader->drop = g_timeout_add(LOCK_HELD_MS, drop_lock, reader);
    for (guint i = 0; i < reader->requests->len; i++)
        if (!((const Request *)reader->requests->pdata[i])->host)
            ((Request *)reader->requests->pdata[i])->job = job;
}

/* --- requests ------------------------------------------------------------------------------------ */

static gboolean
answer(gpointer data)
{
    Request *request = data;

    request->func(g_steal_pointer(&request->host), request->user_data);
    return G_SOURCE_REMOVE;
}

static gboolean
dispatch(G_GNUC_UNUSED GSource *source, GSourceFunc callback, gpointer user_data)
{
    Request *request = user_data;
    guint index;

    if (g_ptr_array_find(request->reader->requests, request, &index))
        g_ptr_array_steal_index(request->reader->requests, index);
    callback(request);
    request_free(request);
    return G_SOURCE_REMOVE;
}

void
apmig_host_reader_read(ApmigHostReader *reader, gint64 limit_usec, ApmigHostReadFunc func, gpointer user_data)
{
    static GSourceFuncs funcs = {.dispatch = dispatch};
    Request *request = g_new0(Request, 1);

    request->reader = reader;
    request->func = func;
    request->user_data = user_data;
    request->source = g_source_new(&funcs, sizeof(GSource));
    g_source_set_callback(request->source, answer, request, NULL);
    g_source_set_ready_time(request->source, g_get_monotonic_time() + limit_usec);
    g_source_attach(request->source, NULL);
    g_ptr_array_add(reader->requests, request);
    start_job(reader);
}

/* --- life ---------------------------------------------------------------------------------------- */

ApmigHostReader *
apmig_host_reader_new(const char *sysfs_root)
{
    ApmigHostReader *reader = g_new0(ApmigHostReader, 1);

    reader->sysfs_root = g_strdup(sysfs_root);
    reader->requests = g_ptr_array_new_with_free_func(request_free);
    return reader;
}

void
apmig_host_reader_set_config_lock(ApmigHostReader *reader, const char *path)
{
    g_free(reader->lock_path);
    reader->lock_path = g_strdup(path);
}

void
apmig_host_reader_free(ApmigHostReader *reader)
{
    if (!reader)
        return;
    if (reader->drop != 0) {
        g_source_remove(reader->drop);
        drop_lock(reader);
    }
    if (reader->job)
        reader->job->reader = NULL;
    g_clear_pointer(&reader->job, job_unref);
    g_ptr_array_unref(reader->requests);
    g_free(reader->sysfs_root);
    g_free(reader->lock_path);
    g_free(reader);
}
