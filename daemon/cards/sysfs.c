/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cards/sysfs.h"

#define THREADS_MAX 16 /* so many entries may hang while the others are read */
#define HANG_USEC   G_USEC_PER_SEC

struct ApmigSysfs {
    char *root;
    GThreadPool *pool; /* of Task */
    GMutex lock;
    GHashTable *hanging; /* set of names; with the lock */
};

/* What is read for one caller. Counted by g_atomic_rc_box: one reference is the caller's, one each of its tasks'. */
typedef struct {
    GMutex lock;
    GCond read;
    guint n_read;
    gboolean over; /* nobody waits any more */
    GPtrArray *results;
    GDestroyNotify destroy;
} Round;

typedef struct {
    ApmigSysfs *sysfs;
    Round *round;
    ApmigSysfsFunc func;
    char *name;
    gboolean done; /* with the round's lock */
} Task;

/* Counted as a Round is. */
static void
task_clear(gpointer data)
{
    Task *task = data;

    apmig_sysfs_unref(task->sysfs);
    g_free(task->name);
}

static void
task_unref(gpointer data)
{
    g_atomic_rc_box_release_full(data, task_clear);
}

static void
round_clear(gpointer data)
{
    Round *round = data;

    g_ptr_array_unref(round->results);
    g_cond_clear(&round->read);
    g_mutex_clear(&round->lock);
}

static void
round_unref(Round *round)
{
    g_atomic_rc_box_release_full(round, round_clear);
}

/* --- in the threads ------------------------------------------------------------------------------ */

/* Returns: whether somebody waits for it. */
static gboolean
hand_in(Task *task, gpointer result)
{
    Round *round = task->round;
    gboolean over;

    g_mutex_lock(&round->lock);
    over = round->over;
    task->done = TRUE;
    if (!over) {
        round->n_read++;
        if (result)
            g_ptr_array_add(round->results, result);
        g_cond_signal(&round->read);
    }
    g_mutex_unlock(&round->lock);
    if (over && result)
        round->destroy(result);
    return !over;
}

static gboolean
is_over(Round *round)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&round->lock);

    return round->over;
}

static void
run(gpointer data, gpointer user_data)
{
    Task *task = data;
    ApmigSysfs *sysfs = task->sysfs;
    gpointer result = is_over(task->round) ? NULL : task->func(sysfs->root, task->name);

    if (!hand_in(task, result)) {
        g_mutex_lock(&sysfs->lock);
        g_hash_table_remove(sysfs->hanging, task->name);
        g_mutex_unlock(&sysfs->lock);
    }
    round_unref(task->round);
    task_unref(task);
}

/* --- for the caller ------------------------------------------------------------------------------ */

static gboolean
hangs(ApmigSysfs *sysfs, const char *name)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&sysfs->lock);

    return g_hash_table_contains(sysfs->hanging, name);
}

static void
push(ApmigSysfs *sysfs, Round *round, ApmigSysfsFunc func, const char *name, GPtrArray *tasks)
{
    Task *task = g_atomic_rc_box_new0(Task);

    task->sysfs = apmig_sysfs_ref(sysfs);
    task->round = g_atomic_rc_box_acquire(round);
    task->func = func;
    task->name = g_strdup(name);
    g_ptr_array_add(tasks, g_atomic_rc_box_acquire(task));
    g_thread_pool_push(sysfs->pool, task, NULL); /* without a thread to spare it is queued */
}

/* With the round's lock. */
static void
wait_for(Round *round, guint n_tasks)
{
    guint n_read;
    gint64 until;

    do {
        n_read = round->n_read;
        until = g_get_monotonic_time() + HANG_USEC;
        while (round->n_read == n_read && n_read < n_tasks && g_get_monotonic_time() < until)
            g_cond_wait_until(&round->read, &round->lock, until);
    } while (round->n_read > n_read);
}

static void
leave_behind(ApmigSysfs *sysfs, const GPtrArray *tasks, GPtrArray *unread)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&sysfs->lock);

    for (guint i = 0; i < tasks->len; i++) {
        const Task *task = g_ptr_array_index(tasks, i);

        if (task->done)
            continue;
        g_hash_table_add(sysfs->hanging, g_strdup(task->name));
        if (unread)
            g_ptr_array_add(unread, g_strdup(task->name));
    }
}

GPtrArray *
apmig_sysfs_read(ApmigSysfs *sysfs, const GPtrArray *names, ApmigSysfsFunc func, GDestroyNotify destroy,
                 GPtrArray *unread)
{
    g_autoptr(GPtrArray) tasks = g_ptr_array_new_with_free_func(task_unref);
    Round *round = g_atomic_rc_box_new0(Round);
    GPtrArray *results;

    g_mutex_init(&round->lock);
    g_cond_init(&round->read);
    round->destroy = destroy;
    round->results = g_ptr_array_new_with_free_func(destroy);
    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);

        if (!hangs(sysfs, name))
            push(sysfs, round, func, name, tasks);
        else if (unread)
            g_ptr_array_add(unread, g_strdup(name));
    }
    g_mutex_lock(&round->lock);
    wait_for(round, tasks->len);
    round->over = TRUE;
    results = g_ptr_array_ref(round->results);
    leave_behind(sysfs, tasks, unread);
    g_mutex_unlock(&round->lock);
    round_unref(round);
    return results;
}

/* --- life ---------------------------------------------------------------------------------------- */

ApmigSysfs *
apmig_sysfs_new(const char *root)
{
    ApmigSysfs *sysfs = g_atomic_rc_box_new0(ApmigSysfs);

    sysfs->root = g_strdup(root);
    sysfs->pool = g_thread_pool_new(run, NULL, THREADS_MAX, FALSE, NULL);
    sysfs->hanging = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_mutex_init(&sysfs->lock);
    return sysfs;
}

ApmigSysfs *
apmig_sysfs_ref(ApmigSysfs *sysfs)
{
    return g_atomic_rc_box_acquire(sysfs);
}

/* Each task has a reference: none is left in the pool, but the last one may just be ending. */
static void
sysfs_clear(gpointer data)
{
    ApmigSysfs *sysfs = data;

    g_thread_pool_free(sysfs->pool, FALSE, FALSE);
    g_hash_table_unref(sysfs->hanging);
    g_mutex_clear(&sysfs->lock);
    g_free(sysfs->root);
}

void
apmig_sysfs_unref(ApmigSysfs *sysfs)
{
    if (sysfs)
        g_atomic_rc_box_release_full(sysfs, sysfs_clear);
}

const char *
apmig_sysfs_root(const ApmigSysfs *sysfs)
{
    return sysfs->root;
}
