/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/store.h"
#include "base/boot-time.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "store/disk.h"

#include <syslog.h>

/* What is under way to a writer and back. */
typedef struct {
    ApmigAction *action; /* NULL: the writer is to end; an answer: all is loaded */
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
    ApmigStoreFuncs funcs;
    gpointer user_data;
    Writer writers[N_FOLDERS];
    ApmigMailbox *answers; /* of Job */
    gboolean is_told;      /* of what was loaded */
    GMutex mutex;          /* for the writers' busy_since and what follows */
    GCond loaded_more;
    guint n_loading;                    /* folders that have not been read yet */
    ApmigStoreLoaded loaded[N_FOLDERS]; /* the writer's, until it has been read */
};

static void
job_free(gpointer data)
{
    Job *job = data;

    g_clear_pointer(&job->action, apmig_action_free);
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
        apmig_store_loaded_init(&store->loaded[i]);
    g_cond_init(&store->loaded_more);
    for (guint i = 0; i < N_FOLDERS; i++)
        store->writers[i] = (Writer){.store = store, .jobs = g_async_queue_new_full(job_free)};
    g_mutex_init(&store->mutex);
    return store;
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

static void
load(Writer *writer)
{
    ApmigStore *store = writer->store;
    Folder folder = writer - store->writers;
    ApmigStoreLoaded *loaded = &store->loaded[folder];

    set_busy_since(writer, apmig_boot_time());
    if (folder == FOLDER_STATE)
        apmig_disk_load_state(store->disk, loaded);
    else
        apmig_disk_load_runtime(store->disk, loaded);
    set_busy_since(writer, 0);
    g_mutex_lock(&store->mutex);
    if (--store->n_loading == 0)
        apmig_mailbox_put(store->answers, g_new0(Job, 1));
    g_cond_signal(&store->loaded_more);
    g_mutex_unlock(&store->mutex);
}

static gpointer
run_writer(gpointer data)
{
    Writer *writer = data;
    Job *job;

    load(writer);
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

/* What came from the two folders, as one. */
static void
tell_loaded(ApmigStore *store)
{
    ApmigStoreLoaded *state = &store->loaded[FOLDER_STATE], *runtime = &store->loaded[FOLDER_RUNTIME];
    g_autoptr(GPtrArray) damage = g_ptr_array_new();
    const ApmigStoreLoaded both = {
        state->locks,     state->declared, runtime->admissions,
        runtime->permits, damage,          state->error ? state->error : runtime->error};

    if (store->is_told)
        return;
    store->is_told = TRUE;
    for (guint i = 0; i < N_FOLDERS; i++)
        for (guint k = 0; k < store->loaded[i].damage->len; k++)
            g_ptr_array_add(damage, g_ptr_array_index(store->loaded[i].damage, k));
    store->funcs.loaded(&both, store->user_data);
}

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

    if (!job->action)
        tell_loaded(store);
    else if (job->action->op != 0)
        store->funcs.answered(
            &(ApmigEvent){.type = events[job->action->type], .persisted = {job->action->op, error}},
            store->user_data);
    job_free(job);
}

void
apmig_store_start(ApmigStore *store, const ApmigStoreFuncs *funcs, gpointer user_data)
{
    store->funcs = *funcs;
    store->n_loading = N_FOLDERS;
    store->user_data = user_data;
    store->answers = apmig_mailbox_new(answer, store, job_free);
    store->writers[FOLDER_STATE].thread = g_thread_new("state", run_writer, &store->writers[FOLDER_STATE]);
    store->writers[FOLDER_RUNTIME].thread =
        g_thread_new("runtime", run_writer, &store->writers[FOLDER_RUNTIME]);
}

gboolean
apmig_store_wait_until_loaded(ApmigStore *store, gint64 limit_usec)
{
    gint64 end = g_get_monotonic_time() + limit_usec;
    gboolean is_loaded;

    g_mutex_lock(&store->mutex);
    while (store->n_loading > 0 && g_cond_wait_until(&store->loaded_more, &store->mutex, end))
        ;
    is_loaded = store->n_loading == 0;
    g_mutex_unlock(&store->mutex);
    if (is_loaded)
        tell_loaded(store);
    return is_loaded;
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
    for (guint i = 0; i < N_FOLDERS; i++) {
        g_async_queue_unref(store->writers[i].jobs);
        apmig_store_loaded_clear(&store->loaded[i]);
    }
    g_cond_clear(&store->loaded_more);
    g_mutex_clear(&store->mutex);
    apmig_disk_free(store->disk);
    g_free(store);
}
