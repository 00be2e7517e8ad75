/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store.h"
#include "base/boot-time.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "store/disk.h"

#include <syslog.h>

/* What is under way to a writer and back. */
typedef struct {
    ApmigAction *action; /* NULL: the writer is to end */
    GError *error;       /* its outcome */
} Job;

/* The state folder and the runtime folder lie on different disks: what hangs on one is waited for by its writer alone. */
typedef enum {
    FOLDER_STATE,
    FOLDER_RUNTIME,
    N_FOLDERS,
} Folder;

typedef struct {
    ApmigStore *store;
    GThread *thread; /* NULL until started */
    GAsyncQueue *jobs;
    gint64 busy_since; /* boot time, usec, since when it is at its job; 0: it waits for one */
} Writer;

struct ApmigStore {
    ApmigDisk *disk;
    ApmigStoreFunc func;
    gpointer user_data;
    Writer writers[N_FOLDERS];
    ApmigMailbox *answers; /* of Job */
    GMutex mutex;          /* for the writers' busy_since */
};

static void
job_free(gpointer data)
{
    Job *job = data;

    apmig_action_free(job->action);
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
    for (guint i = 0; i < N_FOLDERS; i++)
        store->writers[i] = (Writer){.store = store, .jobs = g_async_queue_new_full(job_free)};
    g_mutex_init(&store->mutex);
    return store;
}

gboolean
apmig_store_load(ApmigStore *store, GPtrArray **ret_locks, GPtrArray **ret_admissions,
                 GPtrArray **ret_permits, GPtrArray **ret_damage, GError **error)
{
    return apmig_disk_load(store->disk, ret_locks, ret_admissions, ret_permits, ret_damage, error);
}

GPtrArray *
apmig_store_load_declared(ApmigStore *store, GPtrArray *damage)
{
    return apmig_disk_load_declared(store->disk, damage);
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

/* --- the writers: their threads ------------------------------------------------------------------ */

static void
remove_admission(ApmigStore *store, const char *uuid)
{
    g_autoptr(GError) error = NULL;

    if (!apmig_disk_remove_admission(store->disk, uuid, &error))
        apmig_log(LOG_WARNING, "the admission of guest %s will count again after a restart: %s", uuid,
                  error->message);
}

/* Returns: whether it was done, or nobody waits for it. */
static gboolean
remove_permit(ApmigStore *store, const ApmigAction *action, GError **error)
{
    g_autoptr(GError) problem = NULL;

    if (apmig_disk_remove_permit(store->disk, action->permit->id, &problem))
        return TRUE;
    if (action->op == 0)
        apmig_log(LOG_WARNING, "the permit for guest %s will count again after a restart: %s",
                  apmig_permit_guest(action->permit), problem->message);
    g_propagate_error(error, g_steal_pointer(&problem));
    return action->op == 0;
}

static gboolean
carry_out(ApmigStore *store, const ApmigAction *action, GError **error)
{
    if (action->type == APMIG_ACTION_PERSIST_LOCK)
        return apmig_disk_write_lock(store->disk, action->lock, error);
    if (action->type == APMIG_ACTION_REMOVE_LOCK)
        return apmig_disk_remove_lock(store->disk, action->lock, error);
    if (action->type == APMIG_ACTION_PERSIST_ADMISSION)
        return apmig_disk_write_admission(store->disk, action->admission, error);
    if (action->type == APMIG_ACTION_PERSIST_PERMIT)
        return apmig_disk_write_permit(store->disk, action->permit, error);
    if (action->type == APMIG_ACTION_REMOVE_PERMIT)
        return remove_permit(store, action, error);
    if (action->type == APMIG_ACTION_PERSIST_DECLARED)
        return apmig_disk_write_declared(store->disk, action->declared, error);
    g_assert(action->type == APMIG_ACTION_REMOVE_ADMISSION);
    remove_admission(store, action->admission->uuid);
    return TRUE;
}

static void
set_busy_since(Writer *writer, gint64 busy_since)
{
    g_mutex_lock(&writer->store->mutex);
    writer->busy_since = busy_since;
    g_mutex_unlock(&writer->store->mutex);
}

static gpointer
run_writer(gpointer data)
{
    Writer *writer = data;
    Job *job;

    while ((job = g_async_queue_pop(writer->jobs))->action) {
        set_busy_since(writer, apmig_boot_time());
        (void)carry_out(writer->store, job->action, &job->error);
        set_busy_since(writer, 0);
        apmig_mailbox_put(writer->store->answers, job);
    }
    job_free(job);
    return NULL;
}

gboolean
apmig_store_writer_is_stuck(ApmigStore *store, gint64 now, gint64 limit_usec)
{
    gboolean stuck = FALSE;

    g_mutex_lock(&store->mutex);
    for (guint i = 0; i < N_FOLDERS; i++)
        stuck |= store->writers[i].busy_since != 0 && now - store->writers[i].busy_since > limit_usec;
    g_mutex_unlock(&store->mutex);
    return stuck;
}

/* --- in the main loop ---------------------------------------------------------------------------- */

static void
answer(gpointer item, gpointer user_data)
{
    static const ApmigEventType events[] = {
        [APMIG_ACTION_PERSIST_LOCK] = APMIG_EVENT_LOCK_PERSISTED,
        [APMIG_ACTION_REMOVE_LOCK] = APMIG_EVENT_LOCK_REMOVED,
        [APMIG_ACTION_PERSIST_ADMISSION] = APMIG_EVENT_ADMISSION_PERSISTED,
        [APMIG_ACTION_PERSIST_PERMIT] = APMIG_EVENT_PERMIT_WRITTEN,
        [APMIG_ACTION_REMOVE_PERMIT] = APMIG_EVENT_PERMIT_WRITTEN,
        [APMIG_ACTION_PERSIST_DECLARED] = APMIG_EVENT_DECLARED_PERSISTED,
    };
    ApmigStore *store = user_data;
    Job *job = item;
    const char *error = job->error ? job->error->message : NULL;

    if (job->action->op != 0)
        store->func(&(ApmigEvent){.type = events[job->action->type], .persisted = {job->action->op, error}},
                    store->user_data);
    job_free(job);
}

void
apmig_store_start(ApmigStore *store, ApmigStoreFunc func, gpointer user_data)
{
    store->func = func;
    store->user_data = user_data;
    store->answers = apmig_mailbox_new(answer, store, job_free);
    store->writers[FOLDER_STATE].thread = g_thread_new("state", run_writer, &store->writers[FOLDER_STATE]);
    store->writers[FOLDER_RUNTIME].thread =
        g_thread_new("runtime", run_writer, &store->writers[FOLDER_RUNTIME]);
}

static Folder
folder_of(ApmigActionType type)
{
    return type == APMIG_ACTION_PERSIST_LOCK || type == APMIG_ACTION_REMOVE_LOCK ||
                   type == APMIG_ACTION_PERSIST_DECLARED
               ? FOLDER_STATE
               : FOLDER_RUNTIME;
}

void
apmig_store_carry_out(ApmigStore *store, ApmigAction *action)
{
    Job *job = g_new0(Job, 1);

    job->action = action;
    if (action->type == APMIG_ACTION_PERSIST_LOCK)
        apmig_disk_expect_lock(store->disk, action->lock->id);
    g_async_queue_push(store->writers[folder_of(action->type)].jobs, job);
}

/* --- the end ------------------------------------------------------------------------------------- */

void
apmig_store_free(ApmigStore *store)
{
    if (!store)
        return;
    for (guint i = 0; i < N_FOLDERS && store->writers[i].thread; i++)
        g_async_queue_push(store->writers[i].jobs, g_new0(Job, 1));
    for (guint i = 0; i < N_FOLDERS && store->writers[i].thread; i++)
        g_thread_join(store->writers[i].thread);
    apmig_mailbox_close(store->answers);
    for (guint i = 0; i < N_FOLDERS; i++)
        g_async_queue_unref(store->writers[i].jobs);
    g_mutex_clear(&store->mutex);
    apmig_disk_free(store->disk);
    g_free(store);
}
