/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cards/host-reader.h"

#include "base/mailbox.h"
#include "cards/ap-sysfs.h"

/* What a thread reads. Counted by g_atomic_rc_box: one reference is its thread's, one the reader's. */
typedef struct {
    ApmigSysfs *sysfs;
    ApmigHostReader *reader; /* main loop's thread; NULL: freed meanwhile */
    gint64 asked_at,
        began_at;      /* monotonic: when the first of those that it reads for asked, and when it began */
    ApmigApHost *host; /* the thread's until it is done */
} Job;

typedef struct {
    ApmigHostReader *reader;
    const Job *job;  /* that reads for it; NULL: not begun */
    gint64 asked_at; /* monotonic */
    GSource *source; /* ready at the deadline, or once there is a host */
    ApmigApHost *host;
    ApmigHostReadFunc func;
    gpointer user_data;
} Request;

struct ApmigHostReader {
    ApmigSysfs *sysfs;
    Job *job;            /* NULL: none under way */
    GPtrArray *requests; /* of Request: those not answered */
    ApmigHostReadingFunc func;
    gpointer user_data;
};

static void
job_clear(gpointer data)
{
    Job *job = data;

    apmig_ap_host_free(job->host);
    apmig_sysfs_unref(job->sysfs);
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

static void
job_done(gpointer data)
{
    const Job *job = data;
    ApmigHostReader *reader = job->reader;

    if (!reader)
        return;
    for (guint i = 0; i < reader->requests->len; i++) {
        Request *request = g_ptr_array_index(reader->requests, i);

        if (request->job != job)
            continue;
        request->host = apmig_ap_host_copy(job->host);
        g_source_set_ready_time(request->source, 0);
    }
    g_clear_pointer(&reader->job, job_unref);
    if (reader->func)
        reader->func(job->host, job->asked_at, job->began_at, reader->user_data);
    start_job(reader);
}

static gpointer
read_host(gpointer data)
{
    Job *job = data;

    job->host = apmig_ap_read_host(job->sysfs);
    apmig_post(job_done, job, job_unref);
    return NULL;
}

static gboolean
is_waited_for(const ApmigHostReader *reader)
{
    for (guint i = 0; i < reader->requests->len; i++)
        if (!((const Request *)g_ptr_array_index(reader->requests, i))->host)
            return TRUE;
    return FALSE;
}

static void
start_job(ApmigHostReader *reader)
{
    Job *job;
    GThread *thread;

    if (reader->job || !is_waited_for(reader))
        return;
    job = g_atomic_rc_box_new0(Job);
    job->sysfs = apmig_sysfs_ref(reader->sysfs);
    job->reader = reader;
    job->asked_at = job->began_at = g_get_monotonic_time();
    g_atomic_rc_box_acquire(job);
    thread = g_thread_try_new("host", read_host, job, NULL);
    if (!thread) {
        job_unref(job); /* too many threads: the requests wait for their deadlines */
        job_unref(job);
        return;
    }
    g_thread_unref(thread);
    reader->job = job;
    for (guint i = 0; i < reader->requests->len; i++) {
        Request *request = g_ptr_array_index(reader->requests, i);

        if (request->host)
            continue;
        request->job = job;
        job->asked_at = MIN(job->asked_at, request->asked_at);
    }
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
dispatch(GSource *source, GSourceFunc callback, gpointer user_data)
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
    request->asked_at = g_get_monotonic_time();
    request->source = g_source_new(&funcs, sizeof(GSource));
    g_source_set_callback(request->source, answer, request, NULL);
    g_source_set_ready_time(request->source, request->asked_at + limit_usec);
    g_source_attach(request->source, NULL);
    g_ptr_array_add(reader->requests, request);
    start_job(reader);
}

/* --- life ---------------------------------------------------------------------------------------- */

ApmigHostReader *
apmig_host_reader_new(ApmigSysfs *sysfs)
{
    ApmigHostReader *reader = g_new0(ApmigHostReader, 1);

    reader->sysfs = apmig_sysfs_ref(sysfs);
    reader->requests = g_ptr_array_new_with_free_func(request_free);
    return reader;
}

void
apmig_host_reader_set_func(ApmigHostReader *reader, ApmigHostReadingFunc func, gpointer user_data)
{
    reader->func = func;
    reader->user_data = user_data;
}

void
apmig_host_reader_free(ApmigHostReader *reader)
{
    if (!reader)
        return;
    if (reader->job)
        reader->job->reader = NULL;
    g_clear_pointer(&reader->job, job_unref);
    g_ptr_array_unref(reader->requests);
    apmig_sysfs_unref(reader->sysfs);
    g_free(reader);
}
