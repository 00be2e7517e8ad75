/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store.h"
#include "base/boot-time.h"
#include "base/log.h"
#include "store/disk.h"

#include <syslog.h>

typedef enum {
    JOB_PERSIST_LOCK,
    JOB_REMOVE_LOCK,
    JOB_PERSIST_ADMISSION,
    JOB_REMOVE_ADMISSION,
    JOB_PERSIST_DECLARED,
    JOB_PERSIST_PERMIT,
    JOB_USE_PERMIT,
    JOB_REMOVE_PERMIT,
    JOB_QUIT,
} JobType;

typedef struct {
    JobType type;
    guint64 op;
    ApmigLockRecord *record;
    ApmigAdmission *admission;
    ApmigPermit *permit;
    GPtrArray *declared; /* of ApmigEvidenceRecord */
    char *uuid;
    GError *error; /* its outcome */
} Job;

struct ApmigStore {
    ApmigDisk *disk;
    ApmigStoreCallbacks callbacks;
    gpointer user_data;
    GThread *writer;
    GAsyncQueue *jobs;
    GSource *source;   /* made ready by the writer when it has an answer */
    GMutex mutex;      /* for what follows */
    GQueue answers;    /* of Job */
    gint64 busy_since; /* boot time, usec, since when the writer is at its job; 0: it waits for one */
};

static void
job_free(gpointer data)
{
    Job *job = data;

    apmig_lock_record_free(job->record);
    apmig_admission_free(job->admission);
    apmig_permit_free(job->permit);
    g_clear_pointer(&job->declared, g_ptr_array_unref);
    g_free(job->uuid);
    g_clear_error(&job->error);
    g_free(job);
}

/* --- the disk ------------------------------------------------------------------------------------ */

ApmigStore *
apmig_store_open(const char *state_dir, const char *runtime_dir, GError **error)
{
    ApmigDisk *disk = apmig_disk_open(state_dir, runtime_dir, error);
    ApmigStore *store;

    if (!disk)
        return NULL;
    store = g_new0(ApmigStore, 1);
    store->disk = disk;
    store->jobs = g_async_queue_new_full(job_free);
    g_mutex_init(&store->mutex);
    g_queue_init(&store->answers);
    return store;
}

gboolean
apmig_store_load(ApmigStore *store, GPtrArray **ret_locks, GPtrArray **ret_admissions, GPtrArray **ret_damage,
                 GError **error)
{
    return apmig_disk_load(store->disk, ret_locks, ret_admissions, ret_damage, error);
}

GPtrArray *
apmig_store_load_declared(ApmigStore *store, GPtrArray *damage)
{
    return apmig_disk_load_declared(store->disk, damage);
}

GPtrArray *
apmig_store_load_permits(ApmigStore *store, GPtrArray *damage)
{
    return apmig_disk_load_permits(store->disk, damage);
}

char *
apmig_store_new_lock_id(ApmigStore *store)
{
    char *id = NULL;

    do {
        g_free(id);
        id = g_strdup_printf("%08x", g_random_int());
    } while (apmig_disk_has_lock(store->disk, id));
    return id;
}

/* --- the writer: its thread ---------------------------------------------------------------------- */

static void
remove_admission(ApmigStore *store, const char *uuid)
{
    g_autoptr(GError) error = NULL;

    if (!apmig_disk_remove_admission(store->disk, uuid, &error))
        apmig_log(LOG_WARNING, "the admission of guest %s will count again after a restart: %s", uuid,
                  error->message);
}

/* Returns: whether it was done, or nobody waits for it; else the job has the error. */
static gboolean
remove_permit(ApmigStore *store, Job *job)
{
    if (apmig_disk_remove_permit(store->disk, job->permit, &job->error) || job->op != 0)
        return job->error == NULL;
    apmig_log(LOG_WARNING, "the permit for guest %s will count again after a restart: %s",
              apmig_permit_guest(job->permit), job->error->message);
    return TRUE;
}

/* Returns: whether it was done; else the job has the error. */
static gboolean
carry_out(ApmigStore *store, Job *job)
{
    switch (job->type) {
    case JOB_PERSIST_LOCK:
        return apmig_disk_write_lock(store->disk, job->record, &job->error);
    case JOB_REMOVE_LOCK:
        return apmig_disk_remove_lock(store->disk, job->record, &job->error);
    case JOB_PERSIST_ADMISSION:
        return apmig_disk_write_admission(store->disk, job->admission, &job->error);
    case JOB_REMOVE_ADMISSION:
        remove_admission(store, job->uuid);
        return TRUE;
    case JOB_PERSIST_DECLARED:
        return apmig_disk_write_declared(store->disk, job->declared, &job->error);
    case JOB_PERSIST_PERMIT:
        return apmig_disk_write_permit(store->disk, job->permit, &job->error);
    case JOB_USE_PERMIT:
        return apmig_disk_use_permit(store->disk, job->permit, &job->error);
    case JOB_REMOVE_PERMIT:
        return remove_permit(store, job);
    case JOB_QUIT:
        return TRUE;
    }
    g_assert_not_reached();
}

static gpointer
run_writer(gpointer data)
{
    ApmigStore *store = data;
    gboolean quit = FALSE;

    while (!quit) {
        Job *job = g_async_queue_pop(store->jobs);

        quit = job->type == JOB_QUIT;
        g_mutex_lock(&store->mutex);
        store->busy_since = apmig_boot_time();
        g_mutex_unlock(&store->mutex);
        carry_out(store, job);
        g_mutex_lock(&store->mutex);
        store->busy_since = 0;
        g_queue_push_tail(&store->answers, job);
        g_mutex_unlock(&store->mutex);
        g_source_set_ready_time(store->source, 0);
    }
    return NULL;
}

gboolean
apmig_store_writer_is_stuck(ApmigStore *store, gint64 now, gint64 limit_usec)
{
    gboolean stuck;

    g_mutex_lock(&store->mutex);
    stuck = store->busy_since != 0 && now - store->busy_since > limit_usec;
    g_mutex_unlock(&store->mutex);
    return stuck;
}

/* --- answers, in the main loop ------------------------------------------------------------------- */

static void
deliver(ApmigStore *store, const Job *job)
{
    const char *error = job->error ? job->error->message : NULL;

    if (job->type == JOB_PERSIST_LOCK)
        store->callbacks.lock_persisted(job->op, error, store->user_data);
    else if (job->type == JOB_REMOVE_LOCK)
        store->callbacks.lock_removed(job->op, error, store->user_data);
    else if (job->type == JOB_PERSIST_ADMISSION)
        store->callbacks.admission_persisted(job->op, error, store->user_data);
    else if (job->type == JOB_PERSIST_DECLARED)
        store->callbacks.declared_persisted(job->op, error, store->user_data);
    else if (job->permit && job->op != 0)
        store->callbacks.permit_written(job->op, error, store->user_data);
}

static gboolean
deliver_answers(gpointer data)
{
    ApmigStore *store = data;
    Job *job;

    g_source_set_ready_time(store->source, -1);
    do {
        g_mutex_lock(&store->mutex);
        job = g_queue_pop_head(&store->answers);
        g_mutex_unlock(&store->mutex);
        if (job) {
            deliver(store, job);
            job_free(job);
        }
    } while (job);
    return G_SOURCE_CONTINUE;
}

static gboolean
dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
    return callback(data);
}

void
apmig_store_start(ApmigStore *store, const ApmigStoreCallbacks *callbacks, gpointer user_data)
{
    static GSourceFuncs funcs = {.dispatch = dispatch};

    store->callbacks = *callbacks;
    store->user_data = user_data;
    store->source = g_source_new(&funcs, sizeof(GSource));
    g_source_set_name(store->source, "apmigd store");
    g_source_set_callback(store->source, deliver_answers, store, NULL);
    g_source_attach(store->source, g_main_context_get_thread_default());
    store->writer = g_thread_new("writer", run_writer, store);
}

/* --- requests, in the main loop ------------------------------------------------------------------ */

static Job *
job_new(JobType type, guint64 op)
{
    Job *job = g_new0(Job, 1);

    job->type = type;
    job->op = op;
    return job;
}

void
apmig_store_persist_lock(ApmigStore *store, guint64 op, const ApmigLockRecord *record)
{
    Job *job = job_new(JOB_PERSIST_LOCK, op);

    job->record = apmig_lock_record_copy(record);
    apmig_disk_expect_lock(store->disk, record->id);
    g_async_queue_push(store->jobs, job);
}

void
apmig_store_remove_lock(ApmigStore *store, guint64 op, const ApmigLockRecord *record)
{
    Job *job = job_new(JOB_REMOVE_LOCK, op);

    job->record = apmig_lock_record_copy(record);
    g_async_queue_push(store->jobs, job);
}

void
apmig_store_persist_admission(ApmigStore *store, guint64 op, const ApmigAdmission *admission)
{
    Job *job = job_new(JOB_PERSIST_ADMISSION, op);

    job->admission = apmig_admission_copy(admission);
    g_async_queue_push(store->jobs, job);
}

void
apmig_store_remove_admission(ApmigStore *store, const char *uuid)
{
    Job *job = job_new(JOB_REMOVE_ADMISSION, 0);

    job->uuid = g_strdup(uuid);
    g_async_queue_push(store->jobs, job);
}

void
apmig_store_persist_declared(ApmigStore *store, guint64 op, const GPtrArray *records)
{
    Job *job = job_new(JOB_PERSIST_DECLARED, op);

    job->declared = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_evidence_record_free);
    for (guint i = 0; i < records->len; i++)
        g_ptr_array_add(job->declared, apmig_evidence_record_copy(records->pdata[i]));
    g_async_queue_push(store->jobs, job);
}

static void
push_permit(ApmigStore *store, JobType type, guint64 op, const ApmigPermit *permit)
{
    Job *job = job_new(type, op);

    job->permit = apmig_permit_copy(permit);
    g_async_queue_push(store->jobs, job);
}

void
apmig_store_persist_permit(ApmigStore *store, guint64 op, const ApmigPermit *permit)
{
    push_permit(store, JOB_PERSIST_PERMIT, op, permit);
}

void
apmig_store_use_permit(ApmigStore *store, guint64 op, const ApmigPermit *permit)
{
    push_permit(store, JOB_USE_PERMIT, op, permit);
}

void
apmig_store_remove_permit(ApmigStore *store, guint64 op, const ApmigPermit *permit)
{
    push_permit(store, JOB_REMOVE_PERMIT, op, permit);
}

/* --- the end ------------------------------------------------------------------------------------- */

void
apmig_store_free(ApmigStore *store)
{
    if (!store)
        return;
    if (store->writer) {
        g_async_queue_push(store->jobs, job_new(JOB_QUIT, 0));
        g_thread_join(store->writer);
        g_source_destroy(store->source);
        g_source_unref(store->source);
    }
    for (Job *job; (job = g_queue_pop_head(&store->answers));)
        job_free(job);
    g_async_queue_unref(store->jobs);
    g_mutex_clear(&store->mutex);
    apmig_disk_free(store->disk);
    g_free(store);
}
